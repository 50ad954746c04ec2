"""Questions about tensors and types, as functions."""
from __future__ import annotations

from typing import Any, TypeGuard

from torsh.core.dtypes import dtype
from torsh.ops.dispatch import public, result_type_of
from torsh.tensor.tensor import Tensor


@public(method=False)
def is_tensor(obj: Any) -> TypeGuard[Tensor]:
    """Whether an object is a tensor."""
    return isinstance(obj, Tensor)


@public(method=False)
def numel(input: Tensor) -> int:
    """The number of elements."""
    return input.numel()


@public(method=False)
def is_floating_point(input: Tensor) -> bool:
    """Whether the type is a floating one."""
    return input._dtype.is_floating_point


@public(method=False)
def is_complex(input: Tensor) -> bool:
    """Whether the type is complex."""
    return input._dtype.is_complex


@public(method=False)
def is_signed(input: Tensor) -> bool:
    """Whether the type has negative numbers."""
    return input._dtype.is_signed


@public(method=False)
def is_inference(input: Tensor) -> bool:
    """Whether the tensor was made in inference mode."""
    return input.is_inference()  # type: ignore[attr-defined,no-any-return]


@public()
def is_nonzero(input: Tensor) -> bool:
    """Whether the one element is not zero. Raises RuntimeError unless there is exactly one."""
    if input.numel() != 1:
        raise RuntimeError("Boolean value of Tensor with no values is ambiguous" if input.numel() == 0 else
                           "Boolean value of Tensor with more than one value is ambiguous")
    return bool(input.item())  # type: ignore[attr-defined]


@public()
def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape."""
    return input._shape == other._shape


@public(method=False)
def result_type(tensor1: Any, tensor2: Any) -> dtype:
    """The type of an operation on two operands (tensors or numbers)."""
    return result_type_of(tensor1, tensor2)


@public(method=False)
def can_cast(from_: dtype, to: dtype) -> bool:
    """Whether PyTorch's promotion allows a result of one type in a tensor of another: of a category (bool, integer, floating, complex) not below.

    >>> import torsh
    >>> can_cast(torsh.float64, torsh.float32), can_cast(torsh.float32, torsh.int64)
    (True, False)
    """
    return from_.category <= to.category


__all__ = ["can_cast", "is_complex", "is_floating_point", "is_inference", "is_nonzero", "is_same_size", "is_signed", "is_tensor", "numel", "result_type"]

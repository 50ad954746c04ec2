"""Help to declare pointwise operations: their derivatives, the types they compute in, what they refuse."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torsh.core.dtypes import dtype, get_default_dtype
from torsh.graph import primitives as p
from torsh.graph.node import Op
from torsh.tensor.tensor import Tensor

Vjp = Callable[..., Any]
P = p.POINTWISE


def differentiable(op: Op, vjp: Vjp, inputs: tuple[int, ...] = (), output: bool = False, name: str | None = None) -> None:
    op.vjp, op.save_inputs, op.save_output = vjp, inputs, output
    if name:
        op.grad_name = name


def conj_if(t: Tensor) -> Tensor:
    """The conjugate of a complex tensor; a real one as it is."""
    return t.conj_physical() if t._dtype.is_complex else t  # type: ignore[attr-defined]


def float_type(dt: dtype) -> dtype:
    """The type a function with real values computes in: integers become the default floating type."""
    return dt if dt.category >= 2 else get_default_dtype()


def need_tensors(what: str, *args: Any) -> None:
    """Raises TypeError for an argument that is not a tensor."""
    for i, x in enumerate(args):
        if not isinstance(x, Tensor):
            raise TypeError(f"{what}(): argument {i + 1} must be Tensor, not {type(x).__name__}")


def need_a_tensor(what: str, input: Any, other: Any) -> None:
    """Raises TypeError unless one of two operands is a tensor."""
    if not isinstance(input, Tensor) and not isinstance(other, Tensor):
        raise TypeError(f"{what}(): one of the arguments must be Tensor, got {type(input).__name__} and {type(other).__name__}")

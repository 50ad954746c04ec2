"""PyTorch's classes of tensors by type (`FloatTensor`): they make tensors of their type, and those are their instances."""
from __future__ import annotations

from numbers import Integral
from typing import Any

from torsh.core import dtypes
from torsh.core.devices import require
from torsh.core.dtypes import dtype, set_default_dtype
from torsh.core.layouts import strided
from torsh.tensor.creation import empty, tensor
from torsh.tensor.size import Size
from torsh.tensor.storage import Storage
from torsh.tensor.tensor import Tensor, alias


def elements(inner: Storage, dt: dtype) -> Tensor:
    """All of a storage as a 1-D tensor of a type."""
    return Tensor(inner, (inner.node.numel * inner.node.dtype.itemsize // dt.itemsize,), dt)


class tensortype(type):
    """The class of these classes."""
    dtype: dtype
    is_cuda = is_sparse = False
    layout = strided

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, Tensor) and instance._dtype is cls.dtype

    def __call__(cls, *args: Any, device: Any = None) -> Tensor:
        require(device)
        if len(args) != 1 or isinstance(args[0], Integral):
            return empty(*args, dtype=cls.dtype) if args else empty(0, dtype=cls.dtype)
        given = args[0]
        if isinstance(given, Size):
            return empty(given, dtype=cls.dtype)
        if isinstance(given, Tensor):
            if given._dtype is not cls.dtype:
                raise TypeError(f"{cls.__name__}(): expected a tensor of {cls.dtype}, got one of {given._dtype}; convert it with .to()")
            return alias(given, given._shape, given._strides, given._offset)
        if hasattr(given, "untyped"):  # a storage
            return elements(given.untyped()._inner, cls.dtype)
        if not hasattr(given, "__len__"):
            raise TypeError(f"new(): data must be a sequence (got {type(given).__name__})")
        return tensor(given, dtype=cls.dtype)


#: By name, without "torch.".
KINDS: dict[str, Any] = {d.title + "Tensor": tensortype(d.title + "Tensor", (), {
    "dtype": d, "__module__": "torsh", "__doc__": f"Tensors of {d.name}: of sizes, a sequence, a tensor of that type or a storage."}) for d in dtypes.ALL[:10]}
globals().update(KINDS)


def type_named(what: str, given: Any) -> dtype:
    """The dtype of a class of tensors, its name ("torch.FloatTensor") or a dtype. Raises ValueError for another name, TypeError for another object."""
    if isinstance(given, dtype):
        return given
    if isinstance(given, tensortype):
        return given.dtype
    if not isinstance(given, str):
        raise TypeError(f"{what}: dtype must be a type, str, or dtype object, not {type(given).__name__}")
    name = given.removeprefix("torch.").removeprefix("torsh.")
    found = next((d for d in dtypes.ALL if d.title + "Tensor" == name), None)
    if found is None or name == given:
        raise ValueError(f"{what}: invalid type: '{given}'")
    return found


def set_default_tensor_type(t: Any) -> None:
    """`set_default_dtype` by a class of tensors or its name. Deprecated, as in PyTorch. Raises TypeError unless it is a floating one."""
    try:
        set_default_dtype(type_named("set_default_tensor_type", t))
    except ValueError as error:
        raise TypeError(str(error)) from None


__all__ = ["KINDS", "elements", "set_default_tensor_type", "tensortype", "type_named"]

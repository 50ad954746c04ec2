"""Conversions of type and device, and whole-tensor writes."""
from __future__ import annotations

from typing import Any

from torsh.core import devices, dtypes
from torsh.core.dtypes import dtype
from torsh.core.layouts import channels_last, channels_last_3d, contiguous_format
from torsh.core.shapes import numel
from torsh.graph.node import Node
from torsh.graph.primitives import ASSIGN, EMPTY, const
from torsh.ops.dispatch import cast_tensor, copy_into, public
from torsh.ops.views import in_format
from torsh.tensor.tensor import Tensor, alias, attribute, method, wrap


@public(function=False)
def to(self: Tensor, *args: Any, dtype: dtype | None = None, device: Any = None, non_blocking: bool = False, copy: bool = False,
       memory_format: Any = None) -> Tensor:
    """The tensor as another dtype and on another device; itself when nothing changes and not `copy`.

    Accepts `to(dtype)`, `to(device)`, `to(device, dtype)`, `to(other)`. Raises RuntimeError for a device without backend.
    """
    flags: list[bool] = []
    for a in args:
        if isinstance(a, dtypes.dtype):
            dtype = a
        elif isinstance(a, Tensor):
            dtype, device = a._dtype, a.device
        elif isinstance(a, (str, devices.device)) or (isinstance(a, int) and not isinstance(a, bool)):
            device = a
        elif isinstance(a, bool):
            flags.append(a)  # non_blocking, then copy
        elif a is not None:
            raise TypeError(f"to() received an invalid combination of arguments: got {type(a).__name__}; expected a dtype, a device or a Tensor")
    copy = flags[1] if len(flags) > 1 else copy
    if device is not None:
        devices.require(device)
    out = self if dtype is None else cast_tensor(self, dtype)
    out = out if out is self and memory_format is _suggested(self) else in_format(out, memory_format)
    return self.clone() if copy and out is self else out  # type: ignore[attr-defined,no-any-return]


def _suggested(t: Tensor) -> Any:
    """The memory format that a tensor counts as lying in."""
    for wanted in (channels_last, channels_last_3d):
        if t.is_contiguous(memory_format=wanted) and not t.is_contiguous():
            return wanted
    return contiguous_format


def _caster(name: str, dt: dtype) -> None:
    def convert(self: Tensor, memory_format: Any = None) -> Tensor:
        out = cast_tensor(self, dt)
        return out if out is self and memory_format is _suggested(self) else in_format(out, memory_format)
    convert.__name__ = name
    convert.__doc__ = f"The tensor as {dt.name}."
    method(name)(convert)


for _name, _dt in (("float", dtypes.float32), ("double", dtypes.float64), ("half", dtypes.float16), ("bfloat16", dtypes.bfloat16), ("int", dtypes.int32),
                   ("long", dtypes.int64), ("short", dtypes.int16), ("char", dtypes.int8), ("byte", dtypes.uint8), ("bool", dtypes.bool_),
                   ("cfloat", dtypes.complex64), ("cdouble", dtypes.complex128)):
    _caster(_name, _dt)


@method()
def cpu(self: Tensor, memory_format: Any = None) -> Tensor:
    """The tensor on the CPU (itself)."""
    return in_format(self, memory_format)


@method()
def cuda(self: Tensor, device: Any = None, non_blocking: bool = False, memory_format: Any = None) -> Tensor:
    """The tensor on a CUDA device. Raises RuntimeError: this build has no CUDA backend."""
    devices.require("cuda" if device is None else device)
    return self


@method("type")
def type_(self: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """The name of the tensor type ("torch.FloatTensor"), or the tensor as another type."""
    if dtype is None:
        return f"torch.{self._dtype.title}Tensor"
    if isinstance(dtype, str):
        dtype = next(d for d in dtypes.ALL if f"torch.{d.title}Tensor" == dtype)
    return cast_tensor(self, dtype)


@method()
def type_as(self: Tensor, other: Tensor) -> Tensor:
    """The tensor as the dtype of another."""
    return cast_tensor(self, other._dtype)


@method()
def copy_(self: Tensor, src: Any, non_blocking: bool = False) -> Tensor:
    """Overwrite with another tensor, broadcast and cast. Raises RuntimeError for shapes that do not broadcast."""
    if not isinstance(src, Tensor):
        from torsh.tensor.creation import tensor
        src = tensor(src)
    if src._dtype.category > self._dtype.category:
        src = cast_tensor(src, self._dtype)
    return copy_into(self, src, "copy_", overwrite=True)


@public("fill_")
def fill_(self: Tensor, value: Any) -> Tensor:
    """Overwrite with one value (a number or a 0-dimensional tensor)."""
    if isinstance(value, Tensor):
        if value._shape:
            raise RuntimeError(f"fill_ only supports 0-dimension value tensor but got tensor with {len(value._shape)} dimensions.")
        return copy_(self, value)
    if self._dtype.category == 1:
        value = int(value)
    elif self._dtype.category == 0:
        value = bool(value)
    elif self._dtype.category == 2 and isinstance(value, complex):
        raise RuntimeError(f"value cannot be converted to type {self._dtype.name} without overflow")
    return copy_into(self, wrap(const(value, self._dtype)), "fill_", overwrite=True)


@public("zero_")
def zero_(self: Tensor) -> Tensor:
    """Overwrite with zeros."""
    return fill_(self, 0)


@method()
def resize_(self: Tensor, *sizes: Any, memory_format: Any = None) -> Tensor:
    """Change the shape in place; new elements are unspecified. Raises RuntimeError for a tensor that requires grad."""
    if self._requires_grad:
        raise RuntimeError("cannot resize variables that require grad")
    shape = tuple(sizes[0]) if len(sizes) == 1 and not isinstance(sizes[0], int) else tuple(sizes)
    have = self._storage.node.numel
    need = self._offset + numel(shape)
    if need > have:
        if self._storage.shared():
            raise RuntimeError("Trying to resize storage that is not resizable: its memory is shared with an array outside")
        old = self._storage.node
        grown = Node(EMPTY, (), None, (need,), old.dtype)
        self._storage.write(Node(ASSIGN, (grown, old), ((have,), (1,), 0), (need,), old.dtype) if old.shape == (have,) else
                            Node(ASSIGN, (grown, _flat(old)), ((have,), (1,), 0), (need,), old.dtype))
    self._shape = shape
    self._strides = None
    return self


def _flat(node: Node) -> Node:
    from torsh.graph.primitives import reshape
    return reshape(node, (node.numel,))


def _set_data(self: Tensor, new: Tensor) -> None:
    if not isinstance(new, Tensor):
        raise TypeError(f"Variable data has to be a tensor, but got {type(new).__name__}")
    self._storage, self._shape, self._dtype = new._storage, new._shape, new._dtype
    self._strides, self._offset = new._strides, new._offset


attribute("data", property(lambda self: alias(self, self._shape, self._strides, self._offset), _set_data))


@method()
def set_(self: Tensor, source: Tensor) -> Tensor:
    """Share the storage and geometry of another tensor."""
    _set_data(self, source)
    return self


def _new(name: str) -> None:
    def make(self: Tensor, *size: Any, dtype: dtype | None = None, device: Any = None, requires_grad: bool = False, **options: Any) -> Tensor:
        from torsh.tensor import creation
        if "size" in options:
            size = (options.pop("size"), *size)
        return creation.FUNCTIONS[name](*size, dtype=dtype or self._dtype, device=device, requires_grad=requires_grad, **options)  # type: ignore[no-any-return]
    make.__name__ = "new_" + name
    make.__doc__ = f"`torsh.{name}` with this tensor's dtype unless one is given."
    method("new_" + name)(make)


for _name in ("tensor", "zeros", "ones", "empty", "empty_strided", "full"):
    _new(_name)


@public("resize_as_")
def resize_as_(self: Tensor, the_template: Tensor, *, memory_format: Any = None) -> Tensor:
    """`resize_` to the shape of another tensor."""
    return resize_(self, the_template._shape, memory_format=memory_format)

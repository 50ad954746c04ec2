"""Conversions of type and device, and whole-tensor writes."""
from __future__ import annotations

import warnings
from numbers import Integral
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


def _elsewhere(kind: str) -> None:
    def move(self: Tensor, device: Any = None, non_blocking: bool = False, memory_format: Any = None) -> Tensor:
        raise RuntimeError(f"device '{kind}' is not available: this build of ToRSh has the backends: cpu")
    move.__name__ = kind
    move.__doc__ = f"The tensor on a device of kind {kind}. Raises RuntimeError: this build has no such backend."
    method(kind)(move)


for _name in ("ipu", "mtia", "xpu"):
    _elsewhere(_name)


@method()
def pin_memory(self: Tensor, device: Any = None) -> Tensor:
    """A copy in memory locked for an accelerator. Raises RuntimeError: there is none."""
    raise RuntimeError("Cannot access accelerator device when none is available.")


@method("type")
def type_(self: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """The name of the tensor type ("torch.FloatTensor"), or the tensor as another type: a dtype, a class of tensors or its name.

    Raises ValueError for another name, TypeError for another object.
    """
    if dtype is None:
        return f"torch.{self._dtype.title}Tensor"
    if not isinstance(dtype, dtypes.dtype):
        from torsh.tensor.kinds import type_named
        dtype = type_named("type", dtype)
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
    shape = tuple([int(n) for n in (sizes[0] if len(sizes) == 1 and not isinstance(sizes[0], (int, Integral)) else sizes)])
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
def set_(self: Tensor, source: Any = None, storage_offset: int = 0, size: Any = None, stride: Any = None) -> Tensor:
    """Share the storage of another tensor, or stand on a storage: with the other's geometry, or one given; without a source, on none.

    Raises RuntimeError for a tensor of another dtype and for a geometry that reaches outside the storage.
    """
    from torsh.storage import UntypedStorage, is_storage, on_storage
    if source is None:
        source = UntypedStorage(0)
    if isinstance(source, Tensor):
        if source._dtype is not self._dtype:
            raise RuntimeError(f"set_: could not set tensor of type {self._dtype.name} to a tensor of type {source._dtype.name}")
        _set_data(self, source if size is None else on_storage(source.untyped_storage(), self._dtype, storage_offset, size, stride))  # type: ignore[attr-defined]
        return self
    if not is_storage(source):
        raise TypeError(f"set_(): argument 'source' must be Tensor or a storage, not {type(source).__name__}")
    if getattr(source, "dtype", self._dtype) is not self._dtype:
        raise RuntimeError(f"set_: expected a storage of {self._dtype.name}, got one of {source.dtype.name}")
    _set_data(self, on_storage(source, self._dtype, storage_offset, size, stride))
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


@method()
def resize(self: Tensor, *sizes: Any) -> Tensor:
    """`view` with as many elements. Deprecated, as in PyTorch. Raises RuntimeError for another number of them."""
    warnings.warn("non-inplace resize is deprecated", stacklevel=2)
    shape = tuple(sizes[0]) if len(sizes) == 1 and not isinstance(sizes[0], (int, Integral)) else tuple(sizes)
    if numel(shape) != self.numel():
        raise RuntimeError(f"requested resize to {'x'.join(map(str, shape))} ({numel(shape)} elements in total), but the given tensor has a size of "
                           f"{'x'.join(map(str, self._shape))} ({self.numel()} elements). autograd's resize can only change the shape of a given tensor, while "
                           "preserving the number of elements. ")
    return self.reshape(shape)  # type: ignore[attr-defined,no-any-return]


@method()
def resize_as(self: Tensor, tensor: Tensor) -> Tensor:
    """`resize` to the shape of another tensor. Deprecated, as in PyTorch."""
    return resize(self, tensor._shape)


@method()
def as_subclass(self: Tensor, cls: type) -> Any:
    """The tensor, its memory and its history, as an instance of a subclass of Tensor. Raises TypeError for another class."""
    if not (isinstance(cls, type) and issubclass(cls, Tensor)):
        raise TypeError(f"cls must be a type (got {type(cls).__name__})" if not isinstance(cls, type) else
                        f"Creating a Tensor subclass from a class that does not inherit from Tensor is not possible. Make sure your class "
                        f"inherits from Tensor. (got {cls.__name__})")
    seen = self.view(self._shape) if self._requires_grad else self  # type: ignore[attr-defined]
    out = Tensor.__new__(cls)
    out._storage, out._shape, out._dtype = seen._storage, seen._shape, seen._dtype
    for name in ("_strides", "_offset", "_requires_grad", "_grad_fn", "_output_nr", "_base", "_view_version"):
        value = getattr(seen, name)
        if value is not getattr(Tensor, name, None):
            setattr(out, name, value)
    return out


@method()
def module_load(self: Tensor, other: Tensor, assign: bool = False) -> Tensor:
    """What a module's tensor becomes when `other` is loaded into it: itself overwritten or, with `assign`, the other."""
    return other.detach() if assign else copy_(self.detach(), other)  # type: ignore[attr-defined,no-any-return]


@method()
def const_data_ptr(self: Tensor) -> int:
    """`data_ptr`, to be read only."""
    return self.data_ptr()


@method()
def record_stream(self: Tensor, stream: Any) -> None:
    """Tell an accelerator's memory that a stream uses the tensor. Raises NotImplementedError: the CPU has none."""
    raise NotImplementedError("record_stream: the CPU's memory knows no streams")


@public(method=False)
def is_distributed(input: Tensor) -> bool:
    """Whether the tensor lies in several processes: no."""
    return False


method("is_distributed")(is_distributed)
attribute("name", property(lambda self: None))


@public("resize_as_")
def resize_as_(self: Tensor, the_template: Tensor, *, memory_format: Any = None) -> Tensor:
    """`resize_` to the shape of another tensor."""
    return resize_(self, the_template._shape, memory_format=memory_format)

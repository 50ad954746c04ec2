"""Tensors and the outside: NumPy, DLPack, Python numbers and lists, pickling."""
from __future__ import annotations

import copy
import ctypes
from typing import Any

import numpy as np

from torsh.core import dtypes
from torsh.core.dtypes import by_name, dtype
from torsh.core.dtypes import from_numpy as dtype_of
from torsh.core.shapes import Shape, is_contiguous
from torsh.tensor.storage import of_outside, watch
from torsh.tensor.tensor import Tensor, alias, array_on, attribute, method, wrap


@method()
def numpy(self: Tensor, *, force: bool = False) -> np.ndarray:
    """The tensor as a NumPy array that shares its memory: writes on either side are seen on the other.

    bfloat16 gives an `ml_dtypes.bfloat16` array. Raises RuntimeError for a tensor that requires grad (use `detach()`),
    unless `force`.
    """
    if self._requires_grad and not force:
        raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
    if self._storage.conjugate:
        if self._dtype.is_complex and not force:
            raise RuntimeError("Can't call numpy() on Tensor that has conjugate bit set. Use tensor.resolve_conj().numpy() instead.")
        return self._window().copy()  # type: ignore[no-any-return]
    return array_on(self._storage.export(), self)


@method()
def __array__(self: Tensor, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
    array = numpy(self)
    if dtype is not None and array.dtype != np.dtype(dtype):
        return array.astype(dtype)
    return array.copy() if copy else array


attribute("__array_priority__", 1000)


def from_numpy(ndarray: np.ndarray) -> Tensor:
    """A tensor over the memory of a NumPy array: writes on either side are seen on the other.

    Raises TypeError for other objects and for element types that ToRSh does not have, ValueError for negative strides.
    """
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    flags = ndarray.flags
    if flags.c_contiguous and flags.writeable and ndarray.ndim and min(ndarray.strides) >= 0:
        return _over(of_outside(ndarray), ndarray.shape, None)
    dtype_of(ndarray.dtype)
    if any(s < 0 for s in ndarray.strides):
        raise ValueError("At least one stride in the given numpy array is negative, and tensors with negative strides are not currently supported. "
                         "(You can probably work around this by making a copy of your array with array.copy().)")
    if not ndarray.flags.writeable:
        return from_numpy(ndarray.copy())
    if ndarray.flags.c_contiguous:
        return _over(of_outside(ndarray), ndarray.shape, None)
    size = ndarray.itemsize
    if any(s % size for s in ndarray.strides):
        raise ValueError("given numpy array strides are not a multiple of the element byte size. Copy the numpy array to reallocate the memory.")
    strides = tuple(s // size for s in ndarray.strides)
    span = 1 + sum((n - 1) * s for n, s in zip(ndarray.shape, strides, strict=True)) if ndarray.size else 0
    flat = np.lib.stride_tricks.as_strided(ndarray.reshape(-1)[:0] if not span else ndarray, (span,), (size,))
    return _over(of_outside(flat), ndarray.shape, strides)


def _over(storage: Any, shape: Shape, strides: Shape | None) -> Tensor:
    out = Tensor(storage, shape, storage.node.dtype)
    if strides is not None and not is_contiguous(shape, strides):
        out._strides = strides
    return out


def as_tensor(data: Any, dtype: dtype | None = None, device: Any = None) -> Tensor:
    """`data` as a tensor, sharing memory where it can (tensors, NumPy arrays), else copied. Raises as `tensor` does."""
    from torsh.tensor.creation import tensor
    if isinstance(data, Tensor):
        return data if dtype is None or dtype is data._dtype else data.to(dtype)  # type: ignore[attr-defined,no-any-return]
    if isinstance(data, np.ndarray):
        made = from_numpy(data)
        return made if dtype is None or dtype is made._dtype else made.to(dtype)  # type: ignore[attr-defined,no-any-return]
    return tensor(data, dtype=dtype, device=device)


def asarray(obj: Any, *, dtype: dtype | None = None, device: Any = None, copy: bool | None = None, requires_grad: bool = False) -> Tensor:
    """`obj` as a tensor, sharing memory where it can unless `copy`. Raises ValueError when `copy=False` cannot be honoured."""
    made = as_tensor(obj, dtype=dtype, device=device)
    shares = isinstance(obj, (Tensor, np.ndarray)) and (dtype is None or made._dtype is (obj._dtype if isinstance(obj, Tensor) else made._dtype))
    if copy is False and not shares:
        raise ValueError("asarray: can't alias the given object without a copy")
    if copy and shares:
        made = wrap(made._node())
    return made.requires_grad_() if requires_grad else made  # type: ignore[attr-defined,no-any-return]


# ---- DLPack (through NumPy, which speaks it for CPU memory)


@method()
def __dlpack__(self: Tensor, *, stream: Any = -1, max_version: tuple[int, int] | None = None, dl_device: tuple[Any, int] | None = None,
               copy: bool | None = None) -> Any:
    """A DLPack capsule over the tensor's memory, or over a copy. Raises BufferError for a tensor that requires grad and another device."""
    if self._requires_grad:
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
    if dl_device is not None and int(dl_device[0]) != 1:
        raise BufferError(f"__dlpack__: the tensor is on the CPU and cannot be exported to device {dl_device}")
    array = numpy(self)
    if copy:
        array = array.copy()
    try:
        return array.__dlpack__(max_version=max_version)  # type: ignore[call-arg]
    except TypeError:  # a NumPy that knows no versions
        return array.__dlpack__()


@method()
def __dlpack_device__(self: Tensor) -> tuple[int, int]:
    return 1, 0  # kDLCPU


def from_dlpack(ext_tensor: Any) -> Tensor:
    """A tensor over the memory of any object with `__dlpack__` on the CPU. Raises as `from_numpy` does."""
    return from_numpy(np.from_dlpack(ext_tensor))


def to_dlpack(tensor: Tensor) -> Any:
    """A DLPack capsule over the tensor's memory."""
    return __dlpack__(tensor)


# ---- numbers and lists


#: Element types that ctypes reads too, in a tenth of the time.
_PLAIN: dict[dtypes.dtype, Any] = {dtypes.float32: ctypes.c_float, dtypes.float64: ctypes.c_double, dtypes.int64: ctypes.c_int64, dtypes.int32: ctypes.c_int32,
          dtypes.bool_: ctypes.c_bool}


@method()
def item(self: Tensor) -> Any:
    """The one element as a Python number. Raises RuntimeError unless there is exactly one."""
    if self.numel() != 1:
        raise RuntimeError(f"a Tensor with {self.numel()} elements cannot be converted to Scalar")
    plain = _PLAIN.get(self._dtype)
    if plain is not None:
        return plain.from_address(self._storage.address() + self._offset * self._dtype.itemsize).value
    value = self._window().reshape(-1)[0]
    return float(value) if self._dtype.category == 2 else value.item()


@method()
def tolist(self: Tensor) -> Any:
    """The elements as nested lists of Python numbers (a number for 0 dimensions)."""
    window = self._window()
    return (window.astype(np.float32) if self._dtype.category == 2 and self._dtype.itemsize < 4 else window).tolist()


@method()
def __bool__(self: Tensor) -> bool:
    n = self.numel()
    if n == 0:
        raise RuntimeError("Boolean value of Tensor with no values is ambiguous")
    if n > 1:
        raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")
    return bool(item(self))


@method()
def __int__(self: Tensor) -> int:
    return int(item(self))


@method()
def __float__(self: Tensor) -> float:
    return float(item(self))


@method()
def __complex__(self: Tensor) -> complex:
    return complex(item(self))


@method()
def __index__(self: Tensor) -> int:
    if self._dtype.category > 1 or self.numel() != 1:
        raise TypeError("only integer tensors of a single element can be converted to an index")
    return int(item(self))


@method()
def __format__(self: Tensor, format_spec: str) -> str:
    if self._shape or watch.values is not None:
        return object.__format__(self, format_spec)
    return format(item(self), format_spec) if format_spec else str(item(self))


@method()
def __contains__(self: Tensor, element: Any) -> bool:
    return bool((self == element).any())  # type: ignore[attr-defined]


# ---- copying and pickling


def _rebuild(cls: type[Tensor], data: np.ndarray, dtype_name: str, shape: Shape, strides: Shape | None, offset: int, requires_grad: bool,
             state: dict[str, Any]) -> Tensor:
    flat = np.frombuffer(bytearray(data), by_name(dtype_name).np) if isinstance(data, (bytes, bytearray)) else data
    from torsh.tensor.storage import Storage, leaf
    out = cls.__new__(cls)
    out._storage, out._shape, out._dtype = Storage(leaf(flat)), shape, by_name(dtype_name)
    if strides is not None:
        out._strides = strides
    out._offset = offset
    out._requires_grad = requires_grad
    _set_extra(out, state)
    return out  # type: ignore[no-any-return]


_OWN = ("_storage", "_shape", "_dtype", "_strides", "_offset", "_requires_grad", "_grad_fn", "_output_nr", "_grad", "_base", "_view_version",
        "_accumulator", "_retains", "_inference", "_backward_hooks")


def _extra(t: Tensor) -> dict[str, Any]:
    own = getattr(t, "__dict__", None)  # a compiled tensor has none until something is put there
    return {} if own is None else {k: v for k, v in own.items() if k not in _OWN}


def _set_extra(t: Tensor, extra: dict[str, Any]) -> None:
    for name, value in extra.items():
        setattr(t, name, value)


@method()
def __reduce_ex__(self: Tensor, proto: Any) -> tuple[Any, ...]:
    if self._requires_grad and self._grad_fn is not None:
        data = alias(self, self._shape, self._strides, self._offset)
        return __reduce_ex__(data, proto)
    memory = self._storage.memory()
    typed = memory if memory.dtype == self._dtype.np else memory.view(self._dtype.np)
    return _rebuild, (type(self), typed.tobytes(), self._dtype.name, self._shape, self._strides, self._offset, self._requires_grad, _extra(self))


@method()
def __deepcopy__(self: Tensor, memo: dict[int, Any]) -> Tensor:
    if id(self) in memo:
        return memo[id(self)]  # type: ignore[no-any-return]
    if self._grad_fn is not None:
        raise RuntimeError("Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment.")
    from torsh.tensor.storage import Storage, leaf
    key = id(self._storage)
    storage = memo.get(key)
    if storage is None:
        node = self._storage.node
        storage = memo[key] = Storage(leaf(self._storage.memory().copy()) if self._storage.shared() else node)
    out = type(self).__new__(type(self))
    out._storage, out._shape, out._dtype = storage, self._shape, self._dtype
    if self._strides is not None:
        out._strides = self._strides
    if self._offset:
        out._offset = self._offset
    out._requires_grad = self._requires_grad
    if self._grad is not None:
        out._grad = __deepcopy__(self._grad, memo)
    memo[id(self)] = out
    _set_extra(out, copy.deepcopy(_extra(self), memo))
    return out


FUNCTIONS = {"from_numpy": from_numpy, "as_tensor": as_tensor, "asarray": asarray, "from_dlpack": from_dlpack, "to_dlpack": to_dlpack}

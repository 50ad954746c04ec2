"""Storages as objects of their own: the memory behind tensors, as bytes (`UntypedStorage`) or as elements of one type (`TypedStorage`).

Each stands on the storage that tensors share (`torsh.tensor.storage.Storage`) and reads and writes it as a tensor of bytes does, so
that pending work, versions and sharing are the same.
"""
from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from torsh.core import dtypes
from torsh.core.devices import CPU, require
from torsh.core.devices import device as Device
from torsh.core.dtypes import by_name, dtype, uint8
from torsh.core.warn import warn_once
from torsh.graph.node import Node
from torsh.graph.primitives import ASSIGN, EMPTY, view
from torsh.ops.convert import copy_
from torsh.tensor.creation import empty, finish, tensor
from torsh.tensor.kinds import elements
from torsh.tensor.storage import Storage, leaf, of_outside, reinterpret
from torsh.tensor.tensor import Tensor, alias, method, wrap

#: The storages whose memory other processes can see, or that is a file's: its name, or "".
_SHARED: weakref.WeakKeyDictionary[Storage, str] = weakref.WeakKeyDictionary()
#: The one UntypedStorage that stands for a storage while somebody has it.
_KNOWN: weakref.WeakValueDictionary[int, UntypedStorage] = weakref.WeakValueDictionary()


def _nbytes(inner: Storage) -> int:
    return inner.node.numel * inner.node.dtype.itemsize


def untyped(inner: Storage) -> UntypedStorage:
    """The UntypedStorage of a storage: the same object as long as one is alive."""
    found = _KNOWN.get(id(inner))
    if found is None or found._inner is not inner:
        found = object.__new__(UntypedStorage)
        found._inner = inner
        _KNOWN[id(inner)] = found
    return found


def _refuse(device: Any) -> None:
    require(device)


class UntypedStorage:
    """Memory as bytes: `UntypedStorage(n)` of n bytes with no particular values, or of a sequence of numbers from 0 to 255.

    Raises RuntimeError for a device without backend.

    >>> UntypedStorage([1, 2, 3]).tolist()
    [1, 2, 3]
    """
    _inner: Storage

    def __init__(self, *args: Any, device: Any = None) -> None:
        _refuse(device)
        if len(args) > 1:
            raise TypeError(f"UntypedStorage(): expected a size or a sequence, got {len(args)} arguments")
        given: Any = args[0] if args else 0
        made = empty(int(given), dtype=uint8) if hasattr(given, "__index__") else tensor(list(given), dtype=uint8)
        self._inner = made._storage
        _KNOWN[id(self._inner)] = self

    @property
    def device(self) -> Device:
        """Where the memory is."""
        return CPU

    is_cuda = is_sparse = is_sparse_csr = is_hpu = False

    def nbytes(self) -> int:
        """The number of bytes."""
        return _nbytes(self._inner)

    def size(self) -> int:
        """The number of bytes."""
        return self.nbytes()

    __len__ = nbytes

    def element_size(self) -> int:
        """1."""
        return 1

    def data_ptr(self) -> int:
        """The address of the memory (which is computed if need be)."""
        return self._inner.address()

    @property
    def _cdata(self) -> int:
        return id(self._inner)

    def _bytes(self) -> Tensor:
        return elements(self._inner, uint8)

    def untyped(self) -> UntypedStorage:
        """Itself."""
        return self

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            begin, end, step = index.indices(self.nbytes())
            if step != 1:
                raise RuntimeError(f"Trying to slice with a step of {step}, but only a step of 1 is supported")
            if self._inner.node.buffer is None:
                self._inner.address()
            memory = np.frombuffer(self._inner.export(), np.uint8)
            return untyped(of_outside(memory[begin:max(begin, end)]))
        if not hasattr(index, "__index__"):
            raise TypeError(f"can't index a torsh.UntypedStorage with {type(index).__name__}")
        return self._bytes()[_position(index.__index__(), self.nbytes())].item()

    def __setitem__(self, index: Any, value: int) -> None:
        if isinstance(index, slice):
            begin, end, _ = index.indices(self.nbytes())
            self._bytes()[begin:max(begin, end)] = value
        else:
            self._bytes()[_position(index.__index__(), self.nbytes())] = value

    def __iter__(self) -> Iterator[int]:
        return iter(self.tolist())

    def tolist(self) -> list[int]:
        """The bytes as numbers."""
        return self._bytes().tolist()  # type: ignore[no-any-return]

    def fill_(self, value: int) -> UntypedStorage:
        """Make all bytes one value."""
        self._bytes().fill_(value)
        return self

    def copy_(self, source: Any, non_blocking: bool | None = None) -> UntypedStorage:
        """Overwrite with the bytes of another storage. Raises RuntimeError unless it has as many."""
        other = source.untyped()
        if other.nbytes() != self.nbytes():
            raise RuntimeError(f"UntypedStorage.copy_: size does not match, self was {self.nbytes()} bytes but src was {other.nbytes()} bytes")
        copy_(self._bytes(), other._bytes())
        return self

    def clone(self) -> UntypedStorage:
        """A storage of its own with the same bytes."""
        return untyped(wrap(elements(self._inner, self._inner.node.dtype)._node()).clone()._storage)

    def resizable(self) -> bool:
        """Whether `resize_` can be: not while somebody outside shares the memory."""
        return not self._inner.shared()

    def resize_(self, size: int) -> UntypedStorage:
        """Give the memory another number of bytes; new ones have no particular values. Raises RuntimeError while it is shared with the outside."""
        if self._inner.shared():
            raise RuntimeError("Trying to resize storage that is not resizable")
        node, have = self._inner.node, self.nbytes()
        if size == have:
            return self
        if size % node.dtype.itemsize:
            node = reinterpret(view(node, (node.numel,), (1,), 0), uint8)
        count, old = size // node.dtype.itemsize, view(node, (node.numel,), (1,), 0)
        if size < have:
            self._inner.node = view(old, (count,), (1,), 0)
        else:
            self._inner.node = Node(ASSIGN, (Node(EMPTY, (), None, (count,), node.dtype), old), ((old.numel,), (1,), 0), (count,), node.dtype)
        self._inner.version += 1
        return self

    def byteswap(self, dtype: dtype) -> None:
        """Reverse the bytes of each element, in place; of a complex one, of each part."""
        size = dtype.itemsize // (2 if dtype.is_complex else 1)
        copy_(self._bytes(), self._bytes().reshape(-1, size).flip(1).reshape(-1))

    def new(self) -> UntypedStorage:
        """An empty storage."""
        return UntypedStorage(0)

    def cpu(self) -> UntypedStorage:
        """Itself."""
        return self

    def to(self, *, device: Any, non_blocking: bool = False) -> UntypedStorage:
        """Itself. Raises RuntimeError for a device without backend."""
        _refuse(device)
        return self

    def cuda(self, device: Any = None, non_blocking: bool = False) -> UntypedStorage:
        """Raises RuntimeError: this build has no CUDA backend."""
        _refuse("cuda" if device is None else device)
        return self

    def get_device(self) -> int:
        """-1: the CPU."""
        return -1

    def type(self, dtype: str | None = None, non_blocking: bool = False) -> Any:
        """The name of the kind of storage."""
        return "torch.storage.UntypedStorage"

    def is_pinned(self, device: Any = "cuda") -> bool:
        """Whether the memory is locked for an accelerator: no."""
        return False

    def pin_memory(self, device: Any = None) -> UntypedStorage:
        """Raises RuntimeError: there is no accelerator."""
        raise RuntimeError("Cannot access accelerator device when none is available.")

    def is_shared(self) -> bool:
        """Whether other processes can see the memory: after `share_memory_`, or a file's."""
        return self._inner in _SHARED

    @property
    def filename(self) -> str | None:
        """The file that the memory is, None for other memory."""
        return _SHARED.get(self._inner) or None

    def share_memory_(self) -> UntypedStorage:
        """Move the contents to memory that the processes forked from this one share with it. Writes are made at once from then on."""
        if not self.is_shared() and self.nbytes():
            old = self._inner.memory()
            shared = np.frombuffer(mmap.mmap(-1, old.nbytes), old.dtype, old.size)
            shared[:] = old
            made = of_outside(shared)
            self._inner.node, self._inner.outside = made.node, made.outside
        _SHARED.setdefault(self._inner, "")
        return self

    @classmethod
    def from_buffer(cls, buffer: Any, *, byte_order: str = "native", dtype: dtype | None = None, count: int = -1, offset: int = 0) -> UntypedStorage:
        """A copy of the elements of `dtype` in a buffer of bytes, from a byte on, which are "little", "big" or "native"-endian.

        Raises ValueError for bytes that do not fit.
        """
        dt = uint8 if dtype is None else dtype
        data = memoryview(buffer).cast("B")[offset:]
        if len(data) % dt.itemsize and count < 0:
            raise ValueError(f"buffer length ({len(data)} bytes) is not a multiple of the element size ({dt.itemsize})")
        size = (len(data) // dt.itemsize if count < 0 else count) * dt.itemsize
        if size > len(data):
            raise ValueError(f"buffer has only {len(data)} bytes after offset {offset}, but specified a size of {size}")
        made = untyped(Storage(leaf(np.frombuffer(bytearray(data[:size]), np.uint8))))
        import sys
        if byte_order not in ("native", sys.byteorder):
            made.byteswap(dt)
        return made

    @classmethod
    def from_file(cls, filename: Any, shared: bool = False, nbytes: int = 0) -> UntypedStorage:
        """Memory that is a file: with `shared` what is written goes to the file, which is made or made longer if need be; without it stays here.

        Raises RuntimeError for a file that is not there or too short.
        """
        return untyped(_mapped("UntypedStorage.from_file", filename, shared, nbytes, uint8))

    def __copy__(self) -> UntypedStorage:
        return self.clone()

    def __deepcopy__(self, memo: dict[int, Any]) -> UntypedStorage:
        found = memo.get(id(self._inner))
        if found is None:
            found = memo[id(self._inner)] = self.clone()._inner
        return untyped(found)

    def __sizeof__(self) -> int:
        return object.__sizeof__(self) + self.nbytes()

    def __repr__(self) -> str:
        rows = "".join(f" {v}\n" for v in self.tolist())
        return f"{rows}[torsh.storage.UntypedStorage(device=cpu) of size {self.nbytes()}]"


def _position(index: int, size: int) -> int:
    if not -size <= index < size:
        raise IndexError(f"index {index} out of range for storage of size {size}")
    return index % size


def _mapped(what: str, filename: Any, shared: bool, nbytes: int, dt: dtype) -> Storage:
    path = os.fspath(filename)
    try:
        with open(path, "r+b" if shared and os.path.exists(path) else "w+b" if shared else "rb") as file:
            have = os.fstat(file.fileno()).st_size
            if have < nbytes:
                if not shared:
                    raise RuntimeError(f"{what}: file <{path}> size <{have}> is smaller than the required mapping size <{nbytes}>")
                file.truncate(nbytes)
            access = mmap.ACCESS_WRITE if shared else mmap.ACCESS_COPY
            memory = mmap.mmap(file.fileno(), nbytes, access=access) if nbytes else bytearray()
    except OSError as error:
        raise RuntimeError(f"{what}: unable to open file <{path}>: {error.strerror}") from None
    inner = of_outside(np.frombuffer(memory, dt.np))
    _SHARED[inner] = path if shared else ""
    if not shared:
        del _SHARED[inner]
    return inner


def from_file(filename: Any, shared: bool | None = None, size: int = 0, *, dtype: dtype | None = None, layout: Any = None, device: Any = None,
              pin_memory: bool = False, requires_grad: bool = False) -> Tensor:
    """A tensor of `size` elements whose memory is a file: with `shared` what is written goes to the file, which is made or made longer if
    need be; without, it stays here. Raises RuntimeError for a file that is not there or too short."""
    _refuse(device)
    dt = dtypes.get_default_dtype() if dtype is None else dtype
    return finish(Tensor(_mapped("from_file", filename, bool(shared), size * dt.itemsize, dt), (size,), dt), requires_grad)


# ---- with a type


class _Kind(type):
    """The class of `FloatStorage` and its like: what is made is a TypedStorage, and every TypedStorage of the type is an instance."""
    dtype: dtype

    def __instancecheck__(cls, instance: Any) -> bool:
        if cls is TypedStorage or not hasattr(cls, "dtype") or isinstance(cls.__dict__.get("dtype"), property):
            return type.__instancecheck__(cls, instance)
        return type.__instancecheck__(TypedStorage, instance) and instance.dtype is cls.dtype


_OLD = "TypedStorage is deprecated. It will be removed in the future and UntypedStorage will be the only storage class. This should only matter to you if " \
       "you are using storages directly.  To access UntypedStorage directly, use tensor.untyped_storage() instead of tensor.storage()"


class TypedStorage(metaclass=_Kind):
    """Memory as elements of one type: a number of them, a sequence, or an `UntypedStorage` under another view (`wrap_storage`).

    Deprecated, as in PyTorch: it warns once. Raises RuntimeError for a device without backend, TypeError for what is no storage.
    """

    def __init__(self, *args: Any, wrap_storage: UntypedStorage | None = None, dtype: Any = None, device: Any = None, _internal: bool = False) -> None:
        if not _internal:
            warn_once(_OLD, stacklevel=3)
        _refuse(device)
        self._dtype: Any = dtype if dtype is not None else dtypes.get_default_dtype()
        if not isinstance(self._dtype, dtypes.dtype):
            raise TypeError(f"argument 'dtype' must be torsh.dtype, not {type(dtype)}")
        if wrap_storage is not None:
            if args or not isinstance(wrap_storage, UntypedStorage):
                raise (RuntimeError if args else TypeError)(f"argument 'wrap_storage' must be UntypedStorage and the only one, got {type(wrap_storage)}")
            self._untyped_storage = wrap_storage
            return
        if len(args) > 1:
            raise RuntimeError(f"TypedStorage(): expected a size or a sequence, got {len(args)} arguments")
        given: Any = args[0] if args else 0
        made = empty(int(given), dtype=self._dtype) if hasattr(given, "__index__") else tensor(list(given), dtype=self._dtype)
        self._untyped_storage = untyped(made._storage)

    @property
    def dtype(self) -> Any:
        """The type of the elements."""
        return self._dtype

    @property
    def device(self) -> Device:
        """Where the memory is."""
        return CPU

    @property
    def filename(self) -> str | None:
        """The file that the memory is, None for other memory."""
        return self._untyped_storage.filename

    @property
    def _cdata(self) -> int:
        return self._untyped_storage._cdata

    is_cuda = is_sparse = is_hpu = False

    def _values(self) -> Tensor:
        return elements(self._untyped_storage._inner, self._dtype)

    def _of(self, made: Tensor) -> TypedStorage:
        return TypedStorage(wrap_storage=untyped(made._storage), dtype=made._dtype, _internal=True)

    def untyped(self) -> UntypedStorage:
        """The memory as bytes."""
        return self._untyped_storage

    def size(self) -> int:
        """The number of elements."""
        return self._values().numel()

    __len__ = size

    def nbytes(self) -> int:
        """The number of bytes."""
        return self._untyped_storage.nbytes()

    def element_size(self) -> int:
        """Bytes of one element."""
        return self._dtype.itemsize  # type: ignore[no-any-return]

    def data_ptr(self) -> int:
        """The address of the memory (which is computed if need be)."""
        return self._untyped_storage.data_ptr()

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            raise RuntimeError("slices are only supported in UntypedStorage.__getitem__")
        if not hasattr(index, "__index__"):
            raise TypeError(f"can't index a {type(self).__name__} with {type(index).__name__}")
        return self._values()[_position(index.__index__(), self.size())].item()

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(index, slice):
            begin, end, _ = index.indices(self.size())
            self._values()[begin:max(begin, end)] = value
        else:
            self._values()[_position(index.__index__(), self.size())] = value

    def __iter__(self) -> Iterator[Any]:
        return iter(self.tolist())

    def tolist(self) -> list[Any]:
        """The elements as numbers."""
        return self._values().tolist()  # type: ignore[no-any-return]

    def fill_(self, value: Any) -> TypedStorage:
        """Make all elements one value."""
        self._values().fill_(value)
        return self

    def copy_(self, source: Any, non_blocking: bool | None = None) -> TypedStorage:
        """Overwrite with the bytes of another storage. Raises RuntimeError unless it has as many."""
        self._untyped_storage.copy_(source)
        return self

    def clone(self) -> TypedStorage:
        """A storage of its own with the same elements."""
        return TypedStorage(wrap_storage=self._untyped_storage.clone(), dtype=self._dtype, _internal=True)

    def resizable(self) -> bool:
        """Whether `resize_` can be."""
        return self._untyped_storage.resizable()

    def resize_(self, size: int) -> None:
        """Give the memory room for another number of elements. Raises RuntimeError while it is shared with the outside."""
        self._untyped_storage.resize_(size * self.element_size())

    def cpu(self) -> TypedStorage:
        """Itself."""
        return self

    def to(self, *, device: Any, non_blocking: bool = False) -> TypedStorage:
        """Itself. Raises RuntimeError for a device without backend."""
        _refuse(device)
        return self

    def cuda(self, device: Any = None, non_blocking: bool = False) -> TypedStorage:
        """Raises RuntimeError: this build has no CUDA backend."""
        _refuse("cuda" if device is None else device)
        return self

    def get_device(self) -> int:
        """-1: the CPU."""
        return -1

    def type(self, dtype: Any = None, non_blocking: bool = False) -> Any:
        """The name of the kind of storage ("torch.FloatStorage"), or the elements as those of another kind, by its name or class."""
        if dtype is None:
            return f"torch.{self.pickle_storage_type()}"
        name = dtype if isinstance(dtype, str) else getattr(dtype, "__name__", "")
        kind = KINDS.get(name.removeprefix("torch.").removeprefix("torsh."))
        if kind is None:
            raise ValueError(f"invalid type: {dtype!r}")
        return self if kind.dtype is self._dtype else self._of(self._values().to(kind.dtype))

    def pickle_storage_type(self) -> str:
        """The name under which files know storages of this type. Raises KeyError for a type that has none."""
        found = kind_of(self._dtype)
        if found is None:
            raise KeyError(f"dtype {self._dtype} is not recognized")
        return found.__name__

    def is_pinned(self, device: Any = "cuda") -> bool:
        """Whether the memory is locked for an accelerator: no."""
        return False

    def pin_memory(self, device: Any = None) -> TypedStorage:
        """Raises RuntimeError: there is no accelerator."""
        self._untyped_storage.pin_memory()
        return self

    def is_shared(self) -> bool:
        """Whether other processes can see the memory."""
        return self._untyped_storage.is_shared()

    def share_memory_(self) -> TypedStorage:
        """Move the contents to memory that the processes forked from this one share with it."""
        self._untyped_storage.share_memory_()
        return self

    @classmethod
    def from_buffer(cls, buffer: Any, *, byte_order: str = "native", dtype: Any = None, count: int = -1, offset: int = 0,
                    device: Any = None) -> TypedStorage:
        """A copy of the elements in a buffer of bytes. Raises as `UntypedStorage.from_buffer` does."""
        _refuse(device)
        dt = dtype if dtype is not None else _own_type(cls)
        made = UntypedStorage.from_buffer(buffer, byte_order=byte_order, dtype=dt, count=count, offset=offset)
        return TypedStorage(wrap_storage=made, dtype=dt, _internal=True)

    @classmethod
    def from_file(cls, filename: Any, shared: bool = False, size: int = 0) -> TypedStorage:
        """Memory that is a file, of so many elements. Raises as `UntypedStorage.from_file` does."""
        dt = _own_type(cls)
        made = UntypedStorage.from_file(filename, shared, size * dt.itemsize)
        return TypedStorage(wrap_storage=made, dtype=dt, _internal=True)

    def __copy__(self) -> TypedStorage:
        return self.clone()

    def __deepcopy__(self, memo: dict[int, Any]) -> TypedStorage:
        return TypedStorage(wrap_storage=self._untyped_storage.__deepcopy__(memo), dtype=self._dtype, _internal=True)

    def __repr__(self) -> str:
        rows = "".join(f" {v}\n" for v in self.tolist())
        return f"{rows}[torsh.storage.TypedStorage(dtype={self._dtype}, device=cpu) of size {self.size()}]"


def _own_type(cls: type) -> Any:
    dt = cls.__dict__.get("dtype")
    if not isinstance(dt, dtypes.dtype):
        raise RuntimeError(f"{cls.__name__}: give the type of the elements (dtype), or use a class that has one, such as FloatStorage")
    return dt


def _conversion(name: str, dt: dtype) -> None:
    def convert(self: Any) -> Any:
        values = self._values() if isinstance(self, TypedStorage) else self._bytes()
        return TypedStorage(wrap_storage=untyped(values.to(dt, copy=True)._storage), dtype=dt, _internal=True)
    convert.__name__ = name
    convert.__doc__ = f"The elements as {dt.name}."
    setattr(TypedStorage, name, convert)
    setattr(UntypedStorage, name, convert)


for _name, _dt in (("double", "float64"), ("float", "float32"), ("half", "float16"), ("bfloat16", "bfloat16"), ("long", "int64"), ("int", "int32"),
                   ("short", "int16"), ("char", "int8"), ("byte", "uint8"), ("bool", "bool"), ("complex_float", "complex64"), ("complex_double", "complex128"),
                   *[(d.name, d.name) for d in dtypes.FLOAT8[:4]]):
    _conversion(_name, by_name(_dt))

#: The classes of storages with a type that files name: by name.
KINDS: dict[str, Any] = {}


def _kind(dt: dtype) -> None:
    name = dt.title + "Storage"

    def make(cls: Any, *args: Any, wrap_storage: UntypedStorage | None = None, dtype: Any = None, device: Any = None, _internal: bool = False) -> TypedStorage:
        warn_once(_OLD, stacklevel=3)
        if dtype is not None:
            raise RuntimeError(f"{name}(): 'dtype' cannot be given, it is {dt}")
        return TypedStorage(*args, wrap_storage=wrap_storage, dtype=dt, device=device, _internal=True)
    KINDS[name] = _Kind(name, (TypedStorage,), {"dtype": dt, "__new__": make, "__module__": "torsh",
                                                "__doc__": f"Storages of {dt.name}: `{name}(size or sequence)` makes a TypedStorage."})


for _t in dtypes.ALL[:12]:
    _kind(_t)
globals().update(KINDS)


def kind_of(dt: dtype) -> Any:
    """The class of storages of a type, None for a type that has none."""
    return KINDS.get(dt.title + "Storage")


def is_storage(obj: Any) -> bool:
    """Whether an object is a storage."""
    return isinstance(obj, (TypedStorage, UntypedStorage))


# ---- of tensors


@method()
def untyped_storage(self: Tensor) -> UntypedStorage:
    """The memory that the tensor stands on, as bytes."""
    return untyped(_memory(self))


def _memory(t: Tensor) -> Storage:
    """The storage that has the memory: a conjugate view's is that of the tensor it is a view of."""
    return t._storage.mirror if t._storage.conjugate else t._storage  # type: ignore[no-any-return]


@method()
def storage(self: Tensor) -> TypedStorage:
    """The memory that the tensor stands on, as elements of its type. Deprecated, as in PyTorch."""
    warn_once(_OLD, stacklevel=3)
    return TypedStorage(wrap_storage=untyped(_memory(self)), dtype=self._dtype, _internal=True)


@method()
def storage_type(self: Tensor) -> Any:
    """The class of the tensor's `storage()`."""
    warn_once(_OLD, stacklevel=3)
    return kind_of(self._dtype)


@method()
def is_shared(self: Tensor) -> bool:
    """Whether other processes can see the tensor's memory: after `share_memory_`, or a file's."""
    return untyped(_memory(self)).is_shared()


@method()
def share_memory_(self: Tensor) -> Tensor:
    """Move the tensor's memory to where the processes forked from this one share it."""
    untyped(_memory(self)).share_memory_()
    return self


def on_storage(source: Any, dt: dtype, storage_offset: int, size: Sequence[int] | None, stride: Sequence[int] | None) -> Tensor:
    """A tensor of a type and geometry on a storage; without a size all of it. Raises RuntimeError for what reaches outside."""
    whole = elements(source.untyped()._inner, dt)
    if size is None:
        return whole
    from torsh.core.shapes import contiguous_strides, storage_extent
    shape = tuple(size)
    strides = contiguous_strides(shape) if stride is None else tuple(stride)
    need = storage_extent(shape, strides, storage_offset)
    if need > whole.numel():
        raise RuntimeError(f"setStorage: sizes {list(shape)}, strides {list(strides)}, storage offset {storage_offset}, and itemsize {dt.itemsize} requiring a "
                           f"storage size of {need * dt.itemsize} are out of bounds for storage of size {whole.numel() * dt.itemsize}")
    return alias(whole, shape, strides, storage_offset)


__all__ = ["KINDS", "TypedStorage", "UntypedStorage", "from_file", "is_storage", "kind_of", "on_storage", "untyped"]

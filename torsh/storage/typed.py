"""Storages as elements of one type."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torsh.core import dtypes
from torsh.core.devices import CPU
from torsh.core.devices import device as Device
from torsh.core.dtypes import by_name, dtype
from torsh.core.warn import warn_once
from torsh.storage.untyped import UntypedStorage, position, refuse, untyped
from torsh.tensor.creation import empty, tensor
from torsh.tensor.kinds import elements
from torsh.tensor.tensor import Tensor


class _Kind(type):
    """The class of `FloatStorage` and its like: what is made is a TypedStorage, and every TypedStorage of the type is an instance."""
    dtype: dtype

    def __instancecheck__(cls, instance: Any) -> bool:
        if cls is TypedStorage or not hasattr(cls, "dtype") or isinstance(cls.__dict__.get("dtype"), property):
            return type.__instancecheck__(cls, instance)
        return type.__instancecheck__(TypedStorage, instance) and instance.dtype is cls.dtype


OLD = "TypedStorage is deprecated. It will be removed in the future and UntypedStorage will be the only storage class. This should only matter to you if " \
       "you are using storages directly.  To access UntypedStorage directly, use tensor.untyped_storage() instead of tensor.storage()"


class TypedStorage(metaclass=_Kind):
    """Memory as elements of one type: a number of them, a sequence, or an `UntypedStorage` under another view (`wrap_storage`).

    Deprecated, as in PyTorch: it warns once. Raises RuntimeError for a device without backend, TypeError for what is no storage.
    """

    def __init__(self, *args: Any, wrap_storage: UntypedStorage | None = None, dtype: Any = None, device: Any = None, _internal: bool = False) -> None:
        if not _internal:
            warn_once(OLD, stacklevel=3)
        refuse(device)
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
        return self._values()[position(index.__index__(), self.size())].item()

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(index, slice):
            begin, end, _ = index.indices(self.size())
            self._values()[begin:max(begin, end)] = value
        else:
            self._values()[position(index.__index__(), self.size())] = value

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
        refuse(device)
        return self

    def cuda(self, device: Any = None, non_blocking: bool = False) -> TypedStorage:
        """Raises RuntimeError: this build has no CUDA backend."""
        refuse("cuda" if device is None else device)
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
        refuse(device)
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
        warn_once(OLD, stacklevel=3)
        if dtype is not None:
            raise RuntimeError(f"{name}(): 'dtype' cannot be given, it is {dt}")
        return TypedStorage(*args, wrap_storage=wrap_storage, dtype=dt, device=device, _internal=True)
    KINDS[name] = _Kind(name, (TypedStorage,), {"dtype": dt, "__new__": make, "__module__": "torsh",
                                                "__doc__": f"Storages of {dt.name}: `{name}(size or sequence)` makes a TypedStorage."})


for _t in dtypes.ALL[:12]:
    _kind(_t)


def kind_of(dt: dtype) -> Any:
    """The class of storages of a type, None for a type that has none."""
    return KINDS.get(dt.title + "Storage")


def is_storage(obj: Any) -> bool:
    """Whether an object is a storage."""
    return isinstance(obj, (TypedStorage, UntypedStorage))

"""Storages as bytes.

Each stands on the storage that tensors share (`torsh.tensor.storage.Storage`) and reads and writes it as a tensor of bytes does, so
that pending work, versions and sharing are the same.
"""
from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np

from torsh.core import dtypes
from torsh.core.devices import CPU, require
from torsh.core.devices import device as Device
from torsh.core.dtypes import dtype, uint8
from torsh.graph.node import Node
from torsh.graph.primitives import ASSIGN, EMPTY, view
from torsh.ops.convert import copy_
from torsh.tensor.creation import empty, finish, tensor
from torsh.tensor.kinds import elements
from torsh.tensor.storage import Storage, leaf, of_outside, reinterpret
from torsh.tensor.tensor import Tensor, wrap

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


def refuse(device: Any) -> None:
    require(device)


class UntypedStorage:
    """Memory as bytes: `UntypedStorage(n)` of n bytes with no particular values, or of a sequence of numbers from 0 to 255.

    Raises RuntimeError for a device without backend.

    >>> UntypedStorage([1, 2, 3]).tolist()
    [1, 2, 3]
    """
    _inner: Storage

    def __init__(self, *args: Any, device: Any = None) -> None:
        refuse(device)
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
        return self._bytes()[position(index.__index__(), self.nbytes())].item()

    def __setitem__(self, index: Any, value: int) -> None:
        if isinstance(index, slice):
            begin, end, _ = index.indices(self.nbytes())
            self._bytes()[begin:max(begin, end)] = value
        else:
            self._bytes()[position(index.__index__(), self.nbytes())] = value

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
        refuse(device)
        return self

    def cuda(self, device: Any = None, non_blocking: bool = False) -> UntypedStorage:
        """Raises RuntimeError: this build has no CUDA backend."""
        refuse("cuda" if device is None else device)
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
        return untyped(mapped("UntypedStorage.from_file", filename, shared, nbytes, uint8))

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


def position(index: int, size: int) -> int:
    if not -size <= index < size:
        raise IndexError(f"index {index} out of range for storage of size {size}")
    return index % size


def mapped(what: str, filename: Any, shared: bool, nbytes: int, dt: dtype) -> Storage:
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
    refuse(device)
    dt = dtypes.get_default_dtype() if dtype is None else dtype
    return finish(Tensor(mapped("from_file", filename, bool(shared), size * dt.itemsize, dt), (size,), dt), requires_grad)

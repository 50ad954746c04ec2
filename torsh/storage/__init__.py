"""Storages as objects of their own: the memory behind tensors, as bytes (`UntypedStorage`) or as elements of one type (`TypedStorage`)."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torsh.core.dtypes import dtype
from torsh.core.warn import warn_once
from torsh.storage.typed import KINDS, OLD, TypedStorage, is_storage, kind_of
from torsh.storage.untyped import UntypedStorage, from_file, untyped
from torsh.tensor.kinds import elements
from torsh.tensor.storage import Storage
from torsh.tensor.tensor import Tensor, alias, method

globals().update(KINDS)


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
    warn_once(OLD, stacklevel=3)
    return TypedStorage(wrap_storage=untyped(_memory(self)), dtype=self._dtype, _internal=True)


@method()
def storage_type(self: Tensor) -> Any:
    """The class of the tensor's `storage()`."""
    warn_once(OLD, stacklevel=3)
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

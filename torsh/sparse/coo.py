"""Sparse tensors by coordinates: `indices` [sparse dimensions, nnz] and `values` [nnz, *dense dimensions].

Elements that are not named are zero; one that is named several times is the sum. Index arithmetic is done at once, with NumPy, since the number of
elements depends on it; values stay lazy and differentiable, so gradients need no rules of their own.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from torsh.core.dtypes import bool_, dtype, int64
from torsh.core.layouts import layout, sparse_coo
from torsh.core.shapes import Shape, numel
from torsh.ops.composed import Valued, bare
from torsh.ops.dispatch import cast_tensor
from torsh.ops.gather import index_select
from torsh.ops.pointwise import ne
from torsh.ops.scatter import index_add
from torsh.ops.views import clone as clone_dense
from torsh.tensor.creation import from_array, zeros
from torsh.tensor.interop import as_tensor
from torsh.tensor.printing import _values as shown_numbers
from torsh.tensor.printing import _with_suffixes as with_suffixes
from torsh.tensor.tensor import Tensor


class Sparse(Valued):
    """What all sparse layouts share: printing, and what they do not have."""

    def _nnz(self) -> int:
        """The number of elements (blocks) that are named."""
        raise NotImplementedError

    def _indices_shown(self) -> list[tuple[str, Tensor]]:
        raise NotImplementedError

    def stride(self, dim: int | None = None) -> Any:
        return (0,) * len(self._shape) if dim is None else 0

    def is_contiguous(self, memory_format: Any = None) -> bool:
        return False

    @property
    def is_sparse(self) -> bool:  # type: ignore[override]
        return self.layout is sparse_coo

    @property
    def nbytes(self) -> int:
        raise RuntimeError("nbytes is not defined for sparse tensors: add those of the indices and of the values")

    def data_ptr(self) -> int:
        raise RuntimeError("Cannot access data pointer of Tensor that doesn't have storage")

    def __len__(self) -> int:
        return self._shape[0]

    def __bool__(self) -> bool:
        if numel(self._shape) != 1:
            raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous" if numel(self._shape)
                               else "Boolean value of Tensor with no values is ambiguous")
        return bool(self._entries.any()) if self._nnz() else False

    def __repr__(self, *, tensor_contents: str | None = None) -> str:
        lines = []
        for name, t in [*self._indices_shown(), ("values", self._entries.detach())]:
            indent = 7 + len(name) + 1 + 7
            text = shown_numbers(np.asarray(t._window()), t._dtype, t._shape, indent) if t.numel() else "[]"
            lines.append(f"{name}=tensor({text}" + (f", size={tuple(t._shape)}" if not t.numel() else "") + ")")
        suffixes = [f"size={tuple(self._shape)}", f"nnz={self._nnz()}"]
        if self._dtype not in (int64, bool_) and self._dtype.name not in ("float32", "complex64"):
            suffixes.append(f"dtype={self._dtype!r}")
        suffixes.append(f"layout={self.layout!r}")
        if self.grad_fn is not None:
            suffixes.append(f"grad_fn=<{self.grad_fn.name}>")
        elif self.requires_grad:
            suffixes.append("requires_grad=True")
        text = "tensor(" + ",\n       ".join(lines)
        if self.layout is sparse_coo:  # these begin a line of their own
            first, *suffixes = suffixes
            text += ",\n       " + first
        return with_suffixes(text, suffixes, 7)

    __str__ = __repr__


class SparseTensor(Sparse):
    """A tensor by coordinates (COO)."""
    handlers: dict[str, Any] = {}
    backend = "SparseCPU"
    _places: Tensor
    _sorted: bool = False  # sorted and each place once: "coalesced"

    @property
    def layout(self) -> layout:
        return sparse_coo

    def sparse_dim(self) -> int:
        """How many dimensions are named by coordinates."""
        return self._places._shape[0]

    def dense_dim(self) -> int:
        """How many dimensions each value has."""
        return len(self._entries._shape) - 1

    def _nnz(self) -> int:
        return self._places._shape[1]

    def _indices(self) -> Tensor:
        return self._places

    def _values(self) -> Tensor:
        return self._entries

    def _indices_shown(self) -> list[tuple[str, Tensor]]:
        return [("indices", self._places)]

    def _with(self, entries: Tensor) -> SparseTensor:
        return coo(self._places, entries, self._shape, self._sorted)

    def _become(self, other: SparseTensor) -> None:
        """Hold what another tensor holds."""
        self._places, self._entries, self._sorted, self._shape, self._dtype = other._places, other._entries, other._sorted, other._shape, other._dtype

    def is_coalesced(self) -> bool:
        """Whether the places are sorted and each named once."""
        return self._sorted

    def coalesce(self) -> SparseTensor:
        """The same with sorted places, each named once: values of one place are added."""
        if self._sorted:
            return self
        unique, inverse = np.unique(keys_of(self), return_inverse=True)
        return coo(places_at(unique, self._shape[:self.sparse_dim()]), summed(self._entries, inverse.reshape(-1), len(unique)), self._shape, True)

    def indices(self) -> Tensor:
        """[sparse dimensions, nnz], int64. Raises RuntimeError unless coalesced."""
        if not self._sorted:
            raise RuntimeError("Cannot get indices on an uncoalesced tensor, please call .coalesce() first")
        return self._places

    def values(self) -> Tensor:
        """[nnz, *dense dimensions]. Raises RuntimeError unless coalesced."""
        if not self._sorted:
            raise RuntimeError("Cannot get values on an uncoalesced tensor, please call .coalesce() first")
        return self._entries

    def __reduce_ex__(self, proto: Any) -> Any:
        leaf = self._entries.detach()
        return _rebuild, (self._places, leaf, self._shape, self._sorted, self.requires_grad and self.is_leaf)


def _rebuild(places: Tensor, entries: Tensor, shape: Shape, ordered: bool, requires_grad: bool) -> SparseTensor:
    return coo(places, entries.requires_grad_(requires_grad), shape, ordered)


def coo(places: Any, entries: Tensor, shape: Sequence[int], ordered: bool = False) -> SparseTensor:
    """A tensor of places (a tensor or an array, [sparse dimensions, nnz]) and values that are known to fit."""
    made: SparseTensor = bare(SparseTensor, shape, entries._dtype)
    made._places = places if isinstance(places, Tensor) else from_array(np.ascontiguousarray(places, np.int64))
    made._entries = entries
    made._sorted = ordered or made._places._shape[1] < 2
    return made


def array_of(t: Tensor) -> np.ndarray:
    """The elements of an index tensor, computed now."""
    return np.asarray(t._window())


def keys_of(s: SparseTensor) -> np.ndarray:
    """The place of each value in the sparse dimensions, as one number."""
    return linear(array_of(s._places), s._shape[:s.sparse_dim()])


def linear(places: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """[nnz] row-major numbers of places [dimensions, nnz]."""
    keys = np.zeros(places.shape[1], np.int64)
    for row, n in zip(places, shape, strict=True):
        keys = keys * n + row
    return keys


def places_at(keys: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """[dimensions, nnz] places of row-major numbers."""
    if not len(shape):
        return np.zeros((0, len(keys)), np.int64)
    return np.stack(np.unravel_index(keys, shape)) if len(keys) else np.zeros((len(shape), 0), np.int64)


def picked(entries: Tensor, at: np.ndarray) -> Tensor:
    """The values at positions [n] of the first dimension."""
    return index_select(entries, 0, from_array(np.ascontiguousarray(at, np.int64)))


def summed(entries: Tensor, to: np.ndarray, count: int) -> Tensor:
    """[count, *dense]: the sum of the values that go to each position. Of bools, whether one is True."""
    if entries._dtype is bool_:
        return ne(summed(cast_tensor(entries, int64), to, count), 0)
    start = zeros((count, *entries._shape[1:]), dtype=entries._dtype)
    return index_add(start, 0, from_array(np.ascontiguousarray(to, np.int64)), entries)


def as_indices(indices: Any, what: str) -> Tensor:
    """Index lists as an int64 tensor."""
    found = as_tensor(indices)
    return found if found._dtype is int64 else cast_tensor(found.detach(), int64)


def entries_of(values: Any, dt: dtype | None) -> Tensor:
    """Values as a tensor of a type. One that needs a gradient gets a history here, so that the sparse tensor is no leaf."""
    found = as_tensor(values)
    found = found if dt is None else cast_tensor(found, dt)
    return clone_dense(found) if found.requires_grad and found.is_leaf else found


def sized(given: Any) -> tuple[int, ...]:
    return tuple(int(n) for n in given)


__all__ = ["Sparse", "SparseTensor", "array_of", "as_indices", "coo", "entries_of", "keys_of", "linear", "picked", "places_at", "sized", "summed"]

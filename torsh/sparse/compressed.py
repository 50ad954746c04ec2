"""Sparse tensors with one compressed dimension: rows (CSR, BSR) or columns (CSC, BSC), the values single or in blocks.

`outer` [*batch, n + 1] says where each row (column) begins among the values, `inner` [*batch, nnz] the column (row) of each, `values`
[*batch, nnz, *block, *dense] what is there.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from torsh.core.layouts import layout, sparse_bsc, sparse_bsr, sparse_csc, sparse_csr
from torsh.core.shapes import Shape, numel
from torsh.ops.composed import bare
from torsh.sparse.coo import Sparse, SparseTensor, array_of, coo, linear, picked, summed
from torsh.tensor.creation import from_array
from torsh.tensor.tensor import Tensor

BY_ROWS, IN_BLOCKS = (sparse_csr, sparse_bsr), (sparse_bsr, sparse_bsc)
TITLES = {sparse_csr: "SparseCsr", sparse_csc: "SparseCsc", sparse_bsr: "SparseBsr", sparse_bsc: "SparseBsc"}


class CompressedTensor(Sparse):
    """A tensor with compressed rows or columns."""
    handlers: dict[str, Any] = {}
    backend = "SparseCsrCPU"
    _kind: layout
    _outer: Tensor
    _inner: Tensor

    @property
    def layout(self) -> layout:
        return self._kind

    @property
    def is_sparse_csr(self) -> bool:  # type: ignore[override]
        return self._kind is sparse_csr

    def batch_dim(self) -> int:
        """How many dimensions in front are batches."""
        return len(self._outer._shape) - 1

    def sparse_dim(self) -> int:
        """Two: rows and columns."""
        return 2

    def dense_dim(self) -> int:
        """How many dimensions each value has."""
        return len(self._shape) - 2 - self.batch_dim()

    def block(self) -> tuple[int, int]:
        """The size of a block; (1, 1) without blocks."""
        if self._kind not in IN_BLOCKS:
            return 1, 1
        at = self.batch_dim() + 1
        return self._entries._shape[at], self._entries._shape[at + 1]

    def _nnz(self) -> int:
        return self._inner._shape[-1]

    def values(self) -> Tensor:
        """[*batch, nnz, *block, *dense]."""
        return self._entries

    def _with(self, entries: Tensor) -> CompressedTensor:
        return compressed(self._kind, self._outer, self._inner, entries, self._shape)

    def _indices_shown(self) -> list[tuple[str, Tensor]]:
        names = ("crow_indices", "col_indices") if self._kind in BY_ROWS else ("ccol_indices", "row_indices")
        return list(zip(names, (self._outer, self._inner), strict=True))

    def __reduce_ex__(self, proto: Any) -> Any:
        return _rebuild, (self._kind, self._outer, self._inner, self._entries.detach(), self._shape, self.requires_grad and self.is_leaf)


def _rebuild(kind: layout, outer: Tensor, inner: Tensor, entries: Tensor, shape: Shape, requires_grad: bool) -> CompressedTensor:
    return compressed(kind, outer, inner, entries.requires_grad_(requires_grad), shape)


def compressed(kind: layout, outer: Any, inner: Any, entries: Tensor, shape: Sequence[int]) -> CompressedTensor:
    """A tensor of parts (indices as tensors or arrays) that are known to fit."""
    made: CompressedTensor = bare(CompressedTensor, shape, entries._dtype)
    made._kind = kind
    made._outer, made._inner = (t if isinstance(t, Tensor) else from_array(t) for t in (outer, inner))
    made._entries = entries
    return made


def to_coo(s: CompressedTensor) -> SparseTensor:
    """The same by coordinates: batches are sparse dimensions too, blocks are taken apart. Sorted, if it was compressed by rows and in order."""
    batch, (high, wide) = s._shape[:s.batch_dim()], s.block()
    outer, inner = (array_of(t).reshape((numel(batch), t._shape[-1])) for t in (s._outer, s._inner))
    n, nnz = outer.shape[1] - 1, inner.shape[1]
    first = np.stack([np.repeat(np.arange(n), np.diff(row)) for row in outer]) if len(outer) else np.zeros((0, nnz), np.int64)
    rows, cols = (first, inner) if s._kind in BY_ROWS else (inner, first)
    numbers = np.broadcast_to(np.arange(len(outer))[:, None], rows.shape)
    if s._kind in IN_BLOCKS:
        grid = (*rows.shape, high, wide)
        rows = np.broadcast_to((rows * high)[..., None, None] + np.arange(high)[:, None], grid)
        cols = np.broadcast_to((cols * wide)[..., None, None] + np.arange(wide), grid)
        numbers = np.broadcast_to(numbers[..., None, None], grid)
    lead = np.unravel_index(numbers.reshape(-1), batch) if batch else ()
    places = np.stack([*lead, rows.reshape(-1), cols.reshape(-1)]).astype(np.int64)
    entries = s._entries.reshape(places.shape[1], *s._shape[len(batch) + 2:])
    keys = linear(places, s._shape[:len(batch) + 2])
    if len(keys) > 1 and not (np.diff(keys) > 0).all():
        order = np.argsort(keys, kind="stable")
        if (np.diff(keys[order]) > 0).all():
            return coo(places[:, order], picked(entries, order), s._shape, True)
        return coo(places, entries, s._shape)
    return coo(places, entries, s._shape, True)


def of_coo(s: SparseTensor, kind: layout, block: tuple[int, int] | None = None) -> CompressedTensor:
    """A tensor by coordinates, compressed. Its sparse dimensions before the last two are batches.

    Raises RuntimeError for fewer than two, for blocks that do not divide the sizes, and for batches with different numbers of elements.
    """
    s = s.coalesce()
    sparse = s.sparse_dim()
    name = "to_" + kind.name
    if sparse < 2:
        raise RuntimeError(f"{name}: expected a tensor with at least two sparse dimensions, got shape {list(s._shape)}")
    batch, (n, m) = s._shape[:sparse - 2], s._shape[sparse - 2:sparse]
    high, wide = block or (1, 1)
    if n % max(high, 1) or m % max(wide, 1) or high < 1 or wide < 1:
        raise RuntimeError(f"{name}: tensor sparse size ({n},{m}) must be divisible by given blocksize ({high},{wide})")
    places, count = array_of(s._places), numel(batch)
    number = linear(places[:-2], batch)
    row, col = places[-2] // high, places[-1] // wide
    outer, inner, size_out, size_in = (row, col, n // high, m // wide) if kind in BY_ROWS else (col, row, m // wide, n // high)
    keys = (number * size_out + outer) * size_in + inner
    unique, to = np.unique(keys, return_inverse=True)
    each = len(unique) // max(count, 1)
    if count and not (np.bincount(unique // (size_out * size_in) if size_out * size_in else unique, minlength=count) == each).all():
        raise RuntimeError("Expect the same number of specified elements per batch.")
    within = (places[-2] % high) * wide + places[-1] % wide
    values = summed(s._entries, to.reshape(-1) * (high * wide) + within, len(unique) * high * wide)
    shape = (*batch, each, *((high, wide) if kind in IN_BLOCKS else ()), *s._shape[sparse:])
    line = unique // size_in if size_in else unique
    counts = np.bincount(line, minlength=count * size_out).reshape(count, size_out)
    starts = np.concatenate([np.zeros((count, 1), np.int64), np.cumsum(counts, 1)], 1).reshape(*batch, size_out + 1).astype(np.int64)
    inside = (unique % size_in if size_in else unique).reshape(*batch, each).astype(np.int64)
    return compressed(kind, starts, inside, values.reshape(shape), s._shape)


__all__ = ["BY_ROWS", "CompressedTensor", "IN_BLOCKS", "TITLES", "compressed", "of_coo", "to_coo"]

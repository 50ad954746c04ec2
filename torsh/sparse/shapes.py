"""Dimensions of sparse tensors exchanged, added, cut and put together. Sparse and dense dimensions do not mix."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from torsh.core.layouts import sparse_bsc, sparse_bsr, sparse_csc, sparse_csr
from torsh.core.shapes import wrap_dim
from torsh.ops.dispatch import FUNCTIONS, cast_tensor, result_type_of
from torsh.sparse.arithmetic import both
from torsh.sparse.compressed import IN_BLOCKS, CompressedTensor, compressed
from torsh.sparse.convert import coordinates
from torsh.sparse.coo import SparseTensor, array_of, coo, picked, summed
from torsh.tensor.creation import zeros
from torsh.tensor.tensor import Tensor

_OTHER = {sparse_csr: sparse_csc, sparse_csc: sparse_csr, sparse_bsr: sparse_bsc, sparse_bsc: sparse_bsr}


@both("transpose", "swapaxes", "swapdims")
def transpose(input: Any, dim0: int, dim1: int) -> Any:
    """Two dimensions exchanged. Raises RuntimeError for a sparse and a dense one."""
    a, b = (wrap_dim(d, len(input._shape), "transpose") for d in (dim0, dim1))
    order = list(range(len(input._shape)))
    order[a], order[b] = b, a
    if isinstance(input, CompressedTensor):
        lead = input.batch_dim()
        if {a, b} != {lead, lead + 1}:
            if a == b:
                return input
            raise RuntimeError(f"transpose(): can only transpose the rows and columns of a compressed tensor, got dimensions {a} and {b}")
        entries = input._entries.transpose(lead + 1, lead + 2) if input._kind in IN_BLOCKS else input._entries
        return compressed(_OTHER[input._kind], input._outer, input._inner, entries, [input._shape[d] for d in order])
    return permute(input, order)


@SparseTensor.handle("permute")
def permute(input: SparseTensor, *dims: Any) -> SparseTensor:
    """Dimensions in another order. Raises RuntimeError where a sparse one and a dense one would change places."""
    given = dims[0] if len(dims) == 1 and not isinstance(dims[0], int) else dims
    order = [wrap_dim(d, len(input._shape), "permute") for d in given]
    if sorted(order) != list(range(len(input._shape))):
        raise RuntimeError(f"permute: {tuple(given)} is no order of {len(input._shape)} dimensions")
    sparse = input.sparse_dim()
    if any(d >= sparse for d in order[:sparse]):
        raise RuntimeError("permute: a sparse and a dense dimension cannot change places")
    if order == list(range(len(order))):
        return input
    entries = input._entries.permute(0, *[d - sparse + 1 for d in order[sparse:]])
    same = order[:sparse] == list(range(sparse))
    places = input._places if same else array_of(input._places)[order[:sparse]]
    made = coo(places, entries, [input._shape[d] for d in order], input._sorted and same)
    return made


@SparseTensor.handle("unsqueeze")
def unsqueeze(input: SparseTensor, dim: int) -> SparseTensor:
    """A dimension of one more; sparse if it is among or right behind the sparse ones."""
    d = wrap_dim(dim, len(input._shape) + 1, "unsqueeze")
    shape, sparse = [*input._shape[:d], 1, *input._shape[d:]], input.sparse_dim()
    if d <= sparse:
        return coo(np.insert(array_of(input._places), d, 0, axis=0), input._entries, shape, input._sorted)
    return coo(input._places, input._entries.unsqueeze(d - sparse + 1), shape, input._sorted)


@both("select")
def select(input: Any, dim: int, index: int) -> Any:
    """One index of a dimension, by coordinates (strided if no sparse dimension is left). Raises IndexError out of range."""
    c = coordinates(input)
    d, sparse = wrap_dim(dim, len(c._shape), "select"), c.sparse_dim()
    n = c._shape[d]
    if not -n <= index < n:
        raise IndexError(f"select(): index {index} out of range for tensor of size {list(c._shape)} at dimension {d}")
    at = index % n
    shape = (*c._shape[:d], *c._shape[d + 1:])
    if d >= sparse:
        return coo(c._places, c._entries.select(d - sparse + 1, at), shape, c._sorted)
    places = array_of(c._places)
    kept = np.flatnonzero(places[d] == at)
    values = picked(c._entries, kept)
    if sparse == 1:
        return summed(values, np.zeros(len(kept), np.int64), 1).squeeze(0)  # type: ignore[attr-defined]
    return coo(np.delete(places[:, kept], d, axis=0), values, shape, c._sorted)


@SparseTensor.handle("narrow_copy")
def narrow_copy(input: SparseTensor, dim: int, start: int, length: int) -> SparseTensor:
    """`length` indices of a dimension from `start` on. Raises RuntimeError out of range."""
    d, sparse = wrap_dim(dim, len(input._shape), "narrow_copy"), input.sparse_dim()
    if start < 0 or length < 0 or start + length > input._shape[d]:
        raise RuntimeError(f"start ({start}) + length ({length}) exceeds dimension size ({input._shape[d]}).")
    shape = (*input._shape[:d], length, *input._shape[d + 1:])
    if d >= sparse:
        return coo(input._places, input._entries.narrow(d - sparse + 1, start, length), shape, input._sorted)
    places = array_of(input._places)
    kept = np.flatnonzero((places[d] >= start) & (places[d] < start + length))
    cut = places[:, kept]
    cut[d] -= start
    return coo(cut, picked(input._entries, kept), shape, input._sorted)


@SparseTensor.handle("index_select")
def index_select(input: SparseTensor, dim: int, index: Tensor) -> SparseTensor:
    """The indices named of a dimension, in that order. Raises IndexError out of range."""
    d, sparse = wrap_dim(dim, len(input._shape), "index_select"), input.sparse_dim()
    wanted = array_of(index).reshape(-1)
    n = input._shape[d]
    if wanted.size and not ((-n <= wanted) & (wanted < n)).all():
        raise IndexError(f"index_select(): index out of range for tensor of size {list(input._shape)} at dimension {d}")
    wanted = wanted % max(n, 1)
    shape = (*input._shape[:d], len(wanted), *input._shape[d + 1:])
    if d >= sparse:
        return coo(input._places, FUNCTIONS["index_select"](input._entries, d - sparse + 1, index), shape, input._sorted)
    places = array_of(input._places)
    at, new = np.nonzero(places[d][:, None] == wanted[None])
    cut = places[:, at]
    cut[d] = new
    return coo(cut, picked(input._entries, at), shape)


@both("__getitem__")
def getitem(input: Any, key: Any) -> Any:
    """Integers select from the first dimensions on. Raises NotImplementedError for other keys."""
    made = input
    for k in key if isinstance(key, tuple) else (key,):
        if isinstance(k, bool) or not isinstance(k, (int, np.integer)):
            raise NotImplementedError(f"indexing of sparse tensors takes integers, got {type(k).__name__}")
        made = select(made, 0, int(k))
    return made


@SparseTensor.handle("cat", "concat", "concatenate")
def cat(tensors: Sequence[SparseTensor], dim: int = 0) -> SparseTensor:
    """Tensors one after another along a dimension. Raises RuntimeError for other layouts, shapes and numbers of sparse dimensions."""
    first = tensors[0]
    d, sparse = wrap_dim(dim, len(first._shape), "cat"), first.sparse_dim()
    for t in tensors:
        if not isinstance(t, SparseTensor) or t.sparse_dim() != sparse or len(t._shape) != len(first._shape):
            raise RuntimeError("cat: all tensors must be sparse, with the same numbers of sparse and dense dimensions")
        if any(i != d and a != b for i, (a, b) in enumerate(zip(t._shape, first._shape, strict=True))):
            raise RuntimeError(f"cat: sizes must match but in dimension {d}, got {list(first._shape)} and {list(t._shape)}")
    dt = first._dtype
    for t in tensors[1:]:
        dt = result_type_of(zeros(1, dtype=dt), zeros(1, dtype=t._dtype))
    shape = (*first._shape[:d], sum(t._shape[d] for t in tensors), *first._shape[d + 1:])
    places, entries, at = [], [], 0
    for t in tensors:
        own = array_of(t._places).copy()
        values = cast_tensor(t._entries, dt)
        if d < sparse:
            own[d] += at
        else:  # zeros in the part of the dense dimension that is another's
            around = [zeros(*values._shape[:d - sparse + 1], n, *values._shape[d - sparse + 2:], dtype=dt)
                      for n in (at, shape[d] - at - t._shape[d])]
            values = FUNCTIONS["cat"]([around[0], values, around[1]], d - sparse + 1)
        places.append(own)
        entries.append(values)
        at += t._shape[d]
    made = coo(np.concatenate(places, 1), FUNCTIONS["cat"](entries, 0), shape)
    return made


@SparseTensor.handle("stack")
def stack(tensors: Sequence[SparseTensor], dim: int = 0) -> SparseTensor:
    """Tensors side by side in a new dimension. Raises as `cat`."""
    return cat([unsqueeze(t, dim) for t in tensors], wrap_dim(dim, len(tensors[0]._shape) + 1, "stack"))


def iterate(self: Any) -> Any:
    """The first dimension's parts."""
    return (select(self, 0, i) for i in range(self._shape[0]))


SparseTensor.__iter__ = CompressedTensor.__iter__ = iterate  # type: ignore[attr-defined]
__all__ = ["cat", "index_select", "narrow_copy", "permute", "select", "stack", "transpose", "unsqueeze"]

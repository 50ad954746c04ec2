"""Making sparse tensors of their parts."""
from __future__ import annotations

from typing import Any

import numpy as np

from torsh.core import devices
from torsh.core.dtypes import dtype, get_default_dtype, int32, int64
from torsh.core.layouts import layout, sparse_bsc, sparse_bsr, sparse_csc, sparse_csr
from torsh.ops.dispatch import cast_tensor, public
from torsh.sparse.compressed import BY_ROWS, IN_BLOCKS, TITLES, CompressedTensor, compressed
from torsh.sparse.coo import SparseTensor, array_of, as_indices, coo, entries_of, sized
from torsh.tensor.creation import zeros
from torsh.tensor.interop import as_tensor
from torsh.tensor.tensor import Tensor


def _finished(made: Any, requires_grad: bool) -> Any:
    if requires_grad:
        if made._dtype.category < 2:
            raise RuntimeError("Only Tensors of floating point and complex dtype can require gradients")
        made._entries = made._entries.detach().requires_grad_()
    return made


@public(method=False)
def sparse_coo_tensor(indices: Any, values: Any = None, size: Any = None, *, dtype: dtype | None = None, device: Any = None, pin_memory: bool = False,
                      requires_grad: bool = False, check_invariants: bool | None = None, is_coalesced: bool | None = None) -> SparseTensor:
    """A tensor by coordinates: `indices` [sparse dimensions, nnz], `values` [nnz, *dense dimensions]; one place named twice counts as the sum.

    The size is the smallest that holds all places unless given; a size alone makes a tensor of zeros. Raises RuntimeError for parts that do not fit
    each other, for places outside of the size, and for `is_coalesced` places that are not sorted and single.

    >>> import torsh
    >>> torsh.sparse_coo_tensor([[0, 1], [2, 0]], [3.0, 4.0], (2, 3)).to_dense()
    tensor([[0., 0., 3.],
            [4., 0., 0.]])
    """
    devices.require(device)
    if values is None:
        shape = sized(indices if size is None else size)
        return _finished(coo(np.zeros((len(shape), 0), np.int64), zeros(0, dtype=dtype or get_default_dtype()), shape, True), requires_grad)  # type: ignore[no-any-return]
    places, entries = as_indices(indices, "sparse_coo_tensor"), entries_of(values, dtype)
    if len(places._shape) != 2:
        raise RuntimeError(f"indices must be sparse_dim x nnz, but got: {list(places._shape)}")
    if not entries._shape:
        entries = entries.reshape(1)
    if places._shape[1] != entries._shape[0]:
        raise RuntimeError(f"indices and values must have same nnz, but got nnz from indices: {places._shape[1]}, nnz from values: {entries._shape[0]}")
    array = array_of(places)
    sparse, dense = places._shape[0], entries._shape[1:]
    if size is None:
        shape = (*((int(n) + 1 for n in array.max(1)) if array.shape[1] else (0,) * sparse), *dense)
    else:
        shape = sized(size)
        if len(shape) != sparse + len(dense):
            raise RuntimeError(f"'len(size) == sparse_dim + dense_dim' is not satisfied: len(size) = {len(shape)}, sparse_dim = {sparse}, "
                               f"dense_dim = {len(dense)}")
        if shape[sparse:] != dense:
            raise RuntimeError(f"values has incorrect size, expected {[entries._shape[0], *shape[sparse:]]}, got {list(entries._shape)}")
    for d in range(sparse):
        if array.shape[1] and int(array[d].min()) < 0:
            raise RuntimeError(f"found negative index {int(array[d].min())} for dim {d}")
        if array.shape[1] and int(array[d].max()) >= shape[d]:
            raise RuntimeError(f"size is inconsistent with indices: for dim {d}, size is {shape[d]} but found index {int(array[d].max())}")
    made = coo(places, entries, shape)
    if is_coalesced and made._nnz() > 1:
        from torsh.sparse.coo import keys_of
        if not (np.diff(keys_of(made)) > 0).all():
            raise RuntimeError("cannot set is_coalesced to true if indices correspond to uncoalesced COO tensor")
        made._sorted = True
    return _finished(made, requires_grad)  # type: ignore[no-any-return]


def _index(given: Any) -> Tensor:
    found = as_tensor(given)
    return found if found._dtype in (int32, int64) else cast_tensor(found, int64)


def _compressed(kind: layout, outer: Any, inner: Any, values: Any, size: Any, dt: dtype | None, device: Any, requires_grad: bool) -> CompressedTensor:
    devices.require(device)
    begins, inside, entries = _index(outer), _index(inner), entries_of(values, dt)
    lead = len(begins._shape) - 1
    blocked = 2 if kind in IN_BLOCKS else 0
    names = ("crow_indices", "col_indices") if kind in BY_ROWS else ("ccol_indices", "row_indices")
    if lead < 0 or len(inside._shape) != lead + 1 or len(entries._shape) < lead + 1 + blocked:
        raise RuntimeError(f"{kind.name}: {names[0]} must have one dimension more than batches, {names[1]} as many and values {1 + blocked} more, got shapes "
                           f"{list(begins._shape)}, {list(inside._shape)} and {list(entries._shape)}")
    if inside._shape[-1] != entries._shape[lead] or not begins._shape[:-1] == inside._shape[:-1] == entries._shape[:lead]:
        raise RuntimeError(f"{kind.name}: {names[1]} of shape {list(inside._shape)} and values of shape {list(entries._shape)} do not fit each other")
    high, wide = entries._shape[lead + 1:lead + 3] if blocked else (1, 1)
    dense = entries._shape[lead + 1 + blocked:]
    a, b = array_of(begins), array_of(inside)
    lines = a.shape[-1] - 1
    if size is None:
        others = int(b.max()) + 1 if b.size else 0
        shape = (*begins._shape[:-1], *((lines * high, others * wide) if kind in BY_ROWS else (others * high, lines * wide)), *dense)
    else:
        shape = sized(size)
        if len(shape) != lead + 2 + len(dense) or shape[lead + 2:] != dense or shape[:lead] != begins._shape[:-1]:
            raise RuntimeError(f"{kind.name}: size {list(shape)} does not fit values of shape {list(entries._shape)}")
    n, m = shape[lead] // max(high, 1), shape[lead + 1] // max(wide, 1)
    size_out, size_in = (n, m) if kind in BY_ROWS else (m, n)
    if lines != size_out:
        raise RuntimeError(f"{names[0]}.shape[-1] must be equal to the number of {'rows' if kind in BY_ROWS else 'columns'} + 1 ({size_out + 1}), "
                           f"but got {lines + 1}")
    if (a[..., 0] != 0).any() or (a[..., -1] != b.shape[-1]).any() or (np.diff(a, axis=-1) < 0).any():
        raise RuntimeError(f"{names[0]} must begin with 0, not decrease and end with nnz ({b.shape[-1]})")
    if b.size and (int(b.min()) < 0 or int(b.max()) >= size_in):
        raise RuntimeError(f"{names[1]} must be in [0, {size_in}), got {int(b.min())} to {int(b.max())}")
    return _finished(compressed(kind, begins, inside, entries, shape), requires_grad)  # type: ignore[no-any-return]


@public(method=False)
def sparse_compressed_tensor(compressed_indices: Any, plain_indices: Any, values: Any, size: Any = None, *, dtype: dtype | None = None,
                             layout: layout | None = None, device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
                             check_invariants: bool | None = None) -> CompressedTensor:
    """A tensor of one of the compressed layouts, of its parts (see `sparse_csr_tensor`). Raises RuntimeError for another layout."""
    if layout not in TITLES:
        raise RuntimeError("sparse_compressed_tensor expected sparse compressed tensor layout but got " + ("none" if layout is None else str(layout)))
    return _compressed(layout, compressed_indices, plain_indices, values, size, dtype, device, requires_grad)


@public(method=False)
def sparse_csr_tensor(crow_indices: Any, col_indices: Any, values: Any, size: Any = None, *, dtype: dtype | None = None, device: Any = None,
                      pin_memory: bool = False, requires_grad: bool = False, check_invariants: bool | None = None) -> CompressedTensor:
    """Compressed rows: row i has the values from `crow_indices[i]` to `crow_indices[i + 1]`, in the columns `col_indices`.

    Dimensions in front are batches, those of `values` [*batch, nnz, *dense] behind are dense. Raises RuntimeError for parts that do not fit.

    >>> import torsh
    >>> torsh.sparse_csr_tensor([0, 1, 3], [2, 0, 2], [3.0, 4.0, 5.0]).to_dense()
    tensor([[0., 0., 3.],
            [4., 0., 5.]])
    """
    return _compressed(sparse_csr, crow_indices, col_indices, values, size, dtype, device, requires_grad)


@public(method=False)
def sparse_csc_tensor(ccol_indices: Any, row_indices: Any, values: Any, size: Any = None, *, dtype: dtype | None = None, device: Any = None,
                      pin_memory: bool = False, requires_grad: bool = False, check_invariants: bool | None = None) -> CompressedTensor:
    """Compressed columns: as `sparse_csr_tensor` with rows and columns exchanged."""
    return _compressed(sparse_csc, ccol_indices, row_indices, values, size, dtype, device, requires_grad)


@public(method=False)
def sparse_bsr_tensor(crow_indices: Any, col_indices: Any, values: Any, size: Any = None, *, dtype: dtype | None = None, device: Any = None,
                      pin_memory: bool = False, requires_grad: bool = False, check_invariants: bool | None = None) -> CompressedTensor:
    """Compressed rows of blocks: `values` [*batch, nnz, rows of a block, its columns, *dense]; indices count blocks."""
    return _compressed(sparse_bsr, crow_indices, col_indices, values, size, dtype, device, requires_grad)


@public(method=False)
def sparse_bsc_tensor(ccol_indices: Any, row_indices: Any, values: Any, size: Any = None, *, dtype: dtype | None = None, device: Any = None,
                      pin_memory: bool = False, requires_grad: bool = False, check_invariants: bool | None = None) -> CompressedTensor:
    """Compressed columns of blocks: as `sparse_bsr_tensor` with rows and columns exchanged."""
    return _compressed(sparse_bsc, ccol_indices, row_indices, values, size, dtype, device, requires_grad)


__all__ = ["sparse_bsc_tensor", "sparse_bsr_tensor", "sparse_compressed_tensor", "sparse_coo_tensor", "sparse_csc_tensor", "sparse_csr_tensor"]

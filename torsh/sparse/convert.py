"""Between layouts, and what tells of the parts of a sparse tensor. Each is a method of every tensor."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from torsh.core.dtypes import dtype
from torsh.core.layouts import layout, sparse_bsc, sparse_bsr, sparse_coo, sparse_csc, sparse_csr, strided
from torsh.core.shapes import numel
from torsh.ops.composed import Composed
from torsh.ops.dispatch import FUNCTIONS, cast_tensor, public
from torsh.sparse.compressed import BY_ROWS, IN_BLOCKS, TITLES, CompressedTensor, of_coo, to_coo
from torsh.sparse.coo import Sparse, SparseTensor, coo, keys_of, picked, places_at, summed
from torsh.tensor.creation import from_array, zeros
from torsh.tensor.tensor import Tensor


def title(t: Tensor) -> str:
    """A tensor's layout as errors call it."""
    kind = t.layout  # type: ignore[attr-defined]
    return "Sparse" if kind is sparse_coo else TITLES.get(kind, "Strided")


def coordinates(s: Tensor) -> SparseTensor:
    """A sparse tensor of any layout, by coordinates."""
    return to_coo(s) if isinstance(s, CompressedTensor) else s  # type: ignore[return-value]


def dense_of(s: Tensor) -> Tensor:
    """The strided tensor of the same elements, differentiable."""
    c = coordinates(s)
    sparse = c.sparse_dim()
    return summed(c._entries, keys_of(c), numel(c._shape[:sparse])).reshape(c._shape)  # type: ignore[attr-defined,no-any-return]


def like(s: Tensor, c: SparseTensor) -> Any:
    """A tensor by coordinates in the layout of another."""
    if not isinstance(s, CompressedTensor):
        return c
    return of_coo(c, s._kind, s.block() if s._kind in IN_BLOCKS else None)


@public("to_dense", function=False)
def to_dense(self: Tensor, dtype: dtype | None = None, *, masked_grad: bool | None = None) -> Tensor:
    """The strided tensor of the same elements; a strided one is given back. The gradient is that of the values named, as with `masked_grad`."""
    if isinstance(self, Sparse):
        found = dense_of(self)
    elif isinstance(self, Composed):
        self._refuse("to_dense")
    else:
        found = self
    return found if dtype is None else cast_tensor(found, dtype)


def _of_dense(x: Tensor, sparse: int) -> SparseTensor:
    """The places of a strided tensor's first dimensions where anything is not zero."""
    if isinstance(x, Composed):
        x._refuse("to_sparse")
    values = np.asarray(x.detach()._window())  # type: ignore[attr-defined]
    if x._shape and not 0 < sparse <= len(x._shape):
        raise RuntimeError("dense_to_sparse: sparse_dim argument must be in >0 when self.dim()>0" if sparse <= 0 else
                           f"dense_to_sparse: sparse_dim argument must be less than or equal to the number of dimensions ({len(x._shape)}), got {sparse}")
    sparse = min(sparse, len(x._shape))
    named = (values != 0).reshape(*values.shape[:sparse], -1).any(-1) if sparse < len(x._shape) else values != 0
    keys = np.flatnonzero(named)
    shape = x._shape[:sparse]
    return coo(places_at(keys, shape), picked(x.reshape(numel(shape), *x._shape[sparse:]), keys), x._shape, True)  # type: ignore[attr-defined]


def _converted(self: Tensor, kind: layout, blocksize: Sequence[int] | None, dense_dim: int | None) -> Any:
    name = "to_" + kind.name
    if kind in IN_BLOCKS and blocksize is None:
        raise RuntimeError(f"{name}: a block size must be given")
    if kind not in IN_BLOCKS and blocksize is not None:
        raise RuntimeError(f"{name}: conversion to {kind!r} does not use blocksize, got {tuple(blocksize)}")
    block = None if blocksize is None else (int(blocksize[0]), int(blocksize[1]))
    if isinstance(self, CompressedTensor) and self._kind is kind and (block is None or block == self.block()):
        return self
    if isinstance(self, Sparse):
        return of_coo(coordinates(self), kind, block)
    dense = 0 if dense_dim is None else dense_dim
    lead = len(self._shape) - 2 - dense
    if lead < 0:
        raise RuntimeError(f"{name}: expected a tensor of at least {2 + dense} dimensions, got shape {list(self._shape)}")
    return of_coo(_of_dense(self, len(self._shape) - dense), kind, block)


@public("to_sparse_coo", function=False)
def to_sparse_coo(self: Tensor) -> SparseTensor:
    """By coordinates: the places that are not zero of a strided tensor, those named of another layout."""
    return coordinates(self) if isinstance(self, Sparse) else _of_dense(self, len(self._shape))


@public("to_sparse", function=False)
def to_sparse(self: Tensor, sparse_dim: int | None = None, *, layout: layout | None = None, blocksize: Sequence[int] | None = None,
              dense_dim: int | None = None) -> Any:
    """In a sparse layout, by coordinates unless another is named. The first `sparse_dim` dimensions (all by default) are sparse.

    Raises RuntimeError for options that do not go together.

    >>> import torsh
    >>> torsh.tensor([[0.0, 2.0], [3.0, 0.0]]).to_sparse()
    tensor(indices=tensor([[0, 1],
                           [1, 0]]),
           values=tensor([2., 3.]),
           size=(2, 2), nnz=2, layout=torsh.sparse_coo)
    """
    if layout is strided:
        raise RuntimeError("to_sparse: conversion to a strided layout; use to_dense()")
    if layout is None or layout is sparse_coo:
        if blocksize is not None:
            raise RuntimeError(f"to_sparse: blocksize {tuple(blocksize)} needs a layout in blocks")
        if isinstance(self, Sparse):
            if sparse_dim is not None and sparse_dim != coordinates(self).sparse_dim():
                raise RuntimeError(f"to_sparse: a sparse tensor of {coordinates(self).sparse_dim()} sparse dimensions cannot get {sparse_dim}")
            return coordinates(self)
        return _of_dense(self, len(self._shape) - (dense_dim or 0) if sparse_dim is None else sparse_dim)
    if sparse_dim is not None:
        raise RuntimeError(f"to_sparse: sparse_dim is for the layout of coordinates, got {sparse_dim} for {layout!r}")
    return _converted(self, layout, blocksize, dense_dim)


@public("to_sparse_csr", function=False)
def to_sparse_csr(self: Tensor, dense_dim: int | None = None) -> CompressedTensor:
    """With compressed rows. Raises RuntimeError for fewer than two sparse dimensions and batches of different numbers of elements."""
    return _converted(self, sparse_csr, None, dense_dim)  # type: ignore[no-any-return]


@public("to_sparse_csc", function=False)
def to_sparse_csc(self: Tensor, dense_dim: int | None = None) -> CompressedTensor:
    """With compressed columns. Raises as `to_sparse_csr`."""
    return _converted(self, sparse_csc, None, dense_dim)  # type: ignore[no-any-return]


@public("to_sparse_bsr", function=False)
def to_sparse_bsr(self: Tensor, blocksize: Sequence[int], dense_dim: int | None = None) -> CompressedTensor:
    """With compressed rows of blocks. Raises as `to_sparse_csr`, and for blocks that do not divide the sizes."""
    return _converted(self, sparse_bsr, blocksize, dense_dim)  # type: ignore[no-any-return]


@public("to_sparse_bsc", function=False)
def to_sparse_bsc(self: Tensor, blocksize: Sequence[int], dense_dim: int | None = None) -> CompressedTensor:
    """With compressed columns of blocks. Raises as `to_sparse_bsr`."""
    return _converted(self, sparse_bsc, blocksize, dense_dim)  # type: ignore[no-any-return]


# ---- the parts


@public("sparse_dim", function=False)
def sparse_dim(self: Tensor) -> int:
    """How many dimensions are sparse; 0 for a strided tensor."""
    return 0


@public("dense_dim", function=False)
def dense_dim(self: Tensor) -> int:
    """How many dimensions are dense; all of a strided tensor."""
    return len(self._shape)


def _needs(name: str, wanted: str) -> Callable[[Tensor], Any]:
    def call(self: Tensor) -> Any:
        raise RuntimeError(f"{name} expected {wanted} tensor layout but got {title(self)}")
    call.__name__ = name
    call.__doc__ = f"Raises RuntimeError: only tensors of {wanted} layout have it."
    return call


for _name in ("coalesce", "is_coalesced", "indices"):
    public(_name, function=False)(_needs(_name, "sparse coordinate"))
public("values", function=False)(_needs("values", "sparse"))


def _part(name: str, by_rows: bool, outer: bool) -> Callable[[Tensor], Tensor]:
    wanted = f"sparse {'row' if by_rows else 'column'} compressed"

    def call(self: Tensor) -> Tensor:
        if not isinstance(self, CompressedTensor) or (self._kind in BY_ROWS) is not by_rows:
            raise RuntimeError(f"{name} expected {wanted} tensor layout but got {title(self)}")
        return self._outer if outer else self._inner
    call.__name__ = name
    call.__doc__ = f"Where each {'row' if by_rows else 'column'} begins." if outer else f"The {'column' if by_rows else 'row'} of each value."
    call.__doc__ += f" Raises RuntimeError unless of a {wanted} layout."
    return call


crow_indices, col_indices = _part("crow_indices", True, True), _part("col_indices", True, False)
ccol_indices, row_indices = _part("ccol_indices", False, True), _part("row_indices", False, False)
for _found in (crow_indices, col_indices, ccol_indices, row_indices):
    public(_found.__name__, function=False)(_found)
    CompressedTensor.handlers[_found.__name__] = SparseTensor.handlers[_found.__name__] = _found
for _name, _wanted in (("coalesce", "sparse coordinate"), ("is_coalesced", "sparse coordinate"), ("indices", "sparse coordinate")):
    CompressedTensor.handlers[_name] = _needs(_name, _wanted)


def _copy_of(name: str) -> Callable[[Tensor], Tensor]:
    def call(input: Tensor) -> Tensor:
        return getattr(input, name)().clone()  # type: ignore[no-any-return]
    call.__name__ = name + "_copy"
    call.__doc__ = f"A copy of `{name}()`, which raises as that does."
    return call


for _name in ("crow_indices", "col_indices", "ccol_indices", "row_indices", "indices", "values"):
    public(_name + "_copy", method=False)(_copy_of(_name))


# ---- masks and sizes


@public("sparse_mask", function=False)
def sparse_mask(self: Tensor, mask: Tensor) -> Any:
    """The elements at the places that a sparse tensor names, in its layout. Raises RuntimeError for another shape, NotImplementedError for a strided mask."""
    if not isinstance(mask, Sparse):
        raise NotImplementedError("Could not run 'sparse_mask' with a mask that is not sparse")
    if self._shape != mask._shape:
        raise RuntimeError(f"sparse_mask(): operands have incompatible sizes; self has size {list(self._shape)} but mask has size {list(mask._shape)}")
    places = coordinates(mask.detach())
    values = at_places(dense_of(self) if isinstance(self, Sparse) else self, places)
    if isinstance(self, Sparse) and not places._sorted:
        values = _once(values, places)
    if isinstance(mask, CompressedTensor):
        return of_coo(coo(places._places, values, mask._shape, places._sorted), mask._kind, mask.block() if mask._kind in IN_BLOCKS else None)
    return coo(places._places, values, mask._shape, places._sorted)


def _once(values: Tensor, places: SparseTensor) -> Tensor:
    """Zero at a place that was named before."""
    first = np.zeros(places._nnz(), bool)
    first[np.unique(keys_of(places), return_index=True)[1]] = True
    return FUNCTIONS["where"](from_array(first).reshape(-1, *[1] * (len(values._shape) - 1)), values, 0)  # type: ignore[attr-defined,no-any-return]


def at_places(x: Tensor, s: SparseTensor) -> Tensor:
    """The elements of a strided tensor of the same shape at the places of a sparse one: [nnz, *dense]."""
    sparse = s.sparse_dim()
    return picked(x.reshape(numel(s._shape[:sparse]), *s._shape[sparse:]), keys_of(s))  # type: ignore[attr-defined]


def _only_sparse(name: str, self: Tensor) -> SparseTensor:
    if not isinstance(self, SparseTensor):
        raise NotImplementedError(f"Could not run '{name}' with a tensor of layout {self.layout!r}")  # type: ignore[attr-defined]
    if self.requires_grad:
        raise RuntimeError(f"{name}: the size of a tensor that requires grad cannot be changed in place")
    return self


@public("sparse_resize_and_clear_", function=False)
def sparse_resize_and_clear_(self: Tensor, size: Sequence[int], sparse_dim: int, dense_dim: int) -> Tensor:
    """Another size, nothing named. Raises RuntimeError for numbers of dimensions that do not add up."""
    s = _only_sparse("sparse_resize_and_clear_", self)
    _check_dims("sparse_resize_and_clear_", size, sparse_dim, dense_dim)
    shape = tuple(size)
    s._become(coo(np.zeros((sparse_dim, 0), np.int64), zeros(0, *shape[sparse_dim:], dtype=s._dtype), shape, True))
    return s


def _check_dims(name: str, size: Sequence[int], sparse: int, dense: int) -> None:
    if sparse + dense != len(size):
        raise RuntimeError(f"{name}: 'len(size) == sparse_dim + dense_dim' is not satisfied: len(size) = {len(size)}, sparse_dim = {sparse}, "
                           f"dense_dim = {dense}")


@public("sparse_resize_", function=False)
def sparse_resize_(self: Tensor, size: Sequence[int], sparse_dim: int, dense_dim: int) -> Tensor:
    """Another size; the values named stay. Raises RuntimeError where that would change numbers of dimensions or make a size smaller."""
    s = _only_sparse("sparse_resize_", self)
    _check_dims("sparse_resize_", size, sparse_dim, dense_dim)
    shape = tuple(size)
    if s._nnz() == 0:
        return sparse_resize_and_clear_(s, shape, sparse_dim, dense_dim)
    if sparse_dim != s.sparse_dim() or dense_dim != s.dense_dim():
        raise RuntimeError(f"changing the number of sparse or dense dimensions (from {s.sparse_dim()}, {s.dense_dim()} to {sparse_dim}, {dense_dim}) on a "
                           "non-empty sparse tensor is not supported.")
    if any(new < old for new, old in zip(shape, s._shape, strict=True)):
        raise RuntimeError(f"shrinking the size of dimensions (from {list(s._shape)} to {list(shape)}) on a non-empty sparse tensor is not supported.")
    entries = s._entries
    for d, (new, old) in enumerate(zip(shape[sparse_dim:], s._shape[sparse_dim:], strict=True)):
        if new > old:
            wide = list(entries._shape)
            wide[d + 1] = new - old
            entries = FUNCTIONS["cat"]([entries, zeros(wide, dtype=s._dtype)], d + 1)
    s._become(coo(s._places, entries, shape, s._sorted))
    return s


@public("resize_as_sparse_")
def resize_as_sparse_(self: Tensor, the_template: Tensor) -> Tensor:
    """The size and numbers of dimensions of another sparse tensor, as `sparse_resize_`."""
    template = _only_sparse("resize_as_sparse_", the_template.detach())  # type: ignore[attr-defined]
    return sparse_resize_(self, template._shape, template.sparse_dim(), template.dense_dim())


for _handler in (to_dense, to_sparse, to_sparse_coo, to_sparse_csr, to_sparse_csc, to_sparse_bsr, to_sparse_bsc, sparse_mask, sparse_resize_,
                 sparse_resize_and_clear_, resize_as_sparse_):
    for _kind in (SparseTensor, CompressedTensor):
        _kind.handle(_handler.__name__)(_handler)

__all__ = ["at_places", "coordinates", "dense_of", "like", "title"]

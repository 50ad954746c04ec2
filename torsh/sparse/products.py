"""Products with sparse matrices.

sparse @ dense adds, to each row of the result, the rows of the dense matrix that its values name, times these. Its derivative by the values
is again only at their places.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from torsh.ops.dispatch import FUNCTIONS, cast_tensor, public
from torsh.ops.scatter import index_reduce
from torsh.sparse.arithmetic import both, joined
from torsh.sparse.compressed import CompressedTensor, of_coo
from torsh.sparse.convert import coordinates, dense_of, like
from torsh.sparse.coo import Sparse, SparseTensor, array_of, coo, picked, summed
from torsh.tensor.creation import from_array, zeros
from torsh.tensor.tensor import Tensor


def _matrix(what: str, s: Any) -> SparseTensor:
    c = coordinates(s)
    if len(c._shape) != 2 or c.sparse_dim() != 2:
        raise RuntimeError(f"{what}: expected a sparse matrix (two sparse dimensions, no dense ones), got shape {list(c._shape)} with {c.sparse_dim()} "
                           f"sparse dimensions")
    return c


def _fits(what: str, a: Tensor, b: Tensor) -> None:
    if len(a._shape) != 2 or len(b._shape) != 2:
        raise RuntimeError(f"{what}: Expected matrices, got shapes {list(a._shape)} and {list(b._shape)}")
    if a._shape[1] != b._shape[0]:
        raise RuntimeError(f"{what}: mat1 and mat2 shapes cannot be multiplied ({a._shape[0]}x{a._shape[1]} and {b._shape[0]}x{b._shape[1]})")
    if a._dtype is not b._dtype:
        raise RuntimeError(f"{what}: expected mat1 and mat2 to have the same dtype, but got: {a._dtype.name} != {b._dtype.name}")


def _terms(c: SparseTensor, dense: Tensor) -> tuple[np.ndarray, Tensor]:
    """(the row of the result, [nnz, n] what is added to it) for each value."""
    rows, cols = array_of(c._places)
    return rows, c._entries.unsqueeze(1) * picked(dense, cols)  # type: ignore[attr-defined]


def _sparse_dense(s: Any, dense: Tensor) -> Tensor:
    rows, terms = _terms(_matrix("mm", s), dense)
    return summed(terms, rows, s._shape[0])


def _sparse_sparse(what: str, a: SparseTensor, b: SparseTensor) -> SparseTensor:
    """Every value of `a` at (i, k) with every one of `b` at (k, j)."""
    a, b = _matrix(what, a).coalesce(), _matrix(what, b).coalesce()
    (i, k), (rows, cols) = array_of(a._places), array_of(b._places)
    starts = np.searchsorted(rows, np.arange(b._shape[0] + 1))
    counts = starts[k + 1] - starts[k]
    of_a = np.repeat(np.arange(len(k)), counts)
    of_b = np.arange(len(of_a)) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(starts[k], counts)
    places = np.stack([i[of_a], cols[of_b]])
    return coo(places, picked(a._entries, of_a) * picked(b._entries, of_b), (a._shape[0], b._shape[1])).coalesce()


@both("mm", "spmm", "dsmm")
def mm(input: Any, mat2: Any, *, out: Any = None) -> Any:
    """The product of two matrices, sparse if both are. Raises RuntimeError for other shapes and for different dtypes."""
    _fits("mm", input, mat2)
    if not isinstance(mat2, Sparse):
        return _sparse_dense(input, mat2)
    if not isinstance(input, Sparse):
        return _sparse_dense(t(_matrix("mm", mat2)), input.t()).t()  # type: ignore[attr-defined]
    return like(input, _sparse_sparse("mm", coordinates(input), coordinates(mat2)))


@both("t")
def t(input: Any) -> Any:
    """The transposed matrix. Raises RuntimeError for more than two dimensions."""
    from torsh.sparse.shapes import transpose
    if len(input._shape) > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 sparse and 0 dense dimensions, but self is {len(input._shape)}D")
    return input if len(input._shape) < 2 else transpose(input, 0, 1)


@both("mv")
def mv(input: Any, vec: Tensor) -> Tensor:
    """A sparse matrix times a vector. Raises RuntimeError for other shapes."""
    if not isinstance(input, Sparse) or isinstance(vec, Sparse) or len(vec._shape) != 1:
        raise RuntimeError(f"mv: Expected a sparse matrix and a strided vector, got shapes {list(input._shape)} and {list(vec._shape)}")
    return mm(input, vec.unsqueeze(1)).squeeze(1)  # type: ignore[attr-defined,no-any-return]


@both("bmm")
def bmm(input: Any, mat2: Any) -> Tensor:
    """Products of batches of matrices, the first sparse [b, n, k], the second strided [b, k, m]. Raises RuntimeError for others."""
    if not isinstance(input, Sparse) or isinstance(mat2, Sparse) or len(input._shape) != 3 or len(mat2._shape) != 3:
        raise RuntimeError(f"bmm: Expected a sparse and a strided batch of matrices, got shapes {list(input._shape)} and {list(mat2._shape)}")
    b, n, k = input._shape
    if mat2._shape[:2] != (b, k):
        raise RuntimeError(f"bmm: shapes {list(input._shape)} and {list(mat2._shape)} do not fit")
    number, rows, cols = array_of(coordinates(input)._places)
    terms = coordinates(input)._entries.unsqueeze(1) * picked(mat2.reshape(b * k, mat2._shape[2]), number * k + cols)  # type: ignore[attr-defined]
    return summed(terms, number * n + rows, b * n).reshape(b, n, mat2._shape[2])  # type: ignore[attr-defined,no-any-return]


@both("matmul")
def matmul(input: Any, other: Any) -> Any:
    """`mm`, `mv` or `bmm` by the numbers of dimensions. Raises RuntimeError for others."""
    dims = len(input._shape), len(other._shape)
    if dims == (2, 2):
        return mm(input, other)
    if dims == (2, 1):
        return mv(input, other)
    if dims == (1, 2):
        return mv(t(other), input)
    if dims == (3, 3):
        return bmm(input, other)
    raise RuntimeError(f"matmul: sparse operands of shapes {list(input._shape)} and {list(other._shape)} are not supported")


@both("addmm")
def addmm(input: Any, mat1: Any, mat2: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    """beta * input + alpha * mat1 @ mat2. Raises RuntimeError for shapes that do not fit."""
    product = mm(mat1, mat2)
    if isinstance(input, Sparse):
        if isinstance(product, Sparse):
            return input * beta + product * alpha
        raise RuntimeError("addmm: a sparse input needs a sparse product; use sspaddmm")
    return input * beta + (dense_of(product) if isinstance(product, Sparse) else product) * alpha  # type: ignore[operator]


@both("hspmm", "hsmm")
def hspmm(mat1: Any, mat2: Tensor) -> SparseTensor:
    """sparse @ dense as a hybrid tensor: the rows that have values, each dense. Raises RuntimeError for other layouts and shapes."""
    if not isinstance(mat1, Sparse) or isinstance(mat2, Sparse):
        raise RuntimeError("hspmm: expected a sparse and a strided matrix")
    _fits("hspmm", mat1, mat2)
    c = _matrix("hspmm", mat1).coalesce()
    rows, terms = _terms(c, mat2)
    unique, to = np.unique(rows, return_inverse=True)
    made = coo(unique[None], summed(terms, to.reshape(-1), len(unique)), (c._shape[0], mat2._shape[1]))
    made._sorted = False
    return made


@both("smm")
def smm(input: Any, mat: Tensor) -> SparseTensor:
    """sparse @ dense, sparse: every column of the rows that have values."""
    hybrid = hspmm(input, mat)
    n = mat._shape[1]
    rows = np.repeat(array_of(hybrid._places)[0], n)
    cols = np.tile(np.arange(n), hybrid._nnz())
    made = coo(np.stack([rows, cols]), hybrid._entries.reshape(-1), hybrid._shape)  # type: ignore[attr-defined]
    made._sorted = False
    return made


@both("sspaddmm", "saddmm")
def sspaddmm(input: Any, mat1: Any, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> SparseTensor:
    """beta * input + alpha * mat1 @ mat2, all but `mat2` sparse. Raises RuntimeError for a strided input."""
    if not isinstance(input, SparseTensor):
        raise RuntimeError("sspaddmm: expected a sparse input")
    made = joined(input * beta, smm(mat1, mat2) * alpha)
    made._sorted = False
    return made


def _dense_first(name: str) -> Any:
    def call(input: Tensor, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(f"{name}: expected a sparse tensor, got one of layout {input.layout!r}")  # type: ignore[attr-defined]
    call.__name__ = name
    call.__doc__ = f"`{name}` of sparse tensors, see `torsh.sparse`. Raises RuntimeError for strided ones."
    return call


for _name, _dense in (("spmm", "mm"), ("dsmm", "mm")):
    public(_name, method=False)(FUNCTIONS[_dense])
for _name in ("hspmm", "hsmm"):
    public(_name, method=False)(_dense_first(_name))
public("saddmm", method=False)(_dense_first("saddmm"))
for _name in ("smm", "sspaddmm"):
    public(_name)(_dense_first(_name))


# ---- torsh.sparse


def sparse_mm(mat1: Any, mat2: Any, reduce: str | None = None) -> Any:
    """`torsh.sparse.mm`: sparse @ dense (strided), dense @ sparse (strided) or sparse @ sparse (sparse), with gradients at the places named.

    `reduce` ("sum", "mean", "amax", "amin") says how the terms of an element are put together, for compressed rows.
    """
    if reduce is None:
        return mm(mat1, mat2)
    if not isinstance(mat1, CompressedTensor) or isinstance(mat2, Sparse):
        raise NotImplementedError(f"sparse.mm: reduce={reduce!r} needs a matrix of compressed rows and a strided one")
    if reduce not in ("sum", "mean", "amax", "amin"):
        raise RuntimeError(f"reduce argument must be either sum, mean, amax or amin, got {reduce}")
    _fits("sparse.mm", mat1, mat2)
    rows, terms = _terms(_matrix("sparse.mm", mat1), mat2)
    n = mat1._shape[0]
    if reduce == "sum":
        return summed(terms, rows, n)
    if reduce == "mean":
        counts = np.maximum(np.bincount(rows, minlength=n), 1)
        return summed(terms, rows, n) / cast_tensor(from_array(counts[:, None]), terms._dtype)
    return index_reduce(zeros((n, mat2._shape[1]), dtype=terms._dtype), 0, from_array(rows), terms, reduce, include_self=False)


def sampled_addmm(input: CompressedTensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> CompressedTensor:
    """beta * input + alpha * mat1 @ mat2 at the places of `input` only, which has compressed rows. Raises RuntimeError for others."""
    if not isinstance(input, CompressedTensor) or isinstance(mat1, Sparse) or isinstance(mat2, Sparse):
        raise RuntimeError("sampled_addmm: expected an input with compressed rows and strided matrices")
    _fits("sampled_addmm", mat1, mat2)
    if input._shape != (mat1._shape[0], mat2._shape[1]):
        raise RuntimeError(f"sampled_addmm: self of shape {list(input._shape)} is not the product of {list(mat1._shape)} and {list(mat2._shape)}")
    c = coordinates(input)
    rows, cols = array_of(c._places)
    products = (picked(mat1, rows) * picked(mat2.t(), cols)).sum(1)  # type: ignore[attr-defined]
    return of_coo(c._with(c._entries * beta + products * alpha), input._kind)


def spdiags(diagonals: Tensor, offsets: Tensor, shape: Any, layout: Any = None) -> Any:
    """A matrix with the rows of `diagonals` on its diagonals `offsets`; element j of a row is in column j. Raises RuntimeError for repeated offsets.

    >>> import torsh
    >>> torsh.sparse.spdiags(torsh.tensor([[1, 2], [3, 4]]), torsh.tensor([0, 1]), (2, 2)).to_dense()
    tensor([[1, 4],
            [0, 2]])
    """
    rows = diagonals.unsqueeze(0) if len(diagonals._shape) == 1 else diagonals  # type: ignore[attr-defined]
    at = array_of(offsets.reshape(-1))  # type: ignore[attr-defined]
    if len(rows._shape) != 2 or rows._shape[0] != len(at):
        raise RuntimeError(f"spdiags: number of diagonals ({list(diagonals._shape)}) does not match the number of offsets ({len(at)})")
    if len(np.unique(at)) != len(at):
        raise RuntimeError("spdiags: Offset tensor contains duplicate values")
    n, m = (int(x) for x in shape)
    cols = np.broadcast_to(np.arange(rows._shape[1]), tuple(rows._shape))
    lines = cols - at[:, None]
    kept = (lines >= 0) & (lines < n) & (cols < m)
    flat = np.flatnonzero(kept)
    made = coo(np.stack([lines[kept], cols[kept]]), picked(rows.reshape(-1), flat), (n, m))
    return made if layout is None else made.to_sparse(layout=layout)  # type: ignore[attr-defined]


__all__ = ["addmm", "hspmm", "mm", "sampled_addmm", "smm", "sparse_mm", "spdiags", "sspaddmm", "t"]

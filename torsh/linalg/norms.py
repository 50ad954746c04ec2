"""Norms of vectors and matrices, condition numbers and ranks."""
from __future__ import annotations

import math
from numbers import Integral
from typing import Any

from torsh.core.dtypes import dtype
from torsh.core.shapes import wrap_dim, wrap_dims
from torsh.linalg.common import floating, linalg, matrices, square, widened
from torsh.linalg.spectral import eigvalsh, svdvals
from torsh.linalg.systems import inverses, tolerances
from torsh.ops import reduce
from torsh.ops.dispatch import cast_tensor, public
from torsh.ops.pointwise import abs, maximum, where
from torsh.ops.reduce import amax, amin
from torsh.ops.reduce import sum as sum_
from torsh.ops.views import movedim, zeros_like_shape
from torsh.tensor.tensor import Tensor

Dims = Any


@linalg()
def vector_norm(x: Tensor, ord: Any = 2, dim: Dims = None, keepdim: bool = False, *, dtype: dtype | None = None) -> Tensor:
    """The p-norm of the elements over dimensions (all by default): sum(|x|^p)^(1/p); the largest or smallest magnitude for inf and -inf,
    the number of elements that are not zero for 0. Real, also for complex input.

    Raises RuntimeError for integers, and for an empty dimension whose norm has no value.

    >>> import torsh
    >>> torsh.linalg.vector_norm(torsh.tensor([3.0, 4.0]))
    tensor(5.)
    """
    what = "linalg.vector_norm"
    floating(what, x, half=True)
    t = widened(what, x, dtype)
    order = float(ord)
    axes = wrap_dims(dim, len(t._shape), what)
    if (order == math.inf or order < 0) and any(t._shape[a] == 0 for a in axes):
        if dim is None or dim == () or dim == []:
            raise RuntimeError(f"{what} cannot compute the {order} norm on an empty tensor because the operation does not have an identity")
        raise RuntimeError(f"{what} cannot compute the {order} norm on the dimension {next(a for a in axes if t._shape[a] == 0)} because this dimension "
                           "is empty and the operation does not have an identity")
    half = t._dtype.itemsize == 2
    if not half:
        return reduce.vector_norm(t, order, axes, keepdim)
    return cast_tensor(reduce.vector_norm(t.float(), order, axes, keepdim), t._dtype)


def _pair(dim: Any, ndim: int, what: str) -> tuple[int, int]:
    if len(dim) != 2:
        raise RuntimeError(f"{what}: dim must be a 2-tuple. Got {list(dim)}")
    a, b = wrap_dim(dim[0], ndim, what), wrap_dim(dim[1], ndim, what)
    if a == b:
        raise RuntimeError(f"{what}: dims must be different. Got ({a}, {b})")
    return a, b


@linalg()
def matrix_norm(A: Tensor, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: dtype | None = None) -> Tensor:
    """The norm of matrices in two dimensions: "fro", "nuc" (sum of singular values), 2 and -2 (largest and smallest of them), 1 and -1
    (largest and smallest column sum of magnitudes), inf and -inf (the same of rows).

    Raises RuntimeError for another order, fewer than 2 dimensions, integers, and a dimension named twice.
    """
    what = "linalg.matrix_norm"
    floating(what, A, half=True)
    if len(A._shape) < 2:
        raise RuntimeError(f"{what}: The input tensor A must have at least 2 dimensions.")
    a, b = _pair(dim, len(A._shape), what)
    t = widened(what, A, dtype)
    if isinstance(ord, str):
        if ord not in ("fro", "nuc"):
            raise RuntimeError(f"{what}: Order {ord} not supported.")
        if ord == "fro":
            return vector_norm(t, 2, (a, b), keepdim)
    elif math.fabs(ord) not in (1, 2, math.inf):
        raise RuntimeError(f"{what}: Order {ord} not supported.")
    if ord == "nuc" or math.fabs(ord) == 2:
        if t._dtype.itemsize == 2:
            raise RuntimeError(f"{what}: Low precision dtypes not supported. Got {t._dtype.title}")
        values = svdvals(movedim(t, (a, b), (-2, -1)))
        found = sum_(values, -1) if ord == "nuc" else _largest(values, -1, False) if ord > 0 else amin(values, -1)
        return _kept(found, a, b) if keepdim else found  # type: ignore[no-any-return]
    rows = math.fabs(ord) == math.inf
    first, second = (b, a) if rows else (a, b)  # summed, then compared
    sums = vector_norm(t, 1, first, True)
    found = _largest(sums, second, True) if ord > 0 else amin(sums, second, True)
    return found if keepdim else found.squeeze((a, b))  # type: ignore[no-any-return]


def _largest(sizes: Tensor, dim: int, keepdim: bool) -> Tensor:
    """The largest of numbers that are not negative: 0 of none."""
    return amax(sizes, dim, keepdim) if sizes._shape[dim] else sum_(sizes, dim, keepdim)  # type: ignore[no-any-return]


def _kept(found: Tensor, a: int, b: int) -> Tensor:
    for d in sorted((a, b)):
        found = found.unsqueeze(d)
    return found


@linalg()
def norm(A: Tensor, ord: Any = None, dim: Dims = None, keepdim: bool = False, *, dtype: dtype | None = None) -> Tensor:
    """`vector_norm` for one dimension or no order, `matrix_norm` for two dimensions (or a matrix and an order)."""
    if isinstance(dim, (int, Integral)):
        dim = (dim,)
    if ord is not None:
        if dim is not None and len(dim) not in (1, 2):
            raise RuntimeError(f"linalg.norm: If dim is specified, it must be of length 1 or 2. Got {list(dim)}")
        if dim is None and len(A._shape) not in (1, 2):
            raise RuntimeError(f"linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got {len(A._shape)}D.")
        if (dim is not None and len(dim) == 2) or (dim is None and len(A._shape) == 2):
            return matrix_norm(A, ord, dim or (0, 1), keepdim, dtype=dtype)
        if isinstance(ord, str):
            raise RuntimeError(f"linalg.norm: Order {ord} needs a matrix")
    return vector_norm(A, 2 if ord is None else ord, dim, keepdim, dtype=dtype)


@linalg()
def cond(A: Tensor, p: Any = None) -> Tensor:
    """Condition numbers: |A| |A^-1| in the norm `p` of `matrix_norm`; by default the largest singular value over the smallest.

    Infinite for a singular matrix. Raises RuntimeError for another order, and unless square for other norms than 2 and -2.
    """
    matrices("linalg.cond", A)
    if p is None or p in (2, -2):
        values = svdvals(A)
        first, last = values[..., 0], values[..., -1]
        return last / first if p == -2 else first / last  # type: ignore[no-any-return]
    if isinstance(p, str) and p not in ("fro", "nuc"):
        raise RuntimeError(f"linalg.cond got an invalid norm type: {p}")
    if not isinstance(p, str) and math.fabs(p) not in (1, math.inf):
        raise RuntimeError(f"linalg.cond got an invalid norm type: {p}")
    square("linalg.cond", A)
    if A.numel() == 0:
        return zeros_like_shape(A._shape[:-2], A).clone().real
    if p == "nuc":
        return sum_(svdvals(A), -1) * sum_(1 / svdvals(A), -1)  # type: ignore[no-any-return]
    inverse, info = inverses(A)
    found = matrix_norm(A, p) * matrix_norm(inverse, p)
    singular = zeros_like_shape((), found) + math.inf
    return where(info > 0, singular, found)  # type: ignore[no-any-return]


@linalg()
def matrix_rank(A: Tensor, tol: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None) -> Tensor:
    """[*] int64: how many singular values (for `hermitian`, magnitudes of eigenvalues) exceed max(atol, rtol * the largest).

    rtol is eps * max(m, n) unless atol is given; `tol` is an older name of atol that leaves rtol 0.
    """
    matrices("linalg.matrix_rank", A)
    if tol is not None:
        atol, rtol = tol, 0.0
    absolute, relative = tolerances(A, atol, rtol)
    if 0 in A._shape[-2:]:
        return zeros_like_shape(A._shape[:-2], A).real.long().clone()  # type: ignore[no-any-return]
    plain = A.detach()
    if hermitian:
        square("linalg.matrix_rank", A)
    sizes = abs(eigvalsh(plain)) if hermitian else svdvals(plain)
    limit = maximum(absolute, relative * amax(sizes, -1))
    return sum_(sizes > limit.unsqueeze(-1), -1)  # type: ignore[no-any-return]


@public("nuclear_norm", method=False, out=True)
def nuclear_norm(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The sum of singular values over two dimensions (of a matrix by default). Raises RuntimeError for another number of them."""
    pair = tuple(range(len(input._shape))) if dim is None else (dim,) if isinstance(dim, (int, Integral)) else tuple(dim)
    if len(pair) != 2:
        raise RuntimeError(f"linalg.matrix_norm: dim must be a 2-tuple. Got {list(pair)}")
    return matrix_norm(input, "nuc", pair, keepdim)


@public("frobenius_norm", method=False, out=True)
def frobenius_norm(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The root of the sum of squared magnitudes over one or two dimensions (all by default)."""
    return vector_norm(input, 2, dim, keepdim)


__all__ = ["cond", "matrix_norm", "matrix_rank", "norm", "vector_norm"]

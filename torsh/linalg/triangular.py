"""Triangular systems, and what is solved by two of them: from Cholesky and LU factors."""
from __future__ import annotations

from typing import Any

from torsh.autograd.autocast import in_full_precision
from torsh.autograd.graph import GradNode
from torsh.core.results import result_type
from torsh.linalg import lapack
from torsh.linalg.common import linalg, mH, product, same_dtype, square, together
from torsh.ops.dispatch import apply, public
from torsh.ops.host import host_op
from torsh.ops.matrix import tril, triu
from torsh.ops.views import transpose
from torsh.tensor.tensor import Tensor


def _trsm_vjp(ctx: GradNode, g: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """gB = A^-H g, gA = the triangle of -gB X^H (without its diagonal, if that is taken for ones)."""
    upper, unit = ctx.arg
    right = _trsm(mH(ctx[0]), g, not upper, unit)
    left = None
    if ctx.needs[0]:
        left = -product(right, mH(ctx.out))
        left = triu(left, int(unit)) if upper else tril(left, -int(unit))
    return left, right


_TRSM = host_op("solve_triangular", lapack.trsm, _trsm_vjp, (0,), True, "LinalgSolveTriangularBackward0")


def _trsm(A: Tensor, B: Tensor, upper: bool, unit: bool) -> Tensor:
    """X with A X = B, for triangular A and equal batches (checked by the caller)."""
    return apply(_TRSM, (A, B), (upper, unit), B._shape, B._dtype)


def solve_upper(A: Tensor, B: Tensor, unit: bool = False) -> Tensor:
    """A^-1 B for upper triangular A."""
    A, B = together("solve_triangular", A, B)
    return _trsm(A, B, True, unit)


def solve_lower(A: Tensor, B: Tensor, unit: bool = False) -> Tensor:
    """A^-1 B for lower triangular A."""
    A, B = together("solve_triangular", A, B)
    return _trsm(A, B, False, unit)


@linalg()
def solve_triangular(A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Tensor:
    """X with A X = B (or X A = B, unless `left`) for a triangular A, [*, n, n]; the other triangle is not read. Batches broadcast.

    A zero on the diagonal gives infinities, no error. Raises RuntimeError for shapes that do not fit and for different dtypes.

    >>> import torsh
    >>> torsh.linalg.solve_triangular(torsh.tensor([[2.0, 1.0], [0.0, 4.0]]), torsh.tensor([[4.0], [8.0]]), upper=True)
    tensor([[1.],
            [2.]])
    """
    what = "linalg.solve_triangular"
    square(what, A)
    same_dtype(what, A, B)
    if len(B._shape) < 2:
        raise RuntimeError(f"{what}: The input tensor B must have at least 2 dimensions.")
    if B._shape[-2 if left else -1] != A._shape[-1]:
        raise RuntimeError(f"{what}: Incompatible shapes of A and B for the equation {'AX = B' if left else 'XA = B'} "
                           f"({A._shape[-2]}x{A._shape[-1]} and {B._shape[-2]}x{B._shape[-1]})")
    A, B = together(what, A, B)
    if left:
        return _trsm(A, B, bool(upper), bool(unitriangular))
    return transpose(_trsm(transpose(A, -2, -1), transpose(B, -2, -1), not upper, bool(unitriangular)), -2, -1)


_TRIANGULAR = result_type("triangular_solve", "solution", "cloned_coefficient")


@public("triangular_solve", out=True)
@in_full_precision
def triangular_solve(b: Tensor, A: Tensor, upper: bool = True, transpose: bool = False, unitriangular: bool = False) -> Any:
    """(X, A) with A X = b, or A^T X = b. Raises RuntimeError for shapes that do not fit."""
    square("triangular_solve", A)
    if len(b._shape) < 2:
        raise RuntimeError(f"torch.triangular_solve: Expected b to have at least 2 dimensions, but it has {len(b._shape)} dimensions instead")
    used = A.mT if transpose else A
    X = solve_triangular(used, b, upper=upper != transpose, unitriangular=unitriangular)
    return _TRIANGULAR(X, A.expand((*X._shape[:-2], *A._shape[-2:])).clone())


@public(out=True)
@in_full_precision
def cholesky_solve(B: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """X with A X = B for A = L L^H (or U^H U, for `upper`). Raises RuntimeError for shapes that do not fit."""
    what = "cholesky_solve"
    if len(B._shape) < 2 or len(L._shape) < 2:
        raise RuntimeError(f"{'b' if len(B._shape) < 2 else 'u'} should have at least 2 dimensions, but has "
                           f"{len(B._shape) if len(B._shape) < 2 else len(L._shape)} dimensions instead")
    square(what, L)
    same_dtype(what, L, B)
    if B._shape[-2] != L._shape[-1]:
        raise RuntimeError(f"{what}: Incompatible matrix sizes for cholesky_solve: each A matrix is {L._shape[-1]} by {L._shape[-1]} but each b matrix is "
                           f"{B._shape[-2]} by {B._shape[-1]}")
    factor = mH(L) if upper else L
    return solve_upper(mH(factor), solve_lower(factor, B))


@public(out=True)
@in_full_precision
def cholesky_inverse(L: Tensor, upper: bool = False) -> Tensor:
    """The inverse of A = L L^H (or U^H U, for `upper`). Raises RuntimeError unless the factor is square."""
    square("cholesky_inverse", L)
    from torsh.linalg.common import identity
    return cholesky_solve(identity(L._shape[-1], L).expand(L._shape), L, upper)


@linalg("lu_solve")
def lu_solve(LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False) -> Tensor:
    """X with A X = B (or X A = B, unless `left`; of A^H for `adjoint`), from `lu_factor`. Batches broadcast.

    Raises RuntimeError for shapes that do not fit and for different dtypes.
    """
    from torsh.core.dtypes import int32
    from torsh.linalg.factor import lu_unpack
    what = "linalg.lu_solve"
    square(what, LU, "LU")
    same_dtype(what, LU, B, "LU and B")
    if pivots._dtype is not int32:
        raise RuntimeError(f"{what}: pivots should be a Tensor of scalar type torch.int32")
    if len(B._shape) < 2:
        raise RuntimeError(f"{what}: The input tensor B must have at least 2 dimensions.")
    if B._shape[-2 if left else -1] != LU._shape[-1]:
        raise RuntimeError(f"{what}: Incompatible shapes of A and B for the equation {'AX = B' if left else 'XA = B'} "
                           f"({LU._shape[-2]}x{LU._shape[-1]} and {B._shape[-2]}x{B._shape[-1]})")
    if pivots._shape != LU._shape[:-1]:
        raise RuntimeError(f"{what}: Number of pivots per batch should be same as the dimension of the matrix")
    if not left:  # X A = B is A^H X^H = B^H
        return mH(lu_solve(LU, pivots, mH(B), adjoint=not adjoint))
    P = lu_unpack(LU, pivots, unpack_data=False)[0]
    if not adjoint:
        return solve_upper(LU, solve_lower(LU, product(P.mT, B), True))
    return product(P, solve_upper(mH(LU), solve_lower(mH(LU), B), True))


@public("lu_solve", out=True)
@in_full_precision
def lu_solve_top(b: Tensor, LU_data: Tensor, LU_pivots: Tensor) -> Tensor:
    """`linalg.lu_solve` with the right-hand side first."""
    return lu_solve(LU_data, LU_pivots, b)


__all__ = ["cholesky_inverse", "cholesky_solve", "lu_solve", "solve_lower", "solve_triangular", "solve_upper", "triangular_solve"]

"""Cholesky, LU, QR and LDL factorizations.

Derivatives: Cholesky after Murray, "Differentiation of the Cholesky decomposition" (2016); LU and QR from differentiating A = P L U and
A = Q R and splitting what results into triangles (Walter and Lehmann, "Algorithmic differentiation of linear algebra functions with
application in optimum experimental design", 2010), with wide and tall matrices in two blocks.
"""
from __future__ import annotations

from typing import Any

from torsh.autograd.autocast import in_full_precision
from torsh.autograd.graph import GradNode
from torsh.core.dtypes import int32, int64
from torsh.core.errors import LinAlgError
from torsh.core.results import result_type
from torsh.core.shapes import Shape
from torsh.linalg import lapack
from torsh.linalg.common import check, diagonal_of, failing, identity, linalg, matrices, mH, on_diagonal, product, same_dtype, square
from torsh.linalg.triangular import solve_lower, solve_upper
from torsh.ops.dispatch import apply, apply_several, public
from torsh.ops.host import host_op
from torsh.ops.join import cat
from torsh.ops.matrix import tril, triu
from torsh.ops.views import narrow, zeros_like_shape
from torsh.tensor.tensor import Tensor

# ---- Cholesky


def _cholesky_vjp(ctx: GradNode, g: Tensor | None, _: Any) -> Tensor | None:
    """Half of L^-H (the lower triangle of L^H g, mirrored) L^-1."""
    if g is None:
        return None
    factor = ctx.saved_output(0)
    left = solve_upper(mH(factor), _mirrored(tril(product(mH(factor), g))))
    return mH(solve_upper(mH(factor), mH(left))) * 0.5  # type: ignore[no-any-return]


def _mirrored(t: Tensor) -> Tensor:
    """A triangle and its adjoint on the other side, the diagonal's real part counted once."""
    both = t + mH(t)
    return both - on_diagonal(diagonal_of(both)) * 0.5  # type: ignore[no-any-return]


_POTRF = host_op("cholesky", lapack.potrf, _cholesky_vjp, (), True, "LinalgCholeskyExBackward0")
_CHOLESKY_EX = result_type("linalg_cholesky_ex", "L", "info")


def _factor(what: str, A: Tensor) -> tuple[Tensor, Tensor]:
    square(what, A)
    return apply_several(_POTRF, (A,), None, ((A._shape, A._dtype), (A._shape[:-2], int32)))  # type: ignore[return-value]


@linalg()
def cholesky_ex(A: Tensor, *, upper: bool = False, check_errors: bool = False) -> Any:
    """(L, info): as `cholesky`, but `info` (int32, [*]) is 0, or the order of the leading minor that is not positive-definite."""
    factor, info = _factor("linalg.cholesky_ex" if not check_errors else "linalg.cholesky", A)
    if check_errors:
        _check_positive(info, "linalg.cholesky_ex")
    return _CHOLESKY_EX(mH(factor) if upper else factor, info)


def _check_positive(info: Tensor, what: str) -> None:
    check(info, what, "The factorization could not be completed because the input is not positive-definite (the leading minor of order {code} "
                      "is not positive-definite).")


@linalg()
def cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """[*, n, n]: the lower triangular L with A = L L^H (or its adjoint, for `upper`); only A's lower triangle is read.

    Raises LinAlgError for a matrix that is not positive-definite, RuntimeError for one that is not square.

    >>> import torsh
    >>> torsh.linalg.cholesky(torsh.tensor([[4.0, 2.0], [2.0, 5.0]]))
    tensor([[2., 0.],
            [1., 2.]])
    """
    factor, info = _factor("linalg.cholesky", A)
    _check_positive(info, "linalg.cholesky")
    return mH(factor) if upper else factor


@public("cholesky", out=True)
@in_full_precision
def cholesky_top(input: Tensor, upper: bool = False) -> Tensor:
    """`linalg.cholesky`; with `upper`, from and to the upper triangle. Raises LinAlgError and RuntimeError as that does."""
    factor, info = _factor("cholesky", mH(input) if upper and len(input._shape) > 1 else input)
    _check_positive(info, "cholesky")
    return mH(factor) if upper else factor


# ---- LU


def _lu_vjp(ctx: GradNode, g: Tensor | None, *_: Any) -> Tensor | None:
    """With blocks of A = P [L1; L2] [U1 U2] and M = L1^H gL1 - gU2 U2^H, N = gU1 U1^H - L2^H gL2:
    the square block's gradient is L1^-H (strictly lower M + upper N) U1^-H."""
    if g is None:
        return None
    LU, pivots = ctx.saved_output(0), ctx.saved_output(1)
    m, n = LU._shape[-2:]
    k = min(m, n)
    corner, rest_L, rest_U = LU[..., :k, :k], LU[..., k:, :], LU[..., :, k:]
    L1, U1 = tril(corner, -1) + identity(k, LU), triu(corner)
    square_part = g[..., :k, :k]
    M, N = product(mH(L1), tril(square_part, -1)), product(triu(square_part), mH(U1))
    if n > k:
        M = M - product(g[..., :, k:], mH(rest_U))
    if m > k:
        N = N - product(mH(rest_L), g[..., k:, :])
    inner = tril(M, -1) + triu(N)
    out = mH(solve_upper(U1, mH(solve_upper(mH(L1), inner, True))))
    if n > k:
        out = cat([out, solve_upper(mH(L1), g[..., :, k:], True)], -1)
    if m > k:
        low = mH(solve_upper(U1, mH(g[..., k:, :])))
        out = cat([out, low], -2)
    return product(apply(_P, (pivots,), (m, LU._dtype.np), (*LU._shape[:-2], m, m), LU._dtype), out)


_P = host_op("lu_permutation", lapack.permutation_matrix)
_ORDER = host_op("lu_order", lapack.permutation)
_GETRF = host_op("lu_factor", lapack.getrf, _lu_vjp, (), True, "LinalgLuFactorExBackward0")
_LU_FACTOR, _LU_FACTOR_EX = result_type("linalg_lu_factor", "LU", "pivots"), result_type("linalg_lu_factor_ex", "LU", "pivots", "info")
_LU, _UNPACKED = result_type("linalg_lu", "P", "L", "U"), result_type("lu_unpack", "P", "L", "U")


def lu_parts(what: str, A: Tensor, pivot: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """(LU, pivots, info) of a batch. Raises RuntimeError without pivoting, which LAPACK has not."""
    matrices(what, A)
    if not pivot:
        raise RuntimeError(f"{what}: LU without pivoting is not implemented on the CPU")
    batch, (m, n) = A._shape[:-2], A._shape[-2:]
    return apply_several(_GETRF, (A,), None, ((A._shape, A._dtype), ((*batch, min(m, n)), int32), (batch, int32)))  # type: ignore[return-value]


@linalg()
def lu_factor_ex(A: Tensor, *, pivot: bool = True, check_errors: bool = False) -> Any:
    """(LU, pivots, info): as `lu_factor`; `info` (int32, [*]) is 0, or the one-based place of a zero on U's diagonal."""
    LU, pivots, info = lu_parts("linalg.lu_factor_ex", A, pivot)
    if check_errors:
        _check_pivots(info, "torch.linalg.lu_factor_ex")
    return _LU_FACTOR_EX(LU, pivots, info)


def _check_pivots(info: Tensor, what: str) -> None:
    check(info, what, "U[{code},{code}] is zero and using it on lu_solve would result in a division by zero. If you still want to perform the "
                      "factorization, consider calling linalg.lu(A, pivot) or linalg.lu_factor_ex(A, pivot)")


@linalg()
def lu_factor(A: Tensor, *, pivot: bool = True) -> Any:
    """(LU, pivots): L below the diagonal and U on and above it in one matrix, and the row exchanges (one-based, int32, [*, k]).

    Raises LinAlgError when U is singular.
    """
    LU, pivots, info = lu_parts("linalg.lu_factor", A, pivot)
    _check_pivots(info, "torch.linalg.lu_factor")
    return _LU_FACTOR(LU, pivots)


def _unpacked(LU: Tensor, pivots: Tensor, data: bool, permuted: bool) -> tuple[Tensor, Tensor, Tensor]:
    m, n = LU._shape[-2:]
    k = min(m, n)
    none = zeros_like_shape((0,), LU)
    P, L, U = none, none, none
    if permuted:
        P = apply(_P, (pivots,), (m, LU._dtype.np), (*LU._shape[:-2], m, m), LU._dtype)
    if data:
        L = tril(LU[..., :, :k], -1) + identity(m, LU, k)
        U = triu(LU[..., :k, :])
    return P, L, U


@linalg()
def lu(A: Tensor, *, pivot: bool = True) -> Any:
    """(P, L, U) with A = P L U: [*, m, m], [*, m, k], [*, k, n]."""
    LU, pivots, _ = lu_parts("linalg.lu", A, pivot)
    return _LU(*_unpacked(LU, pivots, True, True))


@public(method=False, out=True)
def lu_unpack(LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True) -> Any:
    """(P, L, U) of what `lu_factor` gives; empty tensors for what is not asked for. Raises RuntimeError unless the pivots are int32."""
    if unpack_pivots and LU_pivots._dtype is not int32:
        raise RuntimeError("torch.lu_unpack: LU_pivots is expected to be a contiguous tensor of torch.int32 dtype. Note: this function is intended to "
                           "be used with the output produced by torch.linalg.lu_factor")
    return _UNPACKED(*_unpacked(LU_data, LU_pivots, unpack_data, unpack_pivots))


@public("lu", out=True)
def lu_top(A: Tensor, pivot: bool = True, get_infos: bool = False) -> Any:
    """(LU, pivots) or, with `get_infos`, (LU, pivots, info). Raises LinAlgError for a singular matrix unless the infos are asked for."""
    LU, pivots, info = lu_parts("lu", A, pivot)
    if get_infos:
        return LU, pivots, info
    found = failing(info)
    if found is not None:
        raise LinAlgError(f"lu: {found[0]}U[{found[1]},{found[1]}] is zero")
    return LU, pivots


def row_order(pivots: Tensor, m: int) -> Tensor:
    """[*, m] int64: which row of A is row i of P^T A."""
    return apply(_ORDER, (pivots,), (m,), (*pivots._shape[:-1], m), int64)


# ---- QR


def _qr_square(Q: Tensor, R: Tensor, gQ: Tensor | None, gR: Tensor | None) -> Tensor:
    """For m >= n: (gQ + Q mirrored(upper(gR R^H - Q^H gQ))) R^-H."""
    if gR is not None:
        inner = product(gR, mH(R))
        if gQ is not None:
            inner = inner - product(mH(Q), gQ)
    else:
        assert gQ is not None
        inner = -product(mH(Q), gQ)
    left = product(Q, _mirrored(triu(inner)))
    if gQ is not None:
        left = gQ + left
    return mH(solve_upper(R, mH(left)))


def _qr_vjp(ctx: GradNode, gQ: Tensor | None, gR: Tensor | None) -> Tensor | None:
    (mode,) = ctx.arg
    if gQ is None and gR is None:
        return None
    Q, R = ctx.saved_output(0), ctx.saved_output(1)
    m, n = ctx.shapes[0][-2:]
    if mode == "r":
        raise RuntimeError("The derivative of linalg.qr depends on Q, which is not computed when mode='r'. Please use linalg.qr(A, mode='reduced') if "
                           "you are going to require gradients through linalg.qr.")
    if mode == "complete" and m > n:
        raise RuntimeError("The QR decomposition is not differentiable when mode='complete' and nrows > ncols.")
    if m >= n:
        return _qr_square(Q, R, gQ, gR)
    # Wide: the first m columns fix Q, the others are R2 = Q^H A2.
    if gR is None:
        first = _qr_square(Q, narrow(R, -1, 0, m), gQ, None)
        return cat([first, zeros_like_shape((*first._shape[:-1], n - m), first)], -1)
    gR2 = narrow(gR, -1, m, n - m)
    through = product(Q, narrow(R, -1, m, n - m), mH(gR2))
    first = _qr_square(Q, narrow(R, -1, 0, m), through if gQ is None else gQ + through, triu(narrow(gR, -1, 0, m)))
    return cat([first, product(Q, gR2)], -1)


_QR = host_op("qr", lapack.qr, _qr_vjp, (), True, "LinalgQrBackward0")
_QR_RESULT, _QR_TOP = result_type("linalg_qr", "Q", "R"), result_type("qr", "Q", "R")


def _qr(what: str, A: Tensor, mode: str) -> tuple[Tensor, Tensor]:
    matrices(what, A)
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or 'complete'")
    batch, (m, n) = A._shape[:-2], A._shape[-2:]
    rows = m if mode == "complete" else min(m, n)
    shape_q: Shape = (0,) if mode == "r" else (*batch, m, rows)
    return apply_several(_QR_OF[mode == "r"], (A,), (mode,), ((shape_q, A._dtype), ((*batch, rows, n), A._dtype)))  # type: ignore[return-value]


def _only_r(a: Any, mode: str) -> Any:
    import numpy as np
    return np.zeros(0, a.dtype), lapack.qr(a, mode)[1]


_QR_OF = {False: _QR, True: host_op("qr_r", _only_r, _qr_vjp, (), True, "LinalgQrBackward0")}


@linalg()
def qr(A: Tensor, mode: str = "reduced") -> Any:
    """(Q, R) with A = Q R, Q with orthonormal columns, R upper triangular.

    "reduced": [*, m, k] and [*, k, n] with k = min(m, n); "complete": [*, m, m] and [*, m, n]; "r": an empty Q. Raises RuntimeError for
    another mode.
    """
    return _QR_RESULT(*_qr("linalg.qr", A, mode))


@public("qr", out=True)
@in_full_precision
def qr_top(input: Tensor, some: bool = True) -> Any:
    """`linalg.qr`, reduced with `some`, complete without."""
    return _QR_TOP(*_qr("qr", input, "reduced" if some else "complete"))


def _no_derivative(name: str) -> Any:
    def vjp(ctx: GradNode, *g: Any) -> Any:
        raise NotImplementedError(f"the derivative for '{name}' is not implemented")
    return vjp


_GEQRF = host_op("geqrf", lapack.geqrf, _no_derivative("geqrf"))
_GEQRF_RESULT = result_type("geqrf", "a", "tau")


@public(out=True)
@in_full_precision
def geqrf(input: Tensor) -> Any:
    """(a, tau): a QR factorization as LAPACK keeps it: R on and above the diagonal, below it the Householder vectors, whose factors are tau."""
    matrices("torch.geqrf", input, "input")
    k = min(input._shape[-2:])
    return _GEQRF_RESULT(*apply_several(_GEQRF, (input,), None, ((input._shape, input._dtype), ((*input._shape[:-2], k), input._dtype))))


# ---- LDL


_LDL = host_op("ldl_factor", lapack.ldl, _no_derivative("linalg_ldl_factor_ex"))
_LDL_FACTOR, _LDL_FACTOR_EX = result_type("linalg_ldl_factor", "LD", "pivots"), result_type("linalg_ldl_factor_ex", "LD", "pivots", "info")


@linalg()
def ldl_factor_ex(A: Tensor, *, hermitian: bool = False, check_errors: bool = False) -> Any:
    """(LD, pivots, info): as `ldl_factor`; `info` (int32, [*]) is 0, or the one-based place of a zero of D."""
    square("torch.linalg.ldl_factor_ex", A)
    batch = A._shape[:-2]
    LD, pivots, info = apply_several(_LDL, (A,), (bool(hermitian),), ((A._shape, A._dtype), ((*batch, A._shape[-1]), int32), (batch, int32)))
    if check_errors:
        check(info, "torch.linalg.ldl_factor_ex", "D[{code},{code}] is exactly zero")
    return _LDL_FACTOR_EX(LD, pivots, info)


@linalg()
def ldl_factor(A: Tensor, *, hermitian: bool = False) -> Any:
    """(LD, pivots) of a symmetric or Hermitian matrix, A = L D L^T or L D L^H, as LAPACK's sytrf keeps it (lower triangle).

    Raises LinAlgError when D is singular. Has no derivative.
    """
    LD, pivots, info = ldl_factor_ex(A, hermitian=hermitian)
    check(info, "torch.linalg.ldl_factor", "D[{code},{code}] is exactly zero")
    return _LDL_FACTOR(LD, pivots)


def _ldl_solve_vjp(ctx: GradNode, g: Tensor) -> tuple[None, None, Tensor | None]:
    (hermitian,) = ctx.arg
    LD, pivots = ctx[0], ctx[1]
    if hermitian or not LD._dtype.is_complex:
        return None, None, _ldl_apply(LD, pivots, g, hermitian)
    return None, None, _ldl_apply(LD, pivots, g.conj_physical(), hermitian).conj_physical()


_LDL_SOLVE = host_op("ldl_solve", lapack.ldl_solve, _ldl_solve_vjp, (0, 1), False, "LinalgLdlSolveBackward0")


def _ldl_apply(LD: Tensor, pivots: Tensor, B: Tensor, hermitian: bool) -> Tensor:
    return apply(_LDL_SOLVE, (LD, pivots, B), (bool(hermitian),), B._shape, B._dtype)


@linalg()
def ldl_solve(LD: Tensor, pivots: Tensor, B: Tensor, *, hermitian: bool = False) -> Tensor:
    """X with A X = B, from `ldl_factor`'s LD and pivots; B is [*, n, k] and batches broadcast. Differentiable in B."""
    what = "torch.linalg.ldl_solve"
    square(what, LD, "LD")
    if len(B._shape) < 2:
        raise RuntimeError(f"{what}: Expected B to have at least 2 dimensions, but it has {len(B._shape)} dimensions instead")
    if B._shape[-2] != LD._shape[-1]:
        raise RuntimeError(f"{what}: Incompatible shapes of LD and B for the equation LD X = B ({list(LD._shape)} and {list(B._shape)})")
    if pivots._dtype not in (int32, int64) or pivots._shape != LD._shape[:-1]:
        raise RuntimeError(f"{what}: Expected LD.shape[:-1] and pivots.shape to be the same, and pivots to be integers, but got pivots with shape "
                           f"{list(pivots._shape)} and dtype {pivots._dtype.title}")
    same_dtype(what, LD, B, "LD and B")
    from torsh.linalg.common import together
    LD, B = together(what, LD, B)
    return _ldl_apply(LD, pivots.expand((*LD._shape[:-2], pivots._shape[-1])), B, hermitian)


__all__ = ["cholesky", "cholesky_ex", "geqrf", "ldl_factor", "ldl_solve", "lu", "lu_factor", "lu_parts", "lu_unpack", "qr", "row_order", "solve_lower"]

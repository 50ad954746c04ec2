"""Linear systems, inverses, determinants and least squares.

Derivatives of X = A^-1 B: gB = A^-H gX, gA = -gB X^H. Pseudo-inverses after Golub and Pereyra, "The differentiation of pseudo-inverses
and nonlinear least squares problems whose variables separate" (1973).
"""
from __future__ import annotations

import math
from typing import Any

import numpy as np

from torsh.autograd.autocast import as_written, in_full_precision
from torsh.autograd.grad_mode import state
from torsh.autograd.graph import GradNode
from torsh.core.dtypes import int32, int64
from torsh.core.results import result_type
from torsh.core.shapes import broadcast
from torsh.linalg import lapack
from torsh.linalg.common import check, each, linalg, matrices, mH, product, same_dtype, spread, square, together
from torsh.ops.dispatch import apply, apply_several, public
from torsh.ops.host import host_op
from torsh.ops.pointwise import log, where
from torsh.ops.views import narrow, transpose, zeros_like_shape
from torsh.tensor.tensor import Tensor

# ---- systems


def _solve_vjp(ctx: GradNode, g: Tensor | None, _: Any) -> tuple[Tensor | None, Tensor | None]:
    if g is None:
        return None, None
    right = solve_matrices(mH(ctx[0]), g)
    return -product(right, mH(ctx.saved_output(0))) if ctx.needs[0] else None, right


_GESV = host_op("solve", lapack.gesv, _solve_vjp, (0,), True, "LinalgSolveExBackward0")


def _solve(A: Tensor, B: Tensor) -> tuple[Tensor, Tensor]:
    A, B = together("linalg.solve", A, B)
    return apply_several(_GESV, (A, B), None, ((B._shape, B._dtype), (A._shape[:-2], int32)))  # type: ignore[return-value]


def solve_matrices(A: Tensor, B: Tensor) -> Tensor:
    """A^-1 B for batches of matrices that broadcast; infinities or NaN when A is singular."""
    return _solve(A, B)[0]


_SOLVE_EX = result_type("linalg_solve_ex", "result", "info")


def _solved(what: str, A: Tensor, B: Tensor, left: bool) -> tuple[Tensor, Tensor]:
    square(what, A)
    same_dtype(what, A, B)
    vector = len(B._shape) == 1 or (len(A._shape) - 1 == len(B._shape) and B._shape == A._shape[:-1])
    if vector and not left:
        raise RuntimeError(f"{what}: Vector broadcasting of the left hand side is not supported for left=False. In this case linalg.solve is "
                           "equivalent to B / A.squeeze(-1)")
    if not B._shape:
        raise RuntimeError(f"{what}: The input tensor B must have at least 1 dimension.")
    X = B.unsqueeze(-1) if vector else B
    if X._shape[-2 if left else -1] != A._shape[-1]:
        raise RuntimeError(f"{what}: Incompatible shapes of A and B for the equation {'AX = B' if left else 'XA = B'} "
                           f"({A._shape[-2]}x{A._shape[-1]} and {X._shape[-2]}x{X._shape[-1]})")
    if left:
        found, info = _solve(A, X)
    else:
        found, info = _solve(transpose(A, -2, -1), transpose(X, -2, -1))
        found = transpose(found, -2, -1)
    return (found.squeeze(-1) if vector else found), info


@linalg()
def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> Any:
    """(result, info): as `solve`, with LAPACK's report (int32, [*]: 0, or the one-based place of a zero pivot) instead of an error."""
    found, info = _solved("linalg.solve", A, B, left)
    if check_errors:
        check(info, "torch.linalg.solve_ex", "The solver failed because the input matrix is singular.")
    return _SOLVE_EX(found, info)


@linalg()
def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """X with A X = B (or X A = B, unless `left`): A is [*, n, n]; B is [*, n, k] with batches that broadcast, or [n] or [*, n] vectors.

    Raises LinAlgError for a singular A, RuntimeError for shapes that do not fit and for different dtypes.

    >>> import torsh
    >>> torsh.linalg.solve(torsh.tensor([[2.0, 0.0], [0.0, 4.0]]), torsh.tensor([2.0, 8.0]))
    tensor([1., 2.])
    """
    found, info = _solved("linalg.solve", A, B, left)
    check(info, "torch.linalg.solve", "The solver failed because the input matrix is singular.")
    return found


def _inv_vjp(ctx: GradNode, g: Tensor | None, _: Any) -> Tensor | None:
    """-A^-H g A^-H."""
    if g is None:
        return None
    inverse = mH(ctx.saved_output(0))
    return -product(inverse, g, inverse)


_GETRI = host_op("inv", lapack.getri, _inv_vjp, (), True, "LinalgInvExBackward0")
_INV_EX = result_type("linalg_inv_ex", "inverse", "info")


def inverses(A: Tensor) -> tuple[Tensor, Tensor]:
    """(A^-1, info) for square matrices (checked by the caller)."""
    return apply_several(_GETRI, (A,), None, ((A._shape, A._dtype), (A._shape[:-2], int32)))  # type: ignore[return-value]


@linalg()
def inv_ex(A: Tensor, *, check_errors: bool = False) -> Any:
    """(inverse, info): as `inv`, with LAPACK's report (int32, [*]) instead of an error."""
    square("linalg.inv_ex", A)
    found, info = inverses(A)
    if check_errors:
        _check_inverse(info, "linalg.inv_ex")
    return _INV_EX(found, info)


def _check_inverse(info: Tensor, what: str) -> None:
    check(info, what, "The diagonal element {code} is zero, the inversion could not be completed because the input matrix is singular.")


@linalg()
@public("inverse", out=True)
@in_full_precision
def inv(A: Tensor) -> Tensor:
    """The inverses of square matrices [*, n, n]. Raises LinAlgError for a singular one, RuntimeError for one that is not square."""
    square("linalg.inv", A)
    found, info = inverses(A)
    _check_inverse(info, "linalg.inv")
    return found


# ---- determinants


def _det(a: Any) -> Any:
    return np.linalg.det(a).astype(a.dtype)


def _cofactors(a: Any) -> Any:
    """det(A) A^-1 without dividing, so that it exists for singular A too: from A = U S V^H, det(U V^H) V diag(products of the other s) U^H."""
    n = a.shape[0]
    if n == 0:
        return a.copy()
    u, s, vh = np.linalg.svd(a)
    others = np.array([np.prod(np.delete(s, i)) for i in range(n)])
    return np.linalg.det(u) * np.linalg.det(vh) * (vh.conj().T * others) @ u.conj().T


_COFACTORS = host_op("cofactors", each(_cofactors, 1))


def _det_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    """g conj(det A) A^-H; for singular A, and as long as nobody differentiates it again, from the cofactors."""
    A = ctx[0]
    g = g.unsqueeze(-1).unsqueeze(-1)
    if not state.enabled:
        return g * mH(apply(_COFACTORS, (A,), None, A._shape, A._dtype))  # type: ignore[no-any-return]
    return g * ctx.out.unsqueeze(-1).unsqueeze(-1).conj_physical() * mH(inverses(A)[0])  # type: ignore[no-any-return]


_DET = host_op("det", _det, _det_vjp, (0,), True, "LinalgDetBackward0")


@linalg()
@public("det")
@as_written
def det(A: Tensor) -> Tensor:
    """The determinants of square matrices: [*]. Raises RuntimeError for a matrix that is not square."""
    square("linalg.det", A)
    return apply(_DET, (A,), None, A._shape[:-2], A._dtype)


def _slogdet(a: Any) -> Any:
    sign, size = np.linalg.slogdet(a)
    return np.asarray(sign).astype(a.dtype), np.asarray(size).astype(a.real.dtype)


def _slogdet_vjp(ctx: GradNode, g_sign: Tensor | None, g_log: Tensor | None) -> Tensor | None:
    """(g_log - i Im(conj(g_sign) sign)) A^-H."""
    A, sign = ctx[0], ctx.saved_output(0)
    scale = g_log
    if g_sign is not None and A._dtype.is_complex:
        turn = (g_sign.conj_physical() * sign).imag * -1j
        scale = turn if scale is None else scale + turn
    if scale is None:
        return None
    return scale.unsqueeze(-1).unsqueeze(-1) * mH(inverses(A)[0])  # type: ignore[no-any-return]


_SLOGDET = host_op("slogdet", _slogdet, _slogdet_vjp, (0,), True, "LinalgSlogdetBackward0")
_SLOGDET_RESULT, _SLOGDET_TOP = result_type("linalg_slogdet", "sign", "logabsdet"), result_type("slogdet", "sign", "logabsdet")


def _sign_and_log(what: str, A: Tensor) -> tuple[Tensor, Tensor]:
    square(what, A)
    return apply_several(_SLOGDET, (A,), None, ((A._shape[:-2], A._dtype), (A._shape[:-2], A._dtype.to_real())))  # type: ignore[return-value]


@linalg()
def slogdet(A: Tensor) -> Any:
    """(sign, logabsdet): the determinant's sign (its direction, if complex; 0 for a singular matrix) and the logarithm of its magnitude."""
    return _SLOGDET_RESULT(*_sign_and_log("linalg.slogdet", A))


@public("slogdet", out=True)
@as_written
def slogdet_top(input: Tensor) -> Any:
    """`linalg.slogdet`."""
    return _SLOGDET_TOP(*_sign_and_log("slogdet", input))


@public()
@as_written
def logdet(A: Tensor) -> Tensor:
    """The logarithms of determinants: NaN for a negative one, -inf for 0."""
    sign, size = _sign_and_log("logdet", A)
    if A._dtype.is_complex:
        return log(sign) + size  # type: ignore[no-any-return]
    return where(sign == -1, zeros_like_shape((), size) + math.nan, size)  # type: ignore[no-any-return]


# ---- pseudo-inverses and least squares


def _pinv_gradient(g: Tensor, P: Tensor, A: Tensor) -> Tensor:
    """The gradient of A, given that of its pseudo-inverse P: products in the order that keeps them small."""
    m, n = A._shape[-2:]
    Ph, gh = mH(P), mH(g)
    if m <= n:
        K = product(gh, P)
        KPh = product(K, Ph)
        return -mH(product(P, K)) + KPh - product(A, P, KPh) + product(Ph, P, gh - product(K, A))  # type: ignore[no-any-return]
    K = product(P, gh)
    PhK = product(Ph, K)
    return -mH(product(K, P)) + product(gh - product(A, K), P, Ph) + PhK - product(PhK, P, A)  # type: ignore[no-any-return]


def _pinv(a: Any, atol: Any, rtol: Any, hermitian: bool) -> Any:
    limit = lambda s: np.maximum(np.broadcast_to(atol, s.shape[:-1]), np.broadcast_to(rtol, s.shape[:-1]) * s.max(-1, initial=0))[..., None]  # noqa: E731
    if hermitian:
        w, v = np.linalg.eigh(a)
        keep = np.abs(w) > limit(np.abs(w))
        return (v * np.where(keep, 1 / np.where(keep, w, 1), 0)[..., None, :]) @ np.conj(np.swapaxes(v, -1, -2))
    u, s, vh = np.linalg.svd(a, full_matrices=False)
    keep = s > limit(s)
    return (np.conj(np.swapaxes(vh, -1, -2)) * np.where(keep, 1 / np.where(keep, s, 1), 0)[..., None, :]) @ np.conj(np.swapaxes(u, -1, -2))


def _pinv_host(a: Any, *rest: Any) -> Any:
    *tolerances, hermitian = rest
    m, n = a.shape[-2:]
    if a.size == 0:
        return np.zeros((*a.shape[:-2], n, m), a.dtype)
    return _pinv(a, tolerances[0], tolerances[1], hermitian).astype(a.dtype)


_PINV = host_op("pinv", _pinv_host, lambda ctx, g: _pinv_gradient(g, ctx.out, ctx[0]), (0,), True, "LinalgPinvBackward0")


def tolerances(A: Tensor, atol: Any, rtol: Any) -> tuple[Tensor, Tensor]:
    """(atol, rtol) as real tensors: by default 0 and eps * max(m, n), or 0 for rtol when atol is given and positive."""
    from torsh.tensor.creation import tensor
    real = A._dtype.to_real()
    default = float(np.finfo(real.np).eps) * max(A._shape[-2:])
    absolute = tensor(0.0 if atol is None else atol, dtype=real).detach() if not isinstance(atol, Tensor) else atol.detach().to(real)
    if rtol is None:
        relative = tensor(default, dtype=real) if atol is None else where(absolute > 0, 0.0, tensor(default, dtype=real))
    else:
        relative = rtol.detach().to(real) if isinstance(rtol, Tensor) else tensor(rtol, dtype=real)
    for name, t in (("atol", atol), ("rtol", rtol)):
        if isinstance(t, Tensor) and t._dtype.is_complex:
            raise RuntimeError(f"torch.linalg: {name} tensor of complex type is not supported. Got {t._dtype.title}")
    return absolute, relative


@linalg()
@public("pinverse", out=True)
@in_full_precision
def pinv(A: Tensor, rcond: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None) -> Tensor:
    """The pseudo-inverses [*, n, m] of [*, m, n]: singular values (for `hermitian`, sizes of eigenvalues) of at most max(atol, rtol * the
    largest) count as 0; rtol is eps * max(m, n) unless atol is given."""
    matrices("linalg.pinv", A)
    if hermitian:
        square("linalg.pinv", A)
    absolute, relative = tolerances(A, atol, rtol if rtol is not None else rcond)
    batch = A._shape[:-2]
    return apply(_PINV, (A, absolute.expand(batch), relative.expand(batch)), (bool(hermitian),), (*A._shape[:-2], A._shape[-1], A._shape[-2]), A._dtype)


def _lstsq_vjp(ctx: GradNode, gX: Tensor | None, *_: Any) -> tuple[Tensor | None, Tensor | None]:
    """X = A^+ B: gB = (A^+)^H gX, and gX B^H is the gradient of A^+."""
    if gX is None:
        return None, None
    A, B = ctx[0], ctx[1]
    P = pinv(A)
    return _pinv_gradient(product(gX, mH(B)), P, A) if ctx.needs[0] else None, product(mH(P), gX)


_LSTSQ = host_op("lstsq", lapack.lstsq, _lstsq_vjp, (0, 1), False, "LinalgLstsqBackward0")
_LSTSQ_RESULT = result_type("linalg_lstsq", "solution", "residuals", "rank", "singular_values")


@linalg()
def lstsq(A: Tensor, B: Tensor, rcond: float | None = None, *, driver: str | None = None) -> Any:
    """(solution, residuals, rank, singular_values) of min |A X - B|: A is [*, m, n]; B is [*, m, k], or [*, m] vectors.

    Drivers "gelsy" (the default), "gels" (full rank; no rank), "gelsd" and "gelss" (with singular values). Residuals are sums of squares
    [*, k] when m > n and the rank is n, else (and from "gelsy") empty. Raises RuntimeError for an unknown driver and for shapes that do not fit.
    """
    what = "torch.linalg.lstsq"
    matrices(what, A, "A")
    same_dtype(what, A, B)
    name = driver or "gelsy"
    if name not in ("gels", "gelsy", "gelsd", "gelss"):
        raise RuntimeError(f"{what}: parameter `driver` should be one of (gels, gelsy, gelsd, gelss)")
    if not B._shape:
        raise RuntimeError(f"{what}: input other must have at least 1 dimension.")
    vector = len(B._shape) == 1 or (len(A._shape) - 1 == len(B._shape) and B._shape == A._shape[:-1])
    if len(A._shape) < len(B._shape) or len(A._shape) - len(B._shape) > 1:
        raise RuntimeError(f"{what}: input.dim() must be greater or equal to other.dim() and (input.dim() - other.dim()) <= 1")
    right = B.unsqueeze(-1) if vector else B
    m, n = A._shape[-2:]
    if right._shape[-2] != m:
        raise RuntimeError(f"{what}: input.size(-2) should match other.size({-1 if vector else -2})")
    batch = broadcast(A._shape[:-2], right._shape[:-2], what)
    A, right = spread(A, batch), spread(right, batch)
    k = right._shape[-1]
    limit = float(np.finfo(A._dtype.to_real().np).eps) * max(m, n) if rcond is None else float(rcond)
    kept = min(m, n) if name in ("gelsd", "gelss") else 0
    real = A._dtype.to_real()
    X, rank, singular = apply_several(_LSTSQ, (A, right), (limit, name), (((*batch, n, k), A._dtype), (batch, int64), ((*batch, kept), real)))
    full = m > n and name != "gelsy" and (name == "gels" or bool((rank == n).all()))
    residuals = square_of(product(A, X) - right).sum(-2) if full else narrow((A.real if A._dtype.is_complex else A).reshape(-1), 0, 0, 0)
    return _LSTSQ_RESULT(X.squeeze(-1) if vector else X, residuals, zeros_like_shape((0,), rank) if name == "gels" else rank,
                         singular.detach() if kept else zeros_like_shape((0,), singular))


def square_of(t: Tensor) -> Tensor:
    """Squared magnitudes."""
    return t.real * t.real + t.imag * t.imag if t._dtype.is_complex else t * t  # type: ignore[no-any-return]


__all__ = ["det", "inv", "inverses", "logdet", "lstsq", "pinv", "slogdet", "solve", "solve_matrices", "tolerances"]

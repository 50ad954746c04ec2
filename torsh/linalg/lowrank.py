"""Approximations of low rank, and a few eigenpairs of large matrices, from products with the matrix alone."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torsh.core.results import result_type
from torsh.linalg.common import matrices, mH, product, square
from torsh.linalg.factor import cholesky_ex, qr
from torsh.linalg.spectral import eigh, svd_parts
from torsh.linalg.systems import solve
from torsh.linalg.triangular import solve_lower, solve_upper
from torsh.ops.dispatch import public
from torsh.ops.join import cat
from torsh.ops.random import randn
from torsh.ops.reduce import vector_norm
from torsh.tensor.tensor import Tensor


def _range_of(A: Tensor, q: int, niter: int, M: Tensor | None) -> Tensor:
    """[*, m, q]: orthonormal columns that span most of A's range (Halko, Martinsson and Tropp, "Finding structure with randomness", 2011,
    algorithm 4.4), with PyTorch's order of random numbers."""
    def times(X: Tensor) -> Tensor:
        return product(A, X) if M is None else product(A, X) - product(M, X)

    def adjoint_times(X: Tensor) -> Tensor:
        return product(mH(A), X) if M is None else product(mH(A), X) - product(mH(M), X)
    R = randn(A._shape[-1], q, dtype=A._dtype)
    Q = qr(times(R)).Q
    for _ in range(niter):
        Q = qr(adjoint_times(Q)).Q
        Q = qr(times(Q)).Q
    return Q  # type: ignore[no-any-return]


def _svd_lowrank(A: Tensor, q: int, niter: int, M: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    m, n = A._shape[-2:]
    if M is not None:
        M = M.expand(A._shape)
    if m < n:  # of the adjoint, whose range has fewer dimensions
        A, M = mH(A), None if M is None else mH(M)
    Q = _range_of(A, q, niter, M)
    B = product(mH(Q), A if M is None else A - M)
    U, S, Vh = svd_parts("svd_lowrank", B, False)
    U, V = product(Q, U), mH(Vh)
    return (V, S, U) if m < n else (U, S, V)


@public(method=False)
def svd_lowrank(A: Tensor, q: int | None = 6, niter: int | None = 2, M: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """(U, S, V) of [*, m, q], [*, q], [*, n, q] with A (or A - M) about U diag(S) V^H, from random projections refined `niter` times.

    Raises RuntimeError for fewer than 2 dimensions and integers.
    """
    matrices("svd_lowrank", A)
    return _svd_lowrank(A, 6 if q is None else q, 2 if niter is None else niter, M)


@public(method=False)
def pca_lowrank(A: Tensor, q: int | None = None, center: bool = True, niter: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """(U, S, V) of the rows of A, [*, m, n], less their mean if `center`: the columns of V are the first q (6) principal directions.

    Raises ValueError for a q that is not between 0 and min(m, n), or a negative `niter`.
    """
    matrices("pca_lowrank", A)
    m, n = A._shape[-2:]
    rank = min(6, m, n) if q is None else q
    if not 0 <= rank <= min(m, n):
        raise ValueError(f"q(={rank}) must be non-negative integer and not greater than min(m, n)={min(m, n)}")
    if niter < 0:
        raise ValueError(f"niter(={niter}) must be non-negative integer")
    if not center:
        return _svd_lowrank(A, rank, niter, None)
    return _svd_lowrank(A - A.mean(-2, keepdim=True), rank, niter, None)


_LOBPCG = result_type("lobpcg", "eigenvalues", "eigenvectors")


def _orthonormal(S: Tensor, apply_B: Callable[[Tensor], Tensor]) -> Tensor:
    """Columns that span the same space and are orthonormal with respect to B: S R^-1 with S^H B S = R^H R, columns without weight dropped."""
    gram = product(mH(S), apply_B(S))
    factor, info = cholesky_ex(gram)
    if info.item() == 0:
        return mH(solve_lower(factor, mH(S)))
    values, vectors = eigh(gram)
    kept = int((values > values[-1] * S._shape[-2] * 1e-7).sum().item())
    return product(S, vectors[:, -kept:] / values[-kept:].sqrt())


@public(method=False)
def lobpcg(A: Tensor, k: int | None = None, B: Tensor | None = None, X: Tensor | None = None, n: int | None = None, iK: Tensor | None = None,
           niter: int | None = None, tol: float | None = None, largest: bool | None = None, method: str | None = None, tracker: Any = None,
           ortho_iparams: Any = None, ortho_fparams: Any = None, ortho_bparams: Any = None) -> Any:
    """(eigenvalues [*, k], eigenvectors [*, m, k]): the k largest (or smallest) of A x = lambda B x for symmetric A and positive-definite B.

    Locally optimal block preconditioned conjugate gradients (Knyazev 2001), Rayleigh-Ritz over the span of the iterates, residuals and last
    steps; `iK` is the preconditioner, `X` the start, `niter` the most iterations (-1: until converged), `tol` the relative residual
    (sqrt of eps). The result has no derivative. Raises ValueError when m < 3 n, and for an unknown method.
    """
    square("lobpcg", A)
    if method not in (None, "basic", "ortho"):
        raise ValueError(f"unknown method {method!r}: use 'basic' or 'ortho'")
    A = A.detach()
    if len(A._shape) > 2:
        return _batch(A, k, B, X, n, iK, niter, tol, largest, method)
    m = A._shape[-1]
    count = n if n is not None else (k if k is not None else 1) if X is None else X._shape[-1]
    wanted = k if k is not None else 1 if X is None else X._shape[-1]
    if m < 3 * count:
        raise ValueError(f"LPBPCG algorithm is not applicable when the number of A rows (={m}) is smaller than 3 x the number of requested eigenpairs "
                         f"(={count})")
    import numpy as np
    limit = float(np.finfo(A._dtype.to_real().np).eps) ** 0.5 if tol is None else tol
    sign = 1.0 if largest is None or largest else -1.0

    def by_B(V: Tensor) -> Tensor:
        return V if B is None else product(B.detach(), V)

    iterate = _orthonormal(randn(m, count, dtype=A._dtype) if X is None else X.detach(), by_B)
    steps: Tensor | None = None
    scale = vector_norm(A, 2, (0, 1), False)
    bound = 1000 if niter is None else niter
    done = 0
    values: Tensor | None = None
    while True:
        basis = iterate if steps is None else _orthonormal(cat([iterate, steps], -1), by_B)
        small, rotation = eigh(product(mH(basis), A, basis))
        order = (small * -sign).argsort()[:count]
        values, new = small[order], product(basis, rotation[:, order])
        residual = product(A, new) - by_B(new) * values
        sizes = vector_norm(residual, 2, (0,), False) / (vector_norm(new, 2, (0,), False) * (scale + values.abs()))
        if tracker is not None:
            tracker(_State(values, new, residual, done, int((sizes < limit).sum().item())))
        if bool((sizes[:wanted] < limit).all()) or (bound >= 0 and done >= bound):
            return _LOBPCG(values[:wanted], new[:, :wanted])
        direction = residual if iK is None else product(iK.detach(), residual)
        last = new - product(iterate, product(mH(iterate), by_B(new)))  # what this step added
        steps = direction if done == 0 else cat([direction, last], -1)
        steps = steps / vector_norm(steps, 2, (0,), True).clamp(min=1e-300 if A._dtype.itemsize > 4 else 1e-30)
        iterate = new
        done += 1


class _State:
    """What a tracker sees after an iteration: `E`, `X`, `R`, and in `ivars` the step and the number converged."""

    def __init__(self, values: Tensor, vectors: Tensor, residual: Tensor, step: int, converged: int) -> None:
        self.E, self.X, self.R = values, vectors, residual
        self.ivars = {"istep": step, "converged_count": converged}


def _batch(A: Tensor, k: Any, B: Tensor | None, X: Tensor | None, n: Any, iK: Tensor | None, *rest: Any) -> Any:
    from torsh.ops.join import stack
    batch = A._shape[:-2]

    def at(t: Tensor | None, i: int) -> Tensor | None:
        return None if t is None else t.reshape(-1, *t._shape[-2:])[i] if len(t._shape) > 2 else t
    flat = A.reshape(-1, *A._shape[-2:])
    found = [lobpcg(flat[i], k, at(B, i), at(X, i), n, at(iK, i), *rest) for i in range(flat._shape[0])]
    values, vectors = stack([f[0] for f in found]), stack([f[1] for f in found])
    return _LOBPCG(values.reshape(*batch, *values._shape[1:]), vectors.reshape(*batch, *vectors._shape[1:]))


__all__ = ["lobpcg", "pca_lowrank", "solve", "solve_upper", "svd_lowrank"]

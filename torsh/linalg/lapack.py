"""LAPACK and BLAS on NumPy arrays, one matrix or a batch of them, with the factorizations' reports as numbers. SciPy is loaded by the first call."""
from __future__ import annotations

import math
from typing import Any

import numpy as np

from torsh.linalg.common import each

Array = Any
_INT = np.int32


def _lapack(names: tuple[str, ...], *arrays: Array) -> Any:
    from scipy.linalg import get_lapack_funcs
    return get_lapack_funcs(names, arrays)


def _info(code: int) -> Array:
    return np.array(code, _INT)


def _potrf(a: Array) -> tuple[Array, Array]:
    n = a.shape[0]
    if n == 0:
        return a.copy(), _info(0)
    (potrf,) = _lapack(("potrf",), a)
    factor, info = potrf(a, lower=1, clean=1)
    return factor, _info(info)


def _getrf(a: Array) -> tuple[Array, Array, Array]:
    """(LU, one-based pivots, info)."""
    m, n = a.shape
    if m == 0 or n == 0:
        return a.copy(), np.zeros(0, _INT), _info(0)
    (getrf,) = _lapack(("getrf",), a)
    lu, pivots, info = getrf(a)
    return lu, pivots.astype(_INT) + 1, _info(info)


def _gesv(a: Array, b: Array) -> tuple[Array, Array]:
    if a.shape[0] == 0 or b.shape[1] == 0:
        return b.copy(), _info(0 if a.shape[0] == 0 else int(_getrf(a)[2]))
    (gesv,) = _lapack(("gesv",), a, b)
    _, _, x, info = gesv(a, b)
    return x, _info(info)


def _getri(a: Array) -> tuple[Array, Array]:
    return _gesv(a, np.eye(a.shape[0], dtype=a.dtype))


def _trsm(a: Array, b: Array, upper: bool, unit: bool) -> Array:
    if b.size == 0:
        return b.copy()
    from scipy.linalg import get_blas_funcs
    (trsm,) = get_blas_funcs(("trsm",), (a, b))
    # The transpose of a row-major matrix is what BLAS reads without a copy: a = (a^T)^T, and a^T has the other triangle.
    return trsm(1.0, a.T, b, side=0, lower=int(upper), trans_a=1, diag=int(unit))


def _geqrf(a: Array) -> tuple[Array, Array]:
    m, n = a.shape
    if m == 0 or n == 0:
        return a.copy(), np.zeros(min(m, n), a.dtype)
    (geqrf,) = _lapack(("geqrf",), a)
    factors, tau, _, _ = geqrf(a, lwork=max(1, 64 * n))
    return factors, tau


def _qr(a: Array, mode: str) -> tuple[Array, Array]:
    m, n = a.shape
    k = min(m, n)
    factors, tau = _geqrf(a)
    r = np.triu(factors[:m if mode == "complete" else k])
    if mode == "r":
        return np.zeros(0, a.dtype), r
    columns = m if mode == "complete" else k
    q = np.zeros((m, columns), a.dtype)
    q[:, :k] = factors[:, :k]
    if k == 0:
        return np.eye(m, columns, dtype=a.dtype), r
    if a.dtype.kind == "c":
        (orgqr,) = _lapack(("ungqr",), a)
    else:
        (orgqr,) = _lapack(("orgqr",), a)
    q, _, _ = orgqr(q, tau, lwork=64 * columns)
    return q, r


def _ldl(a: Array, hermitian: bool) -> tuple[Array, Array, Array]:
    if a.shape[0] == 0:
        return a.copy(), np.zeros(0, _INT), _info(0)
    (sytrf,) = _lapack(("hetrf" if hermitian and a.dtype.kind == "c" else "sytrf",), a)
    factors, pivots, info = sytrf(a, lower=1)
    return np.tril(factors), pivots.astype(_INT), _info(info)


def _ldl_solve(factors: Array, pivots: Array, b: Array, hermitian: bool) -> Array:
    """A X = B from A = L D L^T (or L D L^H), as sytrf lays them out: blocks of D of order 1 and 2, one-based pivots, negative in pairs."""
    x = b.copy()
    n = factors.shape[0]
    conj = np.conj if hermitian else (lambda v: v)
    blocks, k = [], 0
    while k < n:
        size = 1 if pivots[k] > 0 else 2
        blocks.append((k, size))
        k += size
    for k, size in blocks:
        last = k + size - 1
        other = abs(int(pivots[last])) - 1
        if other != last:
            x[[last, other]] = x[[other, last]]
        for j in range(k, k + size):
            x[k + size:] -= np.outer(factors[k + size:, j], x[j])
    for k, size in blocks:
        if size == 1:
            x[k] /= factors[k, k].real if hermitian else factors[k, k]
        else:
            off = factors[k + 1, k]
            d = np.array([[factors[k, k], conj(off)], [off, factors[k + 1, k + 1]]])
            x[k:k + 2] = np.linalg.solve(d, x[k:k + 2])
    for k, size in reversed(blocks):
        for j in range(k, k + size):
            x[j] -= conj(factors[k + size:, j]) @ x[k + size:]
        last = k + size - 1
        other = abs(int(pivots[last])) - 1
        if other != last:
            x[[last, other]] = x[[other, last]]
    return x


def _permutation(pivots: Array, m: int) -> Array:
    """Row i of P^T A is row p[i] of A, for LAPACK's row exchanges."""
    order = np.arange(m, dtype=np.int64)
    for i, p in enumerate(pivots):
        order[[i, p - 1]] = order[[p - 1, i]]
    return order


def _svd(a: Array, full: bool, vectors: bool, driver: str | None) -> tuple[Array, ...]:
    m, n = a.shape
    k = min(m, n)
    real = a.real.dtype
    if k == 0:
        s = np.zeros(0, real)
        found = (np.eye(m, m if full else 0, dtype=a.dtype), s, np.eye(n if full else 0, n, dtype=a.dtype)) if vectors else (s,)
        return (*found, _info(0))
    if not np.isfinite(a).all():
        nan = np.full(k, np.nan, real)
        found = (np.full((m, m if full else k), np.nan, a.dtype), nan, np.full((n if full else k, n), np.nan, a.dtype)) if vectors else (nan,)
        return (*found, _info(-1))
    from scipy.linalg import LinAlgError, svd
    for name in ("gesdd", "gesvd") if driver is None else ("gesvd" if driver == "gesvd" else "gesdd",):
        try:
            found = svd(a, full_matrices=full, compute_uv=vectors, lapack_driver=name)
            return (*(found if vectors else (found,)), _info(0))
        except LinAlgError:
            continue
    nan = np.full(k, np.nan, real)
    found = (np.full((m, m if full else k), np.nan, a.dtype), nan, np.full((n if full else k, n), np.nan, a.dtype)) if vectors else (nan,)
    return (*found, _info(1))


def _eigh(a: Array, lower: bool, vectors: bool) -> tuple[Array, ...]:
    n = a.shape[0]
    real = a.real.dtype
    if n == 0:
        return (np.zeros(0, real), a.copy(), _info(0)) if vectors else (np.zeros(0, real), _info(0))
    (heevd,) = _lapack(("heevd" if a.dtype.kind == "c" else "syevd",), a)
    w, v, info = heevd(a, compute_v=int(vectors), lower=int(lower))
    return (w, v, _info(info)) if vectors else (w, _info(info))


def _eig(a: Array, vectors: bool) -> tuple[Array, ...]:
    n = a.shape[0]
    dt = np.result_type(a.dtype, np.complex64)
    if n == 0:
        return (np.zeros(0, dt), np.zeros((0, 0), dt), _info(0)) if vectors else (np.zeros(0, dt), _info(0))
    from scipy.linalg import LinAlgError, eig
    try:
        found = eig(a, right=vectors, check_finite=False)
        w, v = found if vectors else (found, np.zeros((0, 0)))
        info = _info(0)
    except LinAlgError:
        w, v, info = np.full(n, np.nan), np.full((n, n), np.nan), _info(1)
    return (w.astype(dt), v.astype(dt), info) if vectors else (w.astype(dt), info)


def _lstsq(a: Array, b: Array, rcond: float, driver: str) -> tuple[Array, Array, Array]:
    """(solution, rank (-1 from a driver that does not find it), singular values (empty likewise))."""
    m, n = a.shape
    k = b.shape[1]
    real = a.real.dtype
    singular, rank = np.zeros(0, real), -1
    if m == 0 or n == 0 or k == 0:
        if driver != "gels" and m and n:
            rank = int(np.linalg.matrix_rank(a))
        elif driver != "gels":
            rank = 0
        if driver in ("gelsd", "gelss"):
            singular = np.linalg.svd(a, compute_uv=False) if m and n else singular
        return np.zeros((n, k), a.dtype), np.array(rank, np.int64), singular
    padded = np.zeros((max(m, n), k), b.dtype)
    padded[:m] = b
    if driver == "gels":
        gels, size = _lapack(("gels", "gels_lwork"), a, b)
        work, _ = size(m, n, k)
        _, x, _ = gels(a, padded, lwork=int(np.real(work)))
    elif driver == "gelsy":
        gelsy, size = _lapack(("gelsy", "gelsy_lwork"), a, b)
        work, _ = size(m, n, k, rcond)
        _, x, _, rank, _ = gelsy(a, padded, np.zeros(n, np.int32), rcond, int(np.real(work)))
    elif driver == "gelsd":
        gelsd, size = _lapack(("gelsd", "gelsd_lwork"), a, b)
        sizes = size(m, n, k, rcond)
        x, singular, rank, _ = gelsd(a, padded, *[int(np.real(s)) for s in sizes[:-1]], cond=rcond)
    else:
        gelss, size = _lapack(("gelss", "gelss_lwork"), a, b)
        work, _ = size(m, n, k, rcond)
        _, x, singular, rank, _, _ = gelss(a, padded, cond=rcond, lwork=int(np.real(work)))
    return x[:n], np.array(rank, np.int64), singular.astype(real)


def _expm(a: Array) -> Array:
    """Single precision is computed in double and rounded once: the squarings lose what single precision has."""
    if a.shape[0] == 0:
        return a.copy()
    from scipy.linalg import expm
    return expm(a.astype(np.result_type(a.dtype, np.float64))).astype(a.dtype)


potrf, getrf, gesv, getri = each(_potrf, 1), each(_getrf, 1), each(_gesv, 2), each(_getri, 1)
trsm, geqrf, qr = each(_trsm, 2), each(_geqrf, 1), each(_qr, 1)
ldl, svd, eigh, eig, expm = each(_ldl, 1), each(_svd, 1), each(_eigh, 1), each(_eig, 1), each(_expm, 1)
lstsq = each(_lstsq, 2)


def permutation(pivots: Array, m: int) -> Array:
    """[*, m]: the order of rows that pivots [*, k] mean."""
    flat = pivots.reshape(math.prod(pivots.shape[:-1]), pivots.shape[-1])
    return np.array([_permutation(p, m) for p in flat], np.int64).reshape(*pivots.shape[:-1], m)


def permutation_matrix(pivots: Array, m: int, dt: Any) -> Array:
    """[*, m, m]: P with A = P L U, for pivots [*, k]."""
    order = permutation(pivots, m)
    out = np.zeros((*order.shape, m), dt)
    np.put_along_axis(out, order[..., None], 1, -1)
    return np.swapaxes(out, -1, -2)


def ldl_solve(factors: Array, pivots: Array, b: Array, hermitian: bool) -> Array:
    """A X = B for batches, from `ldl`."""
    batch = b.shape[:-2]
    flat = [x.reshape(math.prod(batch), *x.shape[len(batch):]) for x in (factors, pivots, b)]
    found = [_ldl_solve(f, p, x, hermitian) for f, p, x in zip(*flat, strict=True)]
    return np.stack(found).reshape(b.shape) if found else b.copy()

"""Eigenvalues and singular values.

Derivatives: perturbation theory in matrix form (Giles, "Collected matrix derivative results for forward and reverse mode algorithmic
differentiation", 2008; for complex and non-Hermitian matrices Boeddeker et al., "On the computation of complex-valued gradients with
application to statistically optimum beamforming", 2017). Gradients of vectors contain 1 / (difference of eigenvalues), so they are
infinite for repeated ones; a loss that depends on a vector's sign or phase, which is arbitrary, has no gradient.
"""
from __future__ import annotations

from typing import Any

from torsh.autograd.autocast import in_full_precision
from torsh.autograd.graph import GradNode
from torsh.core.dtypes import int32
from torsh.core.results import result_type
from torsh.linalg import lapack
from torsh.linalg.common import check, diagonal_of, identity, linalg, matrices, mH, off_diagonal, on_diagonal, product, skew, square
from torsh.linalg.systems import solve_matrices
from torsh.ops.dispatch import apply_several, cast_tensor, public
from torsh.ops.host import every_value, host_op
from torsh.ops.views import narrow
from torsh.tensor.tensor import Tensor

# ---- Hermitian matrices


def _gaps(values: Tensor) -> Tensor:
    """value_j - value_i, with ones on the diagonal."""
    return values.unsqueeze(-2) - values.unsqueeze(-1) + identity(values._shape[-1], values)  # type: ignore[no-any-return]


def _phase_free(what: str, turn: Tensor, meaning: str) -> None:
    """Raises RuntimeError if a loss depends on the phase of vectors, which is arbitrary: its derivative along `turn` (real) is not 0.

    Needs the gradient's numbers, so this is only asked of complex vectors.
    """
    if turn.numel() and (every_value(abs(turn.detach()).max()) > 1e-2).any():
        raise RuntimeError(f"{what}: The {meaning} vectors in the complex case are specified up to multiplication by e^{{i phi}}. The specified loss "
                           "function depends on this quantity, so it is ill-defined.")


def _eigh_vjp(ctx: GradNode, gL: Tensor | None, gV: Tensor | None, _: Any) -> Tensor | None:
    """V (diag(gL) + (V^H gV - (V^H gV)^H) / 2 / gaps) V^H."""
    if gL is None and gV is None:
        return None
    values, V = ctx.saved_output(0), ctx.saved_output(1)
    if gV is None:
        assert gL is not None
        return product(V * gL.unsqueeze(-2), mH(V))
    VgV = product(mH(V), gV)
    if V._dtype.is_complex:
        _phase_free("linalg_eigh_backward", diagonal_of(VgV).imag, "eigen")
    inner = off_diagonal(skew(VgV) * 0.5 / _gaps(values))
    if gL is not None:
        inner = inner + on_diagonal(gL)
    return product(V, inner, mH(V))


_EIGH = host_op("eigh", lapack.eigh, _eigh_vjp, (), True, "LinalgEighBackward0")
_EIGVALSH = host_op("eigvalsh", lapack.eigh)
_EIGH_RESULT, _EIG_RESULT = result_type("linalg_eigh", "eigenvalues", "eigenvectors"), result_type("linalg_eig", "eigenvalues", "eigenvectors")
_FAILED = "The algorithm failed to converge because the input matrix is ill-conditioned or has too many repeated eigenvalues (error code: {code})."


def _triangle(UPLO: str, what: str) -> bool:
    if str(UPLO).upper() not in ("L", "U"):
        raise RuntimeError(f"{what}: Expected UPLO argument to be 'L' or 'U', but got {UPLO}")
    return str(UPLO).upper() == "L"


def _recorded(t: Tensor) -> bool:
    from torsh.autograd.graph import needs_record
    return needs_record((t,))


@linalg()
def eigh(A: Tensor, UPLO: str = "L") -> Any:
    """(eigenvalues, eigenvectors) of Hermitian matrices [*, n, n]: real and ascending, [*, n]; orthonormal columns, [*, n, n].

    Only the lower triangle is read (the upper for UPLO "U"). Raises LinAlgError when the iteration does not converge, RuntimeError for a
    matrix that is not square.

    >>> import torsh
    >>> torsh.linalg.eigh(torsh.tensor([[2.0, 0.0], [0.0, 1.0]])).eigenvalues
    tensor([1., 2.])
    """
    square("linalg.eigh", A)
    lower = _triangle(UPLO, "linalg.eigh")
    values, vectors, info = apply_several(_EIGH, (A,), (lower, True), ((A._shape[:-1], A._dtype.to_real()), (A._shape, A._dtype), (A._shape[:-2], int32)))
    check(info, "linalg.eigh", _FAILED)
    return _EIGH_RESULT(values, vectors)


@linalg()
def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """The eigenvalues that `eigh` gives. Raises as that does."""
    square("linalg.eigvalsh", A)
    lower = _triangle(UPLO, "linalg.eigvalsh")
    if _recorded(A):
        return eigh(A, UPLO)[0]  # type: ignore[no-any-return]
    values, info = apply_several(_EIGVALSH, (A,), (lower, False), ((A._shape[:-1], A._dtype.to_real()), (A._shape[:-2], int32)))
    check(info, "linalg.eigvalsh", _FAILED)
    return values


# ---- other square matrices


def _eig_vjp(ctx: GradNode, gL: Tensor | None, gV: Tensor | None, _: Any) -> Tensor | None:
    """V^-H (diag(gL) + (V^H gV - V^H V Re(diagonal of V^H gV)) / conj(gaps)) V^H; vectors have norm 1."""
    if gL is None and gV is None:
        return None
    values, V = ctx.saved_output(0), ctx.saved_output(1)
    adjoint = mH(V)
    if gV is None:
        assert gL is not None
        found = solve_matrices(adjoint, gL.unsqueeze(-1) * adjoint)
    else:
        VgV = product(adjoint, gV)
        _phase_free("linalg_eig_backward", diagonal_of(VgV).imag, "eigen")
        inner = off_diagonal((VgV - product(adjoint, V * diagonal_of(VgV).real.unsqueeze(-2))) / _gaps(values).conj_physical())
        if gL is not None:
            inner = inner + on_diagonal(gL)
        found = solve_matrices(adjoint, product(inner, adjoint))
    return found if ctx.dtypes[0].is_complex else found.real  # type: ignore[no-any-return]


_EIG = host_op("eig", lapack.eig, _eig_vjp, (), True, "LinalgEigBackward0")
_EIGVALS = host_op("eigvals", lapack.eig)


def _finite(what: str, A: Tensor) -> None:
    if not every_value(A.detach().isfinite().all()).all():
        raise RuntimeError(f"torch.{what}: input tensor should not contain infs or NaNs.")


@linalg()
def eig(A: Tensor) -> Any:
    """(eigenvalues, eigenvectors) of square matrices [*, n, n]: complex, [*, n], in LAPACK's order; columns of norm 1, [*, n, n].

    Raises LinAlgError when the iteration does not converge, RuntimeError for values that are not finite or a matrix that is not square.
    """
    square("linalg.eig", A)
    _finite("linalg.eig", A)
    dt = A._dtype.to_complex()
    values, vectors, info = apply_several(_EIG, (A,), (True,), ((A._shape[:-1], dt), (A._shape, dt), (A._shape[:-2], int32)))
    check(info, "linalg.eig", _FAILED)
    return _EIG_RESULT(values, vectors)


@linalg()
def eigvals(A: Tensor) -> Tensor:
    """The eigenvalues that `eig` gives. Raises as that does."""
    square("linalg.eigvals", A)
    _finite("linalg.eigvals", A)
    if _recorded(A):
        return eig(A)[0]  # type: ignore[no-any-return]
    values, info = apply_several(_EIGVALS, (A,), (False,), ((A._shape[:-1], A._dtype.to_complex()), (A._shape[:-2], int32)))
    check(info, "linalg.eigvals", _FAILED)
    return values


# ---- singular values


def _svd_vjp(ctx: GradNode, gU: Tensor | None, gS: Tensor | None, gVh: Tensor | None, *_: Any) -> Tensor | None:
    """With M = skew(U^H gU) / E, N = skew(V^H gV) / E and E_ij = s_j^2 - s_i^2: U (M S + S N + diag(gS)) V^H, and the parts of gU and gV
    that are orthogonal to U and V, over S. In the complex case the diagonal of U^H gU adds i Im(...) / s."""
    if gU is None and gS is None and gVh is None:
        return None
    U, S, Vh = ctx.saved_output(0), ctx.saved_output(1), ctx.saved_output(2)
    m, n, k = U._shape[-2], Vh._shape[-1], S._shape[-1]
    U, Vh = narrow(U, -1, 0, k), narrow(Vh, -2, 0, k)
    gU = None if gU is None else narrow(gU, -1, 0, k)
    gV = None if gVh is None else mH(narrow(gVh, -2, 0, k))
    if gU is None and gV is None:
        assert gS is not None
        return product(U * gS.unsqueeze(-2), Vh)
    row, column = S.unsqueeze(-2), S.unsqueeze(-1)
    one = identity(k, S)
    E = (row - column) * (row + column) + one
    inner: Tensor | None = None
    UgU = None if gU is None else product(mH(U), gU)
    VgV = None if gV is None else product(Vh, gV)
    if U._dtype.is_complex:
        parts = [diagonal_of(t).imag for t in (UgU, VgV) if t is not None]
        _phase_free("svd_backward", parts[0] if len(parts) == 1 else parts[0] + parts[1], "singular")
    if UgU is not None:
        inner = off_diagonal(skew(UgU) / E) * row
    if VgV is not None:
        part = column * off_diagonal(skew(VgV) / E)
        inner = part if inner is None else inner + part
    assert inner is not None
    if gS is not None:
        inner = inner + on_diagonal(gS)
    if inner._dtype.is_complex and UgU is not None:
        inner = inner + on_diagonal(diagonal_of(skew(UgU)) * 0.5 / S)
    out = product(U, inner)
    if gU is not None and m > k:
        assert UgU is not None
        out = out + (gU - product(U, UgU)) / row
    out = product(out, Vh)
    if gV is not None and n > k:
        assert VgV is not None
        across = mH(gV - product(mH(Vh), VgV))
        out = out + product(U, across / column)
    return out


_SVD = host_op("svd", lapack.svd, _svd_vjp, (), True, "LinalgSvdBackward0")
_SVDVALS = host_op("svdvals", lapack.svd)
_SVD_RESULT, _SVD_TOP = result_type("linalg_svd", "U", "S", "Vh"), result_type("svd", "U", "S", "V")


def svd_parts(what: str, A: Tensor, full: bool, driver: str | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """(U, S, Vh). Raises LinAlgError when the iteration does not converge."""
    matrices(what, A)
    if driver is not None:
        raise RuntimeError(f"{what}: keyword argument `driver=` is only supported on CUDA inputs with cuSOLVER backend.")
    batch, (m, n) = A._shape[:-2], A._shape[-2:]
    k = min(m, n)
    outputs = (((*batch, m, m if full else k), A._dtype), ((*batch, k), A._dtype.to_real()), ((*batch, n if full else k, n), A._dtype), (batch, int32))
    U, S, Vh, info = apply_several(_SVD, (A,), (bool(full), True, driver), outputs)
    _check_svd(info, what)
    return U, S, Vh


def _check_svd(info: Tensor, what: str) -> None:
    if (every_value(info) < 0).any():
        check(info, what, "The algorithm failed to converge because the input matrix contained non-finite values.")
    check(info, what, "The algorithm failed to converge because the input matrix is ill-conditioned or has too many repeated singular values "
                      "(error code: {code}).")


@linalg()
def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> Any:
    """(U, S, Vh) with A = U diag(S) Vh: [*, m, m], [*, k], [*, n, n] with k = min(m, n), or reduced to k columns and rows.

    S is real and descending. Raises LinAlgError for values that are not finite, RuntimeError for a driver (LAPACK has but one here).

    >>> import torsh
    >>> torsh.linalg.svd(torsh.tensor([[0.0, 2.0], [1.0, 0.0]])).S
    tensor([2., 1.])
    """
    return _SVD_RESULT(*svd_parts("linalg.svd", A, full_matrices, driver))


@linalg()
def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:
    """The singular values that `svd` gives. Raises as that does."""
    matrices("linalg.svdvals", A)
    if _recorded(A) or driver is not None:
        return svd_parts("linalg.svd", A, False, driver)[1]
    batch, k = A._shape[:-2], min(A._shape[-2:])
    S, info = apply_several(_SVDVALS, (A,), (False, False, None), (((*batch, k), A._dtype.to_real()), (batch, int32)))
    _check_svd(info, "linalg.svd")
    return S


@public("svd", out=True)
@in_full_precision
def svd_top(input: Tensor, some: bool = True, compute_uv: bool = True) -> Any:
    """(U, S, V) with input = U diag(S) V^H, reduced with `some`; U and V are zeros unless `compute_uv`."""
    if not compute_uv:
        m, n = input._shape[-2:]
        from torsh.ops.views import zeros_like_shape
        batch = input._shape[:-2]
        return _SVD_TOP(zeros_like_shape((*batch, m, m), input).clone(), svdvals(input), zeros_like_shape((*batch, n, n), input).clone())
    U, S, Vh = svd_parts("svd", input, not some)
    return _SVD_TOP(U, S, mH(Vh))


def complex_of(t: Tensor) -> Tensor:
    return cast_tensor(t, t._dtype.to_complex())


__all__ = ["eig", "eigh", "eigvals", "eigvalsh", "svd", "svd_parts", "svdvals"]

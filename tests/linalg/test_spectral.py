"""Eigenvalues and singular values against PyTorch. Vectors are known up to their phase, so what is compared does not depend on it."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import torsh
from tests.ops.complex_oracle import agree, complexes, reals
from tests.ops.oracle import same

KINDS = {"real": reals, "complex": complexes}


@pytest.fixture(params=KINDS)
def numbers(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return KINDS[request.param]


def hermitian(x: Any) -> Any:
    return x + x.mH


@pytest.mark.parametrize("uplo", ["L", "U"])
def test_eigh(numbers: Callable[..., Any], uplo: str) -> None:
    agree(lambda m, x: tuple(abs(t) for t in m.linalg.eigh(hermitian(x), uplo)), numbers(2, 3, 3), rtol=1e-8, atol=1e-10, loose=1e-7)
    agree(lambda m, x: m.linalg.eigvalsh(hermitian(x), uplo), numbers(3, 3), rtol=1e-9, atol=1e-11)
    values, vectors = torsh.linalg.eigh(torsh.tensor(numbers(3, 3) + numbers(3, 3).conj().T))
    np.testing.assert_allclose((vectors * values @ vectors.mH).numpy(), numbers(3, 3) + numbers(3, 3).conj().T, 1e-9, 1e-12)


def test_only_one_triangle_is_read() -> None:
    x = reals(3, 3)
    for uplo in "LU":
        same(torsh.linalg.eigvalsh(torsh.tensor(x), uplo), torch.linalg.eigvalsh(torch.from_numpy(x), uplo), 1e-9, 1e-12)


def test_eig(numbers: Callable[..., Any]) -> None:
    def invariant(m: Any, x: Any) -> Any:
        values, vectors = m.linalg.eig(x)
        return values, abs(vectors)
    agree(invariant, numbers(2, 3, 3), rtol=1e-8, atol=1e-10, loose=1e-7)
    agree(lambda m, x: m.linalg.eigvals(x), numbers(3, 3), rtol=1e-9, atol=1e-11)
    values, vectors = torsh.linalg.eig(torsh.tensor(numbers(4, 4)))
    np.testing.assert_allclose((vectors * values).numpy(), numbers(4, 4) @ vectors.numpy(), 1e-9, 1e-12)


@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4), (2, 2, 3)], ids=str)
def test_svd(numbers: Callable[..., Any], shape: tuple[int, ...]) -> None:
    def invariant(m: Any, x: Any) -> Any:
        """Both sides have one phase in common, so the product keeps the part of the gradient that magnitudes do not see."""
        U, S, Vh = m.linalg.svd(x, full_matrices=False)
        return abs(U), S, abs(Vh), U[..., :, :1] @ Vh[..., :1, :]
    agree(invariant, numbers(*shape), rtol=1e-8, atol=1e-10, loose=1e-7)
    agree(lambda m, x: m.linalg.svdvals(x), numbers(*shape), rtol=1e-9, atol=1e-11)
    U, S, Vh = torsh.linalg.svd(torsh.tensor(numbers(*shape)))
    assert U.shape[-1] == shape[-2]
    assert Vh.shape[-1] == shape[-1]
    k = S.shape[-1]
    np.testing.assert_allclose((U[..., :k] * S.unsqueeze(-2) @ Vh[..., :k, :]).numpy(), numbers(*shape), 1e-9, 1e-12)
    U, S, V = torsh.svd(torsh.tensor(numbers(*shape)))
    np.testing.assert_allclose((U * S.unsqueeze(-2) @ V.mH).numpy(), numbers(*shape), 1e-9, 1e-12)
    assert torsh.svd(torsh.tensor(numbers(*shape)), compute_uv=False).U.abs().sum().item() == 0


def test_empty_batches_and_matrices() -> None:
    for shape in ((0, 3, 3), (0, 0), (2, 0, 0)):
        x, y = torsh.empty(shape), torch.empty(shape)
        for name in ("eigh", "eig", "svd", "qr", "eigvalsh", "svdvals", "eigvals"):
            ours, theirs = getattr(torsh.linalg, name)(x), getattr(torch.linalg, name)(y)
            for a, b in zip(ours, theirs, strict=True) if isinstance(theirs, tuple) else [(ours, theirs)]:
                assert tuple(a.shape) == tuple(b.shape)
                assert repr(a.dtype).split(".")[1] == repr(b.dtype).split(".")[1]


def test_errors() -> None:
    nan = torsh.full((2, 2), float("nan"))
    with pytest.raises(torsh.linalg.LinAlgError, match="non-finite"):
        torsh.linalg.svd(nan)
    with pytest.raises(RuntimeError, match="infs or NaNs"):
        torsh.linalg.eig(nan)
    with pytest.raises(RuntimeError, match="square"):
        torsh.linalg.eigh(torsh.ones(2, 3))
    with pytest.raises(RuntimeError, match="UPLO"):
        torsh.linalg.eigh(torsh.ones(2, 2), "X")
    with pytest.raises(RuntimeError, match="driver"):
        torsh.linalg.svd(torsh.ones(2, 2), driver="gesvd")
    with pytest.raises(RuntimeError, match="at least 2 dimensions"):
        torsh.linalg.svdvals(torsh.ones(2))

"""Factorizations and triangular systems against PyTorch, with first and second derivatives, and their errors."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import torsh
from tests.ops.complex_oracle import agree, complexes, reals
from tests.ops.oracle import same

pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated")  # of PyTorch's older names
KINDS = {"real": reals, "complex": complexes}


@pytest.fixture(params=KINDS)
def numbers(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return KINDS[request.param]


def positive(m: Any, x: Any) -> Any:
    """A Hermitian, positive-definite matrix made of any."""
    return x @ x.mH + m.eye(x.shape[-1], dtype=x.dtype)


@pytest.mark.parametrize("upper", [False, True])
def test_cholesky(numbers: Callable[..., Any], upper: bool) -> None:
    agree(lambda m, x: m.linalg.cholesky(positive(m, x), upper=upper), numbers(2, 3, 3), rtol=1e-9)
    agree(lambda m, x: m.cholesky(positive(m, x), upper), numbers(2, 2), rtol=1e-9)
    agree(lambda m, x, b: m.cholesky_solve(b, m.linalg.cholesky(positive(m, x), upper=upper), upper), numbers(3, 3), numbers(3, 2, seed=1), rtol=1e-9)
    agree(lambda m, x: m.cholesky_inverse(m.linalg.cholesky(positive(m, x), upper=upper), upper), numbers(3, 3), rtol=1e-9)


@pytest.mark.parametrize("shape", [(3, 3), (2, 4), (4, 2), (2, 3, 3)], ids=str)
def test_lu(numbers: Callable[..., Any], shape: tuple[int, ...]) -> None:
    agree(lambda m, x: m.linalg.lu(x)[1:], numbers(*shape), rtol=1e-9, atol=1e-10)
    x = numbers(*shape)
    ours, theirs = torsh.linalg.lu_factor(torsh.tensor(x)), torch.linalg.lu_factor(torch.from_numpy(x))
    same(ours.pivots, theirs.pivots)
    P, L, U = torsh.lu_unpack(*ours)
    np.testing.assert_allclose((P @ L @ U).numpy(), x, 1e-10, 1e-12)
    assert torsh.lu_unpack(*ours, unpack_pivots=False)[0].numel() == 0


@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("adjoint", [True, False])
def test_lu_solve(numbers: Callable[..., Any], left: bool, adjoint: bool) -> None:
    b = numbers(3, 2, seed=1) if left else numbers(2, 3, seed=1)
    agree(lambda m, x, y: m.linalg.lu_solve(*m.linalg.lu_factor(x), y, left=left, adjoint=adjoint), numbers(3, 3), b, rtol=1e-9, atol=1e-10)
    found = torsh.linalg.lu_solve(*torsh.linalg.lu_factor(torsh.tensor(numbers(3, 3))), torsh.tensor(b), left=left, adjoint=adjoint).numpy()
    a = numbers(3, 3).conj().T if adjoint else numbers(3, 3)
    np.testing.assert_allclose(a @ found if left else found @ a, b, 1e-9, 1e-11)


@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4), (2, 3, 2)], ids=str)
def test_qr(numbers: Callable[..., Any], shape: tuple[int, ...]) -> None:
    agree(lambda m, x: tuple(m.linalg.qr(x)), numbers(*shape), rtol=1e-8, atol=1e-9, loose=1e-7)
    for mode in ("reduced", "complete", "r"):
        same(torsh.linalg.qr(torsh.tensor(numbers(*shape)), mode), torch.linalg.qr(torch.from_numpy(numbers(*shape)), mode), 1e-9, 1e-12)
    same(torsh.geqrf(torsh.tensor(numbers(*shape))), torch.geqrf(torch.from_numpy(numbers(*shape))), 1e-9, 1e-12)


def test_householder_reflections(numbers: Callable[..., Any]) -> None:
    agree(lambda m, a, tau: m.linalg.householder_product(a, tau), numbers(2, 4, 3), numbers(2, 2, seed=1), rtol=1e-9, atol=1e-11)
    a, tau = torsh.geqrf(torsh.tensor(numbers(4, 3)))
    same(torsh.orgqr(a, tau), torch.linalg.qr(torch.from_numpy(numbers(4, 3))).Q, 1e-9, 1e-12)
    for left in (True, False):
        for transpose in (True, False):
            c = numbers(4, 2, seed=2) if left else numbers(2, 4, seed=2)
            agree(lambda m, a, t, c, left=left, transpose=transpose: m.ormqr(a, t, c, left, transpose), a.numpy(), tau.numpy(), c,
                  rtol=1e-9, atol=1e-11, twice=False)


@pytest.mark.parametrize("hermitian", [True, False])
def test_ldl(numbers: Callable[..., Any], hermitian: bool) -> None:
    x = numbers(3, 5, 5)
    x = x + (x.conj() if hermitian else x).swapaxes(-1, -2)
    x[1] = 0  # what is left needs blocks of order 2
    x[1, [0, 1, 2, 3], [1, 0, 3, 2]] = 1
    x[1, 4, 4] = 2
    LD, pivots = torsh.linalg.ldl_factor(torsh.tensor(x), hermitian=hermitian)
    same((LD, pivots), torch.linalg.ldl_factor(torch.from_numpy(x), hermitian=hermitian), 1e-9, 1e-12)
    assert (pivots < 0).any()
    b = numbers(3, 5, 2, seed=1)
    found = torsh.linalg.ldl_solve(LD, pivots, torsh.tensor(b), hermitian=hermitian)
    np.testing.assert_allclose(x @ found.numpy(), b, 1e-8, 1e-9)
    assert torsh.autograd.gradcheck(lambda y: torsh.linalg.ldl_solve(LD, pivots, y, hermitian=hermitian), torsh.tensor(b, requires_grad=True))


@pytest.mark.parametrize("upper", [True, False])
@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("unit", [True, False])
def test_solve_triangular(numbers: Callable[..., Any], upper: bool, left: bool, unit: bool) -> None:
    b = numbers(2, 3, 2, seed=1) if left else numbers(2, 2, 3, seed=1)
    agree(lambda m, a, b: m.linalg.solve_triangular(a, b, upper=upper, left=left, unitriangular=unit), numbers(3, 3) + 2 * np.eye(3), b, rtol=1e-9, atol=1e-11)


def test_triangular_solve(numbers: Callable[..., Any]) -> None:
    for upper in (True, False):
        for transpose in (True, False):
            agree(lambda m, b, a, u=upper, t=transpose: m.triangular_solve(b, a, u, t)[0], numbers(3, 2, seed=1), numbers(3, 3) + 2 * np.eye(3),
                  rtol=1e-9, atol=1e-11, twice=False)


def test_errors() -> None:
    indefinite = torsh.tensor([[1.0, 2.0], [2.0, 1.0]])
    with pytest.raises(torsh.linalg.LinAlgError, match="leading minor of order 2"):
        torsh.linalg.cholesky(indefinite)
    with pytest.raises(torsh.linalg.LinAlgError, match="Batch element 1"):
        torsh.linalg.cholesky(torsh.stack([torsh.eye(2), indefinite]))
    assert torsh.linalg.cholesky_ex(indefinite).info.item() == 2
    with pytest.raises(torsh.linalg.LinAlgError, match=r"U\[2,2\] is zero"):
        torsh.linalg.lu_factor(torsh.ones(2, 2))
    assert torsh.linalg.lu_factor_ex(torsh.ones(2, 2)).info.item() == 2
    with pytest.raises(RuntimeError, match="square matrices, but they are 2 by 3"):
        torsh.linalg.cholesky(torsh.ones(2, 3))
    with pytest.raises(RuntimeError, match="not implemented on the CPU"):
        torsh.linalg.lu(torsh.ones(2, 2), pivot=False)
    with pytest.raises(RuntimeError, match="unrecognized mode"):
        torsh.linalg.qr(torsh.ones(2, 2), "raw")
    with pytest.raises(RuntimeError, match="mode='r'"):
        torsh.linalg.qr(torsh.ones(2, 2, requires_grad=True), "r").R.sum().backward()
    with pytest.raises(RuntimeError, match="Incompatible shapes"):
        torsh.linalg.solve_triangular(torsh.ones(2, 2), torsh.ones(3, 1), upper=True)
    with pytest.raises(RuntimeError, match="same dtype"):
        torsh.linalg.solve_triangular(torsh.ones(2, 2), torsh.ones(2, 1, dtype=torsh.float64), upper=True)
    with pytest.raises(RuntimeError, match="Low precision"):
        torsh.linalg.qr(torsh.ones(2, 2, dtype=torsh.float16))
    with pytest.raises(RuntimeError, match="floating point or complex"):
        torsh.linalg.cholesky(torsh.ones(2, 2, dtype=torsh.int64))
    assert issubclass(torsh.linalg.LinAlgError, RuntimeError)

"""Functions of matrices, products, Vandermonde matrices and low-rank approximations against PyTorch."""
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


def test_matrix_exp(numbers: Callable[..., Any]) -> None:
    agree(lambda m, x: m.linalg.matrix_exp(x), numbers(2, 3, 3), rtol=1e-9, atol=1e-10)
    commuting = numbers(2, 2)
    np.testing.assert_allclose(torsh.matrix_exp(torsh.tensor(commuting * 2)).numpy(), torsh.matrix_exp(torsh.tensor(commuting)).matrix_power(2).numpy(), 1e-9)


@pytest.mark.parametrize("n", [-3, -1, 0, 1, 2, 5])
def test_matrix_power(numbers: Callable[..., Any], n: int) -> None:
    agree(lambda m, x: m.linalg.matrix_power(x, n) + x, numbers(2, 3, 3), rtol=1e-8, atol=1e-9, loose=1e-7)


def test_products(numbers: Callable[..., Any]) -> None:
    parts = [numbers(3), numbers(3, 5, seed=1), numbers(5, 2, seed=2), numbers(2, 4, seed=3), numbers(4, seed=4)]
    agree(lambda m, *ts: m.linalg.multi_dot(ts), *parts, rtol=1e-9, atol=1e-11)
    agree(lambda m, *ts: m.linalg.multi_dot(ts), *parts[1:4], rtol=1e-9, atol=1e-11)
    agree(lambda m, a, b: m.linalg.vecdot(a, b, dim=0), numbers(3, 2), numbers(3, 2, seed=1), rtol=1e-9)
    agree(lambda m, a, b: m.linalg.cross(a, b), numbers(2, 3), numbers(1, 3, seed=1), rtol=1e-9, atol=1e-12)
    agree(lambda m, a: m.linalg.vander(a, N=4), numbers(2, 3), rtol=1e-9)
    for options in ({}, {"N": 4}, {"N": 2, "increasing": True}):
        same(torsh.vander(torsh.tensor(numbers(3)), **options), torch.vander(torch.from_numpy(numbers(3)), **options), 1e-12, 1e-13)
    agree(lambda m, a: m.linalg.diagonal(a, offset=1), numbers(2, 3, 3))


def test_multi_dot_takes_the_cheapest_order() -> None:
    """(1 x 200) (200 x 200) (200 x 1): from the left 40,200 products, from the right as many, never the 8 million of pairing differently."""
    from torsh.linalg.functions import _chain_order
    cut = _chain_order([10, 30, 5, 60])
    assert cut[0][2] == 1  # (A B) C costs 4500, A (B C) 27000
    cut = _chain_order([200, 200, 200, 1])
    assert cut[0][2] == 0


def test_low_rank() -> None:
    """The subspace holds a matrix of that rank exactly; PyTorch's random numbers give PyTorch's result."""
    x = reals(2, 8, 3) @ reals(2, 3, 6, seed=1)
    for f in (lambda m, a: m.svd_lowrank(a, 3), lambda m, a: m.pca_lowrank(a, 3), lambda m, a: m.svd_lowrank(a.mT, 3, M=a.mT * 0.5)):
        for m in (torch, torsh):
            m.manual_seed(0)
        ours, theirs = f(torsh, torsh.tensor(x)), f(torch, torch.from_numpy(x))
        for a, b in zip(ours, theirs, strict=True):
            same(a.abs(), b.abs(), 1e-6, 1e-7)
    U, S, V = torsh.svd_lowrank(torsh.tensor(x), 3)
    np.testing.assert_allclose((U * S.unsqueeze(-2) @ V.mT).numpy(), x, 1e-8, 1e-9)
    with pytest.raises(ValueError, match="non-negative integer"):
        torsh.pca_lowrank(torsh.ones(2, 3), 4)


@pytest.mark.parametrize("largest", [True, False])
def test_lobpcg(largest: bool) -> None:
    a = reals(12, 12)
    a = a @ a.T + np.diag(np.arange(12.0))
    b = np.diag(np.linspace(1, 2, 12))
    for B in (None, b):
        torsh.manual_seed(0)
        values, vectors = torsh.lobpcg(torsh.tensor(a), 2, None if B is None else torsh.tensor(B), largest=largest, tol=1e-9)
        import scipy.linalg
        expected = scipy.linalg.eigh(a, B, eigvals_only=True)
        np.testing.assert_allclose(values.numpy(), expected[::-1][:2] if largest else expected[:2], 1e-6)
        left = a @ vectors.numpy() - (np.eye(12) if B is None else B) @ vectors.numpy() * values.numpy()
        assert np.abs(left).max() < 1e-5
    with pytest.raises(ValueError, match="smaller than 3 x"):
        torsh.lobpcg(torsh.eye(4), 2)


def test_errors() -> None:
    with pytest.raises(RuntimeError, match="at least 2 tensors"):
        torsh.linalg.multi_dot([torsh.ones(2, 2)])
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        torsh.linalg.multi_dot([torsh.ones(2, 2), torsh.ones(3, 2)])
    with pytest.raises(RuntimeError, match="length 3"):
        torsh.linalg.cross(torsh.ones(2), torsh.ones(2))
    with pytest.raises(RuntimeError, match="square"):
        torsh.linalg.matrix_exp(torsh.ones(2, 3))
    with pytest.raises(RuntimeError, match="N must be greater"):
        torsh.linalg.vander(torsh.ones(3), N=1)
    with pytest.raises(RuntimeError, match=r"tau\.shape\[-1\]"):
        torsh.linalg.householder_product(torsh.ones(3, 2), torsh.ones(3))


def test_names() -> None:
    """Every public name of torch.linalg exists here."""
    missing = [n for n in dir(torch.linalg) if not n.startswith("_") and callable(getattr(torch.linalg, n)) and not hasattr(torsh.linalg, n)]
    assert missing == []

"""Linear systems, inverses, determinants and least squares against PyTorch, with first and second derivatives, and their errors."""
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


def test_solve(numbers: Callable[..., Any]) -> None:
    agree(lambda m, a, b: m.linalg.solve(a, b), numbers(3, 3), numbers(3, 2, seed=1), rtol=1e-9, atol=1e-11)
    agree(lambda m, a, b: m.linalg.solve(a, b), numbers(2, 1, 2, 2), numbers(3, 2, 1, seed=1), rtol=1e-9, atol=1e-11)
    agree(lambda m, a, b: m.linalg.solve(a, b), numbers(2, 3, 3), numbers(2, 3, seed=1), rtol=1e-9, atol=1e-11)
    agree(lambda m, a, b: m.linalg.solve(a, b, left=False), numbers(3, 3), numbers(2, 3, seed=1), rtol=1e-9, atol=1e-11)


def test_inverses(numbers: Callable[..., Any]) -> None:
    agree(lambda m, a: m.linalg.inv(a), numbers(2, 3, 3), rtol=1e-9, atol=1e-11)
    agree(lambda m, a: m.linalg.tensorinv(a.reshape(2, 2, 4)), numbers(4, 4), rtol=1e-9, atol=1e-11)
    agree(lambda m, a, b: m.linalg.tensorsolve(a.reshape(2, 2, 4), b), numbers(4, 4), numbers(2, 2, seed=1), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("shape", [(3, 3), (2, 2, 2), (4, 2), (2, 3), (0, 2, 2), (0, 0)], ids=str)
def test_pinv(numbers: Callable[..., Any], shape: tuple[int, ...]) -> None:
    agree(lambda m, a: m.linalg.pinv(a), numbers(*shape), rtol=1e-9, atol=1e-11)


def test_pinv_of_deficient_rank(numbers: Callable[..., Any]) -> None:
    """Along changes that keep the rank, the derivative exists."""
    agree(lambda m, a, b: m.linalg.pinv(a @ b), numbers(4, 2), numbers(2, 3, seed=1), rtol=1e-9, atol=1e-10, loose=1e-8)
    agree(lambda m, a: m.linalg.pinv(a @ a.mH, hermitian=True), numbers(3, 2), rtol=1e-9, atol=1e-10, loose=1e-8)
    tall = numbers(3, 2)
    for tolerance in ({"atol": 10.0}, {"rtol": 0.9}, {"atol": torch.tensor(1.0), "rtol": 0.0}):
        ours = {k: torsh.tensor(v.numpy()) if isinstance(v, torch.Tensor) else v for k, v in tolerance.items()}
        same(torsh.linalg.pinv(torsh.tensor(tall), **ours), torch.linalg.pinv(torch.from_numpy(tall), **tolerance), 1e-9, 1e-12)


def test_determinants(numbers: Callable[..., Any]) -> None:
    agree(lambda m, a: m.linalg.det(a), numbers(2, 3, 3), rtol=1e-9)
    agree(lambda m, a: m.linalg.slogdet(a)[1], numbers(2, 3, 3), rtol=1e-9)
    agree(lambda m, a: m.logdet(a @ a.mH), numbers(3, 3), rtol=1e-9, atol=1e-12)
    if numbers is complexes:
        agree(lambda m, a: tuple(m.slogdet(a)), numbers(3, 3), rtol=1e-9)
    same(torsh.slogdet(torsh.tensor(numbers(2, 3, 3))), torch.slogdet(torch.from_numpy(numbers(2, 3, 3))), 1e-9)
    assert torsh.det(torsh.zeros(2, 0, 0)).tolist() == [1, 1]


@pytest.mark.parametrize("rank", [3, 2, 1])
def test_derivative_of_the_determinant_of_a_singular_matrix(numbers: Callable[..., Any], rank: int) -> None:
    """It is made of the cofactors, which exist for every matrix: a determinant is a polynomial."""
    a = torsh.tensor(numbers(4, rank) @ numbers(rank, 4, seed=1), requires_grad=True)
    assert torsh.autograd.gradcheck(torsh.linalg.det, a)


def test_logdet_of_a_negative_determinant() -> None:
    assert torsh.logdet(torsh.tensor([[0.0, 1.0], [1.0, 0.0]])).isnan().item()
    assert torsh.logdet(torsh.zeros(2, 2)).item() == -float("inf")


@pytest.mark.parametrize("driver", ["gels", "gelsy", "gelsd", "gelss", None])
@pytest.mark.parametrize("shape", [(4, 2), (2, 4), (3, 3), (2, 4, 3)], ids=str)
def test_lstsq(numbers: Callable[..., Any], driver: str | None, shape: tuple[int, ...]) -> None:
    a, b = numbers(*shape), numbers(*shape[:-1], 2, seed=1)
    ours, theirs = (m.linalg.lstsq(m.tensor(a), m.tensor(b), driver=driver) for m in (torsh, torch))
    for x, y in zip(ours, theirs, strict=True):
        same(x, y, 1e-8, 1e-10)


def test_derivatives_of_lstsq(numbers: Callable[..., Any]) -> None:
    for shape in ((4, 2), (2, 4), (3, 3)):
        agree(lambda m, a, b: m.linalg.lstsq(a, b).solution, numbers(*shape), numbers(shape[0], 2, seed=1), rtol=1e-8, atol=1e-10, loose=1e-7)
    agree(lambda m, a, b: tuple(m.linalg.lstsq(a, b, driver="gels")[:2]), numbers(4, 2), numbers(4, 2, seed=1), rtol=1e-8, atol=1e-10, loose=1e-7)


def test_singular_matrices_raise() -> None:
    singular = torsh.ones(2, 2)
    with pytest.raises(torsh.linalg.LinAlgError, match="diagonal element 2 is zero"):
        torsh.linalg.inv(singular)
    with pytest.raises(torsh.linalg.LinAlgError, match=r"\(Batch element 1\)"):
        torsh.inverse(torsh.stack([torsh.eye(2), singular]))
    with pytest.raises(torsh.linalg.LinAlgError, match="input matrix is singular"):
        torsh.linalg.solve(singular, torsh.ones(2))
    with pytest.raises(torsh.linalg.LinAlgError, match="diagonal element"):
        torsh.linalg.matrix_power(singular, -1)
    assert torsh.linalg.inv_ex(singular).info.item() == 2
    assert torsh.linalg.solve_ex(singular, torsh.ones(2)).info.item() == 2
    with pytest.raises(torsh.linalg.LinAlgError):
        torsh.linalg.inv_ex(singular, check_errors=True)


def test_wrong_operands_raise() -> None:
    for f in (torsh.linalg.inv, torsh.linalg.det, torsh.linalg.slogdet, torsh.logdet, lambda a: torsh.linalg.solve(a, torsh.ones(2))):
        with pytest.raises(RuntimeError, match="square matrices, but they are 2 by 3"):
            f(torsh.ones(2, 3))
        with pytest.raises(RuntimeError, match="at least 2 dimensions"):
            f(torsh.ones(3))
    with pytest.raises(RuntimeError, match=r"Incompatible shapes of A and B for the equation AX = B \(2x2 and 3x1\)"):
        torsh.linalg.solve(torsh.eye(2), torsh.ones(3, 1))
    with pytest.raises(RuntimeError, match="left=False"):
        torsh.linalg.solve(torsh.eye(2), torsh.ones(2), left=False)
    with pytest.raises(RuntimeError, match="driver"):
        torsh.linalg.lstsq(torsh.eye(2), torsh.ones(2, 1), driver="svd")
    with pytest.raises(RuntimeError, match="prod"):
        torsh.linalg.tensorinv(torsh.ones(2, 3, 4))


def test_out_and_precision() -> None:
    a = np.asarray(reals(3, 3), np.float32)
    out = torsh.empty(0)
    torsh.linalg.inv(torsh.tensor(a), out=out)
    assert out.dtype is torsh.float32
    np.testing.assert_allclose(out.numpy() @ a, np.eye(3), atol=1e-5)

"""Norms, condition numbers and ranks against PyTorch, with derivatives also where they are delicate."""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import torsh
from tests.ops.complex_oracle import agree, complexes, reals
from tests.ops.oracle import outcome, same

pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated")  # of PyTorch's older names
KINDS = {"real": reals, "complex": complexes}


@pytest.fixture(params=KINDS)
def numbers(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return KINDS[request.param]


@pytest.mark.parametrize("order", [-math.inf, -1, 0.5, 1, 2, 3.5, math.inf])
def test_vector_norm(numbers: Callable[..., Any], order: float) -> None:
    agree(lambda m, x: m.linalg.vector_norm(x, order), numbers(2, 3), rtol=1e-9)
    agree(lambda m, x: m.linalg.vector_norm(x, order, dim=(0, 2), keepdim=True), numbers(2, 3, 2), rtol=1e-9)
    zero = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    ours = torsh.zeros(3, dtype=torsh.float64, requires_grad=True)
    torch.linalg.vector_norm(zero, order).backward()
    torsh.linalg.vector_norm(ours, order).backward()
    same(ours.grad, zero.grad)


@pytest.mark.parametrize("order", ["fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf])
def test_matrix_norm(numbers: Callable[..., Any], order: Any) -> None:
    agree(lambda m, x: m.linalg.matrix_norm(x, order), numbers(2, 3, 2), rtol=1e-9)
    agree(lambda m, x: m.linalg.matrix_norm(x, order, dim=(2, 0), keepdim=True), numbers(2, 3, 2), rtol=1e-9)
    agree(lambda m, x: m.linalg.norm(x, order), numbers(2, 3), rtol=1e-9)
    for shape in ((0, 0), (0, 3), (3, 0), (2, 0, 3)):
        mine, hers = (outcome(lambda m=m, s=shape: m.linalg.matrix_norm(m.zeros(s), order)) for m in (torsh, torch))
        if isinstance(hers, type):
            assert mine is hers
        else:
            same(mine, hers)


def test_norm_chooses_by_dimensions(numbers: Callable[..., Any]) -> None:
    for arguments in ({}, {"dim": 1}, {"dim": (0, 1)}, {"ord": 1, "dim": 0}, {"ord": 1, "dim": (1, 2)}, {"dtype": "complex128"}):
        agree(lambda m, x, a=arguments: m.linalg.norm(x, **{k: getattr(m, v) if k == "dtype" else v for k, v in a.items()}),
              numbers(2, 3, 2) if arguments.get("dtype") is None or numbers is complexes else complexes(2, 3, 2), rtol=1e-9)
    agree(lambda m, x: m.norm(x, "nuc"), numbers(3, 2), rtol=1e-9)
    agree(lambda m, x: m.nuclear_norm(x), numbers(3, 2), rtol=1e-9)


@pytest.mark.parametrize("order", [None, "fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf])
def test_cond(numbers: Callable[..., Any], order: Any) -> None:
    def cond(m: Any, x: Any) -> Any:
        # PyTorch cannot differentiate its own in these norms, but this is what they are.
        if m is torsh or order in (None, "nuc", 2, -2):
            return m.linalg.cond(x, order)
        return m.linalg.matrix_norm(x, order) * m.linalg.matrix_norm(m.linalg.inv(x), order)
    agree(cond, numbers(2, 3, 3), rtol=1e-8, loose=1e-7)
    assert torsh.linalg.cond(torsh.ones(2, 2), 1).item() == math.inf


def test_matrix_rank() -> None:
    x = reals(4, 2) @ reals(2, 4, seed=1)
    for options in ({}, {"atol": 100.0}, {"rtol": 0.9}, {"hermitian": True}, {"tol": 0.1}):
        a = x + x.T if "hermitian" in options else x
        same(torsh.linalg.matrix_rank(torsh.tensor(a), **options), torch.linalg.matrix_rank(torch.from_numpy(a), **options))
    batch = np.stack([np.eye(3), np.ones((3, 3)), np.zeros((3, 3))])
    assert torsh.linalg.matrix_rank(torsh.tensor(batch)).tolist() == [3, 1, 0]


def test_errors() -> None:
    x = torsh.ones(2, 2)
    with pytest.raises(RuntimeError, match="Order 3 not supported"):
        torsh.linalg.matrix_norm(x, 3)
    with pytest.raises(RuntimeError, match="Order abs not supported"):
        torsh.linalg.matrix_norm(x, "abs")
    with pytest.raises(RuntimeError, match="2-tuple"):
        torsh.linalg.matrix_norm(x, dim=(0,))
    with pytest.raises(RuntimeError, match="must be different"):
        torsh.linalg.matrix_norm(x, dim=(0, 0))
    with pytest.raises(RuntimeError, match="floating point or complex"):
        torsh.linalg.vector_norm(torsh.ones(2, dtype=torsh.int64))
    with pytest.raises(RuntimeError, match="identity"):
        torsh.linalg.vector_norm(torsh.ones(0), math.inf)
    with pytest.raises(RuntimeError, match="invalid norm type"):
        torsh.linalg.cond(x, 3)
    with pytest.raises(RuntimeError, match="without narrowing"):
        torsh.linalg.vector_norm(torsh.ones(2, dtype=torsh.float64), dtype=torsh.float32)

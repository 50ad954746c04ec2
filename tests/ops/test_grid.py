"""grid_sample and affine_grid against PyTorch."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import torsh
from tests.ops.oracle import agree, outcome


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_grid_sample(mode: str, padding: str, align: bool, rng: np.random.Generator) -> None:
    x, grid = torch.tensor(rng.normal(size=(2, 3, 4, 5))), torch.tensor(rng.normal(size=(2, 3, 4, 2)) * 1.3)
    agree(lambda t, x, g: t.nn.functional.grid_sample(x, g, mode, padding, align), x, grid, rtol=1e-9, atol=1e-10, twice=False)
    if mode != "bicubic":
        x, grid = torch.tensor(rng.normal(size=(2, 2, 4, 3, 5))), torch.tensor(rng.normal(size=(2, 2, 3, 4, 3)))
        agree(lambda t, x, g: t.nn.functional.grid_sample(x, g, mode, padding, align), x, grid, rtol=1e-9, atol=1e-10, twice=False)


def test_the_second_derivative_is_that_of_finite_differences(rng: np.random.Generator) -> None:
    x = torsh.tensor(rng.normal(size=(1, 2, 4, 4)), requires_grad=True)
    grid = torsh.tensor(rng.uniform(-0.9, 0.9, size=(1, 2, 3, 2)), requires_grad=True)
    assert torsh.autograd.gradgradcheck(lambda x, g: torsh.nn.functional.grid_sample(x, g, align_corners=False), (x, grid))


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("size", [(2, 3, 4, 5), (2, 1, 3, 4, 2)])
def test_affine_grid(size: tuple[int, ...], align: bool, rng: np.random.Generator) -> None:
    k = len(size) - 2
    theta = torch.tensor(rng.normal(size=(2, k, k + 1)))
    agree(lambda t, theta: t.nn.functional.affine_grid(theta, size, align), theta, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("call", [
    lambda t: t.nn.functional.grid_sample(t.zeros(1, 1, 2, 2), t.zeros(1, 2, 2, 2), "cubic", align_corners=False),
    lambda t: t.nn.functional.grid_sample(t.zeros(1, 1, 2, 2), t.zeros(1, 2, 2, 2), padding_mode="wrap", align_corners=False),
    lambda t: t.nn.functional.grid_sample(t.zeros(1, 1, 2, 2), t.zeros(2, 2, 2, 2), align_corners=False),
    lambda t: t.nn.functional.grid_sample(t.zeros(1, 1, 2, 2), t.zeros(1, 2, 2, 3), align_corners=False),
    lambda t: t.nn.functional.grid_sample(t.zeros(1, 1, 2, 2), t.zeros(1, 2, 2, 2, dtype=t.float64), align_corners=False),
    lambda t: t.nn.functional.grid_sample(t.zeros(1, 1, 2, 2, 2), t.zeros(1, 2, 2, 2, 3), "bicubic", align_corners=False),
    lambda t: t.nn.functional.affine_grid(t.zeros(1, 2, 2), (1, 1, 2, 2), False),
    lambda t: t.nn.functional.affine_grid(t.zeros(1, 2, 3, dtype=t.int64), (1, 1, 2, 2), False),
])
def test_errors_are_of_pytorchs_type(call: Any) -> None:
    found = outcome(lambda: call(torsh))
    assert found is outcome(lambda: call(torch))
    assert isinstance(found, type)

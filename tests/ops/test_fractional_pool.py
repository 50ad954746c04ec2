"""Fractional maximum pooling against PyTorch: places, values, indices and gradients."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import torsh
from tests.ops.oracle import agree, outcome, to_torsh


@pytest.mark.parametrize(("size", "kernel", "out"), [
    ((9, 11), 2, (4, 5)), ((9, 11), (3, 2), (1, 6)), ((9, 11), (2, 2), (8, 10)), ((9, 7, 8), 2, (4, 5, 3)), ((9, 7, 8), (3, 2, 2), (1, 5, 4)),
])
def test_values_indices_and_gradients(size: tuple[int, ...], kernel: Any, out: tuple[int, ...], rng: np.random.Generator) -> None:
    n = len(size)
    x, samples = torch.tensor(rng.normal(size=(2, 3, *size))), torch.tensor(rng.uniform(size=(2, 3, n)))

    def pool(t: Any, x: Any) -> Any:
        given = samples if t is torch else to_torsh(samples)
        return getattr(t.nn.functional, f"fractional_max_pool{n}d")(x, kernel, out, return_indices=True, _random_samples=given)
    agree(pool, x)


def test_the_places_are_drawn_as_in_pytorch() -> None:
    found = []
    for t in (torsh, torch):
        t.manual_seed(1)
        found.append(t.nn.functional.fractional_max_pool2d(t.arange(200.0).reshape(2, 10, 10), 2, output_ratio=(0.5, 0.7)).numpy())
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("given", [{}, {"output_size": (9, 9)}, {"output_size": (2, 2), "_random_samples": True}])
def test_errors_are_of_pytorchs_type(given: dict[str, Any]) -> None:
    def call(t: Any) -> Any:
        options = {**given, "_random_samples": t.zeros(1, 2)} if "_random_samples" in given else given
        return t.nn.functional.fractional_max_pool2d(t.zeros(1, 1, 8, 8), 2, **options)
    found = outcome(lambda: call(torsh))
    assert found is outcome(lambda: call(torch))
    assert isinstance(found, type)

"""Masked reductions and normalizations against PyTorch's, values and gradients; the operator database's samples are judged in tests/conformance."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.masked

import torsh
from tests.ops.oracle import agree, same, to_torsh

LOOSE = {"rtol": 1e-9, "atol": 1e-11}
_MASKS = {"none": None, "full": [[True, False, True, True], [False, True, True, False], [True, True, True, True]], "row": [True, False, True, True]}

_CALLS: dict[str, Any] = {
    "sum": lambda m, x, k: m.masked.sum(x, 1, mask=k), "sum_all": lambda m, x, k: m.masked.sum(x, mask=k, keepdim=True),
    "prod": lambda m, x, k: m.masked.prod(x, (0, 1), mask=k), "cumsum": lambda m, x, k: m.masked.cumsum(x, 1, mask=k),
    "cumprod": lambda m, x, k: m.masked.cumprod(x, 0, mask=k), "amax": lambda m, x, k: m.masked.amax(x, 1, mask=k),
    "amin": lambda m, x, k: m.masked.amin(x, (-1, 0), mask=k), "argmax": lambda m, x, k: m.masked.argmax(x, 1, mask=k),
    "argmin": lambda m, x, k: m.masked.argmin(x, 0, mask=k, dtype=m.int64), "mean": lambda m, x, k: m.masked.mean(x, 1, mask=k),
    "median": lambda m, x, k: m.masked.median(x, 1, mask=k), "norm": lambda m, x, k: m.masked.norm(x, 3.0, 1, mask=k),
    "norm_inf": lambda m, x, k: m.masked.norm(x, float("-inf"), 1, mask=k), "var": lambda m, x, k: m.masked.var(x, 1, mask=k),
    "std": lambda m, x, k: m.masked.std(x, 1, unbiased=False, mask=k), "softmax": lambda m, x, k: m.masked.softmax(x, 1, mask=k),
    "log_softmax": lambda m, x, k: m.masked.log_softmax(x, 1, mask=k), "softmin": lambda m, x, k: m.masked.softmin(x, 1, mask=k),
    "normalize": lambda m, x, k: m.masked.normalize(x, 2.0, 1, mask=k), "logsumexp": lambda m, x, k: m.masked.logsumexp(x, 1, mask=k),
    "logaddexp": lambda m, x, k: m.masked.logaddexp(x, x * 2, input_mask=k, other_mask=None)}


@pytest.mark.parametrize("mask", _MASKS)
@pytest.mark.parametrize("name", _CALLS)
def test_values_and_gradients(name: str, mask: str, rng: np.random.Generator) -> None:
    x = torch.tensor(rng.standard_normal((3, 4)))
    given = _MASKS[mask]
    agree(lambda m, x: _CALLS[name](m, x, None if given is None else m.tensor(given)), x, twice=False, **LOOSE)


@pytest.mark.parametrize("name", ["sum", "prod", "amax", "amin", "argmax"])
def test_integers(name: str) -> None:
    x = torch.tensor([[3, -1, 4], [1, -5, 9]], dtype=torch.int32)
    mask = torch.tensor([[True, True, False], [False, True, False]])
    same(getattr(torsh.masked, name)(to_torsh(x), 1, mask=to_torsh(mask)), getattr(torch.masked, name)(x, 1, mask=mask))


def test_nothing_left() -> None:
    x, none = torsh.tensor([1.0, 2.0]), torsh.tensor([False, False])
    assert torsh.masked.sum(x, mask=none).item() == 0.0
    assert torsh.masked.amax(x, mask=none).item() == -float("inf")
    assert torsh.masked.mean(x, mask=none).isnan().item()


def test_errors() -> None:
    x = torsh.ones(2, 3)
    for call, kind in ((lambda: torsh.masked.mean(torsh.ones(2, dtype=torsh.int64)), ValueError), (lambda: torsh.masked.sum(x, (0, 0)), RuntimeError),
                       (lambda: torsh.masked.sum(x, 2), IndexError), (lambda: torsh.masked.sum(x, mask=torsh.ones(1, 2, 3)), IndexError),
                       (lambda: torsh.masked.sum(1.0), TypeError),
                       (lambda: torsh.masked.median(torsh.ones(2, dtype=torsh.int64), 0, mask=torsh.tensor([False, False])), ValueError)):
        with pytest.raises(kind):
            call()

"""functional.pad against PyTorch: every mode, derivatives, errors."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as tf

import torsh
from tests.ops.oracle import agree, outcome
from torsh.nn import functional as f


def _pad(m: Any) -> Any:
    return f.pad if m is torsh else tf.pad


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("margins", [(1, 2), (2, 0, 1, 3), (0, 1, 2, 1), (1, 1, 0, 2, 1, 0)], ids=str)
def test_modes(mode: str, margins: tuple[int, ...]) -> None:
    shape = (2, 3, 5, 4, 5)[:2 + len(margins) // 2]
    x = torch.arange(float(torch.tensor(shape).prod()), dtype=torch.float64).reshape(shape)
    agree(lambda m, x: _pad(m)(x, margins, mode) ** 2, x, rtol=1e-12)


def test_constant_value_and_cutting() -> None:
    x = torch.arange(24.0, dtype=torch.float64).reshape(2, 3, 4)
    agree(lambda m, x: _pad(m)(x, (1, -2, -1, 1), value=2.5) ** 2, x, rtol=1e-12)
    agree(lambda m, x: _pad(m)(x, (0, 1)), torch.ones(2, 3, dtype=torch.int64), grad=False)


@pytest.mark.parametrize("call", [
    lambda m, p: p(m.zeros(1, 2, 3), (1,)), lambda m, p: p(m.zeros(3), (1, 1, 1, 1)), lambda m, p: p(m.zeros(1, 2, 3), (3, 0), "reflect"),
    lambda m, p: p(m.zeros(1, 2, 3), (4, 0), "circular"), lambda m, p: p(m.zeros(1, 2, 3), (1, 1), "mirror"), lambda m, p: p(m.zeros(3), (1, 1), "reflect"),
    lambda m, p: p(m.zeros(1, 2, 3), (-4, 0)), lambda m, p: p(m.zeros(1, 2, 3), (1, 1), "reflect", 2.0),
])
def test_errors(call: Any) -> None:
    ours = outcome(lambda: call(torsh, f.pad))
    assert isinstance(ours, type)
    assert ours == outcome(lambda: call(torch, tf.pad))


def test_circular_after_cutting() -> None:
    x = torch.from_numpy(np.random.default_rng(3).standard_normal((1, 2, 4, 5)))
    agree(lambda t, x: t.nn.functional.pad(x, (-1, 1, -2, 1), "circular"), x)

"""Initial values against PyTorch: one seed, the same draws."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import torsh

UNIFORM = {
    "uniform": lambda i, w: i.uniform_(w, -2, 3), "xavier_uniform": lambda i, w: i.xavier_uniform_(w, gain=2.0),
    "kaiming_uniform": lambda i, w: i.kaiming_uniform_(w, mode="fan_out", nonlinearity="relu"), "constant": lambda i, w: i.constant_(w, 3),
    "dirac": lambda i, w: i.dirac_(w, 2),
}
NORMAL = {
    "normal": lambda i, w: i.normal_(w, 1, 2), "xavier_normal": lambda i, w: i.xavier_normal_(w),
    "kaiming_normal": lambda i, w: i.kaiming_normal_(w, a=0.1), "orthogonal": lambda i, w: i.orthogonal_(w, gain=1.5),
}


def pair(f: Any) -> tuple[np.ndarray, np.ndarray]:
    found = []
    for t in (torsh, torch):
        t.manual_seed(9)
        w = t.nn.Parameter(t.empty(4, 3, 5))
        assert f(t.nn.init, w) is w
        found.append(w.detach().numpy())
    return found[0], found[1]


@pytest.mark.parametrize("name", UNIFORM)
def test_uniform_values_are_pytorchs_bit_for_bit(name: str) -> None:
    np.testing.assert_array_equal(*pair(UNIFORM[name]))


@pytest.mark.parametrize("name", NORMAL)
def test_normal_values_are_pytorchs_to_rounding(name: str) -> None:
    np.testing.assert_allclose(*pair(NORMAL[name]), rtol=1e-5, atol=2e-6)


def test_gains_and_errors() -> None:
    for name in ("linear", "tanh", "relu", "leaky_relu", "selu", "conv2d"):
        assert torsh.nn.init.calculate_gain(name) == torch.nn.init.calculate_gain(name)
    for t in (torsh, torch):
        with pytest.raises(ValueError, match="fewer than 2 dimensions"):
            t.nn.init.kaiming_uniform_(t.empty(3))

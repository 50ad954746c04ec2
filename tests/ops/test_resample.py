"""Interpolation and pixel shuffles against PyTorch."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as tf

import torsh
from tests.ops.oracle import agree, outcome
from torsh.nn import functional as f

X = {n: torch.from_numpy(np.random.default_rng(n).standard_normal((2, 3, *(5, 4, 6)[:n]))) for n in (1, 2, 3)}
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


def _of(m: Any, name: str) -> Any:
    return getattr(f if m is torsh else tf, name)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("how", [{"size": 7}, {"size": 3}, {"scale_factor": 2}, {"scale_factor": 1.6}, {"scale_factor": 0.6, "recompute_scale_factor": True}],
                         ids=str)
def test_interpolate(n: int, how: dict[str, Any]) -> None:
    for mode in ("nearest", "nearest-exact", "area"):
        agree(lambda m, x, mode=mode: _of(m, "interpolate")(x, mode=mode, **how) ** 2, X[n], rtol=1e-9, atol=1e-12)
    for align in (False, True):
        agree(lambda m, x, align=align: _of(m, "interpolate")(x, mode=LINEAR[n], align_corners=align, **how) ** 2, X[n], rtol=1e-9, atol=1e-12)


def test_sizes_by_dimension() -> None:
    agree(lambda m, x: _of(m, "interpolate")(x, (7, 2), mode="bilinear"), X[2], rtol=1e-9, atol=1e-12)


def test_shuffles() -> None:
    x = torch.arange(2 * 8 * 2 * 3.0, dtype=torch.float64).reshape(2, 8, 2, 3)
    agree(lambda m, x: _of(m, "pixel_shuffle")(x, 2), x)
    agree(lambda m, x: _of(m, "channel_shuffle")(x, 4), x, twice=False)
    agree(lambda m, x: _of(m, "pixel_unshuffle")(x, 2), x.reshape(2, 2, 4, 6))


@pytest.mark.parametrize("call", [
    lambda m, k: k.interpolate(m.zeros(1, 1, 4)), lambda m, k: k.interpolate(m.zeros(1, 1, 4), 3, 2), lambda m, k: k.interpolate(m.zeros(1, 1, 4), (3, 3)),
    lambda m, k: k.interpolate(m.zeros(1, 1, 4), 3, mode="bilinear"), lambda m, k: k.interpolate(m.zeros(1, 1, 4), 3, align_corners=True),
    lambda m, k: k.pixel_shuffle(m.zeros(1, 3, 2, 2), 2), lambda m, k: k.pixel_unshuffle(m.zeros(1, 3, 3, 2), 2),
])
def test_errors(call: Any) -> None:
    ours = outcome(lambda: call(torsh, f))
    assert isinstance(ours, type)
    assert ours == outcome(lambda: call(torch, tf))


@pytest.mark.parametrize("given", [{"size": (5, 9)}, {"size": (13, 2)}, {"scale_factor": (0.6, 1.7)}, {"size": (1, 1)},
                                   {"scale_factor": (0.6, 1.7), "recompute_scale_factor": True}], ids=str)
@pytest.mark.parametrize(("mode", "antialias", "align"), [("bicubic", False, True), ("bicubic", False, False), ("bicubic", True, False),
                                                          ("bicubic", True, True), ("bilinear", True, False), ("bilinear", True, True),
                                                          ("lanczos", True, False)])
def test_cubic_and_antialiased(mode: str, antialias: bool, align: bool, given: dict[str, Any], rng: np.random.Generator) -> None:
    x = torch.tensor(rng.normal(size=(2, 3, 8, 7)))
    agree(lambda t, x: t.nn.functional.interpolate(x, mode=mode, antialias=antialias, align_corners=align, **given), x, rtol=1e-6, atol=1e-7)

"""nll_loss and cross_entropy against PyTorch: every reduction, weights, ignored targets, smoothing, more dimensions, errors."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as tf

import torsh
from tests.ops.oracle import agree, outcome, to_torsh
from torsh.nn import functional as f

RNG = np.random.default_rng(1)
LOGITS = {"rows": torch.from_numpy(RNG.standard_normal((4, 5))), "planes": torch.from_numpy(RNG.standard_normal((2, 5, 3, 2))),
          "one": torch.from_numpy(RNG.standard_normal(5))}
TARGETS = {"rows": torch.tensor([1, 0, -100, 4]), "planes": torch.from_numpy(RNG.integers(0, 5, (2, 3, 2))), "one": torch.tensor(3)}
WEIGHT = torch.from_numpy(RNG.random(5))


def _of(m: Any, name: str) -> Any:
    return getattr(f if m is torsh else tf, name)


def _in(m: Any, t: torch.Tensor) -> Any:
    return to_torsh(t) if m is torsh else t


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", LOGITS)
@pytest.mark.parametrize("smoothing", [0.0, 0.2, None])
def test_class_targets(reduction: str, weighted: bool, shape: str, smoothing: float | None) -> None:
    def loss(m: Any, x: Any) -> Any:
        how = {"reduction": reduction, "weight": _in(m, WEIGHT) if weighted else None}
        if smoothing is None:
            return _of(m, "nll_loss")(x, _in(m, TARGETS[shape]), **how)
        return _of(m, "cross_entropy")(x, _in(m, TARGETS[shape]), label_smoothing=smoothing, **how)
    agree(loss, LOGITS[shape], rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
def test_probability_targets(reduction: str, weighted: bool) -> None:
    p = torch.softmax(LOGITS["planes"] * 2, 1)
    agree(lambda m, x, q: _of(m, "cross_entropy")(x, q, reduction=reduction, weight=_in(m, WEIGHT) if weighted else None, label_smoothing=0.1),
          LOGITS["planes"], p, rtol=1e-9, atol=1e-13)


def test_ignored_class_and_nothing_left() -> None:
    x = LOGITS["rows"]
    agree(lambda m, x: _of(m, "cross_entropy")(x, _in(m, torch.tensor([1, 2, 1, 1])), ignore_index=1), x, rtol=1e-9)
    everything = f.cross_entropy(to_torsh(x), torsh.full((4,), -100))
    assert bool(torsh.isnan(everything))


def test_half_types_lose_nothing_inside() -> None:
    x = LOGITS["rows"].half()
    ours = f.cross_entropy(to_torsh(x), to_torsh(TARGETS["rows"]))
    assert ours.dtype is torsh.float16
    assert abs(float(ours) - float(tf.cross_entropy(x.double(), TARGETS["rows"]))) < 1e-3


@pytest.mark.parametrize("call", [
    lambda m, k: k.cross_entropy(m.zeros(2, 3), m.tensor([0, 3])), lambda m, k: k.cross_entropy(m.zeros(2, 3), m.tensor([0, -1])),
    lambda m, k: k.cross_entropy(m.zeros(2, 3), m.tensor([0])), lambda m, k: k.cross_entropy(m.zeros(2, 3, 4), m.zeros(2, 3, dtype=m.int64)),
    lambda m, k: k.cross_entropy(m.zeros(2, 3), m.tensor([0, 1]), weight=m.ones(2)), lambda m, k: k.nll_loss(m.zeros(2, 3), m.tensor([0.0, 1.0])),
    lambda m, k: k.cross_entropy(m.zeros(2, 3), m.tensor([0, 1]), label_smoothing=2.0),
    lambda m, k: k.cross_entropy(m.zeros(2, 3), m.tensor([0, 1]), reduction="most"),
])
def test_errors(call: Any) -> None:
    ours = outcome(lambda: call(torsh, f))
    assert isinstance(ours, type)
    assert ours == outcome(lambda: call(torch, tf))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_gradient_is_zero_where_all_targets_are_ignored(smoothing: float) -> None:
    found = []
    for t in (torsh, torch):
        x = t.ones(2, 3, requires_grad=True)
        loss = t.nn.functional.cross_entropy(x, t.tensor([1, 1]), ignore_index=1, label_smoothing=smoothing)
        loss.backward()
        found.append((np.isnan(loss.item()), x.grad.tolist()))
    assert found[0] == found[1] == (True, [[0.0] * 3] * 2)

"""One script under PyTorch and under ToRSh: the same initial weights, bit for bit, and the same losses for 200 steps."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import torsh


def mlp(nn: Any) -> Any:
    return nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 5))


def convnet(nn: Any) -> Any:
    return nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 5))


def train(m: Any, make: Callable[[Any], Any], shape: tuple[int, ...], optimizer: str, steps: int) -> tuple[list[np.ndarray], list[float]]:
    m.manual_seed(0)
    model = make(m.nn)
    initial = [p.detach().numpy().copy() for p in model.parameters()]
    step = m.optim.Adam(model.parameters(), 1e-3) if optimizer == "adam" else m.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    rng = np.random.default_rng(0)
    data = rng.standard_normal((320, *shape)).astype(np.float32)
    labels = rng.integers(0, 5, 320)  # random, and so many that they are not learnt by heart: a loss near 0 is all rounding
    losses = []
    for i in range(steps):
        rows = slice(i % 20 * 16, i % 20 * 16 + 16)
        loss = m.nn.functional.cross_entropy(model(m.tensor(data[rows])), m.tensor(labels[rows]))
        step.zero_grad()
        loss.backward()
        step.step()
        losses.append(loss.item())
    return initial, losses


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize(("make", "shape"), [(mlp, (20,)), (convnet, (1, 8, 8))], ids=["mlp", "convnet"])
def test_same_script_same_losses(make: Callable[[Any], Any], shape: tuple[int, ...], optimizer: str) -> None:
    ours, theirs = (train(m, make, shape, optimizer, 200) for m in (torsh, torch))
    for a, b in zip(ours[0], theirs[0], strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.mean(theirs[1][-20:]) < np.mean(theirs[1][:20])
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-4)

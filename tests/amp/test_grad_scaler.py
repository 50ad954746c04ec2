"""GradScaler against PyTorch's on the CPU."""
from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import torsh


def run(m: Any, steps: list[float], **options: Any) -> Any:
    """Training steps of which some have a gradient that is not finite: scales, trackers and parameters after each."""
    scaler = m.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2, **options)
    p = m.nn.Parameter(m.ones(3))
    optimizer = m.optim.SGD([p], lr=0.1)
    seen = []
    for factor in steps:
        optimizer.zero_grad()
        scaler.scale((p * p).sum() * factor).backward()
        scaler.unscale_(optimizer)
        grad = p.grad.tolist()
        scaler.step(optimizer)
        scaler.update()
        seen.append((scaler.get_scale(), scaler.state_dict(), p.tolist(), grad))
    return seen


@pytest.mark.parametrize("options", [{}, {"growth_factor": 3.0, "backoff_factor": 0.25}, {"enabled": False}])
def test_steps(options: dict[str, Any]) -> None:
    steps = [1.0, 1.0, float("inf"), 0.5, float("nan"), 1.0, 1.0, 1.0]
    for ours, theirs in zip(run(torsh, steps, **options), run(torch, steps, **options), strict=True):
        assert ours[:2] == theirs[:2]
        np.testing.assert_allclose(ours[2], theirs[2], rtol=1e-6)
        np.testing.assert_allclose(ours[3], theirs[3], rtol=1e-6)


def ready(m: Any) -> Any:
    scaler, p = m.amp.GradScaler("cpu"), m.nn.Parameter(m.ones(2))
    optimizer = m.optim.SGD([p], lr=0.1)
    scaler.scale(p.sum()).backward()
    return scaler, optimizer, p


def twice(m: Any, first: str, second: str) -> Any:
    scaler, optimizer, _ = ready(m)
    getattr(scaler, first)(optimizer)
    getattr(scaler, second)(optimizer)


def half(m: Any) -> Any:
    scaler, p = m.amp.GradScaler("cpu"), m.nn.Parameter(m.ones(2, dtype=m.float16))
    scaler.scale(p.sum()).backward()
    scaler.unscale_(m.optim.SGD([p], lr=0.1))


def pickled(m: Any) -> Any:
    scaler, optimizer, _ = ready(m)
    scaler.unscale_(optimizer)
    pickle.dumps(scaler)


@pytest.mark.parametrize("f", [
    lambda m: twice(m, "unscale_", "unscale_"), lambda m: twice(m, "step", "unscale_"), lambda m: twice(m, "step", "step"), half, pickled,
    lambda m: m.amp.GradScaler("cpu", growth_factor=0.5), lambda m: m.amp.GradScaler("cpu", backoff_factor=2), lambda m: m.amp.GradScaler("cpu").update(),
    lambda m: m.amp.GradScaler("cpu").scale(3), lambda m: m.amp.GradScaler("cpu").load_state_dict({}), lambda m: m.amp.GradScaler().is_enabled(),
    lambda m: m.amp.GradScaler("cpu").get_scale(), lambda m: m.amp.GradScaler("cpu", enabled=False).get_scale(), lambda m: m.amp.GradScaler("cpu").state_dict(),
    lambda m: ready(m)[0].step(m.optim.SGD([m.nn.Parameter(m.ones(1))], lr=0.1)), lambda m: ready(m)[0].update(), lambda m: ready(m)[0].step(None, closure=3),
    lambda m: m.amp.GradScaler("cpu", growth_interval=7).get_growth_interval(), lambda m: m.GradScaler is m.amp.GradScaler,
])
def test_answers(f: Callable[[Any], Any]) -> None:
    def found(m: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return f(m)
            except Exception as error:
                return type(error)
    assert found(torsh) == found(torch)


def test_nested_outputs_and_a_factor_of_one_s_own() -> None:
    for m in (torsh, torch):
        scaler, optimizer, _ = ready(m)
        scaled = scaler.scale([m.ones(1), (m.ones(2), m.ones(1))])
        assert scaled[1][0].tolist() == [65536.0] * 2
        assert isinstance(scaled[1], tuple)
        scaler.step(optimizer)
        scaler.update(4.0)
        assert scaler.get_scale() == 4.0
        scaler.set_growth_factor(5.0)
        scaler.set_backoff_factor(0.1)
        scaler.set_growth_interval(3)
        assert (scaler.get_growth_factor(), scaler.get_backoff_factor(), scaler.get_growth_interval()) == (5.0, 0.1, 3)
        again = m.amp.GradScaler("cpu")
        again.load_state_dict(scaler.state_dict())
        assert again.state_dict() == scaler.state_dict() == copy.deepcopy(scaler).state_dict() == pickle.loads(pickle.dumps(scaler)).state_dict()

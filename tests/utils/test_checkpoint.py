"""Checkpointed parts give the same gradients, are run again in backward, and keep nothing before."""
from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

import torsh
from torsh.runtime.cpu.generator import default_generator
from torsh.utils.checkpoint import CheckpointError, checkpoint, checkpoint_sequential


def leaf(*values: float) -> torsh.Tensor:
    return torsh.tensor(values, dtype=torsh.float64, requires_grad=True)


def test_same_gradients_and_one_more_run() -> None:
    runs: list[int] = []

    def f(a: Any, b: Any, k: float = 1.0) -> Any:
        runs.append(1)
        h = (a * b).exp()
        return h * h * k
    x, y = leaf(0.5, 1.0), leaf(0.3, 0.2)
    f(x, y, k=2.0).sum().backward()
    expected = x.grad.tolist(), y.grad.tolist()
    x.grad = y.grad = None
    runs.clear()
    out = checkpoint(f, x, y, use_reentrant=False, k=2.0)
    out.sum().backward(retain_graph=True)
    assert (x.grad.tolist(), y.grad.tolist()) == expected
    assert len(runs) == 2
    out.sum().backward()
    assert len(runs) == 3


def test_intermediate_values_are_not_kept() -> None:
    kept: list[Any] = []

    def f(a: Any) -> Any:
        h = a.exp()
        kept.append(weakref.ref(h))
        return h * h
    x = leaf(1.0)
    out = checkpoint(f, x, use_reentrant=False)
    gc.collect()
    assert kept[0]() is None
    out.backward()


def test_double_backward() -> None:
    x = leaf(2.0)
    g, = torsh.autograd.grad(checkpoint(lambda t: t * t * t, x, use_reentrant=False), x, create_graph=True)
    g.backward()
    assert x.grad.tolist() == [12.0]


def test_the_same_random_numbers() -> None:
    def noise(t: Any) -> Any:
        return torsh.tensor(default_generator().uniform((2,), "float64"), dtype=torsh.float64) * t * t
    x = leaf(3.0, 4.0)
    y = checkpoint(noise, x, use_reentrant=False)
    after = default_generator().uniform((1,), "float64")
    state = default_generator().get_state()
    y.sum().backward()
    assert x.grad.tolist() == pytest.approx([2 * v / t for v, t in zip(y.tolist(), x.tolist(), strict=True)])
    assert default_generator().uniform((1,), "float64") != after
    default_generator().set_state(state)


def test_another_second_run_is_an_error() -> None:
    runs: list[int] = []

    def f(t: Any) -> Any:
        runs.append(1)
        return t * t if len(runs) == 1 else (t * t) * t
    with pytest.raises(CheckpointError, match="different number of tensors was saved"):
        checkpoint(f, leaf(1.0), use_reentrant=False).backward()


def test_sequential() -> None:
    steps = [lambda t: t * t, lambda t: t.exp(), lambda t: t * 2, lambda t: t * t]
    x, y = leaf(0.5, 0.6), leaf(0.5, 0.6)
    checkpoint_sequential(steps, 2, x, use_reentrant=False).sum().backward()
    h = y
    for step in steps:
        h = step(h)
    h.sum().backward()
    assert x.grad.tolist() == y.grad.tolist()
    with pytest.raises(ValueError, match="segments"):
        checkpoint_sequential(steps, 5, x)

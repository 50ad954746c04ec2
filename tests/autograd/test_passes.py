"""Backward passes inside one another, on several threads, and ones that fail."""
from __future__ import annotations

import threading
from typing import Any

import pytest

import torsh


class Inner(torsh.autograd.Function):
    """Multiplies by w, and in its backward runs a pass of its own through the same leaf."""
    @staticmethod
    def forward(ctx: Any, x: torsh.Tensor, w: torsh.Tensor) -> torsh.Tensor:
        ctx.save_for_backward(x, w)
        return x * w

    @staticmethod
    def backward(ctx: Any, g: torsh.Tensor) -> tuple[torsh.Tensor, None]:
        x, w = ctx.saved_tensors
        with torsh.enable_grad():
            y = x.detach() * w * 2
        y.backward(g)
        return g * w.detach(), None


def test_a_pass_inside_a_pass_over_the_same_leaf() -> None:
    w = torsh.tensor(3.0, requires_grad=True)
    x = torsh.tensor(5.0, requires_grad=True)
    (Inner.apply(x, w) + w * 7 + Inner.apply(x * 2, w)).backward()
    assert x.grad.item() == 3 + 6
    assert w.grad.item() == 7 + 2 * 5 + 2 * 10


def test_a_pass_that_fails_keeps_nothing() -> None:
    x = torsh.tensor(2.0, requires_grad=True)
    y = x * x
    z = y * 3 + y

    def fail(grad: torsh.Tensor) -> None:
        raise KeyError("stop")
    handle = y.register_hook(fail)
    with pytest.raises(KeyError):
        z.backward(retain_graph=True)
    assert torsh.autograd.engine.running == []
    assert y.grad_fn.arrived is None
    assert x.grad is None
    handle.remove()
    z.backward()
    assert x.grad.item() == 16


def test_threads_share_leaves() -> None:
    w = torsh.ones(4, requires_grad=True)

    def work() -> None:
        for _ in range(50):
            (Inner.apply(torsh.ones(4), w).sum() + (w * 2).sum()).backward()
    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert w.grad.tolist() == [200.0 * 4] * 4


def test_wide_graphs_are_visited_latest_first() -> None:
    x = torsh.tensor(1.0, requires_grad=True)
    seen: list[int] = []
    parts = []
    for i in range(40):
        part = x * (i + 1)
        part.register_hook(lambda g, i=i: seen.append(i))
        parts.append(part)
    torsh.stack(parts).sum().backward()
    assert seen == list(range(39, -1, -1))
    assert x.grad.item() == sum(range(1, 41))

"""Grouped matrix products against PyTorch's, and their gradients against products one by one."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional

import torsh
import torsh.nn.functional

PAIR = (torsh, torch)


def _numbers(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(("a", "b", "ends"), [((4, 8), (2, 8, 16), [1, 4]), ((8, 8), (3, 8, 4), [2, 2, 8]), ((2, 5, 8), (8, 4), [1, 4]),
                                              ((3, 4), (4, 16), [1, 4]), ((2, 5, 8), (2, 8, 4), None)])
def test_products_are_pytorchs(a: tuple[int, ...], b: tuple[int, ...], ends: list[int] | None) -> None:
    found = []
    for t in PAIR:
        offs = None if ends is None else t.tensor(ends, dtype=t.int32)
        found.append(t.nn.functional.grouped_mm(t.tensor(_numbers(0, *a)), t.tensor(_numbers(1, *b)), offs=offs).numpy())
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5, atol=1e-5)


def test_gradients_are_those_of_the_parts() -> None:
    rows, experts = torsh.tensor(_numbers(0, 5, 3)).requires_grad_(), torsh.tensor(_numbers(1, 2, 3, 4)).requires_grad_()
    out = torsh.nn.functional.grouped_mm(rows, experts, offs=torsh.tensor([2, 4], dtype=torsh.int32))
    assert out[4].tolist() == [0, 0, 0, 0]
    (out * out).sum().backward()
    r, e = torch.tensor(_numbers(0, 5, 3), requires_grad=True), torch.tensor(_numbers(1, 2, 3, 4), requires_grad=True)
    ((r[:2] @ e[0]) ** 2).sum().backward()
    ((r[2:4] @ e[1]) ** 2).sum().backward()
    np.testing.assert_allclose(rows.grad.numpy(), r.grad.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(experts.grad.numpy(), e.grad.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("call", [
    lambda t, f, a, b, o: f(a, b), lambda t, f, a, b, o: f(a, b, offs=o.long()), lambda t, f, a, b, o: f(a, b[:, :4], offs=o),
    lambda t, f, a, b, o: f(a[0], b, offs=o),
    lambda t, f, a, b, o: f(a, b, offs=t.tensor([1, 2, 4], dtype=t.int32)), lambda t, f, a, b, o: f(a.double(), b.double(), offs=o),
    lambda t, f, a, b, o: f(a, b, offs=o, bias=t.ones(16)), lambda t, f, a, b, o: f(a, b, offs=o, out_dtype=t.float64), lambda t, f, a, b, o: f(b, b, offs=o)])
def test_what_does_not_fit_is_refused(call: Any) -> None:
    for t in PAIR:
        with pytest.raises(RuntimeError):
            call(t, t.nn.functional.grouped_mm, t.ones(4, 8), t.ones(2, 8, 16), t.tensor([1, 4], dtype=t.int32))

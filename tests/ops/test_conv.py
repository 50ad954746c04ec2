"""Convolutions against PyTorch over strides, paddings, dilations, groups and dimensions, twice differentiated."""
from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as tf

import torsh
from tests.ops.oracle import agree, outcome
from torsh.nn import functional as f

SIZE, KERNEL = (9, 7, 6), (3, 2, 3)


def _of(m: Any, name: str) -> Any:
    return getattr(f if m is torsh else tf, name)


def _data(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(sum(shape)).standard_normal(shape))


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize(("stride", "padding"), list(itertools.product([1, 2, 3], [0, 1, 2])))
def test_conv(n: int, stride: int, padding: int) -> None:
    for dilation, groups in ((1, 1), (2, 2)):
        if n == 3 and dilation == 2 and padding == 0:
            continue
        agree(lambda m, x, w, b, d=dilation, g=groups: _of(m, f"conv{n}d")(x, w, b, stride, padding, d, g), _data(2, 4, *SIZE[:n]),
              _data(6, 4 // groups, *KERNEL[:n]), _data(6), rtol=1e-9, atol=1e-10, twice=n < 3)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize(("stride", "padding"), list(itertools.product([1, 2, 3], [0, 1, 2])))
def test_conv_transpose(n: int, stride: int, padding: int) -> None:
    for dilation, groups in ((1, 1), (2, 2)):
        extra = max(stride, dilation) - 1
        agree(lambda m, x, w, b, d=dilation, g=groups, e=extra: _of(m, f"conv_transpose{n}d")(x, w, b, stride, padding, e, g, d),
              _data(2, 4, *SIZE[:n]), _data(4, 6 // groups, *KERNEL[:n]), _data(6), rtol=1e-9, atol=1e-10, twice=n < 3)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_named_padding_and_no_batch(padding: str) -> None:
    agree(lambda m, x, w: _of(m, "conv2d")(x, w, None, 1, padding, 2), _data(4, 9, 7), _data(6, 4, 3, 2), rtol=1e-9, atol=1e-10)


def test_options_by_dimension() -> None:
    agree(lambda m, x, w: _of(m, "conv2d")(x, w, None, (2, 1), (0, 2), (1, 2), 4), _data(1, 4, 9, 7), _data(8, 1, 3, 2), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("call", [
    lambda m, k: k.conv2d(m.zeros(1, 3, 5, 5), m.zeros(4, 2, 3, 3)), lambda m, k: k.conv2d(m.zeros(5, 5), m.zeros(4, 2, 3, 3)),
    lambda m, k: k.conv2d(m.zeros(1, 2, 2, 2), m.zeros(4, 2, 3, 3)), lambda m, k: k.conv2d(m.zeros(1, 2, 5, 5), m.zeros(4, 2, 3, 3), m.zeros(3)),
    lambda m, k: k.conv2d(m.zeros(1, 2, 5, 5), m.zeros(4, 2, 3, 3), stride=0),
    lambda m, k: k.conv2d(m.zeros(1, 2, 5, 5), m.zeros(4, 2, 3, 3), stride=2, padding="same"),
    lambda m, k: k.conv2d(m.zeros(1, 2, 5, 5), m.zeros(4, 2, 3, 3, dtype=m.float64)),
    lambda m, k: k.conv_transpose2d(m.zeros(1, 2, 5, 5), m.zeros(2, 2, 3, 3), output_padding=1),
])
def test_errors(call: Any) -> None:
    ours = outcome(lambda: call(torsh, f))
    assert isinstance(ours, type)
    assert ours == outcome(lambda: call(torch, tf))


def test_complex_gradients_are_conjugate() -> None:
    rng = np.random.default_rng(5)
    x, w = (torch.from_numpy(rng.standard_normal(s) + 1j * rng.standard_normal(s)) for s in ((1, 2, 6), (3, 2, 3)))
    found = []
    for t in (torsh, torch):
        a, b = (t.tensor(v.numpy(), requires_grad=True) for v in (x, w))
        y = t.nn.functional.conv1d(a, b, padding=1, stride=2)
        (y * y.conj()).real.sum().backward()
        found.append([g.resolve_conj().numpy() for g in (a.grad, b.grad)])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10)

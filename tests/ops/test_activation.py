"""Activations against PyTorch: values, half types, first and second derivatives, in-place forms, errors."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as tf

import torsh
from tests.ops.oracle import agree, outcome, same, to_torsh
from torsh.nn import functional as f
from torsh.runtime.cpu.generator import default_generator

CASES: dict[str, tuple[str, tuple[Any, ...]]] = {
    "relu": ("relu", ()), "relu6": ("relu6", ()), "leaky_relu": ("leaky_relu", (0.2,)), "elu": ("elu", (1.3,)), "selu": ("selu", ()),
    "gelu": ("gelu", ()), "silu": ("silu", ()), "mish": ("mish", ()), "softplus": ("softplus", (2.0, 3.0)), "softsign": ("softsign", ()),
    "hardtanh": ("hardtanh", (-2.0, 1.0)), "hardsigmoid": ("hardsigmoid", ()), "hardswish": ("hardswish", ()), "tanhshrink": ("tanhshrink", ()),
    "hardshrink": ("hardshrink", (0.7,)), "softshrink": ("softshrink", (0.7,)), "threshold": ("threshold", (0.5, 2.0)),
    "logsigmoid": ("logsigmoid", ()), "glu": ("glu", (1,)), "rrelu": ("rrelu", ()), "softmax": ("softmax", (1,)), "log_softmax": ("log_softmax", (0,)),
    "softmin": ("softmin", (-1,)), "celu": ("celu", (1.0,)),
}
ONCE = {"hardsigmoid"}  # PyTorch has no second derivative of it
ROUGH = {"hardsigmoid": 1e-7}  # and computes its slope of 1/6 in float32


def _of(m: Any, name: str) -> Any:
    return getattr(f if m is torsh else tf, name)


def _x() -> torch.Tensor:
    x = torch.from_numpy(np.random.default_rng(3).standard_normal((4, 6)) * 3)
    x[0, 0] = 0
    return x


@pytest.mark.parametrize("case", CASES)
def test_values_and_derivatives(case: str) -> None:
    name, args = CASES[case]
    agree(lambda m, x: _of(m, name)(x, *args), _x(), rtol=ROUGH.get(name, 1e-9), atol=1e-13, twice=name not in ONCE)


def test_gelu_by_tanh() -> None:
    agree(lambda m, x: _of(m, "gelu")(x, approximate="tanh"), _x(), rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("dt", "ulp"), [("float32", 1e-6), ("float16", 1e-3), ("bfloat16", 8e-3)])
def test_other_types_are_rounded_once(case: str, dt: str, ulp: float) -> None:
    name, args = CASES[case]
    x = _x().to(getattr(torch, dt)).double()
    ours = _of(torsh, name)(to_torsh(x).to(getattr(torsh, dt)), *args)
    assert ours.dtype is getattr(torsh, dt)
    same(ours.double(), _of(torch, name)(x.to(getattr(torch, dt)), *args).double(), rtol=ulp, atol=1e-6)


@pytest.mark.parametrize("name", ["relu", "relu6", "leaky_relu", "elu", "selu", "celu", "silu", "mish", "hardtanh", "hardsigmoid", "hardswish"])
def test_in_place(name: str) -> None:
    def run(m: Any, x: Any) -> Any:
        h = x * 1
        assert _of(m, name)(h, inplace=True) is h
        return h
    agree(run, _x(), rtol=ROUGH.get(name, 1e-9), twice=False)


@pytest.mark.parametrize("n", [1, 3])
def test_prelu(n: int) -> None:
    x, w = torch.randn(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), torch.linspace(0.1, 0.5, n, dtype=torch.float64)
    agree(lambda m, x, w: _of(m, "prelu")(x, w), x, w, rtol=1e-9)


def test_rrelu_draws_as_torch_does() -> None:
    x = _x().float()
    default_generator().manual_seed(5)
    torch.manual_seed(5)
    same(f.rrelu(to_torsh(x), training=True), tf.rrelu(x, training=True), rtol=1e-6)


def test_softmax_of_large_and_infinite_numbers() -> None:
    x = torch.tensor([[1e4, 1e4, -1e4], [float("-inf"), 0.0, 1.0]], dtype=torch.float64)
    same(f.softmax(to_torsh(x), 1), tf.softmax(x, 1), rtol=1e-12)
    same(f.log_softmax(to_torsh(x), 1), tf.log_softmax(x, 1), rtol=1e-12)
    same(torsh.softmax(torsh.zeros(0, 3), 0), torch.softmax(torch.zeros(0, 3), 0))
    same(torsh.softmax(torsh.tensor(3.0), 0), torch.softmax(torch.tensor(3.0), 0))
    same(to_torsh(x).softmax(1, dtype=torsh.float32), x.softmax(1, dtype=torch.float32), rtol=1e-6)


def test_relu_of_integers_and_nan() -> None:
    same(f.relu(torsh.tensor([-1, 2])), tf.relu(torch.tensor([-1, 2])))
    same(f.relu(torsh.tensor([float("nan"), -1.0])), tf.relu(torch.tensor([float("nan"), -1.0])))


@pytest.mark.parametrize("call", [
    lambda m, k: k.softmax(m.zeros(2, 3), 2), lambda m, k: k.softmax(m.zeros(2, dtype=m.int64), 0), lambda m, k: k.glu(m.zeros(3)),
    lambda m, k: k.gelu(m.zeros(3), approximate="sigmoid"), lambda m, k: k.softshrink(m.zeros(3), -1.0), lambda m, k: k.prelu(m.zeros(2, 3), m.zeros(2)),
    lambda m, k: k.relu(m.zeros(2, dtype=m.bool)),
])
def test_errors(call: Any) -> None:
    assert outcome(lambda: call(torsh, f)) == outcome(lambda: call(torch, tf))

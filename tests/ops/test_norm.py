"""Normalizations against PyTorch: values, running statistics, first and second derivatives, half types, errors."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as tf

import torsh
from tests.ops.oracle import agree, outcome, same, to_torsh
from torsh.nn import functional as f

RNG = np.random.default_rng(2)
X = torch.from_numpy(RNG.standard_normal((3, 4, 6)) + 1)
W, B = torch.from_numpy(RNG.random(4) + 0.5), torch.from_numpy(RNG.random(4))
W2, B2 = torch.from_numpy(RNG.random((4, 6)) + 0.5), torch.from_numpy(RNG.random((4, 6)))


def _of(m: Any, name: str) -> Any:
    return getattr(f if m is torsh else tf, name)


CASES: dict[str, tuple[Any, tuple[torch.Tensor, ...]]] = {
    "layer": (lambda k, x, w, b: k("layer_norm")(x, (4, 6), w, b), (X, W2, B2)),
    "layer plain": (lambda k, x: k("layer_norm")(x, (6,), eps=1e-3), (X,)),
    "layer weight": (lambda k, x, w: k("layer_norm")(x, (4, 6), w), (X, W2)),
    "rms": (lambda k, x, w: k("rms_norm")(x, (4, 6), w), (X, W2)), "rms plain": (lambda k, x: k("rms_norm")(x, (6,), eps=1e-2), (X,)),
    "group": (lambda k, x, w, b: k("group_norm")(x, 2, w, b), (X, W, B)), "group plain": (lambda k, x: k("group_norm")(x, 4), (X,)),
    "instance": (lambda k, x, w, b: k("instance_norm")(x, weight=w, bias=b), (X, W, B)),
    "batch": (lambda k, x, w, b: k("batch_norm")(x, None, None, w, b, True), (X, W, B)),
    "batch plain": (lambda k, x: k("batch_norm")(x, None, None, training=True), (X[:, :, 0],)),
    "normalize": (lambda k, x: k("normalize")(x), (X,)), "normalize 1": (lambda k, x: k("normalize")(x, 1.0, -1), (X,)),
    "local response": (lambda k, x: k("local_response_norm")(x, 3, 0.1), (X,)),
}


@pytest.mark.parametrize("case", CASES)
def test_values_and_derivatives(case: str) -> None:
    call, inputs = CASES[case]
    agree(lambda m, *ts: call(lambda name: _of(m, name), *ts), *inputs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["batch_norm", "instance_norm"])
@pytest.mark.parametrize("training", [True, False])
def test_running_statistics(name: str, training: bool) -> None:
    running = torch.from_numpy(RNG.random(4)), torch.from_numpy(RNG.random(4) + 0.5)
    mine = tuple(to_torsh(t) for t in running)
    agree(lambda m, x, w, b: _of(m, name)(x, *[t.clone() for t in (mine if m is torsh else running)], w, b, training, 0.3), X, W, B, rtol=1e-9, atol=1e-12)
    _of(torsh, name)(to_torsh(X), *mine, None, None, training, 0.3)
    _of(torch, name)(X, *running, None, None, training, 0.3)
    same(mine, running, rtol=1e-12)


@pytest.mark.parametrize("dt", ["float16", "bfloat16", "float32"])
def test_types(dt: str) -> None:
    x = X.to(getattr(torch, dt))
    ours = f.layer_norm(to_torsh(X).to(getattr(torsh, dt)), (6,))
    assert ours.dtype is getattr(torsh, dt)
    same(ours.double(), tf.layer_norm(x, (6,)).double(), rtol={"float16": 1e-3, "bfloat16": 8e-3, "float32": 1e-5}[dt], atol=1e-3 if dt != "float32" else 1e-6)


@pytest.mark.parametrize("call", [
    lambda m, k: k.layer_norm(m.zeros(2, 3), (4,)), lambda m, k: k.layer_norm(m.zeros(2, 3), (3,), m.ones(2)), lambda m, k: k.layer_norm(m.zeros(2, 3), ()),
    lambda m, k: k.batch_norm(m.zeros(1, 3), None, None, training=True), lambda m, k: k.batch_norm(m.zeros(2, 3), None, None),
    lambda m, k: k.batch_norm(m.zeros(2, 3), m.zeros(4), m.ones(4)), lambda m, k: k.group_norm(m.zeros(2, 3), 2),
    lambda m, k: k.instance_norm(m.zeros(2, 3, 1)),
])
def test_errors(call: Any) -> None:
    ours = outcome(lambda: call(torsh, f))
    assert isinstance(ours, type)
    assert ours == outcome(lambda: call(torch, tf))

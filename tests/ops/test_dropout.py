"""Dropout against PyTorch with one seed: the same masks in the same order, the same gradients."""
from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as tf

import torsh
from tests.ops.oracle import agree, outcome, same, to_torsh
from torsh.nn import functional as f
from torsh.runtime.cpu.generator import default_generator

NAMES = ["dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"]


def _seed() -> None:
    default_generator().manual_seed(3)
    torch.manual_seed(3)


@pytest.mark.parametrize("name", NAMES)
def test_masks_are_torchs(name: str) -> None:
    x = torch.arange(1.0, 121.0, dtype=torch.float64).reshape((6, 20) if name == "dropout1d" else (2, 3, 4, 5))
    _seed()
    agree(lambda m, x: getattr(f if m is torsh else tf, name)(x, 0.3, True), x, rtol=1e-9, twice=False)
    ours, theirs = default_generator().uniform((3,)), torch.rand(3)
    assert ours.tolist() == theirs.tolist()


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_drawn_outside_training_and_for_p_0(name: str) -> None:
    x = torsh.ones(2, 3, 4)
    _seed()
    assert getattr(f, name)(x, 0.5, False) is x
    assert getattr(f, name)(x, 0.0, True) is x
    same(getattr(f, name)(x, 1.0, True), torch.zeros(2, 3, 4))
    assert default_generator().uniform((1,)).tolist() == torch.rand(1).tolist()


def test_in_place() -> None:
    x = torch.ones(4, 5)
    ours = to_torsh(x)
    _seed()
    assert f.dropout(ours, 0.5, inplace=True) is ours
    same(ours, tf.dropout(x, 0.5))


def test_every_call_draws_anew() -> None:
    x = torsh.ones(100)
    assert f.dropout(x).tolist() != f.dropout(x).tolist()


@pytest.mark.parametrize("call", [lambda m, k: k.dropout(m.ones(2), 1.5), lambda m, k: k.dropout(m.ones(2), -0.1),
                                  lambda m, k: k.dropout(m.ones(2, dtype=m.int64)),
                                  lambda m, k: k.dropout2d(m.ones(2)) if m is torsh else k.dropout1d(m.ones(2))])
def test_errors(call: Any) -> None:
    ours = outcome(lambda: call(torsh, f))
    assert isinstance(ours, type)
    assert ours == outcome(lambda: call(torch, tf))

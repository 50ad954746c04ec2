"""Embeddings against PyTorch: lookups, padding, frequencies, norms, bags, derivatives, errors."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as tf

import torsh
from tests.ops.oracle import agree, outcome, same, to_torsh
from torsh.nn import functional as f

W = torch.from_numpy(np.random.default_rng(4).standard_normal((5, 3)))
AT = torch.tensor([[1, 2, 0], [4, 1, 1]])


def _of(m: Any, name: str) -> Any:
    return getattr(f if m is torsh else tf, name)


def _in(m: Any, t: Any) -> Any:
    return to_torsh(t) if m is torsh and isinstance(t, torch.Tensor) else t


@pytest.mark.parametrize("how", [{}, {"padding_idx": 1}, {"padding_idx": -1}], ids=str)
@pytest.mark.parametrize("index", [AT, AT.int(), AT[0], torch.tensor(3), torch.zeros(0, 2, dtype=torch.int64)], ids=lambda t: str(list(t.shape)) + str(t.dtype))
def test_embedding(how: dict[str, Any], index: torch.Tensor) -> None:
    agree(lambda m, w: _of(m, "embedding")(_in(m, index), w, **how) ** 2, W, rtol=1e-12, twice=index.numel() > 0)


def test_gradient_by_frequency() -> None:
    agree(lambda m, w: _of(m, "embedding")(_in(m, AT), w, scale_grad_by_freq=True), W, rtol=1e-12, twice=False)


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_largest_norm_changes_the_used_rows(p: float) -> None:
    ours, theirs = to_torsh(W), W.clone()
    same(f.embedding(to_torsh(AT), ours, max_norm=1.0, norm_type=p), tf.embedding(AT, theirs, max_norm=1.0, norm_type=p), rtol=1e-6)
    same(ours, theirs, rtol=1e-6)
    assert ours[3].tolist() == W[3].tolist()


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("padding", [None, 1])
@pytest.mark.parametrize("offsets", [None, [0, 2, 2, 5], [0, 2, 2, 6]])
def test_bags(mode: str, padding: int | None, offsets: list[int] | None) -> None:
    index = AT if offsets is None else AT.reshape(-1)
    begin = None if offsets is None else torch.tensor(offsets)
    agree(lambda m, w: _of(m, "embedding_bag")(_in(m, index), w, _in(m, begin), mode=mode, padding_idx=padding,
                                               include_last_offset=offsets is not None and offsets[-1] == 6), W, rtol=1e-12, twice=False)


def test_weighted_bags() -> None:
    agree(lambda m, w, s: _of(m, "embedding_bag")(_in(m, AT), w, mode="sum", per_sample_weights=s), W, torch.rand(2, 3, dtype=torch.float64), rtol=1e-12,
          twice=False)


@pytest.mark.parametrize("call", [
    lambda m, k: k.embedding(m.tensor([0, 5]), m.zeros(5, 3)), lambda m, k: k.embedding(m.tensor([-1]), m.zeros(5, 3)),
    lambda m, k: k.embedding(m.tensor([0.0]), m.zeros(5, 3)), lambda m, k: k.embedding(m.tensor([0]), m.zeros(5)),
    lambda m, k: k.embedding_bag(m.tensor([0, 1]), m.zeros(5, 3)), lambda m, k: k.embedding_bag(m.tensor([[0]]), m.zeros(5, 3), mode="last"),
    lambda m, k: k.embedding_bag(m.tensor([[0]]), m.zeros(5, 3), m.tensor([0])),
])
def test_errors(call: Any) -> None:
    ours = outcome(lambda: call(torsh, f))
    assert isinstance(ours, type)
    assert ours == outcome(lambda: call(torch, tf))

"""Attention against PyTorch: masks of both kinds, causal, scale, grouped heads, dropout, twice differentiated."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as tf

import torsh
from tests.ops.oracle import agree, outcome, same, to_torsh
from torsh.core.generator import default_generator
from torsh.nn import functional as f

RNG = np.random.default_rng(5)
Q, K, V = (torch.from_numpy(RNG.standard_normal(s)) for s in ((2, 4, 5, 8), (2, 4, 6, 8), (2, 4, 6, 7)))
ALLOWED = torch.from_numpy(RNG.random((5, 6)) > 0.4)
ALLOWED[1] = False
ADDED = torch.from_numpy(RNG.standard_normal((2, 1, 5, 6)))


def _attend(m: Any) -> Any:
    return (f if m is torsh else tf).scaled_dot_product_attention


@pytest.mark.parametrize("how", [{}, {"is_causal": True}, {"scale": 0.3}], ids=str)
def test_plain(how: dict[str, Any]) -> None:
    agree(lambda m, *t: _attend(m)(*t, **how), Q, K, V, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("mask", [ALLOWED, ADDED], ids=["bool", "float"])
def test_masks(mask: torch.Tensor) -> None:
    agree(lambda m, *t: _attend(m)(*t, to_torsh(mask) if m is torsh else mask), Q, K, V, rtol=1e-9, atol=1e-12)


def test_a_mask_that_learns() -> None:
    agree(lambda m, mask, *t: _attend(m)(*t, mask), ADDED, Q, K, V, rtol=1e-9, atol=1e-12)


def test_grouped_heads() -> None:
    agree(lambda m, *t: _attend(m)(*t, enable_gqa=True), Q, K[:, :2].contiguous(), V[:, :2].contiguous(), rtol=1e-9, atol=1e-12)


def test_without_heads() -> None:
    agree(lambda m, *t: _attend(m)(*t), Q[0, 0], K[0, 0], V[0, 0], rtol=1e-9, atol=1e-12)


def test_dropout_draws_as_torch_does() -> None:
    default_generator().manual_seed(9)
    torch.manual_seed(9)
    q = Q.clone().requires_grad_()
    same(f.scaled_dot_product_attention(*[to_torsh(t) for t in (Q, K, V)], dropout_p=0.4), tf.scaled_dot_product_attention(q, K, V, dropout_p=0.4), rtol=1e-9)


@pytest.mark.parametrize("call", [
    lambda m, k: k.scaled_dot_product_attention(m.zeros(2, 3, 4), m.zeros(2, 3, 5), m.zeros(2, 3, 4)),
    lambda m, k: k.scaled_dot_product_attention(m.zeros(2, 3, 4), m.zeros(2, 3, 4), m.zeros(2, 4, 4)),
    lambda m, k: k.scaled_dot_product_attention(m.zeros(2, 3, 4), m.zeros(2, 3, 4), m.zeros(2, 3, 4, dtype=m.float64)),
    lambda m, k: k.scaled_dot_product_attention(*[m.zeros(2, 3, 4)] * 3, m.ones(3, 3), is_causal=True),
    lambda m, k: k.scaled_dot_product_attention(*[m.zeros(4)] * 3),
])
def test_errors(call: Any) -> None:
    ours = outcome(lambda: call(torsh, f))
    assert isinstance(ours, type)
    assert ours == outcome(lambda: call(torch, tf))


@pytest.mark.parametrize("causal", [False, True])
def test_half_types_round_once(causal: bool) -> None:
    rng = np.random.default_rng(4)
    q, k, v = (torch.from_numpy(rng.standard_normal((2, 3, 6, 8))).to(torch.bfloat16) for _ in range(3))
    exact = torch.nn.functional.scaled_dot_product_attention(q.double(), k.double(), v.double(), is_causal=causal)
    found = torsh.nn.functional.scaled_dot_product_attention(*[torsh.tensor(t.float().numpy()).bfloat16() for t in (q, k, v)], is_causal=causal)
    np.testing.assert_allclose(found.float().numpy(), exact.float().numpy(), rtol=2 ** -8, atol=1e-5)


@pytest.mark.parametrize(("rows", "columns"), [(256, 256), (300, 130), (257, 400)])
def test_causal_attention_in_parts(rows: int, columns: int) -> None:
    q, k, v = (torch.from_numpy(np.random.default_rng(i).standard_normal((2, 3, n, 8))) for i, n in enumerate((rows, columns, columns)))
    with torsh.no_grad():
        same(f.scaled_dot_product_attention(*map(to_torsh, (q, k, v)), is_causal=True), tf.scaled_dot_product_attention(q, k, v, is_causal=True), 1e-9, 1e-11)
    agree(lambda m, *t: _attend(m)(*t, is_causal=True), q, k, v, rtol=1e-9, atol=1e-11, twice=False)

"""Attention against PyTorch: masks of both kinds, causal, scale, grouped heads, dropout, twice differentiated."""
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


# batch, heads of the query and of the keys, rows, keys, size of keys and of values
SHAPES = [(2, 2, 2, 32, 32, 16, 16), (1, 4, 2, 37, 37, 16, 32), (2, 3, 3, 33, 70, 19, 23), (1, 2, 1, 70, 33, 8, 40), (1, 1, 1, 8, 8, 1, 1)]


@pytest.mark.parametrize("how", ["plain", "causal", "rows", "batches", "added"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_in_one_kernel(shape: tuple[int, ...], how: str) -> None:
    b, h, k, rows, keys, size, width = shape
    rng = np.random.default_rng(3)
    tensors = [torch.from_numpy(rng.standard_normal(s)) for s in ((b, rows, h, size), (b, keys, k, size), (b, keys, k, width))]
    mask: Any = None
    if how == "rows":
        mask = torch.from_numpy(rng.random((rows, keys)) > 0.4)
        mask[:, 0] = True  # where PyTorch's kernel gives NaN for a row that sees nothing, ours gives 0 as its composition does
    elif how == "batches":
        mask = torch.from_numpy(rng.random((b, 1, 1, keys)) > 0.4)
        mask[..., 0] = True
    elif how == "added":
        mask = torch.from_numpy(rng.standard_normal((h, rows, keys)))

    def attend(m: Any, q: Any, key: Any, v: Any) -> Any:
        given = None if mask is None else to_torsh(mask) if m is torsh else mask
        return _attend(m)(q.transpose(1, 2), key.transpose(1, 2), v.transpose(1, 2), given, is_causal=how == "causal", enable_gqa=h != k)
    agree(attend, *tensors, rtol=1e-9, atol=1e-11, twice=False)


def test_in_one_kernel_twice_differentiated() -> None:
    q, k, v = (torch.from_numpy(np.random.default_rng(i).standard_normal(s)) for i, s in enumerate(((1, 4, 9, 3), (1, 2, 8, 3), (1, 2, 8, 5))))
    agree(lambda m, *t: _attend(m)(*t, is_causal=True, enable_gqa=True), q, k, v, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("lead", [(), (3,), (2, 1, 3)], ids=str)
def test_in_one_kernel_with_other_dimensions(lead: tuple[int, ...]) -> None:
    q, k, v = (torch.from_numpy(np.random.default_rng(i).standard_normal((*lead, *s))) for i, s in enumerate(((9, 3), (17, 3), (17, 5))))
    agree(lambda m, *t: _attend(m)(*t), q, k, v, rtol=1e-9, atol=1e-11, twice=False)


def test_rows_that_see_nothing_give_zero_and_no_gradient() -> None:
    q, k, v = (torsh.tensor(np.random.default_rng(i).standard_normal((1, 2, 9, 4)), requires_grad=True) for i in range(3))
    mask = torsh.ones(9, 9, dtype=torsh.bool)
    mask[4] = False
    out = f.scaled_dot_product_attention(q, k, v, mask)
    out.sum().backward()
    assert not out[:, :, 4].detach().numpy().any()
    assert not q.grad.numpy()[:, :, 4].any()
    assert all(np.isfinite(t.grad.numpy()).all() for t in (q, k, v))


def test_one_launch_and_the_same_bits_on_any_threads() -> None:
    from torsh.compiler.execute import stats
    q, k, v = (torsh.tensor(np.random.default_rng(i).standard_normal((2, 3, n, 24)).astype(np.float32)) for i, n in enumerate((77, 90, 90)))
    before, found = torsh.get_num_threads(), []
    for threads in (1, 2):
        torsh.set_num_threads(threads)
        with torsh.no_grad():
            stats.reset()
            found.append([f.scaled_dot_product_attention(q, k, v, is_causal=True).numpy().copy()])
            assert stats.launches == 1
        leaves = [t.clone().requires_grad_() for t in (q, k, v)]
        f.scaled_dot_product_attention(*leaves, is_causal=True).square().sum().backward()
        found[-1] += [t.grad.numpy().copy() for t in leaves]
    torsh.set_num_threads(before)
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)

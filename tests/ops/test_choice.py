"""One index drawn for each row, and the entry at an index, against PyTorch and the engine's own numbers."""
from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

import torsh
from torsh.ops.choice import chosen
from torsh.runtime.cpu.mt19937 import MT19937Generator

TYPES = {torsh.float32: np.float32, torsh.float64: np.float64, torsh.float16: np.float16, torsh.bfloat16: ml_dtypes.bfloat16}


@pytest.mark.parametrize("shape", [(2,), (7,), (1, 3), (4, 6), (50, 40)])
@pytest.mark.parametrize("dt", TYPES, ids=str)
def test_a_draw_computed_with_its_weights_is_the_engines_and_leaves_its_state(shape: tuple[int, ...], dt: Any) -> None:
    values = np.random.default_rng(0).random(shape).astype(TYPES[dt])
    values[..., 0] = 0
    engine, g = MT19937Generator(3), torsh.Generator().manual_seed(3)
    for replacement in (True, False):
        made = torsh.tensor(values) * 1  # pending
        found = torsh.multinomial(made, 1, replacement, generator=g)
        np.testing.assert_array_equal(found.numpy(), engine.multinomial(values, 1, replacement))
        assert (found.numpy() > 0).all()
    np.testing.assert_array_equal(g.get_state().numpy(), engine.get_state())


@pytest.mark.parametrize("bad", [[0.5, -0.1], [0.0, 0.0], [0.5, float("nan")], [0.5, float("inf")], [[1.0, 1.0], [0.0, 0.0]]])
def test_weights_that_are_no_distribution_raise_as_pytorch_does_and_draw_nothing(bad: Any) -> None:
    for library in (torch, torsh):
        g = library.Generator().manual_seed(5)
        before = g.get_state().tolist()
        with pytest.raises(RuntimeError, match=r"probability tensor contains|invalid multinomial distribution"):
            library.multinomial(library.tensor(bad) * 1, 1, generator=g)
        assert g.get_state().tolist() == before


def test_categorical_draws_what_multinomial_of_its_probabilities_draws() -> None:
    logits = torsh.tensor(np.random.default_rng(1).standard_normal((2, 3, 5)).astype(np.float32))
    choice = torsh.distributions.Categorical(logits=logits)
    torsh.manual_seed(4)
    found = choice.sample()
    torsh.manual_seed(4)
    wanted = torsh.multinomial(choice.probs.reshape(6, 5), 1, True).reshape(2, 3)
    assert found.shape == (2, 3)
    assert found.dtype is torsh.int64
    assert not found.requires_grad
    np.testing.assert_array_equal(found.numpy(), wanted.numpy())
    assert choice.sample((1,)).shape == (1, 2, 3)
    assert choice.sample((4,)).shape == (4, 2, 3)


SHAPES = [((5,), ()), ((3, 5), (3,)), ((3, 5), (2, 3)), ((1, 5), (4,)), ((2, 1, 5), (3,)), ((5,), (2, 3)), ((3, 5), ())]


@pytest.mark.parametrize(("rows", "index"), SHAPES, ids=str)
@pytest.mark.parametrize("k", [5, 1])
def test_log_prob_and_its_derivatives_are_pytorchs(rows: tuple[int, ...], index: tuple[int, ...], k: int) -> None:
    draw = np.random.default_rng(2)
    values = draw.standard_normal((*rows[:-1], k))
    at = draw.integers(0, k, size=index)
    grads = []
    for library in (torch, torsh):
        x = library.tensor(values, requires_grad=True)
        found = library.distributions.Categorical(logits=x, validate_args=False).log_prob(library.tensor(at))
        weight = library.arange(found.numel(), dtype=library.float64).reshape(found.shape) + 1
        g, = library.autograd.grad((found ** 2 * weight).sum(), x, create_graph=True)
        h, = library.autograd.grad((g ** 2).sum(), x)
        grads.append((found.detach().numpy(), g.detach().numpy(), h.numpy()))
    for ours, theirs in zip(grads[1], grads[0], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
        assert ours.shape == theirs.shape


def test_indices_out_of_range_are_errors() -> None:
    x = torsh.randn(3, 4)
    with pytest.raises(RuntimeError, match="index 4 is out of bounds"):
        chosen(x, torsh.tensor([0, 4, 1]))
    with pytest.raises(RuntimeError, match="index -1 is out of bounds"):
        chosen(x, torsh.tensor([0, -1, 1]))
    late = chosen(x, torsh.tensor([0, 1, 2]) + 2)
    with pytest.raises(IndexError):
        late.tolist()


def test_many_chosen_under_vmap() -> None:
    x, at = torsh.randn(6, 4), torsh.tensor([0, 3, 1, 2, 2, 0])
    np.testing.assert_array_equal(torsh.func.vmap(chosen)(x, at).numpy(), x.numpy()[np.arange(6), at.numpy()])

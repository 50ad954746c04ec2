"""Random tensors against PyTorch: the same numbers for a seed, whatever was drawn before."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import torsh

EXACT = {
    "rand": lambda t: t.rand(3, 5),
    "rand64": lambda t: t.rand(7, dtype=t.float64),
    "randint": lambda t: t.randint(3, 10, (4,)),
    "randint_high": lambda t: t.randint(5, (2, 3)),
    "randperm": lambda t: t.randperm(9),
    "rand_like": lambda t: t.rand_like(t.ones(3, dtype=t.float64)),
    "uniform_transposed": lambda t: t.empty(4, 3).t().uniform_(-1, 1),
    "random": lambda t: t.empty(7).random_(),
    "random_to": lambda t: t.zeros(5, dtype=t.int64).random_(5),
    "random_from_to": lambda t: t.zeros(5, dtype=t.int64).random_(-3, 5),
    "bernoulli": lambda t: t.bernoulli(t.full((9,), 0.4)),
    "multinomial": lambda t: t.multinomial(t.tensor([0.1, 0.3, 0.6]), 5, True),
    "generator": lambda t: t.rand(5, generator=t.Generator().manual_seed(3)),
}
CLOSE = {
    "randn_few": lambda t: t.randn(3),
    "randn_many": lambda t: t.randn(37),
    "normal": lambda t: t.normal(2.0, 3.0, (20,)),
    "normal_mean": lambda t: t.normal(t.arange(17.0), 2.0),
    "normal_std": lambda t: t.normal(1.0, t.arange(17.0)),
    "normal_both": lambda t: t.normal(t.arange(4.0), t.ones(3, 1)),
    "normal_transposed": lambda t: t.empty(5, 4).t().normal_(),
}


@pytest.mark.parametrize("name", EXACT)
def test_uniform_numbers_are_pytorchs_bit_for_bit(name: str) -> None:
    for seed in (0, 5):
        torch.manual_seed(seed)
        torsh.manual_seed(seed)
        for _ in range(2):
            np.testing.assert_array_equal(EXACT[name](torsh).numpy(), EXACT[name](torch).numpy())


@pytest.mark.parametrize("name", CLOSE)
def test_normal_numbers_are_pytorchs_to_rounding(name: str) -> None:
    torch.manual_seed(11)
    torsh.manual_seed(11)
    np.testing.assert_allclose(CLOSE[name](torsh).numpy(), CLOSE[name](torch).numpy(), rtol=1e-5, atol=1e-6)


def test_state_goes_back_and_forth_between_the_libraries() -> None:
    torch.manual_seed(3)
    torch.rand(5)
    torsh.set_rng_state(torsh.from_numpy(torch.get_rng_state().numpy()))
    np.testing.assert_array_equal(torsh.rand(4).numpy(), torch.rand(4).numpy())
    np.testing.assert_array_equal(torsh.get_rng_state().numpy(), torch.get_rng_state().numpy())
    with torsh.fork_rng():
        torsh.rand(100)
    np.testing.assert_array_equal(torsh.rand(4).numpy(), torch.rand(4).numpy())


def test_numbers_are_drawn_at_the_call_and_not_when_they_are_read() -> None:
    torsh.manual_seed(0)
    first, second = torsh.rand(2), torsh.rand(2)
    late = second.tolist(), first.tolist()
    torsh.manual_seed(0)
    assert (torsh.rand(2).tolist(), torsh.rand(2).tolist()) == late[::-1]


@pytest.mark.parametrize(("call", "error"), [
    (lambda t: t.randint(5, 5, (2,)), RuntimeError),
    (lambda t: t.rand(-1), RuntimeError),
    (lambda t: t.bernoulli(t.full((2,), 1.5)), RuntimeError),
    (lambda t: t.ones(2, requires_grad=True).uniform_(), RuntimeError),
    (lambda t: t.multinomial(t.ones(2), 3), RuntimeError),
])
def test_errors_have_pytorchs_types(call: Any, error: type[Exception]) -> None:
    for library in (torch, torsh):
        with pytest.raises(error):
            call(library)


def test_a_generator_with_the_same_state() -> None:
    for m in (torsh, torch):
        g = m.Generator().manual_seed(5)
        m.rand(3, generator=g)
        h = g.clone_state()
        wanted = m.rand(2, generator=g).tolist()
        assert m.rand(2, generator=h).tolist() == wanted
        assert h.initial_seed() == 5

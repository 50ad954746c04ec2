"""Random tensors whose parameters are tensors: PyTorch's numbers for a seed."""
from __future__ import annotations

import numpy as np
import pytest
import torch

import torsh
from tests.ops.oracle import same, to_torsh


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_numbers_for_a_seed(kind: torch.dtype, rng: np.random.Generator) -> None:
    rate = torch.tensor(np.exp(rng.uniform(-4, 7, (20, 25)))).to(kind)
    count, chance = torch.tensor(np.round(np.exp(rng.uniform(0, 7, 500)))).to(kind), torch.tensor(rng.uniform(0, 1, 500)).to(kind)
    for f in (lambda m, r, n, p: m.poisson(r), lambda m, r, n, p: m.binomial(n, p)):
        torch.manual_seed(5)
        torsh.manual_seed(5)
        theirs, ours = f(torch, rate, count, chance), f(torsh, *map(to_torsh, (rate, count, chance)))
        # PyTorch compares in the tensor's own type: a proposal on the edge may fall otherwise, after which the streams part.
        assert kind is torch.float32 or ours.tolist() == theirs.tolist()
        assert abs(ours.double().mean().item() / theirs.double().mean().item() - 1) < 0.05
        same(torsh.rand(3) if kind is torch.float64 else torsh.ones(3), torch.rand(3) if kind is torch.float64 else torch.ones(3))  # as much was drawn


def test_gamma_numbers_for_a_seed(rng: np.random.Generator) -> None:
    from torsh.ops.samplers import sample_dirichlet, standard_gamma
    alpha = torch.tensor(np.exp(rng.uniform(-4, 6, (40, 5))))
    torch.manual_seed(5)
    torsh.manual_seed(5)
    same(standard_gamma(to_torsh(alpha)), torch._standard_gamma(alpha), 1e-6)
    same(sample_dirichlet(to_torsh(alpha)), torch._sample_dirichlet(alpha), 1e-6)
    same(torsh.randn(3), torch.randn(3), 1e-6)  # the normal number that was left over too


def test_what_has_no_distribution() -> None:
    with pytest.raises(RuntimeError, match="invalid Poisson rate"):
        torsh.poisson(torsh.tensor([-1.0]))
    with pytest.raises(NotImplementedError):
        torsh.poisson(torsh.tensor([1]))
    assert torsh.binomial(torsh.tensor([3.0, 3.0, 0.0]), torsh.tensor([0.0, 1.0, 0.5])).tolist() == [0.0, 3.0, 0.0]
    assert torsh.poisson(torsh.zeros(2)).tolist() == [0.0, 0.0]


def test_each_example_of_a_vmap_has_its_own() -> None:
    torsh.manual_seed(0)
    rate = torsh.full((8,), 30.0)
    drawn = torsh.vmap(lambda x: torsh.poisson(rate) + 0 * x, randomness="different")(torsh.zeros(3))
    assert len({tuple(row) for row in drawn.tolist()}) == 3

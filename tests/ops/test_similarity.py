"""Cosine similarity and pairwise distance against PyTorch."""
from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.ops.oracle import agree

RNG = np.random.default_rng(7)
X, Y = (torch.from_numpy(RNG.standard_normal((4, 5))) for _ in range(2))


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_cosine(dim: int) -> None:
    agree(lambda m, a, b: m.cosine_similarity(a, b, dim), X, Y, rtol=1e-9, atol=1e-12)
    agree(lambda m, a, b: m.cosine_similarity(a, b, dim), X, Y[:1].clone(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("keepdim", [False, True])
def test_distance(p: float, keepdim: bool) -> None:
    agree(lambda m, a, b: m.pairwise_distance(a, b, p, keepdim=keepdim), X, Y, rtol=1e-8, atol=1e-11, twice=p != 1.0)


@pytest.mark.parametrize("p", [0, 1, 1.5, 2, 3, float("inf")])
def test_pdist(p: float, rng: np.random.Generator) -> None:
    agree(lambda t, x: t.nn.functional.pdist(x, p), torch.tensor(rng.normal(size=(6, 4))), rtol=1e-9, atol=1e-10, twice=False)

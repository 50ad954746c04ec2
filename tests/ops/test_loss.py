"""Losses against PyTorch: every reduction and option, first and second derivatives, errors."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as tf

import torsh
from tests.ops.oracle import agree, outcome, to_torsh
from torsh.nn import functional as f

RNG = np.random.default_rng(6)
X, Y = (torch.from_numpy(RNG.standard_normal((4, 5))) for _ in range(2))
U, V, W = (torch.from_numpy(RNG.random((4, 5)) * 0.8 + 0.1) for _ in range(3))
SIGNS = torch.sign(X * Y)
MANY = torch.tensor([[0, 2, -1, 3, 1], [1, 2, 3, 4, 0], [-1, 0, 0, 0, 0], [4, -1, -1, -1, -1]])

CASES: list[tuple[str, tuple[torch.Tensor, ...], dict[str, Any]]] = [
    ("mse_loss", (X, Y), {}), ("mse_loss", (X, Y), {"weight": W}), ("l1_loss", (X, Y), {}), ("smooth_l1_loss", (X, Y), {"beta": 0.7}),
    ("smooth_l1_loss", (X, Y), {"beta": 0.0}), ("huber_loss", (X, Y), {"delta": 0.6}), ("binary_cross_entropy", (U, V), {}),
    ("binary_cross_entropy", (U, V), {"weight": W}), ("binary_cross_entropy_with_logits", (X, V), {}),
    ("binary_cross_entropy_with_logits", (X, V), {"weight": W, "pos_weight": W}), ("kl_div", (X, U), {}), ("kl_div", (X, Y), {"log_target": True}),
    ("poisson_nll_loss", (X, U * 5), {}), ("poisson_nll_loss", (U, U * 5), {"log_input": False, "full": True}), ("gaussian_nll_loss", (X, Y, U), {}),
    ("gaussian_nll_loss", (X, Y, U[:, :1].contiguous()), {"full": True}), ("hinge_embedding_loss", (X,), {"target": SIGNS}),
    ("margin_ranking_loss", (X, Y), {"target": SIGNS, "margin": 0.3}), ("cosine_embedding_loss", (X, Y), {"target": SIGNS[:, 0].contiguous()}),
    ("triplet_margin_loss", (X, Y, U), {}), ("triplet_margin_loss", (X, Y, U), {"swap": True, "p": 1.0}), ("soft_margin_loss", (X,), {"target": SIGNS}),
    ("multilabel_soft_margin_loss", (X,), {"target": (SIGNS > 0).double(), "weight": W[0].clone()}),
    ("multi_margin_loss", (X,), {"target": torch.tensor([1, 0, 4, 2]), "p": 1, "weight": W[0].clone()}),
    ("multi_margin_loss", (X,), {"target": torch.tensor([1, 0, 4, 2]), "p": 2, "margin": 0.5}), ("multi_margin_loss", (X[0],), {"target": torch.tensor(1)}),
    ("multilabel_margin_loss", (X,), {"target": MANY}), ("multilabel_margin_loss", (X[0],), {"target": MANY[0]}),
]
ONCE = {"multi_margin_loss", "multilabel_margin_loss"}  # PyTorch has no second derivatives of them
FLAT = ({"beta": 0.0}, {"swap": True, "p": 1.0})  # and marks the second derivatives of |x| as zeros that are no arrays


@pytest.mark.filterwarnings("ignore:reduction. 'mean'")
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("case", range(len(CASES)), ids=lambda i: CASES[i][0] + "".join("-" + k for k in CASES[i][2]))
def test_values_and_derivatives(case: int, reduction: str) -> None:
    name, inputs, options = CASES[case]

    def loss(m: Any, *ts: Any) -> Any:
        given = {k: to_torsh(v) if m is torsh and isinstance(v, torch.Tensor) else v for k, v in options.items()}
        return getattr(f if m is torsh else tf, name)(*ts, reduction=reduction, **given)
    agree(loss, *[t.clone() for t in inputs], rtol=1e-8, atol=1e-11, twice=name not in ONCE and name != "l1_loss" and options not in FLAT)


def test_batch_mean_of_kl() -> None:
    agree(lambda m, x, y: (f if m is torsh else tf).kl_div(x, y, reduction="batchmean"), X, U, rtol=1e-9)


def test_certain_probabilities_stay_finite() -> None:
    x, y = torch.tensor([0.0, 1.0, 0.0]), torch.tensor([0.0, 1.0, 1.0])
    agree(lambda m, x: (f if m is torsh else tf).binary_cross_entropy(x, to_torsh(y) if m is torsh else y, reduction="none"), x, rtol=1e-6, twice=False)
    z = torch.tensor([1e4, -1e4, 0.0])
    agree(lambda m, z: (f if m is torsh else tf).binary_cross_entropy_with_logits(z, to_torsh(y) if m is torsh else y), z, rtol=1e-6, twice=False)


@pytest.mark.filterwarnings("ignore:.*target size")
def test_broadcast_targets_warn() -> None:
    agree(lambda m, x, y: (f if m is torsh else tf).mse_loss(x, y), X, Y[:1].clone(), rtol=1e-9)
    with pytest.warns(UserWarning, match="target size"):
        f.mse_loss(torsh.ones(2, 3), torsh.ones(3))


@pytest.mark.filterwarnings("ignore:.*target size")
@pytest.mark.parametrize("call", [
    lambda m, k: k.mse_loss(m.ones(2), m.ones(3)), lambda m, k: k.mse_loss(m.ones(2), m.ones(2), reduction="most"),
    lambda m, k: k.huber_loss(m.ones(2), m.ones(2), delta=0.0), lambda m, k: k.smooth_l1_loss(m.ones(2), m.ones(2), beta=-1.0),
    lambda m, k: k.binary_cross_entropy(m.ones(2), m.ones(3)), lambda m, k: k.binary_cross_entropy(m.ones(2) * 2, m.ones(2)) if m is torch else
    k.binary_cross_entropy(m.tensor([2.0, 2.0]), m.ones(2)), lambda m, k: k.binary_cross_entropy_with_logits(m.ones(2), m.ones(3)),
    lambda m, k: k.triplet_margin_loss(m.ones(2, 2), m.ones(2, 2), m.ones(2, 2), margin=-1.0),
    lambda m, k: k.multi_margin_loss(m.ones(2, 3), m.tensor([0, 1]), p=3),
    lambda m, k: k.multi_margin_loss(m.ones(2, 3), m.tensor([0])), lambda m, k: k.cosine_embedding_loss(m.ones(2, 3), m.ones(2, 3), m.ones(2, 3)),
    lambda m, k: k.gaussian_nll_loss(m.ones(2), m.ones(2), m.tensor([-1.0, 1.0])),
])
def test_errors(call: Any) -> None:
    ours = outcome(lambda: call(torsh, f))
    assert isinstance(ours, type)
    assert ours == outcome(lambda: call(torch, tf))

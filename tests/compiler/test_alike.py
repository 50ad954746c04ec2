"""What is the same but for the values it works on is lowered once in a plan."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import torsh
from torsh import nn
from torsh.codegen.cache import digest
from torsh.compiler import alike, realize


class _Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.project, self.out = nn.LayerNorm(32), nn.Linear(32, 96), nn.Linear(32, 32)

    def forward(self, x: Any) -> Any:
        q, k, v = (y.view(2, 10, 4, 8).transpose(1, 2) for y in self.project(self.norm(x)).split(32, 2))
        y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return x + self.out(y.transpose(1, 2).reshape(2, 10, 32)).cos()


def _texts(depth: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many kernels a plan of so many layers writes down."""
    realize._plans.clear()
    realize._recent.clear()
    count = 0

    def counted(content: str) -> str:
        nonlocal count
        count += 1
        return digest(content)
    model = nn.Sequential(*[_Layer() for _ in range(depth)])
    x = torsh.randn(2, 10, 32)
    for p in (*model.parameters(), x):
        p.detach().numpy()
    with monkeypatch.context() as patch, torsh.no_grad():
        patch.setattr(alike, "digest", counted)
        model(x).numpy()
    return count


def test_layers_that_are_alike_are_lowered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _texts(3, monkeypatch) == _texts(9, monkeypatch)


def test_numbers_and_operands_are_each_groups_own() -> None:
    """Alike in all but numbers, given or in the derivation (an epsilon), and in what is read twice."""
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((6, 40)).astype(np.float32) for _ in range(3)]
    a, b, c = (torsh.tensor(x) + 0 for x in arrays)
    for x in (a, b, c):
        x.numpy()
    found = [nn.functional.layer_norm(x, (40,), eps=eps) for x, eps in ((a, 1e-5), (b, 0.5), (c, 3.0))]
    found += [(x * number).exp().sum(1) for x, number in ((a, 0.5), (b, 0.25), (c, -0.75))]
    found += [(x - y).square().sum(1) for x, y in ((a, b), (b, c), (c, c))]
    realize.realize([x._storage.node for x in found])
    wide = [x.astype(np.float64) for x in arrays]
    want = [(x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + eps) for x, eps in zip(wide, (1e-5, 0.5, 3.0), strict=True)]
    want += [np.exp(x * number).sum(1) for x, number in zip(wide, (0.5, 0.25, -0.75), strict=True)]
    want += [((x - y) ** 2).sum(1) for x, y in ((wide[0], wide[1]), (wide[1], wide[2]), (wide[2], wide[2]))]
    for f, w in zip(found, want, strict=True):
        np.testing.assert_allclose(f.numpy(), w, rtol=1e-4, atol=1e-5)


def test_attention_of_other_scales_and_masks_is_not_alike() -> None:
    rng = np.random.default_rng(0)
    q, k, v = (torsh.tensor(rng.standard_normal((1, 2, 6, 8)).astype(np.float32)) for _ in range(3))
    attend = nn.functional.scaled_dot_product_attention
    found = [attend(q, k, v), attend(k, q, v), attend(q, k, v, scale=0.1), attend(q, k, v, is_causal=True)]
    realize.realize([x._storage.node for x in found])
    cases = ((q, k, 8 ** -0.5, False), (k, q, 8 ** -0.5, False), (q, k, 0.1, False), (q, k, 8 ** -0.5, True))
    for x, (left, right, scale, causal) in zip(found, cases, strict=True):
        scores = left.numpy() @ right.numpy().swapaxes(2, 3) * scale
        scores = np.where(np.tril(np.ones((6, 6), bool)), scores, -np.inf) if causal else scores
        weights = np.exp(scores - scores.max(3, keepdims=True))
        np.testing.assert_allclose(x.numpy(), weights / weights.sum(3, keepdims=True) @ v.numpy(), rtol=1e-4, atol=1e-5)

"""Products of half types: summed in float32 and rounded once, also with a bias."""
from __future__ import annotations

import numpy as np
import pytest
import torch

import torsh
from torsh.compiler import realize


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
@pytest.mark.parametrize("shape", [(1, 7, 5), (64, 96, 33), (3, 17, 128, 40)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_rounds_once(name: str, shape: tuple[int, ...], bias: bool) -> None:
    *rows, k, n = shape
    rng = np.random.default_rng(0)
    x, w, b = (torch.from_numpy(rng.standard_normal(s)).to(getattr(torch, name)) for s in ((*rows, k), (n, k), (n,)))
    exact = torch.nn.functional.linear(x.double(), w.double(), b.double() if bias else None).to(x.dtype)
    mine = [torsh.tensor(t.float().numpy()).to(getattr(torsh, name)) for t in (x, w, b)]
    found = torsh.nn.functional.linear(mine[0], mine[1], mine[2] if bias else None)
    assert found.dtype is getattr(torsh, name)
    ours, wanted = found.float().numpy(), exact.float().numpy()
    one = 2.0 ** -7 if name == "bfloat16" else 2.0 ** -10
    np.testing.assert_allclose(ours, wanted, rtol=one, atol=one * 0.1)  # at most the next number
    assert (ours == wanted).mean() > 0.98


def test_operands_are_multiplied_as_they_are() -> None:
    """No copies in float32 are made of them: what a plan has for itself is less than one would need."""
    layer = torsh.nn.Linear(512, 512, dtype=torsh.bfloat16)
    x = torsh.ones(8, 512, dtype=torsh.bfloat16)
    with torsh.no_grad():
        layer(x)._storage.address()
    newest = list(realize._plans.values())[-1].plan.program
    assert 0 < newest.arena_bytes < 512 * 512 * 4

"""Numbers of NumPy's where PyTorch takes ints and floats: compiled functions must not ask for Python's own."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import torsh

ZERO, ONE, TWO, HALF = np.int64(0), np.int32(1), np.int64(2), np.float32(0.5)
CALLS = {
    "cat": lambda t: t.cat([t.ones(2), t.ones(2)], ZERO),
    "stack": lambda t: t.stack([t.ones(2), t.zeros(2)], dim=ONE),
    "gather": lambda t: t.gather(t.arange(3.0), ZERO, t.tensor([2, 0])),
    "index_select": lambda t: t.index_select(t.arange(3.0), ZERO, t.tensor([2, 0])),
    "take_along_dim": lambda t: t.take_along_dim(t.arange(3.0), t.tensor([1]), ZERO),
    "roll": lambda t: t.roll(t.arange(3.0), ONE, ZERO),
    "flip": lambda t: t.flip(t.arange(3.0), [ZERO]),
    "rot90": lambda t: t.rot90(t.arange(4.0).reshape(2, 2), ONE),
    "repeat_interleave": lambda t: t.arange(2).repeat_interleave(TWO, ZERO),
    "one_hot": lambda t: t.nn.functional.one_hot(t.tensor([0, 2]), np.int64(4)),
    "bincount": lambda t: t.bincount(t.tensor([0, 1]), minlength=np.int64(5)),
    "softmax": lambda t: t.softmax(t.arange(3.0), ZERO),
    "sum": lambda t: t.ones(2, 3).sum(ONE),
    "prod": lambda t: t.ones(2, 3).prod(ONE),
    "transpose": lambda t: t.ones(2, 3).transpose(ZERO, ONE),
    "unsqueeze": lambda t: t.ones(2).unsqueeze(ONE),
    "squeeze": lambda t: t.ones(2, 1).squeeze(ONE),
    "flatten": lambda t: t.ones(2, 3).flatten(ZERO, ONE),
    "select": lambda t: t.arange(3).select(ZERO, TWO),
    "narrow": lambda t: t.arange(3).narrow(ZERO, ONE, TWO),
    "chunk": lambda t: t.arange(4).chunk(TWO, ZERO)[1],
    "split": lambda t: t.arange(4).split(2, ZERO)[1],
    "unfold": lambda t: t.arange(4).unfold(ZERO, TWO, ONE),
    "eye": lambda t: t.eye(TWO),
    "empty_strided": lambda t: t.empty_strided((TWO,), (ONE,)).shape,
    "rand": lambda t: t.rand(TWO).shape,
    "randint": lambda t: t.randint(ZERO, np.int64(9), (TWO,)),
    "multinomial": lambda t: t.multinomial(t.tensor([0.0, 1.0]), ONE),
    "bernoulli": lambda t: t.ones(3).bernoulli_(np.float32(1)),
    "normal": lambda t: t.normal(HALF, np.float32(0), (2,)),
    "uniform": lambda t: t.zeros(3).uniform_(HALF, HALF),
}


@pytest.mark.parametrize("name", CALLS)
def test_numpy_numbers_are_taken(name: str) -> None:
    def numbers(found: Any) -> Any:
        return found.tolist() if hasattr(found, "tolist") else list(found)
    for library in (torch, torsh):
        library.manual_seed(0)
    assert numbers(CALLS[name](torsh)) == pytest.approx(numbers(CALLS[name](torch)), rel=1e-6) if name == "softmax" \
        else numbers(CALLS[name](torsh)) == numbers(CALLS[name](torch))

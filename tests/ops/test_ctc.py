"""ctc_loss against PyTorch."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import torsh
from tests.ops.oracle import agree, outcome

TARGETS = [[1, 2, 2, 3], [4, 1, 0, 0], [3, 3, 3, 3]]


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("zero_infinity", [False, True])
def test_values_and_gradients(reduction: str, zero_infinity: bool, rng: np.random.Generator) -> None:
    x = torch.tensor(rng.normal(size=(7, 3, 5))).log_softmax(-1)

    def loss(t: Any, x: Any) -> Any:  # the third sample is impossible in 4 steps: equal labels need a blank between them
        return t.nn.functional.ctc_loss(x, t.tensor(TARGETS), t.tensor([7, 6, 4]), t.tensor([4, 2, 3]), 0, reduction, zero_infinity)
    agree(loss, x, rtol=1e-10, atol=1e-10, twice=False)


def test_concatenated_targets_another_blank_and_empty_ones(rng: np.random.Generator) -> None:
    x = torch.tensor(rng.normal(size=(7, 3, 5))).log_softmax(-1)
    agree(lambda t, x: t.nn.functional.ctc_loss(x, t.tensor([1, 2, 2, 0, 1]), (7, 6, 5), (4, 0, 1), blank=4), x, rtol=1e-10, atol=1e-10, twice=False)
    agree(lambda t, x: t.nn.functional.ctc_loss(x, t.tensor([1, 2]), t.tensor(7), t.tensor(2)), x[:, 0], rtol=1e-10, atol=1e-10, twice=False)


def test_the_gradient_of_logits(rng: np.random.Generator) -> None:
    x = torch.tensor(rng.normal(size=(6, 2, 4)))
    agree(lambda t, x: t.nn.functional.ctc_loss(x.log_softmax(2), t.tensor([[1, 3], [2, 2]]), (6, 5), (2, 2), reduction="sum"), x, rtol=1e-10,
          atol=1e-10, twice=False)


@pytest.mark.parametrize("change", [
    {"blank": 9}, {"input_lengths": (9, 2)}, {"input_lengths": (3,)}, {"target_lengths": (3, 3)}, {"reduction": "other"},
])
def test_errors_are_of_pytorchs_type(change: dict[str, Any]) -> None:
    given = {"targets": [[1, 2], [2, 1]], "input_lengths": (4, 4), "target_lengths": (2, 2), **change}

    def call(t: Any) -> Any:
        return t.nn.functional.ctc_loss(t.zeros(4, 2, 3), **{**given, "targets": t.tensor(given["targets"])})
    found = outcome(lambda: call(torsh))
    assert found is outcome(lambda: call(torch))
    assert isinstance(found, type)

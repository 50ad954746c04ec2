"""Sparse gradients of embeddings, and the optimizers that take them, against PyTorch's."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import torsh
from tests.sparse.samples import PAIR, facts

# PyTorch warns once, in whichever test is the first to use the layout.
pytestmark = pytest.mark.filterwarnings("ignore:Sparse (CSR|CSC|BSR|BSC) tensor support is in beta state", "ignore:Sparse invariant checks")


def _table(t: Any, **options: Any) -> Any:
    return t.nn.Embedding.from_pretrained(t.arange(12.0).reshape(6, 2), freeze=False, sparse=True, **options)


@pytest.mark.parametrize("padding", [None, 3])
def test_the_gradient_of_an_embedding_is_sparse(padding: int | None) -> None:
    found = []
    for t in PAIR:
        table = _table(t, padding_idx=padding)
        out = table(t.tensor([[1, 3], [3, 5]]))
        (out * t.arange(8.0).reshape(2, 2, 2)).sum().backward()
        first = table.weight.grad
        rows = [facts(first), first._indices().tolist(), first._values().tolist(), first.is_coalesced()]
        table(t.tensor([1, 0])).sum().backward()
        found.append([*rows, table.weight.grad.to_dense().tolist(), table.weight.grad.layout is t.sparse_coo])
        (again,) = t.autograd.grad(table(t.tensor([2, 2])).sum(), table.weight)
        found[-1].append(again.to_dense().tolist())
    assert found[0] == found[1]


@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_the_gradient_of_a_bag_is_sparse(mode: str) -> None:
    found = []
    for t in PAIR:
        bag = t.nn.EmbeddingBag.from_pretrained(t.arange(12.0).reshape(6, 2), freeze=False, sparse=True, mode=mode)
        bag(t.tensor([1, 3, 3, 5]), t.tensor([0, 3])).sum().backward()
        found.append(bag.weight.grad.to_dense().numpy())
    np.testing.assert_allclose(found[0], found[1], rtol=1e-6)
    with pytest.raises(ValueError, match="max mode"):
        torsh.nn.functional.embedding_bag(torsh.tensor([[1]]), torsh.ones(3, 2), mode="max", sparse=True)
    looked_up = torsh.nn.functional.embedding(torsh.tensor([1]), torsh.ones(3, 2, requires_grad=True), scale_grad_by_freq=True, sparse=True)
    with pytest.raises(RuntimeError, match="scale_grad_by_freq"):
        looked_up.sum().backward()


def test_a_tied_weight_gets_the_sum_of_both_gradients() -> None:
    found = []
    for t in PAIR:
        table = _table(t)
        for order in (0, 1):
            parts = [table(t.tensor([1, 2])).sum(), (table.weight * 2).sum()]
            (parts[order] + parts[1 - order]).backward()
            g = table.weight.grad
            found.append(g.tolist() if g.layout is t.strided else g.to_dense().tolist())
        table.weight.grad = None
        table(t.tensor([1])).sum().backward()
        (table.weight * 2).sum().backward()
        found.append(table.weight.grad.tolist())
    assert found[:3] == found[3:]


@pytest.mark.parametrize(("name", "options"), [("SparseAdam", {"lr": 0.1}), ("SparseAdam", {"lr": 0.1, "maximize": True, "betas": (0.5, 0.9)}),
("SGD", {"lr": 0.3}),
                                               ("SGD", {"lr": 0.3, "maximize": True}), ("Adagrad", {"lr": 0.2, "lr_decay": 0.1})])
def test_steps_are_pytorchs(name: str, options: dict[str, Any]) -> None:
    found = []
    for t in PAIR:
        table = _table(t)
        opt = getattr(t.optim, name)(table.parameters(), **options)
        weights = []
        for rows in ([1, 3, 3], [0], [3, 1, 5]):
            opt.zero_grad()
            (table(t.tensor(rows)).sin() * 2).sum().backward()
            opt.step()
            weights.append(table.weight.detach().clone().numpy())
        found.append(np.stack(weights))
    np.testing.assert_allclose(found[0], found[1], rtol=2e-6, atol=1e-6)


def test_sparse_adam_saves_its_state() -> None:
    found = []
    for t in PAIR:
        table = _table(t)
        opt = t.optim.SparseAdam(table.parameters(), lr=0.1)
        for i in range(4):
            if i == 2:
                saved = opt.state_dict()
                opt = t.optim.SparseAdam(table.parameters(), lr=0.5)
                opt.load_state_dict(saved)
            opt.zero_grad()
            table(t.tensor([i, 0])).pow(2).sum().backward()
            opt.step()
        found.append(table.weight.detach().numpy())
    np.testing.assert_allclose(found[0], found[1], rtol=2e-6, atol=1e-6)


def test_optimizers_refuse_the_other_kind() -> None:
    for t in PAIR:
        table = _table(t)
        table(t.tensor([1])).sum().backward()
        with pytest.raises(RuntimeError, match="does not support sparse gradients"):
            t.optim.Adam(table.parameters()).step()
        p = t.ones(2, requires_grad=True)
        p.sum().backward()
        with pytest.raises(RuntimeError, match="does not support dense gradients"):
            t.optim.SparseAdam([p]).step()
        for wrong in ({"lr": -1}, {"eps": 0.0}, {"betas": (1.0, 0.9)}):
            with pytest.raises(ValueError):
                t.optim.SparseAdam([p], **wrong)

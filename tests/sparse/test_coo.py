"""Sparse tensors by coordinates against PyTorch's: values, layouts, gradients, printing and errors."""
from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch

import torsh
from tests.sparse.samples import PAIR, agree, coo, facts, numbers, places

# PyTorch warns once, in whichever test is the first to use the layout.
pytestmark = pytest.mark.filterwarnings("ignore:Sparse (CSR|CSC|BSR|BSC) tensor support is in beta state", "ignore:Sparse invariant checks")


@pytest.mark.parametrize("f", [
    lambda t, s, d: s.to_dense(), lambda t, s, d: s.coalesce(), lambda t, s, d: s.coalesce().values(), lambda t, s, d: s + s, lambda t, s, d: s - s.t().t() * 3,
    lambda t, s, d: t.add(s, s, alpha=2), lambda t, s, d: s * 2.5, lambda t, s, d: 2 * s, lambda t, s, d: s / 4, lambda t, s, d: s * s.coalesce(),
    lambda t, s, d: d.t() + s, lambda t, s, d: d.t().clone().add_(s, alpha=0.5), lambda t, s, d: s * d.t().detach(), lambda t, s, d: d.t().detach() * s,
    lambda t, s, d: -s, lambda t, s, d: s.coalesce().sin(), lambda t, s, d: t.tanh(s.coalesce()), lambda t, s, d: s.coalesce().expm1(),
    lambda t, s, d: s.coalesce() ** 2,
    lambda t, s, d: s.coalesce().floor(), lambda t, s, d: s.coalesce().relu(), lambda t, s, d: s.coalesce().abs(), lambda t, s, d: s.sgn(),
    lambda t, s, d: s.float(), lambda t, s, d: s.to(t.float32), lambda t, s, d: s.clone(), lambda t, s, d: s.detach(),
    lambda t, s, d: s.sum(), lambda t, s, d: t.sparse.sum(s), lambda t, s, d: t.sparse.sum(s, 0), lambda t, s, d: t.sparse.sum(s, [0, 1]),
    lambda t, s, d: s.t(), lambda t, s, d: s.transpose(0, 1), lambda t, s, d: s.unsqueeze(1),
    lambda t, s, d: s[2], lambda t, s, d: s[2, 3], lambda t, s, d: s.select(1, -2), lambda t, s, d: s.narrow_copy(1, 1, 3),
    lambda t, s, d: s.index_select(1, t.tensor([3, 0, 3])), lambda t, s, d: t.cat([s, s * 2], 1), lambda t, s, d: t.cat([s, s]),
    lambda t, s, d: t.stack([s, s], 1),
    lambda t, s, d: t.zeros_like(s), lambda t, s, d: s.coalesce().norm(), lambda t, s, d: s.any(),
    lambda t, s, d: t.sparse.softmax(s, 1), lambda t, s, d: t.sparse.softmax(s, 0), lambda t, s, d: t.sparse.log_softmax(s.coalesce(), 1),
    lambda t, s, d: d.t().sparse_mask(s.detach().coalesce()), lambda t, s, d: s.sparse_mask(s.detach().coalesce()), lambda t, s, d: s.detach() // 0.3,
])
@pytest.mark.parametrize("repeats", [True, False])
def test_operations_and_gradients_are_pytorchs(f: Any, repeats: bool) -> None:
    agree(f, repeats=repeats)


@pytest.mark.parametrize("f", [
    lambda t, s, d: s.to_dense(), lambda t, s, d: s.coalesce(), lambda t, s, d: s + s, lambda t, s, d: s * 2, lambda t, s, d: t.sparse.sum(s, 0),
    lambda t, s, d: t.sparse.sum(s, 2), lambda t, s, d: t.sparse.sum(s, [0, 1]), lambda t, s, d: s.transpose(0, 1),
    lambda t, s, d: s.permute(1, 0, 2, 3), lambda t, s, d: s.unsqueeze(4), lambda t, s, d: s.select(3, 1), lambda t, s, d: s.select(0, 1),
    lambda t, s, d: s.narrow_copy(2, 1, 1), lambda t, s, d: t.cat([s, s], 2), lambda t, s, d: t.sparse.softmax(s, 1), lambda t, s, d: t.sparse.softmax(s, 3)])
def test_hybrid_tensors_are_pytorchs(f: Any) -> None:
    agree(f, shape=(3, 4), dense=(2, 3))


@pytest.mark.parametrize("f", [
    lambda t, s, d: s @ d, lambda t, s, d: t.mm(s, d), lambda t, s, d: t.sparse.mm(s, d),
    lambda t, s, d: t.sparse.addmm(t.ones(4, 4, dtype=t.float64), s, d, beta=2, alpha=3),
    lambda t, s, d: t.addmm(t.ones(4, 4, dtype=t.float64), s, d, beta=0.5), lambda t, s, d: t.sparse.mm(s, s.t()), lambda t, s, d: t.spmm(s, d),
    lambda t, s, d: t.dsmm(s, d),
    lambda t, s, d: t.mv(s, d.detach()[:, 0]), lambda t, s, d: s @ d.detach()[:, 0], lambda t, s, d: t.hspmm(s.detach(), d.detach()),
    lambda t, s, d: t.hsmm(s.detach(), d.detach()),
    lambda t, s, d: t.smm(s.detach(), d.detach()), lambda t, s, d: s.detach().smm(d.detach()), lambda t, s, d: d.detach() @ s.detach(),
    lambda t, s, d: t.sspaddmm(t.eye(4, dtype=t.float64).to_sparse(), s.detach(), d.detach(), beta=2, alpha=3),
    lambda t, s, d: t.saddmm(t.eye(4, dtype=t.float64).to_sparse(), s.detach(), d.detach()),
])
def test_products_and_gradients_are_pytorchs(f: Any) -> None:
    agree(f)


def test_batched_products_are_pytorchs() -> None:
    agree(lambda t, s, d: t.bmm(s, d.reshape(2, 5, 2)), shape=(2, 3, 5), nnz=9, repeats=False)


def test_second_derivatives_follow() -> None:
    for t in PAIR:
        values = t.tensor([1.5, -2.0], dtype=t.float64, requires_grad=True)
        cubes = t.sparse_coo_tensor([[0, 1], [1, 0]], values * values * values, (2, 2)).to_dense().sum()
        (first,) = t.autograd.grad(cubes, values, create_graph=True)
        (second,) = t.autograd.grad(first.sum(), values)
        assert second.tolist() == [9, -12]


def test_gradients_of_a_sparse_leaf_are_sparse() -> None:
    found = []
    for t in PAIR:
        d = t.tensor(numbers(1, 5, 2))
        s = t.sparse_coo_tensor(t.tensor(places(0, (4, 5), 6)), t.tensor(numbers(2, 6)), (4, 5)).coalesce().requires_grad_()
        assert s.is_leaf
        t.sparse.mm(s, d).sum().backward()
        (again,) = t.autograd.grad(t.sparse.mm(s, d * d).sum(), s)
        found.append((facts(s.grad), s.grad.to_dense().numpy(), facts(again), again.to_dense().numpy()))
    assert found[0][0] == found[1][0]
    assert found[0][2] == found[1][2]
    np.testing.assert_allclose(found[0][1], found[1][1])
    np.testing.assert_allclose(found[0][3], found[1][3])


def test_gradients_flow_through_to_sparse() -> None:
    found = []
    for t in PAIR:
        x = t.tensor(numbers(3, 4, 5) * (numbers(4, 4, 5) > 0)).requires_grad_()
        (t.sparse.mm(x.to_sparse(), t.tensor(numbers(5, 5, 2))) ** 2).sum().backward()
        found.append(x.grad.numpy())
    np.testing.assert_allclose(*found)


def test_parts_and_facts_are_pytorchs() -> None:
    for repeats in (True, False):
        found = []
        for t in PAIR:
            s, _ = coo(t, repeats=repeats, dense=(2,))
            c = s.detach().coalesce()
            found.append([s.is_coalesced(), c.is_coalesced(), s._nnz(), c._nnz(), s.sparse_dim(), s.dense_dim(), c.indices().tolist(), s._indices().tolist(),
                          s.is_sparse, s.is_sparse_csr, s.numel(), len(s), s.dim(), tuple(s.size()), [x.to_dense().tolist() for x in c], s.requires_grad,
                          s.is_leaf, t.ones(2).is_sparse, t.ones(2, 3).sparse_dim(), t.ones(2, 3).dense_dim(), s.is_contiguous(),
                          isinstance(s, t.Tensor), t.is_tensor(s), t.ones(2).to_dense().tolist()])
        assert found[0] == found[1]


def test_printing_is_pytorchs() -> None:
    def shown(t: Any) -> list[str]:
        s = t.sparse_coo_tensor([[0, 1, 1], [2, 0, 2]], [3.0, 4.0, 5.0], (2, 3))
        hybrid = t.sparse_coo_tensor([[0, 1]], t.ones(2, 3, dtype=t.float64))
        csr = t.sparse_csr_tensor([0, 1, 3], [2, 0, 2], t.tensor([3, 4, 5]), (2, 3))
        texts = [s, s.coalesce(), hybrid, t.sparse_coo_tensor((2, 3)), s.clone().requires_grad_(), csr, csr.to_sparse_bsc((1, 3)), csr.double()]
        return [repr(x).replace("torsh", "torch") for x in texts]
    assert shown(torsh) == shown(torch)


@pytest.mark.parametrize("call", [
    lambda t, s, d: s + d, lambda t, s, d: s + 1, lambda t, s, d: s.exp(), lambda t, s, d: t.cos(s), lambda t, s, d: s / s, lambda t, s, d: s.view(20),
    lambda t, s, d: s.reshape(20), lambda t, s, d: s == s, lambda t, s, d: s > 1, lambda t, s, d: s.numpy(), lambda t, s, d: s.tolist(),
    lambda t, s, d: s.max(),
    lambda t, s, d: s.mean(), lambda t, s, d: s.indices(), lambda t, s, d: s.values(), lambda t, s, d: d.indices(), lambda t, s, d: d.values(),
    lambda t, s, d: d.coalesce(), lambda t, s, d: d.crow_indices(), lambda t, s, d: s.ccol_indices(), lambda t, s, d: s.contiguous(),
    lambda t, s, d: s.data_ptr(),
    lambda t, s, d: t.ones_like(s), lambda t, s, d: d.sparse_mask(d), lambda t, s, d: s[0:1], lambda t, s, d: s @ d, lambda t, s, d: t.smm(s, d),
    lambda t, s, d: s.add_(d), lambda t, s, d: d.copy_(s), lambda t, s, d: d.sparse_resize_((2, 2), 2, 0), lambda t, s, d: s.nbytes,
    lambda t, s, d: d.to_sparse(0),
    lambda t, s, d: t.sparse_coo_tensor([[0], [-1]], [1.0]), lambda t, s, d: t.sparse_coo_tensor([0], [1.0], (3,)),
    lambda t, s, d: t.sparse_coo_tensor([[0, 1]], [1.0]),
    lambda t, s, d: t.sparse_coo_tensor([[0]], [1.0], (2, 2)), lambda t, s, d: s.detach().coalesce().sparse_resize_((1, 1), 2, 0), lambda t, s, d: bool(s),
    lambda t, s, d: s.unsqueeze(9), lambda t, s, d: s.select(0, 9), lambda t, s, d: s.to_sparse(1),
])
def test_errors_are_of_pytorchs_types(call: Any) -> None:
    kinds = []
    for t in PAIR:
        s, _ = coo(t)
        with pytest.raises(Exception) as caught:
            call(t, s, t.ones(4, 5, dtype=t.float64))
        kinds.append(caught.type)
    if kinds[0] is not kinds[1]:
        assert {k.__name__ for k in kinds} == {"NotImplementedError", "RuntimeError"}  # the one is the other in Python
        assert kinds == [NotImplementedError, RuntimeError] or kinds == [RuntimeError, NotImplementedError]


def test_places_outside_are_refused() -> None:
    with pytest.raises(RuntimeError, match="size is inconsistent with indices: for dim 1, size is 3 but found index 5"):
        torsh.sparse_coo_tensor([[0], [5]], [1.0], (2, 3))
    with pytest.raises(RuntimeError, match="uncoalesced"):
        torsh.sparse_coo_tensor([[1, 0]], [1.0, 2.0], is_coalesced=True)


def test_in_place_forms_are_pytorchs() -> None:
    found = []
    for t in PAIR:
        s = coo(t)[0].detach().coalesce()
        steps = []
        for change in (lambda x, s: x.mul_(2), lambda x, s: x.add_(s), lambda x, s: x.neg_(), lambda x, s: x.sin_(), lambda x, s: x.copy_(s),
                       lambda x, s: x.div_(4), lambda x, s: x.sub_(s), lambda x, s: x.sparse_resize_((5, 6), 2, 0),
                       lambda x, s: x.sparse_resize_and_clear_((3, 3), 1, 1), lambda x, s: x.resize_as_sparse_(s), lambda x, s: x.zero_()):
            x = s.clone()
            assert change(x, s) is x
            steps.append((facts(x), x.sparse_dim(), x.to_dense().numpy()))
        found.append(steps)
    for ours, theirs in zip(*found, strict=True):
        assert ours[:2] == theirs[:2]
        np.testing.assert_allclose(ours[2], theirs[2], rtol=1e-12)
    leaf = torsh.sparse_coo_tensor([[0]], [1.0], requires_grad=True)
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        leaf.mul_(2)


def test_copies_and_pickles_hold_the_same() -> None:
    s = torsh.sparse_coo_tensor([[0, 1], [1, 0]], [1.0, 2.0], (2, 2), requires_grad=True)
    for made in (copy.deepcopy(s), pickle.loads(pickle.dumps(s)), s.clone().detach()):
        assert made.to_dense().tolist() == [[0, 1], [2, 0]]
        assert made.layout is torsh.sparse_coo
    assert copy.deepcopy(s).requires_grad
    assert copy.deepcopy(s)._values() is not s._values()


def test_dense_tensors_work_as_before() -> None:
    torsh.sparse.softmax  # noqa: B018 - loads it
    a, b = torsh.ones(2, 2, requires_grad=True), torsh.ones(2, 2)
    ((a + b).mm(b).matmul(b).mul(2) - torsh.add(a, b, alpha=2)).sum().backward()
    assert a.grad.tolist() == [[7, 7], [7, 7]]
    assert torsh.cat([a, b]).shape == (4, 2)
    assert torsh.zeros_like(a).tolist() == [[0, 0], [0, 0]]


def test_diagonals_are_pytorchs() -> None:
    for shape in ((3, 3), (2, 4), (5, 3)):
        made = [t.sparse.spdiags(t.arange(9).reshape(3, 3), t.tensor([0, -1, 2]), shape) for t in PAIR]
        assert made[0].to_dense().tolist() == made[1].to_dense().tolist()
        assert facts(made[0]) == facts(made[1])
    with pytest.raises(RuntimeError, match="duplicate"):
        torsh.sparse.spdiags(torsh.ones(2, 2), torsh.tensor([1, 1]), (2, 2))

"""Triangles, diagonals, einsum and its kin, distances and comparisons against PyTorch."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import torsh
from tests.ops.oracle import agree, outcome, same, to_torsh


def _x(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng((seed, *shape)).standard_normal(shape))


@pytest.mark.parametrize("k", [-5, -1, 0, 2, 5])
@pytest.mark.parametrize("shape", [(3, 3), (2, 3, 4), (4, 2), (0, 2)], ids=str)
def test_triangles(shape: tuple[int, ...], k: int) -> None:
    for name in ("tril", "triu"):
        agree(lambda m, t, n=name: getattr(m, n)(t, k) ** 2, _x(*shape), rtol=1e-12)
        agree(lambda m, t, n=name: getattr(t.mT, n)(k), _x(*shape) > 0)
        same(getattr(torsh, name + "_indices")(*shape[-2:], k), getattr(torch, name + "_indices")(*shape[-2:], k))


@pytest.mark.parametrize("k", [-2, 0, 1])
def test_diagonals(k: int) -> None:
    agree(lambda m, t: m.diag(t, k) ** 2, _x(3), rtol=1e-12)
    agree(lambda m, t: m.diag(t, k) ** 2, _x(3, 4), rtol=1e-12)
    agree(lambda m, t: m.diag_embed(t, k, 0, -1) ** 2, _x(2, 3), rtol=1e-12)
    agree(lambda m, t: m.diag_embed(t.t(), k) ** 2, _x(2, 3), rtol=1e-12)
    agree(lambda m, t: m.diagflat(t, k) ** 2, _x(2, 2), rtol=1e-12)
    agree(lambda m, t: m.trace(t) ** 2, _x(3, 4), rtol=1e-12)
    agree(lambda m, t, s: m.diagonal_scatter(t, s[:t.diagonal(k).shape[0]], k) ** 2, _x(3, 4), _x(4), rtol=1e-12)


EQUATIONS = [("ij,jk->ik", (2, 3), (3, 4)), ("ij,jk", (2, 3), (3, 4)), ("bij,bjk->bik", (2, 2, 3), (2, 3, 4)), ("i,j->ij", (2,), (3,)),
             ("ij->ji", (2, 3)), ("ii->i", (3, 3)), ("ii", (3, 3)), ("ij->", (2, 3)), ("ijk->kj", (2, 3, 4)), ("i,i", (3,), (3,)),
             ("...ij,...jk->...ik", (5, 2, 3), (3, 4)), ("...i->...", (2, 3)), ("b...,b...->b...", (2, 3, 1), (2, 1, 4)), ("ij,ij->ij", (2, 3), (2, 3)),
             ("bhqd,bhkd->bhqk", (2, 2, 3, 4), (2, 2, 5, 4)), ("ij,jk,kl->il", (2, 3), (3, 4), (4, 2)), ("ij,jk,ki->", (2, 3), (3, 2), (2, 2)),
             ("a,b,c->cab", (2,), (3,), (4,)), ("ij,kl->ijkl", (2, 3), (2, 2)), ("iij,jk->ik", (2, 2, 3), (3, 2)), ("ij,j->i", (2, 1), (3,)),
             ("i...,j->j...i", (2, 3), (4,)), (" i j , j k -> i k ", (2, 3), (3, 4)), ("ij,k->i", (2, 3), (4,)), ("Ab,bC", (2, 3), (3, 2))]


@pytest.mark.parametrize("case", EQUATIONS, ids=lambda c: c[0])
def test_einsum(case: tuple[Any, ...]) -> None:
    equation, *shapes = case
    agree(lambda m, *ts: m.einsum(equation, *ts) ** 2, *[_x(*s, seed=i) for i, s in enumerate(shapes)], rtol=1e-10, atol=1e-12)


def test_einsum_with_lists_of_labels() -> None:
    agree(lambda m, a, b: m.einsum(a, [0, 1], b, [1, 27], [27, 0]) ** 2, _x(2, 3), _x(3, 4), rtol=1e-10)
    agree(lambda m, a, b: m.einsum("ij,jk->ik", [a, b]), _x(2, 3), _x(3, 4), rtol=1e-10)


@given(st.integers(0, 3))
def test_tensordot(dims: int) -> None:
    agree(lambda m, a, b: m.tensordot(a, b, dims) ** 2, _x(2, 3, 4), _x(*(2, 3, 4)[3 - dims:], 2), rtol=1e-10)


def test_products() -> None:
    agree(lambda m, a, b: m.tensordot(a, b, ([1, 0], [0, 2])) ** 2, _x(2, 3, 4), _x(3, 5, 2), rtol=1e-10)
    for shapes in (((2, 3), (3, 2)), ((3,), (2, 2)), ((2, 2, 2), (3,)), ((), (2,))):
        agree(lambda m, a, b: m.kron(a, b) ** 2, *[_x(*s) for s in shapes], rtol=1e-12)
    agree(lambda m, a, b: m.cross(a, b, -1) ** 2, _x(2, 3), _x(2, 3, seed=1), rtol=1e-12, atol=1e-12)
    agree(lambda m, a, b: m.cross(a, b, 0) ** 2, _x(3, 2), _x(3, 1, seed=1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("p", [0, 1, 1.5, 2, 3, float("inf")])
def test_cdist(p: float) -> None:
    agree(lambda m, a, b: m.cdist(a, b, p), _x(2, 4, 3), _x(1, 5, 3), rtol=1e-7, atol=1e-9, twice=False)
    same(torsh.cdist(torsh.zeros(2, 0), torsh.zeros(3, 0), p), torch.cdist(torch.zeros(2, 0), torch.zeros(3, 0), p))


def test_cdist_second_derivative_by_differences() -> None:
    a, b, v = _x(2, 3).numpy(), _x(2, 3, seed=1).numpy(), _x(2, 3, seed=2).numpy()

    def slope(at: np.ndarray) -> Any:
        t = torsh.tensor(at, requires_grad=True)
        g, = torsh.autograd.grad(torsh.cdist(t, torsh.tensor(b)).sum(), t, create_graph=True)
        return t, (g * torsh.tensor(v)).sum()
    t, s = slope(a)
    wanted = np.zeros((2, 3))
    for at in np.ndindex(2, 3):
        e = np.zeros((2, 3))
        e[at] = 1e-6
        wanted[at] = (slope(a + e)[1].item() - slope(a - e)[1].item()) / 2e-6
    np.testing.assert_allclose(torsh.autograd.grad(s, t)[0].numpy(), wanted, 1e-5, 1e-8)


def test_points_at_the_same_place_have_no_slope() -> None:
    x = torsh.ones(2, 3, requires_grad=True)
    torsh.cdist(x, x).sum().backward()
    assert x.grad.tolist() == [[0, 0, 0], [0, 0, 0]]


NEAR = [1.0, 1.0 + 1e-7, 1.1, float("nan"), float("inf"), -float("inf"), 0.0, 1e-9]


@given(st.lists(st.tuples(st.sampled_from(NEAR), st.sampled_from(NEAR)), min_size=1, max_size=6), st.booleans(), st.sampled_from([0.0, 1e-5, 0.2]))
def test_comparison(pairs: list[tuple[float, float]], equal_nan: bool, rtol: float) -> None:
    a, b = (torch.tensor([p[i] for p in pairs], dtype=torch.float64) for i in (0, 1))
    same(torsh.isclose(to_torsh(a), to_torsh(b), rtol=rtol, equal_nan=equal_nan), torch.isclose(a, b, rtol=rtol, equal_nan=equal_nan))
    assert torsh.allclose(to_torsh(a), to_torsh(b), rtol=rtol, equal_nan=equal_nan) is torch.allclose(a, b, rtol=rtol, equal_nan=equal_nan)
    assert torsh.equal(to_torsh(a), to_torsh(b)) is torch.equal(a, b)


def test_comparison_of_integers_and_shapes() -> None:
    a, b = torch.tensor([1, 100000]), torch.tensor([1, 100001])
    same(torsh.isclose(to_torsh(a), to_torsh(b)), torch.isclose(a, b))
    assert not torsh.equal(torsh.zeros(2), torsh.zeros(1, 2))
    assert torsh.equal(torsh.zeros(0), torsh.zeros(0))


BAD = {
    "tril": lambda m: m.tril(m.zeros(2)), "diag": lambda m: m.diag(m.zeros(1, 1, 1)), "diag_embed": lambda m: m.diag_embed(m.zeros(2), 0, 1, 1),
    "trace": lambda m: m.trace(m.zeros(2)), "einsum sizes": lambda m: m.einsum("ij,jk", m.zeros(2, 3), m.zeros(2, 3)),
    "einsum count": lambda m: m.einsum("ij", m.zeros(2, 3), m.zeros(2, 3)), "einsum rank": lambda m: m.einsum("ij", m.zeros(2)),
    "einsum letter": lambda m: m.einsum("i1", m.zeros(2, 2)), "einsum output": lambda m: m.einsum("i->j", m.zeros(2)),
    "einsum twice": lambda m: m.einsum("ij->ii", m.zeros(2, 2)), "tensordot": lambda m: m.tensordot(m.zeros(2, 3), m.zeros(2, 3), 1),
    "cross": lambda m: m.cross(m.zeros(2), m.zeros(2), 0), "cdist": lambda m: m.cdist(m.zeros(2, 2), m.zeros(2, 3)),
    "isclose": lambda m: m.isclose(m.zeros(2), m.zeros(2).double()),
}


@pytest.mark.parametrize("name", BAD)
def test_errors_have_pytorchs_type(name: str) -> None:
    theirs, ours = outcome(lambda: BAD[name](torch)), outcome(lambda: BAD[name](torsh))
    assert isinstance(theirs, type)
    assert ours is theirs

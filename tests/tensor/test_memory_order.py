"""Results lie in memory as PyTorch's do: pointwise results and copies in the order of their operands."""
from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import torsh

SHAPE = (2, 3, 4)
PERMUTATIONS = list(itertools.permutations(range(3)))


def pair(rng: np.random.Generator, order: tuple[int, ...]) -> tuple[torch.Tensor, torsh.Tensor]:
    """The same values of SHAPE under both, lying in memory in an order of dimensions."""
    array = rng.standard_normal(tuple(SHAPE[d] for d in order), dtype=np.float32)
    back = [order.index(d) for d in range(3)]
    return torch.from_numpy(array.copy()).permute(back), torsh.from_numpy(array.copy()).permute(back)


@pytest.mark.parametrize("a", PERMUTATIONS)
@pytest.mark.parametrize("b", PERMUTATIONS)
def test_two_operands(rng: np.random.Generator, a: tuple[int, ...], b: tuple[int, ...]) -> None:
    (x, u), (y, v) = pair(rng, a), pair(rng, b)
    wanted, found = x * y + 1, u * v + 1
    assert found.stride() == wanted.stride()
    assert found.is_contiguous() == wanted.is_contiguous()
    np.testing.assert_array_equal(found.numpy(), wanted.numpy())


@pytest.mark.parametrize("order", PERMUTATIONS)
@pytest.mark.parametrize("name", ["exp", "neg", "clone", "double", "abs", "square"])
def test_one_operand(rng: np.random.Generator, order: tuple[int, ...], name: str) -> None:
    x, u = pair(rng, order)
    wanted, found = getattr(x, name)(), getattr(u, name)()
    assert found.stride() == wanted.stride()
    np.testing.assert_allclose(found.numpy(), wanted.numpy(), rtol=1e-6)


@given(st.data())
def test_broadcast_operands(data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(3)))
    keep = data.draw(st.tuples(st.booleans(), st.booleans(), st.booleans()))
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    x, u = pair(rng, tuple(order))
    small = rng.standard_normal(tuple(n if k else 1 for n, k in zip(SHAPE, keep, strict=True)), dtype=np.float32)
    flip = data.draw(st.booleans())
    wanted = x - torch.from_numpy(small) if flip else torch.from_numpy(small) - x
    found = u - torsh.from_numpy(small) if flip else torsh.from_numpy(small) - u
    assert found.stride() == wanted.stride()
    np.testing.assert_array_equal(found.numpy(), wanted.numpy())


def test_gradients_through_results_in_another_order(rng: np.random.Generator) -> None:
    (x, u), (y, v) = pair(rng, (2, 0, 1)), pair(rng, (0, 1, 2))
    x, u = x.detach().requires_grad_(), u.detach().requires_grad_()
    ((x * y).exp() * x).sum().backward()
    ((u * v).exp() * u).sum().backward()
    np.testing.assert_allclose(u.grad.numpy(), x.grad.numpy(), rtol=1e-5)


def test_a_view_of_a_result_is_refused_where_pytorch_refuses_it(rng: np.random.Generator) -> None:
    x, u = pair(rng, (2, 0, 1))
    with pytest.raises(RuntimeError):
        (x + 1).view(-1)
    with pytest.raises(RuntimeError):
        (u + 1).view(-1)

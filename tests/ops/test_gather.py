"""Gathers, scatters and masks against PyTorch: values, errors, first and second derivatives."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import torsh
from tests.ops.oracle import agree, outcome, same, to_torsh
from torsh.ops.gather import embedding_rows, one_hot

DTYPES = [torch.float64, torch.float32, torch.float16, torch.int64, torch.int32, torch.uint8, torch.bool, torch.complex64]


def _values(rng: np.random.Generator, shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.from_numpy(rng.integers(-4, 5, shape) if dtype is not torch.float64 else rng.standard_normal(shape)).to(dtype)


@st.composite
def boxes(draw: st.DrawFn) -> tuple[torch.Tensor, int, torch.Tensor, torch.Tensor]:
    """(input, dim, index, src) for gather and scatter; the index lies inside both, and may repeat places."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    d = draw(st.integers(0, len(shape) - 1))
    index_shape = [draw(st.integers(0 if i == d else 1, 5 if i == d else n)) for i, n in enumerate(shape)]
    src_shape = [n + draw(st.integers(0, 1)) for n in index_shape]
    x = torch.from_numpy(rng.standard_normal(shape)).round(decimals=1)
    if draw(st.booleans()):
        x = torch.from_numpy(rng.standard_normal(shape[::-1])).permute(list(range(len(shape)))[::-1])
    return (x, d - len(shape) if draw(st.booleans()) else d, torch.from_numpy(rng.integers(0, shape[d], index_shape)),
            torch.from_numpy(rng.standard_normal(src_shape)).round(decimals=1))


@given(boxes())
def test_gather(box: Any) -> None:
    x, d, index, _ = box
    agree(lambda m, t: m.gather(t, d, _same(m, index)) ** 2, x, rtol=1e-12)


def _same(m: Any, t: torch.Tensor) -> Any:
    return t if m is torch else to_torsh(t)


@given(boxes())
def test_scatter_add(box: Any) -> None:
    x, d, index, src = box
    agree(lambda m, t, s: m.scatter_add(t, d, _same(m, index), s), x, src, rtol=1e-12, grad=False)
    agree(lambda m, t, s: m.scatter_add(t, d, _same(m, index), s) ** 2, x, _fitting(src, index), rtol=1e-12)


def _fitting(src: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """The part of src that is used: PyTorch has no derivative by a larger one."""
    return src[tuple(slice(n) for n in index.shape)].clone()


@given(boxes())
def test_scatter(box: Any) -> None:
    x, d, index, src = box
    for j in range(index.shape[d]):  # one place at a time along dim: repeated places have no order in PyTorch
        part, s = index.narrow(d, j, 1), _fitting(src, index).narrow(d, j, 1)
        agree(lambda m, t, v, part=part: m.scatter(t, d, _same(m, part), v) ** 2, x, s, rtol=1e-12)
        agree(lambda m, t, part=part: m.scatter(t, d, _same(m, part), 2.5) ** 2, x, rtol=1e-12)


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("reduce", ["sum", "prod", "mean", "amax", "amin"])
@given(box=boxes())
def test_scatter_reduce(reduce: str, include_self: bool, box: Any) -> None:
    x, d, index, src = box
    x = x + 0.05  # never equal to src: PyTorch shares an extremum's gradient with an equal x even where x is left out
    agree(lambda m, t, s: m.scatter_reduce(t, d, _same(m, index), s, reduce, include_self=include_self), x, _fitting(src, index), rtol=1e-12,
          atol=1e-12, twice=False)


def test_scatter_reduce_of_a_product_with_zeros() -> None:
    for zeros in ([0], [0, 1], [0, 1, 2]):
        src = torch.tensor([2.0, 3.0, 4.0, 5.0], dtype=torch.float64)
        src[zeros] = 0
        agree(lambda m, t, s: m.scatter_reduce(t, 0, m.tensor([0, 0, 0, 1]), s, "prod"), torch.tensor([1.5, 2.0], dtype=torch.float64), src, rtol=1e-12,
              twice=False)


@pytest.mark.filterwarnings("ignore:The reduce argument")
@pytest.mark.parametrize("reduce", ["add", "multiply"])
def test_scatter_with_reduction(reduce: str) -> None:
    x, s, index = torch.arange(4.0), torch.tensor([2.0, 3.0, 4.0]), torch.tensor([1, 1, 3])
    same(to_torsh(x).scatter(0, to_torsh(index), to_torsh(s), reduce=reduce), x.scatter(0, index, s, reduce=reduce))
    same(to_torsh(x).scatter_(0, to_torsh(index), 3.0, reduce=reduce), x.scatter_(0, index, 3.0, reduce=reduce))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dtypes(dtype: torch.dtype, rng: np.random.Generator) -> None:
    x, s, index = _values(rng, (4, 3), dtype), _values(rng, (2, 3), dtype), torch.tensor([[3, 1, 0], [0, 0, 2]])
    vector = torch.tensor([3, 1])
    for f in (lambda m, a, b: m.gather(a, 0, _same(m, index)), lambda m, a, b: m.index_select(a, 1, _same(m, vector - 1)),
              lambda m, a, b: m.scatter(a, 0, _same(m, index), b), lambda m, a, b: m.index_copy(a, 0, _same(m, vector), b),
              lambda m, a, b: m.take(a, _same(m, index)), lambda m, a, b: m.index_add(a, 0, _same(m, vector), b),
              lambda m, a, b: m.masked_fill(a, a == b[0], 1), lambda m, a, b: m.masked_select(a, a == b[0]),
              lambda m, a, b: m.scatter_add(a, 0, _same(m, index), b)):
        same(f(torsh, to_torsh(x), to_torsh(s)), f(torch, x, s))


@pytest.mark.filterwarnings("ignore:index_reduce")
@pytest.mark.parametrize("index", [torch.tensor([2, 0, 2]), torch.tensor([1], dtype=torch.int32), torch.tensor(1), torch.zeros(0, dtype=torch.int64)], ids=str)
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_slices_of_a_dimension(dim: int, index: torch.Tensor, rng: np.random.Generator) -> None:
    x = _values(rng, (3, 3, 3))
    agree(lambda m, t: m.index_select(t, dim, _same(m, index)) ** 2, x, rtol=1e-12)
    agree(lambda m, t: m.index_select(t.transpose(0, 2)[:, 1:], 1 if dim == 0 else dim, _same(m, index % 2)) ** 2, x, rtol=1e-12)
    if index.dtype is torch.int64 and index.ndim:
        shape = list(x.shape)
        shape[dim] = len(index)
        s = _values(rng, tuple(shape))
        agree(lambda m, t, v: m.index_add(t, dim, _same(m, index), v, alpha=2) ** 2, x, s, rtol=1e-12)
        once = index.unique()
        agree(lambda m, t, v: m.index_copy(t, dim, _same(m, once), v) ** 2, x, s.narrow(dim, 0, len(once)), rtol=1e-12)
        agree(lambda m, t: m.index_fill(t, dim, _same(m, index), 2.0) ** 2, x, rtol=1e-12)
        for reduce in ("prod", "mean", "amax", "amin"):
            for include in (True, False):
                agree(lambda m, t, v, r=reduce, i=include: m.index_reduce(t, dim, _same(m, index), v, r, include_self=i), x, s, rtol=1e-12, grad=False)


def test_take_and_take_along_dim(rng: np.random.Generator) -> None:
    x = _values(rng, (3, 4))
    agree(lambda m, t: m.take(t.t(), m.tensor([[0, -1], [5, 5]])) ** 2, x, rtol=1e-12)
    agree(lambda m, t: m.take_along_dim(t, m.tensor([[1], [0], [3]]), 1) ** 2, x, rtol=1e-12)
    agree(lambda m, t: m.take_along_dim(t, m.tensor([[1, 0]]), 1) ** 2, x, rtol=1e-12)
    agree(lambda m, t: m.take_along_dim(t, m.tensor([7, 1])) ** 2, x, rtol=1e-12)


def test_embedding_rows(rng: np.random.Generator) -> None:
    w, index = _values(rng, (5, 3)), torch.tensor([[1, 4, 1], [0, 0, 2]])
    agree(lambda m, t: (torch.nn.functional.embedding(index, t) if m is torch else embedding_rows(t, to_torsh(index))) ** 2, w, rtol=1e-12)
    with pytest.raises(IndexError, match="index out of range in self"):
        embedding_rows(torsh.zeros(3, 2), torsh.tensor([3]))


@given(st.data())
def test_masks(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    shape = tuple(data.draw(st.lists(st.integers(0, 3), max_size=3)))
    mask_shape = tuple(1 if data.draw(st.booleans()) else n for n in shape)
    x, mask = torch.from_numpy(rng.standard_normal(shape)), torch.from_numpy(np.asarray(rng.integers(0, 2, mask_shape), bool))
    source = torch.from_numpy(rng.standard_normal(x.numel() + 1))
    agree(lambda m, t: m.masked_fill(t, _same(m, mask), -1.0) ** 2, x)
    agree(lambda m, t: m.masked_select(t, _same(m, mask)) ** 2, x)
    agree(lambda m, t, s: m.masked_scatter(t, _same(m, mask), s) ** 2, x, source, rtol=1e-12)
    value = torch.tensor(2.5, dtype=torch.float64)
    agree(lambda m, t, v: m.masked_fill(t, _same(m, mask), v) ** 2, x, value, rtol=1e-12)
    for as_tuple in (False, True):
        same(torsh.nonzero(to_torsh(mask), as_tuple=as_tuple), torch.nonzero(mask, as_tuple=as_tuple))
    same(torsh.argwhere(to_torsh(mask)), torch.argwhere(mask))


def test_counts() -> None:
    x = torch.tensor([1, 4, 1, 0])
    weights = torch.tensor([0.5, 1, 2, 4])
    for options in ({}, {"minlength": 7}, {"weights": weights}, {"weights": weights.half()}):
        ours = {k: to_torsh(v) if isinstance(v, torch.Tensor) else v for k, v in options.items()}
        same(torsh.bincount(to_torsh(x), **ours), torch.bincount(x, **options))
    same(one_hot(to_torsh(x)), torch.nn.functional.one_hot(x))
    same(one_hot(to_torsh(x.reshape(2, 2)), 6), torch.nn.functional.one_hot(x.reshape(2, 2), 6))
    for bad in (lambda: one_hot(torsh.tensor([-1])), lambda: one_hot(torsh.tensor([3]), 3), lambda: one_hot(torsh.tensor([1.0])),
                lambda: torsh.bincount(torsh.tensor([-1]))):
        with pytest.raises(RuntimeError):
            bad()


def test_in_place_forms_write_and_record() -> None:
    def f(m: Any, x: Any, s: Any) -> Any:
        y = x * 2
        y.index_add_(0, m.tensor([0, 0]), s)
        y[1:].scatter_(1, m.tensor([[1]]), s[:1, :1])
        y.masked_fill_(m.tensor([[True, False], [False, False], [False, True]]), 3.0)
        y.index_fill_(1, m.tensor([0]), 2.0)
        return y * y
    agree(f, torch.arange(6.0, dtype=torch.float64).reshape(3, 2), torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64), rtol=1e-12)


BAD = {
    "gather rank": lambda m: m.gather(m.zeros(2, 2), 0, m.tensor([0])),
    "gather range": lambda m: m.gather(m.zeros(2, 2), 0, m.tensor([[2]])),
    "gather negative": lambda m: m.gather(m.zeros(2, 2), 0, m.tensor([[-1]])),
    "gather size": lambda m: m.gather(m.zeros(2, 2), 0, m.zeros(1, 3).long()),
    "gather dtype": lambda m: m.gather(m.zeros(2, 2), 0, m.zeros(1, 1)),
    "gather dim": lambda m: m.gather(m.zeros(2, 2), 2, m.zeros(1, 1).long()),
    "index_select range": lambda m: m.index_select(m.zeros(2, 2), 0, m.tensor([2])),
    "index_select rank": lambda m: m.index_select(m.zeros(2, 2), 0, m.tensor([[1]])),
    "index_select dtype": lambda m: m.index_select(m.zeros(2, 2), 0, m.tensor([1.0])),
    "scatter dtype": lambda m: m.zeros(2, 2).scatter(0, m.tensor([[0]]), m.ones(1, 1).double()),
    "scatter range": lambda m: m.zeros(2, 2).scatter(0, m.tensor([[2]]), m.ones(1, 1)),
    "scatter size": lambda m: m.zeros(2, 2).scatter(0, m.tensor([[0, 1]]), m.ones(1, 1)),
    "index_add range": lambda m: m.zeros(2).index_add(0, m.tensor([-1]), m.ones(1)),
    "index_add size": lambda m: m.zeros(2).index_add(0, m.tensor([1]), m.ones(2)),
    "index_fill range": lambda m: m.zeros(2).index_fill(0, m.tensor([2]), 1.0),
    "take range": lambda m: m.take(m.zeros(2), m.tensor([2])),
    "mask dtype": lambda m: m.zeros(2).masked_fill(m.zeros(2), 1.0),
    "mask value": lambda m: m.zeros(2).masked_fill(m.zeros(2).bool(), m.zeros(2)),
    "masked_scatter short": lambda m: m.zeros(2).masked_scatter(m.ones(2).bool(), m.zeros(1)),
    "reduce name": lambda m: m.zeros(2).scatter_reduce(0, m.tensor([0]), m.zeros(1), "most"),
}


@pytest.mark.parametrize("name", BAD)
def test_errors_have_pytorchs_type(name: str) -> None:
    theirs, ours = outcome(lambda: BAD[name](torch)), outcome(lambda: BAD[name](torsh))
    assert isinstance(theirs, type)
    assert ours is theirs

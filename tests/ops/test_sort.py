"""Order against PyTorch: positions (stable), values, NaN, ties, derivatives; distinct elements and searches."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import torsh
from tests.ops.oracle import agree, outcome, same, to_torsh

DTYPES = [torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool]


@st.composite
def ties(draw: st.DrawFn) -> torch.Tensor:
    """Small integers as floats, so that many are equal; now and then a NaN."""
    shape = draw(st.lists(st.integers(1, 5), max_size=3))
    values = draw(st.lists(st.sampled_from([-1.0, 0.0, 1.0, 2.0, 3.0] + [float("nan")] * draw(st.integers(0, 1))), min_size=int(np.prod(shape)),
                           max_size=int(np.prod(shape))))
    return torch.tensor(values, dtype=torch.float64).reshape(shape)


@given(ties(), st.booleans(), st.data())
def test_sort_is_stable(x: torch.Tensor, descending: bool, data: st.DataObject) -> None:
    d = data.draw(st.integers(-max(x.ndim, 1), max(x.ndim, 1) - 1))
    same(tuple(torsh.sort(to_torsh(x), dim=d, descending=descending)), tuple(torch.sort(x, dim=d, descending=descending, stable=True)))
    same(torsh.argsort(to_torsh(x), d, descending), torch.argsort(x, dim=d, descending=descending, stable=True))


@given(ties(), st.booleans(), st.data())
def test_picked_values_and_their_places(x: torch.Tensor, largest: bool, data: st.DataObject) -> None:
    d = data.draw(st.integers(-max(x.ndim, 1), max(x.ndim, 1) - 1))
    size = x.shape[d] if x.ndim else 1
    k = data.draw(st.integers(1, size))
    ours = to_torsh(x)
    for found, wanted in ((torsh.topk(ours, k, d, largest), torch.topk(x, k, d, largest)),
                          (torsh.kthvalue(ours, k, d, True), torch.kthvalue(x, k, d, True)),
                          (torsh.median(ours, d, True), torch.median(x, d, True)), (torsh.nanmedian(ours, d, True), torch.nanmedian(x, d, True))):
        same(found.values, wanted.values)  # PyTorch does not say which of equal elements it names
        if x.ndim:
            same(torch.from_numpy(x.numpy()).gather(d, torch.from_numpy(found.indices.numpy())), wanted.values)
    same(torsh.median(ours), torch.median(x))
    same(torsh.nanmedian(ours), torch.nanmedian(x))
    if not bool(x.isnan().any()):
        same(tuple(torsh.mode(ours, d)), tuple(torch.mode(x, d)))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dtypes(dtype: torch.dtype, rng: np.random.Generator) -> None:
    x = torch.from_numpy(rng.permutation(20) % 13).to(dtype).reshape(4, 5)
    ours = to_torsh(x.float()).to(getattr(torsh, repr(dtype).split(".")[1]))
    same(torsh.sort(ours, 0).indices, torch.sort(x, dim=0, stable=True).indices)
    if dtype is not torch.bool:
        same(torsh.topk(ours, 3).values.float(), torch.topk(x, 3).values.float())
    same(torsh.unique(ours).float(), torch.unique(x).float())


def test_derivatives(rng: np.random.Generator) -> None:
    x = torch.from_numpy(rng.permutation(24) / 7.0).reshape(2, 4, 3)
    for f in (lambda m, t: m.sort(t, 1).values, lambda m, t: m.topk(t, 2, 0).values, lambda m, t: m.kthvalue(t, 2, 1).values, lambda m, t: m.msort(t),
              lambda m, t: m.median(t, 2).values, lambda m, t: m.median(t), lambda m, t: m.mode(t, 1).values):
        agree(lambda m, t, f=f: f(m, t) ** 3, x, rtol=1e-12)
    agree(lambda m, t: m.median(t), torch.tensor([1.0, 2.0, 2.0, 2.0, 5.0], dtype=torch.float64), rtol=1e-12)


def test_topk_of_a_long_row(rng: np.random.Generator) -> None:
    x = torch.from_numpy(rng.integers(0, 300, (3, 1000)).astype(np.float32))
    for largest in (True, False):
        found = torsh.topk(to_torsh(x), 20, largest=largest)
        same(found.values, torch.topk(x, 20, largest=largest).values)
        same(to_torsh(x).gather(1, found.indices), torch.topk(x, 20, largest=largest).values)


@pytest.mark.parametrize("options", [{}, {"return_inverse": True}, {"return_counts": True}, {"return_inverse": True, "return_counts": True}], ids=str)
@given(x=ties(), data=st.data())
def test_unique(options: dict[str, bool], x: torch.Tensor, data: st.DataObject) -> None:
    same(torsh.unique(to_torsh(x), **options), torch.unique(x, **options))
    same(torsh.unique_consecutive(to_torsh(x), **options), torch.unique_consecutive(x, **options))
    if x.ndim and not bool(x.isnan().any()):
        d = data.draw(st.integers(0, x.ndim - 1))
        same(torsh.unique(to_torsh(x), dim=d, **options), torch.unique(x, dim=d, **options))
        same(torsh.unique_consecutive(to_torsh(x), dim=d, **options), torch.unique_consecutive(x, dim=d, **options))


@pytest.mark.parametrize("right", [False, True])
def test_search(right: bool, rng: np.random.Generator) -> None:
    rows = torch.from_numpy(np.sort(rng.integers(0, 9, (2, 5)))).double()
    values = torch.from_numpy(rng.integers(0, 9, (2, 4))).double()
    for args in ((rows, values), (rows[0], values), (rows[0], torch.tensor(3.0, dtype=torch.float64))):
        ours = tuple(to_torsh(a) for a in args)
        same(torsh.searchsorted(*ours, right=right), torch.searchsorted(*(a.contiguous() for a in args), right=right))
    same(torsh.searchsorted(to_torsh(rows), to_torsh(values), out_int32=True), torch.searchsorted(rows, values, out_int32=True))
    same(torsh.bucketize(to_torsh(values), to_torsh(rows[0]), right=right), torch.bucketize(values, rows[0].contiguous(), right=right))
    shuffled, order = rows[:, [3, 0, 4, 1, 2]], torch.argsort(rows[:, [3, 0, 4, 1, 2]], dim=1, stable=True)
    same(torsh.searchsorted(to_torsh(shuffled), to_torsh(values), sorter=to_torsh(order)), torch.searchsorted(shuffled.contiguous(), values, sorter=order))


BAD: dict[str, Any] = {
    "sort dim": lambda m: m.sort(m.zeros(2), 1), "topk range": lambda m: m.topk(m.zeros(2), 3), "kthvalue range": lambda m: m.kthvalue(m.zeros(2), 3),
    "kthvalue zero": lambda m: m.kthvalue(m.zeros(2), 0), "median empty": lambda m: m.median(m.zeros(0, 2), 0),
    "sides": lambda m: m.searchsorted(m.zeros(2), m.zeros(1), side="left", right=True), "rows": lambda m: m.searchsorted(m.zeros(2, 2), m.zeros(3, 1)),
    "boundaries": lambda m: m.bucketize(m.zeros(2), m.zeros(2, 2)),
}


@pytest.mark.parametrize("name", BAD)
def test_errors_have_pytorchs_type(name: str) -> None:
    theirs, ours = outcome(lambda: BAD[name](torch)), outcome(lambda: BAD[name](torsh))
    assert isinstance(theirs, type)
    assert ours is theirs

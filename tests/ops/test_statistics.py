"""Quantiles, covariances, histograms, integrals: properties that the operator database does not try."""
from __future__ import annotations

import numpy as np
import pytest
import torch

import torsh
from tests.ops.oracle import agree, same, to_torsh


@pytest.mark.parametrize("interpolation", ["linear", "lower", "higher", "midpoint", "nearest"])
@pytest.mark.parametrize("name", ["quantile", "nanquantile"])
def test_quantiles_with_nan_rows(name: str, interpolation: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 7)
    x[1, 3] = float("nan")
    x[2] = float("nan")
    q = torch.tensor([0.0, 0.3, 0.5, 1.0])
    same(getattr(torsh, name)(to_torsh(x), to_torsh(q), 1, interpolation=interpolation), getattr(torch, name)(x, q, 1, interpolation=interpolation),
         rtol=1e-6)


@pytest.mark.parametrize("f", [
    lambda m, x: m.quantile(x, 0.4, 0), lambda m, x: m.cov(x), lambda m, x: m.corrcoef(x), lambda m, x: m.trapezoid(x, dx=0.5),
    lambda m, x: m.cumulative_trapezoid(x, x.detach().exp(), dim=0), lambda m, x: m.gradient(x, spacing=0.5, edge_order=2)[1],
    lambda m, x: m.renorm(x, 2, 0, 1.0), lambda m, x: m.nansum(x * x, 1), lambda m, x: m.nanmean(x * x, 0), lambda m, x: m.dist(x, x * 2, 3),
    lambda m, x: m.put(x, m.tensor([0, -1]), x[0, :2] * 3), lambda m, x: m.combinations(x[0], 2, True),
])
def test_values_and_derivatives(f: object) -> None:
    torch.manual_seed(0)
    agree(f, torch.randn(4, 5, dtype=torch.float64), rtol=1e-9, twice=False)  # type: ignore[arg-type]


def test_uneven_gradient_is_exact_for_parabolas() -> None:
    x = torsh.tensor([0.0, 0.5, 2.0, 2.5, 4.0], dtype=torsh.float64)
    found, = torsh.gradient(x * x, spacing=(x,), edge_order=2)
    np.testing.assert_allclose(found.numpy(), 2 * x.numpy(), atol=1e-12)


def test_histograms_count_every_element_once() -> None:
    torch.manual_seed(0)
    x = torch.randn(500)
    for bins in (1, 7, torch.tensor([-1.0, 0.0, 0.25, 2.0])):
        same(tuple(torsh.histogram(to_torsh(x), to_torsh(bins) if isinstance(bins, torch.Tensor) else bins)), tuple(torch.histogram(x, bins)))
    same(torsh.histc(to_torsh(x), 10, -1, 1), torch.histc(x, 10, -1, 1))
    points = torch.rand(200, 2)
    ours, theirs = torsh.histogramdd(to_torsh(points), [3, 4], density=True), torch.histogramdd(points, [3, 4], density=True)
    same(ours.hist, theirs.hist, rtol=1e-5)
    assert int(torsh.histogram(to_torsh(x), 9).hist.sum()) == 500


def test_membership_and_positions() -> None:
    x = torch.tensor([[1, 5], [3, 1]])
    same(torsh.isin(to_torsh(x), to_torsh(torch.tensor([1, 4]))), torch.isin(x, torch.tensor([1, 4])))
    same(torsh.isin(to_torsh(x), 5, invert=True), torch.isin(x, 5, invert=True))
    same(torsh.unravel_index(torsh.tensor([5, 3]), (2, 3)), torch.unravel_index(torch.tensor([5, 3]), (2, 3)))
    same(torsh.nonzero_static(to_torsh(x), size=6), torch.nonzero_static(x, size=6))
    assert torsh.broadcast_shapes((2, 1), 3, ()) == torch.broadcast_shapes((2, 1), 3, ())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_limits_of_types(dtype: str) -> None:
    ours, theirs = torsh.finfo(getattr(torsh, dtype)), torch.finfo(getattr(torch, dtype))
    for name in ("bits", "eps", "max", "min", "tiny", "smallest_normal", "resolution", "dtype"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert (torsh.iinfo(torsh.int16).max, torsh.iinfo(torsh.uint8).min) == (torch.iinfo(torch.int16).max, 0)


def test_what_casts() -> None:
    names = ("bool", "uint8", "int8", "int64", "float16", "float32", "complex64")
    for a in names:
        for b in names:
            assert torsh.can_cast(getattr(torsh, a), getattr(torsh, b)) == torch.can_cast(getattr(torch, a), getattr(torch, b)), (a, b)
            if {a, b} == {"float16", "complex64"}:
                continue  # PyTorch's answer is complex32, which ToRSh does not have
            one, two = torsh.ones(1, dtype=getattr(torsh, a)), torsh.ones((), dtype=getattr(torsh, b))
            theirs = torch.result_type(torch.ones(1, dtype=getattr(torch, a)), torch.ones((), dtype=getattr(torch, b)))
            assert repr(torsh.result_type(one, two)).split(".")[1] == repr(theirs).split(".")[1]

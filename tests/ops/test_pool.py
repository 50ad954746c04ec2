"""Pooling against PyTorch over windows, strides, paddings, dilations and rounding: values, indices, derivatives, errors."""
from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as tf

import torsh
from tests.ops.oracle import agree, outcome, same, to_torsh
from torsh.nn import functional as f

SIZE = (9, 7, 8)


def _of(m: Any, name: str) -> Any:
    return getattr(f if m is torsh else tf, name)


def _data(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(sum(shape)).standard_normal(shape))


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(2, None, 0), (3, 2, 1), (3, 1, 1), (2, 3, 1), (1, 2, 0)])
@pytest.mark.parametrize("ceil", [False, True])
def test_max_and_avg(n: int, kernel: int, stride: int | None, padding: int, ceil: bool) -> None:
    if padding * 2 > kernel:
        pytest.skip("PyTorch allows at most half a kernel of padding")
    x = _data(2, 3, *SIZE[:n])
    for dilation in (1, 2):
        agree(lambda m, x, d=dilation: _of(m, f"max_pool{n}d")(x, kernel, stride, padding, d, ceil), x, rtol=1e-9, atol=1e-12, twice=False)
        ours = _of(torsh, f"max_pool{n}d")(to_torsh(x), kernel, stride, padding, dilation, ceil, True)
        same(ours, tuple(_of(torch, f"max_pool{n}d")(x, kernel, stride, padding, dilation, ceil, True)))
    for counted in (True, False):
        agree(lambda m, x, c=counted: _of(m, f"avg_pool{n}d")(x, kernel, stride, padding, ceil, c) ** 2, x, rtol=1e-9, atol=1e-12)


def test_max_pool_twice() -> None:
    agree(lambda m, x: _of(m, "max_pool2d")(x, 2) ** 2, _data(2, 3, 8, 6), rtol=1e-9, atol=1e-12)
    agree(lambda m, x: _of(m, "max_pool2d")(x, 3, 2, 1) ** 2, _data(2, 3, 9, 7), rtol=1e-9, atol=1e-12)


def test_kernels_by_dimension_and_other_divisor() -> None:
    agree(lambda m, x: _of(m, "avg_pool2d")(x, (3, 2), (1, 2), (1, 0), divisor_override=5), _data(3, 9, 7), rtol=1e-9, atol=1e-12)
    agree(lambda m, x: _of(m, "max_pool2d")(x, (3, 2), (1, 2), (1, 0)), _data(3, 9, 7), rtol=1e-9, atol=1e-12, twice=False)


def test_maximum_of_nan_ties_and_integers() -> None:
    x = torch.tensor([[[1.0, float("nan"), 2.0, 2.0]]])
    same(f.max_pool1d(to_torsh(x), 2, return_indices=True), tuple(tf.max_pool1d(x, 2, return_indices=True)))
    nothing = torch.full((1, 3, 3), float("-inf"))
    same(f.max_pool2d(to_torsh(nothing), 2, 1, 1, return_indices=True), tuple(tf.max_pool2d(nothing, 2, 1, 1, return_indices=True)))
    k = torch.arange(-8, 8, dtype=torch.int32).reshape(1, 4, 4)
    same(f.max_pool2d(to_torsh(k), 2, padding=1), tf.max_pool2d(k, 2, padding=1))


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("power", [2.0, 3.0])
def test_lp(n: int, power: float) -> None:
    agree(lambda m, x: _of(m, f"lp_pool{n}d")(x, power, 2, 1), _data(2, 3, *SIZE[:n]).abs() + 0.1, rtol=1e-9, twice=False)


@pytest.mark.parametrize(("n", "out"), [*itertools.product([1, 2, 3], [1, 2, 3, 5]), (2, (None, 3)), (3, (2, None, 3)), (2, 11)])
def test_adaptive(n: int, out: Any) -> None:
    x = _data(2, 3, *SIZE[:n])
    agree(lambda m, x: _of(m, f"adaptive_avg_pool{n}d")(x, out) ** 2, x, rtol=1e-9, atol=1e-12)
    agree(lambda m, x: _of(m, f"adaptive_max_pool{n}d")(x, out) ** 2, x, rtol=1e-9, atol=1e-12, twice=n < 3)
    same(_of(torsh, f"adaptive_max_pool{n}d")(to_torsh(x), out, True), tuple(_of(torch, f"adaptive_max_pool{n}d")(x, out, True)))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_max_unpool(n: int) -> None:
    x = _data(2, 3, *(8, 6, 4)[:n])
    values, at = _of(torch, f"max_pool{n}d")(x, 2, return_indices=True)
    agree(lambda m, v: _of(m, f"max_unpool{n}d")(v, to_torsh(at) if m is torsh else at, 2), values, rtol=1e-12, twice=False)


@pytest.mark.parametrize("how", [{"kernel_size": 2}, {"kernel_size": (3, 2), "stride": 2, "padding": 1},
                                 {"kernel_size": 2, "dilation": 2, "padding": 1}], ids=str)
def test_unfold_and_fold(how: dict[str, Any]) -> None:
    x = _data(2, 3, 7, 6)
    agree(lambda m, x: _of(m, "unfold")(x, **how) ** 2, x, rtol=1e-9, atol=1e-12)
    agree(lambda m, c: _of(m, "fold")(c, (7, 6), **how) ** 2, tf.unfold(x, **how), rtol=1e-9, atol=1e-12)


def test_a_divisor_of_one_is_not_a_flag() -> None:
    x = _data(1, 1, 4, 4)
    for options in ({}, {"divisor_override": 1}, {"count_include_pad": False}, {"divisor_override": 3}):
        agree(lambda m, x, options=options: _of(m, "avg_pool2d")(x, 3, 1, 1, **options), x, rtol=1e-9, atol=1e-12)


def test_whole_numbers_are_divided_towards_zero() -> None:
    for options in ({}, {"padding": 1, "count_include_pad": False}, {"padding": 1}):
        x = torch.arange(-40, 41).reshape(1, 1, 9, 9)
        agree(lambda m, x, options=options: _of(m, "avg_pool2d")(x, 3, **options), x)


@pytest.mark.parametrize("call", [
    lambda m, k: k.max_pool2d(m.zeros(5, 5), 2), lambda m, k: k.max_pool2d(m.zeros(1, 1, 5, 5), 2, padding=2), lambda m, k: k.max_pool2d(m.zeros(1, 2, 2), 3),
    lambda m, k: k.avg_pool2d(m.zeros(1, 4, 4), 2, stride=0), lambda m, k: k.avg_pool2d(m.zeros(1, 4, 4), 2, divisor_override=0),
    lambda m, k: k.avg_pool2d(m.zeros(1, 4, 4, dtype=m.int32), 2), lambda m, k: k.adaptive_avg_pool2d(m.zeros(4, 4), (2, 2)),
    lambda m, k: k.adaptive_avg_pool2d(m.zeros(4, 4), 2), lambda m, k: k.unfold(m.zeros(1, 1, 2, 2), 3), lambda m, k: k.fold(m.zeros(1, 5, 4), (3, 3), 2),
])
def test_errors(call: Any) -> None:
    ours = outcome(lambda: call(torsh, f))
    assert isinstance(ours, type)
    assert ours == outcome(lambda: call(torch, tf))

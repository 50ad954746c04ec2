"""Sorting kernels against PyTorch's stable sort: both ways of sorting, one block and several, every dtype, ties, NaN, -0.0."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import torsh
from torsh.codegen.check import check
from torsh.codegen.llvm_ptx import emit_ptx
from torsh.compiler.order import order
from torsh.compiler.schedule import Schedule
from torsh.core import dtypes
from torsh.graph.node import Node
from torsh.graph.primitives import LEAF, ORDER

DTYPES = ["float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"]


def values(shape: tuple[int, ...], dtype: str) -> Any:
    rng = np.random.default_rng(sum(shape))
    x = np.round(rng.standard_normal(shape) * 100).astype(dtype)
    n = shape[-1]
    if x.dtype.kind == "f":
        x[..., rng.integers(0, n, max(1, n // 10))] = np.nan
        x[..., rng.integers(0, n, max(1, n // 9))] = -0.0
        x[..., 0] = np.inf
    elif dtype != "bool":
        x[..., 0], x[..., n - 1] = np.iinfo(dtype).min, np.iinfo(dtype).max
    return x


@pytest.mark.parametrize("shape", [(1,), (3, 2), (3, 64), (3, 65), (2, 300), (20000,), (2, 140000)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_sort(shape: tuple[int, ...], dtype: str) -> None:
    x = values(shape, dtype)
    for descending in (False, True):
        found = torsh.sort(torsh.tensor(x), descending=descending)
        wanted = torch.sort(torch.from_numpy(x), stable=True, descending=descending)
        np.testing.assert_array_equal(found.indices.numpy(), wanted.indices.numpy())
        np.testing.assert_array_equal(found.values.numpy(), wanted.values.numpy())


def test_bfloat16_and_another_dimension() -> None:
    x = torch.from_numpy(values((200, 3), "float32"))
    found = torsh.sort(torsh.tensor(x.numpy()).bfloat16(), 0)
    wanted = torch.sort(x.bfloat16(), dim=0, stable=True)
    np.testing.assert_array_equal(found.indices.numpy(), wanted.indices.numpy())


@pytest.mark.parametrize("n", [50, 500, 200_000])
@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_every_target_takes_the_kernel(n: int, dtype: str) -> None:
    leaf = Node(LEAF, (), None, (4, n), dtypes.by_name(dtype))
    node = Node(ORDER, (leaf,), False, (4, n), dtypes.int64)
    kernel = order(Schedule([node]), node).kernel
    check(kernel)
    assert ".entry" in emit_ptx(kernel, "k")

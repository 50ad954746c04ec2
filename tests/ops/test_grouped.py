"""Products of groups of matrices, and of matrices in 8 bits, against PyTorch's."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import torsh
from tests.ops.oracle import agree, same


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


@pytest.mark.parametrize(("a", "b", "ends"), [((6, 8), (3, 8, 16), [1, 3, 6]), ((3, 6, 8), (3, 8, 16), None), ((8, 16), (16, 8), [3, 9, 16]),
                                             ((3, 6, 8), (8, 16), [3, 5, 16]), ((6, 8), (3, 8, 4), [2, 2, 6])])
def test_groups(a: tuple[int, ...], b: tuple[int, ...], ends: list[int] | None) -> None:
    def f(m: Any, x: Any, y: Any) -> Any:
        return m.nn.functional.grouped_mm(x, y, offs=None if ends is None else m.tensor(ends, dtype=m.int32))
    agree(f, draw(*a), draw(*b, seed=1), rtol=1e-5, atol=1e-5, twice=False)


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_half_types(name: str) -> None:
    found = []
    for m in (torsh, torch):
        x, y = (m.tensor(t.numpy()).to(getattr(m, name)) for t in (draw(6, 8), draw(3, 8, 16, seed=1)))
        found.append(m.nn.functional.grouped_mm(x, y, offs=m.tensor([1, 3, 6], dtype=m.int32)).float())
    same(found[0], found[1], 1e-2, 1e-2)


def test_what_lies_behind_the_last_group_is_zero() -> None:
    out = torsh.nn.functional.grouped_mm(torsh.ones(6, 8), torsh.ones(2, 8, 4), offs=torsh.tensor([1, 3], dtype=torsh.int32))
    assert out.sum(1).tolist() == [32, 32, 32, 0, 0, 0]


def eight(m: Any, kind: str = "float8_e4m3fn") -> tuple[Any, Any]:
    a, b = m.tensor(draw(6, 16).numpy()), m.tensor(draw(16, 16, seed=1).numpy())
    return a.to(getattr(m, kind)), b.to(m.float8_e4m3fn).t()


def numbers(m: Any, *shape: int) -> Any:
    return m.tensor(np.abs(draw(*shape, seed=2).numpy()))


@pytest.mark.parametrize("f", [
    lambda m, T, R: m.nn.functional.scaled_mm(*eight(m), m.tensor(2.0), T, m.tensor(3.0), T, output_dtype=m.float32),
    lambda m, T, R: m.nn.functional.scaled_mm(*eight(m), numbers(m, 6, 1), R, numbers(m, 1, 16), R, output_dtype=m.float32),
    lambda m, T, R: m.nn.functional.scaled_mm(*eight(m), m.tensor(2.0), T, m.tensor([3.0]), T, bias=m.ones(16), output_dtype=m.float32),
    lambda m, T, R: m.nn.functional.scaled_mm(*eight(m), m.tensor(0.1), T, m.tensor(3.0), T),
    lambda m, T, R: m.nn.functional.scaled_mm(*eight(m), [m.tensor(0.1)], [T], [m.tensor(3.0)], [T]),
    lambda m, T, R: m.nn.functional.scaled_mm(*eight(m, "float8_e5m2"), m.tensor(0.1), T, m.tensor(3.0), T, output_dtype=m.float16),
    lambda m, T, R: m.nn.functional.scaled_mm(*eight(m), m.tensor(0.1), T, m.tensor(0.3), T, output_dtype=m.float8_e4m3fn).float(),
])
def test_scaled(f: Callable[..., Any]) -> None:
    ours, theirs = (f(m, m.nn.functional.ScalingType.TensorWise, m.nn.functional.ScalingType.RowWise) for m in (torsh, torch))
    assert repr(ours.dtype).split(".")[1] == repr(theirs.dtype).split(".")[1]
    same(ours.float(), theirs.float(), 2 ** -6, 1e-3)


@pytest.mark.parametrize("f", [
    lambda m, F: F.grouped_mm(m.ones(6, 8), m.ones(3, 8, 4)), lambda m, F: F.grouped_mm(m.ones(6, 8).double(), m.ones(3, 8, 4)),
    lambda m, F: F.grouped_mm(m.ones(6, 8), m.ones(3, 8, 4), offs=m.tensor([1, 3, 6])), lambda m, F: F.grouped_mm(m.ones(3, 6, 8), m.ones(2, 8, 4)),
    lambda m, F: F.grouped_mm(m.ones(6, 8), m.ones(3, 8, 4), offs=m.tensor([1, 3], dtype=m.int32)), lambda m, F: F.grouped_mm(m.ones(8), m.ones(3, 8, 4)),
    lambda m, F: F.grouped_mm(m.ones(6, 8), m.ones(3, 4, 4), offs=m.tensor([1, 3, 6], dtype=m.int32)),
    lambda m, F: F.grouped_mm(m.ones(3, 6, 8), m.ones(3, 8, 4), bias=m.ones(4)),
    lambda m, F: F.grouped_mm(m.ones(3, 6, 8), m.ones(3, 8, 4), out_dtype=m.float16),
    lambda m, F: F.scaled_mm(*eight(m), numbers(m, 6, 1), F.ScalingType.RowWise, m.tensor(1.0), F.ScalingType.TensorWise),
    lambda m, F: F.scaled_mm(*eight(m), m.tensor(1.0), F.ScalingType.BlockWise1x16, m.tensor(1.0), F.ScalingType.TensorWise),
    lambda m, F: F.scaled_mm(eight(m)[0].float(), eight(m)[1], m.tensor(1.0), F.ScalingType.TensorWise, m.tensor(1.0), F.ScalingType.TensorWise),
])
def test_errors(f: Callable[..., Any]) -> None:
    def kind(m: Any) -> Any:
        try:
            return f(m, m.nn.functional)
        except Exception as error:
            return type(error)
    assert kind(torsh) is kind(torch)


def test_offsets_that_fall() -> None:
    with pytest.raises(RuntimeError, match="offsets"):
        torsh.nn.functional.grouped_mm(torsh.ones(6, 8), torsh.ones(3, 8, 4), offs=torsh.tensor([3, 1, 6], dtype=torsh.int32))


def test_names_of_scalings() -> None:
    for name in ("ScalingType", "SwizzleType"):
        ours, theirs = getattr(torsh.nn.functional, name), getattr(torch.nn.functional, name)
        assert {k: int(v) for k, v in ours.__members__.items()} == {k: int(v) for k, v in theirs.__members__.items()}

"""Products of 8-bit integers through the public functions: exact, as PyTorch's, and errors; weights packed once."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import torsh
from torsh.ops.int8 import product

PAIR: tuple[Any, Any] = (torsh, torch)


def numbers(rng: np.random.Generator, shape: tuple[int, ...], dtype: str, extremes: bool = False) -> np.ndarray:
    info = np.iinfo(dtype)
    if extremes:
        return rng.choice([info.min, info.max], shape).astype(dtype)
    return rng.integers(info.min, info.max + 1, shape).astype(dtype)


@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_int_mm_is_exact(kind: str) -> None:
    rng = np.random.default_rng(0)
    for m, n, k in [(1, 1, 1), (17, 8, 8), (31, 67, 129), (0, 3, 4), (3, 0, 4), (3, 4, 0), (5, 130, 1021), (64, 64, 64)]:
        for extremes in (False, True):
            a, b = numbers(rng, (m, k), kind, extremes), numbers(rng, (k, n), "int8", extremes)
            found = torsh._int_mm(torsh.tensor(a), torsh.tensor(b))
            assert found.dtype is torsh.int32
            np.testing.assert_array_equal(found.numpy(), a.astype(np.int64) @ b.astype(np.int64))
            turned = torsh._int_mm(torsh.tensor(np.ascontiguousarray(a.T)).t(), torsh.tensor(np.ascontiguousarray(b.T)).t())
            np.testing.assert_array_equal(turned.numpy(), found.numpy())


@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_matmul_wraps_as_pytorch(kind: str) -> None:
    rng = np.random.default_rng(1)
    for a_shape, b_shape in [((5, 70), (70, 9)), ((3, 4, 33), (3, 33, 5)), ((33,), (33,)), ((2, 3, 7), (7, 4)), ((4, 1), (1, 4))]:
        a, b = numbers(rng, a_shape, kind), numbers(rng, b_shape, kind)
        ours, theirs = (t.matmul(t.tensor(a), t.tensor(b)) for t in PAIR)
        assert str(ours.dtype).split(".")[1] == kind == str(theirs.dtype).split(".")[1]
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_on_the_reference_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    a, b = numbers(rng, (3, 200), "uint8", True), numbers(rng, (200, 4), "int8", True)
    monkeypatch.setattr(torsh.core.config, "RUNTIME", "reference", raising=True)
    np.testing.assert_array_equal(torsh._int_mm(torsh.tensor(a), torsh.tensor(b)).numpy(), a.astype(np.int64) @ b.astype(np.int64))


def test_out() -> None:
    a, b = torsh.ones(2, 3, dtype=torsh.int8), torsh.ones(3, 4, dtype=torsh.int8)
    out = torsh.empty(2, 4, dtype=torsh.int32)
    assert torsh._int_mm(a, b, out=out) is out
    assert out.tolist() == [[3] * 4] * 2


@pytest.mark.parametrize("change", ["int", "float", "mat2", "three", "sizes", "out type", "out shape"])
def test_errors_are_pytorchs(change: str) -> None:
    for t in PAIR:
        a, b, out = t.ones(3, 4, dtype=t.int8), t.ones(4, 5, dtype=t.int8), None
        match change:
            case "int":
                a = a.int()
            case "float":
                a = a.float()
            case "mat2":
                b = b.to(t.uint8)
            case "three":
                a = a[None]
            case "sizes":
                b = b[1:]
            case "out type":
                out = t.empty(3, 5, dtype=t.int64)
            case "out shape":
                out = t.empty(2, 5, dtype=t.int32)
        with pytest.raises(RuntimeError, match=r"Expected|needs to match"):
            t._int_mm(a, b, out=out) if out is not None else t._int_mm(a, b)


def test_weights_are_packed_once_and_again_when_they_change() -> None:
    rng = np.random.default_rng(3)
    numbers_of = numbers(rng, (40, 70), "int8")
    weight = torsh.tensor(numbers_of)

    def check(kind: str) -> None:
        a = numbers(rng, (5, 70), kind)
        found = product(torsh.tensor(a).unsqueeze(0), weight.t().unsqueeze(0), True)[0].numpy()
        np.testing.assert_array_equal(found, a.astype(np.int64) @ numbers_of.astype(np.int64).T)

    check("uint8")
    kept = dict(weight._node().derived)
    assert len(kept) == 1
    check("uint8")
    assert all(weight._node().derived[key] is value for key, value in kept.items())
    check("int8")
    assert len(weight._node().derived) == 2  # one for each sign of the other operand
    numbers_of = -numbers_of
    weight.neg_()
    check("uint8")  # in a plan with the change itself
    check("uint8")
    assert all(value is not kept.get(key) for key, value in weight._node().derived.items())

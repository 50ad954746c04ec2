"""Convolutions with few outputs in a group against float64, on the host and as older processors would compute them."""
from __future__ import annotations

import mmap
from typing import Any

import numpy as np
import pytest

from tests.codegen.native import targets
from tests.codegen.test_bands import Case, Slot, cases, check, windows
from tests.codegen.test_gemm import EPS, Fenced
from tests.codegen.test_winograd import run
from torsh.codegen import thin
from torsh.codegen.bands import Geometry
from torsh.codegen.chain import Chain
from torsh.codegen.target import Target, host


def _thin(seed: int, count: int) -> list[Case]:
    """Cases of few channels and outputs whose rows fit."""
    found: list[Case] = [(n, groups, min(c, 3), 1 + o % 3, *rest) for n, groups, c, o, *rest in cases(seed, count)]  # type: ignore[misc]
    return [case for case in found if thin.cut(Geometry(case[5], case[6], case[8]), 1, case[2], case[3], case[9], 64, 8)]


@pytest.mark.parametrize("target", targets(), ids=lambda t: t.name.split("/")[-1])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_against_float64(dtype: str, target: Target) -> None:
    rng = np.random.default_rng(0)
    assert len(_thin(1, 60)) > 50
    for number, case in enumerate(_thin(1, 60)):
        check(case, dtype, target, bool(number & 1), rng, apart=number % 3 == 0, way=thin)
    check((2, 3, 1, 2, (70, 70), (5, 5), (1, 1), (2, 2), (1, 1), (70, 70)), dtype, target, False, rng, way=thin)  # several bands
    check((1, 2, 1, 1, (1, 9001), (1, 31), (1, 2), (0, 15), (1, 1), (1, 4501)), dtype, target, False, rng, way=thin)  # several segments of a row
    check((1, 3, 1, 1, (64, 64), (3, 3), (2, 2), (1, 1), (1, 1), (32, 32)), dtype, target, False, rng, way=thin)  # whole vectors of every other element


@pytest.mark.skipif(not hasattr(mmap, "MAP_ANONYMOUS"), reason="needs mprotect")
@pytest.mark.parametrize("target", targets(), ids=lambda t: t.name.split("/")[-1])
def test_nothing_outside_the_operands_is_read(target: Target) -> None:
    rng = np.random.default_rng(1)
    fenced = Fenced()
    more: list[Case] = [(1, 2, 1, 1, (3, 32 * k), (3, 3), (2, 2), (b, b), (1, 1), (1 + b, 16 * k - 1 + b)) for k in (1, 2, 3) for b in (0, 1)]
    for number, case in enumerate([*_thin(2, 40), *more]):
        check(case, "float32" if number % 3 else "float64", target, bool(number & 1), rng, fenced, way=thin)


class Spread:
    """`thin` for an image that is spread: the case's own image has zeros between rows and columns already."""

    def __init__(self, spread: tuple[int, int]) -> None:
        self.spread = spread

    def plan(self, dtype: str, n: int, groups: int, c: int, o: int, size: tuple[int, int], geometry: Geometry, before: tuple[int, int], out: tuple[int, int],
             a_strides: tuple[int, int, int], x_strides: tuple[int, int, int, int], turned: bool, **options: Any) -> Any:
        small: Any = tuple((m - 1) // s + 1 for m, s in zip(size, self.spread, strict=True))
        steps = (*x_strides[:2], x_strides[2] * self.spread[0], x_strides[3] * self.spread[1])
        return thin.plan(dtype, n, groups, c, o, small, geometry, before, out, a_strides, steps, turned, spread=self.spread, **options)


@pytest.mark.parametrize("target", targets(), ids=lambda t: t.name.split("/")[-1])
@pytest.mark.parametrize("spread", [(2, 2), (1, 3), (3, 1)])
def test_spread_images(spread: tuple[int, int], target: Target) -> None:
    """Values are those of an image whose elements between are zeros, though other numbers stand there."""
    rng = np.random.default_rng(6)
    fenced = Fenced() if hasattr(mmap, "MAP_ANONYMOUS") else None
    count = 0
    for number, case in enumerate(_thin(6, 120)):
        if case[6] == (1, 1):
            count += 1
            dtype = "float32" if number % 3 else "float64"
            check(case, dtype, target, bool(number & 1), rng, fenced if number & 2 else None, way=Spread(spread), spread=spread)
    assert count > 5
    for case in ((1, 2, 1, 1, (139, 131), (5, 5), (1, 1), (2, 2), (1, 1), (139, 131)), (1, 2, 1, 1, (1, 9001), (1, 3), (1, 1), (0, 1), (1, 1), (1, 9001))):
        check(case, "float32", target, False, rng, way=Spread(spread), spread=spread)  # several bands, several segments of a row


@pytest.mark.parametrize("target", targets(), ids=lambda t: t.name.split("/")[-1])
def test_what_follows_is_done_on_the_way(target: Target) -> None:
    rng = np.random.default_rng(2)
    for case in _thin(3, 12):
        n, groups, _, o, *_, out = case
        bias, other = rng.standard_normal(groups * o).astype(np.float32), rng.standard_normal((n, groups, o, *out)).astype(np.float32)
        number = np.array([-0.25])
        known: dict[str, Any] = {"epilogue0": Slot(groups), "epilogue1": bias, "epilogue2": Slot(4), "epilogue3": other,
                                 "epilogue4": Slot(int(number.view(np.int64)[0]))}
        y, expected = check(case, "float32", target, False, rng, epilogue=Chain((("add", "row"), ("mul", "full"), ("max", "number"))), known=known, way=thin)
        np.testing.assert_allclose(y, np.maximum((expected + bias.reshape(groups, o, 1, 1)) * other, -0.25), rtol=1e-4, atol=1e-4)


def test_threads_do_not_change_a_bit() -> None:
    case: Case = (3, 40, 1, 1, (30, 30), (5, 5), (1, 1), (2, 2), (1, 1), (30, 30))
    found = [check(case, "float32", host(), False, np.random.default_rng(3), threads=threads, way=thin)[0] for threads in (1, 2, 7)]
    assert all((y.view(np.uint8) == found[0].view(np.uint8)).all() for y in found)


def test_what_does_not_fit_is_refused() -> None:
    geometry = Geometry((3, 3), (1, 1), (1, 1))
    assert thin.cut(geometry, 1, 64, 1, (100, 100), 64, 4) is None  # 64 channels of three rows
    assert thin.cut(geometry, 1, 1, 4, (100, 100), 64, 4) is None
    with pytest.raises(ValueError, match="no band"):
        thin.plan("float32", 1, 1, 64, 1, (100, 100), geometry, (1, 1), (100, 100), (0, 576, 1), (640000, 10000, 100, 1))


def _check_weight(case: Case, dtype: str, target: Target, rng: np.random.Generator, fenced: Any = None, apart: bool = False, threads: int = 2) -> np.ndarray:
    """Computes the gradient of a case's weights and compares it; junk beside the image and the gradient is not a number."""
    n, groups, c, o, size, kernel, stride, before, dilation, out = case
    x, y = rng.standard_normal((n, groups * c, *size)).astype(dtype), rng.standard_normal((n, groups * o, *out)).astype(dtype)
    if apart:
        room = np.full((n, groups * c + 1, size[1], size[0] + 3), np.nan, dtype)
        room[:, 1:, :, 2:-1] = x.swapaxes(-1, -2)
        x = room[:, 1:, :, 2:-1].swapaxes(-1, -2)
        y = np.ascontiguousarray(y.transpose(2, 0, 3, 1)).transpose(1, 3, 0, 2)
    if fenced is not None:
        at_end = bool(rng.integers(2))
        x, y = fenced(x, at_end), fenced(y, at_end)
    terms = c * kernel[0] * kernel[1]
    whole = np.full(groups * o * terms + 128, 7, dtype)
    p, tables = thin.weight_plan(dtype, n, groups, c, o, size, Geometry(kernel, stride, dilation), before, out,
                                 tuple(s // x.itemsize for s in x.strides), tuple(s // x.itemsize for s in y.strides),  # type: ignore[arg-type]
                                 vector_bytes=target.vector_bytes, threads=threads)
    if fenced is not None:
        tables = {name: fenced(t, True) for name, t in tables.items()}
    run(p, {"A": y, "B": x, "C": whole[64:-64], **tables}, target, rng)
    assert (whole[:64] == 7).all()
    assert (whole[-64:] == 7).all()
    seen = windows(x, case).reshape(n, groups, terms, -1)
    gradient = y.astype(np.float64).reshape(n, groups, o, -1)
    expected, size_of = (np.einsum("ngkp,ngop->gok", f(seen), f(gradient)) for f in (np.asarray, np.abs))
    found = whole[64:-64].reshape(expected.shape)
    assert (np.abs(found - expected) <= EPS[dtype] * (n * out[0] * out[1] + 3) * size_of).all(), case
    return found


def _whole_rows(seed: int, count: int) -> list[Case]:
    return [case for case in _thin(seed, count) if case[2] * case[5][0] * case[5][1] <= thin.MOST_TERMS]


@pytest.mark.parametrize("target", targets(), ids=lambda t: t.name.split("/")[-1])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradient_of_weights(dtype: str, target: Target) -> None:
    rng = np.random.default_rng(4)
    for number, case in enumerate(_whole_rows(4, 60)):
        _check_weight(case, dtype, target, rng, apart=number % 3 == 0)
    for case in ((2, 5, 1, 1, (70, 70), (5, 5), (1, 1), (2, 2), (1, 1), (70, 70)), (2, 3, 1, 2, (113, 113), (3, 3), (2, 2), (1, 1), (1, 1), (57, 57)),
                 (3, 9, 1, 1, (100, 30), (3, 1), (1, 1), (1, 0), (1, 1), (100, 30))):
        _check_weight(case, dtype, target, rng)  # several bands


@pytest.mark.skipif(not hasattr(mmap, "MAP_ANONYMOUS"), reason="needs mprotect")
@pytest.mark.parametrize("target", targets(), ids=lambda t: t.name.split("/")[-1])
def test_gradient_of_weights_reads_nothing_outside(target: Target) -> None:
    rng = np.random.default_rng(5)
    fenced = Fenced()
    for number, case in enumerate(_whole_rows(5, 40)):
        _check_weight(case, "float32" if number % 3 else "float64", target, rng, fenced)


def test_gradient_of_weights_is_the_same_for_all_threads_and_what_no_window_sees_is_not_read() -> None:
    case: Case = (3, 40, 1, 1, (30, 30), (5, 5), (1, 1), (2, 2), (1, 1), (30, 30))
    found = [_check_weight(case, "float32", host(), np.random.default_rng(3), threads=threads) for threads in (1, 2, 7)]
    assert all((w.view(np.uint8) == found[0].view(np.uint8)).all() for w in found)
    x, y = np.ones((1, 1, 6, 6), np.float32), np.ones((1, 1, 3, 3), np.float32)
    x[..., 5, :] = np.nan
    x[..., :, 5] = np.inf
    w = np.zeros((1, 1, 1), np.float32)
    p, tables = thin.weight_plan("float32", 1, 1, 1, 1, (6, 6), Geometry((1, 1), (2, 2), (1, 1)), (0, 0), (3, 3), (36, 36, 6, 1), (9, 9, 3, 1),
                                 vector_bytes=host().vector_bytes)
    run(p, {"A": y, "B": x, "C": w, **tables}, host(), np.random.default_rng(0))
    assert w.item() == 9

"""Convolutions by bands of rows against float64, on the host and as older processors would compute them."""
from __future__ import annotations

import mmap
import random
from typing import Any

import numpy as np
import pytest

from tests.codegen.native import targets
from tests.codegen.test_gemm import EPS, Fenced
from tests.codegen.test_winograd import run
from torsh.codegen import bands
from torsh.codegen.chain import Chain
from torsh.codegen.gemm import Epilogue
from torsh.codegen.gemm_layout import Shape
from torsh.codegen.target import Target, host

#: images, groups, channels and outputs of a group, size, kernel, stride, zeros before, dilation, results
Case = tuple[int, int, int, int, tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int]]


def cases(seed: int, count: int) -> list[Case]:
    rng = random.Random(seed)
    found: list[Case] = []
    while len(found) < count:
        size = rng.choice([1, 2, 5, 11, 17, 30]), rng.choice([1, 3, 7, 19, 33, 64, 101])
        kernel = rng.choice([1, 2, 3, 5, 7]), rng.choice([1, 2, 3, 4, 5, 7])
        stride, dilation = ((rng.choice(few), rng.choice(few)) for few in ([1, 1, 2, 2, 3, 4, 5], [1, 1, 1, 2, 3]))
        before = rng.randint(-1, 4), rng.randint(-1, 4)
        most = tuple((m + 2 * abs(b) - d * (k - 1) - 1) // s + 1 for m, b, d, k, s in zip(size, before, dilation, kernel, stride, strict=True))
        if min(most) > 0 and all(m > -b for m, b in zip(size, before, strict=True)):
            out = tuple(max(1, m - rng.randint(0, 1)) for m in most)
            n, groups, c, o = (rng.choice(few) for few in ([1, 2, 3], [1, 1, 2, 3], [1, 2, 3, 13, 40], [1, 3, 14, 17, 31]))
            found.append((n, groups, c, o, size, kernel, stride, before, dilation, out))  # type: ignore[arg-type]
    return found


def windows(x: np.ndarray, case: Case) -> np.ndarray:
    """[n, groups, c, *kernel, *out] in float64."""
    n, groups, c, _, size, kernel, stride, before, dilation, out = case
    reach = [(m - 1) * s + (k - 1) * d + 1 for m, s, k, d in zip(out, stride, kernel, dilation, strict=True)]
    spread = np.zeros((n, groups, c, *[r + max(0, b) + m for r, b, m in zip(reach, before, size, strict=True)]))
    top, left = (max(0, b) for b in before)
    spread[..., top:top + size[0], left:left + size[1]] = x.reshape(n, groups, c, *size)
    spread = spread[..., max(0, -before[0]):, max(0, -before[1]):]
    rows, columns = ((m - 1) * s + 1 for m, s in zip(out, stride, strict=True))
    return np.stack([np.stack([spread[..., i * dilation[0]:, j * dilation[1]:][..., :rows:stride[0], :columns:stride[1]] for j in range(kernel[1])], 3)
                     for i in range(kernel[0])], 3)


def exact(x: np.ndarray, a: np.ndarray, case: Case, turned: bool) -> tuple[np.ndarray, np.ndarray]:
    """The convolution in float64, and the sums of absolute values."""
    _, groups, c, o, _, kernel, *_ = case
    seen = windows(x, case)
    weights = a.astype(np.float64)
    spec = "ngcijyx,gocij->ngoyx"
    if turned:
        weights = weights.reshape(groups, o, *kernel, c)[:, :, ::-1, ::-1].transpose(0, 1, 4, 2, 3)
    else:
        weights = weights.reshape(groups, o, c, *kernel)
    return np.einsum(spec, seen, weights), np.einsum(spec, np.abs(seen), np.abs(weights))


def check(case: Case, dtype: str, target: Target, turned: bool, rng: np.random.Generator, fenced: Any = None, apart: bool = False, threads: int = 2,
          epilogue: Epilogue | None = None, known: dict[str, Any] | None = None, way: Any = bands,
          spread: tuple[int, int] = (1, 1)) -> tuple[np.ndarray, np.ndarray]:
    """Computes a case and compares it (unless something follows); returns results and the exact convolution."""
    n, groups, c, o, size, kernel, stride, before, dilation, out = case
    terms = c * kernel[0] * kernel[1]
    x = rng.standard_normal((n, groups * c, *size)).astype(dtype)
    a = rng.standard_normal((groups, o, terms)).astype(dtype)
    if apart:  # the image lies between others with its columns apart, the weights are a transpose
        room = np.full((n, groups * c + 1, size[1], size[0] + 3), np.nan, dtype)
        room[:, 1:, :, 2:-1] = x.swapaxes(-1, -2)
        x = room[:, 1:, :, 2:-1].swapaxes(-1, -2)
        a = np.ascontiguousarray(a.swapaxes(-1, -2)).swapaxes(-1, -2)
    if fenced is not None:
        at_end = bool(rng.integers(2))
        x, a = fenced(x, at_end), fenced(a, at_end)
    whole = np.full(n * groups * o * out[0] * out[1] + 128, 7, dtype)
    y = whole[64:-64].reshape(n, groups, o, *out)
    p, tables = way.plan(dtype, n, groups, c, o, size, bands.Geometry(kernel, stride, dilation), before, out,
                           tuple(s // x.itemsize for s in a.strides), tuple(s // x.itemsize for s in x.strides), turned,  # type: ignore[arg-type]
                           vector_bytes=target.vector_bytes, threads=threads, epilogue=epilogue)
    if fenced is not None:
        tables = {name: fenced(t, True) for name, t in tables.items()}
    run(p, {"A": a, "B": x, "C": y, **tables, **(known or {})}, target, rng)
    assert (whole[:64] == 7).all()
    assert (whole[-64:] == 7).all()
    if spread != (1, 1):  # what lies between is not seen
        only = np.zeros_like(x)
        only[..., ::spread[0], ::spread[1]] = x[..., ::spread[0], ::spread[1]]
        x = only
    expected, size_of = exact(x, a, case, turned)
    if epilogue is None:
        assert (np.abs(y - expected) <= EPS[dtype] * (terms + 3) * size_of).all(), case
    return y, expected


@pytest.mark.parametrize("target", targets(), ids=lambda t: t.name.split("/")[-1])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_against_float64(dtype: str, target: Target) -> None:
    rng = np.random.default_rng(0)
    for number, case in enumerate(cases(1, 60)):
        check(case, dtype, target, bool(number & 1), rng, apart=number % 3 == 0)
    check((1, 1, 3, 20, (37, 224), (7, 7), (2, 2), (3, 3), (1, 1), (19, 112)), dtype, target, False, rng)
    check((2, 1, 1, 5, (1, 5003), (1, 10), (1, 5), (0, 0), (1, 1), (1, 999)), dtype, target, False, rng)  # several segments of a row
    check((1, 1, 2, 3, (9, 1300), (3, 3), (1, 1), (1, 1), (1, 1), (9, 1300)), dtype, target, True, rng)
    check((1, 1, 8, 30, (64, 64), (16, 16), (16, 16), (0, 0), (1, 1), (4, 4)), dtype, target, False, rng)  # rows of weights that compete for a set of the cache


@pytest.mark.skipif(not hasattr(mmap, "MAP_ANONYMOUS"), reason="needs mprotect")
@pytest.mark.parametrize("target", targets(), ids=lambda t: t.name.split("/")[-1])
def test_nothing_outside_the_operands_is_read(target: Target) -> None:
    rng = np.random.default_rng(1)
    fenced = Fenced()
    for number, case in enumerate(cases(2, 40)):
        check(case, "float32" if number % 3 else "float64", target, bool(number & 1), rng, fenced)


@pytest.mark.parametrize("target", targets(), ids=lambda t: t.name.split("/")[-1])
def test_what_follows_is_done_on_the_way(target: Target) -> None:
    rng = np.random.default_rng(2)
    steps = (("add", "row"), ("mul", "full"), ("max", "number"))
    for case in cases(3, 12):
        n, groups, _, o, *_, out = case
        bias, other = rng.standard_normal(groups * o).astype(np.float32), rng.standard_normal((n, groups, o, *out)).astype(np.float32)
        number = np.array([-0.25])
        chain = Chain(steps)
        known: dict[str, Any] = {"epilogue1": bias, "epilogue3": other}
        p_slots = {"epilogue0": groups, "epilogue2": 4, "epilogue4": int(number.view(np.int64)[0])}
        y, expected = check(case, "float32", target, False, rng, epilogue=chain, known={**known, **{k: Slot(v) for k, v in p_slots.items()}})
        expected = np.maximum((expected + bias.reshape(groups, o, 1, 1)) * other, -0.25)
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


class Slot:
    """A number where `run` expects an array's address."""

    def __init__(self, value: int) -> None:
        self.ctypes = type("", (), {"data": value})


def test_the_number_of_threads_planned_for_does_not_change_a_bit() -> None:
    for case in ((2, 1, 3, 64, (60, 60), (7, 7), (2, 2), (3, 3), (1, 1), (30, 30)), (1, 2, 33, 100, (14, 15), (3, 3), (2, 2), (1, 1), (1, 1), (7, 8))):
        found = [check(case, "float32", host(), False, np.random.default_rng(3), threads=threads)[0] for threads in (1, 2, 7)]
        assert all((y.view(np.uint8) == found[0].view(np.uint8)).all() for y in found)


def test_bands_fit_the_caches_and_the_sums_their_memory() -> None:
    for vector_bytes in (16, 32, 64):
        shape = Shape(vector_bytes, 32 if vector_bytes == 64 else 16, 4)
        for c, o, out, kernel, stride in ((3, 64, (112, 112), 7, 2), (64, 128, (28, 28), 3, 2), (512, 512, (7, 7), 3, 2), (1, 1, (1, 100000), 5, 1),
                                          (3, 768, (14, 14), 16, 16)):
            geometry = bands.Geometry((kernel,) * 2, (stride,) * 2, (1, 1))
            _, high, wide, blocks = bands.cut(geometry, 1, c, o, out, shape, 2)
            assert (high - 1) * (wide + geometry.reach[1]) + wide <= bands.MOST_COLUMNS
            assert high == 1 or c * geometry.channel(high, wide, 4, vector_bytes)[1] <= 768 << 10
            assert 1 <= blocks <= -(-o // shape.rows)

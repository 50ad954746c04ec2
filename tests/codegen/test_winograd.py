"""Winograd's kernels against float64, carried through all steps at once and step by step, on the host and as older processors would."""
from __future__ import annotations

import ctypes
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from tests.codegen.native import targets
from tests.codegen.test_gemm import phases
from torsh.codegen import winograd
from torsh.codegen.gemm import GemmPlan
from torsh.codegen.target import Target
from torsh.graph import winograd as meaning


def run(p: GemmPlan, memory: dict[str, Any], target: Target, rng: np.random.Generator) -> None:
    """All phases, each phase's work items in pieces in random order. Scratch starts as NaN."""
    memory = dict(memory)
    for name, size in p.scratch.items():
        raw = np.full(size // 4 + 16, np.nan, np.float32).view(np.uint8)
        start = -raw.ctypes.data % 64
        memory[name] = raw[start:start + size]
    slots = (ctypes.c_int64 * len(p.slots))(*(memory[s].ctypes.data if isinstance(s, str) else s for s in p.slots))
    for function, count in zip(phases(p, target), p.items, strict=True):
        pieces = list(pairwise(sorted({0, count, *rng.integers(0, count + 1, 3).tolist()})))
        rng.shuffle(pieces)
        for begin, end in pieces:
            function(ctypes.addressof(slots), int(begin), int(end))


def exact(x: np.ndarray, w: np.ndarray, before: tuple[int, int], out: tuple[int, int]) -> np.ndarray:
    n, c, *size = x.shape
    padded = np.zeros((n, c, *[m + 2 + s + b for m, s, b in zip(out, size, before, strict=True)]))
    padded[:, :, before[0]:before[0] + size[0], before[1]:before[1] + size[1]] = x
    seen = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))[:, :, :out[0], :out[1]]
    return np.einsum("ncxyij,ocij->noxy", seen, w.astype(np.float64))


@pytest.mark.parametrize("target", targets(), ids=lambda t: t.name.split("/")[-1])
@pytest.mark.parametrize("tile", [2, 4])
@pytest.mark.parametrize("many", [1, 10**9], ids=["together", "in steps"])
def test_products(target: Target, tile: int, many: int, monkeypatch: Any) -> None:
    monkeypatch.setattr(winograd, "_MANY_BLOCKS", many)
    rng = np.random.default_rng(tile)
    for n, c, o, size, before in ((1, 1, 1, (1, 1), (1, 1)), (2, 3, 17, (7, 9), (1, 1)), (3, 33, 5, (13, 4), (0, 2)), (2, 17, 29, (23, 31), (2, 0)),
                                  (2, 5, 7, (16, 24), (1, 1))):
        out = tuple(max(1, m + 2 * b - 2) for m, b in zip(size, before, strict=True))
        # The image lies between others and its rows apart; the weights are exchanged and turned around, as a gradient reads them.
        room = rng.standard_normal((n, c + 1, size[0], size[1] + 2)).astype(np.float32)
        x = room[:, :c, :, :size[1]]
        w = rng.standard_normal((c, o, 3, 3)).astype(np.float32)
        turned = w.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1]
        u = np.full(((tile + 2) ** 2, o, c), np.nan, np.float32)
        p = winograd.weights_plan(tile, o, c, tuple(s // 4 for s in turned.strides), target.vector_bytes)
        run(p, {"A": turned, "C": u}, target, rng)
        np.testing.assert_allclose(u, meaning.weights(turned.astype(np.float64), tile), rtol=2e-5, atol=2e-5)
        strides = tuple(s // 4 for s in x.strides)
        y = np.full((n, o, *out), np.nan, np.float32)
        p = winograd.images_plan(tile, n, c, o, out, (o * c, c, 1), strides, target.vector_bytes)
        assert (p.items[1] > 0) == (many == 1)
        tables = winograd.tables(tile, n, size, before, out, strides, o, target.vector_bytes // 4)
        run(p, {"A": u, "B": x, "C": y, **tables}, target, rng)
        expected = exact(x, turned, before, out)
        assert np.abs(y - expected).max() <= 4e-6 * np.abs(expected).max()


@pytest.mark.parametrize("tile", [2, 4])
def test_the_meaning_in_numpy(tile: int) -> None:
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal((2, 3, 9, 6)), rng.standard_normal((4, 3, 3, 3))
    found = meaning.convolved(meaning.weights(w, tile), x, tile, (1, 0), (9, 4))
    np.testing.assert_allclose(found, exact(x, w, (1, 0), (9, 4)), rtol=1e-12, atol=1e-12)


def test_channels_apart_are_refused() -> None:
    with pytest.raises(ValueError, match="adjacent"):
        winograd.images_plan(4, 1, 8, 8, (8, 8), (64, 1, 8), (512, 64, 8, 1), 64)

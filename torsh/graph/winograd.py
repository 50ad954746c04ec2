"""Winograd's convolutions F(2 x 2, 3 x 3) and F(4 x 4, 3 x 3): their three linear maps, and their meaning in NumPy.

Results of a filter of three weights are products of polynomials, which as many points determine as there are results and two: 4 multiplications in
place of 6 for two results, 6 in place of 12 for four, and the squares of these in two dimensions. y = A^T [(G g) * (B^T d)] (Winograd, "Arithmetic
Complexity of Computations", 1980; Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks", 2016). The points are 0, +-1 and infinity, or 0,
+-3/4, +-3/2 and infinity: with those rounding errors are half of those of 0, +-1, +-2 and infinity, 7e-7 of the result in float32, and all constants of
A and B are exact in binary.
"""
from __future__ import annotations

from typing import Any

import numpy as np

TAPS = 3
#: By the number of results in one dimension: x where +-x are points besides 0 and infinity.
PAIRS = {2: (1.0,), 4: (0.75, 1.5)}


def matrices(tile: int) -> tuple[Any, Any, Any]:
    """A^T [tile, p], G [p, 3] and B^T [p, p] in float64, p = tile + 2 points: 0, pairs of x and -x, infinity.

    >>> a, g, b = matrices(4)
    >>> d, w = np.arange(6.0), np.array([1.0, 2.0, 3.0])
    >>> np.allclose(a @ ((g @ w) * (b @ d)), np.convolve(d, w[::-1], "valid"))
    True
    """
    finite = [0.0, *(p for x in PAIRS[tile] for p in (x, -x))]
    count = tile + 2
    a, g, b = np.zeros((tile, count)), np.zeros((count, TAPS)), np.zeros((count, count))
    for i, x in enumerate(finite):
        others = [p for p in finite if p != x]
        a[:, i] = [x**j for j in range(tile)]
        g[i] = [x**j / np.prod([x - p for p in others]) for j in range(TAPS)]
        b[i, :-1] = np.poly(others)[::-1]
    a[-1, -1] = g[-1, -1] = 1
    b[-1] = np.poly(finite)[::-1]
    return a, g, b


def weights(w: Any, tile: int) -> Any:
    """[o, c, 3, 3] as [p * p, o, c]."""
    g = matrices(tile)[1].astype(w.dtype)
    return np.einsum("ki,ocij,lj->kloc", g, w, g).reshape(-1, *w.shape[:2])


def convolved(u: Any, x: Any, tile: int, before: tuple[int, int], out: tuple[int, int]) -> Any:
    """Transformed weights [p * p, o, c] and x [n, c, h, w] with `before` zeros in front of each dimension: [n, o, *out]."""
    a, _, b = (m.astype(x.dtype) for m in matrices(tile))
    n, c, *size = x.shape
    o, points = u.shape[1], tile + 2
    counts = [-(-m // tile) for m in out]
    padded = np.zeros((n, c, *[max(tile * t + 2, s + q) for t, s, q in zip(counts, size, before, strict=True)]), x.dtype)
    padded[:, :, before[0]:before[0] + size[0], before[1]:before[1] + size[1]] = x
    tiles = np.lib.stride_tricks.sliding_window_view(padded, (points, points), (2, 3))[:, :, ::tile, ::tile][:, :, :counts[0], :counts[1]]
    v = np.einsum("ki,ncxyij,lj->klncxy", b, tiles, b).reshape(points * points, n, c, -1)
    m = np.einsum("foc,fnct->fnot", u, v).reshape(points, points, n, o, *counts)
    y = np.einsum("ik,klnoxy,jl->noxiyj", a, m, a).reshape(n, o, tile * counts[0], tile * counts[1])
    return y[:, :, :out[0], :out[1]]

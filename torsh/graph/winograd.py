"""Winograd's convolution F(4 x 4, 3 x 3): its three linear maps, and their meaning in NumPy.

Four results of a filter of three weights are products of polynomials, which six points determine: six multiplications in place of twelve, and
36 in place of 144 in two dimensions. y = A^T [(G g) * (B^T d)] (Winograd, "Arithmetic Complexity of Computations", 1980; Lavin & Gray, "Fast
Algorithms for Convolutional Neural Networks", 2016). The points are 0, +-3/4, +-3/2 and infinity: with them rounding errors are half of those
of the usual 0, +-1, +-2 and infinity, 7e-7 of the result in float32, and all constants are exact in binary.
"""
from __future__ import annotations

from typing import Any

import numpy as np

#: The points other than 0 and infinity are +-NEAR and +-FAR.
NEAR, FAR = 0.75, 1.5
#: Results, weights and points in one dimension.
TILE, TAPS, POINTS = 4, 3, 6


def matrices() -> tuple[Any, Any, Any]:
    """A^T [4, 6], G [6, 3] and B^T [6, 6] in float64. Points in the order 0, NEAR, -NEAR, FAR, -FAR, infinity.

    >>> a, g, b = matrices()
    >>> d, w = np.arange(6.0), np.array([1.0, 2.0, 3.0])
    >>> np.allclose(a @ ((g @ w) * (b @ d)), np.convolve(d, w[::-1], "valid"))
    True
    """
    points = [0.0, NEAR, -NEAR, FAR, -FAR]
    a, g, b = np.zeros((TILE, POINTS)), np.zeros((POINTS, TAPS)), np.zeros((POINTS, POINTS))
    for i, x in enumerate(points):
        others = [p for p in points if p != x]
        a[:, i] = [x**j for j in range(TILE)]
        g[i] = [x**j / np.prod([x - p for p in others]) for j in range(TAPS)]
        b[i, :-1] = np.poly(others)[::-1]
    a[-1, -1] = g[-1, -1] = 1
    b[-1] = np.poly(points)[::-1]
    return a, g, b


def weights(w: Any) -> Any:
    """[o, c, 3, 3] as [36, o, c]."""
    g = matrices()[1].astype(w.dtype)
    return np.einsum("ki,ocij,lj->kloc", g, w, g).reshape(POINTS * POINTS, *w.shape[:2])


def convolved(u: Any, x: Any, before: tuple[int, int], out: tuple[int, int]) -> Any:
    """Transformed weights [36, o, c] and x [n, c, h, w] with `before` zeros in front of each dimension: [n, o, *out]."""
    a, _, b = (m.astype(x.dtype) for m in matrices())
    n, c, *size = x.shape
    counts = [-(-m // TILE) for m in out]
    padded = np.zeros((n, c, *[max(TILE * t + 2, s + q) for t, s, q in zip(counts, size, before, strict=True)]), x.dtype)
    padded[:, :, before[0]:before[0] + size[0], before[1]:before[1] + size[1]] = x
    tiles = np.lib.stride_tricks.sliding_window_view(padded, (POINTS, POINTS), (2, 3))[:, :, ::TILE, ::TILE][:, :, :counts[0], :counts[1]]
    v = np.einsum("ki,ncxyij,lj->klncxy", b, tiles, b).reshape(POINTS * POINTS, n, c, -1)
    m = np.einsum("foc,fnct->fnot", u, v).reshape(POINTS, POINTS, n, u.shape[1], *counts)
    y = np.einsum("ik,klnoxy,jl->noxiyj", a, m, a).reshape(n, u.shape[1], TILE * counts[0], TILE * counts[1])
    return y[:, :, :out[0], :out[1]]

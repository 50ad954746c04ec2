"""Orthogonal polynomials of a tensor of degrees: by their three-term recurrences, Chebyshev's inside (-1, 1) by angles.

Abramowitz and Stegun, chapter 22. Computed in double precision and rounded once. Degrees are truncated to integers, negative ones give 0.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from torsh.graph.primitives import broadcasting
from torsh.ops.host import host_op
from torsh.special.common import real_function, special, without_derivative
from torsh.tensor.tensor import Tensor

Array = Any
#: (k, x, p_k, p_k-1) -> p_k+1, and p_1 of x.
Recurrence = tuple[Callable[[int, Array, Array, Array], Array], Callable[[Array], Array]]


def _twice(k: int, x: Array, p: Array, before: Array) -> Array:
    return 2 * x * p - before


_RECURRENCES: dict[str, Recurrence] = {
    "chebyshev_polynomial_t": (_twice, lambda x: x),
    "chebyshev_polynomial_u": (_twice, lambda x: 2 * x),
    "chebyshev_polynomial_v": (_twice, lambda x: 2 * x - 1),
    "chebyshev_polynomial_w": (_twice, lambda x: 2 * x + 1),
    "hermite_polynomial_h": (lambda k, x, p, before: 2 * (x * p - k * before), lambda x: 2 * x),
    "hermite_polynomial_he": (lambda k, x, p, before: x * p - k * before, lambda x: x),
    "laguerre_polynomial_l": (lambda k, x, p, before: ((2 * k + 1 - x) * p - k * before) / (k + 1), lambda x: 1 - x),
    "legendre_polynomial_p": (lambda k, x, p, before: ((2 * k + 1) * x * p - k * before) / (k + 1), lambda x: x),
}
#: Chebyshev polynomials of degree n at x = cos(t).
_ANGLES: dict[str, Callable[[Array, Array], Array]] = {
    "chebyshev_polynomial_t": lambda n, t: np.cos(n * t),
    "chebyshev_polynomial_u": lambda n, t: np.sin((n + 1) * t) / np.sin(t),
    "chebyshev_polynomial_v": lambda n, t: np.cos((n + 0.5) * t) / np.cos(t / 2),
    "chebyshev_polynomial_w": lambda n, t: np.sin((n + 0.5) * t) / np.sin(t / 2),
}
_BY_ANGLE_ABOVE = 6


def _evaluate(name: str, x: Array, n: Array) -> Array:
    x, n = np.broadcast_arrays(x.astype(np.float64), np.trunc(n.astype(np.float64)))
    step, first = _RECURRENCES[name]
    out = np.where(n < 0, 0.0, np.where(np.isnan(n), np.nan, 1.0))
    left = n > 0
    if name in _ANGLES:
        easy = left & (n > _BY_ANGLE_ABOVE) & (np.abs(x) < 1)
        out[easy] = _ANGLES[name](n[easy], np.arccos(x[easy]))
        left &= ~easy
    points, degrees = x[left], n[left]
    if points.size:
        before, p = np.ones_like(points), first(points)
        found = np.where(degrees == 1, p, np.nan)
        k = 1
        while True:
            open_ = degrees > k
            if not open_.any() or not np.isfinite(p[open_]).any():
                break
            before, p = p, step(k, points, p, before)
            k += 1
            found = np.where(degrees == k, p, found)
        found = np.where(degrees > k, p, found)
        out[left] = found
    return out


def _declare(name: str, base: str, shifted: bool) -> None:
    def compute(x: Array, n: Array) -> Array:
        kind = np.float32 if x.itemsize < 8 else np.float64
        return _evaluate(base, 2 * x.astype(np.float64) - 1 if shifted else x, n).astype(kind)
    op = host_op("special_" + name, compute, without_derivative("special_" + name), batching=broadcasting)

    def function(input: Any, n: Any) -> Tensor:
        return real_function(name, op, input, n)
    words = base.split("_")
    function.__name__ = name
    function.__doc__ = (f"{words[0].capitalize()} polynomials {words[-1].upper() if words[-1] != 'he' else 'He'} of degree n at "
                        f"{'2 x - 1' if shifted else 'x'}, broadcast; n may be a tensor. Has no derivative.")
    special(name)(function)


for _name in _RECURRENCES:
    _declare(_name, _name, False)
for _name in _ANGLES:
    _declare("shifted_" + _name, _name, True)

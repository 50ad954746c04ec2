"""Samplers that draw as many uniforms as it takes: gamma, Poisson, binomial. With one seed they give PyTorch's numbers.

One element after the other, as rejected proposals use up the stream: about a microsecond each. The uniforms are drawn in
blocks, and what was not used is put back.
"""
from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

_BLOCK = 4096


class _Stream:
    """float64 uniforms of an engine, one at a time; `close` leaves the engine as if only those had been drawn."""

    def __init__(self, engine: Any, expected: int) -> None:
        self.engine = engine
        self.start = engine.mark()
        self.block = max(16, min(_BLOCK, expected))
        self.used = 0
        self.next = self._numbers().__next__

    def _numbers(self) -> Iterator[float]:
        while True:
            for u in self.engine.unit_float64(self.block).tolist():
                self.used += 1
                yield u

    def close(self) -> None:
        self.engine.rewind(self.start)
        for done in range(0, self.used, 1 << 16):
            self.engine.words(2 * min(1 << 16, self.used - done))


def standard_gamma(engine: Any, alpha: np.ndarray) -> np.ndarray:
    """Gamma numbers of shape parameters `alpha` (float64, flat) and rate 1.

    Marsaglia & Tsang 2000, "A simple method for generating gamma variables": a cube of a shifted normal number, accepted by
    a squeeze or by its density; shapes below 1 by a power of a uniform on top of shape + 1.
    """
    stream = _Stream(engine, 4 * alpha.size)
    uniform, log, sqrt = stream.next, math.log, math.sqrt
    kept = engine._double_sample
    out = np.empty(alpha.size)
    for i, a in enumerate(alpha.tolist()):
        scale = 1.0
        if a < 1.0:
            if a == 0.0:
                out[i] = 0.0
                continue
            scale = (1.0 - uniform()) ** (1.0 / a)
            a += 1.0
        if a != a:
            out[i] = a
            continue
        d = a - 1.0 / 3.0
        c = 1.0 / sqrt(9.0 * d)
        while True:
            y = 0.0
            while y <= 0.0:
                if kept is None:
                    u1, u2 = uniform(), uniform()
                    radius, angle = sqrt(-2.0 * math.log1p(-u2)), 2.0 * math.pi * u1
                    x, kept = radius * math.cos(angle), radius * math.sin(angle)
                else:
                    x, kept = kept, None
                y = 1.0 + c * x
            v = y * y * y
            u = 1.0 - uniform()
            square = x * x
            if u < 1.0 - 0.0331 * square * square or log(u) < 0.5 * square + d * (1.0 - v + log(v)):
                break
        out[i] = scale * d * v
    stream.close()
    engine._double_sample = kept
    return out


def poisson(engine: Any, rate: np.ndarray) -> np.ndarray:
    """Poisson numbers of rates >= 0 (float64, flat).

    Rates of 10 and more: the transformed rejection method PTRS of Hoermann 1993, "The transformed rejection method for
    generating Poisson random variables". Lower ones: uniforms multiplied until below exp(-rate) (Knuth).
    """
    stream = _Stream(engine, 4 * rate.size)
    uniform, log, lgamma, floor = stream.next, math.log, math.lgamma, math.floor
    out = np.empty(rate.size)
    for i, lam in enumerate(rate.tolist()):
        if lam >= 10.0:
            root, log_rate = math.sqrt(lam), log(lam)
            b = 0.931 + 2.53 * root
            a = -0.059 + 0.02483 * b
            inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
            limit = 0.9277 - 3.6224 / (b - 2.0)
            while True:
                u, v = uniform() - 0.5, uniform()
                distance = 0.5 - abs(u)
                k = floor((2.0 * a / distance + b) * u + lam + 0.43) if distance else math.inf
                if distance >= 0.07 and v <= limit:
                    break
                if k < 0 or (distance < 0.013 and v > distance):
                    continue
                if v == 0.0 or log(v) + log(inverse_alpha) - log(a / (distance * distance) + b) <= k * log_rate - lam - lgamma(k + 1.0):
                    break
            out[i] = k
        else:
            count, product, least = 0, 1.0, math.exp(-lam)
            while lam > 0.0:
                product *= uniform()
                if product <= least:
                    break
                count += 1
            out[i] = count
    stream.close()
    return out


def binomial(engine: Any, count: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Numbers of successes in `count` trials (both float64, flat, of one size).

    With 10 expected successes and more, BTRS of Hoermann 1993, "The generation of binomial random variates"; else geometric
    waiting times added up until the trials are over (Devroye 1986, chapter X.4).
    """
    stream = _Stream(engine, 4 * count.size)
    out = np.empty(count.size)
    for i, (n, p) in enumerate(zip(count.tolist(), probability.tolist(), strict=True)):
        if n <= 0.0 or p <= 0.0:
            out[i] = 0.0
        elif p >= 1.0:
            out[i] = n
        elif p <= 0.5:
            out[i] = (_rejected if n * p >= 10.0 else _waited)(stream.next, n, p)
        elif p == p:
            out[i] = n - (_rejected if n * (1.0 - p) >= 10.0 else _waited)(stream.next, n, 1.0 - p)
        else:
            out[i] = math.nan
    stream.close()
    return out


def _waited(uniform: Any, n: float, p: float) -> float:
    log_miss, total, successes = math.log1p(-p), 0.0, 0.0
    while True:
        u = uniform()
        total += math.ceil(math.log(u) / log_miss) if u else math.inf
        if total > n:
            return successes
        successes += 1.0


_TAIL = (0.0810614667953272, 0.0413406959554092, 0.0276779256849983, 0.02079067210376509, 0.0166446911898211, 0.0138761288230707, 0.0118967099458917,
         0.0104112652619720, 0.00925546218271273, 0.00833056343336287)  # log(k!) less Stirling's formula, k = 0 .. 9


def _stirling_tail(k: float) -> float:
    if k <= 9:
        return _TAIL[int(k)]
    square = (k + 1.0) * (k + 1.0)
    return (1.0 / 12 - (1.0 / 360 - 1.0 / 1260 / square) / square) / (k + 1.0)


def _rejected(uniform: Any, n: float, p: float) -> float:
    deviation = math.sqrt(n * p * (1.0 - p))
    b = 1.15 + 2.53 * deviation
    a = -0.0873 + 0.0248 * b + 0.01 * p
    c = n * p + 0.5
    limit = 0.92 - 4.2 / b
    odds = p / (1.0 - p)
    alpha = (2.83 + 5.1 / b) * deviation
    m = math.floor((n + 1.0) * p)
    while True:
        u, v = uniform() - 0.5, uniform()
        distance = 0.5 - abs(u)
        if not distance:
            continue
        k = math.floor((2.0 * a / distance + b) * u + c)
        if distance >= 0.07 and v <= limit:
            return k
        if k < 0 or k > n:
            continue
        v = math.log(v * alpha / (a / (distance * distance) + b)) if v else -math.inf
        bound = ((m + 0.5) * math.log((m + 1.0) / (odds * (n - m + 1.0))) + (n + 1.0) * math.log((n - m + 1.0) / (n - k + 1.0))
                 + (k + 0.5) * math.log(odds * (n - k + 1.0) / (k + 1.0))
                 + _stirling_tail(m) + _stirling_tail(n - m) - _stirling_tail(k) - _stirling_tail(n - k))
        if v <= bound:
            return k


# ---- derivatives of samples by their parameters (Figurnov, Mohamed & Mnih 2018, "Implicit reparameterization gradients"):
# dx/da = -(dF(x; a)/da) / f(x; a), where every sum and integral below has terms of one sign


def gamma_derivative(a: np.ndarray, x: np.ndarray) -> np.ndarray:
    """dx/da of a gamma number x of shape a.

    Below the bulk's upper end, Kummer's series of the incomplete gamma function, differentiated term by term:
    x * sum over n of x^n / (a)_{n+1} * (psi(a) - log x + sum over k <= n of 1 / (a + k)). Above it, the integral over the upper
    tail, of (log(x + s) - psi(a)) (1 + s/x)^(a-1) e^-s, by Gauss-Laguerre quadrature.
    """
    from scipy.special import psi
    a, x = np.broadcast_arrays(np.asarray(a, np.float64), np.asarray(x, np.float64))
    shape, a, x = a.shape, a.reshape(-1), np.maximum(x.reshape(-1), 1e-300)
    out = np.empty(a.size)
    upper = x > a + 3.0 * np.sqrt(a) + 3.0
    low, high = np.flatnonzero(~upper), np.flatnonzero(upper)
    if low.size:
        b, y = a[low], x[low]
        base = psi(b) - np.log(y)
        term, inner = 1.0 / b, base + 1.0 / b
        total, n = term * inner, 0
        while n < 1_000_000:
            n += 1
            term = term * (y / (b + n))
            inner = inner + 1.0 / (b + n)
            step = term * inner
            total = total + step
            if (np.abs(step) <= 1e-17 * np.abs(total)).all():
                break
        out[low] = y * total
    if high.size:
        nodes, weights = np.polynomial.laguerre.laggauss(40)
        b, y = a[high, None], x[high, None]
        rate = 1.0 - (b - 1.0) / y
        s = nodes / rate
        value = (np.log(y + s) - psi(b)) * np.exp((b - 1.0) * np.log1p(s / y) - s + nodes) / rate
        out[high] = value @ weights
    return out.reshape(shape)


def dirichlet_derivative(a: np.ndarray, b: np.ndarray, x: np.ndarray) -> np.ndarray:
    """dx/da / (1 - x) of a beta number x of parameters a and b: of one part of a Dirichlet number, b being the others' sum.

    The series of the incomplete beta function about 0 (x (1 - x) sum of (a+b)_n / (a)_{n+1} x^n) differentiated term by term for x
    up to the geometric mean, and about 1 above it.
    """
    from scipy.special import psi
    a, b, x = np.broadcast_arrays(*[np.asarray(t, np.float64) for t in (a, b, x)])
    shape = a.shape
    a, b, x = a.reshape(-1), b.reshape(-1), np.clip(x.reshape(-1), 1e-300, 1.0 - 2.0 ** -53)
    c = psi(a) - psi(a + b)
    log_x = np.log(x)
    lower = ((log_x <= c) & (x < 0.999)) | (x < 0.001)
    out = np.empty(a.size)
    for low in (True, False):
        at = np.flatnonzero(lower == low)
        if not at.size:
            continue
        p, q, z = (a[at], b[at], x[at]) if low else (b[at], a[at], 1.0 - x[at])
        term = 1.0 / p
        inner = c[at] - log_x[at] + 1.0 / p if low else log_x[at] - c[at]
        total, n = term * inner, 0
        while n < 1_000_000:
            inner = inner + (1.0 / (p + n + 1.0) - 1.0 / (p + q + n) if low else 1.0 / (p + q + n))
            term = term * (z * ((p + q + n) / (p + n + 1.0)))
            n += 1
            step = term * inner
            total = total + step
            if (np.abs(step) <= 1e-17 * np.abs(total)).all():
                break
        out[at] = x[at] * total
    return out.reshape(shape)


__all__ = ["binomial", "dirichlet_derivative", "gamma_derivative", "poisson", "standard_gamma"]

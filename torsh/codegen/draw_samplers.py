"""Samplers that draw as many uniform numbers as it takes: gamma, Poisson, binomial; and the choice of a race's first. With one seed they give
PyTorch's numbers.

`codegen.scalar` compiles this file's functions; they are Python too, with `uniform` and `normal` for the next numbers of an engine.
"""
from __future__ import annotations

import math
from typing import Any

Engine = Any
Floats = Any
Ints = Any


def uniform(engine: Engine) -> float:
    """The next float64 in [0, 1): linked in by `sampler_text`."""
    raise NotImplementedError


def normal(engine: Engine) -> float:
    """The next normal number, the kept one first: linked in by `sampler_text`."""
    raise NotImplementedError


def gamma(engine: Engine, out: Floats, count: int, alpha: Floats, least: float) -> int:
    """Gamma numbers of shape parameters `alpha` and rate 1, no less than `least`.

    Marsaglia & Tsang 2000, "A simple method for generating gamma variables": a cube of a shifted normal number, accepted by
    a squeeze or by its density; shapes below 1 by a power of a uniform on top of shape + 1.
    """
    for i in range(count):
        value = _gamma(engine, alpha[i])
        out[i] = least if value < least else value
    return 0


def _gamma(engine: Engine, a: float) -> float:
    scale = 1.0
    if a < 1.0:
        if a == 0.0:
            return 0.0
        scale = (1.0 - uniform(engine)) ** (1.0 / a)
        a = a + 1.0
    if a != a:
        return a
    d = a - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    while True:
        x = normal(engine)
        y = 1.0 + c * x
        if y <= 0.0:
            continue
        v = y * y * y
        u = 1.0 - uniform(engine)
        square = x * x
        if u < 1.0 - 0.0331 * square * square or math.log(u) < 0.5 * square + d * (1.0 - v + math.log(v)):
            break
    return scale * d * v


def poisson(engine: Engine, out: Floats, count: int, rate: Floats) -> int:
    """Poisson numbers of rates; 1, and nothing drawn, if one is negative.

    Rates of 10 and more: the transformed rejection method PTRS of Hoermann 1993, "The transformed rejection method for
    generating Poisson random variables". Lower ones: uniforms multiplied until below exp(-rate) (Knuth).
    """
    for i in range(count):
        if rate[i] < 0.0:
            return 1
    last = -1.0
    least = 0.0
    for i in range(count):
        lam = rate[i]
        if lam >= 10.0:
            out[i] = _large_poisson(engine, lam)
        else:
            if lam != last:
                last = lam
                least = math.exp(-lam)
            many = 0.0
            product = 1.0
            while lam > 0.0:
                product *= uniform(engine)
                if product <= least:
                    break
                many += 1.0
            out[i] = many
    return 0


def _large_poisson(engine: Engine, lam: float) -> float:
    root, log_rate = math.sqrt(lam), math.log(lam)
    b = 0.931 + 2.53 * root
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    limit = 0.9277 - 3.6224 / (b - 2.0)
    while True:
        u = uniform(engine) - 0.5
        v = uniform(engine)
        distance = 0.5 - abs(u)
        k = math.inf
        if distance > 0.0:
            k = math.floor((2.0 * a / distance + b) * u + lam + 0.43)
        if distance >= 0.07 and v <= limit:
            return k
        if k < 0.0 or (distance < 0.013 and v > distance):
            continue
        if v == 0.0 or math.log(v) + math.log(inverse_alpha) - math.log(a / (distance * distance) + b) <= k * log_rate - lam - math.lgamma(k + 1.0):
            return k


def binomial(engine: Engine, out: Floats, count: int, trials: Floats, chance: Floats) -> int:
    """Numbers of successes in `trials`.

    With 10 expected successes and more, BTRS of Hoermann 1993, "The generation of binomial random variates"; else geometric
    waiting times added up until the trials are over (Devroye 1986, chapter X.4).
    """
    for i in range(count):
        n, p = trials[i], chance[i]
        if n <= 0.0 or p <= 0.0:
            out[i] = 0.0
        elif p >= 1.0:
            out[i] = n
        elif p <= 0.5:
            out[i] = _rejected(engine, n, p) if n * p >= 10.0 else _waited(engine, n, p)
        elif p == p:
            q = 1.0 - p
            out[i] = n - (_rejected(engine, n, q) if n * q >= 10.0 else _waited(engine, n, q))
        else:
            out[i] = math.nan
    return 0


def _waited(engine: Engine, n: float, p: float) -> float:
    log_miss, total, successes = math.log1p(-p), 0.0, 0.0
    while True:
        u = uniform(engine)
        total += math.ceil(math.log(u) / log_miss) if u > 0.0 else math.inf
        if total > n:
            return successes
        successes += 1.0


_TAIL = (0.0810614667953272, 0.0413406959554092, 0.0276779256849983, 0.02079067210376509, 0.0166446911898211, 0.0138761288230707, 0.0118967099458917,
         0.0104112652619720, 0.00925546218271273, 0.00833056343336287)  # log(k!) less Stirling's formula, k = 0 .. 9


def _stirling_tail(k: float) -> float:
    if k <= 9.0:
        return _TAIL[int(k)]
    square = (k + 1.0) * (k + 1.0)
    return (1.0 / 12.0 - (1.0 / 360.0 - 1.0 / 1260.0 / square) / square) / (k + 1.0)


def _rejected(engine: Engine, n: float, p: float) -> float:
    deviation = math.sqrt(n * p * (1.0 - p))
    b = 1.15 + 2.53 * deviation
    a = -0.0873 + 0.0248 * b + 0.01 * p
    c = n * p + 0.5
    limit = 0.92 - 4.2 / b
    odds = p / (1.0 - p)
    alpha = (2.83 + 5.1 / b) * deviation
    m = math.floor((n + 1.0) * p)
    while True:
        u = uniform(engine) - 0.5
        v = uniform(engine)
        distance = 0.5 - abs(u)
        if distance == 0.0:
            continue
        k = math.floor((2.0 * a / distance + b) * u + c)
        if distance >= 0.07 and v <= limit:
            return k
        if k < 0.0 or k > n:
            continue
        v = math.log(v * alpha / (a / (distance * distance) + b)) if v > 0.0 else -math.inf
        bound = ((m + 0.5) * math.log((m + 1.0) / (odds * (n - m + 1.0))) + (n + 1.0) * math.log((n - m + 1.0) / (n - k + 1.0))
                 + (k + 0.5) * math.log(odds * (n - k + 1.0) / (k + 1.0))
                 + _stirling_tail(m) + _stirling_tail(n - m) - _stirling_tail(k) - _stirling_tail(n - k))
        if v <= bound:
            return k


def choose(engine: Engine, out: Ints, count: int, weights: Floats, times: Floats, rows: int, k: int) -> int:
    """The `count` indices with the largest weights / times of each row of k, largest first, the first of equal ones first; `times` is used up."""
    for row in range(rows):
        base = row * k
        for i in range(k):
            times[base + i] = weights[base + i] / times[base + i]
        for place in range(count):
            most = -1.0
            at = -1
            for i in range(k):
                speed = times[base + i]
                if speed > most:
                    most, at = speed, i
                elif at < 0 and speed != -2.0:  # what is not a number comes last
                    at = i
            out[row * count + place] = at
            times[base + at] = -2.0
    return 0

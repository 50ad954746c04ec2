"""Derivatives of samples by their distribution's parameters (Figurnov, Mohamed & Mnih 2018, "Implicit reparameterization gradients").

dx/da = -(dF(x; a)/da) / f(x; a), where every sum and integral below has terms of one sign.
"""
from __future__ import annotations

import numpy as np


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


__all__ = ["dirichlet_derivative", "gamma_derivative"]

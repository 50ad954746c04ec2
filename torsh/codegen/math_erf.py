"""The error function, its complement and the normal distribution function.

erfc(a) = exp(-a*a) * g(t)/(a + k) with t = (a - k)/(a + k): g is smooth on the whole half-line (the substitution of
Shepherd and Laframboise, 1981), and a*a in two words keeps the exponential right where it is tiny.
"""
from __future__ import annotations

from torsh.codegen.kernel_ir import Expr
from torsh.codegen.math_build import (
    absolute,
    add,
    at_least,
    at_most,
    div,
    fma,
    horner,
    lt,
    mul,
    neg,
    sign_bit,
    sub,
    two_product,
    where,
    with_sign,
)
from torsh.codegen.math_exp import exp_negative, expm1_near
from torsh.codegen.math_tables import TABLES

#: where erfc has vanished, and k; both as in tools/fit_math.py
ERFC_RANGE = {"float32": (10.08, 1.0), "float64": (27.25, 2.0)}


def _erfc_tail(a: Expr) -> Expr:
    """erfc(a) for a >= 0.46; at the end of ERFC_RANGE it is zero."""
    end, k = ERFC_RANGE[a.dtype]
    a = at_most(a, end)
    rough = div(1.0, add(a, k))
    inverse = fma(rough, fma(neg(rough), a, fma(rough, -k, 1.0)), rough)  # without the rounding of a + k
    g = mul(horner(fma(inverse, -2.0 * k, 1.0), TABLES[a.dtype]["ERFC"]), inverse)
    square, square_low = two_product(a, a)
    return exp_negative(neg(square), neg(square_low), g)


def _erf_near(a: Expr) -> Expr:
    """erf(a) for |a| <= 1 (float64) or 0.47 (float32)."""
    return fma(a, horner(mul(a, a), TABLES[a.dtype]["ERF"]), a)


def erfc(x: Expr) -> Expr:
    a = absolute(x)
    tail = _erfc_tail(a)
    return where(lt(a, 0.47), sub(1.0, _erf_near(x)), where(lt(x, 0.0), sub(2.0, tail), tail))


def erf(x: Expr) -> Expr:
    """float32: 1 - exp(-y), y = -log(1 - erf(|x|)) a polynomial, without a selection or division."""
    if x.dtype == "float32":
        a = at_least(neg(absolute(x)), -3.95)
        signs = tuple(-c if i % 2 else c for i, c in enumerate(TABLES["float32"]["ERF_EXPONENT"]))
        return with_sign(absolute(expm1_near(fma(a, horner(a, signs), a))), sign_bit(x))
    a = absolute(x)
    return with_sign(where(lt(a, 1.0), _erf_near(a), sub(1.0, _erfc_tail(a))), sign_bit(x))


def normal_cdf(x: Expr) -> Expr:
    """(1 + erf(x/sqrt(2)))/2 with a small *absolute* error, which takes half the operations of erf: what gelu needs.

    float32: 1 - erfc = 1 - (1 - w)**8 by squaring three times, w a polynomial. Written w*(2 - w), squaring 1 - w does
    not lose w where it is small, forgets w's error where it is near 1, and never passes 1."""
    if x.dtype == "float64":
        return fma(erf(mul(x, 0.5 ** 0.5)), 0.5, 0.5)
    a = at_most(absolute(x), 5.7)
    w = mul(a, horner(a, TABLES["float32"]["CDF"]))
    for _ in range(3):
        w = fma(neg(w), w, add(w, w))
    return fma(with_sign(w, sign_bit(x)), 0.5, 0.5)

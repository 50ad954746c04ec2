"""The exponential family: exp, exp2, expm1, sinh, cosh, tanh, sigmoid.

exp(x) = exp(r) * 2**(2h) with |r| <= ln 2: splitting off an even power of two lets the scale be applied as two equal
factors 2**h, each a normal number, so that overflow and subnormal results round once and need no selection.
h comes from adding a `magic` number that leaves it in the low bits, where a shift makes 2**h of it.
"""
from __future__ import annotations

from torsh.codegen.kernel_ir import Expr
from torsh.codegen.math_build import (
    FORMATS,
    absolute,
    add,
    at_least,
    at_most,
    div,
    fma,
    from_bits,
    ge,
    horner,
    lt,
    mul,
    neg,
    shl,
    sign_bit,
    sub,
    to_bits,
    where,
    with_sign,
)
from torsh.codegen.math_tables import TABLES

LOG2_E = 1.4426950408889634
#: ln 2 as the sum of two numbers of the type
LN2 = {"float32": (0.6931471824645996, -1.904654299957768e-09), "float64": (0.6931471805599453, 2.3190468138462996e-17)}
#: At (and below) the first, -2*bias*ln 2, the factor 2**h is zero; above the second exp(x) overflows. Where exp(x) rounds to zero,
#: from -104 (-746) on, a larger bound would serve as well, but products that underflow take 100 times as long on some processors,
#: and exp(-inf) is what masks are made of.
EXP_RANGE = {"float32": (-176.0598, 90.0), "float64": (-1418.1791, 711.0)}
#: the same for `exp_negative`: -(bias + bias//2)*ln 2
_NEGATIVE_BOUND = {"float32": -131.698, "float64": -1063.2878}
#: beyond the first expm1(x) is -1, beyond the second it overflows; up to the third 2**round(x/ln 2) is finite
EXPM1_RANGE = {"float32": (-18.0, 90.0, 88.0), "float64": (-39.0, 711.0, 709.0)}


def _clamp(x: Expr, low: float, high: float) -> Expr:
    return at_most(at_least(x, low), high)


def power_of_two(x: Expr, factor: float, raised: int = 0) -> tuple[Expr, Expr]:
    """round(x*factor) as a floating number n, and 2**(n + raised), a normal number or, one below the least of them, zero."""
    form = FORMATS[x.dtype]
    shifter = form.magic + form.bias + raised
    shifted = fma(x, factor, shifter)
    return sub(shifted, shifter), from_bits(shl(to_bits(shifted), form.precision - 1))


def exp_parts(x: Expr) -> tuple[Expr, Expr]:
    """p and s with exp(x) = p*s*s, s a power of two; x must lie in EXP_RANGE (or be NaN)."""
    high, low = LN2[x.dtype]
    half, scale = power_of_two(x, LOG2_E / 2)
    r = fma(half, -2 * low, fma(half, -2 * high, x))
    return fma(horner(r, TABLES[x.dtype]["EXP"]), r, 1.0), scale


def exp_negative(x: Expr, low_part: Expr | None = None, weight: Expr | None = None) -> Expr:
    """weight*exp(x + low_part) for x <= 0 (any x below its bound gives zero), as 2**n*exp(r) with |r| <= ln(2)/2.

    Without large exponents one constant factor keeps 2**n normal until the last multiplication rounds."""
    high, low = LN2[x.dtype]
    raised = FORMATS[x.dtype].bias // 2
    x = at_least(x, _NEGATIVE_BOUND[x.dtype])
    n, scale = power_of_two(x, LOG2_E, raised)
    r = fma(n, -high, x)
    r = fma(n, -low, r) if low_part is None else add(r, fma(n, -low, low_part))
    q = horner(r, TABLES[x.dtype]["EXP_NEAR"])
    p = fma(q, r, 1.0) if weight is None else fma(mul(weight, r), q, weight)
    return mul(mul(p, scale), 2.0 ** -raised)


def exp(x: Expr) -> Expr:
    p, scale = exp_parts(_clamp(x, *EXP_RANGE[x.dtype]))
    return mul(mul(p, scale), scale)


def exp2_parts(x: Expr, low_part: Expr | None = None) -> tuple[Expr, Expr]:
    """p and s with 2**(x + low_part) = p*s*s; |x| below 2*bias - 2."""
    half, scale = power_of_two(x, 0.5)
    r = fma(half, -2.0, x)
    if low_part is not None:
        r = add(r, low_part)
    return fma(horner(r, TABLES[x.dtype]["EXP2"]), r, 1.0), scale


def exp2(x: Expr) -> Expr:
    bias = float(FORMATS[x.dtype].bias)
    p, scale = exp2_parts(_clamp(x, -2.0 * bias, bias + 3.0))
    return mul(mul(p, scale), scale)


def _expm1_magnitude(x: Expr) -> Expr:
    """expm1, but +0 for -0. 2**n * expm1(r) + (2**n - 1); the polynomial reaches r = 0.7 so that n can stay finite."""
    least, most, finite = EXPM1_RANGE[x.dtype]
    high, low = LN2[x.dtype]
    x = _clamp(x, least, most)
    n, scale = power_of_two(at_most(x, finite), LOG2_E)
    r = fma(n, -low, fma(n, -high, x))
    q = fma(mul(r, r), horner(r, TABLES[x.dtype]["EXPM1"]), r)
    return fma(q, scale, sub(scale, 1.0))


def expm1(x: Expr) -> Expr:
    return with_sign(_expm1_magnitude(x), sign_bit(x))


def _half_exp(x: Expr) -> tuple[Expr, Expr]:
    """exp(|x|)/2 and exp(-|x|)/2."""
    p, scale = exp_parts(at_most(absolute(x), EXP_RANGE[x.dtype][1]))
    grown = mul(mul(p, mul(scale, 0.5)), scale)
    return grown, div(0.25, grown)


def cosh(x: Expr) -> Expr:
    return add(*_half_exp(x))


def sinh(x: Expr) -> Expr:
    a = absolute(x)
    z = mul(a, a)
    small = fma(mul(a, z), horner(z, TABLES[x.dtype]["SINH"]), a)
    return with_sign(where(lt(a, 1.0), small, sub(*_half_exp(x))), sign_bit(x))


def expm1_near(x: Expr) -> Expr:
    """expm1 where it serves a function that is 1 for large results: +0 for -0, |x| must not pass 45.

    The error of the one-word ln 2 grows with |x|, but only as what it is used for becomes insensitive to it."""
    n, scale = power_of_two(x, LOG2_E)
    r = fma(n, -LN2[x.dtype][0], x)
    q = fma(mul(r, r), horner(r, TABLES[x.dtype]["EXPM1_NEAR"]), r)
    return fma(q, scale, sub(scale, 1.0))


def tanh(x: Expr) -> Expr:
    """t/(t + 2) with t = expm1(2|x|): no selection, never above 1."""
    a = absolute(x)
    t = expm1_near(at_most(add(a, a), 20.0 if x.dtype == "float32" else 44.0))
    return with_sign(div(t, add(t, 2.0)), sign_bit(x))


def sigmoid(x: Expr) -> Expr:
    """1/(1 + exp(-x)) for x >= 0, exp(x)/(1 + exp(x)) below: exact to the smallest subnormal."""
    e = exp_negative(neg(absolute(x)))
    return div(where(ge(x, 0.0), 1.0, e), add(e, 1.0))

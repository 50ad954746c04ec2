"""The logarithmic family: log, log2, log10, log1p, asinh, acosh, atanh, and pow.

x = m * 2**e with m in [sqrt(1/2), sqrt(2)); log(m) = f + g(f) with f = m - 1, g of second order, so that the leading
term is exact. float32 takes g as a polynomial in f; float64 from s = f/(2 + f), log(m) = 2*atanh(s).
"""
from __future__ import annotations

from torsh.codegen.kernel_ir import Expr
from torsh.codegen.math_build import (
    FORMATS,
    INFINITY,
    NAN,
    absolute,
    add,
    at_least,
    at_most,
    bit_and,
    bit_or,
    bit_xor,
    cast,
    choose,
    div,
    eq,
    fast_two_sum,
    fma,
    from_bits,
    gt,
    horner,
    le,
    lt,
    mul,
    ne,
    neg,
    rint,
    shl,
    shr,
    sign_bit,
    sqrt,
    sub,
    to_bits,
    two_product,
    where,
    with_sign,
)
from torsh.codegen.math_exp import LN2, exp2_parts
from torsh.codegen.math_tables import TABLES

SQRT_HALF_BITS = {"float32": 0x3F3504F3, "float64": 0x3FE6A09E667F3BCD}
#: 1/ln 2, 1/ln 10 and log10(2), each as the sum of two numbers of the type
LOG2_E = {"float32": (1.4426950216293335, 1.9259629911783354e-08),
          "float64": (1.4426950408889634, 2.0355273740931033e-17)}
LOG10_E = {"float32": (0.4342944920063019, -1.0103050118726037e-08),
           "float64": (0.4342944819032518, 1.098319650216765e-17)}
LOG10_2 = {"float32": (0.3010300099849701, -1.4320989266787888e-08),
           "float64": (0.3010299956639812, -2.8037281277851704e-18)}


def _exponent_value(exponent: Expr, dtype: str) -> Expr:
    """A small integer as a floating number; by its bits for int64, which few targets convert in vectors."""
    if dtype == "float32":
        return cast(exponent, "float32")
    shifter = FORMATS["float64"].magic
    return sub(from_bits(add(exponent, 0x4338000000000000)), shifter)


def _split(x: Expr, rescale: bool) -> tuple[Expr, Expr]:
    """m in [sqrt(1/2), sqrt(2)) and the exponent e as a floating number, x = m * 2**e, for finite x > 0.

    `rescale` brings subnormal numbers up first."""
    form = FORMATS[x.dtype]
    fraction = form.precision - 1
    if rescale:
        subnormal = lt(x, form.tiny)
        x = where(subnormal, mul(x, 2.0 ** form.precision), x)
    bits = to_bits(x)
    exponent = shr(sub(bits, SQRT_HALF_BITS[x.dtype]), fraction)
    m = from_bits(sub(bits, shl(exponent, fraction)))
    e = _exponent_value(exponent, x.dtype)
    if rescale:
        e = sub(e, choose(subnormal, float(form.precision), 0.0, x.dtype))
    return m, e


def _second_order(f: Expr) -> Expr:
    """log(1 + f) - f for 1 + f in [sqrt(1/2), sqrt(2))."""
    table = TABLES[f.dtype]["LOG"]
    if f.dtype == "float32":
        return mul(mul(f, f), fma(f, horner(f, table), -0.5))
    half_square = mul(mul(f, f), 0.5)
    s = div(f, add(f, 2.0))
    z = mul(s, s)
    return fma(s, fma(z, horner(z, table), half_square), neg(half_square))


def _special(x: Expr, result: Expr) -> Expr:
    """log's values at 0, below, at infinity and for NaN."""
    result = where(lt(x, INFINITY), result, x)
    return where(le(x, 0.0), choose(eq(x, 0.0), -INFINITY, NAN, x.dtype), result)


def log(x: Expr) -> Expr:
    high, low = LN2[x.dtype]
    m, e = _split(x, True)
    f = sub(m, 1.0)
    return _special(x, fma(e, high, add(f, fma(e, low, _second_order(f)))))


def _log_to_base(x: Expr, factor: tuple[float, float], exponent_factor: tuple[float, float]) -> Expr:
    """e*exponent_factor + log(m)*factor."""
    m, e = _split(x, True)
    f = sub(m, 1.0)
    high, low = fast_two_sum(f, _second_order(f))
    p, error = two_product(high, factor[0])
    error = add(error, fma(high, factor[1], mul(low, factor[0])))
    error = fma(e, exponent_factor[1], error) if exponent_factor[1] else error
    return _special(x, fma(e, exponent_factor[0], add(p, error)))


def log2(x: Expr) -> Expr:
    return _log_to_base(x, LOG2_E[x.dtype], (1.0, 0.0))


def log10(x: Expr) -> Expr:
    return _log_to_base(x, LOG10_E[x.dtype], LOG10_2[x.dtype])


def _log1p(x: Expr, scaled: Expr | None = None, extra: float = 0.0) -> Expr:
    """log(1 + x) for finite x > -1, +0 for -0; where `scaled`, log(x) + extra*ln 2 for x > 2**40.

    With 1 + x in [2**e/sqrt(2), 2**e*sqrt(2)), f = x/2**e + (1/2**e - 1) rounds once, whatever 1 + x lost."""
    form = FORMATS[x.dtype]
    high, low = LN2[x.dtype]
    exponent = bit_and(sub(to_bits(add(x, 1.0)), SQRT_HALF_BITS[x.dtype]), -1 << (form.precision - 1))
    scale = from_bits(sub(form.bias << (form.precision - 1), exponent))
    f = fma(x, scale, sub(scale, 1.0))
    e = _exponent_value(shr(exponent, form.precision - 1), x.dtype)
    if scaled is not None:
        e = add(e, choose(scaled, extra, 0.0, x.dtype))
    return fma(e, high, add(f, fma(e, low, _second_order(f))))


def _shrink(x: Expr, t: Expr) -> tuple[Expr, Expr]:
    """`t`, or x/2**16 where x is so large that 1 + t is t = x, or a square would overflow; and where that is."""
    big = gt(x, 2.0 ** (FORMATS[x.dtype].bias // 2 - 4))
    return where(big, mul(x, 2.0 ** -16), t), big


def log1p(x: Expr) -> Expr:
    result = with_sign(_log1p(*_shrink(x, x), 16.0), sign_bit(x))
    result = where(lt(x, INFINITY), result, x)
    return where(le(x, -1.0), choose(eq(x, -1.0), -INFINITY, NAN, x.dtype), result)


def asinh(x: Expr) -> Expr:
    """log1p(a + a**2/(1 + sqrt(1 + a**2))) with a = |x|; log(2a) where a**2 might overflow."""
    a = absolute(x)
    square = mul(a, a)
    t = add(a, div(square, add(sqrt(add(square, 1.0)), 1.0)))
    result = _log1p(*_shrink(a, t), 17.0)
    return with_sign(where(lt(a, INFINITY), result, a), sign_bit(x))


def acosh(x: Expr) -> Expr:
    """log1p(t + sqrt(2t + t**2)) with t = x - 1; log(2x) where t**2 might overflow."""
    t = sub(x, 1.0)
    t = add(t, sqrt(fma(t, t, add(t, t))))
    result = where(lt(x, INFINITY), _log1p(*_shrink(x, t), 17.0), x)
    return where(lt(x, 1.0), NAN, result)


def atanh(x: Expr) -> Expr:
    """log1p(2a/(1 - a))/2 with a = |x|."""
    a = absolute(x)
    t = div(add(a, a), sub(1.0, a))
    result = mul(_log1p(t), 0.5)
    result = where(lt(a, 1.0), result, choose(eq(a, 1.0), INFINITY, NAN, x.dtype))
    return with_sign(result, sign_bit(x))


def _log2_double(x: Expr) -> tuple[Expr, Expr]:
    """log2 of finite x > 0 as a sum of two numbers, of relative error about 2**-(precision + 7).

    log2(m) = s*(C + z*P(z)) with s = (m - 1)/(m + 1), z = s*s; s, C = 2/ln 2 and the outer product in two words."""
    c_high, c_low = LOG2_E[x.dtype]
    m, e = _split(x, True)
    f = sub(m, 1.0)
    d = add(m, 1.0)
    d_low = sub(m, sub(d, 1.0))
    inverse = div(1.0, d)
    s = mul(f, inverse)
    s_low = mul(fma(neg(s), d_low, fma(neg(s), d, f)), inverse)
    z, z_low = two_product(s, s)
    z_low = fma(add(s, s), s_low, z_low)
    r = horner(z, TABLES[x.dtype]["POW_LOG2"])
    p, p_low = two_product(z, r)
    t, t_low = fast_two_sum(2 * c_high, p)
    t_low = add(t_low, add(fma(z_low, r, p_low), 2 * c_low))
    q, q_low = two_product(s, t)
    q_low = add(q_low, fma(s, t_low, mul(s_low, t)))
    high, low = fast_two_sum(e, q)
    return high, add(low, q_low)


def power(x: Expr, y: Expr) -> Expr:
    """C's pow: 2**(y*log2|x|) with the logarithm and the product in two words, then sign and special values."""
    form = FORMATS[x.dtype]
    limit = 2.0 * form.bias - 4.0
    a = absolute(x)
    high, low = _log2_double(a)
    # a bound beyond which |y*log2(a)| overflows for every a but 1 keeps the product finite
    bound = 2.0 ** (form.precision + 12)
    capped = at_most(at_least(y, -bound), bound)
    z, z_low = two_product(capped, high)
    z_low = fma(capped, low, z_low)
    inside = lt(absolute(z), limit)
    p, scale = exp2_parts(at_most(at_least(z, -limit), limit), where(inside, z_low, 0.0))
    result = mul(mul(p, scale), scale)
    # an infinite or zero base: infinite where it grows, else zero
    zero, infinite = eq(a, 0.0), eq(a, INFINITY)
    grows = bit_xor(zero, gt(y, 0.0))
    result = where(bit_or(zero, infinite), choose(grows, INFINITY, 0.0, x.dtype), result)
    negative = lt(to_bits(x), 0)
    half = mul(y, 0.5)
    odd = bit_and(eq(rint(y), y), ne(rint(half), half))
    result = where(bit_and(negative, odd), neg(result), result)
    finite_negative = bit_and(lt(x, 0.0), gt(x, -INFINITY))
    result = where(bit_and(finite_negative, ne(rint(y), y)), NAN, result)
    result = where(ne(x, x), x, where(ne(y, y), y, result))
    return where(bit_or(eq(y, 0.0), eq(x, 1.0)), 1.0, result)

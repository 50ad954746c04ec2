"""From words of the Mersenne Twister to numbers of distributions, as expressions of the kernel IR.

The arguments lie in ranges that are known, so logarithms and sines need none of the special cases of `math_log` and `math_trig`, whose
polynomials they share. Roundings are those of PyTorch's kernels: which type, and where `x * a + c` rounds once.
"""
from __future__ import annotations

import math

from torsh.codegen.kernel_ir import Expr, Op
from torsh.codegen.math_build import (
    FORMATS,
    INFINITY,
    add,
    bit_and,
    bit_or,
    bit_xor,
    cast,
    div,
    eq,
    fma,
    from_bits,
    ge,
    horner,
    lt,
    mul,
    neg,
    shl,
    shr,
    sqrt,
    sub,
    to_bits,
    where,
)
from torsh.codegen.math_exp import LN2
from torsh.codegen.math_log import _second_order, _split
from torsh.codegen.math_tables import TABLES

#: pi/2 as the sum of two numbers of the type
HALF_PI = {"float32": (1.5707963705062866, -4.371138828673793e-08), "float64": (1.5707963267948966, 6.123233995736766e-17)}
_TWO_52 = 2.0 ** 52


def unit32(word: Expr) -> Expr:
    """float32 in [0, 1) from the low 24 bits of a word (int32)."""
    return mul(cast(bit_and(word, 0xFFFFFF), "float32"), 2.0 ** -24)


def _whole(part: Expr) -> Expr:
    """An int64 in [0, 2**52) as float64, by its bits: few targets convert int64 in vectors."""
    return sub(from_bits(bit_or(part, 0x4330000000000000)), _TWO_52)


def _parts(pair: Expr) -> tuple[Expr, Expr]:
    """The high 21 and the low 32 of the 53 bits that two words, read as one int64, stand for: the first word is the high one."""
    return bit_and(pair, 0x1FFFFF), bit_and(shr(pair, 32), 0xFFFFFFFF)


def unit64(pair: Expr) -> Expr:
    """float64 in [0, 1) from the low 53 bits of two words; products and sum are exact."""
    high, low = _parts(pair)
    return fma(_whole(low), 2.0 ** -53, mul(_whole(high), 2.0 ** -21))


def bits53(pair: Expr) -> Expr:
    """`unit64` times 2**53, an int64."""
    high, low = _parts(pair)
    return bit_or(shl(high, 32), low)


def scaled(unit: Expr, low: Expr, high: Expr, end: Expr) -> Expr:
    """unit * (high - low) + low, and `low` where that rounds to `end`."""
    value = fma(unit, sub(high, low), low)
    return where(eq(value, end), low, value)


def log_unit(x: Expr) -> Expr:
    """log(x) for a normal number x <= 1."""
    high, low = LN2[x.dtype]
    m, e = _split(x, False)
    f = sub(m, 1.0)
    return fma(e, high, add(f, fma(e, low, _second_order(f))))


def _quarter(a: Expr) -> tuple[Expr, Expr]:
    """|a| <= 2 pi as quarter * (pi/2) + r: an integer whose two low bits count, and r in [-pi/4, pi/4] to a rounding, a * 2/pi being small."""
    shifter = FORMATS[a.dtype].magic
    shifted = fma(a, 2 / math.pi, shifter)
    count = neg(sub(shifted, shifter))
    high, low = HALF_PI[a.dtype]
    return to_bits(shifted), fma(count, low, fma(count, high, a))


def _flipped(value: Expr, quarter: Expr) -> Expr:
    """`value` with its sign changed where bit 1 of `quarter` is set."""
    top = FORMATS[value.dtype].precision + (6 if value.dtype == "float32" else 9)  # from bit 1 to the sign
    return from_bits(bit_xor(to_bits(value), shl(bit_and(quarter, 2), top)))


def cosine_and_sine(a: Expr) -> tuple[Expr, Expr]:
    """For |a| <= 2 pi."""
    table = TABLES[a.dtype]
    quarter, r = _quarter(a)
    z = mul(r, r)
    sine = fma(mul(r, z), horner(z, table["SIN"]), r)
    cosine = fma(z, fma(z, horner(z, table["COS"]), -0.5), 1.0)
    even = eq(bit_and(quarter, 1), 0)
    return _flipped(where(even, cosine, sine), add(quarter, 1)), _flipped(where(even, sine, cosine), quarter)


def tangent(a: Expr) -> Expr:
    """For |a| <= 2 pi: tan(r), or -1/tan(r) in odd quarters."""
    quarter, r = _quarter(a)
    z = mul(r, r)
    t = fma(mul(r, z), horner(z, TABLES[a.dtype]["TAN"]), r)
    even = eq(bit_and(quarter, 1), 0)
    return div(where(even, t, -1.0), where(even, 1.0, t))


def normal_pair(first: Expr, second: Expr) -> tuple[Expr, Expr]:
    """Two normal numbers of two uniform ones (Box & Muller, 1958): radius sqrt(-2 log(1 - first)), angle 2 pi second."""
    radius = sqrt(mul(log_unit(sub(1.0, first)), -2.0))
    cosine, sine = cosine_and_sine(mul(second, 2 * math.pi))
    return mul(radius, cosine), mul(radius, sine)


def exponential(unit: Expr, scale: Expr) -> Expr:
    """log(1 - unit) * scale, scale < 0; 1 - unit is exact. Never -0, whose inverse would be the least of a race's times."""
    return fma(log_unit(sub(1.0, unit)), scale, 0.0)


def geometric(unit: Expr, scale: Expr) -> Expr:
    """ceil(log(unit) / scale), scale = log(1 - p)."""
    quotient = div(where(eq(unit, 0.0), -INFINITY, log_unit(unit)), scale)
    return Op("ceil", (quotient,), quotient.dtype)


def cauchy(unit: Expr, median: Expr, sigma: Expr) -> Expr:
    """median + sigma * tan(pi * (unit - 1/2))."""
    return fma(tangent(mul(sub(unit, 0.5), math.pi)), sigma, median)


def remainder(word: Expr, span: Expr, inverse: Expr) -> Expr:
    """`word` modulo `span`, both integers as float64 below 2**33, given 1 / span: the rounded quotient errs by one at most."""
    quotient = Op("floor", (mul(word, inverse),), "float64")
    rest = fma(neg(quotient), span, word)
    rest = where(lt(rest, 0.0), add(rest, span), rest)
    return where(ge(rest, span), sub(rest, span), rest)

"""Trigonometric functions and their inverses, right for every finite argument.

float32 is reduced to a quarter turn in float64: x*(2/pi) modulo 4 is x times one of five constants (multiples of 4 that
a large x would multiply to whole turns are left out of the constant), so a product of two words does it. A target
without float64 cannot have these three functions from here.

float64 takes five 53-bit digits of 1/(2*pi), from the first that does not only add whole turns (Payne and Hanek's idea
with floating digits and exact products), and adds the fractions of the partial products from the largest on in two
words: 2**-62, the nearest a float64 comes to a multiple of pi/2, keeps more than 50 correct bits.
"""
from __future__ import annotations

from torsh.codegen.kernel_ir import Const, Expr
from torsh.codegen.math_build import (
    FORMATS,
    absolute,
    add,
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
    two_sum,
    where,
    with_sign,
)
from torsh.codegen.math_tables import QUARTERS, TABLES, TURN_DIGITS

PI = {"float32": (3.1415927410125732, -8.742277657347586e-08), "float64": (3.141592653589793, 1.2246467991473532e-16)}


def _reduce_single(a: Expr) -> tuple[Expr, Expr, Expr | None]:
    """`_reduce` in float64."""
    shifter = FORMATS["float64"].magic
    wide = cast(a, "float64")
    c: Expr = Const(QUARTERS[-1][1], "float64")
    d: Expr = Const(QUARTERS[-1][2], "float64")
    for bound, high, low in reversed(QUARTERS[:-1]):
        below = lt(a, bound)
        c, d = where(below, high, c), where(below, low, d)
    shifted = fma(wide, c, shifter)
    quarters = fma(wide, d, fma(wide, c, neg(sub(shifted, shifter))))
    return cast(to_bits(shifted), "int32"), cast(mul(quarters, PI["float64"][0] / 2), "float32"), None


def _fraction(x: Expr) -> Expr:
    return sub(x, rint(x))


def _window(a: Expr, count: int) -> tuple[Expr, list[Expr]]:
    """a >= 0 scaled below 2**106 by 2**(-53*i), and `count` digits of 1/(2*pi) from the i-th: what comes before adds
    whole turns to the product. The digits are shifted by the bits of i, the highest first."""
    exponent = cast(shr(to_bits(a), 52), "int32")
    above = sub(exponent, 1023 + 53)
    above = where(lt(above, 0), 0, above)
    first = shr(mul(above, 1237), 16)  # above // 53
    scale = from_bits(shl(cast(sub(1023, mul(first, 53)), "int64"), 52))
    digits: list[Expr] = [Const(digit, "float64") for digit in TURN_DIGITS]
    for bit in (16, 8, 4, 2, 1):
        moves = ne(bit_and(first, bit), 0)
        kept = min(len(digits), count + bit - 1)
        digits = [where(moves, digits[i + bit], digits[i]) if i + bit < len(digits) else digits[i] for i in range(kept)]
    return mul(a, scale), digits[:count]


def _reduce_double(a: Expr) -> tuple[Expr, Expr, Expr]:
    """`_reduce` with r as the sum of two numbers."""
    scaled, digits = _window(a, 5)
    products = [two_product(mul(scaled, 2.0 ** (-53 * i)) if i else scaled, digits[i]) for i in range(4)]
    last = mul(mul(scaled, 2.0 ** -212), digits[4])
    high, low = two_sum(_fraction(products[0][0]), _fraction(products[0][1]))
    high = _fraction(high)
    terms = [_fraction(products[1][0]), products[1][1], *products[2], products[3][0], add(products[3][1], last)]
    for term in terms:
        high, error = two_sum(high, term)
        high, low = fast_two_sum(high, add(low, error))
    shifter = FORMATS["float64"].magic
    turns = _fraction(high)
    shifted = fma(turns, 4.0, shifter)
    high, low = fast_two_sum(fma(sub(shifted, shifter), -0.25, turns), low)
    r, r_low = two_product(high, 2 * PI["float64"][0])
    r_low = add(r_low, fma(low, 2 * PI["float64"][0], mul(high, 2 * PI["float64"][1])))
    tiny = lt(a, 2.0 ** -30)  # below, the products lose bits to underflow
    return cast(to_bits(shifted), "int32"), where(tiny, a, r), where(tiny, 0.0, r_low)


def _reduce(a: Expr) -> tuple[Expr, Expr, Expr | None]:
    """a >= 0 as quarter*(pi/2) + r (+ a low part for float64): the integer quarter modulo 4, r in [-pi/4, pi/4]."""
    return _reduce_single(a) if a.dtype == "float32" else _reduce_double(a)


def _sine_and_cosine(a: Expr) -> tuple[Expr, Expr, Expr]:
    """The quarter turn of a >= 0, and sine and cosine of the rest."""
    table = TABLES[a.dtype]
    quarter, r, low = _reduce(a)
    z = mul(r, r)
    sine_tail = mul(mul(r, z), horner(z, table["SIN"]))
    cosine_tail = horner(z, table["COS"])
    if low is None:
        return quarter, add(r, sine_tail), fma(z, fma(z, cosine_tail, -0.5), 1.0)
    half = mul(z, 0.5)
    near = sub(1.0, half)
    sine = add(r, add(sine_tail, fma(neg(half), low, low)))
    rest = fma(mul(z, z), cosine_tail, mul(neg(r), low))
    return quarter, sine, add(near, add(sub(sub(1.0, near), half), rest))


def _signed(value: Expr, quarter: Expr, sign: Expr | None) -> Expr:
    """`value` with its sign changed where bit 1 of `quarter` is set, and where `sign` is."""
    top = shl(quarter, 30) if value.dtype == "float32" else shl(cast(quarter, "int64"), 62)
    flip = bit_and(top, FORMATS[value.dtype].sign)
    if sign is not None:
        flip = bit_xor(flip, sign)
    return from_bits(bit_xor(to_bits(value), flip))


def sin(x: Expr) -> Expr:
    quarter, sine, cosine = _sine_and_cosine(absolute(x))
    value = where(eq(bit_and(quarter, 1), 0), sine, cosine)
    return _signed(value, quarter, sign_bit(x))


def cos(x: Expr) -> Expr:
    quarter, sine, cosine = _sine_and_cosine(absolute(x))
    value = where(eq(bit_and(quarter, 1), 0), cosine, sine)
    return _signed(value, add(quarter, 1), None)


def tan(x: Expr) -> Expr:
    """tan(r), or -1/tan(r) in odd quarters."""
    a = absolute(x)
    quarter, r, low = _reduce(a)
    z = mul(r, r)
    tail = mul(mul(r, z), horner(z, TABLES[x.dtype]["TAN"]))
    if low is not None:  # the derivative is 1 + tan(r)**2
        t = add(r, tail)
        tail = add(tail, fma(mul(t, t), low, low))
    t = add(r, tail)
    even = eq(bit_and(quarter, 1), 0)
    value = div(where(even, t, -1.0), where(even, 1.0, t))
    return from_bits(bit_xor(to_bits(value), sign_bit(x)))


def _atan_unit(u: Expr) -> Expr:
    """atan on [0, 1]."""
    z = mul(u, u)
    return fma(mul(u, z), horner(z, TABLES[u.dtype]["ATAN"]), u)


def atan(x: Expr) -> Expr:
    high, low = PI[x.dtype]
    a = absolute(x)
    steep = gt(a, 1.0)
    angle = _atan_unit(where(steep, div(1.0, a), a))
    return with_sign(where(steep, add(sub(low / 2, angle), high / 2), angle), sign_bit(x))


def atan2(y: Expr, x: Expr) -> Expr:
    """The angle of (x, y) in [-pi, pi], C's special values."""
    high, low = PI[x.dtype]
    ax, ay = absolute(x), absolute(y)
    steep = gt(ay, ax)
    over, under = where(steep, ax, ay), where(steep, ay, ax)
    ratio = where(eq(over, under), where(eq(over, 0.0), over, 1.0), div(over, under))
    angle = _atan_unit(ratio)
    left = lt(to_bits(x), 0)
    angle = where(steep, neg(angle), angle)
    angle = where(left, neg(angle), angle)
    base = where(steep, high / 2, choose(left, high, 0.0, x.dtype))
    base_low = where(steep, low / 2, choose(left, low, 0.0, x.dtype))
    return from_bits(bit_or(to_bits(absolute(add(base, add(base_low, angle)))), sign_bit(y)))


def _asin_parts(x: Expr) -> tuple[Expr, Expr, Expr]:
    """Whether |x| > 1/2; and s, t with s + t = asin(sqrt((1 - |x|)/2)) there, asin(|x|) elsewhere."""
    a = absolute(x)
    big = gt(a, 0.5)
    z = where(big, fma(a, -0.5, 0.5), mul(a, a))
    s = where(big, sqrt(z), a)
    return big, s, mul(mul(s, z), horner(z, TABLES[x.dtype]["ASIN"]))


def asin(x: Expr) -> Expr:
    """pi/2 - 2*asin(sqrt((1 - |x|)/2)) for |x| > 1/2."""
    high, low = PI[x.dtype]
    big, s, tail = _asin_parts(x)
    factor = choose(big, -2.0, 1.0, x.dtype)
    base, base_low = choose(big, high / 2, 0.0, x.dtype), choose(big, low / 2, 0.0, x.dtype)
    return with_sign(add(fma(s, factor, base), fma(tail, factor, base_low)), sign_bit(x))


def acos(x: Expr) -> Expr:
    """pi/2 - asin(x) near zero, 2*asin(sqrt((1 - x)/2)) above, pi - 2*asin(sqrt((1 + x)/2)) below."""
    high, low = PI[x.dtype]
    big, s, tail = _asin_parts(x)
    positive = gt(x, 0.0)
    factor = where(big, choose(positive, 2.0, -2.0, x.dtype), choose(positive, -1.0, 1.0, x.dtype))
    base = where(big, choose(positive, 0.0, high, x.dtype), high / 2)
    base_low = where(big, choose(positive, 0.0, low, x.dtype), low / 2)
    return add(fma(s, factor, base), fma(tail, factor, base_low))

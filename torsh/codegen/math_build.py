"""Short constructors for expressions, used by the expansions of mathematical functions.

Every function takes expressions or Python numbers; a number takes the dtype of the expression beside it.
"""
from __future__ import annotations

from torsh.codegen.kernel_ir import Cast, Const, Expr, Op

Operand = Expr | float | int | bool


class Format:
    """A binary floating type and the integer of its width.

    `precision` counts the bits of the significand with the hidden one; `magic` is 1.5 * 2**(precision-1): added to a
    number x, |x| < 2**(precision-2), it leaves the nearest integer, in two's complement, in the low bits of the sum.
    `sign` is the integer with only the sign bit set, `tiny` the smallest normal number.
    """
    __slots__ = ("dtype", "integer", "precision", "bias", "magic", "sign", "tiny")

    def __init__(self, dtype: str, integer: str, precision: int, bias: int) -> None:
        self.dtype = dtype
        self.integer = integer
        self.precision = precision
        self.bias = bias
        self.magic = 1.5 * 2.0 ** (precision - 1)
        self.sign = -(1 << 31) if integer == "int32" else -(1 << 63)
        self.tiny = 2.0 ** (1 - bias)


FORMATS = {"float32": Format("float32", "int32", 24, 127), "float64": Format("float64", "int64", 53, 1023)}
INFINITY = float("inf")
NAN = float("nan")


def _op(name: str, *operands: Operand) -> Expr:
    dtype = next(operand.dtype for operand in operands if isinstance(operand, Expr))
    return Op(name, tuple(o if isinstance(o, Expr) else Const(o, dtype) for o in operands), dtype)


def _compare(name: str, a: Operand, b: Operand) -> Expr:
    dtype = a.dtype if isinstance(a, Expr) else b.dtype  # type: ignore[union-attr]
    return Op(name, tuple(o if isinstance(o, Expr) else Const(o, dtype) for o in (a, b)), "bool")


def add(a: Operand, b: Operand) -> Expr:
    return _op("add", a, b)


def sub(a: Operand, b: Operand) -> Expr:
    return _op("sub", a, b)


def mul(a: Operand, b: Operand) -> Expr:
    return _op("mul", a, b)


def div(a: Operand, b: Operand) -> Expr:
    return _op("div", a, b)


def fma(a: Operand, b: Operand, c: Operand) -> Expr:
    """a*b + c, rounded once."""
    return _op("fma", a, b, c)


def neg(a: Expr) -> Expr:
    return _op("neg", a)


def absolute(a: Expr) -> Expr:
    return _op("abs", a)


def sqrt(a: Expr) -> Expr:
    return _op("sqrt", a)


def rint(a: Expr) -> Expr:
    return _op("rint", a)


def bit_and(a: Operand, b: Operand) -> Expr:
    return _op("and", a, b)


def bit_or(a: Operand, b: Operand) -> Expr:
    return _op("or", a, b)


def bit_xor(a: Operand, b: Operand) -> Expr:
    return _op("xor", a, b)


def shl(a: Expr, bits: int) -> Expr:
    return _op("shl", a, bits)


def shr(a: Expr, bits: int) -> Expr:
    return _op("shr", a, bits)


def eq(a: Operand, b: Operand) -> Expr:
    return _compare("eq", a, b)


def ne(a: Operand, b: Operand) -> Expr:
    return _compare("ne", a, b)


def lt(a: Operand, b: Operand) -> Expr:
    return _compare("lt", a, b)


def le(a: Operand, b: Operand) -> Expr:
    return _compare("le", a, b)


def gt(a: Operand, b: Operand) -> Expr:
    return _compare("gt", a, b)


def ge(a: Operand, b: Operand) -> Expr:
    return _compare("ge", a, b)


def where(condition: Expr, a: Operand, b: Operand) -> Expr:
    """`a` where `condition`, else `b`; one of the two is an expression."""
    dtype = a.dtype if isinstance(a, Expr) else b.dtype  # type: ignore[union-attr]
    return Op("where", (condition, *(o if isinstance(o, Expr) else Const(o, dtype) for o in (a, b))), dtype)


def choose(condition: Expr, a: float | int, b: float | int, dtype: str) -> Expr:
    """`where` of two constants."""
    return Op("where", (condition, Const(a, dtype), Const(b, dtype)), dtype)


def at_most(x: Expr, bound: float) -> Expr:
    """min(x, bound) that keeps a NaN; a compare and a select, which targets fuse to one instruction."""
    return where(gt(x, bound), bound, x)


def at_least(x: Expr, bound: float) -> Expr:
    """max(x, bound) that keeps a NaN."""
    return where(lt(x, bound), bound, x)


def cast(a: Expr, dtype: str) -> Expr:
    return Cast(a, dtype, dtype)


def to_bits(a: Expr) -> Expr:
    """The bits of a floating value as the signed integer of its width."""
    return Op("bitcast", (a,), FORMATS[a.dtype].integer)


def from_bits(a: Expr) -> Expr:
    """The inverse of `to_bits`."""
    return Op("bitcast", (a,), "float32" if a.dtype == "int32" else "float64")


def sign_bit(x: Expr) -> Expr:
    """An integer holding only the sign bit of `x`."""
    return bit_and(to_bits(x), FORMATS[x.dtype].sign)


def with_sign(magnitude: Expr, sign: Expr) -> Expr:
    """A non-negative value given the sign bit made by `sign_bit`."""
    return from_bits(bit_or(to_bits(magnitude), sign))


def horner(x: Expr, coefficients: tuple[float, ...]) -> Expr:
    """coefficients[0] + coefficients[1]*x + ..., by Horner's rule."""
    result: Operand = coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        result = fma(result, x, coefficient)
    assert isinstance(result, Expr)
    return result


def two_sum(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """The rounded sum and its exact error (Knuth)."""
    s = add(a, b)
    t = sub(s, a)
    return s, add(sub(a, sub(s, t)), sub(b, t))


def fast_two_sum(a: Operand, b: Expr) -> tuple[Expr, Expr]:
    """The rounded sum and its exact error where |a| >= |b| or a is zero (Dekker)."""
    s = add(a, b)
    return s, sub(b, sub(s, a))


def two_product(a: Expr, b: Operand) -> tuple[Expr, Expr]:
    """The rounded product and its exact error."""
    p = mul(a, b)
    return p, fma(a, b, neg(p))

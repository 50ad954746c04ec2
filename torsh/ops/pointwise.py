"""Pointwise operations: arithmetic, comparison, logic and mathematical functions, each declared once.

Derivatives are in tensor operations, so they can be differentiated again. `g` is the gradient of the output.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torsh.autograd.graph import GradNode
from torsh.core import dtypes
from torsh.core.dtypes import bool_, dtype, get_default_dtype
from torsh.graph import primitives as p
from torsh.graph.node import Op
from torsh.ops.dispatch import cast_tensor, coarse, pointwise, public, result_type_of, same_type, shape_of, wide
from torsh.ops.views import zeros_like_shape
from torsh.tensor.tensor import Tensor, attribute, node_of, operators

Vjp = Callable[..., Any]
P = p.POINTWISE


def _differentiable(op: Op, vjp: Vjp, inputs: tuple[int, ...] = (), output: bool = False, name: str | None = None) -> None:
    op.vjp, op.save_inputs, op.save_output = vjp, inputs, output
    if name:
        op.grad_name = name


def conj_if(t: Tensor) -> Tensor:
    """The conjugate of a complex tensor; a real one as it is."""
    return t.conj_physical() if t._dtype.is_complex else t  # type: ignore[attr-defined]


def float_type(dt: dtype) -> dtype:
    """The type a function with real values computes in: integers become the default floating type."""
    return dt if dt.category >= 2 else get_default_dtype()


# ---- arithmetic


_differentiable(p.ADD, lambda ctx, g: (g, g))
_differentiable(p.SUB, lambda ctx, g: (g, -g if ctx.needs[1] else None))
_differentiable(p.MUL, lambda ctx, g: (g * conj_if(ctx[1]) if ctx.needs[0] else None, g * conj_if(ctx[0]) if ctx.needs[1] else None), (0, 1))
_differentiable(p.NEG, lambda ctx, g: -g)


def _div_vjp(ctx: GradNode, g: Tensor) -> tuple[Tensor | None, Tensor | None]:
    y = wide(ctx[1])
    scaled = wide(g) / conj_if(y)
    return scaled, -scaled * conj_if(wide(ctx[0]) / y) if ctx.needs[1] else None


_differentiable(p.DIV, _div_vjp, (0, 1))


def _no_bool(what: str, *args: Any) -> None:
    for x in args:
        if (isinstance(x, Tensor) and x._dtype is bool_) or isinstance(x, bool):
            raise RuntimeError(f"Subtraction, the `{what}` operator, with a bool tensor is not supported. If you are trying to invert a mask, "
                               "use the `~` or `logical_not()` operator instead.")


def _check_alpha(alpha: Any, dt: dtype) -> None:
    if (dt.category < 2 and isinstance(alpha, float)) or (dt.category < 3 and isinstance(alpha, complex)):
        raise RuntimeError(f"For {'integral' if dt.category < 2 else 'non-complex'} input tensors, argument alpha must not be "
                           f"a {'floating point' if dt.category < 2 else 'complex'} number.")


@public(inplace=True, out=True)
def add(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """`input + alpha * other`, broadcast. Raises RuntimeError for shapes that do not broadcast."""
    dt = result_type_of(input, other)
    if alpha != 1 or isinstance(alpha, bool):
        _check_alpha(alpha, dt)
        other = mul(other, alpha)
    return pointwise(p.OR if dt is bool_ else p.ADD, (input, other), dt, dt, "add")


@public("sub", "subtract", inplace=True, out=True)
def sub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """`input - alpha * other`, broadcast. Raises RuntimeError for bool operands."""
    _no_bool("-", input, other)
    dt = result_type_of(input, other)
    if alpha != 1:
        _check_alpha(alpha, dt)
        other = mul(other, alpha)
    return pointwise(p.SUB, (input, other), dt, dt, "sub")


@public()
def rsub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """`other - alpha * input`."""
    need_tensors("rsub", input)
    return sub(other, input, alpha=alpha)


@public("mul", "multiply", inplace=True, out=True)
def mul(input: Any, other: Any) -> Tensor:
    """`input * other`, broadcast."""
    dt = result_type_of(input, other)
    return pointwise(p.AND if dt is bool_ else p.MUL, (input, other), dt, dt, "mul")


@public("div", "divide", "true_divide", inplace=True, out=True)
def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """`input / other`, broadcast; true division of integers gives floating point. `rounding_mode` "floor" or "trunc" rounds.

    Raises RuntimeError for another rounding mode, and ZeroDivisionError for an integer division by the number 0.
    """
    dt = result_type_of(input, other)
    if rounding_mode is None:
        dt = float_type(dt)
        return pointwise(p.DIV, (input, other), dt, dt, "div")
    if rounding_mode == "floor":
        return floor_divide(input, other)
    if rounding_mode != "trunc":
        raise RuntimeError(f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{rounding_mode}'")
    if dt.category < 2:
        _no_zero(other)
        return pointwise(p.CDIV, (input, other), dt, dt, "div")
    return trunc(pointwise(p.DIV, (input, other), dt, dt, "div"))


def _no_zero(other: Any) -> None:
    if not isinstance(other, Tensor) and other == 0:
        raise RuntimeError("ZeroDivisionError")


@public(inplace=True, out=True)
def floor_divide(input: Any, other: Any) -> Tensor:
    """The quotient rounded toward minus infinity."""
    dt = result_type_of(input, other)
    if dt.category >= 2:
        remainder_ = remainder(input, other)
        exact = sub(input, remainder_)
        quotient = rint(div(exact, other))
        return where(isfinite(div(input, other)) & (other != 0), quotient, div(input, other))
    _no_zero(other)
    q = pointwise(p.CDIV, (input, other), dt, dt, "floor_divide")
    r = pointwise(p.FMOD, (input, other), dt, dt, "floor_divide")
    return sub(q, cast_tensor((r != 0) & ((r < 0) != (other < 0)), dt))


def _remainder_expand(a: Tensor, b: Tensor) -> Tensor:
    r = pointwise(p.FMOD, (a, b), a._dtype, a._dtype, "remainder")
    return where((r != 0) & ((r < 0) != (b < 0)), r + b, r)


_REMAINDER = coarse("remainder", _remainder_expand, lambda ctx, g: (g, -g * floor_divide(ctx[0], ctx[1]) if ctx.needs[1] else None), (0, 1))
_REMAINDER.kind = "coarse"


@public(inplace=True, out=True)
def remainder(input: Any, other: Any) -> Tensor:
    """Python's modulus: the result has the sign of `other`. Raises TypeError for two numbers."""
    need_a_tensor("remainder", input, other)
    dt = result_type_of(input, other)
    if dt.category < 2:
        _no_zero(other)
    return pointwise(_REMAINDER, (input, other), dt, dt, "remainder", ())


_differentiable(p.FMOD, lambda ctx, g: (g, -g * div(ctx[0], ctx[1], rounding_mode="trunc") if ctx.needs[1] else None), (0, 1))


@public(inplace=True, out=True)
def fmod(input: Any, other: Any) -> Tensor:
    """C's fmod: the result has the sign of `input`."""
    need_tensors("fmod", input)
    dt = result_type_of(input, other)
    if dt.category < 2:
        _no_zero(other)
    return pointwise(p.FMOD, (input, other), dt, dt, "fmod")


def _pow_vjp(ctx: GradNode, g: Tensor) -> tuple[Tensor | None, Tensor | None]:
    x, y = ctx[0], ctx[1]
    gx = gy = None
    if ctx.needs[0]:
        gx = g * conj_if(where(y == 0, zeros_like_shape((), ctx.out), y * x ** (y - 1)))
    if ctx.needs[1]:
        positive_power = (y.real if y._dtype.is_complex else y) >= 0
        safe = where((x == 0) & positive_power, zeros_like_shape((), ctx.out), ctx.out * log(cast_tensor(x, ctx.out._dtype)))
        gy = g * conj_if(safe)
    return gx, gy


_differentiable(P["pow"], _pow_vjp, (0, 1), True)


@public(inplace=True, out=True)
def pow(input: Any, exponent: Any) -> Tensor:
    """`input` to the power `exponent`. Raises RuntimeError for an integer tensor to a negative integer number."""
    need_a_tensor("pow", input, exponent)
    dt = result_type_of(input, exponent)
    if isinstance(exponent, (int, float)) and not isinstance(exponent, bool) and isinstance(input, Tensor):
        if dt.category == 1 and exponent < 0:
            raise RuntimeError("Integers to negative integer powers are not allowed.")
        if exponent == 2:
            x = cast_tensor(input, dt)
            return square(x)
        if exponent == 0.5 and dt.category == 2:
            return sqrt(input)
        if exponent == 1:
            return mul(cast_tensor(input, dt), 1)
        if exponent == 3 and dt.category == 2:
            return pointwise(_CUBE, (input,), dt, dt, "pow", ())
        if exponent == -1 and dt.category == 2:
            return reciprocal(input)
    if dt.category == 1:
        return pointwise(_INT_POW, (input, exponent), dt, dt, "pow", ())
    return pointwise(P["pow"], (input, exponent), dt, dt, "pow")


def _int_pow(x: Tensor, y: Tensor) -> Tensor:
    """Exponentiation by squaring over the bits of the exponent; a negative exponent gives 1/x truncated."""
    result = where(y < 0, where(x == 1, 1, where(x == -1, where((y & 1) == 1, -1, 1), 0)), 1)
    base, bits = x, where(y < 0, 0, y)
    result = cast_tensor(result, x._dtype)
    for _ in range(min(6, int(math.log2(x._dtype.itemsize * 8)) + 1)):
        result = where((bits & 1) == 1, result * base, result)
        base = base * base
        bits = bits >> 1
    return cast_tensor(result, x._dtype)


_INT_POW = coarse("int_pow", _int_pow, None)
_CUBE = coarse("cube", lambda x: x * x * x, lambda ctx, g: g * (3 * ctx[0].square()), (0,), grad_name="PowBackward0")
_SQUARE = coarse("square", lambda x: x * x, lambda ctx, g: g * conj_if(2 * ctx[0]), (0,), grad_name="PowBackward0")


@public(inplace=True, out=True)
def square(input: Tensor) -> Tensor:
    """`input * input`."""
    if input._dtype is bool_:
        input = cast_tensor(input, dtypes.int64)
    return pointwise(_SQUARE, (input,), input._dtype, input._dtype, "square", ())


@public("neg", "negative", inplace=True, out=True)
def neg(input: Tensor) -> Tensor:
    """`-input`. Raises RuntimeError for bool."""
    if input._dtype is bool_:
        raise RuntimeError("Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a mask, use the `~` or "
                           "`logical_not()` operator instead.")
    return pointwise(p.NEG, (input,), input._dtype, input._dtype, "neg")


@public(function=True)
def positive(input: Tensor) -> Tensor:
    """`+input`. Raises RuntimeError for bool."""
    if input._dtype is bool_:
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return input


_differentiable(p.ABS, lambda ctx, g: g * ctx[0].sgn(), (0,))


@public("abs", "absolute", inplace=True, out=True)
def abs(input: Tensor) -> Tensor:
    """Magnitude; of a complex tensor a real one."""
    dt = input._dtype
    if dt is bool_:
        raise RuntimeError("abs: not supported for bool tensors")
    return pointwise(p.ABS, (input,), dt, dt.to_real(), "abs")


@public(inplace=True, out=True)
def sign(input: Tensor) -> Tensor:
    """-1, 0 or 1 by sign (0 for NaN). Raises RuntimeError for complex tensors (see `sgn`)."""
    if input._dtype.is_complex:
        raise RuntimeError("Unlike NumPy, torch.sign is not intended to support complex numbers. Please use torch.sgn instead.")
    dt = input._dtype
    return pointwise(_SIGN, (input,), dt, dt, "sign", ())


def _sign(x: Tensor) -> Any:
    return x if x._dtype is bool_ else where(x > 0, 1, where(x < 0, -1, 0)).to(x._dtype)


_SIGN = coarse("sign", _sign, lambda ctx, g: zeros_like_shape(ctx.shapes[0], g))


@public(inplace=True, out=True)
def sgn(input: Tensor) -> Tensor:
    """`sign`; of a complex number the number of magnitude 1 in its direction (0 for 0)."""
    if not input._dtype.is_complex:
        return sign(input)
    size = abs(input)
    none = size == 0
    return where(none, zeros_like_shape((), input), input / where(none, zeros_like_shape((), size) + 1, size))


# ---- comparison and logic


def need_tensors(what: str, *args: Any) -> None:
    """Raises TypeError for an argument that is not a tensor."""
    for i, x in enumerate(args):
        if not isinstance(x, Tensor):
            raise TypeError(f"{what}(): argument {i + 1} must be Tensor, not {type(x).__name__}")


def need_a_tensor(what: str, input: Any, other: Any) -> None:
    """Raises TypeError unless one of two operands is a tensor."""
    if not isinstance(input, Tensor) and not isinstance(other, Tensor):
        raise TypeError(f"{what}(): one of the arguments must be Tensor, got {type(input).__name__} and {type(other).__name__}")


def _comparison(name: str, op: Op, *synonyms: str) -> Callable[..., Tensor]:
    ordered = name not in ("eq", "ne")

    def compare(input: Any, other: Any) -> Tensor:
        if isinstance(input, Tensor) and isinstance(other, Tensor) and input._dtype is other._dtype:
            if ordered and input._dtype.is_complex:
                raise NotImplementedError(f"\"{name}_cpu\" not implemented for '{input._dtype.title}': complex numbers have no order")
            return pointwise(op, (input, other), input._dtype, bool_, name)
        need_tensors(name, input)
        return pointwise(op, (input, other), result_type_of(input, other), bool_, name)
    compare.__name__ = name
    compare.__doc__ = f"`input {name} other` element by element, broadcast: a bool tensor. Raises RuntimeError for shapes that do not broadcast."
    public(name, *synonyms, inplace=True, out=True)(compare)
    return compare


eq = _comparison("eq", p.EQ)
ne = _comparison("ne", p.NE, "not_equal")
lt = _comparison("lt", p.LT, "less")
le = _comparison("le", p.LE, "less_equal")
gt = _comparison("gt", p.GT, "greater")
ge = _comparison("ge", p.GE, "greater_equal")


def _as_bool(x: Any) -> Any:
    return ne(x, 0) if isinstance(x, Tensor) and x._dtype is not bool_ else x if isinstance(x, Tensor) else bool(x)


def _logical(name: str, op: Op) -> Callable[..., Tensor]:
    def combine(input: Any, other: Any) -> Tensor:
        need_tensors(name, input, other)
        return pointwise(op, (_as_bool(input), _as_bool(other)), bool_, bool_, name)
    combine.__name__ = name
    combine.__doc__ = f"{name.replace('_', ' ')} of the truth of each element: a bool tensor."
    public(inplace=True, out=True)(combine)
    return combine


logical_and = _logical("logical_and", p.AND)
logical_or = _logical("logical_or", p.OR)
logical_xor = _logical("logical_xor", p.XOR)


@public(inplace=True, out=True)
def logical_not(input: Tensor) -> Tensor:
    """Whether each element is zero."""
    return eq(input, 0) if input._dtype is not bool_ else pointwise(p.NOT, (input,), bool_, bool_, "logical_not")


def _bitwise(name: str, op: Op) -> Callable[..., Tensor]:
    def combine(input: Any, other: Any) -> Tensor:
        need_a_tensor(name, input, other)
        dt = result_type_of(input, other)
        if dt.category > 1 or (dt is bool_ and "shift" in name):
            raise RuntimeError(f"\"{name}_cpu\" not implemented for '{dt.title}'")
        return pointwise(op, (input, other), dt, dt, name)
    combine.__name__ = name
    combine.__doc__ = f"{name.replace('_', ' ')} of integers (or bools, for and, or, xor). Raises RuntimeError for floating types."
    public(inplace=True, out=True)(combine)
    return combine


bitwise_and = _bitwise("bitwise_and", p.AND)
bitwise_or = _bitwise("bitwise_or", p.OR)
bitwise_xor = _bitwise("bitwise_xor", p.XOR)
bitwise_left_shift = _bitwise("bitwise_left_shift", p.SHL)
bitwise_right_shift = _bitwise("bitwise_right_shift", p.SHR)


@public(inplace=True, out=True)
def bitwise_not(input: Tensor) -> Tensor:
    """Every bit inverted. Raises RuntimeError for floating types."""
    if input._dtype.category > 1:
        raise RuntimeError(f"\"bitwise_not_cpu\" not implemented for '{input._dtype.title}'")
    return pointwise(p.NOT, (input,), input._dtype, input._dtype, "bitwise_not")


def _select_vjp(ctx: GradNode, g: Tensor) -> tuple[Tensor | None, ...]:
    c, zero = ctx[0], zeros_like_shape((), g)
    return None, where(c, g, zero) if ctx.needs[1] else None, where(c, zero, g) if ctx.needs[2] else None


_differentiable(p.WHERE, _select_vjp, (0,))


@public(out=True)
def where(condition: Any, input: Any = None, other: Any = None) -> Any:
    """`input` where `condition` is true, else `other`, broadcast. With the condition alone: the indices where it is true.

    Raises RuntimeError unless the condition is a bool (or uint8) tensor.
    """
    if input is None and other is None:
        return condition.nonzero(as_tuple=True)
    if not isinstance(condition, Tensor) or condition._dtype.name not in ("bool", "uint8"):
        raise RuntimeError(f"where expected condition to be a boolean tensor, but got a tensor with dtype "
                           f"{condition._dtype.title if isinstance(condition, Tensor) else type(condition).__name__}")
    dt = result_type_of(input, other)
    c = condition if condition._dtype is bool_ else ne(condition, 0)
    from torsh.core.shapes import broadcast
    shape = broadcast(broadcast(c._shape, shape_of(input), "where"), shape_of(other), "where")
    from torsh.autograd.grad_mode import state
    from torsh.graph.node import Node
    from torsh.ops.dispatch import operand, recorded, tensors_of
    from torsh.tensor.tensor import wrap
    out = wrap(Node(p.WHERE, (node_of(c), operand(input, dt, "where"), operand(other, dt, "where")), None, shape, dt))
    return recorded(p.WHERE, None, tensors_of(c, input, other), out) if state.enabled else out


def _extremum(name: str, op: Op, better: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def vjp(ctx: GradNode, g: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, y = ctx[0], ctx[1]
        half, zero = g / 2, zeros_like_shape((), g)
        gx = where(x == y, half, where(better(x, y), g, zero)) if ctx.needs[0] else None
        return gx, where(x == y, half, where(better(x, y), zero, g)) if ctx.needs[1] else None
    _differentiable(op, vjp, (0, 1), name=name.capitalize() + "Backward0")

    def combine(input: Any, other: Any) -> Tensor:
        dt = result_type_of(input, other)
        if dt.is_complex:
            raise RuntimeError(f"{name} not implemented for complex tensors.")
        return pointwise((p.OR if op is p.MAX else p.AND) if dt is bool_ else op, (input, other), dt, dt, name)
    def checked(input: Tensor, other: Tensor) -> Tensor:
        need_tensors(name, input, other)
        return combine(input, other)
    checked.__name__ = name
    checked.__doc__ = f"Element by element {name}, broadcast; NaN wins. Raises RuntimeError for complex tensors, TypeError for numbers."
    public(out=True)(checked)
    return combine  # which takes numbers too


maximum = _extremum("maximum", p.MAX, gt)
minimum = _extremum("minimum", p.MIN, lt)


def _first_or_second(first: Callable[..., Tensor]) -> Vjp:
    """The whole gradient to the operand that was taken, the first of equals; none is shared, as in PyTorch."""
    def vjp(ctx: GradNode, g: Tensor) -> tuple[Tensor, Tensor]:
        taken, zero = first(ctx[0], ctx[1]) | isnan(ctx[1]), zeros_like_shape((), g)
        return where(taken, g, zero), where(taken, zero, g)
    return vjp


def _larger(x: Tensor, y: Tensor) -> Tensor:
    return where(isnan(x), y, where(isnan(y), x, maximum(x, y)))  # type: ignore[no-any-return]


def _smaller(x: Tensor, y: Tensor) -> Tensor:
    return where(isnan(x), y, where(isnan(y), x, minimum(x, y)))  # type: ignore[no-any-return]


_FMAX = coarse("fmax", _larger, _first_or_second(lambda x, y: x >= y), (0, 1))
_FMIN = coarse("fmin", _smaller, _first_or_second(lambda x, y: x <= y), (0, 1))


def _f_extremum(name: str, op: Op, input: Tensor, other: Tensor) -> Tensor:
    need_tensors(name, input, other)
    dt = result_type_of(input, other)
    if dt.is_complex:
        raise NotImplementedError(f"{name} not implemented for complex tensors.")
    return pointwise(op, (input, other), dt, dt, name, ())


@public(out=True)
def fmax(input: Tensor, other: Tensor) -> Tensor:
    """Element by element maximum that ignores NaN where it can."""
    return _f_extremum("fmax", _FMAX, input, other)


@public(out=True)
def fmin(input: Tensor, other: Tensor) -> Tensor:
    """Element by element minimum that ignores NaN where it can."""
    return _f_extremum("fmin", _FMIN, input, other)


@public(out=False)
def isnan(input: Any) -> Tensor:
    """Whether each element is NaN."""
    return ne(input, input)


@public(out=False)
def isfinite(input: Tensor) -> Tensor:
    """Whether each element is neither infinite nor NaN."""
    if input._dtype.category < 2:
        return eq(input, input)
    return lt(abs(input), math.inf)


@public(out=False)
def isinf(input: Tensor) -> Tensor:
    """Whether each element is infinite."""
    return ne(input, input) if input._dtype.category < 2 else eq(abs(input), math.inf)


@public(out=True)
def isposinf(input: Tensor) -> Tensor:
    """Whether each element is plus infinity."""
    return eq(input, math.inf) if input._dtype.category >= 2 else ne(input, input)


@public(out=True)
def isneginf(input: Tensor) -> Tensor:
    """Whether each element is minus infinity."""
    return eq(input, -math.inf) if input._dtype.category >= 2 else ne(input, input)


# ---- functions of one variable

_INV_SQRT_2PI = 1 / math.sqrt(2 * math.pi)
_TWO_OVER_SQRT_PI = 2 / math.sqrt(math.pi)
_UNARY: dict[str, tuple[Vjp, tuple[int, ...], bool]] = {
    "exp": (lambda c, g: g * conj_if(c.out), (), True),
    "exp2": (lambda c, g: g * conj_if(c.out) * math.log(2), (), True),
    "expm1": (lambda c, g: g * conj_if(c.out + 1), (), True),
    "log": (lambda c, g: g / conj_if(c[0]), (0,), False),
    "log2": (lambda c, g: g / (conj_if(c[0]) * math.log(2)), (0,), False),
    "log10": (lambda c, g: g / (conj_if(c[0]) * math.log(10)), (0,), False),
    "log1p": (lambda c, g: g / conj_if(c[0] + 1), (0,), False),
    "sqrt": (lambda c, g: g / (2 * conj_if(c.out)), (), True),
    "rsqrt": (lambda c, g: -0.5 * g * conj_if(c.out * c.out * c.out), (), True),
    "sin": (lambda c, g: g * conj_if(c[0].cos()), (0,), False),
    "cos": (lambda c, g: g * -conj_if(c[0].sin()), (0,), False),
    "tan": (lambda c, g: g * conj_if(1 + square(c.out)), (), True),
    "asin": (lambda c, g: g * conj_if((1 - square(c[0])).rsqrt()), (0,), False),
    "acos": (lambda c, g: g * -conj_if((1 - square(c[0])).rsqrt()), (0,), False),
    "atan": (lambda c, g: g / conj_if(1 + square(c[0])), (0,), False),
    "sinh": (lambda c, g: g * conj_if(c[0].cosh()), (0,), False),
    "cosh": (lambda c, g: g * conj_if(c[0].sinh()), (0,), False),
    "tanh": (lambda c, g: g * conj_if(1 - square(wide(c.out))), (), True),
    "asinh": (lambda c, g: g * conj_if((square(c[0]) + 1).rsqrt()), (0,), False),
    "acosh": (lambda c, g: g * conj_if((c[0] - 1).rsqrt() * (c[0] + 1).rsqrt()), (0,), False),
    "atanh": (lambda c, g: g / conj_if(1 - square(c[0])), (0,), False),
    "erf": (lambda c, g: g * (_TWO_OVER_SQRT_PI * (-square(c[0])).exp()), (0,), False),
    "erfc": (lambda c, g: g * (-_TWO_OVER_SQRT_PI * (-square(c[0])).exp()), (0,), False),
    "sigmoid": (lambda c, g: g * conj_if(c.out * (1 - c.out)), (), True),
}
_SYNONYMS = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh"}
_DOCS = {"exp": "e to the power of each element", "sigmoid": "1 / (1 + exp(-x)) of each element", "rsqrt": "1 / sqrt(x) of each element",
         "erf": "the error function 2/sqrt(pi) * integral of exp(-t^2) from 0 to x", "erfc": "1 - erf(x), accurate in the tail",
         "expm1": "exp(x) - 1, accurate near 0", "log1p": "log(1 + x), accurate near 0"}


def _unary(name: str) -> Callable[[Tensor], Tensor]:
    op = P[name]
    vjp, inputs, output = _UNARY[name]
    _differentiable(op, vjp, inputs, output)

    def function(input: Tensor) -> Tensor:
        if not isinstance(input, Tensor):
            raise TypeError(f"{name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
        dt = float_type(input._dtype)
        return pointwise(op, (input,), dt, dt, name)
    function.__name__ = name
    function.__doc__ = f"{(_DOCS.get(name) or name + ' of each element').capitalize()}; integers give the default floating type."
    public(name, *[_SYNONYMS[n] for n in (name,) if n in _SYNONYMS], inplace=True, out=True)(function)
    return function


exp, exp2, expm1, log, log2 = (_unary(n) for n in ("exp", "exp2", "expm1", "log", "log2"))
log10, log1p, sqrt, rsqrt, sin, cos = (_unary(n) for n in ("log10", "log1p", "sqrt", "rsqrt", "sin", "cos"))
tan, asin, acos, atan, sinh, cosh = (_unary(n) for n in ("tan", "asin", "acos", "atan", "sinh", "cosh"))
tanh, asinh, acosh, atanh, erf, erfc, sigmoid = (_unary(n) for n in ("tanh", "asinh", "acosh", "atanh", "erf", "erfc", "sigmoid"))
_differentiable(P["normal_cdf"], lambda c, g: g * (_INV_SQRT_2PI * exp(square(c[0]) * -0.5)), (0,), False)


def normal_cdf(input: Tensor) -> Tensor:
    """The normal distribution function of each element of a floating tensor, with the absolute error of 0.5 * (1 + erf(x / sqrt(2)))."""
    return pointwise(P["normal_cdf"], (input,), input._dtype, input._dtype, "normal_cdf")


def _atan2_vjp(ctx: GradNode, g: Tensor) -> tuple[Tensor, Tensor]:
    y, x = wide(ctx[0]), wide(ctx[1])
    share = wide(g) / (square(y) + square(x))
    return share * x, -share * y


_differentiable(P["atan2"], _atan2_vjp, (0, 1))


@public("atan2", "arctan2", inplace=True, out=True)
def atan2(input: Any, other: Any) -> Tensor:
    """The angle of the point (other, input), in (-pi, pi]."""
    need_tensors("atan2", input, other)
    dt = float_type(result_type_of(input, other))
    return pointwise(P["atan2"], (input, other), dt, dt, "atan2")


_RECIPROCAL = coarse("reciprocal", lambda x: 1 / x, lambda ctx, g: -g * conj_if(ctx.out * ctx.out), (), True)


@public(inplace=True, out=True)
def reciprocal(input: Tensor) -> Tensor:
    """`1 / input`; integers give the default floating type."""
    dt = float_type(input._dtype)
    return pointwise(_RECIPROCAL, (input,), dt, dt, "reciprocal", ())


def _rounding(name: str, op: Op) -> Callable[[Tensor], Tensor]:
    _differentiable(op, lambda ctx, g: zeros_like_shape(ctx.shapes[0], g), name=("round" if name == "rint" else name).capitalize() + "Backward0")

    def function(input: Tensor) -> Tensor:
        dt = input._dtype
        if dt.category == 3 or dt is bool_:
            raise RuntimeError(f"{name}: not supported for {dt.title} inputs")
        return pointwise(op, (input,), dt, dt, name) if dt.category == 2 else input.clone()  # type: ignore[attr-defined]
    function.__name__ = name
    function.__doc__ = f"{name} of each element; integers stay as they are."
    return function


floor = public("floor", inplace=True, out=True)(_rounding("floor", p.FLOOR))
ceil = public("ceil", inplace=True, out=True)(_rounding("ceil", p.CEIL))
trunc = public("trunc", "fix", inplace=True, out=True)(_rounding("trunc", p.TRUNC))
rint = _rounding("rint", p.RINT)


@public(inplace=True, out=True)
def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """To the nearest integer, halves to even; with `decimals`, to that many decimal places."""
    if decimals == 0 or input._dtype.category < 2:
        return rint(input)
    scale = 10.0 ** builtin_abs(decimals)
    return rint(input * scale) / scale if decimals > 0 else rint(input / scale) * scale


@public(inplace=True, out=True)
def frac(input: Tensor) -> Tensor:
    """The part after the point: `input - trunc(input)`."""
    return input - trunc(input)


_CLAMP = coarse("clamp", lambda x, lo, hi: minimum(maximum(x, lo), hi),
                lambda ctx, g: (where((ctx[0] >= ctx[1]) & (ctx[0] <= ctx[2]), g, zeros_like_shape((), g)) if ctx.needs[0] else None,
                                where((ctx[0] < ctx[1]) & (ctx[1] < ctx[2]), g, zeros_like_shape((), g)) if ctx.needs[1] else None,
                                where((ctx[0] > ctx[2]) | (ctx[1] > ctx[2]), g, zeros_like_shape((), g)) if ctx.needs[2] else None), (0, 1, 2))
_CLAMP_MIN = coarse("clamp_min", lambda x, lo: maximum(x, lo),
                    lambda ctx, g: (where(ctx[0] >= ctx[1], g, zeros_like_shape((), g)), where(ctx[0] < ctx[1], g, zeros_like_shape((), g))), (0, 1))
_CLAMP_MAX = coarse("clamp_max", lambda x, hi: minimum(x, hi),
                    lambda ctx, g: (where(ctx[0] <= ctx[1], g, zeros_like_shape((), g)), where(ctx[0] > ctx[1], g, zeros_like_shape((), g))), (0, 1))


@public("clamp", "clip", inplace=True, out=True)
def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """Each element limited to [min, max] (numbers or tensors; None leaves a side open). Raises RuntimeError if both are None."""
    need_tensors("clamp", input)
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    if input._dtype.is_complex:
        raise RuntimeError("clamp is not supported for complex types")
    bounds = [b for b in (min, max) if b is not None]
    dt = result_type_of(input, bounds[0])
    if len(bounds) == 2:
        dt = dtypes.PROMOTE[dt, result_type_of(input, bounds[1])]
        return pointwise(_CLAMP, (input, min, max), dt, dt, "clamp", ())
    return pointwise(_CLAMP_MIN if max is None else _CLAMP_MAX, (input, bounds[0]), dt, dt, "clamp", ())


@public(inplace=True, out=True)
def clamp_min(input: Tensor, min: Any) -> Tensor:
    """`clamp` from below."""
    return clamp(input, min=min)


@public(inplace=True, out=True)
def clamp_max(input: Tensor, max: Any) -> Tensor:
    """`clamp` from above."""
    return clamp(input, max=max)


def _rounded_once(function: Callable[..., Tensor], what: str) -> Callable[..., Tensor]:
    """A formula of three operands whose value in half types is rounded only at its end, as PyTorch's kernels do."""
    def call(*operands: Any) -> Tensor:
        dt = operands[0]._dtype
        if dt.category == 2 and dt.itemsize == 2 and all(x._dtype is dt for x in operands if isinstance(x, Tensor)):
            return cast_tensor(function(*[cast_tensor(x, dtypes.float32) if isinstance(x, Tensor) else x for x in operands]), dt)
        return function(*operands)
    call.__name__ = what
    return call


_addcmul = _rounded_once(lambda a, b, c, value: a + (b * c if value == 1 else b * c * value), "addcmul")
_addcdiv = _rounded_once(lambda a, b, c, value: a + (b / c if value == 1 else b / c * value), "addcdiv")
_lerp = _rounded_once(lambda a, b, w: a + w * (b - a), "lerp")


@public(inplace=True, out=True)
def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """`input + value * tensor1 * tensor2`."""
    return _addcmul(input, tensor1, tensor2, value)


@public(inplace=True, out=True)
def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """`input + value * tensor1 / tensor2`. Raises RuntimeError for integer tensors alone."""
    if tensor1._dtype.category < 2 and tensor2._dtype.category < 2:
        raise RuntimeError("Integer division with addcdiv is no longer supported, and in a future release addcdiv will perform a true division of "
                           "tensor1 and tensor2.")
    return _addcdiv(input, tensor1, tensor2, value)


@public(inplace=True, out=True)
def lerp(input: Tensor, end: Tensor, weight: Any) -> Tensor:
    """`input + weight * (end - input)`. Raises RuntimeError for tensors of two types."""
    if input._dtype is not end._dtype or (isinstance(weight, Tensor) and weight._dtype is not input._dtype):
        other = end if end._dtype is not input._dtype else weight
        raise RuntimeError(f"expected dtype {input._dtype.name} for `{'end' if other is end else 'weight'}` but got dtype {other._dtype.name}")
    return _lerp(input, end, weight)


builtin_abs = __builtins__["abs"] if isinstance(__builtins__, dict) else __builtins__.abs


# ---- operators


def _is_operand(x: Any) -> bool:
    return isinstance(x, (Tensor, int, float, complex, bool)) or (hasattr(x, "dtype") and getattr(x, "ndim", 1) == 0)


def _add_operator(self: Tensor, other: Any) -> Any:
    if isinstance(other, Tensor) and other._dtype is self._dtype and other._dtype is not bool_:
        return same_type(p.ADD, self, other, "add")
    return add(self, other) if _is_operand(other) else NotImplemented


def _sub_operator(self: Tensor, other: Any) -> Any:
    if isinstance(other, Tensor) and other._dtype is self._dtype and other._dtype is not bool_:
        return same_type(p.SUB, self, other, "sub")
    return sub(self, other) if _is_operand(other) else NotImplemented


def _mul_operator(self: Tensor, other: Any) -> Any:
    if isinstance(other, Tensor) and other._dtype is self._dtype and other._dtype is not bool_:
        return same_type(p.MUL, self, other, "mul")
    return mul(self, other) if _is_operand(other) else NotImplemented


def _truediv_operator(self: Tensor, other: Any) -> Any:
    if isinstance(other, Tensor) and other._dtype is self._dtype and other._dtype.category >= 2:
        return same_type(p.DIV, self, other, "div")
    return div(self, other) if _is_operand(other) else NotImplemented


operators.add, operators.sub, operators.mul, operators.truediv = _add_operator, _sub_operator, _mul_operator, _truediv_operator


def _or_not_implemented(f: Callable[..., Any]) -> Callable[..., Any]:
    def operator(self: Tensor, other: Any) -> Any:
        return f(self, other) if _is_operand(other) else NotImplemented
    return operator


def _reflected(f: Callable[..., Any]) -> Callable[..., Any]:
    def swapped(self: Tensor, other: Any) -> Any:
        need_tensors(f.__name__, self)
        return f(other, self)
    return _or_not_implemented(swapped)


for _n, _f in (("add", add), ("sub", sub), ("mul", mul), ("truediv", div), ("floordiv", floor_divide), ("mod", remainder), ("pow", pow),
               ("and", bitwise_and), ("or", bitwise_or), ("xor", bitwise_xor), ("lshift", bitwise_left_shift), ("rshift", bitwise_right_shift)):
    if _n not in ("add", "sub", "mul", "truediv"):  # these are the class's own: the slot is reached without a look-up
        attribute(f"__{_n}__", _or_not_implemented(_f))
    attribute(f"__r{_n}__", _reflected(_f))
for _n, _m in (("add", "add_"), ("sub", "sub_"), ("mul", "mul_"), ("truediv", "div_"), ("floordiv", "floor_divide_"), ("mod", "remainder_"),
               ("pow", "pow_"), ("and", "bitwise_and_"), ("or", "bitwise_or_"), ("xor", "bitwise_xor_"), ("lshift", "bitwise_left_shift_"),
               ("rshift", "bitwise_right_shift_")):
    attribute(f"__i{_n}__", getattr(Tensor, _m))
for _n, _f in (("eq", eq), ("ne", ne), ("lt", lt), ("le", le), ("gt", gt), ("ge", ge)):
    attribute(f"__{_n}__", _or_not_implemented(_f))
for _n, _g in (("neg", neg), ("pos", positive), ("abs", abs), ("invert", bitwise_not)):
    attribute(f"__{_n}__", lambda self, _g=_g: _g(self))

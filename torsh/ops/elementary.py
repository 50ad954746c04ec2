"""Functions of one variable (and the angle of two), each declared once: signs, roots, exponentials, logarithms, angles, rounding.

Derivatives are in tensor operations, so they can be differentiated again. `g` is the gradient of the output.
"""
from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

from torsh.autograd.graph import GradNode
from torsh.core import dtypes
from torsh.core.dtypes import bool_
from torsh.graph import primitives as p
from torsh.graph.node import Op
from torsh.ops.comparison import eq, lt, ne, where
from torsh.ops.declare import P, Vjp, conj_if, differentiable, float_type, need_tensors
from torsh.ops.dispatch import cast_tensor, coarse, pointwise, public, result_type_of, rule, wide
from torsh.ops.views import zeros_like_shape
from torsh.tensor.tensor import Tensor

_SQUARE = coarse("square", lambda x: x * x, lambda ctx, g: g * conj_if(2 * ctx[0]), (0,), grad_name="PowBackward0")


@public(inplace=True, out=True)
def square(input: Tensor) -> Tensor:
    """`input * input`."""
    if input._dtype is bool_:
        input = cast_tensor(input, dtypes.int64)
    return pointwise(_SQUARE, (input,), input._dtype, input._dtype, "square", ())


differentiable(p.NEG, lambda ctx, g: -g)


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


differentiable(p.ABS, lambda ctx, g: g * ctx[0].sgn(), (0,))


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


def _of_result(name: str, function: Callable[[Tensor, Tensor], Tensor]) -> Vjp:
    """A derivative `function(gradient, result)`: one node where both lie in order; where not, what it is made of keeps their order."""
    whole = rule(name, function)

    def vjp(c: Any, g: Tensor) -> Tensor:
        y = c.out
        return whole((g, y), (), g._shape, g._dtype) if g._strides is None and y._strides is None and g._dtype is y._dtype else function(g, y)
    return vjp


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
    "tanh": (_of_result("tanh_backward", lambda g, y: cast_tensor(g * conj_if(1 - square(wide(y))), g._dtype)), (), True),
    "asinh": (lambda c, g: g * conj_if((square(c[0]) + 1).rsqrt()), (0,), False),
    "acosh": (lambda c, g: g * conj_if((c[0] - 1).rsqrt() * (c[0] + 1).rsqrt()), (0,), False),
    "atanh": (lambda c, g: g / conj_if(1 - square(c[0])), (0,), False),
    "erf": (lambda c, g: g * (_TWO_OVER_SQRT_PI * (-square(c[0])).exp()), (0,), False),
    "erfc": (lambda c, g: g * (-_TWO_OVER_SQRT_PI * (-square(c[0])).exp()), (0,), False),
    "sigmoid": (_of_result("sigmoid_backward", lambda g, y: g * conj_if(y * (1 - y))), (), True),
}
_SYNONYMS = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh"}
_DOCS = {"exp": "e to the power of each element", "sigmoid": "1 / (1 + exp(-x)) of each element", "rsqrt": "1 / sqrt(x) of each element",
         "erf": "the error function 2/sqrt(pi) * integral of exp(-t^2) from 0 to x", "erfc": "1 - erf(x), accurate in the tail",
         "expm1": "exp(x) - 1, accurate near 0", "log1p": "log(1 + x), accurate near 0"}


def _unary(name: str) -> Callable[[Tensor], Tensor]:
    op = P[name]
    vjp, inputs, output = _UNARY[name]
    differentiable(op, vjp, inputs, output)

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
differentiable(P["normal_cdf"], lambda c, g: g * (_INV_SQRT_2PI * exp(square(c[0]) * -0.5)), (0,), False)


def normal_cdf(input: Tensor) -> Tensor:
    """The normal distribution function of each element of a floating tensor, with the absolute error of 0.5 * (1 + erf(x / sqrt(2)))."""
    return pointwise(P["normal_cdf"], (input,), input._dtype, input._dtype, "normal_cdf")


def _atan2_vjp(ctx: GradNode, g: Tensor) -> tuple[Tensor, Tensor]:
    y, x = wide(ctx[0]), wide(ctx[1])
    share = wide(g) / (square(y) + square(x))
    return share * x, -share * y


differentiable(P["atan2"], _atan2_vjp, (0, 1))


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
    differentiable(op, lambda ctx, g: zeros_like_shape(ctx.shapes[0], g), name=("round" if name == "rint" else name).capitalize() + "Backward0")

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
def round(input: Tensor, *, decimals: Any = 0) -> Tensor:
    """To the nearest integer, halves to even; with `decimals`, to that many decimal places."""
    decimals = operator.index(decimals)
    if decimals == 0 or input._dtype.category < 2:
        return rint(input)
    scale = 10.0 ** builtin_abs(decimals)
    return rint(input * scale) / scale if decimals > 0 else rint(input / scale) * scale


@public(inplace=True, out=True)
def frac(input: Tensor) -> Tensor:
    """The part after the point: `input - trunc(input)`."""
    return input - trunc(input)


builtin_abs = __builtins__["abs"] if isinstance(__builtins__, dict) else __builtins__.abs

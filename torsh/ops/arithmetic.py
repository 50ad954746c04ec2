"""Sums, products, quotients, remainders and powers of two operands, and formulas of three.

Derivatives are in tensor operations, so they can be differentiated again. `g` is the gradient of the output.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torsh.autograd.graph import GradNode
from torsh.core import dtypes
from torsh.core.dtypes import bool_, dtype
from torsh.graph import primitives as p
from torsh.ops.comparison import where
from torsh.ops.declare import P, conj_if, differentiable, float_type, need_a_tensor, need_tensors
from torsh.ops.dispatch import cast_tensor, coarse, pointwise, public, result_type_of, wide
from torsh.ops.elementary import isfinite, log, reciprocal, rint, sqrt, square, trunc
from torsh.ops.views import zeros_like_shape
from torsh.tensor.tensor import Tensor

differentiable(p.ADD, lambda ctx, g: (g, g))
differentiable(p.SUB, lambda ctx, g: (g, -g if ctx.needs[1] else None))
differentiable(p.MUL, lambda ctx, g: (g * conj_if(ctx[1]) if ctx.needs[0] else None, g * conj_if(ctx[0]) if ctx.needs[1] else None), (0, 1))


def _div_vjp(ctx: GradNode, g: Tensor) -> tuple[Tensor | None, Tensor | None]:
    y = wide(ctx[1])
    scaled = wide(g) / conj_if(y)
    return scaled, -scaled * conj_if(wide(ctx[0]) / y) if ctx.needs[1] else None


differentiable(p.DIV, _div_vjp, (0, 1))


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


differentiable(p.FMOD, lambda ctx, g: (g, -g * div(ctx[0], ctx[1], rounding_mode="trunc") if ctx.needs[1] else None), (0, 1))


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


differentiable(P["pow"], _pow_vjp, (0, 1), True)


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

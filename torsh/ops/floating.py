"""Functions of the parts of floating-point numbers (sign, exponent, neighbours), of integers' divisors, and careful logarithms of sums."""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from torsh.autograd.graph import GradNode
from torsh.core import dtypes
from torsh.core.dtypes import dtype, float64, int32
from torsh.core.results import result_type
from torsh.core.shapes import broadcast
from torsh.graph import primitives as p
from torsh.graph.node import Node
from torsh.graph.primitives import expand, host, leading_batch
from torsh.ops.composite import in_float32
from torsh.ops.dispatch import apply, cast_tensor, coarse, copy_into, operand, pointwise, public, result_type_of, shape_of, wide, write_out
from torsh.ops.pointwise import abs as absolute
from torsh.ops.pointwise import (
    add,
    conj_if,
    eq,
    exp,
    exp2,
    float_type,
    gt,
    isnan,
    log1p,
    lt,
    maximum,
    minimum,
    mul,
    need_a_tensor,
    need_tensors,
    pow,
    sqrt,
    square,
    where,
)
from torsh.ops.views import zeros_like_shape
from torsh.tensor.tensor import Tensor, wrap

_BITS = {1: dtypes.int8, 2: dtypes.int16, 4: dtypes.int32, 8: dtypes.int64}


def host_pointwise(function: Any, name: str, args: tuple[Any, ...], dt: dtype, result: dtype | None = None) -> Tensor:
    """A pointwise NumPy function of operands cast to `dt` and broadcast; it has no derivative."""
    shape: tuple[int, ...] = ()
    for a in args:
        shape = broadcast(shape, shape_of(a), name)
    return wrap(host(leading_batch(function), name, tuple([expand(operand(a, dt, name), shape) for a in args]), shape, result or dt))


# ---- signs and neighbours


@public(out=True)
def signbit(input: Tensor) -> Tensor:
    """Whether the sign bit is set (so also of -0.0 and of a negative NaN): a bool tensor. Raises RuntimeError for complex tensors."""
    dt = input._dtype
    if dt.is_complex:
        raise RuntimeError("signbit is not implemented for complex tensors.")
    if dt.category < 2:
        return lt(input, 0) if dt.category else eq(input, 2)
    bits = _BITS[dt.itemsize]
    return lt(wrap(Node(p.BITCAST, (input._node(),), None, input._shape, bits)), 0)


def _copysign_vjp(ctx: GradNode, g: Tensor) -> tuple[Tensor | None, Tensor | None]:
    x = ctx[0]
    ratio = where(eq(x, 0), zeros_like_shape((), g), ctx.out / x)
    return g * ratio, zeros_like_shape(ctx.shapes[1], g) if ctx.needs[1] else None


_COPYSIGN = coarse("copysign", lambda x, y: where(signbit(y), -absolute(x), absolute(x)), _copysign_vjp, (0,), True)


@public(inplace=True, out=True)
def copysign(input: Tensor, other: Any) -> Tensor:
    """The magnitude of `input` with the sign of `other`, broadcast; integers give the default floating type."""
    need_tensors("copysign", input)
    dt = float_type(result_type_of(input, other))
    return pointwise(_COPYSIGN, (input, other), dt, dt, "copysign", ())


def _nextafter(x: np.ndarray, y: np.ndarray) -> Any:
    return np.nextafter(x, y)


def _nextafter_of(x: Tensor, y: Tensor) -> Tensor:
    return host_pointwise(_nextafter, "nextafter", (x, y), x._dtype)


_NEXTAFTER = coarse("nextafter", _nextafter_of, lambda ctx, g: (
    where(eq(ctx[0], ctx[1]), zeros_like_shape((), g), g), zeros_like_shape(ctx.shapes[1], g)), (0, 1))


@public(inplace=True, out=True)
def nextafter(input: Tensor, other: Tensor) -> Tensor:
    """The next number after `input` in the direction of `other` that the type can hold. Raises RuntimeError unless both are floating tensors."""
    need_tensors("nextafter", input, other)
    dt = result_type_of(input, other)
    if dt.category != 2:
        raise NotImplementedError(f"\"nextafter_cpu\" not implemented for '{dt.title}'")
    return pointwise(_NEXTAFTER, (input, other), dt, dt, "nextafter", ())


_FREXP = result_type("frexp", "mantissa", "exponent")


@leading_batch
def _exponent(x: np.ndarray) -> Any:
    return np.frexp(x.astype(np.float32) if x.itemsize == 2 else x)[1].astype(np.int32)


def _mantissa(x: Tensor) -> Tensor:
    return wrap(host(_mantissa_of, "frexp", (x._node(),), x._shape, x._dtype))


@leading_batch
def _mantissa_of(x: np.ndarray) -> Any:
    return np.frexp(x.astype(np.float32) if x.itemsize == 2 else x)[0].astype(x.dtype)


def _mantissa_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    return ldexp(g, -_exponent_of(ctx[0]))


_MANTISSA = coarse("frexp", _mantissa, _mantissa_vjp, (0,))


def _exponent_of(x: Tensor) -> Tensor:
    return wrap(host(_exponent, "frexp", (x._node(),), x._shape, int32))


@public(out=True)
def frexp(input: Tensor) -> Any:
    """(mantissa, exponent) with `input == mantissa * 2**exponent` and 0.5 <= |mantissa| < 1; the exponent is int32.

    Raises RuntimeError unless the tensor is floating.
    """
    if input._dtype.category != 2:
        raise RuntimeError("torch.frexp() only supports floating-point dtypes")
    return _FREXP(apply(_MANTISSA, (input,), (), input._shape, input._dtype), _exponent_of(input))


@public(inplace=True, out=True)
def ldexp(input: Tensor, other: Any) -> Tensor:
    """`input * 2**other`, broadcast. Raises TypeError for a number."""
    need_tensors("ldexp", input, other)
    return mul(input, pow(2.0, other))


@public(inplace=True, out=True)
def heaviside(input: Tensor, values: Tensor) -> Tensor:
    """0 for negative elements, 1 for positive ones, and `values` for zeros, broadcast; no derivative.

    Raises RuntimeError for complex tensors and for tensors of two types.
    """
    need_tensors("heaviside", input, values)
    if input._dtype.is_complex or values._dtype.is_complex:
        raise RuntimeError("heaviside is not yet implemented for complex tensors.")
    if input._dtype is not values._dtype:
        raise RuntimeError("heaviside is not yet implemented for tensors with different dtypes.")
    x = input.detach()
    return where(eq(x, 0), values.detach(), cast_tensor(gt(x, 0), x._dtype))  # type: ignore[no-any-return]


# ---- powers, lengths, logarithms of sums


def _float_power(input: Any, exponent: Any) -> Tensor:
    need_a_tensor("float_power", input, exponent)
    dt = dtypes.complex128 if result_type_of(input, exponent).is_complex else float64
    x, y = (cast_tensor(v, dt) if isinstance(v, Tensor) else (complex(v) if dt.is_complex else float(v)) for v in (input, exponent))
    return pow(x, y)


@public()
def float_power(input: Any, exponent: Any, *, out: Tensor | None = None) -> Tensor:
    """`input` to the power `exponent` in float64 (complex128 for complex operands). Raises RuntimeError for an `out` of another type."""
    found = _float_power(input, exponent)
    if out is None:
        return found
    _only_wide(out, found)
    return write_out(out, found, "float_power")


@public("float_power_", function=False)
def float_power_(self: Tensor, exponent: Any) -> Tensor:
    """`float_power` in place. Raises RuntimeError unless the tensor is float64 (complex128)."""
    found = _float_power(self, exponent)
    _only_wide(self, found)
    return copy_into(self, found, "float_power_")


def _only_wide(out: Tensor, found: Tensor) -> None:
    if out._dtype is not found._dtype:
        raise RuntimeError(f"the output given to float_power has dtype {out._dtype.title} but the operation's result requires dtype {found._dtype.title}")


def _hypot(x: Tensor, y: Tensor) -> Tensor:
    a, b = absolute(x), absolute(y)
    big, small = maximum(a, b), minimum(a, b)
    ratio = small / where(eq(big, 0), 1, big)
    return where(eq(a, math.inf) | eq(b, math.inf), math.inf, big * sqrt(1 + square(ratio)))  # type: ignore[no-any-return]


def _hypot_vjp(ctx: GradNode, g: Tensor) -> tuple[Tensor, Tensor]:
    x, y, g = wide(ctx[0]), wide(ctx[1]), wide(g)
    out = ctx.out
    if out._dtype is not x._dtype:
        out = _hypot(x, y)  # not the one that was rounded
    return g * (x / out), g * (y / out)


_HYPOT = coarse("hypot", in_float32(_hypot), _hypot_vjp, (0, 1), True)


@public(inplace=True, out=True)
def hypot(input: Tensor, other: Tensor) -> Tensor:
    """sqrt(input^2 + other^2) without overflow in between. Raises RuntimeError for integer tensors."""
    need_tensors("hypot", input, other)
    dt = result_type_of(input, other)
    if dt.category != 2:
        raise NotImplementedError(f"\"hypot_cpu\" not implemented for '{dt.title}'")
    return pointwise(_HYPOT, (input, other), dt, dt, "hypot", ())


def _log_add(x: Tensor, y: Tensor) -> Tensor:
    if x._dtype.is_complex:
        return _complex_log_add(x, y)
    return where(eq(x, y) & eq(absolute(x), math.inf), x, add(maximum(x, y), log1p((-absolute(x - y)).exp())))  # type: ignore[no-any-return]


def _complex_log_add(x: Tensor, y: Tensor) -> Tensor:
    first = x.real >= y.real
    high, low = where(first, x, y), where(first, y, x)
    return high + log1p((low - high).exp())  # type: ignore[no-any-return]


def _log_add2(x: Tensor, y: Tensor) -> Tensor:
    return where(eq(x, y) & eq(absolute(x), math.inf), x, maximum(x, y) + log1p(exp2(-absolute(x - y))) / math.log(2))  # type: ignore[no-any-return]


def _log_add_vjp(power: Callable[[Tensor], Tensor]) -> Callable[..., tuple[Tensor, Tensor]]:
    def vjp(ctx: GradNode, g: Tensor) -> tuple[Tensor, Tensor]:
        x, y, g = wide(ctx[0]), wide(ctx[1]), wide(g)
        return g / conj_if(1 + power(y - x)), g / conj_if(1 + power(x - y))
    return vjp


_LOG_ADD = coarse("logaddexp", in_float32(_log_add), _log_add_vjp(exp), (0, 1))
_LOG_ADD2 = coarse("logaddexp2", in_float32(_log_add2), _log_add_vjp(exp2), (0, 1))


def _both_floating(what: str, input: Any, other: Any, complex_too: bool) -> dtype:
    need_tensors(what, input, other)
    dt = result_type_of(input, other)
    if dt.category < 2 or (dt.is_complex and not complex_too):
        raise NotImplementedError(f"\"{what}_cpu\" not implemented for '{dt.title}'")
    return dt


@public(out=True)
def logaddexp(input: Tensor, other: Tensor) -> Tensor:
    """log(exp(input) + exp(other)) without overflow, broadcast. Raises RuntimeError for integer tensors."""
    dt = _both_floating("logaddexp", input, other, True)
    return pointwise(_LOG_ADD, (input, other), dt, dt, "logaddexp", ())


@public(out=True)
def logaddexp2(input: Tensor, other: Tensor) -> Tensor:
    """log2(2^input + 2^other) without overflow, broadcast. Raises RuntimeError for integer tensors."""
    dt = _both_floating("logaddexp2", input, other, False)
    return pointwise(_LOG_ADD2, (input, other), dt, dt, "logaddexp2", ())


# ---- replacing what is not finite; angles


@public(inplace=True, out=True)
def nan_to_num(input: Tensor, nan: float | None = None, posinf: float | None = None, neginf: float | None = None) -> Tensor:
    """NaN, infinity and minus infinity replaced: by default with 0 and the largest and smallest numbers of the type."""
    dt = input._dtype
    if dt.category < 2:
        return input.clone()  # type: ignore[attr-defined,no-any-return]
    if dt.is_complex:
        from torsh.ops.dispatch import FUNCTIONS
        return FUNCTIONS["complex"](nan_to_num(input.real, nan, posinf, neginf), nan_to_num(input.imag, nan, posinf, neginf))  # type: ignore[no-any-return]
    import ml_dtypes
    largest = float(ml_dtypes.finfo(dt.np).max)
    out = where(isnan(input), 0.0 if nan is None else nan, input)
    out = where(eq(input, math.inf), largest if posinf is None else posinf, out)
    return where(eq(input, -math.inf), -largest if neginf is None else neginf, out)  # type: ignore[no-any-return]


def _scaled(name: str, factor: float, meaning: str) -> None:
    def function(input: Tensor) -> Tensor:
        if input._dtype.is_complex:
            raise RuntimeError(f"{name} is not supported for complex tensors.")
        return mul(cast_tensor(input, float_type(input._dtype)), factor)
    function.__name__ = name
    function.__doc__ = f"{meaning}; integers give the default floating type. Raises RuntimeError for complex tensors."
    public(inplace=True, out=True)(function)


_scaled("deg2rad", math.pi / 180, "Angles in degrees as radians")
_scaled("rad2deg", 180 / math.pi, "Angles in radians as degrees")


# ---- integers


def _gcd(x: np.ndarray, y: np.ndarray) -> Any:
    return np.gcd(x, y)


def _lcm(x: np.ndarray, y: np.ndarray) -> Any:
    return np.lcm(x, y)


def _divisors(name: str, function: Any, meaning: str) -> None:
    def combine(input: Tensor, other: Tensor) -> Tensor:
        need_tensors(name, input, other)
        dt = result_type_of(input, other)
        if dt.category != 1:
            raise NotImplementedError(f"\"{name}_cpu\" not implemented for '{dt.title}'")
        return host_pointwise(function, name, (input, other), dt)
    combine.__name__ = name
    combine.__doc__ = f"The {meaning} of integers, broadcast. Raises RuntimeError for other types."
    public(inplace=True, out=True)(combine)


_divisors("gcd", _gcd, "greatest common divisor")
_divisors("lcm", _lcm, "least common multiple")



__all__ = ["copysign", "float_power", "frexp", "heaviside", "host_pointwise", "hypot", "ldexp", "logaddexp", "logaddexp2", "nan_to_num", "nextafter",
           "signbit"]

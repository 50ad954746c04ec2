"""The normal distribution's functions and their inverses, and products with logarithms that take 0 log 0 for 0."""
from __future__ import annotations

import math
from typing import Any

from torsh.autograd.graph import GradNode
from torsh.ops.composite import in_float32
from torsh.ops.dispatch import coarse, pointwise, public, result_type_of, wide
from torsh.ops.pointwise import cos, erfc, exp, float_type, isnan, log, log1p, sin, where
from torsh.ops.views import zeros_like_shape
from torsh.special.common import constant, real_function, real_type, scipy_op, special
from torsh.tensor.tensor import Tensor

_ERFINV = scipy_op("erfinv", lambda ctx, g: g * exp(ctx.out * ctx.out) * (math.sqrt(math.pi) / 2), (), True)
_ERFCX = scipy_op("erfcx", lambda ctx, g: g * (2 * ctx[0] * ctx.out - 2 / math.sqrt(math.pi)), (0,), True)
_NDTRI = scipy_op("ndtri", lambda ctx, g: g * exp(ctx.out * ctx.out / 2) * math.sqrt(2 * math.pi), (), True)
_LOG_NDTR = scipy_op("log_ndtr", lambda ctx, g: g / erfcx(ctx[0] * -math.sqrt(0.5)) * math.sqrt(2 / math.pi), (0,))


@special("erfinv")
@public("erfinv", inplace=True, out=True)
def erfinv(input: Tensor) -> Tensor:
    """The inverse of `erf`: NaN outside [-1, 1]. Raises RuntimeError for complex tensors.

    >>> import torsh
    >>> torsh.erfinv(torsh.tensor([0.0, 0.5]))
    tensor([0.0000, 0.4769])
    """
    return real_function("erfinv", _ERFINV, input)


@special()
def erfcx(input: Tensor) -> Tensor:
    """exp(x^2) erfc(x), which does not underflow."""
    return real_function("erfcx", _ERFCX, input)


@special()
def ndtr(input: Tensor) -> Tensor:
    """The standard normal distribution function: erfc(-x / sqrt(2)) / 2."""
    real_type("ndtr", input)
    return erfc(input * -math.sqrt(0.5)) * 0.5


@special()
def ndtri(input: Tensor) -> Tensor:
    """The inverse of `ndtr`: NaN outside [0, 1]."""
    return real_function("ndtri", _NDTRI, input)


@special()
def log_ndtr(input: Tensor) -> Tensor:
    """The logarithm of `ndtr`, accurate far below 0."""
    return real_function("log_ndtr", _LOG_NDTR, input)


def _entr(x: Tensor) -> Tensor:
    zero = zeros_like_shape((), x)
    return where(isnan(x), x, where(x > 0, -x * log(where(x > 0, x, zero + 1)), where(x == 0, zero, zero - math.inf)))  # type: ignore[no-any-return]


_ENTR = coarse("entr", _entr, lambda ctx, g: g * (-log(ctx[0]) - 1), (0,))


@special()
def entr(input: Tensor) -> Tensor:
    """-x log(x): 0 for 0 and minus infinity below."""
    dt = real_type("entr", input)
    return pointwise(_ENTR, (input,), dt, dt, "entr", ())


# ---- products with logarithms


def _times_log(x: Tensor, y: Tensor) -> Tensor:
    none = (x == 0) & ~isnan(y)
    return where(none, zeros_like_shape((), x), x * log(where(none, constant(1, y), y)))  # type: ignore[no-any-return]


def _xlogy_vjp(ctx: GradNode, g: Tensor) -> tuple[Tensor | None, Tensor | None]:
    x, y = ctx[0], ctx[1]
    gx = None
    if ctx.needs[0]:
        none = (x == 0) & (y <= 0)
        gx = where(none, zeros_like_shape((), g), g * log(where(none, constant(1, y), y)))
    return gx, g * x / y if ctx.needs[1] else None


def _times_log1p(x: Tensor, y: Tensor) -> Tensor:
    none = (x == 0) & ~isnan(y)
    return where(none, zeros_like_shape((), x), x * log1p(where(none, constant(0, y), y)))  # type: ignore[no-any-return]


def _xlog1py_vjp(ctx: GradNode, g: Tensor) -> tuple[Tensor | None, Tensor | None]:
    x, y = ctx[0], ctx[1]
    gx = None
    if ctx.needs[0]:
        none = (x == 0) & (y <= -1)
        gx = where(none, zeros_like_shape((), g), g * log1p(where(none, constant(0, y), y)))
    return gx, g * x / (y + 1) if ctx.needs[1] else None


_XLOGY = coarse("xlogy", _times_log, _xlogy_vjp, (0, 1))
_XLOG1PY = coarse("xlog1py", _times_log1p, _xlog1py_vjp, (0, 1))


def _product(what: str, op: Any, x: Any, y: Any) -> Tensor:
    if not isinstance(x, Tensor) and not isinstance(y, Tensor):
        raise TypeError(f"{what}(): expected a Tensor, got {type(x).__name__} and {type(y).__name__}")
    dt = float_type(result_type_of(x, y))
    if dt.is_complex:
        raise RuntimeError(f"{what}: not implemented for complex tensors (got dtype {dt.title})")
    return pointwise(op, (x, y), dt, dt, what, ())


@special("xlogy")
@public("xlogy", inplace=True, out=True)
def xlogy(input: Any, other: Any) -> Tensor:
    """x log(y), broadcast: 0 where x is 0 (NaN where y is NaN). Raises RuntimeError for complex tensors."""
    return _product("xlogy", _XLOGY, input, other)


@special()
def xlog1py(input: Any, other: Any) -> Tensor:
    """x log(1 + y), broadcast: 0 where x is 0 (NaN where y is NaN). Raises RuntimeError for complex tensors."""
    return _product("xlog1py", _XLOG1PY, input, other)


# ---- others


def _logit(x: Tensor, eps: float | None) -> Tensor:
    z = x if eps is None else x.clamp(eps, 1 - eps)
    return log(z / (1 - z))


def _logit_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    x, (eps,) = ctx[0], ctx.arg
    low, high = (0.0, 1.0) if eps is None else (eps, 1 - eps)
    outside = (x < low) | (x > high)
    return where(outside, constant(math.nan if eps is None else 0.0, g), g / (x * (1 - x)))  # type: ignore[no-any-return]


_LOGIT = coarse("logit", _logit, _logit_vjp, (0,))


@special("logit")
@public("logit", inplace=True, out=True)
def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)), the inverse of `sigmoid`; x limited to [eps, 1 - eps] first, if given; else NaN outside [0, 1]."""
    dt = real_type("logit", input)
    return pointwise(_LOGIT, (input,), dt, dt, "logit", (None if eps is None else float(eps),))


def _sinc(x: Tensor) -> Tensor:
    none = x == 0
    angle = where(none, constant(1, x), x * math.pi)
    return where(none, constant(1, x), sin(angle) / angle)  # type: ignore[no-any-return]


def _sinc_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    x, g = wide(ctx[0]), wide(g)
    none = x == 0
    angle = where(none, constant(1, x), x * math.pi)
    slope = (angle * cos(angle) - sin(angle)) / (angle * angle) * math.pi
    slope = slope.conj_physical() if slope._dtype.is_complex else slope
    return where(none, zeros_like_shape((), g), g * slope)  # type: ignore[no-any-return]


_SINC = coarse("sinc", in_float32(_sinc), _sinc_vjp, (0,))


@special("sinc")
@public("sinc", inplace=True, out=True)
def sinc(input: Tensor) -> Tensor:
    """sin(pi x) / (pi x), and 1 at 0."""
    dt = float_type(input._dtype)
    return pointwise(_SINC, (input,), dt, dt, "sinc", ())


__all__ = ["entr", "erfcx", "erfinv", "log_ndtr", "logit", "ndtr", "ndtri", "sinc", "xlog1py", "xlogy"]

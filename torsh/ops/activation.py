"""Activations: pointwise functions, each one operation with its derivative as another.

Half types compute in float32 and round once. Parameters that shape a function (slopes, bounds) are operands where they are
numbers, so another value is no other program.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from torsh.autograd.autocast import lower_type, lowered
from torsh.autograd.entered import entered
from torsh.autograd.graph import GradNode
from torsh.core.dtypes import bool_
from torsh.core.shapes import wrap_dim
from torsh.graph.node import Op
from torsh.ops.composite import in_float32, rule
from torsh.ops.dispatch import coarse, pointwise, public, scalar_tensor
from torsh.ops.pointwise import abs, exp, expm1, log1p, maximum, minimum, normal_cdf, sigmoid, square, tanh, where
from torsh.ops.views import zeros_like_shape
from torsh.tensor.tensor import Tensor

_INV_SQRT_2PI = 1 / math.sqrt(2 * math.pi)
_SQRT_2_OVER_PI = math.sqrt(2 / math.pi)
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


def _declare(name: str, function: Callable[..., Tensor], slope: Callable[..., Tensor], on_output: bool = False, grad_name: str | None = None) -> Op:
    """`function(x, *parameters)` and its derivative times g, `slope(g, x or y, *parameters)`."""
    backward = rule(name + "_backward", in_float32(slope))

    def vjp(ctx: GradNode, g: Tensor) -> Tensor:
        n = len(ctx.shapes)
        return backward((g, ctx.out if on_output else ctx[0], *[ctx[i] for i in range(1, n)]), (), ctx.shapes[0], g._dtype)
    saved = tuple(range(1, 5)) if on_output else tuple(range(5))
    return coarse(name, in_float32(function), vjp, saved, on_output, grad_name)


def _call(op: Op, what: str, x: Tensor, *parameters: Any) -> Tensor:
    if not isinstance(x, Tensor):
        raise TypeError(f"{what}(): argument 'input' (position 1) must be Tensor, not {type(x).__name__}")
    dt = x._dtype
    if dt.category != 2:
        raise NotImplementedError(f"\"{what}_cpu\" not implemented for '{dt.title}': {what} needs a floating dtype, got shape {list(x._shape)}")
    return pointwise(op, (x, *[scalar_tensor(float(v), dt) for v in parameters]) if parameters else (x,), dt, dt, what, ())


# ---- piecewise linear


_relu_slope = rule("relu_backward", lambda g, y: where(y > 0, g, zeros_like_shape((), g)))
_RELU: Final = coarse("relu", lambda x: maximum(x, 0), lambda ctx, g: _relu_slope((g, ctx.out), (), g._shape, g._dtype), (), True)


@public(inplace=True)
def relu(input: Tensor) -> Tensor:
    """max(x, 0) of each element. Raises RuntimeError for bool and complex tensors.

    >>> import torsh
    >>> torsh.relu(torsh.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """
    if input._dtype is bool_ or input._dtype.is_complex:
        raise RuntimeError(f"relu: Boolean and complex inputs not supported, got {input._dtype.title}")
    return pointwise(_RELU, (input,), input._dtype, input._dtype, "relu", ())


_HARDTANH = coarse("hardtanh", lambda x, lo, hi: minimum(maximum(x, lo), hi),
                   lambda ctx, g: where((ctx[0] > ctx[1]) & (ctx[0] < ctx[2]), g, zeros_like_shape((), g)), (0, 1, 2))


@public(function=False, method=False)
def hardtanh(input: Tensor, min_val: Any = -1.0, max_val: Any = 1.0) -> Tensor:
    """Each element limited to [min_val, max_val]; no gradient at and beyond the bounds. Raises ValueError for bounds out of order."""
    if min_val > max_val:
        raise ValueError(f"min_val ({min_val}) cannot be greater than max_val ({max_val})")
    if input._dtype.category == 1:
        return input.clamp(int(min_val), int(max_val))  # type: ignore[attr-defined,no-any-return]
    return _call(_HARDTANH, "hardtanh", input, min_val, max_val)


def relu6(input: Tensor) -> Tensor:
    """Each element limited to [0, 6]."""
    return hardtanh(input, 0.0, 6.0)


_LEAKY = _declare("leaky_relu", lambda x, a: where(x > 0, x, x * a), lambda g, x, a: where(x > 0, g, g * a))


def leaky_relu(input: Tensor, negative_slope: Any = 0.01) -> Tensor:
    """x where positive, else negative_slope * x."""
    return _call(_LEAKY, "leaky_relu", input, negative_slope)


_HARDSIGMOID = _declare("hardsigmoid", lambda x: minimum(maximum(x + 3, 0), 6) / 6, lambda g, x: where((x > -3) & (x < 3), g / 6, 0.0))


def hardsigmoid(input: Tensor) -> Tensor:
    """clamp(x + 3, 0, 6) / 6 of each element."""
    return _call(_HARDSIGMOID, "hardsigmoid", input)


_HARDSWISH = _declare("hardswish", lambda x: x * minimum(maximum(x + 3, 0), 6) / 6,
                      lambda g, x: where(x <= -3, 0.0, where(x < 3, g * (x / 3 + 0.5), g)))


def hardswish(input: Tensor) -> Tensor:
    """x * clamp(x + 3, 0, 6) / 6 of each element. Howard et al., 2019."""
    return _call(_HARDSWISH, "hardswish", input)


_HARDSHRINK = _declare("hardshrink", lambda x, b: where((x >= -b) & (x <= b), 0.0, x), lambda g, x, b: where((x >= -b) & (x <= b), 0.0, g))
_SOFTSHRINK = _declare("softshrink", lambda x, b: where(x > b, x - b, where(x < -b, x + b, x * 0)),
                       lambda g, x, b: where((x >= -b) & (x <= b), 0.0, g))


@public()
def hardshrink(input: Tensor, lambd: Any = 0.5) -> Tensor:
    """x where |x| > lambd, else 0."""
    return _call(_HARDSHRINK, "hardshrink", input, lambd)


def softshrink(input: Tensor, lambd: Any = 0.5) -> Tensor:
    """x moved towards 0 by lambd, 0 between. Raises RuntimeError for a negative lambd."""
    if lambd < 0:
        raise RuntimeError(f"lambda must be greater or equal to 0, but found to be {lambd}.")
    return _call(_SOFTSHRINK, "softshrink", input, lambd)


_THRESHOLD = coarse("threshold", lambda x, t, v: where(x <= t, v, x),
                    lambda ctx, g: where(ctx[0] <= ctx[1], zeros_like_shape((), g), g), (0, 1))


@public(method=False)
def threshold(input: Tensor, threshold: Any, value: Any) -> Tensor:
    """x where it is above `threshold`, else `value`."""
    dt = input._dtype
    return pointwise(_THRESHOLD, (input, scalar_tensor(threshold, dt), scalar_tensor(value, dt)), dt, dt, "threshold", ())


# ---- exponential


def _elu(x: Tensor, alpha: Tensor, scale: Tensor, inner: Tensor) -> Tensor:
    return where(x > 0, x * scale, expm1(minimum(x, 0) * inner) * (alpha * scale))


def _elu_slope(g: Tensor, x: Tensor, alpha: Tensor, scale: Tensor, inner: Tensor) -> Tensor:
    return g * where(x > 0, scale, exp(where(x < 0, x, 0.0) * inner) * (alpha * scale * inner))


_ELU = _declare("elu", _elu, _elu_slope)


def elu(input: Tensor, alpha: Any = 1.0) -> Tensor:
    """x where positive, else alpha * (exp(x) - 1). Clevert et al., 2016."""
    return _call(_ELU, "elu", input, alpha, 1.0, 1.0)


@public(method=False, inplace=False)
def selu(input: Tensor) -> Tensor:
    """The elu whose constants keep mean 0 and variance 1. Klambauer et al., 2017."""
    return _call(_ELU, "elu", input, _SELU_ALPHA, _SELU_SCALE, 1.0)


@public(method=False, inplace=False)
def celu(input: Tensor, alpha: Any = 1.0) -> Tensor:
    """max(0, x) + min(0, alpha * (exp(x / alpha) - 1)). Raises RuntimeError for alpha 0."""
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    return _call(_ELU, "elu", input, alpha, 1.0, 1.0 / alpha)


def _silu_slope(g: Tensor, x: Tensor) -> Tensor:
    s = sigmoid(x)
    return g * s * (1 + x * (1 - s))


_SILU = _declare("silu", lambda x: x * sigmoid(x), _silu_slope)


def silu(input: Tensor) -> Tensor:
    """x * sigmoid(x) of each element (swish)."""
    return input * sigmoid(input) if input._dtype.is_complex else _call(_SILU, "silu", input)


def _softplus_value(x: Tensor) -> Tensor:
    """log(1 + exp(x)) without overflow."""
    return maximum(x, 0) + log1p(exp(-abs(x)))


def _mish_slope(g: Tensor, x: Tensor) -> Tensor:
    t = tanh(_softplus_value(x))
    return g * (t + x * sigmoid(x) * (1 - square(t)))


_MISH = _declare("mish", lambda x: x * tanh(_softplus_value(x)), _mish_slope)


def mish(input: Tensor) -> Tensor:
    """x * tanh(softplus(x)) of each element. Misra, 2020."""
    return _call(_MISH, "mish", input)


_SOFTPLUS = _declare("softplus", lambda x, b, t: where(x * b > t, x, log1p(exp(minimum(x * b, t))) / b),
                     lambda g, x, b, t: where(x * b > t, g, g * sigmoid(x * b)))


def softplus(input: Tensor, beta: Any = 1.0, threshold: Any = 20.0) -> Tensor:
    """log(1 + exp(beta * x)) / beta; x itself where beta * x is above `threshold`."""
    return _call(_SOFTPLUS, "softplus", input, beta, threshold)


_LOGSIGMOID = _declare("log_sigmoid", lambda x: minimum(x, 0) - log1p(exp(-abs(x))), lambda g, x: g * sigmoid(-x))


def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(x)) of each element, without underflow."""
    return _call(_LOGSIGMOID, "log_sigmoid", input)


def _gelu_slope(g: Tensor, x: Tensor) -> Tensor:
    return g * (normal_cdf(x) + x * (exp(square(x) * -0.5) * _INV_SQRT_2PI))


def _gelu_tanh(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + tanh(_SQRT_2_OVER_PI * (x + 0.044715 * (x * square(x)))))


def _gelu_tanh_slope(g: Tensor, x: Tensor) -> Tensor:
    t = tanh(_SQRT_2_OVER_PI * (x + 0.044715 * (x * square(x))))
    return g * (0.5 * (1 + t) + 0.5 * x * (1 - square(t)) * (_SQRT_2_OVER_PI * (1 + 3 * 0.044715 * square(x))))


_GELU = _declare("gelu", lambda x: x * normal_cdf(x), _gelu_slope)
_GELU_TANH = _declare("gelu_tanh", _gelu_tanh, _gelu_tanh_slope, grad_name="GeluBackward0")


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x times the normal distribution function of x, or its tanh approximation. Hendrycks & Gimpel, 2016.

    Raises RuntimeError unless `approximate` is "none" or "tanh".
    """
    if approximate not in ("none", "tanh"):
        raise RuntimeError("approximate argument must be either none or tanh.")
    return _call(_GELU if approximate == "none" else _GELU_TANH, "gelu", input)


def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|) of each element."""
    return input / (abs(input) + 1)


def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh(x) of each element."""
    return input - tanh(input)


# ---- with parameters or halves


def glu(input: Tensor, dim: Any = -1) -> Tensor:
    """The first half of a dimension times the sigmoid of the second. Dauphin et al., 2017.

    Raises RuntimeError for a 0-dimensional tensor and an odd size.
    """
    if not input._shape:
        raise RuntimeError("glu does not support 0-dimensional tensors")
    d = wrap_dim(dim, len(input._shape), "glu")
    n = input._shape[d]
    if n % 2:
        raise RuntimeError(f"Halving dimension must be even, but dimension {d} is size {n} (input shape {list(input._shape)})")
    return input.narrow(d, 0, n // 2) * sigmoid(input.narrow(d, n // 2, n // 2))  # type: ignore[attr-defined,no-any-return]


@public()
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x where positive, else weight * x; a weight of 1 element or one per channel (dimension 1).

    Raises RuntimeError for other weights and another dtype.
    """
    if entered.autocast and lower_type() is not None:
        return lowered(prelu, input, weight)  # type: ignore[no-any-return]
    if weight._dtype is not input._dtype:
        raise RuntimeError(f"prelu: Type promoting not supported. Got {input._dtype.name} and {weight._dtype.name}")
    n = weight.numel()
    if n != 1:
        if not input._shape:
            raise RuntimeError("prelu: Not allow zero-dim input tensor.")
        channels = input._shape[1] if len(input._shape) > 1 else 1
        if len(weight._shape) != 1 or channels != n:
            raise RuntimeError(f"prelu: Mismatch of parameter numbers and input channel size. Found parameter numbers = {n} and channel size = "
                               f"{channels} (weight {list(weight._shape)}, input {list(input._shape)})")
        weight = weight.reshape(n, *[1] * max(0, len(input._shape) - 2))  # type: ignore[attr-defined]
    elif weight._shape:
        weight = weight.reshape(())  # type: ignore[attr-defined]
    return where(input > 0, input, weight * input)  # type: ignore[no-any-return]


@public(method=False)
def rrelu(input: Tensor, lower: Any = 1.0 / 8, upper: Any = 1.0 / 3, training: bool = False) -> Tensor:
    """leaky_relu with slopes drawn between `lower` and `upper` in training, else with their mean. Xu et al., 2015.

    Raises RuntimeError for bounds out of order.
    """
    if not lower <= upper:
        raise RuntimeError(f"Lower bound should be less than or equal to the upper bound, got lower: {lower}, upper: {upper}")
    if not training:
        return leaky_relu(input, (lower + upper) / 2)
    import numpy as np

    from torsh.runtime.cpu.generator import default_generator
    from torsh.tensor.creation import from_array
    x = input._window()
    slopes = np.ones(input._shape, input._dtype.np)
    low = x <= 0  # as PyTorch: a number is drawn only where the slope is used
    slopes[low] = [default_generator().uniform((1,), np.float64, lower, upper)[0] for _ in range(int(low.sum()))]
    return input * from_array(slopes)

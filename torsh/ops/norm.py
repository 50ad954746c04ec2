"""Normalizations. All that centre and scale by moments are one coarse operation over some axes of some shape."""
from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

from torsh.autograd.grad_mode import no_grad, state
from torsh.autograd.graph import GradNode
from torsh.core.dtypes import float64
from torsh.core.shapes import Shape, numel, reduced
from torsh.ops.composite import HALF, rounded_once, rule, wide
from torsh.ops.dispatch import apply, apply_several, cast_tensor, coarse, scalar_tensor
from torsh.ops.pointwise import rsqrt
from torsh.ops.reduce import mean, sum, sum_to, vector_norm
from torsh.tensor.tensor import Tensor

# The operation: x, eps, then maybe weight and bias; arg (axes, shape of the weight or None, shape of the bias or None).
# Outputs: y, and the mean and (biased) variance over the axes, kept as size 1.


def _parameter(t: Tensor, shape: Shape) -> Tensor:
    return wide(t if t._shape == shape else t.reshape(shape))  # type: ignore[attr-defined]


def _moments(x: Tensor, axes: Shape) -> tuple[Tensor, Tensor, Tensor]:
    """(x minus its mean, mean, variance) over the axes."""
    centre = mean(x, axes, True)
    centred = x - centre
    return centred, centre, mean(centred * centred, axes, True)


def _normalize(x: Tensor, eps: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    *parameters, axes, weight_shape, bias_shape = rest
    dt, x = x._dtype, wide(x)
    centred, centre, variance = _moments(x, axes)
    y = centred * rsqrt(variance + cast_tensor(eps, x._dtype))
    if weight_shape is not None:
        y = y * _parameter(parameters[0], weight_shape)
    if bias_shape is not None:
        y = y + _parameter(parameters[-1], bias_shape)
    return cast_tensor(y, dt), centre, variance


def _input_gradient(g: Tensor, x: Tensor, centre: Tensor, variance: Tensor, eps: Tensor, *rest: Any) -> Tensor:
    *weight, axes, weight_shape = rest
    dt, x, g = x._dtype, wide(x), wide(g)
    scale = rsqrt(variance + cast_tensor(eps, x._dtype))
    hat = (x - centre) * scale
    if weight:
        g = g * _parameter(weight[0], weight_shape)
    return cast_tensor(scale * (g - mean(g, axes, True) - hat * mean(g * hat, axes, True)), dt)


def _weight_gradient(g: Tensor, x: Tensor, centre: Tensor, variance: Tensor, eps: Tensor, weight_shape: Shape) -> Tensor:
    dt, x, g = g._dtype, wide(x), wide(g)
    return cast_tensor(sum_to(g * ((x - centre) * rsqrt(variance + cast_tensor(eps, x._dtype))), weight_shape), dt)


_input_rule = rule("normalize_backward", _input_gradient)
_weight_rule = rule("normalize_weight_backward", _weight_gradient)


def _normalize_vjp(ctx: GradNode, g: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
    x, eps = ctx[0], ctx[1]
    axes, weight_shape, bias_shape = ctx.arg
    if state.enabled:  # the moments must be functions of x again
        centre, variance = _moments(wide(x), axes)[1:]
    else:
        centre, variance = ctx.saved_output(1), ctx.saved_output(2)
    weight: tuple[Tensor, ...] = () if weight_shape is None else (ctx[2],)
    out: list[Tensor | None] = [None, None]
    if ctx.needs[0]:
        out[0] = _input_rule((g, x, centre, variance, eps, *weight), (axes, weight_shape), x._shape, x._dtype)
    if weight:
        gw: Tensor | None = _weight_rule((g, x, centre, variance, eps), (weight_shape,), weight_shape, g._dtype) if ctx.needs[2] else None
        out.append(gw if gw is None else gw.reshape(ctx.shapes[2]))
    if bias_shape is not None:
        out.append(sum_to(g, bias_shape).reshape(ctx.shapes[-1]) if ctx.needs[-1] else None)  # type: ignore[attr-defined]
    return tuple(out)


_LAYER_NORM = coarse("layer_norm", _normalize, _normalize_vjp, (0, 1, 2), True, "NativeLayerNormBackward0")
_BATCH_NORM = coarse("batch_norm", _normalize, _normalize_vjp, (0, 1, 2), True, "NativeBatchNormBackward0")
_GROUP_NORM = coarse("group_norm", _normalize, _normalize_vjp, (0, 1, 2), True, "NativeGroupNormBackward0")


def _normalized(op: Any, x: Tensor, axes: Shape, eps: float, weight: Tensor | None, weight_shape: Shape, bias: Tensor | None) -> tuple[Tensor, ...]:
    moment_type = wide(x)._dtype if x._dtype in HALF else x._dtype
    kept = reduced(x._shape, axes, True)
    tensors = (x, scalar_tensor(eps, moment_type), *([] if weight is None else [weight]), *([] if bias is None else [bias]))
    arg = (axes, None if weight is None else weight_shape, None if bias is None else weight_shape)
    return apply_several(op, tensors, arg, ((x._shape, x._dtype), (kept, moment_type), (kept, moment_type)))


def _floating(what: str, x: Tensor) -> None:
    if x._dtype.category != 2:
        raise NotImplementedError(f"\"{what}\" not implemented for '{x._dtype.title}': it needs a floating dtype")


def _normalized_axes(what: str, x: Tensor, normalized_shape: Sequence[int], weight: Tensor | None, bias: Tensor | None) -> Shape:
    shape = (normalized_shape,) if isinstance(normalized_shape, (int, Integral)) else tuple(normalized_shape)
    if not shape:
        raise RuntimeError(f"{what}: Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, but got "
                           "normalized_shape = []")
    for name, t in (("weight", weight), ("bias", bias)):
        if t is not None and t._shape != shape:
            raise RuntimeError(f"{what}: Expected {name} to be of same shape as normalized_shape, but got {name} of shape {list(t._shape)} and "
                               f"normalized_shape = {list(shape)}")
    if x._shape[-len(shape):] != shape:
        raise RuntimeError(f"{what}: Given normalized_shape={list(shape)}, expected input with shape [*, {', '.join(map(str, shape))}], but got "
                           f"input of size{list(x._shape)}")
    return tuple(range(len(x._shape) - len(shape), len(x._shape)))


def layer_norm(input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Zero mean and unit variance over the trailing dimensions, then `* weight + bias` (each of `normalized_shape`).

    Raises RuntimeError for shapes that do not fit.
    """
    axes = _normalized_axes("layer_norm", input, normalized_shape, weight, bias)
    _floating("LayerNormKernelImpl", input)
    return _normalized(_LAYER_NORM, input, axes, eps, weight, input._shape[axes[0]:], bias)[0]


def _rms(x: Tensor, eps: Tensor, *rest: Any) -> Tensor:
    *weight, axes = rest
    dt, x = x._dtype, wide(x)
    y = x * rsqrt(mean(x * x, axes, True) + cast_tensor(eps, x._dtype))
    return cast_tensor(y * wide(weight[0]) if weight else y, dt)


def _rms_gradient(g: Tensor, x: Tensor, eps: Tensor, *rest: Any) -> Tensor:
    *weight, axes = rest
    dt, x, g = x._dtype, wide(x), wide(g)
    scale = rsqrt(mean(x * x, axes, True) + cast_tensor(eps, x._dtype))
    hat = x * scale
    g = g * wide(weight[0]) if weight else g
    return cast_tensor(scale * (g - hat * mean(g * hat, axes, True)), dt)


def _rms_weight_gradient(g: Tensor, x: Tensor, eps: Tensor, axes: Shape) -> Tensor:
    dt, x, g = g._dtype, wide(x), wide(g)
    return cast_tensor(sum_to(g * (x * rsqrt(mean(x * x, axes, True) + cast_tensor(eps, x._dtype))), x._shape[axes[0]:]), dt)


_rms_rule = rule("rms_norm_backward", _rms_gradient)
_rms_weight_rule = rule("rms_norm_weight_backward", _rms_weight_gradient)


def _rms_vjp(ctx: GradNode, g: Tensor) -> tuple[Tensor | None, ...]:
    x, eps = ctx[0], ctx[1]
    weight = (ctx[2],) if len(ctx.shapes) > 2 else ()
    gx = _rms_rule((g, x, eps, *weight), ctx.arg, x._shape, x._dtype) if ctx.needs[0] else None
    gw = _rms_weight_rule((g, x, eps), ctx.arg, weight[0]._shape, g._dtype) if weight and ctx.needs[2] else None
    return gx, None, gw


_RMS_NORM = coarse("rms_norm", _rms, _rms_vjp, (0, 1, 2))


def rms_norm(input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    """The input over its root mean square over the trailing dimensions, times `weight`. Zhang & Sennrich, 2019.

    `eps` defaults to the machine epsilon of the type it computes in. Raises RuntimeError for shapes that do not fit.
    """
    axes = _normalized_axes("rms_norm", input, normalized_shape, weight, None)
    if input._dtype.is_complex:
        limit = eps if eps is not None else 2.0 ** -52 if input._dtype.itemsize == 16 else 2.0 ** -23
        scaled = input * rsqrt(mean(input * input, axes, True) + limit)
        return scaled if weight is None else scaled * weight
    _floating("rms_norm", input)
    compute = input._dtype if input._dtype is float64 else wide(input)._dtype
    eps = eps if eps is not None else 2.0 ** -52 if compute is float64 else 2.0 ** -23
    tensors = (input, scalar_tensor(eps, compute), *([] if weight is None else [weight]))
    return apply(_RMS_NORM, tensors, (axes,), input._shape, input._dtype)


# ---- statistics over a batch


def _batch_norm_fixed(x: Tensor, centre: Tensor, variance: Tensor, eps: Tensor, *rest: Any) -> Tensor:
    *parameters, shape, has_weight, has_bias = rest
    dt, x = x._dtype, wide(x)
    y = (x - _parameter(centre, shape)) * rsqrt(_parameter(variance, shape) + cast_tensor(eps, x._dtype))
    if has_weight:
        y = y * _parameter(parameters[0], shape)
    return cast_tensor(y + _parameter(parameters[-1], shape) if has_bias else y, dt)


def _batch_norm_fixed_vjp(ctx: GradNode, g: Tensor) -> tuple[Tensor | None, ...]:
    shape, has_weight, has_bias = ctx.arg
    x, wide_g = wide(ctx[0]), wide(g)
    scale = rsqrt(_parameter(ctx[2], shape) + cast_tensor(ctx[3], x._dtype))
    gx = (wide_g * scale * _parameter(ctx[4], shape) if has_weight else wide_g * scale) if ctx.needs[0] else None
    out = [gx, None, None, None]
    if has_weight:
        out.append(sum_to(wide_g * ((x - _parameter(ctx[1], shape)) * scale), shape).reshape(ctx.shapes[4]) if ctx.needs[4] else None)  # type: ignore[attr-defined]
    if has_bias:
        out.append(sum_to(wide_g, shape).reshape(ctx.shapes[-1]) if ctx.needs[-1] else None)  # type: ignore[attr-defined]
    return tuple(out)


_BATCH_NORM_FIXED = coarse("batch_norm_inference", _batch_norm_fixed, _batch_norm_fixed_vjp, (0, 1, 2, 3, 4), grad_name="NativeBatchNormBackward0")


def _check_channels(what: str, channels: int, **parameters: Tensor | None) -> None:
    for name, t in parameters.items():
        if t is not None and t.numel() != channels:
            raise RuntimeError(f"{what}: {name} should contain {channels} elements not {t.numel()} (shape {list(t._shape)})")


def _update_running(running: Tensor | None, new: Tensor, momentum: float) -> None:
    if running is not None:
        with no_grad():
            running.mul_(1 - momentum).add_(cast_tensor(new.detach().reshape(running._shape), running._dtype) * momentum)  # type: ignore[attr-defined]


def batch_norm(input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None = None, bias: Tensor | None = None,
               training: bool = False, momentum: float = 0.1, eps: float = 1e-5) -> Tensor:
    """Zero mean and unit variance of each channel of [n, c, ...], then `* weight + bias` (each [c]). Ioffe & Szegedy, 2015.

    In training the batch's moments are used, and the running ones move towards them by `momentum` (the variance unbiased);
    otherwise the running ones are used. Raises ValueError for one value per channel in training, RuntimeError for sizes
    that do not fit and for missing running statistics.
    """
    s = input._shape
    if len(s) == 1 and not s[0]:
        return input.clone()  # type: ignore[attr-defined,no-any-return]
    if len(s) < 2:
        raise ValueError(f"batch_norm: expected an input [n, c, ...] of at least 2 dimensions, got shape {list(s)}")
    c = s[1]
    _floating("batch_norm", input)
    _check_channels("batch_norm", c, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    axes = (0, *range(2, len(s)))
    shape = (1, c, *[1] * (len(s) - 2))
    if not training:
        if running_mean is None or running_var is None:
            raise RuntimeError("batch_norm: Expected running_mean and running_var to be defined when training=False")
        eps_tensor = scalar_tensor(eps, wide(input)._dtype)
        tensors = (input, running_mean, running_var, eps_tensor, *([] if weight is None else [weight]), *([] if bias is None else [bias]))
        return apply(_BATCH_NORM_FIXED, tensors, (shape, weight is not None, bias is not None), s, input._dtype)
    count = numel(s) // c if c else 0
    if count == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size torch.Size({list(s)})")
    if not count:  # no values: nothing to normalize, and the running statistics stay
        y = input if weight is None else input * _parameter(weight, shape)
        return y if bias is None else y + _parameter(bias, shape)
    y, centre, variance = _normalized(_BATCH_NORM, input, axes, eps, weight, shape, bias)
    _update_running(running_mean, centre, momentum)
    _update_running(running_var, variance * (count / (count - 1)), momentum)
    return y


def instance_norm(input: Tensor, running_mean: Tensor | None = None, running_var: Tensor | None = None, weight: Tensor | None = None,
                  bias: Tensor | None = None, use_input_stats: bool = True, momentum: float = 0.1, eps: float = 1e-5) -> Tensor:
    """`batch_norm` with the moments of every sample and channel on their own: over the dimensions after the first two.

    Raises ValueError for one spatial element, RuntimeError for sizes that do not fit.
    """
    s = input._shape
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    if len(s) < 3:
        raise RuntimeError(f"instance_norm: expected an input [n, c, ...] of at least 3 dimensions, got shape {list(s)}")
    count = numel(s[2:])
    if count == 1:
        raise ValueError(f"Expected more than 1 spatial element when training, got input size torch.Size({list(s)})")
    _floating("instance_norm", input)
    _check_channels("instance_norm", s[1], running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    y, centre, variance = _normalized(_BATCH_NORM, input, tuple(range(2, len(s))), eps, weight, (1, s[1], *[1] * (len(s) - 2)), bias)
    if running_mean is not None:
        _update_running(running_mean, mean(centre.detach(), (0,)), momentum)  # type: ignore[attr-defined]
    if running_var is not None:
        _update_running(running_var, mean(variance.detach(), (0,)) * (count / (count - 1)), momentum)  # type: ignore[attr-defined]
    return y


def group_norm(input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Zero mean and unit variance of each of `num_groups` groups of channels of [n, c, ...], then `* weight + bias` (each [c]).

    Wu & He, 2018. Raises RuntimeError when the channels do not divide into the groups and for sizes that do not fit.
    """
    s = input._shape
    if len(s) < 2:
        raise RuntimeError(f"group_norm: Expected at least 2 dimensions for input tensor but received {len(s)} (shape {list(s)})")
    n, c = s[0], s[1]
    if num_groups <= 0 or c % num_groups:
        raise RuntimeError(f"group_norm: Expected number of channels in input to be divisible by num_groups, but got input of shape {list(s)} and "
                           f"num_groups={num_groups}")
    _floating("GroupNormKernelImpl", input)
    for name, t in (("weight", weight), ("bias", bias)):
        if t is not None and t._shape != (c,):
            raise RuntimeError(f"group_norm: Expected {name} to be a vector of size equal to the number of channels in input, but got {name} of "
                               f"shape {list(t._shape)} and input of shape {list(s)}")
    x = input.reshape(n, num_groups, c // num_groups, numel(s[2:]))  # type: ignore[attr-defined]
    return _normalized(_GROUP_NORM, x, (2, 3), eps, weight, (1, num_groups, c // num_groups, 1), bias)[0].reshape(s)  # type: ignore[attr-defined,no-any-return]


# ---- by size


@rounded_once
def _over_norm(input: Tensor, p: float, axes: Shape, eps: float) -> Tensor:
    return input / vector_norm(input, p, axes, True).clamp_min(eps)  # type: ignore[attr-defined,no-any-return]


def normalize(input: Tensor, p: float = 2.0, dim: int | Sequence[int] = 1, eps: float = 1e-12, out: Tensor | None = None) -> Tensor:
    """The input over its p-norm along a dimension (at least `eps`). Raises IndexError for a dimension out of range."""
    from torsh.core.shapes import wrap_dims
    from torsh.ops.dispatch import write_out
    axes = wrap_dims((dim,) if isinstance(dim, (int, Integral)) else tuple(dim), len(input._shape), "normalize")
    found = _over_norm(input, p, axes, eps)
    return found if out is None else write_out(out, found, "normalize")


def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """Each element over (k + alpha * mean of squares over `size` neighbouring channels) ** beta. Krizhevsky et al., 2012.

    Raises ValueError for fewer than 3 dimensions.
    """
    s, size, alpha, beta, k = input._shape, int(size), float(alpha), float(beta), float(k)
    if len(s) < 3:
        raise ValueError(f"Expected 3D or higher dimensionality input (got {len(s)} dimensions)")
    if not numel(s):
        return input
    from torsh.ops.pad import pad
    flat = (input * input).reshape(s[0], s[1], -1)  # type: ignore[attr-defined]
    windows = pad(flat, (0, 0, size // 2, (size - 1) // 2)).unfold(1, size, 1)  # type: ignore[attr-defined]
    return input / (sum(windows, (3,)).reshape(s) * (alpha / size) + k) ** beta  # type: ignore[attr-defined,no-any-return]

"""Numbers rounded to what quantized ones could be, for training: gradients pass where the range was not left (Bengio et al. 2013)."""
from __future__ import annotations

from typing import Any

import numpy as np

from torsh.autograd.graph import GradNode
from torsh.core.dtypes import float32, float64, int32
from torsh.core.shapes import wrap_dim
from torsh.ops.dispatch import FUNCTIONS, apply, cast_tensor, coarse, public
from torsh.ops.pointwise import round as rounded
from torsh.ops.pointwise import where
from torsh.quantized.scheme import chosen
from torsh.quantized.tensor import along
from torsh.tensor.creation import from_array, tensor
from torsh.tensor.tensor import Tensor

# Operands: x [*], scale and zero point that broadcast to it, in float32.


def _whole(x: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    """In float32, except that float64 is not rounded to it first, as in PyTorch."""
    wide = x if x._dtype is float64 else cast_tensor(x, float32)
    return rounded(wide * cast_tensor(1.0 / scale, wide._dtype)) + zero  # type: ignore[no-any-return]


def _fake(x: Tensor, scale: Tensor, zero: Tensor, least: int, most: int) -> Tensor:
    steps = cast_tensor(_whole(x, scale, zero).clamp(least, most), float32) - zero  # type: ignore[attr-defined]
    return cast_tensor(steps * scale, x._dtype)


def _fake_vjp(ctx: GradNode, g: Tensor) -> Any:
    least, most = ctx.arg
    whole = _whole(ctx[0], ctx[1], ctx[2]).detach()  # type: ignore[attr-defined]
    return where((whole >= least) & (whole <= most), g, 0.0), None, None


_FAKE = coarse("fake_quantize", _fake, _fake_vjp, (0, 1, 2), grad_name="FakeQuantizePerTensorAffineCachemaskBackward0")


def _applied(x: Tensor, scale: Tensor, zero: Tensor, least: int, most: int) -> Tensor:
    return apply(_FAKE, (x, scale.detach(), zero.detach()), (least, most), x._shape, x._dtype)  # type: ignore[attr-defined]


def _checked(what: str, x: Any, least: int, most: int) -> None:
    if not isinstance(x, Tensor) or x._dtype.category != 2:
        raise RuntimeError(f"{what}: expected a floating tensor, got {x._dtype if isinstance(x, Tensor) else type(x).__name__}")
    if least > most:
        raise RuntimeError(f"{what}: `quant_min` should be less than or equal to `quant_max`, got {least} and {most}.")


@public(method=False)
def fake_quantize_per_tensor_affine(input: Tensor, scale: Any, zero_point: Any, quant_min: int, quant_max: int) -> Tensor:
    """(clamp(round(x / scale) + zero_point, quant_min, quant_max) - zero_point) * scale; the gradient is 1 where nothing was cut off, else 0.

    `scale` and `zero_point` are numbers or tensors of one element. Raises RuntimeError for impossible limits.

    >>> import torsh
    >>> x = torsh.tensor([0.26, 9.0], requires_grad=True)
    >>> y = torsh.fake_quantize_per_tensor_affine(x, 0.1, 0, 0, 15)
    >>> y.sum().backward()
    >>> y.detach(), x.grad
    (tensor([0.3000, 1.5000]), tensor([1., 0.]))
    """
    _checked("fake_quantize_per_tensor_affine", input, quant_min, quant_max)
    if not isinstance(zero_point, Tensor) and not quant_min <= zero_point <= quant_max:
        raise RuntimeError("`zero_point` must be between `quant_min` and `quant_max`.")
    s = cast_tensor(scale, float32).reshape(()) if isinstance(scale, Tensor) else tensor(float(scale), dtype=float32)  # type: ignore[attr-defined]
    z = cast_tensor(zero_point, float32).reshape(()) if isinstance(zero_point, Tensor) else tensor(float(zero_point), dtype=float32)  # type: ignore[attr-defined]
    return _applied(input, s, z, quant_min, quant_max)


@public(method=False)
def fake_quantize_per_channel_affine(input: Tensor, scale: Tensor, zero_point: Tensor, axis: int, quant_min: int, quant_max: int) -> Tensor:
    """As `fake_quantize_per_tensor_affine`, with a scale and a zero point [size of the axis] for every index of an axis.

    Raises RuntimeError for other lengths, zero points of other types than int32 or floating, and impossible limits.
    """
    what = "fake_quantize_per_channel_affine"
    _checked(what, input, quant_min, quant_max)
    d = wrap_dim(axis, len(input._shape), what)
    n = input._shape[d]
    if scale._dtype is not float32:
        raise RuntimeError(f"{what}: Scale must be Float, found {scale._dtype.title}")
    if zero_point._dtype is not int32 and zero_point._dtype.category != 2:
        raise RuntimeError(f"{what}: Zero-point must be Int32, Float or Half, found {zero_point._dtype.title}")
    if scale._shape != (n,) or zero_point._shape != (n,):
        raise RuntimeError(f"{what}: dimensions of scale {list(scale._shape)} and zero point {list(zero_point._shape)} are not the axis's ({n})")
    zeros = np.asarray(zero_point.detach()._window())  # type: ignore[attr-defined]
    if zero_point._dtype is int32 and zeros.size and not (quant_min <= zeros.min() and zeros.max() <= quant_max):
        raise RuntimeError("`zero_point` must be between `quant_min` and `quant_max`.")
    ndim = len(input._shape)
    return _applied(input, along(scale, d, ndim), along(cast_tensor(zero_point, float32), d, ndim), quant_min, quant_max)


@public(method=False)
def fused_moving_avg_obs_fake_quant(input: Tensor, observer_on: Tensor, fake_quant_on: Tensor, running_min: Tensor, running_max: Tensor, scale: Tensor,
                                    zero_point: Tensor, averaging_const: float, quant_min: int, quant_max: int, ch_axis: int,
                                    per_row_fake_quant: bool = False, symmetric_quant: bool = False) -> Tensor:
    """Observe the range of `input`, and quantize it as if by what was observed so far.

    With `observer_on` the running limits move in place towards the input's least and greatest element by `averaging_const` (infinite ones become
    these). With `fake_quant_on` `scale` and `zero_point` are chosen anew for them, in place, and the result is the input fake-quantized, else the
    input. By index of `ch_axis` if `per_row_fake_quant`. Raises RuntimeError for impossible limits.
    """
    what = "fused_moving_avg_obs_fake_quant"
    _checked(what, input, quant_min, quant_max)
    d = wrap_dim(ch_axis, len(input._shape), what) if per_row_fake_quant else 0
    if int(observer_on.item()):  # type: ignore[attr-defined]
        values = np.asarray(input.detach()._window()).astype(np.float32)  # type: ignore[attr-defined]
        if per_row_fake_quant:
            n = input._shape[d]
            for t, start in ((running_min, np.inf), (running_max, -np.inf), (scale, 1), (zero_point, 0)):
                if t.numel() != n:
                    t.resize_(n)  # type: ignore[attr-defined]
                    t.fill_(start)  # type: ignore[attr-defined]
            rows = np.moveaxis(values, d, 0).reshape(n, -1)
            ends = (rows.min(1), rows.max(1))
        else:
            ends = (values.min().reshape(1), values.max().reshape(1))
        for t, seen in zip((running_min, running_max), ends, strict=True):
            old = np.asarray(t.detach()._window()).reshape(-1)  # type: ignore[attr-defined]
            with np.errstate(invalid="ignore"):
                moved = np.where(np.isinf(old), seen, old + np.float32(averaging_const) * (seen - old)).astype(np.float32)
            t.copy_(from_array(moved.reshape(t._shape)))  # type: ignore[attr-defined]
    if not int(fake_quant_on.item()):  # type: ignore[attr-defined]
        return FUNCTIONS["clone"](input)  # type: ignore[no-any-return]
    low, high = (np.asarray(t.detach()._window()).reshape(-1) for t in (running_min, running_max))  # type: ignore[attr-defined]
    found = [chosen(float(a), float(b), quant_min, quant_max, symmetric_quant) for a, b in zip(low, high, strict=True)]
    scale.copy_(tensor([p.scale for p in found], dtype=float32).reshape(scale._shape))  # type: ignore[attr-defined]
    zero_point.copy_(tensor([p.zero_point for p in found], dtype=int32).reshape(zero_point._shape))  # type: ignore[attr-defined]
    if per_row_fake_quant:
        return fake_quantize_per_channel_affine(input, scale, cast_tensor(zero_point, int32), d, quant_min, quant_max)
    return fake_quantize_per_tensor_affine(input, scale, zero_point, quant_min, quant_max)


__all__ = ["fake_quantize_per_channel_affine", "fake_quantize_per_tensor_affine", "fused_moving_avg_obs_fake_quant"]

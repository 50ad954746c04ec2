"""Layers of quantized tensors: products of 8-bit integers with sums in int32, then scaled, shifted and rounded in one pass.

With x = (q - z) s, the sum over k of x w is s_x s_w (sum q_x q_w - z_x sum q_w - z_w sum q_x + K z_x z_w): the first sum is the product, the second
is known from the weights, the others are only needed for weights with a zero point (Jacob et al. 2018).
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from torsh.compiler.realize import realize
from torsh.core.dtypes import dtype, float32, float64, int32, uint8
from torsh.core.shapes import contiguous_strides, numel
from torsh.ops.dispatch import FUNCTIONS, cast_tensor
from torsh.ops.int8 import product
from torsh.ops.pointwise import round as rounded
from torsh.ops.pointwise import where
from torsh.quantized.scheme import _SMALL, qint8, quint8
from torsh.quantized.tensor import QuantizedTensor, quantized
from torsh.tensor.creation import zeros
from torsh.tensor.tensor import Tensor

# Shapes: x [..., in], weight [out, in]; x [n, c, h, w], weight [o, c / groups, kh, kw]; bias [out] in float32, or None.


def _check(what: str, x: Any, weight: Any, bias: Any) -> None:
    if not isinstance(x, QuantizedTensor) or x._dtype is not quint8 or x._axis is not None:
        raise RuntimeError(f"{what}: expected an input of quint8 with one scale, got {getattr(x, '_dtype', type(x).__name__)}")
    _check_weight(what, weight, bias)


def _check_weight(what: str, weight: Any, bias: Any) -> None:
    if not isinstance(weight, QuantizedTensor) or weight._dtype is not qint8 or weight._axis not in (None, 0):
        raise RuntimeError(f"{what}: expected weights of qint8, with one scale or one for each output (axis 0), got "
                           f"{getattr(weight, '_dtype', type(weight).__name__)}")
    if bias is not None and (bias._dtype is not float32 or bias._shape != (weight._shape[0],)):
        raise RuntimeError(f"{what}: expected a bias of float32 [{weight._shape[0]}], got {bias._dtype} {list(bias._shape)}")


class Weights:
    """What of quantized weights does not change: their integers as the rows of matrices [groups, out / groups, k], the sums of these rows [out] in
    int32, scales and zero points."""
    __slots__ = ("rows", "sums", "scale", "zero", "_known")

    def __init__(self, weight: QuantizedTensor, rows: Tensor) -> None:
        self.rows = rows
        self.sums = rows.sum(-1, dtype=int32).reshape(-1)  # type: ignore[attr-defined]
        self.scale = float(np.float32(weight._scale)) if weight._axis is None else cast_tensor(weight._scale, float32)
        zeros = weight._zero if weight._axis is None else np.asarray(weight._zero.detach()._window())
        self.zero: Any = None
        if np.any(zeros):
            self.zero = int(zeros) if weight._axis is None else cast_tensor(weight._zero, int32)
        self._known: Any = None

    def constants(self, x_scale: float, bias: Tensor | None, scale: float) -> tuple[Any, Tensor | None]:
        """What sums are multiplied by and what is added before, [out] or numbers, for an input's scale and the result's. A layer sees the same ones again
        and again, so the last are kept: a division for each result costs as much as the product."""
        key = (x_scale, None if bias is None else bias._node(), scale)
        if self._known is None or self._known[0] != key:
            factor = _factor(float(np.float32(x_scale)), self)
            multiplier = factor / float(np.float32(scale)) if isinstance(factor, Tensor) else float(np.float32(factor) / np.float32(scale))
            shift = None if bias is None else bias / factor
            realize([t._node() for t in (multiplier, shift) if isinstance(t, Tensor)])
            self._known = key, multiplier, shift
        return self._known[1:]  # type: ignore[no-any-return]


def weights_of(weight: QuantizedTensor, groups: int = 1) -> Weights:
    """The constant part, made once for the memory that the weights have now. Weights of a convolution are turned to [o, kh, kw, c]."""
    node = weight._ints._node()
    known = getattr(weight, "_prepared", None)
    if known is not None and known[0] is node and known[1] == groups:
        return known[2]  # type: ignore[no-any-return]
    ints = weight._ints
    o = ints._shape[0]
    if len(ints._shape) > 2:
        ints = ints.permute(0, *range(2, len(ints._shape)), 1).contiguous()  # type: ignore[attr-defined]
    made = Weights(weight, ints.reshape(groups, o // max(1, groups), numel(ints._shape[1:])))  # type: ignore[attr-defined]
    realize([made.rows._node(), made.sums._node()])
    weight._prepared = (node, groups, made)  # type: ignore[attr-defined]
    return made


def _sums(rows: Tensor, weights: Weights, zero: Any) -> Tensor:
    """[groups, m, k] of uint8, of zero point `zero`, times the weights: the sums [groups, m, out / groups] in int32 without either's zero points."""
    groups, o, k = weights.rows._shape
    found = product(rows, weights.rows.transpose(1, 2), True)  # type: ignore[attr-defined]
    fixed = (weights.sums * zero).reshape(groups, 1, o)
    if weights.zero is not None:
        point = weights.zero if isinstance(weights.zero, int) else weights.zero.reshape(groups, 1, o)
        fixed = fixed + (rows.sum(-1, dtype=int32, keepdim=True) - zero * k) * point  # type: ignore[attr-defined]
    return found - fixed


def _rescaled(sums: Tensor, input: QuantizedTensor, weights: Weights, bias: Tensor | None, scale: float, zero_point: int, relu: bool) -> Tensor:
    """uint8 from sums whose last axis is the outputs: (sums + bias / s) * (s / scale), s that of the sums, each step rounded to float32, then to a whole
    number, then shifted (as FBGEMM, so that halves fall as they do in PyTorch)."""
    multiplier, shift = weights.constants(input._scale, bias, scale)
    x = cast_tensor(sums, float32)
    near = rounded((x if shift is None else x + shift) * multiplier) + float(zero_point)
    return cast_tensor(near.clamp(float(zero_point) if relu else 0.0, 255.0), uint8)


def _factor(x_scale: Any, weights: Weights) -> Any:
    """Scale of the sums, rounded to float32."""
    if isinstance(x_scale, Tensor) or isinstance(weights.scale, Tensor):
        return weights.scale * x_scale
    return float(np.float32(x_scale) * np.float32(weights.scale))


def linear(input: QuantizedTensor, weight: QuantizedTensor, bias: Tensor | None = None, scale: float | None = None, zero_point: int | None = None, *,
           relu: bool = False) -> QuantizedTensor:
    """`input @ weight.T + bias`, quantized to quint8 with `scale` and `zero_point` (of the input if not given); `relu`: at least 0.

    Raises RuntimeError for other types than quint8 and qint8, and for sizes that do not meet.
    """
    _check("quantized linear", input, weight, bias)
    if not input._shape or len(weight._shape) != 2 or input._shape[-1] != weight._shape[1]:
        raise RuntimeError(f"quantized linear: an input of shape {list(input._shape)} does not meet weights of shape {list(weight._shape)}")
    scale, zero_point = input._scale if scale is None else float(scale), input._zero if zero_point is None else int(zero_point)
    weights = weights_of(weight)
    k, o = weight._shape[1], weight._shape[0]
    rows = input._ints.reshape(1, numel(input._shape[:-1]), k)  # type: ignore[attr-defined]
    sums = _sums(rows, weights, input._zero)
    made = _rescaled(sums, input, weights, bias, scale, zero_point, relu)
    return quantized(made.reshape(*input._shape[:-1], o), quint8, scale, zero_point)  # type: ignore[attr-defined]


def _limits_of(x: Tensor, reduce_range: bool) -> tuple[Tensor, Tensor]:
    """Scale (float64) and zero point (float64) by which x becomes quint8, without waiting for its values: `scheme.chosen` in tensor operations."""
    most = 127.0 if reduce_range else 255.0
    low, high = (cast_tensor(FUNCTIONS[name](x), float64) for name in ("amin", "amax"))
    low, high = low.clamp(None, 0.0), high.clamp(0.0, None)  # type: ignore[attr-defined]
    scale = (high - low) / most
    single = cast_tensor(scale, float32)
    scale = where((single == 0) | (1.0 / single == float("inf")), 0.1, scale)
    small = scale < _SMALL
    grown = _SMALL / scale
    wide_high = where(low == 0, _SMALL * most, where(high == 0, high, high * grown))
    wide_low = where(low == 0, low, where(high == 0, -_SMALL * most, low * grown))
    low, high, scale = where(small, wide_low, low), where(small, wide_high, high), where(small, _SMALL, scale)
    from_low, from_high = -(low / scale), most - high / scale
    start = where((low / scale).abs() < (high / scale).abs() + most, from_low, from_high)  # type: ignore[attr-defined]
    return scale, rounded(start).clamp(0.0, most)


def linear_dynamic(input: Tensor, weight: QuantizedTensor, bias: Tensor | None = None, reduce_range: bool = False, *, relu: bool = False) -> Tensor:
    """`input @ weight.T + bias` of a float32 input, which is quantized by its own least and greatest element for the product: float32.

    Nothing waits for these: all is one plan. Raises RuntimeError for other types and for sizes that do not meet.
    """
    _check_weight("quantized linear_dynamic", weight, bias)
    if not isinstance(input, Tensor) or isinstance(input, QuantizedTensor) or input._dtype is not float32:
        raise RuntimeError(f"quantized linear_dynamic: expected an input of float32, got {getattr(input, '_dtype', type(input).__name__)}")
    if not input._shape or len(weight._shape) != 2 or input._shape[-1] != weight._shape[1]:
        raise RuntimeError(f"quantized linear_dynamic: an input of shape {list(input._shape)} does not meet weights of shape {list(weight._shape)}")
    k, o = weight._shape[1], weight._shape[0]
    shape = (*input._shape[:-1], o)
    if input.numel() == 0:
        empty = zeros(shape)
        return empty if bias is None else empty + bias
    x = input.detach().reshape(1, -1, k)  # type: ignore[attr-defined]
    weights = weights_of(weight)
    scale, zero = _limits_of(x, reduce_range)
    turned = cast_tensor(1.0 / cast_tensor(scale, float32), float64)
    near = cast_tensor(cast_tensor(x, float64) * turned + zero, float32)
    rows = cast_tensor(rounded(near).clamp(0.0, 255.0), uint8)
    sums = _sums(rows, weights, cast_tensor(zero, int32))
    factor = _factor(cast_tensor(scale, float32), weights)
    if bias is None:
        made = cast_tensor(sums, float32) * factor
    else:  # multiplied and added with one rounding, as a fused instruction does
        made = cast_tensor(cast_tensor(sums, float64) * cast_tensor(factor, float64) + cast_tensor(bias, float64), float32)
    return (made.clamp(0.0, None) if relu else made).reshape(shape)  # type: ignore[attr-defined,no-any-return]


def _pair(value: Any, n: int, what: str) -> tuple[int, ...]:
    made = (int(value),) * n if isinstance(value, int) else tuple(int(v) for v in value)
    if len(made) == 1:
        made *= n
    if len(made) != n:
        raise RuntimeError(f"quantized convolution: expected one or {n} numbers for {what}, got {value!r}")
    return made


def convolution(input: QuantizedTensor, weight: QuantizedTensor, bias: Tensor | None, stride: int | Sequence[int], padding: int | Sequence[int],
                dilation: int | Sequence[int], groups: int, scale: float, zero_point: int, *, relu: bool = False) -> QuantizedTensor:
    """A convolution over one, two or three dimensions, quantized to quint8 with `scale` and `zero_point`; borders are the number 0. The result's memory has the
    channels last, as PyTorch's.

    Raises RuntimeError for other types than quint8 and qint8, and for sizes that do not fit.
    """
    _check("quantized convolution", input, weight, bias)
    n = len(weight._shape) - 2
    if n not in (1, 2, 3) or len(input._shape) != n + 2:
        raise RuntimeError(f"quantized convolution: an input of shape {list(input._shape)} does not fit weights of shape {list(weight._shape)}")
    steps, around, spread = _pair(stride, n, "stride"), _pair(padding, n, "padding"), _pair(dilation, n, "dilation")
    images, channels, *sizes = input._shape
    o, each, *kernel = weight._shape
    if groups < 1 or channels != each * groups or o % groups:
        raise RuntimeError(f"quantized convolution: {channels} channels and {groups} groups do not fit weights of shape {list(weight._shape)}")
    padded = [s + 2 * p for s, p in zip(sizes, around, strict=True)]
    out = [(s - d * (k - 1) - 1) // step + 1 for s, d, k, step in zip(padded, spread, kernel, steps, strict=True)]
    if min(out) < 1 or min(steps) < 1 or min(spread) < 1:
        raise RuntimeError(f"quantized convolution: a window of {kernel} does not fit into {padded}")
    weights = weights_of(weight, groups)
    last = input._ints.permute(0, *range(2, n + 2), 1)  # type: ignore[attr-defined]
    if any(around):
        last = FUNCTIONS["constant_pad_nd"](last, [0, 0, *(p for a in reversed(around) for p in (a, a))], input._zero)
    last = last.contiguous()
    strides = contiguous_strides(last._shape)
    inner = strides[1:n + 1]
    # [groups, images, *out, *kernel, channels of a group]: windows, written out as the rows of a product.
    within, between = (*kernel, each), (*(s * d for s, d in zip(inner, spread, strict=True)), 1)
    if groups == 1 and spread[-1] == 1:  # a window's row is one run of memory
        within, between = (*kernel[:-1], kernel[-1] * each), (*between[:-2], 1)
    windows = last.as_strided((groups, images, *out, *within), (each, strides[0], *(s * t for s, t in zip(inner, steps, strict=True)), *between))
    rows = windows.reshape(groups, images * numel(tuple(out)), numel(tuple(kernel)) * each)
    sums = _sums(rows, weights, input._zero).permute(1, 0, 2).reshape(images, *out, o)  # type: ignore[attr-defined]
    made = _rescaled(sums, input, weights, bias, scale, zero_point, relu)
    return quantized(made.permute(0, n + 1, *range(1, n + 1)), quint8, scale, zero_point)  # type: ignore[attr-defined]


def dtype_of(dt: dtype, what: str) -> dtype:
    """Raises ValueError for a type of weights other than qint8."""
    if dt is not qint8:
        raise ValueError(f"{what}: the only type of weights is qint8, got {dt}")
    return dt


__all__ = ["Weights", "convolution", "linear", "linear_dynamic", "weights_of"]

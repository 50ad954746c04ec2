"""Numbers to quantized tensors and back, and what tells of their parameters."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from torsh.core.dtypes import dtype, float32, float64, int64
from torsh.core.shapes import wrap_dim
from torsh.ops.dispatch import FUNCTIONS, cast_tensor, public
from torsh.quantized.scheme import chosen, limits, qscheme, quint8
from torsh.quantized.tensor import QuantizedTensor, along, decoded, encoded, floats, is_quantized_type, quantized, sizes_of
from torsh.tensor.creation import empty
from torsh.tensor.tensor import Tensor


def _number(x: Any) -> Any:
    return x.item() if isinstance(x, Tensor) else x  # type: ignore[attr-defined]


@public(method=False)
def quantize_per_tensor(input: Any, scale: Any, zero_point: Any, dtype: dtype) -> Any:
    """A float32 tensor quantized with one scale and zero point; of a list of tensors, with one of each for every tensor, a tuple.

    Raises RuntimeError for another type to quantize or to quantize to, and for a zero point outside of the type's range.

    >>> import torsh
    >>> torsh.quantize_per_tensor(torsh.tensor([-1.0, 0.26]), 0.1, 10, torsh.quint8).int_repr()
    tensor([ 0, 13], dtype=torsh.uint8)
    """
    if isinstance(input, (list, tuple)):
        return tuple([quantize_per_tensor(x, s, z, dtype) for x, s, z in zip(input, scale, zero_point, strict=True)])
    x = floats(input, "quantize_per_tensor")
    is_quantized_type(dtype, "quantize_per_tensor")
    s, z = float(_number(scale)), int(_number(zero_point))
    least, most = limits(dtype)
    if not least <= z <= most:
        raise RuntimeError(f"quantize_tensor_per_tensor_affine zero_point {z} is {'above upper' if z > most else 'below lower'} bound.")
    return quantized(encoded(x, dtype, s, z), dtype, s, z)


@public(method=False)
def quantize_per_tensor_dynamic(input: Tensor, dtype: dtype, reduce_range: bool) -> QuantizedTensor:
    """A float32 tensor quantized with the scale and zero point that its least and greatest element call for, which is computed now.

    `reduce_range` leaves one bit unused. Raises RuntimeError for other types than quint8 and qint8.
    """
    x = floats(input, "quantize_per_tensor_dynamic")
    is_quantized_type(dtype, "quantize_per_tensor_dynamic")
    if dtype.itemsize != 1:
        raise RuntimeError(f"quantize_per_tensor_dynamic: dtype {dtype} is not supported")
    values = np.asarray(x._window())
    least, most = limits(dtype)
    if reduce_range:
        least, most = int(least / 2), int(most / 2)
    p = chosen(float(values.min()) if values.size else 0.0, float(values.max()) if values.size else 0.0, least, most)
    return quantize_per_tensor(x, p.scale, p.zero_point, dtype)  # type: ignore[no-any-return]


@public(method=False)
def quantize_per_channel(input: Tensor, scales: Tensor, zero_points: Tensor, axis: int, dtype: dtype) -> QuantizedTensor:
    """A float32 tensor quantized with a scale and a zero point for every index of an axis.

    Floating zero points are in units of the numbers. Raises RuntimeError for other lengths and types.
    """
    x = floats(input, "quantize_per_channel")
    is_quantized_type(dtype, "quantize_per_channel")
    d = wrap_dim(axis, len(x._shape), "quantize_per_channel")
    n = x._shape[d]
    if scales.numel() != n or zero_points.numel() != n:
        raise RuntimeError(f"length of scales must equal to channel, expected {n} got, {scales.numel()} (and {zero_points.numel()} zero points)")
    ndim = len(x._shape)
    single = along(cast_tensor(scales, float32), d, ndim)
    if zero_points._dtype.category == 2:
        offset = cast_tensor(zero_points, float32)
        ints = encoded(x - along(offset, d, ndim), dtype, single, 0)
        return quantized(ints, dtype, cast_tensor(scales, float32), offset, d)
    whole = cast_tensor(zero_points, int64)
    return quantized(encoded(x, dtype, single, along(whole, d, ndim)), dtype, cast_tensor(scales, float64), whole, d)


@public()
def dequantize(input: Any) -> Any:
    """The numbers, float32, of a quantized tensor, or of each in a list. A tensor that is not quantized becomes float32."""
    if isinstance(input, (list, tuple)):
        return tuple([dequantize(t) for t in input])
    return decoded(input) if isinstance(input, QuantizedTensor) else cast_tensor(input, float32)


def _tells(name: str, by_channel: bool | None) -> Callable[[Callable[[QuantizedTensor], Any]], Callable[[Tensor], Any]]:
    """Decorator: the public function, which raises NotImplementedError for tensors that are not quantized, RuntimeError for another scheme."""
    def register(function: Callable[[QuantizedTensor], Any]) -> Callable[[Tensor], Any]:
        def call(input: Tensor) -> Any:
            if not isinstance(input, QuantizedTensor):
                raise NotImplementedError(f"Could not run '{name}' with a tensor that is not quantized, of dtype {input._dtype}")
            if by_channel is not None and (input._axis is not None) is not by_channel:
                raise RuntimeError(f"{name}: expected a tensor quantized by {'channel' if by_channel else 'one scale'}, got scheme {input.qscheme()!r}")
            return function(input)
        call.__name__ = name
        call.__doc__ = function.__doc__
        public(name)(call)
        QuantizedTensor.handle(name)(call)
        return call
    return register


@_tells("int_repr", None)
def int_repr(q: QuantizedTensor) -> Tensor:
    """The integers: uint8, int8 or int32."""
    return q._ints


@_tells("q_scale", False)
def q_scale(q: QuantizedTensor) -> float:
    """The scale of a tensor quantized with one."""
    return q._scale  # type: ignore[no-any-return]


@_tells("q_zero_point", False)
def q_zero_point(q: QuantizedTensor) -> int:
    """The zero point of a tensor quantized with one."""
    return q._zero  # type: ignore[no-any-return]


@_tells("q_per_channel_scales", True)
def q_per_channel_scales(q: QuantizedTensor) -> Tensor:
    """The scale of each channel: float64."""
    return q._scale  # type: ignore[no-any-return]


@_tells("q_per_channel_zero_points", True)
def q_per_channel_zero_points(q: QuantizedTensor) -> Tensor:
    """The zero point of each channel: int64."""
    return q._zero  # type: ignore[no-any-return]


@_tells("q_per_channel_axis", True)
def q_per_channel_axis(q: QuantizedTensor) -> int:
    """The axis of the channels."""
    return q._axis  # type: ignore[return-value]


@public("qscheme", function=False)
def scheme_of(self: Tensor) -> qscheme:
    """How values stand for numbers. Raises NotImplementedError for a tensor that is not quantized."""
    if not isinstance(self, QuantizedTensor):
        raise NotImplementedError(f"Could not run 'qscheme' with a tensor that is not quantized, of dtype {self._dtype}")
    return self.qscheme()


@public(method=False)
def empty_quantized(size: Sequence[int], qtensor: QuantizedTensor, *, dtype: dtype | None = None, device: Any = None, layout: Any = None,
                    pin_memory: bool = False, memory_format: Any = None) -> QuantizedTensor:
    """A quantized tensor of a size with the type and parameters of another; its values are unspecified. Raises RuntimeError unless that is quantized."""
    if not isinstance(qtensor, QuantizedTensor):
        raise RuntimeError("empty_quantized: expected a quantized tensor to take the parameters of")
    shape = sizes_of(size)
    if qtensor._axis is not None and (len(shape) <= qtensor._axis or shape[qtensor._axis] != qtensor._scale.numel()):
        raise RuntimeError(f"empty_quantized: size {list(shape)} does not have the {qtensor._scale.numel()} channels of axis {qtensor._axis}")
    return qtensor.with_ints(empty(shape, dtype=qtensor._ints._dtype))


@public(method=False)
def quantized_batch_norm(input: QuantizedTensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, var: Tensor, eps: float, output_scale: float,
                         output_zero_point: int) -> QuantizedTensor:
    """(x - mean) / sqrt(var + eps) * weight + bias by channel (dimension 1) of a quantized tensor, quantized again. Raises RuntimeError for others."""
    if not isinstance(input, QuantizedTensor) or input._axis is not None:
        raise RuntimeError("quantized_batch_norm: expected a tensor quantized with one scale")
    shape = [1, -1, *[1] * (len(input._shape) - 2)]
    factor = (var + eps).rsqrt() if weight is None else weight * (var + eps).rsqrt()
    shift = -mean * factor if bias is None else bias - mean * factor
    made = decoded(input) * factor.reshape(shape) + shift.reshape(shape)
    return quantize_per_tensor(made, output_scale, output_zero_point, input._dtype)  # type: ignore[no-any-return]


def _pool(rank: int) -> None:
    name = f"quantized_max_pool{rank}d"

    def call(input: QuantizedTensor, kernel_size: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False) -> QuantizedTensor:
        if not isinstance(input, QuantizedTensor) or (input._dtype is not quint8 and input._dtype.itemsize != 1) or input._axis is not None:
            raise RuntimeError(f"{name}: expected a tensor quantized to 8 bits with one scale")
        pool = FUNCTIONS[f"max_pool{rank}d"]
        found = pool(cast_tensor(input._ints, float32), kernel_size, stride or None, padding, dilation, ceil_mode)  # 8 bits are exact there
        return input.with_ints(cast_tensor(found, input._ints._dtype))
    call.__name__ = name
    call.__doc__ = f"The greatest values of windows of a quantized tensor, as `max_pool{rank}d`. Raises RuntimeError for other tensors."
    public(name, method=False)(call)


for _rank in (1, 2, 3):
    _pool(_rank)

__all__ = ["dequantize", "empty_quantized", "quantize_per_channel", "quantize_per_tensor", "quantize_per_tensor_dynamic", "quantized_batch_norm"]

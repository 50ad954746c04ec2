"""Functions of quantized tensors. The products are `torsh.quantized.products`; this is PyTorch's way to call them."""
from __future__ import annotations

from typing import Any

from torsh.core.dtypes import dtype as Type
from torsh.quantized import products
from torsh.quantized.scheme import quint8
from torsh.quantized.tensor import QuantizedTensor
from torsh.tensor.tensor import Tensor


def linear(input: QuantizedTensor, weight: QuantizedTensor, bias: Tensor | None = None, scale: float | None = None,
           zero_point: int | None = None) -> QuantizedTensor:
    """`input @ weight.T + bias` for quint8 [..., in] and qint8 [out, in], quantized with `scale` and `zero_point` (the input's if not given).

    Raises RuntimeError for other types and for sizes that do not meet.

    >>> import torsh
    >>> x = torsh.quantize_per_tensor(torsh.tensor([[1.0, 2.0]]), 0.1, 0, torsh.quint8)
    >>> w = torsh.quantize_per_tensor(torsh.tensor([[0.5, 0.25]]), 0.01, 0, torsh.qint8)
    >>> linear(x, w, scale=0.1, zero_point=0).dequantize()
    tensor([[1.]])
    """
    return products.linear(input, weight, bias, scale, zero_point)


def _convolution(n: int) -> Any:
    def conv(input: QuantizedTensor, weight: QuantizedTensor, bias: Tensor | None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1,
             padding_mode: str = "zeros", scale: float = 1.0, zero_point: int = 0, dtype: Type = quint8) -> QuantizedTensor:
        if padding_mode != "zeros":
            raise NotImplementedError("Only zero-padding is supported!")
        if dtype is not quint8:
            raise NotImplementedError("Only torch.quint8 is supported for activation tensor!")
        if len(input._shape) != n + 2:
            raise ValueError(f"Input shape must be `{'(N, C, L)' if n == 1 else '(N, C, H, W)' if n == 2 else '(N, C, D, H, W)'}`!")
        return products.convolution(input, weight, bias, stride, padding, dilation, groups, scale, zero_point)
    conv.__name__ = conv.__qualname__ = f"conv{n}d"
    conv.__doc__ = f"""A convolution over {n} dimension{'s' * (n > 1)} of quint8 with qint8 weights, quantized with `scale` and `zero_point`, 0 around it.

    Raises NotImplementedError for another border or type, ValueError for an input without as many dimensions, RuntimeError for sizes that do not fit."""
    return conv


conv1d, conv2d, conv3d = (_convolution(n) for n in (1, 2, 3))

__all__ = ["conv1d", "conv2d", "conv3d", "linear"]

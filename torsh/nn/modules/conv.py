"""Convolutions of one, two and three dimensions."""
from __future__ import annotations

import math
from typing import Any

from torsh.nn import functional as F
from torsh.nn import init
from torsh.nn.module import Module
from torsh.nn.parameter import Parameter
from torsh.tensor.creation import empty
from torsh.tensor.tensor import Tensor


def spread(value: Any, n: int) -> tuple[int, ...]:
    """A number for every dimension, or the numbers given."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * n


class _ConvNd(Module):
    """What convolutions and transposed ones share: the numbers, weight and bias, and how they are drawn and shown."""
    _dims = 0
    _transposed = False
    weight: Parameter
    bias: Parameter | None

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any, padding: Any, dilation: Any, output_padding: Any,
                 groups: int, bias: bool, padding_mode: str, device: Any, dtype: Any) -> None:
        super().__init__()
        n = self._dims
        if groups <= 0:
            raise ValueError("groups must be a positive integer")
        if in_channels % groups:
            raise ValueError("in_channels must be divisible by groups")
        if out_channels % groups:
            raise ValueError("out_channels must be divisible by groups")
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ValueError(f"Invalid padding string {padding!r}, should be one of ('same', 'valid')")
            if padding == "same" and any(s != 1 for s in spread(stride, n)):
                raise ValueError("padding='same' is not supported for strided convolutions")
        if padding_mode not in ("zeros", "reflect", "replicate", "circular"):
            raise ValueError(f"padding_mode must be one of ('zeros', 'reflect', 'replicate', 'circular'), but got padding_mode='{padding_mode}'")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = spread(kernel_size, n)
        self.stride = spread(stride, n)
        self.padding = padding if isinstance(padding, str) else spread(padding, n)
        self.dilation = spread(dilation, n)
        self.transposed = self._transposed
        self.output_padding = spread(output_padding, n)
        self.groups = groups
        self.padding_mode = padding_mode
        channels = (in_channels, out_channels // groups) if self._transposed else (out_channels, in_channels // groups)
        self.weight = Parameter(empty((*channels, *self.kernel_size), device=device, dtype=dtype))
        if bias:
            self.bias = Parameter(empty(out_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new values: uniform within 1 / sqrt(fan_in)."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in = init.fans(self.weight)[0]
            if fan_in:
                bound = 1 / math.sqrt(fan_in)
                init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        n = self._dims
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding != (0,) * n:
            text += f", padding={self.padding}"
        if self.dilation != (1,) * n:
            text += f", dilation={self.dilation}"
        if self.output_padding != (0,) * n:
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        return text + (f", padding_mode={self.padding_mode}" if self.padding_mode != "zeros" else "")


class _Conv(_ConvNd):
    def __init__(self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
                 groups: int = 1, bias: bool = True, padding_mode: str = "zeros", device: Any = None, dtype: Any = None) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, 0, groups, bias, padding_mode, device, dtype)

    def _around(self) -> list[int]:
        """What F.pad adds on both sides of each dimension, the last first."""
        sides: list[int] = []
        for i in reversed(range(self._dims)):
            if self.padding == "same":
                total = self.dilation[i] * (self.kernel_size[i] - 1)
                sides += [total // 2, total - total // 2]
            else:
                sides += [0, 0] if self.padding == "valid" else [self.padding[i], self.padding[i]]  # type: ignore[list-item]
        return sides

    def forward(self, input: Tensor) -> Tensor:
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            input, padding = F.pad(input, self._around(), mode=self.padding_mode), 0
        return _FUNCTIONS[self._dims](input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)  # type: ignore[no-any-return]


class _ConvTranspose(_ConvNd):
    _transposed = True

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
                 groups: int = 1, bias: bool = True, dilation: Any = 1, padding_mode: str = "zeros", device: Any = None, dtype: Any = None) -> None:
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, output_padding, groups, bias, padding_mode, device, dtype)

    def _output_padding(self, input: Tensor, output_size: Any) -> tuple[int, ...]:
        """How much larger than the smallest result `output_size` is. Raises ValueError for a size that cannot be."""
        n = self._dims
        size = tuple(int(s) for s in output_size)
        if len(size) == len(input._shape) and len(size) > n:
            size = size[-n:]
        if len(size) != n:
            raise ValueError(f"ConvTranspose{n}D: for {len(input._shape)}D input, output_size must have {n} or {len(input._shape)} elements (got {len(size)})")
        padding: Any = self.padding
        least = [(i - 1) * s - 2 * q + d * (k - 1) + 1 for i, s, q, d, k in
                 zip(input._shape[-n:], self.stride, padding, self.dilation, self.kernel_size, strict=True)]
        most = [m + s - 1 for m, s in zip(least, self.stride, strict=True)]
        if any(o < low or o > high for o, low, high in zip(size, least, most, strict=True)):
            raise ValueError(f"requested an output size of {list(output_size)}, but valid sizes range from {least} to {most} (for an input of "
                             f"{list(input._shape[2:])})")
        return tuple(o - low for o, low in zip(size, least, strict=True))

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        extra = self.output_padding if output_size is None else self._output_padding(input, output_size)
        return _TRANSPOSED[self._dims](input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation)  # type: ignore[no-any-return]


class Conv1d(_Conv):
    """Cross-correlation of [n, in, l] with weight [out, in / groups, k]. Raises ValueError for channels that `groups` does not divide."""
    _dims = 1


class Conv2d(_Conv):
    """Cross-correlation of [n, in, h, w] with weight [out, in / groups, kh, kw]. Raises as `Conv1d`.

    >>> Conv2d(3, 8, 3, padding=1)
    Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
    """
    _dims = 2


class Conv3d(_Conv):
    """Cross-correlation of [n, in, d, h, w] with weight [out, in / groups, kd, kh, kw]. Raises as `Conv1d`."""
    _dims = 3


class ConvTranspose1d(_ConvTranspose):
    """The transpose of `Conv1d` (its gradient by the input): [n, in, l] with weight [in, out / groups, k].

    `forward` takes an `output_size`, which picks among the sizes whose convolution has the input's. Raises ValueError as `Conv1d`.
    """
    _dims = 1


class ConvTranspose2d(_ConvTranspose):
    """The transpose of `Conv2d`: [n, in, h, w] with weight [in, out / groups, kh, kw]. See `ConvTranspose1d`."""
    _dims = 2


class ConvTranspose3d(_ConvTranspose):
    """The transpose of `Conv3d`: [n, in, d, h, w] with weight [in, out / groups, kd, kh, kw]. See `ConvTranspose1d`."""
    _dims = 3


_FUNCTIONS: dict[int, Any] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED: dict[int, Any] = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
__all__ = ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]

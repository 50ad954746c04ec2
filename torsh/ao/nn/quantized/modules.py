"""Modules with quantized weights. They hold no parameters: weight and bias are methods, as in PyTorch, and are set together."""
from __future__ import annotations

from typing import Any

from torsh.core.dtypes import dtype as Type
from torsh.core.dtypes import float32
from torsh.nn.module import Module
from torsh.nn.modules.conv import spread
from torsh.ops.dispatch import FUNCTIONS
from torsh.quantized import products
from torsh.quantized.functions import quantize_per_tensor
from torsh.quantized.scheme import qint8
from torsh.quantized.tensor import QuantizedTensor
from torsh.tensor.creation import tensor, zeros
from torsh.tensor.tensor import Tensor


class Quantized(Module):
    """Quantized weight and bias, and the scale and zero point of what comes out. `_keys` are the names of weight and bias in a state dict."""
    _weight: QuantizedTensor
    _bias: Tensor | None

    def __init__(self, shape: tuple[int, ...], bias: bool, dtype: Type) -> None:
        super().__init__()
        products.dtype_of(dtype, type(self).__name__)
        self.scale = 1.0
        self.zero_point = 0
        empty = zeros(shape, dtype=float32)
        self.set_weight_bias(quantize_per_tensor(empty, 1.0, 0, qint8), zeros(shape[0]) if bias else None)

    def weight(self) -> QuantizedTensor:
        """The quantized weight."""
        return self._weight

    def bias(self) -> Tensor | None:
        """The bias, float32, or None."""
        return self._bias

    def set_weight_bias(self, w: QuantizedTensor, b: Tensor | None) -> None:
        """Take a weight of qint8 and a bias of float32 or None. Raises RuntimeError for other types and sizes."""
        b = None if b is None else b.detach()  # type: ignore[attr-defined]
        products._check_weight(type(self).__name__, w, b)
        self.__dict__["_weight"], self.__dict__["_bias"] = w, b

    def _entries(self) -> dict[str, Any]:
        """What a state dict holds."""
        return {"weight": self._weight, "bias": self._bias}

    def _take(self, entries: dict[str, Any]) -> None:
        self.set_weight_bias(entries["weight"], entries["bias"])

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        destination.update({prefix + name: value for name, value in self._entries().items()})
        destination[prefix + "scale"], destination[prefix + "zero_point"] = tensor(self.scale), tensor(self.zero_point)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], strict: bool, missing_keys: list[str],
                              unexpected_keys: list[str], error_msgs: list[str]) -> None:
        names = [*self._entries(), "scale", "zero_point"]
        lacking = [prefix + name for name in names if prefix + name not in state_dict]
        if lacking:
            missing_keys.extend(lacking)
            return
        entries = {name: state_dict[prefix + name] for name in names}
        try:
            self._take(entries)
        except RuntimeError as error:
            error_msgs.append(f'While copying "{prefix}weight": {error}')
            return
        self.scale, self.zero_point = float(entries["scale"]), int(entries["zero_point"])
        if strict:
            unexpected_keys.extend(k for k in state_dict if k.startswith(prefix) and k[len(prefix):] not in names)

    def _get_name(self) -> str:
        return "Quantized" + type(self).__name__


class Linear(Quantized):
    """`x @ weight.T + bias` for x quint8 [..., in_features], quantized with `scale` and `zero_point`.

    >>> Linear(20, 30)
    QuantizedLinear(in_features=20, out_features=30, scale=1.0, zero_point=0, qscheme=torsh.per_tensor_affine)
    """

    def __init__(self, in_features: int, out_features: int, bias_: bool = True, dtype: Type = qint8) -> None:
        super().__init__((out_features, in_features), bias_, dtype)
        self.in_features = in_features
        self.out_features = out_features

    def forward(self, x: QuantizedTensor) -> Any:
        return products.linear(x, self._weight, self._bias, self.scale, self.zero_point)

    def _entries(self) -> dict[str, Any]:
        return {"_packed_params.dtype": qint8, "_packed_params._packed_params": (self._weight, self._bias)}

    def _take(self, entries: dict[str, Any]) -> None:
        self.set_weight_bias(*entries["_packed_params._packed_params"])

    def extra_repr(self) -> str:
        return (f"in_features={self.in_features}, out_features={self.out_features}, scale={self.scale}, zero_point={self.zero_point}, "
                f"qscheme={self._weight.qscheme()!r}")


class _Convolution(Quantized):
    _dims = 0

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1,
                 bias: bool = True, padding_mode: str = "zeros", device: Any = None, dtype: Any = None) -> None:
        n = self._dims
        if padding_mode != "zeros":
            raise NotImplementedError(f"{type(self).__name__}: only zero-padding is supported, got {padding_mode!r}")
        if in_channels % groups:
            raise ValueError("in_channels must be divisible by groups")
        if out_channels % groups:
            raise ValueError("out_channels must be divisible by groups")
        super().__init__((out_channels, in_channels // groups, *spread(kernel_size, n)), bias, qint8 if dtype is None else dtype)
        self.in_channels, self.out_channels, self.groups, self.padding_mode = in_channels, out_channels, groups, padding_mode
        self.kernel_size, self.stride, self.padding, self.dilation = (spread(v, n) for v in (kernel_size, stride, padding, dilation))

    def forward(self, input: QuantizedTensor) -> QuantizedTensor:
        if len(input._shape) != self._dims + 2:
            raise ValueError(f"{type(self).__name__}: expected an input of {self._dims + 2} dimensions, got shape {list(input._shape)}")
        return products.convolution(input, self._weight, self._bias, self.stride, self.padding, self.dilation, self.groups, self.scale, self.zero_point)

    def extra_repr(self) -> str:
        shown = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        shown += f", scale={self.scale}, zero_point={self.zero_point}"
        if any(self.padding):
            shown += f", padding={self.padding}"
        if any(d != 1 for d in self.dilation):
            shown += f", dilation={self.dilation}"
        if self.groups != 1:
            shown += f", groups={self.groups}"
        return shown + (", bias=False" if self._bias is None else "")


class Conv1d(_Convolution):
    """A convolution of quint8 [n, c, l], quantized with `scale` and `zero_point`."""
    _dims = 1


class Conv2d(_Convolution):
    """A convolution of quint8 [n, c, h, w], quantized with `scale` and `zero_point`; its result has the channels last in memory.

    >>> Conv2d(3, 4, 3)
    QuantizedConv2d(3, 4, kernel_size=(3, 3), stride=(1, 1), scale=1.0, zero_point=0)
    """
    _dims = 2


class Conv3d(_Convolution):
    """A convolution of quint8 [n, c, d, h, w], quantized with `scale` and `zero_point`."""
    _dims = 3


class Quantize(Module):
    """Quantizes float32 with one scale and zero point, which are buffers [1]."""

    def __init__(self, scale: float, zero_point: int, dtype: Type, factory_kwargs: Any = None) -> None:
        super().__init__()
        self.register_buffer("scale", tensor([scale]))
        self.register_buffer("zero_point", tensor([zero_point]))
        self.dtype = dtype

    def forward(self, X: Tensor) -> Any:
        return quantize_per_tensor(X, self.scale, self.zero_point, self.dtype)

    def extra_repr(self) -> str:
        return f"scale={self.scale}, zero_point={self.zero_point}, dtype={self.dtype}"


class DeQuantize(Module):
    """The numbers of a quantized tensor, float32."""

    def forward(self, Xq: QuantizedTensor) -> Any:
        return FUNCTIONS["dequantize"](Xq)


__all__ = ["Conv1d", "Conv2d", "Conv3d", "DeQuantize", "Linear", "Quantize", "Quantized"]

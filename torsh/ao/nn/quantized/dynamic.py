"""Layers of floating inputs whose products are of integers: the input is quantized by its own range, each time."""
from __future__ import annotations

from typing import Any

import numpy as np

from torsh.ao.nn.quantized.modules import Linear as _Static
from torsh.core.dtypes import dtype as Type
from torsh.core.dtypes import float32
from torsh.nn.modules.basic import Linear as _Float
from torsh.quantized import products
from torsh.quantized.functions import quantize_per_tensor
from torsh.quantized.scheme import qint8
from torsh.tensor.tensor import Tensor


def quantized_weight(weight: Tensor) -> Any:
    """Weights as qint8 with the zero point 0, by their element farthest from 0 (PyTorch's default observer of weights)."""
    values = np.asarray(weight.detach()._window())  # type: ignore[attr-defined]
    low, high = (min(float(values.min()), 0.0), max(float(values.max()), 0.0)) if values.size else (0.0, 0.0)
    scale = np.maximum(np.float32(max(-low, high)) / np.float32(127.5), np.finfo(np.float32).eps)
    return quantize_per_tensor(weight.detach(), float(scale), 0, qint8)  # type: ignore[attr-defined]


class Linear(_Static):
    """`x @ weight.T + bias` for x float32 [..., in_features], of at least two dimensions: float32.

    >>> Linear(20, 30)
    DynamicQuantizedLinear(in_features=20, out_features=30, dtype=torsh.qint8, qscheme=torsh.per_tensor_affine)
    """

    def __init__(self, in_features: int, out_features: int, bias_: bool = True, dtype: Type = qint8) -> None:
        super().__init__(in_features, out_features, bias_, dtype)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        if len(x._shape) < 2:
            raise RuntimeError("The dimension of input tensor should be larger than or equal to 2")
        return products.linear_dynamic(x, self._weight, self._bias, True)

    def _get_name(self) -> str:
        return "DynamicQuantizedLinear"

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, dtype={qint8!r}, qscheme={self._weight.qscheme()!r}"

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> Linear:
        """A layer with the quantized weights of a floating one. Raises AssertionError for another module than `nn.Linear`."""
        assert type(mod) is _Float, f"nn.quantized.dynamic.Linear.from_float only works for Linear, got {type(mod).__name__}"
        made = cls(mod.in_features, mod.out_features, mod.bias is not None)
        made.set_weight_bias(quantized_weight(mod.weight), None if mod.bias is None else mod.bias.detach().to(float32))  # type: ignore[attr-defined]
        made.train(mod.training)
        return made


__all__ = ["Linear"]

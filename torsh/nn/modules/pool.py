"""Pooling modules that keep more than options: undoing a maximum, and windows at random places."""
from __future__ import annotations

from typing import Any

from torsh.nn import functional as F
from torsh.nn.module import Module
from torsh.nn.modules.conv import spread
from torsh.tensor.tensor import Tensor


class _MaxUnpool(Module):
    _dims = 0

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__()
        n = self._dims
        self.kernel_size = spread(kernel_size, n)
        self.stride = spread(kernel_size if stride is None else stride, n)
        self.padding = spread(padding, n)

    def forward(self, input: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        return _UNPOOL[self._dims](input, indices, self.kernel_size, self.stride, self.padding, output_size)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """Zeros with the maxima of a `MaxPool1d` put back where its indices say."""
    _dims = 1


class MaxUnpool2d(_MaxUnpool):
    """Zeros with the maxima of a `MaxPool2d` put back where its indices say."""
    _dims = 2


class MaxUnpool3d(_MaxUnpool):
    """Zeros with the maxima of a `MaxPool3d` put back where its indices say."""
    _dims = 3


class _FractionalMaxPool(Module):
    _dims = 0

    def __init__(self, kernel_size: Any, output_size: Any = None, output_ratio: Any = None, return_indices: bool = False,
                 _random_samples: Tensor | None = None) -> None:
        super().__init__()
        name, n = type(self).__name__, self._dims
        self.kernel_size = spread(kernel_size, n)
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)
        self.output_size = None if output_size is None else spread(output_size, n)
        self.output_ratio = None if output_ratio is None else spread(output_ratio, n)
        if output_size is None and output_ratio is None:
            raise ValueError(f"{name} requires specifying either an output size, or a pooling ratio")
        if output_size is not None and output_ratio is not None:
            raise ValueError("only one of output_size and output_ratio may be specified")
        if self.output_ratio is not None and not all(0 < r < 1 for r in self.output_ratio):
            raise ValueError(f"output_ratio must be between 0 and 1 (got {output_ratio})")

    def forward(self, input: Tensor) -> Any:
        pool = F.fractional_max_pool2d if self._dims == 2 else F.fractional_max_pool3d
        return pool(input, self.kernel_size, self.output_size, self.output_ratio, self.return_indices, _random_samples=self._random_samples)


class FractionalMaxPool2d(_FractionalMaxPool):
    """Maxima over windows at random places of the last two dimensions. Graham, 2014. Raises ValueError without a size or a ratio."""
    _dims = 2


class FractionalMaxPool3d(_FractionalMaxPool):
    """Maxima over windows at random places of the last three dimensions. Raises ValueError without a size or a ratio."""
    _dims = 3


_UNPOOL: dict[int, Any] = {1: F.max_unpool1d, 2: F.max_unpool2d, 3: F.max_unpool3d}
__all__ = ["FractionalMaxPool2d", "FractionalMaxPool3d", "MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d"]

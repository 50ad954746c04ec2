"""Fourier transforms with PyTorch's names. Loaded when first used."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torsh.fft import helpers, short_time, transforms
from torsh.fft.transforms import FFT
from torsh.tensor.tensor import Tensor as Tensor

if TYPE_CHECKING:
    def __getattr__(name: str) -> Any: ...

globals().update(FFT)
__all__ = ["helpers", "short_time", "transforms", *FFT]

"""Fourier transforms with PyTorch's names. Loaded when first used."""
from __future__ import annotations

from torsh.fft import helpers, short_time, transforms
from torsh.fft.transforms import FFT

globals().update(FFT)
__all__ = ["helpers", "short_time", "transforms", *FFT]

"""Frequencies of a transform's elements, and moving the zero frequency to the middle and back."""
from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np

from torsh.core import devices
from torsh.core.dtypes import dtype, get_default_dtype
from torsh.core.shapes import wrap_dim
from torsh.fft.transforms import FFT, fourier
from torsh.ops.dispatch import cast_tensor
from torsh.ops.join import roll
from torsh.tensor.creation import finish, from_array
from torsh.tensor.tensor import Tensor


def _frequencies(what: str, places: Any, n: int, d: float, dt: dtype | None, device: Any, requires_grad: bool) -> Tensor:
    if n < 0:
        raise RuntimeError(f"{what}: n must be non-negative, got {n}")
    devices.require(device)
    dt = dt or get_default_dtype()
    if dt.category < 2:
        raise RuntimeError(f"{what} requires a floating point or complex dtype")
    wide = from_array(places * (1.0 / (n * d)) if n else np.zeros(0))
    return finish(cast_tensor(wide, dt), requires_grad)


@fourier
def fftfreq(n: int, d: float = 1.0, *, dtype: dtype | None = None, layout: Any = None, device: Any = None, requires_grad: bool = False,
            pin_memory: bool = False) -> Tensor:
    """The frequencies of `fft`'s elements for samples `d` apart: 0, 1, ..., -2, -1 over n d.

    >>> import torsh
    >>> torsh.fft.fftfreq(4)
    tensor([ 0.0000,  0.2500, -0.5000, -0.2500])
    """
    return _frequencies("fftfreq", np.fft.ifftshift(np.arange(-(n // 2), n - n // 2)), n, d, dtype, device, requires_grad)


@fourier
def rfftfreq(n: int, d: float = 1.0, *, dtype: dtype | None = None, layout: Any = None, device: Any = None, requires_grad: bool = False,
             pin_memory: bool = False) -> Tensor:
    """The frequencies of `rfft`'s elements: 0, 1, ..., n // 2 over n d."""
    return _frequencies("rfftfreq", np.arange(n // 2 + 1), n, d, dtype, device, requires_grad)


def _shifted(input: Tensor, dim: Any, back: bool) -> Tensor:
    axes = list(range(len(input._shape))) if dim is None else [wrap_dim(d, len(input._shape)) for d in ((dim,) if isinstance(dim, (int, Integral)) else dim)]
    if not axes:
        return input.clone()  # type: ignore[no-any-return]
    return roll(input, tuple([(input._shape[a] + int(back)) // 2 for a in axes]), tuple(axes))


def fftshift(input: Tensor, dim: Any = None) -> Tensor:
    """The zero frequency moved from the front to the middle of each dimension."""
    return _shifted(input, dim, False)


def ifftshift(input: Tensor, dim: Any = None) -> Tensor:
    """The inverse of `fftshift`."""
    return _shifted(input, dim, True)


FFT["fftshift"], FFT["ifftshift"] = fftshift, ifftshift

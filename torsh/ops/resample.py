"""Images at other sizes: interpolation to the nearest or between neighbours, and channels exchanged for pixels."""
from __future__ import annotations

import math
from typing import Any

import numpy as np

from torsh.autograd.autocast import as_written
from torsh.core.shapes import Shape, numel
from torsh.ops.adaptive_pool import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d
from torsh.ops.composite import wide
from torsh.ops.dispatch import cast_tensor, public
from torsh.ops.gather import selected
from torsh.ops.matmul import matmul
from torsh.tensor.creation import from_array
from torsh.tensor.tensor import Tensor

_DIMENSIONS = {"linear": 3, "bilinear": 4, "bicubic": 4, "trilinear": 5}


def _nearest(x: Tensor, d: int, out: int, factor: float | None, exact: bool) -> Tensor:
    i = np.arange(out, dtype=np.float32)  # float32, as PyTorch: its rounding decides between neighbours
    step = np.float32(1.0 / factor) if factor is not None else np.float32(x._shape[d]) / np.float32(out)
    at = np.floor((i + np.float32(0.5) if exact else i) * step).astype(np.int64)
    return selected(x, d, from_array(np.minimum(at, x._shape[d] - 1)))


def _linear(x: Tensor, d: int, out: int, factor: float | None, align: bool) -> Tensor:
    n = x._shape[d]
    real = np.float32 if x._dtype.itemsize < 8 else np.float64
    i: np.ndarray = np.arange(out, dtype=real)
    if align:
        at = i * real((n - 1) / (out - 1) if out > 1 else 0)
    else:
        at = np.maximum((i + real(0.5)) * real(1.0 / factor if factor is not None else n / out) - real(0.5), real(0))
    low = np.minimum(at.astype(np.int64), n - 1)
    share = from_array((at - low).astype(x._dtype.np)).reshape(-1, *[1] * (len(x._shape) - d - 1))  # type: ignore[attr-defined]
    return selected(x, d, from_array(low)) * (1 - share) + selected(x, d, from_array(np.minimum(low + 1, n - 1))) * share


def _cubic(t: np.ndarray, a: float) -> np.ndarray:
    """The kernel at distances t. Keys, 1981."""
    t = np.abs(t)
    return np.where(t < 1, ((a + 2) * t - (a + 3)) * t * t + 1, np.where(t < 2, ((a * t - 5 * a) * t + 8 * a) * t - 4 * a, 0))


def _bicubic(x: Tensor, d: int, out: int, factor: float | None, align: bool) -> Tensor:
    n = x._shape[d]
    real = np.float32 if x._dtype.itemsize < 8 else np.float64
    i: np.ndarray = np.arange(out, dtype=real)
    at = i * real((n - 1) / (out - 1) if out > 1 else 0) if align else (i + real(0.5)) * real(1.0 / factor if factor is not None else n / out) - real(0.5)
    low = np.floor(at)
    total: Any = None
    for k in range(-1, 3):
        weight = from_array(_cubic(at - low - k, -0.75).astype(x._dtype.np)).reshape(-1, *[1] * (len(x._shape) - d - 1))  # type: ignore[attr-defined]
        part = selected(x, d, from_array(np.clip(low + k, 0, n - 1).astype(np.int64))) * weight
        total = part if total is None else total + part
    return total  # type: ignore[no-any-return]


#: Filters that grow with the reduction: (half width, values at distances).
_FILTERS: dict[str, tuple[float, Any]] = {
    "bilinear": (1.0, lambda t: np.maximum(1 - np.abs(t), 0)),
    "bicubic": (2.0, lambda t: _cubic(t, -0.5)),
    "lanczos": (3.0, lambda t: np.where(np.abs(t) < 3, np.sinc(t) * np.sinc(t / 3), 0)),
}


@as_written
def _filtered(x: Tensor, d: int, out: int, factor: float | None, align: bool, mode: str) -> Tensor:
    """One dimension through an antialiasing filter: a product with a matrix [out, in] of normalized weights."""
    n = x._shape[d]
    half, kernel = _FILTERS[mode]
    scale = (n - 1) / (out - 1) if align and out > 1 else 0.0 if align else 1.0 / factor if factor is not None else n / out
    wide_scale = max(scale, 1.0)
    centre = scale * (np.arange(out) + 0.5)
    low = np.maximum((centre - half * wide_scale + 0.5).astype(np.int64), 0)
    high = np.minimum((centre + half * wide_scale + 0.5).astype(np.int64), n)
    i = np.arange(n)
    weights = kernel((i[None] - centre[:, None] + 0.5) / wide_scale) * ((i[None] >= low[:, None]) & (i[None] < high[:, None]))
    weights = weights / weights.sum(1, keepdims=True)
    matrix = from_array(weights.astype(x._dtype.np).T.copy())
    return matmul(x.transpose(d, -1), matrix).transpose(d, -1)  # type: ignore[attr-defined,no-any-return]


def _target(x: Tensor, size: Any, scale_factor: Any) -> tuple[Shape, list[float | None]]:
    n = len(x._shape) - 2
    if (size is None) == (scale_factor is None):
        raise ValueError("either size or scale_factor should be defined" if size is None else "only one of size or scale_factor should be defined")
    given = size if size is not None else scale_factor
    values = list(given) if isinstance(given, (tuple, list)) else [given] * n
    if len(values) != n:
        raise ValueError(f"Input and {'output' if size is not None else 'scale_factor'} must have the same number of spatial dimensions, but got input "
                         f"with spatial dimensions of {list(x._shape[2:])} and {list(values)}. Please provide input tensor in (N, C, d1, d2, ...,dK) format.")
    if size is not None:
        if not all(isinstance(v, int) or hasattr(v, "__index__") for v in values):
            raise TypeError("expected size to be one of int or Tuple[int] or Tuple[int, int] or Tuple[int, int, int], but got size with types "
                            f"{[type(v) for v in values]}")
        return tuple(int(v) for v in values), [None] * n
    return tuple(math.floor(float(s) * v) for s, v in zip(x._shape[2:], values, strict=True)), [float(v) for v in values]


def interpolate(input: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None,
                recompute_scale_factor: bool | None = None, antialias: bool = False) -> Tensor:
    """[n, c, *spatial] at another size: modes "nearest", "nearest-exact", "linear" (3-D), "bilinear" and "bicubic" (4-D), "trilinear" (5-D), "area".

    With `antialias` ("bilinear", "bicubic" and "lanczos") the filter grows with the reduction, as in PIL.
    Raises ValueError for sizes that do not fit and options that a mode does not take, NotImplementedError for another mode.
    """
    s = input._shape
    if align_corners is not None and mode in ("nearest", "area", "nearest-exact"):
        raise ValueError("align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | trilinear")
    if len(s) not in (3, 4, 5):
        raise NotImplementedError(f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {len(s)}D) for the modes: nearest | linear | bilinear | "
                                  f"trilinear | area | nearest-exact (got {mode})")
    out, factors = _target(input, size, scale_factor)
    if recompute_scale_factor:
        if size is not None:
            raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
        factors = [None] * len(out)
    if any(o <= 0 for o in out) or not numel(s[1:]):
        raise RuntimeError(f"Input and output sizes should be greater than 0, but got input {list(s)} and output {list(out)}")
    if antialias and not (mode in _FILTERS and len(s) == 4):
        raise ValueError("Anti-alias option is restricted to bilinear, bicubic, and lanczos modes and requires a 4-D tensor as input")
    if mode == "lanczos" and (align_corners or not antialias):
        raise ValueError("Lanczos mode does not support align_corners=True" if align_corners else "Lanczos mode requires antialias=True")
    if mode == "area":
        return {3: adaptive_avg_pool1d, 4: adaptive_avg_pool2d, 5: adaptive_avg_pool3d}[len(s)](input, out)  # type: ignore[no-any-return]
    if mode in ("nearest", "nearest-exact"):
        x = wide(input)  # the gradient of an element is a sum
        for d, (o, factor) in enumerate(zip(out, factors, strict=True)):
            x = _nearest(x, d + 2, o, factor, mode == "nearest-exact")
        return cast_tensor(x, input._dtype)
    if _DIMENSIONS.get(mode) != len(s) and not antialias:
        if mode in _DIMENSIONS:
            raise NotImplementedError(f"Got {len(s)}D input, but {mode} mode needs {_DIMENSIONS[mode]}D input")
        raise NotImplementedError(f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {len(s)}D) for the modes: nearest | linear | bilinear | "
                                  f"bicubic | trilinear | lanczos | area | nearest-exact (got {mode})")
    if input._dtype.category != 2:
        raise RuntimeError(f"\"interpolate\" not implemented for '{input._dtype.title}' in mode {mode!r}")
    dt, x = input._dtype, wide(input)
    for d in range(len(out) - 1, -1, -1):
        if antialias:
            x = _filtered(x, d + 2, out[d], factors[d], bool(align_corners), mode)
        else:
            x = (_bicubic if mode == "bicubic" else _linear)(x, d + 2, out[d], factors[d], bool(align_corners))
    return cast_tensor(x, dt)


@public(method=False)
def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """[..., c * r * r, h, w] as [..., c, h * r, w * r]. Shi et al., 2016. Raises RuntimeError for channels that do not divide."""
    s, r = input._shape, upscale_factor
    if len(s) < 3 or r <= 0 or s[-3] % (r * r):
        raise RuntimeError(f"pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of upscale_factor, but got input "
                           f"{list(s)} and upscale_factor {r}")
    c, h, w = s[-3] // (r * r), s[-2], s[-1]
    n = len(s) - 3
    split = input.reshape(*s[:-3], c, r, r, h, w).permute(*range(n), n, n + 3, n + 1, n + 4, n + 2)  # type: ignore[attr-defined]
    return split.reshape(*s[:-3], c, h * r, w * r)  # type: ignore[no-any-return]


@public(method=False)
def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """[..., c, h * r, w * r] as [..., c * r * r, h, w]. Raises RuntimeError for sizes that do not divide."""
    s, r = input._shape, downscale_factor
    if len(s) < 3 or r <= 0 or s[-1] % r or s[-2] % r:
        raise RuntimeError(f"pixel_unshuffle expects height and width to be divisible by downscale_factor, but got input {list(s)} and "
                           f"downscale_factor {r}")
    c, h, w = s[-3], s[-2] // r, s[-1] // r
    n = len(s) - 3
    split = input.reshape(*s[:-3], c, h, r, w, r).permute(*range(n), n, n + 2, n + 4, n + 1, n + 3)  # type: ignore[attr-defined]
    return split.reshape(*s[:-3], c * r * r, h, w)  # type: ignore[no-any-return]


@public("channel_shuffle", "native_channel_shuffle", method=False)
def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """[n, groups * c, ...] with the channels of the groups interleaved. Raises RuntimeError for channels that do not divide."""
    s = input._shape
    if len(s) < 3 or groups <= 0 or s[1] % groups:
        raise RuntimeError(f"channel_shuffle expects at least 3 dimensions and channels divisible by groups, but got input {list(s)} and groups {groups}")
    return input.reshape(s[0], groups, s[1] // groups, *s[2:]).transpose(1, 2).reshape(s)  # type: ignore[attr-defined,no-any-return]

"""`torsh.masked`: reductions and normalizations that leave elements out, those where `mask` is False.

A masked-out element counts as the operation's identity (0 in a sum, minus infinity in a maximum or a softmax). The mask broadcasts
to the input. Results of slices with nothing left are what the identity gives.

>>> import torsh
>>> x = torsh.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
>>> torsh.masked.mean(x, 1, mask=torsh.tensor([[True, False, True], [True, True, False]]))
tensor([2.0000, 4.5000])
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np

from torsh.core import dtypes
from torsh.core.dtypes import dtype as dtype_type
from torsh.core.dtypes import int64
from torsh.ops import pointwise, reduce, scan
from torsh.ops import softmax as _softmax
from torsh.ops.dispatch import cast_tensor, wide
from torsh.ops.floating import logaddexp as _logaddexp
from torsh.ops.pointwise import where
from torsh.ops.sort import nanmedian
from torsh.tensor.creation import ones
from torsh.tensor.tensor import Tensor

Dims = int | Sequence[int] | None


def _axes(dim: Dims, ndim: int) -> tuple[int, ...]:
    """The dimensions, sorted. Raises RuntimeError for one named twice, IndexError for one out of range."""
    if dim is None:
        return tuple(range(ndim))
    ndim = max(ndim, 1)
    found: list[int] = []
    for d in (dim,) if isinstance(dim, (int, Integral)) else dim:
        if d in found:
            raise RuntimeError(f"dim={d} appears multiple times in the list of dims")
        if not -ndim <= d < ndim:
            raise IndexError(f"Dimension out of range (expected to be in range of [{-ndim}, {ndim - 1}], but got {d})")
        found.append(d % ndim)
    return tuple(sorted(found))


def _mask_of(input: Tensor, mask: Tensor | None) -> Tensor:
    """A bool mask of the input's shape."""
    if mask is None:
        return ones(*input._shape, dtype=dtypes.bool_)
    if len(mask._shape) > len(input._shape):
        raise IndexError("_input_mask expected broadcastable mask (got mask dimensionality higher than of the input)")
    return cast_tensor(mask, dtypes.bool_).expand(input._shape)  # type: ignore[attr-defined,no-any-return]


def _filled(input: Tensor, mask: Tensor | None, identity: Any) -> Tensor:
    """The input with the identity where it is masked out."""
    if mask is None:
        return input
    return cast_tensor(where(_mask_of(input, mask), input, identity), input._dtype)


def _checked(input: Any, what: str) -> Tensor:
    if not isinstance(input, Tensor):
        raise TypeError(f"masked.{what}: expected a Tensor, got {type(input).__name__}")
    return input


def _summed_type(input: Tensor, dtype: dtype_type | None) -> dtype_type:
    return dtype or (int64 if input._dtype.category < 2 else input._dtype)


def _lowest(dt: dtype_type) -> Any:
    return -math.inf if dt.category >= 2 else False if dt.category == 0 else int(np.iinfo(dt.np).min)


def _highest(dt: dtype_type) -> Any:
    return math.inf if dt.category >= 2 else True if dt.category == 0 else int(np.iinfo(dt.np).max)


def _floating(what: str, dt: dtype_type) -> None:
    if dt.category < 2:
        raise ValueError(f"masked.{what}: expected a floating point or complex dtype, got {dt}")


def sum(input: Tensor, dim: Dims = None, *, keepdim: bool | None = False, dtype: dtype_type | None = None, mask: Tensor | None = None) -> Tensor:
    """The sum over dimensions (all by default); integers and bools sum in int64."""
    x = cast_tensor(_checked(input, "sum"), _summed_type(input, dtype))
    return reduce.sum(_filled(x, mask, 0), _axes(dim, len(x._shape)), bool(keepdim))  # type: ignore[no-any-return]


def prod(input: Tensor, dim: Dims = None, *, keepdim: bool | None = False, dtype: dtype_type | None = None, mask: Tensor | None = None) -> Tensor:
    """The product over dimensions (all by default); integers and bools multiply in int64."""
    x = _filled(cast_tensor(_checked(input, "prod"), _summed_type(input, dtype)), mask, 1)
    for d in reversed(_axes(dim, len(x._shape))):
        x = reduce.prod(x, d, bool(keepdim))
    return x


def cumsum(input: Tensor, dim: int, *, dtype: dtype_type | None = None, mask: Tensor | None = None) -> Tensor:
    """Running sums along a dimension."""
    x = cast_tensor(_checked(input, "cumsum"), _summed_type(input, dtype))
    return scan.cumsum(_filled(x, mask, 0), *_axes(dim, len(x._shape)))  # type: ignore[no-any-return]


def cumprod(input: Tensor, dim: int, *, dtype: dtype_type | None = None, mask: Tensor | None = None) -> Tensor:
    """Running products along a dimension."""
    x = cast_tensor(_checked(input, "cumprod"), _summed_type(input, dtype))
    return scan.cumprod(_filled(x, mask, 1), *_axes(dim, len(x._shape)))  # type: ignore[no-any-return]


def amax(input: Tensor, dim: Dims = None, *, keepdim: bool | None = False, dtype: dtype_type | None = None, mask: Tensor | None = None) -> Tensor:
    """The maximum over dimensions (all by default)."""
    dt = dtype or _checked(input, "amax")._dtype
    x = _filled(cast_tensor(input, dt), mask, _lowest(dt))
    return reduce.amax(x, _axes(dim, len(x._shape)), bool(keepdim))  # type: ignore[no-any-return]


def amin(input: Tensor, dim: Dims = None, *, keepdim: bool | None = False, dtype: dtype_type | None = None, mask: Tensor | None = None) -> Tensor:
    """The minimum over dimensions (all by default)."""
    dt = dtype or _checked(input, "amin")._dtype
    x = _filled(cast_tensor(input, dt), mask, _highest(dt))
    return reduce.amin(x, _axes(dim, len(x._shape)), bool(keepdim))  # type: ignore[no-any-return]


def argmax(input: Tensor, dim: int | None = None, *, keepdim: bool | None = False, dtype: dtype_type | None = None, mask: Tensor | None = None) -> Tensor:
    """The index of the first maximum along a dimension (of the flattened tensor by default), in the input's dtype unless told otherwise."""
    dt = _checked(input, "argmax")._dtype
    return cast_tensor(reduce.argmax(_filled(input, mask, _lowest(dt)), dim, bool(keepdim)), dtype or dt)


def argmin(input: Tensor, dim: int | None = None, *, keepdim: bool | None = False, dtype: dtype_type | None = None, mask: Tensor | None = None) -> Tensor:
    """The index of the first minimum along a dimension (of the flattened tensor by default), in the input's dtype unless told otherwise."""
    dt = _checked(input, "argmin")._dtype
    return cast_tensor(reduce.argmin(_filled(input, mask, _highest(dt)), dim, bool(keepdim)), dtype or dt)


def _count(input: Tensor, axes: tuple[int, ...], keepdim: bool, mask: Tensor | None) -> Tensor:
    return reduce.sum(_mask_of(input, mask), axes, keepdim)  # type: ignore[no-any-return]


def mean(input: Tensor, dim: Dims = None, *, keepdim: bool | None = False, dtype: dtype_type | None = None, mask: Tensor | None = None) -> Tensor:
    """The mean over dimensions (all by default); NaN where nothing is left. Raises ValueError for integer types."""
    dt = dtype or _checked(input, "mean")._dtype
    _floating("mean", dt)
    x, axes = cast_tensor(input, dt), _axes(dim, len(input._shape))
    if mask is None:
        return reduce.mean(x, axes, bool(keepdim))  # type: ignore[no-any-return]
    return reduce.sum(_filled(x, mask, 0), axes, bool(keepdim)) / _count(x, axes, bool(keepdim), mask)  # type: ignore[no-any-return]


def median(input: Tensor, dim: int = -1, *, keepdim: bool = False, dtype: dtype_type | None = None, mask: Tensor | None = None) -> Tensor:
    """The lower median along a dimension; NaN where nothing is left. Raises ValueError for integers where nothing is left."""
    dt = dtype or _checked(input, "median")._dtype
    (d,) = _axes(dim, len(input._shape))
    x = cast_tensor(input, dt)
    if dt.category == 2:
        return nanmedian(_filled(x, mask, math.nan), d, keepdim).values  # type: ignore[no-any-return]
    if mask is not None and not bool(_mask_of(x, mask).any(d).all()):  # type: ignore[attr-defined]
        raise ValueError("masked median expects no fully masked out rows if dtype is not floating point")
    wide = cast_tensor(x, dtypes.float64)
    return cast_tensor(nanmedian(_filled(wide, mask, math.nan), d, keepdim).values, dt)


def logsumexp(input: Tensor, dim: Dims = None, *, keepdim: bool = False, dtype: dtype_type | None = None, mask: Tensor | None = None) -> Tensor:
    """log of the sum of exp over dimensions (all by default)."""
    dt = dtype or _checked(input, "logsumexp")._dtype
    x = _filled(cast_tensor(input, dt), mask, _lowest(dt))
    return cast_tensor(reduce.logsumexp(x, _axes(dim, len(x._shape)), keepdim), dt)


def logaddexp(input: Tensor, other: Tensor, *, dtype: dtype_type | None = None, input_mask: Tensor | None = None, other_mask: Tensor | None = None) -> Tensor:
    """log(exp(input) + exp(other)), each with a mask of its own."""
    dt = dtype or _checked(input, "logaddexp")._dtype
    a, b = _filled(cast_tensor(input, dt), input_mask, -math.inf), _filled(cast_tensor(other, dt), other_mask, -math.inf)
    return cast_tensor(_logaddexp(a, b), dt)


def norm(input: Tensor, ord: float | None = 2.0, dim: Dims = None, *, keepdim: bool | None = False, dtype: dtype_type | None = None,
         mask: Tensor | None = None) -> Tensor:
    """The vector norm of any order over dimensions (all by default). Raises ValueError for integer types."""
    dt = dtype or _checked(input, "norm")._dtype
    _floating("norm", dt)
    order = 2.0 if ord is None else ord
    x = _filled(cast_tensor(input, dt), mask, math.inf if order < 0 else 0)
    return reduce.vector_norm(x, order, _axes(dim, len(x._shape)), bool(keepdim))


def _moment(what: str, input: Tensor, dim: Dims, unbiased: bool | None, correction: float | None, keepdim: bool | None, dtype: dtype_type | None,
            mask: Tensor | None) -> Tensor:
    if unbiased is not None and correction is not None:
        raise RuntimeError("Only one of unbiased and correction may be given")
    less = correction if correction is not None else 0 if unbiased is False else 1
    dt = dtype or _checked(input, what)._dtype
    if dt.category < 2:
        dt = dtypes.float32
    x, axes = cast_tensor(input, dt), _axes(dim, len(input._shape))
    count = cast_tensor(_count(x, axes, True, mask), dt.to_real())
    centre = reduce.sum(_filled(x, mask, 0), axes, True) / count
    apart = _filled(x - centre, mask, 0)
    squares = apart * pointwise.conj_if(apart)
    total = reduce.sum(squares.real if dt.is_complex else squares, axes, bool(keepdim))  # type: ignore[attr-defined]
    left = pointwise.maximum(cast_tensor(_count(x, axes, bool(keepdim), mask), dt.to_real()) - less, 0)
    return cast_tensor(total / left, dt)


def var(input: Tensor, dim: Dims = None, unbiased: bool | None = None, *, correction: float | None = None, keepdim: bool | None = False,
        dtype: dtype_type | None = None, mask: Tensor | None = None) -> Tensor:
    """The variance over dimensions (all by default): squares of deviations over their number less `correction` (1)."""
    return _moment("var", input, dim, unbiased, correction, keepdim, dtype, mask)


def std(input: Tensor, dim: Dims = None, unbiased: bool | None = None, *, correction: float | None = None, keepdim: bool | None = False,
        dtype: dtype_type | None = None, mask: Tensor | None = None) -> Tensor:
    """The standard deviation over dimensions (all by default)."""
    return _moment("std", input, dim, unbiased, correction, keepdim, dtype, mask).sqrt()  # type: ignore[attr-defined,no-any-return]


def _normalized_type(what: str, input: Tensor, dim: int, dtype: dtype_type | None) -> tuple[Tensor, int]:
    x = cast_tensor(_checked(input, what), dtype or input._dtype)
    (d,) = _axes(dim, len(x._shape))
    return x, d


def softmax(input: Tensor, dim: int, *, dtype: dtype_type | None = None, mask: Tensor | None = None) -> Tensor:
    """exp(x) over the sum of those left, along a dimension; 0 where masked out."""
    x, d = _normalized_type("softmax", input, dim, dtype)
    return _softmax.softmax(_filled(x, mask, _lowest(x._dtype)), d)  # type: ignore[no-any-return]


def log_softmax(input: Tensor, dim: int, *, dtype: dtype_type | None = None, mask: Tensor | None = None) -> Tensor:
    """The logarithm of `softmax`."""
    x, d = _normalized_type("log_softmax", input, dim, dtype)
    return _softmax.log_softmax(_filled(x, mask, _lowest(x._dtype)), d)  # type: ignore[no-any-return]


def softmin(input: Tensor, dim: int, *, dtype: dtype_type | None = None, mask: Tensor | None = None) -> Tensor:
    """`softmax` of -x."""
    x, d = _normalized_type("softmin", input, dim, dtype)
    return _softmax.softmax(-_filled(x, mask, _highest(x._dtype)), d)  # type: ignore[no-any-return]


def normalize(input: Tensor, ord: float, dim: int, *, eps: float = 1e-12, dtype: dtype_type | None = None, mask: Tensor | None = None) -> Tensor:
    """The input over its norm along a dimension (at least `eps`); 0 where masked out."""
    x, d = _normalized_type("normalize", input, dim, dtype)
    dt, x = x._dtype, wide(x)
    size = pointwise.maximum(norm(x, ord, d, keepdim=True, mask=mask), eps)
    return cast_tensor(_filled(x, mask, 0) / size, dt)


def __getattr__(name: str) -> Any:
    if name in ("MaskedTensor", "as_masked_tensor", "is_masked_tensor", "masked_tensor"):
        from importlib import import_module
        return getattr(import_module("torsh.masked.tensor"), name)
    raise AttributeError(f"module 'torsh.masked' has no attribute '{name}'")


__all__ = ["amax", "amin", "argmax", "argmin", "cumprod", "cumsum", "log_softmax", "logaddexp", "logsumexp", "mean", "median", "norm", "normalize", "prod",
           "softmax", "softmin", "std", "sum", "var"]

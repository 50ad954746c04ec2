"""Order statistics, sums that ignore NaN, covariances, histograms, distances, and slices scaled to a largest norm."""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any

import numpy as np

from torsh.autograd.autocast import in_full_precision
from torsh.core.dtypes import bool_, dtype, float32, float64, get_default_dtype
from torsh.core.results import result_type
from torsh.core.shapes import Shape, reduced, wrap_dim
from torsh.graph.primitives import cast, host
from torsh.ops import reduce
from torsh.ops.dispatch import cast_tensor, public, result_type_of
from torsh.ops.gather import gather
from torsh.ops.pointwise import abs as absolute
from torsh.ops.pointwise import conj_if, isnan, where
from torsh.ops.sort import sort
from torsh.ops.views import zeros_like_shape
from torsh.tensor.storage import leaf
from torsh.tensor.tensor import Tensor, wrap

# ---- quantiles

_INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


def _quantile(name: str, input: Tensor, q: Any, dim: int | None, keepdim: bool, interpolation: str, ignore_nan: bool) -> Tensor:
    if input._dtype is not float32 and input._dtype is not float64:
        raise RuntimeError(f"{name}() input tensor must be either float or double dtype")
    if interpolation not in _INTERPOLATIONS:
        raise RuntimeError(f"{name}() interpolation must be one of linear, lower, higher, midpoint or nearest, but got {interpolation}")
    if isinstance(q, Tensor):
        if len(q._shape) > 1:
            raise RuntimeError(f"{name}() q must be a scalar or 1D tensor")
        if q._dtype is not input._dtype:
            raise RuntimeError(f"{name}() q tensor must be same dtype as the input tensor")
        wanted = np.asarray(q.tolist(), np.float64)
        if ((wanted < 0) | (wanted > 1)).any():
            raise RuntimeError(f"{name}() q values must be in the range [0, 1]")
    else:
        if not 0 <= q <= 1:
            raise RuntimeError(f"{name}() q must be in the range [0, 1] but got {q}")
        wanted = np.asarray(q, np.float64)
    flat = dim is None
    x = input.reshape(-1) if flat else input  # type: ignore[attr-defined]
    d = 0 if flat else wrap_dim(dim, len(input._shape), name)  # type: ignore[arg-type]
    if input.numel() == 0:
        raise RuntimeError(f"{name}() input tensor must be non-empty")
    rows = (x if x._shape else x.reshape(1)).movedim(d, -1)  # type: ignore[attr-defined]
    own = input._dtype.np.type
    points = q.reshape(-1) if isinstance(q, Tensor) else wrap(leaf(np.array(wanted.reshape(-1), own)))
    found = _at_ranks(rows, points, interpolation, ignore_nan)  # [..., number of quantiles]
    kept: Shape = () if flat and not keepdim else (1,) * len(input._shape) if flat else reduced(input._shape, (d,) if input._shape else (), keepdim)
    out = found.movedim(-1, 0).reshape(points._shape[0], *kept)  # type: ignore[attr-defined]
    return out if wanted.ndim else out.squeeze(0)  # type: ignore[attr-defined,no-any-return]


def _at_ranks(rows: Tensor, points: Tensor, interpolation: str, ignore_nan: bool) -> Tensor:
    """The quantiles of the last dimension, [..., number of points]."""
    ordered = sort(rows, -1)[0]
    missing = isnan(rows)
    n, count = rows._shape[-1], points._shape[0]
    wide = (*rows._shape[:-1], count)
    if ignore_nan:
        real = cast_tensor((~missing).sum(-1, True), rows._dtype)  # type: ignore[attr-defined]
        ranks = (points * (real - 1)).clamp(min=0).expand(wide)  # type: ignore[attr-defined]
    else:
        ranks = (points * (n - 1)).expand(wide)  # type: ignore[attr-defined]
        ranks = where(missing.any(-1, True), float(n - 1), ranks)  # type: ignore[attr-defined] # NaN is sorted last: the answer is NaN
    if interpolation in ("lower", "higher", "nearest"):
        ranks = {"lower": ranks.floor, "higher": ranks.ceil, "nearest": ranks.round}[interpolation]()
        return gather(ordered, -1, ranks.long())  # type: ignore[no-any-return]
    below = ranks.floor()
    low, high = gather(ordered, -1, below.long()), gather(ordered, -1, ranks.ceil().long())
    return low.lerp(high, 0.5 if interpolation == "midpoint" else ranks - below)  # type: ignore[no-any-return]


@public(out=True)
@in_full_precision
def quantile(input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear") -> Tensor:
    """The `q`-quantiles (a number or a vector of them, which comes first in the result) over a dimension or all elements.

    Raises RuntimeError for `q` outside [0, 1], an empty input, another interpolation, and dtypes other than float32 and float64.
    """
    return _quantile("quantile", input, q, dim, keepdim, interpolation, False)


@public(out=True)
@in_full_precision
def nanquantile(input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear") -> Tensor:
    """`quantile` of the elements that are not NaN; NaN where there are none. Raises as it does."""
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation, True)


# ---- sums that ignore NaN


@public(out=True)
def nansum(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: dtype | None = None) -> Tensor:
    """The sum with NaN taken as 0. Raises RuntimeError for complex tensors."""
    if input._dtype.is_complex:
        raise RuntimeError("nansum does not support complex inputs")
    kept = input if input._dtype.category < 2 else where(isnan(input), zeros_like_shape((), input), input)
    return reduce.sum(kept, dim, keepdim, dtype=dtype)


@public(out=True)
def nanmean(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: dtype | None = None) -> Tensor:
    """The mean of the elements that are not NaN. Raises RuntimeError for integer tensors."""
    if input._dtype.category < 2:
        raise RuntimeError(f"nanmean(): expected input to have floating point or complex dtype but got {input._dtype.title}")
    real = ~isnan(input)
    total = reduce.sum(where(real, input, zeros_like_shape((), input)), dim, keepdim, dtype=dtype)
    return total / reduce.sum(real, dim, keepdim)


# ---- covariance


@public()
def cov(input: Tensor, *, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None) -> Tensor:
    """The covariance matrix of variables (rows) over observations (columns), with frequency and importance weights for the observations.

    Raises RuntimeError for more than 2 dimensions, and for weights of another shape, kind or sign.
    """
    if len(input._shape) > 2:
        raise RuntimeError(f"cov(): expected input to have two or fewer dimensions but got an input with {len(input._shape)} dimensions")
    x = input.reshape(1, -1) if len(input._shape) < 2 else input  # type: ignore[attr-defined]
    if x._dtype.category < 2:
        x = cast_tensor(x, get_default_dtype())
    n = x._shape[1]
    for name, w, integral in (("fweights", fweights, True), ("aweights", aweights, False)):
        if w is None:
            continue
        if len(w._shape) > 1:
            raise RuntimeError(f"cov(): expected {name} to have one or fewer dimensions but got {name} with {len(w._shape)} dimensions")
        if (w._dtype.category != 1) if integral else (w._dtype.category != 2):
            raise RuntimeError(f"cov(): expected {name} to have {'integral' if integral else 'floating point'} dtype but got {name} with "
                               f"{w._dtype.title} dtype")
        if w.numel() != n:
            raise RuntimeError(f"cov(): expected {name} to have the same numel as there are observations in the input but got {w.numel()} != {n}")
        if n and bool((w < 0).any()):
            raise RuntimeError(f"cov(): {name} cannot be negative")
    weights = fweights if aweights is None else aweights if fweights is None else fweights * aweights
    if weights is None:
        mean = x.mean(1, True)  # type: ignore[attr-defined]
        divisor: Any = max(n - correction, 0)
    else:
        total = weights.sum()  # type: ignore[attr-defined]
        mean = (x * weights).sum(1, True) / total  # type: ignore[attr-defined]
        if aweights is None or correction == 0:
            divisor = total - correction
        else:
            divisor = total - correction * (weights * aweights).sum() / total  # type: ignore[attr-defined]
        divisor = divisor.clamp(min=0)  # type: ignore[attr-defined]
    centred = x - mean
    scaled = centred if weights is None else centred * weights
    product = scaled @ conj_if(centred).t()  # type: ignore[attr-defined]
    if not isinstance(divisor, Tensor):
        divisor = zeros_like_shape((), product.real if product._dtype.is_complex else product) + divisor
    out = product / divisor
    return out.squeeze()  # type: ignore[no-any-return] # one variable has a variance without dimensions


@public()
def corrcoef(input: Tensor) -> Tensor:
    """The correlation coefficients of variables (rows) over observations (columns), clipped to [-1, 1]. Raises as `cov` does."""
    if len(input._shape) > 2:
        raise RuntimeError(f"corrcoef(): expected input to have two or fewer dimensions but got an input with {len(input._shape)} dimensions")
    c = cov(input)
    if not c._shape:
        return c / c  # type: ignore[no-any-return]
    d = c.diagonal()  # type: ignore[attr-defined]
    deviation = (d.real if d._dtype.is_complex else d).sqrt()
    c = c / deviation.unsqueeze(1) / deviation.unsqueeze(0)
    if not c._dtype.is_complex:
        return c.clamp(-1, 1)  # type: ignore[no-any-return]
    from torsh.ops.dispatch import FUNCTIONS
    return FUNCTIONS["complex"](c.real.clamp(-1, 1), c.imag.clamp(-1, 1))  # type: ignore[no-any-return]


# ---- histograms


def _range_of(name: str, x: np.ndarray, low: float, high: float) -> tuple[float, float]:
    if low == high and x.size:
        low, high = float(x.min()), float(x.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise RuntimeError(f"{name}: range of [{low:g}, {high:g}] is not finite")
    if low > high:
        raise RuntimeError(f"{name}: max must be larger than min")
    return (low - 1, high + 1) if low == high else (low, high)


def _values_of(t: Tensor) -> np.ndarray:
    t._storage.memory()
    return np.array(t._window())


@public(out=True)
def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """The number of elements in each of `bins` equal intervals of [min, max] (of the elements' own range if both are 0); NaN and others are left out.

    Raises RuntimeError for a number of bins that is not positive, a range that is not finite, or upside down.
    """
    if bins <= 0:
        raise RuntimeError("bins must be > 0")
    x = _values_of(input).reshape(-1)
    wide = x.astype(np.float64)
    low, high = _range_of("torch.histc", wide, float(min), float(max))
    inside = wide[(wide >= low) & (wide <= high)]
    at = np.minimum(((inside - low) * (bins / (high - low))).astype(np.int64), bins - 1)
    return wrap(leaf(np.bincount(at, minlength=bins).astype(x.dtype)))


_HISTOGRAM, _HISTOGRAMDD = result_type("histogram", "hist", "bin_edges"), result_type("histogramdd", "hist", "bin_edges")


def _edges(name: str, x: np.ndarray, bins: Any, given: Sequence[float] | None) -> np.ndarray:
    """Edges of equal bins in the type of the data, as PyTorch computes them."""
    if int(bins) <= 0:
        raise RuntimeError(f"{name}(): bins must be > 0, but got {bins}")
    low, high = (float(given[0]), float(given[1])) if given is not None else (float(x.min()), float(x.max())) if x.size else (0.0, 1.0)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise RuntimeError(f"{name}(): range [{low:g}, {high:g}] is not finite")
    if low > high:
        raise RuntimeError(f"{name}(): min should not exceed max, but got min {low:g} max {high:g}")
    if low == high:
        low, high = low - 0.5, high + 0.5
    from torsh.core.dtypes import from_numpy
    from torsh.tensor.creation import linspace
    return _values_of(linspace(low, high, int(bins) + 1, dtype=from_numpy(x.dtype)))


def _places(x: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The bin of each number, or one past the last for numbers outside; the last bin holds its upper edge."""
    count = len(edges) - 1
    at = np.searchsorted(edges, x, "right") - 1
    at = np.where(x == edges[-1], count - 1, at)
    return np.where((x < edges[0]) | (x > edges[-1]) | np.isnan(x), count, at)


@public(out=True)
def histogram(input: Tensor, bins: Any, *, range: Sequence[float] | None = None, weight: Tensor | None = None, density: bool = False) -> Any:
    """(hist, bin_edges): elements (or their weights) in each bin; `bins` is a number of equal bins or their edges.

    `density` scales so that the integral is 1. Raises RuntimeError for dtypes other than float32 and float64, bins that are not
    positive, a range that is not finite, and weights of another shape.
    """
    if input._dtype is not float32 and input._dtype is not float64:
        raise RuntimeError(f"\"histogram_cpu\" not implemented for '{input._dtype.title}'")
    if weight is not None and weight._dtype is not input._dtype:
        raise RuntimeError(f"torch.histogram: input tensor and weight tensor should have the same dtype, but got input {input._dtype.title} and "
                           f"weight {weight._dtype.title}")
    if weight is not None and weight._shape != input._shape:
        raise RuntimeError("torch.histogram: if weight tensor is provided it should have the same shape as the input tensor excluding its innermost "
                           f"dimension, but got input with shape {list(input._shape)} and weight with shape {list(weight._shape)}")
    if isinstance(bins, Tensor):
        if len(bins._shape) != 1:
            raise RuntimeError(f"torch.histogram: bins tensor should have one dimension, but got {len(bins._shape)} dimensions")
        if bins._dtype is not input._dtype:
            raise RuntimeError("torch.histogram: input tensor and bins tensors should have the same dtype")
    x = _values_of(input).reshape(-1)
    edges = _values_of(bins) if isinstance(bins, Tensor) else _edges("histogram", x, bins, range)
    at = _places(x, edges)
    w = None if weight is None else _values_of(weight).reshape(-1).astype(np.float64)
    hist = np.bincount(at, w, minlength=len(edges))[:len(edges) - 1].astype(np.float64)
    if density:
        hist = hist / (hist.sum() * np.diff(edges.astype(np.float64)))
    return _HISTOGRAM(wrap(leaf(hist.astype(x.dtype))), wrap(leaf(edges)))


@public("histogramdd", method=False)
def histogramdd(input: Tensor, bins: Any, range: Sequence[float] | None = None, weight: Tensor | None = None, density: bool = False) -> Any:
    """(hist, bin_edges) of points in the last dimension's coordinates: `bins` is a number, one a dimension, or the edges of each.

    Raises RuntimeError for fewer than 2 dimensions, and as `histogram` does.
    """
    if len(input._shape) < 2:
        raise RuntimeError("torch.histogramdd: input tensor should have at least 2 dimensions, but got " f"{len(input._shape)}")
    if input._dtype is not float32 and input._dtype is not float64:
        raise RuntimeError(f"\"histogramdd_cpu\" not implemented for '{input._dtype.title}'")
    n = input._shape[-1]
    x = _values_of(input).reshape(-1, n)
    counts = [bins] * n if isinstance(bins, (int, Integral)) else list(bins)
    if len(counts) != n:
        raise RuntimeError(f"torch.histogramdd: expected {n} sequences of bins, but got {len(counts)}")
    pairs = [None] * n if range is None else [(range[2 * i], range[2 * i + 1]) for i in builtin_range(n)]
    edges = [_values_of(b) if isinstance(b, Tensor) else _edges("histogramdd", x[:, i], b, pairs[i]) for i, b in enumerate(counts)]
    shape = tuple(len(e) for e in edges)
    at = np.ravel_multi_index([_places(x[:, i], e) for i, e in enumerate(edges)], shape) if n else np.zeros(len(x), np.int64)
    w = None if weight is None else _values_of(weight).reshape(-1).astype(np.float64)
    hist = np.bincount(at, w, minlength=math.prod(shape)).astype(np.float64).reshape(shape)[tuple(slice(k - 1) for k in shape)]
    if density:
        volume = np.ones(())
        for e in edges:
            volume = volume[..., None] * np.diff(e.astype(np.float64))
        hist = hist / (hist.sum() * volume)
    return _HISTOGRAMDD(wrap(leaf(np.ascontiguousarray(hist.astype(x.dtype)))),
                        tuple([b if isinstance(b, Tensor) else wrap(leaf(e)) for b, e in zip(counts, edges, strict=True)]))


builtin_range: Callable[[int], Any] = __builtins__["range"] if isinstance(__builtins__, dict) else __builtins__.range


# ---- distances and norms


@public()
def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The `p`-norm of `input - other`, broadcast."""
    return reduce.norm(input - other, p)


@public(inplace=True, out=True)
def renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """Each slice of a dimension whose `p`-norm is larger than `maxnorm` scaled down to it.

    Raises RuntimeError for fewer than 2 dimensions, and for a `p` or `maxnorm` that is not positive.
    """
    if isinstance(p, complex):
        raise RuntimeError("renorm: p must be real-valued")
    if p <= 0:
        raise RuntimeError("renorm: non-positive norm not supported")
    if isinstance(maxnorm, complex) or maxnorm < 0:
        raise RuntimeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm}")
    n = len(input._shape)
    if n < 2:
        raise RuntimeError(f"renorm: input needs at least 2 dimensions, got {n} dimensions")
    d = wrap_dim(dim, n, "renorm")
    dt = input._dtype
    x = cast_tensor(input, float32) if dt.itemsize == 2 else input
    size = reduce.vector_norm(absolute(x) if dt.is_complex else x, p, tuple(i for i in builtin_range(n) if i != d), True)
    scale = where(size > maxnorm, maxnorm / (size + 1e-7), zeros_like_shape((), size) + 1)
    return cast_tensor(x * scale, dt)


# ---- membership


def _isin(x: np.ndarray, test: np.ndarray, invert: bool) -> Any:
    if x.itemsize == 2 and x.dtype.kind not in "iu":
        x, test = x.astype(np.float32), test.astype(np.float32)
    return np.isin(x, test.reshape(-1), invert=invert)


@public(method=False, out=True)
def isin(elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Whether each of `elements` is among `test_elements` (or is not, with `invert`); one of them may be a number.

    Raises TypeError for two numbers, RuntimeError for complex tensors.
    """
    if not isinstance(elements, Tensor) and not isinstance(test_elements, Tensor):
        raise TypeError("isin(): received an invalid combination of arguments: one of elements and test_elements must be a Tensor")
    dt = result_type_of(elements, test_elements)
    if dt.is_complex:
        raise RuntimeError("Unsupported input type encountered for isin(): ComplexFloat")
    from torsh.ops.dispatch import operand
    shape = elements._shape if isinstance(elements, Tensor) else ()
    return wrap(host(_isin, "isin", (cast(operand(elements, dt, "isin"), dt), operand(test_elements, dt, "isin")), shape, bool_, (invert,)))


__all__ = ["corrcoef", "cov", "dist", "histc", "histogram", "histogramdd", "isin", "nanmean", "nanquantile", "nansum", "quantile", "renorm"]

"""Numerical integration and differentiation of sampled functions."""
from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

from torsh.core.dtypes import get_default_dtype
from torsh.core.shapes import wrap_dim
from torsh.ops.dispatch import cast_tensor, public
from torsh.ops.join import cat
from torsh.ops.scan import cumsum
from torsh.ops.views import slice_dim
from torsh.tensor.tensor import Tensor


def _strips(what: str, y: Tensor, x: Any, dx: Any, dim: int) -> tuple[Tensor, int]:
    """Twice the area of each strip between neighbouring samples, and the dimension they lie along."""
    d = wrap_dim(dim, len(y._shape), what)
    if not y._shape:
        raise IndexError(f"{what}: Dimension specified as {dim} but tensor has no dimensions")
    n = y._shape[d]
    heights = slice_dim(y, d, 1, max(n - 1, 0)) + slice_dim(y, d, 0, max(n - 1, 0))
    if not isinstance(x, Tensor):
        return heights * dx, d
    if not x._shape:
        raise RuntimeError("There is a one `x` value for each sample point")
    if len(x._shape) == 1:
        if x._shape[0] != n:
            raise RuntimeError("There must be one `x` value for each sample point")
        x = x.reshape((1,) * d + (n,) + (1,) * (len(y._shape) - d - 1))  # type: ignore[attr-defined]
    elif len(x._shape) < len(y._shape):
        x = x.reshape((1,) * (len(y._shape) - len(x._shape)) + x._shape)  # type: ignore[attr-defined]
    at = d if len(x._shape) == len(y._shape) else wrap_dim(dim, len(x._shape), what)
    k = x._shape[at]
    widths = slice_dim(x, at, 1, max(k - 1, 0)) - slice_dim(x, at, 0, max(k - 1, 0))
    return heights * widths, d


def _spacing(what: str, x: Any, dx: Any) -> tuple[Any, Any]:
    if x is not None and not isinstance(x, Tensor):
        return None, x
    if x is not None and dx is not None:
        raise RuntimeError(f"{what}() got both x and dx")
    return x, 1 if dx is None else dx


@public("trapezoid", "trapz", method=False)
def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Any = None, dim: int = -1) -> Tensor:
    """The integral along a dimension by the trapezoidal rule, with samples at `x` or `dx` apart. Raises RuntimeError for another number of `x`."""
    x, dx = _spacing("trapezoid", x, dx)
    if y._shape and y._shape[wrap_dim(dim, len(y._shape), "trapezoid")] == 0:
        return (y * 1.0).sum(dim)  # type: ignore[no-any-return]
    strips, d = _strips("trapezoid", y, x, dx, dim)
    return strips.sum(d) / 2.0  # type: ignore[attr-defined,no-any-return]


@public("cumulative_trapezoid", method=False)
def cumulative_trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Any = None, dim: int = -1) -> Tensor:
    """The running integral along a dimension by the trapezoidal rule, one element shorter. Raises as `trapezoid` does."""
    x, dx = _spacing("cumulative_trapezoid", x, dx)
    strips, d = _strips("cumulative_trapezoid", y, x, dx, dim)
    return cumsum(strips, d) / 2.0


def _gradient_along(f: Tensor, d: int, spacing: Any, edge_order: int) -> Tensor:
    """Second-order differences inside; first or second order at the ends (Fornberg's weights for uneven spacing)."""
    n = f._shape[d]
    left, mid, right = slice_dim(f, d, 0, n - 2), slice_dim(f, d, 1, n - 2), slice_dim(f, d, 2, n - 2)

    def at(i: int) -> Tensor:
        return slice_dim(f, d, i if i >= 0 else n + i, 1)
    if isinstance(spacing, Tensor):
        steps = (slice_dim(spacing, 0, 1, n - 1) - slice_dim(spacing, 0, 0, n - 1)).reshape((1,) * d + (n - 1,) + (1,) * (len(f._shape) - d - 1))
        h, k = slice_dim(steps, d, 0, n - 2), slice_dim(steps, d, 1, n - 2)
        inside = -k / (h * (h + k)) * left + (k - h) / (h * k) * mid + h / (k * (h + k)) * right
        first, last = slice_dim(steps, d, 0, 1), slice_dim(steps, d, n - 2, 1)
        if edge_order == 1:
            start, end = (at(1) - at(0)) / first, (at(-1) - at(-2)) / last
        else:
            second, before = slice_dim(steps, d, 1, 1), slice_dim(steps, d, n - 3, 1)
            start = -(2 * first + second) / (first * (first + second)) * at(0) + (first + second) / (first * second) * at(1) \
                - first / (second * (first + second)) * at(2)
            end = last / (before * (before + last)) * at(-3) - (before + last) / (before * last) * at(-2) \
                + (2 * last + before) / (last * (before + last)) * at(-1)
    else:
        inside = (right - left) / (2.0 * spacing)
        if edge_order == 1:
            start, end = (at(1) - at(0)) / spacing, (at(-1) - at(-2)) / spacing
        else:
            start = (-1.5 * at(0) + 2.0 * at(1) - 0.5 * at(2)) / spacing
            end = (1.5 * at(-1) - 2.0 * at(-2) + 0.5 * at(-3)) / spacing
    return cat([start, inside, end], d)


@public(method=False)
def gradient(input: Tensor, *, spacing: Any = 1, dim: Any = None, edge_order: int = 1) -> tuple[Tensor, ...]:
    """The derivative of a sampled function along each dimension (or those named), one tensor each.

    `spacing` is the distance of samples, one for each dimension, or vectors of their coordinates. Raises RuntimeError for fewer than
    `edge_order + 1` samples, another edge order than 1 or 2, and for spacings that do not fit the dimensions.
    """
    n = len(input._shape)
    spacing = 1 if spacing is None else spacing
    if dim is None and isinstance(spacing, (list, tuple)) and len(spacing) != n:
        raise RuntimeError(f"torch.gradient expected spacing to be unspecified, a scalar or a list of length equal to 'self.dim() = {n}', but got a "
                           f"list of length {len(spacing)}")
    dims: Sequence[int] = range(n) if dim is None else (int(dim),) if isinstance(dim, (int, Integral)) else tuple(dim)
    axes = [wrap_dim(d, n, "gradient") for d in dims]
    if len(set(axes)) != len(axes):
        raise RuntimeError(f"dim {next(d for d in axes if axes.count(d) > 1)} appears multiple times in the list of dims")
    spacings = list(spacing) if isinstance(spacing, (list, tuple)) else [spacing] * len(axes)
    if len(spacings) != len(axes):
        raise RuntimeError(f"torch.gradient expected spacing to be unspecified, a scalar or it's spacing and dim arguments to have the same length, but "
                           f"got a spacing argument of length {len(spacings)} and a dim argument of length {len(axes)}.")
    if edge_order not in (1, 2):
        raise RuntimeError("torch.gradient only supports edge_order=1 and edge_order=2.")
    for d, s in zip(axes, spacings, strict=True):
        if not input._shape or input._shape[d] < edge_order + 1:
            raise RuntimeError("torch.gradient expected each dimension size to be at least edge_order+1")
        if isinstance(s, Tensor) and s._shape:
            if len(s._shape) != 1:
                raise RuntimeError(f"torch.gradient expected each element of spacing to have one dimension, but got an element with {len(s._shape)} "
                                   "dimensions!")
            if s._shape[0] != input._shape[d]:
                raise RuntimeError(f"torch.gradient expected each dimension of the input to have as many samples as spacing has coordinates, but got "
                                   f"{input._shape[d]} and {s._shape[0]}")
    f = cast_tensor(input, get_default_dtype()) if input._dtype.category < 2 else input
    return tuple([_gradient_along(f, d, s if not isinstance(s, Tensor) or s._shape else s.item(), edge_order)  # type: ignore[attr-defined]
                  for d, s in zip(axes, spacings, strict=True)])


__all__ = ["cumulative_trapezoid", "gradient", "trapezoid"]

"""Pooling over windows of the trailing one to three dimensions: maximum, mean, power mean, and undoing a maximum.

Forward is a reduction over a window view of the padded input. The gradient of a mean reads, for every input position, the few
windows that may hold it (`windows.spread`); that of a maximum goes to the position each window chose. Both are tensor
operations that can be differentiated again.
"""
from __future__ import annotations

import functools
import itertools
from typing import Any

from torsh.autograd.autocast import in_full_precision
from torsh.autograd.graph import GradNode
from torsh.core.dtypes import int64
from torsh.core.shapes import Shape, numel
from torsh.ops.arithmetic import fmod
from torsh.ops.composite import along, positions, rule, wide
from torsh.ops.dispatch import apply, cast_tensor, coarse
from torsh.ops.gather import scatter_at
from torsh.ops.pointwise import maximum, minimum, where
from torsh.ops.reduce import amax, argmax, sum
from torsh.ops.views import zeros_like_shape
from torsh.ops.windows import gathered_in, numbers, spread, tap, windows
from torsh.tensor.tensor import Tensor

# Arguments: (kernel, stride, padding, dilation, out). Tensors: x [..., *size].


#: Windows of at most so many elements are looked at in one pass over the result.
_FEW_PLACES = 32


def lowest(t: Tensor) -> Any:
    """The value below all others of a type."""
    return float("-inf") if t._dtype.category == 2 else 0 if t._dtype.name in ("uint8", "bool") else -(1 << (8 * t._dtype.itemsize - 1))


def plane_index(size: Shape, coordinates: list[Tensor]) -> Tensor:
    """Row-major position in a plane of `size`."""
    at = coordinates[0]
    for n, c in zip(size[1:], coordinates[1:], strict=True):
        at = at * n + c
    return at


def _max_index(x: Tensor, kernel: Shape, stride: Shape, padding: Shape, dilation: Shape, out: Shape) -> Tensor:
    """Where each window's maximum lies in the plane of x."""
    n, ndim = len(kernel), len(x._shape)
    head = ndim - n
    seen = windows(x, out, kernel, stride, padding, dilation, lowest(x))
    at = argmax(seen.reshape(*seen._shape[:ndim], numel(kernel)), -1)  # type: ignore[attr-defined]
    coordinates: list[Tensor] = []
    for d in range(n - 1, -1, -1):
        inside = fmod(at, kernel[d])  # nothing here is negative, so that the compiler sees that the places are in range
        at = at.div(kernel[d], rounding_mode="trunc") if d else at  # type: ignore[attr-defined]
        origin = along(positions(out[d]), head + d, ndim) * stride[d] - padding[d]
        found = origin + inside * dilation[d]
        coordinates.insert(0, maximum(found, 0) if padding[d] else found)  # a window of nothing but -inf may choose its padding
    return plane_index(x._shape[head:], coordinates)


_MAX_INDEX = coarse("max_pool_index", _max_index, None)


def _max_pool(x: Tensor, kernel: Shape, stride: Shape, padding: Shape, dilation: Shape, out: Shape) -> Tensor:
    if numel(kernel) <= _FEW_PLACES:
        places = itertools.product(*map(range, kernel))
        return functools.reduce(maximum, [tap(x, out, place, stride, padding, dilation, lowest(x)) for place in places])
    seen = windows(x, out, kernel, stride, padding, dilation, lowest(x))
    return amax(seen, tuple(range(len(x._shape), len(seen._shape))))


def _plane_places(head: Shape, size: Shape, inner: Shape) -> Any:
    """Addresses of index[..., *inner] within planes of `size`: everything flattened to [planes, positions]."""
    planes, area = numel(head), numel(size)
    return (planes, numel(inner)), (area, 0), 0, (1,), (area,)


def planes_added(g: Tensor, index: Tensor, size: Shape, mode: str = "add") -> Tensor:
    """[..., *size]: zeros with g [..., *inner] added (or set) at flat positions of each plane."""
    n = len(size)
    head, inner = g._shape[:-n], g._shape[-n:]
    flat, at = g.reshape(numel(head), numel(inner)), index.reshape(numel(head), numel(inner))  # type: ignore[attr-defined]
    base = zeros_like_shape((numel(head), numel(size)), g)
    return scatter_at(base, flat, (at,), _plane_places(head, size, inner), mode).reshape(head + size)  # type: ignore[attr-defined,no-any-return]


def max_pool_gradient(g: Tensor, at: Tensor, size: Shape) -> Tensor:
    """Each window's gradient at the position it chose, summed: [..., *size]."""
    return cast_tensor(planes_added(wide(g), at, size), g._dtype)


def _max_block_gradient(g: Tensor, x: Tensor, kernel: Shape, out: Shape) -> Tensor:
    """The same for windows that tile the input, without a scatter: each element looks whether its window chose it."""
    n, head = len(kernel), x._shape[:-len(kernel)]
    seen = windows(x, out, kernel, kernel, (0,) * n, (1,) * n)
    at = argmax(seen.reshape(*head, *out, numel(kernel)), -1)  # type: ignore[attr-defined]
    wide_shape = head + out + (1,) * n
    here = at.reshape(wide_shape) == positions(numel(kernel)).reshape(kernel)  # type: ignore[attr-defined]
    return gathered_in(where(here, g.reshape(wide_shape), zeros_like_shape((), g)), x._shape[-n:], out, kernel, (0,) * n)  # type: ignore[attr-defined]


_max_rule = rule("max_pool_backward", max_pool_gradient)
_max_block_rule = rule("max_pool_backward_blocks", _max_block_gradient)


def _max_pool_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    x, n = ctx[0], len(ctx.arg[0])
    kernel, stride, padding, dilation, out = ctx.arg
    tiles = stride == kernel and not any(padding) and all(d == 1 for d in dilation)
    if tiles and all(k * o == i for k, o, i in zip(kernel, out, x._shape[-n:], strict=True)):
        return _max_block_rule((g, x), (kernel, out), x._shape, g._dtype)
    at = apply(_MAX_INDEX, (x,), ctx.arg, g._shape, int64)
    return _max_rule((g, at), (x._shape[-n:],), x._shape, g._dtype)


_MAX_POOL = coarse("max_pool", _max_pool, _max_pool_vjp, (0,), grad_name="MaxPool2DWithIndicesBackward0")


def pooled_size(what: str, size: Shape, kernel: Shape, stride: Shape, padding: Shape, dilation: Shape, ceil_mode: bool) -> Shape:
    """The number of windows in each dimension. Raises RuntimeError for parameters that PyTorch refuses and for an empty result."""
    if any(k <= 0 for k in kernel) or any(s <= 0 for s in stride) or any(d <= 0 for d in dilation):
        raise RuntimeError(f"{what}: kernel size, stride and dilation should be greater than zero, but got kernel_size {list(kernel)}, stride "
                           f"{list(stride)}, dilation {list(dilation)}")
    if any(q < 0 for q in padding):
        raise RuntimeError(f"{what}: pad must be non-negative, but got pad: {list(padding)}")
    out = []
    for i, k, s, q, d in zip(size, kernel, stride, padding, dilation, strict=True):
        if q * 2 > (k - 1) * d + 1:
            raise RuntimeError(f"{what}: pad should be at most half of effective kernel size, but got pad={q}, kernel_size={k} and dilation={d}")
        room = i + 2 * q - d * (k - 1) - 1
        n = (-(-room // s) if ceil_mode else room // s) + 1
        if ceil_mode and (n - 1) * s >= i + q:  # a window must begin inside the input or its left padding
            n -= 1
        out.append(n)
    if any(n <= 0 for n in out):
        raise RuntimeError(f"{what}: Given input size: {list(size)}. Calculated output size: {out}. Output size is too small")
    return tuple(out)


def check_planes(what: str, x: Tensor, n: int) -> None:
    """Raises RuntimeError unless x is [c, *size] or [n, c, *size] with `n` spatial dimensions and elements to pool."""
    if len(x._shape) not in (n + 1, n + 2):
        raise RuntimeError(f"{what}: Expected {n + 1}D or {n + 2}D (batch mode) tensor for input, but got shape {list(x._shape)}")
    if 0 in x._shape[-n - 1:]:
        raise RuntimeError(f"{what}: Expected non-zero sizes for all but the batch dimension of the input, but got shape {list(x._shape)}")


def _max_pool_call(n: int, what: str, x: Tensor, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool,
                   return_indices: bool) -> Any:
    check_planes(what, x, n)
    kernel = numbers(kernel_size, n, what, "kernel_size")
    step = kernel if stride is None or (isinstance(stride, (list, tuple)) and not stride) else numbers(stride, n, what, "stride")
    pad, spacing = numbers(padding, n, what, "padding"), numbers(dilation, n, what, "dilation")
    out = pooled_size(what, x._shape[-n:], kernel, step, pad, spacing, ceil_mode)
    arg, shape = (kernel, step, pad, spacing, out), x._shape[:-n] + out
    y = apply(_MAX_POOL, (x,), arg, shape, x._dtype)
    return (y, apply(_MAX_INDEX, (x,), arg, shape, int64)) if return_indices else y


# ---- means. Arguments: (kernel, stride, padding, out, what to divide by: a number, or "padded" or "inside" for the elements to count)


def _divisor(size: Shape, kernel: Shape, stride: Shape, padding: Shape, out: Shape, divide: Any, head: int, like: Tensor) -> Any:
    """What each window's sum is divided by: one number where it is the same for all."""
    if not isinstance(divide, str):
        return float(divide)
    padded = divide == "padded"
    ndim, n = head + len(size), len(size)
    if all((o - 1) * s + k <= i + 2 * q if padded else q == 0 and (o - 1) * s + k <= i
           for o, s, k, i, q in zip(out, stride, kernel, size, padding, strict=True)):
        return float(numel(kernel))
    total: Any = None
    for d in range(n):
        start = positions(out[d]) * stride[d] - padding[d]
        end = minimum(start + kernel[d], size[d] + padding[d])
        if not padded:
            start, end = maximum(start, 0), minimum(end, size[d])
        counts = along(end - start, head + d, ndim)
        total = counts if total is None else total * counts
    return cast_tensor(total, like._dtype)


def _avg_pool(x: Tensor, kernel: Shape, stride: Shape, padding: Shape, out: Shape, divide: Any) -> Tensor:
    dt, n, x = x._dtype, len(kernel), wide(x)
    head = len(x._shape) - n
    seen = windows(x, out, kernel, stride, padding, (1,) * n)
    total = sum(seen, tuple(range(len(x._shape), len(seen._shape))))
    if dt is int64:  # whole numbers, towards zero
        by = _divisor(x._shape[head:], kernel, stride, padding, out, divide, head, x)
        return total.div(int(by) if isinstance(by, float) else by, rounding_mode="trunc")  # type: ignore[no-any-return,attr-defined]
    return cast_tensor(total / _divisor(x._shape[head:], kernel, stride, padding, out, divide, head, x), dt)


def _avg_pool_gradient(g: Tensor, size: Shape, kernel: Shape, stride: Shape, padding: Shape, out: Shape, divide: Any) -> Tensor:
    dt, n, g = g._dtype, len(kernel), wide(g)
    head = len(g._shape) - n
    share = g / _divisor(size, kernel, stride, padding, out, divide, head, g)
    found, blocks, count = spread(share, size, kernel, stride, padding)
    ndim = len(found._shape)
    mask: Tensor | None = None
    for d in range(n):  # the candidate j blocks back reaches r when (m - 1 - j) * stride + r < kernel
        if count[d] * stride[d] != kernel[d]:
            back = along((positions(count[d]) * -stride[d]) + (count[d] - 1) * stride[d], head + 2 * n + d, ndim)
            reaches = back + along(positions(stride[d]), head + n + d, ndim) < kernel[d]
            mask = reaches if mask is None else mask & reaches
    if mask is not None:
        found = where(mask, found, zeros_like_shape((), g))
    return cast_tensor(gathered_in(sum(found, tuple(range(ndim - n, ndim))), size, blocks, stride, padding), dt)


_avg_rule = rule("avg_pool_backward", _avg_pool_gradient)


def _avg_pool_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    n, shape = len(ctx.arg[0]), ctx.shapes[0]
    return _avg_rule((g,), (shape[-n:], *ctx.arg), shape, g._dtype)


_AVG_POOL = coarse("avg_pool", _avg_pool, _avg_pool_vjp, grad_name="AvgPool2DBackward0")


def avg_pool(x: Tensor, kernel: Shape, stride: Shape, padding: Shape, out: Shape, divide: Any) -> Tensor:
    """Means of windows (checked by the caller)."""
    return apply(_AVG_POOL, (x,), (kernel, stride, padding, out, divide), x._shape[:-len(kernel)] + out, x._dtype)


def _avg_pool_call(n: int, what: str, x: Tensor, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool, count_include_pad: bool,
                   divisor_override: int | None) -> Tensor:
    check_planes(what, x, n)
    kernel = numbers(kernel_size, n, what, "kernel_size")
    step = kernel if stride is None or (isinstance(stride, (list, tuple)) and not stride) else numbers(stride, n, what, "stride")
    pad = numbers(padding, n, what, "padding")
    if divisor_override == 0:
        raise RuntimeError("divisor must be not zero")
    if x._dtype.category < 2 and x._dtype is not int64:
        raise NotImplementedError(f"\"{what}\" not implemented for '{x._dtype.title}'")
    out = pooled_size(what, x._shape[-n:], kernel, step, pad, (1,) * n, ceil_mode)
    return avg_pool(x, kernel, step, pad, out, ("padded" if count_include_pad else "inside") if divisor_override is None else divisor_override)


def _make_max(n: int) -> Any:
    def max_pool(input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
                 return_indices: bool = False) -> Any:
        return _max_pool_call(n, f"max_pool{n}d", input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)
    max_pool.__name__ = f"max_pool{n}d"
    max_pool.__doc__ = (f"Maxima of windows of the last {n} dimensions (NaN wins); with `return_indices` also where in the plane they lie (int64).\n\n"
                        "    The stride is the kernel by default. Raises RuntimeError for shapes and windows that do not fit.\n    ")
    return max_pool


max_pool1d, max_pool2d, max_pool3d = _make_max(1), _make_max(2), in_full_precision(_make_max(3))


def avg_pool1d(input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False, count_include_pad: bool = True) -> Tensor:
    """Means of windows of the last dimension. See `avg_pool2d`."""
    return _avg_pool_call(1, "avg_pool1d", input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False, count_include_pad: bool = True,
               divisor_override: int | None = None) -> Tensor:
    """Means of windows of the last two dimensions: sums over the window's elements (with the padding's unless `count_include_pad` is false).

    Raises RuntimeError for shapes and windows that do not fit and a divisor of 0.
    """
    return _avg_pool_call(2, "avg_pool2d", input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


@in_full_precision
def avg_pool3d(input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False, count_include_pad: bool = True,
               divisor_override: int | None = None) -> Tensor:
    """Means of windows of the last three dimensions. See `avg_pool2d`."""
    return _avg_pool_call(3, "avg_pool3d", input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def _lp_pool(n: int, x: Tensor, norm_type: float, kernel_size: Any, stride: Any, ceil_mode: bool) -> Tensor:
    """(sum of x ** p over the window) ** (1/p), as PyTorch: the mean pool times the window's size."""
    kernel = numbers(kernel_size, n, f"lp_pool{n}d", "kernel_size")
    means = _avg_pool_call(n, f"lp_pool{n}d", x ** norm_type, kernel, stride, 0, ceil_mode, True, None)
    return (means * numel(kernel)) ** (1.0 / norm_type)  # type: ignore[no-any-return]


def lp_pool1d(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """Power means (without the division) of windows of the last dimension: (sum x^p)^(1/p)."""
    return _lp_pool(1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """Power means (without the division) of windows of the last two dimensions: (sum x^p)^(1/p)."""
    return _lp_pool(2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """Power means (without the division) of windows of the last three dimensions: (sum x^p)^(1/p)."""
    return _lp_pool(3, input, norm_type, kernel_size, stride, ceil_mode)


"""Pooling to a given size, undoing a maximum pool, and windows as columns (unfold, fold)."""
from __future__ import annotations

from numbers import Integral
from typing import Any

from torsh.autograd.autocast import as_written, in_full_precision
from torsh.autograd.graph import GradNode
from torsh.core.dtypes import int64
from torsh.core.shapes import Shape, contiguous_strides, numel
from torsh.ops.composite import along, positions, wide
from torsh.ops.dispatch import apply, cast_tensor, coarse
from torsh.ops.gather import checked_index, gather_at, scatter_at
from torsh.ops.matmul import matmul
from torsh.ops.pointwise import minimum, where
from torsh.ops.pool import avg_pool, check_planes, lowest, max_pool1d, max_pool2d, max_pool3d, plane_index, planes_added
from torsh.ops.reduce import amax, argmax
from torsh.ops.views import zeros_like_shape
from torsh.ops.windows import numbers, windows
from torsh.tensor.tensor import Tensor

_MAX_POOLS = {1: max_pool1d, 2: max_pool2d, 3: max_pool3d}


def _sizes(n: int, what: str, output_size: Any, size: Shape) -> Shape:
    wanted = (output_size,) * n if output_size is None or isinstance(output_size, (int, Integral)) else tuple(output_size)
    if len(wanted) != n:
        raise RuntimeError(f"{what}: output_size must be {n} numbers, got {list(wanted)}")
    out = tuple(s if w is None else int(w) for w, s in zip(wanted, size, strict=True))
    if any(o < 0 for o in out):
        raise RuntimeError(f"{what}: elements of output_size must be greater than or equal to 0, got {list(out)}")
    return out


def _starts(size: int, out: int) -> tuple[Tensor, Tensor]:
    """First and one past the last position of each window: floor(o * size / out), ceil((o + 1) * size / out)."""
    o = positions(out)
    return (o * size).div(out, rounding_mode="trunc"), ((o + 1) * size + (out - 1)).div(out, rounding_mode="trunc")  # type: ignore[attr-defined]


def _longest(size: int, out: int) -> int:
    return max(-(-(o + 1) * size // out) - o * size // out for o in range(out))


def _adaptive_avg(n: int, what: str, x: Tensor, output_size: Any) -> Tensor:
    if n > 1 and len(x._shape) <= n and isinstance(output_size, (tuple, list)):
        raise ValueError(f"Input dimension should be at least {n + 1}")
    check_planes(what, x, n)
    if x._dtype.category != 2:
        raise NotImplementedError(f"\"{what}\" not implemented for '{x._dtype.title}'")
    size = x._shape[-n:]
    out = _sizes(n, what, output_size, size)
    if numel(out) and all(s % o == 0 for s, o in zip(size, out, strict=True)):
        kernel = tuple(s // o for s, o in zip(size, out, strict=True))
        return avg_pool(x, kernel, kernel, (0,) * n, out, "padded")
    dt, found = x._dtype, wide(x)
    for d in range(n):  # a mean along one dimension is a product with a matrix of 1 / length where the window is
        first, end = _starts(size[d], out[d])
        inside = (along(positions(size[d]), 0, 2) >= along(first, 1, 2)) & (along(positions(size[d]), 0, 2) < along(end, 1, 2))
        weights = where(inside, 1.0 / cast_tensor(along(end - first, 1, 2), found._dtype), 0.0)
        axis = len(x._shape) - n + d
        found = matmul(found.transpose(axis, -1), weights).transpose(axis, -1)  # type: ignore[attr-defined]
    return cast_tensor(found, dt)


# Arguments: out. Each window is read at its start plus 0 ... longest - 1, and masked after its own end.


def _adaptive_windows(x: Tensor, out: Shape) -> tuple[Tensor, list[Tensor], Shape]:
    """([..., *out, *longest] with -inf where a window has ended, the position in each dimension, longest)."""
    n, shape = len(out), x._shape
    head, size = shape[:-n], shape[-n:]
    longest = tuple(_longest(s, o) for s, o in zip(size, out, strict=True))
    ndim = len(head) + 2 * n
    mask: Tensor | None = None
    at: list[Tensor] = []
    for d in range(n):
        first, end = _starts(size[d], out[d])
        here = along(first, len(head) + d, ndim) + along(positions(longest[d]), len(head) + n + d, ndim)
        inside = here < along(end, len(head) + d, ndim)
        mask = inside if mask is None else mask & inside
        at.append(minimum(here, size[d] - 1))
    strides = contiguous_strides(shape)
    seen = gather_at(x, tuple(at), (head + out + longest, strides[:-n] + (0,) * (2 * n), 0, strides[-n:], size))
    return where(mask, seen, lowest(x)), at, longest


def _adaptive_max(x: Tensor, out: Shape) -> Tensor:
    seen, _, _ = _adaptive_windows(x, out)
    return amax(seen, tuple(range(len(x._shape), len(seen._shape))))


def _adaptive_index(x: Tensor, out: Shape) -> Tensor:
    n = len(out)
    seen, _, longest = _adaptive_windows(x, out)
    ndim = len(x._shape)
    inside = argmax(seen.reshape(*seen._shape[:ndim], numel(longest)), -1)  # type: ignore[attr-defined]
    coordinates: list[Tensor] = []
    for d in range(n - 1, -1, -1):
        coordinates.insert(0, along(_starts(x._shape[ndim - n + d], out[d])[0], ndim - n + d, ndim) + inside % longest[d])
        inside = inside.div(longest[d], rounding_mode="trunc") if d else inside
    return plane_index(x._shape[-n:], coordinates)


_ADAPTIVE_INDEX = coarse("adaptive_max_pool_index", _adaptive_index, None)
_ADAPTIVE_MAX = coarse("adaptive_max_pool", _adaptive_max,
                       lambda ctx, g: planes_added(g, apply(_ADAPTIVE_INDEX, (ctx[0],), ctx.arg, g._shape, int64), ctx.shapes[0][-len(ctx.arg[0]):]),
                       (0,), grad_name="AdaptiveMaxPool2DBackward0")


def _adaptive_max_call(n: int, what: str, x: Tensor, output_size: Any, return_indices: bool) -> Any:
    if n > 1 and len(x._shape) <= n and isinstance(output_size, (tuple, list)):
        raise ValueError(f"Input dimension should be at least {n + 1}")
    check_planes(what, x, n)
    size = x._shape[-n:]
    out = _sizes(n, what, output_size, size)
    if numel(out) and all(s % o == 0 for s, o in zip(size, out, strict=True)):
        return _MAX_POOLS[n](x, tuple(s // o for s, o in zip(size, out, strict=True)), return_indices=return_indices)
    shape = x._shape[:-n] + out
    y = apply(_ADAPTIVE_MAX, (x,), (out,), shape, x._dtype)
    return (y, apply(_ADAPTIVE_INDEX, (x,), (out,), shape, int64)) if return_indices else y


def _make(n: int) -> tuple[Any, Any, Any]:
    def adaptive_avg_pool(input: Tensor, output_size: Any) -> Tensor:
        return _adaptive_avg(n, f"adaptive_avg_pool{n}d", input, output_size)

    def adaptive_max_pool(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
        return _adaptive_max_call(n, f"adaptive_max_pool{n}d", input, output_size, return_indices)

    def max_unpool(input: Tensor, indices: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None) -> Tensor:
        return _max_unpool(n, f"max_unpool{n}d", input, indices, kernel_size, stride, padding, output_size)
    for f, name, text in ((adaptive_avg_pool, "adaptive_avg_pool", f"Means over windows of the last {n} dimensions that give `output_size` (None: as it is)."),
                          (adaptive_max_pool, "adaptive_max_pool", f"Maxima over windows of the last {n} dimensions that give `output_size`."),
                          (max_unpool, "max_unpool", f"Zeros with the maxima of `max_pool{n}d` put back where its indices say.")):
        f.__name__ = f"{name}{n}d"
        f.__doc__ = text + " Raises RuntimeError for shapes that do not fit."
    delicate = in_full_precision if n == 3 else as_written
    return delicate(adaptive_avg_pool), delicate(adaptive_max_pool), in_full_precision(max_unpool) if n > 1 else max_unpool


def _max_unpool(n: int, what: str, x: Tensor, indices: Tensor, kernel_size: Any, stride: Any, padding: Any, output_size: Any) -> Tensor:
    check_planes(what, x, n)
    if indices._dtype is not int64:
        raise RuntimeError(f"{what}: elements in indices should be type int64 but got: {indices._dtype.title}")
    if indices._shape != x._shape:
        raise RuntimeError(f"{what}: Expected shape of indices to be same as that of the input tensor ({list(x._shape)}) but got indices tensor with "
                           f"shape: {list(indices._shape)}")
    kernel = numbers(kernel_size, n, what, "kernel_size")
    step = kernel if stride is None else numbers(stride, n, what, "stride")
    pads = numbers(padding, n, what, "padding")
    default = tuple((i - 1) * s + k - 2 * q for i, s, k, q in zip(x._shape[-n:], step, kernel, pads, strict=True))
    size = default if output_size is None else tuple(output_size)[-n:]
    if any(not d - s < o < d + s for o, d, s in zip(size, default, step, strict=True)):
        raise ValueError(f"{what}: invalid output_size {list(size)} (each must be within a stride of {list(default)})")
    at = checked_index(indices, numel(size), "found an invalid max index: {index} (output volumes are of size " + str(list(size)) + ")", RuntimeError)
    return planes_added(x, at, size, "set")


adaptive_avg_pool1d, adaptive_max_pool1d, max_unpool1d = _make(1)
adaptive_avg_pool2d, adaptive_max_pool2d, max_unpool2d = _make(2)
adaptive_avg_pool3d, adaptive_max_pool3d, max_unpool3d = _make(3)


# ---- columns


def _blocks(what: str, size: Shape, kernel: Shape, dilation: Shape, padding: Shape, stride: Shape) -> Shape:
    out = tuple((i + 2 * q - d * (k - 1) - 1) // s + 1 for i, q, d, k, s in zip(size, padding, dilation, kernel, stride, strict=True))
    if any(o <= 0 for o in out):
        raise RuntimeError(f"{what}: Given spatial size {list(size)}, kernel_size={list(kernel)}, dilation={list(dilation)}, padding={list(padding)}, "
                           f"stride={list(stride)}, calculated shape of the array of sliding blocks as {list(out)}, but its components must be at "
                           "least one.")
    return out


def unfold(input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """The windows of [n, c, h, w] (or [c, h, w]) as columns: [n, c * kernel elements, windows]. Raises RuntimeError for other shapes."""
    if len(input._shape) not in (3, 4):
        raise RuntimeError(f"unfold: Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero dimensions for input, but got: "
                           f"{list(input._shape)}")
    kernel, spacing, pads, step = (numbers(v, 2, "unfold", name) for v, name in
                                   ((kernel_size, "kernel_size"), (dilation, "dilation"), (padding, "padding"), (stride, "stride")))
    x = input if len(input._shape) == 4 else input.unsqueeze(0)  # type: ignore[attr-defined]
    n, c = x._shape[:2]
    out = _blocks("unfold", x._shape[2:], kernel, spacing, pads, step)
    columns = windows(x, out, kernel, step, pads, spacing).permute(0, 1, 4, 5, 2, 3).reshape(n, c * numel(kernel), numel(out))  # type: ignore[attr-defined]
    return columns if len(input._shape) == 4 else columns.squeeze(0)  # type: ignore[no-any-return]


def _fold(columns: Tensor, size: Shape, kernel: Shape, dilation: Shape, padding: Shape, stride: Shape, out: Shape) -> Tensor:
    """[n, c, *kernel, *out] summed into [n, c, *size]."""
    dt, columns = columns._dtype, wide(columns)
    n, c = columns._shape[:2]
    whole = tuple(i + 2 * q for i, q in zip(size, padding, strict=True))
    h, w = whole
    places = ((n, c, *kernel, *out), (c * h * w, h * w, dilation[0] * w, dilation[1], stride[0] * w, stride[1]), 0, (), ())
    summed = scatter_at(zeros_like_shape((n, c, h, w), columns), columns, (), places, "add")
    for d in (0, 1):
        if padding[d]:
            summed = summed.narrow(2 + d, padding[d], size[d])  # type: ignore[attr-defined]
    return cast_tensor(summed, dt)


def _fold_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    _, kernel, dilation, padding, stride, out = ctx.arg
    return windows(g, out, kernel, stride, padding, dilation).permute(0, 1, 4, 5, 2, 3)  # type: ignore[attr-defined,no-any-return]


_FOLD = coarse("fold", _fold, _fold_vjp, grad_name="Col2ImBackward0")


def fold(input: Tensor, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """The columns of `unfold` added back in place: [n, c * kernel elements, windows] to [n, c, *output_size].

    Raises RuntimeError for shapes that do not fit.
    """
    if len(input._shape) not in (2, 3):
        raise RuntimeError(f"fold: Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and non-zero dimensions for input, but "
                           f"got: {list(input._shape)}")
    size, kernel, spacing, pads, step = (numbers(v, 2, "fold", name) for v, name in (
        (output_size, "output_size"), (kernel_size, "kernel_size"), (dilation, "dilation"), (padding, "padding"), (stride, "stride")))
    x = input if len(input._shape) == 3 else input.unsqueeze(0)  # type: ignore[attr-defined]
    out = _blocks("fold", size, kernel, spacing, pads, step)
    n, rows, count = x._shape
    if rows % numel(kernel) or count != numel(out):
        raise RuntimeError(f"fold: Expected size of input's dimension 1 to be divisible by the product of kernel_size and dimension 2 to match the "
                           f"{numel(out)} sliding blocks of output_size={list(size)}, kernel_size={list(kernel)}, dilation={list(spacing)}, "
                           f"padding={list(pads)}, stride={list(step)}, but got input of shape {list(input._shape)}")
    c = rows // numel(kernel)
    blocks = x.reshape(n, c, *kernel, *out)  # type: ignore[attr-defined]
    found = apply(_FOLD, (blocks,), (size, kernel, spacing, pads, step, out), (n, c, *size), x._dtype)
    return found if len(input._shape) == 3 else found.squeeze(0)  # type: ignore[attr-defined,no-any-return]

"""Sliding windows over the trailing dimensions of a tensor, and their adjoint: strided reads of a padded copy."""
from __future__ import annotations

from numbers import Integral
from typing import Any

from torsh.core.layouts import contiguous_format
from torsh.core.shapes import Shape, contiguous_strides
from torsh.graph.node import Node
from torsh.graph.primitives import PADDED, const
from torsh.graph.primitives import expand as expand_node
from torsh.graph.primitives import view as view_node
from torsh.ops.views import as_strided, region_assigned
from torsh.tensor.tensor import Tensor, wrap


def filled(value: Any, shape: Shape, like: Tensor) -> Tensor:
    """One value everywhere, as a broadcast scalar (no memory)."""
    return wrap(expand_node(const(value, like._dtype), shape))


def embedded(x: Tensor, lead: Shape, total: Shape, value: Any = 0, step: Shape | None = None) -> Tensor:
    """`x` inside a larger tensor of `value`: its last dimensions begin at `lead`, `step` apart, in dimensions of size `total`.

    The result is contiguous (a copy unless nothing changes).
    """
    k = len(total)
    head = x._shape[:len(x._shape) - k]
    ones = (1,) * k
    step = step or ones
    if x._shape[len(head):] == total and lead == (0,) * k and step == ones:
        return x if x._strides is None and x._offset == 0 and x._storage.node.numel == x.numel() else x.clone(memory_format=contiguous_format)  # type: ignore[attr-defined]
    shape = head + total
    strides = contiguous_strides(shape)
    inner = strides[len(head):]
    offset = sum(a * s for a, s in zip(lead, inner, strict=True))
    return region_assigned(filled(value, shape, x), x, x._shape, strides[:len(head)] + tuple(a * s for a, s in zip(step, inner, strict=True)), offset)


def windows(x: Tensor, out: Shape, kernel: Shape, stride: Shape, before: Shape, dilation: Shape, value: Any = 0, channels_last: bool = False) -> Tensor:
    """[..., *out, *kernel]: element (o, k) is x at o * stride - before + k * dilation in each dimension, `value` outside.

    `before` may be negative, to begin inside. With `channels_last` x is [n, c, *size], and the copy that is read has its channels last in memory.
    """
    n = len(out)
    size = x._shape[-n:]
    lead = tuple(max(b, 0) for b in before)
    start = tuple(max(-b, 0) for b in before)
    reach = tuple((o - 1) * s + (k - 1) * d + 1 + a for o, s, k, d, a in zip(out, stride, kernel, dilation, start, strict=True))
    total = tuple(max(a + m, r) for a, m, r in zip(lead, size, reach, strict=True))
    if channels_last:
        turned = x.permute(0, *range(2, 2 + n), 1).clone(memory_format=contiguous_format)  # type: ignore[attr-defined]
        memory = embedded(turned, (*lead, 0), (*total, x._shape[1]), value)
        image, *spaces, channel = contiguous_strides(memory._shape)
        strides: Shape = (image, channel, *spaces)
    else:
        memory = embedded(x, lead, total, value)
        strides = contiguous_strides(memory._shape)
    head, inner = strides[:-n], strides[-n:]
    offset = sum(a * s for a, s in zip(start, inner, strict=True))
    return as_strided(memory, x._shape[:-n] + out + kernel,
                      head + tuple(s * i for s, i in zip(stride, inner, strict=True)) + tuple(d * i for d, i in zip(dilation, inner, strict=True)), offset)


def tap(x: Tensor, out: Shape, place: Shape, stride: Shape, before: Shape, dilation: Shape, value: Any = 0) -> Tensor:
    """[..., *out]: of each window (as `windows` has them) the element at one place, without a padded copy (no history)."""
    n = len(out)
    size, strides = x._shape[-n:], contiguous_strides(x._shape)
    head = len(x._shape) - n
    starts = tuple(p * d - b for p, d, b in zip(place, dilation, before, strict=True))
    bounds = tuple((head + i, min(o, max(0, -(a // s))), max(0, min(o, (m - 1 - a) // s + 1)))
                   for i, (o, a, s, m) in enumerate(zip(out, starts, stride, size, strict=True)))
    bounds = tuple((axis, low, high) for axis, low, high in bounds if low > 0 or high < out[axis - head])
    inner = tuple(s * t for s, t in zip(strides[head:], stride, strict=True))
    offset = sum(a * s for a, s in zip(starts, strides[head:], strict=True))
    shape = x._shape[:head] + out
    return wrap(Node(PADDED, (x._node(),), ((*strides[:head], *inner), offset, bounds, value), shape, x._dtype))


def spread(y: Tensor, size: Shape, reach: Shape, stride: Shape, before: Shape) -> tuple[Tensor, Shape, Shape]:
    """For each position i of dimensions of `size`, the windows that may reach it.

    `y` is [..., *out]; window o reaches positions o * stride - before up to `reach` further. Returns y read as
    [..., *blocks, *stride, *candidates], where position i + before = block * stride + r has as candidates the windows
    block - (m - 1) ... block (0 where there is none), with blocks and the number of candidates m.
    """
    n = len(size)
    count = tuple(-(-r // s) for r, s in zip(reach, stride, strict=True))
    blocks = tuple(-(-(i + b) // s) for i, b, s in zip(size, before, stride, strict=True))
    out = y._shape[-n:]
    used = tuple(min(o, b) for o, b in zip(out, blocks, strict=True))
    if used != out:
        for d in range(n):
            y = y.narrow(len(y._shape) - n + d, 0, used[d])  # type: ignore[attr-defined]
    memory = embedded(y, tuple(m - 1 for m in count), tuple(b + m - 1 for b, m in zip(blocks, count, strict=True)))
    strides = contiguous_strides(memory._shape)
    head, inner = strides[:-n], strides[-n:]
    return as_strided(memory, memory._shape[:-n] + blocks + stride + count, head + inner + (0,) * n + inner, 0), blocks, count


def gathered_in(t: Tensor, size: Shape, blocks: Shape, stride: Shape, before: Shape) -> Tensor:
    """[..., *blocks, *stride] put in order, as dimensions of `size` that begin at `before`."""
    n = len(size)
    h = len(t._shape) - 2 * n
    order = list(range(h)) + [h + d + n * j for d in range(n) for j in (0, 1)]
    whole = t.permute(order).reshape(t._shape[:h] + tuple(b * s for b, s in zip(blocks, stride, strict=True)))  # type: ignore[attr-defined]
    for d in range(n):
        if whole._shape[h + d] != size[d]:
            whole = whole.narrow(h + d, before[d], size[d])
    return whole  # type: ignore[no-any-return]


def reversed_last(t: Tensor, n: int) -> Tensor:
    """A contiguous tensor with its last `n` dimensions reversed: read with negative strides (no history)."""
    shape = t._shape
    strides = contiguous_strides(shape)
    cut = len(shape) - n
    offset = sum((m - 1) * s for m, s in zip(shape[cut:], strides[cut:], strict=True))
    return wrap(view_node(t._node(), shape, strides[:cut] + tuple(-s for s in strides[cut:]), offset))


def numbers(value: Any, n: int, what: str, name: str) -> Shape:
    """An int, or a sequence of 1 or n ints, as n ints. Raises RuntimeError for another length, TypeError for other things."""
    if isinstance(value, (int, Integral)):
        return (int(value),) * n
    try:
        found = tuple(int(v) for v in value)
    except (TypeError, ValueError):
        raise TypeError(f"{what}(): argument '{name}' must be tuple of ints, not {type(value).__name__}") from None
    if len(found) == 1:
        return found * n
    if len(found) != n:
        raise RuntimeError(f"{what}: expected {name} to be a single integer value or a list of {n} values to match the convolution dimensions, but got "
                           f"{name}={list(found)}")
    return found

"""Strided regions of memory: views of them, regions replaced and added to, copies.

A view operation is a function from geometry (shape, strides, offset) to geometry. Its derivative, unless a simpler
one is declared, puts the gradient into that region of a zero tensor.
"""
from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from torsh.autograd.graph import GradNode
from torsh.core.layouts import contiguous_format, order_of, preserve_format, strides_for
from torsh.core.shapes import Shape, contiguous_strides, is_contiguous, storage_extent
from torsh.graph.node import Node, Op
from torsh.graph.primitives import ASSIGN, SCATTER, const
from torsh.graph.primitives import expand as expand_node
from torsh.ops.dispatch import apply, cast_tensor, public, recorded, wide, wrap
from torsh.tensor.tensor import Tensor, alias, node_of

Geometry = tuple[Shape, Shape, int]


def zeros_like_shape(shape: Shape, like: Tensor) -> Tensor:
    """Zeros of a shape with the type of `like`, as a broadcast scalar (no memory)."""
    return wrap(expand_node(const(0, like._dtype), shape))


def view_with(t: Tensor, geometry: Geometry, op: Op, arg: Any) -> Tensor:
    shape, strides, offset = geometry
    out = alias(t, shape, strides, offset)
    out._base = t if t._base is None else t._base
    out._view_version = t._storage.version
    return recorded(op, arg, (t,), out)


def real_geometry(shape: Shape, strides: Shape, offset: int) -> Geometry:
    """The geometry of complex elements as pairs of reals, in a new last dimension."""
    return (*shape, 2), (*[2 * s for s in strides], 1), 2 * offset


def mixed_view(t: Tensor, geometry: Geometry, dt: Any, op: Op) -> Tensor:
    """A view that reads the memory as elements of another type (reals as complex numbers or the other way round), as `op` records."""
    shape, strides, offset = geometry
    out = alias(t, shape, strides, offset, dt)
    out._base = t if t._base is None else t._base
    out._view_version = t._storage.version
    return recorded(op, None, (t,), out)


def overlaps(shape: Shape, strides: Shape) -> bool:
    """Whether two index tuples may reach the same element (never wrong when it says no)."""
    reach = 0
    for s, n in sorted((s, n) for s, n in zip(strides, shape, strict=True) if n != 1):
        if s <= reach:
            return n > 0
        reach += s * (n - 1)
    return False


def region_assigned(base: Tensor, value: Tensor, shape: Shape, strides: Shape, offset: int) -> Tensor:
    """A new tensor: `base` (as contiguous memory) with the strided region replaced by `value` (of the region's shape)."""
    return apply(_REGION, (base, value), (shape, strides, offset), base._shape, base._dtype,
                 (node_of(base), expand_node(node_of(value), shape)))


def _region_vjp(ctx: GradNode, g: Tensor) -> tuple[Tensor | None, Tensor | None]:
    shape, strides, offset = ctx.arg
    old = region_assigned(g, zeros_like_shape(shape, g), shape, strides, offset) if ctx.needs[0] else None
    return old, as_strided(dense(g), shape, strides, offset) if ctx.needs[1] else None


def dense(g: Tensor) -> Tensor:
    """A gradient whose elements lie in its storage in row-major order from the start, so that regions can be cut out of it."""
    return g if g._strides is None and not g._offset else clone(g, memory_format=contiguous_format)


def _region_expand(node: Node, base: Node, value: Node) -> Node:
    return Node(ASSIGN, (base, value), node.arg, node.shape, node.dtype)


_REGION = Op("region_assigned", "coarse", None, _region_expand, _region_vjp, grad_name="AsStridedScatterBackward0")


def region_added(shape: Shape, value: Tensor, geometry: Geometry) -> Tensor:
    """Zeros of `shape` with `value` added at a strided region that may overlap itself."""
    region, strides, offset = geometry
    if not overlaps(region, strides):
        return region_assigned(zeros_like_shape(shape, value), value, region, strides, offset)
    added = wide(value)
    return cast_tensor(apply(_REGION_ADD, (added,), (shape, region, strides, offset), shape, added._dtype), value._dtype)


def _region_add_expand(node: Node, value: Node) -> Node:
    shape, region, strides, offset = node.arg
    zeros = expand_node(const(0, node.dtype), shape)
    return Node(SCATTER, (zeros, expand_node(value, region)), (region, strides, offset, (), (), "add"), shape, node.dtype)


def _region_add_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    return as_strided(dense(g), *ctx.arg[1:])


_REGION_ADD = Op("region_added", "coarse", None, _region_add_expand, _region_add_vjp)


def view_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    """The derivative of any view: its region of zeros gets the gradient."""
    geometry, args = ctx.arg
    shape = ctx.shapes[0]
    return region_added(shape, g, geometry(shape, contiguous_strides(shape), 0, *args))


def geometry_of(t: Tensor) -> Geometry:
    return t._shape, t.stride(), t._offset


def sizes_of(args: tuple[Any, ...]) -> Shape:
    if len(args) == 1 and not isinstance(args[0], int) and not hasattr(args[0], "__index__"):
        args = tuple(args[0])
    elif len(args) == 1 and isinstance(args[0], (tuple, list)):
        args = tuple(args[0])
    return tuple(a if type(a) is int else a.__index__() for a in args)


def _strided_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    """In the storage's own coordinates; elements that the input holds several times share their gradient, as in PyTorch."""
    region, own = ctx.arg
    low = min(region[2], own[2])
    count = max(storage_extent(region[0], region[1], region[2] - low), storage_extent(own[0], own[1], own[2] - low))
    whole = region_added((count,), g, (region[0], region[1], region[2] - low))
    if overlaps(own[0], own[1]):
        ones = zeros_like_shape(own[0], g) + 1
        times = region_added((count,), ones, (own[0], own[1], own[2] - low))
        whole = whole / times.clamp(min=1)  # type: ignore[attr-defined]
    return as_strided(dense(whole), own[0], own[1], own[2] - low)


_STRIDED = Op("as_strided", "history", None, None, _strided_vjp)


@public(inplace=False)
def as_strided(input: Tensor, size: Sequence[Any], stride: Sequence[Any], storage_offset: Any = None) -> Tensor:
    """A view of the storage with any shape, strides and offset (in elements).

    Raises RuntimeError for negative strides, and for geometry that reaches outside the storage.
    """
    shape, strides = tuple([operator.index(n) for n in size]), tuple([operator.index(s) for s in stride])
    offset = input._offset if storage_offset is None else operator.index(storage_offset)
    if len(shape) != len(strides):
        raise RuntimeError(f"as_strided: mismatch in length of strides and shape: {list(shape)} and {list(strides)}")
    if any(s < 0 for s in strides) or any(n < 0 for n in shape):
        raise RuntimeError(f"as_strided: Negative strides and sizes are not supported: got sizes {list(shape)}, strides {list(strides)}")
    have = input._storage.node.numel * input._storage.node.dtype.itemsize // input._dtype.itemsize
    if offset < 0 or storage_extent(shape, strides, offset) > have:
        raise RuntimeError(f"as_strided: sizes {list(shape)}, strides {list(strides)}, storage offset {offset} are out of bounds for "
                           f"storage of {have} elements")
    return view_with(input, (shape, strides, offset), _STRIDED, ((shape, strides, offset), geometry_of(input)))


_CLONE = Op("clone", "history", None, None, lambda ctx, g: g)


@public()
def clone(input: Tensor, *, memory_format: Any = None) -> Tensor:
    """A copy with its own storage, differentiable; its elements lie in the input's order unless a memory format says otherwise."""
    if input._strides is None and (memory_format is None or memory_format is contiguous_format):
        return recorded(_CLONE, None, (input,), wrap(node_of(input)))
    return laid_out(input, strides_for(input._shape, input.stride(), memory_format))


def laid_out(t: Tensor, strides: Shape) -> Tensor:
    """A copy with dense strides in any order of dimensions, differentiable."""
    if is_contiguous(t._shape, strides):
        return recorded(_CLONE, None, (t,), wrap(node_of(t)))
    dense = wrap(node_of(t.detach().permute(order_of(strides))))  # type: ignore[attr-defined]
    return recorded(_CLONE, None, (t,), alias(dense, t._shape, strides, 0))


def in_format(t: Tensor, memory_format: Any) -> Tensor:
    """The tensor itself if it lies in a memory format (None: any), else a copy that does."""
    if memory_format is None or memory_format is preserve_format:
        return t
    strides = strides_for(t._shape, t.stride(), memory_format)
    same = all(n == 1 or a == b for n, a, b in zip(t._shape, t.stride(), strides, strict=True))
    return t if same or 0 in t._shape else laid_out(t, strides)


@public(function=False)
def contiguous(self: Tensor, memory_format: Any = None) -> Tensor:
    """The tensor itself if it is contiguous (or lies in the memory format given), else a copy that is."""
    if memory_format is None or memory_format is contiguous_format:
        return self if self.is_contiguous() else clone(self, memory_format=contiguous_format)
    if memory_format is preserve_format:
        raise RuntimeError("preserve memory format is unsupported by the contiguous operator")
    return in_format(self, memory_format)


@public()
def detach(input: Tensor) -> Tensor:
    """A tensor on the same storage without history."""
    return alias(input, input._shape, input._strides, input._offset)

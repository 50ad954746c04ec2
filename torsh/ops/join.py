"""Putting tensors together and repeating or reordering what they hold: cat, stack, repeat, roll, flip, padding."""
from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np

from torsh.autograd.graph import GradNode
from torsh.core.dtypes import PROMOTE, dtype
from torsh.core.shapes import Shape, broadcast, contiguous_strides, wrap_dim
from torsh.graph.node import Node, Op
from torsh.graph.primitives import ASSIGN, EMPTY, cast
from torsh.ops import parts, views
from torsh.ops.dispatch import apply, cast_tensor, check_apart, coarse, public, wide, write_out
from torsh.ops.gather import gather_at, iota, selected
from torsh.ops.parts import select
from torsh.ops.pointwise import where
from torsh.ops.views import region_assigned, slice_dim, zeros_like_shape
from torsh.tensor.storage import leaf
from torsh.tensor.tensor import Tensor, wrap


def _cat_nodes(node: Node, *srcs: Node) -> Node:
    (d,) = node.arg
    strides = contiguous_strides(node.shape)
    whole = Node(EMPTY, (), None, node.shape, node.dtype)
    at = 0
    for s in srcs:
        whole = Node(ASSIGN, (whole, cast(s, node.dtype)), (s.shape, strides, at * strides[d]), node.shape, node.dtype)
        at += s.shape[d]
    return whole


def _cat_vjp(ctx: GradNode, g: Tensor) -> tuple[Tensor | None, ...]:
    (d,) = ctx.arg
    out: list[Tensor | None] = []
    at = 0
    for need, shape in zip(ctx.needs, ctx.shapes, strict=True):
        out.append(slice_dim(g, d, at, shape[d]) if need else None)
        at += shape[d]
    return tuple(out)


_CAT = Op("cat", "coarse", None, _cat_nodes, _cat_vjp)


@public("cat", "concat", "concatenate", method=False)
def cat(tensors: Sequence[Tensor], dim: Any = 0, *, axis: Any = None, out: Tensor | None = None) -> Tensor:
    """Tensors one after the other along a dimension; their dtypes are promoted. Empty vectors are left out.

    Raises RuntimeError for 0-dimensional tensors and for sizes that differ in another dimension, ValueError for no tensors.

    >>> import torsh
    >>> torsh.cat([torsh.tensor([[1, 2]]), torsh.tensor([[3, 4], [5, 6]])])
    tensor([[1, 2],
            [3, 4],
            [5, 6]])
    """
    if isinstance(tensors, Tensor):
        raise TypeError("cat(): argument 'tensors' (position 1) must be tuple of Tensors, not Tensor")
    tensors = tuple(tensors)
    if not tensors:
        raise ValueError("cat(): expected a non-empty list of Tensors")
    dt: dtype = tensors[0]._dtype
    for i, t in enumerate(tensors):
        if not isinstance(t, Tensor):
            raise TypeError(f"cat(): expected Tensor as element {i} in argument 0, but got {type(t).__name__}")
        if not t._shape:
            raise RuntimeError(f"zero-dimensional tensor (at position {i}) cannot be concatenated")
        if t._dtype is not dt:
            dt = PROMOTE[dt, t._dtype]
    parts = tuple([t for t in tensors if t._shape != (0,)]) or tensors[:1]
    first = parts[0]._shape
    d = wrap_dim(dim if axis is None else axis, len(first), "cat")
    # A vector that is left out still takes part in recording: it gets a gradient without elements.
    parts += tuple([t.reshape((*first[:d], 0, *first[d + 1:])) for t in tensors  # type: ignore[attr-defined]
                    if t._shape == (0,) and t is not parts[0] and t.requires_grad])  # type: ignore[attr-defined]
    total = 0
    for t in parts:
        s = t._shape
        if len(s) != len(first):
            raise RuntimeError(f"Tensors must have same number of dimensions: got {len(first)} and {len(s)}")
        if s[:d] != first[:d] or s[d + 1:] != first[d + 1:]:
            where_ = next(i for i, (a, b) in enumerate(zip(first, s, strict=True)) if a != b and i != d)
            i = next(i for i, u in enumerate(tensors) if u is t)
            raise RuntimeError(f"Sizes of tensors must match except in dimension {d}. Expected size {first[where_]} but got size {s[where_]} for "
                               f"tensor number {i} in the list.")
        total += s[d]
    if out is not None:
        check_apart(out, (tensors,), "cat")
    made = apply(_CAT, parts, (d,), (*first[:d], total, *first[d + 1:]), dt)
    return made if out is None else write_out(out, made, "cat")


parts.joined = cat


def _stack_nodes(node: Node, *srcs: Node) -> Node:
    (d,) = node.arg
    strides = contiguous_strides(node.shape)
    around = (*strides[:d], *strides[d + 1:])
    whole = Node(EMPTY, (), None, node.shape, node.dtype)
    for i, s in enumerate(srcs):
        whole = Node(ASSIGN, (whole, cast(s, node.dtype)), (s.shape, around, i * strides[d]), node.shape, node.dtype)
    return whole


def _stack_vjp(ctx: GradNode, g: Tensor) -> tuple[Tensor | None, ...]:
    (d,) = ctx.arg
    return tuple([select(g, d, i) if need else None for i, need in enumerate(ctx.needs)])


_STACK = Op("stack", "coarse", None, _stack_nodes, _stack_vjp)


@public(method=False)
def stack(tensors: Sequence[Tensor], dim: Any = 0, *, out: Tensor | None = None) -> Tensor:
    """Tensors of one shape side by side in a new dimension. Raises RuntimeError for none of them or different shapes."""
    tensors = tuple(tensors)
    if not tensors:
        raise RuntimeError("stack expects a non-empty TensorList")
    first = tensors[0]._shape
    for i, t in enumerate(tensors):
        if t._shape != first:
            raise RuntimeError(f"stack expects each tensor to be equal size, but got {list(first)} at entry 0 and {list(t._shape)} at entry {i}")
    d = wrap_dim(dim, len(first) + 1, "stack")
    dt = tensors[0]._dtype
    for t in tensors:
        if t._dtype is not dt:
            dt = PROMOTE[dt, t._dtype]
    if out is not None:
        check_apart(out, (tensors,), "stack")
    made = apply(_STACK, tensors, (d,), (*first[:d], len(tensors), *first[d:]), dt)
    return made if out is None else write_out(out, made, "stack")


parts.stacked = stack


def _atleast(n: int, shape_of: Any) -> Any:
    def one(t: Tensor) -> Tensor:
        if n == 3 and len(t._shape) in (1, 2):
            return (t if len(t._shape) == 2 else t.unsqueeze(0)).unsqueeze(-1)  # type: ignore[attr-defined,no-any-return]
        return t if len(t._shape) >= n else t.reshape(shape_of(t._shape))  # type: ignore[attr-defined,no-any-return]

    def function(*tensors: Any) -> Any:
        if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
            return tuple(one(t) for t in tensors[0])
        return one(tensors[0]) if len(tensors) == 1 else tuple(one(t) for t in tensors)
    function.__name__ = f"atleast_{n}d"
    function.__doc__ = f"Each tensor with at least {n} dimension{'s' if n > 1 else ''} (new ones have size 1)."
    return public(method=False)(function)


atleast_1d = _atleast(1, lambda s: (1,))
atleast_2d = _atleast(2, lambda s: (1, *s) if s else (1, 1))
atleast_3d = _atleast(3, lambda s: (1, 1, 1) if not s else (1, s[0], 1) if len(s) == 1 else (*s, 1))


def _some(what: str, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Raises RuntimeError for an empty list."""
    if not len(tensors):
        raise RuntimeError(f"{what} expects a non-empty TensorList")
    return list(tensors)


@public("hstack", method=False)
def hstack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """Tensors joined side by side: vectors in dimension 0, others in dimension 1."""
    parts = atleast_1d(_some("hstack", tensors))
    return cat(parts, 0 if parts and len(parts[0]._shape) == 1 else 1, out=out)


@public("vstack", "row_stack", method=False)
def vstack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """Tensors joined as rows, in dimension 0."""
    return cat(atleast_2d(_some("vstack", tensors)), 0, out=out)


@public("dstack", method=False)
def dstack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """Tensors joined in dimension 2."""
    return cat(atleast_3d(_some("dstack", tensors)), 2, out=out)


@public("column_stack", method=False)
def column_stack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """Tensors joined in dimension 1; vectors are columns."""
    return cat([t if len(t._shape) > 1 else t.reshape(-1, 1) for t in tensors], 1, out=out)  # type: ignore[attr-defined]


# ---- repeating


@public(function=False)
def repeat(self: Tensor, *repeats: Any) -> Tensor:
    """The tensor laid side by side so many times in each dimension (new ones in front). Raises RuntimeError for fewer numbers than dimensions."""
    times = views.sizes_of(repeats)
    if len(times) < len(self._shape):
        raise RuntimeError("Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor")
    if any(r < 0 for r in times):
        raise RuntimeError(f"repeat: Trying to create tensor with negative dimension in repeats {list(times)}")
    shape = (1,) * (len(times) - len(self._shape)) + self._shape
    split = tuple([n for s in shape for n in (1, s)])
    wide = tuple([n for r, s in zip(times, shape, strict=True) for n in (r, s)])
    return self.reshape(split).expand(wide).clone().reshape(tuple([r * s for r, s in zip(times, shape, strict=True)]))  # type: ignore[attr-defined,no-any-return]


@public()
def tile(input: Tensor, *dims: Any) -> Tensor:
    """`repeat` with missing leading numbers taken as 1."""
    times = views.sizes_of(dims)
    return repeat(input, (1,) * (len(input._shape) - len(times)) + times)


@public()
def repeat_interleave(input: Tensor, repeats: Any = None, dim: Any = None, *, output_size: Any = None) -> Tensor:
    """Each slice of a dimension (of the flattened tensor by default) repeated in place, as often as `repeats` (a number or a vector) says.

    A vector of repeats alone gives the indices. Raises RuntimeError for negative repeats or a vector of another length.
    """
    if repeats is None:
        return wrap(leaf(np.repeat(np.arange(input._shape[0]), input.tolist())))  # type: ignore[attr-defined]
    if dim is None:
        input, dim = input.reshape(-1), 0  # type: ignore[attr-defined]
    d = wrap_dim(dim, len(input._shape), "repeat_interleave")
    if not input._shape:
        input = input.reshape(1)  # type: ignore[attr-defined]
    if isinstance(repeats, Tensor) and repeats.numel() == 1:
        repeats = int(repeats)
    if isinstance(repeats, (int, Integral)):
        repeats = int(repeats)
        if repeats < 0:
            raise RuntimeError("Repeats must be non-negative")
        s = input._shape
        wide = (*s[:d + 1], repeats, *s[d + 1:])
        return input.unsqueeze(d + 1).expand(wide).clone().reshape((*s[:d], s[d] * repeats, *s[d + 1:]))  # type: ignore[attr-defined,no-any-return]
    counts = np.asarray(repeats.tolist() if isinstance(repeats, Tensor) else repeats)
    if counts.ndim != 1 or (counts.dtype.kind not in "iu" and counts.size):
        raise RuntimeError("repeats must be 0-dim or 1-dim tensor of integers")
    if (counts < 0).any():
        raise RuntimeError("repeats can not be negative")
    if counts.shape[0] != input._shape[d]:
        raise RuntimeError(f"repeats must have the same size as input along dim, but got repeats.size(0) = {counts.shape[0]} and input.size({d}) = "
                           f"{input._shape[d]}")
    return selected(input, d, wrap(leaf(np.repeat(np.arange(len(counts)), counts.astype(np.int64)))))


# ---- reordering


def _flipped(x: Tensor, *dims: int) -> Tensor:
    strides = contiguous_strides(x._shape)
    n = len(x._shape)
    indices = tuple([(x._shape[d] - 1 - iota(x._shape[d])).reshape((-1,) + (1,) * (n - d - 1)) for d in dims])  # type: ignore[attr-defined]
    return gather_at(x, indices, (x._shape, tuple([0 if d in dims else s for d, s in enumerate(strides)]), 0,
                                  tuple([strides[d] for d in dims]), tuple([x._shape[d] for d in dims])))


def _flip_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    return flip(g, ctx.arg)


_FLIP = coarse("flip", _flipped, _flip_vjp)


@public()
def flip(input: Tensor, *axes: Any, dims: Any = None) -> Tensor:
    """The order of some dimensions reversed (a copy). Raises RuntimeError for a dimension named twice."""
    axes = tuple([wrap_dim(d, len(input._shape), "flip") for d in views.sizes_of(axes if dims is None else (dims,))])
    if len(set(axes)) != len(axes):
        raise RuntimeError(f"dim {next(d for d in axes if axes.count(d) > 1)} appears multiple times in the list of dims")
    axes = tuple([d for d in sorted(axes) if d < len(input._shape) and input._shape[d] > 1])
    return apply(_FLIP, (input,), axes, input._shape, input._dtype) if axes else input.clone()  # type: ignore[attr-defined,no-any-return]


@public()
def fliplr(input: Tensor) -> Tensor:
    """Dimension 1 reversed. Raises RuntimeError for fewer than 2 dimensions."""
    if len(input._shape) < 2:
        raise RuntimeError("Input must be >= 2-d.")
    return flip(input, 1)


@public()
def flipud(input: Tensor) -> Tensor:
    """Dimension 0 reversed. Raises RuntimeError for 0 dimensions."""
    if not input._shape:
        raise RuntimeError("Input must be >= 1-d.")
    return flip(input, 0)


@public()
def rot90(input: Tensor, k: Any = 1, dims: Sequence[Any] = (0, 1)) -> Tensor:
    """A quarter turn, `k` times, from the first of two dimensions towards the second."""
    if len(dims) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
    if len(input._shape) < 2:
        raise RuntimeError(f"expected total dims >= 2, but got total dims = {len(input._shape)}")
    a, b = (wrap_dim(d, len(input._shape), "rot90") for d in dims)
    if a == b:
        raise RuntimeError(f"expected rotation dims to be different, but got dim0 = {dims[0]} and dim1 = {dims[1]}")
    k %= 4
    if k == 1:
        return flip(input, b).transpose(a, b)  # type: ignore[attr-defined,no-any-return]
    if k == 2:
        return flip(input, a, b)
    return flip(input, a).transpose(a, b) if k else input.clone()  # type: ignore[attr-defined,no-any-return]


def _rolled(x: Tensor, shifts: Shape, dims: Shape) -> Tensor:
    for s, d in zip(shifts, dims, strict=True):
        n = x._shape[d]
        x = cat([slice_dim(x, d, n - s, s), slice_dim(x, d, 0, n - s)], d)
    return x


def _roll_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    return roll(g, tuple([-s for s in ctx.arg[0]]), ctx.arg[1])


_ROLL = coarse("roll", _rolled, _roll_vjp)


@public()
def roll(input: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """Elements moved along dimensions, those pushed out coming in at the other end; without `dims` in the flattened tensor.

    Raises RuntimeError unless there are as many shifts as dimensions.
    """
    shifts = (int(shifts),) if isinstance(shifts, (int, Integral)) else tuple(shifts)
    if dims is None or (isinstance(dims, (tuple, list)) and not dims):
        if len(shifts) != 1:
            raise RuntimeError(f"shifts and dimensions must align. shifts: {len(shifts)}, dims:0")
        return roll(input.reshape(-1), shifts, (0,)).reshape(input._shape)  # type: ignore[attr-defined,no-any-return]
    axes = (dims,) if isinstance(dims, (int, Integral)) else tuple(dims)
    if len(axes) != len(shifts):
        raise RuntimeError(f"shifts and dimensions must align. shifts: {len(shifts)}, dims:{len(axes)}")
    if axes and not input._shape:
        raise IndexError(f"Dimension specified as {axes[0]} but tensor has no dimensions")
    axes = tuple([wrap_dim(d, len(input._shape), "roll") for d in axes])
    if not input._shape or not input.numel():
        return input.clone()  # type: ignore[attr-defined,no-any-return]
    moves = [(s % input._shape[d], d) for s, d in zip(shifts, axes, strict=True) if s % input._shape[d]]
    if not moves:
        return input.clone()  # type: ignore[attr-defined,no-any-return]
    return apply(_ROLL, (input,), (tuple([s for s, _ in moves]), tuple([d for _, d in moves])), input._shape, input._dtype)


# ---- broadcasting and grids


def _given(tensors: tuple[Any, ...]) -> tuple[Tensor, ...]:
    return tuple(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)) else tensors


@public(method=False)
def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """Views of all tensors in their common shape. Raises RuntimeError if they have none."""
    given = _given(tensors)
    shape: Shape = ()
    for t in given:
        shape = broadcast(shape, t._shape, "broadcast_tensors")
    return tuple([t.expand(shape) for t in given])  # type: ignore[attr-defined]


@public(method=False)
def meshgrid(*tensors: Any, indexing: str | None = None) -> tuple[Tensor, ...]:
    """Coordinates of a grid from its axes: one tensor for each vector, all of the grid's shape. "xy" exchanges the first two dimensions
    ("ij", as in matrices, is the default).

    Raises RuntimeError for tensors of more than one dimension or another indexing.
    """
    given = _given(tensors)
    if not given:
        raise RuntimeError("meshgrid expects a non-empty TensorList")
    indexing = "ij" if indexing is None else indexing
    if indexing not in ("ij", "xy"):
        raise RuntimeError(f'torch.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}')
    for t in given:
        if len(t._shape) > 1:
            raise RuntimeError(f"torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got: {list(t._shape)}")
    swap = indexing == "xy" and len(given) > 1
    order = (given[1], given[0], *given[2:]) if swap else given
    shape = tuple([t.numel() for t in order])
    grids = [t.reshape((1,) * i + (-1,) + (1,) * (len(shape) - i - 1)).expand(shape) for i, t in enumerate(order)]  # type: ignore[attr-defined]
    if swap:
        return (grids[1], grids[0], *grids[2:])
    return tuple(grids)


@public(method=False)
def cartesian_prod(*tensors: Any) -> Tensor:
    """All combinations of the elements of vectors, [count, number of vectors] (the vector itself for one)."""
    given = _given(tensors)
    if len(given) == 1:
        return given[0]
    return stack([g.reshape(-1) for g in meshgrid(*given)], 1)  # type: ignore[attr-defined]


@public(method=False)
def block_diag(*tensors: Any) -> Tensor:
    """Matrices (vectors are rows) along the diagonal of a matrix of zeros. Raises RuntimeError for more than 2 dimensions."""
    given = [atleast_2d(t) for t in _given(tensors)]
    for i, t in enumerate(given):
        if len(t._shape) > 2:
            raise RuntimeError(f"torch.block_diag: Input tensors must have 2 or fewer dimensions. Input {i} has {len(t._shape)} dimensions")
    dt = given[0]._dtype
    for t in given:
        dt = PROMOTE[dt, t._dtype]
    rows, columns = sum([t._shape[0] for t in given]), sum([t._shape[1] for t in given])
    out = zeros_like_shape((rows, columns), given[0].to(dt))
    r = c = 0
    for t in given:
        out = region_assigned(out, t.to(dt), t._shape, (columns, 1), r * columns + c)
        r, c = r + t._shape[0], c + t._shape[1]
    return out


# ---- padding


def pad_amounts(ndim: int, pad: Sequence[Any]) -> list[tuple[int, int]]:
    """(before, after) for each dimension, from PyTorch's flat list, which starts at the last dimension. Raises RuntimeError if it does not fit."""
    if len(pad) % 2 or len(pad) > 2 * ndim:
        raise RuntimeError(f"Padding length must be divisible by 2 and at most twice the number of dimensions of the input, got {len(pad)} for "
                           f"{ndim} dimensions")
    pairs = [(int(pad[i]), int(pad[i + 1])) for i in range(0, len(pad), 2)]
    return [(0, 0)] * (ndim - len(pairs)) + pairs[::-1]


@public(method=False)
def constant_pad_nd(input: Tensor, pad: Sequence[Any], value: Any = 0) -> Tensor:
    """A border of one value around the last dimensions: `pad` is (before, after) for the last, then the one before it, and so on.

    Negative amounts cut off. Raises RuntimeError when a size would become negative.
    """
    amounts = pad_amounts(len(input._shape), pad)
    for d, (before, after) in enumerate(amounts):
        if input._shape[d] + before + after < 0:
            raise RuntimeError(f"The input size {input._shape[d]}, plus negative padding {before} and {after} resulted in a negative output size, "
                               f"which is invalid. Check dimension {d} of your input.")
        cut, end = max(0, -before), max(0, -after)
        if cut or end:
            input = slice_dim(input, d, min(cut, input._shape[d]), max(0, input._shape[d] - cut - end))
    grow = [(max(0, a), max(0, b)) for a, b in amounts]
    if not any(a or b for a, b in grow):
        return input.clone()  # type: ignore[attr-defined,no-any-return]
    shape = tuple([n + a + b for n, (a, b) in zip(input._shape, grow, strict=True)])
    strides = contiguous_strides(shape)
    from torsh.tensor.creation import full
    return region_assigned(full(shape, value, dtype=input._dtype), input, input._shape, strides, sum([a * s for (a, _), s in zip(grow, strides, strict=True)]))


def padded_by_index(input: Tensor, amounts: Sequence[tuple[int, int]], mode: str) -> Tensor:
    """A border from the tensor's own elements: "reflect", "replicate" or "circular", for each dimension (before, after).

    The caller has checked that the amounts fit the mode; negative amounts cut off.
    """
    x = wide(input)  # the gradient of an element is a sum
    for d, (before, after) in enumerate(amounts):
        if before or after:
            n = x._shape[d]
            at = iota(n + before + after) - before
            if mode == "replicate":
                at = at.clamp(0, n - 1)  # type: ignore[attr-defined]
            elif mode == "circular":
                at = where(at < 0, at + n, where(at >= n, at - n, at))
            else:
                at = at.abs()  # type: ignore[attr-defined]
                at = where(at >= n, 2 * (n - 1) - at, at)
            x = selected(x, d, at)
    return cast_tensor(x, input._dtype)


__all__ = ["broadcast_tensors", "cat", "constant_pad_nd", "flip", "pad_amounts", "padded_by_index", "repeat", "roll", "stack", "tile"]

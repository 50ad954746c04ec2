"""Views of a whole tensor in other shapes and orders of dimensions; and all views under one name."""
from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any

from torsh.autograd.graph import GradNode
from torsh.core.shapes import Shape, contiguous_strides, infer_size, numel, view_strides, wrap_dim
from torsh.graph.node import Op
from torsh.graph.primitives import reshape as reshape_node
from torsh.ops import writes as writes  # what writing through views means
from torsh.ops.dispatch import public, recorded, wrap
from torsh.ops.parts import chunk, diagonal, diagonal_geometry, narrow, select, slice_dim, split, tensor_split, unbind, unfold
from torsh.ops.regions import (
    Geometry,
    as_strided,
    clone,
    contiguous,
    dense,
    detach,
    geometry_of,
    in_format,
    laid_out,
    mixed_view,
    overlaps,
    real_geometry,
    region_added,
    region_assigned,
    sizes_of,
    view_vjp,
    view_with,
    zeros_like_shape,
)
from torsh.tensor.tensor import Tensor, alias, attribute, node_of


def _reshape_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    return reshape(g, ctx.shapes[0])


_RESHAPE = Op("view", "history", None, None, _reshape_vjp)


@public("view", function=False)
def view(self: Tensor, *shape: Any, dtype: Any = None) -> Tensor:
    """The same memory with another shape (or, given a dtype, read as that type).

    Raises RuntimeError when the shape does not fit the element count or would need a copy (use `reshape`).
    """
    if dtype is not None or (len(shape) == 1 and hasattr(shape[0], "itemsize") and not isinstance(shape[0], int)):
        return _view_dtype(self, dtype if dtype is not None else shape[0])
    new = infer_size(sizes_of(shape), self.numel())
    if self._strides is None:
        return view_with(self, (new, contiguous_strides(new), self._offset), _RESHAPE, None)
    strides = view_strides(self._shape, self._strides, new)
    if strides is None:
        raise RuntimeError(f"view size is not compatible with input tensor's size and stride (at least one dimension spans across two "
                           f"contiguous subspaces): view {list(new)} of size {list(self._shape)}, stride {list(self._strides)}. "
                           "Use .reshape(...) instead.")
    return view_with(self, (new, strides, self._offset), _RESHAPE, None)


def _view_dtype(t: Tensor, dt: Any) -> Tensor:
    old, new = t._dtype.itemsize, dt.itemsize
    shape, strides, offset = geometry_of(t)
    if old > new:
        if not shape:
            raise RuntimeError(f"self.dim() cannot be 0 to view {t._dtype} as {dt} (different element sizes)")
        if strides[-1] != 1:
            raise RuntimeError(f"self.stride(-1) must be 1 to view {t._dtype} as {dt} (different element sizes), but got {strides[-1]}")
        k = old // new
        shape, strides, offset = (*shape[:-1], shape[-1] * k), (*[s * k for s in strides[:-1]], 1), offset * k
    elif old < new:
        k = new // old
        if not shape or shape[-1] % k or offset % k or strides[-1] != 1 or any(s % k for s in strides[:-1]):
            raise RuntimeError(f"view: cannot view {t._dtype} of shape {list(shape)}, strides {list(strides)}, offset {offset} as {dt}: the "
                               f"last dimension must have stride 1, and it, the offset and the other strides must be divisible by {k}")
        shape, strides, offset = (*shape[:-1], shape[-1] // k), (*[s // k for s in strides[:-1]], 1), offset // k
    out = alias(t, shape, strides, offset, dt)
    return out


@public()
def reshape(input: Tensor, *shape: Any) -> Tensor:
    """The elements in row-major order with another shape: a view where possible, else a copy.

    Raises RuntimeError when the shape does not fit the element count.
    """
    new = infer_size(sizes_of(shape), input.numel())
    if input._strides is None:
        return view_with(input, (new, contiguous_strides(new), input._offset), _RESHAPE, None)
    strides = view_strides(input._shape, input._strides, new)
    if strides is not None:
        return view_with(input, (new, strides, input._offset), _RESHAPE, None)
    return recorded(_RESHAPE_COPY, None, (input,), wrap(reshape_node(node_of(input), new)))


_RESHAPE_COPY = Op("reshape_copy", "history", None, None, _reshape_vjp, grad_name="UnsafeViewBackward0")


def _permute_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    return permute(g, [ctx.arg.index(i) for i in range(len(ctx.arg))])


_PERMUTE = Op("permute", "history", None, None, _permute_vjp)


@public()
def permute(input: Tensor, *dims: Any) -> Tensor:
    """A view with the dimensions in another order. Raises RuntimeError unless `dims` is a permutation."""
    n = len(input._shape)
    order = sizes_of(dims)
    if len(order) != n:
        raise RuntimeError(f"permute(sparse_coo): number of dimensions in the tensor input does not match the length of the desired ordering "
                           f"of dimensions i.e. input.dim() = {n} is not equal to len(dims) = {len(order)}".replace("(sparse_coo)", ""))
    order = tuple(wrap_dim(d, n, "permute") for d in order)
    if len(set(order)) != n:
        raise RuntimeError("permute(): duplicate dims are not allowed.")
    strides = input.stride()
    return view_with(input, (tuple(input._shape[d] for d in order), tuple(strides[d] for d in order), input._offset), _PERMUTE, order)


@public("transpose", "swapaxes", "swapdims", inplace=False)
def transpose(input: Tensor, dim0: Any, dim1: Any) -> Tensor:
    """A view with two dimensions exchanged. Raises IndexError out of range."""
    n = len(input._shape)
    a, b = wrap_dim(dim0, n, "transpose"), wrap_dim(dim1, n, "transpose")
    order = list(range(n))
    if n:
        order[a], order[b] = b, a
    return permute(input, order)


@public()
def t(input: Tensor) -> Tensor:
    """Transposed matrix (vectors and scalars as they are). Raises RuntimeError for more than two dimensions."""
    if len(input._shape) > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {len(input._shape)}D")
    return transpose(input, 0, 1) if len(input._shape) == 2 else permute(input, list(range(len(input._shape))))


@public("movedim", "moveaxis")
def movedim(input: Tensor, source: Any, destination: Any) -> Tensor:
    """A view with dimensions moved to new places. Raises RuntimeError for dimensions named twice."""
    n = len(input._shape)
    src = [wrap_dim(d, n, "movedim") for d in ((source,) if isinstance(source, (int, Integral)) else source)]
    dst = [wrap_dim(d, n, "movedim") for d in ((destination,) if isinstance(destination, (int, Integral)) else destination)]
    if len(src) != len(dst) or len(set(src)) != len(src) or len(set(dst)) != len(dst):
        raise RuntimeError(f"movedim: Invalid source or destination dims: source ({src} dims) should contain the same number of unique dims "
                           f"as destination ({dst} dims)")
    order: list[int] = [-1] * n
    if n == 0:
        return permute(input, order)
    for s, d in zip(src, dst, strict=True):
        order[d] = s
    rest = iter(d for d in range(n) if d not in src)
    return permute(input, [next(rest) if o < 0 else o for o in order])


_EXPAND = Op("expand", "history", None, None, lambda ctx, g: sum_to(g, ctx.shapes[0]))
#: Set by `ops.reduce`: sums a tensor down to a shape that broadcasts to its own.
sum_to: Callable[[Tensor, Shape], Tensor] = None  # type: ignore[assignment]


@public(function=False)
def expand(self: Tensor, *sizes: Any) -> Tensor:
    """A view with dimensions of size 1 repeated (stride 0); -1 keeps a size.

    Raises RuntimeError when another size would have to change.
    """
    new = list(sizes_of(sizes))
    lead = len(new) - len(self._shape)
    if lead < 0:
        raise RuntimeError(f"expand({list(self._shape)}, size={new}): the number of sizes provided ({len(new)}) must be greater or equal to "
                           f"the number of dimensions in the tensor ({len(self._shape)})")
    own = self.stride()
    strides = []
    for i in range(len(new)):
        n = self._shape[i - lead] if i >= lead else 1
        if new[i] == -1:
            if i < lead:
                raise RuntimeError(f"The expanded size of the tensor (-1) isn't allowed in a leading, non-existing dimension {i}")
            new[i] = n
        if (n != new[i] and n != 1) or new[i] < 0:
            raise RuntimeError(f"The expanded size of the tensor ({new[i]}) must match the existing size ({n}) at non-singleton dimension {i}."
                               f"  Target sizes: {new}.  Tensor sizes: {list(self._shape)}")
        strides.append(own[i - lead] if i >= lead and n == new[i] else 0)
    for i in range(lead - 1, -1, -1):  # a new dimension of size 1 gets the stride it would have if it were counted
        if new[i] == 1:
            strides[i] = new[i + 1] * strides[i + 1] if i + 1 < len(new) else 1
    return view_with(self, (tuple(new), tuple(strides), self._offset), _EXPAND, None)


@public(function=False)
def expand_as(self: Tensor, other: Tensor) -> Tensor:
    """`expand` to the shape of another tensor."""
    return expand(self, other._shape)


@public()
def broadcast_to(input: Tensor, size: Sequence[int]) -> Tensor:
    """`expand` as a function."""
    return expand(input, size)


@public(inplace=False)
def unsqueeze(input: Tensor, dim: Any) -> Tensor:
    """A view with a dimension of size 1 inserted. Raises IndexError out of range."""
    n = len(input._shape)
    d = wrap_dim(dim, n + 1, "unsqueeze")
    strides = input.stride()
    step = input._shape[d] * strides[d] if d < n else 1
    return view_with(input, ((*input._shape[:d], 1, *input._shape[d:]), (*strides[:d], step, *strides[d:]), input._offset), _RESHAPE, None)


@public(inplace=False)
def squeeze(input: Tensor, dim: Any = None) -> Tensor:
    """A view without dimensions of size 1 (all of them, or those named). Raises IndexError out of range."""
    n = len(input._shape)
    dims = range(n) if dim is None else [wrap_dim(d, n, "squeeze") for d in ((dim,) if isinstance(dim, (int, Integral)) else dim)]
    keep = [i for i in range(n) if not (i in dims and input._shape[i] == 1)]
    strides = input.stride()
    return view_with(input, (tuple(input._shape[i] for i in keep), tuple(strides[i] for i in keep), input._offset), _RESHAPE, None)


@public()
def flatten(input: Tensor, start_dim: Any = 0, end_dim: Any = -1) -> Tensor:
    """Dimensions `start_dim` to `end_dim` made one. Raises RuntimeError when start is after end."""
    n = len(input._shape)
    a, b = wrap_dim(start_dim, n, "flatten"), wrap_dim(end_dim, n, "flatten")
    if a > b:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if n == 0:
        return reshape(input, (1,))
    return reshape(input, (*input._shape[:a], numel(input._shape[a:b + 1]), *input._shape[b + 1:]))


@public()
def unflatten(input: Tensor, dim: Any, sizes: Sequence[Any]) -> Tensor:
    """One dimension split into several (one may be -1). Raises RuntimeError when the sizes do not fit."""
    d = wrap_dim(dim, len(input._shape), "unflatten")
    return reshape(input, (*input._shape[:d], *infer_size(tuple([operator.index(n) for n in sizes]), input._shape[d]), *input._shape[d + 1:]))


@public()
def ravel(input: Tensor) -> Tensor:
    """All elements in one dimension."""
    return reshape(input, (-1,))


@public(function=False)
def view_as(self: Tensor, other: Tensor) -> Tensor:
    """`view` with the shape of another tensor."""
    return view(self, other._shape)


@public(function=False)
def reshape_as(self: Tensor, other: Tensor) -> Tensor:
    """`reshape` with the shape of another tensor."""
    return reshape(self, other._shape)


attribute("T", property(lambda self: permute(self, list(range(self.ndim))[::-1])))
attribute("mT", property(lambda self: transpose(self, -2, -1)))

__all__ = ["Geometry", "as_strided", "broadcast_to", "chunk", "clone", "contiguous", "dense", "detach", "diagonal", "diagonal_geometry", "expand",
           "expand_as", "flatten", "geometry_of", "in_format", "laid_out", "mixed_view", "movedim", "narrow", "overlaps", "permute", "ravel", "real_geometry",
           "region_added", "region_assigned", "reshape", "reshape_as", "select", "sizes_of", "slice_dim", "split", "squeeze", "sum_to", "t", "tensor_split",
           "transpose", "unbind", "unflatten", "unfold", "unsqueeze", "view", "view_as", "view_vjp", "view_with", "zeros_like_shape"]

"""Views: tensors on the same storage with other geometry, and what writing through them means for autograd.

A view operation is a function from geometry (shape, strides, offset) to geometry. Its derivative, unless a simpler
one is declared, puts the gradient into that region of a zero tensor.
"""
from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from torsh.autograd import graph
from torsh.autograd.graph import GradNode, snapshot
from torsh.core.layouts import contiguous_format, order_of, preserve_format, strides_for
from torsh.core.shapes import Shape, contiguous_strides, infer_size, is_contiguous, numel, storage_extent, view_strides, wrap_dim
from torsh.graph.node import Node, Op
from torsh.graph.primitives import ASSIGN, SCATTER, const
from torsh.graph.primitives import expand as expand_node
from torsh.graph.primitives import reshape as reshape_node
from torsh.ops import dispatch
from torsh.ops.dispatch import apply, cast_tensor, public, recorded, wide, wrap
from torsh.tensor.tensor import Tensor, alias, attribute, node_of

Geometry = tuple[Shape, Shape, int]


def zeros_like_shape(shape: Shape, like: Tensor) -> Tensor:
    """Zeros of a shape with the type of `like`, as a broadcast scalar (no memory)."""
    return wrap(expand_node(const(0, like._dtype), shape))


def _view(t: Tensor, geometry: Geometry, op: Op, arg: Any) -> Tensor:
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


# ---- regions: the functional form of writing through a view


def _overlaps(shape: Shape, strides: Shape) -> bool:
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
    return old, as_strided(_dense(g), shape, strides, offset) if ctx.needs[1] else None


def _dense(g: Tensor) -> Tensor:
    """A gradient whose elements lie in its storage in row-major order from the start, so that regions can be cut out of it."""
    return g if g._strides is None and not g._offset else clone(g, memory_format=contiguous_format)


def _region_expand(node: Node, base: Node, value: Node) -> Node:
    return Node(ASSIGN, (base, value), node.arg, node.shape, node.dtype)


_REGION = Op("region_assigned", "coarse", None, _region_expand, _region_vjp, grad_name="AsStridedScatterBackward0")


def region_added(shape: Shape, value: Tensor, geometry: Geometry) -> Tensor:
    """Zeros of `shape` with `value` added at a strided region that may overlap itself."""
    region, strides, offset = geometry
    if not _overlaps(region, strides):
        return region_assigned(zeros_like_shape(shape, value), value, region, strides, offset)
    added = wide(value)
    return cast_tensor(apply(_REGION_ADD, (added,), (shape, region, strides, offset), shape, added._dtype), value._dtype)


def _region_add_expand(node: Node, value: Node) -> Node:
    shape, region, strides, offset = node.arg
    zeros = expand_node(const(0, node.dtype), shape)
    return Node(SCATTER, (zeros, expand_node(value, region)), (region, strides, offset, (), (), "add"), shape, node.dtype)


def _region_add_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    return as_strided(_dense(g), *ctx.arg[1:])


_REGION_ADD = Op("region_added", "coarse", None, _region_add_expand, _region_add_vjp)


def _region_of(ctx: GradNode, g: Tensor) -> Tensor:
    """The derivative of any view: its region of zeros gets the gradient."""
    geometry, args = ctx.arg
    shape = ctx.shapes[0]
    return region_added(shape, g, geometry(shape, contiguous_strides(shape), 0, *args))


# ---- writing in place


def _through_storage(fn: Callable[[Tensor], Tensor], g: Tensor, base: Geometry, count: int) -> Tensor:
    """Apply `fn` in storage coordinates to a gradient that has a base's geometry."""
    shape, strides, offset = base
    if offset == 0 and is_contiguous(shape, strides) and numel(shape) == count:
        return fn(g)
    whole = region_assigned(zeros_like_shape((count,), g), g, shape, strides, offset)
    return as_strided(fn(whole), shape, strides, offset)


def _write_vjp(ctx: GradNode, g: Tensor) -> tuple[Tensor | None, Tensor | None]:
    (shape, strides, offset), base, count, as_reals, mirrored = ctx.arg
    old = new = None
    if mirrored:  # the write went to the conjugate's memory: so does the gradient
        g = g.conj_physical()
    if as_reals:
        g = _dense(g).resolve_conj().view_as_real()
    if ctx.needs[0]:
        old = _through_storage(lambda w: region_assigned(w, zeros_like_shape(shape, w), shape, strides, offset), g, base, count)
    if ctx.needs[1]:
        whole = g if base[2] == 0 and is_contiguous(base[0], base[1]) and numel(base[0]) == count else \
            region_assigned(zeros_like_shape((count,), g), g, *base)
        new = as_strided(_dense(whole), shape, strides, offset)
    if as_reals and old is not None:
        old = _dense(old).view_as_complex()
    return old.conj_physical() if mirrored and old is not None else old, new


_WRITE = Op("copy_slices", "history", None, None, _write_vjp, grad_name="CopySlices")
_COPY = Op("copy", "history", None, None, lambda ctx, g: (g, zeros_like_shape(ctx.shapes[1], g)), grad_name="CopyBackwards")


def _geometry(t: Tensor) -> Geometry:
    return t._shape, t.stride(), t._offset


def _write_places(target: Tensor, base: Tensor) -> tuple[Geometry, Geometry, int, bool, bool]:
    """The places of a view and of its base, the storage's size, whether these count reals although the base is complex, and whether one
    of the two is on the conjugate of the other's storage.

    Where one is complex and the other real, everything counts reals: PyTorch's gradient of a complex tensor, read as reals, is the
    gradient of its reals.
    """
    region, whole = _geometry(target), _geometry(base)
    real = target._dtype is not base._dtype
    if real and base._dtype.is_complex:
        whole = real_geometry(*whole)
    elif real:
        region = real_geometry(*region)
    unit = (base._dtype.to_real() if real else base._dtype).itemsize
    node = base._storage.node
    return region, whole, node.numel * node.dtype.itemsize // unit, real and base._dtype.is_complex, target._storage is not base._storage


def _rebase(target: Tensor, value: Tensor, node: Node, overwrite: bool) -> None:
    base = target._base
    if base is None:
        fresh = not overwrite and value._grad_fn is not None and value._base is None
        fn = value._grad_fn if fresh else GradNode(_COPY, None, (value, snapshot(target)))
        if not fresh:
            fn.out_meta = ((target._shape, target._dtype),)
        nr = value._output_nr if fresh else 0
        target._write(node)
        target._grad_fn, target._output_nr, target._requires_grad = fn, nr, True
        return
    if target._dtype.is_complex and not base._dtype.is_complex:
        value = value.resolve_conj().view_as_real()
    fn = GradNode(_WRITE, _write_places(target, base), (snapshot(base), value))
    fn.out_meta = ((base._shape, base._dtype),)
    target._write(node)
    base._grad_fn, base._output_nr, base._requires_grad = fn, 0, True


def _regenerate(t: Tensor) -> None:
    base = t._base
    t._view_version = t._storage.version
    if base is None or not base._requires_grad:
        return
    fn = GradNode(_REGENERATED, (*_write_places(t, base), t._dtype), (base,))
    fn.out_meta = ((t._shape, t._dtype),)
    t._grad_fn, t._output_nr, t._requires_grad = fn, 0, True


def _regenerated_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    region, base, count, as_reals, mirrored, dt = ctx.arg
    shape, strides, offset = base
    if dt.is_complex and not ctx.dtypes[0].is_complex:
        g = _dense(g).resolve_conj().view_as_real()
    if offset == 0 and is_contiguous(shape, strides) and numel(shape) == count:
        found = region_added(shape, g, region)
    else:
        found = as_strided(region_added((count,), g, region), shape, strides, offset)
    found = _dense(found).view_as_complex() if as_reals else found
    return found.conj_physical() if mirrored else found


_REGENERATED = Op("as_strided_view", "history", None, None, _regenerated_vjp, grad_name="AsStridedBackward0")
def _overwritten(target: Tensor, fn: GradNode, nr: int) -> None:
    """`target` was written already, by the call that `fn` records: give it (or its base) that history."""
    if target._requires_grad and graph.grad_fn(target) is None:
        raise RuntimeError("a leaf Variable that requires grad has been used in an in-place operation.")
    dispatch.check_writable(target)
    value = wrap(node_of(target))
    value._requires_grad, value._grad_fn, value._output_nr = True, fn, nr
    _rebase(target, value, value._storage.node, False)


dispatch.rebase = _rebase
graph.overwritten = _overwritten
graph.regenerate_view = _regenerate


# ---- the view operations


def _sizes(args: tuple[Any, ...]) -> Shape:
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
    if _overlaps(own[0], own[1]):
        ones = zeros_like_shape(own[0], g) + 1
        times = region_added((count,), ones, (own[0], own[1], own[2] - low))
        whole = whole / times.clamp(min=1)  # type: ignore[attr-defined]
    return as_strided(_dense(whole), own[0], own[1], own[2] - low)


_STRIDED = Op("as_strided", "history", None, None, _strided_vjp)


@public(inplace=False)
def as_strided(input: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None) -> Tensor:
    """A view of the storage with any shape, strides and offset (in elements).

    Raises RuntimeError for negative strides, and for geometry that reaches outside the storage.
    """
    shape, strides = tuple(size), tuple(stride)
    offset = input._offset if storage_offset is None else storage_offset
    if len(shape) != len(strides):
        raise RuntimeError(f"as_strided: mismatch in length of strides and shape: {list(shape)} and {list(strides)}")
    if any(s < 0 for s in strides) or any(n < 0 for n in shape):
        raise RuntimeError(f"as_strided: Negative strides and sizes are not supported: got sizes {list(shape)}, strides {list(strides)}")
    have = input._storage.node.numel * input._storage.node.dtype.itemsize // input._dtype.itemsize
    if offset < 0 or storage_extent(shape, strides, offset) > have:
        raise RuntimeError(f"as_strided: sizes {list(shape)}, strides {list(strides)}, storage offset {offset} are out of bounds for "
                           f"storage of {have} elements")
    return _view(input, (shape, strides, offset), _STRIDED, ((shape, strides, offset), _geometry(input)))


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
    new = infer_size(_sizes(shape), self.numel())
    if self._strides is None:
        return _view(self, (new, contiguous_strides(new), self._offset), _RESHAPE, None)
    strides = view_strides(self._shape, self._strides, new)
    if strides is None:
        raise RuntimeError(f"view size is not compatible with input tensor's size and stride (at least one dimension spans across two "
                           f"contiguous subspaces): view {list(new)} of size {list(self._shape)}, stride {list(self._strides)}. "
                           "Use .reshape(...) instead.")
    return _view(self, (new, strides, self._offset), _RESHAPE, None)


def _view_dtype(t: Tensor, dt: Any) -> Tensor:
    old, new = t._dtype.itemsize, dt.itemsize
    shape, strides, offset = _geometry(t)
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
    new = infer_size(_sizes(shape), input.numel())
    if input._strides is None:
        return _view(input, (new, contiguous_strides(new), input._offset), _RESHAPE, None)
    strides = view_strides(input._shape, input._strides, new)
    if strides is not None:
        return _view(input, (new, strides, input._offset), _RESHAPE, None)
    return recorded(_RESHAPE_COPY, None, (input,), wrap(reshape_node(node_of(input), new)))


_RESHAPE_COPY = Op("reshape_copy", "history", None, None, _reshape_vjp, grad_name="UnsafeViewBackward0")


def _permute_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    return permute(g, [ctx.arg.index(i) for i in range(len(ctx.arg))])


_PERMUTE = Op("permute", "history", None, None, _permute_vjp)


@public()
def permute(input: Tensor, *dims: Any) -> Tensor:
    """A view with the dimensions in another order. Raises RuntimeError unless `dims` is a permutation."""
    n = len(input._shape)
    order = _sizes(dims)
    if len(order) != n:
        raise RuntimeError(f"permute(sparse_coo): number of dimensions in the tensor input does not match the length of the desired ordering "
                           f"of dimensions i.e. input.dim() = {n} is not equal to len(dims) = {len(order)}".replace("(sparse_coo)", ""))
    order = tuple(wrap_dim(d, n, "permute") for d in order)
    if len(set(order)) != n:
        raise RuntimeError("permute(): duplicate dims are not allowed.")
    strides = input.stride()
    return _view(input, (tuple(input._shape[d] for d in order), tuple(strides[d] for d in order), input._offset), _PERMUTE, order)


@public("transpose", "swapaxes", "swapdims", inplace=False)
def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
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
    src = [wrap_dim(d, n, "movedim") for d in ((source,) if isinstance(source, int) else source)]
    dst = [wrap_dim(d, n, "movedim") for d in ((destination,) if isinstance(destination, int) else destination)]
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
    new = list(_sizes(sizes))
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
    return _view(self, (tuple(new), tuple(strides), self._offset), _EXPAND, None)


@public(function=False)
def expand_as(self: Tensor, other: Tensor) -> Tensor:
    """`expand` to the shape of another tensor."""
    return expand(self, other._shape)


@public()
def broadcast_to(input: Tensor, size: Sequence[int]) -> Tensor:
    """`expand` as a function."""
    return expand(input, size)


@public(inplace=False)
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """A view with a dimension of size 1 inserted. Raises IndexError out of range."""
    n = len(input._shape)
    d = wrap_dim(dim, n + 1, "unsqueeze")
    strides = input.stride()
    step = input._shape[d] * strides[d] if d < n else 1
    return _view(input, ((*input._shape[:d], 1, *input._shape[d:]), (*strides[:d], step, *strides[d:]), input._offset), _RESHAPE, None)


@public(inplace=False)
def squeeze(input: Tensor, dim: Any = None) -> Tensor:
    """A view without dimensions of size 1 (all of them, or those named). Raises IndexError out of range."""
    n = len(input._shape)
    dims = range(n) if dim is None else [wrap_dim(d, n, "squeeze") for d in ((dim,) if isinstance(dim, int) else dim)]
    keep = [i for i in range(n) if not (i in dims and input._shape[i] == 1)]
    strides = input.stride()
    return _view(input, (tuple(input._shape[i] for i in keep), tuple(strides[i] for i in keep), input._offset), _RESHAPE, None)


@public()
def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Dimensions `start_dim` to `end_dim` made one. Raises RuntimeError when start is after end."""
    n = len(input._shape)
    a, b = wrap_dim(start_dim, n, "flatten"), wrap_dim(end_dim, n, "flatten")
    if a > b:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if n == 0:
        return reshape(input, (1,))
    return reshape(input, (*input._shape[:a], numel(input._shape[a:b + 1]), *input._shape[b + 1:]))


@public()
def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """One dimension split into several (one may be -1). Raises RuntimeError when the sizes do not fit."""
    d = wrap_dim(dim, len(input._shape), "unflatten")
    return reshape(input, (*input._shape[:d], *infer_size(tuple(sizes), input._shape[d]), *input._shape[d + 1:]))


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


# ---- parts


def _slice_geometry(shape: Shape, strides: Shape, offset: int, d: int, start: int, count: int, step: int) -> Geometry:
    return (*shape[:d], count, *shape[d + 1:]), (*strides[:d], strides[d] * step, *strides[d + 1:]), offset + start * strides[d]


_SLICE = Op("slice", "history", None, None, _region_of)


def slice_dim(t: Tensor, d: int, start: int, count: int, step: int = 1) -> Tensor:
    """Elements start, start + step, ... of one dimension (checked by the caller)."""
    args = (d, start, count, step)
    return _view(t, _slice_geometry(*_geometry(t), *args), _SLICE, (_slice_geometry, args))


@public()
def narrow(input: Tensor, dim: int, start: Any, length: int) -> Tensor:
    """A view of `length` elements of a dimension. Raises IndexError or RuntimeError out of range."""
    if not input._shape:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    if isinstance(start, Tensor) and (start._shape or start._dtype.category != 1):
        raise RuntimeError("start must be an 0-dim integral Tensor.")
    d = wrap_dim(dim, len(input._shape), "narrow")
    n = input._shape[d]
    start = int(start)
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    if not -n <= start <= n:
        raise IndexError(f"start out of range (expected to be in range of [{-n}, {n}], but got {start})")
    start += n if start < 0 else 0
    if start + length > n:
        raise RuntimeError(f"start ({start}) + length ({length}) exceeds dimension size ({n}).")
    return slice_dim(input, d, start, length)


def _select_geometry(shape: Shape, strides: Shape, offset: int, d: int, i: int) -> Geometry:
    return (*shape[:d], *shape[d + 1:]), (*strides[:d], *strides[d + 1:]), offset + i * strides[d]


_SELECT = Op("select", "history", None, None, _region_of)


@public()
def select(input: Tensor, dim: int, index: Any) -> Tensor:
    """A view at one index of a dimension, which goes. Raises IndexError out of range."""
    if not input._shape:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    d = wrap_dim(dim, len(input._shape), "select")
    n, i = input._shape[d], int(index)
    if not -n <= i < n:
        raise IndexError(f"select(): index {i} out of range for tensor of size {list(input._shape)} at dimension {d}")
    args = (d, i + n if i < 0 else i)
    return _view(input, _select_geometry(*_geometry(input), *args), _SELECT, (_select_geometry, args))


def _diagonal_geometry(shape: Shape, strides: Shape, offset: int, k: int, a: int, b: int) -> Geometry:
    count = max(0, min(shape[a], shape[b] - k) if k >= 0 else min(shape[a] + k, shape[b]))
    start = offset + (k * strides[b] if k >= 0 else -k * strides[a]) if count else offset
    keep = [i for i in range(len(shape)) if i not in (a, b)]
    return (*[shape[i] for i in keep], count), (*[strides[i] for i in keep], strides[a] + strides[b]), start


_DIAGONAL = Op("diagonal", "history", None, None, _region_of)


@public()
def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """A view of a diagonal of two dimensions, as the last dimension. Raises RuntimeError if they are the same."""
    a, b = wrap_dim(dim1, len(input._shape), "diagonal"), wrap_dim(dim2, len(input._shape), "diagonal")
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    return _view(input, _diagonal_geometry(*_geometry(input), offset, a, b), _DIAGONAL, (_diagonal_geometry, (offset, a, b)))


def _unfold_geometry(shape: Shape, strides: Shape, offset: int, d: int, size: int, step: int) -> Geometry:
    if not shape:
        return (size,), (1,), offset
    return (*shape[:d], (shape[d] - size) // step + 1, *shape[d + 1:], size), (*strides[:d], strides[d] * step, *strides[d + 1:], strides[d]), offset


_UNFOLD = Op("unfold", "history", None, None, _region_of)


@public(function=False)
def unfold(self: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """A view of all windows of `size` along a dimension, `step` apart, as a new last dimension.

    Raises RuntimeError for a window larger than the dimension or a step that is not positive.
    """
    d = wrap_dim(dimension, len(self._shape), "unfold")
    n = self._shape[d] if self._shape else 1
    if size > n or size < 0:
        raise RuntimeError(f"maximum size for tensor at dimension {d} is {n} but size is {size}")
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    return _view(self, _unfold_geometry(*_geometry(self), d, size, step), _UNFOLD, (_unfold_geometry, (d, size, step)))


@public()
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """The parts at each index of a dimension, as views."""
    d = wrap_dim(dim, len(input._shape), "unbind")
    return _several("Unbind", [select(input, d, i) for i in range(input._shape[d])])


def _several(name: str, views: list[Tensor]) -> tuple[Tensor, ...]:
    """Views that one call makes together: autograd does not follow writes to one of them, and `dispatch.check_writable` refuses them."""
    for i, view in enumerate(views):
        if view._requires_grad:
            view._of_several = f"Output {i} of {name}"
    return tuple(views)


@public()
def split(input: Tensor, split_size_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of consecutive parts of a dimension: of one size (the last may be smaller), or of the sizes given.

    Raises RuntimeError when given sizes do not add up.
    """
    d = wrap_dim(dim, len(input._shape), "split")
    n = input._shape[d]
    if isinstance(split_size_or_sections, int):
        size = split_size_or_sections
        if size < 0 or (size == 0 and n):
            raise RuntimeError(f"split expects split_size be non-negative, but got split_size={size}")
        sizes = [min(size, n - i) for i in range(0, n, size)] if n else [0]
    else:
        sizes = [int(s) for s in split_size_or_sections]
        if sum(sizes) != n or min(sizes, default=0) < 0:
            raise RuntimeError(f"split_with_sizes expects split_sizes to sum exactly to {n} (input tensor's size at dimension {d}), but got "
                               f"split_sizes={sizes}")
    out, at = [], 0
    for s in sizes:
        out.append(slice_dim(input, d, at, s))
        at += s
    return _several("Split" if isinstance(split_size_or_sections, int) else "SplitWithSizes", out)


@public()
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` views of equal size (the last may be smaller). Raises RuntimeError unless chunks > 0."""
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    n = input._shape[wrap_dim(dim, len(input._shape), "chunk")]
    if n == 0:
        return tuple(slice_dim(input, wrap_dim(dim, len(input._shape)), 0, 0) for _ in range(chunks))
    return split(input, -(-n // chunks), dim)


@public()
def tensor_split(input: Tensor, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of a dimension cut into n nearly equal parts, or at the given indices."""
    if not input._shape:
        raise RuntimeError("tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims")
    d = wrap_dim(dim, len(input._shape), "tensor_split")
    n = input._shape[d]
    if isinstance(indices_or_sections, Tensor):
        if indices_or_sections._dtype.name != "int64":
            raise RuntimeError(f"tensor_split expected tensor_indices_or_sections to have dtype of long, but got {indices_or_sections._dtype.title}")
        if len(indices_or_sections._shape) > 1:
            raise RuntimeError(f"tensor_split expected tensor_indices_or_sections to be a zero-dimensional or one-dimensional tensor, but got a tensor "
                               f"with {len(indices_or_sections._shape)} dims")
        indices_or_sections = indices_or_sections.tolist()
    if isinstance(indices_or_sections, int):
        k = indices_or_sections
        if k <= 0:
            raise RuntimeError(f"number of sections must be larger than 0, got {k}")
        cuts = [0]
        for i in range(k):
            cuts.append(cuts[-1] + n // k + (1 if i < n % k else 0))
        return tuple(slice_dim(input, d, a, b - a) for a, b in itertools.pairwise(cuts))
    points = [int(i) for i in indices_or_sections]
    ends = [slice(None, p).indices(n)[1] for p in points] + [n]
    starts = [0] + ends[:-1]
    return tuple(slice_dim(input, d, a, max(0, b - a)) for a, b in zip(starts, ends, strict=True))


# ---- same elements, new storage or no history

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
    dense = wrap(permute(t.detach(), order_of(strides))._node())  # type: ignore[attr-defined]
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


attribute("T", property(lambda self: permute(self, list(range(self.ndim))[::-1])))
attribute("mT", property(lambda self: transpose(self, -2, -1)))

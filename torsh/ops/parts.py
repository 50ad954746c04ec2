"""Views of parts of a tensor: slices, single indices, diagonals, windows; and tensors cut into several."""
from __future__ import annotations

import itertools
import operator
from collections.abc import Callable
from numbers import Integral
from typing import Any

from torsh.autograd.graph import GradNode, needs_record, record
from torsh.core.shapes import Shape, wrap_dim
from torsh.graph.node import Op
from torsh.ops.dispatch import public, recorded
from torsh.ops.regions import Geometry, geometry_of, view_vjp, view_with, zeros_like_shape
from torsh.tensor.tensor import Tensor, alias, method


def _slice_geometry(shape: Shape, strides: Shape, offset: int, d: int, start: int, count: int, step: int) -> Geometry:
    return (*shape[:d], count, *shape[d + 1:]), (*strides[:d], strides[d] * step, *strides[d + 1:]), offset + start * strides[d]


_SLICE = Op("slice", "history", None, None, view_vjp)


def slice_dim(t: Tensor, d: int, start: int, count: int, step: int = 1) -> Tensor:
    """Elements start, start + step, ... of one dimension (checked by the caller)."""
    args = (d, start, count, step)
    return view_with(t, _slice_geometry(*geometry_of(t), *args), _SLICE, (_slice_geometry, args))


@public()
def narrow(input: Tensor, dim: Any, start: Any, length: Any) -> Tensor:
    """A view of `length` elements of a dimension. Raises IndexError or RuntimeError out of range."""
    if not input._shape:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    if isinstance(start, Tensor) and (start._shape or start._dtype.category != 1):
        raise RuntimeError("start must be an 0-dim integral Tensor.")
    d = wrap_dim(dim, len(input._shape), "narrow")
    n = input._shape[d]
    start, length = int(start), int(length)
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


_SELECT = Op("select", "history", None, None, view_vjp)


@public()
def select(input: Tensor, dim: Any, index: Any) -> Tensor:
    """A view at one index of a dimension, which goes. Raises IndexError out of range."""
    if not input._shape:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    d = wrap_dim(dim, len(input._shape), "select")
    n, i = input._shape[d], int(index)
    if not -n <= i < n:
        raise IndexError(f"select(): index {i} out of range for tensor of size {list(input._shape)} at dimension {d}")
    args = (d, i + n if i < 0 else i)
    return view_with(input, _select_geometry(*geometry_of(input), *args), _SELECT, (_select_geometry, args))


def diagonal_geometry(shape: Shape, strides: Shape, offset: int, k: int, a: int, b: int) -> Geometry:
    count = max(0, min(shape[a], shape[b] - k) if k >= 0 else min(shape[a] + k, shape[b]))
    start = offset + (k * strides[b] if k >= 0 else -k * strides[a]) if count else offset
    keep = [i for i in range(len(shape)) if i not in (a, b)]
    return (*[shape[i] for i in keep], count), (*[strides[i] for i in keep], strides[a] + strides[b]), start


_DIAGONAL = Op("diagonal", "history", None, None, view_vjp)


@public()
def diagonal(input: Tensor, offset: Any = 0, dim1: Any = 0, dim2: Any = 1) -> Tensor:
    """A view of a diagonal of two dimensions, as the last dimension. Raises RuntimeError if they are the same."""
    a, b = wrap_dim(dim1, len(input._shape), "diagonal"), wrap_dim(dim2, len(input._shape), "diagonal")
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    offset = operator.index(offset)
    return view_with(input, diagonal_geometry(*geometry_of(input), offset, a, b), _DIAGONAL, (diagonal_geometry, (offset, a, b)))


def _unfold_geometry(shape: Shape, strides: Shape, offset: int, d: int, size: int, step: int) -> Geometry:
    if not shape:
        return (size,), (1,), offset
    return (*shape[:d], (shape[d] - size) // step + 1, *shape[d + 1:], size), (*strides[:d], strides[d] * step, *strides[d + 1:], strides[d]), offset


_UNFOLD = Op("unfold", "history", None, None, view_vjp)


@public(function=False)
def unfold(self: Tensor, dimension: Any, size: Any, step: Any) -> Tensor:
    """A view of all windows of `size` along a dimension, `step` apart, as a new last dimension.

    Raises RuntimeError for a window larger than the dimension or a step that is not positive.
    """
    d = wrap_dim(dimension, len(self._shape), "unfold")
    size, step = operator.index(size), operator.index(step)
    n = self._shape[d] if self._shape else 1
    if size > n or size < 0:
        raise RuntimeError(f"maximum size for tensor at dimension {d} is {n} but size is {size}")
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    return view_with(self, _unfold_geometry(*geometry_of(self), d, size, step), _UNFOLD, (_unfold_geometry, (d, size, step)))


@public()
def unbind(input: Tensor, dim: Any = 0) -> tuple[Tensor, ...]:
    """The parts at each index of a dimension, as views."""
    d = wrap_dim(dim, len(input._shape), "unbind")
    whole = geometry_of(input)
    return _several("Unbind", _UNBIND, d, input, [_select_geometry(*whole, d, i) for i in range(input._shape[d])])


#: Set by `ops.join`: `cat` and `stack`.
joined: Callable[[list[Tensor], int], Tensor] = None  # type: ignore[assignment]
stacked: Callable[[list[Tensor], int], Tensor] = None  # type: ignore[assignment]


def _parts(ctx: GradNode, grads: tuple[Tensor | None, ...]) -> list[Tensor]:
    """The gradients of all outputs, zeros for those that are not used."""
    like = next(g for g in grads if g is not None)
    return [zeros_like_shape(shape, like) if g is None else g for g, (shape, _) in zip(grads, ctx.out_meta, strict=True)]


def _split_vjp(ctx: GradNode, *grads: Tensor | None) -> Tensor:
    return joined(_parts(ctx, grads), ctx.arg)


def _unbind_vjp(ctx: GradNode, *grads: Tensor | None) -> Tensor:
    return stacked(_parts(ctx, grads), ctx.arg)


_SPLIT = Op("split", "history", None, None, _split_vjp)
_SPLIT_SIZES = Op("split_with_sizes", "history", None, None, _split_vjp)
_UNBIND = Op("unbind", "history", None, None, _unbind_vjp)


def _several(name: str, op: Op, d: int, t: Tensor, places: list[Geometry]) -> tuple[Tensor, ...]:
    """Views that one call makes together, with one record: autograd does not follow writes to one of them, and `dispatch.check_writable`
    refuses them."""
    views = [alias(t, *place) for place in places]
    base = t if t._base is None else t._base
    for view in views:
        view._base, view._view_version = base, t._storage.version
    if views and needs_record((t,)):
        record(op, d, (t,), tuple(views))
        for i, view in enumerate(views):
            if view._requires_grad:
                view._of_several = f"Output {i} of {name}"
    else:
        for view in views:
            recorded(op, d, (t,), view)
    return tuple(views)


@public(method=False)
def split(tensor: Tensor, split_size_or_sections: Any, dim: Any = 0) -> tuple[Tensor, ...]:
    """Views of consecutive parts of a dimension: of one size (the last may be smaller), or of the sizes given.

    Raises RuntimeError when given sizes do not add up.
    """
    d = wrap_dim(dim, len(tensor._shape), "split")
    n = tensor._shape[d]
    if isinstance(split_size_or_sections, (int, Integral)):
        size = int(split_size_or_sections)
        if size < 0 or (size == 0 and n):
            raise RuntimeError(f"split expects split_size be non-negative, but got split_size={size}")
        sizes = [min(size, n - i) for i in range(0, n, size)] if n else [0]
    else:
        sizes = [int(s) for s in split_size_or_sections]
        if sum(sizes) != n or min(sizes, default=0) < 0:
            raise RuntimeError(f"split_with_sizes expects split_sizes to sum exactly to {n} (input tensor's size at dimension {d}), but got "
                               f"split_sizes={sizes}")
    whole, places, at = geometry_of(tensor), [], 0
    for s in sizes:
        places.append(_slice_geometry(*whole, d, at, s, 1))
        at += s
    equal = isinstance(split_size_or_sections, (int, Integral))
    return _several("Split" if equal else "SplitWithSizes", _SPLIT if equal else _SPLIT_SIZES, d, tensor, places)


@method("split")
def _split_method(self: Tensor, split_size: Any, dim: Any = 0) -> tuple[Tensor, ...]:
    """Views of consecutive parts of a dimension, as `torsh.split`."""
    return split(self, split_size, dim)


@public()
def chunk(input: Tensor, chunks: Any, dim: Any = 0) -> tuple[Tensor, ...]:
    """At most `chunks` views of equal size (the last may be smaller). Raises RuntimeError unless chunks > 0."""
    chunks = operator.index(chunks)
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    n = input._shape[wrap_dim(dim, len(input._shape), "chunk")]
    if n == 0:
        return tuple(slice_dim(input, wrap_dim(dim, len(input._shape)), 0, 0) for _ in range(chunks))
    return split(input, -(-n // chunks), dim)


@public()
def tensor_split(input: Tensor, indices_or_sections: Any, dim: Any = 0) -> tuple[Tensor, ...]:
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
    if isinstance(indices_or_sections, (int, Integral)):
        k = int(indices_or_sections)
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

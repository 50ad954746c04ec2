"""Reading elements at computed places: the gather primitive, and what is made of it (index_select, gather, take...).

Writing at computed places is in `ops.scatter`; the two are each other's derivatives.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from torsh.autograd.graph import GradNode
from torsh.core.dtypes import bool_, int32, int64
from torsh.core.shapes import Shape, broadcast, contiguous_strides, numel, wrap_dim
from torsh.graph.node import Node
from torsh.graph.primitives import GATHER, IOTA, SCATTER
from torsh.graph.primitives import expand as expand_node
from torsh.graph.primitives import reshape as reshape_node
from torsh.ops.dispatch import apply, cast_tensor, public, recorded
from torsh.ops.pointwise import where
from torsh.ops.views import zeros_like_shape
from torsh.tensor.storage import leaf
from torsh.tensor.tensor import Tensor, wrap

#: (result shape, strides of the base for each result dimension, offset, stride and size of the dimension of each index):
#: addresses in the base as contiguous memory, as the gather primitive takes them.
Places = tuple[Shape, Shape, int, Shape, Shape]
MOST_INDICES = 16


def gather_at(base: Tensor, indices: tuple[Tensor, ...], places: Places) -> Tensor:
    """The elements of `base` at `places`; the indices (int64, not negative) broadcast to the result's shape."""
    node, arg, storage = None, places, base._storage
    if (base._strides is not None or base._offset) and storage.outside is None and storage.node.dtype is base._dtype:
        # Read through the view where it lies; the record keeps the contiguous coordinates.
        found = _in_storage(base, places)
        if found is not None:
            node, arg = storage.node, found
    out = wrap(Node(GATHER, (node or base._node(), *[i._node() for i in indices]), arg, places[0], base._dtype))
    return recorded(GATHER, places, (base, *indices), out)


def _in_storage(base: Tensor, places: Places) -> Places | None:
    """Contiguous coordinates of a strided view as coordinates of its storage, if every stride is that of one dimension."""
    shape, strides, offset, index_strides, sizes = places
    real = {logical: (own, n) for logical, own, n in zip(contiguous_strides(base._shape), base.stride(), base._shape, strict=True) if n != 1}
    none = (0, 1)
    if offset or any(n > 1 and s and real.get(s, none)[1] < n for s, n in zip((*strides, *index_strides), (*shape, *sizes), strict=True)):
        return None
    return (shape, tuple([real.get(s, none)[0] for s in strides]), base._offset,
            tuple([real.get(s, none)[0] for s in index_strides]), sizes)


def scatter_at(base: Tensor, value: Tensor, indices: tuple[Tensor, ...], places: Places, mode: str) -> Tensor:
    """`base` (as contiguous memory) with `value` (of the places' shape, or broadcast to it) written at `places`.

    `mode` is "set" (in row-major order: the last one stays), "add", "mul", "max" or "min"; only "set" and "add" are
    differentiable here.
    """
    return apply(SCATTER, (base, value, *indices), (*places, mode), base._shape, base._dtype,
                 (base._node(), expand_node(value._node(), places[0]), *[i._node() for i in indices]))


def _gather_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    indices = tuple([ctx[i] for i in range(1, len(ctx.shapes))])
    return scatter_at(zeros_like_shape(ctx.shapes[0], g), g, indices, ctx.arg, "add")


def _scatter_vjp(ctx: GradNode, g: Tensor) -> tuple[Tensor | None, ...]:
    indices = tuple([ctx[i] for i in range(2, len(ctx.shapes))])
    places, mode = ctx.arg[:5], ctx.arg[5]
    if mode not in ("set", "add"):
        raise RuntimeError(f"the derivative of scatter with mode {mode!r} is that of scatter_reduce")
    old: Tensor | None = g
    if mode == "set":
        old = scatter_at(g, zeros_like_shape((), g), indices, places, "set") if ctx.needs[0] else None
    return old, gather_at(g, indices, places) if ctx.needs[1] else None


GATHER.vjp, GATHER.save_inputs, GATHER.grad_name = _gather_vjp, tuple(range(1, MOST_INDICES + 1)), "IndexBackward0"
SCATTER.vjp, SCATTER.save_inputs, SCATTER.grad_name = _scatter_vjp, tuple(range(2, MOST_INDICES + 2)), "IndexPutBackward0"


# ---- indices


def iota(n: int) -> Tensor:
    """0, 1, ..., n - 1 as int64."""
    return wrap(Node(IOTA, (), None, (n,), int64))


def index_bounds(index: Tensor) -> tuple[int, int] | None:
    """(smallest, largest) index if it is known without computing anything. None if not, or if there are none."""
    storage = index._storage
    node = storage.node
    if node.buffer is None or node.dtype is not index._dtype or not index.numel():
        return None
    if storage.outside is not None or node.numel != index.numel():
        window = index._window()
        return int(window.min()), int(window.max())
    if node.bounds is None:
        memory = storage.memory()
        node.bounds = int(memory.min()), int(memory.max())
    return node.bounds


def checked_index(index: Tensor, size: int, message: str, error: type[Exception] = IndexError, negative: bool = False) -> Tensor:
    """`index` as int64 between 0 and `size`; if `negative`, negative ones count from the end.

    Raises `error` with `message` ({index} and {size} filled in) at once if the index is realized and out of range;
    otherwise computing it raises IndexError.
    """
    known = index_bounds(index)
    if known is not None:
        low, high = known
        if high >= size or low < (-size if negative else 0):
            raise error(message.format(index=high if high >= size else low, size=size))
        negative = negative and low < 0
    elif size == 0 and index.numel():
        raise error(message.format(index=0, size=size))
    index = cast_tensor(index.detach() if index._requires_grad else index, int64)  # type: ignore[attr-defined]
    return where(index < 0, index + size, index) if negative else index  # type: ignore[no-any-return]


def integer_index(index: Any, what: str) -> Tensor:
    """Raises RuntimeError unless `index` is an int32 or int64 tensor (or has no elements)."""
    if not isinstance(index, Tensor):
        raise TypeError(f"{what}(): argument 'index' must be Tensor, not {type(index).__name__}")
    if index._dtype is not int64 and index._dtype is not int32 and index.numel():
        raise RuntimeError(f"{what}(): Expected dtype int32/int64 for index")
    return index


def with_trailing(index: Tensor, count: int) -> Tensor:
    """An index with so many dimensions of size 1 after its own. Indices have no history, so this is a node and no view."""
    return wrap(reshape_node(index._node(), index._shape + (1,) * count)) if count else index


def along(shape: Shape, dim: int, index: Tensor) -> Tensor:
    """A vector of indices shaped so that it varies along `dim` of a result with this many dimensions."""
    return with_trailing(index, len(shape) - dim - 1)


def along_places(shape: Shape, dim: int, count: int) -> Places:
    """Places for whole slices of a dimension, picked by one index vector of `count` elements."""
    strides = contiguous_strides(shape)
    return (*shape[:dim], count, *shape[dim + 1:]), (*strides[:dim], 0, *strides[dim + 1:]), 0, (strides[dim],), (shape[dim],)


def box_places(shape: Shape, dim: int, index_shape: Shape) -> Places:
    """Places for one element along a dimension for each element of an index of `index_shape`."""
    strides = contiguous_strides(shape)
    return index_shape, (*strides[:dim], 0, *strides[dim + 1:]), 0, (strides[dim],), (shape[dim],)


def selected(input: Tensor, d: int, index: Tensor) -> Tensor:
    """Slices of dimension `d` at a vector of indices that were checked."""
    return gather_at(input, (along(input._shape, d, index),), along_places(input._shape, d, index._shape[0]))


# ---- functions


@public(out="exact")
def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """Slices of a dimension at the indices of a vector (int32 or int64).

    Raises IndexError for an index that is not a vector or out of range, RuntimeError for another dtype.

    >>> import torsh
    >>> torsh.index_select(torsh.tensor([[1, 2, 3], [4, 5, 6]]), 1, torsh.tensor([2, 0]))
    tensor([[3, 1],
            [6, 4]])
    """
    d = wrap_dim(dim, len(input._shape), "index_select")
    integer_index(index, "index_select")
    if len(index._shape) > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")
    if not input._shape:
        if index.numel() != 1:
            raise RuntimeError("index_select(): Index to scalar can have only 1 value, got " f"{index.numel()} value(s)")
        return selected(input.reshape(1), 0, checked_index(index.reshape(1), 1, "index out of range in self")).reshape(())  # type: ignore[attr-defined,no-any-return]
    checked = checked_index(index, input._shape[d], "index out of range in self")
    return selected(input, d, checked if index._shape else checked.reshape(1))  # type: ignore[attr-defined]


def check_box(what: str, dim: int, index: Tensor, *others: tuple[str, Shape, bool]) -> None:
    """The shape rules of gather and scatter: as many dimensions, and no size (except along `dim`, if so told) beyond the others'."""
    own = index._shape or (1,)
    for name, shape, except_dim in others:
        shape = shape or (1,)
        if len(shape) != len(own):
            raise RuntimeError(f"Index tensor must have the same number of dimensions as {name} tensor ({what}: index {list(own)}, "
                               f"{name} {list(shape)})")
        if any(n > m for i, (n, m) in enumerate(zip(own, shape, strict=True)) if i != dim or not except_dim):
            raise RuntimeError(f"{what}(): Expected index {list(own)} to be no larger than {name} {list(shape)}"
                               + (f" apart from dimension {dim}" if except_dim else ""))


@public(out="exact")
def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """`out[i][j]... = input[i][index[i][j]...]...` for `dim` 1, and so on: a tensor of the shape of `index`.

    Raises RuntimeError for an index of another rank or dtype, larger than `input` beside `dim`, or out of range.
    """
    d = wrap_dim(dim, len(input._shape), "gather")
    integer_index(index, "gather")
    if index.numel() == 0:  # of any rank
        return gather_at(input.reshape(-1), (), (index._shape, (0,) * len(index._shape), 0, (), ()))  # type: ignore[attr-defined,no-any-return]
    check_box("gather", d, index, ("input", input._shape, True))
    size = input._shape[d] if input._shape else 1
    at = checked_index(index, size, f"index {{index}} is out of bounds for dimension {d} with size {{size}}", RuntimeError)
    if not input._shape or not index._shape:
        return gather_at(input.reshape(-1), (at,), (index._shape, (0,) * len(index._shape), 0, (1,), (size,)))  # type: ignore[attr-defined]
    return gather_at(input, (at,), box_places(input._shape, d, index._shape))


@public(out="exact")
def take(input: Tensor, index: Tensor) -> Tensor:
    """Elements of the flattened tensor at indices (int64, negative ones from the end), in the shape of `index`."""
    if index._dtype is not int64:
        raise RuntimeError(f"take(): Expected a long tensor for index, but got {index._dtype.title}")
    if not input.numel() and index.numel():
        raise IndexError("take(): tried to take from an empty tensor")
    at = checked_index(index, input.numel(), "out of range: tried to access index {index} on a tensor of {size} elements.", negative=True)
    return gather_at(input, (at,), (index._shape, (0,) * len(index._shape), 0, (1,), (input.numel(),)))


@public(out=True)
def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """`gather` with the other dimensions broadcast; without `dim`, on the flattened tensors.

    Raises RuntimeError for indices that are not int64 or of another rank.
    """
    if indices._dtype is not int64:
        raise RuntimeError(f"torch.take_along_dim(): dtype of indices should be Long but got {indices._dtype.title}")
    if dim is None:
        return gather(input.reshape(-1), 0, indices.reshape(-1))  # type: ignore[attr-defined]
    if len(input._shape) != len(indices._shape):
        raise RuntimeError(f"torch.take_along_dim(): input and indices should have the same number of dimensions, but got {len(input._shape)} "
                           f"dimensions for input, and {len(indices._shape)} dimensions for indices")
    d = wrap_dim(dim, len(input._shape), "take_along_dim")
    a, b = input._shape, indices._shape
    common = broadcast((*a[:d], 1, *a[d + 1:]), (*b[:d], 1, *b[d + 1:]), "take_along_dim")
    at = checked_index(indices, a[d] if a else 1, f"index {{index}} is out of bounds for dimension {d} with size {{size}}", RuntimeError, negative=True)
    return gather(input.expand((*common[:d], a[d], *common[d + 1:])) if a else input, d,  # type: ignore[attr-defined]
                  at.expand((*common[:d], b[d], *common[d + 1:])) if a else at)  # type: ignore[attr-defined]


def embedding_rows(weight: Tensor, index: Tensor) -> Tensor:
    """Rows of a matrix at indices of any shape: [*index, columns]. Raises IndexError out of range, RuntimeError for other dtypes."""
    integer_index(index, "embedding")
    rows, columns = weight._shape
    at = checked_index(index, rows, "index out of range in self")
    return gather_at(weight, (with_trailing(at, 1),), ((*index._shape, columns), (0,) * len(index._shape) + (1,), 0, (columns,), (rows,)))


# ---- places decided by values


def nonzero_array(input: Tensor) -> np.ndarray:
    """[count, ndim] positions of the elements that are not zero, row by row (computes the tensor)."""
    input._storage.memory()
    window = input._window()
    if not input._shape:
        return np.zeros((int(window != 0), 0), np.int64)
    return np.argwhere(window).astype(np.int64, copy=False)


@public("nonzero")
def nonzero(input: Tensor, *, as_tuple: bool = False, out: Tensor | None = None) -> Any:
    """Positions of the elements that are not zero, [count, ndim] int64; `as_tuple`: one vector for each dimension.

    Computes the tensor, as the shape of the result depends on it. Raises TypeError for `out` together with `as_tuple`.
    """
    if as_tuple:
        if out is not None:
            raise TypeError("nonzero(): got an unexpected keyword argument 'out' with as_tuple=True")
        at = nonzero_array(input if input._shape else input.reshape(1))  # type: ignore[attr-defined]
        return tuple([wrap(leaf(np.ascontiguousarray(at[:, i]))) for i in range(at.shape[1])])
    found = wrap(leaf(np.ascontiguousarray(nonzero_array(input))))
    if out is not None:
        from torsh.ops.dispatch import write_out
        return write_out(out, found, "nonzero")
    return found


@public()
def argwhere(input: Tensor) -> Tensor:
    """`nonzero` without the tuple form."""
    return nonzero(input)  # type: ignore[no-any-return]


def check_mask(mask: Any, what: str) -> Tensor:
    """Raises RuntimeError unless `mask` is a bool tensor."""
    if not isinstance(mask, Tensor):
        raise TypeError(f"{what}(): argument 'mask' must be Tensor, not {type(mask).__name__}")
    if mask._dtype is not bool_:
        raise RuntimeError(f"{what}: expected BoolTensor for mask (only supports boolean masks, but got dtype {mask._dtype.title})")
    return mask


@public(out="exact")
def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where a bool mask (broadcast with the tensor) is true, as a vector. Computes the mask."""
    shape = broadcast(input._shape, check_mask(mask, "masked_select")._shape, "masked_select")
    mask, input = mask.expand(shape), input.expand(shape)  # type: ignore[attr-defined]
    mask._storage.memory()
    at = wrap(leaf(np.flatnonzero(mask._window()).astype(np.int64, copy=False)))
    return gather_at(input, (at,), (at._shape, (0,), 0, (1,), (max(1, numel(shape)),)))


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """[*, num_classes] int64, 1 at each class index and 0 elsewhere. -1: one more than the largest index (computes the tensor).

    Raises RuntimeError for a dtype other than int64, negative classes, and classes beyond `num_classes`.
    """
    if tensor._dtype is not int64:
        raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor.")
    if num_classes == -1:
        if not tensor.numel():
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
        tensor._storage.memory()
    elif (num_classes < 1 and tensor.numel()) or num_classes < 0:
        raise RuntimeError("num_classes should be positive")
    known = index_bounds(tensor)
    if known is not None:
        if known[0] < 0:
            raise RuntimeError("Class values must be non-negative.")
        if num_classes == -1:
            num_classes = known[1] + 1
        elif known[1] >= num_classes:
            raise RuntimeError("Class values must be smaller than num_classes.")
    return (tensor.unsqueeze(-1) == iota(num_classes)).to(int64)  # type: ignore[attr-defined,no-any-return]


@public()
def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each value of a vector of non-negative integers occurs (or the sum of its weights). Computes the vector.

    Raises RuntimeError for other shapes, negative values or weights of another length.
    """
    if len(input._shape) != 1 or input._dtype.category != 1:
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    if minlength < 0:
        raise RuntimeError("minlength should be >= 0")
    if weights is not None and weights._shape != input._shape:
        raise RuntimeError("weights should be 1-d and have the same length as input")
    input._storage.memory()
    low, high = index_bounds(input) or (0, -1)
    if low < 0:
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    count = max(high + 1, minlength)
    one = wrap(leaf(np.ones((), np.int64)))
    value = one if weights is None else weights.detach()  # type: ignore[attr-defined]
    if weights is not None and value._dtype.name not in ("float32", "float64"):
        value = value.double()
    if not input._shape[0]:
        return zeros_like_shape((count,), one if weights is None else value)
    return scatter_at(zeros_like_shape((count,), value), value, (cast_tensor(input, int64),), (input._shape, (0,), 0, (1,), (count,)), "add")


__all__ = ["argwhere", "bincount", "check_box", "embedding_rows", "gather", "gather_at", "index_select", "iota", "masked_select", "nonzero",
           "one_hot", "scatter_at", "selected", "take", "take_along_dim"]

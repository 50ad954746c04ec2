"""Order: sort, topk, kthvalue, median, mode, unique, and search in sorted sequences.

Positions are found by a kernel, or on the host with NumPy (few of many elements, medians, modes); values are then gathered, which is also what
makes them differentiable.
NaN counts as larger than every number.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from torsh.autograd.graph import GradNode
from torsh.core.dtypes import int32, int64
from torsh.core.results import result_type
from torsh.core.shapes import Shape, reduced, wrap_dim
from torsh.graph.node import Node
from torsh.graph.primitives import ORDER, axis_first, cast, host, leading_batch
from torsh.ops.dispatch import apply, cast_tensor, coarse, public, result_type_of
from torsh.ops.gather import gather
from torsh.ops.pointwise import where
from torsh.ops.views import zeros_like_shape
from torsh.tensor.storage import leaf
from torsh.tensor.tensor import Tensor, wrap


def _comparable(x: np.ndarray) -> np.ndarray:
    """An array that NumPy sorts well: half types as float32."""
    return x.astype(np.float32) if x.dtype.itemsize == 2 and x.dtype.kind not in "iu" else x


@axis_first
def _positions_sorted(x: np.ndarray, d: int, descending: bool) -> np.ndarray:
    x = _comparable(x)
    if not descending:
        return np.argsort(x, d, kind="stable")
    # The reverse of an ascending sort of the reversed data keeps equal elements in their order.
    return np.flip(x.shape[d] - 1 - np.argsort(np.flip(x, d), d, kind="stable"), d)


@axis_first
def _positions_of_top(x: np.ndarray, d: int, k: int, largest: bool) -> np.ndarray:
    x = np.moveaxis(_comparable(x), d, -1)
    n = x.shape[-1]
    if k == 0:
        return np.moveaxis(np.empty((*x.shape[:-1], 0), np.int64), -1, d)
    part = np.argpartition(x, n - k if largest else k - 1, -1)
    part = np.sort(part[..., n - k:] if largest else part[..., :k], -1)
    order = _positions_sorted(np.take_along_axis(x, part, -1), x.ndim - 1, largest)
    return np.moveaxis(np.take_along_axis(part, order, -1), -1, d)


def _ordered(input: Tensor, d: int, descending: bool) -> Tensor:
    """The positions of the elements in order along a dimension, equal ones in their order."""
    rows = input.movedim(d, -1)  # type: ignore[attr-defined]
    return wrap(Node(ORDER, (rows._node(),), descending, rows._shape, int64)).movedim(-1, d)  # type: ignore[attr-defined,no-any-return]


def _on_host(function: Callable[..., Any], name: str, input: Tensor, shape: Shape, static: tuple[Any, ...]) -> Tensor:
    return wrap(host(function, name, (input._node(),), shape, int64, static))


def _real(what: str, t: Tensor) -> None:
    if t._dtype.is_complex:
        raise RuntimeError(f"{what}: complex tensors have no order (got dtype {t._dtype.title})")


_SORT, _TOPK, _KTH, _MEDIAN, _NANMEDIAN, _MODE = (result_type(n, "values", "indices") for n in ("sort", "topk", "kthvalue", "median", "nanmedian", "mode"))


def _alone(result: Any, t: Tensor) -> Any:
    """The answer for a tensor of 0 dimensions: itself, at index 0."""
    return result(t.clone(), wrap(leaf(np.zeros((), np.int64))))  # type: ignore[attr-defined]


@public(out=True)
def sort(input: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = False) -> Any:
    """(values, indices) in order along a dimension; equal elements keep their order. Raises RuntimeError for complex tensors.

    >>> import torsh
    >>> torsh.sort(torsh.tensor([3, 1, 2])).indices
    tensor([1, 2, 0])
    """
    _real("sort", input)
    d = wrap_dim(dim, len(input._shape), "sort")
    if not input._shape:
        return _alone(_SORT, input)
    at = _ordered(input, d, bool(descending))
    return _SORT(gather(input, d, at), at)


@public()
def argsort(input: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = False) -> Tensor:
    """The indices that `sort` gives."""
    return sort(input, dim, descending, stable=stable)[1]  # type: ignore[no-any-return]


@public(out=True)
def msort(input: Tensor) -> Tensor:
    """The values sorted along the first dimension."""
    return sort(input, 0)[0]  # type: ignore[no-any-return]


@public(out=True)
def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """(values, indices) of the `k` largest (or smallest) elements along a dimension, in order.

    Raises RuntimeError for more than there are, and for complex tensors.
    """
    _real("topk", input)
    d = wrap_dim(dim, len(input._shape), "topk")
    k = int(k)
    if not 0 <= k <= (input._shape[d] if input._shape else 1):
        raise RuntimeError(f"selected index k out of range (topk: k = {k}, dimension {d} of shape {list(input._shape)})")
    if not input._shape:
        return _alone(_TOPK, input)
    shape = (*input._shape[:d], k, *input._shape[d + 1:])
    if k * 8 > input._shape[d]:
        at = _ordered(input, d, bool(largest)).narrow(d, 0, k)  # type: ignore[attr-defined]
        return _TOPK(gather(input, d, at), at)
    at = _on_host(_positions_of_top, "topk", input, shape, (d, k, bool(largest)))
    return _TOPK(gather(input, d, at), at)


# ---- one of each row


@axis_first
def _position_kth(x: np.ndarray, d: int, k: int) -> np.ndarray:
    return np.take(_positions_sorted(x, d, False), [k - 1], d)


@axis_first
def _position_median(x: np.ndarray, d: int, ignore_nan: bool) -> np.ndarray:
    """The lower median; the first NaN if there is one, unless they are ignored."""
    order = _positions_sorted(x, d, False)
    nan = x != x
    count = (~nan).sum(d, keepdims=True)
    middle = np.maximum(count - 1, 0) // 2
    at = np.take_along_axis(order, middle, d)
    return at if ignore_nan else np.where(nan.any(d, keepdims=True), nan.argmax(d, keepdims=True), at)  # type: ignore[no-any-return]


@axis_first
def _position_mode(x: np.ndarray, d: int) -> np.ndarray:
    """The smallest of the most frequent elements, where it stands last."""
    order = np.moveaxis(_positions_sorted(x, d, False), d, -1)
    rows = np.take_along_axis(np.moveaxis(_comparable(x), d, -1), order, -1)
    n = rows.shape[-1]
    fresh = np.ones(rows.shape, bool)
    fresh[..., 1:] = rows[..., 1:] != rows[..., :-1]
    start = np.maximum.accumulate(np.where(fresh, np.arange(n), 0), -1)
    length = np.arange(n) - start + 1
    best = length.argmax(-1)[..., None]
    return np.moveaxis(np.take_along_axis(order, best, -1), -1, d)


def _pick(name: str, result: Any, function: Callable[..., Any], input: Tensor, dim: int, keepdim: bool, static: tuple[Any, ...]) -> Any:
    _real(name, input)
    d = wrap_dim(dim, len(input._shape), name)
    if not input._shape:
        return _alone(result, input)
    if not input._shape[d]:
        raise IndexError(f"{name}(): Expected reduction dim {d} to have non-zero size.")
    at = _on_host(function, name, input, reduced(input._shape, (d,), True), (d, *static))
    values = gather(input, d, at)
    return result(values, at) if keepdim else result(values.squeeze(d), at.squeeze(d))  # type: ignore[attr-defined]


@public(out="exact")
def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """(value, index) of the k-th smallest element along a dimension, counted from 1. Raises RuntimeError for k out of range."""
    size = input._shape[wrap_dim(dim, len(input._shape), "kthvalue")] if input._shape else 1
    if not 1 <= k <= size:
        raise RuntimeError(f"kthvalue(): selected number k out of range for dimension {dim} (k = {k}, size {size})")
    return _pick("kthvalue", _KTH, _position_kth, input, dim, keepdim, (int(k),))


def _spread_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    """Equal elements share the gradient, as PyTorch has it for a median of all elements."""
    x, out = ctx[0], ctx.out
    same = (x == out) | ((out != out) & (x != x))
    share = cast_tensor(same, g._dtype)
    return where(same, g / share.sum(), zeros_like_shape((), g))  # type: ignore[attr-defined,no-any-return]


def _median_of_all(x: Tensor, ignore_nan: bool) -> Tensor:
    flat = x.reshape(-1)  # type: ignore[attr-defined]
    return gather(flat, 0, _on_host(_position_median, "median", flat, (1,), (0, ignore_nan))).reshape(())  # type: ignore[attr-defined,no-any-return]


_MEDIAN_ALL = coarse("median", _median_of_all, _spread_vjp, (0,), True)


def _median(name: str, result: Any, ignore_nan: bool) -> Any:
    def function(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
        if dim is not None:
            return _pick(name, result, _position_median, input, dim, keepdim, (ignore_nan,))
        _real(name, input)
        if not input.numel():
            if input._dtype.category == 2:
                return zeros_like_shape((), input) + float("nan")
            raise RuntimeError(f"{name}(): input tensor must not be empty for dtype {input._dtype.title}")
        return apply(_MEDIAN_ALL, (input,), (ignore_nan,), (), input._dtype)
    function.__name__ = name
    function.__doc__ = (f"The lower median of all elements; along a dimension, (values, indices). NaN {'is ignored' if ignore_nan else 'wins'}.")
    return public(name, out=True)(function)


median, nanmedian = _median("median", _MEDIAN, False), _median("nanmedian", _NANMEDIAN, True)


@public(out=True)
def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> Any:
    """(value, index) of the most frequent element along a dimension: the smallest of several, where it stands last."""
    return _pick("mode", _MODE, _position_mode, input, dim, keepdim, ())


# ---- distinct elements


def _array(t: Tensor) -> np.ndarray:
    t._storage.memory()
    return np.array(t._window())


def _tensor(a: Any, like: Tensor | None = None) -> Tensor:
    return wrap(leaf(np.array(a, like._dtype.np if like is not None else np.int64, order="C")))


def _answer(values: Tensor, inverse: Any, counts: Any) -> Any:
    out = tuple([t for t in (values, inverse, counts) if t is not None])
    return out[0] if len(out) == 1 else out


@public()
def unique(input: Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None) -> Any:
    """The distinct elements in ascending order (or distinct slices of a dimension), and on request where each element is among them and how
    often each occurs. Every NaN is distinct. Computes the tensor."""
    _real("unique", input)
    x = _comparable(_array(input))
    if dim is None:
        values, inverse, counts = np.unique(x.reshape(-1), return_inverse=True, return_counts=True, equal_nan=False)
        inverse = inverse.reshape(x.shape)
    else:
        d = wrap_dim(dim, x.ndim, "unique")
        if x.size == 0 and x.shape[d]:
            raise RuntimeError("There are 0 sized dimensions, and they aren't selected, so unique cannot be applied")
        if x.shape[d] == 0:
            values, inverse, counts = x, np.zeros(0, np.int64), np.zeros(0, np.int64)
        else:
            values, inverse, counts = np.unique(x, axis=d, return_inverse=True, return_counts=True)
            inverse = inverse.reshape(-1)
    return _answer(_tensor(values, input), _tensor(inverse) if return_inverse else None, _tensor(counts) if return_counts else None)


@public()
def unique_consecutive(input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None) -> Any:
    """`unique` among neighbours only: one element (or slice of a dimension) of each run. Computes the tensor."""
    x = _array(input)
    d = 0 if dim is None else wrap_dim(dim, x.ndim, "unique_consecutive")
    rows = np.moveaxis(x.reshape(-1) if dim is None else x, d, 0)
    n = rows.shape[0]
    flat = rows.reshape(n, -1) if n else rows.reshape(0, 1)
    fresh = np.ones(n, bool)
    fresh[1:] = (flat[1:] != flat[:-1]).any(1)
    starts = np.flatnonzero(fresh)
    inverse = np.cumsum(fresh) - 1
    values = np.moveaxis(rows[starts], 0, d)
    return _answer(_tensor(values, input), _tensor(inverse.reshape(x.shape) if dim is None else inverse) if return_inverse else None,
                   _tensor(np.diff(np.append(starts, n))) if return_counts else None)


# ---- search


def _search(sequence: np.ndarray, values: np.ndarray, side: str, *sorter: np.ndarray) -> np.ndarray:
    sequence, values = _comparable(sequence), _comparable(values)
    if sorter:
        sequence = np.take_along_axis(sequence, sorter[0], -1)
    if sequence.ndim == 1:
        return np.asarray(np.searchsorted(sequence, values, side))  # type: ignore[call-overload]
    if not values.size:
        return np.zeros(values.shape, np.int64)
    rows = sequence.reshape(-1, sequence.shape[-1]) if sequence.size else np.empty((int(np.prod(sequence.shape[:-1])), 0), sequence.dtype)
    wanted = values.reshape(len(rows), -1)
    out = np.empty(wanted.shape, np.int64)
    for i, (row, value) in enumerate(zip(rows, wanted, strict=True)):
        out[i] = np.searchsorted(row, value, side)  # type: ignore[call-overload]
    return out.reshape(values.shape)


def _search_right(sequence: np.ndarray, values: np.ndarray, *sorter: np.ndarray) -> np.ndarray:
    return _search(sequence, values, "right", *sorter)


def _search_left(sequence: np.ndarray, values: np.ndarray, *sorter: np.ndarray) -> np.ndarray:
    return _search(sequence, values, "left", *sorter)


for _f in (_search_left, _search_right):  # a batch of sequences goes with what is in front of the values
    leading_batch(_f)


@public(method=False, out=True)
def searchsorted(sorted_sequence: Tensor, input: Any, *, out_int32: bool = False, right: bool = False, side: str | None = None,
                 sorter: Tensor | None = None) -> Tensor:
    """Where each value would be put into a sorted sequence (or the row that goes with it) to keep it sorted.

    Before equal elements, or after them if `right`. Raises RuntimeError for leading dimensions that differ and for a `side` that
    contradicts `right`.
    """
    if side is not None and side not in ("left", "right"):
        raise RuntimeError(f"torch.searchsorted(): side can only be 'left' or 'right' but got {side}")
    if side == "left" and right:
        raise RuntimeError("torch.searchsorted(): side and right can't be set to opposites, got side of left while right was True")
    if not isinstance(input, Tensor):
        from torsh.tensor.creation import tensor
        input = tensor(input)
    if not sorted_sequence._shape:
        raise RuntimeError("torch.searchsorted(): boundaries tensor should have positive dimension, but got 0 dimension")
    if len(sorted_sequence._shape) > 1 and sorted_sequence._shape[:-1] != input._shape[:-1]:
        raise RuntimeError("torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries tensor and input "
                           f"value tensor must match, but we got boundaries tensor {list(sorted_sequence._shape)} and input value tensor "
                           f"{list(input._shape)}")
    if sorter is not None and sorter._shape != sorted_sequence._shape:
        raise RuntimeError(f"torch.searchsorted(): boundary and sorter must have the same size, but got boundary tensor "
                           f"{list(sorted_sequence._shape)} and got sorter tensor {list(sorter._shape)}")
    common = result_type_of(sorted_sequence, input)
    sources = [cast(sorted_sequence._node(), common), cast(input._node(), common)]
    if sorter is not None:
        sources.append(sorter._node())
    at = wrap(host(_search_right if right or side == "right" else _search_left, "searchsorted", tuple(sources), input._shape, int64))
    return cast_tensor(at, int32) if out_int32 else at


@public(method=False, out=True)
def bucketize(input: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """The number of the interval between sorted boundaries that each value lies in. Raises RuntimeError unless the boundaries are a vector."""
    if len(boundaries._shape) != 1:
        raise RuntimeError(f"bucketize(): boundaries tensor must be 1 dimension, but got dim({len(boundaries._shape)})")
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)  # type: ignore[no-any-return]


__all__ = ["argsort", "bucketize", "kthvalue", "median", "mode", "msort", "nanmedian", "searchsorted", "sort", "topk", "unique", "unique_consecutive"]

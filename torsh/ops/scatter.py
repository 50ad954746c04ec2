"""Writing elements at computed places: scatter and its reductions, index_add, index_copy, index_fill, and masks.

The functions give new tensors; the forms with `_` write in place. Derivatives come from `ops.gather`'s two primitives,
but for the products and extrema of `scatter_reduce`, whose formulas are those of PyTorch's derivatives.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from torsh.autograd.autocast import in_widest_type
from torsh.autograd.graph import GradNode
from torsh.core.dtypes import bool_, dtype
from torsh.core.shapes import Shape, broadcast, numel, wrap_dim
from torsh.graph.primitives import const
from torsh.ops.dispatch import apply, cast_tensor, coarse, public
from torsh.ops.gather import Places, along, along_places, box_places, check_box, check_mask, checked_index, gather_at, integer_index, scatter_at
from torsh.ops.pointwise import where
from torsh.ops.views import slice_dim, zeros_like_shape
from torsh.tensor.storage import leaf
from torsh.tensor.tensor import Tensor, wrap


def _number(value: Any, dt: dtype, what: str) -> Tensor:
    """A number or 0-dimensional tensor as a 0-dimensional tensor of a type."""
    if isinstance(value, Tensor):
        if value._shape:
            raise RuntimeError(f"{what} only supports a 0-dimensional value tensor, but got tensor with {len(value._shape)} dimension(s).")
        if value._dtype.is_complex and not dt.is_complex:
            raise RuntimeError(f"value cannot be converted to type {dt.name} without overflow")
        return cast_tensor(value, dt)
    if dt.category < 3 and isinstance(value, complex):
        raise RuntimeError(f"value cannot be converted to type {dt.name} without overflow")
    return wrap(const(bool(value) if dt.category == 0 else int(value) if dt.category == 1 else value, dt))


def _box(t: Tensor, shape: Shape) -> Tensor:
    """The leading corner of `t` of a shape that is no larger."""
    for d, n in enumerate(shape):
        if t._shape[d] != n:
            t = slice_dim(t, d, 0, n)
    return t


def _scatter_places(what: str, input: Tensor, dim: int, index: Tensor, src: Tensor) -> tuple[Tensor, Tensor, Tensor, Places]:
    """(input, index, src) as tensors of at least one dimension, and where the elements of src go."""
    d = wrap_dim(dim, len(input._shape), what)
    integer_index(index, what)
    if src._dtype is not input._dtype:
        raise RuntimeError(f"{what}(): Expected self.dtype to be equal to src.dtype")
    if not input._shape or not index._shape:
        input = input if input._shape else input.reshape(1)  # type: ignore[attr-defined]
        index = index if index._shape else index.reshape(1)  # type: ignore[attr-defined]
    if src._shape or index.numel() == 0:
        src = src if src._shape else src.reshape(1)  # type: ignore[attr-defined]
    if index.numel():
        check_box(what, d, index, ("self", input._shape, True), *[("src", src._shape, False)] * bool(src._shape))
    at = checked_index(index, input._shape[d], f"index {{index}} is out of bounds for dimension {d} with size {{size}}", RuntimeError)
    return input, at, _box(src, index._shape) if src._shape else src, box_places(input._shape, d, index._shape)


def _restored(out: Tensor, like: Tensor) -> Tensor:
    return out if out._shape == like._shape else out.reshape(like._shape)  # type: ignore[attr-defined,no-any-return]


@public(inplace=True, out=True)
def scatter(input: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None, reduce: str | None = None) -> Tensor:
    """`out[i][index[i][j]...] = src[i][j]...` for `dim` 1, and so on; `src` is a tensor or a number. The last of equal places stays.

    `reduce` "add" or "multiply" combines with what is there. Raises RuntimeError for an index of another rank or dtype, larger
    than `input` beside `dim` or than `src`, or out of range.
    """
    if reduce is not None and reduce not in ("add", "multiply"):
        raise RuntimeError("reduce argument must be either add or multiply.")
    src = value if src is None else src
    if not isinstance(src, Tensor):
        src = _number(src, input._dtype, "scatter")
    elif not src._shape and index.numel() != 1:
        raise RuntimeError(f"Index tensor must have the same number of dimensions as src tensor (scatter: index {list(index._shape)}, src [])")
    if index.numel() == 0:
        return input.clone()  # type: ignore[attr-defined,no-any-return]
    if reduce == "multiply":
        return scatter_reduce(input, dim, index, src if src._shape else src.expand(index._shape), "prod")  # type: ignore[attr-defined]
    base, at, values, places = _scatter_places("scatter", input, dim, index, src)
    return _restored(scatter_at(base, values, (at,), places, "add" if reduce else "set"), input)


@public(inplace=True, out=True)
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """`out[i][index[i][j]...] += src[i][j]...` for `dim` 1, and so on. Raises as `scatter` does."""
    if index.numel() == 0:
        return input.clone()  # type: ignore[attr-defined,no-any-return]
    base, at, values, places = _scatter_places("scatter_add", input, dim, index, src)
    return _restored(scatter_at(base, values, (at,), places, "add"), input)


# ---- scatter_reduce


def _extreme_of(dt: dtype, largest: bool) -> Any:
    if dt.category >= 2:
        return float("inf") if largest else float("-inf")
    if dt.category == 0:
        return largest
    info = np.iinfo(dt.np)
    return int(info.max if largest else info.min)


def _fold_vjp(ctx: GradNode, g: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """PyTorch's derivative of scatter_reduce: equal extrema share the gradient; zeros of a product are left out one at a time."""
    x, src, index, out = ctx[0], ctx[1], ctx[2], ctx.out
    places, mode = ctx.arg[:5], ctx.arg[5]
    at = (index,)
    if mode != "mul":
        taken = cast_tensor(src == gather_at(out, at, places), g._dtype)
        own = cast_tensor(x == out, g._dtype)
        share = g / scatter_at(own, taken, at, places, "add")
        return own * where(own == 0, zeros_like_shape((), g), share), taken * gather_at(share, at, places)
    one = zeros_like_shape((), x) + 1
    whole = _folded(where(x == 0, one, x), src, index, places, mode)
    zero = src == 0
    zeros = gather_at(scatter_at(zeros_like_shape(x._shape, g), cast_tensor(zero, g._dtype), at, places, "add"), at, places)
    alone = zero & (zeros == 1)
    others = _folded(x, where(alone, one, src), index, places, mode)
    return (g * whole / where(x == 0, one, x),
            where(alone, gather_at(g * others, at, places), gather_at(g * out, at, places) / where(zero, one, src)))


_FOLD = coarse("scatter_reduce", lambda x, src, index, *places_and_mode: scatter_at(x, src, (index,), places_and_mode[:5], places_and_mode[5]),
               _fold_vjp, (0, 1, 2), True)


def _folded(x: Tensor, src: Tensor, index: Tensor, places: Places, mode: str) -> Tensor:
    return apply(_FOLD, (x, src, index), (*places, mode), x._shape, x._dtype)


@public(inplace=True, out=True)
def scatter_reduce(input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True) -> Tensor:
    """Elements of `src` combined at the places that `scatter` would write, by "sum", "prod", "mean", "amax" or "amin".

    `include_self`: what was there takes part. Raises RuntimeError for another reduction, else as `scatter` does.
    """
    if reduce not in ("sum", "prod", "mean", "amax", "amin"):
        raise RuntimeError("reduce argument must be either sum, prod, mean, amax or amin, got " f"{reduce}.")
    if index.numel() == 0:
        return input.clone()  # type: ignore[attr-defined,no-any-return]
    base, at, values, places = _scatter_places("scatter_reduce", input, dim, index, src)
    return _restored(_reduced_at(base, at, values, places, reduce, include_self), input)


def _reduced_at(base: Tensor, at: Tensor, values: Tensor, places: Places, reduce: str, include_self: bool) -> Tensor:
    dt = base._dtype
    start = base
    if not include_self:
        neutral = {"sum": 0, "mean": 0, "prod": 1}.get(reduce)
        if neutral is None:
            neutral = _extreme_of(dt, reduce == "amin")
        start = scatter_at(base, wrap(const(neutral if dt.category else bool(neutral), dt)), (at,), places, "set")
    if reduce == "sum":
        return scatter_at(start, values, (at,), places, "add")
    if reduce == "mean":
        total = scatter_at(start, values, (at,), places, "add")
        ones = zeros_like_shape((), base) + 1
        counts = scatter_at(zeros_like_shape(base._shape, base) + (1 if include_self else 0), ones, (at,), places, "add")
        counts = where(counts == 0, ones, counts)
        return total / counts if dt.category >= 2 else total.div(counts, rounding_mode="floor")  # type: ignore[attr-defined,no-any-return]
    return _folded(start, values.expand(places[0]), at, places, {"prod": "mul", "amax": "max", "amin": "min"}[reduce])  # type: ignore[attr-defined]


# ---- whole slices


def _slices(what: str, input: Tensor, dim: int, index: Tensor, source: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Places]:
    """(input of at least one dimension, shaped index, source, places) for writing slices of a dimension."""
    d = wrap_dim(dim, len(input._shape), what)
    integer_index(index, what)
    if len(index._shape) > 1:
        raise IndexError(f"{what}(): Index should have dimension 1 or 0 (got {len(index._shape)})")
    base = input if input._shape else input.reshape(1)  # type: ignore[attr-defined]
    count = index.numel()
    if source is not None:
        if source._dtype is not input._dtype:
            raise RuntimeError(f"{what}(): self and source expected to have the same dtype, but got (self) {input._dtype.title} and (source) "
                               f"{source._dtype.title}")
        source = source if source._shape else source.reshape(1)  # type: ignore[attr-defined]
        want = (*base._shape[:d], count, *base._shape[d + 1:])
        if source._shape != want:
            raise (IndexError if what == "index_copy" and source._shape[d:d + 1] != (count,) else RuntimeError)(
                f"{what}(): source has shape {list(source._shape)}, but {list(want)} is needed for self of shape {list(base._shape)}, "
                f"dimension {d} and {count} indices")
    at = checked_index(index if index._shape else index.reshape(1), base._shape[d], "index out of range in self",  # type: ignore[attr-defined]
                       negative=what == "index_fill")
    return base, along(base._shape, d, at), source, along_places(base._shape, d, count)  # type: ignore[return-value]


@public(inplace=True, out=True)
def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    """Slices of `source` (times `alpha`) added to the slices of a dimension that a vector of indices names.

    Raises IndexError for an index out of range, RuntimeError for other shapes or dtypes.
    """
    base, at, source, places = _slices("index_add", input, dim, index, source)
    return _restored(scatter_at(base, source if alpha == 1 else cast_tensor(source * alpha, input._dtype), (at,), places, "add"), input)


@public(inplace=True, out=True)
@in_widest_type
def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """Slices of a dimension that a vector of indices names, replaced by those of `source`. Raises as `index_add` does."""
    base, at, source, places = _slices("index_copy", input, dim, index, source)
    return _restored(scatter_at(base, source, (at,), places, "set"), input)


@public(inplace=True)
def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """Slices of a dimension that a vector of indices names, filled with a number. Raises IndexError for an index out of range."""
    base, at, _, places = _slices("index_fill", input, dim, index, None)
    number = _number(value, input._dtype, "index_fill_")
    if not number.requires_grad:  # type: ignore[attr-defined]
        return _restored(scatter_at(base, number, (at,), places, "set"), input)
    no, yes = wrap(const(False, bool_)), wrap(const(True, bool_))
    chosen = scatter_at(no.expand(base._shape), yes, (at,), places, "set")  # type: ignore[attr-defined]
    return _restored(where(chosen, number, base), input)  # by a mask: an index given twice counts once in the number's gradient


@public("index_reduce", inplace=True, out=True)
def index_reduce(input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True) -> Tensor:
    """`index_add` with "prod", "mean", "amax" or "amin" in place of the sum."""
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError(f"index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got {reduce}.")
    base, at, source, places = _slices("index_reduce", input, dim, index, source)
    return _restored(_reduced_at(base, at, source, places, reduce, include_self), input)


# ---- masks


@public(inplace=True)
def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """`value` (a number or 0-dimensional tensor) where a bool mask is true, else `input`, broadcast. Raises RuntimeError for another mask."""
    broadcast(input._shape, check_mask(mask, "masked_fill")._shape, "masked_fill")
    return where(mask, _number(value, input._dtype, "masked_fill"), input)  # type: ignore[no-any-return]


@public(inplace=True)
def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """The elements of `source`, in order, where a bool mask is true, else `input`, broadcast.

    Raises RuntimeError for another mask, another dtype, or fewer elements in `source` than places.
    """
    shape = broadcast(input._shape, check_mask(mask, "masked_scatter")._shape, "masked_scatter")
    if source._dtype is not input._dtype:
        raise RuntimeError(f"masked_scatter: expected self and source to have same dtypes but got {input._dtype.title} and {source._dtype.title}")
    mask = mask.expand(shape)  # type: ignore[attr-defined]
    at = wrap(leaf(np.flatnonzero(nonzero_mask(mask)).astype(np.int64, copy=False)))
    count = at._shape[0]
    if count > source.numel():
        raise RuntimeError("masked_scatter: Number of elements of source < number of ones in mask "
                           f"({source.numel()} < {count})")
    base = input.expand(shape)  # type: ignore[attr-defined]
    values = slice_dim(source.reshape(-1), 0, 0, count)  # type: ignore[attr-defined]
    return scatter_at(base, values, (at,), ((count,), (0,), 0, (1,), (max(1, numel(shape)),)), "set")


def nonzero_mask(mask: Tensor) -> np.ndarray:
    """The mask's values (computes it)."""
    mask._storage.memory()
    return mask._window()  # type: ignore[no-any-return]


__all__ = ["index_add", "index_copy", "index_fill", "index_reduce", "masked_fill", "masked_scatter", "scatter", "scatter_add",
           "scatter_reduce"]

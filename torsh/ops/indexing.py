"""`x[...]` and `x[...] = v`: one parsed key serves both.

Integers, slices, None and Ellipsis make one view of the same storage. Tensors, lists, arrays and masks that remain are
gathered from that view (or scattered into it).
"""
from __future__ import annotations

import operator
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from torsh.autograd.graph import needs_record, snapshot
from torsh.core.dtypes import bool_, int32, int64, uint8
from torsh.core.shapes import Shape, broadcast, contiguous_strides
from torsh.graph.node import Op
from torsh.ops.dispatch import cast_tensor, check_writable, copy_into, public
from torsh.ops.gather import MOST_INDICES, Places, checked_index, gather_at, nonzero_array, scatter_at, with_trailing
from torsh.ops.pointwise import where
from torsh.ops.views import Geometry, select, slice_dim, unbind, view_vjp, view_with
from torsh.tensor.storage import leaf
from torsh.tensor.tensor import Tensor, method, wrap

Parts = tuple[Any, ...]
NEW, ALL = ("new",), ("all",)


# ---- the view part


def _index_geometry(shape: Shape, strides: Shape, offset: int, parts: Parts) -> Geometry:
    """The geometry after the basic parts: (start, count, step), an int, NEW (a dimension of size 1) or ALL for each dimension."""
    new_shape: list[int] = []
    new_strides: list[int] = []
    d = 0
    for part in parts:
        if part is NEW or part == NEW:
            new_shape.append(1)
            new_strides.append(1)
            continue
        if isinstance(part, int):
            offset += part * strides[d]
        elif part == ALL:
            new_shape.append(shape[d])
            new_strides.append(strides[d])
        else:
            start, count, step = part
            offset += start * strides[d]
            new_shape.append(count)
            new_strides.append(strides[d] * step)
        d += 1
    return (*new_shape, *shape[d:]), (*new_strides, *strides[d:]), offset


_BASIC = Op("index_view", "history", None, None, view_vjp, grad_name="SliceBackward0")


def _integer(value: Any) -> int:
    return int(value) if isinstance(value, Tensor) else operator.index(value)


def _slice_part(s: slice, n: int) -> tuple[int, int, int]:
    if s.step is None and (s.start is None or type(s.start) is int) and (s.stop is None or type(s.stop) is int):
        start, stop, _ = s.indices(n)
        return start, stop - start if stop > start else 0, 1
    try:
        step = 1 if s.step is None else _integer(s.step)
        if step <= 0:
            raise ValueError("step must be greater than zero")
        start, stop, step = slice(None if s.start is None else _integer(s.start), None if s.stop is None else _integer(s.stop), step).indices(n)
    except TypeError:
        raise TypeError("slice indices must be integers or None or have an __index__ method") from None
    return start, max(0, (stop - start + step - 1) // step), step


def _as_tensor_index(item: Any) -> Tensor:
    """A list, array or the like as an index tensor. Raises IndexError or TypeError for what cannot be one."""
    if isinstance(item, Tensor):
        return item
    if isinstance(item, str):
        raise TypeError(f"a string cannot index a tensor: {item!r}")
    if isinstance(item, (list, tuple)) and not item:
        return wrap(leaf(np.zeros(0, np.int64)))
    from torsh.tensor.creation import tensor
    try:
        return tensor(item)
    except (TypeError, ValueError) as error:
        raise IndexError("only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices (got "
                         f"{type(item).__name__}: {error})") from None


def _is_several(key: Any) -> bool:
    """Whether a list stands for a tuple, as PyTorch has it: a short one that holds sequences, tensors, slices, None or Ellipsis."""
    return isinstance(key, list) and len(key) < 32 and any(
        item is None or item is Ellipsis or isinstance(item, (list, tuple, slice, Tensor, np.ndarray, range)) for item in key)


def _consumes(item: Any) -> int:
    """How many dimensions of the tensor an item of the key stands for."""
    if item is None or item is Ellipsis or isinstance(item, (bool, np.bool_)):
        return 0
    if isinstance(item, Tensor) and (item._dtype is bool_ or item._dtype is uint8):
        return len(item._shape)
    return 1


def _parse(x: Tensor, key: Any) -> tuple[Parts, list[tuple[int, Tensor]]]:
    """The basic parts of a key, and (dimension of the view, index tensor) for the others.

    Raises IndexError for too many indices, integers out of range and things that cannot index.
    """
    items = list(key) if isinstance(key, tuple) or _is_several(key) else [key]
    for i, item in enumerate(items):
        if item is None or item is Ellipsis or isinstance(item, (bool, slice, Tensor, int, np.bool_)):
            continue
        if isinstance(item, (list, tuple, range, np.ndarray)):
            items[i] = _as_tensor_index(list(item) if isinstance(item, range) else item)
        elif hasattr(item, "__index__"):
            items[i] = operator.index(item)
        else:
            items[i] = _as_tensor_index(item)
    ndim = len(x._shape)
    used = sum([_consumes(item) for item in items])
    if used > ndim:
        raise IndexError(f"too many indices for tensor of dimension {ndim}")
    parts: list[Any] = []
    tensors: list[tuple[int, Tensor]] = []
    d = at = 0  # dimension of x, dimension of the view
    filled = False
    for item in items:
        if item is Ellipsis:
            skip = 0 if filled else ndim - used
            filled = True
            parts += [ALL] * skip
            d += skip
            at += skip
        elif item is None:
            parts.append(NEW)
            at += 1
        elif isinstance(item, (bool, np.bool_)):
            parts.append(NEW)
            tensors.append((at, wrap(leaf(np.array([bool(item)])))))
            at += 1
        elif isinstance(item, slice):
            parts.append(ALL if item == _WHOLE else _slice_part(item, x._shape[d]))
            d += 1
            at += 1
        elif isinstance(item, Tensor) and (item._shape or item._dtype is bool_ or item._dtype is uint8):
            if not item._shape:
                parts.append(NEW)
                tensors.append((at, item.reshape(1)))  # type: ignore[attr-defined]
                at += 1
                continue
            span = _consumes(item)
            parts += [ALL] * span
            tensors.append((at, item))
            d += span
            at += span
        else:
            if isinstance(item, Tensor) and item._dtype.category != 1:
                raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
            i, n = int(item), x._shape[d]
            if not -n <= i < n:
                raise IndexError(f"index {i} is out of bounds for dimension {d} with size {n}")
            parts.append(i + n if i < 0 else i)
            d += 1
    return tuple(parts), tensors


_WHOLE = slice(None)


def _basic(x: Tensor, parts: Parts) -> Tensor:
    geometry = _index_geometry(x._shape, x.stride(), x._offset, parts)
    return view_with(x, geometry, _BASIC, (_index_geometry, (parts,)))


# ---- the index part


def _as_indices(shape: Shape, tensors: list[tuple[int, Tensor]]) -> tuple[list[int], list[Tensor]]:
    """Masks become positions, indices are checked against their dimension and made not negative."""
    dims: list[int] = []
    found: list[Tensor] = []
    for d, t in tensors:
        if t._dtype is bool_ or t._dtype is uint8:
            if t._dtype is uint8:
                warnings.warn("indexing with dtype torch.uint8 is now deprecated, please use a dtype torch.bool instead.", stacklevel=4)
            _check_mask_shape(shape, d, t)
            at = nonzero_array(t)
            for k in range(at.shape[1]):
                dims.append(d + k)
                found.append(wrap(leaf(np.ascontiguousarray(at[:, k]))))
            continue
        if t._dtype is not int64 and t._dtype is not int32:
            raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
        dims.append(d)
        found.append(checked_index(t, shape[d], f"index {{index}} is out of bounds for dimension {d} with size {{size}}", negative=True))
    if len(found) > MOST_INDICES:
        raise IndexError(f"at most {MOST_INDICES} dimensions can be indexed by tensors at once, got {len(found)}")
    return dims, found


def _check_mask_shape(shape: Shape, d: int, mask: Tensor) -> None:
    if mask._shape != shape[d:d + len(mask._shape)]:
        i = next((i for i, n in enumerate(mask._shape) if d + i >= len(shape) or n != shape[d + i]), 0)
        raise IndexError(f"The shape of the mask {list(mask._shape)} at index {i} does not match the shape of the indexed tensor {list(shape)} "
                         f"at index {d + i}")


def _places(shape: Shape, dims: list[int], indices: list[Tensor]) -> tuple[tuple[Tensor, ...], Places]:
    """Where the elements lie: the dimensions of the indices come where the first was if all are neighbours, else in front."""
    common: Shape = ()
    for t in indices:
        try:
            common = broadcast(common, t._shape)
        except RuntimeError:
            raise IndexError("shape mismatch: indexing tensors could not be broadcast together with shapes "
                             + ", ".join(str(list(i._shape)) for i in indices)) from None
    strides = contiguous_strides(shape)
    front = 0 if dims != list(range(dims[0], dims[0] + len(dims))) else dims[0]
    rest = [i for i in range(len(shape)) if i not in dims]
    before, after = rest[:front], rest[front:]
    result = (*[shape[i] for i in before], *common, *[shape[i] for i in after])
    steps = (*[strides[i] for i in before], *[0] * len(common), *[strides[i] for i in after])
    shaped = tuple([with_trailing(t, len(after)) for t in indices])
    return shaped, (result, steps, 0, tuple([strides[i] for i in dims]), tuple([shape[i] for i in dims]))


def index(x: Tensor, tensors: list[tuple[int, Tensor]]) -> Tensor:
    """`x` indexed by tensors at the dimensions they stand with."""
    dims, indices = _as_indices(x._shape, tensors)
    if not dims:
        return x
    shaped, places = _places(x._shape, dims, indices)
    return gather_at(x, shaped, places)


@method()
def __getitem__(self: Tensor, key: Any) -> Tensor:
    if type(key) is int:
        shape = self._shape
        if shape and -shape[0] <= key < shape[0]:
            return select(self, 0, key)
        if not shape:
            raise IndexError("invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to convert a 0-dim "
                             "tensor to a number")
        raise IndexError(f"index {key} is out of bounds for dimension 0 with size {shape[0]}")
    if type(key) is slice and self._shape:
        return slice_dim(self, 0, *_slice_part(key, self._shape[0]))
    if isinstance(key, Tensor) and key._shape and self._shape and (key._dtype is int64 or key._dtype is int32):
        shape, strides = self._shape, contiguous_strides(self._shape)
        at = checked_index(key, shape[0], "index {index} is out of bounds for dimension 0 with size {size}", negative=True)
        return gather_at(self, (with_trailing(at, len(shape) - 1),),
                         (key._shape + shape[1:], (0,) * len(key._shape) + strides[1:], 0, strides[:1], shape[:1]))
    parts, tensors = _parse(self, key)
    # A whole-tensor index alone needs no view of its own in between.
    view = self if tensors and all(p is ALL for p in parts) else _basic(self, parts)
    return index(view, tensors) if tensors else view


@method()
def __iter__(self: Tensor) -> Iterator[Tensor]:
    """The parts along the first dimension. Raises TypeError for 0 dimensions."""
    if not self._shape:
        raise TypeError("iteration over a 0-d tensor")
    return iter(unbind(self, 0))


# ---- writing


def _as_value(value: Any, like: Tensor) -> Tensor:
    if isinstance(value, Tensor):
        return value
    from torsh.tensor.creation import tensor
    if isinstance(value, complex) and not like._dtype.is_complex:
        raise RuntimeError(f"value cannot be converted to type {like._dtype.name} without overflow")
    return tensor(value, dtype=like._dtype)


def _fitted(value: Tensor, shape: Shape) -> Tensor:
    """Without leading dimensions of size 1 that the target lacks."""
    extra = len(value._shape) - len(shape)
    if extra > 0:
        lead = 0
        while lead < extra and value._shape[lead] == 1:
            lead += 1
        value = value.reshape(value._shape[lead:])  # type: ignore[attr-defined]
    return value


@method()
def __setitem__(self: Tensor, key: Any, value: Any) -> None:
    parts, tensors = _parse(self, key)
    view = _basic(self, parts)
    value = _as_value(value, self)
    if not tensors:
        if value._shape != view._shape:
            value = _fitted(value, view._shape).expand(view._shape)  # type: ignore[attr-defined]
        view.copy_(value)  # type: ignore[attr-defined]
        return
    if value._dtype is not self._dtype and value.numel() == 1 and len(tensors) == 1 and tensors[0][1]._dtype is bool_:
        value = cast_tensor(value, self._dtype)  # one mask and one value: a fill, which casts
    if value._dtype is not self._dtype:
        raise IndexError(f"Index put requires the source and destination dtypes match, got {self._dtype.title} for the destination and "
                         f"{value._dtype.title} for the source.")
    if len(tensors) == 1 and tensors[0][1]._dtype is bool_ and not value._shape:
        d, mask = tensors[0]
        _check_mask_shape(view._shape, d, mask)
        mask = mask.reshape(mask._shape + (1,) * (len(view._shape) - d - len(mask._shape)))  # type: ignore[attr-defined]
        _write(view, lambda x: where(mask, value, x))
        return
    _write(view, lambda x: _put(x, tensors, value, False))


def _write(target: Tensor, change: Any) -> None:
    """`target` in place becomes `change(target)`."""
    check_writable(target)
    copy_into(target, change(snapshot(target) if needs_record((target,)) else target), "index_put_")


def _put(x: Tensor, tensors: list[tuple[int, Tensor]], value: Tensor, accumulate: bool) -> Tensor:
    dims, indices = _as_indices(x._shape, tensors)
    shaped, places = _places(x._shape, dims, indices)
    value = _fitted(value, places[0])
    try:
        fits = broadcast(value._shape, places[0]) == places[0]
    except RuntimeError:
        fits = False
    if not fits:
        raise RuntimeError(f"shape mismatch: value tensor of shape {list(value._shape)} cannot be broadcast to indexing result of shape "
                           f"{list(places[0])}")
    return scatter_at(x, value, shaped, places, "add" if accumulate else "set")


@public(inplace=True)
def index_put(input: Tensor, indices: Any, values: Tensor, accumulate: bool = False) -> Tensor:
    """`input` with `input[indices] = values` done (`+=` with repeated places counted, if `accumulate`). None stands for a whole dimension.

    Raises IndexError for too many indices or different dtypes, RuntimeError for values that do not broadcast.
    """
    if values._dtype is not input._dtype:
        raise IndexError(f"Index put requires the source and destination dtypes match, got {input._dtype.title} for the destination and "
                         f"{values._dtype.title} for the source.")
    tensors: list[tuple[int, Tensor]] = []
    d = 0
    for t in indices:
        if t is not None:
            tensors.append((d, t))
        d += 1 if t is None or (t._dtype is not bool_ and t._dtype is not uint8) else len(t._shape)
    if d > len(input._shape):
        raise IndexError(f"too many indices for tensor of dimension {len(input._shape)} (got {d})")
    if not tensors:
        return input + values.expand(input._shape) if accumulate else cast_tensor(values, input._dtype).expand(input._shape).clone()  # type: ignore[attr-defined,no-any-return]
    return _put(input, tensors, values, accumulate)


__all__ = ["index", "index_put"]

"""Small functions about shapes, indices and combinations of elements."""
from __future__ import annotations

import itertools
from numbers import Integral
from typing import Any

import numpy as np

from torsh.core.dtypes import int64
from torsh.core.shapes import Shape, broadcast, contiguous_strides, numel
from torsh.ops.dispatch import public
from torsh.ops.gather import checked_index, integer_index, nonzero, scatter_at, selected
from torsh.ops.join import cat
from torsh.tensor.creation import full
from torsh.tensor.storage import leaf
from torsh.tensor.tensor import Size, Tensor, wrap


@public(method=False)
def broadcast_shapes(*shapes: Any) -> Size:
    """The shape that tensors of these shapes broadcast to. Raises RuntimeError if there is none.

    >>> broadcast_shapes((2, 1), (3,), 1)
    torsh.Size([2, 3])
    """
    out: Shape = ()
    for s in shapes:
        shape = (int(s),) if isinstance(s, (int, Integral)) else tuple(int(n) for n in s)
        if any(n < 0 for n in shape):
            raise RuntimeError(f"Trying to create tensor with negative dimension ({min(shape)}): ({min(shape)})")
        try:
            out = broadcast(out, shape)
        except RuntimeError:
            raise RuntimeError(f"Shape mismatch: objects cannot be broadcast to a single shape: {', '.join(map(str, shapes))}") from None
    return Size(out)


@public()
def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All choices of `r` elements of a vector, in order, [count, r]. Raises RuntimeError for other shapes and negative `r`."""
    if len(input._shape) != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(input._shape)}")
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    if r == 0:
        return input.new_empty(0)  # type: ignore[attr-defined,no-any-return]
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = np.array(list(choose(range(input._shape[0]), r)), np.int64).reshape(-1, r)
    return selected(input, 0, wrap(leaf(rows.reshape(-1)))).reshape(len(rows), r)  # type: ignore[attr-defined,no-any-return]


@public(method=False)
def unravel_index(indices: Tensor, shape: Any) -> tuple[Tensor, ...]:
    """Positions in a flattened tensor of a shape as coordinates, one tensor a dimension.

    Raises TypeError for indices that are not integers, ValueError for negative ones, sizes that are, and positions past the end.
    """
    if not isinstance(indices, Tensor) or indices._dtype.category != 1:
        raise TypeError("unravel_index(): argument 'indices' must be a Tensor of integers")
    if not isinstance(shape, (int, Integral, Tensor, tuple, list)):
        raise TypeError(f"unravel_index(): argument 'shape' must be int or sequence of ints, not {type(shape).__name__}")
    if isinstance(shape, Tensor):
        shape = shape.tolist()  # type: ignore[attr-defined]
    sizes = (shape,) if isinstance(shape, (int, Integral)) else tuple(shape)
    if any(not isinstance(n, (int, np.integer)) or isinstance(n, bool) for n in sizes):
        raise TypeError("unravel_index(): shape must be a sequence of ints")
    if any(n < 0 for n in sizes):
        raise ValueError(f"'shape' cannot have negative values, but got {tuple(sizes)}")
    indices._storage.memory()
    at = indices._window()
    if at.size and at.min() < 0:
        raise ValueError("'indices' cannot be negative")
    if at.size and at.max() >= numel(tuple(sizes)):
        raise ValueError(f"'indices' cannot be larger than the number of elements of a tensor of shape {tuple(sizes)}")
    return tuple([indices.div(s, rounding_mode="floor") % n if n else indices  # type: ignore[attr-defined]
                  for s, n in zip(contiguous_strides(tuple(sizes)), sizes, strict=True)])


@public("nonzero_static")
def nonzero_static(input: Tensor, *, size: int, fill_value: int = -1, out: Tensor | None = None) -> Tensor:
    """The first `size` rows of `nonzero`, filled up with `fill_value`. Raises RuntimeError for a negative size."""
    if size < 0:
        raise RuntimeError("nonzero_static: 'size' must be an non-negative integer")
    found = nonzero(input)[:size]
    missing = size - found._shape[0]
    made = found if not missing else cat([found, full((missing, len(input._shape)), fill_value, dtype=int64)], 0)
    if out is None:
        return made  # type: ignore[no-any-return]
    from torsh.ops.dispatch import write_out
    return write_out(out, made, "nonzero_static")


@public(inplace=True)
def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """`source` written (or added) at positions of the flattened tensor. Raises RuntimeError for other dtypes and counts, IndexError out of range."""
    integer_index(index, "put")
    if index._dtype is not int64:
        raise RuntimeError(f"put_(): Expected a long tensor for index, but got {index._dtype.title}")
    if source._dtype is not input._dtype:
        raise RuntimeError(f"put_(): self and source expected to have the same dtype, but got self.dtype = {input._dtype.title} and source.dtype = "
                           f"{source._dtype.title}")
    if index.numel() != source.numel():
        raise RuntimeError(f"put_(): Expected source and index to have the same number of elements, but got source.numel() = {source.numel()}, "
                           f"index.numel() = {index.numel()}")
    count = input.numel()
    if index.numel() == 0:
        return input.clone()  # type: ignore[attr-defined,no-any-return]
    if count == 0:
        raise IndexError("put_(): Expected self to be non-empty")
    at = checked_index(index.reshape(-1), count, f"out of range: tried to access index {{index}} on a tensor of {count} elements.",  # type: ignore[attr-defined]
                       negative=True)
    return scatter_at(input, source.reshape(-1), (at,), ((index.numel(),), (0,), 0, (1,), (count,)), "add" if accumulate else "set")  # type: ignore[attr-defined]


@public(method=False, out=True)
def fill(input: Tensor, value: Any) -> Tensor:
    """A tensor of the shape and dtype of `input` with one value (a number or 0-dimensional tensor) everywhere."""
    if isinstance(value, Tensor):
        if value._shape:
            raise RuntimeError(f"fill only supports 0-dimension value tensor but got tensor with {len(value._shape)} dimensions.")
        return input.clone().copy_(value)  # type: ignore[attr-defined,no-any-return]
    return input.clone().fill_(value)  # type: ignore[attr-defined,no-any-return]


__all__ = ["broadcast_shapes", "combinations", "fill", "nonzero_static", "put", "unravel_index"]

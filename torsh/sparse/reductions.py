"""Sums, norms and softmaxes of sparse tensors."""
from __future__ import annotations

from typing import Any

import numpy as np

from torsh.core.dtypes import dtype, int64
from torsh.core.shapes import wrap_dims
from torsh.ops.dispatch import FUNCTIONS, cast_tensor
from torsh.sparse.arithmetic import both
from torsh.sparse.convert import coordinates
from torsh.sparse.coo import SparseTensor, array_of, coo, linear, picked, summed
from torsh.tensor.creation import from_array
from torsh.tensor.tensor import Tensor

Dims = int | tuple[int, ...] | list[int] | None


@both("sum")
def sum(input: Any, dim: Dims = None, keepdim: bool = False, dtype: dtype | None = None) -> Any:
    """The sum over all elements (strided), or over dimensions (sparse, unless all sparse dimensions go). Integers sum in int64.

    Raises RuntimeError for `keepdim`, which PyTorch does not have here either.
    """
    c = coordinates(input)
    dt = dtype or (int64 if c._dtype.category < 2 else c._dtype)
    values = cast_tensor(c._entries, dt)
    if dim is None:
        return values.sum()  # type: ignore[attr-defined]
    if keepdim:
        raise RuntimeError("sum: keepdim=True is not supported for sparse tensors")
    sparse = c.sparse_dim()
    axes = wrap_dims(dim, len(c._shape), "sum")
    dense = [d - sparse + 1 for d in axes if d >= sparse]
    if dense:
        values = values.sum(dense)  # type: ignore[attr-defined]
    left = [d for d in range(sparse) if d not in axes]
    if not left:
        return values.sum(0)  # type: ignore[attr-defined]
    shape = [n for d, n in enumerate(c._shape) if d not in axes]
    made = coo(array_of(c._places)[left], values, shape)
    made._sorted = c._sorted and len(left) == sparse
    return made.coalesce()


@both("norm")
def norm(input: Any, p: Any = "fro", dim: Any = None, keepdim: bool = False, out: Any = None, dtype: dtype | None = None) -> Tensor:
    """The norm of all elements. Raises RuntimeError for dimensions."""
    if dim is not None and len(wrap_dims(dim, len(input._shape), "norm")) != len(input._shape):
        raise RuntimeError("norm_sparse currently only supports full reductions, so 'dim' must either be empty or contain all dimensions of the input")
    c = coordinates(input)
    return FUNCTIONS["norm"](c.coalesce()._entries.reshape(-1), p, dtype=dtype)  # type: ignore[no-any-return]


@both("any")
def any(input: Any) -> Tensor:
    """Whether an element is not zero."""
    return coordinates(input).coalesce()._entries.any()  # type: ignore[attr-defined,no-any-return]


def _segments(c: SparseTensor, d: int) -> tuple[np.ndarray, int]:
    """Which line along sparse dimension d each value belongs to, and how many lines there are."""
    others = [i for i in range(c.sparse_dim()) if i != d]
    keys = linear(array_of(c._places)[others], [c._shape[i] for i in others])
    unique, to = np.unique(keys, return_inverse=True)
    return to.reshape(-1), len(unique)


def _normalized(input: SparseTensor, dim: int, dt: dtype | None, logarithm: bool) -> SparseTensor:
    if not isinstance(input, SparseTensor):
        raise NotImplementedError("sparse softmax: expected a tensor by coordinates")
    c = input.coalesce()
    (d,) = wrap_dims(dim, len(c._shape), "softmax")
    values = c._entries if dt is None else cast_tensor(c._entries, dt)
    if values._dtype.category < 2:
        raise NotImplementedError(f"sparse softmax: expected a floating type, got {values._dtype}")
    if d >= c.sparse_dim():
        return c._with(FUNCTIONS["log_softmax" if logarithm else "softmax"](values, d - c.sparse_dim() + 1))
    to, count = _segments(c, d)
    plain = np.asarray(values.detach()._window())  # type: ignore[attr-defined]
    highest = np.full((count, *plain.shape[1:]), -np.inf, plain.dtype)
    np.maximum.at(highest, to, plain)
    highest[~np.isfinite(highest)] = 0
    shifted = values - from_array(highest[to])  # the shift falls out of the result, so it needs no gradient
    powers = shifted.exp()  # type: ignore[attr-defined]
    totals = summed(powers, to, count)
    return c._with(shifted - picked(totals.log(), to) if logarithm else powers / picked(totals, to))  # type: ignore[attr-defined]


def softmax(input: SparseTensor, dim: int, *, dtype: dtype | None = None) -> SparseTensor:
    """exp(x) over the sum of the values named along a dimension: places that are not named count as minus infinity.

    >>> import torsh
    >>> torsh.sparse.softmax(torsh.tensor([[1.0, 0.0], [2.0, 2.0]]).to_sparse(), 1).to_dense()
    tensor([[1.0000, 0.0000],
            [0.5000, 0.5000]])
    """
    return _normalized(input, dim, dtype, False)


def log_softmax(input: SparseTensor, dim: int, *, dtype: dtype | None = None) -> SparseTensor:
    """The logarithm of `softmax`, at the places named."""
    return _normalized(input, dim, dtype, True)


def sparse_sum(input: Any, dim: Dims = None, dtype: dtype | None = None) -> Any:
    """`torsh.sparse.sum`: over all elements, or over dimensions. Raises RuntimeError for another layout than by coordinates."""
    if not isinstance(input, SparseTensor):
        raise RuntimeError("sparse.sum: expected a tensor by coordinates")
    return sum(input, dim, dtype=dtype)


SparseTensor.handle("softmax")(lambda input, dim=None, dtype=None, **options: softmax(input, dim, dtype=dtype))
SparseTensor.handle("log_softmax")(lambda input, dim=None, dtype=None, **options: log_softmax(input, dim, dtype=dtype))
__all__ = ["log_softmax", "softmax", "sparse_sum", "sum"]

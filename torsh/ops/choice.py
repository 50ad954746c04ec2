"""Choosing by weights: one index drawn for each row, and the row's entry at an index. What a policy does at each step."""
from __future__ import annotations

import ctypes
import math
from typing import Any

from torsh.autograd.graph import GradNode
from torsh.compiler.realize import realize
from torsh.core.dtypes import int64
from torsh.core.shapes import Shape, broadcast, contiguous_strides, numel
from torsh.ops.comparison import eq, ge, gt, lt
from torsh.ops.composite import rule
from torsh.ops.dispatch import apply, coarse
from torsh.ops.drawing import fresh
from torsh.ops.gather import checked_index, gather_at, iota
from torsh.ops.pointwise import where
from torsh.ops.reduce import amax, amin, argmax
from torsh.ops.views import unsqueeze
from torsh.tensor.tensor import Tensor, wrap

_FEW = 32


def _race(weights: Tensor, times: Tensor) -> Tensor:
    """[*, k] weights and exponential times: the index that wins in each row; -1 where the weights are no distribution."""
    least, most = amin(weights, (-1,)), amax(weights, (-1,))
    valid = ge(least, 0) & gt(most, 0) & lt(most, math.inf)
    return where(valid, argmax(weights / times, -1), -1)  # type: ignore[no-any-return]


_RACE = coarse("race", _race, None)


def raced(weights: Tensor, engine: Any) -> Tensor | None:
    """One index drawn for each row of floating weights [*, k] (not empty), computed along with them: int64 [*].

    The race of exponential times of PyTorch's `multinomial`. None, and nothing drawn, if a row's weights are no distribution.
    """
    mark = engine.mark()
    times = wrap(fresh(weights._shape, weights._dtype, engine.exponential_at))
    found = apply(_RACE, (weights, times), (), weights._shape[:-1], int64)
    node = found._storage.node
    realize([node])
    count = numel(node.shape)
    if count == 1:
        low = high = ctypes.c_int64.from_address(node.buffer.address).value
    elif count <= _FEW:
        values = node.buffer.array(int64.np, node.shape).ravel().tolist()
        low, high = min(values), max(values)
    else:
        array = node.buffer.array(int64.np, node.shape)
        low, high = int(array.min()), int(array.max())
    if low < 0:
        engine.rewind(mark)
        return None
    node.bounds = low, high
    return found


def _chosen(x: Tensor, index: Tensor, strides: Shape) -> Tensor:
    return gather_at(x, (index,), (index._shape, strides, 0, (1,), (x._shape[-1],)))


_chosen_gradient = rule("chosen_backward", lambda g, index, k: where(eq(unsqueeze(index, -1), iota(k)), unsqueeze(g, -1), 0))


def _chosen_vjp(ctx: GradNode, g: Tensor) -> tuple[Tensor, None]:
    k = ctx.shapes[0][-1]
    return _chosen_gradient((g, ctx[1]), (k,), (*g._shape, k), ctx.dtypes[0]), None


_CHOSEN = coarse("chosen", _chosen, _chosen_vjp, (1,), grad_name="GatherBackward0")


def chosen(x: Tensor, index: Tensor) -> Tensor:
    """The entries of rows `x` [*, k] at an int64 index of the rows' shape (the two broadcast).

    Raises RuntimeError for shapes that do not broadcast and an index known to be out of range, or computing it IndexError.
    """
    rows = x._shape[:-1]
    strides = contiguous_strides(x._shape)[:-1]
    shape = index._shape
    if shape != rows:
        shape = broadcast(rows, shape, "gather")
        lead = len(shape) - len(rows)
        strides = (0,) * lead + tuple([0 if n == 1 else s for n, s in zip(rows, strides, strict=True)])
        if index._shape != shape:
            index = index.expand(shape)  # type: ignore[attr-defined]
    k = x._shape[-1]
    at = checked_index(index, k, f"index {{index}} is out of bounds for dimension {len(shape)} with size {{size}}", RuntimeError)
    return apply(_CHOSEN, (x, at), (strides,), shape, x._dtype)


__all__ = ["chosen", "raced"]

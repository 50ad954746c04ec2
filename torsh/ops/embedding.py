"""Embeddings: rows of a table looked up by index, alone or summed in bags."""
from __future__ import annotations

from typing import Any

from torsh.autograd.grad_mode import no_grad
from torsh.autograd.graph import GradNode
from torsh.core.dtypes import int64
from torsh.ops.composite import positions, wide
from torsh.ops.dispatch import apply, cast_tensor, coarse, late
from torsh.ops.gather import checked_index, gather_at, integer_index, scatter_at
from torsh.ops.pointwise import where
from torsh.ops.reduce import amax, sum, vector_norm
from torsh.ops.views import zeros_like_shape
from torsh.tensor.tensor import Tensor

# Both operations take int64 indices [n] and are linear in the table [rows, columns] and in the gradient [n, columns].


def _places(n: int, rows: int, columns: int) -> Any:
    return (n, columns), (0, 1), 0, (columns,), (rows,)


def _lookup(weight: Tensor, at: Tensor, padding: int, by_frequency: bool) -> Tensor:
    return gather_at(weight, (at.unsqueeze(1),), _places(at._shape[0], *weight._shape))  # type: ignore[attr-defined]


def _lookup_gradient(g: Tensor, at: Tensor, rows: int, padding: int, by_frequency: bool) -> Tensor:
    dt, g = g._dtype, wide(g)
    n, columns = g._shape
    index = at.unsqueeze(1)  # type: ignore[attr-defined]
    if by_frequency:
        ones = zeros_like_shape((n,), g) + 1
        counts = scatter_at(zeros_like_shape((rows,), g), ones, (at,), ((n,), (0,), 0, (1,), (rows,)), "add")
        g = g / gather_at(counts, (at,), ((n,), (0,), 0, (1,), (rows,))).unsqueeze(1)  # type: ignore[attr-defined]
    if padding >= 0:
        g = where(index != padding, g, 0.0)
    return cast_tensor(scatter_at(zeros_like_shape((rows, columns), g), g, (index,), _places(n, rows, columns), "add"), dt)


def _lookup_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    return apply(_GRADIENT, (g, ctx[1]), (ctx.shapes[0][0], *ctx.arg), ctx.shapes[0], g._dtype)


def _gradient_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    at, (rows, padding, by_frequency) = ctx[1], ctx.arg
    out = apply(_EMBEDDING, (g, at), (padding, by_frequency), ctx.shapes[0], g._dtype)
    if by_frequency:
        n = at._shape[0]
        ones = zeros_like_shape((n,), g) + 1
        places = ((n,), (0,), 0, (1,), (rows,))
        out = out / gather_at(scatter_at(zeros_like_shape((rows,), g), ones, (at,), places, "add"), (at,), places).unsqueeze(1)  # type: ignore[attr-defined]
    return where(at.unsqueeze(1) != padding, out, 0.0) if padding >= 0 else out  # type: ignore[attr-defined,no-any-return]


def _sparse_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    """The gradient as a sparse tensor of the rows that were looked up; those of the padding are left out.

    Raises RuntimeError where it is to be scaled by frequency.
    """
    at, (padding, by_frequency) = ctx[1], ctx.arg
    if by_frequency:
        raise RuntimeError("embedding_backward: scale_grad_by_freq not supported with sparse gradients")
    if padding >= 0:
        kept = (at != padding).nonzero().squeeze(1)  # type: ignore[attr-defined]
        at, g = at[kept], g[kept]  # type: ignore[index]
    return late("sparse_coo_tensor")(at.unsqueeze(0), g, ctx.shapes[0])  # type: ignore[no-any-return]


_EMBEDDING = coarse("embedding", _lookup, _lookup_vjp, (1,))
_EMBEDDING_SPARSE = coarse("embedding", _lookup, _sparse_vjp, (1,), grad_name="EmbeddingBackward0")
_GRADIENT = coarse("embedding_backward", _lookup_gradient, _gradient_vjp, (1,), grad_name="EmbeddingDenseBackwardBackward0")


def _rows(what: str, weight: Tensor, index: Tensor, padding_idx: int | None, by_frequency: bool, sparse: bool) -> Tensor:
    """[n, columns] for indices [n]."""
    padding = -1 if padding_idx is None else padding_idx
    at = checked_index(index, weight._shape[0], what + "(): index out of range in self (index {index}, table of {size} rows)")
    return apply(_EMBEDDING_SPARSE if sparse else _EMBEDDING, (weight, at), (padding, by_frequency), (at._shape[0], weight._shape[1]), weight._dtype)


def _padding(what: str, weight: Tensor, padding_idx: int | None) -> int | None:
    if padding_idx is None:
        return None
    rows = weight._shape[0]
    if not -rows <= padding_idx < rows:
        raise AssertionError(f"{what}: Padding_idx must be within num_embeddings, got {padding_idx} for {rows} rows")
    return padding_idx + rows if padding_idx < 0 else padding_idx


def _check(what: str, input: Any, weight: Tensor) -> None:
    integer_index(input, what)
    if len(weight._shape) != 2:
        raise RuntimeError(f"{what}: 'weight' must be 2-D, got shape {list(weight._shape)}")


def _limit_norms(weight: Tensor, index: Tensor, max_norm: float, norm_type: float) -> None:
    """Scale the rows that `index` names down to a norm of at most `max_norm`, in place."""
    with no_grad():
        rows, n = weight._shape[0], index.numel()
        at = checked_index(index.reshape(-1), rows, "index out of range in self")  # type: ignore[attr-defined]
        used = scatter_at(zeros_like_shape((rows,), at), zeros_like_shape((n,), at) + 1, (at,), ((n,), (0,), 0, (1,), (rows,)), "set")
        norms = vector_norm(weight, norm_type, (1,), True)
        factor = where((used.unsqueeze(1) != 0) & (norms > max_norm), max_norm / (norms + 1e-7), 1.0)  # type: ignore[attr-defined]
        weight.mul_(factor)  # type: ignore[attr-defined]


def embedding(input: Tensor, weight: Tensor, padding_idx: int | None = None, max_norm: float | None = None, norm_type: float = 2.0,
              scale_grad_by_freq: bool = False, sparse: bool = False) -> Tensor:
    """Rows of `weight` [rows, columns] at indices [*]: [*, columns]. The row `padding_idx` gets no gradient.

    `max_norm` scales the rows that are used in place first.
    With `sparse` the weight's gradient is a sparse tensor. Raises IndexError for an index out of range, RuntimeError for
    other dtypes of the indices.
    """
    _check("embedding", input, weight)
    padding = _padding("embedding", weight, padding_idx)
    if max_norm is not None:
        _limit_norms(weight, input, max_norm, norm_type)
    flat = input if len(input._shape) == 1 else input.reshape(-1)  # type: ignore[attr-defined]
    out = _rows("embedding", weight, flat, padding, scale_grad_by_freq, sparse)
    return out if len(input._shape) == 1 else out.reshape(*input._shape, weight._shape[1])  # type: ignore[attr-defined,no-any-return]


def _bag_numbers(input: Tensor, offsets: Tensor, include_last: bool) -> tuple[Tensor, int]:
    """(the bag of each index, how many bags) for bags that begin at `offsets`."""
    n, count = input._shape[0], offsets._shape[0] - (1 if include_last else 0)
    starts = cast_tensor(offsets if not include_last else offsets.narrow(0, 0, count), int64)  # type: ignore[attr-defined]
    return sum(starts.unsqueeze(0) <= positions(n).unsqueeze(1), (1,)) - 1, count  # type: ignore[attr-defined]


def embedding_bag(input: Tensor, weight: Tensor, offsets: Tensor | None = None, max_norm: float | None = None, norm_type: float = 2,
                  scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False, per_sample_weights: Tensor | None = None,
                  include_last_offset: bool = False, padding_idx: int | None = None) -> Tensor:
    """Sums, means or maxima of rows of `weight`: of each row of 2-D indices, or of the runs of 1-D indices that begin at `offsets`.

    Rows at `padding_idx` do not count; an empty bag gives 0. Raises ValueError for other shapes and RuntimeError for what
    does not go together.
    """
    _check("embedding_bag", input, weight)
    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    if mode == "max" and sparse:
        raise ValueError("max mode does not support sparse weights")
    if per_sample_weights is not None and (mode != "sum" or per_sample_weights._shape != input._shape):
        raise NotImplementedError(f"embedding_bag: per_sample_weights needs mode='sum' and the shape of the input, got mode={mode!r}, shapes "
                                  f"{list(per_sample_weights._shape)} and {list(input._shape)}")
    padding = _padding("embedding_bag", weight, padding_idx)
    if max_norm is not None:
        _limit_norms(weight, input, max_norm, norm_type)
    if len(input._shape) == 2:
        if offsets is not None:
            raise ValueError("if input is 2D, then offsets has to be None, as input is treated is a mini-batch of fixed length sequences.")
        return _fixed_bags(input, weight, padding, scale_grad_by_freq, mode, per_sample_weights, sparse)
    if len(input._shape) != 1:
        raise ValueError(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {len(input._shape)}")
    if offsets is None:
        raise ValueError("offsets has to be a 1D Tensor but got None")
    if len(offsets._shape) != 1:
        raise ValueError("offsets has to be a 1D Tensor")
    bag, count = _bag_numbers(input, offsets, include_last_offset)
    if mode == "max":
        # [bags, n, columns]: one more axis instead of a scatter, so that ties and gradients are amax's
        member = (bag.unsqueeze(0) == _column(count)).unsqueeze(2)  # type: ignore[attr-defined]
        rows = _rows("embedding_bag", weight, input, padding, scale_grad_by_freq, sparse).unsqueeze(0)  # type: ignore[attr-defined]
        if padding is not None:
            member = member & (input != padding).unsqueeze(1)  # type: ignore[attr-defined]
        return _max_of(where(member, rows, float("-inf")), member)
    rows = _rows("embedding_bag", weight, input, padding, scale_grad_by_freq, sparse)
    dt, rows = rows._dtype, wide(rows)  # half precision is rounded once
    share = cast_tensor(bag.unsqueeze(0) == _column(count), rows._dtype)  # type: ignore[attr-defined]
    if padding is not None:
        share = share * cast_tensor(input != padding, rows._dtype)
    if per_sample_weights is not None:
        share = share * wide(per_sample_weights)
    out = share @ rows  # type: ignore[operator]
    return cast_tensor(out / sum(share, (1,), True).clamp_min(1) if mode == "mean" else out, dt)  # type: ignore[attr-defined]


def _column(n: int) -> Tensor:
    return positions(n).unsqueeze(1)  # type: ignore[attr-defined,no-any-return]


def _max_of(rows: Tensor, member: Tensor) -> Tensor:
    """Maxima over dimension 1; 0 where nothing is a member."""
    return where(member.any(1), amax(rows, (1,)), 0.0) if rows._shape[1] else zeros_like_shape((rows._shape[0], rows._shape[2]), rows)  # type: ignore[attr-defined,no-any-return]


def _fixed_bags(input: Tensor, weight: Tensor, padding: int | None, by_frequency: bool, mode: str, per_sample: Tensor | None,
                sparse: bool) -> Tensor:
    rows = _rows("embedding_bag", weight, input.reshape(-1), padding, by_frequency, sparse)  # type: ignore[attr-defined]
    rows = rows.reshape(*input._shape, weight._shape[1])  # type: ignore[attr-defined]
    counted = None if padding is None else (input != padding).unsqueeze(2)  # type: ignore[attr-defined]
    if mode == "max":
        member = counted if counted is not None else (input == input).unsqueeze(2)  # type: ignore[attr-defined]
        return _max_of(where(member, rows, float("-inf")), member)
    dt, rows = rows._dtype, wide(rows)  # half precision is rounded once
    if per_sample is not None:
        rows = rows * wide(per_sample).unsqueeze(2)  # type: ignore[attr-defined]
    if counted is not None:
        rows = where(counted, rows, 0.0)
    total = sum(rows, (1,))
    if mode == "mean":
        total = total / (max(1, input._shape[1]) if counted is None else cast_tensor(sum(counted, (1,)), total._dtype).clamp_min(1))  # type: ignore[attr-defined]
    return cast_tensor(total, dt)




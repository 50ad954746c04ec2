"""Layers' kernels under the names and with the argument orders that they have in `torch`: convolution, bags, dropout, pools, norms."""
from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

from torsh.autograd.autocast import as_written
from torsh.core.dtypes import bool_, float64, int64
from torsh.core.shapes import wrap_dim
from torsh.ops import adaptive_pool, conv, dropout, embedding, pool
from torsh.ops.composite import positions, rounded_once
from torsh.ops.dispatch import cast_tensor, copy_into, public
from torsh.ops.matmul import linear
from torsh.ops.pointwise import where
from torsh.ops.reduce import argmax, sum, vector_norm
from torsh.ops.views import zeros_like_shape
from torsh.tensor.tensor import Tensor


@public(method=False)
@as_written
@rounded_once
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x1 @ weight[o] @ x2 + bias[o]: [..., i] and [..., j] with weight [o, i, j] give [..., o].

    Raises RuntimeError for shapes that do not fit.
    """
    a, b, w = input1._shape, input2._shape, weight._shape
    if a[:-1] != b[:-1] or len(w) != 3 or a[-1] != w[1] or b[-1] != w[2]:
        raise RuntimeError(f"bilinear(): inputs {list(a)} and {list(b)} do not fit weight {list(w)}: expected [..., {w[1] if len(w) == 3 else '?'}] and "
                           f"[..., {w[2] if len(w) == 3 else '?'}] with equal leading dimensions")
    x, y = input1.reshape(-1, a[-1]), input2.reshape(-1, b[-1])  # type: ignore[attr-defined]
    left = linear(x, weight.permute(0, 2, 1).reshape(w[0] * w[2], w[1])).reshape(-1, w[0], w[2])  # type: ignore[attr-defined]
    out = (left * y.unsqueeze(1)).sum(2).reshape(*a[:-1], w[0])
    return out if bias is None else out + bias  # type: ignore[no-any-return]


@public(method=False)
@as_written
def convolution(input: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int],
                transposed: bool, output_padding: Sequence[int], groups: int) -> Tensor:
    """`conv1d` to `conv3d`, or their transposes, by the number of the weight's dimensions. Raises RuntimeError for what does not fit."""
    k = len(weight._shape) - 2
    if k not in (1, 2, 3) or len(input._shape) != k + 2:
        raise RuntimeError(f"convolution: Expected {k + 2}-dimensional input for {k + 2}-dimensional weight {list(weight._shape)}, but got "
                           f"{len(input._shape)}-dimensional input of size {list(input._shape)} instead")

    def each(values: Sequence[int]) -> Any:
        return tuple(values) * k if len(tuple(values)) == 1 else tuple(values)
    if transposed:
        return getattr(conv, f"conv_transpose{k}d")(input, weight, bias, each(stride), each(padding), each(output_padding),  # type: ignore[no-any-return]
                                                    groups, each(dilation))
    return getattr(conv, f"conv{k}d")(input, weight, bias, each(stride), each(padding), each(dilation), groups)  # type: ignore[no-any-return]


@public(method=False)
def max_pool1d_with_indices(input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
                            ceil_mode: bool = False) -> tuple[Tensor, Tensor]:
    """`max_pool1d` and where the maxima lie. Raises as it does."""
    return pool.max_pool1d(input, kernel_size, stride or None, padding, dilation, ceil_mode, True)  # type: ignore[no-any-return]


@public(method=False)
def adaptive_max_pool1d(input: Tensor, output_size: Any) -> tuple[Tensor, Tensor]:
    """`torch.nn.functional.adaptive_max_pool1d` and where the maxima lie. Raises as it does."""
    return adaptive_pool.adaptive_max_pool1d(input, output_size, True)  # type: ignore[no-any-return]


# ---- tables


@public("embedding_renorm_", method=False)
def embedding_renorm_(input: Tensor, indices: Tensor, max_norm: float, norm_type: float) -> Tensor:
    """Scale the rows of the table `input` that `indices` name down to a norm of at most `max_norm`, in place. Raises IndexError out of range."""
    embedding._limit_norms(input, indices, max_norm, norm_type)
    return input


@public(method=False)
def embedding_bag(weight: Tensor, indices: Tensor, offsets: Tensor, scale_grad_by_freq: bool = False, mode: int = 0, sparse: bool = False,
                  per_sample_weights: Tensor | None = None, include_last_offset: bool = False, padding_idx: int | None = None) -> tuple[Tensor, ...]:
    """(bags, the bag of each index, the bags' sizes, for maxima the index of each [bags, columns]) of `torch.nn.functional.embedding_bag`, where
    `mode` is 0 for sums, 1 for means, 2 for maxima. What a mode does not need is empty or zeros, as in PyTorch. Raises as it does, and
    RuntimeError for another mode.
    """
    if mode not in (0, 1, 2):
        raise RuntimeError("`mode` must be sum, mean, or max.")
    if padding_idx is not None:
        padding_idx = embedding._padding("embedding_bag", weight, padding_idx)
    out = embedding.embedding_bag(indices, weight, offsets, None, 2, scale_grad_by_freq, ("sum", "mean", "max")[mode], sparse, per_sample_weights,
                                  include_last_offset, padding_idx)
    bag, count = embedding._bag_numbers(indices, offsets, include_last_offset)
    shown = zeros_like_shape((offsets._shape[0],), bag)
    if mode == 0:
        return out, bag if padding_idx is not None or weight._dtype is float64 else zeros_like_shape((0,), bag), shown, shown
    member = bag.unsqueeze(0) == positions(count).unsqueeze(1)  # type: ignore[attr-defined]
    if padding_idx is not None:
        member = member & (indices != padding_idx)
    sizes = cast_tensor(sum(member, (1,)), int64)
    if mode == 1:
        return out, bag, sizes, sizes
    rows = where(member.unsqueeze(2), cast_tensor(weight.detach(), weight._dtype)[indices].unsqueeze(0), float("-inf"))  # type: ignore[attr-defined]
    greatest = indices[argmax(rows, 1)] if indices._shape[0] else zeros_like_shape(out._shape, bag)
    return out, bag, sizes, where(sizes.unsqueeze(1) > 0, cast_tensor(greatest, int64), 0)  # type: ignore[attr-defined]


# ---- dropout


@public(method=False)
def native_dropout(input: Tensor, p: float, train: bool | None) -> tuple[Tensor, Tensor]:
    """(`dropout`, the mask of what was kept); without training (`train` False) a copy and all. Raises ValueError for p outside [0, 1]."""
    dropout._check("native_dropout", p)
    if train is False:
        return input.clone(), zeros_like_shape(input._shape, input).to(bool_).logical_not()  # type: ignore[attr-defined]
    kept = dropout.kept_mask(input._shape, p)
    return input * (cast_tensor(kept, input._dtype) * (0.0 if p == 1 else 1 / (1 - p))), kept


@public(method=False)
def feature_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """Whole channels of [n, c, ...] made 0. Raises ValueError for p outside [0, 1], RuntimeError for fewer than two dimensions."""
    dropout._check("feature_dropout", p)
    return dropout._dropped(input, p, train, dropout._channels("feature_dropout", input)) if train else input


@public("feature_dropout_", method=False)
def feature_dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    """`feature_dropout` in place."""
    found = feature_dropout(input, p, train)
    return input if found is input else copy_into(input, found, "feature_dropout_")


# ---- norms


@public(method=False)
def native_norm(input: Tensor, p: Any = 2, dim: Any = (), keepdim: bool = False, dtype: Any = None) -> Tensor:
    """The p-norm over dimensions, or all, of the elements as `dtype`. Raises IndexError for a dimension out of range."""
    from torsh.core.shapes import wrap_dims
    rank = len(input._shape)
    given = (dim,) if isinstance(dim, (int, Integral)) else tuple(dim)
    axes = wrap_dims(given, rank, "native_norm") if given else tuple(range(rank))
    return vector_norm(input if dtype is None else cast_tensor(input, dtype), 2 if p is None else p, axes, keepdim)


@public(method=False)
def norm_except_dim(v: Tensor, pow: float = 2, dim: int = 0) -> Tensor:
    """The `pow`-norm over all dimensions but one, which stay with size 1; over all, without dimensions, for -1. Raises IndexError out of range."""
    rank = len(v._shape)
    if dim == -1:
        return vector_norm(v, pow, tuple(range(rank)), False)
    d = wrap_dim(dim, rank, "norm_except_dim")
    return vector_norm(v, pow, tuple([i for i in range(rank) if i != d]), True)


__all__ = ["adaptive_max_pool1d", "bilinear", "convolution", "embedding_bag", "embedding_renorm_", "feature_dropout", "feature_dropout_",
           "max_pool1d_with_indices", "native_dropout", "native_norm", "norm_except_dim"]

"""Scaled dot-product attention, composed of products and a softmax."""
from __future__ import annotations

import math

from torsh.autograd.autocast import in_lower_type
from torsh.autograd.grad_mode import state
from torsh.core.dtypes import bool_
from torsh.core.shapes import broadcast
from torsh.ops.composite import HALF, along, positions, wide
from torsh.ops.dispatch import cast_tensor
from torsh.ops.dropout import dropout
from torsh.ops.join import cat
from torsh.ops.matmul import matmul
from torsh.ops.pointwise import where
from torsh.ops.softmax import softmax
from torsh.tensor.tensor import Tensor

#: Causal attention of at least so many rows is computed in so many parts.
_PARTED, _PARTS = 256, 4


def _check(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool, gqa: bool) -> None:
    what = "scaled_dot_product_attention"
    shapes = f"query {list(query._shape)}, key {list(key._shape)}, value {list(value._shape)}"
    if query._dtype is not key._dtype or query._dtype is not value._dtype:
        raise RuntimeError(f"{what}: Expected query, key, and value to have the same dtype, but got query.dtype: {query._dtype.name} key.dtype: "
                           f"{key._dtype.name} and value.dtype: {value._dtype.name} instead.")
    if any(len(t._shape) < 2 for t in (query, key, value)):
        raise RuntimeError(f"{what}: Expected query, key, and value to all be  at least 2 dimensional, but got {shapes}")
    if query._shape[-1] != key._shape[-1] or key._shape[-2] != value._shape[-2]:
        raise RuntimeError(f"{what}: query and key must agree in the last dimension, key and value in the one before it, but got {shapes}")
    if mask is not None and causal:
        raise RuntimeError("_scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True")
    if mask is not None and mask._dtype is not bool_ and mask._dtype.category != 2:
        raise RuntimeError(f"{what}: Expected attn_mask dtype to be bool or float or to match query dtype, but got attn_mask.dtype: {mask._dtype.name}")
    if gqa and (len(query._shape) < 3 or query._shape[-3] % max(1, key._shape[-3]) or query._shape[-3] % max(1, value._shape[-3])):
        raise RuntimeError(f"{what}: Expected the heads of query to be a multiple of those of key and value, but got {shapes}")


def _repeated(t: Tensor, times: int) -> Tensor:
    """Each head of [..., heads, length, size] `times` times in a row."""
    if times == 1:
        return t
    s = t._shape
    return t.unsqueeze(-3).expand(*s[:-2], times, *s[-2:]).reshape(*s[:-3], s[-3] * times, *s[-2:])  # type: ignore[attr-defined,no-any-return]


def _causal_in_parts(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """Causal attention by parts of the rows, each with the columns that it sees: not much more than half of the scores are computed.

    Without derivatives only, which would add up what the parts give to the same keys."""
    rows, columns = query._shape[-2], key._shape[-2]
    step = -(-rows // _PARTS)
    parts = []
    for start in range(0, rows, step):
        count = min(step, rows - start)
        seen = min(start + count, columns)
        scores = matmul(query.narrow(-2, start, count) * scale, key.narrow(-2, 0, seen).transpose(-2, -1))  # type: ignore[attr-defined]
        mask = along(positions(seen), 1, 2) <= along(positions(count), 0, 2) + start  # type: ignore[operator]
        parts.append(matmul(softmax(where(mask, scores, float("-inf")), -1), value.narrow(-2, 0, seen)))  # type: ignore[attr-defined]
    return cat(parts, -2)


@in_lower_type
def scaled_dot_product_attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
                                 is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False) -> Tensor:
    """softmax(query @ key^T * scale + mask) @ value. Vaswani et al., 2017.

    query [..., l, e], key [..., s, e], value [..., s, v] give [..., l, v]; `scale` is 1/sqrt(e) by default. A bool mask
    (broadcast to [..., l, s]) is true where attention is allowed, a floating one is added; `is_causal` lets row i see the
    first i + 1. A row that may attend to nothing gives 0. With `enable_gqa` the heads (dimension -3) of key and value are
    repeated to the query's. Dropout is applied to the weights whenever `dropout_p` > 0. Raises RuntimeError for shapes and
    types that do not fit.
    """
    _check(query, key, value, attn_mask, is_causal, enable_gqa)
    dt = query._dtype
    if dt in HALF:  # scores and weights in float32, rounded once
        return cast_tensor(scaled_dot_product_attention(wide(query), wide(key), wide(value), attn_mask if attn_mask is None else wide(attn_mask), dropout_p,
                                                        is_causal, scale, enable_gqa), dt)
    if enable_gqa:
        heads = query._shape[-3]
        key, value = _repeated(key, heads // key._shape[-3]), _repeated(value, heads // value._shape[-3])
    scale = 1 / math.sqrt(query._shape[-1]) if scale is None else scale
    if is_causal and not dropout_p and query._shape[-2] >= _PARTED and not (state.enabled and any(t._requires_grad for t in (query, key, value))):
        return _causal_in_parts(query, key, value, scale)
    scores = matmul(query * scale, key.transpose(-2, -1))  # type: ignore[attr-defined]
    rows, columns = scores._shape[-2:]
    mask = attn_mask
    if is_causal:
        mask = along(positions(columns), 1, 2) <= along(positions(rows), 0, 2)
    if mask is None:
        weights = softmax(scores, -1)
    else:
        if broadcast(mask._shape, scores._shape, "scaled_dot_product_attention: attn_mask") != scores._shape and len(mask._shape) > len(scores._shape):
            raise RuntimeError(f"scaled_dot_product_attention: attn_mask of shape {list(mask._shape)} does not broadcast to the scores' {list(scores._shape)}")
        if mask._dtype is bool_:
            weights = softmax(where(mask, scores, float("-inf")), -1)
            if not is_causal:  # a row without any allowed position
                weights = where(mask.any(-1, True), weights, 0.0)  # type: ignore[attr-defined]
        else:
            scores = scores + cast_tensor(mask, scores._dtype)
            weights = softmax(scores, -1)
            weights = where((scores != float("-inf")).any(-1, True), weights, 0.0)  # type: ignore[attr-defined]
    return matmul(dropout(weights, dropout_p, True) if dropout_p else weights, value)

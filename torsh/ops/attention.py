"""Scaled dot-product attention: one operation with a kernel of its own, or composed of products and a softmax."""
from __future__ import annotations

import math
from typing import Any

from torsh.autograd.autocast import in_lower_type
from torsh.autograd.grad_mode import state
from torsh.autograd.graph import GradNode
from torsh.core.dtypes import bool_, float32, float64
from torsh.core.shapes import broadcast
from torsh.ops.composite import HALF, along, positions, wide
from torsh.ops.dispatch import apply_several, cast_tensor, coarse
from torsh.ops.dropout import dropout
from torsh.ops.matmul import matmul
from torsh.ops.pointwise import exp, log, where
from torsh.ops.reduce import amax, sum
from torsh.ops.softmax import softmax
from torsh.tensor.tensor import Tensor

#: With fewer rows or keys than this the kernel for all of attention, which works on tiles of so many rows, does not pay.
_FEW = 8
_NEVER = float("-inf")


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


def _weights(query: Tensor, key: Tensor, mask: Tensor | None, causal: bool, scale: float) -> tuple[Tensor, Tensor]:
    """(softmax of the scores, the scores with everything that is added to them); key has the query's heads."""
    scores = matmul(query * scale, key.transpose(-2, -1))  # type: ignore[attr-defined]
    rows, columns = scores._shape[-2:]
    if causal:
        scores = where(along(positions(columns), 1, 2) <= along(positions(rows), 0, 2), scores, _NEVER)  # type: ignore[operator]
    if mask is None:
        return softmax(scores, -1), scores
    scores = where(mask, scores, _NEVER) if mask._dtype is bool_ else scores + cast_tensor(mask, scores._dtype)
    return where((scores != _NEVER).any(-1, True), softmax(scores, -1), 0.0), scores  # a row without any allowed position gives 0


# ---- attention as one operation: query [b, h, l, e], key [b, k, s, e], value [b, k, s, v], a mask [b, h, l, s] or none; static: causal, scale, native


def _attention(query: Tensor, key: Tensor, value: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    """The output as [b, l, h, v] and the logarithms of the sums of the exponentials of the scores, infinity where there is none."""
    *masks, causal, scale, _, _ = rest
    times = query._shape[1] // key._shape[1]
    weights, scores = _weights(query, _repeated(key, times), masks[0] if masks else None, causal, scale)
    top = amax(scores, (-1,), True)
    top = where(top == _NEVER, 0.0, top)
    total = sum(exp(scores - top), (-1,), True)
    logs = where(total == 0, float("inf"), top + log(total)).squeeze(-1)  # type: ignore[attr-defined]
    return matmul(weights, _repeated(value, times)).transpose(1, 2), logs  # type: ignore[attr-defined]


def _by_key_heads(g: Tensor, times: int) -> Tensor:
    """The sum over the heads that share keys."""
    b, h, rows, size = g._shape
    return g if times == 1 else sum(g.reshape(b, h // times, times, rows, size), (2,))  # type: ignore[attr-defined]


def _attention_gradient(g: Tensor, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool, scale: float) -> tuple[Tensor, ...]:
    """The gradients of query, key and value, as [b, rows, heads, size], from that of the output."""
    times = query._shape[1] // key._shape[1]
    keys, values = _repeated(key, times), _repeated(value, times)
    weights, _ = _weights(query, keys, mask, causal, scale)
    g = g.transpose(1, 2)  # type: ignore[attr-defined]
    to_weights = matmul(g, values.transpose(-2, -1))  # type: ignore[attr-defined]
    to_scores = weights * (to_weights - sum(to_weights * weights, (-1,), True)) * scale
    found = (matmul(to_scores, keys), _by_key_heads(matmul(to_scores.transpose(-2, -1), query), times),
             _by_key_heads(matmul(weights.transpose(-2, -1), g), times))  # type: ignore[attr-defined]
    return tuple([f.transpose(1, 2) for f in found])  # type: ignore[attr-defined]


def _attention_backward(g: Tensor, query: Tensor, key: Tensor, value: Tensor, dots: Tensor, logs: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    """`dots`, the sums of g * output over each row, and `logs` let the kernel make the weights and their gradients from the scores."""
    *masks, causal, scale, _, _ = rest
    return _attention_gradient(g, query, key, value, masks[0] if masks else None, causal, scale)


_BACKWARD = coarse("attention_backward", _attention_backward, None)


def _attention_vjp(ctx: GradNode, g: Tensor | None, _: Tensor | None) -> tuple[Tensor | None, ...]:
    query, key, value, *masks = (ctx[i] for i in range(len(ctx.shapes)))
    if g is None:
        return (None,) * len(ctx.shapes)
    causal, scale, _, _ = ctx.arg
    if state.enabled:
        found = _attention_gradient(g, query, key, value, masks[0] if masks else None, causal, scale)
    else:
        outputs = tuple([((s[0], s[2], s[1], s[3]), g._dtype) for s in ctx.shapes[:3]])
        found = apply_several(_BACKWARD, (g, query, key, value, sum(g * ctx.saved_output(0), (-1,)), ctx.saved_output(1), *masks), ctx.arg, outputs)
    return (*[f.transpose(1, 2) if need else None for f, need in zip(found, ctx.needs, strict=False)], *[None] * len(masks))  # type: ignore[attr-defined]


_ATTENTION = coarse("attention", _attention, _attention_vjp, (0, 1, 2, 3), True, "ScaledDotProductFlashAttentionForCpuBackward0")


def _whole(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool, scale: float, gqa: bool) -> Tensor | None:
    """Attention by the kernel for all of it, or None where it is not made for such arguments."""
    lead = query._shape[:-2]
    if query._dtype not in (float32, float64) or min(query._shape[-2], key._shape[-2]) < _FEW or 0 in (*lead, query._shape[-1], value._shape[-1]):
        return None
    if any(t._shape[:-2] != (lead if not gqa or t is query else (*lead[:-1], key._shape[-3])) for t in (key, value)):
        return None
    if mask is not None:
        if state.enabled and mask._requires_grad:
            return None
        mask = (mask if mask._dtype is bool_ else cast_tensor(mask, query._dtype)).expand(*lead, query._shape[-2], key._shape[-2])  # type: ignore[attr-defined]
    tensors = [t for t in (query, key, value, mask) if t is not None]
    if len(lead) != 2:
        tensors = [t.reshape(-1, t._shape[-3] if gqa else 1, *t._shape[-2:]) for t in tensors]  # type: ignore[attr-defined]
    q, _, v = tensors[:3]
    out, _ = apply_several(_ATTENTION, tuple(tensors), (causal, scale, gqa, True),
                           (((q._shape[0], q._shape[2], q._shape[1], v._shape[3]), q._dtype), (q._shape[:3], q._dtype)))
    out = out.transpose(1, 2)  # type: ignore[attr-defined]
    return out if len(lead) == 2 else out.reshape(*lead, q._shape[2], v._shape[3])  # type: ignore[attr-defined,no-any-return]


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
    scale = 1 / math.sqrt(query._shape[-1]) if scale is None else scale
    mask = attn_mask
    if mask is not None:
        shape = (*broadcast(query._shape[:-2], () if enable_gqa else key._shape[:-2], "scaled_dot_product_attention"), query._shape[-2], key._shape[-2])
        if broadcast(mask._shape, shape, "scaled_dot_product_attention: attn_mask") != shape and len(mask._shape) > len(shape):
            raise RuntimeError(f"scaled_dot_product_attention: attn_mask of shape {list(mask._shape)} does not broadcast to the scores' {list(shape)}")
    if not dropout_p:
        found = _whole(query, key, value, mask, is_causal, scale, enable_gqa)
        if found is not None:
            return found
    if enable_gqa:
        heads = query._shape[-3]
        key, value = _repeated(key, heads // key._shape[-3]), _repeated(value, heads // value._shape[-3])
    weights, _ = _weights(query, key, mask, is_causal, scale)
    return matmul(dropout(weights, dropout_p, True) if dropout_p else weights, value)

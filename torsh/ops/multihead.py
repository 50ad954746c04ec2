"""Multi-head attention. Vaswani et al., 2017."""
from __future__ import annotations

import math
import warnings
from typing import Any

from torsh.core.dtypes import bool_
from torsh.ops.attention import scaled_dot_product_attention
from torsh.ops.composite import rounded_once
from torsh.ops.dropout import dropout
from torsh.ops.join import cat
from torsh.ops.matmul import bmm, linear
from torsh.ops.pad import pad
from torsh.ops.softmax import softmax
from torsh.tensor.creation import zeros, zeros_like
from torsh.tensor.tensor import Tensor


def canonical_mask(mask: Tensor | None, name: str, like: Tensor, other: Tensor | None = None, other_name: str = "") -> Tensor | None:
    """A mask to be added to scores: a bool one becomes -inf where it is true. Raises AssertionError for integers."""
    if mask is None:
        return None
    floating = mask._dtype.category == 2
    if mask._dtype is not bool_ and not floating:
        raise AssertionError(f"only bool and floating types of {name} are supported")
    if other is not None and other._dtype is not mask._dtype:
        warnings.warn(f"Support for mismatched {name} and {other_name} is deprecated. Use same type for both instead.", stacklevel=3)
    return mask if floating else zeros_like(mask, dtype=like._dtype).masked_fill(mask, float("-inf"))  # type: ignore[no-any-return,attr-defined]


def _is_batched(query: Tensor, key: Tensor, value: Tensor, padding: Tensor | None, mask: Tensor | None, heads: int) -> bool:
    """Whether the inputs have a batch dimension. Raises AssertionError when their dimensions do not go together."""
    n = len(query._shape)
    if n not in (2, 3):
        raise AssertionError(f"query should be unbatched 2D or batched 3D tensor but received {n}-D query tensor")
    what = f"For {'batched (3-D)' if n == 3 else 'unbatched (2-D)'} `query`, expected"
    if len(key._shape) != n or len(value._shape) != n:
        raise AssertionError(f"{what} `key` and `value` to be {n}-D but found {len(key._shape)}-D and {len(value._shape)}-D tensors respectively")
    if padding is not None and len(padding._shape) != n - 1:
        raise AssertionError(f"{what} `key_padding_mask` to be `None` or {n - 1}-D but found {len(padding._shape)}-D tensor instead")
    if mask is not None:
        if len(mask._shape) not in (2, 3):
            raise AssertionError(f"{what} `attn_mask` to be `None`, 2-D or 3-D but found {len(mask._shape)}-D tensor instead")
        if n == 2 and len(mask._shape) == 3 and mask._shape != (heads, query._shape[0], key._shape[0]):
            raise AssertionError(f"Expected `attn_mask` shape to be {(heads, query._shape[0], key._shape[0])} but got {mask.shape}")
    return n == 3


def _projected(query: Tensor, key: Tensor, value: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value through the three blocks of one weight [3 e, e]; what is the same tensor goes through at once."""
    e = query._shape[-1]
    rows: Any = weight
    if key is value and query is key:
        both: Any = linear(query, weight, bias)
        return both[..., :e], both[..., e:2 * e], both[..., 2 * e:]
    parts = [None] * 3 if bias is None else [bias[i * e:(i + 1) * e] for i in range(3)]
    q = linear(query, rows[:e], parts[0])
    if key is value:
        both = linear(key, rows[e:], None if bias is None else bias[e:])
        return q, both[..., :e], both[..., e:]
    return q, linear(key, rows[e:2 * e], parts[1]), linear(value, rows[2 * e:], parts[2])


def _projected_apart(tensors: tuple[Tensor, Tensor, Tensor], weights: tuple[Tensor | None, ...], bias: Tensor | None) -> list[Tensor]:
    e = tensors[0]._shape[-1]
    out = []
    for i, (name, t, w) in enumerate(zip("qkv", tensors, weights, strict=True)):
        if w is None:
            raise AssertionError(f"use_separate_proj_weight is True but {name}_proj_weight is None")
        if w._shape != (e, t._shape[-1]):
            raise AssertionError(f"expecting {('query', 'key', 'value')[i]} weights shape of {(e, t._shape[-1])}, but got {w.shape}")
        out.append(linear(t, w, None if bias is None else bias[i * e:(i + 1) * e]))
    return out


def _check_mask(mask: Tensor, rows: int, columns: int, batch: int) -> Tensor:
    """A mask as [1 or batch * heads, rows, columns]. Raises RuntimeError for another shape."""
    shape = mask._shape
    expected = (rows, columns) if len(shape) == 2 else (batch, rows, columns)
    if len(shape) not in (2, 3):
        raise RuntimeError(f"attn_mask's dimension {len(shape)} is not supported")
    if shape != expected:
        raise RuntimeError(f"The shape of the {len(shape)}D attn_mask is {mask.shape}, but should be {expected}.")
    return mask.unsqueeze(0) if len(shape) == 2 else mask  # type: ignore[no-any-return,attr-defined]


def _heads(t: Any, batch: int, size: int, static: Tensor | None, name: str) -> Any:
    """[length, n, e] as [n * heads, length, size], or the static tensor that replaces it."""
    if static is None:
        return t.reshape(t._shape[0], batch, size).transpose(0, 1)
    for d, want in ((0, batch), (2, size)):
        if static._shape[d] != want:
            raise AssertionError(f"expecting {name}.size({d}) of {want}, but got {static._shape[d]}")
    return static


@rounded_once
def multi_head_attention_forward(query: Tensor, key: Tensor, value: Tensor, embed_dim_to_check: int, num_heads: int, in_proj_weight: Tensor | None,
                                 in_proj_bias: Tensor | None, bias_k: Tensor | None, bias_v: Tensor | None, add_zero_attn: bool, dropout_p: float,
                                 out_proj_weight: Tensor, out_proj_bias: Tensor | None, training: bool = True,
                                 key_padding_mask: Tensor | None = None, need_weights: bool = True, attn_mask: Tensor | None = None,
                                 use_separate_proj_weight: bool = False, q_proj_weight: Tensor | None = None, k_proj_weight: Tensor | None = None,
                                 v_proj_weight: Tensor | None = None, static_k: Tensor | None = None, static_v: Tensor | None = None,
                                 average_attn_weights: bool = True, is_causal: bool = False) -> tuple[Tensor, Tensor | None]:
    """Attention of query [l, n, e] on key and value [s, n, e] in `num_heads` heads: (output [l, n, e], weights [n, l, s] if `need_weights`).

    Without the dimension n for one sequence. `in_proj_weight` [3 e, e] projects to the heads (or the three separate weights), `out_proj_weight`
    back. Masks: `key_padding_mask` [n, s], `attn_mask` [l, s] or [n * heads, l, s]; a bool one is true where attention is forbidden, a floating
    one is added. `bias_k` and `bias_v` add a key and value of their own, `add_zero_attn` one of zeros. Raises AssertionError and RuntimeError
    for shapes that do not fit.
    """
    batched = _is_batched(query, key, value, key_padding_mask, attn_mask, num_heads)
    q: Any
    k: Any
    v: Any
    if not batched:  # the same tensor must stay the same one
        made = {id(t): t.unsqueeze(1) for t in (query, key, value)}  # type: ignore[attr-defined]
        query, key, value = (made[id(t)] for t in (query, key, value))
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)  # type: ignore[attr-defined]
    rows, n, e = query._shape
    columns = key._shape[0]
    padding: Any = canonical_mask(key_padding_mask, "key_padding_mask", query, attn_mask, "attn_mask")
    if is_causal and attn_mask is None:
        raise RuntimeError("Need attn_mask if specifying the is_causal hint. You may use the Transformer module method "
                           "`generate_square_subsequent_mask` to create this mask.")
    mask: Any = None
    if not (is_causal and padding is None and not need_weights):
        mask = canonical_mask(attn_mask, "attn_mask", query)
        is_causal = is_causal and padding is None
    if e != embed_dim_to_check:
        raise AssertionError(f"was expecting embedding dimension of {embed_dim_to_check}, but got {e}")
    size = e // num_heads
    if size * num_heads != e:
        raise AssertionError(f"embed_dim {e} not divisible by num_heads {num_heads}")
    if use_separate_proj_weight:
        if key._shape[:2] != value._shape[:2]:
            raise AssertionError(f"key's sequence and batch dims {key.shape[:2]} do not match value's {value.shape[:2]}")
        q, k, v = _projected_apart((query, key, value), (q_proj_weight, k_proj_weight, v_proj_weight), in_proj_bias)
    else:
        if key._shape != value._shape:
            raise AssertionError(f"key shape {key.shape} does not match value shape {value.shape}")
        if in_proj_weight is None:
            raise AssertionError("use_separate_proj_weight is False but in_proj_weight is None")
        q, k, v = _projected(query, key, value, in_proj_weight, in_proj_bias)
    if mask is not None:
        mask = _check_mask(mask, rows, columns, n * num_heads)
    if (bias_k is None) != (bias_v is None):
        raise AssertionError("bias_k is set but bias_v is None" if bias_v is None else "bias_v is set but bias_k is None")
    added = 0
    if bias_k is not None and bias_v is not None:
        if static_k is not None or static_v is not None:
            raise AssertionError(f"bias cannot be added to static {'key' if static_k is not None else 'value'}.")
        k, v = (cat([t, b.expand(1, n, e)]) for t, b in ((k, bias_k), (v, bias_v)))  # type: ignore[attr-defined]
        added += 1
    q = _heads(q, n * num_heads, size, None, "")
    k, v = _heads(k, n * num_heads, size, static_k, "static_k"), _heads(v, n * num_heads, size, static_v, "static_v")
    if add_zero_attn:
        nothing = zeros((n * num_heads, 1, size), dtype=k._dtype)
        k, v = cat([k, nothing], 1), cat([v, nothing], 1)
        added += 1
    if added:
        mask, padding = (None if m is None else pad(m, (0, added)) for m in (mask, padding))
    columns = k._shape[1]
    if padding is not None:
        for d, want in ((0, n), (1, columns)):
            if padding._shape[d] != want:
                raise AssertionError(f"Expected key_padded_mask.shape[{d}] to be {want}, but got {padding._shape[d]}")
        spread = padding.reshape(n, 1, 1, columns).expand(n, num_heads, 1, columns).reshape(n * num_heads, 1, columns)
        mask = spread if mask is None else mask + spread
    p = dropout_p if training else 0.0
    weights: Any = None
    if need_weights:
        scores = bmm(q * math.sqrt(1.0 / size), k.transpose(1, 2))
        weights = softmax(scores if mask is None else scores + mask, -1)
        weights = dropout(weights, p) if p > 0.0 else weights
        found: Any = bmm(weights, v).transpose(0, 1).reshape(rows, n, e)  # type: ignore[attr-defined]
        weights = weights.reshape(n, num_heads, rows, columns)
        weights = weights.mean(1) if average_attn_weights else weights
        weights = weights if batched else weights.squeeze(0)
    else:
        if mask is not None:
            mask = mask.unsqueeze(0) if mask._shape[0] == 1 else mask.reshape(n, num_heads, -1, columns)
        q, k, v = (t.reshape(n, num_heads, t._shape[1], size) for t in (q, k, v))
        found = scaled_dot_product_attention(q, k, v, mask, p, is_causal).permute(2, 0, 1, 3).reshape(rows, n, e)  # type: ignore[attr-defined]
    out: Any = linear(found, out_proj_weight, out_proj_bias)
    return (out if batched else out.squeeze(1)), weights

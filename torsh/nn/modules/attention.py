"""MultiheadAttention."""
from __future__ import annotations

from typing import Any

from torsh.nn import functional as F
from torsh.nn import init
from torsh.nn.module import Module
from torsh.nn.modules.basic import Linear
from torsh.nn.parameter import Parameter
from torsh.ops.multihead import canonical_mask
from torsh.tensor.creation import empty
from torsh.tensor.tensor import Tensor


class NonDynamicallyQuantizableLinear(Linear):
    """`Linear`, by the name that PyTorch shows for an output projection."""


class MultiheadAttention(Module):
    """Attention in `num_heads` heads: query [l, n, e], key [s, n, kdim] and value [s, n, vdim] give (output [l, n, e], weights [n, l, s]).

    With `batch_first` n comes first; without it for one sequence. Vaswani et al., 2017. Raises ValueError and AssertionError for sizes that do
    not fit.

    >>> import torsh
    >>> x = torsh.zeros(5, 2, 8)
    >>> out, weights = MultiheadAttention(8, 2)(x, x, x)
    >>> out.shape, weights.shape
    (torsh.Size([5, 2, 8]), torsh.Size([2, 5, 5]))
    """

    def __init__(self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True, add_bias_kv: bool = False,
                 add_zero_attn: bool = False, kdim: int | None = None, vdim: int | None = None, batch_first: bool = False, device: Any = None,
                 dtype: Any = None) -> None:
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(f"embed_dim and num_heads must be greater than 0, got embed_dim={embed_dim} and num_heads={num_heads} instead")
        super().__init__()
        self.embed_dim = embed_dim
        self.kdim = kdim if kdim is not None else embed_dim
        self.vdim = vdim if vdim is not None else embed_dim
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim
        self.num_heads = num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.head_dim = embed_dim // num_heads
        if self.head_dim * num_heads != embed_dim:
            raise AssertionError("embed_dim must be divisible by num_heads")
        options = {"device": device, "dtype": dtype}
        if self._qkv_same_embed_dim:
            self.in_proj_weight = Parameter(empty((3 * embed_dim, embed_dim), **options))
            for name in ("q_proj_weight", "k_proj_weight", "v_proj_weight"):
                self.register_parameter(name, None)
        else:
            for name, size in (("q_proj_weight", embed_dim), ("k_proj_weight", self.kdim), ("v_proj_weight", self.vdim)):
                setattr(self, name, Parameter(empty((embed_dim, size), **options)))
            self.register_parameter("in_proj_weight", None)
        self.register_parameter("in_proj_bias", Parameter(empty(3 * embed_dim, **options)) if bias else None)
        self.out_proj = NonDynamicallyQuantizableLinear(embed_dim, embed_dim, bias, **options)
        if add_bias_kv:
            self.bias_k: Parameter | None = Parameter(empty((1, 1, embed_dim), **options))
            self.bias_v: Parameter | None = Parameter(empty((1, 1, embed_dim), **options))
        else:
            self.bias_k = self.bias_v = None
        self.add_zero_attn = add_zero_attn
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight)
        if self.in_proj_bias is not None and self.out_proj.bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)
        for b in (self.bias_k, self.bias_v):
            if b is not None:
                init.xavier_normal_(b)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor | None = None, need_weights: bool = True,
                attn_mask: Tensor | None = None, average_attn_weights: bool = True, is_causal: bool = False) -> tuple[Tensor, Tensor | None]:
        """`key_padding_mask` [n, s] and `attn_mask` [l, s] or [n * heads, l, s] are true (or -inf) where attention is forbidden; `is_causal` says
        that `attn_mask` is the causal one. Weights are averaged over the heads, or [n, heads, l, s]."""
        swapped = self.batch_first and len(query._shape) == 3
        padding = canonical_mask(key_padding_mask, "key_padding_mask", query, attn_mask, "attn_mask")
        mask = canonical_mask(attn_mask, "attn_mask", query)
        if swapped:
            made = {id(t): t.transpose(0, 1) for t in (query, key, value)}  # type: ignore[attr-defined]
            query, key, value = (made[id(t)] for t in (query, key, value))
        out: Any
        out, weights = F.multi_head_attention_forward(
            query, key, value, self.embed_dim, self.num_heads, self.in_proj_weight, self.in_proj_bias, self.bias_k, self.bias_v,
            self.add_zero_attn, self.dropout, self.out_proj.weight, self.out_proj.bias, self.training, padding, need_weights, mask,
            not self._qkv_same_embed_dim, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight,
            average_attn_weights=average_attn_weights, is_causal=is_causal)
        return (out.transpose(0, 1) if swapped else out), weights


__all__ = ["MultiheadAttention"]

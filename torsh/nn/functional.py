"""torch.nn.functional: the functions of neural networks under PyTorch's names and signatures."""
from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

from torsh.ops import activation as _a
from torsh.ops.activation import gelu as gelu
from torsh.ops.activation import glu as glu
from torsh.ops.activation import hardshrink as hardshrink
from torsh.ops.activation import logsigmoid as logsigmoid
from torsh.ops.activation import prelu as prelu
from torsh.ops.activation import softplus as softplus
from torsh.ops.activation import softshrink as softshrink
from torsh.ops.activation import softsign as softsign
from torsh.ops.activation import tanhshrink as tanhshrink
from torsh.ops.adaptive_pool import adaptive_avg_pool1d as adaptive_avg_pool1d
from torsh.ops.adaptive_pool import adaptive_avg_pool2d as adaptive_avg_pool2d
from torsh.ops.adaptive_pool import adaptive_avg_pool3d as adaptive_avg_pool3d
from torsh.ops.adaptive_pool import adaptive_max_pool1d as adaptive_max_pool1d
from torsh.ops.adaptive_pool import adaptive_max_pool2d as adaptive_max_pool2d
from torsh.ops.adaptive_pool import adaptive_max_pool3d as adaptive_max_pool3d
from torsh.ops.adaptive_pool import fold as fold
from torsh.ops.adaptive_pool import max_unpool1d as max_unpool1d
from torsh.ops.adaptive_pool import max_unpool2d as max_unpool2d
from torsh.ops.adaptive_pool import max_unpool3d as max_unpool3d
from torsh.ops.adaptive_pool import unfold as unfold
from torsh.ops.attention import scaled_dot_product_attention as scaled_dot_product_attention
from torsh.ops.conv import conv1d as conv1d
from torsh.ops.conv import conv2d as conv2d
from torsh.ops.conv import conv3d as conv3d
from torsh.ops.conv import conv_tbc as conv_tbc
from torsh.ops.conv import conv_transpose1d as conv_transpose1d
from torsh.ops.conv import conv_transpose2d as conv_transpose2d
from torsh.ops.conv import conv_transpose3d as conv_transpose3d
from torsh.ops.cross_entropy import cross_entropy as cross_entropy
from torsh.ops.cross_entropy import nll_loss as nll_loss
from torsh.ops.ctc import ctc_loss as ctc_loss
from torsh.ops.dispatch import check_writable as _check_writable
from torsh.ops.dispatch import copy_into as _copy_into
from torsh.ops.dispatch import write_out as _write_out
from torsh.ops.dropout import alpha_dropout as alpha_dropout
from torsh.ops.dropout import dropout as dropout
from torsh.ops.dropout import dropout1d as dropout1d
from torsh.ops.dropout import dropout2d as dropout2d
from torsh.ops.dropout import dropout3d as dropout3d
from torsh.ops.dropout import feature_alpha_dropout as feature_alpha_dropout
from torsh.ops.embedding import embedding as embedding
from torsh.ops.embedding import embedding_bag as embedding_bag
from torsh.ops.fractional_pool import fractional_max_pool2d as fractional_max_pool2d
from torsh.ops.fractional_pool import fractional_max_pool2d_with_indices as fractional_max_pool2d_with_indices
from torsh.ops.fractional_pool import fractional_max_pool3d as fractional_max_pool3d
from torsh.ops.fractional_pool import fractional_max_pool3d_with_indices as fractional_max_pool3d_with_indices
from torsh.ops.gather import one_hot as one_hot
from torsh.ops.grid import affine_grid as affine_grid
from torsh.ops.grid import grid_sample as grid_sample
from torsh.ops.grouped import ScalingType as ScalingType
from torsh.ops.grouped import SwizzleType as SwizzleType
from torsh.ops.grouped import grouped_mm as grouped_mm
from torsh.ops.grouped import scaled_mm as scaled_mm
from torsh.ops.linear_loss import linear_cross_entropy as linear_cross_entropy
from torsh.ops.loss import binary_cross_entropy as binary_cross_entropy
from torsh.ops.loss import binary_cross_entropy_with_logits as binary_cross_entropy_with_logits
from torsh.ops.loss import cosine_embedding_loss as cosine_embedding_loss
from torsh.ops.loss import gaussian_nll_loss as gaussian_nll_loss
from torsh.ops.loss import hinge_embedding_loss as hinge_embedding_loss
from torsh.ops.loss import huber_loss as huber_loss
from torsh.ops.loss import kl_div as kl_div
from torsh.ops.loss import l1_loss as l1_loss
from torsh.ops.loss import margin_ranking_loss as margin_ranking_loss
from torsh.ops.loss import mse_loss as mse_loss
from torsh.ops.loss import multi_margin_loss as multi_margin_loss
from torsh.ops.loss import multilabel_margin_loss as multilabel_margin_loss
from torsh.ops.loss import multilabel_soft_margin_loss as multilabel_soft_margin_loss
from torsh.ops.loss import poisson_nll_loss as poisson_nll_loss
from torsh.ops.loss import smooth_l1_loss as smooth_l1_loss
from torsh.ops.loss import soft_margin_loss as soft_margin_loss
from torsh.ops.loss import triplet_margin_loss as triplet_margin_loss
from torsh.ops.loss import triplet_margin_with_distance_loss as triplet_margin_with_distance_loss
from torsh.ops.matmul import linear as linear
from torsh.ops.multihead import multi_head_attention_forward as multi_head_attention_forward
from torsh.ops.native_layers import bilinear as bilinear
from torsh.ops.norm import batch_norm as batch_norm
from torsh.ops.norm import group_norm as group_norm
from torsh.ops.norm import instance_norm as instance_norm
from torsh.ops.norm import layer_norm as layer_norm
from torsh.ops.norm import local_response_norm as local_response_norm
from torsh.ops.norm import normalize as normalize
from torsh.ops.norm import rms_norm as rms_norm
from torsh.ops.pad import pad as pad
from torsh.ops.pointwise import sigmoid as sigmoid
from torsh.ops.pointwise import tanh as tanh
from torsh.ops.pool import avg_pool1d as avg_pool1d
from torsh.ops.pool import avg_pool2d as avg_pool2d
from torsh.ops.pool import avg_pool3d as avg_pool3d
from torsh.ops.pool import lp_pool1d as lp_pool1d
from torsh.ops.pool import lp_pool2d as lp_pool2d
from torsh.ops.pool import lp_pool3d as lp_pool3d
from torsh.ops.pool import max_pool1d as max_pool1d
from torsh.ops.pool import max_pool2d as max_pool2d
from torsh.ops.pool import max_pool3d as max_pool3d
from torsh.ops.resample import channel_shuffle as channel_shuffle
from torsh.ops.resample import interpolate as interpolate
from torsh.ops.resample import pixel_shuffle as pixel_shuffle
from torsh.ops.resample import pixel_unshuffle as pixel_unshuffle
from torsh.ops.similarity import cosine_similarity as cosine_similarity
from torsh.ops.similarity import pairwise_distance as pairwise_distance
from torsh.ops.similarity import pdist as pdist
from torsh.ops.softmax import functional_log_softmax as log_softmax
from torsh.ops.softmax import functional_softmax as softmax
from torsh.ops.softmax import softmin as softmin
from torsh.tensor.creation import empty_like, zeros_like
from torsh.tensor.tensor import Tensor

_ = (log_softmax, softmax)


def _flagged(f: Callable[..., Tensor], x: Tensor, inplace: bool, *args: Any) -> Tensor:
    """`f(x, *args)`, written into x if `inplace`."""
    if not inplace:
        return f(x, *args)
    return _written(f, x, *args)


def _written(f: Callable[..., Tensor], x: Tensor, *args: Any) -> Tensor:
    from torsh.autograd.graph import needs_record, snapshot
    _check_writable(x)
    return _copy_into(x, f(snapshot(x) if needs_record((x,)) else x, *args), f.__name__ + "_")


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0) of each element."""
    return _flagged(_a.relu, input, inplace)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """Each element limited to [0, 6]."""
    return _flagged(_a.relu6, input, inplace)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where positive, else negative_slope * x."""
    return _flagged(_a.leaky_relu, input, inplace, negative_slope)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where positive, else alpha * (exp(x) - 1)."""
    return _flagged(_a.elu, input, inplace, alpha)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """The elu whose constants keep mean 0 and variance 1."""
    return _flagged(_a.selu, input, inplace)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """max(0, x) + min(0, alpha * (exp(x / alpha) - 1))."""
    return _flagged(_a.celu, input, inplace, alpha)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x * sigmoid(x) of each element."""
    return _flagged(_a.silu, input, inplace)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * tanh(softplus(x)) of each element."""
    return _flagged(_a.mish, input, inplace)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """Each element limited to [min_val, max_val]."""
    return _flagged(_a.hardtanh, input, inplace, min_val, max_val)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """clamp(x + 3, 0, 6) / 6 of each element."""
    return _flagged(_a.hardsigmoid, input, inplace)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * clamp(x + 3, 0, 6) / 6 of each element."""
    return _flagged(_a.hardswish, input, inplace)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x where it is above `threshold`, else `value`."""
    return _flagged(_a.threshold, input, inplace, threshold, value)


def rrelu(input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, inplace: bool = False) -> Tensor:
    """leaky_relu with slopes drawn at random in training, else with their mean."""
    return _flagged(_a.rrelu, input, inplace, lower, upper, training)


def relu_(input: Tensor) -> Tensor:
    """`relu` in place."""
    return _written(_a.relu, input)


def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """`leaky_relu` in place."""
    return _written(_a.leaky_relu, input, negative_slope)


def elu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """`elu` in place."""
    return _written(_a.elu, input, alpha)


def selu_(input: Tensor) -> Tensor:
    """`selu` in place."""
    return _written(_a.selu, input)


def celu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """`celu` in place."""
    return _written(_a.celu, input, alpha)


def hardtanh_(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """`hardtanh` in place."""
    return _written(_a.hardtanh, input, min_val, max_val)


def threshold_(input: Tensor, threshold: float, value: float) -> Tensor:
    """`threshold` in place."""
    return _written(_a.threshold, input, threshold, value)


def rrelu_(input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False) -> Tensor:
    """`rrelu` in place."""
    return _written(_a.rrelu, input, lower, upper, training)


def _or_into(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """With an `out=` argument, which takes the result."""
    @functools.wraps(function)
    def call(*args: Any, out: Tensor | None = None, **kwargs: Any) -> Tensor:
        value = function(*args, **kwargs)
        return value if out is None else _write_out(out, value, function.__name__)
    return call


# Those that PyTorch has as plain operators, which take `out=`.
avg_pool2d, avg_pool3d, gelu, hardshrink, logsigmoid, softplus, softshrink = (
    _or_into(f) for f in (avg_pool2d, avg_pool3d, gelu, hardshrink, logsigmoid, softplus, softshrink))


def _named_with_indices(call: Callable[..., tuple[Tensor, Tensor]], pool: Callable[..., Any]) -> Callable[..., tuple[Tensor, Tensor]]:
    call.__name__ = call.__qualname__ = f"{pool.__name__}_with_indices"
    call.__doc__ = f"`{pool.__name__}` that returns (values, where they lie) whatever `return_indices` says."
    return call


def _with_indices(pool: Callable[..., Any]) -> Callable[..., tuple[Tensor, Tensor]]:
    """A maximum pool that always returns (values, indices)."""
    def call(input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
             return_indices: bool = False) -> tuple[Tensor, Tensor]:
        return pool(input, kernel_size, stride, padding, dilation, ceil_mode, True)  # type: ignore[no-any-return]
    return _named_with_indices(call, pool)


def _adaptive_with_indices(pool: Callable[..., Any]) -> Callable[..., tuple[Tensor, Tensor]]:
    """An adaptive maximum pool that always returns (values, indices)."""
    def call(input: Tensor, output_size: Any, return_indices: bool = False) -> tuple[Tensor, Tensor]:
        return pool(input, output_size, True)  # type: ignore[no-any-return]
    return _named_with_indices(call, pool)


max_pool1d_with_indices, max_pool2d_with_indices, max_pool3d_with_indices = (_with_indices(f) for f in (max_pool1d, max_pool2d, max_pool3d))
adaptive_max_pool1d_with_indices, adaptive_max_pool2d_with_indices, adaptive_max_pool3d_with_indices = (
    _adaptive_with_indices(f) for f in (adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d))


native_channel_shuffle = channel_shuffle


def assert_int_or_pair(arg: Any, arg_name: str, message: str) -> None:
    """Raises AssertionError, with `message` formatted by the argument's name, unless it is an int or has two elements."""
    if not (isinstance(arg, int) or len(arg) == 2):
        raise AssertionError(message.format(arg_name))


def boolean_dispatch(arg_name: str, arg_index: int, default: bool, if_true: Callable[..., Any], if_false: Callable[..., Any], module_name: str | None,
                     func_name: str | None) -> Callable[..., Any]:
    """A function that calls `if_true` or `if_false` by a boolean argument of its own, known by name and position.

    Of the two, one may have a docstring, which both get. Raises RuntimeError if both have.
    """
    def call(*args: Any, **kwargs: Any) -> Any:
        chosen = kwargs[arg_name] if arg_name in kwargs else args[arg_index] if arg_index < len(args) else default
        return (if_true if chosen else if_false)(*args, **kwargs)
    texts = [f.__doc__ for f in (if_true, if_false) if f.__doc__ is not None]
    if len(texts) > 1:
        raise RuntimeError("only one function can have a docstring")
    call.__doc__ = if_true.__doc__ = if_false.__doc__ = texts[0] if texts else None
    call.__module__, call.__name__ = module_name or call.__module__, func_name or call.__name__
    return call


def gumbel_softmax(logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    """A differentiable sample of categories: softmax((logits + Gumbel noise) / tau), one-hot with the soft one's gradient if `hard`.

    Jang et al., 2017; Maddison et al., 2017.
    """
    if eps != 1e-10:
        warnings.warn("`eps` parameter is deprecated and has no effect.", stacklevel=2)
    noise = -empty_like(logits).exponential_().log()  # type: ignore[attr-defined]
    soft = softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    at = soft.max(dim, keepdim=True)[1]  # type: ignore[attr-defined]
    one = zeros_like(logits).scatter(dim, at, 1.0)  # type: ignore[attr-defined]
    return one - soft.detach() + soft  # type: ignore[no-any-return,attr-defined]


def upsample(input: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None) -> Tensor:
    """`interpolate` by its older name. Deprecated, as in PyTorch."""
    warnings.warn("`nn.functional.upsample` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=2)
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """`interpolate` to the nearest. Deprecated, as in PyTorch."""
    warnings.warn("`nn.functional.upsample_nearest` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=2)
    return interpolate(input, size, scale_factor, mode="nearest")


def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """`interpolate` between neighbours with aligned corners. Deprecated, as in PyTorch."""
    warnings.warn("`nn.functional.upsample_bilinear` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=2)
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)

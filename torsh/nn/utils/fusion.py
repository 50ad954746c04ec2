"""Batch normalization folded into the layer before it, for inference."""
from __future__ import annotations

import copy
from typing import Any

from torsh.nn.parameter import Parameter
from torsh.tensor.creation import ones_like, zeros_like


def fuse_conv_bn_weights(conv_w: Any, conv_b: Any, bn_rm: Any, bn_rv: Any, bn_eps: float, bn_w: Any, bn_b: Any,
                         transpose: bool = False) -> tuple[Parameter, Parameter]:
    """(weight, bias) of a convolution that also does what a batch normalization after it does."""
    bias = zeros_like(bn_rm) if conv_b is None else conv_b
    scale = (ones_like(bn_rm) if bn_w is None else bn_w) * (bn_rv + bn_eps).rsqrt()
    shape = [1, -1] if transpose else [-1, 1]
    weight = (conv_w * scale.reshape(*shape, *[1] * (len(conv_w._shape) - 2))).to(conv_w._dtype)
    shifted: Any = (bias - bn_rm) * scale + (zeros_like(bn_rm) if bn_b is None else bn_b)
    return Parameter(weight.detach(), conv_w.requires_grad), Parameter(shifted.to((conv_w if conv_b is None else conv_b)._dtype).detach(), bias.requires_grad)


def fuse_linear_bn_weights(linear_w: Any, linear_b: Any, bn_rm: Any, bn_rv: Any, bn_eps: float, bn_w: Any, bn_b: Any) -> tuple[Parameter, Parameter]:
    """(weight, bias) of a linear layer that also does what a batch normalization after it does."""
    bias = zeros_like(bn_rm) if linear_b is None else linear_b
    scale = bn_w * (bn_rv + bn_eps).rsqrt()
    weight = linear_w * scale.unsqueeze(-1).to(linear_w._dtype)
    shifted: Any = (bias - bn_rm) * scale + bn_b
    return (Parameter(weight.detach(), linear_w.requires_grad),
            Parameter(shifted.to((linear_w if linear_b is None else linear_b)._dtype).detach(), bias.requires_grad))


def _copied(layer: Any, bn: Any) -> Any:
    if layer.training or bn.training:
        raise AssertionError("Fusion only for eval!")
    if bn.running_mean is None or bn.running_var is None:
        raise AssertionError("bn.running_mean and bn.running_var must not be None")
    return copy.deepcopy(layer)


def fuse_conv_bn_eval(conv: Any, bn: Any, transpose: bool = False) -> Any:
    """A copy of a convolution with the batch normalization after it folded in. Raises AssertionError in training."""
    fused = _copied(conv, bn)
    fused.weight, fused.bias = fuse_conv_bn_weights(fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias, transpose)
    return fused


def fuse_linear_bn_eval(linear: Any, bn: Any) -> Any:
    """A copy of a linear layer with the batch normalization after it folded in. Raises AssertionError in training and for other sizes."""
    fused = _copied(linear, bn)
    if linear.out_features != bn.num_features and bn.num_features != 1:
        raise AssertionError("To fuse, linear.out_features == bn.num_features or bn.num_features == 1, got "
                             f"linear.out_features={linear.out_features} and bn.num_features={bn.num_features}")
    fused.weight, fused.bias = fuse_linear_bn_weights(fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias)
    return fused


__all__ = ["fuse_conv_bn_eval", "fuse_conv_bn_weights", "fuse_linear_bn_eval", "fuse_linear_bn_weights"]

"""What PyTorch's kernels behind `torch.nn.functional` are called in `torch`: other argument orders, numbers for modes and reductions, and statistics."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torsh.core.dtypes import dtype
from torsh.core.layouts import channels_last
from torsh.ops import activation, dropout, embedding, grid, loss, norm, reduce
from torsh.ops.composite import wide
from torsh.ops.dispatch import cast_tensor, public
from torsh.tensor.tensor import Tensor

_REDUCTIONS = ("none", "mean", "sum")


def _reduction(number: int) -> str:
    """PyTorch's number of a reduction as its name. Raises ValueError for another number."""
    if number not in (0, 1, 2):
        raise ValueError(f"{number} is not a valid value for reduction")
    return _REDUCTIONS[number]


# ---- normalizations with their statistics


def _moments(x: Tensor, axes: tuple[int, ...], eps: float, like: dtype) -> tuple[Tensor, Tensor]:
    """Mean and reciprocal deviation over axes, kept with size 1."""
    centre = reduce.mean(wide(x), axes, True)
    spread = reduce.var(wide(x), dim=axes, correction=0, keepdim=True)
    return cast_tensor(centre, like), cast_tensor((spread + eps).rsqrt(), like)


@public(method=False)
def native_layer_norm(input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float) -> tuple[Tensor, ...]:
    """(`layer_norm`, mean, reciprocal deviation), the statistics with size 1 in the dimensions normalized and without
    derivatives. Raises as `layer_norm` does."""
    y = norm.layer_norm(input, normalized_shape, weight, bias, eps)
    n = len(input._shape)
    return (y, *_moments(input.detach(), tuple(range(n - len(tuple(normalized_shape)), n)), eps, input._dtype))


@public(method=False)
def native_group_norm(input: Tensor, weight: Tensor | None, bias: Tensor | None, N: int, C: int, HxW: int, group: int, eps: float) -> tuple[Tensor, ...]:
    """(`group_norm`, mean [N, group], reciprocal deviation [N, group]). Raises as `group_norm` does, and RuntimeError for an input that lies in
    memory neither in row-major order nor channels last."""
    if not input.is_contiguous() and not (len(input._shape) == 4 and input.is_contiguous(memory_format=channels_last)):
        raise RuntimeError(f"native_group_norm: Expected X.is_contiguous(memory_format) to be true, but got strides {list(input.stride())} for shape "
                           f"{list(input._shape)}")
    y = norm.group_norm(input, group, weight, bias, eps)
    centre, spread = _moments(input.reshape(N, group, C // group * HxW), (2,), eps, input._dtype)  # type: ignore[attr-defined]
    return y, centre.squeeze(2), spread.squeeze(2)  # type: ignore[attr-defined]


@public(method=False)
def native_batch_norm(input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None, running_var: Tensor | None,
                      training: bool, momentum: float, eps: float, *, out: Sequence[Tensor] | None = None) -> tuple[Tensor, ...]:
    """(`batch_norm`, mean [c], reciprocal deviation [c]); without training the statistics are empty. Raises as `batch_norm` does, and RuntimeError
    without training when the statistics' `out` are no vectors, since they are not resized then."""
    y = norm.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    if training:
        axes = (0, *range(2, len(input._shape)))
        like = next((t._dtype for t in (weight, running_mean) if t is not None), input._dtype)
        stats = tuple([s.reshape(-1) for s in _moments(input.detach(), axes, eps, like)])  # type: ignore[attr-defined]
    else:
        stats = (input.new_empty(0), input.new_empty(0))  # type: ignore[attr-defined]
    if out is None:
        return y, *stats
    from torsh.ops.dispatch import write_out
    for t in () if training else out[1:]:
        if len(t._shape) != 1:
            raise RuntimeError(f"native_batch_norm: statistics in out= must be 1-D without training, got shape {list(t._shape)}")
    return tuple([write_out(o, v, "native_batch_norm") for o, v in zip(out, (y, *stats), strict=True)])


@public(method=False)
def batch_norm(input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None, running_var: Tensor | None, training: bool,
               momentum: float, eps: float, cudnn_enabled: bool = False) -> Tensor:
    """`torch.nn.functional.batch_norm` with the arguments in another order."""
    return norm.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


# ---- grids


def _grid_sampler(name: str, ndim: int | None) -> None:
    def function(input: Tensor, grid_: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool) -> Tensor:
        if ndim is not None and len(input._shape) != ndim:
            raise RuntimeError(f"{name}(): expected a {ndim}-D input, got shape {list(input._shape)}")
        return grid.grid_sample(input, grid_, ("bilinear", "nearest", "bicubic")[interpolation_mode], ("zeros", "border", "reflection")[padding_mode],
                                align_corners)
    function.__name__ = name
    function.__doc__ = "`grid_sample` with numbers for the modes (0, 1, 2 in the order of its documentation). Raises as it does."
    public(method=False)(function)


_grid_sampler("grid_sampler", None)
_grid_sampler("grid_sampler_2d", 4)
_grid_sampler("grid_sampler_3d", 5)


@public(method=False)
def affine_grid_generator(theta: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """`affine_grid`."""
    return grid.affine_grid(theta, size, align_corners)


# ---- tables


@public("embedding", method=False)
def embedding_(weight: Tensor, indices: Tensor, padding_idx: int = -1, scale_grad_by_freq: bool = False, sparse: bool = False) -> Tensor:
    """Rows of `weight` at `indices`; -1 is no padding row. Raises as `torch.nn.functional.embedding` does."""
    return embedding.embedding(indices, weight, None if padding_idx == -1 else padding_idx, scale_grad_by_freq=scale_grad_by_freq, sparse=sparse)


# ---- losses, with a number for the reduction


@public(method=False)
def kl_div(input: Tensor, target: Tensor, reduction: int = 1, *, log_target: bool = False) -> Tensor:
    """`torch.nn.functional.kl_div`."""
    return loss.kl_div(input, target, reduction=_reduction(reduction), log_target=log_target)


@public(method=False)
def binary_cross_entropy_with_logits(input: Tensor, target: Tensor, weight: Tensor | None = None, pos_weight: Tensor | None = None,
                                     reduction: int = 1) -> Tensor:
    """`torch.nn.functional.binary_cross_entropy_with_logits`."""
    return loss.binary_cross_entropy_with_logits(input, target, weight, pos_weight=pos_weight, reduction=_reduction(reduction))


@public(method=False)
def cosine_embedding_loss(input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: int = 1) -> Tensor:
    """`torch.nn.functional.cosine_embedding_loss`."""
    return loss.cosine_embedding_loss(input1, input2, target, margin, reduction=_reduction(reduction))


@public(method=False)
def hinge_embedding_loss(input: Tensor, target: Tensor, margin: float = 1.0, reduction: int = 1) -> Tensor:
    """`torch.nn.functional.hinge_embedding_loss`."""
    return loss.hinge_embedding_loss(input, target, margin, reduction=_reduction(reduction))


@public(method=False)
def margin_ranking_loss(input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: int = 1) -> Tensor:
    """`torch.nn.functional.margin_ranking_loss`."""
    return loss.margin_ranking_loss(input1, input2, target, margin, reduction=_reduction(reduction))


@public(method=False)
def poisson_nll_loss(input: Tensor, target: Tensor, log_input: bool, full: bool, eps: float, reduction: int) -> Tensor:
    """`torch.nn.functional.poisson_nll_loss`."""
    return loss.poisson_nll_loss(input, target, log_input, full, eps=eps, reduction=_reduction(reduction))


@public(method=False)
def triplet_margin_loss(anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 1.0, p: float = 2, eps: float = 1e-6, swap: bool = False,
                        reduction: int = 1) -> Tensor:
    """`torch.nn.functional.triplet_margin_loss`."""
    return loss.triplet_margin_loss(anchor, positive, negative, margin, p, eps, swap, reduction=_reduction(reduction))


# ---- in place


def _written(name: str, function: Callable[..., Tensor]) -> None:
    def call(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return input.copy_(function(input, *args, **kwargs))  # type: ignore[attr-defined,no-any-return]
    call.__name__ = name
    call.__doc__ = f"`{name[:-1]}` written into its input."
    public(name, method=False)(call)


for _name, _function in (("celu_", activation.celu), ("selu_", activation.selu), ("rrelu_", activation.rrelu), ("threshold_", activation.threshold)):
    _written(_name, _function)


def _dropping(name: str, function: Callable[..., Tensor]) -> None:
    def call(input: Tensor, p: float, train: bool) -> Tensor:
        return function(input, p, train, True)
    call.__name__ = name
    call.__doc__ = f"`{name[:-1]}` written into its input."
    public(name, method=False)(call)


for _name, _function in (("dropout_", dropout.dropout), ("alpha_dropout_", dropout.alpha_dropout),
                         ("feature_alpha_dropout_", dropout.feature_alpha_dropout)):
    _dropping(_name, _function)
__all__ = ["native_batch_norm", "native_group_norm", "native_layer_norm"]

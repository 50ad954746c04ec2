"""The steps of a batch normalization whose batch lies in several places: each computes moments, these are combined, each normalizes.

Inputs are [n, c, ...]; moments are [c], in float32 for half types. Combining moments: Chan, Golub & LeVeque, 1979.
"""
from __future__ import annotations

from torsh.core.dtypes import dtype
from torsh.core.shapes import Shape, numel
from torsh.ops.composite import wide
from torsh.ops.dispatch import cast_tensor, public
from torsh.ops.norm import _update_running
from torsh.ops.reduce import mean as mean_over
from torsh.ops.reduce import sum as total
from torsh.tensor.tensor import Tensor


def _axes(what: str, input: Tensor) -> Shape:
    if len(input._shape) < 2:
        raise RuntimeError(f"{what}: expected an input [n, c, ...] of at least 2 dimensions, got shape {list(input._shape)}")
    return (0, *range(2, len(input._shape)))


def _channels(t: Tensor, like: Tensor) -> Tensor:
    """[c] as it broadcasts to [n, c, ...], computing as `like` does."""
    return cast_tensor(t, wide(like)._dtype).reshape(1, -1, *[1] * (len(like._shape) - 2))  # type: ignore[attr-defined,no-any-return]


def _moments(input: Tensor, axes: Shape) -> tuple[Tensor, Tensor]:
    x = wide(input)
    centre = mean_over(x, axes, True)
    return centre.reshape(-1), mean_over((x - centre) * (x - centre), axes)  # type: ignore[attr-defined]


@public(method=False)
def batch_norm_stats(input: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """(mean, reciprocal deviation) of each channel. Raises RuntimeError for fewer than 2 dimensions."""
    centre, variance = _moments(input, _axes("batch_norm_stats", input))
    return centre, (variance + eps).rsqrt()  # type: ignore[attr-defined]


@public(method=False)
def batch_norm_update_stats(input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, momentum: float) -> tuple[Tensor, Tensor]:
    """(mean, variance) of each channel; the running ones move towards them by `momentum` (the variance unbiased). Raises RuntimeError for
    fewer than 2 dimensions."""
    axes = _axes("batch_norm_update_stats", input)
    centre, variance = _moments(input, axes)
    _move(running_mean, running_var, centre, variance, numel(input._shape) // max(input._shape[1], 1), momentum)
    return centre, variance


def _move(running_mean: Tensor | None, running_var: Tensor | None, centre: Tensor, variance: Tensor, count: int, momentum: float) -> None:
    _update_running(running_mean, centre, momentum)
    _update_running(running_var, variance * (count / (count - 1) if count > 1 else float("inf")), momentum)


@public(method=False, out=True)
def batch_norm_elemt(input: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, invstd: Tensor, eps: float) -> Tensor:
    """(input - mean) * invstd * weight + bias of each channel, given moments of a larger batch. Raises RuntimeError for fewer than 2 dimensions."""
    _axes("batch_norm_elemt", input)
    y = (wide(input) - _channels(mean, input)) * _channels(invstd, input)
    if weight is not None:
        y = y * _channels(weight, input)
    if bias is not None:
        y = y + _channels(bias, input)
    return cast_tensor(y, input._dtype)


@public(method=False)
def batch_norm_gather_stats_with_counts(input: Tensor, mean: Tensor, invstd: Tensor, running_mean: Tensor | None, running_var: Tensor | None,
                                        momentum: float, eps: float, counts: Tensor) -> tuple[Tensor, Tensor]:
    """(mean, reciprocal deviation) [c] of a batch from those [parts, c] of its parts, which have `counts` [parts] values of each channel.

    The running statistics move towards them by `momentum`. Raises RuntimeError unless there is a count for each part.
    """
    if counts._shape != mean._shape[:1] or invstd._shape != mean._shape:
        raise RuntimeError(f"batch_norm_gather_stats_with_counts: expected mean and invstd [parts, c] and counts [parts], got shapes {list(mean._shape)}, "
                           f"{list(invstd._shape)} and {list(counts._shape)}")
    n = cast_tensor(counts, mean._dtype).unsqueeze(1)  # type: ignore[attr-defined]
    whole = total(n)
    centre = total(mean * n, (0,)) / whole
    apart = mean - centre
    variance = total((1 / (invstd * invstd) - eps + apart * apart) * n, (0,)) / whole
    _move(running_mean, running_var, centre, variance, int(whole), momentum)
    return centre, (variance + eps).rsqrt()  # type: ignore[attr-defined]


@public(method=False)
def batch_norm_gather_stats(input: Tensor, mean: Tensor, invstd: Tensor, running_mean: Tensor | None, running_var: Tensor | None, momentum: float,
                            eps: float, count: int) -> tuple[Tensor, Tensor]:
    """`batch_norm_gather_stats_with_counts` for parts of one size, `count` values of each channel."""
    counts = mean.new_full((mean._shape[0],), count)  # type: ignore[attr-defined]
    return batch_norm_gather_stats_with_counts(input, mean, invstd, running_mean, running_var, momentum, eps, counts)


@public(method=False)
def batch_norm_backward_reduce(grad_out: Tensor, input: Tensor, mean: Tensor, invstd: Tensor, weight: Tensor | None, input_g: bool, weight_g: bool,
                               bias_g: bool) -> tuple[Tensor | None, ...]:
    """(sum of the gradients, sum of their products with input - mean, gradient of the weight, gradient of the bias) of one part [c].

    The first two are given if `input_g`, the others if asked for, else None. Raises RuntimeError for fewer than 2 dimensions.
    """
    axes = _axes("batch_norm_backward_reduce", input)
    g = wide(grad_out)
    plain = total(g, axes)
    weighted = total(g * (wide(input) - _channels(mean, input)), axes)
    like: dtype = input._dtype if weight is None else weight._dtype
    return (plain if input_g else None, weighted if input_g else None, cast_tensor(weighted * invstd, like) if weight_g else None,
            cast_tensor(plain, like) if bias_g else None)


@public(method=False)
def batch_norm_backward_elemt(grad_out: Tensor, input: Tensor, mean: Tensor, invstd: Tensor, weight: Tensor | None, sum_dy: Tensor, sum_dy_xmu: Tensor,
                              count: Tensor) -> Tensor:
    """The gradient by one part of the input, from the sums of `batch_norm_backward_reduce` over all parts and their `count` values."""
    n = total(cast_tensor(count, mean._dtype))
    scale = _channels(invstd, input)
    g = wide(grad_out) - _channels(sum_dy / n, input)
    g = g - (wide(input) - _channels(mean, input)) * (scale * scale * _channels(sum_dy_xmu / n, input))
    g = g * scale if weight is None else g * (scale * _channels(weight, input))
    return cast_tensor(g, input._dtype)


__all__ = ["batch_norm_backward_elemt", "batch_norm_backward_reduce", "batch_norm_elemt", "batch_norm_gather_stats",
           "batch_norm_gather_stats_with_counts", "batch_norm_stats", "batch_norm_update_stats"]

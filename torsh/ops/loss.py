"""Losses between predictions and targets, element by element or sample by sample, then reduced ("mean", "sum" or "none")."""
from __future__ import annotations

import math
import warnings
from typing import Any

from torsh.autograd.autocast import in_full_precision
from torsh.autograd.graph import GradNode
from torsh.core import dtypes
from torsh.core.shapes import broadcast, numel
from torsh.graph.node import Op
from torsh.ops.composite import along, check_reduction, in_float32, positions, reduction_of, rounded_once, rule
from torsh.ops.dispatch import apply, cast_tensor, coarse, scalar_tensor
from torsh.ops.gather import gather_at
from torsh.ops.pointwise import abs, exp, log, log1p, maximum, minimum, sigmoid, sign, sqrt, square, where
from torsh.ops.reduce import mean, sum
from torsh.ops.similarity import pairwise_distance
from torsh.tensor.tensor import Tensor


def _reduced(t: Tensor, reduction: str) -> Tensor:
    return t if reduction == "none" else sum(t) if reduction == "sum" else mean(t)


def _declare(name: str, loss: Any, slope: Any) -> Op:
    """loss(x, y, *numbers) element by element with the reduction as `arg`; `slope(x, y, *numbers)` is (d/dx, d/dy), either None."""
    def function(x: Tensor, y: Tensor, *rest: Any) -> Tensor:
        return _reduced(loss(x, y, *rest[:-1]), rest[-1])

    def gradient(g: Tensor, x: Tensor, y: Tensor, *rest: Any) -> Tensor:
        *numbers, reduction, which = rest
        g = g / numel(broadcast(x._shape, y._shape)) if reduction == "mean" else g
        return g * slope(x, y, *numbers)[which]  # type: ignore[no-any-return]
    backward = rule(name + "_backward", in_float32(gradient))

    def vjp(ctx: GradNode, g: Tensor) -> tuple[Tensor | None, ...]:
        tensors = (g, *[ctx[i] for i in range(len(ctx.shapes))])
        shape = broadcast(ctx.shapes[0], ctx.shapes[1])
        return tuple([backward(tensors, (*ctx.arg, i), shape, g._dtype) if ctx.needs[i] else None for i in (0, 1)])
    return coarse(name, in_float32(function), vjp, tuple(range(4)))


def _call(op: Op, what: str, x: Tensor, y: Tensor, reduction: str, *numbers: float) -> Tensor:
    dt = dtypes.PROMOTE[x._dtype, y._dtype]
    if dt.category != 2:
        raise RuntimeError(f"{what}: expected floating tensors, got {x._dtype.name} and {y._dtype.name} (shapes {list(x._shape)}, {list(y._shape)})")
    shape = broadcast(x._shape, y._shape, what)
    tensors = (cast_tensor(x, dt), cast_tensor(y, dt), *[scalar_tensor(n, dt) for n in numbers])
    return apply(op, tensors, (reduction,), shape if reduction == "none" else (), dt)


def _warn_shapes(what: str, x: Tensor, y: Tensor) -> None:
    if x._shape != y._shape:
        warnings.warn(f"{what}: Using a target size ({y.shape}) that is different to the input size ({x.shape}). This will likely lead to incorrect "
                      "results due to broadcasting. Please ensure they have the same size.", stacklevel=3)


def _weighted(losses: Tensor, weight: Tensor, reduction: str, what: str) -> Tensor:
    """Losses times weights; their mean is over the weights' sum."""
    broadcast(losses._shape, weight._shape, what)
    if weight._shape != losses._shape:
        raise ValueError(f"{what}: Weights and input must have the same size, got {list(weight._shape)} and {list(losses._shape)}.")
    losses = losses * weight
    return sum(losses) / sum(weight) if reduction == "mean" else _reduced(losses, reduction)


_MSE = _declare("mse_loss", lambda x, y: square(x - y), lambda x, y: (2 * (x - y), 2 * (y - x)))
_L1 = _declare("l1_loss", lambda x, y: abs(x - y), lambda x, y: (sign(x - y), sign(y - x)))


def _huber_value(x: Tensor, y: Tensor, delta: Tensor) -> Tensor:
    z = abs(x - y)
    return where(z <= delta, 0.5 * square(z), delta * (z - 0.5 * delta))  # type: ignore[no-any-return]


def _huber_slope(x: Tensor, y: Tensor, delta: Tensor) -> tuple[Tensor, Tensor]:
    d = minimum(maximum(x - y, -delta), delta)
    return d, -d


def _smooth_slope(x: Tensor, y: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
    d = where(abs(x - y) < beta, (x - y) / beta, sign(x - y))
    return d, -d


_HUBER = _declare("huber_loss", _huber_value, _huber_slope)
_SMOOTH_L1 = _declare("smooth_l1_loss", lambda x, y, b: where(abs(x - y) < b, square(x - y) * (0.5 / b), abs(x - y) - 0.5 * b), _smooth_slope)


@in_full_precision
def mse_loss(input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean",
             weight: Tensor | None = None) -> Tensor:
    """(input - target)^2, broadcast. Raises RuntimeError for shapes that do not broadcast, ValueError for an unknown reduction.

    >>> import torsh
    >>> mse_loss(torsh.tensor([1.0, 2.0]), torsh.tensor([1.0, 4.0]))
    tensor(2.)
    """
    reduction = reduction_of(reduction, size_average, reduce)
    _warn_shapes("mse_loss", input, target)
    return _weighted(_call(_MSE, "mse_loss", input, target, "none"), weight, reduction, "mse_loss") if weight is not None else \
        _call(_MSE, "mse_loss", input, target, reduction)


@in_full_precision
def l1_loss(input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean",
            weight: Tensor | None = None) -> Tensor:
    """|input - target|, broadcast. Raises as `mse_loss` does."""
    reduction = reduction_of(reduction, size_average, reduce)
    _warn_shapes("l1_loss", input, target)
    if input._dtype.is_complex or target._dtype.is_complex:
        losses = (input - target).abs()
        return _reduced(losses, reduction) if weight is None else _weighted(losses, weight, reduction, "l1_loss")
    return _weighted(_call(_L1, "l1_loss", input, target, "none"), weight, reduction, "l1_loss") if weight is not None else \
        _call(_L1, "l1_loss", input, target, reduction)


@in_full_precision
def smooth_l1_loss(input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean",
                   beta: float = 1.0) -> Tensor:
    """Squared below `beta`, linear above: 0.5 z^2 / beta, or |z| - 0.5 beta. Raises RuntimeError for a negative beta."""
    reduction = reduction_of(reduction, size_average, reduce)
    _warn_shapes("smooth_l1_loss", input, target)
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    if beta == 0:
        return _call(_L1, "smooth_l1_loss", input, target, reduction)
    return _call(_SMOOTH_L1, "smooth_l1_loss", input, target, reduction, beta)


@in_full_precision
def huber_loss(input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None) -> Tensor:
    """0.5 z^2 up to `delta`, delta * (|z| - 0.5 delta) above. Huber, 1964. Raises RuntimeError unless delta is positive."""
    check_reduction(reduction)
    _warn_shapes("huber_loss", input, target)
    if delta <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")
    if weight is not None:
        return _weighted(_call(_HUBER, "huber_loss", input, target, "none", delta), weight, reduction, "huber_loss")
    return _call(_HUBER, "huber_loss", input, target, reduction, delta)


# ---- probabilities


def _bce_value(x: Tensor, y: Tensor) -> Tensor:
    return -(y * maximum(log(x), -100.0) + (1 - y) * maximum(log1p(-x), -100.0))


_BCE = _declare("binary_cross_entropy", _bce_value,
                lambda x, y: ((x - y) / maximum((1 - x) * x, 1e-12), maximum(log1p(-x), -100.0) - maximum(log(x), -100.0)))
_BCE_LOGITS = _declare("binary_cross_entropy_with_logits", lambda x, y: maximum(x, 0) - x * y + log1p(exp(-abs(x))),
                       lambda x, y: (sigmoid(x) - y, -x))


@in_full_precision
def binary_cross_entropy(input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: bool | None = None,
                         reduce: bool | None = None, reduction: str = "mean") -> Tensor:
    """-(y log p + (1 - y) log(1 - p)) for probabilities p, the logarithms at least -100. `weight` broadcasts.

    Raises ValueError for different shapes, and RuntimeError for known probabilities outside [0, 1].
    """
    reduction = reduction_of(reduction, size_average, reduce)
    if target._shape != input._shape:
        raise ValueError(f"Using a target size ({target.shape}) that is different to the input size ({input.shape}) is deprecated. Please ensure they "
                         "have the same size.")
    if input._storage.node.buffer is not None and input.numel():
        values = input._window()
        if not (values.min() >= 0 and values.max() <= 1):
            raise RuntimeError(f"binary_cross_entropy: all elements of input should be between 0 and 1, got {float(values.min())} to "
                               f"{float(values.max())}")
    if weight is None:
        return _call(_BCE, "binary_cross_entropy", input, target, reduction)
    broadcast(weight._shape, target._shape, "binary_cross_entropy")
    return _reduced(_call(_BCE, "binary_cross_entropy", input, target, "none") * weight, reduction)


@in_full_precision
def binary_cross_entropy_with_logits(input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: bool | None = None,
                                     reduce: bool | None = None, reduction: str = "mean", pos_weight: Tensor | None = None) -> Tensor:
    """`binary_cross_entropy` of sigmoid(input), without overflow; `pos_weight` weighs the positive class.

    Raises ValueError for different shapes.
    """
    reduction = reduction_of(reduction, size_average, reduce)
    if target._shape != input._shape:
        raise ValueError(f"Target size ({target.shape}) must be the same as input size ({input.shape})")
    if pos_weight is None:
        if weight is None:
            return _call(_BCE_LOGITS, "binary_cross_entropy_with_logits", input, target, reduction)
        return _reduced(_call(_BCE_LOGITS, "binary_cross_entropy_with_logits", input, target, "none") * weight, reduction)
    return _bce_weighing(input, target, weight, pos_weight, reduction)


@rounded_once
def _bce_weighing(input: Tensor, target: Tensor, weight: Tensor | None, pos_weight: Tensor, reduction: str) -> Tensor:
    log_weight = (pos_weight - 1) * target + 1
    losses = (1 - target) * input + log_weight * (log1p(exp(-abs(input))) + maximum(-input, 0))
    return _reduced(losses if weight is None else losses * weight, reduction)


_KL = _declare("kl_div", lambda x, y: where(y == 0, 0.0, y * log(where(y == 0, 1.0, y))) - y * x,
               lambda x, y: (-y, where(y == 0, -x, log(where(y == 0, 1.0, y)) + 1 - x)))
_KL_LOG = _declare("kl_div_log", lambda x, y: exp(y) * (y - x), lambda x, y: (-exp(y), exp(y) * (y - x + 1)))


@in_full_precision
def kl_div(input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean",
           log_target: bool = False) -> Tensor:
    """target * (log target - input) for log probabilities `input`; "batchmean" divides the sum by the first size.

    Raises ValueError for an unknown reduction.
    """
    if reduction == "batchmean" and size_average is None and reduce is None:
        total = kl_div(input, target, reduction="sum", log_target=log_target)
        return total / input._shape[0] if input._shape else total
    reduction = reduction_of(reduction, size_average, reduce)
    if reduction == "mean":
        warnings.warn("reduction: 'mean' divides the total loss by both the batch size and the support size. 'batchmean' divides only by the batch "
                      "size, and aligns with the KL div math definition.", stacklevel=2)
    return _call(_KL_LOG if log_target else _KL, "kl_div", input, target, reduction)


@in_full_precision
@rounded_once
def poisson_nll_loss(input: Tensor, target: Tensor, log_input: bool = True, full: bool = False, size_average: bool | None = None, eps: float = 1e-8,
                     reduce: bool | None = None, reduction: str = "mean") -> Tensor:
    """Minus the log likelihood of counts: exp(x) - y x (x the log rate), or x - y log(x + eps); `full` adds Stirling's term.

    Raises ValueError for an unknown reduction.
    """
    reduction = reduction_of(reduction, size_average, reduce)
    losses = exp(input) - target * input if log_input else input - target * log(input + eps)
    if full:
        losses = losses + where(target > 1, target * log(target) - target + 0.5 * log(2 * math.pi * target), 0.0)
    return _reduced(losses, reduction)


def gaussian_nll_loss(input: Tensor, target: Tensor, var: Tensor | float, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> Tensor:
    """Minus the log likelihood of normal variables: 0.5 (log var + (x - y)^2 / var), var at least `eps` (without gradient there).

    Raises ValueError for a variance of another shape or negative known variances.
    """
    if not isinstance(var, Tensor):
        if var < 0:
            raise ValueError("var has negative entry/entries")
        constant: Tensor = input * 0 + var
        var = constant
    if var._shape != input._shape:
        if input._shape[:-1] == var._shape:
            column: Tensor = var.unsqueeze(-1)
            var = column
        elif len(input._shape) != len(var._shape) or [m for n, m in zip(input._shape, var._shape, strict=True) if n != m] != [1]:
            raise ValueError(f"gaussian_nll_loss: var is of incorrect size: {list(var._shape)} for input {list(input._shape)}")
    check_reduction(reduction)
    if var._storage.node.buffer is not None and var.numel() and var._window().min() < 0:
        raise ValueError("var has negative entry/entries")
    return _gaussian(input, target, var, full, eps, reduction)


@rounded_once
def _gaussian(input: Tensor, target: Tensor, var: Tensor, full: bool, eps: float, reduction: str) -> Tensor:
    limited = var + (maximum(var, eps) - var).detach()  # type: ignore[attr-defined]
    losses = 0.5 * (log(limited) + square(input - target) / limited)
    return _reduced(losses + 0.5 * math.log(2 * math.pi) if full else losses, reduction)


# ---- margins


@in_full_precision
@rounded_once
def hinge_embedding_loss(input: Tensor, target: Tensor, margin: float = 1.0, size_average: bool | None = None, reduce: bool | None = None,
                         reduction: str = "mean") -> Tensor:
    """x where the target is 1, max(0, margin - x) where it is -1."""
    reduction = reduction_of(reduction, size_average, reduce)
    return _reduced(where(target != 1, maximum(margin - input, 0), 0.0) + where(target != -1, input, 0.0), reduction)


@in_full_precision
@rounded_once
def margin_ranking_loss(input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0, size_average: bool | None = None,
                        reduce: bool | None = None, reduction: str = "mean") -> Tensor:
    """max(0, -target * (input1 - input2) + margin). Raises RuntimeError for different numbers of dimensions."""
    reduction = reduction_of(reduction, size_average, reduce)
    if not len(input1._shape) == len(input2._shape) == len(target._shape):
        raise RuntimeError(f"margin_ranking_loss : All input tensors should have same dimension but got sizes: input1: {list(input1._shape)}, input2: "
                           f"{list(input2._shape)}, target: {list(target._shape)} ")
    return _reduced(maximum(-target * (input1 - input2) + margin, 0), reduction)


@in_full_precision
@rounded_once
def cosine_embedding_loss(input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0, size_average: bool | None = None,
                          reduce: bool | None = None, reduction: str = "mean") -> Tensor:
    """1 - cos where the target is 1, max(0, cos - margin) where it is -1; inputs [n, d] and target [n], or [d] and [].

    Raises RuntimeError for other shapes.
    """
    reduction = reduction_of(reduction, size_average, reduce)
    if len(target._shape) + 1 != len(input1._shape) or len(input1._shape) != len(input2._shape) or len(target._shape) > 1:
        raise RuntimeError(f"cosine_embedding_loss: {len(target._shape)}D target tensor expects {len(target._shape) + 1}D input tensors, but found "
                           f"inputs with sizes {list(input1._shape)} and {list(input2._shape)}.")
    epsilon = 1e-12
    dot = sum(input1 * input2, (-1,))
    cosine = dot / sqrt((sum(square(input1), (-1,)) + epsilon) * (sum(square(input2), (-1,)) + epsilon))
    return _reduced(where(target == 1, 1 - cosine, 0.0) + where(target == -1, maximum(cosine - margin, 0), 0.0), reduction)  # type: ignore[arg-type]


@in_full_precision
def triplet_margin_loss(anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 1.0, p: float = 2, eps: float = 1e-6, swap: bool = False,
                        size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean") -> Tensor:
    """max(0, |a - p| - |a - n| + margin) with `pairwise_distance`. Raises ValueError for a margin that is not positive."""
    reduction = reduction_of(reduction, size_average, reduce)
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    return triplet_margin_with_distance_loss(anchor, positive, negative, distance_function=lambda a, b: pairwise_distance(a, b, p, eps), margin=margin,
                                             swap=swap, reduction=reduction)


def triplet_margin_with_distance_loss(anchor: Tensor, positive: Tensor, negative: Tensor, *, distance_function: Any = None, margin: float = 1.0,
                                      swap: bool = False, reduction: str = "mean") -> Tensor:
    """`triplet_margin_loss` with any distance. Raises RuntimeError for different numbers of dimensions."""
    check_reduction(reduction)
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    if not len(anchor._shape) == len(positive._shape) == len(negative._shape):
        raise RuntimeError(f"The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: anchor "
                           f"{len(anchor._shape)}D, positive {len(positive._shape)}D, and negative {len(negative._shape)}D inputs")
    distance = distance_function or pairwise_distance
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = minimum(far, distance(positive, negative))
    return _reduced(maximum(near - far + margin, 0), reduction)


@in_full_precision
@rounded_once
def soft_margin_loss(input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean") -> Tensor:
    """log(1 + exp(-target * input)) for targets of 1 and -1."""
    z = -target * input
    return _reduced(maximum(z, 0) + log1p(exp(-abs(z))), reduction_of(reduction, size_average, reduce))


@rounded_once
def multilabel_soft_margin_loss(input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: bool | None = None,
                                reduce: bool | None = None, reduction: str = "mean") -> Tensor:
    """The mean over the classes (last dimension) of the binary cross entropy of logits with targets of 0 and 1."""
    reduction = reduction_of(reduction, size_average, reduce)
    losses = maximum(input, 0) - input * target + log1p(exp(-abs(input)))
    return _reduced(mean(losses if weight is None else losses * weight, (-1,)), reduction)


def _rows(what: str, input: Tensor, target: Tensor, same: bool) -> tuple[Tensor, Tensor]:
    """[n, c] and the target with a batch dimension."""
    if not input._shape:
        input = input.reshape(1)  # type: ignore[attr-defined]
        target = target.reshape(1) if same else target  # type: ignore[attr-defined]
    s, t = input._shape, target._shape
    batched = len(s) == 2
    expected = s if same else s[:1] if batched else ()
    if len(s) not in (1, 2) or s[-1] == 0 or (t != expected and not (not same and not batched and t == (1,))):
        raise RuntimeError(f"{what}: inconsistent target size: {list(t)} for an input of size: {list(s)}")
    return (input, target) if batched else (input.unsqueeze(0), target.reshape(1, *target._shape if same else ()))  # type: ignore[attr-defined]


def _at(x: Tensor, index: Tensor) -> Tensor:
    """x[i, index[i, j]] for x [n, c] and index [n, m]."""
    c = x._shape[1]
    return gather_at(x, (index,), (index._shape, (c, 0), 0, (1,), (c,)))


@in_full_precision
@rounded_once
def multi_margin_loss(input: Tensor, target: Tensor, p: int = 1, margin: float = 1.0, weight: Tensor | None = None, size_average: bool | None = None,
                      reduce: bool | None = None, reduction: str = "mean") -> Tensor:
    """sum over wrong classes of max(0, margin - x[target] + x[i])^p / classes, for scores [n, c] and classes [n].

    Raises ValueError for p other than 1 and 2, RuntimeError for other shapes.
    """
    reduction = reduction_of(reduction, size_average, reduce)
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    batched = len(input._shape) == 2
    x, t = _rows("multi_margin_loss", input, target, False)
    n, c = x._shape
    if weight is not None and len(weight._shape) != 1:
        raise ValueError(f"multi_margin_loss: weight must be one-dimensional, got shape {list(weight._shape)}")
    if weight is not None and weight._shape != (c,):
        raise RuntimeError(f"multi_margin_loss: inconsistent weight size, expected {c} but got {list(weight._shape)}")
    if t._dtype is not dtypes.int64:
        raise RuntimeError(f"multi_margin_loss: expected scalar type Long but found {t._dtype.title}")
    t = t.unsqueeze(1)  # type: ignore[attr-defined]
    z = maximum(margin - _at(x, t) + x, 0)
    z = z if p == 1 else square(z)
    if weight is not None:
        z = z * gather_at(weight, (t,), ((n, 1), (0, 0), 0, (1,), (c,)))
    losses = sum(where(along(positions(c), 1, 2) != t, z, 0.0), (1,)) / c
    return _reduced(losses if batched else losses.squeeze(0), reduction)  # type: ignore[attr-defined]


@in_full_precision
@rounded_once
def multilabel_margin_loss(input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None,
                           reduction: str = "mean") -> Tensor:
    """sum over targets j and other classes i of max(0, 1 - (x[j] - x[i])) / classes; the targets of a row end at the first -1.

    Raises RuntimeError for other shapes.
    """
    reduction = reduction_of(reduction, size_average, reduce)
    batched = len(input._shape) == 2
    x, t = _rows("multilabel_margin_loss", input, target, True)
    c = x._shape[1]
    t = cast_tensor(t, dtypes.int64)
    ended = sum(cast_tensor(t < 0, dtypes.int64).unsqueeze(1) * cast_tensor(along(positions(c), 1, 2) <= along(positions(c), 0, 2), dtypes.int64), (2,)) > 0  # type: ignore[attr-defined]
    valid = ~ended
    chosen = _at(x, where(valid, t, 0))
    is_target = ((t.unsqueeze(1) == along(positions(c), 0, 2)) & valid.unsqueeze(1)).any(2)  # type: ignore[attr-defined]
    z = maximum(1 - (chosen.unsqueeze(2) - x.unsqueeze(1)), 0)  # type: ignore[attr-defined]  # [n, target, class]
    losses = sum(where(valid.unsqueeze(2) & ~is_target.unsqueeze(1), z, 0.0), (1, 2)) / c  # type: ignore[attr-defined]
    return _reduced(losses if batched else losses.squeeze(0), reduction)  # type: ignore[attr-defined]



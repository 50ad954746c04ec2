"""nll_loss and cross_entropy: classification losses, each one coarse operation.

Logits are [classes], [batch, classes] or [batch, classes, ...]; targets are class indices without the class dimension, or
probabilities of the logits' shape. The gradient compares class numbers with targets, so nothing is scattered.
"""
from __future__ import annotations

import operator
from typing import Any, Final

from torsh.autograd.autocast import lower_type, raised
from torsh.autograd.entered import entered
from torsh.autograd.graph import GradNode
from torsh.core.dtypes import int64
from torsh.core.shapes import Shape, numel
from torsh.graph import primitives as p
from torsh.graph.node import Node
from torsh.ops.composite import along, positions, reduction_of, rule, wide
from torsh.ops.dispatch import apply, cast_tensor, coarse
from torsh.ops.gather import index_bounds
from torsh.ops.pointwise import exp, log, where
from torsh.ops.reduce import amax, sum
from torsh.ops.softmax import log_softmax
from torsh.tensor.tensor import Tensor, node_of, wrap

# Arguments of the operations: reduction, ignore_index, label_smoothing; then whether there are class weights.
# Tensors: x [n, c, d], target [n, d] (int64), then maybe weight [c].


def _pick(x: Tensor, at: Tensor) -> Tensor:
    """x[n, at[n, d], d]."""
    n, c, d = x._shape
    return wrap(Node(p.GATHER, (node_of(x), node_of(at)), ((n, d), (c * d, 1), 0, (d,), (c,)), (n, d), x._dtype))


def _take(weight: Tensor, at: Tensor) -> Tensor:
    """weight[at]."""
    return wrap(Node(p.GATHER, (node_of(weight), node_of(at)), (at._shape, (0,) * len(at._shape), 0, (1,), weight._shape), at._shape, weight._dtype))


def _counted(target: Tensor, ignore: int, weight: Tensor | None, dt: Any) -> tuple[Tensor, Tensor]:
    """(targets with 0 for the ignored ones, the weight with which each counts)."""
    valid = target != ignore
    at = where(valid, target, 0)
    return at, cast_tensor(valid, dt) if weight is None else where(valid, _take(weight, at), 0.0)  # type: ignore[arg-type]


def _finish(losses: Tensor, counts: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return losses
    total = sum(losses)
    return total if reduction == "sum" else total / sum(counts)


def _share(g: Tensor, counts: Tensor, reduction: str) -> Tensor:
    """What each element's loss weighs in the result's gradient, [n, 1, d]."""
    if reduction == "none":
        return g.unsqueeze(1)  # type: ignore[attr-defined,no-any-return]
    return g if reduction == "sum" else g / sum(counts)


def _nll(x: Tensor, target: Tensor, *rest: Any) -> Tensor:
    *weight, reduction, ignore = rest
    dt, x = x._dtype, wide(x)
    at, counts = _counted(target, ignore, wide(weight[0]) if weight else None, x._dtype)
    return cast_tensor(_finish(where(counts != 0, -_pick(x, at) * counts, 0.0), counts, reduction), dt)  # type: ignore[arg-type]


def _nll_gradient(g: Tensor, target: Tensor, *rest: Any) -> Tensor:
    *weight, reduction, ignore, classes = rest
    dt, g = g._dtype, wide(g)
    at, counts = _counted(target, ignore, wide(weight[0]) if weight else None, g._dtype)
    here = along(positions(classes), 1, 3) == at.unsqueeze(1)  # type: ignore[attr-defined]
    return cast_tensor(where(here, -(_share(g, counts, reduction) * counts.unsqueeze(1)), 0.0), dt)  # type: ignore[arg-type,attr-defined]


_nll_rule = rule("nll_loss_backward", _nll_gradient)
_NLL = coarse("nll_loss", _nll, lambda ctx, g: _nll_rule((g, ctx[1], *_weights(ctx)), (*ctx.arg, ctx.shapes[0][1]), ctx.shapes[0], g._dtype), (1, 2))


def _weights(ctx: GradNode) -> tuple[Tensor, ...]:
    return (ctx[2],) if len(ctx.shapes) > 2 else ()


def _log_normalizer(x: Tensor) -> Tensor:
    top = amax(x, (1,), True)
    return log(sum(exp(x - top), (1,), True)) + top


def _cross_entropy(x: Tensor, target: Tensor, *rest: Any) -> Tensor:
    *weights, reduction, ignore, smoothing = rest
    dt, x = x._dtype, wide(x)
    weight = wide(weights[0]) if weights else None
    at, counts = _counted(target, ignore, weight, x._dtype)
    normalizer = _log_normalizer(x)
    losses = where(counts != 0, (normalizer.squeeze(1) - _pick(x, at)) * counts, 0.0)  # type: ignore[attr-defined]
    if smoothing:
        every = normalizer - x if weight is None else (normalizer - x) * along(weight, 1, 3)
        smooth = where(target != ignore, sum(every, (1,)), 0.0)  # type: ignore[arg-type]
        losses = losses * (1 - smoothing) + smooth * (smoothing / x._shape[1])
    return cast_tensor(_finish(losses, counts, reduction), dt)


def _cross_entropy_gradient(g: Tensor, x: Tensor, target: Tensor, *rest: Any) -> Tensor:
    *weights, reduction, ignore, smoothing = rest
    dt, x, g = x._dtype, wide(x), wide(g)
    weight = wide(weights[0]) if weights else None
    at, counts = _counted(target, ignore, weight, x._dtype)
    classes = x._shape[1]
    share = _share(g, counts, reduction)
    here = along(positions(classes), 1, 3) == at.unsqueeze(1)  # type: ignore[attr-defined]
    probability = exp(x - _log_normalizer(x))
    counted: Any = counts.unsqueeze(1)  # type: ignore[attr-defined]
    scale = where(counted != 0, counted * share, 0.0)  # where nothing counts the share is infinite
    if not smoothing:
        return cast_tensor((probability - cast_tensor(here, x._dtype)) * scale, dt)
    valid = (target != ignore).unsqueeze(1)  # type: ignore[attr-defined]
    each = 1.0 if weight is None else along(weight, 1, 3)
    total = float(classes) if weight is None else sum(weight)
    smooth = where(valid, (probability * total - each) * share, 0.0)
    return cast_tensor((probability - cast_tensor(here, x._dtype)) * (scale * (1 - smoothing)) + smooth * (smoothing / classes), dt)


_cross_entropy_rule = rule("cross_entropy_backward", _cross_entropy_gradient)
_CROSS_ENTROPY: Final = coarse("cross_entropy", _cross_entropy,
                        lambda ctx, g: _cross_entropy_rule((g, ctx[0], ctx[1], *_weights(ctx)), ctx.arg, ctx.shapes[0], ctx.dtypes[0]), (0, 1, 2),
                        grad_name="NllLossBackward0")


def _check(what: str, x: Tensor, target: Tensor, weight: Tensor | None, ignore: int) -> tuple[Shape, Shape]:
    """([n, c, d] of the logits, the target's shape). Raises as PyTorch does for shapes and classes that do not fit."""
    s, t = x._shape, target._shape
    if not s:
        raise RuntimeError(f"{what}: input must have at least one dimension (the classes), got shape []")
    if target._dtype.category != 1:
        raise RuntimeError(f"{what}: expected scalar type Long but found {target._dtype.title} (targets are class indices, or probabilities of the "
                           f"input's shape {list(s)})")
    if len(s) == 1:
        if t not in ((), (1,)):
            raise ValueError(f"{what}: for a 1D input ({list(s)}) a 0D target is expected, got shape {list(t)}")
        n, c, d = 1, s[0], 1
    else:
        n, c, d = s[0], s[1], numel(s[2:])
        if not t or t[0] != n:
            raise ValueError(f"{what}: Expected input batch_size ({n}) to match target batch_size ({t[0] if t else 0}); input shape {list(s)}, "
                             f"target shape {list(t)}")
        if t != (n, *s[2:]):
            raise RuntimeError(f"{what}: Expected target size {[n, *s[2:]]}, got {list(t)}")
    if weight is not None and (weight._shape != (c,)):
        raise RuntimeError(f"{what}: weight tensor should be defined either for all {c} classes or no classes but got weight tensor of shape: "
                           f"{list(weight._shape)}")
    known = index_bounds(target)
    if known is not None and (known[0] < 0 or known[1] >= c):
        values = target._window()
        bad = values[(values != ignore) & ((values < 0) | (values >= c))]
        if bad.size:
            raise IndexError(f"{what}: Target {int(bad.flat[0])} is out of bounds for {c} classes.")
    return (n, c, d), t


def _call(op: Any, x: Tensor, target: Tensor, weight: Tensor | None, geometry: tuple[Shape, Shape], arg: tuple[Any, ...]) -> Tensor:
    (n, c, d), shape = geometry
    target = cast_tensor(target, int64)
    x = x if x._shape == (n, c, d) else x.reshape(n, c, d)  # type: ignore[attr-defined]
    target = target if target._shape == (n, d) else target.reshape(n, d)  # type: ignore[attr-defined]
    tensors = (x, target) if weight is None else (x, target, weight)
    if arg[0] != "none":
        return apply(op, tensors, arg, (), x._dtype)
    out = apply(op, tensors, arg, (n, d), x._dtype)
    return out if shape == (n, d) else out.reshape(shape)  # type: ignore[attr-defined,no-any-return]


def nll_loss(input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: bool | None = None, ignore_index: Any = -100,
             reduce: bool | None = None, reduction: str = "mean") -> Tensor:
    """Minus the log probability of the target class: input [n, c, ...] of log probabilities, target [n, ...] of class indices.

    `weight` [c] weighs classes; "mean" divides by the weights that counted. Raises ValueError and RuntimeError for shapes
    that do not fit, IndexError for a class out of range.
    """
    if entered.autocast and lower_type() is not None:
        return raised(nll_loss, input, target, weight, size_average, ignore_index, reduce, reduction)  # type: ignore[no-any-return]
    reduction, ignore_index = reduction_of(reduction, size_average, reduce), operator.index(ignore_index)
    geometry = _check("nll_loss", input, target, weight, ignore_index)
    return _call(_NLL, input, target, weight, geometry, (reduction, ignore_index))


def cross_entropy(input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: bool | None = None, ignore_index: Any = -100,
                  reduce: bool | None = None, reduction: str = "mean", label_smoothing: Any = 0.0) -> Tensor:
    """`nll_loss` of `log_softmax` over the class dimension; targets are class indices or probabilities.

    `label_smoothing` mixes the target with the uniform distribution. Raises ValueError, RuntimeError for shapes that do not
    fit and a smoothing outside [0, 1], IndexError for a class out of range.

    >>> import torsh
    >>> cross_entropy(torsh.zeros(1, 4), torsh.tensor([2]))
    tensor(1.3863)
    """
    if entered.autocast and lower_type() is not None:
        return raised(cross_entropy, input, target, weight, size_average, ignore_index, reduce, reduction, label_smoothing)  # type: ignore[no-any-return]
    reduction, ignore_index = reduction_of(reduction, size_average, reduce), operator.index(ignore_index)
    label_smoothing = float(label_smoothing)
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    if input._dtype.category != 2:
        raise RuntimeError(f"cross_entropy: input must be of a floating type, got {input._dtype.title}")
    if target._shape == input._shape and target._dtype.category == 2:
        return _probabilities(input, target, weight, reduction, label_smoothing)
    geometry = _check("cross_entropy", input, target, weight, ignore_index)
    return _call(_CROSS_ENTROPY, input, target, weight, geometry, (reduction, ignore_index, label_smoothing))


def _probabilities(x: Tensor, target: Tensor, weight: Tensor | None, reduction: str, smoothing: float) -> Tensor:
    d = 0 if len(x._shape) == 1 else 1
    classes = x._shape[d]
    if weight is not None and weight._shape != (classes,):
        raise RuntimeError(f"cross_entropy: weight tensor should be defined either for all {classes} classes or no classes but got weight tensor "
                           f"of shape: {list(weight._shape)}")
    if smoothing:
        target = target * (1 - smoothing) + smoothing / classes
    terms = log_softmax(x, d) * target
    if weight is not None:
        terms = terms * weight.reshape((classes,) + (1,) * (len(x._shape) - d - 1))  # type: ignore[attr-defined]
    if reduction == "none":
        return -sum(terms, (d,))
    total = -sum(terms)
    return total if reduction == "sum" else total / max(1, numel(x._shape) // max(1, classes))


__all__ = ["cross_entropy", "nll_loss"]

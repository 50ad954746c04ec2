"""Connectionist temporal classification (Graves et al., 2006): the probability of a label sequence over all its alignments.

The recursions over time run on the host, over all samples and positions at once; a sequence of labels l is walked as
blank, l1, blank, l2, ..., blank (length 2 s + 1).
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from torsh.autograd.autocast import in_full_precision
from torsh.autograd.graph import GradNode
from torsh.core.dtypes import int64
from torsh.graph.primitives import host
from torsh.ops.composite import reduction_of
from torsh.ops.dispatch import apply, cast_tensor, public
from torsh.ops.pointwise import where
from torsh.ops.reduce import mean, sum
from torsh.tensor.creation import tensor
from torsh.tensor.tensor import Tensor, wrap

Lengths = tuple[int, ...]


def _extended(targets: np.ndarray, lengths: Lengths, blank: int) -> np.ndarray:
    """[n, 2 s + 1]: each sequence with blanks around its labels, filled up with blanks."""
    out = np.full((len(lengths), 2 * max(lengths, default=0) + 1), blank, np.int64)
    start = 0
    for i, length in enumerate(lengths):
        row = targets[i, :length] if targets.ndim == 2 else targets[start:start + length]
        out[i, 1:2 * length:2] = row
        start += length
    return out


def _forward(log_probs: np.ndarray, labels: np.ndarray, inputs: Lengths, targets: Lengths) -> tuple[np.ndarray, np.ndarray]:
    """(log alpha [t, n, l] of the prefixes, log likelihood [n])."""
    t, n, _ = log_probs.shape
    emitted = np.take_along_axis(log_probs, np.broadcast_to(labels, (t, *labels.shape)), 2)
    alpha = np.full(emitted.shape, -np.inf, log_probs.dtype)
    size = labels.shape[1]
    skips = np.zeros(labels.shape, bool)
    skips[:, 2:] = labels[:, 2:] != labels[:, :-2]  # a blank may be left out between labels that differ
    if t:
        alpha[0, :, 0] = emitted[0, :, 0]
        if size > 1:
            some = np.array(targets) > 0
            alpha[0, some, 1] = emitted[0, some, 1]
    for i in range(1, t):
        before = alpha[i - 1]
        best = before.copy()
        best[:, 1:] = np.logaddexp(best[:, 1:], before[:, :-1])
        best[:, 2:] = np.where(skips[:, 2:], np.logaddexp(best[:, 2:], before[:, :-2]), best[:, 2:])
        alpha[i] = best + emitted[i]
    ends = np.array(targets) * 2
    rows = np.arange(n)
    last = np.array(inputs) - 1
    found = np.full(n, -np.inf, log_probs.dtype)
    ran = last >= 0
    found[ran] = alpha[last[ran], rows[ran], ends[ran]]
    ran &= ends > 0
    found[ran] = np.logaddexp(found[ran], alpha[last[ran], rows[ran], ends[ran] - 1])
    found[last < 0] = np.where(np.array(targets) == 0, 0.0, -np.inf)[last < 0]
    return alpha, found


def _negative_likelihood(log_probs: np.ndarray, targets: np.ndarray, inputs: Lengths, lengths: Lengths, blank: int) -> np.ndarray:
    with np.errstate(all="ignore"):
        return -_forward(log_probs, _extended(targets, lengths, blank), inputs, lengths)[1]


def _gradient(g: np.ndarray, log_probs: np.ndarray, targets: np.ndarray, inputs: Lengths, lengths: Lengths, blank: int,
              zero_infinity: bool) -> np.ndarray:
    """The gradient as PyTorch has it: probabilities minus their posterior, which is exact for the output of a log_softmax."""
    labels = _extended(targets, lengths, blank)
    with np.errstate(all="ignore"):
        alpha, likelihood = _forward(log_probs, labels, inputs, lengths)
        n = log_probs.shape[1]
        out = np.zeros_like(log_probs)
        for i in range(n):  # backwards from each sample's own end: beta of the suffixes
            steps, size = inputs[i], 2 * lengths[i] + 1
            if (zero_infinity and np.isinf(likelihood[i])) or not steps:
                continue
            row = labels[i, :size]
            emitted = log_probs[:steps, i, row]
            skips = np.zeros(size, bool)
            skips[:-2] = row[2:] != row[:-2]
            beta = np.full((steps, size), -np.inf, log_probs.dtype)
            beta[-1, max(0, size - 2):] = emitted[-1, max(0, size - 2):]
            for k in range(steps - 2, -1, -1):
                after = beta[k + 1]
                best = after.copy()
                best[:-1] = np.logaddexp(best[:-1], after[1:])
                best[:-2] = np.where(skips[:-2], np.logaddexp(best[:-2], after[2:]), best[:-2])
                beta[k] = best + emitted[k]
            joint = np.full((steps, log_probs.shape[2]), -np.inf, log_probs.dtype)
            product = alpha[:steps, i, :size] + beta
            for position, label in enumerate(row):
                joint[:, label] = np.logaddexp(joint[:, label], product[:, position])
            own = log_probs[:steps, i]
            out[:steps, i] = (np.exp(own) - np.exp(joint - likelihood[i] - own)) * g[i]
    return out


def _ctc_vjp(ctx: GradNode, g: Tensor) -> tuple[Tensor, None]:
    log_probs, targets = ctx[0], ctx[1]
    return apply(_CTC_BACKWARD, (g, log_probs, targets), ctx.arg, log_probs._shape, log_probs._dtype), None


def _refuse(ctx: GradNode, g: Tensor) -> Any:
    raise RuntimeError("derivative for _ctc_loss_backward is not implemented")


def _ctc_expand(node: Any, log_probs: Any, targets: Any) -> Any:
    return host(_negative_likelihood, "ctc_loss", (log_probs, targets), node.shape, node.dtype, node.arg[:3])


def _backward_expand(node: Any, g: Any, log_probs: Any, targets: Any) -> Any:
    return host(_gradient, "ctc_loss_backward", (g, log_probs, targets), node.shape, node.dtype, node.arg)


def _op(name: str, expand: Any, vjp: Any, save: tuple[int, ...], grad_name: str) -> Any:
    from torsh.graph.node import Op
    return Op(name, "coarse", None, expand, vjp, save, False, grad_name)


_CTC = _op("ctc_loss", _ctc_expand, _ctc_vjp, (0, 1), "CtcLossBackward0")
_CTC_BACKWARD = _op("ctc_loss_backward", _backward_expand, _refuse, (), "CtcLossBackwardBackward0")


def _lengths(given: Any, name: str, n: int) -> Lengths:
    if isinstance(given, Tensor):
        if given._dtype.category != 1:
            raise RuntimeError(f"{name} must be integral")
        found = tuple(int(v) for v in given.reshape(-1).tolist())  # type: ignore[attr-defined]
    else:
        found = tuple(int(v) for v in given)
    if len(found) != n:
        raise RuntimeError(f"{name} must be of size batch_size (expected {n}, got {len(found)})")
    return found


@public(method=False)
@in_full_precision
def ctc_loss(log_probs: Tensor, targets: Tensor, input_lengths: Tensor | Sequence[int], target_lengths: Tensor | Sequence[int], blank: int = 0,
             reduction: Any = "mean", zero_infinity: bool = False) -> Tensor:
    """Minus the log probability of label sequences: log_probs [t, n, c] (or [t, c]), targets [n, s], or [sum of lengths] one after another.

    "mean" divides each loss by its target's length first. With `zero_infinity` impossible targets count 0. Raises RuntimeError for
    lengths, labels and types that do not fit. The derivative is not differentiable again, as in PyTorch.
    """
    name = reduction_of(("none", "mean", "sum")[reduction] if isinstance(reduction, int) else reduction, None, None)
    if log_probs._dtype.category != 2 or log_probs._dtype.itemsize < 4:
        raise RuntimeError(f"\"ctc_loss_cpu\" not implemented for '{log_probs._dtype.title}'")
    targets = cast_tensor(targets.detach(), int64)  # type: ignore[attr-defined]
    batched = len(log_probs._shape) == 3
    if len(log_probs._shape) not in (2, 3):
        raise RuntimeError(f"ctc_loss: expected log_probs [t, n, c] or [t, c], got shape {list(log_probs._shape)}")
    x: Tensor = log_probs if batched else log_probs.unsqueeze(1)  # type: ignore[attr-defined]
    if not batched and len(targets._shape) == 1:
        targets = targets.unsqueeze(0)  # type: ignore[attr-defined]
    t, n, c = x._shape
    if not 0 <= blank < c:
        raise RuntimeError("blank must be in label range")
    inputs, lengths = _lengths(input_lengths, "input_lengths", n), _lengths(target_lengths, "target_lengths", n)
    for i, length in enumerate(inputs):
        if length < 0 or length > t:
            raise RuntimeError(f"Expected input_lengths to have value at most {t}, but got value {length} at {i} (while checking arguments for "
                               "ctc_loss_cpu)")
    if any(length < 0 for length in lengths):
        raise RuntimeError("Expected target_lengths to be non-negative (while checking arguments for ctc_loss_cpu)")
    if len(targets._shape) == 2:
        if targets._shape[0] != n or targets._shape[1] < max(lengths, default=0):
            raise RuntimeError(f"Expected tensor to have size at least {max(lengths, default=0)} at dimension 1, but got size {list(targets._shape)} for "
                               "argument #2 'targets' (while checking arguments for ctc_loss_cpu)")
    elif targets._shape != (sum_of(lengths),):
        raise RuntimeError(f"Expected tensor to have size {sum_of(lengths)} at dimension 0, but got size {list(targets._shape)} for argument #2 'targets' "
                           "(while checking arguments for ctc_loss_cpu)")
    losses = apply(_CTC, (x, targets), (inputs, lengths, blank, bool(zero_infinity)), (n,), x._dtype)
    if zero_infinity:
        losses = where(losses == float("inf"), wrap(tensor(0.0, dtype=x._dtype)._node()), losses)
    if name == "none":
        return losses if batched else losses.squeeze(0)  # type: ignore[attr-defined,no-any-return]
    if name == "sum":
        return sum(losses)
    return mean(losses / tensor([max(1, length) for length in lengths], dtype=x._dtype))


def sum_of(lengths: Lengths) -> int:
    """The total length."""
    return int(np.sum(lengths, dtype=np.int64))

"""Helpers for parameters: clipping gradients, parameters as one vector."""
from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from torsh.autograd.grad_mode import no_grad
from torsh.ops.dispatch import FUNCTIONS
from torsh.tensor.creation import tensor
from torsh.tensor.tensor import Tensor


def _gradients(parameters: Iterable[Tensor] | Tensor) -> list[Tensor]:
    given = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [p._grad for p in given if p._grad is not None]


def _norm(t: Tensor, kind: float) -> Any:
    x: Any = t.abs()  # type: ignore[attr-defined]
    if kind == math.inf:
        return x.max()
    return (x * x).sum().sqrt() if kind == 2 else (x ** kind).sum() ** (1.0 / kind)


def get_total_norm(tensors: Iterable[Tensor] | Tensor, norm_type: float = 2.0, error_if_nonfinite: bool = False) -> Tensor:
    """The norm of all tensors as one vector. Raises RuntimeError for one not finite, if asked to."""
    given = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    if not given:
        return tensor(0.0)
    kind = float(norm_type)
    total = _norm(FUNCTIONS["stack"]([_norm(t, kind) for t in given]), kind)
    if error_if_nonfinite and not math.isfinite(total.item()):
        raise RuntimeError(f"The total norm of order {kind} for gradients from `parameters` is non-finite, so it cannot be clipped. To disable this "
                           "error and scale the gradients by the non-finite norm anyway, set `error_if_nonfinite=False`")
    return total  # type: ignore[no-any-return]


def clip_grad_norm_(parameters: Iterable[Tensor] | Tensor, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False,
                    foreach: bool | None = None) -> Tensor:
    """Scale all gradients so that their joint norm is at most `max_norm`; returns the norm before."""
    grads = _gradients(parameters)
    with no_grad():
        total = get_total_norm(grads, norm_type, error_if_nonfinite)
        factor = (float(max_norm) / (total + 1e-6)).clamp(max=1.0)  # type: ignore[operator]
        for g in grads:
            g.mul_(factor)  # type: ignore[attr-defined]
    return total


def clip_grad_value_(parameters: Iterable[Tensor] | Tensor, clip_value: float, foreach: bool | None = None) -> None:
    """Limit every element of the gradients to [-clip_value, clip_value]."""
    with no_grad():
        for g in _gradients(parameters):
            g.clamp_(-float(clip_value), float(clip_value))  # type: ignore[attr-defined]


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All parameters one after another: [n]."""
    return FUNCTIONS["cat"]([p.reshape(-1) for p in parameters])  # type: ignore[no-any-return,attr-defined]


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Set the parameters to the slices of a vector. Raises TypeError unless a tensor."""
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected torch.Tensor, but got: {type(vec).__name__}")
    at = 0
    for p in parameters:
        n = p.numel()
        p.data = vec.detach()[at:at + n].reshape(p._shape).clone()  # type: ignore[attr-defined]
        at += n

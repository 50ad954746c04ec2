"""What distributions share: broadcasting of parameters, probabilities and logits, properties computed once."""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Number
from typing import Any

from torsh.core.dtypes import dtype, get_default_dtype
from torsh.ops import random
from torsh.ops.generators import engine_of
from torsh.ops.host import every_value
from torsh.ops.join import broadcast_tensors
from torsh.ops.matrix import tril_indices
from torsh.ops.softmax import softmax
from torsh.tensor.creation import arange, tensor, zeros
from torsh.tensor.storage import watch
from torsh.tensor.tensor import Tensor


def broadcast_all(*values: Any) -> tuple[Tensor, ...]:
    """Tensors and numbers as tensors of one shape; numbers take the first tensor's dtype. Raises ValueError for anything else."""
    if not all(isinstance(v, (Tensor, Number)) for v in values):
        raise ValueError("Input arguments must all be instances of Number, torch.Tensor or objects implementing __torch_function__.")
    kind = next((v._dtype for v in values if isinstance(v, Tensor)), get_default_dtype())
    return tuple(broadcast_tensors(*[v if isinstance(v, Tensor) else tensor(v, dtype=kind) for v in values]))


def holds(condition: Tensor) -> bool:
    """Whether a condition holds everywhere, and while a function is vmapped, for every example. Computes it."""
    every = condition.all()  # type: ignore[attr-defined]
    return bool(every.item() if watch.values is None else every_value(every).all())


def limits(dt: dtype) -> Any:
    """NumPy's `finfo` of a floating dtype: `eps`, `tiny`, `max`."""
    from ml_dtypes import finfo
    return finfo(dt.np)


def standard_normal(shape: Sequence[int], dt: dtype) -> Tensor:
    """Standard normal numbers, drawn as `torsh.normal` of tensors draws them."""
    return random.standard_normal(tuple(shape), dt, engine_of(None))


def sum_rightmost(value: Tensor, count: int) -> Tensor:
    """The sum over the last `count` dimensions."""
    return value if count == 0 else value.reshape(*value._shape[:len(value._shape) - count], -1).sum(-1)  # type: ignore[attr-defined,no-any-return]


def logits_to_probs(logits: Tensor, is_binary: bool = False) -> Tensor:
    """Probabilities of log odds (binary), or of unnormalized log probabilities along the last dimension."""
    return logits.sigmoid() if is_binary else softmax(logits, -1)  # type: ignore[attr-defined,no-any-return]


def clamp_probs(probs: Tensor) -> Tensor:
    """Probabilities kept off 0 and 1 by the dtype's epsilon."""
    eps = float(limits(probs._dtype).eps)
    return probs.clamp(min=eps, max=1 - eps)  # type: ignore[attr-defined,no-any-return]


def probs_to_logits(probs: Tensor, is_binary: bool = False) -> Tensor:
    """Log odds (binary) or log probabilities."""
    p = clamp_probs(probs)
    return p.log() - (-p).log1p() if is_binary else p.log()  # type: ignore[attr-defined,no-any-return]


def log_multigamma(a: Tensor, p: int) -> Tensor:
    """The logarithm of the multivariate gamma function of dimension p."""
    halves = arange(p, dtype=a._dtype) / 2
    return (a.unsqueeze(-1) - halves).lgamma().sum(-1) + p * (p - 1) / 4 * math.log(math.pi)  # type: ignore[attr-defined,no-any-return]


class lazy_property:
    """A property that is computed when first read, outside of `no_grad`, and then kept as an attribute."""

    def __init__(self, wrapped: Callable[[Any], Any]) -> None:
        self.wrapped = wrapped
        self.__doc__ = wrapped.__doc__

    def __get__(self, instance: Any, obj_type: Any = None) -> Any:
        if instance is None:
            return self
        from torsh.autograd.grad_mode import enable_grad
        with enable_grad():
            value = self.wrapped(instance)
        setattr(instance, self.wrapped.__name__, value)
        return value


def tril_matrix_to_vec(mat: Tensor, diag: int = 0) -> Tensor:
    """The lower triangles of [*, n, n], row by row, as [*, entries]. Raises ValueError for a diagonal out of range."""
    n = mat._shape[-1]
    if not -n <= diag < n:
        raise ValueError(f"diag ({diag}) provided is outside [{-n}, {n - 1}].")
    at = tril_indices(n, n, diag)
    return mat[..., at[0], at[1]]  # type: ignore[no-any-return]


def vec_to_tril_matrix(vec: Tensor, diag: int = 0) -> Tensor:
    """[*, entries] as the lower triangles of [*, n, n]. Raises ValueError for a number of entries that no triangle has."""
    n = (-(1 + 2 * diag) + ((1 + 2 * diag) ** 2 + 8 * vec._shape[-1] + 4 * abs(diag) * (diag + 1)) ** 0.5) / 2
    if not round(n) - limits(vec._dtype).eps <= n <= round(n) + limits(vec._dtype).eps:
        raise ValueError(f"The size of last dimension is {vec._shape[-1]} which cannot be expressed as the lower triangular part of a square D x D matrix.")
    k = round(n)
    at = tril_indices(k, k, diag)
    out = zeros(*vec._shape[:-1], k, k, dtype=vec._dtype)
    out[..., at[0], at[1]] = vec
    return out



__all__ = ["broadcast_all", "clamp_probs", "lazy_property", "logits_to_probs", "probs_to_logits", "tril_matrix_to_vec", "vec_to_tril_matrix"]

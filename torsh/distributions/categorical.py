"""The categorical distribution."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torsh.autograd.grad_mode import no_grad
from torsh.core.dtypes import int64
from torsh.distributions import constraints
from torsh.distributions.distribution import Distribution
from torsh.distributions.probability import OfProbability, one_of
from torsh.distributions.utils import limits
from torsh.ops.choice import chosen, raced
from torsh.ops.dispatch import cast_tensor
from torsh.ops.generators import engine_of
from torsh.ops.random import choosable, multinomial
from torsh.ops.softmax import log_softmax
from torsh.tensor.creation import arange, full
from torsh.tensor.tensor import Size, Tensor


class Categorical(OfProbability, Distribution):
    """0 .. k-1 with probabilities proportional to `probs` [*, k] (or to exp(logits)). Raises ValueError unless one of the two is given."""
    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    has_enumerate_support = True
    _binary = False

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        given = one_of(probs, logits)
        if not given._shape:
            raise ValueError(f"`{'logits' if probs is None else 'probs'}` parameter must be at least one-dimensional.")
        if probs is None:
            self.logits = log_softmax(logits, -1) if logits._dtype.category == 2 else logits - logits.logsumexp(-1, keepdim=True)
        else:
            self.probs = probs / probs.sum(-1, keepdim=True)
        self._num_events = given._shape[-1]
        super().__init__(given._shape[:-1], validate_args=validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Any:
        return constraints.integer_interval(0, self._num_events - 1)

    @property
    def mean(self) -> Tensor:
        return full(self._extended_shape(), math.nan, dtype=self.probs.dtype)

    @property
    def mode(self) -> Tensor:
        return self.probs.argmax(-1)  # type: ignore[attr-defined,no-any-return]

    @property
    def variance(self) -> Tensor:
        return full(self._extended_shape(), math.nan, dtype=self.probs.dtype)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        probs = self.probs
        if not sample_shape and choosable(probs):
            index = raced(probs, engine_of(None))
            if index is not None:
                return index
        shape = Size(sample_shape)
        with no_grad():
            rows = probs.reshape(-1, self._num_events)  # type: ignore[attr-defined]
            return multinomial(rows, shape.numel(), True).t().reshape(self._extended_shape(shape))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return chosen(self.logits, cast_tensor(value, int64))

    def entropy(self) -> Tensor:
        logits = self.logits.clamp(min=float(limits(self.logits.dtype).min))  # type: ignore[attr-defined]
        return -(logits * self.probs).sum(-1)  # type: ignore[no-any-return]

    def enumerate_support(self, expand: bool = True) -> Tensor:
        values = arange(self._num_events).view((-1,) + (1,) * len(self._batch_shape))
        return values.expand((-1, *self._batch_shape)) if expand else values


__all__ = ["Categorical"]

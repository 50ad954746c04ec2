"""The multinomial distribution."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torsh.distributions import constraints
from torsh.distributions.binomial import Binomial
from torsh.distributions.categorical import Categorical
from torsh.distributions.distribution import Distribution
from torsh.ops.join import broadcast_tensors
from torsh.ops.pointwise import where
from torsh.tensor.creation import ones_like, tensor, zeros
from torsh.tensor.tensor import Size, Tensor


class Multinomial(Distribution):
    """How often each of k categories comes up in `total_count` draws of `Categorical`. Raises NotImplementedError unless the count is an int."""
    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}

    def __init__(self, total_count: int = 1, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        if not isinstance(total_count, int):
            raise NotImplementedError("inhomogeneous total_count is not supported")
        self.total_count = total_count
        self._categorical = Categorical(probs=probs, logits=logits)
        self._binomial = Binomial(total_count=total_count, probs=self.probs)
        super().__init__(self._categorical.batch_shape, self._categorical.param_shape[-1:], validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Any:
        new = self._get_checked_instance(Multinomial, _instance)
        new.total_count = self.total_count
        new._categorical = self._categorical.expand(batch_shape)
        new._binomial = self._binomial.expand((*batch_shape, *self._event_shape))
        super(Multinomial, new).__init__(batch_shape, self._event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @constraints.dependent_property(is_discrete=True, event_dim=1)
    def support(self) -> Any:
        return constraints.multinomial(self.total_count)

    @property
    def _param(self) -> Tensor:
        return self._categorical._param

    @property
    def probs(self) -> Tensor:
        """Probabilities."""
        return self._categorical.probs

    @property
    def logits(self) -> Tensor:
        """Log probabilities."""
        return self._categorical.logits

    @property
    def param_shape(self) -> Size:
        """The shape of the parameter."""
        return self._categorical.param_shape

    @property
    def mean(self) -> Tensor:
        return self.probs * self.total_count

    @property
    def variance(self) -> Tensor:
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        samples = self._categorical.sample((self.total_count, *sample_shape))
        last = samples.permute(*range(1, samples.dim()), 0)  # type: ignore[attr-defined]
        counts = zeros(*self._extended_shape(sample_shape), dtype=self.probs.dtype)
        return counts.scatter_add_(-1, last, ones_like(last, dtype=counts.dtype))  # type: ignore[attr-defined,no-any-return]

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_tensors(self.logits, value)
        ways = (value.sum(-1) + 1).lgamma() - (value + 1).lgamma().sum(-1)
        return ways + where((value == 0) & (logits == -math.inf), 0.0, logits * value).sum(-1)  # type: ignore[no-any-return]

    def entropy(self) -> Tensor:
        n = tensor(float(self.total_count), dtype=self.probs.dtype)
        support = self._binomial.enumerate_support(expand=False)[1:]
        weights = self._binomial.log_prob(support).exp()
        weight = (weights * (support + 1).lgamma()).sum((0, -1))
        return n * self._categorical.entropy() - (n + 1).lgamma() + weight  # type: ignore[attr-defined,no-any-return]


__all__ = ["Multinomial"]

"""The negative binomial distribution."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torsh.autograd.grad_mode import no_grad
from torsh.distributions import constraints
from torsh.distributions.distribution import Distribution
from torsh.distributions.gamma import Gamma
from torsh.distributions.probability import OfProbability
from torsh.distributions.utils import lazy_property
from torsh.ops.activation import logsigmoid
from torsh.ops.pointwise import where
from torsh.ops.samplers import poisson
from torsh.tensor.tensor import Tensor


class NegativeBinomial(OfProbability, Distribution):
    """How many trials of success probability `probs` succeed before `total_count` fail. Raises ValueError unless one parameter is given."""
    arg_constraints = {"total_count": constraints.greater_than_eq(0), "probs": constraints.half_open_interval(0.0, 1.0), "logits": constraints.real}
    support = constraints.nonnegative_integer

    def __init__(self, total_count: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        super().__init__(self._take_counted(total_count, probs, logits), validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.total_count * self.logits.exp()

    @property
    def mode(self) -> Tensor:
        return ((self.total_count - 1) * self.logits.exp()).floor().clamp(min=0.0)

    @property
    def variance(self) -> Tensor:
        return self.mean / (-self.logits).sigmoid()

    @lazy_property
    def _gamma(self) -> Gamma:
        return Gamma(self.total_count, (-self.logits).exp(), validate_args=False)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with no_grad():
            return poisson(self._gamma.sample(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        n = self.total_count
        plain = n * logsigmoid(-self.logits) + value * logsigmoid(self.logits)
        ways = (n + value).lgamma() - (1.0 + value).lgamma() - n.lgamma()
        return plain + where(n + value == 0.0, 0.0, ways)


__all__ = ["NegativeBinomial"]

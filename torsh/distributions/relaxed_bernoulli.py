"""Bernoulli numbers relaxed to (0, 1)."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torsh.distributions import constraints
from torsh.distributions.distribution import Distribution
from torsh.distributions.probability import OfProbability
from torsh.distributions.transformed_distribution import TransformedDistribution
from torsh.distributions.transforms import SigmoidTransform
from torsh.distributions.utils import broadcast_all, clamp_probs
from torsh.ops.random import rand
from torsh.tensor.tensor import Tensor


class LogitRelaxedBernoulli(OfProbability, Distribution):
    """The log odds of `RelaxedBernoulli`: logits plus logistic noise, over the temperature. Raises ValueError unless one parameter is given."""
    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.real
    has_rsample = True

    def __init__(self, temperature: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        self.temperature = temperature
        super().__init__(self._take(probs, logits), validate_args=validate_args)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        p = clamp_probs(self.probs.expand(shape))  # type: ignore[attr-defined]
        u = clamp_probs(rand(shape, dtype=p.dtype))
        return (u.log() - (-u).log1p() + p.log() - (-p).log1p()) / self.temperature  # type: ignore[attr-defined,no-any-return]

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        difference = logits - value * self.temperature
        return self.temperature.log() + difference - 2 * difference.exp().log1p()  # type: ignore[no-any-return,attr-defined]


class RelaxedBernoulli(TransformedDistribution):
    """Numbers of (0, 1) that tend to `Bernoulli` as the temperature goes to 0. Maddison et al. 2017, Jang et al. 2017."""
    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval
    has_rsample = True

    def __init__(self, temperature: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        super().__init__(LogitRelaxedBernoulli(temperature, probs, logits), SigmoidTransform(), validate_args=validate_args)

    @property
    def temperature(self) -> Any:
        """The temperature."""
        return self.base_dist.temperature  # type: ignore[attr-defined]

    @property
    def logits(self) -> Tensor:
        """Log odds."""
        return self.base_dist.logits  # type: ignore[attr-defined,no-any-return]

    @property
    def probs(self) -> Tensor:
        """Probabilities."""
        return self.base_dist.probs  # type: ignore[attr-defined,no-any-return]


__all__ = ["LogitRelaxedBernoulli", "RelaxedBernoulli"]

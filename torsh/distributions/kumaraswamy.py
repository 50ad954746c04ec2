"""The Kumaraswamy distribution."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torsh.distributions import constraints
from torsh.distributions.gumbel import EULER
from torsh.distributions.transformed_distribution import TransformedDistribution
from torsh.distributions.transforms import AffineTransform, PowerTransform
from torsh.distributions.uniform import Uniform
from torsh.distributions.utils import broadcast_all
from torsh.ops.pointwise import where
from torsh.tensor.creation import full_like
from torsh.tensor.tensor import Tensor


class Kumaraswamy(TransformedDistribution):
    """Density a b x^(a-1) (1 - x^a)^(b-1) on [0, 1], with a = concentration1 and b = concentration0."""
    arg_constraints = {"concentration1": constraints.positive, "concentration0": constraints.positive}
    support = constraints.unit_interval
    has_rsample = True

    def __init__(self, concentration1: Any, concentration0: Any, validate_args: bool | None = None) -> None:
        self.concentration1, self.concentration0 = broadcast_all(concentration1, concentration0)
        base = Uniform(full_like(self.concentration0, 0), full_like(self.concentration0, 1), validate_args=validate_args)
        super().__init__(base, [PowerTransform(exponent=self.concentration0.reciprocal()), AffineTransform(loc=1.0, scale=-1.0),
                                PowerTransform(exponent=self.concentration1.reciprocal())], validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Any:
        return Kumaraswamy(self.concentration1.expand(batch_shape), self.concentration0.expand(batch_shape), validate_args=False)

    def _moment(self, n: int) -> Tensor:
        a, b = self.concentration1, self.concentration0
        log_beta = (1 + n / a).lgamma() + b.lgamma() - (1 + n / a + b).lgamma()
        return b * log_beta.exp()

    @property
    def mean(self) -> Tensor:
        return self._moment(1)

    @property
    def mode(self) -> Tensor:
        a, b = self.concentration1, self.concentration0
        return where((a < 1) | (b < 1), math.nan, ((a - 1) / (a * b - 1)) ** (1 / a))  # type: ignore[no-any-return]

    @property
    def variance(self) -> Tensor:
        return self._moment(2) - self.mean.pow(2)

    def entropy(self) -> Tensor:
        a, b = self.concentration1, self.concentration0
        return (1 - 1 / b) + (1 - 1 / a) * ((b + 1).digamma() + EULER) - a.log() - b.log()


__all__ = ["Kumaraswamy"]

"""The generalized Pareto distribution."""
from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Number
from typing import Any

from torsh.distributions import constraints
from torsh.distributions.distribution import Distribution
from torsh.distributions.utils import broadcast_all
from torsh.ops.pointwise import where
from torsh.ops.random import rand
from torsh.tensor.tensor import Tensor


class GeneralizedPareto(Distribution):
    """Survival (1 + concentration z)^(-1 / concentration) with z = (x - loc) / scale; exp(-z) for concentration 0."""
    arg_constraints = {"loc": constraints.real, "scale": constraints.positive, "concentration": constraints.real}
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale, self.concentration = broadcast_all(loc, scale, concentration)
        numbers = isinstance(loc, Number) and isinstance(scale, Number) and isinstance(concentration, Number)
        super().__init__(() if numbers else self.loc._shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Any:
        top = where(self.concentration < 0, self.loc - self.scale / self._nonzero(), math.inf)
        return constraints.interval(self.loc, top)

    def _nonzero(self) -> Tensor:
        return where(self.concentration == 0, 1.0, self.concentration)  # type: ignore[no-any-return]

    def _log_survival(self, z: Tensor) -> Tensor:
        c = self._nonzero()
        return where(self.concentration == 0, -z, -(c * z).log1p() / c)  # type: ignore[no-any-return,attr-defined]

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.icdf(rand(self._extended_shape(sample_shape), dtype=self.loc.dtype))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        z = (value - self.loc) / self.scale
        return self._log_survival(z) * (1 + self.concentration) - self.scale.log()  # type: ignore[no-any-return,attr-defined]

    def log_survival_function(self, value: Tensor) -> Tensor:
        """log(1 - cdf)."""
        if self._validate_args:
            self._validate_sample(value)
        return self._log_survival((value - self.loc) / self.scale)

    def log_cdf(self, value: Tensor) -> Tensor:
        """log(cdf)."""
        if self._validate_args:
            self._validate_sample(value)
        return (-self.log_survival_function(value).exp()).log1p()  # type: ignore[attr-defined,no-any-return]

    def cdf(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return -self._log_survival((value - self.loc) / self.scale).expm1()  # type: ignore[attr-defined,no-any-return]

    def icdf(self, value: Tensor) -> Tensor:
        c, log_left = self._nonzero(), (-value).log1p()  # type: ignore[attr-defined]
        return self.loc + self.scale * where(self.concentration == 0, -log_left, (-c * log_left).expm1() / c)  # type: ignore[no-any-return]

    @property
    def mean(self) -> Tensor:
        c = self.concentration
        return where(c < 1, self.loc + self.scale / (1 - c), math.inf)  # type: ignore[no-any-return]

    @property
    def variance(self) -> Tensor:
        c = self.concentration
        return where(c < 0.5, self.scale ** 2 / ((1 - c) ** 2 * (1 - 2 * c)), math.inf)  # type: ignore[no-any-return]

    def entropy(self) -> Tensor:
        return self.scale.log() + self.concentration + 1  # type: ignore[attr-defined,no-any-return]

    @property
    def mode(self) -> Tensor:
        return self.loc


__all__ = ["GeneralizedPareto"]

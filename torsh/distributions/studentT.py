"""Student's t-distribution."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torsh.distributions import constraints
from torsh.distributions.chi2 import Chi2
from torsh.distributions.distribution import Distribution
from torsh.distributions.utils import broadcast_all, standard_normal
from torsh.ops.pointwise import where
from torsh.tensor.creation import full_like
from torsh.tensor.tensor import Tensor


class StudentT(Distribution):
    """loc + scale times a standard normal number over the root of a chi-squared one over its degrees of freedom `df`."""
    arg_constraints = {"df": constraints.positive, "loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True

    def __init__(self, df: Any, loc: Any = 0.0, scale: Any = 1.0, validate_args: bool | None = None) -> None:
        self.df, self.loc, self.scale = broadcast_all(df, loc, scale)
        self._chi2 = Chi2(self.df)
        super().__init__(self.df._shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return where(self.df <= 1, full_like(self.loc, math.nan), self.loc)  # type: ignore[no-any-return]

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        df = self.df
        finite = self.scale.pow(2) * df / (df - 2)  # type: ignore[attr-defined]
        return where(df > 2, finite, where(df > 1, full_like(df, math.inf), full_like(df, math.nan)))  # type: ignore[no-any-return]

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        x = standard_normal(self._extended_shape(sample_shape), self.df.dtype)
        z = self._chi2.rsample(sample_shape)
        return self.loc + self.scale * (x * (z / self.df).rsqrt())

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        y = (value - self.loc) / self.scale
        z = self.scale.log() + 0.5 * self.df.log() + 0.5 * math.log(math.pi) + (0.5 * self.df).lgamma() - (0.5 * (self.df + 1.0)).lgamma()  # type: ignore[attr-defined]
        return -0.5 * (self.df + 1.0) * (y ** 2.0 / self.df).log1p() - z

    def entropy(self) -> Tensor:
        half = 0.5 * self.df
        log_beta = half.lgamma() + math.lgamma(0.5) - (0.5 + half).lgamma()
        return self.scale.log() + 0.5 * (self.df + 1) * ((0.5 * (self.df + 1)).digamma() - half.digamma()) + 0.5 * self.df.log() + log_beta  # type: ignore[attr-defined]


__all__ = ["StudentT"]

"""The logistic-normal distribution."""
from __future__ import annotations

from typing import Any

from torsh.distributions import constraints
from torsh.distributions.normal import Normal
from torsh.distributions.transformed_distribution import TransformedDistribution
from torsh.distributions.transforms import StickBreakingTransform
from torsh.tensor.tensor import Tensor


class LogisticNormal(TransformedDistribution):
    """Points of the simplex [*, k+1], made of k normal numbers by stick breaking."""
    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.simplex
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        base = Normal(loc, scale, validate_args=validate_args)
        if not base.batch_shape:
            base = base.expand([1])
        super().__init__(base, StickBreakingTransform(), validate_args=validate_args)

    @property
    def loc(self) -> Tensor:
        """The means of the normal numbers."""
        return self.base_dist.base_dist.loc  # type: ignore[attr-defined,no-any-return]

    @property
    def scale(self) -> Tensor:
        """The standard deviations of the normal numbers."""
        return self.base_dist.base_dist.scale  # type: ignore[attr-defined,no-any-return]


__all__ = ["LogisticNormal"]

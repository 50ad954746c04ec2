"""What the halves of distributions around 0 share: |x| for x of the whole."""
from __future__ import annotations

import math
from typing import Any

from torsh.distributions import constraints
from torsh.distributions.transformed_distribution import TransformedDistribution
from torsh.distributions.transforms import AbsTransform
from torsh.ops.pointwise import where
from torsh.tensor.creation import zeros_like
from torsh.tensor.tensor import Tensor


class Half(TransformedDistribution):
    """The distribution of |x| for x of `_whole(0, scale)`, which is symmetric."""
    arg_constraints = {"scale": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True
    _whole: Any

    def __init__(self, scale: Any, validate_args: bool | None = None) -> None:
        super().__init__(self._whole(0, scale, validate_args=False), AbsTransform(), validate_args=validate_args)

    @property
    def scale(self) -> Tensor:
        """The scale of the whole distribution."""
        return self.base_dist.scale  # type: ignore[attr-defined,no-any-return]

    @property
    def mode(self) -> Tensor:
        return zeros_like(self.scale)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return where(value >= 0, self.base_dist.log_prob(value) + math.log(2), -math.inf)  # type: ignore[no-any-return]

    def cdf(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return 2 * self.base_dist.cdf(value) - 1

    def icdf(self, value: Tensor) -> Tensor:
        return self.base_dist.icdf((value + 1) / 2)

    def entropy(self) -> Tensor:
        return self.base_dist.entropy() - math.log(2)

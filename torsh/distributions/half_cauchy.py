"""The half-Cauchy distribution."""
from __future__ import annotations

import math

from torsh.distributions.cauchy import Cauchy
from torsh.distributions.half import Half
from torsh.tensor.creation import full_like
from torsh.tensor.tensor import Tensor


class HalfCauchy(Half):
    """The distribution of |x| for x of `Cauchy(0, scale)`."""
    _whole = Cauchy

    @property
    def mean(self) -> Tensor:
        return full_like(self.scale, math.inf)

    @property
    def variance(self) -> Tensor:
        return self.base_dist.variance


__all__ = ["HalfCauchy"]

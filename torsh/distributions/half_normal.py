"""The half-normal distribution."""
from __future__ import annotations

import math

from torsh.distributions.half import Half
from torsh.distributions.normal import Normal
from torsh.tensor.tensor import Tensor


class HalfNormal(Half):
    """The distribution of |x| for x of `Normal(0, scale)`."""
    _whole = Normal

    @property
    def mean(self) -> Tensor:
        return self.scale * math.sqrt(2 / math.pi)

    @property
    def variance(self) -> Tensor:
        return self.scale.pow(2) * (1 - 2 / math.pi)  # type: ignore[attr-defined,no-any-return]


__all__ = ["HalfNormal"]

"""The von Mises distribution."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torsh.autograd.grad_mode import no_grad
from torsh.core.dtypes import float64
from torsh.distributions import constraints
from torsh.distributions.distribution import Distribution
from torsh.distributions.utils import broadcast_all
from torsh.ops.pointwise import where
from torsh.ops.random import rand
from torsh.tensor.creation import zeros
from torsh.tensor.tensor import Tensor


class VonMises(Distribution):
    """Angles with density exp(concentration cos(x - loc)) / (2 pi I0(concentration))."""
    arg_constraints = {"loc": constraints.real, "concentration": constraints.positive}
    support = constraints.real

    def __init__(self, loc: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.loc, self.concentration = broadcast_all(loc, concentration)
        super().__init__(self.loc._shape, validate_args=validate_args)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        from torsh.special import i0e
        k = self.concentration
        return k * ((value - self.loc).cos() - 1) - math.log(2 * math.pi) - i0e(k).log()  # type: ignore[no-any-return]

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Best & Fisher 1979, "Efficient simulation of the von Mises distribution": rejection from a wrapped Cauchy distribution, in float64."""
        shape = self._extended_shape(sample_shape)
        with no_grad():
            k = self.concentration.to(float64)
            tau = 1 + (1 + 4 * k ** 2).sqrt()
            rho = (tau - (2 * tau).sqrt()) / (2 * k)
            r = where(k < 1e-5, 1 / k + k, (1 + rho ** 2) / (2 * rho)).expand(shape)
            k = k.expand(shape)
            x = zeros(*shape, dtype=float64)
            done = x != x
            while not bool(done.all()):
                u1, u2, u3 = rand(3, *shape, dtype=float64).unbind()  # type: ignore[attr-defined]
                z = (math.pi * u1).cos()
                f = (1 + r * z) / (r + z)
                c = k * (r - f)
                accept = ((c * (2 - c) - u2) > 0) | ((c / u2).log() + 1 - c >= 0)
                x = where(accept, (u3 - 0.5).sign() * f.acos(), x)
                done = done | accept
            return ((x + math.pi + self.loc.to(float64)) % (2 * math.pi) - math.pi).to(self.loc.dtype)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        """The circular variance, 1 - I1 / I0."""
        from torsh.special import i0e, i1e
        return 1 - i1e(self.concentration) / i0e(self.concentration)  # type: ignore[no-any-return]


__all__ = ["VonMises"]

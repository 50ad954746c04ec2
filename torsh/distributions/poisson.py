"""The Poisson distribution."""
from __future__ import annotations

from collections.abc import Sequence
from numbers import Number
from typing import Any

from torsh.autograd.grad_mode import no_grad
from torsh.distributions import constraints
from torsh.distributions.exp_family import ExponentialFamily
from torsh.distributions.utils import broadcast_all
from torsh.ops.samplers import poisson
from torsh.tensor.tensor import Tensor


class Poisson(ExponentialFamily):
    """rate^k exp(-rate) / k! for k = 0, 1, ..."""
    arg_constraints = {"rate": constraints.nonnegative}
    support = constraints.nonnegative_integer

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        self.rate, = broadcast_all(rate)
        super().__init__(() if isinstance(rate, Number) else self.rate._shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.rate  # type: ignore[no-any-return]

    @property
    def mode(self) -> Tensor:
        return self.rate.floor()  # type: ignore[no-any-return]

    @property
    def variance(self) -> Tensor:
        return self.rate  # type: ignore[no-any-return]

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with no_grad():
            return poisson(self.rate.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        rate, value = broadcast_all(self.rate, value)
        return value.xlogy(rate) - rate - (value + 1).lgamma()  # type: ignore[attr-defined,no-any-return]

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return (self.rate.log(),)

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        return natural_params[0].exp()  # type: ignore[attr-defined,no-any-return]


__all__ = ["Poisson"]

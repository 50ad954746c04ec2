"""The Dirichlet distribution."""
from __future__ import annotations

from collections.abc import Sequence

from torsh.distributions import constraints
from torsh.distributions.exp_family import ExponentialFamily
from torsh.ops.pointwise import where
from torsh.ops.samplers import sample_dirichlet
from torsh.tensor.creation import zeros_like
from torsh.tensor.tensor import Tensor


class Dirichlet(ExponentialFamily):
    """Density proportional to the product of x_i^(concentration_i - 1) on the simplex. Raises ValueError for a 0-dimensional concentration."""
    arg_constraints = {"concentration": constraints.independent(constraints.positive, 1)}
    support = constraints.simplex
    has_rsample = True

    def __init__(self, concentration: Tensor, validate_args: bool | None = None) -> None:
        if not concentration._shape:
            raise ValueError("`concentration` parameter must be at least one-dimensional.")
        self.concentration = concentration
        super().__init__(concentration._shape[:-1], concentration._shape[-1:], validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.concentration.sum(-1, True)  # type: ignore[no-any-return]

    @property
    def mode(self) -> Tensor:
        less = (self.concentration - 1).clamp(min=0.0)
        mode = less / less.sum(-1, True)
        flat = (self.concentration < 1).all(-1, keepdim=True)
        return where(flat, zeros_like(mode).scatter(-1, mode.argmax(-1, True), 1.0), mode)  # type: ignore[no-any-return]

    @property
    def variance(self) -> Tensor:
        total = self.concentration.sum(-1, True)
        return self.concentration * (total - self.concentration) / (total.pow(2) * (total + 1))  # type: ignore[no-any-return]

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return sample_dirichlet(self.concentration.expand(self._extended_shape(sample_shape)))  # type: ignore[attr-defined]

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        a = self.concentration
        return (a - 1.0).xlogy(value).sum(-1) + a.sum(-1).lgamma() - a.lgamma().sum(-1)  # type: ignore[no-any-return]

    def entropy(self) -> Tensor:
        a, k = self.concentration, self.concentration.shape[-1]
        total = a.sum(-1)
        return a.lgamma().sum(-1) - total.lgamma() - (k - total) * total.digamma() - ((a - 1.0) * a.digamma()).sum(-1)  # type: ignore[no-any-return]

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return (self.concentration,)

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        x, = natural_params
        return x.lgamma().sum(-1) - x.sum(-1).lgamma()  # type: ignore[no-any-return]


__all__ = ["Dirichlet"]

"""The continuous Bernoulli distribution."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torsh.autograd.grad_mode import no_grad
from torsh.distributions import constraints
from torsh.distributions.exp_family import ExponentialFamily
from torsh.distributions.probability import OfProbability
from torsh.distributions.utils import broadcast_all, clamp_probs, holds, lazy_property, logits_to_probs
from torsh.ops.loss import binary_cross_entropy_with_logits
from torsh.ops.pointwise import where
from torsh.ops.random import rand
from torsh.tensor.tensor import Tensor


class ContinuousBernoulli(OfProbability, ExponentialFamily):
    """Density proportional to probs^x (1 - probs)^(1 - x) on [0, 1]. Loaiza-Ganem & Cunningham 2019.

    For probs within `lims` of 1/2, where the normalizer is 0/0, Taylor series are used. Raises ValueError unless one parameter is given.
    """
    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval
    has_rsample = True
    _mean_carrier_measure = 0

    def __init__(self, probs: Any = None, logits: Any = None, lims: tuple[float, float] = (0.499, 0.501), validate_args: bool | None = None) -> None:
        shape = self._take(probs, logits)
        if probs is not None:
            if validate_args and not holds(constraints.unit_interval.check(self.probs)):
                raise ValueError("The parameter probs has invalid values")
            self.probs = clamp_probs(self.probs)
        self._lims = lims
        super().__init__(shape, validate_args=validate_args)

    @lazy_property
    def probs(self) -> Tensor:
        """The parameter as a probability."""
        return clamp_probs(logits_to_probs(self.logits, True))

    def _outside(self) -> Tensor:
        """Where probs are far enough from 1/2."""
        return (self.probs <= self._lims[0]) | (self.probs > self._lims[1])

    def _cut_probs(self) -> Tensor:
        return where(self._outside(), self.probs, self._lims[0])  # type: ignore[no-any-return]

    def _cont_bern_log_norm(self) -> Tensor:
        """log(2 atanh(1 - 2p) / (1 - 2p))."""
        p = self._cut_probs()
        below = where(p <= 0.5, p, 0.0)
        above = where(p >= 0.5, p, 1.0)
        size = where(p <= 0.5, (-2 * below).log1p(), (2 * above - 1).log())
        exact = ((-p).log1p() - p.log()).abs().log() - size  # type: ignore[attr-defined]
        x = (self.probs - 0.5).pow(2)  # type: ignore[attr-defined]
        return where(self._outside(), exact, math.log(2) + (4.0 / 3.0 + 104.0 / 45.0 * x) * x)  # type: ignore[no-any-return]

    @property
    def mean(self) -> Tensor:
        p = self._cut_probs()
        exact = p / (2 * p - 1) + 1 / ((-p).log1p() - p.log())  # type: ignore[attr-defined]
        x = self.probs - 0.5
        return where(self._outside(), exact, 0.5 + (1.0 / 3.0 + 16.0 / 45.0 * x.pow(2)) * x)  # type: ignore[no-any-return,attr-defined]

    @property
    def stddev(self) -> Tensor:
        return self.variance.sqrt()  # type: ignore[attr-defined,no-any-return]

    @property
    def variance(self) -> Tensor:
        p = self._cut_probs()
        exact = p * (p - 1) / (1 - 2 * p).pow(2) + 1 / ((-p).log1p() - p.log()).pow(2)  # type: ignore[attr-defined]
        x = (self.probs - 0.5).pow(2)  # type: ignore[attr-defined]
        return where(self._outside(), exact, 1.0 / 12.0 - (1.0 / 15.0 + 128.0 / 945.0 * x) * x)  # type: ignore[no-any-return]

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with no_grad():
            return self.icdf(rand(self._extended_shape(sample_shape), dtype=self.probs.dtype))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.icdf(rand(self._extended_shape(sample_shape), dtype=self.probs.dtype))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        return -binary_cross_entropy_with_logits(logits, value, reduction="none") + self._cont_bern_log_norm()

    def cdf(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        p = self._cut_probs()
        exact = (p ** value * (1.0 - p) ** (1.0 - value) + p - 1.0) / (2.0 * p - 1.0)
        inside = where(self._outside(), exact, value)
        return where(value <= 0.0, 0.0, where(value >= 1.0, 1.0, inside))  # type: ignore[no-any-return]

    def icdf(self, value: Tensor) -> Tensor:
        p = self._cut_probs()
        exact = ((-p + value * (2.0 * p - 1.0)).log1p() - (-p).log1p()) / (p.log() - (-p).log1p())  # type: ignore[attr-defined]
        return where(self._outside(), exact, value)  # type: ignore[no-any-return]

    def entropy(self) -> Tensor:
        log0, log1 = (-self.probs).log1p(), self.probs.log()  # type: ignore[attr-defined]
        return self.mean * (log0 - log1) - self._cont_bern_log_norm() - log0  # type: ignore[no-any-return]

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return (self.logits,)

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        """log((exp(x) - 1) / x), by its series near 0."""
        x, = natural_params
        far = (x <= self._lims[0] - 0.5) | (x > self._lims[1] - 0.5)
        cut = where(far, x, self._lims[0] - 0.5)
        return where(far, (cut.exp() - 1).abs().log() - cut.abs().log(), 0.5 * x + x.pow(2) / 24.0 - x.pow(4) / 2880.0)  # type: ignore[no-any-return,attr-defined]


__all__ = ["ContinuousBernoulli"]

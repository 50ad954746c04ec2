"""The geometric distribution."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torsh.autograd.grad_mode import no_grad
from torsh.distributions import constraints
from torsh.distributions.distribution import Distribution
from torsh.distributions.probability import OfProbability
from torsh.distributions.utils import broadcast_all, holds, limits
from torsh.ops.loss import binary_cross_entropy_with_logits
from torsh.ops.pointwise import where
from torsh.tensor.creation import empty, zeros_like
from torsh.tensor.tensor import Tensor


class Geometric(OfProbability, Distribution):
    """How many trials of success probability `probs` fail before the first success: 0, 1, ... Raises ValueError unless one parameter is given."""
    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.nonnegative_integer

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        super().__init__(self._take(probs, logits), validate_args=validate_args)
        if self._validate_args and probs is not None and not holds(self.probs > 0):
            raise ValueError(f"Expected parameter probs ({type(self.probs).__name__} of shape {tuple(self.probs.shape)}) of distribution {self!r} to be "
                             f"positive but found invalid values:\n{self.probs}")

    @property
    def mean(self) -> Tensor:
        return 1.0 / self.probs - 1.0

    @property
    def mode(self) -> Tensor:
        return zeros_like(self.probs)

    @property
    def variance(self) -> Tensor:
        return (1.0 / self.probs - 1.0) / self.probs

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        kind = self.probs.dtype
        with no_grad():
            u = empty(self._extended_shape(sample_shape), dtype=kind).uniform_(float(limits(kind).tiny), 1)
            return (u.log() / (-self.probs).log1p()).floor()

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        value, probs = broadcast_all(value, self.probs)
        failed = where((probs == 1) & (value == 0), 0.0, probs)
        return value * (-failed).log1p() + self.probs.log()  # type: ignore[no-any-return,attr-defined]

    def entropy(self) -> Tensor:
        return binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none") / self.probs


__all__ = ["Geometric"]

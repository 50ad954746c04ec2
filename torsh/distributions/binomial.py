"""The binomial distribution."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torsh.autograd.grad_mode import no_grad
from torsh.distributions import constraints
from torsh.distributions.distribution import Distribution
from torsh.distributions.probability import OfProbability
from torsh.ops.samplers import binomial
from torsh.tensor.creation import arange
from torsh.tensor.tensor import Tensor


def _clamp_by_zero(x: Tensor) -> Tensor:
    """max(x, 0) whose gradient at 0 is a half."""
    return (x.clamp(min=0) + x - x.clamp(max=0)) / 2  # type: ignore[attr-defined,no-any-return]


class Binomial(OfProbability, Distribution):
    """How many of `total_count` trials of success probability `probs` succeed. Raises ValueError unless one parameter is given."""
    arg_constraints = {"total_count": constraints.nonnegative_integer, "probs": constraints.unit_interval, "logits": constraints.real}
    has_enumerate_support = True

    def __init__(self, total_count: Any = 1, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        super().__init__(self._take_counted(total_count, probs, logits), validate_args=validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Any:
        return constraints.integer_interval(0, self.total_count)

    @property
    def mean(self) -> Tensor:
        return self.total_count * self.probs

    @property
    def mode(self) -> Tensor:
        return ((self.total_count + 1) * self.probs).floor().clamp(max=self.total_count)

    @property
    def variance(self) -> Tensor:
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        with no_grad():
            return binomial(self.total_count.expand(shape), self.probs.expand(shape))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        n = self.total_count
        choose = (n + 1).lgamma() - (value + 1).lgamma() - (n - value + 1).lgamma()
        # k log p + (n - k) log(1 - p) by logits, with the larger exponential taken out
        return choose + value * self.logits - n * (_clamp_by_zero(self.logits) + (-self.logits.abs()).exp().log1p())  # type: ignore[attr-defined]

    def entropy(self) -> Tensor:
        """The entropy. Raises NotImplementedError for counts that are not all the same."""
        n = int(self.total_count.max())
        if not bool(self.total_count.min() == n):
            raise NotImplementedError("Inhomogeneous total count not supported by `entropy`.")
        log_prob = self.log_prob(self.enumerate_support(False))
        return -(log_prob.exp() * log_prob).sum(0)  # type: ignore[attr-defined,no-any-return]

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """0 .. total_count. Raises NotImplementedError for counts that are not all the same."""
        n = int(self.total_count.max())
        if not bool(self.total_count.min() == n):
            raise NotImplementedError("Inhomogeneous total count not supported by `enumerate_support`.")
        values = arange(1 + n, dtype=self._param.dtype).view((-1,) + (1,) * len(self._batch_shape))
        return values.expand((-1, *self._batch_shape)) if expand else values


__all__ = ["Binomial"]

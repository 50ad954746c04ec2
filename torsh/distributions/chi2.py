"""The chi-squared distribution."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torsh.distributions import constraints
from torsh.distributions.gamma import Gamma
from torsh.tensor.tensor import Size, Tensor


class Chi2(Gamma):
    """The sum of squares of `df` standard normal numbers: a gamma distribution of shape df/2 and rate 1/2."""
    arg_constraints = {"df": constraints.positive}

    def __init__(self, df: Any, validate_args: bool | None = None) -> None:
        super().__init__(0.5 * df, 0.5, validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Any:
        new = self._get_checked_instance(Chi2, _instance)
        new.__dict__.update(self.__dict__)
        new.concentration, new.rate = self.concentration.expand(batch_shape), self.rate.expand(batch_shape)
        new._batch_shape = Size(batch_shape)
        return new

    @property
    def df(self) -> Tensor:
        """Degrees of freedom."""
        return self.concentration * 2


__all__ = ["Chi2"]

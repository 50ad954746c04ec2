"""The LKJ distribution of Cholesky factors of correlation matrices."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torsh.autograd.grad_mode import no_grad
from torsh.distributions import constraints
from torsh.distributions.beta import Beta
from torsh.distributions.distribution import Distribution
from torsh.distributions.utils import broadcast_all, limits, log_multigamma
from torsh.ops.join import cat
from torsh.ops.random import randn
from torsh.tensor.creation import arange, zeros
from torsh.tensor.tensor import Size, Tensor


class LKJCholesky(Distribution):
    """Lower Cholesky factors [*, dim, dim] of correlation matrices with density proportional to |M|^(concentration - 1).

    Lewandowski, Kurowicka & Joe 2009, "Generating random correlation matrices based on vines and extended onion method". Raises ValueError for dim < 2.
    """
    arg_constraints = {"concentration": constraints.positive}
    support = constraints.corr_cholesky

    def __init__(self, dim: int, concentration: Any = 1.0, validate_args: bool | None = None) -> None:
        if dim < 2:
            raise ValueError(f"Expected dim to be an integer greater than or equal to 2. Found dim={dim}.")
        self.dim = dim
        self.concentration, = broadcast_all(concentration)
        kind = self.concentration.dtype
        # The squared length of row i beside its diagonal is a beta number (the onion method).
        offset = cat([zeros(1, dtype=kind), arange(dim - 1, dtype=kind)])
        marginal = self.concentration + 0.5 * (dim - 2)
        self._beta = Beta(offset + 0.5, marginal.unsqueeze(-1) - 0.5 * offset)
        super().__init__(self.concentration._shape, (dim, dim), validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Any:
        new = self._get_checked_instance(LKJCholesky, _instance)
        new.__dict__.update(self.__dict__)
        new.concentration = self.concentration.expand(batch_shape)
        new._beta = self._beta.expand((*batch_shape, self.dim))
        new._batch_shape = Size(batch_shape)
        return new

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        kind = self.concentration.dtype
        with no_grad():
            y = self._beta.sample(sample_shape).unsqueeze(-1)  # type: ignore[attr-defined]
            u = randn(self._extended_shape(sample_shape), dtype=kind).tril(-1)  # type: ignore[attr-defined]
            direction = u / u.norm(dim=-1, keepdim=True)
            direction[..., 0, :].fill_(0.0)
            w = y.sqrt() * direction
            diagonal = (1 - (w ** 2).sum(-1)).clamp(min=float(limits(kind).tiny)).sqrt()
            return w + diagonal.diag_embed()  # type: ignore[no-any-return]

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        d = self.dim
        diagonal = value.diagonal(dim1=-1, dim2=-2)[..., 1:]  # type: ignore[attr-defined]
        order = 2 * (self.concentration - 1).unsqueeze(-1) + d - arange(2, d + 1, dtype=self.concentration.dtype)
        alpha = self.concentration + 0.5 * (d - 1)
        normalizer = 0.5 * (d - 1) * math.log(math.pi) + log_multigamma(alpha - 0.5, d - 1) - alpha.lgamma() * (d - 1)
        return (order * diagonal.log()).sum(-1) - normalizer  # type: ignore[no-any-return]


__all__ = ["LKJCholesky"]

"""Exponential families: entropy from the log normalizer."""
from __future__ import annotations

from typing import Any

from torsh.distributions.distribution import Distribution
from torsh.tensor.tensor import Tensor


class ExponentialFamily(Distribution):
    """Densities exp(<t(x), natural parameters> - log normalizer + k(x)).

    Subclasses give the natural parameters, the log normalizer, and the mean of k(x).
    """

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        raise NotImplementedError

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        raise NotImplementedError

    @property
    def _mean_carrier_measure(self) -> Any:
        raise NotImplementedError

    def entropy(self) -> Tensor:
        """The entropy: the log normalizer less <natural parameters, its gradient>, less the mean of k (Nielsen & Nock 2010)."""
        from torsh.autograd import grad
        from torsh.autograd.grad_mode import enable_grad
        natural = [p.detach().requires_grad_() for p in self._natural_params]  # type: ignore[attr-defined]
        with enable_grad():
            normalizer = self._log_normalizer(*natural)
            gradients = grad(normalizer.sum(), natural, create_graph=True)  # type: ignore[attr-defined]
        result = normalizer - self._mean_carrier_measure
        for p, g in zip(natural, gradients, strict=True):
            result = result - (p * g).reshape(*self._batch_shape, -1).sum(-1)
        return result


__all__ = ["ExponentialFamily"]

"""Mixtures of distributions of one family."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torsh.autograd.grad_mode import no_grad
from torsh.distributions import constraints
from torsh.distributions.categorical import Categorical
from torsh.distributions.distribution import Distribution
from torsh.ops.softmax import log_softmax
from torsh.tensor.tensor import Size, Tensor


class MixtureSameFamily(Distribution):
    """Components: a distribution whose last batch dimension is picked by a `Categorical`. Raises ValueError for distributions that do not fit."""
    arg_constraints: dict[str, Any] = {}
    has_rsample = False

    def __init__(self, mixture_distribution: Categorical, component_distribution: Distribution, validate_args: bool | None = None) -> None:
        if not isinstance(mixture_distribution, Categorical):
            raise ValueError(" The Mixture distribution needs to be an  instance of torch.distributions.Categorical")
        if not isinstance(component_distribution, Distribution):
            raise ValueError("The Component distribution need to be an instance of torch.distributions.Distribution")
        self._mixture_distribution, self._component_distribution = mixture_distribution, component_distribution
        for own, other in zip(reversed(mixture_distribution.batch_shape), reversed(component_distribution.batch_shape[:-1]), strict=False):
            if own != 1 and other != 1 and own != other:
                raise ValueError(f"`mixture_distribution.batch_shape` ({mixture_distribution.batch_shape}) is not compatible with "
                                 f"`component_distribution.batch_shape`({component_distribution.batch_shape})")
        km, kc = mixture_distribution.logits.shape[-1], component_distribution.batch_shape[-1]
        if km != kc:
            raise ValueError(f"`mixture_distribution component` ({km}) does not equal `component_distribution.batch_shape[-1]` ({kc})")
        self._num_component = km
        event = component_distribution.event_shape
        self._event_ndims = len(event)
        super().__init__(component_distribution.batch_shape[:-1], event, validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Any:
        new = self._get_checked_instance(MixtureSameFamily, _instance)
        new.__dict__.update(self.__dict__)
        new._component_distribution = self._component_distribution.expand((*batch_shape, self._num_component))
        new._mixture_distribution = self._mixture_distribution.expand(batch_shape)
        new._batch_shape = Size(batch_shape)
        return new

    @constraints.dependent_property
    def support(self) -> Any:
        return constraints.MixtureSameFamilyConstraint(self._component_distribution.support)

    @property
    def mixture_distribution(self) -> Categorical:
        """The distribution of the component."""
        return self._mixture_distribution

    @property
    def component_distribution(self) -> Distribution:
        """The components."""
        return self._component_distribution

    def _weights(self) -> Tensor:
        return self._mixture_distribution.probs.reshape(*self._mixture_distribution.probs.shape, *(1,) * self._event_ndims)  # type: ignore[attr-defined,no-any-return]

    @property
    def mean(self) -> Tensor:
        return (self._weights() * self._component_distribution.mean).sum(-1 - self._event_ndims)  # type: ignore[no-any-return]

    @property
    def variance(self) -> Tensor:
        """The law of total variance: the mean of the variances and the variance of the means."""
        axis, weights = -1 - self._event_ndims, self._weights()
        within = (weights * self._component_distribution.variance).sum(axis)
        apart = (self._component_distribution.mean - self._pad(self.mean)).pow(2.0)  # type: ignore[attr-defined]
        return within + (weights * apart).sum(axis)  # type: ignore[no-any-return]

    def _pad(self, x: Tensor) -> Tensor:
        return x.unsqueeze(-1 - self._event_ndims)  # type: ignore[attr-defined,no-any-return]

    def cdf(self, x: Tensor) -> Tensor:
        return (self._component_distribution.cdf(self._pad(x)) * self._mixture_distribution.probs).sum(-1)  # type: ignore[no-any-return]

    def log_prob(self, x: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(x)
        each = self._component_distribution.log_prob(self._pad(x))
        return (each + log_softmax(self._mixture_distribution.logits, -1)).logsumexp(-1)  # type: ignore[no-any-return]

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with no_grad():
            axis = len(sample_shape) + len(self._batch_shape)
            picked = self._mixture_distribution.sample(sample_shape)
            each = self._component_distribution.sample(sample_shape)
            at = picked.reshape(*picked.shape, *(1,) * (self._event_ndims + 1))  # type: ignore[attr-defined]
            at = at.expand(*picked.shape, 1, *self._event_shape)
            return each.gather(axis, at).squeeze(axis)  # type: ignore[attr-defined,no-any-return]

    def __repr__(self) -> str:
        return f"MixtureSameFamily(\n  {self._mixture_distribution},\n  {self._component_distribution})"


__all__ = ["MixtureSameFamily"]

"""Kullback-Leibler divergences in closed form, by pairs of classes: `kl_divergence(p, q)` is the mean of log p - log q under p."""
from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

from torsh.distributions.bernoulli import Bernoulli
from torsh.distributions.beta import Beta
from torsh.distributions.binomial import Binomial
from torsh.distributions.categorical import Categorical
from torsh.distributions.cauchy import Cauchy
from torsh.distributions.continuous_bernoulli import ContinuousBernoulli
from torsh.distributions.dirichlet import Dirichlet
from torsh.distributions.distribution import Distribution
from torsh.distributions.exp_family import ExponentialFamily
from torsh.distributions.exponential import Exponential
from torsh.distributions.gamma import Gamma
from torsh.distributions.geometric import Geometric
from torsh.distributions.gumbel import EULER, Gumbel
from torsh.distributions.half_normal import HalfNormal
from torsh.distributions.independent import Independent
from torsh.distributions.laplace import Laplace
from torsh.distributions.lowrank_multivariate_normal import LowRankMultivariateNormal, lowrank_log_det, lowrank_mahalanobis
from torsh.distributions.multivariate_normal import MultivariateNormal, batch_mahalanobis, half_log_det
from torsh.distributions.normal import Normal
from torsh.distributions.one_hot_categorical import OneHotCategorical
from torsh.distributions.pareto import Pareto
from torsh.distributions.poisson import Poisson
from torsh.distributions.transformed_distribution import TransformedDistribution
from torsh.distributions.uniform import Uniform
from torsh.distributions.utils import sum_rightmost
from torsh.ops.activation import softplus
from torsh.ops.join import broadcast_tensors, cat
from torsh.ops.pointwise import where
from torsh.tensor.creation import full_like
from torsh.tensor.tensor import Tensor

_KL_REGISTRY: dict[tuple[type, type], Callable[[Any, Any], Tensor]] = {}
_found: dict[tuple[type, type], Any] = {}


def register_kl(type_p: type, type_q: type) -> Callable[[Any], Any]:
    """Decorator: a function of (p, q) for two classes and their subclasses. Raises TypeError unless they are distributions."""
    if not (isinstance(type_p, type) and issubclass(type_p, Distribution)):
        raise TypeError(f"Expected type_p to be a Distribution subclass but got {type_p}")
    if not (isinstance(type_q, type) and issubclass(type_q, Distribution)):
        raise TypeError(f"Expected type_q to be a Distribution subclass but got {type_q}")

    def register(function: Any) -> Any:
        _KL_REGISTRY[type_p, type_q] = function
        _found.clear()
        return function
    return register


def _distance(classes: tuple[type, type], p: type, q: type) -> tuple[int, int]:
    """How far up the registered classes stand above those asked for."""
    return p.__mro__.index(classes[0]), q.__mro__.index(classes[1])


def _dispatch(p: type, q: type) -> Any:
    """The function of the nearest pair: nearest in p first, or in q first; RuntimeWarning where the two differ."""
    fitting = [pair for pair in _KL_REGISTRY if issubclass(p, pair[0]) and issubclass(q, pair[1])]
    if not fitting:
        return None
    left = min(fitting, key=lambda pair: _distance(pair, p, q))
    right = min(fitting, key=lambda pair: _distance(pair, p, q)[::-1])
    if _KL_REGISTRY[left] is not _KL_REGISTRY[right]:
        warnings.warn(f"Ambiguous kl_divergence({p.__name__}, {q.__name__}). Please register_kl({left[0].__name__}, {right[1].__name__})", RuntimeWarning,
                      stacklevel=3)
    return _KL_REGISTRY[left]


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """KL(p || q), of the batch shape. Raises NotImplementedError for a pair of classes that has no formula.

    >>> import torsh
    >>> from torsh.distributions import Normal, kl_divergence
    >>> kl_divergence(Normal(0.0, 1.0), Normal(1.0, 1.0))
    tensor(0.5000)
    """
    pair = type(p), type(q)
    if pair not in _found:
        _found[pair] = _dispatch(*pair)
    function = _found[pair]
    if function is None:
        raise NotImplementedError(f"No KL(p || q) is implemented for p type {type(p).__name__} and q type {type(q).__name__}")
    return function(p, q)  # type: ignore[no-any-return]


def _infinite(p: Any, *pairs: Any) -> None:
    """p puts mass where these put none."""
    for q in pairs:
        register_kl(p, q)(lambda p, q: full_like(p.entropy() if not isinstance(p, Poisson) else p.rate, math.inf))


def _unless(bad: Tensor, value: Tensor) -> Tensor:
    return where(bad, math.inf, value)  # type: ignore[no-any-return]


def _x_log_x(x: Tensor) -> Tensor:
    return x.xlogy(x)  # type: ignore[attr-defined,no-any-return]


_infinite(Exponential, Beta, ContinuousBernoulli, Pareto, Uniform)
_infinite(Gamma, Beta, ContinuousBernoulli, Pareto, Uniform)
_infinite(Gumbel, Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform)
_infinite(Laplace, Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform)
_infinite(Normal, Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform)
_infinite(Pareto, Beta, ContinuousBernoulli, Uniform)
_infinite(Poisson, Bernoulli, Binomial)
_infinite(Beta, Pareto)
_infinite(ContinuousBernoulli, Pareto)


# ---- what wraps others


@register_kl(Independent, Independent)
def _independent(p: Any, q: Any) -> Tensor:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError
    return sum_rightmost(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)


@register_kl(TransformedDistribution, TransformedDistribution)
def _transformed(p: Any, q: Any) -> Tensor:
    """The same transforms on both sides change nothing."""
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise NotImplementedError
    return sum_rightmost(kl_divergence(p.base_dist, q.base_dist), len(p.event_shape) - len(p.base_dist.event_shape))


@register_kl(HalfNormal, HalfNormal)
def _half_normal(p: Any, q: Any) -> Tensor:
    return kl_divergence(p.base_dist, q.base_dist)


@register_kl(OneHotCategorical, OneHotCategorical)
def _one_hot(p: Any, q: Any) -> Tensor:
    return kl_divergence(p._categorical, q._categorical)


@register_kl(ExponentialFamily, ExponentialFamily)
def _exponential_family(p: Any, q: Any) -> Tensor:
    """The Bregman divergence of the log normalizers (Nielsen & Nock 2010), within one family."""
    if type(p) is not type(q):
        raise NotImplementedError("The cross KL-divergence between different exponential families cannot be computed using Bregman divergences")
    from torsh.autograd import grad
    ours = [n.detach().requires_grad_() for n in p._natural_params]
    theirs = q._natural_params
    normalizer = p._log_normalizer(*ours)
    gradients = grad(normalizer.sum(), ours, create_graph=True)
    result = q._log_normalizer(*theirs) - normalizer
    for a, b, g in zip(ours, theirs, gradients, strict=True):
        result = result - sum_rightmost((b - a) * g, len(q.event_shape))
    return result  # type: ignore[no-any-return]


# ---- discrete


@register_kl(Bernoulli, Bernoulli)
def _bernoulli(p: Any, q: Any) -> Tensor:
    one = p.probs * (softplus(-q.logits) - softplus(-p.logits))
    one = where(p.probs == 0, 0.0, where(q.probs == 0, math.inf, one))
    zero = (1 - p.probs) * (softplus(q.logits) - softplus(p.logits))
    return one + where(p.probs == 1, 0.0, where(q.probs == 1, math.inf, zero))  # type: ignore[no-any-return]


@register_kl(Bernoulli, Poisson)
def _bernoulli_poisson(p: Any, q: Any) -> Tensor:
    return -p.entropy() - (p.probs * q.rate.log() - q.rate)  # type: ignore[no-any-return]


@register_kl(Binomial, Binomial)
def _binomial(p: Any, q: Any) -> Tensor:
    if bool((p.total_count < q.total_count).any()):
        raise NotImplementedError("KL between Binomials where q.total_count > p.total_count is not implemented")
    kl = p.total_count * (p.probs * (p.logits - q.logits) + (-p.probs).log1p() - (-q.probs).log1p())
    return _unless(p.total_count > q.total_count, kl)


@register_kl(Categorical, Categorical)
def _categorical(p: Any, q: Any) -> Tensor:
    terms = p.probs * (p.logits - q.logits)
    terms = where(q.probs == 0, math.inf, terms)
    return where(p.probs == 0, 0.0, terms).sum(-1)  # type: ignore[no-any-return]


@register_kl(Geometric, Geometric)
def _geometric(p: Any, q: Any) -> Tensor:
    return -p.entropy() - (-q.probs).log1p() / p.probs - q.logits  # type: ignore[no-any-return]


@register_kl(Poisson, Poisson)
def _poisson(p: Any, q: Any) -> Tensor:
    return p.rate * (p.rate.log() - q.rate.log()) - (p.rate - q.rate)  # type: ignore[no-any-return]


# ---- on an interval


@register_kl(Beta, Beta)
def _beta(p: Any, q: Any) -> Tensor:
    a, b, c, d = p.concentration1, p.concentration0, q.concentration1, q.concentration0
    log_beta_q = c.lgamma() + d.lgamma() - (c + d).lgamma()
    log_beta_p = a.lgamma() + b.lgamma() - (a + b).lgamma()
    return log_beta_q - log_beta_p + (a - c) * a.digamma() + (b - d) * b.digamma() + (c + d - a - b) * (a + b).digamma()  # type: ignore[no-any-return]


@register_kl(Dirichlet, Dirichlet)
def _dirichlet(p: Any, q: Any) -> Tensor:
    a, b = p.concentration, q.concentration
    total = a.sum(-1)
    normalizers = total.lgamma() - b.sum(-1).lgamma() - (a.lgamma() - b.lgamma()).sum(-1)
    return normalizers + ((a - b) * (a.digamma() - total.digamma().unsqueeze(-1))).sum(-1)  # type: ignore[no-any-return]


@register_kl(Beta, ContinuousBernoulli)
@register_kl(ContinuousBernoulli, ContinuousBernoulli)
def _to_continuous_bernoulli(p: Any, q: Any) -> Tensor:
    return -p.entropy() - p.mean * q.logits - (-q.probs).log1p() - q._cont_bern_log_norm()  # type: ignore[no-any-return]


@register_kl(Uniform, ContinuousBernoulli)
def _uniform_continuous_bernoulli(p: Any, q: Any) -> Tensor:
    return _unless((p.high > 1) | (p.low < 0), _to_continuous_bernoulli(p, q))


@register_kl(Beta, Uniform)
@register_kl(ContinuousBernoulli, Uniform)
def _unit_uniform(p: Any, q: Any) -> Tensor:
    return _unless((q.low > 0) | (q.high < 1), -p.entropy() + (q.high - q.low).log())


@register_kl(Uniform, Uniform)
def _uniform(p: Any, q: Any) -> Tensor:
    return _unless((q.low > p.low) | (q.high < p.high), ((q.high - q.low) / (p.high - p.low)).log())


@register_kl(Uniform, Beta)
def _uniform_beta(p: Any, q: Any) -> Tensor:
    width = p.high - p.low
    mean_log = (_x_log_x(p.high) - _x_log_x(p.low) - width) / width
    mean_log_rest = -(_x_log_x(1 - p.high) - _x_log_x(1 - p.low) + width) / width
    log_beta = q.concentration1.lgamma() + q.concentration0.lgamma() - (q.concentration1 + q.concentration0).lgamma()
    result = log_beta - width.log() - (q.concentration1 - 1) * mean_log - (q.concentration0 - 1) * mean_log_rest
    return _unless((p.high > 1) | (p.low < 0), result)


# ---- to an exponential or a gamma distribution: the mean of log q needs the means of x and of log x


@register_kl(Beta, Exponential)
@register_kl(ContinuousBernoulli, Exponential)
@register_kl(Gamma, Exponential)
def _to_exponential(p: Any, q: Any) -> Tensor:
    return -p.entropy() - q.rate.log() + q.rate * p.mean  # type: ignore[no-any-return]


@register_kl(Uniform, Exponential)
def _uniform_exponential(p: Any, q: Any) -> Tensor:
    return _unless(p.low < 0, _to_exponential(p, q))


@register_kl(Pareto, Exponential)
def _pareto_exponential(p: Any, q: Any) -> Tensor:
    return _unless(p.alpha <= 1, -p.entropy() - q.rate.log() + q.rate * p.alpha * p.scale / (p.alpha - 1))


@register_kl(Exponential, Exponential)
def _exponential(p: Any, q: Any) -> Tensor:
    ratio = q.rate / p.rate
    return -ratio.log() + ratio - 1  # type: ignore[no-any-return]


def _to_gamma(p: Any, q: Any, mean: Tensor, mean_log: Tensor) -> Tensor:
    log_q = q.concentration * q.rate.log() - q.concentration.lgamma() + (q.concentration - 1) * mean_log - q.rate * mean
    return -p.entropy() - log_q  # type: ignore[no-any-return]


@register_kl(Beta, Gamma)
def _beta_gamma(p: Any, q: Any) -> Tensor:
    return _to_gamma(p, q, p.mean, p.concentration1.digamma() - (p.concentration1 + p.concentration0).digamma())


@register_kl(Exponential, Gamma)
def _exponential_gamma(p: Any, q: Any) -> Tensor:
    return _to_gamma(p, q, p.mean, -EULER - p.rate.log())


@register_kl(Gamma, Gamma)
def _gamma(p: Any, q: Any) -> Tensor:
    t1 = q.concentration * (p.rate / q.rate).log()
    t2 = q.concentration.lgamma() - p.concentration.lgamma()
    t3 = (p.concentration - q.concentration) * p.concentration.digamma()
    return t1 + t2 + t3 + (q.rate - p.rate) * (p.concentration / p.rate)  # type: ignore[no-any-return]


@register_kl(Pareto, Gamma)
def _pareto_gamma(p: Any, q: Any) -> Tensor:
    return _unless(p.alpha <= 1, _to_gamma(p, q, p.alpha * p.scale / (p.alpha - 1), p.scale.log() + 1 / p.alpha))


@register_kl(Uniform, Gamma)
def _uniform_gamma(p: Any, q: Any) -> Tensor:
    width = p.high - p.low
    return _unless(p.low < 0, _to_gamma(p, q, p.mean, (_x_log_x(p.high) - _x_log_x(p.low) - width) / width))


@register_kl(Pareto, Pareto)
def _pareto(p: Any, q: Any) -> Tensor:
    ratio = q.alpha / p.alpha
    return _unless(p.scale < q.scale, q.alpha * (p.scale / q.scale).log() - ratio.log() + ratio - 1)


@register_kl(Uniform, Pareto)
def _uniform_pareto(p: Any, q: Any) -> Tensor:
    width = p.high - p.low
    mean_log = (_x_log_x(p.high) - _x_log_x(p.low) - width) / width
    return _unless(p.low < q.scale, (q.alpha + 1) * mean_log - (q.alpha * q.scale.pow(q.alpha) * width).log())


# ---- to a normal distribution: by mean and variance


def _to_normal(p: Any, q: Any, mean: Any, variance: Any) -> Tensor:
    square = q.scale.pow(2)
    return -p.entropy() + 0.5 * (2 * math.pi * square).log() + (variance + (mean - q.loc).pow(2)) / (2 * square)  # type: ignore[no-any-return]


@register_kl(Beta, Normal)
@register_kl(ContinuousBernoulli, Normal)
@register_kl(Exponential, Normal)
@register_kl(Gamma, Normal)
@register_kl(Gumbel, Normal)
@register_kl(Laplace, Normal)
@register_kl(Uniform, Normal)
def _by_moments(p: Any, q: Any) -> Tensor:
    return _to_normal(p, q, p.mean, p.variance)


@register_kl(Pareto, Normal)
def _pareto_normal(p: Any, q: Any) -> Tensor:
    mean = p.alpha * p.scale / (p.alpha - 1)
    return _unless(p.alpha <= 2, _to_normal(p, q, mean, p.scale.pow(2) * p.alpha / ((p.alpha - 1).pow(2) * (p.alpha - 2))))


@register_kl(Normal, Normal)
def _normal(p: Any, q: Any) -> Tensor:
    ratio = (p.scale / q.scale).pow(2)
    return 0.5 * (ratio + ((p.loc - q.loc) / q.scale).pow(2) - 1 - ratio.log())  # type: ignore[no-any-return]


# ---- on the line


@register_kl(Cauchy, Cauchy)
def _cauchy(p: Any, q: Any) -> Tensor:
    """Chyzak & Nielsen 2019."""
    return ((p.scale + q.scale).pow(2) + (p.loc - q.loc).pow(2)).log() - (4 * p.scale * q.scale).log()  # type: ignore[no-any-return]


@register_kl(Laplace, Laplace)
def _laplace(p: Any, q: Any) -> Tensor:
    ratio, apart = p.scale / q.scale, (p.loc - q.loc).abs()
    return -ratio.log() + apart / q.scale + ratio * (-apart / p.scale).exp() - 1  # type: ignore[no-any-return]


@register_kl(Normal, Laplace)
def _normal_laplace(p: Any, q: Any) -> Tensor:
    z = (p.loc - q.loc) / (math.sqrt(2) * p.scale)
    mean_distance = math.sqrt(2 / math.pi) * p.scale * (-z.pow(2)).exp() + (p.loc - q.loc) * z.erf()
    return -p.entropy() + (2 * q.scale).log() + mean_distance / q.scale  # type: ignore[no-any-return]


def _to_gumbel(p: Any, q: Any, mean: Any, mean_exp: Any) -> Tensor:
    """`mean_exp` is the mean of exp(-z), z = (x - loc) / scale."""
    return -p.entropy() + q.scale.log() + (mean - q.loc) / q.scale + mean_exp  # type: ignore[no-any-return]


@register_kl(Gumbel, Gumbel)
def _gumbel(p: Any, q: Any) -> Tensor:
    ratio = p.scale / q.scale
    return _to_gumbel(p, q, p.mean, ((q.loc - p.loc) / q.scale + (1 + ratio).lgamma()).exp())


@register_kl(Exponential, Gumbel)
def _exponential_gumbel(p: Any, q: Any) -> Tensor:
    product = p.rate * q.scale
    return _to_gumbel(p, q, p.mean, (q.loc / q.scale).exp() * product / (product + 1))


@register_kl(Gamma, Gumbel)
def _gamma_gumbel(p: Any, q: Any) -> Tensor:
    return _to_gumbel(p, q, p.mean, (q.loc / q.scale).exp() * (1 + 1 / (p.rate * q.scale)).pow(-p.concentration))


@register_kl(Normal, Gumbel)
def _normal_gumbel(p: Any, q: Any) -> Tensor:
    return _to_gumbel(p, q, p.mean, ((q.loc - p.loc) / q.scale + 0.5 * (p.scale / q.scale).pow(2)).exp())


@register_kl(Uniform, Gumbel)
def _uniform_gumbel(p: Any, q: Any) -> Tensor:
    high, low = (p.high - q.loc) / q.scale, (p.low - q.loc) / q.scale
    return _to_gumbel(p, q, p.mean, q.scale / (p.high - p.low) * ((-low).exp() - (-high).exp()))


# ---- normal vectors


def _factor(d: Any) -> Tensor:
    """A matrix whose product with its transpose is the covariance."""
    if isinstance(d, MultivariateNormal):
        return d._unbroadcasted_scale_tril
    w, root = d._unbroadcasted_cov_factor, d._unbroadcasted_cov_diag.sqrt().diag_embed()
    lead = broadcast_tensors(w[..., :1, :1], root[..., :1, :1])[0]._shape[:-2]
    return cat([w.expand((*lead, *w._shape[-2:])), root.expand((*lead, *root._shape[-2:]))], -1)


def _log_det(d: Any) -> Tensor:
    if isinstance(d, MultivariateNormal):
        return 2 * half_log_det(d._unbroadcasted_scale_tril)
    return lowrank_log_det(d._unbroadcasted_cov_diag, d._capacitance_tril)


def _mahalanobis_and_trace(q: Any, difference: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
    """difference' Q^-1 difference, and the trace of Q^-1 factor factor'."""
    from torsh.linalg.triangular import solve_triangular
    if isinstance(q, MultivariateNormal):
        L = q._unbroadcasted_scale_tril
        lead = broadcast_tensors(L[..., :1, :1], factor[..., :1, :1])[0]._shape[:-2]
        solved = solve_triangular(L.expand((*lead, *L._shape[-2:])), factor.expand((*lead, *factor._shape[-2:])), upper=False)  # type: ignore[attr-defined]
        return batch_mahalanobis(L, difference), solved.pow(2).sum((-2, -1))  # type: ignore[attr-defined]
    w, d, tril = q._unbroadcasted_cov_factor, q._unbroadcasted_cov_diag, q._capacitance_tril
    inner = (w.mT / d.unsqueeze(-2)) @ factor
    lead = broadcast_tensors(tril[..., :1, :1], inner[..., :1, :1])[0]._shape[:-2]
    solved = solve_triangular(tril.expand((*lead, *tril._shape[-2:])), inner.expand((*lead, *inner._shape[-2:])), upper=False)
    trace = (factor.pow(2) / d.unsqueeze(-1)).sum((-2, -1)) - solved.pow(2).sum((-2, -1))  # type: ignore[attr-defined]
    return lowrank_mahalanobis(w, d, difference, tril), trace


@register_kl(MultivariateNormal, MultivariateNormal)
@register_kl(LowRankMultivariateNormal, LowRankMultivariateNormal)
@register_kl(MultivariateNormal, LowRankMultivariateNormal)
@register_kl(LowRankMultivariateNormal, MultivariateNormal)
def _normal_vectors(p: Any, q: Any) -> Tensor:
    if p.event_shape != q.event_shape:
        raise ValueError(f"KL-divergence between two Multivariate Normals with different event shapes ({p.event_shape} and {q.event_shape}) cannot be computed")
    distance, trace = _mahalanobis_and_trace(q, q.loc - p.loc, _factor(p))
    return 0.5 * (_log_det(q) - _log_det(p) + trace + distance - p.event_shape[0])


__all__ = ["kl_divergence", "register_kl"]

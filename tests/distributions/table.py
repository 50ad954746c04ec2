"""One instance of every distribution: how to make it, and values of its support."""
from __future__ import annotations

from typing import Any

import torch


def _t(m: Any, x: Any) -> Any:
    return m.tensor(x, dtype=m.float64)


def _spd(m: Any, scale: float = 1.0) -> Any:
    return _t(m, [[2.0, 0.5, 0.1], [0.5, 1.5, -0.3], [0.1, -0.3, 1.0]]) * scale


def _tril(m: Any) -> Any:
    return _t(m, [[1.4, 0.0, 0.0], [0.35, 1.17, 0.0], [0.07, -0.28, 0.95]])


# name -> (class, parameters as (module -> keyword arguments))
TABLE: dict[str, tuple[str, Any]] = {
    "Bernoulli": ("Bernoulli", lambda m: {"probs": _t(m, [0.1, 0.5, 0.9])}),
    "Bernoulli_logits": ("Bernoulli", lambda m: {"logits": _t(m, [-1.0, 0.3, 2.0])}),
    "Beta": ("Beta", lambda m: {"concentration1": _t(m, [0.5, 2.0, 30.0]), "concentration0": _t(m, [0.7, 3.0, 20.0])}),
    "Binomial": ("Binomial", lambda m: {"total_count": _t(m, [5.0, 12.0, 100.0]), "probs": _t(m, [0.2, 0.5, 0.7])}),
    "Categorical": ("Categorical", lambda m: {"probs": _t(m, [[0.1, 0.2, 0.7], [0.3, 0.3, 0.4]])}),
    "Categorical_logits": ("Categorical", lambda m: {"logits": _t(m, [[0.1, -2.0, 0.7], [1.3, 0.3, 0.4]])}),
    "Cauchy": ("Cauchy", lambda m: {"loc": _t(m, [0.0, 1.0]), "scale": _t(m, [1.0, 2.5])}),
    "Chi2": ("Chi2", lambda m: {"df": _t(m, [0.8, 3.0, 20.0])}),
    "ContinuousBernoulli": ("ContinuousBernoulli", lambda m: {"probs": _t(m, [0.1, 0.5, 0.9])}),
    "Dirichlet": ("Dirichlet", lambda m: {"concentration": _t(m, [[0.5, 1.5, 2.0], [3.0, 10.0, 4.0]])}),
    "Exponential": ("Exponential", lambda m: {"rate": _t(m, [0.3, 2.0])}),
    "FisherSnedecor": ("FisherSnedecor", lambda m: {"df1": _t(m, [3.0, 5.0]), "df2": _t(m, [6.0, 9.0])}),
    "Gamma": ("Gamma", lambda m: {"concentration": _t(m, [0.4, 2.0, 40.0]), "rate": _t(m, [0.5, 3.0, 2.0])}),
    "GeneralizedPareto": ("GeneralizedPareto", lambda m: {"loc": m.tensor([0.0, 1.0, -1.0]), "scale": m.tensor([1.0, 2.0, 0.5]),
                                                         "concentration": m.tensor([0.2, 0.0, -0.5])}),
    "Geometric": ("Geometric", lambda m: {"probs": _t(m, [0.1, 0.7])}),
    "Gumbel": ("Gumbel", lambda m: {"loc": _t(m, [0.0, 1.0]), "scale": _t(m, [1.0, 0.5])}),
    "HalfCauchy": ("HalfCauchy", lambda m: {"scale": _t(m, [1.0, 2.0])}),
    "HalfNormal": ("HalfNormal", lambda m: {"scale": _t(m, [1.0, 2.0])}),
    "Independent": ("Independent", lambda m: {"base_distribution": m.distributions.Normal(_t(m, [[0.0, 1.0]]), _t(m, [[1.0, 2.0]])),
                                              "reinterpreted_batch_ndims": 1}),
    "InverseGamma": ("InverseGamma", lambda m: {"concentration": _t(m, [2.5, 4.0]), "rate": _t(m, [1.0, 3.0])}),
    "Kumaraswamy": ("Kumaraswamy", lambda m: {"concentration1": _t(m, [1.5, 3.0]), "concentration0": _t(m, [2.0, 1.2])}),
    "LKJCholesky": ("LKJCholesky", lambda m: {"dim": 3, "concentration": _t(m, [0.5, 1.0, 3.0])}),
    "Laplace": ("Laplace", lambda m: {"loc": _t(m, [0.0, 1.0]), "scale": _t(m, [1.0, 0.5])}),
    "LogNormal": ("LogNormal", lambda m: {"loc": _t(m, [0.0, 0.3]), "scale": _t(m, [1.0, 0.5])}),
    "LogisticNormal": ("LogisticNormal", lambda m: {"loc": _t(m, [[0.0, 0.3]]), "scale": _t(m, [[1.0, 0.5]])}),
    "LowRankMultivariateNormal": ("LowRankMultivariateNormal", lambda m: {"loc": _t(m, [0.0, 1.0, 2.0]),
                                                                         "cov_factor": _t(m, [[1.0, 0.2], [0.5, -1.0], [0.3, 0.1]]),
                                                                         "cov_diag": _t(m, [1.0, 2.0, 0.5])}),
    "MixtureSameFamily": ("MixtureSameFamily", lambda m: {"mixture_distribution": m.distributions.Categorical(_t(m, [0.3, 0.7])),
                                                          "component_distribution": m.distributions.Normal(_t(m, [0.0, 3.0]), _t(m, [1.0, 0.5]))}),
    "MixtureOfVectors": ("MixtureSameFamily", lambda m: {
        "mixture_distribution": m.distributions.Categorical(_t(m, [[0.3, 0.7], [0.5, 0.5]])),
        "component_distribution": m.distributions.MultivariateNormal(_t(m, [[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]]), _spd(m)).expand((2, 2))}),
    "Multinomial": ("Multinomial", lambda m: {"total_count": 6, "probs": _t(m, [[0.1, 0.2, 0.7], [0.3, 0.3, 0.4]])}),
    "MultivariateNormal": ("MultivariateNormal", lambda m: {"loc": _t(m, [[0.0, 1.0, 2.0], [1.0, 0.0, 0.0]]), "covariance_matrix": _spd(m)}),
    "MultivariateNormal_precision": ("MultivariateNormal", lambda m: {"loc": _t(m, [0.0, 1.0, 2.0]), "precision_matrix": _spd(m)}),
    "MultivariateNormal_tril": ("MultivariateNormal", lambda m: {"loc": _t(m, [0.0, 1.0, 2.0]), "scale_tril": _tril(m)}),
    "NegativeBinomial": ("NegativeBinomial", lambda m: {"total_count": _t(m, [3.0, 8.0]), "probs": _t(m, [0.3, 0.6])}),
    "Normal": ("Normal", lambda m: {"loc": _t(m, [0.0, 1.0]), "scale": _t(m, [1.0, 0.5])}),
    "OneHotCategorical": ("OneHotCategorical", lambda m: {"probs": _t(m, [[0.1, 0.2, 0.7], [0.3, 0.3, 0.4]])}),
    "OneHotCategoricalStraightThrough": ("OneHotCategoricalStraightThrough", lambda m: {"logits": _t(m, [[0.1, 0.2, 0.7], [0.3, 0.3, 0.4]])}),
    "Pareto": ("Pareto", lambda m: {"scale": _t(m, [1.0, 0.5]), "alpha": _t(m, [3.0, 4.5])}),
    "Poisson": ("Poisson", lambda m: {"rate": _t(m, [0.5, 4.0, 50.0])}),
    "RelaxedBernoulli": ("RelaxedBernoulli", lambda m: {"temperature": _t(m, 0.7), "probs": _t(m, [0.1, 0.5, 0.9])}),
    "RelaxedOneHotCategorical": ("RelaxedOneHotCategorical", lambda m: {"temperature": _t(m, 0.7), "probs": _t(m, [[0.1, 0.2, 0.7], [0.3, 0.3, 0.4]])}),
    "StudentT": ("StudentT", lambda m: {"df": _t(m, [3.0, 10.0]), "loc": _t(m, [0.0, 1.0]), "scale": _t(m, [1.0, 0.5])}),
    "TransformedDistribution": ("TransformedDistribution", lambda m: {
        "base_distribution": m.distributions.Normal(_t(m, [0.0, 1.0]), _t(m, [1.0, 0.5])),
        "transforms": [m.distributions.AffineTransform(1.0, -2.0), m.distributions.SigmoidTransform()]}),
    "Uniform": ("Uniform", lambda m: {"low": _t(m, [0.0, -1.0]), "high": _t(m, [1.0, 2.5])}),
    "VonMises": ("VonMises", lambda m: {"loc": _t(m, [0.0, 1.0]), "concentration": _t(m, [0.7, 20.0])}),
    "Weibull": ("Weibull", lambda m: {"scale": _t(m, [1.0, 2.0]), "concentration": _t(m, [1.5, 3.0])}),
    "Wishart": ("Wishart", lambda m: {"df": _t(m, [4.5, 7.0]), "covariance_matrix": _spd(m)}),
}


def make(m: Any, name: str) -> Any:
    """The instance in one of the two libraries."""
    kind, arguments = TABLE[name]
    return getattr(m.distributions, kind)(**arguments(m))


def samples(name: str) -> torch.Tensor:
    """Values of the support, drawn by PyTorch."""
    torch.manual_seed(7)
    return make(torch, name).sample((4,))

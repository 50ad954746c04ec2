"""`torsh.distributions`: PyTorch's probability distributions, transforms, constraints and Kullback-Leibler divergences.

Samples drawn with one seed are PyTorch's, where their numbers come from the generator in one order on every machine.

>>> import torsh
>>> from torsh.distributions import Bernoulli
>>> Bernoulli(torsh.tensor([0.3])).log_prob(torsh.tensor([1.0]))
tensor([-1.2040])
"""
from torsh.distributions import constraints, transforms
from torsh.distributions.bernoulli import Bernoulli
from torsh.distributions.beta import Beta
from torsh.distributions.binomial import Binomial
from torsh.distributions.categorical import Categorical
from torsh.distributions.cauchy import Cauchy
from torsh.distributions.chi2 import Chi2
from torsh.distributions.constraint_registry import biject_to, transform_to
from torsh.distributions.continuous_bernoulli import ContinuousBernoulli
from torsh.distributions.dirichlet import Dirichlet
from torsh.distributions.distribution import Distribution
from torsh.distributions.exp_family import ExponentialFamily
from torsh.distributions.exponential import Exponential
from torsh.distributions.fishersnedecor import FisherSnedecor
from torsh.distributions.gamma import Gamma
from torsh.distributions.generalized_pareto import GeneralizedPareto
from torsh.distributions.geometric import Geometric
from torsh.distributions.gumbel import Gumbel
from torsh.distributions.half_cauchy import HalfCauchy
from torsh.distributions.half_normal import HalfNormal
from torsh.distributions.independent import Independent
from torsh.distributions.inverse_gamma import InverseGamma
from torsh.distributions.kl import kl_divergence, register_kl
from torsh.distributions.kumaraswamy import Kumaraswamy
from torsh.distributions.laplace import Laplace
from torsh.distributions.lkj_cholesky import LKJCholesky
from torsh.distributions.log_normal import LogNormal
from torsh.distributions.logistic_normal import LogisticNormal
from torsh.distributions.lowrank_multivariate_normal import LowRankMultivariateNormal
from torsh.distributions.mixture_same_family import MixtureSameFamily
from torsh.distributions.multinomial import Multinomial
from torsh.distributions.multivariate_normal import MultivariateNormal
from torsh.distributions.negative_binomial import NegativeBinomial
from torsh.distributions.normal import Normal
from torsh.distributions.one_hot_categorical import OneHotCategorical, OneHotCategoricalStraightThrough
from torsh.distributions.pareto import Pareto
from torsh.distributions.poisson import Poisson
from torsh.distributions.relaxed_bernoulli import RelaxedBernoulli
from torsh.distributions.relaxed_categorical import RelaxedOneHotCategorical
from torsh.distributions.studentT import StudentT
from torsh.distributions.transformed_distribution import TransformedDistribution
from torsh.distributions.transforms import *  # noqa: F403
from torsh.distributions.transforms import __all__ as _transform_names
from torsh.distributions.uniform import Uniform
from torsh.distributions.von_mises import VonMises
from torsh.distributions.weibull import Weibull
from torsh.distributions.wishart import Wishart

__all__ = ["Bernoulli", "Beta", "Binomial", "Categorical", "Cauchy", "Chi2", "ContinuousBernoulli", "Dirichlet", "Distribution", "Exponential",
           "ExponentialFamily", "FisherSnedecor", "Gamma", "GeneralizedPareto", "Geometric", "Gumbel", "HalfCauchy", "HalfNormal", "Independent",
           "InverseGamma", "Kumaraswamy", "LKJCholesky", "Laplace", "LogNormal", "LogisticNormal", "LowRankMultivariateNormal", "MixtureSameFamily",
           "Multinomial", "MultivariateNormal", "NegativeBinomial", "Normal", "OneHotCategorical", "OneHotCategoricalStraightThrough", "Pareto",
           "Poisson", "RelaxedBernoulli", "RelaxedOneHotCategorical", "StudentT", "TransformedDistribution", "Uniform", "VonMises", "Weibull",
           "Wishart", "biject_to", "constraints", "kl_divergence", "register_kl", "transform_to", "transforms", *_transform_names]

"""Every distribution against PyTorch's: densities, moments, samples, derivatives, shapes, messages."""
from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch

import torsh
from tests.distributions.table import TABLE, make, samples
from tests.ops.oracle import outcome, same, to_torsh

LOOSE = (1e-9, 1e-11)
# PyTorch's Bessel functions are polynomials of single precision, its incomplete gamma function is good to 1e-9, its Multinomial takes lgamma
# of a float32, and its GeneralizedPareto works in float32 only.
TOLERANCE = {"Gamma": (1e-8, 1e-11), "VonMises": (1e-5, 3e-7), "Multinomial": (1e-6, 1e-6), "GeneralizedPareto": (1e-5, 1e-6)}
# PyTorch's Wishart takes good samples for singular ones, says so and draws again.
pytestmark = pytest.mark.filterwarnings("ignore:Singular sample detected:UserWarning")


def _both(name: str, f: Any) -> None:
    """`f(distribution)` gives the same or raises alike."""
    theirs, ours = outcome(lambda: f(make(torch, name))), outcome(lambda: f(make(torsh, name)))
    if isinstance(theirs, type):
        assert ours is theirs
    else:
        same(ours, theirs, *TOLERANCE.get(name, LOOSE))


@pytest.mark.parametrize("name", TABLE)
def test_log_prob_and_its_derivative(name: str) -> None:
    value = samples(name)
    theirs, ours = value.clone(), to_torsh(value)
    differentiable = not make(torch, name).support.is_discrete
    theirs.requires_grad_(differentiable)
    ours.requires_grad_(differentiable)
    a, b = make(torch, name).log_prob(theirs), make(torsh, name).log_prob(ours)
    same(b.detach(), a.detach(), *TOLERANCE.get(name, LOOSE))
    if differentiable and a.requires_grad:
        a.sum().backward()
        b.sum().backward()
        same(ours.grad, theirs.grad, *TOLERANCE.get(name, (1e-7, 1e-9)))


@pytest.mark.parametrize("name", TABLE)
def test_moments_entropy_and_distribution_functions(name: str) -> None:
    value = samples(name)
    for moment in ("mean", "mode", "variance", "stddev"):
        if (name, moment) == ("Kumaraswamy", "mode"):  # NaN in PyTorch: see test_mode_of_kumaraswamy
            continue
        _both(name, lambda d, moment=moment: getattr(d, moment))
    _both(name, lambda d: d.entropy())
    _both(name, lambda d: d.cdf(value if isinstance(d, torch.distributions.Distribution) else to_torsh(value)))
    inside = torch.tensor([[0.1], [0.5], [0.99]], dtype=torch.float64)
    _both(name, lambda d: d.icdf(inside if isinstance(d, torch.distributions.Distribution) else to_torsh(inside)))
    _both(name, lambda d: d.enumerate_support())
    _both(name, lambda d: d.enumerate_support(expand=False))


@pytest.mark.parametrize("name", TABLE)
def test_shapes_and_names(name: str) -> None:
    theirs, ours = make(torch, name), make(torsh, name)
    for wide in (False, True):
        if wide:
            theirs, ours = (d.expand((5, *d.batch_shape)) for d in (theirs, ours))
            value = samples(name)[:1].expand(5, *samples(name).shape[1:])
            same(ours.log_prob(to_torsh(value.contiguous())).detach(), theirs.log_prob(value).detach(), *TOLERANCE.get(name, LOOSE))
        assert tuple(ours.batch_shape) == tuple(theirs.batch_shape)
        assert tuple(ours.event_shape) == tuple(theirs.event_shape)
        assert ours.has_rsample == theirs.has_rsample
        assert ours.has_enumerate_support == theirs.has_enumerate_support
        assert tuple(ours.sample((2,)).shape) == tuple(theirs.sample((2,)).shape)
    assert repr(make(torsh, name)).replace("torsh.", "torch.") == repr(make(torch, name))
    assert bool(ours.support.check(ours.sample((3,))).all())
    again = pickle.loads(pickle.dumps(make(torsh, name)))
    assert tuple(again.batch_shape) == tuple(make(torch, name).batch_shape)


@pytest.mark.parametrize("name", TABLE)
def test_samples_are_those_of_pytorch(name: str) -> None:
    torch.manual_seed(3)
    theirs = make(torch, name).sample((50,))
    torsh.manual_seed(3)
    ours = make(torsh, name).sample((50,))
    assert tuple(ours.shape) == tuple(theirs.shape)
    if name in DRAWN_OTHERWISE:
        a, b = ours.double().numpy(), theirs.double().numpy()
        assert abs(np.log1p(abs(a)).mean() - np.log1p(abs(b)).mean()) < 0.35
        return
    same(ours, theirs, 1e-6, 1e-9)


# PyTorch draws exponentials, and what is made of them, from MKL where it has that, not from the generator.
DRAWN_OTHERWISE = {"Exponential", "Pareto", "Weibull", "Categorical", "Categorical_logits", "OneHotCategorical", "OneHotCategoricalStraightThrough",
                   "Multinomial",
                   "MixtureSameFamily", "MixtureOfVectors", "Wishart"}
_DIFFERENTIABLE = sorted(k for k, v in TABLE.items() if k not in DRAWN_OTHERWISE and getattr(torch.distributions, v[0]).has_rsample is True)


@pytest.mark.parametrize("name", _DIFFERENTIABLE)
def test_derivatives_of_samples(name: str) -> None:
    """By every parameter that is a tensor, for the same samples."""
    kind, arguments = TABLE[name]
    found = []
    for m in (torch, torsh):
        given = {k: v.clone().requires_grad_() if isinstance(v, m.Tensor) else v for k, v in arguments(m).items()}
        m.manual_seed(3)
        s = getattr(m.distributions, kind)(**given).rsample((20,))
        if not s.requires_grad:
            assert not any(isinstance(v, m.Tensor) for v in given.values())
            return
        ((s * s).sum() + s.exp().clamp(max=10).sum()).backward()
        found.append({k: v.grad for k, v in given.items() if isinstance(v, m.Tensor)})
    # PyTorch approximates the derivatives of gamma and beta numbers to some 1e-3.
    tolerance = (2e-3, 1e-3) if name in ("Beta", "Chi2", "Dirichlet", "FisherSnedecor", "Gamma", "InverseGamma", "StudentT") else (1e-5, 1e-7)
    for key, theirs in found[0].items():
        assert (found[1][key] is None) == (theirs is None)
        if theirs is not None:
            same(found[1][key], theirs, *tolerance)


@pytest.mark.parametrize(("kind", "arguments"), [
    ("Normal", lambda m: (m.zeros(2), m.tensor([1.0, -1.0]))), ("Uniform", lambda m: (1.0, 0.0)), ("Bernoulli", lambda m: (m.tensor([0.5, 1.5]),)),
    ("Bernoulli", lambda m: ()), ("Categorical", lambda m: (m.tensor(0.5),)), ("Categorical", lambda m: (m.tensor([0.5, float("nan")]),)),
    ("Dirichlet", lambda m: (m.tensor(1.0),)), ("MultivariateNormal", lambda m: (m.zeros(2), m.tensor([[1.0, 2.0], [2.0, 1.0]]))),
    ("MultivariateNormal", lambda m: (m.zeros(2),)), ("Gamma", lambda m: (m.zeros(2), m.ones(2))), ("LKJCholesky", lambda m: (1,)),
    ("Wishart", lambda m: (1.0, m.eye(3))), ("Geometric", lambda m: (m.zeros(2),)), ("Independent", lambda m: (m.distributions.Normal(0.0, 1.0), 1)),
    ("Normal", lambda m: ("a", 1.0)), ("MixtureSameFamily", lambda m: (m.distributions.Normal(0.0, 1.0), m.distributions.Normal(0.0, 1.0)))])
def test_parameters_that_are_none(kind: str, arguments: Any) -> None:
    messages = []
    for m in (torch, torsh):
        with pytest.raises((ValueError, NotImplementedError)) as error:
            getattr(m.distributions, kind)(*arguments(m))
        messages.append(str(error.value).split("\n")[0].replace("torsh", "torch"))
    assert messages[0] == messages[1]


@pytest.mark.parametrize(("name", "value"), [("Normal", [0.0, float("nan")]), ("Exponential", [1.0, -1.0]), ("Bernoulli", [0.0, 1.0, 0.5]),
                                             ("Categorical", [0.0, 3.0]), ("Dirichlet", [0.5, 0.6, 0.1]), ("Normal", [1.0, 2.0, 3.0])])
def test_values_outside_the_support(name: str, value: list[float]) -> None:
    messages = []
    for m in (torch, torsh):
        with pytest.raises(ValueError) as error:
            make(m, name).log_prob(m.tensor(value, dtype=m.float64))
        messages.append(str(error.value).split("\n")[0].replace("torsh", "torch"))
    assert messages[0] == messages[1]
    kind, arguments = TABLE[name]
    if len(value) == 2 and name != "Categorical":
        getattr(torsh.distributions, kind)(**arguments(torsh), validate_args=False).log_prob(torsh.tensor(value, dtype=torsh.float64))


def test_mode_of_kumaraswamy() -> None:
    d = make(torsh, "Kumaraswamy")
    grid = torsh.linspace(0.001, 0.999, 9981, dtype=torsh.float64).unsqueeze(-1)
    best = grid[d.log_prob(grid).argmax(0), 0]
    np.testing.assert_allclose(d.mode.numpy(), best.numpy(), atol=2e-4)


def test_wishart_samples_by_statistics() -> None:
    torsh.manual_seed(0)
    d = make(torsh, "Wishart")
    s = d.sample((20000,))
    np.testing.assert_allclose(s.mean(0).numpy(), d.mean.numpy(), atol=0.15)
    np.testing.assert_allclose(s.var(0).numpy(), d.variance.numpy(), rtol=0.1)
    df = torsh.tensor(4.5, dtype=torsh.float64, requires_grad=True)
    torsh.distributions.Wishart(df, scale_tril=torsh.eye(3, dtype=torsh.float64)).rsample((4000,)).diagonal(dim1=-2, dim2=-1).mean().backward()
    assert abs(df.grad.item() - 1.0) < 0.1  # the mean is df times the scale


def test_numbers_as_parameters() -> None:
    for kind, arguments in (("Normal", (0, 2)), ("Beta", (0.5, 2)), ("Gamma", (2, 1.0)), ("Bernoulli", (0.3,)), ("StudentT", (3,)), ("Gumbel", (0.0, 1.0)),
                            ("HalfNormal", (2.0,)), ("Pareto", (1.0, 2.0)), ("VonMises", (0.0, 1.0))):
        theirs, ours = (getattr(m.distributions, kind)(*arguments) for m in (torch, torsh))
        assert tuple(ours.batch_shape) == tuple(theirs.batch_shape) == ()
        value = torch.tensor(1.0) if kind in ("Bernoulli", "Pareto") else torch.tensor(0.25)
        same(ours.log_prob(to_torsh(value)), theirs.log_prob(value), 2e-6, 1e-6)


def test_derivative_of_gamma_numbers_is_that_of_the_inverse_cdf() -> None:
    """Central differences of SciPy's inverse incomplete gamma function."""
    from scipy.special import gammainc, gammaincinv

    from torsh.core.sample_derivatives import dirichlet_derivative, gamma_derivative
    a = np.array([0.05, 0.3, 1.0, 2.5, 10.0, 100.0, 1000.0])[:, None]
    p = np.array([0.01, 0.2, 0.5, 0.9, 0.999])
    x = gammaincinv(a, p)
    h = 1e-4 * a
    wanted = (gammaincinv(a + h, gammainc(a, x)) - gammaincinv(a - h, gammainc(a, x))) / (2 * h)
    reachable = x > 1e-200
    np.testing.assert_allclose(gamma_derivative(a, x)[reachable], wanted[reachable], 2e-5)
    from scipy.special import betainc, betaincinv
    b = np.array([0.3, 1.0, 4.0, 200.0])
    a, b, p = a[1:6, :, None], b[:, None], p[1:4]
    x = betaincinv(a, b, p)
    h = 1e-4 * a
    wanted = (betaincinv(a + h, b, betainc(a, b, x)) - betaincinv(a - h, b, betainc(a, b, x))) / (2 * h)
    inside = (x < 1 - 1e-6) & (x > 1e-200)
    np.testing.assert_allclose((dirichlet_derivative(a, b, x) * (1 - x))[inside], wanted[inside], 2e-4)


def test_under_vmap() -> None:
    loc, x = torsh.tensor([0.0, 1.0, 2.0]), torsh.tensor([0.5, 1.5, -1.0])
    wanted = torsh.distributions.Normal(loc, 2.0).log_prob(x)
    assert torsh.vmap(lambda m, v: torsh.distributions.Normal(m, 2.0).log_prob(v))(loc, x).tolist() == pytest.approx(wanted.tolist())
    with pytest.raises(ValueError, match="Expected parameter scale"):
        torsh.vmap(lambda s: torsh.distributions.Normal(0.0, s).stddev)(torsh.tensor([1.0, -1.0]))
    covariance = torsh.eye(2) * torsh.tensor([1.0, 2.0, 3.0]).reshape(3, 1, 1)
    each = torsh.vmap(lambda c: torsh.distributions.MultivariateNormal(torsh.zeros(2), c).entropy())(covariance)
    assert each.tolist() == pytest.approx(torsh.distributions.MultivariateNormal(torsh.zeros(2), covariance).entropy().tolist())

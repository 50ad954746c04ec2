"""Special functions against PyTorch, at ordinary and at exceptional points, with first and second derivatives where there are any."""
from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.special
import torch

import torsh
from tests.ops.complex_oracle import agree, complexes, reals
from tests.ops.oracle import outcome, same

INSIDE = np.linspace(0.05, 0.95, 7)
EDGES = np.array([0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, math.inf, -math.inf, math.nan, 1e-8, 30.0, -30.0])
SMOOTH: dict[str, Any] = {
    "gammaln": reals(6) * 3, "digamma": reals(6) * 3, "psi": reals(6), "erf": reals(5), "erfc": reals(5), "erfcx": reals(5), "erfinv": 2 * INSIDE - 1,
    "exp2": reals(5), "expit": reals(5), "expm1": reals(5), "log1p": np.abs(reals(5)), "i0": reals(6) * 3, "i0e": reals(6) * 3, "i1": reals(6) * 3,
    "i1e": reals(6) * 3, "ndtr": reals(6), "ndtri": INSIDE, "log_ndtr": reals(6) * 4, "entr": INSIDE, "logit": INSIDE, "sinc": reals(6) * 2}
EXCEPT = {"digamma", "psi", "gammaln"}  # PyTorch's infinities at -inf differ between versions of its libraries


@pytest.mark.parametrize("name", SMOOTH)
def test_functions_of_one_variable(name: str) -> None:
    agree(lambda m, x: getattr(m.special, name)(x), SMOOTH[name], rtol=1e-9, atol=1e-12, loose=1e-8)
    points = EDGES if name not in EXCEPT else EDGES[np.isfinite(EDGES)]
    same(getattr(torsh.special, name)(torsh.tensor(points)), getattr(torch.special, name)(torch.from_numpy(points)), 1e-9, 1e-12)
    same(getattr(torsh.special, name)(torsh.tensor([1, 0])), getattr(torch.special, name)(torch.tensor([1, 0])), 1e-5, 1e-6)


BESSEL = {"bessel_j0": "j0", "bessel_j1": "j1", "bessel_y0": "y0", "bessel_y1": "y1", "modified_bessel_i0": "i0", "modified_bessel_i1": "i1",
          "modified_bessel_k0": "k0", "modified_bessel_k1": "k1", "scaled_modified_bessel_k0": "k0e", "scaled_modified_bessel_k1": "k1e"}


@pytest.mark.parametrize("name", [*BESSEL, "airy_ai", "spherical_bessel_j0"])
def test_bessel_functions(name: str) -> None:
    x = np.linspace(0.1, 20, 40)
    # PyTorch's own have errors up to 1e-6 near their zeros.
    same(getattr(torsh.special, name)(torsh.tensor(x)), getattr(torch.special, name)(torch.from_numpy(x)), 1e-6, 1e-6)
    if name in BESSEL:
        np.testing.assert_array_equal(getattr(torsh.special, name)(torsh.tensor(x)).numpy(), getattr(scipy.special, BESSEL[name])(x))
    with pytest.raises(NotImplementedError, match=name):
        getattr(torsh.special, name)(torsh.tensor(x, requires_grad=True)).sum().backward()


POLYNOMIALS = ["chebyshev_polynomial_t", "chebyshev_polynomial_u", "chebyshev_polynomial_v", "chebyshev_polynomial_w", "hermite_polynomial_h",
               "hermite_polynomial_he", "laguerre_polynomial_l", "legendre_polynomial_p", "shifted_chebyshev_polynomial_t",
               "shifted_chebyshev_polynomial_u", "shifted_chebyshev_polynomial_v", "shifted_chebyshev_polynomial_w"]


@pytest.mark.parametrize("name", POLYNOMIALS)
def test_polynomials(name: str) -> None:
    x = np.concatenate([np.linspace(-1.5, 1.5, 13), [1.0, -1.0, 0.0]])
    n = np.arange(-2, 12)
    ours = getattr(torsh.special, name)(torsh.tensor(x)[:, None], torsh.tensor(n))
    theirs = getattr(torch.special, name)(torch.from_numpy(x)[:, None], torch.from_numpy(n))
    same(ours, theirs, 1e-8, 1e-8)
    same(getattr(torsh.special, name)(torsh.tensor(x), 3), getattr(torch.special, name)(torch.from_numpy(x), 3), 1e-9, 1e-9)
    assert getattr(torsh.special, name)(torsh.ones(2), 3).dtype is torsh.float32


def test_chebyshev_polynomials_are_cosines() -> None:
    angles = np.linspace(0.1, 3, 9)
    for n in (5, 6, 7, 200):
        np.testing.assert_allclose(torsh.special.chebyshev_polynomial_t(torsh.tensor(np.cos(angles)), n).numpy(), np.cos(n * angles), atol=1e-10)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4])
def test_polygamma(n: int) -> None:
    x = np.abs(reals(6)) + 0.3
    agree(lambda m, x: m.polygamma(n, x), x, rtol=1e-8, loose=1e-7)
    same(torsh.tensor(x).polygamma(n), torch.from_numpy(x).polygamma(n), 1e-8)
    with pytest.raises(RuntimeError, match="negative n"):
        torsh.polygamma(-1, torsh.ones(2))


@pytest.mark.parametrize("p", [1, 2, 5])
def test_mvlgamma(p: int) -> None:
    agree(lambda m, x: m.mvlgamma(x, p), np.abs(reals(5)) + p, rtol=1e-9, loose=1e-8)
    with pytest.raises(RuntimeError, match="greater than or equal to 1"):
        torsh.mvlgamma(torsh.ones(2), 0)


def test_functions_of_two_variables() -> None:
    a, x = np.abs(reals(6)) + 0.2, np.abs(reals(6, seed=1)) + 0.2
    for name in ("igamma", "igammac"):
        agree(lambda m, x, name=name: getattr(m, name)(m.tensor(a), x), x, rtol=1e-9, loose=1e-7)
        with pytest.raises(NotImplementedError, match="igamma"):
            getattr(torsh, name)(torsh.tensor(a, requires_grad=True), torsh.tensor(x)).sum().backward()
        with pytest.raises(NotImplementedError, match="Long"):
            getattr(torsh, name)(torsh.tensor([1]), torsh.tensor([2]))
    agree(lambda m, q: m.special.zeta(m.tensor(a + 1), q), x, rtol=1e-8, loose=1e-7)
    for name in ("xlogy", "xlog1py"):
        agree(lambda m, a, x, name=name: getattr(m.special, name)(a, x), a, x, rtol=1e-9)
        grid = np.array(np.meshgrid([0.0, 1.0, -2.0, math.nan, math.inf], [0.0, 1.0, -1.0, -2.0, math.nan, math.inf]))
        found = []
        for m in (torch, torsh):
            one, two = (m.tensor(g, requires_grad=True) for g in grid)
            value = getattr(m.special, name)(one, two)
            value.sum().backward()
            found.append((value.detach(), one.grad, two.grad))
        for ours, theirs in zip(found[1], found[0], strict=True):
            same(ours, theirs, 1e-12)
        same(getattr(torsh.special, name)(2, torsh.tensor(x)), getattr(torch.special, name)(2, torch.from_numpy(x)), 1e-12)
        same(getattr(torsh.special, name)(torsh.tensor(x), 0.5), getattr(torch.special, name)(torch.from_numpy(x), 0.5), 1e-12)


def test_logit_with_a_margin() -> None:
    x = np.array([-1.0, 0.0, 0.1, 0.5, 0.95, 1.0, 2.0])
    for eps in (None, 0.1, 0.4):
        ours, theirs = torsh.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        a, b = torsh.logit(ours, eps), torch.logit(theirs, eps)
        same(a.detach(), b.detach(), 1e-12)
        a.sum().backward()
        b.sum().backward()
        same(ours.grad, theirs.grad, 1e-12)


def test_sinc_of_complex_numbers() -> None:
    agree(lambda m, z: m.sinc(z), complexes(4), rtol=1e-9, loose=1e-8)


def test_in_place_and_out() -> None:
    for name in ("lgamma", "digamma", "erfinv", "i0", "sinc", "logit"):
        x = torsh.tensor([0.25, 0.5])
        expected = getattr(torsh, name)(x)
        out = torsh.empty(2)
        getattr(torsh, name)(x, out=out)
        assert out.tolist() == expected.tolist()
        assert getattr(x.clone(), name + "_")().tolist() == expected.tolist()
        assert getattr(x, name)().tolist() == expected.tolist()


def test_half_precision() -> None:
    x = torsh.tensor([0.25, 0.5], dtype=torsh.bfloat16)
    for name in ("gammaln", "digamma", "erfinv", "i0", "ndtri", "erfcx"):
        found = getattr(torsh.special, name)(x)
        assert found.dtype is torsh.bfloat16
        np.testing.assert_allclose(found.float().numpy(), getattr(torsh.special, name)(x.float()).numpy(), 1e-2)


def test_complex_numbers_are_refused() -> None:
    z = torsh.ones(2, dtype=torsh.complex64)
    for name in ("lgamma", "digamma", "erfinv", "i0", "logit"):
        assert outcome(lambda n=name: getattr(torsh, n)(z)) is RuntimeError


def test_names() -> None:
    """Every public function of torch.special exists here."""
    assert [n for n in dir(torch.special) if not n.startswith("_") and n.islower() and callable(getattr(torch.special, n))
            and not hasattr(torsh.special, n)] == []

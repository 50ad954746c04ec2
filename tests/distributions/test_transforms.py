"""Transforms and constraints against PyTorch's."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import torsh
from tests.distributions.table import _spd, _t, _tril
from tests.ops.oracle import same, to_torsh

LOOSE = (1e-8, 1e-10)

# name -> (transform, argument)
TRANSFORMS: dict[str, tuple[Any, Any]] = {
    "abs": (lambda D, m: D.AbsTransform(), [[0.5, -1.0, 2.0]]),
    "affine": (lambda D, m: D.AffineTransform(_t(m, [1.0, 2.0, 0.5]), _t(m, [2.0, -1.0, 0.3])), [[0.5, -1.0, 2.0]]),
    "affine_numbers": (lambda D, m: D.AffineTransform(1.0, -2.0, event_dim=1), [[0.5, -1.0, 2.0]]),
    "affine_vector": (lambda D, m: D.AffineTransform(0.0, _t(m, [2.0, -1.0, 0.3]), event_dim=1), [[0.5, -1.0, 2.0], [1.0, 2.0, 3.0]]),
    "cat": (lambda D, m: D.CatTransform([D.ExpTransform(), D.SigmoidTransform()], dim=-1, lengths=[1, 2]), [[0.5, -1.0, 2.0]]),
    "compose": (lambda D, m: D.ComposeTransform([D.AffineTransform(0.0, 2.0), D.TanhTransform(), D.AffineTransform(1.0, 0.5)]), [[0.5, -1.0, 0.2]]),
    "compose_vector": (lambda D, m: D.ComposeTransform([D.AffineTransform(0.0, 2.0), D.StickBreakingTransform()]), [[0.5, -1.0, 0.2]]),
    "corr_cholesky": (lambda D, m: D.CorrCholeskyTransform(), [[0.5, -1.0, 0.2], [0.1, 0.3, -0.7]]),
    "cdf": (lambda D, m: D.CumulativeDistributionTransform(D.Normal(_t(m, 0.5), _t(m, 2.0))), [[0.5, -1.0, 0.2]]),
    "exp": (lambda D, m: D.ExpTransform(), [[0.5, -1.0, 0.2]]),
    "independent": (lambda D, m: D.IndependentTransform(D.ExpTransform(), 1), [[0.5, -1.0, 0.2]]),
    "inverse": (lambda D, m: D.ExpTransform().inv, [[0.5, 1.0, 0.2]]),
    "lower_cholesky": (lambda D, m: D.LowerCholeskyTransform(), [[0.5, -1.0], [0.2, 0.7]]),
    "positive_definite": (lambda D, m: D.PositiveDefiniteTransform(), [[0.5, -1.0], [0.2, 0.7]]),
    "power": (lambda D, m: D.PowerTransform(_t(m, [2.0, 0.5, -1.0])), [[0.5, 1.0, 2.0]]),
    "reshape": (lambda D, m: D.ReshapeTransform((2, 3), (3, 2)), [[[0.5, -1.0, 0.2], [1.0, 2.0, 3.0]]]),
    "sigmoid": (lambda D, m: D.SigmoidTransform(), [[0.5, -30.0, 2.0]]),
    "softmax": (lambda D, m: D.SoftmaxTransform(), [[0.5, -3.0, 2.0]]),
    "softplus": (lambda D, m: D.SoftplusTransform(), [[0.5, -3.0, 12.0]]),
    "stack": (lambda D, m: D.StackTransform([D.ExpTransform(), D.SigmoidTransform(), D.TanhTransform()], dim=-1), [[0.5, -1.0, 0.6]]),
    "stick_breaking": (lambda D, m: D.StickBreakingTransform(), [[0.5, -1.0, 0.6]]),
    "tanh": (lambda D, m: D.TanhTransform(), [[0.5, -1.0, 0.6]]),
    "identity": (lambda D, m: D.identity_transform, [[0.5, -1.0, 0.6]]),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms(name: str) -> None:
    make, value = TRANSFORMS[name]
    t = torch.tensor(value, dtype=torch.float64)
    x = to_torsh(t)
    theirs, ours = make(torch.distributions, torch), make(torsh.distributions, torsh)
    a, b = theirs(t), ours(x)
    same(b, a, *LOOSE)
    same(ours.inv(b), theirs.inv(a), *LOOSE)
    assert ours.bijective == theirs.bijective
    assert tuple(ours.forward_shape(x.shape)) == tuple(theirs.forward_shape(t.shape)) == tuple(a.shape)
    assert tuple(ours.inverse_shape(b.shape)) == tuple(theirs.inverse_shape(a.shape)) == tuple(t.shape)
    if name not in ("abs", "softmax", "lower_cholesky", "positive_definite"):
        same(ours.log_abs_det_jacobian(x, b), theirs.log_abs_det_jacobian(t, a), *LOOSE)
        same(ours.inv.log_abs_det_jacobian(b, x), theirs.inv.log_abs_det_jacobian(a, t), *LOOSE)
        same(ours.inv(b), t, 1e-6, 1e-6)
    assert ours.inv.inv is ours
    assert ours == ours
    assert repr(ours) == repr(theirs)
    if name not in ("cat", "stack"):
        assert ours.domain.event_dim == theirs.domain.event_dim
        assert ours.codomain.event_dim == theirs.codomain.event_dim
    assert bool(ours.codomain.check(b).all())


def test_log_determinant_is_that_of_the_jacobian() -> None:
    x = torsh.tensor([0.3, -0.8, 0.5], dtype=torsh.float64)
    D = torsh.distributions
    for t in (D.ExpTransform(), D.SigmoidTransform(), D.TanhTransform(), D.SoftplusTransform(), D.AffineTransform(1.0, -2.0)):
        jacobian = torsh.func.jacrev(t)(x)
        same(t.log_abs_det_jacobian(x, t(x)), torch.tensor(jacobian.diagonal().abs().log().numpy()), *LOOSE)
    t = D.StickBreakingTransform()
    jacobian = torsh.func.jacrev(lambda x: t(x)[:-1])(x)
    np.testing.assert_allclose(t.log_abs_det_jacobian(x, t(x)).item(), np.linalg.slogdet(jacobian.numpy())[1])


def test_cache() -> None:
    t = torsh.distributions.TanhTransform(cache_size=1)
    x = torsh.tensor([20.0])
    y = t(x)
    assert t.inv(y) is x
    assert not bool(torsh.distributions.TanhTransform().inv(y).isfinite().all())


_CONSTRAINTS: list[tuple[Any, Any]] = [
    (lambda c, m: c.boolean, [0.0, 1.0, 0.5]), (lambda c, m: c.one_hot, [[0.0, 1.0], [1.0, 1.0]]), (lambda c, m: c.nonnegative_integer, [0.0, 1.5, -1.0]),
    (lambda c, m: c.positive_integer, [0.0, 1.0, 2.5]), (lambda c, m: c.integer_interval(-1, 2), [-1.0, 0.5, 3.0]), (lambda c, m: c.real, [0.0, float("nan")]),
    (lambda c, m: c.real_vector, [[0.0, float("nan")], [0.0, 1.0]]), (lambda c, m: c.positive, [0.0, 1.0]), (lambda c, m: c.nonnegative, [0.0, -1.0]),
    (lambda c, m: c.greater_than(1), [1.0, 2.0]), (lambda c, m: c.greater_than_eq(1), [1.0, 0.0]), (lambda c, m: c.less_than(1), [1.0, 0.0]),
    (lambda c, m: c.unit_interval, [0.0, 1.0, 1.1]), (lambda c, m: c.interval(-1, 1), [-1.0, 2.0]), (lambda c, m: c.half_open_interval(-1, 1), [-1.0, 1.0]),
    (lambda c, m: c.simplex, [[0.5, 0.5], [0.5, 0.6], [-0.5, 1.5]]), (lambda c, m: c.multinomial(3), [[1.0, 2.0], [2.0, 2.0]]),
    (lambda c, m: c.lower_triangular, [[1.0, 0.0], [2.0, 3.0]]), (lambda c, m: c.lower_cholesky, [[1.0, 0.0], [2.0, -3.0]]),
    (lambda c, m: c.corr_cholesky, [[1.0, 0.0], [0.6, 0.8]]), (lambda c, m: c.square, [[1.0, 0.0]]), (lambda c, m: c.symmetric, [[1.0, 0.5], [0.5, 0.0]]),
    (lambda c, m: c.positive_semidefinite, [[1.0, 1.0], [1.0, 1.0]]), (lambda c, m: c.positive_definite, [[[1.0, 2.0], [2.0, 1.0]], [[2.0, 1.0], [1.0, 2.0]]]),
    (lambda c, m: c.independent(c.positive, 1), [[1.0, 0.0], [1.0, 1.0]]), (lambda c, m: c.cat([c.positive, c.real], -1, [1, 2]), [[1.0, -1.0, 0.0]]),
    (lambda c, m: c.stack([c.positive, c.real], -1), [[-1.0, 0.0]])]


@pytest.mark.parametrize(("make", "value"), _CONSTRAINTS)
def test_constraints(make: Any, value: Any) -> None:
    theirs, ours = make(torch.distributions.constraints, torch), make(torsh.distributions.constraints, torsh)
    same(ours.check(torsh.tensor(value)), theirs.check(torch.tensor(value)))
    assert repr(ours) == repr(theirs)
    assert ours.event_dim == theirs.event_dim
    assert ours.is_discrete == theirs.is_discrete


def test_dependent_constraints() -> None:
    D = torsh.distributions
    assert D.constraints.is_dependent(D.Uniform.support)
    with pytest.raises(ValueError, match="Cannot determine validity"):
        D.constraints.dependent.check(torsh.zeros(1))
    with pytest.raises(NotImplementedError):
        _ = D.constraints.dependent.event_dim
    assert D.Categorical.support.is_discrete


@pytest.mark.parametrize("registry", ["biject_to", "transform_to"])
def test_unconstrained_numbers_reach_every_constraint(registry: str) -> None:
    for make, _ in _CONSTRAINTS:
        theirs_c, ours_c = make(torch.distributions.constraints, torch), make(torsh.distributions.constraints, torsh)
        try:
            theirs = getattr(torch.distributions, registry)(theirs_c)
        except NotImplementedError:
            with pytest.raises(NotImplementedError):
                getattr(torsh.distributions, registry)(ours_c)
            continue
        ours = getattr(torsh.distributions, registry)(ours_c)
        assert repr(ours) == repr(theirs)
        shape = (2, 3) if ours_c.event_dim < 2 else tuple(theirs.inverse_shape((2, 3, 3)))
        if isinstance(ours_c, type(torsh.distributions.constraints.stack([torsh.distributions.constraints.real]))):
            shape = (3, 2)
        t = torch.tensor(np.random.default_rng(0).standard_normal(shape))
        same(ours(to_torsh(t)), theirs(t), *LOOSE)
        assert bool(ours_c.check(ours(to_torsh(t))).all())


def test_utilities() -> None:
    from torch.distributions import utils as theirs

    from torsh.distributions import utils as ours
    t = torch.tensor([[0.2, 0.3, 0.5]], dtype=torch.float64)
    x = to_torsh(t)
    for binary in (False, True):
        same(ours.probs_to_logits(x, binary), theirs.probs_to_logits(t, binary), 1e-12)
        same(ours.logits_to_probs(x, binary), theirs.logits_to_probs(t, binary), 1e-12)
    for diag in (0, -1):
        same(ours.tril_matrix_to_vec(_spd(torsh), diag), theirs.tril_matrix_to_vec(_spd(torch), diag))
    same(ours.vec_to_tril_matrix(x, 0), theirs.vec_to_tril_matrix(t, 0))
    same(ours.vec_to_tril_matrix(x, -1), theirs.vec_to_tril_matrix(t, -1))
    same(ours.broadcast_all(x, 1.0), theirs.broadcast_all(t, 1.0))
    with pytest.raises(ValueError, match="must all be instances"):
        ours.broadcast_all("a")
    assert tuple(torsh.distributions.MultivariateNormal(torsh.zeros(3, dtype=torsh.float64), scale_tril=_tril(torsh)).precision_matrix.shape) == (3, 3)

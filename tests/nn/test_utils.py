"""torch.nn.utils and parametrizations against PyTorch: the same scenario in both, what it logs compared."""
from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import torsh


def plain(value: Any) -> Any:
    if isinstance(value, (torsh.Tensor, torch.Tensor)):
        return value.detach().numpy()
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return {k: plain(v) for k, v in value.items()} if isinstance(value, dict) else value


def same(a: Any, b: Any) -> None:
    assert type(a) is type(b)
    if isinstance(a, np.ndarray):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    elif isinstance(a, (list, dict)):
        assert len(a) == len(b)
        if isinstance(a, dict):
            assert list(a) == list(b)
        for x, y in zip(a.values() if isinstance(a, dict) else a, b.values() if isinstance(b, dict) else b, strict=True):
            same(x, y)
    else:
        assert a == b


def logged(scenario: Callable[..., Any], t: Any) -> list[Any]:
    log: list[Any] = []
    t.manual_seed(0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            scenario(t, log)
        except Exception as error:
            log.append((type(error).__name__, str(error).replace("torsh.", "torch.")))
    return [plain(entry) for entry in log] + [(w.category.__name__, str(w.message)) for w in caught]


def learn(t: Any, m: Any, log: list[Any], shape: tuple[int, ...], steps: int = 3) -> None:
    """A few steps of training, with results, gradients and states."""
    x = t.randn(*shape)
    optimizer = t.optim.SGD(m.parameters(), lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        y = m(x)
        (y * y).sum().backward()
        log.append((y, [p.grad for p in m.parameters()]))
        optimizer.step()
    m.eval()
    log.append((m(x), dict(m.state_dict()), [n for n, _ in m.named_parameters()]))


def weight_norm(t: Any, log: list[Any]) -> None:
    m = t.nn.utils.parametrizations.weight_norm(t.nn.Linear(3, 4))
    log.append((repr(m), type(m).__name__))
    learn(t, m, log, (5, 3))
    other = t.nn.utils.parametrizations.weight_norm(t.nn.Conv1d(2, 3, 2), dim=None)
    learn(t, other, log, (2, 2, 5))
    m.load_state_dict({"bias": t.zeros(4), "weight_g": t.ones(4, 1), "weight_v": t.ones(4, 3)})
    log.append(m.weight)
    with t.no_grad():
        m.weight = t.full((4, 3), 2.0)
    log.append((m.weight, m.parametrizations.weight.original0))
    t.nn.utils.parametrize.remove_parametrizations(m, "weight")
    log.append((repr(m), m.weight, [n for n, _ in m.named_parameters()], type(m).__name__, type(m.weight).__name__))


def weight_norm_hook(t: Any, log: list[Any]) -> None:
    m = t.nn.utils.weight_norm(t.nn.Linear(3, 4), dim=1)
    learn(t, m, log, (5, 3))
    try:
        t.nn.utils.weight_norm(m)
    except RuntimeError as error:
        log.append(str(error))
    t.nn.utils.remove_weight_norm(m)
    log.append((m.weight, list(m.state_dict()), len(m._forward_pre_hooks)))
    t.nn.utils.remove_weight_norm(m)


def spectral_norm(t: Any, log: list[Any]) -> None:
    m = t.nn.utils.parametrizations.spectral_norm(t.nn.Linear(3, 4), n_power_iterations=2)
    learn(t, m, log, (5, 3))
    other = t.nn.utils.parametrizations.spectral_norm(t.nn.ConvTranspose2d(2, 3, 2))
    learn(t, other, log, (2, 2, 3, 3))
    third = t.nn.utils.parametrizations.spectral_norm(t.nn.Linear(3, 4), "bias")
    log.append(third.bias)
    t.nn.utils.parametrizations.spectral_norm(t.nn.Linear(3, 4), dim=5)


def spectral_norm_hook(t: Any, log: list[Any]) -> None:
    m = t.nn.utils.spectral_norm(t.nn.Linear(3, 4))
    learn(t, m, log, (5, 3))
    log.append(dict(m.state_dict()._metadata))
    t.nn.utils.remove_spectral_norm(m)
    log.append((m.weight, list(m.state_dict())))
    learn(t, t.nn.utils.spectral_norm(t.nn.ConvTranspose1d(2, 3, 2), n_power_iterations=3), log, (2, 2, 4))
    t.nn.utils.remove_spectral_norm(m)


def orthogonal(t: Any, log: list[Any]) -> None:
    for kind in (None, "cayley", "householder", "matrix_exp"):
        for shape in ((3, 3), (2, 4)) if kind != "matrix_exp" else ((3, 3),):
            m = t.nn.Linear(*shape)
            with t.no_grad():
                m.weight.copy_(t.arange(m.weight.numel()).reshape(m.weight.shape).double().sin())
            t.nn.utils.parametrizations.orthogonal(m, orthogonal_map=kind)
            w = m.weight
            log.append((kind or "", shape, w, w @ w.t()))
            learn(t, m, log, (5, shape[0]), 2)
    m = t.nn.utils.parametrizations.orthogonal(t.nn.Linear(3, 3), orthogonal_map="householder", use_trivialization=False)
    with t.no_grad():
        m.weight = t.eye(3)
    log.append(m.weight)
    t.nn.utils.parametrizations.orthogonal(t.nn.Linear(3, 3), orthogonal_map="other")


def custom(t: Any, log: list[Any]) -> None:
    calls: list[str] = []

    class Symmetric(t.nn.Module):  # type: ignore[name-defined,misc]
        def forward(self, x: Any) -> Any:
            calls.append("symmetric")
            return x.triu() + x.triu(1).transpose(-1, -2)

        def right_inverse(self, x: Any) -> Any:
            return x.triu()

    class Doubled(t.nn.Module):  # type: ignore[name-defined,misc]
        def forward(self, x: Any) -> Any:
            return 2 * x

        def right_inverse(self, x: Any) -> Any:
            return 0.5 * x
    parametrize = t.nn.utils.parametrize
    m = t.nn.Linear(3, 3)
    log.append((parametrize.is_parametrized(m), parametrize.type_before_parametrizations(m).__name__))
    parametrize.register_parametrization(m, "weight", Symmetric())
    parametrize.register_parametrization(m, "weight", Doubled())
    parametrize.register_parametrization(m, "bias", Doubled())
    log.append((repr(m), m.weight, m.bias, parametrize.is_parametrized(m, "weight"), parametrize.type_before_parametrizations(m).__name__))
    learn(t, m, log, (4, 3), 2)
    calls.clear()
    with parametrize.cached():
        m(t.ones(1, 3))
        m(t.ones(1, 3))
        log.append(len(calls))
    m(t.ones(1, 3))
    log.append(len(calls))
    twin = copy.deepcopy(m)
    with t.no_grad():
        twin.weight = t.eye(3)
    log.append((twin.weight, m.weight, type(twin).__name__))
    other = t.nn.Linear(3, 3)
    parametrize.transfer_parametrizations_and_params(m, other)
    log.append((other.weight, other.bias, list(other.state_dict())))
    parametrize.remove_parametrizations(m, "bias", leave_parametrized=False)
    parametrize.remove_parametrizations(m, "weight")
    log.append((m.weight, m.bias, list(m.state_dict()), type(m).__name__))
    buffered = t.nn.BatchNorm1d(2)
    parametrize.register_parametrization(buffered, "running_mean", Doubled())
    log.append((list(buffered.state_dict()), buffered.running_mean))
    try:
        pickle.dumps(other)
    except RuntimeError as error:
        log.append(str(error))
    parametrize.remove_parametrizations(m, "weight")


def _wrong(make: Callable[..., Any]) -> Callable[..., None]:
    def scenario(t: Any, log: list[Any]) -> None:
        class Odd(t.nn.Module):  # type: ignore[name-defined,misc]
            def __init__(self, function: Any, inverse: Any = None) -> None:
                super().__init__()
                self.function = function
                if inverse is not None:
                    self.right_inverse = inverse

            def forward(self, *x: Any) -> Any:
                return self.function(*x)
        make(t, t.nn.utils.parametrize.register_parametrization, Odd)
    return scenario


ERRORS = {
    "no such name": lambda t, r, odd: r(t.nn.ReLU(), "weight", odd(lambda x: x)),
    "no tensor": lambda t, r, odd: r(t.nn.Linear(2, 2), "weight", odd(lambda x: 3)),
    "dtype": lambda t, r, odd: r(t.nn.Linear(2, 2), "weight", odd(lambda x: x.double())),
    "shape": lambda t, r, odd: r(t.nn.Linear(2, 2), "weight", odd(lambda x: x[0])),
    "inverse": lambda t, r, odd: r(t.nn.Linear(2, 2), "weight", odd(lambda x: x, lambda x: 3)),
    "inverse dtype": lambda t, r, odd: r(t.nn.Linear(2, 2), "weight", odd(lambda x: x, lambda x: x.double())),
    "second shape": lambda t, r, odd: r(r(t.nn.Linear(2, 2), "weight", odd(lambda x: x)), "weight", odd(lambda x: x[0])),
    "second dtype": lambda t, r, odd: r(r(t.nn.Linear(2, 2), "weight", odd(lambda x: x)), "weight", odd(lambda x: x.double())),
    "second inverse": lambda t, r, odd: r(r(t.nn.Linear(2, 2), "weight", odd(lambda x: x)), "weight", odd(lambda x: x, lambda x: x[0])),
    "assigned": lambda t, r, odd: setattr(r(t.nn.Linear(2, 2), "weight", odd(lambda x: x)), "weight", t.ones(2, 2)),
    "of a sequence": lambda t, r, odd: t.nn.utils.parametrize.remove_parametrizations(
        r(t.nn.Linear(2, 2), "weight", odd(lambda x, y: x + y, lambda x: (x, x * 0))), "weight", leave_parametrized=False),
}


@pytest.mark.parametrize("scenario", [weight_norm, weight_norm_hook, spectral_norm, spectral_norm_hook, custom], ids=lambda s: s.__name__)
def test_scenarios(scenario: Callable[..., Any]) -> None:
    ours, theirs = logged(scenario, torsh), logged(scenario, torch)
    assert len(ours) == len(theirs), (ours[-1], theirs[-1])
    for a, b in zip(ours, theirs, strict=True):
        same(a, b)


def test_orthogonal() -> None:
    found = []
    for t in (torsh, torch):  # in float64: the maps are products and inverses, which carry rounding far
        t.set_default_dtype(t.float64)
        try:
            found.append(logged(orthogonal, t))
        finally:
            t.set_default_dtype(t.float32)
    ours, theirs = found
    assert len(ours) == len(theirs), (ours[-1], theirs[-1])
    for a, b in zip(ours, theirs, strict=True):
        same(a, b)


@pytest.mark.parametrize("name", ERRORS)
def test_errors_of_parametrizations(name: str) -> None:
    ours, theirs = logged(_wrong(ERRORS[name]), torsh), logged(_wrong(ERRORS[name]), torch)
    assert [a[0] for a in ours] == [b[0] for b in theirs]
    if name not in ("inverse", "second inverse"):  # whose words differ a little
        assert ours == theirs
    assert theirs


def fusion(t: Any, log: list[Any]) -> None:
    for conv, x, transpose in ((t.nn.Conv2d(3, 4, 2), t.randn(2, 3, 5, 5), False), (t.nn.ConvTranspose2d(3, 4, 2, bias=False), t.randn(2, 3, 4, 4), True)):
        bn = t.nn.BatchNorm2d(4)
        bn(t.randn(8, 4, 3, 3) * 2 + 1)
        conv.eval()
        bn.eval()
        fused = t.nn.utils.fuse_conv_bn_eval(conv, bn, transpose)
        log.append((fused(x), fused.weight, fused.bias, fused.weight.requires_grad))
        np.testing.assert_allclose(fused(x).detach().numpy(), bn(conv(x)).detach().numpy(), rtol=1e-4, atol=1e-4)
    linear, bn = t.nn.Linear(3, 4).eval(), t.nn.BatchNorm1d(4).eval()
    log.append(t.nn.utils.fusion.fuse_linear_bn_eval(linear, bn).weight)
    t.nn.utils.fusion.fuse_linear_bn_eval(linear.train(), bn)


def clipping(t: Any, log: list[Any]) -> None:
    for kind in (2.0, 1.0, float("inf"), 3.0):
        params = [t.arange(3.0).requires_grad_(), t.ones(2, 2, requires_grad=True), t.ones(1, requires_grad=True)]
        ((params[0] ** 2).sum() * 3 + params[1].sum()).backward()
        utils = t.nn.utils
        total = utils.get_total_norm([p.grad for p in params[:2]], kind)
        utils.clip_grads_with_norm_(params, 2.0, total)
        log.append((total, [p.grad for p in params[:2]], utils.clip_grad_norm_(params, 0.5, kind), [p.grad for p in params[:2]]))
        utils.clip_grad_value_(iter(params), 0.1)
        log.append([p.grad for p in params[:2]])
    t.nn.utils.clip_grad_norm_((p for p in ()), 1.0)
    t.nn.utils.clip_grad_norm(params, 1.0)
    vector = t.nn.utils.parameters_to_vector(params)
    t.nn.utils.vector_to_parameters(vector * 2, params)
    log.append((vector, params))
    params[0].grad[0] = float("nan")
    t.nn.utils.clip_grad_norm_(params, 1.0, error_if_nonfinite=True)


def initial_values(t: Any, log: list[Any]) -> None:
    init = t.nn.init
    for options in ({}, {"mean": 1.0, "std": 0.5, "a": 0.5, "b": 2.0}, {"a": 1.5, "b": 3.0}, {"mean": 9.0, "a": -1.0, "b": 1.0}):
        log.append(init.trunc_normal_(t.empty(6, 5), **options))
    log.append(init.sparse_(t.empty(5, 4), 0.5))
    log.append(init.xavier_normal(t.empty(3, 2)))
    log.append(init.orthogonal_(t.empty(3, 5)).abs() > 2)
    t.nn.utils.skip_init(t.nn.Linear, 3, 4)
    log.append(t.rand(2))
    init.sparse_(t.empty(3), 0.5)


def skipped(t: Any, log: list[Any]) -> None:
    log.append(tuple(t.nn.utils.skip_init(t.nn.Linear, 3, 4).weight.shape))
    t.nn.utils.skip_init(t.nn.ReLU)


def stateless(t: Any, log: list[Any]) -> None:
    m = t.nn.Linear(2, 1)
    log.append(t.nn.utils.stateless.functional_call(m, {"weight": t.ones(1, 2), "bias": t.zeros(1)}, t.ones(3, 2)))
    log.append(t.nn.utils.stateless.functional_call(m, {"weight": t.ones(1, 2)}, (t.ones(3, 2),)))


@pytest.mark.parametrize("scenario", [fusion, clipping, initial_values, skipped, stateless], ids=lambda s: s.__name__)
def test_helpers(scenario: Callable[..., Any]) -> None:
    ours, theirs = logged(scenario, torsh), logged(scenario, torch)
    assert len(ours) == len(theirs), (ours[-1], theirs[-1])
    for a, b in zip(ours, theirs, strict=True):
        same(a, b)

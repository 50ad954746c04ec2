"""Derivatives of functions against torch.func: reverse, forward, Jacobians, Hessians, nesting, per-sample gradients, ensembles."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import torsh
from tests.ops.oracle import same, to_torsh

LOOSE = (1e-9, 1e-11)
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # of PyTorch's own forward mode


def _mlp(m: Any, x: Any, w: Any, v: Any) -> Any:
    return m.tanh(x @ w) @ v


def _f(m: Any, x: Any) -> Any:
    return (x.sin() * x.sum()).exp() + x.cumprod(0) + m.stack([x.max(), x.logsumexp(0), x.norm()])


_FUNCTIONS = {"all_at_once": _f, "power": lambda m, x: x ** 3 / (1 + x * x), "index": lambda m, x: x[[2, 0]] * x[1:],
              "linear": lambda m, x: x * 2 + 1, "constant": lambda m, x: m.ones(2, dtype=m.float64), "sign": lambda m, x: x.sign() * x.abs(),
              "matrix": lambda m, x: m.outer(x, x) @ m.outer(x, x.exp()), "write": lambda m, x: _write(x), "scalar": lambda m, x: (x * x).sum()}


def _write(x: Any) -> Any:
    y = x * 1
    y[0] = x[1] * x[2]
    y[1:].mul_(x[0])
    return y


def _vector(rng: np.random.Generator, n: int = 3) -> torch.Tensor:
    return torch.tensor(rng.standard_normal(n) + 2)


@pytest.mark.parametrize("name", _FUNCTIONS)
def test_first_derivatives(name: str, rng: np.random.Generator) -> None:
    f = _FUNCTIONS[name]
    t = _vector(rng)
    x = to_torsh(t)
    theirs = torch.func.jacrev(lambda x: f(torch, x))(t)
    same(torsh.func.jacrev(lambda x: f(torsh, x))(x), theirs, *LOOSE)
    same(torsh.func.jacfwd(lambda x: f(torsh, x))(x), theirs, *LOOSE)
    same(torsh.func.jacrev(lambda x: f(torsh, x), chunk_size=2)(x), theirs, *LOOSE)
    out, push = torsh.func.jvp(lambda x: f(torsh, x), (x,), (x * x,))
    out_t, push_t = torch.func.jvp(lambda x: f(torch, x), (t,), (t * t,))
    same((out, push), (out_t, push_t), *LOOSE)
    out, pull = torsh.func.vjp(lambda x: f(torsh, x), x)
    out_t, pull_t = torch.func.vjp(lambda x: f(torch, x), t)
    same(pull(out), pull_t(out_t), *LOOSE)
    value, push_fn = torsh.func.linearize(lambda x: f(torsh, x), x)
    same(push_fn(x * x), push_t, *LOOSE)
    assert not any(r.requires_grad for r in (out, push, value, *pull(out), push_fn(x)))


@pytest.mark.parametrize("name", _FUNCTIONS)
def test_second_derivatives(name: str, rng: np.random.Generator) -> None:
    f = _FUNCTIONS[name]
    t = _vector(rng)
    x = to_torsh(t)
    theirs = torch.func.hessian(lambda x: f(torch, x).sum())(t)

    def total(x: torsh.Tensor) -> torsh.Tensor:
        return f(torsh, x).sum()
    F = torsh.func
    for transform in (F.hessian, lambda g: F.jacrev(F.jacrev(g)), lambda g: F.jacfwd(F.jacfwd(g)), lambda g: F.jacrev(F.jacfwd(g)),
                      lambda g: F.jacfwd(F.grad(g)), lambda g: F.jacrev(F.grad(g))):
        same(transform(total)(x), theirs, *LOOSE)


def test_hessian_of_a_network(rng: np.random.Generator) -> None:
    data = [torch.tensor(rng.standard_normal(s)) for s in ((5, 3), (3, 4), (4, 2))]

    def loss(m: Any) -> Any:
        return lambda w, v, x: (_mlp(m, x, w, v) ** 2).mean()
    theirs = torch.func.hessian(loss(torch), (0, 1))(data[1], data[2], data[0])
    x, w, v = map(to_torsh, data)
    ours = torsh.func.hessian(loss(torsh), (0, 1))(w, v, x)
    same(ours, theirs, *LOOSE)


def test_grad_arguments(rng: np.random.Generator) -> None:
    t, s = _vector(rng), _vector(rng)

    def f(a: Any, b: Any, *, scale: Any) -> Any:
        return (a["x"] * b * scale).sum(), b * 2
    a, b = to_torsh(t), to_torsh(s)
    for argnums in (0, 1, (1, 0), (-1,)):
        (g, (value, aux)), (g_t, (value_t, aux_t)) = (m.func.grad_and_value(f, argnums, has_aux=True)({"x": p}, q, scale=3.0)
                                                      for m, p, q in ((torsh, a, b), (torch, t, s)))
        same((value, aux), (value_t, aux_t), *LOOSE)
        ours, theirs = ([x["x"] if isinstance(x, dict) else x for x in (y if isinstance(y, tuple) else (y,))] for y in (g, g_t))
        same(ours, theirs, *LOOSE)
    for call in (lambda m, p: m.func.grad(lambda x: x)(p), lambda m, p: m.func.grad(lambda x: 1.0)(p), lambda m, p: m.func.grad(torch.sum, 3)(p),
                 lambda m, p: m.func.grad(lambda x: x.sum(), has_aux=True)(p), lambda m, p: m.func.grad(lambda x: x.sum())(3.0),
                 lambda m, p: m.func.jvp(lambda x: x, p, p), lambda m, p: m.func.vjp(lambda x: x, p)[1](p[:1])):
        for m, p in ((torch, t), (torsh, a)):
            with pytest.raises((RuntimeError, ValueError) if m is torch else RuntimeError):
                call(m, p)


def test_results_keep_only_the_history_outside(rng: np.random.Generator) -> None:
    x = torsh.tensor([1.0, 2.0, 3.0])
    w = torsh.tensor([0.5, 1.5, 2.5], requires_grad=True)
    g = torsh.func.grad(lambda x: (x * x).sum())
    assert not g(x).requires_grad
    inner = torsh.func.grad(lambda x: (x * x * w).sum())(x)
    assert inner.requires_grad
    inner.sum().backward()
    assert w.grad.tolist() == [2.0, 4.0, 6.0]
    with torsh.no_grad():
        kept = torsh.func.grad(lambda x: (x * x * w).sum())(x)
    assert kept.tolist() == inner.tolist()
    assert not kept.requires_grad
    # an aux result of the inputs alone has none, one that comes from outside has
    _, (free, tied) = torsh.func.grad(lambda x: ((x * w).sum(), (x * 2, w * 2)), has_aux=True)(x)
    assert not free.requires_grad
    assert tied.requires_grad


def test_perturbations_are_not_confused() -> None:
    """d/dx (x * d/dy (x + y)) is 1, not 2 (Siskind and Pearlmutter 2005)."""
    F = torsh.func
    one = torsh.tensor(1.0)
    assert F.grad(lambda x: x * F.grad(lambda y: x + y)(one))(one).item() == 1.0
    assert F.jvp(lambda x: x * F.jvp(lambda y: x + y, (one,), (one,))[1], (one,), (one,))[1].item() == 1.0


def _net(m: Any, conv: bool) -> Any:
    n = m.nn
    if conv:
        return n.Sequential(n.Conv2d(1, 3, 3, padding=1), n.GroupNorm(1, 3), n.ReLU(), n.MaxPool2d(2), n.Flatten(), n.Linear(27, 4))
    return n.Sequential(n.Linear(5, 7), n.Tanh(), n.LayerNorm(7), n.Linear(7, 4))


def _copied(model: Any) -> dict[str, Any]:
    return {k: to_torsh(v.detach()) for k, v in model.named_parameters()}


@pytest.mark.parametrize("conv", [False, True], ids=["mlp", "convnet"])
def test_gradients_of_each_sample(conv: bool, rng: np.random.Generator) -> None:
    x = torch.tensor(rng.standard_normal((6, 1, 6, 6) if conv else (6, 5)))
    y = torch.tensor([0, 3, 1, 2, 0, 1])
    theirs_net, ours_net = _net(torch, conv).double(), _net(torsh, conv).double()

    def loss(m: Any, net: Any) -> Any:
        return lambda p, a, b: m.nn.functional.cross_entropy(m.func.functional_call(net, p, (a.unsqueeze(0),)), b.unsqueeze(0))
    theirs = torch.vmap(torch.func.grad(loss(torch, theirs_net)), (None, 0, 0))({k: v.detach() for k, v in theirs_net.named_parameters()}, x, y)
    ours = torsh.vmap(torsh.func.grad(loss(torsh, ours_net)), (None, 0, 0))(_copied(theirs_net), to_torsh(x), to_torsh(y))
    assert list(ours) == list(theirs)
    for name in theirs:
        same(ours[name], theirs[name], 1e-7, 1e-9)


def test_ensemble(rng: np.random.Generator) -> None:
    nets = [_net(torch, False) for _ in range(3)]
    ours = [_net(torsh, False) for _ in range(3)]
    for a, b in zip(ours, nets, strict=True):
        a.load_state_dict(_copied(b))
    x = torch.tensor(rng.standard_normal((4, 5)), dtype=torch.float32)
    stacked, buffers = torsh.func.stack_module_state(ours)
    assert all(p.requires_grad and p.is_leaf for p in stacked.values())

    def call(p: Any, b: Any, x: torsh.Tensor) -> torsh.Tensor:
        return torsh.func.functional_call(ours[0], (p, b), (x,))
    found = torsh.vmap(call, (0, 0, None))(stacked, buffers, to_torsh(x))
    same(found, torch.stack([n(x) for n in nets]), 1e-5, 1e-6)
    found.square().sum().backward()
    for i, net in enumerate(nets):
        net.zero_grad()
        net(x).square().sum().backward()
        for name, p in net.named_parameters():
            same(stacked[name].grad[i], p.grad, 1e-4, 1e-5)


def test_functional_call() -> None:
    net = torsh.nn.Sequential(torsh.nn.Linear(2, 2), torsh.nn.Linear(2, 2))
    net[1].weight = net[0].weight
    weight = torsh.eye(2)
    x = torsh.tensor([1.0, 2.0])
    zero = {"0.bias": torsh.zeros(2), "1.bias": torsh.zeros(2)}
    before = net[0].weight
    assert torsh.func.functional_call(net, {"0.weight": weight * 2, **zero}, x).tolist() == [4.0, 8.0]  # tied
    assert net[0].weight is before
    assert net[1].weight is before
    with pytest.raises(ValueError, match="multiple values for keys"):
        torsh.func.functional_call(net, {"0.weight": weight, "1.weight": weight * 2}, x)
    with pytest.raises(ValueError, match="multiple dictionaries"):
        torsh.func.functional_call(net, [{"0.weight": weight}, {"0.weight": weight}], x)
    with pytest.raises(RuntimeError, match=r"Missing key\(s\)"):
        torsh.func.functional_call(net, {"0.weight": weight}, x, strict=True)
    with pytest.raises(RuntimeError, match="Expected at least one model"):
        torsh.func.stack_module_state([])


_COMBINED: dict[str, Any] = {
    "vmap of jvp": lambda F, vmap, f, x: vmap(lambda a: F.jvp(f, (a,), (a * a,))[1])(x),
    "vmap of vjp": lambda F, vmap, f, x: vmap(lambda a: F.vjp(f, a)[1](a)[0])(x),
    "vmap of jacrev": lambda F, vmap, f, x: vmap(F.jacrev(f))(x), "vmap of jacfwd": lambda F, vmap, f, x: vmap(F.jacfwd(f))(x),
    "vmap of hessian": lambda F, vmap, f, x: vmap(F.hessian(lambda a: f(a).sum()))(x),
    "jacrev of vmap": lambda F, vmap, f, x: F.jacrev(vmap(f))(x), "jacfwd of vmap": lambda F, vmap, f, x: F.jacfwd(vmap(f))(x),
    "hessian of vmap": lambda F, vmap, f, x: F.hessian(lambda a: vmap(f)(a).sum())(x),
    "grad of vmap of grad": lambda F, vmap, f, x: F.grad(lambda a: vmap(F.grad(lambda b: f(b).sum()))(a).sin().sum())(x),
    "jvp of vmap of grad": lambda F, vmap, f, x: F.jvp(vmap(F.grad(lambda b: f(b).sum())), (x,), (x * 2,))[1],
    "vmap of vmap of grad": lambda F, vmap, f, x: vmap(vmap(F.grad(lambda b: (b ** 3).sin())))(x)}


@pytest.mark.parametrize("name", _COMBINED)
def test_transforms_of_transforms(name: str, rng: np.random.Generator) -> None:
    t = torch.tensor(rng.standard_normal((4, 3)) + 2)

    def function(m: Any) -> Any:
        return lambda x: (x.sin() * x.sum()).exp() / 10 + x.cumsum(0) * m.outer(x, x).diagonal()
    theirs = _COMBINED[name](torch.func, torch.vmap, function(torch), t)
    ours = _COMBINED[name](torsh.func, torsh.vmap, function(torsh), to_torsh(t))
    same(ours, theirs, *LOOSE)
    assert not ours.requires_grad

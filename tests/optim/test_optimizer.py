"""Optimizers against PyTorch: trajectories, state in PyTorch's format, and no new plans for new numbers."""
from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

import torsh
from torsh.compiler import realize

OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("SGD", {"lr": 0.1}),
    "momentum": ("SGD", {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01, "dampening": 0.1}),
    "nesterov": ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True, "maximize": True}),
    "adam": ("Adam", {"lr": 0.01}),
    "adam_decay": ("Adam", {"lr": 0.01, "weight_decay": 0.1, "betas": (0.4, 0.8), "eps": 1e-4}),
    "amsgrad": ("Adam", {"lr": 0.02, "amsgrad": True, "maximize": True}),
    "adamw": ("AdamW", {"lr": 0.01, "weight_decay": 0.2}),
    "adadelta": ("Adadelta", {"lr": 0.5}),
    "adadelta_decay": ("Adadelta", {"lr": 0.5, "rho": 0.5, "eps": 1e-3, "weight_decay": 0.1, "maximize": True}),
    "adagrad": ("Adagrad", {"lr": 0.1}),
    "adagrad_decay": ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.5, "eps": 1e-3}),
    "rmsprop": ("RMSprop", {"lr": 0.01}),
    "rmsprop_centered": ("RMSprop", {"lr": 0.01, "alpha": 0.4, "momentum": 0.9, "centered": True, "weight_decay": 0.1}),
    "rmsprop_momentum": ("RMSprop", {"lr": 0.01, "momentum": 0.5, "maximize": True, "eps": 1e-3}),
    "adamax": ("Adamax", {"lr": 0.01, "weight_decay": 0.1}),
    "adamax_near": ("Adamax", {"lr": 0.01, "betas": (0.3, 0.8), "maximize": True}),
    "nadam": ("NAdam", {"lr": 0.01, "weight_decay": 0.1}),
    "nadam_decoupled": ("NAdam", {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True, "momentum_decay": 0.1, "maximize": True}),
    "radam": ("RAdam", {"lr": 0.01, "betas": (0.8, 0.9), "weight_decay": 0.1}),
    "radam_decoupled": ("RAdam", {"lr": 0.01, "betas": (0.8, 0.6), "weight_decay": 0.1, "decoupled_weight_decay": True}),
    "asgd": ("ASGD", {"lr": 0.01, "t0": 2, "weight_decay": 0.1}),
    "asgd_plain": ("ASGD", {"lr": 0.01, "lambd": 0.1, "maximize": True}),
    "rprop": ("Rprop", {"lr": 0.01}),
    "rprop_limits": ("Rprop", {"lr": 0.01, "etas": (0.4, 1.5), "step_sizes": (1e-3, 0.02), "maximize": True}),
    "adafactor": ("Adafactor", {"lr": 0.1}),
    "adafactor_decay": ("Adafactor", {"lr": 0.1, "eps": (1e-3, 0.1), "d": 2.0, "weight_decay": 0.1, "beta2_decay": -0.3, "maximize": True}),
}


def problem(t: Any, name: str, dtype: str = "float32") -> tuple[list[Any], Any, Any]:
    """Parameters, an optimizer over them in two groups, and a function that gives the loss of step i."""
    rng = np.random.default_rng(0)
    params = [t.tensor(rng.normal(size=s), dtype=getattr(t, dtype), requires_grad=True) for s in ((3, 4), (4,), (2, 2))]
    kind, options = OPTIONS[name]
    optimizer = getattr(t.optim, kind)([{"params": params[:2]}, {"params": params[2:], "lr": 0.03}], **options)

    def loss(i: int) -> Any:
        total = ((params[0] @ params[1] + i) ** 2).sum() + params[2].sin().sum() * (i % 2 + 1)
        return total if i != 2 else total - params[2].sin().sum() * 2
    return params, optimizer, loss


def train(t: Any, name: str, steps: int = 6, dtype: str = "float32") -> tuple[list[Any], Any]:
    params, optimizer, loss = problem(t, name, dtype)
    for i in range(steps):
        optimizer.zero_grad()
        loss(i).backward()
        optimizer.param_groups[0]["lr"] *= 0.9
        optimizer.step()
    return params, optimizer


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPTIONS)
def test_trajectories_are_pytorchs(name: str, dtype: str) -> None:
    (ours, a), (theirs, b) = train(torsh, name, dtype=dtype), train(torch, name, dtype=dtype)
    tolerance = 2e-5 if dtype == "float32" else 1e-12
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=tolerance, atol=tolerance)
    assert repr(a) == repr(b)
    mine, yours = a.state_dict(), b.state_dict()
    assert mine["param_groups"] == yours["param_groups"]
    assert list(mine["state"]) == list(yours["state"])
    for i, state in yours["state"].items():
        assert list(mine["state"][i]) == list(state)
        for key, value in state.items():
            np.testing.assert_allclose(mine["state"][i][key].numpy(), value.numpy(), rtol=10 * tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("name", OPTIONS)
def test_a_loaded_state_goes_on_as_if_nothing_had_happened(name: str) -> None:
    params, optimizer, loss = problem(torsh, name)
    for i in range(3):
        optimizer.zero_grad()
        loss(i).backward()
        optimizer.step()
    others, again, other_loss = problem(torsh, name)
    with torsh.no_grad():
        for p, q in zip(params, others, strict=True):
            q.copy_(p)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for o, f in ((optimizer, loss), (again, other_loss)):
        o.zero_grad()
        f(3).backward()
        o.step()
    for p, q in zip(params, others, strict=True):
        np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())


def test_a_new_learning_rate_or_step_needs_no_new_plan() -> None:
    params, optimizer, _ = problem(torsh, "adam")
    counts = []
    for i in range(5):
        optimizer.param_groups[0]["lr"] = 0.1 / (i + 1)
        optimizer.zero_grad()
        (params[0].sum() + params[1].sum() + params[2].sum()).backward()
        optimizer.step()
        counts.append(len(realize._plans))
    assert counts[2] == counts[-1]


def test_parameters_without_gradient_stay_and_count_no_step() -> None:
    for t in (torsh, torch):
        a, b = t.ones(2, requires_grad=True), t.ones(2, requires_grad=True)
        optimizer = t.optim.Adam([a, b], lr=0.1)
        for i in range(3):
            optimizer.zero_grad()
            (a.sum() if i else a.sum() + b.sum()).backward()
            optimizer.step()
        assert optimizer.state[a]["step"].item() == 3
        assert optimizer.state[b]["step"].item() == 1
        np.testing.assert_allclose(a.detach().numpy(), 0.7, rtol=1e-5)
        np.testing.assert_allclose(b.detach().numpy(), 0.9, rtol=1e-5)


def test_closure_and_zero_grad() -> None:
    p = torsh.ones(2, requires_grad=True)
    optimizer = torsh.optim.SGD([p], lr=0.5)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss
    assert optimizer.step(closure).item() == 2.0
    assert p.tolist() == [0.0, 0.0]
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.tolist() == [0.0, 0.0]
    optimizer.zero_grad()
    assert p.grad is None


@pytest.mark.parametrize(("make", "error"), [
    (lambda t: t.optim.SGD([], lr=0.1), ValueError),
    (lambda t: t.optim.SGD(t.ones(2), lr=0.1), TypeError),
    (lambda t: t.optim.SGD([3], lr=0.1), TypeError),
    (lambda t: t.optim.SGD([t.ones(2, requires_grad=True) * 2], lr=0.1), ValueError),
    (lambda t: t.optim.SGD([t.ones(2)], lr=-1), ValueError),
    (lambda t: t.optim.SGD([t.ones(2)], lr=1, nesterov=True), ValueError),
    (lambda t: t.optim.Adam([t.ones(2)], betas=(1.0, 0.9)), ValueError),
    (lambda t: t.optim.Adam([t.ones(2)]).load_state_dict({"state": {}, "param_groups": []}), ValueError),
    (lambda t: t.optim.Adadelta([t.ones(2)], rho=2), ValueError),
    (lambda t: t.optim.Adadelta([t.ones(2)], lr=t.ones(2)), ValueError),
    (lambda t: t.optim.Adagrad([t.ones(2)], lr_decay=-1), ValueError),
    (lambda t: t.optim.Adagrad([t.ones(2)], initial_accumulator_value=-1), ValueError),
    (lambda t: t.optim.RMSprop([t.ones(2)], alpha=-1), ValueError),
    (lambda t: t.optim.Adamax([t.ones(2)], betas=(0.5, 1.0)), ValueError),
    (lambda t: t.optim.NAdam([t.ones(2)], momentum_decay=-1), ValueError),
    (lambda t: t.optim.RAdam([t.ones(2)], weight_decay=-1), ValueError),
    (lambda t: t.optim.ASGD([t.ones(2)], weight_decay=-1), ValueError),
    (lambda t: t.optim.Rprop([t.ones(2)], etas=(1.2, 0.5)), ValueError),
    (lambda t: t.optim.Adafactor([t.ones(2)], d=0.5), ValueError),
    (lambda t: t.optim.Adafactor([t.ones(2)], eps=(-1, 0)), ValueError),
    (lambda t: t.optim.Muon([t.ones(2, 2)], adjust_lr_fn="x"), ValueError),
    (lambda t: t.optim.Muon([t.ones(2, 2)], momentum=-1), ValueError),
])
def test_errors_are_pytorchs(make: Any, error: type[Exception]) -> None:
    texts = []
    for t in (torsh, torch):
        with pytest.raises(error) as found:
            make(t)
        texts.append(str(found.value))
    assert texts[0] == texts[1]


def test_clipping_matches_pytorch() -> None:
    found = []
    for t in (torsh, torch):
        params = [t.ones(3, requires_grad=True), t.ones(2, 2, requires_grad=True)]
        (params[0].sum() * 3 + (params[1] * params[1]).sum() * 2).backward()
        norm = t.nn.utils.clip_grad_norm_(params, 1.5)
        t.nn.utils.clip_grad_value_(params, 0.5)
        found.append([norm.numpy(), *(p.grad.numpy() for p in params), t.nn.utils.parameters_to_vector(params).detach().numpy()])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)

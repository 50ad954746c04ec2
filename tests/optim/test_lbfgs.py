"""L-BFGS against PyTorch: the same iterates, evaluations and state, with and without line search."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import torsh


def minimized(t: Any, options: dict[str, Any], calls: int = 3) -> tuple[Any, Any, list[float]]:
    """Rosenbrock's valley in two dimensions and a quadratic in a matrix, together."""
    rng = np.random.default_rng(1)
    x = t.tensor([-1.2, 1.0], dtype=t.float64, requires_grad=True)
    w = t.tensor(rng.normal(size=(2, 3)), requires_grad=True)
    unused = t.ones(2, dtype=t.float64, requires_grad=True)
    optimizer = t.optim.LBFGS([x, w, unused], **options)
    losses = []

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (1 - x[0]) ** 2 + 10 * (x[1] - x[0] ** 2) ** 2 + (w * w).sum() * 0.5 + w.sum()
        loss.backward()
        losses.append(loss.item())
        return loss
    for _ in range(calls):
        optimizer.step(closure)
    return optimizer, (x, w, unused), losses


@pytest.mark.parametrize("options", [
    {"lr": 0.1}, {"lr": 0.05, "max_iter": 4, "history_size": 2}, {"line_search_fn": "strong_wolfe"},
    {"line_search_fn": "strong_wolfe", "lr": 3.0, "max_iter": 7, "history_size": 3}, {"line_search_fn": "strong_wolfe", "max_eval": 6},
    {"lr": 0.1, "tolerance_grad": 1.0}, {"lr": 0.1, "tolerance_change": 0.5},
], ids=str)
def test_iterates_are_pytorchs(options: dict[str, Any]) -> None:
    (ours, params, losses), (theirs, others, expected) = minimized(torsh, options), minimized(torch, options)
    assert len(losses) == len(expected)
    np.testing.assert_allclose(losses, expected, rtol=1e-6, atol=1e-9)
    for p, q in zip(params, others, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-6, atol=1e-8)
    mine, yours = ours.state_dict(), theirs.state_dict()
    assert mine["param_groups"] == yours["param_groups"]
    for key in ("func_evals", "n_iter"):
        assert mine["state"][0][key] == yours["state"][0][key]
    assert len(mine["state"][0].get("old_dirs", [])) == len(yours["state"][0].get("old_dirs", []))


def test_it_reaches_the_minimum() -> None:
    _, (x, w, _), _ = minimized(torsh, {"line_search_fn": "strong_wolfe"}, 5)
    np.testing.assert_allclose(x.detach().numpy(), [1.0, 1.0], rtol=1e-5)
    np.testing.assert_allclose(w.detach().numpy(), -1.0, rtol=1e-5)


def test_a_loaded_state_goes_on() -> None:
    import copy
    optimizer, params, _ = minimized(torsh, {"lr": 0.1, "max_iter": 3})
    again, others, _ = minimized(torsh, {"lr": 0.1, "max_iter": 3}, 0)
    with torsh.no_grad():
        for p, q in zip(params, others, strict=True):
            q.copy_(p)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for o, (x, w, _) in ((optimizer, params), (again, others)):
        def closure(o: Any = o, x: Any = x, w: Any = w) -> Any:
            o.zero_grad()
            loss = (1 - x[0]) ** 2 + 10 * (x[1] - x[0] ** 2) ** 2 + (w * w).sum() * 0.5 + w.sum()
            loss.backward()
            return loss
        o.step(closure)
    for p, q in zip(params, others, strict=True):
        np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())


def test_errors() -> None:
    p = torsh.ones(2, requires_grad=True)
    with pytest.raises(ValueError, match="per-parameter options"):
        torsh.optim.LBFGS([{"params": [p]}, {"params": [torsh.ones(1)]}])
    with pytest.raises(TypeError, match="closure"):
        torsh.optim.LBFGS([p]).step()

    def closure() -> Any:
        p.grad = None
        loss = (p * p).sum()
        loss.backward()
        return loss
    with pytest.raises(RuntimeError, match="strong_wolfe"):
        torsh.optim.LBFGS([p], line_search_fn="other").step(closure)

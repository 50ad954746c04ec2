"""PyTorch's own database of optimizers (`torch.testing._internal.common_optimizers.optim_db`): options, trajectories, states and errors."""
from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing._internal.common_optimizers import optim_db

import torsh
from tests.conformance.test_modules import converted

INFOS = {info.optim_cls.__name__: info for info in optim_db}
# Muon makes its matrix orthogonal in bfloat16, where one rounding more or less shows.
TOLERANCE = {"Muon": 3e-3}


def problem(t: Any, optimizer: str) -> tuple[list[Any], Any]:
    rng = np.random.default_rng(0)
    shapes = ((3, 4), (4, 2)) if optimizer == "Muon" else ((3, 4), (4,), ())
    params = [t.tensor(rng.normal(size=s), requires_grad=True) for s in shapes]

    def loss(i: int) -> Any:
        return sum(((p + 0.1 * i) ** 2).sum() * (k + 1) for k, p in enumerate(params)) + (params[0] @ params[1]).sin().sum()
    return params, loss


def trained(t: Any, optimizer: str, options: dict[str, Any], steps: int = 4) -> tuple[list[Any], Any]:
    params, loss = problem(t, optimizer)
    made = getattr(t.optim, optimizer)(params, **options)
    for i in range(steps):
        def closure(i: int = i) -> Any:
            made.zero_grad()
            total = loss(i)
            total.backward()
            if optimizer == "SparseAdam":
                for p in params:
                    p.grad = p.grad.to_sparse()
            return total
        made.step(closure)
    return params, made


@pytest.mark.parametrize("name", sorted(INFOS))
def test_trajectories(name: str) -> None:
    info = INFOS[name]
    tried = 0
    for given in info.optim_inputs_func(device="cpu"):
        options = {k: v for k, v in given.kwargs.items() if k not in ("capturable",)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs, made = trained(torch, name, options)
            ours, mine = trained(torsh, name, converted(options))
        tolerance = TOLERANCE.get(name, 1e-6)
        for p, q in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=tolerance, atol=tolerance, err_msg=str(options))
        assert set(mine.state_dict()["state"]) == set(made.state_dict()["state"])
        for i, state in made.state_dict()["state"].items():
            assert set(mine.state_dict()["state"][i]) == set(state)
        tried += 1
    assert tried > 2


def _like(value: Any, known: dict[int, Any]) -> Any:
    """Parameters for ToRSh: computed if PyTorch's are, and the same one where PyTorch's are."""
    if isinstance(value, dict):
        return {k: _like(v, known) for k, v in value.items()}
    if isinstance(value, list):
        return [_like(v, known) for v in value]
    made = converted(value, known)
    return made * 1 if isinstance(value, torch.Tensor) and value.grad_fn is not None else made


@pytest.mark.parametrize("name", sorted(INFOS))
def test_errors(name: str) -> None:
    compared = 0
    for error in INFOS[name].optim_error_inputs_func("cpu", torch.float64):
        given = error.optimizer_error_input
        if error.error_on.name != "CONSTRUCTION_ERROR" or given.params is None or "fused" in given.kwargs or "foreach" in given.kwargs:
            continue
        if any("cuda" in str(v) or "capturable" in str(k) for k, v in given.kwargs.items()):
            continue
        params = given.params if isinstance(given.params, list) else list(given.params)
        with pytest.raises(Exception) as theirs:
            INFOS[name].optim_cls(params, **given.kwargs)
        with pytest.raises(type(theirs.value)) as ours:
            getattr(torsh.optim, name)(_like(params, {}), **converted(given.kwargs))
        assert str(ours.value).replace("torsh.", "torch.") == str(theirs.value)
        compared += 1
    assert compared


def test_every_name_is_there() -> None:
    theirs = {n for n in dir(torch.optim) if isinstance(getattr(torch.optim, n), type) and issubclass(getattr(torch.optim, n), torch.optim.Optimizer)}
    assert {n for n in theirs if not hasattr(torsh.optim, n)} == set()

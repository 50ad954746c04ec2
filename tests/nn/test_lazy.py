"""Lazy modules against PyTorch: before the first call, what it makes of them, copies, states and errors."""
from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch

import torsh
from tests.nn.test_utils import logged, same


def life(t: Any, log: list[Any]) -> None:
    m = t.nn.Sequential(t.nn.LazyLinear(4), t.nn.ReLU(), t.nn.LazyLinear(2, bias=False))
    log.append((repr(m), repr(m[0].weight), m[0].has_uninitialized_params(), [type(p).__name__ for p in m.parameters()]))
    for other in (copy.deepcopy(m), pickle.loads(pickle.dumps(m))):
        t.manual_seed(1)
        y = other(t.arange(15.0).reshape(5, 3))
        log.append((y, repr(other), type(other[0]).__name__, dict(other.state_dict()), len(other[0]._forward_pre_hooks)))
    norm = t.nn.LazyBatchNorm1d()
    log.append((repr(m), repr(norm), [n for n, _ in norm.named_buffers()]))
    log.append((norm(t.arange(6.0).reshape(3, 2)), repr(norm), dict(norm.state_dict())))


def states(t: Any, log: list[Any]) -> None:
    source = t.nn.Linear(3, 2)
    lazy = t.nn.LazyLinear(2)
    log.append(sorted(lazy.state_dict()))
    lazy.load_state_dict(source.state_dict())
    log.append((lazy.weight, lazy.has_uninitialized_params(), type(lazy).__name__))
    log.append((lazy(t.ones(1, 3)), type(lazy).__name__, lazy.in_features))
    fresh = t.nn.LazyConv2d(4, 3, padding=1, groups=2)
    fresh.load_state_dict(t.nn.LazyConv2d(4, 3, groups=2).state_dict())
    log.append((repr(fresh), type(fresh.weight).__name__))
    log.append(tuple(fresh(t.ones(1, 6, 5, 5)).shape))
    log.append((repr(fresh), tuple(fresh.weight.shape)))


def materialized(t: Any, log: list[Any]) -> None:
    p = t.nn.UninitializedParameter(dtype=t.float64)
    log.append((t.nn.parameter.is_lazy(p), repr(p), p.requires_grad))
    p.materialize((2, 3))
    log.append((tuple(p.shape), type(p).__name__, str(p.dtype)[-7:], t.nn.parameter.is_lazy(p)))
    b = t.nn.UninitializedBuffer()
    b.materialize((2,), dtype=t.float64)
    log.append((tuple(b.shape), str(b.dtype)[-7:], type(b).__name__))


FAILING: dict[str, Callable[[Any], Any]] = {
    "shape": lambda t: t.nn.LazyLinear(2).weight.shape,
    "use": lambda t: t.nn.LazyLinear(2).weight + 1,
    "loading the wrong way round": lambda t: t.nn.Linear(3, 2).load_state_dict(t.nn.LazyLinear(2).state_dict()),
    "channels": lambda t: t.nn.LazyConv1d(4, 1, groups=2)(t.ones(1, 3, 2)),
    "dimensions": lambda t: t.nn.LazyConv1d(4, 1)(t.ones(3)),
    "weight norm": lambda t: t.nn.utils.weight_norm(t.nn.LazyLinear(2)),
    "spectral norm": lambda t: t.nn.utils.spectral_norm(t.nn.LazyLinear(2)),
}


@pytest.mark.parametrize("scenario", [life, states, materialized], ids=lambda s: s.__name__)
def test_scenarios(scenario: Callable[..., Any]) -> None:
    ours, theirs = logged(scenario, torsh), logged(scenario, torch)
    assert len(ours) == len(theirs), (ours[-1], theirs[-1])
    for a, b in zip(ours, theirs, strict=True):
        same(a, b)


@pytest.mark.parametrize("name", FAILING)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_errors_are_of_pytorchs_type(name: str) -> None:
    with pytest.raises(Exception) as theirs:
        FAILING[name](torch)
    with pytest.raises(type(theirs.value)):
        FAILING[name](torsh)

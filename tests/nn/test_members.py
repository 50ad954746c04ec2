"""What is registered is an attribute, whichever way it was put there, taken away or copied: compared with PyTorch."""
from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch

import torsh


class OurNet(torsh.nn.Module):
    bias = "the class's own"

    def __init__(self) -> None:
        super().__init__()
        self.weight = torsh.nn.Parameter(torsh.zeros(1))
        self.register_buffer("mean", torsh.zeros(2))
        self.inner = torsh.nn.Linear(1, 1)
        self.inner2: Any = None


class TheirNet(torch.nn.Module):
    bias = "the class's own"

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.register_buffer("mean", torch.zeros(2))
        self.inner = torch.nn.Linear(1, 1)
        self.inner2: Any = None


def replace_directly(t: Any, m: Any) -> Any:
    m._parameters["weight"] = t.nn.Parameter(t.ones(1))
    m._buffers.update(mean=t.ones(2))
    m._modules["inner"] = t.nn.Linear(2, 2)
    return m


def remove_directly(t: Any, m: Any) -> Any:
    del m._parameters["weight"]
    m._buffers.clear()
    m._modules.pop("inner")
    return m


def remove(t: Any, m: Any) -> Any:
    del m.weight, m.mean, m.inner
    return m


def plain_after_removal(t: Any, m: Any) -> Any:
    del m._parameters["weight"]
    m.weight = t.ones(3)
    m.register_parameter("other", None)
    return m


def parameter_where_a_value_was(t: Any, m: Any) -> Any:
    m.inner2 = t.nn.Parameter(t.ones(4))
    m.weight = None
    return m


def of_another_kind(t: Any, m: Any) -> Any:
    m.inner = t.nn.Parameter(t.ones(4))
    m.mean = t.nn.Linear(1, 3)
    return m


def deep_copy(t: Any, m: Any) -> Any:
    new = copy.deepcopy(m)
    m.weight = t.nn.Parameter(t.ones(7))
    new._parameters["weight"] = t.nn.Parameter(t.ones(2))
    return new


def shallow_copy_shares(t: Any, m: Any) -> Any:
    new = copy.copy(m)
    m.weight = t.nn.Parameter(t.ones(7))
    new.inner = t.nn.Linear(5, 5)
    assert new.weight is m.weight
    assert new.inner is m.inner
    return new


def pickled(t: Any, m: Any) -> Any:
    new = pickle.loads(pickle.dumps(m))
    new._parameters["weight"] = t.nn.Parameter(t.ones(2))
    return new


def replica(t: Any, m: Any) -> Any:
    new = type(m).__new__(type(m))
    new.__dict__ = m.__dict__.copy()
    new._parameters = dict(m._parameters)
    new._parameters["weight"] = t.nn.Parameter(t.ones(9))
    new._modules = {}
    assert tuple(m.weight.shape) == (1,)
    return new


def updated_dict(t: Any, m: Any) -> Any:
    new = type(m).__new__(type(m))
    new.__dict__.update(copy.deepcopy(m.__dict__))
    new.weight = t.nn.Parameter(t.ones(9))
    return new


def a_class_attribute_hides_a_module(t: Any, m: Any) -> Any:
    m.bias = t.nn.Linear(1, 1)
    return m


def swapped(t: Any, m: Any) -> Any:
    m._parameters |= {"weight": t.nn.Parameter(t.ones(6))}
    m._modules.setdefault("inner2", t.nn.Linear(1, 8))
    m._parameters.popitem()
    return m


WAYS: list[Callable[[Any, Any], Any]] = [replace_directly, remove_directly, remove, plain_after_removal, parameter_where_a_value_was, of_another_kind,
                                         deep_copy, shallow_copy_shares, pickled, replica, updated_dict, a_class_attribute_hides_a_module, swapped]


def described(value: Any) -> Any:
    return tuple(value.shape) if hasattr(value, "shape") else repr(value)


@pytest.mark.parametrize("way", WAYS, ids=lambda w: w.__name__)
def test_attributes_follow_the_dictionaries(way: Callable[[Any, Any], Any]) -> None:
    def seen(t: Any, kind: Any) -> dict[str, Any]:
        m = way(t, kind())
        found: dict[str, Any] = {name: described(getattr(m, name, "absent")) for name in ("weight", "mean", "inner", "inner2", "other", "bias")}
        found["parameters"] = [(n, tuple(p.shape)) for n, p in m.named_parameters()]
        found["state"] = list(m.state_dict())
        found["dir"] = [n for n in ("weight", "mean", "inner", "inner2", "other") if n in dir(m)]
        return found

    assert seen(torsh, OurNet) == seen(torch, TheirNet)


def test_a_module_is_freed_when_nobody_refers_to_it() -> None:
    import gc
    import weakref
    gc.disable()
    try:
        m = OurNet()
        gone = weakref.ref(m.weight)
        del m
        assert gone() is None
    finally:
        gc.enable()


def test_pickles_hold_plain_dictionaries_and_nothing_twice() -> None:
    state = OurNet().__getstate__()
    assert not {"weight", "mean", "inner"} & set(state)
    assert b"Members" not in pickle.dumps(OurNet())

"""Module against PyTorch: registration, iteration, state, text, hooks and errors."""
from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch

import torsh


def network(t: Any) -> Any:
    n = t.nn
    return n.Sequential(n.Linear(4, 6), n.ReLU(), n.Sequential(n.BatchNorm1d(6), n.Linear(6, 3, bias=False)), n.ModuleList([n.Linear(2, 2), n.Linear(2, 2)]))


class TorshScale(torsh.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = torsh.nn.Parameter(torsh.ones(2))
        self.register_buffer("kept", torsh.zeros(2))
        self.register_buffer("dropped", torsh.zeros(2), persistent=False)

    def forward(self, x: Any, *, twice: bool = False) -> Any:
        return x * self.w * (2 if twice else 1)


class TorchScale(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = torch.nn.Parameter(torch.ones(2))
        self.register_buffer("kept", torch.zeros(2))
        self.register_buffer("dropped", torch.zeros(2), persistent=False)

    def forward(self, x: Any, *, twice: bool = False) -> Any:
        return x * self.w * (2 if twice else 1)


BOTH = ((torsh, TorshScale), (torch, TorchScale))


def outcome(f: Any, *args: Any) -> Any:
    """What a call gives, or its error, with the libraries' names made the same."""
    try:
        return f(*args)
    except Exception as error:
        return type(error).__name__, str(error).replace("torch.", "torsh.").replace("TorchScale", "TorshScale")


def test_names_and_text_are_pytorchs() -> None:
    ours, theirs = network(torsh), network(torch)
    for walk in ("named_parameters", "named_buffers", "named_modules", "named_children"):
        assert [k for k, _ in getattr(ours, walk)()] == [k for k, _ in getattr(theirs, walk)()]
    assert repr(ours) == repr(theirs)
    assert repr(TorshScale()) == "TorshScale()"


@pytest.mark.parametrize("act", [
    lambda t, m: m.register_buffer("a.b", t.ones(1)),
    lambda t, m: m.register_buffer("w", t.ones(1)),
    lambda t, m: m.register_buffer("", t.ones(1)),
    lambda t, m: m.register_buffer("x", 3),
    lambda t, m: m.register_parameter("kept", None),
    lambda t, m: m.register_parameter("p", 3),
    lambda t, m: m.register_parameter(5, None),
    lambda t, m: m.add_module("a.b", t.nn.Identity()),
    lambda t, m: m.add_module("m", 3),
    lambda t, m: setattr(m, "w", 3),
    lambda t, m: setattr(m, "kept", 3),
    lambda t, m: m.nothing,
    lambda t, m: m.get_submodule("a"),
    lambda t, m: m.get_parameter("kept"),
    lambda t, m: m.get_buffer("w"),
    lambda t, m: m.train("yes"),
    lambda t, m: m.load_state_dict([]),
    lambda t, m: m.load_state_dict({"w": t.ones(3), "other": t.ones(1)}),
    lambda t, m: str(m.load_state_dict({"w": t.ones(2), "other": t.ones(1)}, strict=False)),
    lambda t, m: str(m.load_state_dict({"w": t.ones(2), "kept": t.ones(2)})),
])
def test_rules_and_error_texts_are_pytorchs(act: Any) -> None:
    ours, theirs = (outcome(act, t, made()) for t, made in BOTH)
    assert ours == theirs


def test_state_dict_is_pytorchs() -> None:
    for ours, theirs in ((network(torsh), network(torch)), (TorshScale(), TorchScale())):
        a, b = ours.state_dict(prefix="x."), theirs.state_dict(prefix="x.")
        assert list(a) == list(b)
        assert dict(a._metadata) == dict(b._metadata)
        assert all(not v.requires_grad for v in a.values())
    source, target = network(torsh), network(torsh)
    target.load_state_dict(source.state_dict())
    for p, q in zip(source.parameters(), target.parameters(), strict=True):
        np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())
    given = torsh.full((2,), 5.0)
    m = TorshScale()
    m.load_state_dict({"w": given, "kept": given}, assign=True)
    assert isinstance(m.w, torsh.nn.Parameter)
    assert m.kept is given


def test_copies_are_independent_and_keep_sharing() -> None:
    m = torsh.nn.Sequential(torsh.nn.Linear(2, 2), torsh.nn.Linear(2, 2))
    m[1].weight = m[0].weight
    for other in (copy.deepcopy(m), pickle.loads(pickle.dumps(m))):
        np.testing.assert_array_equal(other[0].weight.detach().numpy(), m[0].weight.detach().numpy())
        with torsh.no_grad():
            other[0].weight.add_(1)
        assert not np.array_equal(other[0].weight.detach().numpy(), m[0].weight.detach().numpy())
        assert isinstance(other[0].weight, torsh.nn.Parameter)
        assert other[0].weight.requires_grad
    twin = copy.deepcopy(m)
    assert twin[0].weight is twin[1].weight
    assert len(list(m.parameters())) == 3


def test_hooks_run_in_pytorchs_order() -> None:
    logs = []
    for t, made in BOTH:
        log: list[Any] = []
        m = made()
        m.register_forward_pre_hook(lambda m, args, log=log: log.append("pre") or (args[0] + 1,))
        m.register_forward_pre_hook(lambda m, args, kwargs, log=log: log.append("kw") or (args, {"twice": True}), prepend=True, with_kwargs=True)
        handle = m.register_forward_hook(lambda m, args, out, log=log: log.append("post") or out * 10)
        m.register_forward_hook(lambda m, args, kwargs, out, log=log: log.append(sorted(kwargs)), with_kwargs=True)
        m.register_forward_hook(lambda m, args, out, log=log: log.append(out is None), always_call=True)
        log.append(m(t.ones(2)).tolist())
        handle.remove()
        log.append(m(t.ones(2)).tolist())
        with pytest.raises(RuntimeError):
            m(t.ones(3))
        logs.append(log)
    assert logs[0] == logs[1]


def test_conversions_change_floating_tensors_only() -> None:
    m = torsh.nn.BatchNorm1d(3).double()
    assert {b.dtype for b in m.buffers()} == {torsh.float64, torsh.int64}
    weight = m.weight
    assert m.to(torsh.float16).weight is weight
    assert weight.dtype is torsh.float16
    with pytest.raises(TypeError, match="only accepts floating point"):
        m.to(torsh.int32)


def test_an_error_in_forward_names_the_module_once() -> None:
    inner = torsh.nn.Sequential(torsh.nn.ReLU(), torsh.nn.Linear(3, 2))
    with pytest.raises(RuntimeError, match=r"^Linear: ") as alone:
        inner[1](torsh.ones(2, 4))
    assert str(alone.value).count("Linear:") == 1
    with pytest.raises(RuntimeError, match=r"^Sequential\.0\.1 \(Linear\): (?!.*Sequential)"):
        torsh.nn.Sequential(inner)(torsh.ones(2, 4))
    with pytest.raises(NotImplementedError, match=r'^Module \[Module\] is missing the required "forward" function'):
        torsh.nn.Module()(1)


def test_parameter_and_buffer() -> None:
    data = torsh.ones(2)
    p = torsh.nn.Parameter(data)
    assert repr(p) == repr(torch.nn.Parameter(torch.ones(2)))
    with torsh.no_grad():
        p.mul_(3)
    assert data.tolist() == [3.0, 3.0]
    assert type(p * 1) is torsh.Tensor
    m = torsh.nn.Module()
    m.a, m.b = torsh.nn.Buffer(data), torsh.nn.Buffer(data, persistent=False)
    assert [k for k, _ in m.named_buffers()] == ["a", "b"]
    assert list(m.state_dict()) == ["a"]


def test_a_sequence_calls_its_modules_as_everybody_does(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(torsh.nn.Linear):
        def __call__(self, x: torsh.Tensor) -> torsh.Tensor:
            return super().__call__(x) + 100

    own, hooked, replaced = Own(2, 2), torsh.nn.Identity(), torsh.nn.Linear(2, 2)
    hooked.register_forward_hook(lambda module, args, output: output * 2)
    replaced.forward = lambda x: x - 1
    model, x = torsh.nn.Sequential(own, hooked, replaced), torsh.ones(1, 2)
    np.testing.assert_array_equal(model(x).detach().numpy(), (replaced(hooked(own(x)))).detach().numpy())
    seen: list[str] = []
    call = torsh.nn.Module.__call__

    def traced(module: torsh.nn.Module, *args: Any, **kwargs: Any) -> Any:
        seen.append(type(module).__name__)
        return call(module, *args, **kwargs)
    monkeypatch.setattr(torsh.nn.Module, "__call__", traced)
    model(x)
    assert seen == ["Sequential", "Own", "Identity", "Linear"]

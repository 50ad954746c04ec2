"""Hooks of modules against PyTorch: what is called, in which order, with what, and what its results change."""
from __future__ import annotations

import copy
import pickle
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import torsh
import torsh.nn.modules.module as ours_module


def shown(value: Any) -> Any:
    """Tensors as nested lists, so that logs can be compared."""
    if isinstance(value, (tuple, list)):
        return [shown(v) for v in value]
    return value.tolist() if isinstance(value, (torsh.Tensor, torch.Tensor)) else value


def logged(scenario: Callable[..., Any], t: Any) -> list[Any]:
    """What a scenario logs, with its warnings and the error that ended it."""
    log: list[Any] = []
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        try:
            scenario(t, log)
        except Exception as error:
            log.append((type(error).__name__, re.sub(r"^\w+(\.[\w.]+ \(\w+\))?: ", "", str(error)) if t is torsh else str(error)))
    return [shown(entry) for entry in log] + [(w.category.__name__, re.split(" (See|Refer to) https", str(w.message))[0].strip()) for w in found]


def both(t: Any) -> type:
    """A module of two inputs, one option and two outputs."""
    class Both(t.nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.w = t.nn.Parameter(t.tensor([2.0, 3.0]))

        def forward(self, x: Any, y: Any, scale: Any = 1) -> Any:
            return x * self.w * scale, x * y + self.w
    return Both


def pair(t: Any, grad: bool = True) -> tuple[Any, Any]:
    return t.tensor([1.0, 2.0], requires_grad=grad), t.tensor([4.0, 5.0], requires_grad=grad)


def full_hooks(t: Any, log: list[Any]) -> None:
    m = both(t)()
    x, y = pair(t)
    m.register_full_backward_hook(lambda m, gi, go: log.append(("second", gi, go)))
    m.register_full_backward_hook(lambda m, gi, go: log.append(("first", gi, go)) or (gi[0] * 10, gi[1]), prepend=True)
    handle = m.register_full_backward_pre_hook(lambda m, go: log.append(("pre", go)) or (go[0] * 2, go[1]))
    for _ in range(2):
        x.grad = y.grad = m.w.grad = None
        a, b = m(x, y, scale=3)
        log.append((a.grad_fn.name(), b.requires_grad))
        (a.sum() + 2 * b.sum()).backward()
        log.append((x.grad, y.grad, m.w.grad))
        handle.remove()


def one_output_used(t: Any, log: list[Any]) -> None:
    m = both(t)()
    x, y = pair(t)
    m.register_full_backward_hook(lambda m, gi, go: log.append((gi, go)))
    m(x, y)[1].sum().backward()
    log.append((x.grad, y.grad, m.w.grad))


def some_inputs_need_none(t: Any, log: list[Any]) -> None:
    m = both(t)()
    x, _ = pair(t)
    _, y = pair(t, False)
    m.register_full_backward_hook(lambda m, gi, go: log.append((gi, go)))
    a, b = m(x, y, 2)
    (a.sum() + b.sum()).backward()
    a, _ = m(x, y, t.tensor(3.0))
    a.sum().backward()
    log.append(x.grad)


def no_input_needs_one(t: Any, log: list[Any]) -> None:
    m = both(t)()
    m.register_full_backward_hook(lambda m, gi, go: log.append((gi, go)))
    m.register_full_backward_pre_hook(lambda m, go: (go[0] * 3, go[1]))
    a, b = m(*pair(t, False))
    (a.sum() + b.sum()).backward()
    log.append(m.w.grad)


def no_output_needs_one(t: Any, log: list[Any]) -> None:
    m = both(t)()
    m.register_full_backward_hook(lambda m, gi, go: log.append((gi, go)))
    with t.no_grad():
        log.append(m(*pair(t))[0].requires_grad)
    m.w.requires_grad_(False)
    log.append(m(*pair(t, False))[0].requires_grad)


def wrong_number(t: Any, log: list[Any]) -> None:
    m = both(t)()
    m.register_full_backward_hook(lambda m, gi, go: (gi[0],))
    m(*pair(t))[0].sum().backward()


def wrong_number_before(t: Any, log: list[Any]) -> None:
    m = both(t)()
    m.register_full_backward_pre_hook(lambda m, go: (go[0],))
    m(*pair(t))[0].sum().backward()


def wrong_result_without_inputs(t: Any, log: list[Any]) -> None:
    m = t.nn.ReLU()
    m.register_full_backward_hook(lambda m, gi, go: go)
    x = t.tensor([1.0], requires_grad=True)
    m.forward = lambda y: y * x
    m(t.tensor([2.0])).sum().backward()


def two_kinds(t: Any, log: list[Any]) -> None:
    m = t.nn.ReLU()
    m.register_full_backward_hook(lambda *a: None)
    m.register_backward_hook(lambda *a: None)


def two_kinds_the_other_way(t: Any, log: list[Any]) -> None:
    m = t.nn.ReLU()
    m.register_backward_hook(lambda *a: None)
    m.register_full_backward_hook(lambda *a: None)


def output_of_another_kind(t: Any, log: list[Any]) -> None:
    class Keyed(t.nn.Module):  # type: ignore[name-defined,misc]
        def forward(self, x: Any) -> Any:
            return {"y": x * 2}
    m = Keyed()
    m.register_full_backward_hook(lambda m, gi, go: log.append("called"))
    m(pair(t)[0])["y"].sum().backward()


def non_full(t: Any, log: list[Any]) -> None:
    m = t.nn.ReLU()
    m.register_backward_hook(lambda m, gi, go: log.append((gi, go)) or (gi[0] * 5,))
    x = t.tensor([1.0, -1.0], requires_grad=True)
    (m(x * 1) * 2).sum().backward()
    log.append(x.grad)


def non_full_that_misses_some(t: Any, log: list[Any]) -> None:
    m = both(t)()
    m.register_backward_hook(lambda m, gi, go: None)
    m(*pair(t))
    n = t.nn.Sequential(t.nn.ReLU(), t.nn.ReLU())
    n.register_backward_hook(lambda m, gi, go: None)
    n(pair(t)[0])
    n(pair(t, False)[0])
    m(*pair(t), 3)


def double_backward(t: Any, log: list[Any]) -> None:
    m = t.nn.Linear(2, 1, bias=False)
    with t.no_grad():
        m.weight.copy_(t.tensor([[2.0, 3.0]]))
    m.register_full_backward_hook(lambda m, gi, go: log.append((gi, go)) or (gi[0] * 2,))
    x = t.tensor([[1.0, 2.0]], requires_grad=True)
    g, = t.autograd.grad((m(x) ** 2).sum(), x, create_graph=True)
    log.append(g)
    g.sum().backward()
    log.append((x.grad, m.weight.grad))


def forward_hooks(t: Any, log: list[Any]) -> None:
    m = both(t)()
    m.register_forward_pre_hook(lambda m, args: log.append("a") or (args[0] + 1, args[1]))
    m.register_forward_pre_hook(lambda m, args, kwargs: log.append(sorted(kwargs)) or (args, {"scale": 4}), with_kwargs=True, prepend=True)
    m.register_forward_hook(lambda m, args, out: log.append(("out", args, out)) or out[0])
    handle = m.register_forward_hook(lambda m, args, kwargs, out: log.append((kwargs, out)), with_kwargs=True, prepend=True, always_call=True)
    log.append(m(*pair(t), scale=1))
    log.append(len(m._forward_hooks_with_kwargs) + len(m._forward_hooks_always_called))
    handle.remove()
    log.append(len(m._forward_hooks_with_kwargs) + len(m._forward_hooks_always_called))
    log.append(m(*pair(t)))
    m.register_forward_pre_hook(lambda m, args, kwargs: (args, kwargs, 3), with_kwargs=True)
    m(*pair(t))


def always_called(t: Any, log: list[Any]) -> None:
    class Failing(t.nn.Module):  # type: ignore[name-defined,misc]
        def forward(self, x: Any) -> Any:
            raise ValueError("no")
    m = Failing()
    m.register_forward_hook(lambda m, args, out: log.append("never"))
    m.register_forward_hook(lambda m, args, out: log.append(("always", out)), always_call=True)

    def bad(m: Any, args: Any, out: Any) -> None:
        raise RuntimeError("from a hook")
    m.register_forward_hook(bad, always_call=True)
    m(1)


def hooks_of_all(t: Any, log: list[Any]) -> None:
    module = t.nn.modules.module
    handles = [
        module.register_module_forward_pre_hook(lambda m, args: log.append(("pre", type(m).__name__)) or (args[0] + 1,)),
        module.register_module_forward_hook(lambda m, args, out: log.append(("post", type(m).__name__)) or out * 2),
        module.register_module_forward_hook(lambda m, args, kwargs, out: log.append(("kw", kwargs)), with_kwargs=True, always_call=True),
        module.register_module_full_backward_hook(lambda m, gi, go: log.append(("back", type(m).__name__, gi, go)) or (gi[0] * 3,)),
        module.register_module_full_backward_pre_hook(lambda m, go: log.append(("before", go)) or (go[0] + 1,)),
    ]
    try:
        m = t.nn.Sequential(t.nn.ReLU(), t.nn.Identity())
        m.register_forward_hook(lambda m, args, out: log.append("own"))
        m[0].register_full_backward_hook(lambda m, gi, go: log.append(("own", gi)))
        x = pair(t)[0]
        y = m(x)
        y.sum().backward()
        log.append((y, x.grad))
    finally:
        for handle in handles:
            handle.remove()
    log.append(m[1](x))


def registration_hooks(t: Any, log: list[Any]) -> None:
    module = t.nn.modules.module
    handles = [
        module.register_module_parameter_registration_hook(lambda m, name, p: log.append(("p", name)) or t.nn.Parameter(p.detach() * 2)),
        module.register_module_buffer_registration_hook(lambda m, name, b: log.append(("b", name)) or (b + 1)),
        module.register_module_module_registration_hook(lambda m, name, c: log.append(("m", name)) or t.nn.ReLU()),
    ]
    try:
        m = t.nn.Module()
        m.w = t.nn.Parameter(t.ones(1))
        m.register_parameter("v", t.nn.Parameter(t.ones(1)))
        m.register_parameter("n", None)
        m.register_buffer("b", t.ones(1))
        m.b = t.ones(1)
        m.c = t.nn.Identity()
        m.add_module("d", t.nn.Identity())
        log.append((m.w, m.v, m.b, repr(m)))
    finally:
        for handle in handles:
            handle.remove()


SCENARIOS = (full_hooks, one_output_used, some_inputs_need_none, no_input_needs_one, no_output_needs_one, wrong_number, wrong_number_before,
             wrong_result_without_inputs, two_kinds, two_kinds_the_other_way, output_of_another_kind, non_full, non_full_that_misses_some,
             double_backward, forward_hooks, always_called, hooks_of_all, registration_hooks)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.__name__)
def test_what_hooks_see_and_change_is_as_in_pytorch(scenario: Callable[..., Any]) -> None:
    ours, theirs = logged(scenario, torsh), logged(scenario, torch)
    assert ours == theirs
    assert theirs


def test_both_kinds_of_global_backward_hooks_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torsh.nn.hooks.Everywhere, "backward_is_full", None)
    ours_module.register_module_backward_hook(lambda *a: None).remove()
    with pytest.raises(RuntimeError, match="global Module hook"):
        ours_module.register_module_full_backward_hook(lambda *a: None)


def test_a_module_without_hooks_takes_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    m = torsh.nn.ReLU()
    handles = [m.register_forward_hook(lambda *a: None), m.register_full_backward_hook(lambda *a: None),
               ours_module.register_module_forward_pre_hook(lambda *a: None)]
    for handle in handles:
        handle.remove()

    def fail(*args: Any) -> Any:
        raise AssertionError("call_with_hooks was called")
    monkeypatch.setattr(torsh.nn.module, "call_with_hooks", fail)
    assert m(torsh.tensor([-1.0])).tolist() == [0.0]


class Recorder:
    """A hook that can be copied and pickled."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def __call__(self, module: Any, *args: Any) -> None:
        self.seen.append(module)


def test_hooks_of_a_copy_are_the_copys() -> None:
    m = torsh.nn.Linear(2, 2)
    hook = Recorder()
    m.register_forward_hook(hook)
    m.register_load_state_dict_pre_hook(hook)
    for other in (copy.deepcopy(m), pickle.loads(pickle.dumps(m))):
        other(torsh.ones(1, 2))
        other.load_state_dict(m.state_dict())
        seen = next(iter(other._forward_hooks.values())).seen
        assert seen == [other, other]
    assert hook.seen == []


def state_hooks(t: Any, log: list[Any]) -> None:
    m = t.nn.Sequential(t.nn.Linear(1, 1, bias=False), t.nn.Linear(1, 1, bias=False))
    with t.no_grad():
        for p in m.parameters():
            p.fill_(1.0)
    m.register_state_dict_pre_hook(lambda m, prefix, keep: log.append(("pre", prefix, keep)))
    m[0].register_state_dict_post_hook(lambda m, state, prefix, meta: log.append(("post", sorted(state), prefix, meta)) or state.update(extra=t.ones(1)))
    handle = m[1]._register_state_dict_hook(lambda m, state, prefix, meta: log.append(("private", sorted(state))))
    log.append(sorted(m.state_dict(prefix="p.", keep_vars=True)))
    handle.remove()
    m.register_load_state_dict_pre_hook(lambda m, state, prefix, meta, strict, missing, unexpected, errors:
                                        log.append((type(m).__name__, sorted(state), prefix, meta, strict)) or state.pop("extra", None))
    m[1].register_load_state_dict_post_hook(lambda m, keys: log.append((type(m).__name__, list(keys.missing_keys), list(keys.unexpected_keys)))
                                            or keys.missing_keys.clear())
    state = m.state_dict()
    del state["1.weight"]
    log.append(repr(m.load_state_dict(state)))
    state["0.weight"] = t.full((1, 1), 7.0)
    m.load_state_dict(state, assign=True)
    log.append((m[0].weight, m[0].weight.requires_grad, type(m[0].weight).__name__))
    m[1].register_load_state_dict_post_hook(lambda m, keys: keys)
    m.load_state_dict(state)


def wrong_state_hook(t: Any, log: list[Any]) -> None:
    m = t.nn.ReLU()
    m.register_state_dict_post_hook(lambda m, state, prefix, meta: state)
    m.state_dict()


def extra_state(t: Any, log: list[Any]) -> None:
    class Extra(t.nn.Module):  # type: ignore[name-defined,misc]
        n = 0

        def get_extra_state(self) -> Any:
            return {"n": self.n}

        def set_extra_state(self, state: Any) -> None:
            self.n = state["n"]
    m = t.nn.Sequential(Extra(), t.nn.Identity())
    m[0].n = 4
    state = m.state_dict()
    log.append(dict(state))
    m[0].n = 0
    log.append(repr(m.load_state_dict(state)))
    log.append(m[0].n)
    state["1._extra_state"] = 3
    del state["0._extra_state"]
    log.append(repr(m.load_state_dict(state, strict=False)))
    m.load_state_dict(state)


def positional_state(t: Any, log: list[Any]) -> None:
    given: dict[str, Any] = {}
    t.nn.BatchNorm1d(2).state_dict(given, "x.")
    log.append(sorted(given))


def lenient_shapes(t: Any, log: list[Any]) -> None:
    m = t.nn.Module()
    m.register_buffer("n", t.tensor(0.0))
    m.load_state_dict({"n": t.tensor([3.0])})
    log.append(m.n)
    m.load_state_dict({"n": t.tensor([3.0, 4.0])})


def not_a_tensor(t: Any, log: list[Any]) -> None:
    m = t.nn.Module()
    m.register_buffer("n", t.tensor(0.0))
    m.load_state_dict({"n": 3})


@pytest.mark.parametrize("scenario", [state_hooks, wrong_state_hook, extra_state, positional_state, lenient_shapes, not_a_tensor], ids=lambda s: s.__name__)
def test_state_dicts_and_their_hooks_are_pytorchs(scenario: Callable[..., Any]) -> None:
    ours, theirs = logged(scenario, torsh), logged(scenario, torch)
    text = repr(theirs).replace("torch.Size", "torsh.Size")
    assert repr(ours) == text
    assert theirs


def changes(t: Any, log: list[Any]) -> None:
    m = t.nn.Sequential(t.nn.BatchNorm1d(2), t.nn.Linear(2, 2))
    m[1].weight.grad = t.ones(2, 2)
    weight = m[1].weight
    m.double()
    log.append((weight is m[1].weight, str(weight.dtype)[-7:], str(weight.grad.dtype)[-7:], str(m[0].num_batches_tracked.dtype)[-5:]))
    for name in ("half", "bfloat16", "float"):
        getattr(m, name)()
        log.append(str(weight.dtype).split(".")[1])
    m.zero_grad(set_to_none=False)
    log.append(weight.grad)
    m.zero_grad()
    log.append(weight.grad)
    m.requires_grad_(False)
    log.append([p.requires_grad for p in m.parameters()])
    log.append([n for n in dir(m) if n in ("0", "training", "weight")] + [n for n in dir(m[1]) if n in ("weight", "bias")])
    m.to_empty(device="cpu")
    log.append([tuple(p.shape) for p in m.parameters()])
    seen: list[str] = []
    m.apply(lambda child: seen.append(type(child).__name__))
    log.append(seen)
    m.add_module("again", m[1])
    for duplicate in (True, False):
        log.append([n for n, _ in m.named_parameters(remove_duplicate=duplicate)])
        log.append([n for n, _ in m.named_modules(remove_duplicate=duplicate)])
    log.append([n for n, _ in m.named_buffers(prefix="p", recurse=False)])
    m.register_module("other", None)
    log.append(repr(m))
    m.to(t.complex64)
    log.append(str(weight.dtype).split(".")[1])


def test_changes_to_whole_modules_are_pytorchs() -> None:
    ours, theirs = logged(changes, torsh), logged(changes, torch)
    ours[-1], theirs[-1] = ours[-1][0], theirs[-1][0]  # of the warning, the kind
    assert ours == theirs


def test_the_gradient_of_a_hooked_module_is_that_of_the_plain_one(rng: np.random.Generator) -> None:
    m = torsh.nn.Sequential(torsh.nn.Linear(3, 4), torsh.nn.Tanh(), torsh.nn.Linear(4, 2)).double()
    x = torsh.tensor(rng.normal(size=(5, 3)), requires_grad=True)
    plain = torsh.autograd.grad(m(x).pow(2).sum(), [x, *m.parameters()])
    for child in m.modules():
        child.register_full_backward_hook(lambda *a: None)
    for a, b in zip(torsh.autograd.grad(m(x).pow(2).sum(), [x, *m.parameters()]), plain, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())

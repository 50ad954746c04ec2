"""torsh.compile: replay computes what the function computes, in each of the cases that capture and replay is known to get wrong."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import torsh
import torsh.nn.functional as F
from torsh import nn
from torsh.capture import GraphBreak
from torsh.compiler.execute import stats
from torsh.nn.hooks import register_module_forward_hook


def data(*shape: int, seed: int = 0) -> Any:
    return torsh.tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def counted(function: Callable[..., Any]) -> tuple[Any, list[int]]:
    runs: list[int] = []

    def f(*args: Any, **kwargs: Any) -> Any:
        runs.append(1)
        return function(*args, **kwargs)
    return torsh.compile(f), runs


def network() -> Any:
    torsh.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 4))


@pytest.mark.parametrize("optimizer", [lambda p: torsh.optim.SGD(p, 0.1, momentum=0.9), lambda p: torsh.optim.Adam(p, 1e-2)], ids=["sgd", "adam"])
def test_training_is_the_same_with_and_without(optimizer: Any) -> None:
    losses = []
    for wrap in (lambda m: m, torsh.compile):
        model = network()
        call, steps = wrap(model), optimizer(model.parameters())
        torsh.manual_seed(1)
        run = []
        for i in range(6):
            x, y = data(10, 8, seed=i), torsh.tensor(np.arange(10) % 4)
            steps.zero_grad()
            loss = F.cross_entropy(call(x), y)
            loss.backward()
            steps.step()
            run.append(loss.item())
        losses.append((run, {k: v.detach().numpy().copy() for k, v in model.state_dict().items()}))
    np.testing.assert_allclose(losses[0][0], losses[1][0], rtol=1e-5)
    for key, value in losses[0][1].items():
        np.testing.assert_allclose(losses[1][1][key], value, rtol=1e-4, atol=1e-6)
    assert int(losses[1][1]["1.num_batches_tracked"]) == 6


def test_the_function_runs_once_for_a_kind_of_call() -> None:
    f, runs = counted(lambda x, scale=1.0: (x * scale).sin())
    for seed in range(4):
        x = data(5, seed=seed)
        np.testing.assert_allclose(f(x).numpy(), np.sin(x.numpy()), rtol=1e-6)
    assert len(runs) == 1
    f(data(6))
    f(data(5), scale=2.0)
    f(data(5).double())
    assert len(runs) == 4
    np.testing.assert_allclose(f(data(5), scale=2.0).numpy(), np.sin(data(5).numpy() * 2), rtol=1e-6)
    assert len(runs) == 4


def test_a_replay_builds_no_plan_and_traces_one_node() -> None:
    model = torsh.compile(nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8)))
    with torsh.no_grad():
        model(data(3, 8)).numpy()
        stats.reset()
        out = model(data(3, 8, seed=1))
        assert out._storage.node.op.name == "compiled"
        assert all(n.buffer is not None for n in out._storage.node.srcs)
        out.numpy()
    assert stats.plans == 0


def test_results_are_kept_across_calls() -> None:
    f = torsh.compile(lambda x: x * 2)
    first = f(data(4))
    kept = first.numpy().copy()
    for seed in range(1, 4):
        f(data(4, seed=seed)).numpy()
    np.testing.assert_array_equal(first.numpy(), kept)


def test_a_result_may_be_an_argument_or_a_view_of_one() -> None:
    f = torsh.compile(lambda x: (x, x.t(), x[1:], x + 1))
    for seed in range(2):
        x = data(3, 3, seed=seed)
        same, turned, rest, fresh = f(x)
        assert same is x
        x.mul_(2)
        np.testing.assert_array_equal(turned.numpy(), x.numpy().T)
        np.testing.assert_array_equal(rest.numpy(), x.numpy()[1:])
        turned[0, 0] = 7
        assert x[0, 0].item() == 7
        fresh.add_(1)
        assert fresh.shape == (3, 3)


def test_results_that_share_memory_share_it_again() -> None:
    def f(x: Any) -> Any:
        y = x * 3
        return y, y[0], y.t()
    g = torsh.compile(f)
    for seed in range(2):
        y, row, turned = g(data(2, 3, seed=seed))
        y.zero_()
        assert not row.any()
        assert not turned.any()


def test_one_tensor_in_two_places() -> None:
    f, runs = counted(lambda a, b: a.add_(1) + b)
    for seed in range(2):
        x = data(4, seed=seed)
        before = x.numpy().copy()
        np.testing.assert_allclose(f(x, x).numpy(), (before + 1) * 2, rtol=1e-6)
        np.testing.assert_allclose(x.numpy(), before + 1, rtol=1e-6)
    x, y = data(4), data(4, seed=1)
    wanted = x.numpy() + 1 + y.numpy()
    np.testing.assert_allclose(f(x, y).numpy(), wanted, rtol=1e-6)
    assert len(runs) == 2


def test_strides_of_an_argument() -> None:
    f = torsh.compile(lambda x: (x.stride(), x.contiguous().view(-1) * 2))
    x = data(3, 4)
    for t in (x, x.t(), x[:, ::2], x.t()):
        strides, out = f(t)
        assert strides == t.stride()
        np.testing.assert_array_equal(out.numpy(), t.numpy().reshape(-1) * 2)


def test_a_view_of_a_parameter() -> None:
    weight = nn.Parameter(data(4, 4))
    f = torsh.compile(lambda x: x @ weight.t()[:, 1:3])
    plain = nn.Parameter(data(4, 4))
    for seed in range(3):
        x = data(2, 4, seed=seed)
        f(x).pow(2).sum().backward()
        (x @ plain.t()[:, 1:3]).pow(2).sum().backward()
    np.testing.assert_allclose(weight.grad.numpy(), plain.grad.numpy(), rtol=1e-5)


def test_random_numbers_advance() -> None:
    f, runs = counted(lambda x: F.dropout(x, 0.5) + torsh.rand(3) + torsh.randn(3))
    torsh.manual_seed(3)
    ours = [f(torsh.ones(3)).tolist() for _ in range(3)]
    torsh.manual_seed(3)
    wanted = [(F.dropout(torsh.ones(3), 0.5) + torsh.rand(3) + torsh.randn(3)).tolist() for _ in range(3)]
    np.testing.assert_allclose(ours, wanted, rtol=1e-6)
    assert len(runs) == 1


def test_a_cache_written_in_place() -> None:
    cache = torsh.zeros(4, 3)

    def append(x: Any, at: int) -> Any:
        cache[at] = x
        return cache[:at + 1].sum(0)
    f = torsh.compile(append)
    total = np.zeros(3, np.float32)
    for at in range(4):
        x = data(3, seed=at)
        total = total + x.numpy()
        np.testing.assert_allclose(f(x, at).numpy(), total, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(cache.numpy(), np.stack([data(3, seed=at).numpy() for at in range(4)]))


def test_modes_attributes_and_globals_are_looked_at() -> None:
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = 2.0
            self.drop = nn.Dropout(1.0)

        def forward(self, x: Any) -> Any:
            return self.drop(x) * self.factor
    model = Scale()
    f = torsh.compile(model)
    assert f(torsh.ones(1)).item() == 0
    f.eval()
    assert f(torsh.ones(1)).item() == 2
    model.factor = 3.0
    assert f(torsh.ones(1)).item() == 3
    f.train()
    assert f(torsh.ones(1)).item() == 0
    model.eval()
    assert f(torsh.ones(1)).item() == 3


def test_a_replaced_parameter_is_noticed() -> None:
    model = nn.Linear(2, 2)
    f = torsh.compile(model)
    f(torsh.ones(1, 2))
    model.weight = nn.Parameter(torsh.zeros(2, 2))
    model.bias = None
    assert f(torsh.ones(1, 2)).tolist() == [[0, 0]]


def test_closures_are_looked_at() -> None:
    factor = 2.0

    def f(x: Any) -> Any:
        return x * factor
    g = torsh.compile(f)
    assert g(torsh.ones(1)).item() == 2
    factor = 5.0
    assert g(torsh.ones(1)).item() == 5


def test_a_value_that_is_needed_breaks_the_graph() -> None:
    def f(x: Any) -> Any:
        return x * 2 if x.sum() > 0 else x * 3
    g = torsh.compile(f)
    assert g(torsh.ones(2)).tolist() == [2, 2]
    assert g(-torsh.ones(2)).tolist() == [-3, -3]
    with pytest.raises(GraphBreak, match=r"fullgraph=True.*value was needed"):
        torsh.compile(f, fullgraph=True)(torsh.ones(2))


def test_a_compiled_function_inside_another() -> None:
    inner, inner_runs = counted(lambda x: x.exp())
    outer, outer_runs = counted(lambda x: inner(x) * 2)
    for seed in range(3):
        x = data(3, seed=seed).requires_grad_()
        outer(x).sum().backward()
        np.testing.assert_allclose(x.grad.numpy(), 2 * np.exp(x.detach().numpy()), rtol=1e-5)
    assert len(outer_runs) == 1
    assert len(inner_runs) == 1


def test_an_exception_leaves_everything_as_it_was() -> None:
    model = nn.Linear(3, 2)
    calls: list[int] = []

    def f(x: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("once")
        return model(x)
    g = torsh.compile(f)
    before = model.weight.detach().numpy().copy()
    with pytest.raises(ValueError, match="once"):
        g(torsh.ones(1, 3))
    np.testing.assert_array_equal(model.weight.detach().numpy(), before)
    np.testing.assert_allclose(g(torsh.ones(1, 3)).detach().numpy(), model(torsh.ones(1, 3)).detach().numpy())
    table, index = data(4, 2), torsh.tensor([1, 9])
    pick = torsh.compile(lambda i: table[i])
    with pytest.raises(IndexError):
        pick(index).numpy()
    np.testing.assert_array_equal(pick(torsh.tensor([1, 3])).numpy(), table.numpy()[[1, 3]])


def test_gradients_to_arguments_of_both_kinds() -> None:
    f = torsh.compile(lambda a, b: (a * b).sum() + a.sum())
    for _ in range(2):
        a, b = data(3).requires_grad_(), data(3, seed=1)
        f(a * 1, b).backward()
        np.testing.assert_allclose(a.grad.numpy(), b.numpy() + 1, rtol=1e-6)


def test_a_second_derivative_is_refused_by_name() -> None:
    f = torsh.compile(lambda x: x ** 3)
    x = torsh.tensor(2.0, requires_grad=True)
    with pytest.raises(RuntimeError, match="create_graph"):
        torsh.autograd.grad(f(x), x, create_graph=True)


def test_shared_memory_outside_is_read_when_called() -> None:
    n = np.ones(3, np.float32)
    x = torsh.from_numpy(n)
    f = torsh.compile(lambda x: x + 1)
    first = f(x)
    n[:] = 5
    second = f(x)
    assert first.tolist() == [2, 2, 2]
    assert second.tolist() == [6, 6, 6]


def test_as_a_decorator_and_of_something_else() -> None:
    @torsh.compile(dynamic=True, mode="max-autotune")
    def f(x: Any) -> Any:
        """Doubles."""
        return 2 * x
    assert f(torsh.ones(1)).item() == 2
    assert f.__doc__ == "Doubles."
    with pytest.raises(TypeError, match="expected a function or a module, got int"):
        torsh.compile(3)


@pytest.mark.parametrize("everywhere", [False, True])
def test_a_hook_added_later_runs(everywhere: bool) -> None:
    model, runs = nn.Linear(2, 2), []
    f = torsh.compile(model)
    f(torsh.ones(1, 2))

    def hook(*call: Any) -> None:
        runs.append(call[0])
    handle = register_module_forward_hook(hook) if everywhere else model.register_forward_hook(hook)
    with handle:
        for _ in range(3):
            f(torsh.ones(1, 2))
    assert runs.count(model) == 3

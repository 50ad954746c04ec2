"""What timings cannot hold: how many kernels run, how many plans are built, what is compiled."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import torsh
from torsh.codegen.compile import stats as code
from torsh.compiler.plan import stats


def launches(make: Callable[[], Any]) -> int:
    out = make()
    stats.reset()
    out.numpy()
    assert stats.host_calls == 0
    return stats.launches


def data(*shape: int) -> Any:
    return torsh.tensor(np.random.default_rng(0).standard_normal(shape).astype(np.float32))


@pytest.mark.parametrize("rows", [1, 5, 300])
def test_one_kernel_for_a_chain_of_six(rows: int) -> None:
    a, b = data(rows, 33), data(rows, 33)
    assert launches(lambda: torsh.exp(torsh.sigmoid(torsh.tanh(a * b + a) * 0.5 + b) - a)) == 1


def test_one_kernel_for_a_sum_and_what_follows() -> None:
    a = data(40, 50)
    assert launches(lambda: (a * a).sum(1).sqrt() + 1) == 1
    assert launches(lambda: a - a.logsumexp(1, keepdim=True)) == 1
    assert launches(lambda: a.logsumexp(1).mean()) == 1
    assert launches(lambda: data(300, 1000).var()) == 1


def step(x: Any, w: Any, rate: float) -> float:
    loss = ((x @ w).tanh() ** 2).mean()
    loss.backward()
    with torsh.no_grad():
        w -= rate * w.grad
    w.grad = None
    return float(loss)


def test_second_step_builds_nothing() -> None:
    x, w = data(8, 20), data(20, 3).requires_grad_()
    step(x, w, 0.1)
    step(x, w, 0.1)
    stats.reset()
    code.reset()
    step(x, w, 0.1)
    step(x, w, 0.05)  # a number is an argument
    assert stats.plans == 0
    assert code.compiles == 0


def test_another_batch_size_compiles_nothing() -> None:
    w = data(20, 3).requires_grad_()
    step(data(8, 20), w, 0.1)
    step(data(8, 20), w, 0.1)
    code.reset()
    step(data(12, 20), w, 0.1)
    step(data(12, 20), w, 0.1)
    assert code.compiles == 0
    assert code.disk_hits == 0


def test_one_kernel_for_each_coarse_function() -> None:
    from torsh.nn import functional as F
    x, target, weight = data(64, 100), torsh.tensor(np.arange(64)), data(100)
    assert launches(lambda: F.softmax(x, -1)) == 1
    assert launches(lambda: F.log_softmax(x, -1)) == 1
    assert launches(lambda: F.layer_norm(x, (100,), data(100), data(100))) == 1
    assert launches(lambda: F.cross_entropy(x, target)) == 1
    assert launches(lambda: F.cross_entropy(x, target, weight=weight)) == 1
    assert launches(lambda: F.gelu(x)) == 1


def test_one_kernel_for_an_adam_update_of_twenty() -> None:
    parameters = [torsh.nn.Parameter(data(3 + i, 7)) for i in range(20)]
    optimizer = torsh.optim.Adam(parameters, 1e-3)
    for p in parameters:
        p.grad = data(*p.shape)
    optimizer.step()
    stats.reset()
    optimizer.step()
    assert stats.launches == 1
    stats.reset()
    code.reset()
    optimizer.param_groups[0]["lr"] = 0.5
    optimizer.step()
    assert (stats.plans, stats.launches, code.compiles) == (0, 1, 0)


def test_a_gradient_in_another_shape_is_not_copied() -> None:
    """A product makes [1, m, n]; its gradient is kept as [m, n] in the same memory."""
    x, w = data(8, 20), data(20, 3).requires_grad_()
    out = x @ w
    out.backward(data(8, 3))
    del out
    stats.reset()
    w.grad.numpy()
    assert stats.launches == 1


def test_arguments_that_are_equal_but_of_other_types_are_other_plans() -> None:
    from torsh.compiler.record import Record
    from torsh.compiler.trace import Trace
    from torsh.graph.node import Node, Op
    op = Op("with_argument", "coarse", None, lambda node, x: x)
    x = data(3)._node()
    (data(3) + 1).numpy()
    plan = _newest()

    def graph(arg: Any) -> list[Node]:
        return [Node(op, (x,), arg, x.shape, x.dtype)]
    for first, other in (((1, (2.0,)), (True, (2.0,))), ((1, (2.0,)), (1, (2,))), (1, True)):
        known = graph(first)
        record = Record(Trace(known), known, plan)
        assert record.match(graph(first)) is not None
        assert record.match(graph(other)) is None
        assert Trace(known).signature() != Trace(graph(other)).signature()


def test_attention_compiles_nothing_for_a_third_length() -> None:
    def run(length: int) -> None:
        q, k, v = (torsh.randn(2, 4, length, 32) for _ in range(3))
        q.requires_grad_()
        torsh.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True).sum().backward()
        q.grad.numpy()
    run(64)  # whole tiles
    run(65)
    before = code.compiles + code.disk_hits
    for length in (40, 72, 96, 101):
        run(length)
    assert code.compiles + code.disk_hits == before


def test_layers_compile_nothing_for_a_third_length() -> None:
    """Which way a product takes depends on its sizes; the code of both is there after two of them."""
    layer = torsh.nn.Sequential(torsh.nn.Linear(256, 256), torsh.nn.GELU(), torsh.nn.Linear(256, 768))

    def run(length: int) -> None:
        with torsh.no_grad():
            layer(torsh.randn(length, 256)).numpy()
    run(64)
    run(65)
    before = code.compiles + code.disk_hits
    for length in (66, 80, 96, 97, 113, 127, 129, 200):
        run(length)
    assert code.compiles + code.disk_hits == before


def _newest() -> Any:
    from torsh.compiler import realize
    return list(realize._plans.values())[-1].plan


def test_a_backward_pass_uses_what_the_forward_has_computed_from_a_number() -> None:
    x = torsh.randn(8, 24, requires_grad=True)
    torsh.nn.functional.layer_norm(x, (24,)).square().sum().backward()
    x.grad.numpy()
    assert [n.op.name for g in _newest().schedule.steps for n in g.nodes].count("rsqrt") == 1


def test_a_number_used_twice_is_another_graph_than_two_numbers() -> None:
    from torsh.core.dtypes import float32
    from torsh.graph.node import Node
    from torsh.graph.primitives import ADD, MUL, const
    from torsh.tensor.tensor import wrap
    x = torsh.arange(3, dtype=torsh.float32) + 0
    x.numpy()

    def made(a: Any, b: Any) -> list[float]:
        product = Node(MUL, (x._node(), a), None, (3,), float32)
        return wrap(Node(ADD, (product, b), None, (3,), float32)).tolist()
    two, three = const(2.0, float32), const(3.0, float32)
    assert made(two, two) == [2, 4, 6]
    assert made(const(2.0, float32), three) == [3, 5, 7]
    assert made(three, const(1.0, float32)) == [1, 4, 7]
    assert made(const(5.0, float32), const(5.0, float32)) == [5, 10, 15]
    again = const(4.0, float32)
    assert made(again, again) == [4, 8, 12]


def test_transformed_weights_are_made_when_they_are_needed() -> None:
    layers = torsh.nn.Sequential(*[torsh.nn.Conv2d(64, 64, 3, padding=1, bias=False) for _ in range(6)])
    x = torsh.randn(2, 64, 16, 16)
    layers(x).square().sum().backward()
    for p in layers.parameters():
        p.grad.numpy()
    transformed = [i for i, g in enumerate(_newest().schedule.steps) if g.nodes[0].op.name == "winograd_weights"]
    assert len(transformed) >= 6
    assert len({g.number for g in _newest().schedule.steps if g.nodes[0].op.name == "winograd_weights"}) == len(transformed)

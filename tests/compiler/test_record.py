"""A record matches exactly the graphs whose signature is that of the graph it was made from."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import torsh
from torsh.compiler.execute import Executable
from torsh.compiler.record import Record
from torsh.compiler.trace import Trace
from torsh.graph.node import Node
from torsh.graph.primitives import CONST


class _Plan:
    """What a record keeps of one."""
    program = Executable([], [], [], 0, [], 0, [], [], [], 0, False, [])
    prepared: list[Any] = []


def _node(t: torsh.Tensor) -> Node:
    return t._node()


X, Y, Z = (torsh.tensor(np.arange(6, dtype=np.float32).reshape(2, 3) + i) for i in range(3))
KEPT: list[Any] = []


def _kept(t: torsh.Tensor) -> torsh.Tensor:
    KEPT.append(t)
    return t


def _two_wanted(first: bool) -> list[Node]:
    y = X.exp()
    z = y.sin()
    return [_node(y), _node(z)] if first else [_node(z), _node(y)]


def _shared_number(shared: bool) -> list[Node]:
    made = _node(X + Y)
    one, two = Node(CONST, (), 2.0, (), made.dtype), Node(CONST, (), 2.0, (), made.dtype)
    left = Node(made.op, (made, one), None, made.shape, made.dtype)
    return [Node(made.op, (left, one if shared else two), None, made.shape, made.dtype)]


def _realized_between(realized: bool) -> list[Node]:
    y = X.exp()
    if realized:
        y.numpy()
    return [_node(y.sin() + y)]


def _unflattened(parts: int) -> list[Node]:
    a, b = torsh.var_mean(X, 0)
    return [_node(a), _node(b)] if parts == 2 else [_node(a)]


GRAPHS: dict[str, Callable[[], list[Node]]] = {
    "add": lambda: [_node(X + Y)], "add other leaves": lambda: [_node(Y + Z)], "add one leaf twice": lambda: [_node(X + X)],
    "add a number": lambda: [_node(X + 1.5)], "add another number": lambda: [_node(X + 2.5)], "add an integer": lambda: [_node(X + 2)],
    "numbers shared": lambda: _shared_number(True), "numbers apart": lambda: _shared_number(False),
    "subtract": lambda: [_node(X - Y)], "other shape": lambda: [_node(X[:1] + Y[:1])], "other type": lambda: [_node(X.double() + Y.double())],
    "nested": lambda: [_node((X + Y) * Z)], "nested, one leaf thrice": lambda: [_node((X + X) * X)],
    "twice the same sum": lambda: [_node((X + Y) * (X + Y))], "one sum twice": lambda: [(lambda s: _node(s * s))(X + Y)],
    "inner kept": lambda: [_node(_kept(X + Y) * Z)], "inner and outer wanted": lambda: (lambda s: [_node(s), _node(s * Z)])(X + Y),
    "first, second": lambda: _two_wanted(True), "second, first": lambda: _two_wanted(False),
    "leaf between": lambda: _realized_between(True), "no leaf between": lambda: _realized_between(False),
    "sum 0": lambda: [_node(X.sum(0))], "sum 1": lambda: [_node(X.sum(1))], "sum 1 kept": lambda: [_node(X.sum(1, keepdim=True))],
    "both of two": lambda: _unflattened(2), "one of two": lambda: _unflattened(1),
    "a dead leaf": lambda: [_node(X.clone() + torsh.tensor([1.0, 2.0, 3.0]))],
}


@pytest.mark.parametrize("first", GRAPHS)
def test_matches_are_those_of_the_signature(first: str) -> None:
    KEPT.clear()
    known = GRAPHS[first]()
    trace = Trace(known)
    record = Record(trace, known, _Plan())
    places = {id(n): i for i, n in enumerate(trace.order)}
    asked = [places[id(n)] for n in known]
    for _ in range(2):
        for other in GRAPHS.values():
            wanted = other()
            found = record.match(wanted)
            parts = None if found is None else [[id(n) for n in nodes] for nodes in (found.order, found.leaves, found.numbers)]
            del found  # (it refers to the nodes)
            again = Trace(wanted)
            places = {id(n): i for i, n in enumerate(again.order)}
            same = again.signature() == trace.signature() and [places[id(n)] for n in wanted] == asked
            assert parts == ([[id(n) for n in nodes] for nodes in (again.order, again.leaves, again.numbers)] if same else None)


def test_a_loop_traces_its_graph_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from torsh.compiler import realize
    realize._recent.clear()
    with torsh.profiler.profile() as prof:
        x = torsh.ones(3, 5)
        for _ in range(4):
            x = (x.cosh() * 0.125).sum(0, keepdim=True) + x
            x.numpy()
    events = [e.name.split()[0] for e in prof.events() if e.category == "trace"]
    assert events.count("order") == 2  # the first reads what `ones` makes, without memory
    assert events.count("recognize") == 2

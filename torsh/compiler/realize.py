"""Realizing: giving nodes their numbers. A graph's signature finds the plan that computes it, or one is built.

The signature is the graph without its values: leaves by shape and dtype and by which of them are the same, numbers
left open. What live tensors refer to inside the graph is computed along with what was asked for.
"""
from __future__ import annotations

import sys
import weakref
from typing import TYPE_CHECKING, Any

from torsh.core import config
from torsh.graph.node import Node
from torsh.graph.primitives import CONST, EMPTY, IOTA, LEAF, VIEW
from torsh.runtime import reference

if TYPE_CHECKING:
    from torsh.compiler.plan import Plan

_plans: dict[Any, Plan] = {}
_MOST_PLANS = 1024
_UNSTORED = frozenset((CONST, EMPTY, IOTA))


def _count(order: list[Node], i: int) -> int:
    return sys.getrefcount(order[i])


_ALONE = _count([Node(CONST, (), 0, (), None)], 0)  # type: ignore[arg-type]


_companions: list[Any] = []


def accompany(storage: Any) -> None:
    """Compute this storage's value along with whatever is realized next: a loss is wanted when its gradients are, though they do not
    need it. Holds the storage weakly."""
    _companions.append(weakref.ref(storage))


class Graph:
    """A graph about to be realized: nodes in order (sources first), leaves, numbers, and which nodes to keep."""
    __slots__ = ("order", "leaves", "numbers", "roots", "signature")

    def __init__(self, wanted: list[Node]) -> None:
        order: list[Node] = []
        leaves: list[Node] = []
        position: dict[int, int] = {}
        uses: dict[int, int] = {}
        stack: list[Any] = [(r, False) for r in reversed(wanted)]
        while stack:
            node, ready = stack.pop()
            key = id(node)
            if ready:
                if key not in position:
                    position[key] = len(order)
                    order.append(node)
            elif key not in position:
                if node.buffer is not None:
                    position[key] = -len(leaves) - 1
                    leaves.append(node)
                elif node.op is not CONST:
                    if key in uses:
                        continue  # its sources are on the stack already
                    uses[key] = 0
                    stack.append((node, True))
                    for s in reversed(node.srcs):
                        stack.append((s, False))
        node = None
        numbers: list[Node] = []
        parts: list[Any] = []
        for node in order:
            srcs = node.srcs
            refs: list[Any] = []
            for s in srcs:
                if s.op is CONST and s.buffer is None:
                    refs.append(s.dtype.name)
                    numbers.append(s)
                else:
                    key = id(s)
                    refs.append(position[key])
                    if key in uses:
                        uses[key] += 1
            arg = node.arg
            outputs = node.outputs and tuple((o[0], o[1].name) for o in node.outputs)
            parts.append((node.op.number, tuple(refs), type(arg), arg, node.shape, node.dtype.name, outputs))
        srcs = s = node = None
        asked: dict[int, int] = {}
        for r in wanted:
            asked[id(r)] = asked.get(id(r), 0) + 1
        r = None
        roots: list[int] = []
        for i in range(len(order)):
            op = order[i].op
            key = id(order[i])
            if key in asked:
                roots.append(i)
            elif op not in _UNSTORED and order[i].outputs is None and not (op is VIEW and order[i].srcs[0].op in _UNSTORED) \
                    and _count(order, i) - _ALONE > uses[key]:
                roots.append(i)
        self.order, self.leaves, self.numbers, self.roots = order, leaves, numbers, roots
        self.signature = (tuple(parts), tuple((n.shape, n.dtype.name) for n in leaves), tuple(roots))


def _as_number(node: Node) -> float | int | complex:
    """A constant's value as an argument slot takes it: a float for floating types, an int for integers and bools. Complex numbers
    are read by host steps only."""
    category = node.dtype.category
    return float(node.arg) if category == 2 else complex(node.arg) if category == 3 else int(node.arg)


def _build(graph: Graph) -> Plan:
    from torsh.compiler.canonical import INPUT, SCALAR, Canonical  # the compiler is loaded when something is first computed
    from torsh.compiler.plan import Plan
    canonical = Canonical()
    inputs = []
    for leaf in graph.leaves:
        made = Node(INPUT, (), len(inputs), leaf.shape, leaf.dtype)
        inputs.append(made)
        canonical.bind(leaf, made)
    copies: dict[int, Node] = {}
    numbers: list[Node] = []
    for node in graph.order:  # numbers are open by use, so each use gets a placeholder of its own
        srcs = []
        for s in node.srcs:
            if s.op is CONST and s.buffer is None:
                placeholder = Node(SCALAR, (), ("number", len(numbers)), (), s.dtype)
                numbers.append(placeholder)
                srcs.append(placeholder)
            else:
                srcs.append(copies.get(id(s), s))
        copy = Node(node.op, tuple(srcs), node.arg, node.shape, node.dtype)
        copy.outputs = node.outputs
        copies[id(node)] = copy
    for placeholder in numbers:
        canonical.bind(placeholder, placeholder)
    roots = [canonical.convert(copies[id(graph.order[i])]) for i in graph.roots]
    return Plan(roots, inputs, numbers)


def realize(nodes: list[Node]) -> None:
    """Compute every node of the list that has no buffer yet.

    Raises IndexError when a data-dependent index was out of range, and whatever a host library raises.
    """
    todo = [n for n in nodes if n.buffer is None]
    del nodes
    if not todo:
        return
    constants = [n for n in todo if n.op is CONST]
    if constants or config.RUNTIME == "reference":
        reference.evaluate(todo if config.RUNTIME == "reference" else constants)
        _forget(todo if config.RUNTIME == "reference" else constants)
        todo = [n for n in todo if n.buffer is None]
        if not todo:
            return
    if _companions:
        for found in [c() for c in _companions]:
            if found is not None and found.node.buffer is None and found.node.op is not CONST and all(found.node is not n for n in todo):
                todo.append(found.node)
        found = None
        _companions.clear()
    graph = Graph(todo)
    plan = _plans.get(graph.signature)
    if plan is None:
        if len(_plans) >= _MOST_PLANS:
            del _plans[next(iter(_plans))]
        plan = _plans[graph.signature] = _build(graph)
    if config.RUNTIME == "null":
        return
    buffers = plan.run([n.buffer for n in graph.leaves], [_as_number(n) for n in graph.numbers])
    done = [graph.order[i] for i in graph.roots]
    for node, buffer in zip(done, buffers, strict=True):
        node.buffer = buffer
    _forget(done)


def _forget(nodes: list[Node]) -> None:
    """Realized nodes no longer need their sources."""
    for node in nodes:
        node.op, node.srcs, node.arg = LEAF, (), None

"""Records: graphs that were realized before, and the plans that compute them.

What was realized most recently is what comes next in a loop. So a graph about to be realized is compared with a record while it is walked, from what is
wanted down to the leaves, by identity where it can be: a step that is known is never traced.
"""
from __future__ import annotations

from typing import Any, Final, final

from torsh.compiler.execute import Executable
from torsh.compiler.trace import Trace, clock, others_hold, storable
from torsh.core.dtypes import float32
from torsh.core.native import i64
from torsh.graph.node import Node, Op
from torsh.graph.primitives import CONST, LEAF

_NODE: Final[i64] = 0  # what a source is, in the two lowest bits of its code
_LEAF: Final[i64] = 1
_NUMBER: Final[i64] = 2
_ABSENT: Final = Node(LEAF, (), None, (), float32)  # stands where a node is not known yet


def _same(a: Any, b: Any) -> bool:
    """Whether two arguments are equal and of equal types throughout."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if type(a) is tuple:
        x: tuple[Any, ...] = a
        y: tuple[Any, ...] = b
        if len(x) != len(y):
            return False
        for i in range(len(x)):
            if not _same(x[i], y[i]):
                return False
        return True
    return bool(a == b)


@final
class _Step:
    """What a node of the graph was."""
    __slots__ = ("op", "arg", "shape", "dtype", "outputs")

    op: Op
    arg: Any
    shape: Any
    dtype: Any
    outputs: Any

    def __init__(self, node: Node) -> None:
        self.op = node.op
        self.arg = node.arg
        self.shape = node.shape
        self.dtype = node.dtype
        self.outputs = node.outputs

    def fits(self, node: Node) -> bool:
        if node.op is not self.op or node.dtype is not self.dtype or node.buffer is not None:
            return False
        if node.shape is not self.shape and node.shape != self.shape:
            return False
        if node.arg is not self.arg and not _same(node.arg, self.arg):
            return False
        return node.outputs is self.outputs or bool(node.outputs == self.outputs)


@final
class Found:
    """A graph's nodes, leaves and numbers, in the order of the trace that its record was made from."""
    __slots__ = ("order", "leaves", "numbers")

    order: list[Node]
    leaves: list[Node]
    numbers: list[Node]

    def __init__(self, order: list[Node], leaves: list[Node], numbers: list[Node]) -> None:
        self.order = order
        self.leaves = leaves
        self.numbers = numbers


@final
class Record:
    """A graph seen before, and the plan that computes it: what runs, and which inputs are prepared before."""
    __slots__ = ("plan", "program", "prepared", "roots", "_steps", "_sources", "_leaves", "_ranks", "_wanted", "_uses", "_held", "_leaf_uses", "_dead",
                 "_no_order", "_no_leaves", "_no_numbers")

    plan: Any
    program: Executable
    prepared: list[Any]
    roots: list[int]  # positions of the nodes that the plan computes for others to read
    _steps: list[_Step]
    _sources: list[i64]  # for each node, last first: how many sources it has, and a code for each, 4 * position + kind
    _leaves: list[tuple[Any, Any]]
    _ranks: list[int]  # of the numbers' types
    _wanted: list[int]  # positions of the nodes asked for
    _uses: list[i64]  # for each node, the references to it from the graph, or -1 where it does not matter who else refers to it
    _held: list[bool]  # and whether somebody did
    _leaf_uses: list[i64]
    _dead: list[bool]
    _no_order: list[Node]
    _no_leaves: list[Node]
    _no_numbers: list[Node]

    def __init__(self, trace: Trace, wanted: list[Node], plan: Any) -> None:
        self.plan, self.program, self.prepared = plan, plan.program, plan.prepared
        order, leaves, numbers = trace.order, trace.leaves, trace.numbers
        self.roots, self._dead = trace.roots, trace.dead
        self._steps = [_Step(n) for n in order]
        self._leaves = [(n.shape, n.dtype) for n in leaves]
        self._ranks = [n.dtype.rank for n in numbers]
        places: dict[int, int] = {id(n): 4 * i + _NODE for i, n in enumerate(order)}
        places.update({id(n): 4 * i + _LEAF for i, n in enumerate(leaves)})
        places.update({id(n): 4 * i + _NUMBER for i, n in enumerate(numbers)})
        self._wanted = [places[id(n)] // 4 for n in wanted]
        self._sources = []
        counts: dict[int, int] = dict.fromkeys(places.values(), 0)
        for i in range(len(order) - 1, -1, -1):
            self._sources.append(len(order[i].srcs))
            for s in order[i].srcs:
                code = places[id(s)]
                self._sources.append(code)
                counts[code] += 1
        self._held, self._uses = trace.held, []
        reread, asked = False, set(self._wanted)
        for i, n in enumerate(order):
            looked = i not in asked and (n.outputs is not None or storable(n))
            self._uses.append(counts[4 * i + _NODE] if looked else -1)
            reread = reread or (looked and trace.held[i] and n.outputs is not None)
        self._leaf_uses = [-1 if reread else counts[4 * i + _LEAF] for i in range(len(leaves))]
        self._no_order, self._no_leaves, self._no_numbers = [_ABSENT] * len(order), [_ABSENT] * len(leaves), [_ABSENT] * len(numbers)

    def match(self, wanted: list[Node]) -> Found | None:
        """The graph's parts, if the plan computes it."""
        if len(wanted) != len(self._wanted):
            return None
        found = Found(self._no_order[:], self._no_leaves[:], self._no_numbers[:])
        return found if self._walk(wanted, found) and self._owned(found) else None

    def _walk(self, wanted: list[Node], found: Found) -> bool:
        """Whether the structure is the record's; fills what is found."""
        base = clock.now
        clock.now = base + 1
        order, leaves, numbers = found.order, found.leaves, found.numbers
        for node, place in zip(wanted, self._wanted):
            if order[place] is not node:
                if node.mark == base or order[place] is not _ABSENT:
                    return False
                node.mark = base
                order[place] = node
        steps, sources = self._steps, self._sources
        at: i64 = 0
        for i in range(len(steps) - 1, -1, -1):
            node = order[i]
            if not steps[i].fits(node) or len(node.srcs) != sources[at]:
                return False
            for s in node.srcs:
                at += 1
                code = sources[at]
                kind, place = code & 3, code >> 2
                known = order[place] if kind == _NODE else leaves[place] if kind == _LEAF else numbers[place]
                if known is s:
                    continue
                if known is not _ABSENT or s.mark == base:  # two that were one, or one that was two
                    return False
                s.mark = base
                if kind == _NODE:
                    order[place] = s
                elif kind == _LEAF:
                    if s.buffer is None:
                        return False
                    shape, dt = self._leaves[place]
                    if s.dtype is not dt or s.shape != shape:
                        return False
                    leaves[place] = s
                elif s.op is not CONST or s.buffer is not None or s.dtype.rank != self._ranks[place]:
                    return False
                else:
                    numbers[place] = s
            at += 1
        return True

    def _owned(self, found: Found) -> bool:
        """Whether others refer to what they referred to then."""
        order, leaves = found.order, found.leaves
        for i in range(len(order)):
            uses = self._uses[i]
            if uses >= 0 and others_hold(order, i, uses) is not self._held[i]:
                return False
        for i in range(len(leaves)):
            uses = self._leaf_uses[i]
            if uses >= 0 and others_hold(leaves, i, uses) is self._dead[i]:
                return False
        return True

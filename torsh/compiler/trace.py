"""What was traced, made ready to be looked up: nodes in order, leaves, numbers, and which nodes somebody still wants.

A graph's identity is its structure without values: leaves by shape and dtype and by which of them are the same, numbers left open. A loop's graphs are
recognized without a trace (`compiler.record`); one that is not is traced and looked up by a hashable `signature`.
"""
from __future__ import annotations

import sys
from typing import Any, Final, final

from torsh.core.native import i64
from torsh.graph.node import Node
from torsh.graph.primitives import CONST, EMPTY, IOTA, VIEW

_AGAIN: Final[i64] = -(1 << 32)  # below it, a number that was used before
_UNSTORED: Final = (CONST, EMPTY, IOTA)
_references: Final = sys.getrefcount


@final
class Clock:
    """Marks of a traversal are above those of all traversals before it, so nothing needs to be erased."""
    now: i64

    def __init__(self) -> None:
        self.now = 1


clock: Final = Clock()


def _count(nodes: list[Node], i: int) -> int:
    """References to an element, counting the list's."""
    return _references(nodes[i])


def _alone() -> int:
    return _count([Node(CONST, (), 0, (), None)], 0)  # type: ignore[arg-type]


#: What `_count` gives for a node that only the list holds; measured, since a compiled core may borrow references.
ALONE: Final = _alone()


def others_hold(nodes: list[Node], i: int, inside: int) -> bool:
    """Whether anything refers to an element but the list and `inside` known references."""
    return _count(nodes, i) - ALONE > inside


@final
class Trace:
    """A graph about to be realized.

    order: nodes without numbers, sources first
    leaves: nodes with numbers that they read
    numbers: the constants they use, in order of first use
    refs: for each node, how many sources it has, then these: twice a position in order, one more than twice a position in leaves (so that most
        are integers which Python keeps), or below 0 a constant's type where it is used first, and after that which one it is: what two operations
        share is one number in a plan, too
    roots: positions of the nodes to keep: those asked for, and those that something outside the graph refers to
    held: for each node, whether it was asked for or something outside the graph refers to it
    dead: for each leaf, whether nothing outside the graph refers to it, so that its memory may be taken over
    """
    __slots__ = ("order", "leaves", "numbers", "refs", "roots", "held", "dead")

    order: list[Node]
    leaves: list[Node]
    numbers: list[Node]
    refs: list[i64]
    roots: list[int]
    held: list[bool]
    dead: list[bool]

    def __init__(self, wanted: list[Node]) -> None:
        self.order = []
        self.leaves = []
        self.numbers = []
        self.refs = []
        self.roots = []
        self.held = []
        self.dead = []
        self._visit(wanted)
        self._keep(wanted)

    def _visit(self, wanted: list[Node]) -> None:
        base = clock.now
        order, leaves, numbers, refs = self.order, self.leaves, self.numbers, self.refs
        count: i64 = 0
        stack: list[Node] = list(wanted)
        stack.reverse()
        while stack:
            node = stack.pop()
            if node.mark > base:
                continue
            if node.mark == base:  # its sources have their places
                srcs = node.srcs
                refs.append(len(srcs))
                for s in srcs:
                    if s.op is CONST and s.buffer is None:
                        if s.mark > base:
                            refs.append(_AGAIN - (s.mark - base))
                        else:
                            numbers.append(s)
                            refs.append(-1 - s.dtype.rank)
                            s.mark = base + len(numbers)
                    else:
                        s.uses += 1
                        refs.append(s.mark - base - 1)
                order.append(node)
                node.mark = base + 1 + 2 * count
                count += 1
            elif node.buffer is not None:
                node.uses = 0
                node.mark = base + 2 + 2 * len(leaves)
                leaves.append(node)
            else:
                node.mark = base
                node.uses = 0
                stack.append(node)
                srcs = node.srcs
                for k in range(len(srcs) - 1, -1, -1):
                    s = srcs[k]
                    if s.mark < base and not (s.op is CONST and s.buffer is None):
                        stack.append(s)
        clock.now = base + 2 + 2 * (count + len(leaves) + len(numbers))

    def _keep(self, wanted: list[Node]) -> None:
        order = self.order
        for node in wanted:
            node.uses = -1
        roots, held, dead, leaves = self.roots, self.held, self.dead, self.leaves
        reread = False  # whether a node that is not kept may be computed again later, from the same leaves
        for i in range(len(order)):
            uses = order[i].uses
            known = uses < 0 or others_hold(order, i, uses)
            held.append(known)
            if known:
                if uses >= 0 and order[i].outputs is not None:
                    reread = True
                elif uses < 0 or storable(order[i]):
                    roots.append(i)
        for i in range(len(leaves)):
            dead.append(not reread and not others_hold(leaves, i, leaves[i].uses))

    def signature(self) -> tuple[Any, ...]:
        """The graph's identity, hashable."""
        parts = [(n.op.number, _types(n.arg), n.arg, n.shape, n.dtype.name, n.outputs) for n in self.order]
        return tuple(parts), tuple(self.refs), tuple([(n.shape, n.dtype.name) for n in self.leaves]), tuple(self.roots), tuple(self.dead)


def _types(arg: Any) -> Any:
    """The types in an argument: 1, 1.0 and True are equal and are not the same."""
    return tuple([_types(a) for a in arg]) if type(arg) is tuple else type(arg)


def storable(node: Node) -> bool:
    """Whether a value is worth keeping because somebody might read it later; generated values are made again instead."""
    return node.op not in _UNSTORED and not (node.op is VIEW and node.srcs[0].op in _UNSTORED)

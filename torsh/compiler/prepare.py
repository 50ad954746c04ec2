"""Values that a plan makes from one input alone and that are worth keeping, such as transformed weights of a network that only predicts.

They hang on the realized node that they were made from. A node is a value: whoever writes to a tensor gives it another node, so nothing that is kept is
ever out of date, and it goes when the memory goes. Only where arrays outside may have changed the memory is it dropped (`Storage.export`).
"""
from __future__ import annotations

from typing import Any

from torsh.compiler.canonical import INPUT
from torsh.compiler.plan import Plan
from torsh.graph.node import Node
from torsh.graph.primitives import LEAF, VIEW, WINOGRAD_WEIGHTS


class Prepared:
    """One such value: `of(leaf)` is its realized node. `number` says which of the plan's leaves it is made from."""
    __slots__ = ("number", "_key", "_program", "_shape", "_dtype")

    def __init__(self, number: int, source: Node, node: Node) -> None:
        self.number = number
        geometry = []
        through = node.srcs[0]
        while through is not source:
            geometry.append(through.arg)
            through = through.srcs[0]
        self._key = (node.op.name, node.arg, tuple(geometry))
        self._shape, self._dtype = node.shape, node.dtype
        self._program = Plan([Node(node.op, node.srcs, node.arg, node.shape, node.dtype)], [source], [], [False]).program

    def of(self, leaf: Node) -> Node:
        known: dict[Any, Node] | None = leaf.derived
        found = None if known is None else known.get(self._key)
        if found is None:
            found = Node(LEAF, (), None, self._shape, self._dtype)
            found.buffer = self._program.run([leaf], [])[0]
            leaf.derived = {**(known or {}), self._key: found}
        return found


def take(roots: list[Node], inputs: list[Node], dead: list[bool]) -> list[Prepared]:
    """Make inputs of the values to be kept, which are computed from inputs that live on: appended to `inputs` and `dead`."""
    taken: list[Prepared] = []
    numbers = {id(n): i for i, n in enumerate(inputs)}
    stack, seen = list(roots), set()
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if node.op is WINOGRAD_WEIGHTS and node.arg[1]:
            source = node.srcs[0]
            while source.op is VIEW:
                source = source.srcs[0]
            number = numbers.get(id(source), -1)
            if number >= 0 and not dead[number]:
                taken.append(Prepared(number, source, node))
                node.op, node.srcs, node.arg = INPUT, (), len(inputs)
                inputs.append(node)
                dead.append(False)
                continue
        stack.extend(node.srcs)
    return taken

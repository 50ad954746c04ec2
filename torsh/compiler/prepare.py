"""Values that a plan makes from one input alone and that are worth keeping, such as transformed weights of a network that only predicts.

They hang on the realized node that they were made from. A node is a value: whoever writes to a tensor gives it another node, so nothing that is kept is
ever out of date, and it goes when the memory goes. Only where arrays outside may have changed the memory is it dropped (`Storage.export`).
"""
from __future__ import annotations

from typing import Any

from torsh.compiler.canonical import INPUT
from torsh.compiler.plan import Plan
from torsh.core.dtypes import uint8
from torsh.graph.node import Node
from torsh.graph.primitives import CONTRACT, INT8_PACK, LEAF, VIEW, WINOGRAD_WEIGHTS


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
    packings: dict[tuple[int, str], Node] = {}
    kept: list[Node] = []
    stack, seen = list(roots), set()
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if node.op is CONTRACT and node.arg == "kept" and node.srcs[0].dtype.category == 1 and node.numel:
            from torsh.codegen.gemm_int8 import bytes_packed
            from torsh.codegen.target import host
            packed = packings.get((id(node.srcs[1]), node.srcs[0].dtype.name))
            if packed is None:
                batch, k, n = node.srcs[1].shape
                signed = node.srcs[0].dtype.name == "int8"
                packed = Node(INT8_PACK, (node.srcs[1],), signed, (bytes_packed(host(), batch, n, k, signed),), uint8)
            if _keep(packed, numbers, inputs, dead, taken):
                packings[id(node.srcs[1]), node.srcs[0].dtype.name] = packed
                kept.append(node.srcs[1])  # so that its id stays its own
                node.srcs, node.arg = (node.srcs[0], packed), "packed"
        elif node.op is WINOGRAD_WEIGHTS and node.arg[1] and _keep(node, numbers, inputs, dead, taken):
            continue
        stack.extend(node.srcs)
    return taken


def _keep(node: Node, numbers: dict[int, int], inputs: list[Node], dead: list[bool], taken: list[Prepared]) -> bool:
    """Make an input of a node whose one source is a view of an input that lives on, if it is; one that is an input already stays so."""
    if node.op is INPUT:
        return True
    source = node.srcs[0]
    while source.op is VIEW:
        source = source.srcs[0]
    number = numbers.get(id(source), -1)
    if number < 0 or dead[number]:
        return False
    taken.append(Prepared(number, source, node))
    node.op, node.srcs, node.arg = INPUT, (), len(inputs)
    inputs.append(node)
    dead.append(False)
    return True

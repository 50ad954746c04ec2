"""Groups that are the same but for the values they work on, such as the layers of a model, are lowered once in a plan."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torsh.codegen.cache import digest
from torsh.codegen.text import text
from torsh.compiler import whole
from torsh.compiler.lower import lower
from torsh.compiler.nest import Arguments, Lowered
from torsh.compiler.schedule import Group, Schedule
from torsh.graph.node import Node


class Alike:
    """The kernels of a plan's groups: `lowered(group)` gives the kernel with its arguments, and the key of its code."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self._known: dict[Any, tuple[Lowered, str, list[Node]]] = {}

    def lowered(self, group: Group) -> tuple[Lowered, str]:
        if group.kind == "coarse":
            node = group.nodes[0]
            return self._found(*self._whole(node), lambda: whole.lower(self.schedule, node))
        if any(node.op.kind == "gather" for node in group.nodes):  # what is known of indices is not told by the group
            made = lower(self.schedule, group)
            return made, code_key(made)
        return self._found(*self._loops(group), lambda: lower(self.schedule, group))

    def _found(self, signature: Any, nodes: list[Node], make: Callable[[], Lowered]) -> tuple[Lowered, str]:
        """`nodes` are those that arguments may name, in an order that the signature determines."""
        known = self._known.get(signature)
        if known is None:
            made = make()
            self._known[signature] = made, code_key(made), nodes
            return made, self._known[signature][1]
        first, key, before = known
        if all(a is b for a, b in zip(before, nodes, strict=True)):
            return first, key
        names = {id(a): b for a, b in zip(before, nodes, strict=True)}
        args = Arguments()
        args.buffers, args.nodes = first.args.buffers, [names[id(n)] for n in first.args.nodes]
        for entry in first.args.slots:
            if entry[0] == "buffer":
                entry = ("buffer", id(names[entry[1]]), entry[2])
            elif entry[0] == "scalar":
                entry = ("scalar", names[id(entry[1])])
            args.slots.append(entry)
        return Lowered(first.kernel, args, first.work, first.serial, first.scratch, first.checks), key

    def _loops(self, group: Group) -> tuple[Any, list[Node]]:
        schedule, levels, stored = self.schedule, group.levels, self.schedule.stored
        nodes = list(group.nodes)
        number = {id(n): i for i, n in enumerate(nodes)}
        parts: list[Any] = [group.domain, group.folds]
        for node in group.nodes:
            parts += (node.op, node.arg, node.shape, node.dtype, levels[id(node)], id(node) in stored)
            for base, geometry in [schedule.copied[id(node)]] if node.op.kind == "view" else [schedule.source(s) for s in node.srcs]:
                at = number.get(id(base))
                if at is None:
                    at = number[id(base)] = len(nodes)
                    nodes.append(base)
                parts += (at, geometry)
            parts += [s.shape for s in node.srcs]
        for base in nodes[len(group.nodes):]:
            parts += (base.op.kind, base.dtype, base.shape)
        return tuple(parts), nodes

    def _whole(self, node: Node) -> tuple[Any, list[Node]]:
        made = self.schedule.several[id(node)]
        nodes, number = list(made), {id(n): i for i, n in enumerate(made)}
        parts: list[Any] = [node.op, node.arg, node.outputs, tuple([item.arg for item in made])]
        for s, base in zip(node.srcs, whole.sources(self.schedule, node), strict=True):
            at = number.get(id(base))
            if at is None:
                at = number[id(base)] = len(nodes)
                nodes.append(base)
            parts += (at, base is s, base.op.kind, base.dtype, base.shape, s.shape, s.dtype, self.schedule.source(s)[1])
        return tuple(parts), nodes


def code_key(lowered: Lowered) -> str:
    """The key of a kernel's code: of kernels of the same structure the same."""
    return "k" + digest(text(lowered.kernel))

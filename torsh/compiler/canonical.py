"""From the traced graph to the graph that is scheduled: coarse nodes expanded, equal nodes made one, values left open.

Leaves and traced numbers become placeholders, so that what is built from here on serves every run of the plan.
"""
from __future__ import annotations

from typing import Any

from torsh.compiler.whole import fits
from torsh.core.dtypes import bool_, int8, int32, uint8
from torsh.core.shapes import contiguous_strides
from torsh.graph import primitives as p
from torsh.graph.node import ITEM, Node, Op
from torsh.graph.primitives import CAST, CONTRACT, LEAF, VIEW

#: A number that is given when the plan runs (`arg` is its place in the run's list), and a leaf (likewise).
SCALAR = Op("scalar", "const")
INPUT = Op("input", "leaf")
_FLOAT_PRODUCTS = frozenset(("float16", "bfloat16", "float32", "float64"))


class Canonical:
    """`roots[i]` computes what `order[requested[i]]` of the trace asks for."""
    __slots__ = ("nodes", "_known", "_done")

    def __init__(self) -> None:
        self._known: dict[Any, Node] = {}
        self._done: dict[int, Any] = {}
        self.nodes: list[Any] = []  # keeps every node alive, so that ids stay unique

    def bind(self, node: Node, value: Node) -> None:
        """`value` stands for the traced `node`."""
        self._done[id(node)] = self._done[id(value)] = value
        self.nodes.append(node)

    def convert(self, root: Node) -> Any:
        """The canonical node of a traced one (a tuple for one with several outputs)."""
        stack = [(root, False)]
        while stack:
            node, ready = stack.pop()
            if id(node) in self._done:
                continue
            if not ready:
                stack.append((node, True))
                stack.extend((s, False) for s in node.srcs)
                continue
            self.nodes.append(node)
            self._done[id(node)] = self._make(node, tuple(self._done[id(s)] for s in node.srcs))
        return self._done[id(root)]

    def _make(self, node: Node, srcs: tuple[Any, ...]) -> Any:
        op = node.op
        if op is ITEM:
            whole = srcs[0]
            return whole[node.arg] if isinstance(whole, tuple) else self._unique(ITEM, (whole,), node.arg, node)
        if op is CONTRACT and node.dtype.name not in _FLOAT_PRODUCTS and not node.dtype.on_host and not _in_int32(node):
            return self.convert(_product_of_bytes(node, *srcs) if node.dtype in (int8, uint8) else _product_as_loop(node, *srcs))
        if op.kind == "coarse" and not fits(node):
            expanded = op.expand(node, *srcs)  # type: ignore[misc]
            for s in srcs:
                self._done.setdefault(id(s), s)
            if isinstance(expanded, tuple):
                return tuple(self.convert(e) for e in expanded)
            return self.convert(expanded)
        if op is CAST and srcs[0].dtype is node.dtype:
            return srcs[0]
        if op.kind == "reduce" and all(srcs[0].shape[i] == 1 for i in node.arg):  # nothing to fold
            if op in (p.R_ARGMAX, p.R_ARGMIN):
                return self.convert(p.expand(p.const(0, node.dtype), node.shape))
            return self.convert(Node(VIEW, srcs, (node.shape, contiguous_strides(node.shape), 0), node.shape, node.dtype))
        if op is VIEW:
            shape, strides, offset = node.arg
            if offset == 0 and shape == srcs[0].shape and strides == contiguous_strides(shape):
                return srcs[0]
        if op is LEAF and node.buffer is not None:
            raise AssertionError("an expansion may not bring memory of its own")
        made = self._unique(op, srcs, node.arg, node)
        made.outputs = node.outputs
        return made

    def _unique(self, op: Op, srcs: tuple[Node, ...], arg: Any, like: Node) -> Node:
        key = (op.number, tuple(id(s) for s in srcs), type(arg), arg, like.shape, like.dtype)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = Node(op, srcs, arg, like.shape, like.dtype)
            self.nodes.append(found)
            self._done[id(found)] = found
        return found


def _in_int32(node: Node) -> bool:
    """Whether there is a kernel for a product of integers: 8-bit ones, the second signed, summed in int32."""
    return node.dtype is int32 and node.srcs[0].dtype in (int8, uint8) and node.srcs[1].dtype is int8


def _product_of_bytes(node: Node, a: Node, b: Node) -> Node:
    """Sums that wrap at 8 bits are the low bytes of those in int32, whatever the sign of what was multiplied."""
    return p.cast(Node(CONTRACT, (a, p.cast(b, int8)), node.arg, node.shape, int32), node.dtype)


def _product_as_loop(node: Node, a: Node, b: Node) -> Node:
    """Products of integers and bools as multiply and reduce."""
    batch, m, n = node.shape
    k = a.shape[2]
    shape = (batch, m, n, k)
    left = Node(VIEW, (a,), (shape, (m * k if a.shape[0] > 1 else 0, k, 0, 1), 0), shape, a.dtype)
    right = Node(VIEW, (b,), (shape, (k * n if b.shape[0] > 1 else 0, 0, 1, n), 0), shape, b.dtype)
    boolean = node.dtype is bool_
    product = Node(p.AND if boolean else p.MUL, (left, right), None, shape, node.dtype)
    return Node(p.R_ANY if boolean else p.R_SUM, (product,), (3,), node.shape, node.dtype)

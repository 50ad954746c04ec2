"""The reference runtime: a graph evaluated node by node with NumPy. The oracle for the compiler."""
from __future__ import annotations

from typing import Any

import numpy as np

from torsh.graph.node import Node
from torsh.graph.primitives import LEAF
from torsh.runtime.buffer import Buffer


def _order(roots: list[Node]) -> list[Node]:
    """Unrealized nodes in an order that puts sources first."""
    order: list[Node] = []
    seen: set[int] = set()
    stack: list[tuple[Node, bool]] = [(r, False) for r in reversed(roots)]
    while stack:
        node, ready = stack.pop()
        if ready:
            order.append(node)
        elif id(node) not in seen and node.buffer is None:
            seen.add(id(node))
            stack.append((node, True))
            stack.extend((s, False) for s in reversed(node.srcs))
    return order


def evaluate(roots: list[Node]) -> None:
    """Compute the nodes and give each root its buffer. Raises what the NumPy meaning of an operation raises."""
    values: dict[int, Any] = {}
    keep: list[Any] = []  # expanded nodes stay alive so that ids stay unique

    def value(node: Node) -> Any:
        if id(node) in values:
            return values[id(node)]
        return node.buffer.array(node.dtype.np, node.shape)

    for node in _order(roots):
        if node.op.kind == "item":
            values[id(node)] = values[id(node.srcs[0])][node.arg]
        elif node.op.reference is None:
            assert node.op.expand is not None, node.op
            expanded = node.op.expand(node, *[_leaf(value(s), s) for s in node.srcs])
            parts = list(expanded) if isinstance(expanded, tuple) else [expanded]
            keep.append(parts)
            evaluate(parts)
            arrays = [p.buffer.array(p.dtype.np, p.shape) for p in parts]
            values[id(node)] = tuple(arrays) if isinstance(expanded, tuple) else arrays[0]
        else:
            values[id(node)] = node.op.reference(node, *[value(s) for s in node.srcs])
    for root in roots:
        if root.buffer is None:
            root.buffer = Buffer.of_array(np.array(values[id(root)], dtype=root.dtype.np, order="C").reshape(root.shape))


def _leaf(array: np.ndarray, like: Node) -> Node:
    if like.buffer is not None:
        return like
    leaf = Node(LEAF, (), None, like.shape, like.dtype)
    leaf.buffer = Buffer.of_array(np.ascontiguousarray(array).reshape(like.shape))
    return leaf

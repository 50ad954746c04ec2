"""Coarse operations that are not expanded, because there is a kernel for the whole of them."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torsh.core.shapes import contiguous_strides
from torsh.graph.node import Node

if TYPE_CHECKING:
    from torsh.compiler.schedule import Geometry, Schedule

#: By the name of the operation, the module of `compiler` with its kernel; backwards they are called like this and `BACKWARD`.
KERNELS = {"rnn_tanh_layer": "recurrent", "rnn_relu_layer": "recurrent", "lstm_layer": "recurrent", "gru_layer": "recurrent", "attention": "attention"}
BACKWARD = "_backward"
#: Operations whose sources may have strides (but for their last dimension) as they lie in larger arrays.
_STRIDED = frozenset(("attention", "attention" + BACKWARD))


def fits(node: Node) -> bool:
    """Whether a kernel computes a coarse node: one that says (last argument) that it is of the plain kind, and that is not empty."""
    if node.op.name.removesuffix(BACKWARD) not in KERNELS or node.outputs is None:
        return False
    native: bool = node.arg[-1]
    return native and all(n > 0 for shape, _ in node.outputs for n in shape)


def strided(schedule: Schedule, node: Node) -> tuple[Node, Geometry]:
    """Where a source of several dimensions lies: its memory, and how it lies there if its rows are contiguous; else it is copied."""
    base, geometry = schedule.memory(node)
    if base is not node and node.shape[-1] > 1 and geometry[1][-1] != 1:
        return node, (node.shape, contiguous_strides(node.shape), 0)
    return base, geometry


def sources(schedule: Schedule, node: Node) -> list[Node]:
    """The memories that the kernel of a node reads, in the order of its sources."""
    if node.op.name in _STRIDED:
        return [strided(schedule, s)[0] if len(s.shape) == 4 else schedule.memory(s, whole=True)[0] for s in node.srcs]
    return [schedule.memory(s, whole=True)[0] for s in node.srcs]


def flops(node: Node) -> int:
    """Of the products of a node that `fits`, for profiles."""
    backward = node.op.name.endswith(BACKWARD)
    first, last = node.outputs[0][0], node.outputs[-1][0]  # type: ignore[index]
    if node.op.name in _STRIDED:
        query, key, value = node.srcs[backward:backward + 3]
        pairs = query.numel // query.shape[3] * key.shape[2] // (2 if node.arg[0] else 1)
        return 2 * pairs * ((3 if backward else 1) * query.shape[3] + (2 if backward else 1) * value.shape[3])
    return 2 * first[0] * first[1] * (last[1] if backward else node.srcs[0].shape[1])


def lower(schedule: Schedule, node: Node) -> Any:
    """The kernel of a node that `fits`."""
    from importlib import import_module  # kernels are seldom needed
    return import_module(f"torsh.compiler.{KERNELS[node.op.name.removesuffix(BACKWARD)]}").lower(schedule, node)

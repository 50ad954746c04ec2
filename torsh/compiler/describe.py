"""What a launch is called in a profile, and how much it moves and computes."""
from __future__ import annotations

from typing import Any

from torsh.compiler import whole
from torsh.compiler.execute import Detail
from torsh.core.shapes import Shape, numel
from torsh.graph.node import Node
from torsh.graph.primitives import CONVOLVE_WEIGHT, WINOGRAD

_FREE = frozenset(("view", "iota", "const"))


def _flops(node: Node) -> int:
    if node.op.kind == "contract":
        return 2 * node.numel * int(node.srcs[0].shape[2])
    if node.op is CONVOLVE_WEIGHT:
        return 2 * node.shape[2] * node.srcs[0].numel
    if node.op.kind in ("windows", "convolve"):
        return 2 * node.numel * int(node.srcs[0].shape[2])
    if node.op is WINOGRAD:  # as many as the convolution has, though fewer are done
        return 2 * 9 * node.numel * int(node.srcs[0].shape[2])
    if node.op.kind == "coarse":
        return whole.flops(node)
    if node.op.kind == "reduce":
        return numel(node.srcs[0].shape)
    return 0 if node.op.kind in _FREE else node.numel


def _shape(node: Node) -> Shape:
    return node.shape if node.outputs is None else node.outputs[0][0]


def describe(jobs: list[Any], launch: Any) -> Detail:
    """Of a launch of one or more jobs that run the same code. Bytes count each memory that a job names once, read or written; floating-point
    operations count one for an element of a pointwise operation or reduction, two for each product of a contraction."""
    nodes = [n for job in jobs for n in job.nodes]
    ops = tuple(dict.fromkeys(n.op.name for n in nodes))
    shape = "x".join(str(s) for s in (_shape(nodes[-1]) if nodes else ())) or "1"
    name = "+".join(ops[:4]) + (f"+{len(ops) - 4}" if len(ops) > 4 else "") + f" [{shape}]" + (f" x{len(jobs)}" if len(jobs) > 1 else "")
    memories = {id(n): n for job in jobs for n in job.memories}
    return Detail(name, ops, sum(n.numel * n.dtype.itemsize for n in memories.values()), sum(_flops(n) for n in nodes), launch)

"""The lazy graph: immutable nodes that say what to compute.

A node is a value. It is made once per traced call, holds no reference to its readers, and keeps its realized
buffer once it was computed. Views are not nodes of their own until somebody reads through them (see `VIEW`).
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torsh.core.dtypes import dtype
from torsh.core.shapes import Shape, numel


class Op:
    """What a node does, declared once.

    `kind` is how the compiler treats it (see `KINDS`); `reference` computes it with NumPy as
    `reference(node, *arrays) -> array` (a tuple of arrays for several outputs); `expand` rewrites a coarse node into
    finer ones as `expand(node, *sources) -> node` (a tuple for several outputs); `vjp(ctx, *grads) -> grads of the
    inputs` is written in tensor operations; `save_inputs`/`save_output` name what backward reads.
    """
    __slots__ = ("name", "kind", "reference", "expand", "vjp", "save_inputs", "save_output", "grad_name", "number")

    def __init__(self, name: str, kind: str, reference: Callable[..., Any] | None = None, expand: Callable[..., Any] | None = None,
                 vjp: Callable[..., Any] | None = None, save_inputs: tuple[int, ...] = (), save_output: bool = False,
                 grad_name: str | None = None) -> None:
        assert kind in KINDS, kind
        self.name = name
        self.kind = kind
        self.reference = reference
        self.expand = expand
        self.vjp = vjp
        self.save_inputs = save_inputs
        self.save_output = save_output
        self.grad_name = grad_name or "".join(p.capitalize() for p in name.split("_")) + "Backward0"
        self.number = len(OPS)
        OPS.append(self)

    def __repr__(self) -> str:
        return f"Op({self.name})"


OPS: list[Op] = []
KINDS = {
    "leaf": "memory that exists",
    "const": "a scalar, given to the plan at run time",
    "empty": "memory whose contents nobody may read before writing",
    "pointwise": "one output element from the elements of the broadcast sources",
    "iota": "the flat index of each element",
    "view": "a strided view of the source's memory",
    "bitcast": "the source's memory read as another type",
    "assign": "the first source with a strided region replaced by the second",
    "reduce": "some axes folded away",
    "scan": "running fold along an axis",
    "gather": "elements at strided plus data-dependent addresses",
    "scatter": "the first source with elements at such addresses written or combined",
    "order": "the positions of the source's elements in order",
    "contract": "batched matrix product",
    "windows": "matrix products with windows of the second source's memory",
    "host": "computed by a host library, array by array",
    "item": "one output of a node with several",
    "coarse": "expands into the kinds above",
    "history": "never a node: what autograd records for views and writes in place",
}


class Node:
    """One value of the graph. `shape` is the logical shape of the (always contiguous) result.

    Nodes with several outputs have `outputs` ((shape, dtype) for each) and are read through `ITEM` nodes.
    """
    __slots__ = ("op", "srcs", "arg", "shape", "dtype", "buffer", "outputs", "bounds", "__weakref__")

    op: Op
    srcs: tuple[Node, ...]
    arg: Any
    shape: Shape
    dtype: dtype
    buffer: Any
    outputs: tuple[tuple[Shape, dtype], ...] | None
    bounds: tuple[int, int] | None

    def __init__(self, op: Op, srcs: tuple[Node, ...], arg: Any, shape: Shape, dt: dtype) -> None:
        self.op = op
        self.srcs = srcs
        self.arg = arg
        self.shape = shape
        self.dtype = dt
        self.buffer = None
        self.outputs = None
        self.bounds = None

    @property
    def numel(self) -> int:
        return numel(self.shape)

    def __repr__(self) -> str:
        state = "" if self.buffer is None else " realized"
        return f"Node({self.op.name}, shape={list(self.shape)}, dtype={self.dtype.name}, srcs={len(self.srcs)}{state})"


def several(op: Op, srcs: tuple[Node, ...], arg: Any, outputs: tuple[tuple[Shape, dtype], ...]) -> tuple[Node, ...]:
    """The outputs of a node with several of them."""
    whole = Node(op, srcs, arg, (), outputs[0][1])
    whole.outputs = outputs
    return tuple(Node(ITEM, (whole,), i, shape, dt) for i, (shape, dt) in enumerate(outputs))


ITEM = Op("item", "item")

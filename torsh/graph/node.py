"""The lazy graph: immutable nodes that say what to compute.

A node is a value. It is made once per traced call, holds no reference to its readers, and keeps its realized
buffer once it was computed. Views are not nodes of their own until somebody reads through them (see `VIEW`).
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, final

from torsh.core.dtypes import dtype as DType
from torsh.core.native import i64
from torsh.core.shapes import Shape, numel


@final
class Op:
    """What a node does, declared once.

    `kind` is how the compiler treats it (see `KINDS`); `reference` computes it with NumPy as
    `reference(node, *arrays) -> array` (a tuple of arrays for several outputs); `expand` rewrites a coarse node into
    finer ones as `expand(node, *sources) -> node` (a tuple for several outputs); `vjp(ctx, *grads) -> grads of the
    inputs` is written in tensor operations; `save_inputs`/`save_output` name what backward reads.
    """
    __slots__ = ("name", "kind", "reference", "expand", "vjp", "save_inputs", "save_output", "grad_name", "number")

    name: str
    kind: str
    reference: Callable[..., Any] | None
    expand: Callable[..., Any] | None
    vjp: Callable[..., Any] | None
    save_inputs: tuple[int, ...]
    save_output: bool
    grad_name: str
    number: int

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
    "winograd": "a step of Winograd's convolution",
    "convolve": "a convolution, or the gradient of its weights, whose images are padded and sorted by stride as they are multiplied",
    "host": "computed by a host library, array by array",
    "item": "one output of a node with several",
    "coarse": "expands into the kinds above",
    "history": "never a node: what autograd records for views and writes in place",
}


@final
class Node:
    """One value of the graph. `shape` is the logical shape of the (always contiguous) result.

    Nodes with several outputs have `outputs` ((shape, dtype) for each) and are read through `ITEM` nodes. `depth` counts the longest chain
    of nodes without numbers below this one when it was made; `mark` and `uses` belong to the traversal that visits the node (`compiler.trace`). `derived`
    is what plans made from a realized node and keep with it (`compiler.prepare`).
    """
    __slots__ = ("op", "srcs", "arg", "shape", "dtype", "buffer", "outputs", "bounds", "depth", "mark", "uses", "derived")

    op: Op
    srcs: tuple[Node, ...]
    arg: Any
    shape: Shape
    dtype: DType
    buffer: Any
    outputs: tuple[tuple[Shape, DType], ...] | None
    bounds: tuple[int, int] | None
    depth: i64
    mark: i64
    uses: i64
    derived: Any

    def __init__(self, op: Op, srcs: tuple[Node, ...], arg: Any, shape: Shape, dt: DType) -> None:
        self.op = op
        self.srcs = srcs
        self.arg = arg
        self.shape = shape
        self.dtype = dt
        self.buffer = None
        self.outputs = None
        self.bounds = None
        depth: i64 = 0
        for s in srcs:
            if s.depth >= depth and s.buffer is None:
                depth = s.depth + 1
        self.depth = depth
        self.mark = 0
        self.uses = 0
        self.derived = None

    @property
    def numel(self) -> int:
        return numel(self.shape)

    def __repr__(self) -> str:
        state = "" if self.buffer is None else " realized"
        return f"Node({self.op.name}, shape={list(self.shape)}, dtype={self.dtype.name}, srcs={len(self.srcs)}{state})"


def several(op: Op, srcs: tuple[Node, ...], arg: Any, outputs: tuple[tuple[Shape, DType], ...]) -> tuple[Node, ...]:
    """The outputs of a node with several of them."""
    whole = Node(op, srcs, arg, (), outputs[0][1])
    whole.outputs = outputs
    return tuple(Node(ITEM, (whole,), i, shape, dt) for i, (shape, dt) in enumerate(outputs))


ITEM: Final = Op("item", "item")

"""Pointwise operations that are done on a product's results before they are stored: bias, scale and shift of a normalization, residual, activation.

A pointwise node that reads a product (through views, and as its only reader) becomes a view of a product that does it, one after the other.
"""
from __future__ import annotations

from typing import Any

from torsh.codegen.chain import Step
from torsh.compiler.layout import compose
from torsh.compiler.schedule import sources_first
from torsh.core.shapes import Shape, contiguous_strides, numel
from torsh.graph.node import Node
from torsh.graph.primitives import ADD, CAST, CONTRACT, CONVOLVE, MAX, MIN, MUL, SUB, VIEW, WINDOWS, WINOGRAD

#: Where a product's argument says how many groups of channels there are.
_GROUPS = {WINDOWS: 1, CONVOLVE: 0}
_OPERATIONS = {ADD: "add", SUB: "sub", MUL: "mul", MAX: "max", MIN: "min"}
#: Functions of the value alone, by the names of primitives: steps by themselves, or of what multiplies the value (gelu, silu).
_FUNCTIONS = ("normal_cdf", "sigmoid", "tanh")
#: Kinds of steps that have none.
WITHOUT_OPERAND = ("unary", "gate")
#: Types whose products may be summed in float32, and are rounded when they are stored.
HALF = ("float16", "bfloat16")
_MOST_STEPS = 6
#: Products with so few columns are done by kernels that make C's transpose; those with so few rows have no rows' operands.
_FEW = 4


class Fused:
    """The argument of a product with `steps`; their operands follow its sources. `matrix`: the extents [batch, rows, columns] of its results, `groups`:
    how many matrices are the groups of an image."""
    __slots__ = ("arg", "steps", "groups")

    def __init__(self, arg: Any, steps: tuple[Step, ...], groups: int) -> None:
        self.arg, self.steps, self.groups = arg, steps, groups


def matrix(node: Node) -> tuple[int, int, int]:
    """The extents [batch, rows, columns] of a product's results."""
    return (node.shape[0], node.shape[1], numel(node.shape[2:]))


def fuse(roots: list[Node]) -> None:
    """Rewrites the canonical graph of `roots` in place."""
    order = sources_first(roots)
    readers: dict[int, int] = {}
    for r in roots:
        readers[id(r)] = readers.get(id(r), 0) + 2  # what is asked for stays as it is
    for node in order:
        for s in node.srcs:
            readers[id(s)] = readers.get(id(s), 0) + 1
    for node in order:
        if node.op is CAST and node.dtype.name in HALF:
            _narrowed(node, readers)
        if node.dtype.name not in ("float32", "float64"):
            continue
        if node.op in _OPERATIONS:
            if node.op is MUL and any(_gated(node, side, readers) for side in (0, 1)):
                continue
            for side in (0,) if node.op is SUB else (0, 1):
                if _joined(node, side, readers):
                    break
        elif node.op.name in _FUNCTIONS and node.op.kind == "pointwise":
            _joined(node, 0, readers, (node.op.name, "unary"))


def _narrowed(node: Node, readers: dict[int, int]) -> None:
    """A product in float32 that is only read rounded to a half type, in its order, is stored so."""
    product = node.srcs[0]
    while readers.get(id(product)) == 1 and product.op is VIEW and product.arg[1:] == (contiguous_strides(product.shape), 0) \
            and product.numel == product.srcs[0].numel:
        product = product.srcs[0]
    if product.op is CONTRACT and readers.get(id(product)) == 1 and product.dtype.name == "float32" and product.srcs[0].dtype is node.dtype:
        made = Node(CONTRACT, product.srcs, product.arg, product.shape, node.dtype)
        readers[id(made)] = 1
        node.op, node.srcs, node.arg = VIEW, (made,), (node.shape, contiguous_strides(node.shape), 0)


def _gated(node: Node, side: int, readers: dict[int, int]) -> bool:
    """Make a step of a product times a function of it."""
    value, factor = node.srcs[side], node.srcs[1 - side]
    if factor.op.name not in _FUNCTIONS or factor.srcs[0] is not value or readers.get(id(factor)) != 1 or readers.get(id(value)) != 2:
        return False
    readers[id(value)] = 1
    if _joined(node, side, readers, (factor.op.name, "gate")):
        return True
    readers[id(value)] = 2
    return False


def _joined(node: Node, side: int, readers: dict[int, int], step: tuple[str, str] | None = None) -> bool:
    """Make a step of `node` if its source on a side is a product that nobody else reads; `step` where it has no other operand."""
    geometry = (node.shape, contiguous_strides(node.shape), 0)
    product = node.srcs[side]
    if product.shape != node.shape:
        return False
    while readers.get(id(product)) == 1 and product.op is VIEW:
        found = compose(*geometry, product.arg)
        if found is None:
            return False
        geometry, product = found, product.srcs[0]
    shape, strides, offset = geometry
    if all(n == 1 or s == t for n, s, t in zip(shape, strides, contiguous_strides(shape), strict=True)):
        geometry = shape, contiguous_strides(shape), offset  # whatever the strides of sizes of 1 were
    if product.op not in (WINDOWS, CONVOLVE, WINOGRAD, CONTRACT) or readers.get(id(product)) != 1 or product.dtype is not node.dtype:
        return False
    known = product.arg if type(product.arg) is Fused else Fused(product.arg, (), product.arg[_GROUPS[product.op]] if product.op in _GROUPS else 1)
    if numel(node.shape) != product.numel or len(known.steps) == _MOST_STEPS:
        return False
    more: tuple[Node, ...] = ()
    if step is None:
        more = (node.srcs[1 - side],)
        kind = _kind(more[0], product, geometry, known.groups)
        if kind is None:
            return False
        if kind.startswith("column_"):
            more = more[0].srcs
        step = (_OPERATIONS[node.op], kind)
    if product.op is CONTRACT:
        _, rows, columns = matrix(product)
        if columns <= _FEW or (rows <= _FEW and step[1] == "row") or not (known.steps or step[1] == "row" or step[1].startswith("column")):
            return False
    elif step[1] in ("unary", "gate") and product.op is WINOGRAD:
        return False
    arg = Fused(known.arg, (*known.steps, step), known.groups)
    made = Node(product.op, (*product.srcs, *more), arg, product.shape, product.dtype)
    readers[id(made)] = 1
    node.op, node.srcs, node.arg = VIEW, (made,), geometry
    return True


def _kind(other: Node, product: Node, geometry: tuple[Shape, Shape, int], groups: int) -> str | None:
    """What an operand is to the product whose results are read through a view."""
    shape, strides, offset = geometry
    if other.op.kind == "const":
        return None if other.shape else "number"
    _, rows, columns = matrix(product)
    lead = len(shape) - len(other.shape)
    wide = [lead + i for i, n in enumerate(other.shape) if n != 1]
    if len(wide) == 1 and shape[wide[0]] == groups * rows == other.shape[wide[0] - lead] and strides[wide[0]] == columns \
            and offset == 0 and _covers(shape, strides):
        return "row"
    if product.op is CONTRACT and len(wide) == 1 and shape[wide[0]] == columns == other.shape[wide[0] - lead] and strides[wide[0]] == 1 \
            and offset == 0 and _covers(shape, strides):
        half = other.srcs[0].dtype.name if other.op is CAST and other.dtype.name == "float32" and other.srcs[0].dtype.name in HALF else ""
        if _in_order(other.srcs[0] if half else other, wide[0] - lead):
            return f"column_{half}" if half else "column"
    plain = offset == 0 and other.shape == shape and strides == contiguous_strides(shape)
    while other.op is VIEW and other.arg[1:] == (contiguous_strides(other.shape), 0) and other.numel == other.srcs[0].numel:
        other = other.srcs[0]
    return "full" if plain and other.op.kind in ("leaf", "pointwise", "winograd", "windows", "convolve", "contract", "reduce") else None


def _in_order(node: Node, axis: int) -> bool:
    """Whether a node shows adjacent elements of an input along its only axis with any extent."""
    geometry = (node.shape, contiguous_strides(node.shape), 0)
    while node.op is VIEW:
        found = compose(*geometry, node.arg)
        if found is None:
            return False
        geometry, node = found, node.srcs[0]
    return geometry[1][axis] == 1 and node.op.kind == "leaf"


def _covers(shape: Shape, strides: Shape) -> bool:
    """Whether a view has each element of its memory once."""
    size = 1
    for n, s in sorted(zip(shape, strides, strict=True), key=lambda axis: axis[1]):
        if n != 1:
            if s != size:
                return False
            size *= n
    return True


def row_stride(geometry: tuple[Shape, Shape, int]) -> int:
    """The distance in elements between the numbers of a row operand."""
    return next(s for n, s in zip(geometry[0], geometry[1], strict=True) if n != 1)

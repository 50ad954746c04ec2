"""Kernels of the steps that are not fused groups: region writes, scatters, scans, copies of one memory to another."""
from __future__ import annotations

from torsh.codegen.kernel_ir import Acc, Address, Arg, Const, Declare, Expr, Kernel, Load, Loop, Op, Phase, Read, Stmt, Store, Update
from torsh.compiler.nest import Arguments, Checked, Lowered, check_of, compute_type
from torsh.compiler.ranges import surely_below
from torsh.compiler.schedule import Schedule
from torsh.core.shapes import Shape, contiguous_strides, numel
from torsh.graph.node import Node
from torsh.graph.primitives import IOTA

_TILE = 8192  # elements of a work item of a vector


def _value(schedule: Schedule, args: Arguments, source: Node, shape: Shape) -> Expr:
    """A source read element by element along axes 0, 1, ... of `shape`."""
    from torsh.compiler.layout import broadcast_strides
    base, geometry = schedule.source(source)
    if base.op.kind == "const":
        args.slots.append(("scalar", base))
        return Arg(len(args.slots) - 1, compute_type(base.dtype.name))
    strides = broadcast_strides(geometry[0], geometry[1], shape)
    if base.op is IOTA:
        from torsh.codegen.kernel_ir import Index
        total: Expr = Const(geometry[2], "int64")
        for k, s in enumerate(strides):
            if s:
                total = Op("add", (total, Op("mul", (Index(k), Arg(args.given(s).index, "int64")), "int64")), "int64")
        return total
    terms = tuple((k, args.integer(s)) for k, s in enumerate(strides) if s)
    return Load(args.buffer(base, geometry[2], False), Address(0, terms), compute_type(base.dtype.name))


def _nest(args: Arguments, shape: Shape, body: list[Stmt], serial: bool) -> tuple[Phase, int]:
    """Loops over a shape: parallel outside and lanes inside, or all in order."""
    extents = [args.integer(n) for n in shape]
    if not shape:
        return Phase((), tuple(body)), 1
    if serial:
        inner: tuple[Stmt, ...] = tuple(body)
        for k in range(len(shape) - 1, -1, -1):
            inner = (Loop(k, extents[k], "serial", inner),)
        return Phase((), inner), 1
    last = len(shape) - 1
    if last == 0 and shape[0] > _TILE:
        tiles = -(-shape[0] // _TILE)
        return Phase(((1, args.given(tiles)),), (Loop(0, extents[0], "vector", tuple(body), (1, _TILE)),)), tiles
    return Phase(tuple((k, extents[k]) for k in range(last)), (Loop(last, extents[last], "vector", tuple(body)),)), numel(shape[:-1])


def _squeeze(shape: Shape, strides: Shape) -> tuple[Shape, Shape]:
    keep = [i for i, n in enumerate(shape) if n != 1]
    return tuple(shape[i] for i in keep), tuple(strides[i] for i in keep)


def assign(schedule: Schedule, node: Node) -> Lowered:
    """Write the region; the node's memory already holds the old value."""
    shape, strides, offset = node.arg
    args = Arguments()
    value = _value(schedule, args, node.srcs[1], shape)
    terms = tuple((k, args.integer(s)) for k, s in enumerate(strides) if s)
    body: list[Stmt] = [Store(args.buffer(node, offset, True), Address(0, terms), value)]
    overlapping = any(s == 0 and n > 1 for n, s in zip(shape, strides, strict=True))
    phase, work = _nest(args, shape, body, overlapping)
    kernel = Kernel(tuple(args.buffers), len(args.slots), (phase,))
    return Lowered(kernel, args, [work], [numel(shape) < 32768], [], [])


def fill(schedule: Schedule, node: Node, source: Node) -> Lowered:
    """Copy (or fill) all of a node's memory from a source of as many elements."""
    args = Arguments()
    shape = source.shape
    value = _value(schedule, args, source, shape)
    terms = tuple((k, args.integer(s)) for k, s in enumerate(contiguous_strides(shape)))
    phase, work = _nest(args, shape, [Store(args.buffer(node, 0, True), Address(0, terms), value)], False)
    return Lowered(Kernel(tuple(args.buffers), len(args.slots), (phase,)), args, [work], [numel(shape) < 32768], [], [])


def scatter(schedule: Schedule, node: Node) -> Lowered:
    """Write or combine elements in row-major order of the values; the node's memory already holds the base."""
    shape, strides, offset, index_strides, index_sizes, mode = node.arg
    args = Arguments()
    body: list[Stmt] = []
    checks: list[Checked] = []
    gathers = []
    for s, step, size in zip(node.srcs[2:], index_strides, index_sizes, strict=True):
        index = _value(schedule, args, s, shape)
        if not surely_below(s, size):
            checks.append(check_of(schedule, s, size))
            index = args.checked(index, size, body.append)
        gathers.append((index, args.integer(step)))
    value = _value(schedule, args, node.srcs[1], shape)
    terms = tuple((k, args.integer(s)) for k, s in enumerate(strides) if s)
    body.append(Store(args.buffer(node, offset, True), Address(0, terms, tuple(gathers)), value, mode))
    phase, work = _nest(args, shape, body, True)
    return Lowered(Kernel(tuple(args.buffers), len(args.slots), (phase,)), args, [work], [True], [], checks)


def scan(schedule: Schedule, node: Node) -> Lowered:
    """A running sum or product along an axis, in order; the other axes in parallel."""
    args = Arguments()
    shape, axis = node.shape, node.arg
    if not shape:
        return fill(schedule, node, node.srcs[0])
    value = _value(schedule, args, node.srcs[0], shape)
    acc = Acc(node.op.name.removeprefix("scan_"), value.dtype)
    extents = [args.integer(n) for n in shape]
    terms = tuple((k, args.integer(s)) for k, s in enumerate(contiguous_strides(shape)))
    store = Store(args.buffer(node, 0, True), Address(0, terms), Read(acc, acc.dtype))
    run: tuple[Stmt, ...] = (Declare(acc), Loop(axis, extents[axis], "serial", (Update(acc, value), store)))
    others = [k for k in range(len(shape)) if k != axis]
    if others and others[-1] == len(shape) - 1:
        lane = others.pop()
        run = (Loop(lane, extents[lane], "vector", run),)
    phase = Phase(tuple((k, extents[k]) for k in others), run)
    work = numel(tuple(shape[k] for k in others))
    return Lowered(Kernel(tuple(args.buffers), len(args.slots), (phase,)), args, [work], [numel(shape) < 32768], [], [])

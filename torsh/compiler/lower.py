"""From a fused group to a kernel of the kernel IR, with the argument table that binds it to memory.

Four shapes of loop nest: *pointwise* (no folding), *rows* (one work item per kept element or row; the folded axes are
loops inside), *columns* (as rows, but the innermost kept axis runs over vector lanes), and *flat* (everything folded
into one value: fixed tiles give partial results, a second phase combines them). Which one depends on sizes alone,
so results do not depend on the number of threads.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from torsh.codegen.kernel_ir import (
    MATH,
    Acc,
    Address,
    Arg,
    Cast,
    Check,
    Const,
    Declare,
    Expr,
    Index,
    Int,
    Kernel,
    Load,
    Loop,
    Op,
    Phase,
    Read,
    Slot,
    Stmt,
    Store,
    Update,
)
from torsh.compiler.canonical import SCALAR
from torsh.compiler.layout import FULL, ROW, Domain, along, broadcast_strides, own_strides, sizes
from torsh.compiler.layout import SCALAR as POINT
from torsh.compiler.schedule import Group, Schedule
from torsh.core.dtypes import by_name
from torsh.core.shapes import Shape, contiguous_strides, numel
from torsh.graph.node import Node
from torsh.graph.primitives import CAST, COMPARISONS, CONST, GATHER, IOTA

_TILE = 8192  # elements of a work item where the split is free
_SHARE = 32768  # element operations below which a launch stays on one thread
_HALF = ("float16", "bfloat16")


def compute_type(name: str) -> str:
    return "float32" if name in _HALF else name


class Arguments:
    """The argument table: what each slot holds. ("buffer", node id, byte offset), ("int", value), ("scalar", node), ("status",), ("scratch", k)."""

    def __init__(self) -> None:
        self.slots: list[tuple[Any, ...]] = []
        self.buffers: list[tuple[int, str, bool]] = []
        self._known: dict[Any, int] = {}
        self.nodes: list[Node] = []  # by order of first use, for the plan

    def slot(self, entry: tuple[Any, ...]) -> int:
        found = self._known.get(entry)
        if found is None:
            found = self._known[entry] = len(self.slots)
            self.slots.append(entry)
        return found

    def integer(self, value: int) -> Int:
        """A stride or offset: 0 and 1 are fixed in the code, others given at run time. Each is a slot of its own, so that sizes which
        happen to agree do not make another kernel."""
        if value in (0, 1):
            return value
        self.slots.append(("int", value))
        return Slot(len(self.slots) - 1)

    def buffer(self, node: Node, offset: int, writable: bool) -> int:
        """A buffer over a node's memory, from an offset in elements on."""
        key = ("view", id(node), offset, writable)
        found = self._known.get(key)
        if found is None:
            slot = len(self.slots)
            self.slots.append(("buffer", id(node), offset * node.dtype.itemsize))
            self.buffers.append((slot, node.dtype.name, writable))
            self.nodes.append(node)
            found = self._known[key] = len(self.buffers) - 1
        return found

    def scratch(self, index: int, dtype: str) -> int:
        self.slots.append(("scratch", index))
        self.buffers.append((len(self.slots) - 1, dtype, True))
        return len(self.buffers) - 1


class Lowered:
    """A kernel, its arguments, and per phase the number of work items; `serial` where sharing does not pay."""
    __slots__ = ("kernel", "args", "work", "serial", "scratch", "checks")

    def __init__(self, kernel: Kernel, args: Arguments, work: list[int], serial: list[bool], scratch: list[int], checks: list[int]) -> None:
        self.kernel, self.args, self.work, self.serial, self.scratch, self.checks = kernel, args, work, serial, scratch, checks


class _Nest:
    """Lowers one group."""

    def __init__(self, schedule: Schedule, group: Group) -> None:
        self.schedule, self.group = schedule, group
        self.domain: Domain = group.domain
        self.args = Arguments()
        self.inside = {id(n) for n in group.nodes}
        self.external: list[tuple[Node, Shape]] = []
        self.checks: list[int] = []
        self.scratch: list[int] = []
        self.stages = self._stages()
        self.accs: dict[int, Acc] = {}
        self.shared: dict[int, Expr] = {}  # expressions that are the same wherever they stand: arguments
        self.rows: dict[int, Expr] = {}  # row and point values, once they exist
        self._coalesce()
        self.extents = [self.args.integer(n) for n, _ in self.domain]

    # ---- preparation

    def _stages(self) -> dict[int, int]:
        """The pass over the data in which each node can be computed: one more than the reductions it waits for."""
        stages: dict[int, int] = {}
        for node in self.group.nodes:
            stage = 0
            for s in node.srcs:
                base, _ = self.schedule.source(s)
                if id(base) in self.inside:
                    stage = max(stage, stages[id(base)] + (base.op.kind == "reduce"))
            stages[id(node)] = stage
        return stages

    def _reads(self, node: Node) -> list[tuple[Node, Shape, int, int]]:
        """External reads of a node: (memory, strides along the domain, offset, level)."""
        out = []
        level = self.group.levels[id(node)]
        sources = list(node.srcs)
        if node.op.kind == "view":
            base, geometry = self.schedule.copied[id(node)]
            return [(base, along(self.domain, node.shape, geometry[1], FULL), geometry[2], FULL)] if id(base) not in self.inside else []
        for s in sources:
            if node.op is GATHER and s is node.srcs[0]:
                continue
            base, geometry = self.schedule.source(s)
            if id(base) in self.inside or base.op.kind == "const":
                continue
            if node.op.kind == "reduce":
                at, shape, strides = self._folded_level(node), s.shape, geometry[1]
            else:
                at, shape, strides = level, node.shape, broadcast_strides(geometry[0], geometry[1], node.shape)
            out.append((base, along(self.domain, shape, strides, at), geometry[2], at))
        return out

    def _folded_level(self, node: Node) -> int:
        return FULL if self.group.levels[id(node)] == ROW else ROW

    def _coalesce(self) -> None:
        """Merge neighbouring axes that every access walks as one."""
        accesses: list[Shape] = []
        for node in self.group.nodes:
            accesses += [r[1] for r in self._reads(node)]
            if node.op is GATHER:
                accesses.append(along(self.domain, node.arg[0], node.arg[1], self.group.levels[id(node)]))
            if node.op is IOTA or any(self.schedule.source(s)[0].op is IOTA for s in node.srcs):
                accesses += [along(self.domain, node.shape, contiguous_strides(node.shape), self.group.levels[id(node)])]
        for level in set(self.group.levels.values()) | ({ROW} if self.group.folds else set()):
            accesses.append(own_strides(self.domain, level))
        merged: list[list[int]] = []  # indices of merged axes
        for k in range(len(self.domain)):
            if merged:
                last = merged[-1][-1]
                if self.domain[last][1] == self.domain[k][1] and all(a[last] == a[k] * self.domain[k][0] for a in accesses):
                    merged[-1].append(k)
                    continue
            merged.append([k])
        fine = self.domain
        self.merge = merged
        self.domain = tuple((numel(tuple(fine[k][0] for k in run)), fine[run[0]][1]) for run in merged)
        self.fine = fine

    def _coarse(self, strides: Shape) -> Shape:
        """Strides along the merged axes from those along the fine ones."""
        return tuple(strides[run[-1]] for run in self.merge)

    def walk(self, shape: Shape, strides: Shape, level: int) -> Shape:
        return self._coarse(along(self.fine, shape, strides, level))

    # ---- expressions

    def address(self, strides: Shape, gathers: tuple[tuple[Expr, Int], ...] = ()) -> Address:
        return Address(0, tuple((k, self.args.integer(s)) for k, s in enumerate(strides) if s), gathers)

    def scalar(self, node: Node) -> Expr:
        """A number: one of the run's, or of an expansion."""
        if id(node) not in self.shared:
            self.args.slots.append(("scalar", node))
            self.shared[id(node)] = Arg(len(self.args.slots) - 1, compute_type(node.dtype.name))
        return self.shared[id(node)]

    def flat_index(self, strides: Shape, offset: int) -> Expr:
        """offset + sum(axis * stride) as an int64 expression."""
        total: Expr | None = None
        for k, s in enumerate(strides):
            if s:
                term: Expr = Index(k)
                if s != 1:
                    step = self.args.integer(s)
                    assert isinstance(step, Slot)
                    term = Op("mul", (term, Arg(step.index, "int64")), "int64")
                total = term if total is None else Op("add", (total, term), "int64")
        if total is None:
            total = Const(0, "int64")
        if offset:
            self.args.slots.append(("int", offset))
            total = Op("add", (total, Arg(len(self.args.slots) - 1, "int64")), "int64")
        return total

    def read(self, s: Node, shape: Shape, level: int, stage: dict[int, Expr], emit: Callable[[Stmt], None]) -> Expr:
        """The value of a source at the present element of a reader of `shape` and `level`."""
        base, geometry = self.schedule.source(s)
        if base.op.kind == "const":
            return self.scalar(base)
        if id(base) in self.inside:
            return self.value(base, stage, emit)
        strides = self.walk(shape, broadcast_strides(geometry[0], geometry[1], shape), level)
        if base.op is IOTA:
            return self.flat_index(strides, geometry[2])
        return Load(self.args.buffer(base, geometry[2], False), self.address(strides), compute_type(base.dtype.name))

    def value(self, node: Node, stage: dict[int, Expr], emit: Callable[[Stmt], None]) -> Expr:
        """The expression of a member. `stage` remembers what was computed in the present scope."""
        found = self.rows.get(id(node)) or stage.get(id(node))
        if found is None:
            found = self._compute(node, stage, emit)
            (self.rows if self.group.levels[id(node)] != FULL else stage)[id(node)] = found
        return found

    def _compute(self, node: Node, stage: dict[int, Expr], emit: Callable[[Stmt], None]) -> Expr:
        level = self.group.levels[id(node)]
        if node.op.kind == "reduce":
            raise AssertionError("a reduction must have run before it is read")
        if node.op.kind == "const":
            return self.scalar(node)
        if node.op is IOTA:
            return self.flat_index(self.walk(node.shape, contiguous_strides(node.shape), level), 0)
        if node.op.kind == "view":
            base, geometry = self.schedule.copied[id(node)]
            if base.op.kind == "const":
                return self.scalar(base)
            strides = self.walk(node.shape, geometry[1], level)
            if base.op is IOTA:
                return self.flat_index(strides, geometry[2])
            return Load(self.args.buffer(base, geometry[2], False), self.address(strides), compute_type(base.dtype.name))
        if node.op is GATHER:
            return self._gather(node, level, stage, emit)
        srcs = tuple(self.read(s, node.shape, level, stage, emit) for s in node.srcs)
        dtype = compute_type(node.dtype.name)
        if node.op is CAST:
            if node.dtype.name in _HALF:
                wide = srcs[0] if srcs[0].dtype == "float32" else Cast(srcs[0], "float32", "float32")
                return Cast(wide, "float32", node.dtype.name)
            return srcs[0] if srcs[0].dtype == dtype else Cast(srcs[0], dtype, dtype)
        result = Op(node.op.name, srcs, "bool" if node.op in COMPARISONS else dtype)
        # Half types round after every operation, as they do when nothing is fused.
        return Cast(result, "float32", node.dtype.name) if node.dtype.name in _HALF else result

    def _gather(self, node: Node, level: int, stage: dict[int, Expr], emit: Callable[[Stmt], None]) -> Expr:
        shape, strides, offset, index_strides, index_sizes = node.arg
        gathers = []
        for s, step, size in zip(node.srcs[1:], index_strides, index_sizes, strict=True):
            index = self.read(s, node.shape, level, stage, emit)
            gathers.append((self._checked(index, size, emit), self.args.integer(step)))
        base, _ = self.schedule.memory(node.srcs[0], whole=True)
        return Load(self.args.buffer(base, offset, False), self.address(self.walk(shape, strides, level), tuple(gathers)),
                    compute_type(node.dtype.name))

    def _checked(self, index: Expr, size: int, emit: Callable[[Stmt], None]) -> Expr:
        """The index, kept inside [0, size); a violation is reported after the run."""
        self.args.slots.append(("int", size - 1))
        last = Arg(len(self.args.slots) - 1, "int64")
        ok = Op("and", (Op("ge", (index, Const(0, "int64")), "bool"), Op("le", (index, last), "bool")), "bool")
        self.checks.append(size)
        emit(Check(ok, self.args.slot(("status",)), 1))
        return Op("max", (Const(0, "int64"), Op("min", (index, last), "int64")), "int64")

    # ---- statements

    def store(self, node: Node, value: Expr) -> Stmt:
        level = self.group.levels[id(node)]
        return Store(self.args.buffer(node, 0, True), self.address(own_strides(self.domain, level)), value)

    def wants(self, node: Node) -> bool:
        return id(node) in self.schedule.stored

    def fold(self, node: Node, stage: dict[int, Expr], emit: Callable[[Stmt], None], level: int = FULL) -> Stmt:
        """One step of a reduction, at an element."""
        value = self.read(node.srcs[0], node.srcs[0].shape, level, stage, emit)
        acc = self.accs[id(node)]
        if acc.op in ("argmax", "argmin"):
            axes = [k for k, (_, folded) in enumerate(self.domain) if folded]
            inner = contiguous_strides(tuple(self.domain[k][0] for k in axes))
            strides = [0] * len(self.domain)
            for k, s in zip(axes, inner, strict=True):
                strides[k] = s
            return Update(acc, value, self.flat_index(tuple(strides), 0))
        return Update(acc, value)

    def declare(self, node: Node) -> Declare:
        op = node.op.name.removeprefix("reduce_")
        source = compute_type(node.srcs[0].dtype.name)
        if source == "bool" and op in ("max", "min"):
            op = "any" if op == "max" else "all"
        self.accs[id(node)] = Acc(op, source)
        return Declare(self.accs[id(node)])

    def result(self, node: Node) -> Expr:
        acc = self.accs[id(node)]
        indexed = acc.op in ("argmax", "argmin")
        value: Expr = Read(acc, "int64" if indexed else acc.dtype, indexed)
        return Cast(value, "float32", node.dtype.name) if node.dtype.name in _HALF else value

    def finish(self, phases: list[Phase], work: list[int], serial: list[bool]) -> Lowered:
        kernel = Kernel(tuple(self.args.buffers), len(self.args.slots), tuple(phases))
        return Lowered(kernel, self.args, work, serial, self.scratch, self.checks)


def _tiles(n: int, tile: int) -> int:
    return max(1, -(-n // tile))


def lower(schedule: Schedule, group: Group) -> Lowered:
    """The kernel of a group of loops."""
    nest = _Nest(schedule, group)
    if not group.folds:
        return _pointwise(nest)
    kept = numel(tuple(n for n, f in nest.domain if not f))
    folded = numel(tuple(n for n, f in nest.domain if f))
    if kept == 1 and folded > 2 * _TILE:
        return _flat(nest)
    return _rows(nest, kept, folded)


def _pointwise(nest: _Nest) -> Lowered:
    domain, n = nest.domain, len(nest.domain)
    total = numel(tuple(s for s, _ in domain))
    body: list[Stmt] = []
    stage: dict[int, Expr] = {}
    for node in nest.group.nodes:
        if nest.wants(node):
            value = nest.value(node, stage, body.append)
            body.append(nest.store(node, value))
    serial = total * max(1, len(nest.group.nodes)) < _SHARE * 4 and total < _SHARE
    if n == 0:
        return nest.finish([Phase((), tuple(body))], [1], [True])
    last = domain[-1][0]
    parallel: list[tuple[int, Int]] = [(k, nest.extents[k]) for k in range(n - 1)]
    work = numel(tuple(s for s, _ in domain[:-1]))
    if n == 1:
        tiles = _tiles(last, _TILE)
        nest.args.slots.append(("int", tiles))
        parallel.append((n, Slot(len(nest.args.slots) - 1)))
        loop = Loop(n - 1, nest.extents[-1], "vector", tuple(body), (n, _TILE))
        work *= tiles
    else:
        loop = Loop(n - 1, nest.extents[-1], "vector", tuple(body))
    return nest.finish([Phase(tuple(parallel), (loop,))], [work], [serial])


def _loops(nest: _Nest, axes: list[int], vector: int | None, body: list[Stmt], tile: tuple[int, tuple[int, int]] | None = None) -> Stmt:
    """Nested loops over axes, outermost first; `vector` names the one over lanes, `tile` = (axis, (parallel axis, size))."""
    inner: tuple[Stmt, ...] = tuple(body)
    for k in reversed(axes):
        inner = (Loop(k, nest.extents[k], "vector" if k == vector else "serial", inner, tile[1] if tile and tile[0] == k else None),)
    return inner[0]


def _carried(nest: _Nest) -> dict[int, tuple[Node, Node]]:
    """Costly values that a reduction computes and a later pass needs again: they wait in the memory of the output that needs them.

    id -> (value, output): a softmax's exponentials are written to the result once, then read, divided and written again.
    """
    out: dict[int, tuple[Node, Node]] = {}
    taken: set[int] = set()
    for o in nest.group.nodes:
        if nest.group.levels[id(o)] != FULL or not nest.wants(o) or not nest.stages[id(o)]:
            continue
        stack, seen = [o], set()
        while stack:
            m = stack.pop()
            if id(m) in seen:
                continue
            seen.add(id(m))
            if m.op.name in MATH and m is not o and nest.stages[id(m)] < nest.stages[id(o)] and m.dtype is o.dtype and not nest.wants(m):
                if id(o) not in taken and id(m) not in out and _folded_at_once(nest, m):
                    out[id(m)] = m, o
                    taken.add(id(o))
                continue
            for s in m.srcs:
                base, _ = nest.schedule.source(s)
                if id(base) in nest.inside and nest.group.levels[id(base)] == FULL:
                    stack.append(base)
    return out


def _folded_at_once(nest: _Nest, m: Node) -> bool:
    """Whether a reduction of the pass in which `m` can be computed reads it: then it is computed there anyway."""
    return any(r.op.kind == "reduce" and nest.schedule.source(r.srcs[0])[0] is m for r in nest.group.nodes)


def _passes(nest: _Nest, around: Callable[[list[Stmt]], Stmt], out: list[Stmt], level_of_reduce: int = ROW) -> None:
    """The passes over the folded axes of one work item, and what is computed between them."""
    last = max(nest.stages.values())
    carried = _carried(nest)
    for number in range(last + 2):
        reductions = [r for r in nest.group.nodes if r.op.kind == "reduce" and nest.stages[id(r)] == number and nest.group.levels[id(r)] == level_of_reduce]
        stores = [m for m in nest.group.nodes if nest.group.levels[id(m)] == FULL and nest.wants(m) and nest.stages[id(m)] == number]
        if reductions or stores:
            body: list[Stmt] = []
            stage: dict[int, Expr] = {}
            for m, o in carried.values():
                if nest.stages[id(m)] < number <= nest.stages[id(o)]:
                    place = nest.address(own_strides(nest.domain, FULL))
                    stage[id(m)] = Load(nest.args.buffer(o, 0, True), place, compute_type(m.dtype.name))
            for r in reductions:
                out.append(nest.declare(r))
            for r in reductions:
                update = nest.fold(r, stage, body.append)
                body.append(update)
            for m, o in carried.values():
                if nest.stages[id(m)] == number:
                    body.append(nest.store(o, nest.value(m, stage, body.append)))
            for m in stores:
                value = nest.value(m, stage, body.append)
                body.append(nest.store(m, value))
            out.append(around(body))
            for r in reductions:
                nest.rows[id(r)] = nest.result(r)
    for m in nest.group.nodes:
        if nest.group.levels[id(m)] == ROW and nest.wants(m):
            value = nest.value(m, {}, out.append)
            out.append(nest.store(m, value))


def _rows(nest: _Nest, kept: int, folded: int) -> Lowered:
    domain, n = nest.domain, len(nest.domain)
    inner = [k for k in range(n) if domain[k][1]]
    outer = [k for k in range(n) if not domain[k][1]]
    serial = kept * folded * max(1, len(nest.group.nodes)) < _SHARE * 4 and kept * folded < _SHARE
    tail = [m for m in nest.group.nodes if nest.group.levels[id(m)] == POINT]
    tail_inputs = _row_values_for(nest, tail)
    run = domain[inner[-1]][0] if inner else 0
    columns = bool(outer) and (inner == [] or inner[-1] != n - 1 or run < 16) and domain[outer[-1]][0] >= 8
    if columns and _splits(nest, inner, tail, kept):
        return _column_blocks(nest, inner, outer, kept)
    phases: list[Phase]
    if not columns:
        body: list[Stmt] = []
        if inner:
            _passes(nest, lambda b: _loops(nest, inner, inner[-1], b), body)
        body += _keep_rows(nest, tail_inputs)
        phases, work = [Phase(tuple((k, nest.extents[k]) for k in outer), tuple(body))], [kept]
    else:
        lane = outer[-1]
        tile = 256 if folded > 8 else 2048
        tiles = _tiles(domain[lane][0], tile)
        nest.args.slots.append(("int", tiles))
        parallel = (*[(k, nest.extents[k]) for k in outer[:-1]], (n, Slot(len(nest.args.slots) - 1)))
        body = []
        _passes(nest, lambda b: _loops(nest, inner, None, b), body)
        body += _keep_rows(nest, tail_inputs)
        phases = [Phase(parallel, (Loop(lane, nest.extents[lane], "vector", tuple(body), (n, tile)),))]
        work = [kept // max(1, domain[lane][0]) * tiles if kept else 0]
    if tail:
        phases.append(_tail(nest, tail, tail_inputs, kept))
        work.append(1)
    return nest.finish(phases, work, [serial] + [True] * (len(phases) - 1))


_COMBINE = {"sum": "add", "prod": "mul", "max": "max", "min": "min"}


def _identity(acc: Acc) -> Const:
    """What an accumulator starts from, as a number to store."""
    if acc.op in ("sum", "prod"):
        return Const(acc.op == "prod" if acc.dtype == "bool" else int(acc.op == "prod"), acc.dtype)
    if acc.dtype.startswith("float"):
        return Const(float("-inf") if acc.op == "max" else float("inf"), acc.dtype)
    limits = by_name(acc.dtype).np
    return Const(int(np.iinfo(limits).min if acc.op == "max" else np.iinfo(limits).max), acc.dtype)


def _splits(nest: _Nest, inner: list[int], tail: list[Node], kept: int) -> bool:
    """Whether columns are folded in blocks of rows first: so that memory is read nearly in order, and there is work for all threads."""
    domain = nest.domain
    late = any(nest.group.levels[id(m)] == FULL and nest.stages[id(m)] for m in nest.group.nodes)
    several = any(r.op.kind == "reduce" and (nest.stages[id(r)] or r.op.name.removeprefix("reduce_") not in _COMBINE or r.srcs[0].dtype.name == "bool")
                  for r in nest.group.nodes)
    return not (late or several or tail) and bool(inner) and domain[inner[0]][0] >= 64 and kept >= 64


def _column_blocks(nest: _Nest, inner: list[int], outer: list[int], kept: int) -> Lowered:
    """Two phases: blocks of rows folded to partial rows, then the partial rows folded."""
    domain, n = nest.domain, len(nest.domain)
    lane = outer[-1]
    block = max(32, _TILE // max(1, domain[lane][0] * numel(tuple(domain[k][0] for k in inner[1:]))))
    blocks = _tiles(domain[inner[0]][0], block)
    nest.args.slots.append(("int", blocks))
    count = Slot(len(nest.args.slots) - 1)
    nest.args.slots.append(("int", kept))
    row = Slot(len(nest.args.slots) - 1)
    reductions = [r for r in nest.group.nodes if r.op.kind == "reduce"]
    body: list[Stmt] = []
    stage: dict[int, Expr] = {}
    start: list[Stmt] = []
    partial = []
    place = nest.address(own_strides(domain, ROW)).terms
    fresh = n + 4  # the axis of the loop that sets partial rows to the identity
    for r in reductions:
        acc = nest.declare(r).acc
        value = nest.read(r.srcs[0], r.srcs[0].shape, FULL, stage, body.append)
        nest.scratch.append(blocks * kept * 8)
        buffer = nest.args.scratch(len(nest.scratch) - 1, acc.dtype)
        partial.append((r, acc, buffer))
        body.append(Store(buffer, Address(0, ((n, row), *place)), value, _COMBINE[acc.op]))
        start.append(Store(buffer, Address(0, ((n, row), *[(fresh if k == lane else k, step) for k, step in place])), _identity(acc)))
    for m in nest.group.nodes:
        if nest.group.levels[id(m)] == FULL and nest.wants(m):
            value = nest.value(m, stage, body.append)
            body.append(nest.store(m, value))
    loops: tuple[Stmt, ...] = (Loop(lane, nest.extents[lane], "vector", tuple(body)),)
    for k in reversed(inner):
        loops = (Loop(k, nest.extents[k], "serial", loops, (n, block) if k == inner[0] else None),)
    first = Phase((*[(k, nest.extents[k]) for k in outer[:-1]], (n, count)), (Loop(fresh, nest.extents[lane], "vector", tuple(start)), *loops))
    nest.rows, nest.shared = {}, {}
    combine: list[Stmt] = []
    axis = n + 8
    for r, acc, buffer in partial:
        whole = nest.accs[id(r)] = Acc(acc.op, acc.dtype)
        load = Load(buffer, Address(0, ((axis, row), *place)), acc.dtype)
        combine += [Declare(whole), Loop(axis, count, "serial", (Update(whole, load),))]
        nest.rows[id(r)] = nest.result(r)
        axis += 1
    for m in nest.group.nodes:
        if nest.group.levels[id(m)] == ROW and nest.wants(m):
            value = nest.value(m, {}, combine.append)
            combine.append(nest.store(m, value))
    tiles = _tiles(domain[lane][0], 512)
    nest.args.slots.append(("int", tiles))
    second = Phase((*[(k, nest.extents[k]) for k in outer[:-1]], (n, Slot(len(nest.args.slots) - 1))),
                   (Loop(lane, nest.extents[lane], "vector", tuple(combine), (n, 512)),))
    rest = kept // domain[lane][0]
    small = kept * numel(tuple(domain[k][0] for k in inner)) < _SHARE
    return nest.finish([first, second], [rest * blocks, rest * tiles], [small, small])


def _row_values_for(nest: _Nest, tail: list[Node]) -> list[tuple[Node, Node, int]]:
    """What the reductions over rows read: (reduction, its source, scratch number)."""
    out = []
    for node in tail:
        if node.op.kind == "reduce":
            out.append((node, node.srcs[0], len(nest.scratch)))
            nest.scratch.append(numel(sizes(nest.domain, ROW)) * 8)
    return out


def _keep_rows(nest: _Nest, inputs: list[tuple[Node, Node, int]]) -> list[Stmt]:
    out: list[Stmt] = []
    for _, source, number in inputs:
        value = nest.read(source, source.shape, ROW, {}, out.append)
        buffer = nest.args.scratch(number, value.dtype)
        out.append(Store(buffer, nest.address(own_strides(nest.domain, ROW)), value))
    return out


def _tail(nest: _Nest, tail: list[Node], inputs: list[tuple[Node, Node, int]], kept: int) -> Phase:
    """The reductions over rows and what is computed from them, in one work item."""
    body: list[Stmt] = []
    axis = len(nest.domain) + 8
    nest.args.slots.append(("int", kept))
    extent = Slot(len(nest.args.slots) - 1)
    for node, _, number in inputs:
        body.append(nest.declare(node))
        acc = nest.accs[id(node)]
        load = Load(nest.args.scratch(number, acc.dtype), Address(0, ((axis, 1),)), acc.dtype)
        body.append(Loop(axis, extent, "vector", (Update(acc, load),)))
        nest.rows[id(node)] = nest.result(node)
        axis += 1
    for node in tail:
        if nest.wants(node):
            value = nest.value(node, {}, body.append)
            body.append(Store(nest.args.buffer(node, 0, True), Address(), value))
    return Phase((), tuple(body))


def _flat(nest: _Nest) -> Lowered:
    """Everything folds into single values: per pass, tiles of partial results and a phase that combines them."""
    domain, n = nest.domain, len(nest.domain)
    axes = list(range(n))
    inner = numel(tuple(s for s, _ in domain[1:]))
    tile = max(1, 2 * _TILE // max(1, inner)) if n > 1 else 2 * _TILE
    tiles = _tiles(domain[0][0], tile)
    nest.args.slots.append(("int", tiles))
    count = Slot(len(nest.args.slots) - 1)
    nest.args.slots.append(("int", tile))
    phases: list[Phase] = []
    work: list[int] = []
    serial: list[bool] = []

    def around(body: list[Stmt]) -> Stmt:
        return _loops(nest, axes, n - 1, body, (0, (n, tile)))
    for number in range(max(nest.stages.values()) + 2):
        reductions = [r for r in nest.group.nodes if r.op.kind == "reduce" and nest.stages[id(r)] == number]
        stores = [m for m in nest.group.nodes if nest.group.levels[id(m)] == FULL and nest.wants(m) and nest.stages[id(m)] == number]
        if not reductions and not stores:
            continue
        body: list[Stmt] = []
        stage: dict[int, Expr] = {}
        head: list[Stmt] = [nest.declare(r) for r in reductions]
        carried = _bring(nest)
        for r in reductions:
            update = nest.fold(r, stage, body.append)
            body.append(update)
        for m in stores:
            value = nest.value(m, stage, body.append)
            body.append(nest.store(m, value))
        after: list[Stmt] = []
        partial: list[tuple[Node, Acc, int, int]] = []
        for r in reductions:
            acc = nest.accs[id(r)]
            indexed = acc.op in ("argmax", "argmin")
            values, indices = len(nest.scratch), len(nest.scratch) + 1
            nest.scratch += [tiles * 8, tiles * 8 if indexed else 8]
            after.append(Store(nest.args.scratch(values, acc.dtype), Address(0, ((n, 1),)), Read(acc, acc.dtype)))
            if indexed:
                after.append(Store(nest.args.scratch(indices, "int64"), Address(0, ((n, 1),)), Read(acc, "int64", True)))
            partial.append((r, acc, values, indices))
        phases.append(Phase(((n, count),), (*head, around(body), *after)))
        work.append(tiles)
        serial.append(False)
        nest.rows = {}
        if reductions:
            phases.append(_combine(nest, partial, carried, count, number))
            work.append(1)
            serial.append(True)
    return nest.finish(phases, work, serial)


def _bring(nest: _Nest) -> None:
    """At the start of a phase the single values of earlier phases are loaded from where they were kept."""
    nest.rows = {}
    for key, (number, dtype) in getattr(nest, "kept_points", {}).items():
        nest.rows[key] = Load(nest.args.scratch(number, dtype), Address(), dtype)


def _combine(nest: _Nest, partial: list[tuple[Node, Acc, int, int]], carried: None, count: Slot, number: int) -> Phase:
    axis = len(nest.domain) + 8
    body: list[Stmt] = []
    _bring(nest)
    for r, acc, values, indices in partial:
        whole = Acc(acc.op, acc.dtype)
        nest.accs[id(r)] = whole
        body.append(Declare(whole))
        load = Load(nest.args.scratch(values, acc.dtype), Address(0, ((axis, 1),)), acc.dtype)
        index = Load(nest.args.scratch(indices, "int64"), Address(0, ((axis, 1),)), "int64") if acc.op in ("argmax", "argmin") else None
        body.append(Loop(axis, count, "vector", (Update(whole, load, index),)))
        nest.rows[id(r)] = nest.result(r)
        axis += 1
    kept: dict[int, tuple[int, str]] = getattr(nest, "kept_points", {})
    for m in nest.group.nodes:
        ready = nest.group.levels[id(m)] == ROW and nest.stages[id(m)] + (m.op.kind == "reduce") == number + 1
        if ready:
            value = nest.value(m, {}, body.append)
            if nest.wants(m):
                body.append(Store(nest.args.buffer(m, 0, True), Address(), value))
            kept[id(m)] = (len(nest.scratch), value.dtype)
            nest.scratch.append(8)
            body.append(Store(nest.args.scratch(kept[id(m)][0], value.dtype), Address(), value))
    nest.kept_points = kept  # type: ignore[attr-defined]
    return Phase((), tuple(body))


__all__ = ["CONST", "Lowered", "SCALAR", "lower"]

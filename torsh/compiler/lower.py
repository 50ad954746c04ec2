"""From a fused group to a kernel of the kernel IR, with the argument table that binds it to memory.

Four shapes of loop nest: *pointwise* (no folding), *rows* (one work item per kept element or row; the folded axes are
loops inside), *columns* (as rows, but the innermost kept axis runs over vector lanes), and *flat* (everything folded
into one value: fixed tiles give partial results, a second phase combines them). Which one depends on sizes alone,
so results do not depend on the number of threads.
"""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from torsh.codegen.kernel_ir import (
    MATH,
    Acc,
    Address,
    Const,
    Declare,
    Expr,
    Int,
    Load,
    Loop,
    Phase,
    Read,
    Slot,
    Stmt,
    Store,
    Update,
)
from torsh.compiler.layout import FULL, ROW, own_strides, sizes
from torsh.compiler.layout import SCALAR as POINT
from torsh.compiler.nest import Lowered, Nest, compute_type
from torsh.compiler.schedule import Group, Schedule
from torsh.core.dtypes import by_name
from torsh.core.shapes import numel
from torsh.graph.node import Node

_TILE = 8192  # elements of a work item where the split is free
_SHARE = 32768  # element operations below which a launch stays on one thread

#: A work item of a nest whose reads and writes disagree about the contiguous axis: by the axis of the reads, which they then walk in
#: long runs, and that of the writes.
_SQUARES = 1024, 32
#: Rows of at most so many elements share a work item with others, so many at a time.
_SHORT, _TOGETHER = 512, 32
#: Bytes from which writing past the caches was faster: they hold less, and it saves reading what is overwritten. Squares write short
#: runs in many places, which the caches keep badly.
_STREAM = 48 << 20
_STREAM_SQUARES = 2 << 20


def _tiles(n: int, tile: int) -> int:
    return max(1, -(-n // tile))


def lower(schedule: Schedule, group: Group) -> Lowered:
    """The kernel of a group of loops."""
    nest = Nest(schedule, group)
    if not group.folds:
        return _pointwise(nest)
    kept = numel(tuple(n for n, f in nest.domain if not f))
    folded = numel(tuple(n for n, f in nest.domain if f))
    if kept == 1 and folded > 2 * _TILE:
        return _flat(nest)
    return _rows(nest, kept, folded)


def _pointwise(nest: Nest) -> Lowered:
    domain, n = nest.domain, len(nest.domain)
    parallel: list[tuple[int, Int]]
    total = numel(tuple(s for s, _ in domain))
    body: list[Stmt] = []
    stage: dict[int, Expr] = {}
    crossing = nest.crossing_axis()
    stored = sum(node.numel * node.dtype.itemsize for node in nest.group.nodes if nest.wants(node))
    stream = stored >= (_STREAM if crossing is None else _STREAM_SQUARES)
    for node in nest.group.nodes:
        if nest.wants(node):
            value = nest.value(node, stage, body.append)
            body.append(nest.store(node, value, stream))
    serial = total * max(1, len(nest.group.nodes)) < _SHARE * 4 and total < _SHARE
    if n == 0:
        return nest.finish([Phase((), tuple(body))], [1], [True])
    last = domain[-1][0]
    if crossing is not None:
        high, wide = _tiles(domain[crossing][0], _SQUARES[0]), _tiles(last, _SQUARES[1])
        around = [k for k in range(n - 1) if k != crossing]
        parallel = [*[(k, nest.extents[k]) for k in around], (n, nest.args.given(high)), (n + 1, nest.args.given(wide))]
        loop = Loop(n - 1, nest.extents[-1], "vector", tuple(body), (n + 1, _SQUARES[1]))
        loop = Loop(crossing, nest.extents[crossing], "block", (loop,), (n, _SQUARES[0]))
        return nest.finish([Phase(tuple(parallel), (loop,))], [numel(tuple(domain[k][0] for k in around)) * high * wide], [serial])
    parallel = [(k, nest.extents[k]) for k in range(n - 1)]
    work = numel(tuple(s for s, _ in domain[:-1]))
    if n == 1:
        tiles = _tiles(last, _TILE)
        parallel.append((n, nest.args.given(tiles)))
        loop = Loop(n - 1, nest.extents[-1], "vector", tuple(body), (n, _TILE))
        work *= tiles
    else:
        loop = Loop(n - 1, nest.extents[-1], "vector", tuple(body))
        if last <= _SHORT and domain[-2][0] > 1:  # what the rows have in common takes as long as one of them
            tiles = _tiles(domain[-2][0], _TOGETHER)
            parallel[-1] = (n, nest.args.given(tiles))
            loop = Loop(n - 2, nest.extents[-2], "serial", (loop,), (n, _TOGETHER))
            work = work // domain[-2][0] * tiles
    return nest.finish([Phase(tuple(parallel), (loop,))], [work], [serial])


def _loops(nest: Nest, axes: list[int], vector: int | None, body: list[Stmt], tile: tuple[int, tuple[int, int]] | None = None) -> Stmt:
    """Nested loops over axes, outermost first; `vector` names the one over lanes, `tile` = (axis, (parallel axis, size))."""
    inner: tuple[Stmt, ...] = tuple(body)
    for k in reversed(axes):
        inner = (Loop(k, nest.extents[k], "vector" if k == vector else "serial", inner, tile[1] if tile and tile[0] == k else None),)
    return inner[0]


def _carried(nest: Nest) -> dict[int, tuple[Node, Node]]:
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


def _folded_at_once(nest: Nest, m: Node) -> bool:
    """Whether a reduction of the pass in which `m` can be computed reads it: then it is computed there anyway."""
    return any(r.op.kind == "reduce" and nest.schedule.source(r.srcs[0])[0] is m for r in nest.group.nodes)


def _passes(nest: Nest, around: Callable[[list[Stmt]], Stmt], out: list[Stmt]) -> None:
    """The passes over the folded axes of one work item, and what is computed between them."""
    last = max(nest.stages.values())
    carried = _carried(nest)
    for number in range(last + 2):
        reductions = [r for r in nest.group.nodes if r.op.kind == "reduce" and nest.stages[id(r)] == number and nest.group.levels[id(r)] == ROW]
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


def _rows(nest: Nest, kept: int, folded: int) -> Lowered:
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
        parallel = (*[(k, nest.extents[k]) for k in outer[:-1]], (n, nest.args.given(tiles)))
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


def _splits(nest: Nest, inner: list[int], tail: list[Node], kept: int) -> bool:
    """Whether columns are folded in blocks of rows first: so that memory is read nearly in order, and there is work for all threads."""
    domain = nest.domain
    late = any(nest.group.levels[id(m)] == FULL and nest.stages[id(m)] for m in nest.group.nodes)
    several = any(r.op.kind == "reduce" and (nest.stages[id(r)] or r.op.name.removeprefix("reduce_") not in _COMBINE or r.srcs[0].dtype.name == "bool")
                  for r in nest.group.nodes)
    return not (late or several or tail) and bool(inner) and domain[inner[0]][0] >= 64 and kept >= 64


def _column_blocks(nest: Nest, inner: list[int], outer: list[int], kept: int) -> Lowered:
    """Two phases: blocks of rows folded to partial rows, then the partial rows folded."""
    domain, n = nest.domain, len(nest.domain)
    lane = outer[-1]
    block = max(32, _TILE // max(1, domain[lane][0] * numel(tuple(domain[k][0] for k in inner[1:]))))
    blocks = _tiles(domain[inner[0]][0], block)
    count = nest.args.given(blocks)
    row = nest.args.given(kept)
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
    second = Phase((*[(k, nest.extents[k]) for k in outer[:-1]], (n, nest.args.given(tiles))),
                   (Loop(lane, nest.extents[lane], "vector", tuple(combine), (n, 512)),))
    rest = kept // domain[lane][0]
    small = kept * numel(tuple(domain[k][0] for k in inner)) < _SHARE
    return nest.finish([first, second], [rest * blocks, rest * tiles], [small, small])


def _row_values_for(nest: Nest, tail: list[Node]) -> list[tuple[Node, Node, int]]:
    """What the reductions over rows read: (reduction, its source, scratch number)."""
    out = []
    for node in tail:
        if node.op.kind == "reduce":
            out.append((node, node.srcs[0], len(nest.scratch)))
            nest.scratch.append(numel(sizes(nest.domain, ROW)) * 8)
    return out


def _keep_rows(nest: Nest, inputs: list[tuple[Node, Node, int]]) -> list[Stmt]:
    out: list[Stmt] = []
    for _, source, number in inputs:
        value = nest.read(source, source.shape, ROW, {}, out.append)
        buffer = nest.args.scratch(number, value.dtype)
        out.append(Store(buffer, nest.address(own_strides(nest.domain, ROW)), value))
    return out


def _tail(nest: Nest, tail: list[Node], inputs: list[tuple[Node, Node, int]], kept: int) -> Phase:
    """The reductions over rows and what is computed from them, in one work item."""
    body: list[Stmt] = []
    axis = len(nest.domain) + 8
    extent = nest.args.given(kept)
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


def _flat(nest: Nest) -> Lowered:
    """Everything folds into single values: per pass, tiles of partial results and a phase that combines them."""
    domain, n = nest.domain, len(nest.domain)
    axes = list(range(n))
    inner = numel(tuple(s for s, _ in domain[1:]))
    tile = max(1, 2 * _TILE // max(1, inner)) if n > 1 else 2 * _TILE
    tiles = _tiles(domain[0][0], tile)
    count = nest.args.given(tiles)
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
        _bring(nest)
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
            phases.append(_combine(nest, partial, count, number))
            work.append(1)
            serial.append(True)
    return nest.finish(phases, work, serial)


def _bring(nest: Nest) -> None:
    """At the start of a phase the single values of earlier phases are loaded from where they were kept."""
    nest.rows = {}
    for key, (number, dtype) in nest.points.items():
        nest.rows[key] = Load(nest.args.scratch(number, dtype), Address(), dtype)


def _combine(nest: Nest, partial: list[tuple[Node, Acc, int, int]], count: Slot, number: int) -> Phase:
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
    for m in nest.group.nodes:
        ready = nest.group.levels[id(m)] == ROW and nest.stages[id(m)] + (m.op.kind == "reduce") == number + 1
        if ready:
            value = nest.value(m, {}, body.append)
            if nest.wants(m):
                body.append(Store(nest.args.buffer(m, 0, True), Address(), value))
            nest.points[id(m)] = len(nest.scratch), value.dtype
            body.append(Store(nest.args.scratch(len(nest.scratch), value.dtype), Address(), value))
            nest.scratch.append(8)
    return Phase((), tuple(body))

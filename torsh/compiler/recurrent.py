"""Kernels of recurrent layers: all steps of one layer and direction in one launch, and all of them backwards in another.

Rows of the batch do not depend on each other, so each work item walks through the steps with rows of its own and waits for nobody. In a step it
multiplies the states of its rows with the recurrent weights, which are packed once in the order in which they are read: blocks of columns, in a
block all k, for each k a few vectors. The sums of some rows times some vectors stay in registers. Then come the gates, element by element. Numbers of
steps, rows and hidden units are run-time integers; what is summed and in which order depends on them alone, not on threads.

A layer is `name(x gates [t * n, g * h], initial states [n, h], weight [g * h, h], two biases)`, with `outputs` as `ops.recurrent` has them.
"""
from __future__ import annotations

from torsh.codegen.kernel_ir import Acc, Address, Arg, Const, Declare, Expr, Index, Kernel, Load, Loop, Op, Phase, Read, Stmt, Store, Update
from torsh.compiler.nest import Arguments, Lowered
from torsh.compiler.schedule import Schedule
from torsh.compiler.whole import BACKWARD
from torsh.graph.node import Node

_ITEM, _TILE, _STEP, _BLOCK, _LANE, _K, _ROW, _COLUMN = range(8)  # axes
_LANES = 16  # columns of a vector of a block
_SUMS, _MOST_ROWS = 24, 12  # sums of a tile, of 32 registers, and its rows
_LARGE = 1 << 20  # bytes of weights that one core's cache holds beside other things


def _op(name: str, *srcs: Expr) -> Expr:
    return Op(name, srcs, srcs[0].dtype)


def _times(first: Expr, *others: Expr) -> Expr:
    for other in others:
        first = _op("mul", first, other)
    return first


def _plus(first: Expr, *others: Expr | None) -> Expr:
    for other in others:
        first = first if other is None else _op("add", first, other)
    return first


class Cell:
    """How a state follows from the one before, element by element, and the derivative of that. `kept` arrays are what backward reads.

    step: from each gate's part of the inputs and of the states (both with their biases), the old state and cell, the new state, the new cell and what
    to keep. back: from the gradients of state and cell, what was kept, state and cell before and after, the gradients of the inputs' and of the
    states' parts, then of the old cell and, beyond what comes through the gates, of the old state."""
    gates = kept = 1
    cells = apart = before = False  # has cells; the gradients of the two parts differ; the old state takes part itself

    def step(self, x: list[Expr], h: list[Expr], old: Expr | None, c: Expr | None) -> tuple[Expr, Expr | None, list[Expr]]:
        raise NotImplementedError

    def back(self, dh: Expr, dc: Expr | None, kept: list[Expr], old: Expr | None, new: Expr | None) \
            -> tuple[list[Expr], list[Expr], Expr | None, Expr | None]:
        raise NotImplementedError


class _Simple(Cell):
    kept = 0

    def __init__(self, relu: bool) -> None:
        self.relu = relu

    def step(self, x: list[Expr], h: list[Expr], old: Expr | None, c: Expr | None) -> tuple[Expr, Expr | None, list[Expr]]:
        total = _plus(x[0], h[0])
        return (_op("max", total, Const(0.0, total.dtype)) if self.relu else _op("tanh", total)), None, []

    def back(self, dh: Expr, dc: Expr | None, kept: list[Expr], old: Expr | None, new: Expr | None) \
            -> tuple[list[Expr], list[Expr], Expr | None, Expr | None]:
        assert new is not None
        if self.relu:
            zero = Const(0.0, dh.dtype)
            slope: Expr = Op("where", (Op("gt", (new, zero), "bool"), Const(1.0, dh.dtype), zero), dh.dtype)
        else:
            slope = _op("sub", Const(1.0, dh.dtype), _times(new, new))
        g = _times(dh, slope)
        return [g], [g], None, None


class _Lstm(Cell):
    gates = kept = 4
    cells = True

    def step(self, x: list[Expr], h: list[Expr], old: Expr | None, c: Expr | None) -> tuple[Expr, Expr | None, list[Expr]]:
        assert c is not None
        i, f, g, o = (_op("tanh" if k == 2 else "sigmoid", _plus(a, b)) for k, (a, b) in enumerate(zip(x, h, strict=True)))
        c = _plus(_times(f, c), _times(i, g))
        return _times(o, _op("tanh", c)), c, [i, f, g, o]

    def back(self, dh: Expr, dc: Expr | None, kept: list[Expr], old: Expr | None, new: Expr | None) \
            -> tuple[list[Expr], list[Expr], Expr | None, Expr | None]:
        assert dc is not None
        assert old is not None
        assert new is not None
        i, f, g, o = kept
        one, t = Const(1.0, dh.dtype), _op("tanh", new)
        dc = _plus(dc, _times(dh, o, _op("sub", one, _times(t, t))))
        made = [_times(dc, g, i, _op("sub", one, i)), _times(dc, old, f, _op("sub", one, f)), _times(dc, i, _op("sub", one, _times(g, g))),
                _times(dh, t, o, _op("sub", one, o))]
        return made, made, _times(dc, f), None


class _Gru(Cell):
    gates, kept = 3, 4
    apart = before = True

    def step(self, x: list[Expr], h: list[Expr], old: Expr | None, c: Expr | None) -> tuple[Expr, Expr | None, list[Expr]]:
        assert old is not None
        r, z = (_op("sigmoid", _plus(x[k], h[k])) for k in range(2))
        n = _op("tanh", _plus(x[2], _times(r, h[2])))
        return _plus(n, _times(z, _op("sub", old, n))), None, [r, z, n, h[2]]

    def back(self, dh: Expr, dc: Expr | None, kept: list[Expr], old: Expr | None, new: Expr | None) \
            -> tuple[list[Expr], list[Expr], Expr | None, Expr | None]:
        assert old is not None
        r, z, n, hn = kept
        one = Const(1.0, dh.dtype)
        to_new = _times(dh, _op("sub", one, z), _op("sub", one, _times(n, n)))
        reset = _times(to_new, hn, r, _op("sub", one, r))
        update = _times(dh, _op("sub", old, n), z, _op("sub", one, z))
        return [reset, update, to_new], [reset, update, _times(to_new, r)], None, _times(dh, z)


CELLS: dict[str, Cell] = {"rnn_tanh_layer": _Simple(False), "rnn_relu_layer": _Simple(True), "lstm_layer": _Lstm(), "gru_layer": _Gru()}


def _tile(rows: int, columns: int) -> tuple[int, int]:
    """Rows and vectors of a tile: by the cycles of a step in k on a processor that does two products and two loads of vectors in one and has 1.6 for
    a vector from the second-level cache; sums need at least four, since each waits for itself."""
    def cost(rows_vectors: tuple[int, int]) -> tuple[float, int]:
        r, v = rows_vectors
        step = max(r * v / 2, (r + v) / 2, 4, 1.6 * v)
        return round(-(-rows // r) * -(-columns // (v * _LANES)) * step, 3), -r
    return min([(r, v) for v in (4, 2, 1) for r in range(1, _MOST_ROWS + 1) if r * v <= _SUMS], key=cost)


class _Layer:
    """One kernel while it is made: sizes, argument table, the tiling of rows and columns. The product is of [rows, depth] and [depth, columns]."""

    def __init__(self, schedule: Schedule, node: Node, steps: int, rows: int, hidden: int, reverse: bool, depth: int, columns: int) -> None:
        self.args = Arguments()
        self.schedule, self.node = schedule, node
        dtype = node.outputs[0][1]  # type: ignore[index]
        self.dtype, self.itemsize = dtype.name, dtype.itemsize
        self.steps, self.rows, self.hidden, self.reverse, self.depth = steps, rows, hidden, reverse, depth
        self.made = {item.arg: item for item in schedule.several[id(node)]}
        self.scratch: list[int] = []
        self.tall, self.vectors = _tile(rows, columns)
        self.wide = self.vectors * _LANES
        self.tiles, self.blocks = -(-rows // self.tall), -(-columns // self.wide)
        self.columns, self.padded = columns, self.blocks * self.wide
        weights = self.blocks * self.wide * depth
        large = weights * self.itemsize > _LARGE
        # Tiles of an item: few, to have enough items; more where weights come from far.
        self.together = max(1, min(8, self.tiles // 2) if large else min(4, self.tiles // 4))
        self.items = -(-self.tiles // self.together)
        self.serial = [weights < 65536, steps * rows * weights < 200_000]
        self.packed = self.temporary(weights)
        self.sums = self.temporary(self.tiles * self.tall * self.padded)  # [rows, columns] of the product, both padded

    # Memory

    def source(self, position: int) -> int:
        return self.args.buffer(self.schedule.memory(self.node.srcs[position], whole=True)[0], 0, False)

    def output(self, number: int) -> int | None:
        """The buffer of an output; one that nobody reads has none."""
        return self.args.buffer(self.made[number], 0, True) if number in self.made else None

    def needed(self, number: int) -> int:
        """The buffer of an output that is needed on the way."""
        shape = self.node.outputs[number][0]  # type: ignore[index]
        found = self.output(number)
        return self.temporary(shape[0] * shape[1]) if found is None else found

    def temporary(self, elements: int) -> int:
        self.scratch.append(elements * self.itemsize)
        return self.args.scratch(len(self.scratch) - 1, self.dtype)

    def address(self, offset: int, *terms: tuple[int, int]) -> Address:
        return Address(self.args.integer(offset), tuple((axis, self.args.integer(step)) for axis, step in terms))

    def load(self, buffer: int, address: Address, mask: Expr | None = None) -> Expr:
        return Load(buffer, address, self.dtype, mask)

    def given(self, value: int) -> Expr:
        return Const(0, "int64") if value == 0 else Arg(self.args.given(value).index, "int64")

    def time(self, size: int, backwards: bool, before: bool = False) -> tuple[int, int]:
        """Where the rows of a step lie in memory of `size` elements a row, in the order of the steps or backwards: (first, distance).
        `before`: those of the step before in order."""
        whole = self.rows * size
        ascending = self.reverse == backwards
        first = 0 if ascending else (self.steps - 1) * whole
        return first + (whole if self.reverse else -whole) * before, whole if ascending else -whole

    # Loops

    def each(self, *body: Stmt) -> Loop:
        """Over the rows of the work item and all hidden units."""
        inside = Loop(_COLUMN, self.args.given(self.hidden), "vector", body)
        return Loop(_ROW, self.args.given(self.rows), "serial", (inside,), (_ITEM, self.args.given(self.together * self.tall)))

    def here(self, size: int, part: int = 0, when: tuple[int, int] | None = None) -> Address:
        """The address of an element in `each`: in array `part` of those side by side in a row, in the rows of a step."""
        first, step = (0, 0) if when is None else when
        return self.address(first + part * self.hidden, *([(_STEP, step)] if when else []), (_ROW, size), (_COLUMN, 1))

    def product(self, states: int, when: tuple[int, int] | None) -> Loop:
        """The sums of the work item's rows of states [rows, depth], those of a step, times the packed weights."""
        accs = [[Acc("sum", self.dtype) for _ in range(self.vectors)] for _ in range(self.tall)]
        first, step = (0, 0) if when is None else when
        terms = [(_STEP, step)] if when else []
        weights = [self.load(self.packed, self.address(v * _LANES, (_BLOCK, self.depth * self.wide), (_K, self.wide), (_LANE, 1)))
                   for v in range(self.vectors)]
        inner: list[Stmt] = []
        stores: list[Stmt] = []
        for r, row in enumerate(accs):
            if self.rows % self.tall == 0:
                place = self.address(first + r * self.depth, *terms, (_TILE, self.tall * self.depth), (_K, 1))
            else:  # rows beyond the last are copies of it
                number = _op("add", _op("mul", Index(_TILE), Const(self.tall, "int64")), Const(r, "int64"))
                address = self.address(first, *terms, (_K, 1))
                place = Address(address.offset, address.terms, ((_op("min", number, self.given(self.rows - 1)), self.args.integer(self.depth)),))
            state = self.load(states, place)
            inner += [Update(acc, weight, None, state) for acc, weight in zip(row, weights, strict=True)]
            for v, acc in enumerate(row):
                into = self.address(r * self.padded + v * _LANES, (_TILE, self.tall * self.padded), (_BLOCK, self.wide), (_LANE, 1))
                stores.append(Store(self.sums, into, Read(acc, self.dtype)))
        fold = Loop(_K, self.args.given(self.depth), "serial", tuple(inner))
        lanes = Loop(_LANE, _LANES, "vector", (*[Declare(acc) for row in accs for acc in row], fold, *stores))
        tile = Loop(_TILE, self.args.given(self.tiles), "serial", (lanes,), (_ITEM, self.args.given(self.together)))
        return Loop(_BLOCK, self.args.given(self.blocks), "serial", (tile,))

    def packing(self, weight: int, row: int, column: int) -> Phase:
        """A matrix, by the distances between its rows and columns, in the order in which it is read: (block, k, vector, lane)."""
        body: list[Stmt] = []
        for v in range(self.vectors):
            place = self.address(v * _LANES * column, (_BLOCK, self.wide * column), (_LANE, column), (_K, row))
            into = self.address(v * _LANES, (_BLOCK, self.depth * self.wide), (_K, self.wide), (_LANE, 1))
            mask: Expr | None = None
            if self.columns != self.padded:
                start = _op("add", _op("mul", Index(_BLOCK), Const(self.wide, "int64")), Const(v * _LANES, "int64"))
                mask = Op("lt", (_op("add", start, Index(_LANE)), self.given(self.columns)), "bool")
            copy = Loop(_LANE, _LANES, "vector", (Store(self.packed, into, self.load(weight, place, mask)),))
            body.append(Loop(_K, self.args.given(self.depth), "block" if row == 1 else "serial", (copy,)))
        return Phase(((_BLOCK, self.args.given(self.blocks)),), tuple(body))

    def finish(self, packing: Phase, *body: Stmt) -> Lowered:
        phases = (packing, Phase(((_ITEM, self.args.given(self.items)),), body))
        kernel = Kernel(tuple(self.args.buffers), len(self.args.slots), phases)
        return Lowered(kernel, self.args, [self.blocks, self.items], self.serial, self.scratch, [])


def lower(schedule: Schedule, node: Node) -> Lowered:
    """The kernel of a node that `whole.fits`."""
    layer = node.op.name.removesuffix(BACKWARD)
    return (_forward if layer == node.op.name else _backwards)(schedule, node, CELLS[layer])


def _forward(schedule: Schedule, node: Node, cell: Cell) -> Lowered:
    """outputs: the states after each step, the last one, of an LSTM the last cells and those after each step, then what is kept."""
    biased, _, sizes, reverse, keep, _ = node.arg
    hidden = node.outputs[0][0][1]  # type: ignore[index]
    gates, wide = cell.gates, cell.gates * hidden
    made = _Layer(schedule, node, len(sizes), sizes[0], hidden, reverse, hidden, wide)
    x, first = made.source(0), made.source(1)
    weight = made.source(2 + cell.cells)
    biases = [made.source(3 + cell.cells + k) for k in range(2)] if biased else []
    out, state = made.output(0), made.needed(1)
    cells, every = (made.needed(2), made.output(3)) if cell.cells else (None, None)
    kept = made.output(4 if cell.cells else 2) if keep and cell.kept else None

    here = made.here(hidden)
    begin: list[Stmt] = [Store(state, here, made.load(first, here))]
    if cells is not None:
        begin.append(Store(cells, here, made.load(made.source(2), here)))
    xs = [made.load(x, made.here(wide, g, made.time(wide, False))) for g in range(gates)]
    hs = [made.load(made.sums, made.here(made.padded, g)) for g in range(gates)]
    if biases:
        xs, hs = ([_plus(part, made.load(b, made.address(g * hidden, (_COLUMN, 1)))) for g, part in enumerate(parts)]
                  for parts, b in zip((xs, hs), biases, strict=True))
    new, c, keeps = cell.step(xs, hs, made.load(state, here) if cell.before else None, None if cells is None else made.load(cells, here))
    now = made.here(hidden, 0, made.time(hidden, False))
    body: list[Stmt] = []
    if kept is not None:
        times = made.time(cell.kept * hidden, False)
        body += [Store(kept, made.here(cell.kept * hidden, k, times), value) for k, value in enumerate(keeps)]
    for into, place, value in ((cells, here, c), (every, now, c), (out, now, new), (state, here, new)):
        if into is not None and value is not None:
            body.append(Store(into, place, value))
    step = Loop(_STEP, made.args.given(made.steps), "serial", (made.product(state, None), made.each(*body)))
    return made.finish(made.packing(weight, 1, hidden), made.each(*begin), step)


def _backwards(schedule: Schedule, node: Node, cell: Cell) -> Lowered:
    """sources: those that are `given` of the gradients of all states, the last state and the last cells; then the weight and, where the cell asks for
    them, the initial state (or cells), all states (or cells) and what was kept. outputs: the gradients of the x gates, of the states' part where that
    differs, of the initial state, and of the initial cells."""
    given, sizes, reverse, _ = node.arg
    hidden = node.outputs[-1][0][1]  # type: ignore[index]
    steps, wide = len(sizes), cell.gates * hidden
    made = _Layer(schedule, node, steps, sizes[0], hidden, reverse, wide, hidden)
    position = iter(range(len(node.srcs)))
    grads = [made.source(next(position)) if there else None for there in given]
    weight = made.source(next(position))
    first = made.source(next(position)) if cell.cells or cell.before else None
    every, kept = made.source(next(position)), made.source(next(position)) if cell.kept else None
    to_x = made.needed(0)
    to_h = made.needed(1) if cell.apart else to_x
    last = made.output(1 + cell.apart)
    cells = made.needed(2) if cell.cells else None
    rest = made.temporary(sizes[0] * hidden) if cell.before else None  # what comes to the old state beside the product

    here, carried = made.here(hidden), made.here(made.padded)
    zero = Const(0.0, made.dtype)
    begin: list[Stmt] = [Store(made.sums, carried, zero if grads[1] is None else made.load(grads[1], here))]
    if cells is not None:
        begin.append(Store(cells, here, zero if grads[2] is None else made.load(grads[2], here)))
    if rest is not None:
        begin.append(Store(rest, here, zero))

    now = made.here(hidden, 0, made.time(hidden, True))
    total = made.load(made.sums, carried)
    if rest is not None:
        total = _plus(total, made.load(rest, here))
    dh = total if grads[0] is None else _plus(total, made.load(grads[0], now))
    old: Expr | None = None
    if first is not None:
        at_first = Op("eq", (Index(_STEP), made.given(steps - 1)), "bool")
        before = made.load(every, made.here(hidden, 0, made.time(hidden, True, True)), Op("not", (at_first,), "bool"))
        old = Op("where", (at_first, made.load(first, here), before), made.dtype)
    times = made.time(cell.kept * hidden, True)
    keeps = [] if kept is None else [made.load(kept, made.here(cell.kept * hidden, k, times)) for k in range(cell.kept)]
    xs, hs, dc, left = cell.back(dh, None if cells is None else made.load(cells, here), keeps, old, None if cell.before else made.load(every, now))
    times = made.time(wide, True)
    body: list[Stmt] = []
    for buffer, values in ((to_x, xs), *([(to_h, hs)] if cell.apart else [])):
        body += [Store(buffer, made.here(wide, k, times), value) for k, value in enumerate(values)]
    for into, value in ((cells, dc), (rest, left)):
        if into is not None and value is not None:
            body.append(Store(into, here, value))
    step = Loop(_STEP, made.args.given(steps), "serial", (made.each(*body), made.product(to_h, times)))
    end = [] if last is None else [made.each(Store(last, here, total))]
    return made.finish(made.packing(weight, hidden, 1), made.each(*begin), step, *end)

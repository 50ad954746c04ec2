"""Kernels of recurrent layers: all steps of one layer and direction in one launch, and all of them backwards in another.

Rows of the batch do not depend on each other, so each work item walks through the steps with rows of its own and waits for nobody. In a step it
multiplies the states of its rows with the recurrent weights, which are packed once in the order in which they are read: blocks of columns, in a
block all k, for each k a few vectors. Sums of some rows times some vectors stay in registers, and the gates' arithmetic follows on them at once. The
number of steps, rows and hidden units are run-time integers; what is summed and in which order depends on them alone, not on threads.

A layer is `name(x gates [t * n, g * h], initial states [n, h], weight [g * h, h], two biases)`, with `outputs` as `ops.recurrent` has them.
"""
from __future__ import annotations

from torsh.codegen.kernel_ir import Acc, Address, Arg, Const, Declare, Expr, Index, Int, Kernel, Load, Loop, Op, Phase, Read, Stmt, Store, Update
from torsh.compiler.nest import Arguments, Lowered
from torsh.compiler.schedule import Schedule
from torsh.compiler.whole import BACKWARD
from torsh.graph.node import Node

_ITEM, _TILE, _STEP, _BLOCK, _LANE, _K, _ROW, _COLUMN = range(8)  # axes
_LANES = 16  # columns of a vector of a block
_MOST_ROWS = 6  # with four vectors the sums fill 24 of 32 registers
_LARGE = 1 << 20  # bytes of weights that one core's cache holds beside other things: larger ones are read less often, by items of more rows


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
        assert dc is not None and old is not None and new is not None
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

class _Layer:
    """One kernel while it is made: sizes, argument table, the tiling of rows and columns."""

    def __init__(self, schedule: Schedule, node: Node, cell: Cell, steps: int, rows: int, hidden: int, reverse: bool, depth: int, gates: int) -> None:
        self.args = Arguments()
        self.schedule, self.node, self.cell = schedule, node, cell
        self.dtype = node.outputs[0][1].name  # type: ignore[index]
        self.steps, self.rows, self.hidden, self.reverse, self.depth, self.gates = steps, rows, hidden, reverse, depth, gates
        self.made = {item.arg: item for item in schedule.several[id(node)]}
        self.scratch: list[int] = []
        self.itemsize = node.outputs[0][1].itemsize  # type: ignore[index]

        def waste(parts: int) -> tuple[int, int]:
            width = parts * _LANES
            return -(-hidden // width) * width, -parts
        self.parts = 1 if gates > 1 else min(range(1, 5), key=waste)  # vectors of a gate in a block
        self.vectors = gates * self.parts
        self.width = self.parts * _LANES
        self.blocks = -(-hidden // self.width)
        self.partial = hidden % self.width != 0
        self.tall = min(range(1, _MOST_ROWS + 1), key=lambda r: (max(2 * r, 5) * -(-rows // r), -r))
        self.tiles = -(-rows // self.tall)
        self.exact = rows % self.tall == 0
        self.together = 4 if self.blocks * self.depth * self.vectors * _LANES * self.itemsize > _LARGE else 2  # tiles of an item
        self.items = -(-self.tiles // self.together)

    # Memory

    def source(self, position: int) -> int:
        return self.args.buffer(self.schedule.memory(self.node.srcs[position], whole=True)[0], 0, False)

    def output(self, number: int, needed: bool = False) -> int | None:
        """The buffer of an output; one that nobody reads has none unless it is needed on the way."""
        if number in self.made:
            return self.args.buffer(self.made[number], 0, True)
        if not needed:
            return None
        shape, dtype = self.node.outputs[number]  # type: ignore[index]
        return self.temporary(max(1, shape[0] * shape[1]) * dtype.itemsize)

    def temporary(self, nbytes: int) -> int:
        self.scratch.append(nbytes)
        return self.args.scratch(len(self.scratch) - 1, self.dtype)

    def _address(self, offset: int, terms: list[tuple[int, int]], gathers: tuple[tuple[Expr, Int], ...] = ()) -> Address:
        return Address(self.args.integer(offset), tuple((axis, self.args.integer(step)) for axis, step in terms if step), gathers)

    def time(self, size: int, backwards: bool, shift: int = 0) -> tuple[int, list[tuple[int, int]]]:
        """Where the rows of a step lie in memory of `size` elements a row, in the order of the steps or backwards; `shift` steps before that in
        order."""
        whole = self.rows * size
        step = whole if self.reverse == backwards else -whole
        first = 0 if self.reverse == backwards else (self.steps - 1) * whole
        return first + shift * (whole if self.reverse else -whole), [(_STEP, step)]

    def tiled(self, size: int, r: int, offset: int, terms: list[tuple[int, int]]) -> Address:
        """An address in row `r` of a tile."""
        if self.exact:
            return self._address(offset + r * size, [*terms, (_TILE, self.tall * size)])
        return self._address(offset, terms, ((self._row(r), self.args.integer(size)),))

    def _row(self, r: int) -> Expr:
        """The number of a row, the last one for those beyond it."""
        mine = _op("add", _op("mul", Index(_TILE), Const(self.tall, "int64")), Const(r, "int64"))
        return _op("min", mine, Const(0, "int64") if self.rows == 1 else self._given(self.rows - 1))

    def _given(self, value: int) -> Expr:
        return Arg(self.args.given(value).index, "int64")

    def exists(self, r: int, part: int) -> Expr | None:
        """Where an element of row `r` and vector `part` of a block is one."""
        found: Expr | None = None
        if self.partial:
            start = _op("add", _op("mul", Index(_BLOCK), Const(self.width, "int64")), Const(part * _LANES, "int64"))
            found = Op("lt", (_op("add", start, Index(_LANE)), self._given(self.hidden)), "bool")
        if not self.exact:
            row = Op("lt", (_op("add", _op("mul", Index(_TILE), Const(self.tall, "int64")), Const(r, "int64")), self._given(self.rows)), "bool")
            found = row if found is None else Op("and", (found, row), "bool")
        return found

    def column(self, part: int) -> tuple[int, list[tuple[int, int]]]:
        return part * _LANES, [(_BLOCK, self.width), (_LANE, 1)]

    def element(self, buffer: int, address: Address, mask: Expr | None = None) -> Expr:
        return Load(buffer, address, self.dtype, mask)

    # Loops

    def each_row(self, *body: Stmt) -> Loop:
        """Over the rows of the work item and all columns."""
        inside = Loop(_COLUMN, self.args.given(self.hidden), "vector", body)
        return Loop(_ROW, self.args.given(self.rows), "serial", (inside,), (_ITEM, self.args.given(self.together * self.tall)))

    def plain(self, size: int, offset: int = 0, terms: tuple[tuple[int, int], ...] = ()) -> Address:
        """The address of an element in `each_row`."""
        return self._address(offset, [*terms, (_ROW, size), (_COLUMN, 1)])

    def each_tile(self, states: int, size: int, at: tuple[int, list[tuple[int, int]]], packed: int, body: list[Stmt], sums: list[list[Acc]]) -> Loop:
        """Over the blocks of columns and the tiles of the work item: `sums[row][vector]` of states [rows, size] times the packed weights, then
        `body`."""
        start: list[Stmt] = [Declare(acc) for row in sums for acc in row]
        wide = self.vectors * _LANES
        weights = [self.element(packed, self._address(v * _LANES, [(_BLOCK, self.depth * wide), (_K, wide), (_LANE, 1)])) for v in range(self.vectors)]
        offset, terms = at
        inner: list[Stmt] = []
        for r, row in enumerate(sums):
            state = self.element(states, self.tiled(size, r, offset, [*terms, (_K, 1)]))
            inner += [Update(acc, weight, None, state) for acc, weight in zip(row, weights, strict=True)]
        product = Loop(_K, self.args.given(self.depth), "serial", tuple(inner))
        lanes = Loop(_LANE, _LANES, "vector", (*start, product, *body))
        tile = Loop(_TILE, self.args.given(self.tiles), "serial", (lanes,), (_ITEM, self.args.given(self.together)))
        return Loop(_BLOCK, self.args.given(self.blocks), "serial", (tile,))

    def new_sums(self) -> list[list[Acc]]:
        return [[Acc("sum", self.dtype) for _ in range(self.vectors)] for _ in range(self.tall)]

    def packing(self, weight: int, packed: int, turned: bool) -> Phase:
        """Weights [g * h, h] in the order in which they are read: (block, k, vector, lane) of what k and the column select; `turned`: rows are
        columns of the product."""
        wide, body = self.vectors * _LANES, []
        for v in range(self.vectors):
            gate, part = divmod(v, self.parts)
            offset, terms = self.column(part)
            if turned:
                terms = [(axis, step * self.hidden) for axis, step in terms]
                place = self._address((gate * self.hidden + offset) * self.hidden, [*terms, (_K, 1)])
            else:
                place = self._address(offset, [*terms, (_K, self.hidden)])
            start = _op("add", _op("mul", Index(_BLOCK), Const(self.width, "int64")), Const(offset, "int64"))
            mask = Op("lt", (_op("add", start, Index(_LANE)), self._given(self.hidden)), "bool") if self.partial else None
            into = self._address(v * _LANES, [(_BLOCK, self.depth * wide), (_K, wide), (_LANE, 1)])
            copy = Loop(_LANE, _LANES, "vector", (Store(packed, into, self.element(weight, place, mask)),))
            body.append(Loop(_K, self.args.given(self.depth), "block" if turned else "serial", (copy,)))
        return Phase(((_BLOCK, self.args.given(self.blocks)),), tuple(body))

    def finish(self, packing: Phase, *body: Stmt) -> Lowered:
        phases = (packing, Phase(((_ITEM, self.args.given(self.items)),), body))
        kernel = Kernel(tuple(self.args.buffers), len(self.args.slots), phases)
        weights = self.blocks * self.depth * self.vectors * _LANES
        return Lowered(kernel, self.args, [self.blocks, self.items], [weights < 65536, self.steps * self.rows * weights < 200_000], self.scratch, [])


def lower(schedule: Schedule, node: Node) -> Lowered:
    """The kernel of a node that `fits`."""
    layer = node.op.name.removesuffix(BACKWARD)
    return (_forward if layer == node.op.name else _backwards)(schedule, node, CELLS[layer])


def _forward(schedule: Schedule, node: Node, cell: Cell) -> Lowered:
    """outputs: the states after each step, the last one, of an LSTM the last cells and those after each step, then what is kept."""
    biased, sizes, reverse, keep = node.arg[0], node.arg[2], node.arg[3], node.arg[-1] and node.arg[-2]
    hidden = node.outputs[0][0][1]  # type: ignore[index]
    made = _Layer(schedule, node, cell, len(sizes), sizes[0], hidden, reverse, hidden, cell.gates)
    gates, wide = cell.gates, cell.gates * hidden
    x, first = made.source(0), made.source(1)
    weight = made.source(2 + cell.cells)
    biases = [made.source(3 + cell.cells + k) for k in range(2)] if biased else []
    out, state = made.output(0), made.output(1, True)
    assert state is not None
    cells, every, kept = (made.output(2, True), made.output(3), made.output(4)) if cell.cells else (None, None, made.output(2))
    kept = kept if keep and cell.kept else None
    fresh = made.temporary(sizes[0] * hidden * made.itemsize) if out is None else out  # where a step's states wait for all of them to be there
    packed = made.temporary(made.blocks * made.depth * made.vectors * _LANES * made.itemsize)

    begin: list[Stmt] = [Store(state, made.plain(hidden), made.element(first, made.plain(hidden)))]
    if cells is not None:
        begin.append(Store(cells, made.plain(hidden), made.element(made.source(2), made.plain(hidden))))
    sums = made.new_sums()
    body: list[Stmt] = []
    for part in range(made.parts):
        shift, along = made.column(part)
        mask0 = made.exists(0, part) if made.partial else None
        bias = [[made.element(b, made._address(g * hidden + shift, along), mask0) for g in range(gates)] for b in biases]
        for r in range(made.tall):
            mask = made.exists(r, part)
            begins, terms = made.time(wide, False)
            xs: list[Expr] = [made.element(x, made.tiled(wide, r, begins + g * hidden + shift, [*terms, *along]), mask) for g in range(gates)]
            hs: list[Expr] = [Read(sums[r][g * made.parts + part], made.dtype) for g in range(gates)]
            if biases:
                xs = [_plus(a, b) for a, b in zip(xs, bias[0], strict=True)]
                hs = [_plus(a, b) for a, b in zip(hs, bias[1], strict=True)]
            here = made.tiled(hidden, r, shift, along)
            old = made.element(state, here, mask) if cell.before else None
            c = None if cells is None else made.element(cells, here, mask)
            new, c, keeps = cell.step(xs, hs, old, c)
            begins, terms = made.time(hidden, False) if out is not None else (0, [])
            body.append(Store(fresh, made.tiled(hidden, r, begins + shift, [*terms, *along]), new, mask=mask))
            if cells is not None and c is not None:
                body.append(Store(cells, here, c, mask=mask))
                if every is not None:
                    body.append(Store(every, made.tiled(hidden, r, made.time(hidden, False)[0] + shift, [*made.time(hidden, False)[1], *along]), c, mask=mask))
            if kept is not None:
                begins, terms = made.time(cell.kept * hidden, False)
                for k, value in enumerate(keeps):
                    body.append(Store(kept, made.tiled(cell.kept * hidden, r, begins + k * hidden + shift, [*terms, *along]), value, mask=mask))
    begins, terms = made.time(hidden, False) if out is not None else (0, [])
    done = made.each_row(Store(state, made.plain(hidden), made.element(fresh, made.plain(hidden, begins, tuple(terms)))))
    step = Loop(_STEP, made.args.given(made.steps), "serial", (made.each_tile(state, hidden, (0, []), packed, body, sums), done))
    return made.finish(made.packing(weight, packed, True), made.each_row(*begin), step)


def _backwards(schedule: Schedule, node: Node, cell: Cell) -> Lowered:
    """sources: those that are `given` of the gradients of all states, the last state and the last cells; then the weight and, where the cell asks for
    them, the initial state (or cells), all states (or cells) and what was kept. outputs: the gradients of the x gates, of the states' part where that
    differs, of the initial state, and of the initial cells."""
    given, sizes, reverse, _ = node.arg
    steps, rows = len(sizes), sizes[0]
    hidden = node.outputs[-1][0][1]  # type: ignore[index]
    gates = cell.gates
    made = _Layer(schedule, node, cell, steps, rows, hidden, reverse, gates * hidden, 1)
    position = iter(range(len(node.srcs)))
    grads = [made.source(next(position)) if there else None for there in given]
    weight = made.source(next(position))
    first = made.source(next(position)) if cell.cells or cell.before else None
    every, kept = made.source(next(position)), made.source(next(position)) if cell.kept else None
    wide = gates * hidden
    dx = made.output(0, True)
    dg = made.output(1, True) if cell.apart else dx
    carry = made.output(1 + cell.apart, True)
    cells = made.output(2, True) if cell.cells else None
    assert dx is not None and dg is not None and carry is not None
    packed = made.temporary(made.blocks * made.depth * made.vectors * _LANES * made.itemsize)

    def started(buffer: int, grad: int | None) -> Store:
        here = made.plain(hidden)
        return Store(buffer, here, Const(0.0, made.dtype) if grad is None else made.element(grad, here))
    begin = [started(carry, grads[1])] + ([started(cells, grads[2])] if cells is not None else [])

    here = made.plain(hidden)
    begins, terms = made.time(hidden, True)
    now = made.plain(hidden, begins, tuple(terms))
    dh: Expr = made.element(carry, here)
    if grads[0] is not None:
        dh = _plus(dh, made.element(grads[0], now))
    dc = None if cells is None else made.element(cells, here)
    old: Expr | None = None
    if first is not None:
        last = Op("eq", (Index(_STEP), Const(0, "int64") if steps == 1 else made._given(steps - 1)), "bool")
        begins, terms = made.time(hidden, True, 1)
        before = made.element(every, made.plain(hidden, begins, tuple(terms)), Op("not", (last,), "bool"))
        old = Op("where", (last, made.element(first, here), before), made.dtype)
    new = made.element(every, now) if not cell.before else None
    keeps = []
    if kept is not None:
        begins, terms = made.time(cell.kept * hidden, True)
        keeps = [made.element(kept, made.plain(cell.kept * hidden, begins + k * hidden, tuple(terms))) for k in range(cell.kept)]
    to_x, to_h, to_c, rest = cell.back(dh, dc, keeps, old, new)
    gradient: list[Stmt] = []
    begins, terms = made.time(wide, True)
    for buffer, values in ((dx, to_x), *([(dg, to_h)] if cell.apart else [])):
        gradient += [Store(buffer, made.plain(wide, begins + k * hidden, tuple(terms)), value) for k, value in enumerate(values)]
    if cells is not None and to_c is not None:
        gradient.append(Store(cells, here, to_c))
    if rest is not None:
        gradient.append(Store(carry, here, rest))

    sums = made.new_sums()
    body: list[Stmt] = []
    for part in range(made.parts):
        shift, along = made.column(part)
        for r in range(made.tall):
            mask = made.exists(r, part)
            place = made.tiled(hidden, r, shift, along)
            total: Expr = Read(sums[r][part], made.dtype)
            body.append(Store(carry, place, total if rest is None else _plus(total, made.element(carry, place, mask)), mask=mask))
    product = made.each_tile(dg, wide, (begins, terms), packed, body, sums)
    step = Loop(_STEP, made.args.given(steps), "serial", (made.each_row(*gradient), product))
    return made.finish(made.packing(weight, packed, False), made.each_row(*begin), step)

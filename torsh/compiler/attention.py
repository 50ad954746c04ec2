"""Attention in one kernel, and its derivative in another: the scores of 32 rows at a time are all that there is of them.

A block of rows goes through scores, softmax and the product with the values before the next one comes, in memory of its own that stays in the
cache. With a causal mask blocks of keys beyond the block of rows are left out. The forward kernel leaves the logarithm of each row's sum behind,
from which the backward kernel makes the weights again (Dao et al., 2022, in blocks of whole rows: what a cache holds makes the running maximum
unnecessary).

Sources are read where they lie, with the strides that heads cut out of a larger matrix have; only keys (backward: and values) are copied, with
their rows on the lanes. query [b, h, l, e], key [b, k, s, e], value [b, k, s, v], where each head of key and value serves h / k of the query, and a
mask [b, h, l, s] or none give the output [b, l, h, v] and the logarithms of the sums [b, h, l].
"""
from __future__ import annotations

from collections.abc import Callable

from torsh.codegen.kernel_ir import Acc, Address, Arg, Const, Declare, Expr, Index, Int, Kernel, Load, Loop, Op, Phase, Read, Stmt, Store, Update
from torsh.compiler.nest import Arguments, Lowered
from torsh.compiler.schedule import Schedule
from torsh.compiler.whole import BACKWARD, strided
from torsh.core.shapes import Shape, contiguous_strides
from torsh.graph.node import Node

_BATCH, _HEAD, _GROUP, _CHUNK, _ROWS, _TILE, _KEYS, _COLUMNS, _LANE, _ROW, _KEY, _K = range(12)  # axes
_LANES, _VECTORS, _TALL = 16, 2, 8  # a tile: 8 rows of 2 vectors
_BLOCK = _LANES * _VECTORS  # rows, and keys, of a block
_ITEMS = 32  # with at least so many heads an item is all rows of one
_MASKED = float("-inf")


class _Array:
    """A source or output: its buffer, and its strides along batch, head of the keys, head within those, row and column. Of `own` memory, which
    holds a block of rows of each work item, the terms of the item's address."""

    def __init__(self, buffer: int, strides: Shape, own: list[tuple[int, int]] | None = None) -> None:
        self.buffer, self.strides, self.own = buffer, strides, own


class _Attention:
    """One kernel while it is made."""

    def __init__(self, schedule: Schedule, node: Node, query: int) -> None:
        self.schedule, self.node = schedule, node
        self.args = Arguments()
        self.causal, self.scale, _, _ = node.arg
        q, k, v = (node.srcs[query + i] for i in range(3))
        self.dtype, self.itemsize = q.dtype.name, q.dtype.itemsize
        self.batch, heads, self.rows, self.size = q.shape
        self.heads, self.keys, self.wide = k.shape[1], k.shape[2], v.shape[3]
        self.groups = heads // self.heads
        #: All tiles are whole. One question for rows and keys, so that there are two kernels for all lengths.
        self.even = self.rows % _TALL == 0 and self.keys % _BLOCK == 0
        self.blocks, self.row_blocks = -(-self.keys // _BLOCK), -(-self.rows // _BLOCK)
        self.padded = self.blocks * _BLOCK
        self.made = {item.arg: item for item in schedule.several[id(node)]}
        self.scratch: list[int] = []
        self.zero = Const(0.0, self.dtype)
        self.items: tuple[tuple[int, int], ...] = ()

    # Memory

    def source(self, position: int, keyed: bool, turned: bool = False) -> _Array:
        """A source [b, heads, rows, size] (`turned`: rows, then heads), whose heads are those of the keys, or all."""
        base, (_, (batch, head, row, column), offset) = strided(self.schedule, self.node.srcs[position])
        if turned:
            head, row = row, head
        each = 0 if keyed else head
        return _Array(self.args.buffer(base, offset, False), (batch, head if keyed else head * self.groups, each, row, column))

    def output(self, number: int, keyed: bool) -> _Array | None:
        """An output [b, rows, heads, size], if anybody reads it."""
        if number not in self.made:
            return None
        item = self.made[number]
        batch, row, head, column = contiguous_strides(item.shape)
        return _Array(self.args.buffer(item, 0, True), (batch, head if keyed else head * self.groups, 0 if keyed else head, row, column))

    def temporary(self, elements: int) -> int:
        self.scratch.append(elements * self.itemsize)
        return self.args.scratch(len(self.scratch) - 1, self.dtype)

    def given(self, value: int) -> Expr:
        return Const(0, "int64") if value == 0 else Arg(self.args.given(value).index, "int64")

    def address(self, offset: int, *terms: tuple[int, int], gathers: tuple[tuple[Expr, Int], ...] = ()) -> Address:
        return Address(self.args.integer(offset), tuple((axis, self.args.integer(step)) for axis, step in terms if step), gathers)

    def head_of(self, array: _Array) -> list[tuple[int, int]]:
        batch, head, group, row, _ = array.strides
        if array.own is not None:
            return [*array.own, (_ROWS, -_BLOCK * row)]
        return [(_BATCH, batch), (_HEAD, head), *([(_GROUP, group)] if self.grouped else [])]

    grouped = True  # whether the axis of the heads that share keys is open

    def own(self, elements: int) -> tuple[int, list[tuple[int, int]]]:
        """Memory of each work item, and the terms of its address."""
        count, terms = 1, []
        for axis, extent in reversed(self.items):
            terms.append((axis, count * elements))
            count *= extent
        return self.temporary(count * elements), terms

    def near(self, array: _Array, size: int) -> tuple[_Array, Stmt]:
        """Own memory for the present block of rows of an array, and what copies them there: rows that lie far apart are read many at a time."""
        memory, own = self.own(_BLOCK * size)
        copy = _Array(memory, (0, 0, 0, size, 1), own)
        places = [self.address(0, *self.head_of(a), (_ROW, a.strides[3]), (_COLUMNS, 1)) for a in (copy, array)]
        return copy, self.each_row(self.loop(_COLUMNS, size, "vector", Store(memory, places[0], self.load(array.buffer, places[1]))))

    def load(self, buffer: int, address: Address, mask: Expr | None = None) -> Expr:
        return Load(buffer, address, self.dtype, mask)

    # Loops

    def loop(self, axis: int, extent: int, kind: str, *body: Stmt, tile: tuple[int, int] | None = None, upto: bool = False) -> Loop:
        return Loop(axis, self.args.given(extent), kind, body, None if tile is None else (tile[0], tile[1]), upto)

    def over_keys(self, *body: Stmt) -> Loop:
        """Over the keys that the present block of rows may see, in order."""
        if self.causal:
            return self.loop(_KEY, self.keys, "serial", *body, tile=(_ROWS, _BLOCK), upto=True)
        return self.loop(_KEY, self.keys, "serial", *body)

    def each_row(self, *body: Stmt) -> Loop:
        """Over the rows of the present block."""
        return self.loop(_ROW, self.rows, "serial", *body, tile=(_ROWS, _BLOCK))

    def tiles(self, *body: Stmt) -> Loop:
        """Over the tiles of the present block of rows."""
        return self.loop(_TILE, -(-self.rows // _TALL), "serial", *body, tile=(_ROWS, _BLOCK // _TALL))

    def columns(self, size: int, *body: Stmt) -> Loop:
        return self.loop(_COLUMNS, -(-size // _BLOCK), "serial", *body)

    def product(self, fold: Callable[..., Loop], left: Callable[[int], Expr], right: Callable[[int], Expr],
                finish: Callable[[int, int, Expr], Stmt]) -> Loop:
        """A tile: the sums over a loop of left(row) * right(vector), and what becomes of them."""
        sums = [[Acc("sum", self.dtype) for _ in range(_VECTORS)] for _ in range(_TALL)]
        vectors = [right(v) for v in range(_VECTORS)]
        inner: list[Stmt] = []
        for r, row in enumerate(sums):
            factor = left(r)
            inner += [Update(acc, vector, None, factor) for acc, vector in zip(row, vectors, strict=True)]
        ends = [finish(r, v, Read(acc, self.dtype)) for r, row in enumerate(sums) for v, acc in enumerate(row)]
        return Loop(_LANE, _LANES, "vector", (*[Declare(acc) for row in sums for acc in row], fold(*inner), *ends))

    def row(self, r: int) -> Expr:
        """The number of row `r` of a tile."""
        return Op("add", (Op("mul", (Index(_TILE), Const(_TALL, "int64")), "int64"), Const(r, "int64")), "int64")

    def exists(self, r: int | None, v: int, rows: int, size: int) -> Expr | None:
        """Where a row of a tile and a column of a block are of an array [rows, size]; None: everywhere. Without `r` all rows are."""
        found: Expr | None = None
        if size % _BLOCK:
            start = Op("add", (Op("mul", (Index(_COLUMNS), Const(_BLOCK, "int64")), "int64"), Const(v * _LANES, "int64")), "int64")
            found = Op("lt", (Op("add", (start, Index(_LANE)), "int64"), self.given(size)), "bool")
        if r is not None and not self.even:
            row = Op("lt", (self.row(r), self.given(rows)), "bool")
            found = row if found is None else Op("and", (found, row), "bool")
        return found

    def of_tile(self, array: _Array, r: int, *terms: tuple[int, int]) -> Address:
        """An address in row `r` of the present tile; rows beyond the last are copies of it."""
        step = array.strides[3]
        if self.even:
            return self.address(r * step, *self.head_of(array), (_TILE, _TALL * step), *terms)
        row = Op("min", (self.row(r), self.given(self.rows - 1)), "int64")
        return self.address(0, *self.head_of(array), *terms, gathers=((row, self.args.integer(step)),))

    def across(self, array: _Array, v: int, axis: int, size: int) -> Expr:
        """Vector `v` of the present columns in the row that an axis counts, of an array of `size` columns."""
        place = self.address(v * _LANES, *self.head_of(array), (axis, array.strides[3]), (_COLUMNS, _BLOCK), (_LANE, 1))
        return self.load(array.buffer, place, self.exists(None, v, 0, size))

    def packing(self, array: _Array, size: int, packed: int) -> list[Stmt]:
        """Rows of keys (or values) on the lanes: (block, column, vector, lane)."""
        body: list[Stmt] = []
        for v in range(_VECTORS):
            step = array.strides[3]
            place = self.address(v * _LANES * step, *self.head_of(array), (_KEYS, _BLOCK * step), (_LANE, step), (_K, array.strides[4]))
            into = self.address(v * _LANES, *self.packed_head(size), (_KEYS, size * _BLOCK), (_K, _BLOCK), (_LANE, 1))
            mask: Expr | None = None
            if not self.even:
                start = Op("add", (Op("mul", (Index(_KEYS), Const(_BLOCK, "int64")), "int64"), Const(v * _LANES, "int64")), "int64")
                mask = Op("lt", (Op("add", (start, Index(_LANE)), "int64"), self.given(self.keys)), "bool")
            copy = Loop(_LANE, _LANES, "vector", (Store(packed, into, self.load(array.buffer, place, mask)),))
            body.append(self.loop(_K, size, "block", copy))
        return body

    def packed_head(self, size: int) -> list[tuple[int, int]]:
        whole = size * self.padded
        return [(_BATCH, self.heads * whole), (_HEAD, whole)]

    def scores(self, rows: _Array, size: int, packed: int, into: int, own: list[tuple[int, int]]) -> Loop:
        """Products of the block's rows with the packed keys that they may see, into memory [32, keys] of the item."""
        def left(r: int) -> Expr:
            return self.load(rows.buffer, self.of_tile(rows, r, (_K, rows.strides[4])))

        def right(v: int) -> Expr:
            return self.load(packed, self.address(v * _LANES, *self.packed_head(size), (_KEYS, size * _BLOCK), (_K, _BLOCK), (_LANE, 1)))

        def finish(r: int, v: int, value: Expr) -> Stmt:
            return Store(into, self.address(r * self.padded + v * _LANES, *own, (_TILE, _TALL * self.padded), (_ROWS, -_BLOCK * self.padded),
                                            (_KEYS, _BLOCK), (_LANE, 1)), value)
        tile = self.tiles(self.product(lambda *inner: self.loop(_K, size, "serial", *inner), left, right, finish))
        if self.causal:
            return self.loop(_KEYS, self.blocks, "serial", tile, tile=(_ROWS, 1), upto=True)
        return self.loop(_KEYS, self.blocks, "serial", tile)

    def of_row(self, own: list[tuple[int, int]]) -> Address:
        """The element of `own` memory [32, keys] in the present row at the present key."""
        return self.address(0, *own, (_ROW, self.padded), (_ROWS, -_BLOCK * self.padded), (_KEY, 1))

    def score(self, memory: int, own: list[tuple[int, int]], mask: _Array | None) -> Expr:
        """The score of the present row and key, with scale and masks."""
        value: Expr = Op("mul", (self.load(memory, self.of_row(own)), self.factor), self.dtype)
        if mask is not None:
            place = self.address(0, *self.head_of(mask), (_ROW, mask.strides[3]), (_KEY, mask.strides[4]))
            if self.mask_dtype == "bool":
                value = Op("where", (Load(mask.buffer, place, "bool"), value, Const(_MASKED, self.dtype)), self.dtype)
            else:
                value = Op("add", (value, self.load(mask.buffer, place)), self.dtype)
        return value

    def visible(self, *body: Stmt) -> Loop:
        """Over the keys that the present row may see."""
        if self.causal:
            return self.loop(_KEY, self.keys, "vector", *body, tile=(_ROW, 1), upto=True)
        return self.loop(_KEY, self.keys, "vector", *body)

    def cleared(self, own: list[tuple[int, int]], *memories: int) -> list[Stmt]:
        """With a causal mask: zeros for the keys of the present block that the present row may not see."""
        if not self.causal:
            return []
        seen = Op("le", (Index(_KEY), Index(_ROW)), "bool")
        zeros = [Store(m, self.of_row(own), Op("where", (seen, self.load(m, self.of_row(own)), self.zero), self.dtype)) for m in memories]
        return [self.loop(_KEY, self.keys, "vector", *zeros, tile=(_ROWS, _BLOCK))]

    factor: Expr
    mask_dtype = ""

    def masked(self, position: int) -> _Array | None:
        """The mask, if there is one; also sets what `score` needs."""
        self.factor = Const(self.scale, self.dtype)
        if position >= len(self.node.srcs):
            return None
        self.mask_dtype = self.node.srcs[position].dtype.name
        return self.source(position, False)

    def weighted(self, weights: int, own: list[tuple[int, int]], array: _Array, size: int, finish: Callable[[int, int, Expr], Stmt]) -> Loop:
        """The block's rows of weights [32, keys] times rows of an array [keys, size]."""
        def left(r: int) -> Expr:
            place = self.address(r * self.padded, *own, (_TILE, _TALL * self.padded), (_ROWS, -_BLOCK * self.padded), (_KEY, 1))
            return self.load(weights, place)
        tile = self.product(lambda *inner: self.over_keys(*inner), left, lambda v: self.across(array, v, _KEY, size), finish)
        return self.columns(size, self.tiles(tile))

    def into_rows(self, array: _Array, size: int, change: Callable[[int, Expr], Expr]) -> Callable[[int, int, Expr], Stmt]:
        """Stores a tile in the block's rows of an output."""
        def finish(r: int, v: int, value: Expr) -> Stmt:
            step = array.strides[3]
            place = self.address(r * step + v * _LANES, *self.head_of(array), (_TILE, _TALL * step), (_COLUMNS, _BLOCK), (_LANE, 1))
            return Store(array.buffer, place, change(r, value), mask=self.exists(r, v, self.rows, size))
        return finish


def lower(schedule: Schedule, node: Node) -> Lowered:
    """The kernel of a node that `whole.fits`."""
    return (_backwards if node.op.name.endswith(BACKWARD) else _forward)(schedule, node)


def _forward(schedule: Schedule, node: Node) -> Lowered:
    """sources: query, key, value and a mask or none."""
    made = _Attention(schedule, node, 0)
    heads = made.batch * made.heads * made.groups
    chunks = min(made.row_blocks, -(-_ITEMS // heads))
    part = -(-made.row_blocks // chunks)
    chunks = -(-made.row_blocks // part)
    made.items = ((_BATCH, made.batch), (_HEAD, made.heads), (_GROUP, made.groups), (_CHUNK, chunks))
    q, k, v, mask = made.source(0, False), made.source(1, True), made.source(2, True), made.masked(3)
    out = made.output(0, False)
    sums = made.args.buffer(made.made[1], 0, True) if 1 in made.made else None
    packed = made.temporary(made.batch * made.heads * made.padded * made.size)
    weights, own = made.own(_BLOCK * made.padded)
    inverse, own_rows = made.own(_BLOCK)

    dtype, zero = made.dtype, made.zero
    most, total = Acc("max", dtype), Acc("sum", dtype)
    score = made.score(weights, own, mask)
    top: Expr = Read(most, dtype)
    if mask is not None:  # a row that sees nothing
        top = Op("where", (Op("eq", (top, Const(_MASKED, dtype)), "bool"), zero, top), dtype)
    weight = Op("exp", (Op("sub", (made.score(weights, own, mask), top), dtype),), dtype)
    sum_: Expr = Read(total, dtype)
    nothing = Op("eq", (sum_, zero), "bool")
    share = Op("where", (nothing, zero, Op("div", (Const(1.0, dtype), sum_), dtype)), dtype)
    softmax: list[Stmt] = [Declare(most), made.visible(Update(most, score)), Declare(total),
                           made.visible(Store(weights, made.of_row(own), weight), Update(total, weight)), *made.cleared(own, weights),
                           Store(inverse, made.address(0, *own_rows, (_ROW, 1), (_ROWS, -_BLOCK)), share)]
    if sums is not None:
        log = Op("where", (nothing, Const(float("inf"), dtype), Op("add", (top, Op("log", (sum_,), dtype)), dtype)), dtype)
        whole = made.groups * made.rows
        place = made.address(0, (_BATCH, made.heads * whole), (_HEAD, whole), (_GROUP, made.rows), (_ROW, 1))
        softmax.append(Store(sums, place, log))

    def scaled(r: int, value: Expr) -> Expr:
        return Op("mul", (value, made.load(inverse, made.address(r, *own_rows, (_TILE, _TALL), (_ROWS, -_BLOCK)))), dtype)
    q, copy = made.near(q, made.size)
    body = [copy, made.scores(q, made.size, packed, weights, own), made.each_row(*softmax)]
    if out is not None:
        body.append(made.weighted(weights, own, v, made.wide, made.into_rows(out, made.wide, scaled)))
    block = Loop(_ROWS, made.args.given(made.row_blocks), "serial", tuple(body), (_CHUNK, made.args.given(part)))
    made.grouped = False
    return _finish(made, [made.packing(k, made.size, packed)], (block,), heads * chunks)


def _backwards(schedule: Schedule, node: Node) -> Lowered:
    """sources: the gradient of the output [b, l, h, v], query, key, value, the sum of products of the gradient with the output [b, l, h], the logarithms
    of the sums and a mask or none. outputs: the gradients of query, key and value as [b, rows, heads, size]."""
    made = _Attention(schedule, node, 1)
    made.items = ((_BATCH, made.batch), (_HEAD, made.heads))
    q, k, v = made.source(1, False), made.source(2, True), made.source(3, True)
    g = made.source(0, False, True)
    dots, logs = (made.args.buffer(schedule.memory(node.srcs[i], whole=True)[0], 0, False) for i in (4, 5))
    mask = made.masked(6)
    dq, dk, dv = made.output(0, False), made.output(1, True), made.output(2, True)
    packed_k = made.temporary(made.batch * made.heads * made.padded * made.size)
    packed_v = made.temporary(made.batch * made.heads * made.padded * made.wide)
    weights, own = made.own(_BLOCK * made.padded)
    slopes, _ = made.own(_BLOCK * made.padded)

    dtype = made.dtype
    heads = made.heads * made.groups
    delta = made.load(dots, made.address(0, (_BATCH, heads * made.rows), (_HEAD, made.groups), (_GROUP, 1), (_ROW, heads)))
    whole = made.groups * made.rows
    log = made.load(logs, made.address(0, (_BATCH, made.heads * whole), (_HEAD, whole), (_GROUP, made.rows), (_ROW, 1)))
    weight = Op("exp", (Op("sub", (made.score(weights, own, mask), log), dtype),), dtype)
    slope = Op("sub", (made.load(slopes, made.of_row(own)), delta), dtype)
    slope = Op("mul", (weight, Op("mul", (slope, made.factor), dtype)), dtype)
    if mask is not None:  # not 0 times what is beyond numbers
        slope = Op("where", (Op("eq", (weight, made.zero), "bool"), made.zero, slope), dtype)
    rows = made.each_row(made.visible(Store(weights, made.of_row(own), weight), Store(slopes, made.of_row(own), slope)),
                         *made.cleared(own, weights, slopes))
    (q, copy_q), (g, copy_g) = made.near(q, made.size), made.near(g, made.wide)
    body: list[Stmt] = [copy_q, copy_g, made.scores(q, made.size, packed_k, weights, own), made.scores(g, made.wide, packed_v, slopes, own), rows]
    if dq is not None:
        body.append(made.weighted(slopes, own, k, made.size, made.into_rows(dq, made.size, lambda r, value: value)))

    def gathered(factors: int, array: _Array, into: _Array, size: int) -> Loop:
        """Adds the block's rows of an array times the transposed factors [32, keys] to rows of an output: its part of the sum over rows."""
        def left(r: int) -> Expr:
            return made.load(factors, made.address(r, *own, (_ROW, made.padded), (_ROWS, -_BLOCK * made.padded), (_TILE, _TALL)))

        def finish(r: int, v: int, value: Expr) -> Stmt:
            step = into.strides[3]
            place = made.address(r * step + v * _LANES, *made.head_of(into), (_TILE, _TALL * step), (_COLUMNS, _BLOCK), (_LANE, 1))
            return Store(into.buffer, place, value, "add", made.exists(r, v, made.keys, size))
        tile = made.product(lambda *inner: made.each_row(*inner), left, lambda v: made.across(array, v, _ROW, size), finish)
        count = -(-made.keys // _TALL)
        if made.causal:
            tiles = Loop(_TILE, made.args.given(count), "serial", (tile,), (_ROWS, _BLOCK // _TALL), True)
        else:
            tiles = made.loop(_TILE, count, "serial", tile)
        return made.columns(size, tiles)

    begin: list[Stmt] = []
    for into, factors, array, size in ((dv, weights, g, made.wide), (dk, slopes, q, made.size)):
        if into is not None:
            body.append(gathered(factors, array, into, size))
            made.grouped = False
            place = made.address(0, *made.head_of(into), (_KEY, into.strides[3]), (_COLUMNS, 1))
            begin.append(made.loop(_KEY, made.keys, "serial", made.loop(_COLUMNS, size, "vector", Store(into.buffer, place, made.zero))))
            made.grouped = True
    blocks = made.loop(_GROUP, made.groups, "serial", made.loop(_ROWS, made.row_blocks, "serial", *body))
    made.grouped = False
    packing = [made.packing(k, made.size, packed_k), made.packing(v, made.wide, packed_v)]
    return _finish(made, packing, (*begin, blocks), made.batch * made.heads)


def _finish(made: _Attention, packing: list[list[Stmt]], body: tuple[Stmt, ...], items: int) -> Lowered:
    given = made.args.given
    heads = ((_BATCH, given(made.batch)), (_HEAD, given(made.heads)))
    phases = [Phase((*heads, (_KEYS, given(made.blocks))), tuple(copies)) for copies in packing]
    phases.append(Phase(tuple((axis, given(extent)) for axis, extent in made.items), body))
    kernel = Kernel(tuple(made.args.buffers), len(made.args.slots), tuple(phases))
    work = [made.batch * made.heads * made.blocks] * len(packing) + [items]
    pairs = made.batch * made.heads * made.groups * made.rows * made.keys * (made.size + made.wide)
    serial = [made.batch * made.heads * made.keys * made.size < 65536] * len(packing) + [pairs < 200_000]
    return Lowered(kernel, made.args, work, serial, made.scratch, [])

"""The code of Winograd's convolution: tiles of images and of products, and weights, transformed on the vector lanes.

A lane is a tile (or a weight's channel), so a transform is plain arithmetic on 36 (or 9) vectors, which are gathered from the image and scattered into
the result under masks: nothing is padded. The transformed tiles are written as the panels that the micro-kernel of matrix products reads.
"""
from __future__ import annotations

import struct

from torsh.codegen.chain import SLOTS, Step, combined, number
from torsh.codegen.gemm_layout import Shape
from torsh.codegen.gemm_micro import write_micro_kernels
from torsh.codegen.gemm_text import Text
from torsh.codegen.gemm_tiles import Rows
from torsh.codegen.winograd import CHANNELS, Images, Weights
from torsh.graph.winograd import PAIRS, TAPS

#: Channels multiplied at once. A panel of tiles need not stay in the first-level cache, but the rows of u, which are read once, are to be read in order.
_DEPTH = 1024


def _number(t: Text, value: float) -> str:
    """A vector constant."""
    single = struct.unpack("<f", struct.pack("<f", value))[0]
    bits = struct.unpack("<Q", struct.pack("<d", single))[0]
    return "<" + ", ".join([f"float 0x{bits:016X}"] * t.lanes) + ">"


class _Maps:
    """The three maps in one dimension, of vectors, for `tile` results. Points come in pairs of x and -x, whose polynomials have the same even part and
    opposite odd parts."""

    def __init__(self, t: Text, tile: int) -> None:
        self.t, self.tile, self.pairs = t, tile, PAIRS[tile]

    def _times(self, factor: float, value: str) -> str:
        return value if factor == 1 else self.t.op(f"fmul {self.t.vector} {value}, {_number(self.t, factor)}")

    def _plus(self, a: str, b: str) -> str:
        return self.t.op(f"fadd {self.t.vector} {a}, {b}")

    def _minus(self, a: str, b: str) -> str:
        return self.t.op(f"fsub {self.t.vector} {a}, {b}")

    def _fma(self, factor: float, a: str, b: str) -> str:
        """factor * a + b."""
        if abs(factor) == 1:
            return self._plus(b, a) if factor > 0 else self._minus(b, a)
        return self.t.fma(_number(self.t, factor), a, b)

    def _squares(self, without: float = 0.0) -> list[float]:
        return [x * x for x in self.pairs if x != without]

    def _even(self, d: list[str], squares: list[float]) -> str:
        """The product of (y - s) over the squares s, as a polynomial of y whose powers are d."""
        if not squares:
            return d[0]
        if len(squares) == 1:
            return self._fma(-squares[0], d[0], d[1])
        return self._fma(squares[0] * squares[1], d[0], self._fma(-(squares[0] + squares[1]), d[1], d[2]))

    def image(self, d: list[str]) -> list[str]:
        """B^T d: polynomials with all points but one as roots."""
        out = []
        for x in self.pairs:
            even, odd = self._even(d[2::2], self._squares(x)), self._even(d[1::2], self._squares(x))
            out += [self._fma(x, odd, even), self._fma(-x, odd, even)]
        return [self._even(d[0::2], self._squares()), *out, self._even(d[1::2], self._squares())]

    def weights(self, g: list[str]) -> list[str]:
        """G g: values at the points, over the products of their distances from the others."""
        whole = 1.0
        for square in self._squares():
            whole *= -square
        out = [self._times(1 / whole, g[0])]
        for x in self.pairs:
            scale = 1 / (2 * x * x)
            for square in self._squares(x):
                scale /= x * x - square
            even, odd = self._times(scale, self._fma(x * x, g[2], g[0])), self._times(scale * x, g[1])
            out += [self._plus(even, odd), self._minus(even, odd)]
        return [*out, g[2]]

    def result(self, m: list[str]) -> list[str]:
        """A^T m."""
        pairs = [(self._plus(m[2 * i + 1], m[2 * i + 2]), self._minus(m[2 * i + 1], m[2 * i + 2]), x) for i, x in enumerate(self.pairs)]
        out = []
        for power in range(self.tile):
            value = m[0] if power == 0 else m[-1] if power == self.tile - 1 else ""
            for even, odd, x in pairs:
                term = odd if power % 2 else even
                value = self._fma(x**power, term, value) if value else self._times(x**power, term)
            out.append(value)
        return out


def _twice(transform: object, square: list[list[str]]) -> list[list[str]]:
    """A map applied to the rows of a square and to the columns of what comes out: indexed [row][column]."""
    rows = [transform(row) for row in square]  # type: ignore[operator]
    columns = [transform(list(column)) for column in zip(*rows, strict=True)]  # type: ignore[operator]
    return [list(row) for row in zip(*columns, strict=True)]


def _lane_offsets(t: Text, table: str) -> str:
    """The offsets of a vector's lanes in elements."""
    narrow = t.op(f"load <{t.lanes} x i32>, ptr {table}, align 4")
    return t.op(f"sext <{t.lanes} x i32> {narrow} to <{t.lanes} x i64>")


def _places(t: Text, base: str, offsets: str) -> str:
    return t.op(f"getelementptr float, ptr {base}, <{t.lanes} x i64> {offsets}")


def _gather(t: Text, base: str, offsets: str, mask: str) -> str:
    return t.call(t.vector, f"llvm.masked.gather.{t.suffix}.v{t.lanes}p0",
                  [(f"<{t.lanes} x ptr> align 4", _places(t, base, offsets)), (t.mask, mask), (t.vector, "zeroinitializer")])


def _scatter(t: Text, value: str, base: str, offsets: str, mask: str) -> None:
    t.call("void", f"llvm.masked.scatter.{t.suffix}.v{t.lanes}p0",
           [(t.vector, value), (f"<{t.lanes} x ptr> align 4", _places(t, base, offsets)), (t.mask, mask)])


def _masks(t: Text, table: str, count: int) -> list[str]:
    kind = "i8" if t.lanes <= 8 else "i16"
    found = []
    for i in range(count):
        bits = t.op(f"load {kind}, ptr {t.op(f'getelementptr {kind}, ptr {table}, i64 {i}')}, align 1")
        if t.lanes < 8:
            bits = t.op(f"trunc i8 {bits} to i{t.lanes}")
        found.append(t.op(f"bitcast i{t.lanes} {bits} to {t.mask}"))
    return found


def write_weights(name: str, tile: int, vector_bytes: int) -> str:
    """The module of the weights' kernel. A work item is a row of u: one output channel."""
    t = Text("float32", "float32", vector_bytes, False)
    maps = _Maps(t, tile)
    t.begin(f"{name}_p0", "ptr %args, i64 %begin, i64 %end", False)
    w, u = t.pointer(Weights.W), t.pointer(Weights.U)
    rows, columns, w_row, w_column, w_i, w_j = (t.slot(s) for s in (Weights.ROWS, Weights.COLUMNS, Weights.W_ROW, Weights.W_COLUMN, Weights.W_I, Weights.W_J))
    point = t.mul(t.mul(rows, columns), "4")
    step = t.op(f"sdiv i64 {w_column}, 4")
    every = t.op(f"insertelement <{t.lanes} x i64> poison, i64 {step}, i64 0")
    every = t.op(f"shufflevector <{t.lanes} x i64> {every}, <{t.lanes} x i64> poison, <{t.lanes} x i32> zeroinitializer")
    offsets = t.op(f"mul <{t.lanes} x i64> {every}, <" + ", ".join(f"i64 {i}" for i in range(t.lanes)) + ">")
    with t.loop("%begin", "%end") as row:
        source, target = t.at(w, t.mul(row.index, w_row)), t.at(u, t.mul(t.mul(row.index, columns), "4"))
        with t.loop("0", columns, str(t.lanes)) as column:
            mask = t.first(t.sub(columns, column.index))
            here = t.at(source, t.mul(column.index, w_column))
            lines = [t.at(here, t.mul(w_i, str(i))) for i in range(TAPS)]
            square = [[_gather(t, t.at(line, t.mul(w_j, str(j))), offsets, mask) for j in range(TAPS)] for line in lines]
            place = t.at(target, t.mul(column.index, "4"))
            for values in _twice(maps.weights, square):
                for value in values:
                    t.store(value, place, "", mask)
                    place = t.at(place, point)
    t.end()
    return t.module()


def _write_tiles_in(t: Text, tile: int) -> None:
    """`@tiles_in(x, offsets, masks, count, channel, row, column, v, v_point, v_channel)`: a vector of tiles of `count` channels of x transformed into v."""
    maps, points = _Maps(t, tile), tile + 2
    t.begin("tiles_in", "ptr %x, ptr %offsets, ptr %masks, i64 %count, i64 %channel, i64 %row, i64 %column, ptr %v, i64 %v_point, i64 %v_channel", True)
    offsets, masks = _lane_offsets(t, "%offsets"), _masks(t, "%masks", 2 * points)
    with t.loop("0", "%count", carry=[("ptr", "%x"), ("ptr", "%v")]) as loop:
        x, v = loop.values
        square = []
        line = x
        for i in range(points):
            place, values = line, []
            for j in range(points):
                values.append(_gather(t, place, offsets, t.op(f"and {t.mask} {masks[i]}, {masks[points + j]}")))
                place = t.at(place, "%column")
            square.append(values)
            line = t.at(line, "%row")
        place = v
        for values in _twice(maps.image, square):
            for value in values:
                t.store(value, place)
                place = t.at(place, "%v_point")
        loop.next = [t.at(x, "%channel"), t.at(v, "%v_channel")]
    t.end()


def _store_quads(t: Text, values: list[str], line: str, table: str) -> None:
    """Four vectors of 16 lanes, stored lane by lane as four adjacent elements at the offsets of a table: a processor scatters more slowly."""
    def merged(a: str, b: str, size: int, half: int) -> str:
        """Groups of `size` lanes of a half of a and b in turn."""
        order: list[int] = []
        for at in range(8 * half, 8 * half + 8, size):
            order += [*range(at, at + size), *range(16 + at, 16 + at + size)]
        return t.shuffle(a, b, order)
    lane = 0
    for half in range(2):
        first, second = merged(values[0], values[1], 1, half), merged(values[2], values[3], 1, half)
        for quarter in range(2):
            quads = merged(first, second, 2, quarter)
            for i in range(4):
                place = t.op(f"load i32, ptr {t.at(table, str(4 * lane))}, align 4")
                where = t.op(f"getelementptr float, ptr {line}, i64 {t.op(f'sext i32 {place} to i64')}")
                t.put(f"store <4 x float> {t.shuffle(quads, 'poison', list(range(4 * i, 4 * i + 4)))}, ptr {where}, align 4")
                lane += 1


def _write_tiles_out(t: Text, tile: int, steps: tuple[Step, ...]) -> None:
    """`@tiles_out(m, m_point, m_channel, count, y, offsets, masks, channel, row)`: a vector of tiles of `count` channels of products into y."""
    maps, points = _Maps(t, tile), tile + 2
    t.begin("tiles_out", "ptr %args, i64 %first, ptr %m, i64 %m_point, "
            "i64 %m_channel, i64 %count, ptr %y, ptr %offsets, ptr %masks, i64 %channel, i64 %row", True)
    offsets, masks = _lane_offsets(t, "%offsets"), _masks(t, "%masks", 2 * tile)
    whole = "true"  # whether all tiles are inside of the image
    for mask in masks:
        bits = t.op(f"bitcast {t.mask} {mask} to i{t.lanes}")
        whole = t.both(whole, t.op(f"icmp eq i{t.lanes} {bits}, -1"))
    begins = []  # of each step's operand, where the first channel of y has it
    slot = Images.STEPS
    for _, kind in steps:
        if kind == "row":
            distance = t.slot(slot + 1)
            begins.append((t.at(t.pointer(slot), t.mul("%first", distance)), distance))
        elif kind == "full":
            begins.append((t.at(t.pointer(slot), t.mul("%first", "%channel")), "%channel"))
        else:
            begins.append((number(t, slot), ""))
        slot += SLOTS[kind]
    moving = [begin for begin in begins if begin[1]]
    with t.loop("0", "%count", carry=[("ptr", "%m"), ("ptr", "%y"), *[("ptr", place) for place, _ in moving]]) as loop:
        m, y, *here = loop.values
        operands, left = [], list(here)
        for (_, kind), (begin, _) in zip(steps, begins, strict=True):
            place = left.pop(0) if kind != "number" else begin
            operands.append(t.splat(t.load_scalar(place)) if kind == "row" else place)
        place, square = m, []
        for _ in range(points):
            values = []
            for _ in range(points):
                values.append(t.load(place))
                place = t.at(place, "%m_point")
            square.append(values)
        line, rows_of = y, list(operands)
        rows_out: list[tuple[str, list[str], list[str]]] = []  # each row's address, values and masks
        for i, values in enumerate(_twice(maps.result, square)):
            rows_out.append((line, [], []))
            for j, value in enumerate(values):
                mask = t.op(f"and {t.mask} {masks[i]}, {masks[tile + j]}")
                for index, ((name, kind), operand) in enumerate(zip(steps, operands, strict=True)):
                    if kind == "full":
                        operand = _gather(t, t.at(rows_of[index], str(4 * j)), offsets, mask)
                    value = combined(t, name, value, operand)
                rows_out[-1][1].append(value)
                rows_out[-1][2].append(mask)
            line = t.at(line, "%row")
            rows_of = [t.at(row, "%row") if kind == "full" else row for row, (_, kind) in zip(rows_of, steps, strict=True)]
        some, done = t.new_label(), t.new_label()
        if tile == 4 and t.lanes == 16:
            every = t.new_label()
            t.put(f"br i1 {whole}, label %{every}, label %{some}")
            t.label(every)
            for line, values, _ in rows_out:
                _store_quads(t, values, line, "%offsets")
            t.put(f"br label %{done}")
        else:
            t.put(f"br label %{some}")
        t.label(some)
        for line, values, of_row in rows_out:
            for j, (value, mask) in enumerate(zip(values, of_row, strict=True)):
                _scatter(t, value, t.at(line, str(4 * j)), offsets, mask)
        t.put(f"br label %{done}")
        t.label(done)
        loop.next = [t.at(m, "%m_channel"), t.at(y, "%channel"), *[t.at(p, distance) for p, (_, distance) in zip(here, moving, strict=True)]]
    t.end()


class _Steps:
    """The argument table read once, and the three steps for a block whose memory is at `v` and `m`."""

    def __init__(self, t: Text, shape: Shape, tile: int) -> None:
        self.t, self.shape, self.tile = t, shape, tile
        self.u, self.x, self.y, self.v, self.m, self.busy, self.into, self.into_masks, self.out, self.out_masks = (
            t.pointer(s) for s in range(Images.U, Images.OUT_MASKS + 1))
        (self.tiles, self.block, self.c, self.o, self.x_channel, self.x_row, self.x_column, self.y_channel, self.y_row, self.v_point, self.m_point,
         self.v_block, self.m_block, self.slots, self.u_point, self.u_row) = (t.slot(s) for s in range(Images.TILES, Images.U_ROW + 1))
        self.mask_bytes = 1 if t.lanes <= 8 else 2
        self.panel = t.mul(self.c, str(4 * shape.columns))  # of v
        self.m_channel = t.mul(self.block, "4")

    def valid(self, block: str) -> str:
        """The tiles of a block."""
        t = self.t
        return t.least(t.sub(self.tiles, t.mul(block, self.block)), self.block)

    def _tables(self, block: str, lane: str, table: str, masks: str, count: int) -> tuple[str, str]:
        t = self.t
        tile = t.add(t.mul(block, self.block), lane)
        vector = t.divide(tile, str(t.lanes))[0]
        return t.at(table, t.mul(tile, "4")), t.at(masks, t.mul(vector, str(count * self.mask_bytes)))

    def tiles_in(self, block: str, lane: str, first: str, count: str, v: str) -> None:
        t, columns = self.t, self.shape.columns
        offsets, masks = self._tables(block, lane, self.into, self.into_masks, 2 * (self.tile + 2))
        number, inside = t.divide(lane, str(columns))
        place = t.at(v, t.add(t.mul(number, self.panel), t.add(t.mul(first, str(4 * columns)), t.mul(inside, "4"))))
        t.put(f"call void @tiles_in(ptr {t.at(self.x, t.mul(first, self.x_channel))}, ptr {offsets}, ptr {masks}, i64 {count}, i64 {self.x_channel}, "
              f"i64 {self.x_row}, i64 {self.x_column}, ptr {place}, i64 {self.v_point}, i64 {4 * columns})")

    def tiles_out(self, block: str, lane: str, first: str, count: str, m: str) -> None:
        t = self.t
        offsets, masks = self._tables(block, lane, self.out, self.out_masks, 2 * self.tile)
        place = t.at(m, t.add(t.mul(first, self.m_channel), t.mul(lane, "4")))
        t.put(f"call void @tiles_out(ptr %args, i64 {first}, ptr {place}, i64 {self.m_point}, i64 {self.m_channel}, i64 {count}, "
              f"ptr {t.at(self.y, t.mul(first, self.y_channel))}, ptr {offsets}, ptr {masks}, i64 {self.y_channel}, i64 {self.y_row})")

    def product(self, valid: str, point: str, v: str, m: str) -> None:
        """One point's product: its rows of u with its panels of v."""
        t, shape = self.t, self.shape
        u_row = self.u_row
        u, v, m = t.at(self.u, t.mul(point, self.u_point)), t.at(v, t.mul(point, self.v_point)), t.at(m, t.mul(point, self.m_point))
        with t.loop("0", valid, str(shape.columns)) as column:
            panel = t.at(v, t.mul(t.divide(column.index, str(shape.columns))[0], self.panel))
            narrow = t.test("sle", t.sub(valid, column.index), str(shape.lanes))
            with t.loop("0", self.c, str(_DEPTH)) as block:
                kc = t.least(t.sub(self.c, block.index), str(_DEPTH))
                add = t.op(f"zext i1 {t.test('ne', block.index, '0')} to i64")
                here = t.at(panel, t.mul(block.index, str(4 * shape.columns)))
                u_here = t.at(u, t.mul(block.index, "4"))
                with t.loop("0", self.o, str(shape.rows)) as row:
                    rows = t.least(t.sub(self.o, row.index), str(shape.rows))
                    a = t.at(u_here, t.mul(row.index, u_row))
                    place = t.at(m, t.add(t.mul(row.index, self.m_channel), t.mul(column.index, "4")))
                    soon = t.at(a, t.mul(u_row, str(shape.rows)))
                    # The next rows come meanwhile: two lines in a turn of the micro-kernel, which is two k for whole panels and one for narrow ones.
                    soon_k = t.select(narrow, "i64", str(4 * shape.rows), str(8 * shape.rows))
                    other = t.select(narrow, "ptr", soon, t.at(soon, str(4 * shape.rows)))
                    with Rows(t, shape, rows, narrow, a, u_row, place, self.m_channel,
                              (f"i64 {u_row}, ptr {here}, i64 {4 * shape.columns}, i64 {kc}",
                               f"i64 {self.m_channel}, i64 {add}, ptr {soon}, i64 {soon_k}, ptr {other}, i64 {soon_k}")):
                        pass


def write_images(name: str, tile: int, vector_bytes: int, registers: int, steps_after: tuple[Step, ...]) -> str:
    """The module of the images' kernel. Phases: 0 and 1 for blocks carried through all steps, 2 to 4 for one step each."""
    t = Text("float32", "float32", vector_bytes, False)
    shape = Shape(vector_bytes, registers, 4)
    write_micro_kernels(t, shape, False)
    _write_tiles_in(t, tile)
    _write_tiles_out(t, tile, steps_after)

    t.begin(f"{name}_p0", "ptr %args, i64 %begin, i64 %end", False)
    t.put(f"store i64 0, ptr {t.pointer(Images.BUSY)}, align 8")
    t.end()

    t.begin(f"{name}_p1", "ptr %args, i64 %begin, i64 %end", False)
    steps = _Steps(t, shape, tile)
    bit, number = t.acquire(steps.busy, steps.slots)
    v, m = t.at(steps.v, t.mul(number, steps.v_block)), t.at(steps.m, t.mul(number, steps.m_block))
    with t.loop("%begin", "%end") as item:
        valid = steps.valid(item.index)
        with t.loop("0", valid, str(t.lanes)) as lane:
            steps.tiles_in(item.index, lane.index, "0", steps.c, v)
        with t.loop("0", str((tile + 2) ** 2)) as point:
            steps.product(valid, point.index, v, m)
        with t.loop("0", valid, str(t.lanes)) as lane:
            steps.tiles_out(item.index, lane.index, "0", steps.o, m)
    t.release(steps.busy, bit)
    t.end()

    for phase, channels in ((2, "c"), (4, "o")):
        t.begin(f"{name}_p{phase}", "ptr %args, i64 %begin, i64 %end", False)
        steps = _Steps(t, shape, tile)
        extent = getattr(steps, channels)
        parts = t.divide(t.add(extent, str(CHANNELS - 1)), str(CHANNELS))[0]
        vectors_of = t.divide(steps.block, str(t.lanes))[0]
        with t.loop("%begin", "%end") as item:
            rest, part = t.divide(item.index, parts)
            block, vector = t.divide(rest, vectors_of)
            tile_lane, first = t.mul(vector, str(t.lanes)), t.mul(part, str(CHANNELS))
            with t.where(t.test("slt", tile_lane, steps.valid(block))):
                count = t.least(t.sub(extent, first), str(CHANNELS))
                if phase == 2:
                    steps.tiles_in(block, tile_lane, first, count, t.at(steps.v, t.mul(block, steps.v_block)))
                else:
                    steps.tiles_out(block, tile_lane, first, count, t.at(steps.m, t.mul(block, steps.m_block)))
        t.end()

    t.begin(f"{name}_p3", "ptr %args, i64 %begin, i64 %end", False)
    steps = _Steps(t, shape, tile)
    with t.loop("%begin", "%end") as item:
        block, point_index = t.divide(item.index, str((tile + 2) ** 2))
        steps.product(steps.valid(block), point_index, t.at(steps.v, t.mul(block, steps.v_block)), t.at(steps.m, t.mul(block, steps.m_block)))
    t.end()
    return t.module()

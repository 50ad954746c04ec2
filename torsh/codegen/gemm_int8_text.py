"""The code of products of 8-bit integers: packing in groups along K, micro-kernels of an instruction a group, tile registers.

Phases: 0 packs panels of A, then of B; 1 computes tiles of C. All of K is summed in registers, so C is written once.
"""
from __future__ import annotations

from torsh.codegen.gemm_amx import TILE, write_sums
from torsh.codegen.gemm_int8 import NEAR_PANEL, Shape8, Slots
from torsh.codegen.gemm_text import Text

_MADD = {16: "sse2.pmadd.wd", 32: "avx2.pmadd.wd", 64: "avx512.pmaddw.d.512"}


class IntText(Text):
    """Text whose vectors hold int32."""

    def __init__(self, shape: Shape8, signed_a: bool, arch: str) -> None:
        super().__init__("float32", "float32", shape.lanes * 4, True)
        self.scalar, self.vector = "i32", f"<{self.lanes} x i32>"
        self.signed_a, self.x86 = signed_a, arch == "x86_64"
        #: The integers that a vector of groups is packed from.
        self.narrow_lanes = shape.group * self.lanes
        self.bytes = f"<{self.narrow_lanes} x i8>"
        self.masked = self.vector_bytes == 64


def _packed(t: IntText, shape: Shape8, value: str, of_a: bool) -> str:
    """A vector of groups from its integers."""
    if shape.way == "madd":
        wide = f"<{t.narrow_lanes} x i16>"
        value = t.op(f"{'sext' if t.signed_a or not of_a else 'zext'} {t.bytes} {value} to {wide}")
        return t.op(f"bitcast {wide} {value} to {t.vector}")
    value = t.op(f"bitcast {t.bytes} {value} to {t.vector}")
    return t.op(f"xor {t.vector} {value}, {t.splat(str(-0x7F7F7F80))}") if of_a and shape.flips else value


def _first(t: IntText, count: str, lanes: int) -> str:
    """The mask of the first `count` of so many lanes."""
    kind = f"<{lanes} x i16>"
    number = t.op(f"trunc i64 {t.least(count, str(lanes))} to i16")
    every = t.op(f"shufflevector {kind} {t.op(f'insertelement {kind} poison, i16 {number}, i64 0')}, {kind} poison, <{lanes} x i32> zeroinitializer")
    return t.op(f"icmp slt {kind} <{', '.join(f'i16 {i}' for i in range(lanes))}>, {every}")


def _load(t: IntText, place: str, lanes: int, mask: str) -> str:
    kind = f"<{lanes} x i8>"
    if not mask:
        return t.op(f"load {kind}, ptr {place}, align 1")
    return t.call(kind, f"llvm.masked.load.v{lanes}i8.p0", [("ptr align 1", place), (f"<{lanes} x i1>", mask), (kind, "zeroinitializer")])


def _write_pack_slow(t: IntText, shape: Shape8, of_a: bool) -> None:
    """`@slow_{a,b}(src, x_stride, k_stride, valid, depth, from, to, dst, pitch)`: groups `from` to `to` of one strip, an integer at a time."""
    t.begin(f"slow_{'a' if of_a else 'b'}", "ptr %src, i64 %x_stride, i64 %k_stride, i64 %valid, i64 %depth, i64 %from, i64 %to, ptr %dst, i64 %pitch", True)
    size = 4 // shape.group
    last_x, last_k = t.sub("%valid", "1"), t.sub("%depth", "1")
    with t.loop("%from", "%to") as group, t.loop("0", str(t.lanes)) as lane, t.loop("0", str(shape.group)) as j:
        k = t.add(t.mul(group.index, str(shape.group)), j.index)
        inside = t.both(t.test("slt", lane.index, "%valid"), t.test("slt", k, "%depth"))
        place = t.at("%src", t.dot((t.least(lane.index, last_x), "%x_stride"), (t.least(k, last_k), "%k_stride")))
        value = t.op(f"select i1 {inside}, i8 {t.op(f'load i8, ptr {place}, align 1')}, i8 0")
        into = t.at("%dst", t.add(t.mul(group.index, "%pitch"), t.add(t.mul(lane.index, "4"), t.mul(j.index, str(size)))))
        if shape.way == "madd":
            wide = t.op(f"{'sext' if t.signed_a or not of_a else 'zext'} i8 {value} to i16")
            t.put(f"store i16 {wide}, ptr {into}, align 2")
        else:
            t.put(f"store i8 {t.op(f'xor i8 {value}, -128') if of_a and shape.flips else value}, ptr {into}, align 1")
    t.end()


def _write_pack(t: IntText, shape: Shape8, of_a: bool) -> None:
    """`@pack_{a,b}(src, x_stride, k_stride, valid, depth, groups, dst, pitch)`: one strip of `lanes` rows of A (or columns of B): group g of the x-th is at
    dst + g * pitch + 4 x. Zeros beyond `depth` and `valid`, which is at least 1. For AMX a strip of A is tiles of 16 rows of 64 bytes instead."""
    name, lanes, group = "a" if of_a else "b", t.lanes, shape.group
    tiles_of_a = of_a and shape.way == "amx"
    t.begin(f"pack_{name}", "ptr %src, i64 %x_stride, i64 %k_stride, i64 %valid, i64 %depth, i64 %groups, ptr %dst, i64 %pitch", True)
    by_k, other, by_x, slow, done = (t.new_label() for _ in range(5))
    full = t.test("sge", "%valid", str(lanes))
    t.put(f"br i1 {t.test('eq', '%k_stride', '1')}, label %{by_k}, label %{other}")

    def store(rows: list[str], square: str, pitch: str = "%pitch") -> None:
        line = t.at("%dst", square)
        for row in rows:
            t.store(row, line)
            line = t.at(line, pitch)

    # Integers along K are neighbours: squares of `lanes` x by `lanes` groups.
    t.label(by_k)
    last = t.sub("%valid", "1")
    sources = [t.at("%src", t.mul(t.least(str(i), last), "%x_stride")) for i in range(lanes)]
    step = lanes * group
    whole = "%groups" if t.masked else t.mul(t.op(f"udiv i64 %depth, {step}"), str(lanes))
    with t.loop("0", whole, str(lanes)) as square:
        k0 = t.mul(square.index, str(group))
        mask = _first(t, t.sub("%depth", k0), step) if t.masked else ""
        rows = [_packed(t, shape, _load(t, t.at(source, k0), step, mask), of_a) for source in sources]
        if tiles_of_a:
            store(rows, t.mul(square.index, "64"), "64")
        else:
            store(t.transpose(rows), t.mul(square.index, "%pitch"))
    after_k = t.block
    t.put(f"br label %{slow}")

    t.label(other)
    neighbours = t.test("eq", "%x_stride", "1")
    t.put(f"br i1 {neighbours if t.masked else t.both(neighbours, full)}, label %{by_x}, label %{slow}")

    # Rows (columns) are neighbours: `group` vectors of bytes put side by side.
    t.label(by_x)
    wide = "%groups" if t.masked else t.op(f"udiv i64 %depth, {group}")
    some = _first(t, "%valid", lanes) if t.masked else ""
    mask_kind = f"<{lanes} x i1>"

    def groups_of(number: str) -> str:
        loaded = []
        for j in range(group):
            k = t.add(t.mul(number, str(group)), str(j))
            mask = t.op(f"select i1 {t.test('slt', k, '%depth')}, {mask_kind} {some}, {mask_kind} zeroinitializer") if t.masked else ""
            loaded.append(_load(t, t.at("%src", t.mul(k, "%k_stride")), lanes, mask))
        merged, width = loaded, lanes
        while len(merged) > 1:  # neighbours in the end are merged first: x's bytes 0 and 2, 1 and 3, then both
            half = len(merged) // 2
            order = ", ".join(f"i32 {i // 2 + width * (i % 2)}" for i in range(2 * width))
            merged = [t.op(f"shufflevector <{width} x i8> {merged[i]}, <{width} x i8> {merged[i + half]}, <{2 * width} x i32> <{order}>") for i in range(half)]
            width *= 2
        return _packed(t, shape, merged[0], of_a)

    if tiles_of_a:
        with t.loop("0", wide, str(lanes)) as square:
            store(t.transpose([groups_of(t.add(square.index, str(i))) for i in range(lanes)]), t.mul(square.index, "64"), "64")
    else:
        with t.loop("0", wide) as number:
            t.store(groups_of(number.index), t.at("%dst", t.mul(number.index, "%pitch")))
    after_x = t.block
    t.put(f"br label %{slow}")
    t.label(slow)
    begun = t.op(f"phi i64 [{whole}, %{after_k}], [0, %{other}], [{wide}, %{after_x}]")
    if tiles_of_a:  # a strip between two strides: its tiles' rows, an integer at a time
        last_k = t.sub("%depth", "1")
        with t.loop(begun, "%groups") as number, t.loop("0", str(lanes)) as lane, t.loop("0", "4") as j:
            k = t.add(t.mul(number.index, "4"), j.index)
            inside = t.both(t.test("slt", lane.index, "%valid"), t.test("slt", k, "%depth"))
            last_x = t.sub("%valid", "1")
            place = t.at("%src", t.dot((t.least(lane.index, last_x), "%x_stride"), (t.least(k, last_k), "%k_stride")))
            value = t.op(f"select i1 {inside}, i8 {t.op(f'load i8, ptr {place}, align 1')}, i8 0")
            tile, place_k = t.divide(k, "64")
            t.put(f"store i8 {value}, ptr {t.at('%dst', t.add(t.mul(tile, str(TILE)), t.add(t.mul(lane.index, '64'), place_k)))}, align 1")
    else:
        t.put(f"call void @slow_{name}(ptr %src, i64 %x_stride, i64 %k_stride, i64 %valid, i64 %depth, i64 {begun}, i64 %groups, ptr %dst, i64 %pitch)")
    t.put(f"br label %{done}")
    t.label(done)
    t.end()


def _multiply(t: IntText, shape: Shape8, sums: str, a: str, b: str) -> str:
    """sums + the products of the groups of a and b, added up within each."""
    v = t.vector
    if shape.way == "dot":
        return t.call(v, f"llvm.x86.avx512.vpdpbusd.{8 * t.vector_bytes}", [(v, sums), (v, a), (v, b)])
    if shape.way == "sdot":
        kind = "<16 x i8>"
        a, b = (t.op(f"bitcast {v} {x} to {kind}") for x in (a, b))
        return t.call(v, "llvm.aarch64.neon.sdot.v4i32.v16i8", [(v, sums), (kind, a), (kind, b)])
    kind = f"<{2 * t.lanes} x i16>"
    a, b = (t.op(f"bitcast {v} {x} to {kind}") for x in (a, b))
    if t.x86:
        return t.op(f"add {v} {sums}, {t.call(v, f'llvm.x86.{_MADD[t.vector_bytes]}', [(kind, a), (kind, b)])}")
    total = sums
    for side in (0, 1):
        order = ", ".join(f"i32 {2 * i + side}" for i in range(t.lanes))
        halves = [t.op(f"sext <{t.lanes} x i16> {t.op(f'shufflevector {kind} {x}, {kind} poison, <{t.lanes} x i32> <{order}>')} to {v}") for x in (a, b)]
        total = t.op(f"add {v} {total}, {t.op(f'mul {v} {halves[0]}, {halves[1]}')}")
    return total


def _write_header(t: IntText, shape: Shape8) -> None:
    """`@header(panel, groups)`: what the sums of a packed panel of B begin with."""
    t.begin("header", "ptr %panel, i64 %groups", True)
    ones = t.splat(str(0x01010101))
    with t.loop("0", "%groups", carry=[(t.vector, "zeroinitializer")] * shape.vectors) as group:
        line = t.at("%panel", t.add(str(shape.header), t.mul(group.index, str(4 * shape.columns))))
        group.next = [_multiply(t, shape, group.values[v], ones, t.load(t.at(line, str(v * t.vector_bytes)))) for v in range(shape.vectors)]
    factor = t.splat(str(-128 if t.signed_a else 128))
    for v in range(shape.vectors):
        t.store(t.op(f"mul {t.vector} {group.values[v]}, {factor}"), t.at("%panel", str(v * t.vector_bytes)))
    t.end()


def _write_micro_kernel(t: IntText, shape: Shape8, rows: int) -> None:
    """`@tile_{rows}(a, b, groups, c, c_row)`: rows of C from panels."""
    t.begin(f"tile_{rows}", "ptr %a, ptr %b, i64 %groups, ptr %c, i64 %c_row", True)
    vectors = shape.vectors
    first = [t.load(t.at("%b", str(v * t.vector_bytes))) for v in range(vectors)]
    state = ["%a", t.at("%b", str(shape.header)), *(first[v] for _ in range(rows) for v in range(vectors))]
    kinds = ["ptr", "ptr"] + [t.vector] * (rows * vectors)
    with t.loop("0", "%groups", carry=list(zip(kinds, state, strict=True))) as group:
        a, b = (t.op(f'call ptr asm sideeffect "", "=r,0"(ptr {p})') for p in group.values[:2])
        panel = [t.load(t.at(b, str(v * t.vector_bytes))) for v in range(vectors)]
        sums = []
        for i in range(rows):
            value = t.splat(t.load_scalar(t.at(a, str(4 * i))))
            sums += [_multiply(t, shape, group.values[2 + i * vectors + v], value, panel[v]) for v in range(vectors)]
        group.next = [t.at(a, str(4 * shape.packed_rows)), t.at(b, str(4 * shape.columns)), *sums]
    line = "%c"
    for i in range(rows):
        for v in range(vectors):
            t.store(group.values[2 + i * vectors + v], t.at(line, str(v * t.vector_bytes)))
        line = t.at(line, "%c_row") if i + 1 < rows else line
    t.end()


def _write_tiles(t: IntText, shape: Shape8) -> None:
    """`@tile_32(a, b, groups, c, c_row)`: four tiles of sums from panels of two strips each."""
    t.begin("tile_32", "ptr %a, ptr %b, i64 %groups, ptr %c, i64 %c_row", True)
    strip = t.mul("%groups", "64")
    places = ["%a", t.at("%a", strip), "%b", t.at("%b", strip)]
    write_sums(t, strip, places, f"tdpb{'ss' if t.signed_a else 'us'}d")
    lower = t.at("%c", t.mul("%c_row", "16"))
    for i in range(4):
        t.call("void", "llvm.x86.tilestored64", [("i8", str(i)), ("ptr", t.at(lower if i >= 2 else "%c", str(64 * (i % 2)))), ("i64", "%c_row")])
    t.end()


def _write_finish(t: IntText, shape: Shape8) -> None:
    """`@finish(tmp, rows, columns, c, c_row, c_column)`: part of a tile to where it belongs."""
    t.begin("finish", "ptr %tmp, i64 %rows, i64 %columns, ptr %c, i64 %c_row, i64 %c_column", True)
    unit = t.test("eq", "%c_column", "4")
    with t.loop("0", "%rows") as row:
        line, into = t.at("%tmp", t.mul(row.index, str(4 * shape.columns))), t.at("%c", t.mul(row.index, "%c_row"))
        with t.where(unit):
            with t.loop("0", "%columns", str(t.lanes)) as column:
                place = t.mul(column.index, "4")
                t.store(t.load(t.at(line, place)), t.at(into, place), "", t.first(t.sub("%columns", column.index)))
        with t.where(t.opposite(unit)):
            with t.loop("0", "%columns") as column:
                t.store_scalar(t.load_scalar(t.at(line, t.mul(column.index, "4"))), t.at(into, t.mul(column.index, "%c_column")))
    t.end()


def _write_panel(t: IntText, shape: Shape8, of_a: bool) -> None:
    """`@panel_{a,b}(src, x_stride, k_stride, valid, depth, dst)`: a panel of `valid` rows of A (or columns of B, and what their sums begin with)."""
    wide = shape.rows if of_a else shape.columns
    t.begin(f"panel_{'a' if of_a else 'b'}", "ptr %src, i64 %x_stride, i64 %k_stride, i64 %valid, i64 %depth, ptr %dst", True)
    step = shape.group * shape.lanes
    groups = t.mul(t.op(f"udiv i64 {t.add('%depth', str(step - 1))}, {step}"), str(shape.lanes))
    strip, pitch = (t.mul(groups, "4"), "64") if shape.way == "amx" else ("4", str(4 * (shape.packed_rows if of_a else shape.columns)))
    body = t.at("%dst", str(0 if of_a else shape.header))
    with t.loop("0", str(wide if shape.way == "amx" or not of_a else shape.packed_rows), str(shape.lanes)) as lane:
        # A strip without rows is filled from the last one: what it holds reaches nothing that is stored.
        some = t.call("i64", "llvm.smax.i64", [("i64", t.sub("%valid", lane.index)), ("i64", "1")])
        first = t.least(lane.index, t.sub("%valid", "1"))
        t.put(f"call void @pack_{'a' if of_a else 'b'}(ptr {t.at('%src', t.mul(first, '%x_stride'))}, i64 %x_stride, i64 %k_stride, i64 {some}, i64 %depth, "
              f"i64 {groups}, ptr {t.at(body, t.mul(lane.index, strip))}, i64 {pitch})")
    if not of_a and shape.header:
        if shape.flips:
            t.put(f"call void @header(ptr %dst, i64 {groups})")
        else:
            for v in range(shape.vectors):
                t.store("zeroinitializer", t.at("%dst", str(v * t.vector_bytes)))
    t.end()


def _write_pack_phase(t: IntText, name: str, shape: Shape8) -> None:
    t.begin(f"{name}_p0", "ptr %args, i64 %begin, i64 %end", False)
    depth, a_items = t.slot(Slots.K), t.slot(Slots.A_ITEMS)
    with t.loop("%begin", "%end") as item:
        for of_a in (True, False):
            with t.where(t.test("slt" if of_a else "sge", item.index, a_items)):
                source, into, extent, many, panel_bytes, wide, strides = (
                    (Slots.A, Slots.A_PACKED, Slots.M, Slots.PANELS_M, Slots.A_PANEL, shape.rows, (Slots.A_BATCH, Slots.A_M, Slots.A_K)) if of_a else
                    (Slots.B, Slots.B_PACKED, Slots.N, Slots.PANELS_N, Slots.B_PANEL, shape.columns, (Slots.B_BATCH, Slots.B_N, Slots.B_K)))
                by_batch, by_x, by_k = (t.slot(s) for s in strides)
                number = item.index if of_a else t.sub(item.index, a_items)
                batch, panel = t.divide(number, t.slot(many))
                x = t.mul(panel, str(wide))
                valid = t.least(t.sub(t.slot(extent), x), str(wide))
                src = t.at(t.pointer(source), t.dot((batch, by_batch), (x, by_x)))
                t.put(f"call void @panel_{'a' if of_a else 'b'}(ptr {src}, i64 {by_x}, i64 {by_k}, i64 {valid}, i64 {depth}, "
                      f"ptr {t.at(t.pointer(into), t.mul(number, t.slot(panel_bytes)))})")
    t.end()


def _configure(t: IntText) -> None:
    """Eight tiles of 16 rows of 64 bytes."""
    config = t.op("alloca [64 x i8], align 64")
    t.put(f"store <64 x i8> zeroinitializer, ptr {config}, align 64")
    t.put(f"store i8 1, ptr {config}, align 1")
    for i in range(8):
        t.put(f"store i16 64, ptr {t.at(config, str(16 + 2 * i))}, align 2")
        t.put(f"store i8 16, ptr {t.at(config, str(48 + i))}, align 1")
    t.call("void", "llvm.x86.ldtilecfg", [("ptr", config)])


def _write_tile_phase(t: IntText, name: str, shape: Shape8) -> None:
    t.begin(f"{name}_p1", "ptr %args, i64 %begin, i64 %end", False)
    tmp = t.op(f"alloca [{shape.rows * shape.columns} x i32], align 64")
    own = t.op(f"alloca [{NEAR_PANEL} x i8], align 64")
    if shape.way == "amx":
        _configure(t)
    a, b, c = (t.pointer(s) for s in (Slots.A_PACKED, Slots.B_PACKED, Slots.C))
    rows, columns, depth, panels_m, panels_n, blocks_m, blocks_n, a_panel, b_panel, a_batch, b_batch = (t.slot(s) for s in (
        Slots.M, Slots.N, Slots.K, Slots.PANELS_M, Slots.PANELS_N, Slots.BLOCKS_M, Slots.BLOCKS_N, Slots.A_PANEL, Slots.B_PANEL, Slots.A_NEXT,
        Slots.B_NEXT))
    c_batch, c_row, c_column = (t.mul(t.slot(s), "4") for s in (Slots.C_BATCH, Slots.C_M, Slots.C_N))
    step = shape.group * (shape.lanes if shape.way == "amx" else 1)
    groups = t.mul(t.op(f"udiv i64 {t.add(depth, str(step - 1))}, {step}"), str(shape.lanes) if shape.way == "amx" else "1")
    unit = t.test("eq", c_column, "4")
    per_batch = t.mul(blocks_m, blocks_n)
    line = str(4 * shape.columns)
    near = t.test("ne", t.slot(Slots.NEAR), "0")
    a_source, a_by_batch, a_by_m, a_by_k = t.pointer(Slots.A), *(t.slot(s) for s in (Slots.A_BATCH, Slots.A_M, Slots.A_K))

    def multiply(row: str, column: str, a_panel_here: str, b_here: str, c_here: str) -> None:
        m, n = t.mul(row, str(shape.rows)), t.mul(column, str(shape.columns))
        height, width = t.least(t.sub(rows, m), str(shape.rows)), t.least(t.sub(columns, n), str(shape.columns))
        place = t.at(c_here, t.add(t.mul(m, c_row), t.mul(n, c_column)))
        direct = t.both(unit, t.both(t.test("eq", height, str(shape.rows)), t.test("eq", width, str(shape.columns))))
        into, into_row = t.select(direct, "ptr", place, tmp), t.select(direct, "i64", c_row, line)
        operands = f"ptr {a_panel_here}, ptr {t.at(b_here, t.mul(column, b_panel))}, i64 {groups}, ptr {into}, i64 {into_row}"
        done = t.new_label()
        for taller, lower in zip(shape.heights, (*shape.heights[1:], 0), strict=True):
            this, other = t.new_label(), t.new_label()
            t.put(f"br i1 {t.test('sgt', height, str(lower))}, label %{this}, label %{other}")
            t.label(this)
            t.put(f"call void @tile_{taller}({operands})")
            t.put(f"br label %{done}")
            t.label(other)
        t.put(f"br label %{done}")
        t.label(done)
        with t.where(t.opposite(direct)):
            t.put(f"call void @finish(ptr {tmp}, i64 {height}, i64 {width}, ptr {place}, i64 {c_row}, i64 {c_column})")

    with t.loop("%begin", "%end") as item:
        batch, tile = t.divide(item.index, per_batch)
        mi, ni = t.divide(tile, blocks_n)
        a_here, b_here, c_here = t.at(a, t.mul(batch, a_batch)), t.at(b, t.mul(batch, b_batch)), t.at(c, t.mul(batch, c_batch))
        m0, m1 = (t.op(f"udiv i64 {t.mul(i, panels_m)}, {blocks_m}") for i in (mi, t.add(mi, "1")))
        n0, n1 = (t.op(f"udiv i64 {t.mul(i, panels_n)}, {blocks_n}") for i in (ni, t.add(ni, "1")))
        with t.where(near):
            source = t.at(a_source, t.mul(batch, a_by_batch))
            with t.loop(m0, m1) as row:
                m = t.mul(row.index, str(shape.rows))
                valid = t.least(t.sub(rows, m), str(shape.rows))
                t.put(f"call void @panel_a(ptr {t.at(source, t.mul(m, a_by_m))}, i64 {a_by_m}, i64 {a_by_k}, i64 {valid}, i64 {depth}, ptr {own})")
                with t.loop(n0, n1) as column:
                    multiply(row.index, column.index, own, b_here, c_here)
        with t.where(t.opposite(near)), t.loop(n0, n1) as column, t.loop(m0, m1) as row:
            multiply(row.index, column.index, t.at(a_here, t.mul(row.index, a_panel)), b_here, c_here)
    if shape.way == "amx":
        t.call("void", "llvm.x86.tilerelease", [])
    t.end()


def write(name: str, shape: Shape8, signed_a: bool, arch: str) -> str:
    """The module of the kernel."""
    t = IntText(shape, signed_a, arch)
    for of_a in (True, False):
        if not (of_a and shape.way == "amx"):
            _write_pack_slow(t, shape, of_a)
        _write_pack(t, shape, of_a)
    if shape.flips:
        _write_header(t, shape)
    for of_a in (True, False):
        _write_panel(t, shape, of_a)
    if shape.way == "amx":
        _write_tiles(t, shape)
    else:
        for height in shape.heights:
            _write_micro_kernel(t, shape, height)
    _write_finish(t, shape)
    _write_pack_phase(t, name, shape)
    _write_tile_phase(t, name, shape)
    return t.module()

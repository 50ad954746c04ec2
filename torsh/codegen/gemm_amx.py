"""Products of bfloat16 matrices on the tile registers of newer x86 processors (Intel's AMX): 16 x 16 sums of 32 products an instruction.

A tile of A is 16 rows of 32 k; a tile of B is 16 pairs of k, each 16 columns of two. Both are packed before, with zeros beyond K, so
that the sums over all of K stay in registers: two by two of their tiles make 32 x 32 elements of C. Sums are float32, rounded
once for each pair of products; subnormal numbers count as zero.

Phases: 0 packs strips of 16 rows of A or columns of B, a few together so that whole lines are read, 1 computes tiles of C. The
argument table is that of `gemm_tiles`.
"""
from __future__ import annotations

from torsh.codegen.gemm_layout import AMX_PANELS as PANELS
from torsh.codegen.gemm_layout import Epilogue, Flags, Shape, Tiles
from torsh.codegen.gemm_micro import prefetch
from torsh.codegen.gemm_text import Text
from torsh.codegen.gemm_tiles import ADD_C, LAST_BLOCK, write_finish

#: What slots of the table hold here: the packed A, the number of work items that pack it, and the tiles along K.
A_PACKED, A_ITEMS, TILES_K = Tiles.PARTIAL, Tiles.BUFFER, Tiles.TILE_K
#: Bytes of a tile.
TILE = 1024


def write_sums(t: Text, strip: str, places: list[str], product: str) -> None:
    """Tiles 0 to 3: the sums of two strips of A by two of B (`places`, of `strip` bytes each), by the tile instruction `product`."""
    for i in range(4):
        t.call("void", "llvm.x86.tilezero", [("i8", str(i))])
    with t.loop("0", strip, str(TILE)) as k:
        for i, place in enumerate(places):
            t.call("void", "llvm.x86.tileloadd64", [("i8", str(4 + i)), ("ptr", t.at(place, k.index)), ("i64", "64")])
        for i in range(4):
            t.call("void", f"llvm.x86.{product}", [("i8", str(i)), ("i8", str(4 + i // 2)), ("i8", str(6 + i % 2))])


def _write_strips(t: Text, name: str, by_row: bool) -> None:
    """`@name(src, x_stride, k_stride, valid, depth, dst, strip_bytes)`: the tiles of strips of 16 rows (or columns) x of a matrix, either of
    whose strides is that of adjacent elements. With `by_row` a tile has a row for each x, else one for each pair of k. Only `valid` x exist."""
    t.begin(name, "ptr %src, i64 %x_stride, i64 %k_stride, i64 %valid, i64 %depth, ptr %dst, i64 %strip_bytes", True)
    tiles = t.op(f"lshr i64 {t.add('%depth', '31')}, 5")
    by_k, by_x, done = t.new_label(), t.new_label(), t.new_label()
    t.put(f"br i1 {t.test('eq', '%k_stride', '2')}, label %{by_k}, label %{by_x}")
    wide, half = "<32 x i16>", "<16 x i16>"
    order = ", ".join(f"i32 {i // 2 + 16 * (i % 2)}" for i in range(32))

    def write(rows: list[str], as_they_are: bool, tile: str, x: str) -> None:
        into = t.at("%dst", t.add(t.mul(tile, str(TILE)), t.mul(t.op(f"lshr i64 {x}, 4"), "%strip_bytes")))
        for i, row in enumerate(rows if as_they_are else t.transpose(rows)):
            t.store(row, t.at(into, str(64 * i)))

    t.label(by_k)
    last = t.sub("%valid", "1")
    with t.loop("0", tiles) as tile:
        k0 = t.mul(tile.index, "32")
        number = t.op(f"trunc i64 {t.least(t.sub('%depth', k0), '32')} to i16")
        every = t.op(f"shufflevector {wide} {t.op(f'insertelement {wide} poison, i16 {number}, i64 0')}, {wide} poison, <32 x i32> zeroinitializer")
        mask = t.op(f"icmp slt {wide} <{', '.join(f'i16 {i}' for i in range(32))}>, {every}")
        with t.loop("0", "%valid", "16") as x:
            rows = []
            for i in range(16):
                place = t.at(t.at("%src", t.mul(t.least(t.add(x.index, str(i)), last), "%x_stride")), t.mul(k0, "2"))
                row = t.call(wide, "llvm.masked.load.v32i16.p0", [("ptr align 2", place), ("<32 x i1>", mask), (wide, "zeroinitializer")])
                rows.append(t.op(f"bitcast {wide} {row} to {t.vector}"))
            write(rows, by_row, tile.index, x.index)
    t.put(f"br label %{done}")

    t.label(by_x)
    with t.loop("0", tiles) as tile, t.loop("0", "%valid", "16") as x:
        some = t.first(t.sub("%valid", x.index))
        rows = []
        for pair in range(16):
            loaded = []
            for k in (2 * pair, 2 * pair + 1):
                at = t.add(t.mul(tile.index, "32"), str(k))
                mask = t.op(f"select i1 {t.test('slt', at, '%depth')}, {t.mask} {some}, {t.mask} zeroinitializer")
                place = t.at(t.at("%src", t.mul(at, "%k_stride")), t.mul(x.index, "2"))
                prefetch(t, t.at(place, t.mul("%k_stride", "32")), False, 3)  # the next tile's
                loaded.append(t.call(half, "llvm.masked.load.v16i16.p0", [("ptr align 2", place), (t.mask, mask), (half, "zeroinitializer")]))
            both = t.op(f"shufflevector {half} {loaded[0]}, {half} {loaded[1]}, <32 x i32> <{order}>")
            rows.append(t.op(f"bitcast {wide} {both} to {t.vector}"))
        write(rows, not by_row, tile.index, x.index)
    t.put(f"br label %{done}")
    t.label(done)
    t.end()


def _write_pack_phase(t: Text, name: str) -> None:
    t.begin(f"{name}_p0", "ptr %args, i64 %begin, i64 %end", False)
    depth, batch1, a_items = (t.slot(s) for s in (Tiles.K, Tiles.BATCH1, A_ITEMS))
    strip_bytes = t.mul(t.slot(TILES_K), str(TILE))
    with t.loop("%begin", "%end") as item:
        for of_a in (True, False):
            with t.where(t.test("slt" if of_a else "sge", item.index, a_items)):
                source, packed, extent, panels, slots = (
                    (Tiles.A, A_PACKED, Tiles.M, Tiles.PANELS_M, (Tiles.A_BATCH0, Tiles.A_BATCH1, Tiles.A_M, Tiles.A_K)) if of_a else
                    (Tiles.B, Tiles.B_PACKED, Tiles.N, Tiles.PANELS_N, (Tiles.B_BATCH0, Tiles.B_BATCH1, Tiles.B_N, Tiles.B_K)))
                strides = [t.mul(t.slot(s), "2") for s in slots]
                many = t.slot(panels)
                items = t.op(f"udiv i64 {t.add(many, str(PANELS - 1))}, {PANELS}")
                batch, number = t.divide(item.index if of_a else t.sub(item.index, a_items), items)
                b0, b1 = t.divide(batch, batch1)
                x = t.mul(number, str(32 * PANELS))
                valid = t.least(t.sub(t.slot(extent), x), str(32 * PANELS))
                src = t.at(t.pointer(source), t.dot((b0, strides[0]), (b1, strides[1]), (x, strides[2])))
                strip = t.add(t.mul(batch, t.mul(many, "2")), t.mul(number, str(2 * PANELS)))
                t.put(f"call void @{'strips_a' if of_a else 'strips_b'}(ptr {src}, i64 {strides[2]}, i64 {strides[3]}, i64 {valid}, i64 {depth}, "
                      f"ptr {t.at(t.pointer(packed), t.mul(strip, strip_bytes))}, i64 {strip_bytes})")
    t.end()


def _write_tile_phase(t: Text, name: str) -> None:
    t.begin(f"{name}_p1", "ptr %args, i64 %begin, i64 %end", False)
    config = t.op("alloca [64 x i8], align 64")
    tmp = t.op("alloca [1024 x float], align 64")
    t.put(f"store <64 x i8> zeroinitializer, ptr {config}, align 64")
    t.put(f"store i8 1, ptr {config}, align 1")
    for i in range(8):  # every tile has 16 rows of 64 bytes
        t.put(f"store i16 64, ptr {t.at(config, str(16 + 2 * i))}, align 2")
        t.put(f"store i8 16, ptr {t.at(config, str(48 + i))}, align 1")
    t.call("void", "llvm.x86.ldtilecfg", [("ptr", config)])
    a, b, c = (t.pointer(s) for s in (A_PACKED, Tiles.B_PACKED, Tiles.C))
    rows, columns, batch1, blocks_m, blocks_n, panels_m, panels_n, tiles_k = (t.slot(s) for s in (
        Tiles.M, Tiles.N, Tiles.BATCH1, Tiles.BLOCKS_M, Tiles.BLOCKS_N, Tiles.PANELS_M, Tiles.PANELS_N, TILES_K))
    one_a = t.test("eq", t.op(f"or i64 {t.slot(Tiles.A_BATCH0)}, {t.slot(Tiles.A_BATCH1)}"), "0")
    one_b = t.test("eq", t.op(f"or i64 {t.slot(Tiles.B_BATCH0)}, {t.slot(Tiles.B_BATCH1)}"), "0")
    c_strides = [t.mul(t.slot(s), str(t.out_bytes)) for s in (Tiles.C_BATCH0, Tiles.C_BATCH1, Tiles.C_M, Tiles.C_N)]
    mode = t.select(t.bit(t.slot(Tiles.FLAGS), Flags.ACCUMULATE_C), "i64", str(LAST_BLOCK + ADD_C), str(LAST_BLOCK))
    strip = t.mul(tiles_k, str(TILE))
    per_batch = t.mul(blocks_m, blocks_n)
    with t.loop("%begin", "%end") as item:
        batch, tile = t.divide(item.index, per_batch)
        b0, b1 = t.divide(batch, batch1)
        mi, ni = t.divide(tile, blocks_n)
        a_here = t.at(a, t.mul(t.select(one_a, "i64", "0", t.mul(batch, panels_m)), t.mul(strip, "2")))
        b_here = t.at(b, t.mul(t.select(one_b, "i64", "0", t.mul(batch, panels_n)), t.mul(strip, "2")))
        c_here = t.at(c, t.dot((b0, c_strides[0]), (b1, c_strides[1])))
        m0, m1 = (t.op(f"udiv i64 {t.mul(i, panels_m)}, {blocks_m}") for i in (mi, t.add(mi, "1")))
        n0, n1 = (t.op(f"udiv i64 {t.mul(i, panels_n)}, {blocks_n}") for i in (ni, t.add(ni, "1")))
        with t.loop(n0, n1) as column, t.loop(m0, m1) as row:
            places = []
            for base, panel in ((a_here, row.index), (b_here, column.index)):
                first = t.at(base, t.mul(panel, t.mul(strip, "2")))
                places += [first, t.at(first, strip)]
            write_sums(t, strip, places, "tdpbf16ps")
            for i in range(4):
                t.call("void", "llvm.x86.tilestored64", [("i8", str(i)), ("ptr", t.at(tmp, str(i // 2 * 2048 + i % 2 * 64))), ("i64", "128")])
            m, n = t.mul(row.index, "32"), t.mul(column.index, "32")
            height, width = t.least(t.sub(rows, m), "32"), t.least(t.sub(columns, n), "32")
            c_place = t.at(c_here, t.add(t.mul(m, c_strides[2]), t.mul(n, c_strides[3])))
            t.put(f"call void @finish(ptr %args, ptr {tmp}, i64 {height}, i64 {width}, ptr {c_place}, ptr {c_place}, i64 {m}, i64 {n}, "
                  f"i64 {batch}, i64 {mode})")
    t.call("void", "llvm.x86.tilerelease", [])
    t.end()


def write(name: str, dtype_out: str, half: bool, epilogue: Epilogue | None, transposed: bool) -> str:
    """The module of the kernel."""
    t = Text("bfloat16", dtype_out, 64, half)
    _write_strips(t, "strips_a", True)
    _write_strips(t, "strips_b", False)
    write_finish(t, Shape(64, 32, 4), epilogue, transposed)
    _write_pack_phase(t, name)
    _write_tile_phase(t, name)
    return t.module()

"""The general matrix product: C tiles from packed panels by a register micro-kernel.

The structure is that of BLIS (Van Zee and van de Geijn, "BLIS: A Framework for Rapidly Instantiating BLAS
Functionality", ACM TOMS 41(3), 2015): sums over K in blocks, a block of A rows that stays in the second-level cache,
panels of B one register tile wide, an outer-product micro-kernel. It differs in who packs: A is packed once
before (phase 0), or read in place where its strides are harmless; a panel of B is packed by the work item that
uses it, on its stack, and swept over all rows of the item's tile while it is hot.

Phases: 0 packs A (no work items when it is read in place), 1 computes tiles of C. A tile belongs to one work item,
and K is summed in the same order whoever runs it, so results do not depend on the number of threads.
"""
from __future__ import annotations

from types import TracebackType

from torsh.codegen.gemm_layout import Epilogue, Flags, Place, Shape, Tiles
from torsh.codegen.gemm_text import Text
from torsh.codegen.gemm_windows import write_pack_windows, write_windows_packed

# Modes of `finish`.
ADD_PARTIAL, LAST_BLOCK, ADD_C = 1, 2, 4

#: Panels of B packed at once.
PANELS_AT_ONCE = 2


def write_pack(t: Text) -> None:
    """`@pack(src, lane_stride, k_stride, valid, kc, dst, dst_stride)`: dst[k][lane] = src[lane][k], strides in bytes.

    One vector of lanes wide. Lanes from `valid` on repeat the last valid one or are zero: they only reach rows or
    columns of C that are never stored. When k is contiguous, dst is written up to kc rounded up to whole vectors."""
    t.begin("pack", "ptr %src, i64 %lane_stride, i64 %k_stride, i64 %valid, i64 %kc, ptr %dst, i64 %dst_stride", True)
    lanes, last = t.lanes, t.sub("%valid", "1")
    last = t.least(last, str(lanes - 1))
    size = str(t.in_bytes)
    contiguous = t.test("eq", "%lane_stride", size)
    rows, other, by_k, general, done = (t.new_label() for _ in range(5))
    t.put(f"br i1 {contiguous}, label %{rows}, label %{other}")

    t.label(rows)
    whole, masked = t.new_label(), t.new_label()
    t.put(f"br i1 {t.test('sge', '%valid', str(lanes))}, label %{whole}, label %{masked}")
    for label, some in ((whole, False), (masked, True)):
        t.label(label)
        mask = t.first("%valid") if some else ""
        with t.loop("0", "%kc", carry=[("ptr", "%src"), ("ptr", "%dst")]) as loop:
            t.store(t.load(loop.values[0], t.dtype_in, mask), loop.values[1])
            loop.next = [t.at(loop.values[0], "%k_stride"), t.at(loop.values[1], "%dst_stride")]
        t.put(f"br label %{done}")

    t.label(other)
    offsets = [t.mul(t.least(str(i), last), "%lane_stride") for i in range(lanes)]
    sources = [t.at("%src", offset) for offset in offsets]
    t.put(f"br i1 {t.test('eq', '%k_stride', size)}, label %{by_k}, label %{general}")

    t.label(by_k)
    even = t.op(f"and i64 %kc, {-lanes}")

    def square(k: str, dst: str, mask: str) -> str:
        offset = t.mul(k, size)
        for column in t.transpose([t.load(t.at(source, offset), t.dtype_in, mask) for source in sources]):
            t.store(column, dst)
            dst = t.at(dst, "%dst_stride")
        return dst

    with t.loop("0", even, str(lanes), [("ptr", "%dst")]) as loop:
        loop.next = [square(loop.index, loop.values[0], "")]
    with t.where(t.test("slt", even, "%kc")):
        square(even, loop.values[0], t.first(t.sub("%kc", even)))
    t.put(f"br label %{done}")

    t.label(general)
    with t.loop("0", "%kc", carry=[("i64", "0"), ("ptr", "%dst")]) as loop:
        offset, dst = loop.values
        value = "poison"
        for i, source in enumerate(sources):
            value = t.op(f"insertelement {t.vector} {value}, {t.scalar} "
                         f"{t.load_scalar(t.at(source, offset), t.dtype_in)}, i64 {i}")
        t.store(value, dst)
        loop.next = [t.add(offset, "%k_stride"), t.at(dst, "%dst_stride")]
    t.put(f"br label %{done}")
    t.label(done)
    t.end()


def write_micro_kernel(t: Text, rows: int, vectors: int) -> None:
    """`@tile_{rows}_{vectors}(a, a_row, a_k, b, b_k, kc, p, p_row, add, soon, soon_k)`: p = a b, or p += a b where `add` is not 0.

    a is `rows` x kc with byte strides a_row and a_k, b is kc x (`vectors` of lanes) with byte stride b_k. kc lines from `soon` on,
    soon_k bytes apart, are fetched meanwhile."""
    t.begin(f"tile_{rows}_{vectors}", "ptr %a, i64 %a_row, i64 %a_k, ptr %b, i64 %b_k, i64 %kc, ptr %p, i64 %p_row, "
            "i64 %add, ptr %soon, i64 %soon_k", True)
    # Rows are addressed as base + {0..6} * a_row from one or two bases, which leaves registers for the loop.
    span = 7
    offsets = ["0"] + [t.mul("%a_row", str(i)) for i in range(1, min(span, rows))]
    bases = ["%a"] + [t.at("%a", t.mul("%a_row", str(i))) for i in range(span, rows, span)]
    start = [("ptr", base) for base in bases] + [("ptr", "%b"), ("ptr", "%soon")] + [(t.vector, "zeroinitializer")] * (rows * vectors)

    # The tile of p is far away by the time it is needed: let it come meanwhile.
    line = "%p"
    for i in range(rows):
        for v in range(vectors):
            t.call("void", "llvm.prefetch.p0", [("ptr", t.at(line, str(v * t.vector_bytes))), ("i32", "1"), ("i32", "3"), ("i32", "1")])
        line = t.at(line, "%p_row") if i + 1 < rows else line

    def step(state: list[str]) -> list[str]:
        pointers, b, soon, sums = state[:len(bases)], state[len(bases)], state[len(bases) + 1], state[len(bases) + 2:]
        t.call("void", "llvm.prefetch.p0", [("ptr", soon), ("i32", "0"), ("i32", "2"), ("i32", "1")])
        panel = [t.load(t.at(b, str(v * t.vector_bytes))) for v in range(vectors)]
        following = []
        for i in range(rows):
            value = t.splat(t.load_scalar(t.at(pointers[i // span], offsets[i % span])))
            following += [t.fma(value, panel[v], sums[i * vectors + v]) for v in range(vectors)]
        return [t.at(pointer, "%a_k") for pointer in pointers] + [t.at(b, "%b_k"), t.at(soon, "%soon_k")] + following

    with t.loop("0", "%kc", "1", start) as loop:
        loop.next = step(loop.values)
    sums = loop.values[len(bases) + 2:]
    plain, adding, done = t.new_label(), t.new_label(), t.new_label()
    t.put(f"br i1 {t.test('eq', '%add', '0')}, label %{plain}, label %{adding}")
    for label in (plain, adding):
        t.label(label)
        row = "%p"
        for i in range(rows):
            for v in range(vectors):
                place = t.at(row, str(v * t.vector_bytes))
                value = sums[i * vectors + v]
                t.store(t.op(f"fadd {t.vector} {t.load(place)}, {value}") if label == adding else value, place)
            if i + 1 < rows:
                row = t.at(row, "%p_row")
        t.put(f"br label %{done}")
    t.label(done)
    t.end()


def write_finish(t: Text, shape: Shape, epilogue: Epilogue | None, transposed: bool) -> None:
    """`@finish(args, tmp, rows, columns, p, c, m, n, batch, mode)`: what the micro-kernel's own store cannot do.

    tmp is a register tile in memory. Adds the partial sums p or the former C to it, and stores it in p, or after
    the last block in c: through the epilogue, rounded, with any column stride, only `columns` of it."""
    t.begin("finish", "ptr %args, ptr %tmp, i64 %rows, i64 %columns, ptr %p, ptr %c, i64 %m, i64 %n, i64 %batch, "
            "i64 %mode", True)
    c_row, c_column = (t.mul(t.slot(s), str(t.out_bytes)) for s in (Tiles.C_M, Tiles.C_N))
    p_row = t.mul(t.slot(Tiles.PARTIAL_M), str(t.scalar_bytes))
    unit = t.test("eq", c_column, str(t.out_bytes))
    last, add_p, add_c = (t.bit("%mode", bit) for bit in (LAST_BLOCK, ADD_PARTIAL, ADD_C))
    scattered = t.opposite(unit)
    with t.loop("0", "%rows") as row:
        line = t.at("%tmp", t.mul(row.index, str(shape.columns * t.scalar_bytes)))
        c_line, p_line = t.at("%c", t.mul(row.index, c_row)), t.at("%p", t.mul(row.index, p_row))
        with t.where(add_c):
            with t.loop("0", "%columns") as column:
                place = t.at(line, t.mul(column.index, str(t.scalar_bytes)))
                old = t.load_scalar(t.at(c_line, t.mul(column.index, c_column)), t.dtype_out)
                t.store_scalar(t.op(f"fadd {t.scalar} {t.load_scalar(place)}, {old}"), place)
        with t.loop("0", "%columns", str(shape.lanes)) as column:
            mask = t.first(t.sub("%columns", column.index))
            bytes_in = t.mul(column.index, str(t.scalar_bytes))
            place, p_place = t.at(line, bytes_in), t.at(p_line, bytes_in)
            with t.where(add_p):
                t.store(t.op(f"fadd {t.vector} {t.load(place)}, {t.load(p_place, '', mask)}"), place)
            value = t.load(place)
            final, keep, done = t.new_label(), t.new_label(), t.new_label()
            t.put(f"br i1 {last}, label %{final}, label %{keep}")
            t.label(keep)
            t.store(value, p_place, "", mask)
            t.put(f"br label %{done}")
            t.label(final)
            if epilogue is not None:
                m, n = t.add("%m", row.index), t.add("%n", column.index)
                value = epilogue.emit(t, value, Place("%batch", m, n, mask, Tiles.EPILOGUE, transposed))
            direct, indirect = t.new_label(), t.new_label()
            t.put(f"br i1 {unit}, label %{direct}, label %{indirect}")
            t.label(direct)
            t.store(value, t.at(c_line, t.mul(column.index, str(t.out_bytes))), t.dtype_out, mask)
            t.put(f"br label %{done}")
            t.label(indirect)
            t.store(value, place)
            t.put(f"br label %{done}")
            t.label(done)
        with t.where(t.both(last, scattered)):
            with t.loop("0", "%columns") as column:
                value = t.load_scalar(t.at(line, t.mul(column.index, str(t.scalar_bytes))))
                t.store_scalar(value, t.at(c_line, t.mul(column.index, c_column)), t.dtype_out)
    t.end()


def write_pack_phase(t: Text, name: str, shape: Shape) -> None:
    """Phase 0: a work item packs the panel of `shape.rows` rows of A of one block of K."""
    t.begin(f"{name}_p0", "ptr %args, i64 %begin, i64 %end", False)
    a, packed = t.pointer(Tiles.A), t.pointer(Tiles.PACKED)
    rows, depth, tile_k, blocks_k, panels, batch1 = (
        t.slot(s) for s in (Tiles.M, Tiles.K, Tiles.TILE_K, Tiles.BLOCKS_K, Tiles.PANELS, Tiles.BATCH1))
    strides = [t.slot(s) for s in (Tiles.A_BATCH0, Tiles.A_BATCH1, Tiles.A_M, Tiles.A_K)]
    row_bytes, k_bytes = (t.mul(s, str(t.in_bytes)) for s in strides[2:])
    panel_bytes = t.mul(tile_k, str(shape.packed_rows * t.scalar_bytes))
    with t.loop("%begin", "%end") as item:
        rest, panel = t.divide(item.index, panels)
        batch, block = t.divide(rest, blocks_k)
        b0, b1 = t.divide(batch, batch1)
        m, k = t.mul(panel, str(shape.rows)), t.mul(block, tile_k)
        elements = t.dot((b0, strides[0]), (b1, strides[1]), (m, strides[2]), (k, strides[3]))
        src = t.at(a, t.mul(elements, str(t.in_bytes)))
        dst = t.at(packed, t.mul(item.index, panel_bytes))
        valid, kc = t.least(t.sub(rows, m), str(shape.rows)), t.least(t.sub(depth, k), tile_k)
        with t.loop("0", valid, str(shape.lanes)) as lane:
            t.put(f"call void @pack(ptr {t.at(src, t.mul(lane.index, row_bytes))}, i64 {row_bytes}, i64 {k_bytes}, "
                  f"i64 {t.sub(valid, lane.index)}, i64 {kc}, "
                  f"ptr {t.at(dst, t.mul(lane.index, str(t.scalar_bytes)))}, "
                  f"i64 {shape.packed_rows * t.scalar_bytes})")
    t.end()


def write_tile_phase(t: Text, name: str, shape: Shape, epilogue: Epilogue | None, tables: bool) -> None:
    """Phase 1: a work item computes GROUP tiles of TILE_M x TILE_N elements of C."""
    t.begin(f"{name}_p1", "ptr %args, i64 %begin, i64 %end", False)
    size, out, acc = str(t.in_bytes), str(t.out_bytes), str(t.scalar_bytes)
    panel_bytes = shape.depth * shape.columns * t.scalar_bytes
    panel = t.op(f"alloca [{PANELS_AT_ONCE * shape.depth * shape.columns} x {t.scalar}], align 64")
    tmp = t.op(f"alloca [{shape.rows * shape.columns} x {t.scalar}], align 64")
    a, b, c, packed, partial = (t.pointer(s) for s in (Tiles.A, Tiles.B, Tiles.C, Tiles.PACKED, Tiles.PARTIAL))
    rows, columns, depth, batch1 = (t.slot(s) for s in (Tiles.M, Tiles.N, Tiles.K, Tiles.BATCH1))
    tile_m, tile_n, tile_k, blocks_m, blocks_n, blocks_k = (t.slot(s) for s in (
        Tiles.TILE_M, Tiles.TILE_N, Tiles.TILE_K, Tiles.BLOCKS_M, Tiles.BLOCKS_N, Tiles.BLOCKS_K))
    a_strides = [t.mul(t.slot(s), size) for s in (Tiles.A_BATCH0, Tiles.A_BATCH1, Tiles.A_M, Tiles.A_K)]
    b_strides = [t.mul(t.slot(s), size) for s in (Tiles.B_BATCH0, Tiles.B_BATCH1, Tiles.B_K, Tiles.B_N)]
    c_strides = [t.mul(t.slot(s), out) for s in (Tiles.C_BATCH0, Tiles.C_BATCH1, Tiles.C_M, Tiles.C_N)]
    p_batch, p_row = (t.mul(t.slot(s), acc) for s in (Tiles.PARTIAL_BATCH, Tiles.PARTIAL_M))
    k_offsets, n_offsets = (t.pointer(s) for s in (Tiles.K_OFFSETS, Tiles.N_OFFSETS))
    group, tiles, flags, panels = (t.slot(s) for s in (Tiles.GROUP, Tiles.TILES, Tiles.FLAGS, Tiles.PANELS))
    a_packed, b_in_place, accumulate, own, one = (t.bit(flags, bit) for bit in (
        Flags.A_IS_PACKED, Flags.B_IN_PLACE, Flags.ACCUMULATE_C, Flags.PARTIAL_IS_C, Flags.A_ONE_BATCH))
    p0 = t.select(own, "i64", c_strides[0], t.mul(p_batch, batch1))
    p1 = t.select(own, "i64", c_strides[1], p_batch)
    # C itself holds the partial sums where it can; `own` then also means that the micro-kernel may store C.
    packed_panel = t.mul(tile_k, str(shape.packed_rows * t.scalar_bytes))
    packed_block = t.mul(panels, packed_panel)
    packed_batch = t.select(one, "i64", "0", t.mul(packed_block, blocks_k))
    a_row = t.select(a_packed, "i64", acc, a_strides[2])
    a_k = t.select(a_packed, "i64", str(shape.packed_rows * t.scalar_bytes), a_strides[3])
    a_panel = t.select(a_packed, "i64", packed_panel, t.mul(a_strides[2], str(shape.rows)))
    a_block = t.select(a_packed, "i64", packed_block, t.mul(a_strides[3], tile_k))
    a_base = t.select(a_packed, "ptr", packed, a)
    per_batch = t.mul(blocks_m, blocks_n)
    first = t.mul("%begin", group)
    stop = t.least(t.mul("%end", group), tiles)
    with t.loop(first, stop) as item:
        batch, tile = t.divide(item.index, per_batch)
        b0, b1 = t.divide(batch, batch1)
        mi, ni = t.divide(tile, blocks_n)
        m0, n0 = t.mul(mi, tile_m), t.mul(ni, tile_n)
        m1, n1 = t.least(t.add(m0, tile_m), rows), t.least(t.add(n0, tile_n), columns)
        a_here = t.at(a_base, t.select(a_packed, "i64", t.mul(batch, packed_batch),
                                       t.dot((b0, a_strides[0]), (b1, a_strides[1]))))
        b_here = t.at(b, t.dot((b0, b_strides[0]), (b1, b_strides[1])))
        c_here = t.at(c, t.dot((b0, c_strides[0]), (b1, c_strides[1])))
        p_here = t.at(partial, t.dot((b0, p0), (b1, p1)))
        with t.loop("0", blocks_k) as block:
            k0 = t.mul(block.index, tile_k)
            kc = t.least(t.sub(depth, k0), tile_k)
            a_now = t.at(a_here, t.mul(block.index, a_block))
            last = t.test("eq", t.add(block.index, "1"), blocks_k)
            not_first = t.test("ne", block.index, "0")
            from_p = t.either(not_first, t.both(accumulate, own))
            from_c = t.opposite(t.either(not_first, t.opposite(t.both(accumulate, t.opposite(own)))))
            add = t.op(f"zext i1 {from_p} to i64")
            mode = t.add(add, t.add(t.select(last, "i64", str(LAST_BLOCK), "0"),
                                    t.select(from_c, "i64", str(ADD_C), "0")))
            stores = t.either(own, t.opposite(last)) if epilogue is None else t.opposite(last)
            stores = t.both(stores, t.opposite(from_c))
            with t.loop(n0, n1, str(PANELS_AT_ONCE * shape.columns)) as columns_now:
                n_group = columns_now.index
                wide = t.least(t.sub(n1, n_group), str(PANELS_AT_ONCE * shape.columns))
                source = t.at(b_here, t.dot((k0, b_strides[2]), (n_group, b_strides[3])))
                in_place = t.both(b_in_place, t.test("eq", t.op(f"urem i64 {wide}, {shape.lanes}"), "0"))
                if tables:
                    offsets = t.at(k_offsets, t.mul(k0, "8")), t.at(n_offsets, t.mul(n_group, "8"))
                    write_windows_packed(t, shape, b_here, *offsets, wide, kc, panel)
                else:
                    with t.where(t.opposite(in_place)):
                        _write_pack_panels(t, shape, source, b_strides[2], b_strides[3], wide, kc, panel)
                # While the first panels of rows are computed the lines of the columns packed next come, one of each k a panel;
                # after them the next panel of rows.
                columns_soon = t.at(source, t.mul(wide, b_strides[3]))
                lines = str(PANELS_AT_ONCE * shape.columns * t.in_bytes // 64)
                b_first = t.select(in_place, "ptr", source, panel)
                b_panel = t.select(in_place, "i64", str(shape.columns * t.in_bytes), str(panel_bytes))
                b_k = t.select(in_place, "i64", b_strides[2], str(shape.columns * t.scalar_bytes))
                with t.loop("0", wide, str(shape.columns)) as column:
                    n = t.add(n_group, column.index)
                    b_now = t.at(b_first, t.mul(t.divide(column.index, str(shape.columns))[0], b_panel))
                    width = t.least(t.sub(wide, column.index), str(shape.columns))
                    narrow = t.test("sle", width, str(shape.lanes))
                    full = t.either(t.test("eq", width, str(shape.columns)), t.test("eq", width, str(shape.lanes)))
                    direct = t.both(full, stores)
                    with t.loop(m0, m1, str(shape.rows)) as row:
                        panel_number = t.divide(row.index, str(shape.rows))[0]
                        a_rows = t.at(a_now, t.mul(panel_number, a_panel))
                        b_soon = t.test("slt", panel_number, lines)
                        soon = t.select(b_soon, "ptr", t.at(columns_soon, t.mul(panel_number, "64")), t.at(a_rows, a_panel))
                        soon_k = t.select(b_soon, "i64", b_strides[2], a_k)
                        valid = t.least(t.sub(m1, row.index), str(shape.rows))
                        place = t.add(t.mul(row.index, p_row), t.mul(n, acc))
                        first = t.select(direct, "ptr", t.at(p_here, place), tmp)
                        step = t.select(direct, "i64", p_row, str(shape.columns * t.scalar_bytes))
                        operands = (f"i64 {a_row}, i64 {a_k}, ptr {b_now}, i64 {b_k}, i64 {kc}",
                                    f"i64 {step}, i64 {t.select(direct, 'i64', add, '0')}, ptr {soon}, i64 {soon_k}")
                        with Rows(t, shape, valid, narrow, a_rows, a_row, first, t.select(direct, "i64", p_row, "0"),
                                   operands) as rows_now, t.where(t.opposite(direct)):
                            m = t.add(row.index, rows_now.index)
                            p_place = t.at(p_here, t.add(t.mul(m, p_row), t.mul(n, acc)))
                            c_place = t.at(c_here, t.add(t.mul(m, c_strides[2]), t.mul(n, c_strides[3])))
                            t.put(f"call void @finish(ptr %args, ptr {tmp}, i64 {rows_now.height}, i64 {width}, "
                                  f"ptr {p_place}, ptr {c_place}, i64 {m}, i64 {n}, i64 {batch}, i64 {mode})")
    t.end()


def _write_pack_panels(t: Text, shape: Shape, source: str, k_stride: str, n_stride: str, wide: str, kc: str,
                       panel: str) -> None:
    """Pack `wide` columns of a block of B into consecutive panels."""
    panel_bytes = shape.depth * shape.columns * t.scalar_bytes
    line = shape.columns * t.scalar_bytes
    many, single, done = t.new_label(), t.new_label(), t.new_label()
    whole = t.both(t.test("eq", n_stride, str(t.in_bytes)),
                   t.test("eq", t.op(f"urem i64 {wide}, {shape.columns}"), "0"))
    t.put(f"br i1 {whole}, label %{many}, label %{single}")
    t.label(many)
    # Whole rows at once: long runs of memory, and one look-up of a page for all of them.
    row_bytes = t.mul(wide, str(t.in_bytes))
    with t.loop("0", kc, carry=[("ptr", source), ("ptr", panel)]) as loop:
        src, dst = loop.values
        with t.loop("0", row_bytes, str(shape.columns * t.in_bytes), [("ptr", dst)]) as column:
            place = t.at(src, column.index)
            for v in range(shape.vectors):
                value = t.load(t.at(place, str(v * shape.lanes * t.in_bytes)), t.dtype_in)
                t.store(value, t.at(column.values[0], str(v * t.vector_bytes)))
            column.next = [t.at(column.values[0], str(panel_bytes))]
        loop.next = [t.at(src, k_stride), t.at(dst, str(line))]
    t.put(f"br label %{done}")
    t.label(single)
    with t.loop("0", wide, str(shape.lanes)) as lane:
        number, inside = t.divide(lane.index, str(shape.columns))
        dst = t.at(panel, t.add(t.mul(number, str(panel_bytes)), t.mul(inside, str(t.scalar_bytes))))
        t.put(f"call void @pack(ptr {t.at(source, t.mul(lane.index, n_stride))}, i64 {n_stride}, i64 {k_stride}, "
              f"i64 {t.sub(wide, lane.index)}, i64 {kc}, ptr {dst}, i64 {line})")
    t.put(f"br label %{done}")
    t.label(done)


class Rows:
    """A panel of `valid` rows by a panel of columns, composed of the micro-kernels that there are, tallest first.

    What is written inside the `with` follows every micro-kernel: `index` names its first row, `height` its rows.
    Row r is at a + r * a_row and goes to c + r * c_row; `operands` are the micro-kernel's other arguments."""

    def __init__(self, t: Text, shape: Shape, valid: str, narrow: str, a: str, a_row: str, c: str, c_row: str,
                 operands: tuple[str, str]) -> None:
        self.t, self.valid = t, valid
        self.before, self.head = t.block, t.new_label()
        t.put(f"br label %{self.head}")
        t.label(self.head)
        self.phi = len(t.lines)
        self.index = t.name()
        t.lines.append("")
        left = t.sub(valid, self.index)
        a_now, c_now = t.at(a, t.mul(self.index, a_row)), t.at(c, t.mul(self.index, c_row))
        joined = t.new_label()
        heights = []
        for height in shape.heights:
            fits, lower = t.new_label(), t.new_label()
            if height > 1:
                t.put(f"br i1 {t.test('sge', left, str(height))}, label %{fits}, label %{lower}")
            else:
                t.put(f"br label %{fits}")
            t.label(fits)
            one, all_vectors = t.new_label(), t.new_label()
            t.put(f"br i1 {narrow}, label %{one}, label %{all_vectors}")
            for label, vectors in ((one, 1), (all_vectors, shape.vectors)):
                t.label(label)
                t.put(f"call void @tile_{height}_{vectors}(ptr {a_now}, {operands[0]}, ptr {c_now}, {operands[1]})")
                heights.append(f"[{height}, %{label}]")
                t.put(f"br label %{joined}")
            if height > 1:
                t.label(lower)
        t.label(joined)
        self.height = t.op(f"phi i64 {', '.join(heights)}")

    def __enter__(self) -> Rows:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if kind is not None:
            return
        t, done = self.t, self.t.new_label()
        following = t.add(self.index, self.height)
        t.put(f"br i1 {t.test('slt', following, self.valid)}, label %{self.head}, label %{done}")
        t.lines[self.phi] = f"  {self.index} = phi i64 [0, %{self.before}], [{following}, %{t.block}]"
        t.label(done)


def write(name: str, dtype_in: str, dtype_out: str, vector_bytes: int, registers: int, half: bool,
          epilogue: Epilogue | None, transposed: bool, tables: bool) -> str:
    """The module of the general kernel, or of the one whose B is addressed by tables."""
    t = Text(dtype_in, dtype_out, vector_bytes, half)
    shape = Shape(vector_bytes, registers, t.scalar_bytes)
    write_pack(t)
    for vectors in (1, shape.vectors):
        for height in shape.heights:
            write_micro_kernel(t, height, vectors)
    if tables:
        write_pack_windows(t)
    write_finish(t, shape, epilogue, transposed)
    write_pack_phase(t, name, shape)
    write_tile_phase(t, name, shape, epilogue, tables)
    return t.module()

"""The code of convolutions by bands of rows (`codegen.bands`)."""
from __future__ import annotations

from torsh.codegen.bands import MOST_COLUMNS, Bands
from torsh.codegen.gemm_layout import Epilogue, Place, Shape
from torsh.codegen.gemm_micro import prefetch, write_apart_kernels, write_micro_kernels
from torsh.codegen.gemm_text import Text
from torsh.codegen.gemm_tiles import Rows
from torsh.codegen.thin import Thin


def write_row_in(t: Text) -> None:
    """`@row_in(src, step, low, end, wide, dst)`: dst[j] = src[(j - low) * step bytes] for low <= j < end, and 0 for the others below `wide`.

    Whole vectors are stored: up to one of zeros beyond the end."""
    t.begin("row_in", "ptr %src, i64 %step, i64 %low, i64 %end, i64 %wide, ptr %dst", True)
    size, lanes = t.scalar_bytes, t.lanes

    def place(j: str) -> str:
        return t.at("%dst", t.mul(j, str(size)))
    with t.loop("0", "%low", str(lanes)) as j:
        t.store("zeroinitializer", place(j.index))
    count, first = t.sub("%end", "%low"), place("%low")
    adjacent, other, pairs, apart, rest, done = (t.new_label() for _ in range(6))
    t.put(f"br i1 {t.test('eq', '%step', str(size))}, label %{adjacent}, label %{other}")

    t.label(adjacent)
    with t.loop("0", t.op(f"and i64 {count}, {-lanes}"), str(lanes)) as j:
        offset = t.mul(j.index, str(size))
        t.store(t.load(t.at("%src", offset)), t.at(first, offset))
    offset = t.mul(j.index, str(size))
    with t.where(t.test("slt", j.index, count)):
        t.store(t.load(t.at("%src", offset), "", t.first(t.sub(count, j.index))), t.at(first, offset))
    t.put(f"br label %{done}")

    t.label(other)
    t.put(f"br i1 {t.test('eq', '%step', str(2 * size))}, label %{pairs}, label %{apart}")
    t.label(pairs)  # as long as the second vector ends before the last element
    with t.loop("0", t.sub(count, str(lanes)), str(lanes)) as j:
        here = t.at("%src", t.mul(j.index, str(2 * size)))
        t.store(t.shuffle(t.load(here), t.load(t.at(here, str(t.vector_bytes))), list(range(0, 2 * lanes, 2))), t.at(first, t.mul(j.index, str(size))))
    of_pairs = t.block
    t.put(f"br label %{rest}")
    t.label(apart)
    t.put(f"br label %{rest}")
    t.label(rest)
    start = t.op(f"phi i64 [{j.index}, %{of_pairs}], [0, %{apart}]")
    wide = f"<{lanes} x i64>"
    every = t.op(f"insertelement {wide} poison, i64 %step, i64 0")
    every = t.op(f"shufflevector {wide} {every}, {wide} poison, <{lanes} x i32> zeroinitializer")
    ramp = t.op(f"mul {wide} {every}, <{', '.join(f'i64 {i}' for i in range(lanes))}>")
    with t.loop(start, count, str(lanes)) as j:
        places = t.op(f"getelementptr i8, ptr {t.at('%src', t.mul(j.index, '%step'))}, {wide} {ramp}")
        value = t.call(t.vector, f"llvm.masked.gather.{t.suffix}.v{lanes}p0",
                       [(f"<{lanes} x ptr> align {size}", places), (t.mask, t.first(t.sub(count, j.index))), (t.vector, "zeroinitializer")])
        t.store(value, t.at(first, t.mul(j.index, str(size))))
    t.put(f"br label %{done}")
    t.label(done)
    stored = t.op(f"and i64 {t.add(count, str(lanes - 1))}, {-lanes}")
    with t.loop(t.add("%low", stored), "%wide", str(lanes)) as j:
        t.store("zeroinitializer", place(j.index))
    t.end()


def _write_band_in(t: Text, shape: Shape) -> None:
    """`@band_in(args, x, first, columns, dst)`: the rows from `first` on of all channels of a group of an image; `columns` is the table of a segment."""
    t.begin("band_in", "ptr %args, ptr %x, i64 %first, ptr %columns, ptr %dst", True)
    rows = t.pointer(Bands.ROWS)
    channels, high, row_count, column_count, pitch, x_channel, x_row, step, channel = (t.slot(s) for s in (
        Bands.C, Bands.H, Bands.ROW_COUNT, Bands.COLUMN_COUNT, Bands.PITCH, Bands.X_CHANNEL, Bands.X_ROW, Bands.X_STEP, Bands.CHANNEL))

    def entry(table: str, number: str, fields: int) -> list[str]:
        place = t.at(table, t.mul(number, str(8 * fields)))
        return [t.op(f"load i64, ptr {t.at(place, str(8 * i))}, align 8") for i in range(fields)]
    with t.loop("0", channels, carry=[("ptr", "%x"), ("ptr", "%dst")]) as each:
        x, dst = each.values
        with t.loop("0", row_count) as row:
            distance, place = entry(rows, row.index, 2)
            number = t.add("%first", distance)
            seen = t.both(t.test("sge", number, "0"), t.test("slt", number, high))
            line, to = t.at(x, t.mul(number, x_row)), t.at(dst, place)
            with t.loop("0", column_count) as column:
                start, low, end, plane = entry("%columns", column.index, 4)
                low, end = t.select(seen, "i64", low, pitch), t.select(seen, "i64", end, pitch)
                t.put(f"call void @row_in(ptr {t.at(line, start)}, i64 {step}, i64 {low}, i64 {end}, i64 {pitch}, ptr {t.at(to, plane)})")
        each.next = [t.at(x, x_channel), t.at(dst, channel)]
    end = t.at("%dst", t.mul(channels, channel))
    for v in range(shape.vectors):
        t.store("zeroinitializer", t.at(end, str(v * t.vector_bytes)))
    t.end()


def write_finish(t: Text, epilogue: Epilogue | None, slots: type[Bands] | type[Thin] = Bands) -> None:
    """`@finish(args, sums, sums_row, rows, high, wide, y, m, n, batch)`: the sums of a panel of rows, whose lines are PITCH apart, to their places in y."""
    t.begin("finish", "ptr %args, ptr %sums, i64 %sums_row, i64 %rows, i64 %high, i64 %wide, ptr %y, i64 %m, i64 %n, i64 %batch", True)
    size, lanes = str(t.scalar_bytes), str(t.lanes)
    pitch, across, y_row = t.mul(t.slot(slots.PITCH), size), t.slot(slots.OUT_W), t.mul(t.slot(slots.N), size)
    across_bytes = t.mul(across, size)
    if epilogue is not None:
        epilogue.begin(t, "%batch", slots.EPILOGUE, (slots.M, slots.N))
    whole = t.op(f"and i64 %wide, -{lanes}")
    rest = t.first(t.sub("%wide", whole))
    ragged = t.test("ne", whole, "%wide")
    with t.loop("0", "%rows", carry=[("ptr", "%sums"), ("ptr", "%y")]) as row:
        m = t.add("%m", row.index)
        with t.loop("0", "%high", carry=[("ptr", row.values[0]), ("ptr", row.values[1]), ("i64", "%n")]) as line:
            source, target, n = line.values

            def move(column: str, mask: str) -> None:
                offset = t.mul(column, size)
                value = t.load(t.at(source, offset))
                if epilogue is not None:
                    value = epilogue.emit(t, value, Place("%batch", m, t.add(n, column), mask, slots.EPILOGUE, False))
                t.store(value, t.at(target, offset), "", mask)
            with t.loop("0", whole, lanes) as column:
                move(column.index, "")
            with t.where(ragged):
                move(whole, rest)
            line.next = [t.at(source, pitch), t.at(target, across_bytes), t.add(n, across)]
        row.next = [t.at(row.values[0], "%sums_row"), t.at(row.values[1], y_row)]
    t.end()


def write(name: str, dtype: str, vector_bytes: int, registers: int, epilogue: Epilogue | None) -> str:
    """The module. Phase 0 says that no memory for bands is in use, 1 computes bands."""
    t = Text(dtype, dtype, vector_bytes, True)
    shape = Shape(vector_bytes, registers, t.scalar_bytes)
    write_micro_kernels(t, shape, False, True)
    write_apart_kernels(t, shape)
    write_row_in(t)
    _write_band_in(t, shape)
    write_finish(t, epilogue)
    t.begin(f"{name}_p0", "ptr %args, i64 %begin, i64 %end", False)
    t.put(f"store i64 0, ptr {t.pointer(Bands.BUSY)}, align 8")
    t.end()
    _write_bands(t, name, shape, epilogue is not None)
    return t.module()


def _write_bands(t: Text, name: str, shape: Shape, follows: bool) -> None:
    """Phase 1. `follows`: something is done on the results, also on those that the micro-kernel has stored in place."""
    t.begin(f"{name}_p1", "ptr %args, i64 %begin, i64 %end", False)
    size = str(t.scalar_bytes)
    row_bytes = (MOST_COLUMNS + shape.columns) * t.scalar_bytes + 64
    sums = t.op(f"alloca [{shape.rows * row_bytes} x i8], align 64")
    copies = t.op(f"alloca [{shape.rows * shape.copied_row} x {t.scalar}], align 64")
    a, x, y, bands_memory, busy, k_offsets, column_table = (t.pointer(s) for s in (
        Bands.A, Bands.X, Bands.Y, Bands.BAND, Bands.BUSY, Bands.K_OFFSETS, Bands.COLUMNS))
    outputs, depth, channels, groups, out_h, out_w, column_count, pitch, high, wide, bands, segments, blocks_m, tile_k = (t.slot(s) for s in (
        Bands.M, Bands.K, Bands.C, Bands.GROUPS, Bands.OUT_H, Bands.OUT_W, Bands.COLUMN_COUNT, Bands.PITCH, Bands.HIGH, Bands.WIDE, Bands.BANDS,
        Bands.SEGMENTS, Bands.BLOCKS_M, Bands.TILE_K))
    a_group, a_row, a_k, x_image, x_channel, row_step, top, band_bytes = (t.slot(s) for s in (
        Bands.A_GROUP, Bands.A_ROW, Bands.A_K, Bands.X_IMAGE, Bands.X_CHANNEL, Bands.ROW_STEP, Bands.TOP, Bands.BAND_BYTES))
    y_row = t.mul(t.slot(Bands.N), size)
    dense, unit = t.test("ne", t.slot(Bands.DENSE), "0"), t.slot(Bands.UNIT)
    gap = t.mul(t.sub(pitch, wide), size)
    copy_a = t.test("ne", t.slot(Bands.COPY_A), "0")
    a_step = t.select(copy_a, "i64", str(shape.copied_row * t.scalar_bytes), a_row)
    panels = t.divide(t.add(outputs, str(shape.rows - 1)), str(shape.rows))[0]
    bit, number = t.acquire(busy, t.slot(Bands.SLOTS))
    band = t.at(bands_memory, t.mul(number, band_bytes))
    with t.loop("%begin", "%end") as item:
        rest, part = t.divide(item.index, blocks_m)
        rest, segment = t.divide(rest, segments)
        batch, band_number = t.divide(rest, bands)
        image, group = t.divide(batch, groups)
        y0, x0 = t.mul(band_number, high), t.mul(segment, wide)
        high_here, wide_here = t.least(t.sub(out_h, y0), high), t.least(t.sub(out_w, x0), wide)
        source = t.at(x, t.dot((image, x_image), (t.mul(group, channels), x_channel)))
        columns_here = t.at(column_table, t.mul(t.mul(segment, column_count), "32"))
        t.put(f"call void @band_in(ptr %args, ptr {source}, i64 {t.sub(t.mul(band_number, row_step), top)}, ptr {columns_here}, ptr {band})")
        columns = t.add(t.mul(t.sub(high_here, "1"), t.select(dense, "i64", wide, pitch)), wide_here)
        # So many of them are stored by the micro-kernel: tiles that are whole, or one vector.
        whole = t.op(f"and i64 {columns}, {-shape.columns}")
        single = t.test("eq", t.sub(columns, whole), str(shape.lanes))
        in_place = t.select(dense, "i64", t.select(single, "i64", columns, whole), "0")
        m0, m1 = (t.mul(t.op(f"udiv i64 {t.mul(i, panels)}, {blocks_m}"), str(shape.rows)) for i in (part, t.add(part, "1")))
        m1 = t.least(m1, outputs)
        n0 = t.add(t.mul(y0, out_w), x0)
        y_here = t.at(y, t.add(t.mul(t.mul(batch, outputs), y_row), t.mul(n0, size)))
        a_here = t.at(a, t.mul(group, a_group))
        tiles = t.divide(t.add(columns, str(shape.columns - 1)), str(shape.columns))[0]
        # The rows of A that come next arrive evenly during the tiles of these: a panel's bytes of each turn, which has two k.
        ahead = t.least("64", t.divide(t.add(tiles, str(2 * shape.rows * t.scalar_bytes - 1)), tiles)[0])
        with t.loop(m0, m1, str(shape.rows)) as row:
            valid = t.least(t.sub(m1, row.index), str(shape.rows))
            target = t.at(y_here, t.mul(row.index, y_row))
            with t.loop("0", depth, tile_k) as block:
                kc = t.least(t.sub(depth, block.index), tile_k)
                add = t.op(f"zext i1 {t.test('ne', block.index, '0')} to i64")
                last = t.test("sge", t.add(block.index, kc), depth)
                a_rows = t.at(a_here, t.add(t.mul(row.index, a_row), t.mul(block.index, a_k)))
                with t.where(copy_a):
                    with t.loop("0", valid) as each:
                        t.put(f"call void @row_in(ptr {t.at(a_rows, t.mul(each.index, a_row))}, i64 {a_k}, i64 0, i64 {kc}, i64 {kc}, "
                              f"ptr {t.at(copies, t.mul(each.index, str(shape.copied_row * t.scalar_bytes)))})")
                a_first = t.select(copy_a, "ptr", copies, a_rows)
                offsets = t.at(k_offsets, t.mul(block.index, "8"))
                following = t.at(a_rows, t.mul(a_row, str(shape.rows)))
                turns = t.mul(t.op(f"lshr i64 {kc}, 1"), ahead)
                with t.loop("0", columns, str(shape.columns)) as column:
                    here = t.mul(column.index, size)
                    left = t.sub(columns, column.index)
                    direct = t.test("sle", t.add(column.index, t.least(left, str(shape.columns))), in_place)
                    with t.where(t.both(last, t.opposite(dense))):  # the places that these results go to
                        line, inside = t.divide(column.index, pitch)
                        place = t.at(target, t.mul(t.add(t.mul(line, out_w), inside), size))
                        with t.loop("0", valid, carry=[("ptr", place)]) as each:
                            for start in range(0, shape.vectors * t.vector_bytes, 64):
                                prefetch(t, t.at(each.values[0], str(start)), True, 3)
                            each.next = [t.at(each.values[0], y_row)]
                    narrow = t.test("sle", left, str(shape.lanes))
                    lines = t.divide(column.index, unit)[0]
                    aside = t.sub(t.divide(t.add(column.index, str(shape.lanes)), unit)[0], lines)
                    b_now, b_next = t.at(band, t.add(here, t.mul(lines, gap))), t.add(t.mul(aside, gap), str(t.vector_bytes))
                    into, step = t.select(direct, "ptr", t.at(target, here), t.at(sums, here)), t.select(direct, "i64", y_row, str(row_bytes))
                    soon = t.at(following, t.mul(t.divide(column.index, str(shape.columns))[0], turns))
                    operands = (f"i64 {a_step}, ptr {b_now}, ptr {offsets}, i64 {kc}", f"i64 {a_step}, ptr {b_now}, ptr {offsets}, i64 {b_next}, i64 {kc}",
                                f"i64 {step}, i64 {add}, ptr {soon}, i64 {ahead}, ptr {soon}, i64 {ahead}")
                    straight, broken, done = t.new_label(), t.new_label(), t.new_label()
                    t.put(f"br i1 {t.either(narrow, t.test('eq', aside, '0'))}, label %{straight}, label %{broken}")
                    for label, apart in ((straight, False), (broken, True)):
                        t.label(label)
                        with Rows(t, shape, valid, narrow, a_first, a_step, into, step, (operands[apart], operands[2]), apart):
                            pass
                        t.put(f"br label %{done}")
                    t.label(done)

            def finish(source: str, source_row: str, high: str, wide: str, first: str, m: str = row.index, valid: str = valid, target: str = target) -> None:
                t.put(f"call void @finish(ptr %args, ptr {t.at(source, t.mul(first, size))}, i64 {source_row}, i64 {valid}, i64 {high}, i64 {wide}, "
                      f"ptr {t.at(target, t.mul(first, size))}, i64 {m}, i64 {t.add(n0, first)}, i64 {batch})")
            with_gaps, together, done = t.new_label(), t.new_label(), t.new_label()
            t.put(f"br i1 {dense}, label %{together}, label %{with_gaps}")
            t.label(with_gaps)
            finish(sums, str(row_bytes), high_here, wide_here, "0")
            t.put(f"br label %{done}")
            t.label(together)
            if follows:
                finish(target, y_row, "1", in_place, "0")
            finish(sums, str(row_bytes), "1", t.sub(columns, in_place), in_place)
            t.put(f"br label %{done}")
            t.label(done)
    t.release(busy, bit)
    t.end()

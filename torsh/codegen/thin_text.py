"""The code of convolutions with few outputs in a group (`codegen.thin`)."""
from __future__ import annotations

from collections.abc import Callable

from torsh.codegen.bands_text import write_finish, write_row_in
from torsh.codegen.gemm_layout import Epilogue
from torsh.codegen.gemm_micro import prefetch
from torsh.codegen.gemm_text import Text
from torsh.codegen.thin import BAND_BYTES, MOST_COLUMNS, MOST_OUTPUTS, MOST_TERMS, Thin, Weight


def _entry(t: Text, table: str, number: str, fields: int) -> list[str]:
    place = t.at(table, t.mul(number, str(8 * fields)))
    return [t.op(f"load i64, ptr {t.at(place, str(8 * i))}, align 8") for i in range(fields)]


def _write_rows_in(t: Text) -> None:
    """`@rows_in(args, x, first, columns, dst)`: the rows from `first` on of all channels of a group; `columns` is the table of a segment.

    Whole vectors are stored, in ascending order within a plane, so what one stores too much the next one overwrites."""
    t.begin("rows_in", "ptr %args, ptr %x, i64 %first, ptr %columns, ptr %dst", True)
    size, lanes = t.scalar_bytes, t.lanes
    rows = t.pointer(Thin.ROWS)
    channels, high, row_count, column_count, pitch, x_channel, x_row, step, channel = (t.slot(s) for s in (
        Thin.C, Thin.H, Thin.ROW_COUNT, Thin.COLUMN_COUNT, Thin.PITCH, Thin.X_CHANNEL, Thin.X_ROW, Thin.X_STEP, Thin.CHANNEL))
    planes = t.mul(channels, column_count)
    with t.loop("0", planes) as each:
        of_channel, column = t.divide(each.index, column_count)
        x, dst = t.at("%x", t.mul(of_channel, x_channel)), t.at("%dst", t.mul(of_channel, channel))
        start, low, end, plane = _entry(t, "%columns", column, 4)
        source, to = t.at(x, start), t.at(dst, plane)
        count = t.sub(end, low)
        after = t.add(low, t.op(f"and i64 {t.add(count, str(lanes - 1))}, {-lanes}"))

        def each_row(move: Callable[[str, str], None]) -> None:
            with t.loop("0", row_count) as row:
                distance, place = _entry(t, rows, row.index, 2)
                number = t.add("%first", distance)
                line = t.at(to, place)

                def zeros(begin: str, stop: str) -> None:
                    with t.loop(begin, stop, str(lanes)) as j:
                        t.store("zeroinitializer", t.at(line, t.mul(j.index, str(size))))
                seen, unseen, done = t.new_label(), t.new_label(), t.new_label()
                t.put(f"br i1 {t.both(t.test('sge', number, '0'), t.test('slt', number, high))}, label %{seen}, label %{unseen}")
                t.label(unseen)
                zeros("0", pitch)
                t.put(f"br label %{done}")
                t.label(seen)
                zeros("0", low)
                move(t.at(source, t.mul(number, x_row)), t.at(line, t.mul(low, str(size))))
                zeros(after, pitch)
                t.put(f"br label %{done}")
                t.label(done)

        def of_runs(width: int, loaded: Callable[[str, list[str]], str]) -> Callable[[str, str], None]:
            """Rows whose elements are `width` apart; `loaded(place, masks)` makes a vector of `width` loaded ones, which reads past its last element: so the
            last vector is read under masks."""
            whole = t.op(f"and i64 {count if width == 1 else t.call('i64', 'llvm.smax.i64', [('i64', t.sub(count, '1')), ('i64', '0')])}, {-lanes}")
            rest = t.sub(count, whole)
            some = t.test("ne", rest, "0")
            span = t.sub(t.mul(rest, str(width)), str(width - 1))
            masks = [t.first(t.sub(span, str(i * lanes)) if i else span) for i in range(width)]

            def move(src: str, line: str) -> None:
                with t.loop("0", whole, str(lanes)) as j:
                    t.store(loaded(t.at(src, t.mul(j.index, str(width * size))), [""] * width), t.at(line, t.mul(j.index, str(size))))
                with t.where(some):
                    t.store(loaded(t.at(src, t.mul(whole, str(width * size))), masks), t.at(line, t.mul(whole, str(size))))
            return move

        def adjacent(place: str, masks: list[str]) -> str:
            return t.load(place, "", masks[0])

        def pairs(place: str, masks: list[str]) -> str:
            low_half, high_half = (t.load(t.at(place, str(i * t.vector_bytes)), "", masks[i]) for i in range(2))
            return t.shuffle(low_half, high_half, list(range(0, 2 * lanes, 2)))

        def apart(src: str, line: str) -> None:
            t.put(f"call void @row_in(ptr {src}, i64 {step}, i64 0, i64 {count}, i64 {count}, ptr {line})")
        ones, others, twos, more, done = (t.new_label() for _ in range(5))
        t.put(f"br i1 {t.test('eq', step, str(size))}, label %{ones}, label %{others}")
        t.label(others)
        t.put(f"br i1 {t.test('eq', step, str(2 * size))}, label %{twos}, label %{more}")
        for label, move in ((ones, lambda: of_runs(1, adjacent)), (twos, lambda: of_runs(2, pairs)), (more, lambda: apart)):
            t.label(label)
            each_row(move())
            t.put(f"br label %{done}")
        t.label(done)
    t.end()


def _write_spread_in(t: Text) -> None:
    """`@rows_in` where rows and columns of the image have zeros between them; `first` counts those too."""
    t.begin("rows_in", "ptr %args, ptr %x, i64 %first, ptr %columns, ptr %dst", True)
    size = str(t.scalar_bytes)
    rows = t.pointer(Thin.ROWS)
    channels, high, row_count, pitch, x_channel, x_row, step, channel, spread_rows, spread_columns = (t.slot(s) for s in (
        Thin.C, Thin.H, Thin.ROW_COUNT, Thin.PITCH, Thin.X_CHANNEL, Thin.X_ROW, Thin.X_STEP, Thin.CHANNEL, Thin.SPREAD_ROWS, Thin.SPREAD_COLUMNS))
    start, low, count, _ = _entry(t, "%columns", "0", 4)
    apart, limit = t.mul(spread_columns, size), t.mul(high, spread_rows)
    with t.loop("0", channels) as each:
        x, dst = t.at(t.at("%x", t.mul(each.index, x_channel)), start), t.at("%dst", t.mul(each.index, channel))
        with t.loop("0", row_count) as row:
            distance, place = _entry(t, rows, row.index, 2)
            number, line = t.add("%first", distance), t.at(dst, place)
            with t.loop("0", pitch, str(t.lanes)) as j:
                t.store("zeroinitializer", t.at(line, t.mul(j.index, size)))
            with t.where(t.both(t.test("sge", number, "0"), t.test("slt", number, limit))):
                here, between = t.divide(number, spread_rows)
                with t.where(t.test("eq", between, "0")):
                    with t.loop("0", count, carry=[("ptr", t.at(x, t.mul(here, x_row))), ("ptr", t.at(line, t.mul(low, size)))]) as k:
                        t.store_scalar(t.load_scalar(k.values[0]), k.values[1])
                        k.next = [t.at(k.values[0], step), t.at(k.values[1], apart)]
    t.end()


def _write_lines(t: Text, vectors: int) -> None:
    """`@lines_{vectors}(x, offsets, count, w, w_k, to)`: so many vectors of sums of w[k] times what is at offsets[k] from x."""
    t.begin(f"lines_{vectors}", "ptr %x, ptr %offsets, i64 %count, ptr %w, i64 %w_k, ptr %to", True)
    with t.loop("0", "%count", carry=[("ptr", "%w")] + [(t.vector, "zeroinitializer")] * vectors) as k:
        offset = t.op(f"load i64, ptr {t.at('%offsets', t.mul(k.index, '8'))}, align 8")
        line, weight = t.at("%x", offset), t.splat(t.load_scalar(k.values[0]))
        k.next = [t.at(k.values[0], "%w_k"), *[t.fma(weight, t.load(t.at(line, str(v * t.vector_bytes))), total) for v, total in enumerate(k.values[1:])]]
    for v, total in enumerate(k.values[1:]):
        t.store(total, t.at("%to", str(v * t.vector_bytes)))
    t.end()


def write(name: str, dtype: str, vector_bytes: int, most: int, epilogue: Epilogue | None, spread: bool) -> str:
    """The module; up to `most` vectors of sums are in registers. The rows and columns of images may be `spread`."""
    t = Text(dtype, dtype, vector_bytes, True)
    widths = [1 << i for i in reversed(range(most.bit_length()))]
    write_row_in(t)
    (_write_spread_in if spread else _write_rows_in)(t)
    for width in widths:
        _write_lines(t, width)
    write_finish(t, epilogue, Thin)

    t.begin(f"{name}_p0", "ptr %args, i64 %begin, i64 %end", False)
    size = str(t.scalar_bytes)
    slack = most * t.vector_bytes
    band = t.op(f"alloca [{BAND_BYTES + slack} x i8], align 64")
    sums = t.op(f"alloca [{MOST_COLUMNS * t.scalar_bytes + slack} x i8], align 64")
    a, x, y, k_offsets, column_table = (t.pointer(s) for s in (Thin.A, Thin.X, Thin.Y, Thin.K_OFFSETS, Thin.COLUMNS))
    outputs, depth, channels, groups, out_h, out_w, column_count, pitch, high, wide, bands, segments, units, group_size = (t.slot(s) for s in (
        Thin.M, Thin.K, Thin.C, Thin.GROUPS, Thin.OUT_H, Thin.OUT_W, Thin.COLUMN_COUNT, Thin.PITCH, Thin.HIGH, Thin.WIDE, Thin.BANDS, Thin.SEGMENTS,
        Thin.UNITS, Thin.GROUP))
    a_group, a_row, a_k, x_image, x_channel, row_step, top, channel = (t.slot(s) for s in (
        Thin.A_GROUP, Thin.A_ROW, Thin.A_K, Thin.X_IMAGE, Thin.X_CHANNEL, Thin.ROW_STEP, Thin.TOP, Thin.CHANNEL))
    following, ahead = t.slot(Thin.NEXT), t.slot(Thin.AHEAD)
    y_row = t.mul(t.slot(Thin.N), size)
    with t.loop("0", str(slack), str(t.vector_bytes)) as j:  # what a last vector reads beyond the rows
        t.store("zeroinitializer", t.at(band, t.add(t.mul(channels, channel), j.index)))
    with t.loop(t.mul("%begin", group_size), t.least(t.mul("%end", group_size), units)) as unit:
        rest, segment = t.divide(unit.index, segments)
        batch, band_number = t.divide(rest, bands)
        image, group = t.divide(batch, groups)
        y0, x0 = t.mul(band_number, high), t.mul(segment, wide)
        high_here, wide_here = t.least(t.sub(out_h, y0), high), t.least(t.sub(out_w, x0), wide)
        source = t.at(x, t.dot((image, x_image), (t.mul(group, channels), x_channel)))
        columns_here = t.at(column_table, t.mul(t.mul(segment, column_count), "32"))
        t.put(f"call void @rows_in(ptr %args, ptr {source}, i64 {t.sub(t.mul(band_number, row_step), top)}, ptr {columns_here}, ptr {band})")
        columns = t.add(t.mul(t.sub(high_here, "1"), pitch), wide_here)
        vectors = t.divide(t.add(columns, str(t.lanes - 1)), str(t.lanes))[0]
        n0 = t.add(t.mul(y0, out_w), x0)
        target = t.at(y, t.add(t.mul(t.mul(batch, outputs), y_row), t.mul(n0, size)))
        with t.loop("0", outputs) as row:
            weights = t.at(a, t.dot((group, a_group), (row.index, a_row)))

            def lines(width: int, first: str, weights: str = weights) -> None:
                here = t.mul(first, str(t.vector_bytes))
                t.put(f"call void @lines_{width}(ptr {t.at(band, here)}, ptr {k_offsets}, i64 {depth}, ptr {weights}, i64 {a_k}, ptr {t.at(sums, here)})")
            with t.loop("0", t.op(f"and i64 {vectors}, {-most}"), str(most)) as v:
                with t.loop(t.mul(v.index, ahead), t.mul(t.add(v.index, str(most)), ahead), "64") as byte:
                    prefetch(t, t.at(t.at(source, following), byte.index), False, 2)
                with t.loop("0", str(most)) as j:
                    prefetch(t, t.at(t.at(target, t.mul(row.index, y_row)), t.mul(t.add(v.index, j.index), str(t.vector_bytes))), True, 3)
                lines(most, v.index)
            for width in widths[1:]:
                with t.where(t.bit(vectors, width)):
                    lines(width, t.op(f"and i64 {vectors}, {-2 * width}"))
            t.put(f"call void @finish(ptr %args, ptr {sums}, i64 0, i64 1, i64 {high_here}, i64 {wide_here}, ptr {t.at(target, t.mul(row.index, y_row))}, "
                  f"i64 {row.index}, i64 {n0}, i64 {batch})")
    t.end()
    return t.module()


def _write_dots(t: Text, taps: int) -> None:
    """`@dots_{taps}(x, offsets, y, masks, count, sums, soon)`: to so many vectors of sums are added the products of y with what is at offsets[k] from x, on the
    lanes that a mask has, for `count` vectors. Two lines from `soon` on are fetched for each."""
    t.begin(f"dots_{taps}", "ptr %x, ptr %offsets, ptr %y, ptr %masks, i64 %count, ptr %sums, ptr %soon", True)
    bits, lanes_bytes = (f"i{max(8, t.lanes)}", max(1, t.lanes // 8))
    places = [t.at("%x", t.op(f"load i64, ptr {t.at('%offsets', str(8 * i))}, align 8")) for i in range(taps)]
    carry = [("ptr", "%soon"), ("ptr", "%masks")] + [(t.vector, "zeroinitializer")] * taps
    with t.loop("0", t.mul("%count", str(t.vector_bytes)), str(t.vector_bytes), carry) as v:
        soon, masks, *sums = v.values
        prefetch(t, soon, False, 2)
        prefetch(t, t.at(soon, "64"), False, 2)
        mask = t.op(f"load {bits}, ptr {masks}, align 1")
        if t.lanes < 8:
            mask = t.op(f"trunc {bits} {mask} to i{t.lanes}")
        mask = t.op(f"bitcast i{t.lanes} {mask} to {t.mask}")
        y = t.load(t.at("%y", v.index))
        v.next = [t.at(soon, "128"), t.at(masks, str(lanes_bytes)),
                  *[t.op(f"select {t.mask} {mask}, {t.vector} {t.fma(y, t.load(t.at(place, v.index)), total)}, {t.vector} {total}")
                    for place, total in zip(places, sums, strict=True)]]
    for i, total in enumerate(v.values[2:]):
        place = t.at("%sums", str(i * t.vector_bytes))
        t.store(t.op(f"fadd {t.vector} {t.load(place)}, {total}"), place)
    t.end()


def write_weight(name: str, dtype: str, vector_bytes: int, few: int, taps: int) -> str:
    """The module of the gradient of weights; blocks of `taps` or `few` elements of a window."""
    t = Text(dtype, dtype, vector_bytes, True)
    write_row_in(t)
    _write_rows_in(t)
    for count in sorted({few, taps}):
        _write_dots(t, count)
    t.begin(f"{name}_p0", "ptr %args, i64 %begin, i64 %end", False)
    size, width = str(t.scalar_bytes), str(t.vector_bytes)
    slack = 2 * t.vector_bytes
    line_bytes = MOST_COLUMNS * t.scalar_bytes + slack
    band = t.op(f"alloca [{BAND_BYTES + slack} x i8], align 64")
    lines = t.op(f"alloca [{line_bytes} x i8], align 64")
    sums = t.op(f"alloca [{MOST_OUTPUTS * MOST_TERMS} x {t.vector}], align 64")
    result, x, y, k_offsets, column_table, mask_table = (t.pointer(s) for s in (Weight.OUT, Weight.X, Weight.Y, Thin.K_OFFSETS, Thin.COLUMNS, Weight.MASKS))
    outputs, depth, channels, out_h, pitch, high, wide, bands, groups, group_size, images, blocks, whole_vectors = (t.slot(s) for s in (
        Thin.M, Thin.K, Thin.C, Thin.OUT_H, Thin.PITCH, Thin.HIGH, Thin.WIDE, Thin.BANDS, Thin.GROUPS, Thin.GROUP, Weight.IMAGES, Weight.TAPS,
        Weight.VECTORS))
    x_image, x_channel, row_step, top, channel, following, ahead, y_image, y_channel, y_row, y_step = (t.slot(s) for s in (
        Thin.X_IMAGE, Thin.X_CHANNEL, Thin.ROW_STEP, Thin.TOP, Thin.CHANNEL, Thin.NEXT, Thin.AHEAD, Weight.Y_IMAGE, Weight.Y_CHANNEL, Weight.Y_ROW,
        Weight.Y_STEP))
    with t.loop("0", str(slack), width) as j:  # what a last vector reads beyond the rows
        t.store("zeroinitializer", t.at(band, t.add(t.mul(channels, channel), j.index)))
    every = t.mul(outputs, depth)
    larger = t.op(f"urem i64 {depth}, {blocks}") if few != taps else blocks
    with t.loop(t.mul("%begin", group_size), t.least(t.mul("%end", group_size), groups)) as group:
        with t.loop("0", every) as k:
            t.store("zeroinitializer", t.at(sums, t.mul(k.index, width)))
        with t.loop("0", t.mul(images, bands)) as piece:
            image, number = t.divide(piece.index, bands)
            y0 = t.mul(number, high)
            high_here = t.least(t.sub(out_h, y0), high)
            source = t.at(x, t.dot((image, x_image), (t.mul(group.index, channels), x_channel)))
            t.put(f"call void @rows_in(ptr %args, ptr {source}, i64 {t.sub(t.mul(number, row_step), top)}, ptr {column_table}, ptr {band})")
            columns = t.add(t.mul(t.sub(high_here, "1"), pitch), wide)
            vectors = t.divide(t.add(columns, str(t.lanes - 1)), str(t.lanes))[0]
            is_last = t.op(f"zext i1 {t.test('eq', t.add(number, '1'), bands)} to i64")
            masks = t.at(mask_table, t.mul(t.mul(is_last, whole_vectors), str(max(1, t.lanes // 8))))
            x_soon, y_bytes = t.at(source, following), t.mul(vectors, width)
            x_bytes = t.mul(vectors, ahead)
            with t.loop("0", outputs) as row:
                gradient = t.at(y, t.dot((image, y_image), (t.add(t.mul(group.index, outputs), row.index), y_channel), (y0, y_row)))
                with t.loop("0", high_here) as line:
                    t.put(f"call void @row_in(ptr {t.at(gradient, t.mul(line.index, y_row))}, i64 {y_step}, i64 0, i64 {wide}, i64 {wide}, "
                          f"ptr {t.at(lines, t.mul(t.mul(line.index, pitch), size))})")
                y_soon = t.at(gradient, t.select(t.test("eq", bands, "1"), "i64", y_image, t.mul(high, y_row)))
                with t.loop("0", blocks, carry=[("i64", "0")]) as block:
                    first = block.values[0]
                    begun = t.mul(block.index, t.mul(y_bytes, "2"))
                    in_x = t.test("slt", begun, x_bytes)
                    soon = t.select(in_x, "ptr", t.at(x_soon, begun), t.at(y_soon, t.sub(begun, x_bytes)))
                    operands = (f"ptr {band}, ptr {t.at(k_offsets, t.mul(first, '8'))}, ptr {lines}, ptr {masks}, i64 {vectors}, "
                                f"ptr {t.at(sums, t.mul(t.add(t.mul(row.index, depth), first), width))}, ptr {soon}")
                    many, fewer, done = t.new_label(), t.new_label(), t.new_label()
                    t.put(f"br i1 {t.test('slt', block.index, larger)}, label %{many}, label %{fewer}")
                    for label, count in ((many, taps), (fewer, few)):
                        t.label(label)
                        t.put(f"call void @dots_{count}({operands})")
                        t.put(f"br label %{done}")
                    t.label(done)
                    block.next = [t.add(first, t.op(f"phi i64 [{taps}, %{many}], [{few}, %{fewer}]"))]
        with t.loop("0", every) as k:
            t.store_scalar(t.total(t.load(t.at(sums, t.mul(k.index, width)))), t.at(result, t.mul(t.add(t.mul(group.index, every), k.index), size)))
    t.end()
    return t.module()

"""The general matrix product: C tiles by a register micro-kernel (`gemm_micro`), from A and B in place or from copies of their panels.

The structure is that of BLIS (Van Zee and van de Geijn, "BLIS: A Framework for Rapidly Instantiating BLAS Functionality", ACM TOMS
41(3), 2015) with the operands' places exchanged: sums over K in blocks, a block of B that stays in the second-level cache, a panel
of A in the first, an outer-product micro-kernel. Nothing is copied that can be read where it is: A's panel is copied, not transposed, where
its rows compete for the same sets of the cache; B is packed where its columns are not adjacent or its rows compete.

Phases: 0 packs B (no work items when it is read in place, or packed by the work items that use it), 1 computes tiles of C. A tile belongs to
one work item, and K is summed in the same order whoever runs it, so results do not depend on the number of threads.
"""
from __future__ import annotations

from types import TracebackType

from torsh.codegen.gemm_layout import COPIED_PANELS, NEAR_BYTES, PACK_COLUMNS, Epilogue, Flags, Place, Shape, Tiles
from torsh.codegen.gemm_micro import columns_of_square, masks, write_copy_group, write_copy_rows, write_micro_kernels, write_pack
from torsh.codegen.gemm_text import Text
from torsh.codegen.gemm_windows import write_pack_windows, write_windows_packed

# Modes of `finish`.
ADD_PARTIAL, LAST_BLOCK, ADD_C = 1, 2, 4



def write_finish(t: Text, shape: Shape, epilogue: Epilogue | None, transposed: bool, turned: bool = False) -> None:
    """`@finish(args, tmp, rows, columns, p, c, m, n, batch, mode)`: what the micro-kernel's own store cannot do.

    tmp is a register tile in memory. Adds the partial sums p or the former C to it, and stores it in p, or after
    the last block in c: through the epilogue, rounded, with any column stride, only `columns` of it. Where C is `turned`, the elements of a
    column of it are adjacent."""
    t.begin("finish", "ptr %args, ptr %tmp, i64 %rows, i64 %columns, ptr %p, ptr %c, i64 %m, i64 %n, i64 %batch, "
            "i64 %mode", True)
    c_row, c_column = (t.mul(t.slot(s), str(t.out_bytes)) for s in (Tiles.C_M, Tiles.C_N))
    p_row = t.mul(t.slot(Tiles.PARTIAL_M), str(t.scalar_bytes))
    unit = t.test("eq", c_column, str(t.out_bytes))
    last, add_p, add_c = (t.bit("%mode", bit) for bit in (LAST_BLOCK, ADD_PARTIAL, ADD_C))
    scattered = t.opposite(unit)
    if epilogue is not None:
        epilogue.begin(t, "%batch", Tiles.EPILOGUE, (Tiles.N, Tiles.M) if turned else (Tiles.M, Tiles.N))
    ready, changed = t.new_label(), t.new_label()
    if turned:
        t.put(f"br i1 {t.test('eq', '%mode', str(LAST_BLOCK))}, label %{ready}, label %{changed}")
        t.label(changed)
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
            if turned:
                t.store(value, place)
            else:
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
        if not turned:
            with t.where(t.both(last, scattered)):
                with t.loop("0", "%columns") as column:
                    value = t.load_scalar(t.at(line, t.mul(column.index, str(t.scalar_bytes))))
                    t.store_scalar(value, t.at(c_line, t.mul(column.index, c_column)), t.dtype_out)
    if turned:
        end = t.new_label()
        t.put(f"br i1 {last}, label %{ready}, label %{end}")
        t.label(ready)
        _write_turned(t, shape, c_column, epilogue, transposed)
        t.put(f"br label %{end}")
        t.label(end)
    t.end()


def _write_turned(t: Text, shape: Shape, c_column: str, epilogue: Epilogue | None, transposed: bool) -> None:
    """The end of `finish` where C is turned: squares of the tile are transposed, and their columns go through the epilogue to C."""
    line = shape.columns * t.scalar_bytes
    square = t.op(f"alloca [{shape.lanes * shape.lanes} x {t.scalar}], align 64")
    with t.loop("0", "%rows", str(shape.lanes)) as row:
        mask = t.first(t.sub("%rows", row.index))
        m, above, beside = t.add("%m", row.index), t.at("%tmp", t.mul(row.index, str(line))), t.at("%c", t.mul(row.index, str(t.out_bytes)))
        with t.loop("0", "%columns", str(shape.lanes)) as column:
            corner = t.at(above, t.mul(column.index, str(t.scalar_bytes)))
            columns = columns_of_square(t, [t.at(corner, str(i * line)) for i in range(shape.lanes)])
            left = t.sub("%columns", column.index)

            def store(value: str, index: str) -> None:
                n = t.add(column.index, index)
                if epilogue is not None:
                    value = epilogue.emit(t, value, Place("%batch", t.add("%n", n), m, mask, Tiles.EPILOGUE, not transposed))
                t.store(value, t.at(beside, t.mul(n, c_column)), t.dtype_out, mask)

            if epilogue is None:
                whole, some, done = t.new_label(), t.new_label(), t.new_label()
                t.put(f"br i1 {t.test('sge', left, str(shape.lanes))}, label %{whole}, label %{some}")
                t.label(whole)
                for i, value in enumerate(columns):
                    store(value, str(i))
                t.put(f"br label %{done}")
                t.label(some)
            for i, value in enumerate(columns):
                t.store(value, t.at(square, str(i * t.vector_bytes)))
            with t.loop("0", t.least(left, str(shape.lanes))) as lane:
                store(t.load(t.at(square, t.mul(lane.index, str(t.vector_bytes)))), lane.index)
            if epilogue is None:
                t.put(f"br label %{done}")
                t.label(done)


def write_apply(t: Text, epilogue: Epilogue, transposed: bool) -> None:
    """`@apply(args, c, rows, columns, m, n, batch)`: the epilogue on whole vectors that the micro-kernel has just stored in C."""
    t.begin("apply", "ptr %args, ptr %c, i64 %rows, i64 %columns, i64 %m, i64 %n, i64 %batch", True)
    c_row = t.mul(t.slot(Tiles.C_M), str(t.out_bytes))
    epilogue.begin(t, "%batch", Tiles.EPILOGUE)
    with t.loop("0", "%rows", carry=[("ptr", "%c")]) as row:
        m = t.add("%m", row.index)
        with t.loop("0", "%columns", str(t.lanes)) as column:
            place = t.at(row.values[0], t.mul(column.index, str(t.scalar_bytes)))
            t.store(epilogue.emit(t, t.load(place), Place("%batch", m, t.add("%n", column.index), "", Tiles.EPILOGUE, transposed)), place)
        row.next = [t.at(row.values[0], c_row)]
    t.end()


def write_pack_phase(t: Text, name: str, shape: Shape) -> None:
    """Phase 0: a work item packs PACK_COLUMNS panels of one block of K of B."""
    t.begin(f"{name}_p0", "ptr %args, i64 %begin, i64 %end", False)
    b, packed, columns, depth, tile_k, blocks_k, batch1, panels = t.pointer(Tiles.B), t.pointer(Tiles.B_PACKED), *(
        t.slot(s) for s in (Tiles.N, Tiles.K, Tiles.TILE_K, Tiles.BLOCKS_K, Tiles.BATCH1, Tiles.PANELS_N))
    strides = [t.mul(t.slot(s), str(t.in_bytes)) for s in (Tiles.B_BATCH0, Tiles.B_BATCH1, Tiles.B_K, Tiles.B_N)]
    chunks = t.op(f"udiv i64 {t.add(panels, str(PACK_COLUMNS - 1))}, {PACK_COLUMNS}")
    panel_bytes = t.mul(tile_k, str(shape.columns * t.scalar_bytes))
    with t.loop("%begin", "%end") as item:
        rest, chunk = t.divide(item.index, chunks)
        batch, block = t.divide(rest, blocks_k)
        b0, b1 = t.divide(batch, batch1)
        n, k = t.mul(chunk, str(PACK_COLUMNS * shape.columns)), t.mul(block, tile_k)
        src = t.at(b, t.dot((b0, strides[0]), (b1, strides[1]), (k, strides[2]), (n, strides[3])))
        dst = t.at(packed, t.mul(t.add(t.mul(rest, panels), t.mul(chunk, str(PACK_COLUMNS))), panel_bytes))
        wide, kc = t.least(t.sub(columns, n), str(PACK_COLUMNS * shape.columns)), t.least(t.sub(depth, k), tile_k)
        t.put(f"call void @pack_panels(ptr {src}, i64 {strides[2]}, i64 {strides[3]}, i64 {wide}, i64 {kc}, ptr {dst}, i64 {panel_bytes})")
    t.end()


def write_tile_phase(t: Text, name: str, shape: Shape, epilogue: Epilogue | None, lanes: bool, tables: bool, broad_too: bool) -> None:
    """Phase 1: a work item computes GROUP of the BLOCKS_M x BLOCKS_N tiles of C.

    For each block of K: B's columns are packed, unless they are read in place or were packed before; then each panel of rows of A,
    copied or in place and small enough for the first-level cache, meets all of them."""
    t.begin(f"{name}_p1", "ptr %args, i64 %begin, i64 %end", False)
    size, out, acc = str(t.in_bytes), str(t.out_bytes), str(t.scalar_bytes)
    line = str(shape.columns * t.scalar_bytes)
    panels_copied, panel_copied = (COPIED_PANELS, shape.group_depth * shape.packed_rows) if lanes else (1, shape.rows * shape.copied_row)
    copies = t.op(f"alloca [{panels_copied * panel_copied} x {t.scalar}], align 64")
    near = t.op(f"alloca [{NEAR_BYTES} x i8], align 64")
    tmp = t.op(f"alloca [{shape.packed_rows * shape.columns} x {t.scalar}], align 64")
    a, b, c, b_buffers, partial = (t.pointer(s) for s in (Tiles.A, Tiles.B, Tiles.C, Tiles.B_PACKED, Tiles.PARTIAL))
    rows, columns, depth, batch1 = (t.slot(s) for s in (Tiles.M, Tiles.N, Tiles.K, Tiles.BATCH1))
    tile_k, blocks_m, blocks_n, blocks_k, panels_m, panels_n, buffer_bytes = (t.slot(s) for s in (
        Tiles.TILE_K, Tiles.BLOCKS_M, Tiles.BLOCKS_N, Tiles.BLOCKS_K, Tiles.PANELS_M, Tiles.PANELS_N, Tiles.BUFFER))
    a_strides = [t.mul(t.slot(s), size) for s in (Tiles.A_BATCH0, Tiles.A_BATCH1, Tiles.A_M, Tiles.A_K)]
    b_strides = [t.mul(t.slot(s), size) for s in (Tiles.B_BATCH0, Tiles.B_BATCH1, Tiles.B_K, Tiles.B_N)]
    c_strides = [t.mul(t.slot(s), out) for s in (Tiles.C_BATCH0, Tiles.C_BATCH1, Tiles.C_M, Tiles.C_N)]
    p_batch, p_row = (t.mul(t.slot(s), acc) for s in (Tiles.PARTIAL_BATCH, Tiles.PARTIAL_M))
    k_offsets, n_offsets = (t.pointer(s) for s in (Tiles.K_OFFSETS, Tiles.N_OFFSETS))
    group, tiles, flags, height = (t.slot(s) for s in (Tiles.GROUP, Tiles.TILES, Tiles.FLAGS, Tiles.HEIGHT))
    copy_a, b_in_place, b_ready, b_one, accumulate, own, streams = (t.bit(flags, bit) for bit in (
        Flags.COPY_A, Flags.B_IN_PLACE, Flags.B_IS_PACKED, Flags.B_ONE_BATCH, Flags.ACCUMULATE_C, Flags.PARTIAL_IS_C, Flags.B_STREAMS))
    p0 = t.select(own, "i64", c_strides[0], t.mul(p_batch, batch1))
    p1 = t.select(own, "i64", c_strides[1], p_batch)
    # C itself holds the partial sums where it can; `own` then also means that the micro-kernel may store C.
    if lanes:
        a_row, a_step = acc, t.select(copy_a, "i64", str(shape.packed_rows * t.scalar_bytes), a_strides[3])
    else:
        a_row = a_step = t.select(copy_a, "i64", str(shape.copied_row * t.scalar_bytes), a_strides[2])
    along = t.test("eq", b_strides[3], size)
    panel_bytes = t.mul(tile_k, line)
    block_bytes = t.mul(panels_n, panel_bytes)
    batch_bytes = t.select(b_one, "i64", "0", t.mul(block_bytes, blocks_k))
    fresh = t.opposite(t.either(b_in_place, b_ready))
    is_near = t.test("eq", buffer_bytes, "0")
    per_batch = t.mul(blocks_m, blocks_n)
    first, stop = t.mul("%begin", group), t.least(t.mul("%end", group), tiles)
    with t.loop(first, stop) as item:
        batch, tile = t.divide(item.index, per_batch)
        b0, b1 = t.divide(batch, batch1)
        mi, ni = t.divide(tile, blocks_n)
        # Tiles are as equal as whole panels can be.
        m0, m1 = (t.mul(t.op(f"udiv i64 {t.mul(i, panels_m)}, {blocks_m}"), height) for i in (mi, t.add(mi, "1")))
        n0, n1 = (t.mul(t.op(f"udiv i64 {t.mul(i, panels_n)}, {blocks_n}"), str(shape.columns)) for i in (ni, t.add(ni, "1")))
        m1, n1 = t.least(m1, rows), t.least(n1, columns)
        wide = t.sub(n1, n0)
        sweeps = t.op(f"udiv i64 {t.add(t.sub(m1, m0), t.sub(height, '1'))}, {height}")
        a_here = t.at(a, t.dot((b0, a_strides[0]), (b1, a_strides[1])))
        b_here = t.at(b, t.dot((b0, b_strides[0]), (b1, b_strides[1])))
        c_here = t.at(c, t.dot((b0, c_strides[0]), (b1, c_strides[1])))
        p_here = t.at(partial, t.dot((b0, p0), (b1, p1)))
        buffer = t.select(is_near, "ptr", near, t.at(b_buffers, t.mul(t.op(f"udiv i64 {item.index}, {group}"), buffer_bytes)))
        ready = t.at(b_buffers, t.add(t.mul(batch, batch_bytes), t.mul(t.op(f"udiv i64 {n0}, {shape.columns}"), panel_bytes)))
        # Where the next tile's columns begin: beside these, or in the next matrix.
        more = t.test("slt", t.add(ni, "1"), blocks_n)
        others = t.both(t.test("eq", t.add(mi, "1"), blocks_m), t.test("slt", t.add(b1, "1"), batch1))
        next_tile = t.select(more, "ptr", t.at(b_here, t.mul(n1, b_strides[3])), t.select(others, "ptr", t.at(b_here, b_strides[1]), b_here))
        # The last columns of a B that is read in place are packed if they do not fill a vector.
        tail = t.op(f"and i64 {wide}, {-shape.columns}")
        ragged = t.both(b_in_place, t.test("ne", t.op(f"and i64 {wide}, {shape.lanes - 1}"), "0"))
        whole = t.select(ragged, "i64", tail, wide)
        with t.loop("0", blocks_k) as block:
            k0 = t.mul(block.index, tile_k)
            kc = t.least(t.sub(depth, k0), tile_k)
            half = t.op(f"lshr i64 {kc}, 1")
            a_now = t.at(a_here, t.mul(k0, a_strides[3]))
            last = t.test("eq", t.add(block.index, "1"), blocks_k)
            not_first = t.test("ne", block.index, "0")
            from_p = t.either(not_first, t.both(accumulate, own))
            from_c = t.opposite(t.either(not_first, t.opposite(t.both(accumulate, t.opposite(own)))))
            add = t.op(f"zext i1 {from_p} to i64")
            mode = t.add(add, t.add(t.select(last, "i64", str(LAST_BLOCK), "0"),
                                    t.select(from_c, "i64", str(ADD_C), "0")))
            stores = t.either(own, t.opposite(last))
            stores = t.both(stores, t.opposite(from_c))
            source = t.at(b_here, t.dot((k0, b_strides[2]), (n0, b_strides[3])))
            with t.where(fresh):
                if tables:
                    offsets = t.at(k_offsets, t.mul(k0, "8")), t.at(n_offsets, t.mul(n0, "8"))
                    write_windows_packed(t, shape, b_here, *offsets, wide, kc, buffer, panel_bytes)
                else:
                    t.put(f"call void @pack_panels(ptr {source}, i64 {b_strides[2]}, i64 {b_strides[3]}, i64 {wide}, i64 {kc}, "
                          f"ptr {buffer}, i64 {panel_bytes})")
            with t.where(ragged):
                if tables:
                    places = t.at(k_offsets, t.mul(k0, "8")), t.at(n_offsets, t.mul(t.add(n0, tail), "8"))
                    write_windows_packed(t, shape, b_here, *places, t.sub(wide, tail), kc, buffer, panel_bytes)
                else:
                    t.put(f"call void @pack_panels(ptr {t.at(source, t.mul(tail, size))}, i64 {b_strides[2]}, i64 {size}, "
                          f"i64 {t.sub(wide, tail)}, i64 {kc}, ptr {buffer}, i64 {panel_bytes})")
            b_first = t.select(b_in_place, "ptr", source, t.select(b_ready, "ptr", t.at(ready, t.mul(block.index, block_bytes)), buffer))
            # Meanwhile the next block of B comes: of a packed one evenly, otherwise a line of every other row, or of each column, in each
            # call of the micro-kernel until all were asked for.
            after = t.select(last, "ptr", next_tile, t.at(source, t.mul(tile_k, b_strides[2])))
            packed = t.select(last, "i64", t.mul(wide, t.mul(tile_k, acc)), t.mul(t.add(block.index, "1"), block_bytes))
            after = t.select(b_ready, "ptr", t.at(ready, packed), after)
            across = t.op(f"udiv i64 {t.add(t.mul(kc, size), '64')}, 64")
            evenly = t.least("64", t.op(f"udiv i64 {t.add(sweeps, str(2 * int(line) - 1))}, {sweeps}"))
            after_k = t.select(b_ready, "i64", evenly, t.select(along, "i64", t.mul(b_strides[2], "2"), b_strides[3]))
            across_n = t.op(f"udiv i64 {t.add(wide, str(shape.columns - 1))}, {shape.columns}")
            a_dense = t.test("eq", a_strides[2], t.mul(kc, size))
            dense_k = t.least("64", t.op(f"udiv i64 {t.add(across_n, t.sub(t.mul(height, str(2 * t.in_bytes)), '1'))}, {across_n}"))
            # Of a B that streams by, few rows of which are a block, all lines in the order of memory: the second-level cache then runs ahead by itself.
            row_lines = t.op(f"lshr i64 {t.add(t.mul(wide, size), '63')}, 6")
            per_call = t.op(f"udiv i64 {t.mul(row_lines, kc)}, {t.mul(sweeps, across_n)}")
            if broad_too:
                broadly, broad_width = t.both(b_in_place, stores), "0"
                for tall, vectors in shape.broad:
                    broad_width = t.select(t.test("eq", height, str(tall)), "i64", str(vectors * shape.lanes), broad_width)
                broadly = t.both(broadly, t.test("ne", broad_width, "0"))
            with t.loop(m0, m1, height) as row:
                a_rows = t.at(a_now, t.mul(row.index, a_strides[2]))
                valid = t.least(t.sub(m1, row.index), height)
                panel = t.op(f"udiv i64 {t.sub(row.index, m0)}, {height}")
                copy, a_soon = copies, t.at(a_rows, t.mul(a_strides[2], height))
                if lanes:
                    member = t.op(f"urem i64 {panel}, {COPIED_PANELS}")
                    group_rows = t.mul(height, str(COPIED_PANELS))
                    copy = t.at(copies, t.mul(member, str(panel_copied * t.scalar_bytes)))
                    with t.where(t.both(copy_a, t.test("eq", member, "0"))):
                        t.put(f"call void @copy_group(ptr {a_rows}, i64 {a_strides[2]}, i64 {a_strides[3]}, "
                              f"i64 {t.least(t.sub(m1, row.index), group_rows)}, i64 {kc}, ptr {copies}, i64 {height})")
                    first_next = t.add(t.sub(row.index, t.mul(member, height)), group_rows)
                    more_rows = t.test("slt", first_next, m1)
                    soon_rows = t.add(t.mul(t.select(more_rows, "i64", first_next, m0), a_strides[2]), t.select(more_rows, "i64", "0", t.mul(kc, a_strides[3])))
                    a_group = t.at(a_now, soon_rows)
                else:
                    with t.where(copy_a):
                        t.put(f"call void @copy_rows(ptr {a_rows}, i64 {a_strides[2]}, i64 {valid}, i64 {kc}, ptr {copy})")
                a_first = t.select(copy_a, "ptr", copy, a_rows)
                with t.loop("0", wide, str(shape.columns)) as column:
                    n = t.add(n0, column.index)
                    number = t.op(f"udiv i64 {column.index}, {shape.columns}")
                    inside = t.test("slt", column.index, whole)
                    in_b = t.select(b_in_place, "i64", t.mul(column.index, size), t.mul(number, panel_bytes))
                    b_now = t.select(inside, "ptr", t.at(b_first, in_b), buffer)
                    in_place = t.both(b_in_place, inside)
                    if tables:
                        b_k = "ptr " + t.select(in_place, "ptr", t.at(k_offsets, t.mul(k0, "8")), "@lines")
                    else:
                        b_k = "i64 " + t.select(in_place, "i64", b_strides[2], line)
                    width = t.least(t.sub(t.select(inside, "i64", whole, wide) if broad_too else wide, column.index), str(shape.columns))
                    narrow = t.test("sle", width, str(shape.lanes))
                    full = t.either(t.test("eq", width, str(shape.columns)), t.test("eq", width, str(shape.lanes)))
                    # A vector that C has a part of is stored under a mask, unless more is to be done with it.
                    direct = stores if masks(t) and epilogue is None else t.both(full, stores)
                    last_lanes = t.select(narrow, "i64", width, t.sub(width, str(shape.lanes)))
                    broad = ""
                    if broad_too:
                        # Few rows leave registers for more columns.
                        broad = t.both(t.both(broadly, t.test("sge", valid, t.sub(height, "1"))),
                                       t.test("sle", t.add(column.index, broad_width), whole))
                        width = t.select(broad, "i64", broad_width, width)
                        last_lanes = t.select(broad, "i64", str(shape.lanes), last_lanes)
                        direct, column.step = t.either(direct, broad), width  # what is left of the columns in place may be less than a panel
                    turn = t.add(t.mul(panel, across_n), number)
                    by_column = t.divide(turn, across)
                    there = t.select(b_ready, "i64", t.mul(turn, t.mul(half, after_k)), t.select(
                        along, "i64", t.add(t.mul(t.op(f"lshr i64 {turn}, 1"), "64"), t.mul(t.op(f"and i64 {turn}, 1"), b_strides[2])),
                        t.add(t.mul(by_column[1], "64"), t.mul(t.mul(by_column[0], half), b_strides[3]))))
                    due = t.either(b_ready, t.select(along, "i1", t.test("slt", t.mul(turn, "32"), t.mul(wide, size)),
                                                     t.test("slt", t.mul(by_column[0], half), wide)))
                    b_soon, b_soon_k = t.select(due, "ptr", t.at(after, there), after), t.select(due, "i64", after_k, "0")
                    if lanes:
                        # In each call every other line of the next panel; of the next group, if they are copied together, a line of every other row.
                        odd = t.op(f"and i64 {number}, 1")
                        within = t.add(t.mul(member, across_n), number)
                        lines = t.op(f"lshr i64 {t.add(t.mul(group_rows, size), '127')}, 6")
                        aside, line_number = t.divide(within, lines)
                        soon = t.at(a_group, t.add(t.mul(line_number, "64"), t.mul(t.op(f"and i64 {aside}, 1"), a_strides[3])))
                        soon = t.select(copy_a, "ptr", soon, t.at(a_soon, t.mul(odd, a_strides[3])))
                        soon_k = t.mul(a_strides[3], "2")
                    else:
                        # One row in each call, or all evenly where they are one piece of memory.
                        soon_k = t.select(a_dense, "i64", dense_k, str(2 * t.in_bytes))
                        soon = t.at(a_soon, t.select(a_dense, "i64", t.mul(t.mul(number, half), dense_k),
                                                     t.mul(t.least(number, t.sub(height, "1")), a_strides[2])))
                        if not tables:  # one panel of columns: all of the next rows in this call, while B stays
                            lone = t.both(a_dense, t.test("eq", across_n, "1"))
                            b_soon = t.select(lone, "ptr", t.at(soon, t.mul(half, "64")), b_soon)
                            b_soon_k = t.select(lone, "i64", "64", b_soon_k)
                    if not tables:
                        # With four lines of B for each turn of a single panel of rows, and two for each of two.
                        from_line, more_lines = t.mul(turn, per_call), t.op(f"lshr i64 {per_call}, 1")
                        for_b = []
                        for line_of_b in (from_line, t.add(from_line, more_lines)):
                            of_row, in_row = t.divide(line_of_b, row_lines)
                            for_b.append(t.at(after, t.add(t.mul(of_row, b_strides[2]), t.mul(in_row, "64"))))
                        soon, b_soon = t.select(streams, "ptr", for_b[0], soon), t.select(streams, "ptr", for_b[1], b_soon)
                        soon_k, b_soon_k = (t.select(streams, "i64", "64", step) for step in (soon_k, b_soon_k))
                    place = t.add(t.mul(row.index, p_row), t.mul(n, acc))
                    into = t.select(direct, "ptr", t.at(p_here, place), tmp)
                    step = t.select(direct, "i64", p_row, line)
                    operands = (f"i64 {a_step}, ptr {b_now}, {b_k}, i64 {kc}",
                                f"i64 {step}, i64 {t.select(direct, 'i64', add, '0')}, ptr {soon}, i64 {soon_k}, ptr {b_soon}, i64 {b_soon_k}")
                    with Rows(t, shape, valid, narrow, a_first, a_row, into, t.select(direct, "i64", p_row, "0"),
                              operands, False, t.select(direct, "i64", last_lanes, str(shape.lanes)), broad, height) as rows_now:
                        m = t.add(row.index, rows_now.index)
                        c_place = t.at(c_here, t.add(t.mul(m, c_strides[2]), t.mul(n, c_strides[3])))
                        with t.where(t.opposite(direct)):
                            p_place = t.at(p_here, t.add(t.mul(m, p_row), t.mul(n, acc)))
                            t.put(f"call void @finish(ptr %args, ptr {tmp}, i64 {rows_now.height}, i64 {width}, "
                                  f"ptr {p_place}, ptr {c_place}, i64 {m}, i64 {n}, i64 {batch}, i64 {mode})")
                        if epilogue is not None:
                            with t.where(t.both(direct, last)):
                                t.put(f"call void @apply(ptr %args, ptr {c_place}, i64 {rows_now.height}, i64 {width}, i64 {m}, i64 {n}, i64 {batch})")
    t.end()


def write_pack_panels(t: Text, shape: Shape) -> None:
    """`@pack_panels(src, k_stride, n_stride, wide, kc, dst, panel_bytes)`: `wide` columns of a block of B, as panels `panel_bytes` apart."""
    t.begin("pack_panels", "ptr %src, i64 %k_stride, i64 %n_stride, i64 %wide, i64 %kc, ptr %dst, i64 %panel_bytes", True)
    line = shape.columns * t.scalar_bytes
    many, single, done = t.new_label(), t.new_label(), t.new_label()
    whole = t.both(t.test("eq", "%n_stride", str(t.in_bytes)),
                   t.test("eq", t.op(f"urem i64 %wide, {shape.columns}"), "0"))
    t.put(f"br i1 {whole}, label %{many}, label %{single}")
    t.label(many)
    # Whole rows at once: long runs of memory, and one look-up of a page for all of them.
    row_bytes = t.mul("%wide", str(t.in_bytes))
    with t.loop("0", "%kc", carry=[("ptr", "%src"), ("ptr", "%dst")]) as loop:
        src, dst = loop.values
        with t.loop("0", row_bytes, str(shape.columns * t.in_bytes), [("ptr", dst)]) as column:
            place = t.at(src, column.index)
            for v in range(shape.vectors):
                value = t.load(t.at(place, str(v * shape.lanes * t.in_bytes)), t.dtype_in)
                t.store(value, t.at(column.values[0], str(v * t.vector_bytes)))
            column.next = [t.at(column.values[0], "%panel_bytes")]
        loop.next = [t.at(src, "%k_stride"), t.at(dst, str(line))]
    t.put(f"br label %{done}")
    t.label(single)
    with t.loop("0", "%wide", str(shape.lanes)) as lane:
        number, inside = t.divide(lane.index, str(shape.columns))
        dst = t.at("%dst", t.add(t.mul(number, "%panel_bytes"), t.mul(inside, str(t.scalar_bytes))))
        t.put(f"call void @pack(ptr {t.at('%src', t.mul(lane.index, '%n_stride'))}, i64 %n_stride, i64 %k_stride, "
              f"i64 {t.sub('%wide', lane.index)}, i64 %kc, ptr {dst}, i64 {line})")
    t.put(f"br label %{done}")
    t.label(done)
    t.end()


class Rows:
    """A panel of `valid` rows by a panel of columns, composed of the micro-kernels that there are, tallest first; the last may have one row less.

    What is written inside the `with` follows every micro-kernel: `index` names its first row, `height` its rows.
    Row r is at a + r * a_row and goes to c + r * c_row; `operands` are the micro-kernel's other arguments, but for the
    `lanes` of the last vector that are stored (all of them). `apart`: the kernels for vectors that are. Where `broad` (i1) holds, those of few rows by more
    columns, of panels `tall` rows high."""

    def __init__(self, t: Text, shape: Shape, valid: str, narrow: str, a: str, a_row: str, c: str, c_row: str,
                 operands: tuple[str, str], apart: bool = False, lanes: str = "", broad: str = "", tall: str = "") -> None:
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
        reached = []
        one, all_vectors = t.new_label(), t.new_label()
        lanes = lanes or str(shape.lanes)
        if broad:
            several, usual = t.new_label(), t.new_label()
            t.put(f"br i1 {broad}, label %{several}, label %{usual}")
            t.label(several)
            for height, many in shape.broad:
                fits, lower = t.new_label(), t.new_label()
                t.put(f"br label %{fits}" if height == shape.broad[-1][0] else f"br i1 {t.test('eq', tall, str(height))}, label %{fits}, label %{lower}")
                t.label(fits)
                t.put(f"call void @tile_{height}_{many}(ptr {a_now}, i64 {left}, {operands[0]}, ptr {c_now}, {operands[1]}, i64 {lanes})")
                reached.append(f"[{height}, %{fits}]")
                t.put(f"br label %{joined}")
                if height != shape.broad[-1][0]:
                    t.label(lower)
            t.label(usual)
        t.put(f"br label %{all_vectors}" if apart else f"br i1 {narrow}, label %{one}, label %{all_vectors}")
        both = (all_vectors, f"{shape.vectors}_apart" if apart else str(shape.vectors), shape.heights)
        for start, vectors, heights in ((both,) if apart else ((one, "1", shape.narrow_heights), both)):
            t.label(start)
            for height in heights:
                fits, lower = t.new_label(), t.new_label()
                t.put(f"br i1 {t.test('sge', left, str(height - 1))}, label %{fits}, label %{lower}" if height > 2 else f"br label %{fits}")
                t.label(fits)
                t.put(f"call void @tile_{height}_{vectors}(ptr {a_now}, i64 {left}, {operands[0]}, ptr {c_now}, {operands[1]}, i64 {lanes})")
                reached.append(f"[{height}, %{fits}]")
                t.put(f"br label %{joined}")
                if height > 2:
                    t.label(lower)
        t.label(joined)
        self.height = t.least(left, t.op(f"phi i64 {', '.join(reached)}"))

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
          epilogue: Epilogue | None, transposed: bool, lanes: bool, tables: bool, turned: bool = False) -> str:
    """The module of the general kernel, of the one whose B is addressed by tables, or of the one that makes C's transpose (`turned`)."""
    t = Text(dtype_in, dtype_out, vector_bytes, half)
    shape = Shape(vector_bytes, registers, t.scalar_bytes)
    write_pack(t)
    write_pack_panels(t, shape)
    (write_copy_group if lanes else write_copy_rows)(t, shape)
    broad = bool(shape.broad) and not tables and not turned  # where B may be read in place
    write_micro_kernels(t, shape, lanes, tables, broad)
    if tables:
        lines = ", ".join(f"i64 {i * shape.columns * t.scalar_bytes}" for i in range(shape.depth))
        t.declared[f"@lines = internal unnamed_addr constant [{shape.depth} x i64] [{lines}], align 64"] = None
        write_pack_windows(t)
    write_finish(t, shape, epilogue, transposed, turned)
    if epilogue is not None and not turned:
        write_apply(t, epilogue, transposed)
    write_pack_phase(t, name, shape)
    write_tile_phase(t, name, shape, None if turned else epilogue, lanes, tables, broad)
    return t.module()

"""Products with at most eight rows, or twelve: the large matrix B is read once, at the speed of memory.

Two kernels, for the two ways B can lie in memory: "rows" (elements of a row of B adjacent: rows scaled by x are added
to the sums) and "dots" (elements of a column adjacent: dot products with the rows of x). B is cut in both directions
into blocks of fixed size, one work item each, whose partial sums are added up in a fixed order.

Phases: 0 makes x, the few rows of A, contiguous (no work items when it is read in place), 1 computes partial
sums, 2 adds them and stores C.
"""
from __future__ import annotations

from torsh.codegen.gemm_layout import FINISH_COLUMNS, Epilogue, Place, Stream
from torsh.codegen.gemm_text import Text

#: Columns of B whose dot products are computed together, by the number of rows: enough sums that additions need not wait for one another.
TOGETHER = {1: 8, 2: 4, 4: 4, 6: 3, 8: 3, 10: 2, 12: 2}
#: Rows of B that are added to the sums together, and vectors of columns.
UNROLL = {1: (8, 2), 2: (4, 1), 4: (4, 1), 6: (8, 1), 8: (8, 2)}


def write(name: str, kind: str, rows: int, dtype_in: str, dtype_out: str, vector_bytes: int, half: bool,
          epilogue: Epilogue | None, transposed: bool) -> str:
    """The module of one kernel. `kind` is "rows" or "dots", `rows`, at least those of C, is one that the tables above have."""
    t = Text(dtype_in, dtype_out, vector_bytes, half)
    _write_gather(t, name)
    t.begin(f"{name}_p1", "ptr %args, i64 %begin, i64 %end", False)
    x, b, partial = t.pointer(Stream.X), t.pointer(Stream.B), t.pointer(Stream.PARTIAL)
    batch1, m, n, k, chunk_k, chunk_n, blocks_k, blocks_n, row = (
        t.slot(s) for s in (Stream.BATCH1, Stream.M, Stream.N, Stream.K, Stream.CHUNK_K, Stream.CHUNK_N,
                              Stream.BLOCKS_K, Stream.BLOCKS_N, Stream.ROW))
    x_strides = [t.mul(t.slot(s), str(t.scalar_bytes)) for s in (Stream.X_BATCH0, Stream.X_BATCH1, Stream.X_M)]
    b_strides = [t.mul(t.slot(s), str(t.in_bytes)) for s in (Stream.B_BATCH0, Stream.B_BATCH1, Stream.B_K, Stream.B_N)]
    row_bytes = t.mul(row, str(t.scalar_bytes))
    last_row = t.sub(m, "1")
    with t.loop("%begin", "%end") as item:
        rest, block_n = t.divide(item.index, blocks_n)
        batch, block_k = t.divide(rest, blocks_k)
        b0, b1 = t.divide(batch, batch1)
        n0, k0 = t.mul(block_n, chunk_n), t.mul(block_k, chunk_k)
        wide, deep = t.least(t.sub(n, n0), chunk_n), t.least(t.sub(k, k0), chunk_k)
        x_here = t.at(x, t.dot((b0, x_strides[0]), (b1, x_strides[1]), (k0, str(t.scalar_bytes))))
        xs = [t.at(x_here, t.mul(t.least(str(i), last_row), x_strides[2])) for i in range(rows)]
        b_here = t.at(b, t.dot((b0, b_strides[0]), (b1, b_strides[1]), (k0, b_strides[2]), (n0, b_strides[3])))
        into = t.at(partial, t.add(t.mul(rest, t.mul(row_bytes, str(rows))), t.mul(n0, str(t.scalar_bytes))))
        sums = [t.at(into, t.mul(row_bytes, str(i))) for i in range(rows)]
        if kind == "rows":
            _write_rows(t, xs, b_here, b_strides[2], wide, deep, sums)
        else:
            _write_dots(t, xs, b_here, b_strides[3], wide, deep, sums)
    t.end()
    _write_finish(t, name, rows, epilogue, transposed)
    return t.module()


def _write_gather(t: Text, name: str) -> None:
    """Phase 0: a work item copies one row of A."""
    t.begin(f"{name}_p0", "ptr %args, i64 %begin, i64 %end", False)
    a, x = t.pointer(Stream.A), t.pointer(Stream.X)
    batch1, m, k = (t.slot(s) for s in (Stream.BATCH1, Stream.M, Stream.K))
    a_strides = [t.mul(t.slot(s), str(t.in_bytes)) for s in (Stream.A_BATCH0, Stream.A_BATCH1, Stream.A_M, Stream.A_K)]
    x_strides = [t.mul(t.slot(s), str(t.scalar_bytes)) for s in (Stream.X_BATCH0, Stream.X_BATCH1, Stream.X_M)]
    with t.loop("%begin", "%end") as item:
        batch, row = t.divide(item.index, m)
        b0, b1 = t.divide(batch, batch1)
        src = t.at(a, t.dot((b0, a_strides[0]), (b1, a_strides[1]), (row, a_strides[2])))
        dst = t.at(x, t.dot((b0, x_strides[0]), (b1, x_strides[1]), (row, x_strides[2])))
        whole = t.select(t.test("eq", a_strides[3], str(t.in_bytes)), "i64", t.op(f"and i64 {k}, {-t.lanes}"), "0")
        with t.loop("0", whole, str(t.lanes)) as loop:
            t.store(t.load(t.at(src, t.mul(loop.index, str(t.in_bytes))), t.dtype_in), t.at(dst, t.mul(loop.index, str(t.scalar_bytes))))
        with t.loop(whole, k, carry=[("ptr", t.at(src, t.mul(whole, a_strides[3])))]) as loop:
            value = t.load_scalar(loop.values[0], t.dtype_in)
            t.store_scalar(value, t.at(dst, t.mul(loop.index, str(t.scalar_bytes))))
            loop.next = [t.at(loop.values[0], a_strides[3])]
    t.end()


def _write_rows(t: Text, xs: list[str], b: str, b_k: str, wide: str, deep: str, sums: list[str]) -> None:
    """sums[i][:] = sum over k of xs[i][k] * b[k][:], several k at a time so that sums are seldom loaded and stored."""
    unroll, vectors = UNROLL[len(xs)]
    with t.loop("0", wide, str(t.lanes)) as column:
        for line in sums:
            t.store("zeroinitializer", t.at(line, t.mul(column.index, str(t.scalar_bytes))))
    whole = t.op(f"and i64 {wide}, {-t.lanes}")
    even = t.op(f"and i64 {deep}, {-unroll}")

    several = t.op(f"and i64 {wide}, {-t.lanes * vectors}")

    def sweep(k: str, many: int) -> None:
        at_x = t.mul(k, str(t.scalar_bytes))
        factors = [[t.splat(t.load_scalar(t.at(t.at(line, at_x), str(u * t.scalar_bytes)))) for line in xs]
                   for u in range(many)]
        lines = [t.at(b, t.mul(t.add(k, str(u)) if u else k, b_k)) for u in range(many)]

        def column_step(index: str, mask: str, vectors: int) -> None:
            at_b, at_sum = t.mul(index, str(t.in_bytes)), t.mul(index, str(t.scalar_bytes))
            places = [[t.at(t.at(line, at_sum), str(v * t.vector_bytes)) for v in range(vectors)] for line in sums]
            values = [[t.load(place) for place in row] for row in places]
            for u in range(many):
                here = t.at(lines[u], at_b)
                elements = [t.load(t.at(here, str(v * t.lanes * t.in_bytes)), t.dtype_in, mask) for v in range(vectors)]
                values = [[t.fma(factors[u][i], element, value) for element, value in zip(elements, row, strict=True)] for i, row in enumerate(values)]
            for row, row_places in zip(values, places, strict=True):
                for value, place in zip(row, row_places, strict=True):
                    t.store(value, place)

        with t.loop("0", several, str(t.lanes * vectors)) as column:
            column_step(column.index, "", vectors)
        if vectors > 1:
            with t.loop(several, whole, str(t.lanes)) as column:
                column_step(column.index, "", 1)
        with t.where(t.test("slt", whole, wide)):
            column_step(whole, t.first(t.sub(wide, whole)), 1)

    with t.loop("0", even, str(unroll)) as loop:
        sweep(loop.index, unroll)
    with t.loop(even, deep) as loop:
        sweep(loop.index, 1)


def _write_dots(t: Text, xs: list[str], b: str, b_n: str, wide: str, deep: str, sums: list[str]) -> None:
    """sums[i][n] = dot(xs[i], column n of b), some columns at a time."""
    together = TOGETHER[len(xs)]
    last = t.sub(wide, "1")
    whole = t.op(f"and i64 {deep}, {-t.lanes}")
    with t.loop("0", wide, str(together)) as column:
        lines = [t.at(b, t.mul(t.least(t.add(column.index, str(j)) if j else column.index, last), b_n))
                 for j in range(together)]

        def step(k: str, mask: str, state: list[str]) -> list[str]:
            at_b, at_x = t.mul(k, str(t.in_bytes)), t.mul(k, str(t.scalar_bytes))
            elements = [t.load(t.at(line, at_b), t.dtype_in, mask) for line in lines]
            factors = [t.load(t.at(line, at_x), "", mask) for line in xs]
            return [t.fma(factors[i], elements[j], state[i * together + j])
                    for i in range(len(xs)) for j in range(together)]

        zeros = [(t.vector, "zeroinitializer")] * (len(xs) * together)
        with t.loop("0", whole, str(t.lanes), zeros) as loop:
            loop.next = step(loop.index, "", loop.values)
        # The rest, with masks; a loop of at most one turn.
        with t.loop(whole, deep, str(t.lanes), [(t.vector, value) for value in loop.values]) as tail:
            tail.next = step(tail.index, t.first(t.sub(deep, whole)), tail.values)
        for i, line in enumerate(sums):
            for j in range(together):
                index = t.add(column.index, str(j)) if j else column.index
                with t.where(t.test("slt", index, wide)):
                    t.store_scalar(t.total(tail.values[i * together + j]),
                                   t.at(line, t.mul(index, str(t.scalar_bytes))))


def _write_finish(t: Text, name: str, rows: int, epilogue: Epilogue | None, transposed: bool) -> None:
    """Phase 2: a work item adds the partial sums of `FINISH_COLUMNS` columns of one row and stores them."""
    t.begin(f"{name}_p2", "ptr %args, i64 %begin, i64 %end", False)
    tmp = t.op(f"alloca {t.vector}, align 64")
    c, partial = t.pointer(Stream.C), t.pointer(Stream.PARTIAL)
    batch1, m, n, blocks_k, row = (t.slot(s) for s in (Stream.BATCH1, Stream.M, Stream.N, Stream.BLOCKS_K, Stream.ROW))
    accumulate = t.test("ne", t.slot(Stream.ACCUMULATE_C), "0")
    c_strides = [t.mul(t.slot(s), str(t.out_bytes)) for s in (Stream.C_BATCH0, Stream.C_BATCH1, Stream.C_M, Stream.C_N)]
    unit = t.test("eq", c_strides[3], str(t.out_bytes))
    row_bytes = t.mul(row, str(t.scalar_bytes))
    block_bytes = t.mul(row_bytes, str(rows))
    blocks = t.op(f"udiv i64 {t.add(n, str(FINISH_COLUMNS - 1))}, {FINISH_COLUMNS}")
    with t.loop("%begin", "%end") as item:
        rest, block = t.divide(item.index, blocks)
        batch, mi = t.divide(rest, m)
        b0, b1 = t.divide(batch, batch1)
        n0 = t.mul(block, str(FINISH_COLUMNS))
        n1 = t.least(n, t.add(n0, str(FINISH_COLUMNS)))
        src = t.at(partial, t.add(t.mul(t.mul(batch, blocks_k), block_bytes), t.mul(mi, row_bytes)))
        dst = t.at(c, t.dot((b0, c_strides[0]), (b1, c_strides[1]), (mi, c_strides[2])))
        if epilogue is not None:
            epilogue.begin(t, batch, Stream.EPILOGUE, (Stream.M, Stream.N))
        with t.loop(n0, n1, str(t.lanes)) as column:
            left = t.sub(n1, column.index)
            mask = t.first(left)
            first = t.at(src, t.mul(column.index, str(t.scalar_bytes)))
            with t.loop("0", blocks_k, carry=[(t.vector, "zeroinitializer")]) as loop:
                loop.next = [t.op(f"fadd {t.vector} {loop.values[0]}, "
                                  f"{t.load(t.at(first, t.mul(loop.index, block_bytes)))}")]
            t.store(loop.values[0], tmp)
            count = t.least(left, str(t.lanes))
            place = t.at(dst, t.mul(column.index, c_strides[3]))
            with t.where(accumulate):
                with t.loop("0", count) as lane:
                    old = t.load_scalar(t.at(place, t.mul(lane.index, c_strides[3])), t.dtype_out)
                    here = t.at(tmp, t.mul(lane.index, str(t.scalar_bytes)))
                    t.store_scalar(t.op(f"fadd {t.scalar} {t.load_scalar(here)}, {old}"), here)
            value = t.load(tmp)
            if epilogue is not None:
                value = epilogue.emit(t, value, Place(batch, mi, column.index, mask, Stream.EPILOGUE, transposed))
            direct, indirect, done = t.new_label(), t.new_label(), t.new_label()
            t.put(f"br i1 {unit}, label %{direct}, label %{indirect}")
            t.label(direct)
            t.store(value, place, t.dtype_out, mask)
            t.put(f"br label %{done}")
            t.label(indirect)
            t.store(value, tmp)
            with t.loop("0", count) as lane:
                number = t.load_scalar(t.at(tmp, t.mul(lane.index, str(t.scalar_bytes))))
                t.store_scalar(number, t.at(place, t.mul(lane.index, c_strides[3])), t.dtype_out)
            t.put(f"br label %{done}")
            t.label(done)
    t.end()

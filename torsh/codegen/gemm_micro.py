"""Micro-kernels: a few rows of A times a panel of B, the sums in registers; and the packing of panels.

The loop over k is written so that what comes out of LLVM is what is written here: pointers pass through an empty assembler
statement in each turn, without which LLVM replaces the addresses base + i * stride by a chain of additions that is as
long as the arithmetic; and two turns are one, apart from each other, since otherwise the loads of the second are hoisted and spill.
"""
from __future__ import annotations

from torsh.codegen.gemm_layout import COPIED_PANELS, Shape
from torsh.codegen.gemm_text import Text

#: Rows addressed from one pointer: base + {0..6} * stride need three registers on x86.
_SPAN = 7


def write_pack(t: Text) -> None:
    """`@pack(src, lane_stride, k_stride, valid, kc, dst, dst_stride)`: dst[k][lane] = src[lane][k], strides in bytes.

    One vector of lanes wide. Lanes from `valid` on repeat the last valid one or are zero: they only reach rows or
    columns of C that are never stored."""
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
    following = t.mul("%lane_stride", str(lanes))

    with t.loop("0", even, str(lanes), [("ptr", "%dst")]) as loop:
        offset = t.mul(loop.index, size)
        places = [t.at(source, offset) for source in sources]
        for place in places:  # what is packed next
            prefetch(t, t.at(place, following), False, 3)
        line = loop.values[0]
        for column in columns_of_square(t, places) if t.in_bytes == t.scalar_bytes else t.transpose([t.load(place, t.dtype_in) for place in places]):
            t.store(column, line)
            line = t.at(line, "%dst_stride")
        loop.next = [line]
    squared = t.block
    t.put(f"br label %{general}")

    t.label(general)
    first = t.op(f"phi i64 [0, %{other}], [{even}, %{squared}]")
    line = t.op(f"phi ptr [%dst, %{other}], [{loop.values[0]}, %{squared}]")
    with t.loop(first, "%kc", carry=[("i64", t.mul(first, "%k_stride")), ("ptr", line)]) as loop:
        offset, dst = loop.values
        value = "poison"
        for i, source in enumerate(sources):
            value = t.op(f"insertelement {t.vector} {value}, {t.scalar} {t.load_scalar(t.at(source, offset), t.dtype_in)}, i64 {i}")
        t.store(value, dst)
        loop.next = [t.add(offset, "%k_stride"), t.at(dst, "%dst_stride")]
    t.put(f"br label %{done}")
    t.label(done)
    t.end()


def columns_of_square(t: Text, rows: list[str]) -> list[str]:
    """The columns of the square whose rows are at these addresses.

    Pieces of 16 bytes are put side by side as they are loaded, which on x86 costs no shuffle; what is left to do is within the pieces."""
    width = 16 // t.scalar_bytes
    piece = f"<{width} x {t.scalar}>"
    half, columns = width // 2, []
    low, high = ([base + start + i + side for base in range(0, t.lanes, width) for i in range(half) for side in (0, t.lanes)]
                 for start in (0, half))
    for quarter in range(0, t.lanes, width):
        mixed = []
        for i in range(width):
            parts = [t.op(f"load {piece}, ptr {t.at(rows[r], str(quarter * t.scalar_bytes))}, align {t.scalar_bytes}")
                     for r in range(i, t.lanes, width)]
            wide = width
            while len(parts) > 1:
                order = ", ".join(f"i32 {j}" for j in range(2 * wide))
                kind = f"<{wide} x {t.scalar}>"
                parts = [t.op(f"shufflevector {kind} {low}, {kind} {high}, <{2 * wide} x i32> <{order}>")
                         for low, high in zip(parts[::2], parts[1::2], strict=True)]
                wide *= 2
            mixed += parts
        for _ in range(width.bit_length() - 1):  # interleaving vectors i and i + half transposes within the pieces
            mixed = [t.shuffle(mixed[i], mixed[i + half], order) for i in range(half) for order in (low, high)]
        columns += mixed
    return columns


def write_copy_group(t: Text, shape: Shape) -> None:
    """`@copy_group(src, row_stride, k_stride, valid, kc, dst, height)`: the panels, of `height` rows, of `valid` rows and kc columns of A, at most
    COPIED_PANELS, `shape.group_depth * shape.packed_rows` elements apart. Where rows are adjacent elements they are read as they lie in memory."""
    t.begin("copy_group", "ptr %src, i64 %row_stride, i64 %k_stride, i64 %valid, i64 %kc, ptr %dst, i64 %height", True)
    line = shape.packed_rows * t.scalar_bytes
    panel = shape.group_depth * line
    adjacent = t.test("eq", "%row_stride", str(t.in_bytes))
    # What a vector reads beyond its panel must be there.
    whole = t.both(adjacent, t.test("sge", "%valid", t.add(t.mul("%height", str(COPIED_PANELS - 1)), str(shape.packed_rows))))
    apart = [t.mul("%height", str(i * t.in_bytes)) for i in range(COPIED_PANELS)]
    together, single, done = t.new_label(), t.new_label(), t.new_label()
    t.put(f"br i1 {whole}, label %{together}, label %{single}")
    t.label(together)
    with t.loop("0", "%kc", carry=[("ptr", "%src"), ("ptr", "%dst")]) as loop:
        src, dst = loop.values
        for i in range(COPIED_PANELS):
            for start in range(0, shape.packed_rows, shape.lanes):
                value = t.load(t.at(t.at(src, apart[i]), str(start * t.in_bytes)), t.dtype_in)
                t.store(value, t.at(dst, str(i * panel + start * t.scalar_bytes)))
        loop.next = [t.at(src, "%k_stride"), t.at(dst, str(line))]
    t.put(f"br label %{done}")
    t.label(single)
    with t.loop("0", "%valid", "%height", [("ptr", "%dst")]) as rows:
        left = t.least(t.sub("%valid", rows.index), "%height")
        with t.loop("0", left, str(shape.lanes)) as lane:
            src = t.at("%src", t.mul(t.add(rows.index, lane.index), "%row_stride"))
            t.put(f"call void @pack(ptr {src}, i64 %row_stride, i64 %k_stride, i64 {t.sub(left, lane.index)}, i64 %kc, "
                  f"ptr {t.at(rows.values[0], t.mul(lane.index, str(t.scalar_bytes)))}, i64 {line})")
        rows.next = [t.at(rows.values[0], str(panel))]
    t.put(f"br label %{done}")
    t.label(done)
    t.end()


def write_copy_rows(t: Text, shape: Shape) -> None:
    """`@copy_rows(src, row_stride, valid, kc, dst)`: `valid` rows of kc adjacent elements, `shape.copied_row` elements apart."""
    t.begin("copy_rows", "ptr %src, i64 %row_stride, i64 %valid, i64 %kc, ptr %dst", True)
    whole = t.op(f"and i64 %kc, {-t.lanes}")
    rest = t.sub("%kc", whole)
    mask = t.first(rest)
    with t.loop("0", "%valid", carry=[("ptr", "%src"), ("ptr", "%dst")]) as row:
        src, dst = row.values
        with t.loop("0", whole, str(t.lanes)) as k:
            t.store(t.load(t.at(src, t.mul(k.index, str(t.in_bytes))), t.dtype_in), t.at(dst, t.mul(k.index, str(t.scalar_bytes))))
        with t.where(t.test("ne", rest, "0")):
            t.store(t.load(t.at(src, t.mul(whole, str(t.in_bytes))), t.dtype_in, mask), t.at(dst, t.mul(whole, str(t.scalar_bytes))))
        row.next = [t.at(src, "%row_stride"), t.at(dst, str(shape.copied_row * t.scalar_bytes))]
    t.end()


def _opaque(t: Text, pointer: str) -> str:
    """The same pointer, of which the compiler knows nothing."""
    return t.op(f'call ptr asm sideeffect "", "=r,0"(ptr {pointer})')


def prefetch(t: Text, pointer: str, write: bool, locality: int) -> None:
    t.call("void", "llvm.prefetch.p0", [("ptr", pointer), ("i32", str(int(write))), ("i32", str(locality)), ("i32", "1")])


def masks(t: Text) -> bool:
    """Whether a store under a mask is as quick as any."""
    return t.vector_bytes == 64


def write_micro_kernel(t: Text, lanes: bool, rows: int, vectors: int, pairs: bool, tables: bool = False,
                       apart: bool = False) -> None:
    """`@tile_{rows}_{vectors}(a, left, a_step, b, b_k, kc, p, p_row, add, a_soon, a_soon_k, b_soon, b_soon_k, lanes)`: p = a b, or p += a b where
    `add` is not 0. Where only rows - 1 rows are `left`, the last is neither read nor stored. Of the last vector of columns `lanes` are stored where the
    machine has masks for that (`masks`), else all.

    a is `rows` x kc. With `lanes` its rows are adjacent elements and k are a_step bytes apart, as packed panels have it; otherwise
    k are adjacent and rows a_step bytes apart. b is kc x (`vectors` of lanes) with byte stride b_k; with `tables` b_k is the address of a table of
    where each row is, in bytes from b. Where the two vectors are `apart` (which the name says), b_next after b_k is by how
    many bytes. Each turn of the loop, two k where
    `pairs` and else one, fetches a line from a_soon and b_soon into the second-level cache, which then move on by a_soon_k and b_soon_k bytes.
    All kernels add up in one order."""
    b_next = "i64 %b_next, " if apart else ""
    t.begin(f"tile_{rows}_{vectors}{'_apart' if apart else ''}",
            f"ptr %a, i64 %left, i64 %a_step, ptr %b, {'ptr' if tables else 'i64'} %b_k, {b_next}i64 %kc, ptr %p, i64 %p_row, i64 %add, "
            "ptr %a_soon, i64 %a_soon_k, ptr %b_soon, i64 %b_soon_k, i64 %lanes", True)
    size = t.scalar_bytes
    # The tile of p is far away by the time it is needed: let it come meanwhile.
    line = "%p"
    for i in range(rows):
        for v in range(vectors):
            prefetch(t, t.at(line, str(v * t.vector_bytes)), True, 3)
        line = t.at(line, "%p_row") if i + 1 < rows else line
    if lanes:
        bases, offsets = ["%a"], [str(i * size) for i in range(rows)]
    else:
        offsets = ["0"] + [t.mul("%a_step", str(i)) for i in range(1, min(_SPAN, rows))]
        bases = ["%a"] + [t.at("%a", t.mul("%a_step", str(i))) for i in range(_SPAN, rows, _SPAN)]
    many = len(bases)
    single = t.test("slt", "%left", str(rows))
    # Without the last row the one before it is multiplied twice.
    own = offsets[rows - 1 if lanes else (rows - 1) % _SPAN]
    last_offset = t.select(single, "i64", t.sub(own, str(size) if lanes else "%a_step"), own)
    other = _opaque(t, t.at("%b", "%b_next")) if apart else ""

    def turn(state: list[str], steps: int) -> list[str]:
        pointers, b, sums = [_opaque(t, p) for p in state[:many]], _opaque(t, state[many]), state[many + 3:]
        for soon in state[many + 1:many + 3]:
            prefetch(t, soon, False, 2)
        for u in range(steps):
            if u:
                t.put('call void asm sideeffect "", "~{memory}"()')
            from_b = t.op(f"load i64, ptr {b}, align 8") if tables else ""
            line = t.at("%b", from_b) if tables else b
            panel = [t.load(t.at(other, from_b) if apart and v else t.at(line, str(v * t.vector_bytes))) for v in range(vectors)]
            following = []
            for i in range(rows):
                offset = last_offset if i + 1 == rows else offsets[i if lanes else i % _SPAN]
                place = t.at(pointers[0], offset) if lanes else t.at(t.at(pointers[i // _SPAN], offset), str(u * size))
                value = t.splat(t.load_scalar(place))
                following += [t.fma(value, panel[v], sums[i * vectors + v]) for v in range(vectors)]
            sums, b = following, t.at(b, "8" if tables else "%b_k")
            if lanes:
                pointers = [t.at(pointers[0], "%a_step")]
        if not lanes:
            pointers = [t.at(p, str(steps * size)) for p in pointers]
        return [*pointers, b, t.at(state[many + 1], "%a_soon_k"), t.at(state[many + 2], "%b_soon_k"), *sums]

    kinds = ["ptr"] * (many + 3) + [t.vector] * (rows * vectors)
    state = [*bases, "%b_k" if tables else "%b", "%a_soon", "%b_soon"] + ["zeroinitializer"] * (rows * vectors)
    done = "0"
    if pairs:
        done = t.op("and i64 %kc, -2")
        with t.loop("0", done, "2", list(zip(kinds, state, strict=True))) as loop:
            loop.next = turn(loop.values, 2)
        state = loop.values
    with t.loop(done, "%kc", "1", list(zip(kinds, state, strict=True))) as loop:
        loop.next = turn(loop.values, 1)
    sums = loop.values[many + 3:]
    some = t.first("%lanes") if masks(t) else ""
    plain, adding, end = t.new_label(), t.new_label(), t.new_label()
    t.put(f"br i1 {t.test('eq', '%add', '0')}, label %{plain}, label %{adding}")
    for label in (plain, adding):
        t.label(label)
        row = "%p"
        for i in range(rows):
            if i + 1 == rows:
                full = t.new_label()
                t.put(f"br i1 {single}, label %{end}, label %{full}")
                t.label(full)
            if i:
                row = t.at(row, "%p_row")
            for v in range(vectors):
                place = t.at(row, str(v * t.vector_bytes))
                value, mask = sums[i * vectors + v], some if v + 1 == vectors else ""
                t.store(t.op(f"fadd {t.vector} {t.load(place, '', mask)}, {value}") if label == adding else value, place, "", mask)
        t.put(f"br label %{end}")
    t.label(end)
    t.end()


def write_micro_kernels(t: Text, shape: Shape, lanes: bool, tables: bool = False, broad: bool = False) -> None:
    """All heights, for panels of one vector and of all, and the `broad` ones. Those with many sums do nearly all the work: the others stay short."""
    if broad:
        for height, vectors in shape.broad:
            write_micro_kernel(t, lanes, height, vectors, True, tables)
    for vectors, heights in ((1, shape.narrow_heights), (shape.vectors, shape.heights)):
        for height in heights:
            write_micro_kernel(t, lanes, height, vectors, height >= 8 and vectors == shape.vectors, tables)


def write_apart_kernels(t: Text, shape: Shape) -> None:
    """All heights, for panels of two vectors that are not beside one another."""
    for height in shape.heights:
        write_micro_kernel(t, False, height, shape.vectors, False, True, True)

"""Panels of B packed from the windows of an image: what makes a convolution of a matrix product, without the copy (im2col).

Element (k, n) is at k_offsets[k] + n_offsets[n]: n is a window's place, k a channel and a place in the window. Where the
windows are one element apart, the lanes of a vector lie in one row of the image or in a few: one load of each under a mask.
"""
from __future__ import annotations

from torsh.codegen.gemm_layout import Shape
from torsh.codegen.gemm_text import Text

#: Vectors whose lanes lie in at most this many runs of adjacent elements are put together from loads under masks.
MOST_RUNS = 8


def write_pack_windows(t: Text) -> None:
    """`@pack_windows(b, k_offsets, n_offsets, valid, kc, dst, dst_stride)`: dst[k][lane] = b[k_offsets[k] + n_offsets[lane]].

    One vector of lanes wide; lanes from `valid` on hold anything."""
    t.begin("pack_windows", "ptr %b, ptr %k_offsets, ptr %n_offsets, i64 %valid, i64 %kc, ptr %dst, i64 %dst_stride", True)
    lanes, size = t.lanes, t.in_bytes
    wide, count = f"<{lanes} x i64>", f"i{lanes}"
    starts, masks = t.op(f"alloca [{MOST_RUNS} x i64], align 8"), t.op(f"alloca [{MOST_RUNS} x {count}], align 8")
    last = t.least(t.sub("%valid", "1"), str(lanes - 1))
    offsets = [t.op(f"load i64, ptr {t.at('%n_offsets', t.mul(t.least(str(i), last), '8'))}, align 8") for i in range(lanes)]
    every = "poison"
    for i, offset in enumerate(offsets):
        every = t.op(f"insertelement {wide} {every}, i64 {offset}, i64 {i}")
    used = t.op(f"bitcast {t.mask} {t.first('%valid')} to {count}")
    ramp = "<" + ", ".join(f"i64 {i * size}" for i in range(lanes)) + ">"
    origins = t.op(f"sub {wide} {every}, {ramp}")  # equal for the lanes of a run

    # Each run: where its lane 0 would be, and which lanes it has.
    for i in range(MOST_RUNS):
        t.put(f"store i64 {offsets[0]}, ptr {t.at(starts, str(8 * i))}, align 8")
        t.put(f"store {count} 0, ptr {t.op(f'getelementptr {count}, ptr {masks}, i64 {i}')}, align 1")
    before, head, body, found, spread, done = t.block, *(t.new_label() for _ in range(5))
    t.put(f"br label %{head}")
    t.label(head)
    left, number, fewer, more = (t.name() for _ in range(4))
    t.lines.append(f"  {left} = phi {count} [{used}, %{before}], [{fewer}, %{body}]")
    t.lines.append(f"  {number} = phi i64 [0, %{before}], [{more}, %{body}]")
    some = t.op(f"icmp ne {count} {left}, 0")
    proceed = t.new_label()
    t.put(f"br i1 {some}, label %{proceed}, label %{found}")
    t.label(proceed)
    t.put(f"br i1 {t.test('slt', number, str(MOST_RUNS))}, label %{body}, label %{spread}")
    t.label(body)
    lane = t.call(count, f"llvm.cttz.{count}", [(count, left), ("i1", "true")])
    origin = t.op(f"extractelement {wide} {origins}, {count} {lane}")
    line = t.op(f"insertelement {wide} poison, i64 {origin}, i64 0")
    line = t.op(f"shufflevector {wide} {line}, {wide} poison, <{lanes} x i32> zeroinitializer")
    same = t.op(f"icmp eq {wide} {origins}, {line}")
    mine = t.op(f"and {count} {left}, {t.op(f'bitcast {t.mask} {same} to {count}')}")
    t.put(f"store i64 {origin}, ptr {t.at(starts, t.mul(number, '8'))}, align 8")
    t.put(f"store {count} {mine}, ptr {t.op(f'getelementptr {count}, ptr {masks}, i64 {number}')}, align 1")
    t.lines.append(f"  {fewer} = xor {count} {left}, {mine}")
    t.lines.append(f"  {more} = add i64 {number}, 1")
    t.put(f"br label %{head}")

    def over_k(value: object) -> None:
        with t.loop("0", "%kc", carry=[("ptr", "%dst")]) as loop:
            k = t.op(f"load i64, ptr {t.at('%k_offsets', t.mul(loop.index, '8'))}, align 8")
            t.store(value(t.at("%b", k)), loop.values[0])  # type: ignore[operator]
            loop.next = [t.at(loop.values[0], "%dst_stride")]
        t.put(f"br label %{done}")

    def merged(runs: int) -> None:
        places = [t.op(f"load i64, ptr {t.at(starts, str(8 * i))}, align 8") for i in range(runs)]
        lanes_of = [t.op(f"bitcast {count} {t.op(f'load {count}, ptr {t.op(bits)}, align 1')} to {t.mask}")
                    for bits in (f"getelementptr {count}, ptr {masks}, i64 {i}" for i in range(runs))]
        over_k(lambda line: t.load_merged([(t.at(line, place), mask) for place, mask in zip(places, lanes_of, strict=True)], t.dtype_in))

    t.label(found)
    whole = t.both(t.test("eq", number, "1"), t.op(f"icmp eq {count} {used}, -1"))
    single, several = t.new_label(), t.new_label()
    t.put(f"br i1 {whole}, label %{single}, label %{several}")
    t.label(single)
    over_k(lambda line: t.load(t.at(line, offsets[0]), t.dtype_in))
    t.label(several)
    for runs in (2, 4):
        fits, rest = t.new_label(), t.new_label()
        t.put(f"br i1 {t.test('sle', number, str(runs))}, label %{fits}, label %{rest}")
        t.label(fits)
        merged(runs)
        t.label(rest)
    merged(MOST_RUNS)

    def lane_by_lane(line: str) -> str:
        value = "poison"
        for i, offset in enumerate(offsets):
            value = t.op(f"insertelement {t.vector} {value}, {t.scalar} {t.load_scalar(t.at(line, offset), t.dtype_in)}, i64 {i}")
        return value

    t.label(spread)
    over_k(lane_by_lane)
    t.label(done)
    t.end()


def write_windows_packed(t: Text, shape: Shape, b: str, k_offsets: str, n_offsets: str, wide: str, kc: str, panel: str,
                         panel_bytes: str) -> None:
    """Pack `wide` columns of a block of B, addressed by tables, into panels `panel_bytes` apart."""
    with t.loop("0", wide, str(shape.lanes)) as lane:
        number, inside = t.divide(lane.index, str(shape.columns))
        dst = t.at(panel, t.add(t.mul(number, panel_bytes), t.mul(inside, str(t.scalar_bytes))))
        t.put(f"call void @pack_windows(ptr {b}, ptr {k_offsets}, ptr {t.at(n_offsets, t.mul(lane.index, '8'))}, "
              f"i64 {t.sub(wide, lane.index)}, i64 {kc}, ptr {dst}, i64 {shape.columns * t.scalar_bytes})")

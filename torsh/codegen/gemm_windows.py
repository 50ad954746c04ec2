"""Panels of B packed from the windows of an image: what makes a convolution of a matrix product, without the copy (im2col).

Element (k, n) is at k_offsets[k] + n_offsets[n]: n is a window's place, k a channel and a place in the window. Where the
windows are one element apart, the lanes of a vector lie in a row of the image or in two of them, at the end of one and
the beginning of the next: one or two loads under masks.
"""
from __future__ import annotations

from torsh.codegen.gemm_layout import Shape
from torsh.codegen.gemm_text import Text


def write_pack_windows(t: Text) -> None:
    """`@pack_windows(b, k_offsets, n_offsets, valid, kc, dst, dst_stride)`: dst[k][lane] = b[k_offsets[k] + n_offsets[lane]].

    One vector of lanes wide; lanes from `valid` on hold anything."""
    t.begin("pack_windows", "ptr %b, ptr %k_offsets, ptr %n_offsets, i64 %valid, i64 %kc, ptr %dst, i64 %dst_stride", True)
    lanes, size = t.lanes, t.in_bytes
    wide = f"<{lanes} x i64>"
    last = t.least(t.sub("%valid", "1"), str(lanes - 1))
    offsets = [t.op(f"load i64, ptr {t.at('%n_offsets', t.mul(t.least(str(i), last), '8'))}, align 8") for i in range(lanes)]
    every = "poison"
    for i, offset in enumerate(offsets):
        every = t.op(f"insertelement {wide} {every}, i64 {offset}, i64 {i}")
    used = t.first("%valid")

    def run(anchor: str, lane: str) -> tuple[str, str]:
        """The address of lane 0 of the run of adjacent elements that a lane belongs to, and the lanes of that run."""
        start = t.sub(anchor, t.mul(lane, str(size)))
        line = t.op(f"insertelement {wide} poison, i64 {start}, i64 0")
        line = t.op(f"shufflevector {wide} {line}, {wide} poison, <{lanes} x i32> zeroinitializer")
        ramp = "<" + ", ".join(f"i64 {i * size}" for i in range(lanes)) + ">"
        same = t.op(f"icmp eq {wide} {every}, {t.op(f'add {wide} {line}, {ramp}')}")
        return start, t.op(f"and {t.mask} {same}, {used}")

    begin, low = run(offsets[0], "0")
    end, high = run(t.op(f"load i64, ptr {t.at('%n_offsets', t.mul(last, '8'))}, align 8"), last)
    both = t.op(f"or {t.mask} {low}, {high}")
    missing = t.op(f"xor {t.mask} {both}, {used}")
    count = f"i{lanes}"
    general = t.op(f"icmp ne {count} {t.op(f'bitcast {t.mask} {missing} to {count}')}, 0")
    one = t.op(f"icmp eq {count} {t.op(f'bitcast {t.mask} {low} to {count}')}, -1")
    split, single, double, spread, done = (t.new_label() for _ in range(5))
    t.put(f"br i1 {one}, label %{single}, label %{split}")
    t.label(split)
    t.put(f"br i1 {general}, label %{spread}, label %{double}")

    def over_k(value: object) -> None:
        with t.loop("0", "%kc", carry=[("ptr", "%dst")]) as loop:
            k = t.op(f"load i64, ptr {t.at('%k_offsets', t.mul(loop.index, '8'))}, align 8")
            t.store(value(t.at("%b", k)), loop.values[0])  # type: ignore[operator]
            loop.next = [t.at(loop.values[0], "%dst_stride")]
        t.put(f"br label %{done}")

    def lane_by_lane(line: str) -> str:
        value = "poison"
        for i, offset in enumerate(offsets):
            value = t.op(f"insertelement {t.vector} {value}, {t.scalar} {t.load_scalar(t.at(line, offset), t.dtype_in)}, i64 {i}")
        return value

    t.label(single)
    over_k(lambda line: t.load(t.at(line, begin), t.dtype_in))
    t.label(double)
    over_k(lambda line: t.op(f"select {t.mask} {low}, {t.vector} {t.load(t.at(line, begin), t.dtype_in, low)}, "
                             f"{t.vector} {t.load(t.at(line, end), t.dtype_in, high)}"))
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

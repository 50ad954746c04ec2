"""Convolutions by bands of rows of the results: which kernel, its work items, argument table and offset tables.

A work item copies the rows of the image that its band of results sees into memory that stays in the second-level cache, with zeros around them and sorted by
their remainders by the stride. There, windows next to each other are adjacent elements, also from one row of results to the next: element k of all windows of
the band is one run of memory, and the band is one matrix product whose second operand needs no packing. Between two rows of results it has a few columns
too many. Where whole vectors fill a row of results, vectors begin with the rows, and sums are stored in place; otherwise those columns are multiplied as
well, and left out when the results are copied into place.
"""
from __future__ import annotations

import numpy as np

from torsh.codegen import cost
from torsh.codegen.gemm import GemmPlan
from torsh.codegen.gemm_layout import Epilogue, Shape

#: Columns of a band's product, at most: a panel's sums are to stay in the first-level cache.
MOST_COLUMNS = 512
#: Bytes of a band, at most where there is a choice.
_BAND_BYTES = 768 << 10
#: Bands that are in work at a time: each has memory of its own.
_AT_ONCE = 32


class Bands:
    """The argument slots. Strides and steps are in bytes."""
    (A, X, Y, BAND, BUSY, K_OFFSETS, ROWS, COLUMNS, M, N, K, C, GROUPS, H, OUT_H, OUT_W, ROW_COUNT, COLUMN_COUNT, PITCH, HIGH, WIDE, BANDS, SEGMENTS,
     BLOCKS_M, TILE_K, COPY_A, A_GROUP, A_ROW, A_K, X_IMAGE, X_CHANNEL, X_ROW, X_STEP, ROW_STEP, TOP, CHANNEL, BAND_BYTES, SLOTS, DENSE, UNIT) = range(40)
    #: The first slot of the epilogue.
    EPILOGUE = 40


class Geometry:
    """Where the elements of a band are: by dimension (rows, columns) the remainders that windows meet and how many windows further the last element is.

    >>> g = Geometry((7, 7), (2, 2), (1, 1))
    >>> g.phases, g.reach
    (((0, 1), (0, 1)), (3, 3))
    """
    __slots__ = ("kernel", "stride", "dilation", "phases", "reach")

    def __init__(self, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]) -> None:
        self.kernel, self.stride, self.dilation = kernel, stride, dilation
        rows, columns = (tuple(sorted({i * d % s for i in range(e)})) for e, s, d in zip(kernel, stride, dilation, strict=True))
        self.phases = rows, columns
        self.reach = (kernel[0] - 1) * dilation[0] // stride[0], (kernel[1] - 1) * dilation[1] // stride[1]

    def plane(self, high: int, wide: int) -> int:
        """The elements of the rows and columns with one remainder each, for `high` x `wide` results."""
        return (high + self.reach[0]) * (wide + self.reach[1])

    def channel(self, high: int, wide: int, size: int, vector_bytes: int) -> tuple[int, int]:
        """The bytes from one plane and from one channel to the next: what a vector stores beyond the end of a plane is nobody's. Channels are an odd number of
        lines apart, so that they lie in different sets of the first-level cache."""
        plane = self.plane(high, wide) * size + vector_bytes
        lines = -(-len(self.phases[0]) * len(self.phases[1]) * plane // 64)
        return plane, 64 * (lines + 1 - lines % 2)


def cut(geometry: Geometry, batches: int, c: int, o: int, out: tuple[int, int], shape: Shape, threads: int) -> tuple[float, int, int, int]:
    """(microseconds, rows and columns of a band, parts of the outputs), the quickest that `cost` predicts."""
    size = shape.scalar_bytes
    terms = c * geometry.kernel[0] * geometry.kernel[1]
    panels = cost.cdiv(o, shape.rows)
    wide = min(out[1], MOST_COLUMNS)
    pitch = wide + geometry.reach[1]
    dense = _dense(geometry, wide, shape.lanes)
    most = 1 + max(0, MOST_COLUMNS - wide) // (wide if dense else pitch) if wide == out[1] else 1
    found = []
    for high in sorted({cost.cdiv(out[0], parts) for parts in range(1, out[0] + 1)}):
        band = c * geometry.channel(high, wide, size, shape.lanes * size)[1]
        if high > 1 and (high > most or band > _BAND_BYTES):
            break
        bands = cost.cdiv(out[0], high) * cost.cdiv(out[1], wide)
        for blocks in sorted({b for b in (1, 2, threads, 2 * threads, 4 * threads) if b <= panels}):
            columns = (high - 1) * (wide if dense else pitch) + wide
            cycles = cost.band(terms, min(o, cost.cdiv(panels, blocks) * shape.rows), columns, band // size, dense or high == 1, o * terms * size, shape)
            found.append((cycles * cost.cdiv(batches * bands * blocks, threads) / cost.CYCLES, blocks, -high))
    least, blocks, high = min(found)
    return least, -high, wide, blocks


def _dense(geometry: Geometry, wide: int, lanes: int) -> bool:
    """Whether vectors of the columns of a band are vectors of a row of results: whole ones fill the rows, or there is nothing between two rows."""
    return wide % lanes == 0 or geometry.reach[1] == 0


def plan(dtype: str, n: int, groups: int, c: int, o: int, size: tuple[int, int], geometry: Geometry, before: tuple[int, int], out: tuple[int, int],
         a_strides: tuple[int, int, int], x_strides: tuple[int, int, int, int], turned: bool = False, *, vector_bytes: int = 64, registers: int | None = None,
         threads: int = 2, epilogue: Epilogue | None = None) -> tuple[GemmPlan, dict[str, np.ndarray]]:
    """x [n, groups * c, *size] ("B"; strides in elements) convolved with weights "A" [groups, o, c * elements of a window] (strides of group, row and
    element) to y [n, groups * o, *out] ("C", contiguous), and the tables for the slots "k_offsets", "rows" and "columns".

    `before` are the zeros before the first row and column. A row of weights has the elements of a channel beside one another; where `turned`, the channels of
    an element, the last element of a window first. dtype is float32 or float64."""
    item = {"float32": 4, "float64": 8}[dtype]
    registers = registers or (32 if vector_bytes == 64 else 16)
    shape = Shape(vector_bytes, registers, item)
    batches = n * groups
    terms = c * geometry.kernel[0] * geometry.kernel[1]
    _, high, wide, blocks = cut(geometry, batches, c, o, out, shape, threads)
    pitch = wide + geometry.reach[1]
    plane, channel = geometry.channel(high, wide, item, vector_bytes)
    band = c * channel + shape.columns * item  # which a last tile may read past the end
    band += -band % 64
    dense = high == 1 or _dense(geometry, wide, shape.lanes)
    bands, segments = cost.cdiv(out[0], high), cost.cdiv(out[1], wide)
    count = batches * bands * segments * blocks
    slots = min(count, _AT_ONCE)
    blocks_k = cost.cdiv(terms, shape.depth)
    tile_k = cost.cdiv(cost.cdiv(terms, blocks_k), shape.lanes) * shape.lanes
    key = f"bands{shape.rows}_{dtype}_{vector_bytes}{'' if epilogue is None else '_' + epilogue.key}"

    def text() -> str:
        from torsh.codegen import bands_text
        return bands_text.write(key, dtype, vector_bytes, registers, epilogue)

    row_phases, column_phases = geometry.phases
    step = geometry.stride[1] * x_strides[3] * item
    found = GemmPlan(key, text, [1, count], [False, cost.worth_sharing(batches, o, out[0] * out[1], terms)], {"band": slots * band, "busy": 8},
                     ["A", "B", "C", "band", "busy", "k_offsets", "rows", "columns", o, out[0] * out[1], terms, c, groups, size[0], *out,
                      len(row_phases) * (high + geometry.reach[0]), len(column_phases), pitch, high, wide, bands, segments, blocks, tile_k,
                      int(a_strides[2] != 1 or (a_strides[1] * item % 4096 == 0 and o > 1)), *[s * item for s in a_strides],
                      *[s * item for s in x_strides[:3]], step, high * geometry.stride[0], before[0], channel, band, slots,
                      int(dense), wide if dense and geometry.reach[1] else 1 << 40,
                      *[f"epilogue{i}" for i in range(0 if epilogue is None else epilogue.slots)]])
    return found, offset_tables(geometry, c, size[1], before[1], wide, segments, high, plane, channel, x_strides[3], item, turned)


def offset_tables(geometry: Geometry, c: int, w: int, before: int, wide: int, segments: int, high: int, plane: int, channel: int, x_column: int, item: int,
            turned: bool) -> dict[str, np.ndarray]:
    """Bytes from the band's beginning of each k; of each row of a channel (the row of the image from the band's first one on, its place); of each remainder
    of columns, by segment (where the first element that is in the image is from its row's beginning, the columns before and at the end of those, its place)."""
    (row_phases, column_phases), (kernel_h, kernel_w) = geometry.phases, geometry.kernel
    pitch, across = wide + geometry.reach[1], len(column_phases)

    def along(axis: int, kernel: int, phases: tuple[int, ...], plane_step: int, window: int) -> np.ndarray:
        at = [i * geometry.dilation[axis] for i in range(kernel)]
        return np.array([phases.index(p % geometry.stride[axis]) * plane_step + p // geometry.stride[axis] * window for p in at], np.int64)
    of_rows = along(0, kernel_h, row_phases, across * plane, pitch * item)
    of_columns = along(1, kernel_w, column_phases, plane, item)
    of_channels = np.arange(c, dtype=np.int64) * channel
    inside = (of_rows[:, None] + of_columns).reshape(-1)
    k = inside[::-1, None] + of_channels if turned else of_channels[:, None] + inside
    rows = [(i * geometry.stride[0] + phase, number * across * plane + i * pitch * item)
            for number, phase in enumerate(row_phases) for i in range(high + geometry.reach[0])]
    columns = []
    step = geometry.stride[1]
    for segment in range(segments):
        for number, phase in enumerate(column_phases):
            first = segment * wide * step + phase - before  # the column of the image
            low = min(pitch, max(0, -(first // step)))
            end = max(low, min(pitch, (w - 1 - first) // step + 1))
            columns.append(((first + low * step) * x_column * item, low, end, number * plane))
    return {"k_offsets": np.ascontiguousarray(k.reshape(-1)), "rows": np.array(rows, np.int64), "columns": np.array(columns, np.int64)}


__all__ = ["MOST_COLUMNS", "Bands", "Geometry", "cut", "plan"]

"""Convolutions with few outputs in a group, as depthwise ones: plans of kernels that bring rows in as bands do, and multiply on the lanes alone.

A channel's rows, with zeros around them and sorted by their remainders by the stride (`codegen.bands`), fit the first-level cache. There, element k of all
windows of a band is one run of memory, so a vector of results takes a load and a multiplication for each k.
"""
from __future__ import annotations

import numpy as np

from torsh.codegen import cost
from torsh.codegen.bands import Geometry, offset_tables
from torsh.codegen.gemm import GemmPlan
from torsh.codegen.gemm_layout import Epilogue

#: Outputs of a group, at most: more of them are worth a product's tiles, which use what was loaded several times.
MOST_OUTPUTS = 3
#: Bytes of the rows of a band, and columns.
BAND_BYTES, MOST_COLUMNS = 40 << 10, 4096
#: Columns of a row at once.
_WIDE = 2048
#: Cycles of a work item, about: enough to be worth the call, few enough to share.
_ITEM = 100_000


class Thin:
    """The argument slots. Strides and steps are in bytes."""
    (A, X, Y, K_OFFSETS, ROWS, COLUMNS, M, N, K, C, GROUPS, H, OUT_H, OUT_W, ROW_COUNT, COLUMN_COUNT, PITCH, HIGH, WIDE, BANDS, SEGMENTS, UNITS, GROUP,
     A_GROUP, A_ROW, A_K, X_IMAGE, X_CHANNEL, X_ROW, X_STEP, ROW_STEP, TOP, CHANNEL, NEXT, AHEAD, SPREAD_ROWS, SPREAD_COLUMNS) = range(37)
    #: The first slot of the epilogue.
    EPILOGUE = 37


def cut(geometry: Geometry, batches: int, c: int, o: int, out: tuple[int, int], vector_bytes: int, size: int) -> tuple[float, int, int] | None:
    """(cycles of all bands, rows and columns of a band), or None where a band of one row is too large or there are too many outputs."""
    wide = min(out[1], _WIDE)
    pitch = wide + geometry.reach[1]

    def band(high: int) -> int:
        return c * geometry.channel(high, wide, size, vector_bytes)[1]
    most = 1 if wide < out[1] else max(1, (MOST_COLUMNS - wide) // pitch + 1)
    most = next((high for high in range(min(out[0], most), 0, -1) if band(high) <= BAND_BYTES), 0)
    if not most or o > MOST_OUTPUTS:
        return None
    bands = cost.cdiv(out[0], most)
    high = cost.cdiv(out[0], bands)
    vectors = cost.cdiv((high - 1) * pitch + wide, vector_bytes // size)
    cycles = cost.thin(c * geometry.kernel[0] * geometry.kernel[1], o, vectors, band(high) // vector_bytes, c * (high + geometry.reach[0]) + high)
    return cycles * batches * bands * cost.cdiv(out[1], wide), high, wide


def plan(dtype: str, n: int, groups: int, c: int, o: int, size: tuple[int, int], geometry: Geometry, before: tuple[int, int], out: tuple[int, int],
         a_strides: tuple[int, int, int], x_strides: tuple[int, int, int, int], turned: bool = False, *, vector_bytes: int = 64,
         registers: int | None = None, threads: int = 2, epilogue: Epilogue | None = None,
         spread: tuple[int, int] = (1, 1)) -> tuple[GemmPlan, dict[str, np.ndarray]]:
    """As `bands.plan`, where `cut` finds a band; the rows and columns of x are `spread`, with zeros between them, for which the stride is 1. Raises ValueError
    for another one, and where there is no band."""
    if spread != (1, 1) and geometry.stride != (1, 1):
        raise ValueError(f"thin: images are spread for a stride of 1, not {geometry.stride}")
    item = {"float32": 4, "float64": 8}[dtype]
    most = 16 if (registers or (32 if vector_bytes == 64 else 16)) == 32 else 8
    found = cut(geometry, n * groups, c, o, out, vector_bytes, item)
    if found is None:
        raise ValueError(f"thin: no band of results of {out} with {o} outputs and {c} channels in a group")
    cycles, high, wide = found
    key = f"thin{most}{'_spread' if spread != (1, 1) else ''}_{dtype}_{vector_bytes}{'' if epilogue is None else '_' + epilogue.key}"

    def text() -> str:
        from torsh.codegen import thin_text
        return thin_text.write(key, dtype, vector_bytes, most, epilogue, spread != (1, 1))
    plane, channel = geometry.channel(high, wide, item, vector_bytes)
    bands, segments = cost.cdiv(out[0], high), cost.cdiv(out[1], wide)
    units = n * groups * bands * segments
    group = max(1, min(cost.cdiv(units, 4 * threads), int(_ITEM * units / cycles)))
    # What comes next is fetched meanwhile: so many bytes from here, and so many of it with each vector of results.
    step = (c * x_strides[1] if bands == 1 else high * geometry.stride[0] // spread[0] * x_strides[2]) * item
    vectors = cost.cdiv((high - 1) * (wide + geometry.reach[1]) + wide, vector_bytes // item)
    slots = ["A", "B", "C", "k_offsets", "rows", "columns", o, out[0] * out[1], c * geometry.kernel[0] * geometry.kernel[1], c, groups, size[0], *out,
             len(geometry.phases[0]) * (high + geometry.reach[0]), len(geometry.phases[1]), wide + geometry.reach[1], high, wide, bands, segments, units, group,
             *[s * item for s in a_strides], *[s * item for s in x_strides[:3]], geometry.stride[1] * x_strides[3] * item, high * geometry.stride[0], before[0],
             channel, step, cost.cdiv(step, vectors), *spread, *[f"epilogue{i}" for i in range(0 if epilogue is None else epilogue.slots)]]
    made = GemmPlan(key, text, [cost.cdiv(units, group)], [cycles > 2 * cost.FORK * cost.CYCLES], {}, slots)  # type: ignore[arg-type]
    tables = offset_tables(geometry, c, size[1], before[1], wide, segments, high, plane, channel, x_strides[3], item, turned)
    if spread != (1, 1):
        tables["columns"] = np.array([_apart(size[1], segment * wide - before[1], wide + geometry.reach[1], spread[1], x_strides[3] * item)
                                      for segment in range(segments)], np.int64)
    return made, tables


def _apart(w: int, first: int, pitch: int, spread: int, step: int) -> tuple[int, int, int, int]:
    """Of a row of w elements `spread` apart, `step` bytes from one to the next, in `pitch` columns from `first` on: where the first one is from the row's
    beginning, its column, how many there are, and 0 for the place of the only plane."""
    start = max(0, -(-first // spread))
    low = start * spread - first
    return start * step, low, max(0, min(w - start, (pitch - low + spread - 1) // spread)), 0


class Weight:
    """The argument slots of the gradient of weights; strides and steps in bytes. Those that `Thin` has too are where they are there."""
    X, Y, OUT = 1, 2, 0
    MASKS = Thin.EPILOGUE
    IMAGES, TAPS, Y_IMAGE, Y_CHANNEL, Y_ROW, Y_STEP, VECTORS = range(MASKS + 1, MASKS + 8)


#: Elements of a window whose sums are in registers at a time, and all that there may be.
MOST_TAPS, MOST_TERMS = 8, 128


def weight_plan(dtype: str, n: int, groups: int, c: int, o: int, size: tuple[int, int], geometry: Geometry, before: tuple[int, int], out: tuple[int, int],
                x_strides: tuple[int, int, int, int], y_strides: tuple[int, int, int, int], *, vector_bytes: int = 64,
                threads: int = 2) -> tuple[GemmPlan, dict[str, np.ndarray]]:
    """The gradient "C" [groups, o, c * elements of a window], contiguous, of the weights of `plan`'s convolution of x ("B") for the gradient "A"
    [n, groups * o, *out] of its results, and the tables for the slots "k_offsets", "rows", "columns" and "masks". A work item takes some of the groups.
    Raises ValueError where `cut` finds no band as wide as the results, and for larger windows than MOST_TERMS."""
    item = {"float32": 4, "float64": 8}[dtype]
    found = cut(geometry, n * groups, c, o, out, vector_bytes, item)
    terms = c * geometry.kernel[0] * geometry.kernel[1]
    if found is None or found[2] < out[1] or terms > MOST_TERMS:
        raise ValueError(f"thin: no band of whole rows of results of {out} with {o} outputs and {c} channels in a group")
    cycles, high, wide = found
    lanes, pitch = vector_bytes // item, wide + geometry.reach[1]
    blocks = cost.cdiv(terms, MOST_TAPS)
    taps = cost.cdiv(terms, blocks)
    few = taps - (terms % blocks != 0)  # the last blocks have one less
    key = f"thin_weight{few}_{taps}_{dtype}_{vector_bytes}"

    def text() -> str:
        from torsh.codegen import thin_text
        return thin_text.write_weight(key, dtype, vector_bytes, few, taps)
    plane, channel = geometry.channel(high, wide, item, vector_bytes)
    bands = cost.cdiv(out[0], high)
    vectors = cost.cdiv((high - 1) * pitch + wide, lanes)
    group = max(1, min(cost.cdiv(groups, 4 * threads), int(_ITEM * groups / cycles)))
    step = high * geometry.stride[0]
    slots = ["C", "B", "A", "k_offsets", "rows", "columns", o, out[0] * out[1], terms, c, groups, size[0], *out,
             len(geometry.phases[0]) * (high + geometry.reach[0]), len(geometry.phases[1]), pitch, high, wide, bands, 1, groups, group, 0, 0, 0,
             *[s * item for s in x_strides[:3]], geometry.stride[1] * x_strides[3] * item, step, before[0], channel,
             x_strides[0] * item if bands == 1 else step * x_strides[2] * item, cost.cdiv(size[0] * size[1] * c * item, bands * vectors), 1, 1,
             "masks", n, blocks, *[s * item for s in y_strides], vectors]
    made = GemmPlan(key, text, [cost.cdiv(groups, group)], [cycles > 2 * cost.FORK * cost.CYCLES], {}, slots)  # type: ignore[arg-type]
    tables = offset_tables(geometry, c, size[1], before[1], wide, 1, high, plane, channel, x_strides[3], item, False)
    weights = [1 << lane for lane in range(lanes)]
    masks = []
    for rows in (high, out[0] - (bands - 1) * high):  # of all bands but the last one, and of that
        at = np.arange(vectors * lanes)
        seen = (at % pitch < wide) & (at < rows * pitch)
        masks.append((seen.reshape(-1, lanes) @ np.array(weights)).astype(np.uint8 if lanes <= 8 else np.uint16))
    return made, {**tables, "masks": np.ascontiguousarray(np.stack(masks))}

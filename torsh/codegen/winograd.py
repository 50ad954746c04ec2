"""Winograd's convolution: which kernels, their work items and argument tables.

Tiles of 2 x 2 or 4 x 4 results are cut into blocks. With many of them a work item carries one block through all three steps, so that what lies between them
stays in the cache; with few each step is a phase of its own, whose items share the channels and the points.
"""
from __future__ import annotations

import numpy as np

from torsh.codegen.chain import SLOTS, Step, key_of
from torsh.codegen.gemm import GemmPlan
from torsh.codegen.gemm_layout import Shape

_MANY_BLOCKS = 8
#: Bytes that a block's transformed images and products may take: they are to stay in the second-level cache.
_BLOCK_BYTES = 1_250_000
#: Blocks that are in work at a time: each has memory of its own.
_AT_ONCE = 32
#: Channels of a work item of a step of its own.
CHANNELS = 16


class Weights:
    """The argument slots of the weights' kernel; strides in bytes."""
    W, U, ROWS, COLUMNS, W_ROW, W_COLUMN, W_I, W_J = range(8)


class Images:
    """The argument slots of the images' kernel; strides in bytes, tables as `tables` makes them."""
    (U, X, Y, V, M, BUSY, IN, IN_MASKS, OUT, OUT_MASKS, TILES, BLOCK, C, O, X_CHANNEL, X_ROW, X_COLUMN, Y_CHANNEL, Y_ROW, V_POINT, M_POINT, V_BLOCK,
     M_BLOCK, SLOTS, U_POINT, U_ROW) = range(26)
    #: The first slot of the steps that follow (`codegen.chain`).
    STEPS = 26


def weights_plan(tile: int, o: int, c: int, strides: tuple[int, ...], vector_bytes: int) -> GemmPlan:
    """From w [o, c, 3, 3] (strides in elements; "A") to u [p * p, o, c] ("C"), float32."""
    key = f"winograd_weights{tile}_{vector_bytes}"

    def text() -> str:
        from torsh.codegen import winograd_text
        return winograd_text.write_weights(key, tile, vector_bytes)
    return GemmPlan(key, text, [o], [o * c > 4096], {}, ["A", "C", o, c, *[4 * s for s in strides]])


def images_plan(tile: int, n: int, c: int, o: int, out: tuple[int, int], u_strides: tuple[int, ...], x_strides: tuple[int, ...], vector_bytes: int,
                registers: int | None = None, steps: tuple[Step, ...] = ()) -> GemmPlan:
    """u [p * p, o, c] ("A"), x [n, c, h, w] ("B"; strides in elements) to y [n, o, *out] ("C", contiguous), float32. The tables' slots are "in",
    "in_masks", "out" and "out_masks". `steps` are done on the results (`codegen.chain`; the slots are "epilogue1" and so on)."""
    if u_strides[2] != 1 and c > 1:
        raise ValueError(f"winograd: the channels of transformed weights must be adjacent, got strides {u_strides}")
    registers = registers or (32 if vector_bytes == 64 else 16)
    shape = Shape(vector_bytes, registers, 4)
    tiles = n * -(-out[0] // tile) * -(-out[1] // tile)
    unit, points = shape.columns, (tile + 2) ** 2
    fits = max(1, _BLOCK_BYTES // (points * (c + o) * unit * 4))
    block = unit * min(fits, 4, max(1, tiles // (_MANY_BLOCKS * unit)))
    blocks = -(-tiles // block)
    fused = blocks >= _MANY_BLOCKS
    if not fused:
        block = min(8, -(-tiles // unit)) * unit
        blocks = -(-tiles // block)
    slots = min(blocks, _AT_ONCE) if fused else blocks
    # An odd number of lines from one point to the next: otherwise all points would fall into one set of the first-level cache.
    v_point, m_point = (4 * block * channels + 64 + 64 * (4 * block * channels // 64 % 2) for channels in (c, o))
    v_block, m_block = v_point * points, m_point * points
    key = f"winograd{tile}_{shape.rows}_{vector_bytes}{'_' if steps else ''}{key_of(steps)}"

    def text() -> str:
        from torsh.codegen import winograd_text
        return winograd_text.write_images(key, tile, vector_bytes, registers, steps)
    vectors = block // shape.lanes
    several = 2 * points * c * o * tiles > 2_000_000
    items = [1, blocks, 0, 0, 0] if fused else [0, 0, blocks * vectors * -(-c // CHANNELS), blocks * points, blocks * vectors * -(-o // CHANNELS)]
    y_channel = out[0] * out[1]
    return GemmPlan(key, text, items, [False, *[several] * 4], {"V": slots * v_block, "M": slots * m_block, "busy": 8},
                    ["A", "B", "C", "V", "M", "busy", "in", "in_masks", "out", "out_masks", tiles, block, c, o, *[4 * s for s in x_strides[1:]],
                     4 * y_channel, 4 * out[1], v_point, m_point, v_block, m_block, slots, 4 * u_strides[0], 4 * u_strides[1],
                     *[f"epilogue{i}" for i in range(1, 1 + sum(SLOTS[kind] for _, kind in steps))]])


def tables(tile: int, n: int, size: tuple[int, int], before: tuple[int, int], out: tuple[int, int], x_strides: tuple[int, ...], o: int,
           lanes: int) -> dict[str, np.ndarray]:
    """By tile, padded to whole vectors: where its first element and result are (in elements, int32), and by vector and position in the tile, rows before
    columns, the lanes that have an element or result there (bit masks of `lanes`, at least 8)."""
    high, wide = (-(-m // tile) for m in out)
    count = n * high * wide
    room = -(-count // lanes) * lanes
    image, y, x = (m.reshape(-1) for m in np.meshgrid(np.arange(n), np.arange(high) * tile, np.arange(wide) * tile, indexing="ij"))

    def padded(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values, np.zeros(room - count, values.dtype)])

    def masks(starts: tuple[np.ndarray, np.ndarray], extent: int, limits: tuple[int, int]) -> np.ndarray:
        seen = np.stack([padded((s + i >= 0) & (s + i < m)) for s, m in zip(starts, limits, strict=True) for i in range(extent)])
        bits = (seen.reshape(2 * extent, -1, lanes).astype(np.uint32) << np.arange(lanes, dtype=np.uint32)).sum(2)
        return np.ascontiguousarray(bits.T.astype(np.uint8 if lanes <= 8 else np.uint16))

    top, left = y - before[0], x - before[1]
    return {"in": padded(image * x_strides[0] + top * x_strides[2] + left * x_strides[3]).astype(np.int32),
            "in_masks": masks((top, left), tile + 2, size),
            "out": padded(image * o * out[0] * out[1] + y * out[1] + x).astype(np.int32),
            "out_masks": masks((y, x), tile, out)}

"""What contractions take, predicted: the one place that compares ways to compute the same thing.

The model counts cycles of one core of a processor with vectors of 64 bytes and two multiply-add units (a Sapphire Rapids Xeon at 3 GHz, on which the
constants were measured, once, each by a loop that does nothing else; narrower vectors count more of them) and, for a matrix read once, bytes that come from
memory. What matters is which way is quicker, not by how much: constants that all ways share need not be right. Where the model is wrong,
TORSH_TUNE=1 measures (`compiler.choice`).
"""
from __future__ import annotations

from collections.abc import Sequence

from torsh.codegen.gemm_layout import NEAR_BYTES, Shape

#: Cycles a microsecond, and bytes that come from memory in a cycle to one core (28 GB/s).
CYCLES, MEMORY_BYTES = 3000.0, 9.3
#: Microseconds to wake the other threads and wait for the last: what a shared launch costs more than one on the calling thread.
FORK = 5.0
#: Panels of columns of a work item, at most: of one block of K they take 512 KB.
MOST_WIDE = 16
#: Products on tile registers or of bytes from which several threads share them: one takes a sixteenth of a float's.
SHARED_PRODUCTS = 8_000_000
#: Bytes that stay in a core's second-level cache beside what streams by.
NEAR = 1 << 20


def cdiv(a: int, b: int) -> int:
    """a / b, rounded up."""
    return -(-a // b)


def worth_sharing(batches: int, m: int, n: int, k: int) -> bool:
    """Whether two threads finish a product earlier than one: its half is worth a fork (at 200 multiplications and additions a nanosecond)."""
    return 2 * batches * m * n * k > 2 * FORK * 200_000


def finer(blocks: tuple[int, int], panels: int, columns: int, batches: int, products: int, threads: int) -> tuple[int, int]:
    """A cut into blocks of rows and of columns made finer until there are a few work items for each thread, or they become small: for the
    instructions of tile registers and of bytes, which multiply many at a time."""
    blocks_m, blocks_n = blocks
    while batches * blocks_m * blocks_n < 4 * threads and products > SHARED_PRODUCTS * blocks_m * blocks_n:
        if panels * blocks_n > columns * blocks_m and blocks_m < panels:
            blocks_m = min(panels, 2 * blocks_m)
        elif blocks_n < columns:
            blocks_n = min(columns, 2 * blocks_n)
        else:
            break
    return blocks_m, blocks_n


def streamed(batches: int, m: int, n: int, k: int, size: int, lanes: int, dots: bool, threads: int) -> float:
    """Few rows by a large matrix that is read once: its bytes, which come a little faster than while much is computed, and the arithmetic, hardly any of
    it meanwhile; for dot products six cycles to add up the lanes of each; three phases."""
    elements = batches * n * k
    memory = elements * size * (0.8 / MEMORY_BYTES if elements * size > NEAR else 1 / 64)
    adding = 6.0 * batches * m * n if dots else 0.0
    return (memory + adding + batches * (n * cdiv(k, lanes) * lanes * m / (2 * lanes) + 140) + 300) / CYCLES / (threads if elements * size > 1 << 18 else 1)


def on_tile_registers(batches: int, m: int, n: int, k: int, per_cycle: int, threads: int) -> float:
    """Products on tile registers, `per_cycle` multiplications a cycle where tiles of 32 x 32 are full; operands are packed at five elements a cycle, and come
    from the second-level cache, which halves the speed."""
    full = cdiv(m, 32) * cdiv(n, 32) * 1024 * k
    return batches * (2 * full / per_cycle + 0.2 * (m + n) * k) / CYCLES / (threads if worth_sharing(batches, m, n, k) else 1)


def in_vectors(batches: int, m: int, n: int, k: int, per_cycle: int, threads: int) -> float:
    """Products of 8-bit integers in vectors, `per_cycle` multiplications a cycle; both operands are packed at five a cycle."""
    return batches * (m * n * k / per_cycle + 0.2 * (m + n) * k) / CYCLES / (threads if worth_sharing(batches, m, n, k) else 1)


def stalls(row_bytes: int) -> float:
    """How much longer multiplying takes, in parts, where B is read in place: if its rows compete for the sets of the first-level cache, or vectors of
    them straddle lines."""
    return 0.05 if row_bytes % 4096 == 0 else 0.06 if row_bytes % 64 else 0.0


#: What tiles take more that read a B larger than the second-level cache in shallow blocks, each of which comes while the one before is used: in parts of
#: packing it, and of the multiplications (C is loaded and stored for each block).
SHALLOW = 0.22, 0.05


def blocks(batches: int, m: int, n: int, k: int, shape: Shape, panels: int, columns: int, panel_bytes: int, packing: float, stalled: float,
           threads: int, streams: bool = False) -> list[tuple[float, tuple[int, int]]]:
    """Into how many parts the panels of rows and of columns are cut: microseconds and parts, the quickest first.

    Cycles are counted for each k. Rows by a panel of columns take half a cycle for a vector of sums (longer by `stalled`), a panel of columns as long as the
    most rows to be packed (`packing` times), a panel of rows to be read as long as its bytes need from the second or third level of the cache. A block
    of columns that the stack does not hold goes to memory that another thread may have used last; one that `streams` by takes as long as memory. Matrices of
    a batch are work items of their own.
    """
    if not panels or not columns or not batches:
        return [(0.0, (0, 0))]
    height = shape.height(m)
    step = shape.vectors / 2
    reading = height * shape.scalar_bytes / (16 if m * k * shape.scalar_bytes <= NEAR else 11)
    narrow = (n % shape.columns + shape.columns - 1) % shape.columns + 1 <= shape.lanes  # the last panel is one vector wide
    fewest = cdiv(columns, 2 * MOST_WIDE if streams else MOST_WIDE)
    found: list[tuple[float, tuple[int, int]]] = []
    for blocks_n in sorted({fewest, *[b for b in (threads, 2 * threads, 4 * threads, 8 * threads, columns) if fewest < b <= columns]}):
        wide = cdiv(columns, blocks_n)
        width = wide - 0.5 if narrow and blocks_n == 1 else wide
        buffer = wide * panel_bytes
        for blocks_m in sorted({1, *[b for b in (threads, 2 * threads, 4 * threads, cdiv(panels, 74)) if b <= panels]}):
            high = cdiv(panels, blocks_m)
            rows = max(4, cdiv(min(m, high * height), 2) * 2)
            cycles = step * width * (rows * (1 + stalled) + shape.rows * packing) + reading * high + (300 + 60 * high * wide) / max(1, k)
            if streams:
                cycles = max(cycles, width * shape.columns * shape.scalar_bytes / MEMORY_BYTES)
            elif packing and buffer > NEAR_BYTES and k:
                cycles += buffer / 64 * 50 / k
            cycles *= cdiv(batches * blocks_m * blocks_n, threads)
            found.append((cycles * max(1, k) / CYCLES, (blocks_m, blocks_n)))
    found.sort(key=lambda way: way[0])
    least = found[0][0]
    close = [way for way in found if way[0] * 0.99 <= least]  # of those as quick, the fewest parts
    first = min(close, key=lambda way: (way[1][1], way[1][0]))
    return [(least, first[1]), *[way for way in found if way is not first]]


def band(terms: int, outputs: int, columns: int, elements: int, in_place: bool, a_bytes: int, shape: Shape) -> float:
    """Cycles of a band of a convolution (`codegen.bands`): `outputs` by `columns`, for `terms` elements of a window; `elements` are copied in, and the
    results, unless summed `in_place`, a vector in three. A is read once for each band, which the multiplications hide in part."""
    reading = outputs * shape.scalar_bytes / (48 if a_bytes <= NEAR else 32)
    return _tiles(outputs, columns, terms, shape) + reading * terms + 3 * (elements + (0 if in_place else outputs * columns)) / shape.lanes


def thin(terms: int, outputs: int, vectors: int, elements: int, rows: int) -> float:
    """Cycles of a band of a convolution with few outputs (`codegen.thin`): a load for each of `terms` elements of a window, most of which straddle lines;
    copying in and out of vectors of `elements` and results, some for each of `rows`, and for the band."""
    return outputs * vectors * (1.1 * terms + 3) + 3 * elements + 6 * rows + 150


def windows(batches: int, c: int, o: int, seen: int, out: Sequence[int], terms: int, adjacent: bool, copied: float, joined: bool, shape: Shape) -> float:
    """Microseconds of one thread for the products of `batches` images (or groups of them) with windows of `terms` elements in a copy of `seen` elements a
    channel, `copied` cycles each. Where rows of windows are not `adjacent`, a panel of them is
    packed in the time of a product's; where they are `joined`, those of all images lie side by side."""
    columns = out[0] * out[1]
    if joined:
        product = _tiles(o + shape.rows, batches * columns, terms, shape)
    elif adjacent:
        product = batches * out[0] * _tiles(o, out[1], terms, shape)
    else:
        product = batches * _tiles(o + shape.rows, columns, terms, shape)
    return (product + copied * batches * c * seen) / CYCLES


def _tiles(rows: int, columns: int, terms: int, shape: Shape) -> float:
    """Cycles of the micro-kernel for a matrix: a tile takes 60 more than its multiplications (measured), one that is a vector wide takes longer than its half,
    and so does one of few rows."""
    whole, rest = divmod(columns, shape.columns)
    across = whole + (0 if not rest else 0.65 if rest <= shape.lanes else 1)
    panels, left = divmod(rows, shape.rows)
    down = panels + (0 if not left else min(1.0, (left + 2) / shape.rows))
    return across * down * (terms * shape.rows * shape.vectors / 2 + 60)


def turned(batches: int, m: int, n: int, k: int, size: int, lanes: int, depth: int, threads: int) -> float:
    """C's transpose, where B's columns are contiguous: in cycles as measured, for each k of a column of B 1.1 by two vectors of rows and 0.7 by one (whose
    multiplications wait for loads); 0.6 for an element packed, 0.2 for one stored after each `depth` of K; and half of what reading B takes, if it is far."""
    pairs, single = divmod(cdiv(m, lanes), 2)
    multiplying = n * k * (1.1 * pairs + 0.7 * single)
    memory = n * k * size / MEMORY_BYTES if n * k * size > NEAR else 0.0
    return batches * (multiplying + memory / 2 + 0.6 * m * k + 0.2 * m * n * cdiv(k, depth)) / CYCLES / (threads if worth_sharing(batches, m, n, k) else 1)


#: By tile of Winograd's algorithm: what a transform takes, in multiplications that take as long (measured), for a tile of a channel of the image, of the
#: result, and a weight.
_TRANSFORMS = {4: (1000, 800, 1400), 2: (450, 250, 600)}


def convolution(n: int, c: int, o: int, out: Sequence[int], kept: bool, joined: bool) -> list[tuple[str, float]]:
    """The ways to convolve [n, c, ...] with [o, c, 3, 3] to results of size `out`, in microseconds of one thread, the quickest first: "direct" multiplies
    windows at four fifths of the speed of Winograd's products (it packs them once more), "tiles of 4" and "tiles of 2" are that algorithm.
    `kept`: the weights' transform costs nothing; `joined`: windows of all images are multiplied side by side. Results differ in rounding."""
    windows = out[0] * out[1]
    direct = 0.8 * 9 * _lanes(n * windows if joined else windows) * c * o * (1 if joined else n)
    found = [("direct", direct)]
    if min(c, o) >= 16:
        for tile, (image, result, weight) in _TRANSFORMS.items():
            tiles = n * cdiv(out[0], tile) * cdiv(out[1], tile)
            vectors = 16 * cdiv(tiles, 16)
            found.append((f"tiles of {tile}", (tile + 2) ** 2 * _lanes(tiles) * c * o + vectors * (image * c + result * o) + (0 if kept else weight * c * o)))
    return sorted([(name, multiplications / 32 / CYCLES) for name, multiplications in found], key=lambda way: way[1])


def _lanes(columns: int) -> int:
    """The columns that a product takes the time of: two vectors at once, or one."""
    rest = columns % 32
    return columns - rest + (0 if not rest else 16 if rest <= 16 else 32)

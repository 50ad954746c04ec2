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


def streamed(batches: int, m: int, n: int, k: int, size: int, lanes: int, threads: int) -> float:
    """Few rows by a large matrix that is read once: the slower of its bytes and the arithmetic."""
    elements = batches * n * k
    memory = elements * size / (MEMORY_BYTES if elements * size > NEAR else 64)
    return max(memory, elements * m / (2 * lanes)) / CYCLES / (threads if elements * size > 1 << 18 else 1)


def on_tile_registers(batches: int, m: int, n: int, k: int, per_cycle: int, threads: int) -> float:
    """Products on tile registers, `per_cycle` multiplications a cycle where tiles of 32 x 32 are full; operands are packed at five elements a cycle, and come
    from the second-level cache, which halves the speed."""
    full = cdiv(m, 32) * cdiv(n, 32) * 1024 * k
    return batches * (2 * full / per_cycle + 0.2 * (m + n) * k) / CYCLES / (threads if worth_sharing(batches, m, n, k) else 1)


def in_vectors(batches: int, m: int, n: int, k: int, per_cycle: int, threads: int) -> float:
    """Products of 8-bit integers in vectors, `per_cycle` multiplications a cycle; both operands are packed at five a cycle."""
    return batches * (m * n * k / per_cycle + 0.2 * (m + n) * k) / CYCLES / (threads if worth_sharing(batches, m, n, k) else 1)


def stalls(b_bytes: int, competing: bool) -> float:
    """How much longer multiplying takes, in parts, where B is read in place: its rows lie apart, so each use of it waits if it does not stay in the
    second-level cache or its rows compete for the sets of the first; beyond 8 MB pages are looked up as well. Packing pays from 28 rows on."""
    if b_bytes > 8 << 20:
        return 1.4
    return 0.4 if b_bytes > NEAR or competing else 0.0


def blocks(batches: int, m: int, n: int, k: int, shape: Shape, panels: int, columns: int, panel_bytes: int, packing: int, stalled: float,
           threads: int) -> list[tuple[float, tuple[int, int]]]:
    """Into how many parts the panels of rows and of columns are cut: microseconds and parts, the quickest first.

    Cycles are counted for each k. A panel of rows by one of columns takes half a cycle for a vector of sums (longer by `stalled`), a panel of columns about as
    long as that to be packed (`packing` times), a panel of rows to be read as long as its bytes need from the second or third level of the cache. A block
    of columns that the stack does not hold goes to memory that another thread may have used last. Matrices of a batch are work items of their own.
    """
    if not panels or not columns or not batches:
        return [(0.0, (0, 0))]
    step = shape.rows * shape.vectors / 2
    reading = shape.rows * shape.scalar_bytes / (16 if m * k * shape.scalar_bytes <= NEAR else 11)
    narrow = (n % shape.columns + shape.columns - 1) % shape.columns + 1 <= shape.lanes  # the last panel is one vector wide
    fewest = cdiv(columns, MOST_WIDE)
    found: list[tuple[float, tuple[int, int]]] = []
    for blocks_n in sorted({fewest, *[b for b in (threads, 2 * threads, 4 * threads, 8 * threads, columns) if fewest < b <= columns]}):
        wide = cdiv(columns, blocks_n)
        width = wide - 0.5 if narrow and blocks_n == 1 else wide
        buffer = wide * panel_bytes
        for blocks_m in sorted({1, *[b for b in (threads, 2 * threads, 4 * threads, cdiv(panels, 74)) if b <= panels]}):
            high = cdiv(panels, blocks_m)
            cycles = step * width * (high * (1 + stalled) + packing) + reading * high + 3000 / max(1, k)
            if packing and buffer > NEAR_BYTES and k:
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


def turned(batches: int, m: int, n: int, k: int, lanes: int, depth: int, threads: int) -> float:
    """What C's transpose takes more than tiles with a packed B, where B's columns are contiguous: in cycles as measured, 0.6 for an element packed, 0.2 for
    one stored after each `depth` of K, a multiplication's 32nd for rows that fill no vector."""
    more = -m % lanes * n * k / 32 + 0.6 * m * k + 0.2 * m * n * cdiv(k, depth) - 0.6 * n * k
    return batches * more / CYCLES / threads


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

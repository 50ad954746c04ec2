"""Matrix products: which kernel, how it is cut into work items, and what its argument table holds.

`plan(...)` answers for C[b, m, n] = sum_k A[b, m, k] * B[b, k, n] with any strides. The kernels follow the protocol of
all kernels: phases `void name_p{i}(ptr args, i64 begin, i64 end)` run one after the other, work items of a phase in
any order on any thread. Sizes and strides are run-time slots, so there is little code: one kernel for general
products (`gemm_tiles`) and two that stream a large matrix once (`gemm_stream`), per dtype and epilogue.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torsh.codegen import cost
from torsh.codegen.cost import cdiv
from torsh.codegen.gemm_layout import ACCUMULATE, AMX_PANELS, FINISH_COLUMNS, NEAR_BYTES, PACK_COLUMNS, STORAGE, Bias, Epilogue, Flags, Shape

__all__ = ["Bias", "Epilogue", "GemmPlan", "plan", "ways"]

#: A slot is an integer, or the name of an address the caller puts there: "A", "B", "C", a scratch buffer's name
#: ("packed", "partial"), or "epilogue0", "epilogue1", ... for the slots of the epilogue.
SlotValue = int | str


class GemmPlan:
    """What to compile and how to run it.

    `key` identifies the code (`text()` gives it as LLVM IR); per phase: `symbols`, `items` (number of work items) and
    `share` (whether the work is worth more than one thread); `scratch`: bytes of each named buffer, 64-byte
    aligned, contents undefined; `slots`: the argument table."""
    __slots__ = ("key", "text", "symbols", "items", "share", "scratch", "slots")

    def __init__(self, key: str, text: Callable[[], str], items: list[int], share: list[bool],
                 scratch: dict[str, int], slots: list[SlotValue]) -> None:
        self.key, self.text, self.items, self.share, self.scratch, self.slots = key, text, items, share, scratch, slots
        self.symbols = [f"{key}_p{i}" for i in range(len(items))]

    def __repr__(self) -> str:
        return f"GemmPlan({self.key}, items={self.items}, share={self.share}, scratch={self.scratch})"


class _Problem:
    """A product in normal form: two batch axes, C's columns contiguous if either of its axes is."""
    __slots__ = ("batch", "m", "n", "k", "a", "b", "c", "transposed")

    def __init__(self, batch: tuple[int, int], m: int, n: int, k: int, a: tuple[int, ...], b: tuple[int, ...],
                 c: tuple[int, ...], transposed: bool) -> None:
        self.batch, self.m, self.n, self.k, self.a, self.b, self.c = batch, m, n, k, a, b, c
        self.transposed = transposed

    def transpose(self) -> _Problem:
        """The same product as C^T = B^T A^T."""
        def swap(s: tuple[int, ...]) -> tuple[int, ...]:
            return (*s[:-2], s[-1], s[-2])
        return _Problem(self.batch, self.n, self.m, self.k, swap(self.b), swap(self.a), swap(self.c),
                        not self.transposed)


def _normal(batch: int | tuple[int, ...], m: int, n: int, k: int, a: tuple[int, ...], b: tuple[int, ...],
            c: tuple[int, ...], turn: bool = True) -> _Problem:
    axes = (batch,) if isinstance(batch, int) else tuple(batch)
    if len(axes) > 2 or min((m, n, k, *axes)) < 0:
        raise ValueError(f"gemm: sizes must be non-negative and at most two batch axes, got batch={axes}, m={m}, "
                         f"n={n}, k={k}")
    for name, strides in (("a", a), ("b", b), ("c", c)):
        if len(strides) != len(axes) + 2:
            raise ValueError(f"gemm: {name}_strides must have {len(axes) + 2} entries, got {tuple(strides)}")
    missing = 2 - len(axes)
    full = [(0,) * missing + tuple(s) for s in (a, b, c)]
    problem = _Problem((1,) * missing + axes, m, n, k, full[0], full[1], full[2], False)  # type: ignore[arg-type]
    if turn and (n == 1 or problem.c[3] != 1) and (m == 1 or problem.c[2] == 1) and not (n == 1 and m == 1):
        problem = problem.transpose()
    return problem


def plan(dtype_in: str, dtype_out: str, batch: int | tuple[int, ...], m: int, n: int, k: int,
         a_strides: tuple[int, ...], b_strides: tuple[int, ...], c_strides: tuple[int, ...], *,
         vector_bytes: int = 64, registers: int | None = None, half: bool | None = None,
         accumulate: bool = False, epilogue: Epilogue | None = None, tables: bool = False, threads: int = 2, amx: bool = False,
         way: str | None = None) -> GemmPlan:
    """The plan for C[b, m, n] = sum_k A[b, m, k] * B[b, k, n].

    `batch` is one extent or two (their strides need not combine); strides are in elements, batch axes first, 0
    where an operand is broadcast. float16 and bfloat16 are summed in float32. `accumulate` adds to C (before
    the epilogue). `vector_bytes` is the vector register size of the machine (64, 32 or 16),
    `registers` how many of them it has (default: 32 of 64 bytes, else 16), `half` whether it converts float16 itself
    (default: where vectors are wider than 16 bytes). With `tables` the element (k, n) of a batch of B is at k_offsets[k] +
    n_offsets[n], two tables of int64 byte offsets (slots "k_offsets" and "n_offsets") in place of its last two strides: so
    windows of an image are multiplied without being copied first. C's rows must be contiguous then. If B's last stride is 1 there, which says that
    the columns are next to each other, whole vectors of them are not even packed. `threads` are how many will share
    the work (no result depends on it), `amx` whether the machine has tile registers that this process may use (`target.amx`).
    Elements of C must not overlap one another, A or B. `way` is the name of one of `ways`, by default the first.
    Raises ValueError for sizes, strides or dtypes that do not fit, and for a way that there is not.

    >>> p = plan("float32", "float32", 1, 100, 70, 30, (0, 30, 1), (0, 70, 1), (0, 70, 1))
    >>> p.symbols[1].endswith("_p1"), p.slots[:3]
    (True, ['A', 'B', 'C'])
    """
    problem, same, registers, half = _problem(dtype_in, dtype_out, batch, m, n, k, a_strides, b_strides, c_strides, vector_bytes, registers, half, tables)
    machine = (dtype_in, dtype_out, vector_bytes, half, accumulate, epilogue)
    turns = epilogue is None or epilogue.turns
    known = _ways(problem, same, registers, dtype_in, vector_bytes, tables, threads, amx, turns)
    if way == "stream" and not turns and all(w[0] != "stream" for w in known):
        way = None  # it was chosen without the epilogue
    if way is None:
        # Kinds of ways add up in different orders, so which one it is must not depend on the number of threads.
        kind = _kind(_ways(problem, same, registers, dtype_in, vector_bytes, tables, 1, amx, turns)[0][0])
        name, _, blocks = next(w for w in known if _kind(w[0]) == kind)
    else:
        name, _, blocks = next((w for w in known if w[0] == way), ("", 0.0, None))
        if not name:
            raise ValueError(f"gemm: no way {way!r} among {', '.join(w[0] for w in known)}")
    if name == "stream":
        return _plan_stream(_streamed(problem), same, *machine)
    if name == "amx":
        return _plan_amx(problem, dtype_out, half, accumulate, epilogue, threads)
    if name == "turned":
        return _plan_tiles(problem.transpose(), same, registers, *machine, threads=threads, turned=True)
    return _plan_tiles(problem, same, registers, *machine, threads=threads, tables=tables, in_place=name.startswith(("in place", "shallow")), blocks=blocks,
                       shallow=name.startswith("shallow"))


def ways(dtype_in: str, dtype_out: str, batch: int | tuple[int, ...], m: int, n: int, k: int, a_strides: tuple[int, ...], b_strides: tuple[int, ...],
         c_strides: tuple[int, ...], *, vector_bytes: int = 64, registers: int | None = None, half: bool | None = None, tables: bool = False,
         threads: int = 2, amx: bool = False) -> list[tuple[str, float]]:
    """The ways to compute a product, each with its time in microseconds as `cost` predicts it, the quickest first: "stream" reads a large matrix once for
    few rows; "amx" uses tile registers; "turned" makes the transpose; "in place MxN" and "packed MxN" are tiles of M by N blocks of C, whose B is read
    where it is or copied. Arguments as for `plan`.

    >>> [name for name, _ in ways("float32", "float32", 1, 1, 4096, 4096, (0, 4096, 1), (0, 4096, 1), (0, 4096, 1))][0]
    'stream'
    """
    problem, same, registers, half = _problem(dtype_in, dtype_out, batch, m, n, k, a_strides, b_strides, c_strides, vector_bytes, registers, half, tables)
    return [(name, time) for name, time, _ in _ways(problem, same, registers, dtype_in, vector_bytes, tables, threads, amx)]


def other_code(key: str, *given: Any, epilogue: Epilogue | None = None, **options: Any) -> GemmPlan | None:
    """The plan of the quickest way whose code is another than `key` and that nearly the same sizes may take: tiles of the product or of its transpose.
    Arguments as for `plan`; None where there is no such way."""
    for name, _ in ways(*given, **options):
        if name not in ("stream", "amx"):
            found = plan(*given, **options, epilogue=epilogue, way=name)
            if found.key != key:
                return found
    return None


def _problem(dtype_in: str, dtype_out: str, batch: int | tuple[int, ...], m: int, n: int, k: int, a_strides: tuple[int, ...], b_strides: tuple[int, ...],
             c_strides: tuple[int, ...], vector_bytes: int, registers: int | None, half: bool | None, tables: bool) -> tuple[_Problem, bool, int, bool]:
    """What is asked for in normal form, checked; whether it is stored as it is summed; registers and `half` of the machine."""
    for dtype in (dtype_in, dtype_out):
        if dtype not in STORAGE:
            raise ValueError(f"gemm: dtype {dtype!r} is not one of {', '.join(STORAGE)}")
    if ACCUMULATE[dtype_in] != ACCUMULATE[dtype_out]:
        raise ValueError(f"gemm: no product of {dtype_in} stored as {dtype_out}")
    if vector_bytes not in (64, 32, 16):
        raise ValueError(f"gemm: vector_bytes must be 64, 32 or 16, got {vector_bytes}")
    problem = _normal(batch, m, n, k, tuple(a_strides), tuple(b_strides), tuple(c_strides))
    if tables:
        problem = _normal(batch, m, n, k, tuple(a_strides), (*b_strides[:-2], 0, b_strides[-1]), tuple(c_strides), turn=False)
        if n != 1 and problem.c[3] != 1:
            raise ValueError(f"gemm: with tables the rows of C must be contiguous, got strides {tuple(c_strides)}")
    if registers is None:
        registers = 32 if vector_bytes == 64 else 16
    return problem, dtype_in in ("float32", "float64"), registers, vector_bytes > 16 if half is None else half


def _kind(way: str) -> str:
    """The kind of a way: tiles add up in one order, whether B is in place or packed, and however C is cut."""
    return way if way in ("stream", "amx", "turned") else "shallow" if way.startswith("shallow") else "tiles"


def _streamed(problem: _Problem) -> _Problem:
    """The side whose B is streamed: the large matrix may be either operand, B of the product or of the transposed product."""
    return max([side for side in (problem, problem.transpose()) if _streams(side)], key=lambda side: side.n)


def _ways(p: _Problem, same: bool, registers: int, dtype_in: str, vector_bytes: int, tables: bool, threads: int,
          amx: bool, turns: bool = True) -> list[tuple[str, float, tuple[int, int] | None]]:
    """(name, predicted microseconds, blocks of rows and columns) of every way, the quickest first. `turns`: what follows the product can be done in C's
    transpose, as which the one side is streamed."""
    scalar_bytes = ACCUMULATE[dtype_in][1]
    shape = Shape(vector_bytes, registers, scalar_bytes)
    size = STORAGE[dtype_in][1]
    batches = p.batch[0] * p.batch[1]
    found: list[tuple[str, float, tuple[int, int] | None]] = []
    if not tables and (_streams(p) or _streams(p.transpose())):
        side = _streamed(p)
        if turns or not side.transposed:
            found.append(("stream", cost.streamed(batches, side.m, side.n, side.k, size, shape.lanes, side.b[3] != 1, threads), None))
    if not tables and amx and dtype_in == "bfloat16" and vector_bytes == 64 and min(p.m, p.n) >= 8 and p.k >= 16 and 1 in p.a[2:] and 1 in p.b[2:]:
        found.append(("amx", cost.on_tile_registers(batches, p.m, p.n, p.k, 512, threads), None))
    panels, columns = cdiv(p.m, shape.height(p.m)), cdiv(p.n, shape.columns)
    tile_k = cdiv(max(1, cdiv(p.k, max(1, cdiv(p.k, shape.depth)))), shape.lanes) * shape.lanes
    panel_bytes = tile_k * shape.columns * scalar_bytes
    b_bytes = p.k * p.n * scalar_bytes
    kinds: list[tuple[str, float, float]] = [("packed", 3 if tables else 1, 0.0)]
    if same and tables and p.b[3] == 1:
        kinds = [("in place", 0, 0.0)]
    elif same and not tables and p.b[3] == 1:
        stalls = cost.stalls(p.b[2] * scalar_bytes)
        kinds.append(("in place", 0, stalls) if b_bytes <= cost.NEAR else ("shallow", cost.SHALLOW[0], cost.SHALLOW[1] + stalls))
    far = (1 if p.b[:2] == (0, 0) else batches) * b_bytes > cost.NEAR and not tables
    for name, packing, stalls in kinds:
        for time, blocks in cost.blocks(batches, p.m, p.n, p.k, shape, panels, columns, panel_bytes, packing, stalls, threads, far and name != "packed")[:3]:
            found.append((f"{name} {blocks[0]}x{blocks[1]}", time, blocks))
    if not tables and same and p.c[3] == p.a[3] == p.b[2] == 1 != p.b[3] and _FEW_TURNED < p.m <= p.n:
        found.append(("turned", cost.turned(batches, p.m, p.n, p.k, size, shape.lanes, _TURNED_DEPTH, threads), None))
    return sorted(found, key=lambda w: w[1])


#: Columns beside one another of which so few are left over that packing those costs nothing to speak of.
_ADJACENT = 80


def windows_in_place(dtype: str, extents: tuple[int, ...], strides: tuple[int | tuple[int, ...], ...]) -> bool:
    """Whether a product with windows (their number in each dimension, and how far apart they are in memory) is best made row by row of the image, whose
    windows are adjacent elements: nothing needs packing then, but a row must nearly fill the columns of the register tiles."""
    if dtype not in ("float32", "float64") or strides[-1] != 1:
        return False
    return sum(n > 1 for n in extents[:-1]) <= 1 and (extents[-1] % 32 == 0 or extents[-1] >= _ADJACENT)


#: Panels of A for which all batches' B is packed before.
_FEW_PANELS = 4
#: Rows that fill too little of a vector of columns to make C's transpose.
_FEW_TURNED = 4
#: A block of K where B streams by in place: so short that the next block comes to the second-level cache while this one is used.
_SHALLOW = 64
#: A block of K where C's transpose is made: the rows of B stream by, so that they are best read to their ends.
_TURNED_DEPTH = 2048


def _streams(p: _Problem) -> bool:
    """Whether the kernels for few rows fit: at most eight, or twelve for dot products, and a B worth cutting up and contiguous along an axis."""
    enough = 1 << 18 if p.m > 4 and p.b[2] != 1 else 4096 if p.b[2] != 1 else 64
    return p.m <= (12 if p.b[3] != 1 else 8) and p.n * p.k >= enough and p.m > 0 and (p.b[2] == 1 or p.b[3] == 1)


#: Columns of B of a work item, times its rows; and how much of K where columns are contiguous.
CHUNK, CHUNK_DEEP = 4096, 8192
#: Rows for which there are kernels.
STREAMED_ROWS = (1, 2, 4, 6, 8, 10, 12)


def _deep(rows: int) -> int:
    """How much of K dot products take at once: so much that the rows stay in the first-level cache."""
    return CHUNK_DEEP if rows <= 4 else (CHUNK_DEEP if rows <= 8 else 10240) // rows


def _plan_stream(p: _Problem, same: bool, dtype_in: str, dtype_out: str, vector_bytes: int, half: bool,
                 accumulate: bool, epilogue: Epilogue | None) -> GemmPlan:
    scalar_bytes = ACCUMULATE[dtype_in][1]
    lanes = vector_bytes // scalar_bytes
    kind = "rows" if p.b[3] == 1 else "dots"
    rows = next(rows for rows in STREAMED_ROWS if rows >= p.m)
    batches = p.batch[0] * p.batch[1]
    # Elements of B in a work item: enough of them to balance, each large enough to run at full speed.
    share = max(16384, min(524288, batches * p.n * p.k // 64))
    if kind == "rows":
        share = max(share, min(1 << 20, batches * p.n * p.k // 32))  # each has sums of its own, which B's stream drives out of the caches
        chunk_n = min(cdiv(p.n, lanes) * lanes, CHUNK // rows // 64 * 64)
        chunk_k = min(p.k, max(64, cdiv(share, 8 * chunk_n) * 8))
    else:
        chunk_k = min(p.k, cdiv(cdiv(p.k, cdiv(p.k, _deep(rows))), lanes) * lanes)
        chunk_n = min(cdiv(p.n, lanes) * lanes, cdiv(share, chunk_k * lanes) * lanes)
    blocks_k, blocks_n = cdiv(p.k, chunk_k), cdiv(p.n, chunk_n)
    row = cdiv(p.n, lanes) * lanes
    # More rows than about the ways of the first-level cache must not compete for its sets.
    in_place = same and (p.a[3] == 1 or p.k == 1) and not (p.m > 8 and p.a[2] * scalar_bytes % 4096 == 0)
    pitch = p.k if p.m <= 8 else cdiv(p.k, lanes) * lanes + (lanes if p.k * scalar_bytes % 2048 <= 64 else 0)
    x = p.a[:3] if in_place else (p.batch[1] * p.m * pitch, p.m * pitch, pitch)

    key = _key(f"{kind}{rows}", dtype_in, dtype_out, vector_bytes, half, epilogue, p.transposed)
    scratch = {"partial": batches * blocks_k * rows * row * scalar_bytes}
    if not in_place:
        scratch["packed"] = batches * p.m * pitch * scalar_bytes
    scratch = {name: size for name, size in scratch.items() if size}
    a, b = ("B", "A") if p.transposed else ("A", "B")
    slots: list[SlotValue] = [
        a, b, "C", a if in_place else "packed" if batches else 0, "partial" if batches else 0, p.batch[1], p.m, p.n,
        p.k, *p.a, *x, *p.b, *p.c, chunk_k, chunk_n, blocks_k, blocks_n, row, int(accumulate)]
    if epilogue is not None:
        slots += [f"epilogue{i}" for i in range(epilogue.slots)]
    items = [0 if in_place else batches * p.m, batches * blocks_k * blocks_n,
             batches * p.m * cdiv(p.n, FINISH_COLUMNS)]
    size = STORAGE[dtype_in][1]
    large = [batches * p.m * p.k * size > 262144, batches * p.n * p.k * size > 262144,
             batches * blocks_k * rows * row * size > 262144]

    def text() -> str:
        from torsh.codegen import gemm_stream
        return gemm_stream.write(key, kind, rows, dtype_in, dtype_out, vector_bytes, half, epilogue, p.transposed)

    return GemmPlan(key, text, items, large, scratch, slots)


def _key(kind: str, dtype_in: str, dtype_out: str, vector_bytes: int, half: bool, epilogue: Epilogue | None,
         transposed: bool) -> str:
    """The name of the code. Whether the product is transposed matters to the epilogue alone."""
    key = f"gemm_{kind}_{dtype_in}_{dtype_out}_{vector_bytes}"
    if not half and "float16" in (dtype_in, dtype_out):
        key += "_soft"
    if epilogue is not None:
        key += f"_{epilogue.key}{'_transposed' if transposed else ''}"
    return key


def _plan_tiles(p: _Problem, same: bool, registers: int, dtype_in: str, dtype_out: str, vector_bytes: int, half: bool,
                accumulate: bool, epilogue: Epilogue | None, threads: int, tables: bool = False, turned: bool = False, in_place: bool = False,
                blocks: tuple[int, int] | None = None, shallow: bool = False) -> GemmPlan:
    scalar_bytes = ACCUMULATE[dtype_in][1]
    shape = Shape(vector_bytes, registers, scalar_bytes)
    batches = p.batch[0] * p.batch[1]
    own = ACCUMULATE[dtype_out][0] == STORAGE[dtype_out][0] and p.c[3] == 1

    height = shape.height(p.m)
    panels, columns = cdiv(p.m, height), cdiv(p.n, shape.columns)
    b_in_place = in_place and same
    lanes = not (p.a[3] == 1 or p.k <= 1)
    must_copy = not same or (lanes and p.a[2] != 1 and p.m > 1)
    # How K is cut determines the sums, so it must not depend on the number of threads, as blocks do.
    short = lanes and (must_copy or _copy_a(p, lanes, columns, scalar_bytes))
    blocks_k = max(1, cdiv(p.k, _TURNED_DEPTH if turned else _SHALLOW if shallow else shape.group_depth if short else shape.depth))
    tile_k = cdiv(max(1, cdiv(p.k, blocks_k)), shape.lanes) * shape.lanes
    blocks_k = max(1, cdiv(p.k, tile_k))
    panel_bytes = tile_k * shape.columns * scalar_bytes
    if blocks is None:
        blocks = cost.blocks(batches, p.m, p.n, p.k, shape, panels, columns, panel_bytes, 1, 0.0, threads)[0][1]
    blocks_m, blocks_n = blocks
    copy_a = not turned and (must_copy or _copy_a(p, lanes, cdiv(columns, max(1, blocks_n)), scalar_bytes))
    count = batches * blocks_m * blocks_n
    tile_flops = 2 * p.m * p.n * p.k // max(1, blocks_m * blocks_n)
    group = max(1, min(count, 400_000 // max(1, tile_flops)))

    one_batch = p.b[:2] == (0, 0)
    # What one thread packs another one is slow to get, so a work item packs what it uses, unless a few rows in each of many matrices use it.
    b_packed = not tables and not b_in_place and one_batch and batches > 1 and panels <= _FEW_PANELS and p.n * p.k > 0
    b_batches = (1 if one_batch else batches) * blocks_k if b_packed and count else 0
    buffer = 0
    if not b_packed and count:
        buffer = panel_bytes * (1 if b_in_place else cdiv(columns, blocks_n))
        buffer = 0 if buffer <= NEAR_BYTES else buffer
    partial = 0 if own or blocks_k == 1 else batches * p.m * p.n * scalar_bytes

    flags = (Flags.COPY_A * copy_a + Flags.B_IN_PLACE * b_in_place + Flags.B_IS_PACKED * b_packed + Flags.B_ONE_BATCH * one_batch
             + Flags.ACCUMULATE_C * accumulate + Flags.PARTIAL_IS_C * own + Flags.B_STREAMS * shallow)
    kind = f"{'windows' if tables else 'turned' if turned else 'tiles'}{shape.rows}{'l' if lanes else 'r'}"
    key = _key(kind, dtype_in, dtype_out, vector_bytes, half, epilogue, p.transposed)
    scratch = {"packed": b_batches * columns * panel_bytes + buffer * cdiv(count, group), "partial": partial}
    scratch = {name: size for name, size in scratch.items() if size}
    a, b = ("B", "A") if p.transposed else ("A", "B")
    slots: list[SlotValue] = [
        a, b, "C", "packed" if "packed" in scratch else 0, "C" if own else "partial" if partial else 0,
        *p.batch, p.m, p.n, p.k, *p.a, *p.b, *p.c, tile_k, blocks_m, blocks_n,
        blocks_k, group, count, flags, p.m * p.n, p.c[2] if own else p.n, panels, columns, buffer,
        "k_offsets" if tables else 0, "n_offsets" if tables else 0, height]
    if epilogue is not None:
        slots += [f"epilogue{i}" for i in range(epilogue.slots)]
    items = [b_batches * cdiv(columns, PACK_COLUMNS), cdiv(count, group)]
    share = [b_batches * columns * panel_bytes > 262144, cost.worth_sharing(batches, p.m, p.n, p.k)]

    def text() -> str:
        from torsh.codegen import gemm_tiles
        return gemm_tiles.write(key, dtype_in, dtype_out, vector_bytes, registers, half, epilogue, p.transposed, lanes, tables, turned)

    return GemmPlan(key, text, items, share, scratch, slots)


#: Bytes of packed A that a work item of `gemm_amx` uses: with a strip of B they stay in the second-level cache.
_AMX_BYTES = 512 << 10


def _plan_amx(p: _Problem, dtype_out: str, half: bool, accumulate: bool, epilogue: Epilogue | None, threads: int) -> GemmPlan:
    batches = p.batch[0] * p.batch[1]
    panels, columns, tiles_k = cdiv(p.m, 32), cdiv(p.n, 32), cdiv(p.k, 32)
    blocks_m, blocks_n = cdiv(panels, max(1, min(8, _AMX_BYTES // (tiles_k * 2048)))), cdiv(columns, 16)
    blocks_m, blocks_n = cost.finer((blocks_m, blocks_n), panels, columns, batches, p.m * p.n * p.k, threads)
    a_strips = (1 if p.a[:2] == (0, 0) else batches) * 2 * panels
    b_strips = (1 if p.b[:2] == (0, 0) else batches) * 2 * columns
    a_items, b_items = a_strips // (2 * panels or 1) * cdiv(panels, AMX_PANELS), b_strips // (2 * columns or 1) * cdiv(columns, AMX_PANELS)
    key = _key("amx", "bfloat16", dtype_out, 64, half, epilogue, p.transposed)
    a, b = ("B", "A") if p.transposed else ("A", "B")
    count = batches * blocks_m * blocks_n
    slots: list[SlotValue] = [
        a, b, "C", "packed" if count else 0, "packed_a" if count else 0, *p.batch, p.m, p.n, p.k, *p.a, *p.b, *p.c, tiles_k, blocks_m, blocks_n,
        1, 1, count, Flags.ACCUMULATE_C * accumulate, 0, 0, panels, columns, a_items, 0, 0, 0]
    if epilogue is not None:
        slots += [f"epilogue{i}" for i in range(epilogue.slots)]
    items = [a_items + b_items if count else 0, count]
    share = [(a_strips + b_strips) * tiles_k > 512, batches * p.m * p.n * p.k > cost.SHARED_PRODUCTS]

    def text() -> str:
        from torsh.codegen import gemm_amx
        return gemm_amx.write(key, dtype_out, half, epilogue, p.transposed)

    scratch = {"packed": b_strips * tiles_k * 1024, "packed_a": a_strips * tiles_k * 1024} if count else {}
    return GemmPlan(key, text, items, share, scratch, slots)


def _copy_a(p: _Problem, lanes: bool, sweeps: int, scalar_bytes: int) -> bool:
    """Whether panels of A are copied before they are used `sweeps` times: where the rows (or columns) of one compete for the sets of the
    first-level cache, a way of which has 4096 bytes, and where the rows of one are adjacent elements of lines far apart."""
    distance = (p.a[3] if lanes else p.a[2]) * scalar_bytes
    if lanes and p.m * p.k * scalar_bytes > 1 << 19:
        return sweeps >= 3
    return p.m > 1 and distance != 0 and distance % 4096 == 0 and sweeps >= (3 if lanes else 8)

"""Matrix products: which kernel, how it is cut into work items, and what its argument table holds.

`plan(...)` answers for C[b, m, n] = sum_k A[b, m, k] * B[b, k, n] with any strides. The kernels follow the protocol of
all kernels: phases `void name_p{i}(ptr args, i64 begin, i64 end)` run one after the other, work items of a phase in
any order on any thread. Sizes and strides are run-time slots, so there is little code: one kernel for general
products (`gemm_tiles`) and two that stream a large matrix once (`gemm_stream`), per dtype and epilogue.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Union

from torsh.codegen import gemm_tiles as tiles
from torsh.codegen.gemm_text import ACCUMULATE, STORAGE, Text

#: A slot is an integer, or the name of an address the caller puts there: "A", "B", "C", a scratch buffer's name
#: ("packed", "partial"), or "epilogue0", "epilogue1", ... for the slots of the epilogue.
SlotValue = Union[int, str]


import os
MINN=int(os.environ.get('MINN','32'))
class Epilogue:
    """A pointwise function fused into the last store of a product.

    `key` names it in the kernel's key, `slots` is the number of argument slots it needs (from `first_slot` on).
    `emit` writes vector code and returns the new value's name; results keep the accumulation type."""
    key = ""
    slots = 0
    first_slot = tiles.EPILOGUE
    #: Whether the rows of the kernel are the caller's columns (it then computes the transposed product).
    transposed = False

    def emit(self, text: Text, value: str, batch: str, row: str, column: str, mask: str) -> str:
        """`value` is a vector of the accumulation type: elements (row, column), (row, column + 1), ... of the kernel's
        matrix; `batch`, `row`, `column` are int64 names, `mask` tells the lanes that exist."""
        raise NotImplementedError


class Bias(Epilogue):
    """Adds bias[n], n the caller's column; contiguous, of storage dtype `dtype`. Slot epilogue0: its address."""
    slots = 1

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype
        self.key = f"bias_{dtype}"

    def emit(self, text: Text, value: str, batch: str, row: str, column: str, mask: str) -> str:
        base, size = text.pointer(self.first_slot), str(STORAGE[self.dtype][1])
        if self.transposed:
            bias = text.splat(text.load_scalar(text.at(base, text.mul(row, size)), self.dtype))
        else:
            bias = text.load(text.at(base, text.mul(column, size)), self.dtype, mask)
        return text.op(f"fadd {text.vector} {value}, {bias}")


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

    def transpose(self) -> "_Problem":
        """The same product as C^T = B^T A^T."""
        def swap(s: tuple[int, ...]) -> tuple[int, ...]:
            return (*s[:-2], s[-1], s[-2])
        return _Problem(self.batch, self.n, self.m, self.k, swap(self.b), swap(self.a), swap(self.c),
                        not self.transposed)


def _cdiv(a: int, b: int) -> int:
    return -(-a // b)


def _normal(batch: int | tuple[int, ...], m: int, n: int, k: int, a: tuple[int, ...], b: tuple[int, ...],
            c: tuple[int, ...]) -> _Problem:
    axes = (batch,) if isinstance(batch, int) else tuple(batch)
    if len(axes) > 2 or min((m, n, k, *axes)) < 0:
        raise ValueError(f"gemm: sizes must be non-negative and at most two batch axes, got batch={axes}, m={m}, n={n}, "
                         f"k={k}")
    for name, strides in (("a", a), ("b", b), ("c", c)):
        if len(strides) != len(axes) + 2:
            raise ValueError(f"gemm: {name}_strides must have {len(axes) + 2} entries, got {tuple(strides)}")
    missing = 2 - len(axes)
    full = [(0,) * missing + tuple(s) for s in (a, b, c)]
    problem = _Problem((1,) * missing + axes, m, n, k, full[0], full[1], full[2], False)  # type: ignore[arg-type]
    if (n == 1 or problem.c[3] != 1) and (m == 1 or problem.c[2] == 1) and not (n == 1 and m == 1):
        problem = problem.transpose()
    return problem


def plan(dtype_in: str, dtype_out: str, batch: int | tuple[int, ...], m: int, n: int, k: int,
         a_strides: tuple[int, ...], b_strides: tuple[int, ...], c_strides: tuple[int, ...], *,
         vector_bytes: int = 64, accumulate: bool = False, epilogue: Epilogue | None = None) -> GemmPlan:
    """The plan for C[b, m, n] = sum_k A[b, m, k] * B[b, k, n].

    `batch` is one extent or two (their strides need not combine); strides are in elements, batch axes first, 0
    where an operand is broadcast. float16 and bfloat16 are summed in float32. `accumulate` adds to C (before
    the epilogue). `vector_bytes` is the vector register size of the machine (64, 32 or 16). Elements of C must not
    overlap one another or A or B. Raises ValueError for sizes, strides or dtypes that do not fit.

    >>> p = plan("float32", "float32", 1, 100, 70, 30, (0, 30, 1), (0, 70, 1), (0, 70, 1))
    >>> p.symbols[1].endswith("_p1"), p.slots[:3]
    (True, ['A', 'B', 'C'])
    """
    for dtype in (dtype_in, dtype_out):
        if dtype not in STORAGE:
            raise ValueError(f"gemm: dtype {dtype!r} is not one of {', '.join(STORAGE)}")
    if ACCUMULATE[dtype_in] != ACCUMULATE[dtype_out]:
        raise ValueError(f"gemm: no product of {dtype_in} stored as {dtype_out}")
    if vector_bytes not in (64, 32, 16):
        raise ValueError(f"gemm: vector_bytes must be 64, 32 or 16, got {vector_bytes}")
    problem = _normal(batch, m, n, k, tuple(a_strides), tuple(b_strides), tuple(c_strides))
    return _plan_tiles(problem, dtype_in, dtype_out, vector_bytes, accumulate, epilogue)


def _bind(epilogue: Epilogue | None, first_slot: int, transposed: bool) -> str:
    """Tell an epilogue where it is; returns its part of the key."""
    if epilogue is None:
        return ""
    epilogue.first_slot, epilogue.transposed = first_slot, transposed
    return f"_{epilogue.key}{'_t' if transposed else ''}"


def _plan_tiles(p: _Problem, dtype_in: str, dtype_out: str, vector_bytes: int, accumulate: bool,
                epilogue: Epilogue | None) -> GemmPlan:
    scalar_bytes = ACCUMULATE[dtype_in][1]
    shape = tiles.Shape(vector_bytes, scalar_bytes)
    batches = p.batch[0] * p.batch[1]
    same = dtype_in in ("float32", "float64")
    own = ACCUMULATE[dtype_out][0] == STORAGE[dtype_out][0] and p.c[3] == 1

    blocks_k = max(1, _cdiv(p.k, shape.depth))
    tile_k = _cdiv(max(1, _cdiv(p.k, blocks_k)), shape.lanes) * shape.lanes
    blocks_k = max(1, _cdiv(p.k, tile_k))
    panels = _cdiv(p.m, shape.rows)
    a_packed = not same or _pack_a(p, shape, scalar_bytes)
    b_in_place = same and p.b[3] == 1 and _keep_b(p, shape, scalar_bytes)

    tile_m, tile_n = _tile(p, shape, batches)
    blocks_m, blocks_n = _cdiv(p.m, tile_m), _cdiv(p.n, tile_n)
    count = batches * blocks_m * blocks_n
    tile_flops = 2 * min(tile_m, p.m) * min(tile_n, p.n) * p.k
    group = max(1, min(count, 400_000 // max(1, tile_flops)))
    one_batch = p.a[0] == 0 and p.a[1] == 0
    packed_items = (1 if one_batch else batches) * blocks_k * panels if a_packed and count and p.k else 0
    partial = 0 if own or blocks_k == 1 else batches * p.m * p.n * scalar_bytes

    flags = (tiles.A_IS_PACKED * a_packed + tiles.B_IN_PLACE * b_in_place + tiles.ACCUMULATE_C * accumulate
             + tiles.PARTIAL_IS_C * own + tiles.A_ONE_BATCH * one_batch)
    tail = _bind(epilogue, tiles.EPILOGUE, p.transposed)
    key = f"gemm_tiles_{dtype_in}_{dtype_out}_{vector_bytes}{tail}"
    scratch = {"packed": packed_items * tile_k * shape.packed_rows * scalar_bytes, "partial": partial}
    scratch = {name: size for name, size in scratch.items() if size}
    a, b = ("B", "A") if p.transposed else ("A", "B")
    slots: list[SlotValue] = [
        a, b, "C", "packed" if "packed" in scratch else 0, "C" if own else "partial" if partial else 0,
        *p.batch, p.m, p.n, p.k, *p.a, *p.b[:2], p.b[2], p.b[3], *p.c, tile_m, tile_n, tile_k, blocks_m, blocks_n,
        blocks_k, group, count, flags, p.m * p.n, p.c[2] if own else p.n, panels]
    if epilogue is not None:
        slots += [f"epilogue{i}" for i in range(epilogue.slots)]
    items = [packed_items, _cdiv(count, group)]
    share = [packed_items * tile_k * shape.rows > 65536, 2 * batches * p.m * p.n * p.k > 2_000_000]
    return GemmPlan(key, lambda: tiles.write(key, dtype_in, dtype_out, vector_bytes, epilogue), items, share, scratch,
                    slots)


def _pack_a(p: _Problem, shape: tiles.Shape, scalar_bytes: int) -> bool:
    return True


def _keep_b(p: _Problem, shape: tiles.Shape, scalar_bytes: int) -> bool:
    return p.m <= 2 * shape.rows


def _tile(p: _Problem, shape: tiles.Shape, batches: int) -> tuple[int, int]:
    """Rows and columns of a work item's tile: large enough to reuse panels, small enough to balance."""
    def even(extent: int, limit: int, unit: int) -> int:
        limit = max(unit, limit // unit * unit)
        return _cdiv(_cdiv(extent, max(1, _cdiv(extent, limit))), unit) * unit or unit

    rows, columns = 32 * shape.rows, 16 * shape.columns
    while True:
        tile_m, tile_n = even(p.m, rows, shape.rows), even(p.n, columns, shape.columns)
        count = batches * _cdiv(p.m, tile_m) * _cdiv(p.n, tile_n)
        if count >= 32 or 2 * tile_m * tile_n * p.k < 2_000_000:
            return tile_m, tile_n
        if tile_n > MINN:
            columns = tile_n // 2
        elif tile_m > 4 * shape.rows:
            rows = tile_m // 2
        else:
            return tile_m, tile_n

"""Products of matrices of 8-bit integers with sums in int32: which kernel, how it is cut into work items, its argument table.

The protocol is that of `gemm`. Both operands are packed before in groups along K that fill 4 bytes, one of which an instruction multiplies and adds up
for every int32 lane: four integers of 8 bits (AMX tiles, AVX-512 VNNI, AVX VNNI, AArch64's sdot), or two widened to 16 where there is no such
instruction (pmaddwd, exact: the pairs of pmaddubsw would saturate). Sums wrap as int32 does, so they are exact below 2^31 and their low bytes always.
"""
from __future__ import annotations

from torsh.codegen import cost
from torsh.codegen.cost import cdiv
from torsh.codegen.gemm import GemmPlan, SlotValue
from torsh.codegen.target import Target, int8_way

__all__ = ["Shape8", "Slots", "bytes_packed", "pack_plan", "plan", "ways"]


class Slots:
    """The argument slots. Strides are in elements, A_PANEL and B_PANEL the bytes of a packed panel, A_NEXT and B_NEXT those of a packed
    matrix, or 0. NEAR: a work item packs its panels of A itself, on the stack."""
    (A, B, C, A_PACKED, B_PACKED, M, N, K, A_BATCH, A_M, A_K, B_BATCH, B_K, B_N, C_BATCH, C_M, C_N,
     PANELS_M, PANELS_N, BLOCKS_M, BLOCKS_N, A_ITEMS, A_PANEL, B_PANEL, A_NEXT, B_NEXT, NEAR) = range(27)


class Shape8:
    """The register tile of a way of multiplying: `rows` x `columns` of C, `group` integers along K that fill 4 bytes, panels whose depth is a multiple
    of `lanes` groups. A panel of B begins with `header` bytes: what sums begin with, for each column (see `flips`).

    `flips`: the instruction wants operands of other signs, so A's bytes have their top bit turned, which adds 128 (or takes it from unsigned ones),
    and the sums begin with -128 (or 128) times the sum of the column of B."""
    __slots__ = ("way", "lanes", "vectors", "rows", "heights", "columns", "group", "header", "packed_rows", "flips")

    def __init__(self, way: str, vector_bytes: int, signed_a: bool) -> None:
        self.way = way
        self.lanes = vector_bytes // 4
        self.vectors = 2
        self.columns = self.vectors * self.lanes
        self.group = 2 if way == "madd" else 4
        self.heights: tuple[int, ...]
        if way == "amx":
            self.rows, self.heights = 32, (32,)
        elif vector_bytes == 64:
            self.rows, self.heights = 14, (14, 8, 4, 1)
        else:
            self.rows, self.heights = (10, (10, 4, 1)) if way == "sdot" else (6, (6, 4, 1))
        self.packed_rows = -(-self.rows // self.lanes) * self.lanes
        self.flips = (way == "dot" and signed_a) or (way == "sdot" and not signed_a)
        self.header = 0 if way == "amx" else self.columns * 4

    def groups(self, depth: int) -> int:
        """Groups of a panel of this depth."""
        return -(-depth // (self.group * self.lanes)) * self.lanes

    def panel_a(self, depth: int) -> int:
        return self.groups(depth) * self.packed_rows * 4

    def panel_b(self, depth: int) -> int:
        return self.header + self.groups(depth) * self.columns * 4


#: Bytes of packed A that a work item uses for each of its panels of B: they stay in the second-level cache.
_A_BYTES = 512 << 10
#: Bytes of a panel of A that fit on the stack.
NEAR_PANEL = 64 << 10
#: Bytes of an operand from which it is packed by several threads.
_SHARE_BYTES = 1 << 18


def _name(shape: Shape8, signed_a: bool) -> str:
    return f"gemm8_{shape.way}_{'s' if signed_a else 'u'}_{shape.lanes * 4}"


def bytes_packed(target: Target, batches: int, n: int, k: int, signed_a: bool) -> int:
    """Bytes of B [batches, k, n] when it is packed for products with an A that is signed or not."""
    shape = Shape8(int8_way(target), target.vector_bytes, signed_a)
    return batches * cdiv(n, shape.columns) * shape.panel_b(k)


def ways(target: Target, batch: int, m: int, n: int, k: int, threads: int) -> list[tuple[str, float]]:
    """The ways that there are on `target`, with predicted microseconds, the quickest first. All give the same integers."""
    lanes = target.vector_bytes // 4
    found = [("madd", cost.in_vectors(batch, m, n, k, 2 * lanes, threads))]
    best = int8_way(target)
    if best in ("dot", "sdot"):
        found.append((best, cost.in_vectors(batch, m, n, k, 8 * lanes, threads)))
    if best == "amx":
        found += [("dot", cost.in_vectors(batch, m, n, k, 8 * lanes, threads)), ("amx", cost.on_tile_registers(batch, m, n, k, 1024, threads))]
    return sorted(found, key=lambda way: way[1])


def plan(target: Target, signed_a: bool, batch: int, m: int, n: int, k: int, a_strides: tuple[int, ...], b_strides: tuple[int, ...],
         c_strides: tuple[int, ...], *, threads: int = 2, packed: bool = False, way: str = "") -> GemmPlan:
    """The plan for C[b, m, n] = sum_k A[b, m, k] * B[b, k, n], A uint8 or (`signed_a`) int8, B int8, C int32.

    Strides are in elements, batch axis first, 0 where an operand is broadcast. With `packed` the slot "B" is what `pack_plan` made of B, of whose
    strides only whether the batch's is 0 matters then. `way` names
    another way than the best for `target` ("amx", "dot", "madd", "sdot"), which must exist there. `threads` are how many share the work; no result
    depends on it. Raises ValueError for negative sizes or strides that do not fit.
    """
    if min(batch, m, n, k) < 0:
        raise ValueError(f"gemm_int8: sizes must not be negative, got batch={batch}, m={m}, n={n}, k={k}")
    for name, strides in (("a", a_strides), ("b", b_strides), ("c", c_strides)):
        if len(strides) != 3:
            raise ValueError(f"gemm_int8: {name}_strides must have 3 entries, got {tuple(strides)}")
    shape = Shape8(way or int8_way(target), target.vector_bytes, signed_a)
    panels, columns = cdiv(m, shape.rows), cdiv(n, shape.columns)
    blocks_m = cdiv(panels, max(1, min(64, _A_BYTES // max(1, shape.panel_a(k)))))
    blocks_n = cdiv(columns, 16)
    blocks_m, blocks_n = cost.finer((blocks_m, blocks_n), panels, columns, batch, m * n * k, threads)
    a_batches, b_batches = (1 if s[0] == 0 else batch for s in (a_strides, b_strides))
    count = batch * blocks_m * blocks_n
    # Where only one work item uses a panel of A, it packs it: memory that all of A is packed into is far away by the time it is read.
    near = blocks_n == 1 and 0 < shape.panel_a(k) <= NEAR_PANEL and a_batches == batch
    a_items, b_items = 0 if near else a_batches * panels, 0 if packed else b_batches * columns
    scratch = {"packed_a": 0 if near else a_batches * panels * shape.panel_a(k), "packed": b_batches * columns * shape.panel_b(k)} if count else {}
    if packed:
        scratch.pop("packed", None)
    scratch = {name: size for name, size in scratch.items() if size}
    slots: list[SlotValue] = [
        "A", "B", "C", "packed_a" if "packed_a" in scratch else 0, "B" if packed else "packed" if "packed" in scratch else 0, m, n, k,
        *a_strides, *b_strides, *c_strides,
        panels, columns, blocks_m, blocks_n, a_items, shape.panel_a(k), shape.panel_b(k),
        0 if a_strides[0] == 0 else panels * shape.panel_a(k), 0 if b_strides[0] == 0 else columns * shape.panel_b(k), int(near)]
    key = _name(shape, signed_a)
    share = [(0 if near else a_batches * m * k) + (0 if packed else b_batches * n * k) > _SHARE_BYTES, batch * m * n * k > cost.SHARED_PRODUCTS]

    def text() -> str:
        from torsh.codegen import gemm_int8_text
        return gemm_int8_text.write(key, shape, signed_a, target.arch)

    return GemmPlan(key, text, [a_items + b_items if count else 0, count], share, scratch, slots)


def pack_plan(target: Target, signed_a: bool, batch: int, n: int, k: int, b_strides: tuple[int, ...]) -> GemmPlan:
    """The plan that packs B [batch, k, n] alone: into "C", of `bytes_packed` bytes."""
    made = plan(target, signed_a, batch, 1, n, k, (1, 0, 0), b_strides, (0, 0, 0))
    slots = list(made.slots)
    slots[Slots.A_PACKED] = slots[Slots.A_ITEMS] = slots[Slots.A] = slots[Slots.C] = 0
    slots[Slots.B_PACKED] = "C"
    items = (1 if b_strides[0] == 0 else batch) * cdiv(n, Shape8(int8_way(target), target.vector_bytes, signed_a).columns)
    return GemmPlan(made.key, made.text, [items, 0], [batch * n * k > _SHARE_BYTES, False], {}, slots)

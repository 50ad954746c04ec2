"""What a plan of a matrix product and the code of its kernels agree on: argument slots, tile shapes, epilogues.

Kept apart from the writers of the code, so that a process whose kernels are all cached does not load those.
"""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from torsh.codegen.gemm_text import Text

#: dtypes a contraction reads and writes, with (LLVM type in memory, bytes).
STORAGE = {"float16": ("i16", 2), "bfloat16": ("i16", 2), "float32": ("float", 4), "float64": ("double", 8)}
#: The LLVM type sums are kept in, and its bytes, by storage dtype.
ACCUMULATE = {"float16": ("float", 4), "bfloat16": ("float", 4), "float32": ("float", 4), "float64": ("double", 8)}

#: Columns of C that a work item of the last phase of `gemm_stream` finishes.
FINISH_COLUMNS = 1024

#: Blocks of B of up to so many bytes are packed on the stack.
NEAR_BYTES = 131072
#: Panels of B that a work item of the first phase of `gemm_tiles` packs.
PACK_COLUMNS = 4

#: Panels of an A whose rows are adjacent elements that are copied together: short ones, so that they stay in the first-level cache.
COPIED_PANELS = 4

#: Pairs of strips that a work item of the first phase of `gemm_amx` packs.
AMX_PANELS = 2


class Tiles:
    """The argument slots of `gemm_tiles`. Strides are in elements, the two tables of offsets (for a B that has them) in bytes."""
    (A, B, C, B_PACKED, PARTIAL, BATCH0, BATCH1, M, N, K, A_BATCH0, A_BATCH1, A_M, A_K, B_BATCH0, B_BATCH1, B_K, B_N,
     C_BATCH0, C_BATCH1, C_M, C_N, TILE_K, BLOCKS_M, BLOCKS_N, BLOCKS_K, GROUP, TILES, FLAGS,
     PARTIAL_BATCH, PARTIAL_M, PANELS_M, PANELS_N, BUFFER, K_OFFSETS, N_OFFSETS, HEIGHT) = range(37)
    #: The first slot of the epilogue.
    EPILOGUE = 37


class Flags:
    """Bits of slot FLAGS of `gemm_tiles`: A's panels are copied before they are used; B is read in place, or was packed by the first
    phase, for all batches if it has one; `accumulate`; the partial sums are kept in C; B is in place and streams by for few rows."""
    COPY_A, B_IN_PLACE, B_IS_PACKED, B_ONE_BATCH, ACCUMULATE_C, PARTIAL_IS_C, B_STREAMS = 1, 2, 4, 8, 16, 32, 64


class Stream:
    """The argument slots of `gemm_stream`. Strides are in elements, X is the few rows of A, contiguous."""
    (A, B, C, X, PARTIAL, BATCH1, M, N, K, A_BATCH0, A_BATCH1, A_M, A_K, X_BATCH0, X_BATCH1, X_M, B_BATCH0, B_BATCH1,
     B_K, B_N, C_BATCH0, C_BATCH1, C_M, C_N, CHUNK_K, CHUNK_N, BLOCKS_K, BLOCKS_N, ROW, ACCUMULATE_C) = range(30)
    #: The first slot of the epilogue.
    EPILOGUE = 30


class Shape:
    """The register tile: `rows` x (`vectors` * lanes), chosen by the vector registers of the machine.

    The accumulators fill most of them. `heights` are the micro-kernels made, from which the rows at the lower edge are
    composed; `packed_rows` is the distance between two k of a panel of A copied with its rows adjacent, `copied_row` that between two
    rows of one copied with k adjacent; `depth` bounds a block of K, `group_depth` one where panels are copied with their rows adjacent. All distances
    in elements."""

    def __init__(self, vector_bytes: int, registers: int, scalar_bytes: int) -> None:
        self.lanes, self.scalar_bytes = vector_bytes // scalar_bytes, scalar_bytes
        # `write_tile_phase` counts on two vectors: a panel in place is whole, or one vector wide, or packed.
        self.vectors = 2
        self.heights: tuple[int, ...]
        self.narrow_heights: tuple[int, ...]
        if registers < 32:
            self.rows, self.heights, self.narrow_heights = 6, (6, 4, 2), (6, 4, 2)
        elif vector_bytes < 64:
            self.rows, self.heights, self.narrow_heights = 12, (12, 10, 8, 4, 2), (12, 8, 4, 2)
        else:
            self.rows, self.heights, self.narrow_heights = 14, (14, 12, 10, 8, 4, 2), (14, 8, 4, 2)
        # Tiles of few rows by more vectors: enough sums that additions need not wait for one another.
        self.broad: tuple[tuple[int, int], ...] = () if registers < 32 else ((8, 3), (6, 4), (4, 4))
        self.columns = self.vectors * self.lanes
        self.packed_rows = -(-self.rows // self.lanes) * self.lanes
        self.depth, self.group_depth = 384, 128
        # An odd number of lines, so that the rows of a panel lie in different sets of the first-level cache.
        self.copied_row = self.depth + 64 // scalar_bytes

    def height(self, rows: int) -> int:
        """Rows of a panel: panels of so many rows altogether are about equal, and as few as they can be."""
        panels = max(1, -(-rows // self.rows))
        return min(height for height in (*self.heights, *(height for height, _ in self.broad)) if height * panels >= rows)


class Place:
    """Where an epilogue's vector belongs: elements (row, column), (row, column + 1), ... of matrix `batch` of C.

    All are names of int64, `mask` of the lanes that exist. Rows and columns are the kernel's; where `transposed`, they
    are the caller's columns and rows. The epilogue's argument slots begin at `first_slot`."""
    __slots__ = ("batch", "row", "column", "mask", "first_slot", "transposed")

    def __init__(self, batch: str, row: str, column: str, mask: str, first_slot: int, transposed: bool) -> None:
        self.batch, self.row, self.column, self.mask = batch, row, column, mask
        self.first_slot, self.transposed = first_slot, transposed


class Epilogue:
    """A pointwise function fused into the last store of a product.

    `key` names it in the kernel's key, `slots` is the number of argument slots it needs. `turns`: it can be given places in C's transpose."""
    key = ""
    slots = 0
    turns = True

    def begin(self, text: Text, batch: str, first_slot: int, extents: tuple[int, int] = (Tiles.M, Tiles.N)) -> None:
        """Write what all calls of `emit` in one function (or turn of a loop) of a kernel need; `batch` is the same for all of them, `extents` are
        the slots of C's rows and columns."""

    def emit(self, text: Text, value: str, place: Place) -> str:
        """Write vector code for `value`, a vector of the accumulation type; returns the name of the result."""
        raise NotImplementedError


class Bias(Epilogue):
    """Adds bias[n], n the caller's column; contiguous, of storage dtype `dtype`. The slot is its address."""
    slots = 1

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype
        self.key = f"bias_{dtype}"

    def emit(self, text: Text, value: str, place: Place) -> str:
        base, size = text.pointer(place.first_slot), str(STORAGE[self.dtype][1])
        if place.transposed:
            bias = text.splat(text.load_scalar(text.at(base, text.mul(place.row, size)), self.dtype))
        else:
            bias = text.load(text.at(base, text.mul(place.column, size)), self.dtype, place.mask)
        return text.op(f"fadd {text.vector} {value}, {bias}")

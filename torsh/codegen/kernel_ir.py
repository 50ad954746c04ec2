"""The kernel IR: what one kernel does, said once for every target.

A `Kernel` is a list of phases that run one after the other with a barrier between. A phase has *parallel axes*
(work items, in any order, on any thread) and a body of statements: loops, accumulators, stores. Values are
expression DAGs; a Python object that is shared is computed once in the scope where it first occurs.

Nothing here knows a target. Sizes, strides and offsets are integers fixed in the code or `Slot`s read from
the kernel's argument table when it runs, so one compiled kernel serves many shapes.

The argument table is an array of 64-bit slots. A buffer's slot holds its address, an integer's slot the int64,
a scalar's slot the bits of a float64 (floating types) or an int64 (integer types and bool).

Vectors: a loop of kind "vector" may be executed many lanes at a time. What is declared or computed outside it
is uniform; what is computed inside has one value a lane. An accumulator declared outside the vector loop and
updated inside is reduced over the lanes when the loop ends, in a fixed tree; one declared inside is a private
value of each lane. Vector loops do not nest in vector loops.
"""
from __future__ import annotations

from typing import Any

from torsh.codegen.record import record

STORAGE_DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64")
#: float16 and bfloat16 live in memory only: a Load gives float32, a Store or Cast rounds to them.
COMPUTE_DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float32", "float64")

# Basic operations: what a target must emit itself. Names follow NumPy. Operand dtypes equal the result's unless said.
UNARY = ("neg", "abs", "sqrt", "floor", "ceil", "trunc", "rint", "not")  # not: bitwise, logical on bool
BINARY = ("add", "sub", "mul", "div", "max", "min", "and", "or", "xor", "shl", "shr", "fmod", "cdiv")
# div: floating only. max, min: a NaN operand gives NaN. shr: arithmetic on signed. fmod: C's fmod or %, sign of the
# dividend. cdiv: integer quotient toward zero; by zero gives 0; INT_MIN/-1 wraps (fmod by integer zero gives 0).
COMPARE = ("eq", "ne", "lt", "le", "gt", "ge")  # operands of one dtype, result bool; ordered except ne
TERNARY = ("where", "fma")  # where(bool, a, b); fma(a, b, c) = a*b+c rounded once
BITS = ("bitcast",)  # float32<->int32, float64<->int64
BASIC = UNARY + BINARY + COMPARE + TERNARY + BITS

# Mathematical functions (floating only): `codegen/math.py` expands them to basic operations, the same on every target.
MATH = ("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin", "acos", "atan", "sinh",
        "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc", "normal_cdf", "sigmoid", "rsqrt", "pow",
        "atan2")

REDUCTIONS = ("sum", "prod", "max", "min", "argmax", "argmin", "any", "all")
# max/min propagate NaN. argmax/argmin take the first NaN, else the first extremum. any/all accumulate bool.
STORE_MODES = ("set", "add", "mul", "max", "min")


@record
class Slot:
    """A run-time int64, read from the argument table. Equal to any slot of its index."""
    index: int

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Slot) and other.index == self.index

    def __hash__(self) -> int:
        return hash((Slot, self.index))


Int = int | Slot


class Expr:
    __slots__ = ()
    dtype: str


@record
class Const(Expr):
    value: Any  # a float, an int or a bool, or NumPy's (compiled readers would take Python's alone if that were the type)
    dtype: str


@record
class Arg(Expr):
    """A run-time scalar from the argument table, converted to `dtype`."""
    slot: int
    dtype: str


@record
class Index(Expr):
    """The value of a loop or parallel axis."""
    axis: int
    dtype: str = "int64"


@record
class Address:
    """Element address: offset + sum(axis * stride) + sum(expr * stride); in elements of the buffer's dtype.

    `gathers` holds (int64 expression, stride) pairs: data-dependent indices, already checked and clamped.
    """
    offset: Int = 0
    terms: tuple[tuple[int, Int], ...] = ()
    gathers: tuple[tuple[Expr, Int], ...] = ()


@record
class Load(Expr):
    """Read a buffer. `dtype` is the compute dtype of the buffer's storage dtype (float16/bfloat16 give float32).

    Where `mask` (bool) is false memory is not touched and the value is `other` (zero by default)."""
    buffer: int
    address: Address
    dtype: str
    mask: Expr | None = None
    other: Const | None = None


@record
class Op(Expr):
    """A basic operation or mathematical function on expressions."""
    name: str
    srcs: tuple[Expr, ...]
    dtype: str


@record
class Cast(Expr):
    """Conversion. Float to integer truncates (out of range: as the target does, no trap); to bool is != 0.
    To float16/bfloat16 the value is rounded to that type and stays float32 in `dtype` terms (dtype="float32",
    to="bfloat16")."""
    src: Expr
    dtype: str
    to: str


@record
class Read(Expr):
    """The present value of an accumulator (for argmax/argmin, `index=True` reads the int64 index)."""
    acc: Acc
    dtype: str
    index: bool = False


@record
class Acc:
    """An accumulator variable: starts at the identity of `op`. argmax/argmin hold (value, int64 index)."""
    op: str
    dtype: str


class Stmt:
    __slots__ = ()


@record
class Declare(Stmt):
    acc: Acc


@record
class Update(Stmt):
    """Fold a value into an accumulator. `times` (floating sums only): its product with the value is added, rounded once with the sum."""
    acc: Acc
    value: Expr
    index: Expr | None = None  # argmax/argmin only
    times: Expr | None = None


@record
class Store(Stmt):
    """Write an element. Modes other than "set" read, combine and write back, in the order of the loops
    (so a vector loop may not carry a store of such a mode unless every lane has its own address: `unique`).

    `stream` is a hint: more is written than caches hold, so the memory need not pass through them."""
    buffer: int
    address: Address
    value: Expr
    mode: str = "set"
    mask: Expr | None = None
    unique: bool = True
    stream: bool = False


@record
class Check(Stmt):
    """Where `ok` is false, store `code` in the int64 at the address in slot `status` (an error reported after the run)."""
    ok: Expr
    status: int
    code: int


@record
class Loop(Stmt):
    """`for axis in range(extent)`, or with `tile=(p, n)`: `for axis in range(p*n, min(extent, (p+1)*n))`, p an axis around it.
    `upto` leaves out the lower bound: `for axis in range(min(extent, (p+1)*n))`.

    A "block" loop is a serial one around a vector loop, free of accumulators, whose iterations do not depend on each
    other: squares of the two loops may be executed at once, where that suits loads that are contiguous along the outer."""
    axis: int
    extent: Int
    kind: str  # "serial" | "block" | "vector"
    body: tuple[Stmt, ...]
    tile: tuple[int, Int] | None = None
    upto: bool = False


@record
class Phase:
    """Work items over the product of the parallel axes (outermost first), then statements for each item."""
    parallel: tuple[tuple[int, Int], ...]
    body: tuple[Stmt, ...]


@record
class Kernel:
    """`buffers[b] = (slot, storage dtype, writable)`; `slots` is the length of the argument table.

    Buffers do not overlap, except that one may be both read and written at the same element by one work item
    (in-place); so loads and stores of one buffer may not be reordered across each other."""
    buffers: tuple[tuple[int, str, bool], ...]
    slots: int
    phases: tuple[Phase, ...]

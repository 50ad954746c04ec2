"""Kernels written by hand, each with data to run on, for the tests of everything that executes or translates kernels."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import ml_dtypes  # noqa: F401  (registers bfloat16 with NumPy)
import numpy as np

from torsh.codegen.check import compute_dtype
from torsh.codegen.kernel_ir import (
    Acc,
    Address,
    Arg,
    Cast,
    Check,
    Const,
    Declare,
    Expr,
    Index,
    Int,
    Kernel,
    Load,
    Loop,
    Op,
    Phase,
    Read,
    Slot,
    Stmt,
    Store,
    Update,
)
from torsh.core.dtypes import by_name

SIZES = (0, 1, 7, 8, 9, 10, 33, 1000)


@dataclass
class Case:
    """A kernel and data: `arrays` by slot (the kernel changes some), integers and scalars by slot."""
    kernel: Kernel
    arrays: dict[int, np.ndarray]
    integers: dict[int, int] = field(default_factory=dict)
    scalars: dict[int, float] = field(default_factory=dict)
    tolerance: float = 0.0

    def arguments(self, arrays: dict[int, np.ndarray]) -> np.ndarray:
        table = np.zeros(max(1, self.kernel.slots), np.int64)
        for slot, value in self.integers.items():
            table[slot] = value
        for slot, scalar in self.scalars.items():
            table[slot:slot + 1].view(np.float64)[0] = scalar
        for slot, array in arrays.items():
            table[slot] = array.ctypes.data
        return table

    def items(self, phase: Phase) -> int:
        total = 1
        for _, n in phase.parallel:
            total *= self.integers[n.index] if isinstance(n, Slot) else n
        return total


def load(buffer: int, dtype: str, *terms: tuple[int, Int], offset: Int = 0, gathers: tuple = (), mask: Expr | None = None,
         other: Const | None = None) -> Load:
    return Load(buffer, Address(offset, tuple(terms), tuple(gathers)), compute_dtype(dtype), mask, other)


def store(buffer: int, value: Expr, *terms: tuple[int, Int], offset: Int = 0, gathers: tuple = (), mode: str = "set",
          mask: Expr | None = None, unique: bool = True) -> Store:
    return Store(buffer, Address(offset, tuple(terms), tuple(gathers)), value, mode, mask, unique)


def op(name: str, *srcs: Expr, dtype: str = "") -> Op:
    return Op(name, srcs, dtype or srcs[-1].dtype)


def compare(name: str, a: Expr, b: Expr) -> Op:
    return Op(name, (a, b), "bool")


def number(value: float, dtype: str = "float32") -> Const:
    return Const(value, dtype)


def kernel(buffers: list[tuple[str, bool]], integers: int, *phases: Phase) -> Kernel:
    """A kernel whose buffers have the first slots, in order, followed by `integers` others."""
    table = tuple((slot, dtype, writable) for slot, (dtype, writable) in enumerate(buffers))
    return Kernel(table, len(buffers) + integers, phases)


def random(rng: np.random.Generator, dtype: str, n: int) -> np.ndarray:
    """Values of every kind a dtype has: small and large, signed zeros, NaN and infinities."""
    if dtype == "bool":
        return rng.random(n) < 0.5
    if dtype in ("float16", "bfloat16", "float32", "float64"):
        with np.errstate(over="ignore"):
            values = (rng.standard_normal(n) * 10.0 ** rng.integers(-6, 7, n)).astype(by_name(dtype).np)
        special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 0.5, 2.5, 3.5], by_name(dtype).np)
        chosen = rng.random(n) < 0.2
        values[chosen] = special[rng.integers(0, len(special), int(chosen.sum()))]
        return values
    info = np.iinfo(dtype)
    values = rng.integers(max(info.min, -100), min(info.max, 100), n, endpoint=True).astype(dtype)
    chosen = rng.random(n) < 0.2
    extremes = np.array([info.min, info.max, 0, 1], dtype)
    values[chosen] = extremes[rng.integers(0, 4, int(chosen.sum()))]
    return values


def plain(rng: np.random.Generator, dtype: str, n: int) -> np.ndarray:
    """Values near 1, for sums."""
    return rng.standard_normal(n).astype(by_name(dtype).np)


# Pointwise kernels over one vector axis

def pointwise(n: int, rng: np.random.Generator) -> Case:
    x, y = load(0, "float32", (0, 1)), load(1, "float32", (0, 1))
    value = op("max", op("add", op("mul", x, y), number(1.5)), op("sub", x, Arg(4, "float32")))
    body = (Loop(0, Slot(3), "vector", (store(2, value, (0, 1)),)),)
    k = kernel([("float32", False), ("float32", False), ("float32", True)], 2, Phase((), body))
    return Case(k, {0: random(rng, "float32", n), 1: random(rng, "float32", n), 2: np.zeros(n, "float32")}, {3: n}, {4: 0.3})


def literal_extent(n: int, rng: np.random.Generator) -> Case:
    body = (Loop(0, n, "vector", (store(1, op("neg", load(0, "float32", (0, 1))), (0, 1)),)),)
    k = kernel([("float32", False), ("float32", True)], 0, Phase((), body))
    return Case(k, {0: random(rng, "float32", n), 1: np.zeros(n, "float32")})


def in_place(n: int, rng: np.random.Generator) -> Case:
    """A buffer read and written, and a second output that uses the new value."""
    new = op("mul", load(0, "float32", (0, 1)), number(2.0))
    body = (Loop(0, Slot(2), "vector", (store(0, new, (0, 1)), store(1, load(0, "float32", (0, 1)), (0, 1)))),)
    k = kernel([("float32", True), ("float32", True)], 1, Phase((), body))
    return Case(k, {0: random(rng, "float32", n), 1: np.zeros(n, "float32")}, {2: n})


def tiles(n: int, rng: np.random.Generator) -> Case:
    """One axis cut in tiles of 24, work items in parallel."""
    body = (Loop(1, Slot(2), "vector", (store(1, op("abs", load(0, "float32", (1, 1))), (1, 1)),), (0, 24)),)
    k = kernel([("float32", False), ("float32", True)], 2, Phase(((0, Slot(3)),), body))
    return Case(k, {0: random(rng, "float32", n), 1: np.zeros(n, "float32")}, {2: n, 3: -(-n // 24)})


def products_upto(n: int, rng: np.random.Generator) -> Case:
    """out[p, j] = sum over k < min(n, 2 * (p + 1)) of a[k] * b[j], each product rounded once with the sum, which every lane has of its own."""
    acc = Acc("sum", "float32")
    fold = Loop(2, Slot(3), "serial", (Update(acc, load(1, "float32", (1, 1)), None, load(0, "float32", (2, 1))),), (0, 2), True)
    lanes = Loop(1, Slot(3), "vector", (Declare(acc), fold, store(2, Read(acc, "float32"), (0, Slot(3)), (1, 1))))
    k = kernel([("float32", False)] * 2 + [("float32", True)], 1, Phase(((0, 5),), (lanes,)))
    return Case(k, {0: random(rng, "float32", n), 1: random(rng, "float32", n), 2: np.zeros(5 * n, "float32")}, {3: n})


def broadcast(n: int, rng: np.random.Generator) -> Case:
    """out[i, j, k] = a[i, 0, k] + b[j] * c, three parallel axes of which two are work items."""
    value = op("add", load(0, "float64", (0, Slot(5)), (2, 1)), op("mul", load(1, "float64", (1, 1)), load(2, "float64")))
    body = (Loop(2, Slot(4), "vector", (store(3, value, (0, Slot(6)), (1, Slot(4)), (2, 1)),)),)
    k = kernel([("float64", False)] * 3 + [("float64", True)], 3, Phase(((0, 3), (1, 5)), body))
    arrays = {0: random(rng, "float64", 3 * n), 1: random(rng, "float64", 5), 2: random(rng, "float64", 1),
              3: np.zeros(15 * n)}
    return Case(k, arrays, {4: n, 5: n, 6: 5 * n})


def strided(n: int, rng: np.random.Generator) -> Case:
    """Strides of 3, of a slot and of -1 on reading, 2 on writing, with offsets."""
    value = op("add", op("add", load(0, "float32", (0, 3), offset=2), load(1, "float32", (0, Slot(4)), offset=Slot(5))),
               load(2, "float32", (0, -1), offset=Slot(6)))
    body = (Loop(0, Slot(7), "vector", (store(3, value, (0, 2), offset=1),)),)
    k = kernel([("float32", False)] * 3 + [("float32", True)], 4, Phase((), body))
    arrays = {0: random(rng, "float32", 3 * n + 2), 1: random(rng, "float32", 5 * n + 1), 2: random(rng, "float32", n),
              3: np.zeros(2 * n + 1, "float32")}
    return Case(k, arrays, {4: 5, 5: 1, 6: n - 1, 7: n})


def gather(n: int, rng: np.random.Generator) -> Case:
    """out[i] = table[index[i] * 4 + 1], the index checked and clamped."""
    index = Cast(load(1, "int32", (0, 1)), "int64", "int64")
    rows = Cast(Arg(5, "int64"), "int64", "int64")
    inside = op("and", compare("ge", index, number(0, "int64")), compare("lt", index, rows))
    clamped = op("max", op("min", index, op("sub", rows, number(1, "int64"))), number(0, "int64"))
    body = (Loop(0, Slot(4), "vector", (Check(inside, 3, 77), store(2, load(0, "float32", offset=1, gathers=((clamped, 4),)),
                                                                     (0, 1)))),)
    k = Kernel(((0, "float32", False), (1, "int32", False), (2, "float32", True)), 6, (Phase((), body),))
    index_array = rng.integers(0, 13, n).astype("int32")
    if n > 8:
        index_array[n - 1] = 13
    return Case(k, {0: random(rng, "float32", 4 * 13 + 1), 1: index_array, 2: np.zeros(n, "float32"),
                    3: np.zeros(1, "int64")}, {4: n, 5: 13})


def masked(n: int, rng: np.random.Generator) -> Case:
    """A padded shift: out[i] = x[i - 3] inside the array, 5 outside; stored where a condition holds."""
    i = Index(0)
    at = op("sub", i, number(3, "int64"))
    ok = op("and", compare("ge", at, number(0, "int64")), load(1, "bool", (0, 1)))
    value = load(0, "float32", (0, 1), offset=-3, mask=ok, other=number(5.0))
    guarded = load(0, "float32", (0, 2), offset=-6,
                   mask=op("and", ok, compare("lt", op("mul", at, number(2, "int64")), Arg(4, "int64"))))
    body = (Loop(0, Slot(3), "vector", (store(2, op("add", value, guarded), (0, 1), mask=compare("ne", op(
        "and", i, number(3, "int64")), number(2, "int64"))),)),)
    k = Kernel(((0, "float32", False), (1, "bool", False), (2, "float32", True)), 5, (Phase((), body),))
    return Case(k, {0: random(rng, "float32", n), 1: random(rng, "bool", n), 2: np.full(n, 9, "float32")}, {3: n, 4: n})


def index_values(n: int, rng: np.random.Generator) -> Case:
    """arange * 3 + row, and an int32 copy."""
    value = op("add", op("mul", Index(1), number(3, "int64")), Index(0))
    body = (Loop(1, Slot(2), "vector", (store(0, value, (0, Slot(2)), (1, 1)),
                                        store(1, Cast(value, "int32", "int32"), (0, Slot(2)), (1, 1)))),)
    k = kernel([("int64", True), ("int32", True)], 1, Phase(((0, 3),), body))
    return Case(k, {0: np.zeros(3 * n, "int64"), 1: np.zeros(3 * n, "int32")}, {2: n})


def index_limits(n: int, rng: np.random.Generator) -> Case:
    """How an axis compares with numbers on either side, the least and the greatest among them: a bit for each answer; and a strided load where one holds."""
    i, total = Index(0), number(0, "int64")
    limits = [*[Arg(2 + k, "int64") for k in range(6)], number(-2**63, "int64"), number(5, "int64"), number(2**63 - 1, "int64")]
    sources = [compare(name, *sides) for limit in limits for name in ("lt", "le", "gt", "ge") for sides in ((i, limit), (limit, i))]
    for k, answer in enumerate(sources[:63]):
        total = op("or", total, op("where", answer, number(1 << k, "int64"), number(0, "int64")))
    inside = load(1, "int64", (0, 3), mask=compare("lt", i, Arg(5, "int64")), other=number(7, "int64"))
    body = (Loop(0, Slot(8), "vector", (store(0, op("xor", total, inside), (0, 1)),)),)
    k = kernel([("int64", True), ("int64", False)], 7, Phase((), body))
    values = dict(enumerate([-2**63, 2**63 - 1, -1, n // 2, n - 1, 17], 2))
    return Case(k, {0: np.zeros(n, "int64"), 1: random(rng, "int64", max(1, 3 * (n // 2)))}, {**values, 8: n})


def one_place(n: int, rng: np.random.Generator) -> Case:
    """A vector loop that stores every value in one element: the last stays."""
    body = (Loop(0, Slot(2), "vector", (store(1, load(0, "int16", (0, 1)), offset=1, unique=False),)),)
    k = kernel([("int16", False), ("int16", True)], 1, Phase((), body))
    return Case(k, {0: random(rng, "int16", n), 1: np.zeros(2, "int16")}, {2: n})


# Reductions

def softmax(n: int, rng: np.random.Generator) -> Case:
    """Rows: maximum, sum of 2**round(x - max), division; the exponential replaced by something exact."""
    x = load(0, "float32", (0, Slot(3)), (1, 1))
    peak, total = Acc("max", "float32"), Acc("sum", "float32")
    shifted = op("div", number(1.0), op("add", number(1.0), op("sub", Read(peak, "float32"), x)))
    body: tuple[Stmt, ...] = (
        Declare(peak), Loop(1, Slot(3), "vector", (Update(peak, x),)),
        Declare(total), Loop(1, Slot(3), "vector", (Update(total, shifted),)),
        Loop(1, Slot(3), "vector", (store(1, op("div", shifted, Read(total, "float32")), (0, Slot(3)), (1, 1)),)),
        store(2, Read(total, "float32"), (0, 1)))
    k = kernel([("float32", False), ("float32", True), ("float32", True)], 1, Phase(((0, 4),), body))
    return Case(k, {0: plain(rng, "float32", 4 * n), 1: np.zeros(4 * n, "float32"), 2: np.zeros(4, "float32")}, {3: n},
                tolerance=1e-5)


def softmax_in_place(n: int, rng: np.random.Generator) -> Case:
    case = softmax(n, rng)
    x = load(0, "float32", (0, Slot(3)), (1, 1))
    again = load(0, "float32", (0, Slot(3)), (1, 1))
    peak = Acc("max", "float32")
    body: tuple[Stmt, ...] = (Declare(peak), Loop(1, Slot(3), "vector", (Update(peak, x),)),
                              Loop(1, Slot(3), "vector", (store(0, op("sub", again, Read(peak, "float32")), (0, Slot(3)), (1, 1)),)))
    k = kernel([("float32", True), ("float32", True), ("float32", True)], 1, Phase(((0, 4),), body))
    return Case(k, case.arrays, case.integers)


def columns(n: int, rng: np.random.Generator) -> Case:
    """Column sums and maxima: accumulators of each lane, a serial loop inside the vector loop."""
    x = load(0, "float32", (1, Slot(3)), (0, 1))
    total, peak = Acc("sum", "float32"), Acc("max", "float32")
    body = (Loop(0, Slot(3), "vector", (
        Declare(total), Declare(peak), Loop(1, Slot(4), "serial", (Update(total, x), Update(peak, x))),
        store(1, Read(total, "float32"), (0, 1)), store(2, Read(peak, "float32"), (0, 1)))),)
    k = kernel([("float32", False), ("float32", True), ("float32", True)], 2, Phase((), body))
    return Case(k, {0: plain(rng, "float32", 11 * n), 1: np.zeros(n, "float32"), 2: np.zeros(n, "float32")}, {3: n, 4: 11},
                tolerance=1e-5)


def whole_sum(n: int, rng: np.random.Generator) -> Case:
    """A full reduction in two phases: a partial sum a tile, then the sum of these."""
    partial, total = Acc("sum", "float64"), Acc("sum", "float64")
    first = (Declare(partial), Loop(1, Slot(3), "vector", (Update(partial, Cast(load(0, "float32", (1, 1)), "float64", "float64")),),
                                    (0, 40)), store(1, Read(partial, "float64"), (0, 1)))
    second = (Declare(total), Loop(2, Slot(4), "vector", (Update(total, load(1, "float64", (2, 1))),)),
              store(2, Cast(Read(total, "float64"), "float32", "float32")))
    k = kernel([("float32", False), ("float64", True), ("float32", True)], 2, Phase(((0, Slot(4)),), first), Phase((), second))
    tiles_ = -(-n // 40)
    return Case(k, {0: plain(rng, "float32", n), 1: np.zeros(tiles_), 2: np.zeros(1, "float32")}, {3: n, 4: tiles_},
                tolerance=1e-6)


def plane_sum(n: int, rng: np.random.Generator) -> Case:
    """A sum over two axes: the lanes are combined once, after the outer serial loop."""
    total, largest = Acc("sum", "float32"), Acc("max", "float32")
    x = load(0, "float32", (0, Slot(4)), (1, Slot(3)), (2, 1))
    body = (Declare(total), Declare(largest),
            Loop(1, 6, "serial", (Loop(2, Slot(3), "vector", (Update(total, x), Update(largest, op("abs", x)))),)),
            store(1, Read(total, "float32"), (0, 1)), store(2, Read(largest, "float32"), (0, 1)))
    k = kernel([("float32", False), ("float32", True), ("float32", True)], 2, Phase(((0, 3),), body))
    return Case(k, {0: plain(rng, "float32", 18 * n), 1: np.zeros(3, "float32"), 2: np.zeros(3, "float32")}, {3: n, 4: 6 * n},
                tolerance=1e-5)


def count_up(n: int, rng: np.random.Generator) -> Case:
    """A uniform value added in a vector loop counts every lane; an accumulator updated inside and outside."""
    total = Acc("sum", "int32")
    body = (Declare(total), Update(total, number(5, "int32")), Loop(0, Slot(1), "vector", (Update(total, number(1, "int32")),)),
            Loop(1, 3, "serial", (Update(total, number(100, "int32")),
                                  Loop(0, Slot(1), "vector", (Update(total, number(1, "int32")),)))),
            store(0, Read(total, "int32")))
    return Case(kernel([("int32", True)], 1, Phase((), body)), {0: np.zeros(1, "int32")}, {1: n})


def extrema(dtype: str, finite: bool = False) -> Callable[[int, np.random.Generator], Case]:
    """max, min, argmax, argmin of rows, with NaN, infinities and repeated values."""
    def make(n: int, rng: np.random.Generator) -> Case:
        x = load(0, dtype, (0, Slot(5)), (1, 1))
        accs = [Acc(name, compute_dtype(dtype)) for name in ("max", "min", "argmax", "argmin")]
        updates = tuple(Update(a, x, Index(1) if a.op.startswith("arg") else None) for a in accs)
        body: tuple[Stmt, ...] = tuple(Declare(a) for a in accs) + (Loop(1, Slot(5), "vector", updates),)
        for number_, a in enumerate(accs):
            arg = number_ >= 2
            body += (store(1 + number_, Read(a, "int64", True) if arg else Read(a, compute_dtype(dtype)), (0, 1)),)
        k = kernel([(dtype, False), (dtype, True), (dtype, True), ("int64", True), ("int64", True)], 1,
                   Phase(((0, 6),), body))
        data = random(rng, dtype, 6 * n)
        if finite and data.dtype.kind == "f":
            data[np.isnan(data)] = 0
        np_dtype = by_name(dtype).np
        return Case(k, {0: data, 1: np.zeros(6, np_dtype), 2: np.zeros(6, np_dtype), 3: np.zeros(6, "int64"),
                        4: np.zeros(6, "int64")}, {5: n})
    return make


def logical(n: int, rng: np.random.Generator) -> Case:
    """any and all of rows; a product of integers."""
    x = load(0, "bool", (0, Slot(4)), (1, 1))
    some, every, product = Acc("any", "bool"), Acc("all", "bool"), Acc("prod", "int64")
    odd = op("add", op("mul", Cast(x, "int64", "int64"), number(2, "int64")), number(1, "int64"))
    body = (Declare(some), Declare(every), Declare(product),
            Loop(1, Slot(4), "vector", (Update(some, x), Update(every, x), Update(product, odd))),
            store(1, Read(some, "bool"), (0, 1)), store(2, Read(every, "bool"), (0, 1)), store(3, Read(product, "int64"), (0, 1)))
    k = kernel([("bool", False), ("bool", True), ("bool", True), ("int64", True)], 1, Phase(((0, 6),), body))
    data = rng.random((6, n)) < np.array([0, 1, 0.5, 0.5, 1 / (n + 1), 1 - 1 / (n + 1)])[:, None]
    return Case(k, {0: data.ravel(), 1: np.zeros(6, "bool"), 2: np.zeros(6, "bool"), 3: np.zeros(6, "int64")}, {4: n})


# Order matters

def cumulative(n: int, rng: np.random.Generator) -> Case:
    """Running sums of columns: a serial loop with a Read inside, in a vector loop."""
    acc = Acc("sum", "int32")
    body = (Loop(0, Slot(2), "vector", (Declare(acc), Loop(1, 5, "serial", (
        Update(acc, load(0, "int32", (1, Slot(2)), (0, 1))), store(1, Read(acc, "int32"), (1, Slot(2)), (0, 1)))))),)
    k = kernel([("int32", False), ("int32", True)], 1, Phase((), body))
    return Case(k, {0: random(rng, "int32", 5 * n), 1: np.zeros(5 * n, "int32")}, {2: n})


def running(n: int, rng: np.random.Generator) -> Case:
    """Running sum along a row, uniform code; then in place: x[i + 1] += x[i]."""
    acc = Acc("sum", "int64")
    body = (Declare(acc), Loop(0, Slot(2), "serial", (Update(acc, load(0, "int64", (0, 1))),
                                                     store(1, Read(acc, "int64"), (0, 1)))),
            Loop(1, Slot(3), "serial", (store(0, op("add", load(0, "int64", (1, 1), offset=1), load(0, "int64", (1, 1))),
                                              (1, 1), offset=1),)))
    k = kernel([("int64", True), ("int64", True)], 2, Phase((), body))
    return Case(k, {0: random(rng, "int64", n), 1: np.zeros(n, "int64")}, {2: n, 3: max(0, n - 1)})


def scatter_add(n: int, rng: np.random.Generator) -> Case:
    """out[index[i], :] += x[i, :], rows in order, lanes along the row; a histogram beside it."""
    index = load(1, "int64", (0, 1))
    body = (Loop(0, Slot(4), "serial", (
        store(3, number(1, "int32"), gathers=((index, 1),), mode="add", unique=False),
        Loop(1, 20, "vector", (store(2, load(0, "float32", (0, 20), (1, 1)), (1, 1), gathers=((index, 20),), mode="add"),)))),)
    k = kernel([("float32", False), ("int64", False), ("float32", True), ("int32", True)], 1, Phase((), body))
    return Case(k, {0: plain(rng, "float32", 20 * n), 1: rng.integers(0, 6, n), 2: np.zeros(120, "float32"),
                    3: np.zeros(6, "int32")}, {4: n})


def permuted_modes(n: int, rng: np.random.Generator) -> Case:
    """Every store mode at addresses that a permutation gives, in a vector loop."""
    index = load(1, "int64", (0, 1))
    modes = ("set", "add", "mul", "max", "min")
    body = (Loop(0, Slot(7), "vector", tuple(
        store(2 + k, load(0, "float32", (0, 1)), gathers=((index, 1),), mode=mode) for k, mode in enumerate(modes))),)
    k = kernel([("float32", False), ("int64", False)] + [("float32", True)] * 5, 1, Phase((), body))
    arrays = {0: random(rng, "float32", n), 1: rng.permutation(n)}
    arrays.update({2 + i: random(rng, "float32", n) for i in range(5)})
    return Case(k, arrays, {7: n})


def contiguous_modes(dtype: str) -> Callable[[int, np.random.Generator], Case]:
    def make(n: int, rng: np.random.Generator) -> Case:
        body = (Loop(0, Slot(5), "vector", tuple(
            store(1 + k, load(0, dtype, (0, 1)), (0, 1), mode=mode) for k, mode in enumerate(("add", "mul", "max", "min")))),)
        k = kernel([(dtype, False)] + [(dtype, True)] * 4, 1, Phase((), body))
        return Case(k, {i: random(rng, dtype, n) for i in range(5)}, {5: n})
    return make


def empty_inside(n: int, rng: np.random.Generator) -> Case:
    """A load that no loop reaches when the inner extent is 0, from a buffer that may then be anywhere."""
    total = Acc("sum", "float32")
    weight = load(0, "float32", (0, 1))
    body = (Declare(total), Loop(1, Slot(4), "serial", (Loop(2, Slot(3), "vector", (
        Update(total, op("mul", weight, load(1, "float32", (2, 1)))),)),)), store(2, Read(total, "float32"), (0, 1)))
    k = kernel([("float32", False), ("float32", False), ("float32", True)], 2, Phase(((0, 4),), body))
    size = 4 if n else 0
    return Case(k, {0: plain(rng, "float32", size), 1: plain(rng, "float32", n), 2: np.zeros(4, "float32")}, {3: n, 4: 2},
                tolerance=1e-5)


def mixed_widths(n: int, rng: np.random.Generator) -> Case:
    """uint8 pixels to float32, scaled, rounded and back; a float64 copy."""
    x = Cast(load(0, "uint8", (0, 1)), "float32", "float32")
    y = op("mul", x, number(0.7))
    body = (Loop(0, Slot(3), "vector", (store(1, Cast(op("rint", y), "uint8", "uint8"), (0, 1)),
                                        store(2, Cast(y, "float64", "float64"), (0, 1)))),)
    k = kernel([("uint8", False), ("uint8", True), ("float64", True)], 1, Phase((), body))
    return Case(k, {0: random(rng, "uint8", n), 1: np.zeros(n, "uint8"), 2: np.zeros(n)}, {3: n})


def transposed(dtype: str, stream: bool = False) -> Callable[[int, np.random.Generator], Case]:
    """out[p, i, j] = in[p, j, i] + row[i] + column[j] in blocks of tiles of 40 i and 24 j."""
    def make(n: int, rng: np.random.Generator) -> Case:
        columns = n // 2 + 3
        plane = Slot(9)
        value = op("add", load(0, dtype, (0, plane), (3, 1), (4, Slot(6)), offset=2),
                   op("add", load(1, dtype, (3, 1)), load(2, dtype, (4, 1))))
        where = ((0, plane), (3, Slot(5)), (4, 1))
        body = Store(3, Address(1, where), value, stream=stream)
        loops = Loop(3, Slot(4), "block", (Loop(4, Slot(5), "vector", (body,), (2, 24)),), (1, 40))
        k = kernel([(dtype, False)] * 3 + [(dtype, True)], 6, Phase(((0, 2), (1, Slot(7)), (2, Slot(8))), (loops,)))
        arrays = {0: plain(rng, dtype, 2 * n * columns + 2), 1: plain(rng, dtype, n), 2: plain(rng, dtype, columns),
                  3: np.zeros(2 * n * columns + 1, by_name(dtype).np)}
        return Case(k, arrays, {4: n, 5: columns, 6: n, 7: -(-n // 40), 8: -(-columns // 24), 9: n * columns})
    return make


def fixed_square(n: int, rng: np.random.Generator) -> Case:
    """out[i, j] = a[j, i] * b[i, j] with extents in the code, and in place in b."""
    value = op("mul", load(0, "float32", (3, 1), (4, 32)), load(1, "float32", (3, 48), (4, 1)))
    loops = Loop(3, 32, "block", (Loop(4, 48, "vector", (store(1, value, (3, 48), (4, 1)),)),))
    k = kernel([("float32", False), ("float32", True)], 0, Phase((), (loops,)))
    return Case(k, {0: random(rng, "float32", 32 * 48), 1: random(rng, "float32", 32 * 48)}, {})


def mathematical(n: int, rng: np.random.Generator) -> Case:
    """A chain of mathematical functions."""
    x = load(0, "float32", (0, 1))
    value = op("tanh", op("log1p", op("exp", op("sin", op("sqrt", op("abs", x))))))
    body = (Loop(0, Slot(2), "vector", (store(1, value, (0, 1)),)),)
    k = kernel([("float32", False), ("float32", True)], 1, Phase((), body))
    return Case(k, {0: plain(rng, "float32", n), 1: np.zeros(n, "float32")}, {2: n}, tolerance=2e-6)


SAMPLES: dict[str, Callable[[int, np.random.Generator], Case]] = {
    f.__name__: f for f in (
        pointwise, literal_extent, in_place, tiles, products_upto, broadcast, strided, gather, masked, index_values, index_limits, one_place, softmax,
        softmax_in_place, columns, whole_sum, plane_sum, count_up, logical, cumulative, running, scatter_add,
        permuted_modes, empty_inside, mixed_widths, fixed_square, mathematical)}
SAMPLES.update({f"extrema_{d}": extrema(d) for d in ("float32", "float64", "int64", "uint8", "bfloat16")})
SAMPLES.update({f"transposed_{d}": transposed(d) for d in ("float32", "float64", "bfloat16", "int8", "bool")})
SAMPLES["transposed_past_caches"] = transposed("float32", stream=True)
SAMPLES["extrema_finite"] = extrema("float32", finite=True)
SAMPLES.update({f"modes_{d}": contiguous_modes(d) for d in ("float32", "float16", "bfloat16", "bool", "int8", "int64")})


def copies(arrays: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
    return {slot: array.copy() for slot, array in arrays.items()}


def assert_same(case: Case, got: dict[int, np.ndarray], wanted: dict[int, np.ndarray]) -> None:
    """Equal elements (NaN equals NaN), or within the case's tolerance."""
    for slot in wanted:
        a, b = got[slot], wanted[slot]
        if a.dtype.name in ("bfloat16", "float16"):
            a, b = a.astype("float32"), b.astype("float32")
        if case.tolerance and a.dtype.kind == "f":
            np.testing.assert_allclose(a, b, rtol=case.tolerance, atol=case.tolerance, err_msg=f"slot {slot}")
        else:
            np.testing.assert_array_equal(a, b, err_msg=f"slot {slot}")

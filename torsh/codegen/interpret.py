"""Kernels executed with NumPy, slowly and plainly: what generated code is compared with.

Work items and serial loops run one after the other; a vector loop runs all its lanes at once, as arrays.
"""
from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from torsh.codegen.kernel_ir import (
    MATH,
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
    Read,
    Slot,
    Stmt,
    Store,
    Update,
)
from torsh.codegen.walk import operands, postorder, roots, statements
from torsh.core.dtypes import by_name

Array = Any


def run(kernel: Kernel, args: np.ndarray, buffers: Mapping[int, np.ndarray]) -> None:
    """Execute a kernel on one-dimensional arrays, found by the slot of the buffer (or of a Check's status).

    `args` (int64, length `kernel.slots`) holds the integers and scalars; the slots of buffers are not looked at.
    Raises IndexError where the kernel reads or writes outside an array."""
    with np.errstate(all="ignore"):
        _Interpreter(kernel, args, buffers).run()


class _Interpreter:
    def __init__(self, kernel: Kernel, args: np.ndarray, buffers: Mapping[int, np.ndarray]) -> None:
        self.kernel = kernel
        self.args = args
        self.by_slot = buffers
        self.arrays = [buffers[slot] for slot, _, _ in kernel.buffers]
        for (slot, dtype, _), array in zip(kernel.buffers, self.arrays):
            assert array.dtype == by_name(dtype).np, f"slot {slot}: {array.dtype}, not {dtype}"
            assert array.ndim == 1, f"slot {slot} has {array.ndim} dimensions"
        self.axes: dict[int, Array] = {}
        self.accs: dict[Acc, tuple[Array, Array]] = {}
        self.known: list[dict[int, Array]] = [{}]
        self.lanes = 0  # in a vector loop

    def run(self) -> None:
        for phase in self.kernel.phases:
            for point in itertools.product(*[range(self.integer(n)) for _, n in phase.parallel]):
                self.known = [{}]
                self.accs = {}
                self.axes = {axis: np.int64(i) for (axis, _), i in zip(phase.parallel, point)}
                self.body(phase.body)

    def integer(self, n: Int) -> int:
        return int(self.args[n.index]) if isinstance(n, Slot) else n

    def body(self, body: tuple[Stmt, ...]) -> None:
        for s in body:
            values = {id(e): self.value(e) for e in roots(s)}
            if isinstance(s, Loop):
                self.loop(s)
            elif isinstance(s, Declare):
                shape = (self.lanes,) if self.lanes else ()
                start = np.full(shape, identity(s.acc), dtype=s.acc.dtype)
                self.accs[s.acc] = (start[()], np.full(shape, np.iinfo(np.int64).max)[()])
            elif isinstance(s, Update):
                if s.times is not None:
                    total = np.broadcast_arrays(values[id(s.value)], values[id(s.times)], self.accs[s.acc][0])
                    self.accs[s.acc] = (_fused(*total).astype(s.acc.dtype)[()], self.accs[s.acc][1])
                else:
                    self.update(s.acc, values[id(s.value)], None if s.index is None else values[id(s.index)])
            elif isinstance(s, Store):
                self.store(s, values[id(s.value)], None if s.mask is None else values[id(s.mask)])
            elif isinstance(s, Check):
                if not np.all(values[id(s.ok)]):
                    self.by_slot[s.status][0] = s.code

    def loop(self, s: Loop) -> None:
        low, high = 0, self.integer(s.extent)
        if s.tile is not None:
            size = self.integer(s.tile[1])
            start = int(self.axes[s.tile[0]]) * size
            low, high = 0 if s.upto else start, min(high, start + size)
        if s.kind != "vector":
            for i in range(low, high):
                self.axes[s.axis] = np.int64(i)
                self.known.append({})
                self.body(s.body)
                self.known.pop()
        elif high > low:
            self.lanes = high - low
            self.axes[s.axis] = np.arange(low, high, dtype=np.int64)
            self.known.append({})
            inside = list(statements(s.body))
            own = {x.acc for x in inside if isinstance(x, Declare)}
            outside = [a for a in dict.fromkeys(x.acc for x in inside if isinstance(x, Update)) if a not in own]
            before = {a: self.accs[a] for a in outside}
            for a in outside:
                self.accs[a] = (np.full(self.lanes, identity(a), a.dtype), np.full(self.lanes, np.iinfo(np.int64).max))
            self.body(s.body)
            self.lanes = 0
            self.known.pop()
            for a in outside:
                values, indices = self.accs[a]
                self.accs[a] = before[a]
                self.update(a, *across(a, values, indices))
        self.axes.pop(s.axis, None)

    def update(self, acc: Acc, value: Array, index: Array) -> None:
        old, old_index = self.accs[acc]
        picked: Array
        if acc.op in ("argmax", "argmin"):
            nan, nan_old = value != value, old != old
            better = value > old if acc.op == "argmax" else value < old
            equal = (value == old) | (nan & nan_old)
            take = (~nan_old & (better | nan)) | (equal & (index < old_index))
            picked = np.where(take, value, old), np.where(take, index, old_index)
            self.accs[acc] = (picked[0][()], picked[1][()])
        else:
            self.accs[acc] = (cast(COMBINE[acc.op](old, value), acc.dtype), old_index)

    # Memory

    def address(self, a: Address) -> Array:
        at: Array = np.int64(self.integer(a.offset))
        for axis, stride in a.terms:
            at = at + self.axes[axis] * np.int64(self.integer(stride))
        for e, stride in a.gathers:
            at = at + self.value(e) * np.int64(self.integer(stride))
        return at

    def load(self, e: Load) -> Array:
        array = self.arrays[e.buffer]
        at = self.address(e.address)
        mask: Array = True if e.mask is None else self.value(e.mask)
        at, mask = np.broadcast_arrays(at, mask)
        inside(array, at[mask])
        result = np.full(at.shape, 0 if e.other is None else e.other.value, dtype=e.dtype)
        result[mask] = array[at[mask]].astype(e.dtype)
        return result[()]

    def store(self, s: Store, value: Array, mask: Array | None) -> None:
        array = self.arrays[s.buffer]
        at, value, mask = np.broadcast_arrays(self.address(s.address), value, True if mask is None else mask)
        inside(array, at[mask])
        for i, v in zip(at[mask].tolist(), value[mask]):
            if s.mode != "set":
                v = COMBINE[s.mode](array[i].astype(value.dtype), v)
            array[i] = np.asarray(v, value.dtype).astype(array.dtype)

    # Values

    def value(self, e: Expr) -> Array:
        """An expression's value; one that occurs again in the scope or deeper is not computed again."""
        for x in postorder([e], lambda y: () if self.find(y) is not None else operands(y)):
            if self.find(x) is None:
                self.known[-1][id(x)] = self.compute(x)
        return self.find(e)

    def find(self, e: Expr) -> Array:
        for scope in self.known:
            if id(e) in scope:
                return scope[id(e)]
        return None

    def compute(self, e: Expr) -> Array:
        if isinstance(e, Op):
            sources = [self.find(x) for x in e.srcs]
            return cast(FUNCTIONS[e.name](*sources), e.dtype)
        if isinstance(e, Load):
            return self.load(e)
        if isinstance(e, Const):
            return np.asarray(e.value).astype(e.dtype)[()]
        if isinstance(e, Cast):
            return convert(self.find(e.src), e.to, e.dtype)
        if isinstance(e, Index):
            return self.axes[e.axis]
        if isinstance(e, Arg):
            number = self.args[e.slot:e.slot + 1]
            return cast(number.view(np.float64)[0] if e.dtype.startswith("float") else number[0], e.dtype)
        assert isinstance(e, Read)
        return self.accs[e.acc][1 if e.index else 0]


def inside(array: np.ndarray, at: np.ndarray) -> None:
    if at.size and (at.min() < 0 or at.max() >= array.size):
        raise IndexError(f"elements {at.min()} to {at.max()} of an array of {array.size}")


def cast(value: Array, dtype: str) -> Array:
    return np.asarray(value).astype(dtype)[()]


def convert(value: Array, to: str, dtype: str) -> Array:
    """A Cast: float16 and bfloat16 round by way of float32; small integers come by way of int32."""
    value = np.asarray(value)
    if to in ("float16", "bfloat16"):
        return value.astype(np.float32).astype(by_name(to).np).astype(dtype)[()]
    if to in ("int8", "uint8", "int16") and value.dtype.kind == "f":
        value = value.astype(np.int32)
    return value.astype(to)[()]


def identity(acc: Acc) -> Any:
    if acc.op in ("sum", "any"):
        return 0
    if acc.op in ("prod", "all"):
        return 1
    largest = acc.op in ("min", "argmin")
    if acc.dtype.startswith("float"):
        return math.inf if largest else -math.inf
    if acc.dtype == "bool":
        return largest
    info = np.iinfo(acc.dtype)
    return info.max if largest else info.min


COMBINE: dict[str, Callable[[Array, Array], Array]] = {
    "sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum, "any": np.logical_or,
    "all": np.logical_and, "add": np.add, "mul": np.multiply}


def across(acc: Acc, values: np.ndarray, indices: np.ndarray) -> tuple[Array, Array]:
    """The reduction of the lanes' values; float32 sums and products are taken in float64."""
    if acc.op in ("argmax", "argmin"):
        nan = values != values
        best = values.max() if acc.op == "argmax" else values.min()
        chosen = nan if nan.any() else values == best
        at = np.flatnonzero(chosen)[np.argmin(indices[chosen])]
        return values[at], indices[at]
    wide = np.float64 if acc.dtype == "float32" and acc.op in ("sum", "prod") else acc.dtype
    return cast(COMBINE[acc.op].reduce(values, dtype=wide), acc.dtype), None  # type: ignore[attr-defined]


def _shift_left(a: Array, b: Array) -> Array:
    bits = np.asarray(a).dtype.itemsize * 8
    out = (b < 0) | (b >= bits)
    return np.where(out, 0, np.left_shift(a, np.where(out, 0, b)))


def _shift_right(a: Array, b: Array) -> Array:
    bits = np.asarray(a).dtype.itemsize * 8
    out = (b < 0) | (b >= bits)
    return np.where(out, np.where(a < 0, -1, 0), np.right_shift(a, np.where(out, 0, b)))


def _integer_quotient(a: Array, b: Array) -> Array:
    """Toward zero, in Python's integers; by zero gives 0."""
    def one(x: Any, y: Any) -> int:
        x, y = int(x), int(y)
        return 0 if y == 0 else abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)
    dtype = np.asarray(a).dtype
    a, b = np.broadcast_arrays(a, b)
    wide = [wrap(one(x, y), dtype) for x, y in zip(a.ravel(), b.ravel())]
    return np.array(wide, dtype).reshape(a.shape)


def wrap(x: int, dtype: np.dtype) -> int:
    bits = dtype.itemsize * 8
    x &= (1 << bits) - 1
    return x - (1 << bits) if dtype.kind == "i" and x >> (bits - 1) else x


def _remainder(a: Array, b: Array) -> Array:
    if np.asarray(a).dtype.kind == "f":
        return np.fmod(a, b)
    return np.where(b == 0, 0, a - _integer_quotient(a, b) * b)


def _fused(a: Array, b: Array, c: Array) -> Array:
    """a*b + c rounded once, in exact fractions."""
    dtype = np.asarray(a).dtype

    def one(x: Any, y: Any, z: Any) -> Any:
        plain = np.float64(x) * np.float64(y) + np.float64(z)
        if not (np.isfinite(x) and np.isfinite(y) and np.isfinite(z)):
            return plain
        exact = Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
        if exact == 0:
            return plain  # the sign of zero is that of the plain expression
        try:
            rounded = float(exact)
        except OverflowError:
            return math.inf if exact > 0 else -math.inf
        if dtype == np.float32 and Fraction(rounded) != exact:
            # Round to odd first, so that rounding again to float32 cannot err.
            if not int(np.float64(rounded).view(np.int64)) & 1:
                rounded = float(np.nextafter(rounded, math.inf if exact > Fraction(rounded) else -math.inf))
        return rounded

    a, b, c = np.broadcast_arrays(a, b, c)
    return np.array([one(x, y, z) for x, y, z in zip(a.ravel(), b.ravel(), c.ravel())], np.float64).reshape(a.shape)


def _bitcast(a: Array) -> Array:
    a = np.asarray(a)
    return a.view({"f": "i", "i": "f"}[a.dtype.kind] + str(a.dtype.itemsize))


def _special(name: str) -> Callable[..., Array]:
    """A mathematical function in float64, from NumPy or SciPy."""
    def compute(*args: Array) -> Array:
        wide = [np.asarray(a, np.float64) for a in args]
        if name == "rsqrt":
            return 1 / np.sqrt(wide[0])
        if name in ("erf", "erfc", "sigmoid", "normal_cdf"):
            import scipy.special
            return getattr(scipy.special, {"sigmoid": "expit", "normal_cdf": "ndtr"}.get(name, name))(*wide)
        numpy_name = {"pow": "power", "asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2",
                      "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh"}.get(name, name)
        return getattr(np, numpy_name)(*wide)
    return compute


FUNCTIONS: dict[str, Callable[..., Array]] = {
    "neg": np.negative, "abs": np.abs, "sqrt": np.sqrt, "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc,
    "rint": np.rint, "not": np.invert, "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide,
    "max": np.maximum, "min": np.minimum, "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
    "shl": _shift_left, "shr": _shift_right, "fmod": _remainder, "cdiv": _integer_quotient, "eq": np.equal,
    "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "where": np.where,
    "fma": _fused, "bitcast": _bitcast, **{name: _special(name) for name in MATH}}

"""A chain of pointwise operations on the results of a product before they are stored: a layer's bias, scale, residual, activation.

Each step combines the value with an operand, or with what a function makes of it. Operands: a *row*'s (one number for each of C's rows, counted over
the groups: an output channel), a *column*'s (one for each of its columns: an output of a linear layer; `column_float16` and `column_bfloat16` where
these numbers are of half types), a *full* one (as many elements as C, in its order) or a *number*. A *unary* step is the function, a *gate* the value
times the function of it, as in gelu.
"""
from __future__ import annotations

from torsh.codegen.gemm_layout import Epilogue, Place, Tiles
from torsh.codegen.gemm_text import Text
from torsh.codegen.inline import inlined
from torsh.codegen.kernel_ir import Arg
from torsh.codegen.llvm_ops import convert, operation

#: (operation or function, kind of the operand)
Step = tuple[str, str]
#: Argument slots of a step by kind: an address and the distance of rows in bytes, an address, a number.
SLOTS = {"row": 2, "column": 1, "column_float16": 1, "column_bfloat16": 1, "full": 1, "number": 1, "unary": 0, "gate": 0}


def key_of(steps: tuple[Step, ...]) -> str:
    return "_".join(f"{name}-{kind}" for name, kind in steps)


def _dtype(t: Text) -> str:
    return {"float": "float32", "double": "float64"}[t.scalar]


def combined(t: Text, name: str, value: str, other: str) -> str:
    return operation(t.code, name, _dtype(t), _dtype(t), t.lanes, [value, other])


def function(t: Text, name: str, value: str) -> str:
    """A mathematical function of a vector, by the operations that loop kernels make of it."""
    from torsh.codegen.math import expand_math
    source = Arg(0, _dtype(t))
    result = expand_math(name, (source,), _dtype(t))
    return inlined(t.code, (result,), {id(source): value}, t.lanes)[0]


def number(t: Text, slot: int) -> str:
    """A number of the argument table (as float64) on all lanes."""
    wide = t.op(f"load double, ptr {t.op(f'getelementptr i64, ptr %args, i64 {slot}')}, align 8")
    return t.splat(convert(t.code, "float64", _dtype(t), 1, wide))


class Chain(Epilogue):
    """`steps` on the products of matrices [batch, rows, columns]; the first slot says how many matrices are the groups of an image."""
    turns = False

    def __init__(self, steps: tuple[Step, ...]) -> None:
        self.steps = steps
        self.key = "chain_" + key_of(steps)
        self.slots = 1 + sum(SLOTS[kind] for _, kind in steps)

    def begin(self, text: Text, batch: str, first_slot: int, extents: tuple[int, int] = (Tiles.M, Tiles.N)) -> None:
        t, slot = text, first_slot
        self.rows, self.columns = t.slot(extents[0]), t.slot(extents[1])
        self.first_row = t.mul(t.divide(batch, t.slot(slot))[1], self.rows)
        slot += 1
        self.operands: list[tuple[str, str]] = []
        for _, kind in self.steps:
            if kind == "row":
                distance = t.slot(slot + 1)
                self.operands.append((t.at(t.pointer(slot), t.mul(self.first_row, distance)), distance))
            elif kind == "full":
                distance = t.mul(self.columns, str(t.scalar_bytes))
                place = t.mul(batch, t.mul(self.rows, distance))
                if extents == (Tiles.M, Tiles.N):  # as C lies, of which a batch may be some columns
                    distance = t.mul(t.slot(Tiles.C_M), str(t.scalar_bytes))
                    outer, inner = t.divide(batch, t.slot(Tiles.BATCH1))
                    place = t.mul(t.dot((outer, t.slot(Tiles.C_BATCH0)), (inner, t.slot(Tiles.C_BATCH1))), str(t.scalar_bytes))
                self.operands.append((t.at(t.pointer(slot), place), distance))
            elif kind.startswith("column"):
                self.operands.append((t.pointer(slot), ""))
            else:
                self.operands.append((number(t, slot) if kind == "number" else "", ""))
            slot += SLOTS[kind]

    def emit(self, text: Text, value: str, place: Place) -> str:
        t = text
        assert not place.transposed
        for (name, kind), (base, distance) in zip(self.steps, self.operands, strict=True):
            if kind == "unary":
                value = function(t, name, value)
                continue
            if kind == "gate":
                value = combined(t, "mul", value, function(t, name, value))
                continue
            if kind == "number":
                other = base
            elif kind.startswith("column"):
                half = kind[7:]
                other = t.load(t.at(base, t.mul(place.column, str(2 if half else t.scalar_bytes))), half, place.mask)
            else:
                line = t.at(base, t.mul(place.row, distance))
                other = t.splat(t.load_scalar(line)) if kind == "row" else t.load(t.at(line, t.mul(place.column, str(t.scalar_bytes))), "", place.mask)
            value = combined(t, name, value, other)
        return value

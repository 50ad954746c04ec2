"""A chain of pointwise operations on the results of a product before they are stored: a convolution's bias, scale, residual, activation.

Each step combines the value with an operand: a *row*'s (one number for each of C's rows, counted over the groups: an output channel), a *full* one
(as many elements as C, in its order) or a *number*.
"""
from __future__ import annotations

from torsh.codegen.gemm_layout import Epilogue, Place, Tiles
from torsh.codegen.gemm_text import Text
from torsh.codegen.llvm_ops import convert, operation

#: (operation, kind of the operand)
Step = tuple[str, str]
#: Argument slots of a step by kind: an address and the distance of rows in bytes, an address, a number.
SLOTS = {"row": 2, "full": 1, "number": 1}


def key_of(steps: tuple[Step, ...]) -> str:
    return "_".join(f"{name}-{kind}" for name, kind in steps)


def combined(t: Text, name: str, value: str, other: str) -> str:
    dtype = {"float": "float32", "double": "float64"}[t.scalar]
    return operation(t.code, name, dtype, dtype, t.lanes, [value, other])


def number(t: Text, slot: int) -> str:
    """A number of the argument table (as float64) on all lanes."""
    wide = t.op(f"load double, ptr {t.op(f'getelementptr i64, ptr %args, i64 {slot}')}, align 8")
    return t.splat(convert(t.code, "float64", {"float": "float32", "double": "float64"}[t.scalar], 1, wide))


class Chain(Epilogue):
    """`steps` on the products of matrices [batch, rows, columns]; the first slot says how many matrices are the groups of an image."""

    def __init__(self, steps: tuple[Step, ...]) -> None:
        self.steps = steps
        self.key = "chain_" + key_of(steps)
        self.slots = 1 + sum(SLOTS[kind] for _, kind in steps)

    def begin(self, text: Text, batch: str, first_slot: int, turned: bool = False) -> None:
        t, slot = text, first_slot
        self.rows, self.columns = t.slot(Tiles.N if turned else Tiles.M), t.slot(Tiles.M if turned else Tiles.N)
        self.first_row = t.mul(t.divide(batch, t.slot(slot))[1], self.rows)
        slot += 1
        self.operands: list[tuple[str, str]] = []
        for _, kind in self.steps:
            if kind == "row":
                distance = t.slot(slot + 1)
                self.operands.append((t.at(t.pointer(slot), t.mul(self.first_row, distance)), distance))
            elif kind == "full":
                whole = t.mul(t.mul(self.rows, self.columns), str(t.scalar_bytes))
                self.operands.append((t.at(t.pointer(slot), t.mul(batch, whole)), t.mul(self.columns, str(t.scalar_bytes))))
            else:
                self.operands.append((number(t, slot), ""))
            slot += SLOTS[kind]

    def emit(self, text: Text, value: str, place: Place) -> str:
        t = text
        assert not place.transposed
        for (name, kind), (base, distance) in zip(self.steps, self.operands, strict=True):
            if kind == "number":
                other = base
            else:
                line = t.at(base, t.mul(place.row, distance))
                other = t.splat(t.load_scalar(line)) if kind == "row" else t.load(t.at(line, t.mul(place.column, str(t.scalar_bytes))), "", place.mask)
            value = combined(t, name, value, other)
        return value

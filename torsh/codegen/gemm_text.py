"""LLVM text for the contraction kernels: a small writer with structured loops, and vector loads and stores that
convert between a storage dtype and the accumulation dtype.

Everything here is string building; llvmlite is not needed to import it or to make a kernel's text.
"""
from __future__ import annotations

from types import TracebackType

from torsh.codegen.gemm_layout import ACCUMULATE, STORAGE
from torsh.codegen.llvm_helpers import transpose
from torsh.codegen.llvm_ops import Code, from_memory, lanes_of, to_memory


class Loop:
    """`for index in range(start, stop, step)` around what is written inside the `with`, step > 0.

    `carry` lists (LLVM type, initial value) pairs; inside, `values` names their present values and `next` must be set
    to the following ones; after the loop, `values` names the final ones."""

    def __init__(self, text: Text, start: str, stop: str, step: str, carry: list[tuple[str, str]]) -> None:
        self.text, self.start, self.stop, self.step, self.carry = text, start, stop, step, carry
        self.values: list[str] = []
        self.next: list[str] = []
        self.index = ""

    def __enter__(self) -> Loop:
        text = self.text
        self.before = text.block
        self.head, body, self.exit = text.new_label(), text.new_label(), text.new_label()
        text.put(f"br label %{self.head}")
        text.label(self.head)
        self.phis = len(text.lines)
        self.index = text.name()
        self.values = [text.name() for _ in self.carry]
        text.lines += [""] * (1 + len(self.carry))
        going = text.op(f"icmp slt i64 {self.index}, {self.stop}")
        text.put(f"br i1 {going}, label %{body}, label %{self.exit}")
        text.label(body)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if kind is not None:
            return
        text = self.text
        follow = text.op(f"add i64 {self.index}, {self.step}")
        last = text.block
        text.put(f"br label %{self.head}")
        text.lines[self.phis] = (f"  {self.index} = phi i64 [{self.start}, %{self.before}], [{follow}, %{last}]")
        for i, (kind_text, init) in enumerate(self.carry):
            text.lines[self.phis + 1 + i] = (f"  {self.values[i]} = phi {kind_text} [{init}, %{self.before}], "
                                             f"[{self.next[i]}, %{last}]")
        text.label(self.exit)


class If:
    """Run what is written inside the `with` where `condition` (i1) holds."""

    def __init__(self, text: Text, condition: str) -> None:
        self.text, self.condition = text, condition

    def __enter__(self) -> If:
        inside, self.exit = self.text.new_label(), self.text.new_label()
        self.text.put(f"br i1 {self.condition}, label %{inside}, label %{self.exit}")
        self.text.label(inside)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if kind is None:
            self.text.put(f"br label %{self.exit}")
            self.text.label(self.exit)


class Text:
    """A module under construction. `lanes` elements of the accumulation type fill one vector register; `half` tells
    that the machine converts float16 itself."""

    def __init__(self, dtype_in: str, dtype_out: str, vector_bytes: int, half: bool) -> None:
        self.dtype_in, self.dtype_out = dtype_in, dtype_out
        self.scalar, self.scalar_bytes = ACCUMULATE[dtype_in]
        self.in_bytes, self.out_bytes = STORAGE[dtype_in][1], STORAGE[dtype_out][1]
        self.vector_bytes = vector_bytes
        self.lanes = vector_bytes // self.scalar_bytes
        self.vector = f"<{self.lanes} x {self.scalar}>"
        self.mask = f"<{self.lanes} x i1>"
        self.suffix = f"v{self.lanes}f{8 * self.scalar_bytes}"
        self.code = Code(half)  # the conversions of 16-bit types write into the same lines
        self.lines: list[str] = self.code.out
        self.declared: dict[str, None] = {}
        self.count = 0
        self.block = ""

    # Text -----------------------------------------------------------------------------------------------------------
    def name(self) -> str:
        self.count += 1
        return f"%t{self.count}"

    def new_label(self) -> str:
        self.count += 1
        return f"b{self.count}"

    def put(self, line: str) -> None:
        self.lines.append("  " + line)

    def op(self, expression: str) -> str:
        name = self.name()
        self.lines.append(f"  {name} = {expression}")
        return name

    def label(self, name: str) -> None:
        self.lines.append(f"{name}:")
        self.block = name

    def begin(self, name: str, parameters: str, internal: bool) -> None:
        linkage = "internal " if internal else ""
        self.lines.append(f"define {linkage}void @{name}({parameters}) #0 {{")
        self.label("entry")

    def end(self) -> None:
        self.put("ret void")
        self.lines.append("}")

    def module(self) -> str:
        """The whole module."""
        width = 8 * self.vector_bytes
        inline = "" if width <= 128 else f' "min-legal-vector-width"="{width}" "prefer-vector-width"="{width}"'
        return "\n".join([*self.declared, *self.lines, f"attributes #0 = {{ nounwind noinline{inline} }}", ""])

    def loop(self, start: str, stop: str, step: str = "1", carry: list[tuple[str, str]] | None = None) -> Loop:
        return Loop(self, start, stop, step, carry or [])

    def where(self, condition: str) -> If:
        return If(self, condition)

    def call(self, result: str, function: str, arguments: list[tuple[str, str]]) -> str:
        """Call an intrinsic, declaring it."""
        kinds = ", ".join(kind.partition(" align ")[0] for kind, _ in arguments)
        self.declared[f"declare {result} @{function}({kinds})"] = None
        values = ", ".join(f"{kind} {value}" for kind, value in arguments)
        if result == "void":
            self.put(f"call void @{function}({values})")
            return ""
        return self.op(f"call {result} @{function}({values})")

    # Integers and addresses -----------------------------------------------------------------------------------------
    def slot(self, index: int) -> str:
        """The int64 in slot `index` of `%args`."""
        return self.op(f"load i64, ptr {self.op(f'getelementptr i64, ptr %args, i64 {index}')}, align 8")

    def pointer(self, index: int) -> str:
        return self.op(f"load ptr, ptr {self.op(f'getelementptr i64, ptr %args, i64 {index}')}, align 8")

    def add(self, a: str, b: str) -> str:
        return a if b == "0" else b if a == "0" else self.op(f"add i64 {a}, {b}")

    def sub(self, a: str, b: str) -> str:
        return self.op(f"sub i64 {a}, {b}")

    def mul(self, a: str, b: str) -> str:
        return a if b == "1" else b if a == "1" else self.op(f"mul i64 {a}, {b}")

    def divide(self, a: str, b: str) -> tuple[str, str]:
        """Quotient and remainder of non-negative integers."""
        return self.op(f"udiv i64 {a}, {b}"), self.op(f"urem i64 {a}, {b}")

    def least(self, a: str, b: str) -> str:
        return self.call("i64", "llvm.smin.i64", [("i64", a), ("i64", b)])

    def test(self, relation: str, a: str, b: str) -> str:
        return self.op(f"icmp {relation} i64 {a}, {b}")

    def bit(self, flags: str, value: int) -> str:
        return self.test("ne", self.op(f"and i64 {flags}, {value}"), "0")

    def both(self, a: str, b: str) -> str:
        return self.op(f"and i1 {a}, {b}")

    def either(self, a: str, b: str) -> str:
        return self.op(f"or i1 {a}, {b}")

    def opposite(self, a: str) -> str:
        return self.op(f"xor i1 {a}, true")

    def select(self, condition: str, kind: str, a: str, b: str) -> str:
        return self.op(f"select i1 {condition}, {kind} {a}, {kind} {b}")

    def at(self, base: str, offset: str) -> str:
        """The address `offset` bytes after `base`."""
        return base if offset == "0" else self.op(f"getelementptr i8, ptr {base}, i64 {offset}")

    def dot(self, *pairs: tuple[str, str]) -> str:
        """The sum of the products of pairs of int64."""
        total = "0"
        for a, b in pairs:
            total = self.add(total, self.mul(a, b))
        return total

    # Memory that work items share ------------------------------------------------------------------------------------
    def acquire(self, busy: str, slots: str) -> tuple[str, str]:
        """Take the lowest of `slots` (at most 64) memories whose bit at address `busy` is not set, or wait for one: (its bit, its number)."""
        whole = self.test("eq", slots, "64")
        every = self.sub(self.op(f"shl i64 1, {self.select(whole, 'i64', '0', slots)}"), "1")
        every = self.select(whole, "i64", "-1", every)
        head, attempt, taken = self.new_label(), self.new_label(), self.new_label()
        self.put(f"br label %{head}")
        self.label(head)
        old = self.op(f"load atomic i64, ptr {busy} acquire, align 8")
        free = self.op(f"and i64 {self.op(f'xor i64 {old}, -1')}, {every}")
        self.put(f"br i1 {self.test('ne', free, '0')}, label %{attempt}, label %{head}")
        self.label(attempt)
        bit = self.op(f"and i64 {free}, {self.sub('0', free)}")
        pair = self.op(f"cmpxchg ptr {busy}, i64 {old}, i64 {self.op(f'or i64 {old}, {bit}')} acq_rel acquire")
        self.put(f"br i1 {self.op(f'extractvalue {{ i64, i1 }} {pair}, 1')}, label %{taken}, label %{head}")
        self.label(taken)
        return bit, self.call("i64", "llvm.cttz.i64", [("i64", bit), ("i1", "true")])

    def release(self, busy: str, bit: str) -> None:
        self.op(f"atomicrmw xor ptr {busy}, i64 {bit} release")

    # Vectors of the accumulation type ---------------------------------------------------------------------------------
    def splat(self, value: str) -> str:
        one = self.op(f"insertelement {self.vector} poison, {self.scalar} {value}, i64 0")
        return self.op(f"shufflevector {self.vector} {one}, {self.vector} poison, <{self.lanes} x i32> zeroinitializer")

    def fma(self, a: str, b: str, c: str) -> str:
        """a * b + c, rounded once where the machine has such an instruction."""
        return self.call(self.vector, f"llvm.fmuladd.{self.suffix}",
                         [(self.vector, a), (self.vector, b), (self.vector, c)])

    def first(self, count: str) -> str:
        """The mask of the first `count` lanes (int64; more than the lanes means all of them)."""
        kind = f"<{self.lanes} x i32>"
        number = self.op(f"trunc i64 {self.least(count, str(self.lanes))} to i32")
        one = self.op(f"insertelement {kind} poison, i32 {number}, i64 0")
        every = self.op(f"shufflevector {kind} {one}, {kind} poison, {kind} zeroinitializer")
        ramp = "<" + ", ".join(f"i32 {i}" for i in range(self.lanes)) + ">"
        return self.op(f"icmp slt {kind} {ramp}, {every}")

    def load(self, pointer: str, dtype: str = "", mask: str = "") -> str:
        """`lanes` elements of a storage dtype (default: the accumulation type), zero where `mask` is false."""
        kind, size = STORAGE[dtype] if dtype else (self.scalar, self.scalar_bytes)
        vector = f"<{self.lanes} x {kind}>"
        if mask:
            code = f"v{self.lanes}{kind if kind[0] == 'i' else f'f{8 * size}'}"
            loaded = self.call(vector, f"llvm.masked.load.{code}.p0",
                               [(f"ptr align {size}", pointer), (self.mask, mask), (vector, "zeroinitializer")])
        else:
            loaded = self.op(f"load {vector}, ptr {pointer}, align {size}")
        return self.widen(loaded, dtype, self.lanes) if dtype else loaded

    def load_merged(self, parts: list[tuple[str, str]], dtype: str) -> str:
        """`lanes` elements of a storage dtype from several places: (pointer of lane 0, mask) each; zero where no mask is true."""
        kind, size = STORAGE[dtype]
        vector = f"<{self.lanes} x {kind}>"
        code = f"v{self.lanes}{kind if kind[0] == 'i' else f'f{8 * size}'}"
        loaded = "zeroinitializer"
        for pointer, mask in parts:
            loaded = self.call(vector, f"llvm.masked.load.{code}.p0", [(f"ptr align {size}", pointer), (self.mask, mask), (vector, loaded)])
        return self.widen(loaded, dtype, self.lanes)

    def load_scalar(self, pointer: str, dtype: str = "") -> str:
        kind, size = STORAGE[dtype] if dtype else (self.scalar, self.scalar_bytes)
        loaded = self.op(f"load {kind}, ptr {pointer}, align {size}")
        return self.widen(loaded, dtype, 1) if dtype else loaded

    def store(self, value: str, pointer: str, dtype: str = "", mask: str = "") -> None:
        """Store a vector, rounding to a storage dtype; lanes where `mask` is false are not touched."""
        kind, size = STORAGE[dtype] if dtype else (self.scalar, self.scalar_bytes)
        vector = f"<{self.lanes} x {kind}>"
        if dtype:
            value = self.narrow(value, dtype, self.lanes)
        if mask:
            code = f"v{self.lanes}{kind if kind[0] == 'i' else f'f{8 * size}'}"
            self.call("void", f"llvm.masked.store.{code}.p0",
                      [(vector, value), (f"ptr align {size}", pointer), (self.mask, mask)])
        else:
            self.put(f"store {vector} {value}, ptr {pointer}, align {size}")

    def store_scalar(self, value: str, pointer: str, dtype: str = "") -> None:
        kind, size = STORAGE[dtype] if dtype else (self.scalar, self.scalar_bytes)
        if dtype:
            value = self.narrow(value, dtype, 1)
        self.put(f"store {kind} {value}, ptr {pointer}, align {size}")

    def widen(self, value: str, dtype: str, lanes: int) -> str:
        """A stored value as the accumulation type. `lanes` = 1 means a scalar."""
        value = from_memory(self.code, dtype, lanes, value)
        if dtype == "float32" and self.scalar == "double":
            return self.op(f"fpext {lanes_of('float', lanes)} {value} to {lanes_of('double', lanes)}")
        return value

    def narrow(self, value: str, dtype: str, lanes: int) -> str:
        """A value of the accumulation type rounded to nearest even in a storage dtype. `lanes` = 1 means a scalar."""
        return to_memory(self.code, dtype, lanes, value)

    def total(self, value: str) -> str:
        """The sum of the lanes, in a fixed tree: upper half onto lower half until one is left."""
        width = self.lanes // 2
        while width:
            order = [i + width if i < width else i for i in range(self.lanes)]
            value = self.op(f"fadd {self.vector} {value}, {self.shuffle(value, value, order)}")
            width //= 2
        return self.op(f"extractelement {self.vector} {value}, i64 0")

    def shuffle(self, a: str, b: str, order: list[int]) -> str:
        indices = ", ".join(f"i32 {i}" for i in order)
        return self.op(f"shufflevector {self.vector} {a}, {self.vector} {b}, <{len(order)} x i32> <{indices}>")

    def transpose(self, rows: list[str]) -> list[str]:
        """The columns of a `lanes` x `lanes` matrix given its rows."""
        return transpose(self.shuffle, rows, self.scalar_bytes)

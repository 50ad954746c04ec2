"""From a kernel's phases to LLVM IR text: what all targets share.

Where a value is computed follows from what it depends on. Emission keeps a chain of scopes: the function, the work
item, then each open loop. A scope has three places, each a list of instructions that the text is later read from:

- `pre`, just before the loop, inside the test that it runs at all;
- `head`, at the start of its body;
- `run`, the end of what its body holds so far.

Numbered 3*depth + (0, 1, 2), every place dominates those with greater numbers. An expression goes to the greatest
place among its operands' (an index: its axis' head), so what does not change in a loop is computed before it, without
a pass that finds this out. Reads of accumulators, and loads from buffers that the phase writes, may not move across
the statements that change them: they go no further out than the outermost open loop without such a statement.

Arithmetic may run although the loop it came from is empty; a load may not, so a load moved out of loops that can be
empty reads a dummy instead when one is.

A target is a subclass: it emits the functions, the vector loops and the vector accesses to memory.
"""
from __future__ import annotations

from typing import Any

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
    Phase,
    Read,
    Slot,
    Stmt,
    Store,
    Update,
)
from torsh.codegen.llvm_ops import (
    BYTES,
    MEMORY_TYPE,
    NO_INDEX,
    TYPE,
    Code,
    across,
    combine,
    combine_indexed,
    constant,
    convert,
    from_memory,
    identity,
    is_float,
    lanes_of,
    literal,
    operation,
    splat,
    to_memory,
)
from torsh.codegen.walk import operands, postorder, roots

PRE, HEAD, RUN = 0, 1, 2


class Value:
    """An operand: `text`, its dtype, whether each lane has its own, and the place where it was computed.

    `within` is the depth of the innermost loop that must run for the value to be right, though it may have been
    computed further out (a guarded load gave the dummy's content if the loop is empty)."""
    __slots__ = ("text", "dtype", "varying", "place", "within")

    def __init__(self, text: str, dtype: str, varying: bool, place: int, within: int = 0) -> None:
        self.text = text
        self.dtype = dtype
        self.varying = varying
        self.place = place
        self.within = within


class Effects:
    """What the statements of a loop (or phase) change and read, loops within included."""
    __slots__ = ("stored", "declared", "updated", "read", "uniform", "vectors")

    def __init__(self, body: tuple[Stmt, ...], within_vector: bool) -> None:
        self.stored: set[int] = set()
        self.declared: set[Acc] = set()
        self.updated: set[Acc] = set()
        self.read: set[Acc] = set()
        self.uniform: set[Acc] = set()  # updated outside vector loops
        self.vectors: list[Loop] = []
        waiting = [(s, within_vector) for s in body]
        used: list[Expr] = []
        while waiting:
            s, inside = waiting.pop()
            used.extend(roots(s))
            if isinstance(s, Store):
                self.stored.add(s.buffer)
            elif isinstance(s, Declare):
                self.declared.add(s.acc)
            elif isinstance(s, Update):
                self.updated.add(s.acc)
                if not inside:
                    self.uniform.add(s.acc)
            elif isinstance(s, Loop):
                if s.kind == "vector":
                    self.vectors.append(s)
                waiting.extend([(x, inside or s.kind == "vector") for x in s.body])
        for e in postorder(used):
            if isinstance(e, Read):
                self.read.add(e.acc)


class Scope:
    """An open loop, the work item or the function."""
    __slots__ = ("pre", "head", "run", "pre_keys", "keys", "effects", "low", "high", "empty")

    def __init__(self, effects: Effects | None, low: Value | None, high: Value | None) -> None:
        self.pre: list = []
        self.effects = effects
        self.low = low
        self.high = high
        self.empty = low is not None  # its body may not run at all
        self.pre_keys: list = []
        self.open_body()

    def open_body(self) -> None:
        self.head: list = []
        self.run: list = []
        self.keys: list = []


class Variable:
    """An accumulator in memory of the stack: `lanes` is 1 or the vector width; `index` for argmax and argmin."""
    __slots__ = ("acc", "value", "index", "lanes", "varying")

    def __init__(self, acc: Acc, value: str, index: str, lanes: int, varying: bool) -> None:
        self.acc = acc
        self.value = value
        self.index = index
        self.lanes = lanes
        self.varying = varying


class Emitter:
    """Emits one kernel. Subclasses give `phase`, `vector_loop`, `load_lanes`, `store_lanes` and a few small hooks."""
    POINTER = "ptr"

    def __init__(self, kernel: Kernel, name: str, half: bool) -> None:
        self.kernel = kernel
        self.name = name
        self.code = Code(half)
        self.functions: list[str] = []
        self.expanded: dict[int, Expr] = {}
        self.labels = 0

    # Functions

    def begin_function(self, phase: Phase) -> None:
        self.cache: dict[Any, Value] = {}
        self.scopes = [Scope(None, None, None)]
        self.stack: list[str] = []
        self.variables: dict[Acc, Variable] = {}
        self.lifted: dict[Acc, Variable] = {}  # accumulators that have a variable a lane at present
        self.lanes = 1
        self.in_vector = False
        self.mask: Value | None = None  # the lanes in use, where not all are
        self.checks: list[tuple[str, str, Check]] = []
        self.axes: dict[int, Value] = {}
        self.dummy = ""
        self.effects: dict[int, Effects] = {}

    def label(self) -> int:
        self.labels += 1
        return self.labels

    def emit(self, text: str) -> None:
        """A line at the present point of the innermost scope."""
        self.scopes[-1].run.append(text)

    def alloca(self, llvm_type: str) -> str:
        self.code.count += 1
        name = f"%a{self.code.count}"
        self.stack.append(f"  {name} = alloca {llvm_type}")
        return name

    def effects_of(self, s: Loop) -> Effects:
        found = self.effects.get(id(s))
        if found is None:
            found = self.effects[id(s)] = Effects(s.body, s.kind == "vector")
        return found

    def open_item(self, phase: Phase) -> Scope:
        """Open the scope of a work item."""
        self.phase_effects = Effects(phase.body, False)
        return self.open_loop(self.phase_effects, None, None)

    # Places

    def at(self, place: int) -> int:
        """Direct instructions to `place`, or to the earliest one after it that can still grow; gives that place."""
        depth, part = divmod(place, 3)
        scope = self.scopes[depth]
        innermost = depth == len(self.scopes) - 1
        if depth == 0:
            self.code.out = scope.head
            return HEAD
        if part == PRE:
            self.code.out = scope.pre
            return place
        if innermost:
            self.code.out = scope.run
            return 3 * depth + RUN
        if part == HEAD:
            self.code.out = scope.head
            return place
        self.code.out = self.scopes[depth + 1].pre
        return 3 * (depth + 1) + PRE

    def remember(self, key: Any, value: Value) -> Value:
        """Know a value by `key` as long as it can be used: while its scope is open, or the loop that it needs to run."""
        depth, part = divmod(value.place, 3)
        if value.within > depth:
            depth, part = value.within, PRE
        scope = self.scopes[depth]
        (scope.pre_keys if part == PRE else scope.keys).append(key)
        self.cache[key] = value
        return value

    def open_loop(self, effects: Effects, low: Value | None, high: Value | None) -> Scope:
        scope = Scope(effects, low, high)
        self.scopes.append(scope)
        return scope

    def close_body(self) -> None:
        """Forget what was computed in the innermost body and put its text where the scope's `pre` user wants it."""
        for key in self.scopes[-1].keys:
            del self.cache[key]
        self.scopes[-1].keys = []

    def close_loop(self) -> None:
        scope = self.scopes.pop()
        for key in scope.pre_keys:
            del self.cache[key]

    # Values

    def value(self, e: Expr) -> Value:
        """The value of an expression, computed now if it is not known in an open scope."""
        cache = self.cache
        waiting = [e]
        while waiting:
            x = waiting[-1]
            if id(x) in cache:
                waiting.pop()
                continue
            missing = [y for y in self.operands(x) if id(y) not in cache]
            if missing:
                waiting.extend(reversed(missing))
                continue
            waiting.pop()
            self.remember(id(x), self.compute(x))
        return cache[id(e)]

    def operands(self, e: Expr) -> tuple[Expr, ...]:
        if type(e) is Op and e.name in MATH:
            return (self.expansion(e),)
        return operands(e)

    def expansion(self, e: Op) -> Expr:
        """The expression of basic operations for a mathematical function."""
        found = self.expanded.get(id(e))
        if found is None:
            from torsh.codegen.math import expand_math
            found = self.expanded[id(e)] = expand_math(e.name, e.srcs, e.dtype)
        return found

    def compute(self, e: Expr) -> Value:
        kind = type(e)
        if kind is Op:
            return self.cache[id(self.expanded[id(e)])] if e.name in MATH else self.compute_op(e)
        if kind is Const:
            return Value(literal(e.value, e.dtype), e.dtype, False, HEAD)
        if kind is Load:
            return self.compute_load(e)
        if kind is Cast:
            src = self.cache[id(e.src)]
            place = self.at(src.place)
            return Value(convert(self.code, src.dtype, e.to, self.width(src.varying), src.text), e.dtype, src.varying,
                         place, src.within)
        if kind is Index:
            return self.index_value(e.axis)
        if kind is Arg:
            return self.argument(e)
        return self.compute_read(e)

    def width(self, varying: bool) -> int:
        return self.lanes if varying else 1

    def spread(self, v: Value) -> str:
        """The text of a value with a lane each, a uniform one copied to all."""
        if v.varying or self.lanes == 1:
            return v.text
        if v.text[0] != "%":
            return f"splat ({TYPE[v.dtype]} {v.text})"
        key = (v.text, self.lanes)
        found = self.cache.get(key)
        if found is None:
            place = self.at(v.place)
            text = splat(self.code, v.text, TYPE[v.dtype], self.lanes)
            found = self.remember(key, Value(text, v.dtype, True, place, v.within))
        return found.text

    def compute_op(self, e: Op) -> Value:
        sources = [self.cache[id(s)] for s in e.srcs]
        varying = False
        place, within = HEAD, 0
        for s in sources:
            varying = varying or s.varying
            if s.place > place:
                place = s.place
            if s.within > within:
                within = s.within
        texts = [self.spread(s) for s in sources] if varying else [s.text for s in sources]
        place = self.at(place)
        second = e.srcs[1] if len(e.srcs) == 2 else None
        amount = second.value if type(second) is Const else None
        # where's result has the dtype of its branches; a comparison's operands tell how to compare.
        text = operation(self.code, e.name, e.dtype, sources[-1].dtype, self.width(varying), texts, amount)
        return Value(text, e.dtype, varying, place, within)

    def compute_read(self, e: Read) -> Value:
        variable = self.variables[e.acc]
        place = self.at(self.anchor(lambda effects: e.acc in effects.updated or e.acc in effects.declared))
        t = lanes_of("i64" if e.index else TYPE[e.acc.dtype], variable.lanes)
        text = self.code(f"load {t}, ptr {variable.index if e.index else variable.value}")
        return Value(text, e.dtype, variable.varying, place)

    def anchor(self, changes: Any) -> int:
        """The place for a value that may not move across a statement that changes it."""
        depth = len(self.scopes) - 1
        place = 3 * depth + RUN
        while depth >= 1 and not changes(self.scopes[depth].effects):
            place = 3 * depth + PRE
            depth -= 1
        return place

    # Integers known before the loops

    def slot(self, index: int, t: str = "i64") -> str:
        """What lies in a slot of the argument table, read at the start of the function."""
        key = ("slot", index, t)
        found = self.cache.get(key)
        if found is None:
            place = self.at(HEAD)
            at = self.code(f"getelementptr i64, {self.POINTER} %args, i64 {index}")
            found = self.remember(key, Value(self.code(f"load {t}, {self.POINTER} {at}, !invariant.load !0"), "int64",
                                             False, place))
        return found.text

    def integer(self, n: Int) -> str:
        return self.slot(n.index) if isinstance(n, Slot) else str(n)

    def argument(self, e: Arg) -> Value:
        if is_float(e.dtype):
            text = self.slot(e.slot, "double")
            self.at(HEAD)
            return Value(convert(self.code, "float64", e.dtype, 1, text), e.dtype, False, HEAD)
        text = self.slot(e.slot)
        self.at(HEAD)
        return Value(convert(self.code, "int64", e.dtype, 1, text), e.dtype, False, HEAD)

    def index_value(self, axis: int) -> Value:
        """The value of an axis as an expression; of the vector axis, one a lane."""
        v = self.axes[axis]
        if not v.varying or self.lanes == 1:
            return v
        place = self.at(v.place)
        base = splat(self.code, v.text, "i64", self.lanes)
        return Value(self.code(f"add <{self.lanes} x i64> {base}, {self.iota('i64')}"), "int64", True, place)

    def iota(self, t: str) -> str:
        return "<" + ", ".join([f"{t} {i}" for i in range(self.lanes)]) + ">"

    def arithmetic(self, op: str, a: Value, b: Value) -> Value:
        """int64 add, sub or mul of uniform values, folding what is known."""
        if op == "mul":
            if a.text == "1":
                return b
            if b.text == "1":
                return a
        elif b.text == "0":
            return a
        elif a.text == "0" and op == "add":
            return b
        if a.text[0] != "%" and b.text[0] != "%":
            x, y = int(a.text), int(b.text)
            return Value(str(x + y if op == "add" else x - y if op == "sub" else x * y), "int64", False, HEAD)
        return self.combined(op, a, b)

    def combined(self, op: str, a: Value, b: Value) -> Value:
        """An int64 instruction on uniform values."""
        key = (op, a.text, b.text)
        found = self.cache.get(key)
        if found is None:
            place = self.at(max(a.place, b.place))
            text = self.code(f"{op} i64 {a.text}, {b.text}")
            found = self.remember(key, Value(text, "int64", False, place, max(a.within, b.within)))
        return found

    def known(self, n: Int) -> Value:
        return Value(self.integer(n), "int64", False, HEAD)

    # Addresses

    def base_pointer(self, buffer: int) -> Value:
        slot = self.kernel.buffers[buffer][0]
        key = ("buffer", slot)
        found = self.cache.get(key)
        if found is None:
            address = self.slot(slot)
            place = self.at(HEAD)
            found = self.remember(key, Value(self.code(f"inttoptr i64 {address} to {self.POINTER}"), "ptr", False, place))
        return found

    def offset_by(self, pointer: Value, t: str, offset: Value) -> Value:
        if offset.text == "0":
            return pointer
        key = ("gep", pointer.text, t, offset.text)
        found = self.cache.get(key)
        if found is None:
            place = self.at(max(pointer.place, offset.place))
            text = self.code(f"getelementptr {t}, {self.POINTER} {pointer.text}, i64 {offset.text}")
            found = self.remember(key, Value(text, "ptr", False, place, max(pointer.within, offset.within)))
        return found

    def locate(self, buffer: int, address: Address) -> tuple[Value, int, list[Value], list[tuple[Value, Value]]]:
        """Split an address: pointer to its uniform part, constant element offset, strides of the vector axis (their
        sum counts), and (varying index, stride) pairs."""
        t = MEMORY_TYPE[self.kernel.buffers[buffer][1]]
        constant_part = 0
        uniform: list[Value] = []
        strides: list[Value] = []
        fixed_stride = 0
        varying: list[tuple[Value, Value]] = []
        if isinstance(address.offset, Slot):
            uniform.append(self.known(address.offset))
        else:
            constant_part = address.offset
        for axis, stride in address.terms:
            v = self.axes[axis]
            if v.varying:
                if isinstance(stride, Slot):
                    strides.append(self.known(stride))
                else:
                    fixed_stride += stride
            elif stride != 0:
                uniform.append(self.arithmetic("mul", v, self.known(stride)))
        for e, stride in address.gathers:
            v = self.value(e)
            if v.varying:
                varying.append((v, self.known(stride)))
            elif stride != 0:
                uniform.append(self.arithmetic("mul", v, self.known(stride)))
        if fixed_stride:
            strides.append(Value(str(fixed_stride), "int64", False, HEAD))
        pointer = self.base_pointer(buffer)
        for part in sorted(uniform, key=lambda v: v.place):
            if part.text[0] == "%":
                pointer = self.offset_by(pointer, t, part)
            else:
                constant_part += int(part.text)
        return pointer, constant_part, strides, varying

    def may_be_empty(self, place: int) -> list[Scope]:
        """The open loops that may not run although `place` does."""
        depth = place // 3
        return [s for s in self.scopes[depth + 1:] if s.empty]

    def runs(self, place: int) -> Value | None:
        """True where all loops between `place` and here run; None if they surely do."""
        result: Value | None = None
        for s in self.may_be_empty(place):
            assert s.low is not None and s.high is not None
            key = ("runs", s.low.text, s.high.text)
            found = self.cache.get(key)
            if found is None:
                at = self.at(max(s.low.place, s.high.place))
                found = self.remember(key, Value(self.code(f"icmp slt i64 {s.low.text}, {s.high.text}"), "bool", False, at))
            result = found if result is None else self.both(result, found)
        return result

    def both(self, a: Value | None, b: Value | None) -> Value | None:
        """Logical and of conditions; None is true."""
        if a is None or b is None:
            return b if a is None else a
        key = ("and", a.text, b.text, self.lanes)
        found = self.cache.get(key)
        if found is None:
            varying = a.varying or b.varying
            texts = (self.spread(a), self.spread(b)) if varying else (a.text, b.text)
            place = self.at(max(a.place, b.place))
            text = self.code(f"and {lanes_of('i1', self.width(varying))} {texts[0]}, {texts[1]}")
            found = self.remember(key, Value(text, "bool", varying, place, max(a.within, b.within)))
        return found

    def dummy_pointer(self) -> str:
        """Memory that may be read and written when nothing should be."""
        if not self.dummy:
            self.dummy = self.alloca("[512 x i8]")
        return self.dummy

    def guarded(self, pointer: str, condition: Value | None) -> str:
        """The pointer, or the dummy where the (uniform) condition does not hold."""
        if condition is None:
            return pointer
        dummy = self.dummy_pointer()
        return self.code(f"select i1 {condition.text}, {self.POINTER} {pointer}, {self.POINTER} {dummy}")

    def compute_load(self, e: Load) -> Value:
        buffer, t = e.buffer, self.kernel.buffers[e.buffer][1]
        pointer, offset, strides, varying = self.locate(buffer, e.address)
        mask = None if e.mask is None else self.cache[id(e.mask)]
        place = max([pointer.place] + [v.place for pair in varying for v in pair] + [v.place for v in strides])
        is_varying = bool(strides or varying or (mask is not None and mask.varying))
        if is_varying and not strides and not varying:  # only the mask differs between lanes
            strides = [Value("0", "int64", False, HEAD)]
        if strides:
            place = max(place, self.vector_place)
        if mask is not None:
            place = max(place, mask.place)
        place = max(place, 3 + PRE)
        if buffer in self.phase_effects.stored:
            place = max(place, self.anchor(lambda effects: buffer in effects.stored))
        for s in self.may_be_empty(place):
            place = max(place, s.low.place, s.high.place)
        condition = self.runs(place)
        within = max([pointer.within] + [v.within for pair in varying for v in pair] + [v.within for v in strides])
        if mask is not None:
            within = max(within, mask.within)
        if condition is not None:
            place = max(place, condition.place)
            within = max([within] + [d for d, s in enumerate(self.scopes) if s.empty and d > place // 3])
        other = literal(e.other.value if e.other is not None else 0, e.dtype)
        if is_varying and self.lanes > 1:
            value = self.load_lanes(e, t, pointer, offset, strides, varying, mask, condition, place, other)
            value.within = within
            return value
        condition = self.both(condition, mask)
        if varying or strides:  # one lane of a target whose lanes are threads
            for v in strides:
                if v.text != "0":
                    pointer = self.offset_by(pointer, MEMORY_TYPE[t], self.arithmetic("mul", self.vector_index, v))
            for v, stride in varying:
                pointer = self.offset_by(pointer, MEMORY_TYPE[t], self.arithmetic("mul", v, stride))
            place = max(place, pointer.place)
        place = self.at(place)
        text = self.load_scalar(t, pointer.text, offset, condition)
        if mask is not None and condition is not None:
            text = self.code(f"select i1 {condition.text}, {TYPE[e.dtype]} {text}, {TYPE[e.dtype]} {other}")
        return Value(text, e.dtype, is_varying, place, within)

    def load_scalar(self, t: str, pointer: str, offset: int, condition: Value | None) -> str:
        m = MEMORY_TYPE[t]
        if offset:
            pointer = self.code(f"getelementptr {m}, {self.POINTER} {pointer}, i64 {offset}")
        pointer = self.guarded(pointer, condition)
        return from_memory(self.code, t, 1, self.code(f"load {m}, {self.POINTER} {pointer}, align {BYTES[t]}"))

    def load_lanes(self, e: Load, t: str, pointer: Value, offset: int, strides: list[Value],
                   varying: list[tuple[Value, Value]], mask: Value | None, condition: Value | None, place: int,
                   other: str) -> Value:
        raise NotImplementedError

    def store_lanes(self, s: Store, t: str, pointer: Value, offset: int, strides: list[Value],
                    varying: list[tuple[Value, Value]], value: Value, mask: Value | None) -> None:
        raise NotImplementedError

    # Statements

    def body(self, body: tuple[Stmt, ...]) -> None:
        for s in body:
            if isinstance(s, Store):
                self.store(s)
            elif isinstance(s, Update):
                self.update(s)
            elif isinstance(s, Declare):
                self.declare(s.acc)
            elif isinstance(s, Loop):
                if s.kind == "vector":
                    self.vector_loop(s)
                else:
                    self.serial_loop(s)
            elif isinstance(s, Check):
                self.check(s)

    def declare(self, acc: Acc) -> None:
        self.variables[acc] = self.variable(acc, self.in_vector)

    def variable(self, acc: Acc, varying: bool) -> Variable:
        """A new variable holding the identity of `acc`'s reduction."""
        lanes = self.width(varying)
        indexed = acc.op in ("argmax", "argmin")
        t = lanes_of(TYPE[acc.dtype], lanes)
        value = self.alloca(t)
        self.emit(f"  store {t} {constant(identity(acc.op, acc.dtype), acc.dtype, lanes)}, ptr {value}")
        index = ""
        if indexed:
            t = lanes_of("i64", lanes)
            index = self.alloca(t)
            self.emit(f"  store {t} {constant(NO_INDEX, 'int64', lanes)}, ptr {index}")
        return Variable(acc, value, index, lanes, varying)

    def update(self, s: Update) -> None:
        variable = self.variables[s.acc]
        lanes = variable.lanes
        value = self.value(s.value)
        texts = [self.spread(value) if lanes > 1 else value.text]
        if s.index is not None:
            index = self.value(s.index)
            texts.append(self.spread(index) if lanes > 1 else index.text)
        self.code.out = self.scopes[-1].run
        self.fold(variable, tuple(texts), None if self.mask is None else self.mask.text)

    def fold(self, variable: Variable, values: tuple[str, ...], mask: str | None) -> None:
        """Combine values into a variable, in the lanes of the mask."""
        c, acc, lanes = self.code, variable.acc, variable.lanes
        t = lanes_of(TYPE[acc.dtype], lanes)
        old = c(f"load {t}, ptr {variable.value}")
        if variable.index:
            i = lanes_of("i64", lanes)
            old_index = c(f"load {i}, ptr {variable.index}")
            new, new_index = combine_indexed(c, acc.op, acc.dtype, lanes, (old, old_index), (values[0], values[1]))
            if mask is not None:
                new_index = c(f"select {lanes_of('i1', lanes)} {mask}, {i} {new_index}, {i} {old_index}")
            c.do(f"store {i} {new_index}, ptr {variable.index}")
        else:
            new = combine(c, acc.op, acc.dtype, lanes, old, values[0])
        if mask is not None:
            new = c(f"select {lanes_of('i1', lanes)} {mask}, {t} {new}, {t} {old}")
        c.do(f"store {t} {new}, ptr {variable.value}")

    def store(self, s: Store) -> None:
        t = self.kernel.buffers[s.buffer][1]
        value = self.value(s.value)
        mask = None if s.mask is None else self.value(s.mask)
        pointer, offset, strides, varying = self.locate(s.buffer, s.address)
        if self.in_vector and self.lanes > 1:
            if strides or varying or value.varying or (mask is not None and mask.varying):
                self.code.out = self.scopes[-1].run
                self.store_lanes(s, t, pointer, offset, strides, varying, value, mask)
                return
        elif self.in_vector:
            for v in strides:
                pointer = self.offset_by(pointer, MEMORY_TYPE[t], self.arithmetic("mul", self.vector_index, v))
            for v, stride in varying:
                pointer = self.offset_by(pointer, MEMORY_TYPE[t], self.arithmetic("mul", v, stride))
        self.code.out = self.scopes[-1].run
        self.store_scalar(s, t, pointer.text, offset, value, mask)

    def store_scalar(self, s: Store, t: str, pointer: str, offset: int, value: Value, mask: Value | None) -> None:
        c, m = self.code, MEMORY_TYPE[t]
        if offset:
            pointer = c(f"getelementptr {m}, {self.POINTER} {pointer}, i64 {offset}")
        pointer = self.guarded(pointer, mask)
        text = value.text
        if s.mode != "set":
            old = from_memory(c, t, 1, c(f"load {m}, {self.POINTER} {pointer}, align {BYTES[t]}"))
            text = combine(c, s.mode, value.dtype, 1, old, text)
        c.do(f"store {m} {to_memory(c, t, 1, text)}, {self.POINTER} {pointer}, align {BYTES[t]}")

    def check(self, s: Check) -> None:
        """Remember a failure in a variable; `end_checks` reports it when the function ends."""
        ok = self.value(s.ok)
        self.slot(s.status)  # read with the other arguments
        lanes = self.width(ok.varying)
        t = lanes_of("i1", lanes)
        self.code.out = self.scopes[-1].run
        bad = self.code(f"xor {t} {ok.text}, {constant(True, 'bool', lanes)}")
        if ok.varying and self.mask is not None:
            bad = self.code(f"and {t} {bad}, {self.mask.text}")
        variable = next((name for name, kind, other in self.checks if other is s and kind == t), None)
        if variable is None:
            variable = self.alloca(t)
            self.stack.append(f"  store {t} {constant(False, 'bool', lanes)}, ptr {variable}")
            self.checks.append((variable, t, s))
        old = self.code(f"load {t}, ptr {variable}")
        self.code.do(f"store {t} {self.code(f'or {t} {old}, {bad}')}, ptr {variable}")

    def end_checks(self) -> list[str]:
        """Stores of error codes at the end of the function; of several failures the first statement's is left."""
        self.code.out = []
        for variable, t, s in reversed(self.checks):
            bad = self.code(f"load {t}, ptr {variable}")
            if t != "i1":
                bad = self.code(f"call i1 @llvm.vector.reduce.or({t} {bad})")
            n = self.label()
            out = self.code.out
            out.append(f"  br i1 {bad}, label %bad.{n}, label %good.{n}")
            out.append(f"bad.{n}:")
            address = self.slot(s.status)
            self.code.out = out
            pointer = self.code(f"inttoptr i64 {address} to {self.POINTER}")
            self.code.do(f"store i64 {s.code}, {self.POINTER} {pointer}")
            out.append(f"  br label %good.{n}")
            out.append(f"good.{n}:")
        return self.code.out

    # Loops

    def bounds(self, s: Loop) -> tuple[Value, Value]:
        """First and one past the last value of the loop's axis."""
        extent = self.known(s.extent)
        if s.tile is None:
            return Value("0", "int64", False, HEAD), extent
        axis, size = s.tile
        low = self.arithmetic("mul", self.axes[axis], self.known(size))
        end = self.arithmetic("add", low, self.known(size))
        place = self.at(max(end.place, extent.place))
        high = Value(self.code(f"call i64 @llvm.smin(i64 {end.text}, i64 {extent.text})"), "int64", False, place)
        return low, high

    def serial_loop(self, s: Loop) -> None:
        low, high = self.bounds(s)
        n = self.label()
        self.emit(f"  %some.{n} = icmp slt i64 {low.text}, {high.text}")
        self.emit(f"  br i1 %some.{n}, label %pre.{n}, label %done.{n}")
        self.emit(f"pre.{n}:")
        outer = self.scopes[-1].run
        scope = self.open_loop(self.effects_of(s), low, high)
        scope.empty = not (s.tile is None and isinstance(s.extent, int) and s.extent > 0)
        outer.append(scope.pre)
        lifted = self.open_lanes(s, outer)
        outer.append(f"  br label %enter.{n}")
        outer.append(f"enter.{n}:")
        outer.append(f"  br label %loop.{n}")
        outer.append(f"loop.{n}:")
        outer.append(f"  %i.{n} = phi i64 [ {low.text}, %enter.{n} ], [ %next.{n}, %latch.{n} ]")
        self.axes[s.axis] = Value(f"%i.{n}", "int64", False, 3 * (len(self.scopes) - 1) + HEAD)
        self.body(s.body)
        outer += [scope.head, scope.run]
        self.close_body()
        self.close_loop()
        outer += [f"  br label %latch.{n}", f"latch.{n}:", f"  %next.{n} = add nsw i64 %i.{n}, 1",
                  f"  %more.{n} = icmp slt i64 %next.{n}, {high.text}",
                  f"  br i1 %more.{n}, label %loop.{n}, label %end.{n}", f"end.{n}:"]
        self.close_lanes(lifted)
        self.emit(f"  br label %done.{n}")
        self.emit(f"done.{n}:")

    def vector_loop(self, s: Loop) -> None:
        raise NotImplementedError

    def lanes_for(self, s: Loop) -> int:
        """How many lanes a vector loop is executed in."""
        raise NotImplementedError

    def open_lanes(self, s: Loop, outer: list) -> list[tuple[Variable, Variable]]:
        """Give each accumulator that `s` updates in vector loops, and that nothing in it reads, one variable a lane.

        They are combined into the accumulator when `s` ends: a reduction over rows and columns crosses the lanes once.
        """
        if self.in_vector:
            return []
        effects = self.effects_of(s)
        chosen: list[tuple[Variable, Variable]] = []
        for acc in sorted(effects.updated - effects.uniform - effects.read, key=lambda a: list(self.variables).index(a)
                          if a in self.variables else -1):
            old = self.variables.get(acc)
            if old is None or old.varying:
                continue
            loops = [s] if s.kind == "vector" else [v for v in effects.vectors if acc in self.effects_of(v).updated]
            widths = {self.lanes_for(v) for v in loops}
            if len(widths) != 1:
                continue
            lanes, self.lanes = self.lanes, widths.pop()
            run, self.scopes[-1].run = self.scopes[-1].run, outer
            new = self.variable(acc, True)
            self.scopes[-1].run = run
            self.lanes = lanes
            self.variables[acc] = new
            self.lifted[acc] = old
            chosen.append((old, new))
        return chosen

    def close_lanes(self, lifted: list[tuple[Variable, Variable]]) -> None:
        """Combine lane variables into the accumulators they stand for."""
        for old, new in lifted:
            self.code.out = self.scopes[-1].run
            t = lanes_of(TYPE[new.acc.dtype], new.lanes)
            values: tuple[str, ...] = (self.code(f"load {t}, ptr {new.value}"),)
            if new.index:
                values += (self.code(f"load {lanes_of('i64', new.lanes)}, ptr {new.index}"),)
            values = self.cross_lanes(new, values)
            self.fold(old, values, None)
            self.variables[old.acc] = old
            del self.lifted[old.acc]

    def cross_lanes(self, variable: Variable, values: tuple[str, ...]) -> tuple[str, ...]:
        return across(self.code, variable.acc.op, variable.acc.dtype, variable.lanes, values)


def flatten(parts: list, into: list[str]) -> list[str]:
    """The lines of nested lists, in order."""
    for part in parts:
        if type(part) is str:
            into.append(part)
        else:
            flatten(part, into)
    return into

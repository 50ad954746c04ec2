"""Where code goes: the places of a function's text, the values known at each, and arithmetic on integers.

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
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torsh.codegen.kernel_ir import Acc, Check, Declare, Expr, Int, Kernel, Loop, Phase, Read, Slot, Stmt, Store, Update
from torsh.codegen.llvm_ops import MEMORY_TYPE, TYPE, Code, lanes_of, splat
from torsh.codegen.walk import postorder, roots

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

    def __init__(self, effects: Effects, low: Value | None, high: Value | None) -> None:
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


class Access:
    """Where elements are: a pointer to the uniform part, a constant offset, and what differs between lanes, all in
    elements of storage dtype `dtype` (`element` in LLVM): strides of the vector axis, whose sum counts, and pairs of an
    index that differs between lanes and its stride."""
    __slots__ = ("dtype", "element", "pointer", "offset", "strides", "varying")

    def __init__(self, dtype: str, pointer: Value, offset: int, strides: list[Value],
                 varying: list[tuple[Value, Value]]) -> None:
        self.dtype = dtype
        self.element = MEMORY_TYPE[dtype]
        self.pointer = pointer
        self.offset = offset
        self.strides = strides
        self.varying = varying

    def parts(self) -> list[Value]:
        return [self.pointer, *self.strides, *[v for pair in self.varying for v in pair]]


class Places:
    """The state of emission, and what puts instructions where they belong."""
    POINTER = "ptr"
    vector_index: Value  # of the lanes of the vector loop that is open, and the place where it is known
    vector_place: int

    def __init__(self, kernel: Kernel, name: str, half: bool) -> None:
        self.kernel = kernel
        self.name = name
        self.code = Code(half)
        self.functions: list[str] = []
        self.expanded: dict[int, Expr] = {}
        self.effects: dict[int, Effects] = {}
        self.labels = 0

    def begin_function(self, phase: Phase) -> None:
        self.cache: dict[Any, Value] = {}
        self.scopes = [Scope(Effects((), False), None, None)]
        self.stack: list[str] = []
        self.variables: dict[Acc, Variable] = {}
        self.lifted: dict[Acc, Variable] = {}  # accumulators that have a variable a lane at present
        self.lanes = 1
        self.in_vector = False
        self.mask: Value | None = None  # the lanes in use, where not all are
        self.checks: list[tuple[str, str, Check]] = []
        self.axes: dict[int, Value] = {}
        self.dummy = ""

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

    def anchor(self, changes: Callable[[Effects], bool]) -> int:
        """The place for a value that may not move across a statement that changes it."""
        depth = len(self.scopes) - 1
        place = 3 * depth + RUN
        while depth >= 1 and not changes(self.scopes[depth].effects):
            place = 3 * depth + PRE
            depth -= 1
        return place

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

    # Integers

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

    def known(self, n: Int) -> Value:
        return Value(self.integer(n), "int64", False, HEAD)

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

    def may_be_empty(self, place: int) -> list[Scope]:
        """The open loops that may not run although `place` does."""
        depth = place // 3
        return [s for s in self.scopes[depth + 1:] if s.empty]

    def runs(self, place: int) -> Value | None:
        """True where all loops between `place` and here run; None if they surely do."""
        result: Value | None = None
        for s in self.may_be_empty(place):
            assert s.low is not None
            assert s.high is not None
            key = ("runs", s.low.text, s.high.text)
            found = self.cache.get(key)
            if found is None:
                at = self.at(max(s.low.place, s.high.place))
                text = self.code(f"icmp slt i64 {s.low.text}, {s.high.text}")
                found = self.remember(key, Value(text, "bool", False, at))
            result = found if result is None else self.both(result, found)
        return result

"""Statements and loops of the kernel IR as LLVM IR: what all targets share.

A target is a subclass of `Emitter`: it emits the functions, the vector loops and the vector accesses to memory.
"""
from __future__ import annotations

from torsh.codegen.kernel_ir import Acc, Check, Declare, Loop, Stmt, Store, Update
from torsh.codegen.llvm_ops import (
    BYTES,
    NO_INDEX,
    TYPE,
    across,
    combine,
    combine_indexed,
    constant,
    from_memory,
    identity,
    lanes_of,
    to_memory,
)
from torsh.codegen.llvm_scopes import HEAD, Access, Value, Variable
from torsh.codegen.llvm_values import Values


class Emitter(Values):
    """Emits statements. Subclasses give `vector_loop`, `lanes_for`, `load_lanes` and `store_lanes`."""

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
                elif s.kind == "block":
                    self.block_loop(s)
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
        times: str | None = None
        if s.times is not None:
            factor = self.value(s.times)
            times = self.spread(factor) if lanes > 1 else factor.text
        self.code.out = self.scopes[-1].run
        # What belongs to the lanes alone may hold anything in those not in use: nobody reads them.
        self.fold(variable, tuple(texts), None if self.mask is None or (variable.varying and s.acc not in self.lifted) else self.mask.text, times)

    def fold(self, variable: Variable, values: tuple[str, ...], mask: str | None, times: str | None = None) -> None:
        """Combine values into a variable, in the lanes of the mask; with `times` the product of both."""
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
        elif times is not None:
            new = c(f"call {t} @llvm.fma({t} {values[0]}, {t} {times}, {t} {old})")
        else:
            new = combine(c, acc.op, acc.dtype, lanes, old, values[0])
        if mask is not None:
            new = c(f"select {lanes_of('i1', lanes)} {mask}, {t} {new}, {t} {old}")
        c.do(f"store {t} {new}, ptr {variable.value}")

    def store(self, s: Store) -> None:
        value = self.value(s.value)
        mask = None if s.mask is None else self.value(s.mask)
        where = self.locate(s.buffer, s.address)
        if self.in_vector and self.lanes > 1 and (where.strides or where.varying or value.varying
                                                  or (mask is not None and mask.varying)):
            self.store_lanes(s, where, value, mask)
            return
        pointer = self.lane_pointer(where)
        self.code.out = self.scopes[-1].run
        self.store_scalar(s, where, pointer.text, value, mask)

    def store_scalar(self, s: Store, where: Access, pointer: str, value: Value, mask: Value | None) -> None:
        c, m, t = self.code, where.element, where.dtype
        if where.offset:
            pointer = c(f"getelementptr {m}, {self.POINTER} {pointer}, i64 {where.offset}")
        pointer = self.guarded(pointer, mask)
        text = value.text
        if s.mode != "set":
            old = from_memory(c, t, 1, c(f"load {m}, {self.POINTER} {pointer}, align {BYTES[t]}"))
            text = combine(c, s.mode, value.dtype, 1, old, text)
        c.do(f"store {m} {to_memory(c, t, 1, text)}, {self.POINTER} {pointer}, align {BYTES[t]}")

    def store_lanes(self, s: Store, where: Access, value: Value, mask: Value | None) -> None:
        """Store a vector in the lanes in use that `mask` has."""
        raise NotImplementedError

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
        return Value("0", "int64", False, HEAD) if s.upto else low, high

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

    def block_loop(self, s: Loop) -> None:
        self.serial_loop(s)

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

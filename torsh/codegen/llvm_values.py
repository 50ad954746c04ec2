"""Expressions of the kernel IR as LLVM values: operations, addresses and loads."""
from __future__ import annotations

from torsh.codegen.kernel_ir import MATH, Address, Arg, Cast, Const, Expr, Index, Load, Op, Read, Slot
from torsh.codegen.llvm_ops import (
    BYTES,
    MEMORY_TYPE,
    TYPE,
    convert,
    from_memory,
    is_float,
    lanes_of,
    literal,
    operation,
    splat,
)
from torsh.codegen.llvm_scopes import HEAD, PRE, Access, Places, Value
from torsh.codegen.walk import operands

#: Comparisons, and what they are with their operands exchanged.
_ORDER = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}


class Values(Places):
    """Computes expressions. A subclass says how the lanes of a vector load."""

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
        if isinstance(e, Op) and e.name in MATH:
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
        if isinstance(e, Op):
            return self.cache[id(self.expanded[id(e)])] if e.name in MATH else self.compute_op(e)
        if isinstance(e, Const):
            return Value(literal(e.value, e.dtype), e.dtype, False, HEAD)
        if isinstance(e, Load):
            return self.compute_load(e)
        if isinstance(e, Cast):
            src = self.cache[id(e.src)]
            place = self.at(src.place)
            return Value(convert(self.code, src.dtype, e.to, self.width(src.varying), src.text), e.dtype, src.varying,
                         place, src.within)
        if isinstance(e, Index):
            return self.index_value(e.axis)
        if isinstance(e, Arg):
            return self.argument(e)
        assert isinstance(e, Read), e
        return self.compute_read(e)

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
        if varying and self.lanes > 1 and e.name in _ORDER:
            for side in (0, 1):
                index, limit = e.srcs[side], sources[1 - side]
                if isinstance(index, Index) and sources[side].varying and not limit.varying:
                    return self.index_compared(e.name if side == 0 else _ORDER[e.name], self.axes[index.axis], limit)
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

    def index_compared(self, name: str, base: Value, limit: Value) -> Value:
        """How the vector axis compares with a number: the lanes' small numbers with the distance, which takes a register where int64 takes two."""
        if limit.text[0] == "%":  # no index is below 0, and so the difference is a number
            place = self.at(limit.place)
            above = self.code(f"icmp sgt i64 {limit.text}, -1")
            limit = Value(self.code(f"select i1 {above}, i64 {limit.text}, i64 -1"), "int64", False, place, limit.within)
        else:
            limit = self.known(max(-1, int(limit.text)))
        distance = self.arithmetic("sub", limit, base)
        place = self.at(distance.place)
        low = self.code(f"icmp sgt i64 {distance.text}, -1")
        near = self.code(f"select i1 {low}, i64 {distance.text}, i64 -1")
        high = self.code(f"icmp slt i64 {near}, {self.lanes}")
        near = self.code(f"select i1 {high}, i64 {near}, i64 {self.lanes}")
        near = splat(self.code, self.code(f"trunc i64 {near} to i32"), "i32", self.lanes)
        return Value(self.code(f"icmp s{name} <{self.lanes} x i32> {self.iota('i32')}, {near}"), "bool", True, place, max(base.within, limit.within))

    # Addresses

    def base_pointer(self, buffer: int) -> Value:
        slot = self.kernel.buffers[buffer][0]
        key = ("buffer", slot)
        found = self.cache.get(key)
        if found is None:
            address = self.slot(slot)
            place = self.at(HEAD)
            text = self.code(f"inttoptr i64 {address} to {self.POINTER}")
            found = self.remember(key, Value(text, "ptr", False, place))
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

    def locate(self, buffer: int, address: Address) -> Access:
        """The address of an element of a buffer, split into what is uniform and what differs between lanes."""
        dtype = self.kernel.buffers[buffer][1]
        t = MEMORY_TYPE[dtype]
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
        return Access(dtype, pointer, constant_part, strides, varying)

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

    # Loads

    def compute_load(self, e: Load) -> Value:
        where = self.locate(e.buffer, e.address)
        mask = None if e.mask is None else self.cache[id(e.mask)]
        varying = bool(where.strides or where.varying)
        if mask is not None and mask.varying and not varying:  # only the mask differs between lanes
            where.strides = [self.known(0)]
            varying = True
        parts = where.parts() if mask is None else [*where.parts(), mask]
        place = max([3 + PRE] + [v.place for v in parts])
        within = max([v.within for v in parts])
        if where.strides:
            place = max(place, self.vector_place)
        if e.buffer in self.phase_effects.stored:
            place = max(place, self.anchor(lambda effects: e.buffer in effects.stored))
        for s in self.may_be_empty(place):
            assert s.low is not None, s
            assert s.high is not None, s
            place = max(place, s.low.place, s.high.place)
        condition = self.runs(place)
        if condition is not None:
            place = max(place, condition.place)
            within = max([within] + [d for d, s in enumerate(self.scopes) if s.empty and d > place // 3])
        other = literal(e.other.value if e.other is not None else 0, e.dtype)
        if varying and self.lanes > 1:
            value = self.load_lanes(e, where, mask, condition, place, other)
            value.within = within
            return value
        condition = self.both(condition, mask)
        pointer = self.lane_pointer(where)
        place = self.at(max(place, pointer.place))
        text = self.load_scalar(where, pointer.text, condition)
        if mask is not None and condition is not None:
            text = self.code(f"select i1 {condition.text}, {TYPE[e.dtype]} {text}, {TYPE[e.dtype]} {other}")
        return Value(text, e.dtype, varying, place, within)

    def lane_pointer(self, where: Access) -> Value:
        """The pointer of the only lane, without the constant offset."""
        pointer = where.pointer
        for stride in where.strides:
            if stride.text != "0":
                pointer = self.offset_by(pointer, where.element, self.arithmetic("mul", self.vector_index, stride))
        for index, stride in where.varying:
            pointer = self.offset_by(pointer, where.element, self.arithmetic("mul", index, stride))
        return pointer

    def load_scalar(self, where: Access, pointer: str, condition: Value | None) -> str:
        m = where.element
        if where.offset:
            pointer = self.code(f"getelementptr {m}, {self.POINTER} {pointer}, i64 {where.offset}")
        pointer = self.guarded(pointer, condition)
        text = self.code(f"load {m}, {self.POINTER} {pointer}, align {BYTES[where.dtype]}")
        return from_memory(self.code, where.dtype, 1, text)

    def load_lanes(self, e: Load, where: Access, mask: Value | None, condition: Value | None, place: int,
                   other: str) -> Value:
        """Load a vector: at `place` or after it, touching memory only in lanes of `mask` and if `condition` holds,
        with the value `other` outside the mask."""
        raise NotImplementedError

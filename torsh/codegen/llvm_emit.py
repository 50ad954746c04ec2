"""Kernels for processors: LLVM IR text with explicit vectors.

One function a phase, `void @{name}_p{i}(ptr args, i64 begin, i64 end)`, executes the work items [begin, end) of the
flattened product of the parallel axes, the first axis outermost.

A vector loop becomes a loop over full vectors and, where the extent is not known to be a multiple, one masked step for
the rest. Inactive lanes of that step compute on zeros or on copies of an active lane's data; what they give is not stored.
"""
from __future__ import annotations

from torsh.codegen.kernel_ir import Kernel, Load, Loop, Phase, Store
from torsh.codegen.llvm_core import HEAD, Emitter, Value, flatten
from torsh.codegen.llvm_helpers import copy_helper
from torsh.codegen.llvm_ops import BYTES, MEMORY_TYPE, TYPE, combine, from_memory, lanes_of, select, splat, to_memory
from torsh.codegen.llvm_width import choose
from torsh.codegen.target import Target


def emit_cpu(kernel: Kernel, name: str, target: Target) -> str:
    """The LLVM IR of a kernel, without target triple; see the module's docstring for its functions.

    The kernel must satisfy `codegen.check.check`."""
    emitter = CpuEmitter(kernel, name, target)
    for number, phase in enumerate(kernel.phases):
        emitter.phase(number, phase)
    return emitter.module()


class CpuEmitter(Emitter):
    """Vectors of as many lanes as the loop's typical value has in the target's registers, or a small multiple."""

    def __init__(self, kernel: Kernel, name: str, target: Target) -> None:
        arch = target.triple.partition("-")[0]
        x86 = arch == "x86_64"
        super().__init__(kernel, name, not x86 or target.vector_bytes >= 32)
        self.vector_bytes = target.vector_bytes
        # Sizes of memory elements that the target can load and store under a mask.
        self.maskable = () if not x86 or target.vector_bytes < 32 else (4, 8) if target.vector_bytes == 32 else (1, 2, 4, 8)
        self.widths: dict[int, tuple[int, str]] = {}
        self.full = ""  # whether all lanes are in use, where that is tested

    def module(self) -> str:
        width = 8 * self.vector_bytes
        return "\n".join(self.functions + list(self.code.helpers.values()) + [
            f'attributes #0 = {{ nounwind "prefer-vector-width"="{width}" "no-trapping-math"="true" }}',
            f'attributes #1 = {{ nounwind noinline "prefer-vector-width"="{width}" }}', "!0 = !{}", ""])

    def phase(self, number: int, phase: Phase) -> None:
        self.begin_function(phase)
        self.copied: dict[str, str] = {}
        lines = self.items(phase)
        self.functions.append("\n".join(
            [f"define void @{self.name}_p{number}(ptr noalias readonly captures(none) %args, i64 %begin, i64 %end) #0 {{",
             "entry:"] + self.stack + flatten(lines, []) + ["  ret void", "}", ""]))

    def items(self, phase: Phase) -> list:
        """The loop over work items; the values of the parallel axes are counted up like a mileometer."""
        entry = self.scopes[0]
        extents = [self.integer(n) for _, n in phase.parallel]
        scope = self.open_item(phase)
        starts: list[str] = []
        decompose: list[str] = []
        self.code.out = decompose
        rest = "%begin"
        for n in reversed(extents[1:]):
            starts.insert(0, self.code(f"urem i64 {rest}, {n}"))
            rest = self.code(f"udiv i64 {rest}, {n}")
        starts.insert(0, rest)
        names = [f"%x{k}" for k in range(len(extents))] if extents else []
        place = 3 + HEAD
        for (axis, _), text in zip(phase.parallel, names):
            self.axes[axis] = Value(text, "int64", False, place)
        self.body(phase.body)
        step: list[str] = []
        phis = ["  %item = phi i64 [ %begin, %enter ], [ %item.next, %item.latch ]"]
        carry = "true"
        for k in reversed(range(len(names))):
            phis.append(f"  {names[k]} = phi i64 [ {starts[k]}, %enter ], [ {names[k]}.next, %item.latch ]")
            if k == len(names) - 1:
                step.append(f"  {names[k]}.up = add nsw i64 {names[k]}, 1")
            else:
                step.append(f"  {names[k]}.carry = zext i1 {carry} to i64")
                step.append(f"  {names[k]}.up = add nsw i64 {names[k]}, {names[k]}.carry")
            if k > 0:
                carry = f"{names[k]}.wraps"
                step.append(f"  {carry} = icmp eq i64 {names[k]}.up, {extents[k]}")
                step.append(f"  {names[k]}.next = select i1 {carry}, i64 0, i64 {names[k]}.up")
            else:
                step.append(f"  {names[k]}.next = add i64 {names[k]}.up, 0")
        self.close_body()
        self.close_loop()
        tail = self.end_checks()
        return [entry.head, "  %some = icmp slt i64 %begin, %end", "  br i1 %some, label %items, label %exit", "items:",
                decompose, scope.pre, "  br label %enter", "enter:", "  br label %work", "work:", phis, scope.head,
                scope.run, "  br label %item.latch", "item.latch:", step, "  %item.next = add nsw i64 %item, 1",
                "  %item.more = icmp slt i64 %item.next, %end", "  br i1 %item.more, label %work, label %exit", "exit:",
                tail]

    # Vector loops

    def way_of(self, s: Loop) -> tuple[int, str]:
        found = self.widths.get(id(s))
        if found is None:
            found = self.widths[id(s)] = choose(s, self.vector_bytes)
        return found

    def lanes_for(self, s: Loop) -> int:
        return self.way_of(s)[0]

    def vector_loop(self, s: Loop) -> None:
        lanes, way = self.way_of(s)
        low, high = self.bounds(s)
        extent = s.extent if s.tile is None and isinstance(s.extent, int) else None
        if extent is not None and extent <= 0:
            return
        n = self.label()
        if extent is None:
            self.emit(f"  %some.{n} = icmp slt i64 {low.text}, {high.text}")
            self.emit(f"  br i1 %some.{n}, label %pre.{n}, label %done.{n}")
        else:
            self.emit(f"  br label %pre.{n}")
        self.emit(f"pre.{n}:")
        outer = self.scopes[-1].run
        scope = self.open_loop(self.effects_of(s), low, high)
        scope.empty = extent is None
        outer.append(scope.pre)
        lifted = self.open_lanes(s, outer)
        self.lanes, self.in_vector = lanes, True
        self.vector_place = 3 * (len(self.scopes) - 1) + HEAD
        if way == "always" and (extent is None or (extent > lanes and extent % lanes)):
            outer += [f"  br label %enter.{n}", f"enter.{n}:"]
            self._loop(s, n, outer, low.text, high.text, lanes, high.text)
        else:
            self._full_and_rest(s, n, outer, low, high, extent, way)
        outer += [f"  br label %end.{n}", f"end.{n}:"]
        self.close_loop()
        self.lanes, self.in_vector = 1, False
        self.close_lanes(lifted)
        self.emit(f"  br label %done.{n}")
        self.emit(f"done.{n}:")

    def _full_and_rest(self, s: Loop, n: int, outer: list, low: Value, high: Value, extent: int | None, way: str) -> None:
        """A loop over full vectors, then the lanes that are left."""
        lanes = self.lanes
        if extent is not None:
            middle = str(extent // lanes * lanes)
            has_main, has_rest = extent >= lanes, extent % lanes > 0
        else:
            count = self.arithmetic("sub", high, low)
            whole = self.combined("and", count, Value(str(-lanes), "int64", False, HEAD))
            middle = self.arithmetic("add", low, whole).text
            has_main, has_rest = True, lanes > 1
        outer += [f"  br label %enter.{n}", f"enter.{n}:"]
        if has_main:
            if extent is None:
                outer += [f"  %any.{n} = icmp slt i64 {low.text}, {middle}",
                          f"  br i1 %any.{n}, label %go.{n}, label %rest.{n}", f"go.{n}:"]
            m = self.label()
            outer += [f"  br label %enter.{m}", f"enter.{m}:"]
            self._loop(s, m, outer, low.text, middle, lanes, None)
            outer += [f"  br label %rest.{n}", f"rest.{n}:"]
        if not has_rest:
            return
        if extent is None:
            outer += [f"  %left.{n} = icmp slt i64 {middle}, {high.text}",
                      f"  br i1 %left.{n}, label %last.{n}, label %end.{n}", f"last.{n}:"]
        m = self.label()
        outer += [f"  br label %enter.{m}", f"enter.{m}:"]
        if way == "scalar":
            self._single_lanes(s, m, outer, middle, high.text)
        else:
            self._last_vector(s, m, outer, middle, high.text)

    def _loop(self, s: Loop, n: int, outer: list, low: str, end: str, lanes: int, masked_to: str | None) -> None:
        """A loop over vectors from `low` < `end`, entered from the label enter.n; full ones, or with lanes from
        `masked_to` on left out."""
        scope = self.scopes[-1]
        scope.open_body()
        outer += [f"  br label %loop.{n}", f"loop.{n}:",
                  f"  %i.{n} = phi i64 [ {low}, %enter.{n} ], [ %next.{n}, %latch.{n} ]"]
        self.axes[s.axis] = self.vector_index = Value(f"%i.{n}", "int64", True, self.vector_place)
        if masked_to is not None:
            outer += [f"  %ahead.{n} = sub i64 {masked_to}, %i.{n}",
                      f"  %remaining.{n} = call i64 @llvm.umin(i64 %ahead.{n}, i64 {lanes})"]
            if not self.maskable:
                self.full = f"%full.{n}"
                outer.append(f"  {self.full} = icmp uge i64 %ahead.{n}, {lanes}")
            self._set_mask(outer, f"%remaining.{n}")
        self.body(s.body)
        outer += [scope.head, scope.run, f"  br label %latch.{n}", f"latch.{n}:",
                  f"  %next.{n} = add nsw i64 %i.{n}, {lanes}", f"  %more.{n} = icmp slt i64 %next.{n}, {end}",
                  f"  br i1 %more.{n}, label %loop.{n}, label %over.{n}", f"over.{n}:"]
        self.close_body()
        self.mask, self.full = None, ""

    def _last_vector(self, s: Loop, n: int, outer: list, middle: str, high: str) -> None:
        """One masked vector."""
        scope = self.scopes[-1]
        scope.open_body()
        if middle[0] == "%" or high[0] == "%":
            count = f"%remaining.{n}"
            outer.append(f"  {count} = sub i64 {high}, {middle}")
        else:
            count = str(int(high) - int(middle))
        self.axes[s.axis] = self.vector_index = Value(middle, "int64", True, self.vector_place)
        self._set_mask(outer, count)
        self.body(s.body)
        outer += [scope.head, scope.run]
        self.close_body()
        self.mask = None

    def _single_lanes(self, s: Loop, n: int, outer: list, middle: str, high: str) -> None:
        """The rest lane by lane. Accumulators are then updated themselves, not their lanes."""
        lanes, self.lanes = self.lanes, 1
        by_lane = {acc: self.variables[acc] for acc in self.lifted}
        self.variables.update(self.lifted)
        self._loop(s, n, outer, middle, high, 1, None)
        self.variables.update(by_lane)
        self.lanes = lanes

    def _set_mask(self, outer: list, remaining: str) -> None:
        """Use the first `remaining` lanes only."""
        self.remaining = remaining
        self.code.out = outer
        self.mask = Value(self._first_lanes(remaining, self.lanes), "bool", True, self.vector_place)

    def _first_lanes(self, count: str, lanes: int) -> str:
        """The mask of the first `count` lanes."""
        c = self.code
        if count[0] != "%":
            return "<" + ", ".join([f"i1 {'true' if i < int(count) else 'false'}" for i in range(lanes)]) + ">"
        if self.vector_bytes == 64 and 8 <= lanes <= 64:  # mask registers are made from integers
            wide = c(f"sub i64 64, {count}")
            bits = c(f"lshr i64 -1, {wide}")
            if lanes < 64:
                bits = c(f"trunc i64 {bits} to i{lanes}")
            return c(f"bitcast i{lanes} {bits} to <{lanes} x i1>")
        t = "i32" if lanes <= 64 else "i16"
        number = c(f"trunc i64 {count} to {t}")
        return c(f"icmp ult <{lanes} x {t}> {self.iota(t)}, {splat(c, number, t, lanes)}")

    # Memory

    def load_lanes(self, e: Load, t: str, pointer: Value, offset: int, strides: list[Value],
                   varying: list[tuple[Value, Value]], mask: Value | None, condition: Value | None, place: int,
                   other: str) -> Value:
        lanes, m = self.lanes, MEMORY_TYPE[t]
        v = lanes_of(m, lanes)
        step = self._step(strides, varying)
        active = self.both(mask, condition)  # where memory may be touched, besides the lanes in use
        if mask is not None:
            active = self.both(self.mask, active)
        if step == "1":
            start = self.offset_by(pointer, m, self.vector_index)
            place = max(place, start.place)
            if mask is None and (self.mask is None or BYTES[t] not in self.maskable):
                place = self.at(place)
                where = self.guarded(self._plus(m, start.text, offset), condition)
                text = self._vector_load(v, t, where) if self.mask is None else self._short_load(v, t, where)
            else:
                active = self.both(self.mask, active)
                assert active is not None
                spread = self.spread(active)
                place = self.at(max(place, active.place))
                if BYTES[t] in self.maskable:
                    text = self._masked_load(v, t, self._plus(m, start.text, offset), spread)
                else:
                    text = self._gather(t, start.text, offset, "1", "", spread, at_start=True)
        elif step == "-1" and self.mask is None and active is None:
            place = self.at(place)
            back = self.code(f"sub i64 {-(lanes - 1)}, {self.vector_index.text}")
            start_text = self.code(f"getelementptr {m}, ptr {pointer.text}, i64 {back}")
            text = self._vector_load(v, t, self._plus(m, start_text, offset))
            order = ", ".join([f"i32 {i}" for i in range(lanes - 1, -1, -1)])
            text = self.code(f"shufflevector {v} {text}, {v} poison, <{lanes} x i32> <{order}>")
        else:
            stride, offsets, offsets_place = self._lane_offsets(strides, varying)
            spread = None if active is None else self.spread(active)
            place = max(place, offsets_place, active.place if active is not None else 0)
            place = self.at(place)
            text = self._gather(t, pointer.text, offset, stride, offsets, spread)
        text = from_memory(self.code, t, lanes, text)
        if mask is not None:
            assert active is not None
            r = TYPE[e.dtype]
            chosen = self.spread(active)
            self.at(place)
            text = select(self.code, chosen, text, f"splat ({r} {other})", lanes_of(r, lanes), lanes)
        return Value(text, e.dtype, True, place)

    def _step(self, strides: list[Value], varying: list[tuple[Value, Value]]) -> str:
        """The literal stride of the lanes, or "" if there is none."""
        if varying or len(strides) != 1 or strides[0].text[0] == "%":
            return ""
        return strides[0].text

    def _plus(self, m: str, pointer: str, offset: int) -> str:
        return self.code(f"getelementptr {m}, ptr {pointer}, i64 {offset}") if offset else pointer

    def _vector_load(self, v: str, t: str, pointer: str) -> str:
        return self.code(f"load {v}, ptr {pointer}, align {BYTES[t]}")

    def _masked_load(self, v: str, t: str, pointer: str, mask: str) -> str:
        return self.code(f"call {v} @llvm.masked.load(ptr align {BYTES[t]} {pointer}, <{self.lanes} x i1> {mask}, "
                         f"{v} zeroinitializer)")

    def _room(self, v: str) -> str:
        """Memory of the stack for one vector."""
        found = self.copied.get(v)
        if found is None:
            found = self.copied[v] = self.alloca(v)
        return found

    def _copy(self, t: str, to: str, source: str) -> None:
        name, text = copy_helper()
        self.code.helpers.update(text)
        size = self.code(f"mul i64 {self.remaining}, {BYTES[t]}")
        self.code.do(f"call void @{name}(ptr {to}, ptr {source}, i64 {size})")

    def _short_load(self, v: str, t: str, pointer: str) -> str:
        """Load the lanes in use, by way of the stack."""
        c, room = self.code, self._room(v)
        n = self._unless_full()
        c.do(f"store {v} zeroinitializer, ptr {room}")
        self._copy(t, room, pointer)
        short = c(f"load {v}, ptr {room}")
        if not n:
            return short
        self._or_full(n)
        whole = self._vector_load(v, t, pointer)
        self._meet(n)
        return c(f"phi {v} [ {short}, %short.{n} ], [ {whole}, %whole.{n} ]")

    def _short_store(self, v: str, t: str, pointer: str, text: str) -> None:
        """Store the lanes in use, by way of the stack."""
        c, room = self.code, self._room(v)
        n = self._unless_full()
        c.do(f"store {v} {text}, ptr {room}")
        self._copy(t, pointer, room)
        if n:
            self._or_full(n)
            c.do(f"store {v} {text}, ptr {pointer}, align {BYTES[t]}")
            self._meet(n)

    def _unless_full(self) -> int:
        """Where vectors may be full or not: begin code for one that is not. 0 if it is known not to be."""
        if not self.full:
            return 0
        n = self.label()
        self.code.out += [f"  br i1 {self.full}, label %whole.{n}, label %short.{n}", f"short.{n}:"]
        return n

    def _or_full(self, n: int) -> None:
        self.code.out += [f"  br label %either.{n}", f"whole.{n}:"]

    def _meet(self, n: int) -> None:
        self.code.out += [f"  br label %either.{n}", f"either.{n}:"]

    def _lane_offsets(self, strides: list[Value], varying: list[tuple[Value, Value]]) -> tuple[str, str, int]:
        """Where the lanes are: (stride, "", place), or ("", vector of element offsets, place) if they follow no stride."""
        if not varying:
            total = strides[0]
            for v in strides[1:]:
                total = self.arithmetic("add", total, v)
            return total.text, "", total.place
        lanes = self.lanes
        i64 = f"<{lanes} x i64>"
        terms: list[tuple[Value, Value]] = list(varying)
        for v in strides:
            terms.append((self._index_lanes(), v))
        texts = [(self.spread(x), "" if s.text == "1" else self.spread(s)) for x, s in terms]
        place = self.at(max([x.place for pair in terms for x in pair] + [self.vector_place]))
        result = ""
        for x, s in texts:
            product = self.code(f"mul {i64} {x}, {s}") if s else x
            result = self.code(f"add {i64} {result}, {product}") if result else product
        if self.mask is not None:  # lanes not in use go where the first lane goes
            first = self.code(f"extractelement {i64} {result}, i64 0")
            everywhere = splat(self.code, first, "i64", lanes)
            result = select(self.code, self.mask.text, result, everywhere, i64, lanes)
        return "", result, place

    def _index_lanes(self) -> Value:
        key = ("lanes", self.vector_index.text)
        found = self.cache.get(key)
        if found is None:
            axis = next(a for a, v in self.axes.items() if v is self.vector_index)
            found = self.remember(key, self.index_value(axis))
        return found

    def _lane_pointers(self, m: str, pointer: str, offset: int, stride: str, offsets: str, mask: str | None,
                       at_start: bool, clamp: bool) -> list[str]:
        """A pointer a lane; lanes outside the mask get the dummy, lanes not in use the last one's (with `clamp`)."""
        c, lanes = self.code, self.lanes
        pointers: list[str] = []
        pointer = self._plus(m, pointer, offset)
        if offsets:
            for i in range(lanes):
                at = c(f"extractelement <{lanes} x i64> {offsets}, i64 {i}")
                pointers.append(c(f"getelementptr {m}, ptr {pointer}, i64 {at}"))
        else:
            if not at_start and stride != "0":
                start = self.vector_index.text if stride == "1" else c(f"mul i64 {self.vector_index.text}, {stride}")
                pointer = c(f"getelementptr {m}, ptr {pointer}, i64 {start}")
            last = "" if self.mask is None or not clamp else c(f"sub i64 {self.remaining}, 1")
            for i in range(lanes):
                if i == 0 or stride == "0":
                    pointers.append(pointer)
                    continue
                number = c(f"call i64 @llvm.umin(i64 {last}, i64 {i})") if last else str(i)
                if number[0] != "%" and stride[0] != "%":
                    at = str(int(number) * int(stride))
                else:
                    at = number if stride == "1" else c(f"mul i64 {number}, {stride}")
                pointers.append(c(f"getelementptr {m}, ptr {pointer}, i64 {at}"))
        if mask is None:
            return pointers
        dummy = self.dummy_pointer()
        chosen: list[str] = []
        for i, p in enumerate(pointers):
            on = c(f"extractelement <{lanes} x i1> {mask}, i64 {i}")
            chosen.append(c(f"select i1 {on}, ptr {p}, ptr {dummy}"))
        return chosen

    def _gather(self, t: str, pointer: str, offset: int, stride: str, offsets: str, mask: str | None,
                at_start: bool = False) -> str:
        """Load a vector element by element."""
        c, lanes, m = self.code, self.lanes, MEMORY_TYPE[t]
        v = lanes_of(m, lanes)
        result = "poison"
        for i, p in enumerate(self._lane_pointers(m, pointer, offset, stride, offsets, mask, at_start, True)):
            x = c(f"load {m}, ptr {p}, align {BYTES[t]}")
            result = c(f"insertelement {v} {result}, {m} {x}, i64 {i}")
        return result

    def store_lanes(self, s: Store, t: str, pointer: Value, offset: int, strides: list[Value],
                    varying: list[tuple[Value, Value]], value: Value, mask: Value | None) -> None:
        c, lanes, m = self.code, self.lanes, MEMORY_TYPE[t]
        v = lanes_of(m, lanes)
        text = self.spread(value)
        active = self.both(self.mask, mask)
        spread = self.spread(active) if active is not None else None
        run = self.scopes[-1].run
        if self._step(strides, varying) == "1":
            start = self.offset_by(pointer, m, self.vector_index)
            c.out = run
            where = self._plus(m, start.text, offset)
            if spread is None:
                if s.mode != "set":
                    text = self._merge(s, value.dtype, t, self._vector_load(v, t, where), text)
                c.do(f"store {v} {to_memory(c, t, lanes, text)}, ptr {where}, align {BYTES[t]}")
                return
            if BYTES[t] in self.maskable:
                if s.mode != "set":
                    text = self._merge(s, value.dtype, t, self._masked_load(v, t, where, spread), text)
                c.do(f"call void @llvm.masked.store({v} {to_memory(c, t, lanes, text)}, ptr align {BYTES[t]} {where}, "
                     f"<{lanes} x i1> {spread})")
                return
            if mask is None:
                if s.mode != "set":
                    text = self._merge(s, value.dtype, t, self._short_load(v, t, where), text)
                self._short_store(v, t, where, to_memory(c, t, lanes, text))
                return
        if not strides and not varying and mask is None and s.mode == "set":  # one place: the last lane's value stays
            c.out = run
            last = str(lanes - 1) if self.mask is None else c(f"sub i64 {self.remaining}, 1")
            memory = to_memory(c, t, lanes, text)
            one = c(f"extractelement {v} {memory}, i64 {last}")
            c.do(f"store {m} {one}, ptr {self._plus(m, pointer.text, offset)}, align {BYTES[t]}")
            return
        if not strides and not varying:
            strides = [Value("0", "int64", False, HEAD)]
        stride, offsets, _ = self._lane_offsets(strides, varying)
        c.out = run
        self._scatter(s, t, pointer.text, offset, stride, offsets, spread, text, value.dtype)

    def _merge(self, s: Store, dtype: str, t: str, old: str, text: str) -> str:
        return combine(self.code, s.mode, dtype, self.lanes, from_memory(self.code, t, self.lanes, old), text)

    def _scatter(self, s: Store, t: str, pointer: str, offset: int, stride: str, offsets: str, mask: str | None,
                 text: str, dtype: str) -> None:
        """Store a vector element by element, in the order of the lanes."""
        c, lanes, m = self.code, self.lanes, MEMORY_TYPE[t]
        single = TYPE[dtype]
        if s.mode == "set":
            text = to_memory(c, t, lanes, text)
            single = m
        for i, p in enumerate(self._lane_pointers(m, pointer, offset, stride, offsets, mask, False, False)):
            x = c(f"extractelement {lanes_of(single, lanes)} {text}, i64 {i}")
            if s.mode != "set":
                old = from_memory(c, t, 1, c(f"load {m}, ptr {p}, align {BYTES[t]}"))
                x = to_memory(c, t, 1, combine(c, s.mode, dtype, 1, old, x))
            c.do(f"store {m} {x}, ptr {p}, align {BYTES[t]}")

"""How the lanes of a vector load and store on a processor."""
from __future__ import annotations

from torsh.codegen.kernel_ir import Load, Store
from torsh.codegen.llvm_core import Emitter
from torsh.codegen.llvm_helpers import copy_helper
from torsh.codegen.llvm_ops import BYTES, TYPE, combine, from_memory, lanes_of, select, splat, to_memory
from torsh.codegen.llvm_scopes import Access, Value


class VectorMemory(Emitter):
    """Contiguous lanes load and store as vectors, under a mask where the target can or by way of the stack; others
    one by one, which processors without a quick gather do as fast as any."""
    gathered: tuple[int, ...]  # sizes of those that it loads from several places at once, in lanes that it is told
    maskable: tuple[int, ...]  # sizes of memory elements that the target can load and store under a mask
    copied: dict[str, str]  # memory of the stack by vector type
    remaining: str  # number of lanes in use, where there is a mask
    full: str  # whether all lanes are in use, where that is tested

    def load_lanes(self, e: Load, where: Access, mask: Value | None, condition: Value | None, place: int,
                   other: str) -> Value:
        t, m, lanes = where.dtype, where.element, self.lanes
        v = lanes_of(m, lanes)
        step = self._step(where)
        active = self.both(mask, condition)  # where memory may be touched, besides the lanes in use
        if mask is not None:
            active = self.both(self.mask, active)
        if step == "1":
            start = self.offset_by(where.pointer, m, self.vector_index)
            place = max(place, start.place)
            if mask is None and (self.mask is None or BYTES[t] not in self.maskable):
                place = self.at(place)
                pointer = self.guarded(self._plus(m, start.text, where.offset), condition)
                text = self._vector_load(v, t, pointer) if self.mask is None else self._short_load(v, t, pointer)
            else:
                active = self.both(self.mask, active)
                assert active is not None
                spread = self.spread(active)
                place = self.at(max(place, active.place))
                if BYTES[t] in self.maskable:
                    text = self._masked_load(v, t, self._plus(m, start.text, where.offset), spread)
                else:
                    text = self._gather(where, "1", "", spread)
        elif step == "-1" and self.mask is None and active is None:
            place = self.at(place)
            back = self.code(f"sub i64 {-(lanes - 1)}, {self.vector_index.text}")
            pointer = self.code(f"getelementptr {m}, ptr {where.pointer.text}, i64 {back}")
            text = self._vector_load(v, t, self._plus(m, pointer, where.offset))
            order = ", ".join([f"i32 {i}" for i in range(lanes - 1, -1, -1)])
            text = self.code(f"shufflevector {v} {text}, {v} poison, <{lanes} x i32> <{order}>")
        else:
            stride, offsets, offsets_place = self._lane_offsets(where)
            lanes_mask = None if active is None else self.spread(active)
            place = self.at(max(place, offsets_place, active.place if active is not None else 0))
            text = self._gather(where, stride, offsets, lanes_mask)
        text = from_memory(self.code, t, lanes, text)
        if mask is not None:
            assert active is not None
            r = TYPE[e.dtype]
            chosen = self.spread(active)
            self.at(place)
            text = select(self.code, chosen, text, f"splat ({r} {other})", lanes_of(r, lanes), lanes)
        return Value(text, e.dtype, True, place)

    def _step(self, where: Access) -> str:
        """The literal stride of the lanes, or "" if there is none."""
        if where.varying or len(where.strides) != 1 or where.strides[0].text[0] == "%":
            return ""
        return where.strides[0].text

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

    def _lane_offsets(self, where: Access) -> tuple[str, str, int]:
        """Where the lanes are: (stride, "", place), or ("", vector of element offsets, place) if they follow none."""
        if not where.varying:
            total = where.strides[0]
            for v in where.strides[1:]:
                total = self.arithmetic("add", total, v)
            return total.text, "", total.place
        lanes = self.lanes
        i64 = f"<{lanes} x i64>"
        terms = list(where.varying)
        for v in where.strides:
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

    def _lane_pointers(self, where: Access, stride: str, offsets: str, mask: str | None, clamp: bool) -> list[str]:
        """A pointer a lane; lanes outside the mask get the dummy, lanes not in use the last one's (with `clamp`)."""
        c, lanes, m = self.code, self.lanes, where.element
        pointers: list[str] = []
        pointer = self._plus(m, where.pointer.text, where.offset)
        if offsets:
            for i in range(lanes):
                at = c(f"extractelement <{lanes} x i64> {offsets}, i64 {i}")
                pointers.append(c(f"getelementptr {m}, ptr {pointer}, i64 {at}"))
        else:
            if stride != "0":
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

    def _gather(self, where: Access, stride: str, offsets: str, mask: str | None) -> str:
        """Load a vector element by element."""
        c, lanes, m = self.code, self.lanes, where.element
        v = lanes_of(m, lanes)
        if mask is not None and not offsets and BYTES[where.dtype] in self.gathered:
            if self.mask is not None:
                mask = c(f"and <{lanes} x i1> {mask}, {self.mask.text}")
            start = c(f"mul i64 {self.vector_index.text}, {stride}")
            pointer = c(f"getelementptr {m}, ptr {self._plus(m, where.pointer.text, where.offset)}, i64 {start}")
            steps = c(f"mul <{lanes} x i64> {self.iota('i64')}, {splat(c, stride, 'i64', lanes)}")
            pointers = c(f"getelementptr {m}, ptr {pointer}, <{lanes} x i64> {steps}")
            return c(f"call {v} @llvm.masked.gather(<{lanes} x ptr> align {BYTES[where.dtype]} {pointers}, <{lanes} x i1> {mask}, {v} zeroinitializer)")
        result = "poison"
        for i, p in enumerate(self._lane_pointers(where, stride, offsets, mask, True)):
            x = c(f"load {m}, ptr {p}, align {BYTES[where.dtype]}")
            result = c(f"insertelement {v} {result}, {m} {x}, i64 {i}")
        return result

    def store_lanes(self, s: Store, where: Access, value: Value, mask: Value | None) -> None:
        c, lanes, m, t = self.code, self.lanes, where.element, where.dtype
        v = lanes_of(m, lanes)
        text = self.spread(value)
        active = self.both(self.mask, mask)
        spread = self.spread(active) if active is not None else None
        run = self.scopes[-1].run
        if self._step(where) == "1":
            start = self.offset_by(where.pointer, m, self.vector_index)
            c.out = run
            pointer = self._plus(m, start.text, where.offset)
            if s.stream and s.mode == "set" and mask is None and (spread is None or self.full):
                self._stream(v, t, pointer, to_memory(c, t, lanes, text), spread)
                return
            if spread is None:
                if s.mode != "set":
                    text = self._merge(s, value.dtype, t, self._vector_load(v, t, pointer), text)
                c.do(f"store {v} {to_memory(c, t, lanes, text)}, ptr {pointer}, align {BYTES[t]}")
                return
            if BYTES[t] in self.maskable:
                if s.mode != "set":
                    text = self._merge(s, value.dtype, t, self._masked_load(v, t, pointer, spread), text)
                c.do(f"call void @llvm.masked.store({v} {to_memory(c, t, lanes, text)}, ptr align {BYTES[t]} {pointer}, "
                     f"<{lanes} x i1> {spread})")
                return
            if mask is None:
                if s.mode != "set":
                    text = self._merge(s, value.dtype, t, self._short_load(v, t, pointer), text)
                self._short_store(v, t, pointer, to_memory(c, t, lanes, text))
                return
        fixed = not where.strides and not where.varying
        if fixed and mask is None and s.mode == "set":  # one place: the last lane's value stays
            c.out = run
            last = str(lanes - 1) if self.mask is None else c(f"sub i64 {self.remaining}, 1")
            memory = to_memory(c, t, lanes, text)
            one = c(f"extractelement {v} {memory}, i64 {last}")
            c.do(f"store {m} {one}, ptr {self._plus(m, where.pointer.text, where.offset)}, align {BYTES[t]}")
            return
        if fixed:
            where.strides = [self.known(0)]
        stride, offsets, _ = self._lane_offsets(where)
        c.out = run
        self._scatter(s, where, stride, offsets, spread, text, value.dtype)

    def _stream(self, v: str, t: str, pointer: str, text: str, spread: str | None) -> None:
        """Store a vector past the caches where it is whole and aligned, as such stores must be.

        The next atomic operation orders them; the pool makes one before it reports items as done."""
        c, n = self.code, self.label()
        align = min(self.lanes * BYTES[t], 64)
        address = c(f"ptrtoint ptr {pointer} to i64")
        fits = c(f"icmp eq i64 {c(f'and i64 {address}, {align - 1}')}, 0")
        if spread is not None:
            fits = c(f"and i1 {fits}, {self.full}")
        c.out += [f"  br i1 {fits}, label %past.{n}, label %plain.{n}", f"past.{n}:"]
        c.do(f"store {v} {text}, ptr {pointer}, align {align}, !nontemporal !1")
        c.out += [f"  br label %stored.{n}", f"plain.{n}:"]
        if spread is None:
            c.do(f"store {v} {text}, ptr {pointer}, align {BYTES[t]}")
        elif BYTES[t] in self.maskable:
            c.do(f"call void @llvm.masked.store({v} {text}, ptr align {BYTES[t]} {pointer}, <{self.lanes} x i1> {spread})")
        else:
            self._short_store(v, t, pointer, text)
        c.out += [f"  br label %stored.{n}", f"stored.{n}:"]

    def _merge(self, s: Store, dtype: str, t: str, old: str, text: str) -> str:
        return combine(self.code, s.mode, dtype, self.lanes, from_memory(self.code, t, self.lanes, old), text)

    def _scatter(self, s: Store, where: Access, stride: str, offsets: str, mask: str | None, text: str,
                 dtype: str) -> None:
        """Store a vector element by element, in the order of the lanes."""
        c, lanes, m, t = self.code, self.lanes, where.element, where.dtype
        single = TYPE[dtype]
        if s.mode == "set":
            text = to_memory(c, t, lanes, text)
            single = m
        for i, p in enumerate(self._lane_pointers(where, stride, offsets, mask, False)):
            x = c(f"extractelement {lanes_of(single, lanes)} {text}, i64 {i}")
            if s.mode != "set":
                old = from_memory(c, t, 1, c(f"load {m}, ptr {p}, align {BYTES[t]}"))
                x = to_memory(c, t, 1, combine(c, s.mode, dtype, 1, old, x))
            c.do(f"store {m} {x}, ptr {p}, align {BYTES[t]}")

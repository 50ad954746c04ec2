"""Kernels for processors: LLVM IR text with explicit vectors.

One function a phase, `void @{name}_p{i}(ptr args, i64 begin, i64 end)`, executes the work items [begin, end) of the
flattened product of the parallel axes, the first axis outermost.

A vector loop becomes a loop over full vectors and something for the rest (see `llvm_width`). Lanes not in use compute
on zeros or on copies of a used lane's data; what they give is not stored.
"""
from __future__ import annotations

from torsh.codegen.kernel_ir import Kernel, Loop, Phase
from torsh.codegen.llvm_blocks import Blocks
from torsh.codegen.llvm_core import flatten
from torsh.codegen.llvm_ops import splat
from torsh.codegen.llvm_scopes import HEAD, Value
from torsh.codegen.llvm_width import choose
from torsh.codegen.target import Target


def emit_cpu(kernel: Kernel, name: str, target: Target) -> str:
    """The LLVM IR of a kernel, without target triple; see the module's docstring for its functions.

    The kernel must satisfy `codegen.check.check`."""
    emitter = CpuEmitter(kernel, name, target)
    for number, phase in enumerate(kernel.phases):
        emitter.phase(number, phase)
    return emitter.module()


class CpuEmitter(Blocks):
    """Vectors of as many lanes as the loop's typical value has in the target's registers, or a small multiple."""

    def __init__(self, kernel: Kernel, name: str, target: Target) -> None:
        arch = target.triple.partition("-")[0]
        x86 = arch == "x86_64"
        super().__init__(kernel, name, not x86 or target.vector_bytes >= 32)
        self.vector_bytes = target.vector_bytes
        # Sizes of memory elements that the target can load and store under a mask.
        self.gathered = (4, 8) if x86 and target.vector_bytes == 64 else ()
        self.maskable = {32: (4, 8), 64: (1, 2, 4, 8)}.get(target.vector_bytes, ()) if x86 else ()
        self.code.reciprocal_roots = x86 and target.vector_bytes == 64
        self.widths: dict[int, tuple[int, str]] = {}
        self.full = ""  # whether all lanes are in use, where that is tested

    def module(self) -> str:
        width = 8 * self.vector_bytes
        return "\n".join(self.functions + list(self.code.helpers.values()) + [
            f'attributes #0 = {{ nounwind "prefer-vector-width"="{width}" "no-trapping-math"="true" }}',
            f'attributes #1 = {{ nounwind noinline "prefer-vector-width"="{width}" }}', "!0 = !{}", "!1 = !{i32 1}", ""])

    def phase(self, number: int, phase: Phase) -> None:
        self.begin_function(phase)
        self.copied: dict[str, str] = {}
        self.begin_blocks()
        lines = self.items(phase)
        self.functions.append("\n".join(
            [f"define void @{self.name}_p{number}"
             "(ptr noalias readonly captures(none) %args, i64 %begin, i64 %end) #0 {",
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

    def _full_and_rest(self, s: Loop, n: int, outer: list, low: Value, high: Value, extent: int | None,
                       way: str) -> None:
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
            self.full = f"%full.{n}"
            outer.append(f"  {self.full} = icmp uge i64 %ahead.{n}, {lanes}")
            self._set_mask(outer, f"%remaining.{n}")
        self.vector_body(s)
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
        self.vector_body(s)
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

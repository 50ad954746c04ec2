"""Block loops on a processor: squares of two loops at once, for loads that are contiguous along the outer one.

A square of such a load is read as whole vectors along the outer axis, transposed in registers and put on the stack;
then the rows of the square are executed one after the other as vectors along the inner axis. So every line of memory
that is touched is used whole, on the side that is read and on the one that is written.
"""
from __future__ import annotations

from torsh.codegen.kernel_ir import Load, Loop, Slot, Store
from torsh.codegen.llvm_helpers import square_helper
from torsh.codegen.llvm_memory import VectorMemory
from torsh.codegen.llvm_ops import BYTES, MEMORY_TYPE, from_memory, lanes_of
from torsh.codegen.llvm_scopes import HEAD, Value
from torsh.codegen.walk import postorder, roots, statements

#: The largest square.
_MOST_LANES = 16


class Blocks(VectorMemory):
    vector_bytes: int
    widths: dict[int, tuple[int, str]]  # lanes of a vector loop and the way of its rest

    def begin_blocks(self) -> None:
        self.block: tuple[Loop, Loop, list[Load], str, str] | None = None  # loops, loads, first row, number of rows
        self.squares: dict[int, tuple[str, int]] = {}  # load -> memory of its square, depth of the loop over its rows

    def block_loop(self, s: Loop) -> None:
        inner = s.body[0]
        assert isinstance(inner, Loop)
        crossing = _crossing(s, inner)
        size = max([BYTES[self.kernel.buffers[e.buffer][1]] for e in crossing], default=1)
        lanes = min(self.vector_bytes // size, _MOST_LANES)
        if not crossing or lanes < 2:
            self.serial_loop(s)
            return
        self.widths[id(inner)] = lanes, "always"
        low, high = self.bounds(s)
        n = self.label()
        self.emit(f"  %some.{n} = icmp slt i64 {low.text}, {high.text}")
        self.emit(f"  br i1 %some.{n}, label %pre.{n}, label %done.{n}")
        self.emit(f"pre.{n}:")
        outer = self.scopes[-1].run
        scope = self.open_loop(self.effects_of(s), low, high)
        outer += [scope.pre, f"  br label %loop.{n}", f"loop.{n}:",
                  f"  %i.{n} = phi i64 [ {low.text}, %pre.{n} ], [ %next.{n}, %latch.{n} ]",
                  f"  %ahead.{n} = sub i64 {high.text}, %i.{n}",
                  f"  %rows.{n} = call i64 @llvm.umin(i64 %ahead.{n}, i64 {lanes})"]
        self.axes[s.axis] = Value(f"%i.{n}", "int64", False, 3 * (len(self.scopes) - 1) + HEAD)
        self.block = s, inner, crossing, f"%i.{n}", f"%rows.{n}"
        self.vector_loop(inner)
        self.block = None
        outer += [scope.head, scope.run]
        self.close_body()
        self.close_loop()
        outer += [f"  br label %latch.{n}", f"latch.{n}:", f"  %next.{n} = add nsw i64 %i.{n}, {lanes}",
                  f"  %more.{n} = icmp slt i64 %next.{n}, {high.text}",
                  f"  br i1 %more.{n}, label %loop.{n}, label %end.{n}", f"end.{n}:"]
        self.emit(f"  br label %done.{n}")
        self.emit(f"done.{n}:")

    def vector_body(self, s: Loop) -> None:
        """The body of a vector loop, once for its present lanes, or for each row of a square of a block loop."""
        if self.block is None or self.block[1] is not s:
            self.body(s.body)
            return
        outer, _, crossing, first, rows = self.block
        for load in crossing:
            self._fill(load, rows)
        n = self.label()
        run = self.scopes[-1].run
        scope = self.open_loop(self.effects_of(s), Value("0", "int64", False, HEAD), Value(rows, "int64", False, HEAD))
        scope.empty = False
        run += [scope.pre, f"  br label %before.{n}", f"before.{n}:", f"  br label %loop.{n}", f"loop.{n}:",
                f"  %k.{n} = phi i64 [ 0, %before.{n} ], [ %next.{n}, %latch.{n} ]",
                f"  %i.{n} = add nsw i64 {first}, %k.{n}"]
        depth = len(self.scopes) - 1
        kept = self.axes[outer.axis]
        self.axes[outer.axis] = Value(f"%i.{n}", "int64", False, 3 * depth + HEAD)
        self.row = f"%k.{n}"
        self.squares = {key: (memory, depth) for key, (memory, _) in self.squares.items()}
        self.body(s.body)
        self.squares = {}
        self.axes[outer.axis] = kept
        run += [scope.head, scope.run]
        self.close_body()
        self.close_loop()
        run += [f"  br label %latch.{n}", f"latch.{n}:", f"  %next.{n} = add nsw i64 %k.{n}, 1",
                f"  %more.{n} = icmp slt i64 %next.{n}, {rows}",
                f"  br i1 %more.{n}, label %loop.{n}, label %end.{n}", f"end.{n}:"]

    def _fill(self, load: Load, rows: str) -> None:
        """Put the present square of a load on the stack."""
        where = self.locate(load.buffer, load.address)
        stride, _, _ = self._lane_offsets(where)
        m, size, lanes = where.element, BYTES[where.dtype], self.lanes
        name, text = square_helper(m, size, lanes)
        self.code.helpers.update(text)
        memory = self.alloca(f"[{lanes} x {lanes_of(m, lanes)}]")
        self.squares[id(load)] = memory, 0
        self.code.out = self.scopes[-1].run
        start = self.code(f"mul i64 {self.vector_index.text}, {stride}")
        pointer = self.code(f"getelementptr {m}, ptr {self._plus(m, where.pointer.text, where.offset)}, i64 {start}")
        columns = str(lanes) if self.mask is None else self.remaining
        self.code.do(f"call void @{name}(ptr {pointer}, i64 {stride}, ptr {memory}, i64 {rows}, i64 {columns})")

    def compute_load(self, e: Load) -> Value:
        square = self.squares.get(id(e))
        if square is None:
            return super().compute_load(e)
        memory, depth = square
        dtype = self.kernel.buffers[e.buffer][1]
        place = self.at(3 * depth + HEAD)
        v = lanes_of(MEMORY_TYPE[dtype], self.lanes)
        pointer = self.code(f"getelementptr {v}, ptr {memory}, i64 {self.row}")
        return Value(from_memory(self.code, dtype, self.lanes, self.code(f"load {v}, ptr {pointer}")), e.dtype, True, place)


def _crossing(outer: Loop, inner: Loop) -> list[Load]:
    """The loads of a block loop that are contiguous along the outer axis and not along the inner one."""
    used = [e for s in statements(inner.body) for e in roots(s)]
    stored = {s.buffer for s in statements(inner.body) if isinstance(s, Store)}
    found = []
    for e in postorder(used):
        if isinstance(e, Load) and e.mask is None and not e.address.gathers and e.buffer not in stored:
            along = [stride for axis, stride in e.address.terms if axis == outer.axis]
            across = [stride for axis, stride in e.address.terms if axis == inner.axis]
            if along == [1] and len(across) == 1 and (isinstance(across[0], Slot) or across[0] not in (0, 1)):
                found.append(e)
    return found

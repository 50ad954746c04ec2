"""Kernels for NVIDIA graphics processors: LLVM IR in scalar types, turned into PTX by LLVM.

One entry a phase, `{name}_p{i}(args, begin, end)`, for a one-dimensional grid of any size and blocks of a multiple of
32 threads, at most 1024. `args` is the argument table in device memory.

A phase with a vector loop gives each work item to a block: the lanes are the block's threads, uniform code is executed
by all of them with the same result, uniform stores are made by thread 0. Accumulators updated in a vector
loop are reduced over the block when it ends (within warps by shuffles, then over warps by way of shared memory, both in
a fixed butterfly), which leaves the result in every thread. A phase without a vector loop gives each work item to a
thread. Either way the grid strides over the items.

Where a phase writes a buffer that it also accesses elsewhere, barriers keep the order of the program between the
threads of a block.
"""
from __future__ import annotations

from functools import cache
from typing import Any

from torsh.codegen.kernel_ir import Expr, Kernel, Load, Loop, Phase, Stmt, Store
from torsh.codegen.llvm_core import Emitter, flatten
from torsh.codegen.llvm_ops import NO_INDEX, TYPE, combine, combine_indexed, constant, identity
from torsh.codegen.llvm_scopes import HEAD, Value, Variable
from torsh.codegen.walk import postorder, roots, statements

TRIPLE = "nvptx64-nvidia-cuda"
_SHUFFLE = "call i32 @llvm.nvvm.shfl.sync.bfly.i32(i32 -1, i32 {}, i32 {}, i32 31)"


def emit_ptx(kernel: Kernel, name: str, processor: str = "sm_80") -> str:
    """The PTX of a kernel; see the module's docstring for its entries and how to launch them.

    The kernel must satisfy `codegen.check.check`."""
    return assemble(emit_nvptx(kernel, name), processor)


def emit_nvptx(kernel: Kernel, name: str) -> str:
    """The LLVM IR from which `emit_ptx` has the PTX made."""
    emitter = PtxEmitter(kernel, name)
    for number, phase in enumerate(kernel.phases):
        emitter.phase(number, phase)
    return emitter.module()


def assemble(ir: str, processor: str) -> str:
    """Have LLVM translate IR for NVPTX."""
    binding, machine = _machine(processor)
    module = binding.parse_assembly(ir)
    module.verify()
    options = binding.create_pipeline_tuning_options(speed_level=2)
    passes = binding.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_simplify_cfg_pass()
    passes.run(module, binding.create_pass_builder(machine, options))
    return machine.emit_assembly(module)


@cache
def _machine(processor: str) -> tuple[Any, Any]:
    from llvmlite import binding
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    return binding, binding.Target.from_triple(TRIPLE).create_target_machine(cpu=processor, opt=2)


class PtxEmitter(Emitter):
    """One lane a thread."""
    POINTER = "ptr addrspace(1)"

    def __init__(self, kernel: Kernel, name: str) -> None:
        super().__init__(kernel, name, True)
        self.shared = False

    def module(self) -> str:
        globals_ = ["@torsh.dummy = internal addrspace(1) global [8 x i8] zeroinitializer, align 8"]
        if self.shared:
            globals_ += ["@torsh.values = internal addrspace(3) global [32 x i64] undef, align 8",
                         "@torsh.indices = internal addrspace(3) global [32 x i64] undef, align 8"]
        return "\n".join([f'target triple = "{TRIPLE}"', *globals_, *self.functions, *self.code.helpers.values(),
                          "attributes #0 = { nounwind }", "attributes #1 = { nounwind }", "!0 = !{}", ""])

    def dummy_pointer(self) -> str:
        return "@torsh.dummy"

    def phase(self, number: int, phase: Phase) -> None:
        self.begin_function(phase)
        self.blocks = any(isinstance(s, Loop) and s.kind == "vector" for s in statements(phase.body))
        self.ordered = shared_buffers(phase) if self.blocks else frozenset()
        lines = self.items(phase)
        self.functions.append("\n".join(
            [f"define ptx_kernel void @{self.name}_p{number}(ptr addrspace(1) %args, i64 %begin, i64 %end) #0 {{",
             "entry:", *self.stack, *flatten(lines, []), "  ret void", "}", ""]))

    def items(self, phase: Phase) -> list:
        """The grid-stride loop over work items."""
        entry = self.scopes[0]
        extents = [self.integer(n) for _, n in phase.parallel]
        start: list[str] = []
        self.code.out = start
        c = self.code
        self.thread, self.threads, first, stride = [
            c(f"zext i32 {c(f'call i32 @llvm.nvvm.read.ptx.sreg.{name}()')} to i64")
            for name in ("tid.x", "ntid.x", "ctaid.x", "nctaid.x")]
        if not self.blocks:
            first = c(f"add i64 {c(f'mul i64 {first}, {self.threads}')}, {self.thread}")
            stride = c(f"mul i64 {stride}, {self.threads}")
        first = c(f"add i64 %begin, {first}")
        scope = self.open_item(phase)
        decompose: list[str] = []
        self.code.out = decompose
        rest = "%item"
        names: list[str] = []
        for n in reversed(extents[1:]):
            names.insert(0, c(f"urem i64 {rest}, {n}"))
            rest = c(f"udiv i64 {rest}, {n}")
        names.insert(0, rest)
        for (axis, _), text in zip(phase.parallel, names):
            self.axes[axis] = Value(text, "int64", False, 3 + HEAD)
        self.body(phase.body)
        self.close_body()
        self.close_loop()
        tail = self.end_checks()
        return [start, entry.head, f"  %some = icmp slt i64 {first}, %end", "  br i1 %some, label %items, label %exit",
                "items:", scope.pre, "  br label %enter", "enter:", "  br label %work", "work:",
                f"  %item = phi i64 [ {first}, %enter ], [ %item.next, %item.latch ]", decompose, scope.head, scope.run,
                "  br label %item.latch", "item.latch:", f"  %item.next = add nsw i64 %item, {stride}",
                "  %item.more = icmp slt i64 %item.next, %end", "  br i1 %item.more, label %work, label %exit", "exit:",
                tail]

    def barrier(self) -> None:
        self.emit("  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)")

    # Loops

    def lanes_for(self, s: Loop) -> int:
        return 1

    def touches(self, body: tuple[Stmt, ...]) -> bool:
        """Whether statements access a buffer on which the threads must keep an order."""
        return bool(self.ordered and accessed(body) & self.ordered)

    def vector_loop(self, s: Loop) -> None:
        """The threads of the block take the lanes in turn."""
        if self.touches(s.body):
            self.barrier()
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
        self.in_vector = True
        self.vector_place = 3 * (len(self.scopes) - 1) + HEAD
        self.axes[s.axis] = self.vector_index = Value(f"%i.{n}", "int64", True, self.vector_place)
        outer += [f"  %first.{n} = add i64 {low.text}, {self.thread}", f"  br label %enter.{n}", f"enter.{n}:",
                  f"  %any.{n} = icmp slt i64 %first.{n}, {high.text}",
                  f"  br i1 %any.{n}, label %loop.{n}, label %end.{n}", f"loop.{n}:",
                  f"  %i.{n} = phi i64 [ %first.{n}, %enter.{n} ], [ %next.{n}, %latch.{n} ]"]
        self.body(s.body)
        outer += [scope.head, scope.run]
        self.close_body()
        self.close_loop()
        self.in_vector = False
        outer += [f"  br label %latch.{n}", f"latch.{n}:", f"  %next.{n} = add nsw i64 %i.{n}, {self.threads}",
                  f"  %more.{n} = icmp slt i64 %next.{n}, {high.text}",
                  f"  br i1 %more.{n}, label %loop.{n}, label %end.{n}", f"end.{n}:"]
        self.close_lanes(lifted)
        self.emit(f"  br label %done.{n}")
        self.emit(f"done.{n}:")
        if self.touches(s.body):
            self.barrier()

    def store(self, s: Store) -> None:
        """Uniform stores are thread 0's."""
        if self.in_vector or not self.blocks:
            super().store(s)
            return
        value = self.value(s.value)
        mask = None if s.mask is None else self.value(s.mask)
        where = self.locate(s.buffer, s.address)
        ordered = s.buffer in self.ordered
        if ordered:
            self.barrier()
        n = self.label()
        self.emit(f"  %zero.{n} = icmp eq i64 {self.thread}, 0")
        self.emit(f"  br i1 %zero.{n}, label %store.{n}, label %stored.{n}")
        self.emit(f"store.{n}:")
        self.code.out = self.scopes[-1].run
        self.store_scalar(s, where, where.pointer.text, value, mask)
        self.emit(f"  br label %stored.{n}")
        self.emit(f"stored.{n}:")
        if ordered:
            self.barrier()

    # Reductions over the block

    def cross_lanes(self, variable: Variable, values: tuple[str, ...]) -> tuple[str, ...]:
        """Combine the threads' values; every thread gets the result. All threads of the block must come here."""
        c, acc = self.code, variable.acc
        self.shared = True
        values = self._across_warp(variable, values)
        types = [TYPE[acc.dtype], "i64"][:len(values)]
        memory = ["i8" if t == "i1" else t for t in types]
        names = ["@torsh.values", "@torsh.indices"]
        n = self.label()
        warp = c(f"lshr i64 {self.thread}, 5")
        lane = c(f"and i64 {self.thread}, 31")
        self.emit(f"  %lead.{n} = icmp eq i64 {lane}, 0")
        self.emit(f"  br i1 %lead.{n}, label %put.{n}, label %wait.{n}")
        self.emit(f"put.{n}:")
        for value, t, m, name in zip(values, types, memory, names):
            if t == "i1":
                value = c(f"zext i1 {value} to i8")
            at = c(f"getelementptr i64, ptr addrspace(3) {name}, i64 {warp}")
            c.do(f"store {m} {value}, ptr addrspace(3) {at}, align 8")
        self.emit(f"  br label %wait.{n}")
        self.emit(f"wait.{n}:")
        self.barrier()
        warps = c(f"lshr i64 {self.threads}, 5")
        active = c(f"icmp ult i64 {lane}, {warps}")
        starts = [constant(identity(acc.op, acc.dtype), acc.dtype, 1), str(NO_INDEX)]
        mine: list[str] = []
        for t, m, name, start in zip(types, memory, names, starts):
            at = c(f"getelementptr i64, ptr addrspace(3) {name}, i64 {lane}")
            value = c(f"load {m}, ptr addrspace(3) {at}, align 8")
            if t == "i1":
                value = c(f"trunc i8 {value} to i1")
            mine.append(c(f"select i1 {active}, {t} {value}, {t} {start}"))
        self.barrier()
        return self._across_warp(variable, tuple(mine))

    def _across_warp(self, variable: Variable, values: tuple[str, ...]) -> tuple[str, ...]:
        """A butterfly of shuffles: combining is commutative, so all lanes of the warp get the same bits."""
        c, acc = self.code, variable.acc
        for distance in (16, 8, 4, 2, 1):
            other = tuple([self._shuffle(value, t, distance) for value, t in zip(values, (TYPE[acc.dtype], "i64"))])
            if len(values) == 2:
                values = combine_indexed(c, acc.op, acc.dtype, 1, (values[0], values[1]), (other[0], other[1]))
            else:
                values = (combine(c, acc.op, acc.dtype, 1, values[0], other[0]),)
        return values

    def _shuffle(self, value: str, t: str, distance: int) -> str:
        """The value of the thread whose number differs in one bit."""
        c = self.code
        if t in ("i64", "double"):
            bits = value if t == "i64" else c(f"bitcast double {value} to i64")
            low = c(_SHUFFLE.format(c(f"trunc i64 {bits} to i32"), distance))
            high = c(_SHUFFLE.format(c(f"trunc i64 {c(f'lshr i64 {bits}, 32')} to i32"), distance))
            high = c(f"shl i64 {c(f'zext i32 {high} to i64')}, 32")
            whole = c(f"or i64 {high}, {c(f'zext i32 {low} to i64')}")
            return whole if t == "i64" else c(f"bitcast i64 {whole} to double")
        if t == "float":
            moved = c(_SHUFFLE.format(c(f"bitcast float {value} to i32"), distance))
            return c(f"bitcast i32 {moved} to float")
        wide = value if t == "i32" else c(f"zext {t} {value} to i32")
        moved = c(_SHUFFLE.format(wide, distance))
        return moved if t == "i32" else c(f"trunc i32 {moved} to {t}")


def accessed(body: tuple[Stmt, ...]) -> set[int]:
    """The buffers that statements load from or store to."""
    used: list[Expr] = []
    found: set[int] = set()
    for s in statements(body):
        used.extend(roots(s))
        if isinstance(s, Store):
            found.add(s.buffer)
    return found | {e.buffer for e in postorder(used) if isinstance(e, Load)}


def shared_buffers(phase: Phase) -> frozenset[int]:
    """The written buffers that a work item accesses in more than one place, so that its threads may wait for another.

    A buffer accessed by one vector loop only is not among them unless a serial loop repeats it: the lanes of a vector
    loop are independent."""
    stored: set[int] = set()
    places: dict[int, int] = {}

    def visit(body: tuple[Stmt, ...], repeated: bool) -> None:
        for s in body:
            if isinstance(s, Loop) and s.kind != "vector":
                visit(s.body, True)
                continue
            for x in statements((s,)):
                if isinstance(x, Store):
                    stored.add(x.buffer)
            # A uniform statement that loads and stores one buffer is two accesses: all threads load, one stores.
            weight = 2 if repeated or (isinstance(s, Store) and (s.mode != "set" or loads(s, s.buffer))) else 1
            for buffer in accessed((s,)):
                places[buffer] = places.get(buffer, 0) + weight

    visit(phase.body, False)
    return frozenset(b for b in stored if places[b] > 1)


def loads(s: Store, buffer: int) -> bool:
    return any(isinstance(e, Load) and e.buffer == buffer for e in postorder(roots(s)))

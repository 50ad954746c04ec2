"""One group while it is lowered: its axes merged, its reads as loads, its members as expressions, its argument table."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torsh.codegen.kernel_ir import (
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
    Op,
    Phase,
    Read,
    Slot,
    Stmt,
    Store,
    Update,
)
from torsh.compiler.layout import FULL, ROW, Domain, along, broadcast_strides, own_strides
from torsh.compiler.ranges import surely_below
from torsh.compiler.schedule import Group, Schedule
from torsh.core.shapes import Shape, contiguous_strides, numel
from torsh.graph.node import Node
from torsh.graph.primitives import CAST, COMPARISONS, GATHER, IOTA, PADDED

_HALF = ("float16", "bfloat16")
_SQUARE = 8  # extents of both axes from which squares are worth their edges


def compute_type(name: str) -> str:
    return "float32" if name in _HALF else name


class Arguments:
    """The argument table: what each slot holds. ("buffer", node id, byte offset), ("int", value), ("scalar", node), ("status",), ("scratch", k)."""

    def __init__(self) -> None:
        self.slots: list[tuple[Any, ...]] = []
        self.buffers: list[tuple[int, str, bool]] = []
        self._known: dict[Any, int] = {}
        self.nodes: list[Node] = []  # by order of first use, for the plan

    def slot(self, entry: tuple[Any, ...]) -> int:
        found = self._known.get(entry)
        if found is None:
            found = self._known[entry] = len(self.slots)
            self.slots.append(entry)
        return found

    def integer(self, value: int) -> Int:
        """A stride or offset: 0 and 1 are fixed in the code, others given at run time. Each is a slot of its own, so that sizes which
        happen to agree do not make another kernel."""
        return value if value in (0, 1) else self.given(value)

    def given(self, value: int) -> Slot:
        """An integer that is always given at run time."""
        self.slots.append(("int", value))
        return Slot(len(self.slots) - 1)

    def checked(self, index: Expr, size: int, emit: Callable[[Stmt], None]) -> Expr:
        """An index kept inside [0, size); a violation is reported after the run."""
        last = Arg(self.given(size - 1).index, "int64")
        ok = Op("and", (Op("ge", (index, Const(0, "int64")), "bool"), Op("le", (index, last), "bool")), "bool")
        emit(Check(ok, self.slot(("status",)), 1))
        return Op("max", (Const(0, "int64"), Op("min", (index, last), "int64")), "int64")

    def buffer(self, node: Node, offset: int, writable: bool) -> int:
        """A buffer over a node's memory, from an offset in elements on."""
        key = ("view", id(node), offset, writable)
        found = self._known.get(key)
        if found is None:
            slot = len(self.slots)
            self.slots.append(("buffer", id(node), offset * node.dtype.itemsize))
            self.buffers.append((slot, node.dtype.name, writable))
            self.nodes.append(node)
            found = self._known[key] = len(self.buffers) - 1
        return found

    def scratch(self, index: int, dtype: str) -> int:
        self.slots.append(("scratch", index))
        self.buffers.append((len(self.slots) - 1, dtype, True))
        return len(self.buffers) - 1


class Checked(NamedTuple):
    """What a kernel finds out about indices: that all it reads of a node are below `size`. `whole`: it reads all of the node."""
    source: int  # the node's id
    size: int
    whole: bool


def check_of(schedule: Schedule, index: Node, size: int) -> Checked:
    base, (shape, strides, offset) = schedule.source(index)
    walked = [(n, s) for n, s in zip(shape, strides, strict=True) if s]  # less what is repeated
    extent = tuple(n for n, _ in walked)
    return Checked(id(base), size, offset == 0 and tuple(s for _, s in walked) == contiguous_strides(extent) and numel(extent) == base.numel)


class Lowered:
    """A kernel, its arguments, and per phase the number of work items; `serial` where sharing does not pay."""
    __slots__ = ("kernel", "args", "work", "serial", "scratch", "checks")

    def __init__(self, kernel: Kernel, args: Arguments, work: list[int], serial: list[bool], scratch: list[int], checks: list[Checked]) -> None:
        self.kernel, self.args, self.work, self.serial, self.scratch, self.checks = kernel, args, work, serial, scratch, checks


def _one(shape: Shape, axis: int) -> Shape:
    """Strides that give the index along one dimension."""
    return tuple(int(d == axis) for d in range(len(shape)))


class Nest:
    """Lowers one group."""

    def __init__(self, schedule: Schedule, group: Group) -> None:
        self.schedule, self.group = schedule, group
        self.domain: Domain = group.domain
        self.fine: Domain = group.domain  # as scheduled, before axes merge
        self.args = Arguments()
        self.inside = {id(n) for n in group.nodes}
        self.external: list[tuple[Node, Shape]] = []
        self.checks: list[Checked] = []
        self.scratch: list[int] = []
        self.points: dict[int, tuple[int, str]] = {}  # flat nests: the scratch and dtype where a single value waits for later phases
        self.stages = self._stages()
        self.accs: dict[int, Acc] = {}
        self.shared: dict[int, Expr] = {}  # expressions that are the same wherever they stand: arguments
        self.rows: dict[int, Expr] = {}  # row and point values, once they exist
        self._coalesce()
        self.extents = [self.args.integer(n) for n, _ in self.domain]

    # ---- preparation

    def _stages(self) -> dict[int, int]:
        """The pass over the data in which each node can be computed: one more than the reductions it waits for."""
        stages: dict[int, int] = {}
        for node in self.group.nodes:
            stage = 0
            for s in node.srcs:
                base, _ = self.schedule.source(s)
                if id(base) in self.inside:
                    stage = max(stage, stages[id(base)] + (base.op.kind == "reduce"))
            stages[id(node)] = stage
        return stages

    def _reads(self, node: Node) -> list[tuple[Node, Shape, int, int]]:
        """External reads of a node: (memory, strides along the domain, offset, level)."""
        out = []
        level = self.group.levels[id(node)]
        sources = list(node.srcs)
        if node.op.kind == "view":
            base, geometry = self.schedule.copied[id(node)]
            return [(base, along(self.fine, node.shape, geometry[1], FULL), geometry[2], FULL)] if id(base) not in self.inside else []
        for s in sources:
            if node.op.kind == "gather" and s is node.srcs[0]:
                continue
            base, geometry = self.schedule.source(s)
            if id(base) in self.inside or base.op.kind == "const":
                continue
            if node.op.kind == "reduce":
                at, shape, strides = self._folded_level(node), s.shape, geometry[1]
            else:
                at, shape, strides = level, node.shape, broadcast_strides(geometry[0], geometry[1], node.shape)
            out.append((base, along(self.fine, shape, strides, at), geometry[2], at))
        return out

    def _folded_level(self, node: Node) -> int:
        return FULL if self.group.levels[id(node)] == ROW else ROW

    def _coalesce(self) -> None:
        """Merge neighbouring axes that every access walks as one."""
        accesses: list[Shape] = []
        for node in self.group.nodes:
            accesses += [r[1] for r in self._reads(node)]
            if node.op is PADDED:
                accesses.append(along(self.domain, node.shape, node.arg[0], self.group.levels[id(node)]))
                accesses += [along(self.domain, node.shape, _one(node.shape, axis), self.group.levels[id(node)]) for axis, *_ in node.arg[2]]
            if node.op is GATHER:
                accesses.append(along(self.domain, node.arg[0], node.arg[1], self.group.levels[id(node)]))
            if node.op is IOTA or any(self.schedule.source(s)[0].op is IOTA for s in node.srcs):
                accesses += [along(self.domain, node.shape, contiguous_strides(node.shape), self.group.levels[id(node)])]
        for level in set(self.group.levels.values()) | ({ROW} if self.group.folds else set()):
            accesses.append(own_strides(self.domain, level))
        merged: list[list[int]] = []  # indices of merged axes
        for k in range(len(self.domain)):
            if merged:
                last = merged[-1][-1]
                if self.domain[last][1] == self.domain[k][1] and all(a[last] == a[k] * self.domain[k][0] for a in accesses):
                    merged[-1].append(k)
                    continue
            merged.append([k])
        fine = self.fine
        self.merge = merged
        self.domain = tuple((numel(tuple(fine[k][0] for k in run)), fine[run[0]][1]) for run in merged)

    def _coarse(self, strides: Shape) -> Shape:
        """Strides along the merged axes from those along the fine ones."""
        return tuple(strides[run[-1]] for run in self.merge)

    def walk(self, shape: Shape, strides: Shape, level: int) -> Shape:
        return self._coarse(along(self.fine, shape, strides, level))

    # ---- expressions

    def address(self, strides: Shape, gathers: tuple[tuple[Expr, Int], ...] = ()) -> Address:
        return Address(0, tuple((k, self.args.integer(s)) for k, s in enumerate(strides) if s), gathers)

    def scalar(self, node: Node) -> Expr:
        """A number: one of the run's, or of an expansion."""
        if id(node) not in self.shared:
            self.args.slots.append(("scalar", node))
            self.shared[id(node)] = Arg(len(self.args.slots) - 1, compute_type(node.dtype.name))
        return self.shared[id(node)]

    def flat_index(self, strides: Shape, offset: int) -> Expr:
        """offset + sum(axis * stride) as an int64 expression."""
        total: Expr | None = None
        for k, s in enumerate(strides):
            if s:
                term: Expr = Index(k)
                if s != 1:
                    step = self.args.integer(s)
                    assert isinstance(step, Slot)
                    term = Op("mul", (term, Arg(step.index, "int64")), "int64")
                total = term if total is None else Op("add", (total, term), "int64")
        if total is None:
            total = Const(0, "int64")
        if offset:
            total = Op("add", (total, Arg(self.args.given(offset).index, "int64")), "int64")
        return total

    def read(self, s: Node, shape: Shape, level: int, stage: dict[int, Expr], emit: Callable[[Stmt], None]) -> Expr:
        """The value of a source at the present element of a reader of `shape` and `level`."""
        base, geometry = self.schedule.source(s)
        if base.op.kind == "const":
            return self.scalar(base)
        if id(base) in self.inside:
            return self.value(base, stage, emit)
        strides = self.walk(shape, broadcast_strides(geometry[0], geometry[1], shape), level)
        if base.op is IOTA:
            return self.flat_index(strides, geometry[2])
        return Load(self.args.buffer(base, geometry[2], False), self.address(strides), compute_type(base.dtype.name))

    def value(self, node: Node, stage: dict[int, Expr], emit: Callable[[Stmt], None]) -> Expr:
        """The expression of a member. `stage` remembers what was computed in the present scope."""
        found = self.rows.get(id(node)) or stage.get(id(node))
        if found is None:
            found = self._compute(node, stage, emit)
            (self.rows if self.group.levels[id(node)] != FULL else stage)[id(node)] = found
        return found

    def _compute(self, node: Node, stage: dict[int, Expr], emit: Callable[[Stmt], None]) -> Expr:
        level = self.group.levels[id(node)]
        if node.op.kind == "reduce":
            raise AssertionError("a reduction must have run before it is read")
        if node.op.kind == "const":
            return self.scalar(node)
        if node.op is IOTA:
            return self.flat_index(self.walk(node.shape, contiguous_strides(node.shape), level), 0)
        if node.op.kind == "view":
            base, geometry = self.schedule.copied[id(node)]
            if base.op.kind == "const":
                return self.scalar(base)
            strides = self.walk(node.shape, geometry[1], level)
            if base.op is IOTA:
                return self.flat_index(strides, geometry[2])
            return Load(self.args.buffer(base, geometry[2], False), self.address(strides), compute_type(base.dtype.name))
        if node.op is PADDED:
            return self._padded(node, level)
        if node.op is GATHER:
            return self._gather(node, level, stage, emit)
        srcs = tuple(self.read(s, node.shape, level, stage, emit) for s in node.srcs)
        dtype = compute_type(node.dtype.name)
        if node.op is CAST:
            if node.dtype.name in _HALF:
                wide = srcs[0] if srcs[0].dtype == "float32" else Cast(srcs[0], "float32", "float32")
                return Cast(wide, "float32", node.dtype.name)
            return srcs[0] if srcs[0].dtype == dtype else Cast(srcs[0], dtype, dtype)
        result = Op(node.op.name, srcs, "bool" if node.op in COMPARISONS else dtype)
        # Half types round after every operation, as they do when nothing is fused.
        return Cast(result, "float32", node.dtype.name) if node.dtype.name in _HALF else result

    def _gather(self, node: Node, level: int, stage: dict[int, Expr], emit: Callable[[Stmt], None]) -> Expr:
        shape, strides, offset, index_strides, index_sizes = node.arg
        gathers = []
        for s, step, size in zip(node.srcs[1:], index_strides, index_sizes, strict=True):
            index = self.read(s, node.shape, level, stage, emit)
            if not surely_below(s, size):
                self.checks.append(check_of(self.schedule, s, size))
                index = self.args.checked(index, size, emit)
            gathers.append((index, self.args.integer(step)))
        base, _ = self.schedule.memory(node.srcs[0], whole=True)
        return Load(self.args.buffer(base, offset, False), self.address(self.walk(shape, strides, level), tuple(gathers)),
                    compute_type(node.dtype.name))

    def _padded(self, node: Node, level: int) -> Expr:
        strides, offset, bounds, value = node.arg
        inside: Expr | None = None
        for axis, low, high in bounds:
            at = self.flat_index(self.walk(node.shape, _one(node.shape, axis), level), 0)
            for relation, limit, most in (("ge", low, 0), ("lt", high, node.shape[axis])):
                if limit != most:
                    test = Op(relation, (at, Arg(self.args.given(limit).index, "int64")), "bool")
                    inside = test if inside is None else Op("and", (inside, test), "bool")
        base, _ = self.schedule.memory(node.srcs[0], whole=True)
        dtype = compute_type(base.dtype.name)
        return Load(self.args.buffer(base, offset, False), self.address(self.walk(node.shape, strides, level)), dtype, inside,
                    None if inside is None else Const(value, dtype))

    # ---- statements

    def store(self, node: Node, value: Expr, stream: bool = False) -> Stmt:
        level = self.group.levels[id(node)]
        return Store(self.args.buffer(node, 0, True), self.address(own_strides(self.domain, level)), value, stream=stream)

    def crossing_axis(self) -> int | None:
        """The axis along which reads are contiguous that the last axis, along which writes are, walks in strides; the one of most reads."""
        if len(self.domain) < 2 or self.domain[-1][0] < _SQUARE:
            return None
        votes = [0] * len(self.domain)
        for node in self.group.nodes:
            for _, fine, _, _ in self._reads(node):
                strides = self._coarse(fine)
                if strides[-1] not in (0, 1):
                    for k, s in enumerate(strides[:-1]):
                        votes[k] += s == 1 and self.domain[k][0] >= _SQUARE
        best = max(range(len(votes)), key=votes.__getitem__)
        return best if votes[best] else None

    def wants(self, node: Node) -> bool:
        return id(node) in self.schedule.stored

    def fold(self, node: Node, stage: dict[int, Expr], emit: Callable[[Stmt], None], level: int = FULL) -> Stmt:
        """One step of a reduction, at an element."""
        value = self.read(node.srcs[0], node.srcs[0].shape, level, stage, emit)
        acc = self.accs[id(node)]
        if acc.op in ("argmax", "argmin"):
            axes = [k for k, (_, folded) in enumerate(self.domain) if folded]
            inner = contiguous_strides(tuple(self.domain[k][0] for k in axes))
            strides = [0] * len(self.domain)
            for k, s in zip(axes, inner, strict=True):
                strides[k] = s
            return Update(acc, value, self.flat_index(tuple(strides), 0))
        return Update(acc, value)

    def declare(self, node: Node) -> Declare:
        op = node.op.name.removeprefix("reduce_")
        source = compute_type(node.srcs[0].dtype.name)
        if source == "bool" and op in ("max", "min"):
            op = "any" if op == "max" else "all"
        self.accs[id(node)] = Acc(op, source)
        return Declare(self.accs[id(node)])

    def result(self, node: Node) -> Expr:
        acc = self.accs[id(node)]
        indexed = acc.op in ("argmax", "argmin")
        value: Expr = Read(acc, "int64" if indexed else acc.dtype, indexed)
        return Cast(value, "float32", node.dtype.name) if node.dtype.name in _HALF else value

    def finish(self, phases: list[Phase], work: list[int], serial: list[bool]) -> Lowered:
        kernel = Kernel(tuple(self.args.buffers), len(self.args.slots), tuple(phases))
        return Lowered(kernel, self.args, work, serial, self.scratch, self.checks)

"""Plans: a scheduled graph bound to memory, as native programs with host calls between them."""
from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np

from torsh.codegen import compile as codegen
from torsh.codegen.kernel_ir import Kernel
from torsh.codegen.target import amx, host
from torsh.compiler import choice, steps
from torsh.compiler.alike import Alike, code_key
from torsh.compiler.arena import Memory, arrange, overlays, spaces
from torsh.compiler.canonical import INPUT
from torsh.compiler.describe import describe
from torsh.compiler.donate import Donations, past_what_may_fail
from torsh.compiler.epilogue import WITHOUT_OPERAND, Fused, row_stride
from torsh.compiler.execute import Detail, Executable, HostStep, stats
from torsh.compiler.nest import Checked, Lowered
from torsh.compiler.order import order
from torsh.compiler.overlay import Accesses, job_may_overlay
from torsh.compiler.schedule import Schedule
from torsh.core.shapes import contiguous_strides, numel
from torsh.graph.node import Node
from torsh.graph.primitives import CONVOLVE_WEIGHT, EMPTY, INT8_PACK, VIEW, WINOGRAD, WINOGRAD_WEIGHTS, offsets
from torsh.runtime.cpu.executor import Launch, Program, Value, get_num_threads

#: Keys of the code that plans use; and of the products whose other way was compiled along, when a second plan came to use them: sizes that differ a little
#: may choose it, and a third size shall compile nothing.
_used: set[str] = set()
_paired: set[str] = set()


class _Job:
    """One launch before code and addresses are known. `kernel`: what it executes, if that is in the kernel IR; `checks`: which indices it
    looks at; `copies`: the input that it copies whole, to be written into afterwards; `tables`: arrays that it reads;
    `nodes`: what it computes, and `memories` what it reads and writes, for profiles."""
    __slots__ = ("key", "make_text", "symbols", "slots", "work", "serial", "depth", "kernel", "checks", "copies", "tables", "nodes", "memories")

    def __init__(self, key: str, make_text: Any, symbols: list[str], slots: list[Any], work: list[int], serial: list[bool], depth: int) -> None:
        self.key, self.make_text, self.symbols, self.slots = key, make_text, symbols, slots
        self.work, self.serial, self.depth = work, serial, depth
        self.kernel: Kernel | None = None
        self.checks: list[Checked] = []
        self.copies: Node | None = None
        self.tables: list[np.ndarray] = []
        self.nodes: list[Node] = []
        self.memories: list[Node] = []


class Plan:
    """Builds what runs a graph: `program`.

    `dead` says of each input whether its memory may be taken over; `late` are the copies that `compiler.recompute` made.
    """

    def __init__(self, roots: list[Node], inputs: list[Node], numbers: list[Node], dead: list[bool], late: AbstractSet[int] = frozenset()) -> None:
        stats.plans += 1
        roots = [_of_same_memory(r) for r in roots]
        self.schedule = Schedule(roots, late)
        self.roots = roots
        self.numbers = numbers
        self.places: dict[int, Any] = {}  # node id -> Value
        self.input_nodes = inputs
        for i, node in enumerate(inputs):
            self.places[id(node)] = Value(i, 0)
        first = len(inputs)
        for i, r in enumerate(roots):
            if id(r) not in self.places:
                self.places[id(r)] = Value(first + i, 0)
        self.arena_index = first + len(roots)
        self.status_index = self.arena_index + 1
        self.number_index = {id(n): self.status_index + 1 + i for i, n in enumerate(numbers)}
        self.memories: list[Memory] = []
        self.constants: list[float | int] = []
        self.constant_base = self.status_index + 1 + len(numbers)
        self.constant_at: dict[Any, int] = {}
        self.checked: list[int] = []
        self.prepared: list[Any] = []  # what the last inputs are made from (`compiler.prepare`)
        self.program = self._build(dead)

    # ---- building

    def _reserve(self, nbytes: int) -> Memory:
        made = Memory(nbytes)
        self.memories.append(made)
        return made

    def _place(self, node: Node) -> Any:
        """Where a node is: a value (input, root) or memory of the run."""
        found = self.places.get(id(node))
        if found is None:
            found = self.places[id(node)] = self._reserve(node.numel * node.dtype.itemsize)
        return found

    def _at(self, place: Any, offset: int) -> Any:
        return (place, offset) if isinstance(place, Memory) else Value(place.index, place.offset + offset)

    def _build(self, dead: list[bool]) -> Executable:
        self.other_sizes: list[Any] = []  # code to compile along
        self.products: dict[Any, Any] = {}  # plans of products, by what tells them
        pending: list[_Job] = []
        segments: list[Any] = []
        readers = _reader_counts(self.schedule)
        alike = Alike(self.schedule)
        for group in self.schedule.steps:
            node = group.nodes[0]
            depth = group.number
            if group.kind == "loops":
                if numel(tuple(n for n, _ in group.domain)) or group.folds:
                    pending.append(self._job(*alike.lowered(group), depth, group.nodes))
            elif group.kind == "empty":
                self._place(node)
            elif group.kind in ("assign", "scatter"):
                self._overwrite(group.nodes, readers, pending, depth)
            elif group.kind == "scan":
                if node.numel:
                    pending.append(self._step(steps.scan(self.schedule, node), depth, [node]))
            elif group.kind == "order":
                self._place(node)
                if node.numel:
                    pending.append(self._step(order(self.schedule, node), depth, [node]))
            elif group.kind == "coarse":
                pending.append(self._job(*alike.lowered(group), depth, [node]))
            elif group.kind == "contract":
                pending.extend(self._product(node, depth))
            elif group.kind == "windows":
                pending.append(self._windows(node, depth))
            elif group.kind == "winograd":
                pending.append(self._winograd(node, depth))
            elif group.kind == "convolve":
                pending.append(self._convolve(node, depth))
            elif group.kind in ("host", "bitcast"):
                segments.append(pending)
                pending = []
                segments.append(node)
                for out in self.schedule.several.get(id(node), (node,)):
                    self._place(out)
                for source in node.srcs:
                    if source.op.kind != "const":
                        self._place(source)  # one without elements has no step of its own that placed it
            else:
                raise AssertionError(f"no step for {group.kind}")
        segments.append(pending)
        jobs = [j for s in segments if isinstance(s, list) for j in s]
        code = codegen.load([*[(j.key, j.make_text, j.symbols) for j in jobs], *self.other_sizes])
        _used.update([j.key for j in jobs])
        units: list[Any] = []
        for segment in segments:
            units.extend(self._merge(segment) if isinstance(segment, list) else [segment])
        accesses: dict[str, Accesses] = {}
        donated = Donations(self.schedule, self.roots, self.input_nodes, dead, units, self.places, accesses)
        units = [u for u in units if not (isinstance(u, list) and id(u[0]) in donated.fills)]
        for position, unit in enumerate(units):
            for memory in self._used(unit):
                memory.touch(position)
                memory.hosted = memory.hosted or not isinstance(unit, list)
        fresh = [0 if donor >= 0 else r.numel * r.dtype.itemsize for r, donor in zip(self.roots, donated.donor, strict=True)]
        free = spaces(units, fresh, len(self.input_nodes))
        over = overlays(units, self.memories, {s.value for s in free}, lambda job, source, target: job_may_overlay(job, accesses, source, target))
        arena_bytes = arrange(self.memories, self.arena_index, free, over)
        self.places = {key: p.value if isinstance(p, Memory) else p for key, p in self.places.items()}
        early = past_what_may_fail(units, False)
        parts: list[Any] = []
        details: list[list[Detail]] = []
        checks = 0
        launches: list[Launch] = []
        here: list[Detail] = []
        for k, unit in enumerate(units):
            if isinstance(unit, list):
                launches.append(_launch(unit, code))
                here.append(describe(unit, launches[-1]))
            else:
                if launches:
                    parts.append(Program(launches))
                    details.append(here)
                launches, here = [], []
                parts.append(self._host_step(unit))
                details.append([])
            if k + 1 == early:
                if launches and max(donated.donor, default=-1) >= 0:  # what is known to be right then may write to inputs
                    parts.append(Program(launches))
                    details.append(here)
                    launches, here = [], []
                checks = len(parts) + bool(launches)
        if launches:
            parts.append(Program(launches))
            details.append(here)
        same = []
        for i, r in enumerate(self.roots):
            place = self.places[id(r)].index
            same.append(-1 if place == len(self.input_nodes) + i else place)
        return Executable([r.numel * r.dtype.itemsize for r in self.roots], donated.donor, donated.filled, arena_bytes, parts, checks,
                          self.checked, same, self.constants, sum(isinstance(u, list) for u in units),
                          any(n.dtype.on_host for n in self.numbers), details)

    def _host_step(self, node: Node) -> HostStep:
        sources = []
        for s in node.srcs:
            if s.op.kind == "const":
                sources.append((s, self.number_index.get(id(s), -1), 0))
            else:
                sources.append((s, self.places[id(s)].index, self.places[id(s)].offset))
        outputs = [(o, self.places[id(o)].index, self.places[id(o)].offset) for o in self.schedule.several.get(id(node), [node])]
        return HostStep(node, sources, outputs)

    def _used(self, unit: Any) -> list[Memory]:
        """The run's memory that a launch (a list of jobs) or a host step (a node) reads or writes."""
        if isinstance(unit, list):
            return [slot[0] for job in unit for slot in job.slots if isinstance(slot, tuple)]
        nodes = [*unit.srcs, *self.schedule.several.get(id(unit), (unit,))]
        return [p for p in (self.places.get(id(n)) for n in nodes) if isinstance(p, Memory)]

    def _overwrite(self, nodes: list[Node], readers: dict[int, int], pending: list[_Job], depth: int) -> None:
        """A scatter, or region writes one on the other that lie apart: the old value's memory is taken over where nobody else needs it,
        else copied."""
        node = nodes[-1]
        old, geometry = self.schedule.source(nodes[0].srcs[0])
        whole = geometry[2] == 0 and geometry[1] == contiguous_strides(geometry[0]) and numel(geometry[0]) == old.numel
        root = any(r is node for r in self.roots)
        mine = whole and old.op is not INPUT and old.op.kind not in ("const", "iota") and readers.get(id(old), 0) == 1 \
            and not any(r is old for r in self.roots)
        if mine:
            memory = self._place(old)
            if root and isinstance(memory, Memory) and memory.value is None:
                memory.value = self.places[id(node)]
            self.places[id(node)] = memory
        else:
            self._place(node)
            if old.op is not EMPTY and node.numel:
                pending.append(self._step(steps.fill(self.schedule, node, nodes[0].srcs[0]), depth, [node]))
                if whole and old.op is INPUT and node.op.kind == "assign":
                    pending[-1].copies = old
                    pending[-1].depth = -1  # not merged with others, so that it can be left out
        for write in nodes:
            self.places[id(write)] = self.places[id(node)]
            if numel(write.arg[0]):
                job = self._step(steps.assign(self.schedule, write) if node.op.kind == "assign" else steps.scatter(self.schedule, write), depth, [write])
                if len(nodes) == 1:
                    job.depth = -1  # in order, never merged with others
                pending.append(job)

    def _step(self, lowered: Lowered, depth: int, made: list[Node]) -> _Job:
        return self._job(lowered, code_key(lowered), depth, made)

    def _job(self, lowered: Lowered, key: str, depth: int, made: list[Node]) -> _Job:
        kernel = lowered.kernel
        scratch = [self._reserve(n) for n in lowered.scratch]
        nodes = {id(n): n for n in lowered.args.nodes}
        slots: list[Any] = []
        for entry in lowered.args.slots:
            kind = entry[0]
            if kind == "int":
                slots.append(entry[1])
            elif kind == "buffer":
                base = self._place(nodes[entry[1]])
                slots.append(self._at(base, entry[2]))
            elif kind == "scalar":
                slots.append(self._number(entry[1]))
            elif kind == "scratch":
                slots.append(self._at(scratch[entry[1]], 0))
            else:
                slots.append(Value(self.status_index, 0))
        self.checked += [c.size for c in lowered.checks]
        job = _Job(key, lambda: _emit(kernel), [f"k_p{i}" for i in range(len(kernel.phases))], slots, lowered.work,
                   lowered.serial, depth)
        job.kernel, job.checks = kernel, lowered.checks
        job.nodes, job.memories = made, list(lowered.args.nodes)
        return job

    def _number(self, node: Node) -> Value:
        if id(node) in self.number_index:
            return Value(self.number_index[id(node)], 0)
        value = float(node.arg) if node.dtype.category == 2 else int(node.arg)
        key = (type(value), value if value == value else "nan", str(value))
        if key not in self.constant_at:
            self.constant_at[key] = self.constant_base + len(self.constants)
            self.constants.append(value)
        return Value(self.constant_at[key], 0)

    def _int8_product(self, node: Node, depth: int) -> list[_Job]:
        """A product of 8-bit integers, or the packing of its second operand."""
        from torsh.codegen import gemm_int8
        if node.op is INT8_PACK:
            (b, (shape, strides, at)), signed = self.schedule.memory(node.srcs[0]), node.arg
            found = gemm_int8.pack_plan(host(), signed, shape[0], shape[2], shape[1], strides)
            return [self._gemm_job(found, node, (b, at), (b, at), {}, depth)]
        (a, ga), (b, gb) = self.schedule.memory(node.srcs[0]), self.schedule.memory(node.srcs[1])
        batch, m, n = node.shape
        packed, signed = node.arg == "packed", node.srcs[0].dtype.name == "int8"
        sa = (0 if node.srcs[0].shape[0] == 1 else ga[1][0], *ga[1][1:])
        several = packed and node.srcs[1].numel > gemm_int8.bytes_packed(host(), 1, n, node.srcs[0].shape[2], signed)
        sb = (int(several), 0, 0) if packed else (0 if node.srcs[1].shape[0] == 1 else gb[1][0], *gb[1][1:])
        given = (signed, batch, m, n, node.srcs[0].shape[2], sa, sb, (m * n, n, 1))
        found = gemm_int8.plan(host(), *given, threads=get_num_threads(), packed=packed, way="" if packed else choice.int8_product(*given))
        return [self._gemm_job(found, node, (a, ga[2]), (b, gb[2]), {}, depth)]

    def _product(self, node: Node, depth: int) -> list[_Job]:
        if node.numel == 0:
            self._place(node)
            return []
        if node.op is INT8_PACK or node.srcs[0].dtype.category == 1:
            return self._int8_product(node, depth)
        (a, ga), (b, gb) = self.schedule.memory(node.srcs[0]), self.schedule.memory(node.srcs[1])
        batch, m, n = node.shape
        k = node.srcs[0].shape[2]
        sa = (0 if node.srcs[0].shape[0] == 1 else ga[1][0], *ga[1][1:])
        sb = (0 if node.srcs[1].shape[0] == 1 else gb[1][0], *gb[1][1:])
        name = node.srcs[0].dtype.name
        _, chain, operands, more = self._steps(node, 2)
        given = (name, node.dtype.name, batch, m, n, k, sa, sb, (m * n, n, 1))
        found = self.products.get((given, chain and chain.steps))
        if found is None:
            found = self.products[given, chain and chain.steps] = self._planned(given, (node.srcs[0].dtype.itemsize, node.dtype.itemsize), chain)
        return [self._gemm_job(found, node, (a, ga[2]), (b, gb[2]), operands, depth, more)]

    def _planned(self, given: Any, itemsizes: tuple[int, int], chain: Any) -> Any:
        """How a product is computed; code that sizes a little different would take comes along."""
        from torsh.codegen import gemm
        options: dict[str, Any] = {"vector_bytes": host().vector_bytes, "threads": get_num_threads(), "amx": given[0] == "bfloat16" and amx()}
        way = choice.product(given, options, itemsizes)
        found = gemm.plan(*given, **options, epilogue=chain, way=way)
        if found.key in _used and found.key not in _paired:
            _paired.add(found.key)
            other = gemm.other_code(found.key, *given, **options, epilogue=chain)
            if other is not None:
                self.other_sizes.append((other.key, other.text, list(other.symbols)))
        return found

    def _windows(self, node: Node, depth: int) -> _Job:
        """A product with windows: where they are is in two tables."""
        from torsh.codegen import gemm
        a, (_, steps, at) = self.schedule.memory(node.srcs[0])
        arg, chain, operands, more = self._steps(node, 2)
        images, groups, (image, group), *axes, offset = arg
        tables = [offsets(*axis) * node.dtype.itemsize for axis in axes]
        m, n, k = node.shape[1], node.shape[2], node.srcs[0].shape[2]
        name = node.dtype.name
        batch, b_batch, c_batch, wide = (images, groups), (image, group), (groups * m * n, m * n), n
        adjacent = groups == 1 and gemm.windows_in_place(name, *axes[1])
        if adjacent:  # the rows of an image are a batch each
            wide, row = axes[1][0][-1], numel(axes[1][0][:-1]) > 1
            batch, b_batch, c_batch = (images, n // wide), (image, int(tables[1][wide]) // node.dtype.itemsize if row else 0), (m * n, wide)
        given = (name, name, batch, m, wide, k, (0, steps[0] if groups > 1 else 0, *steps[1:]), (*b_batch, 0, int(adjacent)), (*c_batch, n, 1))
        options = {"vector_bytes": host().vector_bytes, "tables": True, "threads": get_num_threads()}
        known = dict(zip(("k_offsets", "n_offsets"), [t.ctypes.data for t in tables], strict=True))
        size = node.dtype.itemsize
        way = choice.product(given, options, (size, size), (node.srcs[1].numel - offset) * size, known)
        found = gemm.plan(*given, **options, epilogue=chain, way=way)  # type: ignore[arg-type]
        job = self._gemm_job(found, node, (a, at), (node.srcs[1], offset), {**known, **operands}, depth, more)
        job.tables = tables
        return job

    def _winograd(self, node: Node, depth: int) -> _Job:
        """The weights' transform, or a convolution with transformed weights."""
        from torsh.codegen import winograd
        width = host().vector_bytes
        x, (shape, strides, offset) = self.schedule.memory(node.srcs[node.op is WINOGRAD])
        if node.op is WINOGRAD_WEIGHTS:
            return self._gemm_job(winograd.weights_plan(node.arg[0], shape[0], shape[1], strides, width), node, (x, offset), (x, offset), {}, depth)
        u, (_, u_strides, at) = self.schedule.memory(node.srcs[0])
        o = node.shape[1]
        (tile, before), chain, operands, more = self._steps(node, 2)
        found = winograd.images_plan(tile, shape[0], shape[1], o, node.shape[2:], u_strides, strides, width, steps=chain.steps if chain else ())  # type: ignore[arg-type]
        tables = winograd.tables(tile, shape[0], shape[2:], before, node.shape[2:], strides, o, width // 4)  # type: ignore[arg-type]
        job = self._gemm_job(found, node, (u, at), (x, offset), {**{name: t.ctypes.data for name, t in tables.items()}, **operands}, depth, more)
        job.tables = list(tables.values())
        return job

    def _convolve(self, node: Node, depth: int) -> _Job:
        """A convolution by bands of rows, or the gradient of its weights."""
        from torsh.codegen import bands, thin
        (a, (outer, steps, at)), (x, (shape, strides, offset)) = self.schedule.memory(node.srcs[0]), self.schedule.memory(node.srcs[1])
        if node.op is CONVOLVE_WEIGHT:
            groups, kernel, stride, before, dilation = node.arg
            found, tables = thin.weight_plan(node.dtype.name, shape[0], groups, shape[1] // groups, node.shape[1], shape[2:],  # type: ignore[arg-type]
                                             bands.Geometry(kernel, stride, dilation), before, outer[2:], strides, steps,  # type: ignore[arg-type]
                                             vector_bytes=host().vector_bytes, threads=get_num_threads())
            job = self._gemm_job(found, node, (a, at), (x, offset), {name: t.ctypes.data for name, t in tables.items()}, depth)
            job.tables = list(tables.values())
            return job
        (groups, kernel, stride, before, dilation, turned, spread), chain, operands, more = self._steps(node, 2)
        geometry, width, c, o = bands.Geometry(kernel, stride, dilation), host().vector_bytes, shape[1] // groups, node.shape[1]
        fits = thin.cut(geometry, shape[0] * groups, c, o, node.shape[2:], width, node.dtype.itemsize)  # type: ignore[arg-type]
        given: Any = (node.dtype.name, shape[0], groups, c, o, shape[2:], geometry, before, node.shape[2:], steps, strides, turned)
        options: dict[str, Any] = {"vector_bytes": width, "threads": get_num_threads(), "epilogue": chain}
        found, tables = thin.plan(*given, **options, spread=spread) if fits else bands.plan(*given, **options)
        job = self._gemm_job(found, node, (a, at), (x, offset), {**{name: t.ctypes.data for name, t in tables.items()}, **operands}, depth, more)
        job.tables = list(tables.values())
        return job

    def _steps(self, node: Node, sources: int) -> tuple[Any, Any, dict[str, Any], list[Node]]:
        """Of a product its argument, the chain of steps that follows it (or None), what is in their slots, and the memories that they read."""
        if type(node.arg) is not Fused:
            return node.arg, None, {}, []
        from torsh.codegen.chain import Chain
        values: list[Any] = [node.arg.groups]
        more: list[Node] = []
        operands = iter(node.srcs[sources:])
        for _, kind in node.arg.steps:
            if kind in WITHOUT_OPERAND:
                continue
            source = next(operands)
            if kind == "number":
                values.append(self._number(source))
                continue
            memory, geometry = self.schedule.memory(source)
            more.append(memory)
            values.append(self._at(self._place(memory), geometry[2] * memory.dtype.itemsize))
            if kind == "row":
                values.append(row_stride(geometry) * memory.dtype.itemsize)
        return node.arg.arg, Chain(node.arg.steps), {f"epilogue{i}": v for i, v in enumerate(values)}, more

    def _gemm_job(self, found: Any, node: Node, a: tuple[Node, int], b: tuple[Node, int], known: dict[str, Any], depth: int,
                  more: list[Node] | None = None) -> _Job:
        """The launch of a planned product of memories a and b, from an element on."""
        scratch = {label: self._reserve(size) for label, size in found.scratch.items()}
        slots: list[Any] = []
        for entry in found.slots:
            if entry in ("A", "B"):
                memory, offset = a if entry == "A" else b
                slots.append(self._at(self._place(memory), offset * memory.dtype.itemsize))
            elif entry == "C":
                slots.append(self._at(self._place(node), 0))
            elif entry in known:
                slots.append(known[entry])
            else:
                slots.append(self._at(scratch[entry], 0) if isinstance(entry, str) else entry)
        job = _Job(found.key, found.text, list(found.symbols), slots, list(found.items), [not s for s in found.share], depth)
        job.nodes, job.memories = [node], [a[0], b[0], *(more or []), node]
        return job

    def _merge(self, jobs: list[_Job]) -> list[list[_Job]]:
        """Jobs in order, as launches; independent neighbours (of one depth) that run the same code are one launch."""
        out: list[list[_Job]] = []
        alike: dict[Any, list[_Job]] = {}
        depth = None
        for job in jobs:
            if job.depth != depth or job.depth < 0:
                alike, depth = {}, job.depth
            key = (job.key, tuple(job.serial))
            if key in alike and job.depth >= 0:
                alike[key].append(job)
            else:
                alike[key] = [job]
                out.append(alike[key])
        return out


def _of_same_memory(root: Node) -> Node:
    """What a root shows in another shape, so that it needs no copy of its own."""
    while root.op is VIEW and root.srcs[0].op.kind not in ("leaf", "const", "iota") and root.arg[2] == 0 \
            and root.arg[1] == contiguous_strides(root.arg[0]) and root.numel == root.srcs[0].numel:
        root = root.srcs[0]
    return root


def _launch(jobs: list[_Job], code: dict[str, dict[str, int]]) -> Launch:
    first = jobs[0]
    addresses = code[first.key]
    tables = [[Value(s[0].value.index, s[0].value.offset + s[1]) if isinstance(s, tuple) else s for s in job.slots] for job in jobs]
    return Launch([addresses[s] for s in first.symbols], tables, [[job.work[p] for job in jobs] for p in range(len(first.work))], first.serial,
                  [table for job in jobs for table in job.tables])


def _emit(kernel: Kernel) -> str:
    from torsh.codegen.llvm_emit import emit_cpu  # not needed while all code is in the cache
    return emit_cpu(kernel, "k", host())


def _reader_counts(schedule: Schedule) -> dict[int, int]:
    """How many nodes of the schedule read each node's memory (through views or not)."""
    counts: dict[int, int] = {}
    for group in schedule.steps:
        for node in group.nodes:
            for s in node.srcs:
                base, _ = schedule.source(s)
                counts[id(base)] = counts.get(id(base), 0) + 1
    return counts

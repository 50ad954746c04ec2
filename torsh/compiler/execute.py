"""Running a plan: memory for its outputs, one native call for a run of kernels, host libraries' turns between them."""
from __future__ import annotations

import ctypes
import sys
import time
from typing import Any, Final, final

import numpy as np

from torsh.graph.node import Node
from torsh.runtime.buffer import Buffer
from torsh.runtime.cpu.memory import Block, allocate
from torsh.runtime.recorder import recording

#: The arena begins with the status cell.
HEADER: Final = 64
#: Plans keep arenas of up to this many bytes for their next run.
_SMALL: Final = 4096
_references: Final = sys.getrefcount
_events: Final = recording
_MOST: Final = 2 ** 63 - 1  # a native argument


class Stats:
    """Counts since the process began, or since `reset`."""
    __slots__ = ("plans", "runs", "launches", "host_calls", "donations")

    plans: int
    runs: int
    launches: int
    host_calls: int
    donations: int

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.plans = 0  # plans built
        self.runs = 0  # plans run
        self.launches = 0  # kernels launched
        self.host_calls = 0  # host library calls made
        self.donations = 0  # outputs that took over an input's memory

    def __repr__(self) -> str:
        return (f"Stats(plans={self.plans}, runs={self.runs}, launches={self.launches}, host_calls={self.host_calls}, "
                f"donations={self.donations})")  # (a compiled class keeps no __slots__ to list)


stats: Final = Stats()


def _counts(memories: list[Buffer], i: int) -> tuple[int, int]:
    """References to a buffer (counting the list's) and to the block it owns."""
    return _references(memories[i]), _references(memories[i].owner)


def _alone() -> tuple[int, int]:
    block = allocate(1)
    memories = [Buffer(block.address, 1, block)]
    del block
    return _counts(memories, 0)


#: Stands where a run has no memory of its own.
_NO_ARENA: Final = Buffer(0, 0, None)
#: What `_counts` gives for a buffer that only the list holds.
_ALONE: Final = _alone()


def _takeable(memories: list[Buffer], i: int) -> bool:
    """Whether the memory of input `i` belongs to its leaf alone: no array outside, no other node knows of it."""
    if type(memories[i].owner) is not Block:
        return False
    buffers, owners = _counts(memories, i)
    return buffers == _ALONE[0] + 1 and owners == _ALONE[1]  # the leaf's is the one reference more


@final
class HostStep:
    """A host library's turn. Its arrays are views of the run's memory: `sources` and `outputs` are (node, value index, offset); a
    constant among the sources has index -1."""
    __slots__ = ("node", "sources", "outputs")

    node: Node
    sources: list[tuple[Node, int, int]]
    outputs: list[tuple[Node, int, int]]

    def __init__(self, node: Node, sources: list[tuple[Node, int, int]], outputs: list[tuple[Node, int, int]]) -> None:
        self.node = node
        self.sources = sources
        self.outputs = outputs

    def run(self, values: list[Any], memories: list[Buffer]) -> None:
        stats.host_calls += 1
        arrays = [_array(node, index, offset, values, memories) for node, index, offset in self.sources]
        found = self.node.op.reference(self.node, *arrays)  # type: ignore[misc]
        several = self.node.outputs is not None
        for out, index, offset in self.outputs:
            array = found[out.arg] if several else found
            _array(out, index, offset, values, memories)[...] = np.asarray(array).reshape(out.shape)


def _array(node: Node, index: int, offset: int, values: list[Any], memories: list[Buffer]) -> Any:
    """The array of a value of the run; the last memory is the arena."""
    arena = len(memories) - 1
    if 0 <= index < arena:
        return memories[index].array(node.dtype.np, node.shape)
    if index == arena:
        return memories[arena].owner.array(node.dtype.np, node.numel, offset).reshape(node.shape)
    return np.asarray(node.arg if index < 0 else values[index]).astype(node.dtype.np)


class Detail:
    """What one launch of a native program is, for profiles: the operations it computes, the bytes of the memories it names, and its
    floating-point operations. `alone` runs it by itself."""
    __slots__ = ("name", "ops", "nbytes", "flops", "launch", "_program")

    def __init__(self, name: str, ops: tuple[str, ...], nbytes: int, flops: int, launch: Any) -> None:
        self.name, self.ops, self.nbytes, self.flops, self.launch = name, ops, nbytes, flops, launch
        self._program: Any = None

    def alone(self) -> Any:
        if self._program is None:
            from torsh.runtime.cpu.executor import Program
            self._program = Program([self.launch])
        return self._program


@final
class Executable:
    """Runs a graph: `run(leaves, numbers)` gives a buffer per root.

    Values of a run, in order: addresses of inputs, of root memories, of the arena and the status cell; numbers; constants.

    root_bytes: sizes of the root memories. donors: for each, the input whose memory it takes over where nobody else needs that, or -1.
    filled: whether it must begin with that input's contents. arena_bytes: memory of the run alone. parts: native programs and host steps.
    host_numbers: whether numbers may be complex or above 2**63, which host steps read and native programs do not.
    checks: after how many parts the status cell is read, before which no input's memory is written. sizes: what indices are checked
    against, for the message. same: for each root that is an input or another root, the value it is copied from, or -1. details: what the
    launches of each native program are. spare: small arenas that no run has now.
    """
    __slots__ = ("details", "spare", "single", "count", "root_bytes", "donors", "filled", "arena_bytes", "parts", "checks", "sizes", "same", "constants",
                 "launches", "host_numbers")

    single: Any  # the native program of a plan that is nothing else, which runs from a list of values; or None
    count: int  # how many values it takes
    root_bytes: list[int]
    donors: list[int]
    filled: list[bool]
    arena_bytes: int
    parts: list[Any]
    checks: int
    sizes: list[int]
    same: list[int]
    constants: list[Any]
    launches: int
    host_numbers: bool
    details: list[list[Detail]]
    spare: list[Buffer]

    def __init__(self, root_bytes: list[int], donors: list[int], filled: list[bool], arena_bytes: int, parts: list[Any], checks: int,
                 sizes: list[int], same: list[int], constants: list[Any], launches: int, host_numbers: bool, details: list[list[Detail]]) -> None:
        self.details = details
        self.spare = []
        alone = len(parts) == 1 and not isinstance(parts[0], HostStep) and not host_numbers
        self.single = parts[0].run_list if alone else None
        self.count = parts[0].value_count if alone else 0
        self.root_bytes = root_bytes
        self.donors = donors
        self.filled = filled
        self.arena_bytes = arena_bytes
        self.parts = parts
        self.checks = checks
        self.sizes = sizes
        self.same = same
        self.constants = constants
        self.launches = launches
        self.host_numbers = host_numbers

    def run(self, leaves: list[Node], numbers: list[Any]) -> list[Buffer]:
        """Compute the roots. Raises IndexError when a data-dependent index was out of range, and then no leaf has changed."""
        memories: list[Buffer] = []
        values: list[Any] = []
        for leaf in leaves:
            buffer: Buffer = leaf.buffer
            memories.append(buffer)
            values.append(buffer.address)
        buffer = _NO_ARENA  # who refers to a memory is counted below
        inputs = len(leaves)
        self._allocate(memories, values)
        arena = self._arena() if self.arena_bytes or self.checks else _NO_ARENA
        address = arena.address
        status: Any = None
        if self.checks:
            status = ctypes.c_int64.from_address(address)
            status.value = 0
        memories.append(arena)
        values.append(address)
        values.append(address)
        if numbers:
            values.extend(numbers)
        if self.constants:
            values.extend(self.constants)
        stats.runs += 1
        stats.launches += self.launches
        if self.single is not None and _events.events is None:
            self.single(values[:self.count] if len(values) > self.count else values)
            if self.checks:
                self._check(status)
        else:
            self._run_parts(values, memories, status)
        for i, source in enumerate(self.same):
            if source >= 0:
                ctypes.memmove(memories[inputs + i].address, memories[source].address, self.root_bytes[i])
        if self.arena_bytes <= _SMALL and address:
            self.spare.append(arena)
        return memories[inputs:inputs + len(self.root_bytes)]

    def _arena(self) -> Buffer:
        """Memory of a run: a small one is what an earlier run had, and two threads' runs never have the same."""
        if self.spare:
            try:
                return self.spare.pop()
            except IndexError:
                pass  # another thread took it
        nbytes = HEADER + self.arena_bytes
        block = allocate(nbytes)
        return Buffer(block.address, nbytes, block)

    def _run_parts(self, values: list[Any], memories: list[Buffer], status: Any) -> None:
        native = [0 if type(v) is complex or (type(v) is int and v > _MOST) else v for v in values] if self.host_numbers else values
        for i, part in enumerate(self.parts):
            if _events.events is not None:
                self._record(i, part, values, native, memories)
            elif isinstance(part, HostStep):
                part.run(values, memories)
            else:
                part.run_list(native[:part.value_count])
            if i + 1 == self.checks:
                self._check(status)

    def _check(self, status: Any) -> None:
        if status.value:
            raise IndexError("index out of range: an index is negative or not below its dimension's size (sizes indexed here: "
                             f"{', '.join([str(n) for n in dict.fromkeys(self.sizes)])})")

    def _record(self, i: int, part: Any, values: list[Any], native: list[Any], memories: list[Buffer]) -> None:
        """Run a part one launch at a time, each an event."""
        if isinstance(part, HostStep):
            start = time.perf_counter_ns()
            part.run(values, memories)
            name = part.node.op.name if part.node.op.name != "host" else str(part.node.arg[2])
            _events.add(name, "host", start, (name,))
            return
        for detail in self.details[i]:
            program = detail.alone()
            start = time.perf_counter_ns()
            program.run_list(native[:program.value_count])
            _events.add(detail.name, "kernel", start, detail.ops, detail.nbytes, detail.flops)

    def _allocate(self, memories: list[Buffer], values: list[Any]) -> None:
        """Append the memory of each root."""
        for i, nbytes in enumerate(self.root_bytes):
            donor = self.donors[i]
            if donor >= 0 and _takeable(memories, donor):
                block = memories[donor].owner
                stats.donations += 1
            else:
                block = allocate(nbytes)
                if donor >= 0 and self.filled[i]:
                    ctypes.memmove(block.address, memories[donor].address, nbytes)
            memories.append(Buffer(block.address, nbytes, block))
            values.append(block.address)

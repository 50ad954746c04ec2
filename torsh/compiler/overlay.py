"""Which outputs of a kernel may lie in the memory of something that it reads: a proof from the kernel IR.

What a kernel writes may overlay what it reads where every element is read for the last time before it is written. That holds if all stores and all loads
of the same phase go to one address, the same function of the same axes, if no two iterations share an element, and if in the text of the kernel each
load is evaluated before the first store: then an element is touched by one iteration of one work item alone, whatever the threads. Phases are separated
by barriers, so what an earlier phase reads may lie anywhere. The code generator moves loads to earlier places only, and buffers are never said to
be apart (`noalias`), so what the text says is what is executed.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torsh.codegen.kernel_ir import Address, Expr, Int, Kernel, Load, Loop, Phase, Slot, Stmt, Store
from torsh.codegen.walk import operands, roots
from torsh.core.dtypes import by_name


class _Access(NamedTuple):
    """A load or store: when it is evaluated in the order of the text, where, and the loops around it."""
    time: int
    phase: int
    address: Address
    loops: tuple[Loop, ...]
    plain: bool  # a store that sets all of its elements


class Accesses:
    """What a kernel reads and writes, by buffer."""
    __slots__ = ("kernel", "loads", "stores", "_time")

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.loads: list[list[_Access]] = [[] for _ in kernel.buffers]
        self.stores: list[list[_Access]] = [[] for _ in kernel.buffers]
        self._time = 0
        for number, phase in enumerate(kernel.phases):
            self._statements(phase.body, number, (), set())

    def _statements(self, body: tuple[Stmt, ...], phase: int, loops: tuple[Loop, ...], known: set[int]) -> None:
        """`known`: ids of the expressions that were evaluated in this scope or one around it, and are not again."""
        for s in body:
            self._time += 1
            if isinstance(s, Loop):
                self._statements(s.body, phase, (*loops, s), set(known))
                continue
            for e in _evaluated(roots(s), known):
                if isinstance(e, Load):
                    self.loads[e.buffer].append(_Access(self._time, phase, e.address, loops, True))
            if isinstance(s, Store):
                self._time += 1
                self.stores[s.buffer].append(_Access(self._time, phase, s.address, loops, s.mode == "set" and s.mask is None))


def _evaluated(start: tuple[Expr, ...], known: set[int]) -> list[Expr]:
    """The expressions that are evaluated for these, less those known; known from here on."""
    found: list[Expr] = []
    waiting = list(start)
    while waiting:
        e = waiting.pop()
        if id(e) not in known:
            known.add(id(e))
            found.append(e)
            waiting.extend(operands(e))
    return found


def may_overlay(accesses: Accesses, slots: Sequence[Any], read: Sequence[int], written: int) -> bool:
    """Whether the buffer `written` may lie in the memory that the buffers `read` share and begin with it. `slots` is the kernel's argument table, with integers
    where the code reads them."""
    buffers = accesses.kernel.buffers
    stores = accesses.stores[written]
    if not stores or any(accesses.stores[b] for b in read):
        return False
    size = by_name(buffers[written][1]).itemsize
    first = stores[0]
    phase = accesses.kernel.phases[first.phase]
    walk = _walk(first.address, slots)
    if walk is None or not all(s.plain and s.phase == first.phase and _walk(s.address, slots) == walk and _apart(walk, s.loops, phase, slots) for s in stores):
        return False
    extents = _extents(walk, first.loops, slots)
    for buffer in read:
        for load in accesses.loads[buffer]:
            if load.phase < first.phase:
                continue
            if load.phase > first.phase or load.time > first.time or by_name(buffers[buffer][1]).itemsize != size \
                    or _walk(load.address, slots) != walk or _extents(walk, load.loops, slots) != extents:
                return False
    return True


def job_may_overlay(job: Any, known: dict[str, Accesses], source: Any, target: Any) -> bool:
    """Whether a launch may write `target` (the run's memory, or the index of a value) into the memory of `source`, which it reads. `known` are accesses by
    the kernel's key."""
    if job.kernel is None:
        return False
    read: list[int] = []
    written: list[int] = []
    for number, (slot, _, writable) in enumerate(job.kernel.buffers):
        entry = job.slots[slot]
        place, offset = entry if isinstance(entry, tuple) else (entry.index, entry.offset)
        if place == source or place == target:
            if offset:
                return False
            (written if place == target else read).append(number)
            if (place == target) is not writable:
                return False
    if len(written) != 1:
        return False
    found = known.get(job.key)
    if found is None:
        found = known[job.key] = Accesses(job.kernel)
    return may_overlay(found, job.slots, read, written[0])


def _integer(n: Int, slots: Sequence[Any]) -> int | None:
    value = slots[n.index] if isinstance(n, Slot) else n
    return value if type(value) is int else None


def _walk(address: Address, slots: Sequence[Any]) -> dict[int, int] | None:
    """The strides of an address by axis; None if it is not known to be so plain."""
    out: dict[int, int] = {}
    for axis, stride in address.terms:
        step = _integer(stride, slots)
        if step is None or step <= 0 or axis in out:
            return None
        out[axis] = step
    return out if not address.gathers and _integer(address.offset, slots) == 0 else None


def _extents(walk: dict[int, int], loops: tuple[Loop, ...], slots: Sequence[Any]) -> list[tuple[Any, ...]]:
    """The ranges of the loops that an address depends on; the other axes are the phase's, or do not matter."""
    return sorted((s.axis, _integer(s.extent, slots), None if s.tile is None else (s.tile[0], _integer(s.tile[1], slots)), s.upto)
                  for s in loops if s.axis in walk)


def _apart(walk: dict[int, int], loops: tuple[Loop, ...], phase: Phase, slots: Sequence[Any]) -> bool:
    """Whether no two iterations of a phase go to the same element: strides reach past all that smaller ones do, and an axis that is not walked along has one
    iteration or numbers the tiles of one that is."""
    ranges: dict[int, int | None] = {axis: _integer(extent, slots) for axis, extent in phase.parallel}
    ranges.update({s.axis: _integer(s.extent, slots) for s in loops})
    tiles = {s.tile[0] for s in loops if s.tile is not None and not s.upto and s.axis in walk}
    for axis, extent in ranges.items():
        if extent is None or (axis not in walk and axis not in tiles and extent != 1):
            return False
    reach = 0
    for axis, step in sorted(walk.items(), key=lambda item: item[1]):
        extent = ranges.get(axis)
        if extent is None or (extent > 1 and step <= reach):
            return False
        reach += step * (max(extent, 1) - 1)
    return True

"""Donation: outputs that take over the memory of inputs which nothing outside the graph refers to any more.

An optimizer's new parameters land in the memory of the old ones this way: a third less memory traffic, and no second copy.
"""
from __future__ import annotations

from typing import Any

from torsh.compiler.overlay import Accesses, job_may_overlay
from torsh.compiler.schedule import Schedule
from torsh.graph.node import Node
from torsh.runtime.cpu.executor import Value


class Donations:
    """Which root takes over which input: `donor[root number]` is an input's number or -1.

    `units` are the plan's launches and host steps in order. Memory changes only after the last unit that may fail (`after`), so that a failed
    run has lost nothing.
    """

    def __init__(self, schedule: Schedule, roots: list[Node], inputs: list[Node], dead: list[bool], units: list[Any], places: dict[int, Any],
                 accesses: dict[str, Accesses]) -> None:
        self.schedule, self.roots, self.inputs, self.units, self.accesses = schedule, roots, inputs, units, accesses
        self.donor = [-1] * len(roots)
        self.filled = [False] * len(roots)
        self.fills: set[int] = set()  # ids of jobs that only copy an input into the root which takes it over: not needed
        self.indices = [_index(places[id(r)]) for r in roots]
        self.free = [i for i, d in enumerate(dead) if d and i not in self.indices]
        self.after = past_what_may_fail(units, True)
        if self.free:
            self._find_readers()
            self._assign()

    def _find_readers(self) -> None:
        self.last_reader: dict[int, int] = {}  # input -> the last unit that reads it
        self.hosted: set[int] = set()  # ids of nodes that host steps write: jobs only read them
        self.writer: dict[int, tuple[int, Any]] = {}  # value index of a root -> the unit and job that write it
        first = len(self.inputs)
        number = {id(n): i for i, n in enumerate(self.inputs)}
        for k, unit in enumerate(self.units):
            if not isinstance(unit, list):
                for node in unit.srcs:
                    if id(node) in number:
                        self.last_reader[number[id(node)]] = k
                for made in self.schedule.several.get(id(unit), [unit]):
                    self.hosted.add(id(made))
                continue
            for job in unit:
                for index in {slot.index for slot in job.slots if isinstance(slot, Value)}:
                    if index < first:
                        self.last_reader[index] = k
                    elif index < first + len(self.roots):
                        self.writer.setdefault(index, (k, job))

    def _assign(self) -> None:
        """First what an output is computed from (an optimizer's old values), then whatever else is free: a gradient that took over the memory of another
        parameter's old value would leave that one's new value without."""
        first = len(self.inputs)
        for own in (True, False):
            for i, root in enumerate(self.roots):
                index = first + i
                if self.donor[i] >= 0 or self.indices[i] != index or index not in self.writer or id(root) in self.hosted:
                    continue
                k, job = self.writer[index]
                if k < self.after:
                    continue
                read = {s.index for s in job.slots if isinstance(s, Value) and s.index < first}
                for candidate in self.free:
                    if (candidate in read) is own and self._may_take(root, candidate, k, job):
                        self.donor[i] = candidate
                        self.free.remove(candidate)
                        break

    def _may_take(self, root: Node, candidate: int, k: int, job: Any) -> bool:
        node = self.inputs[candidate]
        if node.numel * node.dtype.itemsize != root.numel * root.dtype.itemsize or self.last_reader.get(candidate, -1) > k:
            return False
        readers = [other for other in self.units[k] if any(isinstance(s, Value) and s.index == candidate for s in other.slots)]
        if job.copies is not None:  # the old contents are what the root begins with
            if job.copies is not node or readers != [job]:
                return False
            self.filled[self.roots.index(root)] = True
            self.fills.add(id(job))
            return True
        if not readers:
            return True
        return readers == [job] and job_may_overlay(job, self.accesses, candidate, self.indices[self.roots.index(root)])


def past_what_may_fail(units: list[Any], steps_too: bool) -> int:
    """How many of a plan's launches and host steps there are up to the last that may fail: a launch that looks at indices which none before
    it has looked at (a derivative uses those of what it is the derivative of), and with `steps_too` any host step (which raises by itself,
    where a launch only reports)."""
    known: set[tuple[int, int]] = set()
    last = 0
    for k, unit in enumerate(units):
        if not isinstance(unit, list):
            last = k + 1 if steps_too else last
            continue
        checks = [check for job in unit for check in job.checks]
        if any((check.source, check.size) not in known for check in checks):
            last = k + 1
        known.update((check.source, check.size) for check in checks if check.whole)
    return last


def _index(place: Any) -> int:
    """The value index of a root's place: memory that is found to be a root's has a value already."""
    found: Value = place if isinstance(place, Value) else place.value
    return found.index

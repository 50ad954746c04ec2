"""Where the memory of a plan lies: temporaries in one arena, or in the memory of outputs that are not written yet."""
from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, NamedTuple

from torsh.compiler.execute import HEADER
from torsh.runtime.cpu.executor import Value

_ALIGN = 64
#: Bytes of an arena from which another order of placing is tried, and of outputs and temporaries that may share memory.
_WORTH = 1 << 20
_LARGE = 1 << 16


class Memory:
    """Memory that lives during a run only: from the first launch that uses it to the last. Its place comes last; `hosted`: a host step uses it;
    `under`: the memory that it takes over."""
    __slots__ = ("nbytes", "first", "last", "value", "hosted", "under")

    def __init__(self, nbytes: int) -> None:
        self.nbytes = -(-max(1, nbytes) // _ALIGN) * _ALIGN
        self.first = self.last = -1
        self.value: Value | None = None  # set at once for memory that is found to be a root's
        self.hosted = False
        self.under: Memory | None = None

    def touch(self, position: int) -> None:
        self.first = position if self.first < 0 else self.first
        self.last = position


class Space(NamedTuple):
    """The memory of an output (value number `value`) which nothing uses before launch `until`."""
    value: int
    nbytes: int
    until: int


class Overlay(NamedTuple):
    """At launch `at`, `source` is read for the last time and `target` (memory, or the number of an output's value) is first written; where `proved()`,
    they may be the same memory."""
    at: int
    source: Memory
    target: Memory | int
    proved: Callable[[], bool]


def overlays(units: list[Any], memories: list[Memory], outputs: Collection[int], proved: Callable[[Any, Memory, Any], bool]) -> list[Overlay]:
    """All that may be worth it. `outputs` are the values that temporaries can lie in before they are written."""
    found: list[Overlay] = []
    if sum([m.nbytes for m in memories]) < _WORTH:
        return found
    written: set[int] = set()
    for k, unit in enumerate(units):
        if not isinstance(unit, list):
            continue
        sources: list[tuple[Any, Memory]] = []
        targets: list[tuple[Any, Memory | int]] = []
        uses: dict[int, int] = {}  # how many jobs of the launch use a memory
        for job in unit:
            named = {id(slot[0]): slot[0] for slot in job.slots if isinstance(slot, tuple)}
            for key, m in named.items():
                uses[key] = uses.get(key, 0) + 1
                if m.nbytes >= _LARGE and m.value is None:
                    if m.first == k < m.last:
                        targets.append((job, m))
                    elif m.first < k == m.last:
                        sources.append((job, m))
            for index in {slot.index for slot in job.slots if isinstance(slot, Value)} - written:
                if index in outputs:
                    targets.append((job, index))
        written.update([target for _, target in targets if isinstance(target, int)])
        for job, source in sources:
            if uses[id(source)] == 1:
                found.extend([Overlay(k, source, target, partial(proved, job, source, target)) for other, target in targets if other is job
                              and (isinstance(target, int) or (target.nbytes == source.nbytes and uses[id(target)] == 1))])
    return found


def spaces(units: list[Any], sizes: Sequence[int], first: int) -> list[Space]:
    """The outputs (values from `first` on, of these sizes; 0 for one that may not be used so) that temporaries can lie in."""
    until: dict[int, int] = {}
    for k, unit in enumerate(units):
        if isinstance(unit, list):
            for job in unit:
                for slot in job.slots:
                    if isinstance(slot, Value):
                        until.setdefault(slot.index, k)
    return [Space(first + i, size, until[first + i]) for i, size in enumerate(sizes) if size >= _LARGE and until.get(first + i, 0) > 0]


def live_bytes(memories: list[Memory]) -> list[int]:
    """For each launch, the bytes of memories alive during it."""
    change = [0] * (2 + max((m.last for m in memories), default=-1))
    for m in memories:
        change[m.first] += m.nbytes
        change[m.last + 1] -= m.nbytes
    out, total = [], 0
    for step in change[:-1]:
        total += step
        out.append(total)
    return out


def arrange(memories: list[Memory], arena: int, free: Sequence[Space] = (), over: Sequence[Overlay] = ()) -> int:
    """Place memories so that those alive together do not overlap: what is alive when most is goes over what it is made from or to free spaces, and the rest to
    the arena (values index `arena`): in order of first use, or where that wastes memory by size, by lifetime after the largest, or by how much else is alive,
    whichever needs least. Returns the arena's bytes."""
    todo = [m for m in memories if m.value is None and m.first >= 0]
    if free or over:
        todo = _share(todo, list(free), over)
    top, places = _placed(sorted(todo, key=lambda m: (m.first, -m.nbytes)), True)
    live = live_bytes(todo) if top >= _WORTH else [top]
    least = max(live)
    keys: list[Callable[[Memory], Any]] = [
        lambda m: (-m.nbytes, m.first),
        lambda m: (m.nbytes < least // 8, m.first - m.last, -m.nbytes),
        lambda m: (-max(live[m.first:m.last + 1]), m.first - m.last)]
    for key in keys:
        if top > least * 51 // 50:
            less, others = _placed(sorted(todo, key=key), False)
            if less < top:
                top, places = less, others
    for m, at in places:
        m.value = Value(arena, HEADER + at)
    for m in memories:
        under = m
        while under.under is not None:
            under = under.under
        m.value = under.value
    return top


def _placed(memories: list[Memory], in_order: bool) -> tuple[int, list[tuple[Memory, int]]]:
    """Each in the lowest gap among those before it that are alive with it; `in_order`: each begins no earlier than those before."""
    live: list[tuple[int, int, Memory]] = []  # by place
    out: list[tuple[Memory, int]] = []
    top = 0
    for m in memories:
        first, last, nbytes, at = m.first, m.last, m.nbytes, 0
        if in_order:
            live = [o for o in live if o[2].last >= first]
        for start, end, other in live:
            if other.last >= first and other.first <= last:
                if at + nbytes <= start:
                    break
                if end > at:
                    at = end
        live.append((at, at + nbytes, m))
        live.sort(key=lambda o: o[0])
        out.append((m, at))
        top = max(top, at + nbytes)
    return top, out


def _share(todo: list[Memory], free: list[Space], over: Sequence[Overlay]) -> list[Memory]:
    """Lower the peak as long as something alive then can be placed elsewhere: over what it is computed from, or in the smallest free space that fits, the
    largest first. Returns what is left; what shares memory lives at other times."""
    taken: dict[int, list[Memory]] = {space.value: [] for space in free}
    free.sort(key=lambda s: (s.nbytes, s.until))
    fitting = [m for m in todo if _LARGE <= m.nbytes <= free[-1].nbytes and not m.hosted] if free else []
    fitting.sort(key=lambda m: (-m.nbytes, -m.last))
    waiting: dict[int, list[Overlay]] = {}  # for memory, by launch
    ends: dict[int, list[Overlay]] = {}  # for outputs, by the memory that is read
    for overlay in over:
        key, where = (overlay.at, waiting) if isinstance(overlay.target, Memory) else (id(overlay.source), ends)
        where.setdefault(key, []).append(overlay)
    live = live_bytes(todo)
    placed: set[int] = set()

    def apart(m: Memory, space: Space, until: int) -> bool:
        return space.nbytes >= m.nbytes and until > m.last and all(o.last < m.first or o.first > m.last for o in taken[space.value])

    def overlaid(at: int) -> bool:
        """Whether what launch `at` writes could be placed over what it reads."""
        candidates = waiting.get(at, [])
        while candidates:
            overlay = candidates.pop()
            source, target = overlay.source, overlay.target
            while source.under is not None:
                source = source.under
            if isinstance(target, Memory) and id(source) not in placed and id(target) not in placed and source.last == at and overlay.proved():
                target.under = source
                source.last, source.hosted = target.last, source.hosted or target.hosted
                ends[id(source)] = ends.get(id(target), [])
                placed.add(id(target))
                live[at] -= target.nbytes
                return True
        return False

    def room(m: Memory) -> Space | None:
        """A free space for a memory: one that is needed only later, or that of an output which is computed from it."""
        for space in free:
            if apart(m, space, space.until) or any(o.target == space.value and apart(m, space, o.at + 1) and o.proved() for o in ends.get(id(m), [])):
                return space
        return None

    while True:
        peak = max(range(len(live)), key=live.__getitem__, default=-1)
        if overlaid(peak):
            continue
        for m in fitting:
            if m.first <= peak <= m.last and id(m) not in placed and not m.hosted:
                space = room(m)
                if space is not None:
                    break
        else:
            return [m for m in todo if id(m) not in placed]
        m.value = Value(space.value, 0)
        taken[space.value].append(m)
        placed.add(id(m))
        for k in range(m.first, m.last + 1):
            live[k] -= m.nbytes

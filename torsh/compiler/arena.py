"""Where the memory of a plan lies: temporaries in one arena, or in the memory of outputs that are not written yet."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torsh.compiler.execute import HEADER
from torsh.runtime.cpu.executor import Value

_ALIGN = 64
#: Bytes of an arena from which another order of placing is tried, and of outputs and temporaries that may share memory.
_WORTH = 1 << 20
_LARGE = 1 << 16


class Memory:
    """Memory that lives during a run only: from the first launch that uses it to the last. Its place comes last; `hosted`: a host step uses it."""
    __slots__ = ("nbytes", "first", "last", "value", "hosted")

    def __init__(self, nbytes: int) -> None:
        self.nbytes = -(-max(1, nbytes) // _ALIGN) * _ALIGN
        self.first = self.last = -1
        self.value: Value | None = None  # set at once for memory that is found to be a root's
        self.hosted = False

    def touch(self, position: int) -> None:
        self.first = position if self.first < 0 else self.first
        self.last = position


class Space(NamedTuple):
    """The memory of an output (value `index`) which nothing uses before launch `until`."""
    index: int
    nbytes: int
    until: int


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


def arrange(memories: list[Memory], arena: int, free: Sequence[Space] = ()) -> int:
    """Place memories so that those alive together do not overlap: in free spaces what is alive when most is, and the rest in the arena
    (values index `arena`), in order of first use or of size, whichever needs less. Returns the arena's bytes."""
    todo = [m for m in memories if m.value is None and m.first >= 0]
    if free:
        todo = _share(todo, list(free))
    top, places = _placed(sorted(todo, key=lambda m: (m.first, -m.nbytes)), True)
    if top >= _WORTH and top > max(live_bytes(todo)) * 51 // 50:
        keys: list[Callable[[Memory], Any]] = [lambda m: (-m.nbytes, m.first), lambda m: (-m.nbytes * (1 + m.last - m.first), m.first)]
        for key in keys:
            less, others = _placed(sorted(todo, key=key), False)
            if less < top:
                top, places = less, others
    for m, at in places:
        m.value = Value(arena, HEADER + at)
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


def _share(todo: list[Memory], free: list[Space]) -> list[Memory]:
    """Place in the smallest free space that fits what is alive at the peak; returns the others. One of what is placed in a space at a time."""
    taken: dict[int, list[Memory]] = {space.index: [] for space in free}
    free.sort(key=lambda s: (s.nbytes, s.until))
    rest = todo
    while True:
        live = live_bytes(rest)
        peak = max(range(len(live)), key=live.__getitem__, default=-1)
        placed = None
        for m in sorted((m for m in rest if m.first <= peak <= m.last and m.nbytes >= _LARGE and not m.hosted), key=lambda m: (-m.nbytes, -m.last)):
            for space in free:
                if space.nbytes >= m.nbytes and space.until > m.last and all(o.last < m.first or o.first > m.last for o in taken[space.index]):
                    placed = m, space
                    break
            if placed:
                break
        if placed is None:
            return rest
        m, space = placed
        m.value = Value(space.index, 0)
        taken[space.index].append(m)
        rest = [o for o in rest if o is not m]

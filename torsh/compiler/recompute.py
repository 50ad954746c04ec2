"""Values that are computed again where a backward pass reads them, instead of being kept from the forward pass on.

Between its two passes a training step is at its peak of memory, and much of what is kept then follows from the rest by a few pointwise operations: the
output of an activation from what went into it, a mask of signs, a normalized row times its weight. What is kept is a minimum cut of the graph of those
operations: of all sets of values that determine everything read after the peak, one with the fewest bytes, and among these the one that leaves the least
to be computed again (as Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016, ask, solved as a flow problem, for pointwise operations alone).
Whatever is not kept gets a copy of its operations next to each reader, which fusion makes a part of the reader's kernel. The arithmetic is the same, and so are
the bits, but for sums whose kernel becomes longer and is then given fewer partial sums (`codegen.llvm_width`).
"""
from __future__ import annotations

from collections import deque

from torsh.codegen.kernel_ir import MATH
from torsh.compiler.schedule import sources_first
from torsh.graph.node import Node
from torsh.graph.primitives import ASSIGN

#: Smaller values are kept, and graphs with less to keep are left as they are: looking at them would cost more than it saves.
_LARGE = 1 << 18
_WORTH = 4 << 20
#: Instructions an element that computing a value again may take, and those of a transcendental function.
_MOST_COST = 96
_FUNCTION = 20
#: A pointwise value whose last reader is so near (in operations) is most likely fused with it.
_NEAR = 6
_FREE = frozenset(("leaf", "const", "iota", "empty"))
#: They pass on what they read.
_PASSED = ("view", "item")
_EVERYTHING = 1 << 60


def recompute(roots: list[Node]) -> set[int]:
    """Rewrites the canonical graph of `roots` in place; returns the ids of the copies made."""
    order = sources_first(roots)
    if sum([n.numel * n.dtype.itemsize for n in order if n.op.kind == "pointwise" and n.numel * n.dtype.itemsize >= _LARGE]) < _WORTH:
        return set()
    time = _times(order)
    last = _last_readers(order, time)
    peak = _peak(order, time, last)
    if peak < 0:
        return set()
    kept_anyway = {id(r) for r in roots}
    crossing = [n for n in order if _large(n) and n.op.kind != "view" and time[id(n)] <= peak < last[id(n)] and id(n) not in kept_anyway]
    again = _Cut(order, crossing, kept_anyway).recomputed()
    return _copied(order, time, peak, again) if again else set()


def _large(node: Node) -> bool:
    return node.op.kind not in _FREE and node.outputs is None and node.numel * node.dtype.itemsize >= _LARGE


def _times(order: list[Node]) -> dict[int, int]:
    """When each value is computed, in operations that run one after the other. As in a schedule, what is no pointwise operation comes just before its
    readers, and so does what depends on inputs alone; a pointwise operation is fused with what it reads."""
    depth: dict[int, int] = {}
    for node in order:
        depth[id(node)] = max([depth[id(s)] for s in node.srcs], default=0) + (node.op.kind not in _PASSED)
    latest: dict[int, int] = {}  # the first reader's
    for node in reversed(order):
        here = latest.get(id(node), depth[id(node)] + 1)
        mine = here if node.op.kind in _PASSED else max(depth[id(node)], here - 1)
        for s in node.srcs:
            latest[id(s)] = min(latest.get(id(s), mine), mine)
    time: dict[int, int] = {}
    for node in order:
        after = max([time[id(s)] for s in node.srcs if _large(s)], default=0)
        if node.op.kind in _PASSED:
            time[id(node)] = after
        elif after and node.op.kind == "pointwise":
            time[id(node)] = max(after + 1, depth[id(node)])
        else:
            time[id(node)] = max(after + 1, depth[id(node)], latest.get(id(node), 0) - 1)
    return time


def _last_readers(order: list[Node], time: dict[int, int]) -> dict[int, int]:
    """The time of the last operation that reads each value, through views or not."""
    last = dict(time)
    for node in reversed(order):
        for s in node.srcs:
            last[id(s)] = max(last[id(s)], last[id(node)] if node.op.kind in _PASSED else time[id(node)])
    return last


def _peak(order: list[Node], times: dict[int, int], last: dict[int, int]) -> int:
    """The time across which most bytes are kept, or -1 where that is too little to care."""
    change: dict[int, int] = {}
    for n in order:
        if _large(n) and n.op.kind != "view" and last[id(n)] - times[id(n)] > _NEAR:
            nbytes = n.numel * n.dtype.itemsize
            change[times[id(n)]] = change.get(times[id(n)], 0) + nbytes
            change[last[id(n)]] = change.get(last[id(n)], 0) - nbytes
    best, peak, total = _WORTH, -1, 0
    for time in sorted(change):
        total += change[time]
        if total > best:
            best, peak = total, time
    return peak


class _Cut:
    """The flow network: a pair of vertices for each value, joined by an edge as wide as its bytes; from the source to what cannot be
    computed again, from what is read late to the sink (Dinic's algorithm)."""

    def __init__(self, order: list[Node], crossing: list[Node], kept_anyway: set[int]) -> None:
        self.heads: list[list[int]] = [[], []]  # vertices 0 and 1 are source and sink
        self.to: list[int] = []
        self.room: list[int] = []
        self.nodes: dict[int, Node] = {}
        self.vertex: dict[int, int] = {}
        cost = _costs(order)
        stack = list(crossing)
        while stack:
            node = stack.pop()
            if id(node) in self.nodes:
                continue
            self.nodes[id(node)] = node
            a = self.vertex[id(node)] = len(self.heads)
            self.heads += [[], []]
            small = not _large(node) and node.op.kind != "view"
            if small or id(node) in kept_anyway or (node.op.kind != "view" and cost[id(node)] < 0):
                self._edge(0, a, _EVERYTHING)
                self._edge(a, a + 1, 0 if small or id(node) in kept_anyway else node.numel * node.dtype.itemsize)
            else:
                self._edge(a, a + 1, _EVERYTHING if node.op.kind == "view" else node.numel * node.dtype.itemsize)
                stack.extend(node.srcs)
        for node in self.nodes.values():
            if not self._fixed(node):
                for s in node.srcs:
                    self._edge(self.vertex[id(s)] + 1, self.vertex[id(node)], _EVERYTHING)
        for node in crossing:
            self._edge(self.vertex[id(node)] + 1, 1, _EVERYTHING)

    def _fixed(self, node: Node) -> bool:
        return any(self.to[e] == 0 for e in self.heads[self.vertex[id(node)]])

    def _edge(self, a: int, b: int, room: int) -> None:
        for x, y, r in ((a, b, room), (b, a, 0)):
            self.heads[x].append(len(self.to))
            self.to.append(y)
            self.room.append(r)

    def recomputed(self) -> set[int]:
        """Ids of the values on the sink's side of the cut that is nearest to it."""
        while True:
            level = self._levels()
            if level[1] < 0:
                break
            self._push(level)
        reach = {1}
        queue = deque((1,))
        while queue:
            for e in self.heads[queue.popleft()]:
                if self.room[e ^ 1] > 0 and self.to[e] not in reach:
                    reach.add(self.to[e])
                    queue.append(self.to[e])
        return {key for key, a in self.vertex.items() if a in reach and not self._fixed(self.nodes[key])}

    def _levels(self) -> list[int]:
        level = [-1] * len(self.heads)
        level[0] = 0
        queue = deque((0,))
        while queue:
            x = queue.popleft()
            for e in self.heads[x]:
                if self.room[e] > 0 and level[self.to[e]] < 0:
                    level[self.to[e]] = level[x] + 1
                    queue.append(self.to[e])
        return level

    def _push(self, level: list[int]) -> None:
        """Send flow along shortest ways until none is left."""
        heads, to, room = self.heads, self.to, self.room
        turn = [0] * len(heads)
        way: list[int] = []
        x = 0
        while True:
            if x == 1:
                most = min([room[e] for e in way])
                for e in way:
                    room[e] -= most
                    room[e ^ 1] += most
                first = next(i for i, e in enumerate(way) if room[e] == 0)
                del way[first:]
                x = to[way[-1]] if way else 0
                continue
            while turn[x] < len(heads[x]):
                e = heads[x][turn[x]]
                if room[e] > 0 and level[to[e]] == level[x] + 1:
                    break
                turn[x] += 1
            else:
                if not way:
                    return
                level[x] = -1
                way.pop()
                x = to[way[-1]] if way else 0
                continue
            way.append(e)
            x = to[e]


def _costs(order: list[Node]) -> dict[int, int]:
    """Instructions an element to compute each value again, from those that are not (-1): no pointwise ones, and what would take too many."""
    cost: dict[int, int] = {}
    for node in order:
        if node.op.kind == "view":
            cost[id(node)] = cost[id(node.srcs[0])]
        elif node.op.kind == "pointwise" and _large(node) and not node.dtype.on_host and not any(s.dtype.on_host for s in node.srcs):
            own = sum([max(0, cost[id(s)]) for s in node.srcs]) + (_FUNCTION if node.op.name in MATH else 1)
            cost[id(node)] = own if own <= _MOST_COST else -1
        elif node.op is ASSIGN and _generated(node.srcs[0]):  # a padded image
            cost[id(node)] = 1 + max(0, cost[id(node.srcs[1])])
        else:
            cost[id(node)] = -1
    return cost


def _generated(node: Node) -> bool:
    """Whether a value is made from numbers alone."""
    while node.op.kind == "view":
        node = node.srcs[0]
    return node.op.kind in ("const", "iota", "empty")


def _copied(order: list[Node], times: dict[int, int], peak: int, again: set[int]) -> set[int]:
    """Give readers after the peak copies of the values in `again`. Readers of one time share theirs; a copy that several times shared would be kept between."""
    copies: set[int] = set()
    made: dict[int, Node] = {}
    time = -1

    def copied(node: Node) -> Node:
        if times[id(node)] > peak or (id(node) not in again and node.op.kind != "view"):
            return node
        found = made.get(id(node))
        if found is None:
            srcs = tuple([copied(s) for s in node.srcs])
            found = node
            if id(node) in again if node.op.kind != "view" else srcs[0] is not node.srcs[0]:
                found = Node(node.op, srcs, node.arg, node.shape, node.dtype)
                copies.add(id(found))
            made[id(node)] = found
        return found

    for node in sorted(order, key=lambda n: times[id(n)]):
        if times[id(node)] <= peak or node.op.kind in _PASSED:
            continue
        if times[id(node)] != time:
            made, time = {}, times[id(node)]
        srcs = tuple([copied(s) for s in node.srcs])
        if any(s is not t for s, t in zip(srcs, node.srcs, strict=True)):
            node.srcs = srcs
    return copies

"""Fusion: which nodes run together in one kernel.

Nodes are visited in order and join a group of one of their producers when the group's loop nest can hold them:
same domain, reads of members element by element (or of a row's value along the row), and no path that leaves the
group and comes back. Groups of several producers are united for a common reader. What is left are steps of other
kinds: products, scans, scatters, region writes, host calls, copies.
"""
from __future__ import annotations

from collections.abc import Set as AbstractSet

from torsh.compiler import whole
from torsh.compiler.canonical import INPUT, SCALAR
from torsh.compiler.layout import FULL, ROW, Domain, along, broadcast_strides, compose, domain_of, own_strides, refine, sizes
from torsh.compiler.layout import SCALAR as POINT
from torsh.compiler.regions import Apart
from torsh.core.shapes import Shape, contiguous_strides, numel
from torsh.graph.node import Node
from torsh.graph.primitives import CONST, EMPTY, IOTA, VIEW

Geometry = tuple[Shape, Shape, int]
_OVER_ROWS = frozenset(("reduce_sum", "reduce_max", "reduce_min", "reduce_prod"))
_LARGE = 1 << 18  # bytes
_MOST_NODES = 160  # a larger kernel costs LLVM more than a launch saves


class Group:
    """One step. `kind` is "loops" or the kind of its single node, or of a chain of region writes that lie `apart`; `levels` are those of its
    members, by id; `before` is a bit set of the groups that must have run; `late`: some are computed again (`compiler.recompute`)."""
    __slots__ = ("number", "kind", "nodes", "levels", "domain", "folds", "before", "apart", "late")

    def __init__(self, number: int, kind: str, nodes: list[Node], levels: dict[int, int], domain: Domain = (), folds: bool = False) -> None:
        self.number, self.kind, self.nodes, self.levels, self.domain, self.folds = number, kind, nodes, levels, domain, folds
        self.before = 0
        self.apart: Apart | None = None
        self.late = False


class Schedule:
    """`steps` are the groups in running order; `stored` are the ids of nodes that need memory; `late` those of copies that are computed just before
    who reads them."""

    def __init__(self, roots: list[Node], late: AbstractSet[int] = frozenset()) -> None:
        self.late = late
        self.groups: list[Group | None] = []
        self.where: dict[int, int] = {}
        self.stored: dict[int, Node] = {}
        self.copied: dict[int, tuple[Node, Geometry]] = {}
        self._sources: dict[int, tuple[Node, Geometry]] = {}
        self.several: dict[int, list[Node]] = {}  # the outputs that are read of host calls with several
        self.roots = roots
        order = sources_first(roots)
        self._readers: dict[int, int] = {id(r): 1 for r in roots}
        for node in order:
            for s in node.srcs:
                self._readers[id(s)] = self._readers.get(id(s), 0) + 1
        for node in order:
            self._place(node)
        for root in roots:
            self._store(root)
        live = [g for g in self.groups if g is not None]
        live.sort(key=lambda g: (bin(g.before).count("1"), g.number))
        self.steps = self._freeing_first(_topological(live, self.stored, late))

    def _freeing_first(self, steps: list[Group]) -> list[Group]:
        """Groups of one depth, which do not depend on each other, in the order that needs least memory: first those that free more than they take, and of these
        first what takes least; then the others, and of these first what frees most. (Weight gradients come before the gradients of activations.)"""
        kept = {id(r) for r in self.roots}
        large = {key: n.numel * n.dtype.itemsize for key, n in self.stored.items()
                 if key not in kept and key in self.where and n.numel * n.dtype.itemsize >= _LARGE}
        if not large:
            return steps
        made: dict[int, int] = {}
        for key in large:
            made[self.where[key]] = made.get(self.where[key], 0) + large[key]
        reads = [{id(base) for node in g.nodes for base in self._bases(node)} & large.keys() for g in steps]
        left: dict[int, int] = {}
        for read in reads:
            for key in read:
                left[key] = left.get(key, 0) + 1
        out: list[Group] = []
        at = 0
        while at < len(steps):
            end = at
            while end < len(steps) and steps[end].number == steps[at].number:
                end += 1
            waiting = list(range(at, end))
            while waiting:
                best = waiting[0]
                if len(waiting) > 1:
                    orders = []
                    for k in waiting:
                        taken = sum([made.get(self.where[id(n)], 0) for n in steps[k].nodes[:1]])
                        freed = sum([large[key] for key in reads[k] if left[key] == 1])
                        orders.append((taken > freed, taken if taken <= freed else -freed, k))
                    best = min(orders)[2]
                waiting.remove(best)
                out.append(steps[best])
                for key in reads[best]:
                    left[key] -= 1
            at = end
        return out

    def _bases(self, node: Node) -> list[Node]:
        return [self.copied[id(node)][0]] if id(node) in self.copied else [self.source(s)[0] for s in node.srcs]

    # ---- sources

    def source(self, node: Node) -> tuple[Node, Geometry]:
        """The node whose memory (or members) a read goes to, and the view it goes through.

        Views that do not compose stop at a copy. The answer for a node never changes: readers are ordered by it.
        """
        found = self._sources.get(id(node))
        if found is None:
            found = self._sources[id(node)] = self._resolve(node)
        return found

    def _resolve(self, node: Node) -> tuple[Node, Geometry]:
        geometry: Geometry = (node.shape, contiguous_strides(node.shape), 0)
        while node.op is VIEW and id(node) not in self.where:
            plain = geometry[2] == 0 and geometry[1] == contiguous_strides(geometry[0])
            whole = node.arg if plain and geometry[0] == node.shape else compose(*geometry, node.arg)
            if whole is None:
                self._copy(node)
                break
            geometry, node = whole, node.srcs[0]
        return node, geometry

    def memory(self, node: Node, whole: bool = False) -> tuple[Node, Geometry]:
        """As `source`, for readers that need memory: generated values get some, and with `whole` so do views that are not all of theirs."""
        base, geometry = self.source(node)
        generated = base.op.kind in ("const", "iota")
        plain = geometry[2] == 0 and numel(geometry[0]) == base.numel and all(
            n == 1 or s == t for n, s, t in zip(geometry[0], geometry[1], contiguous_strides(geometry[0]), strict=True))
        if generated or (whole and not plain):
            return node, (node.shape, contiguous_strides(node.shape), 0)
        return base, geometry

    def _copy(self, node: Node) -> None:
        """Give a view (or generated values) memory: a loop that reads and stores. `copied` says what it reads."""
        if id(node) in self.where:
            return
        if node.dtype.on_host:
            group = self._new("host", node)
            for s in node.srcs:
                if s.op.kind != "const":
                    self._store(s)
                    self._after(group, s)
            return
        base = node
        if node.op is VIEW:
            base, through = self.source(node.srcs[0])
            plain = through[2] == 0 and through[1] == contiguous_strides(through[0])
            shape, strides, offset = node.arg
            whole = node.arg if plain else compose(shape, strides, offset, through)
            if whole is None:
                self._copy(node.srcs[0])
                base, whole = node.srcs[0], node.arg
            self.copied[id(node)] = base, whole
        group = self._new("loops", node, domain_of(node.shape))
        if base is not node and base.op.kind != "const" and base.op is not IOTA:
            self._store(base)
            self._after(group, base)

    def _new(self, kind: str, node: Node, domain: Domain = ()) -> Group:
        group = Group(len(self.groups), kind, [node], {id(node): FULL}, domain)
        group.late = id(node) in self.late
        self.groups.append(group)
        self.where[id(node)] = group.number
        return group

    def _after(self, group: Group, node: Node) -> None:
        at = self.where.get(id(node))
        if at is not None and at != group.number:
            other = self.groups[at]
            assert other is not None
            group.before |= other.before | (1 << at)

    def _store(self, node: Node) -> None:
        """The node needs memory."""
        if node.op is INPUT:
            return
        if node.op in (VIEW, IOTA, CONST, SCALAR) and id(node) not in self.where:
            self._copy(node)
        self.stored[id(node)] = node

    # ---- placing

    def _place(self, node: Node) -> None:
        kind = node.op.kind
        if id(node) in self.where or kind in ("leaf", "const", "view", "iota"):
            return
        if kind == "item":
            self.where[id(node)] = self.where[id(node.srcs[0])]
            self.several[id(node.srcs[0])].append(node)
            self.stored[id(node)] = node
            return
        if node.op is EMPTY:
            self._new("empty", node)
            return
        if kind in ("host", "coarse") and node.outputs is not None:
            self.several.setdefault(id(node), [])
        on_host = node.dtype.on_host or any(s.dtype.on_host for s in node.srcs)
        if kind in ("pointwise", "reduce", "gather") and not on_host:
            if not self._join(node):
                self._start(node)
            return
        if kind == "assign" and not on_host and self._continues(node):
            return
        group = self._new("host" if on_host else kind, node)
        product = group.kind in ("contract", "windows", "winograd", "convolve")
        memories = whole.sources(self, node) if group.kind == "coarse" else []
        for i, s in enumerate(node.srcs):
            if product and i > 1 and s.op.kind == "const":  # a number for what follows the product
                continue
            if group.kind == "coarse":
                base = memories[i]
            elif group.kind in ("host", "bitcast", "order") or (group.kind == "windows" and i == 1):  # these read arrays, not views
                base = s
            else:
                base = (self.memory if product else self.source)(s)[0]
            if not product and (base.op.kind == "const" or (base.op is IOTA and group.kind in ("assign", "scatter", "scan"))):
                continue
            self._store(base)
            self._after(group, base)

    def _continues(self, node: Node) -> bool:
        """Whether a region write joins that of its old value, which nobody else reads and whose regions lie apart from this one."""
        old, value = node.srcs
        at = self.where.get(id(old))
        group = None if at is None or old.op.kind != "assign" or self._readers[id(old)] != 1 else self.groups[at]
        if group is None or group.kind != "assign":
            return False
        if group.apart is None:
            group.apart = Apart(old)
        if not group.apart.add(node):
            return False
        group.nodes.append(node)
        self.where[id(node)] = group.number
        base = self.source(value)[0]
        if base.op.kind != "const" and base.op is not IOTA:
            self._store(base)
            self._after(group, base)
        return True

    def _fusible_sources(self, node: Node) -> list[Node]:
        return list(node.srcs[1:]) if node.op.kind == "gather" else list(node.srcs)

    def _start(self, node: Node) -> None:
        """A group of its own."""
        if node.op.kind == "reduce":
            group = self._new("loops", node, domain_of(node.srcs[0].shape, node.arg))
            group.folds = True
            group.levels[id(node)] = ROW
        else:
            group = self._new("loops", node, domain_of(node.shape))
        self._connect(group, node)

    def _connect(self, group: Group, node: Node) -> None:
        """Order the group after the producers of a new member; what they hand over needs memory."""
        for i, s in enumerate(node.srcs):
            gathered = node.op.kind == "gather" and i == 0
            base = self.memory(s, whole=True)[0] if gathered else self.source(s)[0]
            if base.op.kind in ("const", "iota") and not gathered:
                continue  # made where it is read, even if it has memory too
            if self.where.get(id(base)) != group.number:
                self._store(base)
                self._after(group, base)

    def _join(self, node: Node) -> bool:
        producers: list[Group] = []
        for s in self._fusible_sources(node):
            base, _ = self.source(s)
            at = self.where.get(id(base))
            if at is not None:
                group = self.groups[at]
                assert group is not None
                if group.kind == "loops" and group not in producers and (group.late or id(node) not in self.late):
                    producers.append(group)
        producers.sort(key=lambda g: (-g.before.bit_count(), -g.number))
        table = 0  # the groups that must have run before what a gather reads is in memory
        if node.op.kind == "gather":
            base = self.memory(node.srcs[0], whole=True)[0]
            self._store(base)
            at = self.where.get(id(base))
            table = 0 if at is None else self.groups[at].before | 1 << at  # type: ignore[union-attr]
        if any(group.late for group in producers):
            table |= self._before_others(node, producers)
        for group in producers:
            if len(group.nodes) < _MOST_NODES and self._admit(group, node):
                for other in producers:
                    if other is not group and not table >> other.number & 1:
                        self._unite(group, other, node)
                self._connect(group, node)
                self._spread(group)
                return True
        return False

    def _before_others(self, node: Node, producers: list[Group]) -> int:
        """The groups that must have run before the sources of a node that it cannot be fused with."""
        found = 0
        for s in node.srcs:
            at = self.where.get(id(self.source(s)[0]))
            if at is not None and self.groups[at] not in producers:
                found |= self.groups[at].before  # type: ignore[union-attr]
        return found

    def _admit(self, group: Group, node: Node) -> bool:
        for i, s in enumerate(node.srcs):  # a path out of the group and back?
            base = self.memory(s, whole=True)[0] if node.op.kind == "gather" and i == 0 else self.source(s)[0]
            at = self.where.get(id(base))
            if at is not None and at != group.number:
                other = self.groups[at]
                if other is not None and other.before >> group.number & 1:
                    return False
        found = _fit(self, group, node)
        if found is None:
            return False
        level, domain, folds = found
        group.domain, group.folds = domain, folds
        group.nodes.append(node)
        group.levels[id(node)] = level
        self.where[id(node)] = group.number
        return True

    def _unite(self, group: Group, other: Group, node: Node) -> None:
        """Bring `other`, another producer of `node`, into the group if it is a loop over the same domain."""
        if other.kind != "loops" or len(group.nodes) + len(other.nodes) > _MOST_NODES:
            return
        lift = _lift(group, other)
        if lift is None:
            return
        for x in self.groups:  # a path from one to the other through a third?
            if x is None or x is group or x is other:
                continue
            bit = 1 << x.number
            if (other.before & bit and x.before >> group.number & 1) or (group.before & bit and x.before >> other.number & 1):
                return
        domain = group.domain
        levels = {key: level + lift for key, level in other.levels.items()}
        for member in other.nodes:
            shapes = [(member.shape, levels[id(member)])]
            if member.op.kind == "reduce":
                shapes.append((member.srcs[0].shape, levels[id(member)] - 1))
            for shape, level in shapes:
                new = domain if level == POINT else refine(domain, shape, level)
                if new is None:
                    return
                domain = new
        trial = Group(group.number, "loops", group.nodes + other.nodes, {**group.levels, **levels}, domain, group.folds)
        moved = {id(m): self.where[id(m)] for m in other.nodes}
        for m in other.nodes:
            self.where[id(m)] = group.number
        if all(_reads_fit(self, trial, m, trial.levels[id(m)], domain) for m in trial.nodes):
            group.nodes[:] = _member_order(trial.nodes)
            group.levels, group.domain = trial.levels, domain
            group.before |= other.before
            group.late = group.late or other.late
            self.groups[other.number] = None
            gone, kept = 1 << other.number, 1 << group.number
            for g in self.groups:
                if g is not None and g.before & gone:
                    g.before = g.before & ~gone | kept
            group.before &= ~(gone | kept)
        else:
            for m in other.nodes:
                self.where[id(m)] = moved[id(m)]

    def _spread(self, group: Group) -> None:
        """Groups after this one are also after what it has just come to depend on."""
        bit = 1 << group.number
        for g in self.groups:
            if g is not None and g.before & bit:
                g.before |= group.before


def _fit(schedule: Schedule, group: Group, node: Node) -> tuple[int, Domain, bool] | None:
    """The level at which a node can join, the domain and whether it folds then; None if it cannot."""
    if node.op.kind == "reduce":
        base, geometry = schedule.source(node.srcs[0])
        if schedule.where.get(id(base)) != group.number:
            return None
        level = group.levels[id(base)]
        shape = node.srcs[0].shape
        if numel(shape) == 0:
            return None
        if level == FULL:
            domain = refine(group.domain, shape, FULL)
            if domain is None or not _read_fits(domain, FULL, FULL, shape, geometry):
                return None
            folded = _folded(domain, shape, node.arg)
            if folded is None:
                return None
            if group.folds:
                return (ROW, domain, True) if folded == domain else None
            return ROW, folded, True
        if level == ROW and node.op.name in _OVER_ROWS:
            domain = refine(group.domain, shape, ROW)
            if domain is not None and numel(node.shape) == 1 and numel(sizes(domain, ROW)) > 1 and _read_fits(domain, ROW, ROW, shape, geometry):
                return POINT, domain, True
        return None
    count = numel(node.shape)
    if count == 0:
        return None
    for level in (FULL, ROW, POINT):
        if (level != FULL and not group.folds) or count != numel(sizes(group.domain, level)):
            continue
        domain = group.domain if level == POINT else refine(group.domain, node.shape, level)
        if domain is not None and _reads_fit(schedule, group, node, level, domain):
            return level, domain, group.folds
    return None


def _lift(group: Group, other: Group) -> int | None:
    """By how many levels the members of `other` rise when they become members of `group`; None if they cannot.

    0: the same domain, nothing folded. 1: its elements, or what it folds completely, are the rows of `group`.
    """
    whole = numel(sizes(other.domain, FULL))
    if not other.folds and whole == numel(sizes(group.domain, FULL)):
        return 0
    rows = group.folds and 1 < numel(sizes(group.domain, ROW)) == whole
    if not other.folds:
        return 1 if rows else None
    rows = rows and numel(sizes(other.domain, ROW)) == 1
    simple = all(m.op.kind != "reduce" or m.op.name in _OVER_ROWS for m in other.nodes)
    return 1 if rows and simple and POINT not in other.levels.values() else None


def _folded(domain: Domain, shape: Shape, axes: Shape) -> Domain | None:
    """The domain with the axes of a shape marked as folded."""
    marks = along(domain, shape, tuple(1 if i in axes else 0 for i in range(len(shape))), FULL)
    # `along` multiplies a stride within one dimension, so any non-zero entry means "inside a folded dimension".
    return tuple((n, mark != 0) for (n, _), mark in zip(domain, marks, strict=True))


def _reads_fit(schedule: Schedule, group: Group, node: Node, level: int, domain: Domain) -> bool:
    if node.op.kind == "reduce":
        base, geometry = schedule.source(node.srcs[0])
        at = FULL if level == ROW else ROW
        return not _member(schedule, group, base) or _read_fits(domain, at, group.levels[id(base)], node.srcs[0].shape, geometry)
    if node.op.kind == "view":
        base, geometry = schedule.copied[id(node)]
        return not _member(schedule, group, base) or _read_fits(domain, level, group.levels[id(base)], node.shape, geometry)
    if node.op.kind == "gather" and _member(schedule, group, schedule.memory(node.srcs[0], whole=True)[0]):
        return False  # its elements are read anywhere: they must all be there
    for s in schedule._fusible_sources(node):
        base, geometry = schedule.source(s)
        if _member(schedule, group, base):
            read = (node.shape, broadcast_strides(geometry[0], geometry[1], node.shape), geometry[2])
            if not _read_fits(domain, level, group.levels[id(base)], node.shape, read):
                return False
    return True


def _member(schedule: Schedule, group: Group, node: Node) -> bool:
    return schedule.where.get(id(node)) == group.number and id(node) in group.levels


def _read_fits(domain: Domain, level: int, base_level: int, shape: Shape, geometry: Geometry) -> bool:
    """Whether a member read through a view is read where it stands: at the reader's own element, or its row's."""
    if geometry[2] != 0 or base_level < level or base_level == POINT != level:  # a point is known when the rows are done
        return False
    strides = broadcast_strides(geometry[0], geometry[1], shape)
    return along(domain, shape, strides, level) == tuple(
        s if n != 1 else 0 for s, (n, _) in zip(own_strides(domain, base_level), domain, strict=True))


def sources_first(roots: list[Node]) -> list[Node]:
    """All nodes that the roots are computed from, each after its sources."""
    order: list[Node] = []
    seen: set[int] = set()
    stack = [(r, False) for r in reversed(roots)]
    while stack:
        node, ready = stack.pop()
        if ready:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack.extend((s, False) for s in reversed(node.srcs))
    return order


def _member_order(nodes: list[Node]) -> list[Node]:
    inside = {id(n) for n in nodes}
    return [n for n in sources_first(nodes) if id(n) in inside]


def _topological(groups: list[Group], stored: dict[int, Node], late: AbstractSet[int]) -> list[Group]:
    """Groups so that each comes after those it needs; by depth, so that independent ones are neighbours."""
    by_number = {g.number: g for g in groups}
    depth: dict[int, int] = {}
    alive = sum([1 << g.number for g in groups])
    done = 0
    layers: list[int] = []  # the groups of each depth
    stack: list[Group] = []
    for g in groups:
        if g.number not in depth:
            stack.append(g)
        while stack:
            top = stack[-1]
            before = top.before & alive
            needed = before & ~done
            if needed:
                stack.append(by_number[needed.bit_length() - 1])
                assert len(stack) <= len(by_number), "groups that wait for each other"
                continue
            stack.pop()
            at = len(layers)  # one deeper than the deepest that it needs
            while at and not layers[at - 1] & before:
                at -= 1
            if at == len(layers):
                layers.append(0)
            layers[at] |= 1 << top.number
            depth[top.number] = at
            done |= 1 << top.number
    _defer(groups, depth, stored, late)
    ordered = sorted(groups, key=lambda g: (depth[g.number], g.number))
    for g in ordered:
        g.number = depth[g.number]  # from here on: the depth, for merging launches
    return ordered


def _defer(groups: list[Group], depth: dict[int, int], stored: dict[int, Node], late: AbstractSet[int]) -> None:
    """What is large comes just before who reads it: made first, the transformed weights of all layers would lie in memory at once. (What is small
    is left together, for merged launches.) So do copies that are computed again."""
    readers: dict[int, list[int]] = {}  # of what is deferred
    deferred = [g for g in groups if (g.late and all(id(n) in late for n in g.nodes))
                or sum([n.numel * n.dtype.itemsize for n in g.nodes if id(n) in stored]) >= _LARGE]
    wanted = sum([1 << g.number for g in deferred])
    for r in groups:
        found = r.before & wanted
        while found:
            k = found.bit_length() - 1
            found ^= 1 << k
            readers.setdefault(k, []).append(r.number)
    for g in sorted(deferred, key=lambda g: -depth[g.number]):
        depth[g.number] = max(depth[g.number], min([depth[r] for r in readers.get(g.number, [])], default=1) - 1)

"""The backward engine: visits recorded calls from the last to the first and adds up what arrives at each."""
from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, final

from torsh.autograd.grad_mode import state
from torsh.autograd.graph import AccumulateGrad, GradNode, Point, accumulator, edge, requires_grad
from torsh.compiler.realize import accompany, forsake
from torsh.core.native import i64
from torsh.graph.primitives import const, expand
from torsh.tensor.tensor import Tensor, node_of, stored, wrap


class _Hooks:
    """What the layer above provides: tensor arithmetic, and anomaly mode's check."""
    add: Callable[[Tensor, Tensor], Tensor]
    total: Callable[[list[Tensor]], Tensor]
    sum_to: Callable[[Tensor, tuple[int, ...]], Tensor]
    cast: Callable[[Tensor, Any], Tensor]
    check: Callable[[Any, Sequence[Any]], None] | None = None
    failed: Callable[[Any], None] | None = None


arithmetic: Final = _Hooks()


@final
class Pass:
    """A backward pass that is running. What it visits has its number; `needed` are the ids of what it must visit (None: all)."""
    __slots__ = ("number", "needed", "covered")

    number: i64
    needed: set[int] | None
    covered: list[tuple[Point, int, int, Any]]  # what a pass around this one keeps in points of both

    def __init__(self, number: i64) -> None:
        self.number = number
        self.needed = None
        self.covered = []

    def reaches(self, node: Point) -> bool:
        """Whether a gradient will arrive at the node."""
        return node.visit == self.number and (self.needed is None or id(node) in self.needed)

    def enter(self, node: Point, waiting: i64) -> None:
        """Begin with a node."""
        if len(running) > 1 and node.visit >= running[0].number:
            self.covered.append((node, node.visit, node.waiting, node.arrived))
        node.visit = self.number
        node.waiting = waiting
        node.arrived = None


class _Count:
    last: i64 = 0


_count: Final = _Count()
#: The passes that are running, innermost last. One thread at a time runs any.
running: Final[list[Pass]] = []
_lock: Final = threading.RLock()


def _fit(grad: Tensor, shape: tuple[int, ...], dtype: Any) -> Tensor:
    """Undo broadcasting and promotion: a gradient has its input's shape and type."""
    if grad._shape != shape:
        grad = arithmetic.sum_to(grad, shape)
    if grad._dtype is not dtype:
        grad = arithmetic.cast(grad, dtype)
    return grad


def _reach(roots: list[Point], start: i64, this: Pass) -> None:
    """Count how many edges lead to each node below the roots. Nodes older than `start` are ends."""
    number = this.number
    stack: list[Point] = []
    for root in roots:
        this.enter(root, 0)
        stack.append(root)
    while stack:
        node = stack.pop()
        if node.order < start:
            continue
        for e in node.edges:
            if e is not None:
                target: Point = e[0]
                if target.visit == number:
                    target.waiting += 1
                else:
                    this.enter(target, 1)
                    stack.append(target)


def _leads(node: Any, needed: set[int]) -> bool:
    """Whether an edge leads to one of those needed."""
    for e in node.edges:
        if e is not None and id(e[0]) in needed:
            return True
    return False


def _needed(roots: Sequence[Any], targets: set[int], start: int) -> set[int]:
    """Ids of nodes from which a target can be reached (targets included). Nodes older than `start` are ends."""
    needed: set[int] = set()
    done: set[int] = set()
    stack: list[tuple[Any, bool]] = [(r, False) for r in roots]
    while stack:
        node, ready = stack.pop()
        if ready:
            if id(node) in targets or (node.order >= start and _leads(node, needed)):
                needed.add(id(node))
        elif id(node) not in done:
            done.add(id(node))
            stack.append((node, True))
            if node.order >= start:
                stack.extend((e[0], False) for e in node.edges if e is not None)
    return needed


def run(roots: Sequence[tuple[Any, int]], grads: Sequence[Tensor], retain: bool, create: bool,
        inputs: Sequence[tuple[Any, int]] | None = None, accumulate: bool = True, start: int = -1) -> dict[tuple[int, int], Tensor]:
    """Propagate `grads` from `roots` ((node, output number) pairs).

    Without `inputs` everything reachable is visited and leaves accumulate. With `inputs` only paths to them are; what
    arrives there is returned by (id(node), output number), and accumulated in leaves only if `accumulate`. Calls recorded before
    number `start` are ends: what arrives there goes no further.
    """
    unique: list[Point] = list({id(n): n for n, _ in roots}.values())
    wanted = None if inputs is None else {(id(n), i) for n, i in inputs}
    captured: dict[tuple[int, int], Tensor] = {}
    oldest: i64 = start
    previous = state.enabled
    _lock.acquire()
    _count.last += 1
    this = Pass(_count.last)
    running.append(this)
    state.enabled = create
    try:
        needed = this.needed = None if inputs is None else _needed(unique, {id(n) for n, _ in inputs}, start)
        _reach(unique, oldest, this)
        for (root, nr), g in zip(roots, grads, strict=True):
            _deliver(root, nr, g)
        ready: list[Point] = []
        for node in unique:
            if node.waiting == 0:
                _insert(ready, node)
        while ready:
            node = ready.pop()
            arrived = node.arrived
            node.arrived = None
            results: list[Tensor | None] | None = None
            if arrived is not None and (needed is None or id(node) in needed):
                arrived = _before(node, arrived)
                if wanted is not None:
                    for nr, came in enumerate(arrived):
                        if came is not None and (id(node), nr) in wanted:
                            captured[id(node), nr] = came
                if isinstance(node, AccumulateGrad):
                    if wanted is None or (accumulate and (id(node), 0) in wanted):
                        _accumulate(node, arrived[0], create)
                elif node.order >= oldest and (needed is None or _leads(node, needed)):
                    assert isinstance(node, GradNode)
                    results = _call(node, arrived)
                    if not retain:
                        node.release()
            if node.order < oldest:
                continue
            i = 0
            for e in node.edges:
                if e is not None:
                    target: Point = e[0]
                    if results is not None:
                        came = results[i]
                        if came is not None:
                            _deliver(target, e[1], came)
                    target.waiting -= 1
                    if target.waiting == 0:
                        _insert(ready, target)
                i += 1
    except BaseException:
        _forget(unique, oldest, this.number)
        raise
    finally:
        state.enabled = previous
        running.pop()
        while this.covered:
            point, visit, waiting, kept = this.covered.pop()
            point.visit, point.waiting, point.arrived = visit, waiting, kept
        _lock.release()
    return captured


def _insert(ready: list[Point], node: Point) -> None:
    """Keep nodes in the order of their making, the latest at the end."""
    ready.append(node)
    order = node.order
    i = len(ready) - 1
    while i > 0 and ready[i - 1].order > order:
        ready[i] = ready[i - 1]
        i -= 1
    ready[i] = node


def _forget(roots: list[Point], start: i64, number: i64) -> None:
    """A pass failed: nothing that arrived is kept."""
    stack: list[Point] = list(roots)
    while stack:
        node = stack.pop()
        if node.visit != number:
            continue
        node.visit, node.arrived = 0, None
        if node.order >= start:
            for e in node.edges:
                if e is not None:
                    stack.append(e[0])


def _deliver(node: Point, nr: int, g: Tensor) -> None:
    slots = node.arrived
    if slots is None:
        slots = node.arrived = [None] * len(node.out_meta) if isinstance(node, GradNode) else [None]
    have = slots[nr]
    slots[nr] = g if have is None else arithmetic.add(have, g)


def _before(node: Any, arrived: list[Tensor | None]) -> list[Tensor | None]:
    """Hooks before a call, and tensors that retain their gradient."""
    if node.pre_hooks:
        for hook in list(node.pre_hooks.values()):
            new = hook(arrived)
            if new is not None:
                arrived = list(new) if isinstance(new, (tuple, list)) else [new]
    if node.retained:
        for nr, keep in node.retained.items():
            if arrived[nr] is not None:
                keep(arrived[nr])
    return arrived


def _call(node: GradNode, arrived: list[Tensor | None]) -> list[Tensor | None]:
    if arithmetic.failed is None:
        return _derivatives(node, arrived)
    try:
        return _derivatives(node, arrived)
    except Exception:
        arithmetic.failed(node)
        raise


def _derivatives(node: GradNode, arrived: list[Tensor | None]) -> list[Tensor | None]:
    found = node.apply(arrived)
    if not isinstance(found, tuple):
        found = (found,)
    results: list[Tensor | None] = [None] * len(node.edges)
    for i, g in enumerate(found):
        if g is not None and i < len(results) and node.edges[i] is not None:
            results[i] = _fit(g, node.shapes[i], node.dtypes[i])
    if arithmetic.check is not None:
        arithmetic.check(node, results)
    if node.hooks:
        for hook in list(node.hooks.values()):
            new = hook(tuple(results), tuple(arrived))
            if new is not None:
                results = list(new) if isinstance(new, tuple) else [new]
    return results


def _accumulate(node: AccumulateGrad, g: Tensor | None, create: bool) -> None:
    if g is None:
        return
    t = node.variable
    g = _fit(g, t._shape, t._dtype)
    arriving, have = stored(g), t._grad  # sparse gradients are stored in other tensors
    if have is None:
        kept = g if create or arriving is None else wrap(node_of(g))  # a storage of its own: two leaves may be given the same gradient
    elif create or arriving is None or type(have) is not type(g):
        kept = arithmetic.add(have, g)
    else:
        forsake(node_of(have))
        kept = have.add_(g)  # type: ignore[attr-defined]
    t._grad = kept
    made = stored(kept)
    if made is not None and made.buffer is None:
        accompany(made)
    if node.hooks:
        for hook in list(node.hooks.values()):
            hook((), (g,))
    if node.post_hooks:
        for hook in list(node.post_hooks.values()):
            hook(t)


def _root_grads(tensors: Sequence[Tensor], grads: Sequence[Tensor | None] | None) -> list[Tensor]:
    out = []
    if grads is not None and len(grads) != len(tensors):
        raise RuntimeError(f"got {len(tensors)} tensors and {len(grads)} gradients")
    for i, t in enumerate(tensors):
        g = None if grads is None else grads[i]
        if g is None:
            if t.numel() != 1:
                raise RuntimeError("grad can be implicitly created only for scalar outputs")
            if not t._dtype.is_floating_point:
                raise RuntimeError(f"grad can be implicitly created only for real scalar outputs but got {t._dtype!r}")
            g = wrap(expand(const(1.0, t._dtype), t._shape))
        elif g._shape != t._shape:
            raise RuntimeError(f"Mismatch in shape: grad_output[{i}] has a shape of {g.shape} and output[{i}] has a shape of {t.shape}.")
        out.append(g)
    return out


def backward(tensors: Sequence[Tensor], grads: Sequence[Tensor | None] | None, retain: bool | None, create: bool,
             inputs: Sequence[Tensor] | None) -> None:
    """Accumulate the gradients of `tensors` into the leaves (or into `inputs`). See `torsh.autograd.backward`."""
    for i, t in enumerate(tensors):
        if not requires_grad(t):
            raise RuntimeError(f"element {i} of tensors does not require grad and does not have a grad_fn")
    starts = _root_grads(tensors, grads)
    roots = [edge(t) for t in tensors]
    for t in tensors:
        if t._storage.node.buffer is None:
            accompany(t._storage.node)
    keep = create if retain is None else retain
    if inputs is None:
        run(roots, starts, keep, create)
        return
    ends = [edge(t) for t in inputs]
    captured = run(roots, starts, keep, create, ends, accumulate=True)
    for t, (node, nr) in zip(inputs, ends, strict=True):
        if not isinstance(node, AccumulateGrad) and (id(node), nr) in captured:
            g = captured[id(node), nr]
            t._grad = g if t._grad is None else arithmetic.add(t._grad, g)


def grad(outputs: Sequence[Tensor], inputs: Sequence[Tensor], grads: Sequence[Tensor | None] | None, retain: bool | None, create: bool,
         allow_unused: bool) -> list[Tensor | None]:
    """The gradients of `outputs` with respect to `inputs`. See `torsh.autograd.grad`."""
    for i, t in enumerate(outputs):
        if not requires_grad(t):
            raise RuntimeError(f"element {i} of tensors does not require grad and does not have a grad_fn")
    for t in inputs:
        if not requires_grad(t):
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    ends = [edge(t) for t in inputs]
    starts = _root_grads(outputs, grads)
    captured = run([edge(t) for t in outputs], starts, create if retain is None else retain, create, ends, accumulate=False)
    out: list[Tensor | None] = []
    for i, (t, (node, nr)) in enumerate(zip(inputs, ends, strict=True)):
        g = captured.get((id(node), nr))
        if g is None and not allow_unused:
            raise RuntimeError(f"The differentiated Tensor at index {i} appears to not have been used in the graph. Set allow_unused=True if "
                               "this is the desired behavior.")
        out.append(None if g is None else _fit(g, t._shape, t._dtype))
    return out


__all__ = ["accumulator", "backward", "grad", "run"]

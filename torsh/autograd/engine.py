"""The backward engine: visits recorded calls from the last to the first and adds up what arrives at each."""
from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import Any, Final

from torsh.autograd.grad_mode import state
from torsh.autograd.graph import AccumulateGrad, GradNode, accumulator, edge, requires_grad
from torsh.compiler.realize import accompany, forsake
from torsh.tensor.tensor import Tensor, node_of, stored, wrap


class _Hooks:
    """What the layer above provides: tensor arithmetic, and anomaly mode's check."""
    add: Callable[[Tensor, Tensor], Tensor]
    sum_to: Callable[[Tensor, tuple[int, ...]], Tensor]
    cast: Callable[[Tensor, Any], Tensor]
    check: Callable[[Any, Sequence[Any]], None] | None = None
    failed: Callable[[Any], None] | None = None


arithmetic: Final = _Hooks()
#: Of each backward that is running, innermost last: the nodes it can reach (by id), and those it must visit (None: all).
running: Final[list[tuple[dict[int, int], set[int] | None]]] = []


def _fit(grad: Tensor, shape: tuple[int, ...], dtype: Any) -> Tensor:
    """Undo broadcasting and promotion: a gradient has its input's shape and type."""
    if grad._shape != shape:
        grad = arithmetic.sum_to(grad, shape)
    if grad._dtype is not dtype:
        grad = arithmetic.cast(grad, dtype)
    return grad


def _reachable(roots: Sequence[Any], start: int) -> dict[int, int]:
    """How many edges lead to each node below the roots, by id. Nodes older than `start` are ends."""
    waiting: dict[int, int] = {id(r): 0 for r in roots}
    stack = list({id(r): r for r in roots}.values())
    while stack:
        node = stack.pop()
        if node.order < start:
            continue
        for e in node.edges:
            if e is not None:
                key = id(e[0])
                if key in waiting:
                    waiting[key] += 1
                else:
                    waiting[key] = 1
                    stack.append(e[0])
    return waiting


def _needed(roots: Sequence[Any], targets: set[int], start: int) -> set[int]:
    """Ids of nodes from which a target can be reached (targets included). Nodes older than `start` are ends."""
    needed: set[int] = set()
    done: set[int] = set()
    stack: list[tuple[Any, bool]] = [(r, False) for r in roots]
    while stack:
        node, ready = stack.pop()
        if ready:
            if id(node) in targets or (node.order >= start and any(e is not None and id(e[0]) in needed for e in node.edges)):
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
    unique = list({id(n): n for n, _ in roots}.values())
    waiting = _reachable(unique, start)
    wanted = None if inputs is None else {(id(n), i) for n, i in inputs}
    needed = None if inputs is None else _needed(unique, {id(n) for n, _ in inputs}, start)
    captured: dict[tuple[int, int], Tensor] = {}
    buffers: dict[int, list[Tensor | None]] = {}
    previous = state.enabled
    state.enabled = create
    running.append((waiting, needed))
    try:
        for (node, nr), g in zip(roots, grads, strict=True):
            _deliver(buffers, node, nr, g)
        ready = [(-n.order, id(n), n) for n in unique if waiting[id(n)] == 0]
        heapq.heapify(ready)
        while ready:
            _, key, node = heapq.heappop(ready)
            arrived = buffers.pop(key, None)
            if needed is not None and key not in needed:
                arrived = None
            results: Any = None
            if arrived is not None:
                arrived = _before(node, arrived)
                if wanted is not None:
                    for nr, came in enumerate(arrived):
                        if came is not None and (key, nr) in wanted:
                            captured[key, nr] = came
                if isinstance(node, AccumulateGrad):
                    if inputs is None or (accumulate and (key, 0) in wanted):  # type: ignore[operator]
                        _accumulate(node, arrived[0], create)
                elif node.order >= start and (needed is None or any(e is not None and id(e[0]) in needed for e in node.edges)):
                    results = _call(node, arrived)
                    if not retain:
                        node.release()
            if node.order < start:
                continue
            for i, e in enumerate(node.edges):
                if e is None:
                    continue
                target, nr = e
                if results is not None and results[i] is not None:
                    _deliver(buffers, target, nr, results[i])
                waiting[id(target)] -= 1
                if waiting[id(target)] == 0:
                    heapq.heappush(ready, (-target.order, id(target), target))
    finally:
        state.enabled = previous
        running.pop()
    return captured


def _deliver(buffers: dict[int, list[Tensor | None]], node: Any, nr: int, g: Tensor) -> None:
    slot = buffers.get(id(node))
    if slot is None:
        slot = buffers[id(node)] = [None] * (len(node.out_meta) if isinstance(node, GradNode) else 1)
    have = slot[nr]
    slot[nr] = g if have is None else arithmetic.add(have, g)


def _before(node: Any, arrived: list[Tensor | None]) -> list[Tensor | None]:
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


def _root_grads(tensors: Sequence[Tensor], grads: Sequence[Tensor | None] | None, ones_like: Callable[[Tensor], Tensor]) -> list[Tensor]:
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
            g = ones_like(t)
        elif g._shape != t._shape:
            raise RuntimeError(f"Mismatch in shape: grad_output[{i}] has a shape of {g.shape} and output[{i}] has a shape of {t.shape}.")
        out.append(g)
    return out


def backward(tensors: Sequence[Tensor], grads: Sequence[Tensor | None] | None, retain: bool | None, create: bool,
             inputs: Sequence[Tensor] | None, ones_like: Callable[[Tensor], Tensor]) -> None:
    """Accumulate the gradients of `tensors` into the leaves (or into `inputs`). See `torsh.autograd.backward`."""
    for i, t in enumerate(tensors):
        if not requires_grad(t):
            raise RuntimeError(f"element {i} of tensors does not require grad and does not have a grad_fn")
    starts = _root_grads(tensors, grads, ones_like)
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
         allow_unused: bool, ones_like: Callable[[Tensor], Tensor]) -> list[Tensor | None]:
    """The gradients of `outputs` with respect to `inputs`. See `torsh.autograd.grad`."""
    for i, t in enumerate(outputs):
        if not requires_grad(t):
            raise RuntimeError(f"element {i} of tensors does not require grad and does not have a grad_fn")
    for t in inputs:
        if not requires_grad(t):
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    ends = [edge(t) for t in inputs]
    starts = _root_grads(outputs, grads, ones_like)
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

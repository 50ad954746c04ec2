"""What every optimizer's step runs through: one operation on many tensors at once, and its results written to them."""
from __future__ import annotations

from typing import Any

from torsh.core.dtypes import dtype
from torsh.graph.node import ITEM, Node, Op, several
from torsh.graph.primitives import CONST, VIEW, const
from torsh.tensor.tensor import Tensor, node_of, put

State = dict[Tensor, Any]


def counted_together(params: list[Tensor], state: State, name: str, node: Node) -> bool:
    """Whether the parameters are of one dtype and the number `name` of each one's state has the value of `node`."""
    dt = params[0]._dtype
    for p in params:
        held: dict[str, Any] = state[p]
        if p._dtype is not dt or not held:
            return False
        count: Tensor = held[name]
        if count._storage.node is not node:
            return False
    return True


def update(op: Op, params: list[Tensor], state: State, names: tuple[str, ...], numbers: tuple[float, ...], arg: Any, dt: dtype,
           written: list[Tensor]) -> None:
    """`op` of all parameters, all gradients, all states of each name, and numbers (which are run-time arguments of the plan, so that
    another value does not mean another plan) gives for each parameter its new states and itself. `written` gains what was written."""
    sources: list[Node] = []
    for p in params:
        sources.append(node_of(p))
    for p in params:
        grad = p._grad
        assert grad is not None
        sources.append(node_of(grad))
    held: list[dict[str, Any]] = [state[p] for p in params] if names else []  # (looking a state up begins it)
    for name in names:
        for states in held:
            t: Tensor = states[name]
            sources.append(node_of(t))
    for value in numbers:
        sources.append(const(value, dt))
    targets: list[Tensor] = []
    for i, p in enumerate(params):
        for name in names:
            targets.append(held[i][name])
        targets.append(p)
    made = several(op, tuple(sources), arg, tuple([(t._shape, t._dtype) for t in targets]))
    for i, t in enumerate(targets):
        put(t, made[i])
    written.extend(targets)


def count(params: list[Tensor], state: State, name: str, node: Node) -> None:
    """Give the number `name` of every parameter's state a value."""
    for p in params:
        held: dict[str, Any] = state[p]
        put(held[name], node)


def undo(written: list[Tensor], state: State) -> None:
    """What `update` wrote is as it was, and steps are not counted: its values could not be computed. The old values are found in the graph,
    since anybody else who held them would keep their memory from being updated in place."""
    for t in written:
        node = t._storage.node
        if node.op is ITEM and node.buffer is None:
            whole = node.srcs[0]
            assert whole.outputs is not None
            n: int = whole.arg[0]
            each = len(whole.outputs) // n
            i, kind = divmod(int(node.arg), each)
            t._storage.node = whole.srcs[i if kind == each - 1 else (2 + kind) * n + i]
            held = state.get(t)
            if kind == each - 1 and held and "step" in held:
                steps: Tensor = held["step"]
                value = steps._storage.node
                value = value.srcs[0] if value.op is VIEW else value
                if value.op is CONST:
                    put(steps, const(value.arg - 1, steps._dtype))


__all__ = ["counted_together", "count", "undo", "update"]

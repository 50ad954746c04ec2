"""What optimizers share whose update treats each element by itself: one coarse operation updates all parameters of a kind together."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from torsh.core.dtypes import dtype, float64, get_default_dtype
from torsh.graph.node import Node, Op
from torsh.graph.primitives import const
from torsh.ops.dispatch import coarse
from torsh.optim.optimizer import Optimizer
from torsh.optim.update import count, update
from torsh.tensor.storage import leaf
from torsh.tensor.tensor import Tensor, wrap

# (parameter, gradient, states, numbers, flags) -> (new parameter, new states)
Rule = Callable[[Any, Any, list[Any], list[Any], tuple[Any, ...]], tuple[Any, list[Any]]]


def update_op(name: str, rule: Rule) -> Op:
    """An operation that applies `rule` to n parameters with k states each: parameters, gradients, first states, ..., then the numbers."""
    def function(*operands: Any) -> list[Any]:
        *tensors, n, k, flags = operands
        numbers = tensors[(2 + k) * n:]
        out: list[Any] = []
        for i in range(n):
            p, states = rule(tensors[i], tensors[n + i], [tensors[(2 + j) * n + i] for j in range(k)], numbers, flags)
            out += [*states, p]
        return out
    return coarse(name, function, None)


def averaged(old: Any, new: Any, share: Any, rest: Any, near: bool) -> Any:
    """old moved towards new by `share` (rest = 1 - share), in the order of PyTorch's lerp."""
    return old + share * (new - old) if near else new - (new - old) * rest


def scalar_type() -> Any:
    """The NumPy type of numbers in the state, as PyTorch's: float64 if that is the default, else float32."""
    return np.float64 if get_default_dtype() is float64 else np.float32


def scalar(value: float) -> Tensor:
    """A number of the state: a 0-dimensional tensor."""
    return wrap(leaf(np.array(value, scalar_type())))


class ElementwiseOptimizer(Optimizer):
    """A subclass has the operation `_op` and says how state begins (`_begin`) and which numbers and flags a step has (`_numbers`).

    `_counters` are the parts of the state that are numbers, the count of steps first. Parameters with the same ones are updated together.
    """
    _op: Op
    _counters: tuple[str, ...] = ("step",)

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        self._written: dict[str, tuple[Node, float]] = {}  # the node last written as a counter, and its value
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        for p in self.param_groups[-1]["params"]:
            if p._dtype.is_complex:
                raise TypeError(f"{type(self).__name__}: complex parameters are not supported, got {p._dtype}; optimize view_as_real of them")

    def _begin(self, group: dict[str, Any], p: Tensor) -> dict[str, Tensor]:
        """The state of a parameter before its first step: counters first."""
        raise NotImplementedError

    def _numbers(self, group: dict[str, Any], counters: tuple[float, ...], dt: dtype) -> tuple[tuple[float, ...], tuple[float, ...], tuple[Any, ...]]:
        """(new counters, numbers, flags) of a step. Numbers are run-time arguments; another flag is another plan."""
        raise NotImplementedError

    def _states(self, group: dict[str, Any], p: Tensor) -> tuple[str, ...]:
        """The names of a parameter's states that are no counters, in the order of the rule."""
        return tuple([k for k in self.state[p] if k not in self._counters])

    def _counter(self, name: str, t: Tensor) -> float:
        known = self._written.get(name)
        return known[1] if known is not None and known[0] is t._storage.node else float(t.item())  # type: ignore[attr-defined]

    def _update(self, group: dict[str, Any], params: list[Tensor], written: list[Tensor]) -> None:
        batches: dict[tuple[Any, ...], list[Tensor]] = {}
        for p in params:
            state = self.state[p]
            if not state:
                state.update(self._begin(group, p))
            counters = tuple([self._counter(name, state[name]) for name in self._counters])
            batches.setdefault((p._dtype, self._states(group, p), counters), []).append(p)
        for (dt, names, counters), batch in batches.items():
            self._update_batch(group, batch, dt, names, counters, written)

    def _update_batch(self, group: dict[str, Any], params: list[Tensor], dt: Any, names: Sequence[str], counters: tuple[float, ...],
                      written: list[Tensor]) -> None:
        counted, numbers, flags = self._numbers(group, counters, dt)
        update(self._op, params, self.state, tuple(names), numbers, (len(params), len(names), flags), dt, written)
        for name, value in zip(self._counters, counted, strict=True):
            kind = self.state[params[0]][name]._dtype
            rounded = float(np.array(value, kind.np))
            node = const(rounded, kind)
            self._written[name] = (node, rounded)
            count(params, self.state, name, node)


__all__ = ["ElementwiseOptimizer", "averaged", "scalar", "scalar_type", "update_op"]

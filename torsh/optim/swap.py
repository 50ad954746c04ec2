"""Other parameters and state in an optimizer for a while."""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torsh.optim.optimizer import Optimizer
from torsh.tensor.tensor import Tensor


@contextmanager
def swap_in_optimizer_params_and_state(optimizer: Optimizer, swapin_parameters: dict[str, Tensor], swapin_optim_state: dict[str, Any]) -> Iterator[None]:
    """While the context lasts, the optimizer has these parameters, in its own order, and the state and options of `swapin_optim_state`,
    which is of the form of `state_dict()`. Its own come back at the end.

    Tensors of the state that a step changes in place are those of `swapin_optim_state`. Raises ValueError for another number of
    parameters or groups, RuntimeError for an optimizer without state.

    >>> import torsh
    >>> own, other = (torsh.ones(1, requires_grad=True) for _ in range(2))
    >>> opt = torsh.optim.SGD([own], lr=0.5, momentum=0.9)
    >>> own.grad = other.grad = torsh.ones(1)
    >>> opt.step()
    >>> with swap_in_optimizer_params_and_state(opt, {"p": other}, opt.state_dict()):
    ...     opt.step()
    >>> own.item(), round(other.item(), 4)
    (0.5, 0.05)
    """
    groups, saved = optimizer.param_groups, swapin_optim_state["param_groups"]
    if not optimizer.state:
        raise RuntimeError("swap_in_optimizer_params_and_state: the optimizer has no state yet; step() it once first")
    if len(groups) != len(saved):
        raise ValueError(f"swap_in_optimizer_params_and_state: the optimizer has {len(groups)} parameter groups, the state {len(saved)}")
    given = list(swapin_parameters.values())
    counts = [len(g["params"]) for g in groups]
    if sum(counts) != len(given) or counts != [len(g["params"]) for g in saved]:
        raise ValueError(f"swap_in_optimizer_params_and_state: the optimizer has {counts} parameters in its groups, the state "
                         f"{[len(g['params']) for g in saved]}, and {len(given)} were given")
    own_state, own_groups = optimizer.state, [dict(g) for g in groups]
    state: defaultdict[Tensor, Any] = defaultdict(dict)
    try:
        left = iter(given)
        for group, new in zip(groups, saved, strict=True):
            params = [next(left) for _ in new["params"]]
            group.update({k: v for k, v in new.items() if k != "params"}, params=params)
            for p, key in zip(params, new["params"], strict=True):
                state[p] = dict(swapin_optim_state["state"].get(key, {}))
        optimizer.state = state
        yield
    finally:
        for group, old in zip(groups, own_groups, strict=True):
            group.clear()
            group.update(old)
        optimizer.state = own_state


__all__ = ["swap_in_optimizer_params_and_state"]

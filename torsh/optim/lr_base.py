"""The base of schedules, and how they read and set what optimizers hold for each group."""
from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from torsh.optim.optimizer import Optimizer
from torsh.tensor.tensor import Tensor

Rates = list[Any]
_EPOCH = ("The epoch parameter in `scheduler.step()` was not necessary and is being deprecated where possible. Please use `scheduler.step()` to step "
          "the scheduler. During the deprecation, if epoch is different from None, the closed form is used instead of the new chainable form, "
          "where available.")


def set_value(group: dict[str, Any], key: str, value: Any) -> None:
    """Set an option of a group; a tensor stays the same tensor."""
    if isinstance(group[key], Tensor):
        group[key].fill_(float(value))
    else:
        group[key] = value


def values_of(optimizer: Optimizer, key: str) -> list[Any]:
    """An option of all groups; tensors copied."""
    return [g[key].clone() if isinstance(g[key], Tensor) else g[key] for g in optimizer.param_groups]


def for_groups(name: str, optimizer: Optimizer, value: Any) -> list[Any]:
    """One value for each group. Raises ValueError for a list of another length."""
    if not isinstance(value, (list, tuple)):
        value = [value] * len(optimizer.param_groups)
    elif len(value) != len(optimizer.param_groups):
        raise ValueError(f"{name} must have the same length as optimizer.param_groups. {name} has {len(value)} values, param_groups has "
                         f"{len(optimizer.param_groups)}.")
    return [v.clone() if isinstance(v, Tensor) else v for v in value]


def check_optimizer(optimizer: Any) -> None:
    """Raises TypeError unless an Optimizer."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")


def warn_epoch(epoch: Any) -> None:
    """Warn that the number of the step need not be given."""
    if epoch is not None:
        warnings.warn(_EPOCH, UserWarning, stacklevel=3)


class LRScheduler:
    """Base of schedules: subclasses define `get_lr`. `last_epoch` is the number of the last step when training goes on, else -1.

    Raises TypeError for no Optimizer, KeyError when going on without `initial_lr` in the groups.
    """
    _get_lr_called_within_step: bool = False
    _is_initial: bool = False
    _get_closed_form_lr: Any = None

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        check_optimizer(optimizer)
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                lr = group["lr"]
                group.setdefault("initial_lr", lr.clone() if isinstance(lr, Tensor) else lr)
            elif "initial_lr" not in group:
                raise KeyError(f"param 'initial_lr' is not specified in param_groups[{i}] when resuming scheduler with last_epoch >= 0.\n"
                               "This typically happens when:\n1. You're trying to resume training from a checkpoint but haven't properly loaded the "
                               "optimizer state\n2. You're using last_epoch >= 0 for a fresh training run (not recommended)")
        self.base_lrs: Rates = values_of(optimizer, "initial_lr")
        self.last_epoch = last_epoch
        self._initial_step()

    def _initial_step(self) -> None:
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def state_dict(self) -> dict[str, Any]:
        """All attributes but the optimizer."""
        return {k: v for k, v in self.__dict__.items() if k != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the attributes of a `state_dict`."""
        self.__dict__.update(state_dict)

    def get_last_lr(self) -> Rates:
        """The rates that were set last."""
        return self._last_lr

    def get_lr(self) -> Rates:
        """The rates of this step. Subclasses define it."""
        raise NotImplementedError

    def step(self, epoch: int | None = None) -> None:
        """Go to the next step and set its rates; call it after the optimizer's `step`."""
        if self._step_count == 1 and not self.optimizer._opt_called:
            warnings.warn("Detected call of `lr_scheduler.step()` before `optimizer.step()`. In PyTorch 1.1.0 and later, you should call them in the "
                          "opposite order: `optimizer.step()` before `lr_scheduler.step()`.  Failure to do this will result in PyTorch skipping the "
                          "first value of the learning rate schedule.", UserWarning, stacklevel=2)
        self._step_count += 1
        warn_epoch(epoch)
        self._update_lr(epoch)

    def _update_lr(self, epoch: int | None = None) -> None:
        closed = epoch is not None and self._get_closed_form_lr is not None
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        self._set(self._get_closed_form_lr if closed else self.get_lr)

    def _set(self, rates: Callable[[], Rates]) -> None:
        self._get_lr_called_within_step = True
        try:
            values = rates()
        finally:
            self._get_lr_called_within_step = False
        for group, lr in zip(self.optimizer.param_groups, values, strict=True):
            set_value(group, "lr", lr)
        self._last_lr = values_of(self.optimizer, "lr")

    def _check_call(self) -> None:
        if not self._get_lr_called_within_step:
            warnings.warn("To get the last learning rate computed by the scheduler, please use `get_last_lr()`.", UserWarning, stacklevel=3)

    def _now(self) -> Rates:
        return values_of(self.optimizer, "lr")

    def _times(self, factor: float) -> Rates:
        return [group["lr"] * factor for group in self.optimizer.param_groups]


__all__ = ["LRScheduler", "Rates", "check_optimizer", "for_groups", "set_value", "values_of", "warn_epoch"]

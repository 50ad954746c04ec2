"""Averages of models over training: stochastic weight averaging (Izmailov et al., 2018) and exponential moving averages."""
from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any

from torsh.autograd.grad_mode import no_grad
from torsh.core.dtypes import int64
from torsh.nn.module import Module
from torsh.nn.modules.norm import _BatchNorm
from torsh.optim.lr_base import LRScheduler, Rates, for_groups
from torsh.optim.optimizer import Optimizer
from torsh.tensor.creation import zeros

Tensors = Sequence[Any]


def _check_decay(decay: float) -> None:
    if not 0.0 <= decay <= 1.0:
        raise ValueError(f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.")


def get_ema_multi_avg_fn(decay: float = 0.999) -> Callable[[Tensors, Tensors, Any], None]:
    """Updates lists of averages in place: average * decay + value * (1 - decay). Raises ValueError for a decay outside [0, 1]."""
    _check_decay(decay)

    def update(averages: Tensors, values: Tensors, _: Any) -> None:
        with no_grad():
            for average, value in zip(averages, values, strict=True):
                if average._dtype.category >= 2:
                    average.lerp_(value, 1 - decay)
                else:
                    average.copy_((average * decay + value * (1 - decay)).to(average._dtype))
    return update


def get_swa_multi_avg_fn() -> Callable[[Tensors, Tensors, Any], None]:
    """Updates lists of averages of equal weights in place; the last argument is how many were averaged."""
    def update(averages: Tensors, values: Tensors, count: Any) -> None:
        share = 1 / (float(count) + 1)
        with no_grad():
            for average, value in zip(averages, values, strict=True):
                if average._dtype.category >= 2:
                    average.lerp_(value, share)
                else:
                    average.copy_((average + (value - average) * share).to(average._dtype))
    return update


def get_ema_avg_fn(decay: float = 0.999) -> Callable[[Any, Any, Any], Any]:
    """The exponential average of one tensor: average * decay + value * (1 - decay). Raises ValueError for a decay outside [0, 1]."""
    _check_decay(decay)

    def update(average: Any, value: Any, _: Any) -> Any:
        with no_grad():
            return decay * average + (1 - decay) * value
    return update


def get_swa_avg_fn() -> Callable[[Any, Any, Any], Any]:
    """The average of equal weights of one tensor."""
    def update(average: Any, value: Any, count: Any) -> Any:
        with no_grad():
            return average + (value - average) / (count + 1)
    return update


class AveragedModel(Module):
    """A copy of a model whose parameters (with `use_buffers` also its buffers) are averages: `update_parameters(model)` adds the present ones.

    The average is one of equal weights, or `avg_fn(average, value, count)` of each tensor, or `multi_avg_fn(averages, values, count)` of all, in
    place. Raises AssertionError for both functions.
    """

    def __init__(self, model: Module, device: Any = None, avg_fn: Callable[[Any, Any, Any], Any] | None = None,
                 multi_avg_fn: Callable[[Tensors, Tensors, Any], None] | None = None, use_buffers: bool = False) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = copy.deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", zeros((), dtype=int64, device=device))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def _tensors(self, model: Module) -> list[Any]:
        return [t.detach() for t in (chain(model.parameters(), model.buffers()) if self.use_buffers else model.parameters())]  # type: ignore[attr-defined]

    def update_parameters(self, model: Module) -> None:
        """Add the present parameters of `model` to the average; buffers that are not averaged are copied."""
        averages, values = self._tensors(self.module), self._tensors(model)
        count = self.n_averaged
        with no_grad():
            if int(count) == 0:
                for average, value in zip(averages, values, strict=True):
                    average.copy_(value)
            elif self.avg_fn is not None:
                for average, value in zip(averages, values, strict=True):
                    average.copy_(self.avg_fn(average, value, count))
            else:
                kinds: dict[Any, tuple[list[Any], list[Any]]] = {}
                for average, value in zip(averages, values, strict=True):
                    for kept, t in zip(kinds.setdefault(average._dtype, ([], [])), (average, value), strict=True):
                        kept.append(t)
                for kind in kinds.values():
                    (self.multi_avg_fn or get_swa_multi_avg_fn())(*kind, count)
            if not self.use_buffers:
                for average, value in zip(self.module.buffers(), model.buffers(), strict=True):
                    average.detach().copy_(value.detach())  # type: ignore[attr-defined]
            count.add_(1)


def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Compute the running statistics of all batch normalizations anew, as plain means over the batches of `loader` (or their first elements)."""
    layers: dict[Any, Any] = {}
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.reset_running_stats()
            layers[module] = module.momentum
    if not layers:
        return
    training = model.training
    model.train()
    with no_grad():
        for layer in layers:
            layer.momentum = None
        for batch in loader:
            given = batch[0] if isinstance(batch, (list, tuple)) else batch
            model(given if device is None else given.to(device))
    for layer, momentum in layers.items():
        layer.momentum = momentum
    model.train(training)


class SWALR(LRScheduler):
    """The rate from what it was to `swa_lr` in `anneal_epochs` steps, along half a cosine or a line, then constant.

    Raises ValueError for an unknown strategy and a negative number of steps.
    """

    def __init__(self, optimizer: Optimizer, swa_lr: Any, anneal_epochs: int = 10, anneal_strategy: str = "cos", last_epoch: int = -1) -> None:
        for value, group in zip(for_groups("swa_lr", optimizer, swa_lr), optimizer.param_groups, strict=True):
            group["swa_lr"] = value
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        self._anneal_strategy = anneal_strategy
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _share(self, step: int) -> float:
        """How far the rate has come at a step, from 0 to 1."""
        t = max(0, min(1, step / max(1, self.anneal_epochs)))
        return (1 - math.cos(math.pi * t)) / 2 if self._anneal_strategy == "cos" else t

    def get_lr(self) -> Rates:
        self._check_call()
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, here = self._share(step - 1), self._share(step)
        rates = []
        for group in self.optimizer.param_groups:
            goal = group["swa_lr"]
            start = goal if before == 1 else (group["lr"] - before * goal) / (1 - before)
            rates.append(goal * here + start * (1 - here))
        return rates


__all__ = ["SWALR", "AveragedModel", "get_ema_avg_fn", "get_ema_multi_avg_fn", "get_swa_avg_fn", "get_swa_multi_avg_fn", "update_bn"]

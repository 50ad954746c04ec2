"""Adagrad, Adadelta and RMSprop: steps scaled by what gradients have been."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torsh.core.dtypes import dtype
from torsh.optim.elementwise import ElementwiseOptimizer, averaged, scalar, update_op
from torsh.optim.optimizer import check_options, number, refuse_differentiable
from torsh.tensor.creation import full_like, zeros_like
from torsh.tensor.tensor import Tensor


def _directed(p: Any, g: Any, wd: Any, decay: bool, maximize: bool) -> Any:
    """The gradient to go against: negated to maximize, with the decay of the parameter added."""
    g = -g if maximize else g
    return g + wd * p if decay else g


def _adagrad(p: Any, g: Any, states: list[Any], numbers: list[Any], flags: tuple[Any, ...]) -> tuple[Any, list[Any]]:
    (total,), (lr, wd, eps) = states, numbers
    g = _directed(p, g, wd, *flags)
    total = total + g * g
    return p - lr * g / (total.sqrt() + eps), [total]


class Adagrad(ElementwiseOptimizer):
    """p -= lr / (1 + (step - 1) lr_decay) * g / (sqrt(sum of g^2) + eps). Duchi et al., 2011. Raises ValueError for options out of range."""
    _op = update_op("adagrad", _adagrad)

    def __init__(self, params: Iterable[Any], lr: float | Tensor = 1e-2, lr_decay: float = 0, weight_decay: float = 0,
                 initial_accumulator_value: float = 0, eps: float = 1e-10, foreach: bool | None = None, *, maximize: bool = False,
                 differentiable: bool = False, fused: bool | None = None) -> None:
        check_options(lr=lr, lr_decay=lr_decay, weight_decay=weight_decay, initial_accumulator_value=initial_accumulator_value, eps=eps)
        refuse_differentiable("Adagrad", differentiable)
        super().__init__(params, {"lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
                                  "initial_accumulator_value": initial_accumulator_value, "foreach": foreach, "maximize": maximize,
                                  "differentiable": differentiable, "fused": fused})
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p].update(self._begin(group, p))

    def share_memory(self) -> None:
        """Nothing: state lies in this process, which is where it is used."""

    def _begin(self, group: dict[str, Any], p: Tensor) -> dict[str, Tensor]:
        return {"step": scalar(0.0), "sum": full_like(p, self.defaults["initial_accumulator_value"])}

    def _update_sparse(self, group: dict[str, Any], params: list[Tensor], written: list[Tensor]) -> None:
        if number(group, "weight_decay"):
            raise RuntimeError("weight_decay option is not compatible with sparse gradients")
        for p in params:
            state, g = self.state[p], p._grad.coalesce()  # type: ignore[union-attr]
            state["step"].add_(1)
            rate = number(group, "lr") / (1 + (float(state["step"].item()) - 1) * group["lr_decay"])
            state["sum"].add_(g * g)
            change = g._values() / (state["sum"].sparse_mask(g)._values().sqrt() + group["eps"])
            p.add_(g._with(change), alpha=rate if group["maximize"] else -rate)  # type: ignore[attr-defined]
            written += (p, state["sum"])

    def _numbers(self, group: dict[str, Any], counters: tuple[float, ...], dt: dtype) -> tuple[Any, Any, Any]:
        step, wd = counters[0] + 1, number(group, "weight_decay")
        return (step,), (number(group, "lr") / (1 + (step - 1) * group["lr_decay"]), wd, group["eps"]), (wd != 0, bool(group["maximize"]))


def _adadelta(p: Any, g: Any, states: list[Any], numbers: list[Any], flags: tuple[Any, ...]) -> tuple[Any, list[Any]]:
    (squares, deltas), (lr, wd, rho, rest, eps) = states, numbers
    g = _directed(p, g, wd, *flags)
    squares = squares * rho + rest * g * g
    delta = (deltas + eps).sqrt() / (squares + eps).sqrt() * g
    return p - lr * delta, [squares, deltas * rho + rest * delta * delta]


class Adadelta(ElementwiseOptimizer):
    """p -= lr * delta with delta = sqrt(mean of delta^2 + eps) / sqrt(mean of g^2 + eps) * g, running means with weight rho. Zeiler, 2012.

    Raises ValueError for options out of range.
    """
    _op = update_op("adadelta", _adadelta)

    def __init__(self, params: Iterable[Any], lr: float | Tensor = 1.0, rho: float = 0.9, eps: float = 1e-6, weight_decay: float = 0,
                 foreach: bool | None = None, *, capturable: bool = False, maximize: bool = False, differentiable: bool = False) -> None:
        check_options(lr=lr)
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        check_options(eps=eps, weight_decay=weight_decay)
        refuse_differentiable("Adadelta", differentiable)
        super().__init__(params, {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize, "capturable": capturable,
                                  "foreach": foreach, "differentiable": differentiable})

    def _begin(self, group: dict[str, Any], p: Tensor) -> dict[str, Tensor]:
        return {"step": scalar(0.0), "square_avg": zeros_like(p), "acc_delta": zeros_like(p)}

    def _numbers(self, group: dict[str, Any], counters: tuple[float, ...], dt: dtype) -> tuple[Any, Any, Any]:
        wd, rho = number(group, "weight_decay"), group["rho"]
        return (counters[0] + 1,), (number(group, "lr"), wd, rho, 1 - rho, group["eps"]), (wd != 0, bool(group["maximize"]))


def _rmsprop(p: Any, g: Any, states: list[Any], numbers: list[Any], flags: tuple[Any, ...]) -> tuple[Any, list[Any]]:
    lr, wd, alpha, rest, eps, mu = numbers
    decay, maximize, momentum, centered, near = flags
    g = _directed(p, g, wd, decay, maximize)
    squares = states[0] * alpha + rest * g * g
    made, root = [squares], squares
    if centered:
        mean = averaged(states[-1], g, rest, alpha, near)
        root = squares - mean * mean
    step = g / (root.sqrt() + eps)
    if momentum:
        step = states[1] * mu + step
        made.append(step)
    return p - lr * step, [*made, mean] if centered else made


class RMSprop(ElementwiseOptimizer):
    """p -= lr * g / (sqrt(mean of g^2) + eps), the mean running with weight alpha, its square subtracted if `centered`; with momentum.

    Tieleman & Hinton, 2012; Graves, 2013. Raises ValueError for options out of range.
    """
    _op = update_op("rmsprop", _rmsprop)

    def __init__(self, params: Iterable[Any], lr: float | Tensor = 1e-2, alpha: float = 0.99, eps: float = 1e-8, weight_decay: float = 0,
                 momentum: float = 0, centered: bool = False, capturable: bool = False, foreach: bool | None = None, maximize: bool = False,
                 differentiable: bool = False) -> None:
        check_options(lr=lr, eps=eps, momentum=momentum, weight_decay=weight_decay, alpha=alpha)
        refuse_differentiable("RMSprop", differentiable)
        super().__init__(params, {"lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered, "weight_decay": weight_decay,
                                  "capturable": capturable, "foreach": foreach, "maximize": maximize, "differentiable": differentiable})

    def _begin(self, group: dict[str, Any], p: Tensor) -> dict[str, Tensor]:
        state = {"step": scalar(0.0), "square_avg": zeros_like(p)}
        if group["momentum"] > 0:
            state["momentum_buffer"] = zeros_like(p)
        if group["centered"]:
            state["grad_avg"] = zeros_like(p)
        return state

    def _states(self, group: dict[str, Any], p: Tensor) -> tuple[str, ...]:
        return ("square_avg", *(["momentum_buffer"] if group["momentum"] > 0 else []), *(["grad_avg"] if group["centered"] else []))

    def _numbers(self, group: dict[str, Any], counters: tuple[float, ...], dt: dtype) -> tuple[Any, Any, Any]:
        wd, alpha, mu = number(group, "weight_decay"), group["alpha"], number(group, "momentum")
        flags = (wd != 0, bool(group["maximize"]), mu > 0, bool(group["centered"]), 1 - alpha < 0.5)
        return (counters[0] + 1,), (number(group, "lr"), wd, alpha, 1 - alpha, group["eps"], mu), flags


__all__ = ["Adadelta", "Adagrad", "RMSprop"]

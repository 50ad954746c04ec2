"""Relatives of Adam: Adamax, NAdam, RAdam."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torsh.core.dtypes import dtype
from torsh.optim.adagrad import _directed
from torsh.optim.elementwise import ElementwiseOptimizer, averaged, scalar, scalar_type, update_op
from torsh.optim.optimizer import check_betas, check_options, number, refuse_differentiable
from torsh.tensor.creation import zeros_like
from torsh.tensor.tensor import Tensor


def _adamax(p: Any, g: Any, states: list[Any], numbers: list[Any], flags: tuple[Any, ...]) -> tuple[Any, list[Any]]:
    (m, largest), (lr, wd, beta1, rest1, beta2, eps) = states, numbers
    *how, near = flags
    g = _directed(p, g, wd, *how)
    m = averaged(m, g, rest1, beta1, near)
    largest = (largest * beta2).maximum(g.abs() + eps)
    return p - lr * m / largest, [m, largest]


class Adamax(ElementwiseOptimizer):
    """Adam with the largest gradient (decaying by beta2) instead of the root of the mean square. Kingma & Ba, 2015.

    Raises ValueError for options out of range.
    """
    _op = update_op("adamax", _adamax)

    def __init__(self, params: Iterable[Any], lr: float | Tensor = 2e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0, foreach: bool | None = None, *, maximize: bool = False, differentiable: bool = False,
                 capturable: bool = False) -> None:
        check_options(lr=lr, eps=eps)
        check_betas(betas)
        check_options(weight_decay=weight_decay)
        refuse_differentiable("Adamax", differentiable)
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "foreach": foreach, "maximize": maximize,
                                  "differentiable": differentiable, "capturable": capturable})

    def _begin(self, group: dict[str, Any], p: Tensor) -> dict[str, Tensor]:
        return {"step": scalar(0.0), "exp_avg": zeros_like(p), "exp_inf": zeros_like(p)}

    def _numbers(self, group: dict[str, Any], counters: tuple[float, ...], dt: dtype) -> tuple[Any, Any, Any]:
        step, wd = counters[0] + 1, number(group, "weight_decay")
        beta1, beta2 = (float(b) for b in group["betas"])
        numbers = (number(group, "lr") / (1 - beta1 ** step), wd, beta1, 1 - beta1, beta2, group["eps"])
        return (step,), numbers, (wd != 0, bool(group["maximize"]), 1 - beta1 < 0.5)


def _decayed(p: Any, g: Any, wd: Any, decay: bool, maximize: bool, decoupled: bool) -> tuple[Any, Any]:
    """(parameter, gradient) after weight decay, of the one or the other."""
    if decay and decoupled:
        return p * wd, -g if maximize else g
    return p, _directed(p, g, wd, decay, maximize)


def _nadam(p: Any, g: Any, states: list[Any], numbers: list[Any], flags: tuple[Any, ...]) -> tuple[Any, list[Any]]:
    (m, v), (wd, beta1, rest1, beta2, rest2, eps, correction2, of_g, of_m) = states, numbers
    *how, near = flags
    p, g = _decayed(p, g, wd, *how)
    m, v = averaged(m, g, rest1, beta1, near), v * beta2 + rest2 * g * g
    root = (v / correction2).sqrt() + eps
    return p - of_g * g / root - of_m * m / root, [m, v]


class NAdam(ElementwiseOptimizer):
    """Adam with Nesterov momentum, whose weight grows with the steps. Dozat, 2016. Raises ValueError for options out of range."""
    _op = update_op("nadam", _nadam)
    _counters = ("step", "mu_product")

    def __init__(self, params: Iterable[Any], lr: float | Tensor = 2e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0, momentum_decay: float = 4e-3, decoupled_weight_decay: bool = False, *, foreach: bool | None = None,
                 maximize: bool = False, capturable: bool = False, differentiable: bool = False) -> None:
        check_options(lr=lr, eps=eps)
        check_betas(betas)
        check_options(weight_decay=weight_decay, momentum_decay=momentum_decay)
        refuse_differentiable("NAdam", differentiable)
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "momentum_decay": momentum_decay,
                                  "decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize, "foreach": foreach,
                                  "capturable": capturable, "differentiable": differentiable})

    def _begin(self, group: dict[str, Any], p: Tensor) -> dict[str, Tensor]:
        return {"step": scalar(0.0), "mu_product": scalar(1.0), "exp_avg": zeros_like(p), "exp_avg_sq": zeros_like(p)}

    def _numbers(self, group: dict[str, Any], counters: tuple[float, ...], dt: dtype) -> tuple[Any, Any, Any]:
        step, wd, lr = counters[0] + 1, number(group, "weight_decay"), number(group, "lr")
        beta1, beta2 = (float(b) for b in group["betas"])
        mu, after = (beta1 * (1.0 - 0.5 * 0.96 ** (s * group["momentum_decay"])) for s in (step, step + 1))
        real, decoupled = scalar_type(), bool(group["decoupled_weight_decay"])
        product = float(real(counters[1]) * real(mu))  # rounded as it is kept
        numbers = (1 - lr * wd if decoupled else wd, beta1, 1 - beta1, beta2, 1 - beta2, group["eps"], 1 - beta2 ** step,
                   lr * (1.0 - mu) / (1.0 - product), lr * after / (1.0 - product * after))
        return (step, product), numbers, (wd != 0, bool(group["maximize"]), decoupled, 1 - beta1 < 0.5)


def _radam(p: Any, g: Any, states: list[Any], numbers: list[Any], flags: tuple[Any, ...]) -> tuple[Any, list[Any]]:
    (m, v), (lr, wd, beta1, rest1, beta2, rest2, eps, correction1, root_correction2, rectified) = states, numbers
    *how, near, adaptive = flags
    p, g = _decayed(p, g, wd, *how)
    m, v = averaged(m, g, rest1, beta1, near), v * beta2 + rest2 * g * g
    step = m / correction1 * lr
    return p - (step * (root_correction2 / (v.sqrt() + eps)) * rectified if adaptive else step), [m, v]


class RAdam(ElementwiseOptimizer):
    """Adam whose steps adapt only once the variance of the adaptive rate is finite, and are rectified by it. Liu et al., 2020.

    Raises ValueError for options out of range.
    """
    _op = update_op("radam", _radam)

    def __init__(self, params: Iterable[Any], lr: float | Tensor = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0, decoupled_weight_decay: bool = False, *, foreach: bool | None = None, maximize: bool = False,
                 capturable: bool = False, differentiable: bool = False) -> None:
        check_options(lr=lr, eps=eps)
        check_betas(betas)
        check_options(weight_decay=weight_decay)
        refuse_differentiable("RAdam", differentiable)
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize, "foreach": foreach,
                                  "capturable": capturable, "decoupled_weight_decay": decoupled_weight_decay, "differentiable": differentiable})

    def _begin(self, group: dict[str, Any], p: Tensor) -> dict[str, Tensor]:
        return {"step": scalar(0.0), "exp_avg": zeros_like(p), "exp_avg_sq": zeros_like(p)}

    def _numbers(self, group: dict[str, Any], counters: tuple[float, ...], dt: dtype) -> tuple[Any, Any, Any]:
        step, wd, lr = counters[0] + 1, number(group, "weight_decay"), number(group, "lr")
        beta1, beta2 = (float(b) for b in group["betas"])
        correction2, decoupled = 1 - beta2 ** step, bool(group["decoupled_weight_decay"])
        longest = 2 / (1 - beta2) - 1
        length = longest - 2 * step * beta2 ** step / correction2
        rectified = ((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)) ** 0.5 if length > 5 else 0.0
        numbers = (lr, 1 - lr * wd if decoupled else wd, beta1, 1 - beta1, beta2, 1 - beta2, group["eps"], 1 - beta1 ** step, correction2 ** 0.5,
                   rectified)
        return (step,), numbers, (wd != 0, bool(group["maximize"]), decoupled, 1 - beta1 < 0.5, length > 5)


__all__ = ["Adamax", "NAdam", "RAdam"]

"""ASGD (averaged stochastic gradient descent) and Rprop (resilient propagation)."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torsh.core.dtypes import dtype
from torsh.ops.pointwise import where
from torsh.optim.adagrad import _directed
from torsh.optim.elementwise import ElementwiseOptimizer, scalar, update_op
from torsh.optim.optimizer import check_options, number, refuse_differentiable
from torsh.tensor.creation import full_like, zeros_like
from torsh.tensor.tensor import Tensor


def _asgd(p: Any, g: Any, states: list[Any], numbers: list[Any], flags: tuple[Any, ...]) -> tuple[Any, list[Any]]:
    (mean,), (wd, kept, eta, mu) = states, numbers
    *how, averaging = flags
    g = _directed(p, g, wd, *how)
    p = p * kept - eta * g
    return p, [mean + (p - mean) * mu if averaging else p]


class ASGD(ElementwiseOptimizer):
    """Gradient descent with rates lr / (1 + lambd lr step)^alpha; `ax` is the mean of the parameters from step t0 on. Polyak & Juditsky, 1992.

    Raises ValueError for options out of range.
    """
    _op = update_op("asgd", _asgd)
    _counters = ("step", "eta", "mu")

    def __init__(self, params: Iterable[Any], lr: float | Tensor = 1e-2, lambd: float = 1e-4, alpha: float = 0.75, t0: float = 1e6,
                 weight_decay: float = 0, foreach: bool | None = None, maximize: bool = False, differentiable: bool = False,
                 capturable: bool = False) -> None:
        check_options(lr=lr, weight_decay=weight_decay)
        refuse_differentiable("ASGD", differentiable)
        super().__init__(params, {"lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay, "foreach": foreach,
                                  "maximize": maximize, "differentiable": differentiable, "capturable": capturable})

    def _begin(self, group: dict[str, Any], p: Tensor) -> dict[str, Tensor]:
        return {"step": scalar(0.0), "eta": scalar(number(group, "lr")), "mu": scalar(1.0), "ax": zeros_like(p)}

    def _numbers(self, group: dict[str, Any], counters: tuple[float, ...], dt: dtype) -> tuple[Any, Any, Any]:
        done, eta, mu = counters
        step, wd, lr, lambd = done + 1, number(group, "weight_decay"), number(group, "lr"), group["lambd"]
        after = (step, lr / (1 + lambd * lr * step) ** group["alpha"], 1 / max(1, step - group["t0"]))
        return after, (wd, 1 - lambd * eta, eta, mu), (wd != 0, bool(group["maximize"]), mu != 1)


def _rprop(p: Any, g: Any, states: list[Any], numbers: list[Any], flags: tuple[Any, ...]) -> tuple[Any, list[Any]]:
    (before, size), (shrink, grow, least, most) = states, numbers
    g = -g if flags[0] else g
    agreement = g * before
    size = (size * where(agreement > 0, grow, where(agreement < 0, shrink, 1.0))).maximum(least).minimum(most)
    g = where(agreement < 0, 0.0, g)  # having gone too far: no step this time
    return p - g.sign() * size, [g, size]


class Rprop(ElementwiseOptimizer):
    """Steps in the direction of the sign of the gradient, longer by etas[1] while it stays and shorter by etas[0] when it changes.

    Riedmiller & Braun, 1993. Raises ValueError for options out of range.
    """
    _op = update_op("rprop", _rprop)

    def __init__(self, params: Iterable[Any], lr: float | Tensor = 1e-2, etas: tuple[float, float] = (0.5, 1.2),
                 step_sizes: tuple[float, float] = (1e-6, 50), *, capturable: bool = False, foreach: bool | None = None, maximize: bool = False,
                 differentiable: bool = False) -> None:
        check_options(lr=lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        refuse_differentiable("Rprop", differentiable)
        super().__init__(params, {"lr": lr, "etas": etas, "step_sizes": step_sizes, "foreach": foreach, "maximize": maximize,
                                  "differentiable": differentiable, "capturable": capturable})

    def _begin(self, group: dict[str, Any], p: Tensor) -> dict[str, Tensor]:
        return {"step": scalar(0.0), "prev": zeros_like(p), "step_size": full_like(p, number(group, "lr"))}

    def _numbers(self, group: dict[str, Any], counters: tuple[float, ...], dt: dtype) -> tuple[Any, Any, Any]:
        return (counters[0] + 1,), (*group["etas"], *group["step_sizes"]), (bool(group["maximize"]),)


__all__ = ["ASGD", "Rprop"]

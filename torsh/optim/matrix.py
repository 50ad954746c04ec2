"""Optimizers that see a parameter as a matrix: Adafactor and Muon."""
from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import ml_dtypes

from torsh.core.dtypes import bfloat16, dtype
from torsh.ops.matmul import matmul
from torsh.optim.elementwise import ElementwiseOptimizer, averaged, scalar, update_op
from torsh.optim.optimizer import number
from torsh.tensor.creation import zeros_like
from torsh.tensor.tensor import Tensor


def _root_mean_square(t: Any) -> Any:
    return (t * t).sum().sqrt() / math.sqrt(t.numel())


def _mean_square(g: Any, d: int) -> Any:
    return (g * g).sum(d, True) / g._shape[d]


def _adafactor(p: Any, g: Any, states: list[Any], numbers: list[Any], flags: tuple[Any, ...]) -> tuple[Any, list[Any]]:
    rest2, beta2, kept, rate, eps1, eps1_squared, eps2, d = numbers
    decay, maximize, near = flags
    g = -g if maximize else g
    rate = eps2.maximum(_root_mean_square(p)) * rate
    p = p * kept if decay else p
    if len(states) == 2:
        rows, columns = (averaged(s, _mean_square(g, axis), rest2, beta2, near) for s, axis in zip(states, (-1, -2), strict=True))
        variance, made = matmul(rows, columns) / rows.mean(-2, True).maximum(eps1), [rows, columns]
    else:
        variance = averaged(states[0], g * g, rest2, beta2, near)
        made = [variance]
    step = variance.maximum(eps1_squared).rsqrt() * g
    return p - step * (rate / (_root_mean_square(step) / d).clamp(min=1.0)), made


class Adafactor(ElementwiseOptimizer):
    """Steps scaled by an estimate of the mean square gradient that is kept as row and column means only; rates relative to the parameter's size.

    Shazeer & Stern, 2018. Raises ValueError for options out of range, RuntimeError for complex parameters.
    """
    _op = update_op("adafactor", _adafactor)

    def __init__(self, params: Iterable[Any], lr: float | Tensor = 1e-2, beta2_decay: float = -0.8, eps: tuple[float | None, float] = (None, 1e-3),
                 d: float = 1.0, weight_decay: float = 0.0, *, foreach: bool | None = None, maximize: bool = False) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        for name, value, fine in (("Learning rate should be >= 0", lr, lr >= 0), ("beta2_decay should be <= 0", beta2_decay, beta2_decay <= 0),
                                  ("epsilon1 should be >= 0", eps[0], eps[0] is None or eps[0] >= 0), ("epsilon2 should be >= 0", eps[1], eps[1] >= 0),
                                  ("Clipping threshold d should be >= 1", d, d >= 1), ("weight_decay should be >= 0", weight_decay, weight_decay >= 0)):
            if not fine:
                raise ValueError(f"{name} but is: {value}")
        super().__init__(params, {"lr": lr, "beta2_decay": beta2_decay, "eps": eps, "d": d, "weight_decay": weight_decay, "foreach": foreach,
                                  "maximize": maximize})

    def _begin(self, group: dict[str, Any], p: Tensor) -> dict[str, Tensor]:
        shape = p._shape
        if len(shape) < 2:
            return {"step": scalar(0.0), "variance": zeros_like(p)}
        zeros = p.new_zeros  # type: ignore[attr-defined]
        return {"step": scalar(0.0), "row_var": zeros((*shape[:-1], 1)), "col_var": zeros((*shape[:-2], 1, shape[-1]))}

    def _numbers(self, group: dict[str, Any], counters: tuple[float, ...], dt: dtype) -> tuple[Any, Any, Any]:
        step, lr, wd = counters[0] + 1, number(group, "lr"), number(group, "weight_decay")
        rest2 = step ** group["beta2_decay"]
        eps1, eps2 = group["eps"]
        if eps1 is None:
            eps1 = float(ml_dtypes.finfo(dt.np).eps)
        numbers = (rest2, 1 - rest2, 1 - lr * wd, min(lr, 1 / step ** 0.5), eps1, eps1 * eps1, eps2, group["d"])
        return (step,), numbers, (wd != 0, bool(group["maximize"]), rest2 < 0.5)


def _orthogonalized(g: Any, coefficients: tuple[float, float, float], steps: int, eps: float) -> Any:
    """About the nearest matrix with orthonormal rows (or columns), by a quintic Newton-Schulz iteration in bfloat16."""
    a, b, c = coefficients
    tall = g._shape[0] > g._shape[1]
    x = g.to(bfloat16)
    x = x.t() if tall else x
    x = x / (x * x).sum().sqrt().clamp(min=eps)
    for _ in range(steps):
        gram = matmul(x, x.t())
        x = x.addmm(gram.addmm(gram, gram, beta=b, alpha=c), x, beta=a)
    return x.t() if tall else x


def _muon(p: Any, g: Any, states: list[Any], numbers: list[Any], flags: tuple[Any, ...]) -> tuple[Any, list[Any]]:
    (buffer,), (lr, kept, mu, rest) = states, numbers
    nesterov, coefficients, eps, steps, adjust, near, near_mu = flags
    buffer = averaged(buffer, g, rest, mu, near)
    direction = averaged(g, buffer, mu, rest, near_mu) if nesterov else buffer
    rows, columns = p._shape
    ratio = 0.2 * math.sqrt(max(rows, columns)) if adjust == "match_rms_adamw" else math.sqrt(max(1, rows / columns))
    return p * kept - (lr * ratio) * _orthogonalized(direction, coefficients, steps, eps).to(p._dtype), [buffer]


class Muon(ElementwiseOptimizer):
    """Momentum whose matrix is made orthogonal before each step; for the matrices of hidden layers. Jordan et al., 2024.

    Raises ValueError for options out of range and parameters that are no matrices.
    """
    _op = update_op("muon", _muon)
    _counters = ()

    def __init__(self, params: Iterable[Any], lr: float = 1e-3, weight_decay: float = 0.1, momentum: float = 0.95, nesterov: bool = True,
                 ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315), eps: float = 1e-7, ns_steps: int = 5,
                 adjust_lr_fn: str | None = None) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        for name, value in (("Learning rate", lr), ("momentum", momentum), ("weight decay", weight_decay)):
            if not value >= 0:
                raise ValueError(f"{name} should be >= 0 but is: {value}")
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov,
                                  "ns_coefficients": ns_coefficients, "eps": eps, "ns_steps": ns_steps, "adjust_lr_fn": adjust_lr_fn})
        for group in self.param_groups:
            for p in group["params"]:
                if len(p._shape) != 2:
                    raise ValueError(f"Muon only supports 2D parameters whereas we found a parameter with size: {p.shape}")

    def _begin(self, group: dict[str, Any], p: Tensor) -> dict[str, Tensor]:
        return {"momentum_buffer": zeros_like(p)}

    def _numbers(self, group: dict[str, Any], counters: tuple[float, ...], dt: dtype) -> tuple[Any, Any, Any]:
        lr, mu, steps = number(group, "lr"), number(group, "momentum"), group["ns_steps"]
        if steps >= 100:
            raise ValueError("Number of steps must be less than 100 for computational efficiency")
        if len(group["ns_coefficients"]) != 3:
            raise ValueError("Coefficients must be a tuple of exactly 3 values")
        flags = (bool(group["nesterov"]), tuple(float(c) for c in group["ns_coefficients"]), float(group["eps"]), steps, group["adjust_lr_fn"],
                 1 - mu < 0.5, mu < 0.5)
        return (), (lr, 1 - lr * group["weight_decay"], mu, 1 - mu), flags


__all__ = ["Adafactor", "Muon"]

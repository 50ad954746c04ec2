"""Adam (Kingma & Ba, 2015; AMSGrad: Reddi et al., 2018) and AdamW (Loshchilov & Hutter, 2019)."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torsh.core.dtypes import float32
from torsh.graph.node import Node
from torsh.graph.primitives import const
from torsh.ops.dispatch import coarse
from torsh.optim.optimizer import Optimizer, check_betas, check_options, number, refuse_differentiable
from torsh.optim.update import count, counted_together, update
from torsh.tensor.creation import zeros, zeros_like
from torsh.tensor.tensor import Tensor


def _adam(*operands: Any) -> list[Any]:
    """p, m, v (and the largest v) of each parameter, in the order and grouping of PyTorch's arithmetic (but for a number's reciprocal: divisions take as long
    as all else together)."""
    *tensors, n, decay, decoupled, amsgrad, maximize, near = operands
    wd, beta1, rest1, beta2, rest2, eps, step_size, per_root = tensors[-8:]
    out = []
    for i in range(n):
        p, g, m, v = (tensors[k * n + i] for k in range(4))
        if maximize:
            g = -g
        if decay:
            if decoupled:
                p = p * wd
            else:
                g = g + wd * p
        m = m + rest1 * (g - m) if near else g - (g - m) * beta1
        v = v * beta2 + rest2 * g * g
        out += [m, v]
        if amsgrad:
            v = tensors[4 * n + i].maximum(v)
            out.append(v)
        out.append(p - step_size * m / (v.sqrt() * per_root + eps))
    return out


_ADAM = coarse("adam", _adam, None)


class Adam(Optimizer):
    """p -= lr * m / (sqrt(v) + eps), with m and v the bias-corrected running means of the gradient and of its square.

    With `weight_decay` the gradient gets weight_decay * p added (`decoupled_weight_decay`: p shrinks by lr * weight_decay
    instead). Raises ValueError for options out of range, TypeError for complex parameters.
    """

    def __init__(self, params: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0, amsgrad: bool = False, *, foreach: bool | None = None, maximize: bool = False,
                 capturable: bool = False, differentiable: bool = False, fused: bool | None = None,
                 decoupled_weight_decay: bool = False) -> None:
        check_options(lr=lr, eps=eps)
        check_betas(betas)
        check_options(weight_decay=weight_decay)
        refuse_differentiable(type(self).__name__, differentiable)
        self._counter: tuple[Node | None, float] = (None, 0.0)  # the node last written as `step`, and its value
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad, "maximize": maximize,
                                  "foreach": foreach, "capturable": capturable, "differentiable": differentiable, "fused": fused,
                                  "decoupled_weight_decay": decoupled_weight_decay})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        for p in self.param_groups[-1]["params"]:
            if p._dtype.is_complex:
                raise TypeError(f"{type(self).__name__}: complex parameters are not supported, got {p._dtype}; optimize view_as_real of them")

    def _update(self, group: dict[str, Any], params: list[Tensor], written: list[Tensor]) -> None:
        known, value = self._counter
        if known is not None and counted_together(params, self.state, "step", known):
            self._update_batch(group, params, params[0]._dtype, value + 1, written)
            return
        batches: dict[tuple[Any, float], list[Tensor]] = {}
        for p in params:
            state = self.state[p]
            if not state:
                state["step"] = zeros((), dtype=float32)
                state["exp_avg"], state["exp_avg_sq"] = zeros_like(p), zeros_like(p)
                if group["amsgrad"]:
                    state["max_exp_avg_sq"] = zeros_like(p)
            node = state["step"]._storage.node
            batches.setdefault((p._dtype, value if node is known else float(state["step"].item())), []).append(p)
        for (dt, step), batch in batches.items():
            self._update_batch(group, batch, dt, step + 1, written)

    def _update_batch(self, group: dict[str, Any], params: list[Tensor], dt: Any, step: float, written: list[Tensor]) -> None:
        counter = self._counter[0]
        if counter is None or self._counter[1] != step:
            counter = const(step, float32)
            self._counter = counter, step
        beta1, beta2 = group["betas"]
        beta1, beta2 = float(beta1), float(beta2)
        lr, wd, amsgrad, decoupled = number(group, "lr"), number(group, "weight_decay"), bool(group["amsgrad"]), bool(group["decoupled_weight_decay"])
        update(_ADAM, params, self.state, ("exp_avg", "exp_avg_sq", "max_exp_avg_sq") if amsgrad else ("exp_avg", "exp_avg_sq"),
               (1 - lr * wd if decoupled else wd, beta1, 1 - beta1, beta2, 1 - beta2, group["eps"], lr / (1 - beta1 ** step), (1 - beta2 ** step) ** -0.5),
               (len(params), wd != 0, decoupled, amsgrad, bool(group["maximize"]), 1 - beta1 < 0.5), dt, written)
        count(params, self.state, "step", counter)


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameters directly, by lr * weight_decay, instead of entering the gradient."""

    def __init__(self, params: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 1e-2, amsgrad: bool = False, *, maximize: bool = False, foreach: bool | None = None,
                 capturable: bool = False, differentiable: bool = False, fused: bool | None = None) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, foreach=foreach, maximize=maximize, capturable=capturable,
                         differentiable=differentiable, fused=fused, decoupled_weight_decay=True)

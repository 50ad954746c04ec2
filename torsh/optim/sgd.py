"""Stochastic gradient descent with momentum."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torsh.ops.dispatch import coarse
from torsh.optim.optimizer import Optimizer, check_options, number, refuse_differentiable
from torsh.optim.update import update
from torsh.tensor.creation import zeros_like
from torsh.tensor.tensor import Tensor


def _sgd(*operands: Any) -> list[Any]:
    *tensors, n, decay, momentum, first, nesterov, maximize = operands
    lr, wd, mu, damped = tensors[-4:]
    out = []
    for i in range(n):
        p, g = tensors[i], tensors[n + i]
        if maximize:
            g = -g
        if decay:
            g = g + wd * p
        if momentum:
            buf = g if first else mu * tensors[2 * n + i] + damped * g
            out.append(buf)
            g = g + mu * buf if nesterov else buf
        out.append(p - lr * g)
    return out


_SGD = coarse("sgd", _sgd, None)


class SGD(Optimizer):
    """p -= lr * v with v = momentum * v + (1 - dampening) * (grad + weight_decay * p); Sutskever et al., 2013, for Nesterov's form.

    Raises ValueError for options out of range, and for Nesterov momentum without momentum or with dampening.

    >>> import torsh
    >>> p = torsh.tensor([1.0], requires_grad=True)
    >>> (p * 2).sum().backward()
    >>> SGD([p], lr=0.1).step()
    >>> p
    tensor([0.8000], requires_grad=True)
    """

    def __init__(self, params: Iterable[Any], lr: float = 1e-3, momentum: float = 0, dampening: float = 0, weight_decay: float = 0,
                 nesterov: bool = False, *, maximize: bool = False, foreach: bool | None = None, differentiable: bool = False,
                 fused: bool | None = None) -> None:
        check_options(lr=lr, momentum=momentum, weight_decay=weight_decay)
        refuse_differentiable("SGD", differentiable)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        super().__init__(params, {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay, "nesterov": nesterov,
                                  "maximize": maximize, "foreach": foreach, "differentiable": differentiable, "fused": fused})

    def _update(self, group: dict[str, Any], params: list[Tensor], written: list[Tensor]) -> None:
        momentum = number(group, "momentum")
        batches: dict[tuple[Any, bool], list[Tensor]] = {}
        for p in params:
            first = momentum != 0 and self.state[p].get("momentum_buffer") is None
            batches.setdefault((p._dtype, first), []).append(p)
        for (dt, first), batch in batches.items():
            self._update_batch(group, batch, dt, first, written)

    def _update_sparse(self, group: dict[str, Any], params: list[Tensor], written: list[Tensor]) -> None:
        if number(group, "momentum") or number(group, "weight_decay"):
            raise RuntimeError("SGD: sparse gradients go with neither momentum nor weight_decay")
        for p in params:
            p.add_(p._grad, alpha=number(group, "lr") if group["maximize"] else -number(group, "lr"))  # type: ignore[attr-defined]
            written.append(p)

    def _update_batch(self, group: dict[str, Any], params: list[Tensor], dt: Any, first: bool, written: list[Tensor]) -> None:
        mu, wd = number(group, "momentum"), number(group, "weight_decay")
        numbers = number(group, "lr"), wd, mu, 1 - group["dampening"]
        arg = (len(params), wd != 0, mu != 0, first, bool(group["nesterov"]), bool(group["maximize"]))
        if first:  # what a buffer holds before its first step is not read
            for p in params:
                self.state[p]["momentum_buffer"] = zeros_like(p)
        update(_SGD, params, self.state, ("momentum_buffer",) if mu else (), numbers, arg, dt, written)

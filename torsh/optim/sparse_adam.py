"""Adam for sparse gradients: only the rows that the gradient names, and their moments, change."""
from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from torsh.optim.optimizer import Optimizer, check_options, number
from torsh.tensor.creation import zeros_like
from torsh.tensor.tensor import Tensor


class SparseAdam(Optimizer):
    """Adam whose running means move only where a gradient names an element: p -= lr * m / (sqrt(v) + eps), both corrected for their start.

    Raises ValueError for options out of range and sparse parameters, RuntimeError for gradients that are not sparse.

    >>> import torsh
    >>> table = torsh.nn.Embedding(3, 1, sparse=True)
    >>> opt = SparseAdam(table.parameters(), lr=0.1)
    >>> before = table.weight.detach().clone()
    >>> table(torsh.tensor([1])).sum().backward()
    >>> opt.step()
    >>> (table.weight.detach() - before).squeeze(1)
    tensor([ 0.0000, -0.1000,  0.0000])
    """

    def __init__(self, params: Iterable[Any], lr: float | Tensor = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 maximize: bool = False) -> None:
        check_options(lr=lr)
        if not lr > 0.0:
            raise ValueError(f"Invalid learning rate: {lr}")
        if not eps > 0.0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        for i in (0, 1):
            if not 0.0 <= betas[i] < 1.0:
                raise ValueError(f"Invalid beta parameter at index {i}: {betas[i]}")
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize})
        sparse = [[i, j] for i, g in enumerate(self.param_groups) for j, p in enumerate(g["params"]) if p.is_sparse]
        wrong = [[i, j] for i, g in enumerate(self.param_groups) for j, p in enumerate(g["params"]) if p._dtype.is_complex]
        if wrong:
            raise ValueError(f"Complex params at indices {wrong}: SparseAdam does not support complex parameters")
        if sparse:
            raise ValueError(f"Sparse params at indices {sparse}: SparseAdam requires dense parameter tensors")

    def _update(self, group: dict[str, Any], params: list[Tensor], written: list[Tensor]) -> None:
        raise RuntimeError("SparseAdam does not support dense gradients, please consider Adam instead")

    def _update_sparse(self, group: dict[str, Any], params: list[Tensor], written: list[Tensor]) -> None:
        (one, two), lr = group["betas"], number(group, "lr")
        for p in params:
            state = self.state[p]
            if not state:
                state.update(step=0, exp_avg=zeros_like(p), exp_avg_sq=zeros_like(p))
            state["step"] += 1
            given: Any = p._grad
            g = given.coalesce()
            if not g._nnz():
                continue
            values = -g._values() if group["maximize"] else g._values()
            old = state["exp_avg"].sparse_mask(g)._values()
            old_square = state["exp_avg_sq"].sparse_mask(g)._values()
            move = (values - old) * (1 - one)
            move_square = (values * values - old_square) * (1 - two)
            rate = lr * math.sqrt(1 - two ** state["step"]) / (1 - one ** state["step"])
            change = (old + move) / ((old_square + move_square).sqrt() + group["eps"])
            state["exp_avg"].add_(g._with(move))
            state["exp_avg_sq"].add_(g._with(move_square))
            p.add_(g._with(change * -rate))  # type: ignore[attr-defined]
            written += (state["exp_avg"], state["exp_avg_sq"], p)


__all__ = ["SparseAdam"]

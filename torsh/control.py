"""Control flow as functions."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torsh.tensor.tensor import Tensor


def cond(pred: Any, true_fn: Callable[..., Any], false_fn: Callable[..., Any], operands: Any = ()) -> Any:
    """`true_fn(*operands)` if `pred` holds, else `false_fn(*operands)`: `pred` is a number or a tensor of one element, whose value is asked for.

    Raises RuntimeError for another `pred`.

    >>> import torsh
    >>> cond(torsh.tensor(True), lambda x: x + 1, lambda x: x - 1, (torsh.ones(2),))
    tensor([2., 2.])
    """
    if not isinstance(pred, (bool, int, float, Tensor)):
        raise RuntimeError(f"Expected pred to be bool or tensor, but got {pred}.")
    if isinstance(pred, Tensor) and pred.numel() != 1:
        raise RuntimeError(f"Expected pred to be bool or single-element tensor, but got {pred}.")
    return (true_fn if pred else false_fn)(*operands)


__all__ = ["cond"]

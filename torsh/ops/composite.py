"""Help for operations built of others: half types in float32, backward rules as one node, names of reductions."""
from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from torsh.autograd import engine
from torsh.autograd.grad_mode import state
from torsh.core.dtypes import bfloat16, float16, float32
from torsh.graph.primitives import reshape
from torsh.ops.dispatch import apply, cast_tensor, coarse, rule, wide
from torsh.ops.gather import iota as positions
from torsh.tensor.tensor import Tensor, stored, wrap

F = TypeVar("F", bound=Callable[..., Any])
HALF = (float16, bfloat16)


def in_float32(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`function` of tensors (and plain arguments) computed in float32 when its first argument is half precision, and rounded once."""
    def call(first: Tensor, *args: Any) -> Tensor:
        dt = first._dtype
        if dt is not float16 and dt is not bfloat16:
            return function(first, *args)
        found = function(cast_tensor(first, float32), *[wide(a) if isinstance(a, Tensor) else a for a in args])
        return cast_tensor(found, dt)
    return call


def rounded_once(function: F) -> F:
    """A function of tensors and other arguments that, when all its floating tensors are of one half type, computes in float32 and
    rounds once what it returns: a tensor, or a tuple of tensors and Nones.

    Its gradients are then computed in float32 and rounded once, too.
    """
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        types = {a._dtype for a in (*args, *kwargs.values()) if isinstance(a, Tensor) and a._dtype.category >= 2}
        if len(types) != 1 or (dt := types.pop()) not in HALF:
            return function(*args, **kwargs)
        widened = {id(a): wide(a) for a in (*args, *kwargs.values()) if isinstance(a, Tensor)}  # the same tensor stays the same one
        found = function(*[widened.get(id(a), a) for a in args], **{k: widened.get(id(a), a) for k, a in kwargs.items()})
        return tuple([None if t is None else cast_tensor(t, dt) for t in found]) if isinstance(found, tuple) else cast_tensor(found, dt)
    return call  # type: ignore[return-value]


_TOTAL = coarse("total", lambda *terms: functools.reduce(engine.arithmetic.add, terms), None)


def total(terms: list[Tensor]) -> Tensor:
    """The sum of the gradients that came for one tensor, one after the other; one node where nobody will differentiate it."""
    first = terms[0]
    if state.enabled or len(terms) == 2:
        return functools.reduce(engine.arithmetic.add, terms)
    for t in terms:
        if stored(t) is None or t._strides is not None or t._shape != first._shape or t._dtype is not first._dtype:
            return functools.reduce(engine.arithmetic.add, terms)
    return apply(_TOTAL, tuple(terms), (), first._shape, first._dtype)


def along(t: Tensor, d: int, ndim: int) -> Tensor:
    """A vector as dimension `d` of `ndim` dimensions, the others of size 1."""
    return wrap(reshape(t._node(), (1,) * d + t._shape + (1,) * (ndim - d - 1)))


def check_reduction(reduction: str) -> None:
    """Raises ValueError unless the reduction is "none", "mean" or "sum"."""
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")


def reduction_of(reduction: str, size_average: bool | None, reduce: bool | None) -> str:
    """The reduction, given PyTorch's older flags too. Raises ValueError for an unknown one."""
    if size_average is not None or reduce is not None:
        averaged, reduced = size_average is not False, reduce is not False
        reduction = "none" if not reduced else "mean" if averaged else "sum"
        warnings.warn(f"size_average and reduce args will be deprecated, please use reduction='{reduction}' instead.", stacklevel=3)
        return reduction
    check_reduction(reduction)
    return reduction


__all__ = ["HALF", "along", "check_reduction", "in_float32", "positions", "reduction_of", "rounded_once", "rule", "total", "wide"]

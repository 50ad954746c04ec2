"""softmax, log_softmax and softmin: each one coarse operation, so that it becomes one kernel over rows."""
from __future__ import annotations

from typing import Any

from torsh.autograd.graph import GradNode
from torsh.core.dtypes import dtype
from torsh.core.shapes import wrap_dim
from torsh.graph.node import Op
from torsh.ops.composite import in_float32, rule
from torsh.ops.dispatch import apply, cast_tensor, coarse, public
from torsh.ops.pointwise import exp, log, neg
from torsh.ops.reduce import amax, sum
from torsh.tensor.tensor import Tensor


@in_float32
def _softmax(x: Tensor, d: int) -> Tensor:
    if 0 in x._shape:
        return x
    e = exp(x - amax(x, (d,), True))
    return e / sum(e, (d,), True)


@in_float32
def _log_softmax(x: Tensor, d: int) -> Tensor:
    if 0 in x._shape:
        return x
    shifted = x - amax(x, (d,), True)
    return shifted - log(sum(exp(shifted), (d,), True))


@in_float32
def _softmax_gradient(g: Tensor, y: Tensor, d: int) -> Tensor:
    gy = g * y
    return gy - y * sum(gy, (d,), True)


@in_float32
def _log_softmax_gradient(g: Tensor, y: Tensor, d: int) -> Tensor:
    return g - exp(y) * sum(g, (d,), True)


_softmax_rule = rule("softmax_backward", _softmax_gradient)
_log_softmax_rule = rule("log_softmax_backward", _log_softmax_gradient)


def _softmax_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    return _softmax_rule((g, ctx.out), ctx.arg, ctx.shapes[0], g._dtype)


def _log_softmax_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    return _log_softmax_rule((g, ctx.out), ctx.arg, ctx.shapes[0], g._dtype)


SOFTMAX = coarse("softmax", _softmax, _softmax_vjp, (), True)
LOG_SOFTMAX = coarse("log_softmax", _log_softmax, _log_softmax_vjp, (), True)


def _along_dim(op: Op, what: str, input: Tensor, dim: Any, dt: dtype | None) -> Tensor:
    if not isinstance(input, Tensor):
        raise TypeError(f"{what}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
    if dim is None:
        dim = 0 if len(input._shape) in (0, 1, 3) else 1  # PyTorch's rule from before there was a dim
    d = wrap_dim(dim, len(input._shape), what)
    x = input if dt is None else cast_tensor(input, dt)
    if x._dtype.category != 2:
        raise NotImplementedError(f"\"{what}_lastdim_kernel_impl\" not implemented for '{x._dtype.title}': {what} needs a floating dtype")
    if not x._shape:
        return _along_dim(op, what, x.reshape(1), 0, None).reshape(())  # type: ignore[attr-defined,no-any-return]
    return apply(op, (x,), (d,), x._shape, x._dtype)


@public(out=True)
def softmax(input: Tensor, dim: Any = None, dtype: dtype | None = None) -> Tensor:
    """exp(x) over its sum along a dimension; the maximum is taken out first, so nothing overflows.

    Shape as the input; half types compute in float32. Raises IndexError for a dimension out of range and
    NotImplementedError for integers (give `dtype`).

    >>> import torsh
    >>> torsh.softmax(torsh.tensor([0.0, 0.0]), 0)
    tensor([0.5000, 0.5000])
    """
    return _along_dim(SOFTMAX, "softmax", input, dim, dtype)


@public(out=True)
def log_softmax(input: Tensor, dim: Any = None, dtype: dtype | None = None) -> Tensor:
    """The logarithm of `softmax`, accurate where that would underflow. Raises as `softmax` does."""
    return _along_dim(LOG_SOFTMAX, "log_softmax", input, dim, dtype)


def softmin(input: Tensor, dim: Any = None, _stacklevel: Any = 3, dtype: dtype | None = None) -> Tensor:
    """`softmax` of the negated input."""
    return softmax(neg(input), dim, dtype)


def functional_softmax(input: Tensor, dim: Any = None, _stacklevel: Any = 3, dtype: Any = None) -> Tensor:
    """`softmax` with the signature of `torch.nn.functional`."""
    return softmax(input, dim, dtype)


def functional_log_softmax(input: Tensor, dim: Any = None, _stacklevel: Any = 3, dtype: Any = None) -> Tensor:
    """`log_softmax` with the signature of `torch.nn.functional`."""
    return log_softmax(input, dim, dtype)

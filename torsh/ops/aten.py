"""`torsh.ops.aten`: operators that PyTorch has under `torch.ops.aten` only, each with its overload (`slice.Tensor`, `f.default`) as an attribute."""
from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from torsh.autograd.graph import GradNode
from torsh.core.dtypes import bool_
from torsh.core.shapes import wrap_dim
from torsh.ops import pool, views
from torsh.ops.dispatch import apply, coarse
from torsh.ops.windows import numbers
from torsh.tensor.tensor import Tensor

F = TypeVar("F", bound=Callable[..., Any])


def _overload(name: str) -> Callable[[F], F]:
    def named(function: F) -> F:
        setattr(function, name, function)
        return function
    return named


@_overload("Tensor")
def slice(self: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Tensor:
    """`self[start:end:step]` in a dimension, a view. Raises IndexError for a dimension out of range or none,
    RuntimeError for a step below 1.

    >>> import torsh
    >>> torsh.ops.aten.slice(torsh.arange(6), 0, 1, -1, 2)
    tensor([1, 3])
    """
    if not self._shape:
        raise IndexError("slice() cannot be applied to a 0-dim tensor.")
    if step <= 0:
        raise RuntimeError("slice step must be positive")
    d = wrap_dim(dim, len(self._shape), "slice")
    n = self._shape[d]
    start, end, step = 0 if start is None else operator.index(start), n if end is None else operator.index(end), operator.index(step)
    first, last = (min(max(at + n if at < 0 else at, 0), n) for at in (start, end))
    return views.slice_dim(self, d, first, -(-max(last - first, 0) // step), step)


@_overload("default")
def native_dropout_backward(grad_output: Tensor, mask: Tensor, scale: float) -> Tensor:
    """`grad_output * mask * scale`: the gradient of a dropout that kept what `mask` says. Raises RuntimeError unless the mask is of bools."""
    if mask._dtype is not bool_:
        raise RuntimeError(f"native_dropout_backward: Mask should be Bool Scalar Type, but got {mask._dtype.title}")
    return grad_output * mask * scale  # type: ignore[operator,no-any-return]


@_overload("default")
def max_pool2d_with_indices_backward(grad_output: Tensor, self: Tensor, kernel_size: Any, stride: Sequence[int], padding: Any, dilation: Any,
                                     ceil_mode: bool, indices: Tensor) -> Tensor:
    """The gradient of `max_pool2d` by its input: `grad_output` added at the positions `indices` within each plane of `self`.

    Raises RuntimeError for windows that do not fit and for gradients and indices of another shape than the windows'.
    """
    what = "max_pool2d_with_indices_backward"
    pool.check_planes(what, self, 2)
    kernel = numbers(kernel_size, 2, what, "kernel_size")
    step = kernel if not stride else numbers(stride, 2, what, "stride")
    out = pool.pooled_size(what, self._shape[-2:], kernel, step, numbers(padding, 2, what, "padding"), numbers(dilation, 2, what, "dilation"), ceil_mode)
    shape = self._shape[:-2] + out
    if grad_output._shape != shape or indices._shape != shape:
        raise RuntimeError(f"{what}: expected grad_output and indices of shape {list(shape)}, got {list(grad_output._shape)} and {list(indices._shape)}")
    return apply(_MAX_BACKWARD, (grad_output, self, indices), (self._shape[-2:],), self._shape, grad_output._dtype)


def _chosen(ctx: GradNode, g: Tensor) -> tuple[Tensor | None, ...]:
    """By the gradient: what each window chose. By the input, on which only the choice depends: zero."""
    at = ctx[2]
    taken = g.flatten(-2).gather(-1, at.flatten(-2)).reshape(at._shape) if ctx.needs[0] else None  # type: ignore[attr-defined]
    return taken, views.zeros_like_shape(ctx.shapes[1], g) if ctx.needs[1] else None, None


_MAX_BACKWARD = coarse("max_pool2d_with_indices_backward", lambda g, x, at, size: pool.max_pool_gradient(g, at, size), _chosen, (2,))


__all__ = ["max_pool2d_with_indices_backward", "native_dropout_backward", "slice"]

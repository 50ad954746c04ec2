"""A function of tensors as one node, and its derivative as another, whose formula is found when a plan is built: by differentiating the function."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torsh.autograd import engine
from torsh.autograd.grad_mode import state
from torsh.autograd.graph import GradNode, settings
from torsh.core.dtypes import dtype
from torsh.core.shapes import Shape
from torsh.ops.dispatch import apply_several, coarse
from torsh.ops.regions import zeros_like_shape
from torsh.tensor.tensor import Tensor, alias

Outputs = tuple[tuple[Shape, dtype], ...]


def _gradients(made: Sequence[Tensor], grads: Sequence[Tensor | None], inputs: list[Tensor], create: bool) -> list[Tensor]:
    """The gradients of the inputs, zeros where none flows."""
    given = [(t, g) for t, g in zip(made, grads, strict=True) if g is not None]
    found = engine.grad([t for t, _ in given], inputs, [g for _, g in given], create, create, True)
    return [zeros_like_shape(t._shape, t) if g is None else g for t, g in zip(inputs, found, strict=True)]


def one_node(name: str, function: Callable[..., tuple[Tensor, ...]], most: int) -> Callable[[tuple[Tensor, ...], tuple[Any, ...], Outputs], tuple[Tensor, ...]]:
    """`call(tensors, arg, outputs)` for `function(*tensors, *arg)`, of at most so many floating tensors, whose outputs' shapes and types the caller knows.

    A trace gets one node for the call and one for its derivative, however many operations the function consists of. A derivative of the
    derivative goes through the operations themselves.
    """
    def backward(*operands: Any) -> list[Tensor]:
        *tensors, arg, count, needs, present = operands
        inputs, arrived = tensors[:count], iter(tensors[count:])
        leaves = [alias(t, t._shape, t._strides, t._offset) for t in inputs]
        for leaf, need in zip(leaves, needs, strict=True):
            leaf._requires_grad = need
        hooks, settings.saved_hooks, state.enabled = settings.saved_hooks, [], True
        try:
            made = function(*leaves, *arg)
            return _gradients(made, [next(arrived) if p else None for p in present], [t for t in leaves if t._requires_grad], False)
        finally:
            settings.saved_hooks, state.enabled = hooks, False

    def vjp(ctx: GradNode, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        count = len(ctx.shapes)
        inputs = [ctx[i] for i in range(count)]
        wanted = [i for i in range(count) if ctx.needs[i]]
        if state.enabled:
            found = _gradients(function(*inputs, *ctx.arg), grads, [inputs[i] for i in wanted], True)
        else:
            arrived = tuple([g for g in grads if g is not None])
            arg = (ctx.arg, count, ctx.needs, tuple([g is not None for g in grads]))
            found = list(apply_several(_backward, (*inputs, *arrived), arg, tuple([(ctx.shapes[i], ctx.dtypes[i]) for i in wanted])))
        out: list[Tensor | None] = [None] * count
        for i, g in zip(wanted, found, strict=True):
            out[i] = g
        return tuple(out)

    _backward = coarse(name + "_backward", backward, None)
    _forward = coarse(name, function, vjp, tuple(range(most)))
    return lambda tensors, arg, outputs: apply_several(_forward, tensors, arg, outputs)


__all__ = ["one_node"]

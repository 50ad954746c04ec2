"""Comparison, logic and choice element by element: which operand is larger, which bits are set, one of two values by a condition.

Derivatives are in tensor operations, so they can be differentiated again. `g` is the gradient of the output.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torsh.autograd.graph import GradNode
from torsh.core import dtypes
from torsh.core.dtypes import bool_
from torsh.graph import primitives as p
from torsh.graph.node import Op
from torsh.ops.declare import Vjp, differentiable, need_a_tensor, need_tensors
from torsh.ops.dispatch import coarse, pointwise, public, result_type_of, shape_of
from torsh.ops.views import zeros_like_shape
from torsh.tensor.tensor import Tensor, node_of


def _comparison(name: str, op: Op, *synonyms: str) -> Callable[..., Tensor]:
    ordered = name not in ("eq", "ne")

    def compare(input: Any, other: Any) -> Tensor:
        if isinstance(input, Tensor) and isinstance(other, Tensor) and input._dtype is other._dtype:
            if ordered and input._dtype.is_complex:
                raise NotImplementedError(f"\"{name}_cpu\" not implemented for '{input._dtype.title}': complex numbers have no order")
            return pointwise(op, (input, other), input._dtype, bool_, name)
        need_tensors(name, input)
        return pointwise(op, (input, other), result_type_of(input, other), bool_, name)
    compare.__name__ = name
    compare.__doc__ = f"`input {name} other` element by element, broadcast: a bool tensor. Raises RuntimeError for shapes that do not broadcast."
    public(name, *synonyms, inplace=True, out=True)(compare)
    return compare


eq = _comparison("eq", p.EQ)
ne = _comparison("ne", p.NE, "not_equal")
lt = _comparison("lt", p.LT, "less")
le = _comparison("le", p.LE, "less_equal")
gt = _comparison("gt", p.GT, "greater")
ge = _comparison("ge", p.GE, "greater_equal")


def _as_bool(x: Any) -> Any:
    return ne(x, 0) if isinstance(x, Tensor) and x._dtype is not bool_ else x if isinstance(x, Tensor) else bool(x)


def _logical(name: str, op: Op) -> Callable[..., Tensor]:
    def combine(input: Any, other: Any) -> Tensor:
        need_tensors(name, input, other)
        return pointwise(op, (_as_bool(input), _as_bool(other)), bool_, bool_, name)
    combine.__name__ = name
    combine.__doc__ = f"{name.replace('_', ' ')} of the truth of each element: a bool tensor."
    public(inplace=True, out=True)(combine)
    return combine


logical_and = _logical("logical_and", p.AND)
logical_or = _logical("logical_or", p.OR)
logical_xor = _logical("logical_xor", p.XOR)


@public(inplace=True, out=True)
def logical_not(input: Tensor) -> Tensor:
    """Whether each element is zero."""
    return eq(input, 0) if input._dtype is not bool_ else pointwise(p.NOT, (input,), bool_, bool_, "logical_not")


def _bitwise(name: str, op: Op) -> Callable[..., Tensor]:
    def combine(input: Any, other: Any) -> Tensor:
        need_a_tensor(name, input, other)
        dt = result_type_of(input, other)
        if dt.category > 1 or (dt is bool_ and "shift" in name):
            raise RuntimeError(f"\"{name}_cpu\" not implemented for '{dt.title}'")
        return pointwise(op, (input, other), dt, dt, name)
    combine.__name__ = name
    combine.__doc__ = f"{name.replace('_', ' ')} of integers (or bools, for and, or, xor). Raises RuntimeError for floating types."
    public(inplace=True, out=True)(combine)
    return combine


bitwise_and = _bitwise("bitwise_and", p.AND)
bitwise_or = _bitwise("bitwise_or", p.OR)
bitwise_xor = _bitwise("bitwise_xor", p.XOR)
bitwise_left_shift = _bitwise("bitwise_left_shift", p.SHL)
bitwise_right_shift = _bitwise("bitwise_right_shift", p.SHR)


@public(inplace=True, out=True)
def bitwise_not(input: Tensor) -> Tensor:
    """Every bit inverted. Raises RuntimeError for floating types."""
    if input._dtype.category > 1:
        raise RuntimeError(f"\"bitwise_not_cpu\" not implemented for '{input._dtype.title}'")
    return pointwise(p.NOT, (input,), input._dtype, input._dtype, "bitwise_not")


def _select_vjp(ctx: GradNode, g: Tensor) -> tuple[Tensor | None, ...]:
    c, zero = ctx[0], zeros_like_shape((), g)
    return None, where(c, g, zero) if ctx.needs[1] else None, where(c, zero, g) if ctx.needs[2] else None


differentiable(p.WHERE, _select_vjp, (0,))


@public(out=True)
def where(condition: Any, input: Any = None, other: Any = None) -> Any:
    """`input` where `condition` is true, else `other`, broadcast. With the condition alone: the indices where it is true.

    Raises RuntimeError unless the condition is a bool (or uint8) tensor.
    """
    if input is None and other is None:
        return condition.nonzero(as_tuple=True)
    if not isinstance(condition, Tensor) or condition._dtype.name not in ("bool", "uint8"):
        raise RuntimeError(f"where expected condition to be a boolean tensor, but got a tensor with dtype "
                           f"{condition._dtype.title if isinstance(condition, Tensor) else type(condition).__name__}")
    dt = result_type_of(input, other)
    c = condition if condition._dtype is bool_ else ne(condition, 0)
    from torsh.core.shapes import broadcast
    shape = broadcast(broadcast(c._shape, shape_of(input), "where"), shape_of(other), "where")
    from torsh.autograd.grad_mode import state
    from torsh.graph.node import Node
    from torsh.ops.dispatch import operand, recorded, tensors_of
    from torsh.tensor.tensor import wrap
    out = wrap(Node(p.WHERE, (node_of(c), operand(input, dt, "where"), operand(other, dt, "where")), None, shape, dt))
    return recorded(p.WHERE, None, tensors_of(c, input, other), out) if state.enabled else out


def _extremum(name: str, op: Op, better: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def vjp(ctx: GradNode, g: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, y = ctx[0], ctx[1]
        half, zero = g / 2, zeros_like_shape((), g)
        gx = where(x == y, half, where(better(x, y), g, zero)) if ctx.needs[0] else None
        return gx, where(x == y, half, where(better(x, y), zero, g)) if ctx.needs[1] else None
    differentiable(op, vjp, (0, 1), name=name.capitalize() + "Backward0")

    def combine(input: Any, other: Any) -> Tensor:
        dt = result_type_of(input, other)
        if dt.is_complex:
            raise RuntimeError(f"{name} not implemented for complex tensors.")
        return pointwise((p.OR if op is p.MAX else p.AND) if dt is bool_ else op, (input, other), dt, dt, name)
    def checked(input: Tensor, other: Tensor) -> Tensor:
        need_tensors(name, input, other)
        return combine(input, other)
    checked.__name__ = name
    checked.__doc__ = f"Element by element {name}, broadcast; NaN wins. Raises RuntimeError for complex tensors, TypeError for numbers."
    public(out=True)(checked)
    return combine  # which takes numbers too


maximum = _extremum("maximum", p.MAX, gt)
minimum = _extremum("minimum", p.MIN, lt)


def _first_or_second(first: Callable[..., Tensor]) -> Vjp:
    """The whole gradient to the operand that was taken, the first of equals; none is shared, as in PyTorch."""
    def vjp(ctx: GradNode, g: Tensor) -> tuple[Tensor, Tensor]:
        taken, zero = first(ctx[0], ctx[1]) | isnan(ctx[1]), zeros_like_shape((), g)
        return where(taken, g, zero), where(taken, zero, g)
    return vjp


def _larger(x: Tensor, y: Tensor) -> Tensor:
    return where(isnan(x), y, where(isnan(y), x, maximum(x, y)))  # type: ignore[no-any-return]


def _smaller(x: Tensor, y: Tensor) -> Tensor:
    return where(isnan(x), y, where(isnan(y), x, minimum(x, y)))  # type: ignore[no-any-return]


_FMAX = coarse("fmax", _larger, _first_or_second(lambda x, y: x >= y), (0, 1))
_FMIN = coarse("fmin", _smaller, _first_or_second(lambda x, y: x <= y), (0, 1))


def _f_extremum(name: str, op: Op, input: Tensor, other: Tensor) -> Tensor:
    need_tensors(name, input, other)
    dt = result_type_of(input, other)
    if dt.is_complex:
        raise NotImplementedError(f"{name} not implemented for complex tensors.")
    return pointwise(op, (input, other), dt, dt, name, ())


@public(out=True)
def fmax(input: Tensor, other: Tensor) -> Tensor:
    """Element by element maximum that ignores NaN where it can."""
    return _f_extremum("fmax", _FMAX, input, other)


@public(out=True)
def fmin(input: Tensor, other: Tensor) -> Tensor:
    """Element by element minimum that ignores NaN where it can."""
    return _f_extremum("fmin", _FMIN, input, other)


@public(out=False)
def isnan(input: Any) -> Tensor:
    """Whether each element is NaN."""
    return ne(input, input)


@public(out=True)
def isposinf(input: Tensor) -> Tensor:
    """Whether each element is plus infinity."""
    return eq(input, math.inf) if input._dtype.category >= 2 else ne(input, input)


@public(out=True)
def isneginf(input: Tensor) -> Tensor:
    """Whether each element is minus infinity."""
    return eq(input, -math.inf) if input._dtype.category >= 2 else ne(input, input)


_CLAMP = coarse("clamp", lambda x, lo, hi: minimum(maximum(x, lo), hi),
                lambda ctx, g: (where((ctx[0] >= ctx[1]) & (ctx[0] <= ctx[2]), g, zeros_like_shape((), g)) if ctx.needs[0] else None,
                                where((ctx[0] < ctx[1]) & (ctx[1] < ctx[2]), g, zeros_like_shape((), g)) if ctx.needs[1] else None,
                                where((ctx[0] > ctx[2]) | (ctx[1] > ctx[2]), g, zeros_like_shape((), g)) if ctx.needs[2] else None), (0, 1, 2))
_CLAMP_MIN = coarse("clamp_min", lambda x, lo: maximum(x, lo),
                    lambda ctx, g: (where(ctx[0] >= ctx[1], g, zeros_like_shape((), g)), where(ctx[0] < ctx[1], g, zeros_like_shape((), g))), (0, 1))
_CLAMP_MAX = coarse("clamp_max", lambda x, hi: minimum(x, hi),
                    lambda ctx, g: (where(ctx[0] <= ctx[1], g, zeros_like_shape((), g)), where(ctx[0] > ctx[1], g, zeros_like_shape((), g))), (0, 1))


@public("clamp", "clip", inplace=True, out=True)
def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """Each element limited to [min, max] (numbers or tensors; None leaves a side open). Raises RuntimeError if both are None."""
    need_tensors("clamp", input)
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    if input._dtype.is_complex:
        raise RuntimeError("clamp is not supported for complex types")
    bounds = [b for b in (min, max) if b is not None]
    dt = result_type_of(input, bounds[0])
    if len(bounds) == 2:
        dt = dtypes.PROMOTE[dt, result_type_of(input, bounds[1])]
        return pointwise(_CLAMP, (input, min, max), dt, dt, "clamp", ())
    return pointwise(_CLAMP_MIN if max is None else _CLAMP_MAX, (input, bounds[0]), dt, dt, "clamp", ())


@public(inplace=True, out=True)
def clamp_min(input: Tensor, min: Any) -> Tensor:
    """`clamp` from below."""
    return clamp(input, min=min)


@public(inplace=True, out=True)
def clamp_max(input: Tensor, max: Any) -> Tensor:
    """`clamp` from above."""
    return clamp(input, max=max)

"""Reductions: sums, products, extrema, logic, moments; and sorting out which axes they fold."""
from __future__ import annotations

import math
from numbers import Integral
from typing import Any

from torsh.autograd.autocast import lower_type, raised
from torsh.autograd.entered import entered
from torsh.autograd.graph import GradNode
from torsh.core.dtypes import bool_, dtype, int64
from torsh.core.results import result_type
from torsh.core.shapes import Shape, numel, reduced, wrap_dim, wrap_dims
from torsh.graph import primitives as p
from torsh.graph.node import Op
from torsh.graph.primitives import cast
from torsh.ops import views
from torsh.ops.dispatch import apply, cast_tensor, coarse, late, public, recorded, wide, write_out
from torsh.ops.pointwise import abs, conj_if, exp, float_type, log, ne, where
from torsh.ops.views import zeros_like_shape
from torsh.tensor.tensor import Tensor, method, node_of

Dims = Any


def _unreduce(g: Tensor, shape: Shape, axes: Shape) -> Tensor:
    """A reduced tensor (with or without its axes of size 1) broadcast back."""
    kept = reduced(shape, axes, True)
    return (g if g._shape == kept else g.reshape(kept)).expand(shape)  # type: ignore[attr-defined]


def _fold(op: Op, t: Tensor, axes: Shape, keepdim: bool, dt: dtype, source: dtype | None = None) -> Tensor:
    node = node_of(t) if source is None else cast(node_of(t), source)
    return apply(op, (t,), axes, reduced(t._shape, axes, keepdim), dt, (node,))


def _sum_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    return _unreduce(g, ctx.shapes[0], ctx.arg)


p.R_SUM.vjp, p.R_SUM.grad_name = _sum_vjp, "SumBackward1"


@public("sum", out=True)
def sum(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: dtype | None = None) -> Tensor:
    """The sum over dimensions (all by default). Integers and bools sum in int64. Raises IndexError for a dimension out of range."""
    dt = dtype or (int64 if input._dtype.category < 2 else input._dtype)
    axes = wrap_dims(dim, len(input._shape), "sum")
    return _fold(p.R_SUM, input, axes, keepdim, dt, dt)


def sum_to(t: Tensor, shape: Shape) -> Tensor:
    lead = len(t._shape) - len(shape)
    axes = tuple(range(lead)) + tuple(i + lead for i, n in enumerate(shape) if n == 1 and t._shape[i + lead] != 1)
    if axes:
        t = _fold(p.R_SUM, t, axes, False, t._dtype)
    return t if t._shape == shape else t.reshape(shape)  # type: ignore[attr-defined]


views.sum_to = sum_to


@public(function=False)
def sum_to_size(self: Tensor, *size: Any) -> Tensor:
    """The sum over the dimensions that broadcasting from `size` would repeat. Raises RuntimeError if `size` does not expand to the shape."""
    shape = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], (int, Integral)) else tuple(size)
    shape = tuple([int(n) for n in shape])
    from torsh.core.shapes import broadcast
    if broadcast(shape, self._shape, "sum_to_size") != self._shape:
        raise RuntimeError(f"size {{{list(shape)}}} is not expandable to size {{{list(self._shape)}}}.")
    if self._dtype is bool_ and (shape != self._shape or not shape):
        self = cast_tensor(self, int64)
    return sum_to(self, shape)


def _count(shape: Shape, axes: Shape) -> int:
    return numel(tuple(shape[i] for i in axes))


_MEAN = coarse("mean", lambda x, axes, keepdim: sum(x, axes, keepdim) / _count(x._shape, axes) if axes else x / 1,
               lambda ctx, g: _unreduce(g, ctx.shapes[0], ctx.arg[0]) / max(1, _count(ctx.shapes[0], ctx.arg[0])), grad_name="MeanBackward1")


@public(out=True)
def mean(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: dtype | None = None) -> Tensor:
    """The mean over dimensions (all by default). Raises RuntimeError for integer tensors."""
    dt = dtype or input._dtype
    if dt.category < 2:
        raise RuntimeError(f"mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. Got: {dt.title}")
    axes = wrap_dims(dim, len(input._shape), "mean")
    return apply(_MEAN, (input,), (axes, keepdim), reduced(input._shape, axes, keepdim), dt, (cast(node_of(input), dt),))


def _prod_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    x, axes, shape = ctx[0], ctx.arg, ctx.shapes[0]
    # Without zeros: out / x. With zeros, the product of the others, from cumulative products of both sides.
    kept = [i for i in range(len(shape)) if i not in axes]
    order = kept + list(axes)
    flat = x.permute(order).reshape(*[shape[i] for i in kept], -1)  # type: ignore[attr-defined]
    n = flat._shape[-1]
    if n == 0:
        return zeros_like_shape(shape, g)
    one = zeros_like_shape((*flat._shape[:-1], 1), flat) + 1
    from torsh.ops.join import cat
    before = cat([one, flat[..., :n - 1]], -1).cumprod(-1)  # type: ignore[attr-defined]
    after = cat([flat[..., 1:], one], -1).flip(-1).cumprod(-1).flip(-1)  # type: ignore[attr-defined]
    others = (before * after).reshape([shape[i] for i in order]).permute([order.index(i) for i in range(len(order))])
    return _unreduce(g, shape, axes) * conj_if(others)


p.R_PROD.vjp, p.R_PROD.save_inputs = _prod_vjp, (0,)


@public(out=True)
def prod(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: dtype | None = None) -> Tensor:
    """The product over one dimension or all. Integers and bools multiply in int64."""
    if entered.autocast and lower_type() is not None:
        return raised(prod, input, dim, keepdim, dtype=dtype)  # type: ignore[no-any-return]
    dt = dtype or (int64 if input._dtype.category < 2 else input._dtype)
    axes = wrap_dims(dim, len(input._shape), "prod")
    return _fold(p.R_PROD, input, axes, keepdim, dt, dt)


def _no_empty(what: str, t: Tensor, axes: Shape) -> None:
    if any(t._shape[i] == 0 for i in axes):
        raise IndexError(f"{what}(): Expected reduction dim {next(i for i in axes if t._shape[i] == 0)} to have non-zero size.")


def _extreme_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    x, axes, shape = ctx[0], ctx.arg, ctx.shapes[0]
    mask = (x == _unreduce(ctx.out, shape, axes)).to(g._dtype)  # type: ignore[attr-defined]
    return mask * (_unreduce(g, shape, axes) / _unreduce(_fold(p.R_SUM, mask, axes, True, g._dtype), shape, axes))


for _op in (p.R_MAX, p.R_MIN):
    _op.vjp, _op.save_inputs, _op.save_output = _extreme_vjp, (0,), True
p.R_MAX.grad_name, p.R_MIN.grad_name = "AmaxBackward0", "AminBackward0"


def _extreme(name: str, op: Op) -> Any:
    def function(input: Tensor, dim: Dims = (), keepdim: bool = False) -> Tensor:
        if len(input._shape) > 64:
            raise RuntimeError(f"{name}: only tensors with up to 64 dims are supported")
        axes = wrap_dims(dim, len(input._shape), name)
        if input.numel() == 0 and dim in ((), None):
            raise RuntimeError(f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with the 'dim' "
                               "argument.")
        _no_empty(name, input, axes)
        return _fold(op, input, axes, keepdim, input._dtype)
    function.__name__ = name
    function.__doc__ = f"The {name[1:]}imum over dimensions (all by default); gradients are shared among equal values. NaN wins."
    return public(name, out=True)(function)


amax, amin = _extreme("amax", p.R_MAX), _extreme("amin", p.R_MIN)


def _argument(name: str, op: Op) -> Any:
    def function(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
        if dim is None:
            if input.numel() == 0:
                raise IndexError(f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with the "
                                 "'dim' argument.")
            flat = _fold(op, input.reshape(-1), (0,), False, int64)  # type: ignore[attr-defined]
            return flat.reshape((1,) * len(input._shape)) if keepdim else flat  # type: ignore[attr-defined]
        axes = (wrap_dim(dim, len(input._shape), name),) if input._shape else ()
        wrap_dim(dim, len(input._shape), name)
        _no_empty(name, input, axes)
        return _fold(op, input, axes, keepdim, int64)
    function.__name__ = name
    function.__doc__ = f"The index of the first {name[3:]}imum along a dimension (of the flattened tensor by default); NaN wins."
    return public(name, out=True)(function)


argmax, argmin = _argument("argmax", p.R_ARGMAX), _argument("argmin", p.R_ARGMIN)


def _with_index(name: str, pick: Any, elementwise_name: str) -> Any:
    result = result_type(name, "values", "indices")

    def function(input: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
        if isinstance(dim, Tensor):
            from torsh.ops.dispatch import FUNCTIONS
            return FUNCTIONS[elementwise_name](input, dim)
        if dim is None:
            if input.numel() == 0:
                raise RuntimeError(f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with the "
                                   "'dim' argument.")
            return (amax if name == "max" else amin)(input)
        d = wrap_dim(dim, len(input._shape), name)
        if not input._shape:
            return result(input.clone(), input.detach().to(int64) * 0)  # type: ignore[attr-defined]
        at = pick(input, d, True)
        values = input.gather(d, at)  # type: ignore[attr-defined]
        return result(values, at) if keepdim else result(values.squeeze(d), at.squeeze(d))
    function.__name__ = name
    function.__doc__ = (f"The {name}imum of all elements; along a dimension, (values, indices); with another tensor, `{elementwise_name}`.")
    return public(name, out=True)(function), result


max_, max_result = _with_index("max", argmax, "maximum")
min_, min_result = _with_index("min", argmin, "minimum")


aminmax_result = result_type("aminmax", "min", "max")


@public(out="exact")
def aminmax(input: Tensor, *, dim: Any = None, keepdim: bool = False) -> Any:
    """(min, max) over all elements or one dimension."""
    axes = () if dim is None else (dim,)
    return aminmax_result(amin(input, axes, keepdim), amax(input, axes, keepdim))


def _truth(name: str, op: Op) -> Any:
    def function(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
        axes = wrap_dims(dim, len(input._shape), name)
        out = _fold(op, input if input._dtype is bool_ else ne(input, 0), axes, keepdim, bool_)
        return out.to(input._dtype) if input._dtype.name == "uint8" else out  # type: ignore[attr-defined]
    function.__name__ = name
    function.__doc__ = f"Whether {name} of the elements over dimensions (all by default) are true."
    return public(name, out=True)(function)


any_, all_ = _truth("any", p.R_ANY), _truth("all", p.R_ALL)


@public(out=True)
def count_nonzero(input: Tensor, dim: Dims = None) -> Tensor:
    """How many elements are not zero."""
    return sum(ne(input, 0), dim)


# ---- moments


def _variance(x: Tensor, axes: Shape, keepdim: bool, correction: float) -> Tensor:
    dt, x = x._dtype.to_real(), wide(x)
    centred = x - mean(x, axes, True)
    squares = (centred * conj_if(centred))
    total = sum(squares.real if x._dtype.is_complex else squares, axes, keepdim)  # type: ignore[attr-defined]
    return cast_tensor(total / builtin_max(0, _count(x._shape, axes) - correction), dt)


def _variance_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    x = wide(ctx[0])
    axes, _, correction = ctx.arg
    n = builtin_max(0, _count(ctx.shapes[0], axes) - correction)
    return _unreduce(wide(g), ctx.shapes[0], axes) * ((x - mean(x, axes, True)) * (2 / n if n else math.inf))


_VAR = coarse("var", _variance, _variance_vjp, (0,))


def _moment_axes(args: tuple[Any, ...], dim: Dims, unbiased: Any, correction: Any, ndim: int, what: str) -> tuple[Shape, float]:
    for a in args:
        if isinstance(a, bool):
            unbiased = a
        else:
            dim = a
    c = correction if correction is not None else 1 if unbiased is None or unbiased else 0
    return wrap_dims(dim, ndim, what), float(c)


@public(out=True)
def var(input: Tensor, *args: Any, dim: Dims = None, unbiased: bool | None = None, correction: Any = None, keepdim: bool = False) -> Tensor:
    """The variance over dimensions: squares of deviations summed, over (n - correction); correction is 1 by default.

    Two passes over the data: the mean first. Raises RuntimeError for integer tensors.
    """
    if len(args) == 3:
        keepdim = args[2]
    if input._dtype.category < 2:
        raise RuntimeError("std and var only support floating point and complex dtypes")
    axes, c = _moment_axes(args[:2], dim, unbiased, correction, len(input._shape), "var")
    return apply(_VAR, (input,), (axes, keepdim, c), reduced(input._shape, axes, keepdim), input._dtype.to_real())


@public(out=True)
def std(input: Tensor, *args: Any, dim: Dims = None, unbiased: bool | None = None, correction: Any = None, keepdim: bool = False) -> Tensor:
    """The standard deviation: the root of `var`."""
    return var(input, *args, dim=dim, unbiased=unbiased, correction=correction, keepdim=keepdim).sqrt()  # type: ignore[attr-defined]


@public(method=False)
def var_mean(input: Tensor, *args: Any, keepdim: bool = False, **kwargs: Any) -> tuple[Tensor, Tensor]:
    """(variance, mean) over the same dimensions."""
    dim = next((a for a in args if not isinstance(a, bool)), kwargs.get("dim"))
    return var(input, *args, keepdim=keepdim, **kwargs), mean(input, dim, keepdim)


@public(method=False)
def std_mean(input: Tensor, *args: Any, keepdim: bool = False, **kwargs: Any) -> tuple[Tensor, Tensor]:
    """(standard deviation, mean) over the same dimensions."""
    v, m = var_mean(input, *args, keepdim=keepdim, **kwargs)
    return v.sqrt(), m  # type: ignore[attr-defined]


def _logsumexp(x: Tensor, axes: Shape, keepdim: bool) -> Tensor:
    top = amax(x.real if x._dtype.is_complex else x, axes, True)
    top = where(abs(top) == math.inf, 0.0, top)
    out = log(sum(exp(x - top), axes, True)) + top
    return out if keepdim else out.reshape(reduced(x._shape, axes, False))  # type: ignore[attr-defined]


_LOGSUMEXP = coarse("logsumexp", _logsumexp,
                    lambda ctx, g: _unreduce(g, ctx.shapes[0], ctx.arg[0]) * conj_if(exp(ctx[0] - _unreduce(ctx.out, ctx.shapes[0], ctx.arg[0]))),
                    (0,), True)


@public(out=True)
def logsumexp(input: Tensor, dim: Dims, keepdim: bool = False) -> Tensor:
    """log(sum(exp(x))) over dimensions, without overflow: the maximum is taken out first."""
    axes = wrap_dims(dim, len(input._shape), "logsumexp")
    x = cast_tensor(input, float_type(input._dtype))
    if any_zero(x._shape, axes):
        return log(sum(exp(x), axes, keepdim))
    return apply(_LOGSUMEXP, (x,), (axes, keepdim), reduced(x._shape, axes, keepdim), x._dtype)


def any_zero(shape: Shape, axes: Shape) -> bool:
    """Whether one of the axes is empty."""
    return 0 in [shape[i] for i in axes]


_CONSTANT = Op("constant", "history", None, None, lambda ctx, g: zeros_like_shape(ctx.shapes[0], cast_tensor(g, ctx.dtypes[0])))


def unmoved(value: Tensor, of: Tensor) -> Tensor:
    """`value`, made for this call, as a function of `of` whose derivative is zero everywhere."""
    return recorded(_CONSTANT, None, (of,), value)


def vector_norm(x: Tensor, order: Any, axes: Shape, keepdim: bool) -> Tensor:
    """The p-norm of the elements over axes (p may be 0, inf, -inf)."""
    size = abs(x)
    order = int(order) if isinstance(order, Integral) else float(order)
    if order == math.inf:
        return amax(size, axes, keepdim)
    if order == -math.inf:
        return amin(size, axes, keepdim)
    if order == 0:
        return unmoved(sum(ne(x, 0).to(size._dtype), axes, keepdim), x)  # type: ignore[attr-defined]
    if order == 1:
        return sum(size, axes, keepdim)
    if order == 2:
        return apply(_NORM2, (size,), (axes, keepdim), reduced(size._shape, axes, keepdim), size._dtype)
    return apply(_NORM, (size,), (order, axes, keepdim), reduced(size._shape, axes, keepdim), size._dtype)


def _norm_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    """g (|x| / norm)^(p-1); 0 where x or the norm is 0."""
    size, (order, axes, _) = ctx[0], ctx.arg
    out = _unreduce(ctx.out, ctx.shapes[0], axes)
    none = (size == 0) | (out == 0)
    one = zeros_like_shape((), size) + 1
    slope = where(none, one, size / where(none, one, out)) ** (order - 1)
    return where(none, zeros_like_shape((), size), _unreduce(g, ctx.shapes[0], axes) * slope)  # type: ignore[no-any-return]


_NORM = coarse("linalg_vector_norm_p", lambda size, order, axes, keepdim: sum(size ** order, axes, keepdim) ** (1.0 / order), _norm_vjp, (0,), True,
               "LinalgVectorNormBackward0")


def _norm2_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    x, axes = ctx[0], ctx.arg[0]
    out = _unreduce(ctx.out, ctx.shapes[0], axes)
    return _unreduce(g, ctx.shapes[0], axes) * where(out == 0, 0.0, x / out)


_NORM2 = coarse("linalg_vector_norm", lambda x, axes, keepdim: sum(x * x, axes, keepdim).sqrt(), _norm2_vjp, (0,), True)  # type: ignore[attr-defined]


@public(method=False)
def norm(input: Tensor, p: Any = "fro", dim: Dims = None, keepdim: bool = False, out: Tensor | None = None, dtype: dtype | None = None) -> Tensor:
    """The vector p-norm over dimensions (all by default); "fro" is the 2-norm, "nuc" the sum of singular values of two dimensions.

    Raises RuntimeError for integer tensors.
    """
    x = input if dtype is None else cast_tensor(input, dtype)
    if x._dtype.category < 2:
        raise RuntimeError(f"linalg.vector_norm: Expected a floating point or complex tensor as input. Got {x._dtype.title}")
    order = 2 if p is None or p == "fro" else p
    if order == "nuc":
        found: Tensor = late("nuclear_norm")(x, dim, keepdim)
    elif isinstance(order, str):
        raise RuntimeError(f"norm: order {order!r} is not supported; give a number, inf, 'fro' or 'nuc'")
    else:
        found = vector_norm(x, order, wrap_dims(dim, len(x._shape), "norm"), keepdim)
    return found if out is None else write_out(out, found, "norm")


@method("norm")
def _norm_method(self: Tensor, p: Any = "fro", dim: Dims = None, keepdim: bool = False, dtype: dtype | None = None) -> Tensor:
    """The p-norm over dimensions, as `torsh.norm`."""
    return norm(self, p, dim, keepdim, None, dtype)  # type: ignore[no-any-return]


builtin_max = __builtins__["max"] if isinstance(__builtins__, dict) else __builtins__.max

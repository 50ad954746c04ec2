"""Running folds along a dimension: cumsum, cumprod, cummax, cummin, logcumsumexp; and differences, cumsum's inverse."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from torsh.autograd.grad_mode import state
from torsh.autograd.graph import GradNode
from torsh.core.dtypes import bool_, dtype, int64
from torsh.core.results import result_type
from torsh.core.shapes import wrap_dim
from torsh.graph import primitives as p
from torsh.graph.node import Op
from torsh.graph.primitives import axis_first, cast
from torsh.ops.composite import in_float32
from torsh.ops.dispatch import apply, cast_tensor, coarse, public, wide
from torsh.ops.gather import iota
from torsh.ops.host import host_op
from torsh.ops.join import cat, flip
from torsh.ops.pointwise import abs, conj_if, exp, log1p, maximum, minimum, where
from torsh.ops.views import slice_dim, zeros_like_shape
from torsh.tensor.tensor import Tensor


def _scan(op: Op, input: Tensor, dim: int, dt: dtype | None, what: str) -> Tensor:
    d = wrap_dim(dim, len(input._shape), what)
    dt = dt or (int64 if input._dtype.category < 2 else input._dtype)
    if not input._shape:
        return cast_tensor(input, dt).clone()  # type: ignore[attr-defined,no-any-return]
    return apply(op, (input,), d, input._shape, dt, (cast(input._node(), dt),))


def _from_the_end(t: Tensor, d: int) -> Tensor:
    """Sums of each element and all after it."""
    return flip(cumsum(flip(t, d), d), d)


p.SCAN_SUM.vjp, p.SCAN_SUM.grad_name = lambda ctx, g: _from_the_end(g, ctx.arg), "CumsumBackward0"


@public(inplace=True, out=True)
def cumsum(input: Tensor, dim: int, *, dtype: dtype | None = None) -> Tensor:
    """Sums of all elements so far along a dimension. Integers and bools sum in int64.

    >>> import torsh
    >>> torsh.cumsum(torsh.tensor([1, 2, 3]), 0)
    tensor([1, 3, 6])
    """
    return _scan(p.SCAN_SUM, input, dim, dtype, "cumsum")


def _cumprod_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    """The gradient of element k is the sum over j >= k of g_j times the product of the others up to j.

    Before the first zero that is a sum over out / x; at the first zero, the products with a 1 in its place; after it, 0.
    That last piece is constant here but its derivative is not, so for a derivative of this one all products are made.
    """
    x, d = ctx[0], ctx.arg
    if state.enabled:
        return _cumprod_dense(x, d, g)
    one = zeros_like_shape((), x) + 1
    zero = x == 0
    zeros = cumsum(zero, d)
    first = zero & (zeros == 1)
    out = cumprod(x, d)
    before = _from_the_end(g * conj_if(out), d) / conj_if(where(zero, one, x))
    at = _from_the_end(g * conj_if(cumprod(where(first, one, x), d)), d)
    return where(zeros == 0, before, where(first, at, zeros_like_shape((), g)))


def _cumprod_dense(x: Tensor, d: int, g: Tensor) -> Tensor:
    """The same from the n * n products: row k is the cumulative product with 1 in place of element k, from k on."""
    x, g = x.movedim(d, -1), g.movedim(d, -1)  # type: ignore[attr-defined]
    n = x._shape[-1]
    row, column = iota(n).unsqueeze(-1), iota(n)  # type: ignore[attr-defined]
    products = cumprod(where(row == column, zeros_like_shape((), x) + 1, x.unsqueeze(-2)), -1)
    kept = where(column >= row, conj_if(products), zeros_like_shape((), products))
    return (kept * g.unsqueeze(-2)).sum(-1).movedim(-1, d)  # type: ignore[no-any-return]


p.SCAN_PROD.vjp, p.SCAN_PROD.save_inputs, p.SCAN_PROD.grad_name = _cumprod_vjp, (0,), "CumprodBackward0"


@public(inplace=True, out=True)
def cumprod(input: Tensor, dim: int, *, dtype: dtype | None = None) -> Tensor:
    """Products of all elements so far along a dimension. Integers and bools multiply in int64."""
    return _scan(p.SCAN_PROD, input, dim, dtype, "cumprod")


# ---- other folds, by doubling: after step k every element has folded the 2^k elements up to it


def _by_doubling(parts: tuple[Tensor, ...], d: int, combine: Callable[..., tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """An inclusive scan with any associative `combine(*earlier, *later)` (Hillis and Steele 1986, "Data parallel algorithms")."""
    n, step = parts[0]._shape[d], 1
    while step < n:
        earlier = [slice_dim(t, d, 0, n - step) for t in parts]
        later = [slice_dim(t, d, step, n - step) for t in parts]
        parts = tuple([cat([slice_dim(t, d, 0, step), c], d) for t, c in zip(parts, combine(*earlier, *later), strict=True)])
        step *= 2
    return parts


def _extreme_places(x: Tensor, d: int, largest: bool) -> Tensor:
    floating = x._dtype.category == 2

    def combine(a: Tensor, i: Tensor, b: Tensor, j: Tensor) -> tuple[Tensor, Tensor]:
        later = b >= a if largest else b <= a
        if floating:
            later = (later & (a == a)) | (b != b)  # NaN wins, the last of them
        return where(later, b, a), where(later, j, i)
    n = x._shape[d]
    at = iota(n).reshape((-1,) + (1,) * (len(x._shape) - d - 1)).expand(x._shape)  # type: ignore[attr-defined]
    return _by_doubling((x, at), d, combine)[1]


_EXTREME = coarse("cumulative_extreme", _extreme_places, None)


def _running(name: str, largest: bool) -> Any:
    result = result_type(name, "values", "indices")

    def function(input: Tensor, dim: int) -> Any:
        d = wrap_dim(dim, len(input._shape), name)
        if not input._shape:
            return result(input.clone(), cast_tensor(input.detach(), int64) * 0)  # type: ignore[attr-defined]
        at = apply(_EXTREME, (input.detach(),), (d, largest), input._shape, int64)  # type: ignore[attr-defined]
        return result(input.gather(d, at), at)  # type: ignore[attr-defined]
    function.__name__ = name
    function.__doc__ = f"(values, indices) of the {name[3:]}imum so far along a dimension; the last of equal ones counts, and NaN wins."
    return public(name, out=True)(function)


cummax, cummin = _running("cummax", True), _running("cummin", False)


def _log_add(a: Tensor, b: Tensor) -> tuple[Tensor]:
    top, low = maximum(a, b), minimum(a, b)
    apart = where(abs(top) == np.inf, top, low) - where(abs(top) == np.inf, zeros_like_shape((), top), top)
    return (where(abs(top) == np.inf, top, top + log1p(exp(apart))),)


def _complex_log_cumulative(x: np.ndarray, d: int) -> np.ndarray:
    """One after the other, as imaginary parts past pi depend on the order."""
    rows = np.moveaxis(x.copy(), d, 0)
    for i in range(1, rows.shape[0]):
        a, b = rows[i - 1], rows[i]
        larger = (a.real >= b.real) | np.isnan(a)
        top, low = np.where(larger, a, b), np.where(larger, b, a)
        level = np.isinf(top.real) & (top.real == low.real)
        rows[i] = np.where(level, np.where(top.real < 0, low, np.log(np.exp(top) + np.exp(low))), top + np.log1p(np.exp(low - top)))
    return np.moveaxis(rows, 0, d)


def _log_cumulative(x: Tensor, d: int) -> Tensor:
    return _by_doubling((x,), d, _log_add)[0]


def _logcumsumexp_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    """exp(x_k) times the sum over j >= k of g_j / exp(out_j), in logarithms, for positive and negative gradients apart."""
    x, g, (d,) = wide(ctx[0]), wide(g), ctx.arg
    out = ctx.out
    if out._dtype is not x._dtype:
        out = _log_cumulative(x, d)  # not the one that was rounded
    if x._dtype.is_complex:
        return conj_if(exp(flip(logcumsumexp(flip(conj_if(g).log() - out, d), d), d) + x))
    lowest = float(np.finfo(np.float32).min)

    def side(g: Tensor, there: Tensor) -> Tensor:
        log_g = where(there, where(there, g, zeros_like_shape((), g) + 1).log(), zeros_like_shape((), g) + lowest)
        return exp(flip(logcumsumexp(flip(log_g - out, d), d), d) + x)
    return side(g, g > 0) - side(-g, g < 0)


_LOG_CUMULATIVE = coarse("logcumsumexp", in_float32(_log_cumulative), _logcumsumexp_vjp, (0,), True)
_COMPLEX_LOG_CUMULATIVE = host_op("complex_logcumsumexp", _complex_log_cumulative, _logcumsumexp_vjp, (0,), True, "LogcumsumexpBackward0", axis_first)


@public(out=True)
def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """Logarithms of the sums of exp of all elements so far along a dimension, without overflow."""
    d = wrap_dim(dim, len(input._shape), "logcumsumexp")
    if input._dtype.category < 2:
        raise RuntimeError(f"logcumsumexp: expected a floating point tensor, got {input._dtype.title}")
    if not input._shape:
        return input.clone()  # type: ignore[attr-defined,no-any-return]
    return apply(_COMPLEX_LOG_CUMULATIVE if input._dtype.is_complex else _LOG_CUMULATIVE, (input,), (d,), input._shape, input._dtype)


@public(out=True)
def diff(input: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None) -> Tensor:
    """Differences of neighbours along a dimension, `n` times over, with tensors put before and after first.

    Raises RuntimeError for 0 dimensions or a negative `n`. Differences of bools say whether neighbours differ.
    """
    if not input._shape:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    d = wrap_dim(dim, len(input._shape), "diff")
    if n == 0:
        return input.clone()  # type: ignore[attr-defined,no-any-return]
    parts = [t for t in (prepend, input, append) if t is not None]
    out = cat(parts, d) if len(parts) > 1 else input
    for _ in range(n):
        m = out._shape[d]
        if m == 0:
            return out
        after, before = slice_dim(out, d, 1, m - 1), slice_dim(out, d, 0, m - 1)
        out = after ^ before if out._dtype is bool_ else after - before
    return out


__all__ = ["cummax", "cummin", "cumprod", "cumsum", "diff", "logcumsumexp"]

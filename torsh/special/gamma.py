"""The gamma function's logarithm and derivatives, incomplete gamma functions, the Hurwitz zeta function."""
from __future__ import annotations

import math
from typing import Any

from torsh.autograd.graph import GradNode
from torsh.graph.primitives import broadcasting
from torsh.ops.dispatch import pointwise, public, result_type_of
from torsh.ops.host import host_op
from torsh.ops.pointwise import exp, log
from torsh.special.common import real_function, real_type, scipy_op, special
from torsh.tensor.tensor import Tensor

_LGAMMA = scipy_op("gammaln", lambda ctx, g: g * digamma(ctx[0]), (0,))


@special("gammaln")
@public("lgamma", inplace=True, out=True)
def lgamma(input: Tensor) -> Tensor:
    """log |Gamma(x)| of each element. Raises RuntimeError for complex tensors.

    >>> import torsh
    >>> torsh.lgamma(torsh.tensor([1.0, 3.0]))
    tensor([0.0000, 0.6931])
    """
    return real_function("lgamma", _LGAMMA, input)


def _psi(x: Any) -> Any:
    """SciPy's, with the signed infinity at signed zeros, and NaN at negative integers."""
    import numpy as np
    import scipy.special
    wide = x.astype(np.float32) if x.itemsize == 2 else x
    found = scipy.special.psi(wide)
    return np.where(wide == 0, np.copysign(np.inf, -wide), np.where((wide < 0) & (wide == np.floor(wide)), np.nan, found))


_DIGAMMA = host_op("digamma", _psi, lambda ctx, g: g * polygamma(1, ctx[0]), (0,), batching=broadcasting)


@special("digamma", "psi")
@public("digamma", inplace=True, out=True)
def digamma(input: Tensor) -> Tensor:
    """The derivative of log Gamma(x). Raises RuntimeError for complex tensors."""
    return real_function("digamma", _DIGAMMA, input)


def _polygamma_of(x: Any, n: int) -> Any:
    import numpy as np
    import scipy.special
    wide = x.astype(np.float32) if x.itemsize == 2 else x
    # By the Hurwitz zeta function, of which cephes knows negative arguments too.
    found = (-1.0) ** (n + 1) * scipy.special.gamma(n + 1.0) * scipy.special.zeta(n + 1.0, wide.astype(np.float64))
    return found.astype(wide.dtype)


_POLYGAMMA = host_op("polygamma", _polygamma_of, lambda ctx, g: g * polygamma(ctx.arg[0] + 1, ctx[0]), (0,), batching=broadcasting)


@special("polygamma")
@public("polygamma", method=False, out=True)
def polygamma(n: int, input: Tensor) -> Tensor:
    """The n-th derivative of `digamma`. Raises RuntimeError for negative n and complex tensors."""
    if n < 0:
        raise RuntimeError(f"polygamma(n, x) does not support negative n (got {n}).")
    if n == 0:
        return digamma(input)
    dt = real_type("polygamma", input)
    return pointwise(_POLYGAMMA, (input,), dt, dt, "polygamma", (int(n),))


@public("polygamma", function=False, inplace=True)
def polygamma_method(self: Tensor, n: int) -> Tensor:
    """`torsh.polygamma(n, self)`."""
    return polygamma(n, self)


@special("multigammaln")
@public("mvlgamma", inplace=True, out=True)
def mvlgamma(input: Tensor, p: int) -> Tensor:
    """The logarithm of the gamma function of `p` dimensions: p (p - 1) / 4 log(pi) + sum over j < p of lgamma(x - j / 2).

    Raises RuntimeError for p < 1 and complex tensors.
    """
    if p < 1:
        raise RuntimeError("p has to be greater than or equal to 1")
    out = lgamma(input)
    for j in range(1, p):
        out = out + lgamma(input - j / 2)
    return out + p * (p - 1) / 4 * math.log(math.pi)  # type: ignore[no-any-return]


def _igamma_slope(ctx: GradNode, g: Tensor) -> Tensor:
    """d/dx: x^(a-1) exp(-x) / Gamma(a)."""
    if ctx.needs[0]:
        raise NotImplementedError("the derivative for 'igamma: input' is not implemented.")
    a, x = ctx[0], ctx[1]
    return g * exp((a - 1) * log(x) - x - lgamma(a))  # type: ignore[no-any-return]


_IGAMMA = scipy_op("gammainc", lambda ctx, g: (None, _igamma_slope(ctx, g)), (0, 1))
_IGAMMAC = scipy_op("gammaincc", lambda ctx, g: (None, -_igamma_slope(ctx, g)), (0, 1))


def _incomplete(what: str, op: Any, a: Tensor, x: Tensor) -> Tensor:
    if result_type_of(a, x).category < 2:
        raise NotImplementedError(f"\"{what}_cpu\" not implemented for '{result_type_of(a, x).title}'")
    return real_function(what, op, a, x)


@special("gammainc")
@public("igamma", inplace=True, out=True)
def igamma(input: Tensor, other: Tensor) -> Tensor:
    """The regularized lower incomplete gamma function P(input, other), broadcast; differentiable in `other`.

    Raises NotImplementedError for integers and RuntimeError for complex tensors.
    """
    return _incomplete("igamma", _IGAMMA, input, other)


@special("gammaincc")
@public("igammac", inplace=True, out=True)
def igammac(input: Tensor, other: Tensor) -> Tensor:
    """The regularized upper incomplete gamma function 1 - P(input, other), broadcast; differentiable in `other`.

    Raises NotImplementedError for integers and RuntimeError for complex tensors.
    """
    return _incomplete("igammac", _IGAMMAC, input, other)


def _zeta_vjp(ctx: GradNode, g: Tensor) -> tuple[None, Tensor]:
    if ctx.needs[0]:
        raise NotImplementedError("the derivative for 'zeta: input' is not implemented.")
    x, q = ctx[0], ctx[1]
    return None, g * -x * zeta(x + 1, q)


_ZETA = scipy_op("zeta", _zeta_vjp, (0, 1))


@special()
def zeta(input: Any, other: Any) -> Tensor:
    """The Hurwitz zeta function: sum over k of (k + other)^-input, broadcast; differentiable in `other`."""
    return real_function("zeta", _ZETA, input, other)


__all__ = ["digamma", "igamma", "igammac", "lgamma", "mvlgamma", "polygamma", "zeta"]

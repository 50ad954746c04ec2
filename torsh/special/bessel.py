"""Bessel functions and Airy's: through SciPy; derivatives for the modified ones of the first kind, as PyTorch has them."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from torsh.autograd.graph import GradNode
from torsh.graph.primitives import broadcasting
from torsh.ops.dispatch import coarse, pointwise, public
from torsh.ops.host import host_op
from torsh.ops.pointwise import isinf, sgn, sin, where
from torsh.special.common import constant, real_function, real_type, scipy_op, special, without_derivative
from torsh.tensor.tensor import Tensor


def _over(y: Tensor, x: Tensor) -> Tensor:
    """y / x, and 1/2 where x is 0: of i1(x) and i1e(x)."""
    none = x == 0
    return where(none, constant(0.5, y), y / where(none, constant(1, x), x))  # type: ignore[no-any-return]


def _i1e_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    x = ctx[0]
    return g * (i0e(x) - sgn(x) * ctx.out - _over(ctx.out, x))  # type: ignore[no-any-return]


_I0 = scipy_op("i0", lambda ctx, g: g * i1(ctx[0]), (0,))
_I0E = scipy_op("i0e", lambda ctx, g: g * (i1e(ctx[0]) - sgn(ctx[0]) * ctx.out), (0,), True)
_I1 = scipy_op("i1", lambda ctx, g: g * (i0(ctx[0]) - _over(ctx.out, ctx[0])), (0,), True)
_I1E = scipy_op("i1e", _i1e_vjp, (0,), True)


@special("i0")
@public("i0", inplace=True, out=True)
def i0(input: Tensor) -> Tensor:
    """The modified Bessel function of the first kind of order 0. Raises RuntimeError for complex tensors."""
    return real_function("i0", _I0, input)


@special()
def i0e(input: Tensor) -> Tensor:
    """exp(-|x|) i0(x)."""
    return real_function("i0e", _I0E, input)


@special()
def i1(input: Tensor) -> Tensor:
    """The modified Bessel function of the first kind of order 1."""
    return real_function("i1", _I1, input)


@special()
def i1e(input: Tensor) -> Tensor:
    """exp(-|x|) i1(x)."""
    return real_function("i1e", _I1E, input)


def _declare(name: str, scipy_name: str, doc: str) -> Callable[[Tensor], Tensor]:
    op = scipy_op(scipy_name, without_derivative("special_" + name))

    def function(input: Tensor) -> Tensor:
        return real_function(name, op, input)
    function.__name__, function.__doc__ = name, doc + " Has no derivative."
    return special(name)(function)


for _name, _scipy, _doc in (
        ("bessel_j0", "j0", "The Bessel function of the first kind of order 0."), ("bessel_j1", "j1", "The Bessel function of the first kind of order 1."),
        ("bessel_y0", "y0", "The Bessel function of the second kind of order 0."), ("bessel_y1", "y1", "The Bessel function of the second kind of order 1."),
        ("modified_bessel_i0", "i0", "The modified Bessel function of the first kind of order 0."),
        ("modified_bessel_i1", "i1", "The modified Bessel function of the first kind of order 1."),
        ("modified_bessel_k0", "k0", "The modified Bessel function of the second kind of order 0."),
        ("modified_bessel_k1", "k1", "The modified Bessel function of the second kind of order 1."),
        ("scaled_modified_bessel_k0", "k0e", "exp(x) times the modified Bessel function of the second kind of order 0."),
        ("scaled_modified_bessel_k1", "k1e", "exp(x) times the modified Bessel function of the second kind of order 1.")):
    _declare(_name, _scipy, _doc)


def _airy(x: Any) -> Any:
    import scipy.special
    return scipy.special.airy(x.astype(np.float32) if x.itemsize == 2 else x)[0]


_AIRY = host_op("special_airy_ai", _airy, without_derivative("special_airy_ai"), batching=broadcasting)


@special()
def airy_ai(input: Tensor) -> Tensor:
    """Airy's function Ai. Has no derivative."""
    return real_function("airy_ai", _AIRY, input)


def _ratio(x: Tensor) -> Any:
    none = x == 0
    safe = where(none, 1.0, x)
    return where(isinf(x), 0.0, where(none, 1.0, sin(safe) / safe))


_SPHERICAL_J0 = coarse("spherical_bessel_j0", _ratio, without_derivative("special_spherical_bessel_j0"))


@special()
def spherical_bessel_j0(input: Tensor) -> Tensor:
    """sin(x) / x, and 1 at 0. Has no derivative."""
    dt = real_type("spherical_bessel_j0", input)
    return pointwise(_SPHERICAL_J0, (input,), dt, dt, "spherical_bessel_j0", ())


__all__ = ["airy_ai", "i0", "i0e", "i1", "i1e", "spherical_bessel_j0"]

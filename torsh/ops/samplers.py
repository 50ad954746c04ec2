"""Random tensors whose parameters are tensors: Poisson, binomial, gamma and Dirichlet numbers, the last two differentiable."""
from __future__ import annotations

from typing import Any

import numpy as np

from torsh.autograd.graph import GradNode
from torsh.core import mt19937_samplers as samplers
from torsh.core.shapes import Shape, broadcast
from torsh.graph.node import Op
from torsh.graph.primitives import host, leading_batch
from torsh.ops.dispatch import public, recorded
from torsh.ops.generators import Generator, engine_of
from torsh.ops.random import drawn
from torsh.tensor.tensor import Tensor, wrap


def _flat(t: np.ndarray, shape: Shape) -> np.ndarray:
    return np.broadcast_to(t, shape).astype(np.float64).reshape(-1)


def _floating(what: str, t: Tensor) -> None:
    if t._dtype.category != 2:
        raise NotImplementedError(f"\"{what}\" not implemented for '{t._dtype.title}': it needs a floating dtype")


@public(method=False)
def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Poisson numbers of the rates in `input`, of its dtype. Raises RuntimeError for a negative rate."""
    _floating("poisson_cpu", input)
    engine = engine_of(generator)

    def draw(shape: Shape, rate: np.ndarray) -> np.ndarray:
        if (rate < 0).any():
            raise RuntimeError("invalid Poisson rate, expected rate to be non-negative")
        return samplers.poisson(engine, _flat(rate, shape)).reshape(shape).astype(rate.dtype)
    return drawn(input._shape, draw, input)


@public(method=False)
def binomial(count: Tensor, prob: Tensor, generator: Generator | None = None) -> Tensor:
    """How many of `count` trials succeed, each with probability `prob` (floating tensors of one shape, which broadcast)."""
    _floating("binomial_cpu", count)
    engine = engine_of(generator)

    def draw(shape: Shape, n: np.ndarray, p: np.ndarray) -> np.ndarray:
        return samplers.binomial(engine, _flat(n, shape), _flat(p, shape)).reshape(shape).astype(n.dtype)
    return drawn(broadcast(count._shape, prob._shape, "binomial"), draw, count, prob)


@leading_batch
def _gamma_derivative(alpha: np.ndarray, x: np.ndarray) -> np.ndarray:
    return samplers.gamma_derivative(alpha, x).astype(x.dtype)


def _gamma_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    alpha, x = ctx[0].detach(), ctx.out.detach()  # type: ignore[attr-defined]
    return g * wrap(host(_gamma_derivative, "standard_gamma_backward", (alpha._node(), x._node()), x._shape, x._dtype))


_GAMMA = Op("standard_gamma", "history", None, None, _gamma_vjp, (0,), True)


def standard_gamma(alpha: Tensor, generator: Generator | None = None) -> Tensor:
    """Gamma numbers of shape parameters `alpha` and rate 1. The derivative by alpha is that of the inverse cdf; it cannot be differentiated again."""
    _floating("gamma_cpu", alpha)
    engine = engine_of(generator)

    def draw(shape: Shape, a: np.ndarray) -> np.ndarray:
        least = np.finfo(np.float32 if a.dtype.itemsize < 8 else np.float64).tiny
        return np.maximum(samplers.standard_gamma(engine, _flat(a, shape)), least).reshape(shape).astype(a.dtype)
    return recorded(_GAMMA, None, (alpha,), drawn(alpha._shape, draw, alpha))


@leading_batch
def _dirichlet_derivative(alpha: np.ndarray, x: np.ndarray) -> np.ndarray:
    return samplers.dirichlet_derivative(alpha, alpha.sum(-1, keepdims=True) - alpha, x).astype(x.dtype)


def _dirichlet_vjp(ctx: GradNode, g: Tensor) -> Any:
    """Part i grows along its own cdf, and the others shrink in proportion."""
    alpha, x = ctx[0].detach(), ctx.out.detach()  # type: ignore[attr-defined]
    share = wrap(host(_dirichlet_derivative, "sample_dirichlet_backward", (alpha._node(), x._node()), x._shape, x._dtype))
    return share * (g - (x * g).sum(-1, True))


_DIRICHLET = Op("sample_dirichlet", "history", None, None, _dirichlet_vjp, (0,), True)


def sample_dirichlet(concentration: Tensor, generator: Generator | None = None) -> Tensor:
    """Dirichlet numbers, [*, k], of concentrations [*, k]: gamma numbers over their sum. Differentiable as `standard_gamma`."""
    _floating("dirichlet", concentration)
    engine = engine_of(generator)

    def draw(shape: Shape, a: np.ndarray) -> np.ndarray:
        kind = np.float32 if a.dtype.itemsize < 8 else np.float64
        gamma = samplers.standard_gamma(engine, _flat(a, shape)).reshape(shape)
        share = gamma / gamma.sum(-1, keepdims=True)
        return np.clip(share.astype(kind), np.finfo(kind).tiny, np.nextafter(kind(1), kind(0))).astype(a.dtype)
    return recorded(_DIRICHLET, None, (concentration,), drawn(concentration._shape, draw, concentration))


__all__ = ["binomial", "poisson", "sample_dirichlet", "standard_gamma"]

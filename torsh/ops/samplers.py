"""Random tensors whose parameters are tensors: Poisson, binomial, gamma and Dirichlet numbers, the last two differentiable."""
from __future__ import annotations

from typing import Any

import numpy as np

from torsh.autograd.graph import GradNode
from torsh.core import sample_derivatives
from torsh.core.dtypes import dtype, float32, float64
from torsh.core.shapes import Shape, broadcast
from torsh.graph.node import Op
from torsh.graph.primitives import host, leading_batch
from torsh.ops.dispatch import public, recorded
from torsh.ops.drawing import drawn, engine_of, filled, mapped, memory_of
from torsh.ops.generators import Generator
from torsh.runtime.cpu.mt19937_types import FLOAT32, FLOAT64
from torsh.tensor.tensor import Tensor, wrap


def _sampled(sampler: str, shape: Shape, dt: dtype, engine: Any, parameters: tuple[Tensor, ...], least: tuple[float, ...] = (), refusal: str = "") -> Tensor:
    """A sampler's numbers of `dt`, by parameters that broadcast to `shape`. Raises RuntimeError with `refusal` for those that it refuses."""
    if mapped.draw is None and (dt is float32 or dt is float64):
        memory = [memory_of(p) for p in parameters if p._dtype is dt and p._shape == shape]
        if len(memory) == len(parameters):
            return filled(shape, dt, engine.sample_at, sampler, refusal, memory, *[address for _, address in memory], *least)
    work = FLOAT64 if dt is float64 else FLOAT32

    def draw(s: Shape, *arrays: np.ndarray) -> np.ndarray:
        given = [np.ascontiguousarray(np.broadcast_to(a, s), work) for a in arrays]
        out = np.empty(s, work)
        engine.sample_at(out.ctypes.data, out.size, work, sampler, refusal, given, *[a.ctypes.data for a in given], *least)
        return out.astype(dt.np, copy=False)
    return drawn(shape, draw, *parameters)


def _floating(what: str, t: Tensor) -> None:
    if t._dtype.category != 2:
        raise NotImplementedError(f"\"{what}\" not implemented for '{t._dtype.title}': it needs a floating dtype")


@public(method=False)
def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Poisson numbers of the rates in `input`, of its dtype. Raises RuntimeError for a negative rate."""
    _floating("poisson_cpu", input)
    return _sampled("poisson", input._shape, input._dtype, engine_of(generator), (input,),
                    refusal="invalid Poisson rate, expected rate to be non-negative")


@public(method=False)
def binomial(count: Tensor, prob: Tensor, generator: Generator | None = None) -> Tensor:
    """How many of `count` trials succeed, each with probability `prob` (floating tensors of one shape, which broadcast)."""
    _floating("binomial_cpu", count)
    return _sampled("binomial", broadcast(count._shape, prob._shape, "binomial"), count._dtype, engine_of(generator), (count, prob))


@leading_batch
def _gamma_derivative(alpha: np.ndarray, x: np.ndarray) -> np.ndarray:
    return sample_derivatives.gamma_derivative(alpha, x).astype(x.dtype)


def _gamma_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    alpha, x = ctx[0].detach(), ctx.out.detach()  # type: ignore[attr-defined]
    return g * wrap(host(_gamma_derivative, "standard_gamma_backward", (alpha._node(), x._node()), x._shape, x._dtype))


_GAMMA = Op("standard_gamma", "history", None, None, _gamma_vjp, (0,), True)


def _least(dt: dtype) -> float:
    return float(np.finfo(np.float32 if dt.itemsize < 8 else np.float64).tiny)


def standard_gamma(alpha: Tensor, generator: Generator | None = None) -> Tensor:
    """Gamma numbers of shape parameters `alpha` and rate 1. The derivative by alpha is that of the inverse cdf; it cannot be differentiated again."""
    _floating("gamma_cpu", alpha)
    return recorded(_GAMMA, None, (alpha,), _sampled("gamma", alpha._shape, alpha._dtype, engine_of(generator), (alpha,), (_least(alpha._dtype),)))


@leading_batch
def _dirichlet_derivative(alpha: np.ndarray, x: np.ndarray) -> np.ndarray:
    return sample_derivatives.dirichlet_derivative(alpha, alpha.sum(-1, keepdims=True) - alpha, x).astype(x.dtype)


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
        alpha, gamma = np.ascontiguousarray(a, np.float64), np.empty(shape)
        engine.sample_at(gamma.ctypes.data, gamma.size, FLOAT64, "gamma", "", alpha, alpha.ctypes.data, 0.0)
        share = gamma / gamma.sum(-1, keepdims=True)
        return np.clip(share.astype(kind), np.finfo(kind).tiny, np.nextafter(kind(1), kind(0))).astype(a.dtype)
    return recorded(_DIRICHLET, None, (concentration,), drawn(concentration._shape, draw, concentration))


__all__ = ["binomial", "poisson", "sample_dirichlet", "standard_gamma"]

"""Initial values: PyTorch's distributions, drawn in PyTorch's order, so that one seed gives the same weights."""
from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from torsh.autograd.grad_mode import no_grad
from torsh.core.shapes import numel
from torsh.tensor.creation import empty_like, from_array
from torsh.tensor.tensor import Tensor


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which a nonlinearity changes the standard deviation it should be fed with. Raises ValueError if unknown.

    >>> calculate_gain("relu")
    1.4142135623730951
    """
    if nonlinearity in ("linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "sigmoid"):
        return 1.0
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, (int, float)):
            raise ValueError(f"negative_slope {param} not a valid number")
        return math.sqrt(2.0 / (1 + slope ** 2))
    if nonlinearity == "selu":
        return 3.0 / 4
    raise ValueError(f"Unsupported nonlinearity {nonlinearity}")


def fans(tensor: Tensor) -> tuple[int, int]:
    """(inputs, outputs) of one unit of a weight [out, in, *kernel]. Raises ValueError for fewer than 2 dimensions."""
    shape = tensor._shape
    if len(shape) < 2:
        raise ValueError("Fan in and fan out can not be computed for tensor with fewer than 2 dimensions")
    field = numel(shape[2:])
    return shape[1] * field, shape[0] * field


_calculate_fan_in_and_fan_out = fans


def _fan(tensor: Tensor, mode: str) -> int:
    if mode.lower() not in ("fan_in", "fan_out"):
        raise ValueError(f"Mode {mode.lower()} not supported, please use one of ['fan_in', 'fan_out']")
    return fans(tensor)[mode.lower() == "fan_out"]


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform in [a, b)."""
    with no_grad():
        return tensor.uniform_(a, b, generator=generator)  # type: ignore[attr-defined,no-any-return]


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Normal with `mean` and `std`."""
    with no_grad():
        return tensor.normal_(mean, std, generator=generator)  # type: ignore[attr-defined,no-any-return]


def constant_(tensor: Tensor, val: float) -> Tensor:
    """One value everywhere."""
    with no_grad():
        return tensor.fill_(val)  # type: ignore[attr-defined,no-any-return]


def ones_(tensor: Tensor) -> Tensor:
    """Ones."""
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Zeros."""
    return constant_(tensor, 0.0)


def _put(tensor: Tensor, array: np.ndarray) -> Tensor:
    with no_grad():
        return tensor.copy_(from_array(array.astype(tensor._dtype.np)))  # type: ignore[attr-defined,no-any-return]


def eye_(tensor: Tensor) -> Tensor:
    """The identity. Raises ValueError unless 2 dimensions."""
    if len(tensor._shape) != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    return _put(tensor, np.eye(*tensor._shape))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Convolutions that keep their input. Raises ValueError unless 3 to 5 dimensions and sizes divisible by `groups`."""
    shape = tensor._shape
    if len(shape) not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    if shape[0] % groups:
        raise ValueError("dim 0 must be divisible by groups")
    out = np.zeros(shape)
    each = shape[0] // groups
    for g in range(groups):
        for d in range(min(each, shape[1])):
            out[(g * each + d, d, *[n // 2 for n in shape[2:]])] = 1
    return _put(tensor, out)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform with variance gain^2 * 2 / (fan_in + fan_out). Glorot & Bengio, 2010."""
    bound = math.sqrt(3.0) * (gain * math.sqrt(2.0 / float(sum(fans(tensor)))))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Normal with variance gain^2 * 2 / (fan_in + fan_out). Glorot & Bengio, 2010."""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / float(sum(fans(tensor)))), generator)


def kaiming_uniform_(tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None) -> Tensor:
    """Uniform with variance gain^2 / fan. He et al., 2015."""
    if 0 in tensor._shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=2)
        return tensor
    fan = _fan(tensor, mode)
    bound = math.sqrt(3.0) * (calculate_gain(nonlinearity, a) / math.sqrt(fan))
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None) -> Tensor:
    """Normal with variance gain^2 / fan. He et al., 2015."""
    if 0 in tensor._shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=2)
        return tensor
    return normal_(tensor, 0.0, calculate_gain(nonlinearity, a) / math.sqrt(_fan(tensor, mode)), generator)


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Any = None) -> Tensor:
    """A (semi-)orthogonal matrix of [rows, the rest]. Saxe et al., 2013. Raises ValueError for fewer than 2 dimensions."""
    shape = tensor._shape
    if len(shape) < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if 0 in shape:
        return tensor
    from torsh.ops.generators import engine_of
    rows, columns = shape[0], numel(shape) // shape[0]
    flat = engine_of(generator).normal((rows, columns), tensor._dtype.np)
    q, r = np.linalg.qr(flat.T if rows < columns else flat)
    q = q * np.sign(np.diag(r))
    return _put(tensor, (q.T if rows < columns else q).reshape(shape) * gain)


def _normal_below(x: float) -> float:
    """The normal distribution function."""
    return (1.0 + math.erf(x / math.sqrt(2.0))) / 2.0


def trunc_normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator: Any = None) -> Tensor:
    """Normal with `mean` and `std`, only values within [a, b]: by drawing again what lies outside.

    Where that would take long, uniform candidates are accepted with the probability of the density.
    """
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn("mean is more than 2 std from [a, b] in nn.init.trunc_normal_. The distribution of values may be incorrect.", stacklevel=2)
    if _normal_below((b - mean) / std) - _normal_below((a - mean) / std) > 0.3:
        low, high = (np.array(v, tensor._dtype.np) for v in (a, b))
        normal_(tensor, mean, std, generator)
        found = tensor.detach().numpy()  # type: ignore[attr-defined]
        other: Any = empty_like(tensor)
        while True:
            outside = (found < low) | (found > high)
            if not outside.any():
                return _put(tensor, found)
            found = np.where(outside, normal_(other, mean, std, generator).detach().numpy(), found)  # type: ignore[attr-defined]
    peak = -0.5 * ((max(a, min(mean, b)) - mean) / std) ** 2
    return _accepted(tensor, mean, std, a, b, peak, generator)


def _accepted(tensor: Tensor, mean: float, std: float, a: float, b: float, peak: float, generator: Any) -> Tensor:
    """Uniform candidates in [a, b], each accepted with probability exp(log density - peak)."""
    candidates: Any = empty_like(tensor)
    accept: Any = empty_like(tensor)

    def refused(values: Any) -> Any:
        with no_grad():
            height = ((values - mean) / std).pow(2) * -0.5 - peak
            return (uniform_(accept, 0.0, 1.0, generator).log() > height).numpy()  # type: ignore[attr-defined]
    uniform_(tensor, a, b, generator)
    found = tensor.detach().numpy().copy()  # type: ignore[attr-defined]
    pending = refused(tensor.detach())  # type: ignore[attr-defined]
    while pending.any():
        uniform_(candidates, a, b, generator)
        found = np.where(pending, candidates.numpy(), found)
        pending = pending & refused(candidates)
    return _put(tensor, found)


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Any = None) -> Tensor:
    """Normal with `std`, the share `sparsity` of each column zero. Martens, 2010. Raises ValueError unless 2 dimensions."""
    if len(tensor._shape) != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    from torsh.ops.random import randperm
    rows, columns = tensor._shape
    zeros = math.ceil(sparsity * rows)
    normal_(tensor, 0, std, generator)
    found = tensor.detach().numpy().copy()  # type: ignore[attr-defined]
    for column in range(columns):
        found[randperm(rows).numpy()[:zeros], column] = 0  # type: ignore[attr-defined]
    return _put(tensor, found)


def _older(current: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """An initializer under its name from before they ended in "_"."""
    old = current.__name__[:-1]

    def call(*args: Any, **kwargs: Any) -> Tensor:
        warnings.warn(f"`nn.init.{old}` is now deprecated in favor of `nn.init.{current.__name__}`.", FutureWarning, stacklevel=2)
        return current(*args, **kwargs)
    call.__name__ = old
    call.__doc__ = f"`{current.__name__}` by its older name. Deprecated, as in PyTorch."
    return call


uniform, normal, constant, eye, dirac = (_older(f) for f in (uniform_, normal_, constant_, eye_, dirac_))
xavier_uniform, xavier_normal, kaiming_uniform, kaiming_normal, orthogonal, sparse = (
    _older(f) for f in (xavier_uniform_, xavier_normal_, kaiming_uniform_, kaiming_normal_, orthogonal_, sparse_))
__all__ = ["calculate_gain", "constant_", "dirac_", "eye_", "kaiming_normal_", "kaiming_uniform_", "normal_", "ones_", "orthogonal_", "sparse_",
           "trunc_normal_", "uniform_", "xavier_normal_", "xavier_uniform_", "zeros_"]

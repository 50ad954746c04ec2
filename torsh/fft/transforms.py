"""Discrete Fourier transforms through scipy.fft, as opaque host steps.

Three operations carry all forms: complex to complex over several dimensions, real to half a spectrum and back over one. Each is linear,
so its derivative is its adjoint: the transform in the other direction with the same scale, for half spectra with the mirrored half
accounted for.
"""
from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any

import numpy as np

from torsh.autograd.autocast import in_full_precision
from torsh.autograd.graph import GradNode
from torsh.core.dtypes import get_default_dtype
from torsh.core.shapes import wrap_dim
from torsh.graph.primitives import axes_first, axis_first
from torsh.ops.complex_numbers import as_complex, conj
from torsh.ops.dispatch import apply, cast_tensor, with_out
from torsh.ops.host import host_op
from torsh.ops.join import constant_pad_nd
from torsh.ops.views import narrow
from torsh.tensor.tensor import Tensor

#: torsh.fft.<name>
FFT: dict[str, Callable[..., Any]] = {}
_FORWARD = {"backward": "backward", "ortho": "ortho", "forward": "forward"}
_INVERSE = {"backward": "forward", "ortho": "ortho", "forward": "backward"}


def fourier(f: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: the function is `torsh.fft.<its name>`, with an `out=` argument."""
    FFT[f.__name__] = with_out(f, f.__name__)
    return f


# A scale is "none", "ortho" (1 / sqrt(n)) or "full" (1 / n); SciPy says it by naming the direction that is scaled.


def _c2c(x: Any, axes: tuple[int, ...], forward: bool, scale: str) -> Any:
    from scipy import fft
    if x.size == 0:
        return x.copy()
    norm = {"none": "backward" if forward else "forward", "ortho": "ortho", "full": "forward" if forward else "backward"}[scale]
    return (fft.fftn if forward else fft.ifftn)(x, axes=axes, norm=norm)


def _r2c(x: Any, axis: int, scale: str) -> Any:
    from scipy import fft
    return fft.rfft(x, axis=axis, norm={"none": "backward", "ortho": "ortho", "full": "forward"}[scale])


def _c2r(x: Any, axis: int, n: int, scale: str) -> Any:
    from scipy import fft
    return fft.irfft(x, n, axis=axis, norm={"none": "forward", "ortho": "ortho", "full": "backward"}[scale])


def _c2c_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    axes, forward, scale = ctx.arg
    return complex_to_complex(g, axes, not forward, scale)


def _r2c_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    """The adjoint of a half spectrum: the whole transform's, of the half filled up with zeros; real part."""
    axis, scale = ctx.arg
    full = resized(g, axis, ctx.shapes[0][axis])
    return complex_to_complex(full, (axis,), False, scale).real  # type: ignore[no-any-return]


def _c2r_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    """Frequencies that stand for their mirror image too count twice."""
    axis, n, scale = ctx.arg
    half = real_to_complex(g, axis, scale)
    k = half._shape[axis]
    weights = np.ones(k, g._dtype.np)
    weights[1:(n + 1) // 2] = 2
    from torsh.tensor.creation import from_array
    shape = [1] * len(half._shape)
    shape[axis] = k
    return resized(half * from_array(weights).reshape(shape), axis, ctx.shapes[0][axis])  # type: ignore[attr-defined]


_C2C = host_op("fft_c2c", _c2c, _c2c_vjp, grad_name="FftC2CBackward0", batching=axes_first)
_R2C = host_op("fft_r2c", _r2c, _r2c_vjp, grad_name="FftR2CBackward0", batching=axis_first)
_C2R = host_op("fft_c2r", _c2r, _c2r_vjp, grad_name="FftC2RBackward0", batching=axis_first)


def complex_to_complex(x: Tensor, axes: tuple[int, ...], forward: bool, scale: str) -> Tensor:
    """The transform of a complex tensor over axes (none: the tensor itself)."""
    return apply(_C2C, (x,), (axes, forward, scale), x._shape, x._dtype) if axes else x


def real_to_complex(x: Tensor, axis: int, scale: str) -> Tensor:
    """Frequencies 0 .. n // 2 of a real tensor along an axis."""
    shape = (*x._shape[:axis], x._shape[axis] // 2 + 1, *x._shape[axis + 1:])
    return apply(_R2C, (x,), (axis, scale), shape, x._dtype.to_complex())


def complex_to_real(x: Tensor, axis: int, n: int, scale: str) -> Tensor:
    """The n real numbers with the half spectrum `x` along an axis (imaginary parts that cannot be are ignored)."""
    return apply(_C2R, (x,), (axis, n, scale), (*x._shape[:axis], n, *x._shape[axis + 1:]), x._dtype.to_real())


def resized(x: Tensor, axis: int, n: int) -> Tensor:
    """Cut or filled up with zeros to n elements along an axis."""
    have = x._shape[axis]
    if n < have:
        return narrow(x, axis, 0, n)  # type: ignore[no-any-return]
    return x if n == have else constant_pad_nd(x, (0, 0) * (len(x._shape) - axis - 1) + (0, n - have), 0)


# ---- arguments


def _promoted(input: Tensor, want_complex: bool) -> Tensor:
    if input._dtype.category < 2:
        input = cast_tensor(input, get_default_dtype())
    if input._dtype.itemsize < 4:
        raise RuntimeError(f"Unsupported dtype {input._dtype.title}")
    return as_complex(input) if want_complex else input


def _real_input(what: str, input: Tensor) -> Tensor:
    if input._dtype.is_complex:
        raise RuntimeError(f"{what} expects a real input tensor, but got {input._dtype.title}")
    return _promoted(input, False)


def _scale(norm: str | None, forward: bool) -> str:
    norm = "backward" if norm is None else norm
    if norm not in _FORWARD:
        raise RuntimeError(f'Invalid normalization mode: "{norm}"')
    found = _FORWARD[norm] if forward else _INVERSE[norm]
    return {"backward": "none", "ortho": "ortho", "forward": "full"}[found]


def _axis(x: Tensor, dim: int) -> int:
    if not x._shape:
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    return wrap_dim(dim, len(x._shape))


def _length(n: Any) -> int:
    if n < 1:
        raise RuntimeError(f"Invalid number of data points ({n}) specified")
    return operator.index(n)


def _axes(x: Tensor, s: Sequence[int] | int | None, dim: Sequence[int] | int | None) -> tuple[list[int], list[int]]:
    """(sizes, axes) that `s` and `dim` mean; a size of -1 keeps what is there."""
    s = (s,) if isinstance(s, (int, Integral)) else s
    dim = (dim,) if isinstance(dim, (int, Integral)) else dim
    n = len(x._shape)
    if dim is not None:
        axes = [wrap_dim(d, n) for d in dim]
        if len(set(axes)) != len(axes):
            raise RuntimeError("FFT dims must be unique")
        if s is not None and len(s) != len(axes):
            raise RuntimeError("When given, dim and shape arguments must have the same length")
        if not n and axes:
            raise IndexError(f"Dimension specified as {dim[0]} but tensor has no dimensions")
    elif s is not None:
        if len(s) > n:
            raise RuntimeError(f"Got shape with {len(s)} values but input tensor only has {n} dimensions.")
        axes = list(range(n - len(s), n))
    else:
        axes = list(range(n))
    sizes = [x._shape[a] if s is None or s[i] == -1 else int(s[i]) for i, a in enumerate(axes)]
    for size in sizes:
        _length(size)
    return sizes, axes


def _all_resized(x: Tensor, axes: list[int], sizes: list[int]) -> Tensor:
    for a, n in zip(axes, sizes, strict=True):
        x = resized(x, a, n)
    return x


# ---- one dimension


def _one(input: Tensor, n: int | None, dim: int, norm: str | None, forward: bool) -> Tensor:
    x = _promoted(input, True)
    a = _axis(x, dim)
    x = resized(x, a, _length(x._shape[a] if n is None else n))
    return complex_to_complex(x, (a,), forward, _scale(norm, forward))


@fourier
@in_full_precision
def fft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The Fourier transform along a dimension, of `n` elements (cut or filled up with zeros): sum over k of x_k exp(-2 pi i j k / n).

    `norm` "backward" (no scale), "ortho" (1 / sqrt(n)) or "forward" (1 / n). Raises RuntimeError for another one and for n < 1.

    >>> import torsh
    >>> torsh.fft.fft(torsh.tensor([1.0, 0.0, 0.0]))
    tensor([1.+0.j, 1.+0.j, 1.+0.j])
    """
    return _one(input, n, dim, norm, True)


@fourier
@in_full_precision
def ifft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of `fft`; "backward" scales by 1 / n, "forward" not at all."""
    return _one(input, n, dim, norm, False)


@fourier
@in_full_precision
def rfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The first n // 2 + 1 frequencies of `fft` of a real tensor. Raises RuntimeError for a complex one."""
    x = _real_input("rfft", input)
    a = _axis(x, dim)
    return real_to_complex(resized(x, a, _length(x._shape[a] if n is None else n)), a, _scale(norm, True))


def _to_real(input: Tensor, n: int | None, dim: int, norm: str | None, forward: bool) -> Tensor:
    x = _promoted(input, True)
    a = _axis(x, dim)
    size = _length(2 * (x._shape[a] - 1) if n is None else n)
    x = resized(x, a, size // 2 + 1)
    return complex_to_real(conj(x) if forward else x, a, size, _scale(norm, forward))


@fourier
@in_full_precision
def irfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of `rfft`: `n` real numbers (2 (m - 1) of m frequencies by default)."""
    return _to_real(input, n, dim, norm, False)


@fourier
@in_full_precision
def hfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """`fft` of a signal given by its first half, the other half being its conjugate mirror image: `n` real numbers."""
    return _to_real(input, n, dim, norm, True)


@fourier
@in_full_precision
def ihfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of `hfft`. Raises RuntimeError for a complex tensor."""
    x = _real_input("ihfft", input)
    a = _axis(x, dim)
    return conj(real_to_complex(resized(x, a, _length(x._shape[a] if n is None else n)), a, _scale(norm, False)))


# ---- several dimensions


def _several(input: Tensor, s: Any, dim: Any, norm: str | None, forward: bool) -> Tensor:
    x = _promoted(input, True)
    sizes, axes = _axes(x, s, dim)
    return complex_to_complex(_all_resized(x, axes, sizes), tuple(axes), forward, _scale(norm, forward))


def _real_several(what: str, input: Tensor, s: Any, dim: Any, norm: str | None, forward: bool) -> Tensor:
    x = _real_input(what, input)
    sizes, axes = _axes(x, s, dim)
    if not axes:
        raise RuntimeError(f"{what} must transform at least one axis")
    scale = _scale(norm, forward)
    half = real_to_complex(_all_resized(x, axes, sizes), axes[-1], scale)
    return complex_to_complex(half if forward else conj(half), tuple(axes[:-1]), forward, scale)


def _to_real_several(what: str, input: Tensor, s: Any, dim: Any, norm: str | None, forward: bool) -> Tensor:
    x = _promoted(input, True)
    sizes, axes = _axes(x, s, dim)
    if not axes:
        raise RuntimeError(f"{what} must transform at least one axis")
    given = None if s is None else (s if isinstance(s, (int, Integral)) else s[-1])
    last = _length(2 * (x._shape[axes[-1]] - 1) if given is None or given == -1 else given)
    x = _all_resized(x, axes, [*sizes[:-1], last // 2 + 1])
    scale = _scale(norm, forward)
    x = complex_to_complex(x, tuple(axes[:-1]), forward, scale)
    return complex_to_real(conj(x) if forward else x, axes[-1], last, scale)


_DOCS = {"fft": "The Fourier transform", "ifft": "The inverse Fourier transform", "rfft": "The half spectrum of a real tensor (halved in the last dimension)",
         "irfft": "Real numbers from a half spectrum (the inverse of the `rfft` form)", "hfft": "The real transform of a signal given by its first half",
         "ihfft": "The inverse of the `hfft` form"}


def _forms(name: str, make: Callable[..., Tensor], forward: bool) -> None:
    real = "r" in name or "h" in name

    def nd(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
        return make(name + "n", input, s, dim, norm, forward) if real else make(input, s, dim, norm, forward)

    def two(input: Tensor, s: Any = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
        return make(name + "2", input, s, dim, norm, forward) if real else make(input, s, dim, norm, forward)
    for function, suffix, which in ((nd, "n", "all dimensions, or those that `s` (sizes) and `dim` name"), (two, "2", "two dimensions")):
        function.__name__ = name + suffix
        function.__doc__ = f"{_DOCS[name]} over {which}. Raises RuntimeError for sizes below 1, repeated dimensions and an unknown `norm`."
        fourier(function if "h" in name else in_full_precision(function))


_forms("fft", _several, True)
_forms("ifft", _several, False)
_forms("rfft", _real_several, True)
_forms("ihfft", _real_several, False)
_forms("irfft", _to_real_several, False)
_forms("hfft", _to_real_several, True)

"""Window functions: `torsh.signal.windows`, and the older `torsh.hann_window` and its kin.

Values are made on the host in double precision (SciPy's formulas, symmetric windows of one element more for periodic ones) and rounded once.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from torsh.core import devices
from torsh.core.dtypes import dtype, float32, float64, get_default_dtype
from torsh.ops.dispatch import public
from torsh.tensor.creation import _check, finish, from_array
from torsh.tensor.tensor import Tensor


def _made(what: str, M: int, sym: bool, dt: dtype | None, layout: Any, device: Any, requires_grad: bool,
          shape: Callable[[np.ndarray, int], np.ndarray], alone: float = 1.0) -> Tensor:
    """The window whose symmetric form of n elements is `shape(0 .. n-1, n)`, or `alone` for one element.

    Raises ValueError for a negative length, a dtype other than float32 and float64, or a layout that is not strided.
    """
    dt = dt or get_default_dtype()
    if M < 0:
        raise ValueError(f"{what} requires non-negative window length, got M={M}")
    if layout is not None and str(layout) not in ("torch.strided", "torsh.strided", "strided"):
        raise ValueError(f"{what} is implemented for strided tensors only, got: {layout}")
    if dt not in (float32, float64):
        raise ValueError(f"{what} expects float32 or float64 dtypes, got: {dt}")
    devices.require(device)
    if M <= 1:
        return finish(from_array(np.full(M, alone, dt.np)), requires_grad)
    n = M if sym else M + 1
    return finish(from_array(shape(np.arange(n, dtype=np.float64), n)[:M].astype(dt.np)), requires_grad)


def _cosines(weights: list[float]) -> Callable[[np.ndarray, int], np.ndarray]:
    def shape(k: np.ndarray, n: int) -> np.ndarray:
        turn = 2 * math.pi * k / (n - 1)
        return sum(((-1) ** i * a * np.cos(i * turn) for i, a in enumerate(weights)), np.zeros(n))
    return shape


def general_cosine(M: int, *, a: Iterable[float], sym: bool = True, dtype: dtype | None = None, layout: Any = None, device: Any = None,
                   requires_grad: bool = False) -> Tensor:
    """Sums of cosines with weights a_i of alternating signs: sum (-1)^i a_i cos(2 pi i k / (M - 1)). Raises TypeError or ValueError for bad weights.

    >>> import torsh
    >>> torsh.signal.windows.general_cosine(3, a=[0.5, 0.5])
    tensor([0., 1., 0.])
    """
    if not isinstance(a, Iterable):
        raise TypeError("Coefficients must be a list/tuple")
    weights = [float(w) for w in a]
    if not weights:
        raise ValueError("Coefficients cannot be empty")
    return _made("general_cosine", M, sym, dtype, layout, device, requires_grad, _cosines(weights))


def general_hamming(M: int, *, alpha: float = 0.54, sym: bool = True, dtype: dtype | None = None, layout: Any = None, device: Any = None,
                    requires_grad: bool = False) -> Tensor:
    """`alpha - (1 - alpha) cos(2 pi k / (M - 1))`."""
    return general_cosine(M, a=[alpha, 1.0 - alpha], sym=sym, dtype=dtype, layout=layout, device=device, requires_grad=requires_grad)


def _fixed(name: str, weights: list[float], doc: str) -> Callable[..., Tensor]:
    def window(M: int, *, sym: bool = True, dtype: dtype | None = None, layout: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
        return _made(name, M, sym, dtype, layout, device, requires_grad, _cosines(weights))
    window.__name__, window.__doc__ = name, doc
    return window


hamming = _fixed("hamming", [0.54, 0.46], "`general_hamming` with 0.54.")
hann = _fixed("hann", [0.5, 0.5], "A raised cosine: 0.5 - 0.5 cos(2 pi k / (M - 1)); periodic unless `sym`.")
blackman = _fixed("blackman", [0.42, 0.5, 0.08], "A cosine sum with weights 0.42, 0.5 and 0.08.")
nuttall = _fixed("nuttall", [0.3635819, 0.4891775, 0.1365995, 0.0106411], "A cosine sum with Nuttall's four weights (continuous first derivative).")


def bartlett(M: int, *, sym: bool = True, dtype: dtype | None = None, layout: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A triangle: 1 - |2 k / (M - 1) - 1|."""
    return _made("bartlett", M, sym, dtype, layout, device, requires_grad, lambda k, n: 1 - np.abs(2 * k / (n - 1) - 1))


def cosine(M: int, *, sym: bool = True, dtype: dtype | None = None, layout: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Half a wave: sin(pi (k + 0.5) / M)."""
    return _made("cosine", M, sym, dtype, layout, device, requires_grad, lambda k, n: np.sin(math.pi * (k + 0.5) / n))


def exponential(M: int, *, center: float | None = None, tau: float = 1.0, sym: bool = True, dtype: dtype | None = None, layout: Any = None,
                device: Any = None, requires_grad: bool = False) -> Tensor:
    """exp(-|k - center| / tau), the middle being the center unless one is given. Raises ValueError for tau <= 0 and a center of a symmetric one."""
    if tau <= 0:
        raise ValueError(f"Tau must be positive, got: {tau} instead.")
    if sym and center is not None:
        raise ValueError("Center must be None for symmetric windows")
    return _made("exponential", M, sym, dtype, layout, device, requires_grad,
                 lambda k, n: np.exp(-np.abs(k - ((n - 1) / 2 if center is None else center)) / tau),
                 1.0 if center is None else math.exp(-abs(center) / tau))


def gaussian(M: int, *, std: float = 1.0, sym: bool = True, dtype: dtype | None = None, layout: Any = None, device: Any = None,
             requires_grad: bool = False) -> Tensor:
    """exp(-(k - middle)^2 / (2 std^2)). Raises ValueError for std <= 0."""
    if std <= 0:
        raise ValueError(f"Standard deviation must be positive, got: {std} instead.")
    return _made("gaussian", M, sym, dtype, layout, device, requires_grad, lambda k, n: np.exp(-0.5 * ((k - (n - 1) / 2) / std) ** 2))


def _kaiser(beta: float) -> Callable[[np.ndarray, int], np.ndarray]:
    def shape(k: np.ndarray, n: int) -> np.ndarray:
        from scipy.special import i0
        half = (n - 1) / 2
        return np.asarray(i0(beta * np.sqrt(np.maximum(1 - ((k - half) / half) ** 2, 0))) / i0(beta))
    return shape


def kaiser(M: int, *, beta: float = 12.0, sym: bool = True, dtype: dtype | None = None, layout: Any = None, device: Any = None,
           requires_grad: bool = False) -> Tensor:
    """I0(beta sqrt(1 - ((k - middle) / middle)^2)) / I0(beta). Raises ValueError for a negative beta."""
    if beta < 0:
        raise ValueError(f"beta must be non-negative, got: {beta} instead.")
    return _made("kaiser", M, sym, dtype, layout, device, requires_grad, _kaiser(beta))


# ---- the older functions: periodic by default, and any floating dtype


def _older(name: str, length: Any, periodic: bool, shape: Callable[[np.ndarray, int], np.ndarray], dt: dtype | None, layout: Any, device: Any,
           requires_grad: bool, pin_memory: bool) -> Tensor:
    dt = dt or get_default_dtype()
    if dt.category < 2:
        raise RuntimeError(f"{name} expects floating point dtypes, got: {dt}")
    if dt.is_complex:
        raise RuntimeError(f"{name} does not support complex dtypes, got: {dt}")
    if length < 0:
        raise RuntimeError(f"{name} requires non-negative window_length, got window_length={length}")
    devices.require(device)
    _check(layout, pin_memory)
    n = int(length)
    if n <= 1:
        return finish(from_array(np.ones(n, dt.np)), requires_grad)
    size = n + 1 if periodic else n
    return finish(from_array(shape(np.arange(size, dtype=np.float64), size)[:n].astype(dt.np)), requires_grad)


@public(method=False)
def hann_window(window_length: int, periodic: bool = True, *, dtype: dtype | None = None, layout: Any = None, device: Any = None,
                requires_grad: bool = False, pin_memory: bool = False) -> Tensor:
    """`signal.windows.hann`, periodic by default. Raises RuntimeError for a negative length or a dtype that is not floating.

    >>> import torsh
    >>> torsh.hann_window(4)
    tensor([0.0000, 0.5000, 1.0000, 0.5000])
    """
    return _older("hann_window", window_length, periodic, _cosines([0.5, 0.5]), dtype, layout, device, requires_grad, pin_memory)


@public(method=False)
def hamming_window(window_length: int, periodic: bool = True, alpha: float = 0.54, beta: float = 0.46, *, dtype: dtype | None = None, layout: Any = None,
                   device: Any = None, requires_grad: bool = False, pin_memory: bool = False) -> Tensor:
    """`alpha - beta cos(2 pi k / n)`, periodic by default."""
    return _older("hamming_window", window_length, periodic, _cosines([alpha, beta]), dtype, layout, device, requires_grad, pin_memory)


@public(method=False)
def blackman_window(window_length: int, periodic: bool = True, *, dtype: dtype | None = None, layout: Any = None, device: Any = None,
                    requires_grad: bool = False, pin_memory: bool = False) -> Tensor:
    """`signal.windows.blackman`, periodic by default."""
    return _older("blackman_window", window_length, periodic, _cosines([0.42, 0.5, 0.08]), dtype, layout, device, requires_grad, pin_memory)


@public(method=False)
def bartlett_window(window_length: int, periodic: bool = True, *, dtype: dtype | None = None, layout: Any = None, device: Any = None,
                    requires_grad: bool = False, pin_memory: bool = False) -> Tensor:
    """`signal.windows.bartlett`, periodic by default."""
    return _older("bartlett_window", window_length, periodic, lambda k, n: 1 - np.abs(2 * k / (n - 1) - 1), dtype, layout, device, requires_grad, pin_memory)


@public(method=False)
def kaiser_window(window_length: int, periodic: bool = True, beta: float = 12.0, *, dtype: dtype | None = None, layout: Any = None, device: Any = None,
                  requires_grad: bool = False, pin_memory: bool = False) -> Tensor:
    """`signal.windows.kaiser`, periodic by default."""
    return _older("kaiser_window", window_length, periodic, _kaiser(beta), dtype, layout, device, requires_grad, pin_memory)


__all__ = ["bartlett", "blackman", "cosine", "exponential", "gaussian", "general_cosine", "general_hamming", "hamming", "hann", "kaiser", "nuttall"]

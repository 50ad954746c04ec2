"""Dropout: elements, channels or (for selu networks) activations replaced at random. Masks are drawn at the call.

With one seed the masks are PyTorch's, drawn in the same order.
"""
from __future__ import annotations

from typing import Any

from torsh.core.dtypes import bool_
from torsh.core.shapes import Shape, numel
from torsh.ops.dispatch import cast_tensor, copy_into
from torsh.ops.drawing import filled
from torsh.runtime.cpu.generator import default_generator
from torsh.tensor.tensor import Tensor

_ALPHA = 1.7580993408473766  # selu's limit for x -> -infinity, negated: scale * alpha


def kept_mask(shape: Shape, p: Any) -> Tensor:
    """A bool tensor, true with probability 1 - p."""
    return filled(shape, bool_, default_generator().bernoulli_at, 1.0 - p)


def _check(what: str, p: Any) -> None:
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"{what}: dropout probability has to be between 0 and 1, but got {p}")


def _dropped(input: Tensor, p: Any, training: bool, shape: Shape, alpha: bool = False) -> Tensor:
    p = float(p)
    if not training or p == 0 or not numel(input._shape):
        return input
    if input._dtype.category < 2:
        raise RuntimeError(f"dropout: result type Float can't be cast to the desired output type {input._dtype.title}")
    if p == 1:
        return input * 0
    kept = cast_tensor(kept_mask(shape, p), input._dtype)
    if not alpha:
        return input * (kept / (1 - p))
    # Klambauer et al., 2017: dropped elements become selu's lower limit; a and b restore mean 0 and variance 1.
    a = 1 / ((_ALPHA * _ALPHA * p + 1) * (1 - p)) ** 0.5
    return input * (kept * a) + ((kept - 1) * (_ALPHA * a) + _ALPHA * a * p)


def _result(input: Tensor, value: Tensor, inplace: bool) -> Tensor:
    return copy_into(input, value, "dropout_") if inplace and value is not input else value


def dropout(input: Tensor, p: Any = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """In training, elements made 0 with probability p and the others scaled by 1 / (1 - p). Srivastava et al., 2014.

    Raises ValueError for p outside [0, 1].
    """
    _check("dropout", p)
    return _result(input, _dropped(input, p, training, input._shape), inplace)


def alpha_dropout(input: Tensor, p: Any = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Dropout that keeps the mean and variance of selu activations. Klambauer et al., 2017. Raises ValueError for p outside [0, 1]."""
    _check("alpha_dropout", p)
    return _result(input, _dropped(input, p, training, input._shape, True), inplace)


def _channels(what: str, input: Tensor) -> Shape:
    if len(input._shape) < 2:
        raise RuntimeError(f"{what}: Feature dropout requires at least 2 dimensions in the input, got shape {list(input._shape)}")
    return input._shape[:2] + (1,) * (len(input._shape) - 2)


def feature_alpha_dropout(input: Tensor, p: Any = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """`alpha_dropout` of whole channels of [n, c, ...]. Raises ValueError for p outside [0, 1], RuntimeError for one dimension."""
    _check("feature_alpha_dropout", p)
    if not training or p == 0:
        return input
    return _result(input, _dropped(input, p, training, _channels("feature_alpha_dropout", input), True), inplace)


def dropout1d(input: Tensor, p: Any = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Whole channels of [n, c, l] or [c, l] made 0. Raises ValueError for p outside [0, 1], RuntimeError for other shapes."""
    _check("dropout1d", p)
    if len(input._shape) not in (2, 3):
        raise RuntimeError(f"dropout1d: Expected 2D or 3D input, but received a {len(input._shape)}D input (shape {list(input._shape)})")
    shape = input._shape[:-1] + (1,)
    return _result(input, _dropped(input, p, training, shape), inplace)


def dropout2d(input: Tensor, p: Any = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Whole channels of [n, c, ...] made 0. Raises ValueError for p outside [0, 1], RuntimeError for fewer than two dimensions."""
    _check("dropout2d", p)
    return _result(input, _dropped(input, p, training, _channels("dropout2d", input)), inplace)


def dropout3d(input: Tensor, p: Any = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Whole channels of [n, c, d, h, w] or [c, d, h, w] made 0. Raises ValueError for p outside [0, 1]."""
    _check("dropout3d", p)
    shape = input._shape[:1] + (1,) * 3 if len(input._shape) == 4 else _channels("dropout3d", input)
    return _result(input, _dropped(input, p, training, shape), inplace)

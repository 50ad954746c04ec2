"""Padding: a tensor inside a larger one, the margin constant, mirrored, repeated or wrapped around."""
from __future__ import annotations

from collections.abc import Sequence

from torsh.core.shapes import Shape, contiguous_strides
from torsh.ops.gather import gather_at, iota
from torsh.ops.pointwise import abs, maximum, minimum, remainder
from torsh.ops.views import region_assigned
from torsh.ops.windows import filled
from torsh.tensor.tensor import Tensor


def _constant(x: Tensor, before: Shape, after: Shape, value: float) -> Tensor:
    """Padding of each dimension (negative: cut off)."""
    shape = tuple(n + b + a for n, b, a in zip(x._shape, before, after, strict=True))
    for d, (b, a) in enumerate(zip(before, after, strict=True)):
        if b < 0 or a < 0:
            cut = max(-b, 0)
            x = x.narrow(d, cut, x._shape[d] - cut - max(-a, 0))  # type: ignore[attr-defined]
    if x._shape == shape:
        return x.clone()  # type: ignore[attr-defined,no-any-return]
    strides = contiguous_strides(shape)
    return region_assigned(filled(value, shape, x), x, x._shape, strides, sum(max(b, 0) * s for b, s in zip(before, strides, strict=True)))


def _source(n: int, before: int, after: int, mode: str) -> Tensor:
    """For each position of a padded dimension the one it repeats."""
    at = iota(n + before + after) - before
    if mode == "replicate":
        return minimum(maximum(at, 0), n - 1)
    if mode == "circular":
        return remainder(at, n)
    return (n - 1) - abs((n - 1) - abs(at))


def _repeat(x: Tensor, d: int, before: int, after: int, mode: str) -> Tensor:
    n, ndim = x._shape[d], len(x._shape)
    strides = contiguous_strides(x._shape)
    shape = (*x._shape[:d], n + before + after, *x._shape[d + 1:])
    index = _source(n, before, after, mode).reshape(-1, *[1] * (ndim - d - 1))  # type: ignore[attr-defined]
    return gather_at(x, (index,), (shape, (*strides[:d], 0, *strides[d + 1:]), 0, (strides[d],), (n,)))


def _check_repeat(x: Tensor, pad: Sequence[int], mode: str) -> None:
    n = len(pad) // 2
    if len(x._shape) not in (n + 1, n + 2) or n > 3:
        raise NotImplementedError("Only 2D, 3D, 4D, 5D padding with non-constant padding are supported for now "
                                  f"(mode {mode!r}, input {list(x._shape)}, pad {list(pad)})")
    for i in range(n):
        d = len(x._shape) - 1 - i
        size, b, a = x._shape[d], pad[2 * i], pad[2 * i + 1]
        if mode == "reflect" and (b >= size or a >= size):
            raise RuntimeError(f"pad: Argument #4: Padding size should be less than the corresponding input dimension, but got: padding ({b}, {a}) at "
                               f"dimension {d} of input {list(x._shape)}")
        if mode == "circular" and (b > size or a > size):
            raise RuntimeError(f"pad: Padding value causes wrapping around more than once: padding ({b}, {a}) at dimension {d} of input {list(x._shape)}")
        if size + b + a <= 0 or size == 0:
            raise RuntimeError(f"pad: input (size {size} at dimension {d} of {list(x._shape)}) is too small for padding ({b}, {a})")


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Margins around a tensor: (before, after) of the last dimension first, then of the one before it, and so on.

    Modes: "constant" (negative margins cut), "reflect" (mirrored without the edge), "replicate" (the edge), "circular".
    Raises RuntimeError for an odd number of margins or margins that do not fit, NotImplementedError for an unknown mode
    or dimensions a mode does not pad.
    """
    margins = tuple(int(v) for v in pad)
    if len(margins) % 2:
        raise RuntimeError(f"pad: Padding length must be divisible by 2, got {list(margins)}")
    if len(margins) > 2 * len(input._shape):
        raise RuntimeError(f"pad: Padding length should be less than or equal to two times the input dimension but got padding length {len(margins)} and "
                           f"input of dimension {len(input._shape)}")
    ndim = len(input._shape)
    if mode == "constant":
        lead = ndim - len(margins) // 2
        before = (0,) * lead + margins[-2::-2]
        after = (0,) * lead + margins[::-2]
        if any(n + b + a < 0 for n, b, a in zip(input._shape, before, after, strict=True)):
            raise RuntimeError(f"pad: The input size {list(input._shape)}, plus padding {list(margins)} resulted in a negative output size")
        return _constant(input, before, after, 0 if value is None else value)
    if mode not in ("reflect", "replicate", "circular"):
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    if value is not None and value != 0:
        raise ValueError(f'Padding mode "{mode}" doesn\'t take in value argument')
    _check_repeat(input, margins, mode)
    for i in range(len(margins) // 2):
        b, a = margins[2 * i], margins[2 * i + 1]
        if b or a:
            input = _repeat(input, ndim - 1 - i, b, a, mode)
    return input

"""Padding: a tensor inside a larger one, the margin constant, mirrored, repeated or wrapped around."""
from __future__ import annotations

from collections.abc import Sequence

from torsh.autograd.autocast import in_full_precision
from torsh.ops.join import constant_pad_nd, pad_amounts, padded_by_index
from torsh.tensor.tensor import Tensor


def _check_repeat(x: Tensor, amounts: list[tuple[int, int]], n: int, mode: str) -> None:
    if len(x._shape) not in (n + 1, n + 2) or n > 3:
        raise NotImplementedError("Only 2D, 3D, 4D, 5D padding with non-constant padding are supported for now "
                                  f"(mode {mode!r}, input {list(x._shape)}, {n} dimensions to pad)")
    for d, (b, a) in enumerate(amounts):
        size = x._shape[d]
        if mode == "reflect" and (b >= size or a >= size) and (a or b):
            raise RuntimeError(f"pad: Argument #4: Padding size should be less than the corresponding input dimension, but got: padding ({b}, {a}) at "
                               f"dimension {d} of input {list(x._shape)}")
        if mode == "circular" and (b > size or a > size):
            raise RuntimeError(f"pad: Padding value causes wrapping around more than once: padding ({b}, {a}) at dimension {d} of input {list(x._shape)}")
        if (a or b) and (size + b + a <= 0 or size == 0):
            raise RuntimeError(f"pad: input (size {size} at dimension {d} of {list(x._shape)}) is too small for padding ({b}, {a})")


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Margins around a tensor: (before, after) of the last dimension first, then of the one before it, and so on.

    Modes: "constant" (negative margins cut), "reflect" (mirrored without the edge), "replicate" (the edge), "circular".
    Raises RuntimeError for an odd number of margins, margins that do not fit and a value that the mode does not take,
    NotImplementedError for an unknown mode or dimensions a mode does not pad.
    """
    margins = tuple(int(v) for v in pad)
    if mode == "constant":
        return constant_pad_nd(input, margins, 0 if value is None else value)
    if mode not in ("reflect", "replicate", "circular"):
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    if value is not None and value != 0:
        raise RuntimeError(f'Padding mode "{mode}" doesn\'t take in value argument')
    if mode == "circular" and any(m < 0 for m in margins):  # what is cut is not wrapped around
        input = constant_pad_nd(input, tuple(min(m, 0) for m in margins), 0)
        margins = tuple(max(m, 0) for m in margins)
    if mode != "circular" and len(margins) <= (4 if mode == "reflect" else 6):
        return in_full_precision(_repeated)(input, margins, mode)
    return _repeated(input, margins, mode)


def _repeated(input: Tensor, margins: tuple[int, ...], mode: str) -> Tensor:
    amounts = pad_amounts(len(input._shape), margins)
    _check_repeat(input, amounts, len(margins) // 2, mode)
    return padded_by_index(input, amounts, mode)

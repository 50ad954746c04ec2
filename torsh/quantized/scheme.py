"""Types of quantized tensors, their schemes, and how scales and zero points are chosen.

A quantized value q stands for (q - zero_point) * scale; a number x becomes zero_point + round(x / scale), halves to even, within the type's range.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from torsh.core import dtypes
from torsh.core.dtypes import dtype, int8, int32, uint8
from torsh.core.layouts import Named

quint8: Final = dtype("quint8", np.uint8, 1, 1, "QUInt8")
qint8: Final = dtype("qint8", np.int8, 1, 2, "QInt8")
qint32: Final = dtype("qint32", np.int32, 1, 4, "QInt32")
#: The integers that hold each type's values.
HELD: Final = {quint8: uint8, qint8: int8, qint32: int32}
for _d in HELD:
    dtypes._BY_NAME[_d.name] = _d  # pickled by name like the others


class qscheme(Named):
    """How quantized values stand for numbers, e.g. `torsh.per_tensor_affine`."""
    __slots__ = ()


per_tensor_affine = qscheme("per_tensor_affine")
per_channel_affine = qscheme("per_channel_affine")
per_tensor_symmetric = qscheme("per_tensor_symmetric")
per_channel_symmetric = qscheme("per_channel_symmetric")
per_channel_affine_float_qparams = qscheme("per_channel_affine_float_qparams")


def limits(dt: dtype) -> tuple[int, int]:
    """The least and the greatest value of a quantized type."""
    info = np.iinfo(dt.np)
    return int(info.min), int(info.max)


@dataclass(frozen=True)
class Parameters:
    """A scale and a zero point."""
    scale: float
    zero_point: int


#: Scales below this lose precision when they are inverted in float32.
_SMALL = float(np.float32(6.1e-5))


def chosen(low: float, high: float, least: int, most: int, symmetric: bool = False) -> Parameters:
    """Parameters with which [low, high], widened to hold 0, fills [least, most], and 0 is a value exactly.

    `symmetric`: the zero point is the middle, if 0 lies inside. After Jacob et al. 2018, with FBGEMM's treatment of tiny ranges.
    """
    inside = low < 0 < high
    if symmetric and inside:
        half = (most - least) // 2
        widest = max(abs(low / -(half + 1)), abs(high / half))
        low, high = float(np.float32(widest * -(half + 1))), float(np.float32(widest * half))
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / (most - least)
    single = np.float32(scale)
    with np.errstate(divide="ignore", over="ignore"):
        if single == 0 or np.isinf(np.float32(1) / single):
            scale = 0.1
    if scale < _SMALL:
        grown, scale = _SMALL / scale, _SMALL
        low, high = (low, _SMALL * (most - least)) if low == 0 else (-_SMALL * (most - least), high) if high == 0 else (low * grown, high * grown)
    from_low, from_high = least - low / scale, most - high / scale
    start = from_low if abs(least) + abs(low / scale) < abs(most) + abs(high / scale) else from_high
    if symmetric and inside:
        start = (least + most) / 2.0
    return Parameters(scale, int(min(max(np.rint(start), least), most)))


__all__ = ["HELD", "Parameters", "chosen", "limits", "per_channel_affine", "per_channel_affine_float_qparams", "per_channel_symmetric",
           "per_tensor_affine", "per_tensor_symmetric", "qint32", "qint8", "qscheme", "quint8"]

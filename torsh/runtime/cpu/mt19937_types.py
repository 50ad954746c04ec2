"""The types that random numbers are drawn in: what they hold exactly, and how numbers are rounded to them."""
from __future__ import annotations

import functools

import ml_dtypes
import numpy as np

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOAT16, FLOAT32, FLOAT64 = np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64)
# Bits of the significand, the hidden one included: every integer up to 2**digits is exact.
DIGITS = {BFLOAT16: 8, FLOAT16: 11, FLOAT32: 24, FLOAT64: 53}
#: Largest finite values.
LARGEST = {FLOAT16: 65504.0, BFLOAT16: 3.3895313892515355e38, FLOAT32: float(np.finfo(np.float32).max), FLOAT64: float(np.finfo(np.float64).max)}


def round_to(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """`x` in `dtype`; float16 and bfloat16 are rounded through float32, as C++ does for PyTorch's types.

    >>> round_to(np.array([1.00390625]), BFLOAT16).astype(float)
    array([1.])
    """
    if dtype in (FLOAT16, BFLOAT16) and x.dtype != FLOAT32:
        x = x.astype(np.float32)
    return x.astype(dtype, copy=False)


@functools.cache
def last_integer(dtype: np.dtype) -> int:
    """The largest integer up to which all are exact in the dtype."""
    if dtype in DIGITS:
        return 1 << DIGITS[dtype]
    return 1 if dtype == np.bool_ else int(np.iinfo(dtype).max)


@functools.cache
def integer_limits(dtype: np.dtype) -> tuple[int, int]:
    """Bounds of random_from_to: the dtype's, within int64."""
    if dtype == FLOAT16:
        return -65504, 65504
    if dtype in DIGITS:
        return -(1 << 63), (1 << 63) - 1
    least = 0 if dtype.kind in "ub" else int(np.iinfo(dtype).min)
    return least, min(last_integer(dtype), (1 << 63) - 1)


def inner_bounds(dtype: np.dtype, low: int, high: int, adjust_high: bool) -> tuple[int, int]:
    """[low, high) with the ends moved inwards to values of the dtype where rounding would step over them."""
    def rounded(value: int) -> int:
        return int(round_to(np.array(value, np.int64), dtype).astype(np.float64))

    def gap(value: int) -> int:
        return 1 << max(abs(value).bit_length() - DIGITS[dtype], 0)

    if rounded(low + 1) < low:
        low = rounded(low + 1) + gap(low + 1)
    if adjust_high and rounded(high - 1) >= high:
        high = rounded(high - 1) - gap(high - 1)
    return low, high

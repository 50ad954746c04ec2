"""Array functions under `torsh.core.mt19937`: from raw 32-bit words to distributions, no state kept.

All functions take and return flat NumPy arrays. They follow the arithmetic of PyTorch's CPU kernels, whose
compiled code contracts `x * a + c` into one fused multiply-add; `fma` does the same with error-free
transformations, since NumPy has no such operation.
"""
from __future__ import annotations

import functools
import math

import ml_dtypes
import numpy as np

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOAT16, FLOAT32, FLOAT64 = np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64)
# Bits of the significand, the hidden one included: every integer up to 2**digits is exact.
DIGITS = {BFLOAT16: 8, FLOAT16: 11, FLOAT32: 24, FLOAT64: 53}
_SPLITTER = 134217729.0  # 2**27 + 1, Veltkamp's constant for 53-bit significands
_TWO_PI = 2.0 * math.pi
_FEW_ROWS = 16  # up to so many are searched one by one
_FEW_GROUPS = 256  # up to so many groups of 16 numbers are read where they lie


def round_to(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """`x` in `dtype`; float16 and bfloat16 are rounded through float32, as C++ does for PyTorch's types.

    >>> round_to(np.array([1.00390625]), BFLOAT16).astype(float)
    array([1.])
    """
    if dtype in (FLOAT16, BFLOAT16) and x.dtype != FLOAT32:
        x = x.astype(np.float32)
    return x.astype(dtype, copy=False)


def _sum_to_odd(a: np.ndarray, b: np.ndarray | float) -> np.ndarray:
    """a + b in float64; an inexact sum takes its odd neighbour, so that a second rounding is safe."""
    s, err = _two_sum(a, b)
    bits = s.view(np.int64)
    nudge = ((err > 0) == (s > 0)).astype(np.int64) * 2 - 1  # towards the exact sum
    bits += nudge * ((err != 0) & ((bits & 1) == 0))
    return s


def _two_sum(a: np.ndarray, b: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """Knuth's exact sum: a + b == s + err."""
    s = np.add(a, b)
    t = s - a
    return s, (a - (s - t)) + (b - t)


def _split(a: np.ndarray | float | np.floating) -> tuple:
    """Veltkamp's split of a float64 in two halves whose products are exact."""
    big = _SPLITTER * a
    high = big - (big - a)
    return high, a - high


def fma(x: np.ndarray, a: float | np.floating, c: float | np.floating) -> np.ndarray:
    """x * a + c rounded once, in the dtype of `x` (float32 or float64); the result may share memory with `x`.

    `a` and `c` must be exact in that dtype. float32: product in float64, exact, then a sum there.
    float64: Dekker's product and the algorithm of Boldo & Melquiond, "Emulation of a FMA and correctly
    rounded sums" (2008). Exact away from overflow and underflow.

    >>> x = np.array([1 / 3])
    >>> bool(x[0] * 3.0 - 1.0 == 0.0), bool(fma(x, 3.0, -1.0)[0] == -2.0**-54)
    (True, True)
    """
    kind = x.dtype.type
    if a == 1.0 or c == 0.0 or math.frexp(a)[0] in (0.5, -0.5):  # one operation rounds: the other is exact
        if a != 1.0:
            x = np.multiply(x, kind(a), out=x)
        return np.add(x, kind(c), out=x) if c != 0.0 else x
    if x.dtype == FLOAT32:
        product = np.multiply(x, float(a), dtype=np.float64)
        total = product + float(c)
        # Rounding twice differs from once only where the sum, inexact, fell midway between two float32.
        midway = np.flatnonzero((total.view(np.int64) & 0x1FFFFFFF) == 0x10000000)
        if midway.size:
            total[midway] = _sum_to_odd(product[midway], float(c))
        return total.astype(np.float32)
    product = x * a
    (xh, xl), (ah, al) = _split(x), _split(a)
    low = xl * al - (((product - xh * ah) - xl * ah) - xh * al)
    th, tl = _two_sum(low, float(c))
    vh, vl = _two_sum(product, th)
    return vh + _sum_to_odd(tl, vl)


def unit_float32(words: np.ndarray) -> np.ndarray:
    """float32 in [0, 1) from the low 24 bits of each uint32 word (`words` is overwritten)."""
    np.bitwise_and(words, np.uint32(0xFFFFFF), out=words)
    out = words.view(np.int32).astype(np.float32)
    return np.multiply(out, np.float32(2.0**-24), out=out)


def pairs(words: np.ndarray) -> np.ndarray:
    """uint64 of each two consecutive uint32 words, the first word high.

    >>> [hex(v) for v in pairs(np.array([1, 2, 3, 4], dtype=np.uint32))]
    ['0x100000002', '0x300000004']
    """
    out = np.empty(words.size // 2, np.uint64)
    halves = out.view(np.uint32).reshape(-1, 2)
    low = 0 if np.little_endian else 1
    halves[:, low], halves[:, 1 - low] = words[1::2], words[0::2]
    return out


def unit_float64(words: np.ndarray) -> np.ndarray:
    """float64 in [0, 1) from the low 53 bits of each pair of uint32 words."""
    out = (words[0::2] & np.uint32(0x1FFFFF)).view(np.int32).astype(np.float64)
    out *= 2.0**-21
    out += words[1::2] * 2.0**-53  # uint32 times a float is float64; both products and the sum are exact
    return out


def below(words: np.ndarray, p: float) -> np.ndarray:
    """`unit_float64(words) < p` without forming the floats: the high 21 of the 53 bits decide nearly always.

    >>> below(np.array([0, 5, 2**20, 0], dtype=np.uint32), 0.5)
    array([ True, False])
    """
    bound = math.ceil(p * 2.0**53)  # k * 2**-53 < p  <=>  k < ceil(p * 2**53) for integers k; exact
    high = words[0::2] & np.uint32(0x1FFFFF)
    top = bound >> 32
    out = np.less(high, np.uint32(top))
    ties = np.flatnonzero(high == np.uint32(top))
    if ties.size:
        out[ties] = words[1::2][ties] < (bound & 0xFFFFFFFF)
    return out


def modulo(words: np.ndarray, span: int) -> np.ndarray:
    """`words % span` for unsigned words and a scalar; NumPy vectorises the division by a scalar, not `%`."""
    span_ = words.dtype.type(span)
    if span & (span - 1) == 0:
        return words & words.dtype.type(span - 1)
    quotient = np.floor_divide(words, span_)
    quotient *= span_
    return np.subtract(words, quotient, out=quotient)


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


def box_muller_16(u: np.ndarray, mean: float, std: float) -> np.ndarray:
    """Normal numbers from uniforms, in groups of 16: the first 8 of a group give radii, the last 8 angles.

    u: float32 or float64 in [0, 1), size a multiple of 16. Box & Muller, "A Note on the Generation of
    Random Normal Deviates" (1958): sqrt(-2 log(1 - u1)) times the cosine (first 8) and sine (last 8) of
    2 pi u2, in the dtype of `u`.
    """
    kind = u.dtype.type
    groups = u.reshape(-1, 2, 8)
    if len(groups) <= _FEW_GROUPS:
        radius, angle = groups[:, 0].copy(), groups[:, 1].copy()
    else:  # rows that are taken are copied quicker than read with steps
        halves = u.reshape(-1, 8)
        index = np.arange(0, len(halves), 2)
        radius, angle = halves.take(index, axis=0), halves.take(index + 1, axis=0)
    np.subtract(kind(1), radius, out=radius)
    np.log(radius, out=radius)
    radius *= kind(-2)
    np.sqrt(radius, out=radius)
    angle *= kind(_TWO_PI)
    cos = np.cos(angle)
    sin = np.sin(angle, out=angle)
    out = np.empty_like(groups)
    standard = mean == 0.0 and std == 1.0
    for half, values in enumerate((cos, sin)):
        values *= radius
        out[:, half] = values if standard else fma(values.ravel(), kind(std), kind(mean)).reshape(-1, 8)
    return out.ravel()


def box_muller_pairs(u: np.ndarray) -> np.ndarray:
    """Standard normal float64 from an even number of float64 uniforms (u1, u2, u1, u2, ...).

    Each pair gives sqrt(-2 log1p(-u2)) times cos(2 pi u1), then sin(2 pi u1). Few numbers go through the
    C library's functions one by one, which round as PyTorch's; many through NumPy's, within 2 ulp of them.
    """
    out = np.empty(u.size)
    u1, u2 = u[0::2], u[1::2]
    if u.size <= 32:
        for i, (a, b) in enumerate(zip(u1.tolist(), u2.tolist(), strict=True)):
            radius = math.sqrt(-2.0 * math.log1p(-b))
            out[2 * i] = radius * math.cos(_TWO_PI * a)
            out[2 * i + 1] = radius * math.sin(_TWO_PI * a)
        return out
    radius = np.sqrt(-2.0 * np.log1p(-u2))
    angle = _TWO_PI * u1
    np.multiply(radius, np.cos(angle), out=out[0::2])
    np.multiply(radius, np.sin(angle), out=out[1::2])
    return out


def shuffled(target: np.ndarray) -> np.ndarray:
    """The permutation left by the swaps (i, target[i]), i = 0 .. n-2, of 0 .. n-1, without a loop over i.

    target: int64, target[i] >= i (Fisher-Yates as in Durstenfeld, "Algorithm 235", 1964). Swap i settles
    position i for good and sends what stood there, V(i), to target[i]. So V(i) is V(k) of the last k < i with
    target[k] == i, or i itself: a forest with parents k, whose roots pointer doubling finds. What swap i
    brings to i is V(k) of the last k < i with the same target, or target[i] itself.

    >>> shuffled(np.array([2, 1, 3]))
    array([2, 1, 3, 0])
    """
    n = target.size + 1
    out, root, latest = np.empty(n, np.int64), np.arange(n), np.arange(n)
    step = np.flatnonzero(target != root[:-1])
    goal = target[step]
    out[:-1] = target
    # Round r finds the r-th last swap of each target and links it to the one after: about n / 2**r remain.
    later = None
    while step.size:
        latest[goal] = step  # repeated targets: the last assignment, the latest swap left, stays
        found = latest.take(goal)
        if later is None:
            root[goal] = found
        else:
            last = np.flatnonzero(found == step)
            out[later.take(last)] = ~step.take(last)  # negative: V of that step, known below
        rest = np.flatnonzero(found != step)
        step, goal, later = step.take(rest), goal.take(rest), found.take(rest)
    active = np.flatnonzero(root != np.arange(n))
    while active.size:
        near = root.take(active)
        far = root.take(near)
        root[active] = far
        active = active.take(np.flatnonzero(far != near))
    held = np.flatnonzero(out[:-1] < 0)
    out[held] = root[~out[held]]
    stay = np.flatnonzero(target == np.arange(n - 1))
    out[stay], out[-1] = root[stay], root[-1]
    return out


def inverse_cdf(cdf: np.ndarray, u: np.ndarray) -> np.ndarray:
    """For each u[i, j], the first index of row i of `cdf` (rows, k) that is >= u, by bisection; int64."""
    if len(u) <= _FEW_ROWS:
        return np.array([row.searchsorted(wanted) for row, wanted in zip(cdf, u, strict=True)], np.int64)
    left = np.zeros(u.shape, np.int64)
    right = np.full(u.shape, cdf.shape[1], np.int64)
    rows = np.arange(len(cdf))[:, None]
    for _ in range(cdf.shape[1].bit_length()):
        middle = (left + right) // 2
        # A search that has ended (left == right) may read one past the row; its result is discarded.
        less = cdf[rows, np.minimum(middle, cdf.shape[1] - 1)] < u
        open_ = left < right
        left = np.where(open_ & less, middle + 1, left)
        right = np.where(open_ & ~less, middle, right)
    return left

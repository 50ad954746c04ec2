"""The CPU random generator: PyTorch's numbers, in PyTorch's order, on NumPy arrays.

The engine is the Mersenne Twister MT19937 (Matsumoto & Nishimura, "Mersenne Twister: a 623-dimensionally
equidistributed uniform pseudo-random number generator", 1998), stepped in C by `numpy.random.MT19937`.
`MT19937Generator` turns its 32-bit words into distributions with the word counts, masks and roundings of
PyTorch's CPU kernels, so that one seed gives the same numbers, and the two libraries' states can be swapped.

Exact: integers, uniform, permutation, bernoulli. The others depend on log, sin, cos, ...: a few ulp.
On Intel processors PyTorch hands bernoulli with a scalar probability, and exponential, to MKL's generator
instead; here, as in PyTorch on every other processor, they use the engine.
"""
from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import DTypeLike

from . import mt19937_kernels as kernels
from .mt19937_engine import FEW, MT19937Engine
from .mt19937_kernels import BFLOAT16, DIGITS, FLOAT32, FLOAT64

_FEW_SWAPS = 256  # up to here swaps are made one by one
_CHUNK = 1 << 15  # numbers made at a time: the temporaries stay in the processor's cache
_TWO_PI = 2.0 * math.pi
_INT64_MIN = -(1 << 63)
# Ranges and permutations this large take two words a number, to keep the bias of the modulo small.
_TWO_WORDS = 1 << 28
_SHUFFLE_TWO_WORDS = 0xFFFFFFFF // 20

Shape = int | tuple[int, ...]


class MT19937Generator(MT19937Engine):
    """State and distributions of one generator; a new one is seeded with PyTorch's default seed.

    Shapes are ints or tuples of ints; dtypes anything `numpy.dtype` takes, and `ml_dtypes.bfloat16`.
    Every method returns a new C-contiguous array, filled in C order. Calls from several threads do not
    corrupt the engine, but share its words in no fixed order.

    >>> g = MT19937Generator(0)
    >>> g.uniform((2,))
    array([0.4962566, 0.7682218], dtype=float32)
    >>> state = g.get_state()
    >>> first = g.random_from_to(3, np.int64, 0, 10)
    >>> g.set_state(state)
    >>> bool((first == g.random_from_to(3, np.int64, 0, 10)).all())
    True
    """

    # -- uniform integers ----------------------------------------------------------------------------------

    def random(self, shape: Shape, dtype: DTypeLike = np.int64) -> np.ndarray:
        """Integers of [0, largest value] of an integer dtype or bool; of [0, 2**digits] of a floating one.

        One word a number, two for int64 and float64. NotImplementedError for uint16, uint32, uint64.

        >>> MT19937Generator(7).random(3, np.uint8)
        array([175, 196,  25], dtype=uint8)
        """
        dtype = np.dtype(dtype)
        if dtype in DIGITS:
            span = (1 << DIGITS[dtype]) + 1
        elif dtype == np.bool_:
            span = 2
        elif dtype.kind == "i" or dtype == np.uint8:
            span = int(np.iinfo(dtype).max) + 1
        else:
            raise NotImplementedError(f'"random_kernel_cpu" not implemented for {dtype}; '
                                      f"use random_from_to with explicit bounds")
        return self._integers(shape, dtype, 0, span, two_words=dtype in (FLOAT64, np.int64))

    def random_from_to(self, shape: Shape, dtype: DTypeLike, low: int, high: int | None = None) -> np.ndarray:
        """Integers of [low, high), or from `low` to the dtype's last exact integer if `high` is None.

        dtype: integer, bool or floating. In a floating dtype the ends move inwards where rounding would leave
        the interval. word % (high - low) + low, with two words a number from 2**28 values on. `low` =
        -2**63 without `high` gives all 64 bits (int64, float32, float64, bfloat16). RuntimeError for an
        empty interval or bounds outside the dtype.

        >>> MT19937Generator(7).random_from_to((2, 2), np.int64, 0, 1000)
        array([[615, 892],
               [721, 286]])
        """
        dtype = np.dtype(dtype)
        low = operator.index(low)
        if dtype not in DIGITS and dtype.kind not in "iub":
            raise NotImplementedError(f"random_from_to: not implemented for {dtype}; use an integer, "
                                      f"boolean or floating dtype")
        if high is None:
            if low == _INT64_MIN:
                if dtype not in (np.int64, FLOAT32, FLOAT64, BFLOAT16):
                    raise RuntimeError(f"random_from_to: the full 64-bit range needs int64, float64, "
                                       f"float32 or bfloat16, got {dtype}; give low within the dtype")
                return self._integers(shape, dtype, 0, 1 << 64, two_words=True)
            end = 1 + kernels.last_integer(dtype)
        else:
            end = operator.index(high)
            if low >= end:
                raise RuntimeError(f"random_from_to expects 'from' to be less than 'to', but got "
                                   f"from={low} >= to={end}; raise high or lower low")
        least, most = kernels.integer_limits(dtype)
        for name, value in (("from", low), ("to - 1", end - 1)):
            if not least <= value <= most or low >= end:
                raise RuntimeError(f"random_from_to: {name} is out of bounds for {dtype}, got {value}; "
                                   f"use values in [{least}, {most}] or a wider dtype")
        if dtype in DIGITS:
            low, end = kernels.inner_bounds(dtype, low, end, adjust_high=high is not None)
        return self._integers(shape, dtype, low, end - low, two_words=end - low >= _TWO_WORDS)

    def permutation(self, n: int, dtype: DTypeLike = np.int64, shuffled: Callable[[np.ndarray], np.ndarray] = kernels.shuffled) -> np.ndarray:
        """A random order of 0 .. n-1: Fisher-Yates in the form of Durstenfeld (1964), n - 1 words.

        For i = 0, 1, ... position i swaps with i + word % (n - i). From 2**32 // 20 elements on the swaps
        look back instead, i with word % (i + 1), a word of 64 bits (n of them). `shuffled` does the swaps of many.
        RuntimeError for n < 0 or beyond the dtype's exact integers.

        >>> MT19937Generator(0).permutation(5)
        array([4, 0, 1, 3, 2])
        """
        n, dtype = operator.index(n), np.dtype(dtype)
        if dtype not in DIGITS and dtype != np.uint8 and dtype.kind != "i":
            raise NotImplementedError(f'"randperm" not implemented for {dtype}; use int64 and convert')
        if n < 0:
            raise RuntimeError(f"randperm: n must be >= 0, got {n}; it is the number of elements to order")
        largest = kernels.last_integer(dtype) + 1
        if n > largest:
            raise RuntimeError(f"randperm: n cannot be greater than {largest} for {dtype}, got {n}; "
                               f"use int64")
        if n < 2:
            return np.arange(n).astype(dtype)
        if n < _SHUFFLE_TWO_WORDS:
            if n <= _FEW_SWAPS:
                few = list(range(n))
                for i, word in enumerate(self.words(n - 1).tolist()):
                    at = i + word % (n - i)
                    few[i], few[at] = few[at], few[i]
                return kernels.round_to(np.array(few), dtype)
            jump = self.words(n - 1) % np.arange(n, 1, -1, dtype=np.uint32)
            order = shuffled(np.arange(n - 1) + jump)
        else:
            back = kernels.pairs(self.words(2 * n)) % np.arange(1, n + 1, dtype=np.uint64)
            # Counted from the end these are swaps with a later position, done in reverse: the inverse order.
            mirrored = shuffled(n - 1 - back.view(np.int64)[:0:-1])
            order = np.empty(n, np.int64)
            order[n - 1 - mirrored] = np.arange(n - 1, -1, -1)
        return kernels.round_to(order, dtype)

    # -- uniform and normal --------------------------------------------------------------------------------

    def uniform(self, shape: Shape, dtype: DTypeLike = np.float32, low: float = 0.0,
                high: float = 1.0) -> np.ndarray:
        """Numbers of [low, high) in a floating dtype: k * 2**-24 * (high - low) + low, k the low 24 bits.

        float64 takes the low 53 bits of two words; float16 and bfloat16 round the float32 number. One that
        rounds to `high` becomes `low`. NotImplementedError for other dtypes; RuntimeError if low > high, or
        a bound or high - low is beyond the dtype.

        >>> MT19937Generator(0).uniform((2, 2), np.float64, -1.0, 1.0)
        array([[ 0.940106  ,  0.41563973],
               [-0.08123411,  0.84149537]])
        """
        dtype = _floating("uniform_", dtype)
        low, high = float(low), float(high)
        standard = low == 0.0 and high == 1.0 and (dtype is FLOAT32 or dtype is FLOAT64)
        if standard and (count := _count(shape)) <= _CHUNK:
            return (self.unit_float32(count) if dtype is FLOAT32 else self.unit_float64(count)).reshape(shape)
        limit = float(np.finfo(dtype).max) if dtype != BFLOAT16 else 3.3895313892515355e38
        for name, value in (("from", low), ("to", high)):
            if not -limit <= value <= limit:
                raise RuntimeError(f"uniform_: {name} is out of bounds for {dtype}, got {value}; "
                                   f"use finite values of the dtype")
        if low > high:
            raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={low:g} > "
                               f"to={high:g}; swap them")
        if high - low > limit:
            raise RuntimeError(f"uniform_ expects to-from <= the largest {dtype}, but found to={high:g} and "
                               f"from={low:g}; narrow the range or use a wider dtype")
        wide = dtype == FLOAT64
        kind = np.float64 if wide else np.float32
        span, start = kind(high) - kind(low), kind(low)
        first, last = dtype.type(low), dtype.type(high)
        out, flat = _empty(shape, dtype)
        for part in _parts(flat):
            unit = self.unit_float64(part.size) if wide \
                else self.unit_float32(part.size)
            part[...] = kernels.round_to(kernels.fma(unit, span, start), dtype)
            if not standard:
                part[part == last] = first
        return out

    def normal(self, shape: Shape, dtype: DTypeLike = np.float32, mean: float = 0.0,
               std: float = 1.0) -> np.ndarray:
        """Normal numbers in a floating dtype by the method of Box & Muller (1958), in two ways.

        Fewer than 16: float64 pairs, four words each; the second of a pair is kept for the next small call,
        of any dtype. 16 or more: groups of 16 uniforms of the dtype (float32 for float16 and bfloat16) make
        16 numbers; if the size is no multiple of 16, the last 16 are made anew. NotImplementedError for
        other dtypes, RuntimeError unless std >= 0.

        >>> g = MT19937Generator(0)
        >>> g.normal(3).round(4), g.normal(20).shape
        (array([ 1.541 , -0.2934, -2.1788], dtype=float32), (20,))
        """
        dtype = _floating("normal_kernel_cpu", dtype)
        mean, std = float(mean), float(std)
        if not std >= 0.0:
            raise RuntimeError(f"normal expects std >= 0.0, but found std {std:g}; pass its absolute value")
        count = _count(shape)
        if count < 16:
            few = kernels.fma(np.array(self._few_normal(count)), std, mean)
            return kernels.round_to(few, dtype).reshape(shape)
        rest = count % 16
        whole = count - rest
        unit = self.unit_float64 if dtype == FLOAT64 else self.unit_float32

        def groups(u: np.ndarray) -> np.ndarray:
            return kernels.round_to(kernels.box_muller_16(u, mean, std), dtype)

        def last() -> np.ndarray:
            if dtype in (FLOAT32, FLOAT64):  # PyTorch draws all uniforms before it redoes the tail
                self.words(rest * (2 if dtype == FLOAT64 else 1))
            return unit(16)

        if not rest and count <= _CHUNK:
            return groups(unit(count)).reshape(shape)
        out, flat = _empty(shape, dtype)
        if count <= _CHUNK:  # in one pass
            made = groups(np.concatenate([unit(whole), last()]))
            flat[:whole], flat[-16:] = made[:whole], made[whole:]
            return out
        for part in _parts(flat[:whole]):
            part[...] = groups(unit(part.size))
        if rest:
            flat[-16:] = groups(last())
        return out

    def log_normal(self, shape: Shape, dtype: DTypeLike = np.float32, mean: float = 1.0,
                   std: float = 2.0) -> np.ndarray:
        """exp of normal numbers of `mean` and `std`, made in float64 pairs as a small `normal` makes them.

        NotImplementedError for a dtype not floating, RuntimeError unless std > 0.
        """
        dtype = _floating("log_normal_cpu", dtype)
        _positive("log_normal_", "std", std)
        out, flat = _empty(shape, dtype)
        x = kernels.fma(self._normal_pairs(flat.size), float(std), float(mean))
        with np.errstate(over="ignore"):
            flat[...] = kernels.round_to(np.exp(x, out=x), dtype)
        return out

    # -- other distributions: two words a number, float64 arithmetic -----------------------------------------

    def bernoulli(self, shape: Shape, p: float | np.ndarray, dtype: DTypeLike = np.float32) -> np.ndarray:
        """Ones with probability `p`, a number or an array that broadcasts to `shape`; zeros elsewhere.

        u < p, with the u of `uniform` in float64 (two words) for a number or a float64 array, in float32 (one
        word) for an array of another floating dtype. Any dtype; bool is the fastest. RuntimeError unless
        0 <= p <= 1, NotImplementedError for an array of integers.

        >>> MT19937Generator(0).bernoulli(6, 0.5, np.bool_)
        array([False, False,  True, False, False, False])
        """
        out, flat = _empty(shape, np.dtype(dtype))
        if not isinstance(p, np.ndarray):
            p = float(p)
            if not 0.0 <= p <= 1.0:
                raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p:g}; clamp it")
            if flat.size <= FEW:
                flat[...] = [u < p for u in self.few_float64(flat.size)]
                return out
            for part in _parts(flat):
                part[...] = kernels.below(self.words(2 * part.size), p)
            return out
        if p.dtype not in DIGITS:
            raise NotImplementedError(f'"bernoulli_tensor_cpu_p_" not implemented for {p.dtype}; '
                                      f"convert p to a floating dtype")
        wide = p.dtype == FLOAT64
        limits = (p if p.shape == out.shape else np.broadcast_to(p, out.shape)).reshape(-1)
        few = limits.tolist() if flat.size <= FEW else None
        if not (all(0.0 <= q <= 1.0 for q in few) if few is not None else limits.min() >= 0 and limits.max() <= 1):
            raise RuntimeError("bernoulli_: Expected p_in >= 0 && p_in <= 1 for every entry of p; "
                               "clamp p to [0, 1] and remove nan")
        if few is not None:
            unit = self.few_float64(flat.size) if wide else [(w & 0xFFFFFF) * 2.0**-24 for w in self.words(flat.size).tolist()]
            flat[...] = [u < q for u, q in zip(unit, few, strict=True)]
            return out
        for start, part in zip(range(0, flat.size, _CHUNK), _parts(flat), strict=True):
            limit = limits[start:start + part.size]
            if wide:
                part[...] = self.unit_float64(part.size) < limit
            else:
                part[...] = self.unit_float32(part.size) < limit.astype(np.float32)
        return out

    def exponential(self, shape: Shape, dtype: DTypeLike = np.float32, lambd: float = 1.0) -> np.ndarray:
        """Exponential numbers of rate `lambd` in a floating dtype: -log1p(-u) / lambd, by inversion.

        RuntimeError for another dtype or unless lambd > 0.
        """
        dtype = _continuous("Exponential", dtype)
        scale = -1.0 / _positive("exponential_", "lambda", lambd)
        count = _count(shape)
        if count <= FEW and (dtype is FLOAT32 or dtype is FLOAT64) and scale > -1e30:
            log1p = math.log1p
            return np.array([log1p(-u) * scale for u in self.few_float64(count)], dtype).reshape(shape)

        def kernel(u: np.ndarray) -> np.ndarray:
            np.log1p(np.negative(u, out=u), out=u)
            return np.multiply(u, scale, out=u)

        return self._inversion(shape, dtype, kernel)

    def geometric(self, shape: Shape, dtype: DTypeLike, p: float) -> np.ndarray:
        """Trials until the first success of probability `p`: ceil(log(u) / log1p(-p)), by inversion.

        dtype: integer or floating (NotImplementedError for bool); RuntimeError unless 0 < p < 1.
        """
        dtype, p = np.dtype(dtype), float(p)
        if dtype not in DIGITS and dtype.kind not in "iu":
            raise NotImplementedError(f'"geometric_cpu" not implemented for {dtype}; use an integer dtype')
        if not 0.0 < p < 1.0:
            raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p:g}")
        scale = math.log1p(-p)

        def kernel(u: np.ndarray) -> np.ndarray:
            with np.errstate(divide="ignore"):
                np.log(u, out=u)
            np.ceil(np.divide(u, scale, out=u), out=u)
            return u if dtype in DIGITS else u.astype(np.int64)

        return self._inversion(shape, dtype, kernel)

    def cauchy(self, shape: Shape, dtype: DTypeLike = np.float32, median: float = 0.0,
               sigma: float = 1.0) -> np.ndarray:
        """Cauchy numbers in a floating dtype: median + sigma * tan(pi * (u - 1/2)), by inversion.

        RuntimeError for another dtype or unless sigma > 0.
        """
        dtype = _continuous("Cauchy", dtype)
        sigma, median = _positive("cauchy_", "sigma", sigma), float(median)

        def kernel(u: np.ndarray) -> np.ndarray:
            u -= 0.5
            u *= math.pi
            return kernels.fma(np.tan(u, out=u), sigma, median)

        return self._inversion(shape, dtype, kernel)

    def multinomial(self, probs: np.ndarray, num_samples: int, replacement: bool = False) -> np.ndarray:
        """Indices drawn in proportion to the rows of `probs`: int64, (num_samples,) or (m, num_samples).

        probs: floating, shape (k,) or (m, k), weights >= 0. With replacement and more than one sample:
        inversion of each row's cumulative sum, two words a sample. Else the race of exponential times,
        Efraimidis & Spirakis, "Weighted random sampling with a reservoir" (2006): the num_samples largest
        p / exponential, largest first, two words a weight. RuntimeError for another dtype or rank, an invalid
        weight, a row summing to 0, num_samples < 1, or > k without replacement.

        >>> MT19937Generator(0).multinomial(np.array([0.0, 1.0, 0.0]), 2, replacement=True)
        array([1, 1])
        """
        probs = np.asarray(probs)
        num_samples = operator.index(num_samples)
        _check_multinomial(probs, num_samples, replacement)
        rows = probs.reshape(-1, probs.shape[-1])
        if not len(rows):
            return np.empty((0, num_samples), np.int64)
        if not replacement or num_samples == 1:
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                race = rows / self.exponential(rows.shape, probs.dtype)
            if num_samples == 1:
                picks = race.argmax(axis=1)[:, None]
            else:
                picks = np.argsort(-race, axis=1, kind="stable")[:, :num_samples]
        else:
            work = FLOAT64 if rows.dtype == FLOAT64 else FLOAT32
            cdf = np.cumsum(rows.astype(work), axis=1)
            cdf = (cdf / cdf[:, -1:]).astype(np.float64)
            cdf[:, -1] = 1.0
            u = self.unit_float64(len(rows) * num_samples).reshape(len(rows), num_samples)
            picks = kernels.inverse_cdf(cdf, u)
        return picks.reshape(*probs.shape[:-1], num_samples).astype(np.int64, copy=False)

    def _integers(self, shape: Shape, dtype: np.dtype, low: int, span: int, two_words: bool) -> np.ndarray:
        """low + word % span, taken to `dtype`; span 2**64 keeps all bits."""
        if not two_words and dtype not in DIGITS and (count := _count(shape)) <= FEW:
            return np.array([low + w % span for w in self.words(count).tolist()], dtype).reshape(shape)
        out, flat = _empty(shape, dtype)
        for part in _parts(flat):
            words = kernels.pairs(self.words(2 * part.size)) if two_words else self.words(part.size)
            if span < 1 << 64:
                words = kernels.modulo(words, span)
            value = words.view(np.int64) if two_words else words.astype(np.int64)
            if low:
                value += np.int64(low)  # modulo 2**64, as in C++
            part[...] = kernels.round_to(value, dtype) if dtype in DIGITS else value.astype(dtype, copy=False)
        return out

    def _few_normal(self, count: int) -> list[float]:
        """`count` standard normal numbers, the one kept by the last call first, in pairs as `kernels.box_muller_pairs` makes them."""
        out: list[float] = []
        if count and self._double_sample is not None:
            out.append(self._double_sample)
            self._double_sample = None
        need = count - len(out)
        u = self.few_float64(need + need % 2)
        for i in range(0, len(u), 2):
            radius, angle = math.sqrt(-2.0 * math.log1p(-u[i + 1])), _TWO_PI * u[i]
            out.append(radius * math.cos(angle))
            out.append(radius * math.sin(angle))
        if need % 2:
            self._double_sample = out.pop()
        return out

    def _normal_pairs(self, count: int) -> np.ndarray:
        """As `_few_normal`, for any number."""
        if count <= 16:
            return np.array(self._few_normal(count))
        kept = []
        if self._double_sample is not None:
            kept, self._double_sample = [self._double_sample], None
        need = count - len(kept)
        u = self.unit_float64(need + need % 2)
        fresh = kernels.box_muller_pairs(u)
        if need % 2:
            self._double_sample = float(kernels.box_muller_pairs(u[-2:])[1])
        return np.concatenate([kept, fresh[:need]])

    def _inversion(self, shape: Shape, dtype: np.dtype,
                   kernel: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """`kernel` of float64 uniforms, which it may overwrite."""
        out, flat = _empty(shape, dtype)
        for part in _parts(flat):
            with np.errstate(over="ignore"):
                part[...] = kernels.round_to(kernel(self.unit_float64(part.size)), dtype)
        return out


def _empty(shape: Shape, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """A new array and its flat view."""
    out = np.empty(shape, dtype)
    return out, out.reshape(-1)


def _count(shape: Shape) -> int:
    return shape if isinstance(shape, int) else math.prod(shape)


def _parts(flat: np.ndarray) -> Iterator[np.ndarray]:
    return (flat[i:i + _CHUNK] for i in range(0, flat.size, _CHUNK))


def _floating(kernel: str, dtype: DTypeLike) -> np.dtype:
    dtype = np.dtype(dtype)
    if dtype not in DIGITS:
        raise NotImplementedError(f'"{kernel}" not implemented for {dtype}; use a floating dtype')
    return dtype


def _continuous(name: str, dtype: DTypeLike) -> np.dtype:
    dtype = np.dtype(dtype)
    if dtype not in DIGITS:
        raise RuntimeError(f"{name} distribution is a continuous probability distribution. dtype must be a "
                           f"floating point but you specified {dtype}")
    return dtype


def _positive(call: str, name: str, value: float) -> float:
    value = float(value)
    if not value > 0.0:
        raise RuntimeError(f"{call} expects {name} > 0.0, but found {name}={value:g}")
    return value


def _check_multinomial(probs: np.ndarray, num_samples: int, replacement: bool) -> None:
    if probs.dtype not in DIGITS:
        raise RuntimeError(f"multinomial only supports floating-point dtypes for input, got: {probs.dtype}; "
                           f"convert probs")
    if probs.ndim not in (1, 2):
        raise RuntimeError(f"multinomial: prob_dist must be 1 or 2 dim, got {probs.ndim}; reshape probs")
    if num_samples < 1:
        raise RuntimeError(f"multinomial: cannot sample n_sample <= 0 samples, got {num_samples}; "
                           f"ask for at least 1")
    if probs.shape[-1] == 0 or (not replacement and num_samples > probs.shape[-1]):
        raise RuntimeError(f"multinomial: cannot sample n_sample > prob_dist.size(-1) samples without "
                           f"replacement, got {num_samples} of {probs.shape[-1]}; "
                           f"pass replacement=True or more weights")
    if not probs.size:
        return
    if probs.size <= FEW:
        few, k = probs.ravel().tolist(), probs.shape[-1]
        finite, positive = all(0.0 <= p < math.inf for p in few), all(any(few[i:i + k]) for i in range(0, len(few), k))
    else:
        finite = probs.min() >= 0 and probs.max() < math.inf
        positive = probs.max(axis=-1).min() > 0
    if not finite:
        raise RuntimeError("multinomial: probability tensor contains either `inf`, `nan` or element < 0; "
                           "pass finite weights >= 0")
    if not positive:
        raise RuntimeError("multinomial: invalid multinomial distribution (sum of probabilities <= 0); "
                           "give each row a positive weight")

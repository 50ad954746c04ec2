"""The CPU random generator: PyTorch's numbers, in PyTorch's order.

The engine is the Mersenne Twister MT19937 (Matsumoto & Nishimura, "Mersenne Twister: a 623-dimensionally
equidistributed uniform pseudo-random number generator", 1998). `MT19937Generator` turns its 32-bit words into
distributions with the word counts, masks and roundings of PyTorch's CPU kernels, so that one seed gives the same
numbers, and the two libraries' states can be swapped. The work is done by kernels (`runtime.cpu.draws`) that write into memory given
to them; what is here chooses among them and checks parameters, before anything is drawn.

Exact: integers, uniform, permutation, bernoulli. The others depend on log, sin, cos, ...: a few ulp.
On Intel processors PyTorch may hand bernoulli with a scalar probability, and exponential, to MKL's generator
instead; here, as in PyTorch on every other processor, they use the engine.
"""
from __future__ import annotations

import ctypes
import math
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from torsh.runtime.cpu.draws import kernel
from torsh.runtime.cpu.mt19937_engine import MT19937Engine
from torsh.runtime.cpu.mt19937_types import BFLOAT16, DIGITS, FLOAT32, FLOAT64, LARGEST, inner_bounds, integer_limits, last_integer, round_to

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

_PIECE = 1 << 20  # numbers made in one native call, during which other Python threads wait
_SINGLE = LARGEST[FLOAT32]
_INT64_MIN = -(1 << 63)
# Ranges and permutations this large take two words a number, to keep the bias of the modulo small.
_TWO_WORDS = 1 << 28
_SHUFFLE_TWO_WORDS = 0xFFFFFFFF // 20
_FULL = 1 << 64
_BOOL, _INT64 = np.dtype(np.bool_), np.dtype(np.int64)

Shape = int | tuple[int, ...]


class MT19937Generator(MT19937Engine):
    """State and distributions of one generator; a new one is seeded with PyTorch's default seed.

    Each distribution is two methods. `uniform_at(address, count, dtype, ...)` fills memory; `uniform(shape, dtype, ...)` returns a new
    C-contiguous array, filled in C order. Shapes are ints or tuples of ints, dtypes anything `numpy.dtype` takes (for `_at` a
    `numpy.dtype`), and `ml_dtypes.bfloat16`. Calls from several threads do not corrupt the engine, but share its words in no fixed order.

    >>> g = MT19937Generator(0)
    >>> g.uniform((2,))
    array([0.4962566, 0.7682218], dtype=float32)
    >>> state = g.get_state()
    >>> first = g.random_from_to(3, np.int64, 0, 10)
    >>> g.set_state(state)
    >>> bool((first == g.random_from_to(3, np.int64, 0, 10)).all())
    True
    """

    def _filled(self, shape: Shape, dtype: DTypeLike, fill: Callable[..., None], *parameters: Any) -> np.ndarray:
        """A new array of what `fill` writes."""
        out = np.empty(shape, dtype)
        fill(out.ctypes.data, out.size, out.dtype, *parameters)
        return out

    def _run(self, name: str, address: int, count: int, itemsize: int, *parameters: Any) -> None:
        """A kernel that gives each number by itself, in pieces."""
        run, engine = kernel(name), self.address
        if count <= _PIECE:
            run(engine, address, count, *parameters)
            return
        for start in range(0, count, _PIECE):
            run(engine, address + start * itemsize, min(_PIECE, count - start), *parameters)

    # -- uniform integers ----------------------------------------------------------------------------------

    def random(self, shape: Shape, dtype: DTypeLike = np.int64) -> np.ndarray:
        """Integers of [0, largest value] of an integer dtype or bool; of [0, 2**digits] of a floating one.

        One word a number, two for int64 and float64. NotImplementedError for uint16, uint32, uint64.

        >>> MT19937Generator(7).random(3, np.uint8)
        array([175, 196,  25], dtype=uint8)
        """
        return self._filled(shape, dtype, self.random_at)

    def random_at(self, address: int, count: int, dtype: np.dtype) -> None:
        if dtype in DIGITS:
            span = (1 << DIGITS[dtype]) + 1
        elif dtype == np.bool_:
            span = 2
        elif dtype.kind == "i" or dtype == np.uint8:
            span = int(np.iinfo(dtype).max) + 1
        else:
            raise NotImplementedError(f'"random_kernel_cpu" not implemented for {dtype}; '
                                      f"use random_from_to with explicit bounds")
        self._integers(address, count, dtype, 0, span, dtype in (FLOAT64, np.int64))

    def random_from_to(self, shape: Shape, dtype: DTypeLike, low: Any, high: Any = None) -> np.ndarray:
        """Integers of [low, high), or from `low` to the dtype's last exact integer if `high` is None.

        dtype: integer, bool or floating. In a floating dtype the ends move inwards where rounding would leave
        the interval. word % (high - low) + low, with two words a number from 2**28 values on. `low` =
        -2**63 without `high` gives all 64 bits (int64, float32, float64, bfloat16). RuntimeError for an
        empty interval or bounds outside the dtype.

        >>> MT19937Generator(7).random_from_to((2, 2), np.int64, 0, 1000)
        array([[615, 892],
               [721, 286]])
        """
        return self._filled(shape, dtype, self.random_from_to_at, low, high)

    def random_from_to_at(self, address: int, count: int, dtype: np.dtype, low: Any, high: Any = None) -> None:
        low = operator.index(low)
        if dtype is _INT64 and high is not None:
            end = operator.index(high)
            if low < end and low >= _INT64_MIN and end <= 1 << 63:
                self._integers(address, count, dtype, low, end - low, end - low >= _TWO_WORDS)
                return
        if dtype not in DIGITS and dtype.kind not in "iub":
            raise NotImplementedError(f"random_from_to: not implemented for {dtype}; use an integer, "
                                      f"boolean or floating dtype")
        if high is None:
            if low == _INT64_MIN:
                if dtype not in (np.int64, FLOAT32, FLOAT64, BFLOAT16):
                    raise RuntimeError(f"random_from_to: the full 64-bit range needs int64, float64, "
                                       f"float32 or bfloat16, got {dtype}; give low within the dtype")
                self._integers(address, count, dtype, 0, _FULL, True)
                return
            end = 1 + last_integer(dtype)
        else:
            end = operator.index(high)
            if low >= end:
                raise RuntimeError(f"random_from_to expects 'from' to be less than 'to', but got "
                                   f"from={low} >= to={end}; raise high or lower low")
        least, most = integer_limits(dtype)
        for name, value in (("from", low), ("to - 1", end - 1)):
            if not least <= value <= most or low >= end:
                raise RuntimeError(f"random_from_to: {name} is out of bounds for {dtype}, got {value}; "
                                   f"use values in [{least}, {most}] or a wider dtype")
        if dtype in DIGITS:
            low, end = inner_bounds(dtype, low, end, adjust_high=high is not None)
        self._integers(address, count, dtype, low, end - low, end - low >= _TWO_WORDS)

    def _integers(self, address: int, count: int, dtype: np.dtype, low: int, span: int, two_words: bool) -> None:
        """low + word % span, taken to `dtype`; span 2**64 keeps all bits."""
        to = address
        if dtype is not _INT64:
            value = np.empty(count, np.int64)
            to = value.ctypes.data
        if two_words:
            self._run("wide_integers", to, count, 8, low, (span - _FULL if span >> 63 else span) if span < _FULL else 0)
        else:
            self._run("integers", to, count, 8, low, span, 1.0 / span)
        if to != address:
            _put(address, round_to(value, dtype) if dtype in DIGITS else value.astype(dtype, copy=False))

    def permutation(self, n: Any, dtype: DTypeLike = np.int64) -> np.ndarray:
        """A random order of 0 .. n-1: Fisher-Yates in the form of Durstenfeld (1964), n - 1 words.

        For i = 0, 1, ... position i swaps with i + word % (n - i). From 2**32 // 20 elements on the swaps
        look back instead, i with word % (i + 1), a word of 64 bits (n of them).
        RuntimeError for n < 0 or beyond the dtype's exact integers.

        >>> MT19937Generator(0).permutation(5)
        array([4, 0, 1, 3, 2])
        """
        n = operator.index(n)
        self.check_permutation(n, np.dtype(dtype))
        return self._filled(n, dtype, self.permutation_at)

    def check_permutation(self, n: int, dtype: np.dtype) -> None:
        """Raise what `permutation` raises."""
        if dtype not in DIGITS and dtype != np.uint8 and dtype.kind != "i":
            raise NotImplementedError(f'"randperm" not implemented for {dtype}; use int64 and convert')
        if n < 0:
            raise RuntimeError(f"randperm: n must be >= 0, got {n}; it is the number of elements to order")
        largest = last_integer(dtype) + 1
        if n > largest:
            raise RuntimeError(f"randperm: n cannot be greater than {largest} for {dtype}, got {n}; "
                               f"use int64")

    def permutation_at(self, address: int, count: int, dtype: np.dtype) -> None:
        to = address
        if dtype is not _INT64:
            order = np.empty(count, np.int64)
            to = order.ctypes.data
        kernel("permutation" if count < _SHUFFLE_TWO_WORDS else "wide_permutation")(self.address, to, count)
        if to != address:
            _put(address, round_to(order, dtype))

    # -- uniform and normal --------------------------------------------------------------------------------

    def uniform(self, shape: Shape, dtype: DTypeLike = np.float32, low: Any = 0.0,
                high: Any = 1.0) -> np.ndarray:
        """Numbers of [low, high) in a floating dtype: k * 2**-24 * (high - low) + low, k the low 24 bits.

        float64 takes the low 53 bits of two words; float16 and bfloat16 round the float32 number. One that
        rounds to `high` becomes `low`. NotImplementedError for other dtypes; RuntimeError if low > high, or
        a bound or high - low is beyond the dtype.

        >>> MT19937Generator(0).uniform((2, 2), np.float64, -1.0, 1.0)
        array([[ 0.940106  ,  0.41563973],
               [-0.08123411,  0.84149537]])
        """
        return self._filled(shape, dtype, self.uniform_at, low, high)

    def uniform_at(self, address: int, count: int, dtype: np.dtype, low: Any = 0.0, high: Any = 1.0) -> None:
        if dtype is FLOAT32 and low == 0.0 and high == 1.0:
            self._run("uniform_float32", address, count, 4, 0.0, 1.0, 1.0)
            return
        low, high = float(low), float(high)
        if dtype is FLOAT32 and -_SINGLE <= low <= high <= _SINGLE and high - low <= _SINGLE:
            self._run("uniform_float32", address, count, 4, low, high, high)
            return
        _floating("uniform_", dtype)
        limit = LARGEST[dtype]
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
        if dtype == FLOAT64:
            self._run("uniform_float64", address, count, 8, low, high, high)
            return
        single = np.empty(count, np.float32)
        self._run("uniform_float32", single.ctypes.data, count, 4, low, high, math.nan)
        out = round_to(single, dtype)
        out[out == dtype.type(high)] = dtype.type(low)
        _put(address, out)

    def normal(self, shape: Shape, dtype: DTypeLike = np.float32, mean: Any = 0.0,
               std: Any = 1.0) -> np.ndarray:
        """Normal numbers in a floating dtype by the method of Box & Muller (1958), in two ways.

        Fewer than 16: float64 pairs, four words each; the second of a pair is kept for the next small call,
        of any dtype. 16 or more: groups of 16 uniforms of the dtype (float32 for float16 and bfloat16) make
        16 numbers; if the size is no multiple of 16, the last 16 are made anew. NotImplementedError for
        other dtypes, RuntimeError unless std >= 0.

        >>> g = MT19937Generator(0)
        >>> g.normal(3).round(4), g.normal(20).shape
        (array([ 1.541 , -0.2934, -2.1788], dtype=float32), (20,))
        """
        return self._filled(shape, dtype, self.normal_at, mean, std)

    def normal_at(self, address: int, count: int, dtype: np.dtype, mean: Any = 0.0, std: Any = 1.0) -> None:
        if dtype is not FLOAT32:
            _floating("normal_kernel_cpu", dtype)
        if not std >= 0.0:
            raise RuntimeError(f"normal expects std >= 0.0, but found std {std:g}; pass its absolute value")
        if dtype is not FLOAT32 and dtype != FLOAT64:
            single = np.empty(count, np.float32)
            self._normal(single.ctypes.data, count, FLOAT32, mean, std, 0)
            _put(address, single.astype(dtype))
        else:
            self._normal(address, count, dtype, mean, std, 1)  # PyTorch draws all uniforms before it redoes the tail

    def _normal(self, address: int, count: int, dtype: np.dtype, mean: Any, std: Any, skip: Any) -> None:
        if count < 16:
            kernel("pairs_float32" if dtype is FLOAT32 else "pairs_float64")(self.address, address, count, mean, std)
            return
        run, itemsize = kernel("normal_float32" if dtype is FLOAT32 else "normal_float64"), dtype.itemsize
        while count >= _PIECE + 16:
            run(self.address, address, _PIECE, mean, std, skip)
            address, count = address + _PIECE * itemsize, count - _PIECE
        run(self.address, address, count, mean, std, skip)

    def pairs_at(self, address: int, count: int, dtype: np.dtype, mean: Any = 0.0, std: Any = 1.0) -> None:
        """Normal numbers that are all made as those of `normal` are when there are few: of a strided tensor, in PyTorch."""
        _floating("normal_kernel_cpu", dtype)
        if not std >= 0.0:
            raise RuntimeError(f"normal expects std >= 0.0, but found std {std:g}; pass its absolute value")
        self._inversion("pairs", address, count, dtype, mean, std)

    def log_normal(self, shape: Shape, dtype: DTypeLike = np.float32, mean: Any = 1.0,
                   std: Any = 2.0) -> np.ndarray:
        """exp of normal numbers of `mean` and `std`, made in float64 pairs as a small `normal` makes them.

        NotImplementedError for a dtype not floating, RuntimeError unless std > 0.
        """
        return self._filled(shape, dtype, self.log_normal_at, mean, std)

    def log_normal_at(self, address: int, count: int, dtype: np.dtype, mean: Any = 1.0, std: Any = 2.0) -> None:
        _floating("log_normal_cpu", dtype)
        self._inversion("log_normal", address, count, dtype, mean, _positive("log_normal_", "std", std))

    # -- other distributions: two words a number, float64 arithmetic -----------------------------------------

    def _inversion(self, name: str, address: int, count: int, dtype: np.dtype, *parameters: float) -> None:
        """A kernel that computes in float64, to a floating dtype (16-bit ones by way of float32)."""
        if dtype is FLOAT32:
            self._run(name + "_float32", address, count, 4, *parameters)
        elif dtype == FLOAT64:
            self._run(name + "_float64", address, count, 8, *parameters)
        else:
            single = np.empty(count, np.float32)
            self._run(name + "_float32", single.ctypes.data, count, 4, *parameters)
            with np.errstate(over="ignore"):
                _put(address, single.astype(dtype))

    def bernoulli(self, shape: Shape, p: Any, dtype: DTypeLike = np.float32) -> np.ndarray:
        """Ones with probability `p`, a number or an array that broadcasts to `shape`; zeros elsewhere.

        u < p, with the u of `uniform` in float64 (two words) for a number or a float64 array, in float32 (one
        word) for an array of another floating dtype. Any dtype. RuntimeError unless
        0 <= p <= 1, NotImplementedError for an array of integers.

        >>> MT19937Generator(0).bernoulli(6, 0.5, np.bool_)
        array([False, False,  True, False, False, False])
        """
        if not isinstance(p, np.ndarray):
            return self._filled(shape, dtype, self.bernoulli_at, p)
        out = np.empty(shape, dtype)
        self.chances_at(out.ctypes.data, out.size, out.dtype, p if p.shape == out.shape else np.broadcast_to(p, out.shape))
        return out

    def bernoulli_at(self, address: int, count: int, dtype: np.dtype, p: Any) -> None:
        """`bernoulli` with one probability."""
        p = float(p)
        if not 0.0 <= p <= 1.0:
            raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p:g}; clamp it")
        bound = math.ceil(p * 2.0**53)  # k * 2**-53 < p  <=>  k < ceil(p * 2**53) for integers k; exact
        if dtype is FLOAT32:
            self._run("bernoulli_float32", address, count, 4, bound)
        elif dtype is _BOOL:
            self._run("bernoulli_bool", address, count, 1, bound)
        else:
            made = np.empty(count, np.bool_)
            self._run("bernoulli_bool", made.ctypes.data, count, 1, bound)
            _put(address, made.astype(dtype))

    def chances_at(self, address: int, count: int, dtype: np.dtype, p: np.ndarray) -> None:
        """`bernoulli` with a probability for each number."""
        if p.dtype not in DIGITS:
            raise NotImplementedError(f'"bernoulli_tensor_cpu_p_" not implemented for {p.dtype}; '
                                      f"convert p to a floating dtype")
        p = np.ascontiguousarray(p, None if p.dtype == FLOAT64 else np.float32)
        self.chances_from(address, count, dtype, p, p.ctypes.data, FLOAT64 if p.dtype == FLOAT64 else FLOAT32)

    def chances_from(self, address: int, count: int, dtype: np.dtype, owner: Any, p: int, work: np.dtype) -> None:
        """`chances_at` with the probabilities in memory, of dtype `work` (float32 or float64), which `owner` keeps: compiled code lets go of
        what it does not use any more."""
        name, direct = "float32" if work is FLOAT32 else "float64", dtype is work
        made = None if direct or dtype is _BOOL else np.empty(count, np.bool_)
        run = kernel(f"chances_{name}_{name if direct else 'bool'}")
        if run(self.address, address if made is None else made.ctypes.data, count, p):
            raise RuntimeError("bernoulli_: Expected p_in >= 0 && p_in <= 1 for every entry of p; "
                               "clamp p to [0, 1] and remove nan")
        if made is not None:
            _put(address, made.astype(dtype))

    def exponential(self, shape: Shape, dtype: DTypeLike = np.float32, lambd: Any = 1.0) -> np.ndarray:
        """Exponential numbers of rate `lambd` in a floating dtype: -log1p(-u) / lambd, by inversion.

        RuntimeError for another dtype or unless lambd > 0.
        """
        return self._filled(shape, dtype, self.exponential_at, lambd)

    def exponential_at(self, address: int, count: int, dtype: np.dtype, lambd: Any = 1.0) -> None:
        if dtype is not FLOAT32 and dtype not in DIGITS:
            raise _discontinuous("Exponential", dtype)
        self._inversion("exponential", address, count, dtype, -1.0 / _positive("exponential_", "lambda", lambd))

    def geometric(self, shape: Shape, dtype: DTypeLike, p: Any) -> np.ndarray:
        """Trials until the first success of probability `p`: ceil(log(u) / log1p(-p)), by inversion.

        dtype: integer or floating (NotImplementedError for bool); RuntimeError unless 0 < p < 1.
        """
        return self._filled(shape, dtype, self.geometric_at, p)

    def geometric_at(self, address: int, count: int, dtype: np.dtype, p: Any) -> None:
        p = float(p)
        if dtype not in DIGITS and dtype.kind not in "iu":
            raise NotImplementedError(f'"geometric_cpu" not implemented for {dtype}; use an integer dtype')
        if not 0.0 < p < 1.0:
            raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p:g}")
        scale = math.log1p(-p)
        if dtype in DIGITS:
            self._inversion("geometric", address, count, dtype, scale)
            return
        trials = np.empty(count)
        self._run("geometric_float64", trials.ctypes.data, count, 8, scale)
        _put(address, trials.astype(np.int64).astype(dtype, copy=False))

    def cauchy(self, shape: Shape, dtype: DTypeLike = np.float32, median: Any = 0.0,
               sigma: Any = 1.0) -> np.ndarray:
        """Cauchy numbers in a floating dtype: median + sigma * tan(pi * (u - 1/2)), by inversion.

        RuntimeError for another dtype or unless sigma > 0.
        """
        return self._filled(shape, dtype, self.cauchy_at, median, sigma)

    def cauchy_at(self, address: int, count: int, dtype: np.dtype, median: Any = 0.0, sigma: Any = 1.0) -> None:
        if dtype is not FLOAT32 and dtype not in DIGITS:
            raise _discontinuous("Cauchy", dtype)
        self._inversion("cauchy", address, count, dtype, median, _positive("cauchy_", "sigma", sigma))

    def multinomial(self, probs: np.ndarray, num_samples: Any, replacement: bool = False) -> np.ndarray:
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
        self.check_multinomial(probs.dtype, probs.shape, num_samples, replacement)
        shape = (*probs.shape[:-1], num_samples)
        if replacement and num_samples > 1:
            work = FLOAT64 if probs.dtype == FLOAT64 else FLOAT32
            weights = np.ascontiguousarray(probs, work)
            picks = np.empty(shape, np.int64)
            self.multinomial_from(picks.ctypes.data, picks.size, picks.dtype, weights, weights.ctypes.data, work, num_samples, probs.shape[-1])
            return picks
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            if probs.size:
                finite = probs.min() >= 0 and probs.max() < math.inf
                _refuse(1 if not finite else 0 if probs.max(axis=-1).min() > 0 else 2)
            race = probs / self.exponential(probs.shape, probs.dtype)
        if num_samples == 1:
            return race.argmax(axis=-1).reshape(shape)
        return np.array([_largest(row, num_samples) for row in race.reshape(-1, probs.shape[-1])], np.int64).reshape(shape)

    @staticmethod
    def check_multinomial(dtype: np.dtype, shape: tuple[int, ...], num_samples: int, replacement: bool) -> None:
        """Raise what `multinomial` raises for other things than the weights' values."""
        if dtype not in DIGITS:
            raise RuntimeError(f"multinomial only supports floating-point dtypes for input, got: {dtype}; "
                               f"convert probs")
        if len(shape) not in (1, 2):
            raise RuntimeError(f"multinomial: prob_dist must be 1 or 2 dim, got {len(shape)}; reshape probs")
        if num_samples < 1:
            raise RuntimeError(f"multinomial: cannot sample n_sample <= 0 samples, got {num_samples}; "
                               f"ask for at least 1")
        if shape[-1] == 0 or (not replacement and num_samples > shape[-1]):
            raise RuntimeError(f"multinomial: cannot sample n_sample > prob_dist.size(-1) samples without "
                               f"replacement, got {num_samples} of {shape[-1]}; "
                               f"pass replacement=True or more weights")

    def multinomial_from(self, address: int, count: int, dtype: np.dtype, owner: Any, weights: int, work: np.dtype, num_samples: int,
                         k: int) -> None:
        """`multinomial` with replacement: `count` indices, `num_samples` for each row of k weights in memory that `owner` keeps, of dtype `work`
        (float32 or float64)."""
        run = kernel("multinomial_float32" if work is FLOAT32 else "multinomial_float64")
        _refuse(run(self.address, address, num_samples, weights, self._room(k), count // num_samples, k))

    def choice_from(self, address: int, count: int, dtype: np.dtype, owner: Any, weights: int, work: np.dtype, num_samples: int, k: int) -> None:
        """`multinomial` without replacement, as `multinomial_from`: for few samples, since each is looked for among all."""
        rows = count // num_samples
        single = work is FLOAT32
        room = self._room(rows * k)
        _refuse(kernel("multinomial_float32" if single else "multinomial_float64")(self.address, address, 0, weights, room, rows, k))
        kernel("exponential_float32" if single else "exponential_float64")(self.address, room, rows * k, -1.0)
        kernel("choose_float32" if single else "choose_float64")(self.address, address, num_samples, weights, room, rows, k)

    def _room(self, count: int) -> int:
        """The address of room for so many float64."""
        if count > self._room_count:
            self._room_memory = np.empty(count)
            self._room_count = count
            self._room_address = self._room_memory.ctypes.data
        return self._room_address

    # -- samplers that take as many words as it needs -------------------------------------------------------------

    def sample_at(self, address: int, count: int, dtype: np.dtype, sampler: str, refusal: str, owner: Any, *parameters: Any) -> None:
        """Numbers of the sampler `sampler` of `codegen.draw_samplers` (gamma, poisson, binomial) by arrays of parameters at addresses, all of `dtype`
        (float32 or float64), in memory that `owner` keeps. RuntimeError with `refusal`, and nothing drawn, for parameters that the sampler refuses."""
        if kernel(sampler + ("_float32" if dtype is FLOAT32 else "_float64"))(self.address, address, count, *parameters):
            raise RuntimeError(refusal)


def _largest(race: np.ndarray, count: int) -> np.ndarray:
    """The indices of the `count` largest numbers, largest first, the first of equal ones first."""
    if 4 * count < race.size and race.dtype in (FLOAT32, FLOAT64):
        least = np.partition(race, race.size - count)[race.size - count]
        if least == least:  # what is not a number comes last in NumPy's orders
            near = np.flatnonzero(race >= least)
            return near[np.argsort(-race[near], kind="stable")[:count]]
    return np.argsort(-race, kind="stable")[:count]


def _put(address: int, array: np.ndarray) -> None:
    """Copy a contiguous array to memory."""
    ctypes.memmove(address, array.ctypes.data, array.nbytes)


def _floating(kernel_name: str, dtype: np.dtype) -> None:
    if dtype is not FLOAT32 and dtype not in DIGITS:
        raise NotImplementedError(f'"{kernel_name}" not implemented for {dtype}; use a floating dtype')


def _discontinuous(name: str, dtype: np.dtype) -> RuntimeError:
    return RuntimeError(f"{name} distribution is a continuous probability distribution. dtype must be a "
                        f"floating point but you specified {dtype}")


def _positive(call: str, name: str, value: float) -> float:
    value = float(value)
    if not value > 0.0:
        raise RuntimeError(f"{call} expects {name} > 0.0, but found {name}={value:g}")
    return value


def _refuse(status: int) -> None:
    """Raise for what a look at weights found: 1 for one that is no weight, 2 for a row of which none is positive."""
    if status == 1:
        raise RuntimeError("multinomial: probability tensor contains either `inf`, `nan` or element < 0; "
                           "pass finite weights >= 0")
    if status:
        raise RuntimeError("multinomial: invalid multinomial distribution (sum of probabilities <= 0); "
                           "give each row a positive weight")

"""The engine of the CPU random generator: seed, state and 32-bit words.

MT19937 (Matsumoto & Nishimura, "Mersenne Twister: a 623-dimensionally equidistributed uniform pseudo-random
number generator", 1998) as `numpy.random` steps it, in C, with its state laid out as PyTorch saves it.
"""
from __future__ import annotations

import ctypes
import operator
import secrets

import numpy as np

from . import mt19937_kernels as kernels

DEFAULT_SEED = 67280421310721
STATE_BYTES = 5056

_WORDS = 624  # words in the engine's state
_STEPPER_BYTES = 4 * _WORDS + 4  # what NumPy's engine keeps: the words and a position
_LOW_24, _UNIT_24 = np.uint64(0xFFFFFF), np.float32(2.0**-24)
FEW = 32  # up to so many numbers are made one at a time, which is quicker than arrays
_FEW_WORDS = 4096  # up to here one call that makes 64-bit words is quicker than NumPy's way to 32-bit ones
# PyTorch's memory layout of a saved generator, normal samples cached included.
_STATE = np.dtype({
    "names": ["seed", "left", "seeded", "next", "words", "double_sample", "double_valid",
              "float_sample", "float_valid"],
    "formats": ["<u8", "<i4", "<i4", "<u8", ("<u8", (_WORDS,)), "<f8", "<i4", "<f4", "u1"],
    "offsets": [0, 8, 12, 16, 24, 5024, 5040, 5048, 5052],
    "itemsize": STATE_BYTES,
})


class MT19937Engine:
    """Seed, state and words of a generator; `torsh.core.mt19937.MT19937Generator` adds the distributions."""

    def __init__(self, seed: int = DEFAULT_SEED) -> None:
        self._engine = np.random.MT19937(0)
        self._seeder = np.random.RandomState(self._engine)  # initialises the engine as in the 1998 paper
        self._words_source = np.random.Generator(self._engine)
        self._address: int = self._engine.ctypes.state_address
        self.manual_seed(seed)

    # -- seed and state ------------------------------------------------------------------------------------

    def manual_seed(self, seed: int) -> MT19937Engine:
        """Restart from `seed`, an int in [-2**63, 2**64); negative ones stand for seed + 2**64. Returns self.

        As in PyTorch only the low 32 bits reach the engine. RuntimeError unless an int, ValueError outside
        the interval.

        >>> MT19937Engine().manual_seed(-1).initial_seed() == 2**64 - 1
        True
        """
        if isinstance(seed, bool) or not hasattr(seed, "__index__"):
            raise RuntimeError(f"manual_seed expected a long, but got {type(seed).__name__}; pass an int")
        seed = operator.index(seed)
        if not -(1 << 63) <= seed < 1 << 64:
            raise ValueError(f"manual_seed: Overflow, {seed} is outside [-2**63, 2**64); "
                             f"reduce it, for example with seed % 2**64")
        self._seed = seed % (1 << 64)
        self._seeder.seed(self._seed & 0xFFFFFFFF)
        self._untouched = True  # no word drawn yet: the saved state shows it
        self._double_sample: float | None = None
        self._float_sample: np.float32 | None = None
        return self

    def initial_seed(self) -> int:
        """The seed last set, as an unsigned 64-bit int."""
        return self._seed

    def seed(self) -> int:
        """Restart from a seed of the operating system's entropy, and return it."""
        self.manual_seed(secrets.randbits(64))
        return self._seed

    def get_state(self) -> np.ndarray:
        """The state as PyTorch saves it: uint8 of shape (5056,), to give to `set_state` here or there."""
        engine = self._engine.state["state"]
        record = np.zeros((), _STATE)
        position = engine["pos"]
        record["seed"], record["seeded"], record["words"] = self._seed, 1, engine["key"]
        record["left"] = 1 if self._untouched else _WORDS + 1 - position
        record["next"] = 0 if self._untouched else position
        if self._double_sample is not None:
            record["double_sample"], record["double_valid"] = self._double_sample, 1
        if self._float_sample is not None:
            record["float_sample"], record["float_valid"] = self._float_sample, 1
        return np.frombuffer(record.tobytes(), np.uint8).copy()

    def set_state(self, state: np.ndarray) -> None:
        """Continue from a `state` of `get_state`, of this class or of PyTorch: uint8, 5056 entries.

        TypeError for another dtype, RuntimeError for another size or an impossible state.
        """
        state = np.asarray(state)
        if state.dtype != np.uint8:
            raise TypeError(f"set_state: RNG state must be a ByteTensor (uint8), got {state.dtype}; "
                            f"pass what get_state() returned")
        if state.size != STATE_BYTES:
            raise RuntimeError(f"set_state: Expected a CPUGeneratorImplState of size {STATE_BYTES} but found "
                               f"the input RNG state size to be {state.size}; pass what get_state() returned")
        record = np.frombuffer(np.ascontiguousarray(state).tobytes(), _STATE)[0]
        left, position = int(record["left"]), int(record["next"])
        if record["seeded"] != 1 or not 1 <= left <= _WORDS or position > _WORDS:
            raise RuntimeError("set_state: Invalid mt19937 state; pass what get_state() returned, unaltered")
        self._seed = int(record["seed"])
        self._untouched = left == 1 and position == 0
        key = record["words"].astype(np.uint32)
        pos = _WORDS if left == 1 else position  # NumPy's mark for "make 624 new words first"
        self._engine.state = {"bit_generator": "MT19937", "state": {"key": key, "pos": pos}}
        self._double_sample = float(record["double_sample"]) if record["double_valid"] else None
        self._float_sample = record["float_sample"] if record["float_valid"] else None

    def __getstate__(self) -> np.ndarray:
        return self.get_state()

    def __setstate__(self, state: np.ndarray) -> None:
        MT19937Engine.__init__(self)
        self.set_state(state)

    def mark(self) -> tuple[bytes, bool, float | None]:
        """Where the stream stands, for `rewind`: quicker than `get_state`, and of use in this process alone."""
        return ctypes.string_at(self._address, _STEPPER_BYTES), self._untouched, self._double_sample

    def rewind(self, mark: tuple[bytes, bool, float | None]) -> None:
        """Go back to where the stream stood, as if nothing had been drawn since."""
        words, self._untouched, self._double_sample = mark
        ctypes.memmove(self._address, words, _STEPPER_BYTES)

    # -- words ---------------------------------------------------------------------------------------------

    def words(self, count: int) -> np.ndarray:
        """The next `count` 32-bit words, uint32."""
        if count:
            self._untouched = False
        if count <= _FEW_WORDS:
            return self._engine.random_raw(count).astype(np.uint32)
        return self._words_source.integers(0, 0xFFFFFFFF, size=count, dtype=np.uint32, endpoint=True)

    def unit_float32(self, count: int) -> np.ndarray:
        """`count` float32 in [0, 1), one word each."""
        if not 0 < count <= _FEW_WORDS:
            return kernels.unit_float32(self.words(count))
        self._untouched = False
        words = self._engine.random_raw(count)
        words &= _LOW_24
        out: np.ndarray = words.astype(np.float32)
        out *= _UNIT_24
        return out

    def unit_float64(self, count: int) -> np.ndarray:
        """`count` float64 in [0, 1), two words each."""
        return kernels.unit_float64(self.words(2 * count)) if count > FEW else np.array(self.few_float64(count))

    def few_float64(self, count: int) -> list[float]:
        """As `unit_float64`, for a few numbers: a list."""
        if count:
            self._untouched = False
        words = self._engine.random_raw(2 * count).tolist()
        return [((words[i] & 0x1FFFFF) * 4294967296 + words[i + 1]) * 2.0**-53 for i in range(0, 2 * count, 2)]

"""The engine of the CPU random generator: seed, state and 32-bit words.

MT19937 (Matsumoto & Nishimura, "Mersenne Twister: a 623-dimensionally equidistributed uniform pseudo-random
number generator", 1998), stepped by kernels of our own (`codegen.draw_text`), with its state laid out as PyTorch saves it.
"""
from __future__ import annotations

import ctypes
import operator
from typing import Any

import numpy as np

from torsh.codegen.draw_layout import Engine
from torsh.runtime.cpu.draws import kernel, take_words_address

DEFAULT_SEED = 67280421310721
STATE_BYTES = 5056

_WORDS = Engine.WORDS
_UNTOUCHED = _WORDS + 1  # the position of an engine that no word was drawn from: the saved state shows it
# PyTorch's memory layout of a saved generator, normal samples cached included.
_STATE = np.dtype({
    "names": ["seed", "left", "seeded", "next", "words", "double_sample", "double_valid",
              "float_sample", "float_valid"],
    "formats": ["<u8", "<i4", "<i4", "<u8", ("<u8", (_WORDS,)), "<f8", "<i4", "<f4", "u1"],
    "offsets": [0, 8, 12, 16, 24, 5024, 5040, 5048, 5052],
    "itemsize": STATE_BYTES,
})


class MT19937Engine:
    """Seed, state and words of a generator; `torsh.runtime.cpu.mt19937.MT19937Generator` adds the distributions."""

    def __init__(self, seed: int = DEFAULT_SEED) -> None:
        self._memory = np.zeros(Engine.BYTES + 64, np.uint8)
        start: int = self._memory.ctypes.data
        self.address: int = start + -start % 64
        ctypes.c_int64.from_address(self.address + Engine.TAKE).value = take_words_address()
        self._position = ctypes.c_int32.from_address(self.address + Engine.POSITION)
        self._kept = ctypes.c_int32.from_address(self.address + Engine.KEPT)
        self._sample = ctypes.c_double.from_address(self.address + Engine.SAMPLE)
        self._room_memory = np.empty(64)  # for cumulative sums of weights, or their times in a race
        self._room_count = 64
        self._room_address: int = self._room_memory.ctypes.data
        self.manual_seed(seed)

    # -- seed and state ------------------------------------------------------------------------------------

    def manual_seed(self, seed: Any) -> MT19937Engine:
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
        kernel("seed")(self.address, self._seed & 0xFFFFFFFF)
        self._position.value = _UNTOUCHED
        self._kept.value = 0
        self._float_sample: np.float32 | None = None
        return self

    def initial_seed(self) -> int:
        """The seed last set, as an unsigned 64-bit int."""
        return self._seed

    def seed(self) -> int:
        """Restart from a seed of the operating system's entropy, and return it."""
        import secrets  # which takes milliseconds to import
        self.manual_seed(secrets.randbits(64))
        return self._seed

    def get_state(self) -> np.ndarray:
        """The state as PyTorch saves it: uint8 of shape (5056,), to give to `set_state` here or there."""
        record = np.zeros((), _STATE)
        position = self._position.value
        record["seed"], record["seeded"], record["words"] = self._seed, 1, self._key()
        record["left"] = 1 if position == _UNTOUCHED else _WORDS + 1 - position
        record["next"] = 0 if position == _UNTOUCHED else position
        if self._kept.value:
            record["double_sample"], record["double_valid"] = self._sample.value, 1
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
        self._key()[...] = record["words"]
        self._position.value = position if left > 1 else _UNTOUCHED if position == 0 else _WORDS
        self._kept.value = 1 if record["double_valid"] else 0
        self._sample.value = record["double_sample"]
        self._float_sample = record["float_sample"] if record["float_valid"] else None

    def __getstate__(self) -> np.ndarray:
        return self.get_state()

    def __setstate__(self, state: np.ndarray) -> None:
        MT19937Engine.__init__(self)
        self.set_state(state)

    def _key(self) -> np.ndarray:
        """The engine's words, as they lie in its memory."""
        first = self.address - self._memory.ctypes.data
        return self._memory[first:first + 4 * _WORDS].view(np.uint32)

    def mark(self) -> bytes:
        """Where the stream stands, for `rewind`: quicker than `get_state`, and of use in this process alone."""
        return ctypes.string_at(self.address, Engine.STATE)

    def rewind(self, mark: bytes) -> None:
        """Go back to where the stream stood, as if nothing had been drawn since."""
        ctypes.memmove(self.address, mark, Engine.STATE)

    # -- words ---------------------------------------------------------------------------------------------

    def words(self, count: int) -> np.ndarray:
        """The next `count` 32-bit words, uint32."""
        out = np.empty(count, np.uint32)
        if count:
            kernel("words")(self.address, out.ctypes.data, count)
        return out

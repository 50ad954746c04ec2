"""How the engine of random numbers lies in memory: what its kernels and their callers agree on."""
from __future__ import annotations


class Engine:
    """Where what is, in bytes. A position of WORDS or more asks for new words first."""
    WORDS = 624
    POSITION = 2496
    #: int32, whether a normal number is kept; float64, that number
    KEPT, SAMPLE = 2500, 2504
    #: The bytes that change as numbers are drawn; behind them the address of `take_words`, and room for a block of words.
    STATE = 2512
    TAKE = 2512
    BLOCK = 2560
    BLOCK_WORDS = 2048
    BYTES = BLOCK + 4 * BLOCK_WORDS + 256

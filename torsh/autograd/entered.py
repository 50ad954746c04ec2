"""How many contexts of `inference_mode` and of `autocast` are open."""
from __future__ import annotations

from typing import Final


class _Entered:
    """Counts those of all threads: while there are none, no operation needs to look at its thread's mode."""
    inference: int
    autocast: int

    def __init__(self) -> None:
        self.inference = 0
        self.autocast = 0


entered: Final = _Entered()

"""What each thread has for itself: whether its operations are recorded."""
from __future__ import annotations

import threading
from typing import Final


class _State(threading.local):
    enabled: bool = True
    inference: bool = False
    multithreading: bool = True


state: Final = _State()

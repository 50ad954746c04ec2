"""Where a profile's events go: spans of tracing, planning, compiling and of each kernel, while somebody records."""
from __future__ import annotations

import threading
import time
from typing import Any, Final


class Event:
    """A span: `category` is "trace", "plan", "kernel", "host" or "user"; times in nanoseconds; `ops`, `bytes` and `flops` where they are known."""
    __slots__ = ("name", "category", "start", "duration", "thread", "ops", "bytes", "flops")

    def __init__(self, name: str, category: str, start: int, duration: int, ops: tuple[str, ...] = (), nbytes: int = 0, flops: int = 0) -> None:
        self.name, self.category, self.start, self.duration = name, category, start, duration
        self.thread = threading.get_ident()
        self.ops, self.bytes, self.flops = ops, nbytes, flops


class Recording:
    """`events` is a list while a profile is on, else None."""
    events: Any

    def __init__(self) -> None:
        self.events = None

    def add(self, name: str, category: str, start: int, ops: tuple[str, ...] = (), nbytes: int = 0, flops: int = 0) -> None:
        """An event that ends now."""
        if self.events is not None:
            self.events.append(Event(name, category, start, time.perf_counter_ns() - start, ops, nbytes, flops))


recording: Final = Recording()

"""Streams and events of a device. The CPU has one stream, and what was asked of it is done when the call returns."""
from __future__ import annotations

from typing import Any

from torsh.core.devices import device as Device
from torsh.core.devices import require

_UNSUPPORTED = "cpu backend doesn't support events."


class Stream:
    """A queue of work of a device: on the CPU the one there is. As a context manager it changes nothing.

    Raises RuntimeError for a device without backend.
    """
    __slots__ = ("device_index", "stream_id")

    def __init__(self, device: Any = None, *, priority: int = 0, stream_id: int = 0, device_index: int = -1, device_type: int = 0) -> None:
        where = require(device)
        self.device_index = device_index if where.index is None else where.index
        self.stream_id = stream_id

    @property
    def device(self) -> Device:
        """The stream's device."""
        return Device("cpu") if self.device_index < 0 else Device("cpu", self.device_index)

    @property
    def device_type(self) -> int:
        """PyTorch's number of the device's type."""
        return 0

    def query(self) -> bool:
        """Whether all that was asked for is done: yes."""
        return True

    def synchronize(self) -> None:
        """Wait for what was asked for, which is done."""

    def wait_event(self, event: Event) -> None:
        """Let what follows wait for an event, which on the CPU has happened."""

    def record_event(self, event: Event | None = None) -> Event:
        """Raises RuntimeError: the CPU keeps no events."""
        raise RuntimeError(_UNSUPPORTED)

    def wait_stream(self, stream: Stream) -> None:
        """Raises RuntimeError: the CPU keeps no events."""
        raise RuntimeError(_UNSUPPORTED)

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and (self.stream_id, self.device_index) == (other.stream_id, other.device_index)

    def __hash__(self) -> int:
        return hash((self.stream_id, self.device_index))

    def __repr__(self) -> str:
        return f"torsh.Stream device_type=cpu, device_index={self.device_index}, stream_id={self.stream_id}"


class Event:
    """A mark in a stream. On the CPU none is ever recorded, as in PyTorch: work is done when its call returns, so there is nothing to wait for."""
    __slots__ = ("device", "enable_timing")

    def __init__(self, device: Any = None, *, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False) -> None:
        self.device = require(device)
        self.enable_timing = enable_timing

    @property
    def event_id(self) -> int:
        """0: not recorded."""
        return 0

    def query(self) -> bool:
        """Whether what came before the mark is done: yes."""
        return True

    def synchronize(self) -> None:
        """Wait for what came before the mark, which is done."""

    def wait(self, stream: Stream | None = None) -> None:
        """Let a stream wait for the mark. Raises RuntimeError for a given one: the CPU keeps no events."""
        if stream is not None:
            raise RuntimeError(_UNSUPPORTED)

    def record(self, stream: Stream | None = None) -> None:
        """Raises RuntimeError: the CPU keeps no events."""
        raise RuntimeError(_UNSUPPORTED)

    def elapsed_time(self, end_event: Event) -> float:
        """Raises ValueError: no event was recorded."""
        if not (self.enable_timing and end_event.enable_timing):
            raise ValueError("Both events must be created with argument 'enable_timing=True'.")
        raise ValueError("Both events must be recorded before calculating elapsed time.")

    def __repr__(self) -> str:
        return f"torsh.Event device_type=cpu, device_index={-1 if self.device.index is None else self.device.index}, event_flag=0, event_id=0"


__all__ = ["Event", "Stream"]

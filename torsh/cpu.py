"""The CPU as a device module, with the functions that every device's has."""
from __future__ import annotations

from typing import Any

from torsh.core.devices import require
from torsh.streams import Event, Stream

_STREAM = Stream()


def is_available() -> bool:
    """Whether there is such a device: yes."""
    return True


def is_initialized() -> bool:
    """Whether the device is ready: yes."""
    return True


def synchronize(device: Any = None) -> None:
    """Wait for the work asked of the device, which is done. Raises RuntimeError for another device."""
    require(device)


def current_device() -> str:
    """The device's name."""
    return "cpu"


def device_count() -> int:
    """The number of such devices: 1."""
    return 1


def set_device(device: Any) -> None:
    """Make a device the current one. Raises RuntimeError for another than the CPU."""
    require(device)


def current_stream(device: Any = None) -> Stream:
    """The stream in use. Raises RuntimeError for another device."""
    require(device)
    return _STREAM


def stream(stream: Stream) -> Stream:
    """A context manager in which a stream is in use: the stream itself."""
    return stream


__all__ = ["Event", "Stream", "current_device", "current_stream", "device_count", "is_available", "is_initialized", "set_device", "stream", "synchronize"]

"""The device that creation functions use when none is given."""
from __future__ import annotations

from typing import Any

from torsh.core.devices import CPU, require
from torsh.core.devices import device as Device


class _Default:
    def __init__(self) -> None:
        self.device = CPU


_default = _Default()


def set_default_device(device: Any) -> None:
    """Make tensors on a device where none is given; None is the first choice again. Raises RuntimeError for a device without backend."""
    _default.device = require(device)


def get_default_device() -> Device:
    """The device of tensors that are made without naming one.

    >>> get_default_device()
    device(type='cpu')
    """
    return _default.device


__all__ = ["get_default_device", "set_default_device"]

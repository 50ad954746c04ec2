"""Devices: where a tensor's memory is."""
from __future__ import annotations

_KNOWN = ("cpu", "cuda", "mps", "xpu", "meta", "wgpu")


class device:
    """A device, e.g. `torsh.device("cpu")` or `torsh.device("cuda", 1)`.

    Raises RuntimeError for an unknown device type. A device that is known but not built into this version of
    ToRSh can be named, and is refused when a tensor is to be made on it.

    >>> device("cuda:1")
    device(type='cuda', index=1)
    """
    __slots__ = ("type", "index", "_before")

    def __init__(self, type: str | device | int, index: int | None = None) -> None:
        if isinstance(type, device):
            self.type: str = type.type
            self.index: int | None = type.index
            return
        if isinstance(type, int):
            self.type, self.index = "cuda", type
            return
        name, colon, number = type.partition(":")
        if colon:
            if index is not None:
                raise RuntimeError(f"type (string) must not include an index because index was passed explicitly: {type}")
            if not number.isdigit():
                raise RuntimeError(f"Invalid device string: '{type}'")
            index = int(number)
        if name not in _KNOWN:
            raise RuntimeError(f"Expected one of {', '.join(_KNOWN)} device type at start of device string: {type}")
        self.type = name
        self.index = index

    def __repr__(self) -> str:
        return f"device(type='{self.type}')" if self.index is None else f"device(type='{self.type}', index={self.index})"

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) and self.type == other.type and self.index == other.index

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __reduce__(self) -> tuple[type[device], tuple[str, int | None]]:
        return device, (self.type, self.index)

    def __enter__(self) -> device:
        """As a context manager: the default device is this one, if it is there (RuntimeError otherwise)."""
        from torsh.core.default_device import get_default_device, set_default_device
        before = get_default_device()
        set_default_device(self)
        self._before = [*getattr(self, "_before", []), before]
        return self

    def __exit__(self, *exc: object) -> None:
        from torsh.core.default_device import set_default_device
        set_default_device(self._before.pop())


CPU = device("cpu")


def require(where: device | str | int | None) -> device:
    """The device to make a tensor on; None means the CPU.

    Raises RuntimeError for a device that this build has no backend for.
    """
    if where is None or where is CPU:
        return CPU
    found = where if isinstance(where, device) else device(where)
    if found.type != "cpu":
        raise RuntimeError(f"device '{found}' is not available: this build of ToRSh has the backends: cpu. "
                           "Use device='cpu', or leave the argument out")
    if found.index not in (None, 0):
        raise RuntimeError(f"CPU device index must be 0, got {found.index}")
    return found

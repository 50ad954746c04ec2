"""The default random generator of the process, made on first use."""
from __future__ import annotations

from typing import Any, Final


class _Default:
    generator: Any

    def __init__(self) -> None:
        self.generator = None


_default: Final = _Default()


def default_generator() -> Any:
    """The `MT19937Generator` that random operations draw from unless given another. It begins with PyTorch's default seed."""
    if _default.generator is None:
        from torsh.runtime.cpu.mt19937 import MT19937Generator
        _default.generator = MT19937Generator()
    return _default.generator

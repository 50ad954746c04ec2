"""The default random generator of the process, made on first use."""
from __future__ import annotations

from typing import Any


class _Default:
    generator: Any = None


def default_generator() -> Any:
    """The `MT19937Generator` that random operations draw from unless given another. It begins with PyTorch's default seed."""
    if _Default.generator is None:
        from torsh.runtime.cpu.mt19937 import MT19937Generator
        _Default.generator = MT19937Generator()
    return _Default.generator

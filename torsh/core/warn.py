"""Warnings that are given once in a process, unless `set_warn_always` asks for all of them."""
from __future__ import annotations

import warnings


class _Given:
    def __init__(self) -> None:
        self.always = False
        self.texts: set[str] = set()


_given = _Given()


def warn_once(text: str, category: type[Warning] = UserWarning, stacklevel: int = 2) -> None:
    """Warn with this text for the first time, or each time after `set_warn_always(True)`."""
    if _given.always or text not in _given.texts:
        _given.texts.add(text)
        warnings.warn(text, category, stacklevel=stacklevel + 1)


def set_warn_always(b: bool) -> None:
    """Whether warnings that come once in a process come each time instead. Raises RuntimeError unless a bool."""
    if not isinstance(b, bool):
        raise RuntimeError(f"set_warn_always: expected a bool, but got {type(b).__name__}")
    _given.always = b


def is_warn_always_enabled() -> bool:
    """What `set_warn_always` was last told (False at first)."""
    return _given.always

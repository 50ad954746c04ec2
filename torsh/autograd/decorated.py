"""Modes as decorators."""
from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any


def decorated(mode: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, each call of it within a clone of the mode. (Interpreted: compiled functions neither bind as methods nor take `wraps`.)"""
    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with mode.clone():
            return function(*args, **kwargs)
    return wrapped

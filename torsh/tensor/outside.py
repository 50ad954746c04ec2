"""Who outside shares a storage's memory: arrays handed out, and arrays that memory came from."""
from __future__ import annotations

import sys
import weakref
from typing import Any

import numpy as np


class Export:
    """The owner of one NumPy array handed out: every array derived from it keeps it alive."""
    __slots__ = ("__array_interface__", "memory", "__weakref__")

    def __init__(self, array: np.ndarray) -> None:
        self.memory = array
        self.__array_interface__ = array.__array_interface__

    def array(self, np_dtype: np.dtype, count: int) -> np.ndarray:
        return self.memory.view(np_dtype)[:count]


class Foreign:
    """The owner of memory that came from somebody's array. Holds the only reference that ToRSh keeps to it."""
    __slots__ = ("held",)

    def __init__(self, array: np.ndarray) -> None:
        self.held = array

    def array(self, np_dtype: np.dtype, count: int) -> np.ndarray:
        return self.held.reshape(-1).view(np_dtype)[:count]

    def alive(self) -> bool:
        """Whether anybody else can still reach the memory."""
        if sys.getrefcount(self.held) > _HELD_ALONE:
            return True
        base = self.held.base
        if base is None:
            return False
        return not isinstance(base, np.ndarray) or base.base is not None or sys.getrefcount(base) > _BASE_ALONE


def alive(outside: Any) -> bool:
    """Whether the array behind a `Foreign`, or a weak reference to an `Export`, can still be reached outside."""
    return outside() is not None if isinstance(outside, weakref.ref) else outside.alive()


def _count_held(f: Foreign) -> int:
    return sys.getrefcount(f.held)


def _count_base(f: Foreign) -> int:
    base = f.held.base
    return sys.getrefcount(base)


# What the counts are when nobody else holds the object.
_HELD_ALONE = _count_held(Foreign(np.zeros(1)))
_BASE_ALONE = _count_base(Foreign(np.zeros(2)[:1]))

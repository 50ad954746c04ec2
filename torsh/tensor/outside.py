"""Who outside shares a storage's memory: arrays handed out (by the `handle` they stand on), and arrays that memory came from."""
from __future__ import annotations

import ctypes
import sys
import weakref
from typing import Any

import numpy as np

from torsh.runtime.buffer import Buffer
from torsh.runtime.cpu.memory import Block


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


def handle(buffer: Buffer) -> Any:
    """An object over the memory for NumPy arrays to stand on, which keeps the memory alive and can be referred to weakly: a new one each
    time, so that it lives as long as the arrays made on it."""
    owner = buffer.owner
    if type(owner) is Block:
        return owner.view()
    return (ctypes.c_char * buffer.nbytes).from_buffer(buffer.array(_BYTE, (buffer.nbytes,)))  # type: ignore[arg-type]  # an array is one


_BYTE = np.dtype(np.uint8)


def alive(outside: Any) -> bool:
    """Whether the array behind a `Foreign`, or a weak reference to a `handle`, can still be reached outside."""
    return outside() is not None if isinstance(outside, weakref.ref) else outside.alive()


def _count_held(f: Foreign) -> int:
    return sys.getrefcount(f.held)


def _count_base(f: Foreign) -> int:
    base = f.held.base
    return sys.getrefcount(base)


# What the counts are when nobody else holds the object.
_HELD_ALONE = _count_held(Foreign(np.zeros(1)))
_BASE_ALONE = _count_base(Foreign(np.zeros(2)[:1]))

"""Swaps one after the other, natively: what a random order is made by."""
from __future__ import annotations

import ctypes
import functools
from typing import Any

import numpy as np

from torsh.codegen import compile as codegen

_TEXT = """
define void @swap_all(ptr noalias %order, ptr noalias %target, i64 %count) nounwind {
entry:
  %some = icmp sgt i64 %count, 0
  br i1 %some, label %loop, label %done
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %target.at = getelementptr i64, ptr %target, i64 %i
  %j = load i64, ptr %target.at
  %a.at = getelementptr i64, ptr %order, i64 %i
  %b.at = getelementptr i64, ptr %order, i64 %j
  %a = load i64, ptr %a.at
  %b = load i64, ptr %b.at
  store i64 %b, ptr %a.at
  store i64 %a, ptr %b.at
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %count
  br i1 %more, label %loop, label %done
done:
  ret void
}
"""


@functools.cache
def _swap_all() -> Any:
    made = codegen.load([("swap_all-1", lambda: _TEXT, ("swap_all",))])
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(made["swap_all-1"]["swap_all"])


def shuffled(target: np.ndarray) -> np.ndarray:
    """0 .. n-1 after the swaps (i, target[i]), i = 0 .. n-2. `target`: int64, i <= target[i] < n.

    >>> shuffled(np.array([2, 1, 3]))
    array([2, 1, 3, 0])
    """
    target = np.ascontiguousarray(target, np.int64)
    order = np.arange(target.size + 1)
    _swap_all()(order.ctypes.data, target.ctypes.data, target.size)
    return order


__all__ = ["shuffled"]

"""PyTorch's arithmetic on sizes (`sym_max` and its like). ToRSh's sizes are always known, so these are plain numbers.

Loaded when one of the names is first used.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any


def sym_int(a: Any) -> int:
    """The number without what is behind the point."""
    return math.trunc(a)


def sym_float(a: Any) -> float:
    """The number as a float."""
    return float(a)


def _paired(a: Any, b: Any, pick: Any) -> Any:
    """`pick(a, b)` in the type of their sum: a float if one is."""
    found = pick(a, b)
    return float(found) if isinstance(a, float) or isinstance(b, float) else found


def sym_max(a: Any, b: Any) -> Any:
    """The greater of two numbers; a float if one of them is.

    >>> sym_max(2, 1.0)
    2.0
    """
    return _paired(a, b, max)


def sym_min(a: Any, b: Any) -> Any:
    """The smaller of two numbers; a float if one of them is."""
    return _paired(a, b, min)


def sym_not(a: Any) -> bool:
    """`not a`."""
    return not a


def sym_sqrt(a: Any) -> float:
    """The square root. Raises ValueError for a negative number."""
    return math.sqrt(a)


def sym_sum(args: Sequence[Any]) -> Any:
    """The sum of numbers, 0 of none."""
    return sum(args)


def sym_ite(b: bool, t: Any, f: Any) -> Any:
    """`t if b else f`. Raises AssertionError unless `b` is a bool and the others are of one type."""
    if not isinstance(b, bool):
        raise AssertionError(f"expected a bool, got {type(b)}")
    if type(t) is not type(f):
        raise AssertionError(f"type mismatch: {type(t)} vs {type(f)}")
    return t if b else f


def sym_constrain_range(size: Any, *, min: int | None = None, max: int | None = None) -> None:
    """Raises RuntimeError unless min <= size <= max (those given)."""
    low, high = -2 ** 63 if min is None else min, 2 ** 63 - 1 if max is None else max
    if high < low:
        raise RuntimeError(f"Max must be greater than or equal to min. Got min={low} max={high}")
    if not low <= size <= high:
        raise RuntimeError(f"Invalid value range for {size} between [{low}, {high}].")


def sym_constrain_range_for_size(size: Any, *, min: int | None = None, max: int | None = None) -> None:
    """`sym_constrain_range`, with a lower bound of 0 if none is given. Raises RuntimeError out of range and for an upper bound up to 2."""
    if max is not None and max <= 2:
        raise RuntimeError(f"Max value to constrain_range_for_size must be greater than 2. got: {max}")
    sym_constrain_range(size, min=0 if min is None else min, max=max)


def sym_fresh_size(expr: Any) -> Any:
    """A size as a size of its own: the number itself."""
    return expr


__all__ = ["sym_constrain_range", "sym_constrain_range_for_size", "sym_float", "sym_fresh_size", "sym_int", "sym_ite", "sym_max", "sym_min", "sym_not",
           "sym_sqrt", "sym_sum"]

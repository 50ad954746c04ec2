"""Named results of functions that return several tensors, as `torch.return_types` are."""
from __future__ import annotations

from collections import namedtuple
from typing import Any


def result_type(name: str, *fields: str) -> Any:
    """The tuple type of a function's results.

    >>> result_type("max", "values", "indices")(1, 2)
    max(values=1, indices=2)
    """
    made = namedtuple(name, fields)  # type: ignore[misc]
    made.__module__ = "torsh.return_types"
    return made

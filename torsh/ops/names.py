"""Every operation family, loaded: `FUNCTIONS` are the public names of `torsh`."""
from __future__ import annotations

from importlib import import_module
from math import e, inf, nan, pi

from torsh.autograd import engine
from torsh.ops import composite, pointwise, reduce
from torsh.ops.dispatch import FUNCTIONS, cast_tensor

import_module("torsh.autograd.methods")
for _family in (
    "complex_numbers",
    "convert",
    "copies",
    "gather",
    "indexing",
    "inquiry",
    "join",
    "late",
    "matmul",
    "matrix",
    "network",
    "plain",
    "random",
    "reduce",
    "removed",
    "scan",
    "scatter",
    "sort",
):
    import_module("torsh.ops." + _family)
engine.arithmetic.add = pointwise.add
engine.arithmetic.total = composite.total
engine.arithmetic.sum_to = reduce.sum_to
engine.arithmetic.cast = cast_tensor
__all__ = ["FUNCTIONS", "e", "inf", "nan", "pi"]

"""Every operation family, loaded: `FUNCTIONS` are the public names of `torsh`."""
from __future__ import annotations

from math import e, inf, nan, pi

from torsh.autograd import engine, methods
from torsh.ops import (
    calculus,
    combine,
    complex_numbers,
    convert,
    copies,
    floating,
    gather,
    indexing,
    inquiry,
    join,
    late,
    matmul,
    matrix,
    network,
    pointwise,
    random,
    reduce,
    scan,
    scatter,
    sort,
    statistics,
    views,
)
from torsh.ops.dispatch import FUNCTIONS, cast_tensor

engine.arithmetic.add = pointwise.add
engine.arithmetic.sum_to = views.sum_to
engine.arithmetic.cast = cast_tensor
__all__ = ["FUNCTIONS", "calculus", "combine", "complex_numbers", "convert", "copies", "e", "floating", "gather", "indexing", "inf", "inquiry", "join",
           "late", "matmul", "matrix", "methods", "nan", "network", "pi", "random", "reduce", "scan", "scatter", "sort", "statistics"]

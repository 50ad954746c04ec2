"""Every operation family, loaded: `FUNCTIONS` are the public names of `torsh`."""
from __future__ import annotations

from math import e, inf, nan, pi

from torsh.autograd import engine
from torsh.ops import pointwise, views
from torsh.ops.dispatch import FUNCTIONS, cast_tensor

engine.arithmetic.add = pointwise.add
engine.arithmetic.sum_to = views.sum_to
engine.arithmetic.cast = cast_tensor
__all__ = ["FUNCTIONS", "e", "inf", "nan", "pi"]

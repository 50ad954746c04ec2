"""What numbers a type can hold."""
from __future__ import annotations

from typing import Any

from torsh.core.dtypes import dtype as DType
from torsh.core.dtypes import get_default_dtype


class finfo:
    """The limits of a floating type (the default one without an argument); of a complex type those of its parts.

    Attributes: `bits`, `eps`, `max`, `min`, `tiny`, `smallest_normal`, `resolution`, `dtype` (its name). Raises TypeError for other types.

    >>> finfo().bits
    32
    """
    bits: int
    eps: float
    max: float
    min: float
    tiny: float
    smallest_normal: float
    resolution: float
    dtype: str

    def __init__(self, type: DType | None = None) -> None:
        import ml_dtypes
        of = (get_default_dtype() if type is None else type).to_real()
        if not of.is_floating_point:
            raise TypeError(f"torsh.finfo() requires a floating point input type. Use torsh.iinfo to handle '{of.name}'")
        found: Any = ml_dtypes.finfo(of.np)
        self.bits = of.itemsize * 8
        self.eps, self.max, self.min = float(found.eps), float(found.max), float(found.min)
        self.tiny = self.smallest_normal = float(found.smallest_normal)
        self.resolution = float(f"1e-{found.precision}")
        self.dtype = of.name

    def __repr__(self) -> str:
        return f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, eps={self.eps:g}, smallest_normal={self.smallest_normal:g}, " \
               f"tiny={self.tiny:g}, dtype={self.dtype})"


class iinfo:
    """The limits of an integer type: `bits`, `max`, `min`, `dtype` (its name). Raises TypeError for other types.

    >>> iinfo(__import__("torsh").int8).max
    127
    """
    bits: int
    max: int
    min: int
    dtype: str

    def __init__(self, type: DType) -> None:
        import numpy as np
        if type.category != 1:
            raise TypeError(f"torsh.iinfo() requires an integer input type. Use torsh.finfo to handle '{type.name}'")
        found = np.iinfo(type.np)
        self.bits, self.max, self.min, self.dtype = found.bits, int(found.max), int(found.min), type.name

    def __repr__(self) -> str:
        return f"iinfo(min={self.min:g}, max={self.max:g}, dtype={self.dtype})"

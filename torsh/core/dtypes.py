"""Data types: the ones of PyTorch that ToRSh computes with, and how two of them combine.

Complex types, unsigned ones of more than 8 bits and floating ones of 8 are computed by NumPy (`on_host`), all others by compiled kernels.
"""
from __future__ import annotations

from typing import Final

import ml_dtypes
import numpy as np


class dtype:
    """A tensor element type, e.g. `torsh.float32`.

    Attributes: `name`, `itemsize` (bytes), `is_floating_point`, `is_complex`, `is_signed`, `np` (NumPy dtype).
    """
    __slots__ = ("name", "np", "itemsize", "is_floating_point", "is_complex", "is_signed", "on_host", "category", "rank", "title")

    def __init__(self, name: str, np_dtype: object, category: int, rank: int, title: str, on_host: bool = False) -> None:
        self.name = name
        self.np = np.dtype(np_dtype)  # type: ignore[call-overload]
        self.itemsize = self.np.itemsize
        self.category = category  # 0 bool, 1 integer, 2 floating, 3 complex
        self.rank = rank
        self.is_floating_point = category == 2
        self.is_complex = category == 3
        self.is_signed = name not in ("bool", "float8_e8m0fnu") and not name.startswith("uint")
        self.on_host = on_host
        self.title = title  # "Float" in torch.FloatTensor

    def __repr__(self) -> str:
        return "torsh." + self.name

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return by_name, (self.name,)

    @property
    def abbr(self) -> str:
        """The name in short, e.g. "f32"."""
        if self.name == "bool":
            return "b8"
        kind = {"uint": "u", "int": "i", "float": "f", "bfloat": "bf", "complex": "c"}
        word = self.name.rstrip("0123456789") if "_" not in self.name else "float"
        return kind[word] + self.name[len(word):].replace("_", "")

    def to_real(self) -> dtype:
        """The real type of the same precision (`complex64` -> `float32`); real types give themselves."""
        return {complex64: float32, complex128: float64}.get(self, self)

    def to_complex(self) -> dtype:
        """The complex type of the same precision (`float64` -> `complex128`)."""
        return complex128 if self in (float64, complex128) else complex64


bool_: Final = dtype("bool", np.bool_, 0, 0, "Bool")
uint8: Final = dtype("uint8", np.uint8, 1, 1, "Byte")
int8: Final = dtype("int8", np.int8, 1, 2, "Char")
int16: Final = dtype("int16", np.int16, 1, 3, "Short")
int32: Final = dtype("int32", np.int32, 1, 4, "Int")
int64: Final = dtype("int64", np.int64, 1, 5, "Long")
float16: Final = dtype("float16", np.float16, 2, 6, "Half")
bfloat16: Final = dtype("bfloat16", ml_dtypes.bfloat16, 2, 7, "BFloat16")
float32: Final = dtype("float32", np.float32, 2, 8, "Float")
float64: Final = dtype("float64", np.float64, 2, 9, "Double")
complex64: Final = dtype("complex64", np.complex64, 3, 10, "ComplexFloat", True)
complex128: Final = dtype("complex128", np.complex128, 3, 11, "ComplexDouble", True)
uint16: Final = dtype("uint16", np.uint16, 1, 12, "UInt16", True)
uint32: Final = dtype("uint32", np.uint32, 1, 13, "UInt32", True)
uint64: Final = dtype("uint64", np.uint64, 1, 14, "UInt64", True)
float8_e4m3fn: Final = dtype("float8_e4m3fn", ml_dtypes.float8_e4m3fn, 2, 15, "Float8_e4m3fn", True)
float8_e4m3fnuz: Final = dtype("float8_e4m3fnuz", ml_dtypes.float8_e4m3fnuz, 2, 16, "Float8_e4m3fnuz", True)
float8_e5m2: Final = dtype("float8_e5m2", ml_dtypes.float8_e5m2, 2, 17, "Float8_e5m2", True)
float8_e5m2fnuz: Final = dtype("float8_e5m2fnuz", ml_dtypes.float8_e5m2fnuz, 2, 18, "Float8_e5m2fnuz", True)
float8_e8m0fnu: Final = dtype("float8_e8m0fnu", ml_dtypes.float8_e8m0fnu, 2, 19, "Float8_e8m0fnu", True)

WIDE_UNSIGNED = (uint16, uint32, uint64)
FLOAT8 = (float8_e4m3fn, float8_e4m3fnuz, float8_e5m2, float8_e5m2fnuz, float8_e8m0fnu)
_COMBINING = (bool_, uint8, int8, int16, int32, int64, float16, bfloat16, float32, float64, complex64, complex128)
ALL = _COMBINING + WIDE_UNSIGNED + FLOAT8
_BY_NAME = {d.name: d for d in ALL}
_BY_NP = {d.np: d for d in ALL}


def by_name(name: str) -> dtype:
    return _BY_NAME[name]


def from_numpy(np_dtype: object) -> dtype:
    """The ToRSh dtype of a NumPy dtype.

    Raises TypeError for types without a counterpart (strings, objects, dates).
    """
    found = _BY_NP.get(np.dtype(np_dtype))  # type: ignore[call-overload]
    if found is None:
        raise TypeError(f"can't convert np.ndarray of type {np.dtype(np_dtype)}: "  # type: ignore[call-overload]
                        f"the supported types are {', '.join(d.name for d in ALL)}")
    return found


def _promote(a: dtype, b: dtype) -> dtype:
    if a is b:
        return a
    if a.category != b.category:
        lo, hi = (a, b) if a.category < b.category else (b, a)
        if hi.category == 3 and lo is float64:
            return complex128
        return hi
    if a.category == 1:
        if uint8 in (a, b):  # unsigned with signed: the signed type, but int8 cannot hold it
            other = b if a is uint8 else a
            return int16 if other is int8 else other
        return a if a.rank > b.rank else b
    if a.category == 2 and {a, b} == {float16, bfloat16}:
        return float32
    return a if a.rank > b.rank else b


class _Promotions(dict[tuple[dtype, dtype], dtype]):
    """How each two types combine; a pair that does not is an error."""

    def __missing__(self, pair: tuple[dtype, dtype]) -> dtype:
        kind = "Float8 Types is" if pair[0] in FLOAT8 or pair[1] in FLOAT8 else "uint16, uint32, uint64 types is"
        raise RuntimeError(f"Promotion for {kind} not supported, attempted to promote {pair[0].title} and {pair[1].title}")


PROMOTE: Final[dict[tuple[dtype, dtype], dtype]] = _Promotions({(a, b): _promote(a, b) for a in _COMBINING for b in _COMBINING})
for _t in WIDE_UNSIGNED:
    PROMOTE.update({pair: a for a in (float16, bfloat16, float32, float64) for pair in ((a, _t), (_t, a))})
for _t in WIDE_UNSIGNED + FLOAT8:
    PROMOTE[_t, _t] = _t


def promote_types(type1: dtype, type2: dtype) -> dtype:
    """The smallest type to which both can be converted, by PyTorch's rules. Raises RuntimeError for two that it has no rule for.

    >>> promote_types(int32, float16)
    torsh.float16
    """
    return PROMOTE[type1, type2]


class _Default:
    """The process-wide default floating type (`set_default_dtype`)."""

    def __init__(self) -> None:
        self.floating = float32


_default: Final = _Default()


def get_default_dtype() -> dtype:
    """The floating type that creation functions and Python floats use."""
    return _default.floating


def set_default_dtype(d: dtype) -> None:
    """Set the default floating type.

    Raises TypeError unless `d` is a floating type.
    """
    if not isinstance(d, dtype) or not d.is_floating_point:
        raise TypeError("only floating-point types are supported as the default type")
    _default.floating = d


def of_scalar(value: object) -> dtype:
    """The type a Python number has when nothing else decides (bool, int64, default float, default complex)."""
    if isinstance(value, (bool, np.bool_)):
        return bool_
    if isinstance(value, (int, np.integer)):
        return int64
    if isinstance(value, (float, np.floating)):
        return _default.floating
    if isinstance(value, (complex, np.complexfloating)):
        return _default.floating.to_complex()
    raise TypeError(f"expected a number, got {type(value).__name__}")

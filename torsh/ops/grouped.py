"""Products of many matrices at once, and of matrices in 8 bits with scales."""
from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any

from torsh.core.dtypes import FLOAT8, bfloat16, dtype, float16, float32, int32
from torsh.ops.dispatch import cast_tensor
from torsh.ops.host import every_value
from torsh.ops.join import cat, stack
from torsh.ops.matmul import bmm, mm
from torsh.ops.views import zeros_like_shape
from torsh.tensor.tensor import Tensor


def _bounds(offs: Tensor, size: int) -> list[tuple[int, int]]:
    """Where each group begins and ends. Raises RuntimeError for offsets that fall or reach further than the dimension."""
    ends = [int(n) for n in every_value(offs).reshape(-1)]
    if any(b < a for a, b in zip([0, *ends], ends, strict=False)) or (ends and ends[-1] > size):
        raise RuntimeError(f"grouped_mm: offsets must not fall and not reach further than the dimension, got {ends} for a dimension of size {size}")
    return list(zip([0, *ends[:-1]], ends, strict=True))


def _filled(parts: list[Tensor], dim: int, size: int) -> Tensor:
    """Parts along a dimension, with zeros after them up to its size."""
    have = sum(p._shape[dim] for p in parts)
    if have < size:
        shape = list(parts[0]._shape)
        shape[dim] = size - have
        parts = [*parts, zeros_like_shape(tuple(shape), parts[0])]
    return cat(parts, dim)


def grouped_mm(mat_a: Tensor, mat_b: Tensor, *, offs: Tensor | None = None, bias: Tensor | None = None, out_dtype: dtype | None = None) -> Tensor:
    """The products of groups of matrices: [g, m, k] times [g, k, n] gives [g, m, n]. Where a matrix has two dimensions, the groups are parts of the one they
    share with the result or with each other, which end at `offs` (int32, [g]): rows of [m, k] times [g, k, n] give [m, n]; [g, m, k] times columns of
    [k, n] give [m, n]; columns of [m, k] times rows of [k, n] give [g, m, n]. What lies behind the last group is 0.

    Raises RuntimeError for shapes, types and offsets that do not fit, and for a bias.
    """
    a, b = mat_a._shape, mat_b._shape
    for name, t in (("mat_a", mat_a), ("mat_b", mat_b)):
        if len(t._shape) not in (2, 3):
            raise RuntimeError(f"grouped_mm: {name} has to be 2 or 3d, got shape {list(t._shape)}")
        if t._dtype not in (float32, bfloat16, float16):
            raise RuntimeError(f"grouped_mm: Expected {name} to be Float32, BFloat16 or Float16 matrix, got {t._dtype.title}")
    if (offs is None) != (len(a) == 3 and len(b) == 3):
        raise RuntimeError("grouped_mm: Have to provide offsets if there is a 2d matrix, or no offset if both matrices are 3d")
    if a[-1] != b[-2]:
        raise RuntimeError(f"grouped_mm: contraction dimension of mat_a and mat_b must match, got shapes {list(a)} and {list(b)}")
    if bias is not None:
        raise RuntimeError("grouped_mm: Bias not supported yet")
    if out_dtype is not None and out_dtype is not mat_a._dtype:
        raise RuntimeError("grouped_mm: Grouped gemm output dtype must match `mat_a` dtype")
    if offs is None:
        if a[0] != b[0]:
            raise RuntimeError(f"grouped_mm: batched dimension has to match, got shapes {list(a)} and {list(b)}")
        return bmm(mat_a, mat_b)
    if offs._dtype is not int32:
        raise RuntimeError("grouped_mm: Offsets have to be int32")
    groups = offs.numel()
    if any(len(s) == 3 and s[0] != groups for s in (a, b)):
        raise RuntimeError(f"grouped_mm: matrix batch sizes have to match: {groups} offsets, shapes {list(a)} and {list(b)}")
    x: Any = mat_a
    y: Any = mat_b
    if len(b) == 3:
        return _filled([mm(x[begin:end], y[g]) for g, (begin, end) in enumerate(_bounds(offs, a[0]))], 0, a[0])
    if len(a) == 3:
        return _filled([mm(x[g], y[:, begin:end]) for g, (begin, end) in enumerate(_bounds(offs, b[1]))], 1, b[1])
    return stack([mm(x[:, begin:end], y[begin:end]) for begin, end in _bounds(offs, a[1])])


class ScalingType(enum.IntEnum):
    """How many numbers of a matrix have a scale in common."""
    TensorWise = 0
    RowWise = 1
    BlockWise1x16 = 2
    BlockWise1x32 = 3
    BlockWise1x128 = 4
    BlockWise128x128 = 5


class SwizzleType(enum.IntEnum):
    """In which order scales of blocks lie in memory."""
    NO_SWIZZLE = 0
    SWIZZLE_32_4_4 = 1


def _only(value: Any) -> Any:
    return value[0] if isinstance(value, (list, tuple)) and len(value) == 1 else value


def scaled_mm(mat_a: Tensor, mat_b: Tensor, scale_a: Tensor | Sequence[Tensor], scale_recipe_a: Any, scale_b: Tensor | Sequence[Tensor], scale_recipe_b: Any,
              swizzle_a: Any = None, swizzle_b: Any = None, bias: Tensor | None = None, output_dtype: dtype | None = bfloat16,
              contraction_dim: Sequence[int] = (), use_fast_accum: bool = False) -> Tensor:
    """(mat_a * scale_a) @ (mat_b * scale_b) + bias of matrices [m, k] and [k, n] of 8-bit floating types, in float32, as `output_dtype`.

    Both have one scale of float32 (`ScalingType.TensorWise`), or scales [m, 1] of the rows and [1, n] of the columns (`ScalingType.RowWise`),
    as on PyTorch's CPU. Raises ValueError for other types and scales, RuntimeError for shapes that do not fit.
    """
    if len(mat_a._shape) != 2 or len(mat_b._shape) != 2 or mat_a._shape[1] != mat_b._shape[0]:
        raise RuntimeError(f"scaled_mm: mat_a and mat_b shapes cannot be multiplied, got {list(mat_a._shape)} and {list(mat_b._shape)}")
    m, n = mat_a._shape[0], mat_b._shape[1]
    first, second, recipes = _only(scale_a), _only(scale_b), (_only(scale_recipe_a), _only(scale_recipe_b))
    scales = all(isinstance(s, Tensor) and s._dtype is float32 for s in (first, second))
    whole = recipes == (ScalingType.TensorWise, ScalingType.TensorWise) and scales and first.numel() == second.numel() == 1
    rows = recipes == (ScalingType.RowWise, ScalingType.RowWise) and scales and first._shape == (m, 1) and second._shape == (1, n)
    if not (whole or rows) or mat_a._dtype not in FLOAT8 or mat_b._dtype not in FLOAT8 or _only(swizzle_a) or _only(swizzle_b):
        raise ValueError("scaled_mm: Invalid scaling configuration.\nFor TensorWise scaling, a and b should be float8, scales should be float and singletons.\n"
                         f"For RowWise scaling, a and b should be float8, scales should be float, scale_a ({m}, 1) and scale_b (1, {n}).\n"
                         f"Got types {mat_a._dtype} and {mat_b._dtype}, recipes {recipes}, scales of shapes "
                         f"{[list(s._shape) if isinstance(s, Tensor) else s for s in (first, second)]}")
    if bias is not None and bias._shape != (n,):
        raise RuntimeError(f"scaled_mm: expected a bias [{n}], got shape {list(bias._shape)}")
    product = mm(cast_tensor(mat_a, float32), cast_tensor(mat_b, float32))
    scaled = product * (first.reshape(()) * second.reshape(()) if whole else first * second)
    if bias is not None:
        scaled = scaled + cast_tensor(bias, float32)
    return cast_tensor(scaled, bfloat16 if output_dtype is None else output_dtype)


__all__ = ["ScalingType", "SwizzleType", "grouped_mm", "scaled_mm"]

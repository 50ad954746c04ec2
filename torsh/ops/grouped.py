"""Products of groups of rows with a matrix each, as a mixture of experts has them."""
from __future__ import annotations

from typing import Any

from torsh.core.dtypes import bfloat16, dtype, float16, float32, int32
from torsh.ops.dispatch import FUNCTIONS
from torsh.tensor.creation import zeros
from torsh.tensor.tensor import Tensor


def grouped_mm(mat_a: Tensor, mat_b: Tensor, *, offs: Tensor | None = None, bias: Tensor | None = None, out_dtype: dtype | None = None) -> Tensor:
    """Matrix products of groups; `offs` [groups], int32, says where each group ends in the dimension that a matrix (instead of a batch) divides.

    [m, k] with [groups, k, n] gives [m, n], each group of rows times its matrix; [groups, m, k] with [k, n] gives [m, n], each matrix times its
    group of columns; [m, k] with [k, n] gives [groups, m, n], over groups of k; two batches are multiplied one by one, without `offs`.
    What lies beyond the last end is 0 in the result. The ends are read now. Raises RuntimeError for other shapes and types, and for a bias,
    which PyTorch does not have yet either.

    >>> import torsh
    >>> rows, experts = torsh.ones(3, 2), torsh.stack([torsh.ones(2, 2), 2 * torsh.ones(2, 2)])
    >>> grouped_mm(rows, experts, offs=torsh.tensor([1, 3], dtype=torsh.int32))
    tensor([[2., 2.],
            [4., 4.],
            [4., 4.]])
    """
    da, db = len(mat_a._shape), len(mat_b._shape)
    for name, t, d in (("mat_a", mat_a, da), ("mat_b", mat_b, db)):
        if d not in (2, 3):
            raise RuntimeError(f"{name} has to be 2 or 3d, got shape {list(t._shape)}")
        if t._dtype not in (float32, bfloat16, float16):
            raise RuntimeError(f"Expected {name} to be Float32, BFloat16 or Float16 matrix, got {t._dtype.title}")
    if mat_a._dtype is not mat_b._dtype:
        raise RuntimeError(f"grouped_mm: expected both to have the same dtype, but got {mat_a._dtype} and {mat_b._dtype}")
    if mat_a._shape[-1] != mat_b._shape[-2]:
        raise RuntimeError(f"contraction dimension of mat_a and mat_b must match, got shapes {list(mat_a._shape)} and {list(mat_b._shape)}")
    if (offs is None) is not (da == db == 3):
        raise RuntimeError("Have to provide offsets if there is a 2d matrix, or no offset if both matrices are 3d")
    if bias is not None:
        raise RuntimeError("Bias not supported yet")
    if out_dtype is not None and out_dtype is not mat_a._dtype:
        raise RuntimeError(f"Grouped gemm output dtype must match `mat_a` dtype, got {out_dtype} and {mat_a._dtype}")
    if offs is None:
        if mat_a._shape[0] != mat_b._shape[0]:
            raise RuntimeError(f"batched dimension has to match, got {mat_a._shape[0]} and {mat_b._shape[0]}")
        return FUNCTIONS["bmm"](mat_a, mat_b)  # type: ignore[no-any-return]
    return _divided(mat_a, mat_b, offs, da, db)


def _divided(a: Any, b: Any, offs: Tensor, da: int, db: int) -> Tensor:
    if offs._dtype is not int32 or len(offs._shape) != 1:
        raise RuntimeError(f"Offsets have to be int32 and 1d, got {offs._dtype} of shape {list(offs._shape)}")
    ends: list[int] = offs.tolist()  # type: ignore[attr-defined]
    groups = b._shape[0] if db == 3 else a._shape[0] if da == 3 else len(ends)
    if groups != len(ends):
        raise RuntimeError(f"matrix batch sizes have to match: {groups} groups and {len(ends)} offsets")
    total = a._shape[0] if db == 3 else b._shape[1] if da == 3 else a._shape[1]
    starts = [0, *ends[:-1]]
    if any(not s <= e for s, e in zip(starts, ends)) or (ends and ends[-1] > total):
        raise RuntimeError(f"grouped_mm: offsets {ends} must not decrease, nor exceed the size {total} that they divide")
    parts = []
    for g, (s, e) in enumerate(zip(starts, ends)):
        left = a.narrow(0, s, e - s) if db == 3 else a[g] if da == 3 else a.narrow(1, s, e - s)
        right = b[g] if db == 3 else b.narrow(1, s, e - s) if da == 3 else b.narrow(0, s, e - s)
        parts.append(left @ right)
    if da == db == 2:
        return FUNCTIONS["stack"](parts)  # type: ignore[no-any-return]
    rest = total - (ends[-1] if ends else 0)
    along = 0 if db == 3 else 1
    if rest:
        shape = (rest, b._shape[2]) if db == 3 else (a._shape[1], rest)
        parts.append(zeros(shape, dtype=a._dtype))
    return FUNCTIONS["cat"](parts, along)  # type: ignore[no-any-return]


__all__ = ["grouped_mm"]

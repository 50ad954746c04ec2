"""Products of matrices of 8-bit integers, summed in int32."""
from __future__ import annotations

from torsh.core.dtypes import int8, int32, uint8
from torsh.graph.node import Node
from torsh.graph.primitives import CONTRACT
from torsh.ops.dispatch import public, write_out
from torsh.tensor.tensor import Tensor, wrap


def product(a: Tensor, b: Tensor, kept: bool = False) -> Tensor:
    """[batch, m, k] (uint8 or int8) times [batch, k, n] (int8), a batch of 1 broadcasts: int32, which wraps.

    `kept`: b is weights that many products will use, so how they are packed is kept with their memory. The caller has checked shapes and dtypes."""
    shape = max(a._shape[0], b._shape[0]) if 0 not in (a._shape[0], b._shape[0]) else 0, a._shape[1], b._shape[2]
    return wrap(Node(CONTRACT, (a._node(), b._node()), "kept" if kept else None, shape, int32))


@public("_int_mm", method=False)
def int_mm(input: Tensor, mat2: Tensor, *, out: Tensor | None = None) -> Tensor:
    """[m, k] of int8 or uint8 times [k, n] of int8: [m, n] of int32, exactly (sums wrap from 2^31 on).

    Raises RuntimeError for other dtypes, for shapes that do not fit, and for an `out` of another shape or dtype.

    >>> import torsh
    >>> a = torsh.full((2, 3), -128, dtype=torsh.int8)
    >>> torsh._int_mm(a, a.t())
    tensor([[49152, 49152],
            [49152, 49152]], dtype=torsh.int32)
    """
    a, b = input._shape, mat2._shape
    for name, shape in (("self", a), ("mat2", b)):
        if len(shape) != 2:
            raise RuntimeError(f"_int_mm: Expected {name} to be of dimension 2 but got {len(shape)}")
    if a[1] != b[0]:
        raise RuntimeError(f"_int_mm: self.size(1) needs to match mat2.size(0) but got {a[1]} and {b[0]}")
    if input._dtype not in (int8, uint8):
        raise RuntimeError(f"_int_mm: Expected self dtype to be int8 or uint8 but got {input._dtype.title}")
    if mat2._dtype is not int8:
        raise RuntimeError(f"_int_mm: Expected mat2 dtype to be of type int8 but got {mat2._dtype.title}")
    if out is not None:
        if out._dtype is not int32:
            raise RuntimeError(f"_int_mm: Expected result dtype to be int32 but got {out._dtype.title}")
        if out._shape != (a[0], b[1]):
            raise RuntimeError(f"_int_mm: Expected result of shape {[a[0], b[1]]} but got {list(out._shape)}")
    found = product(input.unsqueeze(0), mat2.unsqueeze(0)).squeeze(0)  # type: ignore[attr-defined]
    return found if out is None else write_out(out, found, "_int_mm")  # type: ignore[no-any-return]


__all__ = ["int_mm", "product"]

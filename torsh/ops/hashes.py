"""Hashes of tensors' contents."""
from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np

from torsh.core.dtypes import uint64
from torsh.core.shapes import Shape, reduced, wrap_dims
from torsh.graph.primitives import axes_first
from torsh.ops.dispatch import apply, public
from torsh.ops.host import host_op
from torsh.tensor.tensor import Tensor


def _xor(x: np.ndarray, axes: Shape, keepdim: bool) -> Any:
    wide: Any = x.astype(np.int64) if x.dtype.kind in "bi" else x.astype(np.uint64) if x.dtype.kind == "u" else x.astype(np.float64)
    bits: Any = np.ascontiguousarray(wide).view(np.uint64).reshape(x.shape)
    xor: Any = np.bitwise_xor
    return xor.reduce(bits, axis=axes, keepdims=keepdim)


_HASH = host_op("hash_tensor", _xor, batching=axes_first)


@public(out="exact")
def hash_tensor(input: Tensor, dim: Any = (), *, keepdim: bool = False, mode: int = 0) -> Tensor:
    """The exclusive or of the elements' bits, over dimensions or all: uint64. Elements are made int64 or float64 first.

    Raises RuntimeError for another mode than 0 and for no elements without `dim`, IndexError for a dimension of size 0, NotImplementedError
    for complex numbers.

    >>> import torsh
    >>> hash_tensor(torsh.tensor([1, 2, 7])).item()
    4
    """
    if mode != 0:
        raise RuntimeError(f"Unknown hash_tensor mode: {mode}")
    if input._dtype.is_complex:
        raise NotImplementedError(f"\"xor_sum_cpu\" not implemented for '{input._dtype.title}'")
    given = (dim,) if isinstance(dim, (int, Integral)) else tuple(dim)
    rank = len(input._shape)
    axes = wrap_dims(given, rank, "hash_tensor") if given else tuple(range(rank))
    if not given and not input.numel():
        raise RuntimeError("hash_tensor: Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with the 'dim' argument.")
    for d in axes:
        if not input._shape[d]:
            raise IndexError(f"hash_tensor: Expected reduction dim {d} to have non-zero size.")
    return apply(_HASH, (input,), (axes, keepdim), reduced(input._shape, axes, keepdim), uint64)


__all__ = ["hash_tensor"]

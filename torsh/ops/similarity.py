"""How alike vectors are: cosines and distances along a dimension."""
from __future__ import annotations

import numpy as np

from torsh.core import dtypes
from torsh.core.shapes import broadcast, wrap_dim
from torsh.ops.composite import rounded_once
from torsh.ops.dispatch import cast_tensor, public
from torsh.ops.gather import selected
from torsh.ops.matrix import cdist
from torsh.ops.reduce import sum, vector_norm
from torsh.tensor.creation import from_array
from torsh.tensor.tensor import Tensor


@public(method=False)
@rounded_once
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between vectors along `dim`, broadcast; norms count as at least `eps`.

    Raises RuntimeError for shapes that do not broadcast, IndexError for a dimension out of range.
    """
    shape = broadcast(x1._shape, x2._shape, "cosine_similarity")
    dt = dtypes.PROMOTE[x1._dtype, x2._dtype]
    if dt.category < 2:
        raise RuntimeError(f"expected common dtype to be floating point, yet common dtype is {dt.title}")
    axes = (wrap_dim(dim, len(shape), "cosine_similarity"),)
    a, b = (cast_tensor(t, dt).expand(shape) for t in (x1, x2))  # type: ignore[attr-defined]
    a = a / vector_norm(a, 2, axes, True).clamp_min(eps)  # type: ignore[attr-defined]
    b = b / vector_norm(b, 2, axes, True).clamp_min(eps)  # type: ignore[attr-defined]
    return sum(a * b, axes)


@public(method=False)
def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The p-norm of x1 - x2 + eps over the last dimension. Raises RuntimeError for shapes that do not broadcast."""
    shape = broadcast(x1._shape, x2._shape, "pairwise_distance")
    axes = (len(shape) - 1,) if shape else ()
    return vector_norm(x1 - x2 + eps, p, axes, keepdim)


@public(method=False)
def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """[n (n - 1) / 2]: the p-norm distances between all pairs of rows of [n, m], in the order (0, 1), (0, 2), ..., (1, 2), ...

    Raises RuntimeError for other shapes, integer tensors or a negative `p`.
    """
    s = input._shape
    if len(s) != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {len(s)}D")
    if input._dtype.category != 2:
        raise RuntimeError("pdist only supports floating-point dtypes")
    if p < 0:
        raise RuntimeError("pdist only supports non-negative p values")
    first, second = np.triu_indices(s[0], 1)
    left, right = (selected(input, 0, from_array(at.astype(np.int64))).unsqueeze(1) for at in (first, second))  # type: ignore[attr-defined]
    return cdist(left, right, p).reshape(-1)  # type: ignore[no-any-return,attr-defined]

"""How alike vectors are: cosines and distances along a dimension."""
from __future__ import annotations

from torsh.core import dtypes
from torsh.core.shapes import broadcast, wrap_dim
from torsh.ops.dispatch import cast_tensor, public
from torsh.ops.reduce import sum, vector_norm
from torsh.tensor.tensor import Tensor


@public(method=False)
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

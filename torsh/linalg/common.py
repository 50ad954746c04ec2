"""What all of linear algebra shares: LAPACK as host steps over batches of matrices, checks of operands, and reports of failure.

A host step runs when its numbers are needed. Functions that must raise for a singular matrix ask for LAPACK's report at once, as
PyTorch does; the `_ex` forms return it instead and stay lazy.
"""
from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from torsh.autograd.autocast import as_written, in_full_precision
from torsh.core.dtypes import dtype, get_default_dtype, int32
from torsh.core.errors import LinAlgError
from torsh.core.shapes import Shape, broadcast, numel
from torsh.ops.dispatch import cast_tensor, with_out
from torsh.ops.host import every_value
from torsh.ops.matmul import matmul
from torsh.ops.pointwise import where
from torsh.ops.views import transpose, zeros_like_shape
from torsh.tensor.tensor import Tensor

#: torsh.linalg.<name>
LINALG: dict[str, Callable[..., Any]] = {}


#: Of these, products choose their type under autocast themselves, others compute in float32, and all others in the type they are given.
_PRODUCTS = frozenset(("matmul", "matrix_power", "multi_dot", "vecdot"))
_DELICATE = frozenset("cholesky cholesky_ex cond eig eigh eigvals eigvalsh householder_product inv inv_ex lstsq matrix_rank qr solve svd svdvals tensorinv "
                      "tensorsolve".split())


def linalg(*names: str, out: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: the function is `torsh.linalg.<name>`, with an `out=` argument unless told otherwise."""
    def register(f: Callable[..., Any]) -> Callable[..., Any]:
        for name in names or (f.__name__,):
            shown = f if name in _PRODUCTS else in_full_precision(f) if name in _DELICATE else as_written(f)
            LINALG[name] = with_out(shown, name) if out else shown
        return f
    return register


def each(function: Callable[..., Any], count: int) -> Callable[..., Any]:
    """`function` of single matrices as a function of arrays with equal batch dimensions in front: the results stacked.

    The first `count` arguments are arrays. An empty batch calls `function` with zeros (or an identity) to learn the results' shapes.
    """
    @functools.wraps(function)
    def call(*args: Any) -> Any:
        arrays, static = args[:count], args[count:]
        cores = [2 if a.ndim >= 2 else a.ndim for a in arrays]
        batch = arrays[0].shape[:arrays[0].ndim - cores[0]]
        if not batch:
            return function(*args)
        flat = [a.reshape(numel(batch), *a.shape[len(batch):]) for a in arrays]
        found = [function(*[a[i] for a in flat], *static) for i in range(flat[0].shape[0])]
        if not found:
            example = function(*[np.eye(*a.shape[1:], dtype=a.dtype) if a.ndim == 3 else np.ones(a.shape[1:], a.dtype) for a in flat], *static)
            parts = example if isinstance(example, tuple) else (example,)
            out = tuple(np.empty((*batch, *np.shape(p)), np.asarray(p).dtype) for p in parts)
            return out if isinstance(example, tuple) else out[0]
        if isinstance(found[0], tuple):
            return tuple(np.stack(part).reshape(*batch, *np.shape(part[0])) for part in zip(*found, strict=True))
        return np.stack(found).reshape(*batch, *np.shape(found[0]))
    return call


# ---- checks


def floating(what: str, t: Tensor, half: bool = False) -> None:
    """Raises RuntimeError unless the tensor is float32, float64 or complex (or half precision, where that is allowed)."""
    if not isinstance(t, Tensor):
        raise TypeError(f"{what}(): argument must be Tensor, not {type(t).__name__}")
    if t._dtype.category < 2:
        raise RuntimeError(f"{what}: Expected a floating point or complex tensor as input. Got {t._dtype.title}")
    if t._dtype.itemsize < 4 and not half:
        raise RuntimeError(f"{what}: Low precision dtypes not supported. Got {t._dtype.title}")


def matrices(what: str, t: Tensor, name: str = "A") -> None:
    """Raises RuntimeError for fewer than 2 dimensions or a dtype that LAPACK has not."""
    if len(t._shape) < 2:
        raise RuntimeError(f"{what}: The input tensor {name} must have at least 2 dimensions.")
    floating(what, t)


def square(what: str, t: Tensor, name: str = "A") -> None:
    """As `matrices`, and raises RuntimeError unless they are square."""
    matrices(what, t, name)
    if t._shape[-1] != t._shape[-2]:
        raise RuntimeError(f"{what}: {name} must be batches of square matrices, but they are {t._shape[-2]} by {t._shape[-1]} matrices")


def same_dtype(what: str, a: Tensor, b: Tensor, names: str = "A and B") -> None:
    """Raises RuntimeError unless two operands have one dtype."""
    if a._dtype is not b._dtype:
        raise RuntimeError(f"{what}: Expected {names} to have the same dtype, but found {names} of type {a._dtype.title} and {b._dtype.title} instead")


def batch_of(t: Tensor) -> Shape:
    return t._shape[:-2]


def together(what: str, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Two batches of matrices broadcast to one batch shape."""
    batch = broadcast(a._shape[:-2], b._shape[:-2], what)
    return spread(a, batch), spread(b, batch)


def spread(t: Tensor, batch: Shape) -> Tensor:
    """Matrices repeated (as a view) to a batch shape."""
    return t if t._shape[:-2] == batch else t.expand((*batch, *t._shape[-2:]))  # type: ignore[no-any-return]


def failing(info: Tensor) -> tuple[str, int] | None:
    """Which of a batch LAPACK reports a failure for, and its code; None when all went well. Computes the report, under vmap that of all examples."""
    codes = np.asarray(every_value(info))
    at = np.flatnonzero(codes)
    if not at.size:
        return None
    return (f"(Batch element {at[0]}): " if codes.ndim else ""), int(codes.reshape(-1)[at[0]])


def check(info: Tensor, what: str, message: str) -> None:
    """Raises LinAlgError if LAPACK reports a failure; `message` may name the code as {code}."""
    found = failing(info)
    if found is not None:
        raise LinAlgError(f"{what}: {found[0]}{message.format(code=found[1])}")


# ---- small parts of formulas


def mH(t: Tensor) -> Tensor:
    """The adjoints of a batch of matrices."""
    swapped = transpose(t, -2, -1)
    return swapped.conj_physical() if t._dtype.is_complex else swapped  # type: ignore[no-any-return]


def identity(n: int, like: Tensor, m: int | None = None) -> Tensor:
    """The n by n (or n by m) identity with the dtype of `like`."""
    from torsh.tensor.creation import eye
    return eye(n, m, dtype=like._dtype)


def on_diagonal(values: Tensor) -> Tensor:
    """Diagonal matrices of vectors."""
    return values.diag_embed()  # type: ignore[no-any-return]


def diagonal_of(t: Tensor) -> Tensor:
    """The diagonals of matrices, as vectors."""
    return t.diagonal(0, -2, -1)  # type: ignore[no-any-return]


def symmetric(t: Tensor) -> Tensor:
    """The Hermitian part."""
    return (t + mH(t)) * 0.5  # type: ignore[no-any-return]


def skew(t: Tensor) -> Tensor:
    """t - t^H."""
    return t - mH(t)  # type: ignore[no-any-return]


def off_diagonal(t: Tensor) -> Tensor:
    """The matrix with zeros on its diagonal."""
    n = t._shape[-1]
    from torsh.core.dtypes import bool_
    from torsh.tensor.creation import eye
    return where(eye(n, dtype=bool_), zeros_like_shape((), t), t)  # type: ignore[no-any-return]


def product(*ts: Tensor) -> Tensor:
    """The matrix product from the left, reals promoted where a complex operand meets them."""
    out = ts[0]
    for t in ts[1:]:
        if out._dtype.is_complex != t._dtype.is_complex:
            out, t = (out, cast_tensor(t, out._dtype)) if out._dtype.is_complex else (cast_tensor(out, t._dtype), t)
        out = matmul(out, t)
    return out


def widened(what: str, t: Tensor, dt: dtype | None) -> Tensor:
    """The tensor as `dt` (itself for None). Raises RuntimeError for a dtype that loses category."""
    if dt is None or dt is t._dtype:
        return t
    if dt.category < 2 or (t._dtype.is_complex and not dt.is_complex) or dt.itemsize < t._dtype.itemsize or (dt.is_complex and not t._dtype.is_complex):
        raise RuntimeError(f"{what}: the dtype of the input ({t._dtype.title}) should be convertible without narrowing to the specified dtype ({dt.title})")
    return cast_tensor(t, dt)


def real_default(t: Tensor) -> Tensor:
    """Integers and bools as the default floating type."""
    return cast_tensor(t, get_default_dtype()) if t._dtype.category < 2 else t


__all__ = ["LINALG", "LinAlgError", "check", "each", "floating", "int32", "linalg", "mH", "matrices", "product", "square", "together"]

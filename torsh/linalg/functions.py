"""Functions of matrices, products of several, Householder reflections, Vandermonde matrices, tensor equations."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torsh.autograd.autocast import as_written, in_full_precision, in_lower_type
from torsh.autograd.graph import GradNode
from torsh.core.dtypes import dtype, int64
from torsh.core.shapes import broadcast, numel, wrap_dim
from torsh.linalg import lapack
from torsh.linalg.common import diagonal_of, floating, identity, linalg, matrices, mH, on_diagonal, product, same_dtype, square
from torsh.linalg.systems import inv, solve
from torsh.linalg.triangular import solve_upper
from torsh.ops import matrix
from torsh.ops.composite import HALF
from torsh.ops.dispatch import apply, cast_tensor, public
from torsh.ops.gather import iota
from torsh.ops.host import host_op
from torsh.ops.join import cat
from torsh.ops.matmul import matmul
from torsh.ops.matrix import tril, triu
from torsh.ops.reduce import sum as sum_
from torsh.ops.reduce import unmoved
from torsh.ops.scan import cumprod
from torsh.ops.views import diagonal as diagonal_view
from torsh.ops.views import movedim, narrow, zeros_like_shape
from torsh.tensor.tensor import Tensor


def _expm_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    """The upper right block of exp([[A^H, g], [0, A^H]]) (Mathias, "A chain rule for matrix functions and applications", 1996)."""
    A = mH(ctx[0])
    n = A._shape[-1]
    block = cat([cat([A, g], -1), cat([zeros_like_shape(A._shape, A), A], -1)], -2)
    return narrow(narrow(_expm(block), -2, 0, n), -1, n, n)  # type: ignore[no-any-return]


_EXPM = host_op("matrix_exp", lapack.expm, _expm_vjp, (0,), False, "LinalgMatrixExpBackward0")


def _expm(A: Tensor) -> Tensor:
    return apply(_EXPM, (A,), None, A._shape, A._dtype)


@linalg(out=False)
@public("matrix_exp")
@as_written
def matrix_exp(A: Tensor) -> Tensor:
    """The exponentials of square matrices: sum A^k / k!. Raises RuntimeError for one that is not square or of integers.

    >>> import torsh
    >>> torsh.linalg.matrix_exp(torsh.zeros(2, 2))
    tensor([[1., 0.],
            [0., 1.]])
    """
    if isinstance(A, Tensor) and A._dtype in HALF:
        return cast_tensor(matrix_exp(A.float()), A._dtype)
    square("linalg.matrix_exp", A)
    return _expm(A)


@linalg()
@public("matrix_power", out=True)
def matrix_power(A: Tensor, n: int) -> Tensor:
    """Square matrices to an integer power, by repeated squaring; a negative power of the inverse. Raises LinAlgError for a singular one then."""
    if len(A._shape) < 2 or A._shape[-1] != A._shape[-2]:
        square("linalg.matrix_power", A)
    if n < 0:
        A, n = inv(A), -n
    if n == 0:
        return unmoved(identity(A._shape[-1], A).expand(A._shape).clone(), A)
    found: Tensor | None = None
    while True:
        if n & 1:
            found = A if found is None else matmul(found, A)
        n >>= 1
        if not n:
            assert found is not None
            return found.clone() if found is A else found  # type: ignore[no-any-return]
        A = matmul(A, A)


def _chain_order(sizes: list[int]) -> list[list[int]]:
    """Where to split each run of matrices so that all multiplications together are fewest (dynamic programming; Cormen et al., 15.2)."""
    n = len(sizes) - 1
    cost = [[0] * n for _ in range(n)]
    cut = [[0] * n for _ in range(n)]
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            cost[i][j], cut[i][j] = min((cost[i][k] + cost[k + 1][j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j))
    return cut


def _multiply(ts: list[Tensor], cut: list[list[int]], i: int, j: int) -> Tensor:
    return ts[i] if i == j else matmul(_multiply(ts, cut, i, cut[i][j]), _multiply(ts, cut, cut[i][j] + 1, j))


@linalg()
def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of two or more matrices, in the cheapest order; the first and the last may be vectors. Raises RuntimeError for others."""
    what = "multi_dot()"
    ts = list(tensors)
    if len(ts) < 2:
        raise RuntimeError(f"{what}: expected at least 2 tensors but got {len(ts)}")
    for i, t in enumerate(ts):
        edge = i in (0, len(ts) - 1)
        if len(t._shape) not in ((1, 2) if edge else (2,)):
            raise RuntimeError(f"{what}: tensor {i} must be {'1D or 2D' if edge else '2D'} but got {len(t._shape)}D")
        if t._dtype is not ts[0]._dtype:
            raise RuntimeError(f"{what}: all tensors must have be the same dtype but got {ts[0]._dtype.title} and {t._dtype.title}")
    row, column = len(ts[0]._shape) == 1, len(ts[-1]._shape) == 1
    if row:
        ts[0] = ts[0].unsqueeze(0)
    if column:
        ts[-1] = ts[-1].unsqueeze(-1)
    for i in range(len(ts) - 1):
        if ts[i]._shape[1] != ts[i + 1]._shape[0]:
            raise RuntimeError(f"{what}: tensors {i} and {i + 1} with shapes {list(tensors[i]._shape)} and {list(tensors[i + 1]._shape)} cannot be multiplied")
    out = _multiply(ts, _chain_order([t._shape[0] for t in ts] + [ts[-1]._shape[1]]), 0, len(ts) - 1)
    if row:
        out = out.squeeze(0)
    return out.squeeze(-1) if column else out  # type: ignore[no-any-return]


@public(method=False)
def chain_matmul(*matrices: Any, out: Tensor | None = None) -> Tensor:
    """`linalg.multi_dot` of matrices given one by one."""
    ts = list(matrices[0]) if len(matrices) == 1 and isinstance(matrices[0], (list, tuple)) else list(matrices)
    if len(ts) == 1:
        return ts[0]
    from torsh.linalg.common import LINALG
    return LINALG["multi_dot"](ts) if out is None else LINALG["multi_dot"](ts, out=out)


# ---- Householder reflections


def _reflections(A: Tensor, tau: Tensor) -> tuple[Tensor, Tensor]:
    """(V, T) with H_1 ... H_k = I - V T V^H: the compact form (Joffrain et al., "Accumulating Householder transformations, revisited", 2006).

    T = (I + diag(tau) upper(V^H V))^-1 diag(tau), which holds for tau of 0 too.
    """
    k = tau._shape[-1]
    V = tril(narrow(A, -1, 0, k), -1) + identity(A._shape[-2], A, k)
    inner = identity(k, A) + tau.unsqueeze(-1) * triu(product(mH(V), V), 1)
    return V, solve_upper(inner, on_diagonal(tau))


def _check_reflections(what: str, A: Tensor, tau: Tensor) -> None:
    matrices(what, A, "input")
    same_dtype(what, A, tau, "input and tau")
    m, n = A._shape[-2:]
    if m < n:
        raise RuntimeError(f"{what}: input.shape[-2] must be greater than or equal to input.shape[-1]")
    if tau._shape[-1:] and n < tau._shape[-1]:
        raise RuntimeError(f"{what}: input.shape[-1] must be greater than or equal to tau.shape[-1]")
    if tau._shape[:-1] != A._shape[:-2]:
        raise RuntimeError(f"{what}: Expected batch dimensions of tau to be equal to input.shape[:-2], but got {list(tau._shape[:-1])}")


@linalg("householder_product")
@public("orgqr", out=True)
@in_full_precision
def householder_product(input: Tensor, tau: Tensor) -> Tensor:
    """The first n columns [*, m, n] of H_1 H_2 ... H_k with H_i = I - tau_i v_i v_i^H; v_i is column i below the diagonal, 1 on it.

    Raises RuntimeError for shapes that do not fit.
    """
    _check_reflections("torch.linalg.householder_product", input, tau)
    m, n = input._shape[-2:]
    V, T = _reflections(input, tau)
    return identity(m, input, n) - product(V, product(T, mH(V)[..., :n]))  # type: ignore[no-any-return]


@public(out=True)
@in_full_precision
def ormqr(input: Tensor, tau: Tensor, other: Tensor, left: bool = True, transpose: bool = False) -> Tensor:
    """Q C, Q^H C (`transpose`), C Q or C Q^H for the square Q of `geqrf`'s reflections. Raises RuntimeError for shapes that do not fit."""
    what = "torch.ormqr"
    for name, t in (("input", input), ("other", other)):
        if len(t._shape) < 2:
            raise RuntimeError(f"{what}: {name} must have at least 2 dimensions.")
    same_dtype(what, input, tau, "input and tau")
    same_dtype(what, input, other, "input and other")
    side = -2 if left else -1
    if other._shape[side] < tau._shape[-1]:
        raise RuntimeError(f"{what}: other.shape[{side}] must be greater than or equal to tau.shape[-1]")
    if other._shape[side] != input._shape[-2]:
        raise RuntimeError(f"{what}: other.shape[{side}] must be equal to input.shape[-2]")
    V, T = _reflections(input, tau)
    if transpose:
        T = mH(T)
    if left:
        return other - product(V, product(T, product(mH(V), other)))  # type: ignore[no-any-return]
    return other - product(product(product(other, V), T), mH(V))  # type: ignore[no-any-return]


# ---- others


@linalg()
def vander(x: Tensor, *, N: int | None = None) -> Tensor:
    """[*, n, N]: rows 1, x, x^2, ... of each element of [*, n]; N is n by default. Raises RuntimeError for N < 2."""
    columns = (x._shape[-1] if x._shape else 1) if N is None else N
    if columns <= 1 and N is not None:
        raise RuntimeError(f"N must be greater than 1, got N={N}")
    t = x.long() if x._dtype.category < 2 else x
    t = t if t._shape else t.reshape(1)
    shape = (*t._shape, columns - 1)
    ones = zeros_like_shape((*t._shape, 1), t) + 1
    return cat([ones, cumprod(t.unsqueeze(-1).expand(shape), -1)], -1) if columns > 1 else ones


@public("vander", method=False)
def vander_top(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """[n, N]: powers of each element of a vector, falling unless `increasing`. Raises RuntimeError for other dimensions."""
    if len(x._shape) != 1:
        raise RuntimeError("x must be a one-dimensional tensor.")
    count = x._shape[0] if N is None else N
    if count < 0:
        raise RuntimeError("N must be non-negative.")
    powers = iota(count) if increasing else count - 1 - iota(count)
    base = cast_tensor(x, int64) if x._dtype.category < 2 else x
    return base.unsqueeze(-1) ** powers  # type: ignore[no-any-return]


@linalg()
@in_lower_type
def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """sum(conj(x) * y) along a dimension, broadcast. Raises RuntimeError for integers."""
    floating("linalg.vecdot", x, half=True)
    return sum_(x.conj() * y, dim)  # type: ignore[no-any-return]


@linalg("cross")
def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The cross product along a dimension of size 3. Raises RuntimeError for another size and for different numbers of dimensions."""
    if len(input._shape) != len(other._shape):
        raise RuntimeError("linalg.cross: inputs must have the same number of dimensions.")
    d = wrap_dim(dim, len(input._shape), "linalg.cross")
    if input._shape[d] != 3 or other._shape[d] != 3:
        raise RuntimeError(f"linalg.cross: inputs dimension {dim} must have length 3. Got {input._shape[d]} and {other._shape[d]}")
    return matrix.cross(input, other, d - len(broadcast(input._shape, other._shape, "linalg.cross")))


@linalg("diagonal", out=False)
def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """`torsh.diagonal` of the last two dimensions by default."""
    return diagonal_view(A, offset, dim1, dim2)


linalg("matmul")(matmul)


@linalg()
def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """The inverse of A as a linear map from its last dimensions to its first `ind`. Raises RuntimeError if the two do not have equal counts."""
    if ind <= 0:
        raise RuntimeError("Expected a strictly positive integer for 'ind'")
    first, last = A._shape[:ind], A._shape[ind:]
    if numel(first) != numel(last):
        raise RuntimeError("Expected self to satisfy the requirement prod(self.shape[ind:]) == prod(self.shape[:ind]), but got "
                           f"{numel(last)} != {numel(first)}")
    return inv(A.reshape(numel(first), numel(last))).reshape(last + first)  # type: ignore[no-any-return]


@linalg()
def tensorsolve(A: Tensor, B: Tensor, dims: Any = None) -> Tensor:
    """X with tensordot(A, X, X.ndim) = B; `dims` of A are moved to its end first. Raises RuntimeError for counts that do not fit."""
    t = A if dims is None else movedim(A, tuple(dims), tuple(range(len(A._shape) - len(dims), len(A._shape))))
    shape = t._shape[len(B._shape):]
    if numel(shape) != B.numel():
        raise RuntimeError("Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == prod(self.shape[:other.ndim]), but got "
                           f"{numel(shape)} != {B.numel()}")
    return solve(t.reshape(B.numel(), numel(shape)), B.reshape(-1)).reshape(shape)  # type: ignore[no-any-return]


__all__ = ["chain_matmul", "diagonal_of", "dtype", "householder_product", "math", "matrix_exp", "matrix_power", "multi_dot", "ormqr", "tensorinv",
           "tensorsolve", "vander", "vecdot"]

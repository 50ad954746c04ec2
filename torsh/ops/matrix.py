"""Triangles and diagonals, products of several tensors (einsum, tensordot, kron), distances, and comparison of whole tensors."""
from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np

from torsh.autograd.autocast import in_full_precision, in_lower_type
from torsh.autograd.graph import GradNode
from torsh.core.dtypes import PROMOTE, bool_, dtype, int64
from torsh.core.shapes import Shape, broadcast, contiguous_strides, numel, wrap_dim
from torsh.ops import views
from torsh.ops.dispatch import apply, cast_tensor, coarse, public, result_type_of
from torsh.ops.gather import iota
from torsh.ops.join import roll
from torsh.ops.matmul import contract
from torsh.ops.pointwise import abs, isfinite, isnan, where
from torsh.ops.reduce import amax
from torsh.ops.reduce import sum as sum_
from torsh.ops.views import diagonal, region_assigned, zeros_like_shape
from torsh.tensor.storage import leaf
from torsh.tensor.tensor import Tensor, wrap

# ---- triangles and diagonals


def _triangle(x: Tensor, k: int, lower: bool) -> Tensor:
    rows, columns = x._shape[-2:]
    distance = iota(columns) - iota(rows).unsqueeze(-1)  # type: ignore[attr-defined]
    return where(distance <= k if lower else distance >= k, x, zeros_like_shape((), x))  # type: ignore[no-any-return]


def _tril_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    return tril(g, *ctx.arg)


def _triu_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    return triu(g, *ctx.arg)


_TRIL = coarse("tril", lambda x, k: _triangle(x, k, True), _tril_vjp)
_TRIU = coarse("triu", lambda x, k: _triangle(x, k, False), _triu_vjp)


def _matrices(what: str, t: Tensor) -> None:
    if len(t._shape) < 2:
        raise RuntimeError(f"{what}: input tensor must have at least 2 dimensions (got shape {list(t._shape)})")


@public(inplace=True, out=True)
def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """The lower triangles of matrices, up to a diagonal; zero above. Raises RuntimeError for fewer than 2 dimensions.

    >>> import torsh
    >>> torsh.tril(torsh.tensor([[1, 2], [3, 4]]))
    tensor([[1, 0],
            [3, 4]])
    """
    _matrices("tril", input)
    return apply(_TRIL, (input,), (int(diagonal),), input._shape, input._dtype)


@public(inplace=True, out=True)
def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """The upper triangles of matrices, from a diagonal on; zero below. Raises RuntimeError for fewer than 2 dimensions."""
    _matrices("triu", input)
    return apply(_TRIU, (input,), (int(diagonal),), input._shape, input._dtype)


def _triangle_indices(row: int, col: int, offset: int, lower: bool, dt: dtype | None) -> Tensor:
    if row < 0 or col < 0:
        raise RuntimeError(f"{'row' if row < 0 else 'col'} must be non-negative, got {min(row, col)}")
    distance = np.arange(col) - np.arange(row)[:, None]
    at = np.stack(np.nonzero(distance <= offset if lower else distance >= offset))
    return wrap(leaf(np.ascontiguousarray(at, (dt or int64).np)))


@public(method=False)
def tril_indices(row: int, col: int, offset: int = 0, *, dtype: dtype | None = None, device: Any = None, layout: Any = None) -> Tensor:
    """[2, count]: the rows and columns of a lower triangle, row by row."""
    return _triangle_indices(row, col, offset, True, dtype)


@public(method=False)
def triu_indices(row: int, col: int, offset: int = 0, *, dtype: dtype | None = None, device: Any = None, layout: Any = None) -> Tensor:
    """[2, count]: the rows and columns of an upper triangle, row by row."""
    return _triangle_indices(row, col, offset, False, dtype)


@public()
def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Matrices of zeros in two new dimensions with the last dimension as their diagonal. Raises RuntimeError if the two are the same."""
    n, offset = len(input._shape) + 1, operator.index(offset)
    a, b = wrap_dim(dim1, n, "diag_embed"), wrap_dim(dim2, n, "diag_embed")
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    size = input._shape[-1] + (offset if offset > 0 else -offset)
    rest = list(input._shape[:-1])
    shape = tuple([size if d in (a, b) else rest.pop(0) for d in range(n)])
    region = views.diagonal_geometry(shape, contiguous_strides(shape), 0, offset, a, b)
    return region_assigned(zeros_like_shape(shape, input), input, *region)


@public(out=True)
def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """A vector as the diagonal of a matrix; the diagonal of a matrix. Raises RuntimeError for other tensors."""
    if len(input._shape) == 1:
        return diag_embed(input, diagonal)
    if len(input._shape) != 2:
        raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {len(input._shape)}D")
    return views.diagonal(input, diagonal).clone()  # type: ignore[attr-defined,no-any-return]


@public()
def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """All elements as the diagonal of a matrix."""
    return diag_embed(input.reshape(-1), offset)  # type: ignore[attr-defined]


@public("diagonal_scatter")
def diagonal_scatter(input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """A copy of `input` with a diagonal replaced by `src`. Raises RuntimeError for a source of another shape."""
    a, b = wrap_dim(dim1, len(input._shape), "diagonal_scatter"), wrap_dim(dim2, len(input._shape), "diagonal_scatter")
    region = views.diagonal_geometry(input._shape, contiguous_strides(input._shape), 0, operator.index(offset), a, b)
    if src._shape != region[0]:
        raise RuntimeError(f"expected src to have a size equal to the slice of self. src size = {list(src._shape)}, slice size = {list(region[0])}")
    return region_assigned(input, src, *region)


@public(out=True)
@in_full_precision
def trace(input: Tensor) -> Tensor:
    """The sum of the diagonal of a matrix. Raises RuntimeError for other tensors."""
    if len(input._shape) != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {len(input._shape)}")
    return sum_(diagonal(input))  # type: ignore[no-any-return]


# ---- products


@in_lower_type
def _contracted(a: Tensor, b: Tensor, batch: list[int], only_a: list[int], both: list[int], only_b: list[int],
                sizes: dict[int, int], labels_a: list[int], labels_b: list[int]) -> Tensor:
    """sum over `both` of a * b, as [*batch, *only_a, *only_b]: one batched matrix product."""
    def count(labels: list[int]) -> int:
        return numel(tuple([sizes[i] for i in labels]))
    left = a.permute([labels_a.index(i) for i in batch + only_a + both]).reshape(count(batch), count(only_a), count(both))  # type: ignore[attr-defined]
    right = b.permute([labels_b.index(i) for i in batch + both + only_b]).reshape(count(batch), count(both), count(only_b))  # type: ignore[attr-defined]
    return contract(left, right).reshape(tuple([sizes[i] for i in batch + only_a + only_b]))  # type: ignore[attr-defined,no-any-return]


def _einsum_labels(equation: str, operands: Sequence[Tensor]) -> tuple[list[list[int]], list[int], int]:
    """Integer labels for each operand's dimensions and the result's; dimensions of an ellipsis get labels from the right, all at 1000 and more."""
    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(operands):
        raise RuntimeError("einsum(): " + ("more" if len(terms) < len(operands) else "fewer") + " operands were provided than specified in the equation "
                           f"({len(operands)} operands, {len(terms)} terms in '{equation}')")

    def parse(term: str, dims: int | None) -> list[int]:
        labels: list[int] = []
        before, dots, after = term.partition("...")
        for letter in before + after:
            if not letter.isascii() or not letter.isalpha():
                raise RuntimeError(f"einsum(): invalid subscript given in '{term}' of '{equation}', subscripts must be in [a-zA-Z]")
        hidden = (dims if dims is not None else widest) - (len(before) + len(after) if dims is not None else 0)
        if dims is not None and (hidden < 0 or (hidden and not dots)):
            raise RuntimeError(f"einsum(): the number of subscripts in '{term}' does not match the number of dimensions ({dims}) of its operand")
        labels += [ord(c) for c in before]
        if dots:
            labels += [1000 + hidden - i for i in range(1, hidden + 1)]
        return labels + [ord(c) for c in after]
    widest = 0
    inputs = [parse(t, len(x._shape)) for t, x in zip(terms, operands, strict=True)]
    widest = max([sum(i >= 1000 for i in labels) for labels in inputs], default=0)
    if arrow:
        output = parse(right, None)
        if len(set(output)) != len(output):
            raise RuntimeError(f"einsum(): output subscripts of '{equation}' contain one more than once")
        missing = [i for i in output if not any(i in labels for labels in inputs)]
        if missing:
            raise RuntimeError(f"einsum(): output subscript {chr(missing[0])} does not appear in the equation for any input operand")
    else:
        every = [i for labels in inputs for i in labels]
        output = sorted({i for i in every if i >= 1000}, reverse=True) + sorted({i for i in every if i < 1000 and every.count(i) == 1})
    return inputs, output, widest


def _without_repeats(x: Tensor, labels: list[int]) -> tuple[Tensor, list[int]]:
    labels = list(labels)
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            i = labels.index(label)
            j = labels.index(label, i + 1)
            if x._shape[i] != x._shape[j]:
                raise RuntimeError(f"einsum(): subscript {chr(label)} is repeated for operand but the sizes don't match, {x._shape[j]} != {x._shape[i]}")
            x = diagonal(x, 0, i, j)
            labels = [k for n, k in enumerate(labels) if n not in (i, j)] + [label]
    return x, labels


@public(method=False)
def einsum(equation: Any, *operands: Any) -> Tensor:
    """Products summed as Einstein's convention says: "ij,jk->ik". Operands are taken two at a time from the left, each pair one matrix product.

    Also takes (tensor, list of labels, ..., result labels). Raises RuntimeError for an equation that does not fit the operands.

    >>> import torsh
    >>> torsh.einsum("ij,j->i", torsh.tensor([[1., 2.], [3., 4.]]), torsh.tensor([1., 1.]))
    tensor([3., 7.])
    """
    if isinstance(equation, Tensor):
        equation, operands = _from_sublists((equation, *operands))
    tensors: list[Tensor] = list(operands[0]) if len(operands) == 1 and isinstance(operands[0], (tuple, list)) else list(operands)
    if not tensors:
        raise RuntimeError("einsum(): must provide at least one operand")
    inputs, output, _ = _einsum_labels(equation, tensors)
    dt = tensors[0]._dtype
    for t in tensors:
        dt = PROMOTE[dt, t._dtype]
    sizes: dict[int, int] = {}
    terms = []
    for x, labels in zip(tensors, inputs, strict=True):
        x, labels = _without_repeats(cast_tensor(x, dt), labels)
        for n, label in zip(x._shape, labels, strict=True):
            if sizes.get(label, 1) != n and n != 1 and sizes.get(label, 1) != 1:
                raise RuntimeError(f"einsum(): subscript {chr(label) if label < 1000 else '...'} has size {n} for operand which does not broadcast "
                                   f"with previously seen size {sizes[label]}")
            sizes[label] = n if sizes.get(label, 1) == 1 else sizes[label]
        terms.append((x, labels))
    x, labels = terms[0]
    for step, (y, other) in enumerate(terms[1:], 1):
        later = set(output).union(*[set(labels_) for _, labels_ in terms[step + 1:]])
        x, labels = _einsum_pair(x, labels, y, other, later, sizes)
    gone = [i for i, label in enumerate(labels) if label not in output]
    if gone:
        x = sum_(x, tuple(gone), dtype=None if dt.category >= 2 else dt)
        labels = [label for label in labels if label in output]
    return x.permute([labels.index(i) for i in output])  # type: ignore[attr-defined,no-any-return]


def _einsum_pair(x: Tensor, labels: list[int], y: Tensor, other: list[int], later: set[int], sizes: dict[int, int]) -> tuple[Tensor, list[int]]:
    """The product of two terms, summed over what no later term and not the result needs."""
    def narrowed(t: Tensor, own: list[int], against: Tensor, its: list[int]) -> tuple[Tensor, list[int]]:
        # A dimension of size 1 that meets a larger one goes; one that nobody else has and nobody needs is summed first.
        drop = [i for i, k in enumerate(own) if t._shape[i] == 1 and k in its and against._shape[its.index(k)] != 1]
        t, own = t.squeeze(tuple(drop)) if drop else t, [k for i, k in enumerate(own) if i not in drop]  # type: ignore[attr-defined]
        alone = [i for i, k in enumerate(own) if k not in its and k not in later]
        return (sum_(t, tuple(alone), dtype=t._dtype), [k for i, k in enumerate(own) if i not in alone]) if alone else (t, own)
    dropped_x, dropped_labels = narrowed(x, labels, y, other)
    y, other = narrowed(y, other, x, labels)
    x, labels = dropped_x, dropped_labels
    both = [k for k in labels if k in other and k not in later]
    batch = [k for k in labels if k in other and k in later]
    only_x = [k for k in labels if k not in other]
    only_y = [k for k in other if k not in labels]
    # Only one side may still have a dimension that the pair must sum over (its partner had size 1).
    lone_x, lone_y = [k for k in only_x if k not in later], [k for k in only_y if k not in later]
    if lone_x:
        x, labels = sum_(x, tuple([labels.index(k) for k in lone_x]), dtype=x._dtype), [k for k in labels if k not in lone_x]
    if lone_y:
        y, other = sum_(y, tuple([other.index(k) for k in lone_y]), dtype=y._dtype), [k for k in other if k not in lone_y]
    only_x, only_y = [k for k in only_x if k in later], [k for k in only_y if k in later]
    here = {k: n for t, own in ((x, labels), (y, other)) for n, k in zip(t._shape, own, strict=True)}
    return _contracted(x, y, batch, only_x, both, only_y, here, labels, other), batch + only_x + only_y


def _from_sublists(args: tuple[Any, ...]) -> tuple[str, tuple[Tensor, ...]]:
    """The form with lists of integers as an equation."""
    def text(labels: Sequence[Any]) -> str:
        return "".join("..." if k is Ellipsis else chr(ord("A") + k) if k < 26 else chr(ord("a") + k - 26) for k in labels)
    pairs = len(args) // 2
    equation = ",".join(text(args[2 * i + 1]) for i in range(pairs))
    if len(args) % 2:
        equation += "->" + text(args[-1])
    return equation, tuple(args[0:2 * pairs:2])


@public(method=False)
def tensordot(a: Tensor, b: Tensor, dims: Any = 2, out: Tensor | None = None) -> Tensor:
    """Sums of products over dimensions: the last `dims` of `a` with the first of `b`, or those of two lists. Raises RuntimeError for sizes that differ."""
    if isinstance(dims, Tensor):
        dims = dims.tolist()  # type: ignore[attr-defined]
    if isinstance(dims, (int, Integral)):
        dims = int(dims)
        if dims < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
        if dims > min(len(a._shape), len(b._shape)):
            raise RuntimeError(f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims}")
        dims = (list(range(len(a._shape) - dims, len(a._shape))), list(range(dims)))
    of_a = [wrap_dim(d, len(a._shape), "tensordot") for d in (dims[0] if not isinstance(dims[0], int) else (dims[0],))]
    of_b = [wrap_dim(d, len(b._shape), "tensordot") for d in (dims[1] if not isinstance(dims[1], int) else (dims[1],))]
    if len(of_a) != len(of_b):
        raise RuntimeError("both dimension lists should have same length")
    if a._dtype is not b._dtype:
        raise RuntimeError(f"tensordot: both inputs should have same dtype, got {a._dtype.name} and {b._dtype.name}")
    for i, j in zip(of_a, of_b, strict=True):
        if a._shape[i] != b._shape[j] and 1 not in (a._shape[i], b._shape[j]):
            raise RuntimeError(f"contracted dimensions need to match, but first has size {a._shape[i]} in dim {i} and second has size {b._shape[j]} "
                               f"in dim {j}")
        if a._shape[i] != b._shape[j]:  # PyTorch sums the larger one
            a = sum_(a, i, True) if b._shape[j] == 1 else a
            b = sum_(b, j, True) if a._shape[i] == 1 and b._shape[j] != 1 else b
    labels_a, labels_b = list(range(len(a._shape))), [100 + d for d in range(len(b._shape))]
    for i, j in zip(of_a, of_b, strict=True):
        labels_b[j] = i
    sizes = {**dict(zip(labels_b, b._shape, strict=True)), **dict(zip(labels_a, a._shape, strict=True))}
    made = _contracted(a, b, [], [k for k in labels_a if k not in of_a], of_a, [k for k in labels_b if k >= 100], sizes, labels_a, labels_b)
    if out is None:
        return made
    from torsh.ops.dispatch import write_out
    return write_out(out, made, "tensordot")


@public(out=True)
def kron(input: Tensor, other: Tensor) -> Tensor:
    """The Kronecker product: every element of `input` times the whole of `other`, block by block."""
    n = max(len(input._shape), len(other._shape))
    a, b = (1,) * (n - len(input._shape)) + input._shape, (1,) * (n - len(other._shape)) + other._shape
    left = input.reshape(tuple([k for s in a for k in (s, 1)]))  # type: ignore[attr-defined]
    right = other.reshape(tuple([k for s in b for k in (1, s)]))  # type: ignore[attr-defined]
    return (left * right).reshape(tuple([s * t for s, t in zip(a, b, strict=True)]))  # type: ignore[no-any-return]


@public(out=True)
def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """The cross product along a dimension of size 3 (the first such one by default). Raises RuntimeError if there is none."""
    shape = broadcast(input._shape, other._shape, "cross")
    a, b = input.expand(shape), other.expand(shape)  # type: ignore[attr-defined]
    if dim is None:
        found = [i for i, n in enumerate(shape) if n == 3]
        if not found:
            raise RuntimeError("no dimension of size 3 in input")
        dim = found[0]
    d = wrap_dim(dim, len(shape), "cross")
    if shape[d] != 3:
        raise RuntimeError(f"linalg.cross: inputs dimension {dim} must have length 3. Got {input._shape[d]} and {other._shape[d]}")
    return roll(a, -1, d) * roll(b, -2, d) - roll(a, -2, d) * roll(b, -1, d)


# ---- distances


def _distance_vjp(ctx: GradNode, g: Tensor) -> tuple[Tensor, Tensor]:
    """For the p-norm of differences: |difference|^(p-1) * sign / distance^(p-1), and 0 where points coincide."""
    (p,) = ctx.arg
    gap = ctx[0].unsqueeze(-2) - ctx[1].unsqueeze(-3)  # type: ignore[attr-defined]
    far, g = ctx.out.unsqueeze(-1), g.unsqueeze(-1)  # type: ignore[attr-defined]
    zero = zeros_like_shape((), g)
    safe = where(far == 0, zero + 1, far)
    if p == 0:
        slope = gap * 0
    elif p == 2:
        slope = gap / safe
    elif p == 1:
        slope = gap.sign()
    elif p == math.inf:
        slope = gap.sign() * (abs(gap) == far).to(g._dtype)  # type: ignore[attr-defined]
    else:
        size = where(gap == 0, zero + 1, abs(gap))
        slope = where(gap == 0, zero, gap.sign() * (size / safe) ** (p - 1))
    both = where(far == 0, zero, g * slope)
    return sum_(both, -2), -sum_(both, -3)


def _distances(a: Tensor, b: Tensor, p: float) -> Tensor:
    gap = abs(a.unsqueeze(-2) - b.unsqueeze(-3))  # type: ignore[attr-defined]
    if p == 0:
        return sum_((gap != 0).to(a._dtype), -1)  # type: ignore[no-any-return,attr-defined]
    if p == 1:
        return sum_(gap, -1)  # type: ignore[no-any-return]
    if p == 2:
        return sum_(gap * gap, -1).sqrt()  # type: ignore[no-any-return]
    if p == math.inf:
        return amax(gap, -1)  # type: ignore[no-any-return]
    return sum_(gap ** p, -1) ** (1 / p)  # type: ignore[no-any-return]


_CDIST = coarse("cdist", _distances, _distance_vjp, (0, 1), True)


@public(method=False)
@in_full_precision
def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str = "use_mm_for_euclid_dist_if_necessary") -> Tensor:
    """[*, n, m]: p-norm distances between all rows of [*, n, k] and [*, m, k]. From the differences in every mode, so that near points are exact.

    Raises RuntimeError for other shapes, integer tensors or a negative `p`.
    """
    if len(x1._shape) < 2 or len(x2._shape) < 2:
        raise RuntimeError("cdist only supports at least 2D tensors, X1 got: " f"{len(x1._shape)}D, X2 got: {len(x2._shape)}D")
    if x1._shape[-1] != x2._shape[-1]:
        raise RuntimeError(f"X1 and X2 must have the same number of columns. X1: {x1._shape[-1]} X2: {x2._shape[-1]}")
    if p < 0:
        raise RuntimeError("cdist only supports non-negative p values")
    dt = result_type_of(x1, x2)
    if dt.category != 2:
        raise RuntimeError(f"cdist only supports floating-point dtypes, got {dt.title}")
    batch = broadcast(x1._shape[:-2], x2._shape[:-2], "cdist")
    a = cast_tensor(x1, dt).expand((*batch, *x1._shape[-2:]))  # type: ignore[attr-defined]
    b = cast_tensor(x2, dt).expand((*batch, *x2._shape[-2:]))  # type: ignore[attr-defined]
    shape: Shape = (*batch, x1._shape[-2], x2._shape[-2])
    if x1._shape[-1] == 0:
        return zeros_like_shape(shape, a)
    return apply(_CDIST, (a, b), (float(p),), shape, dt)


# ---- comparison of whole tensors


@public()
def isclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Tensor:
    """Whether |input - other| <= atol + rtol * |other|, element by element; equal infinities are close. Raises RuntimeError for different dtypes."""
    if input._dtype is not other._dtype:
        raise RuntimeError(f"{input._dtype.title} did not match {other._dtype.title}")
    if rtol < 0 or atol < 0:
        raise RuntimeError(f"{'rtol' if rtol < 0 else 'atol'} must be greater than or equal to zero, but got {rtol if rtol < 0 else atol}")
    close = input == other
    if equal_nan and input._dtype.category >= 2:
        close = close | (isnan(input) & isnan(other))
    if input._dtype is bool_ or (rtol == 0 and atol == 0):
        return close  # type: ignore[no-any-return]
    wide = input._dtype if input._dtype.category >= 2 else None
    a, b = (input, other) if wide else (input.double(), other.double())  # type: ignore[attr-defined]
    gap = abs(a - b)
    return close | (isfinite(gap) & (gap <= atol + abs(rtol * b)))  # type: ignore[no-any-return]


@public()
def allclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    """Whether all elements are close (see `isclose`)."""
    return bool(isclose(input, other, rtol, atol, equal_nan).all())  # type: ignore[attr-defined]


@public()
def equal(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape and elements. Raises RuntimeError for different dtypes."""
    if input._shape != other._shape:
        return False
    if input._dtype is not other._dtype:
        raise RuntimeError(f"Expected object of data type {input._dtype.title} but got data type {other._dtype.title} for argument #2 'other' in "
                           "call to equal")
    return bool((input == other).all())


__all__ = ["allclose", "cdist", "cross", "diag", "diag_embed", "diagflat", "einsum", "equal", "isclose", "kron", "tensordot", "trace", "tril", "triu"]

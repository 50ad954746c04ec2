"""Shape and stride arithmetic on plain tuples."""
from __future__ import annotations

import operator
from numbers import Integral
from typing import Any, Final

from torsh.core.errors import shapes_text

Shape = tuple[int, ...]


def numel(shape: Shape) -> int:
    """Number of elements."""
    n = 1
    for s in shape:
        n *= s
    return n


def sizes(size: tuple[Any, ...], what: str) -> Shape:
    """A shape given as `f(2, 3)` or as `f((2, 3))`. Raises RuntimeError for a negative dimension, what has no `__index__` AttributeError."""
    if len(size) == 1:
        only = size[0]
        if type(only) is not int and (type(only) is tuple or not hasattr(only, "__index__")):
            size = tuple(only)
    for n in size:
        if type(n) is not int or n < 0:
            return _indices(size, what)
    return size


def _indices(size: tuple[Any, ...], what: str) -> Shape:
    out = tuple([n.__index__() for n in size])
    if any(n < 0 for n in out):
        raise RuntimeError(f"{what}: Trying to create tensor with negative dimension {min(out)}: {list(out)}")
    return out


_STRIDES: Final[dict[Shape, Shape]] = {}


def contiguous_strides(shape: Shape) -> Shape:
    """Row-major strides in elements, as PyTorch gives them (a size of 0 counts as 1)."""
    found = _STRIDES.get(shape)
    if found is None:
        step = 1
        out = []
        for s in reversed(shape):
            out.append(step)
            step *= s if s > 1 else 1
        found = tuple(reversed(out))
        if len(_STRIDES) > 4096:
            _STRIDES.clear()
        _STRIDES[shape] = found
    return found


def is_contiguous(shape: Shape, strides: Shape) -> bool:
    """Whether elements lie in row-major order without gaps (sizes of 1 may have any stride; no elements always do)."""
    step = 1
    for i in range(len(shape) - 1, -1, -1):
        s = shape[i]
        if s == 0:
            return True
        if s != 1:
            if strides[i] != step:
                return 0 in shape
            step *= s
    return True


_BROADCAST: Final[dict[tuple[Shape, Shape], Shape]] = {}


def broadcast(a: Shape, b: Shape, what: str = "") -> Shape:
    """The shape two shapes broadcast to.

    Raises RuntimeError, naming `what` and both shapes, when a dimension differs and neither is 1.
    """
    if a == b:
        return a
    key = (a, b)
    found = _BROADCAST.get(key)
    if found is None:
        n = max(len(a), len(b))
        pa, pb = (1,) * (n - len(a)) + a, (1,) * (n - len(b)) + b
        out = []
        for i in range(n):
            x, y = pa[i], pb[i]
            if x != y and x != 1 and y != 1:
                raise RuntimeError(f"{what + ': ' if what else ''}The size of tensor a ({x}) must match the size of tensor b ({y}) "
                                   f"at non-singleton dimension {i} (shapes {shapes_text(a, b)})")
            out.append(y if x == 1 else x)
        found = tuple(out)
        if len(_BROADCAST) > 4096:
            _BROADCAST.clear()
        _BROADCAST[key] = found
    return found


def wrap_dim(dim: Any, ndim: int, what: str = "") -> int:
    """A dimension number (an int, or a number of NumPy's) with negatives resolved.

    Raises IndexError when it is outside [-ndim, ndim), TypeError for anything else.
    """
    if type(dim) is not int:
        dim = operator.index(dim)
    return _wrapped(dim, ndim, what)


def _wrapped(dim: int, ndim: int, what: str) -> int:
    n = ndim if ndim > 0 else 1
    if not -n <= dim < n:
        raise IndexError(f"{what + ': ' if what else ''}Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {dim})")
    return dim + n if dim < 0 else dim


def wrap_dims(dims: Any, ndim: int, what: str = "") -> Shape:
    """Sorted, checked dimension numbers; None or an empty list means all of them.

    Raises IndexError out of range and RuntimeError for a dimension named twice.
    """
    if dims is None:
        return tuple(range(ndim))
    if isinstance(dims, (int, Integral)):
        dims = (dims,)
    if not len(dims):
        return tuple(range(ndim))
    out = tuple(sorted(_wrapped(int(d), ndim, what) for d in dims))
    for i in range(1, len(out)):
        if out[i] == out[i - 1]:
            raise RuntimeError(f"{what + ': ' if what else ''}dim {out[i]} appears multiple times in the list of dims")
    return out if ndim else ()


def reduced(shape: Shape, axes: Shape, keepdim: bool) -> Shape:
    """The shape after reducing `axes` (sorted, not negative)."""
    if keepdim:
        return tuple(1 if i in axes else s for i, s in enumerate(shape))
    return tuple(s for i, s in enumerate(shape) if i not in axes)


def infer_size(shape: Shape, count: int) -> Shape:
    """`shape` with its one -1 replaced so that it has `count` elements.

    Raises RuntimeError as `Tensor.view` does when that cannot be.
    """
    if -1 not in shape:
        if numel(shape) != count:
            raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {count}")
        return shape
    if shape.count(-1) > 1:
        raise RuntimeError("only one dimension can be inferred")
    known = 1
    for s in shape:
        if s != -1:
            if s < 0:
                raise RuntimeError(f"invalid shape dimension {s} at index {shape.index(s)} of shape {list(shape)}")
            known *= s
    if known == 0:
        raise RuntimeError(f"cannot reshape tensor of 0 elements into shape {list(shape)} because the unspecified dimension size "
                           "-1 can be any value and is ambiguous")
    if count % known:
        raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {count}")
    return tuple(count // known if s == -1 else s for s in shape)


def view_strides(shape: Shape, strides: Shape, new_shape: Shape) -> Shape | None:
    """Strides that show memory of (`shape`, `strides`) as `new_shape` without a copy, or None if none exist.

    Old dimensions that follow each other in memory are merged into runs; every run must be a product of
    neighbouring new dimensions.
    """
    if 0 in shape:
        return strides if shape == new_shape else contiguous_strides(new_shape)
    runs: list[tuple[int, int]] = []  # (elements, stride of the innermost)
    for n, step in zip(shape, strides, strict=True):
        if n == 1:
            continue
        if runs and runs[-1][1] == n * step:
            runs[-1] = (runs[-1][0] * n, step)
        else:
            runs.append((n, step))
    if not runs:
        runs.append((1, strides[-1] if strides else 1))
    out = [0] * len(new_shape)
    left, step = runs.pop()
    for d in range(len(new_shape) - 1, -1, -1):
        n = new_shape[d]
        if left == 1 and n != 1 and runs:
            left, step = runs.pop()
        if left % n:
            return None
        out[d] = step
        step *= n
        left //= n
    return tuple(out)


def storage_extent(shape: Shape, strides: Shape, offset: int) -> int:
    """Elements a storage must have for this view (one past the highest address; 0 if the view is empty)."""
    if 0 in shape:
        return 0
    return 1 + offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))


def memory_order(shape: Shape, operands: list[Shape]) -> Shape | None:
    """The dimensions from the outermost to the innermost in memory, in which a pointwise result is laid out as PyTorch does: as the first
    operand that tells (by strides that differ and are not 0). None if that is row-major order.

    >>> memory_order((2, 3), [(1, 2)])
    (1, 0)
    """
    order = list(range(len(shape) - 1, -1, -1))  # innermost first
    for i in range(1, len(order)):
        at = i
        for j in range(i - 1, -1, -1):
            decision = _wider(shape, operands, order[j], order[at])
            if decision > 0:
                order[j], order[at] = order[at], order[j]
                at = j
            elif decision < 0:
                break
    order.reverse()
    return None if order == list(range(len(shape))) else tuple(order)


def _wider(shape: Shape, operands: list[Shape], a: int, b: int) -> int:
    """1 if dimension `a` lies outside `b`, -1 inside, 0 if no operand tells."""
    for strides in operands:
        if strides[a] and strides[b]:
            if strides[a] != strides[b]:
                return 1 if strides[a] > strides[b] else -1
            if shape[a] > shape[b]:
                return 1
    return 0


def strides_of(shape: Shape, order: Shape) -> Shape:
    """Strides of a dense tensor whose dimensions lie in memory in an order, outermost first."""
    out = [0] * len(shape)
    step = 1
    for d in reversed(order):
        out[d] = step
        step *= max(shape[d], 1)
    return tuple(out)

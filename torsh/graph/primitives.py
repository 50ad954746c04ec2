"""The primitive operations: what the compiler knows, each with its NumPy meaning.

Everything else expands to these. Arguments (`node.arg`):

- const: the Python number. cast: the target dtype (also `node.dtype`). iota: none.
- view: (shape, strides, offset) in elements of the source's contiguous memory. assign: the same, for the region
  of the first source that the second (of that shape) replaces.
- reduce, scan: the axes (sorted), the axis.
- gather: (shape, strides, offset, index_strides, index_sizes): output element i is read at
  offset + sum(i * strides) + sum(index_k[i] * index_strides[k]); 0 <= index_k[i] < index_sizes[k] is checked.
  Sources: base, then one int64 node per index, each broadcastable to `shape`.
- padded: (strides, offset, ((dimension, low, high), ...), number): output element i is the source's at offset + sum(i * strides) where
  low <= i < high in each of the dimensions, and the number elsewhere.
- scatter: the same and a mode ("set", "add", "mul", "max", "min"), for writing `value` (second source) in
  row-major order.
- order: whether descending; the positions (int64) of the source's elements along its last axis, equal ones in their order, NaN as largest.
- winograd_weights: (results of a tile in each dimension, whether what comes out is kept with the memory that it is made from) for a source [o, c, 3, 3].
- winograd: (results, (rows, columns) of zeros before) for sources [points, o, c] and [n, c, h, w], float32.
- windows: (images, groups, their strides, (shape, strides) of k and of n (see `offsets`), offset) for sources [groups, m, k] and a memory: the matrix
  products with [k, n] of each group of each image, [images * groups, m, n].
- convolve: (groups, kernel, stride, (rows, columns) of zeros before, dilation, whether weights are turned, spread) for sources [groups, o, k] and
  [n, groups * c, h, w]: [n * groups, o, *out]. A row of weights has the elements of a channel beside one another; turned, the channels of an element, the last
  element of a window first. Rows and columns of the images are `spread`: so far apart, with zeros between, which only few outputs and channels may have.
- convolve_weight: (groups, kernel, stride, before, dilation) as there, for sources [n, groups * o, *out] and [n, groups * c, h, w]: the gradient of those
  weights, [groups, o, k].
- contract: none, or "kept" where the second source is worth keeping as it is packed; sources [batch, m, k] and [batch, k, n] (a batch of 1 broadcasts).
  8-bit integers have sums in the result's type, int32. When a plan has found what is kept, "packed": the second source is that, bytes.
- int8_pack: whether the other operand is signed; the bytes of a source [batch, k, n] as products with 8-bit integers read it.
- host: (function, static arguments, name); `function(*arrays, *static) -> array or tuple of arrays`.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from torsh.core import dtypes
from torsh.core.dtypes import dtype
from torsh.core.shapes import Shape, contiguous_strides
from torsh.graph import winograd
from torsh.graph.node import Node, Op

Array = Any


def _strided(memory: Array, shape: Shape, strides: Shape, offset: int) -> Array:
    flat = memory.reshape(-1)
    if 0 in shape:
        return np.empty(shape, flat.dtype)
    if flat.dtype.kind == "f" and flat.itemsize == 1:  # which as_strided does not know
        return _strided(flat.view(np.uint8), shape, strides, offset).view(flat.dtype)
    return np.lib.stride_tricks.as_strided(flat[offset:], shape, tuple(s * flat.itemsize for s in strides))


LEAF: Final = Op("leaf", "leaf")
CONST: Final = Op("const", "const", lambda node: np.asarray(node.arg).astype(node.dtype.np))
EMPTY: Final = Op("empty", "empty", lambda node: np.zeros(node.shape, node.dtype.np))
IOTA: Final = Op("iota", "iota", lambda node: np.arange(node.numel, dtype=np.int64).reshape(node.shape))
VIEW: Final = Op("view", "view", lambda node, x: _strided(x, *node.arg).copy())
BITCAST: Final = Op("bitcast", "bitcast", lambda node, x: np.ascontiguousarray(x).view(node.dtype.np).reshape(node.shape))


def _assign(node: Node, old: Array, value: Array) -> Array:
    out = old.copy()
    _strided(out, *node.arg)[...] = value
    return out


ASSIGN: Final = Op("assign", "assign", _assign)


def _addresses(node: Node, indices: tuple[Array, ...]) -> Array:
    shape, strides, offset, index_strides, index_sizes = node.arg[:5]
    at = np.full(shape, offset, np.int64)
    for d, (n, s) in enumerate(zip(shape, strides, strict=True)):
        at += (np.arange(n) * s).reshape((n,) + (1,) * (len(shape) - d - 1))
    for index, stride, size in zip(indices, index_strides, index_sizes, strict=True):
        index = np.broadcast_to(index, shape)
        if index.size and (index.min() < 0 or index.max() >= size):
            bad = index.min() if index.min() < 0 else index.max()
            raise IndexError(f"index {bad} is out of bounds for dimension with size {size}")
        at += index * stride
    return at


def _gather(node: Node, base: Array, *indices: Array) -> Array:
    at = _addresses(node, indices)
    return base.reshape(-1)[at] if at.size else np.empty(at.shape, base.dtype)


def _scatter(node: Node, base: Array, value: Array, *indices: Array) -> Array:
    out = base.copy()
    at = _addresses(node, indices).reshape(-1)
    value = np.broadcast_to(value, node.arg[0]).reshape(-1)
    flat = out.reshape(-1)
    combine = {"set": None, "add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}[node.arg[5]]
    if combine is None:
        flat[at] = value
    else:
        combine.at(flat, at, value)
    return out


GATHER: Final = Op("gather", "gather", _gather)


def _padded(node: Node, base: Array) -> Array:
    strides, offset, bounds, value = node.arg
    at, inside = np.array(offset), np.array(True)
    for d, (n, s) in enumerate(zip(node.shape, strides, strict=True)):
        index = np.arange(n).reshape((n,) + (1,) * (len(strides) - d - 1))
        at = at + index * s
        for axis, low, high in bounds:
            if axis == d:
                inside = inside & (index >= low) & (index < high)
    return np.where(inside, base.reshape(-1)[np.where(inside, at, 0)], np.asarray(value, base.dtype))


PADDED: Final = Op("padded", "gather", _padded)
SCATTER: Final = Op("scatter", "scatter", _scatter)


_NARROW: Final = (dtypes.float16.np, dtypes.bfloat16.np, *[d.np for d in dtypes.FLOAT8])


def _wide(x: Array) -> Array:
    """Half types and smaller ones compute in float32, as compiled kernels do."""
    return x.astype(np.float32) if x.dtype in _NARROW else x


def _contract(node: Node, a: Array, b: Array) -> Array:
    with np.errstate(all="ignore"):
        if a.dtype == np.bool_:
            return (a[..., :, :, None] & b[..., None, :, :]).any(-2)
        if node.dtype.category == 1:
            return np.matmul(a.astype(node.dtype.np), b.astype(node.dtype.np))
        return np.matmul(_wide(a), _wide(b)).astype(node.dtype.np)


CONTRACT: Final = Op("contract", "contract", _contract)
INT8_PACK = Op("int8_pack", "contract")


def offsets(shape: Shape, strides: tuple[int | Shape, ...]) -> Array:
    """Where the elements of a shape are, in row-major order: by dimension a stride, or where each is."""
    at = np.zeros(1, np.int64)
    for extent, stride in zip(shape, strides, strict=True):
        at = (at[:, None] + (np.arange(extent) * stride if isinstance(stride, int) else np.array(stride))).reshape(-1)
    return at


def _windows(node: Node, a: Array, memory: Array) -> Array:
    images, groups, (image, group), (k, k_strides), (n, n_strides), offset = node.arg
    starts = offset + offsets((images, groups), (image, group))[:, None, None]
    columns = memory.reshape(-1)[starts + offsets(k, k_strides)[:, None] + offsets(n, n_strides)]
    with np.errstate(all="ignore"):
        found = np.matmul(_wide(a)[None], _wide(columns.reshape(images, groups, a.shape[2], -1)))
        return found.reshape(node.shape).astype(node.dtype.np)


WINDOWS = Op("windows", "windows", _windows)


def _image_windows(x: Array, out: Shape, groups: int, kernel: Shape, stride: Shape, before: Shape, dilation: Shape) -> Array:
    """[n, groups, c, *kernel, *out]."""
    n, c = x.shape[0], x.shape[1] // groups
    padded = np.zeros((n, groups, c, *[max(b, 0) + m + s * o + d * k for b, m, s, o, d, k in zip(
        before, x.shape[2:], stride, out, dilation, kernel, strict=True)]), x.dtype)
    padded[:, :, :, max(before[0], 0):max(before[0], 0) + x.shape[2], max(before[1], 0):max(before[1], 0) + x.shape[3]] = x.reshape(n, groups, c, *x.shape[2:])
    begun = padded[:, :, :, max(-before[0], 0):, max(-before[1], 0):]
    steps = begun.strides
    return np.lib.stride_tricks.as_strided(begun, (n, groups, c, *kernel, *out), (*steps[:3], *[s * d for s, d in zip(steps[3:], dilation, strict=True)],
                                                                                 *[s * m for s, m in zip(steps[3:], stride, strict=True)]))


def _convolve(node: Node, a: Array, x: Array) -> Array:
    groups, kernel, stride, before, dilation, turned, (rows, columns) = node.arg
    whole = np.zeros((*x.shape[:2], (x.shape[2] - 1) * rows + 1, (x.shape[3] - 1) * columns + 1), x.dtype)
    whole[..., ::rows, ::columns] = x
    x = whole
    seen = _image_windows(x, node.shape[2:], groups, kernel, stride, before, dilation)
    if turned:
        seen = seen[:, :, :, ::-1, ::-1].transpose(0, 1, 3, 4, 2, 5, 6)
    with np.errstate(all="ignore"):
        return np.matmul(_wide(a)[None], _wide(seen.reshape(x.shape[0], groups, a.shape[2], -1))).reshape(node.shape).astype(node.dtype.np)


def _convolve_weight(node: Node, y: Array, x: Array) -> Array:
    seen = _image_windows(x, y.shape[2:], *node.arg)
    groups, o, k = node.shape
    return np.einsum("ngkp,ngop->gok", _wide(seen).reshape(x.shape[0], groups, k, -1), _wide(y).reshape(x.shape[0], groups, o, -1)).astype(node.dtype.np)


CONVOLVE = Op("convolve", "convolve", _convolve)
CONVOLVE_WEIGHT = Op("convolve_weight", "convolve", _convolve_weight)
WINOGRAD_WEIGHTS = Op("winograd_weights", "winograd", lambda node, w: winograd.weights(w, node.arg[0]))
WINOGRAD = Op("winograd", "winograd", lambda node, u, x: winograd.convolved(u, x, node.arg[0], node.arg[1], (node.shape[2], node.shape[3])))


def _host(node: Node, *arrays: Array) -> Any:
    function, static, _ = node.arg
    return function(*arrays, *static)


HOST: Final = Op("host", "host", _host)

# Pointwise operations. Comparisons and logic give bool; all others the dtype of their operands, which agree.
POINTWISE: dict[str, Op] = {}


def _pointwise(name: str, compute: Callable[..., Array]) -> Op:
    def reference(node: Node, *arrays: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.broadcast_to(np.asarray(compute(*map(_wide, arrays))).astype(node.dtype.np, copy=False), node.shape)
    op = POINTWISE[name] = Op(name, "pointwise", reference)
    return op


def _special(name: str) -> Callable[..., Array]:
    def compute(*arrays: Array) -> Array:
        import scipy.special as sp  # a test oracle and start-up cost: only when asked for
        if name == "expit" and arrays[0].dtype.kind == "c":  # SciPy has it for reals only
            return 1 / (1 + np.exp(-arrays[0]))
        return getattr(sp, name)(*arrays)
    return compute


def _cdiv(a: Array, b: Array) -> Array:
    safe = np.where(b == 0, 1, b)
    return np.where(b == 0, 0, (np.sign(a) * np.sign(safe) * (np.abs(a) // np.abs(safe)))).astype(a.dtype)


def _fmod(a: Array, b: Array) -> Array:
    if a.dtype.kind in "iub":
        return np.where(b == 0, 0, np.fmod(a, np.where(b == 0, 1, b))).astype(a.dtype)
    return np.fmod(a, b)


NEG: Final = _pointwise("neg", np.negative)
ABS: Final = _pointwise("abs", np.abs)
SQRT: Final = _pointwise("sqrt", np.sqrt)
RSQRT: Final = _pointwise("rsqrt", lambda x: 1 / np.sqrt(x))
FLOOR: Final = _pointwise("floor", np.floor)
CEIL: Final = _pointwise("ceil", np.ceil)
TRUNC: Final = _pointwise("trunc", np.trunc)
RINT: Final = _pointwise("rint", np.rint)
NOT: Final = _pointwise("not", np.invert)
ADD: Final = _pointwise("add", np.add)
SUB: Final = _pointwise("sub", np.subtract)
MUL: Final = _pointwise("mul", np.multiply)
DIV: Final = _pointwise("div", np.divide)
MAX: Final = _pointwise("max", np.maximum)
MIN: Final = _pointwise("min", np.minimum)
AND: Final = _pointwise("and", np.bitwise_and)
OR: Final = _pointwise("or", np.bitwise_or)
XOR: Final = _pointwise("xor", np.bitwise_xor)
SHL: Final = _pointwise("shl", np.left_shift)
SHR: Final = _pointwise("shr", np.right_shift)
FMOD: Final = _pointwise("fmod", _fmod)
CDIV: Final = _pointwise("cdiv", _cdiv)
EQ: Final = _pointwise("eq", np.equal)
NE: Final = _pointwise("ne", np.not_equal)
LT: Final = _pointwise("lt", np.less)
LE: Final = _pointwise("le", np.less_equal)
GT: Final = _pointwise("gt", np.greater)
GE: Final = _pointwise("ge", np.greater_equal)
WHERE: Final = _pointwise("where", np.where)
for _name in ("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "sinh", "cosh", "tanh"):
    _pointwise(_name, getattr(np, _name))
for _name, _np_name in (("asin", "arcsin"), ("acos", "arccos"), ("atan", "arctan"), ("asinh", "arcsinh"), ("acosh", "arccosh"),
                        ("atanh", "arctanh"), ("pow", "power"), ("atan2", "arctan2")):
    _pointwise(_name, getattr(np, _np_name))
for _name, _sp_name in (("erf", "erf"), ("erfc", "erfc"), ("sigmoid", "expit"), ("normal_cdf", "ndtr")):
    _pointwise(_name, _special(_sp_name))
COMPARISONS = frozenset((EQ, NE, LT, LE, GT, GE))


def _cast(node: Node, x: Array) -> Array:
    with np.errstate(all="ignore"):
        if node.dtype.category < 3 and x.dtype.kind == "c":
            x = x.real
        if node.dtype.category == 1 and x.dtype.kind not in "iub" and node.dtype is not dtypes.uint64:  # through int64, as kernels do: no undefined narrowing
            x = np.trunc(x.astype(np.float64)).astype(np.int64)
        if node.dtype in dtypes.FLOAT8:  # PyTorch's way: by float32, and in this one what is too great becomes the greatest
            x = x.astype(np.float32)
            x = np.clip(x, -448, 448) if node.dtype is dtypes.float8_e4m3fn else x
        return x.astype(node.dtype.np)


CAST: Final = Op("cast", "pointwise", _cast)
CONJ: Final = Op("conj", "pointwise", lambda node, x: np.conjugate(x))


# Reductions and scans.
REDUCE: dict[str, Op] = {}


def _reduce(name: str, fold: Callable[[Array, Shape, Node], Array]) -> Op:
    def reference(node: Node, x: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(fold(_wide(x), node.arg, node)).astype(node.dtype.np, copy=False).reshape(node.shape)
    op = REDUCE[name] = Op("reduce_" + name, "reduce", reference)
    return op


def _arg(pick: Callable[..., Array]) -> Callable[[Array, Shape, Node], Array]:
    def fold(x: Array, axes: Shape, node: Node) -> Array:
        kept = tuple(i for i in range(x.ndim) if i not in axes)
        moved = x.transpose(kept + axes)
        return pick(moved.reshape(moved.shape[:len(kept)] + (-1,)), axis=-1)
    return fold


R_SUM: Final = _reduce("sum", lambda x, axes, node: x.sum(axes, dtype=None if x.dtype.kind in "fc" else node.dtype.np))
R_PROD: Final = _reduce("prod", lambda x, axes, node: x.prod(axes, dtype=None if x.dtype.kind in "fc" else node.dtype.np))
R_MAX: Final = _reduce("max", lambda x, axes, node: x.max(axes))
R_MIN: Final = _reduce("min", lambda x, axes, node: x.min(axes))
R_ARGMAX: Final = _reduce("argmax", _arg(np.argmax))
R_ARGMIN: Final = _reduce("argmin", _arg(np.argmin))
R_ANY: Final = _reduce("any", lambda x, axes, node: x.any(axes))
R_ALL: Final = _reduce("all", lambda x, axes, node: x.all(axes))
SCAN_SUM: Final = Op("scan_sum", "scan", lambda node, x:
                     np.cumsum(_wide(x), node.arg, dtype=None if x.dtype.kind in "fc" else node.dtype.np).astype(node.dtype.np))
SCAN_PROD: Final = Op("scan_prod", "scan", lambda node, x:
                      np.cumprod(_wide(x), node.arg, dtype=None if x.dtype.kind in "fc" else node.dtype.np).astype(node.dtype.np))


def _order(node: Node, x: Array) -> Array:
    x = _wide(x)
    if not node.arg:
        return np.argsort(x, -1, kind="stable")
    # The reverse of an ascending sort of the reversed data keeps equal elements in their order.
    return np.flip(x.shape[-1] - 1 - np.argsort(np.flip(x, -1), -1, kind="stable"), -1)


ORDER = Op("order", "order", _order)


def const(value: Any, dt: dtype) -> Node:
    """A scalar of type `dt`. Plans take it as a run-time argument, so another value is another argument, not another plan."""
    return Node(CONST, (), value, (), dt)


def cast(node: Node, dt: dtype) -> Node:
    if node.dtype is dt:
        return node
    if node.op is CONST:
        value = node.arg
        if dt.category < 3 and isinstance(value, complex):
            value = value.real
        return const(bool(value) if dt.category == 0 else int(value) if dt.category == 1 else value, dt)
    return Node(CAST, (node,), None, node.shape, dt)


def view(node: Node, shape: Shape, strides: Shape, offset: int) -> Node:
    """Reading `node`'s memory through a view; the node itself when the view is all of it as it is."""
    if offset == 0 and shape == node.shape and strides == contiguous_strides(shape):
        return node
    return Node(VIEW, (node,), (shape, strides, offset), shape, node.dtype)


def expand(node: Node, shape: Shape) -> Node:
    """Broadcast to `shape` by reading with strides of 0."""
    if node.shape == shape:
        return node
    own = contiguous_strides(node.shape)
    lead = len(shape) - len(node.shape)
    strides = (0,) * lead + tuple(0 if n == 1 and m != 1 else s for n, m, s in zip(node.shape, shape[lead:], own, strict=True))
    return Node(VIEW, (node,), (shape, strides, 0), shape, node.dtype)


def reshape(node: Node, shape: Shape) -> Node:
    return view(node, shape, contiguous_strides(shape), 0)


def host(function: Callable[..., Any], name: str, srcs: tuple[Node, ...], shape: Shape, dt: dtype, static: tuple[Any, ...] = ()) -> Node:
    """One output computed by a host library."""
    return Node(HOST, srcs, (function, static, name), shape, dt)


#: How a host function takes a batch: `rule(static arguments, shapes of the sources)` gives the static arguments for sources that all have a
#: further dimension in front, as its results then have, or None where it cannot. A function without a rule cannot be vmapped. Operations of
#: their own that a host library computes (`ops.host`) are here by themselves.
HOST_BATCHING: dict[Any, Callable[[tuple[Any, ...], tuple[Shape, ...]], tuple[Any, ...] | None]] = {}


def _same_static(static: tuple[Any, ...], shapes: tuple[Shape, ...]) -> tuple[Any, ...]:
    return static


def elementwise(static: tuple[Any, ...], shapes: tuple[Shape, ...]) -> tuple[Any, ...]:
    """The rule of a step whose sources broadcast."""
    return static


def leading_batch(step: Any) -> Any:
    """The host function or operation works on trailing dimensions, and any dimensions in front are a batch to it. A decorator too."""
    HOST_BATCHING[step] = _same_static
    return step


def broadcasting(step: Any) -> Any:
    """The host function or operation works element by element and broadcasts its sources. A decorator too."""
    HOST_BATCHING[step] = elementwise
    return step


def axis_first(step: Any) -> Any:
    """The first static argument is an axis, counted from the front; all others are left apart. A decorator too."""
    HOST_BATCHING[step] = lambda static, shapes: (static[0] + 1, *static[1:])
    return step


def axes_first(step: Any) -> Any:
    """The first static argument is a tuple of axes, counted from the front; all others are left apart. A decorator too."""
    HOST_BATCHING[step] = lambda static, shapes: (tuple([a + 1 for a in static[0]]), *static[1:])
    return step

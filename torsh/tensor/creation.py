"""Making tensors: from Python data, from NumPy, and filled by a rule."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from torsh.core import devices, dtypes
from torsh.core.dtypes import bool_, dtype, get_default_dtype, int64
from torsh.core.layouts import strides_for
from torsh.core.shapes import Shape, contiguous_strides, is_contiguous, sizes, storage_extent
from torsh.graph.node import Node
from torsh.graph.primitives import EMPTY, IOTA, LEAF, POINTWISE, cast, const, expand
from torsh.runtime.buffer import Buffer
from torsh.runtime.cpu.memory import allocate
from torsh.tensor.size import Size
from torsh.tensor.storage import leaf
from torsh.tensor.tensor import Tensor, alias, constructed_by, wrap

#: Arrays of so many elements are copied to memory whose vectors do not straddle lines, and whose pages may be large.
_ALIGNED = 4096


def _check(layout: Any, pin_memory: bool) -> None:
    if layout is not None and str(layout) not in ("torch.strided", "torsh.strided", "strided"):
        raise RuntimeError(f"layout {layout} is not supported: tensors are strided")
    if pin_memory:
        raise RuntimeError("pin_memory=True needs an accelerator backend; this build of ToRSh has none")


def finish(t: Tensor, requires_grad: bool) -> Tensor:
    if requires_grad:
        if t._dtype.category < 2:
            raise RuntimeError("Only Tensors of floating point and complex dtype can require gradients")
        t._requires_grad = True
    return t


def from_array(array: np.ndarray) -> Tensor:
    """A tensor that owns (a C-contiguous copy of) the array's data."""
    return wrap(leaf(np.ascontiguousarray(array).reshape(array.shape)))


def tensor(data: Any, *, dtype: dtype | None = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False) -> Tensor:
    """A new tensor with a copy of `data` (numbers, nested sequences, arrays, tensors).

    Without `dtype`: bool, int64 or the default floating type by the data; arrays keep theirs. Raises ValueError for
    ragged sequences and TypeError for data that are not numbers.

    >>> tensor([[1, 2], [3, 4]]).shape
    torsh.Size([2, 2])
    """
    devices.require(device)
    _check(None, pin_memory)
    return finish(wrap(_data_node(data, dtype)), requires_grad)


def _data_node(data: Any, dt: dtype | None) -> Node:
    if isinstance(data, Tensor):
        node = data._node()
        return node if dt is None else cast(node, dt)
    if isinstance(data, (bool, int, float, complex)) and not isinstance(data, np.generic):
        return const(data, dt) if dt is not None and dt.category >= dtypes.of_scalar(data).category else _leaf_of(np.array(data), dt or dtypes.of_scalar(data))
    if isinstance(data, np.ndarray) or isinstance(data, np.generic):
        return _leaf_of(np.asarray(data), dt or dtypes.from_numpy(data.dtype))
    if hasattr(data, "__array__") and not isinstance(data, (list, tuple)):
        array = np.asarray(data)
        return _leaf_of(array, dt or dtypes.from_numpy(array.dtype))
    if not isinstance(data, (list, tuple, range)) and not hasattr(data, "__len__"):
        raise TypeError(f"tensor(): could not infer dtype of {type(data).__name__}")
    return _leaf_of(*_sequence(data, dt))


def _sequence(data: Any, dt: dtype | None) -> tuple[np.ndarray, dtype]:
    """Nested sequences as an array and the dtype their numbers call for."""
    if _has_tensor(data):
        data = _plain(data)
    try:
        array = np.array(data)
    except (ValueError, OverflowError) as error:
        if isinstance(error, OverflowError):
            raise
        raise ValueError(f"tensor(): expected sequences of equal lengths at every level ({error})") from None
    if array.dtype == object or array.dtype.kind not in "biufc":
        if array.dtype.kind == "O":
            try:
                array = np.array(data, dtype=np.int64)
            except (TypeError, ValueError):
                raise TypeError("tensor(): data must be numbers, nested sequences of numbers, arrays or tensors") from None
            except OverflowError:
                raise RuntimeError("Overflow when unpacking long") from None
        elif array.dtype not in (d.np for d in dtypes.ALL):
            raise TypeError(f"tensor(): too many dimensions or data that are not numbers ({array.dtype})")
    if dt is not None:
        return array, dt
    kind = array.dtype.kind
    if array.size == 0 and kind == "f":
        return array, get_default_dtype()
    return array, bool_ if kind == "b" else int64 if kind in "iu" else get_default_dtype().to_complex() if kind == "c" else get_default_dtype()


def _has_tensor(data: Any) -> bool:
    if isinstance(data, Tensor):
        return True
    return isinstance(data, (list, tuple)) and len(data) > 0 and any(_has_tensor(d) for d in data if isinstance(d, (Tensor, list, tuple)))


def _plain(data: Any) -> Any:
    if isinstance(data, Tensor):
        return data._window().tolist()
    return [_plain(d) for d in data] if isinstance(data, (list, tuple)) else data


def _leaf_of(array: np.ndarray, dt: dtype) -> Node:
    if dt.category == 1 and array.dtype.kind == "f" and not np.isfinite(array).all():
        raise RuntimeError(f"value cannot be converted to type {dt.name} without overflow")
    with np.errstate(all="ignore"):
        if array.size < _ALIGNED:
            return leaf(np.array(array, dtype=dt.np, order="C", copy=True).reshape(array.shape))
        block = allocate(array.size * dt.itemsize)
        np.copyto(block.array(dt.np, array.size).reshape(array.shape), array, casting="unsafe")
        made = Node(LEAF, (), None, array.shape, dt)
        made.buffer = Buffer(block.address, array.size * dt.itemsize, block)
        return made


def from_new_array(array: np.ndarray) -> Tensor:
    """A tensor of an array that was just made for it. Large ones are copied to memory that an update may land in, unlike NumPy's."""
    return from_array(array) if array.size < _ALIGNED else wrap(_leaf_of(array, dtypes.from_numpy(array.dtype)))


def _filled(value: Any, shape: Shape, dt: dtype, requires_grad: bool) -> Tensor:
    if dt.category == 0:
        value = bool(value)
    elif dt.category == 1:
        value = int(value)
    return finish(wrap(expand(const(value, dt), shape)), requires_grad)


def zeros(*size: Any, dtype: dtype | None = None, layout: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False,
          out: Tensor | None = None) -> Tensor:
    """Zeros of a shape. Raises RuntimeError for a negative size."""
    return full(sizes(size, "zeros"), 0, dtype=dtype or (out._dtype if out is not None else get_default_dtype()), layout=layout, device=device,
                requires_grad=requires_grad, pin_memory=pin_memory, out=out)


def ones(*size: Any, dtype: dtype | None = None, layout: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False,
         out: Tensor | None = None) -> Tensor:
    """Ones of a shape. Raises RuntimeError for a negative size."""
    return full(sizes(size, "ones"), 1, dtype=dtype or (out._dtype if out is not None else get_default_dtype()), layout=layout, device=device,
                requires_grad=requires_grad, pin_memory=pin_memory, out=out)


def full(size: Sequence[int], fill_value: Any, *, dtype: dtype | None = None, layout: Any = None, device: Any = None, requires_grad: bool = False,
         pin_memory: bool = False, out: Tensor | None = None) -> Tensor:
    """One value everywhere; its type decides the dtype unless one is given."""
    devices.require(device)
    _check(layout, pin_memory)
    if isinstance(fill_value, Tensor):
        dtype, fill_value = dtype or fill_value._dtype, fill_value.item()  # type: ignore[attr-defined]
    made = _filled(fill_value, sizes((size,), "full"), dtype or dtypes.of_scalar(fill_value), requires_grad)
    return _into(out, made)


def _into(out: Tensor | None, made: Tensor) -> Tensor:
    if out is None:
        return made
    if out._shape != made._shape:
        out.resize_(made._shape)  # type: ignore[attr-defined]
    return out.copy_(made)  # type: ignore[attr-defined,no-any-return]


def empty(*size: Any, dtype: dtype | None = None, layout: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False,
          memory_format: Any = None, out: Tensor | None = None) -> Tensor:
    """A tensor whose contents are unspecified until written."""
    devices.require(device)
    _check(layout, pin_memory)
    shape = sizes(size, "empty")
    if out is not None:
        return out if out._shape == shape else out.resize_(shape)  # type: ignore[attr-defined,no-any-return]
    made = wrap(Node(EMPTY, (), None, shape, dtype or get_default_dtype()))
    if memory_format is not None:
        strides = strides_for(shape, contiguous_strides(shape), memory_format)
        made = made if is_contiguous(shape, strides) else alias(made, shape, strides, 0)
    return finish(made, requires_grad)


def empty_permuted(size: Sequence[int], physical_layout: Sequence[int], *, dtype: dtype | None = None, layout: Any = None, device: Any = None,
                   requires_grad: bool = False, pin_memory: bool = False) -> Tensor:
    """`empty` with the dimensions in memory in an order given, outermost first. Raises RuntimeError unless that is a permutation."""
    shape, order = tuple(size), tuple(physical_layout)
    if len(shape) != len(order):
        raise RuntimeError("Number of dimensions in size does not match the length of the physical_layout; i.e. "
                           f"len(size) = {len(shape)} is not equal to len(physical_layout) = {len(order)}")
    for d in order:
        if not 0 <= d < len(shape):
            raise RuntimeError(f"Dimension out of range (expected to be between 0 and {len(shape) - 1}, but got {d})")
    if len(set(order)) != len(order):
        raise RuntimeError("Duplicate dim not allowed")
    inner = contiguous_strides(tuple([shape[d] for d in order]))
    strides = tuple([inner[order.index(d)] for d in range(len(shape))])
    made = empty(shape, dtype=dtype, layout=layout, device=device, pin_memory=pin_memory)
    return finish(alias(made, shape, strides, 0), requires_grad)


def empty_strided(size: Sequence[int], stride: Sequence[int], *, dtype: dtype | None = None, layout: Any = None, device: Any = None,
                  requires_grad: bool = False, pin_memory: bool = False) -> Tensor:
    """`empty` with given strides. Raises RuntimeError for a stride that is negative."""
    _check(layout, pin_memory)
    shape, strides = tuple([int(n) for n in size]), tuple([int(n) for n in stride])
    if len(shape) != len(strides) or any(s < 0 for s in strides):
        raise RuntimeError(f"empty_strided: sizes {list(shape)} and strides {list(strides)} do not go together")
    base = empty(storage_extent(shape, strides, 0), dtype=dtype, device=device)
    return finish(alias(base, shape, strides, 0), requires_grad)


def _like(input: Tensor, make: Any, dt: dtype | None, device: Any, layout: Any, requires_grad: bool, memory_format: Any) -> Tensor:
    """What `make` gives for the shape of `input`, one value everywhere, so that the order of its dimensions in memory is free."""
    made = make(input._shape, dtype=dt or input._dtype, device=device or input.device, layout=layout)
    if input._strides is not None or memory_format is not None:
        made = alias(wrap(made._node()), input._shape, strides_for(input._shape, input.stride(), memory_format), 0)
    return finish(made, requires_grad)


def _like_function(name: str, make: Any) -> Any:
    def function(input: Tensor, *, dtype: dtype | None = None, layout: Any = None, device: Any = None, requires_grad: bool = False,
                 memory_format: Any = None) -> Tensor:
        return _like(input, make, dtype, device, layout, requires_grad, memory_format)
    function.__name__ = name
    function.__doc__ = f"`{name[:-5]}` with the shape, dtype and (where it is dense, or by `memory_format`) the order of dimensions of `input`."
    return function


zeros_like, ones_like, empty_like = _like_function("zeros_like", zeros), _like_function("ones_like", ones), _like_function("empty_like", empty)


def full_like(input: Tensor, fill_value: Any, *, dtype: dtype | None = None, layout: Any = None, device: Any = None, requires_grad: bool = False,
              memory_format: Any = None) -> Tensor:
    """`full` with the shape and dtype of `input`."""
    return _like(input, lambda shape, **options: full(shape, fill_value, **options), dtype, device, layout, requires_grad, memory_format)


def _iota(n: int) -> Node:
    return Node(IOTA, (), None, (n,), int64)


def arange(start: Any, end: Any = None, step: Any = 1, *, dtype: dtype | None = None, layout: Any = None, device: Any = None,
           requires_grad: bool = False, out: Tensor | None = None) -> Tensor:
    """start, start + step, ... below `end`. Integers give int64, floats the default type.

    Raises RuntimeError for a step of 0 or bounds on the wrong side of it.
    """
    devices.require(device)
    if end is None:
        start, end = 0, start
    start, end, step = (v.item() if isinstance(v, Tensor) else v for v in (start, end, step))  # type: ignore[attr-defined]
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if dtype is int64 or (dtype is None and out is not None and out._dtype is int64):
        step = int(step)
        if step == 0:
            raise ValueError("step must be nonzero")
    if np.isnan(start) or np.isnan(end):
        raise RuntimeError(f"unsupported range: {start} -> {end}")
    if (end - start) * step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    if not all(np.isfinite(v) for v in (start, end)):
        raise RuntimeError(f"unsupported range: {start} -> {end}")
    if dtype is int64:
        start, end, step = int(start), int(end), int(step)
    integral = all(isinstance(v, (int, np.integer)) for v in (start, end, step))
    dt = dtype or (out._dtype if out is not None else int64 if integral else get_default_dtype())
    span = (end - start) / step
    count = -(-(end - start) // step) if integral else int(np.ceil(span))
    if integral or dt.category == 1:
        made = _affine(count, int(start), int(step), int64)
        return _into(out, finish(wrap(cast(made, dt)), requires_grad))
    return _into(out, finish(wrap(cast(_affine(count, float(start), float(step), dtypes.float64), dt)), requires_grad))


def _affine(count: int, start: Any, step: Any, dt: dtype) -> Node:
    index = cast(_iota(count), dt)
    scaled = Node(POINTWISE["mul"], (index, const(step, dt)), None, (count,), dt)
    return Node(POINTWISE["add"], (scaled, const(start, dt)), None, (count,), dt)


def range_(start: Any, end: Any, step: Any = 1, **options: Any) -> Tensor:
    """start to `end` inclusive, as PyTorch's deprecated `range`."""
    return arange(start, end + step * 0.5 if isinstance(step, float) else end + (1 if step > 0 else -1), step, **options)


def _evenly(what: str, start: Any, end: Any, steps: int, dt: dtype) -> np.ndarray:
    """`steps` numbers from start to end as PyTorch computes them: ends rounded to the type, from both ends to the middle.

    For half types, where that is off by several percent near zero, in float64 of the ends as they are.
    """
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)):
        raise TypeError(f"{what}(): argument 'steps' must be int, not {type(steps).__name__}")
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    for v in (start, end):
        if isinstance(v, Tensor) and v._shape:
            raise RuntimeError(f"{what} only supports 0-dimensional start and end tensors, but got start or end with {len(v._shape)} dimension(s).")
    start, end = (v.item() if isinstance(v, Tensor) else v for v in (start, end))  # type: ignore[attr-defined]
    if dt.category == 3:
        return np.linspace(start, end, steps, dtype=np.complex128)
    half = dt.category == 2 and dt.itemsize < 4
    own: Any = np.float64 if dt.category < 2 or half else dt.np.type
    first, last = (own(int(v)) if dt.category == 1 else own(v) if half else own(dt.np.type(v)) for v in (start, end))
    if steps < 2:
        return np.full(steps, first, own)
    step = own((last - first) / own(steps - 1))
    i = np.arange(steps)
    return np.where(i < steps // 2, first + step * i.astype(own), last - step * (steps - 1 - i).astype(own)).astype(own)


def linspace(start: Any, end: Any, steps: int, *, dtype: dtype | None = None, device: Any = None, requires_grad: bool = False, layout: Any = None,
             pin_memory: bool = False, out: Tensor | None = None) -> Tensor:
    """`steps` values from `start` to `end`, evenly spaced, both included. Raises RuntimeError for negative `steps`, TypeError unless an int."""
    devices.require(device)
    _check(layout, pin_memory)
    dt = dtype or (out._dtype if out is not None else _spaced_type(start, end))
    with np.errstate(all="ignore"):
        return _into(out, finish(from_array(_evenly("linspace", start, end, steps, dt).astype(dt.np)), requires_grad))


def _spaced_type(start: Any, end: Any) -> dtype:
    is_complex = any(v._dtype.is_complex if isinstance(v, Tensor) else isinstance(v, complex) for v in (start, end))
    return get_default_dtype().to_complex() if is_complex else get_default_dtype()


def logspace(start: Any, end: Any, steps: int, base: float = 10.0, *, dtype: dtype | None = None, device: Any = None, requires_grad: bool = False,
             layout: Any = None, pin_memory: bool = False, out: Tensor | None = None) -> Tensor:
    """`base` to powers evenly spaced from `start` to `end`. Raises as `linspace` does."""
    devices.require(device)
    _check(layout, pin_memory)
    dt = dtype or (out._dtype if out is not None else _spaced_type(start, end))
    exponents = _evenly("logspace", start, end, steps, dt)
    if steps == 1:
        exponents = np.asarray([start.item() if isinstance(start, Tensor) else start], exponents.dtype)  # type: ignore[attr-defined] # not rounded
    with np.errstate(all="ignore"):
        powers = np.power(complex(base) if dt.is_complex else exponents.dtype.type(base), exponents)
        return _into(out, finish(from_array(powers.astype(dt.np)), requires_grad))


def eye(n: int, m: int | None = None, *, dtype: dtype | None = None, layout: Any = None, device: Any = None, requires_grad: bool = False,
        out: Tensor | None = None) -> Tensor:
    """The n by m matrix with ones on the diagonal. Raises RuntimeError for a negative size."""
    devices.require(device)
    n, m = int(n), int(n if m is None else m)
    if n < 0 or m < 0:
        raise RuntimeError(f"n must be greater or equal to 0, got {min(n, m)}")
    dt = dtype or get_default_dtype()
    rows = Node(POINTWISE["cdiv"], (_iota(n * m), const(max(m, 1), int64)), None, (n * m,), int64)
    cols = Node(POINTWISE["fmod"], (_iota(n * m), const(max(m, 1), int64)), None, (n * m,), int64)
    from torsh.graph.primitives import reshape
    same = Node(POINTWISE["eq"], (rows, cols), None, (n * m,), bool_)
    return _into(out, finish(wrap(reshape(cast(same, dt), (n, m))), requires_grad))


def scalar_tensor(s: Any, *, dtype: dtype | None = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A 0-dimensional tensor of a number, of the default floating type unless one is given."""
    return full((), s, dtype=dtype or get_default_dtype(), device=device, requires_grad=requires_grad)


def _legacy(*args: Any) -> Tensor:
    """What `Tensor(...)` makes: sizes give an uninitialized tensor, data a tensor of the default dtype, a tensor an alias of it."""
    if len(args) == 1 and isinstance(args[0], Tensor):
        return alias(args[0], args[0]._shape, args[0]._strides, args[0]._offset)
    if len(args) == 1 and not isinstance(args[0], (int, Size)):
        return tensor(args[0], dtype=get_default_dtype())
    return empty(*args) if args else empty(0)


constructed_by(_legacy)

FUNCTIONS = {"tensor": tensor, "zeros": zeros, "ones": ones, "full": full, "empty": empty, "empty_permuted": empty_permuted,
             "empty_strided": empty_strided, "zeros_like": zeros_like, "ones_like": ones_like, "empty_like": empty_like, "full_like": full_like,
             "arange": arange, "range": range_, "linspace": linspace, "logspace": logspace, "eye": eye, "scalar_tensor": scalar_tensor}

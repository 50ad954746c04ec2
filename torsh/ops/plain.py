"""Small methods and functions of PyTorch's older interface, each a few steps of what is there."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from torsh.core.dtypes import dtype
from torsh.core.layouts import is_dense, order_of, strided
from torsh.ops.dispatch import copy_into, public
from torsh.tensor.creation import empty, finish, from_array, tensor
from torsh.tensor.tensor import Tensor, attribute, method

attribute("__rdiv__", Tensor.__rtruediv__)
attribute("layout", property(lambda self: strided))


@method()
def ndimension(self: Tensor) -> int:
    """Number of dimensions."""
    return len(self._shape)


@method()
def is_set_to(self: Tensor, tensor: Tensor) -> bool:
    """Whether two tensors are the same view of the same memory."""
    return self._storage is tensor._storage and (self._shape, self.stride(), self._offset) == (tensor._shape, tensor.stride(), tensor._offset)


@method()
def is_pinned(self: Tensor, device: Any = None) -> bool:
    """Whether the memory is page-locked for an accelerator: never, as this build has none."""
    return False


@method()
def dim_order(self: Tensor, *, ambiguity_check: bool = False) -> tuple[int, ...]:
    """The dimensions from outermost to innermost in memory. Raises RuntimeError for memory with gaps or overlaps."""
    if not is_dense(self._shape, self.stride()):
        raise RuntimeError(f"dim_order: a tensor of shape {list(self._shape)} and strides {list(self.stride())} has gaps or overlaps in memory")
    return tuple(order_of(self.stride()))


@method()
def new(self: Tensor, *args: Any) -> Tensor:
    """An uninitialized tensor of sizes, or a tensor of data, with this tensor's dtype."""
    if len(args) == 1 and isinstance(args[0], (list, np.ndarray, Tensor)):
        return tensor(args[0], dtype=self._dtype)
    return empty(*args, dtype=self._dtype) if args else empty(0, dtype=self._dtype)


@method()
def apply_(self: Tensor, callable: Callable[[Any], Any]) -> Tensor:
    """Each element replaced by a Python function of it. Raises RuntimeError for a tensor that requires grad."""
    if self._requires_grad:
        raise RuntimeError("apply_: cannot be used on a Tensor that requires grad; use it under no_grad on detach()")
    return _elementwise(self, callable, self)


@method()
def map_(self: Tensor, tensor: Tensor, callable: Callable[[Any, Any], Any]) -> Tensor:
    """Each element replaced by a Python function of it and the element of another tensor (expanded to the shape)."""
    return _elementwise(self, callable, self, tensor)


@method()
def map2_(self: Tensor, x: Tensor, y: Tensor, callable: Callable[[Any, Any, Any], Any]) -> Tensor:
    """Each element replaced by a Python function of it and the elements of two other tensors (expanded to the shape)."""
    return _elementwise(self, callable, self, x, y)


def _elementwise(target: Tensor, function: Callable[..., Any], *sources: Tensor) -> Tensor:
    columns = [s.expand(target._shape).reshape(-1).tolist() for s in sources]  # type: ignore[attr-defined]
    made = np.array([function(*row) for row in zip(*columns, strict=True)], target._dtype.np).reshape(target._shape)
    return copy_into(target, from_array(made), function.__name__, overwrite=True)


@method()
def fill_diagonal_(self: Tensor, fill_value: Any, wrap: bool = False) -> Tensor:
    """The main diagonal overwritten with a number; `wrap` begins again after the last column of a tall matrix.

    Raises RuntimeError for fewer than 2 dimensions, and for more than 2 that are not all of one size.
    """
    n = len(self._shape)
    if n < 2:
        raise RuntimeError("dimensions must larger than 1")
    if n > 2 and len(set(self._shape)) > 1:
        raise RuntimeError("all dimensions of input must be of equal length")
    step, count = sum(self.stride()), min(self._shape)
    if count:
        self.as_strided((count,), (step,)).fill_(fill_value)  # type: ignore[attr-defined]
    if wrap and n == 2 and self._shape[0] > self._shape[1] + 1:
        row, (rows, columns) = self._shape[1] + 1, self._shape
        while row < rows:
            length = min(rows - row, columns)
            self[row:row + length].as_strided((length,), (step,), self._offset + row * self.stride(0)).fill_(fill_value)
            row += columns + 1
    return self


@public(method=False)
def detach_(input: Tensor) -> Tensor:
    """`Tensor.detach_`."""
    return input.detach_()  # type: ignore[attr-defined,no-any-return]


@public(method=False)
def get_device(input: Tensor) -> int:
    """`Tensor.get_device`."""
    return input.get_device()


@public(method=False)
def typename(obj: Any) -> str:
    """The name of a tensor's type ("torch.FloatTensor"), or of an object's class with its module."""
    if isinstance(obj, Tensor):
        return obj.type()  # type: ignore[attr-defined,no-any-return]
    kind = obj if isinstance(obj, type) else type(obj)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


@public(method=False)
def frombuffer(buffer: Any, *, dtype: dtype, count: int = -1, offset: int = 0, requires_grad: bool = False) -> Tensor:
    """A vector over the memory of an object with the buffer protocol (a copy of it, if that may not be written).

    Raises ValueError when the buffer is empty, too short, or not a whole number of elements, and for an offset outside it.
    """
    memory = memoryview(buffer).cast("B")
    size = dtype.itemsize
    if memory.nbytes == 0 or count == 0:
        raise ValueError(f"both buffer length ({memory.nbytes}) and count ({count}) must not be 0")
    if not 0 <= offset < memory.nbytes:
        raise ValueError(f"offset ({offset} bytes) must be non-negative and no greater than buffer length ({memory.nbytes} bytes) minus 1")
    if count < 0 and (memory.nbytes - offset) % size:
        raise ValueError(f"buffer length ({memory.nbytes - offset} bytes) after offset ({offset} bytes) must be a multiple of element size ({size})")
    if count > 0 and count * size > memory.nbytes - offset:
        raise ValueError(f"requested buffer length ({count} * {size} bytes) after offset ({offset} bytes) must not be greater than actual buffer length "
                         f"({memory.nbytes} bytes)")
    from torsh.tensor.interop import from_numpy
    array = np.frombuffer(memory, dtype.np, count, offset)
    return finish(from_numpy(array), requires_grad)


__all__ = ["detach_", "frombuffer", "get_device", "typename"]

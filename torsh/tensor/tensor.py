"""Tensor: a storage seen through (shape, strides, offset), as PyTorch's.

This class holds the data model only. Operations, autograd and conversions add their methods to it with `method`.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final, TypeVar

import numpy as np

from torsh.compiler.realize import realize
from torsh.core import devices
from torsh.core.dtypes import dtype as DType
from torsh.core.native import bindable, mypyc_attr
from torsh.core.shapes import Shape, contiguous_strides, is_contiguous, numel, wrap_dim
from torsh.graph.node import Node
from torsh.graph.primitives import VIEW
from torsh.tensor.open import Open
from torsh.tensor.outside import handle
from torsh.tensor.size import Size
from torsh.tensor.storage import Storage, copied, leaf, reinterpret

F = TypeVar("F", bound=Callable[..., Any])


@mypyc_attr(allow_interpreted_subclasses=True)
class Tensor(Open):
    """A multi-dimensional array of one dtype on one device.

    `Tensor(2, 3)` is an uninitialized tensor of that shape and the default dtype, `Tensor([1, 2])` one of these elements: prefer
    `torsh.empty` and `torsh.tensor`. Inside ToRSh a tensor is made of its storage, shape and dtype.
    """

    _strides: Shape | None = None  # None: contiguous
    _offset: int = 0
    _requires_grad: bool = False
    _grad_fn: Any = None
    _output_nr: int = 0
    _grad: Tensor | None = None
    _base: Tensor | None = None  # the tensor that this one is a differentiable view of
    _view_version: int = 0  # the storage's version for which a view's grad_fn holds
    _accumulator: Any = None
    _retains: bool = False
    _inference: bool = False
    _of_several: str | None = None  # "Output 0 of Split", for a recorded view that one call made together with others
    _backward_hooks: Any = None
    _storage: Storage
    _shape: Shape
    _dtype: DType

    def __init__(self, storage: Any = None, shape: Any = None, dtype: Any = None, *sizes: Any) -> None:
        if type(storage) is not Storage:
            args = tuple([a for a in (storage, shape, dtype) if a is not None])
            made = _constructor.call(*args, *sizes)
            storage, shape, dtype = made._storage, made._shape, made._dtype
            self._strides, self._offset = made._strides, made._offset
        self._storage = storage
        self._shape = shape
        self._dtype = dtype

    # ---- the model

    @property
    def shape(self) -> Size:
        return Size(self._shape)

    @property
    def dtype(self) -> DType:
        return self._dtype

    @property
    def device(self) -> devices.device:
        return devices.CPU

    @property
    def ndim(self) -> int:
        return len(self._shape)

    @property
    def itemsize(self) -> int:
        return self._dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.numel() * self._dtype.itemsize

    @property
    def _version(self) -> int:
        return self._storage.version

    def dim(self) -> int:
        """Number of dimensions."""
        return len(self._shape)

    def size(self, dim: Any = None) -> Any:
        """The shape, or the size of one dimension. Raises IndexError out of range."""
        return Size(self._shape) if dim is None else self._shape[wrap_dim(dim, len(self._shape), "size")]

    def stride(self, dim: Any = None) -> Any:
        """Strides in elements, or the stride of one dimension. Raises IndexError out of range."""
        strides = self._strides or contiguous_strides(self._shape)
        return strides if dim is None else strides[wrap_dim(dim, len(self._shape), "stride")]

    def storage_offset(self) -> int:
        """Where the first element lies in the storage, in elements."""
        return self._offset

    def numel(self) -> int:
        """Number of elements."""
        return numel(self._shape)

    def nelement(self) -> int:
        """Number of elements."""
        return numel(self._shape)

    def element_size(self) -> int:
        """Bytes of one element."""
        return self._dtype.itemsize

    def is_floating_point(self) -> bool:
        return self._dtype.is_floating_point

    def is_complex(self) -> bool:
        return self._dtype.is_complex

    def is_signed(self) -> bool:
        return self._dtype.is_signed

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """Whether the elements lie in row-major order (or a memory format's) without gaps."""
        if memory_format is not None:
            from torsh.core.layouts import channels_last, channels_last_3d, strides_for
            if memory_format is channels_last or memory_format is channels_last_3d:
                rank = 4 if memory_format is channels_last else 5
                return len(self._shape) == rank and all(
                    n == 1 or a == b for n, a, b in zip(self._shape, self.stride(), strides_for(self._shape, (), memory_format)))
        return self._strides is None or is_contiguous(self._shape, self._strides)

    def get_device(self) -> int:
        return -1

    def data_ptr(self) -> int:
        """Address of the first element (computes the tensor if need be)."""
        return self._storage.address() + self._offset * self._dtype.itemsize

    is_cuda: ClassVar[bool] = False
    is_mps: ClassVar[bool] = False
    is_xpu: ClassVar[bool] = False
    is_meta: ClassVar[bool] = False
    is_sparse: ClassVar[bool] = False
    is_sparse_csr: ClassVar[bool] = False
    is_quantized: ClassVar[bool] = False
    is_mkldnn: ClassVar[bool] = False
    is_nested: ClassVar[bool] = False
    is_ipu: ClassVar[bool] = False
    is_maia: ClassVar[bool] = False
    is_mtia: ClassVar[bool] = False
    is_vulkan: ClassVar[bool] = False
    is_xla: ClassVar[bool] = False
    is_cpu: ClassVar[bool] = True

    def __len__(self) -> int:
        if not self._shape:
            raise TypeError("len() of a 0-d tensor")
        return self._shape[0]

    def __hash__(self) -> int:
        return id(self)

    # ---- the four operators that programs are full of; the others are attributes, set by `ops.pointwise`

    def __add__(self, other: Any) -> Any:
        return operators.add(self, other)

    def __sub__(self, other: Any) -> Any:
        return operators.sub(self, other)

    def __mul__(self, other: Any) -> Any:
        return operators.mul(self, other)

    def __truediv__(self, other: Any) -> Any:
        return operators.truediv(self, other)

    # ---- reading and writing, for the layers above

    def _node(self) -> Node:
        """`node_of`."""
        return node_of(self)

    def _without_storage(self) -> Node:
        """What `node_of` gives for a tensor of a subclass that has no storage: an error."""
        raise AttributeError("the tensor has no storage")

    def _window(self) -> Any:
        """The realized elements as a NumPy view of the storage's memory (not exported: for reading at once)."""
        storage = self._storage
        storage.address()
        return array_on(handle(storage.node.buffer), self)

    def _write(self, value: Node) -> None:
        """Replace the elements by a node of the same shape and dtype. Knows nothing of autograd. (`put` is the shorter way.)"""
        storage = self._storage
        own = storage.node.dtype
        strides = self._strides or contiguous_strides(self._shape)
        if own is self._dtype:
            storage.write_region(value, self._shape, strides, self._offset)
            return
        as_mine = Storage(reinterpret(storage.node, self._dtype))
        as_mine.write_region(value, self._shape, strides, self._offset)
        node = reinterpret(as_mine.node, own)
        storage.write(node if node.shape == storage.node.shape else Node(VIEW, (node,), (storage.node.shape, contiguous_strides(storage.node.shape), 0),
                                                                         storage.node.shape, own))


class _Operators:
    """Set by `ops.pointwise`."""
    add: Callable[[Tensor, Any], Any]
    sub: Callable[[Tensor, Any], Any]
    mul: Callable[[Tensor, Any], Any]
    truediv: Callable[[Tensor, Any], Any]


operators: Final = _Operators()


class _Constructor:
    """What `Tensor(...)` calls with a user's arguments."""
    call: Callable[..., Tensor]


_constructor: Final = _Constructor()


def constructed_by(function: Callable[..., Tensor]) -> None:
    """`Tensor(...)` makes what `function(...)` gives."""
    _constructor.call = function


_array: Final = np.ndarray


def array_on(memory: Any, like: Tensor) -> Any:
    """The elements of `like` as a NumPy array on a `handle` to its storage's memory."""
    d = like._dtype
    shape, strides = like._shape, like._strides
    if 0 in shape:  # nowhere: the offset may lie behind the memory
        return np.empty(shape, d.np)
    if strides is None:
        return _array(shape, d.np, memory, like._offset * d.itemsize)
    return _array(shape, d.np, memory, like._offset * d.itemsize, tuple([s * d.itemsize for s in strides]))


MOST_DEPTH: Final = 2000


def node_of(t: Tensor) -> Node:
    """The node whose contiguous contents are the tensor's elements now. (A function: methods of classes with interpreted subclasses, such
    as Parameter, are looked up by name at each call.) What is raised for a tensor without a storage is its class's choice."""
    try:
        storage = t._storage
    except AttributeError:
        return t._without_storage()
    node = storage.node
    dt = t._dtype
    if storage.outside is not None and storage.shared():
        if t._strides is None and node.dtype is dt:
            return copied(node, t._shape, t._offset)
        return leaf(t._window().copy(order="C"))
    if t._strides is None and t._offset == 0 and node.dtype is dt and (node.shape is t._shape or node.shape == t._shape):
        return node
    base = node if node.dtype is dt else reinterpret(node, dt)
    strides = t._strides or contiguous_strides(t._shape)
    if t._offset == 0 and t._strides is None and base.shape == t._shape:
        return base
    return Node(VIEW, (base,), (t._shape, strides, t._offset), t._shape, dt)


def stored(t: Tensor) -> Node | None:
    """The node of the tensor's storage; None for a tensor made of others, which has none."""
    try:
        return t._storage.node
    except AttributeError:
        return None


def put(t: Tensor, value: Node) -> None:
    """`t._write(value)`; for a tensor that is all of its storage, the value is the storage's."""
    storage = t._storage
    node = storage.node
    if t._strides is None and t._offset == 0 and node.dtype is t._dtype and (node.shape is value.shape or node.shape == value.shape):
        storage.write(value)
    else:
        t._write(value)


def wrap(node: Node) -> Tensor:
    """A new tensor with a storage of its own, whose value is `node`. A graph that has grown very deep is computed first: nobody may ever ask
    for its value, as for a running total that is printed at the end of a long training."""
    if node.depth > MOST_DEPTH:
        realize([node])
    return Tensor(Storage(node), node.shape, node.dtype)


def alias(t: Tensor, shape: Shape, strides: Shape | None, offset: int, dt: DType | None = None) -> Tensor:
    """A tensor on the same storage with other geometry (no autograd)."""
    out = Tensor(t._storage, shape, dt or t._dtype)
    if strides is not None and not (strides == contiguous_strides(shape)):
        out._strides = strides
    if offset:
        out._offset = offset
    return out


def attribute(name: str, value: Any) -> None:
    """Give Tensor an attribute: a property, a constant, a function as a method."""
    setattr(Tensor, name, bindable(value) if callable(value) else value)


def method(*names: str) -> Callable[[F], F]:
    """Decorator: the function is also a method of Tensor, under its own name or the names given."""
    def attach(function: F) -> F:
        for name in names or (function.__name__,):
            attribute(name, function)
        return function
    return attach

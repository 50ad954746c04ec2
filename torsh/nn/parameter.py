"""Parameters and buffers: tensors that a module owns."""
from __future__ import annotations

from typing import Any

from torsh.autograd.methods import represent
from torsh.tensor.creation import empty
from torsh.tensor.tensor import Tensor, alias, wrap


class Parameter(Tensor):
    """A tensor that a `Module` registers as a parameter when it is assigned as an attribute. Shares the memory of `data`.

    Raises RuntimeError for an integer type with `requires_grad`.

    >>> import torsh
    >>> Parameter(torsh.ones(2))
    Parameter containing:
    tensor([1., 1.], requires_grad=True)
    """

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Parameter:
        if data is None:
            data = empty(0)
        if requires_grad and data._dtype.category < 2:
            raise RuntimeError("Only Tensors of floating point and complex dtype can require gradients")
        out = Tensor.__new__(cls)
        out._storage, out._shape, out._dtype = data._storage, data._shape, data._dtype
        if data._strides is not None:
            out._strides = data._strides
        if data._offset:
            out._offset = data._offset
        out._requires_grad = requires_grad
        return out

    def __init__(self, *args: Any, **options: Any) -> None:
        """Nothing is left to do after `__new__`."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        found = memo.get(id(self))
        if found is None:
            found = memo[id(self)] = type(self)(wrap(self._node()), self._requires_grad)
        return found  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        return "Parameter containing:\n" + represent(self)

    __str__ = __repr__


class Buffer:
    """`Buffer(data, persistent=True)` gives a tensor that a `Module` registers as a buffer when it is assigned to it."""

    def __new__(cls, data: Tensor | None = None, *, persistent: bool = True) -> Tensor:  # type: ignore[misc]
        if data is None:
            data = empty(0)
        out = alias(data, data._shape, data._strides, data._offset)
        out._requires_grad = data._requires_grad
        out.persistent = persistent  # type: ignore[attr-defined]
        out._is_buffer = True  # type: ignore[attr-defined]
        return out

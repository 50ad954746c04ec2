"""Parameters and buffers: tensors that a module owns."""
from __future__ import annotations

from typing import Any

from torsh.autograd.methods import represent
from torsh.core.devices import require
from torsh.core.dtypes import dtype, get_default_dtype
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


class _Uninitialized(Tensor):
    """A parameter or buffer that has no shape yet: it has no elements, and every use but conversions raises ValueError."""
    _becomes: type[Tensor] = Tensor

    def __init__(self, *args: Any, **options: Any) -> None:
        """Nothing is left to do after `__new__`."""

    @classmethod
    def _made(cls, requires_grad: bool, device: Any, dt: Any) -> Any:
        require(device)
        out = Tensor.__new__(cls)
        out._dtype = dt or get_default_dtype()
        out._requires_grad = requires_grad
        return out

    def _without_storage(self) -> Any:
        return self._shape  # which raises

    def materialize(self, shape: Any, device: Any = None, dtype: Any = None) -> None:
        """Become a tensor of a shape, with memory whose contents are not set."""
        made = empty(tuple(shape), device=device, dtype=dtype or self._dtype)
        self._storage, self._shape, self._dtype = made._storage, made._shape, made._dtype
        self.__class__ = self._becomes  # type: ignore[assignment]

    @property
    def shape(self) -> Any:
        raise RuntimeError("Can't access the shape of an uninitialized parameter or buffer. This error usually happens in `load_state_dict` when trying "
                           "to load an uninitialized parameter into an initialized one. Call `forward` to initialize the parameters before accessing "
                           "their attributes.")

    def __getattr__(self, name: str) -> Any:
        if name in ("_shape", "_storage"):
            raise ValueError("Attempted to use an uninitialized parameter. This error happens when you are using a `LazyModule` or explicitly "
                             f"manipulating `torch.nn.parameter.{type(self).__name__}` objects. When using LazyModules Call `forward` with a dummy "
                             "batch to initialize the parameters before calling torch functions")
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def _refuse(self, *others: Any) -> Any:
        return self._shape  # which raises

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __matmul__ = __rmatmul__ = __neg__ = _refuse

    def _like(self, dt: Any) -> Any:
        return type(self)(self._requires_grad, None, dt)

    def to(self, *args: Any, dtype: Any = None, **kwargs: Any) -> Any:
        """Of another dtype; still without a shape."""
        for a in args:
            dtype = a if isinstance(a, _dtype) else a._dtype if isinstance(a, Tensor) else dtype
        return self if dtype is None or dtype is self._dtype else self._like(dtype)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    __str__ = __repr__

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return type(self), (self._requires_grad, None, self._dtype)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        found = memo.get(id(self))
        if found is None:
            found = memo[id(self)] = self._like(self._dtype)
        return found


class UninitializedParameter(_Uninitialized, Parameter):
    """A parameter whose shape is not known yet; `materialize` gives it one. See `torsh.nn.modules.lazy`."""
    _becomes = Parameter

    def __new__(cls, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> UninitializedParameter:
        return cls._made(requires_grad, device, dtype)  # type: ignore[no-any-return]


class UninitializedBuffer(_Uninitialized):
    """A buffer whose shape is not known yet; `materialize` gives it one."""

    def __new__(cls, requires_grad: bool = False, device: Any = None, dtype: Any = None, persistent: bool = True) -> UninitializedBuffer:
        out = cls._made(requires_grad, device, dtype)
        out.persistent = persistent
        out._is_buffer = True
        return out  # type: ignore[no-any-return]


def is_lazy(value: Any) -> bool:
    """Whether a parameter or buffer has no shape yet."""
    return isinstance(value, _Uninitialized)


_dtype = dtype

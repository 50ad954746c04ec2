"""Tensors that are made of other tensors: sparse and quantized ones.

A subclass of `Composed` has no storage of its own. What can be done with it is a table of handlers by PyTorch's names; every other method raises
NotImplementedError. `install` makes the handlers methods of the subclass and puts a look at the operands in front of the functions of the same
names. It runs when such tensors are first asked for, so programs without them do not pay for that look.
"""
from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, TypeVar

from torsh.core.dtypes import dtype
from torsh.ops.dispatch import FUNCTIONS, LATE, late
from torsh.ops.views import clone as _clone
from torsh.tensor.tensor import Tensor, attribute

H = TypeVar("H", bound=Callable[..., Any])

#: What a composed tensor has from `Tensor` as it is: all that the shape and dtype tell.
_KEPT = frozenset((
    "shape dtype device ndim itemsize dim size numel nelement element_size is_floating_point is_complex is_signed get_device ndimension is_same_size "
    "is_cuda is_mps is_xpu is_meta is_sparse is_sparse_csr is_quantized is_mkldnn is_nested is_cpu layout requires_grad requires_grad_ is_leaf grad grad_fn "
    "output_nr retains_grad backward register_hook retain_grad data detach clone is_inference is_pinned is_conj is_neg names").split())
#: Functions that tell from the shape alone what they give, and must not for such tensors.
_REFUSED = ("zeros_like", "ones_like", "full_like", "empty_like", "rand_like", "randn_like", "equal")
_OPERATORS = ("add sub mul truediv floordiv mod pow matmul and or xor lshift rshift eq ne lt le gt ge").split()
#: Names of operators, whose methods are `__name__`; the same operation's name as a function.
_NAMED = {"truediv": "div", "floordiv": "floor_divide", "mod": "remainder", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor",
          "lshift": "bitwise_left_shift", "rshift": "bitwise_right_shift"}


class Composed(Tensor):
    """Base of tensors that are made of others. A subclass has a table `handlers` of its own, and `backend`, its name in errors."""
    handlers: dict[str, Callable[..., Any]] = {}
    backend = "composed"

    def _without_storage(self) -> NoReturn:
        self._refuse("this operation")

    def _window(self) -> NoReturn:
        self._refuse("reading elements")

    def _refuse(self, name: str) -> NoReturn:
        raise NotImplementedError(f"Could not run '{name}' with arguments from the '{self.backend}' backend: a tensor of layout {self.layout!r}, "
                                  f"shape {list(self._shape)}. Use to_dense() or dequantize() first, if that is what is meant.")

    @classmethod
    def handle(cls, *names: str) -> Callable[[H], H]:
        """Decorator: the function computes the operations of these names where an operand is of this class."""
        def register(function: H) -> H:
            for name in names:
                cls.handlers[name] = function
            return function
        return register


class Valued(Composed):
    """A composed tensor whose gradient is that of one tensor, its values."""
    _entries: Tensor

    @property
    def requires_grad(self) -> bool:
        return self._entries.requires_grad  # type: ignore[no-any-return]

    @requires_grad.setter
    def requires_grad(self, flag: bool) -> None:
        self.requires_grad_(flag)

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        """Set `requires_grad` in place."""
        if requires_grad and self._entries.grad_fn is None and not self._entries.requires_grad:
            self._entries = self._entries.detach()  # the values given need no gradient, this tensor does
        self._entries.requires_grad_(requires_grad)
        return self

    @property
    def grad_fn(self) -> Any:
        return self._entries.grad_fn

    @property
    def is_leaf(self) -> bool:
        return self._entries.is_leaf  # type: ignore[no-any-return]

    @property
    def grad(self) -> Any:
        """The gradient of the values, as a tensor like this one."""
        g = self._entries.grad
        return None if g is None else self._with(g)

    @grad.setter
    def grad(self, value: Any) -> None:
        self._entries.grad = None if value is None else value._entries  # type: ignore[attr-defined]

    @property
    def data(self) -> Any:
        return self._with(self._entries.detach())

    @property
    def _graded(self) -> Tensor:
        """The tensor whose gradient is this one's."""
        return self._entries

    def _with(self, entries: Tensor) -> Any:
        """A tensor like this one with other values."""
        raise NotImplementedError

    def backward(self, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False, inputs: Any = None) -> None:
        """As `Tensor.backward`, from the values. `gradient` is a tensor like this one, or one of the values' shape."""
        given = gradient._entries if isinstance(gradient, Valued) else gradient
        self._entries.backward(given, retain_graph, create_graph, None if inputs is None else [
            getattr(t, "_graded", t) for t in ((inputs,) if isinstance(inputs, Tensor) else inputs)])

    def register_hook(self, hook: Callable[[Any], Any]) -> Any:
        """Call `hook(grad)` with the gradient, a tensor like this one; what it returns (if not None) replaces that."""
        def call(g: Tensor) -> Tensor | None:
            found = hook(self._with(g))
            return found._entries if isinstance(found, Valued) else found
        return self._entries.register_hook(call)

    def retain_grad(self) -> None:
        """Keep the gradient of this computed tensor in `.grad` too."""
        self._entries.retain_grad()

    def detach(self) -> Any:
        """The same without history."""
        return self._with(self._entries.detach())

    def clone(self, *, memory_format: Any = None) -> Any:
        """A copy of its own, differentiable."""
        return self._with(_clone(self._entries))

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if not self.is_leaf:
            raise RuntimeError("Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment.")
        made = memo[id(self)] = self._with(_clone(self._entries.detach()).requires_grad_(self.requires_grad))
        return made


def bare(cls: type[Any], shape: Iterable[int], dt: dtype) -> Any:
    """A tensor of a composed class with a shape and a dtype and nothing else yet."""
    made = cls.__new__(cls)  # type: ignore[call-overload]
    made._shape, made._dtype = tuple(shape), dt
    return made


def _refusal(name: str) -> Callable[..., Any]:
    def call(self: Composed, *args: Any, **kwargs: Any) -> Any:
        self._refuse(name)
    call.__name__ = name
    return call


def _handler_of(args: Iterable[Any], name: str) -> Callable[..., Any] | None:
    """What handles a call with these operands, one of which may be composed; None if none is. Raises NotImplementedError if it cannot."""
    for a in args:
        if isinstance(a, Composed):
            found = a.handlers.get(name)
            if found is None:
                a._refuse(name)
            return found
        if isinstance(a, (tuple, list)) and a and isinstance(a[0], Composed):
            return _handler_of(a, name)
    return None


def _routed(name: str, dense: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(dense)
    def call(*args: Any, **kwargs: Any) -> Any:
        found = _handler_of(args, name) or (_handler_of(kwargs.values(), name) if kwargs else None)
        return dense(*args, **kwargs) if found is None else found(*args, **kwargs)
    call._routed = True  # type: ignore[attr-defined]
    return call


def _reflected(handler: Callable[..., Any]) -> Callable[..., Any]:
    def call(self: Any, other: Any) -> Any:
        return handler(other, self)
    return call


def install(cls: type[Any], methods: Iterable[str] = ()) -> None:
    """Make the handlers of a class its methods, refuse what has none, and route the functions of their names (and the methods of dense tensors
    that are named here) to them."""
    handlers = cls.handlers
    for operator in _OPERATORS:
        found = handlers.get(_NAMED.get(operator, operator))
        name = f"__{operator}__"
        if found is None:
            setattr(cls, name, _refusal(name))
            setattr(cls, f"__r{operator}__", _refusal(f"__r{operator}__"))
            continue
        setattr(cls, name, _operator(found))
        if operator not in ("eq", "ne", "lt", "le", "gt", "ge"):
            setattr(cls, f"__r{operator}__", _reflected(found))
    for operator in _OPERATORS[:_OPERATORS.index("eq")]:
        change = handlers.get(_NAMED.get(operator, operator) + "_")
        if hasattr(Tensor, f"__i{operator}__"):
            setattr(cls, f"__i{operator}__", _refusal(f"__i{operator}__") if change is None else _operator(change))
    for own, name in (("__neg__", "neg"), ("__abs__", "abs"), ("__invert__", "bitwise_not"), ("__pos__", "positive"), ("__getitem__", "__getitem__"),
                      ("__setitem__", "__setitem__"), ("__array__", "numpy"), ("__contains__", "__contains__")):
        setattr(cls, own, _operator(handlers[name]) if name in handlers else _refusal(own))
    own_names = {n for c in cls.__mro__ if issubclass(c, Composed) for n in vars(c)}
    for name in dir(Tensor):
        if name in handlers or name.startswith("_") or name in own_names:
            continue
        if name not in _KEPT:
            setattr(cls, name, property(_refusal(name)) if isinstance(getattr(Tensor, name), property) else _refusal(name))
    for name, handler in handlers.items():
        if not name.startswith("_") and name not in own_names:
            setattr(cls, name, _operator(handler))
    public = vars(sys.modules["torsh"])
    for name in (*handlers, *_REFUSED):
        dense = late(name) if name in FUNCTIONS or name in LATE else public.get(name)
        if callable(dense) and not isinstance(dense, type) and not hasattr(dense, "_routed"):
            public[name] = _routed(name, dense)
            if name in FUNCTIONS:
                FUNCTIONS[name] = public[name]
    for name in methods:
        dense = getattr(Tensor, name)
        if not hasattr(dense, "_routed"):
            attribute(name, _routed(name, dense))


def _operator(handler: Callable[..., Any]) -> Callable[..., Any]:
    """A method that can also be one of the compiled class's slots."""
    @functools.wraps(handler)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return handler(self, *args, **kwargs)
    return call




__all__ = ["Composed", "Valued", "bare", "install"]

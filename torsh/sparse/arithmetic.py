"""Elementwise operations that keep zeros: of one sparse tensor, of two, of one with a number or a strided tensor."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from torsh.autograd.grad_mode import no_grad
from torsh.core.dtypes import dtype
from torsh.core.shapes import broadcast, numel
from torsh.ops.dispatch import FUNCTIONS, cast_tensor, late, result_type_of
from torsh.ops.pointwise import add as _dense_add
from torsh.sparse.compressed import CompressedTensor
from torsh.sparse.convert import at_places, coordinates, like
from torsh.sparse.coo import Sparse, SparseTensor, coo, keys_of, picked, summed
from torsh.tensor.creation import zeros
from torsh.tensor.tensor import Tensor

_KINDS = (SparseTensor, CompressedTensor)


def both(*names: str) -> Callable[[Any], Any]:
    """Decorator: a handler of all sparse layouts."""
    def register(function: Any) -> Any:
        for kind in _KINDS:
            kind.handle(*names)(function)
        return function
    return register


def written(self: Any, made: Any, name: str) -> Any:
    """A sparse tensor in place becomes `made`. Raises RuntimeError for a leaf that requires grad and a type that cannot be cast."""
    if self.requires_grad and self.is_leaf:
        raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
    if made._dtype.category > self._dtype.category:
        raise RuntimeError(f"{name}: result type {made._dtype.title} can't be cast to the desired output type {self._dtype.title}")
    if made._dtype is not self._dtype:
        made = made._with(cast_tensor(made._entries, self._dtype))
    if isinstance(self, SparseTensor):
        self._become(made)
    else:
        self._outer, self._inner, self._entries = made._outer, made._inner, made._entries
    return self


def in_place(name: str, function: Callable[..., Any]) -> None:
    """The handler of `name_`: what `function` gives, written into its first operand."""
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(self, Sparse):  # a strided tensor to be overwritten
            return self.copy_(function(self, *args, **kwargs))
        return written(self, function(self, *args, **kwargs), name + "_")
    call.__name__ = name + "_"
    both(name + "_")(call)


# ---- of one

_UNARY = ("abs absolute sign sgn sqrt sin tan asin arcsin atan arctan sinh asinh arcsinh tanh atanh arctanh ceil floor round trunc fix relu expm1 log1p "
          "rad2deg deg2rad erf erfinv square signbit isnan isinf isposinf isneginf frac nan_to_num")
_LINEAR = "neg negative positive conj_physical"


def _unary(name: str, coalesced: bool) -> None:
    def call(input: Any, *args: Any, **kwargs: Any) -> Any:
        s = input.coalesce() if coalesced and isinstance(input, SparseTensor) else input
        return s._with(late(name)(s._entries, *args, **kwargs))
    call.__name__ = name
    both(name)(call)
    if hasattr(Tensor, name + "_"):
        in_place(name, call)


for _name in _UNARY.split():
    _unary(_name, True)
for _name in _LINEAR.split():
    _unary(_name, False)


@both("to")
def to(self: Any, *args: Any, **kwargs: Any) -> Any:
    """Another type (the places stay); the device is the same."""
    made = self._entries.to(*args, **kwargs)
    return self if made is self._entries else self._with(made)


def _typed(name: str) -> None:
    def call(self: Any) -> Any:
        return to(self, getattr(self._entries, name)()._dtype)
    both(name)(call)


for _name in ("float", "double", "half", "bfloat16", "int", "long", "short", "char", "byte", "bool", "cfloat", "cdouble", "cpu"):
    if hasattr(Tensor, _name):
        _typed(_name)


@both("contiguous")
def contiguous(self: Any, *args: Any, **kwargs: Any) -> Any:
    raise RuntimeError("unsupported memory format option Contiguous")


@both("reshape")
def reshape(self: Any, *args: Any, **kwargs: Any) -> Any:
    raise RuntimeError("reshape is not implemented for sparse tensors")


@both("numpy")
def numpy(self: Any, *args: Any, **kwargs: Any) -> Any:
    raise TypeError("can't convert Sparse layout tensor to numpy. Use Tensor.to_dense() first.")


@both("tolist")
def tolist(self: Any) -> Any:
    raise RuntimeError("Cannot access data pointer of Tensor that doesn't have storage")


both("detach_")(lambda self: written(self, self.detach(), "detach_") if not self.is_leaf else self)


@both("copy_")
def copy_(self: Any, src: Any, non_blocking: bool = False) -> Any:
    """Become a copy of another sparse tensor. Raises RuntimeError for a strided one and another shape."""
    if not (isinstance(self, Sparse) and isinstance(src, Sparse)):
        raise RuntimeError("copy_() between dense and sparse Tensors is not implemented! Found self type = "
                           f"{type(self).__name__} and src type = {type(src).__name__}")
    if self._shape != src._shape or self.layout is not src.layout:
        raise RuntimeError(f"copy_: a tensor of shape {list(self._shape)}, {self.layout!r}, cannot become one of shape {list(src._shape)}, {src.layout!r}")
    made = src.clone()
    return written(self, made._with(cast_tensor(made._entries, self._dtype)), "copy_")


@SparseTensor.handle("zero_")
def zero_(self: SparseTensor) -> SparseTensor:
    """Name nothing any more."""
    return written(self, _nothing(self), "zero_")  # type: ignore[no-any-return]


def _nothing(s: SparseTensor) -> SparseTensor:
    return coo(np.zeros((s.sparse_dim(), 0), np.int64), zeros(0, *s._entries._shape[1:], dtype=s._dtype), s._shape, True)


@SparseTensor.handle("zeros_like", "empty_like")
def zeros_like(input: SparseTensor, *, dtype: dtype | None = None, requires_grad: bool = False, **options: Any) -> SparseTensor:
    """A sparse tensor of the shape that names nothing."""
    with no_grad():
        made = _nothing(input)
    made = made if dtype is None else to(made, dtype)
    return made.requires_grad_() if requires_grad else made  # type: ignore[no-any-return]


# ---- of two


def _scalar(x: Any) -> bool:
    return not isinstance(x, Tensor) or not (x._shape or isinstance(x, Sparse))


def _same_shape(name: str, a: Tensor, b: Tensor) -> None:
    if a._shape != b._shape:
        raise RuntimeError(f"{name}: expected tensors of the same size, but got {list(a._shape)} and {list(b._shape)}")


def joined(a: SparseTensor, b: SparseTensor) -> SparseTensor:
    """The sum of two tensors of the same shape and numbers of dimensions."""
    dt = result_type_of(a._entries, b._entries)
    places = FUNCTIONS["cat"]([a._places, b._places], 1)
    made = coo(places, FUNCTIONS["cat"]([cast_tensor(a._entries, dt), cast_tensor(b._entries, dt)], 0), a._shape)
    return made.coalesce() if a._sorted and b._sorted else made


def _scaled(x: Any, alpha: Any) -> Any:
    return x if isinstance(alpha, (int, float)) and alpha == 1 else x._with(x._entries * alpha) if isinstance(x, Sparse) else x * alpha


@both("add")
def add(input: Any, other: Any, *, alpha: Any = 1) -> Any:
    """sparse + sparse is sparse, strided + sparse strided. Raises RuntimeError for a sparse tensor by coordinates + something strided."""
    if isinstance(input, Sparse) and isinstance(other, Sparse):
        _same_shape("add", input, other)
        a, b = coordinates(input), coordinates(_scaled(other, alpha))
        if a.sparse_dim() != b.sparse_dim():
            raise RuntimeError(f"add: expected 'self' and 'other' to have same number of sparse dimensions, got {a.sparse_dim()} and {b.sparse_dim()}")
        return like(input, joined(a, b))
    if isinstance(input, SparseTensor) or not isinstance(other, Tensor) or not isinstance(input, Tensor):
        raise RuntimeError("add(sparse, dense) is not supported. Use add(dense, sparse) instead.")
    if isinstance(input, Sparse):
        input, other = _scaled(other, alpha), input
        alpha = 1
    c = coordinates(_scaled(other, alpha))
    shape = broadcast(input._shape, c._shape, "add")
    if shape != c._shape:
        raise RuntimeError(f"add: a sparse tensor of shape {list(c._shape)} is not broadcast to {list(shape)}")
    dt = result_type_of(input, c._entries)
    sparse = c.sparse_dim()
    base = cast_tensor(input, dt).expand(shape).reshape(numel(shape[:sparse]), *shape[sparse:])  # type: ignore[attr-defined]
    return (base + summed(cast_tensor(c._entries, dt), keys_of(c), base._shape[0])).reshape(shape)


def gradients_added(a: Any, b: Any) -> Any:
    """The sum of two gradients of a tensor, of which each may be sparse; strided if one is."""
    if isinstance(a, Sparse) and not isinstance(b, Sparse):
        a, b = b, a
    return add(a, b) if isinstance(b, Sparse) else _dense_add(a, b)


@SparseTensor.handle("sub", "subtract")
def sub(input: Any, other: Any, *, alpha: Any = 1) -> Any:
    """input - alpha * other, as `add`."""
    return add(input, other, alpha=-alpha)


def _common(a: SparseTensor, b: SparseTensor) -> tuple[SparseTensor, SparseTensor]:
    """Both at the places that both name."""
    a, b = a.coalesce(), b.coalesce()
    if a._places is b._places:
        return a, b
    _, i, j = np.intersect1d(keys_of(a), keys_of(b), assume_unique=True, return_indices=True)
    places = np.asarray(a._places._window())[:, i]
    return coo(places, picked(a._entries, i), a._shape, True), coo(places, picked(b._entries, j), b._shape, True)


@both("mul", "multiply")
def mul(input: Any, other: Any) -> Any:
    """Sparse times sparse at the places both name; times a number, or a strided tensor that broadcasts to it, at its own places."""
    if isinstance(input, Sparse) and isinstance(other, Sparse):
        _same_shape("mul", input, other)
        a, b = _common(coordinates(input), coordinates(other))
        return like(input, a._with(a._entries * b._entries))
    s, x = (input, other) if isinstance(input, Sparse) else (other, input)
    if _scalar(x):
        return s._with(s._entries * x)
    if broadcast(s._shape, x._shape, "mul") != s._shape:
        raise RuntimeError(f"mul: a sparse tensor of shape {list(s._shape)} is not broadcast to {list(broadcast(s._shape, x._shape, 'mul'))}")
    c = coordinates(s)
    return like(s, c._with(c._entries * at_places(x.expand(s._shape), c)))


@both("div", "divide", "true_divide")
def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Any:
    """A sparse tensor over a number. Raises RuntimeError for another divisor."""
    if not isinstance(input, Sparse) or not _scalar(other):
        shape = list(other._shape) if isinstance(other, Tensor) else "a number"
        raise RuntimeError(f"Sparse division requires a scalar or zero-dim dense tensor divisor (got shape {shape} for divisor)")
    s = input.coalesce() if rounding_mode and isinstance(input, SparseTensor) else input
    return s._with(FUNCTIONS["div"](s._entries, other, rounding_mode=rounding_mode))


@both("floor_divide")
def floor_divide(input: Any, other: Any) -> Any:
    """A sparse tensor over a number, rounded down. Raises RuntimeError for another divisor."""
    return div(input, other, rounding_mode="floor")


@both("pow")
def pow(input: Any, exponent: Any) -> Any:
    """A power of each value. Raises RuntimeError for an exponent of 0 or less (zeros would not stay), and one that is no number."""
    if not isinstance(input, Sparse) or isinstance(exponent, Tensor):
        raise RuntimeError("pow: a sparse tensor takes a number as its exponent")
    if exponent <= 0:
        raise RuntimeError(f"pow: exponent {exponent} would make zeros something else")
    s = input.coalesce() if isinstance(input, SparseTensor) else input
    return s._with(s._entries ** exponent)


for _name, _function in (("add", add), ("sub", sub), ("mul", mul), ("div", div), ("pow", pow), ("floor_divide", floor_divide)):
    in_place(_name, _function)

__all__ = ["add", "both", "joined", "mul", "written"]

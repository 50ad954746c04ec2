"""Masked tensors: numbers with a mask that says which of them count.

Elementwise operations keep the mask, reductions leave out what it hides, and no gradient reaches that. After PyTorch's prototype
`torch.masked.MaskedTensor`, for strided tensors.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any, NoReturn

import numpy as np

from torsh import masked
from torsh.autograd.grad_mode import no_grad
from torsh.core import dtypes
from torsh.core.dtypes import bool_
from torsh.core.layouts import layout, strided
from torsh.core.shapes import broadcast
from torsh.ops import pointwise
from torsh.ops.composed import Composed, Valued, install
from torsh.ops.dispatch import FUNCTIONS, LATE, cast_tensor, late
from torsh.ops.views import clone as clone_dense
from torsh.tensor.tensor import Tensor

_TYPES = (dtypes.float16, dtypes.float32, dtypes.float64, dtypes.bool_, dtypes.int8, dtypes.int16, dtypes.int32, dtypes.int64)


class MaskedTensor(Valued):
    """`data` where `mask` (bool, the same shape) is True. Copies of both are kept.

    Raises TypeError for others than tensors, other types and masks that are not bool, ValueError for different shapes.

    >>> import torsh
    >>> torsh.masked.masked_tensor(torsh.tensor([1.0, 2.0, 4.0]), torsh.tensor([True, False, True])).mean()
    MaskedTensor(  2.5000, True)
    """
    handlers: dict[str, Any] = {}
    backend = "MaskedTensor"
    _mask: Tensor

    def __new__(cls, data: Any, mask: Any, requires_grad: bool = False) -> Any:
        if isinstance(data, Composed) or not isinstance(data, Tensor):
            raise TypeError("data must be a Tensor")
        if isinstance(mask, Composed) or not isinstance(mask, Tensor):
            raise TypeError("mask must be a Tensor")
        if mask._dtype is not bool_:
            raise TypeError("mask must have dtype bool.")
        if data._dtype not in _TYPES:
            raise TypeError(f"{data._dtype} is not supported in MaskedTensor.")
        if len(data._shape) != len(mask._shape):
            raise ValueError("data.dim() must equal mask.dim()")
        if data._shape != mask._shape:
            raise ValueError("data.size() must equal mask.size()")
        made = hidden(clone_dense(data.detach()), clone_dense(mask))  # type: ignore[attr-defined]
        return made.requires_grad_() if requires_grad else made

    def __init__(self, data: Any, mask: Any, requires_grad: bool = False) -> None:
        pass

    @property
    def layout(self) -> layout:
        return strided

    def _refuse(self, name: str) -> NoReturn:
        raise TypeError(f"MaskedTensor does not support '{name}' (shape {list(self._shape)}); use to_tensor(value) or get_data() first")

    def _with(self, entries: Tensor) -> MaskedTensor:
        return hidden(entries, self._mask)

    def get_data(self) -> Tensor:
        """The numbers, hidden ones too."""
        return self._entries

    def get_mask(self) -> Tensor:
        """True where a number counts."""
        return self._mask

    def to_tensor(self, value: Any) -> Tensor:
        """The numbers, with `value` where they are hidden."""
        return cast_tensor(pointwise.where(self._mask, self._entries, value), self._dtype)

    def stride(self, dim: int | None = None) -> Any:
        return self._entries.stride(dim)

    def is_contiguous(self, memory_format: Any = None) -> bool:
        return self._entries.is_contiguous(memory_format)

    def __len__(self) -> int:
        return len(self._entries)

    def __bool__(self) -> bool:
        return bool(self._entries)

    def __reduce_ex__(self, proto: Any) -> Any:
        return _rebuild, (self._entries.detach(), self._mask, self.requires_grad and self.is_leaf)

    def __repr__(self, *, tensor_contents: str | None = None) -> str:
        data, mask = np.asarray(self._entries.detach()._window()), np.asarray(self._mask._window())
        if not self._shape:
            value = data.item()
            shown = "--" if not mask else f"{value:8.4f}" if isinstance(value, float) else str(value)
            return f"MaskedTensor({shown}, {bool(mask)})"
        return "MaskedTensor(\n" + "\n".join("  " + line for line in _lines(data, mask).split("\n")) + "\n)"

    __str__ = __repr__


def _lines(data: np.ndarray, mask: np.ndarray) -> str:
    if data.ndim == 1:
        return "[" + ", ".join((f"{v:8.4f}" if isinstance(v, float) else str(v)) if m else "      --" for v, m in zip(data.tolist(), mask.tolist())) + "]"
    rows = [_lines(d, m) for d, m in zip(data, mask)]
    return "[\n" + ",\n".join("\n".join("  " + line for line in row.split("\n")) for row in rows) + "\n]"


def hidden(entries: Tensor, mask: Tensor) -> MaskedTensor:
    """A masked tensor of parts that are known to fit."""
    made: MaskedTensor = Composed.__new__(MaskedTensor)  # not through `MaskedTensor(...)`, which copies
    made._shape, made._dtype, made._entries, made._mask = entries._shape, entries._dtype, entries, mask
    return made


def _rebuild(entries: Tensor, mask: Tensor, requires_grad: bool) -> MaskedTensor:
    return hidden(entries.requires_grad_(requires_grad), mask)  # type: ignore[attr-defined]


def masked_tensor(data: Tensor, mask: Tensor, requires_grad: bool = False) -> MaskedTensor:
    """A masked tensor of copies of `data` and `mask`, a leaf. Raises as `MaskedTensor`."""
    return MaskedTensor(data, mask, requires_grad)


def as_masked_tensor(data: Tensor, mask: Tensor) -> MaskedTensor:
    """A masked tensor with the history of `data`, whose gradient is 0 where it is hidden. Raises as `MaskedTensor`."""
    made = MaskedTensor(data, mask)
    if data.requires_grad:  # type: ignore[attr-defined]
        made = hidden(pointwise.where(made._mask, data, data.detach()), made._mask)  # type: ignore[attr-defined]
    return made


def is_masked_tensor(obj: Any) -> bool:
    """Whether something is a masked tensor."""
    return isinstance(obj, MaskedTensor)


# ---- element by element

_UNARY = ("abs absolute acos arccos acosh arccosh angle asin arcsin asinh arcsinh atan arctan atanh arctanh bitwise_not ceil clamp clip conj_physical cos "
          "cosh deg2rad digamma erf erfc erfinv exp exp2 expm1 fix floor frac lgamma log log10 log1p log2 logit i0 isnan nan_to_num neg negative positive "
          "pow rad2deg reciprocal round rsqrt sigmoid sign sgn signbit sin sinc sinh sqrt square tan tanh trunc")
_BINARY = ("add atan2 arctan2 bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift div divide floor_divide fmod logaddexp logaddexp2 mul "
           "multiply nextafter remainder sub subtract true_divide eq ne le ge greater greater_equal gt less_equal lt less maximum minimum fmax fmin not_equal")
_PASSED = "select transpose t expand view reshape unsqueeze flatten narrow contiguous expand_as view_as"
_handle = MaskedTensor.handle


def _known(name: str) -> bool:
    return name in FUNCTIONS or name in LATE


def _unary(name: str) -> None:
    def call(input: MaskedTensor, *args: Any, **kwargs: Any) -> MaskedTensor:
        if any(isinstance(a, Tensor) for a in (*args, *kwargs.values())):
            raise TypeError(f"{name}: MaskedTensor unary ops do not support additional Tensor arguments")
        return input._with(late(name)(input._entries, *args, **kwargs))
    call.__name__ = name
    _handle(name)(call)


def mask_of(name: str, *operands: Any) -> Tensor:
    """The one mask of masked operands, broadcast to the result. Raises ValueError for different masks."""
    masks = [o._mask for o in operands if isinstance(o, MaskedTensor)]
    first = masks[0]
    for m in masks[1:]:
        if m is not first and (m._shape != first._shape or not bool(FUNCTIONS["all"](pointwise.eq(m, first)))):
            raise ValueError(f"{name}: Input masks must match. If you need support for this, please open an issue on Github.")
    shape = first._shape
    for o in operands:
        if isinstance(o, Tensor):
            shape = broadcast(shape, o._shape, name)
    return first if shape == first._shape else first.expand(shape)  # type: ignore[attr-defined,no-any-return]


def _data(x: Any) -> Any:
    return x._entries if isinstance(x, MaskedTensor) else x


def _binary(name: str) -> None:
    def call(input: Any, other: Any, **kwargs: Any) -> MaskedTensor:
        mask = mask_of(name, input, other)
        return hidden(late(name)(_data(input), _data(other), **kwargs), mask)
    call.__name__ = name
    _handle(name)(call)


def _in_place(name: str) -> None:
    function = MaskedTensor.handlers[name]

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(self, MaskedTensor):
            raise TypeError(f"{name}_: a tensor without a mask cannot be overwritten with a masked one")
        if self.requires_grad and self.is_leaf:
            raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
        made = function(self, *args, **kwargs)
        if made._shape != self._shape or made._dtype.category > self._dtype.category:
            raise RuntimeError(f"{name}_: a result of shape {list(made._shape)} and type {made._dtype} does not fit shape {list(self._shape)} and type "
                               f"{self._dtype}")
        self._entries = cast_tensor(made._entries, self._dtype)
        return self
    call.__name__ = name + "_"
    _handle(name + "_")(call)


def _passed(name: str) -> None:
    method = getattr(Tensor, name)

    def call(self: MaskedTensor, *args: Any, **kwargs: Any) -> MaskedTensor:
        return hidden(method(self._entries, *args, **kwargs), method(self._mask, *args, **kwargs))
    call.__name__ = name
    _handle(name)(call)


for _name in _UNARY.split():
    if _known(_name):
        _unary(_name)
for _name in _BINARY.split():
    if _known(_name):
        _binary(_name)
for _name in (*_UNARY.split(), *_BINARY.split()):
    if _name in MaskedTensor.handlers and hasattr(Tensor, _name + "_"):
        _in_place(_name)
for _name in _PASSED.split():
    _passed(_name)


@_handle("__getitem__")
def getitem(self: MaskedTensor, key: Any) -> MaskedTensor:
    """The region of both parts."""
    return hidden(self._entries[key], self._mask[key])


def _several(name: str) -> None:
    method = getattr(Tensor, name)

    def call(self: MaskedTensor, *args: Any, **kwargs: Any) -> tuple[MaskedTensor, ...]:
        return tuple([hidden(d, m) for d, m in zip(method(self._entries, *args, **kwargs), method(self._mask, *args, **kwargs), strict=True)])
    call.__name__ = name
    _handle(name)(call)


def _joined(name: str) -> None:
    function = late(name)

    def call(tensors: Sequence[MaskedTensor], dim: int = 0) -> MaskedTensor:
        if not all(isinstance(t, MaskedTensor) for t in tensors):
            raise TypeError(f"{name}: all tensors must be masked")
        return hidden(function([t._entries for t in tensors], dim), function([t._mask for t in tensors], dim))
    call.__name__ = name
    _handle(name)(call)


for _name in ("split", "chunk"):
    _several(_name)
for _name in ("cat", "stack"):
    _joined(_name)


@_handle("where")
def where(condition: Tensor, input: Any, other: Any) -> MaskedTensor:
    """Of two masked tensors, each where `condition` says, with its mask."""
    if not (isinstance(input, MaskedTensor) and isinstance(other, MaskedTensor)) or isinstance(condition, MaskedTensor):
        raise TypeError("where: expected a condition and two masked tensors")
    return hidden(pointwise.where(condition, input._entries, other._entries), pointwise.where(condition, input._mask, other._mask))


def _convert(name: str) -> None:
    def call(self: MaskedTensor, *args: Any, **kwargs: Any) -> MaskedTensor:
        return self._with(getattr(self._entries, name)(*args, **kwargs))
    call.__name__ = name
    _handle(name)(call)


for _name in ("to", "double", "float", "half", "int", "long", "short", "bool", "cpu"):
    _convert(_name)


@_handle("ones_like")
def ones_like(input: MaskedTensor, **options: Any) -> MaskedTensor:
    """Ones under the same mask."""
    from torsh.tensor.creation import ones_like as dense
    with no_grad():
        return input._with(dense(input._entries, **options))


@_handle("item")
def item(self: MaskedTensor) -> Any:
    """The one number. Raises RuntimeError unless there is exactly one."""
    return self._entries.item()  # type: ignore[attr-defined]


@_handle("numpy")
def numpy(self: MaskedTensor, *, force: bool = False) -> NoReturn:
    raise RuntimeError(".numpy() is not supported for tensor subclasses.")


@_handle("tolist")
def tolist(self: MaskedTensor) -> NoReturn:
    raise RuntimeError(".tolist() is not supported for tensor subclasses, got MaskedTensor")


# ---- over dimensions


def _axes(dim: Any, ndim: int) -> tuple[int, ...]:
    return tuple(range(ndim)) if dim is None else tuple(int(d) % ndim for d in ((dim,) if isinstance(dim, (int, Integral)) else dim))


def _reduction(name: str, function: Callable[..., Tensor]) -> None:
    def call(input: MaskedTensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, **options: Any) -> MaskedTensor:
        more = dict(options, dtype=dtype) if dtype is not None else options
        found = function(input._entries, dim, keepdim=keepdim, mask=input._mask, **more)
        left = FUNCTIONS["any"](input._mask, _axes(dim, len(input._shape)), keepdim) if input._shape else input._mask
        return hidden(found, left)
    call.__name__ = name
    _handle(name)(call)


def _all(input: Tensor, dim: Any, *, keepdim: bool, mask: Tensor) -> Tensor:
    filled = pointwise.where(mask, cast_tensor(input, bool_), True)
    return FUNCTIONS["all"](filled) if dim is None else FUNCTIONS["all"](filled, dim, keepdim)  # type: ignore[no-any-return]


for _name in ("sum", "mean", "prod", "amax", "amin", "argmax", "argmin", "var", "std"):
    _reduction(_name, getattr(masked, _name))
_reduction("all", _all)


def _softmax(input: MaskedTensor, dim: int, dtype: Any = None, **options: Any) -> MaskedTensor:
    """Over what is not hidden, along a dimension."""
    return input._with(masked.softmax(input._entries, dim, dtype=dtype, mask=input._mask))


_handle("softmax")(_softmax)
install(MaskedTensor, ("add", "sub", "mul", "div"))
__all__ = ["MaskedTensor", "as_masked_tensor", "is_masked_tensor", "masked_tensor"]

"""What quantized tensors can do: dimensions are moved, values compared and ordered, and a few functions keep them quantized."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from torsh.core.dtypes import float32
from torsh.ops.dispatch import FUNCTIONS, late
from torsh.quantized.functions import dequantize, quantize_per_tensor
from torsh.quantized.scheme import qint32
from torsh.quantized.tensor import QuantizedTensor, decoded, encoded, quantized
from torsh.tensor.tensor import Tensor

_handle = QuantizedTensor.handle
_handle("dequantize")(dequantize)


def _one_scale(q: QuantizedTensor, what: str) -> None:
    if q._axis is not None:
        raise RuntimeError(f"{what}: expected a tensor quantized with one scale, got scheme {q.qscheme()!r}")


def _moved(name: str) -> None:
    method = getattr(Tensor, name)

    def call(self: QuantizedTensor, *args: Any, **kwargs: Any) -> QuantizedTensor:
        made = method(self._ints, *args, **kwargs)
        if self._axis is not None and made._shape != self._shape:
            raise RuntimeError(f"{name}: a tensor of shape {list(self._shape)} quantized by channel of axis {self._axis} cannot become {list(made._shape)}")
        if self._axis is not None and name in ("t", "transpose", "permute", "flip", "index_select"):
            raise RuntimeError(f"{name}: Setting strides is possible only on uniformly quantized tensor")
        return self.with_ints(made)
    call.__name__ = name
    _handle(name)(call)


for _name in ("view reshape t transpose permute contiguous flatten expand narrow view_as reshape_as expand_as index_select movedim flip repeat "
              "repeat_interleave unfold as_strided").split():
    if hasattr(Tensor, _name):
        _moved(_name)


@_handle("unsqueeze")
def unsqueeze(input: QuantizedTensor, dim: int) -> QuantizedTensor:
    """A dimension of one more."""
    made = input._ints.unsqueeze(dim)  # type: ignore[attr-defined]
    if input._axis is None:
        return input.with_ints(made)
    at = dim % len(made._shape)
    return quantized(made, input._dtype, input._scale, input._zero, input._axis + (at <= input._axis))


@_handle("squeeze")
def squeeze(input: QuantizedTensor, dim: Any = None) -> QuantizedTensor:
    """Without dimensions of one. Raises RuntimeError where the axis of the channels would go."""
    made = input._ints.squeeze() if dim is None else input._ints.squeeze(dim)  # type: ignore[attr-defined]
    if input._axis is None:
        return input.with_ints(made)
    n = len(input._shape)
    named = range(n) if dim is None else [d % n for d in ((dim,) if isinstance(dim, int) else dim)]
    gone = [d for d in named if input._shape[d] == 1]
    if input._axis in gone:
        raise RuntimeError(f"squeeze: axis {input._axis} of the channels cannot go")
    return quantized(made, input._dtype, input._scale, input._zero, input._axis - sum(d < input._axis for d in gone))


@_handle("select")
def select(input: QuantizedTensor, dim: int, index: int) -> QuantizedTensor:
    """One index of a dimension; of the axis of the channels, with that channel's scale alone."""
    made = input._ints.select(dim, index)  # type: ignore[attr-defined]
    if input._axis is None:
        return input.with_ints(made)
    at = dim % len(input._shape)
    if at == input._axis:
        return quantized(made, input._dtype, float(np.float32(input._scale[index].item())), int(input._zero[index].item()))
    return quantized(made, input._dtype, input._scale, input._zero, input._axis - (at < input._axis))


@_handle("__getitem__")
def getitem(input: QuantizedTensor, key: Any) -> QuantizedTensor:
    """As for other tensors. Of a tensor quantized by channel integers alone select. Raises RuntimeError for other keys there."""
    if input._axis is None:
        return input.with_ints(input._ints[key])
    made = input
    for k in key if isinstance(key, tuple) else (key,):
        if not isinstance(k, int) or isinstance(k, bool):
            raise RuntimeError(f"indexing of a tensor quantized by channel takes integers, got {k!r}")
        made = select(made, 0, k)
    return made


@_handle("__setitem__")
def setitem(input: QuantizedTensor, key: Any, value: Any) -> None:
    """Quantize numbers into a region. Raises RuntimeError for a tensor quantized by channel."""
    _one_scale(input, "__setitem__")
    numbers = decoded(value) if isinstance(value, QuantizedTensor) else FUNCTIONS["clone"](value) if isinstance(value, Tensor) else value
    part = decoded(input)
    part[key] = numbers
    input._ints.copy_(encoded(part, input._dtype, input._scale, input._zero))  # type: ignore[attr-defined]


@_handle("item")
def item(self: QuantizedTensor) -> float:
    """The one number. Raises RuntimeError unless there is exactly one."""
    return decoded(self).item()  # type: ignore[attr-defined,no-any-return]


@_handle("numpy")
def numpy(self: QuantizedTensor, *, force: bool = False) -> Any:
    raise TypeError(f"Got unsupported ScalarType {self._dtype.title}")


@_handle("tolist")
def tolist(self: QuantizedTensor) -> Any:
    raise RuntimeError("load_scalar: invalid type: use int_repr() or dequantize() first")


@_handle("to", "cpu")
def to(self: QuantizedTensor, *args: Any, **kwargs: Any) -> QuantizedTensor:
    """The same tensor; another device than the CPU, or another type, is a RuntimeError."""
    from torsh.core import devices
    from torsh.core.dtypes import dtype
    for a in (*args, *kwargs.values()):
        if isinstance(a, dtype) and a is not self._dtype:
            raise RuntimeError("Creation of quantized tensor requires quantized dtype like torch.quint8")
        if isinstance(a, (str, devices.device)):
            devices.require(a)
    return self


for _name in ("float", "double", "half", "int", "long", "bool", "bfloat16"):
    def _typed(self: QuantizedTensor) -> Any:
        raise RuntimeError("Creation of quantized tensor requires quantized dtype like torch.quint8")
    _handle(_name)(_typed)


# ---- values


def _numbers(x: Any) -> Any:
    return decoded(x) if isinstance(x, QuantizedTensor) else x


def _compared(name: str) -> None:
    def call(input: Any, other: Any) -> Any:
        return late(name)(_numbers(input), _numbers(other))
    call.__name__ = name
    _handle(name)(call)


for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    _compared(_name)


@_handle("equal")
def equal(input: Any, other: Any) -> bool:
    """Whether type, scheme, parameters and values are the same."""
    if not (isinstance(input, QuantizedTensor) and isinstance(other, QuantizedTensor)):
        raise RuntimeError("equal: expected two quantized tensors")
    if input._dtype is not other._dtype or input._axis != other._axis or input._shape != other._shape:
        return False
    if input._axis is None:
        same = input._scale == other._scale and input._zero == other._zero
    else:
        same = FUNCTIONS["equal"](input._scale, other._scale) and FUNCTIONS["equal"](input._zero, other._zero)
    return bool(same and FUNCTIONS["equal"](input._ints, other._ints))


def _clamped(q: QuantizedTensor, low: Any, high: Any, what: str) -> QuantizedTensor:
    _one_scale(q, what)
    if q._scale < 0:
        raise RuntimeError(f"{what}: the scale {q._scale} is negative")
    ends = [None if v is None else int(encoded(_scalar(float(v)), q._dtype, q._scale, q._zero).item()) for v in (low, high)]  # type: ignore[attr-defined]
    return q.with_ints(q._ints.clamp(*ends))  # type: ignore[attr-defined]


def _scalar(value: float) -> Tensor:
    from torsh.tensor.creation import tensor
    return tensor(value, dtype=float32)


@_handle("relu")
def relu(input: QuantizedTensor) -> QuantizedTensor:
    """At least 0."""
    return _clamped(input, 0.0, None, "relu")


@_handle("clamp", "clip")
def clamp(input: QuantizedTensor, min: Any = None, max: Any = None) -> QuantizedTensor:
    """At least `min`, at most `max`, as they are quantized."""
    return _clamped(input, min, max, "clamp")


def _in_place(name: str, function: Callable[..., QuantizedTensor]) -> None:
    def call(self: QuantizedTensor, *args: Any, **kwargs: Any) -> QuantizedTensor:
        self._ints.copy_(function(self, *args, **kwargs)._ints)  # type: ignore[attr-defined]
        return self
    call.__name__ = name
    _handle(name)(call)


_in_place("relu_", relu)
_in_place("clamp_", clamp)


@_handle("fill_")
def fill_(self: QuantizedTensor, value: float) -> QuantizedTensor:
    """One number everywhere, quantized."""
    return copy_(self, FUNCTIONS["expand_copy"](_scalar(float(value)), self._shape))


@_handle("copy_")
def copy_(self: QuantizedTensor, src: Tensor, non_blocking: bool = False) -> QuantizedTensor:
    """Take over another quantized tensor with its parameters, or quantize numbers with one's own. Raises RuntimeError for other shapes and types."""
    if not isinstance(self, QuantizedTensor):
        return self.copy_(decoded(src))  # type: ignore[arg-type]
    if isinstance(src, QuantizedTensor):
        if src._dtype is not self._dtype or src._shape != self._shape:
            raise RuntimeError("Quantized copy only works with Tensors with the same shape and dtype")
        self._ints, self._scale, self._zero, self._axis = src._ints.clone(), src._scale, src._zero, src._axis  # type: ignore[attr-defined]
        return self
    if src._dtype is not float32:
        raise RuntimeError(f"Quantized copy only works with kFloat as source Tensor, got {src._dtype}")
    from torsh.quantized.tensor import along
    zero = self._zero if self._axis is None else along(self._zero, self._axis, len(self._shape))
    scale = self._scale if self._axis is None else along(self._scale.float(), self._axis, len(self._shape))
    self._ints.copy_(encoded(src.detach().expand(self._shape), self._dtype, scale, zero))  # type: ignore[attr-defined]
    return self


@_handle("cat", "concat", "concatenate")
def cat(tensors: Sequence[QuantizedTensor], dim: int = 0) -> QuantizedTensor:
    """Tensors one after another, with the first one's parameters. Raises RuntimeError for other schemes and types."""
    first = tensors[0]
    for q in tensors:
        if not isinstance(q, QuantizedTensor) or q._axis is not None or q._dtype is not first._dtype:
            raise RuntimeError("Only per-tensor quantization is supported in 'cat'!")
    if all(q._scale == first._scale and q._zero == first._zero for q in tensors):
        return first.with_ints(FUNCTIONS["cat"]([q._ints for q in tensors], dim))
    return quantize_per_tensor(FUNCTIONS["cat"]([decoded(q) for q in tensors], dim), first._scale, first._zero, first._dtype)  # type: ignore[no-any-return]


def _ordered(name: str) -> None:
    method = getattr(Tensor, name)

    def call(self: QuantizedTensor, *args: Any, **kwargs: Any) -> Any:
        _one_scale(self, name)
        found = method(self._ints, *args, **kwargs)
        if isinstance(found, tuple):
            kind: Any = type(found)
            return kind(self.with_ints(found[0]), found[1])
        return self.with_ints(found)
    call.__name__ = name
    _handle(name)(call)


for _name in ("max", "min", "sort", "topk"):
    _ordered(_name)


@_handle("mean")
def mean(input: QuantizedTensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> QuantizedTensor:
    """The mean, quantized with the same parameters."""
    _one_scale(input, "mean")
    found = decoded(input).mean() if dim is None else decoded(input).mean(dim, keepdim)  # type: ignore[attr-defined]
    return quantize_per_tensor(found, input._scale, input._zero, input._dtype)  # type: ignore[no-any-return]


def _bounded(name: str, scale: float, middle: bool) -> None:
    """A function whose range is known, so that its result has parameters of its own."""
    def call(input: QuantizedTensor) -> QuantizedTensor:
        _one_scale(input, name)
        wide = input._dtype is qint32
        step = scale if not wide else scale / 2.0 ** 24
        least = {"quint8": 0, "qint8": -128, "qint32": -2 ** 31}[input._dtype.name]
        return quantize_per_tensor(late(name)(decoded(input)), step, least + (128 if not wide else 2 ** 31) if middle else least, input._dtype)  # type: ignore[no-any-return]
    call.__name__ = name
    _handle(name)(call)


_bounded("sigmoid", 1.0 / 256.0, False)
_bounded("tanh", 2.0 / 256.0, True)

__all__ = ["cat", "clamp", "copy_", "equal", "mean", "relu", "select", "squeeze", "unsqueeze"]

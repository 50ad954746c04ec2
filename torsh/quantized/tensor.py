"""Quantized tensors: integers that stand for numbers, with one scale and zero point, or one of each for every index of an axis."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from torsh.core.dtypes import dtype, float32, float64, int32, int64
from torsh.core.layouts import layout, strided
from torsh.ops.composed import Composed, bare
from torsh.ops.dispatch import cast_tensor
from torsh.ops.pointwise import round as rounded
from torsh.ops.views import clone as clone_dense
from torsh.quantized.scheme import HELD, limits, per_channel_affine, per_channel_affine_float_qparams, per_tensor_affine, qscheme
from torsh.tensor.printing import _values as shown_numbers
from torsh.tensor.printing import _with_suffixes as with_suffixes
from torsh.tensor.tensor import Tensor


class QuantizedTensor(Composed):
    """Integers [shape] with a scale and a zero point: numbers, or tensors [size of the axis] for a scheme by channel."""
    handlers: dict[str, Any] = {}
    backend = "QuantizedCPU"
    _ints: Tensor
    _scale: Any
    _zero: Any
    _axis: int | None

    @property
    def layout(self) -> layout:
        return strided

    @property
    def is_quantized(self) -> bool:  # type: ignore[override]
        return True

    @property
    def requires_grad(self) -> bool:
        return False

    @property
    def grad_fn(self) -> Any:
        return None

    @property
    def is_leaf(self) -> bool:
        return True

    @property
    def grad(self) -> Any:
        return None

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        """Raises RuntimeError: only floating tensors can require gradients."""
        if requires_grad:
            raise RuntimeError("only Tensors of floating point dtype can require gradients")
        return self

    @property
    def data(self) -> Any:
        return self.detach()

    def stride(self, dim: int | None = None) -> Any:
        return self._ints.stride(dim)

    def is_contiguous(self, memory_format: Any = None) -> bool:
        return self._ints.is_contiguous(memory_format)

    def __len__(self) -> int:
        return len(self._ints)

    def qscheme(self) -> qscheme:
        """How values stand for numbers."""
        if self._axis is None:
            return per_tensor_affine
        return per_channel_affine if self._zero._dtype is int64 else per_channel_affine_float_qparams

    def with_ints(self, ints: Tensor) -> QuantizedTensor:
        """Other values with the same parameters."""
        return quantized(ints, self._dtype, self._scale, self._zero, self._axis)

    def detach(self) -> QuantizedTensor:
        """The same tensor: there is no history."""
        return self.with_ints(self._ints)

    def clone(self, *, memory_format: Any = None) -> QuantizedTensor:
        """A copy of its own."""
        return self.with_ints(clone_dense(self._ints, memory_format=memory_format))

    def __deepcopy__(self, memo: dict[int, Any]) -> QuantizedTensor:
        made = memo[id(self)] = self.clone()
        return made

    def __reduce_ex__(self, proto: Any) -> Any:
        return quantized, (self._ints, self._dtype, self._scale, self._zero, self._axis)

    def __repr__(self, *, tensor_contents: str | None = None) -> str:
        numbers = decoded(self)
        suffixes = [f"size={tuple(self._shape)}", f"dtype={self._dtype!r}", f"quantization_scheme={self.qscheme()!r}"]
        if self._axis is None:
            suffixes += [f"scale={self._scale}", f"zero_point={self._zero}"]
        else:
            suffixes += [f"scale={self._scale}", f"zero_point={self._zero}", f"axis={self._axis}"]
        inside = shown_numbers(np.asarray(numbers._window()), float32, self._shape, 7) if numbers.numel() else "[]"
        return with_suffixes("tensor(" + inside, suffixes, 7)

    __str__ = __repr__


def quantized(ints: Tensor, dt: dtype, scale: Any, zero: Any, axis: int | None = None) -> QuantizedTensor:
    """A quantized tensor of parts that are known to fit."""
    made: QuantizedTensor = bare(QuantizedTensor, ints._shape, dt)
    made._ints, made._scale, made._zero, made._axis = ints, scale, zero, axis
    return made


def along(t: Tensor, axis: int, ndim: int) -> Tensor:
    """[n] in the place of an axis, to be broadcast."""
    return t.reshape([-1 if d == axis else 1 for d in range(ndim)])  # type: ignore[attr-defined,no-any-return]


def parameters_of(q: QuantizedTensor) -> tuple[Any, Any]:
    """(scale, zero point) in float32, to be broadcast with the integers."""
    if q._axis is None:
        return float(np.float32(q._scale)), float(q._zero)
    n = len(q._shape)
    return along(cast_tensor(q._scale, float32), q._axis, n), along(cast_tensor(q._zero, float32), q._axis, n)


def decoded(q: QuantizedTensor) -> Tensor:
    """The numbers that a quantized tensor stands for: float32."""
    scale, zero = parameters_of(q)
    if q._axis is not None and q._zero._dtype is not int64:  # a floating zero point is in units of the numbers
        return cast_tensor(q._ints, float32) * scale + zero
    if q._ints._dtype is int32 and q._axis is None:  # in integers, which wrap, as PyTorch's
        return cast_tensor(q._ints - q._zero, float32) * scale
    return (cast_tensor(q._ints, float32) - zero) * scale


def inverse(scale: Any) -> Any:
    """1 / scale in float32."""
    return 1.0 / scale if isinstance(scale, Tensor) else float(np.float32(1) / np.float32(scale))


def encoded(x: Tensor, dt: dtype, scale: Any, zero: Any) -> Tensor:
    """The integers that stand for numbers best, within the range of the type: x / scale + zero point, rounded to float32 and then to whole
    numbers, halves to even. One scale for 8 bits multiplies and adds with one rounding (as FBGEMM's fused instruction), the others with two."""
    least, most = limits(dt)
    if isinstance(scale, Tensor) or dt.itemsize == 4:
        near = x * inverse(scale) + (cast_tensor(zero, float32) if isinstance(zero, Tensor) else zero)
    else:
        near = cast_tensor(cast_tensor(x, float64) * inverse(scale) + zero, float32)
    return cast_tensor(cast_tensor(rounded(near), float64).clamp(least, most), HELD[dt])  # type: ignore[attr-defined]


def is_quantized_type(dt: dtype, what: str) -> None:
    if dt not in HELD:
        raise RuntimeError(f"{what}: ScalarType {dt.title} is not supported in new_qtensor: expected torsh.quint8, torsh.qint8 or torsh.qint32")


def floats(x: Any, what: str) -> Tensor:
    if not isinstance(x, Tensor) or isinstance(x, Composed) or x._dtype is not float32:
        raise RuntimeError(f"{what}: Quantize only works on Float Tensor, got {x._dtype.title if isinstance(x, Tensor) else type(x).__name__}")
    return x.detach()  # type: ignore[attr-defined,no-any-return]


def sizes_of(given: Iterable[Any]) -> tuple[int, ...]:
    return tuple(int(n) for n in given)


__all__ = ["QuantizedTensor", "along", "decoded", "encoded", "floats", "is_quantized_type", "parameters_of", "quantized", "sizes_of"]

"""Complex numbers: parts and conjugates, real and complex views of one memory, angles and polar form.

Gradients follow PyTorch's convention: for a real loss L and z = x + iy the gradient of z is dL/dx + i dL/dy, so a holomorphic f
sends a gradient g to g * conj(f'(z)), and the gradient's memory read as reals is the gradient of `view_as_real(z)`.
A conjugate view stands on a storage of its own that mirrors the other (see `tensor.storage`); nothing carries a conjugate or negative bit.
"""
from __future__ import annotations

import math
from typing import Any

import numpy as np

from torsh.autograd.autocast import in_full_precision
from torsh.autograd.graph import GradNode
from torsh.core.dtypes import bool_, float32, float64
from torsh.core.layouts import contiguous_format
from torsh.graph.node import Node, Op
from torsh.graph.primitives import CONJ
from torsh.ops.dispatch import apply, cast_tensor, coarse, pointwise, public, recorded
from torsh.ops.pointwise import atan2, cos, eq, float_type, sin, where
from torsh.ops.views import mixed_view, real_geometry, transpose, zeros_like_shape
from torsh.tensor.tensor import Tensor, alias


def _conj_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    return conj_physical(g)


CONJ.vjp = _conj_vjp
_CONJ_VIEW = Op("conj_view", "history", None, None, _conj_vjp, grad_name="ConjBackward0")


@public()
def conj(input: Tensor) -> Tensor:
    """A view of the complex conjugate: writing to it or to `input` changes both. A real tensor is returned itself.

    >>> import torsh
    >>> torsh.conj(torsh.tensor([1 + 2j]))
    tensor([1.-2.j])
    """
    if not input._dtype.is_complex:
        return input
    storage = input._storage
    if storage.node.dtype is not input._dtype or (storage.outside is not None and storage.shared()):
        return conj_physical(input)  # complex numbers over reals, or over an array outside, have no mirror
    out = alias(input, input._shape, input._strides, input._offset)
    out._storage = storage.conjugated()
    out._base = input if input._base is None else input._base
    out._view_version = storage.version
    return recorded(_CONJ_VIEW, None, (input,), out)


@public(inplace=True, out=True)
def conj_physical(input: Tensor) -> Tensor:
    """The complex conjugate in new memory; a real tensor is returned itself."""
    return apply(CONJ, (input,), None, input._shape, input._dtype) if input._dtype.is_complex else input


@public()
def resolve_conj(input: Tensor) -> Tensor:
    """The tensor itself, or a copy of its values if it is a conjugate view."""
    return input.clone() if is_conj(input) else input


@public()
def resolve_neg(input: Tensor) -> Tensor:
    """The tensor itself: negatives are always computed."""
    return input


@public()
def is_conj(input: Tensor) -> bool:
    """Whether the tensor is a conjugate view (see `conj`)."""
    return input._storage.conjugate and input._dtype.is_complex


@public()
def is_neg(input: Tensor) -> bool:
    """Whether the tensor is an unresolved negative view: never, since negatives are computed."""
    return False


@public()
def adjoint(input: Tensor) -> Tensor:
    """The last two dimensions exchanged and conjugated. Raises RuntimeError for one dimension."""
    if len(input._shape) == 1:
        raise RuntimeError("tensor.adjoint() is only supported on matrices or batches of matrices. Got 1-D tensor.")
    return conj(transpose(input, -2, -1)) if input._shape else conj(input)


def _hermitian(self: Tensor) -> Tensor:
    if len(self._shape) not in (0, 2):
        raise RuntimeError(f"tensor.H is only supported on matrices (2-D tensors). Got {len(self._shape)}-D tensor."
                           f"{' For batches of matrices, consider using tensor.mH' if len(self._shape) > 2 else ''}")
    return adjoint(self)


# ---- one memory as reals and as complex numbers

def _as_real_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    return view_as_complex(_pairs(g))


def _as_complex_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    return view_as_real(g)


_AS_REAL = Op("view_as_real", "history", None, None, _as_real_vjp)
_AS_COMPLEX = Op("view_as_complex", "history", None, None, _as_complex_vjp)


def _pairs(g: Tensor) -> Tensor:
    """A gradient whose last dimension can be read as complex numbers."""
    ok = g._strides is None or (g._strides[-1] == 1 and not any(s % 2 for s in g._strides[:-1]))
    return g if ok and not g._offset % 2 else g.clone(memory_format=contiguous_format)


@public()
def view_as_real(input: Tensor) -> Tensor:
    """A view of complex numbers [*] as reals [*, 2]. Raises RuntimeError for a real tensor.

    >>> import torsh
    >>> torsh.view_as_real(torsh.tensor([1 + 2j]))
    tensor([[1., 2.]])
    """
    if not input._dtype.is_complex:
        raise RuntimeError("view_as_real is only supported for complex tensors")
    if is_conj(input):
        raise RuntimeError("view_as_real doesn't work on unresolved conjugated tensors.  To resolve the conjugate tensor so you can view it as real, use "
                           "self.resolve_conj(); however, be warned that the resulting tensor will NOT alias the original.")
    return mixed_view(input, real_geometry(input._shape, input.stride(), input._offset), input._dtype.to_real(), _AS_REAL)


@public()
@in_full_precision
def view_as_complex(input: Tensor) -> Tensor:
    """A view of reals [*, 2] as complex numbers [*].

    Raises RuntimeError unless the dtype is float32 or float64, the last dimension has size 2 and stride 1, and the other strides
    and the storage offset are even.
    """
    if input._dtype not in (float32, float64):
        raise RuntimeError(f"view_as_complex is only supported for half, float and double tensors, but got a tensor of scalar type: {input._dtype.title}")
    if not input._shape:
        raise RuntimeError("Input tensor must have one or more dimensions")
    if input._shape[-1] != 2:
        raise RuntimeError("Tensor must have a last dimension of size 2")
    strides = input.stride()
    if strides[-1] != 1:
        raise RuntimeError("Tensor must have a last dimension with stride 1")
    if any(s % 2 for s in strides[:-1]):
        raise RuntimeError("Tensor must have a stride divisible by 2 for all but last dimension")
    if input._offset % 2:
        raise RuntimeError("Tensor must have a storage_offset divisible by 2")
    geometry = input._shape[:-1], tuple([s // 2 for s in strides[:-1]]), input._offset // 2
    return mixed_view(input, geometry, input._dtype.to_complex(), _AS_COMPLEX)


def _part(t: Tensor, at: int, op: Op) -> Tensor:
    geometry = t._shape, tuple([2 * s for s in t.stride()]), 2 * t._offset + at
    return mixed_view(t, geometry, t._dtype.to_real(), op)


_REAL = Op("real", "history", None, None, lambda ctx, g: cast_tensor(g, ctx.dtypes[0]))
def _imag_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    return complex_(zeros_like_shape((), g), g)


_IMAG = Op("imag", "history", None, None, _imag_vjp)


@public("real", method=False)
def real_of(input: Tensor) -> Tensor:
    """A view of the real parts; a real tensor is returned itself."""
    return _part(input, 0, _REAL) if input._dtype.is_complex else input


@public("imag", method=False)
def imag_of(input: Tensor) -> Tensor:
    """A view of the imaginary parts. Raises RuntimeError for a real tensor."""
    if not input._dtype.is_complex:
        raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")
    return _part(input, 1, _IMAG)


def _set_part(part: Any) -> Any:
    def setter(self: Tensor, value: Any) -> None:
        part(self).copy_(value)
    return setter


Tensor.real = property(real_of, _set_part(real_of))  # type: ignore[attr-defined]
Tensor.imag = property(imag_of, _set_part(imag_of))  # type: ignore[attr-defined]
Tensor.H = property(_hermitian)  # type: ignore[attr-defined]
Tensor.mH = property(adjoint)  # type: ignore[attr-defined]


@public()
def isreal(input: Tensor) -> Tensor:
    """Whether the imaginary part of each element is zero."""
    return eq(imag_of(input), 0) if input._dtype.is_complex else zeros_like_shape(input._shape, input).to(bool_).logical_not()  # type: ignore[no-any-return]


# ---- made of two reals


def _join(node: Node, re: Any, im: Any) -> Any:
    out = np.empty(node.shape, node.dtype.np)
    out.real, out.imag = re, im
    return out


_COMPLEX = Op("complex", "pointwise", _join, None, lambda ctx, g: (real_of(g), imag_of(g)))


@public("complex", method=False, out="exact")
def complex_(real: Tensor, imag: Tensor) -> Tensor:
    """`real + i imag`, broadcast. Raises RuntimeError unless both are float32 or both float64."""
    _floats("complex", real, imag)
    dt = real._dtype
    return pointwise(_COMPLEX, (real, imag), dt, dt.to_complex(), "complex")


def _floats(what: str, a: Tensor, b: Tensor) -> None:
    if a._dtype not in (float32, float64) or b._dtype not in (float32, float64):
        raise RuntimeError(f"{what}: Expected both inputs to be Half, Float or Double tensors but got {a._dtype.title} and {b._dtype.title}")
    if a._dtype is not b._dtype:
        raise RuntimeError(f"{what}: Expected object of scalar type {a._dtype.title} but got scalar type {b._dtype.title} for second argument")


@public(method=False, out="exact")
@in_full_precision
def polar(abs: Tensor, angle: Tensor) -> Tensor:
    """`abs * (cos(angle) + i sin(angle))`, broadcast. Raises RuntimeError unless both are float32 or both float64."""
    _floats("polar", abs, angle)
    return complex_(abs * cos(angle), abs * sin(angle))


def _angle(z: Tensor) -> Tensor:
    return atan2(imag_of(z), real_of(z))


def _angle_vjp(ctx: GradNode, g: Tensor) -> Tensor:
    """The angle is the imaginary part of log z, so its gradient is i z / |z|^2; 0 where z is 0."""
    z = ctx[0]
    size = z.real * z.real + z.imag * z.imag
    none = eq(size, 0)
    return where(none, zeros_like_shape((), z), g * (z / where(none, zeros_like_shape((), size) + 1, size)) * 1j)  # type: ignore[no-any-return]


_ANGLE = coarse("angle", _angle, _angle_vjp, (0,))


@public(out=True)
def angle(input: Tensor) -> Tensor:
    """The angle of each complex number in (-pi, pi]; of a real one 0, or pi when it is negative (NaN of NaN)."""
    if input._dtype.is_complex:
        return apply(_ANGLE, (input,), (), input._shape, input._dtype.to_real())
    x = cast_tensor(input, float_type(input._dtype))
    return where(x < 0, zeros_like_shape((), x) + math.pi, x * 0 if x._dtype.category < 2 else where(x == x, zeros_like_shape((), x), x))  # type: ignore[no-any-return]


def as_complex(t: Tensor) -> Tensor:
    """A real tensor as complex numbers of its precision (integers and half types as complex64)."""
    return t if t._dtype.is_complex else cast_tensor(t, t._dtype.to_complex())


__all__ = ["adjoint", "angle", "as_complex", "complex_", "conj", "conj_physical", "imag_of", "polar", "real_of", "view_as_complex", "view_as_real"]

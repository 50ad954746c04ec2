"""Transforms of vectors and matrices: to the simplex, to triangular, positive definite and correlation matrices."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torsh.distributions import constraints
from torsh.distributions.transform import Transform
from torsh.distributions.utils import limits, tril_matrix_to_vec, vec_to_tril_matrix
from torsh.ops.activation import logsigmoid, softplus
from torsh.ops.pad import pad
from torsh.tensor.creation import eye, ones_like
from torsh.tensor.tensor import Tensor


class SoftmaxTransform(Transform):
    """y = softmax(x) over the last dimension. No bijection: the inverse is one of many."""
    domain = constraints.real_vector
    codomain = constraints.simplex

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SoftmaxTransform)

    __hash__ = object.__hash__

    def _call(self, x: Tensor) -> Tensor:
        return x.softmax(-1)  # type: ignore[no-any-return]

    def _inverse(self, y: Tensor) -> Tensor:
        return y.log()  # type: ignore[no-any-return]

    def forward_shape(self, shape: Sequence[int]) -> Sequence[int]:
        if len(shape) < 1:
            raise ValueError("Too few dimensions on input")
        return shape

    inverse_shape = forward_shape


class StickBreakingTransform(Transform):
    """[*, k-1] numbers to the simplex [*, k]: each breaks a share off what the ones before left of a stick."""
    domain = constraints.real_vector
    codomain = constraints.simplex
    bijective = True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StickBreakingTransform)

    __hash__ = object.__hash__

    def _offset(self, x: Tensor) -> Tensor:
        n = x._shape[-1]
        return n + 1 - ones_like(x).cumsum(-1)  # type: ignore[attr-defined,no-any-return]

    def _call(self, x: Tensor) -> Tensor:
        z = (x - self._offset(x).log()).sigmoid()  # type: ignore[attr-defined]
        left = (1 - z).cumprod(-1)
        return pad(z, (0, 1), value=1) * pad(left, (1, 0), value=1)

    def _inverse(self, y: Tensor) -> Tensor:
        crop = y[..., :-1]
        left = (1 - crop.cumsum(-1)).clamp(min=float(limits(y.dtype).tiny))
        return crop.log() - left.log() + self._offset(crop).log()  # type: ignore[attr-defined,no-any-return]

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        x = x - self._offset(x).log()  # type: ignore[attr-defined]
        return (-x + logsigmoid(x) + y[..., :-1].log()).sum(-1)  # type: ignore[no-any-return]

    def forward_shape(self, shape: Sequence[int]) -> Sequence[int]:
        if len(shape) < 1:
            raise ValueError("Too few dimensions on input")
        return (*shape[:-1], shape[-1] + 1)

    def inverse_shape(self, shape: Sequence[int]) -> Sequence[int]:
        if len(shape) < 1:
            raise ValueError("Too few dimensions on input")
        return (*shape[:-1], shape[-1] - 1)


class LowerCholeskyTransform(Transform):
    """Square matrices to lower triangular ones with a positive diagonal, which is exponentiated. No bijection."""
    domain = constraints.independent(constraints.real, 2)
    codomain = constraints.lower_cholesky

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LowerCholeskyTransform)

    __hash__ = object.__hash__

    def _call(self, x: Tensor) -> Tensor:
        return x.tril(-1) + x.diagonal(dim1=-2, dim2=-1).exp().diag_embed()  # type: ignore[no-any-return]

    def _inverse(self, y: Tensor) -> Tensor:
        return y.tril(-1) + y.diagonal(dim1=-2, dim2=-1).log().diag_embed()  # type: ignore[no-any-return]


class PositiveDefiniteTransform(Transform):
    """Square matrices to positive definite ones, through a Cholesky factor. No bijection."""
    domain = constraints.independent(constraints.real, 2)
    codomain = constraints.positive_definite

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PositiveDefiniteTransform)

    __hash__ = object.__hash__

    def _call(self, x: Tensor) -> Tensor:
        factor = LowerCholeskyTransform()(x)
        return factor @ factor.mT  # type: ignore[no-any-return]

    def _inverse(self, y: Tensor) -> Tensor:
        from torsh.linalg import cholesky
        return LowerCholeskyTransform().inv(cholesky(y))  # type: ignore[no-any-return]


class CorrCholeskyTransform(Transform):
    """[*, k (k - 1) / 2] numbers to Cholesky factors of correlation matrices, [*, k, k].

    Lewandowski, Kurowicka & Joe 2009: tanh gives canonical partial correlations, and stick breaking makes rows of length 1 of them.
    """
    domain = constraints.real_vector
    codomain = constraints.corr_cholesky
    bijective = True

    def _call(self, x: Tensor) -> Tensor:
        eps = float(limits(x.dtype).eps)
        r = vec_to_tril_matrix(x.tanh().clamp(min=-1 + eps, max=1 - eps), diag=-1)
        left = (1 - r ** 2).sqrt().cumprod(-1)
        r = r + eye(r._shape[-1], dtype=r.dtype)
        return r * pad(left[..., :-1], (1, 0), value=1)

    def _inverse(self, y: Tensor) -> Tensor:
        left = 1 - (y * y).cumsum(-1)
        before = pad(left[..., :-1], (1, 0), value=1)
        t = tril_matrix_to_vec(y, diag=-1) / tril_matrix_to_vec(before, diag=-1).sqrt()  # type: ignore[attr-defined]
        return ((1 + t) / (1 - t)).log() / 2  # type: ignore[no-any-return]

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor, intermediates: Any = None) -> Tensor:
        left = 1 - (y * y).cumsum(-1)
        breaks = 0.5 * tril_matrix_to_vec(left, diag=-2).log().sum(-1) if y._shape[-1] > 1 else 0.0  # type: ignore[attr-defined]
        return breaks - 2 * (x + softplus(-2 * x) - math.log(2.0)).sum(-1)  # type: ignore[no-any-return]

    def forward_shape(self, shape: Sequence[int]) -> Sequence[int]:
        if len(shape) < 1:
            raise ValueError("Too few dimensions on input")
        n = shape[-1]
        d = round((0.25 + 2 * n) ** 0.5 + 0.5)
        if d * (d - 1) // 2 != n:
            raise ValueError("Input is not a flattened lower-diagonal number")
        return (*shape[:-1], d, d)

    def inverse_shape(self, shape: Sequence[int]) -> Sequence[int]:
        if len(shape) < 2:
            raise ValueError("Too few dimensions on input")
        if shape[-2] != shape[-1]:
            raise ValueError("Input is not square")
        return (*shape[:-2], shape[-1] * (shape[-1] - 1) // 2)


__all__ = ["CorrCholeskyTransform", "LowerCholeskyTransform", "PositiveDefiniteTransform", "SoftmaxTransform", "StickBreakingTransform"]

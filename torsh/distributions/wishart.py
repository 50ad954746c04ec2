"""The Wishart distribution."""
from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from numbers import Number
from typing import Any

from torsh.core.shapes import broadcast
from torsh.distributions import constraints
from torsh.distributions.chi2 import Chi2
from torsh.distributions.exp_family import ExponentialFamily
from torsh.distributions.multivariate_normal import half_log_det, precision_to_scale_tril
from torsh.distributions.utils import holds, lazy_property, log_multigamma
from torsh.ops.matrix import tril_indices
from torsh.ops.pointwise import where
from torsh.ops.random import randn
from torsh.tensor.creation import arange, tensor
from torsh.tensor.tensor import Size, Tensor


class Wishart(ExponentialFamily):
    """Sums of outer products of `df` normal vectors: positive definite matrices [*, n, n].

    The scale matrix is given by itself, its inverse or its lower Cholesky factor. Raises ValueError unless exactly one is, for `df` not above n - 1, and
    for shapes with too few dimensions.
    """
    arg_constraints = {"covariance_matrix": constraints.positive_definite, "precision_matrix": constraints.positive_definite,
                       "scale_tril": constraints.lower_cholesky, "df": constraints.greater_than(0)}
    support = constraints.positive_definite
    has_rsample = True
    _mean_carrier_measure = 0

    def __init__(self, df: Any, covariance_matrix: Tensor | None = None, precision_matrix: Tensor | None = None, scale_tril: Tensor | None = None,
                 validate_args: bool | None = None) -> None:
        from torsh.linalg.factor import cholesky
        given = {k: v for k, v in (("covariance_matrix", covariance_matrix), ("precision_matrix", precision_matrix), ("scale_tril", scale_tril))
                 if v is not None}
        if len(given) != 1:
            raise ValueError("Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified.")
        (name, matrix), = given.items()
        if matrix.dim() < 2:
            raise ValueError("scale_tril must be at least two-dimensional, with optional leading batch dimensions")
        number = isinstance(df, Number)
        batch = matrix._shape[:-2] if number else broadcast(matrix._shape[:-2], df._shape, "Wishart")
        n = matrix._shape[-1]
        self.df = (tensor(df, dtype=matrix.dtype) if number else df).expand(batch)
        if not holds(self.df > n - 1):
            raise ValueError(f"Value of df={df} expected to be greater than ndim - 1 = {n - 1}.")
        setattr(self, name, matrix.expand((*batch, -1, -1)))  # type: ignore[attr-defined]
        super().__init__(batch, matrix._shape[-2:], validate_args=validate_args)
        if not holds(self.df >= n):
            warnings.warn("Low df values detected. Singular samples are highly likely to occur for ndim - 1 < df < ndim.", stacklevel=2)
        self._unbroadcasted_scale_tril = (matrix if name == "scale_tril" else cholesky(matrix) if name == "covariance_matrix"
                                          else precision_to_scale_tril(matrix))
        self._dist_chi2 = Chi2(self.df.unsqueeze(-1) - arange(n, dtype=matrix.dtype).expand((*batch, -1)))  # type: ignore[attr-defined]

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Any:
        new = self._get_checked_instance(Wishart, _instance)
        new.__dict__.update(self.__dict__)
        for name in ("covariance_matrix", "precision_matrix", "scale_tril"):
            if name in self.__dict__:
                setattr(new, name, self.__dict__[name].expand((*batch_shape, *self._event_shape)))
        new.df = self.df.expand(batch_shape)
        new._dist_chi2 = self._dist_chi2.expand((*batch_shape, self._event_shape[-1]))
        new._batch_shape = Size(batch_shape)
        return new

    def _matrix(self, value: Tensor) -> Tensor:
        return value.expand(self._batch_shape + self._event_shape)  # type: ignore[attr-defined,no-any-return]

    @lazy_property
    def scale_tril(self) -> Tensor:
        """The lower Cholesky factor of the scale matrix."""
        return self._matrix(self._unbroadcasted_scale_tril)

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        """The scale matrix."""
        return self._matrix(self._unbroadcasted_scale_tril @ self._unbroadcasted_scale_tril.mT)  # type: ignore[attr-defined]

    @lazy_property
    def precision_matrix(self) -> Tensor:
        """The inverse of the scale matrix."""
        from torsh.linalg.triangular import cholesky_inverse
        return self._matrix(cholesky_inverse(self._unbroadcasted_scale_tril))

    def _df(self) -> Tensor:
        return self.df.reshape(*self._batch_shape, 1, 1)  # type: ignore[attr-defined,no-any-return]

    @property
    def mean(self) -> Tensor:
        return self._df() * self.covariance_matrix

    @property
    def mode(self) -> Tensor:
        factor = self._df() - self._event_shape[-1] - 1
        return where(factor > 0, factor, math.nan) * self.covariance_matrix  # type: ignore[no-any-return]

    @property
    def variance(self) -> Tensor:
        v = self.covariance_matrix
        diagonal = v.diagonal(dim1=-2, dim2=-1)  # type: ignore[attr-defined]
        return self._df() * (v.pow(2) + diagonal.unsqueeze(-1) * diagonal.unsqueeze(-2))  # type: ignore[attr-defined,no-any-return]

    def rsample(self, sample_shape: Sequence[int] = (), max_try_correction: int | None = None) -> Tensor:
        """Bartlett's decomposition: a lower triangle of normal numbers with roots of chi-squared ones on the diagonal."""
        p = self._event_shape[-1]
        noise = self._dist_chi2.rsample(sample_shape).sqrt().diag_embed()  # type: ignore[attr-defined]
        i, j = tril_indices(p, p, offset=-1).unbind()  # type: ignore[attr-defined]
        noise[..., i, j] = randn(*sample_shape, *self._batch_shape, p * (p - 1) // 2, dtype=noise.dtype)
        chol = self._unbroadcasted_scale_tril @ noise
        return chol @ chol.mT  # type: ignore[no-any-return]

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        from torsh.linalg.systems import slogdet
        from torsh.linalg.triangular import cholesky_solve
        nu, p, L = self.df, self._event_shape[-1], self._unbroadcasted_scale_tril
        trace = cholesky_solve(value, L.expand(value.shape)).diagonal(dim1=-2, dim2=-1).sum(-1)  # type: ignore[attr-defined]
        return (-nu * (p * math.log(2) / 2 + half_log_det(L)) - log_multigamma(nu / 2, p)
                + (nu - p - 1) / 2 * slogdet(value)[1] - trace / 2)  # type: ignore[no-any-return]

    def entropy(self) -> Tensor:
        nu, p = self.df, self._event_shape[-1]
        digamma = (nu.unsqueeze(-1) / 2 - arange(p, dtype=nu.dtype) / 2).digamma().sum(-1)  # type: ignore[attr-defined]
        return ((p + 1) * (p * math.log(2) / 2 + half_log_det(self._unbroadcasted_scale_tril)) + log_multigamma(nu / 2, p)
                - (nu - p - 1) / 2 * digamma + nu * p / 2)

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return -self.precision_matrix / 2, (self.df - self._event_shape[-1] - 1) / 2

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        from torsh.linalg.systems import slogdet
        x, y = natural_params
        p = self._event_shape[-1]
        return (y + (p + 1) / 2) * (-slogdet(-2 * x)[1] + math.log(2) * p) + log_multigamma(y + (p + 1) / 2, p)  # type: ignore[no-any-return]


__all__ = ["Wishart"]

"""The multivariate normal distribution."""
from __future__ import annotations

import math
from collections.abc import Sequence

from torsh.core.shapes import broadcast
from torsh.distributions import constraints
from torsh.distributions.distribution import Distribution
from torsh.distributions.utils import lazy_property, standard_normal
from torsh.tensor.creation import eye
from torsh.tensor.tensor import Tensor


def batch_mv(matrix: Tensor, vector: Tensor) -> Tensor:
    """[*, n, k] times [*, k], broadcast."""
    return (matrix @ vector.unsqueeze(-1)).squeeze(-1)  # type: ignore[attr-defined,no-any-return]


def batch_mahalanobis(factor: Tensor, x: Tensor) -> Tensor:
    """x' M^-1 x for M = factor factor', lower triangular [*, n, n], and x [*, n], broadcast."""
    from torsh.linalg.triangular import solve_triangular
    if factor.dim() == 2:  # one factor: all vectors are columns of one right-hand side
        columns = x.reshape(-1, x.shape[-1]).t()  # type: ignore[attr-defined]
        return solve_triangular(factor, columns, upper=False).pow(2).sum(0).reshape(x.shape[:-1])  # type: ignore[attr-defined,no-any-return]
    return solve_triangular(factor, x.unsqueeze(-1), upper=False).pow(2).sum((-2, -1))  # type: ignore[attr-defined,no-any-return]


def precision_to_scale_tril(precision: Tensor) -> Tensor:
    """The lower Cholesky factor of the inverse, from the factor of the matrix turned around."""
    from torsh.linalg.factor import cholesky
    from torsh.linalg.triangular import solve_triangular
    turned = cholesky(precision.flip(-2, -1)).flip(-2, -1).mT  # type: ignore[attr-defined]
    return solve_triangular(turned, eye(precision.shape[-1], dtype=precision.dtype).expand(turned.shape), upper=False)  # type: ignore[attr-defined]


def half_log_det(factor: Tensor) -> Tensor:
    """The sum of the logarithms of the diagonal."""
    return factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)  # type: ignore[attr-defined,no-any-return]


class MultivariateNormal(Distribution):
    """Normal vectors [*, n] with mean `loc` and a covariance given by itself, its inverse or its lower Cholesky factor.

    Raises ValueError unless exactly one of the three is given, and for shapes with too few dimensions.
    """
    arg_constraints = {"loc": constraints.real_vector, "covariance_matrix": constraints.positive_definite,
                       "precision_matrix": constraints.positive_definite, "scale_tril": constraints.lower_cholesky}
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc: Tensor, covariance_matrix: Tensor | None = None, precision_matrix: Tensor | None = None, scale_tril: Tensor | None = None,
                 validate_args: bool | None = None) -> None:
        from torsh.linalg.factor import cholesky
        if loc.dim() < 1:
            raise ValueError("loc must be at least one-dimensional.")
        given = {k: v for k, v in (("covariance_matrix", covariance_matrix), ("scale_tril", scale_tril), ("precision_matrix", precision_matrix))
                 if v is not None}
        if len(given) != 1:
            raise ValueError("Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified.")
        (name, matrix), = given.items()
        if matrix.dim() < 2:
            raise ValueError(f"{name} {'matrix ' if name == 'scale_tril' else ''}must be at least two-dimensional, with optional leading batch dimensions")
        batch = broadcast(matrix._shape[:-2], loc._shape[:-1], "MultivariateNormal")
        setattr(self, name, matrix.expand((*batch, -1, -1)))  # type: ignore[attr-defined]
        self.loc = loc.expand((*batch, -1))  # type: ignore[attr-defined]
        super().__init__(batch, self.loc._shape[-1:], validate_args=validate_args)
        self._unbroadcasted_scale_tril = (matrix if name == "scale_tril" else cholesky(matrix) if name == "covariance_matrix"
                                          else precision_to_scale_tril(matrix))

    def _matrix(self, value: Tensor) -> Tensor:
        return value.expand(self._batch_shape + self._event_shape + self._event_shape)  # type: ignore[attr-defined,no-any-return]

    @lazy_property
    def scale_tril(self) -> Tensor:
        """The lower Cholesky factor of the covariance."""
        return self._matrix(self._unbroadcasted_scale_tril)

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        """The covariance."""
        return self._matrix(self._unbroadcasted_scale_tril @ self._unbroadcasted_scale_tril.mT)  # type: ignore[attr-defined]

    @lazy_property
    def precision_matrix(self) -> Tensor:
        """The inverse of the covariance."""
        from torsh.linalg.triangular import cholesky_inverse
        return self._matrix(cholesky_inverse(self._unbroadcasted_scale_tril))

    @property
    def mean(self) -> Tensor:
        return self.loc  # type: ignore[no-any-return]

    @property
    def mode(self) -> Tensor:
        return self.loc  # type: ignore[no-any-return]

    @property
    def variance(self) -> Tensor:
        return self._unbroadcasted_scale_tril.pow(2).sum(-1).expand(self._batch_shape + self._event_shape)  # type: ignore[attr-defined,no-any-return]

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.loc + batch_mv(self._unbroadcasted_scale_tril, standard_normal(self._extended_shape(sample_shape), self.loc.dtype))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        m = batch_mahalanobis(self._unbroadcasted_scale_tril, value - self.loc)
        return -0.5 * (self._event_shape[0] * math.log(2 * math.pi) + m) - half_log_det(self._unbroadcasted_scale_tril)

    def entropy(self) -> Tensor:
        h = 0.5 * self._event_shape[0] * (1.0 + math.log(2 * math.pi)) + half_log_det(self._unbroadcasted_scale_tril)
        return h.expand(self._batch_shape)  # type: ignore[attr-defined,no-any-return]


__all__ = ["MultivariateNormal", "batch_mahalanobis", "batch_mv", "half_log_det", "precision_to_scale_tril"]

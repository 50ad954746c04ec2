"""Normal vectors with a covariance of low rank plus a diagonal."""
from __future__ import annotations

import math
from collections.abc import Sequence

from torsh.core.shapes import broadcast
from torsh.distributions import constraints
from torsh.distributions.distribution import Distribution
from torsh.distributions.multivariate_normal import batch_mahalanobis, batch_mv, half_log_det
from torsh.distributions.utils import lazy_property, standard_normal
from torsh.tensor.creation import eye
from torsh.tensor.tensor import Tensor


def capacitance_tril(factor: Tensor, diagonal: Tensor) -> Tensor:
    """The Cholesky factor of I + W' D^-1 W."""
    from torsh.linalg.factor import cholesky
    weighted = factor.mT / diagonal.unsqueeze(-2)  # type: ignore[attr-defined]
    k = factor.shape[-1]
    return cholesky(weighted @ factor + eye(k, dtype=factor.dtype))


def lowrank_log_det(diagonal: Tensor, tril: Tensor) -> Tensor:
    """log |W W' + D| (the matrix determinant lemma)."""
    return 2 * half_log_det(tril) + diagonal.log().sum(-1)  # type: ignore[attr-defined,no-any-return]


def lowrank_mahalanobis(factor: Tensor, diagonal: Tensor, x: Tensor, tril: Tensor) -> Tensor:
    """x' (W W' + D)^-1 x (the Woodbury identity)."""
    inner = batch_mv(factor.mT / diagonal.unsqueeze(-2), x)  # type: ignore[attr-defined]
    return (x.pow(2) / diagonal).sum(-1) - batch_mahalanobis(tril, inner)  # type: ignore[attr-defined,no-any-return]


class LowRankMultivariateNormal(Distribution):
    """Normal vectors [*, n] with covariance cov_factor cov_factor' + diag(cov_diag); the factor is [*, n, k].

    Raises ValueError for shapes that do not fit.
    """
    arg_constraints = {"loc": constraints.real_vector, "cov_factor": constraints.independent(constraints.real, 2),
                       "cov_diag": constraints.independent(constraints.positive, 1)}
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc: Tensor, cov_factor: Tensor, cov_diag: Tensor, validate_args: bool | None = None) -> None:
        if loc.dim() < 1:
            raise ValueError("loc must be at least one-dimensional.")
        n = loc._shape[-1:]
        if cov_factor.dim() < 2:
            raise ValueError("cov_factor must be at least two-dimensional, with optional leading batch dimensions")
        if cov_factor._shape[-2:-1] != n:
            raise ValueError(f"cov_factor must be a batch of matrices with shape {n[0]} x m")
        if cov_diag._shape[-1:] != n:
            raise ValueError(f"cov_diag must be a batch of vectors with shape {n}")
        try:
            batch = broadcast(broadcast(loc._shape[:-1], cov_factor._shape[:-2]), cov_diag._shape[:-1])
        except RuntimeError as error:
            raise ValueError(f"Incompatible batch shapes: loc {loc.shape}, cov_factor {cov_factor.shape}, cov_diag {cov_diag.shape}") from error
        self.loc = loc.expand((*batch, -1))  # type: ignore[attr-defined]
        self.cov_factor = cov_factor.expand((*batch, -1, -1))  # type: ignore[attr-defined]
        self.cov_diag = cov_diag.expand((*batch, -1))  # type: ignore[attr-defined]
        super().__init__(batch, n, validate_args=validate_args)
        self._unbroadcasted_cov_factor, self._unbroadcasted_cov_diag = cov_factor, cov_diag
        self._capacitance_tril = capacitance_tril(cov_factor, cov_diag)

    def _matrix(self, value: Tensor) -> Tensor:
        return value.expand(self._batch_shape + self._event_shape + self._event_shape)  # type: ignore[attr-defined,no-any-return]

    @property
    def mean(self) -> Tensor:
        return self.loc  # type: ignore[no-any-return]

    @property
    def mode(self) -> Tensor:
        return self.loc  # type: ignore[no-any-return]

    @lazy_property
    def variance(self) -> Tensor:  # type: ignore[override]
        total = self._unbroadcasted_cov_factor.pow(2).sum(-1) + self._unbroadcasted_cov_diag  # type: ignore[attr-defined]
        return total.expand(self._batch_shape + self._event_shape)  # type: ignore[no-any-return]

    @lazy_property
    def scale_tril(self) -> Tensor:
        """The lower Cholesky factor of the covariance."""
        from torsh.linalg.factor import cholesky
        return self._matrix(cholesky(self._dense()))

    def _dense(self) -> Tensor:
        w = self._unbroadcasted_cov_factor
        return w @ w.mT + self._unbroadcasted_cov_diag.diag_embed()  # type: ignore[attr-defined,no-any-return]

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        """The covariance."""
        return self._matrix(self._dense())

    @lazy_property
    def precision_matrix(self) -> Tensor:
        """The inverse of the covariance (the Woodbury identity)."""
        from torsh.linalg.triangular import solve_triangular
        weighted = self._unbroadcasted_cov_factor.mT / self._unbroadcasted_cov_diag.unsqueeze(-2)  # type: ignore[attr-defined]
        a = solve_triangular(self._capacitance_tril, weighted, upper=False)
        return self._matrix(self._unbroadcasted_cov_diag.reciprocal().diag_embed() - a.mT @ a)  # type: ignore[attr-defined]

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        low = standard_normal((*shape[:-1], self.cov_factor.shape[-1]), self.loc.dtype)
        own = standard_normal(shape, self.loc.dtype)
        return self.loc + batch_mv(self._unbroadcasted_cov_factor, low) + self._unbroadcasted_cov_diag.sqrt() * own  # type: ignore[attr-defined]

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        w, d = self._unbroadcasted_cov_factor, self._unbroadcasted_cov_diag
        m = lowrank_mahalanobis(w, d, value - self.loc, self._capacitance_tril)
        return -0.5 * (self._event_shape[0] * math.log(2 * math.pi) + lowrank_log_det(d, self._capacitance_tril) + m)  # type: ignore[no-any-return]

    def entropy(self) -> Tensor:
        log_det = lowrank_log_det(self._unbroadcasted_cov_diag, self._capacitance_tril)
        return (0.5 * (self._event_shape[0] * (1.0 + math.log(2 * math.pi)) + log_det)).expand(self._batch_shape)  # type: ignore[attr-defined,no-any-return]


__all__ = ["LowRankMultivariateNormal", "lowrank_log_det", "lowrank_mahalanobis"]

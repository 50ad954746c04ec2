"""Parametrizations of weights: orthogonal, of spectral norm 1, of learned norms."""
from __future__ import annotations

from typing import Any

import ml_dtypes

from torsh.autograd.grad_mode import no_grad
from torsh.nn import functional as F
from torsh.nn.module import Module
from torsh.nn.modules.conv import _ConvNd
from torsh.nn.utils.parametrize import register_parametrization
from torsh.ops.dispatch import FUNCTIONS
from torsh.ops.native_layers import norm_except_dim
from torsh.tensor.creation import eye, zeros_like
from torsh.tensor.tensor import Tensor

_MAPS = ("matrix_exp", "cayley", "householder")


def _is_orthogonal(q: Any) -> bool:
    n, k = q._shape[-2:]
    return bool(FUNCTIONS["allclose"](q.mT @ q, eye(k, dtype=q._dtype), atol=10.0 * n * float(ml_dtypes.finfo(q._dtype.np).eps)))


def _made_orthogonal(a: Any) -> Any:
    """The Q of A = QR with positive diagonal of R."""
    from torsh import linalg
    x, tau = FUNCTIONS["geqrf"](a) if "geqrf" in FUNCTIONS else linalg.geqrf(a)
    return linalg.householder_product(x, tau) * x.diagonal(0, -2, -1).sgn().unsqueeze(-2)


class _Orthogonal(Module):
    """A matrix with orthonormal columns (rows, if it is wide) from the lower triangle of any one. Lezcano-Casado, 2019 (trivializations)."""

    def __init__(self, weight: Tensor, orthogonal_map: str, *, use_trivialization: bool = True) -> None:
        super().__init__()
        if weight._dtype.is_complex:
            raise TypeError(f"orthogonal: complex tensors are not supported, got {weight.dtype}")
        self.shape = weight.shape
        self.orthogonal_map = orthogonal_map
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X: Any) -> Any:
        from torsh import linalg
        n, k = X._shape[-2:]
        wide = n < k
        if wide:
            X, n, k = X.mT, k, n
        if self.orthogonal_map == "householder":
            a = X.tril(-1)
            q = linalg.householder_product(a, 2.0 / (1.0 + (a * a).sum(-2)))
            q = q * X.diagonal(0, -2, -1).int().unsqueeze(-2)
        else:
            lower = X.tril()
            if n != k:
                lower = FUNCTIONS["cat"]([lower, lower.new_zeros((*lower._shape[:-2], n, n - k))], -1)
            a = lower - lower.mT
            one = eye(n, dtype=a._dtype)
            q = linalg.matrix_exp(a) if self.orthogonal_map == "matrix_exp" else linalg.solve(one - 0.5 * a, one + 0.5 * a)
            q = q[..., :k]
        if "base" in self._buffers:
            q = self.base @ q
        return q.mT if wide else q

    def right_inverse(self, Q: Any) -> Any:
        if Q.shape != self.shape:
            raise ValueError(f"Expected a matrix or batch of matrices of shape {self.shape}. Got a tensor of shape {Q.shape}.")
        given = Q
        n, k = Q._shape[-2:]
        wide = n < k
        if wide:
            Q, n, k = Q.mT, k, n
        with no_grad():
            if "base" not in self._buffers:
                if self.orthogonal_map != "householder":
                    raise NotImplementedError("It is not possible to assign to the matrix exponential or the Cayley parametrizations when "
                                              "use_trivialization=False.")
                a, tau = FUNCTIONS["geqrf"](Q)
                sign = a.diagonal(0, -2, -1).sign() * FUNCTIONS["where"](tau == 0.0, -1.0, 1.0)
                a = a - FUNCTIONS["diag_embed"](a.diagonal(0, -2, -1) - sign) if n == k else _with_diagonal(a, sign)
                return a.mT if wide else a
            if n == k:
                self.base = Q.clone() if _is_orthogonal(Q) else _made_orthogonal(Q)
            else:
                rest = FUNCTIONS["randn"](*Q._shape[:-2], n, n - k, dtype=Q._dtype)
                self.base = _made_orthogonal(FUNCTIONS["cat"]([Q, rest], -1))
            start: Any = zeros_like(given)
            return _with_diagonal(start, -1.0)


def _with_diagonal(a: Any, value: Any) -> Any:
    """A copy of matrices with another diagonal."""
    out = a.clone()
    out.diagonal(0, -2, -1).copy_(value if isinstance(value, Tensor) else out.diagonal(0, -2, -1) * 0 + value)
    return out


def _weight_of(module: Module, name: str) -> Any:
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    return weight


def orthogonal(module: Module, name: str = "weight", orthogonal_map: str | None = None, *, use_trivialization: bool = True) -> Module:
    """Keep a matrix (or a batch) orthogonal: by "matrix_exp" (square ones), "cayley" or "householder". Returns the module.

    With `use_trivialization` the map starts at the present weight made orthogonal. Raises ValueError for no matrix and an unknown map.
    """
    weight = _weight_of(module, name)
    if len(weight._shape) < 2:
        raise ValueError(f"Expected a matrix or batch of matrices. Got a tensor of {len(weight._shape)} dimensions.")
    if orthogonal_map is None:
        orthogonal_map = "matrix_exp" if weight._shape[-2] == weight._shape[-1] else "householder"
    if orthogonal_map not in _MAPS:
        raise ValueError(f'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: {orthogonal_map}')
    return register_parametrization(module, name, _Orthogonal(weight, orthogonal_map, use_trivialization=use_trivialization), unsafe=True)


def scaled_to(v: Any, g: Any, dim: int) -> Any:
    """v with the norms g."""
    return v * (g / norm_except_dim(v, 2, dim))


class _WeightNorm(Module):
    """A weight with its norms and directions apart."""

    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Any, weight_v: Any) -> Any:
        return scaled_to(weight_v, weight_g, self.dim)

    def right_inverse(self, weight: Any) -> Any:
        return norm_except_dim(weight, 2, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Learn the norms of a weight (one for each index of `dim`, one in all for None) apart from its directions. Salimans & Kingma, 2016.

    States of `torsh.nn.utils.weight_norm` can be loaded. Raises ValueError for a name that is no parameter.
    """
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def renamed(state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
        old = [f"{prefix}{name}_g", f"{prefix}{name}_v"]
        if all(key in state_dict for key in old):
            for i, key in enumerate(old):
                state_dict[f"{prefix}parametrizations.{name}.original{i}"] = state_dict.pop(key)
    module._register_load_state_dict_pre_hook(renamed)
    return module


class _SpectralNorm(Module):
    """A weight over its largest singular value, which power iterations keep track of in training."""

    def __init__(self, weight: Any, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        super().__init__()
        ndim = len(weight._shape)
        if not -ndim <= dim < ndim:
            raise IndexError(f"Dimension out of range (expected to be in range of [-{ndim}, {ndim - 1}] but got {dim})")
        if n_power_iterations <= 0:
            raise ValueError(f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}")
        self.dim = dim % ndim
        self.eps = eps
        if ndim > 1:
            self.n_power_iterations = n_power_iterations
            with no_grad():
                matrix = as_matrix(weight, self.dim)
                u, v = (matrix.new_empty(n).normal_(0, 1) for n in matrix._shape)
                self.register_buffer("_u", F.normalize(u, dim=0, eps=eps))
                self.register_buffer("_v", F.normalize(v, dim=0, eps=eps))
                self._iterate(matrix, 15)

    def _iterate(self, matrix: Any, n: int) -> None:
        with no_grad():
            for _ in range(n):
                self._u.copy_(F.normalize(matrix @ self._v, dim=0, eps=self.eps))
                self._v.copy_(F.normalize(matrix.t() @ self._u, dim=0, eps=self.eps))

    def forward(self, weight: Any) -> Any:
        if len(weight._shape) == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = as_matrix(weight, self.dim)
        if self.training:
            self._iterate(matrix, self.n_power_iterations)
        return weight / self._u.clone().dot(matrix @ self._v.clone())

    def right_inverse(self, value: Any) -> Any:
        return value


def as_matrix(weight: Any, dim: int) -> Any:
    """A weight as [size of `dim`, the rest]."""
    if dim:
        weight = weight.permute(dim, *[d for d in range(len(weight._shape)) if d != dim])
    return weight.reshape(weight._shape[0], -1)


def output_dim(module: Module) -> int:
    """The dimension of a module's weight that is of its outputs."""
    return 1 if isinstance(module, _ConvNd) and module.transposed else 0


def spectral_norm(module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None) -> Module:
    """Keep the largest singular value of a weight (as a matrix of `dim` against the rest) near 1. Miyato et al., 2018. Returns the module.

    Raises ValueError for a name that is no tensor and for no iterations, IndexError for a dimension out of range.
    """
    weight = _weight_of(module, name)
    return register_parametrization(module, name, _SpectralNorm(weight, n_power_iterations, output_dim(module) if dim is None else dim, eps))


__all__ = ["orthogonal", "spectral_norm", "weight_norm"]

"""Special functions with PyTorch's names. Loaded when first used."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torsh.core.dtypes import dtype
from torsh.ops.dispatch import FUNCTIONS
from torsh.ops.softmax import log_softmax as _log_softmax
from torsh.ops.softmax import softmax as _softmax
from torsh.special import bessel, gamma, normal, polynomials
from torsh.special.common import SPECIAL, special
from torsh.tensor.tensor import Tensor

for _name, _known in (("erf", "erf"), ("erfc", "erfc"), ("exp2", "exp2"), ("expm1", "expm1"), ("log1p", "log1p"), ("expit", "sigmoid"),
                      ("logsumexp", "logsumexp"), ("round", "round")):
    SPECIAL[_name] = FUNCTIONS[_known]


@special(out=False)
def softmax(input: Tensor, dim: int, *, dtype: dtype | None = None) -> Tensor:
    """`torsh.softmax`."""
    return _softmax(input, dim, dtype=dtype)


@special(out=False)
def log_softmax(input: Tensor, dim: int, *, dtype: dtype | None = None) -> Tensor:
    """`torsh.log_softmax`."""
    return _log_softmax(input, dim, dtype=dtype)


if TYPE_CHECKING:
    def __getattr__(name: str) -> Any: ...

globals().update(SPECIAL)
__all__ = ["bessel", "gamma", "normal", "polynomials", *SPECIAL]

"""What distributions of a probability share: it may be given as `probs` or as `logits`, and the other follows."""
from __future__ import annotations

from numbers import Number
from typing import Any

from torsh.distributions.utils import broadcast_all, lazy_property, logits_to_probs, probs_to_logits
from torsh.tensor.tensor import Size, Tensor


def one_of(probs: Any, logits: Any) -> Any:
    """The parameter that is given. Raises ValueError unless just one is."""
    if (probs is None) == (logits is None):
        raise ValueError("Either `probs` or `logits` must be specified, but not both.")
    return logits if probs is None else probs


class OfProbability:
    """Attributes `probs` and `logits` (log odds; for `_binary = False` log probabilities along the last dimension), one of them computed when first read."""
    _binary = True

    def _take(self, probs: Any, logits: Any) -> tuple[int, ...]:
        """Keep the parameter that is given; its shape. Raises ValueError unless just one is given."""
        given = one_of(probs, logits)
        value, = broadcast_all(given)
        setattr(self, "logits" if probs is None else "probs", value)
        return () if isinstance(given, Number) else value._shape

    def _take_counted(self, total_count: Any, probs: Any, logits: Any) -> tuple[int, ...]:
        """The same with a count that broadcasts with it, kept as `total_count` in its dtype."""
        count, value = broadcast_all(total_count, one_of(probs, logits))
        self.total_count = count.to(value.dtype)  # type: ignore[attr-defined]
        setattr(self, "logits" if probs is None else "probs", value)
        return value._shape

    @lazy_property
    def logits(self) -> Tensor:
        """Log odds, or log probabilities."""
        return probs_to_logits(self.probs, self._binary)

    @lazy_property
    def probs(self) -> Tensor:
        """Probabilities."""
        return logits_to_probs(self.logits, self._binary)

    @property
    def _param(self) -> Tensor:
        return self.__dict__["probs"] if "probs" in self.__dict__ else self.__dict__["logits"]  # type: ignore[no-any-return]

    @property
    def param_shape(self) -> Size:
        """The shape of the parameter."""
        return self._param.shape

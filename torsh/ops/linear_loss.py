"""The cross-entropy of a linear layer's outputs, as one function."""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torsh.core.dtypes import bfloat16, dtype, float16, float32, float64
from torsh.ops.composite import rounded_once
from torsh.ops.cross_entropy import cross_entropy
from torsh.ops.matmul import linear
from torsh.tensor.tensor import Tensor


@dataclass(slots=True, frozen=True)
class LinearCrossEntropyOptions:
    """How PyTorch would cut `linear_cross_entropy` into chunks of the batch to save memory.

    Checked as PyTorch checks it, and otherwise without effect: the logits are computed whole, so every derivative of any
    order exists, and `backward` may run twice whatever `allow_retain_graph` says.
    """

    allow_retain_graph: bool = False
    batch_chunk_size: int | None = None
    chunking_method: str | None = "auto"
    acc_policy: str = "auto"
    acc_dtype: dtype | None = None

    def __post_init__(self) -> None:
        if self.acc_policy not in {"auto", "accurate", "balanced", "compact"}:
            raise ValueError(f"invalid acc_policy: {self.acc_policy!r}")
        if self.chunking_method is not None and self.chunking_method != "auto":
            name, colon, factor = self.chunking_method.partition(":")
            if name != "aspect_ratio" or (colon and not (factor.isdigit() and int(factor) > 0)):
                raise ValueError(f"invalid chunking_method: {self.chunking_method!r}")
        if self.batch_chunk_size is not None and not (isinstance(self.batch_chunk_size, int) and self.batch_chunk_size > 0):
            raise ValueError(f"batch_chunk_size must be positive int or None, got {self.batch_chunk_size!r}")
        if self.acc_dtype is not None and self.acc_dtype not in {float16, bfloat16, float32, float64}:
            raise ValueError(f"acc_dtype must be one of {{None, torch.float16, torch.bfloat16, torch.float32, torch.float64}}, got {self.acc_dtype!r}. "
                             "Pass acc_dtype=None to let the op pick automatically.")


@rounded_once
def linear_cross_entropy(input: Tensor, linear_weight: Tensor, target: Tensor, *, linear_bias: Tensor | None = None, weight: Tensor | None = None,
                         reduction: str = "mean", ignore_index: int | None = None, label_smoothing: float = 0.0, options: Any = None) -> Tensor:
    """`cross_entropy(linear(input, linear_weight, linear_bias), target)`: [n, in] with weight [classes, ..., in] and target [n, ...].

    A weight of more than two dimensions gives each row of the input logits [classes, ...]. `options` changes no result.
    Raises RuntimeError for shapes that do not fit, and for `ignore_index` with class probabilities.
    """
    x, w = input._shape, linear_weight._shape
    if not 1 <= len(x) <= 2:
        raise RuntimeError(f"expected input with dimensionality 1 or 2, got {len(x)}")
    if len(w) < 2:
        raise RuntimeError(f"expected linear_weight with dimensionality at least 2, got {len(w)}")
    if x[-1] != w[-1]:
        raise RuntimeError(f"expected equal input and linear_weight last dimensions (in_features), got {x[-1]} and {w[-1]}, respectively")
    if linear_bias is not None and linear_bias._shape != w[:-1]:
        raise RuntimeError(f"expected linear_bias shape {w[:-1]}, got {linear_bias._shape}")
    if len(w) > 2 and len(x) == 1:
        raise RuntimeError(f"K-dimensional loss defined by linear_weight shape {w} requires batched input, (N, {x[-1]}), got unbatched input with shape {x}")
    shape = (*x[:-1], *w[:-1])
    if target._shape == shape and ignore_index is not None:
        raise RuntimeError("ignore_index cannot be specified when target contains probabilities")
    if len(w) > 2:
        outputs = math.prod(w[:-1])
        linear_weight = linear_weight.reshape(outputs, w[-1])  # type: ignore[attr-defined]
        linear_bias = None if linear_bias is None else linear_bias.reshape(outputs)  # type: ignore[attr-defined]
    logits = linear(input, linear_weight, linear_bias).reshape(shape)  # type: ignore[attr-defined]
    return cross_entropy(logits, target, weight=weight, ignore_index=-100 if ignore_index is None else ignore_index, reduction=reduction,
                         label_smoothing=label_smoothing)

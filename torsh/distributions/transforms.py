"""All transforms of tensors, under the name that PyTorch has for them."""
from __future__ import annotations

from torsh.distributions.transform import ComposeTransform, Transform, identity_transform
from torsh.distributions.transforms_of_dimensions import CatTransform, IndependentTransform, ReshapeTransform, StackTransform
from torsh.distributions.transforms_of_numbers import (
                                                       AbsTransform,
                                                       AffineTransform,
                                                       CumulativeDistributionTransform,
                                                       ExpTransform,
                                                       PowerTransform,
                                                       SigmoidTransform,
                                                       SoftplusTransform,
                                                       TanhTransform,
)
from torsh.distributions.transforms_of_vectors import (
                                                       CorrCholeskyTransform,
                                                       LowerCholeskyTransform,
                                                       PositiveDefiniteTransform,
                                                       SoftmaxTransform,
                                                       StickBreakingTransform,
)

__all__ = ["AbsTransform", "AffineTransform", "CatTransform", "ComposeTransform", "CorrCholeskyTransform", "CumulativeDistributionTransform", "ExpTransform",
           "IndependentTransform", "LowerCholeskyTransform", "PositiveDefiniteTransform", "PowerTransform", "ReshapeTransform", "SigmoidTransform",
           "SoftmaxTransform", "SoftplusTransform", "StackTransform", "StickBreakingTransform", "TanhTransform", "Transform", "identity_transform"]

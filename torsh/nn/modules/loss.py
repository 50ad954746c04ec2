"""Losses as modules: each one functional with its options."""
from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torsh.nn import functional as F
from torsh.nn.module import Module
from torsh.ops.composite import reduction_of
from torsh.tensor.tensor import Tensor


class _Loss(Module):
    """What losses share: `reduction` is "none", "mean" or "sum". `size_average` and `reduce` are its older form."""
    reduction: str

    def __init__(self, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = reduction if size_average is None and reduce is None else reduction_of(reduction, size_average, reduce)


class _WeightedLoss(_Loss):
    """A loss with a weight for each class."""

    def __init__(self, weight: Tensor | None = None, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean") -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)
        self.weight: Tensor | None


_OLD = {"size_average": None, "reduce": None, "reduction": "mean"}
_WEIGHTED = {"weight": None, **_OLD}
_INDEXED = {"weight": None, "size_average": None, "ignore_index": -100, "reduce": None, "reduction": "mean"}
_KEYWORDS = ("GaussianNLLLoss",)


def _loss(name: str, function: str, options: dict[str, Any], doc: str) -> type[Module]:
    """A loss module with the given options (name: default) that calls `F.function(*inputs, **options)`; its tensors are buffers."""
    passed = tuple(n for n in options if n not in ("size_average", "reduce"))
    base = _WeightedLoss if "weight" in options else _Loss

    kind = inspect.Parameter.KEYWORD_ONLY if name in _KEYWORDS else inspect.Parameter.POSITIONAL_OR_KEYWORD
    signature = inspect.Signature([inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)] + [
        inspect.Parameter(k, kind, default=v) for k, v in options.items()])

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            bound = signature.bind(self, *args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{name}.__init__() {error}") from None
        given = {**options, **{k: v for k, v in bound.arguments.items() if k != "self"}}
        shared = [given.pop(k, None) for k in ("size_average", "reduce")] + [given.pop("reduction")]
        base.__init__(self, *([given.pop("weight")] if base is _WeightedLoss else []), *shared)
        for option, value in given.items():
            if option == "pos_weight":
                self.register_buffer(option, value)
            else:
                setattr(self, option, value)
        check = _CHECKS.get(name)
        if check is not None:
            check(self)

    def forward(self: Any, *inputs: Any, **named: Any) -> Any:
        return getattr(F, function)(*inputs, **named, **{k: getattr(self, k) for k in passed})

    __init__.__signature__ = signature  # type: ignore[attr-defined]
    return type(name, (base,), {"__init__": __init__, "forward": forward, "__doc__": doc, "__module__": __name__})


def _check_multi_margin(self: Any) -> None:
    if self.p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    if self.weight is not None and len(self.weight._shape) != 1:
        raise ValueError(f"MultiMarginLoss: expected weight to be None or 1D tensor, got {len(self.weight._shape)}D instead")


def _check_triplet(self: Any) -> None:
    if self.margin <= 0:
        raise ValueError(f"{type(self).__name__}: expected margin to be greater than 0, got {self.margin} instead")


_CHECKS: dict[str, Callable[[Any], None]] = {"MultiMarginLoss": _check_multi_margin, "TripletMarginLoss": _check_triplet}
# name: (functional, options with defaults in order, documentation)
_TABLE: dict[str, tuple[str, dict[str, Any], str]] = {
    "L1Loss": ("l1_loss", _OLD, "The mean of |input - target|."),
    "MSELoss": ("mse_loss", _OLD, "The mean of (input - target)^2."),
    "CrossEntropyLoss": ("cross_entropy", {**_INDEXED, "label_smoothing": 0.0}, "-log softmax(input) at the target class."),
    "NLLLoss": ("nll_loss", _INDEXED, "-input at the target class, for log-probabilities."),
    "NLLLoss2d": ("nll_loss", _INDEXED, "`NLLLoss`, by its older name for images."),
    "BCELoss": ("binary_cross_entropy", _WEIGHTED, "Cross-entropy of probabilities with targets in [0, 1]."),
    "BCEWithLogitsLoss": ("binary_cross_entropy_with_logits", {**_WEIGHTED, "pos_weight": None}, "BCELoss of sigmoid(input)."),
    "SmoothL1Loss": ("smooth_l1_loss", {**_OLD, "beta": 1.0}, "Squared below beta, absolute above."),
    "HuberLoss": ("huber_loss", {"reduction": "mean", "delta": 1.0}, "Squared below delta, delta times absolute above."),
    "KLDivLoss": ("kl_div", {**_OLD, "log_target": False}, "The divergence of exp(input) from target."),
    "PoissonNLLLoss": ("poisson_nll_loss", {"log_input": True, "full": False, "size_average": None, "eps": 1e-8, "reduce": None, "reduction": "mean"},
                       "Minus the log likelihood of counts under a Poisson distribution, up to a constant unless `full`."),
    "GaussianNLLLoss": ("gaussian_nll_loss", {"full": False, "eps": 1e-6, "reduction": "mean"},
                        "Minus the log likelihood of target under a normal distribution with mean input and variance var."),
    "HingeEmbeddingLoss": ("hinge_embedding_loss", {"margin": 1.0, **_OLD}, "The distance x where y is 1, max(0, margin - x) where it is -1."),
    "CosineEmbeddingLoss": ("cosine_embedding_loss", {"margin": 0.0, **_OLD}, "1 - cos where y is 1, max(0, cos - margin) where it is -1."),
    "MarginRankingLoss": ("margin_ranking_loss", {"margin": 0.0, **_OLD}, "max(0, -y (x1 - x2) + margin)."),
    "MultiLabelMarginLoss": ("multilabel_margin_loss", _OLD, "The hinge loss of each target class against each other class."),
    "MultiLabelSoftMarginLoss": ("multilabel_soft_margin_loss", _WEIGHTED, "The mean over classes of BCEWithLogitsLoss."),
    "MultiMarginLoss": ("multi_margin_loss", {"p": 1, "margin": 1.0, "weight": None, **_OLD},
                        "The mean over classes of max(0, margin - x[y] + x[i])^p. Raises ValueError for another p than 1 and 2."),
    "SoftMarginLoss": ("soft_margin_loss", _OLD, "log(1 + exp(-y x))."),
    "TripletMarginLoss": ("triplet_margin_loss", {"margin": 1.0, "p": 2.0, "eps": 1e-6, "swap": False, **_OLD},
                          "max(0, d(anchor, positive) - d(anchor, negative) + margin). Raises ValueError for a margin of 0 or less."),
    "CTCLoss": ("ctc_loss", {"blank": 0, "reduction": "mean", "zero_infinity": False},
                "Minus the log probability of label sequences over all their alignments. Graves et al., 2006."),
}
_MODULES = {name: _loss(name, *row) for name, row in _TABLE.items()}
globals().update(_MODULES)


class TripletMarginWithDistanceLoss(_Loss):
    """`TripletMarginLoss` with a distance of one's own (the Euclidean by default). Raises ValueError for a margin of 0 or less."""

    def __init__(self, *, distance_function: Callable[[Tensor, Tensor], Tensor] | None = None, margin: float = 1.0, swap: bool = False,
                 reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        if margin <= 0:
            raise ValueError(f"TripletMarginWithDistanceLoss: expected margin to be greater than 0, got {margin} instead")
        self.distance_function: Any = distance_function if distance_function is not None else F.pairwise_distance
        self.margin = margin
        self.swap = swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return F.triplet_margin_with_distance_loss(anchor, positive, negative, distance_function=self.distance_function, margin=self.margin,
                                                   swap=self.swap, reduction=self.reduction)


__all__ = [*_MODULES, "TripletMarginWithDistanceLoss"]

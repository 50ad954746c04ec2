"""AdaptiveLogSoftmaxWithLoss: a softmax over many classes of which few are frequent. Grave et al., 2017."""
from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from torsh.nn import functional as F
from torsh.nn.module import Module
from torsh.nn.modules.basic import Linear
from torsh.nn.modules.container import ModuleList, Sequential
from torsh.ops.dispatch import FUNCTIONS
from torsh.tensor.tensor import Tensor


class _ASMoutput(NamedTuple):
    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """Classes [0, cutoffs[0]) are in the head; the others in clusters that end at the cutoffs, each smaller by `div_value`, which the head
    names first. `forward(input [n, in_features], target [n])` gives (log probability of the targets [n], loss: minus their mean).

    Raises ValueError for cutoffs that do not rise within (0, n_classes - 1), RuntimeError for inputs and targets that do not fit.
    """

    def __init__(self, in_features: int, n_classes: int, cutoffs: Sequence[int], div_value: float = 4.0, head_bias: bool = False, device: Any = None,
                 dtype: Any = None) -> None:
        super().__init__()
        ends = list(cutoffs)
        if not ends:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        if ends != sorted(set(ends)) or min(ends) <= 0 or max(ends) > n_classes - 1 or any(int(c) != c for c in ends):
            raise ValueError("cutoffs should be a sequence of unique, positive integers sorted in an increasing order, where each value is between 1 "
                             "and n_classes-1")
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*ends, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(self.cutoffs) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        options = {"device": device, "dtype": dtype}
        self.head = Linear(in_features, self.head_size, head_bias, **options)
        self.tail = ModuleList()
        for i, (low, high) in enumerate(pairwise(self.cutoffs)):
            size = int(in_features // (div_value ** (i + 1)))
            self.tail.append(Sequential(Linear(in_features, size, False, **options), Linear(size, high - low, False, **options)))

    def reset_parameters(self) -> None:
        """Draw new values for all layers."""
        self.head.reset_parameters()
        for first, second in (list(projection) for projection in self.tail):  # type: ignore[call-overload]
            first.reset_parameters()
            second.reset_parameters()

    def forward(self, input_: Tensor, target_: Tensor) -> _ASMoutput:
        n = len(target_._shape)
        if n > 1:
            raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
        if n == 1 and input_._shape[0] != target_._shape[0]:
            raise RuntimeError("Input and target should have the same size in the batch dimension.")
        if len(input_._shape) != n + 1:
            raise RuntimeError(f"{n}D target tensor expects {n + 1}D input tensors, but found inputs with size {input_.shape}")
        x: Any = input_ if n else input_.unsqueeze(0)  # type: ignore[attr-defined]
        target: Any = target_ if n else target_.unsqueeze(0)  # type: ignore[attr-defined]
        if target.numel() and not bool(((target >= 0) & (target < self.n_classes)).all()):
            raise RuntimeError(f"Target values should be in [0, {self.n_classes - 1}], but values in range [{target.min().item()}, "
                               f"{target.max().item()}] were found. ")
        column = target.clone()  # where the head has the target, or its cluster
        rest: Any = None
        for i, (low, high) in enumerate(pairwise(self.cutoffs)):
            rows = ((target >= low) & (target < high)).nonzero().reshape(-1)
            if rows.numel() == 0:
                continue
            column = column.index_fill(0, rows, self.shortlist_size + i)
            within = (target.index_select(0, rows) - low).unsqueeze(1)
            found = F.log_softmax(self.tail[i](x.index_select(0, rows)), 1).gather(1, within).squeeze(1)  # type: ignore[attr-defined]
            rest = (x.new_zeros(target._shape) if rest is None else rest).index_copy(0, rows, found)
        own: Any = F.log_softmax(self.head(x), 1).gather(1, column.unsqueeze(1)).squeeze(1)  # type: ignore[attr-defined]
        output = own if rest is None else rest + own
        return _ASMoutput(output if n else output.squeeze(0), (-output).mean())

    def _full(self, x: Tensor, head: Tensor) -> Tensor:
        """log probabilities [n, n_classes] from the head's output."""
        known: Any = F.log_softmax(head, 1)
        parts = [known[:, :self.shortlist_size]]
        for i in range(self.n_clusters):
            parts.append(F.log_softmax(self.tail[i](x), 1) + known[:, self.shortlist_size + i].unsqueeze(1))
        return FUNCTIONS["cat"](parts, 1)  # type: ignore[no-any-return]

    def log_prob(self, input: Tensor) -> Tensor:
        """Log probabilities of all classes, [n, n_classes]."""
        return self._full(input, self.head(input))

    def predict(self, input: Tensor) -> Tensor:
        """The most probable class of each row, [n]; that of the head where the head has one that is more probable than any cluster."""
        head: Any = self.head(input)
        best = head.argmax(1)
        if not bool((best >= self.shortlist_size).any()):
            return best  # type: ignore[no-any-return]
        every: Any = self._full(input, head).argmax(1)  # type: ignore[attr-defined]
        return FUNCTIONS["where"](best >= self.shortlist_size, every, best)  # type: ignore[no-any-return]


__all__ = ["AdaptiveLogSoftmaxWithLoss"]

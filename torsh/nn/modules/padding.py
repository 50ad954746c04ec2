"""Padding as modules: a margin around the last one to three dimensions."""
from __future__ import annotations

from typing import Any

from torsh.nn import functional as F
from torsh.nn.module import Module
from torsh.nn.modules.conv import spread
from torsh.tensor.tensor import Tensor


class _Pad(Module):
    """`padding` is one number for all sides, or (before, after) of the last dimension, then of the one before it, ..."""
    _dims = 0
    _mode = "constant"
    value: float | None = None

    def __init__(self, padding: Any) -> None:
        super().__init__()
        self.padding = spread(padding, 2 * self._dims)

    def forward(self, input: Tensor) -> Tensor:
        n = self._dims
        if self._mode == "circular" and len(input._shape) not in (n + 1, n + 2):
            raise ValueError(f"expected {n + 1}D or {n + 2}D input (got {len(input._shape)}D input)")
        return F.pad(input, self.padding, self._mode, self.value)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class _ZeroPad(_ConstantPad):
    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


_KINDS: dict[str, tuple[type[_Pad], str, str]] = {
    "ConstantPad": (_ConstantPad, "constant", "A margin of one value around the last {n} dimension{s}."),
    "ZeroPad": (_ZeroPad, "constant", "A margin of zeros around the last {n} dimension{s}."),
    "ReflectionPad": (_Pad, "reflect", "A margin that mirrors the last {n} dimension{s}, without the edge."),
    "ReplicationPad": (_Pad, "replicate", "A margin that repeats the edge of the last {n} dimension{s}."),
    "CircularPad": (_Pad, "circular", "A margin that wraps around the last {n} dimension{s}. Raises ValueError for another number of dimensions."),
}
_MODULES = {f"{name}{n}d": type(f"{name}{n}d", (base,), {"_dims": n, "_mode": mode, "__module__": __name__,
                                                         "__doc__": doc.format(n=n, s="s" * (n > 1))})
            for name, (base, mode, doc) in _KINDS.items() for n in (1, 2, 3)}
globals().update(_MODULES)
__all__ = list(_MODULES)

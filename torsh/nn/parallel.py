"""Modules run on several devices at once."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torsh.nn.module import Module


class DataParallel(Module):
    """A module whose batches are shared among the accelerators of this computer. There are none in this build, and then it is the module itself,
    under the name `module`, and the other arguments have no effect, as in PyTorch.
    """

    def __init__(self, module: Module, device_ids: Sequence[Any] | None = None, output_device: Any = None, dim: int = 0) -> None:
        super().__init__()
        self.module = module
        self.device_ids: list[int] = []

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        return self.module(*inputs, **kwargs)


__all__ = ["DataParallel"]

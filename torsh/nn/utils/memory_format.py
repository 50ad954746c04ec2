"""The order in memory of convolutions' weights."""
from __future__ import annotations

from typing import Any, TypeVar

from torsh.core.layouts import memory_format as MemoryFormat
from torsh.nn.module import Module
from torsh.nn.modules.conv import Conv2d, Conv3d, ConvTranspose2d, ConvTranspose3d

M = TypeVar("M", bound=Module)


def _converted(module: M, kinds: tuple[type[Module], ...], wanted: MemoryFormat) -> M:
    for part in module.modules():
        if isinstance(part, kinds):
            weight: Any = part.weight
            weight.data = weight.detach().clone(memory_format=wanted)
    return module


def convert_conv2d_weight_memory_format(module: M, memory_format: MemoryFormat) -> M:
    """Lay the weights of all `Conv2d` and `ConvTranspose2d` in the module in a memory format; their values stay. Returns the module."""
    return _converted(module, (Conv2d, ConvTranspose2d), memory_format)


def convert_conv3d_weight_memory_format(module: M, memory_format: MemoryFormat) -> M:
    """Lay the weights of all `Conv3d` and `ConvTranspose3d` in the module in a memory format; their values stay. Returns the module."""
    return _converted(module, (Conv3d, ConvTranspose3d), memory_format)


__all__ = ["convert_conv2d_weight_memory_format", "convert_conv3d_weight_memory_format"]

"""Weights of convolutions in a memory format."""
from __future__ import annotations

from typing import Any

from torsh.nn.modules.conv import Conv2d, Conv3d, ConvTranspose2d, ConvTranspose3d


def _convert(module: Any, memory_format: Any, kinds: tuple[Any, ...]) -> Any:
    for m in module.modules():
        if isinstance(m, kinds):
            m.weight.data = m.weight.detach().clone(memory_format=memory_format)
    return module


def convert_conv2d_weight_memory_format(module: Any, memory_format: Any) -> Any:
    """Lay the weights of all 2-D convolutions (transposed ones too) inside a module out in a memory format; gives the module back.

    >>> import torsh
    >>> net = torsh.nn.Sequential(torsh.nn.Conv2d(3, 8, 3))
    >>> convert_conv2d_weight_memory_format(net, torsh.channels_last)[0].weight.is_contiguous(memory_format=torsh.channels_last)
    True
    """
    return _convert(module, memory_format, (Conv2d, ConvTranspose2d))


def convert_conv3d_weight_memory_format(module: Any, memory_format: Any) -> Any:
    """Lay the weights of all 3-D convolutions (transposed ones too) inside a module out in a memory format; gives the module back."""
    return _convert(module, memory_format, (Conv3d, ConvTranspose3d))


__all__ = ["convert_conv2d_weight_memory_format", "convert_conv3d_weight_memory_format"]

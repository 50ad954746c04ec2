"""Layers whose weights are 8-bit integers: of quantized inputs, and (`dynamic`) of floating ones that are quantized for the product."""
from torsh.ao.nn.quantized import dynamic as dynamic
from torsh.ao.nn.quantized import functional as functional
from torsh.ao.nn.quantized.modules import Conv1d, Conv2d, Conv3d, DeQuantize, Linear, Quantize

__all__ = ["Conv1d", "Conv2d", "Conv3d", "DeQuantize", "Linear", "Quantize"]

"""Quantized layers under PyTorch's names; loaded when first used."""
from torsh.ao import nn as nn
from torsh.ao import quantization as quantization

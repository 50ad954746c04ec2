"""Quantized tensors on the CPU, with one scale or one for each channel; loaded when first used."""
from torsh.ops.composed import install as _install
from torsh.quantized import fake as fake
from torsh.quantized import functions as functions
from torsh.quantized import handlers as handlers
from torsh.quantized.scheme import (
    per_channel_affine,
    per_channel_affine_float_qparams,
    per_channel_symmetric,
    per_tensor_affine,
    per_tensor_symmetric,
    qint8,
    qint32,
    qscheme,
    quint8,
)
from torsh.quantized.tensor import QuantizedTensor

_install(QuantizedTensor, ("copy_", "equal"))
__all__ = ["QuantizedTensor", "per_channel_affine", "per_channel_affine_float_qparams", "per_channel_symmetric", "per_tensor_affine",
           "per_tensor_symmetric", "qint32", "qint8", "qscheme", "quint8"]

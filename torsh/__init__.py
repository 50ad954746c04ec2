"""ToRSh: PyTorch's API on a lazy, compiling engine."""
from __future__ import annotations

import os as _os

if _os.environ.get("TORSH_INTERPRETED"):
    import torsh.interpreted
from torsh import autograd as autograd
from torsh.autograd.grad_mode import enable_grad, inference_mode, is_grad_enabled, is_inference_mode_enabled, no_grad, set_grad_enabled
from torsh.core.devices import device
from torsh.core.dtypes import (bfloat16, complex64, complex128, dtype, float16, float32, float64, get_default_dtype, int8, int16, int32, int64,
                               promote_types, set_default_dtype, uint8)
from torsh.core.dtypes import bool_ as bool
from torsh.core.dtypes import complex64 as cfloat, complex128 as cdouble, float16 as half, float32 as float, float64 as double
from torsh.core.dtypes import int16 as short, int32 as int, int64 as long
from torsh.core.layouts import (channels_last, channels_last_3d, contiguous_format, layout, memory_format, preserve_format, sparse_bsc, sparse_bsr,
                                sparse_coo, sparse_csc, sparse_csr, strided)
from torsh.core.limits import finfo, iinfo
from torsh.tensor import creation as _creation, interop as _interop
from torsh.tensor.size import Size
from torsh.tensor.tensor import Tensor
from torsh.tensor.printing import get_printoptions, printoptions, set_printoptions
from torsh.runtime.cpu.executor import get_num_threads, set_num_threads
from torsh.ops import names as _names
from torsh.ops.dispatch import LATE as _LATE, late as _late
from torsh.ops.random import Generator
from torsh.random import fork_rng, get_rng_state, initial_seed, manual_seed, seed, set_rng_state

__version__ = "0.1.0"
globals().update(_creation.FUNCTIONS)
globals().update(_interop.FUNCTIONS)
globals().update(_names.FUNCTIONS)
inf, nan, pi, e = _names.inf, _names.nan, _names.pi, _names.e
newaxis = None
__all__ = ["Size", "Tensor", "autograd", "bfloat16", "bool", "cdouble", "cfloat", "complex64", "complex128", "device", "double", "dtype", "enable_grad",
           "float", "float16", "float32", "float64", "get_default_dtype", "half", "inference_mode", "int", "int8", "int16", "int32", "int64",
           "is_grad_enabled", "is_inference_mode_enabled", "long", "no_grad", "promote_types", "set_default_dtype", "set_grad_enabled", "short",
           "uint8"]
#: Loaded when first asked for.
_LAZY = ("data", "distributions", "fft", "func", "linalg", "masked", "nn", "optim", "profiler",
         "quantized", "serialize", "signal", "sparse", "special", "utils")

_QUANTIZED = frozenset(("qint8", "quint8", "qint32", "qscheme", "per_tensor_affine", "per_channel_affine", "per_tensor_symmetric", "per_channel_symmetric",
                        "per_channel_affine_float_qparams"))


def __getattr__(name: str) -> object:
    if name in _LAZY:
        from importlib import import_module
        return import_module("torsh." + name)
    if name == "vmap":
        from torsh.func import vmap
        return vmap
    if name in _LATE:
        found = globals()[name] = _late(name)
        return found
    if name == "compile":
        from torsh.capture import compile
        return compile
    if name in _QUANTIZED:
        from importlib import import_module
        return getattr(import_module("torsh.quantized"), name)
    if name == "default_generator":
        from torsh.ops.random import default_generator
        return default_generator()
    raise AttributeError(f"module 'torsh' has no attribute '{name}'")

"""ToRSh: PyTorch's API on a lazy, compiling engine."""
from __future__ import annotations

import os as _os

if _os.environ.get("TORSH_INTERPRETED"):
    import torsh.interpreted
from torsh import autograd as autograd
from torsh.autograd.grad_mode import enable_grad, inference_mode, is_grad_enabled, is_inference_mode_enabled, no_grad, set_grad_enabled
from torsh.core.devices import device
from torsh.core.dtypes import (bfloat16, complex64, complex128, dtype, float8_e4m3fn, float8_e4m3fnuz, float8_e5m2, float8_e5m2fnuz, float8_e8m0fnu, float16,
                               float32, float64, get_default_dtype, int8, int16, int32, int64, promote_types, set_default_dtype, uint8, uint16, uint32, uint64)
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
from torsh.ops.generators import Generator
from torsh.random import fork_rng, get_rng_state, initial_seed, manual_seed, seed, set_rng_state

__version__ = "0.1.0"
globals().update(_creation.FUNCTIONS)
globals().update(_interop.FUNCTIONS)
globals().update(_names.FUNCTIONS)
inf, nan, pi, e = _names.inf, _names.nan, _names.pi, _names.e
newaxis = None
__all__ = ["Size", "Tensor", "autograd", "bfloat16", "bool", "cdouble", "cfloat", "complex64", "complex128", "device", "double", "dtype", "enable_grad",
           "float", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu", "float16", "float32", "float64",
           "get_default_dtype", "half", "inference_mode", "int", "int8", "int16", "int32", "int64", "is_grad_enabled", "is_inference_mode_enabled", "long",
           "no_grad", "promote_types", "set_default_dtype", "set_grad_enabled", "short", "uint8", "uint16", "uint32", "uint64"]
#: Loaded when first asked for.
_LAZY = ("amp", "ao", "cpu", "data", "distributions", "fft", "func", "futures", "linalg", "masked", "nn", "optim", "profiler", "quantized", "serialization",
         "serialize", "signal", "sparse", "special", "storage", "utils")
#: Names of other modules, loaded when first asked for: by module.
_FROM = {
    "amp.autocast_mode": "autocast autocast_decrement_nesting autocast_increment_nesting clear_autocast_cache get_autocast_cpu_dtype get_autocast_dtype "
                         "get_autocast_gpu_dtype get_autocast_ipu_dtype get_autocast_xla_dtype is_autocast_cache_enabled is_autocast_cpu_enabled "
                         "is_autocast_enabled is_autocast_ipu_enabled is_autocast_xla_enabled set_autocast_cache_enabled set_autocast_cpu_dtype "
                         "set_autocast_cpu_enabled set_autocast_dtype set_autocast_enabled set_autocast_gpu_dtype set_autocast_ipu_dtype "
                         "set_autocast_ipu_enabled set_autocast_xla_dtype set_autocast_xla_enabled",
    "amp.grad_scaler": "GradScaler",
    "autograd.anomaly": "is_anomaly_check_nan_enabled is_anomaly_enabled set_anomaly_enabled",
    "control": "cond",
    "core.default_device": "get_default_device set_default_device",
    "core.errors": "AcceleratorError OutOfMemoryError",
    "core.warn": "is_warn_always_enabled set_warn_always",
    "futures": "Future fork wait",
    "quantized": "per_channel_affine per_channel_affine_float_qparams per_channel_symmetric per_tensor_affine per_tensor_symmetric qint32 "
                 "qint8 qscheme quint8",
    "runtime.cpu.denormal": "set_flush_denormal",
    "serialize.archive": "PyTorchFileReader PyTorchFileWriter",
    "serialize.reading": "load",
    "serialize.writing": "save",
    "settings": "are_deterministic_algorithms_enabled get_deterministic_debug_mode get_device_module get_float32_matmul_precision get_num_interop_threads "
                "has_lapack has_mkl has_openmp has_spectral init_num_threads is_deterministic_algorithms_warn_only_enabled is_vulkan_available "
                "set_deterministic_debug_mode set_float32_matmul_precision set_num_interop_threads use_deterministic_algorithms",
    "storage": "BFloat16Storage BoolStorage ByteStorage CharStorage ComplexDoubleStorage ComplexFloatStorage DoubleStorage FloatStorage HalfStorage IntStorage "
               "LongStorage ShortStorage TypedStorage UntypedStorage from_file is_storage",
    "streams": "Event Stream",
    "tensor.kinds": "BFloat16Tensor BoolTensor ByteTensor CharTensor DoubleTensor FloatTensor HalfTensor IntTensor LongTensor ShortTensor "
                    "set_default_tensor_type",
    "symbolic": "sym_constrain_range sym_constrain_range_for_size sym_float sym_fresh_size sym_int sym_ite sym_max sym_min sym_not sym_sqrt sym_sum",
}
_WHERE = {name: module for module, names in _FROM.items() for name in names.split()}


def __getattr__(name: str) -> object:
    from importlib import import_module
    if name in _WHERE:
        found = globals()[name] = getattr(import_module("torsh." + _WHERE[name]), name)
        return found
    if name in _LAZY:
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
    if name == "default_generator":
        from torsh.ops.generators import default_generator
        return default_generator()
    raise AttributeError(f"module 'torsh' has no attribute '{name}'")

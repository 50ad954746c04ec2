"""Settings of the process under PyTorch's names: determinism, precision, and what this build is made of.

Loaded when one of the names is first used.
"""
from __future__ import annotations

from types import ModuleType
from typing import Any

from torsh.core.devices import require
from torsh.core.warn import warn_once

#: LAPACK is SciPy's, transforms of Fourier are SciPy's; products and threads are ToRSh's own.
has_lapack = True
has_spectral = True
has_mkl = False
has_openmp = False


# ---- determinism


class _Determinism:
    """Kernels give the same bits at each run and on any number of threads, whatever is set here; this keeps what was asked for."""

    def __init__(self) -> None:
        self.asked = False
        self.warn_only = False


_determinism = _Determinism()
_MODES = ("default", "warn", "error")


def _bool(what: str, name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{what}(): argument '{name}' must be bool, not {type(value).__name__}")
    return value


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Ask for operations that give the same bits at each run. All of ToRSh's do, so nothing raises or changes.

    Raises TypeError unless both are bools.

    >>> use_deterministic_algorithms(True)
    >>> are_deterministic_algorithms_enabled()
    True
    >>> use_deterministic_algorithms(False)
    """
    mode, warn_only = _bool("use_deterministic_algorithms", "mode", mode), _bool("use_deterministic_algorithms", "warn_only", warn_only)
    _determinism.asked, _determinism.warn_only = mode, warn_only


def are_deterministic_algorithms_enabled() -> bool:
    """Whether `use_deterministic_algorithms` asked for them. (What is computed is deterministic in either case.)"""
    return _determinism.asked


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """Whether `use_deterministic_algorithms` was told to warn only."""
    return _determinism.warn_only


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """`use_deterministic_algorithms` by one number or word: 0 "default", 1 "warn", 2 "error".

    Raises TypeError for another type, RuntimeError for another value.
    """
    if not isinstance(debug_mode, (int, str)):
        raise TypeError(f"debug_mode must be str or int, but got {type(debug_mode)}")
    if isinstance(debug_mode, str):
        if debug_mode not in _MODES:
            raise RuntimeError(f"invalid value of debug_mode, expected one of `default`, `warn`, `error`, but got {debug_mode}")
        debug_mode = _MODES.index(debug_mode)
    if debug_mode not in (0, 1, 2):
        raise RuntimeError(f"invalid value of debug_mode, expected 0, 1, or 2, but got {debug_mode}")
    use_deterministic_algorithms(debug_mode > 0, warn_only=debug_mode == 1)


def get_deterministic_debug_mode() -> int:
    """What `set_deterministic_debug_mode` would have set: 0, 1 or 2."""
    return 0 if not _determinism.asked else 1 if _determinism.warn_only else 2


# ---- precision


class _Precision:
    def __init__(self) -> None:
        self.matmul = "highest"


_precision = _Precision()


def set_float32_matmul_precision(precision: str) -> None:
    """How exact products of float32 matrices must be at least: "highest", "high" or "medium". ToRSh's on the CPU are always of
    float32's own precision, which all three allow. Warns about another word and keeps what was set."""
    if precision not in ("highest", "high", "medium"):
        warn_once(f"{precision} is not one of 'highest', 'high', or 'medium'; the current set_float32_matmul_precision call has no effect.")
        return
    _precision.matmul = precision


def get_float32_matmul_precision() -> str:
    """What `set_float32_matmul_precision` last set ("highest" at first)."""
    return _precision.matmul


# ---- threads and devices


class _Interop:
    def __init__(self) -> None:
        self.threads = 0


_interop = _Interop()


def get_num_interop_threads() -> int:
    """How many operations may run side by side as set, or as many as the processor's threads. A plan of ToRSh runs its kernels one
    after the other, each on `get_num_threads` threads."""
    import os
    return _interop.threads or os.cpu_count() or 1


def set_num_interop_threads(num_threads: int) -> None:
    """Set `get_num_interop_threads`, once in a process. Raises TypeError unless an int, RuntimeError for less than 1 and the second time."""
    if not isinstance(num_threads, int) or isinstance(num_threads, bool):
        raise TypeError(f"set_num_interop_threads expects an int, but got {type(num_threads).__name__}")
    if num_threads < 1:
        raise RuntimeError("set_num_interop_threads expects a positive integer")
    if _interop.threads:
        raise RuntimeError("Error: cannot set number of interop threads after parallel work has started or set_num_interop_threads called")
    _interop.threads = num_threads


def init_num_threads() -> None:
    """Share kernels' work among the number of threads that a process starts with: TORSH_NUM_THREADS, OMP_NUM_THREADS, or the processors."""
    from torsh.runtime.cpu.executor import default_threads, set_num_threads
    set_num_threads(default_threads())


def is_vulkan_available() -> bool:
    """Whether there is a Vulkan backend: no."""
    return False


def get_device_module(device: Any = None) -> ModuleType:
    """The module of a device type, `torsh.cpu` for the CPU, which is the default. Raises RuntimeError for a device without backend."""
    from importlib import import_module
    return import_module("torsh." + require(device).type)


__all__ = ["are_deterministic_algorithms_enabled", "get_deterministic_debug_mode", "get_device_module", "get_float32_matmul_precision",
           "get_num_interop_threads", "has_lapack", "has_mkl", "has_openmp", "has_spectral", "init_num_threads",
           "is_deterministic_algorithms_warn_only_enabled", "is_vulkan_available", "set_deterministic_debug_mode", "set_float32_matmul_precision",
           "set_num_interop_threads", "use_deterministic_algorithms"]

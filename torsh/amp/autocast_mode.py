"""`torsh.autocast`, and the functions that read and set what it sets."""
from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

from torsh.autograd.autocast import LOWER, _cast, set_enabled, set_type, settings
from torsh.core.devices import device
from torsh.core.dtypes import bfloat16, dtype, float16


def _kind(what: str, device_type: str) -> str:
    """A kind of device that autocast knows. Raises RuntimeError for another."""
    if device_type not in LOWER:
        raise RuntimeError(f"{what}: unknown device type for autocast: '{device_type}'; expected one of {', '.join(LOWER)}")
    return device_type


def _check_type(dt: Any) -> dtype:
    if not isinstance(dt, dtype):
        raise TypeError(f"dtype must be a torsh.dtype (got {type(dt).__name__})")
    return dt


def _check_bool(enabled: Any) -> bool:
    if not isinstance(enabled, bool):
        raise TypeError(f"enabled must be a bool (got {type(enabled).__name__})")
    return enabled


def is_autocast_available(device_type: str) -> bool:
    """Whether autocast knows a kind of device. Raises RuntimeError for what is no kind of device."""
    if device_type not in LOWER:
        device(device_type)
    return device_type in LOWER


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether autocast is on for a kind of device, in this thread. Raises RuntimeError for an unknown one."""
    return bool(settings().enabled.get(_kind("is_autocast_enabled", device_type), False))


def set_autocast_enabled(device_type: Any, enabled: bool | None = None) -> None:
    """Switch autocast for a kind of device, in this thread; `set_autocast_enabled(flag)` is that of "cuda".

    Raises RuntimeError for an unknown device, TypeError unless a bool.
    """
    if enabled is None:
        device_type, enabled = "cuda", device_type
    set_enabled(_kind("set_autocast_enabled", device_type), _check_bool(enabled))


def get_autocast_dtype(device_type: str) -> dtype:
    """The lower type of a kind of device. Raises RuntimeError for an unknown one.

    >>> get_autocast_dtype("cpu")
    torsh.bfloat16
    """
    return settings().types[_kind("get_autocast_dtype", device_type)]  # type: ignore[no-any-return]


def set_autocast_dtype(device_type: str, dtype: dtype) -> None:
    """Set the lower type of a kind of device, in this thread. Raises RuntimeError for an unknown device, TypeError unless a dtype."""
    set_type(_kind("set_autocast_dtype", device_type), _check_type(dtype))


def _of_one(device_type: str, name: str) -> None:
    """The functions of one kind of device that PyTorch has besides those with a `device_type`."""
    def is_enabled() -> bool:
        return is_autocast_enabled(device_type)

    def set_enabled(enabled: bool) -> None:
        set_autocast_enabled(device_type, _check_bool(enabled))

    def get_dtype() -> dtype:
        return get_autocast_dtype(device_type)

    def set_dtype(dtype: dtype) -> None:
        set_autocast_dtype(device_type, dtype)
    pairs: list[tuple[str, Callable[..., Any], str]] = [(f"get_autocast_{name}_dtype", get_dtype, f'`get_autocast_dtype("{device_type}")`.'),
                                                        (f"set_autocast_{name}_dtype", set_dtype, f'`set_autocast_dtype("{device_type}", dtype)`.')]
    if name != "gpu":
        pairs += [(f"is_autocast_{name}_enabled", is_enabled, f'`is_autocast_enabled("{device_type}")`.'),
                  (f"set_autocast_{name}_enabled", set_enabled, f'`set_autocast_enabled("{device_type}", enabled)`.')]
    for known, function, text in pairs:
        function.__name__, function.__doc__ = known, text
        globals()[known] = function


for _device, _name in (("cpu", "cpu"), ("cuda", "gpu"), ("ipu", "ipu"), ("xla", "xla")):
    _of_one(_device, _name)


def is_autocast_cache_enabled() -> bool:
    """Whether a parameter that several operations read is cast once in a context."""
    return bool(settings().caching)


def set_autocast_cache_enabled(enabled: bool) -> None:
    """Set `is_autocast_cache_enabled`, in this thread. Raises TypeError unless a bool."""
    settings().caching = _check_bool(enabled)


def autocast_increment_nesting() -> int:
    """Count an entered context; returns how many there are."""
    settings().nesting += 1
    return int(settings().nesting)


def autocast_decrement_nesting() -> int:
    """Count a left context; returns how many are open."""
    settings().nesting -= 1
    return int(settings().nesting)


def clear_autocast_cache() -> None:
    """Forget the parameters that were cast."""
    settings().casts.clear()


class autocast:
    """Context manager or decorator: operations choose the type that they compute in. On the CPU products, convolutions, attention and
    recurrent layers compute in `dtype` (bfloat16, or float16), losses, norms of matrices and Fourier transforms in float32,
    and all others in the type they are given. float64 stays.

    `cache_enabled`: parameters are cast once for the outermost context. Raises ValueError unless `device_type` is a str, RuntimeError for an
    unknown one; warns, and changes nothing, for another `dtype` and for a device that is not there.

    >>> import torsh
    >>> with torsh.autocast("cpu"):
    ...     product = torsh.ones(2, 2) @ torsh.ones(2, 2)
    >>> product.dtype, (product + torsh.ones(2, 2)).dtype
    (torsh.bfloat16, torsh.float32)
    """

    def __init__(self, device_type: str, dtype: dtype | None = None, enabled: bool = True, cache_enabled: bool | None = None) -> None:
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        self.fast_dtype = get_autocast_dtype(device_type) if dtype is None else dtype
        self.device = _kind("autocast", device_type)
        self._cache_enabled = is_autocast_cache_enabled() if cache_enabled is None else cache_enabled
        if enabled and device_type == "cuda":
            warnings.warn("User provided device_type of 'cuda', but CUDA is not available. Disabling", stacklevel=2)
            enabled = False
        elif enabled and self.fast_dtype not in (bfloat16, float16):
            warnings.warn(f"In {device_type.upper()} autocast, but the target dtype is not supported. Disabling autocast.\n{device_type.upper()} Autocast only "
                          "supports dtypes of torsh.bfloat16, torsh.float16 currently.", stacklevel=2)
            enabled = False
        self._enabled = enabled

    def __enter__(self) -> autocast:
        self._before = (is_autocast_cache_enabled(), is_autocast_enabled(self.device), get_autocast_dtype(self.device))
        self._put(self._cache_enabled, self._enabled, self.fast_dtype)
        autocast_increment_nesting()
        return self

    def __exit__(self, *exc: object) -> None:
        if autocast_decrement_nesting() == 0:
            clear_autocast_cache()
        self._put(*self._before)

    def _put(self, caching: bool, enabled: bool, dt: dtype) -> None:
        set_type(self.device, dt)
        set_enabled(self.device, enabled)
        set_autocast_cache_enabled(caching)

    def __call__(self, func: Callable[..., Any]) -> Callable[..., Any]:
        if not callable(func):
            raise TypeError(f"autocast()(func) requires a callable, but got {type(func).__name__}. Did you mean to use autocast as a context manager? For "
                            "example:\n    with torsh.autocast(device_type=...):\n        output = model(input)")

        @functools.wraps(func)
        def call(*args: Any, **kwargs: Any) -> Any:
            with autocast(self.device, self.fast_dtype, self._enabled, self._cache_enabled):
                return func(*args, **kwargs)
        return call


def _text(device_type: Any) -> str:
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
    return device_type


def custom_fwd(fwd: Callable[..., Any] | None = None, *, device_type: str, cast_inputs: dtype | None = None) -> Any:
    """Decorator of the `forward` of an `autograd.Function`: it runs under autocast as the caller does or, with `cast_inputs`, with its floating
    tensors of that type and autocast off. Raises ValueError unless `device_type` is a str."""
    _text(device_type)
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)
    forward = fwd

    @functools.wraps(forward)
    def call(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        ctx._autocast_dtype = get_autocast_dtype(device_type)
        on = is_autocast_enabled(device_type)
        ctx._autocast_used = on and cast_inputs is None
        if cast_inputs is None or not on:
            return forward(ctx, *args, **kwargs)
        with autocast(device_type, enabled=False):
            return forward(ctx, *[_cast(a, cast_inputs) for a in args], **{k: _cast(v, cast_inputs) for k, v in kwargs.items()})
    return call


def custom_bwd(bwd: Callable[..., Any] | None = None, *, device_type: str) -> Any:
    """Decorator of the `backward` of an `autograd.Function` whose `forward` has `custom_fwd`: it runs under autocast as that did.

    Raises ValueError unless `device_type` is a str.
    """
    _text(device_type)
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)
    backward = bwd

    @functools.wraps(backward)
    def call(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        with autocast(device_type, ctx._autocast_dtype, ctx._autocast_used):
            return backward(ctx, *args, **kwargs)
    return call


__all__ = ["autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]

"""Autocast: operations that choose the type they compute in. What is on, for each thread; and how an operation follows it.

An operation that takes part asks `entered.autocast` first, which is 0 in a process that does not use autocast. What it then calls is itself
again, with its tensors cast and autocast off, so that what it is made of is as written. Which operations take part, and in which type, is
PyTorch's choice for the CPU: products and convolutions in the lower type, losses and what is delicate in float32.
"""
from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from torsh.autograd import engine
from torsh.autograd.entered import entered
from torsh.autograd.grad_mode import state as grad_state
from torsh.core.dtypes import bfloat16, dtype, float16, float32, float64
from torsh.tensor.tensor import Tensor

F = TypeVar("F", bound=Callable[..., Any])

#: The lower type of each kind of device at first. Only the CPU's operations exist in this build.
LOWER = {"cpu": bfloat16, "cuda": float16, "xla": bfloat16, "ipu": float16, "mps": float16, "xpu": float16, "hpu": bfloat16, "mtia": float16, "maia": bfloat16}


class _State(threading.local):
    """`lower`: the CPU's lower type while autocast is on for it, else None."""

    def __init__(self) -> None:
        self.lower: dtype | None = None
        self.enabled: dict[str, bool] = {}
        self.types: dict[str, dtype] = dict(LOWER)
        self.caching = True
        self.nesting = 0
        #: Parameters cast once in a context: by identity, what they were then and the result.
        self.casts: dict[tuple[int, dtype, bool], tuple[Tensor, Any, int, Tensor]] = {}


_state = _State()


def lower_type() -> dtype | None:
    """The type of products on the CPU, None where autocast is off."""
    return _state.lower


def set_enabled(device_type: str, enabled: bool) -> None:
    """Switch autocast for a kind of device, in this thread."""
    before = _state.enabled.get(device_type, False)
    _state.enabled[device_type] = enabled
    if device_type == "cpu":
        entered.autocast += int(enabled) - int(before)
        _state.lower = _state.types["cpu"] if enabled else None


def set_type(device_type: str, dt: dtype) -> None:
    """Set the lower type of a kind of device, in this thread."""
    _state.types[device_type] = dt
    if device_type == "cpu" and _state.lower is not None:
        _state.lower = dt


def settings() -> Any:
    """What is set in this thread."""
    return _state


def surroundings() -> tuple[bool, dtype]:
    """(whether autocast is on for the CPU, its lower type), for `within`."""
    return _state.lower is not None, _state.types["cpu"]


class within:
    """Context manager: autocast for the CPU as `surroundings` found it elsewhere."""

    def __init__(self, found: tuple[bool, dtype]) -> None:
        self.found = found

    def __enter__(self) -> None:
        self.before = surroundings()
        self._put(self.found)

    def __exit__(self, *exc: object) -> None:
        self._put(self.before)

    @staticmethod
    def _put(found: tuple[bool, dtype]) -> None:
        set_type("cpu", found[1])
        set_enabled("cpu", found[0])


# ---- casting


def _eligible(x: Any) -> bool:
    return isinstance(x, Tensor) and x._dtype.category == 2 and x._dtype is not float64 and not x._dtype.on_host


def _cast(x: Any, dt: dtype) -> Any:
    if isinstance(x, (list, tuple)):
        found = [_cast(e, dt) for e in x]
        return x if all(a is b for a, b in zip(found, x, strict=True)) else type(x)(*found) if hasattr(x, "_fields") else type(x)(found)
    if not _eligible(x) or x._dtype is dt:
        return x
    if not (_state.caching and dt is not float32 and x._dtype is float32 and x._requires_grad and x._grad_fn is None and x._base is None):
        return engine.arithmetic.cast(x, dt)
    key = id(x), dt, grad_state.enabled
    known = _state.casts.get(key)
    if known is None or known[1] is not x._storage or known[2] != x._storage.version:
        known = _state.casts[key] = (x, x._storage, x._storage.version, engine.arithmetic.cast(x, dt))
    return known[3]


def outside(f: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """`f(*args, **kwargs)` with autocast off."""
    lower, _state.lower = _state.lower, None
    try:
        return f(*args, **kwargs)
    finally:
        _state.lower = lower


def lowered(f: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """`f` of its floating tensors in the lower type, which is known to be on."""
    dt: Any = _state.lower
    return outside(f, *[_cast(a, dt) for a in args], **{k: _cast(v, dt) for k, v in kwargs.items()})


def raised(f: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """`f` of its floating tensors in float32, with autocast off."""
    return outside(f, *[_cast(a, float32) for a in args], **{k: _cast(v, float32) for k, v in kwargs.items()})


def _taking_part(choose: Callable[[tuple[Any, ...], dict[str, Any]], dtype]) -> Callable[[F], F]:
    def decorate(f: F) -> F:
        @functools.wraps(f)
        def call(*args: Any, **kwargs: Any) -> Any:
            if not entered.autocast or _state.lower is None:
                return f(*args, **kwargs)
            dt = choose(args, kwargs)
            return outside(f, *[_cast(a, dt) for a in args], **{k: _cast(v, dt) for k, v in kwargs.items()})
        return call  # type: ignore[return-value]
    return decorate


def _widest(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dtype:
    found = [t._dtype for t in (*args, *kwargs.values()) if _eligible(t)]
    return found[0] if found and all(d is found[0] for d in found) else float32


#: Decorators: under autocast, the operation computes in the lower type, in float32, or in the widest of its tensors' types.
in_lower_type = _taking_part(lambda args, kwargs: _state.lower or float32)
in_full_precision = _taking_part(lambda args, kwargs: float32)
in_widest_type = _taking_part(_widest)


def as_written(f: F) -> F:
    """Decorator: autocast is off inside."""
    @functools.wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not entered.autocast or _state.lower is None:
            return f(*args, **kwargs)
        return outside(f, *args, **kwargs)
    return call  # type: ignore[return-value]


__all__ = ["LOWER", "as_written", "in_full_precision", "in_lower_type", "in_widest_type", "lower_type", "lowered", "outside", "raised", "set_enabled",
           "set_type", "settings", "surroundings", "within"]

"""Whether operations are recorded for backward (per thread)."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torsh.autograd.decorated import decorated
from torsh.autograd.entered import entered
from torsh.autograd.local import state
from torsh.core.native import mypyc_attr


@mypyc_attr(allow_interpreted_subclasses=True)
class _Mode:
    """A context manager that is also a decorator."""
    _previous: Any

    def __enter__(self) -> Any:
        raise NotImplementedError(type(self).__name__)

    def __exit__(self, *exc: object) -> None:
        state.enabled, state.inference = self._previous

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return decorated(self, function)

    def clone(self) -> Any:
        kind: Any = type(self)
        return kind()


@mypyc_attr(allow_interpreted_subclasses=True)
class no_grad(_Mode):
    """Operations inside are not recorded. Context manager or decorator."""

    _enabled: bool

    def __new__(cls, orig_func: Callable[..., Any] | None = None) -> Any:
        made = super().__new__(cls)
        return made if orig_func is None else made(orig_func)

    def __enter__(self) -> Any:
        self._enabled = state.enabled
        state.enabled = False
        return self

    def __exit__(self, *exc: object) -> None:
        state.enabled = self._enabled


@mypyc_attr(allow_interpreted_subclasses=True)
class enable_grad(no_grad):
    """Operations inside are recorded, also within `no_grad`. Context manager or decorator."""

    def __enter__(self) -> Any:
        self._enabled = state.enabled
        state.enabled = True
        return self


@mypyc_attr(allow_interpreted_subclasses=True)
class set_grad_enabled(_Mode):
    """Switch recording on or off, at once; as a context manager the old state comes back at the end."""

    def __init__(self, mode: bool) -> None:
        self._previous = (state.enabled, state.inference)
        self.mode = bool(mode)
        state.enabled = self.mode

    def __enter__(self) -> Any:
        state.enabled = self.mode
        return self

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        state.enabled = self._previous[0]
        return super().__call__(function)

    def clone(self) -> Any:
        return set_grad_enabled(self.mode)


@mypyc_attr(allow_interpreted_subclasses=True)
class set_multithreading_enabled(_Mode):
    """Allow backward to use other threads, or not, at once; as a context manager the old state comes back at the end.

    Backward runs on the calling thread in either case, as PyTorch's does for tensors on the CPU; kernels take their threads from one pool.
    """

    def __init__(self, mode: bool) -> None:
        self._before = state.multithreading
        self.mode = state.multithreading = bool(mode)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exc: object) -> None:
        state.multithreading = self._before

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        state.multithreading = self._before
        return super().__call__(function)

    def clone(self) -> Any:
        return set_multithreading_enabled(self.mode)


@mypyc_attr(allow_interpreted_subclasses=True)
class inference_mode(_Mode):
    """As `no_grad`, and the tensors made inside can never take part in recording."""

    def __new__(cls, mode: Any = True) -> Any:
        made = super().__new__(cls)
        if callable(mode) and not isinstance(mode, bool):
            made.mode = True
            return made(mode)
        return made

    def __init__(self, mode: bool = True) -> None:
        self.mode = bool(mode)

    def __enter__(self) -> Any:
        self._previous = (state.enabled, state.inference)
        if self.mode:
            state.enabled, state.inference = False, True
        else:
            state.enabled, state.inference = True, False
        entered.inference += 1
        return self

    def __exit__(self, *exc: object) -> None:
        entered.inference -= 1
        super().__exit__(*exc)

    def clone(self) -> Any:
        return inference_mode(self.mode)


def is_grad_enabled() -> bool:
    """Whether operations are being recorded."""
    return state.enabled


def is_inference_mode_enabled() -> bool:
    """Whether `inference_mode` is on."""
    return state.inference

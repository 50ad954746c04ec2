"""Anomaly mode: backward tells which forward call an error or a NaN comes from."""
from __future__ import annotations

import os
import traceback
import warnings
from collections.abc import Sequence
from typing import Any

from torsh.autograd.engine import arithmetic
from torsh.autograd.graph import GradNode, settings

_PACKAGE = os.path.dirname(os.path.dirname(__file__)) + os.sep


class _Anomaly:
    enabled = False
    check_nan = True


def _remember(node: GradNode) -> None:
    frames = traceback.extract_stack()
    while frames and frames[-1].filename.startswith(_PACKAGE):  # compiled modules have no frames, so there is no fixed number to leave out
        frames.pop()
    node.where = "".join(traceback.format_list(frames))


def _failed(node: Any) -> None:
    if isinstance(node, GradNode) and node.where is not None:
        warnings.warn(f"Error detected in {node.name}. Traceback of forward call that caused the error:\n{node.where}", stacklevel=2)
    else:
        warnings.warn(f"Error detected in {getattr(node, 'name', node)}. No forward pass information available. Enable detect anomaly during "
                      "forward pass for more information.", stacklevel=2)


def _check(node: Any, results: Sequence[Any]) -> None:
    for i, g in enumerate(results):
        if g is not None and g._dtype.category >= 2 and bool((g.detach() != g.detach()).any()):
            raise RuntimeError(f"Function '{node.name}' returned nan values in its {i}th output.")


def _apply(mode: bool, check_nan: bool) -> None:
    _Anomaly.enabled, _Anomaly.check_nan = mode, check_nan
    settings.on_record = _remember if mode else None
    arithmetic.check = _check if mode and check_nan else None
    arithmetic.failed = _failed if mode else None


class set_detect_anomaly:
    """Switch anomaly mode on or off; as a context manager the old state comes back at the end."""

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self._previous = (_Anomaly.enabled, _Anomaly.check_nan)
        _apply(bool(mode), bool(check_nan))

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc: object) -> None:
        _apply(*self._previous)


class detect_anomaly:
    """Context manager: errors in backward name the forward call, and NaN gradients (if `check_nan`) are errors.

    Each gradient is computed and looked at on its own, so this is slow: a tool for finding mistakes.
    """

    def __init__(self, check_nan: bool = True) -> None:
        self.check_nan = check_nan
        warnings.warn("Anomaly Detection has been enabled. This mode will increase the runtime and should only be enabled for debugging.",
                      stacklevel=2)

    def __enter__(self) -> None:
        self._previous = (_Anomaly.enabled, _Anomaly.check_nan)
        _apply(True, self.check_nan)

    def __exit__(self, *exc: object) -> None:
        _apply(*self._previous)


def set_anomaly_enabled(enabled: bool, check_nan: bool = True) -> None:
    """Switch anomaly mode on or off."""
    _apply(bool(enabled), bool(check_nan))


def is_anomaly_enabled() -> bool:
    """Whether anomaly mode is on."""
    return _Anomaly.enabled


def is_anomaly_check_nan_enabled() -> bool:
    """Whether anomaly mode looks for NaN."""
    return _Anomaly.check_nan


__all__ = ["detect_anomaly", "is_anomaly_check_nan_enabled", "is_anomaly_enabled", "set_anomaly_enabled", "set_detect_anomaly"]

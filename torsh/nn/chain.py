"""A value passed through modules one after another, as `Sequential` does, without the frame that calling each would take."""
from __future__ import annotations

from typing import Any, Final

from torsh.nn.hooks import Everywhere
from torsh.nn.module import LOCATED, Module, located

_CALL: Final[Any] = Module.__call__
_everywhere: Final[Any] = Everywhere.calls


def passed(modules: dict[str, Any], value: Any) -> Any:
    """What the last module gives. One whose class is called in a way of its own, or that has hooks, is called as usual."""
    for module in modules.values():
        kind: Any = type(module)
        if kind.__call__ is not _CALL or _everywhere or module.__dict__.get("_call_hooks", True):
            value = module(value)
            continue
        try:
            value = module.forward(value)
        except LOCATED as error:
            located(module, error)
            raise
    return value

"""What registering a hook gives."""
from __future__ import annotations

import itertools
from typing import Any

_hook_ids = itertools.count()


class HookHandle:
    """Removes a hook, from `hooks` and from the dictionaries of flags in `also`; also a context manager."""

    def __init__(self, hooks: dict[int, Any], hook: Any, *also: dict[int, Any]) -> None:
        self.hooks = hooks
        self.also = also
        self.id = next(_hook_ids)
        hooks[self.id] = hook

    def remove(self) -> None:
        """Remove the hook (again is no error)."""
        for d in (self.hooks, *self.also):
            d.pop(self.id, None)

    def __enter__(self) -> HookHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()

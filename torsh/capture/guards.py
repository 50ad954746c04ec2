"""What a captured function read besides its arguments: tensors it may use and Python values that must still be the same."""
from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any, Final

from torsh.nn.changes import changes
from torsh.nn.hooks import Everywhere
from torsh.nn.members import GROUPS
from torsh.nn.module import Module
from torsh.tensor.tensor import Tensor

PLAIN: Final = (bool, int, float, complex, str, bytes, type(None))


def _all_held(entries: list[tuple[dict[str, Any], Any, Any]]) -> bool:
    for where, key, thing in entries:
        if where.get(key) is not thing:
            return False
    return True


def _all_equal(entries: list[tuple[dict[str, Any], Any, Any]]) -> bool:
    for where, key, value in entries:
        if not equal(where.get(key, _ABSENT), value):
            return False
    return True


def equal(found: Any, value: Any) -> bool:
    """Whether a value is the same object, or a number or text that a program cannot tell apart."""
    if found is value:
        return True
    return isinstance(value, PLAIN) and type(found) is type(value) and bool(found == value) and (value != 0 or str(found) == str(value))


_ABSENT: Final = object()


class Surroundings:
    """The tensors and Python values that a function can reach: its module's, and those of its closure, its defaults and the globals it names.

    tensors: parameters, buffers and others, each once
    own_held, held: (dictionary, key, object) that must still be that object, those of modules first; own_plain, plain: (dictionary, key,
        value) that must still be equal; cells: closures' variables and what they held
    seen: the count of changes to modules at which theirs were last looked at
    """

    def __init__(self, function: Any) -> None:
        self.tensors: list[Tensor] = []
        self.own_held: list[tuple[dict[str, Any], Any, Any]] = []
        self.held: list[tuple[dict[str, Any], Any, Any]] = []
        self.own_plain: list[tuple[dict[str, Any], Any, Any]] = []
        self.plain: list[tuple[dict[str, Any], Any, Any]] = []
        self.cells: list[tuple[Any, Any]] = []
        self.modules: list[dict[str, Any]] = []
        self._visited: set[int] = set()
        self.seen: int = changes.count
        self._reach(function)

    def hooked(self) -> bool:
        """Whether a module has hooks, or all have: these run Python code of their own at each call."""
        return bool(Everywhere.calls) or any(bool(own["_call_hooks"]) for own in self.modules)

    def same(self) -> bool:
        """Whether everything is as it was."""
        if self.seen != changes.count:
            if self.hooked() or not _all_held(self.own_held) or not _all_equal(self.own_plain):
                return False
            self.seen = changes.count
        if not _all_held(self.held) or not _all_equal(self.plain):
            return False
        for cell, value in self.cells:
            if not equal(cell.cell_contents, value):
                return False
        return True

    def _reach(self, thing: Any) -> None:
        if id(thing) in self._visited or isinstance(thing, PLAIN):
            return
        self._visited.add(id(thing))
        if isinstance(thing, Tensor):
            self.tensors.append(thing)
        elif isinstance(thing, Module):
            self._module(thing)
        elif isinstance(thing, types.MethodType):
            self._reach(thing.__self__)
            self._reach(thing.__func__)
        elif isinstance(thing, types.FunctionType):
            self._function(thing)
        elif isinstance(thing, (list, tuple, set)):
            for x in thing:
                self._reach(x)
        elif isinstance(thing, dict):
            for x in thing.values():
                self._reach(x)

    def _module(self, module: Module) -> None:
        own = module.__dict__
        for key, value in own.items():
            if isinstance(value, PLAIN):
                self.own_plain.append((own, key, value))
        for table in GROUPS:
            for name, value in own[table].items():
                self.own_held.append((own[table], name, value))
                self._reach(value)
        self.modules.append(own)
        for key, value in own.items():
            if key not in GROUPS:
                self._reach(value)
        if not type(module).__module__.startswith("torsh.nn"):
            self._reach(type(module).forward)

    def _function(self, function: Callable[..., Any]) -> None:
        if function.__module__ is not None and function.__module__.split(".")[0] == "torsh":
            return
        for cell in function.__closure__ or ():
            try:
                value = cell.cell_contents
            except ValueError:
                continue  # a name that has no value yet
            self.cells.append((cell, value))
            self._reach(value)
        self._reach(function.__defaults__)
        self._reach(function.__kwdefaults__)
        for name in function.__code__.co_names:
            if name in function.__globals__:
                value = function.__globals__[name]
                if isinstance(value, PLAIN):
                    self.plain.append((function.__globals__, name, value))
                elif isinstance(value, (Tensor, Module, types.FunctionType, list, tuple, dict)):
                    self.held.append((function.__globals__, name, value))
                    self._reach(value)

"""What a captured function read besides its arguments: tensors it may use and Python values that must still be the same."""
from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

from torsh.nn.module import Module, _everywhere
from torsh.tensor.tensor import Tensor

_PLAIN = (bool, int, float, complex, str, bytes, type(None))


class Surroundings:
    """The tensors and Python values that a function can reach: its module's, and those of its closure, its defaults and the globals it names.

    tensors: parameters, buffers and others, each once
    held: (dictionary, key, object) that must still be that object; plain: (dictionary, key, value) that must still be equal
    """

    def __init__(self, function: Any) -> None:
        self.tensors: list[Tensor] = []
        self.held: list[tuple[dict[str, Any], Any, Any]] = []
        self.plain: list[tuple[dict[str, Any], Any, Any]] = []
        self.cells: list[tuple[Any, Any]] = []
        self.modules: list[dict[str, Any]] = []
        self._seen: set[int] = set()
        self._reach(function)

    def hooked(self) -> bool:
        """Whether a module has hooks, or all have: these run Python code of their own at each call."""
        return bool(_everywhere) or any(own["_call_hooks"] for own in self.modules)

    def same(self) -> bool:
        """Whether everything is as it was."""
        if self.hooked():
            return False
        for where, key, thing in self.held:
            if where.get(key) is not thing:
                return False
        for where, key, value in self.plain:
            found = where.get(key, self)
            if found is not value and (type(found) is not type(value) or found != value):
                return False
        for cell, value in self.cells:
            found = cell.cell_contents
            if found is not value and (type(value) not in _PLAIN or type(found) is not type(value) or found != value):
                return False
        return True

    def _reach(self, thing: Any) -> None:
        if id(thing) in self._seen or isinstance(thing, _PLAIN):
            return
        self._seen.add(id(thing))
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
            if isinstance(value, _PLAIN):
                self.plain.append((own, key, value))
        for table in ("_parameters", "_buffers", "_modules"):
            for name, value in own[table].items():
                self.held.append((own[table], name, value))
                self._reach(value)
        self.modules.append(own)
        for key, value in own.items():
            if key not in ("_parameters", "_buffers", "_modules"):
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
                if isinstance(value, _PLAIN):
                    self.plain.append((function.__globals__, name, value))
                elif isinstance(value, (Tensor, Module, types.FunctionType, list, tuple, dict)):
                    self.held.append((function.__globals__, name, value))
                    self._reach(value)

"""torsh.compile: a function captured once for each kind of call, and replayed as one node."""
from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from torsh.autograd.autocast import lower_type
from torsh.autograd.grad_mode import state
from torsh.capture.graph import GraphBreak
from torsh.capture.variant import Variant, kind_of
from torsh.core import config
from torsh.func.trees import Structure, flatten
from torsh.nn.hooks import Everywhere
from torsh.nn.module import Module

_MOST_VARIANTS = 64


def _log(text: str) -> None:
    if "recompiles" in config.LOG:
        print(f"torsh.compile: {text}", file=sys.stderr)


class Compiled:
    """A compiled function: see `compile`."""

    def __init__(self, function: Callable[..., Any], fullgraph: bool) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._fullgraph = fullgraph
        self._variants: dict[Any, list[Variant]] = {}
        self._last: Variant | None = None
        self._name = getattr(function, "__qualname__", type(function).__name__)
        self._broken: str | None = None

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        last = self._last
        if last is not None and not kwargs and last.accepts(args) and last.fits():
            return last.run(args)
        if self._broken is not None:
            return self._function(*args, **kwargs)
        leaves, structure = flatten((args, kwargs))
        storages: dict[int, int] = {}
        key = (structure, state.enabled, state.inference, lower_type(), tuple([kind_of(x, storages) for x in leaves]))
        for variant in self._variants.get(key, ()):
            if variant.fits():
                self._last = variant
                return variant.run(leaves)
        return self._first(key, leaves, structure, args, kwargs)

    def _first(self, key: Any, leaves: list[Any], structure: Structure, args: Any, kwargs: Any) -> Any:
        """Capture for a kind of call that is new, or whose surroundings changed."""
        count = sum(len(v) for v in self._variants.values())
        if count:
            why = "what it reads besides its arguments changed" if key in self._variants else "arguments of another kind"
            _log(f"{self._name}: capturing again ({why}), variant {count + 1}")
        if count >= _MOST_VARIANTS:
            _log(f"{self._name}: more than {_MOST_VARIANTS} variants; it runs without torsh.compile from now on")
            self._broken, self._last = "too many variants", None
            return self._function(*args, **kwargs)
        try:
            variant = Variant(self._function, leaves, structure, self._name)
        except GraphBreak as stop:
            if self._fullgraph:
                raise GraphBreak(f"torsh.compile(fullgraph=True): {self._name} cannot be captured whole: {stop}") from None
            _log(f"{self._name}: not captured: {stop}; it runs without torsh.compile from now on")
            self._broken, self._last = str(stop), None
            return self._function(*args, **kwargs)
        self._variants.setdefault(key, []).insert(0, variant)
        self._last = variant
        return variant.run(leaves)


class CompiledModule(Module):
    """A module whose call is compiled; everything else is the module's own (`_orig_mod`)."""

    def __init__(self, module: Module, fullgraph: bool) -> None:
        super().__init__()
        self._orig_mod = module
        self.__dict__["_compiled"] = Compiled(module, fullgraph)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._compiled(*args, **kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._call_hooks or Everywhere.calls:
            return super().__call__(*args, **kwargs)
        return self._compiled(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("_orig_mod"), name)


def compile(model: Any = None, *, fullgraph: bool = False, dynamic: bool | None = None, backend: Any = None, mode: str | None = None,
            options: Any = None, disable: bool = False) -> Any:
    """A function or module that runs its Python code once for each kind of call and replays what it recorded.

    Kinds differ by shapes, strides, dtypes and aliasing of tensor arguments, by other arguments' values, by the grad mode, and by what the
    function read besides: training flags and other plain attributes of modules, closures, globals. In-place writes and random numbers happen
    anew in each replay. A function that needs a tensor's value while it runs is left as it is, or refused with `fullgraph` (GraphBreak).
    `dynamic`, `mode`, `backend` and `options` are accepted: kernels take sizes as arguments anyway. TORSH_LOG=recompiles tells of new variants.

    >>> import torsh
    >>> f = torsh.compile(lambda x: (x * 2).relu())
    >>> f(torsh.tensor([-1.0, 3.0]))
    tensor([0., 6.])
    """
    if model is None:
        return lambda m: compile(m, fullgraph=fullgraph, dynamic=dynamic, backend=backend, mode=mode, options=options, disable=disable)
    if disable:
        return model
    if not callable(model):
        raise TypeError(f"torsh.compile: expected a function or a module, got {type(model).__name__}")
    return CompiledModule(model, fullgraph) if isinstance(model, Module) else Compiled(model, fullgraph)

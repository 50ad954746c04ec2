"""The ToRSh counterpart of anything PyTorch's operator database refers to: functions, methods, types, wrappers around them."""
from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.testing._internal import common_methods_invocations as database

import torsh

NAMESPACES = ("", "Tensor", "nn.functional", "linalg", "fft", "special", "signal.windows", "masked", "autograd", "func", "nn")
OWN_TORCH_CODE = "torch.testing"  # functions defined below this are wrappers written for tests, not PyTorch itself


class Missing(LookupError):
    """ToRSh has nothing under this name."""


def walk(root: Any, path: str) -> Any:
    """`walk(torch, "linalg.svd")`. Raises AttributeError."""
    for part in path.split(".") if path else ():
        root = getattr(root, part)
    return root


def lookup(path: str) -> Any:
    """What ToRSh has under a name path. Raises Missing."""
    try:
        return walk(torsh, path)
    except (AttributeError, ModuleNotFoundError):
        raise Missing(f"torsh.{path}") from None


@functools.cache
def public_paths() -> dict[int, str]:
    """The name paths of PyTorch's public callables, by identity; the first namespace that has one names it."""
    found: dict[int, str] = {}
    for namespace in NAMESPACES:
        owner = walk(torch, namespace)
        for name in dir(owner):
            if name.startswith("_") and not name.startswith("__"):
                continue
            value = getattr(owner, name, None)
            if callable(value):
                found.setdefault(id(value), f"{namespace}.{name}" if namespace else name)
    return found


def entry_path(name: str, operator: Any) -> str | None:
    """The public name path of an entry's operator, None when there is only a wrapper of its own."""
    for namespace in ("", "Tensor", "nn.functional"):
        path = f"{namespace}.{name}" if namespace else name
        try:
            if walk(torch, path) is operator:
                return path
        except (AttributeError, ModuleNotFoundError):
            continue
    return public_paths().get(id(operator))


def exists(name: str) -> bool:
    """Whether ToRSh has an operator of an entry's name, as a function or a method."""
    for path in (name, f"Tensor.{name}", f"Tensor.{name}_", f"nn.functional.{name}", f"ops.aten.{name}"):
        try:
            walk(torsh, path)
        except (AttributeError, ModuleNotFoundError):
            continue
        return True
    return False


_made: dict[int, tuple[Any, Any]] = {}  # by identity, the original kept alive so that its identity stays its own


def twin(value: Any) -> Any:
    """The counterpart of a value of PyTorch's world. Raises Missing when there is none."""
    if id(value) in _made:
        return _made[id(value)][1]
    if value is torch:
        return torsh
    if isinstance(value, torch.dtype):
        return lookup(str(value).removeprefix("torch."))
    if isinstance(value, (torch.memory_format, torch.layout)):
        return lookup(str(value).removeprefix("torch."))
    if isinstance(value, torch.device):
        return torsh.device(str(value))
    if isinstance(value, types.ModuleType):
        if value.__name__.startswith(OWN_TORCH_CODE):
            return Mirror(value)
        return lookup(value.__name__.removeprefix("torch.")) if value.__name__.startswith("torch.") else value
    if isinstance(value, functools.partial):
        return functools.partial(twin(value.func), *map(twin, value.args), **{k: twin(v) for k, v in value.keywords.items()})
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        return type(value)(map(twin, value))
    if isinstance(value, (torch._ops.OpOverload, torch._ops.OpOverloadPacket)):
        name = str(value).removeprefix("aten.").split(".")[0]
        try:
            return lookup(name)
        except Missing:
            return lookup(f"ops.aten.{name}")
    if not callable(value):
        return value
    path = public_paths().get(id(value))
    if path is not None:
        return lookup(path)
    if isinstance(value, types.FunctionType) and (value.__module__ or "").startswith(OWN_TORCH_CODE):
        return rebound(value)
    if isinstance(value, types.FunctionType) and (value.__module__ or "").startswith("torch"):
        raise Missing(f"{value.__module__}.{value.__qualname__}")
    if isinstance(value, type) and value.__module__.startswith("torch"):
        return lookup(value.__name__) if value.__module__ == "torch" else lookup(f"{value.__module__.removeprefix('torch.')}.{value.__name__}")
    return value


def rebound(function: types.FunctionType) -> Callable[..., Any]:
    """A wrapper written for PyTorch's tests, with ToRSh in the place of PyTorch in its globals, closure and defaults."""
    scope: dict[str, Any] = {"__builtins__": __builtins__, "__name__": function.__module__}
    copy = types.FunctionType(function.__code__, scope, function.__name__, None, _closure(function))
    _made[id(function)] = (function, copy)  # before its globals are looked at: they may come back to it
    copy.__defaults__ = twin(function.__defaults__) if function.__defaults__ else None
    copy.__kwdefaults__ = {k: twin(v) for k, v in function.__kwdefaults__.items()} if function.__kwdefaults__ else None
    for name in _global_names(function.__code__):
        if name in function.__globals__:
            try:
                scope[name] = twin(function.__globals__[name])
            except Missing:
                continue  # a NameError when it is used; most are names of attributes that happen to be globals too
    return copy


def _closure(function: types.FunctionType) -> tuple[types.CellType, ...]:
    return tuple(types.CellType(twin(cell.cell_contents)) for cell in function.__closure__ or ())


def _global_names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _global_names(constant)


class Mirror:
    """A module of PyTorch's test helpers whose members are their counterparts."""

    def __init__(self, module: types.ModuleType) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return twin(getattr(self._module, name))


# ---- the random seed of the database's own wrappers is set by whoever judges


class Seed:
    """The seed that `wrapper_set_seed` uses, in both worlds."""
    value = 42


def _seeded_theirs(op: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    torch.manual_seed(Seed.value)
    return op(*args, **kwargs)


def _seeded_ours(op: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    torsh.manual_seed(Seed.value)
    return op(*args, **kwargs)


for _holder in (database,):
    _made[id(_holder.wrapper_set_seed)] = (_holder.wrapper_set_seed, _seeded_ours)
    _holder.wrapper_set_seed = _seeded_theirs
_made[id(_seeded_theirs)] = (_seeded_theirs, _seeded_ours)

"""Decorators of datapipes: stages as methods, determinism, types of arguments and samples."""
from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

from torsh.data.datapipe import IterDataPipe, MapDataPipe, declared_type


class functional_datapipe:
    """Class decorator: the stage is a method, of this name, of every pipe of its kind.

    >>> @functional_datapipe("doubled")
    ... class Doubler(IterDataPipe):
    ...     def __init__(self, source):
    ...         self.source = source
    ...     def __iter__(self):
    ...         for x in self.source:
    ...             yield 2 * x
    >>> list(Doubler([1, 2]).doubled())
    [4, 8]
    """

    def __init__(self, name: str, enable_df_api_tracing: bool = False) -> None:
        self.name = name
        self.enable_df_api_tracing = enable_df_api_tracing

    def __call__(self, cls: Any) -> Any:
        kind = getattr(cls, "cls", cls)
        kind = getattr(getattr(cls, "__self__", None), "cls", None) or kind
        if not isinstance(kind, type) or not issubclass(kind, (IterDataPipe, MapDataPipe)):
            raise TypeError("`functional_datapipe` can only decorate IterDataPipe and MapDataPipe")
        base: Any = IterDataPipe if issubclass(kind, IterDataPipe) else MapDataPipe
        base.register_datapipe_as_function(self.name, cls, enable_df_api_tracing=self.enable_df_api_tracing)
        return cls


class _Switches:
    determinism = False
    validation = True


class _Switched:
    """Sets a switch at once; as a context manager the old state comes back at the end."""
    _name: str
    _value: bool

    def __init__(self) -> None:
        self.prev: bool = getattr(_Switches, self._name)
        setattr(_Switches, self._name, self._value)

    def __enter__(self) -> None:
        pass

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        setattr(_Switches, self._name, self.prev)


class guaranteed_datapipes_determinism(_Switched):
    """While it is on, pipes declared `non_deterministic` raise TypeError when they are made."""
    _name, _value = "determinism", True


class runtime_validation_disabled(_Switched):
    """While it is on, `runtime_validation` lets every sample pass."""
    _name, _value = "validation", False


class non_deterministic:
    """Class decorator for pipes that do not give the same twice; or, with a function of the arguments that tells whether they do not.

    Raises TypeError for other classes.
    """

    def __init__(self, arg: type[IterDataPipe[Any]] | Callable[..., bool]) -> None:
        self.cls: Any = None
        self.deterministic_fn: Any = None
        if isinstance(arg, type):
            if not issubclass(arg, IterDataPipe):
                raise TypeError(f"Only `IterDataPipe` can be decorated with `non_deterministic`, but {arg.__name__} is found")
            self.cls = arg
        elif callable(arg):
            self.deterministic_fn = arg
        else:
            raise TypeError(f"{arg} can not be decorated by non_deterministic")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.cls is None:
            (kind,) = args
            if not isinstance(kind, type) or not issubclass(kind, IterDataPipe):
                raise TypeError(f"Only `IterDataPipe` can be decorated, but {kind} is found")
            self.cls = kind
            return self.deterministic_wrapper_fn
        self._check()
        return self.cls(*args, **kwargs)

    def _check(self) -> None:
        if _Switches.determinism:
            raise TypeError(f"{self.cls.__name__} is non-deterministic, but you set 'guaranteed_datapipes_determinism'. You can turn off determinism for "
                            "this DataPipe if that is acceptable for your application")

    def deterministic_wrapper_fn(self, *args: Any, **kwargs: Any) -> IterDataPipe[Any]:
        """The pipe of these arguments. Raises TypeError when it is not deterministic and must be."""
        varies = self.deterministic_fn(*args, **kwargs)
        if not isinstance(varies, bool):
            raise TypeError(f"deterministic_fn of `non_deterministic` decorator is required to return a boolean value, but {type(varies)} is found")
        if varies:
            self._check()
        return self.cls(*args, **kwargs)  # type: ignore[no-any-return]


def is_subtype(one: Any, other: Any) -> bool:
    """Whether every instance of type `one` is one of `other`, for classes, unions, type variables and generics of them."""
    if other is Any or one == other:
        return True
    if isinstance(other, typing.TypeVar):
        return all(a is Any for a in _choices(other)) or any(is_subtype(one, a) for a in _choices(other))
    if one is Any:
        return False
    for t, every in ((one, True), (other, False)):
        choices = _choices(t)
        if choices:
            return (all if every else any)([is_subtype(c, other) if every else is_subtype(one, c) for c in choices])
    left, right = typing.get_origin(one) or one, typing.get_origin(other) or other
    if not (isinstance(left, type) and isinstance(right, type) and issubclass(left, right)):
        return False
    wanted, have = typing.get_args(other), typing.get_args(one)
    return not wanted or (len(wanted) == len(have) and all(map(is_subtype, have, wanted)))


def _choices(t: Any) -> tuple[Any, ...]:
    """The members of a union; what a type variable may be."""
    if isinstance(t, typing.TypeVar):
        return (t.__bound__,) if t.__bound__ is not None else t.__constraints__ or (Any,)
    return typing.get_args(t) if typing.get_origin(t) in (typing.Union, types.UnionType) else ()


def is_instance(value: Any, t: Any) -> bool:
    """Whether a value is of a type, items of containers included."""
    choices = _choices(t)
    if choices:
        return any(is_instance(value, c) for c in choices)
    if t is Any:
        return True
    if t is None:
        return value is None
    origin, args = typing.get_origin(t) or t, typing.get_args(t)
    if not isinstance(origin, type) or not isinstance(value, origin):
        return False
    if not args:
        return True
    if isinstance(value, tuple):
        if len(args) == 2 and args[1] is Ellipsis:
            return all(is_instance(v, args[0]) for v in value)
        return len(value) == len(args) and all(map(is_instance, value, args))
    if isinstance(value, dict):
        return all(is_instance(k, args[0]) and is_instance(v, args[1]) for k, v in value.items())
    return all(is_instance(v, args[0]) for v in value) if isinstance(value, (list, set, frozenset)) else True


def _pipe_hint(hint: Any) -> Any:
    """(the class, the type of its samples) for a hint `IterDataPipe` or `IterDataPipe[T]`, else None."""
    origin = typing.get_origin(hint) or hint
    if not isinstance(origin, type) or not issubclass(origin, IterDataPipe):
        return None
    args = typing.get_args(hint)
    return origin, args[0] if args else declared_type(origin)


def argument_validation(f: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: arguments annotated with `IterDataPipe` or `IterDataPipe[T]` must be such pipes, of samples declared as T or a subtype.

    The decorated function raises TypeError otherwise.
    """
    signature = inspect.signature(f)
    hints = {name: _pipe_hint(hint) for name, hint in typing.get_type_hints(f).items()}

    @functools.wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            wanted = hints.get(name)
            if wanted is None:
                continue
            if not isinstance(value, IterDataPipe):
                raise TypeError(f"Expected argument '{name}' as a IterDataPipe, but found {type(value)}")
            if not is_subtype(value.type, wanted[1]):
                raise TypeError(f"Expected type of argument '{name}' as a subtype of hint {wanted[1]}, but found {value.type}")
        return f(*args, **kwargs)
    return call


def runtime_validation(f: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator for the `__iter__` of a pipe: each sample must be of the type declared by the base `IterDataPipe[T]`, else RuntimeError.

    Raises TypeError for another function.
    """
    if f.__name__ != "__iter__":
        raise TypeError(f"Can not decorate function {f.__name__} with 'runtime_validation'")

    @functools.wraps(f)
    def call(self: IterDataPipe[Any]) -> Iterator[Any]:
        if not _Switches.validation:
            yield from f(self)
            return
        for sample in f(self):
            if not is_instance(sample, self.type):
                raise RuntimeError(f"Expected an instance as subtype of {self.type}, but found {sample}({type(sample)})")
            yield sample
    return call


__all__ = ["argument_validation", "functional_datapipe", "guaranteed_datapipes_determinism", "non_deterministic", "runtime_validation",
           "runtime_validation_disabled"]

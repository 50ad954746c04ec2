"""Datapipes: data sets that are chained into pipelines by methods, `pipe.map(f).batch(8)`.

The bases are here; `torsh.data.datapipe_stages` has the stages (`map`, `filter`, `batch`, ...), which are known once a pipe is asked for one.
"""
from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from torsh.data.dataset import Dataset, IterableDataset

T = TypeVar("T")


class DataChunk(list[T]):
    """A batch that a pipe made: a list, which keeps the items it was made of.

    >>> DataChunk([1, 2]).as_str("> ")
    '> [1, 2]'
    """

    def __init__(self, items: Iterable[T]) -> None:
        self.items = list(items)
        super().__init__(self.items)

    def as_str(self, indent: str = "") -> str:
        """The items as text."""
        return indent + "[" + ", ".join(map(str, self)) + "]"

    def raw_iterator(self) -> Iterator[T]:
        """The items as they were given, also in a subclass that iterates otherwise."""
        yield from self.items


class _Pipe:
    """What both kinds share: stages as methods, and hooks for pickling and printing. Each kind has tables of its own."""
    functions: dict[str, Callable[..., Any]]
    reduce_ex_hook: Callable[..., Any] | None = None
    getstate_hook: Callable[..., Any] | None = None
    str_hook: Callable[..., Any] | None = None
    repr_hook: Callable[..., Any] | None = None

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_"):
            from importlib import import_module
            for module in ("datapipe_stages", "datapipe_map_stages"):  # which register what there is
                import_module("torsh.data." + module)
            if name in self.functions:
                return functools.partial(self.functions[name], self)
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    @classmethod
    def register_function(cls, function_name: str, function: Callable[..., Any]) -> None:
        """Make `function(pipe, ...)` a method of every pipe of this kind."""
        cls.functions[function_name] = function

    @classmethod
    def register_datapipe_as_function(cls, function_name: str, cls_to_register: Callable[..., Any], enable_df_api_tracing: bool = False) -> None:
        """Make a stage a method of every pipe of this kind. Raises Exception for a name that is taken, NotImplementedError for data frames."""
        if enable_df_api_tracing:
            raise NotImplementedError(f"{function_name}: tracing of data frames is not supported")
        if function_name in cls.functions:
            raise Exception(f"Unable to add DataPipe function name {function_name} as it is already taken")
        cls.functions[function_name] = cls_to_register

    def __getstate__(self) -> Any:
        hook = type(self).getstate_hook
        return self.__dict__ if hook is None else hook(self.__dict__)

    def __reduce_ex__(self, protocol: Any) -> Any:
        hook = type(self).reduce_ex_hook
        if hook is not None:
            try:
                return hook(self)
            except NotImplementedError:
                pass
        return super().__reduce_ex__(protocol)

    @classmethod
    def _set_hook(cls, name: str, hook: Callable[..., Any] | None) -> None:
        if hook is not None and getattr(cls, name) is not None:
            raise RuntimeError(f"Attempt to override existing {name}")
        setattr(cls, name, hook)

    def __repr__(self) -> str:
        hook = type(self).repr_hook
        return type(self).__qualname__ if hook is None else hook(self)

    def __str__(self) -> str:
        hook = type(self).str_hook
        return type(self).__qualname__ if hook is None else hook(self)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.functions]


class IterDataPipe(_Pipe, IterableDataset[T]):
    """A pipe of samples one after another: define `__iter__`. `reset` is called when an iterator begins.

    One iterator is valid at a time: a second one makes the first raise RuntimeError, as pipes may keep buffers. `IterDataPipe[int]` as a base
    declares what the samples are (see `runtime_validation`).

    >>> class Count(IterDataPipe):
    ...     def __iter__(self):
    ...         yield from range(5)
    >>> list(Count().map(lambda x: x * x).batch(2))
    [[0, 1], [4, 9], [16]]
    """
    functions: dict[str, Callable[..., Any]] = {}
    _valid_iterator_id: int | None = None
    _number_of_samples_yielded: int = 0

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        begin = cls.__dict__.get("__iter__")
        if begin is not None:
            cls.__iter__ = _watched(begin)  # type: ignore[method-assign]

    def __iter__(self) -> Iterator[T]:
        return self  # type: ignore[return-value]

    def reset(self) -> None:
        """Return to the initial state. Subclasses with buffers define it."""

    @property
    def type(self) -> Any:
        """The declared type of the samples, `typing.Any` unless a base says otherwise."""
        return declared_type(type(self))

    @classmethod
    def set_getstate_hook(cls, hook_fn: Callable[..., Any] | None) -> None:
        """`hook_fn(state)` gives what is pickled of a pipe. Raises RuntimeError if there is one already."""
        IterDataPipe._set_hook("getstate_hook", hook_fn)

    @classmethod
    def set_reduce_ex_hook(cls, hook_fn: Callable[..., Any] | None) -> None:
        """`hook_fn(pipe)` says how a pipe is pickled. Raises RuntimeError if there is one already."""
        IterDataPipe._set_hook("reduce_ex_hook", hook_fn)


class DFIterDataPipe(IterDataPipe[T]):
    """A pipe of data frames."""

    def _is_dfpipe(self) -> bool:
        return True


class MapDataPipe(_Pipe, Dataset[T]):
    """A pipe of samples by index: define `__getitem__` and `__len__`.

    >>> class Squares(MapDataPipe):
    ...     def __getitem__(self, i):
    ...         return i * i
    ...     def __len__(self):
    ...         return 4
    >>> Squares().map(str)[3]
    '9'
    """
    functions: dict[str, Callable[..., Any]] = {}

    @classmethod
    def set_getstate_hook(cls, hook_fn: Callable[..., Any] | None) -> None:
        """`hook_fn(state)` gives what is pickled of a pipe. Raises RuntimeError if there is one already."""
        MapDataPipe._set_hook("getstate_hook", hook_fn)

    @classmethod
    def set_reduce_ex_hook(cls, hook_fn: Callable[..., Any] | None) -> None:
        """`hook_fn(pipe)` says how a pipe is pickled. Raises RuntimeError if there is one already."""
        MapDataPipe._set_hook("reduce_ex_hook", hook_fn)


def _begin(pipe: IterDataPipe[Any]) -> int:
    pipe._valid_iterator_id = 0 if pipe._valid_iterator_id is None else pipe._valid_iterator_id + 1
    pipe._number_of_samples_yielded = 0
    pipe.reset()
    return pipe._valid_iterator_id


class _Watching:
    """An iterator over a pipe that is valid until there is another. One whose `__iter__` is a generator function begins with its first sample."""

    def __init__(self, pipe: IterDataPipe[Any], inner: Any, late: bool) -> None:
        self._pipe, self._inner = pipe, inner
        self._id = None if late else _begin(pipe)

    def __iter__(self) -> _Watching:
        return self

    def __next__(self) -> Any:
        pipe = self._pipe
        if self._id is None:
            self._id = _begin(pipe)
        elif pipe._valid_iterator_id != self._id:
            raise RuntimeError(f"This iterator has been invalidated because another iterator has been created from the same IterDataPipe: "
                               f"{pipe!r}. One iterator at a time can be used.")
        found = next(self._inner)
        pipe._number_of_samples_yielded += 1
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _watched(begin: Callable[..., Any]) -> Callable[..., Any]:
    late = inspect.isgeneratorfunction(begin)

    @functools.wraps(begin)
    def call(self: IterDataPipe[Any], *args: Any, **kwargs: Any) -> Any:
        return _Watching(self, begin(self, *args, **kwargs), late)
    return call


def declared_type(cls: type) -> Any:
    """The T of the base `IterDataPipe[T]` of a class; Any if there is none."""
    for kind in cls.__mro__:
        for base in getattr(kind, "__orig_bases__", ()):
            origin = typing.get_origin(base)
            if isinstance(origin, type) and issubclass(origin, IterDataPipe) and not isinstance(typing.get_args(base)[0], TypeVar):
                return typing.get_args(base)[0]
    return Any


__all__ = ["DFIterDataPipe", "DataChunk", "IterDataPipe", "MapDataPipe", "declared_type"]

"""Futures: results that may come later, and calls that follow them.

`fork` runs a function at once, as PyTorch's does outside TorchScript, and `wait` takes its result.
"""
from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Future(Generic[T]):
    """A result that is set once, by any thread. `devices` may name the CPU only.

    >>> future = Future()
    >>> later = future.then(lambda f: f.value() + 1)
    >>> future.set_result(1)
    >>> later.wait()
    2
    """

    def __init__(self, *, devices: Sequence[Any] | None = None) -> None:
        from torsh.core.devices import require
        for where in devices or ():
            require(where)
        self._lock = threading.Condition()
        self._done = False
        self._result: Any = None
        self._error: BaseException | None = None
        self._callbacks: list[Callable[[Future[T]], Any]] = []

    def done(self) -> bool:
        """Whether there is a result or an error."""
        return self._done

    def wait(self) -> T:
        """The result, once it is there. Raises the error that was set instead."""
        with self._lock:
            while not self._done:
                self._lock.wait()
        return self.value()

    def value(self) -> T:
        """The result. Raises the error that was set instead, and RuntimeError while there is neither."""
        if not self._done:
            raise RuntimeError("Future.value(): the future is not done; use wait()")
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[no-any-return]

    def _complete(self, result: Any, error: BaseException | None) -> None:
        with self._lock:
            if self._done:
                raise RuntimeError("Attempting to mark a completed Future as complete again. Note that a Future can only be marked completed once.")
            self._result, self._error, self._done = result, error, True
            waiting, self._callbacks = self._callbacks, []
            self._lock.notify_all()
        for callback in waiting:
            callback(self)

    def set_result(self, result: T) -> None:
        """Give the result; calls that follow are made now. Raises RuntimeError the second time."""
        self._complete(result, None)

    def set_exception(self, result: Exception) -> None:
        """Give an error in the place of a result. Raises AssertionError unless an exception, RuntimeError the second time."""
        if not isinstance(result, Exception):
            raise AssertionError(f"{result} is of type {type(result)}, not an Exception.")
        self._complete(None, result)

    def add_done_callback(self, callback: Callable[[Future[T]], Any]) -> None:
        """Call `callback(future)` once it is done: now, if it is."""
        with self._lock:
            if not self._done:
                self._callbacks.append(callback)
                return
        callback(self)

    def then(self, callback: Callable[[Future[T]], Any]) -> Future[Any]:
        """A future of `callback(future)`, which is called once this one is done. An error in it becomes a RuntimeError of the new one."""
        following: Future[Any] = type(self)()

        def run(done: Future[T]) -> None:
            try:
                result = callback(done)
            except Exception as error:
                following.set_exception(RuntimeError(f"Got the following error when running the callback: {type(error).__name__}: {error}"))
                return
            following.set_result(result)
        self.add_done_callback(run)
        return following

    def __repr__(self) -> str:
        return f"<torsh.Future object at {id(self):#x}>"


def collect_all(futures: Sequence[Future[Any]]) -> Future[list[Future[Any]]]:
    """A future of the list of futures, done once all of them are."""
    together: Future[list[Future[Any]]] = Future()
    listed = list(futures)
    left = [len(listed)]
    lock = threading.Lock()

    def one(_: Any) -> None:
        with lock:
            left[0] -= 1
            last = left[0] == 0
        if last:
            together.set_result(listed)
    if not listed:
        together.set_result(listed)
    for future in listed:
        future.add_done_callback(one)
    return together


def wait_all(futures: Sequence[Future[T]]) -> list[T]:
    """The results of all. Raises the first error, once all are done."""
    return [f.value() for f in collect_all(futures).wait()]


def fork(func: Callable[..., T], *args: Any, **kwargs: Any) -> Future[T]:
    """A future of `func(*args, **kwargs)`, which is run at once; what it raises is raised here."""
    future: Future[T] = Future()
    future.set_result(func(*args, **kwargs))
    return future


def wait(future: Future[T]) -> T:
    """`future.wait()`. Raises TypeError for something else."""
    if not isinstance(future, Future):
        raise TypeError(f"wait(): expected a torsh.Future, got {type(future).__name__}")
    return future.wait()


__all__ = ["Future", "collect_all", "fork", "wait", "wait_all"]

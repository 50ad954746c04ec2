"""Futures, streams and events, compared with PyTorch's."""
from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.futures

import torsh


def outcome(f: Callable[[], Any]) -> Any:
    try:
        return f()
    except Exception as error:
        return type(error)


def _then(m: Any) -> Any:
    f = m.futures.Future()
    g = f.then(lambda x: x.wait() + 1).then(lambda x: [x.value()])
    f.set_result(3)
    return g.wait(), f.done(), g.done()


def _failing_callback(m: Any) -> Any:
    f = m.futures.Future()
    g = f.then(lambda x: 1 // 0)
    f.set_result(3)
    return g.wait()


def _error(m: Any) -> Any:
    f = m.futures.Future()
    f.set_exception(KeyError("no"))
    return f.wait()


def _twice(m: Any) -> Any:
    f = m.futures.Future()
    f.set_result(1)
    f.set_result(2)


def _collected(m: Any) -> Any:
    futures = [m.futures.Future() for _ in range(3)]
    together = m.futures.collect_all(futures)
    done = [together.done()]
    for i, f in enumerate(futures):
        f.set_result(i)
        done.append(together.done())
    return done, [f.value() for f in together.wait()], m.futures.wait_all(futures)


def _callbacks(m: Any) -> Any:
    seen: list[Any] = []
    f = m.futures.Future()
    f.add_done_callback(lambda g: seen.append(g.value()))
    f.set_result(5)
    f.add_done_callback(lambda g: seen.append(g.value() + 1))
    return seen


def _raise() -> None:
    raise KeyError("no")


@pytest.mark.parametrize("f", [
    _then, _failing_callback, _error, _twice, _collected, _callbacks, lambda m: m.futures.Future().done(), lambda m: m.futures.Future().value(),
    lambda m: m.futures.Future().set_exception(3), lambda m: m.wait(m.fork(lambda a, b: a + b, 1, b=2)), lambda m: m.fork(_raise), lambda m: m.wait(3),
    lambda m: isinstance(m.fork(int), m.Future), lambda m: m.futures.wait_all([]),
])
def test_futures(f: Callable[[Any], Any]) -> None:
    assert outcome(lambda: f(torsh)) == outcome(lambda: f(torch))


def test_another_thread_gives_the_result() -> None:
    future = torsh.Future()

    def give() -> None:
        time.sleep(0.05)
        future.set_result(torsh.ones(2))
    threading.Thread(target=give).start()
    assert future.wait().tolist() == [1, 1]



@pytest.mark.parametrize("f", [
    lambda m: m.Stream("cpu").query(), lambda m: m.Stream().synchronize(), lambda m: m.Stream().record_event(), lambda m: m.Stream().wait_stream(m.Stream()),
    lambda m: m.Stream().wait_event(m.Event("cpu")), lambda m: m.Stream() == m.Stream(), lambda m: m.Stream() == 3, lambda m: repr(m.Stream())[6:],
    lambda m: hash(m.Stream()) == hash(m.Stream()), lambda m: m.Stream(device="cuda"), lambda m: str(m.Stream().device),
    lambda m: (m.Stream().stream_id, m.Stream().device_index, m.Stream().device_type), lambda m: m.Stream(stream_id=3, device_index=0, device_type=0).stream_id,
    lambda m: m.Event("cpu").query(), lambda m: m.Event("cpu").record(), lambda m: m.Event("cpu").synchronize(), lambda m: m.Event("cpu").wait(),
    lambda m: m.Event("cpu").elapsed_time(m.Event("cpu")), lambda m: str(m.Event("cpu").device), lambda m: m.Event("cpu").event_id,
    lambda m: m.Event("cpu", enable_timing=True).elapsed_time(m.Event("cpu", enable_timing=True)),
])
def test_streams(f: Callable[[Any], Any]) -> None:
    ours, theirs = outcome(lambda: f(torsh)), outcome(lambda: f(torch))
    assert ours == theirs or (isinstance(theirs, str) and ours.endswith(theirs))


def test_a_stream_is_a_context() -> None:
    with torsh.Stream() as stream:
        assert stream == torsh.cpu.current_stream()
        assert (torsh.ones(2) + 1).tolist() == [2, 2]

"""Worker processes of a DataLoader: each has a copy of the data set, gets indices through a queue of its own and sends batches back.

Batches are dealt out in turn and, unless told otherwise, given in that order, so that the result does not depend on which worker is quicker.
"""
from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import pickle
import queue
import random
import time
import traceback
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from torsh.data.datapipe import IterDataPipe, MapDataPipe
from torsh.data.datapipe_settings import set_seeds, set_share
from torsh.data.fetch import fetcher
from torsh.data.worker_info import Own, WorkerInfo
from torsh.ops.generators import default_generator

#: Seconds after which somebody who waits looks whether the other side is still there.
_PATIENCE = 2.0
_AGAIN = -1  # in place of a batch number: begin to read the data set anew


@dataclass
class _Failure:
    """An exception of a worker, sent as text: its traceback cannot be sent, and the exception itself not always."""
    kind: type[BaseException]
    text: str

    def raise_again(self) -> NoReturn:
        """Raise an exception of the same type, if that can be made of a text, else RuntimeError."""
        try:
            made = self.kind(self.text)
        except Exception:
            raise RuntimeError(self.text) from None
        raise made


def _failure(worker: int, error: BaseException) -> _Failure:
    return _Failure(type(error), f"Caught {type(error).__name__} in DataLoader worker process {worker}.\nOriginal {traceback.format_exc()}")


@dataclass
class Task:
    """What a worker is to do: the loader's options, as far as they concern it."""
    dataset: Any
    batched: bool
    collate: Callable[[Any], Any]
    drop_last: bool
    seed: int
    shared_seed: int | None  # of datapipes, the same in all workers, so that their shares belong to one order
    init: Callable[[int], None] | None
    workers: int


def _send(results: Any, message: Any, worker: int) -> None:
    """Pickled here, not in the queue's thread, where an error would be lost."""
    try:
        data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        data = pickle.dumps((message[0], worker, _failure(worker, error)))
    results.put(data)


def _work(task: Task, worker: int, indices: Any, results: Any) -> None:
    """The life of a worker process."""
    parent = os.getppid()  # of a fork server, that: it ends with the loader's process
    from torsh.runtime.cpu.executor import set_num_threads
    set_num_threads(1)
    seed = task.seed + worker
    random.seed(seed)
    default_generator().manual_seed(seed)
    np.random.seed(np.random.SeedSequence([worker, task.seed & 0xFFFFFFFF, task.seed >> 32, 0]).generate_state(4))  # noqa: NPY002 - what users' code draws from
    Own.info = WorkerInfo(worker, task.workers, seed, task.dataset)
    broken: _Failure | None = None
    fetch: Any = None

    def begin(shared: int | None) -> None:
        nonlocal fetch, broken
        try:
            if shared is not None:
                set_seeds(task.dataset, shared)
            fetch = fetcher(task.dataset, task.batched, task.collate, task.drop_last)
        except Exception as error:
            broken = _failure(worker, error)
    try:
        if isinstance(task.dataset, (IterDataPipe, MapDataPipe)):
            set_share(task.dataset, task.workers, worker)
        if task.init is not None:
            task.init(worker)
    except Exception as error:
        broken = _failure(worker, error)
    else:
        begin(task.shared_seed)
    try:
        while os.getppid() == parent:
            try:
                message = indices.get(timeout=_PATIENCE)
            except queue.Empty:
                continue
            if message is None:
                break
            number, wanted = message
            if number == _AGAIN:
                begin(wanted)
                continue
            made: Any
            if broken is not None:
                made, broken = broken, None
            else:
                try:
                    made = fetch(wanted)
                except StopIteration:
                    made = StopIteration
                except Exception as error:
                    made = _failure(worker, error)
            _send(results, (number, worker, made), worker)
    except KeyboardInterrupt:
        pass  # the parent gets it too, and tells
    finally:
        results.cancel_join_thread()
        results.close()


def _stop(processes: list[Any], queues: list[Any], results: Any) -> None:
    """End the workers: they are asked to, and ended if they do not."""
    for q in queues:
        try:
            q.put(None)
        except ValueError:
            continue
    deadline = time.monotonic() + _PATIENCE
    for p in processes:
        p.join(max(0.0, deadline - time.monotonic()))
        if p.is_alive():
            p.terminate()
            p.join()
    for q in (*queues, results):
        q.cancel_join_thread()
        q.close()


class Workers:
    """The worker processes of one loader and the batches under way. Iterating begins with `start`.

    `timeout`: seconds to wait for a batch, 0 for ever. Raises RuntimeError when a worker dies or the time is over, and again what a worker raised.
    """

    def __init__(self, task: Task, context: Any, prefetch: int, timeout: float, in_order: bool) -> None:
        self._timeout, self._in_order, self._prefetch = timeout, in_order, prefetch
        self._results = context.Queue()
        self._queues = [context.Queue() for _ in range(task.workers)]
        self._processes = []
        for worker, q in enumerate(self._queues):
            q.cancel_join_thread()
            p = context.Process(target=_work, args=(task, worker, q, self._results), daemon=True)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads: ToRSh's own are made anew in a child
                p.start()
            self._processes.append(p)
        self._end = weakref.finalize(self, _stop, self._processes, self._queues, self._results)

    def stop(self) -> None:
        """End the processes."""
        self._end()

    def again(self, shared_seed: int | None) -> None:
        """Prepare for another pass, of datapipes with another seed. What is still under way from the last one is thrown away."""
        while self._waiting:
            self._receive()
        for q in self._queues:
            q.put((_AGAIN, shared_seed))

    def start(self, indices: Iterator[Any]) -> None:
        """Begin a pass over what the sampler gives."""
        self._indices = indices
        self._sent = 0
        self._turn = 0
        self._waiting: dict[int, int] = {}  # batch number -> worker
        self._arrived: dict[int, Any] = {}
        self._order: deque[int] = deque()
        self._active = [True] * len(self._queues)
        for _ in range(self._prefetch * len(self._queues)):
            self._deal()

    def _deal(self, worker: int | None = None) -> None:
        """Send the next indices to the next worker in turn, or to the one given, if it is still reading."""
        if worker is None or not self._active[worker]:
            for _ in self._queues:
                worker, self._turn = self._turn, (self._turn + 1) % len(self._queues)
                if self._active[worker]:
                    break
            else:
                return
        wanted = next(self._indices, self)
        if wanted is self:
            return
        self._queues[worker].put((self._sent, wanted))
        self._waiting[self._sent] = worker
        self._order.append(self._sent)
        self._sent += 1

    def _receive(self) -> tuple[int, int, Any]:
        deadline = time.monotonic() + self._timeout if self._timeout else None
        while True:
            left = _PATIENCE if deadline is None else min(_PATIENCE, deadline - time.monotonic())
            try:
                number, worker, made = pickle.loads(self._results.get(timeout=max(left, 0.0)))
            except queue.Empty:
                dead = [p.pid for w, p in enumerate(self._processes) if not p.is_alive() and w in self._waiting.values()]
                if dead:
                    self.stop()
                    raise RuntimeError(f"DataLoader worker (pid(s) {', '.join(map(str, dead))}) exited unexpectedly") from None
                if deadline is not None and time.monotonic() >= deadline:
                    raise RuntimeError(f"DataLoader timed out after {self._timeout} seconds") from None
                continue
            del self._waiting[number]
            return number, worker, made

    def _next_number(self) -> int | None:
        """The number of the batch to give next, received; None at the end."""
        while self._order:
            if self._in_order:
                wanted: int | None = self._order[0] if self._order[0] in self._arrived else None
            else:
                wanted = next((n for n in self._order if n in self._arrived), None)
            if wanted is not None:
                self._order.remove(wanted)
                return wanted
            number, worker, made = self._receive()
            if made is StopIteration:  # this worker has read its copy to the end
                self._order.remove(number)
                self._active[worker] = False
                self._deal()
            else:
                self._arrived[number] = (worker, made)
        return None

    def __iter__(self) -> Iterator[Any]:
        while (number := self._next_number()) is not None:
            worker, made = self._arrived.pop(number)
            self._deal(None if self._in_order else worker)
            if isinstance(made, _Failure):
                made.raise_again()
            yield made


def context_of(context: Any) -> Any:
    """The multiprocessing context for a name of a start method, a context, or None. Raises ValueError or TypeError for anything else."""
    if context is None or isinstance(context, str):
        known = multiprocessing.get_all_start_methods()
        if context is not None and context not in known:
            raise ValueError(f"multiprocessing_context option should specify a valid start method in {known!r}, but got "
                             f"multiprocessing_context={context!r}")
        return multiprocessing.get_context(context)
    if not isinstance(context, multiprocessing.context.BaseContext):
        raise TypeError("multiprocessing_context option should be a valid context object or a string specifying the start method, but got "
                        f"multiprocessing_context={context}")
    return context


__all__ = ["Task", "Workers", "context_of"]

"""Judging in worker processes: a crash or a hang is the failure of one check, not of the run."""
from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any

Unit = tuple[str, str]  # entry, check
Verdict = dict[str, str | None]


def _work(connection: Connection) -> None:
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = "1"
    import torch

    import torsh
    from tests.conformance.judge import judge
    torch.set_num_threads(1)
    torsh.set_num_threads(1)
    connection.send(None)
    while True:
        unit = connection.recv()
        if unit is None:
            return
        connection.send(judge(*unit))


class Worker:
    """One process and the unit it is judging."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: Any = context.Process(target=_work, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()
        self.unit: Unit | None = None
        self.since = 0.0
        self.ready = False

    def give(self, unit: Unit) -> None:
        self.unit, self.since = unit, time.monotonic()
        self.connection.send(unit)

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


def run(units: list[Unit], jobs: int, limit: float, parts: Callable[[Unit], tuple[str, ...]]) -> Iterator[tuple[Unit, Verdict, float]]:
    """The verdict of every unit and the seconds it took, in the order in which they end.

    A unit that runs longer than `limit` seconds, or ends its process, has failed in all its parts.
    """
    waiting = units[::-1]
    workers = [Worker() for _ in range(max(1, min(jobs, len(units))))]
    try:
        while waiting or any(w.unit is not None for w in workers):
            for worker in workers:
                if worker.ready and worker.unit is None and waiting:
                    worker.give(waiting.pop())
            ready = wait([w.connection for w in workers], timeout=0.5)
            for i, worker in enumerate(workers):
                unit, took = worker.unit, time.monotonic() - worker.since
                if worker.connection in ready:
                    try:
                        verdict = worker.connection.recv()
                    except EOFError:
                        worker.process.join()
                        verdict = None
                        if unit is None:
                            raise RuntimeError(f"a worker ended with exit code {worker.process.exitcode} before it was given anything") from None
                        why = f"the process ended with exit code {worker.process.exitcode}"
                    else:
                        if unit is None:
                            worker.ready = True
                            continue
                        worker.unit = None
                        yield unit, verdict, took
                        continue
                elif unit is not None and took > limit:
                    why = f"no verdict after {limit:.0f} seconds"
                else:
                    continue
                worker.stop()
                workers[i] = Worker()
                yield unit, dict.fromkeys(parts(unit), why), took
    finally:
        for worker in workers:
            worker.stop()

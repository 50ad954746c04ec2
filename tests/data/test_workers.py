"""Worker processes of the loader against PyTorch's: the same batches in the same order, the same seeds, the same errors."""
from __future__ import annotations

import os
import random
import time
from typing import Any

import numpy as np
import pytest
import torch
import torch.utils.data

import torsh
from torsh.utils import data

PAIR = ((torsh, data), (torch, torch.utils.data))


class Rows:
    """Row i: i, and random numbers of the worker's three generators."""

    def __init__(self, t: Any, n: int = 9) -> None:
        self.t, self.n = t, n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> Any:
        return i, self.t.rand(1).item(), random.random(), float(np.random.rand()), self.t.full((2,), float(i))  # noqa: NPY002 - what is tested


def _numbers(batches: Any) -> Any:
    return [[part.tolist() for part in batch] for batch in batches]


@pytest.mark.parametrize("options", [{"batch_size": 2, "shuffle": True}, {"batch_size": 4, "prefetch_factor": 1}, {"batch_size": 2, "persistent_workers": True},
                                     {"batch_size": 2, "drop_last": True, "timeout": 60, "multiprocessing_context": "fork"}])
def test_batches_and_seeds_are_pytorchs(options: dict[str, Any]) -> None:
    found = []
    for t, d in PAIR:
        t.manual_seed(5)
        loader = d.DataLoader(Rows(t), num_workers=2, **options)
        found.append([_numbers(loader), _numbers(loader), t.rand(2).tolist()])
    assert found[0] == found[1]


def test_single_samples_come_converted() -> None:
    found = []
    for _, d in PAIR:
        loader = d.DataLoader([np.float32([i, 1]) for i in range(5)], batch_size=None, num_workers=2)
        found.append([b.tolist() for b in loader])
    assert found[0] == found[1]


def test_a_stream_is_divided_by_worker_info() -> None:
    found = []
    for _, d in PAIR:
        class Stream(d.IterableDataset):
            def __iter__(self, d: Any = d) -> Any:
                info = d.get_worker_info()
                assert info.num_workers == 2
                assert info.dataset is self
                return iter(range(info.id, 11, info.num_workers))
        loader = d.DataLoader(Stream(), batch_size=2, num_workers=2)
        found.append([b.tolist() for b in loader])
        assert d.get_worker_info() is None
    assert found[0] == found[1]


def test_worker_init_runs_first() -> None:
    def init(worker: int) -> None:
        info = data.get_worker_info()
        assert info is not None
        info.dataset.n = 100 + worker

    class Told(Rows):
        def __getitem__(self, i: int) -> Any:
            return self.n
    loader = data.DataLoader(Told(torsh, 4), num_workers=2, worker_init_fn=init)
    assert [b.item() for b in loader] == [100, 101, 100, 101]


class _Wrong(Rows):
    def __getitem__(self, i: int) -> Any:
        if i == 3:
            raise KeyError("no such row")
        return i


def test_an_error_of_a_worker_is_raised_here() -> None:
    for t, d in PAIR:
        batches = iter(d.DataLoader(_Wrong(t), num_workers=2))
        assert [next(batches).item() for _ in range(3)] == [0, 1, 2]
        with pytest.raises(KeyError, match="Caught KeyError in DataLoader worker process 1"):
            next(batches)


def test_what_cannot_be_sent_is_an_error() -> None:
    with pytest.raises(Exception, match="DataLoader worker process 0"):
        list(data.DataLoader(Rows(torsh, 2), num_workers=1, collate_fn=lambda rows: (x for x in rows)))


class _Slow(Rows):
    def __getitem__(self, i: int) -> Any:
        time.sleep(30)


class _Dying(Rows):
    def __getitem__(self, i: int) -> Any:
        os._exit(3)


def test_a_slow_worker_times_out() -> None:
    with pytest.raises(RuntimeError, match=r"DataLoader timed out after 0\.2 seconds"):
        list(data.DataLoader(_Slow(torsh), num_workers=1, timeout=0.2))


def test_a_dead_worker_is_told() -> None:
    with pytest.raises(RuntimeError, match="exited unexpectedly"):
        list(data.DataLoader(_Dying(torsh), num_workers=1))


def test_out_of_order_gives_every_batch() -> None:
    loader = data.DataLoader(Rows(torsh, 7), num_workers=2, in_order=False, collate_fn=lambda rows: rows[0][0])
    assert sorted(loader) == list(range(7))


def test_stopping_early_ends_the_processes() -> None:
    loader = data.DataLoader(Rows(torsh, 50), num_workers=2, persistent_workers=True)
    for _ in range(2):
        passing = iter(loader)
        assert next(passing)[0].item() == 0
        del passing
    processes = loader._workers._processes
    assert all(p.is_alive() for p in processes)
    del loader
    assert not any(p.is_alive() for p in processes)


def test_workers_compute_with_torsh() -> None:
    class Computed(Rows):
        def __getitem__(self, i: int) -> Any:
            return (torsh.ones(300, 300) @ torsh.ones(300, 300) * i).sum()
    torsh.ones(500, 500).sum().item()  # threads are there before the fork
    assert [b.item() for b in data.DataLoader(Computed(torsh, 3), num_workers=2)] == [0.0, 27e6, 54e6]


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_other_ways_to_start_a_process(method: str) -> None:
    loader = data.DataLoader(list(range(5)), batch_size=2, num_workers=2, multiprocessing_context=method)
    assert [b.tolist() for b in loader] == [[0, 1], [2, 3], [4]]


def test_pinning_without_an_accelerator_warns() -> None:
    with pytest.warns(UserWarning, match="no accelerator is found"):
        assert len(list(data.DataLoader(range(3), pin_memory=True))) == 3

"""DataLoader: batches of samples, collated to tensors, in the order that PyTorch gives for a seed."""
from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from torsh.core.dtypes import int64
from torsh.data.collate import default_collate, default_convert
from torsh.data.datapipe import IterDataPipe
from torsh.data.dataset import Dataset, IterableDataset
from torsh.data.fetch import fetcher
from torsh.data.sampler import BatchSampler, RandomSampler, SequentialSampler
from torsh.ops.generators import Generator, engine_of


class DataLoader:
    """Batches of a data set, loaded in this process or by `num_workers` others.

    `collate_fn` makes a batch of a list of samples (`default_collate`); `batch_size=None` gives single samples. Workers load up to
    `prefetch_factor` (2) batches each ahead, and live on between passes if `persistent_workers`; a worker that needs more than `timeout` seconds for a
    batch is an error. `worker_init_fn(id)` runs in each of them first, after its generators were seeded. `in_order=False` gives batches as they
    arrive. `pin_memory` warns and does nothing without an accelerator. Raises ValueError for options that exclude each other.

    >>> [batch.tolist() for batch in DataLoader(range(5), batch_size=2)]
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, dataset: Dataset[Any] | Sequence[Any], batch_size: int | None = 1, shuffle: bool | None = None, sampler: Iterable[Any] | None = None,
                 batch_sampler: Iterable[list[int]] | None = None, num_workers: int = 0, collate_fn: Callable[[Any], Any] | None = None,
                 pin_memory: bool = False, drop_last: bool = False, timeout: float = 0, worker_init_fn: Callable[[int], None] | None = None,
                 multiprocessing_context: Any = None, generator: Generator | None = None, *, prefetch_factor: int | None = None,
                 persistent_workers: bool = False, pin_memory_device: str = "", in_order: bool = True) -> None:
        _check_workers(num_workers, timeout, prefetch_factor, persistent_workers, multiprocessing_context)
        iterable = isinstance(dataset, IterableDataset)
        if isinstance(dataset, IterDataPipe):
            from torsh.data.datapipe_settings import set_shuffle
            dataset = set_shuffle(dataset, shuffle)
        elif iterable and shuffle:
            raise ValueError(f"DataLoader with IterableDataset: expected unspecified shuffle option, but got shuffle={shuffle}")
        if iterable and (sampler is not None or batch_sampler is not None):
            raise ValueError("DataLoader with IterableDataset: expected unspecified sampler and batch_sampler options")
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError("batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last")
            batch_size = None
        elif batch_size is None and drop_last:
            raise ValueError("batch_size=None option disables auto-batching and is mutually exclusive with drop_last")
        if sampler is None:
            if iterable:
                sampler = _Endless()
            else:
                sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)  # type: ignore[arg-type]
        if batch_size is not None and batch_sampler is None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)  # type: ignore[arg-type]
        self.dataset = dataset
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.generator = generator
        self.num_workers = num_workers
        self.prefetch_factor = 2 if prefetch_factor is None and num_workers else prefetch_factor
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.persistent_workers = persistent_workers
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.in_order = in_order
        self.collate_fn = collate_fn or (default_convert if batch_sampler is None else default_collate)
        self._workers: Any = None  # those that live on

    def __iter__(self) -> Iterator[Any]:
        if self.pin_memory:
            warnings.warn("'pin_memory' argument is set as true but no accelerator is found, then device pinned memory won't be used.", stacklevel=2)
        shared = None
        if isinstance(self.dataset, IterDataPipe):
            from torsh.data.datapipe_settings import set_seeds
            shared = int(engine_of(self.generator).random((), int64.np))
            set_seeds(self.dataset, shared)
        indices = iter(self.sampler if self.batch_sampler is None else self.batch_sampler)
        if self._workers is not None:
            self._workers.again(shared)
            return self._passing(self._workers, indices)
        seed = int(engine_of(self.generator).random((), int64.np))  # of the workers; PyTorch draws it even without any
        if self.num_workers:
            return self._from_workers(indices, seed, shared)
        return self._from_here(indices)

    def _from_here(self, indices: Iterator[Any]) -> Iterator[Any]:
        fetch = fetcher(self.dataset, self.batch_sampler is not None, self.collate_fn, self.drop_last)
        for wanted in indices:
            try:
                made = fetch(wanted)
            except StopIteration:
                return
            yield made

    def _from_workers(self, indices: Iterator[Any], seed: int, shared: int | None) -> Iterator[Any]:
        from torsh.data.workers import Task, Workers, context_of
        task = Task(self.dataset, self.batch_sampler is not None, self.collate_fn, self.drop_last, seed, shared, self.worker_init_fn, self.num_workers)
        workers = Workers(task, context_of(self.multiprocessing_context), self.prefetch_factor or 1, self.timeout, self.in_order)
        if shared is not None:
            engine_of(self.generator).random((), int64.np)  # PyTorch draws the pipes' seed twice
        self._workers = workers if self.persistent_workers else None
        return self._passing(workers, indices)

    def _passing(self, workers: Any, indices: Iterator[Any]) -> Iterator[Any]:
        workers.start(indices)
        return iter(workers) if self.persistent_workers else _until_done(workers)

    def __len__(self) -> int:
        if isinstance(self.dataset, IterableDataset):
            n = len(self.dataset)  # type: ignore[arg-type]
            return n if self.batch_size is None else n // self.batch_size if self.drop_last else -(-n // self.batch_size)
        return len(self.sampler if self.batch_sampler is None else self.batch_sampler)  # type: ignore[arg-type]


def _until_done(workers: Any) -> Iterator[Any]:
    try:
        yield from workers
    finally:
        workers.stop()


def _check_workers(num_workers: int, timeout: float, prefetch_factor: int | None, persistent: bool, context: Any) -> None:
    if num_workers < 0:
        raise ValueError("num_workers option should be non-negative; use num_workers=0 to disable multiprocessing.")
    if timeout < 0:
        raise ValueError("timeout option should be non-negative")
    if num_workers == 0 and prefetch_factor is not None:
        raise ValueError("prefetch_factor option could only be specified in multiprocessing; let num_workers > 0 to enable it")
    if prefetch_factor is not None and prefetch_factor < 0:
        raise ValueError("prefetch_factor option should be non-negative")
    if persistent and num_workers == 0:
        raise ValueError("persistent_workers option needs num_workers > 0")
    if context is not None:
        if num_workers == 0:
            raise ValueError("multiprocessing_context can only be used with multi-process loading (num_workers > 0), but got num_workers=0")
        from torsh.data.workers import context_of
        context_of(context)


class _Endless:
    """The indices of an iterable data set, of which only the number counts."""

    def __iter__(self) -> Iterator[None]:
        while True:
            yield None


__all__ = ["DataLoader"]

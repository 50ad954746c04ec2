"""DataLoader: batches of samples, collated to tensors, in the order that PyTorch gives for a seed."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from torsh.core.dtypes import float64, int64
from torsh.data.dataset import Dataset, IterableDataset, TensorDataset
from torsh.data.sampler import BatchSampler, RandomSampler, SequentialSampler
from torsh.ops.dispatch import FUNCTIONS
from torsh.ops.random import Generator, engine_of
from torsh.tensor.creation import from_array, tensor
from torsh.tensor.interop import as_tensor
from torsh.tensor.tensor import Tensor


def default_collate(batch: Sequence[Any]) -> Any:
    """Samples as one batch: tensors, arrays and numbers stacked along a new first dimension; mappings, named tuples and sequences
    element by element; strings as they are. Raises RuntimeError for sequences of different lengths, TypeError for other samples.

    >>> default_collate([(1, 2.0), (3, 4.0)])
    [tensor([1, 3]), tensor([2., 4.], dtype=torsh.float64)]
    """
    first = batch[0]
    kind = type(first)
    if isinstance(first, Tensor):
        return _stack(batch)
    if isinstance(first, (np.ndarray, np.generic)):
        if first.dtype.kind in "SUO":
            raise TypeError(f"default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {first.dtype}")
        return as_tensor(np.stack([np.asarray(x) for x in batch]))
    if isinstance(first, float):
        return tensor(batch, dtype=float64)
    if isinstance(first, int):
        return tensor(batch)
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        made = {k: default_collate([sample[k] for sample in batch]) for k in first}
        try:
            return kind(made)  # type: ignore[call-arg]
        except TypeError:
            return made
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return kind(*(default_collate(part) for part in zip(*batch, strict=True)))
    if isinstance(first, Sequence):
        if any(len(sample) != len(first) for sample in batch):
            raise RuntimeError("each element in list of batch should be of equal size")
        return [default_collate(part) for part in zip(*batch, strict=True)]
    raise TypeError(f"default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {kind}")


def _stack(batch: Sequence[Tensor]) -> Tensor:
    """One new tensor. Samples that need no gradient are copied at once, so that batches do not differ as graphs."""
    shape = batch[0]._shape
    for t in batch:
        if t._shape != shape:
            raise RuntimeError(f"stack expects each tensor to be equal size, but got {list(shape)} at entry 0 and {list(t._shape)} at entry "
                               f"{next(i for i, u in enumerate(batch) if u is t)}")
        if t._requires_grad or t._dtype is not batch[0]._dtype:
            return FUNCTIONS["stack"](list(batch))  # type: ignore[no-any-return]
    return from_array(np.stack([t._window() for t in batch]))


def _samples(batch: Sequence[Any]) -> Any:
    """What a loader without batches gives: arrays as tensors, the rest as it is."""
    return as_tensor(batch) if isinstance(batch, np.ndarray) else batch


class DataLoader:
    """Batches of a data set, loaded in this process.

    `collate_fn` makes a batch of a list of samples (`default_collate`); `batch_size=None` gives single samples. Raises
    ValueError for options that exclude each other and for `num_workers` > 0.

    >>> [batch.tolist() for batch in DataLoader(range(5), batch_size=2)]
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, dataset: Dataset[Any] | Sequence[Any], batch_size: int | None = 1, shuffle: bool | None = None, sampler: Iterable[Any] | None = None,
                 batch_sampler: Iterable[list[int]] | None = None, num_workers: int = 0, collate_fn: Callable[[Any], Any] | None = None,
                 pin_memory: bool = False, drop_last: bool = False, *, generator: Generator | None = None) -> None:
        if num_workers:
            raise ValueError(f"DataLoader: num_workers={num_workers} is not supported, samples are loaded in this process; use num_workers=0")
        if pin_memory:
            raise ValueError("DataLoader: pin_memory=True needs an accelerator backend; this build of ToRSh has none")
        iterable = isinstance(dataset, IterableDataset)
        if iterable and shuffle:
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
        if sampler is None and not iterable:
            sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)  # type: ignore[arg-type]
        if batch_size is not None and batch_sampler is None:
            batch_sampler = BatchSampler(_endless() if iterable else sampler, batch_size, drop_last)  # type: ignore[arg-type]
        self.dataset = dataset
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.generator = generator
        self.num_workers = 0
        self.collate_fn = collate_fn or (_samples if batch_sampler is None else default_collate)

    def __iter__(self) -> Iterator[Any]:
        engine_of(self.generator).random((), int64.np)  # the seed of PyTorch's workers, which it draws even without any
        if isinstance(self.dataset, IterableDataset):
            return self._streamed(iter(self.dataset))
        return self._indexed()

    def _indexed(self) -> Iterator[Any]:
        dataset, collate = self.dataset, self.collate_fn
        if self.batch_sampler is None:
            for i in self.sampler:  # type: ignore[union-attr]
                yield collate(dataset[i])
            return
        whole = type(dataset) is TensorDataset and collate is default_collate and not any(t._requires_grad for t in dataset.tensors)
        fetch = getattr(dataset, "__getitems__", None)
        for indices in self.batch_sampler:
            if whole:  # the same as collating row by row
                yield [from_array(t._window()[indices]) for t in dataset.tensors]  # type: ignore[union-attr]
            else:
                yield collate(fetch(indices) if fetch else [dataset[i] for i in indices])

    def _streamed(self, samples: Iterator[Any]) -> Iterator[Any]:
        if self.batch_size is None:
            yield from map(self.collate_fn, samples)
            return
        batch: list[Any] = []
        for sample in samples:
            batch.append(sample)
            if len(batch) == self.batch_size:
                yield self.collate_fn(batch)
                batch = []
        if batch and not self.drop_last:
            yield self.collate_fn(batch)

    def __len__(self) -> int:
        if isinstance(self.dataset, IterableDataset):
            n = len(self.dataset)  # type: ignore[arg-type]
            return n if self.batch_size is None else n // self.batch_size if self.drop_last else -(-n // self.batch_size)
        return len(self.sampler if self.batch_sampler is None else self.batch_sampler)  # type: ignore[arg-type]


def _endless() -> Iterator[None]:
    while True:
        yield None


__all__ = ["DataLoader", "default_collate"]

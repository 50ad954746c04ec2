"""Data sets: samples by index, or one after another."""
from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, Generic, TypeVar

from torsh.ops.dispatch import FUNCTIONS
from torsh.ops.generators import Generator, default_generator
from torsh.tensor.tensor import Tensor

T = TypeVar("T")


class Dataset(Generic[T]):
    """Samples by index: define `__getitem__` and `__len__`."""

    def __getitem__(self, index: Any) -> T:
        raise NotImplementedError("Subclasses of Dataset should implement __getitem__.")

    def __add__(self, other: Dataset[T]) -> ConcatDataset[T]:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T]):
    """Samples one after another: define `__iter__`."""

    def __iter__(self) -> Iterator[T]:
        raise NotImplementedError("Subclasses of IterableDataset should implement __iter__.")

    def __add__(self, other: Dataset[T]) -> ChainDataset[T]:  # type: ignore[override]
        return ChainDataset([self, other])


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """Sample i is the i-th row of each tensor. Raises AssertionError for tensors of different lengths.

    >>> import torsh
    >>> TensorDataset(torsh.arange(3), torsh.ones(3))[1]
    (tensor(1), tensor(1.))
    """

    def __init__(self, *tensors: Tensor) -> None:
        if any(t._shape[0] != tensors[0]._shape[0] for t in tensors):
            raise AssertionError("Size mismatch between tensors")
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(t[index] for t in self.tensors)  # type: ignore[index]

    def __len__(self) -> int:
        return self.tensors[0]._shape[0]


class ConcatDataset(Dataset[T]):
    """Data sets one after another. Raises AssertionError for none, and for an iterable one."""

    def __init__(self, datasets: Iterable[Dataset[T]]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise AssertionError("datasets should not be an empty iterable")
        if any(isinstance(d, IterableDataset) for d in self.datasets):
            raise AssertionError("ConcatDataset does not support IterableDataset")
        self.cumulative_sizes = list(accumulate(len(d) for d in self.datasets))  # type: ignore[arg-type]

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: int) -> T:
        if index < 0:
            if -index > len(self):
                raise ValueError("absolute value of index should not exceed dataset length")
            index += len(self)
        which = bisect_right(self.cumulative_sizes, index)
        return self.datasets[which][index - (self.cumulative_sizes[which - 1] if which else 0)]


class ChainDataset(IterableDataset[T]):
    """Iterable data sets one after another. Raises AssertionError, when it gets to it, for one that is not iterable."""

    def __init__(self, datasets: Iterable[Dataset[T]]) -> None:
        self.datasets = datasets

    def _streams(self) -> Iterator[IterableDataset[T]]:
        for d in self.datasets:
            if not isinstance(d, IterableDataset):
                raise AssertionError("ChainDataset only supports IterableDataset")
            yield d

    def __iter__(self) -> Iterator[T]:
        for d in self._streams():
            yield from d

    def __len__(self) -> int:
        return sum(len(d) for d in self._streams())  # type: ignore[arg-type,misc]


class StackDataset(Dataset[Any]):
    """Samples of several data sets side by side: tuples, or dictionaries for data sets given by name.

    Raises ValueError for none, for both kinds and for different lengths.

    >>> StackDataset(image=["a", "b"], label=[0, 1])[1]
    {'image': 'b', 'label': 1}
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if args and kwargs:
            raise ValueError("StackDataset: data sets are given by position (samples are tuples) or by name (dictionaries), not both")
        parts = list(args or kwargs.values())
        if not parts:
            raise ValueError("At least one dataset should be passed")
        self._length = len(parts[0])
        if any(len(d) != self._length for d in parts):
            raise ValueError("Size mismatch between datasets")
        self.datasets: tuple[Any, ...] | dict[str, Any] = args or kwargs

    def _of_parts(self, parts: Sequence[Any]) -> Any:
        return dict(zip(self.datasets, parts, strict=True)) if isinstance(self.datasets, dict) else tuple(parts)

    def _parts(self) -> list[Any]:
        return list(self.datasets.values() if isinstance(self.datasets, dict) else self.datasets)

    def __getitem__(self, index: Any) -> Any:
        return self._of_parts([d[index] for d in self._parts()])

    def __getitems__(self, indices: list[int]) -> list[Any]:
        """The samples at several indices. Raises ValueError when a data set gives another number of them."""
        columns = []
        for d in self._parts():
            fetch = getattr(d, "__getitems__", None)
            columns.append(fetch(indices) if callable(fetch) else [d[i] for i in indices])
            if len(columns[-1]) != len(indices):
                raise ValueError(f"Nested dataset's output size mismatch. Expected {len(indices)}, got {len(columns[-1])}")
        return [self._of_parts(row) for row in zip(*columns, strict=True)]

    def __len__(self) -> int:
        return self._length


class Subset(Dataset[T]):
    """The samples of a data set at given indices."""

    def __init__(self, dataset: Dataset[T], indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index: Any) -> T:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __getitems__(self, indices: list[int]) -> list[T]:
        """The samples at several indices."""
        return [self.dataset[self.indices[i]] for i in indices]

    def __len__(self) -> int:
        return len(self.indices)


#: Draws from the default generator; made once, here, since PyTorch's signature shows it.
_DEFAULT = default_generator()


def random_split(dataset: Dataset[T], lengths: Sequence[float], generator: Generator | None = _DEFAULT) -> list[Subset[T]]:
    """Random parts of given lengths, or of given fractions that sum to 1 (what is left over goes round from the first part on).

    Raises ValueError for lengths that do not add up and fractions outside [0, 1].
    """
    size = len(dataset)  # type: ignore[arg-type]
    sizes = list(lengths)
    if math.isclose(sum(sizes), 1) and sum(sizes) <= 1:
        for i, fraction in enumerate(sizes):
            if not 0 <= fraction <= 1:
                raise ValueError(f"Fraction at index {i} is not between 0 and 1")
        sizes = [math.floor(size * fraction) for fraction in sizes]
        for i in range(size - int(sum(sizes))):
            sizes[i % len(sizes)] += 1
    if sum(sizes) != size:
        raise ValueError("Sum of input lengths does not equal the length of the input dataset!")
    order = FUNCTIONS["randperm"](size, generator=generator).tolist()
    ends = list(accumulate(int(n) for n in sizes))
    return [Subset(dataset, order[end - int(n):end]) for end, n in zip(ends, sizes, strict=True)]

"""The stages of datapipes by index."""
from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

from torsh.data.datapipe import DataChunk, MapDataPipe
from torsh.data.datapipe_decorators import functional_datapipe


class SequenceWrapper(MapDataPipe[Any]):
    """A pipe over a copy of any sequence (the sequence itself unless `deepcopy`, or where it cannot be copied)."""

    def __init__(self, sequence: Sequence[Any], deepcopy: bool = True) -> None:
        self.sequence = sequence
        if deepcopy:
            try:
                self.sequence = copy.deepcopy(sequence)
            except TypeError:
                pass

    def __getitem__(self, index: Any) -> Any:
        return self.sequence[index]

    def __len__(self) -> int:
        return len(self.sequence)


@functional_datapipe("map")
class Mapper(MapDataPipe[Any]):
    """`fn` of each sample."""

    def __init__(self, datapipe: Any, fn: Callable[[Any], Any]) -> None:
        self.datapipe = datapipe
        self.fn = fn

    def __getitem__(self, index: Any) -> Any:
        return self.fn(self.datapipe[index])

    def __len__(self) -> int:
        return len(self.datapipe)


class _Several(MapDataPipe[Any]):
    """A stage after several pipes. Raises ValueError for none, TypeError for something else than a pipe."""

    def __init__(self, *datapipes: Any) -> None:
        if not datapipes:
            raise ValueError("Expected at least one DataPipe, but got nothing")
        if not all(isinstance(p, MapDataPipe) for p in datapipes):
            raise TypeError("Expected all inputs to be `MapDataPipe`")
        self.datapipes = datapipes


@functional_datapipe("concat")
class Concater(_Several):
    """Pipes one after another. Raises IndexError beyond the last."""

    def __getitem__(self, index: int) -> Any:
        left = index
        for p in self.datapipes:
            if left < len(p):
                return p[left]
            left -= len(p)
        raise IndexError(f"Index {index} is out of range.")

    def __len__(self) -> int:
        return sum(len(p) for p in self.datapipes)


@functional_datapipe("zip")
class Zipper(_Several):
    """Tuples of one sample of each pipe, as many as the shortest has."""

    def __getitem__(self, index: Any) -> Any:
        return tuple(p[index] for p in self.datapipes)

    def __len__(self) -> int:
        return min(len(p) for p in self.datapipes)


@functional_datapipe("batch")
class Batcher(MapDataPipe[Any]):
    """Chunks of `batch_size` samples. Raises AssertionError for a size below 1, IndexError beyond the last."""

    def __init__(self, datapipe: Any, batch_size: int, drop_last: bool = False, wrapper_class: type[DataChunk[Any]] = DataChunk) -> None:
        if batch_size <= 0:
            raise AssertionError("Batch size is required to be larger than 0!")
        self.datapipe = datapipe
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.wrapper_class = wrapper_class

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(f"Index {index} is out of bound.")
        first = index * self.batch_size
        return self.wrapper_class([self.datapipe[i] for i in range(first, min(first + self.batch_size, len(self.datapipe)))])

    def __len__(self) -> int:
        n = len(self.datapipe)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)


__all__ = ["Batcher", "Concater", "Mapper", "SequenceWrapper", "Zipper"]

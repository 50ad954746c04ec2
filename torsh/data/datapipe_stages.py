"""The stages of iterable datapipes: sources, and what `pipe.map(f)`, `pipe.batch(8)`, ... make."""
from __future__ import annotations

import copy
import random
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from torsh.core.dtypes import int64
from torsh.data.collate import default_collate
from torsh.data.datapipe import DataChunk, IterDataPipe
from torsh.data.datapipe_decorators import functional_datapipe
from torsh.ops.generators import engine_of


class IterableWrapper(IterDataPipe[Any]):
    """A pipe over any iterable, of which each pass reads a copy unless not `deepcopy` (or it cannot be copied)."""

    def __init__(self, iterable: Iterable[Any], deepcopy: bool = True) -> None:
        self.iterable = iterable
        self.deepcopy = deepcopy

    def __iter__(self) -> Iterator[Any]:
        source = self.iterable
        if self.deepcopy:
            try:
                source = copy.deepcopy(source)
            except TypeError:  # a generator, an open file: read as it is
                pass
        yield from source

    def __len__(self) -> int:
        return len(self.iterable)  # type: ignore[arg-type]


class _Stage(IterDataPipe[Any]):
    """A stage after one pipe, with as many samples unless it says otherwise."""

    def __init__(self, datapipe: Iterable[Any]) -> None:
        self.datapipe = datapipe

    def __len__(self) -> int:
        try:
            return len(self.datapipe)  # type: ignore[arg-type]
        except TypeError:
            raise TypeError(f"{type(self).__name__} instance doesn't have valid length") from None


@functional_datapipe("map")
class Mapper(_Stage):
    """`fn` of each sample; with `input_col` of its columns (an index, a key, or several), the result in place of the first of them (the
    others are dropped), at `output_col`, or appended for -1. Raises ValueError for an `output_col` without `input_col` or of several columns."""

    def __init__(self, datapipe: Iterable[Any], fn: Callable[..., Any], input_col: Any = None, output_col: Any = None) -> None:
        super().__init__(datapipe)
        self.fn = fn
        self.input_col = input_col
        if input_col is None and output_col is not None:
            raise ValueError("`output_col` must be None when `input_col` is None.")
        if isinstance(output_col, (list, tuple)):
            if len(output_col) > 1:
                raise ValueError("`output_col` must be a single-element list or tuple")
            output_col = output_col[0]
        self.output_col = output_col

    def _applied(self, sample: Any) -> Any:
        columns, target = self.input_col, self.output_col
        if columns is None:
            return self.fn(sample)
        several = isinstance(columns, (list, tuple))
        found = self.fn(*[sample[c] for c in columns]) if several else self.fn(sample[columns])
        out = list(sample) if isinstance(sample, tuple) else sample
        if target == -1:
            out.append(found)
        elif target is not None:
            out[target] = found
        else:
            first, *others = columns if several else [columns]
            out[first] = found
            for c in sorted(others, reverse=True):
                del out[c]
        return tuple(out) if isinstance(sample, tuple) else out

    def __iter__(self) -> Iterator[Any]:
        for sample in self.datapipe:
            yield self._applied(sample)


@functional_datapipe("collate")
class Collator(Mapper):
    """Each batch collated, by `default_collate` unless told otherwise."""

    def __init__(self, datapipe: Iterable[Any], conversion: Callable[..., Any] = default_collate, collate_fn: Callable[..., Any] | None = None) -> None:
        super().__init__(datapipe, collate_fn or conversion)


@functional_datapipe("filter")
class Filter(_Stage):
    """The samples (or their columns `input_col`) for which `filter_fn` is True. Raises ValueError for another result than a bool."""

    def __init__(self, datapipe: Iterable[Any], filter_fn: Callable[..., bool], input_col: Any = None) -> None:
        super().__init__(datapipe)
        self.filter_fn = filter_fn
        self.input_col = input_col

    def __iter__(self) -> Iterator[Any]:
        columns = self.input_col
        for sample in self.datapipe:
            if columns is None:
                keep = self.filter_fn(sample)
            elif isinstance(columns, (list, tuple)):
                keep = self.filter_fn(*[sample[c] for c in columns])
            else:
                keep = self.filter_fn(sample[columns])
            if not isinstance(keep, bool):
                raise ValueError(f"Boolean output is required for `filter_fn` of FilterIterDataPipe, got {type(keep)}")
            if keep:
                yield sample

    def __len__(self) -> int:
        raise TypeError(f"{type(self).__name__} instance doesn't have valid length")


@functional_datapipe("batch")
class Batcher(_Stage):
    """Chunks of `batch_size` samples. Raises AssertionError for a size below 1."""

    def __init__(self, datapipe: Iterable[Any], batch_size: int, drop_last: bool = False, wrapper_class: type[DataChunk[Any]] = DataChunk) -> None:
        if batch_size <= 0:
            raise AssertionError("Batch size is required to be larger than 0!")
        super().__init__(datapipe)
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.wrapper_class = wrapper_class

    def __iter__(self) -> Iterator[Any]:
        batch: list[Any] = []
        for sample in self.datapipe:
            batch.append(sample)
            if len(batch) == self.batch_size:
                yield self.wrapper_class(batch)
                batch = []
        if batch and not self.drop_last:
            yield self.wrapper_class(batch)

    def __len__(self) -> int:
        n = super().__len__()
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)


@functional_datapipe("unbatch")
class UnBatcher(_Stage):
    """The samples inside of batches, `unbatch_level` deep (-1: as deep as there are lists). Raises IndexError where that is too deep."""

    def __init__(self, datapipe: Iterable[Any], unbatch_level: int = 1) -> None:
        super().__init__(datapipe)
        self.unbatch_level = unbatch_level

    def __iter__(self) -> Iterator[Any]:
        if self.unbatch_level < -1:
            raise ValueError("unbatch_level must be -1 or >= 0")
        for sample in self.datapipe:
            yield from self._inside(sample, self.unbatch_level)

    def _inside(self, sample: Any, level: int) -> Iterator[Any]:
        if level == 0 or (level < 0 and not isinstance(sample, list)):
            yield sample
        elif not isinstance(sample, list):
            raise IndexError(f"unbatch_level {self.unbatch_level} exceeds the depth of the DataPipe")
        else:
            for item in sample:
                yield from self._inside(item, level - 1 if level > 0 else level)

    def __len__(self) -> int:
        raise TypeError(f"{type(self).__name__} instance doesn't have valid length")


class _Several(IterDataPipe[Any]):
    """A stage after several pipes. Raises ValueError for none, TypeError for something else than a pipe."""

    def __init__(self, *datapipes: IterDataPipe[Any]) -> None:
        if not datapipes:
            raise ValueError(f"Expected at least one DataPipe to {type(self).__name__}, but got nothing")
        if not all(isinstance(p, IterDataPipe) for p in datapipes):
            raise TypeError(f"Expected all inputs to {type(self).__name__} to be `IterDataPipe`")
        self.datapipes = datapipes


@functional_datapipe("concat")
class Concater(_Several):
    """Pipes one after another."""

    def __iter__(self) -> Iterator[Any]:
        for p in self.datapipes:
            yield from p

    def __len__(self) -> int:
        return sum(len(p) for p in self.datapipes)  # type: ignore[arg-type]


@functional_datapipe("zip")
class Zipper(_Several):
    """Tuples of one sample of each pipe, until one has no more."""

    def __iter__(self) -> Iterator[Any]:
        yield from zip(*self.datapipes)

    def __len__(self) -> int:
        return min(len(p) for p in self.datapipes)  # type: ignore[arg-type]


@functional_datapipe("mux")
class Multiplexer(_Several):
    """One sample of each pipe in turn, until one has no more."""

    def __iter__(self) -> Iterator[Any]:
        for row in zip(*self.datapipes):
            yield from row

    def __len__(self) -> int:
        return min(len(p) for p in self.datapipes) * len(self.datapipes)  # type: ignore[arg-type]


@functional_datapipe("shuffle")
class Shuffler(_Stage):
    """Random order: each new sample takes the place of a random one of a buffer, which is given. The order is PyTorch's for a seed.

    `set_shuffle(False)` lets samples pass, `set_seed` sets the seed of the next pass, which else is drawn. Raises AssertionError for a buffer of nothing.
    """

    def __init__(self, datapipe: Any, *, buffer_size: int = 10000, unbatch_level: int = 0) -> None:
        if buffer_size <= 0:
            raise AssertionError("buffer_size should be larger than 0")
        super().__init__(datapipe.unbatch(unbatch_level) if unbatch_level else datapipe)
        self.buffer_size = buffer_size
        self._buffer: list[Any] = []
        self._enabled = True
        self._seed: int | None = None
        self._rng = random.Random()

    def set_shuffle(self, shuffle: bool = True) -> Shuffler:
        """Turn it on or off."""
        self._enabled = shuffle
        return self

    def set_seed(self, seed: int) -> Shuffler:
        """The seed of the next pass."""
        self._seed = seed
        return self

    def reset(self) -> None:
        """Begin anew, with the seed that was set or another."""
        self._buffer = []
        if self._enabled:
            self._rng.seed(int(engine_of(None).random((), int64.np)) if self._seed is None else self._seed)
            self._seed = None

    def __iter__(self) -> Iterator[Any]:
        if not self._enabled:
            yield from self.datapipe
            return
        buffer = self._buffer
        for sample in self.datapipe:
            if len(buffer) < self.buffer_size:
                buffer.append(sample)
                continue
            at = self._rng.randint(0, len(buffer) - 1)
            buffer[at], sample = sample, buffer[at]
            yield sample
        while buffer:
            yield buffer.pop(self._rng.randint(0, len(buffer) - 1))


@functional_datapipe("sharding_filter")
class ShardingFilter(_Stage):
    """Of n processes, this one's samples: every n-th. A DataLoader tells each worker's copy its share (`apply_sharding`)."""

    def __init__(self, source_datapipe: Iterable[Any]) -> None:
        super().__init__(source_datapipe)
        self.num_of_instances, self.instance_id = 1, 0

    def apply_sharding(self, num_of_instances: int, instance_id: int) -> None:
        """Take the share of one of n. Raises ValueError for a number of n or more."""
        if instance_id >= num_of_instances:
            raise ValueError(f"instance_id({instance_id}) should be smaller than num_of_instances({num_of_instances})")
        self.num_of_instances, self.instance_id = num_of_instances, instance_id

    def __iter__(self) -> Iterator[Any]:
        for i, sample in enumerate(self.datapipe):
            if i % self.num_of_instances == self.instance_id:
                yield sample

    def __len__(self) -> int:
        n, count = super().__len__(), self.num_of_instances
        return n // count + (self.instance_id < n % count)


@functional_datapipe("groupby")
class Grouper(_Stage):
    """Chunks of samples of the same key: given when there are `group_size` of them, when the buffer is full (the largest) and at the end.

    Raises AssertionError for sizes that do not go together, RuntimeError when the largest is below the guaranteed size (unless `drop_remaining`).
    """

    def __init__(self, datapipe: Iterable[Any], group_key_fn: Callable[[Any], Any], *, keep_key: bool = False, buffer_size: int = 10000,
                 group_size: int | None = None, guaranteed_group_size: int | None = None, drop_remaining: bool = False) -> None:
        super().__init__(datapipe)
        if group_size is not None and not 0 < group_size <= buffer_size:
            raise AssertionError("group_size must be > 0 and <= buffer_size")
        if guaranteed_group_size is not None and (group_size is None or not 0 < guaranteed_group_size <= group_size):
            raise AssertionError("guaranteed_group_size must be > 0 and <= group_size and group_size must be set")
        self.group_key_fn = group_key_fn
        self.keep_key = keep_key
        self.buffer_size = buffer_size
        self.group_size = group_size
        self.guaranteed_group_size = group_size if guaranteed_group_size is None else guaranteed_group_size
        self.drop_remaining = drop_remaining

    def _chunk(self, key: Any, items: list[Any]) -> Any:
        return (key, DataChunk(items)) if self.keep_key else DataChunk(items)

    def __iter__(self) -> Iterator[Any]:
        groups: defaultdict[Any, list[Any]] = defaultdict(list)
        kept = 0
        for sample in self.datapipe:
            key = self.group_key_fn(sample)
            groups[key].append(sample)
            kept += 1
            if len(groups[key]) == self.group_size:
                kept -= len(groups[key])
                yield self._chunk(key, groups.pop(key))
            if kept == self.buffer_size:
                largest = max(groups, key=lambda k: len(groups[k]))
                items = groups.pop(largest)
                kept -= len(items)
                enough = self.guaranteed_group_size is None or len(items) >= self.guaranteed_group_size
                if not enough and not self.drop_remaining:
                    raise RuntimeError("Failed to group items", str(items))
                if enough:
                    yield self._chunk(key, items)  # PyTorch tells the key of the sample that filled the buffer
        for key, items in groups.items():
            yield self._chunk(key, items)

    def __len__(self) -> int:
        raise TypeError(f"{type(self).__name__} instance doesn't have valid length")


class _Shared:
    """What the branches of one source have in common: the source's iterator, and what one branch has read and others not yet."""

    def __init__(self, source: Iterable[Any], count: int, size: int, branch_of: Callable[[Any], int | None] | None) -> None:
        self.source, self.size, self.branch_of = source, size, branch_of
        self.buffers: list[deque[Any]] = [deque() for _ in range(count)]
        self.reading: Iterator[Any] | None = None
        self.begun = [True] * count

    def begin(self, branch: int) -> None:
        """A branch begins a pass: if it has begun this one already, all begin anew."""
        if self.reading is None or self.begun[branch]:
            self.reading = iter(self.source)
            self.begun = [False] * len(self.buffers)
            for b in self.buffers:
                b.clear()
        self.begun[branch] = True

    def next(self, branch: int) -> Any:
        """The next sample of a branch. Raises BufferError when others are too far behind."""
        own = self.buffers[branch]
        while not own:
            sample = next(self.reading)  # type: ignore[arg-type]
            if self.branch_of is None:
                targets: Sequence[int] = range(len(self.buffers))
            else:
                target = self.branch_of(sample)
                targets = () if target is None else (target,)
            for t in targets:
                self.buffers[t].append(sample)
                if t != branch and 0 <= self.size < len(self.buffers[t]):
                    raise BufferError(f"DataPipe buffer overflow: another branch is more than {self.size} samples behind. Set buffer_size to a larger value")
        return own.popleft()


class _Branch(IterDataPipe[Any]):
    """One of several pipes that read one source together."""

    def __init__(self, shared: _Shared, number: int) -> None:
        self.shared, self.number = shared, number
        self.datapipe = shared.source

    def __iter__(self) -> Iterator[Any]:
        self.shared.begin(self.number)
        while True:
            try:
                sample = self.shared.next(self.number)
            except StopIteration:
                return
            yield sample

    def __len__(self) -> int:
        if self.shared.branch_of is not None:
            raise TypeError("a branch of demux doesn't have valid length")
        return len(self.datapipe)  # type: ignore[arg-type]


def fork(datapipe: Iterable[Any], num_instances: int, buffer_size: int = 1000) -> list[IterDataPipe[Any]]:
    """Several pipes with the samples of one, which is read once; at most `buffer_size` (-1: any number) are kept for the slowest.

    Raises ValueError for fewer than 1 pipe.
    """
    if num_instances < 1:
        raise ValueError(f"Expected `num_instances` larger than 0, but {num_instances} is found")
    shared = _Shared(datapipe, num_instances, buffer_size, None)
    return [_Branch(shared, i) for i in range(num_instances)]


def demux(datapipe: Iterable[Any], num_instances: int, classifier_fn: Callable[[Any], int | None], drop_none: bool = False,
          buffer_size: int = 1000) -> list[IterDataPipe[Any]]:
    """Several pipes, each with the samples that `classifier_fn` gives its number (None, with `drop_none`: nobody's).

    Raises ValueError for fewer than 1 pipe and, while reading, for a number of no pipe.
    """
    if num_instances < 1:
        raise ValueError(f"Expected `num_instances` larger than 0, but {num_instances} is found")

    def branch_of(sample: Any) -> int | None:
        found = classifier_fn(sample)
        if (found is None and not drop_none) or (found is not None and not 0 <= found < num_instances):
            raise ValueError(f"Output of the classification fn should be between 0 and {num_instances - 1}. {found} is returned.")
        return found
    shared = _Shared(datapipe, num_instances, buffer_size, branch_of)
    return [_Branch(shared, i) for i in range(num_instances)]


IterDataPipe.register_function("fork", fork)
IterDataPipe.register_function("demux", demux)

__all__ = ["Batcher", "Collator", "Concater", "Filter", "Grouper", "IterableWrapper", "Mapper", "Multiplexer", "ShardingFilter", "Shuffler", "UnBatcher",
           "Zipper", "demux", "fork"]

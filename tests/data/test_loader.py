"""Data sets, samplers and the loader against PyTorch: the same batches in the same order for a seed."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.utils.data

import torsh
from torsh.utils import data

PAIR = ((torsh, data), (torch, torch.utils.data))


@pytest.mark.parametrize("options", [{"batch_size": 4}, {"batch_size": 5, "shuffle": True}, {"batch_size": 5, "shuffle": True, "drop_last": True},
                                     {"batch_size": None}, {"batch_size": None, "shuffle": True}, {"batch_sampler": [[3, 1], [2]]}])
def test_batches_are_pytorchs(options: dict[str, Any]) -> None:
    found = []
    for t, d in PAIR:
        t.manual_seed(3)
        loader = d.DataLoader(d.TensorDataset(t.arange(23.0), t.arange(46).reshape(23, 2)), **options)
        batches = [(a.tolist(), b.tolist()) for _ in range(2) for a, b in loader]
        found.append((batches, len(loader), t.rand(2).tolist()))
    assert found[0] == found[1]


@pytest.mark.parametrize("draw", [
    lambda t, d: [list(s.indices) for s in d.random_split(range(11), [0.3, 0.7])],
    lambda t, d: [list(s.indices) for s in d.random_split(range(11), [4, 7], generator=t.Generator().manual_seed(5))],
    lambda t, d: list(d.RandomSampler(range(9), replacement=True, num_samples=40)),
    lambda t, d: list(d.RandomSampler(range(9), num_samples=25)),
    lambda t, d: list(d.RandomSampler(range(9), generator=t.Generator().manual_seed(1))),
    lambda t, d: list(d.SubsetRandomSampler([5, 6, 7])),
    lambda t, d: list(d.WeightedRandomSampler([0.1, 0.2, 0.7], 9)),
    lambda t, d: list(d.BatchSampler(d.SequentialSampler(range(7)), 3, True)),
    lambda t, d: [b.tolist() for b in d.DataLoader(d.TensorDataset(t.arange(7)), batch_size=2, sampler=d.RandomSampler(range(7)),
                                                  collate_fn=lambda rows: t.stack([r[0] for r in rows]))],
    lambda t, d: [b.tolist() for b in d.DataLoader(d.Subset(d.ConcatDataset([list(range(4)), list(range(10, 13))]), [6, 0, 4]), batch_size=2)],
])
def test_draws_are_pytorchs(draw: Any) -> None:
    found = []
    for t, d in PAIR:
        t.manual_seed(1)
        found.append((draw(t, d), t.rand(1).item()))
    assert found[0] == found[1]


def test_collating_matches_pytorch() -> None:
    def plain(x: Any) -> Any:
        if isinstance(x, dict):
            return {k: plain(v) for k, v in x.items()}
        if isinstance(x, (list, tuple)):
            return [plain(v) for v in x]
        return (str(x.dtype).replace("torch", "torsh"), x.tolist()) if hasattr(x, "dtype") else x

    results = []
    for t, d in PAIR:
        sample = {"i": 1, "f": 2.5, "t": t.ones(2), "s": "x", "n": np.float32([1, 2]), "l": [1, (2.0, t.zeros(1))], "b": True}
        results.append(plain(d.default_collate([sample, sample])))
        with pytest.raises(RuntimeError, match="equal size"):
            d.default_collate([t.ones(2), t.ones(3)])
        with pytest.raises(TypeError):
            d.default_collate([object()])
    assert results[0] == results[1]


def test_converting_matches_pytorch() -> None:
    sample = {"n": np.float32([1, 2]), "g": np.float64(3), "t": (np.int64([1]), "x", 2.5), "l": [np.ones(1)], "s": np.array(["a"])}
    found = [d.default_convert(sample) for _, d in PAIR]
    for ours, theirs in (found, ([found[0]["t"][0], found[0]["l"][0]], [found[1]["t"][0], found[1]["l"][0]])):
        assert type(ours) is type(theirs)
        assert str(ours).replace("torsh", "torch") == str(theirs)


@pytest.mark.parametrize("options", [{}, {"shuffle": False}, {"seed": 3, "drop_last": True}, {"shuffle": False, "drop_last": True}])
def test_distributed_samplers_share_the_indices_as_pytorchs(options: dict[str, Any]) -> None:
    for n, replicas in ((10, 3), (9, 3), (2, 5), (1, 1)):
        found = []
        for _, d in PAIR:
            samplers = [d.DistributedSampler(range(n), replicas, rank, **options) for rank in range(replicas)]
            rows = []
            for epoch in range(2):
                for s in samplers:
                    s.set_epoch(epoch)
                    rows.append((list(s), len(s)))
            found.append(rows)
        assert found[0] == found[1]
    with pytest.raises(ValueError, match="Invalid rank 3"):
        data.DistributedSampler(range(4), 3, 3)
    with pytest.raises(RuntimeError):
        data.DistributedSampler(range(4), 3)


def test_stacked_and_chained_data_sets_are_pytorchs() -> None:
    found = []
    for _, d in PAIR:
        class Stream(d.IterableDataset):
            def __iter__(self) -> Any:
                return iter("abc")

            def __len__(self) -> int:
                return 3
        rows = d.Subset([10, 20, 30], [2, 0, 1])
        stacked = [d.StackDataset(rows, "xyz"), d.StackDataset(n=rows, c="xyz")]
        both = Stream() + Stream()
        found.append([[s[1], s.__getitems__([0, 2]), len(s)] for s in stacked] + [list(both), len(both), type(both).__name__])
        for wrong in (((), {}), (([1],), {"a": [1]}), (([1], [1, 2]), {})):
            with pytest.raises(ValueError):
                d.StackDataset(*wrong[0], **wrong[1])
        with pytest.raises(AssertionError):
            list(d.ChainDataset([[1]]))
    assert found[0] == found[1]


def test_an_iterable_data_set_streams() -> None:
    class Count(data.IterableDataset):
        def __iter__(self) -> Any:
            return iter(range(5))
    assert [b.tolist() for b in data.DataLoader(Count(), batch_size=2)] == [[0, 1], [2, 3], [4]]
    assert [b.tolist() for b in data.DataLoader(Count(), batch_size=2, drop_last=True)] == [[0, 1], [2, 3]]


def test_impossible_options_are_refused() -> None:
    rows = data.TensorDataset(torsh.arange(3))
    for options in ({"shuffle": True, "sampler": [0]}, {"batch_sampler": [[0]], "batch_size": 2}, {"num_workers": -1}, {"timeout": -1},
                    {"prefetch_factor": 2}, {"persistent_workers": True}, {"multiprocessing_context": "fork"}, {"batch_size": 0}):
        with pytest.raises(ValueError):
            data.DataLoader(rows, **options)
    with pytest.raises(ValueError, match="does not equal the length"):
        data.random_split(rows, [1, 1])
    with pytest.raises(AssertionError, match="Size mismatch"):
        data.TensorDataset(torsh.arange(3), torsh.arange(2))

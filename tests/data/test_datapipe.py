"""Datapipes against PyTorch's: stages, their registration, single iterators, determinism and types."""
from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
import torch.utils.data
from torch.utils.data.datapipes import iter as theirs_iter
from torch.utils.data.datapipes import map as theirs_map

import torsh
from torsh.utils import data
from torsh.utils.data.datapipes import iter as ours_iter
from torsh.utils.data.datapipes import map as ours_map

pytestmark = [pytest.mark.filterwarnings("ignore:(Local|Lambda) function is not supported by pickle"),
              pytest.mark.filterwarnings("ignore:Some child DataPipes are not exhausted")]
PAIR = ((torsh, ours_iter, data), (torch, theirs_iter, torch.utils.data))


@pytest.mark.parametrize("pipeline", [
    lambda p: p.map(lambda x: x * x).batch(3),
    lambda p: p.batch(4, drop_last=True).unbatch(),
    lambda p: p.map(lambda x: (x, 2 * x, 3)).map(lambda a, b: a + b, input_col=[0, 2]),
    lambda p: p.map(lambda x: (x, 2 * x)).map(lambda a: a + 1, input_col=1, output_col=-1),
    lambda p: p.map(lambda x: [x, 2 * x]).map(lambda a: a + 1, input_col=1, output_col=0),
    lambda p: p.filter(lambda x: x % 3 == 0).concat(p.map(str)),
    lambda p: p.map(lambda x: (x, -x)).filter(lambda a, b: a + b == 0 and a > 2, input_col=[0, 1]),
    lambda p: p.shuffle(buffer_size=3).set_seed(4),
    lambda p: p.batch(2).shuffle(unbatch_level=1).set_seed(1),
    lambda p: p.groupby(lambda x: x % 3, group_size=2, keep_key=True),
    lambda p: p.groupby(lambda x: x % 4, buffer_size=3, keep_key=True),
    lambda p: p.zip(p.__class__(range(3))),
    lambda p: p.mux(p.__class__("abcd")),
    lambda p: p.batch(2).batch(2).unbatch(-1),
    lambda p: [list(q) for q in zip(*p.fork(2))],
    lambda p: [list(q) for q in p.demux(2, lambda x: x % 2)],
])
def test_pipelines_are_pytorchs(pipeline: Any) -> None:
    found = []
    for _, stages, _ in PAIR:
        made = pipeline(stages.IterableWrapper(range(10)))
        found.append([list(made), len(made) if hasattr(made, "__len__") and not _unsized(made) else None])
    assert found[0] == found[1]


def _unsized(pipe: Any) -> bool:
    try:
        len(pipe)
    except TypeError:
        return True
    return False


@pytest.mark.parametrize("pipeline", [
    lambda p: p.map(lambda x: x + 1), lambda p: p.batch(4), lambda p: p.concat(p.map(str)), lambda p: p.zip(p.map(str)), lambda p: p.batch(4, drop_last=True)])
def test_pipelines_by_index_are_pytorchs(pipeline: Any) -> None:
    found = []
    for stages in (ours_map, theirs_map):
        made = pipeline(stages.SequenceWrapper(list(range(10))))
        found.append([[made[i] for i in range(len(made))], len(made)])
        with pytest.raises(IndexError):
            made[100]
    assert found[0] == found[1]


def test_shuffling_in_a_loader_is_pytorchs() -> None:
    found = []
    for t, stages, d in PAIR:
        t.manual_seed(2)
        pipe = stages.IterableWrapper(range(12)).shuffle().sharding_filter()
        there = [[b.tolist() for b in d.DataLoader(pipe, batch_size=3, num_workers=n, shuffle=s)] for n, s in ((0, None), (2, True), (0, False))]
        found.append([there, t.rand(1).item()])
    assert found[0] == found[1]


def test_a_stage_is_registered_by_name() -> None:
    for _, stages, d in PAIR:
        @d.functional_datapipe("tripled")
        class Triple(d.IterDataPipe):
            def __init__(self, source: Any) -> None:
                self.source = source

            def __iter__(self) -> Any:
                for x in self.source:
                    yield 3 * x
        assert list(stages.IterableWrapper([1, 2]).tripled().tripled()) == [9, 18]
        assert "tripled" in dir(stages.IterableWrapper([1]))
        with pytest.raises(Exception, match="already taken"):
            d.functional_datapipe("tripled")(Triple)
        del d.IterDataPipe.functions["tripled"]
        with pytest.raises(AttributeError):
            stages.IterableWrapper([1]).tripled()
    with pytest.raises(TypeError):
        data.functional_datapipe("other")(object)


def test_a_second_iterator_ends_the_first() -> None:
    for _, stages, _ in PAIR:
        pipe = stages.IterableWrapper(range(5))
        first, second = iter(pipe), iter(pipe)
        assert next(first) == 0
        assert next(second) == 0
        with pytest.raises(RuntimeError, match="invalidated"):
            next(first)


def test_reset_runs_when_an_iterator_begins() -> None:
    for _, _, d in PAIR:
        class Count(d.IterDataPipe):
            calls = 0

            def __iter__(self) -> Any:
                return iter([self.calls])

            def reset(self) -> None:
                self.calls += 1
        pipe = Count()
        assert list(pipe) == [0]
        assert list(pipe) == [1]


def test_chunks_are_lists() -> None:
    for _, _, d in PAIR:
        chunk = d.DataChunk([1, 2])
        assert (chunk, list(chunk.raw_iterator()), chunk.as_str("  "), isinstance(chunk, list)) == ([1, 2], [1, 2], "  [1, 2]", True)


def test_pipes_are_pickled_and_hooks_are_used() -> None:
    for _, stages, d in PAIR:
        pipe = stages.IterableWrapper(range(4)).batch(2)
        assert list(pickle.loads(pickle.dumps(pipe))) == [[0, 1], [2, 3]]
        seen = []
        d.IterDataPipe.set_getstate_hook(lambda state, seen=seen: seen.append(1) or state)
        with pytest.raises(RuntimeError):
            d.IterDataPipe.set_getstate_hook(lambda state: state)
        pickle.dumps(pipe)
        d.IterDataPipe.set_getstate_hook(None)
        assert len(seen) == 2
        assert d.DFIterDataPipe()._is_dfpipe()


def test_determinism_can_be_demanded() -> None:
    for _, _, d in PAIR:
        @d.non_deterministic
        class Always(d.IterDataPipe):
            pass

        @d.non_deterministic(lambda shuffled: shuffled)
        class Sometimes(d.IterDataPipe):
            def __init__(self, shuffled: bool) -> None:
                self.shuffled = shuffled
        Always(), Sometimes(True)
        with d.guaranteed_datapipes_determinism():
            Sometimes(False)
            for make in (Always, lambda Sometimes=Sometimes: Sometimes(True)):
                with pytest.raises(TypeError, match="non-deterministic"):
                    make()
        Always()
        with pytest.raises(TypeError):
            d.non_deterministic(int)


def test_arguments_and_samples_are_checked() -> None:
    class Ints(data.IterDataPipe[int]):
        def __init__(self, items: list[Any]) -> None:
            self.items = items

        @data.runtime_validation
        def __iter__(self) -> Any:
            yield from self.items

    class Pairs(data.IterDataPipe[tuple[int, str | None]]):
        @data.runtime_validation
        def __iter__(self) -> Any:
            yield from [(1, "a"), (2, None)]

    @data.argument_validation
    def total(pipe: data.IterDataPipe[int | float]) -> float:
        return sum(pipe)
    assert total(Ints([1, 2])) == 3
    for wrong, message in ((3, "as a IterDataPipe"), (Pairs(), "as a subtype")):
        with pytest.raises(TypeError, match=message):
            total(wrong)
    assert len(list(Pairs())) == 2
    with pytest.raises(RuntimeError, match="Expected an instance"):
        list(Ints([1, "a"]))
    with data.runtime_validation_disabled():
        assert list(Ints([1, "a"])) == [1, "a"]
    with pytest.raises(TypeError, match="Can not decorate"):
        data.runtime_validation(total)

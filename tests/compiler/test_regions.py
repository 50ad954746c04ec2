"""Region writes of one memory: those that lie apart are one launch, and whatever their order means is kept."""
from __future__ import annotations

import numpy as np
import pytest

import torsh
from torsh.compiler.execute import stats
from torsh.compiler.regions import Apart, box_of
from torsh.core.dtypes import float32
from torsh.core.shapes import contiguous_strides
from torsh.graph.node import Node
from torsh.graph.primitives import ASSIGN


def launches(make) -> tuple[torsh.Tensor, int]:
    """What `make` gives, and how many launches computing it took."""
    made = make()
    stats.reset()
    made._storage.address()
    return made, stats.launches


@pytest.mark.parametrize("d", [0, 1, 2])
@pytest.mark.parametrize("count", [2, 20])
def test_cat_and_stack_are_one_launch(d: int, count: int) -> None:
    arrays = [np.random.default_rng(i).standard_normal((3, 4, 5)).astype(np.float32) for i in range(count)]
    tensors = [torsh.tensor(a) for a in arrays]
    for join, wanted in ((torsh.cat, np.concatenate(arrays, d)), (torsh.stack, np.stack(arrays, d))):
        found, n = launches(lambda join=join: join(tensors, d))
        np.testing.assert_array_equal(found.numpy(), wanted)
        assert n == 1


def test_parts_of_different_sizes_are_one_launch_and_its_numbers() -> None:
    arrays = [np.arange(7.0 * n).reshape(7, n) for n in (2, 5, 3, 11)]
    found, n = launches(lambda: torsh.cat([torsh.tensor(a) for a in arrays], 1))
    np.testing.assert_array_equal(found.numpy(), np.concatenate(arrays, 1))
    assert n == 1


def test_rows_written_one_by_one_are_one_launch() -> None:
    rows = torsh.arange(24.0).reshape(6, 4)
    rows._storage.address()
    def fill() -> torsh.Tensor:
        out = torsh.empty(6, 4)
        for i in (3, 0, 5, 1, 2, 4):
            out[i] = rows[5 - i]
        return out
    found, n = launches(fill)
    np.testing.assert_array_equal(found.numpy(), rows.numpy()[::-1])
    assert n == 1


def test_a_value_read_between_two_writes_is_the_one_of_then() -> None:
    x = torsh.zeros(6)
    x[:2] = 1.0
    between = x * 10
    x[2:4] = 2.0
    np.testing.assert_array_equal(between.numpy(), [10, 10, 0, 0, 0, 0])
    np.testing.assert_array_equal(x.numpy(), [1, 1, 2, 2, 0, 0])


def test_random_writes_give_what_numpy_gives() -> None:
    draw = np.random.default_rng(0)
    for _ in range(150):
        shape = tuple(draw.integers(1, 6, size=int(draw.integers(1, 4))).tolist())
        base = draw.standard_normal(shape).astype(np.float32)
        x, wanted = torsh.tensor(base), base.copy()
        for _ in range(int(draw.integers(2, 7))):
            place = []
            for n in shape:
                start = int(draw.integers(0, n))
                stop, step = int(draw.integers(start + 1, n + 1)), int(draw.integers(1, 3))
                place.append(slice(start, stop, step) if draw.random() < 0.8 else start)
            at = tuple(place)
            if draw.random() < 0.3:  # a value that reads the memory it goes to
                value = x[at] * 2 + 1
                wanted[at] = wanted[at] * 2 + 1
                x[at] = value
            else:
                number = float(draw.standard_normal())
                x[at], wanted[at] = number, np.float32(number)
        np.testing.assert_array_equal(x.numpy(), wanted)


def write(shape: tuple[int, ...], box: tuple[slice, ...]) -> Node:
    strides = contiguous_strides(shape)
    sizes = tuple(len(range(*s.indices(n))) for s, n in zip(box, shape, strict=True))
    region = sizes, tuple(s * (b.step or 1) for s, b in zip(strides, box, strict=True)), sum(b.start * s for b, s in zip(box, strides, strict=True))
    return Node(ASSIGN, (), region, shape, float32)


def test_boxes_hold_their_regions_and_apart_means_no_common_element() -> None:
    draw = np.random.default_rng(1)
    joined = 0
    for _ in range(300):
        shape = tuple(draw.integers(1, 5, size=3).tolist())
        count = np.zeros(shape, int)
        apart = None
        for _ in range(4):
            box = tuple(slice(a := int(draw.integers(0, n)), int(draw.integers(a + 1, n + 1)), int(draw.integers(1, 3))) for n in shape)
            node = write(shape, box)
            found = box_of(shape, node.arg)
            assert found is not None
            held = np.zeros(shape, bool)
            held[tuple(slice(a, b + 1) for a, b in found)] = True
            assert held[box].all()
            if apart is None:
                apart, taken = Apart(node), True
            else:
                taken = apart.add(node)
                joined += taken
            if taken:
                count[box] += 1
        assert count.max() == 1
    assert joined > 50


def test_regions_that_are_no_boxes_are_not_joined() -> None:
    assert box_of((4, 4), ((4,), (5,), 0)) is None  # a diagonal
    assert box_of((4, 4), ((6,), (1,), 2)) is None  # runs over the end of a row

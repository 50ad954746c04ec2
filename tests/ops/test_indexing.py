"""`x[...]` and `x[...] = v` against PyTorch, over generated index expressions."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import torsh
from tests.ops.oracle import agree, outcome, same, to_torsh

pytestmark = pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")  # PyTorch's, of its own lists as keys


@st.composite
def bases(draw: st.DrawFn) -> torch.Tensor:
    """A tensor of 0 to 4 dimensions, often a strided view of a larger one."""
    shape = draw(st.lists(st.integers(0, 4), min_size=0, max_size=4))
    count = int(np.prod(shape))
    form = draw(st.sampled_from(["plain", "transposed", "stepped"]))
    if form == "transposed":
        order = draw(st.permutations(range(len(shape))))
        t = torch.arange(count, dtype=torch.float64).reshape([shape[d] for d in order])
        return t.permute([order.index(d) for d in range(len(shape))])
    if form == "stepped" and shape:
        return torch.arange(count * 2 + 1, dtype=torch.float64)[1:].reshape([*shape[:-1], shape[-1] * 2])[..., ::2]
    return torch.arange(count, dtype=torch.float64).reshape(shape)


def _tensor_index(draw: st.DrawFn, size: int) -> Any:
    """An index array for a dimension, now and then out of range."""
    kind = draw(st.sampled_from(["list", "tensor", "array", "int32"]))
    shape = draw(st.sampled_from([(2,), (1,), (3, 2), (2, 1), (0,)]))
    low, high = (-size, size - 1) if size and draw(st.integers(0, 19)) else (-size - 1, size)
    values = np.array(draw(st.lists(st.integers(low, high), min_size=int(np.prod(shape)), max_size=int(np.prod(shape)))), np.int64).reshape(shape)
    if kind == "list":
        return values.tolist()
    return values.astype(np.int32) if kind == "int32" else values if kind == "array" else torch.from_numpy(values)


@st.composite
def keys(draw: st.DrawFn, shape: tuple[int, ...]) -> Any:
    """An index expression that fits a shape most of the time."""
    parts: list[Any] = []
    d = 0
    budget = draw(st.integers(0, len(shape) + 1))
    dots = False
    while d < budget and len(parts) < 6:
        size = shape[d] if d < len(shape) else 1
        kind = draw(st.sampled_from(["int", "slice", "slice", "none", "dots", "tensor", "tensor", "mask", "zero", "bool"]))
        if kind == "none":
            parts.append(None)
        elif kind == "bool":
            parts.append(draw(st.booleans()))
        elif kind == "dots" and not dots:
            dots = True
            parts.append(Ellipsis)
            d += draw(st.integers(0, len(shape) - d)) if d < len(shape) else 0
        elif kind == "int":
            parts.append(draw(st.integers(-size, max(size - 1, -size))))
            d += 1
        elif kind == "zero":
            parts.append(torch.tensor(draw(st.integers(-size, max(size - 1, -size)))))
            d += 1
        elif kind == "slice":
            edge = st.one_of(st.none(), st.integers(-size - 1, size + 1))
            parts.append(slice(draw(edge), draw(edge), draw(st.sampled_from([None, 1, 2, 3]))))
            d += 1
        elif kind == "tensor":
            parts.append(_tensor_index(draw, size))
            d += 1
        elif kind == "mask":
            span = draw(st.integers(1, 2))
            sizes = shape[d:d + span] or (1,)
            bits = draw(st.lists(st.booleans(), min_size=int(np.prod(sizes)), max_size=int(np.prod(sizes))))
            parts.append(torch.tensor(bits, dtype=torch.bool).reshape(sizes))
            d += span
    return parts[0] if len(parts) == 1 and draw(st.booleans()) else tuple(parts)


def _ours(key: Any) -> Any:
    if isinstance(key, tuple):
        return tuple(_ours(k) for k in key)
    return torsh.tensor(key.numpy().copy()) if isinstance(key, torch.Tensor) else key


@given(st.data())
def test_reading_agrees_with_pytorch(data: st.DataObject) -> None:
    x = data.draw(bases())
    key = data.draw(keys(tuple(x.shape)))
    theirs = outcome(lambda: x[key])
    ours = outcome(lambda: to_torsh(x)[_ours(key)])
    if isinstance(theirs, type):
        assert ours is theirs
    elif not theirs.numel() and ours is IndexError:
        pass  # PyTorch does not look at indices when there is nothing to read
    else:
        same(ours, theirs)
        agree(lambda m, t: t[key if m is torch else _ours(key)] ** 2, x, rtol=1e-12)


@given(st.data())
def test_reading_without_tensors_is_a_view(data: st.DataObject) -> None:
    x = data.draw(bases())
    key = data.draw(keys(tuple(x.shape)).filter(lambda k: not any(isinstance(p, (bool, list, np.ndarray)) or (isinstance(p, torch.Tensor) and (
        p.ndim or p.dtype is torch.bool)) for p in (k if isinstance(k, tuple) else (k,)))))
    theirs = outcome(lambda: x[key])
    ours = to_torsh(x)
    if not isinstance(theirs, type):
        part = ours[_ours(key)]
        part.fill_(-7)
        theirs.fill_(-7)
        same(ours, x)
        if theirs.numel() > 1:
            assert [s for s, n in zip(part.stride(), part.shape, strict=True) if n > 1] == \
                [s for s, n in zip(theirs.stride(), theirs.shape, strict=True) if n > 1]


def _has_repeats(x: torch.Tensor, key: Any) -> bool:
    places = torch.arange(x.numel()).reshape(x.shape)[key].reshape(-1)
    return len(places.unique()) < len(places)


@given(st.data())
def test_writing_agrees_with_pytorch(data: st.DataObject) -> None:
    x = data.draw(bases())
    key = data.draw(keys(tuple(x.shape)))
    region = outcome(lambda: x[key])
    shape = () if isinstance(region, type) else tuple(region.shape)
    kind = data.draw(st.sampled_from(["number", "same", "last", "ones"]))
    if kind == "number":
        value: Any = 3.5
    else:
        shape = shape[-1:] if kind == "last" else (1, *shape) if kind == "ones" else shape
        value = torch.arange(int(np.prod(shape)), dtype=torch.float64).reshape(shape) + 100
    if not isinstance(region, type) and _has_repeats(x, key):
        value = 2.5

    def write(m: Any, t: Any, v: Any, k: Any) -> Any:
        t = t * 2  # not a leaf, and with a history
        t = t if x.is_contiguous() else t.transpose(0, -1)[...].transpose(0, -1)
        t[k] = v
        return t * t
    theirs = outcome(lambda: write(torch, x, value, key))
    ours = outcome(lambda: write(torsh, to_torsh(x), _ours(value), _ours(key)))
    if isinstance(theirs, type):
        assert ours is theirs
    elif not isinstance(region, type) and not region.numel() and ours is IndexError:
        pass
    elif isinstance(value, torch.Tensor):
        agree(lambda m, t, v: write(m, t, v, key if m is torch else _ours(key)), x, value, rtol=1e-12)
    else:
        agree(lambda m, t: write(m, t, value, key if m is torch else _ours(key)), x, rtol=1e-12)


@pytest.mark.parametrize("key", [5, -4, (0, 4), (slice(None), 9), ([0, 3],), ([[0, 1]], [0, 1, 2]), (0, 0, 0), "a", 1.5, torch.tensor([0.5]),
                                 torch.tensor([True]), torch.zeros(3, 5, dtype=torch.bool), slice(None, None, -1), (..., 0, 0, 0), slice("a"),
                                 torch.tensor(1.0), torch.tensor([1], dtype=torch.int16)])
def test_errors_have_pytorchs_type(key: Any) -> None:
    theirs, ours = outcome(lambda: torch.zeros(3, 4)[key]), outcome(lambda: torsh.zeros(3, 4)[_ours(key)])
    assert isinstance(theirs, type)
    assert ours is theirs


@pytest.mark.parametrize(("key", "text"), [(3, "index 3 is out of bounds for dimension 0 with size 3"),
                                           ((0, -5), "index -5 is out of bounds for dimension 1 with size 4"),
                                           ([0, 7], "index 7 is out of bounds for dimension 0 with size 3"),
                                           ((0, 0, 0), "too many indices for tensor of dimension 2")])
def test_error_texts(key: Any, text: str) -> None:
    with pytest.raises(IndexError, match=text):
        torsh.zeros(3, 4)[key]


def test_an_index_that_is_not_computed_yet_is_checked_when_it_is() -> None:
    late = torsh.zeros(3)[torsh.tensor([1, 2]) + 4]
    with pytest.raises(IndexError, match=r"out of (bounds|range)"):
        late.tolist()


def test_a_negative_lazy_index_counts_from_the_end() -> None:
    same(torsh.arange(5)[torsh.tensor([1, 2]) - 3], torch.arange(5)[torch.tensor([-2, -1])])


def test_value_of_another_dtype() -> None:
    x = torsh.zeros(3)
    x[0] = torsh.tensor(2, dtype=torsh.int64)
    assert x.tolist() == [2, 0, 0]
    with pytest.raises(IndexError, match="source and destination dtypes match"):
        x[[0, 1]] = torsh.tensor([1, 2])


def test_a_leaf_that_requires_grad_is_not_written() -> None:
    x = torsh.zeros(3, requires_grad=True)
    for key in (0, [0], torsh.tensor([True, False, True])):
        with pytest.raises(RuntimeError, match="leaf"):
            x[key] = 1.0


def test_writing_through_a_view_reaches_the_base_and_its_gradient() -> None:
    agree(lambda m, x, v: _written(m, x, v), torch.arange(6.0, dtype=torch.float64).reshape(2, 3), torch.tensor([5.0, 7.0], dtype=torch.float64), rtol=1e-12)


def _written(m: Any, x: Any, v: Any) -> Any:
    y = x * 3
    part = y[:, 1:]
    part[0, [1, 0]] = v * v
    part[m.tensor([False, True])] = v
    return y * y


def test_pending_readers_keep_the_value_they_saw() -> None:
    x = torsh.arange(4.0)
    before = x + 1
    x[[0, 2]] = torsh.tensor([9.0, 8.0])
    assert before.tolist() == [1, 2, 3, 4]
    assert x.tolist() == [9, 1, 8, 3]


def test_writing_lands_in_shared_memory() -> None:
    memory = np.zeros(4)
    x = torsh.from_numpy(memory)
    x[[1, 3]] = torsh.tensor([1.0, 2.0], dtype=torsh.float64)
    assert memory.tolist() == [0, 1, 0, 2]
    memory[0] = 5
    assert x[[0]].tolist() == [5]


@pytest.mark.parametrize("accumulate", [False, True])
def test_index_put(accumulate: bool) -> None:
    x, v = torch.randn(3, 4, dtype=torch.float64), torch.randn(2, 4, dtype=torch.float64)
    agree(lambda m, a, b: m.index_put(a * 1, (m.tensor([2, 0]),), b, accumulate), x, v, rtol=1e-12)
    agree(lambda m, a, b: m.index_put(a * 1, (m.tensor([True, False, True]), m.tensor([1, 3])), b[0, :2], accumulate), x, v, rtol=1e-12)


def test_index_put_adds_repeated_places() -> None:
    x = torsh.zeros(3)
    x.index_put_((torsh.tensor([1, 1, 2]),), torsh.tensor([1.0, 2.0, 4.0]), accumulate=True)
    assert x.tolist() == [0, 3, 4]


@pytest.mark.parametrize("key", [[[0, 1], [1, 2]], [[0, 1]], [slice(0, 2)], [None, 0], [0, [1, 2]], [True, False, True], range(2), [np.int64(1), 2],
                                 [torch.tensor([0, 1]), torch.tensor([2, 1])], np.array([[0, 1], [1, 2]]), [..., 1], np.int64(1), np.array(2)])
def test_sequences_as_keys(key: Any) -> None:
    x = torch.arange(12).reshape(3, 4)
    same(to_torsh(x)[[_ours(k) for k in key] if isinstance(key, list) else key], x[key])


def test_iteration() -> None:
    assert [r.tolist() for r in torsh.arange(4).reshape(2, 2)] == [[0, 1], [2, 3]]
    with pytest.raises(TypeError, match="iteration over a 0-d tensor"):
        iter(torsh.tensor(1))

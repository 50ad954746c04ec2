"""The scheduler's index arithmetic, against NumPy's strides."""
from __future__ import annotations

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from torsh.compiler.layout import FULL, along, compose, domain_of, refine, sizes
from torsh.core.shapes import contiguous_strides, numel, view_strides

SHAPES = st.lists(st.integers(1, 4), min_size=0, max_size=4).map(tuple)


def read(memory: np.ndarray, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> np.ndarray:
    return np.lib.stride_tricks.as_strided(memory[offset:], shape, tuple(s * memory.itemsize for s in strides))


@given(SHAPES, st.data())
def test_compose_reads_what_two_views_read(shape: tuple[int, ...], data: st.DataObject) -> None:
    memory = np.arange(600)
    strides = tuple(data.draw(st.integers(0, 9)) for _ in shape)
    inner = (shape, strides, data.draw(st.integers(0, 20)))
    middle = read(memory, *inner).copy().reshape(-1)
    outer_shape = data.draw(SHAPES)
    outer_strides = tuple(data.draw(st.integers(0, 6)) for _ in outer_shape)
    offset = data.draw(st.integers(0, 5))
    assume(offset + sum((n - 1) * s for n, s in zip(outer_shape, outer_strides)) < middle.size)
    found = compose(outer_shape, outer_strides, offset, inner)
    if found is not None:
        np.testing.assert_array_equal(read(memory, *found), read(middle, outer_shape, outer_strides, offset))


@given(SHAPES)
def test_compose_keeps_a_permutation(shape: tuple[int, ...]) -> None:
    """Transposing what was transposed is one view: nothing has to be copied."""
    turned = (shape[::-1], contiguous_strides(shape)[::-1], 0)
    back = compose(shape, tuple(reversed(contiguous_strides(shape[::-1]))), 0, turned)
    assert back is not None
    memory = np.arange(numel(shape) + 1)
    np.testing.assert_array_equal(read(memory, *back), read(memory, shape, contiguous_strides(shape), 0))


@given(SHAPES, st.data())
def test_refined_domain_walks_both_shapes(shape: tuple[int, ...], data: st.DataObject) -> None:
    total = numel(shape)
    first = data.draw(st.sampled_from([d for d in range(1, total + 1) if total % d == 0]))
    other = (first, total // first)
    domain = refine(domain_of(shape), other, FULL)
    if domain is None:
        return
    assert numel(sizes(domain, FULL)) == total
    memory = np.arange(total)
    for s in (shape, other):
        walked = along(domain, s, contiguous_strides(s), FULL)
        np.testing.assert_array_equal(read(memory, sizes(domain, FULL), walked, 0).reshape(-1), memory)


@given(SHAPES, st.permutations(range(4)), st.data())
def test_view_strides_show_the_same_elements(shape: tuple[int, ...], order: list[int], data: st.DataObject) -> None:
    permutation = [d for d in order if d < len(shape)]
    memory = np.arange(numel(shape))
    array = memory.reshape(shape).transpose(permutation)
    strides = tuple(s // memory.itemsize for s in array.strides)
    divisor = data.draw(st.sampled_from([d for d in range(1, memory.size + 1) if memory.size % d == 0]))
    new = (divisor, memory.size // divisor)
    found = view_strides(array.shape, strides, new)
    if found is not None:
        np.testing.assert_array_equal(read(memory, new, found, 0), array.reshape(new))

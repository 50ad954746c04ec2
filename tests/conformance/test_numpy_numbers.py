"""NumPy's numbers in the place of Python's, over PyTorch's operator database: whatever takes an int or a float takes them, as PyTorch does."""
from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest

from tests.conformance.calls import Raised, detached, invoke, outcome, seeded, split
from tests.conformance.convert import Converter, Unconvertible, tensors_in, to_numpy
from tests.conformance.judge import ENTRIES, dtype_for_forms, find
from tests.conformance.resolve import Missing

SAMPLES = 12


def numpys(value: Any) -> Any:
    """A sample with NumPy's numbers for Python's ints and for its floats that float32 holds."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return np.int64(value) if abs(value) < 2**63 else value
    if isinstance(value, float):
        return np.float32(value) if float(np.float32(value)) == value else value
    if type(value) in (list, tuple):
        return type(value)(map(numpys, value))
    return {k: numpys(v) for k, v in value.items()} if isinstance(value, dict) else value


def holds_numbers(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(holds_numbers, value))
    if isinstance(value, dict):
        return holds_numbers(tuple(value.values()))
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def samples(key: str) -> Iterator[Any]:
    """Samples whose arguments hold numbers; by the longest lists of arguments first, so that rare ones are among them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        entry = ENTRIES[key]
        found = [split(s) for s in islice(entry.sample_inputs("cpu", dtype_for_forms(entry)), 60)]
    found = [s for s in found if holds_numbers((s[1], s[2]))]
    return islice(sorted(found, key=lambda s: -len(s[1]) - len(s[2])), SAMPLES)


def results(op: Callable[..., Any], sample: Any) -> Any:
    return outcome(lambda: seeded(0, lambda: invoke(op, sample)))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("key", ENTRIES)
def test_numbers_of_numpys(key: str) -> None:
    entry = ENTRIES[key]
    try:
        ours = find(entry)
    except Missing:
        return  # the table says so
    for first, args, kwargs in samples(key):
        try:
            plain = results(ours, Converter()(detached((first, args, kwargs))))
        except (Missing, Unconvertible):
            continue
        if isinstance(plain, Raised):
            continue
        given = numpys(args), numpys(kwargs)
        if isinstance(results(entry.op, detached((first, *given))), Raised):
            continue  # PyTorch does not take them either
        found = results(ours, Converter()(detached((first, *given))))
        assert not isinstance(found, Raised), f"{key}{given}: {type(found.error).__name__}: {found.error}"
        for a, b in zip(tensors_in(plain), tensors_in(found), strict=True):
            assert a.dtype is b.dtype, (key, given)
            if not key.startswith(("empty", "new_empty")):
                np.testing.assert_array_equal(to_numpy(a), to_numpy(b), err_msg=f"{key}{given}")

"""Tensors can be referred to weakly, compiled or not, and carry attributes of users' own."""
from __future__ import annotations

import gc
import weakref

import pytest

import torsh


@pytest.mark.parametrize("make", [lambda: torsh.ones(3), lambda: torsh.nn.Parameter(torsh.ones(3)), lambda: torsh.ones(3) + 1],
                         ids=["leaf", "parameter", "computed"])
def test_a_weak_reference_dies_with_its_tensor(make: object) -> None:
    told: list[object] = []
    x = make()  # type: ignore[operator]
    first, second = weakref.ref(x), weakref.ref(x, told.append)
    assert first() is x
    gc.collect()
    assert second() is x
    del x
    assert first() is None
    assert second() is None
    assert told == [second]


def test_a_tensor_in_a_cycle_is_collected_and_its_references_told() -> None:
    told: list[object] = []
    x = torsh.ones(2)
    x.me = x
    reference = weakref.ref(x, told.append)
    assert vars(x)["me"] is x
    del x
    gc.collect()
    assert reference() is None
    assert told == [reference]


def test_a_reference_outlives_collections_while_its_tensor_lives() -> None:
    kept = {i: torsh.ones(1) for i in range(100)}
    table = weakref.WeakValueDictionary(kept)
    for _ in range(3):
        gc.collect()
    assert len(table) == 100
    kept.clear()
    assert len(table) == 0

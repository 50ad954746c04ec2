"""PyTorch's older interface, the same calls on both."""
from __future__ import annotations

import pytest
import torch

import torsh
from tests.ops.oracle import outcome, same


@pytest.mark.parametrize("f", [
    lambda m: m.zeros(4, 3).fill_diagonal_(2), lambda m: m.zeros(9, 3).fill_diagonal_(2, wrap=True), lambda m: m.zeros(3, 3, 3).fill_diagonal_(1),
    lambda m: m.zeros(3, 5).t().fill_diagonal_(4, wrap=True),
    lambda m: m.zeros(8, 2).fill_diagonal_(1, wrap=True), lambda m: m.zeros(4, 3).fill_diagonal_(1, True),
    lambda m: m.arange(4.0).apply_(lambda v: v * v), lambda m: m.arange(4.0).map_(m.ones(1), lambda a, b: a - b),
    lambda m: m.zeros(2, 3).t().dim_order(), lambda m: m.ones(2).new([1, 2]), lambda m: m.ones(2, dtype=m.int32).new(3).zero_(),
    lambda m: m.frombuffer(bytearray(range(8)), dtype=m.int16, offset=2, count=2), lambda m: m.zeros(2, 3).ndimension(),
    lambda m: (lambda x: (x.is_set_to(x.view(2, 2)), x.is_set_to(x.view(4))))(m.zeros(4)),
    lambda m: m.typename(m.zeros(1, dtype=m.bfloat16)), lambda m: m.typename("a"), lambda m: str(m.zeros(1).layout).split(".")[1],
])
def test_results(f: object) -> None:
    same(f(torsh), f(torch))  # type: ignore[operator]


@pytest.mark.parametrize("f", [
    lambda m: m.zeros(3).fill_diagonal_(1), lambda m: m.zeros(2, 3, 2).fill_diagonal_(1), lambda m: m.frombuffer(b"", dtype=m.int8),
    lambda m: m.frombuffer(bytearray(5), dtype=m.int16), lambda m: m.frombuffer(bytearray(4), dtype=m.int16, count=3),
    lambda m: m.ones(2, requires_grad=True).apply_(abs),
])
def test_errors(f: object) -> None:
    theirs = outcome(lambda: f(torch))  # type: ignore[operator]
    assert isinstance(theirs, type)
    assert outcome(lambda: f(torsh)) is theirs  # type: ignore[operator]


def test_a_buffer_is_shared() -> None:
    memory = bytearray(4)
    x = torsh.frombuffer(memory, dtype=torsh.uint8)
    memory[1] = 7
    assert x.tolist() == [0, 7, 0, 0]
    x[2] = 9
    assert memory[2] == 9

"""Ranges told from a graph hold what the graph computes."""
from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import torsh
from torsh.compiler.ranges import known_range, surely_below
from torsh.core import dtypes
from torsh.graph import primitives as p
from torsh.graph.node import Node
from torsh.runtime import reference

BINARY = [p.ADD, p.SUB, p.MUL, p.MAX, p.MIN, p.FMOD, p.CDIV]


@given(st.data())
def test_values_lie_in_the_range(choices: st.DataObject) -> None:
    shape = (3, 4)
    nodes = [Node(p.IOTA, (), None, shape, dtypes.int64)]
    for _ in range(choices.draw(st.integers(1, 6))):
        op = choices.draw(st.sampled_from(BINARY))
        a = choices.draw(st.sampled_from(nodes))
        positive = op in (p.FMOD, p.CDIV)
        b = Node(p.CONST, (), choices.draw(st.integers(1 if positive else -5, 5)), (), dtypes.int64) if positive or choices.draw(st.booleans()) \
            else choices.draw(st.sampled_from(nodes))
        nodes.append(Node(op, (a, b), None, shape, dtypes.int64))
    top = nodes[-1]
    found = known_range(top)
    reference.evaluate([top])
    values = top.buffer.array(top.dtype.np, top.shape)
    assert found is None or (found[0] <= values.min() and values.max() <= found[1])


def test_what_is_read_at_run_time_is_not_known() -> None:
    made: Any = torsh.tensor([1, 2]) + 1
    assert known_range(made._storage.node) is None
    assert not surely_below(made._storage.node, 1000)


@pytest.mark.parametrize("padding", [0, 1])
def test_gradients_of_pools_need_no_look(padding: int) -> None:
    x = torch.randn(2, 3, 9, 9)
    ours, theirs = torsh.tensor(x.numpy()).requires_grad_(), x.clone().requires_grad_()
    torsh.nn.functional.max_pool2d(ours, 3, 2, padding).square().sum().backward()
    torch.nn.functional.max_pool2d(theirs, 3, 2, padding).square().sum().backward()
    torch.testing.assert_close(torch.from_numpy(ours.grad.numpy()), theirs.grad)

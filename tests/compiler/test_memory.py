"""The memory of a plan, and graphs that grow without anybody asking for their values."""
from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import torsh
from torsh.compiler import realize
from torsh.compiler.execute import stats
from torsh.compiler.plan import Memory, arrange
from torsh.tensor.tensor import MOST_DEPTH

NULL = """
import json, torsh
from torsh.compiler import realize
from torsh.compiler.execute import stats
x = torsh.empty(1000, 1000)
for _ in range(6):
    x = (x @ x).relu()
realize.realize([x._storage.node])
plan = next(iter(realize._plans.values())).plan
print(json.dumps([plan.program.arena_bytes, plan.program.launches, stats.runs, x._storage.node.buffer is None]))
"""


def test_the_null_runtime_plans_and_runs_nothing() -> None:
    """Six products one after the other need two values at a time, not six; one of them lies where the result will be."""
    environment = dict(os.environ, TORSH_RUNTIME="null")
    done = subprocess.run([sys.executable, "-c", NULL], capture_output=True, text=True, check=True, env=environment)
    arena, launches, runs, unrealized = json.loads(done.stdout)
    value = 4_000_000
    assert launches >= 6
    assert runs == 0
    assert unrealized
    assert value <= arena <= 2.3 * value  # and what the products pack


@pytest.mark.parametrize("lives", [[(0, 1), (1, 2), (2, 3), (3, 4)], [(0, 4), (1, 2), (2, 3)], [(0, 0), (0, 3), (1, 1)]])
def test_values_alive_together_do_not_overlap(lives: list[tuple[int, int]]) -> None:
    memories = []
    for i, (first, last) in enumerate(lives):
        m = Memory(1000 * (i + 1))
        m.first, m.last = first, last
        memories.append(m)
    top = arrange(memories, 7)
    spans = [(m.value.offset, m.value.offset + m.nbytes, m.first, m.last) for m in memories]
    for i, (begin, end, first, last) in enumerate(spans):
        assert end - 64 <= top
        for other_begin, other_end, other_first, other_last in spans[:i]:
            together = first <= other_last and other_first <= last
            assert not together or end <= other_begin or other_end <= begin
    assert top <= sum(m.nbytes for m in memories)


def test_a_running_total_that_nobody_reads_is_computed_on_the_way() -> None:
    total, x = torsh.zeros(3), torsh.ones(3)
    stats.reset()
    for _ in range(3 * MOST_DEPTH):
        total = total + x
        assert total._storage.node.depth <= MOST_DEPTH + 1
    assert stats.runs == 3
    assert total.tolist() == [3.0 * MOST_DEPTH] * 3


def test_the_graph_of_what_was_computed_is_let_go() -> None:
    x = torsh.ones(10)
    y = ((x + 1) * 2).exp()
    z = y.log()
    z.numpy()
    assert z._storage.node.srcs == ()
    assert y._storage.node.buffer is not None  # it is alive, so it was kept
    np.testing.assert_allclose(y.log().numpy(), 4.0, rtol=1e-6)
    assert len(realize._companions.nodes) <= 65

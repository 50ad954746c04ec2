"""Outputs take over the memory of inputs that nobody needs any more, and only of those."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import torsh
from torsh.compiler.execute import stats
from torsh.runtime.cpu import memory


def data(*shape: int, seed: int = 0) -> Any:
    made = torsh.tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32)) + 0  # in memory of ToRSh's own
    made.numpy()
    return made


def donated(run: Any) -> int:
    stats.reset()
    run()
    return stats.donations


def test_an_update_in_place_stays_in_its_memory() -> None:
    x = data(1000)
    before = x.data_ptr()

    def update() -> None:
        x.mul_(2).add_(1)
        x.numpy()
    assert donated(update) == 1
    assert x.data_ptr() == before


def test_a_region_written_in_place_copies_nothing() -> None:
    x = data(100_000)
    before, at = x.data_ptr(), x.numpy().copy()
    stats.reset()
    x[10:20] = 5
    assert x[:30].tolist()[9:21] == [at[9], *[5.0] * 10, at[20]]
    x.numpy()
    assert x.data_ptr() == before
    assert stats.donations == 1


def test_adam_updates_parameters_and_state_in_place() -> None:
    params = [torsh.nn.Parameter(data(30, 40)) for _ in range(5)]
    optimizer = torsh.optim.Adam(params)
    for _ in range(2):
        for p in params:
            p.grad = data(30, 40, seed=1)
        optimizer.step()
    for p in params:
        p.grad = data(30, 40, seed=2)
    where = [t.data_ptr() for p in params for t in (p, optimizer.state[p]["exp_avg"], optimizer.state[p]["exp_avg_sq"])]
    for p in params:
        p.grad.numpy()
    held = memory.stats()["allocated"]
    assert donated(optimizer.step) == 15
    assert [t.data_ptr() for p in params for t in (p, optimizer.state[p]["exp_avg"], optimizer.state[p]["exp_avg_sq"])] == where
    assert memory.stats()["allocated"] <= held


@pytest.mark.parametrize("make", [lambda p: torsh.optim.SGD(p, 0.1, momentum=0.9), lambda p: torsh.optim.AdamW(p, 0.1),
                                  lambda p: torsh.optim.RMSprop(p, 0.1, momentum=0.5)], ids=["sgd", "adamw", "rmsprop"])
def test_updates_in_place_behind_checked_indices_and_not_at_all_for_wrong_ones(make: Any) -> None:
    torsh.manual_seed(0)
    table, head = torsh.nn.Embedding(50, 8), torsh.nn.Linear(8, 4)
    optimizer = make([*table.parameters(), *head.parameters()])
    tokens = torsh.tensor(np.arange(20).reshape(4, 5) % 7)

    def step(tokens: Any) -> None:
        optimizer.zero_grad()
        head(table(tokens)).square().sum().backward()
        optimizer.step()

    def everything() -> list[Any]:
        states = [v.numpy().copy() for held in optimizer.state.values() for v in held.values()]
        return [p.detach().numpy().copy() for p in (table.weight, head.weight, head.bias)] + states
    for _ in range(3):
        step(tokens)
    assert donated(lambda: step(tokens)) >= 4  # the matrices and a state of theirs, though the gradient's scatter has indices to check
    before = everything()
    with pytest.raises(IndexError):
        step(tokens + 50)
    for a, b in zip(before, everything(), strict=True):
        np.testing.assert_array_equal(a, b)
    step(tokens)


@pytest.mark.parametrize("make", [lambda p: torsh.optim.SGD(p, 0.1, momentum=0.9), lambda p: torsh.optim.Adam(p, 0.1)], ids=["sgd", "adam"])
def test_a_first_step_that_fails_can_be_made_up_for(make: Any) -> None:
    found = []
    for fails in (True, False):
        torsh.manual_seed(0)
        table = torsh.nn.Embedding(5, 2)
        optimizer = make(table.parameters())
        for tokens in ([[7]] if fails else []) + [[1, 2], [2]]:
            optimizer.zero_grad()
            table(torsh.tensor(tokens) + 0).square().sum().backward()
            if tokens == [7]:
                with pytest.raises(IndexError):
                    optimizer.step()
            else:
                optimizer.step()
        found.append(table.weight.detach().numpy().copy())
    np.testing.assert_array_equal(*found)


def test_an_exported_array_keeps_its_contents_where_pytorch_keeps_them() -> None:
    x = data(50)
    y = x * 2
    kept = y.numpy()
    wanted = kept.copy()
    z = y + 1
    del y
    z.numpy()
    np.testing.assert_array_equal(kept, wanted)


def test_a_pending_reader_keeps_the_value_it_saw() -> None:
    x = data(50)
    before = x.numpy().copy()
    later = x * 3
    x.add_(1)
    x.numpy()
    np.testing.assert_array_equal(later.numpy(), before * np.float32(3))


def test_one_of_several_results_may_be_computed_later() -> None:
    x = data(60) + 0
    x.numpy()
    wanted = torch.from_numpy(x.numpy().copy()).sort()
    values, places = x.sort()
    del x
    np.testing.assert_array_equal((values + 1).numpy(), wanted[0].numpy() + 1)
    np.testing.assert_array_equal(places.numpy(), wanted[1].numpy())


def test_a_failed_run_changes_no_input() -> None:
    x, table = data(20), data(10, 3)
    before, rows = x.numpy().copy(), table.numpy().copy()
    bad = torsh.tensor([3, 11]) + 0  # not known to be bad before it is computed
    x.add_(table[bad].sum())
    table.mul_(2)
    y = x + table.sum()
    with pytest.raises(IndexError):
        y.numpy()
    np.testing.assert_array_equal(rows * 2, table.numpy())
    del y
    with pytest.raises(IndexError):
        x.numpy()
    assert np.isfinite(before).all()


def test_a_host_steps_output_takes_over_nothing() -> None:
    """The first inverse is written by a host step, then others of the graph's matrices are read, and it is read by a kernel last of all."""
    rng = np.random.default_rng(0)
    first, second, third = rng.standard_normal((3, 4, 4))
    a, b, c = (torsh.tensor(m) * 1 for m in (first, second, third))
    (a.sum() + b.sum() + c.sum()).item()  # computed: in memory that a graph may take over, once nobody else holds it
    inverse, other = torsh.linalg.inv_ex(b).inverse, torsh.linalg.inv_ex(c).inverse
    found = (other @ a) @ inverse
    del a, b, c, other
    np.testing.assert_allclose(found.numpy(), np.linalg.inv(third) @ first @ np.linalg.inv(second), 1e-9)
    np.testing.assert_allclose(inverse.numpy(), np.linalg.inv(second), 1e-10)


@given(st.data())
def test_random_programs_in_place(choices: st.DataObject) -> None:
    """Updates of three tensors through shifted, transposed and whole reads of each other, as PyTorch does them."""
    arrays = [np.random.default_rng(i).standard_normal((6, 6)).astype(np.float32) for i in range(3)]
    ours, theirs = [torsh.tensor(a) for a in arrays], [torch.tensor(a) for a in arrays]
    for t in ours:
        t.numpy()
    for _ in range(choices.draw(st.integers(1, 6))):
        i, j = choices.draw(st.integers(0, 2)), choices.draw(st.integers(0, 2))
        kind = choices.draw(st.sampled_from(["add", "transposed", "shifted", "region", "row", "new", "read"]))
        for side in (ours, theirs):
            a, b = side[i], side[j]
            if kind == "add":
                a.mul_(0.5).add_(b)
            elif kind == "transposed":
                a.add_(b.t() * 0.5)
            elif kind == "shifted":
                a[1:] += b[:-1] * 0.5
            elif kind == "region":
                a[1:3, ::2] = b[3:5, 1::2]
            elif kind == "row":
                a.sub_(b.sum(0, keepdim=True) * 0.1)
            elif kind == "new":
                side[i] = a * 2 - b
            else:
                a.sum().item()
    for mine, wanted in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine.numpy(), wanted.numpy(), rtol=1e-4, atol=1e-4)

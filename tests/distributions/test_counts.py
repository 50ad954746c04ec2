"""What a step of a policy costs, counted: runs, launches, plans."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import torsh
from torsh.codegen.compile import stats as code
from torsh.compiler.execute import stats

ACTIONS = 20


@pytest.fixture
def step() -> Any:
    """A step of REINFORCE: so many actions, each drawn from a network's logits, then an update; warmed up."""
    torsh.manual_seed(0)
    net = torsh.nn.Sequential(torsh.nn.Linear(4, 32), torsh.nn.Tanh(), torsh.nn.Linear(32, 2))
    optimizer = torsh.optim.Adam(net.parameters(), lr=1e-2)

    def run() -> float:
        state, logs, rewards = np.zeros(4, np.float32), [], []
        for _ in range(ACTIONS):
            choice = torsh.distributions.Categorical(logits=net(torsh.from_numpy(state)), validate_args=False)
            action = choice.sample()
            logs.append(choice.log_prob(action))
            state = state + (0.1 if action.item() else -0.1)
            rewards.append(1.0 - abs(float(state[0])))
        gains = torsh.tensor(np.cumsum(rewards[::-1])[::-1].astype(np.float32).copy())
        loss = -(torsh.stack(logs) * (gains - gains.mean())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()
    for _ in range(3):
        run()
    return run


def test_a_step_runs_one_plan_an_action_and_one_for_the_update_and_builds_none(step: Any) -> None:
    stats.reset()
    code.reset()
    step()
    assert stats.plans == 0
    assert code.compiles == 0
    assert stats.host_calls == 0
    assert stats.runs == ACTIONS + 1


def test_launches_of_a_step(step: Any) -> None:
    """A network of two layers and a draw are four; the update is as many for any number of actions."""
    stats.reset()
    step()
    assert stats.launches <= 4 * ACTIONS + 12


def test_a_draw_of_several_rows_and_its_entry_are_one_run() -> None:
    logits = torsh.randn(6, 5)
    logits._storage.address()
    stats.reset()
    choice = torsh.distributions.Categorical(logits=logits, validate_args=False)
    action = choice.sample()
    assert (stats.runs, stats.launches) == (1, 1)
    action.tolist()
    assert stats.runs == 1
    choice.log_prob(action).tolist()
    assert (stats.runs, stats.launches) == (2, 2)


def test_joining_twenty_log_probabilities_is_two_launches() -> None:
    choices = [torsh.distributions.Categorical(logits=torsh.randn(3), validate_args=False) for _ in range(20)]
    actions = [c.sample() for c in choices]
    joined = torsh.stack([c.log_prob(a) for c, a in zip(choices, actions, strict=True)])
    stats.reset()
    joined.tolist()
    assert (stats.runs, stats.launches) == (1, 2)  # what is chosen, and putting it together

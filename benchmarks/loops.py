"""Small training loops, undecorated: `python -m benchmarks.loops`. Where a step is mostly the framework's own work."""
from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.sides import alternated, library, printed, table

RNG = np.random.default_rng(0)


def normal(t: Any, *shape: int) -> Any:
    return t.tensor(RNG.standard_normal(shape, dtype=np.float32))


def regression(t: Any) -> Callable[[], Any]:
    """Two inputs, 16 hidden units, batches of 8, plain SGD."""
    model = t.nn.Sequential(t.nn.Linear(2, 16), t.nn.Tanh(), t.nn.Linear(16, 1))
    optimizer = t.optim.SGD(model.parameters(), lr=0.05)
    x, y = normal(t, 8, 2), normal(t, 8, 1)

    def step() -> Any:
        optimizer.zero_grad()
        loss = t.nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()
    return step


def classifier(t: Any) -> Callable[[], Any]:
    """Three layers of 64, batches of 32, Adam."""
    nn = t.nn
    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = t.optim.Adam(model.parameters(), lr=1e-3)
    x, y = normal(t, 32, 32), t.tensor(np.arange(32) % 10)

    def step() -> Any:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()
    return step


def cells(kind: str) -> Callable[[Any], Callable[[], Any]]:
    """A recurrent cell called 20 times in a Python loop, 8 sequences, 32 units."""
    def make(t: Any) -> Callable[[], Any]:
        cell, head = getattr(t.nn, kind)(16, 32), t.nn.Linear(32, 1)
        optimizer = t.optim.Adam([*cell.parameters(), *head.parameters()], lr=1e-3)
        x, y = normal(t, 20, 8, 16), normal(t, 8, 1)

        def step() -> Any:
            optimizer.zero_grad()
            state = None
            for i in range(20):
                state = cell(x[i], state)
            loss = t.nn.functional.mse_loss(head(state[0] if kind == "LSTMCell" else state), y)
            loss.backward()
            optimizer.step()
            return loss.item()
        return step
    return make


def policy(t: Any) -> Callable[[], Any]:
    """REINFORCE: 20 steps of an environment in NumPy, an action drawn in each, then one update."""
    nn = t.nn
    net = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 2))
    optimizer = t.optim.Adam(net.parameters(), lr=1e-2)
    push = np.array([[0.1, -0.1, 0.05, 0.02], [-0.1, 0.1, -0.05, 0.02]], np.float32)

    def step() -> Any:
        state, logs, rewards = np.zeros(4, np.float32), [], []
        for _ in range(20):
            choice = t.distributions.Categorical(logits=net(t.from_numpy(state)), validate_args=False)
            action = choice.sample()
            logs.append(choice.log_prob(action))
            state = state + push[action.item()]
            rewards.append(1.0 - abs(float(state[0])))
        gains = t.tensor(np.cumsum(rewards[::-1])[::-1].astype(np.float32).copy())
        loss = -(t.stack(logs) * (gains - gains.mean())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()
    return step


LOOPS: dict[str, Callable[[Any], Callable[[], Any]]] = {
    "regression 2-16-1": regression, "classifier 32-64-64-10": classifier, "RNNCell, 20 steps": cells("RNNCell"),
    "GRUCell, 20 steps": cells("GRUCell"), "LSTMCell, 20 steps": cells("LSTMCell"), "policy, 20 actions": policy}


def measure(t: Any, seconds: float) -> dict[str, float]:
    found = {}
    for name, make in LOOPS.items():
        step = make(t)
        for _ in range(10):
            step()
        times, end = [], time.perf_counter() + seconds
        while time.perf_counter() < end:
            begin = time.perf_counter()
            step()
            times.append(time.perf_counter() - begin)
        found[name] = statistics.median(times) * 1e6
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loops", description=__doc__)
    parser.add_argument("--side", choices=("torch", "torsh"), help="measure one side, here")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each loop")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.side:
        printed(measure(library(options.side), options.seconds))
        return
    found = alternated("loops", options.rounds, "--seconds", str(options.seconds))
    rows = [f"| {name} | {f['torch']:.0f} | {f['torsh']:.0f} | {f['torch'] / f['torsh']:.2f} |" for name, f in found.items()]
    table("Small training loops, 2 threads", "python -m benchmarks.loops", "| a step | PyTorch us | ToRSh us | ratio |", rows, "loops")


if __name__ == "__main__":
    main()

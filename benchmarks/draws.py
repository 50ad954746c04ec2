"""Random draws on one thread, side by side with PyTorch in one process: `python -m benchmarks.draws`.

Processor time of a call, the best of many, the two libraries in turns. Results are computed before the clock stops.
"""
from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

from benchmarks.sides import library, table

SIZES = (8, 1000, 100_000)


def draws(t: Any, n: int) -> dict[str, Callable[[], Any]]:
    """What is measured, of n numbers."""
    x, out, chance, weights = t.randn(n), t.empty(n), t.full((n,), 0.3), t.rand(n)
    shape, few, many = t.full((n,), 2.5), t.full((n,), 4.0), t.full((n,), 20.0)
    gamma = t.distributions.gamma._standard_gamma if t.__name__ == "torch" else t.distributions.gamma.standard_gamma
    found: dict[str, Callable[[], Any]] = {
        "rand": lambda: t.rand(n), "rand, float64": lambda: t.rand(n, dtype=t.float64),
        "randn": lambda: t.randn(n), "randn, float64": lambda: t.randn(n, dtype=t.float64),
        "randint": lambda: t.randint(0, 10, (n,)), "randperm": lambda: t.randperm(n),
        "uniform_": lambda: out.uniform_(-1.0, 1.0), "normal_": lambda: out.normal_(),
        "bernoulli": lambda: t.bernoulli(chance), "bernoulli_": lambda: out.bernoulli_(0.3),
        "dropout": lambda: t.nn.functional.dropout(x, 0.3),
        "multinomial, n with replacement": lambda: t.multinomial(weights, n, True),
        "multinomial, 5 without": lambda: t.multinomial(weights, 5),
        "multinomial, 1": lambda: t.multinomial(weights, 1),
        "exponential_": lambda: out.exponential_(), "log_normal_": lambda: out.log_normal_(), "cauchy_": lambda: out.cauchy_(),
        "geometric_": lambda: out.geometric_(0.3), "gamma": lambda: gamma(shape), "poisson of 4": lambda: t.poisson(few),
        "poisson of 20": lambda: t.poisson(many)}
    return found


def computed(call: Callable[[], Any]) -> Callable[[], Any]:
    """The call with its result computed, if it is one that waits."""
    from torsh.compiler.realize import realize

    def run() -> Any:
        made = call()
        node = made._storage.node
        if node.buffer is None:
            realize([node])
        return made
    return run


def best(call: Callable[[], Any], calls: int) -> float:
    """Seconds a call, the least of 5."""
    least = float("inf")
    for _ in range(5):
        begin = time.thread_time_ns()
        for _ in range(calls):
            call()
        least = min(least, (time.thread_time_ns() - begin) / calls)
    return least * 1e-9


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.draws", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="draws whose name contains this")
    options = parser.parse_args()
    theirs, ours = library("torch", 1), library("torsh", 1)
    rows: dict[str, list[str]] = {}
    for n in SIZES:
        sides = draws(theirs, n), draws(ours, n)
        for name in sides[0]:
            if options.only not in name:
                continue
            pair = sides[0][name], computed(sides[1][name])
            calls = max(1, min(300, 30_000 // n))
            seconds = [float("inf"), float("inf")]
            for _ in range(options.rounds):
                seconds = [min(s, best(call, calls)) for s, call in zip(seconds, pair, strict=True)]
            rows.setdefault(name, []).append(f"{seconds[0] * 1e6:.1f} | {seconds[1] * 1e6:.1f} | {seconds[0] / seconds[1]:.2f}")
    lines = [f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()]
    head = "| numbers | " + " | ".join(f"{n}: PyTorch us | ToRSh us | ratio" for n in SIZES) + " |"
    table("Random draws, 1 thread", "python -m benchmarks.draws", head, lines, None if options.only else "draws", "Processor time of a call.")


if __name__ == "__main__":
    main()

"""A GPT's first training step, with nothing compiled before and with a warm cache on disk, and a GPT called with 64 lengths:
`python -m benchmarks.sequences`."""
from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from typing import Any

import numpy as np

from benchmarks.models import gpt
from benchmarks.sides import library, measured, printed, table

LENGTHS = 64


def first_step(t: Any) -> dict[str, float]:
    """Seconds of the first step, model and optimizer made before; and of the tenth."""
    model = gpt(t)
    optimizer = t.optim.AdamW(model.parameters(), 1e-3)
    tokens = t.tensor(np.random.default_rng(0).integers(0, 1024, (8, 128)))
    times = []
    for _ in range(10):
        begin = time.perf_counter()
        optimizer.zero_grad()
        loss = t.nn.functional.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten())
        loss.backward()
        optimizer.step()
        loss.item()
        times.append(time.perf_counter() - begin)
    return {"first": times[0], "tenth": times[-1]}


def lengths(t: Any) -> dict[str, float]:
    """Milliseconds a call over 64 lengths in turn, each new the first time, and over the same work at one length; kernels compiled after the second length."""
    model = gpt(t).eval()
    sizes = [64 + i for i in range(LENGTHS)]
    tokens = t.tensor(np.random.default_rng(0).integers(0, 1024, (1, 256)))
    count = _compiled()

    def call(n: int) -> float:
        begin = time.perf_counter()
        with t.no_grad():
            model(tokens[:, :n]).numpy()
        return time.perf_counter() - begin
    call(sizes[0])
    call(sizes[1])
    before = count()
    fresh = [call(n) for n in sizes[2:]]
    after = count()
    again = [call(n) for _ in range(5) for n in sizes]
    middle = sizes[len(sizes) // 2]
    for _ in range(5):
        call(middle)
    fixed = [call(middle) for _ in range(5 * LENGTHS)]
    return {"new": statistics.median(fresh) * 1e3, "varied": statistics.median(again) * 1e3, "fixed": statistics.median(fixed) * 1e3, "kernels": after - before}


def _compiled() -> Any:
    try:
        from torsh.codegen.compile import stats
    except ImportError:
        return lambda: 0
    return lambda: stats.compiles


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sequences", description=__doc__)
    parser.add_argument("--side", choices=("torch", "torsh"), help="measure one side, here")
    parser.add_argument("--what", choices=("first", "lengths"), default="first")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.side:
        printed((first_step if options.what == "first" else lengths)(library(options.side)))
        return
    cold, warm = [], []
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            cold.append(measured("sequences", "torsh", TORSH_CACHE_DIR=folder)["first"])
            warm.append(measured("sequences", "torsh", TORSH_CACHE_DIR=folder)["first"])
    eager = measured("sequences", "torch")
    theirs, ours = measured("sequences", "torch", "--what", "lengths"), measured("sequences", "torsh", "--what", "lengths")
    rows = [f"| first training step, nothing cached, s | {eager['first']:.2f} | {statistics.median(cold):.2f} |",
            f"| first training step, cache on disk, s | {eager['first']:.2f} | {statistics.median(warm):.2f} |",
            f"| {LENGTHS} lengths, a call with a new one, ms | {theirs['new']:.2f} | {ours['new']:.2f} |",
            f"| {LENGTHS} lengths in turn, a call, ms | {theirs['varied']:.2f} | {ours['varied']:.2f} |",
            f"| one length, a call, ms | {theirs['fixed']:.2f} | {ours['fixed']:.2f} |",
            f"| kernels compiled after the second length | | {ours['kernels']:.0f} |"]
    table("A GPT's first step and its lengths, 2 threads", "python -m benchmarks.sequences", "| | PyTorch (eager) | ToRSh |", rows, "sequences")


if __name__ == "__main__":
    main()

"""Side by side with PyTorch: `python -m benchmarks` prints a table and writes it, dated, to benchmarks/results.

Each side runs in fresh processes of its own, in turns: in one process the threads of one that still spin would slow the
other. Each timed call ends with its result in memory. Figures are medians over the rounds of medians; the ratio is
PyTorch's time over ours (above 1: ours is faster).
"""
from __future__ import annotations

import argparse
import datetime
import importlib
import importlib.metadata
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

RNG = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape, dtype=np.float32)


#: name -> (function of the module and its tensors, arrays)
WORKLOADS: dict[str, tuple[Callable[..., Any], Callable[[], tuple[np.ndarray, ...]]]] = {
    "add 4x4": (lambda m, a, b: a + b, lambda: (normal(4, 4), normal(4, 4))),
    "chain of six, 4M": (lambda m, a, b: m.exp(m.sigmoid(m.tanh(a * b + a) * 0.5 + b) - a), lambda: (normal(1 << 22), normal(1 << 22))),
    "softmax 4096x1024": (lambda m, a: m.softmax(a, -1), lambda: (normal(4096, 1024),)),
    "sum of 16M": (lambda m, a: a.sum(), lambda: (normal(1 << 24),)),
    "sum(0) 4096x4096": (lambda m, a: a.sum(0), lambda: (normal(4096, 4096),)),
    "sum(1) 4096x4096": (lambda m, a: a.sum(1), lambda: (normal(4096, 4096),)),
    "var 4096x1024": (lambda m, a: a.var(1), lambda: (normal(4096, 1024),)),
    "matmul 256": (lambda m, a, b: a @ b, lambda: (normal(256, 256), normal(256, 256))),
    "matmul 1024": (lambda m, a, b: a @ b, lambda: (normal(1024, 1024), normal(1024, 1024))),
    "cumsum 4096x1024": (lambda m, a: a.cumsum(-1), lambda: (normal(4096, 1024),)),
}


def measure(module: Any, name: str, seconds: float) -> float:
    """Median seconds of a call in this process."""
    function, make = WORKLOADS[name]
    tensors = [module.tensor(a) for a in make()]
    times: list[float] = []
    with module.no_grad():
        for _ in range(3):
            function(module, *tensors).numpy()
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or len(times) < 5:
            begin = time.perf_counter()
            function(module, *tensors).numpy()
            times.append(time.perf_counter() - begin)
    return statistics.median(times)


def compare(name: str, options: argparse.Namespace) -> tuple[float, float]:
    """Median seconds of PyTorch and of ToRSh, in turns."""
    sides: tuple[list[float], list[float]] = ([], [])
    for _ in range(options.rounds):
        for module, into in zip(("torch", "torsh"), sides, strict=True):
            settings = ["--side", module, "--seconds", str(options.seconds), "--threads", str(options.threads)]
            command = [sys.executable, "-m", "benchmarks", name, *settings]
            into.append(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    return statistics.median(sides[0]), statistics.median(sides[1])


def start_up(module: str) -> tuple[float, float]:
    """Seconds of `import module` in a fresh process (median of 5), and resident MB after it."""
    code = (f"import time; t = time.perf_counter(); import {module}; t = time.perf_counter() - t\n"
            "print(t, int(open('/proc/self/statm').read().split()[1]) * 4096 / 1e6)")
    runs = [tuple(map(float, subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())) for _ in range(5)]
    return statistics.median(r[0] for r in runs), statistics.median(r[1] for r in runs)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help="workloads (all by default): " + ", ".join(WORKLOADS))
    parser.add_argument("--seconds", type=float, default=1.0, help="for each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", choices=("torch", "torsh"), help="measure one side, here, and print seconds")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    if options.side:
        module = importlib.import_module(options.side)
        module.set_num_threads(options.threads)
        print(measure(module, options.names[0], options.seconds))
        return
    made = f"PyTorch {importlib.metadata.version('torch')}; made by `python -m benchmarks`."
    lines = [f"# CPU, {options.threads} threads, {datetime.date.today()}", "", made, "",
             "| workload | PyTorch us | ToRSh us | ratio |", "|---|---|---|---|"]
    print("\n".join(lines))
    for name in options.names or WORKLOADS:
        theirs, ours = compare(name, options)
        lines.append(f"| {name} | {theirs * 1e6:.1f} | {ours * 1e6:.1f} | {theirs / ours:.2f} |")
        print(lines[-1], flush=True)
    if not options.names:
        (a, ma), (b, mb) = start_up("torch"), start_up("torsh")
        for row in (f"| import | {a * 1e6:.0f} | {b * 1e6:.0f} | {a / b:.2f} |", f"| resident MB after import | {ma:.0f} | {mb:.0f} | {ma / mb:.2f} |"):
            lines.append(row)
            print(row)
        results = pathlib.Path(__file__).parent / "results"
        results.mkdir(exist_ok=True)
        (results / f"{datetime.date.today()}-cpu.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

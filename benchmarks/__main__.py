"""Side by side with PyTorch and ONNX Runtime: `python -m benchmarks` prints a table and writes it, dated, to benchmarks/results.

Each library runs in fresh processes of its own, in turns: in one process the threads of one that still spin would slow the
other. Each timed call ends with its result in memory. Figures are medians over the rounds of medians; a ratio is
the other library's time over ours (above 1: ours is faster).
"""
from __future__ import annotations

import argparse
import importlib.metadata
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from benchmarks.sides import library, measured, printed, table
from benchmarks.workloads import WORKLOADS, Workload


def timed(call: Callable[[], object], seconds: float) -> float:
    """Median microseconds of a call in this process."""
    for _ in range(3):
        call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1e6


def ready(t: Any, workload: Workload) -> Callable[[], object]:
    """What is timed of a workload with a library that has PyTorch's names."""
    function, inputs = workload.make(t)
    if inputs is None:
        return function  # type: ignore[no-any-return]

    def call() -> object:
        with t.no_grad():
            return function(*inputs).detach().numpy()
    return call


def export(folder: pathlib.Path, names: list[str]) -> None:
    """Write what ONNX Runtime is to run: a model and its inputs for each workload."""
    import numpy as np
    import torch

    class Wrapped(torch.nn.Module):
        def __init__(self, function: Callable[..., Any]) -> None:
            super().__init__()
            self.function = function

        def forward(self, *inputs: Any) -> Any:
            return self.function(*inputs)
    for name in names:
        function, inputs = WORKLOADS[name].make(torch)
        model = function if isinstance(function, torch.nn.Module) else Wrapped(function)
        number = list(WORKLOADS).index(name)
        torch.onnx.export(model.eval(), tuple(inputs), str(folder / f"{number}.onnx"), verbose=False, dynamo=True)
        np.savez(folder / f"{number}.npz", *[x.numpy() for x in inputs])


def exported(folder: pathlib.Path, name: str, threads: int) -> Callable[[], object]:
    """What is timed of a workload with ONNX Runtime."""
    import numpy as np
    import onnxruntime
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    number = list(WORKLOADS).index(name)
    session = onnxruntime.InferenceSession(str(folder / f"{number}.onnx"), settings, providers=["CPUExecutionProvider"])
    arrays = np.load(folder / f"{number}.npz")
    inputs = {given.name: arrays[key] for given, key in zip(session.get_inputs(), arrays.files, strict=True)}
    return lambda: session.run(None, inputs)


def measure(side: str, names: list[str], options: argparse.Namespace) -> dict[str, float]:
    found = {}
    if side == "onnxruntime":
        for name in names:
            if WORKLOADS[name].exported:
                found[name] = timed(exported(pathlib.Path(options.folder), name, options.threads), options.seconds)
        return found
    t = library(side, options.threads)
    for name in names:
        found[name] = timed(ready(t, WORKLOADS[name]), options.seconds)
    return found


def limits(threads: int) -> dict[str, float]:
    from benchmarks.machine import bandwidth, peak
    library("torsh", threads)
    return {"peak": peak(), "bandwidth": bandwidth()}


def start_up(module: str) -> tuple[float, float]:
    """Microseconds of `import module` in a fresh process (median of 5), and resident MB after it."""
    code = (f"import time; t = time.perf_counter(); import {module}; t = time.perf_counter() - t\n"
            "print(t, int(open('/proc/self/statm').read().split()[1]) * 4096 / 1e6)")
    runs = [tuple(map(float, subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())) for _ in range(5)]
    return statistics.median(r[0] for r in runs) * 1e6, statistics.median(r[1] for r in runs)


def share(workload: Workload, us: float, most: dict[str, float]) -> str:
    """How much of what the machine can do at most was reached, in arithmetic or in memory, whichever limits."""
    arithmetic, memory = workload.flops / most["peak"] / 1e3, workload.nbytes / most["bandwidth"] / 1e3
    if not arithmetic and not memory:
        return ""
    return f"{100 * max(arithmetic, memory) / us:.0f}% of {'FMA' if arithmetic >= memory else 'memory'}"


def run(names: list[str], options: argparse.Namespace) -> None:
    sides = ["torch", "onnxruntime", "torsh"]
    samples: dict[str, dict[str, list[float]]] = {name: {side: [] for side in sides} for name in names}
    settings = ["--seconds", str(options.seconds), "--threads", str(options.threads)]
    with tempfile.TemporaryDirectory() as folder:
        print("exporting models for ONNX Runtime ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "benchmarks", "--side", "export", "--folder", folder, *names], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        most = measured("__main__", "limits", *settings)
        for i in range(options.rounds):
            for side in sides:
                print(f"round {i + 1} of {options.rounds}: {side} ...", file=sys.stderr)
                for name, us in measured("__main__", side, *settings, "--folder", folder, *names).items():
                    samples[name][side].append(us)
    rows, ratios = [], []
    for name in names:
        theirs, ours = (statistics.median(samples[name][side]) for side in ("torch", "torsh"))
        ratios.append(theirs / ours)
        beside = "| | "
        if samples[name]["onnxruntime"]:
            other = statistics.median(samples[name]["onnxruntime"])
            beside = f"| {other:.1f} | {other / ours:.2f} "
        rows.append(f"| {name} | {theirs:.1f} {beside}| {ours:.1f} | {theirs / ours:.2f} | {share(WORKLOADS[name], ours, most)} |")
    if names == list(WORKLOADS):
        rows.append(f"| geometric mean | | | | | {statistics.geometric_mean(ratios):.2f} | |")
        (a, ma), (b, mb) = start_up("torch"), start_up("torsh")
        rows += [f"| import | {a:.0f} | | | {b:.0f} | {a / b:.2f} | |", f"| resident MB after import | {ma:.0f} | | | {mb:.0f} | {ma / mb:.2f} | |"]
    versions = f"ONNX Runtime {importlib.metadata.version('onnxruntime')}. "
    note = (f"{versions}Measured limits: {most['peak']:.0f} GFLOP/s of float32 multiply-adds, {most['bandwidth']:.1f} GB/s read. The last column is the time "
            "that the plain algorithm would take at these limits as a share of ours (Winograd's convolutions may exceed 100%).")
    head = "| workload | PyTorch | ONNX Runtime | ONNX / ours | ToRSh | PyTorch / ours | of the limit |"
    table(f"CPU, {options.threads} threads, us", "python -m benchmarks", head, rows, "cpu" if names == list(WORKLOADS) else None, note)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help="workloads (all by default): " + ", ".join(WORKLOADS))
    parser.add_argument("--seconds", type=float, default=0.7, help="for each measurement")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--side", choices=("torch", "torsh", "onnxruntime", "export", "limits"), help="one side's part, here; prints microseconds")
    parser.add_argument("--folder", help="where exported models are")
    options = parser.parse_args()
    names = options.names or list(WORKLOADS)
    unknown = [n for n in names if n not in WORKLOADS]
    if unknown:
        parser.error(f"no workload {unknown[0]!r}; there are {', '.join(WORKLOADS)}")
    if options.side == "export":
        export(pathlib.Path(options.folder), [n for n in names if WORKLOADS[n].exported])
    elif options.side == "limits":
        printed(limits(options.threads))
    elif options.side:
        printed(measure(options.side, names, options))
    else:
        run(names, options)


if __name__ == "__main__":
    main()

"""Matrix products side by side with PyTorch: `python benchmarks/gemm.py [--threads N] [--dtype float32] [case ...]`.

Both sides run in turns in one process, the best of many runs counts. The first line is what the machine can do at
most: independent fused multiply-adds in registers.
"""
from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch

from benchmarks.machine import peak
from torsh.codegen import compile as codegen
from torsh.codegen.gemm import GemmPlan, plan
from torsh.codegen.target import host
from torsh.runtime.cpu import executor

#: name: (batch, m, k, n)
CASES = {
    "16": (1, 16, 16, 16), "32": (1, 32, 32, 32), "64": (1, 64, 64, 64), "128": (1, 128, 128, 128),
    "256": (1, 256, 256, 256), "512": (1, 512, 512, 512), "1000": (1, 1000, 1000, 1000),
    "1024": (1, 1024, 1024, 1024), "2048": (1, 2048, 2048, 2048),
    "64x4096x1024": (1, 64, 4096, 1024), "64x1024x4096": (1, 64, 1024, 4096), "8x4096x4096": (1, 8, 4096, 4096),
    "gemv 1x4096x4096": (1, 1, 4096, 4096), "gemv 4x4096x4096": (1, 4, 4096, 4096),
    "gemv 4096x4096x1": (1, 4096, 4096, 1), "4096x4096x8": (1, 4096, 4096, 8), "bmm 64x128": (64, 128, 128, 128),
    "bmm 512x32": (512, 32, 32, 32), "bmm 4096x8": (4096, 8, 8, 8),
}


def aligned(size: int) -> np.ndarray:
    """`size` bytes that start at a multiple of 64."""
    raw = np.empty(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start:start + size]


def program(p: GemmPlan, operands: dict[str, np.ndarray]) -> tuple[executor.Program, list[Any]]:
    """What runs a plan, and the memory it needs kept."""
    addresses = codegen.load([(p.key, p.text, p.symbols)])[p.key]
    memory = {**operands, **{name: aligned(size) for name, size in p.scratch.items()}}
    arguments = [memory[slot].ctypes.data if isinstance(slot, str) else slot for slot in p.slots]
    launch = executor.Launch([addresses[symbol] for symbol in p.symbols], [arguments], [[count] for count in p.items],
                             [not share for share in p.share])
    return executor.Program([launch]), list(memory.values())


def measure(name: str, layout: str, dtype: str, seconds: float) -> str:
    """One line of the table. `layout`: n or t (transposed in memory) for A and B."""
    batch, m, k, n = CASES[name]
    rng = np.random.default_rng(0)

    def operand(rows: int, columns: int, transposed: bool) -> np.ndarray:
        made = rng.standard_normal((batch, columns, rows) if transposed else (batch, rows, columns)).astype(dtype)
        return made.swapaxes(1, 2) if transposed else made

    a, b = operand(m, k, layout[0] == "t"), operand(k, n, layout[1] == "t")
    c = np.empty((batch, m, n), dtype)
    strides = [tuple(s // x.itemsize for s in x.strides) for x in (a, b, c)]
    p = plan(dtype, dtype, batch, m, n, k, *strides, vector_bytes=host().vector_bytes)
    ours, memory = program(p, {"A": a, "B": b, "C": c})
    ta, tb, tc = torch.from_numpy(a), torch.from_numpy(b), torch.empty(batch, m, n, dtype=getattr(torch, dtype))
    if batch == 1:
        ta, tb, tc = ta[0], tb[0], tc[0]
    other = torch.mm if batch == 1 else torch.bmm
    empty: list[int] = []
    best = [float("inf"), float("inf")]
    for _ in range(3):
        for side, call in enumerate((lambda: ours.run_list(empty), lambda: other(ta, tb, out=tc))):
            stop = time.perf_counter() + seconds / 6
            while time.perf_counter() < stop:
                start = time.perf_counter()
                call()
                best[side] = min(best[side], time.perf_counter() - start)
            time.sleep(0.25)  # OpenMP's threads go on spinning for 200 ms and would take the other side's processor
    error = np.abs(c.reshape(tc.shape) - tc.numpy()).max()
    work = 2e-9 * batch * m * n * k
    del memory
    return (f"{name:18} {layout}  {best[0] * 1e6:10.1f} {work / best[0]:7.1f}  {best[1] * 1e6:10.1f} "
            f"{work / best[1]:7.1f}  {best[1] / best[0]:5.2f}  {error:.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="case", help=", ".join(CASES))
    parser.add_argument("--threads", type=int, default=executor.get_num_threads())
    parser.add_argument("--dtype", default="float32", choices=["float32", "float64"])
    parser.add_argument("--layouts", default="nn,nt")
    parser.add_argument("--seconds", type=float, default=1.0, help="per line")
    options = parser.parse_args()
    executor.set_num_threads(options.threads)
    torch.set_num_threads(options.threads)
    print(f"{options.threads} threads, {options.dtype}; float32 peak {peak():.0f} GFLOP/s")
    print(f"{'m x k x n':18}     {'ToRSh us':>10} {'GFLOP/s':>7}  {'PyTorch us':>10} {'GFLOP/s':>7}  ratio  difference")
    for name in options.cases or CASES:
        for layout in options.layouts.split(","):
            print(measure(name, layout, options.dtype, options.seconds), flush=True)


if __name__ == "__main__":
    main()

"""Matrix products of random shapes beside PyTorch: `python -m benchmarks.products`. Or of few rows (`--rows`), or named: `16x512x1024:nt 8x64x64x64`.

Sizes are log-uniform from 1 to 2048, each operand's rows or columns adjacent. Both sides write into memory that is there, in turns in one process, on
one thread; processor time counts, the best of several rounds. With `--ways` every way that the cost model knows is measured too."""
from __future__ import annotations

import argparse
import functools
import math
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.gemm import aligned, program
from benchmarks.sides import table
from torsh.codegen.gemm import plan, ways
from torsh.codegen.target import host
from torsh.runtime.cpu import executor


class Case(NamedTuple):
    """batch x m x k x n; `layout` has for each operand n (rows are adjacent elements) or t (columns are)."""
    batch: int
    m: int
    k: int
    n: int
    layout: str

    def __str__(self) -> str:
        return f"{f'{self.batch}x' if self.batch > 1 else ''}{self.m}x{self.k}x{self.n}:{self.layout}"


def named(text: str) -> Case:
    sizes, _, layout = text.partition(":")
    numbers = [int(size) for size in sizes.split("x")]
    batch, m, k, n = [1] * (4 - len(numbers)) + numbers
    return Case(batch, m, k, n, layout or "nn")


def random_cases(count: int, seed: int) -> Iterator[Case]:
    """A third are batches; none has more than 2^32 multiplications or a larger batch of operands than 64 MB."""
    rng = np.random.default_rng(seed)
    while count:
        m, k, n = (int(size) for size in 2.0 ** rng.uniform(0, 11, 3))
        batch = int(2.0 ** rng.uniform(0, 9)) if rng.random() < 1 / 3 else 1
        layout = str(rng.choice(["nn", "nt", "tn", "tt"]))
        if batch * m * k * n <= 1 << 32 and batch * (m * k + k * n + m * n) <= 1 << 24:
            count -= 1
            yield Case(batch, m, k, n, layout)


def few_rows() -> Iterator[Case]:
    """The rows of a layer's input by its weights, and by their transpose."""
    for layout in ("nn", "nt"):
        for k in (256, 512, 1024, 4096):
            for n in (256, 512, 1024, 4096):
                for m in (1, 2, 4, 6, 8, 9, 12, 14, 16, 20, 24, 28, 32):
                    yield Case(1, m, k, n, layout)


def quickest(calls: dict[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """The least microseconds of processor time of each, in turns."""
    clock = time.thread_time
    counts, best = {}, dict.fromkeys(calls, math.inf)
    for name, call in calls.items():
        call()
        start = clock()
        call()
        counts[name] = max(1, int(2e-4 / max(1e-7, clock() - start)))
    end, rounds = time.perf_counter() + seconds * len(calls), 0
    while rounds < 4 or time.perf_counter() < end:
        rounds += 1
        for name, call in calls.items():
            start = clock()
            for _ in range(counts[name]):
                call()
            best[name] = min(best[name], (clock() - start) / counts[name] * 1e6)
        if rounds >= 200:
            break
    return best


def measure(case: Case, seconds: float, all_ways: bool) -> tuple[float, float, list[tuple[str, float, float]]]:
    """Microseconds of PyTorch and ToRSh; and of each way: its name, predicted and measured."""
    batch, m, k, n, layout = case
    rng = np.random.default_rng(0)

    def operand(rows: int, columns: int, turned: bool) -> np.ndarray:
        shape = (batch, columns, rows) if turned else (batch, rows, columns)
        made = aligned(4 * math.prod(shape)).view(np.float32).reshape(shape)
        made[...] = rng.standard_normal(shape, dtype=np.float32)
        return made.swapaxes(1, 2) if turned else made

    a, b, c = operand(m, k, layout[0] == "t"), operand(k, n, layout[1] == "t"), operand(m, n, False)
    given = ("float32", "float32", batch, m, n, k, *(tuple(s // 4 for s in x.strides) for x in (a, b, c)))
    options = {"vector_bytes": host().vector_bytes, "threads": 1}
    known = ways(*given, **options)  # type: ignore[arg-type]
    operands, kept = {"A": a, "B": b, "C": c}, []
    calls: dict[str, Callable[[], object]] = {}
    for name in ["", *[name for name, _ in known if all_ways]]:
        run, memory = program(plan(*given, **options, way=name or None), operands)  # type: ignore[arg-type]
        kept.append(memory)
        calls[name] = functools.partial(run.run_list, [])
    ta, tb, tc = (torch.from_numpy(x) if batch > 1 else torch.from_numpy(x)[0] for x in (a, b, c))
    other = torch.bmm if batch > 1 else torch.mm
    calls["torch"] = functools.partial(other, ta, tb, out=tc)
    best = quickest(calls, seconds)
    return best["torch"], best[""], [(name, predicted, best[name]) for name, predicted in known if all_ways]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.products", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="[BATCHx]MxKxN[:LAYOUT]")
    parser.add_argument("--rows", action="store_true", help="1 to 32 rows by matrices of 256 to 4096 rows and columns")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0.03, help="for each side of each product")
    parser.add_argument("--worst", type=int, default=30, help="how many rows of the table")
    parser.add_argument("--ways", action="store_true")
    options = parser.parse_args()
    executor.set_num_threads(1)  # several would take each other's processors: OpenMP's threads spin
    torch.set_num_threads(1)
    cases = [named(text) for text in options.cases] or list(few_rows() if options.rows else random_cases(options.count, options.seed))
    found = []
    for case in cases:
        theirs, ours, every = measure(case, options.seconds, options.ways)
        shown = ", ".join(f"{name} {measured:.1f} ({predicted:.1f})" for name, predicted, measured in every)
        found.append((theirs / ours, f"| {case} | {theirs:.1f} | {ours:.1f} | {theirs / ours:.2f} |{f' {shown} |' if options.ways else ''}"))
    if not options.cases:
        found.sort()
    mean = math.exp(sum(math.log(ratio) for ratio, _ in found) / len(found))
    behind = sum(ratio < 0.9 for ratio, _ in found)
    which = "few rows" if options.rows else f"seed {options.seed}"
    table(f"Matrix products, 1 thread, {which}", "python -m benchmarks.products",
          f"| batch x m x k x n | PyTorch us | ToRSh us | ratio |{' way: us (predicted) |' if options.ways else ''}", [row for _, row in found[:options.worst]],
          None if options.cases or options.ways else "products-rows" if options.rows else "products",
          f"{len(found)} products, geometric mean {mean:.2f}, {behind} below 0.9; the slowest beside PyTorch.")


if __name__ == "__main__":
    main()

"""Which way a contraction is computed: the one that `codegen.cost` predicts to be quickest, or the one that was measured to be.

With TORSH_TUNE=1 the ways of each contraction that has not been measured yet are compiled and run, on memory of their own, when a plan with it is built, and
the quickest is remembered on disk, in the folder `tuned` of the kernel cache: a file each, found by the processor, the number of threads, the code
generator's state and the contraction's sizes, strides and types, written and checked as compiled code is (`codegen.cache`). What is remembered is used
from then on, also by processes that do not measure. Ways round differently, so results are the same bits as long as the folder is the same.
TORSH_LOG=tune tells of each choice.
"""
from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from torsh.codegen import compile as codegen
from torsh.codegen.cache import Cache, checked, default_directory
from torsh.codegen.target import host
from torsh.core import config
from torsh.graph.node import Node
from torsh.runtime.cpu.executor import Launch, Program, get_num_threads

#: (name, predicted microseconds), the quickest first.
Ways = Sequence[tuple[str, float]]
#: Below so many predicted microseconds nothing is gained by measuring.
_LEAST = 5.0
#: Ways predicted to take longer than so many times the quickest are not measured, nor more than so many.
_FACTOR, _MOST = 4.0, 6
#: Seconds that measuring one choice may take after each way ran once, and its turns, at least and at most.
_SECONDS, _TURNS = 0.2, (5, 40)
#: A way must be quicker than the predicted one by this part to be preferred to it: less may be noise.
_GAIN = 0.03


class Stats:
    """Counts since the process began, or since `reset`."""
    __slots__ = ("measured", "remembered")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.measured = 0  # choices made by measuring
        self.remembered = 0  # choices found on disk


stats = Stats()
_chosen: dict[tuple[str, str, int], str] = {}


@functools.cache
def tuned() -> Cache:
    """What is remembered on disk."""
    return Cache(os.path.join(default_directory(), "tuned"), 16 << 20)


@functools.cache
def _remembers() -> bool:
    return os.path.isdir(tuned().path)


def forget() -> None:
    """Ask the disk again: for tests, and after the folder was cleared."""
    _chosen.clear()
    tuned.cache_clear()
    _remembers.cache_clear()


def active() -> bool:
    """Whether anything else than the prediction decides, or somebody wants to be told."""
    return config.TUNE or "tune" in config.LOG or _remembers()


def choose(kind: str, signature: str, ways: Ways, run: Callable[[str], Callable[[], object]]) -> str:
    """The name of the way to take. `signature` tells contractions of a kind apart; `run(name)` makes what is called to measure a way."""
    threads = get_num_threads()
    key = (kind, signature, threads)
    name = _chosen.get(key)
    if name is None:
        name = _chosen[key] = _decided(kind, signature, threads, ways, run)
    return name


def _decided(kind: str, signature: str, threads: int, ways: Ways, run: Callable[[str], Callable[[], object]]) -> str:
    names = [name for name, _ in ways]
    key = codegen._disk_key(f"choice {kind} {threads} {signature}", host())
    if config.TUNE or _remembers():
        known = _parsed(tuned().get(key))
        if known is not None and known.get("way") in names:
            stats.remembered += 1
            _tell(kind, signature, ways, known["measured"], known["way"], "remembered")
            return known["way"]  # type: ignore[no-any-return]
    if not config.TUNE or ways[0][1] < _LEAST:
        _tell(kind, signature, ways, {}, names[0], "predicted")
        return names[0]
    close = [name for name, predicted in ways[:_MOST] if predicted <= _FACTOR * ways[0][1]]
    if len(close) < 2:
        _tell(kind, signature, ways, {}, names[0], "predicted")
        return names[0]
    times = measured({name: run(name) for name in close})
    stats.measured += 1
    best = min(times, key=lambda name: times[name])
    if times[best] > (1 - _GAIN) * times[names[0]]:
        best = names[0]
    import json
    tuned().put([key], json.dumps({"kind": kind, "signature": signature, "threads": threads, "way": best, "predicted": dict(ways), "measured": times}).encode())
    _tell(kind, signature, ways, times, best, "measured")
    return best


def _parsed(payload: bytes | None) -> dict[str, Any] | None:
    if payload is None:
        return None
    import json
    try:
        found = json.loads(payload)
    except ValueError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("measured"), dict) else None


def remembered() -> list[dict[str, Any]]:
    """All that is on disk: kind, signature, threads, way, and microseconds predicted and measured, by way."""
    found = []
    for path, _, _, _ in tuned()._scan():
        try:
            with open(path, "rb") as file:
                known = _parsed(checked(file.read()))
        except OSError:
            continue
        if known is not None:
            found.append(known)
    return sorted(found, key=lambda known: (known["kind"], known["signature"], known["threads"]))


def measured(runs: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Microseconds of each, the least of many turns that alternate, so that what else the machine does meets all of them."""
    times = dict.fromkeys(runs, float("inf"))
    for run in runs.values():
        run()
    end = time.perf_counter() + _SECONDS
    for turn in range(_TURNS[1]):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name] = min(times[name], (time.perf_counter() - start) * 1e6)
        if turn + 1 >= _TURNS[0] and time.perf_counter() > end:
            break
    return times


def _tell(kind: str, signature: str, ways: Ways, times: dict[str, float], way: str, how: str) -> None:
    if "tune" in config.LOG:
        shown = ", ".join(f"{name} {predicted:.0f}" + (f" ({times[name]:.0f})" if name in times else "") for name, predicted in ways)
        print(f"[torsh tune] {kind} {signature}: {way}, {how}; microseconds predicted (measured): {shown}", file=sys.stderr)


# ---- what is run to be measured


def _memory(nbytes: int) -> np.ndarray:
    """Memory that begins a cache line; its bytes make ordinary numbers of all types."""
    whole = np.full(nbytes + 64, 63, np.uint8)
    start = -whole.ctypes.data % 64
    return whole[start:start + nbytes]


def launch(found: Any, memories: dict[str, np.ndarray], known: dict[str, int]) -> Callable[[], object]:
    """Runs a planned product (a `GemmPlan` without epilogue) on memories for "A", "B" and "C"; `known` are other slots."""
    own = {**memories, **{name: _memory(size) for name, size in found.scratch.items()}}
    addresses = {**{name: array.ctypes.data for name, array in own.items()}, **known}
    functions = codegen.load([(found.key, found.text, found.symbols)])[found.key]
    table = [addresses[s] if isinstance(s, str) else s for s in found.slots]
    program = Program([Launch([functions[s] for s in found.symbols], [table], [[n] for n in found.items], [not s for s in found.share])])

    def run(own: Any = own) -> None:  # which keeps the memories
        program.run_list([])
    return run


def _span(extents: Sequence[int], strides: Sequence[int]) -> int:
    return 1 + sum((n - 1) * s for n, s in zip(extents, strides, strict=True) if n > 1)


def product(given: tuple[Any, ...], options: dict[str, Any], itemsizes: tuple[int, int], b_bytes: int = 0, known: dict[str, int] | None = None) -> str | None:
    """The way for `gemm.plan(*given, **options)`, or None for the predicted one. `itemsizes` are those of operands and results; with tables B is
    memory of `b_bytes`."""
    if not active():
        return None
    from torsh.codegen import gemm
    batch, m, n, k, a, b, c = given[2:]
    axes = (batch,) if isinstance(batch, int) else batch
    made: dict[str, np.ndarray] = {}

    def run(name: str) -> Callable[[], object]:
        if not made:
            made.update(A=_memory(itemsizes[0] * _span((*axes, m, k), a)), B=_memory(b_bytes or itemsizes[0] * _span((*axes, k, n), b)),
                        C=_memory(itemsizes[1] * _span((*axes, m, n), c)))
        return launch(gemm.plan(*given, **options, way=name), made, known or {})
    shown = {name: value for name, value in options.items() if name != "threads"}
    return choose("product", f"{given!r} {shown!r}", gemm.ways(*given, **options), run)


def int8_product(signed: bool, batch: int, m: int, n: int, k: int, a: tuple[int, ...], b: tuple[int, ...], c: tuple[int, ...]) -> str:
    """The way for `gemm_int8.plan` of operands that are not packed before."""
    from torsh.codegen import gemm_int8
    threads = get_num_threads()
    ways = gemm_int8.ways(host(), batch, m, n, k, threads)
    if not active():
        return ways[0][0]
    made: dict[str, np.ndarray] = {}

    def run(name: str) -> Callable[[], object]:
        if not made:
            made.update(A=_memory(_span((batch, m, k), a)), B=_memory(_span((batch, k, n), b)), C=_memory(4 * _span((batch, m, n), c)))
        return launch(gemm_int8.plan(host(), signed, batch, m, n, k, a, b, c, threads=threads, way=name), made, {})
    return choose("int8 product", repr((signed, batch, m, n, k, a, b, c)), ways, run)


def graph(root: Node) -> Callable[[], object]:
    """Runs what a node stands for, from realized leaves, without making it known to anything else. The caller keeps the leaves."""
    from torsh.compiler.realize import _as_number, _build
    from torsh.compiler.trace import Trace
    trace = Trace([root])
    plan = _build(trace)
    leaves = [*trace.leaves, *[p.of(trace.leaves[p.number]) for p in plan.prepared]]
    numbers = [_as_number(n) for n in trace.numbers]
    return lambda: plan.program.run(leaves, numbers)


__all__ = ["active", "choose", "forget", "graph", "int8_product", "launch", "measured", "product", "remembered", "stats", "tuned"]

"""Profiles: what a piece of a program spends its time on, kernel by kernel, with PyTorch's names."""
from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from typing import Any

from torsh.compiler import realize
from torsh.runtime.cpu import memory
from torsh.runtime.recorder import Event, recording


class ProfilerActivity:
    """What may be profiled; this build has the CPU."""
    CPU = "cpu"


class Row:
    """The events of one name together: `count`, `total` and `average` seconds, `bytes` and `flops` in all, and the operations behind them."""
    __slots__ = ("key", "category", "count", "total", "bytes", "flops", "ops")

    def __init__(self, key: str, category: str, ops: tuple[str, ...]) -> None:
        self.key, self.category, self.ops = key, category, ops
        self.count = self.bytes = self.flops = 0
        self.total = 0.0

    @property
    def average(self) -> float:
        return self.total / self.count

    @property
    def self_cpu_time_total(self) -> float:
        """Microseconds, as PyTorch's."""
        return self.total * 1e6

    cpu_time_total = self_cpu_time_total


class Rows(list[Row]):
    """What `key_averages()` gives."""

    def table(self, sort_by: str | None = None, row_limit: int = 100, **options: Any) -> str:
        """The rows as text, the longest first: calls, milliseconds, share, GB/s and GFLOP/s."""
        rows = sorted(self, key=lambda r: -r.total)[:row_limit]
        whole = sum(r.total for r in self) or 1.0
        width = max([len(r.key) for r in rows] + [len("name")])
        lines = [f"{'name':<{width}} {'kind':<7} {'calls':>6} {'ms':>9} {'%':>5} {'us/call':>9} {'GB/s':>7} {'GFLOP/s':>8}"]
        for r in rows:
            lines.append(f"{r.key:<{width}} {r.category:<7} {r.count:>6} {1e3 * r.total:>9.3f} {100 * r.total / whole:>5.1f} {1e6 * r.average:>9.1f} "
                         f"{r.bytes / r.total / 1e9 if r.total else 0:>7.1f} {r.flops / r.total / 1e9 if r.total else 0:>8.1f}")
        return "\n".join(lines)


class profile:
    """Context manager that records what runs inside: traces, plans, and each kernel with its source operations, bytes and FLOPs.

    While it records, the kernels of a plan are launched one at a time, so a profiled program is a little slower. `activities`, `record_shapes`,
    `profile_memory`, `with_stack` and `with_flops` are accepted: shapes and FLOPs are always there, stacks never.
    Raises RuntimeError when another profile is on, and for an activity this build does not have.

    >>> import torsh
    >>> with torsh.profiler.profile() as prof:
    ...     _ = (torsh.ones(1000).exp() + 1).sum().item()
    >>> [r.count for r in prof.key_averages() if r.category == "kernel"]
    [1]
    """

    def __init__(self, activities: Iterable[Any] | None = None, *, schedule: Any = None, on_trace_ready: Callable[[profile], Any] | None = None,
                 record_shapes: bool = False, profile_memory: bool = False, with_stack: bool = False, with_flops: bool = False) -> None:
        for activity in activities or ():
            if activity != ProfilerActivity.CPU:
                raise RuntimeError(f"profile: activity {activity!r} is not available: this build of ToRSh profiles ProfilerActivity.CPU")
        if schedule is not None:
            raise RuntimeError("profile: schedule= is not supported; open a profile around the steps to look at")
        self.on_trace_ready = on_trace_ready
        self.recorded: list[Event] = []

    def __enter__(self) -> profile:
        if recording.events is not None:
            raise RuntimeError("profile: another profile is on already")
        recording.events = self.recorded
        return self

    def __exit__(self, *exc: object) -> None:
        recording.events = None
        if self.on_trace_ready is not None:
            self.on_trace_ready(self)

    start = __enter__

    def stop(self) -> None:
        """End a profile begun with `start`."""
        self.__exit__()

    def step(self) -> None:
        """Mark the end of a step in the trace."""
        recording.add("step", "user", time.perf_counter_ns())

    def events(self) -> list[Event]:
        """The spans in order of their ends."""
        return self.recorded

    def key_averages(self, group_by_input_shape: bool = False) -> Rows:
        """The spans by name."""
        rows: dict[tuple[str, str], Row] = {}
        for e in self.recorded:
            row = rows.setdefault((e.name, e.category), Row(e.name, e.category, e.ops))
            row.count += 1
            row.total += e.duration / 1e9
            row.bytes += e.bytes
            row.flops += e.flops
        return Rows(rows.values())

    def export_chrome_trace(self, path: str | os.PathLike[str]) -> None:
        """Write the spans as a JSON file that Perfetto and chrome://tracing open. Raises OSError where it cannot be written."""
        spans = [{"name": e.name, "cat": e.category, "ph": "X", "ts": e.start / 1e3, "dur": e.duration / 1e3, "pid": os.getpid(), "tid": e.thread,
                  "args": {"ops": list(e.ops), "bytes": e.bytes, "flops": e.flops}} for e in self.recorded]
        temporary = f"{os.fspath(path)}.{os.getpid()}.part"
        try:
            with open(temporary, "w", encoding="utf-8") as file:
                json.dump({"traceEvents": spans, "displayTimeUnit": "ms"}, file)
            os.replace(temporary, path)
        finally:
            if os.path.exists(temporary):
                os.remove(temporary)


class record_function:
    """Context manager: a span with a name of your own."""

    def __init__(self, name: str, args: str | None = None) -> None:
        self.name = name

    def __enter__(self) -> record_function:
        self._start = time.perf_counter_ns()
        return self

    def __exit__(self, *exc: object) -> None:
        recording.add(self.name, "user", self._start)


def memory_stats() -> dict[str, int]:
    """Bytes: `allocated` now, their `peak`, `reserved` from the system, and `largest_plan`: the most that one plan needs for its run alone.

    >>> sorted(memory_stats())
    ['allocated', 'allocations', 'largest_plan', 'peak', 'reserved']
    """
    found = memory.stats()
    plans = [record.plan.program.arena_bytes for record in realize._plans.values()]
    return {"allocated": found["allocated"], "peak": found["peak"], "reserved": found["reserved"], "allocations": found["allocations"],
            "largest_plan": max(plans, default=0)}


def reset_peak_memory_stats() -> None:
    """Let `peak` begin again at what is allocated now."""
    memory.reset_peak()


__all__ = ["ProfilerActivity", "memory_stats", "profile", "record_function", "reset_peak_memory_stats"]

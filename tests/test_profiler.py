"""Profiles name the kernels that ran, and can be opened elsewhere."""
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import torsh
from torsh.compiler.execute import stats


def data(*shape: int) -> torsh.Tensor:
    return torsh.tensor(np.random.default_rng(0).standard_normal(shape).astype(np.float32))


def test_each_kernel_is_an_event_with_its_operations_bytes_and_flops(tmp_path: Path) -> None:
    a, b = data(64, 32), data(32, 16)
    wanted = torsh.tanh(a @ b).sum(0).numpy().copy()
    with torsh.profiler.profile(activities=[torsh.profiler.ProfilerActivity.CPU]) as prof, torsh.profiler.record_function("mine"):
        stats.reset()
        found = torsh.tanh(a @ b).sum(0).numpy()
    np.testing.assert_array_equal(found, wanted)
    kernels = [e for e in prof.events() if e.category == "kernel"]
    assert len(kernels) == stats.launches
    product = next(e for e in kernels if "contract" in e.ops)
    assert product.flops == 2 * 64 * 32 * 16
    assert product.bytes == 4 * (64 * 32 + 32 * 16 + 64 * 16)
    assert {"tanh", "reduce_sum"} <= {op for e in kernels for op in e.ops}
    assert [e.name for e in prof.events() if e.category == "user"] == ["mine"]
    assert [e.category for e in prof.events()].count("trace") == 1  # (recognized: a plan was looked up before)
    path = tmp_path / "trace.json"
    prof.export_chrome_trace(path)
    spans = json.loads(path.read_text())["traceEvents"]
    assert len(spans) == len(prof.events())
    assert all(s["ph"] == "X" and s["dur"] >= 0 for s in spans)
    assert [p.name for p in tmp_path.iterdir()] == ["trace.json"]
    table = prof.key_averages().table(sort_by="cpu_time_total")
    assert "contract" in table
    assert "GFLOP/s" in table


def test_steps_that_a_host_library_computes_are_events_too() -> None:
    x = data(4, 4)
    with torsh.profiler.profile() as prof:
        stats.reset()
        torsh.linalg.inv(x).numpy()
    assert sum(r.count for r in prof.key_averages() if r.category == "host") == stats.host_calls > 0


def test_nothing_is_recorded_outside() -> None:
    with torsh.profiler.profile() as prof:
        pass
    (data(3) + 1).numpy()
    assert prof.events() == []


def test_misuse_is_named() -> None:
    with pytest.raises(RuntimeError, match="activity 'cuda' is not available"):
        torsh.profiler.profile(activities=["cuda"])
    with torsh.profiler.profile(), pytest.raises(RuntimeError, match="another profile is on"), torsh.profiler.profile():
        pass


def test_memory_statistics() -> None:
    x = data(1000, 1000) * 1
    x.numpy()
    torsh.profiler.reset_peak_memory_stats()
    before = torsh.profiler.memory_stats()
    assert before["allocated"] >= 4_000_000
    y = (x @ x).relu() @ x
    y.numpy()
    after = torsh.profiler.memory_stats()
    assert after["peak"] >= before["allocated"] + 8_000_000
    assert after["largest_plan"] >= 4_000_000
    assert after["reserved"] >= after["allocated"]


def test_a_plan_that_is_built_is_an_event() -> None:
    with torsh.profiler.profile() as prof:
        (data(5, 7).sinh() * data(7)).numpy()
    assert {"trace", "plan"} <= {e.category for e in prof.events()}

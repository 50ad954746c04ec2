"""Settings: what was set is told as PyTorch tells it, and the promises behind them hold."""
from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

import torsh


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    threads = torsh.get_num_threads()
    yield
    torsh.set_num_threads(threads)
    for module in (torch, torsh):
        module.use_deterministic_algorithms(False)
        module.set_float32_matmul_precision("highest")
        module.set_warn_always(False)
        module.set_anomaly_enabled(False, True)
        module.set_flush_denormal(False)


def outcome(f: Callable[[], Any]) -> Any:
    try:
        return f()
    except (RuntimeError, TypeError, ValueError, AssertionError, OverflowError) as error:
        return type(error)


@pytest.mark.parametrize("set_it", [
    lambda m: m.use_deterministic_algorithms(True), lambda m: m.use_deterministic_algorithms(True, warn_only=True),
    lambda m: m.use_deterministic_algorithms(1), lambda m: m.use_deterministic_algorithms(True, warn_only=1),
    *[lambda m, v=v: m.set_deterministic_debug_mode(v) for v in (0, 1, 2, 3, "default", "warn", "error", "other", 1.0)],
])
def test_determinism_settings(set_it: Callable[[Any], Any]) -> None:
    def told(m: Any) -> Any:
        return (outcome(lambda: set_it(m)), m.are_deterministic_algorithms_enabled(), m.is_deterministic_algorithms_warn_only_enabled(),
                m.get_deterministic_debug_mode())
    assert told(torsh) == told(torch)


def test_scattered_sums_are_the_same_bits_at_each_run_and_on_any_number_of_threads() -> None:
    rng = np.random.default_rng(0)
    index, values = rng.integers(0, 50, 20000), rng.standard_normal(20000).astype(np.float32)
    rows, wide = rng.integers(0, 50, 3000), rng.standard_normal((3000, 40)).astype(np.float32)

    def results() -> list[bytes]:
        at, v, r, w = (torsh.tensor(a) for a in (index, values, rows, wide))
        return [t.numpy().tobytes() for t in (
            torsh.zeros(50).scatter_add(0, at, v), torsh.zeros(50).index_add(0, at, v), torsh.zeros(50).index_put((at,), v, accumulate=True),
            torsh.zeros(50, 40).index_add(0, r, w), torsh.zeros(50, 40).scatter_add(0, r.unsqueeze(1).expand(3000, 40), w),
            torsh.zeros(50, 40).index_put((r,), w, accumulate=True), v.sum(), w.sum(0), w.T @ w)]
    found = []
    for threads in (1, 2, 2, 1):
        torsh.set_num_threads(threads)
        found.append(results())
    assert found[1:] == found[:1] * 3
    np.testing.assert_allclose(np.frombuffer(found[0][0], np.float32), np.bincount(index, values.astype(np.float64), 50), rtol=1e-4, atol=1e-4)


def test_matmul_precision() -> None:
    for m in (torsh, torch):
        assert m.get_float32_matmul_precision() == "highest"
        m.set_float32_matmul_precision("medium")
        assert m.get_float32_matmul_precision() == "medium"
    with pytest.warns(UserWarning, match="no effect"):
        torsh.set_float32_matmul_precision("exact")
    assert torsh.get_float32_matmul_precision() == "medium"


def test_warn_always() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            torsh.set_float32_matmul_precision("once only")
        torsh.set_warn_always(True)
        assert torsh.is_warn_always_enabled()
        for _ in range(2):
            torsh.set_float32_matmul_precision("once only")
    assert len(caught) == 3
    assert outcome(lambda: torsh.set_warn_always(1)) is outcome(lambda: torch.set_warn_always(1)) is RuntimeError


@pytest.mark.parametrize("threads", [1, 2])
def test_denormal_numbers_become_zero_on_every_thread(threads: int) -> None:
    torsh.set_num_threads(threads)
    x = torsh.full((200000,), 1e-30)
    assert int(((x * 1e-10) != 0).sum()) == 200000
    assert torsh.set_flush_denormal(True) is torch.set_flush_denormal(True) is True
    assert int(((x * 1e-10) != 0).sum()) == 0
    assert float((torch.full((200000,), 1e-30) * 1e-10).max()) == 0
    torsh.set_flush_denormal(False)
    assert int(((x * 1e-10) != 0).sum()) == 200000
    assert outcome(lambda: torsh.set_flush_denormal(1)) == outcome(lambda: torch.set_flush_denormal(1))


def test_interop_threads_are_set_once() -> None:
    assert torsh.get_num_interop_threads() >= 1
    assert outcome(lambda: torsh.set_num_interop_threads(0)) is outcome(lambda: torch.set_num_interop_threads(0)) is RuntimeError
    assert outcome(lambda: torsh.set_num_interop_threads(1.0)) is TypeError
    torsh.set_num_interop_threads(3)
    assert torsh.get_num_interop_threads() == 3
    with pytest.raises(RuntimeError, match="cannot set"):
        torsh.set_num_interop_threads(2)


def test_init_num_threads() -> None:
    from torsh.runtime.cpu.executor import default_threads
    torsh.set_num_threads(1)
    torsh.init_num_threads()
    assert torsh.get_num_threads() == default_threads()


def test_anomaly_mode() -> None:
    for m in (torsh, torch):
        m.set_anomaly_enabled(True, False)
        assert m.is_anomaly_enabled()
        assert not m.is_anomaly_check_nan_enabled()
        m.set_anomaly_enabled(True)
        assert m.is_anomaly_check_nan_enabled()
    x = torsh.tensor([-1.0], requires_grad=True)
    with pytest.raises(RuntimeError, match="nan values"), pytest.warns(UserWarning, match="Error detected"):
        (x.sqrt() * 0).sum().backward()


def test_errors_are_of_pytorch_s_kind() -> None:
    assert issubclass(torsh.OutOfMemoryError, RuntimeError)
    assert issubclass(torsh.AcceleratorError, RuntimeError)
    with pytest.raises(torsh.OutOfMemoryError):
        torsh.zeros(2 ** 50).add_(1).sum().item()


@pytest.mark.parametrize("f", [
    lambda m: m.sym_int(2.7), lambda m: m.sym_int(-2.7), lambda m: m.sym_int(float("inf")), lambda m: m.sym_float(2), lambda m: m.sym_max(2, 3.0),
    lambda m: m.sym_max(3, 1.5), lambda m: m.sym_min(3, 7), lambda m: m.sym_min(2.0, 3), lambda m: m.sym_not(True), lambda m: m.sym_not(0),
    lambda m: m.sym_sqrt(4), lambda m: m.sym_sqrt(-1), lambda m: m.sym_sum([1, 2, 3]), lambda m: m.sym_sum(()), lambda m: m.sym_ite(True, 1, 2),
    lambda m: m.sym_ite(1, 1, 2), lambda m: m.sym_ite(True, 1, 2.0), lambda m: m.sym_fresh_size(3), lambda m: m.sym_constrain_range(3, min=1, max=5),
    lambda m: m.sym_constrain_range(7, min=1, max=5), lambda m: m.sym_constrain_range(3, min=4), lambda m: m.sym_constrain_range(3, min=4, max=2),
    lambda m: m.sym_constrain_range_for_size(-1), lambda m: m.sym_constrain_range_for_size(1, max=2), lambda m: m.sym_constrain_range_for_size(3, max=9),
    lambda m: m.is_vulkan_available(), lambda m: m.has_lapack, lambda m: m.has_spectral, lambda m: m.cpu.device_count(), lambda m: m.cpu.is_available(),
    lambda m: m.cpu.current_device(), lambda m: m.cpu.synchronize(), lambda m: m.get_device_module("cpu").__name__.split(".")[1],
])
def test_numbers(f: Callable[[Any], Any]) -> None:
    ours, theirs = outcome(lambda: f(torsh)), outcome(lambda: f(torch))
    assert ours == theirs
    assert type(ours) is type(theirs)

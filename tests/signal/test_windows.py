"""Window functions against PyTorch."""
from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import torsh
from tests.ops.oracle import same

NEW: dict[str, list[dict[str, Any]]] = {
    "bartlett": [{}], "blackman": [{}], "cosine": [{}], "exponential": [{}, {"tau": 3.0}, {"center": 1.0, "sym": False}], "gaussian": [{}, {"std": 2.5}],
    "general_cosine": [{"a": [0.46, 0.23, 0.31]}], "general_hamming": [{}, {"alpha": 0.4}], "hamming": [{}], "hann": [{}],
    "kaiser": [{}, {"beta": 3.0}, {"beta": 0.0}], "nuttall": [{}]}
OLD: dict[str, list[tuple[Any, ...]]] = {"bartlett_window": [()], "blackman_window": [()], "hamming_window": [(), (0.6, 0.4)], "hann_window": [()],
                                         "kaiser_window": [(), (3.0,)]}


@pytest.mark.parametrize("name", NEW)
@pytest.mark.parametrize("M", [0, 1, 2, 5, 8])
def test_windows(name: str, M: int) -> None:
    for options in NEW[name]:
        for sym in ((True, False) if "sym" not in options else (False,)):
            for dt in ("float32", "float64"):
                ours, theirs = (getattr(m.signal.windows, name)(M, **{"sym": sym, **options, "dtype": getattr(m, dt)}) for m in (torsh, torch))
                same(ours, theirs, 1e-5 if dt == "float32" else 1e-12, 1e-6 if dt == "float32" else 1e-14)


@pytest.mark.parametrize("name", OLD)
@pytest.mark.parametrize("M", [0, 1, 2, 5, 8])
@pytest.mark.parametrize("periodic", [True, False])
def test_older_functions(name: str, M: int, periodic: bool) -> None:
    for more in OLD[name]:
        same(getattr(torsh, name)(M, periodic, *more, dtype=torsh.float64), getattr(torch, name)(M, periodic, *more, dtype=torch.float64), 1e-12, 1e-14)
    assert getattr(torsh, name)(4, requires_grad=True).requires_grad


def test_windows_add_up() -> None:
    """A periodic Hann window at half its length sums to one: what overlap and add relies on."""
    w = torsh.signal.windows.hann(16, sym=False, dtype=torsh.float64)
    assert all(math.isclose(s, 1.0) for s in (w[:8] + w[8:]).tolist())


def test_errors() -> None:
    w = torsh.signal.windows
    for call, match in ((lambda: w.hann(-1), "non-negative"), (lambda: w.hann(3, dtype=torsh.float16), "float32 or float64"),
                        (lambda: w.exponential(3, tau=0.0), "Tau"), (lambda: w.exponential(3, center=1.0), "Center"),
                        (lambda: w.gaussian(3, std=0.0), "Standard"),
                        (lambda: w.kaiser(3, beta=-1.0), "beta"), (lambda: w.general_cosine(3, a=[]), "empty")):
        with pytest.raises(ValueError, match=match):
            call()
    with pytest.raises(TypeError, match="list/tuple"):
        w.general_cosine(3, a=0.5)
    with pytest.raises(RuntimeError, match="non-negative"):
        torsh.hann_window(-1)
    with pytest.raises(RuntimeError, match="floating point"):
        torsh.hann_window(3, dtype=torsh.int64)


def test_names() -> None:
    """Every public function of torch.signal.windows exists here."""
    assert [n for n in torch.signal.windows.__all__ if not hasattr(torsh.signal.windows, n)] == []

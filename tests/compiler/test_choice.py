"""Ways of computing a contraction: predicted, measured once, remembered on disk; each gives the right numbers."""
from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import torsh
from torsh.codegen import cost, gemm, gemm_int8
from torsh.codegen.target import host, int8_way
from torsh.compiler import choice
from torsh.compiler import realize as realizing
from torsh.core import config


def forget_plans() -> None:
    """Plans hold what was chosen."""
    realizing._plans.clear()
    realizing._recent.clear()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Measuring is on, and what is remembered is in a folder of its own."""
    monkeypatch.setenv("TORSH_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(config, "TUNE", True)
    monkeypatch.setattr(choice, "_SECONDS", 0.01)
    choice.forget()
    choice.stats.reset()
    forget_plans()
    yield tmp_path
    monkeypatch.undo()
    choice.forget()
    choice.stats.reset()
    forget_plans()


def again() -> None:
    """As another process begins."""
    choice.forget()
    choice.stats.reset()
    forget_plans()


def files(folder: Path) -> list[Path]:
    return sorted((folder / "tuned").glob("*"))


def counts() -> tuple[int, int]:
    return choice.stats.measured, choice.stats.remembered


def product(n: int = 130) -> np.ndarray:
    rng = np.random.default_rng(n)
    a, b = (rng.standard_normal((n, n)).astype(np.float32) for _ in range(2))
    found: np.ndarray = (torsh.tensor(a) @ torsh.tensor(b)).numpy()
    np.testing.assert_allclose(found, a.astype(np.float64) @ b, atol=1e-3)
    return found


def test_measured_once_and_remembered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = product()
    assert counts() == (1, 0)
    assert len(files(folder)) == 1
    forget_plans()
    product()
    assert counts() == (1, 0)  # known in this process
    again()
    np.testing.assert_array_equal(product(), first)
    assert counts() == (0, 1)
    monkeypatch.setattr(config, "TUNE", False)
    again()
    np.testing.assert_array_equal(product(), first)
    assert counts() == (0, 1)  # used without measuring too


def test_nothing_is_measured_unless_asked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "TUNE", False)
    again()
    product()
    assert counts() == (0, 0)
    assert not files(folder)
    assert not choice.active()


def test_what_is_remembered_decides(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ways = [("a", 10.0), ("b", 20.0)]
    monkeypatch.setattr(choice, "measured", lambda runs: {"a": 30.0, "b": 15.0})
    assert choice.choose("thing", "1", ways, lambda name: lambda: None) == "b"
    monkeypatch.setattr(choice, "measured", lambda runs: {"a": 30.0, "b": 29.5})  # no more than noise
    assert choice.choose("thing", "2", ways, lambda name: lambda: None) == "a"
    again()
    monkeypatch.setattr(config, "TUNE", False)
    assert choice.choose("thing", "1", ways, lambda name: lambda: None) == "b"
    assert choice.choose("thing", "2", ways, lambda name: lambda: None) == "a"
    assert choice.choose("thing", "3", ways, lambda name: lambda: None) == "a"  # as predicted
    assert counts() == (0, 2)
    again()
    assert choice.choose("thing", "1", [("a", 10.0), ("c", 20.0)], lambda name: lambda: None) == "a"  # that way is gone
    assert [(k["signature"], k["way"], k["measured"]["b"]) for k in choice.remembered()] == [("1", "b", 15.0), ("2", "a", 29.5)]


@pytest.mark.parametrize("damage", ["cut", "empty", "other bytes", "no json"])
def test_damaged_files_are_ignored_and_rewritten(folder: Path, damage: str) -> None:
    product()
    path, = files(folder)
    data = path.read_bytes()
    if damage == "no json":
        path.unlink()
        from torsh.codegen import compile as codegen
        signature = next(key for key in choice._chosen)
        choice.tuned().put([codegen._disk_key(f"choice {signature[0]} {signature[2]} {signature[1]}", host())], b"{")
        assert files(folder) == [path]
    else:
        path.write_bytes({"cut": data[:len(data) // 2], "empty": b"", "other bytes": data[:-3] + b"xyz"}[damage])
    again()
    product()
    assert counts() == (1, 0)
    again()
    product()
    assert counts() == (0, 1)


def test_a_folder_that_cannot_be_written_to_costs_measuring_only(folder: Path) -> None:
    (folder / "tuned").write_text("in the way")
    product()
    assert counts() == (1, 0)
    again()
    product()
    assert counts() == (1, 0)


_CHILD = """
import numpy as np, torsh
from torsh.compiler import choice
torsh.set_num_threads(2)
rng = np.random.default_rng(0)
a, b = (rng.standard_normal((150, 150)).astype(np.float32) for _ in range(2))
found = (torsh.tensor(a) @ torsh.tensor(b)).numpy()
assert np.abs(found - a.astype(np.float64) @ b).max() < 1e-3
print(choice.stats.measured, choice.stats.remembered)
"""


def test_two_processes_at_once_and_one_after(tmp_path: Path) -> None:
    environment = dict(os.environ, TORSH_CACHE_DIR=str(tmp_path), TORSH_TUNE="1")

    def start(env: dict[str, str]) -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-c", _CHILD], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    pair = [start(environment), start(environment)]
    for process in pair:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert sorted(out.split()) in (["0", "1"],)  # by measuring, or from the other one's file
    assert len(files(tmp_path)) == 1
    out, err = start({**environment, "TORSH_TUNE": "", "TORSH_LOG": "tune"}).communicate(timeout=120)
    assert out.split() == ["0", "1"]
    assert "[torsh tune] product" in err
    assert "remembered" in err


def test_log_tells_predictions_and_measures(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(config, "LOG", frozenset(("tune",)))
    product()
    told = capsys.readouterr().err
    assert told.count("[torsh tune]") == 1
    assert "measured; microseconds predicted (measured): " in told
    again()
    product()
    assert "remembered; " in capsys.readouterr().err
    monkeypatch.setattr(config, "TUNE", False)
    product(60)
    assert "predicted; " in capsys.readouterr().err


PRODUCTS: list[tuple[int, int, int, bool]] = [(300, 400, 200, False), (40, 700, 300, True), (5, 4096, 300, False), (64, 64, 64, False), (20, 600, 600, True)]


@pytest.mark.parametrize(("m", "n", "k", "turned"), PRODUCTS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_every_way_of_a_product_is_right(m: int, n: int, k: int, turned: bool, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(m)
    a, b = rng.integers(-8, 9, (m, k)), rng.integers(-8, 9, (k, n))  # exact in every type, whatever the order of sums
    taken: list[str] = []
    names: list[str] = []

    def pick(given: Any, options: Any, *more: Any) -> str:
        names[:] = [name for name, _ in gemm.ways(*given, **options)]
        taken.append(names[len(taken)])
        return taken[-1]
    monkeypatch.setattr(choice, "product", pick)
    while not taken or len(taken) < len(names):
        forget_plans()
        x, y = (torsh.tensor(v.astype(np.float32)).to(getattr(torsh, dtype)) for v in (a, b.T if turned else b))
        found = x @ (y.t() if turned else y)
        exact = torsh.tensor((a @ b).astype(np.float64)).to(getattr(torsh, dtype))
        np.testing.assert_array_equal(found.to(torsh.float64).numpy(), exact.to(torsh.float64).numpy())
    forget_plans()
    assert len(set(taken)) == len(taken) == len(names) >= 1


def test_every_way_of_an_int8_product_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    a, b = (rng.integers(-128, 128, (97, 97)).astype(np.int8) for _ in range(2))
    names = [name for name, _ in gemm_int8.ways(host(), 1, 97, 97, 97, 2)]
    assert int8_way(host()) in names
    assert "madd" in names
    for name in names:
        monkeypatch.setattr(choice, "int8_product", lambda *given, name=name: name)
        forget_plans()
        np.testing.assert_array_equal(torsh._int_mm(torsh.tensor(a), torsh.tensor(b)).numpy(), a.astype(np.int64) @ b.astype(np.int64))
    forget_plans()


def test_every_way_of_a_convolution_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    x, w = rng.standard_normal((2, 16, 11, 13)).astype(np.float32), rng.standard_normal((24, 16, 3, 3)).astype(np.float32)
    views = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), (3, 3), (2, 3))
    exact = np.einsum("nchwij,ocij->nohw", views, w.astype(np.float64))
    monkeypatch.setattr(choice, "active", lambda: True)
    seen: list[str] = []
    for wanted in ("bands", "windows", "tiles of 2", "tiles of 4"):
        def pick(kind: str, signature: str, ways: Any, run: Any, wanted: str = wanted) -> str:
            names = {name for name, _ in ways}
            assert names == ({"bands", "windows"} if kind == "convolution" else {"direct", "tiles of 2", "tiles of 4"})
            name = wanted if wanted in names else "direct"
            seen.append(name)
            run(name)()  # what is measured runs
            return name
        monkeypatch.setattr(choice, "choose", pick)
        monkeypatch.setattr(choice, "product", lambda *given: None)
        for grad in (False, True):
            forget_plans()
            with torsh.set_grad_enabled(grad):
                found = torsh.nn.functional.conv2d(torsh.tensor(x), torsh.tensor(w))
                np.testing.assert_allclose(found.numpy(), exact, atol=1e-4)
    forget_plans()
    assert set(seen) == {"bands", "windows", "direct", "tiles of 2", "tiles of 4"}


def test_predictions_follow_what_was_measured() -> None:
    """Which way the model takes where the difference was large (docs/kernels.md)."""
    def first(m: int, n: int, k: int, b: tuple[int, int] | None = None, threads: int = 1) -> str:
        strides = (0, *(b or (n, 1)))
        return gemm.ways("float32", "float32", 1, m, n, k, (0, k, 1), strides, (0, n, 1), threads=threads)[0][0].partition(" ")[0]
    assert first(1, 4096, 4096) == "stream"
    assert first(512, 1024, 128) == "packed"  # rows of 4096 bytes compete
    assert first(300, 300, 300) == "in"
    assert first(20, 512, 500) == "in"
    assert first(20, 1000, 300) == "shallow"  # beyond the second-level cache
    assert first(64, 1024, 4096) == "shallow"
    assert first(1000, 1000, 1000) == "packed"
    assert first(64, 4096, 1024, (1, 1024)) == "turned"
    assert cost.convolution(8, 64, 64, (56, 56), True, False)[0][0] == "tiles of 4"
    assert cost.convolution(1, 512, 512, (7, 7), False, False)[0][0] == "direct"
    assert cost.convolution(8, 3, 64, (56, 56), True, False)[0][0] == "direct"
    assert [cost.worth_sharing(1, n, n, n) for n in (64, 128)] == [False, True]

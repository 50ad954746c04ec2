"""Compilation and its caches, by counts: who is compiled, once, in how many modules, and when LLVM is loaded at all."""
from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from torsh.codegen import cache, compile, target
from torsh.codegen.cache import Cache


def _text(constant: int) -> str:
    return f"""
@table = private constant [2 x i64] [i64 {constant}, i64 7]
declare i64 @llvm.smax.i64(i64, i64)
define internal i64 @pick(i64 %x) nounwind noinline {{
  %i = and i64 %x, 1
  %at = getelementptr [2 x i64], ptr @table, i64 0, i64 %i
  %v = load i64, ptr %at
  %w = call i64 @llvm.smax.i64(i64 %v, i64 %x)
  ret i64 %w
}}
define i64 @phase0(i64 %x) nounwind {{
  %r = call i64 @pick(i64 %x)
  ret i64 %r
}}
define i64 @phase1(i64 %x) nounwind {{
  %r = add i64 %x, {constant}
  ret i64 %r
}}"""


def _item(constant: int) -> compile.Item:
    return f"test-{constant}", lambda: _text(constant), ["phase0", "phase1"]


def _call(address: int, argument: int) -> int:
    return int(ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(address)(argument))


@pytest.fixture(autouse=True)
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """A cache of the test's own; calling the value forgets what this process has loaded, as a new one would."""
    disk = Cache(str(tmp_path))
    monkeypatch.setattr(cache, "disk", lambda: disk)

    def renew() -> None:
        monkeypatch.setattr(compile, "_loaded", {})
        compile.stats.reset()
    before = {name: getattr(compile.stats, name) for name in compile.Stats.__slots__}
    renew()
    yield renew
    for name, value in before.items():
        setattr(compile.stats, name, value)


def _check(loaded: dict[str, dict[str, int]], constants: range) -> None:
    for constant in constants:
        addresses = loaded[f"test-{constant}"]
        assert _call(addresses["phase0"], 0) == constant
        assert _call(addresses["phase0"], 9) == 9
        assert _call(addresses["phase1"], 5) == 5 + constant


def test_missing_items_are_compiled_together_and_only_once(process: Callable[[], None]) -> None:
    _check(compile.load([_item(constant) for constant in range(10, 16)]), range(10, 16))
    assert (compile.stats.compiles, compile.stats.modules) == (6, 1)
    _check(compile.load([_item(constant) for constant in range(12, 18)]), range(12, 18))
    assert (compile.stats.compiles, compile.stats.modules, compile.stats.memory_hits) == (8, 2, 4)


def test_another_process_finds_them_on_disk(process: Callable[[], None]) -> None:
    compile.load([_item(constant) for constant in range(10, 16)])
    process()
    _check(compile.load([_item(constant) for constant in range(12, 18)]), range(12, 18))
    assert (compile.stats.disk_hits, compile.stats.compiles) == (4, 2)
    # the payload found for one brought its companions along
    _check(compile.load([_item(10)]), range(10, 11))
    assert compile.stats.memory_hits == 1


def test_the_same_item_twice_in_a_call(process: Callable[[], None]) -> None:
    _check(compile.load([_item(10), _item(10), _item(11)]), range(10, 12))
    assert compile.stats.compiles == 2


def test_large_requests_are_cut_into_modules(process: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compile, "_ITEMS_PER_MODULE", 4)
    _check(compile.load([_item(constant) for constant in range(10, 20)]), range(10, 20))
    assert (compile.stats.compiles, compile.stats.modules) == (10, 3)


def test_damaged_files_are_compiled_again(process: Callable[[], None], tmp_path: Path) -> None:
    compile.load([_item(10), _item(11)])
    for path in tmp_path.iterdir():
        os.truncate(path, 100)
    process()
    _check(compile.load([_item(10), _item(11)]), range(10, 12))
    assert (compile.stats.disk_hits, compile.stats.compiles) == (0, 2)


def test_the_target_is_part_of_the_key(process: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    compile.load([_item(10)])
    process()
    host = target.host()
    if not host.triple.startswith("x86_64"):
        pytest.skip("has no plainer target than the host's")
    plain = target.Target("plain", host.triple, "x86-64", "", 16)
    monkeypatch.setattr(compile, "host", lambda: plain)
    _check(compile.load([_item(10)]), range(10, 11))
    assert compile.stats.compiles == 1


def test_an_unusable_cache_directory_costs_only_time(
        process: Callable[[], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    disk = Cache(str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(cache, "disk", lambda: disk)
    for _ in range(2):
        process()
        _check(compile.load([_item(10)]), range(10, 11))
        assert compile.stats.compiles == 1


def test_errors_name_the_item_and_show_the_line(process: Callable[[], None]) -> None:
    bad = _text(10).replace("add i64 %x, 10", "add i64 %y, 10")
    with pytest.raises(compile.CompileError, match=r"(?s)bad-key.*undefined value '%y'.*add i64 %y"):
        compile.load([("bad-key", lambda: bad, ["phase0"])])
    with pytest.raises(compile.CompileError, match=r"bad-key.*'phase7'"):
        compile.load([("bad-key", lambda: _text(10), ["phase7"])])
    with pytest.raises(ValueError, match="white space"):
        compile.load([("bad key", lambda: _text(10), ["phase0"])])
    _check(compile.load([_item(10)]), range(10, 11))


def test_a_symbol_not_asked_for_when_compiled(process: Callable[[], None]) -> None:
    """Equal keys mean equal code and equal symbols; asking for others is an error, found either way."""
    compile.load([("key", lambda: _text(10), ["phase0"])])
    for _ in range(2):
        with pytest.raises(compile.CompileError, match="does not define 'phase1'"):
            compile.load([("key", lambda: _text(10), ["phase1"])])
        process()


def test_mcjit_loads_the_same_payloads(process: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target.Target, "own_loader", property(lambda self: False))
    monkeypatch.setattr(compile, "_machine", compile._machine.__wrapped__)  # not the one made for our own loader
    _check(compile.load([_item(10), _item(11)]), range(10, 12))
    process()
    _check(compile.load([_item(10), _item(11)]), range(10, 12))
    assert compile.stats.disk_hits == 2


_WARM = """
import json, sys
from torsh.codegen import compile
import ctypes
loaded = compile.load([("warm", lambda: open(sys.argv[1]).read(), ["phase0", "phase1"])])
value = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(loaded["warm"]["phase1"])(5)
print(json.dumps([value, compile.stats.compiles, compile.stats.disk_hits, "llvmlite" in sys.modules]))
"""


@pytest.mark.skipif(not target.host().own_loader, reason="llvmlite loads the code on this platform")
def test_a_warm_process_never_loads_llvm(tmp_path: Path) -> None:
    source = tmp_path / "text.ll"
    source.write_text(_text(10))
    environment = {**os.environ, "TORSH_CACHE_DIR": str(tmp_path / "cache")}

    def run() -> list[object]:
        done = subprocess.run([sys.executable, "-c", _WARM, str(source)], env=environment, check=True,
                              capture_output=True, text=True)
        return list(json.loads(done.stdout))
    assert run() == [15, 1, 0, True]
    assert run() == [15, 0, 1, False]


def test_baseline_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORSH_CPU", "baseline")
    baseline = target.host.__wrapped__()
    assert (baseline.features, baseline.vector_bytes) == ("", 16)
    assert baseline.name != target.host().name
    monkeypatch.setenv("TORSH_CPU", "quantum")
    with pytest.raises(ValueError, match="TORSH_CPU must be 'native' or 'baseline', not 'quantum'"):
        target.host.__wrapped__()


def test_vector_width_follows_the_processor_flags() -> None:
    avx512 = {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx2", "fma"}
    assert target._vector_bytes("x86_64", avx512) == 64
    assert target._vector_bytes("x86_64", avx512 - {"avx512bw"}) == 32
    assert target._vector_bytes("x86_64", {"avx2"}) == 16
    assert target._vector_bytes("aarch64", {"asimd", "sve"}) == 16

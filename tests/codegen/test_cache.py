"""The disk cache: what is stored is found, what is damaged is not, and nothing about the disk is an error."""
from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from torsh.codegen.cache import Cache, default_directory


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(str(tmp_path / "cache"))


def _files(cache: Cache) -> list[Path]:
    return sorted(Path(cache.path).iterdir())


def test_finds_what_was_stored_under_each_of_its_keys(cache: Cache) -> None:
    cache.put(["a", "b", "c"], b"one")
    cache.put(["d"], b"two")
    assert [cache.get(key) for key in "abcd"] == [b"one", b"one", b"one", b"two"]
    assert cache.get("e") is None
    assert Cache(cache.path).get("b") == b"one"
    assert len(_files(cache)) == 4, "temporary files were left"


def test_keys_of_one_payload_share_its_bytes(cache: Cache) -> None:
    cache.put(["a"], bytes(1000))
    alone = cache.info()["bytes"]
    cache.clear()
    cache.put([f"k{i}" for i in range(10)], bytes(1000))
    assert cache.info() == {"path": cache.path, "files": 10, "bytes": alone}


def test_a_later_payload_replaces_an_earlier_one(cache: Cache) -> None:
    cache.put(["a", "b"], b"old")
    cache.put(["b"], b"new")
    assert (cache.get("a"), cache.get("b")) == (b"old", b"new")


def test_file_systems_without_hard_links(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(1, "Operation not permitted")
    monkeypatch.setattr(os, "link", refuse)
    cache.put(["a", "b"], b"code")
    assert (cache.get("a"), cache.get("b")) == (b"code", b"code")
    assert len(_files(cache)) == 2


@pytest.mark.parametrize("size", [0, 1, 10, 23, 24, 30, 123])
def test_truncated_files_are_removed(cache: Cache, size: int) -> None:
    cache.put(["a"], bytes(range(100)))
    [path] = _files(cache)
    assert path.stat().st_size == 124
    os.truncate(path, size)
    assert cache.get("a") is None
    assert not path.exists()
    cache.put(["a"], b"again")
    assert cache.get("a") == b"again"


def test_every_flipped_byte_is_noticed(cache: Cache) -> None:
    cache.put(["a"], bytes(range(40)))
    [path] = _files(cache)
    good = path.read_bytes()
    for position in range(len(good)):
        damaged = bytearray(good)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        assert cache.get("a") is None, f"byte {position}"
        assert not path.exists()
    path.write_bytes(good + b"x")
    assert cache.get("a") is None


def test_a_directory_that_cannot_be_written_warns_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    cache = Cache(str(tmp_path / "file" / "cache"))  # the parent is a file: refused to root, too
    with caplog.at_level(logging.INFO, logger="torsh.cache"):
        for _ in range(3):
            cache.put(["a", "b"], b"code")
            assert cache.get("a") is None
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert cache.info() == {"path": cache.path, "files": 0, "bytes": 0}
    cache.clear()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_leaves_nothing_behind(
        cache: Cache, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.put(["a"], b"before")
    with open("/dev/full", "wb", buffering=0) as full:
        write = os.write
        monkeypatch.setattr(os, "write", lambda descriptor, data: write(full.fileno(), data))
        cache.put(["b"], b"code")
        monkeypatch.undo()
    assert "No space left" in caplog.text
    assert (cache.get("a"), cache.get("b")) == (b"before", None)
    assert len(_files(cache)) == 1


def test_the_longest_unused_goes_first(tmp_path: Path) -> None:
    cache = Cache(str(tmp_path), limit=10_000)
    for i in range(9):
        cache.put([f"k{i}", f"alias{i}"], bytes(1000))
    now = time.time()
    for path in _files(cache):
        os.utime(path, (now - 100_000, now - 100_000))
    for i in (0, 5):  # being read counts as use
        assert cache.get(f"alias{i}") is not None
    for i in range(9, 11):
        cache.put([f"k{i}"], bytes(1000))
    stored = {i for i in range(11) if cache.get(f"k{i}") is not None}
    assert {0, 5, 9, 10} <= stored
    assert len(stored) < 9
    assert int(str(cache.info()["bytes"])) <= 10_000


def _hammer(path: str, seed: int, seconds: float) -> None:
    cache = Cache(path, limit=20_000)
    end = time.monotonic() + seconds
    number = seed
    while time.monotonic() < end:
        number = (number * 1103515245 + 12345) % (1 << 31)
        key = number >> 8 & 7
        expected = bytes([key]) * (500 * key + 1)
        found = cache.get(f"k{key}")
        if found is not None and found != expected:
            os._exit(1)
        cache.put([f"k{key}"], expected)
        if number >> 16 & 63 == 0:
            cache.clear()


def test_concurrent_processes_never_see_a_torn_payload(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_hammer, args=(str(tmp_path), seed, 1.0)) for seed in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]


def test_a_writer_killed_half_way(tmp_path: Path) -> None:
    code = f"""
import os
from torsh.codegen.cache import Cache
cache = Cache({str(tmp_path)!r})
cache.put(["a"], b"first")
write = os.write
def write_half(descriptor, data):
    write(descriptor, data[:len(data) // 2])
    print("half", flush=True)
    import time
    time.sleep(60)
os.write = write_half
cache.put(["a"], b"second" * 100)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half\n"
        process.send_signal(signal.SIGKILL)
    cache = Cache(str(tmp_path))
    assert cache.get("a") == b"first"
    assert len(_files(cache)) == 2
    for path in _files(cache):
        os.utime(path, (0, 0))
    cache.put(["b"], b"x")  # the first one in a process looks around
    assert len(_files(cache)) == 2, "the killed writer's file is still there"
    assert (cache.get("a"), cache.get("b")) == (b"first", b"x")


def test_clear_removes_everything(cache: Cache) -> None:
    cache.put(["a", "b"], b"code")
    Path(cache.path, "tmp-1-abc").write_bytes(b"half")
    cache.clear()
    assert _files(cache) == []
    assert cache.get("a") is None


def test_the_directory_is_chosen_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORSH_CACHE_DIR", "/somewhere/else")
    assert default_directory() == "/somewhere/else"
    monkeypatch.delenv("TORSH_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    if sys.platform.startswith("linux"):
        assert default_directory() == os.path.join("/caches", "torsh")

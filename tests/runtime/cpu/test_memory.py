"""The caching allocator: blocks do not overlap, come back, and live as long as any array on them."""
from __future__ import annotations

import gc
import itertools
import mmap
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from torsh.runtime.cpu import memory
from torsh.runtime.cpu.memory import allocate, empty_cache, stats

BYTES = np.dtype(np.uint8)


@pytest.fixture(autouse=True)
def _settled() -> None:
    """No garbage of other tests is freed in the middle of a count."""
    gc.collect()


@given(st.lists(st.tuples(st.integers(0, 1 << 22), st.booleans()), max_size=40))
def test_live_blocks_do_not_overlap(requests: list[tuple[int, bool]]) -> None:
    live: list[memory.Block] = []
    for nbytes, drop_one in requests:
        block = allocate(nbytes)
        assert block.address % 64 == 0
        assert block.nbytes == nbytes
        live.append(block)
        if drop_one:
            live.pop(len(live) // 2)
    spans = sorted((block.address, block.address + block.nbytes) for block in live)
    for (_, end), (begin, _) in itertools.pairwise(spans):
        assert end <= begin


@given(st.integers(0, 1 << 40))
def test_classes_hold_their_sizes_with_little_waste(nbytes: int) -> None:
    size = memory._SIZES[memory._CLASS_OF_LINES[nbytes + 63 >> 6] if nbytes <= 65536 else memory._class_of(nbytes)]
    assert size % 64 == 0
    assert nbytes <= size <= max(64, nbytes * (1.25 if nbytes <= 1 << 20 else 1.125) + 64)


@pytest.mark.parametrize("nbytes", [1, 64, 1000, 65536, 65537, 1 << 20, 5 << 20])
def test_memory_comes_back_when_a_block_is_dropped(nbytes: int) -> None:
    block = allocate(nbytes)
    address = block.address
    before = stats()
    del block
    again = allocate(nbytes)
    assert again.address == address
    after = stats()
    assert after.pop("allocations") == before.pop("allocations") + 1
    assert after == before


def test_statistics_count_what_is_alive() -> None:
    memory.empty_cache()  # a request may be given a free block of a larger class
    before = stats()
    memory.reset_peak()
    blocks = [allocate(1000) for _ in range(10)] + [allocate(3 << 20)]
    size = 10 * 1024 + (3 << 20)
    held = stats()
    assert held["allocated"] - before["allocated"] == size
    assert held["blocks"] - before["blocks"] == 11
    assert held["peak"] == held["allocated"]
    assert held["reserved"] >= held["allocated"]
    blocks.clear()
    after = stats()
    assert (after["allocated"], after["blocks"]) == (before["allocated"], before["blocks"])
    assert after["peak"] == held["peak"]
    memory.reset_peak()
    assert stats()["peak"] == before["allocated"]


def test_arrays_see_the_memory_and_keep_it() -> None:
    block = allocate(1000)
    address = block.address
    block.array(BYTES, 1000)[:] = np.arange(1000) % 251
    words = block.array(np.dtype(np.uint16), 100, byte_offset=10)
    assert words.ctypes.data == address + 10
    assert words[1] == 12 + 13 * 256
    derived = words.reshape(10, 10).T[3:, ::2].view(np.int16)
    del block, words
    assert allocate(1000).address != address, "the block went though a view of it lives"
    assert derived[0, 0] == 16 + 17 * 256
    del derived
    assert allocate(1000).address == address


@pytest.mark.parametrize("nbytes", [1000, 100_000, 5 << 20])
def test_arrays_beyond_the_block_are_refused(nbytes: int) -> None:
    block = allocate(nbytes)
    assert block.array(BYTES, nbytes).nbytes == nbytes
    assert block.array(np.dtype(np.float64), 0).shape == (0,)
    size = memory._SIZES[block._size_class]
    with pytest.raises(TypeError, match="too small"):
        block.array(BYTES, size + 1)
    with pytest.raises(TypeError, match="too small"):
        block.array(np.dtype(np.float32), size // 4, byte_offset=4)


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        allocate(-1)
    for nbytes in (1 << 46, 1 << 60):
        with pytest.raises(MemoryError, match="cannot allocate"):
            allocate(nbytes)
    allocate(100)


def test_the_cache_can_be_emptied() -> None:
    empty_cache()
    before = stats()
    block = allocate(32 << 20)
    block.array(BYTES, 32 << 20).fill(1)
    kept = allocate(32 << 20)
    kept.array(BYTES, 32 << 20).fill(2)
    del block
    assert stats()["idle_large"] - before["idle_large"] == 32 << 20
    resident = _resident()
    assert empty_cache() == 32 << 20
    if resident is not None:
        assert resident - (_resident() or 0) > 30 << 20
    after = stats()
    assert after["reserved"] == before["reserved"] + (32 << 20)
    assert after["idle_large"] == 0
    assert (kept.array(BYTES, 32 << 20) == 2).all()
    assert empty_cache() == 0


def _resident() -> int | None:
    path = Path("/proc/self/statm")
    return int(path.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if path.exists() else None


def test_sizes_that_vary_do_not_pile_up() -> None:
    """Ever new sizes, one at a time: what is kept stays within the peak's half and the spare."""
    empty_cache()
    memory.reset_peak()
    base = stats()["reserved"]
    for megabytes in range(40, 240, 10):
        allocate(megabytes << 20)
    assert stats()["reserved"] - base <= (240 << 20) * 1.125 * 1.5 + memory._SPARE
    empty_cache()


def test_near_sizes_share_large_blocks() -> None:
    empty_cache()
    address = allocate(10 << 20).address
    block = allocate((10 << 20) - (1 << 20))  # one class below
    assert block.address == address
    assert block.array(BYTES, block.nbytes).nbytes == 9 << 20
    small = allocate(6 << 20)  # not one so much smaller
    assert small.address != address


def test_memory_refused_by_the_system_is_taken_from_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    empty_cache()
    allocate(64 << 20)
    real, calls = mmap.mmap, []

    def refuse_once(*args: int) -> mmap.mmap:
        calls.append(args)
        if len(calls) == 1:
            raise OSError("refused")
        return real(*args)
    monkeypatch.setattr(mmap, "mmap", refuse_once)
    block = allocate(32 << 20)
    assert len(calls) == 2
    assert stats()["idle_large"] == 0
    del block
    calls.clear()
    empty_cache()
    with pytest.raises(MemoryError, match="refused"):
        allocate(32 << 20)


def test_threads_never_share_a_block() -> None:
    failures: list[str] = []
    sizes = [64, 1000, 20_000, 200_000, 2 << 20]

    def work(mark: int) -> None:
        generator = np.random.default_rng(mark)
        live: list[tuple[np.ndarray, int]] = []
        for _ in range(1500):
            nbytes = sizes[generator.integers(len(sizes))]
            array = allocate(nbytes).array(BYTES, 64)
            array[:] = mark
            live.append((array, mark))
            if len(live) > 8:
                array, _ = live.pop(int(generator.integers(len(live))))
                if not (array == mark).all():
                    failures.append(f"thread {mark}")
    before = stats()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=(mark,)) for mark in range(1, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not failures
    gc.collect()
    after = stats()
    assert after["allocations"] - before["allocations"] == 6000
    assert (after["allocated"], after["blocks"]) == (before["allocated"], before["blocks"])
    large_idle = sum(len(memory._free[i]) * memory._SIZES[i] for i in range(memory._FIRST_LARGE, len(memory._SIZES)))
    assert after["idle_large"] == large_idle


def test_blocks_in_reference_cycles_and_at_exit() -> None:
    code = """
import gc
import numpy as np
from torsh.runtime.cpu import memory
class Holder: pass
for _ in range(1000):
    holder = Holder()
    holder.self, holder.block = holder, memory.allocate(100_000)
gc.collect()
del holder
gc.collect()
assert memory.stats()["blocks"] == 0
memory.kept = memory.allocate(100).array(np.dtype(np.uint8), 3)  # freed while the module is taken apart
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_allocates_while_the_parent_was() -> None:
    code = """
import os, warnings
from torsh.runtime.cpu import memory
warnings.simplefilter("ignore", DeprecationWarning)
import threading
held = threading.Event(); release = threading.Event()
def hold():
    with memory._lock:
        held.set(); release.wait()
thread = threading.Thread(target=hold); thread.start(); held.wait()
pid = os.fork()
if pid == 0:
    memory.allocate(9 << 20)
    os._exit(0)
status = os.waitpid(pid, 0)[1]
release.set(); thread.join()
assert status == 0
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=20)

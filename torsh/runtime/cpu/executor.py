"""Run plans on the CPU: one native call a program, work shared among a pool of threads.

A `Program` is built once from `Launch`es and run many times with other addresses. `executor_ir` says what happens in
the call, `pool_ir` how work is shared.
"""
from __future__ import annotations

import ctypes
import functools
import os
import sys
import threading
from collections.abc import Sequence

import numpy as np

from torsh.codegen import compile as codegen
from torsh.codegen.cache import digest
from torsh.codegen.target import host
from torsh.runtime.cpu import executor_ir as ir
from torsh.runtime.cpu import pool_ir
from torsh.runtime.cpu.methods import METH_O, MethodDefinition, method

#: How long a thread that waits spins before it sleeps: longer than Python takes to trace a small training step, since waking a sleeper costs some 50 us.
_SPIN_NS = 300_000
_TOP = 1 << 63


class Value:
    """An argument known when the program runs: `values[index] + offset`.

    `values[index]` is a base address, and `offset` counts bytes; or it is a scalar's bits, and `offset` is 0.
    """
    __slots__ = ("index", "offset")

    def __init__(self, index: int, offset: int = 0) -> None:
        self.index = index
        self.offset = offset

    def __repr__(self) -> str:
        return f"Value({self.index}, {self.offset})"


Argument = int | Value


class Launch:
    """A kernel run once or, merged horizontally, on several argument sets.

    phases: addresses of functions void(ptr arguments, i64 begin, i64 end), run in order with a barrier between
    argsets: a full argument table for each set; plain integers are stored as they are (modulo 2**64)
    work: work[phase][argset], the number of work items
    serial: for each phase, whether it is too small to share and runs on the calling thread
    tables: arrays whose addresses are among the integers, which the program keeps
    """
    __slots__ = ("argsets", "phases", "serial", "tables", "work")

    def __init__(self, phases: Sequence[int], argsets: Sequence[Sequence[Argument]], work: Sequence[Sequence[int]],
                 serial: Sequence[bool], tables: Sequence[np.ndarray] = ()) -> None:
        self.tables = tables
        self.phases = phases
        self.argsets = argsets
        self.work = work
        self.serial = serial


class _Address(int):
    """The address of a program's words, keeping the memory they are in."""
    memory: tuple[np.ndarray, ...]


class Program:
    """Launches flattened into one native call.

    `run(address)` runs it with the int64 values at that address; `run_list([int or float, ...])` takes the values
    themselves, a float as the bits of a float64, and raises ValueError unless there are `value_count` of them.
    Both return None when all is done. The interpreter's lock is released meanwhile, except where `release_gil` is
    False; by default it is kept for programs that are serial throughout, and so short.
    Kernels and memory must outlive the run. May be called from several threads at once.
    """
    __slots__ = ("run", "run_list", "value_count", "launches", "steps")

    def __init__(self, launches: Sequence[Launch], release_gil: bool | None = None) -> None:
        slots: list[int] = []
        patches: list[int] = []
        steps: list[int] = []
        count = shares = value_count = 0
        for launch in launches:
            offsets: list[int] = []
            for argset in launch.argsets:
                offsets.append(len(slots) * 8)
                for argument in argset:
                    if isinstance(argument, Value):
                        patches += (len(slots), argument.index, argument.offset)
                        value_count = max(value_count, argument.index + 1)
                        slots.append(0)
                    else:
                        slots.append(argument if -_TOP <= argument < _TOP else _signed(argument))
            if not len(launch.phases) == len(launch.work) == len(launch.serial):
                raise ValueError(f"a launch of {len(launch.phases)} phases needs as many entries in work and serial, "
                                 f"not {len(launch.work)} and {len(launch.serial)}")
            for function, work, serial in zip(launch.phases, launch.work, launch.serial):
                if len(work) != len(offsets):
                    raise ValueError(f"work for {len(work)} argument sets given, the launch has {len(offsets)}")
                total = 0
                ends: list[int] = []
                for offset, items in zip(offsets, work):
                    total += items
                    ends += (offset, total)
                if total:
                    steps += (function, int(serial), len(offsets), total)
                    steps += ends
                    count += 1
                    shares |= not serial and total > 1
        #: The length of the values array: one more than the highest index used.
        self.value_count = value_count
        self.launches = len(launches)
        #: Phases with work.
        self.steps = count
        memory = tuple(np.array(part or [0], np.int64) for part in (slots, patches, steps))
        words = np.zeros(ir.PROGRAM_WORDS, np.int64)
        words[ir.PROGRAM_SLOTS] = memory[0].ctypes.data
        words[ir.PROGRAM_SLOT_COUNT] = len(slots)
        words[ir.PROGRAM_PATCHES] = memory[1].ctypes.data
        words[ir.PROGRAM_PATCH_COUNT] = len(patches) // 3
        words[ir.PROGRAM_STEPS] = memory[2].ctypes.data
        words[ir.PROGRAM_STEP_COUNT] = count
        words[ir.PROGRAM_SHARES] = shares
        words[ir.PROGRAM_RELEASES_GIL] = shares if release_gil is None else release_gil
        words[ir.PROGRAM_POOL] = _pool().address
        words[ir.PROGRAM_NONE] = id(None)
        words[ir.PROGRAM_VALUE_ERROR] = id(ValueError)
        words[ir.PROGRAM_TYPE_ERROR] = id(TypeError)
        words[ir.PROGRAM_FLOAT] = id(float)
        words[ir.PROGRAM_LIST] = id(list)
        words[ir.PROGRAM_VALUE_COUNT] = value_count
        address = _Address(words.ctypes.data)
        address.memory = (words, *memory, *[table for launch in launches for table in launch.tables])
        native = _native()
        self.run = method(native.run_definition, address)
        self.run_list = method(native.run_list_definition, address)


def _signed(value: int) -> int:
    """The int64 with the value's bits (addresses and bit patterns may come unsigned)."""
    value = int(value)
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)


class _Native:
    """The executor's compiled functions, `threads` saying what the pool's threads sleep on (see `pool_ir.text`)."""

    def __init__(self, threads: str) -> None:
        text = ir.text(threads, host().arch)
        key = "executor-" + digest(text)
        names = ["py_run", "py_run_list", "pool_stop", "pool_forget"]
        addresses = codegen.load([(key, lambda: text, names)])[key]
        prototype = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
        self.pool_stop = prototype(addresses["pool_stop"])
        self.pool_forget = prototype(addresses["pool_forget"])
        self.run_definition = MethodDefinition(b"run", addresses["py_run"], METH_O, b"run(values_address)")
        self.run_list_definition = MethodDefinition(b"run_list", addresses["py_run_list"], METH_O,
                                                     b"run_list(values)")


def _sleeping() -> str:
    if sys.platform.startswith("linux"):
        return "futex"
    return "none" if sys.platform == "win32" else "pthread"


@functools.cache
def _native() -> _Native:
    native = _Native(_sleeping())
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork)
    return native


class _Pool:
    """The memory of the thread pool. Its threads start in the first run that shares work."""

    def __init__(self, threads: int) -> None:
        self._memory = np.zeros(pool_ir.POOL_BYTES + pool_ir.LINE, np.uint8)
        begin = -self._memory.ctypes.data % pool_ir.LINE
        self._words = self._memory[begin:begin + pool_ir.POOL_BYTES].view(np.int64)
        self.address = int(self._words.ctypes.data)
        self._words[pool_ir.POOL_SPIN // 8] = _SPIN_NS
        self.threads = threads

    @property
    def threads(self) -> int:
        return int(self._words[pool_ir.POOL_THREADS // 8])

    @threads.setter
    def threads(self, count: int) -> None:
        self._words[pool_ir.POOL_THREADS // 8] = count


_lock = threading.Lock()


@functools.cache
def _pool() -> _Pool:
    return _Pool(default_threads())


def _after_fork() -> None:
    """The child has neither the parent's workers nor the thread that may have held the lock."""
    global _lock
    _lock = threading.Lock()
    _native().pool_forget(_pool().address)


def default_threads() -> int:
    """TORSH_NUM_THREADS, else OMP_NUM_THREADS (its first level), else the processors this process may run on."""
    if _sleeping() == "none":
        return 1
    for name in ("TORSH_NUM_THREADS", "OMP_NUM_THREADS"):
        text = os.environ.get(name, "").split(",")[0].strip()
        if text:
            if not text.isdigit() or int(text) < 1:
                raise ValueError(f"{name} must be a positive number, not {text!r}")
            return min(int(text), pool_ir.MAX_THREADS)
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), pool_ir.MAX_THREADS)
    return min(os.cpu_count() or 1, pool_ir.MAX_THREADS)


def get_num_threads() -> int:
    """The number of threads a program's work is shared among, counting the caller's."""
    return _pool().threads


def set_num_threads(count: int) -> None:
    """Share work among `count` threads from now on; waits for a run that has the pool.

    Raises ValueError unless 1 <= count <= 1024.

    >>> before = get_num_threads()
    >>> set_num_threads(1)
    >>> get_num_threads()
    1
    >>> set_num_threads(before)
    """
    if not 1 <= count <= pool_ir.MAX_THREADS:
        raise ValueError(f"set_num_threads: expected a number from 1 to {pool_ir.MAX_THREADS}, got {count}")
    if count > 1 and _sleeping() == "none":
        raise ValueError("set_num_threads: only one thread is supported on this platform")
    pool, native = _pool(), _native()
    with _lock:
        if count != pool.threads:
            native.pool_stop(pool.address)
            pool.threads = count
            native.pool_forget(pool.address)


def renew_threads() -> None:
    """Stop the pool's threads; the next run that shares work starts new ones. Waits for a run that has the pool."""
    pool, native = _pool(), _native()
    with _lock:
        native.pool_stop(pool.address)
        native.pool_forget(pool.address)

"""Programs compute what their launches say, whoever shares the work, from any thread, in any process."""
from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from torsh.codegen import compile as codegen
from torsh.runtime.cpu import executor, executor_ir, pool_ir
from torsh.runtime.cpu.executor import Launch, Program, Value, get_num_threads, set_num_threads

# add: array[i] += step for i in [begin, end); record: counts[i] += 1, and begin and end into a log of calls.
KERNELS = """
define void @add(ptr %arguments, i64 %begin, i64 %end) nounwind {
entry:
  %array = load ptr, ptr %arguments
  %step.at = getelementptr i64, ptr %arguments, i64 1
  %step = load i64, ptr %step.at
  br label %loop
loop:
  %i = phi i64 [%begin, %entry], [%next, %body]
  %more = icmp slt i64 %i, %end
  br i1 %more, label %body, label %done
body:
  %at = getelementptr i64, ptr %array, i64 %i
  %old = load i64, ptr %at
  %new = add i64 %old, %step
  store i64 %new, ptr %at
  %next = add i64 %i, 1
  br label %loop
done:
  ret void
}
; sum[0] = array[0] + ... + array[n-1], for a single work item
define void @sum(ptr %arguments, i64 %begin, i64 %end) nounwind {
entry:
  %array = load ptr, ptr %arguments
  %out.at = getelementptr i64, ptr %arguments, i64 1
  %out = load ptr, ptr %out.at
  %count.at = getelementptr i64, ptr %arguments, i64 2
  %count = load i64, ptr %count.at
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%next, %body]
  %total = phi i64 [0, %entry], [%added, %body]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %body, label %done
body:
  %at = getelementptr i64, ptr %array, i64 %i
  %value = load i64, ptr %at
  %added = add i64 %total, %value
  %next = add i64 %i, 1
  br label %loop
done:
  store i64 %total, ptr %out
  ret void
}
define void @call(ptr %arguments, i64 %begin, i64 %end) nounwind {
  %log = load ptr, ptr %arguments
  %number = atomicrmw add ptr %log, i64 1 seq_cst
  %place = shl i64 %number, 1
  %first = add i64 %place, 1
  %begin.at = getelementptr i64, ptr %log, i64 %first
  store i64 %begin, ptr %begin.at
  %second = add i64 %place, 2
  %end.at = getelementptr i64, ptr %log, i64 %second
  store i64 %end, ptr %end.at
  ret void
}
"""


@pytest.fixture(scope="module")
def kernels() -> dict[str, int]:
    return codegen.load([("test-executor", lambda: KERNELS, ["add", "sum", "call"])])["test-executor"]


def _use_threads(monkeypatch: pytest.MonkeyPatch, threads: str, spin_ns: int) -> None:
    """A pool of its own that sleeps as `threads` says (see pool_ir.text) after spinning `spin_ns`."""
    native = executor._Native(threads)
    pool = executor._Pool(1)
    pool._words[pool_ir.POOL_SPIN // 8] = spin_ns
    monkeypatch.setattr(executor, "_native", lambda: native)
    monkeypatch.setattr(executor, "_pool", lambda: pool)


SLEEPS = ["futex", "pthread"] if sys.platform.startswith("linux") else ["pthread"]


@pytest.fixture(params=[(sleep, spin) for sleep in SLEEPS for spin in (0, 50_000)], ids=str)
def pool(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    _use_threads(monkeypatch, *request.param)
    yield
    set_num_threads(1)  # ends the workers: nothing else refers to this pool


@pytest.fixture
def default_pool() -> Iterator[None]:
    before = get_num_threads()
    yield
    set_num_threads(before)


def test_arguments_are_patched_from_the_values(kernels: dict[str, int]) -> None:
    array = np.zeros(10, np.int64)
    program = Program([Launch([kernels["add"]], [[Value(0, 16), Value(1)]], [[3]], [True])])
    assert (program.value_count, program.launches, program.steps) == (2, 1, 1)
    assert program.run_list([array.ctypes.data, 5]) is None
    assert array.tolist() == [0, 0, 5, 5, 5, 0, 0, 0, 0, 0]
    values = np.array([array.ctypes.data, -2], np.int64)
    program.run(values.ctypes.data)
    assert array.tolist() == [0, 0, 3, 3, 3, 0, 0, 0, 0, 0]


def test_constants_and_addresses_beyond_63_bits_are_kept(kernels: dict[str, int]) -> None:
    array = np.zeros(2, np.int64)
    Program([Launch([kernels["add"]], [[array.ctypes.data, 2**64 - 7]], [[2]], [True])]).run_list([])
    assert array.tolist() == [-7, -7]


def test_floats_are_passed_as_their_bits(kernels: dict[str, int]) -> None:
    array = np.zeros(1, np.int64)
    program = Program([Launch([kernels["add"]], [[Value(0), Value(1)]], [[1]], [True])])
    program.run_list([array.ctypes.data, -0.1])
    assert array.view(np.float64)[0] == -0.1


def test_wrong_values_are_refused(kernels: dict[str, int]) -> None:
    array = np.zeros(1, np.int64)
    program = Program([Launch([kernels["add"]], [[Value(0), Value(1)]], [[1]], [True])])
    with pytest.raises(ValueError, match="value_count"):
        program.run_list([array.ctypes.data])
    with pytest.raises(TypeError):
        program.run_list([array.ctypes.data, "5"])
    with pytest.raises(OverflowError):
        program.run_list([array.ctypes.data, 2**64])
    with pytest.raises(TypeError):
        program.run(None)
    with pytest.raises(TypeError, match="takes a list"):
        program.run_list((array.ctypes.data, 5))
    program.run_list([array.ctypes.data, -1])  # -1 is a value, not an error
    assert array[0] == -1


def test_malformed_launches_are_refused(kernels: dict[str, int]) -> None:
    add = kernels["add"]
    with pytest.raises(ValueError, match="2 phases"):
        Program([Launch([add, add], [[0, 0]], [[1]], [True, True])])
    with pytest.raises(ValueError, match="1 argument sets given, the launch has 2"):
        Program([Launch([add], [[0, 0], [0, 0]], [[1]], [True])])


def test_phases_without_work_are_left_out(kernels: dict[str, int]) -> None:
    array = np.zeros(4, np.int64)
    program = Program([Launch([kernels["add"]] * 2, [[Value(0), 1], [Value(0, 16), 2]], [[0, 2], [0, 0]], [False] * 2)])
    assert program.steps == 1
    program.run_list([array.ctypes.data])
    assert array.tolist() == [0, 0, 2, 2]
    Program([]).run_list([])


@pytest.mark.parametrize("threads", [2, 3, 8])
@pytest.mark.parametrize("items", [1, 2, 3, 7, 8, 9, 64, 1000])
@pytest.mark.usefixtures("pool")
def test_every_item_runs_exactly_once(kernels: dict[str, int], threads: int, items: int) -> None:
    set_num_threads(threads)
    counts = np.zeros(items, np.int64)
    program = Program([Launch([kernels["add"]], [[Value(0), 1]], [[items]], [False])])
    for run in range(1, 100):
        program.run_list([counts.ctypes.data])
        assert (counts == run).all()


@pytest.mark.usefixtures("default_pool")
def test_shared_work_comes_in_pieces_and_serial_work_in_one(kernels: dict[str, int]) -> None:
    set_num_threads(4)

    def calls(serial: bool) -> list[tuple[int, int]]:
        log = np.zeros(1001, np.int64)
        Program([Launch([kernels["call"]], [[Value(0)]], [[320]], [serial])]).run_list([log.ctypes.data])
        pairs = log[1:1 + 2 * log[0]].reshape(-1, 2).tolist()
        return sorted((begin, end) for begin, end in pairs)
    assert calls(serial=True) == [(0, 320)]
    assert calls(serial=False) == [(begin, begin + 10) for begin in range(0, 320, 10)]
    set_num_threads(1)
    assert calls(serial=False) == [(0, 320)]


@pytest.mark.usefixtures("pool")
def test_argument_sets_share_one_phase(kernels: dict[str, int], rng: np.random.Generator) -> None:
    set_num_threads(3)
    for _ in range(50):
        sizes = rng.integers(0, 40, rng.integers(1, 30)).tolist()
        arrays = [np.zeros(size, np.int64) for size in sizes]
        program = Program([Launch([kernels["add"]] * 2, [[Value(i), i + 1] for i in range(len(sizes))],
                                  [sizes, sizes], [False, True])])
        values = [array.ctypes.data for array in arrays[:program.value_count]]
        for run in range(1, 4):
            program.run_list(values)
            for i, array in enumerate(arrays):
                assert (array == 2 * run * (i + 1)).all()


@pytest.mark.usefixtures("pool")
def test_a_phase_sees_all_of_the_one_before(kernels: dict[str, int]) -> None:
    set_num_threads(4)
    array, sums = np.zeros(50, np.int64), np.zeros(60, np.int64)
    launches: list[Launch] = []
    for i in range(60):
        launches.append(Launch([kernels["add"]], [[Value(0), 1]], [[50]], [False]))
        # one item of two: whichever thread runs it reads what all others wrote
        launches.append(Launch([kernels["sum"]], [[Value(0), Value(1, 8 * i), 50], [Value(0), Value(2), 0]],
                               [[1, 1]], [False]))
    program, unused = Program(launches), np.zeros(1, np.int64)
    for run in range(100):
        program.run_list([array.ctypes.data, sums.ctypes.data, unused.ctypes.data])
        assert sums.tolist() == [50 * (60 * run + i + 1) for i in range(60)]


@pytest.mark.usefixtures("pool")
def test_random_programs_under_changing_thread_numbers(kernels: dict[str, int], rng: np.random.Generator) -> None:
    arrays = [np.zeros(size, np.int64) for size in (1, 2, 3, 5, 17, 64, 100, 1000)]
    values = [array.ctypes.data for array in arrays]
    expected = np.zeros(len(arrays), np.int64)
    programs: list[tuple[Any, np.ndarray]] = []
    for _ in range(10):
        launches, effect = [], np.zeros(len(arrays), np.int64)
        for _ in range(rng.integers(1, 20)):
            chosen = rng.permutation(len(arrays))[:rng.integers(1, 6)]
            steps = rng.integers(1, 9, len(chosen))
            launches.append(Launch(
                [kernels["add"]] * 2, [[Value(int(a)), int(s)] for a, s in zip(chosen, steps)],
                [[len(arrays[a]) for a in chosen]] * 2, (rng.random(2) < 0.2).tolist()))
            effect[chosen] += 2 * steps
        programs.append((Program(launches), effect))
    for _ in range(400):
        program, effect = programs[rng.integers(len(programs))]
        for _ in range(rng.integers(1, 20)):
            program.run_list(values[:program.value_count])
            expected += effect
        for array, value in zip(arrays, expected):
            assert (array == value).all()
        if rng.random() < 0.1:
            set_num_threads(int(rng.integers(1, 7)))


@pytest.mark.usefixtures("pool")
def test_simultaneous_runs_of_one_program(kernels: dict[str, int]) -> None:
    set_num_threads(3)
    program = Program([Launch([kernels["add"]], [[Value(0), Value(1)]], [[200]], [False])] * 10)
    arrays = [np.zeros(200, np.int64) for _ in range(4)]

    def work(number: int) -> None:
        for _ in range(500):
            program.run_list([arrays[number].ctypes.data, number + 1])
    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for count in (2, 4, 3):
        set_num_threads(count)
    for thread in threads:
        thread.join()
    for number, array in enumerate(arrays):
        assert (array == 5000 * (number + 1)).all()


def test_the_methods_keep_the_program_alive(kernels: dict[str, int]) -> None:
    array = np.zeros(1, np.int64)
    run = Program([Launch([kernels["add"]], [[Value(0), 1]], [[1]], [True])]).run_list
    for _ in range(100):  # what would be reused if the first one's memory were free
        Program([Launch([kernels["add"]], [[Value(0), 1000]], [[1]], [True])])
    run([array.ctypes.data])
    assert array[0] == 1


def test_long_programs_release_the_interpreter(kernels: dict[str, int]) -> None:
    array = np.zeros(1 << 20, np.int64)
    program = Program([Launch([kernels["add"]], [[Value(0), 1]], [[1 << 20]], [True])] * 100, release_gil=True)
    progress: list[int] = []
    thread = threading.Thread(target=lambda: program.run_list([array.ctypes.data]))
    thread.start()
    while thread.is_alive():
        progress.append(int(array[0]))
    thread.join()
    assert len(set(progress)) > 2, "Python stood still during the run"


def test_thread_numbers_are_checked() -> None:
    for count in (0, -1, 1025):
        with pytest.raises(ValueError, match="set_num_threads"):
            set_num_threads(count)


@pytest.mark.parametrize(("variables", "expected"), [
    ({"TORSH_NUM_THREADS": "3"}, 3),
    ({"OMP_NUM_THREADS": "5,2"}, 5),
    ({"TORSH_NUM_THREADS": "2", "OMP_NUM_THREADS": "7"}, 2),
    ({"TORSH_NUM_THREADS": "99999"}, 1024),
    ({}, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
])
def test_default_thread_number(variables: dict[str, str], expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TORSH_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert executor.default_threads() == expected


def test_bad_thread_numbers_in_the_environment_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORSH_NUM_THREADS", "many")
    with pytest.raises(ValueError, match="TORSH_NUM_THREADS must be a positive number, not 'many'"):
        executor.default_threads()


_FORK = """
import os, sys, threading, warnings
import numpy as np
sys.path.insert(0, sys.argv[1])
from test_executor import KERNELS
from torsh.codegen import compile as codegen
from torsh.runtime.cpu.executor import Launch, Program, Value, set_num_threads
warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, which is what is tested
add = codegen.load([("test-executor", lambda: KERNELS, ["add", "sum", "call"])])["test-executor"]["add"]
program = Program([Launch([add], [[Value(0), 1]], [[500]], [False])] * 20)
set_num_threads(3)

def work(array, times):
    for i in range(times):
        program.run_list([array.ctypes.data])

def child():
    array = np.zeros(500, np.int64)
    work(array, 50)
    tasks = len(os.listdir("/proc/self/task")) if os.path.exists("/proc/self/task") else 3
    os._exit(0 if (array == 1000).all() and tasks == 3 else 1)

other = np.zeros(500, np.int64)
busy = threading.Thread(target=work, args=(other, 3000))  # forks happen while this thread has the pool
busy.start()
for i in range(20):
    pid = os.fork()
    if pid == 0:
        child()
    status = os.waitpid(pid, 0)[1]
    assert status == 0, status
busy.join()
assert (other == 60000).all()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_children_have_threads_of_their_own() -> None:
    subprocess.run([sys.executable, "-c", _FORK, str(Path(__file__).parent)], check=True, timeout=120)


@pytest.mark.usefixtures("pool")
def test_forgetting_a_pool_leaves_no_work_of_a_run_that_was_cut_off(kernels: dict[str, int]) -> None:
    set_num_threads(3)
    Program([Launch([kernels["add"]], [[Value(0), 1]], [[9]], [False])]).run_list([np.zeros(9, np.int64).ctypes.data])
    pool, native = executor._pool(), executor._native()
    native.pool_stop(pool.address)
    tickets = pool._words[pool_ir.POOL_TICKETS // 8::pool_ir.LINE // 8]
    tickets[:3] = 5
    native.pool_forget(pool.address)
    assert not tickets.any()
    assert pool._words[pool_ir.POOL_BUSY // 8] == 0


def test_a_system_that_refuses_threads(kernels: dict[str, int]) -> None:
    """Work is shared among the threads there are."""
    code = _FORK.split("def work")[0] + """
import resource
set_num_threads(1)
Program([Launch([add], [[Value(0), 1]], [[1]], [True])]).run_list([np.zeros(1, np.int64).ctypes.data])
used = int(next(line for line in open("/proc/self/statm")).split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (40 << 20), used + (40 << 20)))  # room for a few stacks of 8 MiB
set_num_threads(64)
array = np.zeros(500, np.int64)
for i in range(100):
    program.run_list([array.ctypes.data])
assert (array == 2000).all()
"""
    if not os.path.exists("/proc/self/statm"):
        pytest.skip("needs /proc")
    subprocess.run([sys.executable, "-c", code, str(Path(__file__).parent)], check=True, timeout=60)


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
@pytest.mark.parametrize("threads", ["futex", "pthread", "none"])
def test_the_code_compiles_and_links_for_every_target(threads: str, arch: str) -> None:
    from llvmlite import binding

    from torsh.codegen import elf
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    triple = f"{arch}-unknown-linux-gnu"
    machine = binding.Target.from_triple(triple).create_target_machine(reloc="pic", codemodel="small")
    module = binding.parse_assembly(executor_ir.text(threads, arch))
    module.triple = triple
    module.data_layout = str(machine.target_data)
    module.verify()
    linked = elf.link(machine.emit_object(module))
    assert {"py_run", "py_run_list", "pool_stop", "pool_forget"} <= set(linked.symbols)
    names = {name for _, name, _ in linked.externals}
    assert ("syscall" in names) == (threads == "futex")
    assert ("pthread_create" in names) == (threads != "none")


def test_without_threads_programs_run_on_the_caller(
        kernels: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    _use_threads(monkeypatch, "none", 0)
    array = np.zeros(100, np.int64)
    Program([Launch([kernels["add"]], [[Value(0), 1]], [[100]], [False])]).run_list([array.ctypes.data])
    assert (array == 1).all()
    monkeypatch.setattr(executor, "_sleeping", lambda: "none")
    with pytest.raises(ValueError, match="only one thread"):
        set_num_threads(2)
    assert executor.default_threads() == 1

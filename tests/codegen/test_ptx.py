from __future__ import annotations

import re
import shutil
import subprocess

import numpy as np
import pytest
from hypothesis import given, settings

from tests.codegen import kernel_samples as samples
from tests.codegen.block_emulator import Grid, compile_for_grid, run_on_grid
from tests.codegen.kernel_samples import kernel, load, number, op, store
from tests.codegen.random_kernels import random_kernels
from tests.codegen.test_emit import elementwise, operations
from torsh.codegen.check import check
from torsh.codegen.interpret import run
from torsh.codegen.kernel_ir import COMPUTE_DTYPES, Acc, Declare, Kernel, Loop, Phase, Read, Slot, Update
from torsh.codegen.llvm_ptx import emit_nvptx, emit_ptx, shared_buffers


def accepted(ptx: str, path, processor: str) -> None:
    """NVIDIA's assembler takes the PTX, where there is one; without it, that LLVM wrote it has to do."""
    assert ".visible .entry k_p0(" in ptx
    assembler = shutil.which("ptxas")
    if assembler is None:
        return
    (path / "k.ptx").write_text(ptx)
    done = subprocess.run([assembler, f"-arch={processor}", "-O0", str(path / "k.ptx"), "-o", str(path / "k.cubin")],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("processor", ["sm_80", "sm_90"])
@pytest.mark.parametrize("name", samples.SAMPLES)
def test_samples_are_accepted(name, processor, tmp_path):
    accepted(emit_ptx(samples.SAMPLES[name](100, np.random.default_rng(0)).kernel, "k", processor), tmp_path, processor)


@pytest.mark.parametrize("dtype", COMPUTE_DTYPES)
def test_every_operation_is_accepted(dtype, tmp_path, rng):
    values = operations(dtype)
    case = elementwise([dtype, dtype, "bool"], [v for v, _ in values], 9, rng, [d for _, d in values])
    accepted(emit_ptx(case.kernel, "k"), tmp_path, "sm_80")


# Equal results with threads of this machine in the place of a block's. One sample races on purpose: all lanes store to one
# element, and which stays is open. Others are left out because they take long and differ from their neighbours in dtype.
ON_GRID = [name for name in samples.SAMPLES
           if name not in ("one_place", "extrema_finite", "extrema_uint8", "extrema_float64")]


@pytest.mark.parametrize("name", ON_GRID)
def test_samples_agree_with_the_interpreter(name):
    grid = Grid(1 if name.startswith("extrema") else 2, 64)
    functions = None
    for n in (0, 70):
        case = samples.SAMPLES[name](n, np.random.default_rng(n))
        if functions is None or name == "literal_extent":
            functions = compile_for_grid(case, grid)
        wanted = samples.copies(case.arrays)
        run(case.kernel, case.arguments({}), wanted)
        samples.assert_same(case, run_on_grid(case, grid, functions), wanted)


@settings(max_examples=20)
@given(random_kernels())
def test_random_kernels_agree_with_the_interpreter(case):
    check(case.kernel)
    wanted = samples.copies(case.arrays)
    run(case.kernel, case.arguments({}), wanted)
    samples.assert_same(case, run_on_grid(case, Grid(2, 32)), wanted)


def test_arithmetic_is_not_contracted():
    """mul and add without .rn may be fused by NVIDIA's assembler."""
    x = load(0, "float32", (0, 1))
    d = load(2, "float64", (0, 1))
    body = (Loop(0, Slot(4), "vector", (store(1, op("add", op("mul", x, x), number(1.0)), (0, 1)),
                                        store(3, op("sub", op("mul", d, d), op("div", d, number(3.0, "float64"))), (0, 1)))),)
    k = kernel([("float32", False), ("float32", True), ("float64", False), ("float64", True)], 1, Phase((), body))
    ptx = emit_ptx(k, "k")
    found = re.findall(r"\t(add|sub|mul|div|fma)((?:\.\w+)*)\.f(?:32|64)", ptx)
    assert {name for name, _ in found} >= {"add", "mul", "div"}
    assert "fma" not in {name for name, _ in found}
    assert {rounding for _, rounding in found} == {".rn"}


def test_amounts_of_shifts_are_masked():
    """PTX's shift of 64 bits takes 32 bits of the amount, so amounts of 2**32 must not reach it."""
    x, y = load(0, "int64", (0, 1)), load(1, "int64", (0, 1))
    body = (Loop(0, Slot(3), "vector", (store(2, op("shl", x, y), (0, 1)),)),)
    ptx = emit_ptx(kernel([("int64", False), ("int64", False), ("int64", True)], 1, Phase((), body)), "k")
    assert re.search(r"and\.b(32|64)\s+%r\w*, %r\w*, 63", ptx)
    assert re.search(r"selp\.b64", ptx)


def test_memory_is_known_to_be_global():
    ptx = emit_ptx(samples.pointwise(9, np.random.default_rng(0)).kernel, "k")
    assert re.search(r"ld\.global", ptx)
    assert not re.search(r"\t(ld|st)\.(b|f|u|s)\d", ptx)


def barriers(k: Kernel) -> int:
    return emit_nvptx(k, "k").count("call void @llvm.nvvm.barrier")


def test_barriers_only_where_threads_depend_on_each_other():
    rng = np.random.default_rng(0)
    assert barriers(samples.pointwise(9, rng).kernel) == 0
    assert barriers(samples.columns(9, rng).kernel) == 0
    assert barriers(samples.softmax(9, rng).kernel) == 4  # two for each reduction
    body = (Loop(0, Slot(2), "vector", (store(0, op("neg", load(0, "float32", (0, 1))), (0, 1)),)),)
    assert barriers(kernel([("float32", True), ("float32", True)], 1, Phase((), body))) == 0
    # A row of which every element is read by all, after each was written by one.
    first = Loop(0, 9, "vector", (store(0, number(1.0), (0, 1)),))
    second = Loop(1, 9, "vector", (store(1, load(0, "float32", (1, -1), offset=8), (1, 1)),))
    phase = Phase((), (first, second))
    assert shared_buffers(phase) == {0}
    assert barriers(kernel([("float32", True), ("float32", True)], 0, phase)) > 0


def test_items_go_to_threads_without_a_vector_loop():
    acc = Acc("sum", "int64")
    body = (Declare(acc), Loop(1, Slot(3), "serial", (Update(acc, load(0, "int64", (0, Slot(3)), (1, 1))),)),
            store(1, Read(acc, "int64"), (0, 1)))
    k = kernel([("int64", False), ("int64", True)], 2, Phase(((0, Slot(2)),), body))
    case = samples.Case(k, {0: np.arange(700), 1: np.zeros(100, "int64")}, {2: 100, 3: 7})
    got = run_on_grid(case, Grid(2, 32))[1]
    np.testing.assert_array_equal(got, np.arange(700).reshape(100, 7).sum(1))

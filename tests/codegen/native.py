"""Running emitted kernels in this process, for several widths of vectors, without caches."""
from __future__ import annotations

import ctypes
import platform
from functools import cache
from typing import Any

import numpy as np
import pytest

from tests.codegen.kernel_samples import Case, copies
from torsh.codegen.kernel_ir import Kernel
from torsh.codegen.llvm_emit import emit_cpu
from torsh.codegen.target import Target, host

_AVX2 = "+avx2,+fma,+f16c,+bmi,+bmi2,+popcnt,+lzcnt"


@cache
def targets() -> tuple[Target, ...]:
    """The host, and on x86-64 what older processors have."""
    own = host()
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return (own,)
    narrower = [Target("sse", own.triple, "x86-64", "", 16)]
    if own.vector_bytes >= 32:
        narrower.append(Target("avx2", own.triple, "haswell", _AVX2, 32))
    return (*narrower, own) if own.vector_bytes == 64 else tuple(narrower)


@cache
def machine(target: Target, jit: bool = True) -> Any:
    from llvmlite import binding
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    return binding.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=2, jit=jit)


_engines: list[Any] = []


def compile_kernel(kernel: Kernel, target: Target) -> list[Any]:
    """The phases of a kernel as callables of (args address, begin, end)."""
    from llvmlite import binding
    tm = machine(target)
    module = binding.parse_assembly(emit_cpu(kernel, "f", target))
    module.verify()
    options = binding.create_pipeline_tuning_options(speed_level=2)
    passes = binding.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_simplify_cfg_pass()
    passes.run(module, binding.create_pass_builder(tm, options))
    engine = binding.create_mcjit_compiler(module, binding.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=2, jit=True))
    engine.finalize_object()
    _engines.append(engine)
    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    return [kind(engine.get_function_address(f"f_p{i}")) for i in range(len(kernel.phases))]


def guarded(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A copy of `array` with a border around it, so that writes outside show."""
    whole = np.full(array.nbytes + 256, 0xA5, np.uint8)
    part = whole[128:128 + array.nbytes].view(array.dtype)
    part[:] = array
    return whole, part


def run_native(case: Case, target: Target, functions: list[Any] | None = None) -> dict[int, np.ndarray]:
    """The arrays after running a case, its work items in two portions."""
    pairs = {slot: guarded(a) for slot, a in case.arrays.items()}
    arrays = {slot: part for slot, (_, part) in pairs.items()}
    table = case.arguments(arrays)
    for phase, function in zip(case.kernel.phases, functions or compile_kernel(case.kernel, target)):
        items = case.items(phase)
        half = items // 2
        function(table.ctypes.data, 0, half)
        function(table.ctypes.data, half, items)
    for slot, (whole, part) in pairs.items():
        if not (np.all(whole[:128] == 0xA5) and np.all(whole[128 + part.nbytes:] == 0xA5)):
            pytest.fail(f"written outside the buffer in slot {slot}")
    return copies(arrays)

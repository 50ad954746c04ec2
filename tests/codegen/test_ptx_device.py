"""Kernels on an NVIDIA device, against the interpreter. Left out where there is none (and no `cuda-bindings`)."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from tests.codegen import kernel_samples as samples
from tests.codegen.kernel_samples import Case
from tests.codegen.random_kernels import random_kernels
from tests.codegen.test_emit import elementwise, operations
from torsh.codegen.interpret import run
from torsh.codegen.kernel_ir import COMPUTE_DTYPES
from torsh.codegen.llvm_ptx import emit_ptx

driver = pytest.importorskip("cuda.bindings.driver")


def ask(result: tuple[Any, ...]) -> Any:
    """What a call of the driver gave. Raises RuntimeError for an error."""
    error, *values = result
    if error != driver.CUresult.CUDA_SUCCESS:
        raise RuntimeError(f"CUDA: {error}")
    return values[0] if values else None


@pytest.fixture(scope="module")
def processor() -> str:
    try:
        ask(driver.cuInit(0))
        device = ask(driver.cuDeviceGet(0))
    except RuntimeError as error:
        pytest.skip(f"no device: {error}")
    ask(driver.cuCtxSetCurrent(ask(driver.cuDevicePrimaryCtxRetain(device))))
    major, minor = (ask(driver.cuDeviceGetAttribute(attribute, device)) for attribute in (
        driver.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, driver.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR))
    return f"sm_{major}{minor}"


def on_device(case: Case, processor: str, blocks: int, threads: int) -> dict[int, np.ndarray]:
    """The arrays after running a case, with a border around each that must not change."""
    module = ask(driver.cuModuleLoadData(emit_ptx(case.kernel, "k", processor).encode() + b"\0"))
    memory, whole = {}, {}
    try:
        for slot, array in case.arrays.items():
            whole[slot] = np.full(array.nbytes + 512, 0xA5, np.uint8)
            whole[slot][256:256 + array.nbytes] = array.reshape(-1).view(np.uint8)
            memory[slot] = ask(driver.cuMemAlloc(whole[slot].nbytes))
            ask(driver.cuMemcpyHtoD(memory[slot], whole[slot].ctypes.data, whole[slot].nbytes))
        table = case.arguments({})
        for slot in case.arrays:
            table[slot] = int(memory[slot]) + 256
        arguments = memory[-1] = ask(driver.cuMemAlloc(table.nbytes))
        ask(driver.cuMemcpyHtoD(arguments, table.ctypes.data, table.nbytes))
        for number, phase in enumerate(case.kernel.phases):
            entry = ask(driver.cuModuleGetFunction(module, f"k_p{number}".encode()))
            values = [np.array(v, np.uint64) for v in (int(arguments), 0, case.items(phase))]
            pointers = np.array([v.ctypes.data for v in values], np.uint64)
            ask(driver.cuLaunchKernel(entry, blocks, 1, 1, threads, 1, 1, 0, 0, pointers.ctypes.data, 0))
        ask(driver.cuCtxSynchronize())
        found = {}
        for slot, array in case.arrays.items():
            ask(driver.cuMemcpyDtoH(whole[slot].ctypes.data, memory[slot], whole[slot].nbytes))
            border = np.concatenate([whole[slot][:256], whole[slot][256 + array.nbytes:]])
            assert (border == 0xA5).all(), f"slot {slot}: written outside"
            found[slot] = whole[slot][256:256 + array.nbytes].view(array.dtype).reshape(array.shape)
        return found
    finally:
        for address in memory.values():
            ask(driver.cuMemFree(address))
        ask(driver.cuModuleUnload(module))


def compared(case: Case, processor: str, blocks: int, threads: int) -> None:
    wanted = samples.copies(case.arrays)
    run(case.kernel, case.arguments({}), wanted)
    samples.assert_same(case, on_device(case, processor, blocks, threads), wanted)


@pytest.mark.parametrize("name", [name for name in samples.SAMPLES if name != "one_place"])  # which of many stores to one place stays is open
def test_samples_agree_with_the_interpreter(name: str, processor: str) -> None:
    for n in (0, 1, 70, 1000):
        for blocks, threads in ((1, 32), (3, 128), (40, 1024)):
            compared(samples.SAMPLES[name](n, np.random.default_rng(n)), processor, blocks, threads)


@pytest.mark.parametrize("dtype", COMPUTE_DTYPES)
def test_every_operation_agrees_with_the_interpreter(dtype: str, processor: str, rng: np.random.Generator) -> None:
    values = operations(dtype)
    compared(elementwise([dtype, dtype, "bool"], [v for v, _ in values], 500, rng, [d for _, d in values]), processor, 2, 64)


def test_random_kernels_agree_with_the_interpreter(processor: str) -> None:
    @settings(max_examples=100)
    @given(random_kernels())
    def agree(case: Case) -> None:
        compared(case, processor, 4, 64)
    agree()

"""Executes kernels translated for NVIDIA processors on this one: a thread of the system for each thread of a block.

The LLVM IR is compiled for the host, with the special registers, the barrier and the shuffle calling back here. So the
division of work, the barriers and the reductions over a block are tested where there is no device.
"""
from __future__ import annotations

import ctypes
import threading
from typing import Any

import numpy as np

from tests.codegen.kernel_samples import Case, copies
from torsh.codegen.llvm_ptx import TRIPLE, emit_nvptx
from torsh.codegen.target import host

_U32, _VOID = ctypes.CFUNCTYPE(ctypes.c_uint32), ctypes.CFUNCTYPE(None, ctypes.c_uint32)
_SHUFFLE = ctypes.CFUNCTYPE(ctypes.c_uint32, *[ctypes.c_uint32] * 4)


class Grid:
    """`blocks` blocks of `threads` threads, run block after block."""

    def __init__(self, blocks: int, threads: int) -> None:
        self.blocks, self.threads = blocks, threads
        self.own = threading.local()
        self.block_barrier = threading.Barrier(threads, timeout=30)
        self.warp_barriers = [threading.Barrier(32, timeout=30) for _ in range(threads // 32)]
        self.values = [0] * threads
        self.callbacks = {
            "llvm.nvvm.read.ptx.sreg.tid.x": _U32(lambda: self.own.thread),
            "llvm.nvvm.read.ptx.sreg.ntid.x": _U32(lambda: self.threads),
            "llvm.nvvm.read.ptx.sreg.ctaid.x": _U32(lambda: self.own.block),
            "llvm.nvvm.read.ptx.sreg.nctaid.x": _U32(lambda: self.blocks),
            "llvm.nvvm.barrier.cta.sync.aligned.all": _VOID(self._barrier),
            "llvm.nvvm.shfl.sync.bfly.i32": _SHUFFLE(self._shuffle)}
        self.errors: list[BaseException] = []

    def _barrier(self, number: int) -> None:
        self._wait(self.block_barrier)

    def _shuffle(self, members: int, value: int, mask: int, clamp: int) -> int:
        thread = self.own.thread
        barrier = self.warp_barriers[thread // 32]
        self.values[thread] = value
        self._wait(barrier)
        result = self.values[thread ^ mask]
        self._wait(barrier)
        return result

    def _wait(self, barrier: threading.Barrier) -> None:
        try:
            barrier.wait()
        except threading.BrokenBarrierError as error:
            self.errors.append(error)  # an exception does not cross the compiled code

    def run(self, function: Any, arguments: tuple[int, int, int]) -> None:
        for block in range(self.blocks):
            def work(thread: int, block: int = block) -> None:
                self.own.thread, self.own.block = thread, block
                function(*arguments)
            threads = [threading.Thread(target=work, args=(t,)) for t in range(self.threads)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            if self.errors:
                raise AssertionError("threads of a block did not meet at a barrier or a shuffle")


_kept: list[Any] = []


def compile_for_grid(case: Case, grid: Grid) -> list[Any]:
    from llvmlite import binding
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    text = emit_nvptx(case.kernel, "f").replace("addrspace(1) ", "").replace("addrspace(3) ", "")
    text = text.replace(" addrspace(1)", "").replace("ptx_kernel ", "").replace(f'target triple = "{TRIPLE}"', "")
    declarations = ""
    for number, (name, callback) in enumerate(grid.callbacks.items()):
        text = text.replace(f"@{name}(", f"@callback{number}(")
        result = "void" if "barrier" in name else "i32"
        parameters = ", ".join(["i32"] * len(callback.argtypes))
        declarations += f"declare {result} @callback{number}({parameters})\n"
    module = binding.parse_assembly(text + declarations)
    engine = binding.create_mcjit_compiler(module, binding.Target.from_default_triple().create_target_machine(
        cpu=host().cpu, features=host().features, jit=True))
    for number, callback in enumerate(grid.callbacks.values()):
        address = ctypes.cast(callback, ctypes.c_void_p).value
        engine.add_global_mapping(module.get_function(f"callback{number}"), address)
    engine.finalize_object()
    _kept.append((engine, grid))
    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    return [kind(engine.get_function_address(f"f_p{i}")) for i in range(len(case.kernel.phases))]


def run_on_grid(case: Case, grid: Grid, functions: list[Any] | None = None) -> dict[int, np.ndarray]:
    """The arrays after running a case."""
    arrays = copies(case.arrays)
    table = case.arguments(arrays)
    for phase, function in zip(case.kernel.phases, functions or compile_for_grid(case, grid)):
        grid.run(function, (table.ctypes.data, 0, case.items(phase)))
    return arrays

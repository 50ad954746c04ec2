"""Whether the processor replaces denormal numbers by zero: a bit or two of each thread's floating-point control register.

x86: FTZ and DAZ, bits 15 and 6 of MXCSR (Intel 64 manual, volume 1, 10.2.3); Arm: FZ, bit 24 of FPCR (Arm ARM, C5.2.8).
"""
from __future__ import annotations

import ctypes
import functools
import platform
from typing import Any

from torsh.codegen import compile as codegen
from torsh.runtime.cpu.executor import renew_threads

_X86 = """
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)
define void @flush_denormal(i32 %on) {
  %place = alloca i32
  call void @llvm.x86.sse.stmxcsr(ptr %place)
  %old = load i32, ptr %place
  %cleared = and i32 %old, -32833
  %bits = mul i32 %on, 32832
  %new = or i32 %cleared, %bits
  store i32 %new, ptr %place
  call void @llvm.x86.sse.ldmxcsr(ptr %place)
  ret void
}
"""
_ARM = """
define void @flush_denormal(i32 %on) {
  %old = call i64 asm sideeffect "mrs $0, fpcr", "=r"()
  %cleared = and i64 %old, -16777217
  %wide = zext i32 %on to i64
  %bits = shl i64 %wide, 24
  %new = or i64 %cleared, %bits
  call void asm sideeffect "msr fpcr, $0", "r"(i64 %new)
  ret void
}
"""


@functools.cache
def _setter() -> Any:
    """The compiled function, or None for a processor that it is not written for."""
    text = {"x86_64": _X86, "AMD64": _X86, "aarch64": _ARM, "arm64": _ARM}.get(platform.machine())
    if text is None:
        return None
    made = codegen.load([("flush_denormal-1", lambda: text, ("flush_denormal",))])
    return ctypes.CFUNCTYPE(None, ctypes.c_int32)(made["flush_denormal-1"]["flush_denormal"])


def set_flush_denormal(mode: bool) -> bool:
    """Let the calling thread, and the threads that share its work, replace denormal numbers by zero from now on (or not).

    Returns whether the processor can do so. Raises RuntimeError unless `mode` is a bool.
    """
    if not isinstance(mode, bool):
        raise RuntimeError(f"flush_denormal expects a bool, but got {type(mode).__name__}")
    setter = _setter()
    if setter is None:
        return False
    setter(int(mode))
    renew_threads()  # new threads take the register of the one that starts them
    return True

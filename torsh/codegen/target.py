"""The machine code is made for: what identifies it, and what LLVM must be told about it.

Knowing the host must be cheap: importing llvmlite costs some 55 ms, and a process whose kernels are all in the
disk cache never needs it. So on Linux the host is identified by what the kernel says of the processor, and LLVM's
names for the processor and its features are asked for only when something is compiled.
"""
from __future__ import annotations

import functools
import os
import sys
import zlib

#: /proc/cpuinfo lines that decide which instructions may be used and how LLVM schedules them (x86-64, AArch64).
_IDENTITY = (b"vendor_id", b"cpu family", b"model", b"flags", b"CPU implementer", b"CPU part", b"Features")


class Target:
    """A processor and platform to compile for.

    `name` identifies the target in cache keys, `vector_bytes` is the width of a vector register to use.
    `cpu` and `features` are LLVM's names; for a host they are looked up on first use, which loads llvmlite.

    >>> Target("plain", "x86_64-unknown-linux-gnu", "x86-64", "", 16).vector_bytes
    16
    """
    __slots__ = ("name", "triple", "vector_bytes", "_cpu", "_features")

    def __init__(self, name: str, triple: str, cpu: str | None, features: str | None, vector_bytes: int) -> None:
        self.name = name
        self.triple = triple
        self.vector_bytes = vector_bytes
        self._cpu = cpu
        self._features = features

    @property
    def arch(self) -> str:
        """ "x86_64" or "aarch64", as the triple spells it ("arm64" on macOS)."""
        return self.triple.partition("-")[0]

    @property
    def cpu(self) -> str:
        """LLVM's name of the processor, such as "znver3"."""
        if self._cpu is None:
            from llvmlite import binding
            self._cpu = binding.get_host_cpu_name()
        return self._cpu

    @property
    def features(self) -> str:
        """LLVM's feature string, such as "+avx2,+fma"."""
        if self._features is None:
            from llvmlite import binding
            self._features = binding.get_host_cpu_features().flatten()
        return self._features

    @property
    def own_loader(self) -> bool:
        """True where `codegen.elf` loads code; elsewhere llvmlite's MCJIT does."""
        return self.triple.partition("-")[0] in ("x86_64", "aarch64") and "-linux" in self.triple

    def __repr__(self) -> str:
        return f"Target({self.name!r}, {self.triple!r}, vector_bytes={self.vector_bytes})"


def _machine() -> str:
    if hasattr(os, "uname"):
        machine = os.uname().machine
    else:
        import platform
        machine = platform.machine()
    machine = machine.lower()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)


def _triple(machine: str) -> str:
    if sys.platform == "darwin":
        return "arm64-apple-darwin" if machine == "aarch64" else f"{machine}-apple-darwin"
    if sys.platform == "win32":
        return f"{machine}-pc-windows-msvc"
    return f"{machine}-unknown-linux-gnu"


def _first_processor() -> dict[bytes, bytes]:
    """The identifying lines of /proc/cpuinfo for the first processor.

    Read only as far as needed: on a machine with many cores the whole file takes milliseconds to make.
    """
    lines: dict[bytes, bytes] = {}
    with open("/proc/cpuinfo", "rb", buffering=0) as file:
        text = file.read(16384)
    for line in text.split(b"\n\n", 1)[0].split(b"\n"):
        name, _, value = line.partition(b":")
        name = name.strip()
        if name in _IDENTITY:
            lines[name] = value.strip()
    return lines


def _vector_bytes(machine: str, flags: set[str]) -> int:
    if machine == "x86_64":
        if {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= flags:
            return 64
        if {"avx2", "fma"} <= flags:
            return 32
    return 16


@functools.cache
def host() -> Target:
    """The target for this process: the processor it runs on, or plain x86-64 when TORSH_CPU=baseline.

    Raises ValueError for another value of TORSH_CPU than "native" and "baseline".
    """
    choice = os.environ.get("TORSH_CPU", "native")
    if choice not in ("native", "baseline"):
        raise ValueError(f"TORSH_CPU must be 'native' or 'baseline', not {choice!r}")
    machine = _machine()
    triple = _triple(machine)
    if choice == "baseline":
        return Target(f"{triple}/baseline", triple, "x86-64" if machine == "x86_64" else "generic", "", 16)
    if sys.platform.startswith("linux"):
        processor = _first_processor()
        flags = set(processor.get(b"flags", b"").decode().split())
        digest = zlib.crc32(repr(sorted(processor.items())).encode())
        return Target(f"{triple}/{digest:08x}", triple, None, None, _vector_bytes(machine, flags))
    # MCJIT loads the code on these platforms, so llvmlite is needed in any case.
    from llvmlite import binding
    names = binding.get_host_cpu_features()
    cpu, features = binding.get_host_cpu_name(), names.flatten()
    digest = zlib.crc32(f"{cpu} {features}".encode())
    enabled = {name for name, on in names.items() if on}
    return Target(f"{triple}/{digest:08x}", triple, cpu, features, _vector_bytes(machine, enabled))


@functools.cache
def _flags() -> frozenset[str]:
    """What the kernel says that the processor has; nothing elsewhere than on Linux."""
    if not sys.platform.startswith("linux"):
        return frozenset()
    processor = _first_processor()
    return frozenset((processor.get(b"flags", b"") + b" " + processor.get(b"Features", b"")).decode().split())


@functools.cache
def amx(numbers: str = "bf16") -> bool:
    """Whether this process may use the tile registers of the host for bfloat16 ("bf16") or 8-bit integers ("int8"): the processor has them and Linux
    grants them.

    They are granted for good, to all threads; asking costs a microsecond."""
    if not sys.platform.startswith("linux") or _machine() != "x86_64" or host().vector_bytes != 64:
        return False
    if not {"amx_tile", f"amx_{numbers}"} <= _flags():
        return False
    import ctypes
    arch_prctl, request_permission, tile_data = 158, 0x1023, 18
    return ctypes.CDLL(None).syscall(arch_prctl, request_permission, tile_data) == 0


@functools.cache
def int8_way(target: Target) -> str:
    """How products of 8-bit integers are summed there (see `gemm_int8`): "amx", "dot" (x86's dot products, in vectors), "sdot" (AArch64's) or "madd",
    with integers of 16 bits, which every processor has. Of other targets than the host nothing is known but their vectors."""
    if target is not host() or target.name.endswith("/baseline"):
        return "madd"
    if target.arch == "x86_64":
        if amx("int8"):
            return "amx"
        return "dot" if {64: "avx512_vnni", 32: "avx_vnni"}.get(target.vector_bytes) in _flags() else "madd"
    return "sdot" if "asimddp" in _flags() and target.arch in ("aarch64", "arm64") else "madd"

"""Linked code and its way into memory, without LLVM.

An `Image` is one run of bytes in which all references within are resolved, plus what can only be known once it has an
address: the external functions it calls and the places that hold addresses of the image itself. The disk cache stores
images, so a process which finds its kernels there copies bytes and runs: `place` maps them into memory, written first
and then made executable, never both at once. `elf.link` makes images.
"""
from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterable, Sequence


class ImageError(RuntimeError):
    """Code cannot be loaded."""


class Image:
    """Linked code: position-independent but for what is listed.

    `symbols` maps names to offsets. `externals` are (offset, name, addend): 8 bytes at offset receive the symbol's
    address plus addend. `rebases` are (offset, value): 8 bytes at offset receive the image's address plus value.
    """
    __slots__ = ("alignment", "code", "externals", "rebases", "symbols")

    def __init__(self, code: bytes, alignment: int, symbols: dict[str, int], externals: list[tuple[int, str, int]],
                 rebases: list[tuple[int, int]]) -> None:
        self.code = code
        self.alignment = alignment
        self.symbols = symbols
        self.externals = externals
        self.rebases = rebases

    def to_bytes(self) -> bytes:
        """The image as bytes: a line of sizes, lines of symbols, externals and rebases, then the code."""
        lines = [f"{self.alignment} {len(self.symbols)} {len(self.externals)} {len(self.rebases)}"]
        lines += [f"{name} {offset}" for name, offset in self.symbols.items()]
        lines += [f"{offset} {name} {addend}" for offset, name, addend in self.externals]
        lines += [f"{offset} {value}" for offset, value in self.rebases]
        text = "\n".join(lines).encode()
        return len(text).to_bytes(4, "little") + text + self.code

    @staticmethod
    def from_bytes(data: bytes) -> Image:
        """The inverse of `to_bytes`."""
        end = 4 + int.from_bytes(data[:4], "little")
        lines = [line.split(" ") for line in data[4:end].decode().split("\n")]
        alignment, symbols, externals, rebases = map(int, lines[0])
        a, b = 1 + symbols, 1 + symbols + externals
        return Image(data[end:], alignment,
                     {name: int(offset) for name, offset in lines[1:a]},
                     [(int(offset), name, int(addend)) for offset, name, addend in lines[a:b]],
                     [(int(offset), int(value)) for offset, value in lines[b:b + rebases]])


#: Mapped code is never unmapped: plans hold plain addresses of it.
_mapped: list[mmap.mmap] = []
_libraries: list[ctypes.CDLL] = []


def external(name: str) -> int:
    """The address of a function or variable of the process: libc, libm, libpthread or the Python interpreter.

    Raises ImageError when there is none of that name.
    """
    if not _libraries:
        _libraries.append(ctypes.pythonapi)
        _libraries.append(ctypes.CDLL(None))
    for library in _libraries:
        try:
            return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
        except AttributeError:
            continue
    if len(_libraries) == 2:
        # A statically linked interpreter may have left libm out of the global scope.
        try:
            _libraries.append(ctypes.CDLL("libm.so.6"))
        except OSError:
            pass
        else:
            return external(name)
    raise ImageError(f"compiled code calls {name!r}, which no loaded library defines")


def place(images: Sequence[Image]) -> list[int]:
    """Map images into executable memory, together; returns the address of each.

    Raises ImageError for an external symbol that is not there, OSError when the system refuses memory.
    """
    offsets = []
    size = 0
    for image in images:
        size += -size % image.alignment
        offsets.append(size)
        size += len(image.code)
    if not size:
        return [0] * len(images)
    resolved = {name: external(name) for name in _external_names(images)}
    memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ | mmap.PROT_WRITE)
    anchor = ctypes.c_char.from_buffer(memory)
    base = ctypes.addressof(anchor)
    for image, offset in zip(images, offsets):
        memory[offset:offset + len(image.code)] = image.code
        for at, name, addend in image.externals:
            memory[offset + at:offset + at + 8] = (resolved[name] + addend).to_bytes(8, "little")
        for at, value in image.rebases:
            memory[offset + at:offset + at + 8] = (base + offset + value).to_bytes(8, "little")
    # The kernel makes the instruction cache coherent when it first maps a page executable (AArch64 needs that).
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    protect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    if protect(base, size, mmap.PROT_READ | mmap.PROT_EXEC):
        code = ctypes.get_errno()
        raise OSError(code, f"cannot make {size} bytes of compiled code executable")
    _mapped.append(memory)
    return [base + offset for offset in offsets]


def _external_names(images: Iterable[Image]) -> set[str]:
    return {name for image in images for _, name, _ in image.externals}

"""Relocatable ELF objects into images, without LLVM.

`link` resolves all references within an object that LLVM emitted (x86-64 or AArch64, position-independent, small code
model), and lists the rest; `image.place` does the rest when the code is loaded.

What such code does not need is refused, not ignored: writable data, thread-local storage, initializers. Unwind tables
are dropped: the code must be `nounwind`.

The formats are those of the System V ABI's ELF-64 and its supplements for x86-64 and for AArch64 (AAELF64).
"""
from __future__ import annotations

import struct
from typing import NamedTuple

from torsh.codegen.image import Image

_EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
_SHDR = struct.Struct("<IIQQQQIIQQ")
_SYM = struct.Struct("<IBBHQQ")
_RELA = struct.Struct("<QQq")

_EM_X86_64, _EM_AARCH64 = 62, 183
_ET_REL = 1
_SHT_PROGBITS, _SHT_SYMTAB, _SHT_RELA, _SHT_NOBITS = 1, 2, 4, 8
_SHF_WRITE, _SHF_ALLOC, _SHF_EXECINSTR, _SHF_TLS = 1, 2, 4, 0x400
_SHN_UNDEF, _SHN_ABS, _SHN_COMMON = 0, 0xFFF1, 0xFFF2
_DROPPED = (".eh_frame", ".note", ".debug", ".llvm", ".comment")
_PAGE = 4096  # what ADRP counts in; not the system's page size


class ElfError(RuntimeError):
    """An object holds something this loader does not handle."""


class _Section(NamedTuple):
    name: str
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int


class _Symbol(NamedTuple):
    name: str
    section: int
    value: int
    is_global: bool


def link(data: bytes) -> Image:
    """Link one relocatable object. Raises ElfError for content it does not handle, naming it."""
    machine, sections = _sections(data)
    symbols = _symbols(data, sections)
    linker = _LINKERS[machine](data, sections, symbols)
    return linker.link()


def _sections(data: bytes) -> tuple[int, list[_Section]]:
    if len(data) < _EHDR.size or data[:6] != b"\x7fELF\x02\x01":
        raise ElfError("not a 64-bit little-endian ELF file")
    fields = _EHDR.unpack_from(data)
    kind, machine, table, entry_size, count, names_index = (fields[i] for i in (1, 2, 6, 11, 12, 13))
    if kind != _ET_REL or machine not in _LINKERS or entry_size != _SHDR.size:
        raise ElfError(f"not a relocatable object for x86-64 or AArch64 (type {kind}, machine {machine})")
    if count == 0 or names_index == 0xFFFF:
        raise ElfError("more sections than the file header can count")
    raw = [_SHDR.unpack_from(data, table + i * _SHDR.size) for i in range(count)]
    names = raw[names_index][4]
    return machine, [_Section(_string(data, names + name), kind, flags, offset, size, link, info, max(1, alignment))
                     for name, kind, flags, _, offset, size, link, info, alignment, _ in raw]


def _string(data: bytes, offset: int) -> str:
    return data[offset:data.index(b"\0", offset)].decode()


def _symbols(data: bytes, sections: list[_Section]) -> list[_Symbol]:
    for section in sections:
        if section.kind == _SHT_SYMTAB:
            strings = sections[section.link].offset
            result = []
            for at in range(section.offset, section.offset + section.size, _SYM.size):
                name, info, _, index, value, _ = _SYM.unpack_from(data, at)
                result.append(_Symbol(_string(data, strings + name), index, value, info >> 4 != 0))
            return result
    return []


class _Linker:
    """Lays out an object's sections and resolves its relocations; subclasses know the processor's."""

    stub_bytes: int

    def __init__(self, data: bytes, sections: list[_Section], symbols: list[_Symbol]) -> None:
        self.data = data
        self.sections = sections
        self.symbols = symbols
        self.image = bytearray()
        self.alignment = 16
        self.starts: dict[int, int] = {}
        self.externals: list[tuple[int, str, int]] = []
        self.rebases: list[tuple[int, int]] = []
        self.slots: dict[int, int] = {}
        self.stubs: dict[int, int] = {}

    def link(self) -> Image:
        # Code first and the rest after, so that what runs together lies together.
        wanted = [i for i, section in enumerate(self.sections) if self._is_loaded(section)]
        for index in sorted(wanted, key=lambda i: not self.sections[i].flags & _SHF_EXECINSTR):
            section = self.sections[index]
            self._align(section.alignment)
            self.starts[index] = len(self.image)
            self.image += self.data[section.offset:section.offset + section.size]
        for section in self.sections:
            if section.kind == _SHT_RELA and section.info in self.starts:
                start = self.starts[section.info]
                for at in range(section.offset, section.offset + section.size, _RELA.size):
                    offset, info, addend = _RELA.unpack_from(self.data, at)
                    self.relocate(start + offset, info & 0xFFFFFFFF, info >> 32, addend)
        names = {symbol.name: self.starts[symbol.section] + symbol.value for symbol in self.symbols
                 if symbol.is_global and symbol.section in self.starts}
        return Image(bytes(self.image), self.alignment, names, self.externals, self.rebases)

    def relocate(self, place: int, kind: int, symbol: int, addend: int) -> None:
        raise NotImplementedError

    def stub(self, symbol: int) -> int:
        """The offset of code that jumps to an external function, which may lie out of a call's reach."""
        raise NotImplementedError

    def target(self, symbol: int) -> int | None:
        """A symbol's offset in the image, or None for an external one."""
        entry = self.symbols[symbol]
        if entry.section == _SHN_UNDEF:
            return None
        if entry.section not in self.starts:
            raise ElfError(f"symbol {entry.name!r} lies in a section that is not loaded ({self._where(entry.section)})")
        return self.starts[entry.section] + entry.value

    def code_target(self, symbol: int) -> int:
        """Where a call of the symbol must go, within the image."""
        target = self.target(symbol)
        if target is not None:
            return target
        if symbol not in self.stubs:
            self.stubs[symbol] = self.stub(symbol)
        return self.stubs[symbol]

    def data_target(self, symbol: int, kind: int) -> int:
        target = self.target(symbol)
        if target is None:
            raise ElfError(f"relocation {kind} refers to {self.symbols[symbol].name!r} outside the object: "
                           "emit code with relocation model 'pic'")
        return target

    def slot(self, symbol: int) -> int:
        """The offset of 8 bytes that hold the symbol's address at run time."""
        if symbol not in self.slots:
            self._align(8)
            self.slots[symbol] = len(self.image)
            self.image += bytes(8)
            self.absolute(self.slots[symbol], symbol, 0)
        return self.slots[symbol]

    def absolute(self, place: int, symbol: int, addend: int) -> None:
        target = self.target(symbol)
        if target is None:
            self.externals.append((place, self.symbols[symbol].name, addend))
        else:
            self.rebases.append((place, target + addend))

    def unknown(self, kind: int, symbol: int) -> ElfError:
        return ElfError(f"unsupported relocation {kind} against {self.symbols[symbol].name!r}")

    def put(self, place: int, size: int, value: int, kind: int) -> None:
        """Store a signed value of `size` bytes."""
        try:
            self.image[place:place + size] = value.to_bytes(size, "little", signed=True)
        except OverflowError:
            raise ElfError(f"relocation {kind} out of range: {value:#x} in {size} bytes") from None

    def _align(self, alignment: int) -> None:
        self.alignment = max(self.alignment, alignment)
        self.image += bytes(-len(self.image) % alignment)

    def _where(self, index: int) -> str:
        special = {_SHN_ABS: "absolute", _SHN_COMMON: "common"}
        return special.get(index) or self.sections[index].name

    def _is_loaded(self, section: _Section) -> bool:
        if not section.flags & _SHF_ALLOC or not section.size or section.name.startswith(_DROPPED):
            return False
        # .data.rel.ro is writable only until its addresses are filled in.
        constant = not section.flags & _SHF_WRITE or section.name.startswith(".data.rel.ro")
        if section.kind != _SHT_PROGBITS or section.flags & _SHF_TLS or not constant:
            raise ElfError(f"section {section.name!r}: code must have no writable or thread-local data "
                           "and no initializers")
        return True


class _X86(_Linker):
    def stub(self, symbol: int) -> int:
        slot = self.slot(symbol)
        self._align(16)
        at = len(self.image)
        self.image += b"\xff\x25" + (slot - (at + 6)).to_bytes(4, "little", signed=True)  # jmp *slot(%rip)
        return at

    def relocate(self, place: int, kind: int, symbol: int, addend: int) -> None:
        if kind == 2:  # PC32
            self.put(place, 4, self.data_target(symbol, kind) + addend - place, kind)
        elif kind == 4:  # PLT32
            self.put(place, 4, self.code_target(symbol) + addend - place, kind)
        elif kind in (9, 41, 42):  # GOTPCREL, GOTPCRELX, REX_GOTPCRELX
            self.put(place, 4, self.slot(symbol) + addend - place, kind)
        elif kind == 1:  # 64
            self.absolute(place, symbol, addend)
        elif kind == 24:  # PC64
            self.put(place, 8, self.data_target(symbol, kind) + addend - place, kind)
        else:
            raise self.unknown(kind, symbol)


class _AArch64(_Linker):
    #: Low 12 bits of an address, scaled by the width of the access.
    _LOW12 = {277: 0, 278: 0, 284: 1, 285: 2, 286: 3, 299: 4}
    #: PC-relative immediates counted in instructions: (bits, position of the lowest).
    _BRANCH = {279: (14, 5), 280: (19, 5), 282: (26, 0), 283: (26, 0)}

    def stub(self, symbol: int) -> int:
        slot = self.slot(symbol)
        self._align(8)
        at = len(self.image)
        self.image += bytes(8)
        self._insert(at, 0x58000010, 19, 5, (slot - at) >> 2, 0)  # ldr x16, slot
        self.image[at + 4:at + 8] = (0xD61F0200).to_bytes(4, "little")  # br x16
        return at

    def relocate(self, place: int, kind: int, symbol: int, addend: int) -> None:
        if kind in self._BRANCH:
            bits, low = self._BRANCH[kind]
            self._insert(place, None, bits, low, (self.code_target(symbol) + addend - place) >> 2, kind)
        elif kind == 275:  # ADR_PREL_PG_HI21
            self._page(place, self.data_target(symbol, kind) + addend, kind)
        elif kind == 274:  # ADR_PREL_LO21
            self._adr(place, self.data_target(symbol, kind) + addend - place, kind)
        elif kind in self._LOW12:
            self._low12(place, self.data_target(symbol, kind) + addend, self._LOW12[kind])
        elif kind == 311:  # ADR_GOT_PAGE
            self._page(place, self.slot(symbol) + addend, kind)
        elif kind == 312:  # LD64_GOT_LO12_NC
            self._low12(place, self.slot(symbol) + addend, 3)
        elif kind == 257:  # ABS64
            self.absolute(place, symbol, addend)
        elif kind == 260:  # PREL64
            self.put(place, 8, self.data_target(symbol, kind) + addend - place, kind)
        elif kind == 261:  # PREL32
            self.put(place, 4, self.data_target(symbol, kind) + addend - place, kind)
        else:
            raise self.unknown(kind, symbol)

    def _insert(self, place: int, word: int | None, bits: int, low: int, value: int, kind: int) -> None:
        """Set a signed field of the instruction at `place` (of `word` where there is none yet)."""
        if not -(1 << bits - 1) <= value < 1 << bits - 1:
            raise ElfError(f"relocation {kind} out of range: {value:#x} in {bits} bits")
        if word is None:
            word = int.from_bytes(self.image[place:place + 4], "little")
        mask = (1 << bits) - 1
        word = word & ~(mask << low) | (value & mask) << low
        self.image[place:place + 4] = word.to_bytes(4, "little")

    def _adr(self, place: int, value: int, kind: int) -> None:
        if not -(1 << 20) <= value < 1 << 20:
            raise ElfError(f"relocation {kind} out of range: {value:#x}")
        word = int.from_bytes(self.image[place:place + 4], "little") & ~(3 << 29 | 0x7FFFF << 5)
        word |= (value & 3) << 29 | (value >> 2 & 0x7FFFF) << 5
        self.image[place:place + 4] = word.to_bytes(4, "little")

    def _page(self, place: int, target: int, kind: int) -> None:
        self.alignment = max(self.alignment, _PAGE)  # pages of offsets are pages of addresses only then
        self._adr(place, (target >> 12) - (place >> 12), kind)

    def _low12(self, place: int, target: int, scale: int) -> None:
        self.alignment = max(self.alignment, _PAGE)
        low = target & 0xFFF
        if low & ((1 << scale) - 1):
            raise ElfError(f"target {target:#x} of a {1 << scale}-byte access is not aligned")
        word = int.from_bytes(self.image[place:place + 4], "little") & ~(0xFFF << 10)
        self.image[place:place + 4] = (word | (low >> scale) << 10).to_bytes(4, "little")


_LINKERS: dict[int, type[_Linker]] = {_EM_X86_64: _X86, _EM_AARCH64: _AArch64}

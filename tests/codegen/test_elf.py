"""Our ELF linker and loader, against LLVM's own MCJIT on the same objects."""
from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from llvmlite import binding

from torsh.codegen import elf, image

binding.initialize_all_targets()
binding.initialize_all_asmprinters()

X86, ARM = "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"
only_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="images are placed on Linux only")

# Each text defines i64 @f(i64).
TEXTS = {
    "arithmetic": """
define i64 @f(i64 %x) nounwind {
  %y = mul i64 %x, %x
  %z = add i64 %y, 7
  ret i64 %z
}""",
    "constant table": """
@table = private constant [8 x i64] [i64 3, i64 1, i64 4, i64 1, i64 5, i64 9, i64 2, i64 6]
define i64 @f(i64 %x) nounwind {
  %i = and i64 %x, 7
  %at = getelementptr [8 x i64], ptr @table, i64 0, i64 %i
  %v = load i64, ptr %at
  ret i64 %v
}""",
    "constants of many widths": """
define i64 @f(i64 %x) nounwind {
  %d = sitofp i64 %x to double
  %e = fmul double %d, 0x400921FB54442D18
  %s = fptrunc double %e to float
  %t = fadd float %s, 0x3FB99999A0000000
  %v0 = insertelement <4 x float> <float 0.5, float 1.25, float 2.75, float 3.5>, float %t, i32 1
  %v1 = fmul <4 x float> %v0, <float 1.5, float 2.5, float 3.5, float 4.5>
  %w = bitcast <4 x float> %v1 to <2 x i64>
  %a = extractelement <2 x i64> %w, i32 0
  %b = extractelement <2 x i64> %w, i32 1
  %c = xor i64 %a, %b
  ret i64 %c
}""",
    "jump table": """
define i64 @f(i64 %x) nounwind {
entry:
  %i = and i64 %x, 7
  switch i64 %i, label %other [i64 0, label %a i64 1, label %b i64 2, label %c i64 3, label %d i64 4, label %e]
a:
  %ra = mul i64 %x, 3
  ret i64 %ra
b:
  %rb = sub i64 100, %x
  ret i64 %rb
c:
  %rc = shl i64 %x, 5
  ret i64 %rc
d:
  %rd = udiv i64 %x, 3
  ret i64 %rd
e:
  %re = xor i64 %x, 12345
  ret i64 %re
other:
  ret i64 -1
}""",
    "table of functions": """
@functions = private constant [2 x ptr] [ptr @double, ptr @square]
define internal i64 @double(i64 %x) nounwind {
  %r = add i64 %x, %x
  ret i64 %r
}
define internal i64 @square(i64 %x) nounwind {
  %r = mul i64 %x, %x
  ret i64 %r
}
define i64 @f(i64 %x) nounwind {
  %i = and i64 %x, 1
  %at = getelementptr [2 x ptr], ptr @functions, i64 0, i64 %i
  %function = load ptr, ptr %at
  %r = call i64 %function(i64 %x)
  ret i64 %r
}""",
    "calls within": """
define i64 @g(i64 %x) nounwind noinline {
  %r = add i64 %x, 41
  ret i64 %r
}
define internal i64 @sum(i64 %x) nounwind noinline {
  %stop = icmp sle i64 %x, 0
  br i1 %stop, label %done, label %more
more:
  %y = sub i64 %x, 1
  %rest = call i64 @sum(i64 %y)
  %r = add i64 %rest, %x
  ret i64 %r
done:
  ret i64 0
}
define i64 @f(i64 %x) nounwind {
  %i = and i64 %x, 63
  %a = call i64 @sum(i64 %i)
  %b = call i64 @g(i64 %a)
  ret i64 %b
}""",
    "external functions": """
declare double @sin(double)
declare i64 @labs(i64)
declare i64 @strtol(ptr, ptr, i32)
@digits = private constant [5 x i8] c"1234\\00"
define i64 @f(i64 %x) nounwind {
  %d = sitofp i64 %x to double
  %s = call double @sin(double %d)
  %b = bitcast double %s to i64
  %a = call i64 @labs(i64 %x)
  %n = call i64 @strtol(ptr @digits, ptr null, i32 10)
  %c = add i64 %a, %b
  %r = add i64 %c, %n
  ret i64 %r
}""",
    "an external function's address": """
declare i64 @labs(i64)
@pointer = constant ptr @labs
define i64 @f(i64 %x) nounwind {
  %function = load volatile ptr, ptr @pointer
  %a = call i64 %function(i64 %x)
  %same = icmp eq ptr %function, @labs
  %one = zext i1 %same to i64
  %r = add i64 %a, %one
  ret i64 %r
}""",
    "aligned vectors and a block copy": """
@big = private constant [64 x i64] zeroinitializer, align 64
@mask = private constant <8 x i64> <i64 1, i64 2, i64 3, i64 4, i64 5, i64 6, i64 7, i64 8>, align 64
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
define i64 @f(i64 %x) nounwind {
  %space = alloca [64 x i64], align 64
  call void @llvm.memcpy.p0.p0.i64(ptr %space, ptr @big, i64 512, i1 false)
  %bits = ptrtoint ptr @mask to i64
  %off = and i64 %bits, 63
  %v = load <8 x i64>, ptr @mask, align 64
  %i = and i64 %x, 7
  %e = extractelement <8 x i64> %v, i64 %i
  %at = getelementptr i64, ptr %space, i64 %i
  %z = load i64, ptr %at
  %s = add i64 %e, %z
  %r = add i64 %s, %off
  ret i64 %r
}""",
}
ARGUMENTS = (0, 1, 2, 3, 4, 5, 17, -3, 1000, 2**40 + 3)


def _object(text: str, triple: str = X86, relocation: str = "pic", optimization: int = 2) -> bytes:
    module = binding.parse_assembly(text)
    machine = binding.Target.from_triple(triple).create_target_machine(
        reloc=relocation, codemodel="small", opt=optimization)
    module.triple = triple
    module.data_layout = str(machine.target_data)
    return machine.emit_object(module)


def _mcjit(text: str) -> tuple[Any, int]:
    module = binding.parse_assembly(text)
    engine = binding.create_mcjit_compiler(
        module, binding.Target.from_triple(binding.get_process_triple()).create_target_machine(jit=True))
    engine.finalize_object()
    return engine, engine.get_function_address("f")


def _call(address: int, arguments: Sequence[int]) -> list[int]:
    function = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(address)
    return [function(argument) for argument in arguments]


def _native() -> str:
    return ARM if binding.get_process_triple().startswith("aarch64") else X86


@only_linux
@pytest.mark.parametrize("optimization", [0, 2])
@pytest.mark.parametrize("name", TEXTS)
def test_computes_what_mcjit_computes(name: str, optimization: int) -> None:
    linked = elf.link(_object(TEXTS[name], _native(), optimization=optimization))
    [base] = image.place([linked])
    engine, address = _mcjit(TEXTS[name])
    assert _call(base + linked.symbols["f"], ARGUMENTS) == _call(address, ARGUMENTS)
    engine.close()


@only_linux
def test_images_survive_storage_and_lie_together() -> None:
    linked = [elf.link(_object(text, _native())) for text in TEXTS.values()]
    stored = [image.Image.from_bytes(each.to_bytes()) for each in linked]
    bases = image.place(stored)
    for text, base, each in zip(TEXTS.values(), bases, stored):
        assert base % each.alignment == 0
        engine, address = _mcjit(text)
        assert _call(base + each.symbols["f"], ARGUMENTS) == _call(address, ARGUMENTS)
        engine.close()


@only_linux
def test_code_is_not_writable() -> None:
    linked = elf.link(_object(TEXTS["table of functions"], _native()))
    [base] = image.place([linked])
    with open("/proc/self/maps", encoding="ascii") as maps:
        for line in maps:
            bounds, permissions = line.split()[:2]
            begin, end = (int(bound, 16) for bound in bounds.split("-"))
            if begin <= base < end:
                assert permissions == "r-xp"
                return
    pytest.fail("the image is not mapped")


def test_an_object_without_content_is_an_empty_image() -> None:
    linked = elf.link(_object("declare void @g()"))
    assert (linked.code, linked.symbols) == (b"", {})
    assert image.place([linked]) == [0]


@only_linux
def test_unknown_external_functions_are_named() -> None:
    text = "declare i64 @torsh_no_such_function(i64)\ndefine i64 @f(i64 %x) nounwind {\n" \
           "  %r = call i64 @torsh_no_such_function(i64 %x)\n  %s = add i64 %r, 1\n  ret i64 %s\n}"
    with pytest.raises(image.ImageError, match="torsh_no_such_function"):
        image.place([elf.link(_object(text, _native()))])


@pytest.mark.parametrize(("text", "message"), [
    ("@counter = global i64 1\ndefine ptr @f() nounwind {\n  ret ptr @counter\n}", "section '.data'"),
    ("@counter = global i64 0\ndefine ptr @f() nounwind {\n  ret ptr @counter\n}", "section '.bss'"),
    ("@local = thread_local global i64 1\ndefine i64 @f() nounwind {\n  %v = load i64, ptr @local\n  ret i64 %v\n}",
     "section '.tdata'"),
    ("@llvm.global_ctors = appending global [1 x {i32, ptr, ptr}] [{i32, ptr, ptr} {i32 1, ptr @f, ptr null}]\n"
     "define void @f() nounwind {\n  ret void\n}", r"section '\.(init_array|ctors)"),
])
def test_what_code_should_not_have_is_refused(text: str, message: str) -> None:
    with pytest.raises(elf.ElfError, match=message):
        elf.link(_object(text))


def test_code_tied_to_an_address_is_refused() -> None:
    with pytest.raises(elf.ElfError, match=r"unsupported relocation 1[01]"):
        elf.link(_object(TEXTS["constant table"], relocation="static"))


def test_other_files_are_refused() -> None:
    with pytest.raises(elf.ElfError, match="not a 64-bit little-endian ELF file"):
        elf.link(b"MZ" + bytes(100))
    with pytest.raises(elf.ElfError, match="machine 21"):
        elf.link(_object("define void @f() nounwind {\n  ret void\n}", "powerpc64le-unknown-linux-gnu"))


# AArch64 on any machine: an interpreter of the few instructions LLVM emits for the texts that can do without the rest.

class _Arm:
    """Runs straight-line integer AArch64 code of an image placed at `base`."""

    def __init__(self, linked: image.Image, base: int, externals: dict[str, Any]) -> None:
        self.memory = bytearray(linked.code)
        self.base = base
        self.functions: dict[int, Any] = {}
        for number, (at, name, addend) in enumerate(linked.externals):
            address = (1 << 40) + 64 * number
            self.functions[address + addend] = externals[name]
            self.memory[at:at + 8] = address.to_bytes(8, "little")
        for at, value in linked.rebases:
            self.memory[at:at + 8] = (base + value).to_bytes(8, "little")

    def load(self, address: int, size: int) -> int:
        at = address - self.base
        if not 0 <= at <= len(self.memory) - size:
            return 0  # the stack: no text reads back what matters
        return int.from_bytes(self.memory[at:at + size], "little")

    def call(self, address: int, argument: int) -> int:
        registers = [0] * 32
        registers[0] = argument % 2**64
        registers[30] = 0
        stack: dict[int, int] = {}
        registers[31] = 1 << 50
        for _ in range(10_000):
            if address in self.functions:
                registers[0] = self.functions[address](registers[0]) % 2**64
                address = registers[30]
            if address == 0:
                return (registers[0] + 2**63) % 2**64 - 2**63
            address = self.step(self.load(address, 4), address, registers, stack)
        raise AssertionError("endless")

    def step(self, word: int, here: int, r: list[int], stack: dict[int, int]) -> int:
        d, n, m = word & 31, word >> 5 & 31, word >> 16 & 31

        def signed(value: int, bits: int) -> int:
            return value - (1 << bits) if value >> bits - 1 else value
        if word & 0x9F000000 == 0x90000000:  # adrp
            r[d] = (here & ~0xFFF) + (signed((word >> 5 & 0x7FFFF) << 2 | word >> 29 & 3, 21) << 12)
        elif word & 0x9F000000 == 0x10000000:  # adr
            r[d] = here + signed((word >> 5 & 0x7FFFF) << 2 | word >> 29 & 3, 21)
        elif word & 0xFFC00000 == 0x91000000:  # add immediate
            r[d] = (r[n] + (word >> 10 & 0xFFF)) % 2**64
        elif word & 0xFFC00000 == 0xF9400000:  # ldr 64, unsigned offset
            at = r[n] + (word >> 10 & 0xFFF) * 8
            r[d] = stack[at] if at in stack else self.load(at, 8)
        elif word & 0xFFE0FC00 == 0xF8607800 & 0xFFE0FC00:  # ldr 64, register shifted by 3
            r[d] = self.load(r[n] + r[m] * 8, 8)
        elif word & 0xFF000000 == 0x58000000:  # ldr literal
            r[d] = self.load(here + signed(word >> 5 & 0x7FFFF, 19) * 4, 8)
        elif word & 0xFFC00000 == 0x92400000:  # and with a mask of low bits
            r[d] = r[n] & ((1 << (word >> 10 & 63) + 1) - 1)
        elif word & 0xFFE0FC00 == 0x8B000000:  # add
            r[d] = (r[n] + (0 if m == 31 else r[m])) % 2**64
        elif word & 0xFFE0FC00 == 0x9B007C00:  # mul
            r[d] = r[n] * r[m] % 2**64
        elif word & 0xFFE00C00 == 0xF8000C00:  # str, pre-index
            r[n] += signed(word >> 12 & 0x1FF, 9)
            stack[r[n]] = r[d]
        elif word & 0xFFE00C00 == 0xF8400400:  # ldr, post-index
            r[d] = stack[r[n]]
            r[n] += signed(word >> 12 & 0x1FF, 9)
        elif word & 0xFC000000 == 0x94000000:  # bl
            r[30] = here + 4
            return here + signed(word & 0x3FFFFFF, 26) * 4
        elif word & 0xFC000000 == 0x14000000:  # b
            return here + signed(word & 0x3FFFFFF, 26) * 4
        elif word & 0xFFFFFC1F == 0xD63F0000:  # blr
            r[30] = here + 4
            return r[n]
        elif word & 0xFFFFFC1F == 0xD61F0000:  # br
            return r[n]
        elif word & 0xFFFFFC1F == 0xD65F0000:  # ret
            return r[n]
        else:
            raise AssertionError(f"instruction {word:08x}")
        return here + 4


ARM_TEXTS = {
    "constant table": lambda x: [3, 1, 4, 1, 5, 9, 2, 6][x & 7],
    "table of functions": lambda x: x * x if x & 1 else x + x,
}


@pytest.mark.parametrize("base", [0x10000, 0x7FFF_1234_5000])
@pytest.mark.parametrize("name", ARM_TEXTS)
def test_aarch64_images(name: str, base: int) -> None:
    linked = elf.link(_object(TEXTS[name], ARM))
    assert base % linked.alignment == 0
    arm = _Arm(linked, base, {})
    for argument in (0, 1, 2, 3, 4, 17, 1000, 12345):
        assert arm.call(base + linked.symbols["f"], argument) == ARM_TEXTS[name](argument)


def test_aarch64_calls_of_external_functions_go_through_stubs() -> None:
    text = """
@scale = private constant i64 10
declare i64 @cube(i64)
declare i64 @add_one(i64)
define i64 @f(i64 %x) nounwind {
  %a = call i64 @cube(i64 %x)
  %b = call i64 @add_one(i64 %a)
  %s = load volatile i64, ptr @scale
  %r = mul i64 %b, %s
  ret i64 %r
}"""
    linked = elf.link(_object(text, ARM))
    assert sorted(name for _, name, _ in linked.externals) == ["add_one", "cube"]
    arm = _Arm(linked, 0x5000_0000, {"cube": lambda x: x ** 3, "add_one": lambda x: x + 1})
    assert arm.call(0x5000_0000 + linked.symbols["f"], 7) == 10 * (7 ** 3 + 1)


def test_aarch64_addresses_through_the_global_offset_table() -> None:
    text = """
declare i64 @cube(i64)
define ptr @f() nounwind {
  ret ptr @cube
}"""
    linked = elf.link(_object(text, ARM))
    arm = _Arm(linked, 0x5000_0000, {"cube": abs})
    assert arm.call(0x5000_0000 + linked.symbols["f"], 0) == 1 << 40

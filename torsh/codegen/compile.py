"""LLVM IR text to callable addresses: from this process, from the disk cache, or through LLVM.

What is missing is compiled together: a module costs LLVM about a millisecond whatever is in it. llvmlite is imported
when something must be compiled, and not before.
"""
from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from typing import Any

from torsh.codegen import cache
from torsh.codegen.target import Target, host

#: Part of every key on disk: raise it when `_optimize`, the link format or the payload changes.
FORMAT = 1
#: More items than this are compiled in several modules: one payload is loaded as a whole.
_ITEMS_PER_MODULE = 48

Item = tuple[str, Callable[[], str], Sequence[str]]


class CompileError(RuntimeError):
    """LLVM refused a text, or compiled code lacks a symbol it should define."""


class Stats:
    """Counts since the process began, or since `reset`."""
    __slots__ = ("memory_hits", "disk_hits", "compiles", "modules", "text_ms", "llvm_ms", "load_ms")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.memory_hits = 0  # items already loaded in this process
        self.disk_hits = 0  # items loaded from the disk cache
        self.compiles = 0  # items compiled
        self.modules = 0  # LLVM modules they were compiled in
        self.text_ms = 0.0  # making LLVM IR text
        self.llvm_ms = 0.0  # parsing, passes and code emission, without importing llvmlite
        self.load_ms = 0.0  # mapping code into memory

    def __repr__(self) -> str:
        return "Stats(" + ", ".join(f"{name}={getattr(self, name):.5g}" for name in self.__slots__) + ")"


stats = Stats()

_loaded: dict[str, dict[str, int]] = {}
_lock = threading.RLock()


def load(items: Iterable[Item]) -> dict[str, dict[str, int]]:
    """Addresses of compiled functions, by item key and symbol.

    Each item is (key, make_text, symbols): `key` names the content (equal keys mean equal code), `make_text` returns
    the LLVM IR text of a module without target triple, called only when the code is in no cache, and `symbols` are
    the functions wanted from it. Items may define equal symbols; what is not wanted should be `internal` or `private`.
    Raises CompileError with the item's key and LLVM's message.
    """
    items = list(items)
    with _lock:
        missing = {item[0]: item for item in items if item[0] not in _loaded}
        stats.memory_hits += len(items) - len(missing)
        if missing:
            _provide(list(missing.values()))
        result: dict[str, dict[str, int]] = {}
        for key, _, symbols in items:
            result[key] = _loaded[key]
            for symbol in symbols:
                if symbol not in result[key]:
                    raise CompileError(f"the code of {key} does not define {symbol!r}")
    return result


def _provide(items: Sequence[Item]) -> None:
    """Enter every item in `_loaded`, from disk or compiled."""
    target, disk = host(), cache.disk()
    payloads: list[bytes] = []
    pending: list[Item] = []
    found: set[str] = set()
    for item in items:
        if item[0] in found:  # in the same payload as an earlier one
            stats.disk_hits += 1
            continue
        payload = disk.get(_disk_key(item[0], target))
        keys = _payload_keys(payload) if payload is not None else ()
        if payload is None or item[0] not in keys:
            pending.append(item)
            continue
        stats.disk_hits += 1
        found.update(keys)
        payloads.append(payload)
    for start in range(0, len(pending), _ITEMS_PER_MODULE):
        group = pending[start:start + _ITEMS_PER_MODULE]
        payload = _compile(group, target)
        payloads.append(payload)
        disk.put([_disk_key(key, target) for key, _, _ in group], payload)
    _load_payloads(payloads, target)


@functools.cache
def _compiler_id() -> str:
    """Identifies the LLVM that would compile, without importing it."""
    spec = find_spec("llvmlite")
    if spec is None or not spec.origin:
        return "none"
    with open(os.path.join(os.path.dirname(spec.origin), "_version.py"), encoding="utf-8") as file:
        for line in file:
            if line.startswith("version_version"):
                return "llvmlite" + line.partition("=")[2].strip().strip("'\"")
    return "llvmlite"


@functools.lru_cache(maxsize=1)
def _emitter_id() -> str:
    """Changes when the code generator's files do: the same kernel then gives other code."""
    folder = os.path.dirname(__file__)
    stamps = [(e.name, e.stat().st_size, e.stat().st_mtime_ns) for e in os.scandir(folder) if e.name.endswith(".py")]
    return cache.digest(repr(sorted(stamps)))[:16]


def _disk_key(key: str, target: Target) -> str:
    return f"{FORMAT} {_compiler_id()} {_emitter_id()} {target.name} {key}"


# A payload is the length of a table, the table (a line "key symbol name" for each symbol, where `name` is what the
# code calls it) and the code: an `image.Image`, or the object file for MCJIT.

def _pack(table: Sequence[tuple[str, str, str]], code: bytes) -> bytes:
    text = "\n".join(" ".join(row) for row in table).encode()
    return len(text).to_bytes(4, "little") + text + code


def _unpack(payload: bytes) -> tuple[list[list[str]], bytes]:
    end = 4 + int.from_bytes(payload[:4], "little")
    return [line.split(" ") for line in payload[4:end].decode().split("\n")], payload[end:]


def _payload_keys(payload: bytes) -> set[str]:
    return {row[0] for row in _unpack(payload)[0]}


def _compile(items: Sequence[Item], target: Target) -> bytes:
    """Compile items into one payload."""
    begin = time.perf_counter()
    texts = [make_text() for _, make_text, _ in items]
    stats.text_ms += (time.perf_counter() - begin) * 1e3
    binding, machine = _machine(target)
    begin = time.perf_counter()
    layout = str(machine.target_data)
    table: list[tuple[str, str, str]] = []
    whole: Any = None
    for number, ((key, _, symbols), text) in enumerate(zip(items, texts)):
        if " " in key or "\n" in key or not key:
            raise ValueError(f"a key must be non-empty and without white space, not {key!r}")
        module = _parse(binding, key, text)
        module.triple = target.triple
        module.data_layout = layout
        for symbol in symbols:
            try:
                function = module.get_function(symbol)
            except NameError:
                raise CompileError(f"the code of {key} does not define {symbol!r}") from None
            name = f"k{number}.{symbol}"
            function.name = name
            table.append((key, symbol, name))
        if whole is None:
            whole = module
        else:
            whole.link_in(module)
    _optimize(binding, machine, whole)
    code = machine.emit_object(whole)
    stats.llvm_ms += (time.perf_counter() - begin) * 1e3
    stats.compiles += len(items)
    stats.modules += 1
    if target.own_loader:
        from torsh.codegen import elf
        code = elf.link(code).to_bytes()
    return _pack(table, code)


def _parse(binding: Any, key: str, text: str) -> Any:
    try:
        module = binding.parse_assembly(text)
        module.verify()
        return module
    except RuntimeError as error:
        raise CompileError(f"LLVM refuses the code of {key}: {_with_context(str(error), text)}") from None


def _with_context(message: str, text: str) -> str:
    """LLVM's message, with the lines around the one it names ("<string>:LINE:COLUMN: error: ...")."""
    fields = message.split(":")
    number = next((int(field) for field in fields if field.isdigit()), None)
    if number is None:
        return message
    lines = text.split("\n")
    first = max(0, number - 4)
    shown = "\n".join(f"{first + i + 1:5} {line}" for i, line in enumerate(lines[first:number + 2]))
    return f"{message}\n{shown}"


def _optimize(binding: Any, machine: Any, module: Any) -> None:
    """The pass pipeline. Emitters write vector code, so little is left to do before code generation."""
    options = binding.create_pipeline_tuning_options(speed_level=2)
    builder = binding.create_pass_builder(machine, options)
    passes = binding.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_simplify_cfg_pass()
    passes.run(module, builder)


@functools.cache
def _machine(target: Target) -> tuple[Any, Any]:
    from llvmlite import binding
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    machine = binding.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=2, reloc="pic" if target.own_loader else "default",
        codemodel="small" if target.own_loader else "jitdefault", jit=not target.own_loader)
    return binding, machine


def _load_payloads(payloads: Sequence[bytes], target: Target) -> None:
    begin = time.perf_counter()
    parts = [_unpack(payload) for payload in payloads]
    if target.own_loader:
        from torsh.codegen.image import Image, place
        images = [Image.from_bytes(code) for _, code in parts]
        for base, image, (table, _) in zip(place(images), images, parts):
            for key, symbol, name in table:
                _loaded.setdefault(key, {})[symbol] = base + image.symbols[name]
    else:
        for table, code in parts:
            engine = _mcjit(code, target)
            for key, symbol, name in table:
                _loaded.setdefault(key, {})[symbol] = engine.get_function_address(name)
    stats.load_ms += (time.perf_counter() - begin) * 1e3


_engines: list[Any] = []


def _mcjit(code: bytes, target: Target) -> Any:
    """An object loaded by LLVM's own loader, for platforms whose object format `codegen.elf` does not read."""
    binding, _ = _machine(target)
    module = binding.parse_assembly("")
    module.triple = target.triple
    machine = binding.Target.from_triple(target.triple).create_target_machine(jit=True)
    engine = binding.create_mcjit_compiler(module, machine)
    engine.add_object_file(binding.object_file.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _engines.append(engine)
    return engine

"""`torsh.load`: PyTorch's checkpoints, the zip archives and the older format."""
from __future__ import annotations

import io
import mmap as memory_maps
import os
import pickle
import pickletools
import struct
import sys
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

from torsh.core.devices import device, require
from torsh.core.dtypes import uint8
from torsh.serialize.archive import PyTorchFileReader
from torsh.serialize.files import is_path
from torsh.serialize.safe import NAMES, WeightsUnpickler, allowed, present_name
from torsh.serialize.writing import LEGACY_PROTOCOL, MAGIC
from torsh.storage import TypedStorage, UntypedStorage, untyped
from torsh.tensor.storage import Storage, leaf, of_outside

#: What reading a pickle that is no longer what it was can raise.
_DAMAGED = (EOFError, IndexError, KeyError, AttributeError, TypeError, ValueError, struct.error, OverflowError, AssertionError, MemoryError,
            NotImplementedError)


class _AnyUnpickler(pickle.Unpickler):
    """Reads any pickle; PyTorch's names mean ToRSh's."""

    def find_class(self, module: str, name: str) -> Any:
        found = NAMES.get(f"{module}.{name}")
        if found is not None:
            return found
        if module == "torch" or module.startswith("torch."):
            raise pickle.UnpicklingError(f"load: the checkpoint has an object of PyTorch's own class {module}.{name}, which ToRSh cannot make again. Save its "
                                         "state_dict() in PyTorch and load that")
        return super().find_class(module, name)


def _mover(map_location: Any) -> Callable[[UntypedStorage, str], Any]:
    """How a storage from a place named in the file gets to where it is wanted."""
    if map_location is None:
        def stay(storage: UntypedStorage, location: str) -> Any:
            if location != "cpu" and location.split(":")[0] not in ("cpu", "meta"):
                raise RuntimeError(f"load: Attempting to deserialize object on a {location} device, which this build does not have. Use torsh.load with "
                                   "map_location=torsh.device('cpu') to map your storages to the CPU.")
            return storage
        return stay
    if isinstance(map_location, dict):
        def follow(storage: UntypedStorage, location: str) -> Any:
            require(map_location.get(location, "cpu" if location == "cpu" else location))
            return storage
        return follow
    if isinstance(map_location, (str, device)):
        require(map_location)
        return lambda storage, location: storage

    def ask(storage: UntypedStorage, location: str) -> Any:
        found = map_location(storage, location)
        return _mover(None)(storage, location) if found is None else found
    return ask


def load(f: Any, map_location: Any = None, pickle_module: Any = None, *, weights_only: bool | None = None, mmap: bool | None = None,
         **pickle_load_args: Any) -> Any:
    """Read what `save` or PyTorch's wrote, from a file name or a binary file.

    With `weights_only` (the default) the file may name tensors, plain containers and what `serialization.add_safe_globals` allows, and runs
    no code; without, it can run any: read so only files that you trust. `map_location` is where storages go: a device, a dict of
    devices by those in the file, or a function of (storage, place). With `mmap` storages are read from the file, which must have a name, when
    they are used. `pickle_load_args` go to the unpickler (`encoding`).

    Raises RuntimeError for a file that is cut off or damaged and for storages of a device that is not there, `pickle.UnpicklingError`
    for what is no checkpoint or names what is not allowed, FileNotFoundError.
    """
    if weights_only is None:
        weights_only = pickle_module is None
    if weights_only and pickle_module is not None:
        raise RuntimeError("Can not safely load weights when explicit pickle_module is specified")
    if mmap and not is_path(f):
        raise ValueError("f must be a file name in order to use the mmap argument")
    move = _mover(map_location)
    if is_path(f):
        with open(f, "rb") as file:
            return _load(file, repr(os.fspath(f)), os.fspath(f), move, weights_only, bool(mmap), pickle_load_args)
    if not (hasattr(f, "read") and hasattr(f, "seek") and hasattr(f, "tell")):
        raise AttributeError(f"load: expected 'f' to be a file name or a binary file that can be read and seeked, got {type(f).__name__}")
    return _load(f, "the file given", None, move, weights_only, bool(mmap), pickle_load_args)


def _load(file: BinaryIO, what: str, path: str | None, move: Any, weights_only: bool, mapped: bool, options: dict[str, Any]) -> Any:
    start = file.tell()
    head = file.read(4)
    file.seek(start)
    if head[:2] != b"PK":
        if mapped:
            raise RuntimeError(f"mmap can only be used with files saved with `save(_use_new_zipfile_serialization=True)`; {what} is of another kind")
        return _Legacy(what, move, weights_only, options).read(io.BytesIO(file.read()))
    archive = PyTorchFileReader(file if start == 0 else io.BytesIO(file.read()))
    if archive.has_record("constants.pkl"):
        raise RuntimeError(f"load: {what} is a TorchScript archive, which ToRSh does not run; save the module's state_dict() in PyTorch")
    return _Archive(archive, what, path if mapped else None, move).read(weights_only, options)


def _unpickled(what: str, data: BinaryIO, weights_only: bool, options: dict[str, Any], persistent_load: Callable[[Any], Any]) -> Any:
    kind: Any = WeightsUnpickler if weights_only else _AnyUnpickler
    unpickler = kind(data, **{"encoding": "utf-8", **options})
    unpickler.persistent_load = persistent_load
    if not weights_only:
        return unpickler.load()
    try:
        return unpickler.load()
    except _DAMAGED as error:
        raise pickle.UnpicklingError(f"load: {what} is damaged or no checkpoint ({type(error).__name__}: {error}); save or copy it again") from None


def _checked_id(saved: Any, length: int) -> tuple[Any, ...]:
    """(kind of storage, key, place, number of elements, ...) of a persistent id."""
    if not isinstance(saved, tuple) or len(saved) < length or saved[0] not in ("storage", b"storage"):
        raise RuntimeError(f"load: the checkpoint refers to {saved!r}, which is no storage")
    _, kind, key, location, count, *rest = saved
    text = [v.decode("ascii") if isinstance(v, bytes) else v for v in (key, location)]
    if not isinstance(kind, type) or not issubclass(kind, (TypedStorage, UntypedStorage)) or not isinstance(count, int) or count < 0 \
            or not all(isinstance(v, str) for v in text):
        raise RuntimeError(f"load: the checkpoint refers to a storage in a way that is not known: {saved!r}")
    return kind, *text, count, *rest


def _type_of(kind: Any) -> Any:
    return uint8 if issubclass(kind, UntypedStorage) else kind.dtype


def _shown(kind: Any, memory: UntypedStorage) -> Any:
    return memory if issubclass(kind, UntypedStorage) else TypedStorage(wrap_storage=memory, dtype=kind.dtype, _internal=True)


class _Archive:
    """One archive being read: each storage is read once."""

    def __init__(self, archive: PyTorchFileReader, what: str, mapped: str | None, move: Any) -> None:
        self.archive, self.what, self.move = archive, what, move
        self.storages: dict[str, UntypedStorage] = {}
        self.swapped = archive.has_record("byteorder") and archive.get_record("byteorder").decode(errors="replace") != sys.byteorder
        self.map: Any = None
        if mapped is not None:
            with open(mapped, "rb") as file:
                self.map = memory_maps.mmap(file.fileno(), 0, access=memory_maps.ACCESS_COPY)

    def read(self, weights_only: bool, options: dict[str, Any]) -> Any:
        return _unpickled(self.what, io.BytesIO(self.archive.get_record("data.pkl")), weights_only, options, self.storage)

    def storage(self, saved: Any) -> Any:
        kind, key, location, count, *_ = _checked_id(saved, 5)
        if key not in self.storages:
            dt, name = _type_of(kind), f"data/{key}"
            size = self.archive.record_size(name)
            if size != count * dt.itemsize:
                raise RuntimeError(f"load: the storage {key} of {self.what} has {size} bytes, but its tensors need {count * dt.itemsize}; the file is damaged")
            if self.map is not None and not self.swapped and size:
                at = self.archive.get_record_offset(name)
                if at + size > len(self.map):
                    raise RuntimeError(f"load: {self.what} is cut off; save or copy it again")
                inner = of_outside(np.frombuffer(self.map, np.uint8, size, at).view(dt.np))
            else:
                inner = Storage(leaf(self.archive.record_array(name).view(dt.np)))
            memory = untyped(inner)
            if self.swapped:
                memory.byteswap(dt)
            self.storages[key] = self.move(memory, location)
        return _shown(kind, self.storages[key])


class _Legacy:
    """The format before 1.6: pickles one after another, then the storages' keys and contents."""

    def __init__(self, what: str, move: Any, weights_only: bool, options: dict[str, Any]) -> None:
        self.what, self.move, self.weights_only, self.options = what, move, weights_only, options
        self.arrays: dict[str, tuple[np.ndarray, int]] = {}
        self.storages: dict[str, UntypedStorage] = {}

    def read(self, data: io.BytesIO) -> Any:
        def part() -> Any:
            return _unpickled(self.what, data, True, {}, self.storage)
        if data.getbuffer()[257:262] == b"ustar":
            raise RuntimeError(f"load: {self.what} is a tar file of PyTorch before 0.1.10, which is not read; load and save it with a newer PyTorch")
        try:
            magic = part()
        except pickle.UnpicklingError as error:
            raise pickle.UnpicklingError(f"load: {self.what} is no checkpoint: neither a zip archive nor PyTorch's older format ({error})") from None
        if magic != MAGIC:
            raise pickle.UnpicklingError(f"load: {self.what} is a pickle but no checkpoint: it does not begin with PyTorch's number")
        version, system = part(), part()
        if version != LEGACY_PROTOCOL:
            raise RuntimeError(f"load: {self.what} is of protocol version {version}; {LEGACY_PROTOCOL} is read")
        found = _unpickled(self.what, data, self.weights_only, self.options, self.storage)
        swapped = isinstance(system, dict) and system.get("little_endian", True) != (sys.byteorder == "little")
        keys = part()
        if not isinstance(keys, list) or any(not isinstance(k, str) or k not in self.arrays for k in keys):
            raise RuntimeError(f"load: {self.what} is damaged: it lists other storages than its tensors have; save or copy it again")
        for key in keys:
            array, size = self.arrays[key]
            count = struct.unpack("<q" if not swapped or sys.byteorder == "little" else ">q", self._bytes(data, 8))[0]
            if count * size != array.nbytes:
                raise RuntimeError(f"load: the storage {key} of {self.what} has {count} elements of {size} bytes, but its tensors need {array.nbytes} bytes")
            array[:] = np.frombuffer(self._bytes(data, array.nbytes), np.uint8)
            if swapped:
                array[:] = array.reshape(-1, size)[:, ::-1].reshape(-1)
        return found

    def _bytes(self, data: io.BytesIO, count: int) -> bytes:
        found = data.read(count)
        if len(found) < count:
            raise RuntimeError(f"load: {self.what} is cut off; save or copy it again")
        return found

    def storage(self, saved: Any) -> Any:
        kind, key, location, count, *rest = _checked_id(saved, 5)
        dt = _type_of(kind)
        if key not in self.storages:
            array = np.zeros(count * dt.itemsize, np.uint8)
            self.arrays[key] = array, dt.itemsize
            self.storages[key] = self.move(untyped(Storage(leaf(array.view(dt.np)))), location)
        memory = self.storages[key]
        if rest and rest[0] is not None:
            raise RuntimeError(f"load: {self.what} has a storage that is a part of another, as PyTorch before 0.4 saved them; save it with a newer one")
        return _shown(kind, memory)


def get_unsafe_globals_in_checkpoint(f: Any) -> list[str]:
    """The names in a checkpoint's archive that `load` does not allow when it reads only weights. Raises RuntimeError for another file."""
    found = set()
    texts: list[str] = []
    for op, arg, _ in pickletools.genops(PyTorchFileReader(f).get_record("data.pkl")):
        if op.name in ("GLOBAL", "INST"):
            found.add(".".join(present_name(*str(arg).split(" ", 1))))
        elif op.name == "STACK_GLOBAL" and len(texts) > 1:
            found.add(f"{texts[-2]}.{texts[-1]}")
        if isinstance(arg, str) and "UNICODE" in op.name:
            texts.append(arg)
    return sorted(name for name in found if allowed(name) is None)


__all__ = ["get_unsafe_globals_in_checkpoint", "load"]

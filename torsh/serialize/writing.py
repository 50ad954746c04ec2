"""`torsh.save`: objects with tensors in them as PyTorch writes them, so that either reads the other's files.

Tensors are pickled by PyTorch's names for how they are made again, on storages that are records of their own: each memory is written once, whatever
the number of tensors on it.
"""
from __future__ import annotations

import io
import pickle
import struct
import sys
from collections import OrderedDict
from typing import Any, BinaryIO

from torsh.core.devices import device
from torsh.core.dtypes import dtype, uint8
from torsh.core.layouts import layout
from torsh.nn.parameter import Parameter, is_lazy
from torsh.nn.state import _StateDict
from torsh.serialize.archive import ALIGNMENT, PyTorchFileWriter
from torsh.serialize.files import is_path, replacing
from torsh.storage import TypedStorage, UntypedStorage, kind_of
from torsh.tensor.interop import _extra
from torsh.tensor.size import Size
from torsh.tensor.tensor import Tensor, alias

MAGIC, LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


class _Global:
    """A name of PyTorch's in a pickle, in the place of an object."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def __call__(self) -> None:
        """Never called: what is pickled as a function must look like one."""


_GLOBALS: dict[str, _Global] = {}


def _named(path: str) -> _Global:
    module, _, name = path.rpartition(".")
    return _GLOBALS.setdefault(path, _Global(module, name))


def _geometry(t: Tensor) -> tuple[Any, ...]:
    """(how it is made again, its arguments) of a tensor, without its class and its own attributes."""
    metadata: dict[str, bool] = {}
    inner = t._storage
    if inner.conjugate:
        inner, metadata = inner.mirror, {"conj": True} if t._dtype.is_complex else metadata
        if not metadata:  # reals of a conjugate: no storage has them
            return _geometry(t.detach().clone())  # type: ignore[attr-defined]
    memory = alias(t, t._shape, t._strides, t._offset)
    memory._storage = inner
    strides = t.stride()
    rest: tuple[Any, ...] = (t._offset, t._shape, strides, bool(t._requires_grad), OrderedDict())
    if kind_of(t._dtype) is None:
        return _named("torch._utils._rebuild_tensor_v3"), (memory.untyped_storage(), *rest, t._dtype, *([metadata] if metadata else []))  # type: ignore[attr-defined]
    typed = TypedStorage(wrap_storage=memory.untyped_storage(), dtype=t._dtype, _internal=True)  # type: ignore[attr-defined]
    return _named("torch._utils._rebuild_tensor_v2"), (typed, *rest, *([metadata] if metadata else []))


def _tensor(t: Tensor) -> tuple[Any, ...]:
    kind, state = type(t), _extra(t)
    if issubclass(kind, Parameter):
        plain = alias(t, t._shape, t._strides, t._offset)
        if kind is Parameter:
            args: tuple[Any, ...] = (plain, bool(t._requires_grad), OrderedDict())
            return (_named("torch._utils._rebuild_parameter_with_state"), (*args, state)) if state else (_named("torch._utils._rebuild_parameter"), args)
    if kind is Tensor and not state:
        return _geometry(t)
    made, args = _geometry(t)
    return _named("torch._tensor._rebuild_from_type_v2"), (made, _named("torch.Tensor") if kind is Tensor else kind, args, state)


_Python: Any = pickle._Pickler  # type: ignore[attr-defined]  # the one in Python, since names are written that cannot be imported


class _Pickler(_Python):  # type: ignore[misc]
    def __init__(self, file: Any, protocol: int, legacy: bool) -> None:
        super().__init__(file, protocol)
        self.legacy = legacy
        self.storages: dict[str, UntypedStorage] = {}
        self._keys: dict[int, tuple[str, dtype]] = {}

    def persistent_id(self, obj: Any) -> Any:
        if not isinstance(obj, (TypedStorage, UntypedStorage)):
            return None
        dt = obj.dtype if isinstance(obj, TypedStorage) else uint8
        memory = obj.untyped()
        key, known = self._keys.setdefault(id(memory._inner), (str(len(self._keys)), dt))
        if known is not dt:
            raise RuntimeError("Cannot save multiple tensors or storages that view the same data as different types")
        if self.legacy and isinstance(obj, UntypedStorage):
            raise RuntimeError("save: the older format has no storages of bytes, and no tensors of types without a storage class; leave out "
                               "_use_new_zipfile_serialization=False")
        self.storages[key] = memory
        kind = _named("torch.storage.UntypedStorage") if isinstance(obj, UntypedStorage) else _named(f"torch.{obj.pickle_storage_type()}")
        return ("storage", kind, key, "cpu", memory.nbytes() // dt.itemsize, *([None] if self.legacy else []))

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, _Global):
            return obj.name
        if isinstance(obj, Tensor) and not is_lazy(obj):
            return _tensor(obj)
        if isinstance(obj, _StateDict):
            return OrderedDict, (), dict(obj.__dict__), None, iter(obj.items())
        if isinstance(obj, dtype):
            return _named(f"torch.{obj.name}").name
        if type(obj) is Size:
            return _named("torch.Size"), (tuple(obj),)
        if isinstance(obj, device):
            return _named("torch.device"), (str(obj),)
        if isinstance(obj, layout):
            return _named("torch.serialization._get_layout"), (f"torch.{obj.name}",)
        return NotImplemented

    def save_global(self, obj: Any, name: str | None = None) -> None:
        named = _named(f"torch.{obj.name}") if isinstance(obj, dtype) else obj
        if not isinstance(named, _Global):
            super().save_global(obj, name)
            return
        self.write(pickle.GLOBAL + f"{named.module}\n{named.name}\n".encode())
        self.memoize(obj)


def save(obj: object, f: Any, pickle_module: Any = pickle, pickle_protocol: int = 2, _use_new_zipfile_serialization: bool = True,
         _disable_byteorder_record: bool = False) -> None:
    """Write an object (tensors, state dicts, and whatever holds them) to a file name or a binary file, in PyTorch's format.

    A file of that name is replaced whole, or not at all. Raises RuntimeError for tensors of different types on one memory and for a file
    that cannot be written to, and what `pickle` raises for an object that it cannot take. `pickle_module` is `pickle`: nothing else writes
    these files.

    >>> import io, torsh
    >>> file = io.BytesIO()
    >>> torsh.save({"x": torsh.ones(2)}, file)
    >>> _ = file.seek(0)
    >>> torsh.load(file)
    {'x': tensor([1., 1.])}
    """
    if getattr(pickle_module, "Pickler", None) is None:
        raise RuntimeError("save: pickle_module must have a Pickler")
    write = _write_archive if _use_new_zipfile_serialization else _write_legacy
    if is_path(f):
        import os
        folder = os.path.dirname(os.fspath(f))
        if folder and not os.path.isdir(folder):
            raise RuntimeError(f"Parent directory {folder} does not exist.")
        with replacing(f) as file:
            write(obj, file, pickle_protocol, os.path.splitext(os.path.basename(os.fspath(f)))[0])
        return
    if not hasattr(f, "write"):
        raise AttributeError(f"save: expected 'f' to be string, path, or a file-like object with a 'write' attribute, got {type(f).__name__}")
    write(obj, f, pickle_protocol, "archive")


def _write_archive(obj: object, file: BinaryIO, protocol: int, name: str) -> None:
    data = io.BytesIO()
    pickler = _Pickler(data, protocol, False)
    pickler.dump(obj)
    archive = PyTorchFileWriter(file, archive_name=name or "archive")
    archive.write_record("data.pkl", data.getbuffer())
    archive.write_record(".format_version", "1")
    archive.write_record(".storage_alignment", str(ALIGNMENT))
    archive.write_record("byteorder", sys.byteorder)
    for key, storage in pickler.storages.items():
        archive.write_record(f"data/{key}", _contents(storage))
    archive.write_end_of_file()


def _contents(storage: UntypedStorage) -> Any:
    import numpy as np
    return storage._inner.memory().view(np.uint8) if storage.nbytes() else b""


def _write_legacy(obj: object, file: BinaryIO, protocol: int, name: str) -> None:
    """The format before 1.6: pickles one after another, then the storages."""
    for header in (MAGIC, LEGACY_PROTOCOL, {"protocol_version": LEGACY_PROTOCOL, "little_endian": sys.byteorder == "little",
                                            "type_sizes": {"short": 2, "int": 4, "long": 4}}):
        pickle.dump(header, file, protocol)
    pickler = _Pickler(file, protocol, True)
    pickler.dump(obj)
    pickle.dump(sorted(pickler.storages), file, protocol)
    for key in sorted(pickler.storages):
        storage = pickler.storages[key]
        known = next(dt for k, dt in pickler._keys.values() if k == key)
        file.write(struct.pack("<q", storage.nbytes() // known.itemsize))
        file.write(_contents(storage))


__all__ = ["LEGACY_PROTOCOL", "MAGIC", "save"]

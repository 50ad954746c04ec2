"""State dicts in safetensors files, which hold numbers only and run no code when they are read."""
from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from torsh.core.dtypes import ALL, by_name
from torsh.serialize.files import replacing
from torsh.tensor.creation import from_array
from torsh.tensor.tensor import Tensor

_NAMES = {"BOOL": "bool", "U8": "uint8", "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64", "F16": "float16", "BF16": "bfloat16",
          "F32": "float32", "F64": "float64"}


def save_file(tensors: Mapping[str, Tensor], filename: str | os.PathLike[str], metadata: dict[str, str] | None = None) -> None:
    """Write tensors under their names, with optional texts. A file of that name is replaced whole, or not at all.

    Raises TypeError for values that are no tensors and for complex ones.
    """
    from safetensors.numpy import save
    parts: dict[str, Any] = {}
    for name, t in tensors.items():
        if not isinstance(t, Tensor):
            raise TypeError(f"save_file: the value of {name!r} is a {type(t).__name__}, expected a Tensor")
        if t._dtype.name not in _NAMES.values():
            raise TypeError(f"save_file: {name!r} is {t._dtype}, which safetensors files cannot hold; save view_as_real of it")
        parts[name] = np.array(t._window(), order="C")
    with replacing(filename) as file:
        file.write(save(parts, metadata))


def load_file(filename: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a file by name. Raises FileNotFoundError, and ValueError for a file that is truncated or of another kind."""
    from safetensors import SafetensorError, deserialize
    with open(filename, "rb") as file:
        data = file.read()
    try:
        parts = deserialize(data)
    except SafetensorError as error:
        raise ValueError(f"load_file: {os.fspath(filename)!r} ({len(data)} bytes) is truncated or no safetensors file ({error}); "
                         "save or copy it again") from None
    out = {}
    for name, part in parts:
        kind = _NAMES.get(part["dtype"])
        if kind is None:
            raise ValueError(f"load_file: {name!r} in {os.fspath(filename)!r} has the type {part['dtype']}; "
                             f"supported are {', '.join(d.name for d in ALL if not d.is_complex)}")
        array = np.frombuffer(bytearray(part["data"]), by_name(kind).np).reshape(part["shape"])
        out[name] = from_array(array)
    return out

"""Samples of PyTorch's database as ToRSh's: tensors with their strides, aliasing and requires_grad, and all that stands around them."""
from __future__ import annotations

import inspect
import types
from typing import Any

import ml_dtypes
import numpy as np
import torch

import torsh
from tests.conformance.resolve import lookup, rebound, twin

HAVE = {getattr(torch, name): getattr(torsh, name) for name in
        ("bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64", "float16", "bfloat16", "float32", "float64", "complex64",
         "complex128")}


class Unconvertible(TypeError):
    """A sample holds something that ToRSh has no counterpart for."""


class Converter:
    """Converts the values of one sample; tensors that share memory in PyTorch share it in ToRSh."""

    def __init__(self) -> None:
        self.storages: dict[int, Any] = {}
        self.tensors: dict[int, tuple[torch.Tensor, Any]] = {}

    def __call__(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return self.tensor(value)
        if isinstance(value, torch.Size):
            return torsh.Size(value)
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*map(self, value))
        if isinstance(value, (list, tuple)):
            return type(value)(map(self, value)) if type(value) in (list, tuple) else tuple(map(self, value))
        if isinstance(value, dict):
            return {k: self(v) for k, v in value.items()}
        if isinstance(value, slice):
            return slice(self(value.start), self(value.stop), self(value.step))
        if isinstance(value, torch.Generator):
            return torsh.Generator().manual_seed(value.initial_seed())
        if isinstance(value, torch.nn.Module):
            return self.module(value)
        if isinstance(value, types.FunctionType) and not (value.__module__ or "").startswith("torch."):
            return rebound(value)
        return twin(value)

    def module(self, value: torch.nn.Module) -> Any:
        parameters = [p for p in inspect.signature(type(value)).parameters if hasattr(value, p)]
        return lookup(f"nn.{type(value).__name__}")(**{p: self(getattr(value, p)) for p in parameters})

    def tensor(self, t: torch.Tensor) -> Any:
        if id(t) in self.tensors:
            return self.tensors[id(t)][1]
        if t.layout is not torch.strided:
            raise Unconvertible(f"a tensor of layout {t.layout}")
        if t.dtype not in HAVE:
            raise Unconvertible(f"a tensor of dtype {t.dtype}")
        if t.device.type != "cpu":
            raise Unconvertible(f"a tensor on {t.device}")
        plain = t.detach()
        if plain.is_conj() or plain.is_neg():
            plain = plain.resolve_conj().resolve_neg()
        key = (plain.untyped_storage().data_ptr() or id(plain), plain.dtype)
        dense = self.storages.get(key)
        if dense is None:
            count = plain.untyped_storage().nbytes() // plain.element_size()
            # a copy goes to NumPy: exporting the storage itself would forbid PyTorch to resize it
            dense = self.storages[key] = torsh.tensor(to_numpy(torch.as_strided(plain, (count,), (1,), 0).clone()))
            assert dense.dtype is HAVE[t.dtype]
        ours = dense.as_strided(tuple(plain.shape), plain.stride(), plain.storage_offset()).detach().requires_grad_(t.requires_grad)
        self.tensors[id(t)] = (t, ours)
        return ours


def to_numpy(t: Any) -> np.ndarray:
    """The elements of a tensor of either framework."""
    if isinstance(t, torch.Tensor):
        t = t.detach().resolve_conj().resolve_neg()
        t = t.clone() if t._is_zerotensor() else t
        return t.view(torch.int16).numpy().view(ml_dtypes.bfloat16) if t.dtype is torch.bfloat16 and t.numel() else (
            np.empty(tuple(t.shape), ml_dtypes.bfloat16) if t.dtype is torch.bfloat16 else t.numpy())
    return t.detach().resolve_conj().numpy()


def from_numpy(array: np.ndarray) -> torch.Tensor:
    """A PyTorch tensor of an array's elements."""
    array = np.ascontiguousarray(array) if array.ndim else array
    return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16) if array.dtype == ml_dtypes.bfloat16 else torch.from_numpy(array)


def tensors_in(value: Any) -> list[Any]:
    """The tensors in a nested structure, in order."""
    if isinstance(value, (torch.Tensor, torsh.Tensor)):
        return [value]
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return []
    return [t for v in value for t in tensors_in(v)]

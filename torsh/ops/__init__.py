"""Operations on tensors, a file a family. `torsh.ops.aten` is loaded when first used."""
from __future__ import annotations


def __getattr__(name: str) -> object:
    if name == "aten":
        from importlib import import_module
        return import_module("torsh.ops.aten")
    raise AttributeError(f"module 'torsh.ops' has no attribute '{name}'")

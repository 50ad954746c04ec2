"""Turning a floating model into one with quantized layers."""
from __future__ import annotations

import copy
from typing import Any

from torsh.ao.nn.quantized import dynamic
from torsh.core.dtypes import dtype as Type
from torsh.nn.module import Module
from torsh.nn.modules.basic import Linear
from torsh.quantized.scheme import qint8

_DYNAMIC: dict[type, Any] = {Linear: dynamic.Linear}


def quantize_dynamic(model: Module, qconfig_spec: Any = None, dtype: Type = qint8, mapping: Any = None, inplace: bool = False) -> Module:
    """A copy of the model (the model itself with `inplace`) whose linear layers multiply 8-bit integers: their weights are quantized, their inputs by
    their own range in each call.

    `qconfig_spec`: a set of types and of names of submodules to be changed, all linear layers if None; `mapping`: other replacements by type, with
    `from_float`. Raises ValueError for another dtype than qint8.

    >>> import torsh
    >>> quantize_dynamic(torsh.nn.Sequential(torsh.nn.Linear(4, 3), torsh.nn.ReLU()))
    Sequential(
      (0): DynamicQuantizedLinear(in_features=4, out_features=3, dtype=torsh.qint8, qscheme=torsh.per_tensor_affine)
      (1): ReLU()
    )
    """
    if dtype is not qint8:
        raise ValueError(f"Don't know how to quantize with default settings for {dtype}. Provide full qconfig please")
    known = _DYNAMIC if mapping is None else mapping
    wanted = set(known) if qconfig_spec is None else set(qconfig_spec)
    model = model if inplace else copy.deepcopy(model)

    def chosen(name: str, module: Module) -> bool:
        return type(module) in known and (type(module) in wanted or any(isinstance(w, str) and (name == w or name.startswith(w + ".")) for w in wanted))

    if chosen("", model):
        return known[type(model)].from_float(model)  # type: ignore[no-any-return]
    for path, parent in list(model.named_modules()):
        for name, child in list(parent._modules.items()):
            whole = f"{path}.{name}" if path else name
            if child is not None and chosen(whole, child):
                setattr(parent, name, known[type(child)].from_float(child))
    return model


__all__ = ["quantize_dynamic"]

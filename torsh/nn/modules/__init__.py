"""The layers."""
from __future__ import annotations

from torsh.nn.modules import basic, container, conv, norm, simple

__all__ = []
for _part in (basic, container, conv, norm, simple):
    for _name in _part.__all__:
        globals()[_name] = getattr(_part, _name)
    __all__ += _part.__all__

"""The layers."""
from __future__ import annotations

from torsh.nn.modules import activation, adaptive, attention, basic, container, conv, lazy, loss, norm, padding, pool, rnn, simple, transformer, upsample

__all__ = []
for _part in (activation, adaptive, attention, basic, container, conv, lazy, loss, norm, padding, pool, rnn, simple, transformer, upsample):
    for _name in _part.__all__:
        globals()[_name] = getattr(_part, _name)
    __all__ += _part.__all__

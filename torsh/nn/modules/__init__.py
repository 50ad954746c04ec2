"""The layers."""
from __future__ import annotations

from torsh.nn.modules import activation, basic, container, conv, loss, norm, padding, pool, rnn, simple, upsample

__all__ = []
for _part in (activation, basic, container, conv, loss, norm, padding, pool, rnn, simple, upsample):
    for _name in _part.__all__:
        globals()[_name] = getattr(_part, _name)
    __all__ += _part.__all__

"""Options of tensor factories that a layer passes on."""
from __future__ import annotations

from typing import Any

_SIMPLE = frozenset(("device", "dtype", "memory_format"))


def factory_kwargs(kwargs: dict[str, Any] | None) -> dict[str, Any]:
    """The options `device`, `dtype` and `memory_format` of a layer's keyword arguments, for `torsh.empty` and the like.

    They may also be given as a dictionary named `factory_kwargs`. Raises TypeError for other arguments and for an option given twice.

    >>> factory_kwargs({"device": "cpu", "factory_kwargs": {"dtype": None}})
    {'dtype': None, 'device': 'cpu'}
    """
    if kwargs is None:
        return {}
    unknown = set(kwargs) - _SIMPLE - {"factory_kwargs"}
    if unknown:
        raise TypeError(f"unexpected kwargs {unknown}")
    made = dict(kwargs.get("factory_kwargs", {}))
    for name in _SIMPLE & set(kwargs):
        if name in made:
            raise TypeError(f"{name} specified twice, in **kwargs and in factory_kwargs")
        made[name] = kwargs[name]
    return made


__all__ = ["factory_kwargs"]

"""A module's parameters, buffers and submodules, by name and quickly found.

PyTorch looks a parameter up where Python has failed to find an attribute, which costs a raised and caught AttributeError each time. Here
what is registered is entered in the instance's `__dict__` as well, where Python looks first.
"""
from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from typing import Any, Final

from torsh.nn.changes import changes

GROUPS: Final = ("_parameters", "_buffers", "_modules")
_ABSENT: Final = object()


class Members(dict[str, Any]):
    """A dictionary whose entries are also attributes of the module that owns it, unless its class or itself has another one of that name.

    Copies and pickles are plain dictionaries. A module made by `copy.copy` shares its original's.
    """
    __slots__ = ("_owner",)

    def __init__(self, owner: Any, items: Mapping[str, Any] | Iterable[tuple[str, Any]] = ()) -> None:
        self._owner = weakref.ref(owner)
        self.update(items)

    def belongs_to(self, module: Any) -> bool:
        """Whether this module's attributes are kept in step."""
        return self._owner() is module

    def __setitem__(self, name: str, value: Any) -> None:
        changes.count += 1
        old = self.get(name, _ABSENT)
        super().__setitem__(name, value)
        owner = self._owner()
        if owner is None or not name.isidentifier() or hasattr(type(owner), name):
            return
        own = owner.__dict__
        if own.get(name, old) is old:  # an attribute set past the module's rules hides the entry
            own[name] = value

    def _gone(self, name: str, value: Any) -> None:
        changes.count += 1
        owner = self._owner()
        if owner is not None and owner.__dict__.get(name, _ABSENT) is value:
            del owner.__dict__[name]

    def __delitem__(self, name: str) -> None:
        self.pop(name)

    def pop(self, name: str, *default: Any) -> Any:
        if name not in self:
            return super().pop(name, *default)
        value = super().pop(name)
        self._gone(name, value)
        return value

    def popitem(self) -> tuple[str, Any]:
        name, value = super().popitem()
        self._gone(name, value)
        return name, value

    def clear(self) -> None:
        for name in list(self):
            del self[name]

    def update(self, *others: Any, **named: Any) -> None:
        for name, value in dict(*others, **named).items():
            self[name] = value

    def __ior__(self, other: Any) -> Members:  # type: ignore[override,misc]
        self.update(other)
        return self

    def setdefault(self, name: str, default: Any = None) -> Any:
        if name not in self:
            self[name] = default
        return self[name]

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return dict, (dict(self),)


def adopt(module: Any, group: str) -> dict[str, Any]:
    """The module's dictionary of a group, its entries attributes from now on. One that another module owns is shared as it is."""
    own = module.__dict__
    found: dict[str, Any] = own[group]
    if type(found) is not Members:
        found = own[group] = Members(module, found)
    return found


def settle(module: Any) -> None:
    """After a module's `__dict__` has come from elsewhere: attributes are those of its own groups, none are left of another module's."""
    own = module.__dict__
    for group in GROUPS:
        found = own.get(group)
        if type(found) is Members and not found.belongs_to(module):
            _drop(own, found)
        elif found is not None:
            adopt(module, group)


def replaced(module: Any, group: str, by: dict[str, Any]) -> None:
    """Give a module another dictionary of a group."""
    own = module.__dict__
    _drop(own, own.get(group, {}))
    own[group] = by if type(by) is Members else Members(module, by)


def without_attributes(module: Any) -> dict[str, Any]:
    """The module's state, less the attributes that repeat entries of its groups."""
    own = dict(module.__dict__)
    for group in GROUPS:
        _drop(own, own.get(group, {}))
    return own


def _drop(own: dict[str, Any], members: dict[str, Any]) -> None:
    for name, value in members.items():
        if own.get(name, _ABSENT) is value:
            del own[name]

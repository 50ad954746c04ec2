"""Trees of tuples, lists and dicts: their leaves in order, and the same tree with other leaves."""
from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import Any

#: How a tree is put together again: a function of its leaves; and what two trees of one structure have in common.
Structure = tuple[Any, ...]
LEAF: Structure = ("leaf",)


def _children(tree: Any) -> tuple[Structure, list[Any]] | None:
    """(what kind of inner node this is, its children), or None for a leaf."""
    kind = type(tree)
    if kind in (tuple, list, deque):
        return (kind, len(tree)), list(tree)
    if kind in (dict, OrderedDict):
        return (kind, tuple(tree)), list(tree.values())
    if kind is defaultdict:
        return (kind, tuple(tree), tree.default_factory), list(tree.values())
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return (kind, len(tree)), list(tree)
    return None


def flatten(tree: Any) -> tuple[list[Any], Structure]:
    """The leaves (anything that is no tuple, list, dict or deque) in order, and the structure.

    >>> flatten({"a": 1, "b": (2, 3)})[0]
    [1, 2, 3]
    """
    found = _children(tree)
    if found is None:
        return [tree], LEAF
    leaves: list[Any] = []
    inner = []
    for child in found[1]:
        below, structure = flatten(child)
        leaves.extend(below)
        inner.append(structure)
    return leaves, (found[0], tuple(inner))


def _rebuilt(kind: Any, children: list[Any]) -> Any:
    made = kind[0]
    if made in (dict, OrderedDict):
        return made(zip(kind[1], children, strict=True))
    if made is defaultdict:
        return defaultdict(kind[2], zip(kind[1], children, strict=True))
    return made(*children) if hasattr(made, "_fields") else made(children)


def unflatten(leaves: list[Any], structure: Structure) -> Any:
    """The tree of that structure with these leaves.

    >>> unflatten([1, 2, 3], flatten({"a": 0, "b": (0, 0)})[1])
    {'a': 1, 'b': (2, 3)}
    """
    return _take(iter(leaves), structure)


def _take(leaves: Any, structure: Structure) -> Any:
    if structure is LEAF:
        return next(leaves)
    return _rebuilt(structure[0], [_take(leaves, s) for s in structure[1]])


def tree_map(f: Callable[[Any], Any], tree: Any) -> Any:
    """The same tree with `f` of every leaf."""
    leaves, structure = flatten(tree)
    return unflatten([f(x) for x in leaves], structure)


def spread(prefix: Any, structure: Structure) -> list[Any] | None:
    """One entry for each leaf of a structure, where `prefix` is a tree that may stop above the leaves. None if it does not fit."""
    found = _children(prefix)
    if found is None:
        return [prefix] * _count(structure)
    if structure is LEAF or not _alike(found[0], structure[0]) or len(found[1]) != len(structure[1]):
        return None
    out: list[Any] = []
    for child, below in zip(found[1], structure[1], strict=True):
        part = spread(child, below)
        if part is None:
            return None
        out.extend(part)
    return out


def _alike(a: Any, b: Any) -> bool:
    sequences = (list, tuple)
    return a == b or (a[0] in sequences and b[0] in sequences and a[1] == b[1])


def _count(structure: Structure) -> int:
    return 1 if structure is LEAF else sum(_count(s) for s in structure[1])


__all__ = ["LEAF", "Structure", "flatten", "spread", "tree_map", "unflatten"]

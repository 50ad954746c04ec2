"""`torsh.func.rearrange`: dimensions reordered, split and merged by a pattern with names (Rogozhnikov 2022, "Einops")."""
from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from torsh.ops.join import stack
from torsh.tensor.tensor import Tensor

_ELLIPSIS = "..."
_MERGED = "(...)"  # an ellipsis inside parentheses: one dimension
_TOKEN = re.compile(r"\.\.\.|\w+|[()]|\S")


@lru_cache(256)
def _side(text: str) -> tuple[tuple[str, ...], ...]:
    """The dimensions of one side, each the names it is made of; `1` is a dimension of no names.

    Raises ValueError for parentheses that do not match or are nested, names that are no identifiers and names used twice.
    """
    groups: list[tuple[str, ...]] = []
    inside: list[str] | None = None
    for token in _TOKEN.findall(text):
        if token == "(":
            if inside is not None:
                raise ValueError(f"rearrange: parentheses inside parentheses in {text!r}")
            inside = []
        elif token == ")":
            if inside is None:
                raise ValueError(f"rearrange: ')' without '(' in {text!r}")
            groups.append(tuple(inside))
            inside = None
        elif token == _ELLIPSIS or (token.isidentifier() and token[0] != "_" and token[-1] != "_"):
            if inside is None:
                groups.append((token,))
            else:
                inside.append(_MERGED if token == _ELLIPSIS else token)
        elif token == "1":
            if inside is None:
                groups.append(())
        else:
            raise ValueError(f"rearrange: {token!r} in {text!r} is no name of a dimension")
    if inside is not None:
        raise ValueError(f"rearrange: '(' without ')' in {text!r}")
    names = [n for g in groups for n in g]
    twice = {n for n in names if names.count(n) > 1}
    if twice:
        raise ValueError(f"rearrange: {sorted(twice)} more than once in {text!r}")
    return tuple(groups)


def _sizes(groups: Sequence[tuple[str, ...]], shape: Sequence[int], lengths: dict[str, int], pattern: str) -> dict[str, int]:
    """The size of each name: given, or what is left of its dimension. Raises ValueError where that does not come out."""
    known = dict(lengths)
    for group, n in zip(groups, shape, strict=True):
        rest = n
        unknown = [name for name in group if name not in known]
        for name in group:
            if known.get(name):
                rest, left = divmod(rest, known[name])
                if left:
                    raise ValueError(f"rearrange {pattern!r}: a dimension of {n} cannot be split into {group} with sizes {known}")
        if len(unknown) > 1:
            raise ValueError(f"rearrange {pattern!r}: the sizes of {unknown} are not given")
        if unknown:
            known[unknown[0]] = rest
        elif rest != 1:
            raise ValueError(f"rearrange {pattern!r}: a dimension of {n} is not {group} with sizes {known}")
    return known


def rearrange(tensor: Tensor | Sequence[Tensor], pattern: str, **axes_lengths: int) -> Tensor:
    """Dimensions reordered, merged `(a b)`, split (with sizes given by name), added and dropped `1`, as `pattern` "before -> after" says.

    `...` stands for any dimensions. Several tensors are stacked first, in front. Raises ValueError for a pattern that is none, that names
    other dimensions before than after, or that does not fit the tensor.

    >>> import torsh
    >>> rearrange(torsh.arange(6), "(a b) -> b a", a=2)
    tensor([[0, 3],
            [1, 4],
            [2, 5]])
    >>> rearrange(torsh.zeros(2, 3, 4, 5), "n ... c -> n c (...)").shape
    torsh.Size([2, 5, 12])
    """
    given: Any = tensor if isinstance(tensor, Tensor) else stack(list(tensor))
    sides = pattern.split("->")
    if len(sides) != 2:
        raise ValueError(f"rearrange: the pattern {pattern!r} needs one '->'")
    before, after = _side(sides[0]), _side(sides[1])
    names = [n for g in before for n in g]
    if _MERGED in names:
        raise ValueError(f"rearrange: an ellipsis inside parentheses on the left side of {pattern!r}")
    if set(names) != {_ELLIPSIS if n == _MERGED else n for g in after for n in g}:
        raise ValueError(f"rearrange: both sides of {pattern!r} must name the same dimensions")
    for name in axes_lengths:
        if name not in names:
            raise ValueError(f"rearrange: {name!r} is no dimension of {pattern!r}")
    open_ended = _ELLIPSIS in names
    missing = len(given.shape) - len(before) + open_ended
    if missing < 0 or (missing and not open_ended):
        raise ValueError(f"rearrange: {pattern!r} has {len(before)} dimensions on its left side, the tensor {len(given.shape)}: {tuple(given.shape)}")
    extra = tuple(f"... {i}" for i in range(missing)) if open_ended else ()
    before = tuple(g for group in before for g in ([(e,) for e in extra] if group == (_ELLIPSIS,) else [group]))
    spread: list[tuple[str, ...]] = []
    for group in after:
        if group == (_ELLIPSIS,):
            spread += [(e,) for e in extra]
        else:
            spread.append(tuple(n for name in group for n in (extra if name == _MERGED else (name,))))
    sizes = _sizes(before, given.shape, axes_lengths, pattern)
    order = [n for g in before for n in g]
    split = given.reshape([sizes[n] for n in order])
    moved = split.permute([order.index(n) for g in spread for n in g])
    merged = []
    for group in spread:
        size = 1
        for n in group:
            size *= sizes[n]
        merged.append(size)
    return moved.reshape(merged)  # type: ignore[no-any-return]


__all__ = ["rearrange"]

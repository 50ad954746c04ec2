"""Size: the shape of a tensor, a tuple with PyTorch's extras."""
from __future__ import annotations

from typing import Any

from torsh.core.shapes import numel


class Size(tuple[int, ...]):
    """The shape of a tensor.

    >>> Size((2, 3)).numel()
    6
    """
    __slots__ = ()

    def numel(self) -> int:
        """Number of elements of a tensor of this shape."""
        return numel(self)

    def __repr__(self) -> str:
        return f"torsh.Size({list(self)})"

    def __getitem__(self, key: Any) -> Any:
        found = tuple.__getitem__(self, key)
        return Size(found) if isinstance(key, slice) else found

    def __add__(self, other: Any) -> Size:
        return Size(tuple.__add__(self, tuple(other)))

    def __radd__(self, other: Any) -> Size:
        return Size((*other, *self))

    def __mul__(self, other: Any) -> Size:
        return Size(tuple.__mul__(self, other))

    __rmul__ = __mul__

    def __reduce__(self) -> tuple[Any, ...]:
        return Size, (tuple(self),)

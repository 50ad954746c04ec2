"""Where region writes go: writes of one memory that lie apart need no order among them, and become one launch."""
from __future__ import annotations

from torsh.core.shapes import Shape, contiguous_strides
from torsh.graph.node import Node

_MOST_LOOKS = 64  # comparisons with regions known before, when the extremes do not tell

#: (first, last) index in each dimension of the memory.
Box = tuple[tuple[int, int], ...]


def box_of(shape: Shape, region: tuple[Shape, Shape, int]) -> Box | None:
    """The smallest box of a memory of `shape` that holds a region (sizes, strides, offset). None where the region's steps are not along
    the memory's dimensions."""
    own = contiguous_strides(shape)
    sizes, strides, offset = region
    first: list[int] = []
    for n, step in zip(shape, own, strict=True):
        first.append(0 if n == 1 else offset // step)
        offset -= first[-1] * step
    last = list(first)
    for n, step in zip(sizes, strides, strict=True):
        if n == 1:
            continue
        along = next((d for d, s in enumerate(own) if shape[d] > 1 and s <= step), None)
        if along is None or step % own[along]:
            return None
        last[along] += (n - 1) * (step // own[along])
    if any(b >= n for b, n in zip(last, shape, strict=True)):
        return None
    return tuple(zip(first, last, strict=True))


class Apart:
    """Regions of one memory, none of which touches another."""
    __slots__ = ("boxes", "ends")

    def __init__(self, node: Node) -> None:
        box = box_of(node.shape, node.arg)
        self.boxes: list[Box] | None = None if box is None else [box]
        self.ends = [] if box is None else [b for _, b in box]

    def add(self, node: Node) -> bool:
        """Take in the region of another write if it lies apart from all."""
        box = box_of(node.shape, node.arg) if self.boxes else None
        if box is None or self.boxes is None:
            return False
        if not any(a > end for (a, _), end in zip(box, self.ends, strict=True)):  # behind all in some dimension?
            if len(self.boxes) > _MOST_LOOKS or not all(_apart(box, other) for other in self.boxes):
                return False
        self.boxes.append(box)
        self.ends = [max(end, b) for (_, b), end in zip(box, self.ends, strict=True)]
        return True


def _apart(x: Box, y: Box) -> bool:
    return any(b < c or d < a for (a, b), (c, d) in zip(x, y, strict=True))


__all__ = ["Apart", "box_of"]

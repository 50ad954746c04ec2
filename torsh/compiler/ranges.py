"""Which whole numbers a node's elements can be, told from the graph: indices that cannot be out of range need no look at run time."""
from __future__ import annotations

from torsh.graph.node import Node
from torsh.graph.primitives import CAST, CONST, IOTA, VIEW

Range = tuple[int, int]
_DEEPEST = 40


def known_range(node: Node, depth: int = 0) -> Range | None:
    """The lowest and the highest number an integer node can hold; None where that is not known. What a plan reads at run time is not."""
    if node.dtype.category > 1 or depth > _DEEPEST or not node.numel:
        return None
    op = node.op
    if op is IOTA:
        return 0, node.numel - 1
    if op is CONST:
        return int(node.arg), int(node.arg)
    if op.name == "reduce_argmax" or op.name == "reduce_argmin":
        source, count = node.srcs[0].shape, 1
        for axis in node.arg:
            count *= source[axis]
        return 0, count - 1
    found = [known_range(s, depth + 1) for s in (node.srcs[1:] if op.name == "where" else node.srcs)]
    if not found or None in found:
        return None
    ranges: list[Range] = found  # type: ignore[assignment]
    made = _combined(op.name, ranges) if op not in (VIEW, CAST) else ranges[0]
    bits = 8 * node.dtype.itemsize - 1
    return made if made is not None and -(1 << bits) <= made[0] and made[1] < 1 << bits else None


def _combined(name: str, ranges: list[Range]) -> Range | None:
    (a, b), (c, d) = ranges[0], ranges[-1]
    if name == "where":
        return min(a, c), max(b, d)
    if name == "add":
        return a + c, b + d
    if name == "sub":
        return a - d, b - c
    if name in ("mul", "max", "min"):
        corners = [x * y if name == "mul" else max(x, y) if name == "max" else min(x, y) for x in (a, b) for y in (c, d)]
        return min(corners), max(corners)
    if a < 0 or c <= 0:
        return None
    if name == "fmod":
        return 0, min(b, d - 1)
    if name == "cdiv":
        return a // d, b // c
    return None


def surely_below(index: Node, size: int) -> bool:
    """Whether all elements are in [0, size)."""
    found = known_range(index)
    return found is not None and found[0] >= 0 and found[1] < size


__all__ = ["known_range", "surely_below"]

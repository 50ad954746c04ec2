"""Realizing: giving nodes their numbers, whichever runtime computes them."""
from __future__ import annotations

from torsh.core import config
from torsh.graph.node import Node
from torsh.runtime import reference


def realize(nodes: list[Node]) -> None:
    """Compute every node of the list that has no buffer yet.

    Raises IndexError when a data-dependent index was out of range, and whatever a host library raises.
    """
    todo = [n for n in nodes if n.buffer is None]
    if todo:
        reference.evaluate(todo)

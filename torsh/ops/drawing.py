"""Where random tensors come from: numbers are drawn at the call, in program order, into memory of their own."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from torsh.compiler.realize import realize
from torsh.core.dtypes import dtype
from torsh.core.shapes import Shape, numel
from torsh.graph.node import Node
from torsh.graph.primitives import LEAF
from torsh.runtime.buffer import Buffer
from torsh.runtime.cpu.generator import default_generator
from torsh.runtime.cpu.memory import allocate
from torsh.tensor.creation import from_new_array
from torsh.tensor.tensor import Tensor, node_of, wrap


class _Mapped:
    """What draws while a function is vmapped: set by `func.vmap`."""
    draw: Callable[[Shape, Callable[..., np.ndarray], tuple[Tensor, ...]], Tensor] | None

    def __init__(self) -> None:
        self.draw = None


mapped: Final = _Mapped()


class Fill:
    """A draw of numbers that do not depend on tensors: `fill(address, count, dtype, *numbers)` writes them, for `shape` as for any other."""

    def __init__(self, dt: dtype, fill: Callable[..., None], numbers: tuple[Any, ...]) -> None:
        self.dt = dt
        self.fill = fill
        self.numbers = numbers

    def __call__(self, shape: Shape) -> np.ndarray:
        """The numbers as an array."""
        out = np.empty(shape, self.dt.np)
        write_numbers(out.ctypes.data, out.size, self.dt, self.fill, self.numbers)
        return out


def write_numbers(address: int, count: int, dt: dtype, fill: Callable[..., None], numbers: tuple[Any, ...]) -> None:
    """Complex numbers are drawn as pairs of reals."""
    if dt.is_complex:
        fill(address, 2 * count, dt.to_real().np, *numbers)
    else:
        fill(address, count, dt.np, *numbers)


def fresh(shape: Shape, dt: dtype, fill: Callable[..., None], *numbers: Any) -> Node:
    """A realized node of what `fill(address, count, dtype, *numbers)` writes."""
    count = numel(shape)
    nbytes: int = count * dt.itemsize
    block = allocate(nbytes)
    address = block.address
    if dt.is_complex or numbers:
        write_numbers(address, count, dt, fill, numbers)
    else:
        fill(address, count, dt.np)
    node = Node(LEAF, (), None, shape, dt)
    node.buffer = Buffer(address, nbytes, block)
    return node


def filled(shape: Shape, dt: dtype, fill: Callable[..., None], *numbers: Any) -> Tensor:
    """The tensor of what `fill(address, count, dtype, *numbers)` writes."""
    if mapped.draw is not None:
        return mapped.draw(shape, Fill(dt, fill, numbers), ())
    return wrap(fresh(shape, dt, fill, *numbers))


def engine_of(generator: Any) -> Any:
    """The engine of a `Generator`, of the default one for None."""
    return default_generator() if generator is None else generator.engine


def drawn(shape: Shape, draw: Callable[..., np.ndarray], *parameters: Tensor) -> Tensor:
    """The tensor of `draw(shape, *arrays)`, the arrays being the parameters' elements.

    While a function is vmapped, the shape and the arrays may have further dimensions in front.
    """
    if mapped.draw is not None:
        return mapped.draw(shape, draw, parameters)
    if isinstance(draw, Fill):
        return wrap(fresh(shape, draw.dt, draw.fill, *draw.numbers))
    return from_new_array(draw(shape, *[np.asarray(p._window(), order="C") for p in parameters]))


def memory_of(t: Tensor) -> tuple[Node, int]:
    """A tensor's elements, computed and contiguous: their node, and their address. Whoever reads there passes the node along: compiled code
    lets go of what it does not use any more."""
    node = node_of(t)
    if node.buffer is None:
        realize([node])
    return node, node.buffer.address


__all__ = ["drawn", "engine_of", "filled", "fresh", "mapped", "memory_of"]

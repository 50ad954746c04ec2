"""Storages: the node that is a memory's present value, its version, and memory shared with the outside."""
from __future__ import annotations

import ctypes
import sys
import weakref
from typing import Any, Final

import numpy as np

from torsh.compiler.realize import realize
from torsh.core.dtypes import dtype, float32, from_numpy
from torsh.core.referable import Referable
from torsh.core.shapes import Shape, contiguous_strides, numel
from torsh.graph.node import Node
from torsh.graph.primitives import ASSIGN, BITCAST, CONJ, LEAF, reshape
from torsh.runtime.buffer import Buffer
from torsh.runtime.cpu.memory import allocate
from torsh.tensor.outside import Foreign, alive, handle


class _Watch:
    """Set by `func.vmap` while a function is vmapped: `on_write(storage, node)` sees every write, `values(tensor)` gives the values of all examples."""
    on_write: Any = None
    values: Any = None


watch = _Watch()


_weakly: Final = weakref.ref


class Storage(Referable):
    """A memory with a present value.

    `node` is that value (flat contents; its shape is whatever the maker gave it). `version` counts writes.
    While an outside array shares the memory (`numpy()`, `from_numpy`, DLPack), `outside` tells so: reads then copy
    what they need at once, and writes land in the memory at once.
    A conjugate view stands on a storage of its own, whose value is the conjugate of its `mirror`'s; a write to either changes both.
    """
    __slots__ = ("node", "version", "outside", "mirror", "conjugate")

    node: Node
    version: int
    outside: list[Any] | None
    mirror: Any  # of a conjugate storage, the storage it mirrors; of others, a weak reference to the conjugate one, if there is one
    conjugate: bool

    def __init__(self, node: Node) -> None:
        self.node = node
        self.version = 0
        self.outside = None
        self.mirror = None
        self.conjugate = False

    def shared(self) -> bool:
        """Whether somebody outside can see or change the memory now."""
        if self.outside is None:
            return False
        self.outside = [o for o in self.outside if alive(o)] or None
        return self.outside is not None

    def address(self) -> int:
        """Where the realized contents are."""
        if self.node.buffer is None:
            realize([self.node])
        self.node.derived = None  # whoever asks may be about to write there
        return self.node.buffer.address  # type: ignore[no-any-return]

    def snapshot(self) -> Node:
        """The present value, as it stays: a copy while somebody outside can change the memory."""
        if self.outside is not None and self.shared():
            return copied(self.node, self.node.shape, 0)
        return self.node

    def write(self, node: Node) -> None:
        """Make `node` (as many elements, the same dtype) the present value."""
        if watch.on_write is not None:
            watch.on_write(self, node)
        self.version += 1
        if self.mirror is not None:
            self._reflect(node)
        if self.outside is None or not self.shared():
            self.node = node
            return
        realize([node])
        old = self.node
        memory = old.buffer.array(old.dtype.np, old.shape).reshape(-1)
        memory[...] = node.buffer.array(node.dtype.np, node.shape).reshape(-1)

    def _reflect(self, node: Node) -> None:
        """The mirror changes with this storage."""
        other = self.mirror if self.conjugate else self.mirror()
        if other is not None:
            other.node = conjugated(node)
            other.version = self.version

    def rewind(self, version: int) -> None:
        """Count no writes since `version`: the contents are again what they were then."""
        self.version = version
        other = None if self.mirror is None else self.mirror if self.conjugate else self.mirror()
        if other is not None:
            other.version = version

    def conjugated(self) -> Storage:
        """The storage of the conjugate values: the mirror of this one."""
        if self.conjugate:
            return self.mirror  # type: ignore[no-any-return]
        made = None if self.mirror is None else self.mirror()
        if made is None:
            made = Storage(conjugated(self.node))
            made.version, made.mirror, made.conjugate = self.version, self, True
            self.mirror = weakref.ref(made)
        return made  # type: ignore[no-any-return]

    def write_region(self, value: Node, shape: Shape, strides: Shape, offset: int) -> None:
        """Replace a strided region by `value` (of that shape, the same dtype)."""
        node = self.node
        if offset == 0 and strides == contiguous_strides(shape) and value.numel == node.numel:
            self.write(reshape(value, node.shape))
        else:
            self.write(Node(ASSIGN, (node, value), (shape, strides, offset), node.shape, node.dtype))

    def memory(self) -> np.ndarray:
        """The realized contents, flat, over the storage's own memory."""
        node = self.node
        if node.buffer is None:
            realize([node])
        return node.buffer.array(node.dtype.np, (node.numel,))

    def export(self) -> Any:
        """A `handle` to the memory, which is shared from now on while arrays stand on it.

        Pending readers of the present value keep it: the storage moves to memory of its own first.
        """
        if self.node.buffer is None:
            realize([self.node])
        if (self.outside is None or not self.shared()) and _node_references(self) > _NODE_ALONE:
            self.node = leaf(self.memory().copy())
        self.node.derived = None  # the memory may change now
        made = handle(self.node.buffer)
        if self.outside is None:
            self.outside = [_weakly(made)]
        else:
            self.outside.append(_weakly(made))
        return made


def conjugated(node: Node) -> Node:
    """The node of the conjugate values."""
    return node.srcs[0] if node.op is CONJ else Node(CONJ, (node,), None, node.shape, node.dtype)


def _node_references(storage: Storage) -> int:
    return sys.getrefcount(storage.node)


_NODE_ALONE = _node_references(Storage(Node(LEAF, (), None, (), float32)))


def leaf(array: np.ndarray) -> Node:
    """A realized node over the memory of a C-contiguous array."""
    node = Node(LEAF, (), None, array.shape, from_numpy(array.dtype))
    node.buffer = Buffer.of_array(array)
    return node


def copied(node: Node, shape: Shape, offset: int) -> Node:
    """A realized node over a copy of the elements of a realized one from `offset` on."""
    itemsize: int = node.dtype.itemsize
    nbytes = numel(shape) * itemsize
    block = allocate(nbytes)
    ctypes.memmove(block.address, node.buffer.address + offset * itemsize, nbytes)
    made = Node(LEAF, (), None, shape, node.dtype)
    made.buffer = Buffer(block.address, nbytes, block)
    return made


def of_outside(array: np.ndarray) -> Storage:
    """A storage over the memory of somebody's array (C-contiguous), shared with it."""
    node = leaf(array)
    owner = Foreign(array)
    node.buffer.owner = owner
    storage = Storage(node)
    storage.outside = [owner]
    return storage


def reinterpret(node: Node, dt: dtype) -> Node:
    """The same memory read as elements of `dt` (flat)."""
    if node.dtype is dt:
        return node
    return Node(BITCAST, (node,), None, (node.numel * node.dtype.itemsize // dt.itemsize,), dt)

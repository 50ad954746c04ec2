"""A function as one node: its graph over placeholders, and that of its derivative.

A captured function is a coarse operation. What it computes is expanded when a plan is built, so it is fused with what stands around it; its
derivative is another one, expanded from the same placeholders: in one plan both share what the forward computed, in two the backward
computes it again from the inputs, which is all that is kept.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torsh.autograd.grad_mode import state
from torsh.autograd.graph import GradNode
from torsh.core.native import mypyc_attr
from torsh.graph.node import Node, Op, several
from torsh.ops.views import zeros_like_shape
from torsh.tensor.tensor import Tensor, wrap


@mypyc_attr(native_class=False)
class GraphBreak(RuntimeError):
    """A value was needed while a function was being captured, or it does something that cannot be replayed."""


def _needed(node: Node) -> Any:
    raise GraphBreak("a tensor's value was needed (item(), bool(), numpy(), printing, or a result whose shape depends on values)")


#: Stands for an input of a captured function: it can be read by operations, never computed.
PLACEHOLDER = Op("placeholder", "coarse", None, _needed)


def placeholder(shape: tuple[int, ...], dtype: Any) -> Node:
    return Node(PLACEHOLDER, (), None, shape, dtype)


class Captured:
    """`outputs` over `inputs` (placeholders); and, where a gradient flows, `grads` over `inputs` and `arriving`.

    `wanted[i]` is an output that gradients arrive for; `grads[k]` is the gradient of the k-th differentiable tensor, or None.
    """

    def __init__(self, name: str, inputs: list[Node], outputs: list[Node]) -> None:
        self.name = name
        self.inputs = inputs
        self.outputs = outputs
        self.metas = tuple([(n.shape, n.dtype) for n in outputs])
        self.arriving: list[Node] = []
        self.wanted: list[int] = []
        self.grads: list[Node | None] = []
        self.grad_metas: tuple[Any, ...] = ()
        self.forward = Op("compiled", "coarse", None, self._forward, None, grad_name="CompiledBackward")
        self.backward = Op("compiled_backward", "coarse", None, self._backward, None)
        self.history = Op("compiled", "history", None, None, self._vjp, grad_name="CompiledBackward")

    def call(self, sources: tuple[Node, ...]) -> tuple[Node, ...]:
        """The outputs' nodes for these inputs."""
        if len(self.metas) == 1:
            shape, dt = self.metas[0]
            return (Node(self.forward, sources, (), shape, dt),)
        return several(self.forward, sources, (), self.metas)

    def _forward(self, node: Node, *sources: Node) -> Any:
        made = substitute(self.outputs, dict(zip(self.inputs, sources, strict=True)))
        return made[0] if len(made) == 1 else tuple(made)

    def _backward(self, node: Node, *sources: Node) -> Any:
        return tuple(substitute([g for g in self.grads if g is not None], dict(zip([*self.inputs, *self.arriving], sources, strict=True))))

    def _vjp(self, ctx: GradNode, *arrived: Tensor | None) -> tuple[Tensor | None, ...]:
        if state.enabled:
            raise RuntimeError(f"torsh.compile: a derivative of the derivative of {self.name} was asked for (create_graph=True); call the function "
                               "without torsh.compile for that")
        nodes = []
        for i, node in zip(self.wanted, self.arriving, strict=True):
            g = arrived[i]
            nodes.append(zeros_like_shape(node.shape, wrap(node))._node() if g is None else g._node())
        made = iter(several(self.backward, (*ctx.arg, *nodes), (), self.grad_metas)) if self.grad_metas else iter(())
        return tuple([None if g is None else wrap(next(made)) for g in self.grads])


def substitute(nodes: Sequence[Node], known: dict[Node, Node]) -> list[Node]:
    """The graph above `nodes` with others in place of the nodes that are known."""
    done = dict(known)
    stack = [(n, False) for n in reversed(nodes)]
    while stack:
        node, ready = stack.pop()
        if node in done:
            continue
        if not node.srcs:
            done[node] = node
        elif not ready:
            stack.append((node, True))
            stack.extend([(s, False) for s in node.srcs])
        else:
            srcs = tuple([done[s] for s in node.srcs])
            made = Node(node.op, srcs, node.arg, node.shape, node.dtype)
            made.outputs = node.outputs
            done[node] = made
    return [done[n] for n in nodes]


def leaves_of(nodes: Sequence[Node]) -> list[Node]:
    """The nodes with memory that a graph reads."""
    found: list[Node] = []
    seen: set[Node] = set()
    stack = list(nodes)
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if node.buffer is not None:
            found.append(node)
        else:
            stack.extend(node.srcs)
    return found


__all__ = ["Captured", "GraphBreak", "leaves_of", "placeholder", "substitute"]

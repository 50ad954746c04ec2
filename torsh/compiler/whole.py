"""Coarse operations that are not expanded, because there is a kernel for the whole of them."""
from __future__ import annotations

from torsh.graph.node import Node

#: Recurrent layers, by the name of their operation (`compiler.recurrent`); backwards they are called like this and `BACKWARD`.
RECURRENT = frozenset(("rnn_tanh_layer", "rnn_relu_layer", "lstm_layer", "gru_layer"))
BACKWARD = "_backward"


def fits(node: Node) -> bool:
    """Whether a kernel computes a coarse node: a layer, forwards or backwards, that says (last argument) that it is of the plain kind."""
    if node.op.name.removesuffix(BACKWARD) not in RECURRENT or node.outputs is None:
        return False
    native: bool = node.arg[-1]
    return native and all(n > 0 for n in (*node.outputs[0][0], *node.outputs[-1][0]))

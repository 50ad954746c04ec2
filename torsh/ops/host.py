"""Operations computed by host libraries (NumPy, SciPy) as opaque steps of a plan."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from torsh.core.shapes import Shape
from torsh.graph.node import Op
from torsh.graph.primitives import HOST_BATCHING, HOST_POINTWISE
from torsh.tensor.storage import watch
from torsh.tensor.tensor import Tensor


def every_value(t: Tensor) -> Any:
    """A tensor's elements as an array to check, computed now; while a function is vmapped, those of all examples."""
    return t._window() if watch.values is None else watch.values(t)


def leading(static: tuple[Any, ...], shapes: tuple[Shape, ...]) -> tuple[Any, ...]:
    """The batching rule of functions that take any dimensions in front as a batch."""
    return static


def axis_first(static: tuple[Any, ...], shapes: tuple[Shape, ...]) -> tuple[Any, ...]:
    """The batching rule of functions whose first static argument is an axis, or a tuple of axes, counted from the front."""
    axes = static[0]
    return (tuple([a + 1 for a in axes]) if isinstance(axes, tuple) else axes + 1, *static[1:])


def host_op(name: str, function: Callable[..., Any], vjp: Callable[..., Any] | None = None, save_inputs: tuple[int, ...] = (),
            save_output: bool = False, grad_name: str | None = None, batching: Any = leading, pointwise: bool = False) -> Op:
    """An operation computed by a host library: `function(*arrays, *arg)` gives an array or a tuple of them.

    `batching` is how it takes a batch under vmap (see `graph.primitives.HOST_BATCHING`); `pointwise`: element by element, broadcasting.
    """
    def reference(node: Any, *arrays: Any) -> Any:
        with np.errstate(all="ignore"):
            return function(*arrays, *(node.arg or ()))
    op = Op(name, "host", reference, None, vjp, save_inputs, save_output, grad_name)
    if pointwise:
        HOST_POINTWISE.add(op)
    else:
        HOST_BATCHING[op] = batching
    return op

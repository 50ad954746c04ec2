"""Operations computed by host libraries (NumPy, SciPy) as opaque steps of a plan."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from torsh.graph.node import Op
from torsh.graph.primitives import leading_batch
from torsh.tensor.storage import watch
from torsh.tensor.tensor import Tensor


def every_value(t: Tensor) -> Any:
    """A tensor's elements as an array to check, computed now; while a function is vmapped, those of all examples."""
    return t._window() if watch.values is None else watch.values(t)


def host_op(name: str, function: Callable[..., Any], vjp: Callable[..., Any] | None = None, save_inputs: tuple[int, ...] = (),
            save_output: bool = False, grad_name: str | None = None, batching: Callable[[Any], Any] = leading_batch) -> Op:
    """An operation computed by a host library: `function(*arrays, *arg)` gives an array or a tuple of them.

    `batching` is how it takes a batch under vmap: `leading_batch`, `broadcasting`, `axis_first` or `axes_first` of `graph.primitives`.
    """
    def reference(node: Any, *arrays: Any) -> Any:
        with np.errstate(all="ignore"):
            return function(*arrays, *(node.arg or ()))
    op: Op = batching(Op(name, "host", reference, None, vjp, save_inputs, save_output, grad_name))
    return op

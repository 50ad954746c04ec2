"""How special functions are declared: SciPy's as host steps that broadcast, under `torsh.special` and, for some, as methods too."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from torsh.autograd.graph import GradNode
from torsh.core.dtypes import dtype
from torsh.graph.node import Op
from torsh.graph.primitives import broadcasting
from torsh.ops.dispatch import pointwise, result_type_of, with_out
from torsh.ops.host import host_op
from torsh.ops.pointwise import float_type
from torsh.ops.views import zeros_like_shape
from torsh.tensor.tensor import Tensor

#: torsh.special.<name>
SPECIAL: dict[str, Callable[..., Any]] = {}


def special(*names: str, out: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: the function is `torsh.special.<name>`, with an `out=` argument unless told otherwise."""
    def register(f: Callable[..., Any]) -> Callable[..., Any]:
        for name in names or (f.__name__,):
            SPECIAL[name] = with_out(f, name) if out else f
        return f
    return register


def scipy_op(name: str, vjp: Callable[..., Any] | None, save_inputs: tuple[int, ...] = (), save_output: bool = False) -> Op:
    """An operation that SciPy's function of that name computes; half types in float32."""
    def function(*arrays: Any, **options: Any) -> Any:
        import scipy.special
        return getattr(scipy.special, name)(*[a.astype(np.float32) if a.itemsize == 2 else a for a in arrays])
    return host_op("special_" + name, function, vjp, save_inputs, save_output, batching=broadcasting)


def real_type(what: str, *args: Any) -> dtype:
    """The type a function of reals computes in: integers give the default floating type. Raises RuntimeError for complex operands, TypeError
    for anything that is neither tensor nor number."""
    dt = args[0]._dtype if len(args) == 1 and isinstance(args[0], Tensor) else result_type_of(args[0], args[-1])
    if dt.is_complex:
        raise RuntimeError(f"{what}: not implemented for complex tensors (got dtype {dt.title})")
    return float_type(dt)


def real_function(what: str, op: Op, *args: Any) -> Tensor:
    """A call of a function of one or two reals, broadcast."""
    if not any(isinstance(a, Tensor) for a in args):
        raise TypeError(f"{what}(): expected a Tensor, got {', '.join(type(a).__name__ for a in args)}")
    dt = real_type(what, *args)
    return pointwise(op, args, dt, dt, what)


def constant(value: float, like: Tensor) -> Tensor:
    """A number with the dtype of `like`."""
    return zeros_like_shape((), like) + value  # type: ignore[no-any-return]


def without_derivative(name: str) -> Callable[..., Any]:
    """A vjp that says there is none."""
    def vjp(ctx: GradNode, *g: Any) -> Any:
        raise NotImplementedError(f"the derivative for '{name}' is not implemented.")
    return vjp

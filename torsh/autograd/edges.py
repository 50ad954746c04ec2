"""More names of `torsh.autograd.graph`: edges of the recorded graph, what a node is, and rules about saved tensors."""
from __future__ import annotations

import abc
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torsh.autograd import engine, graph
from torsh.autograd.graph import AccumulateGrad, GradNode, edge, requires_grad, saved_tensors_hooks, settings
from torsh.graph.node import Node as Value
from torsh.graph.primitives import EMPTY
from torsh.tensor.storage import Storage
from torsh.tensor.tensor import Tensor


class Node(metaclass=abc.ABCMeta):  # noqa: B024  (a name for others, with nothing of its own)
    """What `Tensor.grad_fn` is: the record of a call, or the end of a path at a leaf."""


Node.register(GradNode)
Node.register(AccumulateGrad)


class GradientEdge(NamedTuple):
    """Where a gradient flows to: an output of a recorded call. Stands for its tensor in `torsh.autograd.grad` and `backward`."""
    node: Any
    output_nr: int


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """The edge by which the gradient of `tensor` flows. Raises RuntimeError for a tensor that does not require grad.

    >>> import torsh
    >>> x = torsh.tensor(3.0, requires_grad=True)
    >>> y = torsh.autograd.graph.get_gradient_edge(x * x)
    >>> torsh.autograd.grad(y, x, torsh.tensor(1.0))
    (tensor(6.),)
    """
    if not requires_grad(tensor):
        raise RuntimeError("It is not possible to get the gradient edge for a Tensor that does not require gradients")
    return GradientEdge(*edge(tensor))


def standing_for(x: Any) -> Any:
    """A tensor with the shape, dtype and history of what an edge belongs to (its elements are not there); the values of a sparse
    tensor; anything else as it is."""
    if type(x) is Tensor:
        return x
    if not isinstance(x, GradientEdge):
        return getattr(x, "_graded", x)
    if isinstance(x.node, AccumulateGrad):
        return x.node.variable
    shape, dt = x.node.out_meta[x.output_nr]
    made = Tensor(Storage(Value(EMPTY, (), None, shape, dt)), shape, dt)
    made._requires_grad, made._grad_fn, made._output_nr = True, x.node, x.output_nr
    return made


def increment_version(tensor: Tensor | Sequence[Tensor]) -> None:
    """Tell autograd that the tensors were written by something it does not see: saved tensors among them are found changed."""
    for t in (tensor,) if isinstance(tensor, Tensor) else tensor:
        t._storage.version += 1


class _Handles:
    """Removes several hooks; also a context manager."""

    def __init__(self, handles: Sequence[graph.HookHandle]) -> None:
        self.handles = handles

    def remove(self) -> None:
        """Remove the hooks (again is no error)."""
        for h in self.handles:
            h.remove()

    def __enter__(self) -> _Handles:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


def register_multi_grad_hook(tensors: Sequence[Tensor], fn: Callable[[Any], None], *, mode: str = "all") -> _Handles:
    """Call `fn(gradients)` in every backward that reaches the tensors, when all of their gradients are there (None for those not reached).

    With mode "any", `fn(gradient)` is called for the first one. Raises ValueError for another mode.
    """
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    nodes = [edge(t)[0] for t in tensors]
    found: list[Tensor | None] = []
    task: Any = None
    left = 0

    def arrived(i: int, g: Tensor) -> None:
        nonlocal found, task, left
        current = engine.running[-1]
        first = task is not current
        if first:
            task, found = current, [None] * len(nodes)
            left = sum([current.reaches(n) for n in nodes])
        found[i] = g
        left -= 1
        if mode == "any":
            if first:
                fn(g)
        elif left == 0:
            fn(found)
        if left == 0:
            task = None
    return _Handles([t.register_hook(functools.partial(arrived, i)) for i, t in enumerate(tensors)])  # type: ignore[attr-defined]


class save_on_cpu(saved_tensors_hooks):
    """Context manager: what recorded calls save is kept in the CPU's memory. On the CPU that is where it is."""

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        if pin_memory:
            raise RuntimeError("save_on_cpu: pin_memory=True needs an accelerator backend; this build of ToRSh has none")
        super().__init__(lambda t: t, lambda t: t)


class disable_saved_tensors_hooks:
    """Context manager and decorator: hooks on saved tensors may not be set inside. RuntimeError with this message if they are, or were."""

    def __init__(self, error_message: str) -> None:
        self.error_message = error_message

    def __enter__(self) -> None:
        if settings.saved_hooks:
            raise RuntimeError(self.error_message)
        self._previous, settings.hooks_disabled = settings.hooks_disabled, self.error_message

    def __exit__(self, *exc: object) -> None:
        settings.hooks_disabled = self._previous

    def __call__(self, function: Any) -> Any:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with disable_saved_tensors_hooks(self.error_message):
                return function(*args, **kwargs)
        return wrapped


class _VariableType(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, Tensor)


class Variable(metaclass=_VariableType):
    """PyTorch's older name of a tensor: `Variable(t, requires_grad)` is a tensor on the same storage."""

    def __new__(cls, data: Tensor, requires_grad: bool = False) -> Tensor:  # type: ignore[misc]
        return data.detach().requires_grad_(requires_grad)  # type: ignore[attr-defined,no-any-return]


__all__ = ["GradientEdge", "Node", "disable_saved_tensors_hooks", "get_gradient_edge", "increment_version", "register_multi_grad_hook", "save_on_cpu"]
for _name in __all__:
    setattr(graph, _name, globals()[_name])

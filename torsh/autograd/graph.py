"""The record of what was computed: one `GradNode` per differentiable call, with what backward will read."""
from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Final

from torsh.autograd.grad_mode import state
from torsh.autograd.handles import HookHandle
from torsh.core.dtypes import dtype
from torsh.core.native import i64, mypyc_attr
from torsh.core.shapes import Shape
from torsh.graph.node import Op
from torsh.tensor.storage import Storage
from torsh.tensor.tensor import Tensor, alias, node_of

_sequence: Final = itertools.count()


class _Settings:
    """Hooks around saved tensors (innermost last) and what anomaly mode calls when a record is made."""
    saved_hooks: list[tuple[Callable[[Tensor], Any], Callable[[Any], Tensor]]] = []
    on_record: Callable[[GradNode], None] | None = None
    hooks_disabled: str | None = None  # why hooks on saved tensors may not be set


settings: Final = _Settings()


class Saved:
    """A tensor kept for backward, with its version when it was kept."""
    __slots__ = ("tensor", "version", "is_output", "packed", "unpack", "edge", "output_nr")

    def __init__(self, tensor: Tensor, is_output: bool) -> None:
        if is_output:  # an alias without history: the record must not own its own output
            kept = alias(tensor, tensor._shape, tensor._strides, tensor._offset)
            kept._requires_grad = tensor._requires_grad
            kept._output_nr = tensor._output_nr
            tensor = kept
        self.version = tensor._storage.version
        self.is_output = is_output
        self.unpack: Callable[[Any], Tensor] | None = None
        if settings.saved_hooks:
            pack, self.unpack = settings.saved_hooks[-1]
            self.edge = edge(tensor) if tensor._requires_grad and not is_output else None
            self.output_nr = tensor._output_nr if tensor._requires_grad else -1
            self.packed = _without_hooks(pack, alias(tensor, tensor._shape, tensor._strides, tensor._offset))
            self.tensor: Tensor | None = None
            if tensor._storage.version != self.version:
                raise RuntimeError("A saved tensor pack hook is modifying its input in place. Tensors provided as input to pack hook can not be "
                                   "modified by in-place operations as this can lead to unexpected side-effects. Please open an issue if you need "
                                   "to perform in-place operations on the input to a pack hook.")
        else:
            self.tensor = tensor

    def get(self, owner: GradNode) -> Tensor:
        """The tensor. Raises RuntimeError when it was modified in place since."""
        if self.unpack is not None:
            found = _without_hooks(self.unpack, self.packed)
            if not isinstance(found, Tensor):
                raise TypeError(f"Output of saved tensor unpack_hook expected to be a Tensor but got result of type {type(found).__name__}")
            return self._with_history(found, owner)
        tensor = self.tensor
        assert tensor is not None
        if tensor._storage.version != self.version:
            raise RuntimeError(
                f"one of the variables needed for gradient computation has been modified by an inplace operation: "
                f"[torch.{tensor._dtype.title}Tensor {list(tensor._shape)}], which is "
                f"{'output 0 of ' + owner.name if self.is_output else 'an input of ' + owner.name}, is at version "
                f"{tensor._storage.version}; expected version {self.version} instead. Hint: enable anomaly detection to find the "
                "operation that failed to compute its gradient, with torsh.autograd.set_detect_anomaly(True).")
        if self.is_output and tensor._requires_grad:
            again = alias(tensor, tensor._shape, tensor._strides, tensor._offset)
            again._requires_grad = True
            again._grad_fn = owner
            again._output_nr = tensor._output_nr
            return again
        return tensor


    def _with_history(self, found: Tensor, owner: GradNode) -> Tensor:
        """An unpacked tensor, with the history of the one that was packed."""
        if self.edge is None and (not self.is_output or self.output_nr < 0):
            return found
        again = alias(found, found._shape, found._strides, found._offset)
        again._requires_grad = True
        fn, again._output_nr = (owner, self.output_nr) if self.edge is None else self.edge
        if isinstance(fn, AccumulateGrad):
            again._accumulator = fn
        else:
            again._grad_fn = fn
        return again


def _without_hooks(call: Callable[[Any], Any], x: Any) -> Any:
    """`call(x)`, unrecorded; what it saves itself is not packed again."""
    hooks, settings.saved_hooks = settings.saved_hooks, []
    enabled, state.enabled = state.enabled, False
    try:
        return call(x)
    finally:
        settings.saved_hooks, state.enabled = hooks, enabled


@mypyc_attr(native_class=False)
class Name(str):
    """A name that may also be called, as PyTorch's `grad_fn.name()` is."""
    __slots__ = ()

    def __call__(self) -> str:
        return str(self)


@mypyc_attr(allow_interpreted_subclasses=True)
class Point:
    """What a backward pass visits, with what the pass that `visit` numbers keeps here: how many gradients are yet to come, and those that came."""
    __slots__ = ("edges", "order", "visit", "waiting", "arrived")

    edges: tuple[Any, ...]
    order: i64
    visit: i64
    waiting: i64
    arrived: list[Tensor | None] | None


@mypyc_attr(allow_interpreted_subclasses=True)
class GradNode(Point):
    """One recorded call: `op.vjp(self, *grads)` gives the gradients of its inputs.

    `edges[i]` is (producer, output number) of input i, or None. In `vjp`, `ctx[i]` is saved input i, `ctx.out` the
    saved output, `ctx.arg` the call's static argument, `ctx.needs[i]`, `ctx.shapes[i]`, `ctx.dtypes[i]` tell of input i.
    """
    __slots__ = ("op", "arg", "inputs", "outputs", "shapes", "dtypes", "needs", "out_meta", "released", "pre_hooks", "hooks", "retained", "metadata", "where")

    def __init__(self, op: Op, arg: Any, tensors: tuple[Tensor, ...]) -> None:
        self.op = op
        self.arg = arg
        self.edges = tuple([edge(t) if requires_grad(t) else None for t in tensors])
        self.needs = tuple([e is not None for e in self.edges])
        self.shapes = tuple([t._shape for t in tensors])
        self.dtypes = tuple([t._dtype for t in tensors])
        self.inputs: dict[int, Saved] | None = {i: Saved(tensors[i], False) for i in op.save_inputs if i < len(tensors)}
        self.outputs: list[Saved] = []
        self.out_meta: tuple[tuple[Shape, dtype], ...] = ()
        self.order = next(_sequence)
        self.visit = self.waiting = 0
        self.arrived = None
        self.released = False
        self.pre_hooks: Any = None
        self.hooks: Any = None
        self.retained: Any = None
        self.metadata: dict[str, Any] | None = None
        self.where: Any = None
        if settings.on_record is not None:
            settings.on_record(self)

    @property
    def name(self) -> Name:
        return Name(self.op.grad_name)

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        return tuple((None, 0) if e is None else e for e in self.edges)

    def __getitem__(self, i: int) -> Tensor:
        return self.inputs[i].get(self)  # type: ignore[index]

    @property
    def out(self) -> Tensor:
        return self.outputs[0].get(self)

    def saved_output(self, i: int) -> Tensor:
        return self.outputs[i].get(self)

    def apply(self, grads: list[Tensor | None]) -> Any:
        if self.released:
            raise RuntimeError("Trying to backward through the graph a second time (or directly access saved tensors after they have "
                               "already been freed). Saved intermediate values of the graph are freed when you call .backward() or "
                               "autograd.grad(). Specify retain_graph=True if you need to backward through the graph a second time or "
                               "if you need to access saved tensors after calling backward.")
        return self.op.vjp(self, *grads)  # type: ignore[misc]

    def release(self) -> None:
        """Drop what was saved. Calls that saved nothing can still be run again, as in PyTorch."""
        if self.inputs or self.outputs:
            self.inputs, self.outputs, self.released = None, [], True

    def register_hook(self, hook: Callable[..., Any]) -> HookHandle:
        """Call `hook(grad_inputs, grad_outputs)` after this node ran; a returned tuple replaces the gradients."""
        if self.hooks is None:
            self.hooks = {}
        return HookHandle(self.hooks, hook)

    def register_prehook(self, hook: Callable[..., Any]) -> HookHandle:
        """Call `hook(grad_outputs)` before this node runs; a returned tuple replaces the gradients."""
        if self.pre_hooks is None:
            self.pre_hooks = {}
        return HookHandle(self.pre_hooks, lambda grads: hook(tuple(grads)))

    def __repr__(self) -> str:
        return f"<{self.name} object at {hex(id(self))}>"


class AccumulateGrad(Point):
    """The end of a path: adds what arrives to `variable.grad`."""
    __slots__ = ("variable", "hooks", "pre_hooks", "post_hooks")
    name = Name("torch::autograd::AccumulateGrad")
    next_functions = ()
    metadata: Any = None
    where: Any = None
    retained: Any = None

    def __init__(self, variable: Tensor) -> None:
        self.variable = variable
        self.edges = ()
        self.visit = self.waiting = 0
        self.arrived = None
        self.order = 1 << 62  # leaves first: their gradients are freed soonest
        self.hooks: Any = None
        self.pre_hooks: Any = None
        self.post_hooks: Any = None

    def register_hook(self, hook: Callable[..., Any]) -> HookHandle:
        if self.hooks is None:
            self.hooks = {}
        return HookHandle(self.hooks, hook)

    def register_prehook(self, hook: Callable[..., Any]) -> HookHandle:
        if self.pre_hooks is None:
            self.pre_hooks = {}
        return HookHandle(self.pre_hooks, lambda grads: hook(tuple(grads)))

    def release(self) -> None:
        pass


def accumulator(t: Tensor) -> AccumulateGrad:
    """The node that accumulates into a leaf's `.grad`; one for a leaf."""
    if t._accumulator is None:
        t._accumulator = AccumulateGrad(t)
    return t._accumulator  # type: ignore[no-any-return]


def edge(t: Tensor) -> tuple[Any, int]:
    """Where the gradient of `t` goes."""
    fn = grad_fn(t)
    return (accumulator(t), 0) if fn is None else (fn, t._output_nr)


#: Set by `ops.views`: makes the grad_fn of a view anew after its base was written.
regenerate_view: Callable[[Tensor], None] = None  # type: ignore[assignment]
#: Set by `ops.views`: `overwritten(t, fn, output_nr)` makes that output of `fn` the history of `t` (or of its base's region).
overwritten: Callable[[Tensor, Any, int], None]


def grad_fn(t: Tensor) -> Any:
    """The node that made `t`, or None for a leaf."""
    if t._base is not None and t._view_version != t._storage.version:
        regenerate_view(t)
    return t._grad_fn


def requires_grad(t: Tensor) -> bool:
    """Whether a gradient flows to `t`. A view may have come to need one when its base was written."""
    if t._base is not None and t._view_version != t._storage.version:
        regenerate_view(t)
    return t._requires_grad


def needs_record(tensors: tuple[Tensor, ...]) -> bool:
    """Whether a call on these tensors is to be recorded."""
    for t in tensors:
        if t._requires_grad or (t._base is not None and requires_grad(t)):
            return state.enabled
    return False


def record(op: Op, arg: Any, tensors: tuple[Tensor, ...], outs: tuple[Tensor, ...]) -> GradNode:
    """Make `outs` the results of a differentiable call on `tensors`."""
    for t in tensors:
        if t._inference and t._requires_grad:
            raise RuntimeError("Inference tensors cannot be saved for backward. To work around you can make a clone to get a normal tensor")
    fn = GradNode(op, arg, tensors)
    fn.out_meta = tuple([(o._shape, o._dtype) for o in outs])
    for i, o in enumerate(outs):
        if o._dtype.category >= 2:
            o._requires_grad = True
            o._grad_fn = fn
            if i:
                o._output_nr = i
    if op.save_output:
        fn.outputs = [Saved(o, True) for o in outs]
    return fn


def snapshot(t: Tensor) -> Tensor:
    """The present value of `t` with its present history, apart from writes to come. Costs no copy: nodes are values."""
    out = Tensor(Storage(node_of(t)), t._shape, t._dtype)
    out._requires_grad = t._requires_grad
    if t._requires_grad:
        fn, nr = edge(t)
        out._grad_fn = fn if not isinstance(fn, AccumulateGrad) else None
        out._accumulator = fn if isinstance(fn, AccumulateGrad) else None
        out._output_nr = nr
    return out


@mypyc_attr(allow_interpreted_subclasses=True)
class saved_tensors_hooks:
    """Context manager: what recorded calls save goes through `pack_hook(tensor)`, and backward reads `unpack_hook(packed)`.

    >>> import torsh
    >>> x = torsh.tensor([2.0], requires_grad=True)
    >>> with saved_tensors_hooks(lambda t: t.to(torsh.float16), lambda t: t.to(torsh.float32)):
    ...     y = x * x
    >>> y.backward()
    >>> x.grad.tolist()
    [4.0]
    """

    def __init__(self, pack_hook: Callable[[Tensor], Any], unpack_hook: Callable[[Any], Tensor]) -> None:
        self.pack_hook, self.unpack_hook = pack_hook, unpack_hook

    def __enter__(self) -> None:
        if settings.hooks_disabled is not None:
            raise RuntimeError(settings.hooks_disabled)
        settings.saved_hooks = [*settings.saved_hooks, (self.pack_hook, self.unpack_hook)]

    def __exit__(self, *exc: object) -> None:
        settings.saved_hooks = settings.saved_hooks[:-1]

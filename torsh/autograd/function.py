"""`torsh.autograd.Function`: operations with a derivative written by hand."""
from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from torsh.autograd import graph
from torsh.autograd.grad_mode import no_grad
from torsh.autograd.graph import GradNode, Name, Saved, needs_record, requires_grad
from torsh.core.shapes import broadcast
from torsh.graph.node import Op
from torsh.tensor.creation import zeros
from torsh.tensor.tensor import Tensor, wrap

_FUNCTION = Op("function", "history")
_FREED = ("Trying to backward through the graph a second time (or directly access saved tensors after they have already been freed). Saved "
          "intermediate values of the graph are freed when you call .backward() or autograd.grad(). Specify retain_graph=True if you need to "
          "backward through the graph a second time or if you need to access saved tensors after calling backward.")


class FunctionCtx(GradNode):
    """The record of one call of a `Function`: `ctx` in its `forward` and `backward`. Takes any further attribute.

    `needs_input_grad[i]` tells whether argument i of `apply` is a tensor that requires grad.
    """
    _function: type[Function]
    needs_input_grad: tuple[bool, ...]

    def __init__(self, args: tuple[Any, ...]) -> None:
        self._tensor_args = [i for i, a in enumerate(args) if isinstance(a, Tensor)]
        GradNode.__init__(self, _FUNCTION, None, tuple([args[i] for i in self._tensor_args]))
        self.needs_input_grad = tuple([isinstance(a, Tensor) and requires_grad(a) for a in args])
        self._arguments = len(args)
        self._to_save: tuple[Tensor | None, ...] = ()
        self._saved: list[Saved | None] = []
        self._dirty: tuple[Tensor, ...] = ()
        self._constant: tuple[Tensor, ...] = ()
        self._materialize = True

    @property
    def name(self) -> Name:
        return Name(type(self).__name__)

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors (or None) for `backward`, which finds them in `saved_tensors`. Raises TypeError for anything else."""
        for t in tensors:
            if t is not None and not isinstance(t, Tensor):
                raise TypeError(f"save_for_backward can only save variables, but argument is of type {type(t).__name__}")
        self._to_save = tensors

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        """What `save_for_backward` kept. Raises RuntimeError when it was freed, or changed in place since."""
        if self.released:
            raise RuntimeError(_FREED)
        return tuple([None if s is None else s.get(self) for s in self._saved])

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Tell that `forward` changed these inputs in place; it must return them."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Tell that no gradient flows through these outputs."""
        self._constant = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether `backward` gets zeros (the default) or None for outputs that no gradient reached."""
        self._materialize = bool(value)

    def apply(self, grads: list[Tensor | None]) -> tuple[Tensor | None, ...]:
        """The gradients of the tensor arguments. Raises RuntimeError when `backward` returns too few, or of wrong shapes."""
        if self.released:
            raise RuntimeError(_FREED)
        given: list[Tensor | None] = list(grads)
        if self._materialize:
            for i, meta in enumerate(self.out_meta):
                if given[i] is None and meta is not None:
                    given[i] = zeros(meta[0], dtype=meta[1])
        found = self._function.backward(self, *given)
        if not isinstance(found, tuple):
            found = (found,)
        if len(found) < self._arguments or any(g is not None for g in found[self._arguments:]):
            raise RuntimeError(f"function {self.name} returned an incorrect number of gradients (expected {self._arguments}, got {len(found)})")
        wanted = set(self._tensor_args)
        for i, g in enumerate(found):
            if g is None:
                continue
            if not isinstance(g, Tensor):
                raise TypeError(f"expected Variable or None (got {type(g).__name__})")
            if i not in wanted:
                raise RuntimeError(f"function {self.name} returned a gradient different than None at position {i + 1}, but the corresponding "
                                   "forward input was not a Variable")
        results = tuple([found[i] for i in self._tensor_args])
        for i, g in enumerate(results):
            if g is not None and g._shape != self.shapes[i] and not _sums_to(g._shape, self.shapes[i]):
                raise RuntimeError(f"Function {self.name} returned an invalid gradient at index {i} - got {list(g._shape)} but expected shape "
                                   f"compatible with {list(self.shapes[i])}")
        return results

    def release(self) -> None:
        if self._saved:
            self._saved, self.released = [], True

    def _keep(self, outputs: Sequence[Any]) -> None:
        ids = {id(o) for o in outputs}
        self._saved = [None if t is None else Saved(t, id(t) in ids) for t in self._to_save]
        self._to_save, self._dirty, self._constant = (), (), ()


def _sums_to(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    try:
        return broadcast(target, shape, "backward") == shape
    except RuntimeError:
        return False


class Function:
    """Base of operations with their own backward. Subclasses have static methods and are called with `apply`.

    `forward(ctx, *args)`, or `forward(*args)` with `setup_context(ctx, inputs, output)`, computes without being recorded;
    `backward(ctx, *grad_outputs)` returns one gradient (or None) for each argument of forward.

    >>> import torsh
    >>> class Cube(torsh.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x * x
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         x, = ctx.saved_tensors
    ...         return 3 * x * x * g
    >>> x = torsh.tensor(2.0, requires_grad=True)
    >>> Cube.apply(x).backward()
    >>> x.grad.item()
    12.0
    """
    _ctx: type[FunctionCtx] = FunctionCtx

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._ctx = type(cls.__name__ + "Backward", (FunctionCtx,), {"_function": cls, "__module__": cls.__module__})

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Compute the outputs. Subclasses define it."""
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        """Keep what backward needs, where `forward` takes no `ctx`."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """The gradients of forward's arguments. Subclasses define it."""
        raise NotImplementedError("You must implement either the backward or vjp method for your custom autograd.Function to use it with "
                                  "backward mode AD.")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Call the operation; its outputs are recorded with the class's `backward`.

        Raises RuntimeError when an input marked dirty is not returned, or is a leaf that requires grad.
        """
        recording = needs_record(tuple([a for a in args if isinstance(a, Tensor)]))
        ctx = cls._ctx(args)
        with no_grad():
            if cls.setup_context is not Function.setup_context:
                output = cls.forward(*args)
                cls.setup_context(ctx, args, output)
            else:
                output = cls.forward(ctx, *args)
        outputs = output if isinstance(output, tuple) else (output,)
        dirty = {id(t) for t in ctx._dirty}
        if not dirty <= {id(o) for o in outputs}:
            raise RuntimeError("Some elements marked as dirty during the forward method were not returned as output. The inputs that are modified "
                               "inplace must all be outputs of the Function.")
        if not recording:
            ctx._to_save = ()
            return output
        inputs = {id(a) for a in args if isinstance(a, Tensor)}
        renamed: dict[int, Tensor] = {}
        made = []
        constant = {id(t) for t in ctx._constant}
        ctx.out_meta = tuple([(o._shape, o._dtype) if isinstance(o, Tensor) else None for o in outputs])  # type: ignore[misc]
        for nr, o in enumerate(outputs):
            if not isinstance(o, Tensor):
                made.append(o)
                continue
            differentiable = id(o) not in constant and o._dtype.category >= 2
            if id(o) in dirty:
                graph.overwritten(o, ctx, nr)
                made.append(o)
                continue
            # An input given back, a view and a result with a history of its own become tensors of their own.
            new = wrap(o._node()) if id(o) in inputs or o._base is not None or o._requires_grad else o
            if differentiable:
                new._requires_grad, new._grad_fn, new._output_nr = True, ctx, nr
            renamed[id(o)] = new
            made.append(new)
        ctx._to_save = tuple([t if t is None or id(t) in inputs else renamed.get(id(t), t) for t in ctx._to_save])
        ctx._keep(made)
        return tuple(made) if isinstance(output, tuple) else made[0]


def _refuse(ctx: GradNode, *grads: Tensor) -> Any:
    raise RuntimeError("trying to differentiate twice a function that was marked with @once_differentiable")


_ONCE = Op("once_differentiable", "history", None, None, _refuse, grad_name="DelayedErrorBackward0")


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator for a `backward` that is not differentiable itself: a second differentiation raises RuntimeError."""
    @functools.wraps(backward)
    def call(ctx: Any, *grads: Any) -> Any:
        with no_grad():
            found = backward(ctx, *grads)
        sources = tuple([g for g in grads if isinstance(g, Tensor)])
        if not needs_record(sources):
            return found
        results = found if isinstance(found, tuple) else (found,)
        refused = [wrap(g._node()) if isinstance(g, Tensor) else g for g in results]
        graph.record(_ONCE, None, sources, tuple([g for g in refused if isinstance(g, Tensor)]))
        return tuple(refused) if isinstance(found, tuple) else refused[0]
    return call


__all__ = ["Function", "FunctionCtx", "once_differentiable"]

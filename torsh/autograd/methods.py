"""Tensor's side of autograd: requires_grad, grad, hooks, backward."""
from __future__ import annotations

from collections.abc import Callable, Sequence

from torsh.autograd import engine
from torsh.autograd.graph import AccumulateGrad, accumulator, grad_fn, requires_grad
from torsh.autograd.handles import HookHandle
from torsh.tensor.printing import format_tensor
from torsh.tensor.storage import watch
from torsh.tensor.tensor import Tensor, method


def _set_requires_grad(t: Tensor, flag: bool) -> None:
    if flag and t._dtype.category < 2:
        raise RuntimeError("only Tensors of floating point dtype can require gradients")
    if not flag and t._requires_grad and grad_fn(t) is not None:
        raise RuntimeError("you can only change requires_grad flags of leaf variables. If you want to use a computed variable in a subgraph that "
                           "doesn't require differentiation use var_no_grad = var.detach().")
    if flag and t._inference:
        raise RuntimeError("Setting requires_grad=True on inference tensor outside InferenceMode is not allowed.")
    t._requires_grad = bool(flag)


def _set_grad(t: Tensor, g: Tensor | None) -> None:
    if g is not None:
        if not isinstance(g, Tensor):
            raise TypeError(f"assigned grad expected to be a Tensor or None but got grad of type {type(g).__name__}")
        if g._shape != t._shape:
            raise RuntimeError(f"attempting to assign a gradient of size '{list(g._shape)}' to a tensor of size '{list(t._shape)}'. Please ensure that the "
                               "gradient and the tensor are the same size")
        if g._dtype is not t._dtype:
            raise RuntimeError(f"assigned grad has data of a different type: expected {t._dtype.name}, got {g._dtype.name}")
    t._grad = g


Tensor.requires_grad = property(requires_grad, _set_requires_grad)  # type: ignore[attr-defined]
Tensor.grad = property(lambda t: t._grad, _set_grad, lambda t: _set_grad(t, None))  # type: ignore[attr-defined]
Tensor.grad_fn = property(grad_fn)  # type: ignore[attr-defined]
Tensor.is_leaf = property(lambda t: not requires_grad(t) or grad_fn(t) is None)  # type: ignore[attr-defined]
Tensor.output_nr = property(lambda t: t._output_nr)  # type: ignore[attr-defined]
Tensor.retains_grad = property(lambda t: t._retains)  # type: ignore[attr-defined]
Tensor._is_view = lambda t: t._base is not None  # type: ignore[attr-defined]


@method()
def is_inference(self: Tensor) -> bool:
    """Whether the tensor was made in inference mode."""
    return self._inference


@method()
def requires_grad_(self: Tensor, requires_grad: bool = True) -> Tensor:
    """Set `requires_grad` in place. Raises RuntimeError for integer types and, when unsetting, for results of recorded calls."""
    _set_requires_grad(self, requires_grad)
    return self


@method()
def detach_(self: Tensor) -> Tensor:
    """Forget the history in place. Raises RuntimeError for views."""
    if self._base is not None:
        raise RuntimeError("Can't detach views in-place. Use detach() instead.")
    self._grad_fn, self._output_nr, self._requires_grad = None, 0, False
    return self


@method()
def backward(self: Tensor, gradient: Tensor | None = None, retain_graph: bool | None = None, create_graph: bool = False,
             inputs: Sequence[Tensor] | Tensor | None = None) -> None:
    """Accumulate the gradients of this tensor into the leaves it was computed from.

    `gradient` (of this tensor's shape) may be left out for a tensor of one element. Raises RuntimeError when nothing
    requires grad, when the graph was freed by an earlier call, and when a saved tensor was changed in place.
    """
    if isinstance(inputs, Tensor):
        inputs = (inputs,)
    if inputs is not None and len(inputs) == 0:
        raise RuntimeError("'inputs' argument to backward() cannot be empty.")
    engine.backward((self,), (gradient,), retain_graph, create_graph, inputs)


@method()
def register_hook(self: Tensor, hook: Callable[[Tensor], Tensor | None]) -> HookHandle:
    """Call `hook(grad)` when the gradient of this tensor is computed; what it returns (if not None) replaces the gradient.

    Raises RuntimeError for a tensor that does not require grad.
    """
    if not requires_grad(self):
        raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
    fn = grad_fn(self)
    node, nr = (accumulator(self), 0) if fn is None else (fn, self._output_nr)

    def call(arrived: list[Tensor | None]) -> list[Tensor | None] | None:
        if arrived[nr] is None:
            return None
        new = hook(arrived[nr])  # type: ignore[arg-type]
        return None if new is None else [new if i == nr else g for i, g in enumerate(arrived)]
    if node.pre_hooks is None:
        node.pre_hooks = {}
    return HookHandle(node.pre_hooks, call)


@method()
def register_post_accumulate_grad_hook(self: Tensor, hook: Callable[[Tensor], None]) -> HookHandle:
    """Call `hook(tensor)` after a gradient was added to this leaf's `.grad`. Raises RuntimeError for other tensors."""
    if not requires_grad(self) or grad_fn(self) is not None:
        raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
    node: AccumulateGrad = accumulator(self)
    if node.post_hooks is None:
        node.post_hooks = {}
    return HookHandle(node.post_hooks, hook)


@method()
def retain_grad(self: Tensor) -> None:
    """Keep the gradient of this computed tensor in `.grad` too. Raises RuntimeError for a tensor that does not require grad."""
    if not requires_grad(self):
        raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
    fn = grad_fn(self)
    if fn is None or self._retains:
        return
    import weakref
    me = weakref.ref(self)

    def keep(g: Tensor) -> None:
        t = me()
        if t is not None:
            t._grad = g if t._grad is None else engine.arithmetic.add(t._grad, g)
    if fn.retained is None:
        fn.retained = {}
    fn.retained[self._output_nr] = keep
    self._retains = True


@method("__repr__", "__str__")
def represent(self: Tensor, tensor_contents: str | None = None) -> str:
    """As PyTorch prints: the numbers, and the dtype and history where they are not the usual ones."""
    needs = requires_grad(self)
    fn = grad_fn(self) if needs else None
    if watch.values is not None:  # inside a function that is being vmapped: of one example, all of them
        every = watch.values(self)
        if every.shape != self._shape:
            inside = format_tensor(every, self._dtype, shape=every.shape).replace("\n", "\n    ")
            return f"BatchedTensor(value=\n    {inside}\n)"
    return format_tensor(self._window(), self._dtype, requires_grad=needs and fn is None, grad_fn_name=None if fn is None else fn.name,
                         shape=self._shape)

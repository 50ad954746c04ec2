"""`torsh.autograd`: backward, grad, and the modes around them."""
from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from torsh.autograd.anomaly import detect_anomaly, is_anomaly_enabled, set_detect_anomaly
from torsh.autograd.edges import Variable, standing_for
from torsh.autograd.function import Function
from torsh.autograd.grad_mode import enable_grad, inference_mode, no_grad, set_grad_enabled, set_multithreading_enabled
from torsh.autograd.gradcheck import gradcheck, gradgradcheck


def _given(x: Any) -> tuple[Any, ...]:
    """What was given alone or in a sequence. An edge of the graph is a named tuple, and one thing."""
    return tuple(x) if isinstance(x, (tuple, list)) and not hasattr(x, "_fields") else (x,)


def _tuple(x: Any) -> tuple[Any, ...]:
    """Tensors (or edges of the graph, as tensors) given alone or in a sequence."""
    return tuple([standing_for(t) for t in _given(x)])


def backward(tensors: Any, grad_tensors: Any = None, retain_graph: bool | None = None, create_graph: bool = False,
             grad_variables: Any = None, inputs: Any = None) -> None:
    """Accumulate the gradients of `tensors` (weighted by `grad_tensors`) into the leaves, or into `inputs`. Raises as `Tensor.backward`."""
    from torsh.autograd import engine
    if grad_variables is not None:
        warnings.warn("`grad_variables` is deprecated. Use `grad_tensors` instead.", FutureWarning, stacklevel=2)
        if grad_tensors is not None:
            raise RuntimeError("`grad_tensors` and `grad_variables` (deprecated) arguments both passed to `backward()`. Please only use `grad_tensors`.")
        grad_tensors = grad_variables
    outs = _tuple(tensors)
    grads = None if grad_tensors is None else _tuple(grad_tensors)
    engine.backward(outs, grads, retain_graph, create_graph, None if inputs is None else _tuple(inputs))


def grad(outputs: Any, inputs: Any, grad_outputs: Any = None, retain_graph: bool | None = None, create_graph: bool = False, only_inputs: bool = True,
         allow_unused: bool | None = None, is_grads_batched: bool = False, materialize_grads: bool = False) -> tuple[Any, ...]:
    """The gradients of `outputs` with respect to `inputs`, without touching `.grad`.

    With `is_grads_batched` each of `grad_outputs` has a dimension more in front, a batch of cotangents, and so have the results.

    Raises RuntimeError when an input was not used (unless `allow_unused`), or does not require grad.
    """
    from torsh.autograd import engine
    from torsh.tensor.creation import zeros_like
    if not only_inputs:
        warnings.warn("only_inputs argument is deprecated and is ignored now (defaults to True). To accumulate gradient for other parts of the graph, please "
                      "use torch.autograd.backward.", FutureWarning, stacklevel=2)
    ins: Sequence[Any] = _tuple(inputs)
    if is_grads_batched:
        return _batched(_tuple(outputs), ins, _tuple(grad_outputs), create_graph, bool(allow_unused), materialize_grads)
    found = engine.grad(_tuple(outputs), ins, None if grad_outputs is None else _tuple(grad_outputs), retain_graph, create_graph,
                        bool(allow_unused) or materialize_grads)
    made = tuple(zeros_like(t) if g is None and materialize_grads else g for g, t in zip(found, ins, strict=True))
    # Of a sparse tensor the gradient is a sparse one.
    return tuple([g if t is x or g is None or not hasattr(x, "_graded") else x._with(g) for g, t, x in zip(made, ins, _given(inputs), strict=True)])


def _batched(outs: tuple[Any, ...], ins: Sequence[Any], grads: tuple[Any, ...], create: bool, allow_unused: bool, materialize: bool) -> tuple[Any, ...]:
    from torsh.autograd import engine
    from torsh.func.vmap import vmap
    from torsh.tensor.creation import zeros_like
    there: list[bool] = []

    def one(*gs: Any) -> tuple[Any, ...]:
        found = engine.grad(outs, ins, gs, True, create, allow_unused or materialize)
        there[:] = [g is not None or materialize for g in found]
        return tuple([zeros_like(t) if g is None else g for g, t in zip(found, ins, strict=True)])
    made = vmap(one)(*grads)
    return tuple([g if t else None for g, t in zip(made, there, strict=True)])


def variable(*args: Any, **kwargs: Any) -> Any:
    """Raises RuntimeError: it was taken out of PyTorch in favour of `tensor`."""
    raise RuntimeError("torch.autograd.variable(...) is deprecated, use torch.tensor(...) instead")


def __getattr__(name: str) -> Any:
    if name in ("forward_ad", "functional"):  # they stand above the operations
        from importlib import import_module
        return import_module("torsh.autograd." + name)
    raise AttributeError(f"module 'torsh.autograd' has no attribute '{name}'")


__all__ = ["Function", "Variable", "backward", "detect_anomaly", "enable_grad", "grad", "gradcheck", "gradgradcheck", "inference_mode", "is_anomaly_enabled",
           "no_grad", "set_detect_anomaly", "set_grad_enabled", "set_multithreading_enabled", "variable"]

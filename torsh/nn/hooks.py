"""Hooks around a module's call: forward, backward, for one module or for all, and what is called when something is registered.

A module without hooks takes none of this: `Module.__call__` asks one dictionary of the module and one of all modules whether there is any.
"""
from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from torsh.autograd.grad_mode import state
from torsh.autograd.graph import GradNode, grad_fn, record, requires_grad
from torsh.autograd.handles import HookHandle
from torsh.graph.node import Op
from torsh.nn.changes import changes
from torsh.nn.state import StateMixin
from torsh.tensor.tensor import Tensor, wrap

Hook = Callable[..., Any]
Hooks = OrderedDict[int, Any]


class Everywhere:
    """The hooks of all modules. `calls` has the id of every hook that concerns calls."""
    calls: Hooks = OrderedDict()
    forward_pre: Hooks = OrderedDict()
    forward: Hooks = OrderedDict()
    with_kwargs: Hooks = OrderedDict()
    always: Hooks = OrderedDict()
    backward_pre: Hooks = OrderedDict()
    backward: Hooks = OrderedDict()
    backward_is_full: bool | None = None
    buffer: Hooks = OrderedDict()
    module: Hooks = OrderedDict()
    parameter: Hooks = OrderedDict()


def _registered(hooks: Hooks, hook: Hook, calls: Hooks, *flags: Hooks, prepend: bool = False) -> HookHandle:
    """Add a hook, marked in `calls` and in the dictionaries that say how it is to be called."""
    changes.count += 1
    handle = HookHandle(hooks, hook, calls, *flags)
    for d in (calls, *flags):
        d[handle.id] = True
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle


# ---- backward hooks


def _pass_vjp(ctx: GradNode, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
    """The gradients as they are; zeros for outputs that nothing reached."""
    return tuple([g if g is not None else _zeros(meta) for g, meta in zip(grads, ctx.out_meta, strict=True)])


def _zeros(meta: Any) -> Tensor:
    from torsh.tensor.creation import zeros
    return zeros(meta[0], dtype=meta[1])


_PASS = Op("backward_hook_function", "history", None, None, _pass_vjp, grad_name="BackwardHookFunctionBackward")


def _passed(values: tuple[Any, ...]) -> tuple[tuple[Any, ...], list[int] | None, GradNode | None]:
    """The values with their tensors behind one new record: (values, positions of the tensors, record); (values, None, None) if no
    gradient flows."""
    at = [i for i, v in enumerate(values) if isinstance(v, Tensor)]
    tensors = tuple([values[i] for i in at])
    if not state.enabled or not any(requires_grad(t) for t in tensors):
        return values, None, None
    out = list(values)
    made = []
    for i, t in zip(at, tensors, strict=True):
        out[i] = wrap(t._node())
        made.append(out[i])
    fn = record(_PASS, None, tensors, tuple(made))
    for t, new in zip(tensors, made, strict=True):
        if not requires_grad(t):
            new._requires_grad, new._grad_fn = False, None
    return (tuple(out) if type(values) is tuple else type(values)(*out)), at, fn


def _at(positions: list[int] | None, values: Any, size: int) -> tuple[Any, ...]:
    out: list[Any] = [None] * size
    for i, v in zip(positions or (), values, strict=True):
        out[i] = v
    return tuple(out)


class _BackwardHooks:
    """The full backward hooks of one call: joins the gradients of the outputs with those of the inputs."""

    def __init__(self, module: Any, hooks: list[Hook], pre_hooks: list[Hook]) -> None:
        self.module, self.hooks, self.pre_hooks = module, hooks, pre_hooks
        self.grad_outputs: tuple[Any, ...] | None = None
        self.input_at: list[int] | None = None
        self.input_metas: tuple[Any, ...] = ()
        self.output_at: list[int] | None = None
        self.inputs = self.outputs = 0

    def around_inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        args, self.input_at, fn = _passed(args)
        self.inputs = len(args)
        if fn is not None:
            self.input_metas = fn.out_meta  # not the record, which keeps this object: a cycle would keep its graph
            fn.register_hook(self._at_inputs)
        return args

    def around_outputs(self, result: Any) -> Any:
        values = result if isinstance(result, tuple) else (result,)
        passed, self.output_at, fn = _passed(values)
        self.outputs = len(values)
        if fn is not None:
            fn.register_hook(self._at_outputs)
        return passed if isinstance(result, tuple) else passed[0]

    def _at_inputs(self, grad_inputs: tuple[Any, ...], _: Any) -> Any:
        if self.grad_outputs is None:  # reached the inputs without passing the outputs, as in double backward
            return None
        known = [g if g is not None else _zeros(meta) for g, meta in zip(grad_inputs, self.input_metas, strict=True)]
        found = _at(self.input_at, known, self.inputs)
        for hook in self.hooks:
            new = hook(self.module, found, self.grad_outputs)
            if new is None:
                continue
            if len(new) != len(found):
                raise RuntimeError(f"Backward hook returned an invalid number of grad_input, got {len(new)}, but expected {len(found)}")
            found = new
        self.grad_outputs = None
        return tuple([found[i] for i in self.input_at or ()])

    def _at_outputs(self, _: Any, arrived: tuple[Any, ...]) -> Any:
        given = _at(self.output_at, arrived, self.outputs)
        for hook in self.pre_hooks:
            new = hook(self.module, given)
            if new is None:
                continue
            if len(new) != len(given):
                raise RuntimeError(f"Backward pre hook returned an invalid number of grad_output, got {len(new)}, but expected {len(given)}")
            given = new
        self.grad_outputs = given
        if self.input_at is None:  # no gradient will come to the inputs: this is the end of the module's part
            warnings.warn("Full backward hook is firing when gradients are computed with respect to module outputs since no inputs require "
                          "gradients.", stacklevel=5)
            nothing = (None,) * self.inputs
            for hook in self.hooks:
                new = hook(self.module, nothing, given)
                if new is not None and not (isinstance(new, tuple) and all(g is None for g in new)):
                    raise RuntimeError("Backward hook for Modules where no input requires gradient should always return None or None for all "
                                       "gradients.")
            self.grad_outputs = None
        return tuple([given[i] for i in self.output_at or ()])


def _first_tensor(result: Any) -> Any:
    while not isinstance(result, Tensor):
        result = next(v for v in result.values() if isinstance(v, Tensor)) if isinstance(result, dict) else result[0]
    return result


def _non_full(module: Any, hooks: list[Hook], args: Any, result: Any) -> None:
    """Hooks on the record of the first output alone: what `register_backward_hook` promises, and no more."""
    fn = grad_fn(_first_tensor(result))
    if fn is None:
        return
    for hook in hooks:
        fn.register_hook(lambda grad_input, grad_output, hook=hook: hook(module, grad_input, grad_output))
    missing = _what_is_missing(args, result, fn)
    if missing:
        cause, what = missing
        warnings.warn(f"Using {cause} is deprecated and will be removed in future versions. This hook will be missing some {what}.",
                      FutureWarning, stacklevel=4)


_BETTER = " Please use register_full_backward_hook to get the documented behavior"


def _what_is_missing(args: Any, result: Any, fn: Any) -> tuple[str, str] | None:
    """Why a hook on one record does not see all gradients of a module, and which; None if it does."""
    results = (result,) if isinstance(result, Tensor) else result
    if not (isinstance(results, tuple) and all(isinstance(r, Tensor) for r in results)):
        return "non-full backward hooks on a Module that does not return a single Tensor or a tuple of Tensors", "of the grad_output." + _BETTER
    if not (isinstance(args, tuple) and all(isinstance(a, Tensor) for a in args)):
        return "non-full backward hooks on a Module that does not take as input a single Tensor or a tuple of Tensors", "of the grad_input." + _BETTER
    records = {r.grad_fn for r in results if r.grad_fn is not None}  # type: ignore[attr-defined]
    if not records or (len(records) == 1 and fn not in records):
        return "a non-full backward hook when outputs are nested in python data structure", "grad_output"
    if len(records) > 1:
        return "a non-full backward hook when outputs are generated by different autograd Nodes", "grad_output." + _BETTER
    if {a.grad_fn for a in args if a.grad_fn is not None} != {n for n, _ in fn.next_functions}:
        return "a non-full backward hook when the forward contains multiple autograd Nodes", "grad_input." + _BETTER
    return None


# ---- calling


def _replaced(hook: Hook, module: Any, args: Any, kwargs: dict[str, Any], with_kwargs: bool) -> tuple[Any, dict[str, Any]]:
    """The arguments after a forward pre-hook."""
    if not with_kwargs:
        given = hook(module, args)
        return (args if given is None else given if isinstance(given, tuple) else (given,)), kwargs
    given = hook(module, args, kwargs)
    if given is None:
        return args, kwargs
    if not isinstance(given, tuple) or len(given) != 2:
        raise RuntimeError(f"forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got {given}.")
    return given


def _backward_hooks(module: Any) -> tuple[list[Hook], list[Hook], list[Hook]]:
    """(full, other, pre) hooks for backward: those of all modules, then the module's."""
    full: list[Hook] = []
    other: list[Hook] = []
    for is_full, hooks in ((Everywhere.backward_is_full, Everywhere.backward), (module._is_full_backward_hook, module._backward_hooks)):
        (full if is_full else other).extend(hooks.values())
    return full, other, [*Everywhere.backward_pre.values(), *module._backward_pre_hooks.values()]


def call_with_hooks(module: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """`module.forward(*args, **kwargs)` between all hooks."""
    result: Any = None
    called: set[int] = set()

    def forward_hook(key: int, hook: Hook, with_kwargs: Hooks) -> None:
        nonlocal result
        given = hook(module, args, kwargs, result) if key in with_kwargs else hook(module, args, result)
        if given is not None:
            result = given

    after = ((Everywhere.forward, Everywhere.with_kwargs, Everywhere.always, "global module"),
             (module._forward_hooks, module._forward_hooks_with_kwargs, module._forward_hooks_always_called, "module"))
    try:
        for hook in list(Everywhere.forward_pre.values()):
            args, kwargs = _replaced(hook, module, args, kwargs, False)
        for key, hook in list(module._forward_pre_hooks.items()):
            args, kwargs = _replaced(hook, module, args, kwargs, key in module._forward_pre_hooks_with_kwargs)
        full, other, pre = _backward_hooks(module)
        backward = _BackwardHooks(module, full, pre) if full or pre else None
        if backward is not None:
            args = backward.around_inputs(args)
        result = module.forward(*args, **kwargs)
        for hooks, with_kwargs, _, _ in after:
            for key, hook in list(hooks.items()):
                called.add(key)
                forward_hook(key, hook, with_kwargs)
        if backward is not None:
            if not isinstance(result, (Tensor, tuple)):
                warnings.warn("For backward hooks to be called, module output should be a Tensor or a tuple of Tensors but received "
                              f"{type(result)}", stacklevel=3)
            result = backward.around_outputs(result)
        if other:
            _non_full(module, other, args, result)
        return result
    except Exception:
        for hooks, with_kwargs, always, whose in after:
            for key, hook in list(hooks.items()):
                if key in always and key not in called:
                    try:
                        forward_hook(key, hook, with_kwargs)
                    except Exception as error:
                        warnings.warn(f"{whose} forward hook with ``always_call=True`` raised an exception that was silenced as another error was "
                                      f"raised in forward: {error}", stacklevel=3)
        raise


class HookMixin(StateMixin):
    """The part of `Module` that registers hooks."""
    _call_hooks: Hooks
    _forward_hooks: Hooks
    _forward_hooks_with_kwargs: Hooks
    _forward_hooks_always_called: Hooks
    _forward_pre_hooks: Hooks
    _forward_pre_hooks_with_kwargs: Hooks
    _backward_hooks: Hooks
    _backward_pre_hooks: Hooks
    _is_full_backward_hook: bool | None

    def register_forward_pre_hook(self, hook: Hook, *, prepend: bool = False, with_kwargs: bool = False) -> HookHandle:
        """Call `hook(module, args)` (with_kwargs: `hook(module, args, kwargs)`) before forward; what it returns replaces the arguments."""
        flags = (self._forward_pre_hooks_with_kwargs,) if with_kwargs else ()
        return _registered(self._forward_pre_hooks, hook, self._call_hooks, *flags, prepend=prepend)

    def register_forward_hook(self, hook: Hook, *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False) -> HookHandle:
        """Call `hook(module, args, output)` (with_kwargs: `hook(module, args, kwargs, output)`) after forward; what it returns replaces
        the output. With `always_call` also when forward raised."""
        flags = ((self._forward_hooks_with_kwargs,) if with_kwargs else ()) + ((self._forward_hooks_always_called,) if always_call else ())
        return _registered(self._forward_hooks, hook, self._call_hooks, *flags, prepend=prepend)

    def register_full_backward_pre_hook(self, hook: Hook, prepend: bool = False) -> HookHandle:
        """Call `hook(module, grad_output)` when the gradients of the outputs are known; a tuple it returns replaces them."""
        return _registered(self._backward_pre_hooks, hook, self._call_hooks, prepend=prepend)

    def register_full_backward_hook(self, hook: Hook, prepend: bool = False) -> HookHandle:
        """Call `hook(module, grad_input, grad_output)` when the gradients of the positional inputs are known (of the outputs, if no
        input requires one); a tuple it returns replaces grad_input. Values that are no tensors have None.

        Raises RuntimeError beside hooks of `register_backward_hook`.
        """
        self._one_kind_of_backward_hook(True)
        return _registered(self._backward_hooks, hook, self._call_hooks, prepend=prepend)

    def register_backward_hook(self, hook: Hook) -> HookHandle:
        """As `register_full_backward_hook`, but sees only the last operation of the module. Deprecated, as in PyTorch.

        Raises RuntimeError beside full backward hooks.
        """
        self._one_kind_of_backward_hook(False)
        return _registered(self._backward_hooks, hook, self._call_hooks)

    def _one_kind_of_backward_hook(self, full: bool) -> None:
        if self._is_full_backward_hook is (not full):
            raise RuntimeError("Cannot use both regular backward hooks and full backward hooks on a single Module. Please use only one of them.")
        self._is_full_backward_hook = full


# ---- hooks of all modules


def register_module_forward_pre_hook(hook: Hook) -> HookHandle:
    """Call `hook(module, args)` before the forward of every module; what it returns replaces the arguments."""
    return _registered(Everywhere.forward_pre, hook, Everywhere.calls)


def register_module_forward_hook(hook: Hook, *, with_kwargs: bool = False, always_call: bool = False) -> HookHandle:
    """Call `hook(module, args, output)` after the forward of every module, before the module's own hooks; what it returns replaces the
    output. With `with_kwargs` it is `hook(module, args, kwargs, output)`, with `always_call` called also when forward raised."""
    flags = ((Everywhere.with_kwargs,) if with_kwargs else ()) + ((Everywhere.always,) if always_call else ())
    return _registered(Everywhere.forward, hook, Everywhere.calls, *flags)


def _global_backward_kind(full: bool) -> None:
    if Everywhere.backward_is_full is (not full):
        raise RuntimeError("Cannot use both regular backward hooks and full backward hooks as a global Module hook. Please use only one of them.")
    Everywhere.backward_is_full = full


def register_module_backward_hook(hook: Hook) -> HookHandle:
    """`Module.register_backward_hook` for every module. Raises RuntimeError beside global full backward hooks."""
    _global_backward_kind(False)
    return _registered(Everywhere.backward, hook, Everywhere.calls)


def register_module_full_backward_hook(hook: Hook) -> HookHandle:
    """`Module.register_full_backward_hook` for every module. Raises RuntimeError beside global hooks of the other kind."""
    _global_backward_kind(True)
    return _registered(Everywhere.backward, hook, Everywhere.calls)


def register_module_full_backward_pre_hook(hook: Hook) -> HookHandle:
    """`Module.register_full_backward_pre_hook` for every module."""
    return _registered(Everywhere.backward_pre, hook, Everywhere.calls)


def register_module_buffer_registration_hook(hook: Hook) -> HookHandle:
    """Call `hook(module, name, buffer)` whenever a buffer is registered; what it returns is registered instead."""
    return HookHandle(Everywhere.buffer, hook)


def register_module_module_registration_hook(hook: Hook) -> HookHandle:
    """Call `hook(module, name, submodule)` whenever a submodule is registered; what it returns is registered instead."""
    return HookHandle(Everywhere.module, hook)


def register_module_parameter_registration_hook(hook: Hook) -> HookHandle:
    """Call `hook(module, name, parameter)` whenever a parameter is registered; what it returns is registered instead."""
    return HookHandle(Everywhere.parameter, hook)


def registered_as(hooks: Hooks, module: Any, name: str, value: Any) -> Any:
    """What registration hooks make of a value."""
    for hook in hooks.values():
        found = hook(module, name, value)
        if found is not None:
            value = found
    return value

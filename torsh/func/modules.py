"""Modules as functions of their parameters: call one with other parameters, stack those of several."""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torsh.ops.join import stack
from torsh.tensor.tensor import Tensor


def _owner(module: Any, path: str) -> tuple[dict[str, Any], str] | None:
    """The dict of parameters or buffers that holds `path`, and the name in it."""
    *parents, name = path.split(".")
    for p in parents:
        module = module._modules.get(p)
        if module is None:
            return None
    for held in (module._parameters, module._buffers):
        if name in held:
            return held, name
    return None


def _tied(module: Any, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """`given`, and the same tensors for other names of what they replace. Raises ValueError when tied names get different tensors."""
    names: dict[int, list[str]] = {}
    for kind in (module.named_parameters, module.named_buffers):
        for name, t in kind(remove_duplicate=False):
            names.setdefault(id(t), []).append(name)
    out = dict(given)
    for group in names.values():
        values = {id(given[n]): given[n] for n in group if n in given}
        if len(values) > 1:
            raise ValueError(f"functional_call got multiple values for keys {sorted(n for n in group if n in given)}, which are tied. Consider using "
                             "tie_weights=False")
        for value in values.values():
            out.update(dict.fromkeys(group, value))
    return out


@contextmanager
def _swapped(module: Any, given: Mapping[str, Tensor]) -> Iterator[None]:
    found = {name: _owner(module, name) for name in given}
    saved = [(held, key, held[key]) for place in found.values() if place is not None for held, key in (place,)]
    try:
        for name, value in given.items():
            place = found[name]
            if place is not None:
                place[0][place[1]] = value
        yield
    finally:
        for held, key, value in saved:
            held[key] = value


def functional_call(module: Any, parameter_and_buffer_dicts: Any, args: Any = None, kwargs: dict[str, Any] | None = None, *, tie_weights: bool = True,
                    strict: bool = False) -> Any:
    """`module(*args, **kwargs)` with the parameters and buffers of a dict (or several) in place of its own.

    Names not given keep the module's; with `strict` those, and names the module does not have, raise RuntimeError. With
    `tie_weights`, what replaces a parameter that is shared replaces it everywhere.

    >>> import torsh
    >>> m = torsh.nn.Linear(1, 1, bias=False)
    >>> torsh.func.functional_call(m, {"weight": torsh.tensor([[3.0]])}, torsh.tensor([2.0]))
    tensor([6.])
    """
    if isinstance(parameter_and_buffer_dicts, Mapping):
        given = dict(parameter_and_buffer_dicts)
    elif isinstance(parameter_and_buffer_dicts, Sequence) and all(isinstance(d, Mapping) for d in parameter_and_buffer_dicts):
        given = {}
        for d in parameter_and_buffer_dicts:
            repeated = sorted(set(given) & set(d))
            if repeated:
                raise ValueError(f"{repeated} appear in multiple dictionaries; behavior of functional call is ambiguous")
            given.update(d)
    else:
        raise ValueError(f"Expected parameter_and_buffer_dicts to be a dict, or a list/tuple of dicts, but got {type(parameter_and_buffer_dicts)}")
    for name, value in given.items():
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} should be a Tensor, got {type(value).__name__}")
    if tie_weights:
        given = _tied(module, given)
    if strict:
        own = {n for n, _ in module.named_parameters(remove_duplicate=False)} | {n for n, _ in module.named_buffers(remove_duplicate=False)}
        wrong = [f"Unexpected key(s): {', '.join(sorted(set(given) - own))}."] if set(given) - own else []
        wrong += [f"Missing key(s): {', '.join(sorted(own - set(given)))}."] if own - set(given) else []
        if wrong:
            raise RuntimeError(f"Error(s) in reparametrizing for {type(module).__name__}:\n\t" + "\n\t".join(wrong))
    positional = () if args is None else args if isinstance(args, tuple) else (args,)
    with _swapped(module, given):
        return module(*positional, **(kwargs or {}))


def stack_module_state(models: Sequence[Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(parameters, buffers) of models of one class, stacked by name: [models, *shape], for an ensemble under `vmap`.

    The parameters are new leaves. Raises RuntimeError for no models, models of different classes or modes, and parameters of
    which only some require grad.
    """
    if len(models) == 0:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if not (all(m.training for m in models) or not any(m.training for m in models)):
        raise RuntimeError("stack_module_state: Expected all models to have the same training/eval mode.")
    if any(type(m) is not type(models[0]) for m in models):
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")
    parameters = {name: _stacked([dict(m.named_parameters())[name] for m in models]) for name, _ in models[0].named_parameters()}
    buffers = {name: _stacked([dict(m.named_buffers())[name] for m in models]) for name, _ in models[0].named_buffers()}
    return parameters, buffers


def _stacked(tensors: list[Tensor]) -> Tensor:
    flags = {bool(t.requires_grad) for t in tensors}
    if len(flags) > 1:
        raise RuntimeError("Expected tensors from each model to have the same .requires_grad")
    return stack([t.detach() for t in tensors]).requires_grad_(flags.pop())  # type: ignore[no-any-return]


def replace_all_batch_norm_modules_(root: Any) -> Any:
    """Batch norms of a module normalize by the batch alone from now on, without running statistics: what `vmap` needs. Returns the module.

    >>> import torsh
    >>> net = torsh.func.replace_all_batch_norm_modules_(torsh.nn.BatchNorm1d(2))
    >>> torsh.vmap(net)(torsh.ones(3, 4, 2)).shape
    torsh.Size([3, 4, 2])
    """
    for module in root.modules():
        if isinstance(getattr(module, "running_mean", None), Tensor) and hasattr(module, "track_running_stats"):
            module.running_mean = module.running_var = module.num_batches_tracked = None
            module.track_running_stats = False
    return root


__all__ = ["functional_call", "replace_all_batch_norm_modules_", "stack_module_state"]

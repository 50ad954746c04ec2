"""The base of optimizers: parameter groups, state, and its dictionary in PyTorch's format."""
from __future__ import annotations

import copy
import sys
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from torsh.autograd.grad_mode import enable_grad, no_grad
from torsh.autograd.graph import grad_fn
from torsh.autograd.handles import HookHandle
from torsh.compiler.realize import realize
from torsh.optim.update import undo
from torsh.tensor.tensor import Tensor, wrap


class _Required:
    def __repr__(self) -> str:
        return "<required parameter>"


required = _Required()


_everywhere_before: OrderedDict[int, Any] = OrderedDict()
_everywhere_after: OrderedDict[int, Any] = OrderedDict()


def register_optimizer_step_pre_hook(hook: Callable[..., Any]) -> HookHandle:
    """`Optimizer.register_step_pre_hook` for every optimizer."""
    return HookHandle(_everywhere_before, hook)


def register_optimizer_step_post_hook(hook: Callable[..., Any]) -> HookHandle:
    """`Optimizer.register_step_post_hook` for every optimizer."""
    return HookHandle(_everywhere_after, hook)


class Optimizer:
    """Holds parameters in groups with options, and state for each; subclasses say how one group is updated (`_update`).

    Raises TypeError for parameters that are no tensors, ValueError for none, for one in two groups and for a computed tensor.
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise TypeError("params argument given to the optimizer should be an iterable of Tensors or dicts, but got "
                            f"torch.{params._dtype.title}Tensor")
        self.defaults = defaults
        self._opt_called = False  # schedules ask whether there was a step before theirs
        self.state: defaultdict[Tensor, Any] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        self._step_pre_hooks: OrderedDict[int, Any] = OrderedDict()
        self._step_post_hooks: OrderedDict[int, Any] = OrderedDict()
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group: `params` (tensors, or (name, tensor) pairs) and options that differ from the defaults."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        params = param_group["params"]
        if isinstance(params, Tensor):
            params = [params]
        elif isinstance(params, set):
            raise TypeError("optimizer parameters need to be organized in ordered collections, but the ordering of tensors in sets will change "
                            "between runs. Please use a list instead.")
        params = list(params)
        names = [p[0] for p in params if isinstance(p, tuple)]
        if names:
            if len(names) != len(params):
                raise ValueError("all optimizer params should be with/without names. Some param names are missing")
            param_group["param_names"] = names
            params = [p for _, p in params]
        param_group["params"] = params
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError("optimizer can only optimize Tensors, but one of the params is " + type(p).__name__)
            if grad_fn(p) is not None and not p._retains:
                raise ValueError("can't optimize a non-leaf Tensor")
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ValueError(f"parameter group didn't specify a value of required optimization parameter {name}")
            param_group.setdefault(name, default)
        if len({id(p) for p in params}) != len(params):
            warnings.warn("optimizer contains a parameter group with duplicate parameters; in future, this will cause an error; see "
                          "github.com/pytorch/pytorch/issues/40967 for more information", stacklevel=3)
        named = "param_names" in param_group
        if any(("param_names" in g) != named for g in self.param_groups):
            raise ValueError("all optimizer param groups should be with/without names. cannot add param group "
                             f"{'with' if named else 'without'} names to the optimizer")
        present = {id(p) for g in self.param_groups for p in g["params"]}
        if any(id(p) in present for p in params):
            raise ValueError("some parameters appear in more than one parameter group")
        self.param_groups.append(param_group)

    # ---- stepping

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or make them zero."""
        for group in self.param_groups:
            for p in group["params"]:
                if p._grad is not None:
                    p._grad = None if set_to_none else p._grad.detach().zero_()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; `closure` first computes the loss anew, which is returned.

        The updates of all groups, and whatever they still depend on, are computed here, together.
        """
        self._opt_called = True
        args: tuple[Any, ...] = (closure,)
        for hook in (*_everywhere_before.values(), *self._step_pre_hooks.values()):
            given = hook(self, args, {})
            if given is not None:
                if not (isinstance(given, tuple) and len(given) == 2):
                    raise RuntimeError(f"{type(self).__name__}.step must return None or a tuple of (new_args, new_kwargs), but got {given}.")
                args = (*given[0], *given[1].values())
        loss = self._step(*args)
        for hook in (*self._step_post_hooks.values(), *_everywhere_after.values()):
            hook(self, args, {})
        return loss

    def _step(self, closure: Callable[[], Any] | None) -> Any:
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        written: list[Tensor] = []
        with no_grad():
            for group in self.param_groups:
                ready = [p for p in group["params"] if p._grad is not None]
                if "torsh.sparse" in sys.modules:
                    ready = self._without_sparse(group, ready, written)
                if ready:
                    self._update(group, ready, written)
        # Built in the call: a list held here would make the runtime think that its nodes are still wanted elsewhere.
        try:
            realize([t._storage.node for t in written])
        except BaseException:
            undo(written, self.state)
            raise
        return loss

    def _without_sparse(self, group: dict[str, Any], params: list[Tensor], written: list[Tensor]) -> list[Tensor]:
        """Update those with sparse gradients; gives the others."""
        sparse = [p for p in params if p._grad is not None and p._grad.is_sparse]
        if not sparse:
            return params
        self._update_sparse(group, sparse, written)
        return [p for p in params if p._grad is not None and not p._grad.is_sparse]

    def _update_sparse(self, group: dict[str, Any], params: list[Tensor], written: list[Tensor]) -> None:
        """As `_update`, for sparse gradients. Raises RuntimeError unless a subclass can."""
        raise RuntimeError(f"{type(self).__name__} does not support sparse gradients, please consider SparseAdam instead")

    def _update(self, group: dict[str, Any], params: list[Tensor], written: list[Tensor]) -> None:
        """Write the new values of `params` and of their state, lazily, and add what was written to `written`."""
        raise NotImplementedError

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> HookHandle:
        """Call `hook(optimizer, args, kwargs)` before each step; a tuple (args, kwargs) it returns replaces the arguments."""
        return HookHandle(self._step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> HookHandle:
        """Call `hook(optimizer, args, kwargs)` after each step."""
        return HookHandle(self._step_post_hooks, hook)

    # ---- saving

    def _state_hook(self, name: str, hook: Callable[..., Any], prepend: bool) -> HookHandle:
        hooks: OrderedDict[int, Any] = self.__dict__.setdefault(name, OrderedDict())
        handle = HookHandle(hooks, hook)
        if prepend:
            hooks.move_to_end(handle.id, last=False)
        return handle

    def _state_hooks(self, name: str) -> list[Any]:
        return list(self.__dict__.get(name, {}).values())

    def register_state_dict_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> HookHandle:
        """Call `hook(optimizer)` before `state_dict`."""
        return self._state_hook("_optimizer_state_dict_pre_hooks", hook, prepend)

    def register_state_dict_post_hook(self, hook: Callable[..., Any], prepend: bool = False) -> HookHandle:
        """Call `hook(optimizer, state_dict)` after `state_dict`; what it returns (if not None) replaces the dictionary."""
        return self._state_hook("_optimizer_state_dict_post_hooks", hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> HookHandle:
        """Call `hook(optimizer, state_dict)` before loading; what it returns (if not None) is loaded instead."""
        return self._state_hook("_optimizer_load_state_dict_pre_hooks", hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any], prepend: bool = False) -> HookHandle:
        """Call `hook(optimizer)` after loading."""
        return self._state_hook("_optimizer_load_state_dict_post_hooks", hook, prepend)

    def state_dict(self) -> dict[str, Any]:
        """`{"state": {index: state}, "param_groups": [options with the parameters' indices]}`, as PyTorch's."""
        for hook in self._state_hooks("_optimizer_state_dict_pre_hooks"):
            hook(self)
        index: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            packed = {k: v for k, v in group.items() if k != "params"}
            for p in group["params"]:
                index.setdefault(id(p), len(index))
            packed["params"] = [index[id(p)] for p in group["params"]]
            groups.append(packed)
        found: dict[str, Any] = {"state": {index[id(k)] if isinstance(k, Tensor) else k: v for k, v in self.state.items()}, "param_groups": groups}
        for hook in self._state_hooks("_optimizer_state_dict_post_hooks"):
            given = hook(self, found)
            found = found if given is None else given
        return found

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the state and options of a `state_dict`; the state takes its parameter's dtype.

        Raises ValueError for groups of other numbers or sizes.
        """
        for hook in self._state_hooks("_optimizer_load_state_dict_pre_hooks"):
            given = hook(self, state_dict)
            state_dict = state_dict if given is None else given
        self._load(state_dict)
        for hook in self._state_hooks("_optimizer_load_state_dict_post_hooks"):
            hook(self)

    def _load(self, state_dict: dict[str, Any]) -> None:
        own, given = self.param_groups, copy.deepcopy(state_dict["param_groups"])
        if len(own) != len(given):
            raise ValueError("loaded state dict has a different number of parameter groups")
        if any(len(a["params"]) != len(b["params"]) for a, b in zip(own, given, strict=True)):
            raise ValueError("loaded state dict contains a parameter group that doesn't match the size of optimizer's group")
        param_of = {i: p for g, saved in zip(own, given, strict=True) for i, p in zip(saved["params"], g["params"], strict=True)}
        state: defaultdict[Tensor, Any] = defaultdict(dict)
        for key, value in state_dict["state"].items():
            if key in param_of:
                p = param_of[key]
                state[p] = {k: _taken(k, v, p) for k, v in value.items()}
            else:
                state[key] = copy.deepcopy(value)
        for group, saved in zip(own, given, strict=True):
            names = group.get("param_names")
            params = group["params"]
            group.clear()
            group.update(saved, params=params)
            if names is not None:
                group.setdefault("param_names", names)
        self.state = state

    def __repr__(self) -> str:
        text = type(self).__name__ + " ("
        for i, group in enumerate(self.param_groups):
            text += f"\nParameter Group {i}\n" + "".join(f"    {k}: {group[k]}\n" for k in sorted(group) if k not in ("params", "param_names"))
        return text + ")"


def _taken(key: str, value: Any, p: Tensor) -> Any:
    if not isinstance(value, Tensor):
        return copy.deepcopy(value)
    copied: Any = wrap(value._node())
    return copied if key == "step" or p._dtype.category < 2 else copied.to(p._dtype)


def number(group: dict[str, Any], name: str) -> float:
    """An option that may be a number or a tensor of one element."""
    value = group[name]
    return float(value.item()) if isinstance(value, Tensor) else value  # type: ignore[no-any-return]


_SHOWN = {"lr": "learning rate", "eps": "epsilon value"}


def check_options(**options: float | Tensor) -> None:
    """Raises ValueError for a negative option, and for a tensor of more than one element."""
    for name, value in options.items():
        if isinstance(value, Tensor):
            if value.numel() != 1:
                raise ValueError(f"Tensor {name} must be 1-element")
        elif not value >= 0.0:
            raise ValueError(f"Invalid {_SHOWN.get(name, name + ' value')}: {value}")


def check_betas(betas: tuple[float, float]) -> None:
    """Raises ValueError for weights of running means outside [0, 1)."""
    for i in (0, 1):
        if not 0.0 <= betas[i] < 1.0:
            raise ValueError(f"Invalid beta parameter at index {i}: {betas[i]}")


def refuse_differentiable(name: str, differentiable: bool) -> None:
    if differentiable:
        raise RuntimeError(f"{name}: differentiable=True is not supported; write the update in tensor operations to differentiate through it")

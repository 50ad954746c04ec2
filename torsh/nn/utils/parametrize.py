"""Parametrizations: a parameter or buffer that is computed, whenever it is read, from tensors that are learned instead of it."""
from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torsh.autograd.grad_mode import no_grad
from torsh.nn.module import Module
from torsh.nn.modules.container import ModuleDict, ModuleList
from torsh.nn.parameter import Parameter
from torsh.tensor.tensor import Tensor


class _Cache:
    """Computed tensors by (id of the module, name), while `cached` contexts are open."""
    depth = 0
    values: dict[tuple[int, str], Any] = {}


@contextmanager
def cached() -> Iterator[None]:
    """Context manager: within it each parametrized tensor is computed once."""
    _Cache.depth += 1
    try:
        yield
    finally:
        _Cache.depth -= 1
        if not _Cache.depth:
            _Cache.values = {}


def _register(module: Module, name: str, value: Tensor) -> None:
    if isinstance(value, Parameter):
        module.register_parameter(name, value)
    else:
        module.register_buffer(name, value)


def _same_kind(what: str, before: Any, after: Any, before_name: str, after_name: str, flag: str) -> None:
    """Raises ValueError unless a parametrization gave a tensor of the same dtype and shape."""
    if not isinstance(after, Tensor):
        raise ValueError(f"{what} must return a tensor. Got {type(after).__name__}.")
    for key in ("dtype", "shape"):
        old, new = getattr(before, key), getattr(after, key)
        if old != new:
            raise ValueError(f"Registering a parametrization may not change the {key} of the tensor, unless {flag} flag is enabled.\n"
                             f"{before_name}{key if before_name.endswith('.') else ' ' + key}: {old}\n"
                             f"{after_name}{key if after_name.endswith('.') else ' ' + key}: {new}")


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, applied in order, and what they start from: `original`, or `original0`, `original1`, ...

    Raises ValueError for none, and for ones that change dtype or shape (unless `unsafe`).
    """

    def __init__(self, modules: Sequence[Module], original: Tensor, unsafe: bool = False) -> None:
        if not modules:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        like = original.detach()  # type: ignore[attr-defined]
        new: Any = original
        with no_grad():
            for module in reversed(list(self)):
                if hasattr(module, "right_inverse"):
                    try:
                        new = module.right_inverse(new)
                    except NotImplementedError:
                        pass  # what it starts from is then the tensor itself
        if not isinstance(new, (Tensor, Sequence)):
            raise ValueError(f"'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). Got {type(new).__name__}")
        self.is_tensor = isinstance(new, Tensor)
        self.ntensors = 1 if self.is_tensor else len(new)
        if isinstance(new, Tensor):
            if original._dtype is not new._dtype:
                raise ValueError(f"When `right_inverse` outputs one tensor, it may not change the dtype.\noriginal.dtype: {original.dtype}\n"
                                 f"right_inverse(original).dtype: {new.dtype}")
            with no_grad():
                _become(original, new)
            _register(self, "original", original)
        else:
            for i, value in enumerate(new):
                if not isinstance(value, Tensor):
                    raise ValueError("'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). Got element "
                                     f"{i} of the sequence with type {type(value).__name__}.")
                needs = original._requires_grad
                value = Parameter(value.detach(), needs) if isinstance(original, Parameter) else value  # type: ignore[attr-defined]
                value.requires_grad_(needs)  # type: ignore[attr-defined]
                _register(self, f"original{i}", value)
        if not unsafe:
            _same_kind("A parametrization", like, self(), "unparametrized", "parametrized", "`unsafe`")

    def right_inverse(self, value: Tensor) -> None:
        """Set what the parametrizations start from so that they give `value`. Raises RuntimeError where one has no right inverse."""
        found: Any = value
        with no_grad():
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise RuntimeError(f"parametrization {type(module).__name__} does not implement right_inverse.")
                found = module.right_inverse(found)
            if self.is_tensor:
                if not isinstance(found, Tensor):
                    raise ValueError(f"`right_inverse` should return a tensor. Got {type(found).__name__}")
                if found._dtype is not self.original._dtype:
                    raise ValueError(f"The tensor returned by `right_inverse` has dtype {found.dtype} while `original` has dtype {self.original.dtype}")
                _become(self.original, found)
                return
            if not isinstance(found, Sequence):
                raise ValueError(f"'right_inverse' must return a sequence of tensors. Got {type(found).__name__}.")
            if len(found) != self.ntensors:
                raise ValueError(f"'right_inverse' must return a sequence of tensors of length {self.ntensors}. Got a sequence of length {len(found)}.")
            for i, t in enumerate(found):
                own = getattr(self, f"original{i}")
                if not isinstance(t, Tensor):
                    raise ValueError(f"`right_inverse` must return a sequence of tensors. Got element {i} of type {type(t).__name__}")
                if own._dtype is not t._dtype:
                    raise ValueError(f"Tensor {i} returned by `right_inverse` has dtype {t.dtype} while `original{i}` has dtype {own.dtype}")
                _become(own, t)

    def forward(self) -> Any:
        modules = list(self)
        x = modules[0](self.original) if self.is_tensor else modules[0](*[getattr(self, f"original{i}") for i in range(self.ntensors)])
        for module in modules[1:]:
            x = module(x)
        return x


def _become(target: Any, value: Any) -> None:
    target.data = value.detach()


def _deepcopy(self: Any, memo: dict[int, Any]) -> Any:
    found = memo.get(id(self))
    if found is None:
        found = memo[id(self)] = object.__new__(type(self))
        found.__dict__ = copy.deepcopy(self.__dict__, memo)
    return found


def _no_pickle(self: Any) -> Any:
    raise RuntimeError("Serialization of parametrized modules is only supported through state_dict(). See:\n"
                       "https://pytorch.org/tutorials/beginner/saving_loading_models.html"
                       "#saving-loading-a-general-checkpoint-for-inference-and-or-resuming-training")


def _property(name: str) -> property:
    def read(self: Any) -> Any:
        parametrization = self.parametrizations[name]
        if not _Cache.depth:
            return parametrization()
        key = (id(self), name)
        if key not in _Cache.values:
            _Cache.values[key] = parametrization()
        return _Cache.values[key]

    def write(self: Any, value: Any) -> None:
        self.parametrizations[name].right_inverse(value)
    return property(read, write)


def register_parametrization(module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False) -> Module:
    """Make a parameter or buffer of a module the output of `parametrization`; again: of one more, after those before. Returns the module.

    If the parametrization has a method `right_inverse`, the tensor keeps its value. The module's class becomes one of its own, "Parametrized...".
    Raises ValueError for a name that is neither a parameter nor a buffer, and for another dtype or shape (unless `unsafe`).

    >>> import torsh
    >>> class Symmetric(torsh.nn.Module):
    ...     def forward(self, x):
    ...         return x.triu() + x.triu(1).transpose(-1, -2)
    >>> m = register_parametrization(torsh.nn.Linear(3, 3), "weight", Symmetric())
    >>> torsh.equal(m.weight, m.weight.T)
    True
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        parts: Any = module.parametrizations[tensor_name]
        if not unsafe:
            _check_one_more(module, tensor_name, parametrization)
        parts.append(parametrization)
        parts.unsafe |= unsafe
    elif tensor_name in module._buffers or tensor_name in module._parameters:
        parts = ParametrizationList([parametrization], getattr(module, tensor_name), unsafe=unsafe)
        delattr(module, tensor_name)
        if not is_parametrized(module):
            kind = type(module)
            extra: dict[str, Callable[..., Any]] = {"__getstate__": _no_pickle}
            if not hasattr(kind, "__deepcopy__"):
                extra["__deepcopy__"] = _deepcopy
            module.__class__ = type(f"Parametrized{kind.__name__}", (kind,), extra)
            module.parametrizations = ModuleDict()
        setattr(type(module), tensor_name, _property(tensor_name))
        module.parametrizations[tensor_name] = parts
    else:
        raise ValueError(f"Module '{module}' does not have a parameter, a buffer, or a parametrized element with name '{tensor_name}'")
    return module


def _check_one_more(module: Module, name: str, parametrization: Any) -> None:
    """Raises ValueError unless a further parametrization keeps dtype and shape, both ways."""
    before = getattr(module, name)
    after = parametrization(before)
    _same_kind("A parametrization", before, after, f"module.{name}.", f"parametrization(module.{name}).", "the `unsafe`")
    if not hasattr(parametrization, "right_inverse"):
        return
    try:
        back = parametrization.right_inverse(after)
    except NotImplementedError:
        return
    if not isinstance(back, Tensor):
        raise ValueError(f"parametrization.right_inverse must return a tensor. Got: {type(back).__name__}")
    for key in ("dtype", "shape"):
        if getattr(back, key) != getattr(before, key):
            raise ValueError(f"The tensor returned by parametrization.right_inverse must have the same {key} as module.{name}, unless the `unsafe` flag "
                             f"is enabled.\nmodule.{name}.{key}: {getattr(before, key)}\nreturned {key}: {getattr(back, key)}")


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether a module has parametrizations (of a tensor)."""
    parts = getattr(module, "parametrizations", None)
    if not isinstance(parts, ModuleDict):
        return False
    return len(parts) > 0 if tensor_name is None else tensor_name in parts


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Make a tensor a plain one again: with its present value, or with `leave_parametrized=False` the one its parametrization starts from.

    Raises ValueError for a tensor without parametrization, and when there is no one tensor that it starts from.
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    parts: Any = module.parametrizations[tensor_name]
    if parts.is_tensor:
        original = parts.original
        if leave_parametrized:
            with no_grad():
                _become(original, getattr(module, tensor_name))
    elif leave_parametrized:
        value = getattr(module, tensor_name)
        original = Parameter(value.detach()) if value.requires_grad else value
    else:
        raise ValueError("Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is parametrized in terms of a sequence of tensors.")
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    _register(module, tensor_name, original)
    if not is_parametrized(module):
        del module.parametrizations
        module.__class__ = type(module).__bases__[0]
    return module


def type_before_parametrizations(module: Module) -> type:
    """The class of a module without its parametrizations."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def transfer_parametrizations_and_params(from_module: Module, to_module: Module, tensor_name: str | None = None) -> Module:
    """Give `to_module` the parametrizations of `from_module` (of one tensor), and the tensors they start from."""
    if not is_parametrized(from_module):
        return to_module
    for name in list(from_module.parametrizations) if tensor_name is None else [tensor_name]:
        if not hasattr(to_module, name):
            setattr(to_module, name, Parameter(getattr(from_module, name).detach()))
        source: Any = from_module.parametrizations[name]
        for parametrization in source:
            register_parametrization(to_module, name, parametrization)
        target: Any = to_module.parametrizations[name]
        for key in ["original"] if source.is_tensor else [f"original{i}" for i in range(source.ntensors)]:
            setattr(target, key, getattr(source, key))
    return to_module


__all__ = ["ParametrizationList", "cached", "is_parametrized", "register_parametrization", "remove_parametrizations",
           "transfer_parametrizations_and_params", "type_before_parametrizations"]

"""Module: parameters, buffers and submodules under names, with PyTorch's rules, hooks and errors."""
from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

from torsh.autograd.grad_mode import no_grad
from torsh.autograd.graph import grad_fn
from torsh.core.devices import device as device_type
from torsh.core.devices import require
from torsh.core.dtypes import bfloat16, dtype, float16, float32, float64
from torsh.nn.changes import changes
from torsh.nn.hooks import Everywhere, HookMixin, call_with_hooks, registered_as
from torsh.nn.members import GROUPS, Members, adopt, replaced, settle, without_attributes
from torsh.nn.parameter import Parameter, is_lazy
from torsh.tensor.creation import empty_like
from torsh.tensor.tensor import Tensor


def typename(value: Any) -> str:
    """The qualified name of a value's type, as errors show it."""
    if isinstance(value, Tensor) and type(value) is Tensor:
        return f"torch.{value._dtype.title}Tensor"
    kind = type(value)
    return kind.__qualname__ if kind.__module__ in ("builtins", "") else f"{kind.__module__}.{kind.__qualname__}"


def located(module: Module, error: Exception) -> None:
    """Put the path of the module that failed before an error's message; run at each level, so the root's view remains."""
    if len(error.args) != 1 or not isinstance(error.args[0], str) or isinstance(error, (NotImplementedError, RecursionError)):
        return
    found = getattr(error, "_module_and_message", None)
    if found is None:
        found = error._module_and_message = (module, error.args[0])  # type: ignore[attr-defined]
    inner, message = found
    kind = type(inner).__name__
    if inner is module:
        error.args = (message if message.startswith(kind + ":") else f"{kind}: {message}",)
        return
    for name, child in module.named_modules():
        if child is inner:
            error.args = (f"{type(module).__name__}.{name} ({kind}): {message}",)
            return


LOCATED = (RuntimeError, ValueError, IndexError, TypeError)
_everywhere = Everywhere.calls
_DICTS = ("_parameters", "_buffers", "_modules", "_call_hooks", "_backward_hooks", "_backward_pre_hooks", "_forward_hooks", "_forward_hooks_with_kwargs",
          "_forward_hooks_always_called", "_forward_pre_hooks", "_forward_pre_hooks_with_kwargs", "_state_dict_hooks", "_state_dict_pre_hooks",
          "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks")


class Module(HookMixin):
    """Base of all networks: assign parameters, buffers and modules as attributes, and write `forward`.

    An error raised in `forward` names the module: `Sequential.2 (Linear): ...`.

    >>> import torsh
    >>> class Scale(Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.factor = Parameter(torsh.ones(1))
    ...     def forward(self, x):
    ...         return x * self.factor
    >>> [name for name, _ in Scale().named_parameters()]
    ['factor']
    """
    training: bool
    _version: int = 1
    call_super_init: bool = False
    dump_patches: bool = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not self.call_super_init:
            if kwargs:
                raise TypeError(f"{type(self).__name__}.__init__() got an unexpected keyword argument '{next(iter(kwargs))}'")
            if args:
                raise TypeError(f"{type(self).__name__}.__init__() takes 1 positional argument but {len(args) + 1} were given")
        own = self.__dict__
        own["training"] = True
        for name in _DICTS:
            own[name] = Members(self) if name in GROUPS else OrderedDict()
        own["_non_persistent_buffers_set"] = set()
        own["_is_full_backward_hook"] = None
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    # ---- calling

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; subclasses define it. Raises NotImplementedError."""
        raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        own = self.__dict__
        try:
            if own["_call_hooks"] or _everywhere:
                return call_with_hooks(self, args, kwargs)
            return self.forward(*args, **kwargs)
        except LOCATED as error:
            located(self, error)
            raise
        except KeyError as error:
            if error.args == ("_call_hooks",):
                raise AttributeError(f"'{type(self).__name__}' object was called before Module.__init__()") from None
            raise

    # ---- registering

    def _check_name(self, name: Any, what: str, present: dict[str, Any]) -> None:
        if not isinstance(name, str):
            raise TypeError(f"{what} name should be a string. Got {typename(name)}")
        if hasattr(self, name) and name not in present:
            raise KeyError(f"attribute '{name}' already exists")
        if "." in name:
            raise KeyError(f"{what} name can't contain \".\"" + (f", got: {name}" if what == "module" else ""))
        if not name:
            raise KeyError(f'{what} name can\'t be empty string ""')

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is no parameter; in state dicts if `persistent`. Raises KeyError for a name taken, TypeError for no tensor."""
        if "_buffers" not in self.__dict__:
            raise AttributeError("cannot assign buffer before Module.__init__() call")
        self._check_name(name, "buffer", self._buffers)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(f"cannot assign '{typename(tensor)}' object to buffer '{name}' (torch Tensor or None required)")
        adopt(self, "_buffers")[name] = registered_as(Everywhere.buffer, self, name, tensor)
        (self._non_persistent_buffers_set.discard if persistent else self._non_persistent_buffers_set.add)(name)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter. Raises KeyError for a name taken, TypeError for no Parameter, ValueError for a computed tensor."""
        if "_parameters" not in self.__dict__:
            raise AttributeError("cannot assign parameter before Module.__init__() call")
        self._check_name(name, "parameter", self._parameters)
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(f"cannot assign '{typename(param)}' object to parameter '{name}' (torch.nn.Parameter or None required)")
        if param is not None and grad_fn(param) is not None:
            raise ValueError(f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be created explicitly. To express '{name}' "
                             "as a function of another Tensor, compute the value in the forward() method.")
        adopt(self, "_parameters")[name] = None if param is None else registered_as(Everywhere.parameter, self, name, param)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a submodule. Raises KeyError for a name taken, TypeError for no Module."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{typename(module)} is not a Module subclass")
        self._check_name(name, "module", self._modules)
        adopt(self, "_modules")[name] = registered_as(Everywhere.module, self, name, module)

    def register_module(self, name: str, module: Module | None) -> None:
        """`add_module`."""
        self.add_module(name, module)

    def __setstate__(self, state: dict[str, Any]) -> None:
        own = self.__dict__
        own.update(state)
        for name in _DICTS[3:]:  # a file of an earlier version lacks the newer ones
            own.setdefault(name, OrderedDict())
        own.setdefault("_non_persistent_buffers_set", set())
        own.setdefault("_is_full_backward_hook", None)
        settle(self)
        changes.count += 1

    def __getstate__(self) -> dict[str, Any]:
        return without_attributes(self)

    def __setattr__(self, name: str, value: Any) -> None:
        changes.count += 1
        own = self.__dict__
        params = own.get("_parameters")
        if isinstance(value, Parameter):
            if params is None:
                raise AttributeError("cannot assign parameters before Module.__init__() call")
            self._forget(name, "_buffers", "_modules")
            self.register_parameter(name, value)
            return
        if params is not None and name in params:
            if value is not None:
                raise TypeError(f"cannot assign '{typename(value)}' as parameter '{name}' (torch.nn.Parameter or None expected)")
            self.register_parameter(name, value)
            return
        modules = own.get("_modules")
        if isinstance(value, Module):
            if modules is None:
                raise AttributeError("cannot assign module before Module.__init__() call")
            self._forget(name, "_parameters", "_buffers")
            adopt(self, "_modules")[name] = registered_as(Everywhere.module, self, name, value)
            return
        if modules is not None and name in modules:
            if value is not None:
                raise TypeError(f"cannot assign '{typename(value)}' as child module '{name}' (torch.nn.Module or None expected)")
            adopt(self, "_modules")[name] = registered_as(Everywhere.module, self, name, value)
            return
        buffers = own.get("_buffers")
        marked = isinstance(value, Tensor) and getattr(value, "_is_buffer", False)
        if marked or (buffers is not None and name in buffers):
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(f"cannot assign '{typename(value)}' as buffer '{name}' (torch.nn.Buffer, torch.Tensor or None expected)")
            if marked:
                self._forget(name, "_parameters", "_modules")
                self.register_buffer(name, value, value.persistent)  # type: ignore[union-attr]
            else:
                adopt(self, "_buffers")[name] = registered_as(Everywhere.buffer, self, name, value)
            return
        if name in GROUPS:
            replaced(self, name, value)
            return
        object.__setattr__(self, name, value)
        if name == "__dict__":
            settle(self)

    def _forget(self, name: str, *dicts: str) -> None:
        own = self.__dict__
        own.pop(name, None)
        for d in dicts:
            own[d].pop(name, None)
        own["_non_persistent_buffers_set"].discard(name)

    def __getattr__(self, name: str) -> Any:
        own = self.__dict__
        for group in ("_parameters", "_buffers", "_modules"):
            held = own.get(group)
            if held is not None and name in held:
                return held[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'", name=name, obj=self)

    def __delattr__(self, name: str) -> None:
        changes.count += 1
        for group in (self._parameters, self._buffers, self._modules):
            if name in group:
                del group[name]
                self._non_persistent_buffers_set.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        names = {*dir(type(self)), *self.__dict__, *self._parameters, *self._modules, *self._buffers}
        return sorted(n for n in names if not n[:1].isdigit())

    # ---- walking

    def _named_members(self, group: str, prefix: str, recurse: bool, remove_duplicate: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for path, module in modules:
            for name, value in list(getattr(module, group).items()):
                if value is None or id(value) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(value))
                yield (path + "." if path else "") + name, value

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters, each once."""
        for _, p in self.named_parameters(recurse=recurse):
            yield p

    def named_parameters(self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True) -> Iterator[tuple[str, Parameter]]:
        """(path, parameter) pairs."""
        yield from self._named_members("_parameters", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """All buffers, each once."""
        for _, b in self.named_buffers(recurse=recurse):
            yield b

    def named_buffers(self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True) -> Iterator[tuple[str, Tensor]]:
        """(path, buffer) pairs."""
        yield from self._named_members("_buffers", prefix, recurse, remove_duplicate)

    def children(self) -> Iterator[Module]:
        """The direct submodules, each once."""
        for _, m in self.named_children():
            yield m

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) of the direct submodules."""
        seen: set[int] = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """This module and all below it."""
        for _, m in self.named_modules(remove_duplicate=remove_duplicate):
            yield m

    def named_modules(self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, Module]]:
        """(path, module) pairs, parents first; this module under `prefix`."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, (prefix + "." if prefix else "") + name, remove_duplicate)

    def get_submodule(self, target: str) -> Module:
        """The module at a path. Raises AttributeError if there is none."""
        found: Module = self
        for item in target.split(".") if target else ():
            if not hasattr(found, item):
                raise AttributeError(found._get_name() + " has no attribute `" + item + "`")
            found = getattr(found, item)
            if not isinstance(found, Module):
                raise AttributeError("`" + item + "` is not an nn.Module")
        return found

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Put a module at a path; `strict`: only where there is one. Raises AttributeError or ValueError for an impossible path."""
        if not target:
            raise ValueError("Cannot set the submodule without a target name!")
        if not isinstance(module, Module):
            raise ValueError(f"`module` is not an nn.Module, found {type(module)}")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if strict and not hasattr(parent, name):
            raise AttributeError(parent._get_name() + " has no attribute `" + name + "`")
        if hasattr(parent, name) and not isinstance(getattr(parent, name), Module):
            raise AttributeError("`" + name + "` is not an nn.Module")
        setattr(parent, name, module)

    def _get_member(self, target: str, group: str, what: str) -> Any:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(module._get_name() + " has no attribute `" + name + "`")
        if name not in getattr(module, group):
            raise AttributeError("`" + name + "` is not " + what)
        return getattr(module, name)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a path. Raises AttributeError if there is none."""
        return self._get_member(target, "_parameters", "an nn.Parameter")  # type: ignore[no-any-return]

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a path. Raises AttributeError if there is none."""
        return self._get_member(target, "_buffers", "a buffer")  # type: ignore[no-any-return]

    # ---- changing everything below

    def apply(self, fn: Callable[[Module], None]) -> Module:
        """Call `fn` on every submodule, then on this module; returns it."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Module:
        if recurse:
            for module in self.children():
                module._apply(fn)
        for p in self._parameters.values():
            if is_lazy(p):
                p._dtype = fn(p)._dtype
            elif p is not None:
                with no_grad():
                    p.data = fn(p)  # type: ignore[attr-defined]
                    if p._grad is not None:
                        p._grad.data = fn(p._grad)  # type: ignore[attr-defined]
        for name, b in self._buffers.items():
            if b is not None:
                self._buffers[name] = fn(b)
        return self

    def to(self, *args: Any, device: Any = None, dtype: dtype | None = None, non_blocking: bool = False) -> Module:
        """Move or convert floating parameters and buffers: `to(device)`, `to(dtype)`, `to(device, dtype)`, `to(tensor)`.

        Raises TypeError for an integer dtype, RuntimeError for a device without a backend.
        """
        for value in args:
            if isinstance(value, Tensor):
                dtype = value._dtype
            elif isinstance(value, _dtype):
                dtype = value
            elif isinstance(value, (str, device_type, int)) and not isinstance(value, bool):
                device = value
        require(device)
        if dtype is None:
            return self
        if dtype.category < 2:
            raise TypeError(f"nn.Module.to only accepts floating point or complex dtypes, but got desired dtype={dtype}")
        if dtype.is_complex:
            warnings.warn("Complex modules are a new feature under active development whose design may change, and some modules might not work as "
                          "expected when using complex tensors as parameters or buffers.", stacklevel=2)
        return self._apply(lambda t: t.to(dtype) if t._dtype.category >= 2 else t)  # type: ignore[attr-defined,no-any-return]

    def to_empty(self, *, device: Any, recurse: bool = True) -> Module:
        """Give all parameters and buffers memory on a device, with no values. Raises RuntimeError for a device without a backend."""
        require(device)
        return self._apply(empty_like, recurse)

    def type(self, dst_type: dtype) -> Module:
        """Convert all parameters and buffers."""
        return self._apply(lambda t: t.to(dst_type))  # type: ignore[attr-defined,no-any-return]

    def _floating(self, dt: dtype) -> Module:
        return self._apply(lambda t: t.to(dt) if t._dtype.category == 2 else t)  # type: ignore[attr-defined,no-any-return]

    def float(self) -> Module:
        """Floating parameters and buffers to float32."""
        return self._floating(float32)

    def double(self) -> Module:
        """Floating parameters and buffers to float64."""
        return self._floating(float64)

    def half(self) -> Module:
        """Floating parameters and buffers to float16."""
        return self._floating(float16)

    def bfloat16(self) -> Module:
        """Floating parameters and buffers to bfloat16."""
        return self._floating(bfloat16)

    def cpu(self) -> Module:
        """Move to the CPU."""
        return self.to("cpu")

    def cuda(self, device: Any = None) -> Module:
        """Move to a GPU. Raises RuntimeError without such a backend."""
        return self.to("cuda" if device is None else device)

    def train(self, mode: bool = True) -> Module:
        """Set `training` here and below; returns the module. Raises ValueError unless a bool."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self) -> Module:
        """`train(False)`."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Module:
        """Set `requires_grad` of all parameters."""
        for p in self.parameters():
            p.requires_grad_(requires_grad)  # type: ignore[attr-defined]
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or make them zero."""
        for p in self.parameters():
            if p._grad is not None:
                p._grad = None if set_to_none else p._grad.detach().zero_()  # type: ignore[attr-defined]

    # ---- text

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """What stands between the parentheses of the text form."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        children = [f"({name}): " + indented(repr(module)) for name, module in self._modules.items()]
        if lines and not children and len(lines) == 1:
            return f"{self._get_name()}({lines[0]})"
        body = lines + children
        return f"{self._get_name()}(" + ("\n  " + "\n  ".join(body) + "\n" if body else "") + ")"


def indented(text: str) -> str:
    """All lines but the first moved right by two."""
    return text.replace("\n", "\n  ")


_dtype = dtype
__all__ = ["Module", "indented", "typename"]

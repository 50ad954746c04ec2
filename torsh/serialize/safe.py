"""What a checkpoint may name when only weights are read from it, and what PyTorch's names mean here."""
from __future__ import annotations

import _codecs
import _compat_pickle
import pickle
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from torsh.core import dtypes, layouts
from torsh.core.devices import device
from torsh.core.dtypes import dtype
from torsh.nn.parameter import Parameter
from torsh.storage import KINDS as STORAGES
from torsh.storage import TypedStorage, UntypedStorage, on_storage
from torsh.tensor import kinds
from torsh.tensor.size import Size
from torsh.tensor.tensor import Tensor


def _tensor_of(storage: Any, dt: dtype, offset: int, size: Sequence[int], stride: Sequence[int], requires_grad: bool, metadata: Any) -> Tensor:
    if not isinstance(storage, (TypedStorage, UntypedStorage)):
        raise pickle.UnpicklingError(f"load: a tensor is on a {type(storage).__name__}, not on a storage")
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or any(not isinstance(n, int) or n < 0 for n in numbers):
        raise RuntimeError(f"load: a tensor of sizes {list(size)}, strides {list(stride)} and offset {offset} cannot be")
    found: Any = on_storage(storage, dt, offset, size, stride)
    for name in metadata or ():
        if name not in ("conj", "neg"):
            raise RuntimeError(f"load: a tensor has {name!r}, which is not known")
        found = found if not metadata[name] else found.conj() if name == "conj" else -found
    return found.requires_grad_(True) if requires_grad else found  # type: ignore[no-any-return]


def rebuild_tensor(storage: Any, storage_offset: int, size: Any, stride: Any) -> Tensor:
    """A tensor on a typed storage. Raises RuntimeError for a geometry that reaches outside."""
    return _tensor_of(storage, storage.dtype, storage_offset, size, stride, False, None)


def rebuild_tensor_v2(storage: Any, storage_offset: int, size: Any, stride: Any, requires_grad: bool, backward_hooks: Any, metadata: Any = None) -> Tensor:
    """A tensor on a typed storage, with its marks. Raises RuntimeError for a geometry that reaches outside."""
    return _tensor_of(storage, storage.dtype, storage_offset, size, stride, requires_grad, metadata)


def rebuild_tensor_v3(storage: Any, storage_offset: int, size: Any, stride: Any, requires_grad: bool, backward_hooks: Any, dt: dtype,
                      metadata: Any = None) -> Tensor:
    """A tensor of a type on bytes. Raises RuntimeError for a geometry that reaches outside."""
    return _tensor_of(storage, dt, storage_offset, size, stride, requires_grad, metadata)


def rebuild_parameter(data: Tensor, requires_grad: bool, backward_hooks: Any) -> Parameter:
    """A parameter with the memory of a tensor."""
    return Parameter(data.detach(), requires_grad)  # type: ignore[attr-defined]


def rebuild_parameter_with_state(data: Tensor, requires_grad: bool, backward_hooks: Any, state: Any) -> Parameter:
    """As `rebuild_parameter`, with attributes of its own."""
    return with_state(rebuild_parameter(data, requires_grad, backward_hooks), state)  # type: ignore[no-any-return]


def rebuild_from_type(function: Callable[..., Any], kind: type, args: tuple[Any, ...], state: Any) -> Any:
    """A tensor of a class, with attributes of its own."""
    made = function(*args)
    return with_state(made if type(made) is kind else made.as_subclass(kind), state)


def with_state(made: Any, state: Any) -> Any:
    """An object with attributes from a pickle. Raises RuntimeError for what are no attributes, and where they would hide a tensor's or a dict's own."""
    closed = isinstance(made, (Tensor, OrderedDict))
    own, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
    for part in (own, slots):
        if part:
            if not isinstance(part, dict):
                raise RuntimeError(f"load: the attributes of a {type(made).__name__} are no dict but a {type(part).__name__}")
            for name, value in part.items():
                if not isinstance(name, str) or name.startswith("__") or (closed and hasattr(type(made), name)):
                    raise RuntimeError(f"load: {name!r} is no attribute that a {type(made).__name__} is saved with")
                setattr(made, name, value)
    return made


def _get_layout(name: str) -> Any:
    found = getattr(layouts, name.removeprefix("torch.").removeprefix("torsh."), None)
    if not isinstance(found, layouts.layout):
        raise RuntimeError(f"load: {name!r} is no layout")
    return found


#: What PyTorch's names in a checkpoint mean.
NAMES: dict[str, Any] = {
    "torch._utils._rebuild_tensor": rebuild_tensor, "torch._utils._rebuild_tensor_v2": rebuild_tensor_v2, "torch._utils._rebuild_tensor_v3": rebuild_tensor_v3,
    "torch._utils._rebuild_parameter": rebuild_parameter, "torch._utils._rebuild_parameter_with_state": rebuild_parameter_with_state,
    "torch._tensor._rebuild_from_type_v2": rebuild_from_type, "torch.serialization._get_layout": _get_layout, "torch.Size": Size, "torch.device": device,
    "torch.Tensor": Tensor, "torch._tensor.Tensor": Tensor, "torch.nn.parameter.Parameter": Parameter, "torch.storage.UntypedStorage": UntypedStorage,
    "torch.storage.TypedStorage": TypedStorage,
    **{f"torch.{d.name}": d for d in dtypes.ALL}, **{f"torch.{name}": kind for name, kind in STORAGES.items()},
    **{f"torch.{name}": kind for name, kind in kinds.KINDS.items()},
}
_PLAIN: dict[str, Any] = {"collections.OrderedDict": OrderedDict, "collections.Counter": Counter, "_codecs.encode": _codecs.encode,
                          "builtins.bytearray": bytearray, "builtins.set": set, "builtins.complex": complex}

_added: dict[str, Any] = {}


def _full_name(item: Any) -> tuple[str, Any]:
    if isinstance(item, tuple):
        found, name = item
        return name, found
    return f"{item.__module__}.{item.__qualname__}", item


def add_safe_globals(safe_globals: Sequence[Any]) -> None:
    """Let checkpoints name these classes and functions, or (one, "the name that files have for it"), when only weights are read."""
    _added.update(_full_name(item) for item in safe_globals)


def get_safe_globals() -> list[Any]:
    """What was added."""
    return [found if _full_name(found)[0] == name else (found, name) for name, found in _added.items()]


def clear_safe_globals() -> None:
    """Forget what was added."""
    _added.clear()


class safe_globals:
    """Context manager: `add_safe_globals` for a while.

    >>> with safe_globals([range]):
    ...     get_safe_globals()
    [<class 'range'>]
    """

    def __init__(self, safe_globals: Sequence[Any]) -> None:
        self.given = safe_globals

    def __enter__(self) -> None:
        self.before = dict(_added)
        add_safe_globals(self.given)

    def __exit__(self, *exc: object) -> None:
        _added.clear()
        _added.update(self.before)


def present_name(module: str, name: str) -> tuple[str, str]:
    """Python 3's name for what protocol 2 calls by Python 2's."""
    if (module, name) in _compat_pickle.NAME_MAPPING:
        return _compat_pickle.NAME_MAPPING[module, name]
    return _compat_pickle.IMPORT_MAPPING.get(module, module), name


def allowed(name: str) -> Any:
    """What a name means when only weights are read, None for one that is not allowed."""
    for table in (_added, NAMES, _PLAIN):
        if name in table:
            return table[name]
    return None


_Python: Any = pickle._Unpickler  # type: ignore[attr-defined]  # the one in Python, whose steps can be restricted


class WeightsUnpickler(_Python):  # type: ignore[misc]
    """Reads pickles that name nothing but what is allowed, call nothing but what they name, and give attributes to nothing else."""
    dispatch = dict(_Python.dispatch)

    def find_class(self, module: str, name: str) -> Any:
        module, name = present_name(module, name)
        found = allowed(f"{module}.{name}")
        if found is None:
            raise pickle.UnpicklingError(
                f"load: the checkpoint names {module}.{name}, which is not allowed when only weights are read. If you trust the file, allow it with "
                f"torsh.serialization.add_safe_globals([{name}]), or read it with weights_only=False, which can run any code.")
        return found

    def load_reduce(self) -> None:
        """Call a function that was named."""
        args = self.stack.pop()
        function = self.stack[-1]
        if not any(function is f for table in (_added, NAMES, _PLAIN) for f in table.values()) or not isinstance(args, tuple):
            raise pickle.UnpicklingError(f"load: the checkpoint calls a {type(function).__name__}, which is not allowed when only weights are read")
        self.stack[-1] = function(*args)
    dispatch[pickle.REDUCE[0]] = load_reduce

    def load_build(self) -> None:
        """Give attributes to an object made before."""
        state = self.stack.pop()
        made = self.stack[-1]
        if type(made) is OrderedDict or isinstance(made, Tensor):
            with_state(made, state)
        elif type(made) in _added.values() or isinstance(made, tuple(f for f in _added.values() if isinstance(f, type))):
            set_state = getattr(made, "__setstate__", None)
            if set_state is not None:
                set_state(state)
            else:
                with_state(made, state)
        else:
            raise pickle.UnpicklingError(f"load: the checkpoint gives attributes to a {type(made).__name__}, which is not allowed when only weights are read")
    dispatch[pickle.BUILD[0]] = load_build


__all__ = ["NAMES", "WeightsUnpickler", "add_safe_globals", "allowed", "clear_safe_globals", "get_safe_globals", "present_name",
           "safe_globals"]

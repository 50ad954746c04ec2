"""Lazy modules: the number of inputs is taken from the first input."""
from __future__ import annotations

from typing import Any

from torsh.autograd.grad_mode import no_grad
from torsh.core.dtypes import int64
from torsh.nn.module import Module
from torsh.nn.modules import conv, norm
from torsh.nn.modules.basic import Linear
from torsh.nn.parameter import UninitializedBuffer, UninitializedParameter, is_lazy
from torsh.tensor.creation import zeros
from torsh.tensor.tensor import Tensor


class LazyModuleMixin:
    """Makes a module lazy: its parameters are `UninitializedParameter`s until the first call, which runs `initialize_parameters(*args)` and turns
    the module into its `cls_to_become`. Loading a state dict gives the shapes, too.

    Raises RuntimeError if a parameter is still without a shape then.
    """
    cls_to_become: type[Any] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        me: Any = self
        me._load_hook = me._register_load_state_dict_pre_hook(self._lazy_load_hook)
        me._initialize_hook = me.register_forward_pre_hook(self._infer_parameters, with_kwargs=True)

    def _members(self) -> list[tuple[str, Any]]:
        me: Any = self
        return [*me._parameters.items(), *me._buffers.items()]

    def _lazy_load_hook(self, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
        for name, value in self._members():
            given = state_dict.get(prefix + name)
            if given is not None and is_lazy(value) and not is_lazy(given):
                value.materialize(given._shape)

    def initialize_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Give all parameters their shapes, from the first input. Subclasses define it."""
        raise NotImplementedError(f"initialize_parameters is not implemented for {type(self).__name__}")

    def has_uninitialized_params(self) -> bool:
        """Whether a parameter or buffer has no shape yet."""
        return any(is_lazy(value) for _, value in self._members())

    def _infer_parameters(self, module: Any, args: Any, kwargs: Any = None) -> None:
        module.initialize_parameters(*args, **(kwargs or {}))
        if module.has_uninitialized_params():
            raise RuntimeError(f"module {module._get_name()} has not been fully initialized")
        module._initialize_hook.remove()
        module._load_hook.remove()
        del module._initialize_hook, module._load_hook
        if module.cls_to_become is not None:
            module.__class__ = module.cls_to_become

    def _materialize(self, **shapes: tuple[int, ...]) -> None:
        with no_grad():
            for name, shape in shapes.items():
                value = getattr(self, name)
                if value is not None:
                    value.materialize(shape)


class LazyLinear(LazyModuleMixin, Linear):
    """A `Linear` that takes `in_features` from its first input."""
    cls_to_become = Linear

    def __init__(self, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None) -> None:
        super().__init__(0, 0, False)
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        self.out_features = out_features
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """Draw new values, once there are shapes."""
        if not self.has_uninitialized_params() and self.in_features != 0:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:  # type: ignore[override]
        if self.has_uninitialized_params():
            self.in_features = input._shape[-1]
            self._materialize(weight=(self.out_features, self.in_features), bias=(self.out_features,))
            self.reset_parameters()
        if self.in_features == 0:
            if input._shape[-1] != self.weight._shape[-1]:
                raise AssertionError(f"The in_features inferred from input: {input._shape[-1]} is not equal to in_features from self.weight: "
                                     f"{self.weight._shape[-1]}")
            self.in_features = input._shape[-1]


class _LazyConv(LazyModuleMixin, conv._ConvNd):
    def __init__(self, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1, bias: bool = True,
                 padding_mode: str = "zeros", device: Any = None, dtype: Any = None) -> None:
        super().__init__(0, 0, kernel_size, stride=stride, padding=padding, dilation=dilation, groups=groups, bias=False,  # type: ignore[call-arg]
                         padding_mode=padding_mode, device=device, dtype=dtype)
        self._uninitialized(out_channels, bias, device, dtype)

    def _uninitialized(self, out_channels: int, bias: bool, device: Any, dtype: Any) -> None:
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        self.out_channels = out_channels
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """Draw new values, once there are shapes."""
        if not self.has_uninitialized_params() and self.in_channels != 0:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor, *args: Any, **kwargs: Any) -> None:
        if not self.has_uninitialized_params():
            return
        n = self._dims
        if len(input._shape) not in (n + 1, n + 2):
            raise RuntimeError(f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to {type(self).__name__}, but got input of size: {input.shape}")
        self.in_channels = input._shape[-n - 1]
        if self.in_channels % self.groups:
            raise ValueError("in_channels must be divisible by groups")
        channels = (self.in_channels, self.out_channels // self.groups) if self.transposed else (self.out_channels, self.in_channels // self.groups)
        self._materialize(weight=(*channels, *self.kernel_size), bias=(self.out_channels,))
        self.reset_parameters()


class _LazyConvTranspose(_LazyConv):
    def __init__(self, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0, output_padding: Any = 0, groups: int = 1, bias: bool = True,
                 dilation: Any = 1, padding_mode: str = "zeros", device: Any = None, dtype: Any = None) -> None:
        super(_LazyConv, self).__init__(0, 0, kernel_size, stride=stride, padding=padding, output_padding=output_padding, groups=groups,
                                        bias=False, dilation=dilation, padding_mode=padding_mode, device=device, dtype=dtype)
        self._uninitialized(out_channels, bias, device, dtype)


class _LazyNorm(LazyModuleMixin, norm._NormBase):
    def __init__(self, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True, track_running_stats: bool = True, device: Any = None,
                 dtype: Any = None, *, bias: bool = True) -> None:
        super().__init__(0, eps, momentum, False, False, device, dtype, bias=False)
        self.affine = affine
        self.track_running_stats = track_running_stats
        if affine:
            self.weight = UninitializedParameter(device=device, dtype=dtype)
            if bias:
                self.bias = UninitializedParameter(device=device, dtype=dtype)
        if track_running_stats:
            self.running_mean = UninitializedBuffer(device=device, dtype=dtype)
            self.running_var = UninitializedBuffer(device=device, dtype=dtype)
            self.num_batches_tracked = zeros((), dtype=int64)

    def reset_parameters(self) -> None:
        """Weight 1, bias 0 and no statistics, once there are shapes."""
        if not self.has_uninitialized_params() and self.num_features != 0:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:  # type: ignore[override]
        if self.has_uninitialized_params():
            self.num_features = input._shape[1]
            names = [name for name, value in self._members() if is_lazy(value)]
            self._materialize(**dict.fromkeys(names, (self.num_features,)))
            self.reset_parameters()


_MODULES: dict[str, type[Module]] = {"LazyLinear": LazyLinear}
for _base, _kind in ((_LazyConv, "Conv"), (_LazyConvTranspose, "ConvTranspose"), (_LazyNorm, "BatchNorm"), (_LazyNorm, "InstanceNorm")):
    for _n in (1, 2, 3):
        _module: type[Module] = getattr(norm if _base is _LazyNorm else conv, f"{_kind}{_n}d")
        _what = "num_features" if _base is _LazyNorm else "in_channels"
        _MODULES[f"Lazy{_kind}{_n}d"] = type(f"Lazy{_kind}{_n}d", (_base, _module), {
            "cls_to_become": _module, "__module__": __name__, "__doc__": f"A `{_kind}{_n}d` that takes `{_what}` from its first input."})
globals().update(_MODULES)
__all__ = list(_MODULES)

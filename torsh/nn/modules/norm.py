"""Normalizations: over the batch, over trailing dimensions, over groups of channels."""
from __future__ import annotations

import warnings
from numbers import Integral
from typing import Any

import numpy as np

from torsh.autograd.grad_mode import no_grad
from torsh.core.dtypes import int64
from torsh.nn import functional as F
from torsh.nn import init
from torsh.nn.module import Module
from torsh.nn.parameter import Parameter
from torsh.tensor.creation import empty, from_array, ones, zeros
from torsh.tensor.tensor import Tensor


class _NormBase(Module):
    """What batch and instance normalization share: a weight and a bias for each channel, and running moments."""
    _version = 2
    _dims: tuple[int, ...] = ()  # of inputs

    def __init__(self, num_features: int, eps: float, momentum: float | None, affine: bool, track_running_stats: bool, device: Any, dtype: Any,
                 bias: bool) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        options = {"device": device, "dtype": dtype}
        self.register_parameter("weight", Parameter(empty(num_features, **options)) if affine else None)
        self.register_parameter("bias", Parameter(empty(num_features, **options)) if affine and bias else None)
        self.register_buffer("running_mean", zeros(num_features, **options) if track_running_stats else None)
        self.register_buffer("running_var", ones(num_features, **options) if track_running_stats else None)
        self.register_buffer("num_batches_tracked", zeros((), dtype=int64) if track_running_stats else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Running mean 0, variance 1, no batches."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Weight 1, bias 0, and `reset_running_stats`."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def _check_input_dim(self, input: Tensor) -> None:
        if len(input._shape) not in self._dims:
            raise ValueError(f"expected {' or '.join(f'{d}D' for d in self._dims)} input (got {len(input._shape)}D input)")

    def extra_repr(self) -> str:
        return (f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
                f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}")

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], *rest: Any) -> None:
        key = prefix + "num_batches_tracked"
        if local_metadata.get("version", 1) < 2 and self.track_running_stats and key not in state_dict:
            state_dict[key] = self.num_batches_tracked  # files of the first version have no count
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


class _BatchNorm(_NormBase):
    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
                 track_running_stats: bool = True, device: Any = None, dtype: Any = None, *, bias: bool = True) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias)

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        factor = 0.0 if self.momentum is None else self.momentum
        if self.training and self.num_batches_tracked is not None:
            with no_grad():
                self.num_batches_tracked.add_(1)
            if self.momentum is None:
                factor = 1.0 / float(self.num_batches_tracked)
        keep = not self.training or self.track_running_stats
        return F.batch_norm(input, self.running_mean if keep else None, self.running_var if keep else None, self.weight, self.bias,
                            self.training or (self.running_mean is None and self.running_var is None), factor, self.eps)


class BatchNorm1d(_BatchNorm):
    """Batch normalization of [n, c] or [n, c, l]. Ioffe & Szegedy, 2015. Raises ValueError for other inputs."""
    _dims = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalization of [n, c, h, w]. Raises ValueError for other inputs."""
    _dims = (4,)


class BatchNorm3d(_BatchNorm):
    """Batch normalization of [n, c, d, h, w]. Raises ValueError for other inputs."""
    _dims = (5,)


class SyncBatchNorm(_BatchNorm):
    """Batch normalization of [n, c, ...] over the batches of all processes of a group: of this one, as there are no groups in this build,
    so that it is batch normalization. `convert_sync_batchnorm` makes it of a model's `BatchNorm` layers.

    Raises ValueError for fewer than 2 dimensions and for no channels.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True, track_running_stats: bool = True,
                 process_group: Any = None, device: Any = None, dtype: Any = None, *, bias: bool = True) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)
        self.process_group = process_group

    def _check_input_dim(self, input: Tensor) -> None:
        if len(input._shape) < 2:
            raise ValueError(f"expected at least 2D input (got {len(input._shape)}D input)")
        if not input._shape[1]:
            raise ValueError("SyncBatchNorm number of input channels should be non-zero")

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any = None) -> Module:
        """The module with each `BatchNorm` layer in it as a SyncBatchNorm of the same parameters and statistics; a new module if it is one itself."""
        made: Any = module
        if isinstance(module, _BatchNorm):
            made = SyncBatchNorm(module.num_features, module.eps, module.momentum, module.affine, module.track_running_stats, process_group,
                                 bias=module.bias is not None)
            for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
                setattr(made, name, getattr(module, name))
            made.training = module.training
        for name, child in module.named_children():
            made.add_module(name, cls.convert_sync_batchnorm(child, process_group))
        return made  # type: ignore[no-any-return]


class _InstanceNorm(_NormBase):
    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = False,
                 track_running_stats: bool = False, device: Any = None, dtype: Any = None, *, bias: bool = True) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias)

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        unbatched = len(input._shape) == self._dims[0]
        channels = len(input._shape) - self._dims[0]
        if input._shape[channels] != self.num_features:
            if self.affine:
                raise ValueError(f"expected input's size at dim={channels} to match num_features ({self.num_features}), but got: "
                                 f"{input._shape[channels]}.")
            warnings.warn(f"input's size at dim={channels} does not match num_features. You can silence this warning by not passing in "
                          "num_features, which is not used because affine=False", stacklevel=2)
        x: Tensor = input.unsqueeze(0) if unbatched else input  # type: ignore[attr-defined]
        y: Any = F.instance_norm(x, self.running_mean, self.running_var, self.weight, self.bias, self.training or not self.track_running_stats,
                                 0.0 if self.momentum is None else self.momentum, self.eps)
        return y.squeeze(0) if unbatched else y  # type: ignore[no-any-return]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], strict: bool,
                              missing_keys: list[str], unexpected_keys: list[str], error_msgs: list[str]) -> None:
        if local_metadata.get("version") is None and not self.track_running_stats:
            found = [n for n in ("running_mean", "running_var") if prefix + n in state_dict]
            if found:
                names, kind = " and ".join(f'"{prefix + n}"' for n in found), type(self).__name__
                error_msgs.append(f"Unexpected running stats buffer(s) {names} for {kind} with track_running_stats=False. If state_dict is a checkpoint "
                                  f"saved before 0.4.0, this may be expected because {kind} does not track running stats by default since 0.4.0. Please "
                                  "remove these keys from state_dict. If the running stats are actually needed, instead set track_running_stats=True in "
                                  f"{kind} to enable them. See the documentation of {kind} for details.")
                for n in found:
                    del state_dict[prefix + n]
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)


class InstanceNorm1d(_InstanceNorm):
    """Zero mean and unit variance of every sample and channel of [n, c, l] or [c, l]. Ulyanov et al., 2016. Raises ValueError for other inputs."""
    _dims = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """Zero mean and unit variance of every sample and channel of [n, c, h, w] or [c, h, w]. Raises ValueError for other inputs."""
    _dims = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """Zero mean and unit variance of every sample and channel of [n, c, d, h, w] or [c, d, h, w]. Raises ValueError for other inputs."""
    _dims = (4, 5)


class LayerNorm(Module):
    """Zero mean and unit variance over the trailing dimensions `normalized_shape`. Ba et al., 2016."""

    def __init__(self, normalized_shape: Any, eps: float = 1e-5, elementwise_affine: bool = True, bias: bool = True, device: Any = None,
                 dtype: Any = None) -> None:
        super().__init__()
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, (int, Integral)) else tuple(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        options = {"device": device, "dtype": dtype}
        self.register_parameter("weight", Parameter(empty(self.normalized_shape, **options)) if elementwise_affine else None)
        self.register_parameter("bias", Parameter(empty(self.normalized_shape, **options)) if elementwise_affine and bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight 1, bias 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"



class GroupNorm(Module):
    """Zero mean and unit variance over groups of channels of [n, c, ...]. Wu & He, 2018. Raises ValueError for c % num_groups != 0."""

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True, device: Any = None, dtype: Any = None, *,
                 bias: bool = True) -> None:
        super().__init__()
        if num_channels % num_groups:
            raise ValueError(f"num_channels ({num_channels}) must be divisible by num_groups ({num_groups})")
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        options = {"device": device, "dtype": dtype}
        self.register_parameter("weight", Parameter(empty(num_channels, **options)) if affine else None)
        self.register_parameter("bias", Parameter(empty(num_channels, **options)) if affine and bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight 1, bias 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, bias={self.bias is not None}"


class RMSNorm(Module):
    """The input over its root mean square over the trailing dimensions `normalized_shape`, times weight. Zhang & Sennrich, 2019.

    `eps` is the machine epsilon by default.
    """

    def __init__(self, normalized_shape: Any, eps: float | None = None, elementwise_affine: bool = True, device: Any = None,
                 dtype: Any = None) -> None:
        super().__init__()
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, (int, Integral)) else tuple(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self.register_parameter("weight", Parameter(empty(self.normalized_shape, device=device, dtype=dtype)) if elementwise_affine else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight 1."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class CrossMapLRN2d(Module):
    """[n, c, h, w] over (k + alpha / size * squares of neighbouring channels)^beta. Raises ValueError for other inputs.

    The channels added up are PyTorch's: those at most (size - 1) / 2 away and, from channel (size + 1) / 2 on, also the first one.
    Its derivative is that of this function.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1) -> None:
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: Tensor) -> Tensor:
        if len(input._shape) != 4:
            raise ValueError(f"CrossMapLRN2d: Expected input to be 4D, got {len(input._shape)}D instead.")
        reach = int((self.size - 1) / 2 + 1)
        channel = np.arange(input._shape[1])
        member = abs(channel[:, None] - channel[None]) < reach
        member[channel > reach - 1, 0] = True
        squares: Any = (input * input).permute(0, 2, 3, 1)
        total = (squares @ from_array(member.T.astype(input._dtype.np))).permute(0, 3, 1, 2)
        return input * (total * (self.alpha / self.size) + self.k) ** -self.beta  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


__all__ = ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "CrossMapLRN2d", "GroupNorm", "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d", "LayerNorm",
           "RMSNorm", "SyncBatchNorm"]

"""Batch and instance normalization under PyTorch's path."""
from __future__ import annotations

from torsh.nn.modules.norm import BatchNorm1d as BatchNorm1d
from torsh.nn.modules.norm import BatchNorm2d as BatchNorm2d
from torsh.nn.modules.norm import BatchNorm3d as BatchNorm3d
from torsh.nn.modules.norm import SyncBatchNorm as SyncBatchNorm
from torsh.nn.modules.norm import _BatchNorm as _BatchNorm
from torsh.nn.modules.norm import _NormBase as _NormBase

__all__ = ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm"]

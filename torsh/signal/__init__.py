"""Signal processing with PyTorch's names: window functions."""
from __future__ import annotations

from torsh.signal import windows

__all__ = ["windows"]

"""Automatic mixed precision: `autocast` and `GradScaler`."""
from torsh.amp.autocast_mode import autocast, custom_bwd, custom_fwd, is_autocast_available
from torsh.amp.grad_scaler import GradScaler

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]

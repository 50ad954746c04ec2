"""`GradScaler`: losses scaled up before backward, so that small gradients of half types do not vanish (Micikevicius et al., 2018)."""
from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

from torsh.autograd.grad_mode import no_grad
from torsh.core.dtypes import float16
from torsh.ops.dispatch import cast_tensor
from torsh.tensor.creation import full
from torsh.tensor.tensor import Tensor

_READY, _UNSCALED, _STEPPED = "ready", "unscaled", "stepped"


class GradScaler:
    """Multiplies losses by a factor (`scale`), divides gradients by it (`unscale_`), steps only where all of them are finite (`step`), and
    lets the factor grow after `growth_interval` such steps or shrink after one that was not (`update`).

    `device` is "cpu", or another one, which is not there: then it warns and is disabled, and passes everything through. Raises AssertionError for
    factors on the wrong side of 1.

    >>> import torsh
    >>> scaler = GradScaler("cpu", init_scale=8.0)
    >>> scaler.scale(torsh.tensor(2.0)).item()
    16.0
    """

    def __init__(self, device: str = "cuda", init_scale: float = 2.0 ** 16, growth_factor: float = 2.0, backoff_factor: float = 0.5,
                 growth_interval: int = 2000, enabled: bool = True) -> None:
        self._device = device
        if enabled and device != "cpu":
            warnings.warn(f"torch.{device}.amp.GradScaler is enabled, but {device.upper()} is not available.  Disabling.", stacklevel=2)
            enabled = False
        self._enabled = enabled
        if not enabled:
            return
        if growth_factor <= 1.0:
            raise AssertionError("The growth factor must be > 1.0.")
        if backoff_factor >= 1.0:
            raise AssertionError("The backoff factor must be < 1.0.")
        self._init_scale = init_scale
        self._growth_factor, self._backoff_factor, self._growth_interval = growth_factor, backoff_factor, growth_interval
        self._init_growth_tracker = 0
        self._scale: Tensor | None = None
        self._growth_tracker = 0
        self._stages: dict[int, str] = {}
        self._found: dict[int, bool] = {}

    def _factor(self, what: str) -> Tensor:
        if self._scale is None:
            raise AssertionError(f"Attempted {what} but _scale is None.  This may indicate your script did not use scaler.scale(loss or outputs) earlier in "
                                 "the iteration.")
        return self._scale

    def scale(self, outputs: Any) -> Any:
        """A tensor, or each of a nested iterable of them, times the factor. Raises ValueError for anything else."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            if self._scale is None:
                self._scale, self._growth_tracker = full((), float(self._init_scale)), self._init_growth_tracker
            return outputs * self._scale
        if isinstance(outputs, Iterable):
            scaled = map(self.scale, outputs)
            return type(outputs)(scaled) if isinstance(outputs, (list, tuple)) else scaled  # type: ignore[call-arg]
        raise ValueError("outputs must be a Tensor or an iterable of Tensors")

    def unscale_(self, optimizer: Any) -> None:
        """Divide the gradients of an optimizer's parameters by the factor, before they are clipped for instance.

        Raises RuntimeError the second time in a step and after it, ValueError for gradients of float16.
        """
        if not self._enabled:
            return
        factor = self._factor("unscale_")
        stage = self._stages.get(id(optimizer), _READY)
        if stage == _UNSCALED:
            raise RuntimeError("unscale_() has already been called on this optimizer since the last update().")
        if stage == _STEPPED:
            raise RuntimeError("unscale_() is being called after step().")
        gradients = [p._grad for group in optimizer.param_groups for p in group["params"] if p._grad is not None]
        for g in gradients:
            if g._dtype is float16:
                raise ValueError("Attempting to unscale FP16 gradients.")
        inverse = 1.0 / factor.double()  # type: ignore[attr-defined]
        with no_grad():
            finite = [g.isfinite().all() for g in gradients]
            for g in gradients:
                g.mul_(cast_tensor(inverse.float(), g._dtype))
            together: Any = finite[0] if finite else None
            for f in finite[1:]:
                together = together.logical_and(f)
        if together is not None:
            self._found[id(optimizer)] = not bool(together)
        self._stages[id(optimizer)] = _UNSCALED

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """`optimizer.step(...)` with gradients divided by the factor, unless one is not finite.

        Raises RuntimeError for a closure and the second time before `update`, AssertionError where no parameter has a gradient.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        self._factor("step")
        stage = self._stages.get(id(optimizer), _READY)
        if stage == _STEPPED:
            raise RuntimeError("step() has already been called since the last update().")
        if stage == _READY:
            self.unscale_(optimizer)
        if id(optimizer) not in self._found:
            raise AssertionError("No inf checks were recorded for this optimizer.")
        result = None if self._found[id(optimizer)] else optimizer.step(*args, **kwargs)
        self._stages[id(optimizer)] = _STEPPED
        return result

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Let the factor grow or shrink, or become `new_scale`; the next step begins.

        Raises AssertionError where nothing was scaled or stepped, and for a new factor that is no number.
        """
        if not self._enabled:
            return
        factor = self._factor("update")
        if new_scale is not None:
            if isinstance(new_scale, Tensor) and (new_scale.numel() != 1 or new_scale._requires_grad):
                raise AssertionError("new_scale should be a float or a 1-element torsh.FloatTensor with requires_grad=False.")
            self._scale = full((), float(new_scale))
        elif not self._found:
            raise AssertionError("No inf checks were recorded prior to update.")
        elif any(self._found.values()):
            self._scale, self._growth_tracker = factor * self._backoff_factor, 0
        else:
            self._growth_tracker += 1
            if self._growth_tracker == self._growth_interval:
                grown = factor * self._growth_factor
                self._scale = grown if bool(grown.isfinite()) else factor
                self._growth_tracker = 0
        self._stages, self._found = {}, {}

    def get_scale(self) -> float:
        """The factor; 1 when disabled."""
        if not self._enabled:
            return 1.0
        return float(self._init_scale) if self._scale is None else float(self._scale)

    def get_growth_factor(self) -> float:
        """What the factor grows by."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Set what the factor grows by."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """What the factor shrinks by."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Set what the factor shrinks by."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """After how many finite steps in a row the factor grows."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Set after how many finite steps the factor grows."""
        self._growth_interval = new_interval

    def is_enabled(self) -> bool:
        """Whether it does anything."""
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on: empty when disabled."""
        if not self._enabled:
            return {}
        tracker = self._init_growth_tracker if self._scale is None else self._growth_tracker
        return {"scale": self.get_scale(), "growth_factor": self._growth_factor, "backoff_factor": self._backoff_factor,
                "growth_interval": self._growth_interval, "_growth_tracker": tracker}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a `state_dict`. Raises RuntimeError for an empty one."""
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError("The source state dict is empty, possibly because it was saved from a disabled instance of GradScaler.")
        self._init_scale, self._init_growth_tracker = state_dict["scale"], state_dict["_growth_tracker"]
        self._growth_factor, self._backoff_factor = state_dict["growth_factor"], state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        if self._scale is not None:
            self._scale, self._growth_tracker = full((), float(self._init_scale)), self._init_growth_tracker

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        if self._enabled:
            if self._stages:
                raise AssertionError("A GradScaler instance may only be pickled at the beginning of an iteration, or at the end after scaler.update().")
            own = self.state_dict()
            state.update(_init_scale=own["scale"], _init_growth_tracker=own["_growth_tracker"], _scale=None, _growth_tracker=0)
        return state


__all__ = ["GradScaler"]

"""Generator: a stream of random numbers."""
from __future__ import annotations

from typing import Any

import numpy as np

from torsh.core import devices
from torsh.ops.drawing import engine_of
from torsh.runtime.cpu.generator import default_generator as _default
from torsh.tensor.creation import from_array
from torsh.tensor.tensor import Tensor


class Generator:
    """A stream of random numbers of its own. It begins with PyTorch's default seed.

    Raises RuntimeError for a device other than the CPU.

    >>> import torsh
    >>> g = torsh.Generator().manual_seed(0)
    >>> torsh.rand(2, generator=g)
    tensor([0.4963, 0.7682])
    """
    __slots__ = ("engine",)

    def __init__(self, device: Any = "cpu") -> None:
        devices.require(device)
        from torsh.runtime.cpu.mt19937 import MT19937Generator
        self.engine: Any = MT19937Generator()

    @property
    def device(self) -> devices.device:
        return devices.CPU

    def manual_seed(self, seed: int) -> Generator:
        """Restart from a seed in [-2**63, 2**64) and return the generator. Raises RuntimeError or ValueError otherwise."""
        self.engine.manual_seed(seed)
        return self

    def seed(self) -> int:
        """Restart from a seed of the operating system, which is returned."""
        return self.engine.seed()  # type: ignore[no-any-return]

    def initial_seed(self) -> int:
        """The seed last set."""
        return self.engine.initial_seed()  # type: ignore[no-any-return]

    def get_state(self) -> Tensor:
        """The state as PyTorch saves it: uint8, [5056]."""
        return from_array(self.engine.get_state())

    def set_state(self, new_state: Tensor) -> None:
        """Continue from a state of `get_state`. Raises TypeError unless uint8, RuntimeError for an impossible state."""
        self.engine.set_state(np.array(new_state._window()))

    def clone_state(self) -> Generator:
        """A generator of its own in the same state."""
        made = Generator()
        made.engine.set_state(self.engine.get_state())
        return made

    def __getstate__(self) -> Any:
        return self.engine.get_state()

    def __setstate__(self, state: Any) -> None:
        Generator.__init__(self)
        self.engine.set_state(state)


def default_generator() -> Generator:
    """The generator that functions draw from unless given another."""
    made = Generator.__new__(Generator)
    made.engine = _default()
    return made


__all__ = ["Generator", "default_generator", "engine_of"]

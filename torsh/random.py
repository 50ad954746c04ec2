"""The process's default random generator: seeding it, saving and restoring its state."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torsh.ops.generators import Generator, default_generator
from torsh.tensor.tensor import Tensor


def manual_seed(seed: int) -> Generator:
    """Seed the default generator and return it. Raises RuntimeError unless an int, ValueError outside [-2**63, 2**64).

    >>> manual_seed(7).initial_seed()
    7
    """
    return default_generator().manual_seed(seed)


def seed() -> int:
    """Seed the default generator from the operating system; returns the seed."""
    return default_generator().seed()


def initial_seed() -> int:
    """The seed that the default generator last had."""
    return default_generator().initial_seed()


def get_rng_state() -> Tensor:
    """The default generator's state: uint8, [5056], PyTorch's layout."""
    return default_generator().get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Put the default generator into a state of `get_rng_state`. Raises TypeError or RuntimeError for an impossible one."""
    default_generator().set_state(new_state)


@contextmanager
def fork_rng(devices: Any = None, enabled: bool = True) -> Iterator[None]:
    """Restore the default generator's state when the block ends (unless not `enabled`)."""
    state = get_rng_state() if enabled else None
    try:
        yield
    finally:
        if state is not None:
            set_rng_state(state)

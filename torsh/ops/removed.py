"""Methods that PyTorch keeps by name to say what took their place."""
from __future__ import annotations

import warnings
from typing import Any, NoReturn

from torsh.tensor.tensor import Tensor, attribute

_INSTEAD = {"eig": "torch.linalg.eig", "lstsq": "torch.linalg.lstsq", "solve": "torch.linalg.solve", "symeig": "torch.linalg.eigh",
            "reinforce": "torch.distributions"}


def _removed(name: str, instead: str) -> None:
    def call(self: Tensor, *args: Any, **kwargs: Any) -> NoReturn:
        raise RuntimeError(f"{name}() was deprecated and is now removed. Use {instead} instead.")
    call.__name__ = name
    call.__doc__ = f"Raises RuntimeError: `{instead}` took its place."
    attribute(name, call)


for _name, _place in _INSTEAD.items():
    _removed(_name, _place)


def volatile(self: Tensor) -> bool:
    """False, with a warning: `no_grad` took its place."""
    warnings.warn("volatile was removed (Variable.volatile is always False)", UserWarning, stacklevel=2)
    return False


attribute("volatile", property(volatile))
__all__ = ["volatile"]

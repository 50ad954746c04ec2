"""Neural networks: modules, parameters, functionals and initial values."""
from typing import TYPE_CHECKING, Any

from torsh.nn import functional as functional
from torsh.nn import init as init
from torsh.nn import utils as utils
from torsh.nn.factory import factory_kwargs as factory_kwargs
from torsh.nn.module import Module as Module
from torsh.nn.modules import *  # noqa: F403
from torsh.nn.parallel import DataParallel as DataParallel
from torsh.nn.parameter import Buffer as Buffer
from torsh.nn.parameter import Parameter as Parameter
from torsh.nn.parameter import UninitializedBuffer as UninitializedBuffer
from torsh.nn.parameter import UninitializedParameter as UninitializedParameter


def factory_kwargs(kwargs: dict[str, Any] | None) -> dict[str, Any]:
    """The keyword arguments of a module that say how its parameters are made: `device`, `dtype`, `memory_format`, given so or in a dict under
    `factory_kwargs`. Raises TypeError for others, and for one given twice.

    >>> factory_kwargs({"factory_kwargs": {"dtype": 1}, "device": "cpu"})
    {'dtype': 1, 'device': 'cpu'}
    """
    given = dict(kwargs or {})
    found = dict(given.pop("factory_kwargs", {}))
    unknown = given.keys() - {"device", "dtype", "memory_format"}
    if unknown:
        raise TypeError(f"unexpected kwargs {unknown}")
    for name, value in given.items():
        if name in found:
            raise TypeError(f"{name} specified twice, in **kwargs and in factory_kwargs")
        found[name] = value
    return found


if TYPE_CHECKING:
    def __getattr__(name: str) -> Any:
        """The layers, which `torsh.nn.modules` names in tables."""

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

if TYPE_CHECKING:
    def __getattr__(name: str) -> Any:
        """The layers, which `torsh.nn.modules` names in tables."""

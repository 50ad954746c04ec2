"""Optimizers: PyTorch's, each step one fused update of all parameters; schedules of their rates; averaged models."""
from importlib import import_module as _import_module
from typing import TYPE_CHECKING

from torsh.optim.adagrad import Adadelta as Adadelta
from torsh.optim.adagrad import Adagrad as Adagrad
from torsh.optim.adagrad import RMSprop as RMSprop
from torsh.optim.adam import Adam as Adam
from torsh.optim.adam import AdamW as AdamW
from torsh.optim.adam_family import Adamax as Adamax
from torsh.optim.adam_family import NAdam as NAdam
from torsh.optim.adam_family import RAdam as RAdam
from torsh.optim.asgd import ASGD as ASGD
from torsh.optim.asgd import Rprop as Rprop
from torsh.optim.lbfgs import LBFGS as LBFGS
from torsh.optim.matrix import Adafactor as Adafactor
from torsh.optim.matrix import Muon as Muon
from torsh.optim.optimizer import Optimizer as Optimizer
from torsh.optim.sgd import SGD as SGD
from torsh.optim.sparse_adam import SparseAdam as SparseAdam
from torsh.optim.swap import swap_in_optimizer_params_and_state as swap_in_optimizer_params_and_state

if TYPE_CHECKING:
    from torsh.optim import lr_scheduler as lr_scheduler
    from torsh.optim import swa_utils as swa_utils

_LAZY = ("lr_scheduler", "swa_utils")  # loaded when first asked for


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return _import_module("torsh.optim." + name)
    raise AttributeError(f"module 'torsh.optim' has no attribute '{name}'")


__all__ = ["ASGD", "LBFGS", "SGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Muon", "NAdam", "Optimizer", "RAdam", "RMSprop",
           "Rprop", "SparseAdam", "swap_in_optimizer_params_and_state"]

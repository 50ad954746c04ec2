"""Optimizers: PyTorch's, each step one fused update of all parameters."""
from torsh.optim.adam import Adam as Adam
from torsh.optim.adam import AdamW as AdamW
from torsh.optim.optimizer import Optimizer as Optimizer
from torsh.optim.sgd import SGD as SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer"]

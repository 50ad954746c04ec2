"""`torsh.data` under the name it has in PyTorch."""
from torsh.data import *  # noqa: F403

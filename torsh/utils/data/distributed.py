"""`DistributedSampler` under the path it has in PyTorch."""
from torsh.data.sampler import DistributedSampler

__all__ = ["DistributedSampler"]

"""Data sets, samplers and the loader; public as `torsh.utils.data`."""
from torsh.data.dataset import ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset, random_split
from torsh.data.loader import DataLoader, default_collate
from torsh.data.sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler, SubsetRandomSampler, WeightedRandomSampler

__all__ = ["BatchSampler", "ConcatDataset", "DataLoader", "Dataset", "IterableDataset", "RandomSampler", "Sampler", "SequentialSampler", "Subset",
           "SubsetRandomSampler", "TensorDataset", "WeightedRandomSampler", "default_collate", "random_split"]

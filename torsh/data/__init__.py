"""Data sets, samplers and the loader; public as `torsh.utils.data`."""
from torsh.data.collate import default_collate, default_convert
from torsh.data.datapipe import DataChunk, DFIterDataPipe, IterDataPipe, MapDataPipe
from torsh.data.datapipe_decorators import (
                                            argument_validation,
                                            functional_datapipe,
                                            guaranteed_datapipes_determinism,
                                            non_deterministic,
                                            runtime_validation,
                                            runtime_validation_disabled,
)
from torsh.data.dataset import ChainDataset, ConcatDataset, Dataset, IterableDataset, StackDataset, Subset, TensorDataset, random_split
from torsh.data.loader import DataLoader
from torsh.data.sampler import BatchSampler, DistributedSampler, RandomSampler, Sampler, SequentialSampler, SubsetRandomSampler, WeightedRandomSampler
from torsh.data.worker_info import get_worker_info

__all__ = ["BatchSampler", "ChainDataset", "ConcatDataset", "DFIterDataPipe", "DataChunk", "DataLoader", "Dataset", "DistributedSampler", "IterDataPipe",
           "IterableDataset", "MapDataPipe", "RandomSampler", "Sampler", "SequentialSampler", "StackDataset", "Subset", "SubsetRandomSampler",
           "TensorDataset", "WeightedRandomSampler", "argument_validation", "default_collate", "default_convert", "functional_datapipe",
           "get_worker_info", "guaranteed_datapipes_determinism", "non_deterministic", "random_split", "runtime_validation",
           "runtime_validation_disabled"]

"""From samples to a batch: stacking, and converting what is no tensor yet."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from torsh.core.dtypes import float64
from torsh.ops.dispatch import FUNCTIONS
from torsh.tensor.creation import from_array, tensor
from torsh.tensor.interop import as_tensor
from torsh.tensor.tensor import Tensor


def default_collate(batch: Sequence[Any]) -> Any:
    """Samples as one batch: tensors, arrays and numbers stacked along a new first dimension; mappings, named tuples and sequences
    element by element; strings as they are. Raises RuntimeError for sequences of different lengths, TypeError for other samples.

    >>> default_collate([(1, 2.0), (3, 4.0)])
    [tensor([1, 3]), tensor([2., 4.], dtype=torsh.float64)]
    """
    first = batch[0]
    kind: Any = type(first)
    if isinstance(first, Tensor):
        return _stack(batch)
    if isinstance(first, (np.ndarray, np.generic)):
        if first.dtype.kind in "SUO":
            raise TypeError(f"default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {first.dtype}")
        return as_tensor(np.stack([np.asarray(x) for x in batch]))
    if isinstance(first, float):
        return tensor(batch, dtype=float64)
    if isinstance(first, int):
        return tensor(batch)
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        return _as_kind(kind, {k: default_collate([sample[k] for sample in batch]) for k in first})
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return kind(*(default_collate(part) for part in zip(*batch, strict=True)))
    if isinstance(first, Sequence):
        if any(len(sample) != len(first) for sample in batch):
            raise RuntimeError("each element in list of batch should be of equal size")
        return [default_collate(part) for part in zip(*batch, strict=True)]
    raise TypeError(f"default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {kind}")


def _stack(batch: Sequence[Tensor]) -> Tensor:
    """One new tensor. Samples that need no gradient are copied at once, so that batches do not differ as graphs."""
    shape = batch[0]._shape
    for t in batch:
        if t._shape != shape:
            raise RuntimeError(f"stack expects each tensor to be equal size, but got {list(shape)} at entry 0 and {list(t._shape)} at entry "
                               f"{next(i for i, u in enumerate(batch) if u is t)}")
        if t._requires_grad or t._dtype is not batch[0]._dtype:
            return FUNCTIONS["stack"](list(batch))  # type: ignore[no-any-return]
    return from_array(np.stack([t._window() for t in batch]))


def default_convert(data: Any) -> Any:
    """Arrays as tensors, inside mappings and sequences too (tuples become lists); the rest, strings and numbers, as it is.

    >>> default_convert({"a": np.float32([1, 2]), "b": "text"})
    {'a': tensor([1., 2.]), 'b': 'text'}
    """
    kind: Any = type(data)
    if isinstance(data, (np.ndarray, np.generic)):
        return data if data.dtype.kind in "SUO" else as_tensor(np.asarray(data))
    if isinstance(data, Mapping):
        return _as_kind(kind, {k: default_convert(v) for k, v in data.items()})
    if isinstance(data, tuple):
        made = [default_convert(d) for d in data]
        return kind(*made) if hasattr(data, "_fields") else made
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _as_kind(kind, [default_convert(d) for d in data])
    return data


def _as_kind(kind: Callable[[Any], Any], made: Any) -> Any:
    """`made` as a `kind` of its own, where that can be made of one."""
    try:
        return kind(made)
    except TypeError:
        return made


__all__ = ["default_collate", "default_convert"]

"""From what a sampler gives to a batch: used by the loader itself and by its worker processes."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torsh.data.collate import default_collate
from torsh.data.dataset import IterableDataset, TensorDataset
from torsh.tensor.creation import from_array

Fetch = Callable[[Any], Any]


def fetcher(dataset: Any, batched: bool, collate: Callable[[Any], Any], drop_last: bool) -> Fetch:
    """A function from an index, or a list of them where `batched`, to what the loader gives. For an iterable data set only the length of the
    list counts, and the function raises StopIteration at the end."""
    if isinstance(dataset, IterableDataset):
        return _streamed(iter(dataset), batched, collate, drop_last)
    if not batched:
        return lambda index: collate(dataset[index])
    if type(dataset) is TensorDataset and collate is default_collate and not any(t._requires_grad for t in dataset.tensors):
        return lambda indices: [from_array(t._window()[indices]) for t in dataset.tensors]  # the same as collating row by row
    together = getattr(dataset, "__getitems__", None)
    if callable(together):
        return lambda indices: collate(together(indices))
    return lambda indices: collate([dataset[i] for i in indices])


def _streamed(samples: Any, batched: bool, collate: Callable[[Any], Any], drop_last: bool) -> Fetch:
    def one(index: Any) -> Any:
        return collate(next(samples))

    def several(indices: list[Any]) -> Any:
        batch = []
        for _ in indices:
            try:
                batch.append(next(samples))
            except StopIteration:
                break
        if not batch or (drop_last and len(batch) < len(indices)):
            raise StopIteration
        return collate(batch)
    return several if batched else one


__all__ = ["Fetch", "fetcher"]

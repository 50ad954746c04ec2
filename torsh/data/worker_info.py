"""What a worker process of a DataLoader knows of itself."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class WorkerInfo:
    """A worker's number, how many there are, its seed and its copy of the data set."""
    id: int
    num_workers: int
    seed: int
    dataset: Any


class Own:
    """The process's own; set where a worker begins."""
    info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """In a worker process of a DataLoader its `WorkerInfo` (`id`, `num_workers`, `seed`, `dataset`), elsewhere None."""
    return Own.info


__all__ = ["Own", "WorkerInfo", "get_worker_info"]

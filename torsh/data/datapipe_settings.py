"""What a DataLoader sets in a pipeline: shuffling, seeds, shares of workers."""
from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

from torsh.core.dtypes import int64
from torsh.data.datapipe import IterDataPipe, MapDataPipe
from torsh.ops.generators import Generator, engine_of


def sources(pipe: Any) -> list[Any]:
    """The pipes that a pipe holds as attributes, inside of lists, tuples and dictionaries too."""
    def inside(value: Any) -> Iterator[Any]:
        if isinstance(value, (IterDataPipe, MapDataPipe)):
            yield value
        elif isinstance(value, (list, tuple, set)):
            for v in value:
                yield from inside(v)
        elif isinstance(value, dict):
            yield from inside(list(value.values()))
    return list(inside(vars(pipe)))


def every(pipe: Any) -> list[Any]:
    """A pipe and all before it, each once, from the last stage on."""
    found: dict[int, Any] = {}

    def visit(p: Any) -> None:
        if id(p) not in found:
            found[id(p)] = p
            for s in sources(p):
                visit(s)
    visit(pipe)
    return list(found.values())


def set_shuffle(pipe: Any, shuffle: bool | None) -> Any:
    """Turn all shuffling stages on or off (None: leave them). If there are none, one is added to shuffle, with a warning."""
    if shuffle is None:
        return pipe
    shufflers = [p for p in every(pipe) if callable(getattr(p, "set_shuffle", None))]
    if not shufflers and shuffle:
        warnings.warn("`shuffle=True` was set, but the datapipe does not contain a `Shuffler`. Adding one at the end. Be aware that the default buffer "
                      "size might not be sufficient for your task.", stacklevel=4)
        pipe = pipe.shuffle()
        shufflers = [pipe]
    for p in shufflers:
        p.set_shuffle(shuffle)
    return pipe


def set_seeds(pipe: Any, seed: int) -> None:
    """Give every stage that takes one a seed of its own, which `seed` determines."""
    engine = engine_of(Generator().manual_seed(seed))
    for p in every(pipe):
        if callable(getattr(p, "set_seed", None)):
            p.set_seed(int(engine.random((), int64.np)))


def set_share(pipe: Any, count: int, number: int) -> None:
    """Every stage that divides samples among `count` processes takes the share of one. Raises RuntimeError for two of them in one branch."""
    def visit(p: Any, before: Any) -> None:
        divide = getattr(p, "apply_sharding", None)
        if callable(divide):
            if before is not None:
                raise RuntimeError("Sharding twice on a single pipeline is likely unintended and will cause data loss. "
                                   f"Sharding already applied to {before} while trying to apply to {p}")
            divide(count, number)
            before = p
        for s in sources(p):
            visit(s, before)
    visit(pipe, None)


__all__ = ["every", "set_seeds", "set_share", "set_shuffle", "sources"]

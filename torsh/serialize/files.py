"""Files that are written whole or not at all."""
from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO


@contextmanager
def replacing(filename: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file to write to that takes the name when the block ends, on the disk; after an error there is what was there before."""
    path = os.fspath(filename)
    temporary = f"{path}.{os.getpid()}.part"
    try:
        with open(temporary, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


def is_path(f: Any) -> bool:
    """Whether something names a file."""
    return isinstance(f, (str, os.PathLike))


__all__ = ["is_path", "replacing"]

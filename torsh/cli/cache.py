"""`torsh cache`: the compiled kernels on disk."""
from __future__ import annotations

from typing import Any


def show() -> None:
    """Print where the cache is and how much is in it."""
    from rich.console import Console
    from rich.table import Table

    from torsh.codegen.cache import disk
    cache = disk()
    found: dict[str, Any] = cache.info()
    table = Table(show_header=False)
    for title, value in (("Folder", found["path"]), ("Kernels", str(found["files"])), ("Size", f"{found['bytes'] / 1e6:.1f} MB"),
                         ("Limit", f"{cache.limit / 1e6:.0f} MB")):
        table.add_row(title, value)
    Console().print(table)


def clear() -> None:
    """Remove every compiled kernel; they are compiled again when they are needed."""
    from torsh.codegen.cache import disk
    before: dict[str, Any] = disk().info()
    disk().clear()
    print(f"removed {before['files']} kernels ({before['bytes'] / 1e6:.1f} MB) from {before['path']}")

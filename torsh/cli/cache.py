"""`torsh cache`: the compiled kernels on disk, and which way of computing a contraction was measured to be quickest."""
from __future__ import annotations

from typing import Any


def show() -> None:
    """Print where the cache is, how much is in it, and the choices that were measured."""
    from rich.console import Console
    from rich.table import Table

    from torsh.codegen.cache import disk
    cache = disk()
    found: dict[str, Any] = cache.info()
    table = Table(show_header=False)
    for title, value in (("Folder", found["path"]), ("Kernels", str(found["files"])), ("Size", f"{found['bytes'] / 1e6:.1f} MB"),
                         ("Limit", f"{cache.limit / 1e6:.0f} MB")):
        table.add_row(title, value)
    from torsh.compiler.choice import remembered
    choices = remembered()
    table.add_row("Measured choices", str(len(choices)))
    Console().print(table)
    if choices:
        listed = Table("Contraction", "Threads", "Way", "Microseconds predicted (measured)", title="Choices measured with TORSH_TUNE=1")
        for c in choices:
            ordered = sorted(c["measured"].items(), key=lambda way: way[1])
            times = ", ".join(f"{name} {c['predicted'].get(name, 0):.0f} ({measured:.0f})" for name, measured in ordered)
            listed.add_row(f"{c['kind']} {c['signature']}", str(c["threads"]), c["way"], times)
        Console().print(listed)


def clear() -> None:
    """Remove every compiled kernel and measured choice; kernels are compiled again when they are needed."""
    from torsh.codegen.cache import disk
    before: dict[str, Any] = disk().info()
    disk().clear()
    from torsh.compiler.choice import tuned
    choices: dict[str, Any] = tuned().info()
    tuned().clear()
    print(f"removed {before['files']} kernels ({before['bytes'] / 1e6:.1f} MB) and {choices['files']} measured choices from {before['path']}")

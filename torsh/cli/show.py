"""`torsh show`: what this installation is and uses."""
from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any


def facts() -> dict[str, str]:
    """What is shown, by title."""
    import torsh
    from torsh.codegen.cache import disk
    from torsh.core import config
    from torsh.graph import node
    cache: dict[str, Any] = disk().info()
    found = {"ToRSh": torsh.__version__, "Python": f"{platform.python_version()} on {platform.system()} {platform.machine()}"}
    for package in ("numpy", "scipy", "llvmlite", "ml_dtypes", "safetensors"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    found["Devices"] = "cpu"
    found["Runtime"] = config.RUNTIME
    found["Cores"] = str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    found["Core"] = "interpreted" if str(node.__file__).endswith(".py") else "compiled"
    found["Kernel cache"] = f"{cache['path']} ({cache['files']} kernels, {cache['bytes'] / 1e6:.1f} MB)"
    return found


def show() -> None:
    """Print a table of `facts`."""
    from rich.console import Console
    from rich.table import Table
    table = Table(show_header=False)
    for title, value in facts().items():
        table.add_row(title, value)
    Console(file=sys.stdout).print(table)

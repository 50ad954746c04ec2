"""Importing this makes every module of the package that is imported later the interpreted one, also where a compiled one lies beside it.

`torsh/__init__.py` does so when TORSH_INTERPRETED is set: to debug, to profile line by line, and to test both.
"""
from __future__ import annotations

import importlib.machinery
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType


class _SourceOnly:
    """A finder that knows the package's source files alone."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if not name.startswith("torsh.") or path is None:
            return None
        for folder in path:
            loader = (importlib.machinery.SourceFileLoader, importlib.machinery.SOURCE_SUFFIXES)
            found = importlib.machinery.FileFinder(folder, loader).find_spec(name)
            if found is not None:
                return found
        return None


sys.meta_path.insert(0, _SourceOnly)

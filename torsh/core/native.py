"""What the compiled modules say to mypyc, with stand-ins that mean the same when they run interpreted.

`mypy_extensions` is needed where the package is built, not where it runs.
"""
from __future__ import annotations

import ctypes
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_extensions import i64 as i64
    from mypy_extensions import mypyc_attr as mypyc_attr
else:
    i64 = int

    def mypyc_attr(**options):
        return lambda cls: cls


def bindable(function: Any) -> Any:
    """`function` so that it becomes a method when it is set as a class attribute. Compiled functions alone are builtins, which do not bind."""
    if isinstance(function, types.FunctionType) or hasattr(function, "__get__"):
        return function
    return _instance_method(function)


_instance_method = ctypes.pythonapi.PyInstanceMethod_New
_instance_method.restype = ctypes.py_object
_instance_method.argtypes = (ctypes.py_object,)

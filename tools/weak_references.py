"""A correction of the C that mypyc generates for `Tensor`, applied by setup.py.

mypyc 2.4 gives a class with an interpreted base a place for its list of weak references, but treats it as an object that the instance
owns, and does not tell the references when an instance dies: they would dangle. On Python 3.12 and later it gives no place at all.
"""
from __future__ import annotations

import re


def corrected(source: str, class_name: str) -> str:
    """The C source with weak references to instances of `class_name` (as in `tensor___Tensor`) as CPython has them.

    Raises ValueError where the source is not what mypyc is known to generate.
    """
    lines = source.split("\n")
    place = r"\(\*\(\(PyObject \*\*\)\(\(char \*\)self \+ sizeof\(PyObject \*\) \+ sizeof\(\w*" + class_name + r"Object\)\)\)\);$"
    owned = re.compile(r"^\s*Py_(VISIT|CLEAR)" + place)
    lines = [line for line in lines if not owned.match(line)]
    begin = next((i for i, line in enumerate(lines) if re.match(rf"^\s*{class_name}_dealloc\(\w+ \*self\)$", line)), -1)
    at = next((i for i in range(begin, begin + 6) if lines[i].strip() == "PyObject_GC_UnTrack(self);"), -1) if begin >= 0 else -1
    if at < 0:
        raise ValueError(f"weak_references: no deallocator of {class_name} as mypyc 2.4 generates it; this version needs another correction")
    lines.insert(at + 1, "    if (Py_TYPE(self)->tp_weaklistoffset) PyObject_ClearWeakRefs((PyObject *)self);")
    text = "\n".join(lines)
    flags = re.compile(rf"(CPyType_{class_name}_template_ = \{{(?:(?!\}};).)*?\.tp_flags = [^,]*?Py_TPFLAGS_MANAGED_DICT)", re.DOTALL)
    return flags.sub(r"\1 | Py_TPFLAGS_MANAGED_WEAKREF", text)

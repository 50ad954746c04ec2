"""Builds the hot modules natively with mypyc where there is a C compiler; without one they run interpreted, and everything works.

TORSH_BUILD=interpreted leaves the native build out; TORSH_BUILD=native makes its failure an error.
"""
from __future__ import annotations

import os
import shlex
import shutil
import sys
import sysconfig

from setuptools import setup

WANTED = os.environ.get("TORSH_BUILD", "")
if WANTED not in ("", "native", "interpreted"):
    sys.exit(f"TORSH_BUILD is 'native' or 'interpreted', not {WANTED!r}")

#: What a traced call, a backward pass and a look-up run through.
HOT = """
core/dtypes core/shapes
graph/node graph/primitives
runtime/buffer runtime/cpu/memory runtime/cpu/generator runtime/cpu/draws runtime/cpu/mt19937 runtime/cpu/mt19937_engine
compiler/trace compiler/record compiler/realize compiler/execute compiler/layout compiler/schedule compiler/canonical compiler/epilogue compiler/alike
codegen/walk codegen/text
tensor/outside tensor/storage tensor/tensor tensor/interop
autograd/entered autograd/grad_mode autograd/graph autograd/engine
ops/dispatch ops/declare ops/comparison ops/elementary ops/arithmetic ops/pointwise ops/regions ops/writes ops/parts ops/views
ops/composite ops/choice ops/gather ops/join ops/drawing ops/random ops/dropout ops/samplers ops/matmul ops/reduce ops/activation ops/softmax ops/cross_entropy
nn/changes nn/chain capture/guards capture/graph capture/variant optim/update
""".split()


def compiler_found() -> bool:
    if sys.platform == "win32":
        return True  # setuptools finds the Microsoft compiler by itself, or says that there is none
    command = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    return shutil.which(shlex.split(command)[0]) is not None


def extensions() -> list[object]:
    if WANTED == "interpreted":
        return []
    if WANTED != "native" and not compiler_found():
        print("torsh: no C compiler, so its hot modules will run interpreted (slower to trace, nothing else changes)", file=sys.stderr)
        return []
    from mypyc.build import mypycify
    found = mypycify([f"torsh/{module}.py" for module in HOT], opt_level="3", debug_level="0")
    for extension in found:
        extension.optional = WANTED != "native"
        for source in extension.sources:
            if os.path.basename(source).startswith("__native"):
                _correct(source)
    return found


def _correct(path: str) -> None:
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "tools"))
    from weak_references import corrected
    with open(path, encoding="utf-8") as file:
        source = file.read()
    if "PyObject_ClearWeakRefs" not in source:
        with open(path, "w", encoding="utf-8") as file:
            for name in ("tensor___Tensor", "storage___Storage"):
                source = corrected(source, name)
            file.write(source)


setup(ext_modules=extensions())

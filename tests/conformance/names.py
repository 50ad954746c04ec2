"""`python -m tests.conformance.names`: which of PyTorch's public names ToRSh has, and whether their signatures agree; writes docs/names.md."""
from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributions
import torch.func
import torch.optim.lr_scheduler
import torch.utils.data

import torsh
from tests.conformance.resolve import walk

PAGE = Path(__file__).parents[2] / "docs" / "names.md"
NAMESPACES = ("torch", "torch.Tensor", "torch.nn", "torch.nn.functional", "torch.nn.init", "torch.nn.utils", "torch.linalg", "torch.fft", "torch.special",
              "torch.autograd", "torch.func", "torch.optim", "torch.optim.lr_scheduler", "torch.utils.data", "torch.distributions")


def public_names(namespace: str) -> list[str]:
    """PyTorch's public names of a namespace: what it declares, else what is callable or a property and its own; no modules."""
    owner = walk(torch, namespace.removeprefix("torch").lstrip("."))
    if isinstance(owner, type):
        return [n for n in dir(owner) if not n.startswith("_") or (n.startswith("__") and n in _OPERATORS)]
    declared = getattr(owner, "__all__", None)
    names = declared if declared is not None else [n for n in dir(owner) if not n.startswith("_") and _own(getattr(owner, n))]
    return sorted(n for n in set(names) if not n.startswith("_") and not isinstance(getattr(owner, n, None), types.ModuleType))


_OPERATORS = frozenset((
    "__add__ __radd__ __sub__ __rsub__ __mul__ __rmul__ __truediv__ __rtruediv__ __floordiv__ __rfloordiv__ __mod__ __rmod__ __pow__ __rpow__ "
    "__matmul__ __rmatmul__ __and__ __rand__ __or__ __ror__ __xor__ __rxor__ __lshift__ __rlshift__ __rshift__ __rrshift__ __neg__ __pos__ "
    "__abs__ __invert__ __eq__ __ne__ __lt__ __le__ __gt__ __ge__ __iadd__ __isub__ __imul__ __itruediv__ __ifloordiv__ __imod__ __ipow__ "
    "__iand__ __ior__ __ixor__ __ilshift__ __irshift__ __getitem__ __setitem__ __len__ __iter__ __contains__ __bool__ __int__ __float__ "
    "__complex__ __index__ __array__ __dlpack__ __dlpack_device__ __deepcopy__ __reduce_ex__ __format__ __hash__ __dir__ "
).split())


def _own(value: Any) -> bool:
    return callable(value) and (getattr(value, "__module__", None) or "torch").startswith("torch")


def signature(value: Any) -> list[tuple[str, str, str]] | None:
    """(name, kind, default) of each parameter; None where there is nothing to inspect (PyTorch's built-in functions)."""
    if isinstance(value, (types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType, property, types.GetSetDescriptorType)):
        return None
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):
        return None
    rows = [(p.name, p.kind.name, _default(p.default)) for p in found.parameters.values()]
    return None if {kind for _, kind, _ in rows} <= {"VAR_POSITIONAL", "VAR_KEYWORD"} else rows


def _default(value: Any) -> str:
    if value is inspect.Parameter.empty:
        return "(none)"
    return repr(value).replace("torsh.", "torch.") if isinstance(value, (bool, int, float, str, tuple, type(None))) else type(value).__name__


def disagreement(ours: Any, theirs: Any, bound: bool = False) -> str | None:
    """How a call that PyTorch accepts could fail here: a parameter that is missing, elsewhere, or has another default.

    `bound`: both are methods, whose first parameter is not given by name.
    """
    wanted, found = signature(theirs), signature(ours)
    if wanted is None or found is None:
        return None
    if bound:
        wanted, found = wanted[1:], found if found[:1] and found[0][1].startswith("VAR") else found[1:]
    have = {name: (i, kind, default) for i, (name, kind, default) in enumerate(found)}
    takes_any = any(kind == "VAR_KEYWORD" for _, kind, _ in found)
    position = 0
    for name, kind, default in wanted:
        if kind.startswith("VAR"):
            continue
        if name not in have:
            if not takes_any:
                return f"no parameter `{name}`"
            continue
        at, own_kind, own_default = have[name]
        if kind == "POSITIONAL_OR_KEYWORD":
            if own_kind == "KEYWORD_ONLY" or at != position:
                return f"`{name}` is at another position"
            position += 1
        if default != own_default and default != "object":
            return f"`{name}` has default {own_default}, PyTorch's {default}"
    return None


def survey(namespace: str) -> tuple[list[str], list[str], dict[str, str]]:
    """(names that exist, names that do not, disagreeing signatures)."""
    path = namespace.removeprefix("torch").lstrip(".")
    there, missing, other = [], [], {}
    for name in public_names(namespace):
        try:
            ours = getattr(walk(torsh, path), name)
        except AttributeError:
            missing.append(name)
            continue
        there.append(name)
        theirs = getattr(walk(torch, path), name, None)
        if callable(theirs) and callable(ours):
            why = disagreement(ours, theirs, namespace == "torch.Tensor")
            if why is not None:
                other[name] = why
    return there, missing, other


def page() -> str:
    """docs/names.md."""
    found = {namespace: survey(namespace) for namespace in NAMESPACES}
    lines = ["# Names", "", "PyTorch 2.13's public names, and which of them ToRSh has under the same path. Signatures are compared where Python can",
             "inspect both. Written by `python -m tests.conformance.names`.", "", "| namespace | there | of | other signature |", "|---|---|---|---|"]
    for namespace, (there, missing, other) in found.items():
        lines.append(f"| `{namespace}` | {len(there)} | {len(there) + len(missing)} | {len(other)} |")
    for namespace, (_, missing, other) in found.items():
        lines += ["", f"## {namespace}", ""]
        lines += _paragraph("Not there", missing, lambda n: f"`{n}`")
        lines += _paragraph("Another signature", sorted(other), lambda n, other=other: f"`{n}` ({other[n]})")
        if not missing and not other:
            lines.append("Complete.")
    return "\n".join(lines).rstrip() + "\n"


def _paragraph(title: str, names: list[str], show: Callable[[str], str]) -> list[str]:
    return [f"{title} ({len(names)}): " + ", ".join(map(show, names)) + ".", ""] if names else []


def main() -> None:
    text = page()
    PAGE.write_text(text)
    print("\n".join(line for line in text.splitlines() if line.startswith("| `")))


if __name__ == "__main__":
    main()

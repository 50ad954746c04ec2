"""Expressions of the kernel IR as instructions in a hand-written text."""
from __future__ import annotations

from collections.abc import Sequence

from torsh.codegen.kernel_ir import Cast, Const, Expr, Op
from torsh.codegen.llvm_ops import Code, constant, convert, operation
from torsh.codegen.walk import postorder


def inlined(code: Code, results: Sequence[Expr], known: dict[int, str], lanes: int) -> list[str]:
    """The values of expressions of basic operations, on vectors of `lanes`. `known` gives those of their leaves, by `id`; it takes the others."""
    for e in postorder(results):
        if id(e) in known:
            continue
        if isinstance(e, Const):
            known[id(e)] = constant(e.value, e.dtype, lanes)
        elif isinstance(e, Cast):
            known[id(e)] = convert(code, e.src.dtype, e.to, lanes, known[id(e.src)])
        else:
            assert isinstance(e, Op), e
            second = e.srcs[1] if len(e.srcs) == 2 else None
            known[id(e)] = operation(code, e.name, e.dtype, e.srcs[-1].dtype, lanes, [known[id(x)] for x in e.srcs],
                                     second.value if isinstance(second, Const) else None)
    return [known[id(e)] for e in results]

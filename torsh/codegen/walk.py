"""Walking over kernels: operands of expressions, expressions of statements, orders. Nothing here recurses on depth."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from torsh.codegen.kernel_ir import Cast, Check, Expr, Load, Loop, Op, Stmt, Store, Update


def operands(e: Expr) -> tuple[Expr, ...]:
    """The expressions whose values `e` needs."""
    if isinstance(e, Op):
        return e.srcs
    if isinstance(e, Cast):
        return (e.src,)
    if isinstance(e, Load):
        found = tuple([index for index, _ in e.address.gathers])
        return found if e.mask is None else found + (e.mask,)
    return ()


def roots(s: Stmt) -> tuple[Expr, ...]:
    """The expressions a statement uses itself (not those of a loop's body), in the order they are evaluated."""
    if isinstance(s, Store):
        found = tuple([index for index, _ in s.address.gathers]) + (s.value,)
        return found if s.mask is None else found + (s.mask,)
    if isinstance(s, Update):
        return tuple([e for e in (s.value, s.index, s.times) if e is not None])
    if isinstance(s, Check):
        return (s.ok,)
    return ()


def statements(body: Iterable[Stmt]) -> Iterator[Stmt]:
    """All statements of a body, loops before what they contain."""
    waiting = list(body)[::-1]
    while waiting:
        s = waiting.pop()
        yield s
        if isinstance(s, Loop):
            waiting.extend(reversed(s.body))


def postorder(start: Iterable[Expr], operands_of: Callable[[Expr], tuple[Expr, ...]] = operands) -> list[Expr]:
    """Every expression reachable from `start` once, operands before what uses them, in order of first use."""
    done: set[int] = set()
    order: list[Expr] = []
    waiting = list(start)[::-1]
    while waiting:
        e = waiting[-1]
        if id(e) in done:
            waiting.pop()
            continue
        missing = [x for x in operands_of(e) if id(x) not in done]
        if missing:
            waiting.extend(reversed(missing))
            continue
        waiting.pop()
        done.add(id(e))
        order.append(e)
    return order

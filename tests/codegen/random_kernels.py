"""Kernels with loops, accumulators and stores nested at random, for property tests.

Everything is integer, so that results do not depend on the order of sums. Addresses keep to what the kernel IR allows:
work items and the lanes of a vector loop own the elements of a written buffer that they touch.
"""
from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from tests.codegen.kernel_samples import Case, compare, kernel, load, number, op, store
from torsh.codegen.kernel_ir import Acc, Declare, Expr, Index, Int, Load, Loop, Phase, Read, Slot, Stmt, Update
from torsh.codegen.walk import postorder

_EXTENTS = (0, 1, 3, 8, 13, 17, 33)
_LANES = 64  # more than any extent
_ROWS = 40
_ITEM = _LANES * _ROWS * 4
# Buffers 0, 1: read. Buffers 2, 3: written (and read) by lane. Buffer 4: written (and read) by uniform statements.
_BUFFERS = [("int32", False), ("int64", False), ("int32", True), ("int64", True), ("int64", True)]
_FIRST_SLOT = len(_BUFFERS)


class _Builder:
    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.slots: dict[int, int] = {}
        self.axes = 0
        self.pool: list[Expr] = []

    def pick(self, *choices):
        return self.draw(st.sampled_from(choices))

    def integer(self, value: int) -> Int:
        """The value as a literal or in a slot."""
        if self.pick(True, False):
            return value
        slot = next((s for s, v in self.slots.items() if v == value), _FIRST_SLOT + len(self.slots))
        self.slots[slot] = value
        return Slot(slot)

    def axis(self) -> int:
        self.axes += 1
        return self.axes - 1

    def expression(self, env: _Scope) -> Expr:
        kind = self.pick("again", "load", "load", "index", "read", "op", "op", "const", "written")
        wanted = "int64"
        if kind == "again":
            usable = [e for e in self.pool if env.allows(e)]
            if usable:
                return self.draw(st.sampled_from(usable))
        if kind == "index" and env.axes:
            return self.keep(Index(self.draw(st.sampled_from(env.axes))))
        readable = [a for a in env.accs if a not in env.hidden]
        if kind == "read" and readable:
            return self.keep(Read(self.draw(st.sampled_from(readable)), wanted))
        if kind == "written":
            return self.keep(self.written_load(env))
        if kind == "const":
            return number(self.draw(st.integers(-3, 50)), wanted)
        if kind == "op" and env.size < 4:
            env.size += 1
            a, b = self.expression(env), self.expression(env)
            env.size -= 1
            if self.pick(True, True, False):
                return self.keep(op(self.pick("add", "sub", "mul", "max", "min", "xor"), a, b))
            return self.keep(op("where", compare("lt", a, b), b, number(5, wanted)))
        terms = tuple((a, self.integer(self.pick(0, 1, 1, 2, 70))) for a in env.axes if self.pick(True, False))
        mask = None
        if self.pick(True, False, False) and env.axes:
            mask = compare("ge", Index(self.draw(st.sampled_from(env.axes))), number(2, wanted))
        return self.keep(load(1, "int64", *terms, offset=self.integer(self.draw(st.integers(0, 5))), mask=mask))

    def keep(self, e: Expr) -> Expr:
        self.pool.append(e)
        return e

    def own_address(self, env: _Scope) -> tuple[tuple[int, Int], ...]:
        """Terms that only this work item, and this lane, has."""
        terms = [(axis, _ITEM * scale) for axis, scale in env.parallel]
        if env.vector is not None:
            terms.append((env.vector, 1))
        rows = [a for a in env.serial if self.pick(True, False)]
        if rows:
            terms.append((rows[-1], _LANES))
        return tuple(terms)

    def written_load(self, env: _Scope) -> Load:
        buffer = self.pick(3) if env.vector is not None else 4
        return load(buffer, "int64", *self.own_address(env))

    def body(self, env: _Scope, depth: int) -> tuple[Stmt, ...]:
        result: list[Stmt] = []
        env = env.inner()
        for _ in range(self.draw(st.integers(1, 4))):
            kind = self.pick("declare", "update", "update", "store", "store", "loop", "loop")
            if kind == "declare":
                acc = Acc(self.pick("sum", "max", "min"), "int64")
                env.accs = [*env.accs, acc]
                result.append(Declare(acc))
            elif kind == "update":
                allowed = [a for a in env.accs if a not in env.frozen]
                if allowed:
                    acc = self.draw(st.sampled_from(allowed))
                    result.append(Update(acc, self.expression(env)))
            elif kind == "store":
                value = self.expression(env)
                buffer = 3 if env.vector is not None else 4
                mask = compare("gt", self.expression(env), number(3, "int64")) if self.pick(True, False, False) else None
                mode = self.pick("set", "set", "add", "max")
                result.append(store(buffer, value, *self.own_address(env), mode=mode, mask=mask))
            elif depth:
                result.append(self.loop(env, depth))
        return tuple(result)

    def loop(self, env: _Scope, depth: int) -> Loop:
        axis = self.axis()
        kind = self.pick("serial", "vector") if env.vector is None else "serial"
        extent = self.pick(*_EXTENTS) if kind == "vector" else self.pick(0, 1, 3)
        inner = env.inner()
        inner.axes = [*env.axes, axis]
        if kind == "serial":
            inner.serial = [*env.serial, axis]
        else:
            # What is updated inside may not be read inside, so some are for updating and the others for reading.
            inner.vector = axis
            updated = [a for a in env.accs if self.pick(True, False)]
            inner.hidden = set(updated)
            inner.frozen = set(env.accs) - set(updated)
        return Loop(axis, self.integer(extent), kind, self.body(inner, depth - 1))


class _Scope:
    """What may be used at a place of the kernel."""

    def __init__(self, parallel: list[tuple[int, int]]) -> None:
        self.parallel = parallel  # axis, product of the extents after it
        self.axes = [a for a, _ in parallel]
        self.serial: list[int] = []
        self.vector: int | None = None
        self.accs: list[Acc] = []
        self.hidden: set[Acc] = set()  # not to be read
        self.frozen: set[Acc] = set()  # not to be updated
        self.size = 0

    def inner(self) -> _Scope:
        result = _Scope(self.parallel)
        result.axes, result.serial, result.vector = list(self.axes), list(self.serial), self.vector
        result.accs, result.hidden, result.frozen = list(self.accs), set(self.hidden), set(self.frozen)
        return result

    def allows(self, e: Expr) -> bool:
        for x in postorder([e]):
            if isinstance(x, Index) and x.axis not in self.axes:
                return False
            if isinstance(x, Read) and (x.acc not in self.accs or x.acc in self.hidden):
                return False
            if isinstance(x, Load):
                axes = [a for a, _ in x.address.terms]
                if any(a not in self.axes for a in axes):
                    return False
                if x.buffer >= 2 and (x.buffer == 3) != (self.vector is not None and self.vector in axes):
                    return False
        return True


@st.composite
def random_kernels(draw: st.DrawFn) -> Case:
    """A kernel of one or two phases, with data."""
    builder = _Builder(draw)
    phases = []
    for _ in range(draw(st.integers(1, 2))):
        extents = draw(st.sampled_from(((), (3,), (2, 3))))
        parallel = [(builder.axis(), n) for n in extents]
        scales = [int(np.prod(extents[i + 1:])) for i in range(len(extents))]
        scope = _Scope([(a, s) for (a, _), s in zip(parallel, scales)])
        builder.pool = []
        body = builder.body(scope, 3)
        phases.append(Phase(tuple((a, builder.integer(n)) for a, n in parallel), body))
    k = kernel(_BUFFERS, len(builder.slots), *phases)
    rng = np.random.default_rng(0)
    arrays = {0: rng.integers(-50, 50, 20000).astype("int32"), 1: rng.integers(-50, 50, 20000),
              2: rng.integers(-50, 50, _ITEM).astype("int32"), 3: rng.integers(-50, 50, 6 * _ITEM),
              4: rng.integers(-50, 50, 6 * _ITEM)}
    return Case(k, arrays, dict(builder.slots))

"""Kernels as text: readable, and the same for kernels of the same structure, so that it can key a cache."""
from __future__ import annotations

from torsh.codegen.kernel_ir import (
    Acc,
    Address,
    Arg,
    Cast,
    Check,
    Const,
    Declare,
    Expr,
    Index,
    Int,
    Kernel,
    Load,
    Loop,
    Op,
    Read,
    Slot,
    Stmt,
    Store,
    Update,
)
from torsh.codegen.walk import operands, roots


def text(kernel: Kernel) -> str:
    """The text of a kernel.

    Expressions are numbered in order of first use and written once, before the statement that first uses them; axes
    and accumulators are numbered in order of definition, whatever their numbers are in the kernel. So two kernels that
    differ only in names, or in whether equal things other than expressions and accumulators are one Python object,
    have equal texts; sharing of expressions shows, since it means computing once.

    >>> from torsh.codegen.kernel_ir import Phase
    >>> load = Load(0, Address(0, ((7, 1),)), "float32")
    >>> store = Store(1, Address(0, ((7, 1),)), Op("mul", (load, load), "float32"))
    >>> phase = Phase((), (Loop(7, Slot(2), "vector", (store,)),))
    >>> print(text(Kernel(((0, "float32", False), (1, "float32", True)), 3, (phase,))))
    kernel slots=3
    buffer 0: slot 0 float32
    buffer 1: slot 1 float32 writable
    phase
      vector x0 < s2
        e0 = load b0[x0] float32
        e1 = mul e0 e0 float32
        store b1[x0] = e1
    """
    return _Writer(kernel).text()


class _Writer:
    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.names: dict[int, str] = {}  # expressions by id
        self.axes: dict[int, str] = {}
        self.accs: dict[Acc, str] = {}
        self.axis_count = 0
        self.lines: list[str] = []

    def text(self) -> str:
        self.lines.append(f"kernel slots={self.kernel.slots}")
        for number, (slot, dtype, writable) in enumerate(self.kernel.buffers):
            self.lines.append(f"buffer {number}: slot {slot} {dtype}{' writable' if writable else ''}")
        for phase in self.kernel.phases:
            self.axes = {}
            parallel = [f"{self.define(axis)} < {integer(n)}" for axis, n in phase.parallel]
            self.lines.append(" ".join(["phase", *parallel]))
            self.body(phase.body, "  ")
        return "\n".join(self.lines)

    def define(self, axis: int) -> str:
        name = self.axes[axis] = f"x{self.axis_count}"
        self.axis_count += 1
        return name

    def axis(self, axis: int) -> str:
        return self.axes.get(axis) or f"?{axis}"

    def body(self, body: tuple[Stmt, ...], indent: str) -> None:
        for s in body:
            if isinstance(s, Loop):
                tile = "" if s.tile is None else f" {'upto' if s.upto else 'tile'} {self.axis(s.tile[0])}*{integer(s.tile[1])}"
                self.lines.append(f"{indent}{s.kind} {self.define(s.axis)} < {integer(s.extent)}{tile}")
                self.body(s.body, indent + "  ")
                continue
            for e in roots(s):
                self.expression(e, indent)
            self.lines.append(indent + self.statement(s))

    def statement(self, s: Stmt) -> str:
        if isinstance(s, Declare):
            self.accs.setdefault(s.acc, f"a{len(self.accs)}")
            return f"declare {self.accs[s.acc]} = {s.acc.op} {s.acc.dtype}"
        if isinstance(s, Update):
            index = "" if s.index is None else " at " + self.names[id(s.index)]
            times = "" if s.times is None else " times " + self.names[id(s.times)]
            return f"update {self.acc(s.acc)} {self.names[id(s.value)]}{times}{index}"
        if isinstance(s, Store):
            mode = "" if s.mode == "set" else s.mode + " "
            mask = "" if s.mask is None else " if " + self.names[id(s.mask)]
            unique = "" if s.unique else " shared"
            return f"store b{s.buffer}{self.address(s.address)} = {mode}{self.names[id(s.value)]}{mask}{unique}{' stream' if s.stream else ''}"
        if isinstance(s, Check):
            return f"check {self.names[id(s.ok)]} else s{s.status} {s.code}"
        raise TypeError(f"not a statement of the kernel IR: {s!r}")

    def acc(self, acc: Acc) -> str:
        return self.accs.get(acc) or f"?{acc.op}"

    def expression(self, start: Expr, indent: str) -> None:
        """Write lines for what `start` needs and is not written yet, operands first."""
        waiting = [start]
        while waiting:
            e = waiting[-1]
            if id(e) in self.names:
                waiting.pop()
                continue
            missing = [x for x in operands(e) if id(x) not in self.names]
            if missing:
                waiting.extend(reversed(missing))
                continue
            waiting.pop()
            line = self.node(e)
            name = self.names[id(e)] = f"e{len(self.names)}"
            self.lines.append(f"{indent}{name} = {line}")

    def node(self, e: Expr) -> str:
        names = self.names
        if isinstance(e, Op):
            return " ".join([e.name] + [names[id(x)] for x in e.srcs] + [e.dtype])
        if isinstance(e, Const):
            return f"const {constant(e)} {e.dtype}"
        if isinstance(e, Load):
            mask = "" if e.mask is None else f" if {names[id(e.mask)]}"
            other = "" if e.other is None else f" else {constant(e.other)}"
            return f"load b{e.buffer}{self.address(e.address)} {e.dtype}{mask}{other}"
        if isinstance(e, Cast):
            return f"cast {names[id(e.src)]} {e.to} {e.dtype}"
        if isinstance(e, Index):
            return f"index {self.axis(e.axis)}"
        if isinstance(e, Arg):
            return f"arg s{e.slot} {e.dtype}"
        if isinstance(e, Read):
            return f"read {self.acc(e.acc)}{' index' if e.index else ''} {e.dtype}"
        raise TypeError(f"not an expression of the kernel IR: {e!r}")

    def address(self, a: Address) -> str:
        parts = [] if a.offset == 0 else [integer(a.offset)]
        parts += [scaled(self.axis(axis), stride) for axis, stride in a.terms]
        parts += [scaled(self.names[id(e)], stride) for e, stride in a.gathers]
        return "[" + (" + ".join(parts) or "0") + "]"


def integer(n: Int) -> str:
    return f"s{n.index}" if isinstance(n, Slot) else str(n)


def scaled(name: str, stride: Int) -> str:
    return name if stride == 1 and not isinstance(stride, Slot) else f"{name}*{integer(stride)}"


def constant(e: Const) -> str:
    """A constant's value, the same however the equal value was spelled (1 or 1.0, True or numpy.bool_)."""
    if e.dtype == "bool":
        return str(bool(e.value))
    return repr(float(e.value)) if e.dtype.startswith("float") else str(int(e.value))

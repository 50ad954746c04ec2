"""The rules of the kernel IR, checked.

A kernel that breaks one is a mistake of whoever built it; code generation relies on these and checks nothing itself.

Kernel
- Slots, of buffers, integers, arguments and statuses, lie in [0, kernel.slots). Buffers have storage dtypes.
- An axis is defined once among the axes that are open together (sibling loops and other phases may use its number
  again), and used only inside the phase or loop that defines it. Extents are not negative; tile sizes are positive.
- Loops are "serial", "block" or "vector"; a vector loop is not inside a vector loop; a block loop holds one vector loop
  that holds stores and checks only; a tile belongs to a parallel or serial axis around it.

Expressions
- Values have compute dtypes. A Load has the compute dtype of its buffer; a Cast, the one of its `to`.
- Operations have their number of operands, of the dtypes they are defined for (see the tables below).
- An Index, and an expression that selects an address, is int64. A mask is bool; a Load's `other` needs a mask and has
  the Load's dtype.

Accumulators
- Reductions other than any and all are not of bools; any and all are of bools only.
- An accumulator is declared before it is updated or read, in an enclosing scope, and not again while it is in scope.
- Products are added to sums of floating dtypes only.
- argmax and argmin are updated with an int64 index, the others without; `Read(index=True)` is for them only.
- What is declared outside a vector loop and updated inside has no value until the loop ends: it is not read in it.

Stores
- A written buffer is writable; the value has its compute dtype. Modes are "set", "add", "mul", "max" or "min".
- In a vector loop a store of another mode than "set" is `unique`.
"""
from __future__ import annotations

from torsh.codegen.kernel_ir import (
    BINARY,
    BITS,
    COMPARE,
    COMPUTE_DTYPES,
    MATH,
    REDUCTIONS,
    STORAGE_DTYPES,
    STORE_MODES,
    TERNARY,
    UNARY,
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
from torsh.codegen.walk import postorder, roots, statements

_FLOATS = frozenset(("float32", "float64"))
_INTEGERS = frozenset(("uint8", "int8", "int16", "int32", "int64"))
_NUMBERS = _FLOATS | _INTEGERS
_ALL = _NUMBERS | {"bool"}

#: The result dtypes an operation is defined for; on bool, add and max are or, mul and min are and.
_DEFINED = {**dict.fromkeys((*MATH, "sqrt", "floor", "ceil", "trunc", "rint", "div", "fma"), _FLOATS),
            **dict.fromkeys(("neg", "abs", "sub", "fmod"), _NUMBERS),
            **dict.fromkeys(("shl", "shr", "cdiv"), _INTEGERS),
            **dict.fromkeys(("not", "and", "or", "xor"), _INTEGERS | {"bool"}),
            **dict.fromkeys(("add", "mul", "max", "min", "where"), _ALL)}
_ARITY = {**dict.fromkeys(UNARY + BITS + MATH, 1), **dict.fromkeys((*BINARY, *COMPARE, "pow", "atan2"), 2),
          **dict.fromkeys(TERNARY, 3)}
_SAME_BITS = {("float32", "int32"), ("int32", "float32"), ("float64", "int64"), ("int64", "float64")}


class KernelError(ValueError):
    """A kernel breaks a rule; the message says which, and where."""


def compute_dtype(storage: str) -> str:
    """The dtype in which values of a storage dtype are computed.

    >>> compute_dtype("bfloat16"), compute_dtype("int8")
    ('float32', 'int8')
    """
    return "float32" if storage in ("float16", "bfloat16") else storage


def check(kernel: Kernel) -> None:
    """Raise KernelError, naming the statement, unless `kernel` satisfies the rules."""
    _Checker(kernel).kernel_rules()


class _Checker:
    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.where: list[str] = []
        self.open_axes: dict[int, str] = {}  # axis -> "parallel", "serial" or "vector"
        self.declared: list[set[Acc]] = [set()]
        self.hidden: frozenset[Acc] = frozenset()  # without a value in the open vector loop
        self.in_vector = False

    def require(self, condition: bool, message: str) -> None:
        if not condition:
            raise KernelError(f"{' > '.join(self.where) or 'kernel'}: {message}")

    def kernel_rules(self) -> None:
        for number, (slot, dtype, _) in enumerate(self.kernel.buffers):
            self.where = [f"buffer {number}"]
            self.slot(slot)
            self.require(dtype in STORAGE_DTYPES, f"{dtype!r} is not a storage dtype")
        for number, phase in enumerate(self.kernel.phases):
            self.where = [f"phase {number}"]
            self.open_axes = {}
            self.declared = [set()]
            for axis, extent in phase.parallel:
                self.open_axis(axis, "parallel")
                self.extent(extent)
            self.body(phase.body)

    # Integers and axes

    def slot(self, index: int) -> None:
        self.require(isinstance(index, int) and 0 <= index < self.kernel.slots,
                     f"slot {index} is outside the argument table of {self.kernel.slots} slots")

    def integer(self, n: Int) -> None:
        if isinstance(n, Slot):
            self.slot(n.index)
        else:
            self.require(isinstance(n, int) and not isinstance(n, bool), f"{n!r} is neither an int nor a Slot")

    def extent(self, n: Int) -> None:
        self.integer(n)
        self.require(isinstance(n, Slot) or n >= 0, f"extent {n} is negative")

    def open_axis(self, axis: int, kind: str) -> None:
        self.require(axis not in self.open_axes, f"axis {axis} is already defined here")
        self.open_axes[axis] = kind

    def axis(self, axis: int) -> None:
        self.require(axis in self.open_axes, f"axis {axis} is not defined here")

    # Statements

    def body(self, body: tuple[Stmt, ...]) -> None:
        for number, s in enumerate(body):
            self.where.append(describe(s, number))
            rule = {Declare: self.declare, Update: self.update, Store: self.store, Check: self.check_statement,
                    Loop: self.loop}.get(type(s))
            if rule is None:
                raise KernelError(f"{' > '.join(self.where)}: not a statement of the kernel IR")
            for e in postorder(roots(s)):
                self.expression(e)
            rule(s)  # type: ignore[operator]
            self.where.pop()

    def declare(self, s: Declare) -> None:
        acc = s.acc
        self.require(acc.op in REDUCTIONS, f"{acc.op!r} is not a reduction")
        self.require(acc.dtype in COMPUTE_DTYPES, f"{acc.dtype!r} is not a compute dtype")
        logical = acc.op in ("any", "all")
        self.require((acc.dtype == "bool") == logical or acc.op in ("max", "min", "argmax", "argmin"),
                     f"{acc.op} is not defined for {acc.dtype}")
        self.require(not self.is_declared(acc), "the accumulator is already declared here")
        self.declared[-1].add(acc)

    def is_declared(self, acc: Acc) -> bool:
        return any(acc in scope for scope in self.declared)

    def update(self, s: Update) -> None:
        self.require(self.is_declared(s.acc), f"the {s.acc.op} accumulator is not declared in an enclosing scope")
        self.require(s.value.dtype == s.acc.dtype, f"a {s.value.dtype} value for a {s.acc.dtype} accumulator")
        indexed = s.acc.op in ("argmax", "argmin")
        self.require((s.index is not None) == indexed, f"{s.acc.op} takes {'an' if indexed else 'no'} index")
        self.require(s.index is None or s.index.dtype == "int64", "the index is not int64")
        self.require(s.times is None or (s.acc.op == "sum" and s.acc.dtype in _FLOATS and s.times.dtype == s.acc.dtype),
                     "a product is added to a sum of its own floating dtype")

    def store(self, s: Store) -> None:
        self.buffer(s.buffer)
        _, dtype, writable = self.kernel.buffers[s.buffer]
        self.require(writable, f"buffer {s.buffer} is not writable")
        self.require(s.value.dtype == compute_dtype(dtype), f"a {s.value.dtype} value for a {dtype} buffer")
        self.require(s.mode in STORE_MODES, f"{s.mode!r} is not a store mode")
        self.require(s.mode == "set" or s.unique or not self.in_vector,
                     f"mode {s.mode!r} in a vector loop where lanes may share an address")
        self.address(s.address)
        self.mask(s.mask)

    def check_statement(self, s: Check) -> None:
        self.require(s.ok.dtype == "bool", f"the condition is {s.ok.dtype}, not bool")
        self.slot(s.status)

    def loop(self, s: Loop) -> None:
        self.require(s.kind in ("serial", "block", "vector"), f"{s.kind!r} is not a kind of loop")
        if s.kind == "block":
            inner = s.body[0]
            self.require(len(s.body) == 1 and isinstance(inner, Loop) and inner.kind == "vector" and not self.in_vector
                         and all(isinstance(x, (Store, Check)) for x in inner.body),
                         "a block loop that is not just a vector loop of stores and checks")
        self.extent(s.extent)
        if s.tile is not None:
            self.integer(s.tile[1])
            uniform = self.open_axes.get(s.tile[0]) in ("parallel", "serial")
            self.require(uniform, f"tile of axis {s.tile[0]}, which is neither parallel nor serial")
            self.require(isinstance(s.tile[1], Slot) or s.tile[1] > 0, f"tile of size {s.tile[1]}")
        vector = s.kind == "vector"
        self.require(not (vector and self.in_vector), "a vector loop inside a vector loop")
        self.open_axis(s.axis, s.kind)
        if vector:
            self.in_vector = True
            inside = list(statements(s.body))
            own = {x.acc for x in inside if isinstance(x, Declare)}
            self.hidden = frozenset(x.acc for x in inside if isinstance(x, Update)) - own
        self.declared.append(set())
        self.body(s.body)
        self.declared.pop()
        if vector:
            self.in_vector, self.hidden = False, frozenset()
        del self.open_axes[s.axis]

    # Expressions

    def buffer(self, number: int) -> None:
        self.require(isinstance(number, int) and 0 <= number < len(self.kernel.buffers), f"there is no buffer {number}")

    def address(self, a: Address) -> None:
        self.integer(a.offset)
        for axis, stride in a.terms:
            self.axis(axis)
            self.integer(stride)
        for e, stride in a.gathers:
            self.require(e.dtype == "int64", f"an address selected by a {e.dtype} expression")
            self.integer(stride)

    def mask(self, e: Expr | None) -> None:
        self.require(e is None or e.dtype == "bool", "a mask that is not bool")

    def expression(self, e: Expr) -> None:
        if not isinstance(e, (Const, Arg, Index, Load, Op, Cast, Read)):
            raise KernelError(f"{' > '.join(self.where)}: {e!r} is not an expression of the kernel IR")
        self.require(e.dtype in COMPUTE_DTYPES, f"{e.dtype!r} is not a compute dtype")
        if isinstance(e, Op):
            self.operation(e)
        elif isinstance(e, Load):
            self.load(e)
        elif isinstance(e, Arg):
            self.slot(e.slot)
        elif isinstance(e, Index):
            self.axis(e.axis)
            self.require(e.dtype == "int64", "an index is int64")
        elif isinstance(e, Cast):
            self.require(e.to in STORAGE_DTYPES, f"cast to {e.to!r}, which is not a storage dtype")
            wanted = compute_dtype(e.to)
            self.require(e.dtype == wanted, f"a cast to {e.to} has dtype {wanted}, not {e.dtype}")
        elif isinstance(e, Read):
            self.read(e)

    def load(self, e: Load) -> None:
        self.buffer(e.buffer)
        dtype = self.kernel.buffers[e.buffer][1]
        self.require(e.dtype == compute_dtype(dtype), f"a load of dtype {e.dtype} from a {dtype} buffer")
        self.address(e.address)
        self.mask(e.mask)
        if e.other is not None:
            self.require(e.mask is not None, "a load has `other` without a mask")
            constant = isinstance(e.other, Const) and e.other.dtype == e.dtype
            self.require(constant, "`other` is not a constant of the load's dtype")

    def read(self, e: Read) -> None:
        acc = e.acc
        self.require(self.is_declared(acc), f"the {acc.op} accumulator is not declared in an enclosing scope")
        self.require(not e.index or acc.op in ("argmax", "argmin"), f"{acc.op} has no index to read")
        wanted = "int64" if e.index else acc.dtype
        self.require(e.dtype == wanted, f"a read of dtype {e.dtype} where the accumulator has {wanted}")
        self.require(acc not in self.hidden, f"the {acc.op} accumulator is read in the vector loop that updates it")

    def operation(self, e: Op) -> None:
        name = e.name
        arity = _ARITY.get(name)
        self.require(arity is not None, f"there is no operation {name!r}")
        self.require(len(e.srcs) == arity, f"{name} takes {arity} operands, not {len(e.srcs)}")
        dtypes = tuple([x.dtype for x in e.srcs])
        if name in COMPARE:
            self.require(e.dtype == "bool" and dtypes[0] == dtypes[1], f"{name} of {_list(dtypes)} giving {e.dtype}")
        elif name == "bitcast":
            self.require((dtypes[0], e.dtype) in _SAME_BITS, f"bitcast of {dtypes[0]} to {e.dtype}")
        else:
            wanted = ("bool", e.dtype, e.dtype) if name == "where" else (e.dtype,) * len(dtypes)
            self.require(dtypes == wanted, f"{name} of {_list(dtypes)} giving {e.dtype}")
            self.require(e.dtype in _DEFINED[name], f"{name} is not defined for {e.dtype}")


def _list(dtypes: tuple[str, ...]) -> str:
    return ", ".join(dtypes)


def describe(s: Stmt, number: int) -> str:
    """A statement in a few words: its position among its siblings and what it is."""
    if isinstance(s, Loop):
        return f"statement {number}: {s.kind} loop over axis {s.axis}"
    if isinstance(s, Store):
        return f"statement {number}: store to buffer {s.buffer}"
    if isinstance(s, (Declare, Update)):
        return f"statement {number}: {type(s).__name__.lower()} of a {s.acc.op} accumulator"
    return f"statement {number}: {type(s).__name__.lower()}"

"""A small subset of Python as LLVM text: loops over single numbers with branches that vectors do not follow, such as rejection sampling.

Functions of one module, found in its source. Parameters and results are annotated: `float`, `int`, `Engine` (an address), `Floats` (an
array, stored as float32 or float64, read as float) and `Ints` (an array of int64). Variables keep the type of their first assignment.
Statements: assignments, `if`, `while`, `for i in range(n)`, `break`, `continue`, `return`. Expressions: numbers, arithmetic of numbers of one
type (an int next to a float becomes one), comparisons, `and`, `or`, `not`, conditional expressions, `int`, entries (counted from 0) of arrays
and of the module's tuples, and calls: of functions of the module, of the C library's by Python's names for them (`math`), and of what is
linked in. Anything else raises UnsupportedError.
"""
from __future__ import annotations

import ast
import inspect
import math
from types import ModuleType

from torsh.codegen.llvm_ops import literal

_TYPES = {"float": "double", "int": "i64", "Engine": "ptr", "Floats": "ptr", "Ints": "ptr"}
_LIBRARY = {"log": "log", "log1p": "log1p", "exp": "exp", "lgamma": "lgamma", "pow": "pow"}
_INTRINSIC = {"sqrt": "llvm.sqrt.f64", "floor": "llvm.floor.f64", "ceil": "llvm.ceil.f64", "fabs": "llvm.fabs.f64"}
_ARITHMETIC = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div"}
_COMPARE: dict[type, tuple[str, str]] = {
    ast.Lt: ("olt", "slt"), ast.LtE: ("ole", "sle"), ast.Gt: ("ogt", "sgt"), ast.GtE: ("oge", "sge"), ast.Eq: ("oeq", "eq"), ast.NotEq: ("une", "ne")}


class UnsupportedError(ValueError):
    """A construct outside the subset."""


def scalar_text(module: ModuleType, name: str, stored: str, linked: dict[str, str]) -> str:
    """The function `name` and those it calls. `stored`: the dtype of arrays. `linked`: the results' LLVM types of functions
    defined elsewhere in the text, which take the engine."""
    tree = ast.parse(inspect.getsource(module))
    functions = {f.name: f for f in tree.body if isinstance(f, ast.FunctionDef)}
    tables = {s.targets[0].id: s.value for s in tree.body
              if isinstance(s, ast.Assign) and isinstance(s.targets[0], ast.Name) and isinstance(s.value, ast.Tuple)}
    done: dict[str, list[str]] = {}
    waiting, used, externals = [name], dict[str, None](), dict[str, None]()
    while waiting:
        wanted = waiting.pop()
        if wanted not in done:
            made = _Function(functions, tables, stored, linked, wanted, wanted == name)
            done[wanted] = made.lines
            waiting += made.called
            used.update(dict.fromkeys(made.tables_used))
            externals.update(dict.fromkeys(made.externals))
    lines = list(externals)
    for table in used:
        numbers = [float(ast.literal_eval(e)) for e in tables[table].elts]
        lines.append(f"@{table} = private constant [{len(numbers)} x double] [{', '.join('double ' + literal(x, 'float64') for x in numbers)}]")
    return "\n".join([*lines, *[line for body in done.values() for line in body], ""])


class _Function:
    def __init__(self, functions: dict[str, ast.FunctionDef], tables: dict[str, ast.Tuple], stored: str, linked: dict[str, str], name: str,
                 public: bool) -> None:
        self.functions, self.tables, self.linked = functions, tables, linked
        number = ("float", 4) if stored == "float32" else ("double", 8)
        self.called: list[str] = []
        self.tables_used: list[str] = []
        self.externals: list[str] = []
        self.count = 0
        self.body: list[str] = []
        self.variables: dict[str, str] = {}
        self.parameters: dict[str, str] = {}
        self.elements: dict[str, tuple[str, int]] = dict.fromkeys(tables, ("double", 8))  # of arrays: LLVM type and bytes
        self.loops: list[tuple[str, str]] = []  # where `continue` and `break` go
        node = functions[name]
        signature = []
        for a in node.args.args:
            kind = self.annotated(a.annotation)
            signature.append(f"{kind} %{a.arg}")
            self.parameters[a.arg] = kind
            self.elements[a.arg] = ("i64", 8) if isinstance(a.annotation, ast.Name) and a.annotation.id == "Ints" else number
            if kind != "ptr":
                self.assign(a.arg, f"%{a.arg}", kind)
        self.result = self.annotated(node.returns)
        self.statements(node.body)
        end = "ret double 0.0" if self.result == "double" else "ret i64 0"
        head = f"define {'' if public else 'internal '}{self.result} @{name}({', '.join(signature)}) nounwind {{"
        stack = [f"  %{v}.at = alloca {kind}" for v, kind in self.variables.items()]
        self.lines = [head, "entry:", *stack, *self.body, "  " + end, "}"]

    def annotated(self, annotation: ast.expr | None) -> str:
        if isinstance(annotation, ast.Name) and annotation.id in _TYPES:
            return _TYPES[annotation.id]
        raise UnsupportedError("parameters and results are annotated float, int, Engine or Floats")

    def op(self, text: str) -> str:
        self.count += 1
        self.body.append(f"  %s{self.count} = {text}")
        return f"%s{self.count}"

    def label(self) -> str:
        self.count += 1
        return f"l{self.count}"

    def branch(self, to: str) -> None:
        self.body.append(f"  br label %{to}")

    def place(self, name: str) -> None:
        self.body.append(f"{name}:")

    def jump(self, to: str) -> None:
        """Leave the block; what follows in the source cannot be reached."""
        self.branch(to)
        self.place(self.label())

    def assign(self, name: str, value: str, kind: str) -> None:
        if kind != self.variables.setdefault(name, kind):
            value = self.converted(value, kind, self.variables[name])
        self.body.append(f"  store {self.variables[name]} {value}, ptr %{name}.at")

    def converted(self, value: str, kind: str, wanted: str) -> str:
        if kind == wanted:
            return value
        if (kind, wanted) == ("i64", "double"):
            return literal(float(value), "float64") if value.lstrip("-").isdigit() else self.op(f"sitofp i64 {value} to double")
        if (kind, wanted) == ("double", "i64"):
            return self.op(f"fptosi double {value} to i64")
        raise UnsupportedError(f"a {kind} where a {wanted} is wanted")

    # -- statements

    def statements(self, body: list[ast.stmt]) -> None:
        for s in body:
            self.statement(s)

    def statement(self, s: ast.stmt) -> None:
        if isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant):
            return  # a docstring
        if isinstance(s, ast.Assign) and len(s.targets) == 1:
            self.store(s.targets[0], s.value)
        elif isinstance(s, ast.AugAssign):
            assert isinstance(s.target, ast.Name)
            self.store(s.target, ast.BinOp(ast.Name(s.target.id, ast.Load()), s.op, s.value))
        elif isinstance(s, ast.If):
            yes, no, end = self.label(), self.label(), self.label()
            self.condition(s.test, yes, no)
            self.place(yes)
            self.statements(s.body)
            self.branch(end)
            self.place(no)
            self.statements(s.orelse)
            self.branch(end)
            self.place(end)
        elif isinstance(s, ast.While) and not s.orelse:
            head, body, end = self.label(), self.label(), self.label()
            self.branch(head)
            self.place(head)
            self.condition(s.test, body, end)
            self.place(body)
            self.inside(s.body, head, end)
            self.branch(head)
            self.place(end)
        elif isinstance(s, ast.For):
            self.counted(s)
        elif isinstance(s, ast.Break):
            self.jump(self.loops[-1][1])
        elif isinstance(s, ast.Continue):
            self.jump(self.loops[-1][0])
        elif isinstance(s, ast.Return) and s.value is not None:
            value, kind = self.value(s.value)
            self.body.append(f"  ret {self.result} {self.converted(value, kind, self.result)}")
            self.place(self.label())
        else:
            raise UnsupportedError(f"statement {ast.unparse(s)!r}")

    def inside(self, body: list[ast.stmt], again: str, end: str) -> None:
        self.loops.append((again, end))
        self.statements(body)
        self.loops.pop()

    def counted(self, s: ast.For) -> None:
        """`for i in range(n)`."""
        if not (isinstance(s.target, ast.Name) and isinstance(s.iter, ast.Call) and isinstance(s.iter.func, ast.Name) and s.iter.func.id == "range"
                and len(s.iter.args) == 1):
            raise UnsupportedError(f"loop {ast.unparse(s.iter)!r}")
        stop = self.value(s.iter.args[0])[0]
        name = s.target.id
        self.assign(name, "0", "i64")
        head, body, follow, end = (self.label() for _ in range(4))
        self.branch(head)
        self.place(head)
        index = self.op(f"load i64, ptr %{name}.at")
        self.body.append(f"  br i1 {self.op(f'icmp slt i64 {index}, {stop}')}, label %{body}, label %{end}")
        self.place(body)
        self.inside(s.body, follow, end)
        self.branch(follow)
        self.place(follow)
        index = self.op(f"load i64, ptr %{name}.at")
        self.assign(name, self.op(f"add i64 {index}, 1"), "i64")
        self.branch(head)
        self.place(end)

    def store(self, target: ast.expr, source: ast.expr) -> None:
        if isinstance(target, ast.Tuple) and isinstance(source, ast.Tuple):
            found = [self.value(e) for e in source.elts]  # all before any is changed
            for t, (value, kind) in zip(target.elts, found, strict=True):
                assert isinstance(t, ast.Name)
                self.assign(t.id, value, kind)
            return
        value, kind = self.value(source)
        if isinstance(target, ast.Name):
            self.assign(target.id, value, kind)
        elif isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
            element, size = self.elements[target.value.id]
            value = self.converted(value, kind, "i64" if element == "i64" else "double")
            if element == "float":
                value = self.op(f"fptrunc double {value} to float")
            self.body.append(f"  store {element} {value}, ptr {self.entry(target)}, align {size}")
        else:
            raise UnsupportedError(f"assignment to {ast.unparse(target)!r}")

    def entry(self, s: ast.Subscript) -> str:
        assert isinstance(s.value, ast.Name)
        index, kind = self.value(s.slice)
        index = self.converted(index, kind, "i64")
        if s.value.id in self.tables:
            self.tables_used.append(s.value.id)
            return self.op(f"getelementptr double, ptr @{s.value.id}, i64 {index}")
        return self.op(f"getelementptr {self.elements[s.value.id][0]}, ptr %{s.value.id}, i64 {index}")

    # -- expressions

    def condition(self, e: ast.expr, yes: str, no: str) -> None:
        """Go to `yes` or `no`, evaluating no more than Python does."""
        if isinstance(e, ast.BoolOp):
            for part in e.values[:-1]:
                following = self.label()
                self.condition(part, *((following, no) if isinstance(e.op, ast.And) else (yes, following)))
                self.place(following)
            self.condition(e.values[-1], yes, no)
        elif isinstance(e, ast.UnaryOp) and isinstance(e.op, ast.Not):
            self.condition(e.operand, no, yes)
        elif isinstance(e, ast.Constant):
            self.branch(yes if e.value else no)
        elif isinstance(e, ast.Compare) and len(e.ops) == 1:
            (a, ka), (b, kb) = self.value(e.left), self.value(e.comparators[0])
            kind = "double" if "double" in (ka, kb) else "i64"
            a, b = self.converted(a, ka, kind), self.converted(b, kb, kind)
            relation = _COMPARE[type(e.ops[0])]
            test = self.op(f"fcmp {relation[0]} double {a}, {b}" if kind == "double" else f"icmp {relation[1]} i64 {a}, {b}")
            self.body.append(f"  br i1 {test}, label %{yes}, label %{no}")
        else:
            raise UnsupportedError(f"condition {ast.unparse(e)!r}")

    def value(self, e: ast.expr) -> tuple[str, str]:
        """An expression's value and LLVM type."""
        if isinstance(e, ast.Constant):
            return (str(e.value), "i64") if isinstance(e.value, int) else (literal(e.value, "float64"), "double")  # type: ignore[arg-type]
        if isinstance(e, ast.Name):
            if self.parameters.get(e.id) == "ptr":
                return f"%{e.id}", "ptr"
            kind = self.variables[e.id]
            return self.op(f"load {kind}, ptr %{e.id}.at"), kind
        if isinstance(e, ast.Attribute) and e.attr in ("pi", "inf", "nan"):
            return literal(getattr(math, e.attr), "float64"), "double"
        if isinstance(e, ast.UnaryOp) and isinstance(e.op, ast.USub):
            a, kind = self.value(e.operand)
            return self.op(f"fneg double {a}" if kind == "double" else f"sub i64 0, {a}"), kind
        if isinstance(e, ast.BinOp):
            return self.arithmetic(e)
        if isinstance(e, ast.Subscript):
            assert isinstance(e.value, ast.Name)
            element, size = self.elements[e.value.id]
            loaded = self.op(f"load {element}, ptr {self.entry(e)}, align {size}")
            return (self.op(f"fpext float {loaded} to double"), "double") if element == "float" else (loaded, element)
        if isinstance(e, ast.IfExp):
            self.count += 1
            name = f"chosen{self.count}"
            yes, no, end = self.label(), self.label(), self.label()
            self.condition(e.test, yes, no)
            for place, part in ((yes, e.body), (no, e.orelse)):
                self.place(place)
                self.assign(name, *self.value(part))
                self.branch(end)
            self.place(end)
            return self.op(f"load {self.variables[name]}, ptr %{name}.at"), self.variables[name]
        if isinstance(e, ast.Call):
            return self.call(e)
        raise UnsupportedError(f"expression {ast.unparse(e)!r}")

    def arithmetic(self, e: ast.BinOp) -> tuple[str, str]:
        (a, ka), (b, kb) = self.value(e.left), self.value(e.right)
        if isinstance(e.op, ast.Pow):
            return self.library("pow", [self.converted(a, ka, "double"), self.converted(b, kb, "double")]), "double"
        name = _ARITHMETIC.get(type(e.op))
        if name is None:
            raise UnsupportedError(f"expression {ast.unparse(e)!r}")
        if "double" in (ka, kb) or name == "div":
            return self.op(f"f{name} double {self.converted(a, ka, 'double')}, {self.converted(b, kb, 'double')}"), "double"
        return self.op(f"{name} i64 {a}, {b}"), "i64"

    def library(self, name: str, arguments: list[str]) -> str:
        kinds = ", ".join(["double"] * len(arguments))
        self.externals.append(f"declare double @{name}({kinds})")
        return self.op(f"call double @{name}({', '.join('double ' + a for a in arguments)})")

    def call(self, e: ast.Call) -> tuple[str, str]:
        name = e.func.attr if isinstance(e.func, ast.Attribute) else e.func.id if isinstance(e.func, ast.Name) else ""
        found = [self.value(a) for a in e.args]
        if name in self.linked:
            return self.op(f"call {self.linked[name]} @{name}(ptr {found[0][0]})"), self.linked[name]
        if name in self.functions:
            self.called.append(name)
            node = self.functions[name]
            kinds = [self.annotated(a.annotation) for a in node.args.args]
            given = ", ".join(f"{kind} {self.converted(v, k, kind)}" for kind, (v, k) in zip(kinds, found, strict=True))
            result = self.annotated(node.returns)
            return self.op(f"call {result} @{name}({given})"), result
        if name == "int":
            return self.converted(*found[0], "i64"), "i64"
        numbers = [self.converted(v, k, "double") for v, k in found]
        name = "fabs" if name == "abs" else name
        if name in _INTRINSIC:
            self.externals.append(f"declare double @{_INTRINSIC[name]}(double)")
            return self.op(f"call double @{_INTRINSIC[name]}(double {numbers[0]})"), "double"
        if name in _LIBRARY:
            return self.library(_LIBRARY[name], numbers), "double"
        raise UnsupportedError(f"call {ast.unparse(e)!r}")

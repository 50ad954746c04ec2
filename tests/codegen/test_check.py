from __future__ import annotations

import numpy as np
import pytest

from tests.codegen import kernel_samples as samples
from tests.codegen.kernel_samples import compare, kernel, load, number, op, store
from torsh.codegen.check import KernelError, check
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
    Kernel,
    Load,
    Loop,
    Op,
    Phase,
    Read,
    Slot,
    Stmt,
    Store,
    Update,
)

X = load(0, "float32", (0, 1))
SUM, ARGMAX = Acc("sum", "float32"), Acc("argmax", "float32")


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_samples_keep_the_rules(name):
    check(samples.SAMPLES[name](10, np.random.default_rng(0)).kernel)


def vector(*body: Stmt, extent: int | Slot = 9) -> Kernel:
    """A kernel with one vector loop over axis 0; buffer 0 is read, 1 written; 4 slots."""
    return kernel([("float32", False), ("float32", True)], 2, Phase((), (Loop(0, extent, "vector", body),)))


def value(e: Expr, buffer: int = 1) -> Kernel:
    return vector(store(buffer, e, (0, 1)))


def plain(*body: Stmt) -> Kernel:
    return kernel([("float32", False), ("float32", True)], 2, Phase(((0, 3),), body))


BROKEN: dict[str, tuple[Kernel, str]] = {
    "buffer slot": (Kernel(((5, "float32", False),), 4, ()), "buffer 0: slot 5 is outside the argument table of 4 slots"),
    "buffer dtype": (Kernel(((0, "complex64", False),), 4, ()), "'complex64' is not a storage dtype"),
    "extent slot": (vector(store(1, X, (0, 1)), extent=Slot(4)), "slot 4 is outside"),
    "negative extent": (vector(store(1, X, (0, 1)), extent=-1), "extent -1 is negative"),
    "argument slot": (value(Arg(9, "float32")), "slot 9 is outside"),
    "status slot": (vector(Check(compare("lt", X, X), 7, 1)), "slot 7 is outside"),
    "stride slot": (value(load(0, "float32", (0, Slot(8)))), "slot 8 is outside"),
    "stride kind": (value(load(0, "float32", (0, 1.5))), "1.5 is neither an int nor a Slot"),
    "unknown axis": (value(load(0, "float32", (3, 1))), "axis 3 is not defined here"),
    "unknown index": (value(Cast(Index(2), "float32", "float32")), "axis 2 is not defined here"),
    "axis after its loop": (plain(Loop(1, 3, "serial", ()), store(1, load(0, "float32", (1, 1)))), "axis 1 is not defined"),
    "axis twice": (plain(Loop(0, 3, "serial", ())), "axis 0 is already defined"),
    "nested vectors": (vector(Loop(1, 3, "vector", ())), "a vector loop inside a vector loop"),
    "nested deeper": (vector(Loop(1, 3, "serial", (Loop(2, 3, "vector", ()),))), "a vector loop inside a vector loop"),
    "loop kind": (plain(Loop(1, 3, "unrolled", ())), "'unrolled' is not a kind of loop"),
    "tile of a vector axis": (plain(Loop(1, 3, "vector", (Loop(2, 9, "serial", (), (1, 3)),))), "which is neither parallel nor serial"),
    "empty tile": (plain(Loop(1, 3, "serial", (), (0, 0))), "tile of size 0"),
    "load dtype": (value(Load(0, Address(), "float64")), "a load of dtype float64 from a float32 buffer"),
    "no buffer": (value(load(2, "float32")), "there is no buffer 2"),
    "mask dtype": (value(load(0, "float32", (0, 1), mask=X)), "a mask that is not bool"),
    "other without mask": (value(load(0, "float32", (0, 1), other=number(1.0))), "`other` without a mask"),
    "other dtype": (value(load(0, "float32", (0, 1), mask=compare("lt", X, X), other=number(1, "int32"))), "not a constant of"),
    "gather dtype": (value(load(0, "float32", gathers=((Cast(X, "int32", "int32"), 1),))), "selected by a int32 expression"),
    "operand dtypes": (value(op("add", Cast(X, "float64", "float64"), X)), "add of float64, float32 giving float32"),
    "operand count": (value(Op("add", (X,), "float32")), "add takes 2 operands, not 1"),
    "unknown operation": (value(Op("gelu", (X,), "float32")), "there is no operation 'gelu'"),
    "integer division": (value(Cast(op("div", Index(0), Index(0)), "float32", "float32")), "div is not defined for int64"),
    "float shift": (value(op("shl", X, X)), "shl is not defined for float32"),
    "bool arithmetic": (value(op("where", op("sub", compare("lt", X, X), compare("lt", X, X)), X, X)), "sub is not defined"),
    "comparison result": (value(Op("lt", (X, X), "float32")), "lt of float32, float32 giving float32"),
    "comparison of two dtypes": (value(op("where", compare("lt", X, Index(0)), X, X)), "lt of float32, int64 giving bool"),
    "where condition": (value(op("where", X, X, X)), "where of float32, float32, float32"),
    "bitcast of another width": (value(Op("bitcast", (Index(0),), "float32")), "bitcast of int64 to float32"),
    "cast dtype": (value(Cast(X, "float64", "bfloat16")), "a cast to bfloat16 has dtype float32, not float64"),
    "cast target": (value(Cast(X, "float32", "float8")), "not a storage dtype"),
    "storage dtype as compute": (value(Const(1.0, "float16")), "'float16' is not a compute dtype"),
    "index dtype": (value(Cast(Index(0, "int32"), "float32", "float32")), "an index is int64"),
    "undeclared update": (plain(Update(SUM, X)), "not declared in an enclosing scope"),
    "undeclared read": (plain(store(1, Read(SUM, "float32"))), "not declared in an enclosing scope"),
    "out of scope": (plain(Loop(1, 3, "serial", (Declare(SUM),)), Update(SUM, X)), "not declared in an enclosing scope"),
    "declared twice": (plain(Declare(SUM), Declare(SUM)), "already declared"),
    "reduction": (plain(Declare(Acc("mean", "float32"))), "'mean' is not a reduction"),
    "sum of bools": (plain(Declare(Acc("sum", "bool"))), "sum is not defined for bool"),
    "any of numbers": (plain(Declare(Acc("any", "int32"))), "any is not defined for int32"),
    "update dtype": (plain(Declare(SUM), Update(SUM, Index(0))), "a int64 value for a float32 accumulator"),
    "missing index": (plain(Declare(ARGMAX), Update(ARGMAX, X)), "argmax takes an index"),
    "needless index": (plain(Declare(SUM), Update(SUM, X, Index(0))), "sum takes no index"),
    "index of a sum": (plain(Declare(SUM), store(1, Cast(Read(SUM, "int64", True), "float32", "float32"))), "no index to read"),
    "read dtype": (plain(Declare(ARGMAX), store(1, Read(ARGMAX, "float32", True))), "where the accumulator has int64"),
    "read of lanes": (plain(Declare(SUM), Loop(1, 3, "vector", (Update(SUM, X), store(1, Read(SUM, "float32"), (1, 1))))),
                      "is read in the vector loop that updates it"),
    "read-only buffer": (value(X, 0), "buffer 0 is not writable"),
    "store dtype": (value(Index(0)), "a int64 value for a float32 buffer"),
    "store mode": (vector(store(1, X, (0, 1), mode="sub")), "'sub' is not a store mode"),
    "shared lanes": (vector(store(1, X, mode="add", unique=False)), "where lanes may share an address"),
    "store mask": (vector(store(1, X, (0, 1), mask=X)), "a mask that is not bool"),
    "check condition": (vector(Check(X, 2, 1)), "the condition is float32"),
    "not a statement": (plain(X), "not a statement"),
    "not an expression": (value(Op("neg", (SUM,), "float32")), "not an expression"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_a_rule_is_named(name):
    broken, message = BROKEN[name]
    with pytest.raises(KernelError) as error:
        check(broken)
    assert message in str(error.value)


def test_the_message_says_where():
    broken = kernel([("float32", False), ("float32", True)], 0, Phase((), ()), Phase(((0, 3),), (
        Declare(SUM), Loop(1, 3, "serial", (Store(0, Address(), Read(SUM, "float32")),)))))
    with pytest.raises(KernelError) as error:
        check(broken)
    assert str(error.value) == ("phase 1 > statement 1: serial loop over axis 1 > statement 0: store to buffer 0: "
                                "buffer 0 is not writable")


def test_sibling_loops_may_share_an_axis_and_expressions():
    twice = op("mul", X, number(2.0))
    check(kernel([("float32", False), ("float32", True)], 0, Phase((), (
        Loop(0, 3, "vector", (store(1, twice, (0, 1)),)), Loop(0, 3, "vector", (store(1, twice, (0, 1)),))))))

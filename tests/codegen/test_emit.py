from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.codegen import kernel_samples as samples
from tests.codegen.kernel_samples import Case, compare, kernel, load, number, op, store
from tests.codegen.native import compile_kernel, machine, run_native, targets
from tests.codegen.random_kernels import random_kernels
from torsh.codegen.check import check, compute_dtype
from torsh.codegen.interpret import run
from torsh.codegen.kernel_ir import (
    COMPUTE_DTYPES,
    STORAGE_DTYPES,
    Acc,
    Cast,
    Check,
    Const,
    Expr,
    Index,
    Kernel,
    Loop,
    Op,
    Phase,
    Slot,
    Update,
)
from torsh.codegen.llvm_emit import emit_cpu
from torsh.codegen.llvm_width import choose
from torsh.codegen.target import Target, host

ALL_TARGETS = pytest.mark.parametrize("target", targets(), ids=lambda t: f"{t.vector_bytes}bytes")
INTEGERS = ("uint8", "int8", "int16", "int32", "int64")
FLOATS = ("float32", "float64")


def expected(case: Case) -> dict[int, np.ndarray]:
    wanted = samples.copies(case.arrays)
    run(case.kernel, case.arguments({}), wanted)
    return wanted


@ALL_TARGETS
@pytest.mark.parametrize("name", samples.SAMPLES)
def test_samples_agree_with_the_interpreter(name, target):
    make = samples.SAMPLES[name]
    rng = np.random.default_rng(len(name))
    functions = None
    for n in samples.SIZES:
        case = make(n, rng)
        check(case.kernel)
        if functions is None or name == "literal_extent":
            functions = compile_kernel(case.kernel, target)
        samples.assert_same(case, run_native(case, target, functions), expected(case))


def elementwise(sources: list[str], values: list[Expr], n: int, rng: np.random.Generator, out: list[str]) -> Case:
    """A kernel storing `values`, made of loads of buffers 0, 1, ... with the dtypes `sources`."""
    count = len(sources)
    body = (Loop(0, Slot(count + len(out)), "vector", tuple(store(count + k, v, (0, 1)) for k, v in enumerate(values))),)
    k = kernel([(d, False) for d in sources] + [(d, True) for d in out], 1, Phase((), body))
    arrays = {i: samples.random(rng, d, n) for i, d in enumerate(sources)}
    arrays.update({count + i: samples.random(rng, d, n) for i, d in enumerate(out)})
    return Case(k, arrays, {count + len(out): n})


def operations(dtype: str) -> list[tuple[Expr, str]]:
    """Every basic operation defined for a dtype, on loads of buffers 0, 1 and 2 (bool)."""
    x, y, c = load(0, dtype, (0, 1)), load(1, dtype, (0, 1)), load(2, "bool", (0, 1))
    names2 = ["add", "mul", "max", "min"]
    names1: list[str] = []
    if dtype in FLOATS:
        names1 += ["neg", "abs", "floor", "ceil", "trunc", "rint"]
        names2 += ["sub", "div", "fmod"]
    if dtype in INTEGERS:
        names1 += ["neg", "abs"]
        names2 += ["sub", "fmod", "cdiv", "shl", "shr"]
    if dtype not in FLOATS:
        names1 += ["not"]
        names2 += ["and", "or", "xor"]
    values: list[tuple[Expr, str]] = [(op(name, x), dtype) for name in names1] + [(op(name, x, y), dtype) for name in names2]
    values += [(compare(name, x, y), "bool") for name in ("eq", "ne", "lt", "le", "gt", "ge")]
    values += [(op("where", c, x, y), dtype)]
    if dtype in FLOATS:
        integer = {"float32": "int32", "float64": "int64"}[dtype]
        values += [(op("sqrt", op("abs", x)), dtype), (op("fma", x, y, op("neg", y)), dtype),
                   (op("bitcast", x, dtype=integer), integer), (op("bitcast", op("bitcast", x, dtype=integer), dtype=dtype), dtype)]
    if dtype in INTEGERS:  # divisors and shifts that are constants
        for name, value in itertools.product(("cdiv", "fmod", "shl", "shr"), (0, 1, -1, 3, 7, 100)):
            if value >= 0 or dtype != "uint8":
                values.append((op(name, x, number(value, dtype)), dtype))
    return values


@ALL_TARGETS
@pytest.mark.parametrize("dtype", COMPUTE_DTYPES)
def test_every_operation(dtype, target, rng):
    values = operations(dtype)
    for begin in range(0, len(values), 12):  # a few kernels rather than one enormous or many small
        part = values[begin:begin + 12]
        case = elementwise([dtype, dtype, "bool"], [v for v, _ in part], 211, rng, [d for _, d in part])
        check(case.kernel)
        samples.assert_same(case, run_native(case, target), expected(case))


@ALL_TARGETS
def test_uniform_operations_are_scalar_and_right(target, rng):
    """The same operations on values that no loop changes: computed once, before the vector loop."""
    for dtype in ("float32", "int8", "int64"):
        values = []
        for value, out in operations(dtype):
            values.append((Op(value.name, tuple(at_zero(s) for s in value.srcs), value.dtype), out))
        for begin in range(0, len(values), 16):
            part = values[begin:begin + 16]
            case = elementwise([dtype, dtype, "bool"], [v for v, _ in part], 5, rng, [d for _, d in part])
            samples.assert_same(case, run_native(case, target), expected(case))


def at_zero(e: Expr) -> Expr:
    """The expression with loads of element 0."""
    if isinstance(e, Op):
        return Op(e.name, tuple(at_zero(s) for s in e.srcs), e.dtype)
    return e if isinstance(e, Const) else load(e.buffer, e.dtype)


@ALL_TARGETS
@pytest.mark.parametrize("source", STORAGE_DTYPES)
def test_conversions_between_all_dtypes(source, target, rng):
    x = load(0, source, (0, 1))
    values = []
    for to in STORAGE_DTYPES:
        value: Expr = x
        if x.dtype in FLOATS and compute_dtype(to) not in FLOATS and to != "bool":
            limit = 100.0  # conversions of what the integer cannot hold are the machine's business
            value = op("max", op("min", x, number(limit, x.dtype)), number(0.0 if to == "uint8" else -limit, x.dtype))
            value = op("where", compare("eq", value, value), value, number(3.0, x.dtype))
        values.append((Cast(value, compute_dtype(to), to), to))
    case = elementwise([source], [v for v, _ in values], 333, rng, [d for _, d in values])
    check(case.kernel)
    samples.assert_same(case, run_native(case, target), expected(case))


@ALL_TARGETS
@pytest.mark.parametrize("small", ["float16", "bfloat16"])
def test_every_small_float_loads_and_every_rounding_is_to_nearest_even(small, target):
    every = np.arange(1 << 16, dtype=np.uint16).view(samples.by_name(small).np)
    case = elementwise([small], [load(0, small, (0, 1))], every.size, np.random.default_rng(0), ["float32"])
    case.arrays[0] = every
    samples.assert_same(case, run_native(case, target), {1: every.astype(np.float32)})
    # Every float32 halfway between two neighbours, just beside it, and the numbers themselves.
    wide = every.astype(np.float32)
    bits = wide.view(np.int32)[np.isfinite(wide)]
    step = 1 << (13 if small == "float16" else 16)
    inputs = np.concatenate([bits + d for d in (0, 1, step // 2 - 1, step // 2, step // 2 + 1)]).astype(np.int32)
    tiny = np.random.default_rng(0).integers(-2**31, 2**31, 20000).astype(np.int32)
    inputs = np.concatenate([inputs, tiny]).view(np.float32)
    back = elementwise(["float32"], [load(0, "float32", (0, 1))], inputs.size, np.random.default_rng(0), [small])
    back.arrays[0] = inputs
    with np.errstate(over="ignore", invalid="ignore"):
        wanted = inputs.astype(samples.by_name(small).np)
    got = run_native(back, target)[1]
    nan = np.isnan(inputs)
    np.testing.assert_array_equal(np.isnan(got.astype(np.float32)), nan)
    np.testing.assert_array_equal(got.view(np.uint16)[~nan], wanted.view(np.uint16)[~nan])


@ALL_TARGETS
@pytest.mark.parametrize("dtype", FLOATS)
def test_remainder_is_exact_for_any_quotient(dtype, target, rng):
    exponents = {"float32": 37, "float64": 300}[dtype]
    n = 3000
    a = (rng.standard_normal(n) * 10.0 ** rng.integers(-exponents, exponents, n)).astype(dtype)
    b = (rng.standard_normal(n) * 10.0 ** rng.integers(-exponents, exponents, n)).astype(dtype)
    a[:500] = rng.integers(-50, 50, 500)
    b[:500] = rng.integers(-9, 9, 500)
    b[500:600] = np.inf
    a[600:700] = np.finfo(dtype).smallest_subnormal * rng.integers(0, 1000, 100)
    b[600:650] = np.finfo(dtype).smallest_subnormal * 7
    case = elementwise([dtype, dtype], [op("fmod", load(0, dtype, (0, 1)), load(1, dtype, (0, 1)))], n, rng, [dtype])
    case.arrays[0], case.arrays[1] = a, b
    with np.errstate(all="ignore"):
        wanted = np.fmod(a, b)
    got = run_native(case, target)[2]
    np.testing.assert_array_equal(got, wanted)
    number_ = ~np.isnan(wanted)
    np.testing.assert_array_equal(np.signbit(got)[number_], np.signbit(wanted)[number_])


# Expressions made at random

@st.composite
def expressions(draw, leaves: list[Expr], depth: int) -> Expr:
    """A DAG over the leaves; what was drawn before may be used again."""
    pool: list[Expr] = list(leaves)
    for _ in range(depth):
        dtype = draw(st.sampled_from(sorted({e.dtype for e in pool})))
        same = [e for e in pool if e.dtype == dtype]
        x, y = draw(st.sampled_from(same)), draw(st.sampled_from(same))
        choices = ["binary", "compare", "cast", "where", "unary"]
        kind = draw(st.sampled_from(choices))
        if kind == "binary":
            names = ["max", "min", "add", "mul"] + (["sub"] if dtype != "bool" else ["and", "xor"])
            names += ["cdiv", "fmod", "or", "shl"] if dtype in INTEGERS else ["div"] if dtype in FLOATS else []
            pool.append(op(draw(st.sampled_from(names)), x, y))
        elif kind == "compare":
            pool.append(compare(draw(st.sampled_from(["eq", "ne", "lt", "ge"])), x, y))
        elif kind == "cast":
            to = draw(st.sampled_from(STORAGE_DTYPES))
            if not (dtype in FLOATS and to in INTEGERS):
                pool.append(Cast(x, compute_dtype(to), to))
        elif kind == "unary" and dtype != "bool":
            pool.append(op(draw(st.sampled_from(["neg", "abs"])), x))
        else:
            conditions = [e for e in pool if e.dtype == "bool"]
            if conditions:
                pool.append(op("where", draw(st.sampled_from(conditions)), x, y))
    return pool[-1]


@given(st.data())
def test_random_expressions(data):
    """Loads that differ by lane and by nothing, scalars, constants and indices, combined in any way."""
    sources = data.draw(st.lists(st.sampled_from(STORAGE_DTYPES), min_size=1, max_size=4))
    leaves: list[Expr] = [Index(0), Index(1), number(2.0), number(3, "int32"), number(True, "bool")]
    for i, d in enumerate(sources):
        terms = data.draw(st.sampled_from([((1, 1),), ((0, 40), (1, 1)), ((0, 1),), (), ((1, 2),), ((0, 1), (1, -1))]))
        offset = 40 if (1, -1) in terms else 0
        leaves.append(load(i, d, *terms, offset=offset))
    values = [data.draw(expressions(leaves, data.draw(st.integers(1, 12)))) for _ in range(data.draw(st.integers(1, 3)))]
    n = data.draw(st.sampled_from((1, 5, 16, 37, 40)))
    out = [v.dtype for v in values]
    extent = data.draw(st.sampled_from((n, Slot(len(sources) + len(out)))))
    count = len(sources)
    body = (Loop(1, extent, "vector", tuple(store(count + k, v, (0, 40), (1, 1)) for k, v in enumerate(values))),)
    k = kernel([(d, False) for d in sources] + [(d, True) for d in out], 1, Phase(((0, 3),), body))
    check(k)
    rng = np.random.default_rng(n)
    arrays = {i: samples.random(rng, d, 160) for i, d in enumerate(sources)}
    arrays.update({count + i: samples.random(rng, d, 120) for i, d in enumerate(out)})
    case = Case(k, arrays, {count + len(out): n})
    target = data.draw(st.sampled_from(targets()))
    samples.assert_same(case, run_native(case, target), expected(case))


# What the text holds

def vector_add(dtype: str = "float32") -> Case:
    return elementwise([dtype, dtype], [op("add", load(0, dtype, (0, 1)), load(1, dtype, (0, 1)))], 9,
                       np.random.default_rng(0), [dtype])


def test_what_does_not_change_is_computed_before_the_loop():
    """exp(w[row]) * x[row, column]: the load and the expensive function stand outside the loop over columns."""
    scale = op("sqrt", load(1, "float32", (0, 1)))
    body = (Loop(1, Slot(3), "vector", (store(2, op("mul", scale, load(0, "float32", (0, Slot(3)), (1, 1))),
                                              (0, Slot(3)), (1, 1)),)),)
    k = kernel([("float32", False), ("float32", False), ("float32", True)], 1, Phase(((0, 4),), body))
    text = emit_cpu(k, "f", host())
    assert text.count("llvm.sqrt") == 1
    assert "float @llvm.sqrt(float" in text
    assert text.index("llvm.sqrt") < text.index("\nloop.")


def test_a_shared_expression_is_emitted_once_a_body():
    x = load(0, "float32", (0, 1))
    shared = op("mul", x, x)
    value = op("add", shared, op("sub", shared, number(1.0)))
    case = elementwise(["float32"], [value, op("neg", shared)], 9, np.random.default_rng(0), ["float32", "float32"])
    text = emit_cpu(case.kernel, "f", host())
    assert text.count("fmul") == 2  # the full vectors and the rest


def test_lanes_are_combined_once_for_nested_reductions():
    case = samples.plane_sum(64, np.random.default_rng(0))
    text = emit_cpu(case.kernel, "f", Target("t", "x86_64-unknown-linux-gnu", "x86-64", "", 16))
    last_loop = text.rindex("\nlatch.")
    assert text.index("fadd <2 x float>") > last_loop


def test_no_flags_that_change_results():
    """Results must be NumPy's operation by operation: nothing may be contracted, reassociated or assumed finite."""
    for make in samples.SAMPLES.values():
        text = emit_cpu(make(9, np.random.default_rng(0)).kernel, "f", host())
        for flag in (" fast ", " contract ", " reassoc ", " nnan ", " ninf ", " nsz ", " arcp ", " afn "):
            assert flag not in text


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_compiles_for_aarch64(name):
    from llvmlite import binding
    target = Target("arm", "aarch64-unknown-linux-gnu", "generic", "+neon", 16)
    tm = machine(target, False)
    module = binding.parse_assembly(emit_cpu(samples.SAMPLES[name](9, np.random.default_rng(0)).kernel, "f", target))
    module.triple = target.triple
    module.verify()
    assert "f_p0" in tm.emit_assembly(module)


def test_emission_is_deterministic():
    texts = {emit_cpu(samples.softmax(9, np.random.default_rng(0)).kernel, "f", host()) for _ in range(3)}
    assert len(texts) == 1


def test_deep_expressions_do_not_overflow_the_stack():
    value: Expr = load(0, "float32", (0, 1))
    for _ in range(5000):
        value = op("neg", value)
    case = elementwise(["float32"], [value], 9, np.random.default_rng(0), ["float32"])
    check(case.kernel)
    text = emit_cpu(case.kernel, "f", host())
    assert text.count("fneg") == 5000


@pytest.mark.parametrize(("extent", "lanes"), [(1, 1), (4, 4), (10, 16), (20, 32), (48, 16), (64, 32), (1000, 32)])
def test_lanes_follow_a_literal_extent(extent, lanes):
    loop = Loop(0, extent, "vector", (store(1, load(0, "float32", (0, 1)), (0, 1)),))
    assert choose(loop, 64)[0] == lanes


def test_cheap_reductions_have_several_chains():
    acc = Acc("sum", "float32")
    loop = Loop(0, Slot(2), "vector", (Update(acc, load(0, "float32", (0, 1))),))
    assert choose(loop, 32) == (32, "masked")


def test_a_check_reports_once_and_leaves_success_alone():
    x = load(0, "float32", (0, 1))
    body = (Loop(0, Slot(2), "vector", (Check(compare("lt", x, number(5.0)), 1, 3),
                                                      Check(compare("gt", x, number(-5.0)), 1, 4))),)
    k = Kernel(((0, "float32", False),), 3, (Phase((), body),))
    for data, wanted in (([1, 2], 11), ([1, 6], 3), ([-6, 1], 4), ([6, -6], 3), ([0] * 40 + [7], 3)):
        case = Case(k, {0: np.array(data, "float32"), 1: np.array([11])}, {2: len(data)})
        for target in targets():
            assert run_native(case, target)[1][0] == wanted


@given(random_kernels())
def test_random_kernels_agree_with_the_interpreter(case):
    """Loops, accumulators, stores and shared values in any nesting; extents of 0 among them."""
    check(case.kernel)
    wanted = expected(case)
    for target in targets():
        samples.assert_same(case, run_native(case, target), wanted)


def test_a_guarded_load_is_not_used_where_its_loop_is_empty():
    """The load is first met in a loop that does not run; the value stored after it is loaded anew."""
    x = load(0, "float32")
    body = (Loop(0, Slot(3), "vector", (store(1, x, (0, 1)),)), store(2, x))
    k = kernel([("float32", False), ("float32", True), ("float32", True)], 1, Phase((), body))
    for n in (0, 3):
        case = Case(k, {0: np.array([7], "f4"), 1: np.zeros(n, "f4"), 2: np.zeros(1, "f4")}, {3: n})
        for target in targets():
            assert run_native(case, target)[2][0] == 7

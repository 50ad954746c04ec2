"""The expansions of mathematical functions against SciPy in float64 (for float32) and mpmath (for float64)."""
from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import scipy.special

from tests.codegen.expr_eval import count_operations, evaluate
from torsh.codegen.kernel_ir import BASIC, COMPUTE_DTYPES, MATH, Arg, Cast, Const, Expr, Op
from torsh.codegen.math import expand_math

#: The largest error in ulps for float32 and float64, and the operations an expansion may have. Measured on compiled code:
#: float32 on every number where the function bends (from 2**-12 or so to where it saturates) and every 13th elsewhere,
#: float64 on some 100,000; plus a little room.
BOUNDS: dict[str, tuple[float, float, int, int]] = {
    "exp": (1.7, 1.5, 18, 24), "exp2": (1.3, 1.2, 17, 23), "expm1": (1.6, 1.9, 23, 29),
    "log": (1.0, 0.9, 30, 36), "log2": (1.0, 0.9, 38, 44), "log10": (1.0, 0.9, 39, 45), "log1p": (1.6, 1.5, 34, 40),
    "sin": (1.7, 0.9, 42, 208), "cos": (1.7, 0.9, 41, 207), "tan": (2.6, 1.8, 41, 200),
    "asin": (2.1, 2.1, 21, 29), "acos": (1.3, 1.2, 24, 32), "atan": (1.5, 1.5, 20, 31),
    "sinh": (2.8, 2.2, 31, 41), "cosh": (1.8, 1.8, 20, 26), "tanh": (2.6, 2.7, 21, 26),
    "asinh": (2.0, 1.7, 37, 43), "acosh": (2.1, 1.9, 35, 41), "atanh": (2.4, 2.0, 32, 38),
    "erf": (1.8, 1.2, 29, 80), "erfc": (4.0, 4.0, 55, 81), "sigmoid": (2.6, 2.4, 21, 26), "rsqrt": (1.5, 1.5, 2, 2),
    "normal_cdf": (1.6, 2.2, 25, 83),  # ulps of 1
    "pow": (1.6, 1.7, 111, 123), "atan2": (1.7, 1.5, 35, 46),
}
TWO_ARGUMENTS = ("pow", "atan2")
ABSOLUTE = ("normal_cdf",)  # its error is no multiple of an ulp of the result
CANCELLING = ("erf", "erfc", "log1p", "expm1", "asinh", "atanh", "tanh", "sinh")  # mpmath's formulas for tiny arguments
ONE_ARGUMENT = [name for name in MATH if name not in TWO_ARGUMENTS + ABSOLUTE]
RANGES = {"acosh": (1.0, 5.0), "log": (0.3, 3.0), "log2": (0.3, 3.0), "log10": (0.3, 3.0), "rsqrt": (0.3, 5.0),
          "asin": (-1.0, 1.0), "acos": (-1.0, 1.0), "atanh": (-1.0, 1.0), "log1p": (-0.99, 3.0)}


@pytest.fixture(autouse=True)
def _no_floating_point_warnings():
    with np.errstate(all="ignore"):
        yield


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))


NUMPY = {"exp": np.exp, "exp2": np.exp2, "expm1": np.expm1, "log": np.log, "log2": np.log2, "log10": np.log10,
         "log1p": np.log1p, "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos,
         "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh, "asinh": np.arcsinh, "acosh": np.arccosh,
         "atanh": np.arctanh, "erf": scipy.special.erf, "erfc": scipy.special.erfc, "sigmoid": sigmoid,
         "rsqrt": lambda x: 1 / np.sqrt(x), "pow": np.power, "atan2": np.arctan2}
MPMATH = {name: getattr(mpmath, name) for name in
          ("exp", "expm1", "log", "log10", "log1p", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh",
           "asinh", "acosh", "atanh", "erf", "erfc", "atan2")}
MPMATH |= {"exp2": lambda x: mpmath.mpf(2) ** x, "log2": lambda x: mpmath.log(x) / mpmath.log(2), "pow": mpmath.power,
           "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)), "rsqrt": lambda x: 1 / mpmath.sqrt(x)}


def compute(name: str, *arrays: np.ndarray) -> np.ndarray:
    dtype = str(arrays[0].dtype)
    arguments = tuple(Arg(i, dtype) for i in range(len(arrays)))
    return evaluate(expand_math(name, arguments, dtype), {id(a): v for a, v in zip(arguments, arrays)})


def ulps_single(result: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The distance of float32 results from a float64 reference; infinity counts as 2**128, NaN must meet NaN."""
    magnitude = np.abs(reference)
    unit = np.ldexp(1.0, np.clip(np.frexp(magnitude)[1] - 24, -149, 104))
    result = np.asarray(result, np.float64)
    finite = np.where(np.isinf(result), np.copysign(2.0 ** 128, result), result)
    capped = np.where(magnitude >= 2.0 ** 128, np.copysign(2.0 ** 128, reference), reference)
    distance = np.abs(finite - capped) / unit
    return np.where(np.isnan(result) & np.isnan(reference), 0.0, np.where(np.isnan(distance), np.inf, distance))


def ulps_double(result: float, reference: mpmath.mpf) -> float:
    """The distance of a float64 from a multiple-precision reference."""
    if math.isinf(result) or math.isinf(float(reference)):
        return 0.0 if result == float(reference) else math.inf
    if math.isnan(result):
        return math.inf
    unit = mpmath.ldexp(1, max(mpmath.frexp(abs(reference))[1] - 53, -1074))
    return float(abs(mpmath.mpf(result) - reference) / unit)


def samples(name: str, dtype: str, count: int) -> np.ndarray:
    """Random bit patterns, all magnitudes around 1, and the range where the function is most itself."""
    generator = np.random.default_rng(7)
    bits = np.uint32 if dtype == "float32" else np.uint64
    low, high = RANGES.get(name, (-5.0, 5.0))
    return np.concatenate([
        generator.integers(0, np.iinfo(bits).max, count, dtype=bits, endpoint=True).view(dtype),
        (10.0 ** generator.uniform(-6, 2.9, count) * generator.choice([-1, 1], count)).astype(dtype),
        generator.uniform(low, high, count).astype(dtype), generator.uniform(low / 5, high / 5, count).astype(dtype)])


@pytest.mark.parametrize("name", ONE_ARGUMENT)
def test_single_precision_is_within_its_bound(name):
    x = samples(name, "float32", 50_000)
    error = ulps_single(compute(name, x), NUMPY[name](x.astype(np.float64)))
    worst = int(error.argmax())
    assert error[worst] <= BOUNDS[name][0], (x[worst], error[worst])


@pytest.mark.parametrize("name", ONE_ARGUMENT)
def test_double_precision_is_within_its_bound(name):
    x = samples(name, "float64", 150)
    result = compute(name, x)
    known = NUMPY[name](x)
    with mpmath.workprec(2200 if name in ("sin", "cos", "tan") else 400):
        for value, got, expected in zip(x.tolist(), result.tolist(), known.tolist()):
            if math.isnan(expected) or math.isinf(expected) or expected in (0.0, 1.0, -1.0):
                # not in the domain, overflow, or so far out that mpmath would need thousands of digits
                assert got == expected or (math.isnan(got) and math.isnan(expected)), value
            elif 1e-60 < abs(value) < 1e4 or name not in CANCELLING:
                assert ulps_double(got, MPMATH[name](mpmath.mpf(value))) <= BOUNDS[name][1], value


@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_reduction_is_right_next_to_multiples_of_a_quarter_turn_and_for_the_largest_numbers(name, dtype):
    top = 127 if dtype == "float32" else 1023
    with mpmath.workprec(2400):
        hard = [float(mpmath.pi / 2 * k) for k in (1, 2, 3, 7, 22, 710, 104348, 1 << 20, 123456789, (1 << 40) + 1)]
        hard += [float(mpmath.ldexp(mpmath.pi / 2, k)) for k in range(1, top - 1, 3 if dtype == "float32" else 13)]
        hard += [16367173 * 2.0 ** 72, 2.0 ** top]
        if dtype == "float64":
            hard += [6381956970095103 * 2.0 ** 797, 2.0 ** 106, 2.0 ** 53 + 2, 1e22, 1.7976931348623157e308]
        x = np.array(hard, dtype)
        for value, got in zip(x.tolist(), compute(name, x).tolist()):
            reference = getattr(mpmath, name)(mpmath.mpf(value))
            if dtype == "float32":
                assert ulps_single(np.float32(got), np.float64(float(reference))) <= BOUNDS[name][0], value
            else:
                assert ulps_double(got, reference) <= BOUNDS[name][1], value


SPECIAL = [0.0, -0.0, math.inf, -math.inf, math.nan, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 22.0, -22.0, 1e3, -1e3, 1e-20,
           -1e-20]


@pytest.mark.parametrize("name", ONE_ARGUMENT)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_special_values_and_signs(name, dtype):
    information = np.finfo(dtype)
    edges = [information.smallest_subnormal, information.tiny, information.max, 1 - information.epsneg,
             1 + information.eps]
    x = np.array(SPECIAL + edges + [-e for e in edges], dtype)
    result = compute(name, x)
    wide = np.float64 if name in ("erf", "erfc", "sigmoid") else np.longdouble
    expected = NUMPY[name](x.astype(wide)).astype(dtype)
    close = np.abs(result - expected) <= 4 * information.eps * np.abs(expected) + information.smallest_subnormal
    same = ((result == expected) | close) & (np.signbit(result) == np.signbit(expected))
    wrong = ~(same | np.isnan(result) & np.isnan(expected))
    assert not wrong.any(), [(v, r, e) for v, r, e in zip(x[wrong], result[wrong], expected[wrong])]


@pytest.mark.parametrize("name", ["exp", "exp2", "sigmoid", "erfc"])
def test_subnormal_results_are_rounded_once(name):
    x = np.linspace(-160, -84, 40_001) if name != "erfc" else np.linspace(9.0, 10.2, 20_001)
    x = x.astype(np.float32)
    reference = NUMPY[name](x.astype(np.float64))
    few = np.abs(reference) < 2.0 ** -140  # an ulp is so large here that only the last rounding shows
    assert few.any()
    assert ulps_single(compute(name, x), reference)[few].max() < 0.51


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["tanh", "erf", "sigmoid"])
def test_saturating_functions_reach_one_and_do_not_pass_it(name, dtype):
    x = np.linspace(0.0, 45.0, 200_001).astype(dtype)
    result = compute(name, x)
    assert result.max() == 1.0
    assert (result[x > 40] == 1.0).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pow_special_cases_are_those_of_c(dtype):
    values = [0.0, 1.0, 2.0, 3.0, 0.5, 1.5, 4.0, 1e-3, math.inf, 1e30, 1e-30, 16777215.0, 16777216.0, 8388607.5]
    values += [-v for v in values] + [math.nan]
    x, y = (v.ravel().astype(dtype) for v in np.meshgrid(values, values))
    result = compute("pow", x, y)
    expected = np.power(x.astype(np.float64), y.astype(np.float64)).astype(dtype)
    near = np.abs(result - expected) <= 2 * np.finfo(dtype).eps * np.abs(expected) + np.finfo(dtype).smallest_subnormal
    same = ((result == expected) | near) & (np.signbit(result) == np.signbit(expected))
    wrong = ~(same | np.isnan(result) & np.isnan(expected))
    assert not wrong.any(), list(zip(x[wrong], y[wrong], result[wrong], expected[wrong]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_normal_distribution_function_is_within_its_absolute_error(dtype):
    x = np.concatenate([np.linspace(-9, 9, 400_001), samples("erf", dtype, 2000)]).astype(dtype)
    result = compute("normal_cdf", x).astype(np.float64)
    known = ~np.isnan(x)
    error = np.abs(result - scipy.special.ndtr(x.astype(np.float64)))[known] / (np.finfo(dtype).eps / 2)
    assert error.max() <= BOUNDS["normal_cdf"][dtype == "float64"]
    assert np.isnan(result[~known]).all()
    assert (result[x > 9] == 1).all()
    assert (result[x < -9] == 0).all()
    assert result[known].max() == 1
    assert result[known].min() == 0


POW_RANGES = [(-126, 127, -2, 2), (-1, 1, -100, 100), (-10, 10, -12, 12), (-149, -120, -1, 1), (-1e-4, 1e-4, -1e6, 1e6)]


@pytest.mark.parametrize(("low", "high", "least", "most"), POW_RANGES)
def test_pow_is_within_its_bounds(low, high, least, most):
    generator = np.random.default_rng(3)
    x = np.exp2(generator.uniform(low, high, 20_000)).astype(np.float32)
    y = generator.uniform(least, most, x.size).astype(np.float32)
    reference = np.power(x.astype(np.longdouble), y.astype(np.longdouble)).astype(np.float64)
    assert ulps_single(compute("pow", x, y), reference).max() <= BOUNDS["pow"][0]
    wide, exponent = x[:200].astype(np.float64) * 1.0000000123, y[:200].astype(np.float64) * 1.000000123
    with mpmath.workprec(300):
        for a, b, got in zip(wide.tolist(), exponent.tolist(), compute("pow", wide, exponent).tolist()):
            assert ulps_double(got, mpmath.power(mpmath.mpf(a), mpmath.mpf(b))) <= BOUNDS["pow"][1], (a, b)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_atan2_is_that_of_c(dtype):
    values = [0.0, 1.0, 2.0, 1e-30, 1e30, math.inf, float(np.finfo(dtype).smallest_subnormal),
              float(np.finfo(dtype).max)]
    values += [-v for v in values] + [math.nan]
    y, x = (v.ravel().astype(dtype) for v in np.meshgrid(values, values))
    result = compute("atan2", y, x)
    expected = np.arctan2(y.astype(np.longdouble), x.astype(np.longdouble)).astype(dtype)
    near = np.abs(result - expected) <= 2 * np.finfo(dtype).eps * np.abs(expected) + np.finfo(dtype).smallest_subnormal
    same = ((result == expected) | near) & (np.signbit(result) == np.signbit(expected))
    wrong = ~(same | np.isnan(result) & np.isnan(expected))
    assert not wrong.any(), list(zip(y[wrong], x[wrong], result[wrong], expected[wrong]))
    generator = np.random.default_rng(4)
    x = (np.exp2(generator.uniform(-30, 30, 20_000)) * generator.choice([-1, 1], 20_000)).astype(dtype)
    y = (np.exp2(generator.uniform(-4, 4, x.size)) * x * generator.choice([-1, 1], x.size)).astype(dtype)
    result = compute("atan2", y, x)
    if dtype == "float32":
        assert ulps_single(result, np.arctan2(y.astype(np.float64), x.astype(np.float64))).max() <= BOUNDS["atan2"][0]
    else:
        with mpmath.workprec(200):
            for a, b, got in zip(y[:300].tolist(), x[:300].tolist(), result[:300].tolist()):
                assert ulps_double(got, mpmath.atan2(mpmath.mpf(a), mpmath.mpf(b))) <= BOUNDS["atan2"][1], (a, b)


def nodes(root: Expr) -> list[Expr]:
    found: dict[int, Expr] = {}
    stack = [root]
    while stack:
        e = stack.pop()
        if id(e) not in found:
            found[id(e)] = e
            stack.extend(e.srcs if isinstance(e, Op) else (e.src,) if isinstance(e, Cast) else ())
    return list(found.values())


@pytest.mark.parametrize("name", MATH)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_expansions_are_basic_well_typed_and_within_their_budget(name, dtype):
    arguments = tuple(Arg(i, dtype) for i in range(2 if name in TWO_ARGUMENTS else 1))
    root = expand_math(name, arguments, dtype)
    assert root.dtype == dtype
    assert count_operations(root) <= BOUNDS[name][2 if dtype == "float32" else 3]
    for e in nodes(root):
        assert isinstance(e, (Op, Cast, Const, Arg))
        assert e.dtype in COMPUTE_DTYPES
        if isinstance(e, Op):
            assert e.name in BASIC
            operands = {s.dtype for s in (e.srcs[1:] if e.name == "where" else e.srcs)}
            assert len(operands) == 1
            assert e.name != "where" or e.srcs[0].dtype == "bool"


def test_only_the_reduction_of_angles_leaves_single_precision():
    for name in MATH:
        arguments = tuple(Arg(i, "float32") for i in range(2 if name in TWO_ARGUMENTS else 1))
        wide = any(e.dtype in ("float64", "int64") for e in nodes(expand_math(name, arguments, "float32")))
        assert wide == (name in ("sin", "cos", "tan")), name


def test_what_cannot_be_expanded_is_refused():
    with pytest.raises(ValueError, match="exp takes 1 operand"):
        expand_math("exp", (Arg(0, "int32"),), "int32")
    with pytest.raises(ValueError, match="pow takes 2 operand"):
        expand_math("pow", (Arg(0, "float32"),), "float32")
    with pytest.raises(KeyError):
        expand_math("gamma", (Arg(0, "float32"),), "float32")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_exponentials_of_minus_infinity_do_not_underflow(dtype):
    """They are zero because a factor is: a product that underflows takes processors a hundred times as long."""
    argument = Arg(0, dtype)
    x = np.array([-math.inf, -1e30, np.finfo(dtype).min], dtype)
    for name, factors in (("exp", 2), ("exp2", 2), ("sigmoid", 2)):
        root = expand_math(name, (argument,), dtype)
        product = root if name != "sigmoid" else root.srcs[1].srcs[0]  # e/(e + 1): e is the product
        for _ in range(factors - 1):
            product = product.srcs[0]
        assert (evaluate(product, {id(argument): x}) == 0).all(), name

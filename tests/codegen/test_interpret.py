"""The interpreter is what generated code is compared with; here it is compared with NumPy."""
from __future__ import annotations

import numpy as np
import pytest

from tests.codegen import kernel_samples as samples
from tests.codegen.kernel_samples import Case, kernel, load, number, op, store
from torsh.codegen.interpret import run
from torsh.codegen.kernel_ir import Cast, Const, Loop, Phase, Slot


def result(case: Case) -> dict[int, np.ndarray]:
    arrays = samples.copies(case.arrays)
    run(case.kernel, case.arguments({}), arrays)
    return arrays


def sample(name: str, n: int, rng: np.random.Generator) -> tuple[Case, dict[int, np.ndarray]]:
    case = samples.SAMPLES[name](n, rng)
    return case, result(case)


@pytest.mark.parametrize("n", samples.SIZES)
def test_pointwise(n, rng):
    case, got = sample("pointwise", n, rng)
    x, y = case.arrays[0], case.arrays[1]
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(got[2], np.maximum(x * y + np.float32(1.5), x - np.float32(0.3)))


@pytest.mark.parametrize("n", samples.SIZES)
def test_strides_and_broadcasting(n, rng):
    case, got = sample("strided", n, rng)
    a, b, c = (case.arrays[i] for i in range(3))
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(got[3][1::2], a[2::3][:n] + b[1::5][:n] + c[::-1])
    case, got = sample("broadcast", n, rng)
    a, b, c = case.arrays[0].reshape(3, 1, n), case.arrays[1].reshape(5, 1), case.arrays[2]
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(got[3].reshape(3, 5, n), a + b * c)


@pytest.mark.parametrize("n", [1, 7, 1000])
def test_gather_and_its_check(n, rng):
    case, got = sample("gather", n, rng)
    index = case.arrays[1]
    np.testing.assert_array_equal(got[2], case.arrays[0][np.clip(index, 0, 12) * 4 + 1])
    assert got[3][0] == (77 if (index > 12).any() else 0)


@pytest.mark.parametrize("n", [0, 2, 5, 40])
def test_masked_loads_and_stores(n, rng):
    case, got = sample("masked", n, rng)
    x, ok = case.arrays[0], case.arrays[1]
    for i in range(n):
        inside = i >= 3 and ok[i]
        value = x[i - 3] if inside else np.float32(5)
        value = value + (x[2 * i - 6] if inside and 2 * i - 6 < n else np.float32(0))
        np.testing.assert_array_equal(got[2][i], value if i & 3 != 2 else np.float32(9))


@pytest.mark.parametrize("n", [1, 9, 1000])
def test_reductions(n, rng):
    case, got = sample("columns", n, rng)
    x = case.arrays[0].reshape(11, n)
    np.testing.assert_allclose(got[1], x.sum(0, dtype="f8"), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(got[2], x.max(0))
    case, got = sample("whole_sum", n, rng)
    np.testing.assert_allclose(got[2][0], case.arrays[0].sum(dtype="f8"), rtol=1e-6)
    case, got = sample("logical", n, rng)
    data = case.arrays[0].reshape(6, n)
    np.testing.assert_array_equal(got[1], data.any(1))
    np.testing.assert_array_equal(got[2], data.all(1))
    np.testing.assert_array_equal(got[3], np.where(data, 3, 1).prod(1))
    case, got = sample("softmax", n, rng)
    x = case.arrays[0].reshape(4, n)
    weights = 1 / (1 + x.max(1, keepdims=True) - x)
    np.testing.assert_allclose(got[1].reshape(4, n), weights / weights.sum(1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8"])
@pytest.mark.parametrize("n", [1, 8, 1000])
def test_extrema_are_numpys(dtype, n, rng):
    """NumPy, too, gives the first NaN or else the first extremum."""
    case, got = sample(f"extrema_{dtype}", n, rng)
    x = case.arrays[0].reshape(6, n)
    for slot, f in enumerate((np.max, np.min, np.argmax, np.argmin)):
        np.testing.assert_array_equal(got[1 + slot], f(x, axis=1))


@pytest.mark.parametrize("n", [1, 8, 100])
def test_order(n, rng):
    case, got = sample("running", n, rng)
    x = case.arrays[0]
    np.testing.assert_array_equal(got[1], np.cumsum(x))
    np.testing.assert_array_equal(got[0], np.cumsum(x))
    case, got = sample("scatter_add", n, rng)
    wanted = np.zeros((6, 20), "f4")
    np.add.at(wanted, case.arrays[1], case.arrays[0].reshape(n, 20))
    np.testing.assert_array_equal(got[2].reshape(6, 20), wanted)
    np.testing.assert_array_equal(got[3], np.bincount(case.arrays[1], minlength=6))


def single(value, *arrays: np.ndarray) -> np.ndarray:
    """The array of a kernel that stores `value` for each element."""
    n, slot = arrays[0].size, len(arrays)
    buffers = [(a.dtype.name, False) for a in arrays] + [(value.to if isinstance(value, Cast) else value.dtype, True)]
    k = kernel(buffers, 1, Phase((), (Loop(0, Slot(slot + 1), "vector", (store(slot, value, (0, 1)),)),)))
    out = np.zeros(n, samples.by_name(buffers[-1][0]).np)
    return result(Case(k, {**dict(enumerate(arrays)), slot: out}, {slot + 1: n}))[slot]


def test_fused_multiply_add_rounds_once():
    a = np.array([1 + 2.0**-12, 3.0, 1.5, np.inf, 2.0**-149], "f4")
    c = np.array([-1 - 2.0**-11, -9.0, 2.0**100, 1.0, 0.0], "f4")
    x, z = load(0, "float32", (0, 1)), load(1, "float32", (0, 1))
    np.testing.assert_array_equal(single(op("fma", x, x, z), a, c),
                                  np.array([2.0**-24, 0.0, 2.0**100, np.inf, 0.0], "f4"))


def test_integer_division_is_defined_everywhere():
    a = np.array([7, -7, 7, -7, 5, -128, -128], "i1")
    b = np.array([2, 2, -2, -2, 0, -1, 0], "i1")
    x, y = load(0, "int8", (0, 1)), load(1, "int8", (0, 1))
    np.testing.assert_array_equal(single(op("cdiv", x, y), a, b), np.array([3, -3, -3, 3, 0, -128, 0], "i1"))
    np.testing.assert_array_equal(single(op("fmod", x, y), a, b), np.array([1, -1, 1, -1, 0, 0, 0], "i1"))


def test_shifts_out_of_range_shift_everything_out():
    a = np.array([1, -1, 5, -5, 3], "i4")
    b = np.array([31, 32, 40, 100, -1], "i4")
    x, y = load(0, "int32", (0, 1)), load(1, "int32", (0, 1))
    np.testing.assert_array_equal(single(op("shl", x, y), a, b), np.array([-2**31, 0, 0, 0, 0], "i4"))
    np.testing.assert_array_equal(single(op("shr", x, y), a, b), np.array([0, -1, 0, -1, 0], "i4"))


def test_casts_to_small_floats_round_and_stay_float32():
    x = load(0, "float32", (0, 1))
    a = np.array([1 + 2.0**-9, 1 + 3 * 2.0**-9, 1e30, np.nan], "f4")
    rounded = single(op("mul", Cast(x, "float32", "bfloat16"), Const(1.0, "float32")), a)
    np.testing.assert_array_equal(rounded, np.array([1.0, 1 + 2.0**-7, np.float32(1e30).astype(samples.by_name(
        "bfloat16").np).astype("f4"), np.nan], "f4"))


def test_reading_outside_a_buffer_is_an_error():
    k = kernel([("float32", False), ("float32", True)], 0, Phase((), (
        Loop(0, 5, "vector", (store(1, op("add", load(0, "float32", (0, 1), offset=1), number(1.0)), (0, 1)),)),)))
    with pytest.raises(IndexError):
        result(Case(k, {0: np.zeros(5, "f4"), 1: np.zeros(5, "f4")}))

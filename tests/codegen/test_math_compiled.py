"""Compiled expansions give, bit for bit, what the evaluator gives; so the bounds of test_math.py hold for them."""
from __future__ import annotations

import ctypes
from fractions import Fraction

import numpy as np
import pytest

from tests.codegen.expr_eval import evaluate, fma32, fma64
from tests.codegen.native import compile_kernel, targets
from torsh.codegen.kernel_ir import MATH, Address, Arg, Kernel, Load, Loop, Op, Phase, Slot, Store
from torsh.codegen.math import expand_math
from torsh.codegen.target import Target


def compiled(name: str, arrays: list[np.ndarray], target: Target) -> np.ndarray:
    """One vector loop over the arrays."""
    dtype, count = str(arrays[0].dtype), len(arrays)
    loads = tuple(Load(i, Address(0, ((0, 1),)), dtype) for i in range(count))
    body = Store(count, Address(0, ((0, 1),)), Op(name, loads, dtype))
    buffers = tuple((i, dtype, i == count) for i in range(count + 1))
    kernel = Kernel(buffers, count + 2, (Phase(((1, 1),), (Loop(0, Slot(count + 1), "vector", (body,)),)),))
    result = np.empty_like(arrays[0])
    slots = [*(a.ctypes.data for a in arrays), result.ctypes.data, result.size]
    table = (ctypes.c_int64 * len(slots))(*slots)
    compile_kernel(kernel, target)[0](ctypes.addressof(table), 0, 1)
    return result


@pytest.mark.parametrize("name", MATH)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_compiled_expansions_equal_the_evaluator(name, dtype):
    generator = np.random.default_rng(11)
    bits = np.uint32 if dtype == "float32" else np.uint64
    wild = generator.integers(0, np.iinfo(bits).max, 3001, dtype=bits, endpoint=True).view(dtype)
    wild = wild[np.abs(wild) > np.finfo(dtype).tiny * 4]  # the evaluator may round subnormal fma twice
    tame = generator.uniform(-4, 4, 5000).astype(dtype)
    x, y = np.concatenate([wild, tame, tame]), np.concatenate([tame, wild, tame[::-1]])
    y = y[:x.size]
    arrays = [x, y] if name in ("pow", "atan2") else [x]
    arguments = tuple(Arg(i, dtype) for i in range(len(arrays)))
    expected = evaluate(expand_math(name, arguments, dtype), {id(a): v for a, v in zip(arguments, arrays)})
    for target in targets():
        result = compiled(name, arrays, target)
        wrong = ~((result.view(bits) == expected.view(bits)) | np.isnan(result) & np.isnan(expected))
        assert not wrong.any(), (target, x[wrong][:4], y[wrong][:4], result[wrong][:4], expected[wrong][:4])


@pytest.mark.parametrize(("dtype", "multiply_add"), [("float32", fma32), ("float64", fma64)])
def test_the_evaluators_fma_rounds_once(dtype, multiply_add):
    generator = np.random.default_rng(2)
    a, b = generator.normal(size=(2, 500)).astype(dtype)
    near = (-a * b).astype(dtype) * (1 + generator.integers(-2, 3, 500) * np.finfo(dtype).eps).astype(dtype)
    far = (generator.normal(size=500) * 10.0 ** generator.uniform(-30, 30, 500)).astype(dtype)
    tie = (generator.integers(1, 64, 500) * np.finfo(dtype).eps / 2).astype(dtype)
    for c in (near, far, tie):
        for p, q, r, got in zip(a, b, c, multiply_add(a, b, c)):
            exact = Fraction(float(p)) * Fraction(float(q)) + Fraction(float(r))
            here = abs(Fraction(float(got)) - exact)
            for neighbour in (np.nextafter(got, dtype_infinity(dtype)), np.nextafter(got, -dtype_infinity(dtype))):
                assert here <= abs(Fraction(float(neighbour)) - exact)


def dtype_infinity(dtype: str) -> np.floating:
    return np.dtype(dtype).type(np.inf)


def test_square_roots_are_rounded_correctly() -> None:
    """All significands with both parities of the exponent; exponents at which the quick way ends; what has no root, zeros and subnormal numbers."""
    import torsh

    def check(bits: np.ndarray) -> None:
        x = bits.view(np.float32)
        with np.errstate(invalid="ignore"):
            np.testing.assert_array_equal(torsh.from_numpy(x).sqrt().numpy().view(np.uint32) & 0x7fffffff, np.sqrt(x).view(np.uint32) & 0x7fffffff)
    check(np.arange(127 << 23, 129 << 23, dtype=np.uint32))
    for exponent in (26, 27, 28, 253, 254):
        check(np.arange(exponent << 23, (exponent + 1) << 23, 97, dtype=np.uint32))
    special = np.array([0, 1, 0x7fffff, 0x800000, 0x80000000, 0xbf800000, 0x7f7fffff, 0x7f800000, 0x7fc00000, 0x3f800000], np.uint32)
    check(special)
    check(np.tile(special, 13))
    assert np.signbit(torsh.from_numpy(np.full(33, -0.0, np.float32)).sqrt().numpy()).all()

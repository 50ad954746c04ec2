"""Evaluate kernel-IR expressions with NumPy, one operation at a time with IEEE rounding: the oracle for expansions.

fma is rounded once: float32 through float64 rounded to odd; float64 through error-free transformations (Boldo and
Melquiond, 2008) on operands scaled to [1/2, 1). Limits: an addend more than 2**300 away from the product counts as
2**300 away, and a result just below the normal range (52 bits) may be rounded twice.
"""
from __future__ import annotations

import numpy as np

from torsh.codegen.kernel_ir import Cast, Const, Expr, Op


def _two_sum(a, b):
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def _round_to_odd(s, error):
    """Where the sum s is inexact and its last bit even, the neighbour on the side of the error."""
    bits = s.view(np.int64)
    fix = (error != 0) & np.isfinite(s) & ((bits & 1) == 0)
    away = (error > 0) == (s > 0)
    step = np.where(away, 1, -1)
    at_zero = fix & (s == 0)
    moved = (bits + np.where(fix & ~at_zero, step, 0)).view(np.float64)
    return np.where(at_zero, error, moved)


def fma32(a, b, c):
    product = a.astype(np.float64) * b
    s, error = _two_sum(product, c.astype(np.float64))
    exact = np.isfinite(s) & np.isfinite(product)
    return np.where(exact, _round_to_odd(s, np.where(exact, error, 0.0)), s).astype(np.float32)


def _two_product(a, b):
    def split(v):
        t = v * 134217729.0
        high = t - (t - v)
        return high, v - high
    p = a * b
    ah, al = split(a)
    bh, bl = split(b)
    return p, ((ah * bh - p) + ah * bl + al * bh) + al * bl


def fma64(a, b, c):
    plain = a * b + c
    fine = np.isfinite(a) & np.isfinite(b) & np.isfinite(c)
    am, ae = np.frexp(np.where(fine, a, 0.0))
    bm, be = np.frexp(np.where(fine, b, 0.0))
    shift = ae.astype(np.int64) + be
    uh, ul = _two_product(am, bm)
    # c on the scale of the product; where it is out of reach it only decides the rounding, so its exponent is clamped
    cm, ce = np.frexp(np.where(fine, c, 0.0))
    relative = np.clip(ce - shift, -300, 300)
    scaled = np.ldexp(cm, relative.astype(np.int32))
    th, tl = _two_sum(scaled, ul)
    vh, vl = _two_sum(uh, th)
    zs, ze = _two_sum(tl, vl)
    z = _round_to_odd(zs, ze)
    result = vh + z
    exponent = np.where(relative == ce - shift, shift, np.where(ce - shift > 0, ce - 300, shift))
    below_normal = np.frexp(result)[1] + exponent < -1021
    result = np.where(below_normal, _round_to_odd(*_two_sum(vh, z)), result)  # ldexp rounds these a second time
    result = np.ldexp(result, exponent.astype(np.int32))
    return np.where(~fine | (am == 0) | (bm == 0) | (c == 0) | (result == 0), plain, result)


def _fma(a, b, c):
    return fma32(a, b, c) if a.dtype == np.float32 else fma64(a, b, c)


OPERATIONS = {
    "neg": np.negative, "abs": np.abs, "sqrt": np.sqrt, "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc,
    "rint": np.rint, "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide,
    "max": np.maximum, "min": np.minimum,
    "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor, "shl": np.left_shift, "shr": np.right_shift,
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "where": np.where, "fma": _fma, "not": np.invert, "fmod": np.fmod,
}


def evaluate(root: Expr, inputs: dict[int, np.ndarray]) -> np.ndarray:
    """The value of `root`, given arrays for its leaves by `id`."""
    values: dict[int, np.ndarray] = dict(inputs)
    shape = next(iter(inputs.values())).shape

    def value(e: Expr) -> np.ndarray:
        known = values.get(id(e))
        if known is not None:
            return known
        if isinstance(e, Const):
            result = np.full(shape, e.value, dtype=e.dtype)
        elif isinstance(e, Cast):
            assert e.dtype == e.to
            result = value(e.src).astype(e.to)
        else:
            assert isinstance(e, Op), e
            sources = [value(s) for s in e.srcs]
            if e.name == "bitcast":
                result = sources[0].view(e.dtype)
            else:
                for source, src in zip(sources, e.srcs):
                    if e.name != "where":
                        assert src.dtype == e.srcs[0].dtype, (e.name, [s.dtype for s in e.srcs])
                    assert source.dtype == np.dtype(src.dtype)
                result = OPERATIONS[e.name](*sources)
            assert result.dtype == np.dtype(e.dtype), (e.name, result.dtype, e.dtype)
        values[id(e)] = result
        return result

    with np.errstate(all="ignore"):
        return value(root)


def count_operations(root: Expr) -> int:
    """Operations in the DAG, each shared one counted once; constants and bitcasts are free."""
    seen: set[int] = set()
    count = 0
    stack = [root]
    while stack:
        e = stack.pop()
        if id(e) in seen:
            continue
        seen.add(id(e))
        if isinstance(e, Cast):
            count += 1
            stack.append(e.src)
        elif isinstance(e, Op):
            count += e.name != "bitcast"
            stack.extend(e.srcs)
    return count

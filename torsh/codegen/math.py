"""Mathematical functions as basic operations, the same on every target.

`expand_math` is the one entry. The expansions are branch-free: both sides of a `where` are computed. They follow C's
special values, signed zeros and subnormal numbers, for every argument; the largest errors stand in
tests/codegen/test_math.py: 1 to 2 ulp, up to 2.8 for sinh, tan, tanh, sigmoid and atanh, 3.9 for erfc;
normal_cdf errs by as much as an ulp of 1, in its lower tail too.

They rely on IEEE arithmetic with a true fma: a target must not reassociate, contract or assume finite values.
"""
from __future__ import annotations

from collections.abc import Callable

from torsh.codegen import math_erf, math_exp, math_log, math_trig
from torsh.codegen.kernel_ir import MATH, Expr
from torsh.codegen.math_build import div, sqrt


def _rsqrt(x: Expr) -> Expr:
    return div(1.0, sqrt(x))


_EXPANSIONS: dict[str, Callable[..., Expr]] = {
    "exp": math_exp.exp, "exp2": math_exp.exp2, "expm1": math_exp.expm1, "sinh": math_exp.sinh, "cosh": math_exp.cosh,
    "tanh": math_exp.tanh, "sigmoid": math_exp.sigmoid,
    "log": math_log.log, "log2": math_log.log2, "log10": math_log.log10, "log1p": math_log.log1p,
    "asinh": math_log.asinh, "acosh": math_log.acosh, "atanh": math_log.atanh, "pow": math_log.power,
    "sin": math_trig.sin, "cos": math_trig.cos, "tan": math_trig.tan, "asin": math_trig.asin, "acos": math_trig.acos,
    "atan": math_trig.atan, "atan2": math_trig.atan2,
    "erf": math_erf.erf, "erfc": math_erf.erfc, "normal_cdf": math_erf.normal_cdf,
    "rsqrt": _rsqrt,
}
assert set(_EXPANSIONS) == set(MATH)


def expand_math(name: str, srcs: tuple[Expr, ...], dtype: str) -> Expr:
    """The value of the function `name` (one of kernel_ir.MATH) of `srcs` as a DAG of basic operations and casts.

    `srcs` are one expression (two for pow and atan2) of dtype `dtype`, "float32" or "float64"; the result has that
    dtype. Raises ValueError for another dtype or another number of sources, KeyError for an unknown name.

    >>> from torsh.codegen.kernel_ir import Arg
    >>> expand_math("rsqrt", (Arg(0, "float32"),), "float32").name
    'div'
    """
    expansion = _EXPANSIONS[name]
    wanted = 2 if name in ("pow", "atan2") else 1
    if dtype not in ("float32", "float64") or len(srcs) != wanted or any(s.dtype != dtype for s in srcs):
        raise ValueError(f"expand_math: {name} takes {wanted} operand(s) of the result's dtype, float32 or float64; "
                         f"got {[s.dtype for s in srcs]} for {dtype}")
    return expansion(*srcs)

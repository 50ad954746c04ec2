"""All pointwise operations under one name, and the operators of tensors that they make."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torsh.core.dtypes import bool_
from torsh.graph import primitives as p
from torsh.ops.arithmetic import add, addcdiv, addcmul, div, floor_divide, fmod, lerp, mul, pow, remainder, rsub, sub
from torsh.ops.comparison import (
    bitwise_and,
    bitwise_left_shift,
    bitwise_not,
    bitwise_or,
    bitwise_right_shift,
    bitwise_xor,
    clamp,
    clamp_max,
    clamp_min,
    eq,
    fmax,
    fmin,
    ge,
    gt,
    isnan,
    isneginf,
    isposinf,
    le,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    lt,
    maximum,
    minimum,
    ne,
    where,
)
from torsh.ops.declare import conj_if, differentiable, float_type, need_a_tensor, need_tensors
from torsh.ops.dispatch import same_type
from torsh.ops.elementary import (
    abs,
    acos,
    acosh,
    asin,
    asinh,
    atan,
    atan2,
    atanh,
    builtin_abs,
    ceil,
    cos,
    cosh,
    erf,
    erfc,
    exp,
    exp2,
    expm1,
    floor,
    frac,
    isfinite,
    isinf,
    log,
    log1p,
    log2,
    log10,
    neg,
    normal_cdf,
    positive,
    reciprocal,
    rint,
    round,
    rsqrt,
    sgn,
    sigmoid,
    sign,
    sin,
    sinh,
    sqrt,
    square,
    tan,
    tanh,
    trunc,
)
from torsh.tensor.tensor import Tensor, attribute, operators


def _is_operand(x: Any) -> bool:
    return isinstance(x, (Tensor, int, float, complex, bool)) or (hasattr(x, "dtype") and getattr(x, "ndim", 1) == 0)


def _add_operator(self: Tensor, other: Any) -> Any:
    if isinstance(other, Tensor) and other._dtype is self._dtype and other._dtype is not bool_:
        return same_type(p.ADD, self, other, "add")
    return add(self, other) if _is_operand(other) else NotImplemented


def _sub_operator(self: Tensor, other: Any) -> Any:
    if isinstance(other, Tensor) and other._dtype is self._dtype and other._dtype is not bool_:
        return same_type(p.SUB, self, other, "sub")
    return sub(self, other) if _is_operand(other) else NotImplemented


def _mul_operator(self: Tensor, other: Any) -> Any:
    if isinstance(other, Tensor) and other._dtype is self._dtype and other._dtype is not bool_:
        return same_type(p.MUL, self, other, "mul")
    return mul(self, other) if _is_operand(other) else NotImplemented


def _truediv_operator(self: Tensor, other: Any) -> Any:
    if isinstance(other, Tensor) and other._dtype is self._dtype and other._dtype.category >= 2:
        return same_type(p.DIV, self, other, "div")
    return div(self, other) if _is_operand(other) else NotImplemented


operators.add, operators.sub, operators.mul, operators.truediv = _add_operator, _sub_operator, _mul_operator, _truediv_operator


def _or_not_implemented(f: Callable[..., Any]) -> Callable[..., Any]:
    def operator(self: Tensor, other: Any) -> Any:
        return f(self, other) if _is_operand(other) else NotImplemented
    return operator


def _reflected(f: Callable[..., Any]) -> Callable[..., Any]:
    def swapped(self: Tensor, other: Any) -> Any:
        need_tensors(f.__name__, self)
        return f(other, self)
    return _or_not_implemented(swapped)


for _n, _f in (("add", add), ("sub", sub), ("mul", mul), ("truediv", div), ("floordiv", floor_divide), ("mod", remainder), ("pow", pow),
               ("and", bitwise_and), ("or", bitwise_or), ("xor", bitwise_xor), ("lshift", bitwise_left_shift), ("rshift", bitwise_right_shift)):
    if _n not in ("add", "sub", "mul", "truediv"):  # these are the class's own: the slot is reached without a look-up
        attribute(f"__{_n}__", _or_not_implemented(_f))
    attribute(f"__r{_n}__", _reflected(_f))
for _n, _m in (("add", "add_"), ("sub", "sub_"), ("mul", "mul_"), ("truediv", "div_"), ("floordiv", "floor_divide_"), ("mod", "remainder_"),
               ("pow", "pow_"), ("and", "bitwise_and_"), ("or", "bitwise_or_"), ("xor", "bitwise_xor_"), ("lshift", "bitwise_left_shift_"),
               ("rshift", "bitwise_right_shift_")):
    attribute(f"__i{_n}__", getattr(Tensor, _m))
for _n, _f in (("eq", eq), ("ne", ne), ("lt", lt), ("le", le), ("gt", gt), ("ge", ge)):
    attribute(f"__{_n}__", _or_not_implemented(_f))
for _n, _g in (("neg", neg), ("pos", positive), ("abs", abs), ("invert", bitwise_not)):
    attribute(f"__{_n}__", lambda self, _g=_g: _g(self))

__all__ = ["abs", "acos", "acosh", "add", "addcdiv", "addcmul", "asin", "asinh", "atan", "atan2", "atanh", "bitwise_and", "bitwise_left_shift", "bitwise_not",
           "bitwise_or", "bitwise_right_shift", "bitwise_xor", "builtin_abs", "ceil", "clamp", "clamp_max", "clamp_min", "conj_if", "cos", "cosh",
           "differentiable", "div", "eq", "erf", "erfc", "exp", "exp2", "expm1", "float_type", "floor", "floor_divide", "fmax", "fmin", "fmod", "frac", "ge",
           "gt", "isfinite", "isinf", "isnan", "isneginf", "isposinf", "le", "lerp", "log", "log10", "log1p", "log2", "logical_and", "logical_not",
           "logical_or", "logical_xor", "lt", "maximum", "minimum", "mul", "ne", "need_a_tensor", "need_tensors", "neg", "normal_cdf", "positive", "pow",
           "reciprocal", "remainder", "rint", "round", "rsqrt", "rsub", "sgn", "sigmoid", "sign", "sin", "sinh", "sqrt", "square", "sub", "tan", "tanh",
           "trunc", "where"]

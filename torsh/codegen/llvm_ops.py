"""LLVM instructions for the basic operations, conversions and reductions of the kernel IR, for any number of lanes.

A value is the text of an LLVM operand without its type; the type follows from the dtype and the number of lanes.
"""
from __future__ import annotations

import struct

from torsh.codegen.llvm_helpers import ROOT, fmod_helper, root_helper

#: In registers.
TYPE = {"bool": "i1", "uint8": "i8", "int8": "i8", "int16": "i16", "int32": "i32", "int64": "i64",
        "float32": "float", "float64": "double"}
#: In memory.
MEMORY_TYPE = {**TYPE, "bool": "i8", "float16": "i16", "bfloat16": "i16"}
BYTES = {"bool": 1, "uint8": 1, "int8": 1, "int16": 2, "int32": 4, "int64": 8, "float16": 2, "bfloat16": 2,
         "float32": 4, "float64": 8}
FLOATING = ("float32", "float64")
UNSIGNED = ("bool", "uint8")

_FLOAT_COMPARE = {"eq": "oeq", "ne": "une", "lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge"}
_ROUNDING = {"floor": "floor", "ceil": "ceil", "trunc": "trunc", "rint": "roundeven"}
_FLOAT_BINARY = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}
_BOOL_BINARY = {"add": "or", "mul": "and", "max": "or", "min": "and", "and": "and", "or": "or", "xor": "xor"}
_COMBINE = {"sum": "add", "prod": "mul", "max": "max", "min": "min", "any": "or", "all": "and", "add": "add",
            "mul": "mul"}
NO_INDEX = (1 << 63) - 1


class Code:
    """Appends instructions to the list `out` and names their results; `helpers` collects internal functions by name."""
    __slots__ = ("out", "count", "helpers", "half", "reciprocal_roots")

    def __init__(self, half: bool) -> None:
        self.out: list = []
        self.count = 0
        self.helpers: dict[str, str] = {}
        self.half = half  # the target converts float16 itself
        self.reciprocal_roots = False  # the target has AVX-512's estimates of reciprocal square roots

    def __call__(self, text: str) -> str:
        self.count += 1
        name = f"%v{self.count}"
        self.out.append(f"  {name} = {text}")
        return name

    def do(self, text: str) -> None:
        self.out.append("  " + text)


def lanes_of(scalar_type: str, lanes: int) -> str:
    return scalar_type if lanes == 1 else f"<{lanes} x {scalar_type}>"


def is_float(dtype: str) -> bool:
    return dtype == "float32" or dtype == "float64"


def literal(value: float | int | bool, dtype: str) -> str:
    """The text of a scalar constant."""
    if dtype == "bool":
        return "true" if value else "false"
    if dtype == "float64":
        return f"0x{struct.unpack('<Q', struct.pack('<d', float(value)))[0]:016X}"
    if dtype == "float32":
        try:
            rounded = struct.unpack("<f", struct.pack("<f", float(value)))[0]
        except OverflowError:
            rounded = float("inf") if value > 0 else float("-inf")
        return f"0x{struct.unpack('<Q', struct.pack('<d', rounded))[0]:016X}"
    bits = 8 * BYTES[dtype]
    wrapped = int(value) & ((1 << bits) - 1)
    return str(wrapped - (1 << bits) if wrapped >> (bits - 1) else wrapped)


def constant(value: float | int | bool, dtype: str, lanes: int) -> str:
    """The text of a constant with the same value in all lanes."""
    text = literal(value, dtype)
    return text if lanes == 1 else f"splat ({TYPE[dtype]} {text})"


def splat(c: Code, text: str, scalar_type: str, lanes: int) -> str:
    if lanes == 1:
        return text
    first = c(f"insertelement <{lanes} x {scalar_type}> poison, {scalar_type} {text}, i64 0")
    return c(f"shufflevector <{lanes} x {scalar_type}> {first}, <{lanes} x {scalar_type}> poison, "
             f"<{lanes} x i32> zeroinitializer")


def select(c: Code, cond: str, a: str, b: str, t: str, lanes: int) -> str:
    return c(f"select {lanes_of('i1', lanes)} {cond}, {t} {a}, {t} {b}")


def operation(c: Code, name: str, dtype: str, source: str, lanes: int, args: list[str],
              second: float | int | bool | None = None) -> str:
    """Emit a basic operation giving `dtype` from operands of dtype `source` (where: of the last two).

    `second` is the second operand's value where it is a constant, for shifts and integer division."""
    t = lanes_of(TYPE[dtype], lanes)
    a = args[0]
    if len(args) == 1:
        return _unary(c, name, dtype, source, t, lanes, a)
    b = args[1]
    if name == "where":
        return select(c, a, b, args[2], t, lanes)
    if name == "fma":
        return c(f"call {t} @llvm.fma({t} {a}, {t} {b}, {t} {args[2]})")
    if dtype == "bool" and name in _FLOAT_COMPARE:
        st = lanes_of(TYPE[source], lanes)
        if is_float(source):
            return c(f"fcmp {_FLOAT_COMPARE[name]} {st} {a}, {b}")
        sign = "" if name in ("eq", "ne") else "u" if source in UNSIGNED else "s"
        return c(f"icmp {sign}{name} {st} {a}, {b}")
    if dtype == "bool":
        return c(f"{_BOOL_BINARY[name]} {t} {a}, {b}")
    if is_float(dtype):
        if name in _FLOAT_BINARY:
            return c(f"{_FLOAT_BINARY[name]} {t} {a}, {b}")
        if name in ("max", "min"):
            return _float_extremum(c, name, t, lanes, a, b)
        helper, text = fmod_helper(TYPE[dtype], lanes)
        c.helpers.update(text)
        return c(f"call {t} @{helper}({t} {a}, {t} {b})")
    if name in ("add", "sub", "mul", "and", "or", "xor"):
        return c(f"{name} {t} {a}, {b}")
    if name in ("max", "min"):
        return c(f"call {t} @llvm.{'u' if dtype in UNSIGNED else 's'}{name}({t} {a}, {t} {b})")
    known = None if second is None else int(second)
    if name in ("shl", "shr"):
        return _shift(c, name, dtype, t, lanes, a, b, known)
    return _integer_division(c, name, dtype, t, lanes, a, b, known)


def _unary(c: Code, name: str, dtype: str, source: str, t: str, lanes: int, a: str) -> str:
    if name == "bitcast":
        return c(f"bitcast {lanes_of(TYPE[source], lanes)} {a} to {t}")
    if name == "not":
        return c(f"xor {t} {a}, {constant(-1 if dtype != 'bool' else True, dtype, lanes)}")
    if is_float(dtype):
        if name == "neg":
            return c(f"fneg {t} {a}")
        if name == "sqrt" and dtype == "float32" and c.reciprocal_roots and lanes % 16 == 0:
            return _reciprocal_root(c, lanes, a)
        intrinsic = {"abs": "fabs", "sqrt": "sqrt"}.get(name) or _ROUNDING[name]
        return c(f"call {t} @llvm.{intrinsic}({t} {a})")
    if name == "neg":
        return c(f"sub {t} zeroinitializer, {a}" if lanes > 1 else f"sub {t} 0, {a}")
    if dtype in UNSIGNED:  # abs
        return a
    return c(f"call {t} @llvm.abs({t} {a}, i1 false)")


def _reciprocal_root(c: Code, lanes: int, a: str) -> str:
    """Square roots of sixteen lanes at a time."""
    c.helpers.update(root_helper())
    parts = [a]
    if lanes > 16:
        parts = [c(f"shufflevector <{lanes} x float> {a}, <{lanes} x float> poison, <16 x i32> <{', '.join([f'i32 {i}' for i in range(at, at + 16)])}>")
                 for at in range(0, lanes, 16)]
    parts, size = [c(f"call <16 x float> @{ROOT}(<16 x float> {part})") for part in parts], 16
    while len(parts) > 1:
        both = ", ".join([f"i32 {i}" for i in range(2 * size)])
        parts = [c(f"shufflevector <{size} x float> {x}, <{size} x float> {y}, <{2 * size} x i32> <{both}>")
                 for x, y in zip(parts[::2], parts[1::2], strict=True)]
        size *= 2
    return parts[0]


def _float_extremum(c: Code, name: str, t: str, lanes: int, a: str, b: str) -> str:
    """NaN if an operand is: the machine's instruction gives b where one is NaN, so only a needs looking at."""
    better = c(f"fcmp {'ogt' if name == 'max' else 'olt'} {t} {a}, {b}")
    chosen = select(c, better, a, b, t, lanes)
    nan = c(f"fcmp uno {t} {a}, {a}")
    return select(c, nan, a, chosen, t, lanes)


def _shift(c: Code, name: str, dtype: str, t: str, lanes: int, a: str, b: str, amount: int | None) -> str:
    """Amounts outside [0, bits) shift everything out (LLVM's own shifts would be undefined)."""
    bits = 8 * BYTES[dtype]
    signed = name == "shr" and dtype not in UNSIGNED
    instruction = "shl" if name == "shl" else "ashr" if signed else "lshr"
    if amount is not None and 0 <= amount < bits:
        return c(f"{instruction} {t} {a}, {b}")
    if signed:
        limit = constant(bits - 1, dtype, lanes)
        return c(f"ashr {t} {a}, {c(f'call {t} @llvm.umin({t} {b}, {t} {limit})')}")
    inside = c(f"icmp ult {t} {b}, {constant(bits, dtype, lanes)}")
    # Masked, or LLVM would leave the choice to PTX's shift, which takes 32 bits of the amount: 1 << 2**32 was 1.
    b = c(f"and {t} {b}, {constant(bits - 1, dtype, lanes)}")
    return select(c, inside, c(f"{instruction} {t} {a}, {b}"), constant(0, dtype, lanes), t, lanes)


def _integer_division(c: Code, name: str, dtype: str, t: str, lanes: int, a: str, b: str, divisor: int | None) -> str:
    """cdiv and fmod of integers, defined for the divisors 0 and -1."""
    signed = dtype not in UNSIGNED
    sign = "s" if signed else "u"
    if divisor is not None and divisor not in (0, -1):
        return c(f"{sign}{'div' if name == 'cdiv' else 'rem'} {t} {a}, {b}")
    one, zero = constant(1, dtype, lanes), constant(0, dtype, lanes)
    is_zero = c(f"icmp eq {t} {b}, {zero}")
    unsafe = is_zero
    if signed:
        is_minus = c(f"icmp eq {t} {b}, {constant(-1, dtype, lanes)}")
        unsafe = c(f"or {lanes_of('i1', lanes)} {is_zero}, {is_minus}")
    safe = select(c, unsafe, one, b, t, lanes)
    if lanes > 1 and dtype != "int64":
        quotient = _divide_in_float(c, dtype, t, lanes, sign, a, safe)
        if name == "fmod":
            return c(f"sub {t} {a}, {select(c, unsafe, a, c(f'mul {t} {quotient}, {safe}'), t, lanes)}")
    elif name == "fmod":
        return c(f"{sign}rem {t} {a}, {safe}")
    else:
        quotient = c(f"{sign}div {t} {a}, {safe}")
    if signed:
        quotient = select(c, is_minus, c(f"sub {t} {zero}, {a}"), quotient, t, lanes)
    return select(c, is_zero, zero, quotient, t, lanes)


def _divide_in_float(c: Code, dtype: str, t: str, lanes: int, sign: str, a: str, b: str) -> str:
    """Vector units have no integer division. The rounded floating quotient truncates to the right integer because
    its error (below 2**-24 or 2**-53 of it) is smaller than the 1/b that separates it from the next integer."""
    f = lanes_of("double" if dtype == "int32" else "float", lanes)
    fa, fb = c(f"{sign}itofp {t} {a} to {f}"), c(f"{sign}itofp {t} {b} to {f}")
    wide = lanes_of("i32", lanes)
    quotient = c(f"fptosi {f} {c(f'fdiv {f} {fa}, {fb}')} to {wide}")
    return quotient if dtype == "int32" else c(f"trunc {wide} {quotient} to {t}")


def convert(c: Code, source: str, to: str, lanes: int, a: str) -> str:
    """A Cast from compute dtype `source` to storage dtype `to`; the result has the compute dtype of `to`."""
    if to in ("float16", "bfloat16"):
        single = convert(c, source, "float32", lanes, a)
        return from_memory(c, to, lanes, to_memory(c, to, lanes, single))
    if source == to:
        return a
    s, t = lanes_of(TYPE[source], lanes), lanes_of(TYPE[to], lanes)
    if is_float(source):
        if to == "bool":
            return c(f"fcmp une {s} {a}, {constant(0, source, lanes)}")
        if is_float(to):
            return c(f"{'fpext' if to == 'float64' else 'fptrunc'} {s} {a} to {t}")
        # Out of range LLVM gives poison; frozen it is some integer.
        wide = t if BYTES[to] >= 4 else lanes_of("i32", lanes)
        number = c(f"freeze {wide} {c(f'fptosi {s} {a} to {wide}')}")
        return number if wide == t else c(f"trunc {wide} {number} to {t}")
    if to == "bool":
        return c(f"icmp ne {s} {a}, {constant(0, source, lanes)}")
    unsigned = source in UNSIGNED
    if is_float(to):
        return c(f"{'u' if unsigned else 's'}itofp {s} {a} to {t}")
    if source != "bool" and BYTES[to] <= BYTES[source]:
        return a if s == t else c(f"trunc {s} {a} to {t}")
    return c(f"{'z' if unsigned else 's'}ext {s} {a} to {t}")


def from_memory(c: Code, dtype: str, lanes: int, a: str) -> str:
    """The register value of what lies in memory as storage dtype `dtype`."""
    if dtype == "bool":
        return c(f"icmp ne {lanes_of('i8', lanes)} {a}, {constant(0, 'uint8', lanes)}")
    if dtype not in ("float16", "bfloat16"):
        return a
    i16, i32, f32 = lanes_of("i16", lanes), lanes_of("i32", lanes), lanes_of("float", lanes)
    if dtype == "float16" and c.half:
        half = lanes_of("half", lanes)
        return c(f"fpext {half} {c(f'bitcast {i16} {a} to {half}')} to {f32}")
    wide = c(f"zext {i16} {a} to {i32}")
    if dtype == "bfloat16":
        return c(f"bitcast {i32} {c(f'shl {i32} {wide}, {_i32(16, lanes)}')} to {f32}")
    # float16 by hand: move the bits into place and scale by 2**112, which also makes subnormals right;
    # infinity and NaN, which land on 2**16 and more, get the exponent 255.
    moved = c(f"shl {i32} {c(f'and {i32} {wide}, {_i32(0x7FFF, lanes)}')}, {_i32(13, lanes)}")
    scale = constant(2.0 ** 112, "float32", lanes)
    scaled = c(f"fmul {f32} {c(f'bitcast {i32} {moved} to {f32}')}, {scale}")
    bits = c(f"bitcast {f32} {scaled} to {i32}")
    special = c(f"icmp uge {i32} {moved}, {_i32(0x7C00 << 13, lanes)}")
    bits = c(f"or {i32} {bits}, {select(c, special, _i32(0x7F800000, lanes), _i32(0, lanes), i32, lanes)}")
    sign = c(f"shl {i32} {c(f'and {i32} {wide}, {_i32(0x8000, lanes)}')}, {_i32(16, lanes)}")
    return c(f"bitcast {i32} {c(f'or {i32} {bits}, {sign}')} to {f32}")


def _i32(value: int, lanes: int) -> str:
    return constant(value, "int32", lanes)


def to_memory(c: Code, dtype: str, lanes: int, a: str) -> str:
    """What lies in memory as storage dtype `dtype` for a register value of its compute dtype."""
    if dtype == "bool":
        return c(f"zext {lanes_of('i1', lanes)} {a} to {lanes_of('i8', lanes)}")
    if dtype not in ("float16", "bfloat16"):
        return a
    i16, i32, f32 = lanes_of("i16", lanes), lanes_of("i32", lanes), lanes_of("float", lanes)
    if dtype == "float16" and c.half:
        half = lanes_of("half", lanes)
        return c(f"bitcast {half} {c(f'fptrunc {f32} {a} to {half}')} to {i16}")
    bits = c(f"bitcast {f32} {a} to {i32}")
    nan = c(f"fcmp uno {f32} {a}, {a}")
    if dtype == "bfloat16":
        odd = c(f"and {i32} {c(f'lshr {i32} {bits}, {_i32(16, lanes)}')}, {_i32(1, lanes)}")
        sum1 = c(f"add {i32} {bits}, {c(f'add {i32} {odd}, {_i32(0x7FFF, lanes)}')}")
        kept = c(f"or {i32} {bits}, {_i32(0x400000, lanes)}")
        high = c(f"lshr {i32} {select(c, nan, kept, sum1, i32, lanes)}, {_i32(16, lanes)}")
        return c(f"trunc {i32} {high} to {i16}")
    return _to_half(c, lanes, bits, nan)


def _to_half(c: Code, lanes: int, bits: str, nan: str) -> str:
    """float16 by integer arithmetic, to nearest even; small numbers by adding 0.5, whose last bit has their weight."""
    i16, i32, f32 = lanes_of("i16", lanes), lanes_of("i32", lanes), lanes_of("float", lanes)
    sign = c(f"and {i32} {c(f'lshr {i32} {bits}, {_i32(16, lanes)}')}, {_i32(0x8000, lanes)}")
    size = c(f"and {i32} {bits}, {_i32(0x7FFFFFFF, lanes)}")
    odd = c(f"and {i32} {c(f'lshr {i32} {size}, {_i32(13, lanes)}')}, {_i32(1, lanes)}")
    rebased = c(f"add {i32} {size}, {_i32(((15 - 127) << 23) + 0xFFF, lanes)}")
    normal = c(f"lshr {i32} {c(f'add {i32} {rebased}, {odd}')}, {_i32(13, lanes)}")
    half = constant(0.5, "float32", lanes)
    raised = c(f"fadd {f32} {c(f'bitcast {i32} {size} to {f32}')}, {half}")
    shifted = c(f"bitcast {f32} {raised} to {i32}")
    small = c(f"sub {i32} {shifted}, {_i32(0x3F000000, lanes)}")
    is_small = c(f"icmp ult {i32} {size}, {_i32(113 << 23, lanes)}")
    is_big = c(f"icmp uge {i32} {size}, {_i32(0x477FF000, lanes)}")
    result = select(c, is_small, small, normal, i32, lanes)
    result = select(c, is_big, _i32(0x7C00, lanes), result, i32, lanes)
    kept = c(f"or {i32} {c(f'lshr {i32} {size}, {_i32(13, lanes)}')}, {_i32(0x7E00, lanes)}")
    kept = c(f"and {i32} {kept}, {_i32(0x7FFF, lanes)}")
    result = select(c, nan, kept, result, i32, lanes)
    return c(f"trunc {i32} {c(f'or {i32} {result}, {sign}')} to {i16}")


def identity(op: str, dtype: str) -> float | int | bool:
    """What an accumulator starts with."""
    if op in ("sum", "any", "add"):
        return False if dtype == "bool" else 0
    if op in ("prod", "all", "mul"):
        return True if dtype == "bool" else 1
    largest = op in ("min", "argmin")
    if is_float(dtype):
        return float("inf") if largest else float("-inf")
    if dtype == "bool":
        return largest
    bits = 8 * BYTES[dtype]
    if dtype == "uint8":
        return 255 if largest else 0
    return (1 << (bits - 1)) - 1 if largest else -(1 << (bits - 1))


def combine(c: Code, op: str, dtype: str, lanes: int, a: str, b: str) -> str:
    """One step of a reduction or of a read-modify-write store."""
    return operation(c, _COMBINE[op], dtype, dtype, lanes, [a, b])


def combine_indexed(c: Code, op: str, dtype: str, lanes: int, a: tuple[str, str],
                    b: tuple[str, str]) -> tuple[str, str]:
    """One step of argmax/argmin on (value, index) pairs: NaN before the extremum, the smaller index among equals."""
    t, i64, i1 = lanes_of(TYPE[dtype], lanes), lanes_of("i64", lanes), lanes_of("i1", lanes)
    earlier = c(f"icmp slt {i64} {b[1]}, {a[1]}")
    if is_float(dtype):
        nan_a = c(f"fcmp uno {t} {a[0]}, {a[0]}")
        nan_b = c(f"fcmp uno {t} {b[0]}, {b[0]}")
        better = c(f"fcmp {'ugt' if op == 'argmax' else 'ult'} {t} {b[0]}, {a[0]}")  # true if one is NaN
        number_a = c(f"fcmp ord {t} {a[0]}, {a[0]}")
        better = c(f"and {i1} {better}, {number_a}")
        equal = c(f"or {i1} {c(f'fcmp oeq {t} {a[0]}, {b[0]}')}, {c(f'and {i1} {nan_a}, {nan_b}')}")
    else:
        sign = "u" if dtype in UNSIGNED else "s"
        better = c(f"icmp {sign}{'gt' if op == 'argmax' else 'lt'} {t} {b[0]}, {a[0]}")
        equal = c(f"icmp eq {t} {a[0]}, {b[0]}")
    take = c(f"or {i1} {better}, {c(f'and {i1} {equal}, {earlier}')}")
    return select(c, take, b[0], a[0], t, lanes), select(c, take, b[1], a[1], i64, lanes)


def halves(c: Code, scalar_type: str, lanes: int, a: str) -> tuple[str, str]:
    """The lower and the upper half of the lanes."""
    t, half = lanes_of(scalar_type, lanes), lanes // 2
    if half == 1:
        return c(f"extractelement {t} {a}, i64 0"), c(f"extractelement {t} {a}, i64 1")
    low = ", ".join([f"i32 {i}" for i in range(half)])
    high = ", ".join([f"i32 {i}" for i in range(half, lanes)])
    return (c(f"shufflevector {t} {a}, {t} poison, <{half} x i32> <{low}>"),
            c(f"shufflevector {t} {a}, {t} poison, <{half} x i32> <{high}>"))


def across(c: Code, op: str, dtype: str, lanes: int, values: tuple[str, ...]) -> tuple[str, ...]:
    """Reduce over the lanes in a fixed tree: upper half into lower half until one is left.

    `values` is (value,) or, for argmax and argmin, (value, index)."""
    while lanes > 1:
        low, high = halves(c, TYPE[dtype], lanes, values[0])
        if len(values) == 2:
            low_i, high_i = halves(c, "i64", lanes, values[1])
            values = combine_indexed(c, op, dtype, lanes // 2, (low, low_i), (high, high_i))
        else:
            values = (combine(c, op, dtype, lanes // 2, low, high),)
        lanes //= 2
    return values

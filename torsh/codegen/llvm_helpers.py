"""Internal LLVM functions that kernels call: the floating remainder, copies of a few elements, squares of a matrix transposed."""
from __future__ import annotations

from collections.abc import Callable

#: type -> (integer type, bits, bits of the stored significand, 2**k below which the quick remainder is exact, infinity)
_FORMAT = {"float": ("i32", 32, 23, "0x4150000000000000", "0x7FF0000000000000"),
           "double": ("i64", 64, 52, "0x4320000000000000", "0x7FF0000000000000")}


ROOT = "torsh_sqrt_16"


def root_helper() -> dict[str, str]:
    """The text of a function giving the square roots of sixteen floats, correctly rounded, with AVX-512's 14-bit estimates of reciprocal roots: half the time
    of the instruction for square roots, which takes twelve cycles.

    With y the estimate of 1/sqrt(x), s = x*y and h = y/2 (Goldschmidt's iteration): d = 1/2 - s*h, s += s*d, h += h*d doubles the exact bits of both, and
    s + h*(x - s*s), its bracket exact in one fused operation, is the root rounded once; tests go through all significands and both parities of the
    exponent. Where a lane is below 2**-100, negative, infinite or NaN, all lanes take the instruction."""
    v, i = "<16 x float>", "<16 x i32>"
    half = "splat (float 0x3FE0000000000000)"
    fma = f"call {v} @llvm.fma.v16f32({v}"
    text = f"""define internal {v} @{ROOT}({v} %x) alwaysinline #0 {{
entry:
  %bits = bitcast {v} %x to {i}
  %above = sub {i} %bits, splat (i32 {27 << 23})
  %normal = icmp ult {i} %above, splat (i32 {(255 - 27) << 23})
  %all = call i1 @llvm.vector.reduce.and.v16i1(<16 x i1> %normal)
  br i1 %all, label %quick, label %slow
quick:
  %y = call {v} @llvm.x86.avx512.rsqrt14.ps.512({v} %x, {v} zeroinitializer, i16 -1)
  %s0 = fmul {v} %x, %y
  %h0 = fmul {v} %y, {half}
  %n0 = fneg {v} %s0
  %d0 = {fma} %n0, {v} %h0, {v} {half})
  %s1 = {fma} %s0, {v} %d0, {v} %s0)
  %h1 = {fma} %h0, {v} %d0, {v} %h0)
  %n1 = fneg {v} %s1
  %d1 = {fma} %n1, {v} %s1, {v} %x)
  %s2 = {fma} %h1, {v} %d1, {v} %s1)
  br label %out
slow:
  %exact = call {v} @llvm.sqrt.v16f32({v} %x)
  br label %out
out:
  %root = phi {v} [ %s2, %quick ], [ %exact, %slow ]
  ret {v} %root
}}
"""
    return {ROOT: text}


def fmod_helper(t: str, lanes: int) -> tuple[str, dict[str, str]]:
    """The name and text of a function giving C's fmod on `lanes` lanes of `float` or `double`.

    Where the quotient is below 2**22 (2**51) one fused multiply-add gives the exact remainder: the truncated quotient
    is right or one too large, and either way the difference is representable. Other lanes take long division."""
    name = f"torsh_fmod_{t}_{lanes}"
    exact = f"torsh_fmod_exact_{t}"
    limit, infinity = _FORMAT[t][3:]
    v, b = (t, "i1") if lanes == 1 else (f"<{lanes} x {t}>", f"<{lanes} x i1>")

    def c(value: str, of: str = t) -> str:
        return value if lanes == 1 else f"splat ({of} {value})"

    if lanes == 1:
        some = "  %some = freeze i1 %slow\n"
        step = f"  %done = call {t} @{exact}({t} %x, {t} %y)\n  br label %out\n"
        loop = f"long:\n{step}"
        last = "long"
    else:
        some = f"  %some = call i1 @llvm.vector.reduce.or({b} %slow)\n"
        last = "next"
        loop = f"""long:
  br label %lane
lane:
  %i = phi i64 [ 0, %long ], [ %i1, %next ]
  %r = phi {v} [ %quick, %long ], [ %done, %next ]
  %is = extractelement {b} %slow, i64 %i
  br i1 %is, label %divide, label %next
divide:
  %xi = extractelement {v} %x, i64 %i
  %yi = extractelement {v} %y, i64 %i
  %ri = call {t} @{exact}({t} %xi, {t} %yi)
  %r1 = insertelement {v} %r, {t} %ri, i64 %i
  br label %next
next:
  %done = phi {v} [ %r, %lane ], [ %r1, %divide ]
  %i1 = add i64 %i, 1
  %more = icmp ult i64 %i1, {lanes}
  br i1 %more, label %lane, label %out
"""
    text = f"""define internal {v} @{name}({v} %a, {v} %b) #0 {{
entry:
  %x = call {v} @llvm.fabs({v} %a)
  %y = call {v} @llvm.fabs({v} %b)
  %finite = fcmp olt {v} %x, {c(infinity)}
  %divides = fcmp ogt {v} %y, {c('0.0')}
  %ok = and {b} %finite, %divides
  %q = fdiv {v} %x, %y
  %small = fcmp olt {v} %q, {c(limit)}
  %n = call {v} @llvm.trunc({v} %q)
  %n1 = fneg {v} %n
  %d = call {v} @llvm.fma({v} %n1, {v} %y, {v} %x)
  %under = fcmp olt {v} %d, {c('0.0')}
  %up = fadd {v} %d, %y
  %d1 = select {b} %under, {v} %up, {v} %d
  %huge = fcmp oeq {v} %y, {c(infinity)}
  %quick = select {b} %huge, {v} %x, {v} %d1
  %large = xor {b} %small, {c('true', 'i1')}
  %slow = and {b} %large, %ok
{some}  br i1 %some, label %long, label %out
{loop}out:
  %res = phi {v} [ %quick, %entry ], [ %done, %{last} ]
  %signed = call {v} @llvm.copysign({v} %res, {v} %a)
  %z = select {b} %ok, {v} %signed, {v} {c('0x7FF8000000000000')}
  ret {v} %z
}}
"""
    return name, {name: text, exact: _fmod_exact(exact, t)}


def _fmod_exact(name: str, t: str) -> str:
    """Long division of the significands, one bit of the quotient a step; 0 < x, y finite."""
    i, bits, m = _FORMAT[t][:3]
    hidden, fraction, lead = 1 << m, (1 << m) - 1, bits - 1 - m
    parts = "".join(f"""  %{v}0 = bitcast {t} %{v} to {i}
  %{v}exp = lshr {i} %{v}0, {m}
  %{v}frac = and {i} %{v}0, {fraction}
  %{v}sub = icmp eq {i} %{v}exp, 0
  %{v}zeros = call {i} @llvm.ctlz({i} %{v}frac, i1 false)
  %{v}shift = sub {i} %{v}zeros, {lead}
  %{v}ms = shl {i} %{v}frac, %{v}shift
  %{v}mn = or {i} %{v}frac, {hidden}
  %{v}es = sub {i} 1, %{v}shift
  %{v}m = select i1 %{v}sub, {i} %{v}ms, {i} %{v}mn
  %{v}e = select i1 %{v}sub, {i} %{v}es, {i} %{v}exp
""" for v in "xy")
    return f"""define internal {t} @{name}({t} %x, {t} %y) #0 {{
entry:
  %less = fcmp olt {t} %x, %y
  br i1 %less, label %as_is, label %start
as_is:
  ret {t} %x
start:
{parts}  br label %step
step:
  %mant = phi {i} [ %xm, %start ], [ %next, %step ]
  %e = phi {i} [ %xe, %start ], [ %e1, %step ]
  %fits = icmp uge {i} %mant, %ym
  %less1 = sub {i} %mant, %ym
  %r = select i1 %fits, {i} %less1, {i} %mant
  %last = icmp eq {i} %e, %ye
  %next = shl {i} %r, 1
  %e1 = sub {i} %e, 1
  br i1 %last, label %end, label %step
end:
  %zeros = call {i} @llvm.ctlz({i} %r, i1 false)
  %s = sub {i} %zeros, {lead}
  %en = sub {i} %ye, %s
  %shifted = shl {i} %r, %s
  %frac = and {i} %shifted, {fraction}
  %ebits = shl {i} %en, {m}
  %normal = or {i} %frac, %ebits
  %up = sub {i} %ye, 1
  %down = sub {i} 1, %ye
  %left = shl {i} %r, %up
  %right = lshr {i} %r, %down
  %isup = icmp sgt {i} %ye, 0
  %small = select i1 %isup, {i} %left, {i} %right
  %isnormal = icmp sgt {i} %en, 0
  %nonzero = icmp ne {i} %r, 0
  %z = select i1 %isnormal, {i} %normal, {i} %small
  %z1 = select i1 %nonzero, {i} %z, {i} 0
  %z2 = bitcast {i} %z1 to {t}
  ret {t} %z2
}}
"""


def copy_helper() -> tuple[str, dict[str, str]]:
    """The name and text of a function copying `bytes` < 512 bytes: at most one move of each power of two."""
    name = "torsh_copy"
    sizes = (256, 128, 64, 32, 16, 8, 4, 2, 1)
    lines = [f"define internal void @{name}(ptr %to, ptr %from, i64 %bytes) #1 {{", "entry:", "  br label %try256"]
    come_from = "[ 0, %entry ]"
    for size in sizes:
        t = {1: "i8", 2: "i16", 4: "i32", 8: "i64"}.get(size) or f"<{size} x i8>"
        after = f"try{size // 2}" if size > 1 else "end"
        lines += [f"try{size}:",
                  f"  %at{size} = phi i64 {come_from}",
                  f"  %bit{size} = and i64 %bytes, {size}",
                  f"  %has{size} = icmp ne i64 %bit{size}, 0",
                  f"  br i1 %has{size}, label %copy{size}, label %{after}",
                  f"copy{size}:",
                  f"  %from{size} = getelementptr i8, ptr %from, i64 %at{size}",
                  f"  %to{size} = getelementptr i8, ptr %to, i64 %at{size}",
                  f"  %value{size} = load {t}, ptr %from{size}, align 1",
                  f"  store {t} %value{size}, ptr %to{size}, align 1",
                  f"  %next{size} = add i64 %at{size}, {size}",
                  f"  br label %{after}"]
        come_from = f"[ %at{size}, %try{size} ], [ %next{size}, %copy{size} ]"
    lines += ["end:", "  ret void", "}", ""]
    return name, {name: "\n".join(lines)}


def transpose(shuffle: Callable[[str, str, list[int]], str], rows: list[str], element_bytes: int) -> list[str]:
    """The columns of a square matrix given its rows, vectors: first within 128-bit blocks, then of blocks.

    `shuffle(a, b, order)` gives the elements `order` of a and b in a row. A power of two of rows, at most four blocks."""
    lanes = len(rows)
    block = min(lanes, 16 // element_bytes)
    half, done = block // 2, []
    low, high = ([base + start + i + side for base in range(0, lanes, block) for i in range(half)
                  for side in (0, lanes)] for start in (0, half))
    for base in range(0, lanes, block):
        group = rows[base:base + block]
        for _ in range(block.bit_length() - 1):  # interleaving rows i and i + half, log2(block) times, transposes
            group = [shuffle(group[i], group[i + half], order) for i in range(half) for order in (low, high)]
        done.append(group)
    blocks = lanes // block
    columns = [""] * lanes

    def take(a: str, b: str, picks: list[int]) -> str:
        return shuffle(a, b, [p * block + e for p in picks for e in range(block)])

    for e in range(block):
        v = [done[g][e] for g in range(blocks)]
        if blocks == 4:
            v = [take(v[0], v[1], [0, 1, 4, 5]), take(v[0], v[1], [2, 3, 6, 7]),
                 take(v[2], v[3], [0, 1, 4, 5]), take(v[2], v[3], [2, 3, 6, 7])]
            v = [take(v[0], v[2], [0, 2, 4, 6]), take(v[0], v[2], [1, 3, 5, 7]),
                 take(v[1], v[3], [0, 2, 4, 6]), take(v[1], v[3], [1, 3, 5, 7])]
        elif blocks == 2:
            v = [take(v[0], v[1], [0, 2]), take(v[0], v[1], [1, 3])]
        for c in range(blocks):
            columns[c * block + e] = v[c]
    return columns


def square_helper(t: str, element_bytes: int, lanes: int) -> tuple[str, dict[str, str]]:
    """`@name(ptr from, i64 step, ptr to, i64 rows, i64 columns)`: to[i * lanes + j] = from[i + j * step] of `rows` i and
    `columns` j, elements of type `t`, and zero in the rest of the `lanes` x `lanes` square."""
    name = f"torsh_square_{t}_{lanes}"
    v = f"<{lanes} x {t}>"
    lines: list[str] = []

    def put(text: str) -> str:
        lines.append(f"  %t{len(lines)} = {text}")
        return f"%t{len(lines) - 1}"

    def shuffle(a: str, b: str, order: list[int]) -> str:
        picks = ", ".join([f"i32 {i}" for i in order])
        return put(f"shufflevector {v} {a}, {v} {b}, <{len(order)} x i32> <{picks}>")

    pointer = "%from"
    rows = []
    for j in range(lanes):
        if j:
            pointer = put(f"getelementptr {t}, ptr {pointer}, i64 %step")
        rows.append(put(f"load {v}, ptr {pointer}, align {element_bytes}"))
    for i, column in enumerate(transpose(shuffle, rows, element_bytes)):
        place = put(f"getelementptr {v}, ptr %to, i64 {i}")
        lines.append(f"  store {v} {column}, ptr {place}")
    zeros = "\n".join([f"  %z{i} = getelementptr {v}, ptr %to, i64 {i}\n  store {v} zeroinitializer, ptr %z{i}" for i in range(lanes)])
    whole = "\n".join(lines)
    return name, {name: f"""define internal void @{name}(ptr %from, i64 %step, ptr %to, i64 %rows, i64 %columns) #1 {{
entry:
  %many = icmp eq i64 %rows, {lanes}
  %wide = icmp eq i64 %columns, {lanes}
  %all = and i1 %many, %wide
  br i1 %all, label %whole, label %part
whole:
{whole}
  ret void
part:
{zeros}
  br label %column
column:
  %j = phi i64 [ 0, %part ], [ %j.next, %column.end ]
  %ahead = mul i64 %j, %step
  %line = getelementptr {t}, ptr %from, i64 %ahead
  %under = getelementptr {t}, ptr %to, i64 %j
  br label %row
row:
  %i = phi i64 [ 0, %column ], [ %i.next, %row ]
  %source = getelementptr {t}, ptr %line, i64 %i
  %x = load {t}, ptr %source, align {element_bytes}
  %down = mul i64 %i, {lanes}
  %target = getelementptr {t}, ptr %under, i64 %down
  store {t} %x, ptr %target, align {element_bytes}
  %i.next = add i64 %i, 1
  %more.rows = icmp slt i64 %i.next, %rows
  br i1 %more.rows, label %row, label %column.end
column.end:
  %j.next = add i64 %j, 1
  %more.columns = icmp slt i64 %j.next, %columns
  br i1 %more.columns, label %column, label %end
end:
  ret void
}}
"""}

"""LLVM text of what draws integers: uniform ones, random orders, and indices by weights."""
from __future__ import annotations

from torsh.codegen.draw_layout import Engine
from torsh.codegen.draw_math import remainder, unit64
from torsh.codegen.draw_text import Blocks, begin, give, leave, splat_of, store, vector, writer
from torsh.codegen.gemm_text import Text
from torsh.codegen.inline import inlined
from torsh.codegen.kernel_ir import Arg

_RAMP = "<" + ", ".join(f"i64 {i}" for i in range(8)) + ">"


def _splat_i64(t: Text, value: str) -> str:
    return splat_of(t, "i64", "int64", value)


def _words(t: Text, block: str, index: str) -> str:
    """8 words as float64."""
    words = t.op(f"load <8 x i32>, ptr {t.at(block, t.mul(index, '4'))}, align 4")
    return t.op(f"uitofp <8 x i32> {words} to <8 x double>")


def integers_text() -> str:
    """`integers(engine, out, count, low, span, inverse)`: int64, low + word % span, given 1 / span (span <= 2**32)."""
    t = writer("float64")
    begin(t, "integers", "ptr %engine, ptr %out, i64 %count, i64 %low, i64 %span, double %inverse")
    leaves = [Arg(i, "float64") for i in range(3)]
    expression = remainder(*leaves)
    low = _splat_i64(t, "%low")
    splats = [splat_of(t, "double", "float64", name) for name in (t.op("sitofp i64 %span to double"), "%inverse")]
    with Blocks(t, "%count", Engine.BLOCK_WORDS, 1) as blocks, t.loop("0", blocks.some, "8") as loop:
        known = {id(leaf): v for leaf, v in zip(leaves, [_words(t, blocks.block, loop.index), *splats], strict=True)}
        rest = t.op(f"fptoui <8 x double> {vector(t, expression, known)} to <8 x i32>")
        value = t.op(f"add <8 x i64> {t.op(f'zext <8 x i32> {rest} to <8 x i64>')}, {low}")
        store(t, value, "int64", t.at("%out", t.mul(t.add(blocks.first, loop.index), "8")), t.first(t.sub(blocks.some, loop.index)))
    give(t)
    return t.module()


def wide_integers_text() -> str:
    """`wide_integers(engine, out, count, low, span)`: as `integers` with two words a number, the first one high; a span of 0 stands for 2**64."""
    t = writer("float64")
    begin(t, "wide_integers", "ptr %engine, ptr %out, i64 %count, i64 %low, i64 %span")
    every = t.test("eq", "%span", "0")
    divisor = t.select(every, "i64", "1", "%span")
    with Blocks(t, "%count", Engine.BLOCK_WORDS // 2, 2) as blocks, t.loop("0", blocks.some) as loop:
        halves = t.op(f"load i64, ptr {t.at(blocks.block, t.mul(loop.index, '8'))}, align 4")
        whole = t.call("i64", "llvm.fshl.i64", [("i64", halves), ("i64", halves), ("i64", "32")])
        value = t.select(every, "i64", whole, t.op(f"urem i64 {whole}, {divisor}"))
        t.put(f"store i64 {t.op(f'add i64 {value}, %low')}, ptr {t.at('%out', t.mul(t.add(blocks.first, loop.index), '8'))}, align 8")
    give(t)
    return t.module()


def permutation_text() -> str:
    """`permutation(engine, order, count)`: int64 0 .. count - 1 (2 and more) in random order.

    For i = 0, 1, ... position i swaps with i + word % (count - i). Where to is found for a block of words as vectors, then the swaps are made.
    """
    t = writer("float64")
    begin(t, "permutation", "ptr %engine, ptr %order, i64 %count")
    with t.loop("0", "%count", "8") as loop:
        value = t.op(f"add <8 x i64> {_splat_i64(t, loop.index)}, {_RAMP}")
        store(t, value, "int64", t.at("%order", t.mul(loop.index, "8")), t.first(t.sub("%count", loop.index)))
    leaves = [Arg(i, "float64") for i in range(3)]
    expression = remainder(*leaves)
    last = t.sub("%count", "1")
    ramp = t.op(f"sitofp <8 x i64> {_RAMP} to <8 x double>")
    with Blocks(t, last, Engine.BLOCK_WORDS, 1) as blocks:
        with t.loop("0", blocks.some, "8") as loop:
            left = t.op(f"sitofp i64 {t.sub(t.sub('%count', blocks.first), loop.index)} to double")
            spans = t.op(f"fsub <8 x double> {splat_of(t, 'double', 'float64', left)}, {ramp}")
            inverses = t.op(f"fdiv <8 x double> splat (double 1.0), {spans}")
            known = {id(leaf): v for leaf, v in zip(leaves, (_words(t, blocks.block, loop.index), spans, inverses), strict=True)}
            jumps = t.op(f"freeze <8 x i32> {t.op(f'fptoui <8 x double> {vector(t, expression, known)} to <8 x i32>')}")
            t.put(f"store <8 x i32> {jumps}, ptr {t.at(blocks.block, t.mul(loop.index, '4'))}, align 4")
        with t.loop("0", blocks.some) as loop:
            jump = t.op(f"load i32, ptr {t.at(blocks.block, t.mul(loop.index, '4'))}, align 4")
            here = t.add(blocks.first, loop.index)
            there = t.add(here, t.op(f"zext i32 {jump} to i64"))
            a, b = t.at("%order", t.mul(here, "8")), t.at("%order", t.mul(there, "8"))
            old, new = (t.op(f"load i64, ptr {p}, align 8") for p in (a, b))
            t.put(f"store i64 {new}, ptr {a}, align 8")
            t.put(f"store i64 {old}, ptr {b}, align 8")
    give(t)
    return t.module()


def wide_permutation_text() -> str:
    """`wide_permutation(engine, order, count)`: as `permutation`, but position i swaps with word % (i + 1), before it or itself, a word of 64 bits."""
    t = writer("float64")
    begin(t, "wide_permutation", "ptr %engine, ptr %order, i64 %count")
    with Blocks(t, "%count", Engine.BLOCK_WORDS // 2, 2) as blocks, t.loop("0", blocks.some) as loop:
        halves = t.op(f"load i64, ptr {t.at(blocks.block, t.mul(loop.index, '8'))}, align 4")
        word = t.call("i64", "llvm.fshl.i64", [("i64", halves), ("i64", halves), ("i64", "32")])
        here = t.add(blocks.first, loop.index)
        there = t.divide(word, t.add(here, "1"))[1]
        a, b = t.at("%order", t.mul(here, "8")), t.at("%order", t.mul(there, "8"))
        t.put(f"store i64 {here}, ptr {a}, align 8")
        t.put(f"store i64 {t.op(f'load i64, ptr {b}, align 8')}, ptr {a}, align 8")
        t.put(f"store i64 {here}, ptr {b}, align 8")
    give(t)
    return t.module()


def multinomial_text(dtype: str) -> str:
    """`multinomial_<dtype>(engine, out, count, weights, sums, rows, k)`: int64 [rows, count], indices in proportion to weights [rows, k].

    By inversion: the first index whose cumulative sum, over the row's total, is no less than a uniform number. Sums are made one after the
    other in `dtype`, divided there and kept as float64 in `sums` [k]; searches are bisections of 8 numbers at a time. Returns 1 for a weight
    that is negative or not finite, 2 for a row of sum 0, before anything is drawn.
    """
    t = writer("float64")
    scalar, size = ("float", "4") if dtype == "float32" else ("double", "8")
    begin(t, f"multinomial_{dtype}", "ptr %engine, ptr %out, i64 %count, ptr %weights, ptr %sums, i64 %rows, i64 %k")
    row_bytes = t.mul("%k", size)
    with t.loop("0", "%rows") as row:
        base = t.at("%weights", t.mul(row.index, row_bytes))
        with t.loop("0", "%k", carry=[("i1", "false"), ("i1", "false")]) as loop:
            w = t.op(f"load {scalar}, ptr {t.at(base, t.mul(loop.index, size))}, align {size}")
            good = t.both(t.op(f"fcmp oge {scalar} {w}, 0.0"), t.op(f"fcmp olt {scalar} {w}, 0x7FF0000000000000"))
            bad = t.opposite(good)
            loop.next = [t.either(loop.values[0], bad), t.either(loop.values[1], t.op(f"fcmp ogt {scalar} {w}, 0.0"))]
        bad, positive = loop.values
        with t.where(bad):
            leave(t, "1")
        with t.where(t.opposite(positive)):
            leave(t, "2")
    pair = Arg(0, "int64")
    unit = unit64(pair)
    with t.loop("0", "%rows") as row:
        base = t.at("%weights", t.mul(row.index, row_bytes))
        with t.loop("0", "%k", carry=[(scalar, "0.0")]) as loop:
            w = t.op(f"load {scalar}, ptr {t.at(base, t.mul(loop.index, size))}, align {size}")
            total = t.op(f"fadd {scalar} {loop.values[0]}, {w}")
            t.put(f"store double {_double(t, total, dtype)}, ptr {t.at('%sums', t.mul(loop.index, '8'))}, align 8")
            loop.next = [total]
        total = loop.values[0]
        whole = splat_of(t, "double", "float64", _double(t, total, dtype))
        with t.loop("0", "%k", "8") as loop:
            at, mask = t.at("%sums", t.mul(loop.index, "8")), t.first(t.sub("%k", loop.index))
            share = _divided(t, t.load(at, mask=mask), whole, dtype)
            t.store(share, at, mask=mask)
        t.put(f"store double 1.0, ptr {t.at('%sums', t.mul(t.sub('%k', '1'), '8'))}, align 8")
        out = t.at("%out", t.mul(row.index, t.mul("%count", "8")))
        with Blocks(t, "%count", Engine.BLOCK_WORDS // 2, 2) as blocks, t.loop("0", blocks.some, "8") as loop:
            halves = t.op(f"load <8 x i64>, ptr {t.at(blocks.block, t.mul(loop.index, '8'))}, align 4")
            u = inlined(t.code, (unit,), {id(pair): halves}, 8)[0]
            found = _searched(t, u)
            store(t, found, "int64", t.at(out, t.mul(t.add(blocks.first, loop.index), "8")), t.first(t.sub(blocks.some, loop.index)))
    give(t)
    return t.module()


def _double(t: Text, value: str, dtype: str) -> str:
    return value if dtype == "float64" else t.op(f"fpext float {value} to double")


def _divided(t: Text, a: str, b: str, dtype: str) -> str:
    """a / b of float64 vectors; in float32 (of numbers of that type the float64 quotient rounds to the same one, having more than twice the bits)."""
    quotient = t.op(f"fdiv <8 x double> {a}, {b}")
    if dtype == "float64":
        return quotient
    return t.op(f"fpext <8 x float> {t.op(f'fptrunc <8 x double> {quotient} to <8 x float>')} to <8 x double>")


def _searched(t: Text, u: str) -> str:
    """The first index of `%sums` [k], whose last entry is 1, that is no less than each of 8 numbers: the candidates are halved until one is left."""
    head, body, end = t.new_label(), t.new_label(), t.new_label()
    before = t.block
    t.put(f"br label %{head}")
    t.label(head)
    place, left = t.name(), t.name()
    at = len(t.lines)
    t.lines += ["", ""]
    t.put(f"br i1 {t.test('sgt', left, '1')}, label %{body}, label %{end}")
    t.label(body)
    half = t.op(f"lshr i64 {left}, 1")
    moved = t.op(f"add <8 x i64> {place}, {_splat_i64(t, half)}")
    # The entry before the upper half: what is above it is there.
    lower = _gathered(t, t.at("%sums", "-8"), moved)
    new = t.op(f"select <8 x i1> {t.op(f'fcmp olt <8 x double> {lower}, {u}')}, <8 x i64> {moved}, <8 x i64> {place}")
    rest = t.sub(left, half)
    t.put(f"br label %{head}")
    t.lines[at] = f"  {place} = phi <8 x i64> [zeroinitializer, %{before}], [{new}, %{t.block}]"
    t.lines[at + 1] = f"  {left} = phi i64 [%k, %{before}], [{rest}, %{t.block}]"
    t.label(end)
    over = t.op(f"fcmp olt <8 x double> {_gathered(t, '%sums', place)}, {u}")
    return t.op(f"add <8 x i64> {place}, {t.op(f'zext <8 x i1> {over} to <8 x i64>')}")


def _gathered(t: Text, base: str, index: str) -> str:
    places = t.op(f"getelementptr double, ptr {base}, <8 x i64> {index}")
    return t.call("<8 x double>", "llvm.masked.gather.v8f64.v8p0", [("<8 x ptr> align 8", places), ("<8 x i1>", "splat (i1 true)"),
                                                                  ("<8 x double>", "zeroinitializer")])

"""LLVM text of what draws normal numbers, in PyTorch's two ways: by groups of 16, and in pairs."""
from __future__ import annotations

from torsh.codegen.draw_layout import Engine
from torsh.codegen.draw_math import normal_pair, unit32, unit64
from torsh.codegen.draw_text import Blocks, begin, give, splat_of, store, take, tempered, writer
from torsh.codegen.gemm_text import Text
from torsh.codegen.inline import inlined
from torsh.codegen.kernel_ir import Arg, Cast, Expr, Op


def _shuffled(t: Text, kind: str, a: str, b: str, order: list[int]) -> str:
    """Elements of two vectors of <`t.lanes` x kind>."""
    indices = ", ".join(f"i32 {i}" for i in order)
    whole = f"<{t.lanes} x {kind}>"
    return t.op(f"shufflevector {whole} {a}, {whole} {b}, <{len(order)} x i32> <{indices}>")


class _Groups:
    """Makes groups of 16 numbers of 16 uniform ones each: of the first 8 the radii, of the last 8 the angles."""

    def __init__(self, t: Text, dtype: str) -> None:
        self.t, self.dtype = t, dtype
        wide = dtype == "float64"
        self.words = 2 if wide else 1
        word = "int64" if wide else "int32"
        self.kind = "i64" if wide else "i32"
        unit = unit64 if wide else unit32
        self.leaves = [Arg(0, word), Arg(1, word), Arg(2, dtype), Arg(3, dtype)]
        first, second, mean, std = self.leaves
        self.pair: list[Expr] = [Op("fma", (x, std, mean), dtype) for x in normal_pair(unit(first), unit(second))]
        self.mean, self.std = splat_of(t, "double", dtype, "%mean"), splat_of(t, "double", dtype, "%std")

    def make(self, words: str, out: str, first: str, stop: str) -> None:
        """Numbers `first` (a multiple of 16) to `stop` of the words, to the same places of the output."""
        t, lanes = self.t, self.t.lanes
        size, word = 4 * self.words, f"<{lanes} x {self.kind}>"
        low, high = list(range(8)), list(range(8, 16))
        with t.loop(first, stop, str(2 * lanes)) as loop:
            source, target = t.at(words, t.mul(loop.index, str(size))), t.at(out, t.mul(loop.index, str(size)))
            a, b = (t.op(f"load {word}, ptr {t.at(source, str(size * lanes * i))}, align 4") for i in (0, 1))
            if lanes == 16:  # two groups
                radii, angles = _shuffled(t, self.kind, a, b, low + [i + 16 for i in low]), _shuffled(t, self.kind, a, b, high + [i + 16 for i in high])
            else:
                radii, angles = a, b
            known = {id(leaf): v for leaf, v in zip(self.leaves, (radii, angles, self.mean, self.std), strict=True)}
            made = inlined(t.code, self.pair, known, lanes)
            if lanes == 16:
                c, s = made
                made = [_shuffled(t, t.scalar, c, s, low + [i + 16 for i in low]), _shuffled(t, t.scalar, c, s, high + [i + 16 for i in high])]
            for i, value in enumerate(made):
                rest = t.sub(t.sub(stop, loop.index), str(i * lanes))
                store(t, value, self.dtype, t.at(target, str(size * lanes * i)), t.first(rest))


def groups_text(dtype: str) -> str:
    """`normal_<dtype>(engine, out, count, mean, std, skip)`: 16 and more numbers.

    What is left over by groups of 16 is drawn and dropped (unless not `skip`), and the last 16 numbers are drawn anew.
    """
    t = writer(dtype)
    begin(t, f"normal_{dtype}", "ptr %engine, ptr %out, i64 %count, double %mean, double %std, i64 %skip")
    groups = _Groups(t, dtype)
    words, size = groups.words, groups.words * 4
    rest = t.op("and i64 %count, 15")
    whole = t.sub("%count", rest)
    with Blocks(t, whole, Engine.BLOCK_WORDS // words, words) as blocks:
        groups.make(blocks.block, t.at("%out", t.mul(blocks.first, str(size))), "0", blocks.some)
    with t.where(t.test("ne", rest, "0")):
        with t.where(t.test("ne", "%skip", "0")):
            take(t, t.mul(rest, str(words)))
        block = take(t, str(16 * words))
        groups.make(block, t.at("%out", t.mul(t.sub("%count", "16"), str(size))), "0", "16")
    give(t)
    return t.module()


def _scalar(t: Text, function: str, x: str) -> str:
    """One of the C library's functions, which round as PyTorch's do."""
    return t.call("double", function, [("double", x)])


def _libm_pair(t: Text, first: str, second: str) -> tuple[str, str]:
    """The two normal numbers of two uniform ones: sqrt(-2 log1p(-second)) times cosine and sine of 2 pi first."""
    log = _scalar(t, "log1p", t.op(f"fneg double {second}"))
    radius = t.call("double", "llvm.sqrt.f64", [("double", t.op(f"fmul double {log}, -2.0"))])
    angle = t.op(f"fmul double {first}, 0x401921FB54442D18")
    return t.op(f"fmul double {radius}, {_scalar(t, 'cos', angle)}"), t.op(f"fmul double {radius}, {_scalar(t, 'sin', angle)}")


def _unit(t: Text, halves: str) -> str:
    """A uniform number of two words, the first one in the low half of an int64."""
    pair = Arg(0, "int64")
    return inlined(t.code, (unit64(pair),), {id(pair): halves}, 1)[0]


def _linked_text() -> str:
    """`uniform(engine)`, which makes its two words itself while there are, and `normal(engine)`, for samplers."""
    t = writer("float64")
    t.lines.append("define internal double @uniform(ptr %engine) #1 {")
    t.label("entry")
    halves = t.op("alloca i64")
    at = t.at("%engine", str(Engine.POSITION))
    position = t.op(f"zext i32 {t.op(f'load i32, ptr {at}, align 4')} to i64")
    some = t.test("ult", position, str(Engine.WORDS - 1))
    with t.where(some):
        word = Arg(0, "int32")
        expression = tempered(word)
        place = t.at("%engine", t.mul(position, "4"))
        first, second = (inlined(t.code, (expression,), {id(word): t.op(f"load i32, ptr {t.at(place, str(4 * i))}, align 4")}, 1)[0] for i in (0, 1))
        high = t.op(f"shl i64 {t.op(f'zext i32 {second} to i64')}, 32")
        low = t.op(f"zext i32 {first} to i64")
        t.put(f"store i64 {t.op(f'or i64 {low}, {high}')}, ptr {halves}")
        after = t.add(position, "2")
        t.put(f"store i32 {t.op(f'trunc i64 {after} to i32')}, ptr {at}, align 4")
    with t.where(t.opposite(some)):
        block = take(t, "2")
        t.put(f"store i64 {t.op(f'load i64, ptr {block}, align 4')}, ptr {halves}")
    t.put(f"ret double {_unit(t, t.op(f'load i64, ptr {halves}'))}")
    t.lines += ["}", "define internal double @normal(ptr %engine) #1 {"]
    t.label("entry")
    kept_at, sample_at = t.at("%engine", str(Engine.KEPT)), t.at("%engine", str(Engine.SAMPLE))
    with t.where(t.op(f"icmp ne i32 {t.op(f'load i32, ptr {kept_at}, align 4')}, 0")):
        t.put(f"store i32 0, ptr {kept_at}, align 4")
        t.put(f"ret double {t.op(f'load double, ptr {sample_at}, align 8')}")
        t.label(t.new_label())
    first, second = (t.op("call double @uniform(ptr %engine)") for _ in range(2))
    cosine, sine = _libm_pair(t, first, second)
    t.put(f"store double {sine}, ptr {sample_at}, align 8")
    t.put(f"store i32 1, ptr {kept_at}, align 4")
    t.lines += [f"  ret double {cosine}", "}"]
    return t.module() + "attributes #1 = { nounwind }\n"


def sampler_text(name: str, dtype: str) -> str:
    """A sampler of `draw_samplers` under the name `<name>_<dtype>`, for arrays of `dtype`."""
    from torsh.codegen import draw_samplers
    from torsh.codegen.scalar import scalar_text
    linked = _linked_text()
    own = scalar_text(draw_samplers, name, dtype, {"uniform": "double", "normal": "double"})
    known = set(linked.splitlines())
    own = "\n".join(line for line in own.splitlines() if not (line.startswith("declare") and line in known))
    return linked + own.replace(f"@{name}(", f"@{name}_{dtype}(") + "\n"


def _finished(t: Text, x: str, dtype: str, exponential: bool) -> str:
    value = t.call("double", "llvm.fma.f64", [("double", x), ("double", "%std"), ("double", "%mean")])
    if exponential:
        value = _scalar(t, "exp", value)
    return value if dtype == "float64" else t.op(f"fptrunc double {value} to float")


def pairs_text(dtype: str, exponential: bool) -> str:
    """`pairs_<dtype>(engine, out, count, mean, std)`: any number of them, made in pairs in float64; of an odd number the last one's second is kept.

    `exponential`: `log_normal_<dtype>`, the exponential of each. Few are made by the C library's functions one by one, as PyTorch makes all
    of them; the pairs of many as vectors.
    """
    t = writer("float64")
    scalar, size = ("float", 4) if dtype == "float32" else ("double", 8)
    begin(t, f"{'log_normal' if exponential else 'pairs'}_{dtype}", "ptr %engine, ptr %out, i64 %count, double %mean, double %std")
    kept_at, sample_at = t.at("%engine", str(Engine.KEPT)), t.at("%engine", str(Engine.SAMPLE))
    done = t.op("alloca i64")
    t.put(f"store i64 0, ptr {done}")
    some = t.test("sgt", "%count", "0")
    kept = t.op(f"icmp ne i32 {t.op(f'load i32, ptr {kept_at}, align 4')}, 0")
    with t.where(t.both(some, kept)):
        t.put(f"store {scalar} {_finished(t, t.op(f'load double, ptr {sample_at}, align 8'), dtype, exponential)}, ptr %out, align {size}")
        t.put(f"store i32 0, ptr {kept_at}, align 4")
        t.put(f"store i64 1, ptr {done}")
    if exponential:
        begun = t.op(f"load i64, ptr {done}")
        pairs = t.op(f"lshr i64 {t.sub('%count', begun)}, 1")
        with t.where(t.test("ugt", pairs, "8")):
            _vector_pairs(t, t.at("%out", t.mul(begun, str(size))), pairs, dtype)
            t.put(f"store i64 {t.add(begun, t.mul(pairs, '2'))}, ptr {done}")
    start = t.op(f"load i64, ptr {done}")
    with t.loop(start, "%count", "2") as loop:
        block = take(t, "4")
        first, second = (_unit(t, t.op(f"load i64, ptr {t.at(block, str(8 * i))}, align 4")) for i in (0, 1))
        cosine, sine = _libm_pair(t, first, second)
        target = t.at("%out", t.mul(loop.index, str(size)))
        t.put(f"store {scalar} {_finished(t, cosine, dtype, exponential)}, ptr {target}, align {size}")
        both = t.test("slt", t.add(loop.index, "1"), "%count")
        with t.where(both):
            t.put(f"store {scalar} {_finished(t, sine, dtype, exponential)}, ptr {t.at(target, str(size))}, align {size}")
        with t.where(t.opposite(both)):
            t.put(f"store double {sine}, ptr {sample_at}, align 8")
            t.put(f"store i32 1, ptr {kept_at}, align 4")
    give(t)
    return t.module()


def _vector_pairs(t: Text, out: str, pairs: str, dtype: str) -> None:
    """Pairs of numbers of four words each, 8 at a time."""
    from torsh.codegen.math_exp import exp
    leaves = [Arg(0, "int64"), Arg(1, "int64"), Arg(2, "float64"), Arg(3, "float64")]
    radius, angle, mean, std = leaves
    results: list[Expr] = [exp(Op("fma", (x, std, mean), "float64")) for x in normal_pair(unit64(radius), unit64(angle))]
    if dtype == "float32":
        results = [Cast(e, "float32", "float32") for e in results]
    splats = [splat_of(t, "double", "float64", name) for name in ("%mean", "%std")]
    size = 4 if dtype == "float32" else 8
    kind = "float" if dtype == "float32" else "double"
    with Blocks(t, pairs, Engine.BLOCK_WORDS // 4, 4) as blocks, t.loop("0", blocks.some, "8") as loop:
        source = t.at(blocks.block, t.mul(loop.index, "16"))
        a, b = (t.op(f"load <8 x i64>, ptr {t.at(source, str(64 * i))}, align 4") for i in (0, 1))
        u1, u2 = _shuffled(t, "i64", a, b, list(range(0, 16, 2))), _shuffled(t, "i64", a, b, list(range(1, 16, 2)))
        known = {id(leaf): v for leaf, v in zip(leaves, (u2, u1, *splats), strict=True)}  # the radius comes of the second
        cosines, sines = inlined(t.code, results, known, 8)
        target = t.at(out, t.mul(t.add(blocks.first, loop.index), str(2 * size)))
        rest = t.mul(t.sub(blocks.some, loop.index), "2")
        for i in (0, 1):
            order = [j // 2 + 8 * (j % 2) + 4 * i for j in range(8)]
            store(t, _shuffled(t, kind, cosines, sines, order), dtype, t.at(target, str(8 * size * i)), t.first(t.sub(rest, str(8 * i))))

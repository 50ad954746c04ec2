"""LLVM text of the Mersenne Twister MT19937 and of the distributions that are one formula of its words.

Matsumoto & Nishimura, "Mersenne Twister: a 623-dimensionally equidistributed uniform pseudo-random number generator", 1998. An engine
lies in memory as `Engine` says. Every kernel takes words from it in blocks that stay in the first-level cache and makes vectors of numbers
of them; vectors have a fixed number of lanes, whatever the registers of the machine, so results are the same bits everywhere.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence

from torsh.codegen import draw_math
from torsh.codegen.draw_layout import Engine
from torsh.codegen.gemm_text import Text
from torsh.codegen.inline import inlined
from torsh.codegen.kernel_ir import Arg, Cast, Const, Expr, Op

_SHIFT, _UPPER, _LOWER, _MATRIX = 397, -0x80000000, 0x7FFFFFFF, 0x9908B0DF - (1 << 32)
_VECTOR_BYTES = 64


def writer(dtype: str) -> Text:
    """For vectors of 16 float32 or 8 float64."""
    return Text(dtype, dtype, _VECTOR_BYTES, False)


def begin(t: Text, name: str, parameters: str) -> None:
    """Begin a function that returns an int64, which `give` ends."""
    t.lines.append(f"define i64 @{name}({parameters}) #0 {{")
    t.label("entry")


def give(t: Text, value: str = "0") -> None:
    t.put(f"ret i64 {value}")
    t.lines.append("}")


def leave(t: Text, value: str) -> None:
    """Return from the middle of a function."""
    t.put(f"ret i64 {value}")
    t.label(t.new_label())


def vector(t: Text, expression: Expr, known: dict[int, str]) -> str:
    return inlined(t.code, (expression,), known, t.lanes)[0]


# ---- words


def _twisted(upper: Expr, lower: Expr, far: Expr) -> Expr:
    """The next value of a word of the state, from its own, the next word's and one 397 places on."""
    y = Op("or", (Op("and", (upper, Const(_UPPER, "int32")), "int32"), Op("and", (lower, Const(_LOWER, "int32")), "int32")), "int32")
    odd = Op("ne", (Op("and", (lower, Const(1, "int32")), "int32"), Const(0, "int32")), "bool")
    mixed = Op("where", (odd, Const(_MATRIX, "int32"), Const(0, "int32")), "int32")
    half = Op("and", (Op("shr", (y, Const(1, "int32")), "int32"), Const(0x7FFFFFFF, "int32")), "int32")
    return Op("xor", (Op("xor", (far, half), "int32"), mixed), "int32")


def tempered(word: Expr) -> Expr:
    """What is given out for a word of the state."""
    def mix(x: Expr, by: Expr, mask: int) -> Expr:
        return Op("xor", (x, Op("and", (by, Const(mask, "int32")), "int32")), "int32")

    def moved(x: Expr, name: str, bits: int) -> Expr:
        return Op(name, (x, Const(bits, "int32")), "int32")
    word = mix(word, moved(word, "shr", 11), 0x1FFFFF)
    word = mix(word, moved(word, "shl", 7), 0x9D2C5680 - (1 << 32))
    word = mix(word, moved(word, "shl", 15), 0xEFC60000 - (1 << 32))
    return mix(word, moved(word, "shr", 18), 0x3FFF)


def _expression(make: Callable[..., Expr], count: int) -> tuple[Expr, list[Arg]]:
    leaves = [Arg(i, "int32") for i in range(count)]
    return make(*leaves), leaves


def _twist(t: Text, first: str, stop: str, far: int, lanes: int) -> None:
    """Words `first` to `stop` of the state, `lanes` at a time: no word is read after the loop has changed it, except those meant to be."""
    kind = f"<{lanes} x i32>" if lanes > 1 else "i32"
    with t.loop(first, stop, str(lanes)) as loop:
        place = t.at("%engine", t.mul(loop.index, "4"))
        values = [t.op(f"load {kind}, ptr {t.at(place, str(4 * distance))}, align 4") for distance in (0, 1, far)]
        expression, leaves = _expression(_twisted, 3)
        new = inlined(t.code, (expression,), {id(leaf): v for leaf, v in zip(leaves, values, strict=True)}, lanes)[0]
        t.put(f"store {kind} {new}, ptr {place}, align 4")


def _renew(t: Text) -> None:
    """The next 624 words of the state."""
    n, near = Engine.WORDS, Engine.WORDS - _SHIFT
    whole = near // 16 * 16
    t.begin("renew", "ptr %engine", True)
    _twist(t, "0", str(whole), _SHIFT, 16)
    _twist(t, str(whole), str(near), _SHIFT, 1)
    middle = near + (n - 1 - near) // 16 * 16
    _twist(t, str(near), str(middle), -near, 16)
    _twist(t, str(middle), str(n - 1), -near, 1)
    expression, leaves = _expression(_twisted, 3)
    places = [t.at("%engine", str(4 * i)) for i in (n - 1, 0, _SHIFT - 1)]
    values = [t.op(f"load i32, ptr {place}, align 4") for place in places]
    new = inlined(t.code, (expression,), {id(leaf): v for leaf, v in zip(leaves, values, strict=True)}, 1)[0]
    t.put(f"store i32 {new}, ptr {places[0]}, align 4")
    t.put(f"store i32 0, ptr {t.at('%engine', str(Engine.POSITION))}, align 4")
    t.end()


def engine_text() -> str:
    """`take_words(engine, out, count)`: the next words, and `seed(engine, seed)`."""
    t = writer("float32")
    _renew(t)
    begin(t, "take_words", "ptr %engine, ptr %out, i64 %count")
    where = t.at("%engine", str(Engine.POSITION))
    position = t.op("alloca i64")
    old = t.op(f"load i32, ptr {where}, align 4")
    t.put(f"store i64 {t.op(f'zext i32 {old} to i64')}, ptr {position}")
    done = t.op("alloca i64")
    t.put(f"store i64 0, ptr {done}")
    again, end = t.new_label(), t.new_label()
    t.put(f"br label %{again}")
    t.label(again)
    with t.where(t.test("uge", t.op(f"load i64, ptr {position}"), str(Engine.WORDS))):
        t.put("call void @renew(ptr %engine)")
        t.put(f"store i64 0, ptr {position}")
    at, made = t.op(f"load i64, ptr {position}"), t.op(f"load i64, ptr {done}")
    some = t.least(t.sub("%count", made), t.sub(str(Engine.WORDS), at))
    source, target = t.at("%engine", t.mul(at, "4")), t.at("%out", t.mul(made, "4"))
    expression, leaves = _expression(tempered, 1)
    with t.loop("0", some, "16") as loop:
        offset = t.mul(loop.index, "4")
        mask = t.first(t.sub(some, loop.index))
        kind = "<16 x i32>"
        word = t.call(kind, "llvm.masked.load.v16i32.p0", [("ptr align 4", t.at(source, offset)), (t.mask, mask), (kind, "zeroinitializer")])
        word = vector(t, expression, {id(leaves[0]): word})
        t.call("void", "llvm.masked.store.v16i32.p0", [(kind, word), ("ptr align 4", t.at(target, offset)), (t.mask, mask)])
    t.put(f"store i64 {t.add(at, some)}, ptr {position}")
    total = t.add(made, some)
    t.put(f"store i64 {total}, ptr {done}")
    t.put(f"br i1 {t.test('slt', total, '%count')}, label %{again}, label %{end}")
    t.label(end)
    at = t.op(f"load i64, ptr {position}")
    t.put(f"store i32 {t.op(f'trunc i64 {at} to i32')}, ptr {where}, align 4")
    give(t)
    begin(t, "seed", "ptr %engine, i64 %seed")
    first = t.op("trunc i64 %seed to i32")
    t.put(f"store i32 {first}, ptr %engine, align 4")
    with t.loop("1", str(Engine.WORDS), carry=[("i32", first)]) as loop:
        old = loop.values[0]
        high = t.op(f"lshr i32 {old}, 30")
        mixed = t.op(f"mul i32 {t.op(f'xor i32 {old}, {high}')}, 1812433253")
        new = t.op(f"add i32 {mixed}, {t.op(f'trunc i64 {loop.index} to i32')}")
        t.put(f"store i32 {new}, ptr {t.at('%engine', t.mul(loop.index, '4'))}, align 4")
        loop.next = [new]
    give(t)
    return t.module()


def words_text() -> str:
    """`words(engine, out, count)`: the next words."""
    t = writer("float32")
    begin(t, "words", "ptr %engine, ptr %out, i64 %count")
    take(t, "%count", "%out")
    give(t)
    return t.module()


# ---- one formula for each vector of words


def take(t: Text, count: str, to: str = "") -> str:
    """Take the next `count` words (1 and more); where they are: the engine's block unless told."""
    place = to or t.at("%engine", str(Engine.BLOCK))
    function = t.op(f"load ptr, ptr {t.at('%engine', str(Engine.TAKE))}, align 8")
    t.op(f"call i64 {function}(ptr %engine, ptr {place}, i64 {count})")
    return place


class Blocks:
    """`for` blocks of at most `numbers` of `count`: `first`, how many (`some`) and the address of their words, `words` for each."""

    def __init__(self, t: Text, count: str, numbers: int, words: int) -> None:
        self.t, self.count, self.numbers, self.words = t, count, numbers, words
        self.loop = t.loop("0", count, str(numbers))

    def __enter__(self) -> Blocks:
        self.loop.__enter__()
        t = self.t
        self.first = self.loop.index
        self.some = t.least(t.sub(self.count, self.first), str(self.numbers))
        self.block = take(t, t.mul(self.some, str(self.words)))
        return self

    def __exit__(self, *error: object) -> None:
        self.loop.__exit__(*error)  # type: ignore[arg-type]


#: What a kernel is given beside engine, output and count: float64 numbers, or int64 ones.
Parameters = Sequence[tuple[str, str]]


def splat_of(t: Text, kind: str, dtype: str, name: str) -> str:
    """A parameter on all lanes, as `dtype`."""
    scalar = {"float32": "float", "float64": "double", "int64": "i64"}[dtype]
    value = t.op(f"fptrunc double {name} to float") if (kind, dtype) == ("double", "float32") else name
    vector_type = f"<{t.lanes} x {scalar}>"
    one = t.op(f"insertelement {vector_type} poison, {scalar} {value}, i64 0")
    return t.op(f"shufflevector {vector_type} {one}, {vector_type} poison, <{t.lanes} x i32> zeroinitializer")


_LLVM = {"float32": "float", "float64": "double", "int64": "i64", "bool": "i8"}
_SIZE = {"float32": 4, "float64": 8, "int64": 8, "bool": 1}


def store(t: Text, value: str, dtype: str, to: str, mask: str) -> None:
    """Store a vector of `dtype` (booleans as bytes) in the lanes of the mask."""
    scalar = _LLVM[dtype]
    kind = f"<{t.lanes} x {scalar}>"
    if dtype == "bool":
        value = t.op(f"zext <{t.lanes} x i1> {value} to {kind}")
    code = f"v{t.lanes}{scalar if scalar[0] == 'i' else 'f' + str(8 * _SIZE[dtype])}"
    t.call("void", f"llvm.masked.store.{code}.p0", [(kind, value), (f"ptr align {_SIZE[dtype]}", to), (t.mask, mask)])


def load(t: Text, dtype: str, at: str, mask: str) -> str:
    scalar = _LLVM[dtype]
    kind = f"<{t.lanes} x {scalar}>"
    code = f"v{t.lanes}f{8 * _SIZE[dtype]}"
    return t.call(kind, f"llvm.masked.load.{code}.p0", [(f"ptr align {_SIZE[dtype]}", at), (t.mask, mask), (kind, "zeroinitializer")])


def mapped_text(name: str, work: str, result: str, formula: Callable[..., Expr], parameters: Parameters = (), chances: bool = False) -> str:
    """`name(engine, out, count, *parameters)`: `formula(word, *parameters)` of each number's word (`work` float32) or pair of words (float64).

    Parameters are (LLVM type, dtype). `result` is the dtype of what is stored; a formula of another one is cast, booleans to 1 and 0.
    `chances`: the first parameter is an array of a number for each element, of dtype `work`, in [0, 1]; where one is not, nothing is
    drawn and the function returns 1.
    """
    t = writer(work)
    wide = work == "float64"
    names = [f"%p{i}" for i in range(len(parameters))]
    begin(t, name, ", ".join(["ptr %engine", "ptr %out", "i64 %count", *(["ptr %chances"] if chances else []),
                              *[f"{kind} {p}" for (kind, _), p in zip(parameters, names, strict=True)]]))
    if chances:
        _refuse(t, work)
    splats = [splat_of(t, kind, dtype, p) for (kind, dtype), p in zip(parameters, names, strict=True)]
    leaves: list[Expr] = [Arg(0, "int64" if wide else "int32")]
    leaves += [Arg(1, work)] if chances else []
    leaves += [Arg(2 + i, dtype) for i, (_, dtype) in enumerate(parameters)]
    expression = formula(*leaves)
    if expression.dtype != result:
        expression = Op("where", (expression, Const(1, result), Const(0, result)), result) if expression.dtype == "bool" else Cast(expression, result, result)
    words = 2 if wide else 1
    kind = f"<{t.lanes} x i{32 * words}>"
    with Blocks(t, "%count", Engine.BLOCK_WORDS // words, words) as blocks, t.loop("0", blocks.some, str(t.lanes)) as loop:
        mask = t.first(t.sub(blocks.some, loop.index))
        word = t.op(f"load {kind}, ptr {t.at(blocks.block, t.mul(loop.index, str(4 * words)))}, align 4")
        at = t.add(blocks.first, loop.index)
        values = [word, *([load(t, work, t.at("%chances", t.mul(at, str(_SIZE[work]))), mask)] if chances else []), *splats]
        made = vector(t, expression, {id(leaf): v for leaf, v in zip(leaves, values, strict=True)})
        store(t, made, result, t.at("%out", t.mul(at, str(_SIZE[result]))), mask)
    give(t)
    return t.module()


def _refuse(t: Text, work: str) -> None:
    """Return 1 unless all chances lie in [0, 1]."""
    kind, numbers = f"<{t.lanes} x i1>", f"<{t.lanes} x {t.scalar}>"
    with t.loop("0", "%count", str(t.lanes), [(kind, "zeroinitializer")]) as loop:
        p = load(t, work, t.at("%chances", t.mul(loop.index, str(_SIZE[work]))), t.first(t.sub("%count", loop.index)))
        low, high = t.op(f"fcmp ult {numbers} {p}, zeroinitializer"), t.op(f"fcmp ugt {numbers} {p}, splat ({t.scalar} 1.0)")
        loop.next = [t.op(f"or {kind} {loop.values[0]}, {t.op(f'or {kind} {low}, {high}')}")]
    with t.where(t.call("i1", f"llvm.vector.reduce.or.v{t.lanes}i1", [(kind, loop.values[0])])):
        leave(t, "1")


MAPPED: dict[str, tuple[str, str, Callable[..., Expr], Parameters, bool]] = {}


def _mapped(name: str, work: str, result: str, formula: Callable[..., Expr], parameters: Parameters = (), chances: bool = False) -> None:
    MAPPED[name] = work, result, formula, parameters, chances


_D32, _D64 = ("double", "float32"), ("double", "float64")


def _compare(name: str, a: Expr, b: Expr) -> Expr:
    return Op(name, (a, b), "bool")


for _result in ("bool", "float32"):
    _mapped(f"bernoulli_{_result}", "float64", _result, lambda w, bound: _compare("lt", draw_math.bits53(w), bound), [("i64", "int64")])
for _work in ("float32", "float64"):
    _unit = draw_math.unit64 if _work == "float64" else draw_math.unit32
    _p = ("double", _work)
    _mapped(f"uniform_{_work}", _work, _work, lambda w, low, high, end, unit=_unit: draw_math.scaled(unit(w), low, high, end), [_p, _p, _p])
    for _result in ("bool", _work):
        _mapped(f"chances_{_work}_{_result}", _work, _result, lambda w, p, unit=_unit: _compare("lt", unit(w), p), (), True)
    _mapped(f"exponential_{_work}", "float64", _work, lambda w, scale: draw_math.exponential(draw_math.unit64(w), scale), [_D64])
    _mapped(f"geometric_{_work}", "float64", _work, lambda w, scale: draw_math.geometric(draw_math.unit64(w), scale), [_D64])
    _mapped(f"cauchy_{_work}", "float64", _work, lambda w, median, sigma: draw_math.cauchy(draw_math.unit64(w), median, sigma), [_D64, _D64])

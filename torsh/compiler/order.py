"""Kernels that sort: the positions of the elements of each row, in order.

Long rows by digits of a key, from the lowest on (least significant digit radix sort, stable by nature): in each pass the
elements of a block are counted by digit, the counts are added up over digits and blocks, and the elements are put in
their places. Short rows by counting, for each element, those that come before it. Blocks depend on sizes alone, so the
work is shared without a result that depends on the number of threads (which a stable order determines anyway).
"""
from __future__ import annotations

from torsh.codegen.kernel_ir import Acc, Address, Cast, Const, Declare, Expr, Index, Int, Kernel, Load, Loop, Op, Phase, Read, Slot, Stmt, Store, Update
from torsh.compiler.nest import Arguments, Lowered, compute_type
from torsh.compiler.schedule import Schedule
from torsh.core.shapes import numel
from torsh.graph.node import Node

#: Rows up to this long are sorted by counting: elements * elements / lanes steps.
_SHORT = 64
#: From this many elements on a digit has 11 bits, below 8: counts of one digit are cheap to add up beside so many elements.
_LONG = 16384
#: Elements of a block; a row of less than two is one.
_BLOCK = 65536

_ROW, _PART, _I, _J = range(4)  # axes; more are numbered on

#: What of a key can differ: (dtype of the key, lowest bit, one past the highest). Half types are compared as float32.
_KEYS = {"bool": ("int32", 0, 1), "uint8": ("int32", 0, 8), "int8": ("int32", 0, 8), "int16": ("int32", 0, 16), "int32": ("int32", 0, 32),
         "int64": ("int64", 0, 64), "float16": ("int32", 13, 32), "bfloat16": ("int32", 16, 32), "float32": ("int32", 0, 32), "float64": ("int64", 0, 64)}


def _key(x: Expr, descending: bool) -> Expr:
    """An integer whose bits, as an unsigned number, are in the order of x: -0.0 as 0.0, NaN last (all of them equal)."""
    if x.dtype in ("float32", "float64"):
        integer, top = ("int32", 31) if x.dtype == "float32" else ("int64", 63)
        one = Op("where", (Op("ne", (x, x), "bool"), Const(float("nan"), x.dtype), Op("add", (x, Const(0.0, x.dtype)), x.dtype)), x.dtype)
        bits: Expr = Op("bitcast", (one,), integer)
        flip = Op("or", (Op("shr", (bits, Const(top, integer)), integer), Const(-(1 << top), integer)), integer)
        key: Expr = Op("xor", (bits, flip), integer)
    else:
        integer = "int64" if x.dtype == "int64" else "int32"
        wide = x if x.dtype == integer else Cast(x, integer, integer)
        lowest = {"int8": -(1 << 7), "int16": -(1 << 15), "int32": -(1 << 31), "int64": -(1 << 63)}.get(x.dtype, 0)
        key = Op("sub", (wide, Const(lowest, integer)), integer)
    return Op("not", (key,), integer) if descending else key


def order(schedule: Schedule, node: Node) -> Lowered:
    """Positions along the last axis, in ascending or (where `node.arg`) descending order of the source's elements."""
    *outer, n = node.shape
    rows = numel(tuple(outer))
    args = Arguments()
    x = args.buffer(node.srcs[0], 0, False)
    out = args.buffer(node, 0, True)
    scratch: list[int] = []
    if n <= _SHORT:
        phases, work = [_by_counting(args, x, out, node, rows)], [rows]
    else:
        phases, work, scratch = _by_digits(args, x, out, node, rows)
    serial = [numel(node.shape) < 4096] * len(phases)
    return Lowered(Kernel(tuple(args.buffers), len(args.slots), tuple(phases)), args, work, serial, scratch, [])


def _by_counting(args: Arguments, x: int, out: int, node: Node, rows: int) -> Phase:
    n, dtype = args.given(node.shape[-1]), compute_type(node.srcs[0].dtype.name)

    def key(axis: int) -> Expr:
        return _key(Load(x, Address(0, ((_ROW, n), (axis, 1))), dtype), bool(node.arg))
    mine, other = key(_I), key(_J)
    integer = mine.dtype
    top = Const(-(1 << (31 if integer == "int32" else 63)), integer)  # the order of unsigned numbers is that of signed ones with the top bit turned
    a, b = (Op("xor", (k, top), integer) for k in (other, mine))
    before = Op("or", (Op("lt", (a, b), "bool"), Op("and", (Op("eq", (a, b), "bool"), Op("lt", (Index(_J), Index(_I)), "bool")), "bool")), "bool")
    rank = Acc("sum", "int32")
    count = Loop(_J, n, "vector", (Update(rank, Cast(before, "int32", "int32")),))
    place = Address(0, ((_ROW, n),), ((Cast(Read(rank, "int32"), "int64", "int64"), 1),))
    return Phase(((_ROW, args.given(rows)),), (Loop(_I, n, "serial", (Declare(rank), count, Store(out, place, Index(_I)))),))


def _by_digits(args: Arguments, x: int, out: int, node: Node, rows: int) -> tuple[list[Phase], list[int], list[int]]:
    length = node.shape[-1]
    dtype = compute_type(node.srcs[0].dtype.name)
    key_dtype, low, high = _KEYS[node.srcs[0].dtype.name]
    place_dtype = "int32" if length < 1 << 31 else "int64"
    size = 11 if length >= _LONG else 8
    passes = -(-(high - low) // size)
    size = -(-(high - low) // passes)
    buckets = 1 << size
    blocks = max(1, -(-length // _BLOCK)) if length >= 2 * _BLOCK else 1
    total = rows * length
    scratch: list[int] = []

    def room(dtype: str, count: int) -> int:
        scratch.append(count * (8 if dtype == "int64" else 4))
        return args.scratch(len(scratch) - 1, dtype)
    n, count = args.given(length), args.given(blocks)
    keys = [room(key_dtype, total) for _ in range(min(2, passes - 1))]
    places = [room(place_dtype, total) for _ in range(min(2, passes - 1))]
    counts = room(place_dtype, rows * blocks * buckets)
    counts_row = args.given(blocks * buckets)
    tile: tuple[int, Int] | None = (_PART, _BLOCK) if blocks > 1 else None
    axis = _J

    def fresh() -> int:
        nonlocal axis
        axis += 1
        return axis

    def bucket(digit: Expr | None, terms: tuple[tuple[int, Int], ...] = (), part: int | None = _PART) -> Address:
        inside: tuple[tuple[int, Int], ...] = ((part, buckets),) if blocks > 1 and part is not None else ()
        return Address(0, ((_ROW, counts_row), *inside, *terms), ((Cast(digit, "int64", "int64"), 1),) if digit is not None else ())

    def read(number: int, i: int) -> tuple[Expr, Expr, Expr]:
        """Key, position and digit of the element that stands at `i` before a pass."""
        here = Address(0, ((_ROW, n), (i, 1)))
        key: Expr
        place: Expr
        if number == 0:
            key, place = _key(Load(x, here, dtype), bool(node.arg)), Cast(Index(i), place_dtype, place_dtype)
        else:
            key, place = Load(keys[(number - 1) % 2], here, key_dtype), Load(places[(number - 1) % 2], here, place_dtype)
        shift = low + number * size
        moved = key if shift == 0 else Op("shr", (key, Const(shift, key_dtype)), key_dtype)
        width = min(size, high - shift)
        return key, place, Op("and", (moved, Const((1 << width) - 1, key_dtype)), key_dtype)

    def counted(number: int) -> list[Stmt]:
        zero, i = fresh(), fresh()
        digit = read(number, i)[2]
        return [Loop(zero, buckets, "vector", (Store(counts, bucket(None, ((zero, 1),)), Const(0, place_dtype)),)),
                Loop(i, n, "serial", (Store(counts, bucket(digit), Const(1, place_dtype), "add"),), tile)]

    def added_up() -> list[Stmt]:
        running, d, b = Acc("sum", place_dtype), fresh(), fresh()
        here = bucket(None, ((d, 1), (b, buckets)) if blocks > 1 else ((d, 1),), None)
        value = Load(counts, here, place_dtype)
        body: tuple[Stmt, ...] = (Update(running, value), Store(counts, here, Op("sub", (Read(running, place_dtype), value), place_dtype)))
        if blocks > 1:
            body = (Loop(b, count, "serial", body),)
        return [Declare(running), Loop(d, buckets, "serial", body)]

    def placed(number: int) -> list[Stmt]:
        i = fresh()
        key, place, digit = read(number, i)
        to = Address(0, ((_ROW, n),), ((Cast(Load(counts, bucket(digit), place_dtype), "int64", "int64"), 1),))
        if number == passes - 1:
            stores: list[Stmt] = [Store(out, to, Cast(place, "int64", "int64"))]
        else:
            stores = [Store(keys[number % 2], to, key), Store(places[number % 2], to, place)]
        return [Loop(i, n, "serial", (*stores, Store(counts, bucket(digit), Const(1, place_dtype), "add")), tile)]

    each_row: tuple[int, Slot] = (_ROW, args.given(rows))
    if blocks == 1:
        body = [s for number in range(passes) for s in (*counted(number), *added_up(), *placed(number))]
        return [Phase((each_row,), tuple(body))], [rows], scratch
    each_block = (each_row, (_PART, count))
    phases: list[Phase] = []
    for number in range(passes):
        phases += [Phase(each_block, tuple(counted(number))), Phase((each_row,), tuple(added_up())), Phase(each_block, tuple(placed(number)))]
    return phases, [rows * blocks, rows, rows * blocks] * passes, scratch

"""Matrix products against NumPy in float64, on the host and as older processors would compute them."""
from __future__ import annotations

import ctypes
import mmap
from itertools import pairwise
from typing import Any

import ml_dtypes  # noqa: F401  (gives NumPy its bfloat16)
import numpy as np
import pytest

from tests.codegen.native import targets
from torsh.codegen import compile as codegen
from torsh.codegen import gemm
from torsh.codegen.target import Target, amx, host
from torsh.runtime.cpu import executor

PHASE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
EPS = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-24, "float64": 2.0**-53}
#: (input, output): equal ones, and what mixed precision needs.
DTYPES = [("float32", "float32"), ("float64", "float64"), ("float16", "float16"), ("bfloat16", "bfloat16"),
          ("bfloat16", "float32"), ("float32", "float16")]
_compiled: dict[tuple[str, str], tuple[Any, list[Any]]] = {}


def phases(p: gemm.GemmPlan, target: Target) -> list[Any]:
    """The compiled phases, kept for the next test."""
    found = _compiled.get((p.key, target.name))
    if found is None:
        from llvmlite import binding
        binding.initialize_all_targets()
        binding.initialize_all_asmprinters()
        machine = binding.Target.from_triple(target.triple).create_target_machine(
            cpu=target.cpu, features=target.features, opt=2, jit=True)
        module = binding.parse_assembly(p.text())
        module.triple = target.triple
        module.verify()
        engine = binding.create_mcjit_compiler(module, machine)
        engine.finalize_object()
        found = _compiled[p.key, target.name] = (engine, [PHASE(engine.get_function_address(s)) for s in p.symbols])
    return found[1]


def strides(x: np.ndarray, batch: int) -> tuple[int, ...]:
    made = tuple(s // x.itemsize for s in x.strides)
    return (0,) * (batch + 2 - len(made)) + made


def plan(a: np.ndarray, b: np.ndarray, c: np.ndarray, target: Target, **options: Any) -> gemm.GemmPlan:
    """c's shape is (batch..., m, n); a and b may lack batch axes or have stride 0 there."""
    batch = c.shape[:-2]
    return gemm.plan(a.dtype.name, c.dtype.name, batch, c.shape[-2], c.shape[-1], a.shape[-1],
                     *(strides(x, len(batch)) for x in (a, b, c)), vector_bytes=target.vector_bytes, **options)


def run(a: np.ndarray, b: np.ndarray, c: np.ndarray, target: Target, rng: np.random.Generator | None = None,
        epilogue_slots: tuple[int, ...] = (), tables: tuple[np.ndarray, ...] = (), **options: Any) -> gemm.GemmPlan:
    """Compute c, the work items in order or, with `rng`, in pieces in random order. Scratch starts as NaN."""
    p = plan(a, b, c, target, tables=bool(tables), **options)
    memory = {"A": a, "B": b, "C": c}
    memory.update(zip(("k_offsets", "n_offsets"), tables))
    for name, size in p.scratch.items():
        raw = np.full(size // 4 + 16, np.nan, np.float32).view(np.uint8)
        start = -raw.ctypes.data % 64
        memory[name] = raw[start:start + size]
    addresses = {name: x.ctypes.data for name, x in memory.items()}
    addresses.update({f"epilogue{i}": value for i, value in enumerate(epilogue_slots)})
    slots = (ctypes.c_int64 * len(p.slots))(*(addresses[s] if isinstance(s, str) else s for s in p.slots))
    for function, count in zip(phases(p, target), p.items):
        if rng is None or count < 2:
            pieces = [(0, count)]
        else:
            cuts = sorted({0, count, *rng.integers(0, count, 5).tolist()})
            pieces = list(pairwise(cuts))
            rng.shuffle(pieces)
        for begin, end in pieces:
            if end > begin:
                function(ctypes.addressof(slots), int(begin), int(end))
    return p


def matrix(rng: np.random.Generator, shape: tuple[int, ...], dtype: str, layout: str) -> np.ndarray:
    """Normal numbers in memory laid out by rows, by columns, or strided in both, with NaN wherever it has gaps."""
    *batch, m, n = shape
    rows, columns = (n, m) if layout == "columns" else (m, n)
    if layout == "strided":
        room = np.full((*batch, 2 * rows + 1, 3 * columns + 1), np.nan, np.float64).astype(dtype)
        x = room[..., 1::2, 1::3]
    elif layout == "padded":
        room = np.full((*batch, rows, columns + 5), np.nan, np.float64).astype(dtype)
        x = room[..., 2:columns + 2]
    else:
        x = np.empty((*batch, rows, columns), dtype)
    x[...] = rng.standard_normal((*batch, rows, columns)).astype(dtype)
    return x.swapaxes(-1, -2) if layout == "columns" else x


LAYOUTS = ("rows", "columns", "strided", "padded")


def check(c: np.ndarray, a: np.ndarray, b: np.ndarray, extra: np.ndarray | float = 0.0) -> None:
    """Within the bound for k sums (Higham, Accuracy and Stability of Numerical Algorithms, 3.5), then rounding."""
    wide = np.float64 if c.dtype != np.float64 else np.longdouble
    a, b = a.astype(wide), b.astype(wide)
    exact = a @ b + extra
    sum_eps = EPS["float64" if c.dtype == np.float64 else "float32"]
    bound = sum_eps * (a.shape[-1] + 3) * (np.abs(a) @ np.abs(b) + np.abs(extra))
    bound = bound + EPS[c.dtype.name] * (np.abs(exact) + bound) + (2.0**-25 if c.dtype == np.float16 else 0.0)
    assert c.shape == exact.shape
    wrong = ~(np.abs(c.astype(wide) - exact) <= bound)
    assert not wrong.any(), f"{wrong.sum()} of {wrong.size} elements wrong, first at {np.argwhere(wrong)[0]}"


SIZES = [(1, 1, 1), (3, 2, 1), (14, 32, 64), (13, 31, 257), (15, 33, 300), (64, 64, 64), (97, 101, 103), (7, 200, 513),
         (1, 700, 37), (2, 129, 1100), (3, 4099, 5), (4, 90, 2050), (5, 6, 4000), (211, 1, 97), (1200, 3, 64),
         (1, 1, 5000), (130, 66, 600), (5, 700, 400), (6, 37, 1700), (8, 1030, 260)]


@pytest.mark.parametrize("target", targets(), ids=lambda t: t.name.split("/")[-1])
@pytest.mark.parametrize(("dtype_in", "dtype_out"), DTYPES)
def test_products(dtype_in: str, dtype_out: str, target: Target) -> None:
    rng = np.random.default_rng(1)
    for number, (m, n, k) in enumerate(SIZES):
        for turn in range(4):
            a = matrix(rng, (m, k), dtype_in, LAYOUTS[turn])
            b = matrix(rng, (k, n), dtype_in, LAYOUTS[(turn + number) % 4])
            c = matrix(rng, (m, n), dtype_out, LAYOUTS[(turn + number // 4) % 4])
            c[...] = np.nan
            run(a, b, c, target)
            check(c, a, b)


@pytest.mark.parametrize("target", targets(), ids=lambda t: t.name.split("/")[-1])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_few_rows_times_the_transpose_of_many(dtype: str, target: Target) -> None:
    """A layer's product with few rows is made as its transpose, from the weights where they are: deep ones in two blocks, beside NaN and fences."""
    rng = np.random.default_rng(12)
    fenced = Fenced()
    turned = 0
    for m, n, k in ((9, 61, 4100), (16, 100, 64), (20, 333, 257), (32, 96, 128), (37, 515, 300), (50, 700, 1024), (130, 1030, 90)):
        for batch in ((), (2,), (2, 3)):
            a, c = fenced(matrix(rng, (*batch, m, k), dtype, "rows"), True), fenced(np.full((*batch, m, n), np.nan, dtype), True)
            b = fenced(matrix(rng, (n, k), dtype, "rows"), bool(batch)).T
            p = run(a, np.broadcast_to(b, (*batch, k, n)), c, target, rng)
            check(c, a, b)
            turned += "turned" in p.key
            c[...] = np.nan
            run(a, np.broadcast_to(b, (*batch, k, n)), c, target, rng, way="turned")
            check(c, a, b)
            room = np.full((*batch, m, n + 3), 7, dtype)
            bias = rng.standard_normal(n).astype(dtype)
            run(a, np.broadcast_to(b, (*batch, k, n)), room[..., 1:n + 1], target, epilogue_slots=(bias.ctypes.data,), epilogue=gemm.Bias(dtype))
            check(room[..., 1:n + 1], a, b, bias.astype(np.float64))
            assert (room[..., [0, n + 1, n + 2]] == 7).all()
    assert turned > 5


@pytest.mark.parametrize("target", targets(), ids=lambda t: t.name.split("/")[-1])
def test_few_rows_times_a_matrix_where_it_is(target: Target) -> None:
    """Panels of equal height, tiles of few rows by more columns, a matrix that streams by in shallow blocks: beside fences, and however the columns are cut
    each sum has the same bits."""
    rng = np.random.default_rng(14)
    fenced = Fenced()
    for m in (1, 3, 4, 5, 6, 7, 8, 9, 13, 15, 16, 17, 31):
        for n, k in ((37, 90), (530, 70), (1043, 263)):
            a, b = fenced(matrix(rng, (m, k), "float32", "rows"), True), fenced(matrix(rng, (k, n), "float32", "rows"), True)
            c = fenced(np.full((m, n), np.nan, np.float32), True)
            given = ("float32", "float32", 1, m, n, k, *(strides(x, 1) for x in (a, b, c)))
            kind = "shallow" if k * n * 4 > 1 << 20 else "in place"
            found = []
            for way, _ in gemm.ways(*given, vector_bytes=target.vector_bytes, threads=4):
                if way.startswith(kind):
                    c[...] = np.nan
                    run(a, b, c, target, rng, way=way, threads=4)
                    check(c, a, b)
                    found.append(c.tobytes())
            assert len(set(found)) == 1, (m, n, k)


@pytest.mark.parametrize("target", targets(), ids=lambda t: t.name.split("/")[-1])
def test_panels_of_columns_are_copied_together(target: Target) -> None:
    """The gradient of a weight: several panels of a first matrix that lies in columns are copied at once, none beyond its end."""
    rng = np.random.default_rng(13)
    fenced = Fenced()
    for dtype, m, n, k in (("float32", 200, 100, 700), ("float32", 60, 130, 2300), ("float64", 97, 70, 1100), ("bfloat16", 130, 70, 90)):
        for at_end in (False, True):
            a, b = fenced(matrix(rng, (k, m), dtype, "rows"), at_end).T, matrix(rng, (k, n), dtype, "rows")
            c = fenced(np.full((m, n), np.nan, dtype), at_end)
            p = run(a, b, c, target, rng)
            assert "l_" in p.key
            check(c, a, b)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_random_products(dtype: str) -> None:
    rng = np.random.default_rng(2)
    for _ in range(120):
        m, n, k = (int(x) for x in 2.0**rng.uniform(0, [8, 8, 10]))
        batch = tuple(rng.integers(1, 4, rng.integers(0, 3)).tolist())
        a, b, c = (matrix(rng, (*batch, *s), dtype, str(rng.choice(LAYOUTS))) for s in ((m, k), (k, n), (m, n)))
        run(a, b, c, host(), rng)
        check(c, a, b)


@pytest.mark.parametrize("mnk", [(20, 40, 30), (1, 300, 65), (70, 2, 90), (30, 100, 1024)])
def test_batches(mnk: tuple[int, int, int]) -> None:
    m, n, k = mnk
    rng = np.random.default_rng(3)
    for dtype in ("float32", "float16"):
        one, many = matrix(rng, (m, k), dtype, "rows"), matrix(rng, (3, 4, k, n), dtype, "columns")
        # Heads of attention: the two batch axes cannot be one.
        heads = rng.standard_normal((3, m, 4, k)).astype(dtype).transpose(0, 2, 1, 3)
        for a in (np.broadcast_to(one, (3, 4, m, k)), heads, np.broadcast_to(heads[:, :1], (3, 4, m, k))):
            for b in (many, np.broadcast_to(many[0, 0], (3, 4, k, n))):
                c = np.full((3, m, 4, n), np.nan, dtype).transpose(0, 2, 1, 3)
                run(a, b, c, host(), rng)
                check(c, a, b)


@pytest.mark.parametrize("dtypes", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_accumulate(layout: str, dtypes: tuple[str, str]) -> None:
    rng = np.random.default_rng(4)
    for m, n, k in ((30, 50, 700), (17, 40, 20), (2, 300, 64), (90, 1, 70), (5, 5, 0)):
        a, b = matrix(rng, (m, k), dtypes[0], "rows"), matrix(rng, (k, n), dtypes[0], "rows")
        c = matrix(rng, (m, n), dtypes[1], layout)
        before = c.astype(np.float64)
        run(a, b, c, host(), accumulate=True)
        check(c, a, b, before)


@pytest.mark.parametrize("dtypes", DTYPES)
def test_bias(dtypes: tuple[str, str]) -> None:
    rng = np.random.default_rng(5)
    for m, n, k in ((30, 50, 700), (17, 40, 20), (2, 300, 64), (300, 3, 64), (6, 9, 0), (90, 1, 70)):
        for layout in LAYOUTS:
            a, b = matrix(rng, (m, k), dtypes[0], "rows"), matrix(rng, (k, n), dtypes[0], "columns")
            c, bias = matrix(rng, (m, n), dtypes[1], layout), rng.standard_normal(n).astype(dtypes[1])
            run(a, b, c, host(), epilogue_slots=(bias.ctypes.data,), epilogue=gemm.Bias(dtypes[1]))
            check(c, a, b, bias.astype(np.float64))


def test_an_epilogue_may_serve_several_plans() -> None:
    bias = gemm.Bias("float32")
    a = np.ones((8, 8), np.float32)
    first = plan(a, a, a, host(), epilogue=bias)
    plan(a, a, a.T, host(), epilogue=bias)
    assert first.text() == plan(a, a, a, host(), epilogue=gemm.Bias("float32")).text()


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_the_split_of_the_work_does_not_change_a_bit(dtype: str) -> None:
    rng = np.random.default_rng(6)
    for m, n, k in ((150, 170, 600), (1, 5000, 300), (3, 200, 9000), (64, 64, 2048), (7, 900, 700)):
        a, b = matrix(rng, (m, k), dtype, "rows"), matrix(rng, (k, n), dtype, "columns" if m == 3 else "rows")
        first = np.empty((m, n), dtype)
        p = run(a, b, first, host())
        assert max(p.items) > 1
        for _ in range(4):
            again = np.empty((m, n), dtype)
            run(a, b, again, host(), rng)
            assert first.tobytes() == again.tobytes()


@pytest.mark.parametrize("layouts", [("rows", "rows"), ("rows", "columns"), ("columns", "rows"), ("columns", "columns")])
def test_the_number_of_threads_does_not_change_a_bit(layouts: tuple[str, str]) -> None:
    rng = np.random.default_rng(14)
    sizes = [(200, 130, 900), (300, 90, 1024), (20, 700, 600), (6, 3000, 300), (1, 5000, 300)]
    for m, n, k in sizes + [tuple(int(x) for x in 2.0**rng.uniform(0, [8, 9, 10])) for _ in range(25)]:
        a, b = matrix(rng, (m, k), "float32", layouts[0]), matrix(rng, (k, n), "float32", layouts[1])
        found = []
        for threads in (1, 2, 3, 16):
            c = np.empty((m, n), np.float32)
            run(a, b, c, host(), threads=threads)
            found.append(c.tobytes())
        assert len(set(found)) == 1


def test_only_c_is_written() -> None:
    rng = np.random.default_rng(7)
    for dtype in ("float32", "bfloat16"):
        for m, n, k in ((13, 31, 20), (1, 1000, 30), (3, 77, 2000), (29, 65, 300), (50, 1, 100)):
            for by_columns in (False, True):
                room = np.full((m + 2, n + 7), 7, dtype) if not by_columns else np.full((n + 7, m + 2), 7, dtype).T
                c = room[1:m + 1, 3:n + 3]
                a, b = matrix(rng, (m, k), dtype, "rows"), matrix(rng, (k, n), dtype, "rows")
                run(a, b, c, host())
                check(c, a, b)
                c[...] = 7
                assert (room == np.asarray(7, dtype)).all()


class Fenced:
    """Arrays that begin right after, or end right before, memory that must not be touched."""

    def __init__(self) -> None:
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.kept: list[mmap.mmap] = []

    def __call__(self, source: np.ndarray, at_end: bool) -> np.ndarray:
        page = mmap.PAGESIZE
        room = -(-max(source.nbytes, 1) // page) * page
        memory = mmap.mmap(-1, room + 2 * page)
        self.kept.append(memory)
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        for fence in (address, address + page + room):
            assert self.libc.mprotect(ctypes.c_void_p(fence), ctypes.c_size_t(page), 0) == 0
        start = page + (room - source.nbytes if at_end else 0)
        made = np.frombuffer(memory, source.dtype, source.size, start).reshape(source.shape)
        made[...] = source
        return made


@pytest.mark.skipif(not hasattr(mmap, "MAP_ANONYMOUS"), reason="needs mprotect")
@pytest.mark.parametrize("target", targets(), ids=lambda t: t.name.split("/")[-1])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_nothing_outside_the_operands_is_read(dtype: str, target: Target) -> None:
    rng = np.random.default_rng(8)
    fenced = Fenced()
    sizes = [(1, 1, 1), (13, 31, 19), (64, 64, 64), (29, 70, 300), (1, 1000, 33), (3, 77, 999), (4, 2048, 2),
             (6, 1000, 270), (8, 530, 500), (500, 2, 65), (15, 47, 260)]
    for m, n, k in sizes:
        for turn in range(8):
            a = fenced(matrix(rng, (k, m) if turn & 1 else (m, k), dtype, "rows"), bool(turn & 4))
            b = fenced(matrix(rng, (n, k) if turn & 2 else (k, n), dtype, "rows"), bool(turn & 4))
            a, b = a.T if turn & 1 else a, b.T if turn & 2 else b
            c = fenced(np.zeros((m, n), dtype), bool(turn & 4))
            run(a, b, c, target)
            check(c, a, b)


def test_nan_and_infinity_stay_in_their_rows_and_columns() -> None:
    rng = np.random.default_rng(9)
    for m, n, k in ((13, 31, 20), (40, 70, 300), (1, 1000, 30), (3, 77, 2000), (300, 2, 64)):
        a, b = matrix(rng, (m, k), "float32", "rows"), matrix(rng, (k, n), "float32", "columns")
        a[m - 1, k - 1], b[0, n - 1], b[k // 2, 0] = np.nan, np.inf, -np.inf
        c = np.empty((m, n), np.float32)
        run(a, b, c, host())
        with np.errstate(invalid="ignore"):
            expected = a.astype(np.float64) @ b.astype(np.float64)
        np.testing.assert_allclose(c, expected, rtol=1e-4, atol=1e-4)  # NaN and infinities where they belong


def test_empty_products() -> None:
    for dtype in ("float32", "float16"):
        c = np.full((5, 70), np.nan, dtype)
        p = run(np.empty((5, 0), dtype), np.empty((0, 70), dtype), c, host())
        assert (c == 0).all()
        assert p.items[0] == 0
    for batch, m, n, k in ((1, 0, 5, 5), (1, 5, 0, 5), (0, 5, 5, 5), (2, 0, 5000, 5000), (0, 1, 500, 500)):
        p = gemm.plan("float32", "float32", batch, m, n, k, (m * k, k, 1), (k * n, n, 1), (m * n, n, 1))
        assert not any(p.items)


def test_one_code_for_all_sizes() -> None:
    def key(m: int, n: int, k: int) -> str:
        return gemm.plan("float32", "float32", 1, m, n, k, (0, k, 1), (0, n, 1), (0, n, 1)).key
    assert len({key(m, n, k) for m in (15, 64, 1000) for n in (15, 64, 999) for k in (0, 1, 4096)}) == 1
    assert len({key(1, n, k) for n in (100, 4096) for k in (64, 4097)}) == 1


def test_arm() -> None:
    """What cannot run here at least becomes code: fused multiply-adds, no accumulator spilled in the inner loop."""
    from llvmlite import binding
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    machine = binding.Target.from_triple("aarch64-unknown-linux-gnu").create_target_machine(cpu="neoverse-n1", opt=2)
    for dtype in ("float32", "float64", "float16", "bfloat16"):
        p = gemm.plan(dtype, dtype, 1, 99, 99, 99, (0, 99, 1), (0, 99, 1), (0, 99, 1), vector_bytes=16, registers=32,
                      half=True)
        assembly = machine.emit_assembly(binding.parse_assembly(p.text()))
        body = assembly.partition("tile_12_2:")[2].partition(".Lfunc_end")[0]
        assert body.count("fmla") == 3 * 24  # two k a turn, and one left over
        inner = body[body.index("fmla"):body.rindex("fmla")]
        assert "[sp" not in "".join(line for line in inner.split("\n") if "\tq" in line)


def test_errors() -> None:
    good = ((0, 5, 1), (0, 5, 1), (0, 5, 1))
    for arguments, options, words in [
            (("int32", "float32", 1, 5, 5, 5, *good), {}, "dtype 'int32'"),
            (("float32", "float64", 1, 5, 5, 5, *good), {}, "float32 stored as float64"),
            (("float32", "float32", 1, -5, 5, 5, *good), {}, "non-negative"),
            (("float32", "float32", (1, 2, 3), 5, 5, 5, *good), {}, "two batch axes"),
            (("float32", "float32", 1, 5, 5, 5, (5, 1), *good[1:]), {}, "a_strides must have 3"),
            (("float32", "float32", 1, 5, 5, 5, *good), {"vector_bytes": 8}, "vector_bytes")]:
        with pytest.raises(ValueError, match=words):
            gemm.plan(*arguments, **options)  # type: ignore[arg-type]


def test_through_the_pool() -> None:
    """As the runtime does it: the cache, the project's own loader, several threads."""
    rng = np.random.default_rng(10)
    before = executor.get_num_threads()
    results = []
    a, b = matrix(rng, (260, 300), "float32", "rows"), matrix(rng, (300, 270), "float32", "rows")
    try:
        for threads in (1, 3):
            executor.set_num_threads(threads)
            c = np.empty((260, 270), np.float32)
            p = plan(a, b, c, host())
            memory = {"A": a, "B": b, "C": c, **{name: np.empty(size, np.uint8) for name, size in p.scratch.items()}}
            addresses = codegen.load([(p.key, p.text, p.symbols)])[p.key]
            launch = executor.Launch([addresses[s] for s in p.symbols],
                                     [[memory[s].ctypes.data if isinstance(s, str) else s for s in p.slots]],
                                     [[count] for count in p.items], [not share for share in p.share])
            assert not launch.serial[1]
            executor.Program([launch]).run_list([])
            check(c, a, b)
            results.append(c.tobytes())
    finally:
        executor.set_num_threads(before)
    assert results[0] == results[1]


@pytest.mark.skipif(not hasattr(mmap, "MAP_ANONYMOUS"), reason="needs mprotect")
@pytest.mark.parametrize("target", targets(), ids=lambda t: t.name.split("/")[-1])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_windows_are_multiplied_where_they_are(dtype: str, target: Target) -> None:
    """Windows of 3 x 2 with rows of every length beside that of a vector; nothing but the image is touched."""
    rng = np.random.default_rng(12)
    fenced = Fenced()
    for turn, (width, step, m) in enumerate([(5, 1, 3), (9, 1, 17), (15, 1, 2), (18, 1, 30), (41, 1, 15), (70, 1, 5), (23, 2, 9), (2, 1, 1)]):
        images, groups, channels, height = 2, 2, 4 if width < 40 else 45, 7
        image = fenced(rng.standard_normal((images, groups, channels, height, width)).astype(dtype), bool(turn & 1))
        rows, columns = (height - 3) // step + 1, (width - 2) // step + 1
        s = tuple(x // image.itemsize for x in image.strides)
        seen = np.lib.stride_tricks.as_strided(image, (images, groups, channels, 3, 2, rows, columns),
                                               (*image.strides, *image.strides[-2:])[:5] + (image.strides[3] * step, image.strides[4] * step))
        k_offsets, n_offsets = ((np.add.outer(np.add.outer(np.arange(a) * x, np.arange(b) * y), np.arange(c) * z).reshape(-1) * image.itemsize).astype(np.int64)
                                for (a, x), (b, y), (c, z) in (((channels, s[2]), (3, s[3]), (2, s[4])), ((1, 0), (rows, s[3] * step), (columns, s[4] * step))))
        a = fenced(rng.standard_normal((groups, m, channels * 6)).astype(dtype), bool(turn & 1))
        c = np.full((images, groups, m, rows * columns), np.nan, dtype)
        b = np.lib.stride_tricks.as_strided(image, (images, groups, 1, 1), image.strides[:4])
        run(np.broadcast_to(a, (images, *a.shape)), b, c, target, rng, tables=(k_offsets, n_offsets))
        check(c, np.broadcast_to(a, (images, *a.shape)), seen.reshape(images, groups, channels * 6, rows * columns))


@pytest.mark.skipif(not amx(), reason="no tile registers for bfloat16")
@pytest.mark.parametrize("dtype_out", ["bfloat16", "float32"])
def test_tile_registers(dtype_out: str) -> None:
    rng = np.random.default_rng(11)
    fenced = Fenced()
    sizes = [(8, 8, 16), (16, 16, 32), (31, 33, 17), (32, 64, 1000), (97, 101, 103), (130, 66, 600), (300, 20, 33)]
    for number, (m, n, k) in enumerate(sizes):
        for turn in range(8):
            a = fenced(matrix(rng, (k, m) if turn & 1 else (m, k), "bfloat16", "rows"), bool(turn & 4))
            b = fenced(matrix(rng, (n, k) if turn & 2 else (k, n), "bfloat16", "rows"), bool(turn & 4))
            a, b = a.T if turn & 1 else a, b.T if turn & 2 else b
            c = matrix(rng, (m, n), dtype_out, LAYOUTS[(turn + number) % 4])
            before = c.astype(np.float64)
            p = run(a, b, c, host(), rng, amx=True, accumulate=turn == 3)
            assert "amx" in p.key
            check(c, a, b, before if turn == 3 else 0.0)
    for m, n, k in ((40, 50, 90), (17, 9, 31)):
        one, many = matrix(rng, (m, k), "bfloat16", "rows"), matrix(rng, (3, 4, k, n), "bfloat16", "columns")
        for a, b in ((np.broadcast_to(one, (3, 4, m, k)), many), (matrix(rng, (3, 4, m, k), "bfloat16", "padded"), np.broadcast_to(many[0, 0], (3, 4, k, n)))):
            c, bias = np.full((3, 4, m, n), np.nan, dtype_out), rng.standard_normal(n).astype(dtype_out)
            run(a, b, c, host(), rng, epilogue_slots=(bias.ctypes.data,), amx=True, epilogue=gemm.Bias(dtype_out))
            check(c, a, b, bias.astype(np.float64))


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_the_number_of_threads_planned_for_does_not_change_a_bit(dtype: str) -> None:
    """Large enough that work is cut otherwise, that B is packed before, by its user, or not at all, and that A is copied or not."""
    rng = np.random.default_rng(12)
    for m, n, k in ((523, 131, 353), (64, 1021, 700), (300, 512, 512), (1100, 97, 512), (150, 600, 1024)):
        for layout_a, layout_b in (("rows", "rows"), ("columns", "rows"), ("rows", "columns"), ("columns", "strided")):
            a, b = matrix(rng, (m, k), dtype, layout_a), matrix(rng, (k, n), dtype, layout_b)
            found = []
            for threads in (1, 2, 7):
                c = np.full((m, n), np.nan, dtype)
                run(a, b, c, host(), rng, threads=threads)
                found.append(c)
            check(found[0], a, b)
            assert all((c.view(np.uint8) == found[0].view(np.uint8)).all() for c in found)


def test_each_work_item_packs_what_it_uses() -> None:
    """What one core packs is slow to reach for another: only a B that many small matrices share is packed in a phase of its own."""
    for m, n, k in ((64, 128, 784), (512, 512, 512), (2048, 2048, 2048), (4096, 64, 64)):
        p = gemm.plan("float32", "float32", 1, m, n, k, (0, k, 1), (0, 1, k), (0, n, 1), threads=2)
        assert p.items[0] == 0, p
        assert p.items[1] in (2, 4, 8, 16), p
    rng = np.random.default_rng(13)
    a, b = matrix(rng, (9, 40, 70), "float32", "rows"), matrix(rng, (90, 70), "float32", "rows")
    c = np.full((9, 40, 90), np.nan, np.float32)
    p = run(a, np.broadcast_to(b.T, (9, 70, 90)), c, host(), threads=2)
    assert p.items[0] > 0
    check(c, a, np.broadcast_to(b.T, (9, 70, 90)))


@pytest.mark.skipif(not hasattr(mmap, "MAP_ANONYMOUS"), reason="needs mprotect")
@pytest.mark.parametrize("target", targets(), ids=lambda t: t.name.split("/")[-1])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_of_windows_need_no_packing(dtype: str, target: Target) -> None:
    """A row of an image for each batch: vectors are read where they are, to the last element before a page that may not be touched."""
    rng = np.random.default_rng(13)
    fenced = Fenced()
    for turn, (wide, m, channels) in enumerate([(32, 15, 3), (48, 3, 2), (97, 30, 1), (1, 2, 5), (31, 1, 3), (17, 14, 3), (128, 6, 45), (80, 29, 44)]):
        images, rows, size = 2, 3, np.dtype(dtype).itemsize
        image = fenced(rng.standard_normal((images, channels, rows + 2, wide + 2)).astype(dtype), bool(turn & 1))
        s = tuple(x // size for x in image.strides)
        seen = np.lib.stride_tricks.as_strided(image, (images, rows, channels, 3, 3, wide), tuple(size * x for x in (s[0], s[2], s[1], s[2], 1, 1)))
        k_offsets = (np.add.outer(np.add.outer(np.arange(channels) * s[1], np.arange(3) * s[2]), np.arange(3)).reshape(-1) * size).astype(np.int64)
        n_offsets = np.arange(wide, dtype=np.int64) * size
        a = fenced(rng.standard_normal((m, channels * 9)).astype(dtype), bool(turn & 1))
        memory = np.full((images, m, rows, wide), np.nan, dtype)
        c = memory.transpose(0, 2, 1, 3)
        b = np.lib.stride_tricks.as_strided(image, (images, rows, 1, wide), tuple(size * x for x in (s[0], s[2], 0, 1)))
        p = run(np.broadcast_to(a, (images, rows, *a.shape)), b, c, target, rng, tables=(k_offsets, n_offsets))
        assert not p.scratch
        check(c, a, seen.reshape(images, rows, channels * 9, wide))

"""Products of 8-bit integers against NumPy in int64, by every way of multiplying that this processor has, exactly."""
from __future__ import annotations

import ctypes
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from tests.codegen.native import targets
from tests.codegen.test_gemm import phases
from torsh.codegen import gemm_int8
from torsh.codegen.gemm_int8 import Shape8
from torsh.codegen.target import Target, _flags, amx, host, int8_way

#: By rows, by columns, strided in both, with a gap between rows.
LAYOUTS = ("rows", "columns", "strided", "padded")


def ways() -> list[tuple[Target, str]]:
    found = [(target, "madd") for target in targets()]
    if int8_way(host()) in ("amx", "dot"):
        found.append((host(), "dot"))
    if amx("int8"):
        found.append((host(), "amx"))
    if "avx_vnni" in _flags():
        found.append((Target("avxvnni", host().triple, "haswell", "+avx2,+fma,+avxvnni", 32), "dot"))
    if int8_way(host()) == "sdot":
        found.append((host(), "sdot"))
    return found


def matrix(rng: np.random.Generator, shape: tuple[int, ...], dtype: str, layout: str, extremes: bool = False) -> np.ndarray:
    *batch, m, n = shape
    rows, columns = (n, m) if layout == "columns" else (m, n)
    info = np.iinfo(dtype)
    gap = info.max
    if layout == "strided":
        x = np.full((*batch, 2 * rows + 1, 3 * columns + 1), gap, dtype)[..., 1::2, 1::3]
    elif layout == "padded":
        x = np.full((*batch, rows, columns + 5), gap, dtype)[..., 2:columns + 2]
    else:
        x = np.empty((*batch, rows, columns), dtype)
    x[...] = rng.choice([info.min, info.max], x.shape) if extremes else rng.integers(info.min, info.max + 1, x.shape)
    return x.swapaxes(-1, -2) if layout == "columns" else x


def strides(x: np.ndarray) -> tuple[int, ...]:
    made = tuple(s // x.itemsize for s in x.strides)
    return made if len(made) == 3 else (0, *made)


def aligned(size: int) -> np.ndarray:
    raw = np.full(size + 64, 0x55, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start:start + size]


def launch(p: Any, target: Target, memory: dict[str, np.ndarray], rng: np.random.Generator | None = None) -> None:
    addresses = {name: x.ctypes.data for name, x in memory.items()}
    addresses.update({name: memory.setdefault(name, aligned(size)).ctypes.data for name, size in p.scratch.items()})
    slots = (ctypes.c_int64 * len(p.slots))(*(addresses[s] if isinstance(s, str) else s for s in p.slots))
    for function, count in zip(phases(p, target), p.items, strict=True):
        pieces = [(0, count)]
        if rng is not None and count > 1:
            pieces = list(pairwise(sorted({0, count, *rng.integers(0, count, 5).tolist()})))
            rng.shuffle(pieces)
        for begin, end in pieces:
            if end > begin:
                function(ctypes.addressof(slots), int(begin), int(end))


def product(a: np.ndarray, b: np.ndarray, c: np.ndarray, target: Target, way: str, rng: np.random.Generator | None = None, threads: int = 2) -> None:
    batch = c.shape[0] if c.ndim == 3 else 1
    p = gemm_int8.plan(target, a.dtype == np.int8, batch, c.shape[-2], c.shape[-1], a.shape[-1], strides(a), strides(b), strides(c), way=way, threads=threads)
    launch(p, target, {"A": a, "B": b, "C": c}, rng)


def exact(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.matmul(a.astype(np.int64), b.astype(np.int64))


#: The last ones are packed before and where they are used, by several blocks of columns and by one.
SIZES = [(1, 1, 1), (3, 2, 1), (14, 32, 64), (13, 31, 257), (15, 33, 300), (64, 64, 64), (97, 101, 103), (7, 200, 513), (1, 700, 37), (2, 129, 1100),
         (3, 997, 5), (5, 6, 2999), (211, 1, 97), (300, 3, 64), (1, 1, 1501), (0, 3, 4), (3, 0, 4), (3, 4, 0), (33, 65, 130), (70, 600, 40), (70, 64, 2500)]


@pytest.mark.parametrize("kind", ["int8", "uint8"])
@pytest.mark.parametrize(("target", "way"), ways(), ids=lambda x: x if isinstance(x, str) else x.name.split("/")[-1])
def test_products(target: Target, way: str, kind: str) -> None:
    rng = np.random.default_rng(1)
    for number, (m, n, k) in enumerate(SIZES):
        for turn in range(4):
            a = matrix(rng, (m, k), kind, LAYOUTS[turn])
            b = matrix(rng, (k, n), "int8", LAYOUTS[(turn + number) % 4])
            c = matrix(rng, (m, n), "int32", LAYOUTS[(turn + number // 4) % 4])
            product(a, b, c, target, way)
            np.testing.assert_array_equal(c, exact(a, b), err_msg=f"{m} {n} {k} {turn}")


@pytest.mark.parametrize("kind", ["int8", "uint8"])
@pytest.mark.parametrize(("target", "way"), ways(), ids=lambda x: x if isinstance(x, str) else x.name.split("/")[-1])
def test_extremes(target: Target, way: str, kind: str) -> None:
    """Every sum of two such products would saturate in 16 bits."""
    rng = np.random.default_rng(2)
    for m, n, k in [(17, 35, 67), (4, 4, 1030), (40, 70, 129)]:
        a, b = matrix(rng, (m, k), kind, "rows", True), matrix(rng, (k, n), "int8", "rows", True)
        for x, y in ((a, b), (np.full_like(a, np.iinfo(kind).max), np.full_like(b, -128)), (np.full_like(a, np.iinfo(kind).min), np.full_like(b, -128))):
            c = np.empty((m, n), np.int32)
            product(x, y, c, target, way)
            np.testing.assert_array_equal(c, exact(x, y))


@pytest.mark.parametrize(("target", "way"), ways(), ids=lambda x: x if isinstance(x, str) else x.name.split("/")[-1])
def test_random_batches_in_any_order(target: Target, way: str) -> None:
    rng = np.random.default_rng(3)
    for _ in range(25):
        m, n, k = (int(x) for x in 2.0 ** rng.uniform(0, [8, 8, 10]))
        batch = int(rng.integers(1, 4))
        kind = str(rng.choice(["int8", "uint8"]))
        a, b = (matrix(rng, (batch if rng.integers(2) else 1, *s), t, str(rng.choice(LAYOUTS))) for s, t in (((m, k), kind), ((k, n), "int8")))
        c = matrix(rng, (batch, m, n), "int32", str(rng.choice(LAYOUTS)))
        a, b = (np.broadcast_to(x, (batch, *x.shape[1:])) for x in (a, b))
        product(a, b, c, target, way, rng, int(rng.integers(1, 5)))
        np.testing.assert_array_equal(c, exact(a, b))


@pytest.mark.parametrize("kind", ["int8", "uint8"])
@pytest.mark.parametrize("target", targets(), ids=lambda t: t.name.split("/")[-1])
def test_weights_packed_before(target: Target, kind: str) -> None:
    rng = np.random.default_rng(4)
    signed = kind == "int8"
    for m, n, k in [(5, 37, 70), (40, 130, 256), (3, 4, 0), (1, 1, 1)]:
        a, b, c = matrix(rng, (m, k), kind, "rows"), matrix(rng, (k, n), "int8", "columns"), np.empty((m, n), np.int32)
        packed = aligned(gemm_int8.bytes_packed(target, 1, n, k, signed))
        launch(gemm_int8.pack_plan(target, signed, 1, n, k, strides(b)), target, {"B": b, "C": packed}, rng)
        p = gemm_int8.plan(target, signed, 1, m, n, k, strides(a), strides(b), strides(c), packed=True)
        assert "packed" not in p.scratch
        shape = Shape8(int8_way(target), target.vector_bytes, signed)
        near = k > 0 and n <= 16 * shape.columns  # A's panels are packed where they are used
        assert p.items[0] == (0 if near else -(-m // shape.rows))
        launch(p, target, {"A": a, "B": packed, "C": c}, rng)
        np.testing.assert_array_equal(c, exact(a, b))
    a, b, c = matrix(rng, (3, 5, 70), kind, "rows"), matrix(rng, (3, 70, 37), "int8", "columns"), np.empty((3, 5, 37), np.int32)
    packed = aligned(gemm_int8.bytes_packed(target, 3, 37, 70, signed))
    launch(gemm_int8.pack_plan(target, signed, 3, 37, 70, strides(b)), target, {"B": b, "C": packed}, rng)
    launch(gemm_int8.plan(target, signed, 3, 5, 37, 70, strides(a), (1, 0, 0), strides(c), packed=True), target, {"A": a, "B": packed, "C": c}, rng)
    np.testing.assert_array_equal(c, exact(a, b))


def test_other_processors_get_their_instructions() -> None:
    """The code that this processor cannot run is what is meant: compiled, not run."""
    from llvmlite import binding
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    from torsh.codegen import gemm_int8_text
    for way, triple, cpu, features, width, wanted in [("dot", "x86_64-unknown-linux-gnu", "alderlake", "", 32, "vpdpbusd"),
                                                      ("sdot", "aarch64-unknown-linux-gnu", "generic", "+dotprod", 16, "sdot"),
                                                      ("madd", "aarch64-unknown-linux-gnu", "generic", "", 16, "smlal")]:
        for signed in (True, False):
            module = binding.parse_assembly(gemm_int8_text.write("g", Shape8(way, width, signed), signed, triple.partition("-")[0]))
            module.triple = triple
            module.verify()
            machine = binding.Target.from_triple(triple).create_target_machine(cpu=cpu, features=features, opt=2)
            assert machine.emit_assembly(module).count(wanted) >= 12, (way, signed)


def test_wrong_sizes_are_told() -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        gemm_int8.plan(host(), True, 1, -1, 2, 3, (0, 3, 1), (0, 2, 1), (0, 2, 1))
    with pytest.raises(ValueError, match="b_strides must have 3 entries"):
        gemm_int8.plan(host(), True, 1, 1, 2, 3, (0, 3, 1), (2, 1), (0, 2, 1))

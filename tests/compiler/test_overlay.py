"""What a kernel writes lies over what it reads where that is proved, and nowhere else."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import torsh
from tests.codegen.kernel_samples import Case, compare, kernel, load, number, op, store
from tests.codegen.native import run_native
from tests.compiler.test_compiler import STEPS, program, runtime
from torsh.codegen.kernel_ir import Acc, Cast, Declare, Expr, Index, Kernel, Loop, Phase, Read, Slot, Stmt, Update
from torsh.codegen.target import host
from torsh.compiler import arena, realize, schedule
from torsh.compiler.overlay import Accesses, may_overlay
from torsh.tensor.tensor import Tensor

_ROWS, _WIDTH = 5, 19
_X, _Y, _Z = 0, 1, 2  # buffers: x is read, y written, z written too
_ROW, _I, _J, _TILE = range(4)
_HERE = ((_ROW, _WIDTH), (_I, 1))


def _x(*terms: Any, **options: Any) -> Expr:
    return load(_X, "float32", *(terms or _HERE), **options)


def _rows(*statements: Stmt, dtype: str = "float32") -> Kernel:
    """A kernel with a work item a row."""
    return kernel([("float32", False), (dtype, True), ("float32", True)], 0, Phase(((_ROW, _ROWS),), tuple(statements)))


def _loop(*statements: Stmt, axis: int = _I) -> Loop:
    return Loop(axis, _WIDTH, "vector", tuple(statements))


def _y(value: Expr, *terms: Any, **options: Any) -> Stmt:
    return store(_Y, value, *(terms or _HERE), **options)


def _z(value: Expr) -> Stmt:
    return store(_Z, value, *_HERE)


def _total() -> tuple[Acc, Expr]:
    acc = Acc("sum", "float32")
    return acc, Read(acc, "float32")


def _normalized(last: bool) -> Kernel:
    """Rows divided by their sums; not `last`: an unrelated pass reads them again after they were written."""
    (acc, read), (other, _) = _total(), _total()
    passes = [Declare(acc), _loop(Update(acc, _x())), _loop(_y(op("div", _x(), read)))]
    return _rows(*passes, *([] if last else [Declare(other), _loop(Update(other, _x())), _loop(_z(Read(other, "float32")))]))


def _shared() -> Kernel:
    x = _x()
    return _rows(_loop(_y(op("add", x, number(1))), _z(x)))


def _row_value() -> Kernel:
    """y[row] = x[row] + the sum of the row, read before by all of its elements."""
    acc, read = _total()
    one, again = load(_X, "float32", (_ROW, 1)), load(_X, "float32", (_ROW, 1))
    return _rows(Declare(acc), _loop(Update(acc, op("mul", one, load(_Z, "float32", *_HERE)))), store(_Y, op("add", read, again), (_ROW, 1)))


def _two_phases(first: Stmt, second: Stmt) -> Kernel:
    return kernel([("float32", False), ("float32", True), ("float32", True)], 0, Phase(((_ROW, _ROWS),), (first,)), Phase(((_ROW, _ROWS),), (second,)))


def _tiled(load_tile: int) -> Kernel:
    """Tiles of a vector; what a tile reads is its own only if both loops are cut alike."""
    acc, read = _total()
    loops = (Declare(acc), Loop(_I, 40, "vector", (Update(acc, _x((_I, 1))),), (_TILE, load_tile)),
             Loop(_I, 40, "vector", (_y(op("mul", read, _x((_I, 1))), (_I, 1)),), (_TILE, 8)))
    return kernel([("float32", False), ("float32", True), ("float32", True)], 0, Phase(((_TILE, 5),), loops))


def _index(*terms: tuple[int, int]) -> Expr:
    return Cast(load(_Z, "float32", *terms), "int64", "int64")


PROVED: dict[str, Kernel] = {
    "element by element": _rows(_loop(_y(op("exp", _x())))),
    "twice at one place": _rows(_loop(_y(op("mul", op("exp", _x()), _x())))),
    "a sum and then a pass that writes": _normalized(True),
    "one value for two outputs": _shared(),
    "a row's value": _row_value(),
    "all that an earlier phase read": _two_phases(_loop(_z(_x((_I, 1)))), _loop(_y(load(_Z, "float32", *_HERE)))),
    "tiles": _tiled(8),
    "masked reads": _rows(_loop(_y(_x(mask=compare("gt", Index(_I), number(3, "int64")))))),
    "columns outermost": _rows(_loop(_y(_x((_ROW, 1), (_I, _ROWS)), (_ROW, 1), (_I, _ROWS)))),
}

REFUSED: dict[str, Kernel] = {
    "permuted": _rows(_loop(_y(_x((_ROW, 1), (_I, _ROWS))))),
    "broadcast": _rows(_loop(_y(_x((_I, 1))))),
    "a row for its elements": _rows(_loop(_y(_x((_ROW, _WIDTH))))),
    "shifted": _rows(_loop(_y(_x(offset=1)))),
    "twice, once shifted": _rows(_loop(_y(op("add", _x(), _x(offset=1))))),
    "every other element": _rows(_loop(_y(_x((_ROW, _WIDTH), (_I, 2))))),
    "gathered": _rows(_loop(_y(_x(gathers=((_index(*_HERE), 1),))))),
    "gathered besides": _rows(_loop(_y(op("add", _x(), _x((_ROW, _WIDTH), gathers=((_index((_ROW, 1)), 1),)))))),
    "wider elements": _rows(_loop(_y(Cast(_x(), "float64", "float64"))), dtype="float64"),
    "narrower elements": _rows(_loop(_y(_x())), dtype="float16"),
    "read again by a later store": _rows(_loop(_y(op("exp", _x())), _z(_x()))),
    "read again in a later pass": _normalized(False),
    "read again in a later phase": _two_phases(_loop(_y(_x())), _loop(_z(_x()))),
    "the same element twice": _rows(_loop(_y(_x((_I, 1)), (_I, 1)))),
    "elements of two rows": _rows(_loop(_y(_x((_ROW, _WIDTH - 1), (_I, 1)), (_ROW, _WIDTH - 1), (_I, 1)))),
    "once for every other axis": _rows(_loop(Loop(_J, 2, "serial", (_y(op("add", _x(), number(1))),)))),
    "by all rows before one is written": _two_phases(_loop(_z(number(0))), Loop(_J, _ROWS, "serial", (_loop(_y(_x((_J, _WIDTH), (_I, 1)))),))),
    "tiles of another size": _tiled(4),
    "added up": _rows(_loop(_y(_x(), mode="add"))),
    "masked writes": _rows(_loop(_y(_x(), mask=compare("gt", Index(_I), number(3, "int64"))))),
}


def _proved(k: Kernel) -> bool:
    return may_overlay(Accesses(k), [None] * k.slots, [_X], _Y)


@pytest.mark.parametrize("name", PROVED)
def test_what_is_proved(name: str) -> None:
    assert _proved(PROVED[name])


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    assert not _proved(REFUSED[name])


def test_integers_of_the_argument_table_count() -> None:
    """The same code walks alike or not by the strides that it is given."""
    value = load(0, "float32", (_ROW, Slot(2)), (_I, 1))
    k = kernel([("float32", False), ("float32", True)], 2, Phase(((_ROW, _ROWS),), (_loop(store(1, value, (_ROW, Slot(3)), (_I, 1))),)))
    accesses = Accesses(k)
    assert may_overlay(accesses, [None, None, _WIDTH, _WIDTH], [0], 1)
    assert not may_overlay(accesses, [None, None, _WIDTH, _WIDTH + 1], [0], 1)
    assert not may_overlay(accesses, [None, None, 1, 1], [0], 1)
    assert not may_overlay(accesses, [None, None, object(), _WIDTH], [0], 1)


@st.composite
def _passes(draw: st.DrawFn) -> Kernel:
    """One to three passes over rows, each reading x here or there and storing y or z, or folding."""
    acc, read = _total()
    places: list[dict[str, Any]] = [{"terms": _HERE}] * 4 + [{"terms": ((_ROW, 1), (_I, _ROWS))}, {"terms": _HERE, "offset": 1}, {"terms": ((_ROW, _WIDTH),)}]
    shared = _x()
    body: list[Stmt] = [Declare(acc)]
    for number_of in range(draw(st.integers(1, 3))):
        inner: list[Stmt] = []
        for _ in range(draw(st.integers(1, 3))):
            at = draw(st.sampled_from(places))
            value = shared if draw(st.booleans()) else _x(*at["terms"], offset=at.get("offset", 0))
            kind = draw(st.sampled_from(("y", "z", "fold")))
            if kind == "fold":
                if number_of == 0:
                    inner.append(Update(acc, value))
                continue
            value = op("add", value, read if number_of else number(2))
            inner.append(_y(value) if kind == "y" else _z(value))
        if inner:
            body.append(_loop(*inner))
    return _rows(*body)


@settings(max_examples=150, deadline=None)
@given(_passes())
def test_overlaid_memory_gives_the_same_numbers(k: Kernel) -> None:
    """Native code with y in the memory of x, against memory apart."""
    if not _proved(k):
        return
    size = _ROWS * _WIDTH + 1
    rng = np.random.default_rng(0)
    arrays = {i: rng.integers(-9, 9, size).astype(np.float32) for i in range(3)}
    apart = run_native(Case(k, {**arrays, _Y: arrays[_X].copy()}), host())
    together = kernel([("float32", False), ("float32", True), ("float32", True)], 0, *k.phases)

    class Shared(Case):
        def arguments(self, given: dict[int, np.ndarray]) -> np.ndarray:
            table = super().arguments(given)
            table[_Y] = table[_X]
            return table
    over = run_native(Shared(together, dict(arrays)), host())
    np.testing.assert_array_equal(over[_X][:size - 1], apart[_Y][:size - 1])
    np.testing.assert_array_equal(over[_Z], apart[_Z])


# Plans




def _bytes(make: Any) -> int:
    realize._plans.clear()
    realize._recent.clear()
    kept = make()
    realize.realize([x._storage.node for x in (kept if isinstance(kept, tuple) else (kept,))])
    return max(r.plan.program.arena_bytes for r in realize._plans.values())


_N = 512
_VALUE = _N * _N * 4


@pytest.fixture
def x() -> Tensor:
    made = torsh.tensor(np.random.default_rng(0).standard_normal((_N, _N)).astype(np.float32)) + 0
    made.numpy()
    return made


def _last(x: Tensor) -> Tensor:
    """A product that is too small to hold one of the values."""
    return x @ torsh.ones(_N, 8)


def test_a_temporary_lies_over_what_it_is_computed_from(x: Tensor) -> None:
    """Softmax between two products: the exponentials lie where the products lay."""
    assert _bytes(lambda: _last((x @ x).softmax(1))) <= 1.1 * _VALUE
    assert _bytes(lambda: _last(((x @ x).softmax(1) @ x).softmax(1))) <= 2.1 * _VALUE  # products lie over nothing


def test_a_temporary_lies_in_the_memory_of_an_output_made_of_it(x: Tensor) -> None:
    assert _bytes(lambda: torsh.softmax(x @ x, 1)) < _VALUE


def test_what_is_read_elsewhere_is_not_overwritten(x: Tensor) -> None:
    assert _bytes(lambda: _last(torsh.cumsum(x @ x, 0))) <= 1.1 * _VALUE
    assert _bytes(lambda: _last(torsh.cumsum((x @ x).t().contiguous(), 0))) >= 2 * _VALUE  # permuted
    assert _bytes(lambda: _last(((x @ x) - (x @ x).roll(1, 1)).softmax(1))) >= 2 * _VALUE  # shifted


def test_kept_values_and_arguments_are_not_overwritten(x: Tensor) -> None:
    before = x.numpy().copy()
    a = x @ x
    b = (a.sin() @ x).cos() @ x
    wanted = before @ before
    b.numpy()
    np.testing.assert_allclose(a.numpy(), wanted, rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(x.numpy(), before)


def test_elements_of_another_size_are_not_overlaid(x: Tensor) -> None:
    assert _bytes(lambda: _last((x @ x).cumsum(0).half().cumsum(0).float())) >= 1.5 * _VALUE


def _folded(values: list[Tensor]) -> list[np.ndarray]:
    """The sums of each value's rows, computed in one plan in which the values are temporaries."""
    sums = [(x.float().sin() if x.dim() < 2 else x.sin().sum(0)) for x in values]
    values.clear()
    realize.realize([x._storage.node for x in sums])
    return [x.numpy() for x in sums]


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 9), st.sampled_from((2, 8, 33)), st.sampled_from((5, 16)), STEPS)
def test_random_graphs_overlaid(seed: int, rows: int, columns: int, steps: list[tuple[int, int, int, int]]) -> None:
    """Kernels of few operations, so that there are many temporaries, of which the smallest is worth overlaying."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arena, "_LARGE", 1)
        patch.setattr(arena, "_WORTH", 1)
        patch.setattr(schedule, "_MOST_NODES", 2)
        realize._plans.clear()
        realize._recent.clear()
        with runtime("cpu"):
            found = _folded(program(seed, rows, columns, steps))
    with runtime("reference"):
        want = _folded(program(seed, rows, columns, steps))
    for f, w in zip(found, want, strict=True):
        np.testing.assert_allclose(f, w, rtol=1e-3, atol=2e-2)

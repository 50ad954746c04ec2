"""The subset of Python that is compiled for samplers: what it computes is what Python computes."""
from __future__ import annotations

import ctypes
import math
from types import SimpleNamespace

import numpy as np
import pytest

from torsh.codegen import compile as codegen
from torsh.codegen import draw_samplers, scalar
from torsh.runtime.cpu.mt19937 import MT19937Generator

SOURCE = '''
TABLE = (1.5, 2.5, 4.0)


def total(engine: Engine, out: Floats, count: int, a: Floats, b: float) -> int:
    """Loops, branches and calls of every kind."""
    last = 0.0
    for i in range(count):
        x = a[i]
        if x < 0.0 and not x == -1.0 or x != x:
            continue
        k = 0
        while True:
            k += 1
            if k * k > x:
                break
        last, y = x, _part(x, k)
        out[i] = y - b if y > b else (-y) ** 2 / 2
        if x == 100.0:
            return i
    return 0 - 1


def _part(x: float, k: int) -> float:
    if k <= 2:
        return TABLE[int(abs(x))]
    return math.sqrt(x) + math.floor(x / k) + abs(math.log(x)) - math.ceil(x * 0.3) + k
'''


def _module(source: str) -> SimpleNamespace:
    """A stand-in for a module, with its source, and its functions as Python's."""
    names: dict[str, object] = {"Engine": object, "Floats": object, "math": math}
    exec(compile("from __future__ import annotations\n" + source, "<subset>", "exec"), names)
    return SimpleNamespace(source=source, **{k: v for k, v in names.items() if callable(v)})


def _compiled(monkeypatch: pytest.MonkeyPatch, source: str, stored: str = "float64") -> str:
    monkeypatch.setattr(scalar.inspect, "getsource", lambda module: module.source)
    return scalar.scalar_text(_module(source), "total", stored, {})


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_the_compiled_function_does_what_python_does(monkeypatch: pytest.MonkeyPatch, kind: type) -> None:
    text = _compiled(monkeypatch, SOURCE, np.dtype(kind).name)
    key = f"test-scalar-{np.dtype(kind).name}"
    address = codegen.load([(key, lambda: text, ("total",))])[key]["total"]
    run = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p, ctypes.c_double)(address)
    for values in ([0.0, 1.0, -1.0, -3.0, math.nan, 2.0, 30.0, 100.0, 5.0], [7.5, 0.25], []):
        a = np.array(values, kind)
        ours, wanted = np.zeros(len(values), kind), [0.0] * len(values)
        status = run(None, ours.ctypes.data, len(values), a.ctypes.data, 3.0)
        assert status == _module(SOURCE).total(None, wanted, len(values), a.tolist(), 3.0)
        np.testing.assert_array_equal(ours, np.array(wanted, kind))


@pytest.mark.parametrize("body", ["for i in [1, 2]:\n        pass\n    return 0", "return count % 2", "x = [1]\n    return 0", "return engine.count",
                                  "import math\n    return 0", "return 1 if 0 < count < 2 else 0", "return print(count)"])
def test_what_is_outside_the_subset_is_an_error(monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    with pytest.raises(scalar.UnsupportedError):
        _compiled(monkeypatch, f"def total(engine: Engine, count: int) -> int:\n    {body}\n")


class _Numbers:
    """An engine's next numbers, for the samplers run as Python."""

    def __init__(self, seed: int) -> None:
        self.engine = MT19937Generator(seed)


@pytest.mark.parametrize("sampler", ["gamma", "poisson", "binomial"])
def test_samplers_are_what_their_python_says(monkeypatch: pytest.MonkeyPatch, sampler: str) -> None:
    rng = np.random.default_rng(0)
    count = 300
    parameters = {"gamma": [np.exp(rng.uniform(-4, 6, count))], "poisson": [np.exp(rng.uniform(-4, 7, count))],
                  "binomial": [np.round(np.exp(rng.uniform(0, 7, count))), rng.uniform(0, 1, count)]}[sampler]
    parameters[0][:3] = 0.0
    least = [1e-300] if sampler == "gamma" else []
    monkeypatch.setattr(draw_samplers, "uniform", lambda n: n.engine.uniform(1, np.float64).item())
    monkeypatch.setattr(draw_samplers, "normal", lambda n: n.engine.normal(1, np.float64).item())
    python, wanted = _Numbers(7), [0.0] * count
    getattr(draw_samplers, sampler)(python, wanted, count, *[p.tolist() for p in parameters], *least)
    ours, out = MT19937Generator(7), np.empty(count)
    ours.sample_at(out.ctypes.data, count, out.dtype, sampler, "", None, *[p.ctypes.data for p in parameters], *least)
    np.testing.assert_allclose(out, wanted, rtol=1e-14)
    np.testing.assert_array_equal(ours.get_state(), python.engine.get_state())  # as much was drawn, and the same normal number kept

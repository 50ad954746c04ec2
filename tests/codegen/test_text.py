from __future__ import annotations

import numpy as np
import pytest

from tests.codegen import kernel_samples as samples
from tests.codegen.kernel_samples import kernel, load, number, op, store
from torsh.codegen.kernel_ir import Acc, Const, Declare, Kernel, Loop, Phase, Read, Slot, Update
from torsh.codegen.text import text


def rows(axes: tuple[int, int] = (0, 1), dtype: str = "float32", stride: int = 1, reduction: str = "sum",
         scale: float = 2.0, kind: str = "vector", shared: bool = True, extent: int | Slot = 9) -> Kernel:
    i, j = axes
    acc = Acc(reduction, dtype)
    x = load(0, dtype, (i, 9), (j, stride))
    y = x if shared else load(0, dtype, (i, 9), (j, stride))
    body = (Declare(acc), Loop(j, extent, kind, (Update(acc, op("mul", op("mul", x, y), Const(scale, dtype))),)),
            store(1, Read(acc, dtype), (i, 1)))
    return kernel([(dtype, False), (dtype, True)], 2, Phase(((i, 4),), body))


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_kernels_of_one_structure_have_one_text(name):
    a, b = (samples.SAMPLES[name](10, np.random.default_rng(0)).kernel for _ in range(2))
    assert text(a) == text(b)


def test_numbers_of_axes_do_not_matter():
    assert text(rows()) == text(rows(axes=(7, 3)))


def test_how_a_constant_is_spelled_does_not_matter():
    assert text(rows(scale=2)) == text(rows(scale=np.float32(2)))


@pytest.mark.parametrize("change", [{"dtype": "float64"}, {"stride": 2}, {"reduction": "max"}, {"scale": 2.5}, {"kind": "serial"},
                                    {"shared": False}, {"extent": 10}, {"extent": Slot(2)}, {"scale": -0.0}])
def test_every_difference_shows(change):
    assert text(rows(**change)) != text(rows())


def test_signed_zeros_and_nan_are_told_apart():
    texts = {text(rows(scale=v)) for v in (0.0, -0.0, float("nan"), float("inf"), float("-inf"))}
    assert len(texts) == 5


def test_samples_have_texts_of_their_own():
    texts = {text(make(10, np.random.default_rng(0)).kernel) for make in samples.SAMPLES.values()}
    assert len(texts) == len(samples.SAMPLES) - 1  # extrema_finite is the kernel of extrema_float32


def test_text_reads_as_the_kernel():
    assert text(rows()) == """\
kernel slots=4
buffer 0: slot 0 float32
buffer 1: slot 1 float32 writable
phase x0 < 4
  declare a0 = sum float32
  vector x1 < 9
    e0 = load b0[x0*9 + x1] float32
    e1 = mul e0 e0 float32
    e2 = const 2.0 float32
    e3 = mul e1 e2 float32
    update a0 e3
  e4 = read a0 float32
  store b1[x0] = e4"""


def test_deep_expressions():
    value = load(0, "float32")
    for _ in range(3000):
        value = op("add", value, number(1.0))
    assert text(kernel([("float32", True)], 0, Phase((), (store(0, value),)))).count(" = add ") == 3000

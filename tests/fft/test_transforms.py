"""Fourier transforms against PyTorch, with first and second derivatives."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import torsh
from tests.ops.complex_oracle import agree, complexes, reals
from tests.ops.oracle import outcome, same

NORMS = [None, "backward", "ortho", "forward"]
TO_REAL = {"irfft", "hfft"}
OF_REAL = {"rfft", "ihfft"}
KINDS = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")


def inputs(kind: str) -> tuple[Callable[..., Any], ...]:
    return (reals,) if kind in OF_REAL else (reals, complexes)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("norm", NORMS)
def test_one_dimension(kind: str, norm: str | None) -> None:
    for make in inputs(kind):
        for n in (None, 3, 4, 7):
            agree(lambda m, x, n=n: getattr(m.fft, kind)(x, n, norm=norm), make(2, 5), rtol=1e-9, atol=1e-12)
        agree(lambda m, x: getattr(m.fft, kind)(x, dim=0, norm=norm), make(4, 2), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("norm", NORMS)
def test_several_dimensions(kind: str, norm: str | None) -> None:
    for make in inputs(kind):
        agree(lambda m, x: getattr(m.fft, kind + "n")(x, norm=norm), make(2, 3, 4), rtol=1e-9, atol=1e-12, twice=False)
        agree(lambda m, x: getattr(m.fft, kind + "n")(x, (4, -1), (2, 0), norm), make(2, 3, 3), rtol=1e-9, atol=1e-12, twice=False)
        agree(lambda m, x: getattr(m.fft, kind + "n")(x, (3,), norm=norm), make(2, 4), rtol=1e-9, atol=1e-12, twice=False)
        agree(lambda m, x: getattr(m.fft, kind + "2")(x, (4, 3), norm=norm), make(2, 3, 3), rtol=1e-9, atol=1e-12, twice=False)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=3), st.sampled_from(NORMS))
def test_inverses_undo(shape: list[int], norm: str | None) -> None:
    z, x = torsh.tensor(complexes(*shape)), torsh.tensor(reals(*shape))
    np.testing.assert_allclose(torsh.fft.ifftn(torsh.fft.fftn(z, norm=norm), norm=norm).numpy(), z.numpy(), 1e-9, 1e-11)
    np.testing.assert_allclose(torsh.fft.irfftn(torsh.fft.rfftn(x, norm=norm), shape, norm=norm).numpy(), x.numpy(), 1e-9, 1e-11)
    np.testing.assert_allclose(torsh.fft.hfft(torsh.fft.ihfft(x, norm=norm), shape[-1], norm=norm).numpy(), x.numpy(), 1e-9, 1e-11)
    np.testing.assert_allclose((torsh.fft.fftn(z, norm="ortho").abs() ** 2).sum().item(), (z.abs() ** 2).sum().item(), 1e-9)  # Parseval


@given(st.integers(0, 9), st.floats(0.1, 10))
def test_frequencies_and_shifts(n: int, d: float) -> None:
    if n:
        same(torsh.fft.fftfreq(n, d, dtype=torsh.float64), torch.fft.fftfreq(n, d, dtype=torch.float64), 1e-12)
        same(torsh.fft.rfftfreq(n, d, dtype=torsh.float64), torch.fft.rfftfreq(n, d, dtype=torch.float64), 1e-12)
    x = reals(3, n)
    for dim in (None, 1, (0, 1), (0,)):
        for name in ("fftshift", "ifftshift"):
            same(getattr(torsh.fft, name)(torsh.tensor(x), dim), getattr(torch.fft, name)(torch.from_numpy(x), dim))


def test_dtypes() -> None:
    for dt, result in (("float32", "complex64"), ("float64", "complex128"), ("int64", "complex64"), ("bool", "complex64"), ("complex64", "complex64")):
        assert torsh.fft.fft(torsh.ones(3, dtype=getattr(torsh, dt))).dtype is getattr(torsh, result)
    assert torsh.fft.irfft(torsh.ones(3)).dtype is torsh.float32
    out = torsh.empty(0, dtype=torsh.complex64)
    torsh.fft.fft(torsh.ones(3), out=out)
    assert out.tolist() == [3, 0, 0]


CALLS: dict[str, Callable[[Any], Any]] = {
    "no points": lambda m: m.fft.fft(m.ones(4), n=0), "empty": lambda m: m.fft.fft(m.ones(0)), "norm": lambda m: m.fft.fft(m.ones(4), norm="unit"),
    "repeated": lambda m: m.fft.fftn(m.ones(2, 2), dim=(0, 0)), "complex": lambda m: m.fft.rfft(m.ones(4, dtype=m.complex64)),
    "half": lambda m: m.fft.fft(m.ones(4, dtype=m.bfloat16)), "too many sizes": lambda m: m.fft.fftn(m.ones(4), s=(2, 2)),
    "lengths": lambda m: m.fft.fft2(m.ones(3, 3), s=(2,)), "one frequency": lambda m: m.fft.irfft(m.ones(1, dtype=m.complex64)),
    "scalar": lambda m: m.fft.fft(m.tensor(1.0)), "no axis": lambda m: m.fft.rfftn(m.tensor(1.0)), "dim": lambda m: m.fft.fft(m.ones(4), dim=3),
    "scalar n": lambda m: m.fft.fftn(m.tensor(1.0))}


@pytest.mark.parametrize("case", CALLS)
def test_errors(case: str) -> None:
    ours, theirs = outcome(lambda: CALLS[case](torsh)), outcome(lambda: CALLS[case](torch))
    if isinstance(theirs, type):
        assert ours is theirs
    else:
        same(ours, theirs)


def test_names() -> None:
    """Every public function of torch.fft exists here."""
    assert [n for n in dir(torch.fft) if not n.startswith("_") and n.islower() and callable(getattr(torch.fft, n)) and not hasattr(torsh.fft, n)] == []

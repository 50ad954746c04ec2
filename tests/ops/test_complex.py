"""Complex numbers against PyTorch: parts, views, pointwise functions, and derivatives in PyTorch's convention."""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import torsh
from tests.ops.complex_oracle import agree
from tests.ops.complex_oracle import complexes as _z
from tests.ops.oracle import same

UNARY = ["exp", "expm1", "log", "log2", "log10", "log1p", "sqrt", "rsqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh",
         "asinh", "acosh", "atanh", "sigmoid", "reciprocal", "square", "neg", "abs", "angle", "sgn", "conj", "conj_physical", "real", "imag",
         "view_as_real", "exp2"]


@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_variable(name: str) -> None:
    agree(lambda m, z: getattr(m, name)(z), _z(3))


BINARY: dict[str, Callable[..., Any]] = {
    "add": lambda m, a, b: a + b, "sub": lambda m, a, b: m.sub(a, b, alpha=2j), "mul": lambda m, a, b: a * b, "div": lambda m, a, b: a / b,
    "pow": lambda m, a, b: a ** b, "where": lambda m, a, b: m.where(a.real > b.real, a, b), "mm": lambda m, a, b: a.reshape(2, 2) @ b.reshape(2, 2),
    "outer": lambda m, a, b: m.outer(a, b), "dot": lambda m, a, b: m.dot(a, b), "vdot": lambda m, a, b: m.vdot(a, b),
    "cat": lambda m, a, b: m.cat([a, b]), "kron": lambda m, a, b: m.kron(a, b), "lerp": lambda m, a, b: m.lerp(a, b, 0.25),
    "addcmul": lambda m, a, b: m.addcmul(a, a, b, value=1j), "numbers": lambda m, a, b: (2 - 1j) * a + b / (1 + 2j),
    "einsum": lambda m, a, b: m.einsum("i,j->ji", a, b.conj())}


@pytest.mark.parametrize("name", BINARY)
def test_functions_of_two(name: str) -> None:
    agree(BINARY[name], _z(4), _z(4, seed=1))


REDUCTIONS: dict[str, Callable[..., Any]] = {
    "sum": lambda m, z: z.sum(0), "mean": lambda m, z: z.mean(1), "prod": lambda m, z: z.prod(1), "var": lambda m, z: m.var(z, 1),
    "std": lambda m, z: m.std(z, 1), "norm": lambda m, z: m.norm(z), "norm3": lambda m, z: m.norm(z, 3, 1), "cumsum": lambda m, z: z.cumsum(1),
    "cumprod": lambda m, z: z.cumprod(1), "trace": lambda m, z: m.trace(z), "H": lambda m, z: z.H, "mH": lambda m, z: z.mH @ z,
    "index": lambda m, z: z[:, [0, 0, 1]], "gather": lambda m, z: z[1:].T.flip(0)}


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_and_shapes(name: str) -> None:
    agree(REDUCTIONS[name], _z(2, 3))


def test_zeros_of_magnitude_and_product() -> None:
    z = np.array([0, 1 + 1j, 0j, 2])
    for f in (lambda m, t: m.abs(t), lambda m, t: m.sgn(t), lambda m, t: m.angle(t), lambda m, t: m.prod(t[1:]), lambda m, t: m.prod(t)):
        theirs, ours = torch.from_numpy(z).requires_grad_(), torsh.tensor(z, requires_grad=True)
        a, b = f(torch, theirs), f(torsh, ours)
        same(b.detach(), a.detach())
        a.sum().abs().backward()
        b.sum().abs().backward()
        same(ours.grad, theirs.grad, 1e-12)


def test_mixed_real_and_complex() -> None:
    x, z = np.random.default_rng(0).standard_normal(3), _z(3)
    agree(lambda m, a, b: a * b, x, z)
    agree(lambda m, a, b: b / a + a, x, z)
    agree(lambda m, a, b: m.complex(a, b), x, x + 1)
    agree(lambda m, a, b: m.polar(a, b), np.abs(x), x)
    agree(lambda m, a: m.view_as_complex(a.reshape(3, 2)) ** 2, np.arange(1.0, 7.0))
    agree(lambda m, a, b: m.abs(a) ** b, np.abs(x), z)


def test_complex64_is_kept() -> None:
    z = _z(3, like=np.complex64)
    for f in (lambda m, t: t * 1.5, lambda m, t: t * 1j, lambda m, t: t.abs(), lambda m, t: t + m.ones(3, dtype=m.float64), lambda m, t: t.real,
              lambda m, t: t.exp()):
        same(f(torsh, torsh.tensor(z)), f(torch, torch.from_numpy(z)), 1e-6)


PROGRAMS: dict[str, Callable[..., Any]] = {
    "real": lambda m, z: z.real.mul_(2), "imag": lambda m, z: z.imag[0].fill_(7), "pairs": lambda m, z: m.view_as_real(z)[:, 1].add_(1),
    "slice": lambda m, z: m.view_as_real(z[1:]).mul_(m.tensor([2.0, -1.0], dtype=m.float64)),
    "complex of real": lambda m, z: m.view_as_complex(m.view_as_real(z)).mul_(1j), "sine": lambda m, z: z[:2].imag.mul_(z[1:].real.clone())}


@pytest.mark.parametrize("name", PROGRAMS)
def test_writing_through_parts(name: str) -> None:
    """A write into a real view changes the complex tensor, its other views and the gradients."""
    found = []
    for m in (torch, torsh):
        base = m.tensor(_z(3), requires_grad=True)
        z = base * 1
        part = z.imag
        PROGRAMS[name](m, z)
        value = (z * z).sum() + (part * part).sum()
        value.abs().backward()
        found.append((z.detach(), part.detach(), base.grad))
    for ours, theirs in zip(found[1], found[0], strict=True):
        same(ours, theirs, 1e-12, 1e-13)


CONJUGATES: dict[str, Callable[..., Any]] = {
    "the original": lambda m, z, c: z.mul_(1j), "the conjugate": lambda m, z, c: c.mul_(2 + 1j), "part of it": lambda m, z, c: c[1:].add_(1j),
    "imaginary parts": lambda m, z, c: c.imag.mul_(3), "real parts of a slice": lambda m, z, c: c[:2].real.add_(z.real[1:].clone()),
    "twice": lambda m, z, c: c.conj().mul_(1j), "transposed": lambda m, z, c: c.reshape(3, 1).mH.mul_(2j)}


@pytest.mark.parametrize("name", CONJUGATES)
def test_writing_through_conjugates(name: str) -> None:
    """A conjugate is a view: a write to either side changes both, with its gradient."""
    found = []
    for m in (torch, torsh):
        base = m.tensor(_z(3), requires_grad=True)
        z = base * 1
        c = z.conj()
        CONJUGATES[name](m, z, c)
        value = (z * z).sum() + (c * c * m.tensor([1.0, 2.0, 3j])).sum()
        value.abs().backward()
        found.append((z.detach(), c.detach(), base.grad))
    for ours, theirs in zip(found[1], found[0], strict=True):
        same(ours, theirs, 1e-12, 1e-13)


def test_conjugates_keep_each_other_only_as_long_as_needed() -> None:
    z = torsh.tensor([1 + 2j])
    c = z.conj()
    z.add_(1)
    assert c.tolist() == [2 - 2j]
    assert c._version == z._version == 1
    del z
    c.add_(1j)
    assert c.tolist() == [2 - 1j]
    with pytest.raises(RuntimeError, match="conjugate bit"):
        c.numpy()
    with pytest.raises(RuntimeError, match="resolve_conj"):
        torsh.view_as_real(c)


def test_writing_complex_numbers_into_a_real_tensor() -> None:
    found = []
    for m in (torch, torsh):
        base = m.arange(6, dtype=m.float64).requires_grad_()
        x = (base * 1).reshape(3, 2)
        m.view_as_complex(x)[1:].mul_(m.tensor([1j, 2.0 - 1j], dtype=m.complex128))
        (x * x * x).sum().backward()
        found.append((x.detach(), base.grad))
    for ours, theirs in zip(found[1], found[0], strict=True):
        same(ours, theirs, 1e-12)


def test_setting_parts() -> None:
    z = torsh.zeros(2, dtype=torsh.complex64)
    z.real = torsh.tensor([1.0, 2.0])
    z.imag = 3
    assert z.tolist() == [1 + 3j, 2 + 3j]
    assert z.conj().tolist() == [1 - 3j, 2 - 3j]
    assert z.conj().is_conj()
    assert not z.conj().resolve_conj().is_conj()
    assert not z.conj().conj().is_conj()
    assert torsh.isreal(torsh.tensor([1 + 0j, 1j])).tolist() == [True, False]


def test_errors() -> None:
    real = torsh.ones(3, 2)
    with pytest.raises(RuntimeError, match="non-complex"):
        real.imag  # noqa: B018
    with pytest.raises(RuntimeError, match="complex"):
        torsh.view_as_real(real)
    with pytest.raises(RuntimeError, match="size 2"):
        torsh.view_as_complex(torsh.ones(3))
    with pytest.raises(RuntimeError, match="stride 1"):
        torsh.view_as_complex(torsh.ones(2, 3).t())
    with pytest.raises(RuntimeError, match="scalar type"):
        torsh.complex(torsh.ones(1), torsh.ones(1, dtype=torsh.float64))
    with pytest.raises(RuntimeError, match="sgn"):
        torsh.sign(torsh.ones(1, dtype=torsh.complex64))


def test_random_numbers() -> None:
    for m in (torch, torsh):
        m.manual_seed(3)
    for name in ("rand", "randn"):
        same(getattr(torsh, name)(17, dtype=torsh.complex64), getattr(torch, name)(17, dtype=torch.complex64), 1e-6)
    assert math.isclose(torsh.randn(1000, dtype=torsh.complex128).abs().square().mean().item(), 1, rel_tol=0.1)

"""Types that NumPy computes: unsigned integers of more than 8 bits, floating numbers of 8."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import torsh

UNSIGNED = ("uint16", "uint32", "uint64")
FLOAT8 = ("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu")
ALL = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64", "complex64", "complex128", *UNSIGNED, *FLOAT8)


@pytest.mark.parametrize("a", ALL)
@pytest.mark.parametrize("b", ALL)
def test_promotion(a: str, b: str) -> None:
    def found(m: Any) -> str:
        try:
            return repr(m.promote_types(getattr(m, a), getattr(m, b))).split(".")[1]
        except RuntimeError:
            return "no"
    assert found(torsh) == found(torch)


@pytest.mark.parametrize("name", ALL)
def test_attributes(name: str) -> None:
    ours, theirs = getattr(torsh, name), getattr(torch, name)
    for attribute in ("itemsize", "is_floating_point", "is_complex", "is_signed", "abbr"):
        assert getattr(ours, attribute) == getattr(theirs, attribute), attribute


@pytest.mark.parametrize("name", FLOAT8)
def test_every_rounding_to_8_bits(name: str) -> None:
    """All float16 numbers, and the two neighbours in float32 of those between two results."""
    halves = np.arange(65536, dtype=np.uint16).view(np.float16).astype(np.float32)
    halves = halves[np.isfinite(halves)]
    near = np.concatenate([halves, np.nextafter(halves, np.float32(np.inf)), np.nextafter(halves, np.float32(-np.inf)),
                           [np.inf, -np.inf, np.nan, 1e-40, 3e38, -1e-39]])
    near = near.astype(np.float32)
    if name == "float8_e8m0fnu":
        near = np.abs(near)
        near = near[near > 0]  # what becomes of 0, which it does not have, is not said
    ours, theirs = torsh.tensor(near).to(getattr(torsh, name)), torch.tensor(near).to(getattr(torch, name))
    a, b = ours.view(torsh.uint8).numpy(), theirs.view(torch.uint8).numpy()
    number = ~np.isnan(near)
    np.testing.assert_array_equal(a[number], b[number])
    assert np.isnan(ours.float().numpy()[~number]).all()


@pytest.mark.parametrize("name", FLOAT8)
def test_every_number_of_8_bits(name: str) -> None:
    raw = np.arange(256, dtype=np.uint8)
    ours, theirs = torsh.tensor(raw).view(getattr(torsh, name)), torch.tensor(raw).view(getattr(torch, name))
    np.testing.assert_array_equal(ours.float().numpy(), theirs.float().numpy())
    np.testing.assert_array_equal(np.array(ours.tolist()), np.array(theirs.tolist()))


@pytest.mark.parametrize("name", UNSIGNED)
@pytest.mark.parametrize("f", [
    lambda m, t: t, lambda m, t: t[1:], lambda m, t: t.reshape(2, 2).t(), lambda m, t: t.to(m.int64), lambda m, t: t.to(m.float32), lambda m, t: t.clone(),
    lambda m, t: t == t[m.tensor([3, 1, 2, 0])], lambda m, t: t[m.tensor([2, 0])], lambda m, t: m.cat([t, t]), lambda m, t: t.view(m.uint8),
    lambda m, t: t[3].item(),
    lambda m, t: m.where(t == t[0], t, t[1]), lambda m, t: t.tolist(), lambda m, t: m.zeros(2, dtype=t.dtype), lambda m, t: m.full((2,), 7, dtype=t.dtype),
    lambda m, t: m.stack([t, t], 1), lambda m, t: m.tensor([1, 2, 3], dtype=t.dtype), lambda m, t: t.bitwise_xor(t[1]), lambda m, t: repr(t)[6:],
    lambda m, t: t.copy_(t[m.tensor([3, 2, 1, 0])]), lambda m, t: t.fill_(3), lambda m, t: t.element_size(), lambda m, t: m.iinfo(t.dtype).max,
])
def test_unsigned_integers(name: str, f: Callable[[Any, Any], Any]) -> None:
    top = 2 ** (8 * np.dtype(name).itemsize)
    array = np.array([0, 1, top // 2 + 3, top - 1], name)
    ours, theirs = f(torsh, torsh.tensor(array)), f(torch, torch.tensor(array))
    if isinstance(theirs, torch.Tensor):
        assert repr(ours.dtype).split(".")[1] == repr(theirs.dtype).split(".")[1]
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    elif isinstance(theirs, str):
        assert ours.replace("torsh", "torch") == theirs.replace("torsh", "torch")
    else:
        assert ours == theirs


@pytest.mark.parametrize("name", UNSIGNED)
@pytest.mark.parametrize("source", ["int64", "int8", "float32", "float64", "bool"])
def test_conversions_to_unsigned(name: str, source: str) -> None:
    values = {"bool": [True, False], "int8": [-1, 5], "int64": [-1, 2 ** 40 + 3]}.get(source, [3.7, 255.0])
    ours = torsh.tensor(values, dtype=getattr(torsh, source)).to(getattr(torsh, name))
    theirs = torch.tensor(values, dtype=getattr(torch, source)).to(getattr(torch, name))
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


@pytest.mark.parametrize("name", FLOAT8)
def test_a_gradient_goes_through_a_rounding(name: str) -> None:
    found = []
    for m in (torsh, torch):
        x = m.tensor([1.0, 2.0, 3.5], requires_grad=True)
        (x.to(getattr(m, name)).to(m.float32) * m.tensor([1.0, 2.0, 4.0])).sum().backward()
        found.append(x.grad.tolist())
    assert found[0] == found[1]


def test_results_are_the_same_in_any_graph() -> None:
    """A type that NumPy computes between two that kernels compute."""
    x = np.linspace(-3, 3, 1000).astype(np.float32)
    ours = (((torsh.tensor(x) * 2).to(torsh.float8_e5m2).float() + 1) * (torsh.tensor(x) > 0)).sum()
    theirs = (((torch.tensor(x) * 2).to(torch.float8_e5m2).float() + 1) * (torch.tensor(x) > 0)).sum()
    np.testing.assert_allclose(ours.item(), theirs.item(), rtol=1e-6)


@pytest.mark.parametrize("name", FLOAT8)
@pytest.mark.parametrize("f", [
    lambda m, t: t[1:], lambda m, t: t.reshape(2, 2).t().contiguous(), lambda m, t: t.clone(), lambda m, t: m.cat([t, t]), lambda m, t: t[m.tensor([2, 0])],
    lambda m, t: t.expand(3, 4).contiguous(), lambda m, t: t.fill_(4), lambda m, t: m.zeros_like(t) if m.float8_e8m0fnu is not t.dtype else t,
    lambda m, t: t[::2].clone(), lambda m, t: t.view(m.int8), lambda m, t: t.copy_(m.tensor([8.0, 4.0, 2.0, 1.0])), lambda m, t: t.to(m.bfloat16),
    lambda m, t: m.stack([t, t], 1), lambda m, t: m.full((2, 2), 2.0, dtype=t.dtype),
])
def test_moving_numbers_of_8_bits(name: str, f: Callable[[Any, Any], Any]) -> None:
    ours, theirs = (f(m, m.tensor([1.0, 2.0, 4.0, 0.5]).to(getattr(m, name))) for m in (torsh, torch))
    assert tuple(ours.shape) == tuple(theirs.shape)
    assert repr(ours.dtype).split(".")[1] == repr(theirs.dtype).split(".")[1]
    assert ours.float().tolist() == theirs.float().tolist()

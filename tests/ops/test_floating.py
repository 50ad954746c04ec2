"""Parts of floating-point numbers, divisors, logarithms of sums: what the operator database has few samples of."""
from __future__ import annotations

import numpy as np
import pytest
import torch

import torsh
from tests.ops.oracle import agree, outcome, same, to_torsh

SPECIAL = [0.0, -0.0, 1.0, -1.0, 1e-40, -1e-40, 3e38, float("inf"), -float("inf"), float("nan")]


@pytest.mark.parametrize("name", ["copysign", "nextafter", "hypot", "logaddexp", "logaddexp2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pairs_of_special_numbers(name: str, dtype: torch.dtype) -> None:
    x, y = (t.reshape(-1) for t in torch.meshgrid(torch.tensor(SPECIAL, dtype=dtype), torch.tensor(SPECIAL, dtype=dtype), indexing="ij"))
    same(getattr(torsh, name)(to_torsh(x), to_torsh(y)), getattr(torch, name)(x, y), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_signs_exponents_and_replacements_of_special_numbers(dtype: torch.dtype) -> None:
    x = torch.tensor(SPECIAL, dtype=dtype)
    for name in ("signbit", "frexp", "nan_to_num"):
        ours, theirs = getattr(torsh, name)(to_torsh(x)), getattr(torch, name)(x)
        finite = torch.isfinite(x)
        if name == "frexp":  # the exponent of what is not finite is unspecified
            same(ours[0], theirs[0])
            np.testing.assert_array_equal(ours[1].numpy()[finite.numpy()], theirs[1][finite].numpy())
        else:
            same(ours, theirs)
    same(torsh.signbit(torsh.tensor([-float("nan"), float("nan")]).neg().neg()), torch.signbit(torch.tensor([-float("nan"), float("nan")])))


@pytest.mark.parametrize("f", [
    lambda m, x, y: m.copysign(x, y), lambda m, x, y: m.hypot(x, y), lambda m, x, y: m.logaddexp(x, y), lambda m, x, y: m.logaddexp2(x, y),
    lambda m, x, y: m.fmax(x, y), lambda m, x, y: m.fmin(x, y), lambda m, x, y: m.nan_to_num(x) * y, lambda m, x, y: m.frexp(x)[0] * y,
    lambda m, x, y: m.deg2rad(x) + m.rad2deg(y), lambda m, x, y: m.lerp(x, y, 0.25), lambda m, x, y: m.addcdiv(x, y, y + 3, value=0.5),
])
def test_derivatives(f: object) -> None:
    torch.manual_seed(0)
    agree(f, torch.randn(4, 3, dtype=torch.float64), torch.randn(3, dtype=torch.float64), rtol=1e-9, twice=False)  # type: ignore[arg-type]


def test_divisors() -> None:
    a, b = torch.tensor([12, -18, 0, 7, 0]), torch.tensor([18, 12, 5, 0, 0])
    same(torsh.gcd(to_torsh(a), to_torsh(b)), torch.gcd(a, b))
    same(torsh.lcm(to_torsh(a), to_torsh(b)), torch.lcm(a, b))


@pytest.mark.parametrize("call", [
    lambda m: m.gcd(m.ones(2), m.ones(2)), lambda m: m.heaviside(m.ones(2), m.ones(2).double()), lambda m: m.hypot(m.ones(2), 2.0),
    lambda m: m.logaddexp(m.ones(2).long(), m.ones(2).long()), lambda m: m.ones(2).float_power_(2), lambda m: m.maximum(m.ones(2), 2),
    lambda m: m.fmod(2, m.ones(2)), lambda m: m.bitwise_and(1, 2), lambda m: m.eq(1, m.ones(2)), lambda m: m.atan2(m.ones(2), 1.0),
])
def test_errors_are_pytorchs(call: object) -> None:
    theirs = outcome(lambda: call(torch))  # type: ignore[operator]
    assert isinstance(theirs, type)
    ours = outcome(lambda: call(torsh))  # type: ignore[operator]
    assert isinstance(ours, type)
    assert issubclass(ours, theirs)

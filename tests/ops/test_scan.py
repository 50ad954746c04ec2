"""Running folds against PyTorch: values, types, NaN and zeros, first and second derivatives."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import torsh
from tests.ops.oracle import agree, outcome, same, to_torsh


@st.composite
def tensors(draw: st.DrawFn) -> tuple[torch.Tensor, int]:
    """A tensor of 1 to 3 dimensions, maybe transposed, and one of its dimensions."""
    shape = draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    x = torch.from_numpy(rng.standard_normal(shape))
    if draw(st.booleans()):
        x = torch.from_numpy(rng.standard_normal(shape[::-1])).permute(list(range(len(shape)))[::-1])
    return x, draw(st.integers(-len(shape), len(shape) - 1))


@pytest.mark.parametrize("name", ["cumsum", "cumprod", "logcumsumexp"])
@given(case=tensors())
def test_folds(name: str, case: tuple[torch.Tensor, int]) -> None:
    x, d = case
    agree(lambda m, t: getattr(m, name)(t, d) ** 2, x, rtol=1e-8, atol=1e-9, twice=name != "logcumsumexp")


@given(st.lists(st.sampled_from([0.0, 0.0, 1.5, -2.0, 3.0]), min_size=1, max_size=5))
def test_cumprod_with_zeros(values: list[float]) -> None:
    x = torch.tensor(values, dtype=torch.float64)
    agree(lambda m, t: m.cumprod(t, 0), x, rtol=1e-12, twice=False)
    agree(lambda m, t: m.cumprod(t, 0) ** 2 + t * m.cumprod(t * t, 0), x, rtol=1e-12)


def test_logcumsumexp_second_derivative_by_differences(rng: np.random.Generator) -> None:
    x, v, w = (rng.standard_normal(4) for _ in range(3))

    def slope(at: np.ndarray) -> torsh.Tensor:
        t = torsh.tensor(at, requires_grad=True)
        g, = torsh.autograd.grad((torsh.logcumsumexp(t, 0) * torsh.tensor(v)).sum(), t, create_graph=True)
        return t, (g * torsh.tensor(w)).sum()
    t, s = slope(x)
    got = torsh.autograd.grad(s, t)[0].numpy()
    wanted = [(slope(x + 1e-6 * e)[1].item() - slope(x - 1e-6 * e)[1].item()) / 2e-6 for e in np.eye(4)]
    np.testing.assert_allclose(got, wanted, 1e-5, 1e-8)


def test_logcumsumexp_at_infinities() -> None:
    x = torch.tensor([-np.inf, -np.inf, 1000.0, 1000.0, np.inf, -np.inf, 3.0])
    same(torsh.logcumsumexp(to_torsh(x), 0), torch.logcumsumexp(x, 0), rtol=1e-6)


@pytest.mark.parametrize("name", ["cummax", "cummin"])
@given(values=st.lists(st.sampled_from([0.0, 1.0, 2.0, -1.0, float("nan"), float("inf")]), min_size=1, max_size=12))
def test_running_extrema(name: str, values: list[float]) -> None:
    x = torch.tensor(values, dtype=torch.float64)
    same(tuple(getattr(torsh, name)(to_torsh(x), 0)), tuple(getattr(torch, name)(x, 0)))
    integers = x.nan_to_num(7, 9).long().expand(2, -1).contiguous()
    same(tuple(getattr(torsh, name)(to_torsh(integers), 1)), tuple(getattr(torch, name)(integers, 1)))


@pytest.mark.parametrize("name", ["cummax", "cummin"])
def test_running_extrema_have_derivatives(name: str, rng: np.random.Generator) -> None:
    agree(lambda m, t: getattr(m, name)(t, 1).values ** 2, torch.from_numpy(rng.standard_normal((2, 6, 2))), rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int32, torch.float16, torch.float32, torch.complex64], ids=str)
def test_dtypes(dtype: torch.dtype) -> None:
    x = torch.tensor([[1, 0, 3], [2, 1, 1]]).to(dtype)
    for name in ("cumsum", "cumprod"):
        same(getattr(torsh, name)(to_torsh(x), 1), getattr(torch, name)(x, 1))
        same(getattr(torsh, name)(to_torsh(x), 0, dtype=torsh.float64 if dtype is not torch.complex64 else None),
             getattr(torch, name)(x, 0, dtype=torch.float64 if dtype is not torch.complex64 else None))


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_diff(n: int) -> None:
    x = torch.arange(12.0, dtype=torch.float64).reshape(3, 4) ** 2
    agree(lambda m, t: m.diff(t, n) ** 2, x, rtol=1e-12)
    agree(lambda m, t: m.diff(t, n, 0, prepend=t[:1], append=t[1:]) ** 2, x, rtol=1e-12)
    same(torsh.diff(to_torsh(x > 20), n), torch.diff(x > 20, n))


def test_shapes_without_elements_or_dimensions() -> None:
    for x in (torch.tensor(2.0), torch.zeros(0), torch.zeros(2, 0)):
        for name in ("cumsum", "cumprod", "logcumsumexp"):
            same(getattr(torsh, name)(to_torsh(x), 0), getattr(torch, name)(x, 0))


def test_in_place() -> None:
    x = torsh.tensor([1.0, 2.0, 3.0])
    assert x.cumsum_(0) is x
    assert x.tolist() == [1, 3, 6]


def test_errors_have_pytorchs_type() -> None:
    for f in (lambda m: m.cumsum(m.zeros(2), 1), lambda m: m.diff(m.tensor(1.0)), lambda m: m.diff(m.zeros(2), -1)):
        theirs = outcome(lambda f=f: f(torch))
        assert isinstance(theirs, type)
        assert outcome(lambda f=f: f(torsh)) is theirs

"""Views in place, copies of views, regions replaced, memory formats: storage and history as PyTorch has them."""
from __future__ import annotations

import pytest
import torch

import torsh
from tests.ops.oracle import agree, outcome, same


@pytest.mark.parametrize("change", [
    lambda t: t.t_(), lambda t: t.transpose_(0, 1), lambda t: t.unsqueeze_(1), lambda t: t.unsqueeze_(0).squeeze_(0),
    lambda t: t.as_strided_((2, 2), (1, 3), 1), lambda t: t.swapaxes_(0, 1),
])
def test_a_view_in_place_keeps_its_memory_and_its_history(change: object) -> None:
    def f(m: object, x: torch.Tensor) -> torch.Tensor:
        y = x * 2
        seen = y[0]
        z = change(y)  # type: ignore[operator]
        assert z is y
        z.mul_(3)
        return (z * z).sum() + seen.sum()
    agree(f, torch.arange(12.0, dtype=torch.float64).reshape(4, 3), rtol=1e-12)


def test_a_view_of_a_leaf_in_place_is_refused() -> None:
    def f(m: object) -> object:
        return m.ones(2, 1, requires_grad=True).t_()  # type: ignore[attr-defined]
    assert outcome(lambda: f(torsh)) is outcome(lambda: f(torch)) is RuntimeError


@pytest.mark.parametrize("f", [
    lambda m, x: m.permute_copy(x, (1, 0)), lambda m, x: m.split_with_sizes_copy(x, [1, 3])[1], lambda m, x: m.unfold_copy(x, 0, 2, 1),
    lambda m, x: m.slice_scatter(x, x[:2] * 5, 0, 1, 3), lambda m, x: m.select_scatter(x, x[0] * 5, 0, -1),
    lambda m, x: m.diagonal_scatter(x, x[:3, 0] * 5), lambda m, x: x.as_strided((3, 2), (2, 1), 2), lambda m, x: x[1:].as_strided((3, 2), (2, 1), 4),
    lambda m, x: x.t().as_strided((2, 2), (3, 1), 1), lambda m, x: m.hsplit(x, [1])[1], lambda m, x: m.expand_copy(x.unsqueeze(0), (2, 4, 3)),
])
def test_values_and_two_derivatives(f: object) -> None:
    torch.manual_seed(0)
    agree(f, torch.randn(4, 3, dtype=torch.float64), rtol=1e-12)  # type: ignore[arg-type]


def test_copies_are_copies() -> None:
    x = torsh.arange(6.0).reshape(2, 3)
    torsh.t_copy(x).zero_()
    assert x.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert torsh.split_with_sizes_copy(x, [1, 2], 1, out=[torsh.empty(0), torsh.empty(0)]) is None


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 1, 4, 5), (2, 3, 1, 1), (2, 1, 4, 5)])
def test_channels_last(shape: tuple[int, ...]) -> None:
    theirs = torch.arange(float(torch.Size(shape).numel())).reshape(shape)
    ours = torsh.arange(float(theirs.numel())).reshape(shape)
    for a, b in ((ours.contiguous(memory_format=torsh.channels_last), theirs.contiguous(memory_format=torch.channels_last)),
                 (ours.to(torsh.float64, memory_format=torsh.channels_last), theirs.to(torch.float64, memory_format=torch.channels_last)),
                 (torsh.empty(shape, memory_format=torsh.channels_last).zero_(), torch.empty(shape, memory_format=torch.channels_last).zero_())):
        same(a, b)
        assert a.is_contiguous() == b.is_contiguous()
        assert a.is_contiguous(memory_format=torsh.channels_last) == b.is_contiguous(memory_format=torch.channels_last)
    wide = theirs.contiguous(memory_format=torch.channels_last)
    mine = ours.contiguous(memory_format=torsh.channels_last)
    assert torsh.empty_like(mine).stride() == torch.empty_like(wide).stride()
    assert torsh.empty_permuted((2, 3, 4), (2, 0, 1)).stride() == torch.empty_permuted((2, 3, 4), (2, 0, 1)).stride()


def test_outputs_apart_from_operands() -> None:
    def take(m: object) -> object:
        x = m.arange(4.0)  # type: ignore[attr-defined]
        return m.take(x, m.tensor([1, 0, 2, 3]), out=x)  # type: ignore[attr-defined]

    def repeated(m: object) -> object:
        return m.index_select(m.ones(3, 2), 0, m.tensor([0]), out=m.ones(1, 1).expand(3, 2))  # type: ignore[attr-defined]
    for f in (take, repeated):
        assert outcome(lambda f=f: f(torsh)) is outcome(lambda f=f: f(torch)) is RuntimeError

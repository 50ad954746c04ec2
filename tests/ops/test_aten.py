"""`torsh.ops.aten`, and half precision that is rounded once, against PyTorch."""
from __future__ import annotations

from typing import Any

import pytest
import torch

import torsh


@pytest.mark.parametrize("how", [(0,), (1, 1, -2), (1, 1, -2, 3), (0, -10, 100, 2), (0, 3, 1)])
def test_slice_is_a_view(how: tuple[Any, ...]) -> None:
    ours, theirs = torsh.arange(20).reshape(4, 5), torch.arange(20).reshape(4, 5)
    a, b = torsh.ops.aten.slice(ours, *how), torch.ops.aten.slice(theirs, *how)
    assert a.tolist() == b.tolist()
    a.zero_()
    b.zero_()
    assert ours.tolist() == theirs.tolist()
    assert torsh.ops.aten.slice.Tensor is torsh.ops.aten.slice


@pytest.mark.parametrize("call", [lambda t: t.ops.aten.slice(t.ones(3), 0, 0, 2, 0), lambda t: t.ops.aten.slice(t.ones(3), 1),
                                  lambda t: t.ops.aten.slice(t.ones(()))])
def test_slice_refuses(call: Any) -> None:
    with pytest.raises(Exception) as theirs:
        call(torch)
    with pytest.raises(theirs.type):
        call(torsh)


def test_no_elements_are_contiguous_and_a_number_is_drawn_from_a_number() -> None:
    for t in (torsh, torch):
        assert t.empty_strided((0, 2), (4, 2)).is_contiguous()
    torsh.manual_seed(0)
    torch.manual_seed(0)
    assert torsh.bernoulli(torsh.tensor(0.4)).item() == torch.bernoulli(torch.tensor(0.4)).item()


def test_half_precision_is_rounded_once() -> None:
    """A product with a bias: the sum is rounded, not the product first."""
    x = torch.randn(8, 16, generator=torch.Generator().manual_seed(0)).bfloat16()
    w, b = torch.full((3, 16), 0.37).bfloat16(), torch.tensor([300.0, -7, 1]).bfloat16()
    exact = (x.double() @ w.double().T + b.double()).bfloat16()
    ours = torsh.nn.functional.linear(*[torsh.tensor(t.float().numpy()).bfloat16() for t in (x, w, b)])
    assert ours.dtype is torsh.bfloat16
    assert (ours.float().numpy() == exact.float().numpy()).mean() > 0.95  # float32 may tie otherwise than float64

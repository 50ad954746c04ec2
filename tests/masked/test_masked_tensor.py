"""Masked tensors against PyTorch's prototype."""
from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
import torch.masked

import torsh
import torsh.masked

pytestmark = [pytest.mark.filterwarnings("ignore:The PyTorch API of MaskedTensors"), pytest.mark.filterwarnings("ignore:.*is not implemented in"),
              pytest.mark.filterwarnings("ignore:It is not recommended to create a MaskedTensor")]
PAIR = (torsh, torch)
DATA = np.array([[1.0, -2.0, 3.5], [4.0, 0.5, 6.0]])
MASK = np.array([[True, False, True], [False, False, True]])


def facts(x: Any) -> Any:
    """Structure, type and what is not hidden."""
    if isinstance(x, tuple):
        return [facts(part) for part in x]
    if hasattr(x, "get_mask"):
        mask = x.get_mask().numpy()
        data = np.where(mask, x.get_data().detach().numpy(), 0)
        return [str(x.dtype).split(".")[1], tuple(x.shape), mask.tolist(), data.round(6).tolist()]
    return x.tolist() if hasattr(x, "tolist") else x


def _made(t: Any) -> tuple[Any, Any, Any]:
    d, m = t.tensor(DATA), t.tensor(MASK)
    return t.masked.masked_tensor(d, m), t.masked.masked_tensor(d * 0.5 + 1, m), d


@pytest.mark.parametrize("f", [
    lambda t, x, z, d: x, lambda t, x, z, d: x.exp(), lambda t, x, z, d: t.sin(x), lambda t, x, z, d: -x, lambda t, x, z, d: abs(x),
    lambda t, x, z, d: x.clamp(0, 3),
    lambda t, x, z, d: x ** 2, lambda t, x, z, d: x.isnan(), lambda t, x, z, d: x + z, lambda t, x, z, d: x - z, lambda t, x, z, d: x * 2,
    lambda t, x, z, d: 2 * x,
    lambda t, x, z, d: x / z, lambda t, x, z, d: x * d, lambda t, x, z, d: d * x, lambda t, x, z, d: t.mul(d, x), lambda t, x, z, d: x // 2,
    lambda t, x, z, d: x == z,
    lambda t, x, z, d: x < z, lambda t, x, z, d: (x > 1) & (x < 5), lambda t, x, z, d: t.maximum(x, z), lambda t, x, z, d: t.atan2(x, z),
    lambda t, x, z, d: x.fmod(2),
    lambda t, x, z, d: x.sum(), lambda t, x, z, d: x.sum(1), lambda t, x, z, d: x.sum(1, keepdim=True), lambda t, x, z, d: t.sum(x),
    lambda t, x, z, d: x.mean(),
    lambda t, x, z, d: x.mean(0), lambda t, x, z, d: x.prod(), lambda t, x, z, d: x.prod(1), lambda t, x, z, d: x.amax(), lambda t, x, z, d: x.amax(1),
    lambda t, x, z, d: x.amin(1), lambda t, x, z, d: x.argmax(1), lambda t, x, z, d: x.argmin(), lambda t, x, z, d: x.all(), lambda t, x, z, d: (x > 2).all(1),
    lambda t, x, z, d: x.var(), lambda t, x, z, d: x.std(), lambda t, x, z, d: x.to_tensor(7), lambda t, x, z, d: x.get_mask(), lambda t, x, z, d: x[0],
    lambda t, x, z, d: x[:, 1], lambda t, x, z, d: x.view(6), lambda t, x, z, d: x.reshape(3, 2), lambda t, x, z, d: x.t(),
    lambda t, x, z, d: x.transpose(0, 1),
    lambda t, x, z, d: x.unsqueeze(0).expand(2, 2, 3), lambda t, x, z, d: x.flatten(), lambda t, x, z, d: t.cat([x, z]), lambda t, x, z, d: t.stack([x, z]),
    lambda t, x, z, d: x.split(1), lambda t, x, z, d: x.chunk(2), lambda t, x, z, d: t.where(t.tensor(MASK), x, z), lambda t, x, z, d: t.softmax(x, 1),
    lambda t, x, z, d: x.to(t.float32), lambda t, x, z, d: x.float(), lambda t, x, z, d: t.ones_like(x), lambda t, x, z, d: x.sum().item(),
    lambda t, x, z, d: x.clone().add_(z), lambda t, x, z, d: x.clone().exp_(), lambda t, x, z, d: x.clone().__iadd__(z), lambda t, x, z, d: x.clone(),
    lambda t, x, z, d: x.detach(), lambda t, x, z, d: (tuple(x.shape), x.ndim, x.numel(), len(x), bool(x.sum() > 1), x.is_contiguous()),
    lambda t, x, z, d: t.masked.masked_tensor(d, t.zeros(2, 3, dtype=t.bool)).sum(), lambda t, x, z, d: t.masked.masked_tensor(t.tensor(3), t.tensor(False)),
    lambda t, x, z, d: t.masked.as_masked_tensor(d, t.tensor(MASK)), lambda t, x, z, d: t.masked.MaskedTensor(d, t.tensor(MASK)),
    lambda t, x, z, d: isinstance(x, t.Tensor),
])
def test_operations_are_pytorchs(f: Any) -> None:
    assert facts(f(torsh, *_made(torsh))) == facts(f(torch, *_made(torch)))


@pytest.mark.parametrize("call", [
    lambda t, x, d: x + t.masked.masked_tensor(d, ~x.get_mask()), lambda t, x, d: x.relu(), lambda t, x, d: x @ d.t(), lambda t, x, d: x.max(),
    lambda t, x, d: x.numpy(),
    lambda t, x, d: x.tolist(), lambda t, x, d: x.cumsum(1), lambda t, x, d: t.equal(x, x), lambda t, x, d: t.masked.masked_tensor(d, x.get_mask()[0]),
    lambda t, x, d: t.masked.masked_tensor(d, d), lambda t, x, d: t.masked.masked_tensor(d, t.ones(2, 4, dtype=t.bool)),
    lambda t, x, d: t.masked.masked_tensor(x, x.get_mask()),
    lambda t, x, d: t.masked.masked_tensor(3, x.get_mask()), lambda t, x, d: x.any(), lambda t, x, d: x.permute(1, 0), lambda t, x, d: t.zeros_like(x),
    lambda t, x, d: t.masked.masked_tensor(d.to(t.complex64), x.get_mask())])
def test_errors_are_of_pytorchs_types(call: Any) -> None:
    kinds = []
    for t in PAIR:
        x, _, d = _made(t)
        with pytest.raises((TypeError, ValueError, RuntimeError)) as caught:
            call(t, x, d)
        kinds.append(caught.type)
    assert kinds[0] is kinds[1]


@pytest.mark.parametrize("f", [lambda x: (x * 2).sum(), lambda x: x.mean(1).sum(), lambda x: x.amax(1).sum(), lambda x: (x.exp() * x).sum(), lambda x: x.prod(),
                               lambda x: x.sqrt().sum()])
def test_gradients_leave_out_what_is_hidden(f: Any) -> None:
    found = []
    for t in PAIR:
        x = t.masked.masked_tensor(t.tensor(DATA), t.tensor(MASK), requires_grad=True)
        assert x.is_leaf
        f(x).backward()
        found.append(facts(x.grad))
    assert found[0] == found[1]


def test_no_nan_reaches_a_tensor_through_its_mask() -> None:
    x = torsh.tensor([-1.0, 4.0], requires_grad=True)
    torsh.masked.as_masked_tensor(x, torsh.tensor([False, True])).sqrt().sum().backward()
    assert x.grad.tolist() == [0.0, 0.25]


def test_printing_is_pytorchs() -> None:
    def shown(t: Any) -> list[str]:
        x, _, _ = _made(t)
        return [repr(v) for v in (x, x[0], x > 1, x.sum(), x.unsqueeze(0), t.masked.masked_tensor(t.tensor([1, 2]), t.tensor([True, False])),
                                  t.masked.masked_tensor(t.tensor(1), t.tensor(False)))]
    assert shown(torsh) == shown(torch)


def test_copies_and_pickles_hold_the_same() -> None:
    x, _, _ = _made(torsh)
    for made in (copy.deepcopy(x), pickle.loads(pickle.dumps(x)), x.clone()):
        assert facts(made) == facts(x)
    assert torsh.masked.is_masked_tensor(x)
    assert not torsh.masked.is_masked_tensor(torsh.ones(1))
    data = torsh.ones(2)
    kept = torsh.masked.masked_tensor(data, torsh.tensor([True, True]))
    data.add_(1)
    assert kept.get_data().tolist() == [1, 1]

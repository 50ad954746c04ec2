"""Modules of computers with several devices on one without, and small helpers of nn."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import torsh
from tests.ops.oracle import same, to_torsh


def kind(f: Callable[[], Any]) -> Any:
    try:
        return f()
    except Exception as error:
        return type(error)


def draw(*shape: int) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(0).standard_normal(shape).astype(np.float32))


@pytest.mark.parametrize("options", [{}, {"momentum": None}, {"affine": False}, {"track_running_stats": False}, {"bias": False}, {"eps": 0.1}])
@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 5), (2, 3, 4, 5)])
def test_sync_batch_norm_is_batch_norm(options: dict[str, Any], shape: tuple[int, ...]) -> None:
    x = draw(*shape)
    theirs, ours = torch.nn.SyncBatchNorm(3, **options), torsh.nn.SyncBatchNorm(3, **options)
    for _ in range(2):
        same(ours(to_torsh(x)).detach(), theirs(x).detach(), 1e-5, 1e-6)
    for k, v in theirs.state_dict().items():
        same(ours.state_dict()[k], v, 1e-5, 1e-6)
    same(ours.eval()(to_torsh(x)).detach(), theirs.eval()(x).detach(), 1e-5, 1e-6)
    assert repr(ours) == repr(theirs)


def test_conversion_to_sync_batch_norm() -> None:
    def converted(m: Any) -> Any:
        nn = m.nn
        inner = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, affine=False))
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), inner, nn.InstanceNorm2d(4)).eval()
        weight = model[1].weight
        made = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        assert made is model
        assert made[1].weight is weight
        assert not made[1].training
        return repr(made), list(made.state_dict())
    assert converted(torsh) == converted(torch)
    assert type(torsh.nn.SyncBatchNorm.convert_sync_batchnorm(torsh.nn.BatchNorm1d(2))) is torsh.nn.SyncBatchNorm


@pytest.mark.parametrize("f", [
    lambda m: m.nn.SyncBatchNorm(3)(m.ones(3)), lambda m: m.nn.SyncBatchNorm(0)(m.ones(2, 0)), lambda m: m.nn.factory_kwargs({"x": 1}),
    lambda m: m.nn.factory_kwargs({"dtype": 1, "factory_kwargs": {"dtype": 2}}), lambda m: m.nn.factory_kwargs(None),
    lambda m: m.nn.factory_kwargs({"dtype": 1, "factory_kwargs": {"device": 2}}), lambda m: m.cond("a", int, int), lambda m: m.cond(m.ones(2) > 0, int, int),
    lambda m: m.cond(2.5, lambda: 3, lambda: 4), lambda m: m.cond(False, lambda: 3, lambda: 4),
])
def test_helpers(f: Callable[[Any], Any]) -> None:
    assert kind(lambda: f(torsh)) == kind(lambda: f(torch))


def test_data_parallel_without_devices() -> None:
    def found(m: Any) -> Any:
        m.manual_seed(0)
        model = m.nn.DataParallel(m.nn.Linear(3, 2), device_ids=[0, 1])
        model(m.ones(4, 3)).sum().backward()
        return list(model.state_dict()), model.device_ids, repr(model), model(m.ones(4, 3)).tolist(), model.module.weight.grad.tolist()
    ours, theirs = found(torsh), found(torch)
    assert ours[:3] == theirs[:3]
    np.testing.assert_allclose(ours[3], theirs[3], rtol=1e-6)
    assert ours[4] == theirs[4]


def test_container() -> None:
    for m in (torsh, torch):
        with pytest.warns(FutureWarning, match="Container"):
            made = m.nn.Container(a=m.nn.Linear(2, 3), b=m.nn.ReLU())
        assert list(made.state_dict()) == ["a.weight", "a.bias"]
        assert isinstance(made.b, m.nn.ReLU)


@pytest.mark.parametrize("k", [2, 3])
def test_weights_in_a_memory_format(k: int) -> None:
    def found(m: Any) -> Any:
        nn, name = m.nn, "channels_last" + ("_3d" if k == 3 else "")
        model = nn.Sequential(getattr(nn, f"Conv{k}d")(3, 4, 3), nn.Sequential(getattr(nn, f"ConvTranspose{k}d")(4, 2, 2)), nn.Linear(2, 2))
        before = [p.detach().clone() for p in model.parameters()]
        assert getattr(nn.utils, f"convert_conv{k}d_weight_memory_format")(model, getattr(m, name)) is model
        assert all(bool((a == b).all()) for a, b in zip(before, model.parameters(), strict=True))
        return [p.stride() for p in model.parameters()]
    assert found(torsh) == found(torch)


def test_cond_has_the_derivative_of_its_branch() -> None:
    for pred, wanted in ((True, [2.0, 2.0]), (False, [3.0, 3.0])):
        x = torsh.ones(2, requires_grad=True)
        torsh.cond(torsh.tensor(pred), lambda x: x * 2, lambda x: x * 3, (x,)).sum().backward()
        assert x.grad.tolist() == wanted

"""Names that fit nowhere else, against PyTorch's."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import torsh

PAIR = (torsh, torch)


def test_multithreading_can_be_switched() -> None:
    for t in PAIR:
        x = t.ones(2, requires_grad=True)
        with t.autograd.set_multithreading_enabled(False):
            (x * 3).sum().backward()

        @t.autograd.set_multithreading_enabled(True)
        def f(x: Any) -> Any:
            return x * 2
        assert x.grad.tolist() == [3, 3]
        assert f(x).tolist() == [2, 2]
        with pytest.raises(RuntimeError, match="deprecated"):
            t.autograd.variable([1.0])


def test_factory_kwargs_are_checked() -> None:
    for t in PAIR:
        assert t.nn.factory_kwargs(None) == {}
        assert t.nn.factory_kwargs({"dtype": t.float64, "factory_kwargs": {"device": "cpu"}}) == {"dtype": t.float64, "device": "cpu"}
        for wrong in ({"size": 3}, {"dtype": 1, "factory_kwargs": {"dtype": 2}}):
            with pytest.raises(TypeError):
                t.nn.factory_kwargs(wrong)


@pytest.mark.parametrize("rank", [2, 3])
def test_convolution_weights_change_their_memory_format(rank: int) -> None:
    found = []
    for t in PAIR:
        t.manual_seed(0)
        form = t.channels_last if rank == 2 else t.channels_last_3d
        net = t.nn.Sequential(getattr(t.nn, f"Conv{rank}d")(2, 4, 3), t.nn.Sequential(getattr(t.nn, f"ConvTranspose{rank}d")(4, 2, 3)), t.nn.Linear(3, 3))
        before = net[0].weight.detach().clone()
        assert getattr(t.nn.utils, f"convert_conv{rank}d_weight_memory_format")(net, form) is net
        assert bool((net[0].weight == before).all())
        found.append([tuple(p.stride()) for p in net.parameters()])
    assert found[0] == found[1]


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_swapped_in_parameters_take_the_step(name: str) -> None:
    found = []
    for t in PAIR:
        own = [t.full((2,), float(i), requires_grad=True) for i in range(3)]
        other = [t.full((2,), 10.0 + i, requires_grad=True) for i in range(3)]
        for p in own + other:
            p.grad = t.full((2,), 0.5)
        options = {"momentum": 0.9} if name == "SGD" else {}
        opt = getattr(t.optim, name)([{"params": own[:1], "lr": 0.1}, {"params": own[1:], "lr": 0.2}], **options)
        opt.step()
        saved = opt.state_dict()
        saved["param_groups"][0]["lr"] = 1.0
        with t.optim.swap_in_optimizer_params_and_state(opt, {str(i): p for i, p in enumerate(other)}, saved):
            opt.step()
            assert opt.param_groups[0]["params"][0] is other[0]
        assert opt.param_groups[1]["params"][1] is own[2]
        assert opt.param_groups[0]["lr"] == 0.1
        opt.step()
        found.append([p.detach().numpy() for p in own + other])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-6)


def test_gradcheck_takes_batches_of_tangents() -> None:
    x = torsh.tensor([0.5, 1.5], dtype=torsh.float64, requires_grad=True)
    assert torsh.autograd.gradcheck(lambda x: x.sin() * x, x, check_forward_ad=True, check_batched_forward_grad=True, masked=False)
    with pytest.raises(ValueError, match="check_batched_forward_grad"):
        torsh.autograd.gradcheck(lambda x: x.sin(), x, check_batched_forward_grad=True)


def test_removed_methods_say_what_took_their_place() -> None:
    for t in PAIR:
        x = t.eye(2)
        for name in ("eig", "lstsq", "solve", "symeig", "reinforce"):
            with pytest.raises(RuntimeError, match="removed"):
                getattr(x, name)(x)
        with pytest.warns(UserWarning, match="volatile was removed"):
            assert x.volatile is False
        assert [p.tolist() for p in x.split(split_size=1)] == [p.tolist() for p in t.split(tensor=x, split_size_or_sections=[1, 1])]
        assert x.norm(2, 1, False, t.float64).dtype is t.float64


def test_options_of_older_calls() -> None:
    for t in PAIR:
        out = t.empty(2)
        assert t.norm(t.tensor([[3.0, 4.0], [0.0, 1.0]]), 2, 1, False, out) is out
        assert out.tolist() == [5, 1]
        assert f"{t.tensor(2.5):.2f}" == "2.50"
        x = t.arange(3.0)
        assert np.from_dlpack(x).tolist() == [0, 1, 2]
        copied = t.utils.dlpack.from_dlpack(x.__dlpack__(copy=True)) if t is torch else torsh.from_dlpack(x)
        assert copied.tolist() == [0, 1, 2]
        with pytest.raises(BufferError):
            t.ones(1, requires_grad=True).__dlpack__()
        assert [g.tolist() for g in t.meshgrid(t.arange(2), t.arange(2), indexing="ij")] == [[[0, 0], [1, 1]], [[0, 1], [0, 1]]]
        with t.enable_grad():
            assert t.is_grad_enabled()
    assert torsh.fft.Tensor is torsh.Tensor

"""Quantized layers against PyTorch's: the same integers and the same floats, bit for bit; state dicts, printing, errors."""
from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch

import torsh
from torsh.quantized import products

pytestmark = [pytest.mark.filterwarnings("ignore::UserWarning"), pytest.mark.filterwarnings("ignore::DeprecationWarning"),
              pytest.mark.filterwarnings("ignore::FutureWarning")]
PAIR: tuple[Any, Any] = (torsh, torch)
SIZES = [(1, 1, 1), (5, 7, 3), (17, 33, 65), (64, 64, 64), (3, 130, 257), (33, 5, 1000)]


def weights(t: Any, w: np.ndarray, by_channel: bool) -> Any:
    if by_channel:
        n = len(w)
        return t.quantize_per_channel(t.tensor(w), t.tensor(np.linspace(0.004, 0.02, n)), t.tensor(np.zeros(n, np.int64)), 0, t.qint8)
    return t.quantize_per_tensor(t.tensor(w), 0.0113, 0, t.qint8)


def normal(seed: int, *shape: int, scale: float = 1.0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


@pytest.mark.parametrize("by_channel", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_linear(by_channel: bool, bias: bool) -> None:
    for m, n, k in SIZES:
        x, w, b = normal(1, m, k, scale=2), normal(2, n, k, scale=0.4), normal(3, n)
        found = []
        for t in PAIR:
            layer = t.ao.nn.quantized.Linear(k, n, bias_=bias)
            layer.set_weight_bias(weights(t, w, by_channel), t.tensor(b) if bias else None)
            layer.scale, layer.zero_point = 0.071 * k ** 0.5, 101
            y = layer(t.quantize_per_tensor(t.tensor(x), 0.031, 117, t.quint8))
            assert (y.q_scale(), y.q_zero_point()) == (layer.scale, 101)
            found.append(y.int_repr().numpy())
        np.testing.assert_array_equal(*found)


def test_linear_of_extremes_is_exact() -> None:
    """Saturated inputs and weights, as NumPy in int64 sums them, with zero points on both sides."""
    rng = np.random.default_rng(4)
    for m, n, k in [(3, 5, 130), (18, 40, 67)]:
        x, w = rng.choice([0, 255], (m, k)).astype(np.uint8), rng.choice([-128, 127], (n, k)).astype(np.int8)
        for zero in (0, 255, 7):
            for w_zero in (0, -128, 3):
                a = torsh.quantize_per_tensor(torsh.tensor(x.astype(np.float32) - zero), 1.0, zero, torsh.quint8)
                b = torsh.quantize_per_tensor(torsh.tensor(w.astype(np.float32) - w_zero), 1.0, w_zero, torsh.qint8)
                np.testing.assert_array_equal(a.int_repr().numpy(), x)
                np.testing.assert_array_equal(b.int_repr().numpy(), w)
                exact = (x.astype(np.int64) - zero) @ (w.astype(np.int64) - w_zero).T
                scale = float(np.abs(exact).max() / 100)
                found = torsh.ao.nn.quantized.functional.linear(a, b, None, scale, 120).int_repr().numpy()
                wanted = np.clip(np.rint(exact.astype(np.float32) * (np.float32(1) / np.float32(scale))) + 120, 0, 255)
                np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("by_channel", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("reduce_range", [False, True])
def test_linear_dynamic(by_channel: bool, bias: bool, reduce_range: bool) -> None:
    cases = [normal(1, m, k, scale=2) for m, _, k in SIZES] + [np.abs(normal(5, 4, 8)), -np.abs(normal(6, 4, 8)), np.zeros((2, 4), np.float32),
                                                                normal(7, 3, 5, scale=1e-7), np.abs(normal(8, 3, 5, scale=1e-7)), normal(9, 3, 5, scale=1e30)]
    for x in cases:
        n, k = 1 + x.shape[0] % 40, x.shape[1]
        w, b = normal(2, n, k, scale=0.4), normal(3, n)
        packed = torch.ops.quantized.linear_prepack(weights(torch, w, by_channel), torch.tensor(b) if bias else None)
        theirs = torch.ops.quantized.linear_dynamic(torch.tensor(x), packed, reduce_range).numpy()
        ours = products.linear_dynamic(torsh.tensor(x), weights(torsh, w, by_channel), torsh.tensor(b) if bias else None, reduce_range).numpy()
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_convolutions(n: int) -> None:
    for groups, stride, padding, dilation in [(1, 1, 0, 1), (1, 2, 1, 1), (2, 1, 2, 2), (4, 1, 1, 1)]:
        x, w, b = normal(1, 2, 4, *(9, 8, 7)[:n], scale=2), normal(2, 8, 4 // groups, *(3, 2, 3)[:n], scale=0.4), normal(3, 8)
        for by_channel in (False, True):
            found = []
            for t in PAIR:
                q = t.quantize_per_tensor(t.tensor(x), 0.031, 117, t.quint8)
                function = getattr(t.ao.nn.quantized.functional, f"conv{n}d")
                y = function(q, weights(t, w, by_channel), t.tensor(b), stride, padding, dilation, groups, scale=0.1, zero_point=90)
                found.append(y.int_repr().numpy())
            np.testing.assert_array_equal(*found)


def test_modules() -> None:
    x = normal(1, 2, 4, 9, 9, scale=2)
    found = []
    for t in PAIR:
        nnq = t.ao.nn.quantized
        conv = nnq.Conv2d(4, 6, 3, padding=1)
        conv.set_weight_bias(weights(t, normal(2, 6, 4, 3, 3, scale=0.3), False), t.tensor(normal(3, 6)))
        conv.scale, conv.zero_point = 0.09, 80
        model = t.nn.Sequential(nnq.Quantize(0.03, 120, t.quint8), conv, nnq.DeQuantize())
        found.append((repr(model).replace("torsh.", "torch."), model(t.tensor(x)).numpy(), sorted(model.state_dict())))
        other = t.nn.Sequential(nnq.Quantize(1.0, 0, t.quint8), nnq.Conv2d(4, 6, 3, padding=1), nnq.DeQuantize())
        other.load_state_dict(model.state_dict())
        np.testing.assert_array_equal(other(t.tensor(x)).numpy(), found[-1][1])
    assert found[0][0] == found[1][0]
    assert found[0][2] == found[1][2]
    np.testing.assert_array_equal(found[0][1], found[1][1])


def test_quantize_dynamic() -> None:
    w, b = normal(2, 6, 5), normal(3, 6)
    found = []
    for t in PAIR:
        model = t.nn.Sequential(t.nn.Linear(5, 6), t.nn.ReLU(), t.nn.Sequential(t.nn.Linear(6, 6)))
        with t.no_grad():
            for layer, value in ((model[0], w), (model[2][0], normal(4, 6, 6))):
                layer.weight.copy_(t.tensor(value))
                layer.bias.copy_(t.tensor(b))
        made = t.ao.quantization.quantize_dynamic(model, {t.nn.Linear})
        assert isinstance(model[0], t.nn.Linear)
        found.append((repr(made).replace("torsh.", "torch."), made(t.tensor(normal(1, 3, 5))).numpy(), sorted(made.state_dict())))
        np.testing.assert_array_equal(made[0].weight().dequantize().numpy(), copy.deepcopy(made)[0].weight().dequantize().numpy())
        other = t.ao.quantization.quantize_dynamic(t.nn.Sequential(t.nn.Linear(5, 6), t.nn.ReLU(), t.nn.Sequential(t.nn.Linear(6, 6))))
        other.load_state_dict(made.state_dict())
        np.testing.assert_array_equal(other(t.tensor(normal(1, 3, 5))).numpy(), found[-1][1])
    assert found[0][0] == found[1][0]
    assert found[0][2] == found[1][2]
    np.testing.assert_array_equal(found[0][1], found[1][1])


def test_only_what_is_named_is_changed() -> None:
    model = torsh.nn.Sequential(torsh.nn.Linear(5, 6), torsh.nn.Linear(6, 6))
    made = torsh.ao.quantization.quantize_dynamic(model, {"1"}, inplace=True)
    assert made is model
    assert type(model[0]) is torsh.nn.Linear
    assert type(model[1]) is torsh.ao.nn.quantized.dynamic.Linear


def test_copies_and_pickles() -> None:
    layer = torsh.ao.nn.quantized.dynamic.Linear.from_float(torsh.nn.Linear(5, 6))
    x = torsh.tensor(normal(1, 3, 5))
    before = layer(x).numpy()
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(other(x).numpy(), before)


def test_no_values_are_waited_for() -> None:
    """A dynamic layer is part of one plan: nothing runs before something is read."""
    layer = torsh.ao.nn.quantized.dynamic.Linear.from_float(torsh.nn.Linear(8, 8))
    x = torsh.tensor(normal(1, 3, 8))
    _ = layer(x).numpy()
    y = layer(x * 2)
    assert y._node().buffer is None
    assert y.numpy().shape == (3, 8)


def test_errors() -> None:
    nnq = torsh.ao.nn.quantized
    x = torsh.quantize_per_tensor(torsh.ones(2, 3), 0.1, 0, torsh.quint8)
    with pytest.raises(RuntimeError, match="does not meet weights"):
        nnq.Linear(4, 2)(x)
    with pytest.raises(RuntimeError, match="expected an input of quint8"):
        nnq.Linear(3, 2)(torsh.ones(2, 3))
    with pytest.raises(RuntimeError, match="expected a bias"):
        nnq.Linear(3, 2).set_weight_bias(weights(torsh, normal(1, 2, 3), False), torsh.ones(3))
    with pytest.raises(RuntimeError, match="expected weights of qint8"):
        nnq.Linear(3, 2).set_weight_bias(x, None)
    with pytest.raises(RuntimeError, match="larger than or equal to 2"):
        nnq.dynamic.Linear(3, 2)(torsh.ones(3))
    with pytest.raises(RuntimeError, match="does not fit into"):
        nnq.functional.conv1d(torsh.quantize_per_tensor(torsh.ones(1, 2, 3), 0.1, 0, torsh.quint8), weights(torsh, normal(1, 2, 2, 5), False), None)
    with pytest.raises(NotImplementedError, match="zero-padding"):
        nnq.Conv2d(2, 2, 3, padding_mode="reflect")
    with pytest.raises(ValueError, match=r"default settings for torsh\.quint8"):
        torsh.ao.quantization.quantize_dynamic(torsh.nn.Linear(2, 2), dtype=torsh.quint8)

"""Quantized tensors against PyTorch's: values, parameters, what keeps them quantized, printing, errors, fake quantization."""
from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch

import torsh

pytestmark = pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor, torch.quantize_per_channel and other quantized tensor creation functions")
PAIR = (torsh, torch)
TYPES = ("quint8", "qint8", "qint32")


def numbers(n: int, scale: float, seed: int = 0) -> np.ndarray:
    """Numbers of all sizes, many of them halfway between two steps."""
    rng = np.random.default_rng(seed)
    return np.concatenate([(rng.integers(-90, 90, n) + 0.5) * scale, rng.standard_normal(n) * 5, [np.inf, -np.inf, 1e20]]).astype(np.float32)


def facts(x: Any) -> Any:
    if isinstance(x, tuple):
        return [facts(part) for part in x]
    if getattr(x, "is_quantized", False):
        by_channel = "channel" in repr(x.qscheme())
        own: Any = (x.q_per_channel_scales().tolist(), x.q_per_channel_zero_points().tolist(), x.q_per_channel_axis()) if by_channel else (
            x.q_scale(), x.q_zero_point())
        return [repr(x.qscheme()).split(".")[1], repr(x.dtype).split(".")[1], tuple(x.shape), x.int_repr().tolist(), own]
    return x.tolist() if hasattr(x, "tolist") else x


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("scale", [0.1, 0.2, 0.0371])
def test_quantizing_rounds_as_pytorch(dtype: str, scale: float) -> None:
    x = numbers(200, scale)
    for zero in (0, 1, 10, 7):
        ours, theirs = (t.quantize_per_tensor(t.tensor(x), scale, zero, getattr(t, dtype)) for t in PAIR)
        np.testing.assert_array_equal(ours.int_repr().numpy(), theirs.int_repr().numpy())
        np.testing.assert_array_equal(ours.dequantize().numpy(), theirs.dequantize().numpy())
        rows = np.stack([x, x[::-1]])
        ours, theirs = (t.quantize_per_channel(t.tensor(rows), t.tensor([scale, 0.3]), t.tensor([zero, 3]), 0, getattr(t, dtype)) for t in PAIR)
        np.testing.assert_array_equal(ours.int_repr().numpy(), theirs.int_repr().numpy())
        np.testing.assert_array_equal(ours.dequantize().numpy(), theirs.dequantize().numpy())


@pytest.mark.parametrize("dtype", ["quint8", "qint8"])
@pytest.mark.parametrize("values", [[-1.0, 0.3, 0.75, 2.2], [1.0, 2.0], [-3.0, -1.0], [0.0, 0.0], [1e-6, 3e-6], [-1e-7, 1e-6], [-1e20, 1e20]])
def test_dynamic_parameters_are_pytorchs(dtype: str, values: list[float]) -> None:
    for reduce_range in (False, True):
        found = [t.quantize_per_tensor_dynamic(t.tensor(values), getattr(t, dtype), reduce_range) for t in PAIR]
        assert found[0].q_scale() == pytest.approx(found[1].q_scale(), rel=1e-12)
        assert found[0].q_zero_point() == found[1].q_zero_point()
        assert found[0].int_repr().tolist() == found[1].int_repr().tolist()


def _tensor(t: Any, dtype: str) -> Any:
    return t.quantize_per_tensor(t.tensor([[-1.0, 0.3, 1.2], [0.75, 2.2, -0.4]]), 0.1, 10, getattr(t, dtype))


@pytest.mark.parametrize("f", [
    lambda t, q: q, lambda t, q: q.t(), lambda t, q: q.view(6), lambda t, q: q.reshape(3, 2), lambda t, q: q.transpose(0, 1), lambda t, q: q.permute(1, 0),
    lambda t, q: q.flatten(), lambda t, q: q.unsqueeze(1), lambda t, q: q.unsqueeze(0).squeeze(), lambda t, q: q[1], lambda t, q: q[:, 1:],
    lambda t, q: q.select(1, 2),
    lambda t, q: q.clone(), lambda t, q: q.detach(), lambda t, q: q.contiguous(), lambda t, q: q.unsqueeze(0).expand(2, 2, 3), lambda t, q: t.relu(q),
    lambda t, q: q.relu(),
    lambda t, q: q.clamp(-0.2, 1.0), lambda t, q: q.max(), lambda t, q: q.min(), lambda t, q: tuple(q.max(1)), lambda t, q: tuple(q.sort(1)),
    lambda t, q: tuple(q.topk(2)), lambda t, q: q.mean(), lambda t, q: t.sigmoid(q), lambda t, q: t.tanh(q), lambda t, q: q == q, lambda t, q: q > 0.5,
    lambda t, q: q < t.ones(2, 3), lambda t, q: t.cat([q, q]), lambda t, q: t.equal(q, q), lambda t, q: t.equal(q, q.clone().fill_(1.0)),
    lambda t, q: q.clone().fill_(0.54), lambda t, q: q.clone().copy_(t.ones(2, 3)), lambda t, q: q.clone().copy_(q), lambda t, q: q.clone().relu_(),
    lambda t, q: q[0, 1].item(), lambda t, q: (q.numel(), q.element_size(), q.is_quantized, tuple(q.stride()), q.dim(), q.is_contiguous(), len(q)),
    lambda t, q: q.to("cpu"), lambda t, q: t.dequantize((q, q)), lambda t, q: t.empty_quantized([2, 2], q).q_scale(), lambda t, q: isinstance(q, t.Tensor),
    lambda t, q: (t.ones(1).is_quantized, t.tensor([1, 2]).dequantize().dtype == t.float32), lambda t, q: q.dequantize().sum(),
])
@pytest.mark.parametrize("dtype", ["quint8", "qint8"])
def test_operations_are_pytorchs(f: Any, dtype: str) -> None:
    assert facts(f(torsh, _tensor(torsh, dtype))) == facts(f(torch, _tensor(torch, dtype)))


@pytest.mark.parametrize("f", [
    lambda t, q: q, lambda t, q: q.dequantize(), lambda t, q: q.clone(), lambda t, q: q.unsqueeze(0), lambda t, q: q.unsqueeze(2),
    lambda t, q: q.unsqueeze(0).squeeze(0),
    lambda t, q: q.clone().copy_(t.ones(2, 3)), lambda t, q: q.clone().fill_(0.5), lambda t, q: t.equal(q, q), lambda t, q: q == q,
    lambda t, q: t.empty_quantized([2, 2], q).q_per_channel_scales(), lambda t, q: q.contiguous()])
def test_tensors_by_channel_are_pytorchs(f: Any) -> None:
    found = []
    for t in PAIR:
        x = t.tensor([[-1.0, 0.3, 1.2], [0.75, 2.2, -0.4]])
        found.append(facts(f(t, t.quantize_per_channel(x, t.tensor([0.1, 0.2]), t.tensor([10, 0]), 0, t.quint8))))
    assert found[0] == found[1]
    q = torsh.quantize_per_channel(torsh.ones(2, 3), torsh.tensor([0.1, 0.2]), torsh.tensor([10, 0]), 0, torsh.qint8)
    assert facts(q[1])[3:] == [[5, 5, 5], (float(np.float32(0.2)), 0)]


def test_several_tensors_and_tensor_parameters() -> None:
    found = []
    for t in PAIR:
        x = t.tensor([-1.0, 0.3, 0.5])
        several = t.quantize_per_tensor([x, x * 2], t.tensor([0.1, 0.2]), t.tensor([0, 1]), t.qint8)
        found.append([facts(tuple(several)), facts(t.quantize_per_tensor(x, t.tensor(0.1), t.tensor(3), t.quint8))])
    assert found[0] == found[1]


def test_printing_is_pytorchs() -> None:
    def shown(t: Any) -> list[str]:
        q = _tensor(t, "quint8")
        by_channel = t.quantize_per_channel(t.ones(2, 2), t.tensor([0.1, 0.2]), t.tensor([10, 0]), 1, t.qint8)
        return [repr(x).replace("torsh", "torch") for x in (
            q, q[0], t.quantize_per_tensor(t.ones(2), t.tensor(0.1), t.tensor(2), t.qint32), by_channel, q.qscheme(), q.dtype)]
    assert shown(torsh) == shown(torch)


@pytest.mark.parametrize("call", [
    lambda t, q: t.quantize_per_tensor(t.ones(2), 0.1, 0, t.int8), lambda t, q: t.quantize_per_tensor(t.ones(2), 0.1, 300, t.quint8),
    lambda t, q: t.quantize_per_tensor(t.ones(2, dtype=t.float64), 0.1, 0, t.quint8),
    lambda t, q: t.quantize_per_channel(t.ones(2, 2), t.ones(1), t.ones(1), 0, t.qint8),
    lambda t, q: q.exp(), lambda t, q: q.sum(), lambda t, q: -q, lambda t, q: q + q, lambda t, q: q.numpy(), lambda t, q: q.tolist(), lambda t, q: q.float(),
    lambda t, q: q.q_per_channel_axis(), lambda t, q: t.q_per_channel_scales(q), lambda t, q: t.ones(2).int_repr(), lambda t, q: t.ones(2).qscheme(),
    lambda t, q: t.ones(2).q_scale(), lambda t, q: q.view(7), lambda t, q: q.requires_grad_(), lambda t, q: q.item(),
    lambda t, q: t.quantize_per_channel(t.ones(2, 2), t.ones(2), t.zeros(2), 0, t.qint8).q_scale(),
    lambda t, q: t.quantize_per_channel(t.ones(2, 2), t.ones(2), t.tensor([0, 0]), 0, t.qint8).t(),
    lambda t, q: t.cat([t.quantize_per_channel(t.ones(2, 2), t.ones(2), t.tensor([0, 0]), 0, t.qint8)] * 2),
    lambda t, q: t.quantize_per_channel(t.ones(2, 2), t.ones(2), t.tensor([0, 0]), 0, t.qint8).relu()])
def test_errors_are_of_pytorchs_types(call: Any) -> None:
    kinds = []
    for t in PAIR:
        with pytest.raises((RuntimeError, TypeError, IndexError)) as caught:
            call(t, _tensor(t, "quint8"))
        kinds.append(caught.type)
    assert kinds[0] is kinds[1] or set(kinds) == {RuntimeError, NotImplementedError}


def test_copies_and_pickles_hold_the_same() -> None:
    q = _tensor(torsh, "qint8")
    for made in (copy.deepcopy(q), pickle.loads(pickle.dumps(q))):
        assert facts(made) == facts(q)
        assert made.dtype is torsh.qint8


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_pools_of_quantized_tensors_are_pytorchs(rank: int) -> None:
    x = np.random.default_rng(0).standard_normal((1, 2, *[6] * rank)).astype(np.float32)
    found = []
    for t in PAIR[:1 if rank == 3 else 2]:  # PyTorch's CPU build has no 3-D one
        q = t.quantize_per_tensor(t.tensor(x), 0.05, 3, t.quint8)
        found.append(facts(getattr(t, f"quantized_max_pool{rank}d")(q, [3] * rank, [2] * rank, [1] * rank)))
    if rank == 3:
        q = torsh.quantize_per_tensor(torsh.tensor(x), 0.05, 3, torsh.quint8)
        expected = torsh.nn.functional.max_pool3d(q.dequantize(), 3, 2, 1)
        got = torsh.quantized_max_pool3d(q, [3] * 3, [2] * 3, [1] * 3).dequantize()
        assert got.tolist() == expected.tolist()
    else:
        assert found[0] == found[1]


def test_batch_norm_of_quantized_tensors_is_pytorchs() -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 4)).astype(np.float32)
    found = []
    for t in PAIR:
        q = t.quantize_per_tensor(t.tensor(x), 0.05, 100, t.quint8)
        w, b, m, v = (t.tensor(np.array(a, np.float32)) for a in ([1.0, 2.0, 0.5], [0.1, 0.0, -0.3], [0.2, 0.1, 0.0], [1.0, 0.5, 2.0]))
        found.append(t.quantized_batch_norm(q, w, b, m, v, 1e-5, 0.04, 90).int_repr().numpy().astype(int))
    assert np.abs(found[0] - found[1]).max() <= 1
    assert (found[0] != found[1]).mean() < 0.02


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_fake_quantization_and_its_gradient_are_pytorchs(dtype: str) -> None:
    x = np.concatenate([numbers(60, 0.1)[:-3], numbers(60, 0.2)[:-3]]).reshape(2, -1)
    for call in (lambda t, x: t.fake_quantize_per_tensor_affine(x, 0.1, 3, 0, 60),
                 lambda t, x: t.fake_quantize_per_tensor_affine(x, t.tensor(0.2), t.tensor(3, dtype=t.int32), -20, 60),
                 lambda t, x: t.fake_quantize_per_channel_affine(x, t.tensor([0.1, 0.2]), t.tensor([0, 7], dtype=t.int32), 0, 0, 31),
                 lambda t, x: t.fake_quantize_per_channel_affine(x.t(), t.tensor([0.1, 0.2]), t.tensor([0, 7], dtype=t.int32), 1, -8, 31)):
        found = []
        for t in PAIR:
            leaf = t.tensor(x).to(getattr(t, dtype)).requires_grad_()
            out = call(t, leaf)
            (out * out).sum().backward()
            found.append((out.detach().float().numpy(), leaf.grad.float().numpy(), str(out.dtype).split(".")[1]))
        assert found[0][2] == found[1][2]
        tight = dtype != "float64"
        np.testing.assert_allclose(found[0][0], found[1][0], rtol=0 if tight else 1e-6)
        np.testing.assert_allclose(found[0][1], found[1][1], rtol=0 if tight else 1e-6)


@pytest.mark.parametrize("call", [
    lambda t, x: t.fake_quantize_per_tensor_affine(x, 0.1, 20, 0, 15), lambda t, x: t.fake_quantize_per_tensor_affine(x, 0.1, 15, 15, 0),
    lambda t, x: t.fake_quantize_per_channel_affine(x, t.ones(2), t.tensor([0, 1]), 0, 0, 15),
    lambda t, x: t.fake_quantize_per_channel_affine(x, t.ones(3), t.zeros(3), 0, 0, 15),
    lambda t, x: t.fake_quantize_per_channel_affine(x, t.ones(2), t.tensor([0, 99], dtype=t.int32), 0, 0, 15)])
def test_impossible_fake_quantization_is_refused(call: Any) -> None:
    for t in PAIR:
        with pytest.raises(RuntimeError):
            call(t, t.ones(2, 2))


@pytest.mark.parametrize(("per_row", "symmetric", "limits"), [
    (False, False, (0, 255)), (False, True, (-128, 127)), (True, False, (0, 255)), (True, True, (-128, 127))])
def test_observing_and_quantizing_is_pytorchs(per_row: bool, symmetric: bool, limits: tuple[int, int]) -> None:
    data = np.random.default_rng(3).standard_normal((4, 3, 5)).astype(np.float32)
    found = []
    for t in PAIR:
        on = t.tensor([1])
        low, high = (t.tensor([]), t.tensor([])) if per_row else (t.tensor([float("inf")]), t.tensor([float("-inf")]))
        scale, zero = t.tensor([1.0]), t.tensor([0], dtype=t.int32)
        steps = []
        for i, x in enumerate(data):
            leaf = t.tensor(x).requires_grad_()
            switches = on if i != 2 else t.tensor([0]), on if i != 1 else t.tensor([0])
            out = t.fused_moving_avg_obs_fake_quant(leaf, *switches, low, high, scale, zero, 0.3, *limits, 0, per_row, symmetric)
            out.sum().backward()
            steps.append([out.detach().numpy(), leaf.grad.numpy(), *[s.clone().numpy() for s in (low, high, scale, zero)]])
        found.append(steps)
    for ours, theirs in zip(*found, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)

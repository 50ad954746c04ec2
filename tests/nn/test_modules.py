"""Layers against PyTorch: constructors, text, initial weights bit for bit, values and gradients."""
from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch

import torsh
from torsh.nn.modules import simple

LAYERS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "linear": (lambda n: n.Linear(5, 3), (4, 5)),
    "conv1d": (lambda n: n.Conv1d(4, 6, 3, stride=2, groups=2), (2, 4, 9)),
    "conv2d": (lambda n: n.Conv2d(3, 4, (3, 2), padding=1, dilation=2), (2, 3, 7, 8)),
    "conv2d_same": (lambda n: n.Conv2d(2, 2, 3, padding="same", bias=False), (1, 2, 5, 5)),
    "conv2d_reflect": (lambda n: n.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"), (1, 2, 5, 5)),
    "conv3d": (lambda n: n.Conv3d(1, 2, 2), (1, 1, 3, 3, 3)),
    "batch_norm1d": (lambda n: n.BatchNorm1d(3), (5, 3)),
    "batch_norm2d": (lambda n: n.BatchNorm2d(3, momentum=None), (4, 3, 2, 2)),
    "batch_norm_plain": (lambda n: n.BatchNorm2d(3, affine=False, track_running_stats=False), (4, 3, 2, 2)),
    "layer_norm": (lambda n: n.LayerNorm((3, 4)), (2, 3, 4)),
    "group_norm": (lambda n: n.GroupNorm(2, 4), (2, 4, 3)),
    "max_pool": (lambda n: n.MaxPool2d(2), (1, 2, 4, 6)),
    "avg_pool": (lambda n: n.AvgPool1d(3, stride=1, padding=1), (1, 2, 6)),
    "flatten": (lambda n: n.Flatten(), (2, 3, 4)),
    "unflatten": (lambda n: n.Unflatten(1, (2, 3)), (2, 6)),
    "dropout_off": (lambda n: n.Dropout(0.0), (2, 3)),
    "gelu": (lambda n: n.GELU(approximate="tanh"), (3, 4)),
    "leaky_relu": (lambda n: n.LeakyReLU(0.2), (3, 4)),
    "softmax": (lambda n: n.Softmax(dim=1), (3, 4)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_match_pytorch(name: str, rng: np.random.Generator) -> None:
    make, shape = LAYERS[name]
    made = []
    for t in (torsh, torch):
        t.manual_seed(4)
        made.append(make(t.nn))
    ours, theirs = made
    assert repr(ours) == repr(theirs)
    for (key, a), (other, b) in zip(ours.state_dict().items(), theirs.state_dict().items(), strict=True):
        assert key == other
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    data = rng.normal(size=shape).astype(np.float32)
    results = []
    for t, m in ((torsh, ours), (torch, theirs)):
        x = t.tensor(data, requires_grad=True)
        y = m(x)
        (y * y.detach().sin()).sum().backward()
        again = m.eval()(x)
        results.append([y, again, x.grad, *(p.grad for p in m.parameters()), *m.buffers()])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-5, atol=1e-5)


def test_embedding_matches_pytorch() -> None:
    for options in ({}, {"padding_idx": -1}):
        pair = []
        for t in (torsh, torch):
            t.manual_seed(2)
            m = t.nn.Embedding(7, 3, **options)
            m(t.tensor([[1, 6, 1]])).sum().backward()
            pair.append((repr(m), m.weight.detach().numpy(), m.weight.grad.numpy()))
        assert pair[0][0] == pair[1][0]
        np.testing.assert_allclose(pair[0][1], pair[1][1], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(pair[0][2], pair[1][2])


@pytest.mark.parametrize("name", simple.__all__)
def test_options_of_simple_modules_are_pytorchs(name: str) -> None:
    needed = [p for p in list(inspect.signature(getattr(torsh.nn, name).__init__).parameters.values())[1:] if p.default is inspect.Parameter.empty]
    args = (0.1, 0.2) if name == "Threshold" else (2,) * len(needed)
    ours, theirs = getattr(torsh.nn, name)(*args), getattr(torch.nn, name)(*args)
    assert repr(ours) == repr(theirs)
    for option in list(inspect.signature(type(theirs).__init__).parameters)[1:]:
        if hasattr(theirs, option) and option not in ("args", "kwargs"):
            assert getattr(ours, option) == getattr(theirs, option), option


LOSSES: dict[str, tuple[dict[str, Any], str]] = {
    "L1Loss": ({}, "float"), "MSELoss": ({"reduction": "sum"}, "float"), "CrossEntropyLoss": ({"label_smoothing": 0.1}, "class"),
    "NLLLoss": ({"reduction": "none"}, "class"), "BCEWithLogitsLoss": ({}, "unit"), "SmoothL1Loss": ({"beta": 0.5}, "float"),
    "HuberLoss": ({"delta": 0.7}, "float"), "KLDivLoss": ({"reduction": "batchmean"}, "unit"),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_match_pytorch(name: str, rng: np.random.Generator) -> None:
    options, kind = LOSSES[name]
    x = rng.normal(size=(6, 4)).astype(np.float32)
    target = rng.integers(0, 4, 6) if kind == "class" else rng.uniform(size=(6, 4)).astype(np.float32)
    found = []
    for t in (torsh, torch):
        leaf = t.tensor(x, requires_grad=True)
        loss = getattr(t.nn, name)(**options)(leaf, t.tensor(target))
        loss.sum().backward()
        found.append((loss.detach().numpy(), leaf.grad.numpy()))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_containers_are_pytorchs() -> None:
    texts = []
    for t in (torsh, torch):
        n = t.nn
        s = n.Sequential(n.Linear(1, 2), n.ReLU(), n.Tanh(), n.Linear(2, 3))
        del s[1]
        s.append(n.ReLU())
        s.insert(0, n.Identity())
        blocks = n.ModuleList([n.Linear(1, 1) for _ in range(3)] + [n.ReLU()])
        keyed = n.ModuleDict({"a": n.ReLU()})
        keyed["b"] = blocks
        params = n.ParameterList([t.ones(2, 3), n.Parameter(t.ones(1))])
        named = n.ParameterDict({"x": t.ones(2)})
        texts.append([repr(s), repr(s[1:3]), repr(s[-1]), repr(blocks[1:]), repr(keyed), len(params), [k for k, _ in params.named_parameters()],
                      [k for k, _ in named.named_parameters()], list(keyed.keys()), repr(s.pop(0)), len(s),
                      repr(params).replace("torch.", "torsh."), repr(named).replace("torch.", "torsh.")])
        with pytest.raises(IndexError):
            s[10]
    assert texts[0] == texts[1]


# PyTorch's own signatures are `*args, **kwargs` for the first; Hardtanh's has two names from before 2018.
UNSIGNED = {"RNN", "LSTM", "GRU", "LogSigmoid", "Sigmoid", "Softsign", "Tanh", "Tanhshrink", "Hardtanh"}
CLASSES = sorted(n for n in dir(torsh.nn) if isinstance(getattr(torsh.nn, n), type) and issubclass(getattr(torsh.nn, n), torsh.nn.Module)
                 and hasattr(torch.nn, n) and n not in UNSIGNED)


@pytest.mark.parametrize("name", CLASSES)
def test_arguments_are_pytorchs(name: str) -> None:
    found = []
    for t in (torsh, torch):
        parameters = list(inspect.signature(getattr(t.nn, name).__init__).parameters.values())[1:]
        found.append([(p.name, p.kind, p.default if not callable(p.default) else getattr(p.default, "__name__", "")) for p in parameters])
    assert found[0] == found[1]

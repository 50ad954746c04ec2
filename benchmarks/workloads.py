"""The workloads of `python -m benchmarks`, written for any module with PyTorch's names.

A workload makes a module and its inputs, or a step of training. What is timed ends with its result in memory (an array of every output, or of a
parameter and the loss), so a library that computes lazily is charged for the work.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.models import gpt, resnet18


class Workload:
    """`make(t)` gives (module or function, inputs) for one to be called, or (step, None) for one that trains.

    flops: multiplications and additions of the plain algorithm; nbytes: what has to be read and written at least, where that is more than caches
    hold. exported: whether ONNX Runtime can run it.
    """

    def __init__(self, make: Callable[[Any], tuple[Any, Any]], flops: float = 0, nbytes: float = 0, exported: bool = True) -> None:
        self.make, self.flops, self.nbytes, self.exported = make, flops, nbytes, exported


def normal(t: Any, *shape: int) -> Any:
    return t.tensor(np.random.default_rng(len(shape)).standard_normal(shape, dtype=np.float32))


def called(function: Callable[..., Any], *shapes: tuple[int, ...], **known: Any) -> Workload:
    """A function `(t, *tensors)` of normal numbers of these shapes."""
    return Workload(lambda t: (lambda *tensors: function(t, *tensors), [normal(t, *s) for s in shapes]), **known)


def matmul(m: int, k: int, n: int) -> Workload:
    large = 4 * (m * k + k * n + m * n)
    return called(lambda t, a, b: a @ b, (m, k), (k, n), flops=2 * m * k * n, nbytes=large if large > 32 << 20 else 0)


def conv(batch: int, before: int, after: int, size: int, kernel: int, stride: int = 1, groups: int = 1) -> Workload:
    def make(t: Any) -> tuple[Any, Any]:
        return t.nn.Conv2d(before, after, kernel, stride, kernel // 2, groups=groups), [normal(t, batch, before, size, size)]
    out = batch * after * (size // stride) ** 2
    return Workload(make, 2 * out * before // groups * kernel * kernel, 4 * (out + batch * before * size * size) if groups > 1 else 0)


def evaluated(make: Callable[[Any], Any], inputs: Callable[[Any], list[Any]], flops: float) -> Workload:
    return Workload(lambda t: (make(t).eval(), inputs(t)), flops)


def trained(make: Callable[[Any], tuple[Any, Any, Any, Any]], flops: float) -> Workload:
    """`make(t)` gives (model, optimizer, input, targets of a cross-entropy)."""
    def step_of(t: Any) -> tuple[Any, None]:
        model, optimizer, x, y = make(t)
        first = next(iter(model.parameters()))

        def step() -> None:
            optimizer.zero_grad()
            out = model(x)
            loss = t.nn.functional.cross_entropy(out.flatten(0, -2), y.flatten())
            loss.backward()
            optimizer.step()
            loss.item()
            first.detach().numpy()
        return step, None
    return Workload(step_of, flops, exported=False)


def mlp(t: Any) -> Any:
    return t.nn.Sequential(t.nn.Linear(784, 128), t.nn.ReLU(), t.nn.Linear(128, 10))


def tokens(t: Any, batch: int, length: int) -> Any:
    return t.tensor(np.random.default_rng(0).integers(0, 1024, (batch, length)))


def small_chain(t: Any, x: Any, y: Any) -> Any:
    z = x
    for _ in range(50):
        z = z * y + x
    return z


def mlp_training(t: Any) -> tuple[Any, Any, Any, Any]:
    model = mlp(t)
    return model, t.optim.Adam(model.parameters(), 1e-3), normal(t, 64, 784), t.tensor(np.arange(64) % 10)


def resnet_training(t: Any) -> tuple[Any, Any, Any, Any]:
    model = resnet18(t)
    return model, t.optim.SGD(model.parameters(), 0.01, momentum=0.9), normal(t, 16, 3, 64, 64), t.tensor(np.arange(16))


def gpt_training(t: Any) -> tuple[Any, Any, Any, Any]:
    model, x = gpt(t), tokens(t, 8, 128)
    return model, t.optim.AdamW(model.parameters(), 1e-3), x, x


def adam(t: Any) -> tuple[Any, None]:
    parameters = [t.nn.Parameter(normal(t, 256, 256)) for _ in range(16)]
    optimizer = t.optim.AdamW(parameters, 1e-3)
    for p in parameters:
        p.grad = normal(t, 256, 256)

    def step() -> None:
        optimizer.step()
        for p in parameters:
            p.detach().numpy()
    return step, None


def lstm(t: Any) -> tuple[Any, None]:
    layer, x = t.nn.LSTM(64, 128, batch_first=True), normal(t, 16, 50, 64)

    def step() -> None:
        layer.zero_grad()
        layer(x)[0].sum().backward()
        for p in layer.parameters():
            p.grad.detach().numpy()
    return step, None


def indexed(t: Any) -> tuple[Any, Any]:
    return lambda a, i: a[i], [normal(t, 100000, 64), t.tensor(np.random.default_rng(0).integers(0, 100000, 100000))]


def normalized(t: Any) -> tuple[Any, Any]:
    return t.nn.LayerNorm(1024), [normal(t, 4096, 1024)]


def widened(t: Any) -> tuple[Any, Any]:
    return t.nn.Sequential(t.nn.Linear(512, 2048), t.nn.GELU()), [normal(t, 256, 512)]


def six(t: Any, a: Any, b: Any) -> Any:
    return t.exp(t.sigmoid(t.tanh(a * b + a) * 0.5 + b) - a)


_M = 1 << 22
_BLOCK = 4 * (2 * 256 * 256 * 12)  # multiply-adds a token of the GPT's blocks, twice
WORKLOADS: dict[str, Workload] = {
    "add 4 x 4": called(lambda t, a, b: a + b, (4, 4), (4, 4)),
    "chain of 100, 4 x 4": called(small_chain, (4, 4), (4, 4)),
    "MLP, batch 1": evaluated(mlp, lambda t: [normal(t, 1, 784)], 2 * (784 * 128 + 1280)),
    "MLP, Adam, batch 64": trained(mlp_training, 64 * 2 * (2 * 784 * 128 + 3 * 1280)),
    "AdamW of 1M": Workload(adam, 0, 7 * 4 << 20, exported=False),
    "chain of six, 4M": called(six, (_M,), (_M,), nbytes=3 * 4 * _M),
    "gelu 4M": called(lambda t, a: t.nn.functional.gelu(a), (_M,), nbytes=2 * 4 * _M),
    "softmax 4096 x 1024": called(lambda t, a: t.softmax(a, -1), (4096, 1024), nbytes=2 * 4 * _M),
    "layer norm 4096 x 1024": Workload(normalized, 0, 2 * 4 * _M),
    "sum of 16M": called(lambda t, a: a.sum(), (1 << 24,), nbytes=4 << 24),
    "sum(0) 4096 x 4096": called(lambda t, a: a.sum(0), (4096, 4096), nbytes=4 << 24),
    "transposed copy 4096": called(lambda t, a: a.t().contiguous(), (4096, 4096), nbytes=8 << 24),
    "index of 100k rows": Workload(indexed, 0, 2 * 4 * 6400000),
    "sort 1M": called(lambda t, a: t.sort(a)[0], (1 << 20,), exported=False),
    "cumsum 4096 x 1024": called(lambda t, a: t.cumsum(a, -1), (4096, 1024), nbytes=2 * 4 * _M),
    "matmul 64": matmul(64, 64, 64), "matmul 256": matmul(256, 256, 256), "matmul 512": matmul(512, 512, 512),
    "matmul 1024": matmul(1024, 1024, 1024), "matmul 2048": matmul(2048, 2048, 2048),
    "matmul 1 x 4096 x 4096": matmul(1, 4096, 4096), "matmul 64 x 4096 x 1024": matmul(64, 4096, 1024),
    "bmm 64 of 128": called(lambda t, a, b: a @ b, (64, 128, 128), (64, 128, 128), flops=64 * 2 * 128 ** 3),
    "linear and gelu": Workload(widened, 2 * 256 * 512 * 2048),
    "causal attention": called(lambda t, q, k, v: t.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True), *[(4, 8, 256, 64)] * 3,
                               flops=32 * 2 * 2 * 256 * 256 * 64 / 2),
    "conv 3x3, 64, 56": conv(8, 64, 64, 56, 3), "conv 3x3, 256, 14": conv(8, 256, 256, 14, 3), "conv 1x1, 256, 28": conv(8, 256, 256, 28, 1),
    "conv 7x7 / 2": conv(4, 3, 64, 224, 7, 2), "depthwise 3x3, 128, 56": conv(8, 128, 128, 56, 3, 1, 128),
    "ResNet-18, batch 1": evaluated(resnet18, lambda t: [normal(t, 1, 3, 224, 224)], 3.63e9),
    "ResNet-18, batch 8": evaluated(resnet18, lambda t: [normal(t, 8, 3, 224, 224)], 8 * 3.63e9),
    "ResNet-18, SGD, 16 x 64 x 64": trained(resnet_training, 16 * 3 * 3.63e9 * (64 / 224) ** 2),
    "GPT, AdamW, 8 x 128": trained(gpt_training, 3 * 1024 * (_BLOCK + 2 * 256 * 1024 + 4 * 2 * 2 * 64 * 256)),
    "GPT, 1 x 32": evaluated(gpt, lambda t: [tokens(t, 1, 32)], 32 * (_BLOCK + 2 * 256 * 1024)),
    "LSTM, training": Workload(lstm, 3 * 2 * 16 * 50 * 4 * 128 * 192, exported=False),
}

"""What follows a linear layer's product is done by the product's kernel: one launch, PyTorch's values."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import torsh
from torsh.compiler.execute import stats

FOLLOWED: dict[str, Callable[..., Any]] = {
    "bias": lambda F, x, w, b, r: F.linear(x, w, b),
    "gelu": lambda F, x, w, b, r: F.gelu(F.linear(x, w, b)),
    "silu": lambda F, x, w, b, r: F.silu(F.linear(x, w, b)),
    "tanh": lambda F, x, w, b, r: F.linear(x, w, b).tanh() * 0.5,
    "relu, residual": lambda F, x, w, b, r: F.relu(F.linear(x, w, b)) + r,
    "residual, sigmoid": lambda F, x, w, b, r: (r + F.linear(x, w, b)).sigmoid(),
    "two biases": lambda F, x, w, b, r: F.linear(x, w, b) - b,
}
SHAPES = [(1, 131, 67), (4, 64, 128), (7, 200, 31), (31, 96, 257), (64, 300, 64), (150, 97, 33)]


def operands(dtype: str, m: int, n: int, k: int) -> list[np.ndarray]:
    rng = np.random.default_rng(m)
    return [rng.standard_normal(shape).astype(dtype) for shape in ((m, k), (n, k), (n,), (m, n))]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FOLLOWED)
def test_one_launch(name: str, dtype: str) -> None:
    for shape in SHAPES:
        arrays = operands(dtype, *shape)
        tensors = [torsh.tensor(a) for a in arrays]
        before = stats.launches
        with torsh.no_grad():
            found = FOLLOWED[name](torsh.nn.functional, *tensors).numpy()
        assert stats.launches == before + 1
        exact = FOLLOWED[name](torch.nn.functional, *(torch.from_numpy(a).double() for a in arrays)).numpy()
        x, w, b, r = (np.abs(a.astype(np.float64)) for a in arrays)
        eps = 2.0**-24 if dtype == "float32" else 2.0**-53
        bound = eps * ((shape[2] + 3) * (x @ w.T + b + r) * 1.2 + 4)  # no function here is steeper than 1.13
        assert (np.abs(found - exact) <= bound).all()


def test_the_threads_do_not_change_a_bit() -> None:
    arrays = operands("float32", 40, 1100, 300)
    found = []
    before = torsh.get_num_threads()
    try:
        for threads in (1, 2):
            torsh.set_num_threads(threads)
            with torsh.no_grad():
                found.append([f(torsh.nn.functional, *map(torsh.tensor, arrays)).numpy().tobytes() for f in FOLLOWED.values()])
    finally:
        torsh.set_num_threads(before)
    assert found[0] == found[1]


def test_values_that_others_read_and_operands_that_are_views() -> None:
    x, w, b, r = operands("float32", 33, 60, 50)
    X, W, R = map(torsh.tensor, (x, w, r))
    product = x.astype(np.float64) @ w.T
    wide = torsh.tensor(np.repeat(b, 3))
    with torsh.no_grad():
        y = torsh.nn.functional.linear(X, W, wide[::3])  # its elements are apart
        np.testing.assert_allclose(y.numpy(), product + b, rtol=1e-5, atol=1e-4)
        y = torsh.nn.functional.linear(X, W, torsh.tensor(np.concatenate([b, b]))[60:])
        z = y * torsh.sigmoid(y)
        np.testing.assert_allclose((z + y).numpy(), (product + b) * (1 + 1 / (1 + np.exp(-product - b))), rtol=1e-4, atol=1e-4)
        y = torsh.nn.functional.linear(X, W) + R.sum(1, keepdim=True)  # one number for each row
        np.testing.assert_allclose(y.numpy(), product + r.sum(1, keepdims=True), rtol=1e-4, atol=1e-4)
        y = (X.reshape(3, 11, 50) @ W.t()).transpose(0, 1) + torsh.tensor(b)
        np.testing.assert_allclose(y.numpy(), (product + b).reshape(3, 11, 60).transpose(1, 0, 2), rtol=1e-4, atol=1e-4)


def test_gradients() -> None:
    arrays = operands("float64", 12, 40, 30)
    for name, f in FOLLOWED.items():
        mine = [torsh.tensor(a).requires_grad_() for a in arrays]
        theirs = [torch.from_numpy(a).requires_grad_() for a in arrays]
        (f(torsh.nn.functional, *mine) ** 2).sum().backward()
        (f(torch.nn.functional, *theirs) ** 2).sum().backward()
        for a, b in zip(mine, theirs, strict=True):
            assert (a.grad is None) == (b.grad is None), name
            if b.grad is not None:
                np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-9, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_types_are_rounded_once(dtype: str) -> None:
    """The bias is added in float32 and the sum rounded as it is stored: the error of one rounding, in one launch."""
    eps = 2.0**-11 if dtype == "float16" else 2.0**-8
    for shape in SHAPES:
        x, w, b = (torsh.tensor(a, dtype=getattr(torsh, dtype)) for a in operands("float32", *shape)[:3])
        for bias in (None, b):
            before = stats.launches
            with torsh.no_grad():
                made = torsh.nn.functional.linear(x, w, bias)
                made.numpy()
            assert stats.launches == before + 1
            arrays = [t.double().numpy() for t in (x, w)]
            added = 0.0 if bias is None else bias.double().numpy()
            exact = arrays[0] @ arrays[1].T + added
            sums = 2.0**-24 * (shape[2] + 3) * (np.abs(arrays[0]) @ np.abs(arrays[1]).T + np.abs(added))
            assert (np.abs(made.double().numpy() - exact) <= eps * np.abs(exact) * (1 + eps) + sums + 2.0**-24).all()

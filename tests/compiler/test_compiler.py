"""The compiler against the reference runtime: random graphs, and the ways in which memory and reads can go wrong."""
from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import torsh
from torsh.compiler.realize import realize
from torsh.core import config

SIZES = (1, 2, 3, 7, 8, 9, 33)


@contextlib.contextmanager
def runtime(name: str) -> Iterator[None]:
    old, config.RUNTIME = config.RUNTIME, name
    try:
        yield
    finally:
        config.RUNTIME = old


def step(ts: list[Any], kind: int, i: int, j: int, k: int) -> Any:
    """One operation of a random program on tensors already made; None where it does not apply."""
    a, b = ts[i % len(ts)], ts[j % len(ts)]
    axis = k % a.dim() if a.dim() else 0
    table = [
        lambda: a + b, lambda: a * b, lambda: a.sin(), lambda: a.sum(axis, keepdim=bool(k & 1)), lambda: a.t(),
        lambda: a.amax(axis, keepdim=True), lambda: torsh.where(a > b, a, b), lambda: a.reshape(-1), lambda: a.mean(),
        lambda: a.narrow(0, k % a.shape[0], 1), lambda: a @ b, lambda: a.reshape(tuple(a.shape)[::-1]), lambda: written(a, b),
        lambda: a - a.mean(axis, keepdim=True), lambda: a.argmax(axis).float(), lambda: a.var(axis, correction=0),
        lambda: torsh.exp(-(a * a)), lambda: a.expand(3, *a.shape).sum(0), lambda: a.logsumexp(axis), lambda: a.contiguous(),
    ]
    try:
        return table[kind % len(table)]()
    except (RuntimeError, IndexError):
        return None  # shapes that do not go together: refused at the call


def written(a: Any, b: Any) -> Any:
    out = a * 1
    out.narrow(0, 0, 1).copy_(b)
    return out


def program(seed: int, rows: int, columns: int, steps: list[tuple[int, int, int, int]]) -> list[Any]:
    rng = np.random.default_rng(seed)
    ts = [torsh.tensor(rng.standard_normal((rows, columns)).astype(np.float32)) for _ in range(2)]
    ts.append(torsh.tensor(rng.standard_normal(columns).astype(np.float32)))
    for s in steps:
        made = step(ts, *s)
        if made is not None and made.numel() < 5000:
            ts.append(made)
    return ts


STEPS = st.lists(st.tuples(st.integers(0, 19), *[st.integers(0, 20)] * 3), min_size=1, max_size=14)


@settings(max_examples=300)
@given(st.integers(0, 9), st.sampled_from(SIZES), st.sampled_from((1, 2, 5, 16, 17)), STEPS, st.sampled_from(("each", "all", "last")))
def test_random_graphs(seed: int, rows: int, columns: int, steps: list[tuple[int, int, int, int]], order: str) -> None:
    with runtime("cpu"):
        got = program(seed, rows, columns, steps)
        if order == "all":
            realize([t._storage.node for t in got])
        found = [t.numpy() for t in (got[::-1] if order == "last" else got)]
    with runtime("reference"):
        want = [t.numpy() for t in program(seed, rows, columns, steps)]
    for f, w in zip(found[::-1] if order == "last" else found, want, strict=True):
        np.testing.assert_allclose(f, w, rtol=2e-4, atol=2e-3 * max(1.0, float(np.abs(w[np.isfinite(w)]).max(initial=0))))


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 1000])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "int16", "int8", "uint8", "bfloat16", "float16", "bool"])
def test_dtypes_and_odd_sizes(size: int, dtype: str) -> None:
    dt = getattr(torsh, dtype)
    data = np.random.default_rng(size).integers(0, 2 if dtype == "bool" else 9, (3, size))

    def run() -> list[np.ndarray]:
        a = torsh.tensor(data).to(dt)
        b = a.t().reshape(3, size)
        outs = [a + b, a * b, a == b, a.sum(1), a.sum(0), torsh.where(a > b, a, b), a.to(torsh.float32).exp(), a.any(0), a.t().contiguous()]
        if size:
            outs += [a.amax(1), a.argmax(0)]
        return [o.numpy() for o in outs]
    with runtime("cpu"):
        found = run()
    with runtime("reference"):
        want = run()
    for f, w in zip(found, want, strict=True):
        assert f.dtype == w.dtype
        np.testing.assert_allclose(f.astype(np.float64), w.astype(np.float64), rtol=1e-2 if "16" in dtype and "int" not in dtype else 1e-5)


def test_nan_and_infinity() -> None:
    data = np.array([[1, np.nan, np.inf, -np.inf, 0.0, -0.0, 3.0]], np.float32)

    def run() -> list[np.ndarray]:
        a = torsh.tensor(data)
        return [o.numpy() for o in (a.amax(1), a.amin(1), a.sum(1), a.argmax(1), a * 0, a == a, a.exp(), a.sqrt(), torsh.maximum(a, a.flip(1)), 1 / a)]
    with runtime("cpu"):
        found = run()
    with runtime("reference"):
        want = run()
    for f, w in zip(found, want, strict=True):
        np.testing.assert_allclose(f, w, rtol=3e-7)  # exp: 2 ulp


def test_products_and_gathers_of_what_has_no_memory() -> None:
    """Broadcast numbers, counted values and views as operands of kernels that read memory."""
    x = torsh.arange(6.0).reshape(2, 3)

    def run() -> list[np.ndarray]:
        index = torsh.tensor([2, 0])
        return [o.numpy() for o in (torsh.ones(4, 2) @ x, x.t() @ torsh.full((2, 2), 3.0), torsh.arange(9).reshape(3, 3).t()[index],
                                    (x + 1).t()[index], torsh.zeros(3, 2)[index], torsh.ones(3)[index], (x * 2)[:, 1:][index.clamp(max=1)])]
    with runtime("cpu"):
        found = run()
    with runtime("reference"):
        want = run()
    for f, w in zip(found, want, strict=True):
        np.testing.assert_array_equal(f, w)


def test_a_value_wanted_twice_has_two_memories() -> None:
    """Equal nodes become one in a plan; their tensors must still not share memory."""
    a = torsh.tensor([1.0, 2.0, 3.0])
    x, y = a * 2, a * 2
    realize([x._storage.node, y._storage.node])
    x.numpy()[0] = 9
    assert y.tolist() == [2.0, 4.0, 6.0]


def test_index_out_of_range_is_reported() -> None:
    a = torsh.tensor([1.0, 2.0, 3.0])
    index = torsh.tensor([0, 1]) + 2
    with pytest.raises(IndexError):
        a[index].numpy()


@pytest.mark.parametrize("shape", [(64, 64), (100, 70), (513, 1000), (65, 3, 64)])
@pytest.mark.parametrize("dtype", ["float32", "int32", "float16", "int64"])
def test_columns_in_blocks(shape: tuple[int, ...], dtype: str) -> None:
    """Folding many rows goes through partial rows."""
    data = np.random.default_rng(0).integers(-9, 9, shape)
    a = torsh.tensor(data).to(getattr(torsh, dtype))
    np.testing.assert_array_equal(a.sum(0, dtype=torsh.float32).numpy(), data.sum(0))
    np.testing.assert_array_equal(a.amax(0).numpy(), data.max(0))
    np.testing.assert_array_equal((a.amin(0) + 1).numpy(), data.min(0) + 1)
    np.testing.assert_array_equal((a * 2).sum(0, dtype=torsh.int64).numpy(), 2 * data.sum(0))


def test_counted_values_that_are_wanted_and_read() -> None:
    """An arange that is a root and also an index: it is made where it is read, not read before it is written."""
    for _ in range(20):
        index = torsh.arange(5)
        picked = torsh.arange(5.0)[index]
        realize([picked._storage.node, index._storage.node])
        assert picked.tolist() == [0, 1, 2, 3, 4]
        assert index.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("shape", "order"), [((37, 53), (1, 0)), ((1030, 77), (1, 0)), ((3, 40, 50), (2, 1, 0)), ((2, 3, 40, 50), (0, 2, 3, 1)),
                                              ((2, 40, 50, 9), (0, 3, 1, 2)), ((8, 8), (1, 0)), ((1024, 800), (1, 0))])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "bool", "float16"])
def test_reads_across_the_grain(shape: tuple[int, ...], order: tuple[int, ...], dtype: str) -> None:
    """Reads contiguous along another axis than writes go through squares; the last size is written past the caches."""
    rng = np.random.default_rng(0)
    x = (rng.standard_normal(shape) * 10).astype(dtype)
    turned = torsh.tensor(x).permute(order)
    np.testing.assert_array_equal(turned.contiguous().numpy(), x.transpose(order))
    other = rng.integers(0, 2, x.transpose(order).shape).astype(dtype)
    expected = x.transpose(order) | other if dtype == "bool" else x.transpose(order) + other
    np.testing.assert_array_equal((turned + torsh.tensor(other)).numpy(), expected)


def test_a_gather_from_a_view_of_what_its_own_group_computes() -> None:
    """The view is copied between the two; nothing that the copy waits for may run with the gather. Once, they waited for each other."""
    x = torsh.tensor([[[0.1257], [-0.1321]]], dtype=torsh.float64, requires_grad=True)
    g, = torsh.autograd.grad((torsh.cumprod(x, 1) ** 2).sum(), x, create_graph=True)
    again, = torsh.autograd.grad((g * g).sum(), x)
    y = torch.tensor([[[0.1257], [-0.1321]]], dtype=torch.float64, requires_grad=True)
    h, = torch.autograd.grad((torch.cumprod(y, 1) ** 2).sum(), y, create_graph=True)
    wanted, = torch.autograd.grad((h * h).sum(), y)
    np.testing.assert_allclose(again.detach().numpy(), wanted.numpy(), rtol=1e-9)


@given(st.integers(0, 2**32 - 1))
def test_gathers_among_views_of_one_group(seed: int) -> None:
    """Tables that are views of computed values, read at computed places, beside other readers of the same values."""
    rng = np.random.default_rng(seed)
    n, m = rng.integers(1, 5, 2)
    a = rng.standard_normal((n, m))
    at = rng.integers(0, n * m, (m, n))
    for side in (torsh, torch):
        x, i = side.tensor(a) * 2 + 1, side.tensor(at) * 1
        views = [x, x.t(), x.t().reshape(-1), x.flip(0)]
        table = views[seed % 4].reshape(-1)
        y = side.take(table, i) + x.t() * 3
        z = side.take((y.t() + x).reshape(-1), i) * y
        found = (z + y.exp()).sum(0) + side.take(z.t().reshape(-1), i).sum(0)
        if side is torsh:
            ours = found.numpy()
        else:
            np.testing.assert_allclose(ours, found.numpy(), rtol=1e-9)

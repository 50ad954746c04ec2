"""Convolutions large enough for products with windows and for Winograd's algorithm, in float32 against float64; what is done along with them."""
from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

import torsh
from torsh.compiler.execute import stats
from torsh.graph.node import Node
from torsh.graph.primitives import CONVOLVE, CONVOLVE_WEIGHT, WINOGRAD
from torsh.ops import conv

Case = tuple[int, int, int, tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...], int]


def _cases(seed: int, count: int) -> Iterator[Case]:
    """(images, channels and outputs of a group, size, kernel, stride, padding, dilation, groups)."""
    rng = random.Random(seed)
    while count:
        k = rng.choice([1, 2, 2, 2, 3])
        n, groups = rng.choice([1, 2, 3, 5, 8]), rng.choice([1, 1, 1, 2, 3])
        c, o = rng.choice([1, 3, 5, 16, 17, 32][:6 if k < 3 else 4]), rng.choice([1, 2, 7, 16, 31][:5 if k < 3 else 4])
        kernel = tuple(rng.choice([1, 2, 3, 3, 5, 7][:6 if k < 3 else 4]) for _ in range(k))
        dilation, stride = (tuple(rng.choice(few) for _ in range(k)) for few in ([1, 1, 1, 2], [1, 1, 2, 3]))
        padding = tuple(rng.randint(0, 2) for _ in range(k))
        size = tuple(rng.choice([2, 4, 5, 7, 8, 9, 13, 16, 19, 28][:10 if k < 3 else 6]) for _ in range(k))
        if all(s + 2 * p > d * (e - 1) for s, p, d, e in zip(size, padding, dilation, kernel, strict=True)):
            count -= 1
            yield n, c, o, size, kernel, stride, padding, dilation, groups


#: 3 x 3 without stride: with and without whole tiles, few and many tiles, few and many channels.
_WINOGRAD = [(n, c, o, size, (3, 3), (1, 1), padding, (1, 1), 1) for (n, c, o, size), padding in zip(
    ((1, 16, 16, (8, 8)), (2, 32, 47, (14, 14)), (1, 64, 33, (37, 29)), (4, 16, 64, (28, 28)), (16, 128, 128, (4, 4)), (1, 128, 128, (7, 7))),
    ((1, 1), (0, 0), (2, 1), (1, 1), (1, 1), (1, 1)), strict=True)]


#: Images whose rows of windows are multiplied where they are: whole vectors of columns, and some left over.
_ROWS: list[Case] = [(2, 3, 20, (11, 64), (3, 3), (1, 1), (1, 1), (1, 1), 1), (3, 3, 64, (9, 199), (7, 7), (2, 2), (3, 3), (1, 1), 1),
                     (1, 40, 15, (5, 101), (3, 3), (1, 1), (0, 1), (2, 2), 1),
                     (2, 5, 9, (331,), (5,), (2,), (1,), (1,), 1), (5, 64, 96, (6, 6), (1, 1), (2, 2), (0, 0), (1, 1), 1)]


#: Few outputs in a group: rows in the first-level cache, and the gradient of weights from there.
_FEW: list[Case] = [(2, 1, 1, (28, 30), (3, 3), (1, 1), (1, 1), (1, 1), 12), (3, 1, 2, (17, 33), (5, 5), (2, 2), (2, 2), (1, 1), 9),
                    (1, 2, 1, (40,), (7,), (2,), (3,), (1,), 10), (2, 1, 1, (65, 70), (7, 7), (1, 1), (3, 3), (1, 1), 8),
                    (2, 1, 3, (19, 16), (3, 2), (1, 3), (2, 0), (2, 1), 8), (4, 1, 1, (7, 7), (3, 3), (1, 1), (1, 1), (1, 1), 33)]


def _check(case: Case, transposed: bool) -> None:
    n, c, o, size, kernel, stride, padding, dilation, groups = case
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, groups * c, *size)).astype(np.float32)
    w = rng.standard_normal((groups * c, o, *kernel) if transposed else (groups * o, c, *kernel)).astype(np.float32)
    name = f"conv{'_transpose' if transposed else ''}{len(size)}d"
    found: list[list[Any]] = []
    g: Any = None
    for m in (torch, torsh):
        a, b = (m.tensor(t, dtype=m.float64 if m is torch else m.float32, requires_grad=True) for t in (x, w))
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        y = getattr(m.nn.functional, name)(a, b, None, **options)
        g = rng.standard_normal(tuple(y.shape)).astype(np.float32) if g is None else g
        y.backward(m.tensor(g, dtype=y.dtype))
        with m.no_grad():  # weights in memory may be used in another form
            again = getattr(m.nn.functional, name)(a, b, None, **options)
        found.append([t.detach().numpy() for t in (y, again, a.grad, b.grad)])
    for expected, ours in zip(*found, strict=True):
        assert ours.shape == expected.shape
        assert np.abs(ours - expected).max() <= 5e-6 * np.abs(expected).max(), case


@pytest.mark.parametrize("case", [*_cases(1, 30), *_WINOGRAD, *_ROWS, *_FEW], ids=str)
def test_forward_and_gradients(case: Case) -> None:
    _check(case, False)


@pytest.mark.parametrize("case", [c for c in _cases(2, 20) if all((s - 1) * t + d * (k - 1) + 1 > 2 * p for s, t, p, d, k in zip(
    c[3], c[5], c[6], c[7], c[4], strict=True))], ids=str)
def test_transposed(case: Case) -> None:
    _check(case, True)


def test_same_bits_on_one_thread_and_two() -> None:
    before = torsh.get_num_threads()
    try:
        for n, c, o, size, kernel, stride in ((4, 32, 48, 30, 3, 1), (1, 64, 64, 14, 3, 1), (8, 32, 32, 7, 3, 1), (3, 8, 40, 33, 5, 2), (8, 64, 64, 9, 1, 1),
                                              (4, 3, 24, 64, 7, 2)):
            rng = np.random.default_rng(0)
            x, w = (rng.standard_normal(s).astype(np.float32) for s in ((n, c, size, size), (o, c, kernel, kernel)))
            found = []
            for threads in (1, 2):
                torsh.set_num_threads(threads)
                a, b = torsh.tensor(x, requires_grad=True), torsh.tensor(w, requires_grad=True)
                y = torsh.nn.functional.conv2d(a, b, None, stride, kernel // 2)
                (y * y).sum().backward()
                found.append([t.detach().numpy().tobytes() for t in (y, a.grad, b.grad)])
            assert found[0] == found[1]
    finally:
        torsh.set_num_threads(before)


def test_winograd_is_used_where_it_pays() -> None:
    assert conv._winograd_tile(8, 64, 64, (56, 56), False) == 4
    assert conv._winograd_tile(1, 512, 512, (7, 7), True) == 2
    assert conv._winograd_tile(1, 512, 512, (7, 7), False) == 0  # the weights' transform would take longer than it saves
    assert conv._winograd_tile(8, 3, 64, (56, 56), False) == 0


@pytest.mark.parametrize("outside", [False, True])
def test_kept_weights_follow_every_write(outside: bool) -> None:
    """What was made from weights is made again after a write in place, through an array outside, or by a replacement."""
    layer = torsh.nn.Conv2d(64, 64, 3, padding=1, bias=False)
    x = torsh.randn(1, 64, 16, 16)
    reference = torch.nn.Conv2d(64, 64, 3, padding=1, bias=False).double()

    def agrees() -> None:
        with torsh.no_grad():
            found = layer(x).numpy()
        reference.weight.data.copy_(torch.tensor(np.array(layer.weight.detach().numpy())))
        expected = reference(torch.tensor(np.array(x.numpy())).double()).detach().numpy()
        assert np.abs(found - expected).max() <= 5e-6 * np.abs(expected).max()
    agrees()
    agrees()
    if outside:
        seen = layer.weight.detach().numpy()
        with torsh.no_grad():
            layer(x).numpy()
        seen[3] = 7.0
        agrees()
        del seen
    else:
        with torsh.no_grad():
            layer.weight[3] *= -2.0
    agrees()
    layer.weight = torsh.nn.Parameter(torsh.randn(64, 64, 3, 3))
    agrees()


def test_weights_are_transformed_once() -> None:
    layer = torsh.nn.Conv2d(64, 64, 3, padding=1, bias=False)
    x = torsh.randn(1, 64, 16, 16)
    with torsh.no_grad():
        layer(x).numpy()
        stats.reset()
        layer(x).numpy()
    assert stats.launches == 1


def test_what_follows_is_done_along() -> None:
    """Bias or normalization, residual and activation take no launch of their own and change nothing."""
    for n, c, o, size, kernel, stride, groups in ((2, 16, 24, 9, 3, 1, 1), (4, 64, 64, 28, 3, 1, 1), (8, 64, 128, 7, 3, 2, 1), (2, 64, 128, 28, 1, 1, 1),
                                                  (8, 32, 64, 5, 3, 1, 2), (2, 32, 64, 20, 3, 1, 4), (3, 32, 64, 20, 1, 1, 2), (2, 3, 64, 33, 7, 2, 1),
                                                  (2, 3, 20, 64, 7, 1, 1), (2, 5, 16, 83, 5, 1, 1)):
        found: list[list[Any]] = []
        rng = np.random.default_rng(3)
        x, w, b = (rng.standard_normal(s).astype(np.float32) for s in ((n, c, size, size), (o, c // groups, kernel, kernel), o))
        w /= np.float32((c // groups * kernel**2) ** 0.5)
        r: Any = None
        for m in (torch, torsh):
            kind = m.float64 if m is torch else m.float32
            xt, wt, bt, scale = (m.tensor(t, dtype=kind) for t in (x, w, b, np.abs(b) + 1))
            f = m.nn.functional
            y = f.conv2d(xt, wt, bt, stride, kernel // 2, 1, groups)
            r = rng.standard_normal(tuple(y.shape)).astype(np.float32) if r is None else r
            more = m.tensor(r, dtype=kind)
            normal = f.batch_norm(f.conv2d(xt, wt, None, stride, kernel // 2, 1, groups), bt, scale, scale, bt)
            found.append([t.numpy() for t in (y, m.relu(normal), m.relu(normal + more), more + y, y.clamp(-1, 1), (y - 1).flatten(1).sum(1))])
        for expected, ours in zip(*found, strict=True):
            assert np.abs(ours - expected).max() <= 1e-5 * np.abs(expected).max()
    layer, x = torsh.nn.Conv2d(64, 64, 3, padding=1), torsh.randn(1, 64, 16, 16)
    with torsh.no_grad():
        torsh.relu(layer(x) + x).numpy()
        stats.reset()
        torsh.relu(layer(x) + x).numpy()
    assert stats.launches == 1
    for c, o, size, kernel, stride, groups in ((3, 64, 40, 7, 2, 1), (24, 24, 20, 5, 2, 24)):
        layer, x = torsh.nn.Conv2d(c, o, kernel, stride, kernel // 2, groups=groups), torsh.randn(1, c, size, size)
        with torsh.no_grad():
            torsh.relu(layer(x)).numpy()
            stats.reset()
            torsh.relu(layer(x)).numpy()
        assert stats.launches == 1


def test_gradient_of_depthwise_weights_is_one_launch() -> None:
    x, w, y = torsh.randn(2, 16, 30, 30), torsh.randn(16, 1, 5, 5), torsh.randn(2, 16, 15, 15)
    for _ in range(2):
        stats.reset()
        conv._call(conv._WEIGHT, x, y, ((2, 2), (2, 2), (1, 1), 16, (5, 5)), tuple(w.shape)).numpy()
    assert stats.launches == 1


def test_not_a_number_passes_an_activation() -> None:
    layer, x = torsh.nn.Conv2d(32, 32, 3, padding=1), torsh.full((1, 32, 12, 12), float("nan"))
    with torsh.no_grad():
        assert torsh.relu(layer(x)).isnan().all()


@pytest.mark.parametrize(("kernel", "stride", "size"), [(3, 1, 16), (5, 2, 11), (3, 2, 8)])
def test_vmap_over_images_and_weights(kernel: int, stride: int, size: int) -> None:
    rng = np.random.default_rng(0)
    x = torsh.tensor(rng.standard_normal((3, 2, 16, size, size)).astype(np.float32))
    w = torsh.tensor(rng.standard_normal((3, 16, 16, kernel, kernel)).astype(np.float32))

    def call(a: Any, b: Any) -> Any:
        return torsh.nn.functional.conv2d(a, b, None, stride, kernel // 2)
    for where in ((0, 0), (0, None), (None, 0)):
        args = [t if d == 0 else t[0] for t, d in zip((x, w), where, strict=True)]
        found = torsh.func.vmap(call, where)(*args).numpy()
        for i in range(3):
            one = call(*[t[i] if d == 0 else t for t, d in zip(args, where, strict=True)]).numpy()
            np.testing.assert_allclose(found[i], one, rtol=1e-4, atol=1e-4)
        grads = torsh.func.vmap(torsh.func.grad(lambda a, b: (call(a, b) ** 2).sum(), (0, 1)), where)(*args)
        for i in range(3):
            ones = torsh.func.grad(lambda a, b: (call(a, b) ** 2).sum(), (0, 1))(*[t[i] if d == 0 else t for t, d in zip(args, where, strict=True)])
            for many, one in zip(grads, ones, strict=True):
                expected = one.numpy()
                assert np.abs(many[i].numpy() - expected).max() <= 2e-5 * np.abs(expected).max()


def test_gradcheck_of_a_strided_convolution() -> None:
    x, w = (torsh.randn(*s, dtype=torsh.float64, requires_grad=True) for s in ((2, 3, 7, 6), (4, 3, 3, 2)))
    assert torsh.autograd.gradcheck(lambda a, b: torsh.nn.functional.conv2d(a, b, None, (2, 3), (1, 0)), (x, w))
    assert torsh.autograd.gradgradcheck(lambda a, b: torsh.nn.functional.conv2d(a, b, None, (2, 1), 1, (1, 2)), (x, w))


def test_the_reference_says_the_same() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 16, 9, 9)).astype(np.float32), rng.standard_normal((16, 16, 3, 3)).astype(np.float32)
    u = torsh.graph.winograd.weights(w, 4)
    node = Node(WINOGRAD, (), (4, (1, 1)), (2, 16, 9, 9), torsh.float32)
    assert WINOGRAD.reference is not None
    expected = torch.nn.functional.conv2d(torch.tensor(x), torch.tensor(w), None, 1, 1).numpy()
    np.testing.assert_allclose(WINOGRAD.reference(node, u, x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("turned", [False, True])
def test_the_reference_of_bands_says_the_same(turned: bool) -> None:
    rng = np.random.default_rng(0)
    x, w, y = (rng.standard_normal(s) for s in ((2, 6, 9, 11), (8, 3, 3, 2), (2, 8, 5, 4)))
    rows = w[:, :, ::-1, ::-1].transpose(0, 2, 3, 1).reshape(2, 4, 18) if turned else w.reshape(2, 4, 18)
    how = 2, (3, 2), (2, 3), (1, 0), (1, 1)
    once = (1, 1)
    a, b = (torch.tensor(t, requires_grad=True) for t in (x, w))
    expected = torch.nn.functional.conv2d(a, b, None, (2, 3), (1, 0), 1, 2)
    expected.backward(torch.tensor(y))
    assert CONVOLVE.reference is not None
    assert CONVOLVE_WEIGHT.reference is not None
    found = CONVOLVE.reference(Node(CONVOLVE, (), (*how, turned, once), (4, 4, 5, 4), torsh.float64), rows, x)
    np.testing.assert_allclose(found.reshape(2, 8, 5, 4), expected.detach().numpy(), rtol=1e-12, atol=1e-12)
    found = CONVOLVE_WEIGHT.reference(Node(CONVOLVE_WEIGHT, (), how, (2, 4, 18), torsh.float64), y, x)
    np.testing.assert_allclose(found.reshape(8, 3, 3, 2), b.grad.numpy(), rtol=1e-12, atol=1e-12)
    back = w.reshape(2, 4, 3, 3, 2).transpose(0, 2, 3, 4, 1).reshape(2, 3, 24)  # the gradient of the image: a convolution of y, spread
    found = CONVOLVE.reference(Node(CONVOLVE, (), (2, (3, 2), once, (1, 1), once, True, (2, 3)), (4, 3, 9, 11), torsh.float64), back, y)
    np.testing.assert_allclose(found.reshape(2, 6, 9, 11), a.grad.numpy(), rtol=1e-12, atol=1e-12)


def test_vmap_over_depthwise_weights_and_their_gradient() -> None:
    rng = np.random.default_rng(0)
    x, w = (torsh.tensor(rng.standard_normal(s).astype(np.float32)) for s in ((3, 2, 9, 14, 13), (3, 9, 1, 3, 3)))

    def loss(a: Any, b: Any) -> Any:
        return (torsh.nn.functional.conv2d(a, b, None, 2, 1, 1, 9) ** 2).sum()
    for where in ((0, 0), (0, None), (None, 0)):
        args = [t if d == 0 else t[0] for t, d in zip((x, w), where, strict=True)]
        found = torsh.func.vmap(torsh.func.grad(loss, (0, 1)), where)(*args)
        for i in range(3):
            ones = torsh.func.grad(loss, (0, 1))(*[t[i] if d == 0 else t for t, d in zip(args, where, strict=True)])
            for many, one in zip(found, ones, strict=True):
                np.testing.assert_allclose(many[i].numpy(), one.numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["float32", "float16", "int64"])
def test_windows_without_a_padded_copy(kind: str) -> None:
    """Depthwise convolutions and maxima read past the image where there is nothing: one launch, the same values, with and without vmap."""
    rng = np.random.default_rng(0)
    values = rng.integers(-9, 9, (3, 2, 6, 9, 7))
    for size, stride, padding, dilation in ((3, 1, 1, 1), (2, 2, 1, 1), (3, 2, 1, 2), (5, 3, 2, 1)):
        x, expected = torsh.tensor(values, dtype=getattr(torsh, kind)), torch.tensor(values, dtype=torch.float32)

        def pool(m: Any, t: Any, how: tuple[int, ...] = (size, stride, padding, dilation)) -> Any:
            return m.nn.functional.max_pool2d(t, *how)
        found = [pool(torsh, x[0]), torsh.func.vmap(lambda t: pool(torsh, t))(x)]
        np.testing.assert_array_equal(found[0].numpy(), pool(torch, expected[0]).numpy())
        np.testing.assert_array_equal(found[1].numpy(), torch.stack([pool(torch, t) for t in expected]).numpy())
        if kind != "int64":
            w = rng.integers(-3, 3, (6, 1, size, size))

            def depthwise(m: Any, t: Any, how: tuple[int, ...] = (stride, padding, dilation), w: Any = w) -> Any:
                return m.nn.functional.conv2d(t, m.tensor(w, dtype=t.dtype), None, *how, 6)
            found = [depthwise(torsh, x[0]), torsh.func.vmap(lambda t: depthwise(torsh, t))(x)]
            np.testing.assert_array_equal(found[0].numpy().astype(np.float32), depthwise(torch, expected[0]).numpy())
            np.testing.assert_array_equal(found[1].numpy().astype(np.float32), torch.stack([depthwise(torch, t) for t in expected]).numpy())
    x, w = torsh.randn(2, 8, 20, 20), torsh.randn(8, 1, 3, 3)
    with torsh.no_grad():
        torsh.nn.functional.conv2d(x, w, None, 1, 1, 1, 8).numpy()
        stats.reset()
        torsh.nn.functional.conv2d(x, w, None, 1, 1, 1, 8).numpy()
    assert stats.launches == 1

"""Kernels of layers under their names in torch: networks of recurrent layers, bags, convolutions, dropout, norms."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import torsh
from tests.ops.oracle import agree, outcome, same, to_torsh


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(seed).standard_normal(shape))


def weights(gates: int, i: int, h: int, layers: int, directions: int, biased: bool, projected: int = 0) -> list[torch.Tensor]:
    state = projected or h
    found = []
    for layer in range(layers):
        for _ in range(directions):
            shapes = [(gates * h, i if layer == 0 else state * directions), (gates * h, state), *[(gates * h,)] * (2 * biased)]
            shapes += [(projected, h)] * bool(projected)
            found += [draw(*s, seed=len(found) + k) * 0.4 for k, s in enumerate(shapes)]
    return found


@pytest.mark.parametrize(("name", "gates"), [("gru", 3), ("rnn_tanh", 1), ("rnn_relu", 1)])
@pytest.mark.parametrize(("layers", "biased", "both", "first"), [(1, True, False, False), (2, False, True, True)])
def test_recurrent_networks(name: str, gates: int, layers: int, biased: bool, both: bool, first: bool) -> None:
    params = weights(gates, 3, 4, layers, 1 + both, biased)
    hx = draw(layers * (1 + both), 2, 4, seed=50)
    x = draw(2, 5, 3, seed=51) if first else draw(5, 2, 3, seed=51)
    agree(lambda m, x, hx, *ps: getattr(m, name)(x, hx, list(ps), biased, layers, 0.0, True, both, first), x, hx, *params, rtol=1e-9, twice=False)


@pytest.mark.parametrize(("layers", "biased", "both", "projected"), [(1, True, False, 0), (2, False, True, 0), (2, True, True, 3)])
def test_lstm(layers: int, biased: bool, both: bool, projected: int) -> None:
    params = weights(4, 3, 4, layers, 1 + both, biased, projected)
    h, c = draw(layers * (1 + both), 2, projected or 4, seed=50), draw(layers * (1 + both), 2, 4, seed=52)
    agree(lambda m, x, h, c, *ps: m.lstm(x, (h, c), list(ps), biased, layers, 0.0, False, both, False), draw(5, 2, 3, seed=51), h, c, *params, rtol=1e-9,
          twice=False)


def test_packed_rows() -> None:
    sizes = torch.tensor([3, 2, 2, 1])
    data, params = draw(8, 3), weights(4, 3, 4, 2, 1, True)
    h, c = draw(2, 3, 4, seed=5), draw(2, 3, 4, seed=6)
    agree(lambda m, x, h, c, *ps: m.lstm(x, m.tensor(sizes.tolist()), (h, c), list(ps), True, 2, 0.0, False, False), data, h, c, *params, rtol=1e-9,
          twice=False)
    agree(lambda m, x, h, *ps: m.gru(x, m.tensor(sizes.tolist()), h, list(ps), True, 2, 0.0, False, False), data, h, *weights(3, 3, 4, 2, 1, True),
          rtol=1e-9, twice=False)


def test_dropout_between_layers_has_pytorch_s_masks() -> None:
    params, x, hx = weights(1, 3, 8, 3, 1, True), draw(5, 4, 3), draw(3, 4, 8)
    for m in (torch, torsh):
        m.manual_seed(3)
    theirs = torch.rnn_tanh(x, hx, params, True, 3, 0.5, True, False, False)
    ours = torsh.rnn_tanh(to_torsh(x), to_torsh(hx), [to_torsh(p) for p in params], True, 3, 0.5, True, False, False)
    same(ours, theirs, 1e-9, 1e-12)


@pytest.mark.parametrize("f", [
    lambda m: m.gru(m.ones(2, 1, 3), m.zeros(1, 1, 2), [m.ones(6, 3)], False, 1, 0.0, False, False, False),
    lambda m: m.lstm(m.ones(2, 1, 3), m.zeros(1, 1, 2), [m.ones(8, 3), m.ones(8, 2)], False, 1, 0.0, False, False, False),
    lambda m: m.gru(m.ones(2, 1, 3), m.zeros(1, 1, 2), [m.ones(6, 4), m.ones(6, 2)], False, 1, 0.0, False, False, False),
    lambda m: m.gru(m.ones(2, 1, 3), m.zeros(2, 1, 2), [m.ones(6, 3), m.ones(6, 2)], False, 1, 0.0, False, False, False),
    lambda m: m.gru(m.ones(0, 1, 3), m.zeros(1, 1, 2), [m.ones(6, 3), m.ones(6, 2)], False, 1, 0.0, False, False, False),
    lambda m: m.convolution(m.ones(2, 5), m.ones(3, 2, 3), None, [1], [0], [1], False, [0], 1), lambda m: m.embedding_bag(m.ones(3, 2), m.tensor([0]),
                                                                                                                     m.tensor([0]), False, 3),
    lambda m: m.norm_except_dim(m.ones(2, 3), 2, 3), lambda m: m.feature_dropout(m.ones(4), 0.5, True), lambda m: m.hash_tensor(m.ones(2), mode=1),
    lambda m: m.hash_tensor(m.zeros(0)), lambda m: m.hash_tensor(m.zeros(3, 0), 1), lambda m: m.hash_tensor(m.ones(2, dtype=m.complex64)),
    lambda m: m.slice_inverse(m.ones(2), m.zeros(5), 0, 1, 3), lambda m: m.nn.functional.assert_int_or_pair([1, 2, 3], "x", "{} is wrong"),
    lambda m: m.nn.functional.boolean_dispatch("a", 0, True, torch.relu, torch.tanh, None, None),
])
def test_errors(f: Callable[[Any], Any]) -> None:
    def kind(m: Any) -> Any:
        try:
            return f(m)
        except Exception as error:
            return type(error)
    assert kind(torsh) is kind(torch)


@pytest.mark.parametrize(("name", "gates"), [("gru_cell", 3), ("rnn_tanh_cell", 1), ("rnn_relu_cell", 1)])
def test_cells(name: str, gates: int) -> None:
    agree(lambda m, *ts: getattr(m, name)(*ts), draw(2, 3), draw(2, 4, seed=1), *weights(gates, 3, 4, 1, 1, True), rtol=1e-9)
    agree(lambda m, *ts: getattr(m, name)(*ts), draw(2, 3), draw(2, 4, seed=1), *weights(gates, 3, 4, 1, 1, False), rtol=1e-9)


def test_lstm_cell() -> None:
    agree(lambda m, x, h, c, *ts: m.lstm_cell(x, (h, c), *ts), draw(2, 3), draw(2, 4, seed=1), draw(2, 4, seed=2), *weights(4, 3, 4, 1, 1, True), rtol=1e-9)


@pytest.mark.parametrize("mode", [0, 1, 2])
@pytest.mark.parametrize("padding", [None, 1, -1])
@pytest.mark.parametrize("last", [False, True])
def test_embedding_bag(mode: int, padding: int | None, last: bool) -> None:
    index, offsets = torch.tensor([0, 1, 4, 2, 1]), torch.tensor([0, 2, 2, 5] if last else [0, 2, 2])
    agree(lambda m, w: m.embedding_bag(w, m.tensor(index.tolist()), m.tensor(offsets.tolist()), False, mode, False, None, last, padding)[0], draw(5, 3),
          rtol=1e-12, twice=False)
    theirs = torch.embedding_bag(draw(5, 3), index, offsets, False, mode, False, None, last, padding)
    ours = torsh.embedding_bag(to_torsh(draw(5, 3)), to_torsh(index), to_torsh(offsets), False, mode, False, None, last, padding)
    same(ours[1:2], theirs[1:2])
    if not last:
        same(ours[2:], theirs[2:])


def test_embedding_renorm() -> None:
    index = torch.tensor([0, 3, 3, 1])
    for norm in (1.0, 2.0):
        theirs = torch.embedding_renorm_(draw(5, 3), index, 0.7, norm)
        table = to_torsh(draw(5, 3))
        assert torsh.embedding_renorm_(table, to_torsh(index), 0.7, norm) is table
        same(table, theirs, 1e-6)


@pytest.mark.parametrize(("size", "kernel", "options"), [
    ((5,), (3,), ([1], [0], [1], False, [0], 1)), ((5,), (3,), ([2], [1], [1], True, [1], 1)), ((5, 6), (3, 2), ([1], [0], [2], False, [0], 2)),
    ((5, 6), (3, 2), ([2, 1], [1, 0], [1, 1], True, [1, 0], 2)), ((4, 4, 4), (2, 2, 2), ([1], [1], [1], False, [0], 1)),
])
def test_convolution(size: tuple[int, ...], kernel: tuple[int, ...], options: Any) -> None:
    groups = options[-1]
    agree(lambda m, x, w, b: m.convolution(x, w, b, *options), draw(2, 4, *size), draw(4, 4 // groups, *kernel), draw(4), rtol=1e-9, twice=False)


@pytest.mark.parametrize("f", [
    lambda m, x: m.max_pool1d_with_indices(x, 2), lambda m, x: m.max_pool1d_with_indices(x, 3, 1, 1), lambda m, x: m.adaptive_max_pool1d(x, 3),
    lambda m, x: m.norm_except_dim(x, 2, 0), lambda m, x: m.norm_except_dim(x, 2, -1), lambda m, x: m.norm_except_dim(x, 1, 1),
    lambda m, x: m.norm_except_dim(x, 2, 2), lambda m, x: m.norm_except_dim(x, 2, -2), lambda m, x: m.native_dropout(x, 0.5, False),
    lambda m, x: m.feature_dropout(x, 0.5, False), lambda m, x: m.view_as_real_copy(m.complex(x, x)), lambda m, x: m.hash_tensor(x),
    lambda m, x: m.hash_tensor(x, 1), lambda m, x: m.hash_tensor(x.float(), (0, 2), keepdim=True), lambda m, x: m.hash_tensor((x * 10).to(m.int8)),
    lambda m, x: m.hash_tensor(x > 0, 0), lambda m, x: x.hash_tensor(),
])
def test_functions(f: Callable[[Any, Any], Any]) -> None:
    agree(f, draw(2, 3, 6), rtol=1e-12, twice=False)


def test_copies_without_a_derivative_in_pytorch() -> None:
    agree(lambda m, x: m.slice_inverse(x.reshape(-1)[2:], x[0], 0, 1, 3), draw(2, 3, 6), grad=False)
    agree(lambda m, x: m.view_as_complex_copy(x), draw(4, 2), grad=False)
    x = torsh.arange(10.0)
    torsh.slice_inverse(x, torsh.zeros(3), 0, 1, 2).zero_()
    assert x.tolist() == [0, 0, 0, *range(3, 10)]


def test_native_norm_is_norm() -> None:
    x = draw(2, 3, 4)
    for args, wanted in (((), torch.linalg.vector_norm(x)), ((1,), torch.linalg.vector_norm(x, 1)),
                         ((3, [0, 2], True), torch.linalg.vector_norm(x, 3, (0, 2), True)),
                         ((2, 1, False, torsh.float32), torch.linalg.vector_norm(x.float(), 2, 1))):
        same(torsh.native_norm(to_torsh(x), *args), wanted, 1e-6)


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_dropout_with_a_mask(p: float) -> None:
    for f in (lambda m: m.native_dropout(m.ones(4, 50), p, True), lambda m: m.native_dropout(m.ones(4, 50), p, None),
              lambda m: m.feature_dropout(m.ones(4, 50, 3), p, True), lambda m: m.feature_dropout_(m.ones(4, 50, 3), p, True)):
        found = []
        for m in (torsh, torch):
            m.manual_seed(1)
            found.append(f(m))
        same(found[0], found[1], 1e-6)


def test_bilinear() -> None:
    agree(lambda m, *ts: m.bilinear(*ts), draw(2, 3), draw(2, 4), draw(5, 3, 4), draw(5), rtol=1e-9)


# ---- a batch normalization in parts


@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("affine", [False, True])
def test_batch_norm_in_parts_is_that_of_the_whole(counted: bool, affine: bool) -> None:
    """As a batch norm synchronized over two processes calls them."""
    sizes = (2, 4) if counted else (3, 3)
    x, g = draw(6, 3, 5), draw(6, 3, 5, seed=1)
    weight, bias = (draw(3, seed=2), draw(3, seed=3)) if affine else (None, None)
    running = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    leaf = x.clone().requires_grad_()
    params = [t.clone().requires_grad_() for t in (weight, bias) if t is not None]
    wanted = torch.nn.functional.batch_norm(leaf, *running, *(params or (None, None)), training=True, momentum=0.2, eps=1e-3)
    wanted.backward(g)

    parts, grads = to_torsh(x).split(sizes), to_torsh(g).split(sizes)
    w, b = (None if t is None else to_torsh(t) for t in (weight, bias))
    mine = torsh.zeros(3, dtype=torsh.float64), torsh.ones(3, dtype=torsh.float64)
    stats = [torsh.batch_norm_stats(p, 1e-3) for p in parts]
    means, spreads = torsh.stack([s[0] for s in stats]), torsh.stack([s[1] for s in stats])
    counts = torsh.tensor([n * 5.0 for n in sizes], dtype=torsh.float64)
    if counted:
        mean, invstd = torsh.batch_norm_gather_stats_with_counts(parts[0], means, spreads, *mine, 0.2, 1e-3, counts)
    else:
        mean, invstd = torsh.batch_norm_gather_stats(parts[0], means, spreads, *mine, 0.2, 1e-3, 15)
    same(torsh.cat([torsh.batch_norm_elemt(p, w, b, mean, invstd, 1e-3) for p in parts]), wanted.detach(), 1e-9, 1e-12)
    same(mine, running, 1e-12)
    sums = [torsh.batch_norm_backward_reduce(dy, p, mean, invstd, w, True, True, True) for dy, p in zip(grads, parts, strict=True)]
    plain, weighted = sums[0][0] + sums[1][0], sums[0][1] + sums[1][1]
    found = [torsh.batch_norm_backward_elemt(dy, p, mean, invstd, w, plain, weighted, counts) for dy, p in zip(grads, parts, strict=True)]
    same(torsh.cat(found), leaf.grad, 1e-9, 1e-12)
    if affine:
        same([sums[0][2] + sums[1][2], sums[0][3] + sums[1][3]], [p.grad for p in params], 1e-9)


@pytest.mark.parametrize("running", [False, True])
def test_batch_norm_update_stats(running: bool) -> None:
    x = draw(4, 3, 5).float()
    theirs = (torch.zeros(3), torch.ones(3)) if running else (None, None)
    ours = (torsh.zeros(3), torsh.ones(3)) if running else (None, None)
    same(torsh.batch_norm_update_stats(to_torsh(x), *ours, 0.1), torch.batch_norm_update_stats(x, *theirs, 0.1), 1e-5, 1e-6)
    if running:
        same(ours, theirs, 1e-5, 1e-6)


def test_boolean_dispatch() -> None:
    for m in (torsh, torch):
        def double(x: Any, twice: bool = False) -> Any:
            """Doubled."""
            return 2 * x

        def plain(x: Any, twice: bool = False) -> Any:
            return x
        f = m.nn.functional.boolean_dispatch("twice", 1, False, double, plain, "here", "either")
        assert (f(3), f(3, True), f(3, twice=True), f(3, False), f.__doc__, f.__name__, f.__module__) == (3, 6, 6, 3, "Doubled.", "either", "here")
    assert outcome(lambda: torsh.nn.functional.assert_int_or_pair(3, "x", "")) is None

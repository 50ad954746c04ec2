"""Draws into memory of every kind, size and order, against PyTorch's; and what must not change beside them."""
from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch

import torsh
from torsh.ops.drawing import engine_of
from torsh.runtime.cpu import mt19937

PIECE = mt19937._PIECE


def numbers(t: Any) -> np.ndarray:
    return np.asarray(t.double().numpy() if t.is_floating_point() else t.numpy())


def both(call: Any, seed: int = 3, rtol: float = 0.0) -> None:
    """The same numbers in both libraries, and the same state afterwards."""
    for t in (torch, torsh):
        t.manual_seed(seed)
    theirs, ours = call(torch), call(torsh)
    assert str(theirs.dtype).removeprefix("torch.") == str(ours.dtype).removeprefix("torsh.")
    np.testing.assert_allclose(numbers(ours), numbers(theirs), rtol=rtol, atol=rtol)
    np.testing.assert_array_equal(torsh.get_rng_state().numpy(), torch.get_rng_state().numpy())


def _mkl() -> bool:
    g = torch.Generator().manual_seed(0)
    torch.empty(4).exponential_(generator=g)
    return bool(g.get_state()[16] != 8)


needs_engine = pytest.mark.skipif(_mkl(), reason="PyTorch uses MKL's generator here")


@pytest.mark.parametrize("count", [PIECE - 1, PIECE, PIECE + 1, PIECE + 15, PIECE + 16, PIECE + 31, 2 * PIECE + 16])
def test_many_numbers_are_drawn_in_pieces_of_one_stream(count: int) -> None:
    both(lambda t: t.cat([t.rand(count), t.rand(3)]))
    both(lambda t: t.cat([t.randn(count), t.rand(3)]), rtol=2e-6)


@pytest.mark.parametrize("kind", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("fill", ["uniform_", "normal_", "random_", "cauchy_", "log_normal_", "geometric_"])
def test_tensors_that_do_not_lie_in_a_row(kind: str, fill: str) -> None:
    arguments = {"uniform_": (-0.3, 0.7), "normal_": (0.5, 2.0), "geometric_": (0.3,)}.get(fill, ())
    rtol = {"float64": 1e-12, "float32": 1e-5, "float16": 2e-3, "bfloat16": 2e-2}[kind]

    def strided(t: Any) -> Any:
        whole = t.zeros(6, 7, 5, dtype=getattr(t, kind))
        for part in (whole.transpose(0, 2)[1:, ::2], whole[2], whole[:, 3], whole[0, 0, 0]):
            getattr(part, fill)(*arguments)
        return whole
    both(strided, rtol=rtol)


def test_probabilities_and_weights_that_do_not_lie_in_a_row() -> None:
    base = np.random.default_rng(0).random((40, 6), np.float32)
    for kind in ("float32", "float64", "bfloat16"):
        def given(t: Any, kind: str = kind) -> Any:
            return t.tensor(base).to(getattr(t, kind))
        both(lambda t: t.bernoulli(given(t).t()[::2]))
        both(lambda t: t.zeros(6, 40, dtype=t.int64).bernoulli_(given(t).t()))
        both(lambda t: t.zeros(3, 40, 6).bernoulli_(given(t)))
        both(lambda t: t.multinomial(given(t).t(), 50, True))
        both(lambda t: t.multinomial(given(t)[:, 2], 50, True))
    both(lambda t: t.bernoulli(t.tensor(base) * 0.5))  # what is pending is computed first
    both(lambda t: t.multinomial(t.tensor(base) + 1, 9, True))


@needs_engine
@pytest.mark.parametrize("shape", [(5,), (3, 40), (2, 3000), (1, 20000)])
@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_several_samples_without_replacement(shape: tuple[int, ...], kind: str) -> None:
    weights = np.random.default_rng(1).random(shape)
    for count in (2, 5):
        both(lambda t, count=count: t.multinomial(t.tensor(weights).to(getattr(t, kind)), count))
        both(lambda t, count=count: t.multinomial(t.tensor(weights).to(getattr(t, kind)).flip(0) * 2, count))


def test_samples_without_replacement_come_by_falling_weight_over_time() -> None:
    """Equal ones in order; a weight of 0 after all others."""
    g = torsh.Generator().manual_seed(0)
    weights = torsh.tensor([0.0, 3.0, 0.0, 1e-30, 1e30])
    for _ in range(20):
        assert torsh.multinomial(weights, 5, generator=g).tolist() == [4, 1, 3, 0, 2]
    large = torsh.cat([weights, torsh.zeros(20000)])
    for _ in range(5):
        assert torsh.multinomial(large, 5, generator=g).tolist() == [4, 1, 3, 0, 2]


@pytest.mark.parametrize("bad", [[0.5, -0.1, 1.0], [0.0, 0.0, 0.0], [0.5, float("nan"), 1.0], [0.5, float("inf"), 1.0]])
@pytest.mark.parametrize("replacement", [True, False])
def test_weights_that_are_no_distribution_draw_nothing(bad: list[float], replacement: bool) -> None:
    for kind in (torsh.float32, torsh.float64, torsh.bfloat16):
        g = torsh.Generator().manual_seed(5)
        before = g.get_state().tolist()
        with pytest.raises(RuntimeError, match=r"probability tensor contains|invalid multinomial distribution"):
            torsh.multinomial(torsh.tensor([[1.0, 1.0, 1.0], bad]).to(kind), 2, replacement, generator=g)
        assert g.get_state().tolist() == before


def test_chances_outside_0_and_1_draw_nothing() -> None:
    for chance in (-0.1, 1.1, float("nan")):
        for kind in (torsh.float32, torsh.float64, torsh.bfloat16):
            p = torsh.full((100,), 0.5, dtype=kind)
            p[77] = chance
            g = torsh.Generator().manual_seed(5)
            before = g.get_state().tolist()
            with pytest.raises(RuntimeError, match="p_in"):
                torsh.bernoulli(p, generator=g)
            assert g.get_state().tolist() == before


def test_samplers_take_any_floating_type_and_order() -> None:
    rate = np.random.default_rng(2).uniform(0, 30, (6, 20))
    for kind in ("float64", "float32"):
        both(lambda t, kind=kind: t.poisson(t.tensor(rate).to(getattr(t, kind)).t()))
    torsh.manual_seed(1)
    half = torsh.poisson(torsh.tensor(rate).half())
    assert half.dtype is torsh.float16
    torsh.manual_seed(1)
    np.testing.assert_array_equal(half.float().numpy(), torsh.poisson(torsh.tensor(rate).half().float()).numpy())


def test_a_reader_keeps_what_was_there_before_a_draw_in_place() -> None:
    a = torsh.ones(5)
    later, view = a + 1, a[1:3]
    a.uniform_()
    assert later.tolist() == [2.0] * 5
    assert view.tolist() == a.tolist()[1:3]
    view.fill_(7.0)
    assert a.tolist()[1:3] == [7.0, 7.0]


def test_an_array_outside_sees_a_draw_in_place() -> None:
    array = np.zeros(6, np.float32)
    t = torsh.from_numpy(array)
    torsh.manual_seed(0)
    t.uniform_()
    torsh.manual_seed(0)
    np.testing.assert_array_equal(array, torsh.rand(6).numpy())


def test_a_draw_in_place_belongs_to_the_history() -> None:
    x = torsh.ones(3, requires_grad=True)
    y = x * 2
    y.normal_()
    y.sum().backward()
    assert x.grad.tolist() == [0.0] * 3
    saved = x * 1
    product = saved * saved
    saved.uniform_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        product.sum().backward()


def test_out_takes_shape_and_keeps_type() -> None:
    both(lambda t: t.rand(3, 4, out=t.empty(2)))
    both(lambda t: t.randn(20, out=t.empty(20, dtype=t.float64)), rtol=1e-12)
    both(lambda t: t.randperm(30, out=t.empty(30, dtype=t.int32)))
    both(lambda t: t.multinomial(t.ones(4), 9, True, out=t.empty(0, dtype=t.int64)))


def test_complex_numbers_are_pairs() -> None:
    for t in (torch, torsh):
        t.manual_seed(4)
    np.testing.assert_array_equal(torsh.rand(5, dtype=torsh.complex64).numpy(), torch.rand(5, dtype=torch.complex64).numpy())
    np.testing.assert_allclose(torsh.randn(40, dtype=torsh.complex128).numpy(), torch.randn(40, dtype=torch.complex128).numpy(), rtol=1e-12)


def test_a_compiled_function_draws_the_same_numbers() -> None:
    def noisy(x: Any) -> Any:
        return torsh.nn.functional.dropout(x, 0.4) + torsh.randn(100) * torsh.rand(100) + torsh.randint(0, 9, (100,))
    x = torsh.ones(100)
    compiled = torsh.compile(noisy)
    for seed in (0, 0, 1):
        torsh.manual_seed(seed)
        wanted = noisy(x).tolist()
        torsh.manual_seed(seed)
        assert compiled(x).tolist() == wanted
        assert torsh.rand(1).tolist() != wanted[:1]


def test_examples_of_a_vmap_take_the_stream_in_turn() -> None:
    def draw(x: Any) -> Any:
        return torsh.rand(4) + torsh.randperm(4) + 0 * x
    torsh.manual_seed(2)
    found = torsh.vmap(draw, randomness="different")(torsh.zeros(3))
    torsh.manual_seed(2)
    uniform = torsh.rand(3, 4)
    orders = torsh.stack([torsh.randperm(4) for _ in range(3)])
    np.testing.assert_array_equal(found.numpy(), (uniform + orders).numpy())


def test_states_come_and_go() -> None:
    torsh.manual_seed(8)
    torsh.randn(3)
    with torsh.fork_rng():
        inside = torsh.randn(5).tolist(), torsh.rand(1000).tolist()
    assert (torsh.randn(5).tolist(), torsh.rand(1000).tolist()) == inside
    g = torsh.Generator()
    g.set_state(torsh.get_rng_state())
    assert torsh.rand(3, generator=g).tolist() == torsh.rand(3).tolist()


def test_threads_share_one_stream() -> None:
    """No word is given twice, none is lost: afterwards the engine stands where one thread would have left it."""
    g = torsh.Generator().manual_seed(1)
    found: list[float] = []

    def draw() -> None:
        for _ in range(50):
            found.extend(torsh.rand(601, generator=g).tolist())
    threads = [threading.Thread(target=draw) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    alone = torsh.Generator().manual_seed(1)
    assert sorted(found) == sorted(torsh.rand(4 * 50 * 601, generator=alone).tolist())
    assert engine_of(g).get_state().tolist() == engine_of(alone).get_state().tolist()


@pytest.mark.parametrize("call", [lambda: torsh.rand(3, device="cuda"), lambda: torsh.rand(3, pin_memory=True), lambda: torsh.randn(3, layout="sparse")])
def test_what_cannot_be_is_refused(call: Any) -> None:
    with pytest.raises(RuntimeError):
        call()

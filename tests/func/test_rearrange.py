"""`rearrange`, `functionalize` and `debug_unwrap` against PyTorch's."""
from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.func

import torsh
import torsh.func


@pytest.mark.parametrize(("shape", "pattern", "sizes"), [
    ((2, 3, 4, 5), "b h w c -> b c h w", {}), ((2, 3, 4, 5), "b h w c -> (b h) w c", {}), ((2, 3, 4, 5), "b h w c -> h (b w) c", {}),
    ((2, 4, 6, 3), "b (h1 h) (w1 w) c -> (b h1 w1) h w c", {"h1": 2, "w1": 3}), ((2, 4, 6, 3), "b (h h1) (w w1) c -> b h w (c h1 w1)", {"h1": 2, "w1": 2}),
    ((2, 3, 4), "... c -> c ...", {}), ((2, 3, 4, 5), "n ... c -> n c (...)", {}), ((2, 1, 3), "a 1 b -> a b", {}), ((2, 3), "a b -> a 1 b 1", {}),
    ((6, 1), "(a b) c -> b a c", {"a": 2}), ((2, 3), "a b -> ()  a b", {}), ((), "->", {}), ((2, 3), "x_a y2 -> y2 x_a", {})])
def test_rearranging_is_pytorchs(shape: tuple[int, ...], pattern: str, sizes: dict[str, int]) -> None:
    data = np.arange(float(np.prod(shape))).reshape(shape)
    ours, theirs = torsh.func.rearrange(torsh.tensor(data), pattern, **sizes), torch.func.rearrange(torch.tensor(data), pattern, **sizes)
    assert tuple(ours.shape) == tuple(theirs.shape)
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_several_tensors_are_stacked() -> None:
    assert torsh.func.rearrange([torsh.zeros(2, 3)] * 4, "n a b -> a (n b)").shape == (2, 12)


@pytest.mark.parametrize(("pattern", "sizes"), [
    ("a b", {}), ("a b -> a c", {}), ("a a -> a", {}), ("(a b -> a b", {}), ("a b) -> a b", {}), ("a b c -> a b c", {}), ("(a b) c -> a b c", {}),
    ("(a b) c -> a b c", {"a": 4}), ("a b -> a b", {"q": 1}), ("a* b -> b a*", {}), ("((a) b) c -> a b c", {})])
def test_patterns_that_do_not_fit_are_refused(pattern: str, sizes: dict[str, int]) -> None:
    for t in (torsh, torch):
        with pytest.raises(Exception):  # noqa: B017 - PyTorch has a type of its own for some
            t.func.rearrange(t.zeros(2, 3), pattern, **sizes)


def test_functionalizing_changes_nothing_that_is_seen() -> None:
    for t in (torsh, torch):
        def f(x, t=t):
            y = x[0].add_(1)
            x.mul_(2)
            return y + t.ones(2)
        for remove in ("mutations", "mutations_and_views"):
            x = t.zeros(2, 2)
            assert t.func.functionalize(f, remove=remove)(x).tolist() == [3, 3]
            assert x.tolist() == [[2, 2], [0, 0]]
        with pytest.raises(RuntimeError, match="invalid argument for remove="):
            t.func.functionalize(f, remove="views")


def test_unwrapping_shows_every_example() -> None:
    for t in (torsh, torch):
        seen = []

        def f(x, t=t, seen=seen):
            seen.append(t.func.debug_unwrap(x * 2).tolist())
            return x.sum()
        t.func.vmap(f)(t.ones(2, 3))
        assert seen == [[[2, 2, 2], [2, 2, 2]]]
        plain = t.ones(2)
        assert t.func.debug_unwrap(plain) is plain

        def g(x, t=t, seen=seen):
            seen.append(t.func.debug_unwrap(x).requires_grad)
            return x.sum()
        t.func.grad(g)(plain)
        assert seen[1:] == [False]
